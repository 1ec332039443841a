"""What a kind cluster is made with: labels on whatever the docker command runs, and a configuration filled in."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness import wait
from harness.artifacts import templates
from harness.artifacts.images import Image
from harness.clients.container_engine import Engine
from harness.drivers.kind import cluster as cluster_module
from harness.drivers.kind.cluster import KindCluster, Workbench
from harness.errors import RigError, Unreachable
from harness.host.process import Supervisor
from harness.scenario.topology import ISSUER
from tests.socket_engine import Answers, engine_that

pytestmark = pytest.mark.processes

NODE = Image("node-image", "1.32.0", "rehearse/node:1.32.0", "sha256:1", "made here", brings_network=True)
LABELS = {"rehearse.run": "it", "rehearse.note": "two words, a 'quote' and a $sign"}
ENDED = {"Id": "node", "State": {"Running": False, "Status": "exited", "ExitCode": 137}}


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Workbench]:
    """A workbench whose docker command prints its arguments, a line each."""
    command = tmp_path / "docker"
    command.write_text("#!/bin/sh\nprintf '%s\\n' \"$@\"\n")
    command.chmod(0o755)
    there = {"containers/json": (200, []), "networks": (200, []), "volumes": (200, {"Volumes": None})}
    answers = Answers({"containers/node-control-plane/json": (200, ENDED), **there})
    with (
        engine_that(answers, tmp_path / "engine") as path,
        Supervisor("it", tmp_path / "work", tmp_path / "live") as supervisor,
    ):
        machine = Engine(Path(path), command)
        yield Workbench(
            tmp_path / "work" / "bench", machine, supervisor, command, name="it", network="it", labels=LABELS
        )


def printed(tmp_path: Path, *words: str, **environment: str) -> list[str]:
    """Return what the docker command is called with when kind calls it with *words*."""
    done = subprocess.run(
        [tmp_path / "work/bench/docker", *words], env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()


def test_whatever_kind_runs_carries_the_labels_of_the_run(bench: Workbench, tmp_path: Path) -> None:
    """Right behind the word `run`, whatever is in them; and all that kind says is passed on as it was."""
    said = printed(tmp_path, "run", "--name", "a node", "--label", "kind=1", "image")
    ours = [word for key, value in LABELS.items() for word in ("--label", f"{key}={value}")]
    assert said == ["run", *ours, "--name", "a node", "--label", "kind=1", "image"]


def test_a_run_owns_what_is_on_the_engine_once_it_may_make_something(bench: Workbench, tmp_path: Path) -> None:
    """Not before: one that has only what is lent to it made nothing there, and need not look for it at its end."""
    entry = tmp_path / "live" / "it.json"
    assert "engine" not in json.loads(entry.read_text())
    assert bench.labels == LABELS
    assert json.loads(entry.read_text())["engine"] == str(bench.engine.socket)


@pytest.mark.parametrize(("made", "settled"), [("true", True), ("false", False), ("sleep 9", False)])
def test_nothing_is_under_way_once_kind_has_made_its_cluster(
    made: str, settled: bool, bench: Workbench, tmp_path: Path
) -> None:
    (tmp_path / "docker").write_text(f"#!/bin/sh\n{made}\n")  # here the kind command as well
    assert bench._settled()
    maker = bench.kind(["create"], kubeconfig=tmp_path / "kubeconfig", log=tmp_path / "kind.log")
    if "sleep" not in made:
        wait.until(lambda: maker.poll() is not None, what="it to end", seconds=30)
    assert bench._settled() is settled


def test_what_an_engine_did_not_answer_may_yet_be_made(bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A no is an answer; silence is none, whatever it was for: a run is not over then with one empty list."""
    engine = bench.engine
    with pytest.raises(RigError):
        engine.create_network("it", {})  # this one knows no networks
    assert not engine.unanswered

    def silent(*_: object, **__: object) -> None:
        raise ConnectionResetError

    monkeypatch.setattr(engine._client.api, "create_volume", silent)
    with pytest.raises(Unreachable):
        engine.create_volume("it", {})
    assert engine.unanswered
    assert not bench._settled()


