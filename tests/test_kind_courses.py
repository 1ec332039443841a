"""Every step of a course on kind, for both places of Vault: judged as on processes, and nothing is left by a kill."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import pytest

from harness import wait
from harness.clients.vault import Vault
from harness.record import journal
from harness.record.events import LateWritten, MomentBegan, PodReplaced, StepEnded
from harness.record.node_events import EvictionTried, NodeLost, NodesSeen, NodeSwapped, PodSeen
from harness.record.observation import Observation
from harness.rehearsal import vault_steps
from tests import courses
from tests.lent import Lender
from tests.runs import SCENARIOS
from tests.test_faults import seen
from tests.test_kind import essence
from tests.test_kind_faults import Kept, foreign, image, kept, machine, own_ways  # noqa: F401  # fixtures
from tests.test_real import ROOT, SECRET_SHAPES, rehearse
from tests.test_real_course_faults import (
    IN_A_PROOF,
    IN_THE_RUN,
    KILLED,
    opened_with_wrong_keys,
    taken_by_somebody_else,
)
from tests.test_real_rollbacks import gone_back, scenario, told

pytestmark = pytest.mark.kind

THREE: Final = SCENARIOS / "corpus" / "c13-pods-that-are-deleted-and-a-rolling-update-that-meets-the-leader.yaml"


@pytest.mark.parametrize(
    ("place", "storage", "tls"),
    [
        ("inside", "raft", True),
        pytest.param("inside", "raft", False, marks=pytest.mark.nightly),
        pytest.param("inside", "file", True, marks=pytest.mark.nightly),
        pytest.param("outside", "raft", True, marks=pytest.mark.nightly),
        pytest.param("outside", "raft", False, marks=pytest.mark.nightly),
        ("outside", "file", False),
    ],
)
def test_a_course_with_every_step_is_judged_as_on_processes(
    place: str,
    storage: str,
    tls: bool,
    kept: Kept,  # noqa: F811
    tmp_path: Path,
) -> None:
    """Each login is answered and reviewed as it should be; what is lost is lost; nothing is left, and no secret."""
    file = courses.scenario(tmp_path / "course.yaml", place, storage, tls=tls)
    ending, directory = kept.harbour.rehearse(file, "--reuse")
    assert ending.verdict == ("fail", 1), ending.said
    assert courses.logins(ending.judgement) == courses.expected(place)
    assert courses.late(ending.judgement) == courses.LATE
    local = on_processes(file, tmp_path / "local")
    assert essence(ending.judgement) == essence(local)
    assert kept.harbour.left(directory) == []
    for path in directory.rglob("*"):
        assert not path.is_file() or not SECRET_SHAPES.search(path.read_bytes()), path


HINDERED: Final = """
schema: 1
description: What a container could hinder, an agent of an app, engines and listeners among it.
clusters:
  sandbox: {kubernetes: 1.32.0, namespace-labels: {apps: {team: shop}}}
vault: {cluster: sandbox, service-account: vault/vault, source: 1.7.0}
auth:
  kubernetes:
    cluster: sandbox
    reviewer: secret
    config: {disable_iss_validation: true, pem_keys: [cluster]}
    roles:
      web: {service-accounts: ["web*"], namespaces: [apps], policies: [web], ttl: 1h, token-type: batch}
  cert: {type: cert, roles: {job: {certificate: own, policies: [web], ttl: 1h}}}
  approle: {type: approle, roles: {batch: {policies: [web], ttl: 1h}}}
  jwt:
    type: jwt
    cluster: sandbox
    config: {jwt_validation_pubkeys: [cluster]}
    roles:
      ci: {bound-subject: "system:serviceaccount:apps:web", bound-audiences: [vault], policies: [web], ttl: 1h}
secrets:
  secret: {kv: 2}
  transit: {type: transit, keys: {orders: {}}}
  pki: {type: pki, roles: {shop: {allowed-domains: [apps.example.com], ttl: 24h}}}
apps:
  web: {cluster: sandbox, mount: kubernetes, service-account: apps/web, role: web, reads: [secret/web], agent: 1.7.0}
  ci:
    cluster: sandbox
    mount: jwt
    service-account: apps/web
    role: ci
    audience: vault
    reads: [transit/orders, pki/issue/shop]
  job: {mount: cert, role: job, reads: [secret/web]}
  batch: {mount: approle, role: batch, reads: [secret/web]}
