"""What goes wrong with the nodes of a Vault of several is found: on paper, with one thing of it broken."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final, NamedTuple

import pytest
from msgspec.structs import replace

from harness.analysis.comparison import what_else
from harness.analysis.rolling import Rolling
from harness.analysis.verdict import Judgement
from harness.drivers.kind import limits
from harness.drivers.local.vault_process import VaultServer
from harness.drivers.paper.nodes import PaperNode, PaperNodes
from harness.drivers.several_nodes import NodesRig
from harness.errors import MissingPrerequisite, NotReady, RigError, ScenarioError, Unreachable
from harness.record.events import Trouble
from harness.record.journal import Record
from harness.record.node_events import (
    EvictionTried,
    LeaderChanged,
    NodeLost,
    NodesSeen,
    NodeSwapped,
    PodSeen,
    QuorumLost,
)
from harness.rehearsal import nodes, vault_steps
from harness.reports.nodes import told
from harness.rig.rig import Reply
from harness.scenario import loading, plan
from harness.scenario.schema import Scenario
from harness.secret import Secret
from tests.lent import Lender
from tests.runs import SCENARIOS, on_paper, variant

ROLLING = SCENARIOS / "corpus" / "c13-pods-that-are-deleted-and-a-rolling-update-that-meets-the-leader.yaml"
THREE = loading.load(SCENARIOS / "three-nodes-are-upgraded-standbys-first-and-the-leader-last.yaml").scenario


def found(judgement: Judgement) -> list[tuple[str, str, str, str]]:
    return [(one.kind, one.effect, one.rule, one.node) for one in judgement.findings]


def test_the_leader_is_taken_last_and_halfway_the_old_one_answers(tmp_path: Path) -> None:
    record, judgement = on_paper(THREE, tmp_path)
    assert [(one.node, one.was) for one in record.of(NodeSwapped)] == [
        ("vault-1", "standby"),
        ("vault-2", "standby"),
        ("vault-0", "leader"),
    ]
    (change,) = record.of(LeaderChanged)
    assert (change.before_version, change.version) == ("1.7.0", "1.11.0")
    assert all(one.voter for seen in record.of(NodesSeen)[:1] for one in seen.nodes.values())
    logins = {seen.moment: seen.version for seen in judgement.observations if seen.probe == "login"}
    assert logins == {"before": "1.7.0", "halfway to 1.11.0": "1.7.0", "after 1.11.0": "1.11.0"}
    (rolling,) = judgement.rollings
    assert (rolling.leader, rolling.voters, [one.node for one in rolling.leads]) == ("vault-0", 3, ["vault-1"])


def test_a_rolling_update_goes_by_numbers_whoever_leads(tmp_path: Path) -> None:
    """After a restart by the book vault-0 leads no more, and the one that does is met before the last."""
    record, judgement = on_paper(loading.load(ROLLING).scenario, tmp_path)
    assert [(one.node, one.was) for one in record.of(NodeSwapped)][3:] == [
        ("vault-2", "standby"),
        ("vault-1", "leader"),
        ("vault-0", "leader"),
    ]
    assert found(judgement) == [("latent", "leadership moved in vain", "leader-replaced-first", "vault-1")]
    assert (judgement.exit_code, judgement.as_expected) == (0, True)
    assert "halfway to 1.11.0" in {seen.moment for seen in judgement.observations}


def test_an_eviction_that_a_budget_refused_is_told() -> None:
    tried = [
        EvictionTried(node="vault-0", during=name, status=429, message="it would") for name in ("vault-2", "vault-1")
    ]
    rolling = Rolling(
        do="upgrade", step=1, from_version="1.7.0", version="1.11.0", order=(), leader="vault-0", leads=(), gaps=(),
        voters=3, tolerance=None, evictions=tuple(tried),
    )  # fmt: skip
    lines = dict(told([rolling]))
    assert lines["budget"] == "while one was replaced, the eviction of another was refused 2 of 2 times: it would"


def test_more_nodes_than_kind_has_ways_to_are_refused_there() -> None:
    """And so are several outside of any cluster: both before anything starts."""
    for vault, said in (
        ({"nodes": 5}, "3 nodes at most, and not 5"),
        ({"cluster": None, "service-account": None}, "in a cluster"),
    ):
        with pytest.raises(MissingPrerequisite, match=said):
            limits.insist(plan.make(variant(THREE, vault=vault), "three", "kind"))
    full = going({"upgrade": "1.11.0", "node": "vault-1", "meanwhile": "full-disk"})
    with pytest.raises(MissingPrerequisite, match="that of one node be full"):
        limits.insist(plan.make(full, "three", "kind"))
    limits.insist(plan.make(THREE, "three", "kind"))


def test_a_node_that_declines_its_keys_is_a_finding_of_that_node(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the other nodes are left alone: with one more the quorum would be gone."""

    def declines(self: Any, _key: Secret) -> Reply:
        running = self._cluster._members[self._name].served.version
        return Reply(400, "invalid key") if running == "1.11.0" else PaperNodes.open_node(self._cluster, self._name)

    monkeypatch.setattr(PaperNode, "unseal", declines)
    record, judgement = on_paper(THREE, tmp_path)
    assert found(judgement) == [("regression", "upgrade refused", "vault-refuses-data", "vault-1")]
    assert (judgement.exit_code, record.of(NodeSwapped)) == (1, [])


