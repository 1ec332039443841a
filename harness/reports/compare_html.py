"""Two rehearsals beside each other as a page that opens from disk: the one sentence first, then each answer of both."""

from __future__ import annotations

from typing import Final

from harness.analysis.comparing import Compared
from harness.reports import page

_ROWS: Final = 500


def render(found: Compared) -> str:
    """Return the page of a comparison."""
    return page.fill(
        "compare",
        title=f"{found.names[0]} | {found.names[1]}",
        found=found,
        apart=found.apart[:_ROWS],
        left_out=max(0, len(found.apart) - _ROWS),
    )
