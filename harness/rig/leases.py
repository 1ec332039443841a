"""What leases a rehearsal makes in a Vault, and what they weigh there, whoever runs it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import msgspec

from harness.errors import RigError
from harness.rig.rig import Reply, Rig

PREFIX = "auth/token/create-orphan/"
"""Where the leases of the rehearsal's tokens are, below sys/leases/lookup/ and sys/expire/id/."""


class Many(msgspec.Struct, frozen=True):
    """What came of many requests of one kind."""

    accessors: tuple[str, ...]
    """of the tokens that were made, or are gone"""
    failures: dict[str, int] = {}
    """how many were not granted, by status, or "no answer\""""
    seconds: float = 0.0


class Weight(msgspec.Struct, frozen=True):
    """What a Vault weighs. None: it cannot be measured there."""

    memory: int | None = None
    """bytes that its process has"""
    stored: int | None = None
    """bytes of its data"""
    etcd_keys: int | None = None
    """bytes in which etcd lists its leases by their keys alone; None where it is over no etcd"""
    etcd_whole: int | None = None
    """the same with all that is in them"""


class Listed(msgspec.Struct, frozen=True):
    """How Vault answered a list, of which nothing is kept but its size."""

    reply: Reply
    size: int


@runtime_checkable
class HasLeases(Protocol):
    """A Vault that can be given leases."""

    def make_leases(self, count: int) -> Many:
        """Make so many service tokens that live for a month. Raises RigError where Vault declines the first ones."""
        ...

    def revoke_leases(self, accessors: Sequence[str]) -> Many:
        """Revoke the tokens with these accessors, one by one."""
        ...

    def revoke_all_leases(self) -> Reply:
        """Have all of them be revoked by one request: they are gone some time after the answer."""
        ...

    def list_leases(self) -> Listed:
        """Have Vault list them."""
        ...

    def irrevocable_leases(self) -> Reply:
        """Ask how many leases could not be revoked: from 1.8.0 on."""
        ...

    def given_up_leases(self) -> Reply:
        """Ask which those are, each with the error of the last attempt: from 1.8.0 on."""
        ...


@runtime_checkable
class Weighs(Protocol):
    """A Vault that can be weighed."""

    def weigh(self) -> Weight:
        """Return what it weighs now."""
        ...


def leases_of(rig: Rig, vault: str) -> HasLeases:
    """Return a *vault* as one that can be given leases. Raises RigError where the driver cannot do that."""
    setup = rig.system(vault).setup
    if isinstance(setup, HasLeases):
        return setup
    raise RigError("this driver makes no leases: choose another driver, or leave `leases` out")
