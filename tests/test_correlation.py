"""What the servers wrote is joined to the question it belongs to, to no other, and with a mark where that is unsure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.analysis import correlation as evidence
from harness.analysis.correlation import Evidence, Joined
from harness.record import journal
from harness.record.events import (
    AnyEvent,
    ApiAuditLine,
    ApiLogLine,
    ConfigWritten,
    RunEnded,
    RunStarted,
    VaultAuditLine,
    VaultLogLine,
)
from harness.record.journal import Record
from harness.record.observation import Observation
from harness.scenario.plan import Plan
from tests import corpus_records
from tests.test_cases import unpacked

START = RunStarted(
    record_version=1,
    tool_version="0",
    run_id="test",
    scenario_file="test.yaml",
    scenario={"auth": {"kubernetes": {"cluster": "apps"}, "other": {"cluster": "platform"}}},
    plan=Plan("test", "paper", (), (), ()),
)


def asked(number: int, started: float, ended: float, **fields: Any) -> Observation:
    """Return a login at auth/kubernetes that was open from *started* to *ended*."""
    usual: dict[str, Any] = {"probe": "login", "moment": "before", "version": "1.7.0", "answer": "granted"}
    usual |= {"mount": "kubernetes", "correlation": f"rehearsal-{number:06d}"}
    return Observation(number, started=started, ended=ended, **(usual | fields))


def reviewed(at: float, cluster: str = "apps", code: int = 201, user: dict[str, Any] | None = None) -> ApiAuditLine:
    return ApiAuditLine(
        at=at, moment="before", cluster=cluster, entry={"responseStatus": {"code": code}, "user": user or {}}
    )


def logged(at: float, module: str = "auth.kubernetes.auth_kubernetes_1") -> VaultLogLine:
    return VaultLogLine(
        at=at, moment="before", level="debug", module=module, message="login unauthorized", fields={"err": "no"}
    )


def audited(correlation: str, *, header: str = "x-rehearsal-id", at: float = 0.0, **request: Any) -> VaultAuditLine:
    headers = {"headers": {header: [correlation]}}
    return VaultAuditLine(at=at, moment="before", entry={"request": {**headers, **request}})


def configured(mount: str, accessor: str) -> ConfigWritten:
    return ConfigWritten(mount=mount, accessor=accessor, version="1.7.0", token_file=True, fields={})


def joined(*events: AnyEvent) -> Joined:
    return evidence.join(Record((START, *events)))


def test_an_audit_entry_belongs_to_the_question_whose_header_it_repeats() -> None:
    """Exactly: neither to its neighbour in time nor to one whose header begins the same."""
    found = joined(
        asked(1, 0, 10),
        asked(2, 0, 10, correlation="rehearsal-0000010"),
        asked(10, 0, 10),
        audited("rehearsal-000001", at=5.0),
        audited("rehearsal-00000", at=5.0),
    )
    assert {number: len(one.audit) for number, one in found.items()} == {1: 1}
    assert not found[1].ambiguous


def of(event: Any, vault: str, node: str = "") -> Any:
    """Return *event* as one of a Vault, or of a node of it."""
    return msgspec.structs.replace(event, vault=vault, node=node)


def test_of_several_vaults_each_answers_for_itself() -> None:
    """Two clients number their requests alike, and two Vaults write at one time: no line goes astray."""
    found = joined(
        asked(1, 0, 10, vault="main"),
        asked(2, 0, 10, vault="transit", correlation="rehearsal-000001"),
        of(audited("rehearsal-000001", at=5.0), "transit"),
        of(logged(5.0), "main"),
        of(logged(6.0), "transit"),
    )
    assert {number: [line.vault for line in (*one.audit, *one.log)] for number, one in found.items()} == {
        1: ["main"],
        2: ["transit", "transit"],
    }
    assert not any(one.ambiguous for one in found.values())


def test_a_line_of_a_node_belongs_to_the_question_that_was_asked_of_it() -> None:
    """Two nodes are asked at one time, and each writes for itself."""
    found = joined(
        asked(1, 0, 10, node="vault-0", correlation="rehearsal-vault-0-000001"),
        asked(2, 0, 10, node="vault-1", correlation="rehearsal-vault-1-000001"),
        of(logged(5.0), "", "vault-0"),
        of(logged(6.0), "", "vault-1"),
        of(audited("rehearsal-vault-1-000001", at=5.0), "", "vault-0"),
    )
    assert [line.node for line in found[1].log] == ["vault-0"]
    assert [line.node for line in found[2].log] == ["vault-1"]
    # the active node audits what a standby has passed on to it
    assert [line.node for line in found[2].audit] == ["vault-0"]
    assert not found[1].ambiguous


def test_what_another_node_wrote_belongs_to_a_question_that_a_standby_passed_on() -> None:
    found = joined(asked(1, 0, 10, node="vault-1"), of(logged(5.0), "", "vault-0"))
    assert [line.node for line in found[1].log] == ["vault-0"]


@pytest.mark.parametrize("header", ["x-rehearsal-id", "X-Rehearsal-Id"])
def test_vault_may_write_the_header_as_it_likes(header: str) -> None:
    """1.7 writes it in small letters and newer ones as it was sent; the time plays no part."""
    assert joined(asked(1, 0, 10), audited("rehearsal-000001", header=header, at=99.0))[1].audit


@pytest.mark.parametrize("entry", [{}, {"request": {}}, {"request": {"headers": None}}, {"request": {"headers": {}}}])
def test_an_audit_entry_without_the_header_is_nobodys(entry: dict[str, Any]) -> None:
    """Though it was written while a question was open, and though some question has no header."""
    line = VaultAuditLine(at=5.0, moment="before", entry=entry)
    assert joined(asked(1, 0, 10), asked(2, 0, 10, correlation=""), line) == {}


def test_an_audit_entry_is_shown_by_its_operation_path_and_mount() -> None:
    request: dict[str, Any] = {
        "operation": "update",
        "path": "auth/kubernetes/login",
        "id": "r-1",
        "mount_accessor": "auth_1",
    }
    line = audited("rehearsal-000001", **request)
    line.entry["error"] = "permission denied"
    (evidence_line,) = joined(asked(1, 0, 10), line)[1].audit
    assert evidence_line.source == "vault audit"
    assert evidence_line.text == "update auth/kubernetes/login, request r-1, mount auth_1: permission denied"
    assert evidence_line.line == 3


@pytest.mark.parametrize(
    ("at", "owner"),
    [(9.9, None), (10.0, 1), (15.0, 1), (20.0, 1), (20.1, None), (29.9, None), (30.0, 2), (40.0, 2), (40.1, None)],
)
def test_a_line_belongs_to_the_question_that_was_open_when_it_was_written(at: float, owner: int | None) -> None:
    """From the moment it left until its answer came, both included; a line outside is nobody's."""
    lines = (reviewed(at), logged(at), ApiLogLine(at=at, moment="before", cluster="apps", message="refused"))
    found = joined(asked(1, 10, 20), asked(2, 30, 40), *lines)
    assert list(found) == ([] if owner is None else [owner])
    for one in found.values():
        assert (len(one.reviews), len(one.log), len(one.api_log)) == (1, 1, 1)
        assert not one.ambiguous


