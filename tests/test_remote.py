"""A matrix on other machines: what is sent has no secret, what comes back is one table, what is lost is done again."""

from __future__ import annotations

import errno
import os
import pickle
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest

from harness.analysis.matrix_results import MatrixResult
from harness.cli import remote, remote_cell
from harness.cli.remote import needs_of
from harness.cli.remote_cell import DOCKER, MEMORY, RemoteOrder
from harness.errors import MissingPrerequisite
from harness.session import matrix_directory
from tests.runs import SCENARIOS
from tests.test_cli import rehearse
from tests.test_matrix_runs import result, scenario

REHEARSE = [sys.executable, "-m", "harness"]
PATIENCE = 120


# --- what is sent, and what comes back ---


def order(**changed: object) -> RemoteOrder:
    made = RemoteOrder("cell", "cell.yaml", "{}", "paper", (), 60.0, matrix_directory.program())
    return msgspec.structs.replace(made, **changed)


def test_a_worker_with_another_program_or_binary_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REHEARSE_CACHE", str(tmp_path))
    answer = remote_cell.rehearse_cell(order(program="0.0.9+abc"))
    assert answer.refused.startswith(
        f"it has rehearse {matrix_directory.program()}, and this matrix is made by 0.0.9+abc"
    )

    binary = tmp_path / "vault" / "1.11.0"
    monkeypatch.setattr("harness.artifacts.store.cached", lambda _cache: [Cached("vault", "1.11.0", "a" * 64)])
    assert not binary.exists()
    answer = remote_cell.rehearse_cell(order(digests={"vault 1.11.0": "b" * 64}))
    assert answer.refused.startswith(f"it has another vault 1.11.0 (sha256 {'a' * 12}, and not {'b' * 12})")


@dataclass
class Cached:
    product: str
    version: str
    sha256: str


def test_a_record_arrives_as_it_was_sent_and_nowhere_else(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "record.jsonl").write_bytes(b"{}\n" * 10_000)
    (source / "record.jsonl").chmod(0o600)
    packed = remote_cell.pack(source)
    remote_cell.unpack(packed, tmp_path / "target" / "cell")
    arrived = tmp_path / "target" / "cell" / "record.jsonl"
    assert arrived.read_bytes() == (source / "record.jsonl").read_bytes()
    assert arrived.stat().st_mode & 0o077 == 0
    remote_cell.unpack(remote_cell.pack(tmp_path / "nowhere"), tmp_path / "empty")
    assert list((tmp_path / "empty").iterdir()) == []
    (source / "out").symlink_to("/etc")
    with pytest.raises(Exception, match="link"):
        remote_cell.unpack(remote_cell.pack(source), tmp_path / "other")


@pytest.mark.parametrize(
    ("driver", "takes"), [("paper", {MEMORY: 0.05}), ("local", {MEMORY: 0.79}), ("kind", {MEMORY: 3.6, DOCKER: 1.0})]
)
def test_a_cell_takes_what_its_clusters_are_measured_to_take(driver: str, takes: dict[str, float]) -> None:
    assert needs_of({"clusters": {"platform": {"nodes": 3}, "apps": None}}, driver) == takes


def test_a_scheduler_without_tls_is_one_only_by_its_name() -> None:
    file = SCENARIOS / "the-outage-apps-in-another-cluster-are-refused-after-the-upgrade.yaml"
    words = ["matrix", str(file), "--target", "1.9.2,1.9.3", "--driver", "paper"]
    for more, said in (
        (["--scheduler", "tcp://127.0.0.1:1"], "that is without TLS: tls://, or --insecure-scheduler"),
        (["--scheduler", "tls://127.0.0.1:1", "--insecure-scheduler"], "that is with TLS: tcp://"),
        (["--scheduler", "127.0.0.1:1"], "is no address of a scheduler"),
        (["--scheduler", "tls://127.0.0.1:1", "--jobs", "2"], "--jobs: each worker has its own"),
    ):
        ended = rehearse(*words, *more)
        assert (ended.exit_code, said in " ".join(ended.stderr.split())) == (2, True), ended.stderr


