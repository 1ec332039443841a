"""Known causes, asked over the record: each thing that changed, or was wrong all along, becomes a Finding."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final, Literal

import msgspec

from harness.analysis import comparison, contradictions, next_causes, ruled_out, token_ends
from harness.analysis.correlation import EvidenceLine, shown
from harness.analysis.impact import Impact, outlook
from harness.analysis.next_causes import Next
from harness.analysis.record_view import Facts
from harness.analysis.ruled_out import Suspect
from harness.analysis.rules import (
    RULES,
    Case,
    Confidence,
    Diagnosis,
    Kind,
    Remedy,
    Rule,
    agents,
    occasions,
    seals,
    secrets,
    steps,
    storms,
)
from harness.record.observation import BESIDE, Observation
from harness.scenario import driver_traits
from harness.scenario.app_spec import STORM
from harness.scenario.course import AUTO_UNSEAL, Rewrite, WriteConfig, WriteRole
from harness.scenario.mount_kinds import KUBERNETES
from harness.scenario.outcomes import Effect

UNEXPLAINED = "unexplained"

SeenFrom = Literal["both sides", "one side", "predicted"]
"""both sides: Vault and an API server both told of it, and it goes together. one side: only one of them did, or had to
be asked. predicted: neither; the knowledge says so of configs, tokens and policies, and so is everything on paper."""

_OF_VAULT: Final = frozenset({"answer", "vault audit", "vault log", "server", "nodes", "audit device"})
_OF_API_SERVERS: Final = frozenset({"api audit", "api log"})


class Finding(msgspec.Struct, frozen=True):
    """Something an operator must know, with its cause where the record shows one."""

    rule: str
    """the cause, or "unexplained" """
    kind: Kind
    effect: Effect
    app: str
    hop: str
    """the version at which it appears; empty where it was so before the first hop"""
    sentence: str
    confidence: Confidence
    evidence: tuple[EvidenceLine, ...]
    remedy: str
    """how to mend it, in words; `remedies` has the commands"""
    mount: str = ""
    probe: str = ""
    item: str = ""
    explanation: str = ""
    source: str = ""
    ruled_out: tuple[Suspect, ...] = ()
    outlook: Impact | None = None
    """when it hurts those that run already"""
    ambiguous: bool = False
    """could a line of its evidence belong to another question as well?"""
    remedies: tuple[Remedy, ...] = ()
    """the ways to mend it, one by one, each with its moment and its commands: alternatives, the best first"""
    moment: str = ""
    """the label of the moment at which it appears, or at which it was so from the start"""
    step: int = 0
    """the number of the step in the scenario's `course` after which it appears, from 1; 0: none that was written"""
    vault: str = ""
    """the name of the Vault that it is about; empty: the only one there is"""
    node: str = ""
    """the name of the node that it is about; empty: the only one there is, or whichever answered"""
    next: tuple[Next, ...] = ()
    """what would refuse the same login next, were this mended: by the knowledge, not seen"""
    seen_from: SeenFrom = "predicted"
    """who told of it, by its evidence"""
    also: tuple[str, ...] = ()
    """what else was asked with the same token, and answered so for the same cause: each with its item"""

    @property
    def asked(self) -> tuple[tuple[str, str], ...]:
        """Return the probe of each question that it tells of, with its item."""
        others = (one.partition(" ") for one in self.also)
        return (self.probe, self.item), *((probe, item) for probe, _, item in others)


def diagnose(facts: Facts) -> list[Finding]:
    """Return every finding, in the order in which they appear: what was wrong from the start, then hop by hop."""
    return [_finding(case) for case in _cases(facts)]


def seen_from(facts: Facts, evidence: Iterable[EvidenceLine], *, doubted: bool = False) -> SeenFrom:
    """Return who told of what these lines show; what is *doubted*, two sides do not tell together."""
    if not driver_traits.of(facts.record.started.plan.driver).real:
        return "predicted"
    told = {line.source for line in evidence}
    if told & _OF_VAULT and told & _OF_API_SERVERS and not doubted:
        return "both sides"
    return "one side" if told & (_OF_VAULT | _OF_API_SERVERS) else "predicted"