def test_a_question_that_was_never_asked_owns_nothing() -> None:
    """It has no time: one that was blocked by another question's refusal."""
    assert joined(asked(1, 0, 0, blocked_by=7), reviewed(0.0), logged(0.0)) == {}


def test_another_clusters_token_review_is_never_joined() -> None:
    """However well the time fits: each mount asks one cluster."""
    found = joined(asked(1, 0, 10), asked(2, 0, 10, mount="other"), reviewed(5.0, "apps"), reviewed(6.0, "platform"))
    assert [review.at for review in found[1].reviews] == [5.0]
    assert [review.at for review in found[2].reviews] == [6.0]
    assert not found[1].ambiguous
    assert not found[2].ambiguous


@pytest.mark.parametrize("mount", ["", "unknown"])
def test_a_question_without_a_cluster_has_no_token_review(mount: str) -> None:
    """Health is asked of Vault alone."""
    lines = (reviewed(5.0, "apps"), reviewed(5.0, "platform"), reviewed(5.0, ""))
    assert joined(asked(1, 0, 10, mount=mount), *lines) == {}


def test_a_log_line_that_names_a_mount_belongs_to_that_mount() -> None:
    """By the accessor in its module; one that names none may be anybody's who was asking."""
    accessors = (configured("kubernetes", "auth_kubernetes_1"), configured("other", "auth_kubernetes_2"))
    questions = (asked(1, 0, 10), asked(2, 0, 10, mount="other"))
    found = joined(*accessors, *questions, logged(5.0, "auth.kubernetes.auth_kubernetes_2"))
    assert list(found) == [2]
    found = joined(*accessors, *questions, logged(5.0, "core"))
    assert set(found) == {1, 2}


