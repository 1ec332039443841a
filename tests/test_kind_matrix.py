"""A short matrix on kind: its cells share their source state, come out as alone, and leave nothing behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from harness import wait
from harness.analysis import verdict
from harness.analysis.matrix_results import MatrixResult
from harness.clients import container_engine
from harness.record import journal
from harness.record.events import ClusterUp, PodReplaced, RunStarted, SourceState
from harness.session import matrix_directory
from tests.runs import SCENARIOS
from tests.test_matrix_runs import result
from tests.test_real import SECRET_SHAPES, rehearse
from tests.test_real_matrix import seen as judged

pytestmark = pytest.mark.kind

STAGING = SCENARIOS / "one-cluster-staging-stays-green-while-the-reviewer-changes.yaml"


def seen(made: MatrixResult) -> dict[str, Any]:
    """Return what each cell came to, by its name: cells stand in the order in which they were over."""
    return {cell.id: (cell.outcome, [(one.kind, one.rule, one.hop) for one in cell.findings]) for cell in made.cells}


def test_a_short_matrix_on_kind_is_that_on_paper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second cell begins from the source state of the first, in its cluster; alone, it is judged the same.

    A Vault over that serves by then, in a Pod of another name, of which the first one says nothing. A finished one is
    made of the images that are here.
    """
    file, place = tmp_path / "staging.yaml", tmp_path / "kind"
    monkeypatch.setenv("REHEARSE_STATE", str(tmp_path / "state"))
    file.write_text(STAGING.read_text() + "\nmatrix: {axes: {vault.target: [1.9.2, 1.11.0]}}\n")
    ended = rehearse("matrix", file, "--driver", "kind", "--jobs", "1", "--run-dir", place)
    assert ended.returncode == 0, ended.stderr
    on_paper = rehearse("matrix", file, "--driver", "paper", "--run-dir", tmp_path / "paper")
    assert on_paper.returncode == 0, on_paper.stderr
    kind, paper = result(place), result(tmp_path / "paper")
    assert seen(kind) == seen(paper)
    images = [{name: digest for name, digest in cell.artifacts.items() if "image" in name} for cell in kind.cells]
    shared = {name for name in images[0] if name in images[1]}
    assert {"node-image 1.32.0", "vault-image 1.7.0"} <= shared
    assert all(images[0][name] == images[1][name] for name in ("node-image 1.32.0", "vault-image 1.7.0"))

    words = ("matrix", file, "--driver", "kind", "--run-dir", place, "--list")
    assert rehearse(*words).stdout.count("to be rehearsed") == 0
    cells = [replace(cell, artifacts=cell.artifacts | {"vault-image 1.11.0": "0" * 64}) for cell in kind.cells]
    matrix_directory.MatrixDirectory(place).write(replace(kind, cells=tuple(cells)))
    assert rehearse(*words).stdout.count("to be rehearsed again") == 2

    ups = [up for cell in kind.cells for up in journal.load(place / cell.record).of(ClusterUp)]
    assert [up.served for up in ups] == [0, 1]
    first, later = sorted(kind.cells, key=lambda cell: journal.load(place / cell.record).started.at)
    (told,) = journal.load(place / later.record).of(SourceState)
    assert (told.made_by, told.why_not) == (journal.load(place / first.record).started.run_id, "")
    assert told.ready
    pods = [journal.load(place / cell.record).of(PodReplaced) for cell in (first, later)]
    assert pods[1][: len(pods[0]) - 1] == pods[0][:-1], "what the source state is of"
    names = [{pods[0][-1].new_pod}, {pod.new_pod for pod in pods[1][len(pods[0]) - 1 :]}]
    assert sorted(map(sorted, names)) == [["vault-0"], ["vault-2-0"]]
    for cell, (other,) in ((first, names[1]), (later, names[0])):
        assert not list((place / cell.record).rglob(f"*-{other}-vault.log")), "what is of another rehearsal"
    assert not list(journal.load(place / first.record).of(SourceState))
    by_itself = tmp_path / "alone"
    mine = place / "scenarios" / f"{matrix_directory.slug(later.id)}.yaml"
    ended = rehearse("run", mine, "--driver", "kind", "--run-dir", by_itself)
    assert ended.returncode == later.exit_code, ended.stderr
    in_turn, alone = (verdict.judge(journal.load(one)) for one in (place / later.record, by_itself))
    assert judged(in_turn) == judged(alone)
    for path in place.rglob("*"):
        assert not (path.is_file() and SECRET_SHAPES.search(path.read_bytes())), path

    runs = {started.run_id for cell in kind.cells for started in journal.load(place / cell.record).of(RunStarted)}
    assert len(runs) == 2
    assert not [thing for thing in container_engine.reach(os.environ).leftovers() if thing.run in runs]
    assert list((tmp_path / "state" / "live").glob("*.json")) == [], "nor of the clusters, which are of no cell"


