"""When something can be done on the path of this very upgrade: in words, and as the moments of its course."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from harness.analysis import moves
from harness.analysis.rules.rule import Case, Occasion
from harness.knowledge import versions
from harness.knowledge.versions import at_least
from harness.scenario import course
from harness.scenario.course import AnyStep, Look, RollBack, Serve, Upgrade

_UNDOES_NOTHING: Final = (Serve, course.Wait, *course.OF_CLUSTERS)
"""The breaking steps before which a remedy can be applied: others write or take away the very thing that it mends."""

Steps = Callable[[str], Sequence[AnyStep]]
"""What is done after the look of a label, which decides what the config holds then."""


class Moment(msgspec.Struct, frozen=True):
    """When something can be done on the path of this upgrade."""

    when: str
    """as words that could begin a sentence"""
    stop: str
    """the version that runs then; empty where the path has none"""
    in_time: bool
    """is it before the hop that breaks, so that nobody is refused?"""


def moment(case: Case, since: str = "0.0.0", *, late: bool = False) -> Moment:
    """Return the moment for something that every Vault from *since* on understands.

    That is the last stop before the hop that breaks, if it understands; else the first stop after it that does. *late*:
    it mends nothing before that.
    """
    moments = list(case.facts.moments.values())
    broken = next((n for n, one in enumerate(moments) if one.label == case.after.moment), 0)
    stops = [one.runs(case.after.vault, case.after.node) for one in moments]
    known = [version for version in stops[:broken] if at_least(version, since)]
    if known and not late and case.kind != "pre-existing" and not _overwrites(_breaking(case)):
        return Moment(_before(case, known, stops[:broken]), known[-1], in_time=True)
    later = next((version for version in stops[broken:] if at_least(version, since)), "")
    if case.kind == "pre-existing" and later == stops[0]:
        return Moment(f"now, on {versions.called(later)}", later, in_time=True)
    if not later:
        return Moment(f"on Vault {since} or newer, to which this path does not lead", "", in_time=False)
    if case.kind == "pre-existing":
        when = f"once Vault is {versions.alone(later)}, the first on this path that knows it"
        return Moment(when, later, in_time=False)
    loss = " (until then every login is refused)" if case.effect == "login refused" else ""
    if isinstance(_breaking(case), Upgrade) or later != stops[broken]:
        return Moment(f"right after the hop to {versions.called(later)}{loss}", later, in_time=False)
    return Moment(f"right after {called(case)}, on {versions.called(later)}{loss}", later, in_time=False)


def _breaking(case: Case) -> AnyStep | None:
    """Return the step after which the answer was another one: the last before the look at that moment."""
    found: AnyStep | None = None
    for step in case.facts.steps:
        if isinstance(step, Look):
            if step.moment.label == case.after.moment:
                return found
        elif step.vault in ("", case.after.vault):
            found = step
    return None


def is_upgrade(case: Case) -> bool:
    """Did the answer change because another version serves?"""
    step, before = _breaking(case), case.before
    return isinstance(step, Serve) and (before is None or before.version != case.after.version)


def called(case: Case) -> str:  # noqa: PLR0911 -- a kind of step a line
    """Return the step after which the answer was another one as words: after restart -> the restart."""
    match _breaking(case):
        case course.Move() as step:
            return f"the {moves.called(step)}"
        case course.SetIssuers() as step:
            return f"the change of issuers in {step.cluster}"
        case course.UpgradeKubernetes() as step:
            return f"the upgrade of Kubernetes in {step.cluster}"
        case course.RotateKeys() as step:
            return f"the rotation of the {'CA' if step.of == 'ca' else 'keys'} of {step.cluster}"
        case course.Reachable() as step:
            return f"the {'return' if step.is_so else 'loss'} of the API server of {step.cluster}"
        case course.PublishKeys() as step:
            return f"the change of who may read the keys of {step.cluster}"
        case Upgrade() if not is_upgrade(case):
            return "the restart"
    return f"the {case.after.moment.removeprefix('after ')}"


def _before(case: Case, known: list[str], stops: list[str]) -> str:
    """Return in words when to do what the last of *stops*, which serve before the break, is the last to do in time."""
    step, last, broken = _breaking(case), stops[-1], case.after.version
    if isinstance(step, course.Move):
        return f"before {called(case)}, on {versions.called(known[-1])}"
    if isinstance(step, Serve) and not isinstance(step, RollBack) and last == broken:
        return "before Vault is restarted"
    if not isinstance(step, Upgrade) or known[-1] != last:
        return f"before {called(case)}, on {versions.called(known[-1])}"
    if len(stops) == 1:
        return f"before the upgrade, on {versions.called(last)}"
    if len(known) == len(stops):
        stop = versions.called(last)
        return f"before the upgrade, or at the latest at the stop at {stop}, before the hop to {versions.alone(broken)}"
    return f"at the stop at {versions.called(last)}, before the hop to {versions.alone(broken)}"


def occasions(case: Case, steps: Steps, since: str = "0.0.0", *, late: bool = False) -> tuple[Occasion, ...]:
    """Return when *steps* can be done, which every Vault from *since* on understands: in time, and once it broke.

    *late*: once it broke alone, for before they mend nothing.
    What is refused from the start is mended at the first look at which that can be done.
    """
    looks = list(case.facts.moments.values())
    broken = next((n for n, one in enumerate(looks) if one.label == case.after.moment), 0)
    known = [n for n, one in enumerate(looks) if at_least(one.runs(case.after.vault, case.after.node), since)]
    early = [n for n in known if n < broken][-1:]
    after = [n for n in known if n >= broken][:1]
    if case.kind == "pre-existing":
        early, after = ([0], []) if known[:1] == [0] else ([], known[:1])
    elif late or not _spares_what_is_written(_breaking(case)):
        early = []
    found = [(n, "before") for n in early] + [(n, "after") for n in after]
    return tuple(
        Occasion(timing, looks[n].label, looks[n].runs(case.after.vault, case.after.node), tuple(steps(looks[n].label)))  # type: ignore[arg-type]
        for n, timing in found
    )


def _overwrites(step: AnyStep | None) -> bool:
    """Does this step put something else in the place of whatever was written before it?"""
    over_snapshot = isinstance(step, RollBack) and step.over == "snapshot"
    return over_snapshot or isinstance(step, course.WriteConfig | course.WriteRole | course.Rewrite | course.Restore)


def _spares_what_is_written(step: AnyStep | None) -> bool:
    over_snapshot = isinstance(step, RollBack) and step.over == "snapshot"
    return step is None or (isinstance(step, _UNDOES_NOTHING) and not over_snapshot)
