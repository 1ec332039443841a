"""A Vault of several nodes in Pods: what its StatefulSet is made with, and what has a Pod of another version come."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.drivers.kind.cluster import KindCluster, Workbench
from harness.drivers.kind.vault_nodes import VaultNodes
from harness.drivers.kind.vault_pod import VaultPod
from harness.drivers.postgres import Bridge, PostgresStore
from harness.errors import RigError
from tests.test_kind_cluster import bench  # noqa: F401  # a fixture

pytestmark = pytest.mark.processes


class Asked:
    """An API server that does nothing, and knows what it was asked to do."""

    def __init__(self) -> None:
        self.made: list[dict[str, Any]] = []
        self.changes: list[dict[str, Any]] = []
        self.deleted: list[tuple[str, bool]] = []

    def create_all(self, manifest: Path) -> None:
        self.made += yaml.safe_load_all(manifest.read_text())

    def change_stateful_set(self, _namespace: str, _name: str, spec: dict[str, Any]) -> None:
        self.changes.append(spec)

    def delete_pod(self, _namespace: str, name: str, *, at_once: bool = True) -> None:
        self.deleted.append((name, at_once))


@pytest.fixture
def asked() -> Asked:
    """Return what is asked of the API server."""
    return Asked()


@pytest.fixture
def nodes(bench: Workbench, asked: Asked, tmp_path: Path) -> VaultNodes:  # noqa: F811
    """Three nodes, none of which is there yet."""
    cluster = KindCluster("platform", tmp_path / "work/cluster-platform", bench, "node", 21000)
    cluster.kube = asked  # type: ignore[assignment]
    return VaultNodes(tmp_path / "work/vault", cluster, "safe/server", "it", ports=(21001, 21002, 21003), licence={})


def test_over_a_postgresql_what_has_its_password_is_in_a_secret(
    bench: Workbench,  # noqa: F811
    asked: Asked,
    tmp_path: Path,
) -> None:
    """Of one node, too, whose configuration says of no lock; and nobody joins anybody."""
    cluster = KindCluster("platform", tmp_path / "work/cluster-platform", bench, "node", 21000)
    cluster.kube = asked  # type: ignore[assignment]
    at = Bridge("172.18.0.1", "172.18.0.0/16")
    store = PostgresStore(tmp_path / "work/store", 21009, tmp_path, bench.supervisor, at)
    password = store.superuser[1].reveal()
    VaultNodes(
        tmp_path / "work/vault", cluster, "safe/server", "it", ports=(21001, 21002), licence={}, store=store
    ).put_in_place(0, "vault:1.7.0", "1.7.0", token_file=True)
    one = VaultPod(tmp_path / "work/one", cluster, "safe/one", "it", storage="postgresql", port=21003, store=store)
    one._create("vault:1.7.0", token_file=True)
    configs, where = [], [number for number, each in enumerate(asked.made) if each["kind"] == "ConfigMap"]
    for made in (asked.made[: where[1]], asked.made[where[1] :]):
        by_kind = {each["kind"]: each for each in made}
        assert by_kind["ConfigMap"]["data"] == {}
        (container,) = by_kind["StatefulSet"]["spec"]["template"]["spec"]["containers"]
        assert container["command"][-1] == "-config=/vault/tls/guarded.json"
        assert password not in json.dumps([each for each in made if each["kind"] != "Secret"])
        configs.append(json.loads(by_kind["Secret"]["stringData"]["guarded.json"])["storage"]["postgresql"])
    assert [each.get("ha_enabled") for each in configs] == ["true", None]
    assert {each["connection_url"] for each in configs} == {store.connection.reveal()}
    assert "@172.18.0.1:21009/" in store.connection.reveal()


def formed(nodes: VaultNodes) -> None:
    for number in range(3):
        nodes.put_in_place(number, "vault:1.7.0", "1.7.0", token_file=True)


def test_they_are_made_as_the_chart_of_vaults_vendor_makes_them(nodes: VaultNodes, asked: Asked) -> None:
    formed(nodes)
    by_kind: dict[str, dict[str, Any]] = {one["kind"]: one for one in asked.made}
    among, budget, pods = by_kind["Service"]["spec"], by_kind["PodDisruptionBudget"]["spec"], by_kind["StatefulSet"]
    # whoever is sealed has to be found as well, or nobody could unseal it
    assert (among["clusterIP"], among["publishNotReadyAddresses"]) == ("None", True)
    assert budget["maxUnavailable"] == 1
    spec = pods["spec"]
    assert (spec["podManagementPolicy"], spec["updateStrategy"]["type"]) == ("Parallel", "OnDelete")
    assert (spec["serviceName"], spec["replicas"]) == ("vault-internal", 1)
    assert [change["replicas"] for change in asked.changes] == [2, 3]
    assert asked.deleted == []
    (container,) = spec["template"]["spec"]["containers"]
    assert container["readinessProbe"]["exec"]["command"][:2] == ["/bin/vault", "status"]
    said = {one["name"]: one.get("value") for one in container["env"]}
    assert said["VAULT_CLUSTER_ADDR"] == "https://$(VAULT_RAFT_NODE_ID).vault-internal:8201"
    # each over a folder of its own
    assert {"name": "data", "mountPath": "/vault/data", "subPathExpr": "$(VAULT_RAFT_NODE_ID)"} in container[
        "volumeMounts"
    ]


def test_each_has_a_way_from_outside_and_knows_whom_to_join(nodes: VaultNodes, asked: Asked) -> None:
    formed(nodes)
    by_kind = {one["kind"]: one for one in asked.made}
    doors = {
        door["spec"]["selector"]["statefulset.kubernetes.io/pod-name"]: door["spec"]["ports"][0]["nodePort"]
        for door in by_kind["ServiceList"]["items"]
    }
    assert doors == {"vault-0": 30200, "vault-1": 30201, "vault-2": 30202}
    told = json.loads(by_kind["ConfigMap"]["data"]["guarded.json"])["storage"]["raft"]
    assert [one["leader_api_addr"] for one in told["retry_join"]] == [
        f"https://vault-{number}.vault-internal:8200" for number in range(3)
    ]
    assert "node_id" not in told
    assert "retry_join" not in json.loads(by_kind["ConfigMap"]["data"]["alone.json"])["storage"]["raft"]
    files = {Path(value).name for one in told["retry_join"] for name, value in one.items() if name.endswith("_file")}
    assert files <= by_kind["Secret"]["stringData"].keys()


def test_a_pod_is_replaced_by_its_deletion_and_asked_to_end_first(nodes: VaultNodes, asked: Asked) -> None:
    """With SIGTERM whoever leads hands over; killed, it costs the others a whole election."""
    formed(nodes)
    nodes.put_in_place(1, "vault:1.11.0", "1.11.0", token_file=True)
    assert asked.deleted == [("vault-1", False)]
    change = asked.changes[-1]
    assert change["updateStrategy"]["type"] == "OnDelete"
    (container,) = change["template"]["spec"]["containers"]
    assert (container["name"], container["image"]) == ("vault", "vault:1.11.0")
    assert container["command"] == ["/bin/vault", "server", "-config=/vault/config/guarded.json"]


def test_openbao_has_a_program_and_configurations_of_its_own(nodes: VaultNodes, asked: Asked) -> None:
    """Which may be in another folder of its image; and of its nodes nobody asks a program that is not there."""
    formed(nodes)
    nodes.put_in_place(1, "bao:2.6.2", "openbao-2.6.2", token_file=True)
    nodes.pods["vault-2"].join_nobody()
    nodes.put_in_place(2, "bao:2.6.2", "openbao-2.6.2", token_file=True)
    containers = [one["template"]["spec"]["containers"][0] for one in asked.changes[-2:]]
    assert [one["command"] for one in containers] == [
        ["bao", "server", f"-config=/vault/config/openbao-{name}.json"] for name in ("guarded", "alone")
    ]
    assert containers[0]["readinessProbe"]["exec"]["command"][:2] == ["bao", "status"]
    configs = next(one["data"] for one in asked.made if one["kind"] == "ConfigMap")
    told = [json.loads(configs[f"{product}guarded.json"]) for product in ("", "openbao-")]
    assert ["unsafe_allow_api_audit_creation" in one for one in told] == [False, True]
    assert told[0]["storage"] == told[1]["storage"]


def test_a_pod_over_no_data_joins_the_others_unless_its_configuration_names_nobody(
    nodes: VaultNodes, asked: Asked
) -> None:
    formed(nodes)
    pod = nodes.pods["vault-1"]
    pod.join_nobody()
    for number in (1, 2):
        nodes.put_in_place(number, "vault:1.11.0", "1.11.0", token_file=True)
    pod.join_others()
    nodes.put_in_place(1, "vault:1.11.0", "1.11.0", token_file=True)
    named = [one["template"]["spec"]["containers"][0]["command"][-1] for one in asked.changes[-3:]]
    assert [Path(one).name for one in named] == ["alone.json", "guarded.json", "guarded.json"]


def test_a_rolling_update_comes_down_from_pod_to_pod_and_deletes_none(nodes: VaultNodes, asked: Asked) -> None:
    """All of one revision: those that were replaced already are not once more."""
    formed(nodes)
    for number in (2, 1, 0):
        nodes.put_in_place(number, "vault:1.11.0", "1.11.0", token_file=True, rolling=True)
    assert asked.deleted == []
    changes = asked.changes[-3:]
    assert [one["updateStrategy"]["rollingUpdate"]["partition"] for one in changes] == [2, 1, 0]
    assert len({json.dumps(one["template"]) for one in changes}) == 1
    assert changes[0]["template"] != asked.changes[1]["template"]


def test_what_is_done_with_one_node_alone_is_refused(nodes: VaultNodes) -> None:
    pod = nodes.pods["vault-1"]
    for act in (pod.listen_plainly, pod.keep_data, pod.put_back_data, lambda: pod.continue_over(pod)):
        with pytest.raises(RigError, match="one of several nodes"):
            act()
