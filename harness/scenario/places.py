"""Where a Vault runs: in a Pod of a cluster, or outside any; at the beginning, and where a course moves it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

OUTSIDE: Final = "outside"
"""Where a Vault moves that is then in no cluster."""

DEFAULT_ACCOUNT: Final = "vault/vault"
"""The account of Vault's Pod, where a scenario names none."""


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where a Vault runs."""

    cluster: str = ""
    """the cluster whose Pod it is; empty: outside any"""
    service_account: str = ""
    """namespace/name of its Pod's account; empty where it is outside any cluster"""
    may_review_tokens: bool = True
    may_read: tuple[str, ...] = ()
    token_file: bool = False
    """has its Pod a service account token mounted?"""


def read(written: Mapping[str, Any], cluster: str | None) -> Place:
    """Return the place that the plain data *written* describe, of a Vault in a *cluster* or in none."""
    file = written.get("token-file")
    account = (written.get("service-account") or DEFAULT_ACCOUNT) if cluster is not None else ""
    return Place(
        cluster=cluster or "",
        service_account=account,
        may_review_tokens=written.get("may-review-tokens", True),
        may_read=tuple(written.get("may-read") or ()),
        token_file=cluster is not None if file is None else file,
    )


def moved_to(written: Mapping[str, Any]) -> Place:
    """Return where a Vault moves, by the plain data of a move."""
    return read(written, None if written["to"] == OUTSIDE else written["to"])
