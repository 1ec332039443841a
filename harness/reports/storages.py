"""What is said of the servers that have Vault's data: what was done to them, and what was left."""

from __future__ import annotations

from collections.abc import Iterable

from harness.analysis.storages import sentence
from harness.record.storage_events import StorageChanged


def told(ones: Iterable[StorageChanged]) -> list[tuple[str, str]]:
    """Return lines, each with the word that says what it is about."""
    return [("storage", sentence(one)) for one in ones]
