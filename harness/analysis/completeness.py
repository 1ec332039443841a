"""Does a record hold all that its plan requires, in the order in which it must have happened?

What a run has to write down follows from its plan: so a record that lacks some of it is no record of that run, whether
or not its lines are numbered without a gap. Records of format 1 are judged by what they hold.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

from harness.analysis.record_view import Facts
from harness.knowledge import versions
from harness.record.events import (
    ClusterChanged,
    ClusterUp,
    ConfigWritten,
    LateWritten,
    MomentBegan,
    Renewals,
    RoleWritten,
    StepEnded,
    Trouble,
    VaultServing,
)
from harness.record.observation import Observation
from harness.scenario import course, driver_traits, plan
from harness.scenario.course import (
    HALFWAY,
    AnyStep,
    Form,
    Look,
    Reachable,
    RotateKeys,
    Serve,
    SetIssuers,
    Start,
    UpgradeKubernetes,
    WriteConfig,
    WriteLate,
    WriteRole,
)
from harness.scenario.mount_kinds import PROVIDER

_NAMED: Final = 5
_SINCE: Final = 2
"""The record format from which the plan's events are required."""

_Key = tuple[object, ...]
"""A kind of event, and what tells one of that kind from the others."""


def missing(facts: Facts) -> list[str]:
    """Return what keeps the record from being one of its plan, as sentences without a full stop; nothing is well.

    Where the run broke or was cut off, which are doubts of their own, nothing is required from there on.
    """
    record = facts.record
    if record.started.record_version < _SINCE:
        return []
    said = [*_other_versions(facts)]
    required, there = dict(_required(facts)), [*_there(facts)]
    broke = bool(record.of(Trouble)) or not record.ended
    if not broke and (lacking := [*_lacking(facts, required, there)]):
        more = f"; and {len(lacking) - _NAMED} more" if len(lacking) > _NAMED else ""
        said.append(f"the record lacks what its plan requires: {'; '.join(lacking[:_NAMED])}{more}")
    elif not _in_order([*required], there) or not _asked_in_their_moments(facts):
        said.append("the record's lines do not stand in the order in which its plan has them written")
    return said


def _in_order(required: Sequence[_Key], there: Sequence[_Key]) -> bool:
    """Do those of the *required* events that are there stand in their order? More may stand between them: a Vault that
    is stopped for a copy of its files serves once more.
    """
    wanted, found = set(required), set(there)
    return [key for key in there if key in wanted] == [key for key in required if key in found]


def _other_versions(facts: Facts) -> Iterator[str]:
    for serving in facts.record.of(VaultServing):
        if serving.answered.partition("+")[0] != versions.number(serving.asked).partition("+")[0]:
            whose = f"of {serving.vault} " if serving.vault else ""
            answered = versions.answering(serving.asked, serving.answered)
            yield f"{versions.called(serving.asked)} {whose}was asked for, and {answered} answered"


def _lacking(facts: Facts, required: dict[_Key, str], there: Sequence[_Key]) -> Iterator[str]:
    """Yield the name of everything that the plan requires and the record lacks."""
    up = {one.cluster for one in facts.record.of(ClusterUp)}
    yield from (f"cluster {name} coming up" for name in facts.topology.clusters if name not in up)
    yield from (name for key, name in required.items() if key not in set(there))
    yield from _unreplaced(facts)
    renewed = {(row.app, row.moment) for row in facts.record.of(Renewals)}
    for app, moment in _renewing(facts):
        if (app, moment) not in renewed:
            yield f"the renewals of {app} before the moment {moment}"


def _unreplaced(facts: Facts) -> Iterator[str]:
    """Yield the nodes of a Vault of several that did not serve as what a step was to put in place in all of them."""
    served = {(one.vault, one.node, one.asked, one.purpose) for one in facts.record.of(VaultServing)}
    for step in facts.steps:
        form = isinstance(step, Form)
        if not form and not (isinstance(step, Serve) and step.part and step.part not in HALFWAY):
            continue
        for node in facts.topology.nodes_of(step.vault):
            version = step.version  # type: ignore[union-attr]
            if (step.vault, node, version, course.word_of(step)) not in served:
                yield f"{versions.called(version)} serving as {node}"


def _required(facts: Facts) -> Iterator[tuple[_Key, str]]:
    """Yield what each step of the course writes into the record, in order, and what to call it where it is not there.

    A key has the number of events of its kind before it: the same version may serve twice.
    """
    times, serving = Counter[_Key](), dict[str, str]()
    for step in facts.steps:
        vault = course.vault_of(step, facts.topology)
        if isinstance(step, Serve):
            serving[vault] = step.version
        for key, name in _told(step, serving.get(vault, "")):
            yield (*key, times[key]), name
            times[key] += 1