def stated(
    facts: Facts,
    what: tuple[str, Kind, Effect],
    sentence: str,
    evidence: Sequence[EvidenceLine],
    remedies: Remedy | Sequence[Remedy],
    *,
    confidence: Confidence = "certain",
    app: str = "",
    mount: str = "",
    probe: str = "",
    item: str = "",
    hop: str = "",
    moment: str = "",
    step: int = 0,
    vault: str = "",
    node: str = "",
    explanation: str = "",
    source: str = "",
) -> Finding:
    """Return a finding whose cause, kind and effect are *what*: the one place that puts findings together.

    Where no *step* is given, it is the one before its *moment*.
    """
    rule, kind, effect = what
    ways = (remedies,) if isinstance(remedies, Remedy) else tuple(remedies)
    return Finding(
        rule=rule,
        kind=kind,
        effect=effect,
        app=app,
        hop=hop,
        sentence=sentence,
        confidence=confidence,
        evidence=tuple(evidence),
        remedy=in_words(ways),
        remedies=ways,
        mount=mount,
        probe=probe,
        item=item,
        explanation=explanation,
        source=source,
        moment=moment,
        step=step or (facts.moments[moment].step if moment in facts.moments else 0),
        vault=vault,
        node=node,
        seen_from=seen_from(facts, evidence),
    )


def _sure(found: Diagnosis, *, doubted: bool) -> Confidence:
    """Return how sure a rule is: not certain where nothing is left of what Vault said, or where it is doubted."""
    if found.confidence != "certain":
        return found.confidence
    return "certain" if not doubted and _OF_VAULT & {line.source for line in found.evidence} else "strong"


def _cases(facts: Facts) -> Iterator[Case]:
    seen: dict[comparison.Key, Observation] = {}
    for now in facts.observations:
        if now.probe.startswith(BESIDE):
            # what going back loses is told there, and is no answer that anybody relied on before
            continue
        key = comparison.key_of(now)
        before = seen.get(key)
        if (same := _ALIKE.get(now.probe)) is not None:
            yield from _beside_login(facts, before, now, same)
        elif before is None:
            yield from _from_start(facts, now)
        elif before.answer != now.answer:
            yield from () if token_ends.ended_by_itself(facts, now) else _answered_otherwise(facts, before, now)
        elif now.probe == "login" and now.answer != "unknown":
            yield from _for_another_reason(facts, before, now)
        if now.answer != "unknown" or before is None:
            # a question that could not be asked is compared with the last answer there was
            seen[key] = now


_SAME_TOKEN: Final = {
    "old-token-read": "read",
    "old-token-lookup": "token-lookup",
    "token-renew": "token-lookup",
}
"""Questions that at the first look are another one once more, if that has the same answer."""


def _from_start(facts: Facts, now: Observation) -> Iterator[Case]:
    """Yield what is wrong at the first look."""
    if now.moment != facts.first_moment or not now.app:
        return
    like = facts.first(_SAME_TOKEN[now.probe], now.app, now.moment, now.item) if now.probe in _SAME_TOKEN else None
    if like is not None and like.answer == now.answer:
        return  # the old token is the fresh one then, and what keeps that from being looked up keeps it from renewal
    if now.must_be == "refused":
        if now.answer == "granted":
            yield Case("pre-existing", "granted against the rule", now, None, facts)
    elif now.answer == "refused":
        yield Case("pre-existing", "refused from the start", now, None, facts)


