"""What a rig can do that has the servers with Vault's data in its hands."""

from __future__ import annotations

from typing import NamedTuple, Protocol, runtime_checkable

from harness.errors import RigError
from harness.rig.rig import Rig
from harness.scenario.schema_storage import ToStorage


class StorageNow(NamedTuple):
    """What a storage is like once something was done to it."""

    running: int
    """so many of its servers run"""
    member: str = ""
    """the one that was lost; empty: none was, or they have no names"""
    leader: str = ""
    """the etcd member that leads; empty: none does, or there is nobody to lead"""
    seconds: float = 0.0
    """how long it took"""


@runtime_checkable
class HasStorage(Protocol):
    """A rig that owns the servers of its Vault's storage."""

    def touch_storage(self, what: ToStorage) -> StorageNow:
        """Lose, defragment, stop or start servers of the storage; return once those serve that are left and can.

        Raises RigError where the storage has no servers, or as whoever starts one; Unreachable where etcd gives no
        answer.
        """
        ...


def storage(rig: Rig) -> HasStorage:
    """Return *rig* as one that has servers of a storage. Raises RigError where it has none."""
    if isinstance(rig, HasStorage):
        return rig
    raise RigError("with this driver nobody but Vault has its storage: choose another driver")
