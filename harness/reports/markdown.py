"""A judgement as Markdown for a CI job's summary: the verdict, what was found, and the rest folded away.

Nothing that a server said can become markup: it stands in preformatted blocks, or every character that could mean
something to Markdown or HTML is written as an entity.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from harness import secret
from harness.analysis.diagnosis import Finding
from harness.analysis.token_reviews import LoginReview
from harness.analysis.verdict import Judgement
from harness.reports import audit, leases, nodes, printable, storages, storms
from harness.reports.tried import IN_FULL, TRIED, Tried, Writing, advised, in_full, tried
from harness.reports.wording import (
    ASSUMED,
    EVERY_CHANGE,
    GOING_BACK,
    LOGINS,
    MADE_OF,
    NEWS,
    NOT_CHECKED,
    NOT_WHOLE,
    OUTCOME,
    WHAT_ELSE,
    afterwards,
    apps_of,
    as_hoped,
    calm,
    cause,
    evidence,
    grouped,
    headline,
    label_of,
    labels,
    logins,
    mending,
    nothing_learned,
    outages,
    path_of,
    remedies_of,
    surprises,
    trimmed,
    unsure,
    ways_back,
    what_else,
    worst_outages_first,
)

MOST: Final = 900_000
"""Bytes. GitHub drops a summary of more than 1 MiB as a whole."""

_LONGEST: Final = 4_000
"""Characters of one text. Nobody reads more of it in a summary."""

_OPEN_ROWS: Final = 40
_SIGN: Final = {"latent": "🟡", "regression": "🔴", "pre-existing": "🟣", "improvement": "🟢"}
_STRUCTURE: Final = {ord(character): f"&#{ord(character)};" for character in "\\`*_{}[]<>&|~#$@^"}
_AT_START: Final = re.compile(r"^(\d*)([-+]|[.)](?=\s|$))")


def render(judgement: Judgement) -> str:
    """Return *judgement* as Markdown of at most 900 kB; a sentence says where something had no room.

    The first line is the verdict. The command that repeats the run stands last and is never cut off by what comes
    before it.
    """
    repeat = _repeat(judgement)
    page = _Page(MOST - _size(repeat))
    page.add([_head(judgement)])
    # latent ones first: nothing else shows those
    groups = grouped(sorted(judgement.findings, key=lambda finding: finding.kind != "latent"))
    labelled = labels(judgement)
    page.add([_finding(group, label_of(group, labelled)) for group in groups])
    page.add([_tried(one) for one in tried(judgement)], f"\n### {TRIED}\n\n")
    page.add([f"- {inline(line)}\n" for line in judgement.unproven], "\n")
    page.add([_written(one) for one in advised(judgement)], f"\n**{IN_FULL}**\n")
    _logins(page, judgement.reviewing)
    told = [*storms.told(judgement.storms), *nodes.told(judgement.rollings)]
    told += [*leases.told(judgement.leases), *audit.told(judgement.audits), *storages.told(judgement)]
    page.add([f"- **{word.capitalize()}:** {inline(line)}\n" for word, line in told], "\n")
    _outages(page, judgement)
    sections = (
        (NEWS, surprises(judgement)),
        (GOING_BACK, ways_back(judgement)),
        (WHAT_ELSE, what_else(judgement)),
        (NOT_WHOLE, trimmed(judgement)),
        (ASSUMED, judgement.assumed),
    )
    for title, lines in sections:
        listed = [f"- {inline(line)}\n" for line in lines]
        more = [f"{line}\n" for line in _more(len(listed) - _OPEN_ROWS)]
        page.add([*listed[:_OPEN_ROWS], *more], f"\n**{title}**\n\n")
    page.fold("Evidence, and leads that were ruled out", [_evidence(group) for group in groups])
    page.fold(f"{IN_FULL}: every remedy", [_written(one) for one in in_full([group[0] for group in groups])])
    page.fold(EVERY_CHANGE, list(_changes(judgement)), _table("question", "moment", "before", "after", "explained"))
    page.fold(MADE_OF, list(_made_of(judgement)), _table("part", "version", "SHA-256", "source"))
    page.fold("Time", list(_phases(judgement)), _table("phase", "seconds"))
    page.fold(NOT_CHECKED, [f"- {inline(line)}\n" for line in dict.fromkeys(judgement.not_checked)])
    return page.text() + repeat


class _Page:
    """A text that stays within its room, and says so where something did not fit."""

    _SENTENCE: Final = "\n**Cut here: {} more had no room. `rehearse judge DIRECTORY -o json` shows all.**\n"

    def __init__(self, room: int) -> None:
        self._parts: list[str] = []
        self._room = room

    def add(self, rows: Sequence[str], head: str = "", tail: str = "") -> None:
        """Write *rows* between *head* and *tail*, as many as there is room for; without rows nothing at all."""
        if not rows:
            return
        cut = self._SENTENCE.format(len(rows))
        room = self._room - _size(head) - _size(tail) - _size(cut)
        fitting = 0
        for row in rows:
            room -= _size(row)
            if room < 0:
                break
            fitting += 1
        if fitting == len(rows):
            self._write(head, *rows, tail)
        elif fitting:
            self._write(head, *rows[:fitting], self._SENTENCE.format(len(rows) - fitting), tail)
        elif self._room >= _size(cut):
            self._write(cut)

    def fold(self, title: str, rows: Sequence[str], head: str = "") -> None:
        """Write *rows* folded away under *title*."""
        self.add(rows, f"\n<details><summary>{title}</summary>\n\n{head}", "\n</details>\n")

    def text(self) -> str:
        """Return what was written."""
        return "".join(self._parts)

    def _write(self, *parts: str) -> None:
        self._parts += parts
        self._room -= sum(map(_size, parts))


def _head(judgement: Judgement) -> str:
    sign = "⚠️" if judgement.outcome == "inconclusive" else "✅" if judgement.as_expected else "❌"
    versions = judgement.versions
    path = f"{inline(path_of(versions, '→'))}, driver {inline(judgement.driver)}"
    lines = [f"- expected and did not come: {inline(one)}" for one in judgement.missed]
    lines += [f"- came unexpected: {inline(one)}" for one in judgement.unexpected]
    if not lines and judgement.as_expected:
        lines.append(inline(as_hoped(judgement)))
    lines += [f"- could not be known: {inline(reason)}" for reason in unsure(judgement)]
    if judgement.left_behind:
        lines.append(f"- left behind: {inline(judgement.left_behind)}")
    if said := calm(judgement):
        lines.append(said)
    if said := nothing_learned(judgement):
        lines.insert(0, f"**{inline(said)}**\n")
    title = f"## {sign} {OUTCOME[judgement.outcome]}: {inline(judgement.scenario)}"
    return "\n".join([title, "", path, "", *lines[:_OPEN_ROWS], *_more(len(lines) - _OPEN_ROWS), ""])


def _more(number: int) -> Iterator[str]:
    if number > 0:
        yield f"- ... and {number} more"


def _title(group: Sequence[Finding]) -> str:
    return headline(group[0], apps_of(group))


def _finding(group: Sequence[Finding], label: str) -> str:
    first = group[0]
    lines = [
        f"\n### {_SIGN[first.kind]} {label}: {inline(_title(group))}\n",
        f"**{inline(cause(first))}**\n",
        inline(f"{first.sentence}.") + "\n",
    ]
    if first.outlook and first.outlook.sentence:
        lines.append(f"- **When:** {inline(first.outlook.sentence)}")
    if said := afterwards(first):
        lines.append(f"- **Next:** {inline(said)}")
    for word, remedy in mending(remedies_of(first)):
        lines.append(f"- **{word.capitalize()}:** {inline(remedy.sentence)}")
        if remedy.commands:
            lines.append(fenced(remedy.commands, "  "))
    cleared = [lead.lead for lead in first.ruled_out if lead.state == "ruled out"]
    if cleared:
        lines.append(f"- **Not:** {', '.join(cleared)} (ruled out, evidence below)")
    return "\n".join(lines) + "\n"


def fenced(commands: Sequence[str], indent: str = "", kind: str = "sh") -> str:
    """Return commands to paste, each on its own line, in a block whose fence is longer than any backticks within."""
    text = "\n".join(_harmless(command) for command in commands)
    fence = "`" * max(3, 1 + max((len(ticks) for ticks in re.findall("`+", text)), default=0))
    return "\n".join(f"{indent}{line}" for line in ("", f"{fence}{kind}", *text.split("\n"), fence, ""))


def _tried(one: Tried) -> str:
    lines = [f"- **{one.word}:** {inline(one.head)}"]
    lines += [f"  - {word}: {inline(said)}" for word, said in one.lines]
    return "\n".join(lines) + "\n"


def _written(one: Writing) -> str:
    parts = [f"\n{inline(one.head)}\n"]
    if one.writes:
        parts.append(fenced(one.writes))
    if one.terraform:
        parts.append(fenced(one.terraform.splitlines(), kind="hcl"))
    return "\n".join(parts) + "\n"


def _logins(page: _Page, rows: Sequence[LoginReview]) -> None:
    written = [_row(*row) for row in logins(rows)]
    if len(written) > _OPEN_ROWS:
        page.fold("Who reviewed which login", written, _table(*LOGINS))
    else:
        page.add(written, "\n" + _table(*LOGINS))


def _outages(page: _Page, judgement: Judgement) -> None:
    """Say for how long running apps could not renew, and fold away what each of them met."""
    said = [f"- **Outage:** {inline(line)}\n" for line in outages(judgement.renewals)]
    page.add([*said[:_OPEN_ROWS], *(f"{line}\n" for line in _more(len(said) - _OPEN_ROWS))], "\n")
    rows = [
        _row(
            row.app,
            row.version,
            f"{row.seconds:.3f}",
            "yes" if row.renewed else "no",
            f"{row.asked}",
            ", ".join(f"{kind} {times}" for kind, times in row.failures.items()),
        )
        for row in worst_outages_first(judgement.renewals)
    ]
    titles = _table("app", "to Vault", "seconds without a renewal", "renewed again", "renewals", "of which failed")
    page.fold("Running apps, while Vault was replaced", rows, titles)


def _evidence(group: Sequence[Finding]) -> str:
    lines = list(evidence(group[0]))
    if len(group) > 1:
        lines.append(f"(this is the evidence of the first of {len(group)} findings with this cause)")
    escaped = (html.escape(_harmless(line), quote=False) for line in lines)
    return f"\n{inline(_title(group))}\n\n<pre>\n" + "\n".join(escaped) + "\n</pre>\n"


def _changes(judgement: Judgement) -> Iterator[str]:
    for change in judgement.changes:
        parts = (change.probe, change.app or change.mount, change.item, change.field)
        what = " ".join(part for part in parts if part)
        yield _row(what, change.to_moment, change.before, change.after, change.explained)


def _made_of(judgement: Judgement) -> Iterator[str]:
    for used in judgement.artifacts:
        source = "; ".join(each for each in (used.source, "trimmed" if used.trimmed else "", used.note) if each)
        yield _row(used.product, used.version, used.sha256, source)
    for cluster, version in judgement.versions.kubernetes.items():
        yield _row(f"cluster {cluster}", version, "", "as its API server answered")
    for name, ran in (judgement.versions.vaults or {"vault": judgement.versions.vault}).items():
        yield _row(name, ", ".join(ran), "", "as it answered")
    yield _row("rehearse", judgement.versions.harness, "", judgement.machine)


def _phases(judgement: Judgement) -> Iterator[str]:
    for phase in judgement.phases:
        yield _row(phase.name, f"{phase.seconds:.2f}")


def _repeat(judgement: Judgement) -> str:
    """Return the command that repeats the run, as a block."""
    return f"\nRepeat it (its record was in {inline(judgement.run_directory)}):\n{fenced([judgement.repeat])}"


def table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table whose cells show exactly what they are given."""
    return _table(*titles) + "".join(_row(*row) for row in rows)


def _table(*titles: str) -> str:
    return f"| {' | '.join(titles)} |\n|{' --- |' * len(titles)}\n"


def _row(*cells: str) -> str:
    return f"| {' | '.join(map(inline, cells))} |\n"


def inline(text: str) -> str:
    """Return *text* as one line of Markdown that shows exactly it: no markup, no link, no list, no new table cell."""
    escaped = _harmless(text).strip().translate(_STRUCTURE)
    escaped = escaped.replace("://", "&#58;//").replace("www.", "www&#46;")
    escaped = _AT_START.sub(lambda found: f"{found.group(1)}&#{ord(found.group(2))};", escaped)
    return "<br>".join(escaped.split("\n"))


def _harmless(text: str) -> str:
    text = secret.redact(printable(text))
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def _size(text: str) -> int:
    return len(text.encode())
