"""What a course does to the servers that have Vault's data, by a step or in mid-hop, and to that of its engines."""

from __future__ import annotations

from typing import Final

from harness.record.database_events import DatabaseChanged
from harness.record.journal import Journal
from harness.record.storage_events import StorageChanged
from harness.rig import database
from harness.rig.rig import Rig, VaultSystem
from harness.rig.storage import storage
from harness.scenario import course, engine_kinds, storage_state
from harness.scenario.course import Serve, TouchDatabase, TouchStorage
from harness.scenario.topology import Topology

_MUCH: Final = 512 * 1024
"""Bytes: less than an entry of raft may have (max_entry_size, 1 MiB), and more than the free pages of its files."""


def touch(step: TouchStorage | Serve, version: str, moment: str, rig: Rig, wanted: Topology, journal: Journal) -> None:
    """Do to the storage what a *step* says, and put on record what is left of it.

    *version* is the Vault that serves, or is about to; *moment* is the label of the next one. Raises as
    `HasStorage.touch_storage`.
    """
    what = storage_state.touched(step)
    if not what:
        return
    vault = wanted.named(step.vault)
    now = storage(rig).touch_storage(what)
    journal.write(
        StorageChanged(
            what=what,
            storage=vault.storage,
            version=version,
            during="" if isinstance(step, TouchStorage) else course.word_of(step),
            moment=moment,
            members=vault.etcd_members,
            running=now.running,
            serves=storage_state.serves(vault.etcd_members - now.running, vault.etcd_members),
            member=now.member,
            leader=now.leader,
            seconds=round(now.seconds, 3),
            vault=step.vault,
        )
    )


def touch_database(
    step: TouchDatabase, version: str, moment: str, rig: Rig, wanted: Topology, journal: Journal
) -> None:
    """Stop or start the PostgreSQL of the database engines, and put that on record; *version* and *moment* as above.

    Raises as `HasDatabase.touch_database`.
    """
    took = database.having_one(rig).touch_database(step.what)
    engines = tuple(path for path, one in wanted.makers.items() if one.kind == engine_kinds.DATABASE)
    journal.write(
        DatabaseChanged(what=step.what, engines=engines, version=version, moment=moment, seconds=round(took, 3))
    )


def write_much(system: VaultSystem) -> None:
    """Have a Vault write more than goes on a disk that is full: in the free pages of its files a node writes on there.

    Raises RigError.
    """
    system.setup.write("cubbyhole/rehearsal", {"much": "." * _MUCH})
