"""The page of a matrix opens by itself, holds what every cell found, stays small, and shows servers' words as text."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from typing import Any

from harness.analysis.matrix_results import CellFinding, CellResult, MatrixResult
from harness.reports import matrix_html, matrix_text
from harness.wait import Stopwatch

HOSTILE = "</script><img src=x onerror=alert(1)> \x1b[31m & \u202e {{ 7*7 }}"


def finding(number: int, text: str = "") -> CellFinding:
    return CellFinding(
        kind="regression",
        effect="login refused",
        rule="reviewer-fallback-local",
        confidence="strong",
        hop="1.9.3",
        apps=("web",),
        number=1,
        sentence="The config of auth/kubernetes names no reviewer, and Vault presents its own pod's token. " * 3 + text,
        remedy="Write the whole config again with disable_local_ca_jwt=true. " * 3,
        evidence=tuple(
            f"vault-audit (record.jsonl:{number + line}): login {number} of web: {'x' * 300}" for line in range(6)
        ),
        fails=True,
    )


def matrix(rows: int, columns: int, text: str = "") -> MatrixResult:
    targets = [f"1.{8 + column}.0" for column in range(columns)]
    cells = []
    for row in range(rows):
        for column, target in enumerate(targets):
            red = (row + column) % 3 == 0
            cells.append(
                CellResult(
                    id=f"target={target},variant=v{row}{text}",
                    values={"target": target, "variant": f"v{row}{text}"},
                    driver="local",
                    verdict="fail" if red else "pass",
                    outcome="fail" if red else "pass",
                    exit_code=int(red),
                    reasons=(f"login refused for web{text}",) if red else (),
                    findings=(finding(100 * row + column, text),) if red else (),
                    seconds=8.25,
                    record=f"cells/target={target},variant=v{row}",
                    artifacts={f"vault {target}": "0f" * 32},
                    sources={f"vault {target}": f"built from Go modules{text}"},
                )
            )
    axes = {"target": tuple(targets), "variant": tuple(f"v{row}{text}" for row in range(rows))}
    return MatrixResult(
        scenario=f"outage{text}", description=f"What happens?{text}", harness="0.1.0+abc", machine="Linux", axes=axes,
        across="target", planned=len(cells), started=1_790_000_000.0, exit_code=1, cells=tuple(cells),
    )  # fmt: skip


class Page(HTMLParser):
    """What a browser would make of it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.data = ""
        self._inside = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._inside = tag == "script" and dict(attrs).get("type") == "application/json"

    def handle_endtag(self, tag: str) -> None:
        self._inside = False

    def handle_data(self, data: str) -> None:
        self.data += data if self._inside else ""


def test_every_cell_is_on_the_page_with_its_cause_hop_and_evidence() -> None:
    page = Page(matrix_html.render(matrix(3, 4)))
    data: dict[str, Any] = json.loads(page.data)
    buttons = [attributes for tag, attributes in page.tags if tag == "button" and attributes.get("data-cell")]
    assert sorted(int(one["data-cell"] or "") for one in buttons) == list(range(12))
    assert {(one["class"] or "").split()[1] for one in buttons} == {"pass", "fail"}
    red = data["cells"][0]
    (found,) = red["findings"]
    texts = data["texts"]
    assert texts[found["head"]] == "regression  login refused: web   cause: reviewer-fallback-local (strong)"
    assert texts[found["sentence"]].startswith("The config of auth/kubernetes names no reviewer")
    assert len(found["evidence"]) == 3
    assert "record.jsonl:0" in texts[found["evidence"][0]]
    assert red["record"] == "cells/target=1.8.0,variant=v0"


def test_nothing_is_loaded_and_no_word_of_a_server_is_markup() -> None:
    text = matrix_html.render(matrix(2, 2, HOSTILE))
    page = Page(text)
    assert {tag for tag, _ in page.tags} <= {
        "html", "head", "meta", "title", "style", "body", "h1", "h2", "p", "div", "span", "b", "input", "label",
        "table", "thead", "tbody", "tr", "th", "td", "button", "noscript", "script", "main",
    }  # fmt: skip
    assert not [attributes for _, attributes in page.tags if {"src", "href", "onerror", "onclick"} & attributes.keys()]
    assert sum(tag == "script" for tag, _ in page.tags) == 2
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "{{ 7*7 }}" in text
    data = json.loads(page.data)
    assert any("</script><img src=x" in one for one in data["texts"])
    assert not re.search(r"https?://", text)


def test_thousands_of_cells_are_a_page_of_some_megabytes_at_most() -> None:
    """45 releases by 48 variants, every third with a finding of its own."""
    result = matrix(48, 45)
    assert len(result.cells) == 2160
    watch = Stopwatch()
    page = matrix_html.render(result)
    assert len(page.encode()) < 5_000_000
    assert watch.seconds < 20
    assert matrix_text.render(result, width=200).splitlines()[-1] == "FAIL  2160 cells: 1440 pass, 720 fail; exit 1"
