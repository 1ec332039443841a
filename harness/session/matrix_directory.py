"""The directory of a matrix: what has been rehearsed of it, from what, and where it goes on after an interruption.

matrix.json             how every finished cell came out (analysis/matrix_results)
matrix.lock             held while somebody rehearses it
scenarios/CELL.yaml     each cell as a scenario by itself
cells/CELL/             the record of each
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Final

import msgspec

import harness
from harness import __version__, settings
from harness.analysis.matrix_results import MATRIX_FORMAT, CellResult, MatrixResult
from harness.errors import HarnessError
from harness.host import pki
from harness.host.locks import Held, alone
from harness.scenario.matrix import Cell

RESULT_FILE: Final = "matrix.json"
PAGE_FILE: Final = "index.html"
_ODD: Final = re.compile(r"[^A-Za-z0-9_.,=+-]+")
_LONGEST: Final = 120


class MatrixTaken(HarnessError):
    """Somebody rehearses this matrix at the moment, or the directory holds another one; the message says which."""


def usual_place(state: Path, scenario: Path) -> Path:
    """Return the directory in which the matrix of a scenario file goes on by itself; it is made if missing."""
    digest = hashlib.sha256(str(scenario.absolute()).encode()).hexdigest()[:8]
    return settings.private_state(state, "matrix") / f"{scenario.stem}--{digest}"


def slug(cell_id: str) -> str:
    """Return the name of a cell as that of a file: no two cells have the same."""
    name = _ODD.sub("_", cell_id) or "the-scenario-itself"
    if name == cell_id and len(name) <= _LONGEST:
        return name
    return f"{name[:_LONGEST]}-{hashlib.sha256(cell_id.encode()).hexdigest()[:8]}" if cell_id else name


@cache
def program() -> str:
    """Return the release of this program with a digest of its code: what was found by another one is found again."""
    digest, home = hashlib.sha256(), Path(harness.__file__).parent
    for file in sorted(home.rglob("*.py")):
        digest.update(f"{file.relative_to(home)}\0".encode() + file.read_bytes())
    return f"{__version__}+{digest.hexdigest()[:12]}"


def key(cell: Cell, words: tuple[str, ...]) -> str:
    """Return a digest of all that decides what *cell* comes to, but for the artifacts; *words* are its options."""
    made = [cell.document(), cell.driver, list(words), program()]
    return hashlib.sha256(json.dumps(made, sort_keys=True, ensure_ascii=False).encode()).hexdigest()[:16]


def key_of_all(keys: Mapping[str, str]) -> str:
    """Return a digest of what all cells of a matrix are made of; *keys* has that of each, by its name."""
    return hashlib.sha256(json.dumps(dict(keys), sort_keys=True).encode()).hexdigest()[:16]


class MatrixDirectory:
    """One directory of one matrix. `held` is to be entered before anything is written."""

    def __init__(self, place: Path) -> None:
        self.place = place.absolute()

    @contextmanager
    def held(self, tell: Callable[[str], None]) -> Iterator[None]:
        """Have the directory alone. Raises MatrixTaken where somebody else has it, OSError where it cannot be made."""
        settings.made(self.place)
        try:
            lock = self.place / "matrix.lock"
            lock.touch(0o600)
            with alone(lock, tell, f"the matrix in {self.place}", patient=False):
                yield
        except Held as held:
            raise MatrixTaken(
                f"{held}: it is being rehearsed; wait until that is over, or name another --run-dir"
            ) from held

    def read(self, scenario: str) -> MatrixResult | None:
        """Return what is there of the matrix of *scenario*; None for nothing. Raises MatrixTaken for another matrix."""
        found = load(self.place)
        if found is not None and found.scenario != scenario:
            raise MatrixTaken(f"{self.place} holds the matrix of {found.scenario}: name another --run-dir")
        if found is None and self.place.is_dir() and {each.name for each in self.place.iterdir()} - {"matrix.lock"}:
            foreign = {each.name for each in self.place.iterdir()} - {"matrix.lock", "scenarios", "cells"}
            if foreign:
                raise MatrixTaken(f"{self.place} holds other things ({min(foreign)}): name another --run-dir")
        return found

    def scenario_file(self, cell: Cell) -> Path:
        """Write *cell* as a scenario by itself, and return its file."""
        folder = settings.made(self.place / "scenarios")
        file = folder / f"{slug(cell.id)}.yaml"
        pki.write_private(file, (json.dumps(cell.document(), indent=1, ensure_ascii=False) + "\n").encode())
        return file

    def fresh_record(self, cell: Cell) -> Path:
        """Return the directory for a new record of *cell*; what an earlier one left there is removed."""
        place = settings.made(self.place / "cells") / slug(cell.id)
        if place.exists():
            shutil.rmtree(place)
        return place

    def write(self, result: MatrixResult) -> None:
        """Keep *result*, whole or not at all."""
        self._keep(RESULT_FILE, msgspec.json.encode(result))

    def write_page(self, page: str) -> None:
        """Keep the page that shows the result, as `write` does."""
        self._keep(PAGE_FILE, page.encode())

    def _keep(self, name: str, raw: bytes) -> None:
        fresh = self.place / f".{name}.{os.getpid()}"
        pki.write_private(fresh, raw)
        fresh.replace(self.place / name)


def load(place: Path) -> MatrixResult | None:
    """Return the result in the directory *place*; None where there is none, or it is damaged or of another format."""
    return load_file(place / RESULT_FILE)


def load_file(file: Path) -> MatrixResult | None:
    """Return the result in *file*, as `load` does."""
    try:
        found = msgspec.json.decode(file.read_bytes(), type=MatrixResult)
    except (OSError, msgspec.DecodeError):
        return None
    return found if found.format == MATRIX_FORMAT else None


def holds(found: CellResult | None, wanted: str, digests: Mapping[str, str]) -> bool:
    """Is a cell finished, and would it be made of the same again?

    *wanted* is its key, and *digests* are those of the binaries in the cache. A rehearsal that could not be made, was
    interrupted or has left something behind is not finished.
    """
    return (
        found is not None
        and found.exit_code in (0, 1, 4)
        and found.key == wanted
        and all(digests.get(name, digest) == digest for name, digest in found.artifacts.items())
    )
