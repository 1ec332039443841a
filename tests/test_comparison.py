"""Two answers to one question differ in what matters, the same whichever came first, explained only where we know."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.analysis import comparison
from harness.analysis.comparison import Change
from harness.record.observation import Answer, Observation
from harness.scenario.moments import after

NAME = "service account name not authorized"
SPACE = "namespace not authorized"
OLD_ISSUER, NEW_ISSUER = 'claim "iss" is invalid', "invalid issuer (iss) claim"
OLD_AUDIENCE, NEW_AUDIENCE = 'claim "aud" is invalid', "invalid audience (aud) claim: it does not match"


def seen(version: str = "1.7.0", moment: str = "before", **fields: Any) -> Observation:
    """Return the observation of one login, granted unless *fields* say otherwise."""
    usual: dict[str, Any] = {"id": 1, "probe": "login", "app": "web", "mount": "kubernetes", "answer": "granted"}
    return Observation(**(usual | {"moment": moment, "version": version, "status": 200} | fields))


def refused(version: str, status: int, error: str, **fields: Any) -> Observation:
    return seen(version, answer="refused", status=status, error=error, **fields)


def only(changes: list[Change]) -> Change:
    (change,) = changes
    return change


versions_seen = st.sampled_from(["1.7.0", "1.9.3", "1.10.4", "1.11.0", "1.13.0", "1.16.0"])
errors_seen = st.sampled_from(
    ["", "permission denied", NAME, SPACE, OLD_ISSUER, NEW_ISSUER, OLD_AUDIENCE, NEW_AUDIENCE, "no answer"]
)
details_seen = st.dictionaries(
    st.sampled_from(["policies", "ttl", "id", "token_format", "token_reviewer_jwt_set", "alias_name_source", "issuer"]),
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.lists(st.integers(), max_size=2),
)
observations = st.builds(
    lambda version, answer, status, error, detail: seen(
        version, moment=after(version), answer=answer, status=status, error=error, detail=detail
    ),
    versions_seen,
    st.sampled_from(["granted", "refused", "unknown"]),
    st.sampled_from([None, 200, 400, 403, 500]),
    errors_seen,
    details_seen,
)


def differences(changes: list[Change]) -> set[tuple[str, str, frozenset[str], str]]:
    return {(c.what, c.field, frozenset((c.before, c.after)), c.explained) for c in changes}


@given(one=observations, other=observations)
def test_what_differs_does_not_depend_on_which_came_first(one: Observation, other: Observation) -> None:
    """The same differences with the same explanations, and before and after trade places."""
    there, back = comparison.between(one, other), comparison.between(other, one)
    assert differences(there) == differences(back)
    assert {(c.field, c.before, c.after) for c in there} == {(c.field, c.after, c.before) for c in back}


@given(one=observations)
def test_an_answer_does_not_differ_from_itself(one: Observation) -> None:
    assert comparison.between(one, one) == []


@given(one=observations, other=observations)
def test_nothing_is_explained_where_the_version_is_the_same(one: Observation, other: Observation) -> None:
    """An explanation by version needs two; only other words for the same refusal explain themselves."""
    changes = comparison.between(one, msgspec.structs.replace(other, version=one.version))
    assert {change.explained for change in changes if change.what != "error"} <= {""}


@pytest.mark.parametrize(
    ("probe", "field"), [*sorted(comparison.USUAL), *(("login", field) for field in comparison.BY_HAND)]
)
def test_what_always_differs_is_forgotten(probe: str, field: str) -> None:
    """Another value, or a field that came or went."""
    first, second = seen(probe=probe, detail={field: 1}), seen("1.11.0", probe=probe, detail={field: 20})
    without = seen("1.11.0", probe=probe)
    assert comparison.between(first, second) == comparison.between(first, without) == []


@pytest.mark.parametrize(("probe", "field"), sorted(comparison.USUAL))
def test_what_always_differs_of_one_question_is_told_of_another(probe: str, field: str) -> None:
    other = {"probe": "role", "app": ""}
    assert len(comparison.between(seen(detail={field: 1}, **other), seen("1.11.0", detail={field: 20}, **other))) == 1


@pytest.mark.parametrize("field", comparison.BY_HAND)
def test_what_is_left_out_by_hand_has_a_reason(field: str) -> None:
    """And no record of a restart shows it: what one shows is no matter of opinion."""
    assert len(comparison.BY_HAND[field].split()) > 5
    assert field not in {name for _, name in comparison.USUAL}


def test_the_time_in_the_words_of_a_refusal_is_no_difference() -> None:
    """Real servers say it of a certificate that has expired."""
    said = "certificate has expired: current time 2026-11-26T17:46:{}Z is after 2026-11-26T16:45:16Z"
    first, second = (refused("1.7.0", 400, said.format(seconds)) for seconds in (44, 59))
    assert comparison.between(first, second) == []
    assert len(comparison.between(first, refused("1.7.0", 400, "certificate is unknown: 2026-11-26T17:46:44Z"))) == 1


def test_times_and_numbers_of_a_request_are_no_difference() -> None:
    """When it was asked, how long it took, and under which header."""
    first = seen(id=1, latency_ms=1.0, started=1.0, ended=2.0, correlation="rehearsal-000001", detail={"policies": []})
    again = seen(
        "1.11.0",
        id=9,
        latency_ms=80.0,
        started=9.0,
        ended=10.0,
        correlation="rehearsal-000009",
        detail={"policies": []},
    )
    assert comparison.between(first, again) == []


def test_another_answer_is_told_with_status_and_words() -> None:
    """And nothing else of the same two: the details of a refusal and a grant have nothing in common."""
    granted = seen(detail={"policies": ["web"]})
    denied = refused("1.11.0", 403, "permission denied", moment=after("1.11.0"))
    change = only(comparison.between(granted, denied))
    assert (change.what, change.before, change.after) == ("answer", "granted 200", "refused 403 permission denied")
    assert (change.from_moment, change.to_moment, change.hop) == ("before", "after 1.11.0", "1.11.0")
    assert (change.probe, change.app, change.mount, change.item) == ("login", "web", "kubernetes", "")
    assert change.explained == ""


@pytest.mark.parametrize("known", ["granted", "refused"])
def test_unknown_equals_no_answer(known: Answer) -> None:
    """Nobody could be asked: that is a change from and to either answer, with the reason, and never a pass."""
    answered = seen(answer=known, status=200)
    silent = seen("1.11.0", answer="unknown", status=None, error="no answer: refused")
    assert only(comparison.between(answered, silent)).after == "unknown no answer: refused"
    assert only(comparison.between(silent, answered)).before == "unknown no answer: refused"
    assert {c.what for c in comparison.between(answered, silent)} == {"answer"}


def test_unknown_twice_is_no_change_of_the_answer() -> None:
    silent = seen(answer="unknown", status=None, error="no answer")
    assert comparison.between(silent, seen("1.11.0", answer="unknown", status=None, error="no answer")) == []


@pytest.mark.parametrize(
    ("before", "after_hop", "floor"),
    [
        (refused("1.7.0", 500, NAME), refused("1.11.0", 403, NAME), "1.10.4"),
        (refused("1.10.3", 500, SPACE), refused("1.10.4", 403, SPACE), "1.10.4"),
        (refused("1.12.0", 500, NEW_ISSUER), refused("1.13.0", 403, NEW_ISSUER), "1.13.0"),
        (refused("1.7.0", 500, OLD_AUDIENCE), refused("1.13.0", 403, NEW_AUDIENCE), "1.13.0"),
    ],
)
def test_a_status_that_moved_as_known_is_explained(before: Observation, after_hop: Observation, floor: str) -> None:
    change = only(comparison.between(before, after_hop))
    assert change.what == "status"
    assert change.explained.startswith(f"since Vault {floor} this refusal")
    assert only(comparison.between(after_hop, before)).explained == change.explained


@pytest.mark.parametrize(
    ("why", "before", "after_hop"),
    [
        ("the refusal is another", refused("1.7.0", 500, NAME), refused("1.11.0", 403, SPACE)),
        ("the words are lost", refused("1.7.0", 500, NAME), refused("1.11.0", 403, "permission denied")),
        ("the words are new", refused("1.7.0", 500, "internal error"), refused("1.11.0", 403, NAME)),
        ("not between these versions", refused("1.7.0", 500, NAME), refused("1.9.3", 403, NAME)),
        ("not to this status", refused("1.7.0", 500, NAME), refused("1.11.0", 400, NAME)),
        ("not from this status", refused("1.7.0", 502, NAME), refused("1.11.0", 403, NAME)),
        ("not in this direction", refused("1.7.0", 403, NAME), refused("1.11.0", 500, NAME)),
        ("not one of Vault's checks", refused("1.7.0", 500, "boom"), refused("1.11.0", 403, "boom")),
    ],
)
def test_a_status_that_moved_otherwise_is_not_explained(why: str, before: Observation, after_hop: Observation) -> None:
    change = only(comparison.between(before, after_hop))
    assert (change.what, change.explained) == ("status", ""), why


@pytest.mark.parametrize(
    ("before", "after_hop", "explained"),
    [
        (OLD_ISSUER, NEW_ISSUER, "the same refusal (issuer) in other words"),
        (OLD_AUDIENCE, NEW_AUDIENCE, "the same refusal (audience) in other words"),
        (NAME, SPACE, ""),
        ("permission denied", NEW_ISSUER, ""),
        ("first words", "second words", ""),
    ],
)
def test_other_words_are_explained_where_they_say_the_same(before: str, after_hop: str, explained: str) -> None:
    change = only(comparison.between(refused("1.10.0", 500, before), refused("1.11.0", 500, after_hop)))
    assert (change.what, change.before, change.after, change.explained) == ("error", before, after_hop, explained)


@pytest.mark.parametrize(
    ("field", "old", "new", "value", "explained"),
    [
        ("disable_local_ca_jwt", "1.5.3", "1.5.4", False, "Vault shows disable_local_ca_jwt since 1.5.4"),
        ("alias_name_source", "1.7.0", "1.11.0", "serviceaccount_uid", "Vault shows alias_name_source since 1.9.0"),
        ("token_reviewer_jwt_set", "1.11.0", "1.16.0", True, "Vault shows token_reviewer_jwt_set since 1.16.0"),
        ("token_reviewer_jwt_set", "1.7.0", "1.11.0", True, ""),
        ("token_reviewer_jwt_set", "1.16.0", "1.17.0", True, ""),
        ("never_heard_of", "1.7.0", "1.16.0", "says something", ""),
        ("never_heard_of", "1.7.0", "1.16.0", "", "a new field, and empty"),
        ("never_heard_of", "1.7.0", "1.16.0", [], "a new field, and empty"),
        ("never_heard_of", "1.7.0", "1.7.0", "", ""),
    ],
)
def test_a_new_field_is_explained_by_the_version_that_brought_it_or_by_saying_nothing(
    field: str, old: str, new: str, value: Any, explained: str
) -> None:
    change = only(comparison.between(seen(old), seen(new, detail={field: value})))
    assert (change.what, change.field, change.before) == ("detail", field, "not there")
    assert change.explained == explained


@pytest.mark.parametrize("field", ["token_reviewer_jwt_set", "never_heard_of"])
def test_a_field_that_went_away_is_not_explained_by_being_new(field: str) -> None:
    """Though the hop crosses the version that first showed it."""
    change = only(comparison.between(seen("1.11.0", detail={field: ""}), seen("1.16.0")))
    assert (change.after, change.explained) == ("not there", "")


def test_a_field_that_changed_its_value_is_not_explained_by_being_new() -> None:
    """It was shown before, so no version brought it."""
    before = seen("1.11.0", detail={"token_reviewer_jwt_set": False})
    change = only(comparison.between(before, seen("1.16.0", detail={"token_reviewer_jwt_set": True})))
    assert (change.before, change.after, change.explained) == ("false", "true", "")


@pytest.mark.parametrize(("old", "new", "known"), [("1.9.10", "1.10.0", True), ("1.10.0", "1.11.0", False)])
def test_another_form_of_tokens_is_explained_where_1_10_lies_between(old: str, new: str, known: bool) -> None:
    before = seen(old, detail={"token_format": "s. and 24 characters"})
    change = only(comparison.between(before, seen(new, detail={"token_format": "hvs. and 91 characters"})))
    assert change.explained.startswith("since Vault 1.10.0 tokens begin with hvs.") is known


def test_every_detail_that_differs_is_a_change_of_its_own() -> None:
    """Null is not the same as not there."""
    before = seen(detail={"same": [1], "null": None, "number": 1, "gone": ""})
    now = seen("1.11.0", detail={"same": [1], "number": 2, "come": {"a": 1}})
    found = {change.field: (change.before, change.after) for change in comparison.between(before, now)}
    assert found == {
        "null": ("null", "not there"),
        "number": ("1", "2"),
        "gone": ('""', "not there"),
        "come": ("not there", '{"a":1}'),
    }


def test_changes_come_in_the_order_of_the_hops_that_made_them() -> None:
    """Each moment is compared with the last one, each question only with itself."""
    denied = {"answer": "refused", "status": 403, "error": "permission denied"}
    record: list[Observation] = []
    for version, moment, of_cron, keys in (
        ("1.7.0", "before", {}, ["a"]),
        ("1.9.2", "after 1.9.2", {}, ["a", "b"]),
        ("1.9.3", "after 1.9.3", denied, ["a", "b"]),
        ("1.11.0", "after 1.11.0", denied, ["a", "b"]),
    ):
        record += [
            seen(version, moment),
            seen(version, moment, app="cron", **of_cron),
            seen(version, moment, probe="read", item="secret/a", detail={"keys": keys}),
            seen(version, moment, probe="read", item="secret/b", detail={"keys": []}),
        ]
    found = [(change.probe, change.app, change.item, change.hop) for change in comparison.compare(record)]
    assert found == [("read", "web", "secret/a", "1.9.2"), ("login", "cron", "", "1.9.3")]


# --- what else changed, a line a kind ---


def test_what_else_changed_is_one_entry_a_kind_with_its_apps() -> None:
    """Six apps with other tokens are one entry, and so are all refusals whose status moved, and all fields."""
    old = {"token_format": "s. and 24 characters"}
    new = {"token_format": "hvs. and 91 characters", "num_uses": 0, "mfa_requirement": None}
    before, later = [], []
    for app in (f"web{number}" for number in range(6)):
        before += [seen(app=app, detail=old), refused("1.7.0", 500, NAME, app=app, probe="wrong-service-account")]
        before += [refused("1.7.0", 500, SPACE, app=app, probe="wrong-namespace")]
        later += [seen("1.11.0", app=app, detail=new), refused("1.11.0", 403, NAME, app=app, probe=before[-2].probe)]
        later += [refused("1.11.0", 403, SPACE, app=app, probe="wrong-namespace")]
    found = comparison.what_else(comparison.compare([*before, *later]))
    assert [(one.what, len(one.apps), one.hops, one.advice) for one in found] == [
        (
            "token format (hvs. and 91 characters instead of s. and 24 characters)",
            6,
            ("1.11.0",),
            "mind column widths and patterns",
        ),
        ("fields that are new: num_uses and mfa_requirement (login)", 6, ("1.11.0",), ""),
        (
            "refusals answer 403 instead of 500 (wrong-service-account, wrong-namespace)",
            6,
            ("1.11.0",),
            "clients that retry on 5xx only stop retrying",
        ),
    ]


def test_an_answer_that_changed_is_a_finding_and_nothing_else() -> None:
    assert comparison.what_else(comparison.between(seen(), refused("1.11.0", 403, "permission denied"))) == []


def test_a_question_that_could_not_be_asked_has_no_other_status() -> None:
    """Where an app is refused meanwhile, what failed before with 500 is not asked, and answers nothing."""
    failed = seen("1.9.2", answer="unknown", status=500, error="connection refused", probe="read")
    unasked = seen("1.11.0", answer="unknown", status=None, error="there is no token to ask with", probe="read")
    assert comparison.what_else(comparison.between(failed, unasked)) == []


@given(one=observations, other=observations)
def test_whatever_else_changed_is_said(one: Observation, other: Observation) -> None:
    """Every change but that of an answer is part of an entry, with its app and its hop, if there was an answer."""
    changes = comparison.between(one, other)
    rest = [change for change in changes if change.what != "answer" and not comparison.without_answer(change)]
    found = comparison.what_else(changes)
    assert bool(found) == bool(rest)
    assert all(one.what and one.hops == (other.version,) and one.apps == ("web",) for one in found)
    words = " ".join(one.what for one in found)
    assert all(change.field in words for change in rest if change.field != "token_format")


def test_a_life_told_a_moment_later_is_the_same_life() -> None:
    """Vault counts from now on, in whole seconds: two looks a moment apart differ by one. An hour is another life."""
    old, later = ({"lease_duration": 2764800}, {"lease_duration": 2764799})
    told = [seen(detail=old, probe="token-renew"), seen("1.11.0", after("1.11.0"), detail=later, probe="token-renew")]
    assert comparison.compare(told) == []
    told[1] = seen("1.11.0", after("1.11.0"), detail={"lease_duration": 3600}, probe="token-renew")
    assert only(comparison.compare(told)).field == "lease_duration"


def test_what_a_way_back_brings_back_is_told_by_what_it_was_meanwhile() -> None:
    """There and back the first value stands at both ends: nobody learns anything from "web instead of web"."""
    there = [("1.4.0", "before", ["web"]), ("1.11.0", after("1.11.0"), ["default", "web"]), ("1.4.0", "back", ["web"])]
    told = [seen(version, moment, detail={"policies": value}) for version, moment, value in there]
    (one,) = comparison.what_else(comparison.compare(told))
    assert one.what == 'login reads back another policies: ["default","web"] instead of ["web"]'
    assert one.hops == ("1.11.0", "1.4.0")