def test_a_node_that_does_not_come_back_is_a_finding_of_that_node(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its data gone, and nobody to join: it stays as it is, and the run says which node keeps the others from going."""
    usual = PaperNode.seal_status

    def gone(node: Any) -> bool:
        member = node._cluster._members.get(node._name)
        return node._name == "vault-1" and member is not None and member.served.version == "1.11.0"

    def empty(self: Any, *, standby: bool = False) -> Reply:
        return Reply(501) if gone(self) else PaperNodes.health_of(self._cluster, self._name, standby=standby)

    def no_seal(self: Any) -> Reply:
        said = usual(self)
        return replace(said, data={**said.data, "t": 0}) if gone(self) else said

    monkeypatch.setattr(PaperNode, "health", empty)
    monkeypatch.setattr(PaperNode, "seal_status", no_seal)
    monkeypatch.setattr(nodes, "REJOIN_SECONDS", 0.1)
    _, judgement = on_paper(THREE, tmp_path)
    assert found(judgement) == [("regression", "node lost", "node-did-not-rejoin", "vault-1")], judgement.reasons
    assert "not initialised" in judgement.findings[0].sentence
    assert "its Pod" not in judgement.findings[0].evidence[0].text
    assert judgement.exit_code == 1


def test_how_the_pod_of_a_lost_node_was_is_part_of_the_evidence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a kubelet made of it, where one runs it: a Vault that ends again and again is started again and again."""
    seen = PodSeen(ready=False, restarts=3, waiting="CrashLoopBackOff: back-off 40s")

    def declines(self: Any, _key: Secret) -> Reply:
        if self._cluster._members[self._name].served.version == "1.11.0":
            raise NotReady("it is sealed")
        return PaperNodes.open_node(self._cluster, self._name)

    monkeypatch.setattr(PaperNode, "unseal", declines)
    monkeypatch.setattr(PaperNodes, "pod_of", lambda *_: seen)
    record, judgement = on_paper(THREE, tmp_path)
    assert [one.pod for one in record.of(NodeLost)] == [seen]
    said = "; its Pod is not ready, and Vault was started anew in it 3 times (CrashLoopBackOff: back-off 40s)"
    assert judgement.findings[0].evidence[0].text.endswith(f"it is sealed{said}")


@pytest.mark.parametrize(
    ("log", "cause"),
    [
        ("panic: unsupported transaction operation", "raft-operation-unknown"),
        (
            '[ERROR] core: failed to create mount entry: path=kubernetes/ error="unknown backend type"',
            "mount-type-unknown",
        ),
        ("panic: of something else", "node-did-not-rejoin"),
    ],
)
def test_a_node_that_ends_while_another_is_replaced_is_a_finding_of_its_own(
    log: str, cause: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A newer version leads, and what it writes ends one that is older: its last words are the evidence."""

    def died(self: Any) -> str | None:
        led_by_newer = self._cluster._members["vault-1"].served.version == "1.11.0"
        return (
            "Vault 1.7.0 (vault-2) ended by itself with status 2" if led_by_newer and self._name == "vault-2" else None
        )

    monkeypatch.setattr(PaperNode, "vault_died", died)
    monkeypatch.setattr(PaperNode, "vault_log", lambda _self, _lines: [log])
    record, judgement = on_paper(THREE, tmp_path)
    (lost,) = record.of(NodeLost)
    assert (lost.version, lost.replaced, lost.member) == ("1.7.0", "vault-1", True)
    assert found(judgement) == [("regression", "node lost", cause, "vault-2")]
    (finding,) = judgement.findings
    assert finding.sentence.startswith("vault-2 ended as Vault 1.7.0: ")
    assert log in [line.text for line in finding.evidence]
    assert (judgement.exit_code, [one.node for one in record.of(NodeSwapped)]) == (1, [])


def test_a_node_that_somebody_removed_is_told_as_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It comes up as a standby, knows who led, and is sent nothing any more."""

    def behind(self: Any) -> Reply:
        gone = self._name == "vault-1" and self._cluster._members[self._name].served.version == "1.11.0"
        return Reply(200, data={"leader_address": "vault-0", "raft_applied_index": 7 if gone else 9})

    def peers(self: Any) -> Reply:
        there = [name for name, one in self._members.items() if (name, one.served.version) != ("vault-1", "1.11.0")]
        return Reply(200, data={"config": {"servers": [{"node_id": name, "voter": True} for name in there]}})

    monkeypatch.setattr(PaperNode, "leader", behind, raising=False)
    monkeypatch.setattr(PaperNodes, "leader", lambda _self: Reply(200, data={"raft_committed_index": 9}))
    monkeypatch.setattr(PaperNodes, "raft_peers", peers)
    monkeypatch.setattr(nodes, "REJOIN_SECONDS", 0.1)
    _, judgement = on_paper(THREE, tmp_path)
    assert found(judgement) == [("regression", "node lost", "node-removed", "vault-1")]
    assert "applied the log of raft up to 7, and the one that leads up to 9" in judgement.findings[0].sentence
    assert "the raft configuration of vault-0, which leads, has it no more" in judgement.findings[0].sentence
    assert judgement.rollings[0].from_version == "1.7.0"


def test_a_node_that_is_slow_to_join_is_no_stranger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine it is not in the configuration yet when it is unsealed: it is waited for like any other."""
    asked = [0]

    def slow(self: Any) -> Reply:
        late = self._name == "vault-2" and asked[0] < 5
        asked[0] += late
        return Reply(200, data={"leader_address": "vault-0", "raft_applied_index": 7 if late else 9})

    def peers(self: Any) -> Reply:
        there = [name for name in self._members if name != "vault-2" or asked[0] >= 5]
        return Reply(200, data={"config": {"servers": [{"node_id": name, "voter": True} for name in there]}})

    monkeypatch.setattr(PaperNode, "leader", slow, raising=False)
    monkeypatch.setattr(PaperNodes, "leader", lambda _self: Reply(200, data={"raft_committed_index": 9}))
    monkeypatch.setattr(PaperNodes, "raft_peers", peers)
    monkeypatch.setattr(nodes, "STRANGER_SECONDS", 0.01)
    _, judgement = on_paper(THREE, tmp_path)
    assert (asked[0], judgement.verdict, judgement.troubles) == (5, "pass", ())


def test_a_node_whose_disk_is_full_is_no_node_that_does_not_come_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It lives on, follows nobody, and what it says of that is in its log alone."""
    server = VaultServer(tmp_path / "vault-0", storage="raft", port=1, cluster_port=2, name="vault-0")
    server.process = Living()  # type: ignore[assignment]
    assert server.died() is None
    monkeypatch.setattr("shutil.disk_usage", lambda _path: Room(free=4096))
    with pytest.raises(RigError, match=r"\(vault-0\) can write nothing, because the disk of .*data is full: make room"):
        server.died()


class Room(NamedTuple):
    """What is left on a disk."""

    free: int


class Living:
    """A process that lives."""

    def died(self) -> None:
        """Say that it does."""

    def tail(self, _lines: int) -> list[str]:
        """Return no line."""
        return []


def test_a_node_whose_disk_is_full_is_back_once_it_has_written_something() -> None:
    """It may lack nothing of what the others have when it starts, and counted as back until the next entry came."""
    committed = 7
    leader = SimpleNamespace(leader=lambda: Reply(200, data={"raft_committed_index": committed}))
    said = {"leader_address": "https://vault-0:8200", "raft_applied_index": 7}
    vault = SimpleNamespace(
        health=lambda: Reply(429, data={}),
        leader=lambda: SimpleNamespace(answered=lambda: Reply(200, data=said)),
    )
    system: Any = SimpleNamespace(vault=leader)
    node: Any = SimpleNamespace(vault=vault)
    assert nodes._caught_up(system, node, -1)
    with pytest.raises(Unreachable, match=r"up to 7, and the one that leads up to 8"):
        nodes._caught_up(system, node, 7)
    committed = said["raft_applied_index"] = 8
    assert nodes._caught_up(system, node, 7)


def test_a_quorum_that_is_lost_is_a_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another node seals itself while one is away: of three one is left, and nobody leads."""
    whole = nodes.swap

    def sealing(*args: Any, **more: Any) -> None:
        whole(*args, **more)
        system = args[0].system(args[1].vault)
        for name in ("vault-1", "vault-2"):
            system.stop_node(name)

    monkeypatch.setattr(nodes, "swap", sealing)
    record, judgement = on_paper(THREE, tmp_path)
    (lost,) = record.of(QuorumLost)[:1]
    assert (lost.alive, lost.needed) == (("vault-0",), 2)
    assert ("regression", "quorum lost", "quorum-lost", "") in found(judgement)


def changes(record: Record) -> list[tuple[str, str]]:
    return [(one.before_version, one.version) for one in record.of(LeaderChanged)]


def test_leadership_that_goes_back_to_an_older_version_is_a_finding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node of the new version leads, and stops, while one of the old version can still take over."""
    whole = nodes.roll

    def stepping_down(*args: Any, **more: Any) -> None:
        step, replacing = args[1], more["replacing"]
        whole(*args, **more)
        if step.part == "standbys":
            system = args[0].system(step.vault)
            for _ in range(3):
                system.step_down()
                replacing("")

    monkeypatch.setattr(nodes, "roll", stepping_down)
    record, judgement = on_paper(THREE, tmp_path)
    assert ("1.11.0", "1.7.0") in changes(record)
    assert "leader-of-older-version" in {one.rule for one in judgement.findings}


def test_a_node_whose_port_for_the_others_is_taken_says_so(tmp_path: Path) -> None:
    """Vault itself would go on without, and the others would wait for it in vain."""
    with socket.create_server(("127.0.0.1", 0)) as taken, socket.create_server(("127.0.0.1", 0)) as free:
        port, cluster_port = free.getsockname()[1], taken.getsockname()[1]
        free.close()
        server = VaultServer(tmp_path / "vault-0", storage="raft", port=port, cluster_port=cluster_port, name="vault-0")
        with pytest.raises(RigError, match=f"for its other nodes was to listen on 127.0.0.1:{cluster_port}"):
            server.start(None, Path("/bin/false"), "1.7.0", pod=None, api_port=0)  # type: ignore[arg-type]


def going(*steps: dict[str, Any], **more: Any) -> Any:
    """Return the scenario of three nodes with a course."""
    vault = {"cluster": "platform", "service-account": "vault/vault", "nodes": 3, "source": "1.7.0"}
    document = THREE.model_dump(mode="json", by_alias=True)
    return Scenario.model_validate_json(
        json.dumps(document | {"vault": vault, "course": list(steps), "expect": None} | more)
    )


MIXED = ({"upgrade": "1.11.0", "node": "vault-1", "then-look": False}, {"stop-node": "vault-2", "then-look": False})


def test_a_node_that_the_course_stops_is_not_asked_and_nobody_is_in_doubt(tmp_path: Path) -> None:
    """And it comes back as what it ran, beside a newer one."""
    record, judgement = on_paper(going(*MIXED, {"look": {}}, {"start-node": "vault-2"}), tmp_path)
    assert (judgement.verdict, judgement.doubts) == ("pass", ())
    left_out = [(one.probe, one.node, one.moment) for one in judgement.observations if one.answer == "unknown"]
    assert left_out == [("health", "vault-2", "look"), ("seal-status", "vault-2", "look")]
    assert [(one.node, one.version) for one in record.of(NodeSwapped)] == [("vault-1", "1.11.0"), ("vault-2", "1.7.0")]
    assert [(one.do, one.node, one.leader_version) for one in judgement.rollings] == [
        ("upgrade", "vault-1", "1.7.0"),
        ("stop-node", "vault-2", "1.7.0"),
        ("restart", "vault-2", "1.7.0"),
    ]


@pytest.mark.parametrize("step", ["step-down: {}", "remove-node: vault-2"])
def test_what_takes_a_leader_says_what_to_do_where_nobody_leads(step: str, tmp_path: Path) -> None:
    steps = f"  - {{stop-node: vault-2, then-look: false}}\n  - stop-node: vault-1\n  - {step}\n"
    text = (
        "schema: 1\ndescription: Too few are left.\nvault: {source: 1.9.2, nodes: 3}\n"
        "auth: {approle: {type: approle, roles: {web: {policies: [web]}}}}\n"
        f"apps: {{web: {{role: web}}}}\ncourse:\n{steps}"
    )
    record, judgement = on_paper(loading.loads(text).scenario, tmp_path)
    assert found(judgement) == [("regression", "quorum lost", "quorum-lost", "")]
    (trouble,) = record.of(Trouble)
    assert trouble.message.endswith(
        "nobody leads, and so nobody does it: start-node before it, until more than half run"
    )


def test_a_course_that_loses_the_quorum_says_so(tmp_path: Path) -> None:
    course = (*MIXED, {"stop-node": "vault-1", "then-look": False}, {"start-node": "vault-2"})
    record, judgement = on_paper(going(*course), tmp_path)
    (lost,) = record.of(QuorumLost)
    assert (lost.alive, lost.needed, lost.step) == (("vault-0",), 2, 3)
    assert found(judgement) == [("regression", "quorum lost", "quorum-lost", "")]
    assert "nobody" in [
        line.partition(" ")[0].rstrip(";") for word, line in told(judgement.rollings) if word == "leaders"
    ]


def test_a_node_that_the_course_removes_does_not_come_back_and_that_can_be_expected(tmp_path: Path) -> None:
    expect = [{"change": "node lost", "at": "1.7.0", "cause": "node-removed"}]
    course = (MIXED[0], {"remove-node": "vault-2"}, {"restart": {}, "node": "vault-2"})
    record, judgement = on_paper(going(*course, expect=expect), tmp_path)
    assert [one.member for one in record.of(NodeLost)] == [False]
    assert (judgement.verdict, judgement.as_expected, judgement.exit_code) == ("fail", True, 0)


@pytest.mark.parametrize(("version", "seals"), [("1.16.3", False), ("1.19.0", True)])
def test_a_node_that_is_removed_joins_anew_over_no_data(version: str, seals: bool, tmp_path: Path) -> None:
    """From 1.19.0 on it seals itself, which is found, and what it cannot be asked then is no doubt beside that."""
    course = ({"upgrade": version}, {"remove-node": "vault-2"}, {"join-node": "vault-2"})
    record, judgement = on_paper(going(*course), tmp_path)
    assert [(one.sealed_itself, one.member, one.step) for one in record.of(NodeLost)] == [(True, False, 2)] * seals
    assert found(judgement) == [("regression", "node lost", "node-removed", "vault-2")] * seals
    assert (judgement.doubts, judgement.troubles) == ((), ())
    assert [one.do for one in judgement.rollings] == ["upgrade", "remove-node", "join-node"]
    health = {
        one.moment: one.status for one in judgement.observations if (one.probe, one.node) == ("health", "vault-2")
    }
    assert health["after remove-node vault-2"] == (530 if seals else 200)
    assert health["after join-node vault-2"] == 200
    words = [one.what for one in what_else(judgement.changes)]
    assert ("sys/health of a node answers 530 instead of 200, also with standbyok" in words) is seals


@pytest.mark.parametrize(
    ("version", "left", "login", "health"),
    [
        ("1.9.2", "vault-0", 307, 200),
        ("1.9.2", "vault-2", 307, 200),
        ("1.11.0", "vault-0", 500, 200),
        ("1.11.0", "vault-2", 307, 200),
        ("1.19.0", "vault-0", 500, 200),
        ("1.19.0", "vault-2", 307, 474),
    ],
)
def test_a_look_without_a_leader_is_one_finding_and_no_doubt(
    version: str, left: str, login: int, health: int, tmp_path: Path
) -> None:
    """Whoever is left answers every login alike, and one that never led says from 1.19.0 on that it hears nobody.

    As real ones do: tests/test_real_courses.py.
    """
    away: list[dict[str, Any]] = [
        {"stop-node": "vault-1", "then-look": False},
        {"stop-node": "vault-2" if left == "vault-0" else "vault-0", "then-look": False},
        {"look": {}},
    ]
    vault = {"cluster": "platform", "nodes": 3, "source": version}
    _, judgement = on_paper(going(*away, vault=vault), tmp_path / version)
    assert found(judgement) == [("regression", "quorum lost", "quorum-lost", "")]
    last = {(one.probe, one.node): one for one in judgement.observations if one.moment == "look"}
    assert (last["login", ""].answer, last["login", ""].status) == ("unknown", login)
    assert (last["health", left].status, judgement.doubts) == (health, ())


@pytest.mark.parametrize(
    ("what", "findings", "said"),
    [
        ("lose-data", [], ""),
        ("lose-data-and-join", ["vault-1"], "vault operator raft join"),
        ("foreign-data", ["vault-1"], "Do not initialise vault-1, and hand it no other key"),
        ("full-disk", ["vault-1"], "Make room on the disk of vault-1"),
    ],
)
def test_data_that_a_node_loses_in_mid_hop_are_no_refusal_of_its_version(
    what: str, findings: list[str], said: str, tmp_path: Path
) -> None:
    """Over an empty disk it joins anew; with nobody to join, or the disk of another Vault, it does not come back."""
    _, judgement = on_paper(going({"upgrade": "1.11.0", "node": "vault-1", "meanwhile": what}), tmp_path)
    assert found(judgement) == [("regression", "node lost", "node-did-not-rejoin", name) for name in findings]
    assert (judgement.exit_code, judgement.doubts) == (len(findings), ())
    assert all(said in str(one.remedies[0]) for one in judgement.findings[:1])


def test_a_node_that_is_taken_while_another_is_away_costs_the_quorum(tmp_path: Path) -> None:
    """It is back a moment later, and is no finding where the quorum was gone before, or where two nodes have none."""
    course = ({"stop-node": "vault-2", "then-look": False}, {"upgrade": "1.11.0", "node": "vault-1"})
    record, judgement = on_paper(going(*course), tmp_path / "three")
    (lost,) = record.of(QuorumLost)
    assert (lost.alive, lost.needed, lost.replaced, lost.version) == (("vault-0",), 2, "vault-1", "1.7.0")
    assert found(judgement) == [("regression", "quorum lost", "quorum-lost", "")]
    assert "while vault-1 is replaced" in judgement.findings[0].sentence
    again = going(*course, {"stop-node": "vault-0", "then-look": False}, {"start-node": "vault-0", "then-look": False})
    record, _ = on_paper(again, tmp_path / "again")
    assert [one.replaced for one in record.of(QuorumLost)] == ["vault-1", ""]
    two = going({"upgrade": "1.11.0"}, vault={"cluster": "platform", "nodes": 2, "source": "1.7.0"})
    record, judgement = on_paper(two, tmp_path / "two")
    assert (record.of(QuorumLost), judgement.verdict) == ([], "pass")


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ([{"join-node": "vault-1"}], "no earlier step has removed vault-1"),
        ([{"remove-node": "vault-1"}, {"remove-node": "vault-1"}], "an earlier step has removed vault-1 already"),
        ([{"stop-node": "vault-3"}], "there is no node vault-3 of Vault vault"),
        ([{"start-node": "vault-1"}], "no earlier step has stopped vault-1"),
        ([{"stop-node": "vault-1"}, {"stop-node": "vault-1"}], "an earlier step has stopped vault-1 already"),
        ([{"upgrade": "1.11.0", "node": "vault-1"}, {"upgrade": "1.11.0", "node": "vault-1"}], "1.11.0 serves already"),
    ],
)
def test_what_cannot_be_done_with_nodes_is_said_before(steps: list[dict[str, Any]], said: str, tmp_path: Path) -> None:
    document = json.loads(json.dumps(going(*MIXED).model_dump(mode="json", by_alias=True, exclude_none=True)))
    file = tmp_path / "nodes.yaml"
    file.write_text(json.dumps(document | {"course": steps}))
    with pytest.raises(ScenarioError, match=said):
        loading.load(file)


