"""Vault in its Pod: what its states mean, whose fault they are, and what it said."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.artifacts import templates
from harness.clients.kube import Kube
from harness.drivers.kind import one_pod, vault_pod
from harness.drivers.kind.cluster import KindCluster, Workbench
from harness.drivers.kind.vault_pod import Turn, VaultPod
from harness.drivers.log_tail import PodTail
from harness.errors import RigError, Unreachable
from harness.secret import Secret
from tests.test_kind_cluster import bench  # noqa: F401  # a fixture
from tests.test_vault import Answer, Scripted

pytestmark = pytest.mark.processes

AT = "2026-11-21T15:25:12.084604Z"
NEVER = 'Container image "rehearse/vault:1.11.0" is not present with pull policy of Never'
NO_PROGRAM = 'failed to create containerd task: exec: "/bin/vault": exec format error'


def status(state: dict[str, Any], last: dict[str, Any] | None = None, restarts: int = 0) -> dict[str, Any]:
    """Return a Pod's status as the API has it."""
    container = {"name": "vault", "state": state, "lastState": last or {}, "restartCount": restarts, "ready": False}
    return {"phase": "Running", "containerStatuses": [container]}


def ended(code: int, reason: str = "Error") -> dict[str, Any]:
    return {"terminated": {"exitCode": code, "reason": reason, "message": NO_PROGRAM, "finishedAt": AT}}


def waiting(reason: str, message: str = "") -> dict[str, Any]:
    return {"waiting": {"reason": reason, **({"message": message} if message else {})}}


LOOPING = waiting("CrashLoopBackOff", "back-off 10s restarting failed container=vault pod=vault-0")
RUNNING: dict[str, Any] = {"running": {"startedAt": AT}}


@pytest.fixture
def pod(bench: Workbench, tmp_path: Path) -> VaultPod:  # noqa: F811
    """A Vault in a cluster whose API server a test has yet to name."""
    cluster = KindCluster("platform", tmp_path / "work/cluster-platform", bench, "node", 21000)
    one = VaultPod(tmp_path / "work/vault", cluster, "vault/vault", "it", storage="raft", port=21001)
    one._version, one._uid = "1.11.0", "uid-2"
    return one


@pytest.fixture
def nowhere() -> str:
    """An address at which nobody listens any more."""
    with Scripted() as server:
        return server.address


def died(pod: VaultPod, state: dict[str, Any], **about: Any) -> str | None:
    """Return what is said of a Pod whose status is *state*."""
    body = {"metadata": {"name": "vault-0", "uid": "uid-2", **about}, "spec": {"nodeName": "node"}, "status": state}
    events = Answer(body={"items": [{"reason": "Failed", "message": "the kubelet's words"}]})
    with Scripted(Answer(body=body), events) as server:
        pod._cluster.kube = Kube(server.address, pod._cluster.ca, Secret("token"))
        return pod.died()


@pytest.mark.parametrize(
    "state",
    [
        {"phase": "Pending"},
        status(waiting("ContainerCreating")),
        status(waiting("PodInitializing")),
        status(RUNNING),
    ],
    ids=["no status", "in the making", "prepared", "runs"],
)
def test_a_pod_on_its_way_is_not_dead(state: dict[str, Any], pod: VaultPod) -> None:
    assert died(pod, state) is None


@pytest.mark.parametrize(
    ("state", "said"),
    [
        (status(ended(1)), "Vault 1.11.0 ended by itself with status 1"),
        (status(ended(0, "Completed")), "Vault 1.11.0 ended by itself with status 0"),
        (status(LOOPING, ended(2), 1), "status 2, and its Pod is now CrashLoopBackOff: back-off 10s"),
        (status(RUNNING, ended(2), 1), "Vault 1.11.0 ended by itself with status 2"),
    ],
    ids=["ended", "ended well", "over and over", "started again"],
)
def test_a_vault_that_ended_by_itself_is_dead_also_where_its_pod_has_started_it_again(
    state: dict[str, Any], said: str, pod: VaultPod
) -> None:
    assert said in str(died(pod, state))


