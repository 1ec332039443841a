"""What a run has for itself alone on this machine, whatever it runs: ports, a directory, and who ends its servers."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from harness import settings
from harness.host.ports import Ports
from harness.host.process import Supervisor


class OwnRun(NamedTuple):
    """All of it is there until its stack is closed."""

    ports: Ports
    supervisor: Supervisor
    work: Path
    """its directory on the disk; where its servers write is the supervisor's `room`"""


def begin(stack: ExitStack, run: str, work: Path, state: Path, memory: int = 0) -> OwnRun:
    """Return what the run called *run* has until *stack* is closed: its directory is made in *work*.

    *state* holds the locks of ports and the registry of living runs, for all runs of one user. *memory* is how many
    bytes its servers may write, in memory if the user and this machine allow it; 0: on the disk. Raises RigError.
    """
    ports = stack.enter_context(Ports(settings.private_state(state, "ports")))
    own, registry = work / f"rehearse-{run}", settings.private_state(state, "live")
    bytes_in_memory = memory if settings.in_memory() else 0
    return OwnRun(ports, stack.enter_context(Supervisor(run, own, registry, memory=bytes_in_memory)), own)
