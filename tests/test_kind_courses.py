"""Every step of a course on kind, for both places of Vault: judged as on processes, and nothing is left by a kill."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import wait
from harness.clients.container_engine import Engine
from harness.record import journal
from harness.record.events import LateWritten, StepEnded
from tests import courses
from tests.test_kind import essence
from tests.test_kind_faults import Harbour, Kept, foreign, image, kept, machine, own_ways  # noqa: F401  # fixtures
from tests.test_real import REHEARSE, ROOT, SECRET_SHAPES, rehearse
from tests.test_real_rollbacks import gone_back, scenario, told

pytestmark = pytest.mark.kind


@pytest.mark.parametrize(
    ("place", "storage", "tls"),
    [
        ("inside", "raft", True),
        ("inside", "raft", False),
        ("inside", "file", True),
        ("outside", "raft", True),
        ("outside", "raft", False),
        ("outside", "file", False),
    ],
)
def test_a_course_with_every_step_is_judged_as_on_processes(
    place: str,
    storage: str,
    tls: bool,
    kept: Kept,  # noqa: F811
    tmp_path: Path,
) -> None:
    """Each login is answered and reviewed as it should be; what is lost is lost; nothing is left, and no secret."""
    file = courses.scenario(tmp_path / "course.yaml", place, storage, tls=tls)
    ending, directory = kept.harbour.rehearse(file, "--reuse")
    assert ending.verdict == ("fail", 1), ending.said
    assert courses.logins(ending.judgement) == courses.expected(place)
    assert courses.late(ending.judgement) == courses.LATE
    local = rehearse("run", file, "--driver", "local", "-o", "json", "--run-dir", tmp_path / "local")
    assert essence(ending.judgement) == essence(json.loads(local.stdout))
    assert kept.harbour.left(directory) == []
    for path in directory.rglob("*"):
        assert not path.is_file() or not SECRET_SHAPES.search(path.read_bytes()), path


@pytest.mark.parametrize(("storage", "source", "target"), [("raft", "1.9.2", "1.11.0"), ("file", "1.7.0", "1.9.3")])
def test_both_ways_back_are_rehearsed_as_on_processes(
    storage: str,
    source: str,
    target: str,
    kept: Kept,  # noqa: F811
    tmp_path: Path,
) -> None:
    """They open, who logs in and what is lost is told, and how long it took: a rollout takes seconds."""
    document = json.loads(
        scenario(tmp_path / "back.yaml", source, target, storage).read_text().replace('"one"', f'"{courses.CLUSTER}"')
    )
    file = tmp_path / "back.yaml"
    file.write_text(json.dumps(document))
    ending, directory = kept.harbour.rehearse(file, "--rollback", "--reuse")
    assert ending.verdict == ("pass", 0), ending.said
    assert [way["opened"] for way in ending.judgement["rollbacks"]] == [True, True]
    assert all(1 < way["seconds"] < 60 for way in ending.judgement["rollbacks"])
    local = gone_back(file, tmp_path / f"local-{os.getpid()}", "--rollback")
    assert told(ending.judgement) == told(local)
    assert courses.logins(ending.judgement) == courses.logins(local)
    assert kept.harbour.left(directory) == []


@pytest.fixture
def harbour(tmp_path: Path, machine: Engine) -> Iterator[Harbour]:  # noqa: F811
    """A machine on which nothing may be left."""
    yield Harbour(tmp_path, machine)
    assert not [path for path in (tmp_path / "work").iterdir() if path.name.startswith("rehearse-")]


@pytest.mark.parametrize(
    ("step", "place", "storage"),
    [("snapshot", "outside", "file"), ("roll-back", "outside", "raft"), ("roll-back", "inside", "raft")],
)
def test_a_run_that_is_killed_in_a_step_leaves_nothing(
    step: str, place: str, storage: str, harbour: Harbour, tmp_path: Path
) -> None:
    """SIGKILL in the step: containers and volumes for it go with the rest, and so does the snapshot."""
    file = courses.scenario(tmp_path / "course.yaml", place, storage, steps=courses.SHORT)
    directory, words = harbour.words(file)
    environment = {**os.environ, **harbour.environment}
    with subprocess.Popen(
        [*REHEARSE, *words], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment, cwd=ROOT
    ) as running:
        assert running.stderr is not None
        assert any(
            ("probes before" if step == "snapshot" else "probes after 1.11.0") in said for said in running.stderr
        )
        before = len(harbour.left(directory))
        # a container or a volume more, or in a Pod's case another data folder on the node: the step is on its way
        if place == "outside":
            wait.until(lambda: len(harbour.left(directory)) > before, what="the step to begin", seconds=60, every=0.02)
        else:
            wait.until(lambda: _folders(harbour, directory) > 1, what="the step to begin", seconds=60, every=0.02)
        running.send_signal(signal.SIGKILL)
    record = journal.load(directory)
    assert step not in [one.do for one in record.of(StepEnded)]
    assert bool(record.of(LateWritten)) is (step == "roll-back")
    wait.until(lambda: not harbour.left(directory), what="the last trace of the run", seconds=30)
    judged = harbour.aside("judge", str(directory), "-o", "json")
    assert json.loads(judged.stdout)["verdict"] == "inconclusive"


def _folders(harbour: Harbour, directory: Path) -> int:
    """Return how many folders for Vault's data the node of a run has."""
    (node,) = (
        one.name
        for one in harbour.machine.leftovers()
        if one.run.startswith(f"{directory.name}-") and one.kind == "container"
    )
    return len(harbour.machine.execute(node, ["ls", "/var/lib/rehearsal"]).split())
