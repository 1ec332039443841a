"""Every record of a real run that is kept as a fixture: of shipped scenarios, cases, corpus and finds."""

from __future__ import annotations

import gzip
import tempfile
from functools import cache
from pathlib import Path
from typing import Final

from harness.record import journal
from harness.record.journal import Record

FOLDER: Final = Path(__file__).parent / "records"
FINDS: Final = Path(__file__).parent / "fuzz" / "finds"
FILES: Final = {
    str(file.relative_to(FOLDER)).partition(".jsonl")[0]: file for file in sorted(FOLDER.rglob("*.jsonl*"))
} | {f"finds/{file.name.partition('.jsonl')[0]}": file for file in sorted(FINDS.glob("*.jsonl.gz"))}
"""By their names: real/NAME, corpus/ID, finds/NAME of what random scenarios found, or NAME of an older release."""


@cache
def record(name: str) -> Record:
    """Return a stored record, read."""
    raw = FILES[name].read_bytes()
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / journal.RECORD_FILE
        file.write_bytes(gzip.decompress(raw) if FILES[name].suffix == ".gz" else raw)
        return journal.load(file)
