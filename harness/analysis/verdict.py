"""What the changes mean against what was expected: pass, fail or inconclusive, and why."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal

import msgspec

from harness.analysis import (
    as_recorded,
    audit_devices,
    comparison,
    completeness,
    databases,
    diagnosis,
    doubts,
    expectations,
    expiry,
    irrevocable,
    leases,
    lost_connections,
    news,
    proofs,
    renewals,
    rewritten,
    rolling,
    same_token,
    soundness,
    startup_failures,
    storages,
    storms,
    unseen,
    ways,
)
from harness.analysis.audit_devices import DeviceChange
from harness.analysis.comparison import Change
from harness.analysis.diagnosis import Finding
from harness.analysis.doubts import Doubt
from harness.analysis.leases import Leases
from harness.analysis.news import News
from harness.analysis.proofs import Proof
from harness.analysis.record_view import Facts
from harness.analysis.rollback import Rollback, rollbacks
from harness.analysis.rolling import Rolling
from harness.analysis.storms import Storm
from harness.analysis.token_reviews import Config, LoginReview, configs, reviewing
from harness.knowledge import versions
from harness.record import journal
from harness.record.database_events import DatabaseChanged
from harness.record.events import ArtifactUsed, ClusterUp, PhaseEnded, Renewals, RunEnded, Trouble, VaultServing
from harness.record.journal import Record
from harness.record.node_events import NodeLost
from harness.record.noise_floor import NoiseFloor
from harness.record.observation import Observation
from harness.record.storage_events import StorageChanged
from harness.scenario.course import Look, Move, Upgrade

FORMAT = 1
"""The number of the judgement's own format. Fields may be added under the same number; none changes its meaning."""

Verdict = Literal["pass", "fail", "inconclusive"]
"""Worst wins: fail, then inconclusive, then pass. What could not be asked, or was refused all along though nobody said
that it would be, is never a pass."""

Outcome = Literal["pass", "expected-fail", "inconclusive", "fail", "unexpected-pass"]
"""The verdict beside what was expected, as pytest says xfail and xpass: the words for a job that is green or red.

expected-fail: it fails, in exactly the way that the scenario expects (a regression, or what is latent where the run is
strict); where not all could be seen, that is inconclusive. unexpected-pass: no answer got worse, and yet it is not what
the scenario expects. The job is green after pass and expected-fail (exit 0), and red after all others; where something
was left behind, or a remedy was to be proven and was not, after all.
"""


class Versions(msgspec.Struct, frozen=True):
    """Which versions took part, as the servers themselves answered."""

    harness: str
    vault: tuple[str, ...]
    kubernetes: dict[str, str]
    source: str = ""
    target: str = ""
    """where there are several Vaults, these two are of the first"""
    vaults: dict[str, tuple[str, ...]] = {}
    """where there are several Vaults or nodes: what each answered, by its name"""


