"""Everything we say to a Consul: whether it serves."""

from __future__ import annotations

from pathlib import Path

from harness.clients import mutual_tls
from harness.clients.mutual_tls import Peer


def serves(port: int, ca: Path, certificate: tuple[Path, Path]) -> bool:
    """Does the Consul at *port* of this machine take requests, which it does once it has a leader?

    *ca* vouches for it, and the files *certificate* and key for us. Raises Unreachable where it gives no answer.
    """
    status, leader = mutual_tls.ask(Peer("Consul", port, ca, certificate), "GET", "/v1/status/leader")
    return status == 200 and bool(leader)
