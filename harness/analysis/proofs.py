"""What came of the remedies that were tried: do they mend, does every impostor stay out, what do they give away?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, Literal

import msgspec

from harness.analysis import comparison, diagnosis, trials
from harness.analysis.comparison import Key
from harness.analysis.correlation import EvidenceLine
from harness.analysis.diagnosis import Finding
from harness.analysis.record_view import Facts
from harness.knowledge import versions
from harness.record.events import ProofsBegun, Proves, RunEnded, Trouble
from harness.record.journal import Record
from harness.record.observation import ABUSE, Observation
from harness.scenario import course
from harness.scenario.course import AnyStep, Grant, Look, WriteRole
from harness.scenario.moments import BEFORE
from harness.scenario.plan import Question
from harness.scenario.role_spec import RoleSpec
from harness.scenario.topology import Topology

State = Literal["mends", "does not mend", "opens a hole", "not tried"]
"""mends: all that was refused is granted at every look after it. does not mend: something is still refused, or somebody
else is from then on. opens a hole: it mends, and a negative probe is granted that was refused. not tried: its run did
not come so far."""

_SAYS: Final[Mapping[str, str]] = {
    "abuse-token-review": "the apps' accounts may review any token of their cluster (system:auth-delegator)",
    "abuse-secret-token": "tokens of any issuer log in that the API server accepts, those out of Secrets among them, "
    "which never end (validation of the issuer is off)",
    "abuse-any-account": "the role admits every service account of every namespace (* in both bindings)",
}


class Risk(msgspec.Struct, frozen=True, kw_only=True):
    """What a remedy gives away."""

    what: str
    """in words, without a full stop"""
    probe: str
    """the question that shows it"""
    shown: bool
    """was the abuse done?"""
    new: bool
    """could it not be done before the remedy?"""
    evidence: tuple[EvidenceLine, ...] = ()
    """the answers, by their line in the record of the proof"""


class Proof(msgspec.Struct, frozen=True, kw_only=True):
    """One remedy that was tried at one moment, on real servers where the run was on real ones."""

    rule: str
    """the cause of the refusal"""
    mount: str
    apps: tuple[str, ...]
    """whom it is to help"""
    remedy: int
    """the number of the remedy among those of its finding, from 0"""
    words: str
    """what the remedy says"""
    timing: Literal["before", "after"]
    moment: str
    """the label of the look after which it was applied"""
    version: str
    """the Vault that served then"""
    state: State
    sentence: str
    """what came of it, in words, without a full stop"""
    before: dict[str, str] = {}
    """how each question was answered before the remedy: "login web" -> "403 permission denied" """
    after: dict[str, dict[str, str]] = {}
    """the same at each look from then on, by the look's label"""
    granted: tuple[str, ...] = ()
    """the apps that are granted at every look after it"""
    refused: tuple[str, ...] = ()
    """the apps of which something is still refused, or is from then on"""
    held: int = 0
    """so many questions of impostors are refused after it"""
    fallen: tuple[str, ...] = ()
    """the impostors that are let in after it and were not before, as "probe app" """
    added: tuple[str, ...] = ()
    """the rights that it adds, in words"""
    risks: tuple[Risk, ...] = ()
    record: str = ""
    """where the record of its run is"""


def proofs(facts: Facts) -> Iterator[Proof]:
    """Yield what came of every remedy that the run began to try, from the records beside its own."""
    wanted = [(name, proves) for told in facts.record.of(ProofsBegun) for name, proves in told.proofs.items()]
    for name, proves in wanted:
        record = facts.record.proofs.get(name)
        if record is None or record.started.proves != proves:
            yield _untried(proves, "the record of its run is not there", record.directory if record else "")
            continue
        yield _proof(proves, Facts(record), facts)


def unproven(findings: Sequence[Finding], tried: Iterable[Proof]) -> list[str]:
    """Return of which refusals no remedy could be tried, and why, as sentences without a full stop."""
    reached = {(one.rule, one.mount, app) for one in tried if one.state != "not tried" for app in ("", *one.apps)}
    said = dict[str, None]()
    for one in trials.refusals(findings):
        if (one.rule, one.mount, one.app) in reached:
            continue
        why = "; ".join(dict.fromkeys(remedy.unproven for remedy in one.remedies if remedy.unproven))
        why = why or "the run that was to try it did not come so far"
        said[f"no remedy was tried for {one.app or 'Vault'}, {one.rule}: {why}"] = None
    return list(said)


