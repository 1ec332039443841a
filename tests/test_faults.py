"""Whatever breaks, when and how: the verdict and the exit code are right, the sentence is true, and nothing is left."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import os
import platform
import re
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import types
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from harness import wait
from harness.cli import commands, progress
from harness.clients import kube
from harness.drivers import log_collection, real_rig
from harness.drivers.local import control_plane, vault_process
from harness.drivers.local import driver as local
from harness.drivers.log_collection import Collector
from harness.drivers.log_tail import Tail
from harness.errors import LeftBehind, NotReady
from harness.host import process, run_traces
from harness.host.ports import Ports
from harness.record import events
from harness.record import journal as journals
from harness.record.events import (
    AnyEvent,
    ApiAuditLine,
    MomentBegan,
    PhaseEnded,
    PodReplaced,
    VaultAuditLine,
    VaultLogLine,
)
from harness.record.journal import RECORD_FILE, Journal, Record
from harness.record.observation import Observation
from harness.rehearsal import vault_steps
from harness.scenario import loading
from tests import stand_in
from tests.runs import OUTAGE, on_paper, signalled

ROOT = Path(__file__).parent.parent
ARCH = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
SCENARIO = """\
schema: 1
description: A Vault outside any cluster, and an app.
clusters:
  apps: {kubernetes: 1.32.0}
vault: {tls: false, source: 1.7.0, target: 1.11.0}
auth:
  kubernetes:
    cluster: apps
    configured: {by: 1.7.0, with-token-file: false}
    roles:
      web: {service-accounts: [web], namespaces: [apps], policies: [web]}
apps:
  web: {cluster: apps, service-account: apps/web, role: web, may-review-tokens: true, reads: [secret/web]}
"""
IN_A_POD = SCENARIO.replace("vault: {", "vault: {cluster: apps, service-account: vault/vault, ").replace(
    "with-token-file: false", "with-token-file: true"
)
SERVERS = (("etcd", "3.5.16"), ("kube-apiserver", "1.32.0"), ("vault", "1.7.0"), ("vault", "1.11.0"))
Server = tuple[str, str]
STEADY = real_rig.STEADY_SECONDS
OLD, NEW = ("vault", "1.7.0"), ("vault", "1.11.0")
ETCD, API = ("etcd", "3.5.16"), ("kube-apiserver", "1.32.0")


class Town:
    """A machine of its own as far as a rehearsal can tell: cache, state and temporary directory below one directory."""

    def __init__(self, base: Path, scenario: str = SCENARIO) -> None:
        self.base, self.run = base, base / f"run-{os.getpid()}-{base.name}"[-40:]
        self.work, self.state = base / "work", base / "state"
        self.work.mkdir()
        self.scenario = base / "scenario.yaml"
        self.scenario.write_text(scenario)
        for product, version in SERVERS:
            self.put(product, version)

    def put(self, product: str, version: str, fault: str = "fine") -> None:
        """Put a stand-in into the cache, at *fault* or fine."""
        words = [sys.executable, "-I", "-S", "-B", stand_in.__file__, product, version, fault]
        self.put_script(product, version, f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n')

    def put_script(self, product: str, version: str, script: str | bytes) -> None:
        """Put *script* into the cache, as if it were that version of *product*."""
        content = script.encode() if isinstance(script, str) else script
        leaf = self.leaf(product, version)
        if leaf.is_symlink():
            leaf.unlink()
        leaf.mkdir(parents=True, exist_ok=True)
        (leaf / product).write_bytes(content)
        (leaf / product).chmod(0o700)
        kept = {"product": product, "version": version, "source": "a test", "size": len(content), "made": 0.0}
        kept["sha256"] = hashlib.sha256(content).hexdigest()
        (leaf / "artifact.json").write_text(json.dumps(kept))

    def leaf(self, product: str, version: str) -> Path:
        """Return where the cache has a binary."""
        return self.base / "cache" / "artifacts" / product / f"{version}-linux-{ARCH}"

    def environment(self) -> dict[str, str]:
        """Return the variables that make a rehearsal live here."""
        return {"REHEARSE_CACHE": f"{self.base / 'cache'}", "REHEARSE_STATE": f"{self.state}", "TMPDIR": f"{self.work}"}

    def words(self, *more: str | Path) -> list[str]:
        """Return the arguments of a run."""
        return ["run", str(self.scenario), "--offline", "--run-dir", str(self.run), "-o", "json", *map(str, more)]

    def rehearse(self, *more: str | Path) -> Ending:
        """Run in this very process, where constants can be patched."""
        tempfile.tempdir = None  # it keeps the answer of whoever asked first, and the town has a TMPDIR of its own
        result: Result = CliRunner().invoke(commands.main, self.words(*more), env=self.environment())
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Ending(result.exit_code, result.stdout, result.stderr)

    def record(self) -> Record:
        """Return what was seen."""
        return journals.load(self.run)

    def servers(self) -> dict[str, int]:
        """Return the process ids of this run's servers, by name, from the registry."""
        (entry,) = (self.state / "live").glob("*.json")
        return {child["name"]: child["pid"] for child in json.loads(entry.read_text())["children"]}

    def left(self) -> list[str]:
        """Return whatever is left: marked processes, the supervisor, the work directory, the entry in the registry."""
        found = [str(path) for path in (*self.work.glob("*"), *(self.state / "live").glob("*"))]
        found += [str(path) for path in (self.state / "ports").glob("*.lock")]
        mark = f"{run_traces.MARK}={self.run.name[:40]}".encode()
        for each in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if mark in (each / "environ").read_bytes():
                    found.append((each / "cmdline").read_text())
        return found


