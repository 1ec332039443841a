"""A scenario and its axes become cells: each a whole scenario, with a name that stays; what makes none is told."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from harness.errors import ScenarioError
from harness.scenario import loading, matrix
from harness.wait import Stopwatch
from tests.runs import OUTAGE, on_paper

MATRIX = """
matrix:
  axes:
    vault.target: [1.8.0, 1.9.2, 1.9.3, 1.11.0]
    reviewer:
      nobody-chose: {}
      client-jwt: {auth.kubernetes.reviewer: client-jwt, auth.kubernetes.configured: ~}
    topology:
      one-cluster: {auth.kubernetes.cluster: platform, apps.web.cluster: platform}
      two-clusters: {}
  exclude:
    - {where: {target: ..1.9.2, reviewer: client-jwt}, because: the field is set with the upgrade}
  include:
    - {with: {target: 1.13.0, reviewer: nobody-chose, vault.storage: file}, because: an old site}
  expect:
    - where: {target: 1.9.3.., reviewer: nobody-chose, topology: two-clusters}
      expect: [{change: login refused, app: web, cause: reviewer-fallback-local}]
"""


def of(text: str = MATRIX, given: dict[str, list[str]] | None = None) -> tuple[loading.Loaded, tuple[matrix.Cell, ...]]:
    loaded = loading.loads(OUTAGE.read_text() + text, "outage.yaml")
    document = matrix.plain(loaded.scenario)
    return loaded, matrix.cells(document, matrix.read(document, given))


def test_every_combination_is_a_cell_but_for_what_is_excluded() -> None:
    _, cells = of()
    ids = [cell.id for cell in cells]
    assert ids[0] == "target=1.8.0,reviewer=nobody-chose,topology=one-cluster"
    assert ids[-1] == "target=1.13.0,reviewer=nobody-chose,vault.storage=file"
    assert len(ids) == len(set(ids)) == 4 * 2 * 2 - 4 + 1
    assert not [one for one in ids if re.match(r"target=1\.(8\.0|9\.2),reviewer=client-jwt", one)]
    assert cells[-1].because == "an old site"


def test_a_cell_is_a_scenario_of_its_own_that_differs_in_just_what_it_says() -> None:
    """It loads, says what the axes say, and shares nothing with the others."""
    loaded, cells = of()
    by_id = {cell.id: loading.of_cell(loaded, cell) for cell in cells}
    one = by_id["target=1.11.0,reviewer=client-jwt,topology=one-cluster"].scenario
    assert (one.vault.target, one.auth["kubernetes"].reviewer, one.apps["web"].cluster) == (
        "1.11.0", "client-jwt", "platform",
    )  # fmt: skip
    assert one.auth["kubernetes"].configured is None
    assert one.matrix is None
    itself = by_id["target=1.11.0,reviewer=nobody-chose,topology=two-clusters"].scenario
    assert itself == loaded.scenario.model_copy(update={"matrix": None, "expect": itself.expect})
    document = cells[0].document()
    document["apps"]["web"]["reads"].append("secret/other")
    assert cells[0].document()["apps"]["web"]["reads"] == ["secret/web"]
    assert matrix.plain(loaded.scenario)["apps"]["web"]["reads"] == ["secret/web"]


def test_an_expectation_holds_where_it_is_said_and_the_scenarios_own_for_the_scenario_itself() -> None:
    loaded, cells = of()
    expected = {cell.id: loading.of_cell(loaded, cell).scenario.expect for cell in cells}
    said = {one for one, expectations in expected.items() if expectations is not None}
    assert said == {f"target={v},reviewer=nobody-chose,topology=two-clusters" for v in ("1.9.3", "1.11.0")}
    _, plain = of("", {"vault.target": ["1.9.2", "1.11.0"]})
    assert [cell.document().get("expect") is not None for cell in plain] == [False, True]


def test_the_whole_matrix_on_paper_is_as_expected(tmp_path: Path) -> None:
    """The outage happens in the cells where it must, and in no other; the one that is impossible is not among them."""
    loaded, cells = of()
    for number, cell in enumerate(cells):
        _, judgement = on_paper(loading.of_cell(loaded, cell).scenario, tmp_path / str(number))
        broken = "target=1.13.0" in cell.id
        assert judgement.exit_code == (1 if broken else 0), cell.id


@pytest.mark.parametrize(
    ("given", "ids"),
    [
        ({"vault.target": ["1.9..1.10"]}, "target=1.9.10 target=1.10.11"),
        ({"driver": ["local", "kind"]}, "driver=local driver=kind"),
        ({"driver": ["kind"]}, ""),
        ({"vault.token-file": ["true", "unset"]}, "token-file=true token-file=unset"),
        ({"vault.via": ["1.9.2", "1.9.2+1.10.0"]}, "via=1.9.2 via=1.9.2+1.10.0"),
        ({"vault.shares": ["5", "3"], "vault.threshold": ["3"]}, "shares=5,threshold=3 shares=3,threshold=3"),
        (
            {"clusters.apps.kubernetes": ["1.32.0"], "clusters.platform.kubernetes": ["1.31.0"]},
            "apps.kubernetes=1.32.0,platform.kubernetes=1.31.0",
        ),
        ({"apps.web.service-account": ["apps/web", "apps/api"]}, "service-account=apps/web service-account=apps/api"),
        ({"auth.kubernetes.roles.web.ttl": ["1h", "unset"]}, "ttl=1h ttl=unset"),
    ],
)
def test_a_command_line_names_axes_and_cells_have_short_names(given: dict[str, list[str]], ids: str) -> None:
    assert [cell.id for cell in of("", given)[1]] == (ids.split() if ids else [""])


def test_an_axis_of_the_command_line_replaces_the_scenarios_own() -> None:
    _, cells = of(MATRIX, {"vault.target": ["1.10..1.11"]})
    assert {cell.values["target"] for cell in cells} == {"1.10.11", "1.11.12", "1.13.0"}
    assert list(cells[0].values) == ["target", "reviewer", "topology"]


def test_a_driver_of_an_axis_is_the_cells_own() -> None:
    _, cells = of("", {"driver": ["paper", "kind"], "vault.target": ["1.11.0"]})
    assert [cell.driver for cell in cells] == ["paper", "kind"]
    loaded = loading.loads(OUTAGE.read_text())
    document = matrix.plain(loaded.scenario)
    assert [c.driver for c in matrix.cells(document, matrix.read(document), "kind")] == ["kind"]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"auth.kubernets.reviewer": ["local"]}, "auth has no kubernets; right would be: did you mean kubernetes?"),
        ({"vault.tarket": ["1.8.0"]}, "vault has no tarket; right would be: did you mean target?"),
        ({"target": ["1.8.0"]}, "target is no field of this scenario: a scenario has no target"),
        ({"vault.target.x": ["1.8.0"]}, "there is nothing below 'x'"),
        ({"vault.target": ["1.8..1.23"]}, "there is no Vault 1.23"),
        ({"vault.target": ["1.11.x"]}, "'1.11.x' is no end of a range"),
        ({"clusters.apps.kubernetes": ["1.99"]}, "there is no Kubernetes 1.99"),
        ({"auth.kubernetes.reviewer": ["lokal"]}, "lokal cannot be auth.kubernetes.reviewer; right would be: did you"),
        ({"vault.shares": ["many"]}, "many cannot be vault.shares; right would be: a whole number"),
        ({"vault.shares": []}, "vault.shares has no values"),
        ({"driver": ["docker"]}, "there is no driver docker"),
        ({"schema": ["1"]}, "schema is not varied"),
        ({"course.0.upgrade": ["1.8.0"]}, "course has no 0"),
        ({"vault.target": ["all"], "vault.source": ["all"]}, "cells; right would be: at most 20000"),
    ],
)
def test_what_is_no_axis_is_told_with_what_would_be(given: dict[str, list[str]], says: str) -> None:
    with pytest.raises(matrix.MatrixError, match=re.escape(says)):
        of("", given)


def changed(**parts: Any) -> str:
    import yaml

    written = yaml.safe_load(MATRIX)["matrix"] | parts
    return yaml.safe_dump({"matrix": written}, sort_keys=False)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (changed(axes={"vault.target": 1.1}), "1.1 is a number, and vault.target is a version"),
        (changed(axes={"vault.targt": ["1.8.0"]}), "vault has no targt"),
        (changed(axes={"vault.target": {"a": {}}}), "the values of vault.target are a mapping"),
        (changed(axes={"mine": {}}), "mine has no values"),
        (changed(axes={"mine": {"a": 5}}), "mine.a changes nothing"),
        (changed(exclude=[{"where": {"tarjet": "1.8.0"}, "because": "x"}]), "tarjet is no axis of this matrix"),
        (changed(exclude=[{"where": {"reviewer": ["nobody-chose", "client-jwt"]}, "because": "x"}],
                 include=[]), "exclude leaves no cell of this matrix"),
        (changed(include=[{"with": {"target": "1.11.0", "reviewer": "client-jwt", "topology": "one-cluster"},
                           "because": "x"}]), "which is there already"),
        (changed(include=[{"with": {"target": "1.8.0", "reviewer": "client-jwt"}, "because": "x"}]),
         "include adds the cell target=1.8.0,reviewer=client-jwt, which exclude leaves out"),
        (changed(include=[{"with": {"reviewer": "mine"}, "because": "x"}]), "reviewer has no value mine"),
        (changed(include=[{"with": {"target": "1.8.0"}}]), "missing key `because`"),
        (changed(axes={}), "matrix.axes is empty"),
        (changed(axs={"vault.target": ["1.8.0"]}), "unknown key `axs`"),
    ],
)  # fmt: skip
def test_a_matrix_that_is_none_is_a_problem_of_the_file(text: str, says: str) -> None:
    with pytest.raises(ScenarioError) as refused:
        loading.loads(OUTAGE.read_text() + text)
    assert says in str(refused.value)


def test_the_place_of_the_problem_is_that_of_the_axis() -> None:
    with pytest.raises(ScenarioError) as refused:
        loading.loads(
            OUTAGE.read_text() + "matrix:\n  axes:\n    vault.target: [1.8.0]\n    vault.shares: [x]\n", "o.yaml"
        )
    (problem,) = refused.value.problems
    line = len(OUTAGE.read_text().splitlines()) + 4
    assert (problem.line, problem.message) == (line, "x cannot be vault.shares")


def test_thousands_of_cells_are_planned_in_a_second() -> None:
    """45 releases x 6 Kubernetes versions x 8 variants."""
    loaded = loading.loads(OUTAGE.read_text())
    document = matrix.plain(loaded.scenario)
    watch = Stopwatch()
    given = {
        "vault.target": ["1.7.0..1.10.3:all"],
        "clusters.apps.kubernetes": ["1.28..1.33"],
        "auth.kubernetes.reviewer": ["unset", "local", "client-jwt", "secret"],
        "vault.storage": ["raft", "file"],
    }
    cells = matrix.cells(document, matrix.read(document, given))
    assert len(cells) == len({cell.id for cell in cells}) >= 39 * 6 * 8
    assert [cell.document() for cell in cells][-1]["vault"]["storage"] == "file"
    # a quarter of it on a quiet machine
    assert watch.seconds < 4
