"""`--write-expect`: what was seen, pasted into the scenario, makes the same run exit 0, and means those findings."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from harness.cli import commands
from tests import courses
from tests.runs import SCENARIOS
from tests.test_cli import expecting

TWICE: tuple[dict[str, Any], ...] = (
    {"upgrade": "1.11.0"},
    {"write": {"config": {"disable_local_ca_jwt": True}}},
    {"write": {"config": {"kubernetes_ca_cert": "cluster"}}},
    {"roll-back": "binary"},
    {"upgrade": "1.11.0"},
    {"restart": {}},
)
"""1.11.0 serves at five moments, and refuses at two of them for the same reason."""


def rehearsed(file: Path, directory: Path, *words: str) -> tuple[int, str]:
    """Rehearse on paper and return the exit code and what is on stdout."""
    arguments = ["run", str(file), "--driver", "paper", "--run-dir", str(directory), *words]
    done = CliRunner().invoke(commands.main, arguments)
    return done.exit_code, done.stdout


def course_of(tmp_path: Path, steps: Sequence[dict[str, Any]], **changed: Any) -> Path:
    """Write the outage's scenario, with a course in place of its path, without an `expect`."""
    file = tmp_path / "course.yaml"
    document = json.loads(courses.scenario(file, "outside", "raft", steps=steps).read_text())
    document["clusters"]["platform"] = {"kubernetes": "1.32.0"}
    document["vault"] |= {"cluster": "platform", "service-account": "vault/vault"}
    file.write_text(json.dumps(document | changed))
    return file


def pasted(file: Path, block: str) -> Path:
    """Put a block into a scenario that is JSON."""
    document = json.loads(file.read_text()) | yaml.safe_load(block)
    written = file.with_name("pasted.yaml")
    written.write_text(json.dumps(document))
    return written


@pytest.mark.parametrize("words", [(), ("--rollback",)], ids=["forward", "and back"])
@pytest.mark.parametrize("scenario", sorted(SCENARIOS.glob("*.yaml")), ids=lambda file: file.stem)
def test_a_shipped_scenario_expects_what_it_was_seen_to_do(
    scenario: Path, words: tuple[str, ...], tmp_path: Path
) -> None:
    """Its ways back too, which no version that it names leads to."""
    _, block = rehearsed(expecting(scenario, tmp_path), tmp_path / "first", *words, "--write-expect")
    assert block.startswith("expect:")
    code, said = rehearsed(expecting(scenario, tmp_path, block), tmp_path / "again", *words)
    assert code == 0, said


@pytest.mark.parametrize("words", [(), ("--rollback",)], ids=["as it is", "and back"])
@pytest.mark.parametrize(
    ("steps", "steps_said"),
    [
        (courses.SHORT, []),
        (courses.STEPS, [2, 3, 4, 5, 9, 10]),
        (TWICE, [1, 2, 3, 5]),
        (TWICE[:1], []),
        ([{"restart": {}}, {"revoke": courses.WEB}, {"grant": courses.WEB}], [2, 3]),
    ],
    ids=["short", "every step", "twice", "once", "one version"],
)
def test_a_course_expects_what_it_was_seen_to_do_at_its_steps(
    steps: Sequence[dict[str, Any]], steps_said: list[int], words: tuple[str, ...], tmp_path: Path
) -> None:
    """The step stands there where the version alone would say too little, and nowhere else."""
    file = course_of(tmp_path, steps)
    _, block = rehearsed(file, tmp_path / "first", *words, "--write-expect")
    code, said = rehearsed(pasted(file, block), tmp_path / "again", *words)
    assert code == 0, said
    if not words:
        said_steps = [
            int(line.partition("at-step: ")[2].partition(",")[0]) for line in block.splitlines() if "at-step" in line
        ]
        assert sorted(set(said_steps)) == steps_said


def test_a_pasted_block_holds_a_finding_to_its_step(tmp_path: Path) -> None:
    """One visit of a version later the same refusal is another finding."""
    file = course_of(tmp_path, TWICE)
    _, block = rehearsed(file, tmp_path / "first", "--write-expect")
    later = ({"restart": {}}, *TWICE[:-1])
    other = pasted(course_of(tmp_path, later), block)
    assert rehearsed(other, tmp_path / "again")[0] == 1
