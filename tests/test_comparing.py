"""Two rehearsals beside each other: what a staging would not have shown stands in one sentence, with the reason."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from harness.analysis.comparing import compared
from harness.cli.commands import main
from harness.scenario import loading
from harness.session import comparing
from tests.runs import OUTAGE, SCENARIOS, on_paper

STAGING = SCENARIOS / "one-cluster-staging-stays-green-while-the-reviewer-changes.yaml"


def test_a_staging_of_one_cluster_would_not_have_shown_the_outage() -> None:
    done = CliRunner().invoke(main, ["compare", str(OUTAGE), "--with", "one-cluster"])
    assert done.exit_code == 4, done.stderr
    first, *_ = done.stdout.splitlines()
    assert first.startswith("Your one-cluster staging would not have shown this: the login of web is refused")
    assert "(after 1.11.0, reviewer-fallback-local)" in first
    assert "there Vault is in platform itself" in first
    assert "in platform, and apps reviews" in first


def test_either_order_says_which_of_the_two_is_blind(tmp_path: Path) -> None:
    """Two kept runs: nothing is foretold, and what a sentence says does not depend on which of them came first."""
    on_paper(loading.load(OUTAGE).scenario, tmp_path / "two")
    on_paper(loading.load(STAGING).scenario, tmp_path / "one")
    for words in ([str(tmp_path / "two"), str(tmp_path / "one")], [str(tmp_path / "one"), str(tmp_path / "two")]):
        done = CliRunner().invoke(main, ["compare", *words, "-o", "json"])
        found = json.loads(done.stdout)
        assert (done.exit_code, found["foretold"]) == (0, False)
        assert f"{tmp_path / 'one'} would not have shown this" in found["sentence"]


@pytest.mark.parametrize("file", sorted(SCENARIOS.glob("*.yaml")), ids=lambda file: file.stem)
def test_what_is_compared_with_itself_is_alike(file: Path) -> None:
    one = comparing.side(file)
    found = compared(one, one)
    assert found.sentence.startswith("Both answer alike: ")
    assert (found.apart, found.otherwise) == ((), ())


@pytest.mark.parametrize("file", sorted(SCENARIOS.glob("*.yaml")), ids=lambda file: file.stem)
def test_every_scenario_has_a_staging_of_one_cluster_or_a_reason_why_not(file: Path) -> None:
    done = CliRunner().invoke(main, ["compare", str(file), "--with", "one-cluster"])
    assert done.exit_code == 4 or (done.exit_code == 2 and "in one cluster" in done.stderr)


def test_what_cannot_be_compared_ends_in_2(tmp_path: Path) -> None:
    assert CliRunner().invoke(main, ["compare", str(OUTAGE)]).exit_code == 2
    assert CliRunner().invoke(main, ["compare", str(OUTAGE), str(STAGING), "--with", "one-cluster"]).exit_code == 2
    assert CliRunner().invoke(main, ["compare", str(OUTAGE), str(tmp_path)]).exit_code == 2


def test_both_are_shown_on_a_page_that_loads_nothing(tmp_path: Path) -> None:
    """The sentence is its heading, the one that refuses is marked, and a hostile name stays a text."""
    hostile = tmp_path / "<script>alert(1)</script>"
    on_paper(loading.load(OUTAGE).scenario, hostile)
    on_paper(loading.load(STAGING).scenario, tmp_path / "one")
    place = tmp_path / "page.html"
    done = CliRunner().invoke(main, ["compare", str(hostile), str(tmp_path / "one"), "--html", str(place)])
    assert done.exit_code == 0, done.stderr
    page = place.read_text(encoding="utf-8")
    heading = page.partition("<h1>")[2].partition("</h1>")[0]
    assert "would not have shown this: the login of web is refused" in heading
    assert '<td class="verdict fail">' in page
    assert "<script>alert" not in page
    assert "default-src 'none'" in page
    assert "src=" not in page.partition("<body>")[2]


def test_a_page_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    place = tmp_path / "missing" / "page.html"
    done = CliRunner().invoke(main, ["compare", str(OUTAGE), "--with", "one-cluster", "--html", str(place)])
    assert (done.exit_code, str(place) in done.stderr) == (3, True)
