"""What it means that an app which runs could not renew its token any more: refused for good, and why, or not known."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from harness.analysis import diagnosis, impact
from harness.analysis.correlation import EvidenceLine
from harness.analysis.diagnosis import Finding
from harness.analysis.record_view import Facts
from harness.analysis.rules import Case, Remedy
from harness.analysis.rules.rule import RENEWAL
from harness.knowledge import versions
from harness.record.events import Renewals
from harness.record.observation import Observation
from harness.scenario import moments

_OF_THE_LOOK_UP: Final = ("answer", "vault audit", "vault log")
"""What evidence tells of the look-up that stands beside a renewal, and not of that."""

_BY_HAND: Final = Remedy(
    "Renew such a token by hand on the new version and read the answer, before any app has to.",
    commands=("vault token renew",),
    unproven="no cause is known, so there is nothing to try",
)


def cut_off(facts: Facts) -> Iterator[Finding]:
    """Yield the running apps whose living token Vault refused to renew, at the first hop where it did.

    Nobody notices for as long as the token's ttl, and then they are as much cut off as if their login were refused:
    the morning after a quiet day is what a rehearsal exists for. What Vault merely left unanswered is no refusal.
    """
    told: set[str] = set()
    for line, row, alive in _never_again(facts):
        before = facts.first("token-renew", row.app, facts.first_moment)
        if row.app in told or not row.refusals or (before is not None and before.answer == "refused"):
            continue
        told.add(row.app)
        yield _finding(facts, line, row, alive)


def unrenewed(facts: Facts) -> Iterator[str]:
    """Yield which apps could not learn whether their living token would be renewed: no answer is no all-clear."""
    for _, row, alive in _never_again(facts):
        if not row.refusals:
            yield (
                f"{RENEWAL} {row.app} {alive.moment} could not be asked: no renewal was granted any more "
                f"({_failures(row)}), though the token still works"
            )


def _finding(facts: Facts, line: int, row: Renewals, alive: Observation) -> Finding:
    rule, found = diagnosis.explained(Case("regression", "access refused", _last(row, alive), None, facts))
    lookup = f"lookup-self of the old token {alive.moment}: HTTP {alive.status}"
    return diagnosis.stated(
        facts,
        (rule.name if rule is not None else diagnosis.UNEXPLAINED, "regression", "access refused"),
        f"Running copies of {row.app} hold a token that still works, and {versions.called(row.version)} refused to "
        f"renew it: they are cut off {impact.span(facts.token_ttl(row.app)[0])} after their last renewal at "
        "the latest. " + (found.sentence if rule is not None else "No known cause fits what the record shows"),
        (
            EvidenceLine("answer", f"renew-self of the old token, again and again: {_failures(row)}", line, at=row.at),
            EvidenceLine("answer", lookup, facts.line_of[alive.id], at=alive.ended),
            *(one for one in found.evidence if rule is not None and one.source not in _OF_THE_LOOK_UP),
        ),
        found.remedies if rule is not None else _BY_HAND,
        confidence=found.confidence,
        app=row.app,
        hop=row.version,
        explanation=rule.explanation if rule is not None else "",
        source=rule.source if rule is not None else "",
        mount=alive.mount,
        probe=RENEWAL,
        moment=alive.moment if rule is not None else "",
        vault=row.vault,
        node=row.node,
    )


def _last(row: Renewals, alive: Observation) -> Observation:
    """Return the last renewal as a question like any other, asked at the look-up: it has its answer alone."""
    came, _, words = row.last.partition(": ")
    status = int(came.removeprefix("HTTP ")) if came.startswith("HTTP ") else None
    return msgspec.structs.replace(alive, probe=RENEWAL, answer="refused", status=status, error=words, detail={})


def _never_again(facts: Facts) -> Iterator[tuple[int, Renewals, Observation]]:
    """Yield what is on record, with its line, of each app that never renewed again, and of its token's look-up after.

    Where that look-up was refused the token is dead: that is a finding already, and renewals fail because of it.
    """
    for line, row in facts.record.numbered(Renewals):
        if not row.renewed:
            alive = facts.first("old-token-lookup", row.app, row.moment or moments.after(row.version))
            if alive is not None and alive.answer == "granted":
                yield line, row, alive


def _failures(row: Renewals) -> str:
    counted = ", ".join(f"{kind} {times}" for kind, times in row.failures.items())
    return f"{counted}; at the last {row.last}" if row.last else counted
