"""Whole rehearsals for tests: on paper, from a scenario to its judgement in milliseconds, or real and interrupted."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness import __version__
from harness.analysis.verdict import Judgement
from harness.drivers.paper.driver import PaperDriver
from harness.record import events
from harness.record import journal as journals
from harness.record.events import RunStarted
from harness.record.journal import Journal, Record
from harness.rehearsal import rehearsal
from harness.scenario import plan
from harness.scenario.schema import Scenario

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
        judgement = rehearsal.rehearse(started(scenario), PaperDriver(**driver), journal)
    return journals.load(directory), judgement


def variant(scenario: Scenario, **changes: Any) -> Scenario:
    """Return *scenario* with parts replaced: `vault={"target": "1.9.2"}` changes one field, and so on down."""
    return Scenario.model_validate_json(_json(_merged(scenario.model_dump(mode="json", by_alias=True), changes)))


def _merged(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    merged = dict(old)
    for name, value in new.items():
        both = isinstance(value, dict) and isinstance(merged.get(name), dict)
        merged[name] = _merged(merged[name], value) if both else value
    return merged


def _json(value: Any) -> str:
    import json

    return json.dumps(value)


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
