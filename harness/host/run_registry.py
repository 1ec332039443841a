"""The registry of living runs: what an entry says, and whether the process ids in it mean anything here."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from harness.host import run_traces


class Identity(msgspec.Struct, frozen=True):
    """A process. The id alone would do for nobody: it is given to another as soon as this one is gone."""

    pid: int
    started: int

    def lives(self) -> bool:
        """Whether the process of this id is still the one that started then."""
        return run_traces.lives(self.pid, self.started)


class Child(msgspec.Struct, frozen=True):
    """A server, as the supervisor has started it."""

    name: str
    pid: int
    started: int


class Entry(msgspec.Struct, frozen=True):
    """The content of an entry, as the supervisor writes it. What an entry of the release before lacks has a default."""

    run: str
    harness: Identity
    supervisor: Identity
    work: str
    created: float
    engine: str = ""
    """The socket of the container engine that the run has used, if any."""
    mark: str = ""
    """The secret of the run; "" in an entry of the release before, which had none."""
    machine: str = ""
    boot: str = ""
    space: str = ""
    """The PID namespace; with the two above it says where the process ids mean something."""
    until: float = 0.0
    """The date at which a run that was kept ends by itself."""
    children: Sequence[Child] = ()
    watcher: Identity | None = None
    """Who ends the run where harness and supervisor are both killed."""

    def elsewhere(self) -> str:
        """Return where else than here the process ids mean something; nothing if they do, or surely nobody lives."""
        here = run_traces.whereabouts()
        if self.machine and self.machine != here["machine"]:
            return f"another machine that shares this directory ({self.machine})"
        if self.boot == here["boot"] and self.space != here["space"]:
            return f"another PID namespace of this machine, such as a container ({self.space})"
        return ""

    def is_past(self) -> bool:
        """Whether the machine was started again since: then none of its processes lives."""
        here = run_traces.whereabouts()
        return bool(self.boot) and self.machine == here["machine"] and self.boot != here["boot"]


def read(entry: Path) -> Entry | None:
    """Return what *entry* says; None if it says nothing, as after a power loss before it reached the disk."""
    try:
        return msgspec.json.decode(entry.read_bytes(), type=Entry)
    except (OSError, msgspec.DecodeError):
        return None
