"""A matrix on real servers: cells that share clusters are judged as if each were alone, and nothing outlives a kill."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from harness.analysis import matrix_results, verdict
from harness.analysis.verdict import Judgement
from harness.record import events, journal
from harness.session import matrix_directory
from tests.runs import OUTAGE
from tests.test_real import REHEARSE, ROOT, SECRET_SHAPES, rehearse

pytestmark = pytest.mark.real

MATRIX = """
matrix:
  axes:
    vault.target: [1.9.2, 1.11.0]
    reviewer:
      nobody-chose: {}
      secret: {auth.kubernetes.reviewer: secret, auth.kubernetes.configured: ~}
      copied:
        auth.kubernetes.configured: {by: 1.7.0, with-token-file: true}
        auth.kubernetes.cluster: platform
        apps.web.cluster: platform
        apps.web.may-review-tokens: false
"""


def seen(judgement: Judgement) -> dict[str, Any]:
    """Return all that a judgement says of Vault: what was answered, what changed, and why."""
    return {
        "verdict": (judgement.verdict, judgement.outcome, judgement.exit_code),
        "findings": [
            (one.kind, one.effect, one.app, one.hop, one.rule, one.confidence, one.remedy) for one in judgement.findings
        ],
        "answers": [(o.moment, o.probe, o.app, o.item, o.answer, o.status, o.error) for o in judgement.observations],
        "reviews": [
            (one.app, one.moment, one.status, one.should_present, one.reviewer, one.user) for one in judgement.reviewing
        ],
        "doubts": [one.text for one in judgement.doubts],
    }


def test_cells_that_share_clusters_are_judged_as_if_each_were_alone(tmp_path: Path) -> None:
    """Two ways of one matrix: cells in one process one after the other, and each by itself from nothing.

    Of the cells of a variant, which differ by their target, the second begins from the source state of the first, and
    its Vault serves beforehand; that of another variant is new, and serves beforehand too. Where a config holds the
    token of Vault's Pod, each cell writes that config itself.
    """
    file = tmp_path / "outage.yaml"
    file.write_text(OUTAGE.read_text() + MATRIX)
    place = tmp_path / "matrix"
    ended = rehearse("matrix", file, "--run-dir", place, "--jobs", "1")
    assert ended.returncode == 1, ended.stderr
    result = matrix_directory.load(place)
    assert result is not None
    assert len(result.cells) == 6
    served, begun, made = [], [], set()
    for cell in result.cells:
        record = journal.load(place / cell.record)
        served.append(max(up.served for up in record.of(events.ClusterUp)))
        assert bool(cell.shared) is (served[-1] > 0)
        begun += [one.made_by for one in record.of(events.SourceState)]
        assert all(one.ready for one in record.of(events.SourceState))
        made.add(record.started.run_id)
        shared = verdict.judge(record)
        alone = tmp_path / "alone" / matrix_directory.slug(cell.id)
        done = rehearse("run", place / "scenarios" / f"{matrix_directory.slug(cell.id)}.yaml", "--run-dir", alone)
        assert done.returncode == cell.exit_code, done.stderr
        assert seen(shared) == seen(verdict.judge(journal.load(alone))), cell.id
        assert matrix_results.of_judgement(shared)[:1] == cell.findings[:1]
    assert sorted(served) == [0, 1, 2, 3, 4, 5]
    assert begun.count("") == 1, "the third variant begins with a Vault as the second does, and had it ready and new"
    assert len(set(begun)) == len(begun) == 4
    assert made.issuperset(filter(None, begun))
    for path in place.rglob("*"):
        if path.is_file():
            assert not SECRET_SHAPES.search(path.read_bytes()), path
            assert path.stat().st_mode & 0o077 == 0, path


def servers_of(state: Path) -> list[psutil.Process]:
    """Return every server whose run has its entry below *state*, and every process that rehearses there."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("REHEARSE_STATE") == str(state) or str(state) in " ".join(process.cmdline()):
                found.append(process)
        except psutil.Error:
            continue
    return found


def marked(runs: set[str]) -> list[psutil.Process]:
    """Return every process that carries the mark of one of *runs*."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("REHEARSE_RUN", "").startswith(tuple(runs)):
                found.append(process)
        except psutil.Error:
            continue
    return found


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=["interrupted", "killed"])
def test_nothing_is_left_of_four_cells_that_were_running(number: signal.Signals, tmp_path: Path) -> None:
    """Neither a server nor a directory nor an entry; and the same command goes on."""
    file, place, state = tmp_path / "outage.yaml", tmp_path / "matrix", tmp_path / "state"
    file.write_text(OUTAGE.read_text())
    work = tmp_path / "work"
    work.mkdir()
    words = [
        "matrix",
        str(file),
        "--target",
        "1.8.0,1.9.2,1.9.3,1.11.0",
        "--jobs",
        "4",
        "--force",
        "--run-dir",
        str(place),
    ]
    environment = {**os.environ, "REHEARSE_STATE": str(state), "TMPDIR": str(work)}
    with subprocess.Popen(
        [*REHEARSE, *words], cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as running:
        deadline = time.monotonic() + 300
        while len(list((state / "live").glob("*.json"))) < 8 and time.monotonic() < deadline:
            assert running.poll() is None
            time.sleep(0.1)
        runs = {entry.stem for entry in (state / "live").glob("*.json")}
        assert len(runs) >= 8, "four cells, and the clusters of each"
        while len(marked(runs)) < 16 and time.monotonic() < deadline:
            time.sleep(0.1)
        assert len(marked(runs)) >= 16, "a Vault, two API servers and two etcds of each"
        while not list((state / "live").glob("source-*.json")) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert list((state / "live").glob("source-*.json")), "a Vault for the cell after one of these"
        runs |= {entry.stem for entry in (state / "live").glob("*.json")}
        running.send_signal(number)
        running.communicate(timeout=200)
    assert running.returncode == (130 if number == signal.SIGINT else -signal.SIGKILL)
    deadline = time.monotonic() + 60
    while (marked(runs) or any(work.iterdir()) or servers_of(state)) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert marked(runs) == []
    assert servers_of(state) == []
    assert list(work.iterdir()) == []
    assert list((state / "live").glob("*.json")) == []
    listed = rehearse("matrix", file, "--target", "1.8.0,1.9.2,1.9.3,1.11.0", "--list", "--run-dir", place)
    assert len(listed.stdout.splitlines()) == 4
