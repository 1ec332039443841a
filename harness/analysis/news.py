"""Where real servers answered otherwise than was foretold: that is news, and neither of the two is preferred.

Either the knowledge is wrong, or something happened in the run that no scenario says.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Literal

import msgspec

from harness.analysis import comparison, diagnosis, token_ends
from harness.analysis.record_view import Facts
from harness.knowledge import versions
from harness.record.foretold import Foretold, ForetoldAnswer
from harness.record.observation import BESIDE, Observation, called

OTHERWISE: Final = "otherwise than foretold: "
"""How the reasons of a strict run begin that fails on news."""

What = Literal["answer", "status", "reviewer", "cause"]


class News(msgspec.Struct, frozen=True, kw_only=True):
    """One answer that is otherwise than foretold, in the first of these: answer, status, reviewer, cause."""

    what: What
    probe: str
    moment: str
    version: str
    foretold: str
    seen: str
    app: str = ""
    mount: str = ""
    item: str = ""
    vault: str = ""
    node: str = ""

    @property
    def sentence(self) -> str:
        """Return it in words, without a full stop."""
        who = " ".join(part for part in (self.probe, self.app or self.mount, self.item) if part)
        at = f"{self.moment}, on {versions.called(self.version, called(self))}"
        return f"{who} ({at}): the {self.what} was foretold as {self.foretold}, and is {self.seen}"


def news(facts: Facts) -> tuple[News, ...]:
    """Return every question that was answered otherwise than the record's own prediction says, in their order.

    Nothing where nothing was foretold. What was not answered is no news but a doubt.
    """
    told = {(comparison.key_of(one), one.moment): one for event in facts.record.of(Foretold) for one in event.answers}
    if not told:
        return ()
    return tuple(_news(facts, told))


def _news(facts: Facts, told: dict[tuple[comparison.Key, str], ForetoldAnswer]) -> Iterator[News]:
    for seen in facts.observations:
        one = told.get((comparison.key_of(seen), seen.moment))
        if one is None or seen.probe.startswith(BESIDE) or "unknown" in (seen.answer, one.answer):
            continue
        if token_ends.ended_by_itself(facts, seen) or token_ends.waited(facts, seen):
            continue
        found = _difference(facts, one, seen)
        if found is not None:
            what, foretold, was = found
            yield News(
                what=what,
                probe=seen.probe,
                moment=seen.moment,
                version=seen.version,
                foretold=foretold,
                seen=was,
                app=seen.app,
                mount=seen.mount,
                item=seen.item,
                vault=seen.vault,
                node=seen.node,
            )


def _difference(facts: Facts, told: ForetoldAnswer, seen: Observation) -> tuple[What, str, str] | None:
    """Return in what an answer differs from the one that was foretold, and both; or None where it does not."""
    if told.answer != seen.answer:
        return (
            "answer",
            _words(told.answer, told.status, told.cause),
            _words(seen.answer, seen.status, diagnosis.cause_of(facts, seen)),
        )
    if told.status != seen.status:
        return "status", str(told.status), f"{seen.status} {seen.error}".strip()
    reviewer = facts.reviewer(seen) if seen.probe == "login" else ""
    if told.reviewer and reviewer and told.reviewer != reviewer:
        return "reviewer", told.reviewer, reviewer
    if told.cause and (cause := diagnosis.cause_of(facts, seen)) != told.cause:
        return "cause", told.cause, cause
    return None


def _words(answer: str, status: int | None, cause: str) -> str:
    return " ".join(part for part in (answer, str(status or ""), cause) if part)