@pytest.mark.parametrize(
    ("state", "said"),
    [
        (status(waiting("ErrImageNeverPull", NEVER)), f"cannot run: ErrImageNeverPull: {NEVER}"),
        (status(waiting("CreateContainerConfigError", "secret not found")), "cannot run: CreateContainerConfigError"),
        (status(ended(128, "StartError")), f"cannot run: StartError: {NO_PROGRAM}"),
        (status(LOOPING, ended(128, "StartError"), 2), "cannot run: StartError"),
        (status(ended(137, "OOMKilled")), "was killed, because its memory ran out: make room"),
        (status(LOOPING, ended(137, "OOMKilled"), 1), "was killed, because its memory ran out: make room"),
        (status(ended(137)), "was killed from outside by SIGKILL"),
    ],
    ids=["no image", "no secret", "no program", "no program, again", "no memory", "no memory, again", "killed"],
)
def test_what_is_not_vaults_doing_is_said_to_be_somebody_elses(state: dict[str, Any], said: str, pod: VaultPod) -> None:
    with pytest.raises(RigError, match=r"Vault 1\.11\.0") as told:
        died(pod, state)
    assert said in str(told.value)


def test_the_end_of_the_pod_before_it_is_nobodys_death(pod: VaultPod) -> None:
    """While it is being deleted, and once another is in its place."""
    assert died(pod, status(ended(137)), deletionTimestamp=AT) is None
    assert died(pod, status(ended(1)), uid="uid-1") is None


def test_an_api_server_that_is_silent_is_no_death_of_vault_as_long_as_its_node_lives(
    pod: VaultPod, nowhere: str
) -> None:
    """Where the node has ended, that is said; a moment's silence is waited out."""
    pod._cluster.kube = Kube(nowhere, pod._cluster.ca, Secret("token"))
    assert pod.died() is None
    pod._cluster._up = True
    with pytest.raises(RigError, match=r"the node of cluster platform has ended .*, and Vault 1\.11\.0 with it"):
        pod.died()


def line(text: str, stream: str = "stderr", tag: str = "F") -> str:
    """Return a line as a kubelet's runtime keeps it."""
    return f"{AT} {stream} {tag} {text}"


def test_what_vault_said_is_whole_and_without_its_audit_log() -> None:
    """A long line is kept in pieces; and pieces of the other stream come in between."""
    audit = json.dumps({"time": AT, "type": "request", "auth": {}}, separators=(",", ":"))
    log = [
        line("==> Vault server configuration:", "stdout"),
        line("panic: one ", tag="P"),
        line(audit, "stdout"),
        line("and another", tag="F"),
        "tail: file truncated",
    ]
    assert one_pod._words(log) == ["==> Vault server configuration:", "panic: one and another"]


def test_pieces_are_put_together_also_where_the_reader_came_in_between(tmp_path: Path) -> None:
    tail = PodTail(tmp_path / "log")
    tail.path.write_text(line("one ", tag="P") + "\n")
    assert tail.lines() == []
    with tail.path.open("a") as file:
        file.write(line("other", "stdout") + "\n" + line("and two") + "\ntail: cannot open\n")
    assert tail.lines() == ["other", "one and two"]
    assert tail.lines() == []


@pytest.mark.parametrize(("storage", "tls"), [("raft", True), ("file", False)])
def test_vault_is_told_where_its_data_is_and_how_it_listens(storage: str, tls: bool) -> None:
    """With TLS only those are heard who have a certificate of its own authority."""
    told = json.loads(vault_pod.settings(storage)[vault_pod.GUARDED if tls else vault_pod.PLAIN])
    assert told["storage"][storage]["path"] == "/vault/data"
    assert told["listener"]["tcp"]["tls_disable"] is not tls
    assert ("tls_key_file" in told["listener"]["tcp"]) is tls
    assert told["listener"]["tcp"].get("tls_client_ca_file") == ("/vault/tls/ca.crt" if tls else None)
    assert told["listener"]["tcp"].get("tls_require_and_verify_client_cert") is (True if tls else None)
    assert told["api_addr"].startswith("https://" if tls else "http://")


