"""Which remedies of a run's refusals are worth a run of their own, and what such a run does and asks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import msgspec
from msgspec.structs import replace

from harness.analysis.diagnosis import Finding
from harness.analysis.rules import Occasion, Remedy
from harness.knowledge import kubernetes_auth
from harness.record.events import Proves
from harness.scenario import course
from harness.scenario.app_spec import STORM
from harness.scenario.course import AnyStep, Grant, Look, Moment, WriteConfig, WriteRole
from harness.scenario.plan import Plan, Question
from harness.scenario.topology import Topology

APPLIED: Final = "after the remedy"
"""The label of the look after the steps of a remedy."""

_REFUSED: Final = ("login refused", "access refused", "refused from the start")
_NOT_OPENED: Final = ("upgrade refused", "restart refused")
_APPS_OWN: Final = ("login", "read", "write", "token-lookup", "token-renew")
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
    """Return the findings that say of an app that it is refused, or of a Vault that it does not open, for which
    something can be tried.
    """
    return [
        one
        for one in findings
        if (one.effect in _REFUSED and one.probe in _APPS_OWN)
        or (one.effect in _NOT_OPENED and any(remedy.occasions for remedy in one.remedies))
    ]


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
                questions=_questions(group, plan),
                remedy=group.number,
                words=group.remedy.words,
                timing=occasion.timing,
                moment=occasion.moment,
                applied=APPLIED,
                version=occasion.version,
            )
            asked = (*(one for one in plan.questions if one.probe != STORM), *_abuses(plan, occasion, group))
            steps = _steps(plan.steps, occasion, group.finding.moment)
            name = f"{number:02}-{occasion.timing}-{group.finding.rule}"
            yield Trial(name, proves, replace(plan, steps=steps, questions=asked))


def _questions(group: Group, plan: Plan) -> tuple[Question, ...]:
    """Return what is to be granted: what was refused, or where Vault did not open, every login."""
    if group.finding.effect not in _NOT_OPENED:
        return group.questions
    return tuple(one for one in plan.questions if one.probe == "login")


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


class Held(msgspec.Struct, frozen=True):
    """What there is before the steps of a remedy, by which it is seen what they give away."""

    topology: Topology
    validation_off: bool
    """is the issuer of a login not compared?"""
    opted_out: bool
    """does the config say disable_local_ca_jwt?"""


def held(steps: Sequence[AnyStep], wanted: Topology, mount: str, moment: str) -> Held:
    """Return what a mount has at the look of a label *moment* in the course of *steps*."""
    version, found = "", Held(wanted, validation_off=False, opted_out=False)
    for step in steps:
        if isinstance(step, Look) and step.moment.label == moment:
            break
        if isinstance(step, course.Serve):
            version = step.version
        elif isinstance(step, WriteConfig) and step.mount == mount:
            given = step.fields.get("disable_iss_validation")
            off = kubernetes_auth.validation_disabled(version, given=given if isinstance(given, bool) else None)
            found = Held(wanted, validation_off=off, opted_out=step.fields.get("disable_local_ca_jwt") is True)
    return found


def _abuses(plan: Plan, occasion: Occasion, group: Group) -> Iterator[Question]:
    """Yield the questions that show what the steps of a remedy give away, asked for a few apps."""
    mount, wanted = group.finding.mount, plan.resolved
    if not mount:
        return  # what a Vault needs that does not open gives no app anything
    users = [name for name, app in wanted.apps.items() if app.mount == mount][:_MOST_APPS]
    before = held(plan.steps, wanted, mount, occasion.moment)
    vault = wanted.told_apart(wanted.mounts[mount].vault)
    for probe in given_away(occasion.steps, before):
        yield from (Question(probe, app, mount, vault=vault) for app in users)


def given_away(steps: Iterable[AnyStep], before: Held) -> list[str]:
    """Return the probes that show what *steps* give away."""
    done = list(steps)
    return [probe for probe, gives in _GIVES_AWAY if any(gives(step, before) for step in done)]


def _lets_apps_review(step: AnyStep, before: Held) -> bool:
    """Does a step give apps the right to review tokens, or have them need it?"""
    if isinstance(step, Grant):
        accounts = {(app.cluster, app.service_account) for app in before.topology.apps.values()}
        return (step.cluster, step.service_account) in accounts
    if not isinstance(step, WriteConfig) or step.fields.get("token_reviewer_jwt"):
        return False
    return step.fields.get("disable_local_ca_jwt") is True and not before.opted_out


def _lets_any_issuer_in(step: AnyStep, before: Held) -> bool:
    """Does a step switch off the check of the issuer?"""
    off = isinstance(step, WriteConfig) and step.fields.get("disable_iss_validation") is True
    return off and not before.validation_off


def _admits_everybody(step: AnyStep, _before: Held) -> bool:
    """Does a step bind a role to all service accounts of all namespaces?"""
    return isinstance(step, WriteRole) and "*" in step.spec.service_accounts and "*" in step.spec.namespaces


_GIVES_AWAY: Final = (
    ("abuse-token-review", _lets_apps_review),
    ("abuse-secret-token", _lets_any_issuer_in),
    ("abuse-any-account", _admits_everybody),
)
"""What a step may give away, by the probe that shows it."""
