"""The shipped scenarios on real servers: what is judged, what is left behind, and what no file may hold."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.runs import OUTAGE
from tests.test_scenarios import PROMISED

pytestmark = pytest.mark.real

ROOT = Path(__file__).parent.parent
REHEARSE = [sys.executable, "-m", "harness"]
SECRET_SHAPES = re.compile(
    rb"eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}|hvs\.[A-Za-z0-9_-]{20,}|\bs\.[A-Za-z0-9]{24}\b"
    rb"|PRIVATE KEY-----"
)


def rehearse(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the command as a user would and return what came of it."""
    words = [*REHEARSE, *(str(word) for word in arguments)]
    return subprocess.run(words, capture_output=True, text=True, check=False, timeout=900, cwd=ROOT)


def ours(run_directory: Path) -> list[psutil.Process]:
    """Return every process that carries the mark of this run."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("REHEARSE_RUN", "").startswith(run_directory.name[:40]):
                found.append(process)
        except psutil.Error:
            continue
    return found


def work_directories(run_directory: Path) -> list[Path]:
    """Return what is left of this run's work directory."""
    return list(Path(os.environ.get("TMPDIR", "/tmp")).glob(f"rehearse-{run_directory.name[:40]}*"))


@pytest.mark.parametrize("name", sorted(PROMISED))
def test_a_shipped_scenario_is_judged_right(name: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """Verdict, kind, cause and hop are right; the record alone gives the same judgement; nothing is left; no secret."""
    directory = tmp_path / f"{os.getpid()}-{name}"
    done = rehearse("run", f"scenarios/{name}.yaml", "-o", "json", "--run-dir", directory)

    assert done.returncode == 0, done.stderr
    judgement: dict[str, Any] = json.loads(done.stdout)
    verdict, findings = PROMISED[name]
    assert judgement["verdict"] == verdict
    assert judgement["as_expected"]
    assert [(f["kind"], f["effect"], f["rule"], f["hop"]) for f in judgement["findings"]] == list(findings)
    assert all(finding["evidence"] for finding in judgement["findings"])
    assert all(len(artifact["sha256"]) == 64 and artifact["source"] for artifact in judgement["artifacts"])

    again = rehearse("judge", directory, "-o", "json")
    assert json.loads(again.stdout) == judgement

    if name == OUTAGE.stem:
        # the hop is a stop in order; the Vault before it, which only wrote the config, is not waited for
        assert (directory / "logs" / "vault-vault.log").read_text().count("==> Vault shutdown triggered") == 1

    assert not ours(directory)
    assert not work_directories(directory)
    for path in directory.rglob("*"):
        if path.is_file():
            assert not SECRET_SHAPES.search(path.read_bytes()), path
            assert path.stat().st_mode & 0o077 == 0, path
    assert not SECRET_SHAPES.search((done.stdout + done.stderr).encode())
    if request.config.getoption("--update-records"):
        # those of format 1 beside it are kept as they are: a release of today writes none
        records = Path(__file__).parent / "records" / "format-2"
        records.mkdir(exist_ok=True)
        shutil.copyfile(directory / "record.jsonl", records / f"{name}.jsonl")


@pytest.fixture
def outage(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """The outage, running, and its directory."""
    directory = tmp_path / f"cut-off-{os.getpid()}-{int(time.time() * 1000)}"
    words = [*REHEARSE, "run", str(OUTAGE), "--run-dir", str(directory)]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as process:
        yield process, directory
        process.kill()


def until_gone(directory: Path) -> None:
    """Wait until nothing of the run is left, and fail after the promised quarter of a minute."""
    deadline = time.monotonic() + 15
    while (ours(directory) or work_directories(directory)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not ours(directory)
    assert not work_directories(directory)


@pytest.mark.parametrize("line", ["servers answer", "config of kubernetes by 1.4.0", "asking before", "unseal 1.11.0"])
def test_nothing_is_left_when_the_harness_is_killed(outage: tuple[subprocess.Popen[str], Path], line: str) -> None:
    """SIGKILL at any stage: every server ends, the work directory goes, and what was seen can still be judged."""
    process, directory = outage
    assert process.stderr is not None
    assert any(line in said for said in process.stderr)
    process.send_signal(signal.SIGKILL)
    process.wait()

    until_gone(directory)
    judged = rehearse("judge", directory, "-o", "json")
    assert judged.returncode == 4
    assert json.loads(judged.stdout)["verdict"] == "inconclusive"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_says_so_and_leaves_nothing(
    outage: tuple[subprocess.Popen[str], Path], number: signal.Signals
) -> None:
    """Ctrl-C and SIGTERM: exit 130, and where to find what was seen."""
    process, directory = outage
    assert process.stderr is not None
    assert any("asking before" in said for said in process.stderr)
    process.send_signal(number)
    said = process.stderr.read()

    assert process.wait() == 130
    assert str(directory) in said
    until_gone(directory)


def test_a_machine_without_a_network_rehearses_as_any_other(tmp_path: Path) -> None:
    """With a loopback alone: an API server looks for an address of its machine to give out, unless it is told one."""
    words = shlex.join([*REHEARSE, "run", str(OUTAGE), "--offline", "--run-dir", str(tmp_path / "run"), "-q"])
    apart = ["unshare", "--map-root-user", "--net", "sh", "-c", f"ip link set lo up && {words}"]
    done = subprocess.run(apart, capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "This is exactly what the scenario expects." in done.stdout
