"""Requests that failed once because a connection of Vault to its PostgreSQL was gone, and the next one did not."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

from harness.analysis import diagnosis, storages
from harness.analysis.correlation import EvidenceLine
from harness.analysis.diagnosis import Finding
from harness.analysis.foretold import Possibility
from harness.analysis.record_view import Facts
from harness.analysis.rules import Remedy
from harness.knowledge import refusals, versions
from harness.record.events import VaultLogLine
from harness.record.observation import Observation
from harness.record.storage_events import StorageChanged
from harness.scenario import storage_state
from harness.scenario.course import Look, Moment, Serve
from harness.scenario.plan import Plan

LOST: Final = "storage-connection-lost"
EXPLANATION: Final = (
    "Vault keeps connections to its PostgreSQL open; from 1.11.0 on it asks once on one that is gone, fails, and opens "
    "another one for the next request. Up to 1.10 it tried another one by itself"
)
SOURCE: Final = "run: 1.11.0 over PostgreSQL 15 that was started anew; PR 15343 (pgx instead of lib/pq)"

_SECONDS: Final = 0.5
"""So long before or after a request its line in the log may have been written."""
_SHOWN: Final = 3


def excused(facts: Facts) -> frozenset[int]:
    """Return the ids of the questions without one answer of which the finding tells why."""
    return frozenset(seen.id for label in facts.moments for seen, _ in _lost(facts, label))


def findings(facts: Facts) -> Iterator[Finding]:
    """Yield, of each look, what failed on a connection that was gone."""
    for label, at in facts.moments.items():
        lost = _lost(facts, label)
        if not lost:
            continue
        seen = [one for one, _ in lost]
        before = [
            one for one in facts.record.numbered(StorageChanged) if one[0] < min(facts.line_of[one.id] for one in seen)
        ]
        done = [EvidenceLine("server", storages.sentence(one), line, at=one.at) for line, one in before[-1:]]
        why = f": {done[0].text}" if done else ""
        again = sum(one.mixed for one in seen)
        asked_again = f"; asked again in the same state it was answered in {again} of them" if again else ""
        yield diagnosis.stated(
            facts,
            (LOST, "regression", "requests refused"),
            f"{versions.called(at.version)} failed in {len(seen)} of what was asked "
            f"({', '.join(sorted({one.probe for one in seen}))}), because a connection to its PostgreSQL was "
            f"gone{why}. Where PostgreSQL stays up, no version does this{asked_again}",
            [*done, *(facts.answer_line(one) for one in seen[:_SHOWN]), *dict.fromkeys(line for _, line in lost)],
            _REMEDY,
            hop=at.version,
            explanation=EXPLANATION,
            source=SOURCE,
            moment=label,
        )


def possible(plan: Plan) -> Iterator[Possibility]:
    """Yield, of a plan, each look at which that may be seen: in which runs, nobody can foretell."""
    wanted = plan.resolved
    if wanted.vault.storage != "postgresql":
        return
    members, first = wanted.vault.etcd_members, wanted.name_of("")
    gone, away = "", 0
    for step in plan.steps:
        if isinstance(step, Look):
            serves = storage_state.serves(away, members)
            if gone and serves and versions.at_least(step.moment.version, refusals.ASKS_GONE_CONNECTIONS):
                yield _possibility(step.moment, gone)
                gone = ""
            continue
        if isinstance(step, Serve) and wanted.name_of(step.vault) == first:
            gone = ""  # it has connections of its own, which nobody has cut yet
        what = storage_state.touched(step)
        if what == "restart" or (what == "start" and not storage_state.serves(away, members)):
            gone = "restarted" if what == "restart" else "started again"
        away = storage_state.away_after(what, away, members)


def _possibility(moment: Moment, done: str) -> Possibility:
    return Possibility(
        effect="requests refused",
        cause=LOST,
        at=moment.version,
        moment=moment.label,
        sentence=(
            f"The PostgreSQL of Vault was {done} beneath {versions.called(moment.version)}, which asks once on each "
            "connection of before, fails, and opens another one: a request may answer 500 once. Certain is that it is "
            "answered when it is asked again, and that no Vault up to 1.10 does this. Which request it is, and whether "
            "Vault's own work has met all those connections by then, differs from run to run"
        ),
        remedy=_REMEDY.sentence,
    )


_REMEDY: Final = Remedy(
    "Have whoever asks Vault ask again where it answers 5xx: each connection that is gone fails one request, and "
    "Vault needs no restart. After a restart or a failover of PostgreSQL, log in a few times yourself, until it "
    "succeeds several times in a row, before anybody counts on it.",
    commands=("vault login -method=<METHOD> -no-store",),
    unproven="whether clients ask again is theirs to know",
)


def _lost(facts: Facts, label: str) -> Sequence[tuple[Observation, EvidenceLine]]:
    """Return what failed at a look, each with what Vault said of it: none where the storage does not serve at all."""
    if facts.topology.vault.storage != "postgresql" or label in storages.out(facts):
        return []
    logged = [
        (one.at, EvidenceLine("vault log", storages.said(one), line, at=one.at, vault=one.vault))
        for line, one in facts.record.numbered(VaultLogLine)
        if one.moment == label and refusals.LOST_CONNECTION.search(storages.said(one))
    ]
    found = []
    for seen in facts.observations:
        failed = seen.moment == label and seen.answer == "unknown" and seen.blocked_by is None and _failed(seen)
        lines = [line for at, line in logged if seen.started - _SECONDS <= at <= seen.ended + _SECONDS]
        if failed and lines:
            found.append((seen, lines[0]))
    return found


def _failed(seen: Observation) -> bool:
    """Was it answered with 5xx, once or always?"""
    told = seen.answers if seen.mixed else [f"{seen.answer} {seen.status}"]
    return any(re.fullmatch(r"unknown 5\d\d", one) for one in told)
