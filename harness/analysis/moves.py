"""Where a Vault is at each moment of a course that moves it."""

from __future__ import annotations

from collections.abc import Sequence

from harness.scenario import course
from harness.scenario.course import AnyStep, Look, Move
from harness.scenario.topology import Topology, VaultSpec


def by_moment(steps: Sequence[AnyStep], there: Topology) -> dict[str, dict[str, VaultSpec]]:
    """Return, by the label of a moment, each Vault as it is then. Nothing, where none moves."""
    if not any(isinstance(step, Move) for step in steps):
        return {}
    looks = [(number, step.moment.label) for number, step in enumerate(steps) if isinstance(step, Look)]
    return {label: course.placed(steps[:number], there) for number, label in looks}


def called(move: Move) -> str:
    """Return a move, as words that follow `the`."""
    return f"move to {move.place.cluster}" if move.place.cluster else "move out of its cluster"
