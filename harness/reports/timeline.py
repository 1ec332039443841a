"""A run from its first second to its last: which step, which questions, and for how long running apps were cut off."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, Literal

import msgspec

from harness.analysis.record_view import Facts
from harness.knowledge import versions
from harness.record.events import (
    AnyEvent,
    ConfigWritten,
    MomentBegan,
    PhaseEnded,
    Renewals,
    RunEnded,
    StepEnded,
    Trouble,
    VaultServing,
)
from harness.record.journal import Record
from harness.record.observation import Observation, called
from harness.reports.wording import NO_FORECAST, outages
from harness.scenario import driver_traits

Kind = Literal["serve", "asked", "write", "outage", "trouble", "end"]

_SERVES: Final = {
    "roll-back": "Vault {} goes back to {}",
    "move": "Vault {} moves, and starts as {}",
    "restart": "Vault {} is restarted, as {}",
    "start": "Vault {} starts as {}",
    "write config": "Vault {} starts as {}",
}
_STEPS_THAT_SERVE: Final = frozenset({"start", "upgrade", "restart", "move", "roll-back"})


class Row(msgspec.Struct, frozen=True):
    """One thing that happened, or went on for a while."""

    kind: Kind
    text: str
    begin: float
    """seconds since the run began"""
    seconds: float
    line: int
    note: str = ""


def rows(facts: Facts) -> list[Row]:
    """Return what happened, in order; an outage stands below the step that it belongs to."""
    record = facts.record
    start, swap = record.started.at, 0.0
    renewals: list[tuple[int, Renewals]] = []
    told: list[Row] = []
    kinds = (PhaseEnded, VaultServing, ConfigWritten, MomentBegan, StepEnded, Renewals, Trouble, RunEnded)
    for line, event in record.numbered(*kinds):
        at = max(event.at - start, 0.0)
        if isinstance(event, Renewals):
            renewals.append((line, event))
            continue
        told += _outages(renewals, told)
        renewals = []
        if isinstance(event, PhaseEnded):
            swap = at - event.seconds if event.name.startswith("swap to ") else swap
        elif row := _row(facts, event, at, swap or at, line):
            swap = 0.0 if row.kind == "serve" else swap
            told.append(row)
    told += _outages(renewals, told)
    if not record.ended:
        last = max((row.begin + row.seconds for row in told), default=0.0)
        text = "The record ends here: the run did not end by itself, or its end is lost"
        told.append(Row("trouble", text, last, 0.0, 0))
    return told


def _row(facts: Facts, event: AnyEvent, at: float, swap: float, line: int) -> Row | None:
    """Return the row of one event; *swap* is when Vault was last stopped for another one."""
    match event:
        case VaultServing():
            served = versions.alone(versions.of_product(event.asked, event.answered))
            words = _SERVES.get(event.purpose, "Vault {} is taken to {}").format(called(event).strip(), served)
            return Row("serve", " ".join(words.split()), swap, at - swap, line)
        case ConfigWritten():
            by = versions.called(event.version)
            return Row("write", f"auth/{event.mount}/config is written by {by}", at, 0.0, line)
        case MomentBegan():
            return _asked(facts, event, at, line)
        case StepEnded():
            told = event.do not in _STEPS_THAT_SERVE
            return Row("write", _done(facts, event), at - event.seconds, event.seconds, line) if told else None
        case Trouble():
            return Row("trouble", f"{event.during}: {event.message}", at, 0.0, line)
        case _:
            return Row("end", "The run ends", at, 0.0, line)


def _asked(facts: Facts, began: MomentBegan, at: float, line: int) -> Row:
    seen = [one for one in facts.observations if one.moment == began.moment]
    ended = max((one.ended for one in seen), default=0.0)
    said: dict[str, int] = {}
    for one in seen:
        if one.probe == "login":
            said[_answer(one)] = said.get(_answer(one), 0) + 1
    logins = ", ".join(f"{number} {answer}" for answer, number in said.items())
    note = f"{len(seen)} questions" + (f"; logins: {logins}" if logins else "")
    spent = max(ended - began.at, 0.0) if ended else 0.0
    return Row("asked", f"Everything is asked: {began.moment}", at, spent, line, note)


def _answer(seen: Observation) -> str:
    return f"{seen.answer} ({seen.status})" if seen.status is not None else "without an answer"


def _outages(renewals: Sequence[tuple[int, Renewals]], told: Sequence[Row]) -> Iterator[Row]:
    """Yield a row for all that met one hop alike, as long as it lasted: when in the step it began is not on record."""
    if not renewals:
        return
    begin = next((row.begin for row in reversed(told) if row.kind == "serve"), 0.0)
    for text in outages([row for _, row in renewals]):
        said = text.removesuffix(NO_FORECAST)
        # the worst of those who met it alike is named first
        named = [one for one in renewals if said.startswith(one[1].app)]
        line, worst = max(named, key=lambda one: len(one[1].app), default=renewals[0])
        yield Row("outage", said, begin, worst.seconds, line)


def _done(facts: Facts, ended: StepEnded) -> str:
    """Return what a step did, with what its plan says of it."""
    step = facts.steps[ended.position] if 0 <= ended.position < len(facts.steps) else None
    said = (getattr(step, name, "") for name in ("service_account", "purpose", "name", "app", "cluster"))
    about = ", ".join(str(one) for one in said if one)
    return f"{ended.do}: {about}" if about else ended.do


def total(told: Sequence[Row]) -> float:
    """Return how many seconds there are to draw."""
    return max((row.begin + row.seconds for row in told), default=0.0)


def bars(record: Record, told: Sequence[Row]) -> bool:
    """Are there times worth drawing? On paper nothing takes any."""
    return driver_traits.of(record.started.plan.driver).real and total(told) > 0
