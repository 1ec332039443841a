"""A judgement as text for people: the summary, then the details, and the verdict again where the prompt will be."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from io import StringIO
from typing import Any, Final

import msgspec
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from harness import secret
from harness.analysis.comparison import Change
from harness.analysis.correlation import EvidenceLine
from harness.analysis.diagnosis import Finding
from harness.analysis.record_view import day_and_time
from harness.analysis.rules import Remedy
from harness.analysis.token_reviews import LoginReview
from harness.analysis.verdict import Judgement, Outcome
from harness.knowledge import versions
from harness.reports import audit, defused, leases, nodes, printable, storages, storms
from harness.reports.tried import IN_FULL, TRIED, Writing, advised, in_full, shortly, tried
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
    calm,
    cause,
    evidence_text,
    expectation,
    first_of,
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
    seen_from,
    surprises,
    trimmed,
    unlearned,
    unsure,
    ways_back,
    what_else,
)

_STYLE: Final[Mapping[Outcome, str]] = {
    "pass": "bold green",
    "expected-fail": "bold green",
    "fail": "bold red",
    "inconclusive": "bold yellow",
    "unexpected-pass": "bold red",
}
_KIND_STYLE: Final = {
    "regression": "bold red",
    "latent": "bold yellow",
    "pre-existing": "bold magenta",
    "improvement": "bold green",
}

_LINES_FOR_ONE: Final = 40
_LINES: Final = 80
"""The most lines of a summary: of one finding, and of more than one. A screen is 100 columns wide."""

_SENTENCE_END: Final = re.compile(r"(?<=[.!?]) (?=[A-Z])")
_SHORTEST_SENTENCE: Final = 30
"""Characters. What is shorter may well stand twice."""

_ALL_LOGINS: Final = 6
_MOST_LOGINS: Final = 12
_MOST_CHANGES: Final = 60
_MOST_HEADS: Final = 12
_MOST_UNCHECKED: Final = 60


class _Room(msgspec.Struct, frozen=True):
    """How much of a summary there is room for."""

    findings: int = 100
    lines: int = 60
    """of a list; with none, what it is about is said in one line"""
    alternatives: bool = True
    """the commands of all but the first way to mend something"""
    ways: int = 100
    """the ways to mend something that are told at all"""
    leads: bool = True
    logins: bool = True
    outages: int = 3
    rollings: int = 100
    """the steps that took several nodes on"""


_ROOMS: Final = (
    _Room(lines=12),
    _Room(lines=12, alternatives=False),
    _Room(lines=6, alternatives=False, leads=False, rollings=2),
    _Room(lines=6, findings=6, alternatives=False, leads=False, logins=False, outages=1, rollings=2),
    _Room(lines=3, findings=4, alternatives=False, leads=False, logins=False, outages=1, rollings=2),
    _Room(lines=2, findings=4, alternatives=False, leads=False, logins=False, outages=1, rollings=2),
    _Room(lines=2, findings=2, alternatives=False, leads=False, logins=False, outages=1, rollings=2),
    _Room(lines=2, findings=2, alternatives=False, leads=False, logins=False, outages=1, ways=1, rollings=1),
    _Room(lines=1, findings=2, alternatives=False, leads=False, logins=False, outages=1, ways=1, rollings=1),
    _Room(lines=0, findings=2, alternatives=False, leads=False, logins=False, outages=1, ways=1, rollings=1),
)
"""From all that is worth a summary to the least: the first that fits is taken, or the last."""


class _Totals(msgspec.Struct, frozen=True):
    """What a report says of a thousand apps, of which it shows a few."""

    apps: tuple[str, ...]
    """whose each finding is that is shown for all those of its kind and cause"""
    labels: tuple[str, ...]
    """the kind of each of those findings, and whether they are as expected"""
    logins: tuple[tuple[str, ...], ...]
    """who reviewed which login, as rows"""
    logins_left_out: int
    what_else: tuple[str, ...]
    unsure: tuple[str, ...]
    changes: int
    questions: int


def render(judgement: Judgement, *, width: int = 100, colour: bool = False, details: bool = True) -> str:
    """Return *judgement* as text, at most *width* columns wide; without *details* what fits a screen or two.

    Commands, and the two lines that say where the record is and how to repeat the run, are never broken. Control
    characters in what servers said are written out, and no line is a command to a CI job.
    """
    judgement, totals = _abridged(judgement)
    judgement = msgspec.convert(_harmless(msgspec.to_builtins(judgement)), Judgement)
    if details:
        return _rendered(judgement, totals, _Room(), width, colour=colour, details=True)
    most = _LINES_FOR_ONE if len(judgement.findings) <= 1 else _LINES
    most += _LINES_FOR_ONE if judgement.proofs or judgement.unproven else 0
    text = ""
    for room in _ROOMS:
        text = _rendered(judgement, totals, room, width, colour=colour, details=False)
        if text.count("\n") <= most:
            break
    return text


def _rendered(judgement: Judgement, totals: _Totals, room: _Room, width: int, *, colour: bool, details: bool) -> str:
    out = StringIO()
    console = Console(
        file=out,
        width=width,
        force_terminal=colour,
        color_system="standard" if colour else None,
        no_color=not colour,
        highlight=False,
        soft_wrap=False,
        emoji=False,
        markup=False,
    )
    _Summary(console, judgement, totals, room, details=details).write()
    if details:
        _details(console, judgement, totals)
    _last_line(console, judgement, totals)
    lines = defused(secret.redact(out.getvalue())).splitlines()
    return "".join(line.rstrip() + "\n" for line in lines)


def _abridged(judgement: Judgement) -> tuple[Judgement, _Totals]:
    """Return *judgement* with only as much of its long lists as is shown, and what is said of the rest."""
    groups, labelled = grouped(judgement.findings), labels(judgement)
    telling = _telling(judgement.reviewing)
    rows = logins(telling)
    shown = msgspec.structs.replace(
        judgement,
        findings=tuple(group[0] for group in groups),
        weights=(),
        reviewing=(),
        changes=judgement.changes[:_MOST_CHANGES],
        observations=judgement.observations[-1:],
    )
    totals = _Totals(
        apps=tuple(printable(", ".join(apps_of(group))) for group in groups),
        labels=tuple(label_of(group, labelled) for group in groups),
        logins=tuple(tuple(map(printable, row)) for row in rows[:_MOST_LOGINS]),
        logins_left_out=len(judgement.reviewing) - len(telling) + max(len(rows) - _MOST_LOGINS, 0),
        what_else=tuple(map(printable, what_else(judgement))),
        unsure=tuple(map(printable, unsure(judgement))),
        changes=len(judgement.changes),
        questions=len(judgement.observations),
    )
    return shown, totals


def _telling(rows: Sequence[LoginReview]) -> Sequence[LoginReview]:
    """Return *rows*; of many, only those of logins that are not as the same app's was at the moment before."""
    if len(rows) <= _ALL_LOGINS:
        return rows
    last: dict[tuple[str, str], tuple[object, ...]] = {}
    telling = []
    for row in rows:
        what = (row.answer, row.status, row.should_present, row.reviewer, row.review_status)
        if last.get((row.app, row.mount)) != what:
            telling.append(row)
        last[row.app, row.mount] = what
    return telling


