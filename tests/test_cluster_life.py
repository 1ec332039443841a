"""A cluster has a life too: its issuers, its Kubernetes version, and the steps that change them under a Vault."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import msgspec
import pytest
import yaml
from msgspec import structs

from harness.analysis import verdict
from harness.analysis.record_view import Facts
from harness.clients.kube_states import OwnPod
from harness.drivers.kind import api_server, limits
from harness.drivers.paper.accounts import PaperAccounts
from harness.errors import MissingPrerequisite, ProcessDied
from harness.knowledge import kubernetes_auth
from harness.record import journal
from harness.record.events import ClusterChanged, ClusterUp, TokenIssued
from harness.record.journal import NotARecord, Record
from harness.record.observation import Observation
from harness.reports import plan as plans
from harness.scenario import course, loading, plan
from harness.scenario.schema import Scenario
from harness.scenario.topology import ISSUER
from tests.lent import Lender
from tests.runs import on_paper
from tests.test_contradictions import problem

NEW: Final = "https://oidc.example/apps"
LEGACY: Final = kubernetes_auth.DEFAULT_ISSUER


def text(*steps: dict[str, Any], app: Any = None, mount: Any = None, cluster: Any = None, vault: Any = None) -> str:
    """Return a scenario with a course of *steps*; the others replace keys of its app, mount, cluster and Vault."""
    role = {"service-accounts": ["web"], "namespaces": ["apps"], "policies": ["web"], "ttl": "1h"}
    web = {"cluster": "apps", "service-account": "apps/web", "role": "web", "may-review-tokens": True}
    document = {
        "schema": 1,
        "description": "The cluster changes.",
        "clusters": {"apps": {"kubernetes": "1.32.0", **(cluster or {})}},
        "vault": {"source": "1.11.0", **(vault or {})},
        "auth": {"kubernetes": {"cluster": "apps", "roles": {"web": role}, **(mount or {})}},
        "apps": {"web": web | (app or {})},
        "course": list(steps),
    }
    return yaml.safe_dump(document, sort_keys=False)


def scenario(*steps: dict[str, Any], **parts: Any) -> Scenario:
    return loading.loads(text(*steps, **parts)).scenario


def issuers(*names: str) -> dict[str, Any]:
    return {"set-issuers": {"apps": list(names)}}


def upgrade(to: str) -> dict[str, Any]:
    return {"upgrade-kubernetes": {"apps": to}}


def logins(record: Record) -> list[int | None]:
    return [seen.status for seen in Facts(record).observations if seen.probe == "login"]


# --- what is said ---

WRONG: Final[dict[str, tuple[str, str, str]]] = {
    # what is written, where it is marked, and what is said
    "an unknown cluster": (text({"set-issuers": {"aps": [NEW]}}), NEW, "there is no cluster aps"),
    "an unknown cluster, upgraded": (text({"upgrade-kubernetes": {"x": "1.33.0"}}), "x", "there is no cluster x"),
    "no cluster": (text({"set-issuers": {}}), "set-issuers", "empty"),
    "no issuer": (text({"set-issuers": {"apps": []}}), "apps", "empty"),
    "an empty issuer": (text(issuers("")), "''", "empty"),
    "twice the same": (text(issuers(NEW, NEW)), NEW, "cannot be so"),
    "what is there already": (text(issuers(NEW), issuers(NEW)), NEW, "apps has these issuers already"),
    "what kubeadm gave it": (text(issuers(ISSUER)), ISSUER, "apps has these issuers already"),
    "a colon and no URL": (text(issuers("my issuer: mine")), "my issuer", "is not an issuer"),
    "a port that is none": (text(issuers("https://host:port")), "https://host:port", "is not an issuer"),
    "at the start as well": (text({"look": {}}, cluster={"issuers": ["a:%zz"]}), "a:%zz", "is not an issuer"),
    "an older Kubernetes": (text(upgrade("1.31.0")), "apps", "Kubernetes 1.31.0 is older than 1.32.0, which apps has"),
    "two minors at once": (text(upgrade("1.34.0")), "apps", "by one minor release at a time"),
    "two minors, one after the other": (
        text(upgrade("1.33.0"), upgrade("1.33.2"), upgrade("1.35.0")),
        "apps",
        "from 1.33.2 to 1.35.0 by one minor release at a time",
    ),
    "no version": (text(upgrade("new")), "new", "is not a version"),
    "a Vault's": (text(upgrade("1.33.0") | {"vault": "vault"}), "vault", "`vault` is of no use to upgrade-kubernetes"),
    "a node's": (text(issuers(NEW) | {"node": "vault-0"}), "node", "`node` is of no use to set-issuers"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_is_refused_before_anything_starts(name: str) -> None:
    written, at, message = WRONG[name]
    said, _ = problem(written, at)
    assert message in said


@pytest.mark.parametrize(
    "issuer", [LEGACY, "https://oidc.example.com/id/AB12", "my issuer", "spiffe://a", "urn:x:y", "https://[::1]:6443/a"]
)
def test_an_issuer_is_any_text_that_an_api_server_takes(issuer: str) -> None:
    assert scenario({"look": {}}, cluster={"issuers": [issuer]}).clusters["apps"].issuers == (issuer,)


def test_a_plan_says_what_is_done_to_clusters_and_what_that_needs() -> None:
    asked = scenario(
        {"upgrade-kubernetes": {"apps": "1.33.0"}, "then-look": False}, issuers(NEW, ISSUER), cluster={"issuers": ["x"]}
    )
    made = plan.make(asked, "test", "local")
    done = [step for step in made.steps if isinstance(step, course.OF_CLUSTERS)]
    assert done == [
        course.UpgradeKubernetes(number=1, cluster="apps", version="1.33.0"),
        course.SetIssuers(number=2, cluster="apps", issuers=(NEW, ISSUER)),
    ]
    assert [moment.label for moment in made.moments] == ["before", "after set-issuers"]
    assert {("kube-apiserver", "1.32.0"), ("kube-apiserver", "1.33.0")} <= set(made.artifacts)
    said = plans.render(made)
    assert "cluster apps: Kubernetes 1.32.0, issuers x" in said
    assert "upgrade the API server of cluster apps to Kubernetes 1.33.0" in said
    assert f"set the issuers of cluster apps: {NEW}, {ISSUER}" in said


def test_a_step_for_two_clusters_is_looked_at_once() -> None:
    document = yaml.safe_load(text({"upgrade-kubernetes": {"apps": "1.33.0", "other": "1.33.0"}}))
    document["clusters"]["other"] = {"kubernetes": "1.32.0"}
    made = plan.make(loading.loads(yaml.safe_dump(document)).scenario, "test", "paper")
    assert [step.cluster for step in made.steps if isinstance(step, course.UpgradeKubernetes)] == ["apps", "other"]
    assert len(made.moments) == 2


# --- what becomes of it ---


def test_apps_come_with_new_tokens_and_the_others_keep_theirs(tmp_path: Path) -> None:
    asked = scenario(
        issuers(NEW, ISSUER), mount={"reviewer": "requested"}, vault={"cluster": "apps"}, cluster={"issuers": [ISSUER]}
    )
    record, judgement = on_paper(asked, tmp_path)
    told = record.of(TokenIssued)
    of_app, of_vault = ([one.issuer for one in told if one.purpose == whose] for whose in ("app:web", "vault"))
    assert (of_app, of_vault) == ([ISSUER, NEW], [ISSUER])
    assert [one.issuer for one in told if one.purpose == "reviewer:kubernetes"] == [ISSUER]
    assert {one.issuer for one in told if one.purpose == "wrong-namespace:web"} == {ISSUER, NEW}
    assert told[-1].audiences == (NEW, ISSUER)
    assert [one.issuers for one in record.of(ClusterUp)] == [(ISSUER,)]
    assert [(one.cluster, one.version, one.issuers) for one in record.of(ClusterChanged)] == [
        ("apps", "1.32.0", (NEW, ISSUER))
    ]
    assert logins(record) == [200, 200]
    assert [one.rule for one in judgement.findings] == ["stored-reviewer-expires"]


@pytest.mark.parametrize(
    ("token", "statuses"), [("secret", [200, 200]), ("projected", [200, 500]), ("requested", [200, 500])]
)
def test_a_token_out_of_a_secret_keeps_the_issuer_that_vault_demands(
    token: str, statuses: Sequence[int], tmp_path: Path
) -> None:
    asked = scenario(
        issuers(NEW, LEGACY),
        app={"token": token},
        cluster={"issuers": [LEGACY]},
        vault={"source": "1.8.0"},
        mount={"config": {"kubernetes_host": "cluster"}},
    )
    record, judgement = on_paper(asked, tmp_path)
    assert logins(record) == statuses
    found = [(one.effect, one.rule, one.step) for one in judgement.findings]
    assert found == ([("login refused", "issuer-mismatch", 1)] if token != "secret" else [])


@pytest.mark.parametrize("kept", [(), (ISSUER,)])
@pytest.mark.parametrize("reviewer", ["local", "pod-token", "requested", "client-jwt", "secret"])
def test_who_is_cut_off_when_the_old_issuer_is_dropped(reviewer: str, kept: tuple[str, ...], tmp_path: Path) -> None:
    """Those whose reviewer holds a token of it, and nobody where it is kept; and that is what is said."""
    asked = scenario(issuers(NEW, *kept), mount={"reviewer": reviewer}, vault={"cluster": "apps"})
    record, judgement = on_paper(asked, tmp_path)
    cut_off = not kept and reviewer not in ("client-jwt", "secret")
    assert logins(record) == [200, 403 if cut_off else 200]
    found = [(one.rule, one.confidence, one.step) for one in judgement.findings if one.kind == "regression"]
    assert found == ([("issuer-no-longer-accepted", "certain", 1)] if cut_off else [])


def test_a_way_out_that_comes_before_the_change_does_not_name_the_issuer(tmp_path: Path) -> None:
    """The issuer of afterwards refuses everybody before: such a write is advised for afterwards alone."""
    asked = scenario(issuers(NEW, ISSUER), vault={"source": "1.8.0"})
    (found,) = [one for one in on_paper(asked, tmp_path)[1].findings if one.rule == "issuer-mismatch"]
    off, named = found.remedies
    assert [one.timing for one in off.occasions] == ["before", "after"]
    assert [one.timing for one in named.occasions] == ["after"]
    assert off.when == "before the change of issuers in apps, on Vault 1.8.0"
    assert named.when.startswith("right after the change of issuers in apps, on Vault 1.8.0")


# --- records ---


def test_a_record_of_another_release_has_the_issuer_that_it_says(tmp_path: Path) -> None:
    """Older ones have one alone."""
    record, _ = on_paper(scenario({"look": {}}), tmp_path)
    old = tuple(
        msgspec.structs.replace(one, issuers=()) if isinstance(one, ClusterUp) else one for one in record.events
    )
    facts = Facts(Record(old, record.directory))
    told = facts.issuers("apps", facts.observations[0])
    assert told is not None
    assert told[1] == (ISSUER,)


def test_a_record_without_the_change_is_no_record_of_its_plan(tmp_path: Path) -> None:
    record, _ = on_paper(scenario(issuers(NEW, ISSUER)), tmp_path)
    less = Record(tuple(one for one in record.events if not isinstance(one, ClusterChanged)), record.directory)
    said = " ".join(doubt for doubt in verdict.judge(less).reasons)
    assert "cluster apps serving anew" in said


@pytest.mark.parametrize("change", [{"cluster": "elsewhere"}, {"issuers": ()}])
def test_a_change_that_cannot_have_been_is_no_record(change: dict[str, Any], tmp_path: Path) -> None:
    record, _ = on_paper(scenario(issuers(NEW, ISSUER)), tmp_path)
    wrong = [
        msgspec.structs.replace(one, **change) if isinstance(one, ClusterChanged) else one for one in record.events
    ]
    with pytest.raises(NotARecord, match="cluster"):
        verdict.judge(Record(tuple(wrong), record.directory))


def test_an_api_server_that_does_not_come_back_says_nothing_of_vault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor of what an upgrade before it did."""

    def dies(_self: object, _cluster: str, _version: str) -> None:
        raise ProcessDied("kube-apiserver of apps ended by itself with status 1", 1, ["Error: unknown flag"])

    monkeypatch.setattr(PaperAccounts, "upgrade_kubernetes", dies)
    asked = scenario({"upgrade": "1.12.0"}, upgrade("1.33.0"))
    _, judgement = on_paper(asked, tmp_path)
    assert [one.rule for one in judgement.findings] == []
    assert (judgement.outcome, judgement.exit_code) == ("inconclusive", 4)
    assert any("upgrade-kubernetes: kube-apiserver of apps ended" in reason for reason in judgement.reasons)


