"""Causes of what is answered of secrets that are made as they are asked for: leases that ended."""

from __future__ import annotations

from typing import Final

from harness.analysis.correlation import EvidenceLine
from harness.analysis.rules.rule import Case, Diagnosis, Remedy, Rule, diagnosed
from harness.record.observation import Observation
from harness.scenario import engine_kinds, mount_kinds


def _lease_ended(case: Case) -> Diagnosis | None:
    seen = case.after
    last = _last_granted(case)
    if last is None or seen.probe not in ("kept-secret", "old-lease-renew"):
        return None
    made = case.facts.topology.maker_of(seen.item)
    assert made is not None, "only what an engine makes is kept, and has a lease"
    # what is no lease has no life, or none that ends
    life = last.detail.get("lease_duration")
    if not life or seen.ended < last.ended + life:
        return None
    role = seen.item.rpartition("/")[2]
    place = next(iter(engine_kinds.places(case.facts.topology.engine_of(seen.item), made))).rpartition("/")[0]
    lasted = round(seen.ended - last.ended)
    return diagnosed(
        f"The lease of what {seen.app} got of {seen.item} has ended: it lived {life} s from its last renewal on, and "
        f"that was {lasted} s ago. Vault then has its user taken out of the database, whatever version serves",
        "strong",
        [
            EvidenceLine("answer", f"{last.probe} {last.moment}: lease_duration {life}", case.facts.line_of[last.id]),
            EvidenceLine(
                "answer", f"{seen.probe} {seen.moment}: {seen.error or seen.status}", case.facts.line_of[seen.id]
            ),
        ],
        Remedy(
            f"Have {seen.app} renew its lease in time, or give role {role} a longer one (default_ttl).",
            commands=(f"vault write {place}/{role} default_ttl=1h",),
            unproven="a longer lease is no step that a rehearsal can do",
        ),
    )


def _last_granted(case: Case) -> Observation | None:
    """Return the last answer before that told how long the lease lives from then on."""
    facts, seen = case.facts, case.after
    told = [
        one
        for one in facts.observations
        if (one.app, one.item) == (seen.app, seen.item) and one.answer == "granted" and one.id < seen.id
    ]
    first = next((one for one in told if one.probe == "read"), None)
    return next((one for one in reversed(told) if one.probe == "old-lease-renew"), first)


LEASE_ENDED: Final = Rule(
    name="lease-ended",
    versions="every version",
    precondition="a secret with a lease was given out, and its lease was not renewed for as long as it lives",
    demands="the life that Vault told, and a refusal later than that",
    explanation="a credential lives as long as its lease, which whoever uses it has to renew",
    source="hashicorp/vault vault/expiration.go; run: 1.11.0",
    examine=_lease_ended,
    kinds=mount_kinds.NAMES,
)
