"""What every way of making plans real must be able to do."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol

from harness.journal import Journal
from harness.plan import Plan
from harness.rig import Rig
from harness.scenario import Scenario


class Driver(Protocol):
    """Makes plans real. Who opens, closes: whatever `up` starts is gone when its block ends."""

    name: str

    def up(self, plan: Plan, scenario: Scenario, run_id: str, book: Journal) -> AbstractContextManager[Rig]:
        """Bring the plan's first stage up.

        Raises MissingPrerequisite, RigError or Unreachable, and LeftBehind on the way out.
        """
        ...