def _harmless(value: Any) -> Any:
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, dict):
        return {_harmless(name): _harmless(part) for name, part in value.items()}
    return [_harmless(part) for part in value] if isinstance(value, list | tuple) else value


class _Summary:
    """What fits a screen or two: verdict, a paragraph a finding and what to do, what else changed, what was assumed.

    A sentence that stands in it already is not written again.
    """

    def __init__(self, console: Console, judgement: Judgement, totals: _Totals, room: _Room, *, details: bool) -> None:
        self._console = console
        self._judgement = judgement
        self._crowd = totals
        self._room = room
        self._details = details
        self._said: set[str] = set()

    def write(self) -> None:
        judgement, console = self._judgement, self._console
        self._head()
        told = list(zip(judgement.findings, self._crowd.apps, self._crowd.labels, strict=True))
        told.sort(key=lambda one: one[0].kind != "latent")
        for finding, apps, label in told[: self._room.findings]:
            self._finding(finding, apps, label)
        rest = told[self._room.findings :]
        heads = [f"{label}  {headline(one, [apps] if apps else [])}   {cause(one)}" for one, apps, label in rest]
        self._lines("Also found; -v says more", heads, _MOST_HEADS)
        if said := calm(judgement):
            console.print(f"\n{said}")
        self._tried()
        if self._crowd.unsure:
            lines = first_of([f"could not be known: {reason}" for reason in self._crowd.unsure])
            console.print(Padding(Text("\n".join(lines), "yellow"), (0, 2)))
        if self._room.logins:
            _logins(console, self._crowd)
        rows = [*storms.told(judgement.storms, figures=self._room.ways > 1)]
        rows += [*nodes.told(judgement.rollings, self._room.rollings), *leases.told(judgement.leases)]
        rows += [*audit.told(judgement.audits, self._room.rollings), *storages.told(judgement)]
        # for how long running apps could not renew: a line a hop, the longest first
        rows += [("outage", line) for line in first_of(outages(judgement.renewals), self._room.outages)]
        _rows(console, rows)
        self._lines(NEWS, surprises(judgement), max(self._room.lines, 2))
        self._lines(GOING_BACK, list(map(printable, ways_back(judgement))), max(self._room.lines, 2))
        self._lines(WHAT_ELSE, self._crowd.what_else, self._room.lines)
        self._lines(NOT_WHOLE, trimmed(judgement), max(self._room.lines, 2))
        self._lines(ASSUMED, judgement.assumed, self._room.lines)
        console.print()
        console.print(f"record  {judgement.run_directory}", soft_wrap=True)
        console.print(f"repeat  {judgement.repeat}", soft_wrap=True)
        if not self._details:
            unchecked = len(set(judgement.not_checked))
            what = f"evidence, configs, every change, {unchecked} things not checked, digests, Terraform"
            self._console.print(Text(f"more    with -v: {what}", "dim"))

    def _head(self) -> None:
        judgement, versions = self._judgement, self._judgement.versions
        head = Text()
        head.append(OUTCOME[judgement.outcome], _STYLE[judgement.outcome])
        head.append(f"  {judgement.scenario}", "bold")
        head.append(f"   {path_of(versions)}, driver {judgement.driver}")
        self._console.print(head)
        if said := nothing_learned(judgement):
            self._console.print(Text(said, "bold yellow"))
        if said := expectation(judgement):
            self._console.print(Text(said, "green" if judgement.as_expected else "yellow"))
        if judgement.left_behind:
            self._console.print(Text(f"left behind: {judgement.left_behind}", "bold red"))

    def _finding(self, finding: Finding, apps: str, label: str) -> None:
        head = Text("\n")
        head.append(label, _KIND_STYLE[finding.kind])
        head.append(f"  {headline(finding, [apps] if apps else [])}", "bold")
        head.append(f"   {cause(finding)}")
        self._console.print(head)
        self._paragraph("", f"{finding.sentence}.")
        if finding.outlook and finding.outlook.sentence:
            self._paragraph("when  ", finding.outlook.sentence)
        if said := afterwards(finding):
            self._paragraph("next  ", said)
        ways = list(mending(remedies_of(finding)))
        for word, remedy in ways[: self._room.ways]:
            self._remedy(f"{word:6}", remedy, first=word == "mend")
        if len(ways) > self._room.ways:
            left = len(ways) - self._room.ways
            self._paragraph("or    ", f"{left} other way{'s' if left > 1 else ''} to mend it: -v")
        cleared = [lead.lead for lead in finding.ruled_out if lead.state == "ruled out"]
        if cleared and self._room.leads:
            self._paragraph("not   ", ", ".join(cleared) + " (ruled out)")

    def _remedy(self, word: str, remedy: Remedy, *, first: bool) -> None:
        fresh = [command for command in remedy.commands if command not in self._said]
        hidden = bool(fresh) and not (first or self._room.alternatives)
        if not fresh and remedy.words in self._said:
            self._paragraph(word, "as said above")
            return
        counted = f"{len(fresh)} command{'s' if len(fresh) > 1 else ''}: -v"
        self._paragraph(word, remedy.sentence, f" ({counted})" if hidden else "")
        # not before it is written: what is said already is left out
        self._said.add(remedy.words)
        for command in [] if hidden else fresh:
            self._said.add(command)
            self._console.print(Text(f"      {command}"), soft_wrap=True)

    def _tried(self) -> None:
        """Say what came of the remedies that were tried, and what those write that mend."""
        judgement, console = self._judgement, self._console
        told = tried(judgement)
        if told or judgement.unproven:
            _title(console, TRIED)
        for one in told:
            head = Text(one.word, "bold green" if one.well else "bold red").append(f"  {one.head}", "")
            console.print(Padding(head, (0, 2)))
            for word, said in one.lines:
                console.print(Padding(Text(f"{word:8}{said}"), (0, 0, 0, 6)))
        for said in judgement.unproven:
            console.print(Padding(Text(said, "yellow"), (0, 2)))
        if not self._details:
            for writing in advised(judgement):
                _written(console, writing, terraform=False)

    def _paragraph(self, word: str, text: str, end: str = "") -> None:
        """Write what of *text* does not stand above already, and *end*."""
        fresh = [one for one in _SENTENCE_END.split(text) if one not in self._said]
        self._said.update(one for one in fresh if len(one) >= _SHORTEST_SENTENCE)
        if fresh:
            self._console.print(Padding(Text(word + " ".join(fresh) + end), (0, 2)))

    def _lines(self, title: str, lines: Sequence[str], most: int = 100) -> None:
        if not lines:
            return
        if most == 0:
            self._console.print(Text(f"\n{title}: {len(lines)} thing{'s' if len(lines) > 1 else ''}, with -v"))
            return
        _title(self._console, title)
        listed = Table.grid(padding=(0, 1, 0, 0))
        for line in first_of(lines, most, "-v shows more"):
            listed.add_row("  -", Text(line))
        self._console.print(listed)


