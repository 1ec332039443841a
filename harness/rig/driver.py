"""What every way of making plans real must be able to do."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol

from harness.record.journal import Journal
from harness.rig.rig import Rig
from harness.scenario.driver_traits import Traits
from harness.scenario.plan import Plan


class Driver(Protocol):
    """Makes plans real. Who opens, closes: whatever `up` starts is gone when its block ends."""

    name: str
    traits: Traits
    """what it needs and proves"""

    def up(self, plan: Plan, run_id: str, journal: Journal) -> AbstractContextManager[Rig]:
        """Bring up all that *plan* needs, with Vault at its first version.

        Raises MissingPrerequisite, RigError or Unreachable, and LeftBehind on the way out.
        """
        ...