course:
  - {agent-sink: {web: missing}, then-look: false}
  - upgrade: 1.11.0
  - agent-sink: {web: there}
expect:
  - {change: granted against the rule, app: job, cause: certificate-key-not-compared}
  - {change: login refused, app: web, at-step: 2, cause: agent-sink-missing}
  - {change: login granted, app: web, at-step: 3, cause: changed-by-step}
"""


def test_mounts_engines_and_agents_in_pods_are_answered_as_on_processes(
    kept: Kept,  # noqa: F811
    tmp_path: Path,
) -> None:
    """And an agent has no folder for its token: it ends, in a Pod as well, as the expectation of the scenario says."""
    file = tmp_path / "hindered.yaml"
    file.write_text(HINDERED)
    ending, directory = kept.harbour.rehearse(file, "--reuse")
    assert ending.verdict == ("fail", 0), ending.said
    local = on_processes(file, tmp_path / "local")
    assert answers(ending.judgement) == answers(local)
    assert ending.judgement["verdict"] == local["verdict"]
    assert {"agent-login", "sidecar", "expired-certificate"} <= {probe for probe, *_ in answers(ending.judgement)}
    assert kept.harbour.left(directory) == []


CHANGED: Final[Sequence[dict[str, Any]]] = (
    {"move": {"to": courses.CLUSTER, "upgrade": "1.11.0"}},
    {"rotate-keys": {courses.CLUSTER: "signing"}},
    {"reachable": {courses.CLUSTER: False}},
    {"reachable": {courses.CLUSTER: True}},
    {"set-issuers": {courses.CLUSTER: ["https://oidc.example/apps"]}},
    {"move": {"to": "outside"}},
)
"""What a container makes something else of than a process: out of a VM into a Pod and back, and the cluster changes."""


def test_a_vault_that_moves_and_a_cluster_that_changes_are_judged_as_on_processes(
    kept: Kept,  # noqa: F811
    tmp_path: Path,
) -> None:
    """Its data go along, its Pod's token dies with the Pod; whoever is cut off is back; nothing is left."""
    file = courses.scenario(tmp_path / "course.yaml", "outside", "raft", steps=CHANGED)
    ending, directory = kept.harbour.rehearse(file, "--reuse")
    local = on_processes(file, tmp_path / "local")
    assert essence(ending.judgement) == essence(local), ending.said
    assert courses.logins(ending.judgement) == [
        ("before", 200, "client"),
        (f"after move to {courses.CLUSTER}", 200, "vault"),
        ("after rotate-keys", 200, "vault"),
        ("after reachable", 403, ""),
        ("after reachable (step 4)", 200, "vault"),
        # the config is of 1.7.0, and demands the issuer that was
        ("after set-issuers", 500, ""),
        ("after move to outside", 500, ""),
    ]
    assert kept.harbour.left(directory) == []


def on_processes(file: Path, directory: Path) -> dict[str, Any]:
    """Rehearse *file* as processes, and return the judgement."""
    done = rehearse("run", file, "--driver", "local", "-o", "json", "--run-dir", directory)
    judgement: dict[str, Any] = json.loads(done.stdout)
    return judgement


def answers(judgement: dict[str, Any]) -> dict[tuple[str, ...], tuple[str, int | None]]:
    """Return how each question was answered, by what was asked when."""
    names = ("probe", "app", "mount", "item", "moment")
    return {tuple(seen[name] for name in names): (seen["answer"], seen["status"]) for seen in judgement["observations"]}


def test_three_nodes_are_taken_by_deletions_of_pods_and_by_a_rolling_update(
    kept: Kept,  # noqa: F811
    tmp_path: Path,
) -> None:
    """They join each other and all vote; the StatefulSet itself goes by numbers, and meets the leader too early."""
    file = tmp_path / "three.yaml"
    file.write_text(THREE.read_text().replace("platform", courses.CLUSTER))
    ending, directory = kept.harbour.rehearse(file, "--reuse")
    assert ending.verdict == ("pass", 0), ending.said
    record = journal.load(directory)
    formed = record.of(NodesSeen)[0]
    assert [one.voter for one in formed.nodes.values()] == [True, True, True]
    swaps = record.of(NodeSwapped)
    assert [one.node for one in swaps] == ["vault-1", "vault-2", "vault-0", "vault-2", "vault-1", "vault-0"]
    assert [one.was for one in swaps[:3]] == ["standby", "standby", "leader"]
    assert "leader" in [one.was for one in swaps[3:5]]
    assert len(record.of(PodReplaced)) == len(swaps)
    assert [(one.during, one.status) for one in record.of(EvictionTried)] == [(one.node, 429) for one in swaps]
    assert kept.harbour.left(directory) == []


