"""When a refused login begins to hurt: running apps keep their tokens, and are fine until these end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from harness.analysis.correlation import EvidenceLine
from harness.analysis.record_view import Facts, day_and_time
from harness.analysis.rules import occasions
from harness.analysis.rules.rule import Case
from harness.knowledge import token_store, versions
from harness.knowledge.versions import BACKS_OFF, at_least
from harness.record.observation import Observation
from harness.scenario import course, values
from harness.scenario.role_spec import RoleSpec


class Impact(msgspec.Struct, frozen=True):
    """What becomes of an app that runs through the upgrade. Times are those of the rehearsal; spans hold anywhere."""

    running_is_fine: bool | None
    """does the token from before the upgrade still work? None where that was not asked"""
    on_restart: str
    unrenewed_seconds: int = 0
    """an app that never renews is cut off this long after its login"""
    renewed_seconds: int = 0
    """an app that renews is cut off this long after its login at the latest; 0: never, or nobody knows"""
    unrenewed_until: float = 0.0
    """that moment for the token of this rehearsal, in seconds since the epoch"""
    renewed_until: float = 0.0
    sentence: str = ""
    evidence: tuple[EvidenceLine, ...] = ()


def outlook(case: Case) -> Impact:
    """Return what happens to the running copies of the app, from the old token's look-up at the same moment."""
    facts, now = case.facts, case.after
    if case.effect == "access refused":
        return _without_access(case)
    if case.effect == "reviewer changed" and now.answer == "refused":
        restart = "a restart is refused, as it was before"
        return Impact(None, restart, sentence="The login was refused before as well: nothing gets worse here.")
    if case.effect == "reviewer changed":
        restart = "a restart logs in as before, as long as the new reviewer is accepted"
        return Impact(None, restart, sentence="Nothing hurts here. " + _elsewhere(case))
    restart = f"a Pod that starts {_from_when(case)} must log in, and is refused at once"
    old = _old_token(facts, now)
    if old is None or old.answer != "granted":
        fine = None if old is None or old.answer == "unknown" else False
        said = "was not asked" if fine is None else f"is refused as well ({old.status if old else ''} at {now.moment})"
        return Impact(fine, restart, sentence=f"The token from before {_done(case)} {said}; {restart}.")
    denied = _denied(facts, now)
    if denied is not None:
        said = f"still exists, and may not read {denied.item} any more ({denied.status} at {now.moment})"
        return Impact(False, restart, sentence=f"The token from before {_done(case)} {said}; {restart}.")
    return _while_it_lasts(case, old, restart)


def _from_when(case: Case) -> str:
    between = case.facts.steps_before(case.after.moment)
    changed = dict.fromkeys(step.cluster for step in between if isinstance(step, course.OF_CLUSTERS))
    if changed:
        return f"once {' and '.join(changed)} changed"
    if case.facts.moved(case.after) is not None:
        return "once Vault has moved"
    if occasions.is_upgrade(case):
        return f"at {versions.called(case.after.version)} or later"
    return f"after {occasions.called(case)}"


def _done(case: Case) -> str:
    """Return what the token that an app holds is from before: the course as a whole, or the step that broke it."""
    return case.facts.undertaking if occasions.is_upgrade(case) else occasions.called(case)


def _without_access(case: Case) -> Impact:
    """A token without the access it needs: a fresh one by its login, an old one at once."""
    facts, now = case.facts, case.after
    restart = f"a Pod that starts {_from_when(case)} logs in, and is refused {_what(now)}"
    if now.probe.startswith("old-"):
        return Impact(False, "", sentence=f"Running copies of {now.app} are refused {_what(now)} at once.")
    old = _old_token(facts, now)
    denied = _denied(facts, now) if old is None or old.answer != "refused" else old
    if denied is not None:
        return Impact(False, restart, sentence=f"Running copies of {now.app} are refused as well; {restart}.")
    fine = None if old is None or old.answer != "granted" else True
    said = "was not asked" if fine is None else f"still works (lookup {old.status if old else ''} {now.moment})"
    return Impact(fine, restart, sentence=f"The token from before {_done(case)} {said}; {restart}.")


def _what(now: Observation) -> str:
    kind = now.probe.rpartition("-")[2]
    return f"the {kind} of {now.item}" if now.item else f"the {kind} of its token"


def _denied(facts: Facts, now: Observation) -> Observation | None:
    """Return a read with the old token that is refused now and was granted before."""
    return facts.reads_lost.get((now.app, now.moment))