def _answered_otherwise(facts: Facts, before: Observation, now: Observation) -> Iterator[Case]:
    """Yield that a question has another answer, if it had one. Who is let in at last is better off, and so is everybody
    where somebody is refused at last who must be; what let them in may be a check that is gone.
    """
    if "unknown" in (before.answer, now.answer):
        return
    if now.probe == "lockout":
        # nobody is refused who knows the secret, until somebody is wrong too often
        yield Case("latent", "lockout changed", now, before, facts)
        return
    if now.probe == AUTO_UNSEAL:
        lost = now.answer == "refused"
        yield Case(
            "latent" if lost else "improvement",
            "auto-unseal lost" if lost else "auto-unseal works",
            now,
            before,
            facts,
        )
        return
    case = Case("latent", "login refused", now, before, facts)
    if secrets.spent(case):
        # the looks did that, and no version: whoever has such a secret ID knows how often it is good for
        yield case
        return
    better = (now.answer == "granted") is (now.must_be != "refused")
    yield Case("improvement" if better else "regression", _effect(now), now, before, facts)
    if (
        better
        and now.answer == "granted"
        and comparison.refusal_of(before.error) is not None
        and not _written(facts, before, now)
        and not _claims_otherwise(facts, before, now)
    ):
        yield Case("latent", "check lost", now, before, facts)


def _for_another_reason(facts: Facts, before: Observation, now: Observation) -> Iterator[Case]:
    """Yield how a login's answer, which is the same, came about in another way."""
    if _another_reviewer(facts, before, now):
        yield Case("latent", "reviewer changed", now, before, facts)
    else:
        if _check_is_gone(facts, before, now):
            yield Case("latent", "check lost", now, before, facts)
        if now.answer == "refused" and _another_cause(facts, before, now):
            # what was wrong first hid it, and whoever mended that would be refused still
            yield Case("latent", "refused for another reason", now, None, facts)
    if now.answer == "granted" and comparison.identity_of(before) != comparison.identity_of(now):
        yield Case("latent", "identity changed", now, before, facts)


_Same = Callable[[Facts, Observation], Observation | None]

_ALIKE: Final[Mapping[str, _Same]] = {
    **dict.fromkeys(comparison.OF_AGENTS, agents.same_without),
    STORM: storms.same_alone,
}
"""By the probe of those that log in beside an app: gives the question of the app itself with the answer they had."""


def _beside_login(facts: Facts, before: Observation | None, now: Observation, same: _Same) -> Iterator[Case]:
    """Yield what an agent, or a storm of Pods, is answered that the app is not: the rest is told of the app."""
    alone = same(facts, now) is None
    if now.probe == "sidecar" and (before is None or now.answer != "refused" or not alone):
        # at the first look one that is started for once tells the same, and one that is back does what it did before
        return
    if before is None:
        yield from _from_start(facts, now) if alone else ()
        return
    was_alone = same(facts, before) is None
    if before.answer != now.answer:
        yield from _answered_otherwise(facts, before, now) if alone or was_alone else ()
    elif alone and not was_alone and now.answer == "refused" and not agents.reads_on(facts, before, now):
        yield Case("latent", "refused for another reason", now, None, facts)


def _effect(now: Observation) -> Effect:
    login = now.probe in ("login", *_ALIKE) or now.must_be == "refused"
    if now.answer == "refused":
        return "login refused" if login else "access refused"
    return "login granted" if login else "access granted"


def _written(facts: Facts, before: Observation, now: Observation) -> bool:
    """Was the config or the role of this login written between the two? Who writes them has chosen what is checked."""
    if facts.written_at(before) != facts.written_at(now):
        return True
    role = facts.app(now.app).role if now.app else ""
    return any(
        (isinstance(step, WriteRole) and (step.mount, step.role) == (now.mount, role))
        or (isinstance(step, Rewrite | WriteConfig) and step.mount == now.mount)
        for step in facts.between(before.moment, now.moment)
    )


def _another_cause(facts: Facts, before: Observation, now: Observation) -> bool:
    """Is the login refused for another known cause than before?"""
    old, new = (why_refused(facts, seen)[0] for seen in (before, now))
    return old != new and UNEXPLAINED not in (old, new)


def _another_reviewer(facts: Facts, before: Observation, now: Observation) -> bool:
    """Did somebody else review the same login? Only where both reviews were seen: absence is no evidence."""
    old, new = facts.reviewer(before), facts.reviewer(now)
    return bool(old and new and old != new)


