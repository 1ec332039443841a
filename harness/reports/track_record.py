"""The corpus of known breakages as a table: on a terminal, and as the page docs/corpus.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from harness.analysis.track_record import Absent, Entry, Result
from harness.reports import markdown

_RIGHT: Final = "as expected"
_NOT_RUN: Final = "not run yet"
_TITLES: Final = ("id", "what happens", "since", "versions", "expected", "seen", "driver", "date")
_HEAD: Final = """\
# The track record

Known breakages, each a scenario in `scenarios/corpus/`, rehearsed on real servers: what must be found, with its cause
and at its step of the course, and what was seen. This page is written by `rehearse corpus --list --markdown`, of the
last results; a test holds it against the files and the kept records of these very runs. The head of each file says
where the row comes from and what mends it.
"""


def text(entries: Sequence[Entry], results: Mapping[str, Result]) -> str:
    """Return the table as lines of text, each entry's findings below it where they are not as expected."""
    wide = max((len(entry.id) for entry in entries), default=0)
    lines = []
    for entry in entries:
        one = results.get(entry.id)
        said = _NOT_RUN if one is None else f"{_word(one)}, {one.driver}, {_day(one.date)}"
        lines.append(f"{entry.id:{wide}}  {' -> '.join(entry.versions)}  {said}")
        lines.append(f"{'':{wide}}    {'; '.join(entry.expected) or 'nobody is worse off'}")
        lines += [f"{'':{wide}}    {why}" for why in (one.wrong if one is not None else ())]
    return "\n".join([*lines, "", last_line(entries, results)])


def last_line(entries: Sequence[Entry], results: Mapping[str, Result]) -> str:
    """Return what all of them come to."""
    seen = [results[entry.id] for entry in entries if entry.id in results]
    right = sum(not one.wrong for one in seen)
    rest = f", {len(entries) - len(seen)} not run" if len(seen) < len(entries) else ""
    return f"{len(entries)} known breakages: {right} found as they must be, {len(seen) - right} otherwise{rest}"


def page(entries: Sequence[Entry], results: Mapping[str, Result], absent: Sequence[Absent]) -> str:
    """Return the whole page, with the rows of which there is no entry."""
    lines = [
        _HEAD,
        f"{last_line(entries, results)}.",
        "",
        markdown.table(_TITLES, [_row(entry, results.get(entry.id)) for entry in entries]),
        "",
        "## What was not run",
        "",
        "`format`: no scenario can say it yet; `question`: no question of a rehearsal shows it; `drill`: that shows",
        "it, on a snapshot of one's own; else the artifact that was not at hand.",
        "",
        markdown.table(("row", "needs", "why"), [(one.row, one.needs, one.why) for one in absent]),
    ]
    return "\n".join(lines) + "\n"


def _row(entry: Entry, one: Result | None) -> Sequence[str]:
    wanted = [*entry.expected, *(f"changed: {words}" for words in entry.shows)]
    return (
        entry.id,
        entry.what,
        entry.since,
        " → ".join(entry.versions),
        "; ".join(wanted) or "nobody is worse off",
        _seen(entry, one),
        one.driver if one is not None else "",
        _day(one.date) if one is not None else "",
    )


def _seen(entry: Entry, one: Result | None) -> str:
    if one is None:
        return _NOT_RUN
    if not one.wrong:
        return _RIGHT if entry.expected else "as expected: nothing worse"
    return "; ".join([*one.seen, *one.wrong])


def _word(one: Result) -> str:
    return _RIGHT if not one.wrong else f"NOT AS EXPECTED, exit {one.exit_code}"


def _day(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%d %b %Y")
