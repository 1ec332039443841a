"""A matrix on real servers of other machines: a worker that is killed in mid-cell, and whoever asked interrupted."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from msgspec.structs import replace

from harness.analysis.matrix_results import MatrixResult
from tests.runs import SCENARIOS
from tests.test_matrix_runs import result, scenario
from tests.test_real import SECRET_SHAPES
from tests.test_remote import REHEARSE, Engine, engine, same

__all__ = ["engine"]

pytestmark = pytest.mark.real

PATIENCE = 240


def until(what: Callable[[], object], why: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < deadline, why
        time.sleep(0.2)


def work(engine: Engine, name: str) -> None:
    """Start a worker for one cell at a time, with a directory of its own for work directories."""
    (engine.place / f"{name}-tmp").mkdir()
    engine.work(name, "--jobs", "1", TMPDIR=str(engine.place / f"{name}-tmp"))


def in_mid_cell(engine: Engine, name: str) -> bool:
    """Does a Vault of a cell serve that this worker rehearses?"""
    records = (engine.place / name / "workers").glob("*/cell-*/cells/*/record.jsonl")
    return any('"vault-serving"' in record.read_text(encoding="utf-8") for record in records)


def left(engine: Engine, name: str) -> list[Path]:
    """Return what there is of runs on the machine that this worker stands for."""
    live = engine.place / name / "live"
    entries = list(live.iterdir()) if live.is_dir() else []
    return [*entries, *(engine.place / f"{name}-tmp").glob("rehearse-*")]


def without_ids(made: MatrixResult) -> MatrixResult:
    """Return *made* without its evidence, in which requests, Pods and ports have names of their own in every run."""
    cells = []
    for cell in made.cells:
        assert all(finding.evidence for finding in cell.findings)
        findings = tuple(replace(finding, evidence=()) for finding in cell.findings)
        cells.append(replace(cell, findings=findings))
    return replace(made, cells=tuple(cells))


@contextmanager
def matrix(engine: Engine, *words: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [*REHEARSE, "matrix", *words, "--scheduler", engine.address],
        env=engine.environment("client"),
        cwd=SCENARIOS.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as client:
        yield client
        client.kill()


def test_the_cell_of_a_worker_that_is_killed_is_rehearsed_by_another(engine: Engine, tmp_path: Path) -> None:
    """The table is that of one machine; nothing is left of the lost worker's servers."""
    names = ["one", "two", "three"]
    for name in names:
        work(engine, name)
    for name in names:
        engine.said(name, f"worker {name} of")
    words = [str(scenario(tmp_path)), "--filter", "target=1.9.2", "--filter", "reviewer=nobody-chose", "--width", "110"]
    with matrix(engine, *words, "--run-dir", str(tmp_path / "far")) as client:
        until(lambda: client.poll() is not None or any(in_mid_cell(engine, name) for name in names), "no cell began")
        lost = next(name for name in names if in_mid_cell(engine, name))
        assert left(engine, lost)
        engine.processes[lost].kill()
        said, told = client.communicate(timeout=900)
    assert client.returncode == 1, told
    until(lambda: not left(engine, lost), "the lost worker's servers are there still")

    command = [*REHEARSE, "matrix", *words, "--run-dir", str(tmp_path / "near")]
    near = subprocess.run(command, cwd=SCENARIOS.parent, capture_output=True, text=True, check=False, timeout=900)
    assert near.returncode == 1, near.stderr
    assert said == near.stdout
    assert same(without_ids(result(tmp_path / "far")), without_ids(result(tmp_path / "near")))
    for path in (tmp_path / "far").rglob("record.jsonl"):
        assert not SECRET_SHAPES.search(path.read_bytes())
    engine.end()
    assert not [path for name in names for path in left(engine, name)]


def test_an_interruption_ends_the_servers_of_every_worker(engine: Engine, tmp_path: Path) -> None:
    """And the same command goes on from there, on the same workers."""
    work(engine, "one")
    words = [
        str(scenario(tmp_path)),
        "--run-dir",
        str(tmp_path / "far"),
        "--filter",
        "target=1.9.2,reviewer=client-jwt",
    ]
    with matrix(engine, *words) as client:
        until(lambda: client.poll() is not None or in_mid_cell(engine, "one"), "no cell began")
        client.send_signal(signal.SIGINT)
        _, told = client.communicate(timeout=PATIENCE)
    assert client.returncode == 130, told
    until(lambda: not left(engine, "one"), "the worker's servers are there still")
    assert engine.processes["one"].poll() is None
    with matrix(engine, *words) as client:
        _, told = client.communicate(timeout=900)
    assert client.returncode == 0, told


def test_cells_of_one_worker_share_the_source_state(engine: Engine, tmp_path: Path) -> None:
    """As the cells of one process do on one machine."""
    work(engine, "one")
    words = [str(scenario(tmp_path)), "--run-dir", str(tmp_path / "far"), "--filter", "reviewer=nobody-chose"]
    with matrix(engine, *words) as client:
        _, told = client.communicate(timeout=900)
    assert client.returncode == 1, told
    shared = sorted(cell.shared for cell in result(tmp_path / "far").cells)
    assert shared == ["", "source state and clusters"]
    engine.end()
    assert not left(engine, "one")