def test_a_vault_leaves_and_another_one_takes_its_place_once_nothing_of_it_runs(
    pod: VaultPod, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What makes its Pod goes first; one that was made all the same goes as well; then what still runs on the node."""
    there = {"metadata": {"name": "vault-0", "uid": "uid-1"}, "spec": {"nodeName": "node"}, "status": status(RUNNING)}
    ran: list[tuple[str, ...]] = []
    monkeypatch.setattr(pod._cluster, "run", lambda *words: ran.append((*words[:2], *words[3:])))
    kept, at_once = "/api/v1/namespaces/vault", "/api/v1/namespaces/vault/pods/vault-0?gracePeriodSeconds=0"
    with Scripted(Answer()) as server:
        pod._cluster.kube = Kube(server.address, pod._cluster.ca, Secret("token"))
        pod.leave_at_once()
    what_makes_it = [
        "/apis/apps/v1/namespaces/vault/statefulsets/vault",
        f"{kept}/configmaps/vault",
        f"{kept}/secrets/vault",
    ]
    assert [one.path for one in server.asked if one.method == "DELETE"] == [*what_makes_it, at_once]
    assert ran == []
    # after each look it is asked whether Vault has died
    gone, left = [Answer(404)] * 3, Answer(body=there)
    with Scripted(*gone, left, left, *gone, Answer(404)) as server:
        pod._cluster.kube = Kube(server.address, pod._cluster.ca, Secret("token"))
        pod.take_place()
    looks = [*what_makes_it, at_once, *what_makes_it, at_once, at_once]
    assert [one.path for one in server.asked if one.method == "DELETE"] == looks, "that may have failed before"
    assert ran == [("sh", "-c", "sh", "vault", "vault-0")]


def test_a_pod_that_a_controller_makes_too_late_is_not_taken_for_the_next(
    pod: VaultPod, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It comes of a StatefulSet that is gone, between the last look and the end of what ran: both are done again."""
    told = iter([False, True, False, False])
    ran: list[str] = []
    monkeypatch.setattr(Kube, "delete_pod", lambda *_: next(told))
    monkeypatch.setattr(pod, "_state", lambda: None)
    monkeypatch.setattr(pod, "remove", lambda: None)
    monkeypatch.setattr(pod._cluster, "run", lambda *words: ran.append(words[-1]))
    pod.take_place()
    assert (ran, list(told)) == (["vault-0"] * 2, [])


CTR = """#!/bin/sh
# $ROOM/runs: what runs; $ROOM/soon: what does so from the next look on
case "$*" in
*"tasks kill"*) for last; do :; done; echo "$last" >>"$ROOM/killed"; : >"$ROOM/runs" ;;
*"tasks ls"*) cat "$ROOM/runs"; if [ -e "$ROOM/soon" ]; then mv "$ROOM/soon" "$ROOM/runs"; fi ;;
*) echo vault-anew ;;
esac
"""


def test_what_a_kubelet_starts_while_its_pod_ends_is_ended_as_well(tmp_path: Path) -> None:
    """What did not run at the first look may do so at the next: nobody waits for its own end."""
    ctr = tmp_path / "ctr"
    ctr.write_text(CTR)
    ctr.chmod(0o700)
    (tmp_path / "runs").touch()
    (tmp_path / "soon").write_text("vault-anew\n")
    script = templates.text("end-pod.sh").replace("/var/log/pods", str(tmp_path / "logs"))
    around = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "ROOM": str(tmp_path)}
    subprocess.run(["sh", "-c", script, "sh", "vault", "vault-0"], env=around, check=True, timeout=30)
    assert (tmp_path / "killed").read_text() == "vault-anew\n"


