"""The outage over versions beyond the core, where they are cached: Vault up to today's, and other Kubernetes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.knowledge import versions
from tests.runs import OUTAGE
from tests.versions_at_hand import further

pytestmark = pytest.mark.real

ROOT = Path(__file__).parent.parent
VAULTS = ("1.5.0", "1.6.0", "1.10.0", "1.12.0", "1.13.0", "1.15.0", "1.16.3", "1.17.0", "1.18.0", "1.19.0", "1.21.2")
KUBERNETES = ("1.24.0", "1.29.0", "1.31.0", "1.34.0", "1.35.0")


def rehearsed(scenario: str, directory: Path) -> dict[str, Any]:
    """Rehearse the text of a *scenario* as a user would, and return the judgement."""
    file = directory / "one.yaml"
    file.write_text(scenario)
    done = subprocess.run(
        [sys.executable, "-m", "harness", "run", str(file), "--offline", "-o", "json"],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
        cwd=ROOT,
        env={**os.environ, "REHEARSE_STATE": str(directory / "state")},
    )
    assert done.returncode in (0, 1), done.stderr
    return json.loads(done.stdout)  # type: ignore[no-any-return]


@pytest.mark.parametrize("target", [pytest.param(each, marks=further(f"vault:{each}")) for each in VAULTS])
def test_the_outage_is_judged_right_at_every_target(target: str, tmp_path: Path) -> None:
    """From 1.9.3 on the login is refused and the cause is named, before it nothing changes; a trimmed build says so."""
    source = "1.4.0" if versions.parse(target) < versions.parse("1.7.0") else "1.7.0"
    text = OUTAGE.read_text().partition("expect:")[0]
    text = text.replace("target: 1.11.0", f"target: {target}").replace("source: 1.7.0", f"source: {source}")
    judgement = rehearsed(text, tmp_path)

    refused = versions.at_least(target, "1.9.3")
    assert judgement["verdict"] == ("fail" if refused else "pass"), judgement["reasons"]
    regressions = [(one["effect"], one["rule"]) for one in judgement["findings"] if one["kind"] == "regression"]
    assert regressions == ([("login refused", "reviewer-fallback-local")] if refused else [])
    (used,) = [one for one in judgement["artifacts"] if (one["product"], one["version"]) == ("vault", target)]
    built = "built from Go modules" in used["source"]
    assert bool(used["trimmed"]) == (built and versions.at_least(target, "1.18.0"))


@pytest.mark.parametrize(
    "kubernetes", [pytest.param(each, marks=further(f"kube-apiserver:{each}")) for each in KUBERNETES]
)
def test_the_outage_is_the_same_on_every_kubernetes(kubernetes: str, tmp_path: Path) -> None:
    text = OUTAGE.read_text().replace("kubernetes: 1.32.0", f"kubernetes: {kubernetes}")
    judgement = rehearsed(text, tmp_path)

    assert judgement["as_expected"], judgement["reasons"]
    assert judgement["versions"]["kubernetes"] == dict.fromkeys(("platform", "apps"), kubernetes)
