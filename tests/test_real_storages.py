"""A Vault whose data are in a server beside it: the same answers, ways back included, and nothing left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest

from harness.drivers.local.vault_nodes import VaultNodes
from harness.drivers.postgres import PostgresStore
from harness.record import journal
from harness.record.observation import Observation
from harness.record.storage_events import StorageChanged
from harness.rehearsal import probes
from harness.rehearsal.probes import View
from harness.scenario import driver_traits
from harness.scenario.course import Serve
from harness.scenario.plan import Question
from tests.lent import Lender
from tests.test_real import REHEARSE, ROOT, ours, rehearse, until_gone
from tests.test_real_course_faults import IN_THE_RUN, KILLED
from tests.test_real_rollbacks import gone_back, scenario, told
from tests.versions_at_hand import further

pytestmark = pytest.mark.real

CONSUL: Final = further(f"consul:{driver_traits.CONSUL}")


@pytest.mark.parametrize(
    ("storage", "members", "logs"),
    [
        ("etcd", 3, [f"etcd-{number}-etcd.log" for number in range(3)]),
        ("postgresql", 1, ["store-postgres.log"]),
        pytest.param("consul", 1, ["store-consul.log"], marks=CONSUL),
    ],
)
def test_an_upgrade_and_both_ways_back_answer_as_foretold(
    storage: str, members: int, logs: list[str], tmp_path: Path, lender: Lender
) -> None:
    """The snapshot of a storage that has none of its own is a copy of what its servers hold, taken while they rest."""
    vault: dict[str, Any] = {"cluster": "one", "source": "1.9.2", "target": "1.11.0", "storage": storage}
    vault |= {"etcd-members": members} if members > 1 else {}
    file = scenario(tmp_path / f"{storage}.yaml", "1.9.2", "1.11.0", storage, vault=vault)
    directory = tmp_path / f"{storage}-{os.getpid()}"
    judgement = gone_back(lender, file, directory, rollback=True)
    assert (judgement["verdict"], judgement["exit_code"], judgement["news"]) == ("pass", 0, []), judgement["reasons"]
    seals = [one for one in judgement["observations"] if one["probe"] == "seal-status"]
    assert {one["detail"]["storage_type"] for one in seals} == {storage}
    assert [way["opened"] for way in judgement["rollbacks"]] == [True, True]
    assert all((directory / "logs" / log).is_file() for log in logs)
    kept = "".join(file.read_text() for file in (directory / "record.jsonl", *(directory / "logs").iterdir()))
    assert "postgresql://" not in kept, "with it came the password"

    paper = rehearse("run", file, "--rollback", "--driver", "paper", "-o", "json", "--run-dir", tmp_path / "paper")
    assert told(json.loads(paper.stdout)) == told(judgement)


@pytest.mark.parametrize("others", [("file", "etcd", "postgresql"), pytest.param(("consul",), marks=CONSUL)])
def test_the_same_scenario_is_answered_alike_over_each_storage(
    others: tuple[str, ...], tmp_path: Path, lender: Lender
) -> None:
    """What differs between storages is what their seal-status says of them, and nothing that an app meets."""
    answers, storages = [], ("raft", *others)
    for storage in storages:
        file = scenario(tmp_path / f"{storage}.yaml", "1.9.2", "1.11.0", storage)
        judgement = gone_back(lender, file, tmp_path / f"{storage}-{os.getpid()}")
        assert (judgement["verdict"], judgement["news"]) == ("pass", []), judgement["reasons"]
        seen = judgement["observations"]
        told = {one["detail"]["storage_type"] for one in seen if one["probe"] == "seal-status"}
        assert told == {storage}
        answers.append(
            [(*(one[part] for part in ("moment", "probe", "app", "item", "answer", "status")),) for one in seen]
        )
    assert len(answers[0]) > 20
    assert answers[1:] == answers[:1] * len(others)


THREE = """\
schema: 1
description: A Vault over an etcd of three members, and an app with a secret ID. No cluster is there.
vault: {source: 1.9.3, target: 1.11.0, storage: etcd, etcd-members: 3}
auth:
  approle: {type: approle, roles: {web: {policies: [web]}}}
apps:
  web: {role: web, reads: [secret/web]}
"""


def test_of_an_etcd_of_three_nothing_is_left_by_a_run_that_is_killed(tmp_path: Path) -> None:
    """Each member is a server of the run's, and has ports and data of its own."""
    (file := tmp_path / "three.yaml").write_text(THREE)
    directory = tmp_path / f"three-{os.getpid()}"
    words = [*REHEARSE, "run", str(file), "--run-dir", str(directory)]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as running:
        assert running.stderr is not None
        assert any("asking before" in said for said in running.stderr)
        assert sum(one.name() == "etcd" for one in ours(directory)) == 3
        running.kill()
    until_gone(directory)


