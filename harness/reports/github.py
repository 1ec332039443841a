"""A judgement as workflow commands of GitHub Actions: annotations at the scenario's lines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, Literal

import msgspec

from harness import secret
from harness.analysis.diagnosis import Finding
from harness.analysis.verdict import Contribution, Judgement
from harness.reports import printable
from harness.reports.wording import blamed, failed_by_news, headline, mending, remedies_of, surprises, unsure

_Level = Literal["error", "warning", "notice"]

_SHOWN_PER_LEVEL: Final = 10
"""GitHub shows that many annotations of one level for each step, and drops the others without a word."""

_LONGEST_MESSAGE: Final = 4_000
_LONGEST_TITLE: Final = 200


class _Annotation(msgspec.Struct, frozen=True):
    level: _Level
    line: int
    title: str
    message: str


def render(judgement: Judgement, scenario_file: str, lines: Mapping[str, int]) -> str:
    """Return *judgement* as workflow commands, each ended by a newline; nothing where there is nothing to say.

    *scenario_file* is the scenario's path as GitHub knows it, from the root of the repository. *lines* has the line
    of each part of it, such as "expect/0" or "apps/web"; what it lacks is annotated at line 1. Regressions that the
    scenario expects are notices: an annotation is red only where the run is.
    """
    annotations = list(_annotations(judgement, lines))
    levels: Sequence[_Level] = ("error", "warning", "notice")
    ordered = [one for level in levels for one in _all_counted([a for a in annotations if a.level == level])]
    return "".join(_command(annotation, scenario_file) + "\n" for annotation in ordered)


def _annotations(judgement: Judgement, lines: Mapping[str, int]) -> Iterator[_Annotation]:
    for number, missed in enumerate(judgement.missed):
        line = _expectation(lines, number, len(judgement.missed))
        yield _Annotation("error", line, "Expected and did not come", missed)
    blame = blamed(judgement)
    for finding, weight in zip(judgement.findings, judgement.weights, strict=True):
        yield _finding(finding, weight, lines)
    # What is to blame has its annotation; all else that came unexpected fails the run just as well.
    for unexpected in (Counter(judgement.unexpected) - Counter(blame.values())).elements():
        yield _Annotation("error", lines.get("expect", 1), "Came unexpected", unexpected)
    for doubt in judgement.doubts:
        if doubt.kind == "unlearned":
            line = next((lines[f"apps/{app}"] for app in doubt.apps if f"apps/{app}" in lines), 1)
            yield _Annotation("error", line, "Nothing was learned", doubt.text)
    yield from _proofs(judgement, lines)
    for reason in unsure(judgement):
        yield _Annotation("error", _of_reason(lines, reason), "Could not be known", reason)
    if judgement.left_behind:
        yield _Annotation("error", 1, "Something was left behind", judgement.left_behind)


def _proofs(judgement: Judgement, lines: Mapping[str, int]) -> Iterator[_Annotation]:
    """Yield the remedies that were to be proven and were not: they fail the run."""
    for proof in judgement.proofs:
        if proof.state != "mends":
            line = next((lines[f"apps/{app}"] for app in proof.apps if f"apps/{app}" in lines), 1)
            title = f"Remedy {proof.remedy + 1} for {proof.rule}: {proof.state}"
            yield _Annotation("error", line, title, proof.sentence)
    for told in surprises(judgement):
        level: _Level = "error" if failed_by_news(judgement) else "warning"
        yield _Annotation(level, 1, "Otherwise than foretold", told)
    for said in judgement.unproven:
        yield _Annotation("error", 1, "No remedy was tried", said)


def _finding(finding: Finding, weight: Contribution, lines: Mapping[str, int]) -> _Annotation:
    to_blame = weight.fails and weight.expectation is None
    foreseen = finding.kind == "regression" and not to_blame
    level: _Level = "error" if to_blame else "warning" if finding.kind == "latent" else "notice"
    line = lines.get(f"expect/{weight.expectation}", lines.get("expect", 1)) if foreseen else 1
    if line == 1:
        line = lines.get(f"apps/{finding.app}", line)
    label = f"{finding.kind}, as expected" if weight.fails and not to_blame else finding.kind
    title = f"{label}: {headline(finding, [finding.app] if finding.app else [])} ({finding.rule})"
    later = finding.outlook.sentence if finding.outlook else ""
    mend = [
        line
        for word, remedy in mending(remedies_of(finding))
        for line in (f"{word.capitalize()}: {remedy.sentence}", *remedy.commands)
    ]
    parts = (f"{finding.sentence}.", later, *mend)
    return _Annotation(level, line, title, "\n".join(part for part in parts if part))


def _expectation(lines: Mapping[str, int], number: int, of: int) -> int:
    """Return the line of the expectation with this *number* among the *of* that were missed.

    A judgement does not say which they are, so the line is only that of one entry if all entries are meant; otherwise
    it is where the expectations begin.
    """
    entries = [line for path, line in lines.items() if path.startswith("expect/") and path.count("/") == 1]
    return sorted(entries)[number] if len(entries) == of else lines.get("expect", 1)


def _of_reason(lines: Mapping[str, int], reason: str) -> int:
    """Return the line of the app whose question could not be asked: it is named after the probe."""
    words = reason.split(maxsplit=2)
    return lines.get(f"apps/{words[1]}", 1) if len(words) > 1 else 1


def _all_counted(annotations: Sequence[_Annotation]) -> Sequence[_Annotation]:
    """Return the annotations of one level; the last one that GitHub shows says how many there are, if there are more.

    Those that it does not show still stand in the step's log.
    """
    if len(annotations) <= _SHOWN_PER_LEVEL:
        return annotations
    shown = _SHOWN_PER_LEVEL - 1
    title = f"{len(annotations) - shown} more"
    message = f"GitHub shows {_SHOWN_PER_LEVEL} annotations of a kind for each step. The step's log has all of them."
    return [*annotations[:shown], _Annotation(annotations[0].level, 1, title, message), *annotations[shown:]]


def _command(annotation: _Annotation, file: str) -> str:
    title, message = _bounded(annotation.title, _LONGEST_TITLE), _bounded(annotation.message, _LONGEST_MESSAGE)
    place = f"file={_property(_bounded(file, _LONGEST_MESSAGE))},line={annotation.line}"
    return f"::{annotation.level} {place},title={_property(title)}::{_data(message)}"


def _bounded(text: str, most: int) -> str:
    text = secret.redact(printable(text))
    return text if len(text) <= most else text[: most - 3] + "..."


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