LOST: Final = """
schema: 1
description: Nodes lose their disks, and one of them comes back over the disk of another Vault.
clusters:
  sandbox: {kubernetes: 1.32.0}
vault: {cluster: sandbox, service-account: vault/vault, nodes: 3, source: 1.9.2}
auth:
  kubernetes:
    cluster: sandbox
    reviewer: secret
    roles:
      web: {service-accounts: [web, shop, desk], namespaces: [apps], policies: [web]}
apps:
  web: {cluster: sandbox, service-account: apps/web, role: web, through: leader, reads: [secret/web]}
  shop: {cluster: sandbox, service-account: apps/shop, role: web, through: standby, reads: [secret/web]}
  desk: {cluster: sandbox, service-account: apps/desk, role: web, through: load-balancer, reads: [secret/web]}
course:
"""
REJOINED: Final = """
  - {upgrade: 1.11.0, node: vault-1, meanwhile: lose-data}
  - {remove-node: vault-1, then-look: false}
  - join-node: vault-1
  - {upgrade: 1.11.0, node: vault-2, meanwhile: foreign-data}
expect:
  - {change: node lost, at: 1.11.0, at-step: 4, cause: node-did-not-rejoin}
"""
NOBODY: Final = """
  - {stop-node: vault-2, then-look: false}
  - {start-node: vault-2, meanwhile: lose-data-and-join}
expect:
  - {change: node lost, at: 1.9.2, at-step: 2, cause: node-did-not-rejoin}
"""


@pytest.mark.parametrize(
    ("steps", "back", "said"),
    [
        (REJOINED, ["vault-1", "vault-1"], "message authentication failed"),
        pytest.param(NOBODY, [], "it has no data, and has joined nobody", marks=pytest.mark.nightly),
    ],
    ids=["lost and of another", "nobody to join"],
)
def test_a_node_whose_disk_is_gone_comes_back_where_it_is_to_join_as_on_processes(
    steps: str,
    back: list[str],
    said: str,
    kept: Kept,  # noqa: F811
    tmp_path: Path,
) -> None:
    """Over an empty folder it gets all of the leader; a foreign disk and nobody to join are no version's fault."""
    file = tmp_path / "lost.yaml"
    file.write_text(LOST.rstrip() + steps)
    ending, directory = kept.harbour.rehearse(file, "--reuse")
    assert ending.verdict == ("fail", 0), ending.said
    record = journal.load(directory)
    assert [one.node for one in record.of(NodeSwapped)] == back
    (lost,) = record.of(NodeLost)
    assert (lost.node, said in lost.message) == ("vault-2", True), lost.message
    assert lost.pod == PodSeen(ready=False)
    pods = [one.pod for all_nodes in record.of(NodesSeen) for one in all_nodes.nodes.values() if one.pod]
    assert {(one.ready, one.restarts) for one in pods} >= {(True, 0)}
    (found,) = (one for one in ending.judgement["findings"] if one["effect"] == "node lost")
    assert found["evidence"][0]["text"].endswith("; its Pod is not ready")
    through = {one["asked_of"] for one in ending.judgement["observations"] if one["app"] == "desk"} - {""}
    assert through <= {*record.of(NodesSeen)[0].nodes}
    assert through
    # a Pod that is not unsealed yet is not ready, and no other one may go
    assert [(one.during, one.status) for one in record.of(EvictionTried)] == [(one, 429) for one in (*back, "vault-2")]
    local = on_processes(file, tmp_path / "local")
    assert logins_of(ending.judgement) == logins_of(local)
    assert kept.harbour.left(directory) == []


def logins_of(judgement: dict[str, Any]) -> dict[tuple[str, str], tuple[str, int | None, str]]:
    """Return how each app was answered at each moment, and what the node that leads said to the same."""
    return {
        (one["moment"], one["app"]): (one["answer"], one["status"], one["at_leader"])
        for one in judgement["observations"]
        if one["probe"] == "login"
    }


