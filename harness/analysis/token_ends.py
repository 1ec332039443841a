"""What time does to tokens and to agents in the course of a rehearsal, which no upgrade does and nobody foretells."""

from __future__ import annotations

from typing import Any, Final

from harness.analysis.record_view import Facts
from harness.knowledge.versions import BACKS_OFF, at_least
from harness.record.observation import Observation
from harness.scenario.course import Wait

_LOOK_UPS: Final = {"old-token-lookup": "old-token-lookup", "old-token-read": "old-token-lookup", "sidecar": "sidecar"}
"""By the probe that asks with an old token, or with that of an agent which stays: the one that looks it up."""


def ended_by_itself(facts: Facts, seen: Observation) -> bool:
    """Was a token refused after the end of its life, as Vault itself said it at the look-up before?

    Whether a new one is given is asked beside.
    """
    if seen.answer != "refused" or seen.probe not in _LOOK_UPS:
        return False
    looked = [one for one in facts.of_app[seen.app] if one.probe == _LOOK_UPS[seen.probe] and one.answer == "granted"]
    before = [one for one in looked if one.id < seen.id]
    if not before:
        return False
    known = before[-1]
    left: Any = known.detail.get("ttl") or known.detail.get("creation_ttl")
    steps = facts.between(known.moment, seen.moment)
    waited = sum(step.seconds for step in steps if isinstance(step, Wait))
    # on paper nobody waits
    return isinstance(left, int) and left <= max(seen.started - known.started, waited)


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
