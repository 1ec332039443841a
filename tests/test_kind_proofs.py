"""Remedies proven on kind clusters: of a Vault in a Pod, and of one in a container beside the cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.clients.container_engine import Engine
from tests.runs import OUTAGE
from tests.test_kind_faults import Harbour, foreign, image, machine, own_ways  # noqa: F401  # fixtures
from tests.test_proving import SCENARIOS_OF
from tests.test_real import SECRET_SHAPES
from tests.test_real_proofs import written

pytestmark = pytest.mark.kind


def proven(file: Path, harbour: Harbour) -> dict[str, Any]:
    """Rehearse *file* on kind clusters and try its remedies. Nothing may be left, and no secret in any record."""
    ending, directory = harbour.rehearse(file, "--prove-remedy")
    judgement: dict[str, Any] = ending.judgement
    assert (judgement["left_behind"], judgement["troubles"]) == ("", [])
    assert harbour.left(directory) == []
    for path in directory.rglob("*"):
        assert not path.is_file() or not SECRET_SHAPES.search(path.read_bytes()), path
    assert [(one["sentence"], one["state"]) for one in judgement["proofs"] if one["state"] != "mends"] == []
    assert judgement["unproven"] == []
    return judgement


def test_the_outages_remedies_mend_in_pods(machine: Engine, tmp_path: Path) -> None:  # noqa: F811
    """In time and afterwards; and the app's token is seen to review somebody else's."""
    judgement = proven(OUTAGE, Harbour(tmp_path, machine))
    assert [(one["remedy"], one["timing"]) for one in judgement["proofs"]] == [
        (0, "before"),
        (0, "after"),
        (1, "before"),
        (1, "after"),
    ]
    assert [[risk["shown"] for risk in one["risks"]] for one in judgement["proofs"]] == [[True], [True], [], []]
    assert judgement["exit_code"] == 0


def test_an_apps_new_pod_has_the_audience_that_the_role_demands(machine: Engine, tmp_path: Path) -> None:  # noqa: F811
    """With a Vault beside the cluster, whose container is another one for each proof."""
    file = written(SCENARIOS_OF["audience-mismatch, with a reviewer"], tmp_path)
    project, loosen = proven(file, Harbour(tmp_path, machine))["proofs"]
    assert (project["remedy"], project["added"]) == (0, [])
    assert loosen["added"] == ["role web of auth/kubernetes takes tokens of any audience"]
