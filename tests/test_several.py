"""Several scenarios are one job: one summary, one JUnit file, one exit code, and nothing of them outlives it."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from harness import wait
from harness.errors import NotReady
from harness.host import capacity
from harness.reports import expect, table
from harness.scenario import loading
from tests.runs import OUTAGE, SCENARIOS, on_paper
from tests.test_cli import expecting, own_signals, rehearse, run

__all__ = ["own_signals"]

LONG_LIVED = SCENARIOS / "a-long-lived-reviewer-survives-the-upgrade.yaml"
COMMAND = [sys.executable, "-m", "harness"]


# --- several at once ---


@pytest.mark.processes
def test_several_are_reported_as_one(tmp_path: Path) -> None:
    """A regression of one is the exit code of all; each has a suite, a page and a record of its own."""
    folder = tmp_path / "scenarios"
    (folder / "deep").mkdir(parents=True)
    expecting(OUTAGE, folder / "deep")
    (folder / LONG_LIVED.name).write_text(LONG_LIVED.read_text())
    files = ("--junit", tmp_path / "suite.xml", "--markdown", tmp_path / "page.md", "--run-dir", tmp_path / "runs")
    result = rehearse("run", folder, "--driver", "paper", "--jobs", "2", *files)
    assert result.exit_code == 1, result.output
    lines = result.stdout.splitlines()
    assert lines[-1] in (
        "FAIL  2 scenarios: 1 PASS, 1 FAIL; exit 1",
        "FAIL  2 scenarios: 1 FAIL, 1 PASS; exit 1",
    )
    assert [line for line in lines if line.startswith("PASS") and line.endswith(LONG_LIVED.stem)]
    assert any("regression  login refused: web" in line for line in lines)
    root = ET.parse(tmp_path / "suite.xml").getroot()
    assert {suite.attrib["name"] for suite in root.iter("testsuite")} == {OUTAGE.stem, LONG_LIVED.stem}
    assert root.attrib["failures"] == "1"
    assert int(root.attrib["tests"]) == len(list(root.iter("testcase")))
    page = (tmp_path / "page.md").read_text()
    assert page.startswith("# FAIL  2 scenarios: ")
    assert page.count("\n## ") == 2
    for name in (OUTAGE.stem, LONG_LIVED.stem):
        assert (tmp_path / "runs" / name / "record.jsonl").exists()
        assert "[1/2]" in result.stderr


@pytest.mark.processes
def test_several_as_json_are_one_document(tmp_path: Path) -> None:
    again = tmp_path / "other" / OUTAGE.name
    again.parent.mkdir()
    again.write_text(OUTAGE.read_text())
    words = ("--driver", "paper", "-o", "json", "-q", "--run-dir", tmp_path / "runs")
    result = rehearse("run", OUTAGE, again, *words)
    document = json.loads(result.stdout)
    assert (result.exit_code, result.stderr, document["exit_code"]) == (0, "", 0)
    assert [one["outcome"] for one in document["runs"]] == ["expected-fail"] * 2
    assert len({one["run_directory"] for one in document["runs"]}) == 2


@pytest.mark.processes
def test_one_that_cannot_be_rehearsed_is_told_and_keeps_no_other_from_it(tmp_path: Path) -> None:
    """A binary that is not available is exit 3, with its sentence, an error in JUnit, and the other's result."""
    environment = {"REHEARSE_CACHE": str(tmp_path / "cache"), "REHEARSE_OFFLINE": "1", "PATH": str(tmp_path)}
    files = ("--junit", tmp_path / "suite.xml", "--run-dir", tmp_path / "runs")
    result = rehearse("run", OUTAGE, LONG_LIVED, "--driver", "local", *files, env=environment)
    assert result.exit_code == 3, result.output
    assert result.stdout.splitlines()[-1] == "NOT DONE  2 scenarios: 2 INCONCLUSIVE; exit 3"
    assert "--offline" in result.stdout
    root = ET.parse(tmp_path / "suite.xml").getroot()
    assert int(root.attrib["errors"]) >= 2


@pytest.mark.parametrize(
    ("codes", "worst"),
    [
        ([0, 0], 0),
        ([0, 4, 0], 4),
        ([4, 3], 3),
        ([3, 1, 4], 1),
        ([1, 5], 5),
        ([5, 130], 130),
        ([0, 77], 3),
        ([0, 2], 2),
    ],
)
def test_the_worst_stands_for_all(codes: list[int], worst: int) -> None:
    """What was left behind is worse than a regression, which is worse than what nobody knows."""
    rows = [table.Row("a", "PASS", code, 1.0, "/runs/a") for code in codes]
    assert table.worst(rows) == worst


