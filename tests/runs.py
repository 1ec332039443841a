"""Whole rehearsals on paper for tests: a scenario in, a record and its judgement out, in milliseconds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness import __version__, events, journal, plan, rehearsal
from harness.drivers.paper import PaperDriver
from harness.events import RunStarted
from harness.journal import Journal, Record
from harness.scenario import Scenario
from harness.verdict import Judgement

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
    with Journal.opened(directory) as book:
        judgement = rehearsal.rehearse(started(scenario), scenario, PaperDriver(**driver), book)
    return journal.load(directory), judgement


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
