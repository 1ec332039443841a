"""Every step of a course on real servers as processes: what becomes of it, and what a kill in it leaves."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest

from harness.record import journal
from harness.record.events import LateWritten, MomentBegan, StepEnded
from tests import courses
from tests.test_kind import essence
from tests.test_real import REHEARSE, ROOT, SECRET_SHAPES, ours, rehearse, until_gone, work_directories
from tests.test_real_stops import vault_of
from tests.versions_at_hand import further

pytestmark = pytest.mark.real


@pytest.mark.parametrize(
    ("place", "storage", "tls"),
    [("inside", "raft", True), ("inside", "file", True), ("outside", "raft", False), ("outside", "file", False)],
)
def test_a_course_with_every_step_is_gone_and_judged_as_on_paper(
    place: str, storage: str, tls: bool, tmp_path: Path
) -> None:
    """Each login is answered and reviewed as it should be; what is lost is lost; nothing is left, and no secret."""
    file = courses.scenario(tmp_path / "course.yaml", place, storage, tls=tls)
    directory = tmp_path / f"course-{os.getpid()}-{place}-{storage}"
    done = rehearse("run", file, "--driver", "local", "-o", "json", "--run-dir", directory)
    judgement = json.loads(done.stdout)
    assert (judgement["verdict"], done.returncode) == ("fail", 1), done.stderr
    assert courses.logins(judgement) == courses.expected(place)
    assert courses.late(judgement) == courses.LATE
    paper = rehearse("run", file, "--driver", "paper", "-o", "json", "--run-dir", tmp_path / "paper")
    assert courses.logins(json.loads(paper.stdout)) == courses.logins(judgement)
    assert essence(judgement)["findings"] == essence(json.loads(paper.stdout))["findings"]
    assert not ours(directory)
    assert not work_directories(directory)
    for path in directory.rglob("*"):
        assert not path.is_file() or not SECRET_SHAPES.search(path.read_bytes()), path


QUORUM = """\
schema: 1
description: Three nodes, of which two are away. What does the one that is left answer?
clusters: {{}}
vault: {{source: {version}, nodes: 3}}
auth: {{approle: {{type: approle, roles: {{web: {{policies: [web]}}}}}}}}
apps: {{web: {{mount: approle, role: web, reads: [secret/web]}}}}
course:
  - {{stop-node: vault-1, then-look: false}}
  - stop-node: {other}
  - wait: 12s
  - look: {{}}
"""


@pytest.mark.parametrize(
    ("version", "other", "status"),
    [
        ("1.9.2", "vault-2", 307),
        ("1.11.0", "vault-2", 500),
        ("1.11.0", "vault-0", 307),
        pytest.param("1.19.0", "vault-2", 500, marks=further("vault:1.19.0")),
        pytest.param("1.19.0", "vault-0", 307, marks=further("vault:1.19.0")),
    ],
)
def test_who_is_left_without_a_quorum_answers_as_on_paper(
    version: str, other: str, status: int, tmp_path: Path
) -> None:
    """The one that led knows nobody from 1.11.0 on; one that stood by redirects to who led."""
    file = tmp_path / "quorum.yaml"
    file.write_text(QUORUM.format(version=version, other=other))

    def told(driver: str) -> set[tuple[str, str, int | None, str]]:
        done = rehearse("run", file, "--driver", driver, "-o", "json", "--run-dir", tmp_path / driver)
        judgement = json.loads(done.stdout)
        assert (judgement["verdict"], done.returncode) == ("fail", 1), done.stderr
        return {
            (one["probe"], one.get("node", ""), one.get("status"), one.get("error", ""))
            for one in judgement["observations"]
            if one["moment"] == "look"
        }

    real = told("local")
    assert {one[2] for one in real if one[0] in ("login", "wrong-secret", "role")} == {status}
    assert real == told("paper")


def until_stopped(running: subprocess.Popen[str], directory: Path, version: str) -> None:
    """Return once the run has no Vault of *version* any more."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and running.poll() is None:
        if not any(f"/vault/{version}-" in word for process in ours(directory) for word in words_of(process)[:1]):
            return
        time.sleep(0.01)
    running.kill()
    raise AssertionError(f"Vault {version} was never stopped: {running.communicate()}")


def words_of(process: psutil.Process) -> list[str]:
    """Return the command line of a process; nothing of one that has ended."""
    try:
        return process.cmdline()
    except psutil.Error:
        return []


@pytest.mark.parametrize("storage", ["raft", "file"])
@pytest.mark.parametrize("step", ["snapshot", "roll-back"])
def test_a_run_that_is_killed_in_a_step_leaves_nothing(step: str, storage: str, tmp_path: Path) -> None:
    """SIGKILL while the snapshot is taken, and once the Vault over the snapshot is there: its files go as well."""
    file = courses.scenario(tmp_path / "course.yaml", "outside", storage, steps=courses.SHORT)
    directory = tmp_path / f"killed-{os.getpid()}-{int(time.time() * 1000)}"
    words = [*REHEARSE, "run", str(file), "--driver", "local", "--run-dir", str(directory)]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True, cwd=ROOT) as running:
        assert running.stderr is not None
        assert any(
            ("probes before" if step == "snapshot" else "probes after 1.11.0") in said for said in running.stderr
        )
        if step == "roll-back":
            # over raft there is a Vault of the older version before, into which the snapshot is restored
            until_stopped(running, directory, "1.11.0")
            vault_of(running, directory, "1.7.0")
        running.send_signal(signal.SIGKILL)
    record = journal.load(directory)
    assert record.of(MomentBegan)[-1].moment == ("before" if step == "snapshot" else "after 1.11.0")
    assert step not in [one.do for one in record.of(StepEnded)]
    assert bool(record.of(LateWritten)) is (step == "roll-back")
    until_gone(directory)
    judged = rehearse("judge", directory, "-o", "json")
    assert (judged.returncode, json.loads(judged.stdout)["verdict"]) == (4, "inconclusive")
