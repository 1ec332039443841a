"""A rig whose time passes without anybody waiting for it."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from harness.rig.rig import Rig
from harness.wait import pause


@runtime_checkable
class PassesTime(Protocol):
    """A rig with a clock of its own."""

    def pass_time(self, seconds: float) -> None:
        """Have so many seconds pass."""
        ...


def wait(rig: Rig, seconds: float) -> None:
    """Wait until so many seconds have passed for *rig*."""
    (rig.pass_time if isinstance(rig, PassesTime) else pause)(seconds)
