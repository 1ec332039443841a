"""The moments of a course get their numbers, and labels that are unique in it."""

from __future__ import annotations

from collections.abc import Mapping

from harness.scenario import topology
from harness.scenario.course import (
    CHANGES,
    HALFWAY,
    AnyStep,
    AuditDevice,
    Moment,
    Move,
    Restart,
    Rewrite,
    RollBack,
    SealVault,
    Serve,
    Snapshot,
    Upgrade,
    Wait,
    WriteConfig,
    WriteRole,
    word_of,
    words_of,
)
from harness.scenario.moments import BEFORE, after
from harness.scenario.places import OUTSIDE


class Labels:
    """Gives each moment of a course its number and its label."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def moment(
        self, done: AnyStep | None, version: str, token_file: bool, step: int = 0, runs: Mapping[str, str] | None = None
    ) -> Moment:
        """Return the moment after *done*, which is number *step* of the course, and at which *version* serves.

        *runs* is what each of several Vaults runs, by its name. None was done: the very first is the moment before
        everything.
        """
        label = wanted = BEFORE if done is None and not self._taken else label_of(done)
        times = 1
        while label in self._taken:
            times += 1
            label = f"{wanted} (step {step})" if step and times == 2 else f"{wanted} ({times})"
        self._taken.add(label)
        several = dict(runs) if runs is not None and len(runs) > 1 else {}
        return Moment(len(self._taken) - 1, label, version, token_file, step, several)


def label_of(done: AnyStep | None) -> str:  # noqa: PLR0911 -- a kind of step a line
    """Return what the moment after a step is called, before that is made unique."""
    match done:
        case Serve(vault=topology.SEAL):
            return after(f"{topology.SEAL} {done.version}")
        case Upgrade() | RollBack() if done.part in HALFWAY:
            return f"halfway {'back ' if isinstance(done, RollBack) else ''}to {done.version}"
        case Upgrade():
            return f"{after(done.version)} at {done.node}" if done.node else after(done.version)
        case Restart(wiped=False) | Move():
            return "after restart" if isinstance(done, Restart) else f"after move to {done.place.cluster or OUTSIDE}"
        case RollBack():
            return f"after roll-back ({done.over})"
        case WriteConfig() | WriteRole() | Rewrite():
            return f"after {'rewrite of' if isinstance(done, Rewrite) else 'write to'} {done.mount}"
        case SealVault():
            return after(f"{word_of(done)} {done.what}")
        case AuditDevice():
            return after(f"audit device {done.device} {done.to}")
        case _ if isinstance(done, (*CHANGES, Wait, Snapshot)):
            return after(words_of(done))
        case _:
            return "look"