def test_a_node_of_kind_is_made_for_one_kubernetes(tmp_path: Path) -> None:
    """That it cannot have another is said before anything is started; everything else it can."""
    made = plan.make(scenario(upgrade("1.33.0")), "test", "kind")
    with pytest.raises(MissingPrerequisite, match=r"from 1\.32\.0 to 1\.33\.0: --driver local can"):
        limits.insist(made)
    limits.insist(plan.make(scenario(upgrade("1.32.0"), issuers(NEW)), "test", "kind"))


@pytest.mark.parametrize(
    ("nodes", "said"),
    [
        (3, "a Vault of several nodes is in a cluster: --driver local has others"),
        (5, "3 nodes at most, and not 5: --driver local has them"),
    ],
)
def test_kind_says_beforehand_which_vault_of_several_nodes_it_cannot_have(nodes: int, said: str) -> None:
    there = plan.make(scenario(upgrade("1.32.0")), "test", "kind")
    several = {name: msgspec.structs.replace(vault, nodes=nodes) for name, vault in there.resolved.vaults.items()}
    topology = msgspec.structs.replace(there.resolved, vaults=several)
    with pytest.raises(MissingPrerequisite, match=said):
        limits.insist(msgspec.structs.replace(there, topology=topology))


def test_kind_takes_an_api_server_away_unless_a_proxy_is_before_it() -> None:
    gone = {"reachable": {"apps": False}}
    limits.insist(plan.make(scenario(gone), "test", "kind"))
    behind = {"write": {"mount": "kubernetes", "config": {"kubernetes_host": "proxy"}}}
    with pytest.raises(MissingPrerequisite, match="--driver local can take away an API server behind a proxy"):
        limits.insist(plan.make(scenario(behind, gone), "test", "kind"))