@pytest.mark.parametrize(("shares", "said"), [("256", ["--cpu-shares=256"]), ("", [])])
def test_a_cluster_that_others_are_waited_for_before_gets_fewer_processors(
    shares: str, said: list[str], bench: Workbench, tmp_path: Path
) -> None:
    ours = printed(tmp_path, "run", "image", NODE_CPU_SHARES=shares)
    assert ours[-1 - len(said) :] == [*said, "image"]
    assert [word for word in ours if "cpu" in word] == said


@pytest.mark.parametrize("words", [["ps", "-a"], ["exec", "node", "run"], ["network", "ls"], []])
def test_any_other_command_is_passed_on_as_it_is(words: list[str], bench: Workbench, tmp_path: Path) -> None:
    assert printed(tmp_path, *words) == (words or [""])


def cluster(bench: Workbench, tmp_path: Path) -> KindCluster:
    return KindCluster("apps", tmp_path / "work/cluster-apps", bench, "node", 21000)


def config(one: KindCluster, workers: int = 0, vault_ports: tuple[int, ...] = (), **kubelet: object) -> dict[str, Any]:
    parsed: dict[str, Any] = yaml.safe_load(one._config(NODE, workers, kubelet, vault_ports, ISSUER))
    return parsed


def test_a_cluster_listens_on_loopback_and_mounts_what_is_its_own(bench: Workbench, tmp_path: Path) -> None:
    one = cluster(bench, tmp_path)
    made = config(one)
    assert made["networking"] == {"apiServerAddress": "127.0.0.1", "apiServerPort": 21000, "disableDefaultCNI": True}
    (node,) = made["nodes"]
    assert node["role"] == "control-plane"
    assert node["extraPortMappings"] == []
    (mount,) = node["extraMounts"]
    assert mount == {"hostPath": str(one.directory / "mounted"), "containerPath": "/etc/rehearsal", "readOnly": True}


def test_vaults_cluster_maps_its_ports_to_loopback_alone(bench: Workbench, tmp_path: Path) -> None:
    (node,) = config(cluster(bench, tmp_path), vault_ports=(21001, 21002))["nodes"]
    assert node["extraPortMappings"] == [
        {"containerPort": 8200, "hostPort": 21001, "listenAddress": "127.0.0.1"},
        {"containerPort": 8202, "hostPort": 21002, "listenAddress": "127.0.0.1"},
    ]


def test_each_place_of_a_vault_has_a_port_of_its_own(bench: Workbench, tmp_path: Path) -> None:
    """The one, one beside it, each of three nodes, and the one that comes while the first is asked."""
    (node,) = config(cluster(bench, tmp_path), vault_ports=tuple(range(21001, 21007)))["nodes"]
    led = {one["hostPort"]: one["containerPort"] for one in node["extraPortMappings"]}
    assert led == {21001: 8200, 21002: 8202, 21003: 30200, 21004: 30201, 21005: 30202, 21006: 8204}


@pytest.mark.parametrize(("spared", "goes_on"), [("aa11", [True, False, False]), ("", [False] * 3)])
def test_what_follows_files_for_somebody_else_goes_on(spared: str, goes_on: list[bool], tmp_path: Path) -> None:
    """What a killed command leaves on a node is ended, but for what has the mark of one that is still read.

    Here `pgrep` names three programs that wait.
    """
    marks = [{cluster_module._MARK: "aa11"}, {cluster_module._MARK: "bb22"}, {}]
    following = [subprocess.Popen(["sleep", "60"], env={"PATH": os.environ["PATH"]} | mark) for mark in marks]
    try:
        pgrep = tmp_path / "pgrep"
        pgrep.write_text(f"#!/bin/sh\necho {' '.join(str(one.pid) for one in following)}\n")
        pgrep.chmod(0o700)
        around = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
        script = cluster_module._END_WATCHERS
        subprocess.run(["sh", "-c", script, "sh", spared], env=around, check=True, timeout=30)
        for one, goes in zip(following, goes_on, strict=True):
            if goes:
                assert one.poll() is None
            else:
                assert one.wait(10) == -signal.SIGTERM
    finally:
        for one in following:
            one.kill()
            one.wait()