def reasons(tried: Iterable[Proof], untried: Iterable[str]) -> list[str]:
    """Return what keeps the remedies from being proven, for those who read why a run ends as it does."""
    return [*(one.sentence for one in tried if one.state != "mends"), *untried]


def left_behind(record: Record) -> str:
    """Return what the runs that tried the remedies left behind, or ""."""
    ended = [one for proof in record.proofs.values() for one in proof.of(RunEnded)]
    return "; ".join(one.left_behind for one in ended if one.left_behind)


def exit_code(code: int, tried: Sequence[Proof], untried: Sequence[str]) -> int:
    """Return the run's exit *code* as the proofs that were asked for leave it.

    A remedy that does not mend is an expectation that was not met, 1; what could not be tried is not known, 4. What the
    run itself ends with is no better for it.
    """
    if code not in (0, 4):
        return code
    if any(one.state in ("does not mend", "opens a hole") for one in tried):
        return 1
    return 4 if untried or any(one.state == "not tried" for one in tried) else code


def _untried(proves: Proves, why: str, directory: str = "") -> Proof:
    return Proof(
        rule=proves.rule,
        mount=proves.mount,
        apps=_apps(proves.questions),
        remedy=proves.remedy,
        words=proves.words,
        timing=proves.timing,
        moment=proves.moment,
        version=proves.version,
        state="not tried",
        sentence=f"the remedy could not be tried {_when(proves)}: {why}",
        record=directory,
    )


def _proof(proves: Proves, trial: Facts, main: Facts) -> Proof:
    if why := _cut_off(proves, trial):
        return _untried(proves, why, trial.record.directory)
    looks = _looks_after(trial, proves.applied)
    seen = {(comparison.key_of(one), one.moment): one for one in trial.observations}
    asked = proves.questions
    keys = [_key(one) for one in asked]
    by_id = {one.id: one for one in trial.observations}
    # a question that a refused login made impossible is as good as refused
    answers = [by_id.get(one.blocked_by or 0, one) for one in (seen[key, look] for look in looks for key in keys)]
    refused = [one for one in answers if one.answer == "refused"]
    later = [one for one in refused if _of_another_finding(proves, trial, main, one)]
    still = [one for one in refused if one not in later]
    worse = _worse(proves, trial, main, looks)
    fallen = _fallen(proves, trial, main, looks)
    unknown = [one for one in answers if one.answer == "unknown"]
    granted = tuple(app for app in _apps(asked) if app not in {one.app for one in (*still, *unknown)})
    if unknown and not still and not worse:
        why = f"{unknown[0].probe} of {unknown[0].app} {unknown[0].moment} could not be asked ({unknown[0].error})"
        return _untried(proves, why, trial.record.directory)
    state: State = "does not mend" if still or worse else "opens a hole" if fallen else "mends"
    return msgspec.structs.replace(
        _untried(proves, "", trial.record.directory),
        state=state,
        sentence=_sentence(proves, trial, granted, still, worse, fallen) + _but_later(trial, later),
        before={_named(one): _words(seen.get((_key(one), proves.moment))) for one in asked},
        after={look: {_named(one): _words(seen[_key(one), look]) for one in asked} for look in looks},
        granted=granted,
        refused=tuple(dict.fromkeys(one.app for one in (*still, *worse))),
        held=sum(one.must_be == "refused" and one.answer == "refused" and one.moment in looks for one in seen.values()),
        fallen=tuple(dict.fromkeys(f"{one.probe} {one.app}" for one in fallen)),
        added=tuple(_added(proves, trial)),
        risks=tuple(_risks(proves, trial, looks)),
    )


def _cut_off(proves: Proves, trial: Facts) -> str:
    """Return why the run says nothing about the remedy, or ""."""
    for trouble in trial.record.of(Trouble):
        return f"{trouble.during}: {trouble.message}"
    if trial.record.holes:
        return trial.record.holes[0]
    there = {(comparison.key_of(one), one.moment) for one in trial.observations}
    wanted = [(_key(one), look) for one in proves.questions for look in _looks_after(trial, proves.applied)]
    if not wanted or any(one not in there for one in wanted) or not trial.record.of(RunEnded):
        return "its run was cut off"
    return ""


