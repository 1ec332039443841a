"""What happens to the servers that have Vault's data."""

from __future__ import annotations

from harness.record.event import OfVault
from harness.scenario.schema_storage import ToStorage


class StorageChanged(OfVault, frozen=True, tag="storage-changed", kw_only=True):
    """Something was done to the servers of Vault's storage, by a step of its own or in the middle of a hop."""

    what: ToStorage
    storage: str
    """etcd, consul or postgresql"""
    version: str
    """the Vault that served, or was about to"""
    during: str = ""
    """the step in whose middle it was: upgrade, restart, roll-back; empty: it is a step of its own"""
    moment: str = ""
    """the label of the moment that comes next"""
    members: int = 1
    """so many servers the storage has"""
    running: int = 1
    """so many of them run since"""
    serves: bool = True
    """are those enough? An etcd needs more than half of its members"""
    member: str = ""
    """of lose-leader: the one that is away since; empty on paper"""
    leader: str = ""
    """the etcd member that leads since; empty where none does, where the storage has none, and on paper"""
    seconds: float = 0.0
    """how long it took until as many serve as there are; of lose-leader until another one leads. 0 on paper"""