def test_one_node_after_the_other_can_be_taken_by_name(tmp_path: Path) -> None:
    """Each to a version that another one runs already; what is left out runs the old one still."""
    course = [{"upgrade": "1.11.0", "node": f"vault-{number}"} for number in (2, 1)]
    _, judgement = on_paper(going(*course, {"restart": {}, "node": "vault-0"}), tmp_path)
    assert judgement.verdict == "pass"
    moments = list(dict.fromkeys(one.moment for one in judgement.observations))
    assert moments == ["before", "after 1.11.0 at vault-2", "after 1.11.0 at vault-1", "after restart"]


def test_whether_a_node_lives_is_not_asked_of_one_that_the_course_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The node that was placed last is stopped: once all was asked, one that is left answers that it is there."""
    usual, stopped = PaperNode.seal_status, set[str]()

    def status(self: Any) -> Reply:
        return Reply(None, "connection refused") if self._name in stopped else usual(self)

    def stop(self: Any, name: str) -> None:
        stopped.add(name)
        self._members[name].sealed = True

    monkeypatch.setattr(PaperNode, "seal_status", status)
    monkeypatch.setattr(PaperNodes, "stop_node", stop)
    monkeypatch.setattr(vault_steps, "ANSWER_SECONDS", 0.1)
    record, judgement = on_paper(going(MIXED[0], {"stop-node": "vault-1"}), tmp_path)
    assert (record.of(Trouble), judgement.verdict) == ([], "pass")


OLD: Final = """\
schema: 1
description: Three nodes of the first Vault with raft.
vault: {source: 1.4.0, storage: raft, nodes: 3}
auth: {people: {type: userpass, roles: {one: {policies: [reads]}}}}
apps: {one: {mount: people, role: one, reads: [secret/one]}}
course:
  - look: {}
  - {remove-node: vault-2, then-look: false}
  - {join-node: vault-2}
  - {upgrade: 1.7.0}
