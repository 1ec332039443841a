"""What clients met while nodes of a Vault were replaced, drawn: how they were answered, and how long nobody was."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import msgspec

from harness.analysis.rolling import Gap, Rolling
from harness.reports import nodes

TITLES: Final = (
    "step",
    "asked for, every 0.1 s",
    "longest without a grant",
    "answers",
    "times without a grant, by length",
)
"""The titles of the columns of `rows`."""

EDGES: Final = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
"""Seconds, at which a time without a grant is of the next longer kind."""

_SLOT: Final = 22.0
_HIGH: Final = 30.0
_WIDE: Final = 200.0


class Bar(msgspec.Struct, frozen=True):
    """A bar of a drawing, in its own units."""

    kind: str
    """the class by which it is coloured: asked (granted) or outage"""
    left: float
    top: float
    width: float
    height: float


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """What one kind of request met in one step."""

    step: str
    asked_for: str
    longest: str
    answers: str
    """how many were granted, and how many were answered otherwise, by what"""
    share: tuple[Bar, ...]
    """the same as parts of one bar"""
    lengths: str
    """how many times without a grant were how long; empty: there was none, or the record does not have them"""
    histogram: tuple[Bar, ...]


def rows(rollings: Sequence[Rolling]) -> list[Row]:
    """Return a row for each kind of request of each step of which somebody was asked."""
    return [_row(one, gap) for one in rollings for gap in one.gaps]


def _row(rolling: Rolling, gap: Gap) -> Row:
    failed, counts = sum(gap.failures.values()), _counts(gap.gaps)
    answers = [f"{gap.asked - failed:,} granted", *(f"{kind} {times:,}" for kind, times in gap.failures.items())]
    during = f", while {gap.during} was replaced" if gap.during else ""
    whose = f" of {gap.app}" if gap.app else ""
    return Row(
        step=_step(rolling),
        asked_for=f"{gap.kind}{whose}{f' {nodes.way(gap.through)}' if gap.through else ''}",
        longest=f"{gap.seconds:.1f} s{during if gap.failures else ''}",
        answers=", ".join(answers),
        share=tuple(_share(gap.asked, failed)),
        lengths=", ".join(f"{_between(number)}: {times}" for number, times in counts.items()),
        histogram=tuple(_histogram(counts)),
    )


def _step(one: Rolling) -> str:
    number = f"{one.step}. " if one.step else ""
    node, vault = f" of {one.node}" if one.node else "", f" of {one.vault}" if one.vault else ""
    to = f" to {one.version}" if one.order or one.lost else ""
    return f"{number}{one.do}{vault}{node}{to}"


def _counts(gaps: Sequence[float]) -> dict[int, int]:
    """Return how many of the *gaps* lie before each of the edges, and behind the last, by their numbers."""
    found = [sum(seconds >= edge for edge in EDGES) for seconds in gaps]
    return {number: found.count(number) for number in sorted(set(found))}


def _between(number: int) -> str:
    if number == 0:
        return f"below {EDGES[0]:g} s"
    return (
        f"{EDGES[number - 1]:g} s and more" if number == len(EDGES) else f"{EDGES[number - 1]:g} to {EDGES[number]:g} s"
    )


def _share(asked: int, failed: int) -> Iterator[Bar]:
    """Yield the part that was granted, and that which was not, however small it is."""
    if not asked:
        return
    bad = max(failed / asked * _WIDE, 1.0) if failed else 0.0
    yield Bar("asked", 0.0, 0.0, _WIDE - bad, 10.0)
    if failed:
        yield Bar("outage", _WIDE - bad, 0.0, bad, 10.0)


def _histogram(counts: Mapping[int, int]) -> Iterator[Bar]:
    """Yield a bar for each length that there is, as high as it is frequent: the longer, the further to the right."""
    most = max(counts.values(), default=0)
    for number, times in counts.items():
        high = _HIGH * times / most
        yield Bar("outage", number * _SLOT + 2.0, _HIGH - high, _SLOT - 4.0, high)