class Node:
    """The files of a kind cluster's node."""

    def __init__(self, keys: str, manifest: str) -> None:
        self.keys, self._manifest = keys, manifest

    def read(self, *command: str) -> str:
        return self.keys if command[-1].endswith("sa.pub") else self._manifest

    def run(self, *command: str, stdin: Sequence[bytes] = ()) -> str:
        assert command[-1].endswith("sa.pub")
        self.keys = b"".join(stdin).decode()
        return ""


def test_whoever_gets_a_kind_cluster_next_has_one_key_and_its_own_issuers() -> None:
    """What an earlier rehearsal rotated: the newest key stays, which the API server has once it is started anew."""
    new, old = (f"-----BEGIN PUBLIC KEY-----\n{word}\n-----END PUBLIC KEY-----\n" for word in ("new", "old"))
    node: Any = Node(new + old, MANIFEST)
    assert api_server.keys(node) == (new, old)
    assert not api_server.is_as_made(node, [LEGACY])
    assert api_server.keys(node) == (new,)
    assert not api_server.is_as_made(node, [NEW])
    assert api_server.is_as_made(node, ["https://kubernetes.default.svc.cluster.local"])


class OwnPods:
    """An API server whose controllers replace, a look later, what is deleted; one Pod of it never serves."""

    def __init__(self) -> None:
        self.there = [OwnPod("kube-system", name, f"{name}-1", name != "stuck") for name in ("proxy", "dns", "stuck")]
        self.deleted: list[str] = []

    def own_pods(self) -> list[OwnPod]:
        seen, self.there = self.there, [structs.replace(one, ready=one.name != "stuck") for one in self.there]
        return seen

    def delete_pod(self, namespace: str, name: str, *, at_once: bool) -> None:
        assert not at_once
        self.deleted.append(name)
        new = OwnPod(namespace, f"{name}-new", f"{name}-2", ready=False)
        self.there = [new if one.name == name else one for one in self.there]