def _looks_after(trial: Facts, applied: str) -> list[str]:
    """Return the labels of the looks from the one after the remedy on."""
    labels = list(trial.moments)
    return labels[labels.index(applied) :] if applied in labels else []


def _worse(proves: Proves, trial: Facts, main: Facts, looks: Sequence[str]) -> list[Observation]:
    """Return the logins that are refused after the remedy, and were not without it."""
    asked = {_key(one) for one in proves.questions}
    mains = {(comparison.key_of(one), one.moment): one.answer for one in main.observations}
    return [
        one
        for one in trial.observations
        if one.moment in looks
        and one.probe in ("login", "read", "write")
        and one.answer == "refused"
        and comparison.key_of(one) not in asked
        and mains.get((comparison.key_of(one), _instead(proves, one.moment))) == "granted"
    ]


def _fallen(proves: Proves, trial: Facts, main: Facts, looks: Sequence[str]) -> list[Observation]:
    """Return the impostors that are let in after the remedy, and were not without it."""
    mains = {(comparison.key_of(one), one.moment): one.answer for one in main.observations}
    return [
        one
        for one in trial.observations
        if one.moment in looks
        and one.must_be == "refused"
        and one.answer == "granted"
        and mains.get((comparison.key_of(one), _instead(proves, one.moment))) != "granted"
    ]


def _instead(proves: Proves, moment: str) -> str:
    """Return the moment of the run itself that a moment of the trial is held against."""
    return proves.moment if moment == proves.applied else moment


def _sentence(
    proves: Proves,
    trial: Facts,
    granted: Sequence[str],
    still: Sequence[Observation],
    worse: Sequence[Observation],
    fallen: Sequence[Observation],
) -> str:
    when = _when(proves)
    if still:
        rule, said = diagnosis.why_refused(trial, still[0])
        who = ", ".join(dict.fromkeys(one.app for one in still))
        return (
            f"the remedy was tried {when}, and {who} is still refused ({still[0].probe} {still[0].status} "
            f"{still[0].moment}), for {rule}: {said}"
        )
    if worse:
        rule, said = diagnosis.why_refused(trial, worse[0])
        return (
            f"the remedy was tried {when}, and {worse[0].app} is refused from then on, who was not before "
            f"({worse[0].probe} {worse[0].status} {worse[0].moment}), for {rule}: {said}"
        )
    looks = _looks_after(trial, proves.applied)[1:]
    looks = [look for look in looks if all(one.answer == "granted" for one in _asked_at(proves, trial, look))]
    on = f", also {', '.join(looks)}" if looks else ""
    sentence = f"tried {when}: {', '.join(granted)} {'is' if len(granted) == 1 else 'are'} granted{on}"
    if fallen:
        who = ", ".join(dict.fromkeys(f"{one.probe} of {one.app}" for one in fallen))
        sentence += f"; and so is who must not be: {who}"
    return sentence


def _asked_at(proves: Proves, trial: Facts, look: str) -> list[Observation]:
    """Return the answers at a look to what is to be mended."""
    keys = {_key(one) for one in proves.questions}
    return [one for one in trial.observations if one.moment == look and comparison.key_of(one) in keys]


def _of_another_finding(proves: Proves, trial: Facts, main: Facts, refused: Observation) -> bool:
    """Does a refusal after the remedy have another cause, which struck in the run itself as well? It has its own."""
    rule, _ = diagnosis.why_refused(trial, refused)
    if rule == proves.rule or refused.moment == proves.applied:
        return False
    same = [one for one in main.observations if comparison.key_of(one) == comparison.key_of(refused)]
    then = [one for one in same if one.moment == refused.moment and one.answer == "refused"]
    return any(diagnosis.why_refused(main, one)[0] == rule for one in then)


def _but_later(trial: Facts, later: Sequence[Observation]) -> str:
    if not later:
        return ""
    rule, _ = diagnosis.why_refused(trial, later[0])
    return f"; {later[0].moment} {later[0].app} is refused for {rule}, which has remedies of its own"


def _when(proves: Proves) -> str:
    at = "before anything is changed" if proves.moment == BEFORE else proves.moment
    if proves.timing == "before":
        return f"on a fresh copy of the source, on {versions.called(proves.version)} {at}"
    return f"on the {versions.called(proves.version)} that refuses, {at}"


