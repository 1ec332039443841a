"""What is known of a cause, a version, a field or a row, as text."""

from __future__ import annotations

from collections.abc import Iterator

from harness.analysis.explaining import Answered, Explanation
from harness.knowledge.behaviours import Row
from harness.reports import Whole, folded


def render(found: Explanation, width: int | None = None) -> str:
    """Return an explanation as lines for people, of at most *width* columns (None: any), without a final newline."""
    return folded(_lines(found), width)


def _lines(found: Explanation) -> Iterator[str]:
    yield f"{found.what}  {found.asked}"
    if found.what == "version":
        yield f"  Kubernetes auth plugin {found.plugin or 'of a release that nobody looked up'}"
        yield f"  a login is checked in this order: {', '.join(found.order)}; then the API server is asked"
    for one in found.causes:
        yield ""
        yield f"{one.name}: {one.explanation}"
        yield f"  where     {one.versions}; {one.precondition}"
        yield f"  evidence  {one.demands}"
        yield f"  source    {one.source}"
        yield f"  by hand   {one.by_hand.look}"
        yield from (Whole(f"      {command}") for command in one.by_hand.commands)
        yield f"    shows it  {one.by_hand.tells}"
    if found.answers:
        yield from ("", "how it is answered")
        yield from map(_answer, found.answers)
    if found.what == "version":
        yield from ("", "what comes with it" if found.rows else "nothing is known to come with it")
    for row in found.rows:
        yield from _row(row)


def _answer(one: Answered) -> str:
    since = f" from {one.since}" if one.since not in ("", "0.0.0") else ""
    return f"  {one.refusal}{since}: {one.status} {one.words}"


def _row(row: Row) -> Iterator[str]:
    about = ", ".join(part for part in (row.product, row.mount and f"{row.mount} mounts", row.field) if part)
    yield ""
    yield f"{row.id}   {row.said} ({about}; {row.grade})"
    if row.precondition:
        yield f"  where     {row.precondition}"
    yield f"  effect    {row.effect}"
    for word, said in (("status", row.status), ("sign", row.signature), ("mend", row.remedy), ("source", row.source)):
        if said:
            yield f"  {word:8}  {said}"
    if row.ask:
        yield f"  ask       {row.ask}"
    yield f"  shown by  {f'probe {row.probe}' if row.probe else 'no question of a rehearsal'}"
