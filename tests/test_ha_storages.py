"""A Vault of several nodes over one etcd, Consul or PostgreSQL: what can be said, and who leads for how long."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from harness.drivers.paper.nodes import PaperNode, PaperNodes
from harness.errors import ScenarioError
from harness.record.node_events import NodesSeen, QuorumLost
from harness.reports import plan as plans
from harness.reports import text as reports
from harness.rig.rig import Reply
from harness.scenario import driver_traits, loading, plan, storage_state
from harness.secret import Secret
from tests.runs import on_paper
from tests.test_real import ours, rehearse, work_directories
from tests.versions_at_hand import further

TWO = """\
schema: 1
description: Two nodes over one {storage}. Who is let in while they are upgraded?
clusters:
  platform: {{kubernetes: 1.32.0}}
vault:
  cluster: platform
  service-account: vault/vault
  nodes: 2
  storage: {storage}
  source: 1.8.0
  {path}
auth:
  kubernetes:
    cluster: platform
    reviewer: secret
    roles:
      web: {{service-accounts: [shop, desk], namespaces: [apps], policies: [web]}}
apps:
  shop: {{cluster: platform, service-account: apps/shop, role: web, through: standby, reads: [secret/web]}}
  desk: {{cluster: platform, service-account: apps/desk, role: web, through: load-balancer, reads: [secret/web]}}
"""
UPGRADED = "target: 1.9.2"


def said(storage: str, course: str = "") -> str:
    """Return a scenario over *storage*, which is upgraded or has a *course*."""
    return TWO.format(storage=storage, path=UPGRADED if not course else "") + course


@pytest.mark.parametrize("storage", storage_state.SERVERS)
def test_nobody_votes_where_all_have_one_storage(storage: str, tmp_path: Path) -> None:
    record, judgement = on_paper(loading.loads(said(storage), "two.yaml").scenario, tmp_path)
    assert (judgement.verdict, judgement.findings) == ("pass", ())
    assert not [one for seen in record.of(NodesSeen) for one in seen.nodes.values() if one.voter]
    assert [one.node for one in judgement.rollings[0].order] == ["vault-1", "vault-0"]


def test_where_no_node_is_left_one_is_enough_and_nothing_is_said_of_raft(tmp_path: Path) -> None:
    course = "course:\n  - stop-node: vault-0\n    then-look: false\n  - stop-node: vault-1\n"
    _, judgement = on_paper(loading.loads(said("etcd", course), "two.yaml").scenario, tmp_path)
    (found,) = judgement.findings
    assert found.sentence.startswith("Nobody leads any more: of 2 nodes 1 has to be there to lead")
    assert "raft" not in f"{found.explanation}{found.source}{found.remedy}"
    assert judgement.doubts == ()


def test_a_plan_says_that_nobody_votes_over_one_storage() -> None:
    def lines(storage: str) -> str:
        return plans.render(plan.make(loading.loads(said(storage), "two.yaml").scenario, "two", "paper"))

    assert "start over the same storage: whoever has its lock leads" in lines("etcd")
    assert "join: all of them vote then" in lines("raft")


def test_one_node_that_is_left_leads(tmp_path: Path) -> None:
    """Over raft one of two would be too few."""
    course = "course:\n  - stop-node: vault-0\n"
    record, judgement = on_paper(loading.loads(said("etcd", course), "two.yaml").scenario, tmp_path / "etcd")
    assert (record.of(QuorumLost), record.of(NodesSeen)[-1].leader) == ([], "vault-1")
    raft, _ = on_paper(loading.loads(said("raft", course), "two.yaml").scenario, tmp_path / "raft")
    assert len(raft.of(QuorumLost)) == 1
    assert judgement.findings == ()


def test_what_is_found_over_one_storage_is_told_without_raft(tmp_path: Path) -> None:
    """Who leads holds a lock in it: no election, no peers, and no log of theirs."""
    course = "course:\n  - {upgrade: 1.9.2, order: leader-first}\n"
    _, judgement = on_paper(loading.loads(said("etcd", course), "two.yaml").scenario, tmp_path / "etcd")
    (found,) = judgement.findings
    assert found.rule == "leader-replaced-first"
    assert "raft" not in reports.render(judgement)
    assert "gives up the lock in the storage" in found.explanation
    _, judgement = on_paper(loading.loads(said("raft", course), "two.yaml").scenario, tmp_path / "raft")
    assert "vault operator raft list-peers" in reports.render(judgement)


def test_a_node_that_declines_its_keys_over_one_storage_has_no_data_of_another_vault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All nodes have the same: it is the version that makes something else of them."""

    def declines(self: Any, _key: Secret) -> Reply:
        running = self._cluster._members[self._name].served.version
        error = "failed to decrypt keys from storage: cipher: message authentication failed"
        return Reply(500, error) if running == "1.9.2" else PaperNodes.open_node(self._cluster, self._name)

    monkeypatch.setattr(PaperNode, "unseal", declines)
    _, judgement = on_paper(loading.loads(said("etcd"), "two.yaml").scenario, tmp_path / "etcd")
    assert [one.rule for one in judgement.findings] == ["vault-refuses-data"]
    _, judgement = on_paper(loading.loads(said("raft"), "two.yaml").scenario, tmp_path / "raft")
    assert [one.rule for one in judgement.findings] == ["node-did-not-rejoin"]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (said("file"), "several nodes cannot have one file: there is no lock in it"),
        (
            said("etcd", "course:\n  - remove-node: vault-1\n"),
            "no node is a member of anything, and none can be removed",
        ),
        (said("etcd", "course:\n  - join-node: vault-1\n"), "no node is a member of anything, and none can join anew"),
    ],
)
def test_what_one_storage_does_not_have_is_refused_where_it_stands(text: str, complaint: str) -> None:
    with pytest.raises(ScenarioError, match=complaint):
        loading.loads(text, "two.yaml")


@pytest.mark.real
@pytest.mark.parametrize(
    "storage", ["etcd", "postgresql", pytest.param("consul", marks=further(f"consul:{driver_traits.CONSUL}"))]
)
def test_two_nodes_over_one_storage_are_upgraded_one_after_the_other(storage: str, tmp_path: Path) -> None:
    """Leadership moves once, a standby forwards over versions, and nothing is left."""
    file, directory = tmp_path / "two.yaml", tmp_path / f"{os.getpid()}-{storage}"
    file.write_text(said(storage))
    done = rehearse("run", file, "-o", "json", "--run-dir", directory)
    assert done.returncode == 0, done.stderr
    judgement = json.loads(done.stdout)
    assert (judgement["verdict"], judgement["findings"]) == ("pass", [])
    (rolling,) = judgement["rollings"]
    assert [one["node"] for one in rolling["leads"]] == ["vault-1"]
    assert {gap["through"] for gap in rolling["gaps"]} == {"", "standby", "load-balancer"}
    logins = {(one["moment"], one["app"]): one for one in judgement["observations"] if one["probe"] == "login"}
    asked = {key: (one["asked_of"], one["at_leader"]) for key, one in logins.items()}
    assert asked["halfway to 1.9.2", "shop"] == ("vault-1", "granted 200")
    assert asked["halfway to 1.9.2", "desk"] == ("vault-0", "granted 200")
    assert asked["after 1.9.2", "desk"] == ("vault-1", "granted 200")
    assert not ours(directory)
    assert not work_directories(directory)
    kept = "".join(one.read_text() for one in (directory / "record.jsonl", *(directory / "logs").iterdir()))
    assert "postgresql://" not in kept, "with it came the password"
