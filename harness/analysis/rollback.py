"""What a way back does: does it open, who logs in, what is lost, and what is otherwise than before the upgrade."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import msgspec

from harness.analysis import comparison
from harness.analysis.comparison import Change
from harness.analysis.record_view import Facts
from harness.record.events import StepEnded, Trouble
from harness.record.observation import LATE, Observation
from harness.scenario.course import LATE_ROLE, RollBack, Serve


class Rollback(msgspec.Struct, frozen=True, kw_only=True):
    """One way back, as it was seen."""

    over: Literal["binary", "snapshot"]
    """binary: the older binary over the data as the newer version left them. snapshot: the data of before."""
    from_version: str
    to_version: str
    vault: str = ""
    """the name of the Vault that went back; empty: the only one there is"""
    node: str = ""
    """the name of the node that went back; empty: the only one there is, or all of them"""
    moment: str
    """the label of the moment after it; empty where there was none"""
    step: int = 0
    """its number in the scenario's `course`; 0: the run was told to go back (--rollback)"""
    opened: bool
    """did Vault serve?"""
    why: str = ""
    """why it did not, or why nobody knows"""
    seconds: float | None = None
    """from the newer Vault's stop until the older one was active, had nothing of it been done beforehand"""
    granted: tuple[str, ...] = ()
    """the apps whose login is granted afterwards"""
    refused: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    """what was written after the snapshot, on purpose, and is gone; in words"""
    kept: tuple[str, ...] = ()
    """what was written after the snapshot, on purpose, and is there still; in words"""
    differs: tuple[Change, ...] = ()
    """what answers otherwise than before the upgrade"""


def rollbacks(facts: Facts) -> Iterator[Rollback]:
    """Yield every way back that the course went, or tried to."""
    serving = dict[str, str]()
    for index, step in enumerate(facts.steps):
        if isinstance(step, RollBack):
            moment = facts.moment_after(index)
            seen = [one for one in facts.observations if one.moment == moment and one.vault == step.vault]
            seconds = _seconds(facts, index)
            yield Rollback(
                over=step.over,
                from_version=serving.get(step.vault, ""),
                to_version=step.version,
                vault=step.vault,
                node=step.node,
                moment=moment if seen else "",
                step=step.number,
                opened=bool(seen) or seconds is not None,
                why="" if seen or seconds is not None else _why(facts, index),
                seconds=seconds,
                granted=tuple(one.app for one in seen if one.probe == "login" and one.answer == "granted"),
                refused=tuple(one.app for one in seen if one.probe == "login" and one.answer == "refused"),
                lost=tuple(_late(one) for one in seen if one.probe.startswith(LATE) and one.answer == "refused"),
                kept=tuple(_late(one) for one in seen if one.probe.startswith(LATE) and one.answer == "granted"),
                differs=tuple(_differs(facts, seen)),
            )
        if isinstance(step, Serve):
            serving[step.vault] = step.version


def _seconds(facts: Facts, index: int) -> float | None:
    """Return how long the way back took that is number *index* among the steps. Older records have only its order."""
    told = [one for one in facts.record.of(StepEnded) if one.do == "roll-back"]
    ways = [number for number, one in enumerate(facts.steps) if isinstance(one, RollBack)]
    places = [one.position if one.position >= 0 else way for one, way in zip(told, ways, strict=False)]
    return next(
        (one.seconds + one.beforehand for one, place in zip(told, places, strict=False) if place == index), None
    )


def _why(facts: Facts, index: int) -> str:
    """Return what broke the way back that is number *index* among the steps. Older records have only the version."""
    fitting = [
        trouble.message
        for trouble in facts.record.of(Trouble)
        if trouble.position == index
        or (trouble.position < 0 and trouble.step == "roll-back" and trouble.after_swap == _version(facts, index))
    ]
    return fitting[0] if fitting else "the run did not get there"


def _version(facts: Facts, index: int) -> str:
    step = facts.steps[index]
    return step.version if isinstance(step, Serve) else ""


def _differs(facts: Facts, seen: list[Observation]) -> Iterator[Change]:
    """Yield how the answers differ from those before anything was changed."""
    noise = comparison.noise_of(facts.record.started.noise_floor)
    first = {comparison.key_of(one): one for one in facts.observations if one.moment == facts.first_moment}
    for now in seen:
        before = first.get(comparison.key_of(now))
        if before is not None:
            yield from comparison.between(before, now, noise)


def _late(seen: Observation) -> str:
    """Return what a question about something late asks about."""
    if seen.probe == "late-token-lookup":
        return f"the token that {seen.app} got after the upgrade"
    return f"a role of auth/{seen.mount} ({LATE_ROLE})" if seen.probe == "late-role" else f"a secret ({seen.item})"
