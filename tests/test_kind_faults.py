"""Whatever breaks on the way with kind clusters: the verdict and the exit code are right, and nothing is left behind.

Most of it breaks on clusters that one run has left up and that are lent from test to test, because making some takes
most of a run's time.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import shlex
import signal
import socket
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import psutil
import pytest
from click.testing import CliRunner, Result

from harness import secret, wait
from harness.cli import commands
from harness.clients import container_engine
from harness.clients.container_engine import Engine
from harness.clients.kube import Kube
from harness.drivers.kind import one_pod
from harness.drivers.kind.vault_pod import TURNS
from harness.errors import MissingPrerequisite
from harness.host import run_traces
from harness.record import journal
from harness.record.events import AnyEvent, PhaseEnded
from harness.secret import Secret
from harness.wait import until
from tests.containers import PROGRAMS, Belongings, empty_image
from tests.runs import SCENARIOS, signalled
from tests.test_faults import SCENARIO, Ending, began, seen, when
from tests.test_real import REHEARSE, ROOT, SECRET_SHAPES

pytestmark = pytest.mark.kind

INSIDE = SCENARIOS / "one-cluster-staging-stays-green-while-the-reviewer-changes.yaml"
OUTSIDE = SCENARIO.replace("apps: {kubernetes", "sandbox: {kubernetes").replace("cluster: apps", "cluster: sandbox")
CLUSTER = "sandbox"


class Harbour:
    """A machine of its own as far as a rehearsal can tell, but for the container engine and the cache."""

    def __init__(self, base: Path, machine: Engine) -> None:
        self.base, self.machine = base, machine
        self.work, self.state = base / "work", base / "state"
        self.work.mkdir(parents=True)
        self.outside = base / "vault-outside.yaml"
        self.outside.write_text(OUTSIDE)
        self.environment = {"REHEARSE_STATE": str(self.state), "TMPDIR": str(self.work)}
        self.name = f"harbour-{random.randbytes(3).hex()}"
        self._count = 0

    def words(self, scenario: Path, *more: str | Path) -> tuple[Path, list[str]]:
        """Return the directory and the arguments of a run."""
        self._count += 1
        directory = self.base / f"{self.name}-{self._count}"
        words = ["run", scenario, "--driver", "kind", "--offline", "-o", "json", "--run-dir", directory, *more]
        return directory, [str(word) for word in words]

    def rehearse(self, scenario: Path, *more: str | Path, **environment: str) -> tuple[Ending, Path]:
        """Run in this very process, where constants can be patched and moments be waited for."""
        directory, words = self.words(scenario, *more)
        tempfile.tempdir = None  # it is looked up anew
        result: Result = CliRunner().invoke(commands.main, words, env={**self.environment, **environment})
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Ending(result.exit_code, result.stdout, result.stderr), directory

    def aside(self, *words: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a command in a process of its own."""
        return subprocess.run(
            [*REHEARSE, *map(str, words)],
            env={**os.environ, **self.environment, **environment},
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )

    def left(self, directory: Path) -> list[str]:
        """Return whatever is left of the run in *directory*: on the engine, as process, as file."""
        run = f"{directory.name}-"
        found = [f"{thing.kind} {thing.name}" for thing in self.machine.leftovers() if thing.run.startswith(run)]
        found += [str(path) for path in (*self.work.glob("*"), *(self.state / "live").glob("*")) if run in path.name]
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.environ().get(run_traces.MARK, "").startswith(run):
                    found.append(" ".join(process.cmdline()))
        return found


