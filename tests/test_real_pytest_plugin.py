"""Scenarios as tests on real servers: in two workers at a time, and interrupted."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.runs import OUTAGE, SCENARIOS
from tests.test_pytest_plugin import LOADED
from tests.test_real import SECRET_SHAPES, ours, until_gone
from tests.test_scenarios import PROMISED

pytestmark = pytest.mark.real

PYTEST = [sys.executable, "-m", "pytest", *LOADED, "-p", "no:cacheprovider", "-W", "error"]
PATIENCE = 120


@pytest.mark.parametrize("share", [3, pytest.param(1, marks=pytest.mark.nightly)], ids=["a third", "all"])
def test_the_shipped_scenarios_are_judged_right_by_two_workers(tmp_path: Path, share: int) -> None:
    """Each is green as it stands; its verdict and cause are the promised ones; no secret is in any report."""
    files = sorted(str(file.relative_to(SCENARIOS.parent)) for file in SCENARIOS.glob("*.yaml"))[::share]
    kept, report = tmp_path / "kept", tmp_path / "junit.xml"
    words = ["-n", "2", "-v", "--rehearse-run-dir", str(kept), "--junit-xml", str(report), *files]
    done = subprocess.run(
        [*PYTEST, *words], cwd=SCENARIOS.parent, capture_output=True, text=True, check=False, timeout=900
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "[gw0]" in done.stdout
    assert "[gw1]" in done.stdout
    cases = list(ET.parse(report).iter("testcase"))
    assert len(cases) == len(files) == len([*PROMISED][::share])
    for case in cases:
        about = {one.get("name", ""): one.get("value", "") for one in case.iter("property")}
        name = Path(about["run_directory"]).name
        assert (about["verdict"], about["driver"]) == (PROMISED[name][0], "local")
        assert not ours(kept / name)
    assert not SECRET_SHAPES.search((done.stdout + done.stderr + report.read_text()).encode())


@pytest.fixture
def two(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], list[Path]]]:
    """Two workers of pytest in the middle of a rehearsal each, and the directories of the two."""
    names = [f"cut-off-{os.getpid()}-{int(time.time())}-{letter}" for letter in "ab"]
    for name in names:
        shutil.copyfile(OUTAGE, tmp_path / f"{name}.yaml")
    directories = [tmp_path / "kept" / name for name in names]
    words = ["-n", "2", "--rehearse-run-dir", "kept", *(f"{name}.yaml" for name in names)]
    environment = {**os.environ, "PYTHONPATH": str(SCENARIOS.parent)}
    # a session of its own stands for a terminal, whose Ctrl-C every process gets
    with subprocess.Popen(
        [*PYTEST, *words],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        deadline = time.monotonic() + PATIENCE
        while not all(reached(directory) for directory in directories):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.1)
        yield process, directories
        process.kill()


def reached(directory: Path) -> bool:
    """Does a Vault of this run serve?"""
    record = directory / "record.jsonl"
    return record.exists() and '"vault-serving"' in record.read_text(encoding="utf-8")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_nothing_is_left_of_what_two_workers_did(
    two: tuple[subprocess.Popen[str], list[Path]], number: signal.Signals
) -> None:
    """Ctrl-C at the terminal, or all of them killed: every server ends, the work directories go."""
    process, directories = two
    assert all(ours(directory) for directory in directories)
    os.killpg(process.pid, number)
    assert process.stdout is not None
    said = process.stdout.read()
    assert process.wait(PATIENCE) == (2 if number == signal.SIGINT else -number), said
    for directory in directories:
        until_gone(directory)


def test_an_interrupted_session_says_where_its_record_is(tmp_path: Path) -> None:
    """In one process, where pytest itself is in the middle of the rehearsal."""
    name = f"cut-off-{os.getpid()}-{int(time.time())}"
    shutil.copyfile(OUTAGE, tmp_path / f"{name}.yaml")
    directory = tmp_path / "kept" / name
    words = [*PYTEST, "--rehearse-run-dir", "kept", f"{name}.yaml"]
    environment = {**os.environ, "PYTHONPATH": str(SCENARIOS.parent)}
    with subprocess.Popen(
        words, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        deadline = time.monotonic() + PATIENCE
        while not reached(directory):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        assert process.stdout is not None
        said = process.stdout.read()
    assert process.returncode == 2, said
    assert f"what was seen until then: {directory}" in said
    assert "everything of this rehearsal was ended" in said
    until_gone(directory)