TOUCHED = """\
schema: 1
description: A Vault whose storage is stopped, and an app with a secret ID. No cluster is there.
vault: {{source: 1.9.2, {storage}}}
auth:
  approle: {{type: approle, roles: {{web: {{policies: [web]}}}}}}
apps:
  web: {{role: web, reads: [secret/web]}}
course:
  - storage: {what}
"""


@pytest.mark.parametrize(
    ("storage", "what", "word"),
    [
        ("storage: etcd, etcd-members: 3", "stop", "storage"),
        ("storage: etcd, etcd-members: 3", "restart", "storage"),
        ("storage: etcd, etcd-members: 3", "stop", "look"),
        ("storage: postgresql", "stop", "storage"),
        ("storage: postgresql", "stop", "look"),
        pytest.param("storage: consul", "stop", "look", marks=CONSUL),
    ],
    ids=[
        "a member of etcd is stopped",
        "a member restarts",
        "all of etcd is away",
        "it stops",
        "PostgreSQL is away",
        "Consul is away",
    ],
)
def test_of_a_storage_with_a_fault_nothing_is_left_by_a_run_that_is_killed(
    storage: str, what: str, word: str, tmp_path: Path
) -> None:
    """SIGKILL once a server of it was stopped, and once all are away and Vault was asked for something without them."""
    (file := tmp_path / "touched.yaml").write_text(TOUCHED.format(storage=storage, what=what))
    directory = tmp_path / f"touched-{os.getpid()}"
    words = [word, IN_THE_RUN, "run", str(file), "--driver", "local", "--run-dir", str(directory)]
    done = subprocess.run(
        [sys.executable, "-c", KILLED, *words], cwd=ROOT, capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    changed = journal.load(directory).of(StorageChanged)
    assert [one.running for one in changed] == ([0] if word == "look" else [])
    until_gone(directory)
    judged = rehearse("judge", directory, "-o", "json")
    assert (judged.returncode, json.loads(judged.stdout)["verdict"]) == (4, "inconclusive")


ANEW = """\
schema: 1
description: A PostgreSQL starts anew beneath a Vault that is sealed, and an app with a secret ID. No cluster is there.
vault: {source: 1.9.2, storage: postgresql}
auth:
  approle: {type: approle, roles: {web: {policies: [web]}}}
apps:
  web: {role: web, reads: [secret/web]}
course:
  - snapshot: {}
  - {upgrade: 1.11.0, meanwhile: restart}
  - restore: {}
  - roll-back: snapshot
"""


def test_a_postgresql_that_starts_anew_beneath_a_sealed_vault_is_no_refusal_of_its_data(tmp_path: Path) -> None:
    """Vault 1.11.0 declines the first keys on connections that are gone, in mid-hop and over a restored snapshot."""
    (file := tmp_path / "anew.yaml").write_text(ANEW)
    done = rehearse("run", file, "-o", "json", "--run-dir", tmp_path / "run")
    judgement = json.loads(done.stdout)
    assert (judgement["verdict"], judgement["exit_code"]) == ("pass", 0), judgement["reasons"]
    logins = [(one["moment"], one["answer"]) for one in judgement["observations"] if one["probe"] == "login"]
    assert logins == [
        (moment, "granted") for moment in ("before", "after 1.11.0", "after restore", "after roll-back (snapshot)")
    ]
    log = (tmp_path / "run" / "logs" / "vault-vault.log").read_text()
    assert log.count("unseal key supplied") > 3 * log.count("vault is unsealed"), "no key had to be handed over again"


@pytest.mark.parametrize("where", ["in a question", "in a swap"])
def test_a_storage_that_is_killed_in_mid_run_says_nothing_of_vault(
    where: str, tmp_path: Path, lender: Lender, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody else's doing, and no answer of either version: nobody knows what the upgrade does."""
    asked, begun, killed = probes.ASKED["login"], VaultNodes.start, list[int]()

    def kill(vaults: VaultNodes) -> None:
        assert isinstance(vaults.store, PostgresStore)
        assert vaults.store._process is not None
        if not killed:
            killed.append(vaults.store._process.pid)
            os.kill(killed[0], signal.SIGKILL)

    def asking(view: View, question: Question) -> Observation:
        if view.moment != "before":
            kill(view.rig._vaults)  # type: ignore[attr-defined]
        return asked(view, question)

    def starting(vaults: VaultNodes, served: Serve, *more: Any) -> None:
        if served.version == "1.11.0":
            kill(vaults)
        begun(vaults, served, *more)

    if where == "in a question":
        monkeypatch.setitem(probes.ASKED, "login", asking)
    else:
        monkeypatch.setattr(VaultNodes, "start", starting)
    file = scenario(tmp_path / "killed.yaml", "1.9.2", "1.11.0", "postgresql")
    code, judgement = lender.rehearse(file, tmp_path / "run")
    assert (code, judgement["verdict"], judgement["findings"]) == (4, "inconclusive", [])
    assert "the PostgreSQL of Vault was ended from outside by SIGKILL" in " ".join(judgement["reasons"])
