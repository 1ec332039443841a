"""What a matrix of rehearsals comes to: a verdict, a cause and a hop in each cell, and where a row changes, why.

The document that `rehearse matrix` writes, matrix.json, is a `MatrixResult`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Final, Literal

import msgspec

from harness.analysis.diagnosis import Finding
from harness.analysis.verdict import Judgement, Outcome, Verdict

MATRIX_FORMAT: Final = 1
"""The number of matrix.json. Fields may be added under the same number; none changes its meaning."""

_APPS: Final = 6
_EVIDENCE: Final = 6
_LONGEST: Final = 800

WORST_FIRST: Final = (130, 5, 1, 4, 2, 0)
"""Exit codes in the order in which one stands for all cells."""


class CellFinding(msgspec.Struct, frozen=True):
    """Findings of one cell that belong together: one kind, cause, hop and effect, for one app or a thousand."""

    kind: str
    effect: str
    rule: str
    confidence: str
    hop: str
    """the version at which it appears; empty where it was so before the first hop"""
    apps: tuple[str, ...]
    """the first six"""
    number: int
    """of how many apps it is"""
    sentence: str
    remedy: str
    evidence: tuple[str, ...] = ()
    fails: bool = False
    """is it why the cell is red?"""
    expected: bool = False
    """is it what the cell expects?"""


class CellResult(msgspec.Struct, frozen=True, kw_only=True):
    """How one cell came out."""

    id: str
    values: dict[str, str]
    """by the label of its axis"""
    driver: str
    verdict: Verdict
    """fail, inconclusive or pass, whatever was expected: the colour of the cell"""
    outcome: Outcome
    """the verdict beside what was expected"""
    exit_code: int
    """that of the rehearsal; of one that could not be made, what kept it from that"""
    reasons: tuple[str, ...] = ()
    findings: tuple[CellFinding, ...] = ()
    seconds: float = 0.0
    record: str = ""
    """the directory of its record, below that of the matrix; empty where there is none"""
    key: str = ""
    """a digest of what it was made of: scenario, driver, options, and this program"""
    artifacts: dict[str, str] = {}
    """the digest of each binary and image, by product and version"""
    sources: dict[str, str] = {}
    """where each came from"""
    because: str = ""
    """why a cell beside the axes is there"""
    shared: str = ""
    """what it shared with cells before it, in words; empty for a rehearsal from nothing"""


class MatrixResult(msgspec.Struct, frozen=True, kw_only=True):
    """All cells of a matrix, as far as they have been rehearsed."""

    format: int = MATRIX_FORMAT
    scenario: str
    description: str
    harness: str
    """the release of this program"""
    machine: str
    axes: dict[str, tuple[str, ...]]
    """the values of each axis by its label"""
    across: str
    """the label of the axis whose values are the columns; empty where there is no axis"""
    planned: int
    """how many cells there are to be, in this shard or selection"""
    started: float
    """seconds since the epoch"""
    ended: float = 0.0
    """0 while it is going on, or where it was interrupted"""
    exit_code: int = 0
    cells: tuple[CellResult, ...] = ()
    whole: tuple[str, ...] = ()
    """the names of all cells that there are to be, those of other shards too, in their order"""
    key: str = ""
    """a digest of what all cells are made of: parts of one matrix have the same"""


class Change(msgspec.Struct, frozen=True):
    """Where a row changes colour."""

    row: str
    before: str
    """the last column of the old colour"""
    at: str
    """the first column of the new one"""
    reason: str


class Row(msgspec.Struct, frozen=True):
    """One variant, version by version."""

    label: str
    cells: tuple[CellResult | None, ...]
    """in the order of the columns; None where there is no such cell, or it has not been rehearsed"""


class Grid(msgspec.Struct, frozen=True):
    """Versions across, variants down."""

    across: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    changes: tuple[Change, ...]


def of_judgement(judgement: Judgement) -> tuple[CellFinding, ...]:
    """Return what a cell says of its findings, the worst first, one entry for all that belong together."""
    weights = judgement.weights or ()
    grouped: dict[tuple[str, ...], list[int]] = {}
    for number, one in enumerate(judgement.findings):
        grouped.setdefault((one.kind, one.rule, one.hop, one.effect), []).append(number)
    made = []
    for numbers in grouped.values():
        ours = [weights[number] for number in numbers if number < len(weights)]
        made.append(
            _finding(
                [judgement.findings[number] for number in numbers],
                fails=any(one.fails for one in ours),
                expected=bool(ours) and all(one.expectation is not None for one in ours),
            )
        )
    return tuple(sorted(made, key=lambda one: not one.fails))


def _finding(group: Sequence[Finding], *, fails: bool, expected: bool) -> CellFinding:
    first = group[0]
    apps = tuple(dict.fromkeys(one.app for one in group if one.app))
    return CellFinding(
        kind=first.kind,
        effect=first.effect,
        rule=first.rule,
        confidence=first.confidence,
        hop=first.hop,
        apps=apps[:_APPS],
        number=len(apps),
        sentence=_cut(first.sentence),
        remedy=_cut(first.remedy),
        evidence=tuple(_cut(line.text) for line in first.evidence[:_EVIDENCE]),
        fails=fails,
        expected=expected,
    )


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST].rpartition(' ')[0]} ..."


def main_finding(cell: CellResult) -> CellFinding | None:
    """Return the finding that stands for a cell: the one that fails it, else the first that there is."""
    return cell.findings[0] if cell.findings else None


def exit_code(cells: Iterable[CellResult], planned: int) -> int:
    """Return the exit code that stands for all: worst wins, and a cell that could not be rehearsed is inconclusive."""
    listed = list(cells)
    codes = {4 if cell.exit_code not in WORST_FIRST or cell.exit_code == 2 else cell.exit_code for cell in listed}
    if len(listed) < planned:
        codes.add(4)
    return next((code for code in WORST_FIRST if code in codes), 0)


def columns_of(axes: Mapping[str, Sequence[str]], ordered: Iterable[str]) -> str:
    """Return the label of the axis that goes across: `target`, else the first whose values are versions, else one."""
    versions = list(ordered)
    for label in (*(one for one in versions if one.rpartition(".")[2] == "target"), *versions, *axes):
        return label
    return ""


def grid(result: MatrixResult) -> Grid:
    """Return the cells in rows and columns, with the reasons where a row changes colour."""
    across = result.across
    columns = list(
        dict.fromkeys((*result.axes.get(across, ()), *(cell.values.get(across, "") for cell in result.cells)))
    )
    if set(columns) - {""} and not any(cell.values.get(across, "") == "" for cell in result.cells):
        columns = [column for column in columns if column]
    others = [label for label in result.axes if label != across]
    rows: dict[str, dict[str, CellResult]] = {}
    for cell in result.cells:
        more = [label for label in cell.values if label not in result.axes]
        parts = [f"{label}={cell.values[label]}" for label in (*others, *more) if label in cell.values]
        rows.setdefault(", ".join(parts) or "all", {})[cell.values.get(across, "")] = cell
    made = tuple(Row(label, tuple(found.get(column) for column in columns)) for label, found in rows.items())
    return Grid(across, tuple(columns), made, tuple(change for row in made for change in _changes(row, columns)))


def _changes(row: Row, columns: Sequence[str]) -> list[Change]:
    there = [(column, cell) for column, cell in zip(columns, row.cells, strict=True) if cell is not None]
    return [
        Change(row.label, before, at, _reason(old, new))
        for (before, old), (at, new) in pairwise(there)
        if _colour(old) != _colour(new)
    ]


def _colour(cell: CellResult) -> tuple[str, str, str]:
    worst = next((one for one in cell.findings if one.fails), None)
    return cell.verdict, worst.effect if worst else "", worst.rule if worst else ""


def _reason(old: CellResult, new: CellResult) -> str:
    worst = next((one for one in new.findings if one.fails), None)
    if new.verdict == "inconclusive":
        return f"nobody knows: {new.reasons[0] if new.reasons else 'no reason was given'}"
    if worst is not None:
        who = ", ".join(worst.apps) + (f" and {worst.number - len(worst.apps)} more" if worst.number > _APPS else "")
        return f"{worst.effect}{': ' if who else ''}{who}; cause: {worst.rule} ({worst.confidence}). {worst.sentence}"
    gone = next((one for one in old.findings if one.fails), None)
    return f"no answer gets worse; gone: {gone.effect} ({gone.rule})" if gone is not None else "no answer gets worse"


def colours(result: MatrixResult) -> Mapping[Literal["pass", "fail", "inconclusive"], int]:
    """Return how many cells have each colour."""
    found: dict[Literal["pass", "fail", "inconclusive"], int] = {"pass": 0, "fail": 0, "inconclusive": 0}
    for cell in result.cells:
        found[cell.verdict] += 1
    return found