@pytest.mark.processes
def test_a_scheduler_that_is_not_there_is_told(tmp_path: Path) -> None:
    file = scenario(tmp_path)
    words = ["matrix", str(file), "--driver", "paper", "--run-dir", str(tmp_path / "m"), "--scheduler"]
    ended = rehearse(*words, "tls://127.0.0.1:1", "--tls-dir", str(tmp_path / "none"))
    assert ended.exit_code == 3
    assert f"{tmp_path}/none/ca.crt is missing: copy the directory with the scheduler's key here" in ended.stderr


# --- on loopback ---


@dataclass
class Engine:
    """A scheduler, and workers that come and go; each has a state directory of its own, as on a machine of its own."""

    place: Path
    address: str = ""
    processes: dict[str, subprocess.Popen[str]] = field(default_factory=dict)

    def environment(self, name: str, **more: str) -> dict[str, str]:
        tls = {"REHEARSE_TLS_DIR": str(self.place / "tls")}
        return {**os.environ, "REHEARSE_STATE": str(self.place / name), **tls, **more}

    def start(self, name: str, *words: str, **more: str) -> None:
        with (self.place / f"{name}.log").open("w") as log:
            self.processes[name] = subprocess.Popen(
                [*REHEARSE, *words], env=self.environment(name, **more), cwd=SCENARIOS.parent, stderr=log, text=True
            )

    def said(self, name: str, line: str) -> str:
        """Wait until *name* has said *line*, and return all that it has said."""
        deadline = time.monotonic() + PATIENCE
        while line not in (text := (self.place / f"{name}.log").read_text()):
            assert self.processes[name].poll() is None, text
            assert time.monotonic() < deadline, text
            time.sleep(0.1)
        return text

    def work(self, name: str, *words: str, **more: str) -> None:
        self.start(name, "worker", self.address, "--name", name, *words, **more)

    def matrix(self, file: Path, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
        command = [*REHEARSE, "matrix", str(file), "--scheduler", self.address, *words]
        return subprocess.run(
            command, env=self.environment("client", **more), cwd=SCENARIOS.parent, capture_output=True, text=True,
            check=False, timeout=600,
        )  # fmt: skip

    def end(self) -> None:
        for process in self.processes.values():
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in self.processes.values():
            process.wait(PATIENCE)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    made = Engine(tmp_path)
    made.start("scheduler", "scheduler", "--listen", "127.0.0.1:0")
    made.address = made.said("scheduler", "its key is in").partition("at ")[2].splitlines()[0]
    try:
        yield made
    finally:
        made.end()


def same(one: MatrixResult, two: MatrixResult) -> bool:
    """Are these the same table: cell by cell, with the same findings?"""
    cells = [
        {cell.id: (cell.outcome, cell.exit_code, cell.findings, cell.key) for cell in each.cells} for each in (one, two)
    ]
    return cells[0] == cells[1]


@pytest.mark.processes
def test_the_table_is_that_of_one_machine_and_no_secret_is_sent(engine: Engine, tmp_path: Path) -> None:
    """A mirror's password is in the environment of whoever asks; the workers never hear of it."""
    engine.work("one", "--jobs", "2")
    engine.work("two", "--jobs", "1")
    file, secret = scenario(tmp_path), "a-password-of-a-mirror"
    words = ["--driver", "paper", "--run-dir", str(tmp_path / "far"), "--width", "110"]
    far = engine.matrix(file, *words, REHEARSE_MIRROR=f"https://me:{secret}@mirror.example.com", VAULT_LICENSE=secret)
    assert far.returncode == 1, far.stderr
    assert engine.address.startswith("tls://127.0.0.1:")
    assert (engine.place / "tls" / "tls.key").stat().st_mode & 0o077 == 0

    near = rehearse("matrix", str(file), "--driver", "paper", "--run-dir", str(tmp_path / "near"), "--width", "110")
    assert far.stdout == near.stdout
    assert same(result(tmp_path / "far"), result(tmp_path / "near"))
    assert all((tmp_path / "far" / cell.record / "record.jsonl").is_file() for cell in result(tmp_path / "far").cells)
    # what was finished there is finished here
    again = rehearse("matrix", str(file), "--driver", "paper", "--run-dir", str(tmp_path / "far"))
    assert "4 of 4 cells are as they were" in again.stderr

    for path in [*engine.place.glob("*.log"), *(tmp_path / "far").rglob("*"), *(engine.place / "one").rglob("*")]:
        assert not path.is_file() or secret.encode() not in path.read_bytes(), path
    engine.end()
    assert [process.returncode for process in engine.processes.values()] == [0, 0, 0]
    assert [path for name in ("one", "two") for path in (engine.place / name / "workers").iterdir()] == []


def test_an_order_can_be_read_by_whoever_reads_it_and_has_nothing_but_the_scenario_in_it() -> None:
    made = order(scenario='{"schema": 1}', words=("--strict",), digests={"vault 1.11.0": "a" * 64})
    assert pickle.loads(pickle.dumps(made)) == made
    assert set(made.__struct_fields__) == {
        "name", "file", "scenario", "driver", "words", "limit_seconds", "program", "digests",
        "group", "sharing", "alone",
    }  # fmt: skip


@pytest.mark.processes
def test_who_has_not_the_key_is_no_worker_and_no_client(engine: Engine, tmp_path: Path) -> None:
    other = tmp_path / "other-tls"
    remote = tmp_path / "other-scheduler"
    from harness.host import pki

    other.mkdir()
    pki.Authority(other, "rehearse.invalid")
    done = engine.matrix(scenario(tmp_path), "--driver", "paper", "--run-dir", str(remote), REHEARSE_TLS_DIR=str(other))
    assert done.returncode == 3
    why = f"whoever answers at {engine.address} has another key than {other}"
    assert why in done.stderr
    engine.work("stranger", REHEARSE_TLS_DIR=str(other))
    assert engine.processes["stranger"].wait(PATIENCE) == 3
    assert why in (engine.place / "stranger.log").read_text()
    # and without a key there is no talking to it, whatever this program says beforehand
    with socket.create_connection(address_of(engine)) as plain:
        plain.settimeout(PATIENCE)
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with pytest.raises(OSError, match=r"certificate required|reset"), context.wrap_socket(plain) as bare:
            bare.recv(1)


def address_of(engine: Engine) -> tuple[str, int]:
    host, _, port = engine.address.removeprefix("tls://").rpartition(":")
    return host, int(port)


def test_a_machine_without_room_leaves_the_cell_to_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full() -> Path:
        raise OSError(errno.ENOSPC, "No space left on device", str(tmp_path))

    monkeypatch.setattr(remote_cell, "home", full)
    assert remote_cell.rehearse_cell(order()).refused.startswith("this machine would not do it: [Errno 28] No space")


def test_a_scheduler_that_goes_is_gone_before_its_client_has_noticed_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks it then is told of a connection that timed out, which says nothing about this machine."""

    def out_of_reach(**_how: object) -> dict[str, object]:
        raise OSError("Timed out trying to connect to tls://127.0.0.1:1 after 15 s")

    workers = remote.RemoteWorkers.__new__(remote.RemoteWorkers)
    monkeypatch.setattr(workers, "_address", "tls://127.0.0.1:1", raising=False)
    client = SimpleNamespace(status="running", scheduler_info=out_of_reach)
    monkeypatch.setattr(workers, "_client", client, raising=False)
    with pytest.raises(MissingPrerequisite, match=r"the scheduler at tls://127\.0\.0\.1:1 is gone; what is finished"):
        workers._room()


@pytest.mark.processes
def test_a_scheduler_that_goes_is_no_result(engine: Engine, tmp_path: Path) -> None:
    """What is finished by then is kept, and the exit code says that it was the environment."""
    engine.work("one", "--jobs", "1")
    words = ["matrix", str(scenario(tmp_path)), "--driver", "paper", "--run-dir", str(tmp_path / "m")]
    with subprocess.Popen(
        [*REHEARSE, *words, "--scheduler", engine.address],
        env=engine.environment("client"),
        cwd=SCENARIOS.parent,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as client:
        assert client.stderr is not None
        assert any("[1/4]" in line for line in client.stderr)
        engine.processes["scheduler"].kill()
        said = client.stderr.read()
    assert client.returncode == 3, said
    assert f"the scheduler at {engine.address} is gone; what is finished is kept" in said
    assert "distributed" not in said
    assert 1 <= len(result(tmp_path / "m").cells) < 4
    assert engine.processes["one"].wait(PATIENCE) in (0, 3)
