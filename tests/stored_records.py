"""Every record of a real run that is kept as a fixture: of the shipped scenarios, of the cases, and of the corpus."""

from __future__ import annotations

import gzip
import tempfile
from functools import cache
from pathlib import Path
from typing import Final

from harness.record import journal
from harness.record.journal import Record

FOLDER: Final = Path(__file__).parent / "records"
FILES: Final = {str(file.relative_to(FOLDER)).partition(".jsonl")[0]: file for file in sorted(FOLDER.rglob("*.jsonl*"))}
"""By their names: real/NAME, corpus/ID, or NAME of an older release."""


@cache
def record(name: str) -> Record:
    """Return a stored record, read."""
    raw = FILES[name].read_bytes()
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / journal.RECORD_FILE
        file.write_bytes(gzip.decompress(raw) if FILES[name].suffix == ".gz" else raw)
        return journal.load(file)