@pytest.mark.parametrize(
    ("storage", "source", "target"),
    [("raft", "1.9.2", "1.11.0"), pytest.param("file", "1.7.0", "1.9.3", marks=pytest.mark.nightly)],
)
def test_both_ways_back_are_rehearsed_as_on_processes(
    storage: str,
    source: str,
    target: str,
    kept: Kept,  # noqa: F811
    tmp_path: Path,
    lender: Lender,
) -> None:
    """They open, who logs in and what is lost is told, and how long it took: a rollout takes seconds."""
    document = json.loads(
        scenario(tmp_path / "back.yaml", source, target, storage).read_text().replace('"one"', f'"{courses.CLUSTER}"')
    )
    file = tmp_path / "back.yaml"
    file.write_text(json.dumps(document))
    ending, directory = kept.harbour.rehearse(file, "--rollback", "--reuse")
    assert ending.verdict == ("pass", 0), ending.said
    assert [way["opened"] for way in ending.judgement["rollbacks"]] == [True, True]
    assert all(1 < way["seconds"] < 60 for way in ending.judgement["rollbacks"])
    local = gone_back(lender, file, tmp_path / f"local-{os.getpid()}", rollback=True)
    assert told(ending.judgement) == told(local)
    assert courses.logins(ending.judgement) == courses.logins(local)
    assert kept.harbour.left(directory) == []


# --- what goes wrong --------------------------------------------------------------------------------------------------


