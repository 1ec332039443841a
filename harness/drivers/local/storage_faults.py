"""What is done to the servers that have Vault's data, and to that of its engines, where those are processes."""

from __future__ import annotations

from harness.drivers.local.changing_rig import ChangingRig
from harness.errors import RigError
from harness.rig.storage import StorageNow
from harness.scenario.schema_engines import ToDatabase
from harness.scenario.schema_storage import ToStorage


class TouchesStorage(ChangingRig):
    """A rig that owns the servers of its Vault's storage as well, where its scenario has such a storage."""

    def touch_database(self, what: ToDatabase) -> float:
        """Stop the PostgreSQL of the database engines, or start it again; return how many seconds it took."""
        return self._vaults.database.touch(what)

    def set_clock(self, node: str, seconds: int) -> None:
        """Have the clock of a node be ahead of all others."""
        self._vaults.servers[node].set_clock(seconds)

    def touch_storage(self, what: ToStorage) -> StorageNow:
        """Lose, defragment, stop or start servers of the storage."""
        with self._vaults.store_steady() as store:
            if store is None:
                raise RigError("the storage of this Vault has no servers beside it")
            return store.touch(what)
