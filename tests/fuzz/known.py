"""The differences that have a reason, each a row: what paper cannot know, and what is no fault of anybody's."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from tests.fuzz.comparison import Difference


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """A kind of difference that needs no mending."""

    id: str
    because: str
    """the reason, with its source"""
    is_it: Callable[[Difference], bool]


KNOWN: Final[tuple[Known, ...]] = ()


def unknown(found: Iterable[Difference]) -> list[Difference]:
    """Return those that no row names."""
    return [one for one in found if row_of(one) is None]


def row_of(found: Difference) -> Known | None:
    """Return the row that names a difference, or None."""
    return next((row for row in KNOWN if row.is_it(found)), None)