def _logins(console: Console, totals: _Totals) -> None:
    if not totals.logins:
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_edge=False)
    for title in LOGINS:
        table.add_column(title, style="", header_style="dim", overflow="fold")
    for app, moment, answer, presents, by in totals.logins:
        table.add_row(app, moment, Text(answer, "" if answer.startswith("2") else "red"), presents, by)
    console.print()
    console.print(table)
    if totals.logins_left_out:
        console.print(
            f"... and {totals.logins_left_out} more; what is as it was at the moment before is left out: "
            "-o json shows all"
        )


def _rows(console: Console, rows: Sequence[tuple[str, str]]) -> None:
    """Print lines, each after the word that says what it is about."""
    if not rows:
        return
    lines = Table.grid(padding=(0, 2, 0, 0))
    for word, line in rows:
        lines.add_row(Text(word, "dim"), line)
    console.print()
    console.print(lines)


def _details(console: Console, judgement: Judgement, totals: _Totals) -> None:
    shown: set[str] = set()
    for finding in judgement.findings:
        _finding_in_full(console, finding, shown)
    for writing in in_full(judgement.findings):
        _written(console, writing, terraform=True)
    _title(console, "Configs, and how they came to be")
    for config in judgement.configs:
        file = "with a pod token file" if config.token_file else "with no pod token file"
        by = versions.called(config.written_by)
        line = f"auth/{config.mount}/config asks {config.cluster}; written by {by} {file}"
        console.print(Text(f"{line}; stored reviewer: {config.stored_reviewer}"))
        console.print(Padding(Text("  ".join(f"{name}={value}" for name, value in config.fields.items())), (0, 4)))
    _changes(console, judgement.changes, totals.changes)
    _title(console, NOT_CHECKED)
    for line in first_of(list(dict.fromkeys(judgement.not_checked)), _MOST_UNCHECKED):
        console.print(Padding(Text(f"- {line}"), (0, 2)))
    _made_of(console, judgement, totals.questions)


