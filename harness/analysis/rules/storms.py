"""Logins that are refused because many came at once, where one that comes alone is let in."""

from __future__ import annotations

from typing import Final

from harness.analysis import storms
from harness.analysis.correlation import EvidenceLine
from harness.analysis.record_view import Facts
from harness.analysis.rules.rule import Case, Diagnosis, Remedy, Rule, diagnosed
from harness.analysis.storms import Storm
from harness.record.observation import Observation
from harness.scenario.app_spec import STORM


def same_alone(facts: Facts, seen: Observation) -> Observation | None:
    """Return the app's own login of the same moment, if it was answered as every single Pod of a storm; else None."""
    login, storm = facts.first("login", seen.app, seen.moment), storms.of(seen)
    parted = bool(storm.accepted and storm.refused)
    return login if login is not None and login.answer == seen.answer and not parted else None


def beside(facts: Facts, login: Observation) -> tuple[str, tuple[EvidenceLine, ...]]:
    """Return what became of the Pods that logged in at once beside a refused *login*, if they were refused as that was:
    words that go on with a sentence, and evidence. Else nothing.
    """
    seen = facts.first(STORM, login.app, login.moment) if login.probe == "login" else None
    if seen is None or login.answer != "refused" or same_alone(facts, seen) is None:
        return "", ()
    storm = storms.of(seen)
    words = f". So were all {storm.pods:,} Pods that logged in at once"
    text = f"{storm.pods:,} Pods of {storm.app} at once: {storms.in_words(storm.answers, storm.said)}"
    if storm.reviews:
        by = ", ".join(f"{times:,} x {who}" for who, times in storm.reviewers.items())
        text += f"; TokenReviews: {storms.in_words(storm.reviews)}, asked by {by}"
    return words, (EvidenceLine("answer", text, facts.line_of[seen.id]),)


def _at_once(case: Case) -> Diagnosis | None:
    seen, facts = case.after, case.facts
    if seen.probe != STORM:
        return None
    login = facts.first("login", seen.app, seen.moment)
    if login is None or login.answer != "granted":
        return None
    storm = storms.of(seen)
    lines = [
        EvidenceLine(
            "answer",
            f"{storm.pods:,} Pods at once: {storms.in_words(storm.answers, storm.said)}",
            facts.line_of[seen.id],
        ),
        EvidenceLine("answer", f"{seen.app} alone: HTTP {login.status}", facts.line_of[login.id]),
    ]
    if storm.reviews:
        text = f"TokenReviews of these logins: {storms.in_words(storm.reviews)}"
        lines.append(EvidenceLine("answer", text, facts.line_of[seen.id]))
    sentence = (
        f"Of {storm.pods:,} Pods of {seen.app} that logged in, {storm.at_once:,} at any time, {storm.accepted:,} were "
        f"let in ({storms.in_words(storm.refused, storm.said)}), and one that comes alone is: what refuses them is how "
        f"many they are"
    )
    why, remedies = _why(storm)
    return diagnosed(f"{sentence}{why}", "strong", lines, *remedies)


def _why(storm: Storm) -> tuple[str, tuple[Remedy, ...]]:
    """Return who turned them away, by what is counted, and what to do about it."""
    if storms.TOO_MANY in storm.refused:
        return ". Vault itself turned them away: a quota of it is used up", (
            Remedy(
                "Raise the rate limit quota of Vault that this mount comes under, or have Pods come a few at a time.",
                commands=("vault list sys/quotas/rate-limit",),
                unproven="nobody knows how many logins at once are wanted here",
            ),
        )
    if storm.throttled:
        return f". The API server turned {storm.throttled:,} of Vault's TokenReviews away (priority and fairness)", (
            Remedy(
                "Give the account with which Vault reviews a FlowSchema of its own, or have Pods come a few at a time.",
                commands=("kubectl get flowschemas",),
                unproven="nobody knows how many logins at once are wanted here",
            ),
        )
    return "", (
        Remedy(
            "Have Pods come a few at a time, and see in Vault's log beside the record what it says of those.",
            unproven="nobody knows how many logins at once are wanted here",
        ),
    )


AT_ONCE: Final = Rule(
    name="refused-at-once",
    versions="every version of Vault; rate limit quotas from 1.5.0 on",
    precondition="many Pods of an app log in at once",
    demands="some of them are refused or not answered, where the app alone is let in at the same moment",
    explanation="Vault's quotas, and the priority and fairness of an API server, turn away what comes too fast",
    source="hashicorp/vault vault/quotas; Kubernetes, API Priority and Fairness; run: 1.7.0, 1.11.0",
    examine=_at_once,
)