def test_a_line_that_two_questions_could_claim_is_given_to_both_and_marked() -> None:
    """And a third question beside them stays sure."""
    found = joined(
        asked(1, 0, 10), asked(2, 8, 18), asked(3, 20, 30), reviewed(5.0), reviewed(9.0, code=401), reviewed(25.0)
    )
    assert [review.status for review in found[1].reviews] == [201, 401]
    assert [review.status for review in found[2].reviews] == [401]
    assert {number: one.ambiguous for number, one in found.items()} == {1: True, 2: True, 3: False}


def test_overlapping_questions_are_sure_of_what_only_one_could_claim() -> None:
    found = joined(asked(1, 0, 10), asked(2, 8, 18), reviewed(5.0), reviewed(15.0))
    assert {number: one.ambiguous for number, one in found.items()} == {1: False, 2: False}


spans = st.tuples(st.integers(0, 60), st.integers(0, 20)).map(lambda span: (span[0], span[0] + span[1]))


@given(
    windows=st.lists(spans.filter(lambda span: span[1] > 0), max_size=12),
    times=st.lists(st.integers(0, 90), max_size=12),
)
def test_every_line_finds_exactly_the_questions_that_were_open(
    windows: list[tuple[int, int]], times: list[int]
) -> None:
    """In whatever order they were asked, nested, overlapping or apart; an unsure join is marked at each owner."""
    questions = [asked(number, begin, end) for number, (begin, end) in enumerate(windows, 1)]
    found = joined(*questions, *(reviewed(at) for at in times))
    for question in questions:
        own = found.get(question.id, Evidence())
        within = [at for at in times if question.started <= at <= question.ended]
        assert [review.at for review in own.reviews] == within
        shared = [at for at in within if sum(begin <= at <= end for begin, end in windows) > 1]
        assert own.ambiguous is bool(shared)


class Counted(float):
    """A time that counts how often it is compared."""

    compared = 0

    def __lt__(self, other: float) -> bool:
        Counted.compared += 1
        return float.__lt__(self, other)

    def __gt__(self, other: float) -> bool:
        Counted.compared += 1
        return float.__gt__(self, other)

    def __ge__(self, other: float) -> bool:
        Counted.compared += 1
        return float.__ge__(self, other)

    def __le__(self, other: float) -> bool:
        Counted.compared += 1
        return float.__le__(self, other)


def test_twenty_thousand_questions_are_joined_without_comparing_each_line_with_each() -> None:
    """Each line finds its own question, with some forty comparisons of times each and not twenty thousand."""
    count = 20_000
    questions = [asked(n, Counted(2 * n), Counted(2 * n + 1)) for n in range(1, count + 1)]
    lines: list[AnyEvent] = [audited(f"rehearsal-{n:06d}") for n in range(count, 0, -1)]
    lines += [reviewed(2 * n + 0.5, code=n) for n in range(1, count + 1)]
    lines += [reviewed(2 * n + 1.5, code=0) for n in range(1, count + 1)]
    Counted.compared = 0
    found = joined(*questions, *lines)
    assert Counted.compared < 100 * count
    assert [(n, found[n].reviews[0].status) for n in sorted(found)] == [(n, n) for n in range(1, count + 1)]
    assert {(len(one.audit), len(one.reviews), one.ambiguous) for one in found.values()} == {(1, 1, False)}


def test_a_token_review_says_who_reviewed_with_which_token() -> None:
    """The user, the token's own number, and the Pod it is bound to, where the API server knows them."""
    user = {
        "username": "system:serviceaccount:vault:vault",
        "extra": {
            "authentication.kubernetes.io/credential-id": ["JTI=b1946ac9"],
            "authentication.kubernetes.io/pod-uid": ["4c0b5c1c"],
        },
    }
    review = joined(asked(1, 0, 10), reviewed(5.0, code=201, user=user))[1].review
    assert review is not None
    assert (review.cluster, review.status, review.user) == ("apps", 201, "system:serviceaccount:vault:vault")
    assert (review.jti, review.pod_uid, review.line, review.at) == ("b1946ac9", "4c0b5c1c", 3, 5.0)
    shown = evidence.shown(review)
    assert (shown.source, shown.cluster, shown.line) == ("api audit", "apps", 3)
    assert shown.text == (
        "create tokenreviews by system:serviceaccount:vault:vault: answered 201 "
        "(a token bound to the Pod with UID 4c0b5c1c)"
    )