def _finding_in_full(console: Console, finding: Finding, shown: set[str]) -> None:
    what = f"{finding.effect} {finding.app}".rstrip()
    _title(console, f"Evidence: {what}, {finding.rule}; {seen_from(finding)}")
    _evidence_lines(console, finding.evidence, shown)
    if finding.explanation:
        console.print(Padding(Text(f"known  {finding.explanation}. Source: {finding.source}"), (0, 2)))
    for lead in finding.ruled_out:
        console.print(Padding(Text(f"{lead.state}: {lead.lead}. {lead.because}"), (0, 2)))
        _evidence_lines(console, lead.evidence, shown, indent=6)


def _written(console: Console, writing: Writing, *, terraform: bool) -> None:
    """Write what a remedy writes: commands as they are, never broken."""
    _title(console, f"{IN_FULL}: {writing.head}")
    for line in (*writing.writes, *(writing.terraform.splitlines() if terraform else ())):
        console.print(Text(f"      {line}".rstrip()), soft_wrap=True)


def _evidence_lines(console: Console, evidence_lines: Iterable[EvidenceLine], shown: set[str], indent: int = 4) -> None:
    """Write *lines of evidence*; of one that is *shown* already only where it is."""
    for evidence_line in evidence_lines:
        line = evidence_text(evidence_line)
        if evidence_line.line and line in shown:
            line = f"{evidence_text(msgspec.structs.replace(evidence_line, text='as above'))}"
        shown.add(line)
        console.print(Padding(Text(line), (0, 0, 0, indent)))