class Contribution(msgspec.Struct, frozen=True):
    """What one finding did to the verdict."""

    reason: str = ""
    """the words that stand for it among the reasons; empty where the verdict has others"""
    fails: bool = False
    """is it why the verdict is fail? A regression is; where the run is strict, so is what is latent"""
    expectation: int | None = None
    """which of the scenario's expectations it met, from 0; None where it met none, or nothing was expected"""


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    """All that a run means. `rehearse judge -o json` prints it; docs/output.md has its fields."""

    format: int = FORMAT
    verdict: Verdict
    outcome: Outcome
    """the verdict beside what was expected; what people are told first"""
    as_expected: bool
    reasons: tuple[str, ...]
    """why this verdict"""
    scenario: str
    description: str
    driver: str
    findings: tuple[Finding, ...]
    weights: tuple[Contribution, ...] = ()
    """what each of the findings did to the verdict, in their order"""
    missed: tuple[str, ...] = ()
    """what was expected and did not come"""
    unexpected: tuple[str, ...] = ()
    """what came and was not expected, where something was expected"""
    changes: tuple[Change, ...]
    noise_floor: NoiseFloor | None = None
    """what an A -> A rehearsal of the same topology saw, where that was asked for: what is left out of the changes"""
    configs: tuple[Config, ...] = ()
    """each mount's config as written, and its provenance"""
    reviewing: tuple[LoginReview, ...] = ()
    """who reviewed each app's login at each moment"""
    renewals: tuple[Renewals, ...] = ()
    """what each app that runs on met at each hop when it renewed its token: for how long it could not, and how often
    that failed in which way. Nothing on paper, and for an app without a token from before the first hop"""
    rollings: tuple[Rolling, ...] = ()
    """every step that took the nodes of a Vault of several one after the other: the order, who led when, what clients
    met"""
    leases: tuple[Leases, ...] = ()
    """of each Vault that was given leases: what became of them, and what they weighed each time"""
    audits: tuple[DeviceChange, ...] = ()
    """what each audit device writes at a look beside what it wrote at the one before"""
    storms: tuple[Storm, ...] = ()
    """every storm of logins: how many Pods were let in, how fast, and what they were answered else"""
    storages: tuple[StorageChanged, ...] = ()
    """what the course did to the servers that have Vault's data, in order"""
    databases: tuple[DatabaseChanged, ...] = ()
    """what it did to the PostgreSQL of the database engines"""
    rollbacks: tuple[Rollback, ...] = ()
    """every way back that the run went: does it open, who logs in, what is lost, what is otherwise"""
    proofs: tuple[Proof, ...] = ()
    """every remedy that was tried, where that was asked for: does it mend, and what does it give away?"""
    unproven: tuple[str, ...] = ()
    """the refusals of which no remedy could be tried, where that was asked for, and why"""
    observations: tuple[Observation, ...]
    excused: tuple[int, ...] = ()
    """the ids of those that got no answer, of which something else tells why: a refused login, a node that the course
    stopped, audit devices that cannot write. All others without an answer are doubts"""
    not_checked: tuple[str, ...]
    assumed: tuple[str, ...] = ()
    """what decides the answers and the scenario leaves open"""
    unlearned: tuple[str, ...] = ()
    """the apps of which nothing was learned: their login was refused before the first hop as well"""
    doubts: tuple[Doubt, ...] = ()
    """why the answer is not known, or not of every app: all that keeps this from being a pass, beside the findings"""
    news: tuple[News, ...] = ()
    """where real servers answered otherwise than was foretold; a strict run fails on it"""
    expects: bool = True
    """does the scenario say what it expects? If not, it hopes that no answer gets worse"""
    troubles: tuple[Trouble, ...] = ()
    versions: Versions
    artifacts: tuple[ArtifactUsed, ...]
    phases: tuple[PhaseEnded, ...]
    machine: str = ""
    repeat: str
    """the command that repeats the run"""
    run_directory: str
    left_behind: str = ""
    exit_code: int


@journal.without_garbage_search()
def judge(record: Record, *, strict: bool = False) -> Judgement:
    """Judge a record; the same one is always judged the same. *strict*: latent findings fail it, as if it said so.

    Raises NotARecord where it says what no run can say: an app that its scenario lacks, or a version that is none.
    """
    facts, start = soundness.sound(Facts(record)), record.started
    findings = diagnosis.worst_first(_found(facts))
    missed, met = expectations.against(facts.asked.expect, findings)
    unsure = list(_doubts(facts, findings, [number in met for number in range(len(findings))]))
    told, strict = news.news(facts), strict or record.started.strict or facts.asked.strict
    verdict, weights = _weighed(findings, unsure, met, strict=strict)
    unexpected = expectations.unexpected(facts, findings, met) if facts.asked.expect is not None else []
    hoped = not missed and not unexpected if facts.asked.expect is not None else verdict == "pass"
    verdict, hoped = ("fail", False) if strict and told else (verdict, hoped)
    as_expected = hoped and not unsure  # by a whole run only: nobody knows what the missing part would have shown
    outcome, left_behind = _outcome(verdict, as_expected=as_expected, hoped=hoped), _left_behind(record)
    unlearned, tried = tuple(seen.app for seen in doubts.never_granted(facts)), tuple(proofs.proofs(facts))
    unproven = tuple(proofs.unproven(findings, tried)) if start.prove_remedies else ()
    return Judgement(
        verdict=verdict,
        outcome=outcome,
        as_expected=as_expected,
        reasons=(*_reasons(verdict, weights, unsure, told if strict else ()), *proofs.reasons(tried, unproven)),
        scenario=start.plan.scenario,
        description=facts.asked.description,
        driver=start.plan.driver,
        findings=tuple(findings),
        weights=tuple(weights),
        missed=tuple(missed),
        unexpected=tuple(unexpected),
        changes=tuple(comparison.compare(facts.observations, comparison.noise_of(start.noise_floor))),
        noise_floor=start.noise_floor,
        configs=tuple(configs(facts)),
        reviewing=tuple(reviewing(facts)),
        rollings=tuple(rolling.rollings(facts)),
        leases=tuple(leases.leases(record)),
        audits=tuple(audit_devices.changes(facts)),
        storms=tuple(storms.storms(facts.observations)),
        rollbacks=tuple(rollbacks(facts)),
        proofs=tried,
        unproven=unproven,
        observations=tuple(facts.observations),
        excused=tuple(sorted(doubts.excused(facts))),
        not_checked=tuple(unseen.not_checked(facts, unlearned)),
        assumed=record.started.plan.assumed,
        unlearned=unlearned,
        doubts=tuple(unsure),
        news=told,
        expects=facts.asked.expect is not None,
        versions=_versions(facts),
        machine=start.machine,
        repeat=" ".join(start.command),
        run_directory=record.directory,
        **as_recorded.events(record),
        left_behind=left_behind,
        exit_code=proofs.exit_code(_exit_code(outcome, left_behind, facts), tried, unproven),
    )


