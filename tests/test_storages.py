"""What happens to the servers that have Vault's data: what can be said of it, and what is found, on paper."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from harness.analysis import lost_connections, verdict
from harness.artifacts.images import VAULT, Image
from harness.clients import postgres
from harness.drivers.kind import limits
from harness.errors import MissingPrerequisite, ScenarioError
from harness.record import journal
from harness.reports import plan as reports
from harness.reports import prediction as prediction_report
from harness.scenario import driver_traits, loading, plan
from harness.scenario.schema import Scenario
from harness.session import prediction
from tests.runs import on_paper
from tests.stored_records import FOLDER
from tests.test_cases import unpacked

ETCD = "storage: etcd, etcd-members: 3"
POSTGRESQL = "storage: postgresql"


def scenario(file: Path, vault: str, steps: str) -> Path:
    """Write a scenario of a Vault over a storage into *file*, with the *steps* of its course, and return that."""
    file.write_text(
        "schema: 1\n"
        "description: A storage that has faults, and an app with a secret ID.\n"
        f"vault: {{source: 1.9.2, {vault}}}\n"
        "auth:\n"
        "  approle: {type: approle, roles: {web: {policies: [web]}}}\n"
        "apps:\n"
        "  web: {role: web, reads: [secret/web]}\n"
        f"course:\n{steps}"
    )
    return file


@pytest.mark.parametrize(
    ("vault", "steps", "says"),
    [
        ("storage: raft", "  - storage: restart\n", "storage raft is in Vault itself, and has no servers beside it"),
        ("storage: file", "  - {upgrade: 1.11.0, meanwhile: stop}\n", "storage file is in Vault itself"),
        ("storage: etcd", "  - storage: lose-leader\n", "an etcd of one member has no other one that could lead"),
        (POSTGRESQL, "  - storage: lose-leader\n", "lose-leader is of an etcd, and the storage is postgresql"),
        (POSTGRESQL, "  - {restart: {}, meanwhile: defrag}\n", "defrag is of an etcd, and the storage is postgresql"),
        (ETCD, "  - storage: start\n", "every server of the storage is there"),
        (POSTGRESQL, "  - storage: stop\n  - storage: restart\n", "no server of the storage is there any more"),
        (ETCD, "  - storage: lose-leader\n" * 3, "2 of 3 servers are away by then, and nobody leads"),
        (ETCD, "  - storage: lose-leader\n  - snapshot: {}\n", "1 of 3 servers is away by then"),
        (POSTGRESQL, "  - {storage: restart, meanwhile: stop}\n", "of no use to storage, which is no hop"),
        (
            POSTGRESQL,
            "  - snapshot: {}\n  - upgrade: 1.11.0\n  - {roll-back: snapshot, meanwhile: restart}\n",
            "of no use to roll-back: snapshot, which is no hop over the data as they are",
        ),
        (
            f"{ETCD}, nodes: 2",
            "  - {upgrade: 1.11.0, meanwhile: stop}\n",
            "with several nodes that is no matter of one",
        ),
        (
            f"{ETCD}, nodes: 2",
            "  - {restart: {}, node: vault-1, meanwhile: lose-data}\n",
            "over etcd all nodes have the",
        ),
        (
            "storage: raft",
            "  - {upgrade: 1.11.0, meanwhile: lose-data}\n",
            "there is one node, and nobody has its data",
        ),
        (
            "nodes: 3",
            "  - {upgrade: 1.11.0, meanwhile: foreign-data}\n",
            "foreign-data is of one node, and none is named",
        ),
        (
            "nodes: 3",
            "  - {upgrade: 1.11.0, node: vault-1, meanwhile: stop}\n",
            "a step before or after it: storage: stop",
        ),
        ("nodes: 3", "  - {step-down: {}, meanwhile: lose-data}\n", "of no use to step-down, in which no node starts"),
    ],
)
def test_what_cannot_be_done_to_a_storage_is_told_with_its_line(
    vault: str, steps: str, says: str, tmp_path: Path
) -> None:
    with pytest.raises(ScenarioError, match=re.escape(says)):
        loading.load(scenario(tmp_path / "wrong.yaml", vault, steps))


def in_a_cluster(file: Path, vault: str, steps: str) -> Scenario:
    scenario(file, f"cluster: one, {vault}", steps)
    file.write_text(file.read_text().replace("vault: {", "clusters: {one: {kubernetes: 1.32.0}}\nvault: {", 1))
    return loading.load(file).scenario


def test_kind_takes_an_etcd_for_vaults_data_alone(tmp_path: Path) -> None:
    """Its clusters bring their own."""
    wanted = plan.make(in_a_cluster(tmp_path / "one.yaml", ETCD, "  - storage: defrag\n"), "one", "kind")
    limits.insist(wanted)
    assert ("etcd", driver_traits.ETCD) in wanted.artifacts
    plain = plan.make(in_a_cluster(tmp_path / "two.yaml", POSTGRESQL, "  - storage: restart\n"), "one", "kind")
    assert ("etcd", driver_traits.ETCD) not in plain.artifacts


def test_kind_takes_the_postgresql_of_this_machine_for_vaults_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = plan.make(in_a_cluster(tmp_path / "one.yaml", POSTGRESQL, "  - storage: restart\n"), "one", "kind")
    trimmed = Image(VAULT, "1.9.2", "vault:1.9.2", "sha256:0", "made here", trimmed="no storage but raft and file")
    with pytest.raises(MissingPrerequisite, match=r"has no postgresql storage .* choose storage: raft or file"):
        limits.insist_on_parts(wanted, [trimmed])
    monkeypatch.setattr(postgres, "_PACKAGES", Path("/nonexistent"))
    monkeypatch.setattr(postgres, "_OTHERS", ())
    with pytest.raises(MissingPrerequisite, match=r"there is no PostgreSQL here.*apt-get install postgresql"):
        limits.insist(wanted)


@pytest.mark.parametrize(
    ("vault", "steps", "expected"),
    [
        (ETCD, "  - {upgrade: 1.11.0, meanwhile: lose-leader}\n  - storage: start\n", []),
        (ETCD, "  - storage: defrag\n  - storage: restart\n  - upgrade: 1.11.0\n", []),
        ("storage: etcd, etcd-members: 5", "  - storage: lose-leader\n" * 2, []),
        ("storage: etcd, etcd-members: 5", "  - storage: lose-leader\n" * 3, [("requests refused", 3)]),
        # what is so still is no news, and what is so again is
        (ETCD, "  - storage: stop\n  - look: {}\n  - storage: start\n  - storage: stop\n",
         [("requests refused", 1), ("requests refused", 4)]),
        ("storage: etcd", "  - storage: stop\n    then-look: false\n  - upgrade: 1.11.0\n", [("upgrade refused", 2)]),
        (POSTGRESQL, "  - {upgrade: 1.11.0, meanwhile: stop}\n", [("upgrade refused", 1)]),
        (POSTGRESQL, "  - storage: stop\n    then-look: false\n  - restart: {}\n", [("restart refused", 2)]),
        (POSTGRESQL, "  - upgrade: 1.11.0\n  - {roll-back: binary, meanwhile: stop}\n", [("roll-back refused", 2)]),
        (POSTGRESQL, "  - {restart: {}, meanwhile: restart}\n  - storage: restart\n", []),
    ],
)  # fmt: skip
def test_a_storage_that_does_not_serve_is_a_finding_and_no_doubt(
    vault: str, steps: str, expected: list[tuple[str, int]], tmp_path: Path
) -> None:
    """Neither is it blamed on the version that was to start then."""
    wanted = loading.load(scenario(tmp_path / "one.yaml", vault, steps)).scenario
    _, judgement = on_paper(wanted, tmp_path)
    assert [(one.effect, one.step) for one in judgement.findings] == expected
    assert {one.rule for one in judgement.findings} <= {"storage-away"}
    assert judgement.doubts == ()
    assert judgement.verdict == ("fail" if expected else "pass")


def test_an_outage_is_told_with_what_was_left_then_and_not_later(tmp_path: Path) -> None:
    """Another one comes after it, which leaves fewer servers."""
    steps = "".join(f"  - storage: {word}\n" for word in ("lose-leader", "lose-leader", "start", "stop"))
    _, judgement = on_paper(loading.load(scenario(tmp_path / "one.yaml", ETCD, steps)).scenario, tmp_path)
    first, second = judgement.findings
    assert "1 of 3 members of its etcd run, and 2 have to" in first.sentence
    assert "0 of 3 members of its etcd run, and 2 have to" in second.sentence
    assert first.evidence[0].text.startswith("the leader of the etcd of Vault was killed: 1 of 3 members run")


def test_that_vault_says_it_is_well_is_told_where_it_was_asked(tmp_path: Path) -> None:
    file = scenario(tmp_path / "one.yaml", ETCD, "  - storage: stop\n")
    _, judgement = on_paper(loading.load(file).scenario, tmp_path / "asked")
    assert "sys/health says all the same that it is well" in judgement.findings[0].sentence
    file.write_text(f"{file.read_text('utf-8')}probes: [login]\n")
    _, judgement = on_paper(loading.load(file).scenario, tmp_path / "unasked")
    assert "sys/health" not in judgement.findings[0].sentence


def test_a_plan_says_what_happens_in_the_middle_of_a_hop(tmp_path: Path) -> None:
    wanted = loading.load(scenario(tmp_path / "one.yaml", ETCD, "  - {upgrade: 1.11.0, meanwhile: lose-leader}\n"))
    said = reports.render(plan.make(wanted.scenario, "one", "local"))
    assert "before it is unsealed, storage: the etcd member that leads is killed, and stays away" in said


@pytest.mark.parametrize(
    ("name", "failed"),
    [
        ("a-login-over-a-connection-that-is-gone", "failed in 1 of what was asked (login)"),
        ("a-lockout-over-a-connection-that-is-gone", "failed in 1 of what was asked (lockout)"),
    ],
)
def test_what_failed_once_on_a_connection_that_is_gone_is_told_of_the_storage(
    name: str, failed: str, tmp_path: Path
) -> None:
    """Real runs of 1.11.0 over a PostgreSQL that the course restarted: one question was asked again, the other not."""
    record = journal.load(unpacked(FOLDER / "storages" / f"{name}.jsonl.gz", tmp_path))
    judgement = verdict.judge(record)
    assert (judgement.driver, judgement.doubts) == ("local", ())
    (found,) = judgement.findings
    assert (found.kind, found.effect, found.rule, found.hop, found.confidence) == (
        "regression",
        "requests refused",
        "storage-connection-lost",
        "1.11.0",
        "certain",
    )
    assert failed in found.sentence
    assert "the PostgreSQL of Vault was restarted" in found.sentence
    assert ("asked again in the same state it was answered" in found.sentence) == ("login" in name)
    assert [line.source for line in found.evidence] == ["server", "answer", "vault log"]
    assert "57P01" in found.evidence[-1].text


@pytest.mark.parametrize(
    ("vault", "steps", "moments"),
    [
        pytest.param(
            POSTGRESQL, "  - upgrade: 1.11.0\n  - storage: restart\n", ["after storage restart"], id="restart"
        ),
        pytest.param(
            POSTGRESQL,
            "  - upgrade: 1.11.0\n  - {storage: stop, then-look: false}\n  - storage: start\n  - look: {}\n",
            ["after storage start"],
            id="away for a while",
        ),
        pytest.param(POSTGRESQL, "  - {upgrade: 1.11.0, meanwhile: restart}\n", ["after 1.11.0"], id="in mid-hop"),
        pytest.param(POSTGRESQL, "  - storage: restart\n  - {upgrade: 1.9.3, meanwhile: restart}\n", [], id="older"),
        pytest.param(
            POSTGRESQL,
            "  - upgrade: 1.11.0\n  - {storage: restart, then-look: false}\n  - upgrade: 1.13.0\n",
            [],
            id="a new Vault has connections of its own",
        ),
        pytest.param(ETCD, "  - upgrade: 1.11.0\n  - storage: restart\n", [], id="etcd"),
    ],
)
def test_what_may_fail_once_is_foretold_as_what_may_be(
    vault: str, steps: str, moments: list[str], tmp_path: Path
) -> None:
    """In which runs a request meets a connection that is gone, nobody can foretell; up to 1.10 none does."""
    told = prediction.predict(loading.load(scenario(tmp_path / "s.yaml", vault, steps)))
    assert [(one.moment, one.cause) for one in told.possible] == [(one, "storage-connection-lost") for one in moments]
    lost = [one for one in told.findings if one.cause == "storage-connection-lost"]
    assert lost == [], "that would be sure"
    assert ("may come in a run or not" in prediction_report.render(told)) == bool(moments)


@pytest.mark.parametrize("name", ["a-login-over-a-connection-that-is-gone", "a-lockout-over-a-connection-that-is-gone"])
def test_what_a_real_run_lost_on_a_connection_may_have_been_foretold(name: str, tmp_path: Path) -> None:
    """At that moment, and for that version."""
    record = journal.load(unpacked(FOLDER / "storages" / f"{name}.jsonl.gz", tmp_path))
    (found,) = verdict.judge(record).findings
    possible = [*lost_connections.possible(record.started.plan)]
    assert (found.moment, found.hop, found.effect) in [(one.moment, one.at, one.effect) for one in possible]


def test_mixed_answers_without_a_word_of_vault_on_its_connection_are_mixed_still(tmp_path: Path) -> None:
    """The same record, of which what the log said is gone."""
    file = unpacked(FOLDER / "storages" / "a-login-over-a-connection-that-is-gone.jsonl.gz", tmp_path)
    file.write_text(file.read_text().replace("terminating connection due to", "something else by"))
    judgement = verdict.judge(journal.load(file))
    # its lines have another digest as well
    assert (judgement.findings, [one.kind for one in judgement.doubts]) == ((), ["mixed", "incomplete"])


def test_a_request_that_timed_out_while_the_storage_is_away_is_lost_as_one_that_failed(tmp_path: Path) -> None:
    """A real run of 1.9.2 whose PostgreSQL was paused (SIGSTOP) where the course says stop: it answers nothing."""
    name = "a-login-that-a-hanging-storage-leaves-without-an-answer"
    judgement = verdict.judge(journal.load(unpacked(FOLDER / "storages" / f"{name}.jsonl.gz", tmp_path)))
    assert (judgement.driver, judgement.doubts) == ("local", ())
    (found,) = judgement.findings
    assert (found.kind, found.effect, found.rule, found.hop, found.confidence) == (
        "regression",
        "requests refused",
        "storage-away",
        "1.9.2",
        "strong",
    )
    assert "failed in 1 (login) with no answer in time" in found.sentence
    (answer,) = [line for line in found.evidence if line.source == "answer"]
    assert "The read operation timed out" in answer.text
    (login,) = [one for one in judgement.observations if one.probe == "login" and one.answer == "unknown"]
    assert (login.status, login.ended - login.started > 29) == (None, True)
