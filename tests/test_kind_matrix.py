"""A short matrix on kind: its cells share their source state, come out as alone, and leave nothing behind."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from harness.analysis import verdict
from harness.analysis.matrix_results import MatrixResult
from harness.clients import container_engine
from harness.record import journal
from harness.record.events import ClusterUp, RunStarted, SourceState
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

    A finished one is made of the images that are here.
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
