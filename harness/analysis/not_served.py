"""What it is called that a Vault would not serve after a step: an upgrade, a restart or a way back is refused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from harness.record.events import Trouble
from harness.scenario.course import AnyStep, Serve
from harness.scenario.outcomes import Effect

EFFECTS: Final[tuple[Effect, ...]] = ("upgrade refused", "restart refused", "roll-back refused")
"""What a finding says of a Vault that did not serve again; a restart that would be refused some day is latent."""


def effect(trouble: Trouble, steps: Sequence[AnyStep]) -> Effect:
    """Return what was refused when a server would not serve, where *steps* are those of the course.

    Where the version stays the same, as it may where Vault moves, no upgrade was refused.
    """
    if trouble.step in ("roll-back", "restore"):
        return "roll-back refused"
    return "restart refused" if stays(trouble, steps) else "upgrade refused"


def stays(trouble: Trouble, steps: Sequence[AnyStep]) -> bool:
    """Was it the version that had served before, which was only started again?"""
    if trouble.step != "move":
        return trouble.step == "restart"
    # one that moves without another version is the same one again, elsewhere
    reached = steps[: max(trouble.position, 0)]
    served = [one.version for one in reached if isinstance(one, Serve) and one.vault == trouble.vault]
    return bool(served) and served[-1] == trouble.after_swap
