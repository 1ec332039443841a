"""What it means that an app which runs could not renew its token any more: refused for good, or not known."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from harness.analysis import diagnosis, impact
from harness.analysis.correlation import EvidenceLine
from harness.analysis.diagnosis import Finding
from harness.analysis.record_view import Facts
from harness.analysis.rules import Remedy
from harness.record.events import Renewals
from harness.record.observation import Observation
from harness.scenario import moments

_RENEW: Final = (
    Remedy(
        "Renew such a token by hand on the new version and read the answer, before any app has to.",
        commands=("vault token renew",),
        unproven="no cause is known, so there is nothing to try",
    ),
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
        lookup = f"lookup-self of the old token {alive.moment}: HTTP {alive.status}"
        yield Finding(
            rule=diagnosis.UNEXPLAINED,
            kind="regression",
            effect="access refused",
            app=row.app,
            hop=row.version,
            sentence=f"Running copies of {row.app} hold a token that still works, and Vault {row.version} refused to "
            f"renew it: they are cut off {impact.span(facts.token_ttl(row.app)[0])} after their last renewal at the "
            "latest. No known cause fits what the record shows",
            confidence="none",
            evidence=(
                EvidenceLine(
                    "answer", f"renew-self of the old token, again and again: {_failures(row)}", line, at=row.at
                ),
                EvidenceLine("answer", lookup, facts.line_of[alive.id], at=alive.ended),
            ),
            remedy=diagnosis.in_words(_RENEW),
            remedies=_RENEW,
            mount=alive.mount,
            probe="old-token-renew",
            vault=row.vault,
            node=row.node,
        )


def unrenewed(facts: Facts) -> Iterator[str]:
    """Yield which apps could not learn whether their living token would be renewed: no answer is no all-clear."""
    for _, row, alive in _never_again(facts):
        if not row.refusals:
            yield (
                f"old-token-renew {row.app} {alive.moment} could not be asked: no renewal was granted any more "
                f"({_failures(row)}), though the token still works"
            )


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
