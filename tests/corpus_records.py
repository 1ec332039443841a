"""The kept records of the corpus: what real servers answered, compact, from which docs/corpus.md is written.

`python -m tests.corpus_records` keeps the records of the last `rehearse corpus` on this machine as fixtures, and writes
the page: those of the IDs that are named, or of all. Run it after they have been rehearsed on processes, in this
project's directory.
"""

from __future__ import annotations

import gzip
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Final

from harness import settings
from harness.analysis import track_record, verdict
from harness.analysis.track_record import Entry, Result
from harness.record import journal
from harness.record.journal import Record
from harness.reports import track_record as report
from harness.session import corpus

ROOT: Final = Path(__file__).parent.parent
DIRECTORY: Final = ROOT / "scenarios" / "corpus"
RECORDS: Final = Path(__file__).parent / "records" / "corpus"
PAGE: Final = ROOT / "docs" / "corpus.md"


@cache
def entries() -> dict[str, Entry]:
    """Return every entry by its id."""
    return {entry.id: entry for entry in corpus.entries(DIRECTORY)}


@cache
def record(name: str) -> Record:
    """Return the kept record of an entry."""
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / journal.RECORD_FILE
        file.write_bytes(gzip.decompress((RECORDS / f"{name}.jsonl.gz").read_bytes()))
        return journal.load(file)


def result(name: str) -> Result:
    """Return how the run in the kept record of an entry came out."""
    kept = record(name)
    return track_record.result(entries()[name], verdict.judge(kept), date=kept.started.at)


def page() -> str:
    """Return docs/corpus.md as the kept records have it."""
    return report.page(list(entries().values()), {name: result(name) for name in entries()}, corpus.absent(DIRECTORY))


def rows_that_disagree() -> list[str]:
    """Return where the tables say otherwise than the corpus does, a line each."""
    return track_record.disagreeing(list(entries().values()), corpus.absent(DIRECTORY))


def main(*named: str) -> None:
    """Keep the records of the last runs, of those that are *named* or of all, and write the page."""
    RECORDS.mkdir(exist_ok=True)
    for name in named or entries():
        run = corpus.place(settings.state()) / "records" / name / journal.RECORD_FILE
        if run.is_file():
            (RECORDS / f"{name}.jsonl.gz").write_bytes(gzip.compress(run.read_bytes(), mtime=0))
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