def _while_it_lasts(case: Case, old: Observation, restart: str) -> Impact:
    facts, now = case.facts, case.after
    ttl, why = facts.token_ttl(now.app)
    longest = _longest(facts.role(now.app))
    ttl = min(ttl, longest) if longest else ttl
    issued = _issued(facts, now, old)
    renews = old.detail.get("renewable") is not False
    ends = longest if renews else ttl
    why = f"; {why}" if why else ""
    if not renews:
        renewing = "no token of its kind can be renewed"
    elif not longest:
        renewing = "one that renews is never cut off, for its role gives tokens with a period"
    else:
        renewing = f"one that renews at the latest {span(ends)} after it (here {day_and_time(issued + ends)})"
    first = f"{span(ttl)} after its login (here {day_and_time(issued + ttl)}{why})"
    cut = f"One that never renews is cut off {first}, {renewing}"
    if renews and ends == ttl:
        cut = f"Each is cut off {first}, whether it renews or not"
    sentence = (
        f"Running copies of {now.app} are fine for now: their token from before {_done(case)} still works "
        f"(lookup {old.status} {now.moment}). {cut}. {restart[0].upper()}{restart[1:]}."
    )
    until = issued + ends if ends else 0.0
    looked = f"lookup-self of the old token {now.moment}: HTTP {old.status}"
    evidence = [EvidenceLine("answer", looked, facts.line_of[old.id], at=old.ended)]
    for said, line in _beside(facts, now):
        sentence += f" {said}"
        evidence.append(line)
    return Impact(True, restart, ttl, ends, issued + ttl, until, sentence, tuple(evidence))


def _beside(facts: Facts, now: Observation) -> Iterator[tuple[str, EvidenceLine]]:
    """Yield what becomes of the agent that runs on beside the app: at this moment, and when it is refused as well."""
    seen = [one for one in facts.sidecars.get(now.app, ()) if one.id > now.id and one.answer != "unknown"]
    if not seen or seen[0].moment != now.moment or seen[0].answer != "granted":
        return
    first, who = seen[0], f"Vault Agent {seen[0].detail['agent']}"
    works = f"lookup-self of the token of {who} {first.moment}: HTTP {first.status}"
    words = f"{who}, which runs on beside it, has a token that works as well, and its files stay: it looks fine."
    yield words, EvidenceLine("answer", works, facts.line_of[first.id], at=first.ended)
    later = next((one for one in seen if one.answer == "refused"), None)
    if later is not None and later.detail.get("failures"):
        failures, waits = later.detail["failures"], later.detail.get("backoff")
        backs_off = at_least(later.detail["agent"], BACKS_OFF)
        longer = "each wait is longer than the one before, up to five minutes" if backs_off else "it always waits so"
        refused = f"{who}, {later.moment}: HTTP {later.status} {later.error}".strip()
        words = (
            f"Its token had ended by a later look, {failures} of its logins were refused, and it waited "
            f"{waits or 0:.1f} seconds for the next: {longer}."
        )
        yield words, EvidenceLine("answer", refused, facts.line_of[later.id], at=later.ended)


def _longest(role: RoleSpec) -> int:
    """Return after how many seconds a token of *role* ends that is renewed again and again; 0: it never does."""
    if role.explicit_max_ttl:
        return values.seconds(role.explicit_max_ttl)
    return 0 if role.period else values.seconds(role.max_ttl or token_store.DEFAULT_TTL)


def _old_token(facts: Facts, now: Observation) -> Observation | None:
    return facts.first("old-token-lookup", now.app, now.moment)


def _issued(facts: Facts, now: Observation, old: Observation) -> float:
    """Return when the old token was issued: Vault says so, and the login before the upgrade is its witness."""
    created: Any = old.detail.get("creation_time")
    if isinstance(created, int | float):
        return float(created)
    return (facts.first("login", now.app, facts.first_moment) or old).ended


def _elsewhere(case: Case) -> str:
    return (
        "It hurts where Vault's own token is not accepted: with the apps in another cluster, or once Vault's account "
        f"loses system:auth-delegator in {case.cluster}."
    )


def span(seconds: int) -> str:
    """Return a span of time in the largest unit that is whole."""
    for unit, size in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds % size == 0:
            count = seconds // size
            return f"{count} {unit}" if count > 1 else f"1 {unit[:-1]}"
    return f"{seconds} seconds"