def test_what_was_ended_abruptly_is_made_anew_by_a_rollout(pod: VaultPod, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rollout of a StatefulSet whose Pod was deleted beforehand may bring the version before."""
    begun: list[str] = []
    for step in ("leave_at_once", "take_place"):
        monkeypatch.setattr(pod, step, lambda step=step: begun.append(step))
    monkeypatch.setattr(pod, "_create", lambda image, **_: begun.append(f"create {image}"))
    monkeypatch.setattr(pod, "_roll", lambda image, **_: begun.append(f"roll {image}"))
    monkeypatch.setattr(pod, "_comes", lambda gone, _: begun.append(f"not {gone}"))
    pod._uid = ""
    pod.end_abruptly()
    pod.roll_out("1.4.0", "vault:1.4.0", token_file=True)
    pod._uid = "uid-1"
    pod.end_abruptly()
    pod.roll_out("1.7.0", "vault:1.7.0", token_file=True)
    pod.roll_out("1.11.0", "vault:1.11.0", token_file=True)
    assert begun == [
        "create vault:1.4.0", "not ",
        "leave_at_once", "take_place", "create vault:1.7.0", "not uid-1",
        "roll vault:1.11.0", "not uid-1",
    ]  # fmt: skip


def test_what_need_not_be_waited_for_goes_on_under_another_name_over_a_copy(
    pod: VaultPod, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stands still, is copied and ends; its Pod is told to go, and the next one has a name and ports of its own."""
    begun: list[str] = []
    monkeypatch.setattr(pod._cluster, "run", lambda *words: begun.append(" ".join(words[3:])))
    monkeypatch.setattr(pod, "leave_at_once", lambda: begun.append(f"{pod._pod} leaves"))
    monkeypatch.setattr(pod, "take_place", lambda: begun.append(f"{pod._pod} takes the place of another"))
    monkeypatch.setattr(pod, "_create", lambda image, **_: begun.append(f"create {image} as {pod.name}"))
    monkeypatch.setattr(pod, "_comes", lambda gone, _: begun.append(f"{pod._pod} that is not {gone}"))
    before, pod._uid = pod._data, ""
    pod.go_on_as(Turn("vault-2", 8204, 21_009))
    assert (begun, pod._data, pod.name) == ([], before, "vault"), "there is none"
    pod._uid, pod._is_made = "uid-1", True
    pod.go_on_as(Turn("vault-2", 8204, 21_009))
    pod.roll_out("1.7.0", "vault:1.7.0", token_file=True)
    assert begun == [
        f"sh uid-1 {before} {before}-vault-2 KILL",
        "vault-0 leaves",
        "create vault:1.7.0 as vault-2",
        "vault-2-0 that is not uid-1",
    ]
    assert pod._data == f"{before}-vault-2"
    pod._uid = "uid-2"
    begun.clear()
    pod.go_on_as(Turn("vault", 8200, 21_008))
    assert [what.partition(" ")[2] for what in begun[1:]] == ["leaves", "takes the place of another"], (
        "it was there before"
    )
    assert pod._data == f"{before}-vault-2-vault"
    pod.go_on_as(Turn("vault-2", 8204, 21_009))
    assert pod.client.address == "https://127.0.0.1:21009"
    monkeypatch.setattr(type(pod._cluster), "address", "172.18.0.2")
    assert pod.within[0] == "https://172.18.0.2:8204"


def test_a_vault_that_cannot_be_copied_is_waited_for(pod: VaultPod, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no room, or it has ended by itself: that is no reason to end the rehearsal, and its name stays."""
    begun: list[str] = []

    def run(*_: str) -> None:
        raise RigError("no space left on device")

    monkeypatch.setattr(pod._cluster, "run", run)
    monkeypatch.setattr(pod, "end_abruptly", lambda: begun.append(f"{pod.name} ends"))
    address, pod._uid = pod.client.address, "uid-1"
    pod.go_on_as(Turn("vault-2", 8204, 21_009))
    assert (begun, pod.name, pod.client.address) == (["vault ends"], "vault", address)


@pytest.mark.parametrize("then", ["CONT", "KILL"])
def test_a_vault_that_stands_still_is_copied_and_goes_on_or_ends(then: str, tmp_path: Path) -> None:
    """Here a program that waits is what `ctr` says runs in the Pod."""
    data, copy = tmp_path / "data", tmp_path / "copy"
    data.mkdir()
    (data / "vault.db").write_text("what it holds")
    with subprocess.Popen(["sleep", "60"]) as running:
        try:
            ctr = tmp_path / "ctr"
            ctr.write_text(f'#!/bin/sh\ncase "$*" in *tasks*) echo its {running.pid} RUNNING ;; *) echo its ;; esac\n')
            ctr.chmod(0o700)
            around = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
            words = ["sh", "-c", templates.text("copy-as-it-runs.sh"), "sh", "uid-1", str(data), str(copy), then]
            subprocess.run(words, env=around, check=True, timeout=30)
            assert (copy / "vault.db").read_text() == "what it holds"
            if then == "KILL":
                assert running.wait(10) == -signal.SIGKILL
            else:
                assert running.poll() is None
                state = Path(f"/proc/{running.pid}/stat").read_text().rpartition(") ")[2][0]
                assert state != "T", "it goes on"
        finally:
            running.kill()


def test_for_client_certificates_vault_listens_to_everybody_over_tls() -> None:
    """Whoever shows one is to be answered, and so are those who show none."""
    told = json.loads(vault_pod.settings("raft")[vault_pod.OPEN])["listener"]["tcp"]
    assert told["tls_disable"] is False
    assert "tls_client_ca_file" not in told
    assert not told.get("tls_require_and_verify_client_cert")


@pytest.mark.parametrize("token_file", [True, False])
def test_what_makes_the_pod_is_filled_in_whole(token_file: bool, pod: VaultPod, nowhere: str) -> None:
    """Image, node, account, the token or none of it, and data that outlives the Pod; for its user alone."""
    pod._cluster.kube = Kube(nowhere, pod._cluster.ca, Secret("token"))
    with pytest.raises(Unreachable):
        pod._create("rehearse/vault:1.11.0", token_file=token_file)
    manifest = pod._directory / "vault.yaml"
    assert manifest.stat().st_mode & 0o777 == 0o600
    config, tls, made = yaml.safe_load_all(manifest.read_text())
    told = {name: json.loads(text)["listener"]["tcp"] for name, text in config["data"].items()}
    assert told["guarded.json"]["tls_require_and_verify_client_cert"] is True
    assert told["plain.json"]["tls_disable"] is True
    assert set(tls["stringData"]) == {"tls.crt", "tls.key", "ca.crt"}
    spec = made["spec"]["template"]["spec"]
    assert (spec["serviceAccountName"], spec["nodeName"]) == ("vault", "node-control-plane")
    assert spec["automountServiceAccountToken"] is token_file
    assert spec["containers"][0]["image"] == "rehearse/vault:1.11.0"
    assert [each["name"] for each in spec["containers"][0]["env"]] == ["VAULT_LOG_FORMAT", "HOME"]
    assert spec["containers"][0]["command"] == ["/bin/vault", "server", "-config=/vault/config/guarded.json"]
    assert {"name": "data", "hostPath": {"path": "/var/lib/rehearsal/it", "type": "DirectoryOrCreate"}} in spec[
        "volumes"
    ]


def test_a_licence_is_handed_to_the_pod_in_a_secret(pod: VaultPod, nowhere: str) -> None:
    """Where Vault looks for it; and the manifest, which holds it, is for its user alone."""
    pod._licence = Secret("02MV4UU43BK5HGYYTOJZWFQMTMNNEWU33J")
    pod._cluster.kube = Kube(nowhere, pod._cluster.ca, Secret("token"))
    with pytest.raises(Unreachable):
        pod._create("hashicorp/vault-enterprise:1.15.6-ent", token_file=True)
    manifest = pod._directory / "vault.yaml"
    assert manifest.stat().st_mode & 0o777 == 0o600
    config, tls, made = yaml.safe_load_all(manifest.read_text())
    assert tls["stringData"]["licence.hclic"] == pod._licence.reveal()
    assert pod._licence.reveal() not in json.dumps([config, made])
    (container,) = made["spec"]["template"]["spec"]["containers"]
    assert {"name": "VAULT_LICENSE_PATH", "value": "/vault/tls/licence.hclic"} in container["env"]


def test_what_a_cluster_warned_of_last_comes_last(pod: VaultPod) -> None:
    """In the list they stand as each was first said. Those of a scheduler have no date of that kind, but another."""

    def event(said: str, **dates: str | None) -> dict[str, Any]:
        return {"reason": "FailedMount", "message": said} | dates

    goes_on = event("configmap not found", lastTimestamp="2026-03-14T15:09:34Z")
    for_a_moment = event("timed out", lastTimestamp="2026-03-14T15:09:27Z")
    scheduler = event("no node", lastTimestamp=None, eventTime="2026-03-14T15:09:30.5Z")
    with Scripted(Answer(body={"items": [goes_on, for_a_moment, scheduler]})) as server:
        kube = Kube(server.address, pod._cluster.ca, Secret("token"))
        said = [line.partition(": ")[2] for line in kube.complaints("vault", "vault-0")]
    assert said == ["timed out", "no node", "configmap not found"]