def _found(facts: Facts) -> Iterator[Finding]:
    broken = startup_failures.findings(facts, _trimmed(facts.record))
    yield from broken
    yield from rolling.findings(facts, [one.node for one in broken if one.node])
    yield from ways.findings(facts)
    yield from leases.findings(facts, broken)
    yield from same_token.merged(diagnosis.diagnose(facts))
    besides = (
        audit_devices.findings,
        storages.findings,
        lost_connections.findings,
        databases.findings,
        irrevocable.findings,
    )
    for others in (renewals.cut_off, expiry.findings, rewritten.findings, *besides):
        yield from others(facts)


def _left_behind(record: Record) -> str:
    ended = record.of(RunEnded)
    return "; ".join(filter(None, (ended[-1].left_behind if ended else "", proofs.left_behind(record))))


def _outcome(verdict: Verdict, *, as_expected: bool, hoped: bool) -> Outcome:
    """*hoped*: is what was seen what was expected, whether or not all could be seen?"""
    if verdict == "fail":
        return "expected-fail" if as_expected else "inconclusive" if hoped else "fail"
    return "unexpected-pass" if verdict == "pass" and not as_expected else verdict


def _doubts(facts: Facts, findings: Sequence[Finding], known: Sequence[bool]) -> Iterator[Doubt]:
    """Yield all that keeps the run from being a pass beside its findings; *known* says which of those are expected."""
    yield from doubts.unlearned(facts, findings, known)
    yield from doubts.unrehearsed(findings, known)
    yield from doubts.used_up(facts, findings, known)
    yield from doubts.mixed(facts)
    yield from doubts.noisy(facts)
    yield from (Doubt("unasked", text) for text in (*_unasked(facts), *renewals.unrenewed(facts)))
    yield from (Doubt("incomplete", text) for text in (*facts.record.holes, *completeness.missing(facts)))
    yield from (Doubt("unfinished", text) for text in _unfinished(facts))


def _weighed(
    findings: Sequence[Finding], unsure: Sequence[Doubt], met: Mapping[int, int], *, strict: bool
) -> tuple[Verdict, list[Contribution]]:
    """Return the verdict, and what each of the *findings* has to do with it; *met* is which expectation each met."""
    fails = [finding.kind == "regression" or (strict and finding.kind == "latent") for finding in findings]
    verdict: Verdict = "fail" if any(fails) else "inconclusive" if unsure else "pass"
    weights = []
    for number, (finding, failing) in enumerate(zip(findings, fails, strict=True)):
        calm = f"{finding.kind}, no regression: {expectations.named(finding)}" if verdict == "pass" else ""
        reason = expectations.words(finding) if failing else calm
        weights.append(Contribution(reason, fails=failing, expectation=met.get(number)))
    return verdict, weights


