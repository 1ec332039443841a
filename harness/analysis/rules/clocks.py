"""The cause that lies with the clock of whoever leads: what an app holds ends early by it."""

from __future__ import annotations

from typing import Any, Final

from harness.analysis import token_ends
from harness.analysis.correlation import EvidenceLine
from harness.analysis.rules.rule import Case, Diagnosis, Remedy, Rule, diagnosed
from harness.record.observation import Observation
from harness.scenario import mount_kinds

_WITH_WHAT_IT_HOLDS: Final = ("old-token-lookup", "old-token-read")


def _ahead(case: Case) -> Diagnosis | None:
    seen, facts = case.after, case.facts
    if seen.probe not in _WITH_WHAT_IT_HOLDS:
        return None
    looked = [one for one in facts.of_app[seen.app] if one.probe == "old-token-lookup" and one.answer == "granted"]
    before = [one for one in looked if one.id < seen.id and not token_ends.past(one)]
    clock = _leading(case)
    if not before or clock is None:
        return None
    left: Any = before[-1].detail.get("ttl")
    ahead, passed = clock.detail["clock_ahead"], token_ends.passed(facts, before[-1], seen)
    if not isinstance(left, int) or not passed < left <= passed + ahead:
        return None
    who = clock.node or "Vault"
    return diagnosed(
        f"The clock of {who}, which leads, is {ahead} s ahead: by it the token that {seen.app} holds has ended, which "
        f"had {left} s to live {before[-1].moment}. No version has anything to do with that",
        "certain",
        [
            EvidenceLine("answer", f"sys/health of {who}: server_time_utc is {ahead} s ahead", facts.line_of[clock.id]),
            EvidenceLine("answer", f"{before[-1].moment}: lookup-self, ttl {left}", facts.line_of[before[-1].id]),
            facts.answer_line(seen),
        ],
        Remedy(
            f"Have the clock of {who} follow the others' (NTP) before it leads. What has ended by the clock of a node "
            "that came to lead is revoked: apps have to log in again.",
            commands=("timedatectl status", "curl https://<NODE>:8200/v1/sys/health   # server_time_utc; date +%s"),
            unproven="a clock is no setting of Vault's",
        ),
    )


def _leading(case: Case) -> Observation | None:
    """Return how whoever leads was found at this moment, if its clock was ahead then."""
    asked = [one for one in case.facts.observations if (one.moment, one.probe) == (case.after.moment, "health")]
    leading = [one for one in asked if not one.detail.get("standby")]
    return next((one for one in leading if one.detail.get("clock_ahead", 0) > 0), None)


AHEAD: Final = Rule(
    name="clock-ahead",
    versions="every version",
    precondition="a node leads whose clock is ahead of that of the one that gave the token",
    demands="a token is refused that had longer to live than time has passed since, and not longer than by that clock",
    explanation="when a token ends is stored as a date, which a node compares with its own clock as it comes to lead, "
    "and revokes what has ended by it",
    source="hashicorp/vault vault/token_store.go, vault/expiration.go#Restore; run: 1.9.2",
    examine=_ahead,
    kinds=mount_kinds.NAMES,
)