def _named(question: Question) -> str:
    return " ".join(part for part in (question.probe, question.app, question.item) if part)


def _words(seen: Observation | None) -> str:
    return "not asked" if seen is None else f"{seen.status or 'no answer'} {seen.error}".strip()


def _key(question: Question) -> Key:
    return comparison.key_of(question)


def _apps(questions: Iterable[Question]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(one.app for one in questions))


# --- what it adds, and what that is good for --------------------------------------------------------------------------


def _done(proves: Proves, trial: Facts) -> list[AnyStep]:
    """Return the steps of the remedy."""
    return trial.steps_before(proves.applied)


def _added(proves: Proves, trial: Facts) -> Iterator[str]:
    """Yield the rights that are new, in words."""
    for step in _done(proves, trial):
        if isinstance(step, Grant) and not _may_already(trial.topology, step):
            yield f"{step.service_account} is bound to system:auth-delegator in {step.cluster}"
        if isinstance(step, WriteRole):
            yield from _admitted(_role_before(proves, trial, step), step)
        if isinstance(step, course.WritePolicy):
            yield f"policy {step.name} is written"
        if isinstance(step, course.MakeReviewer):
            yield f"a Secret in {step.cluster} holds a token of {step.service_account} that never ends"


def _may_already(wanted: Topology, step: Grant) -> bool:
    who = (step.cluster, step.service_account)
    vaults = [vault for vault in wanted.vaults.values() if (vault.cluster, vault.service_account) == who]
    later = [place for vault in wanted.vaults.values() for place in vault.later]
    moved = [place for place in later if (place.cluster, place.service_account) == who]
    apps = [app for app in wanted.apps.values() if (app.cluster, app.service_account) == who]
    return (
        any(one.may_review_tokens for one in apps)
        or any(one.may_review_tokens for one in vaults)
        or any(one.may_review_tokens for one in moved)
    )


def _admitted(old: RoleSpec, step: WriteRole) -> Iterator[str]:
    for what, had, has in (
        ("service accounts", old.service_accounts, step.spec.service_accounts),
        ("namespaces", old.namespaces, step.spec.namespaces),
        ("policies", old.policies, step.spec.policies),
    ):
        if new := [one for one in has if one not in had]:
            yield f"role {step.role} of auth/{step.mount} has the {what} {', '.join(new)} as well"
    if old.audience and not step.spec.audience:
        yield f"role {step.role} of auth/{step.mount} takes tokens of any audience"


def _role_before(proves: Proves, trial: Facts, step: WriteRole) -> RoleSpec:
    found = trial.topology.mounts[step.mount].roles[step.role]
    for one in trial.steps:
        if isinstance(one, Look) and one.moment.label == proves.moment:
            break
        if isinstance(one, WriteRole) and (one.mount, one.role) == (step.mount, step.role):
            found = one.spec
    return found


def _risks(proves: Proves, trial: Facts, looks: Sequence[str]) -> Iterator[Risk]:
    """Yield what the remedy gives away, and whether the abuse could be done after it, and before it as well."""
    line, before = trial.line_of, trials.held(trial.steps, trial.topology, proves.mount, proves.moment)
    for probe in trials.given_away(_done(proves, trial), before):
        asked = [one for one in trial.observations if one.probe == probe and one.probe.startswith(ABUSE)]
        then = [one for one in asked if one.moment == looks[0]]
        earlier = [one for one in asked if one.moment == proves.moment]
        done = [one for one in then if one.answer == "granted"]
        shown = [EvidenceLine("answer", _abuse(one), line[one.id], at=one.ended) for one in (*earlier, *then)]
        yield Risk(
            what=_SAYS[probe],
            probe=probe,
            shown=bool(done),
            new=bool(done) and not any(one.answer == "granted" for one in earlier),
            evidence=tuple(shown),
        )


def _abuse(seen: Observation) -> str:
    """Return what was tried with what was given away, and how it was answered."""
    if seen.probe == "abuse-token-review":
        what = f"{seen.subject} has the token of {seen.detail.get('reviewed', '?')} reviewed"
    else:
        what = f"a login to the role of {seen.app} with a token of {seen.subject}"
    return f"{seen.moment}: {what}: HTTP {seen.status} {seen.error}".rstrip()
