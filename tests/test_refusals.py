"""What is a refusal of Vault, and what only means "not now": one definition, held against every status."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

import harness
from harness.drivers.paper.driver import PaperRig
from harness.knowledge import kubernetes_auth, refusals
from harness.knowledge.kubernetes_auth import Refusal
from harness.knowledge.refusals import says
from harness.record import journal, node_events
from harness.record.events import Renewals, Trouble
from harness.record.observation import Observation
from harness.rehearsal.probes.look import answer_of
from harness.rig.rig import Reply
from harness.scenario import loading
from harness.secret import Secret
from tests.runs import OUTAGE, on_paper
from tests.test_records import RECORDS

NOT_NOW = {408, 412, 425, 429, 472, 473, 474}
STANDBY = (
    "Vault is sealed",
    "local node not active but active cluster node not found",
    "node not active but active node not found",
    "no active Vault instance found",
    "error during forwarding RPC request",
    "raft: node is not the leader",
    "leadership lost while committing log",
)


@given(status=st.none() | st.integers(min_value=100, max_value=599), words=st.sampled_from(["", "no", *STANDBY]))
def test_every_status_is_said_to_mean_one_thing(status: int | None, words: str) -> None:
    """2xx grants; 4xx refuses but for what is put off; a standby, a proxy or a sealed node does neither."""
    said = says(status, words)
    if status is None or status < 200 or 300 <= status < 400 or status in NOT_NOW or status > 500:
        assert said == "not now"
    elif status < 300:
        assert said == "granted"
    elif words in STANDBY:
        assert said == "not now"
    else:
        assert said == ("failed" if status == 500 else "refused")


def test_every_status_of_a_health_question_names_a_state() -> None:
    """A node that was removed from the others says so (530, from 1.19), and is not one that gives no answer."""
    assert {refusals.STATES[one] for one in (429, 472, 473, 474)} == {"standby"}
    assert [refusals.STATES[one] for one in (200, 501, 503, 530)] == ["active", "not initialised", "sealed", "removed"]
    assert set(get_args(node_events.State)) == {*refusals.STATES.values(), "no answer"}


@given(status=st.none() | st.integers(min_value=100, max_value=599), words=st.text(max_size=40))
def test_an_answer_is_neither_a_grant_nor_a_refusal_unless_it_is_said_to_be(status: int | None, words: str) -> None:
    answer = answer_of(Reply(status, words))
    assert answer == {"granted": "granted", "refused": "refused"}.get(says(status, words), "unknown")


@pytest.mark.parametrize("version", ["1.3.0", "1.7.0", "1.9.2", "1.9.3", "1.10.4", "1.11.0", "1.13.0", "1.17.0"])
@pytest.mark.parametrize("refusal", get_args(Refusal))
def test_every_refusal_of_a_login_is_one_in_every_version(refusal: Refusal, version: str) -> None:
    """Old versions answer most of them with 500, and only the words tell those from a fault."""
    status, words = kubernetes_auth.answer(refusal, version)
    assert says(status, words) == "refused"


@pytest.mark.parametrize(
    "words",
    [
        "square/go-jose/jwt: validation failed, token is expired (exp)",
        "1 error occurred:\n\t* permission denied\n\n",
        "Post https://10.0.0.1/tokenreviews: x509: certificate signed by unknown authority",
        'token mac for token_version:1 hmac:"..." token:"..." is incorrect: err %!w(<nil>)',
    ],
)
def test_further_words_of_a_login_that_was_not_let_in(words: str) -> None:
    assert says(500, words) == "refused"


def test_a_kv_that_still_prepares_itself_has_refused_nobody() -> None:
    """It answers 400 for a moment after its mount, and on a standby until the active node is done."""
    words = "Upgrading from non-versioned to versioned data. This backend will be unavailable for a brief period"
    assert says(400, words) == "not now"


@pytest.mark.parametrize("record", sorted(RECORDS.rglob("*.jsonl")), ids=lambda file: f"{file.parent.name}/{file.stem}")
def test_every_answer_of_a_real_run_reads_as_it_was_written_down(record: Path) -> None:
    """Nothing in the stored records would be written down otherwise today."""
    stored = journal.load(record)
    for seen in stored.of(Observation):
        # whether a credential is good, a database says, and no status
        if seen.blocked_by is None and seen.probe not in ("kept-secret", "revoked-secret"):
            assert answer_of(Reply(seen.status, seen.error)) == seen.answer
    assert all(row.renewed or row.refusals == sum(row.failures.values()) for row in stored.of(Renewals))


@pytest.mark.parametrize(
    ("status", "words", "kind", "outcome"),
    [
        (429, "rate limit quota exceeded", "silent", "inconclusive"),
        (503, "", "silent", "inconclusive"),
        (500, "failed to decrypt the keyring", "refused", "fail"),
        (400, "cipher: message authentication failed", "refused", "fail"),
    ],
)
def test_a_key_that_is_put_off_is_not_declined(
    status: int, words: str, kind: str, outcome: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A limit that answers a key says nothing about the data; a Vault that could not open them says so with 500."""
    opens = PaperRig.unseal

    def unseal(rig: PaperRig, key: Secret, *, migrate: bool = False) -> Reply:
        newest = rig.seal_status().data["version"] == "1.11.0"
        return Reply(status, words) if newest else opens(rig, key, migrate=migrate)

    monkeypatch.setattr(PaperRig, "unseal", unseal)
    record, judgement = on_paper(loading.load(OUTAGE).scenario, tmp_path)
    (trouble,) = record.of(Trouble)
    assert (trouble.kind, judgement.verdict) == (kind, outcome)


def test_nobody_else_has_a_list_of_such_statuses() -> None:
    """What only Vault answers, 472 to 474, stands in one module; a second list would come to differ from it."""
    holders = {
        file.relative_to(Path(harness.__file__).parent).as_posix()
        for file in Path(harness.__file__).parent.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Constant) and node.value in (472, 473, 474)
    }
    assert holders == {"knowledge/refusals.py"}