def _told(step: AnyStep, by: str) -> Iterator[tuple[_Key, str]]:
    """Yield the events that a *step* writes, *by* the version that serves then."""
    match step:
        case Serve() if step.part:
            pass  # which nodes these are is seen once it is done: `_unreplaced`
        case Serve():
            whose = f" as {step.node or step.vault}" if step.vault else ""
            key: _Key = (VaultServing, by, course.word_of(step), step.vault, step.node)
            yield key, f"{versions.called(by)} serving{whose}"
        case WriteConfig():
            yield (ConfigWritten, step.mount, by), f"the config of auth/{step.mount}, written by {by}"
        case WriteRole():
            yield (RoleWritten, step.mount, step.role, by), f"role {step.role} of auth/{step.mount}, written by {by}"
        case Look():
            moment = step.moment
            key = (MomentBegan, moment.label, moment.version, moment.token_file)
            yield key, f"the beginning of the moment {moment.label}"
        case WriteLate():
            yield (LateWritten,), "what was written to see whether it is lost"
        case UpgradeKubernetes() | SetIssuers() | Reachable():
            yield (ClusterChanged, step.cluster), f"cluster {step.cluster} serving anew"
        case RotateKeys() if step.cluster != PROVIDER:
            yield (ClusterChanged, step.cluster), f"cluster {step.cluster} serving anew"
    if not isinstance(step, Start | WriteConfig | WriteRole | Look | WriteLate):
        yield (StepEnded, course.word_of(step), step.number), f"the end of the step {course.word_of(step)}"


_TOLD: Final = (VaultServing, ConfigWritten, RoleWritten, MomentBegan, LateWritten, ClusterChanged, StepEnded)
_Telling = VaultServing | ConfigWritten | RoleWritten | MomentBegan | LateWritten | ClusterChanged | StepEnded


def _there(facts: Facts) -> Iterator[_Key]:
    """Yield the keys of the events that tell of a step of the course, in the order in which they stand."""
    times = Counter[_Key]()
    for _, one in facts.record.numbered(*_TOLD):
        if isinstance(one, ConfigWritten | RoleWritten) and one.rewritten:
            continue  # what a rewrite writes depends on what is refused
        key = _key_of(one)
        yield (*key, times[key])
        times[key] += 1


def _key_of(one: _Telling) -> _Key:
    match one:
        case VaultServing():
            told: _Key = (one.asked, one.purpose, one.vault, one.node)
        case ConfigWritten():
            told = (one.mount, one.version)
        case RoleWritten():
            told = (one.mount, one.role, one.version)
        case MomentBegan():
            told = (one.moment, one.version, one.token_file)
        case StepEnded():
            told = (one.do, one.number)
        case ClusterChanged():
            told = (one.cluster,)
        case LateWritten():
            told = ()
    return (type(one), *told)


def _renewing(facts: Facts) -> Iterator[tuple[str, str]]:
    """Yield which app must have renewed its token on the way to which moment: on paper that takes no time."""
    if not driver_traits.of(facts.record.started.plan.driver).real:
        return
    first = facts.first_moment
    logins = [seen for seen in facts.observations if seen.probe == "login" and seen.moment == first]
    holders = [seen.app for seen in logins if seen.answer == "granted" and plan.renews(facts.topology, seen.app)]
    for number, step in enumerate(facts.steps):
        before = next(course.moments(facts.steps[:number]), None)
        if isinstance(step, Serve) and before is not None:
            ahead, mine = next(course.moments(facts.steps[number:]), None), facts.topology.mounts_of(step.vault)
            own = (app for app in holders if facts.topology.apps[app].mount in mine)
            yield from ((app, ahead.label if ahead else "") for app in own)


def _asked_in_their_moments(facts: Facts) -> bool:
    """Does every answer stand after the beginning of its moment, and before whatever comes next in the course?"""
    record = facts.record
    spans: dict[str, tuple[int, int]] = {}
    for line, seen in zip(record.numbers(Observation), facts.observations, strict=True):
        first, _ = spans.get(seen.moment, (line, line))
        spans[seen.moment] = (first, line)
    marks = [(line, one) for line, one in record.numbered(*_TOLD)]
    ends = [*(line for line, _ in marks[1:]), len(record) + 1]
    begun = {
        one.moment: (line, end) for (line, one), end in zip(marks, ends, strict=False) if isinstance(one, MomentBegan)
    }
    return all(
        moment in begun and begun[moment][0] < first and last < begun[moment][1]
        for moment, (first, last) in spans.items()
    )
