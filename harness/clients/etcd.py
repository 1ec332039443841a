"""Everything we say to an etcd: whether it serves or leads, how large a list in it is, and that it is to defragment."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from harness.clients import mutual_tls
from harness.clients.mutual_tls import Peer
from harness.errors import Unreachable

_DEFRAGMENT_SECONDS: Final = 60.0
_SAMPLE: Final = 500
"""so many entries of a list are fetched"""


def serves(port: int, ca: Path, certificate: tuple[Path, Path]) -> bool:
    """Does the etcd at *port* of this machine take requests, which it does once it has a leader?

    *ca* vouches for it, and the files *certificate* and key for us. Raises Unreachable where it gives no answer.
    """
    status, said = _ask(port, ca, certificate, "GET", "/health")
    return status == 200 and said.get("health") == "true"


def leads(port: int, ca: Path, certificate: tuple[Path, Path]) -> bool:
    """Is the etcd at *port* the member that leads, by its own word? Arguments and what is raised as in `serves`."""
    _, said = _ask(port, ca, certificate, "POST", "/v3/maintenance/status", "{}")
    own = said.get("header", {}).get("member_id")
    return own is not None and said.get("leader") == own


def defragment(port: int, ca: Path, certificate: tuple[Path, Path]) -> None:
    """Have the etcd at *port* defragment its data. Arguments as in `serves`; raises Unreachable where it does not."""
    status, said = _ask(port, ca, certificate, "POST", "/v3/maintenance/defragment", "{}", seconds=_DEFRAGMENT_SECONDS)
    if status != 200:
        raise Unreachable(f"etcd at 127.0.0.1:{port} did not defragment: HTTP {status} {said.get('message', '')}")


def list_bytes(port: int, ca: Path, certificate: tuple[Path, Path], prefix: str) -> tuple[int, int]:
    """Return in how many bytes the etcd answers a list of all below a *prefix*: by keys alone, and with the values.

    The answer itself is not fetched: its first entries are, and all are counted; so it is exact where all entries are
    alike. Raises as `serves`.
    """
    key, end = prefix.encode(), prefix.encode()[:-1] + bytes([prefix.encode()[-1] + 1])
    wanted = {"key": _base64(key), "range_end": _base64(end), "limit": _SAMPLE}
    _, said = _ask(port, ca, certificate, "POST", "/v3/kv/range", json.dumps(wanted))
    count, entries = int(said.get("count", 0)), said.get("kvs", ())
    if not entries:
        return 0, 0
    keys = sum(_entry_bytes(one, whole=False) for one in entries)
    whole = sum(_entry_bytes(one, whole=True) for one in entries)
    return round(keys / len(entries) * count), round(whole / len(entries) * count)


def _entry_bytes(entry: Mapping[str, Any], *, whole: bool) -> int:
    """Return how many bytes an entry takes in the answer: an mvccpb.KeyValue of a RangeResponse, as protobuf."""
    numbers = sum(1 + _varint(int(entry[name])) for name in ("create_revision", "mod_revision", "version"))
    texts = [base64.b64decode(entry[name]) for name in (("key", "value") if whole else ("key",))]
    size = numbers + sum(1 + _varint(len(text)) + len(text) for text in texts)
    return 1 + _varint(size) + size


def _varint(number: int) -> int:
    return max(1, -(-number.bit_length() // 7))


def _base64(text: bytes) -> str:
    return base64.b64encode(text).decode()


def _ask(
    port: int,
    ca: Path,
    certificate: tuple[Path, Path],
    method: str,
    path: str,
    body: str | None = None,
    **how: float,
) -> tuple[int, Any]:
    return mutual_tls.ask(Peer("etcd", port, ca, certificate), method, path, body, **how)