"""


@pytest.mark.real
def test_nodes_that_know_no_files_of_others_join_by_the_api(lender: Lender, tmp_path: Path) -> None:
    """The retry_join of Vault 1.4.0 has certificates as text; at first, and after it was removed, a node is told."""
    (file := tmp_path / "old.yaml").write_text(OLD)
    code, judgement = lender.rehearse(file, tmp_path / "run")
    assert (code, judgement["verdict"], judgement["doubts"]) == (0, "pass", []), judgement["reasons"]


def test_a_node_asks_to_join_once_somebody_leads(tmp_path: Path) -> None:
    """One that led itself until it was emptied finds the others in an election."""
    (file := tmp_path / "pem").write_text("PEM")
    leads, asked = iter(["", "vault-0"]), list[str]()

    def join(leader: str, *_: object) -> Reply:
        asked.append(leader)
        return Reply(200, data={"joined": True})

    node = SimpleNamespace(
        authority=SimpleNamespace(client=(file, file), ca=file),
        client=SimpleNamespace(join_raft=join),
        died=lambda: None,
        tail=list,
    )
    servers = {"vault-0": SimpleNamespace(among="https://vault-0:8200"), "vault-1": node}
    rig: Any = SimpleNamespace(servers=servers, follow=lambda: next(leads))
    NodesRig.ask_to_join(rig, "vault-1")
    assert asked == ["https://vault-0:8200"]