@pytest.mark.parametrize("entry", [{}, {"user": None, "responseStatus": None}, {"user": {"extra": None}}])
def test_a_token_review_that_was_not_accepted_has_no_user(entry: dict[str, Any]) -> None:
    """The audit log then has no more than that it was there."""
    line = ApiAuditLine(at=5.0, moment="before", cluster="apps", entry=entry | {"responseStatus": {"code": 401}})
    review = joined(asked(1, 0, 10), line)[1].review
    assert review is not None
    assert (review.user, review.status) == ("", 401)
    assert evidence.shown(review).text == "create tokenreviews by a bearer that was not accepted: answered 401"


def test_evidence_is_shown_in_the_order_in_which_a_login_goes() -> None:
    """Vault's request, the TokenReview, what the API server said of it, what Vault said of it; each with its line."""
    api_log = ApiLogLine(at=4.0, moment="before", cluster="apps", message="invalid bearer token")
    found = joined(asked(1, 0, 10), logged(3.0, "core"), api_log, reviewed(5.0), audited("rehearsal-000001"))
    evidence_lines = found[1].evidence_lines()
    assert [(evidence_line.source, evidence_line.line) for evidence_line in evidence_lines] == [
        ("vault audit", 6),
        ("api audit", 5),
        ("api log", 4),
        ("vault log", 3),
    ]
    assert evidence_lines[3].text == "[DEBUG] core: login unauthorized err=no"
    assert evidence_lines[2].text == "invalid bearer token"


def test_what_the_servers_did_not_write_is_no_evidence() -> None:
    """Other events of the record carry times too."""
    assert joined(asked(1, 0, 10), RunEnded(at=5.0), msgspec.structs.replace(START, at=5.0)) == {}
    assert Evidence().review is None
    assert Evidence().evidence_lines() == []


def answered(at: float, correlation: str = "", mount: str = "kubernetes") -> VaultAuditLine:
    """Return Vault's audited answer to a login: without our header it is that of an agent."""
    headers = {"headers": {"x-rehearsal-id": [correlation]}} if correlation else {}
    return VaultAuditLine(at=at, moment="before", entry={"request": {**headers, "path": f"auth/{mount}/login"}})


def reviews_of(number: int, *events: AnyEvent) -> tuple[list[float], bool]:
    found = joined(*events)
    return ([one.at for one in found[number].reviews], found[number].ambiguous) if number in found else ([], False)


def test_what_is_written_right_before_an_agent_is_answered_is_none_of_a_questions() -> None:
    question = asked(1, 1.0, 2.0)
    events = (question, reviewed(1.2), reviewed(1.5), logged(1.55), answered(1.3), answered(1.6, question.correlation))
    assert reviews_of(1, *events) == ([1.5], False)
    refused_before_any_review = (question, reviewed(1.5), answered(1.1, question.correlation), answered(1.6))
    assert reviews_of(1, *refused_before_any_review) == ([], False)


def test_of_two_logins_at_a_time_nobody_knows_which_review_is_whose() -> None:
    question = asked(1, 1.0, 2.0)
    both = (question, reviewed(1.2), reviewed(1.3), answered(1.4, question.correlation), answered(1.5))
    assert reviews_of(1, *both) == ([1.2, 1.3], True)
    one = (question, reviewed(1.2), answered(1.3), answered(1.4, question.correlation))
    assert reviews_of(1, *one) == ([1.2], True)


def test_what_vault_did_not_audit_keeps_what_was_written_meanwhile() -> None:
    """An audit device that cannot write leaves no answer of the question, and an agent is answered before."""
    assert reviews_of(1, asked(1, 1.0, 2.0), answered(1.1), reviewed(1.5)) == ([1.5], False)
    assert reviews_of(1, asked(1, 1.0, 2.0), reviewed(1.5), answered(1.9)) == ([1.5], False)


def test_a_try_of_an_agent_is_no_evidence_of_another_app_or_mount_on_real_servers(tmp_path: Path) -> None:
    """In the first the agent of app-0 tries again while that of app-1 is looked at, which asks nobody at its mount;
    in the second one tries in the middle of a login with a token of another cluster.
    """
    kept = Path(__file__).parent / "data" / "two-agents-of-one-account-that-try-again.jsonl.gz"
    record = journal.load(unpacked(kept, tmp_path))
    found = evidence.join(record)
    waits = {one.id: one for one in record.of(Observation) if (one.probe, one.app) == ("sidecar", "app-1")}
    assert waits
    assert not any(found[number].reviews for number in waits if number in found)
    record = corpus_records.record("n06")
    found = evidence.join(record)
    stolen = [one for one in record.of(Observation) if one.probe == "other-cluster-token" and one.moment == "look"]
    assert stolen
    assert all(len(found[one.id].reviews) == 1 for one in stolen)