@pytest.fixture(autouse=True)
def own_ways(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Keep SIGTERM and the temporary directory as they were."""
    monkeypatch.setattr(tempfile, "tempdir", None)
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture(scope="module")
def machine() -> Engine:
    """The engine of this machine."""
    return container_engine.reach(os.environ)


@pytest.fixture(scope="module")
def image() -> Iterator[str]:
    """An image for small containers that have this machine's programs."""
    with empty_image() as (_, name):
        yield name


@pytest.fixture(scope="module", autouse=True)
def foreign(machine: Engine, image: str) -> Iterator[Belongings]:
    """A kind cluster of somebody else as the engine sees it, a network and a volume: they survive all that is below."""
    labels = {"io.x-k8s.kind.cluster": "foreign", "io.x-k8s.kind.role": "control-plane"}
    strange = Belongings(machine, image, f"foreign-{os.getpid()}", labels)
    try:
        yield strange
        assert strange.there() == strange.things
    finally:
        strange.remove()


# --- clusters that are lent -------------------------------------------------------------------------------------------


class Watch(threading.Thread):
    """Looks at every process and at every container of our runs, over and over, and keeps what is seen of them."""

    def __init__(self, machine: Engine) -> None:
        super().__init__(daemon=True)
        self.over = threading.Event()
        self.processes: set[str] = set()
        self.containers: set[str] = set()
        self._api: Any = machine._client.api

    def run(self) -> None:
        """Look until told that it is over."""
        while not self.over.wait(0.3):
            for process in psutil.process_iter():
                with contextlib.suppress(psutil.Error):
                    self.processes.update(process.cmdline())
                    self.processes.update(process.environ().values())
            for one in self._api.containers(all=True, filters={"label": run_traces.LABEL}):
                with contextlib.suppress(Exception):  # it may be gone meanwhile
                    self.containers.add(json.dumps(self._api.inspect_container(one["Id"])))


class Kept:
    """A run that was kept: what came of it, and what was seen while it was under way."""

    def __init__(self, harbour: Harbour, ending: Ending, directory: Path) -> None:
        self.harbour, self.ending, self.directory = harbour, ending, directory
        (entry,) = (harbour.state / "live").glob(f"{directory.name[:40]}*.json")
        self.run = entry.stem
        self.work = harbour.work / f"rehearse-{self.run}"
        lent = json.loads((self.work / "lent.json").read_text())["clusters"][CLUSTER]
        self.node = f"{lent['cluster']}-control-plane"
        token, _, _ = (self.work / f"cluster-{CLUSTER}/mounted/tokens.csv").read_text().partition(",")
        self.kube = Kube(f"https://127.0.0.1:{lent['port']}", self.work / f"cluster-{CLUSTER}/ca.crt", Secret(token))
        self.secrets = (token, (self.work / "root-token").read_text())

    def on_node(self, script: str) -> str:
        """Run a shell script on the node and return what it printed."""
        return self.harbour.machine.execute(self.node, ["sh", "-c", script])


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory, machine: Engine, foreign: Belongings) -> Iterator[Kept]:
    """Clusters that a run has left up; in the end they go, and with them all of it."""
    harbour = Harbour(tmp_path_factory.mktemp("kept"), machine)
    directory, words = harbour.words(INSIDE, "--keep", "-v")
    done = harbour.aside(*words)
    one = Kept(harbour, Ending(done.returncode, done.stdout, done.stderr), directory)
    try:
        yield one
    finally:
        done = harbour.aside("clean", one.run)
        assert done.returncode == 0, done.stderr
    assert harbour.left(directory) == []
    assert not list(harbour.work.iterdir())


def test_a_run_that_is_kept_says_how_to_talk_to_it_and_how_to_end_it(kept: Kept) -> None:
    """It passes as any other; its files are for its user alone; and no cluster of it is taken for garbage."""
    assert kept.ending.verdict == ("pass", 0), kept.ending.said
    assert f"rehearse clean {kept.run}" in kept.ending.stderr
    assert {path.stat().st_mode & 0o077 for path in kept.work.iterdir()} == {0}
    done = kept.harbour.aside("clean")
    assert done.returncode in {0, 5}  # another test may have a run on this engine, which is left alone
    assert f"stays, because it was kept; `rehearse clean {kept.run}` ends it" in done.stdout
    assert kept.harbour.machine.ended(kept.node) is None