def _reasons(
    verdict: Verdict, weights: Iterable[Contribution], unsure: Iterable[Doubt], failing: Iterable[News]
) -> Iterable[str]:
    reasons = [*(weight.reason for weight in weights if weight.reason), *(doubt.text for doubt in unsure)]
    reasons += [f"{news.OTHERWISE}{one.sentence}" for one in failing]
    return reasons or (["every question was answered as before"] if verdict == "pass" else [])


def _unasked(facts: Facts) -> list[str]:
    """Return every question that got no answer, but for those of which something else tells why.

    Of one that got several `doubts` tells.
    """
    excused = doubts.excused(facts)
    if not facts.record.started.plan.questions:
        return ["nothing was asked: of the scenario's list of probes there is none that it has something to ask of"]
    return [
        f"{o.probe} {o.app or o.mount or o.node or o.vault} {o.moment} could not be asked: "
        f"{o.error or f'HTTP {o.status}'}"
        for o in facts.observations
        if o.answer == "unknown" and not o.mixed and o.id not in excused
    ]


def _trimmed(record: Record) -> set[str]:
    """Return the versions of Vault whose builds leave parts of the release out."""
    return {one.version for one in record.of(ArtifactUsed) if one.product == "vault" and one.trimmed}


def untold(facts: Facts) -> dict[str, str]:
    """Return what ended a run early and is no finding, by what it was: why each of it leaves the run inconclusive."""
    record = facts.record
    lost, trimmed = {one.message for one in record.of(NodeLost)}, _trimmed(record)
    told = {trouble.message for trouble in record.of(Trouble) if storages.explains(facts, trouble)} | lost
    troubles = (trouble for trouble in record.of(Trouble) if trouble.message not in told)
    return {
        f"{trouble.during}: {trouble.message}": why
        for trouble in troubles
        if (why := startup_failures.reason(trouble, trimmed))
    }


def _unfinished(facts: Facts) -> list[str]:
    """Return why the record does not tell the whole story."""
    record = facts.record
    reasons = list(untold(facts).values())
    if not record.ended and not record.holes:
        reasons.append("the run was cut off: its record does not end")
    plan = record.started.plan
    looks = {step.moment.label: step for step in facts.steps if isinstance(step, Look)}
    unasked = {
        moment: {comparison.key_of(one) for one in plan.questions if looks[moment].asks(one.vault, one.probe)}
        for moment in facts.moments
    }
    for o in facts.observations:
        if left := unasked.get(o.moment):
            left.discard(comparison.key_of(o))
    missing = [moment for moment, left in unasked.items() if left]
    if missing and not record.of(Trouble):
        reasons.append(f"not every question was asked: {', '.join(missing)}")
    return reasons


def _versions(facts: Facts) -> Versions:
    moments = facts.record.started.plan.moments
    record = facts.record
    hops, first = [step for step in facts.steps if isinstance(step, Upgrade | Move)], facts.topology.name_of("")
    each: dict[str, list[str]] = {}
    for serving in record.of(VaultServing):
        # what unseals the only Vault of apps has a name, and so has that
        of_apps = serving.vault or (facts.topology.name_of("") if facts.topology.seal_vault else "")
        if name := serving.node or of_apps:
            each.setdefault(name, []).append(versions.of_product(serving.asked, serving.answered))
    return Versions(
        harness=record.started.tool_version,
        vault=tuple(dict.fromkeys(versions.of_product(one.asked, one.answered) for one in record.of(VaultServing))),
        kubernetes={up.cluster: up.version for up in record.of(ClusterUp)},
        source=moments[0].version if moments else "",
        target=next((step.version for step in reversed(hops) if facts.topology.name_of(step.vault) == first), ""),
        vaults={name: tuple(dict.fromkeys(answered)) for name, answered in each.items()},
    )


def _exit_code(outcome: Outcome, left_behind: str, facts: Facts) -> int:
    """0 as hoped or as expected, 1 a regression or another outcome than expected, 3 the environment could not be
    built, 4 inconclusive, 5 something was left behind.
    """
    if left_behind:
        return 5
    if outcome == "inconclusive":
        return 4 if facts.observations or not facts.record.of(Trouble) else 3
    return 0 if outcome in ("pass", "expected-fail") else 1