EMPTIED = """#!/bin/sh
case "$*" in
*"tasks kill"*)
    for last; do :; done
    echo "kill $last"
    grep -vx "$last" "$ROOM/runs" >"$ROOM/left"
    mv "$ROOM/left" "$ROOM/runs" ;;
*"tasks ls"*) cat "$ROOM/runs" ;;
*"containers ls"*) shift 5; echo "$*" >>"$ROOM/asked"; printf 'web\nvault-pod\nvault\ngone\n' ;;
esac
"""


def empty(tmp_path: Path, running: Sequence[str], *words: str) -> list[str]:
    """Empty a node on which this runs, as *words* say, and return what is killed."""
    script = templates.text("empty-node.sh").replace("/var/lib/rehearsal", str(tmp_path / "data"))
    for name, text in (("ctr", EMPTIED), ("iptables", "#!/bin/sh\nexit 1\n")):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o700)
    (tmp_path / "runs").write_text("".join(f"{one}\n" for one in running))
    around = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "ROOM": str(tmp_path)}
    done = subprocess.run(
        ["sh", "-c", script, "sh", *words], env=around, check=True, timeout=30, capture_output=True, text=True
    )
    return sorted(done.stdout.splitlines())


def test_a_node_is_emptied_of_what_runs_in_the_namespaces_of_rehearsals(tmp_path: Path) -> None:
    """Of all of them with one command each time; of none, where there is none."""
    (tmp_path / "data" / "it").mkdir(parents=True)
    for spaces, killed in (([], []), (["apps", "vault"], ["kill vault", "kill web"])):
        assert empty(tmp_path, ["etcd", "vault", "web"], "", "", "", *spaces) == killed
    first, *_ = (tmp_path / "asked").read_text().splitlines()
    container = 'labels."io.cri-containerd.kind"=="container"'
    assert first == " ".join(f'labels."io.kubernetes.pod.namespace"=="{one}",{container}' for one in spaces)
    assert not list((tmp_path / "data").iterdir())


def test_a_vault_that_is_spared_keeps_its_containers_and_its_data(tmp_path: Path) -> None:
    """Of its own namespace alone, by the name of its Pod; and the folder of nobody else."""
    for folder in ("it", "next"):
        (tmp_path / "data" / folder).mkdir(parents=True)
    empty(tmp_path, ["etcd"], "vault", "vault-2-0", str(tmp_path / "data" / "next"), "apps", "vault")
    asked = (tmp_path / "asked").read_text().splitlines()[-1]
    spaces = [f'labels."io.kubernetes.pod.namespace"=="{one}"' for one in ("apps", "vault")]
    assert asked == " ".join([spaces[0], f'{spaces[1]},labels."io.kubernetes.pod.name"!="vault-2-0"'])
    assert [one.name for one in (tmp_path / "data").iterdir()] == ["next"]


def test_workers_are_nodes_of_their_own(bench: Workbench, tmp_path: Path) -> None:
    made = config(cluster(bench, tmp_path), workers=2)
    assert [node["role"] for node in made["nodes"]] == ["control-plane", "worker", "worker"]


def test_a_kubelet_is_told_what_it_needs(bench: Workbench, tmp_path: Path) -> None:
    """And nothing where it needs nothing."""
    one = cluster(bench, tmp_path)
    patches = [yaml.safe_load(patch) for patch in config(one, failCgroupV1=False)["kubeadmConfigPatches"]]
    assert {"kind": "KubeletConfiguration", "failCgroupV1": False} in patches
    patches = [yaml.safe_load(patch) for patch in config(one)["kubeadmConfigPatches"]]
    assert {"kind": "KubeletConfiguration"} in patches


def test_a_node_that_ended_is_named_with_its_cluster(bench: Workbench, tmp_path: Path) -> None:
    """Before it is up its absence says nothing: it is still being made."""
    one = cluster(bench, tmp_path)
    assert one.died() is None
    one._up = True
    assert one.died() == (
        "the node of cluster apps has ended (the container node-control-plane is exited with status 137)"
    )