class Ending:
    """How a run ended, as a user sees it."""

    def __init__(self, code: int, stdout: str, stderr: str) -> None:
        self.code, self.stderr = code, stderr
        self.judgement: dict[str, Any] = json.loads(stdout) if stdout else {}

    @property
    def verdict(self) -> tuple[str, int]:
        """Return verdict and exit code, which must agree wherever they stand."""
        assert self.judgement["exit_code"] == self.code, self.stderr
        return self.judgement["verdict"], self.code

    @property
    def said(self) -> str:
        """Return why, in one text."""
        return "\n".join([*self.judgement["reasons"], *(f["sentence"] for f in self.judgement["findings"])])

    @property
    def findings(self) -> list[tuple[str, str, str]]:
        """Return rule, effect and hop of what was found."""
        return [(f["rule"], f["effect"], f["hop"]) for f in self.judgement["findings"]]


@pytest.fixture(autouse=True)
def own_ways(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let the temporary directory be looked up anew, wait shortly for what will not come, and keep SIGTERM."""
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(vault_process, "STOP_SECONDS", 1)
    monkeypatch.setattr(real_rig, "STEADY_SECONDS", 0)
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    """A town in which, in the end, nothing may be left of any run."""
    one = Town(tmp_path)
    yield one
    assert one.left() == []


def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every deadline that the harness sets itself come soon."""
    monkeypatch.setattr(vault_process, "LISTEN_SECONDS", 1.5)
    monkeypatch.setattr(control_plane, "READY_SECONDS", 1.5)
    monkeypatch.setattr(vault_steps, "ACTIVE_SECONDS", 1.0)
    monkeypatch.setattr(vault_steps, "ANSWER_SECONDS", 1.0)
    monkeypatch.setattr("harness.clients.vault._TIMEOUT_SECONDS", 1.0)
    monkeypatch.setattr("harness.clients.kube._TIMEOUT_SECONDS", 1.0)


def when(monkeypatch: pytest.MonkeyPatch, is_it: Callable[[AnyEvent], bool], act: Callable[[], object]) -> None:
    """Do *act* once, as soon as an event is written of which *is_it* is true."""
    usual, done = progress.follower, threading.Event()

    def follower(say: Callable[[str], None], *, verbose: bool) -> journals.Follower:
        tell = usual(say, verbose=verbose)

        def follow(event: AnyEvent) -> None:
            tell(event)
            if not done.is_set() and is_it(event):
                done.set()
                act()

        return follow

    monkeypatch.setattr(progress, "follower", follower)


def began(moment: str) -> Callable[[AnyEvent], bool]:
    """Return whether an event is the beginning of *moment*."""
    return lambda event: isinstance(event, MomentBegan) and event.moment == moment


def seen(ending: Ending, moment: str) -> Mapping[str, str]:
    """Return the answers of a moment that the judgement shows, by probe."""
    return {o["probe"]: o["answer"] for o in ending.judgement["observations"] if o["moment"] == moment}


# --- servers that are no good -----------------------------------------------------------------------------------------


@pytest.mark.processes
def test_stand_ins_that_are_fine_pass(town: Town) -> None:
    """What is shown below is the fault's doing: without one the same run passes."""
    ending = town.rehearse()
    assert ending.verdict == ("pass", 0), ending.said
    assert seen(ending, "before") == seen(ending, "after 1.11.0")


@pytest.mark.processes
@pytest.mark.parametrize(
    ("server", "fault", "said"),
    [
        pytest.param(OLD, "hang", ["waited", "s for Vault 1.7.0 to answer", "refused"], id="vault hangs"),
        pytest.param(OLD, "mute", ["waited", "Vault 1.7.0 to answer", "timed out"], id="vault is mute"),
        pytest.param(OLD, "exit", ["ended by itself with status 3", "no storage given"], id="vault exits"),
        pytest.param(OLD, "garbage", ["Vault 1.7.0 ended by itself with status 1"], id="vault prints garbage"),
        pytest.param(OLD, "html", ["Vault was to initialise", "<html>It works!</html>"], id="vault speaks no JSON"),
        pytest.param(OLD, "refuses keys", ["declined", "HTTP 400 cipher: message"], id="vault refuses its keys"),
        pytest.param(
            OLD, "stays sealed", ["waited", "1.7.0 to be active after its unseal", "HTTP 503"], id="vault stays sealed"
        ),
        pytest.param(API, "hang", ["waited", "the API server of apps to be ready", "refused"], id="API server hangs"),
        pytest.param(API, "exit", ["kube-apiserver of apps ended by itself with status 3"], id="API server exits"),
        pytest.param(API, "garbage", ["kube-apiserver of apps ended by itself"], id="API server prints garbage"),
        pytest.param(
            API, "html", ["the API server was asked for", "its answer makes no sense"], id="API server speaks no JSON"
        ),
        pytest.param(API, "no roles", ["waited", "the API server of apps to be ready"], id="API server makes no roles"),
        pytest.param(ETCD, "hang", ["waited", "the API server of apps to be ready"], id="etcd hangs"),
        pytest.param(ETCD, "exit", ["etcd of apps ended by itself with status 3", "no storage"], id="etcd exits"),
        pytest.param(ETCD, "garbage", ["etcd of apps ended by itself with status 1"], id="etcd prints garbage"),
    ],
)
def test_a_server_that_is_no_good_at_first_is_exit_3(
    server: Server, fault: str, said: list[str], town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing was learned about the upgrade, and the sentence says which server, what it did, and its last words."""
    impatient(monkeypatch)
    town.put(*server, fault)
    ending = town.rehearse()
    assert ending.verdict == ("inconclusive", 3)
    assert ending.findings == []
    for words in said:
        assert words in ending.said
    assert town.record().ended


@pytest.mark.processes
def test_a_server_that_ignores_sigterm_is_killed_and_the_run_goes_on(town: Town) -> None:
    """A rollout kills such a server too, after its grace period; its data has to open all the same."""
    town.put(*OLD, "deaf")
    ending = town.rehearse()
    assert ending.verdict == ("pass", 0), ending.said


@pytest.mark.processes
def test_a_binary_that_cannot_be_executed_says_nothing_about_the_upgrade(town: Town) -> None:
    """The next version's file is no program: that is the machine's trouble, not Vault refusing its data."""
    town.put_script(*NEW, b"\x7fELF and nothing more")
    ending = town.rehearse()
    assert ending.verdict == ("inconclusive", 4)
    assert "Vault 1.11.0 could not be started: tried to execute" in ending.said
    assert "Exec format error" in ending.said
    assert seen(ending, "before")["login"] == "granted"


# --- the next version over the data -----------------------------------------------------------------------------------


@pytest.mark.processes
@pytest.mark.parametrize(
    ("fault", "said"),
    [
        pytest.param("exit", "ended by itself with status 3", id="exits"),
        pytest.param("panic", "ended by itself with status 2", id="panics"),
        pytest.param("dies at unseal", "ended by itself with status 2", id="panics at its unseal"),
        pytest.param("dies after unseal", "ended by itself with status 2", id="panics after its unseal"),
        pytest.param("dies at login", "ended by itself with status 2", id="panics at a login"),
        pytest.param("refuses keys", "declined it: HTTP 400 cipher: message authentication failed", id="refuses keys"),
    ],
)
def test_a_next_version_that_refuses_is_a_regression_at_its_hop(
    fault: str, said: str, town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fail, exit 1, with the server's own last lines; what was seen before the swap is in the report."""
    monkeypatch.setattr(real_rig, "STEADY_SECONDS", STEADY if fault == "dies after unseal" else 0)
    town.put(*NEW, fault)
    ending = town.rehearse()
    assert ending.verdict == ("fail", 1), ending.said
    assert ending.findings[0] == ("vault-refuses-data", "upgrade refused", "1.11.0")
    assert len(ending.findings) == 1
    assert said in ending.said
    (finding,) = ending.judgement["findings"]
    assert finding["evidence"]
    if "status 2" in said:
        assert "panic: runtime error" in "".join(evidence_line["text"] for evidence_line in finding["evidence"])
    assert seen(ending, "before")["login"] == "granted"
    assert town.record().ended


@pytest.mark.processes
@pytest.mark.parametrize(
    ("fault", "said"),
    [
        pytest.param("hang", "s for Vault 1.11.0 to answer, in vain; the last answer was: Vault at", id="hangs"),
        pytest.param("mute", "s for Vault 1.11.0 to answer, in vain", id="is mute"),
        pytest.param("stays sealed", "s for Vault 1.11.0 to be active after its unseal, in vain", id="stays sealed"),
    ],
)
def test_a_next_version_that_is_silent_is_inconclusive(
    fault: str, said: str, town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    """How long was waited is said: the deadline was ours, so nobody knows whether Vault would have come."""
    impatient(monkeypatch)
    town.put(*NEW, fault)
    ending = town.rehearse()
    assert ending.verdict == ("inconclusive", 4)
    assert ending.findings == []
    assert re.search(r"upgrade 1\.11\.0: waited \d\.\d s", ending.said)
    assert said in ending.said
    assert "log is kept beside the record" in ending.said
    assert (town.run / "logs" / "vault-vault.log").exists()
    assert seen(ending, "before")["login"] == "granted"


@pytest.mark.processes
@pytest.mark.parametrize(
    ("fault", "said"),
    [
        pytest.param("silent exit", "Vault 1.11.0 ended by itself with status 1", id="exits without a word"),
        pytest.param("garbage", "ended by itself with status 1", id="prints garbage and exits"),
        pytest.param("another version", "Vault 1.11.0 was put in place, and Vault 9.9.9 answers", id="is another"),
        pytest.param("another version that panics", "and Vault 9.9.9 answers", id="is another, and not of this data"),
    ],
)
def test_a_binary_that_is_no_vault_says_nothing_about_the_upgrade(fault: str, said: str, town: Town) -> None:
    """Inconclusive, with where to look: none of its words is evidence that Vault refuses the data."""
    town.put(*NEW, fault)
    ending = town.rehearse()
    assert ending.verdict == ("inconclusive", 4), ending.said
    assert ending.findings == []
    assert said in ending.said
    assert "rehearse artifacts list" in ending.said
    assert seen(ending, "before")["login"] == "granted"


@pytest.mark.processes
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
@pytest.mark.parametrize("moment", ["before", "after 1.11.0"])
def test_a_vault_that_somebody_stopped_did_not_refuse(
    moment: str, number: signal.Signals, town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its log says that it was told to stop: nobody knows, and the sentence says whom to look for."""
    version = "1.7.0" if moment == "before" else "1.11.0"
    when(monkeypatch, began(moment), lambda: os.kill(town.servers()[f"Vault {version}"], number))
    ending = town.rehearse()
    assert ending.verdict == ("inconclusive", 4), ending.said
    assert f"Vault {version} was stopped from outside by SIG" in ending.said
    assert "see who stops processes here" in ending.said
    assert ending.findings == []


@pytest.mark.processes
def test_a_vault_that_the_kernel_killed_did_not_refuse(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """SIGKILL comes from outside, mostly for want of memory: no regression, but nobody knows."""
    when(monkeypatch, began("after 1.11.0"), lambda: os.kill(town.servers()["Vault 1.11.0"], signal.SIGKILL))
    ending = town.rehearse()
    assert ending.verdict == ("inconclusive", 4)
    assert "Vault 1.11.0 was ended from outside by SIGKILL" in ending.said
    assert "dmesg" in ending.said
    assert ending.findings == []


# --- servers that die in mid-run --------------------------------------------------------------------------------------


@pytest.mark.processes
@pytest.mark.parametrize("name", ["etcd of apps", "kube-apiserver of apps"])
@pytest.mark.parametrize("moment", ["before", "after 1.11.0"])
def test_a_cluster_that_dies_does_not_pass_for_a_regression(
    name: str, moment: str, town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Logins are refused because nobody reviews them: inconclusive, with the name of what died."""
    when(monkeypatch, began(moment), lambda: _kill(town.servers()[name]))
    ending = town.rehearse()
    assert ending.verdict == ("inconclusive", 4)
    assert ending.said.count(f"{name} was ended from outside by SIGKILL in the middle of the run") == 1
    assert "run again" in ending.said
    assert ending.findings == []
    if moment != "before":
        assert seen(ending, "before")["login"] == "granted"
    assert town.record().ended


@pytest.mark.processes
def test_a_cluster_that_dies_in_a_swap_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Vault's Pod cannot be replaced without an API server: that is not Vault refusing its data."""
    town = Town(tmp_path, IN_A_POD)
    asked = [0]

    def last_answer(event: AnyEvent) -> bool:
        asked[0] += isinstance(event, PhaseEnded) and event.name == "probes before"
        return bool(asked[0])

    when(monkeypatch, last_answer, lambda: _kill(town.servers()["kube-apiserver of apps"]))
    ending = town.rehearse()
    assert ending.verdict == ("inconclusive", 4)
    assert "kube-apiserver of apps was ended from outside by SIGKILL" in ending.said
    assert ending.findings == []
    assert town.left() == []


def _kill(pid: int) -> None:
    """Kill a server and wait until it is no more: it is reaped by its supervisor."""
    os.kill(pid, signal.SIGKILL)
    wait.until(lambda: not Path(f"/proc/{pid}").exists(), what=f"the end of process {pid}", seconds=30)


# --- the machine ------------------------------------------------------------------------------------------------------


@pytest.mark.processes
@pytest.mark.parametrize("turn", [0, 1], ids=["API server", "vault"])
def test_a_port_that_is_taken_after_its_reservation_is_named(
    turn: int, town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stranger answers where our server was to: it is noticed, and never taken for ours."""
    take, turns, strangers = Ports.take, itertools.count(), []

    def taken(self: Ports, count: int) -> list[int]:
        found = take(self, count)
        if next(turns) == turn:
            strangers.append(socket.create_server(("127.0.0.1", found[0])))
        return found

    monkeypatch.setattr(Ports, "take", taken)
    ending = town.rehearse()
    (stranger,) = strangers
    with stranger:
        port = stranger.getsockname()[1]
    assert ending.verdict == ("inconclusive", 3)
    assert f"was to listen on 127.0.0.1:{port}, and that port was taken since it was reserved" in ending.said
    assert "run again" in ending.said


@pytest.mark.processes
def test_a_port_that_is_taken_while_vault_is_down_is_no_refusal(
    town: Town, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """Between two versions nobody holds the port: who takes it then is the machine's trouble, not Vault's."""
    stop, stops = vault_process.VaultServer.stop, itertools.count()

    def stopped(self: vault_process.VaultServer) -> None:
        plain = self.client.certificate is None
        stop(self)
        # the first stop is for the listener without TLS, and the second before the hop
        if plain and next(stops):
            stranger = socket.create_server(("127.0.0.1", int(self.client.address.rpartition(":")[2])))
            request.addfinalizer(stranger.close)

    monkeypatch.setattr(vault_process.VaultServer, "stop", stopped)
    ending = town.rehearse()
    assert ending.verdict == ("inconclusive", 4)
    assert "Vault 1.11.0 was to listen on 127.0.0.1:" in ending.said
    assert seen(ending, "before")["login"] == "granted"


def in_small_room(town: Town, room: Path, size: str, *more: str) -> Ending:
    """Run with a disk of *size* mounted at *room*, which is seen by the run alone and copied before it vanishes."""
    room.mkdir(parents=True, exist_ok=True)
    after = town.base / "after"
    words = shlex.join([sys.executable, "-m", "harness", *town.words(*more)])
    script = (
        f"mount -t tmpfs -o size={size},mode=700 none {shlex.quote(str(room))} || exit 99\n"
        f"{words}; code=$?\ncp -r {shlex.quote(str(room))} {shlex.quote(str(after))}; exit $code"
    )
    done = subprocess.run(
        ["unshare", "--map-root-user", "--mount", "sh", "-c", script],
        # the small disk is what is tried, and not the memory that a run prefers
        env={"PATH": os.environ["PATH"], "REHEARSE_MEMORY": "off", **town.environment()},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return Ending(done.returncode, done.stdout, done.stderr)


@pytest.mark.processes
@pytest.mark.parametrize(
    ("server", "fault", "code", "said"),
    [
        pytest.param(ETCD, "fill", 3, "is full: make room, or name another TMPDIR", id="at bring-up"),
        pytest.param(NEW, "fill", 4, "which says nothing about Vault, because the disk of", id="at the swap"),
        pytest.param(NEW, "fill late", 4, "which says nothing about Vault, because the disk of", id="in mid-run"),
    ],
)
def test_a_full_disk_below_the_servers_says_nothing_about_vault(
    server: Server, fault: str, code: int, said: str, town: Town
) -> None:
    """A server that dies of it is not blamed for it; the run's directory is on another disk, and whole."""
    town.put(*server, fault)
    # Forced, because so small a disk is refused beforehand.
    ending = in_small_room(town, town.work, "4m", "--force")
    assert ending.verdict == ("inconclusive", code), ending.stderr
    assert said in ending.said
    assert "make room" in ending.said
    assert ending.findings == []
    assert town.record().ended
    assert list((town.base / "after").iterdir()) == []
    assert bool(seen(ending, "before")) is (code == 4)


@pytest.mark.processes
@pytest.mark.parametrize(
    ("words", "size", "code"), [(1000, "12k", 3), (0, "20k", 4)], ids=["at bring-up", "in mid-run"]
)
def test_a_full_disk_below_the_record_ends_the_run(words: int, size: str, code: int, town: Town) -> None:
    """What was written until then is judged; a record that could not be written on is never a pass."""
    # the record begins with the scenario: a longer one fills the disk earlier
    town.scenario.write_text(SCENARIO.replace("and an app.", f"and an app. {'x' * words}"))
    ending = in_small_room(town, town.run, size)
    assert ending.verdict == ("inconclusive", code), ending.stderr
    assert "No space left on device" in ending.said
    assert "make room" in ending.said
    assert f"{RECORD_FILE}'" in ending.stderr, "which disk is full is said"
    kept = journals.load(town.base / "after")
    assert not kept.ended
    assert bool(kept.of(Observation)) is (code == 4)
    assert "Traceback" not in ending.stderr


@pytest.mark.processes
def test_a_disk_that_is_full_from_the_start_leaves_no_record_and_none_is_named(town: Town) -> None:
    town.scenario.write_text(SCENARIO.replace("and an app.", f"and an app. {'x' * 9_900}"))
    ending = in_small_room(town, town.run, "8k")
    assert (ending.code, ending.judgement) == (3, {}), ending.stderr
    assert "make room there, or run again. Nothing was recorded" in " ".join(ending.stderr.split())
    assert "What was seen until then" not in ending.stderr


NOWHERE = "/proc/self/nowhere"
"""A place where nobody may make anything, root included."""


@pytest.mark.processes
@pytest.mark.parametrize(
    ("variable", "said"),
    [
        pytest.param("REHEARSE_CACHE", "choose another place for the cache", id="cache"),
        pytest.param("REHEARSE_STATE", "this machine would not do it", id="state"),
    ],
)
def test_a_place_that_cannot_be_made_is_exit_3(
    variable: str, said: str, town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sentence names the directory that is in the way, and nothing was started."""
    environment = town.environment() | {variable: NOWHERE}
    monkeypatch.setattr(town, "environment", lambda: environment)
    ending = town.rehearse()
    assert ending.code == 3
    told = ending.stderr + (ending.said if ending.judgement else "")
    assert NOWHERE in told
    assert said in told
    assert "Traceback" not in told


@pytest.mark.processes
@pytest.mark.parametrize("name", ["REHEARSE_STATE", "HOME"])
def test_a_record_that_has_no_place_is_exit_3(name: str, town: Town) -> None:
    """Left to itself the run's directory goes below the state directory, or home; without one it does not begin."""
    environment = {"PATH": os.environ["PATH"], **town.environment(), name: NOWHERE}
    if name == "HOME":
        del environment["REHEARSE_STATE"]
    words = [word for word in town.words() if word not in ("--run-dir", str(town.run))]
    done = subprocess.run(
        [sys.executable, "-m", "harness", *words],
        env=environment, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith(f"no record could be begun in {NOWHERE}")
    assert "name a --run-dir" in done.stderr


@pytest.mark.parametrize("place", [NOWHERE, "a file", "below a file"])
def test_a_run_directory_that_cannot_be_written_is_exit_3(place: str, tmp_path: Path) -> None:
    """It is said which, and why; a file in its place is not taken for a record."""
    (tmp_path / "file").touch()
    directory = {"a file": tmp_path / "file", "below a file": tmp_path / "file" / "run"}.get(place, Path(NOWHERE))
    result = CliRunner().invoke(commands.main, ["run", str(OUTAGE), "--driver", "paper", "--run-dir", str(directory)])
    assert (result.exit_code, result.stdout) == (3, "")
    assert result.stderr.startswith(f"no record could be begun in {directory}: ")
    assert "name a --run-dir that can be made and written to" in result.stderr


@pytest.mark.processes
def test_without_a_temporary_directory_the_run_is_exit_3(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is nowhere to put the servers' data, and it says so."""
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: [NOWHERE])
    ending = town.rehearse()
    assert ending.code == 3
    assert "No usable temporary directory found" in ending.stderr


@pytest.mark.processes
def test_without_namespaces_a_pod_is_exit_3(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only a Vault in a pod needs them; what would allow them is said, and nothing was started."""
    reason = (
        "tried to take a mount namespace of its own: Operation not permitted; run as root, or allow user namespaces"
    )
    monkeypatch.setattr(process, "namespaces_allowed", lambda: reason)
    (tmp_path / "pod").mkdir()
    (tmp_path / "outside").mkdir()
    town = Town(tmp_path / "pod", IN_A_POD)
    ending = town.rehearse()
    assert ending.code == 3
    assert f"Vault's pod needs a mount namespace of its own: {reason}" in ending.stderr
    assert town.left() == []
    assert Town(tmp_path / "outside").rehearse().verdict == ("pass", 0)


# --- logs that come late ----------------------------------------------------------------------------------------------


class FakeKube:
    """An API server whose audit log gets its lines when *writes* says so."""

    def __init__(self, audit: Path, writes: Callable[[Path, str], object]) -> None:
        self.audit, self.writes = audit, writes

    def mark_audit_log(self, mark: str) -> None:
        """Hand the mark over."""
        self.writes(self.audit, mark)


class Writes:
    """An API server that writes *text* into its audit log, and never the mark."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __call__(self, audit: Path, mark: str) -> None:
        """Write the text."""
        assert mark not in self.text
        audit.write_text(self.text)


def line(agent: str, user: str = "app") -> str:
    """Return an audit line."""
    return json.dumps(
        {"userAgent": agent, "user": {"username": user}, "requestReceivedTimestamp": "2026-01-01T00:00:00Z"}
    )


def late(audit: Path, mark: str) -> None:
    """Write the login's line and the mark after a while, in pieces."""

    def write() -> None:
        whole = f"{line('vault')}\n{line(mark)}\n"
        for piece in (whole[:30], whole[30:-5], whole[-5:]):
            with audit.open("a") as file:
                file.write(piece)
            time.sleep(0.02)

    threading.Timer(0.05, write).start()


def gathered(
    tmp_path: Path, writes: Callable[[Path, str], object], vault_mark: str = ""
) -> tuple[Record, Exception | None]:
    """Return what one gathering brings into the journal, and how it fails."""
    server, plane = types.SimpleNamespace(), types.SimpleNamespace(name="apps")
    server.client = types.SimpleNamespace(mark_audit_log=lambda: vault_mark)
    server.audit, server.log = Tail(tmp_path / "vault-audit.log"), Tail(tmp_path / "vault.log")
    plane.audit, plane.log = Tail(tmp_path / "api-audit.log"), Tail(tmp_path / "api.log")
    plane.kube = FakeKube(plane.audit.path, writes)
    server.audit.path.write_text('{"type": "response", "time": "2026-01-01T00:00:00Z", "request": {"id": "1"}}\n')
    server.log.path.write_text('{"@level": "error", "@module": "auth", "@message": "login unauthorized"}\n')
    failed: Exception | None = None
    with Journal.opened(tmp_path / "run") as journal:
        from tests.runs import started

        journal.write(started(loading.load(OUTAGE).scenario))
        try:
            Collector(journal, lambda: server, {"apps": plane}).gather("before")
        except NotReady as error:
            failed = error
    return journals.load(tmp_path / "run"), failed


@pytest.mark.processes
def test_audit_lines_that_come_late_are_waited_for(tmp_path: Path) -> None:
    """The API server writes them when it likes; they are all there, and the mark is not."""
    record, failed = gathered(tmp_path, late)
    assert failed is None
    assert [e.entry["userAgent"] for e in record.of(ApiAuditLine)] == ["vault"]


def vault_line(request: str, mark: str) -> str:
    """Return the line of an answer in Vault's audit log."""
    return json.dumps({"type": "response", "request": {"id": request, "headers": {"x-rehearsal-id": [mark]}}})


@pytest.mark.processes
def test_vaults_audit_lines_that_come_late_are_waited_for(tmp_path: Path) -> None:
    """In a container they take another way than the answers; the mark itself is evidence of nothing."""

    def write() -> None:
        with (tmp_path / "vault-audit.log").open("a") as file:
            file.write(f"{vault_line('2', 'rehearsal-000001')}\n{vault_line('3', 'rehearsal-000002')}\n")

    threading.Timer(0.1, write).start()
    record, failed = gathered(tmp_path, late, "rehearsal-000002")
    assert failed is None
    assert [event.entry["request"]["id"] for event in record.of(VaultAuditLine)] == ["1", "2"]


def test_vaults_audit_lines_that_never_come_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who reviews cannot be told without them; what there was is kept, and so are its own words."""
    monkeypatch.setattr(log_collection, "AUDIT_LAG_SECONDS", 0.05)
    record, failed = gathered(tmp_path, lambda audit, mark: audit.write_text(f"{line(mark)}\n"), "never")
    assert "s for the audit log of Vault to catch up, in vain" in str(failed)
    assert len(record.of(VaultAuditLine)) == len(record.of(VaultLogLine)) == 1


@pytest.mark.parametrize("torn", ["", '{"userAgent": "rehearsal-mark-', "not json at all\n{}\n"])
def test_audit_lines_that_never_come_are_said_and_the_rest_is_kept(
    torn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not ready, for that long; what had been written by then is evidence all the same, and so is Vault's."""
    monkeypatch.setattr(log_collection, "AUDIT_LAG_SECONDS", 0.05)
    record, failed = gathered(tmp_path, Writes(f"{line('vault')}\n{torn}"))
    assert isinstance(failed, NotReady)
    assert "s for the audit log of apps to catch up, in vain" in str(failed)
    assert "run again" in str(failed)
    assert record.of(ApiAuditLine)[0].entry["userAgent"] == "vault"
    assert len(record.of(VaultAuditLine)) == len(record.of(VaultLogLine)) == 1


@pytest.mark.processes
def test_a_run_without_its_audit_log_is_inconclusive(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who reviewed is not known, so the green answers are no pass."""
    monkeypatch.setattr(log_collection, "AUDIT_LAG_SECONDS", 0.05)
    monkeypatch.setattr("harness.clients.kube.Kube.mark_audit_log", lambda *_: None)
    ending = town.rehearse()
    assert ending.verdict == ("inconclusive", 4)
    assert "look 1.7.0: waited 0." in ending.said
    assert "for the audit log of apps to catch up" in ending.said
    assert seen(ending, "before")["login"] == "granted"


# --- at once, back in time, cut short ---------------------------------------------------------------------------------


@pytest.mark.processes
def test_ten_runs_at_once_keep_out_of_each_others_way(tmp_path: Path) -> None:
    """Ports, directories and entries are each one's own: all pass, and no two ask the same API server."""
    from harness.artifacts.store import Sources, Store
    from harness.rehearsal import rehearsal
    from tests.runs import started

    town = Town(tmp_path)
    scenario = loading.load(town.scenario).scenario
    store = Store(Sources(cache=tmp_path / "cache", offline=True), lambda _line: None)

    def one(number: int) -> tuple[int, str]:
        directory = tmp_path / "runs" / str(number)
        start = started(scenario, driver="local")
        start = type(start)(**{name: getattr(start, name) for name in start.__struct_fields__} | _named(town, number))
        driver = local.LocalDriver(store, town.work, town.state)
        with Journal.opened(directory) as journal:
            judgement = rehearsal.rehearse(start, driver, journal).judgement
        written = journals.load(directory).of(events.ConfigWritten)
        return judgement.exit_code, written[0].fields["kubernetes_host"] if written else str(judgement.reasons)

    with ThreadPoolExecutor(10) as pool:
        ended = list(pool.map(one, range(10)))
    assert [code for code, _ in ended] == [0] * 10, ended
    assert len({host for _, host in ended}) == 10
    assert town.left() == []


def _named(town: Town, number: int) -> dict[str, Any]:
    return {"run_id": f"{town.run.name[:36]}-{number}"}


@pytest.mark.parametrize("back", [0.003, 0.02, 3600])
@pytest.mark.parametrize("event", ["swap to 1.11.0", "login"])
def test_a_clock_that_is_set_back_changes_no_judgement(
    back: float, event: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dates are for reading: what the servers wrote at another moment is not joined, and the cause is found still."""
    scenario = loading.load(OUTAGE).scenario
    _, usual = on_paper(scenario, tmp_path / "usual")
    ticks, offset = [1_800_000_000.0], [0.0]

    def date() -> float:
        ticks[0] += 0.0001
        return ticks[0] - offset[0]

    clock = types.SimpleNamespace(
        time=date, **{n: getattr(time, n) for n in ("sleep", "monotonic", "strftime", "gmtime")}
    )
    monkeypatch.setattr(wait, "time", clock)

    def set_back(told: AnyEvent) -> None:
        name = told.name if isinstance(told, PhaseEnded) else told.probe if isinstance(told, Observation) else ""
        if name == event and not (isinstance(told, Observation) and told.moment == "before"):
            offset[0] = back

    from harness.drivers.paper.driver import PaperDriver
    from harness.rehearsal import rehearsal
    from tests.runs import started

    with Journal.opened(tmp_path / "run", set_back) as journal:
        judgement = rehearsal.rehearse(started(scenario), PaperDriver(), journal).judgement
    assert offset[0] == back
    assert (judgement.verdict, judgement.exit_code) == (usual.verdict, usual.exit_code)
    assert [(f.rule, f.kind, f.hop) for f in judgement.findings] == [(f.rule, f.kind, f.hop) for f in usual.findings]
    assert event == "login" or not any(finding.ambiguous for finding in judgement.findings)
    assert [(r.moment, r.reviewer) for r in judgement.reviewing] == [(r.moment, r.reviewer) for r in usual.reviewing]


@pytest.mark.processes
@pytest.mark.parametrize("how", ["well", "badly", "interrupted"])
def test_what_is_left_behind_is_exit_5_however_the_run_ended(
    how: str, town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The way down fails after a good run, a failed bring-up or Ctrl-C: it is said what is left, and never lost."""
    close = process.Supervisor.close

    def closed(self: process.Supervisor) -> None:
        close(self)
        raise LeftBehind("there is still: process 4711")

    def interrupt() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(process.Supervisor, "close", closed)
    if how == "badly":
        town.put(*OLD, "exit")
    if how == "interrupted":
        when(monkeypatch, began("before"), interrupt)
    ending = town.rehearse()
    assert ending.code == 5
    assert "there is still: process 4711" in ending.stderr + ending.judgement.get("left_behind", "")
    assert bool(ending.judgement) is (how != "interrupted")


PHASES = (
    "artifacts", "servers answer", "vault is set up", "cluster apps serves", "accounts of apps", "clusters are ready",
    "config of kubernetes by 1.7.0", "probes before", "swap to 1.11.0", "unseal 1.11.0", "old token dead before 1.11.0",
    "probes after 1.11.0",
)  # fmt: skip


@pytest.mark.processes
@pytest.mark.parametrize("phase", PHASES)
def test_an_interruption_in_any_phase_leaves_nothing(phase: str, town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C: exit 130, where to find what was seen, a record that says by itself that it was cut off."""

    def interrupt() -> None:
        raise KeyboardInterrupt

    when(monkeypatch, lambda event: isinstance(event, PhaseEnded) and event.name == phase, interrupt)
    ending = town.rehearse()
    assert (ending.code, ending.judgement) == (130, {})
    assert f"What was seen until then: {town.run}" in ending.stderr
    judged = CliRunner().invoke(commands.main, ["judge", str(town.run), "-o", "json"])
    assert judged.exit_code == 4
    assert json.loads(judged.stdout)["verdict"] == "inconclusive"
    assert any("cut off" in reason for reason in json.loads(judged.stdout)["reasons"])


@pytest.mark.processes
def test_a_signal_ends_whoever_waits_for_an_answer(tmp_path: Path) -> None:
    """One of eight clusters is asked for something and does not answer: with its server gone nobody waits for it."""
    clusters = "".join(f"  c{number}: {{kubernetes: 1.32.0}}\n" for number in range(7))
    town = Town(tmp_path, SCENARIO.replace("clusters:\n", f"clusters:\n{clusters}"))
    town.put(*API, "takes nothing")
    environment = {"PATH": os.environ["PATH"], **town.environment()}
    words = [sys.executable, "-m", "harness", *town.words("--force")]
    with subprocess.Popen(words, env=environment, cwd=ROOT, stderr=subprocess.PIPE, text=True) as running:
        wait.until(lambda: bool(asked(town)), what="one to be asked", seconds=60, died=lambda: ended(running))
        watch = wait.Stopwatch()
        running.terminate()
        said = running.communicate()[1]
    assert (running.returncode, str(town.run) in said) == (130, True)
    assert watch.seconds < kube._TIMEOUT_SECONDS / 2
    assert town.left() == []


def asked(town: Town) -> list[Path]:
    """Return what the API servers say that were asked for something, in memory or on the disk."""
    return [path for way in ("room/", "") for path in town.work.glob(f"rehearse-*/{way}cluster-*/asked")]


def ended(running: subprocess.Popen[str]) -> str | None:
    return None if running.poll() is None else "the run is over"


@pytest.mark.processes
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_signal_during_bring_up_leaves_nothing(number: signal.Signals, town: Town) -> None:
    """No server answers yet, and one never would: everything ends at once, not after the deadlines."""
    town.put(*API, "hang")
    environment = {"PATH": os.environ["PATH"], **town.environment()}
    status, said = signalled(town.words(), environment, "servers answer", number)
    if number != signal.SIGKILL:
        assert status == 130
        assert str(town.run) in said
    ports = town.state / "ports"
    wait.until(lambda: not list(town.work.iterdir()), what="the supervisor to clear up", seconds=30)
    for lock in ports.glob(
        "*.lock"
    ):  # of a killed run an empty file is left, and the lock is not: the next run removes it
        assert number == signal.SIGKILL
        lock.unlink()
    wait.until(lambda: not town.left(), what="the last trace of the run", seconds=30)


# --- real servers -----------------------------------------------------------------------------------------------------


@pytest.fixture
def real_town(tmp_path: Path) -> Iterator[Town]:
    """A town with the real servers in its cache, in which nothing may be left in the end."""
    from harness.cli import maintenance
    from harness.scenario import plan

    one = Town(tmp_path)
    wanted = plan.make(loading.load(one.scenario).scenario, "faults", "local").artifacts
    for found in maintenance.store("", print, insecure=False, offline=False).get_all(wanted):
        leaf = one.leaf(found.product, found.version)
        for file in leaf.iterdir():
            file.unlink()
        leaf.rmdir()
        leaf.symlink_to(found.path.parent)
    yield one
    assert one.left() == []


@pytest.mark.real
def test_a_real_upgrade_that_panics_is_a_regression(real_town: Town) -> None:
    """After a real Vault, a program that dies as a Go program does: found at its hop, with its words."""
    real_town.put_script(*NEW, f"#!/bin/sh\necho '{stand_in.PANIC}' >&2\nexit 2\n")
    ending = real_town.rehearse()
    assert ending.verdict == ("fail", 1)
    assert ending.findings == [("vault-refuses-data", "upgrade refused", "1.11.0")]
    assert "Vault 1.11.0 ended by itself with status 2; its log says: panic: runtime error" in ending.said
    assert seen(ending, "before")["login"] == "granted"


@pytest.mark.real
def test_real_data_that_a_real_vault_cannot_open_is_a_regression(
    real_town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The data is spoilt between two versions: Vault says so itself, and its words are the evidence."""
    real_town.scenario.write_text(IN_A_POD)

    def spoil() -> None:
        # in memory, where this machine allows it
        (database,) = (
            file for where in ("*", "*/room") for file in real_town.work.glob(f"{where}/vault/data/vault.db")
        )
        database.write_bytes(b"nothing that a Vault has written" * 1024)

    when(monkeypatch, lambda event: isinstance(event, PodReplaced), spoil)
    ending = real_town.rehearse()
    assert ending.verdict == ("fail", 1), ending.said
    assert ending.findings[0] == ("vault-refuses-data", "upgrade refused", "1.11.0")
    assert "invalid database" in json.dumps(ending.judgement["findings"])


@pytest.mark.real
def test_a_real_vault_that_is_another_version_is_inconclusive(real_town: Town) -> None:
    """The binary in the cache is not what its name says: the server itself tells, and nothing is learned of the new."""
    real_town.put_script(*NEW, f'#!/bin/sh\nexec {real_town.leaf(*OLD).resolve() / "vault"} "$@"\n')
    ending = real_town.rehearse()
    assert ending.verdict == ("inconclusive", 4), ending.said
    assert "Vault 1.11.0 was put in place, and Vault 1.7.0 answers" in ending.said


@pytest.mark.real
@pytest.mark.parametrize("name", ["etcd of apps", "kube-apiserver of apps"])
def test_a_real_cluster_that_dies_is_inconclusive(name: str, real_town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the upgrade, in the middle of the questions: named, and no login that fails because of it is blamed."""
    when(monkeypatch, began("after 1.11.0"), lambda: _kill(real_town.servers()[name]))
    ending = real_town.rehearse()
    assert ending.verdict == ("inconclusive", 4), ending.said
    assert f"{name} was ended from outside by SIGKILL in the middle of the run" in ending.said
    assert seen(ending, "before")["login"] == "granted"
