"""No rule claims what its evidence does not show: with a kind of evidence deleted, or that of two logins exchanged."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import combinations
from typing import Final

import pytest
from msgspec.structs import replace

from harness.analysis import contradictions, verdict
from harness.analysis.diagnosis import UNEXPLAINED, Finding
from harness.analysis.record_view import Facts
from harness.analysis.rules import RULES
from harness.record.events import AnyEvent, RunStarted
from harness.record.journal import Record
from harness.record.observation import Observation
from tests import rules_alone, stored_records
from tests.rules_alone import KINDS
from tests.test_rules import mapped

NAMES: Final = sorted(stored_records.FILES)
SEEN: Final = {"answer", "vault audit", "vault log", "api audit", "api log", "audit device"}
"""What servers said of a login: the rest is what the record knows without it."""

OF_THE_RECORD: Final = (
    "reviewer expires",
    "rewrite changes a value",
    "rewrite refused",
    "leadership moved in vain",
    "leadership went back",
    "node lost",
    "quorum lost",
    "restart refused",
    "upgrade refused",
)
"""Findings about what was written, read back, led and not opened: no login's evidence is needed for them."""

FEW: Final = 4
"""So many pairs of a record: exchanged once more they would show no more."""

SURE: Final = ("predicted", "one side", "both sides")
"""By whom a finding can be told, the least first."""

OF_VAULT: Final = {"answer", "vault audit", "vault log", "server", "nodes", "audit device"}
OF_API_SERVERS: Final = {"api audit", "api log"}

Key = tuple[str, str, str, str, str]


def findings(record: Record) -> dict[Key, Finding]:
    return {(one.effect, one.app, one.probe, one.moment, one.item): one for one in verdict.judge(record).findings}


@cache
def findings_without(name: str, kind: str) -> dict[Key, Finding]:
    """Return what is found of a stored record without a kind of evidence."""
    return findings(mapped(stored_records.record(name), rules_alone.LESS[kind]))


@pytest.mark.parametrize("name", NAMES)
def test_no_real_run_contradicts_itself(name: str) -> None:
    facts = Facts(stored_records.record(name))
    assert [(seen.id, why) for seen in facts.observations if (why := contradictions.of(facts, seen))] == []


@pytest.mark.parametrize("name", NAMES)
def test_a_deleted_kind_of_evidence_makes_no_other_cause_certain(name: str) -> None:
    """What is certain then is what was certain before, and something that a server said is there to show it."""
    whole = findings(stored_records.record(name))
    for kind in KINDS:
        rest = findings_without(name, kind)
        for key, one in rest.items():
            if one.confidence == "certain" and one.source:
                assert key in whole, (kind, key)
                assert one.rule == whole[key].rule, (kind, key)
                shown = {line.source for line in one.evidence}
                assert SEEN & shown or one.effect in OF_THE_RECORD, (kind, key)


@pytest.mark.parametrize("name", NAMES)
def test_a_deleted_kind_of_evidence_takes_its_side_of_a_finding(name: str) -> None:
    """Nothing is told by more than before; and what both sides told is certain no more where one is gone."""
    whole = findings(stored_records.record(name))
    for one in whole.values():
        shown = {line.source for line in one.evidence}
        assert one.seen_from == SURE[bool(shown & OF_VAULT) + bool(shown & OF_API_SERVERS)], one.rule
    for kind in KINDS:
        rest = findings_without(name, kind)
        for key in rest.keys() & whole.keys():
            left, had = rest[key], whole[key]
            if left.rule == had.rule:
                assert SURE.index(left.seen_from) <= SURE.index(had.seen_from), (kind, key)
            if had.seen_from == "both sides" != left.seen_from:
                assert left.confidence != "certain", (kind, key)
        if kind in ("the API servers' side", "Vault's side", "all"):
            # Vault's answer stays: of a refusal that a server explained it is then the only word
            mine = [one for one in rest.values() if one.seen_from == "both sides"]
            assert all(kind == "Vault's side" and "answer" in {line.source for line in one.evidence} for one in mine)


