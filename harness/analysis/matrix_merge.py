"""Parts of one matrix, rehearsed on several machines or at several times, become one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from harness.analysis import matrix_results
from harness.analysis.matrix_results import CellResult, MatrixResult
from harness.errors import HarnessError

_LEARNED: Final = (1, 0, 4)
"""Exit codes of a finished cell, in the order in which one stands for a cell that several parts have: what was learned
goes before what nobody knows, and of what was learned the worst."""

_SHOWN: Final = 6


class NotOneMatrix(HarnessError):
    """The parts are not of one matrix; the message says what differs, and where."""


def merged(parts: Mapping[str, MatrixResult]) -> MatrixResult:
    """Return the one matrix that *parts* are of; each goes by the name of its place.

    Records of its cells stand below that place: `record` begins with it. Cells that no part has are missing, as they
    are in each part: the exit code is no pass. Raises NotOneMatrix.
    """
    (first_place, first), *others = parts.items()
    for place, other in others:
        _insist_on_one(first_place, first, place, other)
    found: dict[str, CellResult] = {}
    for place, part in parts.items():
        for cell in part.cells:
            placed = msgspec.structs.replace(cell, record=f"{place}/{cell.record}") if cell.record else cell
            old = found.get(cell.id)
            found[cell.id] = placed if old is None or _rank(placed) < _rank(old) else old
    order = dict.fromkeys(one for part in parts.values() for one in (*part.whole, *(cell.id for cell in part.cells)))
    cells = tuple(found[one] for one in order if one in found)
    machines = dict.fromkeys(part.machine for part in parts.values())
    return msgspec.structs.replace(
        first,
        machine=", ".join(machines),
        planned=len(order),
        started=min(part.started for part in parts.values()),
        ended=max(part.ended for part in parts.values()),
        exit_code=matrix_results.exit_code(cells, len(order)),
        cells=cells,
        whole=tuple(order),
    )


def missing(result: MatrixResult) -> tuple[str, ...]:
    """Return the cells that there should be and are not, by name."""
    there = {cell.id for cell in result.cells}
    return tuple(one for one in result.whole if one not in there)


def said_of_missing(result: MatrixResult) -> str:
    """Return a sentence about the cells that no part has; nothing where all are there."""
    lacking = missing(result)
    if not lacking:
        return ""
    more = f" and {len(lacking) - _SHOWN} more" if len(lacking) > _SHOWN else ""
    return (
        f"{len(lacking)} of {result.planned} cells are in none of the directories, so this is no pass: "
        f"{'; '.join(lacking[:_SHOWN])}{more}"
    )


def unlike(parts: Mapping[str, MatrixResult]) -> tuple[str, ...]:
    """Return a sentence for each binary or image that is not the same in all *parts*: their cells tell two stories."""
    seen: dict[str, dict[str, str]] = {}
    for place, part in parts.items():
        for cell in part.cells:
            for name, digest in cell.artifacts.items():
                seen.setdefault(name, {}).setdefault(digest, place)
    return tuple(
        f"{name} is not the same everywhere: "
        + ", ".join(f"sha256 {digest[:12]} in {place}" for digest, place in digests.items())
        for name, digests in sorted(seen.items())
        if len(digests) > 1
    )


def _insist_on_one(first_place: str, first: MatrixResult, place: str, other: MatrixResult) -> None:
    told: Sequence[tuple[str, object, object]] = (
        ("the scenario", first.scenario, other.scenario),
        ("the release of rehearse", first.harness, other.harness),
        ("the axes", _axes(first), _axes(other)),
        ("the digest of all cells (their scenario and options)", first.key, other.key),
    )
    for what, one, two in told:
        if one != two:
            raise NotOneMatrix(
                f"{first_place} and {place} are not parts of one matrix: {what} is {one} in the one and {two} in the "
                "other; rehearse one of them again with what the other has, or merge them apart"
            )


def _axes(result: MatrixResult) -> str:
    return "; ".join(f"{label}: {', '.join(values)}" for label, values in result.axes.items())


def _rank(cell: CellResult) -> int:
    return _LEARNED.index(cell.exit_code) if cell.exit_code in _LEARNED else len(_LEARNED)
