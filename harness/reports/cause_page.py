"""What is known of a cause as a page of the docs: what, since when, how to look for it by hand, what a real run saw."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from harness.analysis.diagnosis import Finding
from harness.analysis.explaining import Explanation
from harness.knowledge.behaviours import Row
from harness.reports.markdown import fenced, inline


def render(found: Explanation, seen: Finding | None, scenarios: Sequence[str]) -> str:
    """Return the page of a cause as Markdown: *seen* is what a real run found, *scenarios* show it."""
    return "\n".join(_lines(found, seen, scenarios)) + "\n"


def _lines(found: Explanation, seen: Finding | None, scenarios: Sequence[str]) -> Iterator[str]:
    (cause,) = found.causes
    yield f"# {cause.name}\n"
    yield f"{inline(_sentence(cause.explanation))}\n"
    yield "| | |\n| --- | --- |"
    yield f"| where it comes | {inline(cause.versions)}; {inline(cause.precondition)} |"
    yield f"| named only with | {inline(cause.demands)} |"
    yield f"| source | {inline(cause.source)} |"
    yield "\n## Look for it by hand\n"
    yield f"{inline(cause.by_hand.look)} Nothing is changed by that; `<...>` is what you fill in.\n"
    yield fenced(cause.by_hand.commands)
    yield f"\n**It is this cause if:** {inline(cause.by_hand.tells)}"
    if seen is not None:
        yield from _seen(seen)
    if found.answers:
        yield "\n## How it is answered\n\n| refusal | from | status | words |\n| --- | --- | --- | --- |"
        for one in found.answers:
            since = "" if one.since in ("", "0.0.0") else one.since
            yield f"| {one.refusal} | {since} | {one.status} | {inline(one.words)} |"
    if found.rows:
        yield "\n## What is known of it, by version\n"
        for row in found.rows:
            yield from _row(row)
    if scenarios:
        yield "\n## Scenarios that show it\n"
        yield from (f"- [{name}](../scenarios.md)" for name in scenarios)


def _seen(seen: Finding) -> Iterator[str]:
    yield f"\n## What a real run found\n\n{inline(seen.sentence)}."
    yield "\n| evidence | |\n| --- | --- |"
    yield from (f"| {line.source} | {inline(line.text)} |" for line in seen.evidence)
    yield "\n## What mends it\n"
    for number, remedy in enumerate(seen.remedies):
        yield f"{'Or: ' if number else ''}{inline(remedy.sentence)}\n"
        if remedy.commands:
            yield fenced(remedy.commands)


def _row(row: Row) -> Iterator[str]:
    yield f"- **{row.id}** ({inline(row.said)}): {inline(_sentence(row.effect))}"
    if row.precondition:
        yield f"  Where: {inline(row.precondition)}."
    if row.remedy:
        yield f"  Mend: {inline(row.remedy)}."
    yield f"  Source: {inline(row.source)} ({row.grade})."


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:].removesuffix('.')}." if text else ""
