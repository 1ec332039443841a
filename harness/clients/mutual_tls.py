"""A request to a server of this machine that knows us by a certificate, as we know it by its CA."""

from __future__ import annotations

import http.client
import json
import ssl
from contextlib import closing
from pathlib import Path
from typing import Any, Final, NamedTuple

from harness.errors import Unreachable

_TIMEOUT_SECONDS: Final = 5.0


class Peer(NamedTuple):
    """A server on loopback. *called* is its name in sentences."""

    called: str
    port: int
    ca: Path
    """that vouches for it"""
    certificate: tuple[Path, Path]
    """ours, and its key"""


def ask(
    peer: Peer, method: str, path: str, body: str | None = None, *, seconds: float = _TIMEOUT_SECONDS
) -> tuple[int, Any]:
    """Return the status of the answer, and what its JSON says. Raises Unreachable where there is none."""
    context = ssl.create_default_context(cafile=str(peer.ca))
    context.load_cert_chain(*map(str, peer.certificate))
    with closing(http.client.HTTPSConnection("127.0.0.1", peer.port, timeout=seconds, context=context)) as asking:
        try:
            asking.request(method, path, body)
            answer = asking.getresponse()
            return answer.status, json.loads(answer.read())
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise Unreachable(f"{peer.called} at 127.0.0.1:{peer.port} gave no answer: {error}") from error
