"""A prediction as text, and as JSON: what is foretold of a scenario, and what nobody can tell."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from harness.analysis.crossings import Crossing
from harness.analysis.foretold import Prediction
from harness.knowledge import versions
from harness.record.foretold import ForetoldAnswer
from harness.reports import Whole, folded

_NO_PASS: Final = (
    "foretold by the knowledge alone, and no server was asked: this is no pass. `rehearse run` asks real servers, and "
    "says where they answer otherwise"
)


def render(told: Prediction, width: int | None = None) -> str:
    """Return a prediction as lines for people, of at most *width* columns (None: any), without a final newline."""
    lines = [f"foretold  {told.scenario}   {versions.path(told.path)}, no server", ""]
    lines += [*_answers(told.answers), ""]
    lines += [*_findings(told), ""]
    if told.possible:
        lines += ["may come in a run or not", *_possible(told), ""]
    yes, unknown, no = ([one for one in told.crossings if one.touches == kind] for kind in ("yes", "unknown", "no"))
    lines += ["known changes on this path that touch this installation", *(_crossings(yes) or ["  none"]), ""]
    if unknown:
        lines += ["known changes on this path of which the scenario cannot tell: find out", *_questions(unknown), ""]
    if no:
        lines += [f"on this path, and of no concern here: {', '.join(one.id for one in no)}", ""]
    if told.assumed:
        lines += ["assumed, because the scenario does not say", *(f"  {one}" for one in told.assumed), ""]
    if told.beyond:
        lines.append(f"the knowledge was never held against real servers of {', '.join(told.beyond)}")
    if told.why_not:
        lines.append(f"not all of it could be foretold: {told.why_not}")
    return folded([*lines, _NO_PASS], width)


def _answers(answers: Sequence[ForetoldAnswer]) -> Iterator[str]:
    """Yield every login, and of the rest what changes or is refused to an app."""
    width = max((len(one.moment) for one in answers), default=0)
    before: dict[tuple[str, ...], tuple[str, int | None]] = {}
    for one in answers:
        key = (one.probe, one.app, one.mount, one.item, one.vault, one.node)
        changed = before.get(key, (one.answer, one.status)) != (one.answer, one.status)
        before[key] = (one.answer, one.status)
        if one.answer == "unknown" or (one.probe != "login" and not changed and not one.cause):
            continue
        what = " ".join(part for part in (one.probe, one.app or one.mount or one.node or one.vault, one.item) if part)
        answer = f"{one.answer} {one.status or ''}".rstrip()
        by = f", reviewer {one.reviewer}" if one.reviewer else ""
        why = f", {one.cause}" if one.cause else ""
        yield f"  {one.moment:{width}}  {what}: {answer}{by}{why}"


def _findings(told: Prediction) -> Iterator[str]:
    if not told.findings:
        yield "nothing is foretold to get worse"
    for one in told.findings:
        where = f" at {versions.called(one.at)}" if one.at else ""
        who = f": {one.app}" if one.app else ""
        yield f"{one.kind}  {one.effect}{who}{where}   cause: {one.cause}"
        yield f"  {one.sentence}."
        for number, way in enumerate(one.ways):
            yield f"  {'or  ' if number else 'mend'}  {way.words}"
            yield from (Whole(f"      {command}") for command in way.commands)
    if told.met is not None:
        yield f"that is {'' if told.met else 'not '}what the scenario expects"


def _possible(told: Prediction) -> Iterator[str]:
    for one in told.possible:
        yield f"  {one.effect} at {versions.called(one.at)}, {one.moment}   cause: {one.cause}"
        yield f"      {one.sentence}."
        yield f"      mend  {one.remedy}"


def _crossings(found: Sequence[Crossing]) -> list[str]:
    lines = []
    for one in found:
        lines.append(f"  {one.id}   at {one.at}, {one.status or 'no status'} ({one.grade}; {one.because})")
        lines += [f"      {one.effect}", f"      mend  {one.remedy}"]
        if not one.probe:
            lines.append("      no question of a rehearsal shows it: look by hand")
    return lines


def _questions(found: Sequence[Crossing]) -> list[str]:
    return [f"  {one.id}   at {one.at}: {one.because}" for one in found]
