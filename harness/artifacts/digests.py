"""The SHA-256 of files, each read once so long as nobody writes to it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

Seen = tuple[str, tuple[int, ...], str]
"""A file as it was read: its path, the state in which it was (whoever writes to it changes that), and its digest."""

_READ: Final[dict[str, Seen]] = {}
"""by path"""


def seen() -> tuple[Seen, ...]:
    """Return all files that this process has read, for another one that is to use them."""
    return tuple(_READ.values())


def believe(files_seen: Iterable[Seen]) -> None:
    """Have the digests of *files_seen* be known, so long as these files are in that state."""
    _READ.update((one[0], one) for one in files_seen)


def digest(path: Path) -> str:
    """Return the SHA-256 of a file; of a directory, that of the list of its files with theirs."""
    if path.is_dir():
        lines = [f"{digest(file)}  {file.relative_to(path)}\n" for file in files(path)]
        return hashlib.sha256("".join(lines).encode()).hexdigest()
    with path.open("rb") as file:
        about = os.fstat(file.fileno())
        # many rehearsals use the same binaries
        state = (about.st_dev, about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns)
        if (known := _READ.get(str(path))) and known[1] == state:
            return known[2]
        found = hashlib.file_digest(file, "sha256").hexdigest()
        _READ[str(path)] = str(path), state, found
        return found


def files(path: Path) -> list[Path]:
    """Return *path* itself, or every file below it if it is a directory, sorted."""
    return sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
