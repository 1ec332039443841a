"""Several rehearsals in a table: one line each, and in the last line what all of them come to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from harness.reports import markdown

WORST_FIRST: Final = (130, 5, 1, 3, 4, 2, 0)
"""Exit codes in the order in which one stands for several: interrupted, left behind, regression, environment, ..."""

NO_RECORD: Final = "NO RESULT"
"""The word for a rehearsal that has no record to judge."""


class Row(msgspec.Struct, frozen=True):
    """How one rehearsal of several came out."""

    scenario: str
    word: str
    """as `wording.OUTCOME` has it, or NO_RECORD"""
    exit_code: int
    seconds: float
    record: str
    said: str = ""
    """the last that was said by one that could not be judged"""


def worst(rows: Sequence[Row]) -> int:
    """Return the exit code that stands for all of them, as `worst_of` has it."""
    return worst_of(row.exit_code for row in rows)


def worst_of(codes: Iterable[int]) -> int:
    """Return the exit code that stands for several; a code that nobody knows is a fault of this tool."""
    return WORST_FIRST[min(map(severity, codes), default=-1)]


def severity(code: int) -> int:
    """Return the place of an exit code among all, the worst first, from 0."""
    return WORST_FIRST.index(code if code in WORST_FIRST else 3)


def text(rows: Sequence[Row]) -> str:
    """Return the table as lines of text, the last of which is the verdict on all."""
    wide = max((len(row.word) for row in rows), default=0)
    lines = []
    for row in rows:
        lines.append(f"{row.word:{wide}}  exit {row.exit_code:<3}  {row.seconds:6.1f} s  {row.scenario}")
        if row.exit_code:
            lines += [f"{'':{wide}}  {line}" for line in (row.said, row.record) if line]
    places = dict.fromkeys(row.record.rpartition("/")[0] for row in rows)
    return "\n".join([*lines, "", *(f"records  {place}" for place in places), "", last_line(rows)])


def last_line(rows: Sequence[Row]) -> str:
    """Return what all of them come to."""
    code = worst(rows)
    words = ", ".join(f"{times} {word}" for word, times in Counter(row.word for row in rows).items())
    return f"{in_a_word(code)}  {len(rows)} scenarios: {words}; exit {code}"


def in_a_word(code: int) -> str:
    """Return what an exit code that stands for several says."""
    words = {0: "PASS", 1: "FAIL", 4: "INCONCLUSIVE", 5: "LEFT BEHIND", 130: "INTERRUPTED"}
    return words.get(code, "NOT DONE")


def page(rows: Sequence[Row]) -> str:
    """Return the table as Markdown."""
    cells = [(row.word, str(row.exit_code), f"{row.seconds:.1f}", row.scenario, row.record) for row in rows]
    return f"# {last_line(rows)}\n\n{markdown.table(('result', 'exit', 'seconds', 'scenario', 'record'), cells)}\n"