@pytest.mark.parametrize("name", NAMES[:FEW])
def test_on_paper_everything_is_predicted(name: str) -> None:
    def on_paper(event: AnyEvent) -> AnyEvent:
        return replace(event, plan=replace(event.plan, driver="paper")) if isinstance(event, RunStarted) else event

    told = findings(mapped(stored_records.record(name), on_paper))
    assert {one.seen_from for one in told.values()} <= {"predicted"}


@pytest.mark.parametrize("name", NAMES)
def test_exchanged_evidence_makes_no_other_cause_certain(name: str) -> None:
    """Of two logins at one moment, or of one login at two: each has what was written about the other."""
    record = stored_records.record(name)
    whole = findings(record)
    for one, other in list(_pairs(record))[:FEW]:
        for key, found in findings(_exchanged(record, one, other)).items():
            own = found.app in (one.app, other.app) and found.moment in (one.moment, other.moment)
            claimed = found.seen_from == "both sides" and found.rule != UNEXPLAINED
            sure = found.confidence == "certain" or claimed
            if own and sure and found.probe == "login" and key in whole:
                assert found.rule == whole[key].rule, (one.app, one.moment, other.app, other.moment, key)


def _pairs(record: Record) -> Iterator[tuple[Observation, Observation]]:
    logins = [seen for seen in record.of(Observation) if seen.probe == "login" and seen.answer != "unknown"]
    # first those in which something is different: only they can mislead
    pairs = sorted(combinations(logins, 2), key=lambda pair: pair[0].error == pair[1].error)
    yield from (pair for pair in pairs if pair[0].moment == pair[1].moment or pair[0].app == pair[1].app)


def _exchanged(record: Record, one: Observation, other: Observation) -> Record:
    """Return *record* with the times and the correlations of the two exchanged, by which evidence is joined."""
    instead = {one.id: other, other.id: one}

    def change(event: AnyEvent) -> AnyEvent:
        if isinstance(event, Observation) and event.id in instead:
            by = instead[event.id]
            return replace(event, started=by.started, ended=by.ended, correlation=by.correlation)
        return event

    return mapped(record, change)


def test_a_contradiction_is_said_and_leaves_nothing_certain() -> None:
    record = stored_records.record("real/four-apps-that-vault-itself-refuses")
    logins = {seen.app: seen for seen in record.of(Observation) if seen.probe == "login" and seen.moment == "before"}
    told = findings(_exchanged(record, logins["billing"], logins["orders"]))
    for app in ("billing", "orders"):
        (found,) = [one for key, one in told.items() if key[:2] == ("refused from the start", app)]
        assert found.confidence == "strong"
        assert found.seen_from == "one side"
        assert found.sentence.endswith("so this is not certain: Vault answered one reason, and audited another one")


@pytest.mark.parametrize("name", NAMES)
def test_no_rule_claims_what_is_another_ones(name: str) -> None:
    """Whatever the order in which they are asked, and where no API server tells anything; `ALSO` has who may."""
    wrong = [
        (rule.name, asked.case.after.id, asked.cause)
        for asked in rules_alone.cases(name)
        for rule in RULES
        if rules_alone.wrong(rule, asked)
    ]
    assert wrong == []


def test_the_order_of_the_rules_decides_no_more_than_is_said() -> None:
    said = {(one, other) for one, others in rules_alone.ALSO.items() for other in others}
    rules = {rule.name: rule for rule in RULES}
    seen = {
        (asked.cause, other)
        for asked in rules_alone.every_case()
        for other in rules_alone.ALSO.get(asked.cause, {})
        if rules[other].concerns(asked.case) and rules[other].examine(asked.case) is not None
    }
    assert said == seen


def test_each_rule_demands_what_it_demanded() -> None:
    """What becomes of it with evidence gone, or something otherwise; `python -m tests.rules_alone` writes it down."""
    assert "\n".join(rules_alone.demands()) == rules_alone.DEMANDS.read_text(encoding="utf-8").rstrip("\n")


def test_every_rule_has_a_case_that_a_real_run_showed() -> None:
    """Of the others only the last words of a server tell, at its start."""
    without = {rule.name for rule in RULES if not rules_alone.own(rule)}
    assert without == {"seal-migration-not-told", "seal-not-disabled"}