def _changes(console: Console, changes: Sequence[Change], number: int) -> None:
    if not changes:
        return
    _title(console, EVERY_CHANGE)
    for change in changes:
        what = " ".join(part for part in (change.probe, change.app or change.mount, change.item, change.field) if part)
        line = Text(f"{what} {change.to_moment}: {change.before}  ->  {change.after}")
        console.print(Padding(line, (0, 2)))
        if change.explained:
            console.print(Padding(Text(change.explained, "dim"), (0, 6)))
    if number > len(changes):
        console.print(f"  ... and {number - len(changes)} more: -o json shows all")


def _made_of(console: Console, judgement: Judgement, questions: int) -> None:
    _title(console, MADE_OF)
    for artifact in judgement.artifacts:
        note = "".join(f"; {each}" for each in ("trimmed" if artifact.trimmed else "", artifact.note) if each)
        line = f"{artifact.product} {artifact.version}  sha256 {artifact.sha256[:16]}  {artifact.source}{note}"
        console.print(Padding(Text(line), (0, 2)))
    phases = "  ".join(f"{phase.name} {phase.seconds:.2f} s" for phase in judgement.phases)
    console.print(Padding(Text(f"time: {phases}"), (0, 2)))
    last = judgement.observations[-1:]
    when = day_and_time(last[0].ended or last[0].started) if last and last[0].ended else "?"
    console.print(Padding(Text(f"{questions} questions asked, the last {when}; {judgement.machine}"), (0, 2)))


def _last_line(console: Console, judgement: Judgement, totals: _Totals) -> None:
    """Say the verdict again, in one line where it can be: it is what stands above the prompt."""
    reasons = [
        headline(finding, [apps] if apps else []) for finding, apps in zip(judgement.findings, totals.apps, strict=True)
    ]
    doubts = [*([f"nothing was learned of {who}"] if (who := unlearned(judgement)) else []), *totals.unsure]
    # what stands first is why the word is what it is
    reasons = [*doubts, *reasons] if judgement.outcome == "inconclusive" else [*reasons, *doubts]
    reasons = [*shortly(judgement), *reasons]
    if judgement.left_behind:
        reasons.append("something was left behind")
    reasons = reasons or ["every question was answered as before"]
    hoped = "" if judgement.as_expected else "not as expected, "
    word, end = OUTCOME[judgement.outcome], f"; {hoped}exit {judgement.exit_code}"
    counted = f"{len(reasons)} things to know" if len(reasons) > 1 else ""
    ways = ["; ".join(reasons[:3]), *([f"{reasons[0]}, and {len(reasons) - 1} more", counted] if counted else [])]
    fitting = (way for way in ways if len(f"{word}  {way}{end}") <= console.width)
    line = Text("\n")
    line.append(word, _STYLE[judgement.outcome])
    console.print(line.append(f"  {next(fitting, ways[-1])}{end}"))


def _title(console: Console, text: str) -> None:
    console.print()
    console.print(Text(text, "bold"))
