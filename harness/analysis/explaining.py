"""What is known of a cause, a version, a field or a row, out of the table of behaviours and the rules."""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

from harness.analysis.rules import RULES
from harness.knowledge import behaviours, checks_by_hand, kubernetes_auth, login_order, versions
from harness.knowledge.behaviours import Row
from harness.knowledge.checks_by_hand import ByHand
from harness.knowledge.plugin_versions import built_into


class Cause(msgspec.Struct, frozen=True, kw_only=True):
    """What a rule says of a cause, whatever the run."""

    name: str
    versions: str
    precondition: str
    demands: str
    """the evidence without which it is not named"""
    explanation: str
    source: str
    by_hand: ByHand
    """how it is seen on a living system, without changing anything there"""


class Answered(msgspec.Struct, frozen=True):
    """How a refusal is answered, from a version on."""

    refusal: str
    since: str
    """empty: from the first on"""
    status: int
    words: str


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """All there is to say of what was asked for. `rehearse explain -o json` prints it."""

    asked: str
    what: str
    """cause, version, field or row"""
    causes: tuple[Cause, ...] = ()
    plugin: str = ""
    """of a version: which release of the Kubernetes auth plugin it has built in; empty where nobody looked"""
    order: tuple[str, ...] = ()
    """of a version: the checks of a login in their order"""
    answers: tuple[Answered, ...] = ()
    """how the refusals that it is about are answered, by version; of a version, how all of them are"""
    rows: tuple[Row, ...] = ()


def explain(asked: str) -> Explanation | None:
    """Return what is known of a cause, a version, a field of Vault's or the id of a row; None where nothing is."""
    word = asked.strip()
    if re.fullmatch(r"v?\d+\.\d+(\.\d+)?([-+].*)?", word):
        return _version(asked, word.removeprefix("v"))
    if (row := behaviours.named(word)) is not None:
        return Explanation(
            asked=asked, what="row", rows=(row,), answers=tuple(_answers(row)), causes=_causes(row.causes)
        )
    if causes := _causes((word,)):
        rows = tuple(behaviours.about((word,)))
        return Explanation(
            asked=asked, what="cause", causes=causes, rows=rows, answers=tuple(_unique(_answers(row) for row in rows))
        )
    field = word.replace("-", "_")
    rows = tuple(row for row in behaviours.rows() if row.field == field)
    if rows:
        said = tuple(_unique(_answers(row) for row in rows))
        return Explanation(asked=asked, what="field", rows=rows, answers=said)
    return None


def known() -> list[str]:
    """Return every word that can be asked for, but for versions."""
    rows = behaviours.rows()
    words = [*(rule.name for rule in RULES), *(row.field for row in rows if row.field), *(row.id for row in rows)]
    return list(dict.fromkeys(words))


def _version(asked: str, said: str) -> Explanation | None:
    version = said if said.count(".") > 1 else f"{said}.0"
    try:
        versions.parse(version)
    except ValueError:
        return None
    answers = (
        Answered(refusal, "", *kubernetes_auth.answer(refusal, version)) for refusal in login_order.checks(version)
    )
    found = tuple(row for row in behaviours.rows() if any(version == since for since, _ in row.spans))
    return Explanation(
        asked=asked,
        what="version",
        plugin=built_into(version),
        order=login_order.checks(version),
        answers=tuple(answers),
        rows=found,
    )


def _causes(names: tuple[str, ...]) -> tuple[Cause, ...]:
    return tuple(
        Cause(
            name=rule.name,
            versions=rule.versions,
            precondition=rule.precondition,
            demands=rule.demands,
            explanation=rule.explanation,
            source=rule.source,
            by_hand=checks_by_hand.checks()[rule.name],
        )
        for rule in RULES
        if rule.name in names
    )


def _answers(row: Row) -> Iterator[Answered]:
    if row.answers:
        for since, status, words in kubernetes_auth.answers_of(row.answers):
            yield Answered(row.answers, since, status, words)


def _unique(found: Iterator[Iterator[Answered]]) -> list[Answered]:
    return list(dict.fromkeys(one for answers in found for one in answers))
