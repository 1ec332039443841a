"""What happens to the leases that a Vault has, and what they weigh."""

from __future__ import annotations

from typing import Literal

import msgspec

from harness.record.event import OfVault
from harness.record.node_events import RequestKind


class Met(msgspec.Struct, frozen=True, kw_only=True):
    """What a client met that asked for one thing, ten times a second, while all leases were revoked."""

    kind: RequestKind
    app: str = ""
    """on whose behalf; empty for health"""
    asked: int
    failures: dict[str, int]
    """how many were not granted, by status, or "no answer\""""
    seconds: float
    """the longest time between two answers that granted what was asked"""


class LeasesChanged(OfVault, frozen=True, tag="leases-changed", kw_only=True):
    """Leases were made, or revoked."""

    done: Literal["made", "revoked"]
    version: str
    """the Vault that served"""
    wanted: int
    count: int
    """so many were"""
    failures: dict[str, int]
    """how many were not, by status, or "no answer\""""
    seconds: float
    at_once: bool = False
    """were all that were left revoked by one request (revoke-prefix)? Else each has one"""
    error: str = ""
    """Vault's words where that one was declined"""
    met: tuple[Met, ...] = ()
    """what clients met until Vault listed none any more, where all were revoked at once; none on paper"""


class GivenUp(msgspec.Struct, frozen=True, kw_only=True):
    """Leases of one engine that Vault has given up to revoke for one reason."""

    engine: str
    """its path"""
    error: str
    """of the last attempt, in Vault's words"""
    count: int


class LeasesSeen(OfVault, frozen=True, tag="leases-seen", kw_only=True):
    """What a Vault's leases weigh at a moment. What could not be measured is null."""

    when: Literal["made", "started", "revoked", "looked"]
    """started: Vault was started anew over them, and has all of them in mind again; looked: once all was asked, where
    it has given up to revoke some"""
    version: str
    held: int
    """so many are there, by what was made and revoked"""
    found: int | None = None
    """so many it found at its start, by its log"""
    active: float | None = None
    """seconds from its unseal until it was active, by its log"""
    restored: float | None = None
    """seconds from then until it had all leases in mind, by its log"""
    memory: int | None = None
    """bytes of memory that its process has"""
    stored: int | None = None
    """bytes of its data"""
    listed: int | None = None
    """bytes of its answer to LIST sys/leases/lookup/..."""
    list_seconds: float | None = None
    list_error: str = ""
    """how it declined to list them"""
    etcd_keys: int | None = None
    """bytes of the answer in which etcd lists them, with their keys alone"""
    etcd_whole: int | None = None
    """the same with all that is in them"""
    irrevocable: int | None = None
    """so many could not be revoked, and are not tried again for a day; null before 1.8, and where nobody asked"""
    given_up: tuple[GivenUp, ...] = ()
    """why, by engine and error; empty where nobody asked"""