def test_a_snapshot_that_a_policy_forbids_leaves_the_way_back_unknown_on_kind(
    kept: Kept,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As on processes: Vault's own words, nothing said of the upgrade, and nothing left of the Vault beside it."""
    monkeypatch.setattr(Vault, "take_snapshot", taken_by_somebody_else(Vault.take_snapshot))
    file = courses.scenario(tmp_path / "course.yaml", "inside", "raft", steps=courses.SHORT)
    ending, directory = kept.harbour.rehearse(file, "--reuse")
    assert ending.verdict == ("inconclusive", 4), ending.said
    assert ending.findings == []
    assert "no snapshot could be taken: Vault declined to take a snapshot: HTTP 403 1 error occurred" in ending.said
    assert seen(ending, "before")["login"] == "granted"
    assert kept.harbour.left(directory) == []


def test_unseal_keys_that_do_not_fit_the_snapshot_are_told_as_that_on_kind(
    kept: Kept,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In a container whose volume is the one into which the snapshot was restored."""
    monkeypatch.setattr(vault_steps, "open_vault", opened_with_wrong_keys(vault_steps.open_vault))
    file = courses.scenario(tmp_path / "course.yaml", "outside", "raft", steps=courses.SHORT)
    ending, directory = kept.harbour.rehearse(file, "--reuse")
    assert ending.verdict == ("fail", 1), ending.said
    assert ending.findings == [("vault-refuses-data", "roll-back refused", "1.7.0")]
    said = "was handed an unseal key of the Vault of which the snapshot was taken, and declined it: HTTP "
    assert said in ending.said
    assert seen(ending, "after 1.11.0")["login"] == "granted"
    assert kept.harbour.left(directory) == []


WRITE: Final[dict[str, Any]] = {"write": {"config": {"disable_local_ca_jwt": True}}}
KILLS: Final[list[tuple[str, str, str, str, Sequence[dict[str, Any]]]]] = [
    ("snapshot", IN_THE_RUN, "outside", "file", courses.SHORT),
    ("roll-back", IN_THE_RUN, "outside", "raft", courses.SHORT),
    ("roll-back", IN_THE_RUN, "inside", "raft", courses.SHORT),
    ("write-config", IN_THE_RUN, "inside", "file", [WRITE]),
    ("restore", IN_THE_RUN, "inside", "raft", [{"snapshot": {}}, {"restore": {}}]),
    ("rewrite", IN_THE_RUN, "outside", "file", [{"rewrite": "kubernetes"}]),
    ("grant", IN_A_PROOF, "outside", "file", [{"revoke": courses.WEB}]),
]


BY_DAY: Final = ("roll-back", "write-config", "grant")


@pytest.mark.parametrize(
    ("word", "where", "place", "storage", "steps"),
    [pytest.param(*one, id=" ".join(one[:4]), marks=[pytest.mark.nightly] * (one[0] not in BY_DAY)) for one in KILLS],
)
def test_a_run_that_is_killed_in_a_step_leaves_nothing(
    word: str,
    where: str,
    place: str,
    storage: str,
    steps: Sequence[dict[str, Any]],
    kept: Kept,  # noqa: F811
    tmp_path: Path,
) -> None:
    """SIGKILL in the step: containers and volumes for it go with the rest, and so do the snapshot and the proof."""
    file = courses.scenario(tmp_path / "course.yaml", place, storage, steps=steps)
    directory = killed_in(word, file, kept, where)
    record = journal.load(directory)
    assert record.of(MomentBegan)[0].moment == "before"
    assert word not in [one.do for one in record.of(StepEnded)]
    assert bool(record.of(LateWritten)) is (word in ("roll-back", "restore"))
    judged = json.loads(kept.harbour.aside("judge", str(directory), "-o", "json").stdout)
    assert "the run was cut off: its record does not end" in judged["reasons"]
    if where == IN_A_PROOF:
        # what was seen of the upgrade stands, whatever became of the proof
        assert ([one["state"] for one in judged["proofs"]], judged["exit_code"]) == (["not tried", "not tried"], 1)
    else:
        assert (judged["proofs"], judged["verdict"], judged["exit_code"]) == ([], "inconclusive", 4)


def test_of_several_nodes_and_their_load_balancer_nothing_is_left_by_a_run_that_is_killed(
    kept: Kept,  # noqa: F811
    tmp_path: Path,
) -> None:
    """SIGKILL while one of three Pods has lost its disk: HAProxy goes with the rest."""
    file = tmp_path / "lost.yaml"
    file.write_text(LOST.rstrip() + REJOINED)
    directory = killed_in("upgrade", file, kept)
    record = journal.load(directory)
    assert record.of(MomentBegan)[0].moment == "before"
    assert "upgrade" not in [one.do for one in record.of(StepEnded)]
    assert "desk" in {one.app for one in record.of(Observation) if one.asked_of}, "nobody asked through it"


def killed_in(word: str, file: Path, kept: Kept, where: str = IN_THE_RUN) -> Path:  # noqa: F811
    """Have a run end by SIGKILL in a step, wait until nothing of it is left, and return its directory."""
    directory, words = kept.harbour.words(file, "--reuse", *(["--prove-remedy"] if where == IN_A_PROOF else []))
    done = subprocess.run(
        [sys.executable, "-c", KILLED, word, where, *words],
        env={**os.environ, **kept.harbour.environment},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    wait.until(lambda: not kept.harbour.left(directory), what="the last trace of the run", seconds=30)
    return directory


STORM: Final = """
schema: 1
description: More Pods at once than a node runs; nobody chose a reviewer.
clusters:
  sandbox: {kubernetes: 1.32.0}
vault: {cluster: sandbox, service-account: vault/vault, source: 1.7.0, target: 1.11.0}
auth:
  kubernetes:
    cluster: sandbox
    configured: {by: 1.7.0, with-token-file: false}
    roles:
      web: {service-accounts: [web], namespaces: [apps], policies: [web], ttl: 1h}
apps:
  web:
    cluster: sandbox
    service-account: apps/web
    role: web
    may-review-tokens: true
    storm: {pods: 150, at-once: 30}
"""


def test_a_storm_of_more_pods_than_a_node_runs_is_let_in_and_reviewed(
    kept: Kept,  # noqa: F811
    tmp_path: Path,
) -> None:
    file = tmp_path / "storm.yaml"
    file.write_text(STORM)
    ending, directory = kept.harbour.rehearse(file, "--reuse")
    assert ending.verdict == ("pass", 0), ending.said
    before, after = ending.judgement["storms"]
    for one, reviewer in ((before, "apps:web"), (after, "vault:vault")):
        assert (one["accepted"], one["answers"], one["reviews"]) == (150, {"HTTP 200": 150}, {"HTTP 201": 150})
        assert one["reviewers"] == {f"system:serviceaccount:{reviewer}": 150}
        assert 0 < one["latency_ms"]["p50"] <= one["latency_ms"]["max"]
    for path in directory.rglob("*"):
        assert not path.is_file() or not SECRET_SHAPES.search(path.read_bytes()), path
    assert kept.harbour.left(directory) == []
