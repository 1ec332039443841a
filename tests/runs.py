"""Whole rehearsals for tests: on paper, from a scenario to its judgement in milliseconds, or real and interrupted."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness import __version__
from harness.analysis.verdict import Judgement
from harness.drivers.kind import limits
from harness.drivers.paper.driver import PaperDriver
from harness.errors import MissingPrerequisite
from harness.host import run_traces
from harness.record import events
from harness.record.events import RunStarted
from harness.record.journal import Journal, Record
from harness.rehearsal import rehearsal
from harness.scenario import loading, plan
from harness.scenario.schema import Scenario
from harness.wait import until

SCENARIOS = Path(__file__).parent.parent / "scenarios"
OUTAGE = SCENARIOS / "the-outage-apps-in-another-cluster-are-refused-after-the-upgrade.yaml"


def started(scenario: Scenario, name: str = "test", driver: str = "paper") -> RunStarted:
    """Return the first event of a run of *scenario*."""
    return RunStarted(
        record_version=events.RECORD_VERSION,
        tool_version=__version__,
        run_id="test-run",
        scenario_file=f"{name}.yaml",
        scenario=scenario.model_dump(mode="json", by_alias=True),
        plan=plan.make(scenario, name, driver),
        command=("rehearse", "run", f"{name}.yaml"),
    )


def on_paper(scenario: Scenario, directory: Path, **driver: Any) -> tuple[Record, Judgement]:
    """Rehearse *scenario* on paper in *directory*; *driver* holds arguments of the PaperDriver."""
    with Journal.opened(directory) as journal:
        return rehearsal.rehearse(started(scenario), PaperDriver(**driver), journal)


def fits_kind(name: str) -> bool:
    """Can kind clusters have what a shipped scenario has? What they cannot is refused before anything starts."""
    try:
        limits.insist(plan.make(loading.load(SCENARIOS / f"{name}.yaml").scenario, name, "kind"))
    except MissingPrerequisite:
        return False
    return True


def variant(scenario: Scenario, **changes: Any) -> Scenario:
    """Return *scenario* with parts replaced: `vault={"target": "1.9.2"}` changes one field, and so on down."""
    return Scenario.model_validate_json(json.dumps(_merged(scenario.model_dump(mode="json", by_alias=True), changes)))


def _merged(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    merged = dict(old)
    for name, value in new.items():
        both = isinstance(value, dict) and isinstance(merged.get(name), dict)
        merged[name] = _merged(merged[name], value) if both else value
    return merged


def signalled(
    words: Sequence[str], environment: Mapping[str, str], line: str, number: signal.Signals
) -> tuple[int, str]:
    """Start a run, send it a signal once it has said *line*; return how it ended, and what it said after that."""
    with subprocess.Popen(
        [sys.executable, "-m", "harness", *words],
        env=environment,
        cwd=SCENARIOS.parent,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        assert running.stderr is not None
        assert any(line in said for said in running.stderr)
        running.send_signal(number)
        said = running.stderr.read()
    return running.returncode, said


def kill_everybody(entry: Path) -> None:
    """Kill harness, supervisor and watcher of the run that is on record in *entry*, so that none can clear up.

    They are stopped first: else whoever still lives sees the others die, and begins. Returns when they and the run's
    servers are dead: a process may live on for a while after its SIGKILL, and hold what it has.
    """
    known = json.loads(entry.read_text())
    doomed = [known[who] for who in ("watcher", "supervisor", "harness")]
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for one in doomed:
            os.kill(one["pid"], number)
        if number == signal.SIGSTOP:
            until(lambda: all(run_traces.is_stopped(one["pid"]) for one in doomed), what="all to stop", seconds=30)
    all_of_it = [(one["pid"], one["started"]) for one in (*doomed, *known["children"])]
    until(lambda: not any(run_traces.lives(*one) for one in all_of_it), what="their ends", seconds=30)


if __name__ == "__main__":
    print(*(file for file in sys.argv[1:] if fits_kind(Path(file).stem)))  # noqa: T201  # the nightly session asks
