"""A judgement as a page that opens from disk: what to know on the first screen, and below it all that shows it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec
from markupsafe import Markup

from harness.analysis import login_story
from harness.analysis.comparison import Change
from harness.analysis.correlation import EvidenceLine
from harness.analysis.diagnosis import Finding
from harness.analysis.login_story import Pair, Party
from harness.analysis.record_view import Facts, day_and_time
from harness.analysis.rules import Remedy
from harness.analysis.verdict import Judgement, Outcome
from harness.knowledge import versions
from harness.record.journal import Record
from harness.reports import gaps, page, sequence, storms, timeline
from harness.reports.table import NO_RECORD, Row, last_line, severity, worst
from harness.reports.tried import Tried, in_full, tried
from harness.reports.wording import (
    LOGINS,
    NO_FORECAST,
    OUTCOME,
    against,
    apps_of,
    calm,
    cause,
    evidence_text,
    grouped,
    headline,
    label_of,
    labels,
    logins,
    nothing_learned,
    path_of,
    remedies_of,
    seen_from,
    trimmed,
    unsure,
    ways_back,
    what_else,
)
from harness.scenario import driver_traits, moments

_COLOUR: Final[dict[Outcome, str]] = {
    "pass": "pass",
    "expected-fail": "pass",
    "fail": "fail",
    "inconclusive": "inconclusive",
    "unexpected-pass": "fail",
}
_PLAIN: Final[Mapping[Outcome, str]] = {
    "expected-fail": "Something gets worse.",
    "inconclusive": "Not all of it is known: this is no all-clear.",
    "unexpected-pass": "No answer got worse, and the scenario expects otherwise.",
}
_KIND_COLOUR: Final = {
    "regression": "fail",
    "latent": "inconclusive",
    "pre-existing": "note",
    "improvement": "pass",
}
_BOTH_SIDES: Final = {
    "What the app was answered": ("answer",),
    "What Vault wrote": ("vault audit", "vault log", "audit device"),
    "What the API server wrote": ("api audit", "api log"),
    "What was written, issued and started before": ("config", "token", "policy", "pod", "server", "nodes"),
}
_PAIRS: Final = 6
_FINDINGS: Final = 60
_CHANGES: Final = 400
_COLOUR_OF_CODE: Final = {0: "pass", 1: "fail"}
"""The colour of an exit code; that of any other is doubt."""

_ROWS: Final = 300
_NAMES: Final = 40
_UNCHECKED: Final = 100
_LINE: Final = 2_500
_TEXT: Final = 1_500
MOST: Final = 25_000_000
"""Bytes of a page with several runs; what has no room is told, and `rehearse judge --html` shows it."""


class _Lines:
    """The lines of the record that a page shows, because something on it leads there."""

    def __init__(self, record: Record, prefix: str) -> None:
        self._record = record
        self._prefix = prefix
        self._wanted: dict[int, None] = {}

    def to(self, line: int) -> str:
        """Return where a link to a line leads, or "" where there is no such line."""
        if not 0 < line <= len(self._record):
            return ""
        self._wanted[line] = None
        return f"{self._prefix}line-{line}"

    def shown(self) -> Iterator[dict[str, Any]]:
        """Yield every line that something leads to, in order."""
        for line in sorted(self._wanted):
            event = self._record.event(line)
            said: dict[str, Any] = json.loads(msgspec.json.encode(event))
            at = getattr(event, "at", 0.0) or said.get("started", 0.0)
            text = json.dumps(said, ensure_ascii=False)
            yield {
                "id": f"{self._prefix}line-{line}",
                "number": line,
                "what": said["event"],
                "at": day_and_time(at) if at else "",
                "text": _cut(text, _LINE),
            }


def render(record: Record, judgement: Judgement) -> str:
    """Return the page of one run. Nothing but *record* is read, and no other file is needed to look at it."""
    return page.fill("run", title=_title(judgement), bodies=[body(record, judgement)], rows=[], left_out=0)


def of_many(rows: Sequence[Row], bodies: Mapping[int, Markup]) -> str:
    """Return one page for several runs: a table of all, the worst first, and below it the *bodies* that had room.

    Each body has the number of its row, from 0; `prefix_of` says by which prefix it was made.
    """
    shown = [(row, f"{prefix_of(number)}title" if number in bodies else "") for number, row in enumerate(rows)]
    shown.sort(key=lambda one: severity(one[0].exit_code))
    left_out = sum(row.word != NO_RECORD for row in rows) - len(bodies)
    return page.fill(
        "run",
        title=f"{len(rows)} rehearsals",
        all=(last_line(rows), _COLOUR_OF_CODE.get(worst(rows), "inconclusive")),
        bodies=list(bodies.values()),
        rows=[(row, target, _COLOUR_OF_CODE.get(row.exit_code, "inconclusive")) for row, target in shown],
        left_out=left_out,
    )


def prefix_of(number: int) -> str:
    """Return what tells the places of a run from those of others on one page."""
    return f"run{number + 1}-"


def body(record: Record, judgement: Judgement, prefix: str = "") -> Markup:
    """Return what a page says of one run; *prefix* tells its places on the page from those of other runs."""
    facts = Facts(record)
    lines = _Lines(record, prefix)
    told = timeline.rows(facts)
    spent = timeline.total(told) if timeline.bars(record, told) else 0.0
    met = gaps.rows(judgement.rollings) if timeline.bars(record, told) else []
    reviewed, written = logins(judgement.reviewing), list(in_full(judgement.findings))
    unchecked = list(dict.fromkeys(judgement.not_checked))
    values: dict[str, Any] = {
        "prefix": prefix,
        "many": bool(prefix),
        "judgement": judgement,
        "head": _head(judgement),
        "findings": list(_findings(judgement, lines)),
        "pairs": list(_pairs(facts, judgement, lines)),
        "login_titles": LOGINS,
        "storm_titles": storms.TITLES,
        "storm_figures": storms.FIGURES.capitalize(),
        "storms": storms.rows(judgement.storms)[:_ROWS],
        "gap_titles": gaps.TITLES,
        "gaps": met[:_ROWS],
        "logins": reviewed[:_ROWS],
        "timeline": [_step(row, spent, lines) for row in told[:_ROWS]],
        "no_forecast": NO_FORECAST.removeprefix("; ") if judgement.renewals else "",
        "phases": judgement.phases,
        "changes": [_change(one) for one in judgement.changes[:_CHANGES]],
        "compared": len({one.moment for one in facts.observations}) > 1,
        "what_else": what_else(judgement),
        "ways_back": ways_back(judgement),
        "configs": [(one, versions.called(one.written_by)) for one in judgement.configs[:_ROWS]],
        "tried": _tried(judgement),
        "in_full": written[:_FINDINGS],
        "not_checked": unchecked[:_UNCHECKED],
        "made": list(_made_of(judgement)),
        "phrases": {"trimmed": trimmed(judgement), "when": day_and_time(record.started.at)},
        "start": record.started,
        "lines": (),
        # what has no room on the page is told beside what has
        "rest_of": {
            "findings": len(grouped(judgement.findings)) - _FINDINGS,
            "logins": len(reviewed) - _ROWS,
            "gaps": len(met) - _ROWS,
            "timeline": len(told) - _ROWS,
            "changes": len(judgement.changes) - _CHANGES,
            "configs": len(judgement.configs) - _ROWS,
            "in_full": len(written) - _FINDINGS,
            "not_checked": len(unchecked) - _UNCHECKED,
        },
    }
    values["lines"] = list(lines.shown())
    return page.part("report", **values)


def _title(judgement: Judgement) -> str:
    return f"{OUTCOME[judgement.outcome]}: {judgement.scenario}"


def _head(judgement: Judgement) -> dict[str, Any]:
    """Return what stands first: the verdict, in a word and in a sentence, and what is not known."""
    doubts = [one.rstrip(".") for one in unsure(judgement)]
    return {
        "word": OUTCOME[judgement.outcome],
        "colour": _COLOUR[judgement.outcome],
        "plain": _plain(judgement),
        "path": path_of(judgement.versions, "→"),
        "missed": judgement.missed,
        "unexpected": judgement.unexpected,
        "unlearned": nothing_learned(judgement),
        "doubts": doubts[:_NAMES],
        "doubts_left_out": max(len(doubts) - _NAMES, 0),
        "predicted": not driver_traits.of(judgement.driver).real,
        "cut_off": any(one.kind == "unfinished" for one in judgement.doubts),
    }


def _plain(judgement: Judgement) -> str:
    """Return the verdict as a sentence or two for somebody who does not know the words of tests."""
    beside = against(judgement)
    if judgement.outcome == "fail":
        worse = any(weight.fails for weight in judgement.weights)
        said = "Something gets worse" if worse else "No answer got worse"
        return f"{said}, and not as the scenario expects." if judgement.expects else f"{said}. {beside}".strip()
    return f"{_PLAIN.get(judgement.outcome, calm(judgement))} {beside}".strip()


def _findings(judgement: Judgement, lines: _Lines) -> Iterator[dict[str, Any]]:
    labelled, numbers = labels(judgement), {one: number for number, one in enumerate(judgement.findings)}
    for place, group in enumerate(grouped(judgement.findings)[:_FINDINGS], 1):
        first = group[0]
        apps = list(dict.fromkeys(one.app for one in group if one.app))
        yield {
            "place": place,
            "numbers": {numbers[one] for one in group},
            "label": label_of(group, labelled),
            "colour": _KIND_COLOUR[first.kind],
            "headline": headline(first, apps_of(group)),
            "cause": cause(first),
            "sentence": f"{first.sentence}.",
            "apps": apps[:_NAMES],
            "apps_left_out": max(len(apps) - _NAMES, 0),
            "since": _since(first),
            "outlook": first.outlook.sentence if first.outlook else "",
            "remedies": [_remedy(one) for one in remedies_of(first)],
            "sides": list(_sides(first, lines)),
            "known": f"{first.explanation}. Source: {first.source}" if first.explanation else "",
            "leads": [_lead(lead, lines) for lead in first.ruled_out],
            "ambiguous": first.ambiguous,
            "seen_from": seen_from(first),
            "of": len(group),
        }


def _since(finding: Finding) -> str:
    if not finding.hop:
        return "From the start: it was so before anything was changed."
    where = "" if finding.moment in ("", moments.after(finding.hop)) else f", seen {finding.moment}"
    return f"From {versions.called(finding.hop)} on{where}."


def _remedy(remedy: Remedy) -> dict[str, Any]:
    return {"sentence": remedy.sentence, "commands": "\n".join(remedy.commands), "unproven": remedy.unproven}


def _sides(finding: Finding, lines: _Lines) -> Iterator[dict[str, Any]]:
    """Yield the evidence of a finding by who wrote it, so that both sides of a login stand beside each other."""
    for title, sources in _BOTH_SIDES.items():
        told = [_evidence(one, lines) for one in finding.evidence if one.source in sources]
        if told:
            yield {"title": title, "lines": told}


def _evidence(line: EvidenceLine, lines: _Lines) -> dict[str, Any]:
    source, _, said = evidence_text(msgspec.structs.replace(line, line=0)).partition(": ")
    at = day_and_time(line.at) if line.at else ""
    return {"source": source, "text": _cut(said, _TEXT), "line": line.line, "to": lines.to(line.line), "at": at}


def _lead(lead: Any, lines: _Lines) -> dict[str, Any]:
    return {
        "lead": lead.lead,
        "state": lead.state,
        "because": lead.because,
        "lines": [(one.line, lines.to(one.line)) for one in lead.evidence if one.line],
    }


def _pairs(facts: Facts, judgement: Judgement, lines: _Lines) -> Iterator[dict[str, Any]]:
    every = list(login_story.pairs(facts, judgement.findings, judgement.reviewing))
    for number, pair in enumerate(every[:_PAIRS], 1):
        yield {
            "number": number,
            "apps": ", ".join(pair.apps[:_NAMES]),
            "apps_left_out": max(len(pair.apps) - _NAMES, 0),
            "first": pair.apps[0],
            "others": len(pair.apps) - 1,
            "findings": set(pair.findings),
            "logins": list(_drawn(pair, lines, number)),
            "left_out": max(len(every) - _PAIRS, 0) if number == _PAIRS else 0,
        }


def _drawn(pair: Pair, lines: _Lines, number: int) -> Iterator[dict[str, Any]]:
    for place, login in enumerate(pair.logins):
        beside = pair.logins[1 - place] if place and len(pair.logins) > 1 else None
        diagram = sequence.drawn(login, beside)
        vault = f"{login.vault} {versions.alone(login.version)}" if login.vault else versions.called(login.version)
        names: dict[Party, str] = {"app": login.app, "vault": vault, "api": f"API server of {login.at['api']}"}
        said = sequence.in_words(login.parts, names)
        yield {
            "id": f"picture-{number}-{place}",
            "title": f"{login.moment}: {vault}",
            "diagram": diagram,
            "to": [lines.to(arrow.line) for arrow in diagram.arrows],
            "words": [
                (text, [(line, lines.to(line)) for line in part.lines])
                for text, part in zip(said, login.parts, strict=True)
            ],
            "gap": login.gap,
            "ambiguous": login.ambiguous,
        }


def _step(row: timeline.Row, spent: float, lines: _Lines) -> dict[str, Any]:
    """Return a row of the timeline; its bar in thousandths of the whole."""
    scale = 1000 / spent if spent else 0.0
    return {
        "row": row,
        "left": min(row.begin * scale, 996.0),
        "width": max(row.seconds * scale, 4.0),
        "bar": bool(scale),
        "text": _cut(row.text, _TEXT),
        "to": lines.to(row.line),
    }


def _change(change: Change) -> dict[str, Any]:
    parts = (change.probe, change.app or change.mount, change.item, change.field)
    return {
        "what": " ".join(part for part in parts if part),
        "where": " ".join(part for part in (change.node or change.vault, change.to_moment) if part),
        "before": _cut(change.before, _TEXT),
        "after": _cut(change.after, _TEXT),
        "explained": change.explained,
        "kind": change.what,
        "app": change.app,
    }


def _tried(judgement: Judgement) -> dict[str, Any]:
    told: list[Tried] = tried(judgement)
    return {"told": told, "unproven": judgement.unproven, "asked": bool(told or judgement.unproven)}


def _made_of(judgement: Judgement) -> Iterator[tuple[str, str, str, str]]:
    for used in judgement.artifacts:
        source = "; ".join(
            each for each in (used.source, used.trimmed and f"trimmed: {used.trimmed}", used.note) if each
        )
        yield used.product, used.version, used.sha256, source
    for cluster, version in judgement.versions.kubernetes.items():
        yield f"cluster {cluster}", version, "", "as its API server answered"
    for name, ran in (judgement.versions.vaults or {"vault": judgement.versions.vault}).items():
        if not ran:
            continue
        yield name, ", ".join(ran), "", "as it answered"
    yield "rehearse", judgement.versions.harness, "", judgement.machine


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