def test_nothing_is_started_where_one_of_them_is_wrong(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("schema: 1\n")
    result = rehearse("run", OUTAGE, wrong, "--driver", "paper", "--run-dir", tmp_path / "runs")
    assert result.exit_code == 2
    assert "1 of 2 scenarios cannot be run as they stand; nothing was started" in result.stderr
    assert not (tmp_path / "runs").exists()


def test_more_at_a_time_than_the_machine_carries_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What each of them may take is not too much; what they take together is, and nothing is started."""
    monkeypatch.setattr(capacity, "measure", lambda _work: capacity.Machine(10**12, 1, 10**12))
    result = rehearse("run", SCENARIOS, "--driver", "local", "--jobs", "8", "--run-dir", tmp_path / "runs")
    assert result.exit_code == 3
    assert "clusters are too many for this machine: 1 cores carry 5" in result.stderr
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("words", [["--keep", "1"], ["--write-expect"]])
def test_what_is_for_one_is_refused_for_several(words: list[str]) -> None:
    result = rehearse("run", OUTAGE, LONG_LIVED, "--driver", "local", *words)
    assert result.exit_code == 2
    assert f"{words[0]} is for one scenario at a time, and these are 2" in result.stderr


# --- nothing outlives it ---

SLOW = """
import os, sys
if "--tethered" in sys.orig_argv or "--slow" in os.environ.get("SLOW", ""):
    sys.path.insert(0, {root!r})
    import contextlib, pathlib, time
    from harness.drivers.paper.driver import PaperDriver
    usual = PaperDriver.up
    @contextlib.contextmanager
    def up(self, plan, run_id, book):
        with book.phase("the slow part"):
            pathlib.Path({notes!r}, str(os.getpid())).touch()
            time.sleep({seconds})
        with usual(self, plan, run_id, book) as rig:
            yield rig
    PaperDriver.up = up
"""


def slow(directory: Path, seconds: float) -> tuple[Path, dict[str, str]]:
    """Return where each slow rehearsal leaves its pid, and the environment that makes them slow."""
    notes = directory / "notes"
    notes.mkdir()
    text = SLOW.format(root=str(SCENARIOS.parent), notes=str(notes), seconds=seconds)
    (directory / "sitecustomize.py").write_text(text)
    return notes, {**os.environ, "PYTHONPATH": str(directory)}


@pytest.mark.processes
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_none_outlives_the_one_that_began_them(number: signal.Signals, tmp_path: Path) -> None:
    """Interrupted or killed, the one program takes the others with it: each ends what it has, and then itself."""
    notes, environment = slow(tmp_path, 300)
    words = ["run", str(OUTAGE), str(LONG_LIVED), "--driver", "paper", "--jobs", "2"]
    with subprocess.Popen(
        [*COMMAND, *words, "--run-dir", str(tmp_path / "runs")],
        env=environment,
        cwd=SCENARIOS.parent,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        wait.until(lambda: len(list(notes.iterdir())) == 2, what="both to have begun", seconds=60)
        pids = [int(note.name) for note in notes.iterdir()]
        running.send_signal(number)
        assert running.stderr is not None
        said = running.stderr.read()
    assert running.returncode == (130 if number != signal.SIGKILL else -signal.SIGKILL)
    assert number == signal.SIGKILL or "all rehearsals were ended" in said
    wait.until(lambda: not any(alive(pid) for pid in pids), what="all to have ended", seconds=30)
    for name in (OUTAGE.stem, LONG_LIVED.stem):
        assert (tmp_path / "runs" / name / "record.jsonl").exists()


def alive(pid: int) -> bool:
    """Does a process run under this number? One that has ended and waits to be noticed does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False


# --- what goes on now ---


def on_a_terminal(words: list[str], environment: dict[str, str]) -> str:
    """Return all that a terminal gets to see."""
    ours, theirs = pty.openpty()
    seen = b""
    with subprocess.Popen([*COMMAND, *words], env=environment, cwd=SCENARIOS.parent, stdout=theirs, stderr=theirs):
        os.close(theirs)
        while True:
            try:
                seen += os.read(ours, 4096)
            except OSError:
                break
    os.close(ours)
    return seen.decode()


@pytest.mark.processes
@pytest.mark.parametrize(
    ("told", "animated"),
    [({"TERM": "xterm"}, True), ({"TERM": "dumb"}, False), ({"TERM": "xterm", "NO_COLOR": "1"}, False)],
)
def test_a_terminal_shows_what_goes_on_now(told: dict[str, str], animated: bool, tmp_path: Path) -> None:
    """With its seconds, in a line that is written over; one that can do no such thing gets no escape code at all."""
    _, environment = slow(tmp_path, 1.5)
    words = ["run", str(OUTAGE), "--driver", "paper", "--run-dir", str(tmp_path / "run")]
    seen = on_a_terminal(words, {**environment, "SLOW": "--slow", **told})
    assert ("the slow part 1 s" in seen) == animated
    assert bool(re.search(r"0:0\d; 1 of 5: Vault 1.4.0; ", seen)) == animated
    assert ("\x1b[" in seen) == animated
    assert "XFAIL (expected)" in seen


def test_without_a_terminal_a_line_says_what_takes_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """After ten seconds, thirty and every minute, once each."""
    from harness.cli import progress

    clock, said = [0.0], list[str]()

    class Watch:
        def __init__(self) -> None:
            self._began = clock[0]

        @property
        def seconds(self) -> float:
            return clock[0] - self._began

    monkeypatch.setattr(progress, "Stopwatch", Watch)
    going = progress.Progress()
    going.begin("artifacts")
    for second in range(200):
        clock[0] = float(second)
        said += going._late()
    assert said == [f"  ...  {second} s, and still: artifacts" for second in (10, 30, 60, 120, 180)]
    assert going.now() == "artifacts 199 s"
    going.end("artifacts")
    assert (going.now(), going._late()) == ("", [])


def test_the_line_that_is_written_over_says_how_far_the_course_has_come(tmp_path: Path) -> None:
    """How long all of it has taken, which stage of how many, and what is waited for; no stage is left at the end."""
    from harness.cli import progress

    record, _ = on_paper(loading.load(OUTAGE).scenario, tmp_path)
    going, stages = progress.Progress(quiet=True), list[str]()
    for event in record.events:
        going.follow(event)
        stages.append(going.stage())
    told = [one for one in dict.fromkeys(stages) if one]
    assert told == [
        "1 of 5: Vault 1.4.0",
        "2 of 5: Vault 1.7.0",
        "3 of 5: asking before",
        "4 of 5: Vault 1.11.0",
        "5 of 5: asking after 1.11.0",
    ]
    assert stages[-1] == ""
    going.begin("unseal 1.11.0")
    assert going._rendered().plain == "  0:00; unseal 1.11.0 0 s"


@pytest.mark.processes
def test_what_takes_long_is_told_where_nothing_can_be_written_over(tmp_path: Path) -> None:
    _, environment = slow(tmp_path, 11.5)
    words = ["run", str(OUTAGE), "--driver", "paper", "--run-dir", str(tmp_path / "run")]
    done = subprocess.run(
        [*COMMAND, *words],
        env={**environment, "SLOW": "--slow"},
        capture_output=True,
        text=True,
        cwd=SCENARIOS.parent,
        check=False,
    )
    assert "  ...  10 s, and still: the slow part" in done.stderr
    assert "\x1b" not in done.stderr


# --- validate ---


def test_validate_searches_directories_and_reads_stdin(tmp_path: Path) -> None:
    result = rehearse("validate", SCENARIOS)
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [f"{file}: fine" for file in sorted(SCENARIOS.rglob("*.yaml"))]
    fine = rehearse("validate", "-", input=OUTAGE.read_bytes())
    assert (fine.exit_code, fine.stdout) == (0, "<stdin>: fine\n")
    wrong = rehearse("validate", "-", OUTAGE, input=b"schema: 2\n")
    assert wrong.exit_code == 2
    assert "<stdin>:1:9: another schema" in wrong.stderr
    assert f"{OUTAGE}: fine" in wrong.stdout
    nothing = rehearse("validate", tmp_path)
    assert nothing.exit_code == 2
    assert "there is no *.yaml below this directory" in nothing.stderr


# --- what was seen, as an expect ---


@pytest.mark.parametrize("scenario", sorted(SCENARIOS.glob("*.yaml")), ids=lambda file: file.stem)
def test_what_was_seen_can_be_pasted_in(scenario: Path, tmp_path: Path) -> None:
    """The block is all there is on stdout, and with it the same run is exit 0; so it is out of the record."""
    bare = expecting(scenario, tmp_path)
    first = run(bare, tmp_path / "first", "--write-expect")
    assert first.stdout.startswith("expect:")
    assert rehearse("judge", tmp_path / "first", "--write-expect").stdout == first.stdout
    pasted = expecting(scenario, tmp_path, first.stdout)
    again = run(pasted, tmp_path / "again")
    assert again.exit_code == 0, again.output
    assert len(loading.load(pasted).scenario.expect or ()) == first.stdout.count("  - {")


def test_nothing_is_written_where_no_expect_would_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.test_cli import breaking

    breaking(monkeypatch, NotReady("the API server of apps did not answer"))
    result = run(OUTAGE, tmp_path / "run", "--write-expect")
    assert (result.exit_code, result.stdout) == (3, "")
    assert "no `expect` makes this run exit 0: " in result.stderr


@pytest.mark.parametrize(
    ("text", "written"),
    [("login refused", "login refused"), ("1.11.0", "1.11.0"), ("null", '"null"'), ("1-2", '"1-2"'), ("no", '"no"')],
)
def test_a_name_that_yaml_takes_for_something_else_is_quoted(text: Any, written: str) -> None:
    assert expect._scalar(text) == written