def test_a_clusters_own_pods_come_back_with_new_tokens() -> None:
    """Those that served, and no more than those are waited for."""
    kube = OwnPods()
    cluster: Any = SimpleNamespace(kube=kube, name="apps", died=lambda: None)
    api_server.renew_own_tokens(cluster)
    assert kube.deleted == ["proxy", "dns"]
    assert [(one.uid, one.ready) for one in kube.there] == [("proxy-2", True), ("dns-2", True), ("stuck-1", False)]


MANIFEST: Final = """\
apiVersion: v1
kind: Pod
metadata:
  annotations:
    kubeadm.kubernetes.io/kube-apiserver.advertise-address.endpoint: 172.18.0.2:6443
  name: kube-apiserver
spec:
  containers:
  - command:
    - kube-apiserver
    - --advertise-address=172.18.0.2
    - --service-account-issuer=https://kubernetes.default.svc.cluster.local
    - --tls-private-key-file=/etc/kubernetes/pki/apiserver.key
    image: registry.k8s.io/kube-apiserver:v1.32.0
"""


@pytest.mark.parametrize("names", [(NEW,), (NEW, ISSUER), ('with "quotes": {}', "#", "- x")])
def test_a_manifest_has_the_issuers_in_their_order_and_is_another_one_each_time(names: tuple[str, ...]) -> None:
    once = api_server.changed(MANIFEST, names, ["17"])
    twice = api_server.changed(once, names, ["99"])
    assert len({MANIFEST, once, twice}) == 3
    for text in (once, twice):
        read = yaml.safe_load(text)
        (container,) = read["spec"]["containers"]
        first, *flags = container["command"]
        assert first == "kube-apiserver"
        assert [flag for flag in flags if "issuer" in flag] == [f"--service-account-issuer={name}" for name in names]
        assert {"--advertise-address=172.18.0.2", "--tls-private-key-file=/etc/kubernetes/pki/apiserver.key"} <= {
            *flags
        }
        assert len(read["metadata"]["annotations"]) == 2