def _check_is_gone(facts: Facts, before: Observation, now: Observation) -> bool:
    """Was the login refused by a check of Vault's own, and does it now get past it, to be refused by the review?"""
    own = comparison.refusal_of(before.error)
    past_it = own is not None and comparison.refusal_of(now.error) is None and facts.reviewer(now) != ""
    return past_it and not _written(facts, before, now) and not _claims_otherwise(facts, before, now)


def _claims_otherwise(facts: Facts, before: Observation, now: Observation) -> bool:
    """Does the token claim something else of what the check compares that refused the login before? Then the check may
    be there as it was.
    """
    old, new, refusal = facts.token_of(before), facts.token_of(now), comparison.refusal_of(before.error)
    if old is None or new is None:
        return False
    otherwise = {"issuer": old.issuer != new.issuer, "audience": set(old.audiences) != set(new.audiences)}
    return otherwise.get(refusal or "", False)


def cause_of(facts: Facts, seen: Observation) -> str:
    """Return the cause of an app's refusal; nothing where nobody is refused who should be let in."""
    hurt = seen.answer == "refused" and seen.must_be != "refused" and seen.app
    return why_refused(facts, agents.refused_alike(facts, seen) or seen)[0] if hurt else ""


def why_refused(facts: Facts, seen: Observation) -> tuple[str, str]:
    """Return the cause of a refusal by itself, whatever was answered before, and its sentence."""
    case = Case("pre-existing", "refused from the start", seen, None, facts)
    rule, found = explained(case)
    return rule.name if rule is not None else UNEXPLAINED, found.sentence


def explained(case: Case) -> tuple[Rule | None, Diagnosis]:
    """Return the first rule that explains a case, and what it says; or what there is to see, where none does."""
    of_seal = case.after.probe == AUTO_UNSEAL
    known = [rule for rule in RULES if rule in seals.RULES or not of_seal]
    for rule in (steps.CHANGED,) if _on_purpose(case) else known:
        if rule.concerns(case) and (found := rule.examine(case)) is not None:
            return rule, found
    return None, _unexplained(case)


def _on_purpose(case: Case) -> bool:
    """Did the course itself let somebody in? A version does not where it is the same, nor what is written anew."""
    before, now = case.before, case.after
    if case.kind != "improvement" or before is None:
        return False
    done = any(True for _ in case.facts.between(before.moment, now.moment))
    return done and (before.version == now.version or _written(case.facts, before, now))


def _finding(case: Case) -> Finding:
    rule, found = explained(case)
    now, evidence = case.after, case.evidence
    at_once, more = storms.beside(case.facts, now)
    asked = [seen for seen in (now, case.before) if seen is not None]
    against = next(filter(None, (contradictions.of(case.facts, seen) for seen in asked)), "")
    # an impostor who is refused at last hurts nobody
    hurts = case.effect in ("login refused", "access refused", "reviewer changed") and now.must_be != "refused"
    # no Pod of production is refused for what the looks of a rehearsal did
    hurts = hurts and not secrets.spent(case)
    finding = stated(
        case.facts,
        (rule.name if rule is not None else UNEXPLAINED, case.kind, case.effect),
        f"{found.sentence}{at_once}"
        + (". Two questions could claim a line of this evidence" if evidence.ambiguous else "")
        + (f". Its evidence does not go together, so this is not certain: {against}" if against else ""),
        (*found.evidence, *more),
        found.remedies,
        confidence=_sure(found, doubted=bool(against)),
        app=now.app,
        mount=now.mount,
        probe=now.probe,
        item=now.item,
        hop="" if case.kind == "pre-existing" else now.version,
        moment=now.moment,
        vault=now.vault,
        node=now.node,
        explanation=rule.explanation if rule is not None else "",
        source=rule.source if rule is not None else "",
    )
    return msgspec.structs.replace(
        finding,
        ruled_out=tuple(_ruled_out(case)),
        outlook=outlook(case) if hurts and now.app and case.kind != "pre-existing" else None,
        ambiguous=evidence.ambiguous,
        next=_with_sight(case.facts, now, next_causes.after(case, rule.name)) if rule is not None else (),
        seen_from=seen_from(case.facts, found.evidence, doubted=bool(against) or evidence.ambiguous),
    )


