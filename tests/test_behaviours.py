"""The table of what each version does: a row has a source and no empty range, and no two homes disagree."""

from __future__ import annotations

import re
from typing import get_args

import pytest

from harness.analysis.crossings import WHOM
from harness.analysis.rules import RULES
from harness.knowledge import behaviours, kubernetes_auth, login_order, versions
from harness.knowledge.behaviours import Row
from harness.knowledge.kubernetes_auth import Refusal
from harness.knowledge.versions import at_least
from harness.scenario.outcomes import Cause, ProbeName

ROWS = behaviours.rows()
CONSTANTS = {
    name: value
    for module in (kubernetes_auth, login_order)
    for name, value in vars(module).items()
    if name.isupper() and isinstance(value, str) and re.fullmatch(r"\d+\.\d+\.\d+", value)
}
"""Every version that the code itself knows, by its name."""

KNOWN = ("1.3.0", "1.4.0", "1.5.0", "1.5.4", "1.6.0", "1.7.0", "1.8.0", "1.9.0", "1.9.3", "1.9.4", "1.10.0", "1.10.4",
         "1.11.0", "1.12.0", "1.13.0", "1.14.0", "1.15.0", "1.16.0", "1.17.0", "1.18.0", "1.19.0", "1.20.0", "1.21.0",
         "2.0.0", "2.1.0", "2.2.0")  # fmt: skip


def named(row: Row) -> str:
    return row.id


@pytest.mark.parametrize("row", ROWS, ids=named)
def test_a_row_says_where_it_comes_from_and_for_whom_it_is(row: Row) -> None:
    assert row.source
    assert row.effect
    assert row.remedy
    assert row.touches in WHOM
    assert bool(row.ask) == row.touches.startswith("ask")
    assert set(row.causes) <= set(get_args(Cause))
    assert row.probe in ("", *get_args(ProbeName))
    assert row.answers in ("", *get_args(Refusal))
    assert row.grade != "run" or "run: " in row.source


@pytest.mark.parametrize("row", ROWS, ids=named)
def test_no_range_is_empty(row: Row) -> None:
    assert row.spans
    for since, until in row.spans:
        for version in filter(None, (since, until)):
            assert versions.parse(version)
        assert not (since and until) or not at_least(since, until), row.ranges


def test_every_row_has_an_id_of_its_own() -> None:
    assert len({row.id for row in ROWS}) == len(ROWS)
    assert all(re.fullmatch(r"[a-z0-9.-]+", row.id) for row in ROWS)


def test_the_ranked_breakers_are_ranked_from_1_on_without_a_gap() -> None:
    ranks = [row.rank for row in behaviours.breakers() if row.rank]
    assert ranks == list(range(1, 57))


def test_every_version_that_the_code_knows_is_in_a_row() -> None:
    """A constant of which no row tells would be knowledge that nobody can look up."""
    said = {end for row in behaviours.of_file("behaviours.toml") for one in row.ranges for end in one.split("..")}
    spans = {version for row in behaviours.of_file("behaviours.toml") for span in row.spans for version in span}
    outside = {"DEFAULT_ISSUER_NOT_ENFORCED"}
    assert {name for name, value in CONSTANTS.items() if name not in said and value not in spans} <= outside


def test_a_range_that_names_no_constant_is_refused() -> None:
    row = Row(id="x", ranges=("NO_SUCH_VERSION..",), effect="", remedy="", source="", grade="read", touches="no")
    with pytest.raises(ValueError, match="NO_SUCH_VERSION is no version"):
        _ = row.spans
    with pytest.raises(ValueError, match="is no range"):
        _ = Row(id="x", ranges=("1.9.3",), effect="", remedy="", source="", grade="read", touches="no").spans


@pytest.mark.parametrize("row", [row for row in ROWS if row.answers and " -> " in row.status], ids=named)
def test_the_status_of_a_row_is_that_of_the_answers(row: Row) -> None:
    """Where a row says that a status moves, the table of answers moves it at that very version."""
    (old, new) = re.findall(r"\d{3}", row.status)[:2]
    (since, _), *_ = row.spans
    if new == "200":
        return  # a check that is gone: `expected_issuer` says so, and below it is held to the table
    before = [version for version in KNOWN if not at_least(version, since)][-1]
    assert kubernetes_auth.answer(row.answers, since)[0] == int(new)  # type: ignore[arg-type]
    assert int(old) in (200, kubernetes_auth.answer(row.answers, before)[0])  # type: ignore[arg-type]


@pytest.mark.parametrize("row", [row for row in ROWS if row.field], ids=named)
def test_a_field_that_is_new_is_new_in_both_homes(row: Row) -> None:
    """A row that says from when there is a field agrees with what a read-back shows from when."""
    since = kubernetes_auth.field_since(row.field)
    if row.id.endswith(("-is-a-field", "-is-shown")):
        assert row.spans[0][0] == since


@pytest.mark.parametrize("version", KNOWN)
def test_the_reviewer_of_the_table_is_that_of_the_code(version: str) -> None:
    """Whose token is presented, and what is checked: the rows say what the code does, for every version."""
    held = {row.id: row.holds(version) for row in ROWS}
    copied = kubernetes_auth.stored_reviewer(version, token_file=True, explicit=False, disable_local=False) == "frozen"
    read = kubernetes_auth.bearer(version, stored="", token_file=True, disable_local=False) == "local"
    assert held["reviewer-copied-at-write"] is copied
    assert held["reviewer-read-at-login"] is held["fallback-to-the-pods-token"] is read
    assert held["reviewer-is-the-login"] is not (copied or read)
    off = kubernetes_auth.validation_disabled(version, given=None)
    assert held["issuer-check-off-by-default"] is held["issuer-default-on-rewrite"] is off
    wanted = kubernetes_auth.expected_issuer(version, issuer="", validation_disabled=False)
    assert held["default-issuer-not-enforced"] is held["default-issuer-check-gone"] is (wanted == "")
    assert held["signature-checked-first"] is (login_order.checks(version).index("signing key") < 4)
    order = login_order.checks(version)
    assert held["name-before-namespace"] is (order.index("service account name") < order.index("namespace"))
    assert held["end-of-token-checked-without-keys"] is login_order.looks_at_the_end(version, keys=False)


def test_every_cause_that_a_version_brings_has_a_row() -> None:
    """What a rule names is in the table, or is no matter of versions."""
    apart = {
        "reviewer-lacks-tokenreview-rbac", "client-jwt-not-accepted", "address-not-bound", "login-token-rejected",
        "api-server-unreachable", "api-server-not-at-host", "changed-by-step", "secret-not-accepted", "lease-ended",
        "issuer-no-longer-accepted",
        "jwt-audience-mismatch", "jwt-key-unknown", "jwt-claim-mismatch", "jwt-bound-claim-mismatch",
        "jwt-claim-unusable", "certificate-expired", "certificate-not-matched",
        "token-limits", "refused-at-once", "seal-vault-sealed", "seal-vault-away", "seal-token-refused",
        "seal-migration-not-told", "seal-not-disabled", "agent-sink-missing", "clock-ahead",
    }  # fmt: skip
    told = {cause for row in ROWS for cause in row.causes}
    assert {rule.name for rule in RULES} - told <= apart
