"""The servers of a storage on paper: without enough of them nobody logs in, and no Vault starts."""

from __future__ import annotations

from harness.drivers.paper.audit import PaperAudit
from harness.rig.storage import StorageNow
from harness.scenario import storage_state
from harness.scenario.schema_storage import ToStorage


class PaperStorage(PaperAudit):
    """The part of a Vault on paper that has its data in servers beside it."""

    _away: int = 0
    """so many of them are away"""

    def touch_storage(self, what: ToStorage) -> StorageNow:
        """Take note of how many are away from here on."""
        self._away = storage_state.away_after(what, self._away, self._spec.etcd_members)
        return StorageNow(self._spec.etcd_members - self._away)

    @property
    def _storage_away(self) -> bool:
        return not storage_state.serves(self._away, self._spec.etcd_members)