def _with_sight(facts: Facts, now: Observation, foretold: Sequence[Next]) -> tuple[Next, ...]:
    """Return *foretold* with where real servers refused the same login for it, earlier or later in the course."""
    if not foretold or not driver_traits.of(facts.record.started.plan.driver).real:
        return tuple(foretold)
    logins = [one for one in facts.observations if comparison.key_of(one) == comparison.key_of(now)]
    met = {cause: one.moment for one in reversed(logins) if (cause := cause_of(facts, one))}
    return tuple(msgspec.structs.replace(one, met=met.get(one.cause, "")) for one in foretold)


def _ruled_out(case: Case) -> Iterator[Suspect]:
    """Yield the usual suspects of a refused login at a Kubernetes mount: other methods have others."""
    if case.after.answer == "refused" and case.after.probe == "login" and case.mount_kind == KUBERNETES:
        yield from ruled_out.examined(case)


def in_words(remedies: Sequence[Remedy]) -> str:
    """Return alternatives as one text without their commands."""
    return " Or: ".join(remedy.sentence for remedy in remedies)


def _unexplained(case: Case) -> Diagnosis:
    """Return all there is to see, where no rule fits."""
    now, before = case.after, case.before
    what = (
        f"{now.probe} of {now.app or now.mount or 'Vault'} answers {now.status} {' '.join(now.error.split())}".strip()
    )
    if before is not None:
        what += f", and before it answered {before.status} {before.error}".rstrip()
    evidence_lines: list[EvidenceLine] = [
        EvidenceLine("answer", f"HTTP {now.status} {now.error}".strip()),
        *case.evidence.evidence_lines(),
    ]
    if before is not None:
        evidence_lines += [shown(review) for review in case.facts.evidence_of(before).reviews]
    return Diagnosis(
        f"{what}. No known cause fits what the record shows",
        "none",
        tuple(evidence_lines),
        (_look_closer(case),),
    )


def _look_closer(case: Case) -> Remedy:
    """Return what an operator does about something that no rule explains."""
    start, mount = case.facts.record.started, case.after.mount
    do_not = f"take production to {case.after.version}" if occasions.is_upgrade(case) else "do this in production"
    wait = f"Do not {do_not} before this is understood. " if case.before else ""
    # its words are quoted for a shell already; what paper leaves unexplained, servers have to be asked
    again = " ".join(start.command).replace(" --driver paper", "")
    words = (
        f"{wait}Compare what Vault and the API server wrote at this question, in the evidence and in the logs beside "
        "the record, with what they wrote when it was answered otherwise. Then run it again and leave the servers up: "
        "the end of the run says how to ask the same by hand, with one thing changed at a time"
    )
    commands: tuple[str, ...] = (f"{again} --keep",) if again else ()
    if ("read" in case.after.probe or case.after.probe == "write") and case.after.item:
        words += "; the last command is for that Vault, with the app's token, and says what its policies grant there"
        commands += (f"vault token capabilities {case.facts.topology.data_path(case.after.item)}",)
    elif mount and case.facts.mount(mount).of_kind.config:
        words += "; the last command is for that Vault, and shows what the mount holds"
        commands += (f"vault read auth/{mount}/config",)
    return Remedy(f"{words}.", commands=commands, unproven="nobody knows the cause, so there is nothing to try")


def worst_first(findings: Iterable[Finding]) -> Sequence[Finding]:
    """Return findings as a reader needs them: regressions, what will hurt later, what was broken, what got better."""
    rank: dict[Kind, int] = {"regression": 0, "latent": 1, "pre-existing": 2, "improvement": 3}
    return sorted(findings, key=lambda finding: rank[finding.kind])