# --- real servers ---


@pytest.mark.real
def test_no_change_of_issuers_and_keys_locks_the_rehearsal_itself_out(tmp_path: Path, lender: Lender) -> None:
    """It asks by an account of the API server's own; who is refused is whoever holds a token of before, and is named.

    What is requested, bound and written afterwards is as good as ever: tokens of new Pods, rights, a reviewer.
    """
    role = {"service-accounts": ["web"], "namespaces": ["apps"], "policies": ["web"], "ttl": "1h"}
    mounts = {"copied": {"reviewer": "pod-token"}, "stored": {"reviewer": "requested", "reviewer-token-life": "24h"}}
    gone = {"change": "login refused", "cause": "issuer-no-longer-accepted", "at-step": 1}
    document = {
        "schema": 1,
        "description": "The issuer goes, then the key, and much is requested afterwards.",
        "clusters": {"apps": {"kubernetes": "1.32.0"}},
        "vault": {"cluster": "apps", "source": "1.9.2"},
        "auth": {
            name: {"cluster": "apps", "configured": {"by": "1.9.2", "with-token-file": True}, "roles": {"web": role}}
            | reviewer
            for name, reviewer in mounts.items()
        },
        "apps": {
            name: {"cluster": "apps", "service-account": "apps/web", "mount": name, "role": "web"} for name in mounts
        },
        "course": [
            issuers(NEW),
            {"rotate-keys": {"apps": "signing"}, "then-look": False},
            {"publish-keys": {"apps": True}, "then-look": False},
            {"write": {"mount": "stored", "reviewer": "requested"}},
            {"publish-keys": {"apps": False}, "then-look": False},
            {"upgrade": "1.11.0"},
            {"write": {"mount": "copied", "reviewer": "secret"}},
        ],
        "expect": [
            gone | {"app": "copied"},
            gone | {"app": "stored"},
            {"change": "login granted", "app": "stored", "at-step": 4, "cause": "changed-by-step"},
            {"change": "login granted", "app": "copied", "at-step": 7, "cause": "changed-by-step"},
            {"change": "reviewer expires", "app": "stored", "cause": "stored-reviewer-expires"},
        ],
    }
    file, directory = tmp_path / "issuers.yaml", tmp_path / "record"
    file.write_text(json.dumps(document))
    code, judgement = lender.rehearse(file, directory)
    assert (code, judgement["as_expected"]) == (0, True), judgement["reasons"]
    record = journal.load(directory)
    assert [
        one.error for one in record.of(Observation) if one.answer == "unknown" and "no token" not in one.error
    ] == []
    assert [one.issuers for one in record.of(ClusterChanged)] == [(NEW,), (NEW,)]
    newest = {one.purpose: one.issuer for one in record.of(TokenIssued)}
    assert newest["vault"] == newest["reviewer:stored"] == newest["app:copied"] == NEW
    # the Secret's was there before all others, and is what is written at the end
    assert next(one.issuer for one in record.of(TokenIssued) if one.purpose == "reviewer:copied") == LEGACY
