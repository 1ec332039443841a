"""The events that stand in a judgement as the record has them: nothing is concluded from those."""

from __future__ import annotations

from typing import TypedDict

from harness.record.database_events import DatabaseChanged
from harness.record.events import ArtifactUsed, PhaseEnded, Renewals, Trouble
from harness.record.journal import Record
from harness.record.storage_events import StorageChanged


class Events(TypedDict):
    """By the field of the judgement: all events of one kind, in order."""

    renewals: tuple[Renewals, ...]
    troubles: tuple[Trouble, ...]
    artifacts: tuple[ArtifactUsed, ...]
    phases: tuple[PhaseEnded, ...]
    storages: tuple[StorageChanged, ...]
    databases: tuple[DatabaseChanged, ...]


def events(record: Record) -> Events:
    """Return the events of *record* that its judgement repeats."""
    return {
        "renewals": tuple(record.of(Renewals)),
        "troubles": tuple(record.of(Trouble)),
        "artifacts": tuple(record.of(ArtifactUsed)),
        "phases": tuple(record.of(PhaseEnded)),
        "storages": tuple(record.of(StorageChanged)),
        "databases": tuple(record.of(DatabaseChanged)),
    }
