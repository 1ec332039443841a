"""What time does to tokens and to agents in the course of a rehearsal, which no upgrade does and nobody foretells."""

from __future__ import annotations

from typing import Any, Final

from harness.analysis.record_view import Facts
from harness.knowledge.versions import BACKS_OFF, at_least
from harness.record.observation import Observation
from harness.scenario.course import Wait

_LOOK_UPS: Final = {
    "old-token-lookup": "old-token-lookup",
    "old-token-read": "old-token-lookup",
    "old-lease-renew": "old-token-lookup",
    "sidecar": "sidecar",
}
"""By the probe that asks with an old token, or with that of an agent which stays: the one that looks it up."""


def ended_by_itself(facts: Facts, seen: Observation) -> bool:
    """Was a token refused after the end of its life, as Vault itself said it at the look-up before?

    Whether a new one is given is asked beside.
    """
    looks_up = _LOOK_UPS.get(seen.probe)
    return seen.answer == "refused" and looks_up is not None and last_look_up(facts, seen, looks_up) is not None


def last_look_up(facts: Facts, seen: Observation, probe: str = "old-token-lookup") -> Observation | None:
    """Return the last granted look-up by *probe* of an app's token before *seen*, if the life that it told of was over
    by then; None where it was not, or where nobody looked it up.
    """
    looked = [one for one in facts.of_app[seen.app] if one.probe == probe and one.answer == "granted"]
    before = [one for one in looked if one.id < seen.id and not past(one)]
    if not before:
        return None
    life: Any = before[-1].detail.get("creation_ttl")
    # 0 is less than a second, but for a token that has no end at all
    left: Any = None if life == 0 else before[-1].detail.get("ttl", life)
    return before[-1] if isinstance(left, int) and left <= passed(facts, before[-1], seen) else None


def past(looked: Observation) -> bool:
    """Is the end of a token past that was looked up, by a clock that was set since it was given?"""
    left: Any = looked.detail.get("ttl")
    return isinstance(left, int) and left < 0


def passed(facts: Facts, earlier: Observation, later: Observation) -> float:
    """Return how many seconds were between two answers: on paper, where nobody waits, those that the course says."""
    steps = facts.between(earlier.moment, later.moment)
    return max(later.ended - earlier.ended, sum(step.seconds for step in steps if isinstance(step, Wait)))


def waited(facts: Facts, seen: Observation) -> bool:
    """Has the agent that stays beside an app, by now or at a look before, waited on instead of trying to log in again,
    or might it have?

    How long servers take decides at which look it is back, and which Vault gave the token that it has from then on.
    """
    if seen.probe != "sidecar":
        return False
    looks = [one for one in facts.of_app[seen.app] if one.probe == seen.probe and one.id <= seen.id]
    refused = [one for one in looks if one.id < seen.id and one.detail.get("failures")]
    # after two looks at which it was refused it waits longer than anybody waits for it: is it back, that was luck
    lucky = len(refused) > 1 and at_least(seen.detail.get("agent", ""), BACKS_OFF)
    return lucky or any(one.detail.get("waits_on") for one in looks)
