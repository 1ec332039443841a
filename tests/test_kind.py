"""The shipped scenarios on kind clusters: they are judged as on paper and on processes, and nothing is left behind."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from harness.clients import container_engine
from harness.clients.container_engine import Engine, Thing
from harness.record import journal
from harness.record.events import VaultAuditLine
from tests.runs import fits_kind
from tests.test_real import SECRET_SHAPES, ours, rehearse, work_directories
from tests.test_scenarios import PROMISED

pytestmark = pytest.mark.kind

MADE_UP = re.compile(
    r"https://[\d.]+:\d+|sha256:\w+ \(\d+ characters\)|\d{4}-\d\d-\d\d[ T][\d:.]+(?:Z| UTC)?"
    r"|token mac for .*? is incorrect"
)
"""What differs from run to run: addresses, certificates, dates, and the inside of a token that Vault declines."""


@pytest.fixture(scope="module")
def machine() -> Engine:
    """The engine of this machine."""
    return container_engine.reach(os.environ)


def things(machine: Engine, directory: Path) -> list[Thing]:
    """Return every container, network and volume of the run in *directory*."""
    return [thing for thing in machine.leftovers() if thing.run.startswith(directory.name[:40])]


def essence(judgement: dict[str, Any]) -> dict[str, Any]:
    """Return what a judgement says of Vault, without what differs from run to run and from driver to driver."""
    findings = [
        {key: finding[key] for key in ("kind", "effect", "rule", "confidence", "app", "mount", "hop", "sentence")}
        for finding in judgement["findings"]
    ]
    answers = [
        [seen[key] for key in ("moment", "probe", "app", "mount", "item", "answer", "status", "error")]
        for seen in judgement["observations"]
    ]
    reviewing = [
        {key: row[key] for key in ("app", "moment", "status", "should_present", "reviewer", "user", "review_status")}
        for row in judgement["reviewing"]
    ]
    picked = {
        "verdict": judgement["verdict"],
        "as_expected": judgement["as_expected"],
        "findings": findings,
        "answers": answers,
        "reviewing": reviewing,
        "not checked": judgement["not_checked"],
    }
    text = MADE_UP.sub("...", json.dumps(picked))
    plain: dict[str, Any] = json.loads(text)
    return plain


def heard(directory: Path) -> list[tuple[str, str, str]]:
    """Return every request that Vault's audit log has of a run's moments: evidence, wherever Vault writes it."""
    lines: list[VaultAuditLine] = journal.load(directory).of(VaultAuditLine)
    return sorted((line.moment, line.entry["request"]["operation"], line.entry["request"]["path"]) for line in lines)


@pytest.mark.parametrize("name", [name for name in sorted(PROMISED) if fits_kind(name)])
def test_a_scenario_is_judged_alike_by_every_driver(name: str, tmp_path: Path, machine: Engine) -> None:
    """Kind, processes and paper give one judgement; of the run on kind nothing is left, and no secret is written."""
    directory = tmp_path / f"{os.getpid()}-{name}"
    file = f"scenarios/{name}.yaml"
    done = rehearse("run", file, "--driver", "kind", "-o", "json", "--run-dir", directory)
    assert done.returncode == 0, done.stderr
    on_kind = json.loads(done.stdout)
    verdict, findings = PROMISED[name]
    assert on_kind["verdict"] == verdict
    assert [(f["kind"], f["effect"], f["rule"], f["hop"]) for f in on_kind["findings"]] == list(findings)
    assert all(len(artifact["sha256"]) == 64 and artifact["source"] for artifact in on_kind["artifacts"])

    assert things(machine, directory) == []
    assert not ours(directory)
    assert not work_directories(directory)
    for path in directory.rglob("*"):
        if path.is_file():
            assert not SECRET_SHAPES.search(path.read_bytes()), path
            assert path.stat().st_mode & 0o077 == 0, path

    local = rehearse("run", file, "--driver", "local", "-o", "json", "--run-dir", tmp_path / "local")
    assert essence(on_kind) == essence(json.loads(local.stdout))
    assert heard(directory) == heard(tmp_path / "local")
    paper = rehearse("run", file, "--driver", "paper", "-o", "json", "--run-dir", tmp_path / "paper")
    on_paper = json.loads(paper.stdout)
    for part in ("verdict", "as_expected"):
        assert on_paper[part] == on_kind[part]
