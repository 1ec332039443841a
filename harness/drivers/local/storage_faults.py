"""What is done to the servers that have Vault's data, and to that of its engines, where those are processes."""

from __future__ import annotations

from harness.artifacts import brought
from harness.drivers.local.changing_rig import ChangingRig
from harness.drivers.local.etcd_store import EtcdStore
from harness.drivers.postgres import PostgresStore
from harness.errors import RigError
from harness.rig.storage import StorageNow
from harness.scenario.schema_engines import ToDatabase
from harness.scenario.schema_storage import ToStorage
from harness.wait import Stopwatch


class TouchesStorage(ChangingRig):
    """A rig that owns the servers of its Vault's storage as well, where its scenario has such a storage."""

    def touch_database(self, what: ToDatabase) -> float:
        """Stop the PostgreSQL of the database engines, or start it again; return how many seconds it took."""
        return self._vaults.database.touch(what)

    def touch_storage(self, what: ToStorage) -> StorageNow:
        """Lose, defragment, stop or start servers of the storage."""
        watch, store = Stopwatch(), self._vaults.store
        if isinstance(store, EtcdStore):
            with brought.steady(self._vaults.etcd):
                lost = _touch_etcd(store, what)
            running = sum(one.runs for one in store.members)
            return StorageNow(running, lost, store.leader(), watch.seconds)
        if not isinstance(store, PostgresStore):
            raise RigError("the storage of this Vault has no servers beside it")
        store.touch(what)
        return StorageNow(int(store.runs), seconds=watch.seconds)


def _touch_etcd(store: EtcdStore, what: ToStorage) -> str:
    """Do it, and return the name of the member that is lost by it, if one is."""
    match what:
        case "lose-leader":
            return store.lose_leader()
        case "defrag":
            store.defragment()
        case "restart":
            store.restart()
        case "stop":
            store.stop()
        case "start":
            store.start()
    return ""
