"""A rig whose time passes without anybody waiting for it."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from harness.errors import RigError
from harness.rig.rig import Rig
from harness.wait import pause


@runtime_checkable
class PassesTime(Protocol):
    """A rig with a clock of its own."""

    def pass_time(self, seconds: float) -> None:
        """Have so many seconds pass."""
        ...


@runtime_checkable
class SetsClocks(Protocol):
    """A rig whose servers may have clocks of their own."""

    def set_clock(self, node: str, seconds: int) -> None:
        """Have the clock of a node be so many seconds ahead from here on. Raises RigError where it cannot be."""
        ...


def clocks(rig: Rig) -> SetsClocks:
    """Return *rig* as one whose servers have clocks of their own. Raises RigError where they have not."""
    if isinstance(rig, SetsClocks):
        return rig
    raise RigError("with this driver all servers have the clock of this machine: choose another driver")


def wait(rig: Rig, seconds: float) -> None:
    """Wait until so many seconds have passed for *rig*."""
    (rig.pass_time if isinstance(rig, PassesTime) else pause)(seconds)
