"""The files under clusters/, wherever this harness is installed."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path


def folder(name: str = "") -> Path:
    """Return the folder *name* of clusters/, or clusters/ itself where it is left out. It is there to be read only."""
    house = Path(__file__).parent.parent
    # An installed harness has them inside of it; in a checkout they are a folder of their own, beside it.
    inside = house / "clusters"
    return (inside if inside.is_dir() else house.with_name("clusters")) / name


@lru_cache
def text(name: str) -> str:
    """Return the text of the file *name*, a path below clusters/ such as "kind.yaml".

    Raises FileNotFoundError for a name that is none, or where the harness was installed without them.
    """
    return folder().joinpath(name).read_text(encoding="utf-8")
