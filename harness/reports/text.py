"""A judgement as text for people: the summary, then the details, and the verdict again where the prompt will be."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from io import StringIO
from typing import Any, Final

import msgspec
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from harness import secret
from harness.comparison import Change
from harness.diagnosis import Finding
from harness.events import Renewals
from harness.evidence import Exhibit
from harness.facts import day_and_time
from harness.reports import printable
from harness.reports.wording import (
    apps_of,
    as_hoped,
    exhibit_line,
    grouped,
    nothing_learned,
    outages,
    unlearned,
    unsure,
)
from harness.reviewing import Reviewing
from harness.verdict import Judgement

_VERDICT_STYLE: Final = {"pass": "bold green", "fail": "bold red", "inconclusive": "bold yellow"}
_KIND_STYLE: Final = {"regression": "bold red", "latent": "bold yellow", "pre-existing": "bold magenta"}
_REVIEWER: Final = {
    "client": "the app itself",
    "vault": "Vault's own account",
    "long-lived": "the long-lived reviewer",
    "nobody": "nobody (bearer not accepted)",
    "": "no TokenReview seen",
}
_BEARER: Final = {
    "client": "the app's own token",
    "local": "Vault's pod token",
    "explicit": "the stored token",
    "frozen": "a frozen copy of a pod token",
}

_ALL_LOGINS: Final = 6
_MOST_LOGINS: Final = 12
_MOST_OUTAGES: Final = 3
_MOST_CHANGES: Final = 60
_MOST_UNCHECKED: Final = 60


class _Crowd(msgspec.Struct, frozen=True):
    """What a report says of a thousand apps, of which it shows a few."""

    apps: tuple[str, ...]
    """whose each finding is that is shown for all those of its kind and cause"""
    logins: int
    changes: int
    questions: int


def render(judgement: Judgement, *, width: int = 100, colour: bool = False, details: bool = True) -> str:
    """Return *judgement* as text, at most *width* columns wide; without *details* only the summary.

    Control characters in what servers said are written out: they cannot steer a terminal.
    """
    judgement, crowd = _abridged(judgement)
    judgement = msgspec.convert(_harmless(msgspec.to_builtins(judgement)), Judgement)
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
    _summary(console, judgement, crowd)
    if details:
        _details(console, judgement, crowd)
    _last_line(console, judgement)
    lines = secret.redact(out.getvalue()).splitlines()
    return "".join(line.rstrip() + "\n" for line in lines)


def _abridged(judgement: Judgement) -> tuple[Judgement, _Crowd]:
    """Return *judgement* with only as much of its long lists as is shown, and what is said of the rest."""
    groups = grouped(judgement.findings)
    shown = msgspec.structs.replace(
        judgement,
        findings=tuple(group[0] for group in groups),
        weights=(),
        reviewing=_telling(judgement.reviewing)[:_MOST_LOGINS],
        changes=judgement.changes[:_MOST_CHANGES],
        observations=judgement.observations[-1:],
    )
    crowd = _Crowd(
        apps=tuple(printable(", ".join(apps_of(group))) for group in groups),
        logins=len(judgement.reviewing),
        changes=len(judgement.changes),
        questions=len(judgement.observations),
    )
    return shown, crowd


def _telling(rows: Sequence[Reviewing]) -> Sequence[Reviewing]:
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


def _summary(console: Console, judgement: Judgement, crowd: _Crowd) -> None:
    versions = judgement.versions
    head = Text()
    head.append(judgement.verdict.upper(), _VERDICT_STYLE[judgement.verdict])
    head.append(f"  {judgement.scenario}", "bold")
    head.append(f"   Vault {versions.source} -> {versions.target}, driver {judgement.driver}")
    console.print(head)
    if said := nothing_learned(judgement):
        console.print(Text(said, "bold yellow"))
    console.print(Text(_expectation(judgement), "green" if judgement.as_expected else "yellow"))
    for finding, apps in sorted(zip(judgement.findings, crowd.apps, strict=True), key=lambda f: f[0].kind != "latent"):
        _finding_in_short(console, finding, apps)
    if not judgement.findings and judgement.verdict == "pass":
        console.print()
        console.print("Nothing changed for anyone who logs in, and nothing was broken before.")
    if judgement.verdict == "inconclusive":
        lines = _first([f"could not be known: {reason}" for reason in unsure(judgement)])
        console.print(Padding(Text("\n".join(lines), "yellow"), (0, 2)))
    _reviewers(console, judgement.reviewing, crowd.logins)
    _outages(console, judgement.renewals)
    console.print()
    console.print(f"record  {judgement.run_directory}", soft_wrap=True)
    console.print(f"repeat  {judgement.repeat}", soft_wrap=True)


def _expectation(judgement: Judgement) -> str:
    lines = _first([f"expected and did not come: {one}" for one in judgement.missed])
    lines += _first([f"came unexpected: {one}" for one in judgement.unexpected])
    if lines:
        return "\n".join(lines)
    if judgement.as_expected:
        return as_hoped(judgement)
    return "The scenario has no `expect`, so no answer was to get worse." if judgement.verdict == "fail" else ""


def _first(lines: Sequence[str], most: int = 6) -> list[str]:
    """Return *lines*, or as many as a summary has room for and the number of the others."""
    return (
        list(lines)
        if len(lines) <= most
        else [*lines[: most - 1], f"... and {len(lines) - most + 1} more: -o json shows all"]
    )


def _finding_in_short(console: Console, first: Finding, apps: str) -> None:
    head = Text("\n")
    head.append(first.kind, _KIND_STYLE[first.kind])
    head.append(f"  {first.effect}" + (f": {apps}" if apps else ""), "bold")
    head.append(f", at Vault {first.hop}" if first.hop else ", before any hop")
    head.append(f"   cause: {first.rule} ({first.confidence})" if first.rule != "unexplained" else "   unexplained")
    console.print(head)
    console.print(Padding(Text(first.sentence + "."), (0, 2)))
    if first.outlook and first.outlook.sentence:
        console.print(Padding(Text("when  " + first.outlook.sentence), (0, 2)))
    console.print(Padding(Text("mend  " + first.remedy), (0, 2)))
    cleared = [lead.lead for lead in first.ruled_out if lead.state == "ruled out"]
    if cleared:
        console.print(Padding(Text("not   " + ", ".join(cleared) + " (ruled out, evidence below)"), (0, 2)))


def _reviewers(console: Console, rows: Sequence[Reviewing], number: int) -> None:
    if not rows:
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_edge=False)
    for title in ("app", "moment", "login", "Vault presents", "reviewed by"):
        table.add_column(title, style="", header_style="dim", overflow="fold")
    for row in rows:
        style = "" if row.answer == "granted" else "red"
        table.add_row(
            row.app,
            row.moment,
            Text(f"{row.status or row.answer}", style),
            _BEARER.get(row.should_present, row.should_present),
            _REVIEWER.get(row.reviewer, row.reviewer) + (f", {row.review_status}" if row.review_status else ""),
        )
    console.print()
    console.print(table)
    if number > len(rows):
        console.print(
            f"... and {number - len(rows)} more; what is as it was at the moment before is left out: -o json shows all"
        )


def _outages(console: Console, renewals: Sequence[Renewals]) -> None:
    """Say for how long running apps could not renew: a line a hop, the longest first."""
    if not renewals:
        return
    lines = Table.grid(padding=(0, 2, 0, 0))
    for line in _first(outages(renewals), _MOST_OUTAGES):
        lines.add_row(Text("outage", "dim"), line)
    console.print()
    console.print(lines)


def _details(console: Console, judgement: Judgement, crowd: _Crowd) -> None:
    for finding in judgement.findings:
        _finding_in_full(console, finding)
    _title(console, "Configs, and how they came to be")
    for config in judgement.configs:
        file = "with a pod token file" if config.token_file else "with no pod token file"
        line = f"auth/{config.mount}/config asks {config.cluster}; written by Vault {config.written_by} {file}"
        console.print(Text(f"{line}; stored reviewer: {config.stored_reviewer}"))
        console.print(Padding(Text("  ".join(f"{name}={value}" for name, value in config.fields.items())), (0, 4)))
    _changes(console, judgement.changes, crowd.changes)
    if judgement.assumed:
        _title(console, "Assumed, because the scenario does not say")
        for line in _first(judgement.assumed, _MOST_UNCHECKED):
            console.print(Padding(Text(f"- {line}"), (0, 2)))
    _title(console, "Not checked")
    for line in _first(list(dict.fromkeys(judgement.not_checked)), _MOST_UNCHECKED):
        console.print(Padding(Text(f"- {line}"), (0, 2)))
    _made_of(console, judgement, crowd.questions)


def _finding_in_full(console: Console, finding: Finding) -> None:
    _title(console, f"Evidence: {finding.effect} {finding.app}, {finding.rule}")
    _exhibits(console, finding.evidence)
    if finding.explanation:
        console.print(Padding(Text(f"known  {finding.explanation}. Source: {finding.source}"), (0, 2)))
    for lead in finding.ruled_out:
        console.print(Padding(Text(f"{lead.state}: {lead.lead}. {lead.because}"), (0, 2)))
        _exhibits(console, lead.evidence, indent=6)


def _exhibits(console: Console, exhibits: Iterable[Exhibit], indent: int = 4) -> None:
    for exhibit in exhibits:
        console.print(Padding(Text(exhibit_line(exhibit)), (0, 0, 0, indent)))


def _changes(console: Console, changes: Sequence[Change], number: int) -> None:
    if not changes:
        return
    _title(console, "Every change")
    for change in changes:
        what = " ".join(part for part in (change.probe, change.app or change.mount, change.item, change.field) if part)
        line = Text(f"{what} {change.to_moment}: {change.before}  ->  {change.after}")
        console.print(Padding(line, (0, 2)))
        if change.explained:
            console.print(Padding(Text(change.explained, "dim"), (0, 6)))
    if number > len(changes):
        console.print(f"  ... and {number - len(changes)} more: -o json shows all")


def _made_of(console: Console, judgement: Judgement, questions: int) -> None:
    _title(console, "Made of")
    for artifact in judgement.artifacts:
        note = f"; {artifact.note}" if artifact.note else ""
        line = f"{artifact.product} {artifact.version}  sha256 {artifact.sha256[:16]}  {artifact.source}{note}"
        console.print(Padding(Text(line), (0, 2)))
    phases = "  ".join(f"{phase.name} {phase.seconds:.2f} s" for phase in judgement.phases)
    console.print(Padding(Text(f"time: {phases}"), (0, 2)))
    last = judgement.observations[-1:]
    when = day_and_time(last[0].ended or last[0].started) if last and last[0].ended else "?"
    console.print(Padding(Text(f"{questions} questions asked, the last {when}; {judgement.machine}"), (0, 2)))


def _last_line(console: Console, judgement: Judgement) -> None:
    """Say the verdict again: on a small screen even a summary's head has scrolled away when the prompt comes."""
    line = Text("\n")
    line.append(judgement.verdict.upper(), _VERDICT_STYLE[judgement.verdict])
    asked = {doubt.text for doubt in judgement.doubts if doubt.kind == "unlearned"}
    reasons = [reason for reason in judgement.reasons if reason not in asked][:3]
    if who := unlearned(judgement):
        reasons.append(f"nothing was learned of {who}")
    line.append(f"  {'; '.join(reasons)}")
    expected = "as expected" if judgement.as_expected else "not as expected"
    console.print(line.append(f"; {expected}, exit {judgement.exit_code}"))


def _title(console: Console, text: str) -> None:
    console.print()
    console.print(Text(text, "bold"))
