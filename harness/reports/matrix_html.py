"""A matrix as one page that opens from disk: versions across, variants down, and each cell unfolds to its evidence."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from harness import secret
from harness.analysis import matrix_results
from harness.analysis.matrix_results import CellFinding, CellResult, MatrixResult
from harness.reports import page, printable
from harness.reports.matrix_text import headline, last_line

_WORDS: Final = {
    "pass": "pass",
    "expected-fail": "fails as expected",
    "fail": "FAIL",
    "inconclusive": "inconclusive",
    "unexpected-pass": "passes unexpectedly",
}
_SENTENCE: Final = 800
_EVIDENCE: Final = 3
_EVIDENCE_LINE: Final = 220


class _Texts:
    """Every text once: thousands of cells say much the same."""

    def __init__(self) -> None:
        self.all: list[str] = []
        self._numbers: dict[str, int] = {}

    def number(self, text: str, most: int = _SENTENCE) -> int:
        """Return where *text* stands in the list, cut after *most* characters."""
        shown = printable(secret.redact(text))
        shown = shown if len(shown) <= most else f"{shown[: most - 1]}…"
        if shown not in self._numbers:
            self._numbers[shown] = len(self.all)
            self.all.append(shown)
        return self._numbers[shown]


def render(result: MatrixResult) -> str:
    """Return the page: no other file is needed, nothing is loaded, and whatever servers said is text and not markup."""
    grid, texts = matrix_results.grid(result), _Texts()
    numbers = {cell.id: number for number, cell in enumerate(result.cells)}
    line = last_line(result)
    verdict = line.partition("  ")[0]
    rows = [
        {
            "label": row.label,
            "cells": [None if cell is None else _shown(cell, numbers[cell.id], grid.across) for cell in row.cells],
        }
        for row in grid.rows
    ]
    data = {"cells": [_cell(cell, texts) for cell in result.cells], "texts": texts.all}
    return page.fill(
        "matrix",
        result=result,
        grid=grid,
        rows=rows,
        verdict=verdict,
        colour={"PASS": "pass", "FAIL": "fail"}.get(verdict, "inconclusive"),
        last_line=line,
        colours=list(matrix_results.colours(result).items()),
        made=_made_of(result),
        date=datetime.fromtimestamp(result.started, UTC).strftime("%Y-%m-%d %H:%M UTC"),
        data=page.data(data),
    )


def _shown(cell: CellResult, number: int, across: str) -> dict[str, Any]:
    """Return what stands in the table of one cell."""
    found = matrix_results.main_finding(cell)
    cause = ""
    if found is not None and (found.fails or cell.verdict != "inconclusive"):
        at = f" at {found.hop or 'the start'}" if found.hop != cell.values.get(across) else ""
        cause = f"{found.rule}{at}" if found.fails else f"{found.kind}: {found.rule}{at}"
    return {"number": number, "colour": cell.verdict, "word": _WORDS[cell.outcome], "cause": cause}


def _cell(cell: CellResult, texts: _Texts) -> dict[str, Any]:
    """Return what one cell unfolds to."""
    return {
        "id": printable(cell.id),
        "word": _WORDS[cell.outcome],
        "driver": cell.driver,
        "seconds": round(cell.seconds, 1),
        "exit": cell.exit_code,
        "because": printable(cell.because),
        "record": printable(cell.record),
        "reasons": [texts.number(reason) for reason in cell.reasons[:3]] if cell.verdict != "pass" else [],
        "findings": [_finding(found, texts) for found in cell.findings[:3]],
    }


def _finding(found: CellFinding, texts: _Texts) -> dict[str, Any]:
    return {
        "head": texts.number(headline(found)),
        "sentence": texts.number(found.sentence),
        "remedy": texts.number(found.remedy) if found.remedy else None,
        "evidence": [texts.number(line, _EVIDENCE_LINE) for line in found.evidence[:_EVIDENCE]],
    }


def _made_of(result: MatrixResult) -> list[tuple[str, str, str]]:
    made: dict[str, tuple[str, str]] = {}
    for cell in result.cells:
        made |= {name: (digest, cell.sources.get(name, "")) for name, digest in cell.artifacts.items()}
    return [(name, digest, source) for name, (digest, source) in sorted(made.items())]
