"""The moments at which questions are asked, by name."""

from __future__ import annotations

BEFORE = "before"
"""The moment at the source version, when nothing was upgraded yet."""


def after(version: str) -> str:
    """Return the name of the moment after the hop to *version*."""
    return f"after {version}"
