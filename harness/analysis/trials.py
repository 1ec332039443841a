"""Which remedies of a run's refusals are worth a run of their own, and what such a run does and asks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import msgspec
from msgspec.structs import replace

from harness.analysis.diagnosis import Finding
from harness.analysis.rules import Occasion, Remedy
from harness.record.events import Proves
from harness.scenario import course
from harness.scenario.course import AnyStep, Grant, Look, Moment, WriteConfig, WriteRole
from harness.scenario.plan import Plan, Question
from harness.scenario.topology import Topology

APPLIED: Final = "after the remedy"
"""The label of the look after the steps of a remedy."""

_REFUSED: Final = ("login refused", "access refused", "refused from the start")
_APPS_OWN: Final = ("login", "read", "token-lookup", "token-renew")
"""The questions that an app is to be granted: that an impostor is refused needs no remedy. What a token from before may
do is not among them: a remedy may take a new login."""

_MOST_APPS: Final = 3
"""So many apps show what one right is good for; a thousand would show no more."""


class Trial(msgspec.Struct, frozen=True):
    """One run that tries one remedy at one moment."""

    name: str
    """of the directory of its record"""
    proves: Proves
    plan: Plan


class Group(msgspec.Struct, frozen=True):
    """Refusals that one and the same remedy is to mend."""

    finding: Finding
    """the first of them"""
    remedy: Remedy
    number: int
    """of the remedy, among those of its finding"""
    questions: tuple[Question, ...]


def refusals(findings: Iterable[Finding]) -> list[Finding]:
    """Return the findings that say of an app that it is refused."""
    return [one for one in findings if one.effect in _REFUSED and one.probe in _APPS_OWN]


def groups(findings: Iterable[Finding]) -> list[Group]:
    """Return every remedy of every refusal once, with all that it is to mend."""
    found: dict[tuple[object, ...], list[tuple[Finding, Remedy, int]]] = {}
    for finding in refusals(findings):
        for number, remedy in enumerate(finding.remedies):
            done = msgspec.json.encode(remedy.occasions) if remedy.occasions else remedy.words.encode()
            found.setdefault((finding.rule, finding.mount, number, done), []).append((finding, remedy, number))
    return [
        Group(*same[0], tuple(dict.fromkeys(_question(finding) for finding, _, _ in same))) for same in found.values()
    ]


def trials(findings: Iterable[Finding], plan: Plan) -> Iterator[Trial]:
    """Yield a run for every remedy of every refusal in the run of *plan*, at each moment for which it is meant."""
    number = 0
    for group in groups(findings):
        for occasion in group.remedy.occasions:
            number += 1
            proves = Proves(
                rule=group.finding.rule,
                mount=group.finding.mount,
                questions=group.questions,
                remedy=group.number,
                words=group.remedy.words,
                timing=occasion.timing,
                moment=occasion.moment,
                applied=APPLIED,
                version=occasion.version,
            )
            asked = (*plan.questions, *_abuses(occasion.steps, plan.resolved, group))
            steps = _steps(plan.steps, occasion, group.finding.moment)
            name = f"{number:02}-{occasion.timing}-{group.finding.rule}"
            yield Trial(name, proves, replace(plan, steps=steps, questions=asked))


def _question(finding: Finding) -> Question:
    return Question(finding.probe, finding.app, finding.mount, finding.item, finding.vault, finding.node)


def _steps(steps: Sequence[AnyStep], occasion: Occasion, broken: str) -> tuple[AnyStep, ...]:
    """Return the course with the remedy in it, and without ways back once all that broke was seen."""
    found: list[AnyStep] = []
    over = applied = False
    for step in steps:
        if over and applied and isinstance(step, (*course.GOING_BACK, course.WriteLate)):
            break
        found.append(step)
        if isinstance(step, Look):
            over = over or step.moment.label == broken
            if step.moment.label == occasion.moment:
                applied = True
                look = Look(moment=replace(step.moment, label=APPLIED, step=0))
                found += [*occasion.steps, look]
    goes_back = any(isinstance(step, course.GOING_BACK) for step in found)
    kept = [step for step in found if goes_back or not isinstance(step, course.Snapshot)]
    return tuple(_numbered(kept))


def _numbered(steps: Iterable[AnyStep]) -> Iterator[AnyStep]:
    number = 0
    for step in steps:
        if isinstance(step, Look):
            moment: Moment = replace(step.moment, number=number)
            yield replace(step, moment=moment)
            number += 1
        else:
            yield step


# --- what could be done with it ---------------------------------------------------------------------------------------


def _abuses(steps: Sequence[AnyStep], wanted: Topology, group: Group) -> Iterator[Question]:
    """Yield the questions that show what *steps* give away, asked for a few apps."""
    mount = group.finding.mount
    users = [name for name, app in wanted.apps.items() if app.mount == mount][:_MOST_APPS]
    probes = [probe for probe, given in GIVES_AWAY if any(given(step, wanted) for step in steps)]
    vault = wanted.told_apart(wanted.mounts[mount].vault)
    yield from (Question(probe, app, mount, vault=vault) for probe in probes for app in users)


def lets_apps_review(step: AnyStep, wanted: Topology) -> bool:
    """Does a step need, or give, the right of apps to review tokens?"""
    if isinstance(step, Grant):
        return any(
            (app.cluster, app.service_account) == (step.cluster, step.service_account) for app in wanted.apps.values()
        )
    return (
        isinstance(step, WriteConfig)
        and step.fields.get("disable_local_ca_jwt") is True
        and not step.fields.get("token_reviewer_jwt")
    )


def lets_any_issuer_in(step: AnyStep, _wanted: Topology) -> bool:
    """Does a step switch off the check of the issuer?"""
    return isinstance(step, WriteConfig) and step.fields.get("disable_iss_validation") is True


def admits_everybody(step: AnyStep, _wanted: Topology) -> bool:
    """Does a step bind a role to all service accounts of all namespaces?"""
    return isinstance(step, WriteRole) and "*" in step.spec.service_accounts and "*" in step.spec.namespaces


GIVES_AWAY: Final = (
    ("abuse-token-review", lets_apps_review),
    ("abuse-secret-token", lets_any_issuer_in),
    ("abuse-any-account", admits_everybody),
)
"""What a step may give away, by the probe that shows it."""