def test_a_new_vault_is_there_for_the_first_cell_of_the_next_variant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its cluster is emptied around it; what is judged is what the same cell is alone."""
    file, place = tmp_path / "staging.yaml", tmp_path / "kind"
    monkeypatch.setenv("REHEARSE_STATE", str(tmp_path / "state"))
    file.write_text(
        STAGING.read_text().replace("by: 1.4.0", "by: 1.7.0")
        + "\nmatrix: {axes: {auth.kubernetes.reviewer: [secret, client-jwt], vault.target: [1.9.2, 1.11.0]}}\n"
    )
    ended = rehearse("matrix", file, "--driver", "kind", "--jobs", "1", "--run-dir", place)
    on_paper = rehearse("matrix", file, "--driver", "paper", "--run-dir", tmp_path / "paper")
    assert ended.returncode == on_paper.returncode, ended.stderr
    kind = result(place)
    assert seen(kind) == seen(result(tmp_path / "paper"))
    records = sorted((journal.load(place / cell.record) for cell in kind.cells), key=lambda one: one.started.at)
    told = [[(one.made_by, one.ready) for one in record.of(SourceState)] for record in records]
    runs = [record.started.run_id for record in records]
    assert told == [[], [(runs[0], True)], [("", True)], [(runs[2], True)]]
    assert [up.served for record in records for up in record.of(ClusterUp)] == [0, 1, 2, 3]
    third = next(cell for cell in kind.cells if journal.load(place / cell.record).started.run_id == runs[2])
    by_itself = tmp_path / "alone"
    ended = rehearse(
        "run",
        place / "scenarios" / f"{matrix_directory.slug(third.id)}.yaml",
        "--driver",
        "kind",
        "--run-dir",
        by_itself,
    )
    assert ended.returncode == third.exit_code, ended.stderr
    in_turn, alone = (verdict.judge(journal.load(one)) for one in (place / third.record, by_itself))
    assert judged(in_turn) == judged(alone)
    assert not [thing for thing in container_engine.reach(os.environ).leftovers() if thing.run in runs]


def test_of_a_vault_that_is_made_ready_nothing_is_left_by_a_process_that_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGKILL once the first cell is over, while the Vault of the second one comes to serve in its Pod."""
    file, place, state = tmp_path / "staging.yaml", tmp_path / "kind", tmp_path / "state"
    monkeypatch.setenv("REHEARSE_STATE", str(state))
    file.write_text(STAGING.read_text() + "\nmatrix: {axes: {vault.target: [1.9.2, 1.11.0]}}\n")
    words = ["matrix", str(file), "--driver", "kind", "--jobs", "1", "--run-dir", str(place)]
    with subprocess.Popen(
        [sys.executable, "-m", "harness", *words],
        cwd=SCENARIOS.parent,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as running:

        def over() -> bool:
            assert running.poll() is None
            return any('"run-ended"' in record.read_text() for record in place.glob("cells/*/record.jsonl"))

        wait.until(over, what="the first cell to be over", seconds=240, every=0.05)
        (entry,) = (state / "live").glob("clusters-*.json")
        os.kill(json.loads(entry.read_text())["harness"]["pid"], signal.SIGKILL)
        running.wait(60)
    engine = container_engine.reach(os.environ)

    def left() -> bool:
        live = list((state / "live").glob("*.json"))
        return bool(live or [thing for thing in engine.leftovers() if thing.run == entry.stem])

    wait.until(lambda: not left(), what="the last trace of the clusters", seconds=30)
