"""Random topologies whose Vault is only restarted: nobody may be told that something changed, because nothing did."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from harness.analysis.expectations import words
from harness.analysis.record_view import Facts
from harness.analysis.rules import secrets
from harness.scenario import shared_source
from harness.scenario.loading import Loaded
from harness.session.noise_floor import without_upgrade
from tests.fuzz.comparison import Seen
from tests.fuzz.running import Rehearsals

_OF_THE_RUN: Final = ("unlearned", "unrehearsed")


def surprises(loaded: Loaded, rehearsals: Rehearsals) -> list[str]:
    """Return what a real A -> A rehearsal of a scenario's topology tells, a line each. Raises NotRehearsed."""
    return list(told(rehearsals.for_real(without_upgrade(loaded))))


def told(seen: Seen) -> Iterator[str]:
    """Yield every finding and every change. What was wrong from the start is so with and without an upgrade.

    A restart replaces Vault's Pod: where a config holds that Pod's token, it dies, and whatever that does is so. A
    secret ID that is good for so few logins is used up by the looks, at whatever version.
    """
    record, judgement = seen
    facts = Facts(record)
    used_up = {
        one.app
        for one in facts.observations
        if one.probe == "login" and one.answer == "refused" and secrets.is_used_up(facts, one)
    }
    yield from (doubt.text for doubt in judgement.doubts if doubt.kind not in _OF_THE_RUN)
    if shared_source.holds_pod_token(record.started.plan.steps):
        return
    for finding in judgement.findings:
        if finding.kind != "pre-existing" and finding.effect != "reviewer expires" and finding.app not in used_up:
            yield words(finding)
    for change in judgement.changes:
        if change.app in used_up:
            continue
        what = " ".join(filter(None, (change.probe, change.app or change.mount, change.item, change.field)))
        yield f"{what} {change.to_moment}: {change.before} -> {change.after}"
