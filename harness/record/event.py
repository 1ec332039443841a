"""What every line of a record has in common that tells what happened."""

from __future__ import annotations

import msgspec


class Event(msgspec.Struct, frozen=True, tag_field="event", kw_only=True):
    """Something that happened, and when (seconds since the epoch)."""

    at: float = 0.0


class OfVault(Event, frozen=True, kw_only=True):
    """Something that concerns one Vault, or one node of it."""

    vault: str = ""
    """the name of the Vault; empty: the only one there is"""
    node: str = ""
    """the name of its node; empty: the only one there is, or all of them"""
