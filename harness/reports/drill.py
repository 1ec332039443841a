"""What came of a drill, as text and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator

import msgspec

from harness.analysis.drills import COUNTED, Drill, Result
from harness.knowledge import versions
from harness.reports import printable
from harness.secret import redact


def as_json(drill: Drill, result: Result) -> str:
    """Return all of it, with `verdict`, `reasons` and `exit_code` beside what was seen."""
    whole = msgspec.to_builtins(drill) | {
        "verdict": result.verdict,
        "reasons": list(result.reasons),
        "exit_code": result.exit_code,
    }
    return json.dumps(whole, indent=2) + "\n"


def as_text(drill: Drill, result: Result) -> str:
    """Return it for a terminal: the verdict first, then each version, then what was tried to be reached."""
    return printable(redact("\n".join(_lines(drill, result)) + "\n"))


def _lines(drill: Drill, result: Result) -> Iterator[str]:
    yield f"{result.verdict.upper()}  {drill.snapshot}, {drill.bytes} bytes   {versions.path(drill.path)}"
    yield from (f"  {reason}" for reason in result.reasons)
    yield ""
    if drill.opened:
        yield from _table(drill)
    if drill.way_out:
        yield f"egress was open: {drill.way_out}. What the restored Vault did, it did to real systems."
    else:
        yield "egress was closed: a loopback and no route. What the restored Vault tried, it tried in vain."
    for address, times in drill.reached_out.items():
        yield f"  tried to reach {address}, {times} times in its log"


def _table(drill: Drill) -> Iterator[str]:
    names = [name for name in COUNTED if any(name in one.counts for one in drill.opened)]
    rows = [["version", "active after", *names]]
    rows += [
        [one.version, f"{one.seconds:.1f} s", *(str(one.counts.get(name, "?")) for name in names)]
        for one in drill.opened
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    yield from ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)
    yield ""