@pytest.mark.parametrize("where", ["inside", "outside"])
def test_no_secret_is_anywhere(where: str, kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not in what the run wrote or printed, in no process as /proc shows it, in no container as the engine shows it."""
    forms: list[str] = []
    monkeypatch.setattr(secret, "_of_no_run", secret.Secrets())
    monkeypatch.setattr(secret.Secrets, "forget", lambda run: forms.extend(form for form, _ in run.forms))
    watch = Watch(kept.harbour.machine)
    watch.start()
    ending, directory = kept.harbour.rehearse(INSIDE if where == "inside" else kept.harbour.outside, "--reuse", "-v")
    watch.over.set()
    watch.join()
    assert ending.verdict == ("pass", 0), ending.said
    texts = {str(path): path.read_text(errors="replace") for path in directory.rglob("*") if path.is_file()}
    texts |= {"stdout": json.dumps(ending.judgement), "stderr": ending.stderr}
    texts |= {"containers": "\n".join(watch.containers), "processes": "\n".join(watch.processes)}
    known = [*kept.secrets, *forms]
    assert secret._of_no_run.forms == (), "a thread that works for a run was not told so"
    assert len(known) > 50, "the run knew no secrets: this test would prove nothing"
    assert kept.node in texts["containers"], "no container was seen: this test would prove nothing"
    assert [where for where, text in texts.items() if any(form in text for form in known)] == []
    # processes are all that this machine has, and what others say there is theirs
    shaped = [where for where, text in texts.items() if where != "processes" and SECRET_SHAPES.search(text.encode())]
    assert shaped == []


def test_clusters_are_lent_to_one_at_a_time_and_only_to_whom_they_fit(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second borrower is told why not, and so is one who wants other clusters; the first one passes."""
    harbour = kept.harbour
    second: list[subprocess.CompletedProcess[str]] = []

    def ask() -> None:
        _, words = harbour.words(INSIDE, "--reuse")
        second.append(harbour.aside(*words))

    when(monkeypatch, began("before"), ask)
    ending, directory = harbour.rehearse(INSIDE, "--reuse")
    assert ending.verdict == ("pass", 0), ending.said
    assert harbour.left(directory) == []
    (refused,) = second
    assert refused.returncode == 3
    assert f"there are no clusters to use again: {kept.run}: another rehearsal is using it" in refused.stderr

    other = harbour.base / "other.yaml"
    other.write_text(SCENARIO)
    ending, directory = harbour.rehearse(other, "--reuse")
    assert (ending.code, ending.judgement) == (3, {})
    assert "it has the clusters sandbox (1.32.0, nodes: 1), and the scenario wants apps (1.32.0" in ending.stderr
    assert harbour.left(directory) == []


def test_what_a_borrower_has_followed_is_followed_no_more_by_the_next(kept: Kept) -> None:
    """A command on a node outlives whoever watched it: those of earlier borrowers end, and so do their data."""
    counted = []
    for _ in range(2):
        ending, _ = kept.harbour.rehearse(kept.harbour.outside, "--reuse")
        assert ending.verdict == ("pass", 0), ending.said
        counted.append(int(kept.on_node("pgrep -x -c tail || true")))
    assert counted[0] == counted[1]
    assert kept.on_node("ls /var/lib/rehearsal") == ""


def test_what_every_cluster_has_can_be_rehearsed_in_again_and_again(kept: Kept) -> None:
    """Vault and an app in the default namespace, the app as its default account: a controller makes that one."""
    usual = kept.harbour.base / "usual.yaml"
    usual.write_text(
        INSIDE.read_text()
        .replace("service-account: vault/vault", "service-account: default/vault")
        .replace("service-account: apps/web", "service-account: default/default")
        .replace("service-accounts: [web], namespaces: [apps]", "service-accounts: [default], namespaces: [default]")
    )
    for _ in range(2):
        ending, directory = kept.harbour.rehearse(usual, "--reuse")
        assert ending.verdict == ("pass", 0), ending.said
        assert seen(ending, "before")["login"] == "granted"
        assert kept.harbour.left(directory) == []


def test_a_node_that_cannot_be_furnished_has_the_images_brought_in(
    kept: Kept, machine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That would only have been quicker: the run says why it takes longer, and passes."""

    def refuse(*_arguments: object) -> None:
        raise MissingPrerequisite("a node image with Vault's images in it cannot be made: no room")

    monkeypatch.setattr("harness.artifacts.images.Images.preloaded", refuse)
    ending, directory = kept.harbour.rehearse(INSIDE)
    assert ending.verdict == ("pass", 0), ending.said
    assert "cannot be made: no room; Vault's images are brought into the cluster instead" in ending.stderr
    assert "image of 1.11.0 loaded" in ending.stderr
    assert kept.harbour.left(directory) == []


def after(phase: str) -> Callable[[AnyEvent], bool]:
    """Return whether an event is the end of *phase*."""
    return lambda event: isinstance(event, PhaseEnded) and event.name == phase


def test_data_that_vault_cannot_open_in_its_pod_is_a_regression(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    """The Pod of the next version starts it over and over; its last words are the evidence."""

    def spoil() -> None:
        # another file under the name: the Vault that runs has its own open still
        spoil = "head -c 131072 /dev/zero > $one/spoilt && mv $one/spoilt $one/vault.db"
        kept.on_node(f"for one in /var/lib/rehearsal/*; do {spoil}; done")

    when(monkeypatch, after("probes before"), spoil)
    ending, directory = kept.harbour.rehearse(INSIDE, "--reuse")
    assert ending.verdict == ("fail", 1), ending.said
    assert ending.findings[0] == ("vault-refuses-data", "upgrade refused", "1.11.0")
    assert "Vault 1.11.0 ended by itself with status 1" in ending.said
    assert "invalid database" in json.dumps(ending.judgement["findings"][0]["evidence"])
    assert seen(ending, "before")["login"] == "granted"
    assert "invalid database" in (directory / "logs/vault-vault.log").read_text()
    assert kept.harbour.left(directory) == []


def test_data_that_vault_cannot_open_in_its_container_is_a_regression(
    kept: Kept, machine: Engine, image: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Outside any cluster it is the same: status, last words, and the whole log of both versions."""

    def spoil() -> None:
        mine = [one for one in machine.leftovers() if one.run.startswith(f"{kept.harbour.name}-")]
        (volume,) = (one.name for one in mine if one.kind == "volume")
        _in_volume(machine, image, volume, "cd /data && head -c 131072 /dev/zero > spoilt && mv spoilt vault.db")

    when(monkeypatch, after("probes before"), spoil)
    ending, directory = kept.harbour.rehearse(kept.harbour.outside, "--reuse")
    assert ending.verdict == ("fail", 1), ending.said
    assert ending.findings[0] == ("vault-refuses-data", "upgrade refused", "1.11.0")
    assert "is exited with status 1" in ending.said
    assert "invalid database" in json.dumps(ending.judgement["findings"][0]["evidence"])
    log = (directory / "logs/vault-vault.log").read_text()
    assert "vault is unsealed" in log
    assert "invalid database" in log
    assert kept.harbour.left(directory) == []


def _in_volume(machine: Engine, image: str, volume: str, script: str) -> None:
    """Run a shell script in a container that has *volume* at /data, and wait for its end."""
    mounted = {**PROGRAMS, volume: {"bind": "/data", "mode": "rw"}}
    container = machine.start(image, ["/bin/sh", "-c", script], volumes=mounted)
    try:
        assert machine._client.api.wait(container)["StatusCode"] == 0
    finally:
        machine._client.api.remove_container(container, force=True)


def test_an_image_that_the_node_lacks_is_no_refusal_and_soon_told(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for a Pod that can never run: the sentence names the image, and Vault is not blamed."""

    def remove() -> None:
        kept.on_node("ctr --namespace=k8s.io images rm $(ctr --namespace=k8s.io images ls -q | grep vault:1.11.0)")

    when(monkeypatch, after("probes before"), remove)
    ending, directory = kept.harbour.rehearse(INSIDE, "--reuse")
    assert ending.verdict == ("inconclusive", 4), ending.said
    assert "the Pod of Vault 1.11.0 cannot run: ErrImageNeverPull" in ending.said
    assert "rehearse/vault:1.11.0" in ending.said
    assert not [finding for finding in ending.findings if finding[0] == "vault-refuses-data"]
    assert seen(ending, "before")["login"] == "granted"
    assert kept.harbour.left(directory) == []


def test_a_rollout_that_is_stuck_is_told_with_what_the_cluster_warns_of(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody has removed what the Pod mounts: it stays in the making, and the kubelet's own words say why."""
    monkeypatch.setattr(one_pod, "_ROLLOUT_SECONDS", 12)

    def remove() -> None:
        maps = "/api/v1/namespaces/vault/configmaps"
        for one in kept.kube._done("GET", maps)["items"]:
            if one["metadata"]["name"] in TURNS:
                kept.kube._done("DELETE", f"{maps}/{one['metadata']['name']}")

    when(monkeypatch, after("probes before"), remove)
    ending, directory = kept.harbour.rehearse(INSIDE, "--reuse")
    assert ending.verdict == ("inconclusive", 4), ending.said
    assert "for Vault 1.11.0 to answer, in vain" in ending.said
    assert re.search(r'configmap "vault(-2)?" not found', ending.said), ending.said
    assert seen(ending, "before")["login"] == "granted"
    assert kept.harbour.left(directory) == []


def test_an_api_server_that_dies_in_a_living_node_is_no_refusal_of_vaults(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kubelet starts it again, and until then Vault can only refuse: nobody knows what it would have answered."""
    when(monkeypatch, began("after 1.11.0"), lambda: kept.on_node("pkill -KILL -x kube-apiserver"))
    try:
        ending, directory = kept.harbour.rehearse(INSIDE, "--reuse")
    finally:
        until(kept.kube.serves, what="the API server to be back", seconds=120)
    assert ending.verdict == ("inconclusive", 4), ending.said
    assert f"the API server of {CLUSTER} is" in ending.said
    assert "so nobody knows what Vault would have answered" in ending.said
    assert not [finding for finding in ending.findings if finding[1] == "login refused"]
    assert seen(ending, "before")["login"] == "granted"
    assert kept.harbour.left(directory) == []


class Relay:
    """A Unix socket that leads to the engine's, until somebody says *word* to it for the *time* th time: then the
    engine is as if killed.
    """

    def __init__(self, path: Path, engine_socket: Path, word: bytes, time: int = 1) -> None:
        self._path, self._to, self._word, self._left = path, engine_socket, word, time
        self._lines: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self.was_cut = False

    def __enter__(self) -> Self:
        self._path.unlink(missing_ok=True)
        self._door = socket.socket(socket.AF_UNIX)
        self._door.bind(str(self._path))
        self._door.listen(64)
        self._begin(self._serve)
        return self

    def __exit__(self, *_: object) -> None:
        self._hang_up()
        for thread in self._threads:
            thread.join()
        for line in self._lines:
            line.close()

    def _begin(self, act: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=act, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _hang_up(self) -> None:
        self._path.unlink(missing_ok=True)
        for line in (self._door, *self._lines):
            with contextlib.suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)
        self._door.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                caller, _ = self._door.accept()
                far = socket.socket(socket.AF_UNIX)
                self._lines += [caller, far]
                far.connect(str(self._to))
                self._begin(self._carry, caller, far)
                self._begin(self._carry, far, caller)

    def _carry(self, here: socket.socket, there: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while piece := here.recv(1 << 16):
                self._left -= self._word in piece
                if not self._left:
                    self.was_cut = True
                    self._hang_up()
                    return
                there.sendall(piece)
            there.shutdown(socket.SHUT_WR)


@pytest.mark.parametrize(("word", "time"), [("/stop?", 2), ("-vault-3", 1)], ids=["before the swap", "in the swap"])
def test_an_engine_that_dies_in_the_middle_blames_nobody_and_clean_does_the_rest(
    word: str, time: int, kept: Kept
) -> None:
    """What was seen is kept, and what is left is named (exit 5), and is gone as soon as the engine is back.

    A Vault with a plain listener is replaced once before the first look: until it is initialised it has TLS.
    """
    harbour = kept.harbour
    path = harbour.base / "engine"
    directory, words = harbour.words(harbour.outside, "--reuse")
    with Relay(path, harbour.machine.socket, word.encode(), time) as relay:
        done = harbour.aside(*words, DOCKER_HOST=f"unix://{path}")
    assert relay.was_cut
    ending = Ending(done.returncode, done.stdout, done.stderr)
    assert ending.verdict == ("inconclusive", 5), ending.said
    assert "the container engine" in ending.said
    assert "gave no answer" in ending.said
    assert ending.findings == []
    assert seen(ending, "before")["login"] == "granted"
    left = ending.judgement["left_behind"]
    assert f"whatever the run has there, because the container engine at {path} gave no answer" in left
    assert journal.load(directory).ended

    there = {line.split(" ", 1)[0] for line in harbour.left(directory)}
    assert {"container", "volume"} <= there
    (entry,) = (harbour.state / "live").glob(f"{directory.name}-*.json")
    with Relay(path, harbour.machine.socket, b"nobody says this"):
        done = harbour.aside("clean", entry.stem)
    assert done.returncode == 0, done.stderr
    assert harbour.left(directory) == []


def test_a_disk_that_is_full_below_the_work_directory_is_told(kept: Kept) -> None:
    """What the servers write cannot be copied any more: that is said, and no Vault is blamed."""
    harbour = kept.harbour
    directory, words = harbour.words(INSIDE, "--reuse")
    room = harbour.base / "room"
    room.mkdir()
    script = (
        f"mount -t tmpfs -o size=160k,mode=700 none {shlex.quote(str(room))} || exit 99\n"
        f"{shlex.join([*REHEARSE, *words])}; code=$?; ls -A {shlex.quote(str(room))} >&2; exit $code"
    )
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script],
        env={**os.environ, **harbour.environment, "TMPDIR": str(room)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    ending = Ending(done.returncode, done.stdout, done.stderr)
    assert ending.verdict[0] == "inconclusive", done.stderr
    assert "make room" in ending.said
    assert ending.findings == []
    assert harbour.left(directory) == []


# --- clusters that are made -------------------------------------------------------------------------------------------


@pytest.fixture
def harbour(tmp_path: Path, machine: Engine) -> Iterator[Harbour]:
    """A machine in which, in the end, nothing may be left of any run."""
    one = Harbour(tmp_path, machine)
    yield one
    assert one.left(Path(one.name)) == []
    assert not list(one.work.iterdir())


def test_a_node_that_is_killed_while_questions_are_asked_blames_nobody(
    harbour: Harbour, machine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sentence names the cluster and says how its node ended; what was seen before is in the report."""

    def kill() -> None:
        ours = [thing for thing in machine.leftovers() if thing.run.startswith(f"{harbour.name}-")]
        (node,) = (thing.name for thing in ours if thing.kind == "container" and thing.name.endswith("control-plane"))
        machine._client.api.kill(node)

    when(monkeypatch, began("after 1.11.0"), kill)
    ending, directory = harbour.rehearse(harbour.outside)
    assert ending.verdict == ("inconclusive", 4), ending.said
    assert "the node of cluster sandbox has ended" in ending.said
    assert "exited with status 137) in the middle of the run" in ending.said
    assert seen(ending, "before")["login"] == "granted"
    assert ending.findings == []
    assert journal.load(directory).ended


@pytest.mark.parametrize("what", ["network", "cluster"])
def test_a_name_that_is_taken_is_told_and_whoever_has_it_keeps_it(
    what: str, harbour: Harbour, machine: Engine, image: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run is named at random; should somebody have that name, then nothing of theirs is used or removed."""
    monkeypatch.setattr("harness.session.one_rehearsal.random.token_hex", lambda _bytes: "0123abcd")
    name = "rehearse-0123abcd" if what == "network" else "rehearse-0123abcd-1-sandbox"
    labels = {"io.x-k8s.kind.cluster": "rehearse-0123abcd-1-sandbox", "io.x-k8s.kind.role": "control-plane"}
    strange = Belongings(machine, image, name, labels)
    try:
        ending, _ = harbour.rehearse(harbour.outside)
        assert ending.verdict == ("inconclusive", 3), ending.said
        said = {"network": "network with name rehearse-0123abcd already exists", "cluster": "node(s) already exist for"}
        assert said[what] in ending.said
        assert strange.there() == strange.things
    finally:
        strange.remove()


# --- runs that are killed ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "number"),
    [
        ("artifacts", signal.SIGKILL),
        ("cluster sandbox serves", signal.SIGKILL),
        ("swap to 1.11.0", signal.SIGKILL),
        ("asking before", signal.SIGINT),
    ],
)
def test_a_run_that_is_killed_leaves_nothing(line: str, number: signal.Signals, harbour: Harbour) -> None:
    """No container, network, volume, process or file half a minute later; what was seen can still be judged."""
    directory, words = harbour.words(harbour.outside)
    status, said = signalled(words, {**os.environ, **harbour.environment}, line, number)
    if number == signal.SIGINT:
        assert status == 130
        assert str(directory) in said
    wait.until(lambda: not harbour.left(directory), what="the last trace of the run", seconds=30)
    judged = harbour.aside("judge", str(directory), "-o", "json")
    assert json.loads(judged.stdout)["verdict"] == "inconclusive"
