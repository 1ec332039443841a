"""What a record says of the database of secrets engines: what Vault could not do without it, and what it could."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from harness.analysis import diagnosis, storages
from harness.analysis.correlation import EvidenceLine
from harness.analysis.diagnosis import Finding
from harness.analysis.record_view import Facts
from harness.analysis.rules.engines import AWAY, AWAY_EXPLAINED, AWAY_SOURCE, SAYS_AWAY, bring_back
from harness.knowledge import versions
from harness.record.database_events import DatabaseChanged
from harness.record.events import VaultServing
from harness.record.observation import Observation
from harness.scenario import database_state, engine_kinds

_SHOWN: Final = 3
_ASKED_BY_US: Final = "kept-secret"
"""The question that the database itself is asked, and not Vault."""


def excused(facts: Facts) -> frozenset[int]:
    """Return the ids of the questions without an answer because the course had stopped the database they take."""
    return frozenset(one.id for label in _away(facts) for one in _lost(facts, label))


def findings(facts: Facts) -> Iterator[Finding]:
    """Yield, of each time that the database was away, what Vault could not do then, and what it could all the same."""
    told = list(facts.record.numbered(DatabaseChanged))
    for labels in database_state.outages(facts.steps):
        # what is so still is no news
        if label := next((label for label in labels if _lost(facts, label)), ""):
            yield _unanswered(facts, label, labels, told)


def away_during(facts: Facts, line: int) -> DatabaseChanged | None:
    """Return the stop of the database that came last before a *line* of the record; None where there was none."""
    stops = [one for number, one in facts.record.numbered(DatabaseChanged) if number < line and one.what == "stop"]
    return stops[-1] if stops else None


def sentence(one: DatabaseChanged) -> str:
    """Return what was done to the database, in a line without a full stop."""
    done = "stopped" if one.what == "stop" else "started again over its data"
    took = f" ({one.seconds:.1f} s)" if one.seconds else ""
    return f"the PostgreSQL of {_engines(one.engines)} was {done}{took}, at {versions.called(one.version)}"


def _engines(paths: Sequence[str]) -> str:
    return " and ".join(f"{path}/" for path in paths)


def _away(facts: Facts) -> list[str]:
    return [label for labels in database_state.outages(facts.steps) for label in labels]


def _of_database(facts: Facts, seen: Observation) -> bool:
    made = facts.topology.maker_of(seen.item) if seen.app and seen.item else None
    return made is not None and made.kind == engine_kinds.DATABASE


def _lost(facts: Facts, label: str) -> list[Observation]:
    """Return what could not be known then, because the database gave Vault, or us, no answer."""
    return [
        one
        for one in facts.observations
        if one.moment == label and one.answer == "unknown" and not one.mixed and _of_database(facts, one)
        if SAYS_AWAY.search(one.error) and (one.probe == _ASKED_BY_US or (one.status or 0) >= 500)
    ]


def _unanswered(
    facts: Facts, label: str, labels: Sequence[str], told: Sequence[tuple[int, DatabaseChanged]]
) -> Finding:
    at, lost = facts.moments[label], _lost(facts, label)
    first = facts.line_of[lost[0].id]
    line, stop = [one for one in told if one[0] < first and one[1].what == "stop"][-1]
    until = next((number for number, one in told if number > first and one.what == "start"), None)
    failed = [one for one in lost if one.probe != _ASKED_BY_US]
    declined = [
        one
        for one in facts.observations
        if (one.moment, one.answer) == (label, "refused") and _of_database(facts, one) and SAYS_AWAY.search(one.error)
    ]
    asked = sorted({one.probe for one in (*failed, *declined)})
    statuses = sorted({f"HTTP {one.status}" for one in (*failed, *declined)})
    others = [
        one
        for one in facts.observations
        if one.moment in labels and one.answer == "granted" and one.probe not in storages.OF_ITSELF
        if not _of_database(facts, one) or one.probe == "engine-role"
    ]
    starts = dict.fromkeys(
        versions.of_product(one.asked, one.answered)
        for number, one in facts.record.numbered(VaultServing)
        if number > line and (until is None or number < until)
    )
    served = f", and {versions.path(starts, ' and ')} started and was unsealed without it" if starts else ""
    return diagnosis.stated(
        facts,
        (AWAY, "regression", "requests refused"),
        f"The database of {_engines(stop.engines)} is away, because the course stopped it, and no version has to do "
        f"with that. Of what takes it {versions.called(at.version)} failed in {len(failed) + len(declined)} "
        f"({', '.join(asked)}) with {', '.join(statuses)}; {len(others)} other answers were granted meanwhile{served}",
        (
            EvidenceLine("server", sentence(stop), line, at=stop.at),
            *(facts.answer_line(one) for one in (*failed, *declined)[:_SHOWN]),
        ),
        bring_back(stop.engines[0]),
        hop=at.version,
        explanation=AWAY_EXPLAINED,
        source=AWAY_SOURCE,
        moment=label,
    )
