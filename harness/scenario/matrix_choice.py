"""Which cells of a matrix are meant: by their names, and by the share of one machine among several."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Mapping, Sequence
from typing import Final

from harness.scenario import driver_traits
from harness.scenario.matrix import DRIVER, Cell, MatrixError
from harness.scenario.yaml_document import choices, shown

_SHARE: Final = re.compile(r"([1-9][0-9]{0,3})/([1-9][0-9]{0,3})")


def chosen(cells: Sequence[Cell], filters: Sequence[str]) -> tuple[Cell, ...]:
    """Return the cells that fit any of *filters*; all where there are none.

    A filter is a list of terms, parted by commas, which must all fit: `reviewer=local`, `target=1.1*`, or a word that
    stands somewhere in the name; with a ! before it, it must not fit. Raises MatrixError for an axis that is none, and
    where nothing fits.
    """
    if not filters:
        return tuple(cells)
    labels = {DRIVER, *(label for cell in cells for label in cell.values)}
    for term in (term for one in filters for term in one.split(",")):
        label = term.removeprefix("!").partition("=")[0]
        if "=" in term and label not in labels:
            raise MatrixError(f"{shown(term)}: there is no axis {shown(label)}", choices(label, sorted(labels)))
    found = tuple(cell for cell in cells if any(_fits(cell, one) for one in filters))
    if not found:
        raise MatrixError(f"no cell fits {' or '.join(map(shown, filters))}", "`--list` shows the names of all")
    return found


def _fits(cell: Cell, terms: str) -> bool:
    return all(_has(cell, term.removeprefix("!")) != term.startswith("!") for term in terms.split(",") if term)


def _has(cell: Cell, term: str) -> bool:
    label, equals, value = term.partition("=")
    if not equals:
        return term in cell.id
    has = cell.driver if label == DRIVER else cell.values.get(label)
    return has is not None and fnmatch.fnmatchcase(has, value)


def share(text: str) -> tuple[int, int]:
    """Return what `2/5` says. Raises MatrixError where it says nothing."""
    found = _SHARE.fullmatch(text)
    if found is None or not int(found[1]) <= int(found[2]):
        raise MatrixError(f"{shown(text)} is no shard", "one of how many, from 1: 2/5 is the second of five")
    return int(found[1]), int(found[2])


def shard(cells: Sequence[Cell], number: int, of: int, seconds: Mapping[str, float]) -> tuple[Cell, ...]:
    """Return the cells of shard *number* of *of*, in their order; *seconds* says what a cell took before.

    The longest cell goes first, each to the shard that has least to do: with the same *seconds* every machine shares
    out alike, and each cell is in exactly one shard. Raises MatrixError for more shards than cells.
    """
    if of > len(cells):
        raise MatrixError(f"{of} shards of {len(cells)} cells", f"at most {len(cells)}")
    cost = {cell.id: seconds.get(cell.id) or _usual(cell, cells, seconds) for cell in cells}
    load = [(0.0, index) for index in range(of)]
    mine: set[str] = set()
    for cell in sorted(cells, key=lambda cell: (-cost[cell.id], cell.id)):
        taken, index = min(load)
        load[index] = (taken + cost[cell.id], index)
        if index == number - 1:
            mine.add(cell.id)
    return tuple(cell for cell in cells if cell.id in mine)


def _usual(cell: Cell, cells: Sequence[Cell], seconds: Mapping[str, float]) -> float:
    """Return what a cell of the same driver took, the middle of them; else what is usual."""
    known = sorted(seconds[one.id] for one in cells if one.driver == cell.driver and seconds.get(one.id))
    return known[len(known) // 2] if known else driver_traits.of(cell.driver).usual_seconds
