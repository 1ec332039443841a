"""What is published is what this program knows: the cells of each result, on paper and in its table."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from harness.scenario import loading, matrix
from tests import pages
from tests.runs import on_paper

RESULTS = [
    file for file in sorted(pages.DOCS.glob("results/*.yaml")) if "\nmatrix:" in file.read_text(encoding="utf-8")
]
"""The published matrices: the curve of leases is none, and has its test with the leases."""

WORDS = {
    (): "granted",
    (("latent", "reviewer changed"),): "granted, latent",
    (("regression", "login refused"),): "**refused**",
    (("pre-existing", "refused from the start"),): "refused before, too",
}


@pytest.mark.parametrize("file", RESULTS, ids=lambda file: file.stem)
def test_a_published_result_is_what_its_scenario_gives_on_paper(file: Path, tmp_path: Path) -> None:
    """Every cell comes out as its scenario expects, and as the table of the page has it."""
    rows = [
        [word.strip() for word in line.strip("|").split("|")]
        for line in file.with_suffix(".md").read_text(encoding="utf-8").splitlines()
        if line.startswith("|")
    ]
    first, _, *rest = rows
    published = {
        (reviewer, place, target): word
        for reviewer, place, *words in rest[: rest.index(["part", "sha256", "from"])]
        for target, word in zip(first[2:], words, strict=True)
    }
    loaded = loading.load(file)
    document = matrix.plain(loaded.scenario)
    seen = {}
    for number, cell in enumerate(matrix.cells(document, matrix.read(document))):
        _, judgement = on_paper(loading.of_cell(loaded, cell).scenario, tmp_path / str(number))
        assert judgement.exit_code == 0, cell.id
        found = tuple((finding.kind, finding.effect) for finding in judgement.findings)
        seen[cell.values["reviewer"], cell.values["apps-in"], cell.values["target"]] = WORDS[found]
    assert seen == published
    assert len(seen) == 64


@pytest.mark.parametrize("file", RESULTS, ids=lambda file: file.stem)
def test_a_published_result_says_what_it_was_made_of(file: Path) -> None:
    """A digest of every server, the day, and nothing of the place where it was made."""
    text = file.with_suffix(".md").read_text(encoding="utf-8")
    assert re.search(r"\d+ [A-Z][a-z]+ 20\d\d", text)
    assert len(set(re.findall(r"`([0-9a-f]{64})`", text))) == len(
        re.findall(r"^\| (?:vault|etcd|kube-)", text, re.MULTILINE)
    )
    assert not re.search(r"/(?:home|root|tmp|work)/", text)
    assert f"rehearse matrix docs/results/{file.name}" in text
