"""What a way back and a proven remedy cost beside the run that they belong to, in pairs: with and without, in turn."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from harness.record import journal
from harness.record.events import RunEnded, StepEnded
from harness.scenario.course import RollBack
from tests.bench.commands import OUTAGE, World


class Added(msgspec.Struct):
    """What was seen; all lists are in the order of the pairs, times in seconds."""

    alone: list[float]
    """the run by itself, from nothing"""
    whole: list[float]
    """the same with what is measured"""
    parts: dict[str, list[float]]
    """what of that took how long, by the records themselves"""
    times: int = 1
    """how often the run did what is measured"""

    @property
    def ratios(self) -> list[float]:
        """Return what one of it adds, in units of the run by itself, pair by pair."""
        pairs = zip(self.alone, self.whole, strict=True)
        return [(whole - alone) / self.times / alone for alone, whole in pairs]


def measure(
    world: World, pairs: int, option: str, driver: str, parts: Callable[[Path], Iterator[tuple[str, float]]]
) -> Added:
    """Return the figures of *pairs* runs of the outage without an *option* and as many with it, in turn.

    *parts* reads from the directory of a run what of it took how long. One pair before is not counted: it brings what
    both read into the kernel's cache.
    """
    found = Added([], [], {})
    for number in range(pairs + 1):
        plain, with_it = world.new_run(), world.new_run()
        alone = world.rehearse("run", OUTAGE, "--driver", driver, "--run-dir", plain).seconds
        whole = world.rehearse("run", OUTAGE, "--driver", driver, option, "--run-dir", with_it).seconds
        if number == 0:
            continue
        found.alone.append(alone)
        found.whole.append(whole)
        seen = list(parts(with_it))
        for name, seconds in seen:
            found.parts.setdefault(name, []).append(seconds)
        found.times = max(1, len(seen)) if option == "--prove-remedy" else 1
    return found


def ways_back(directory: Path) -> Iterator[tuple[str, float]]:
    """Yield for how long the snapshot and each way back were waited for, without the questions after it.

    What had been done of one beforehand is a part by itself: with it the way takes as long as an operator waits for it.
    """
    record = journal.load(directory)
    ways = [step.over for step in record.started.plan.steps if isinstance(step, RollBack)]
    steps: list[StepEnded] = record.of(StepEnded)
    ended = [one for one in steps if one.do in ("snapshot", "roll-back")]
    for name, one in zip(("the snapshot", *(f"back over the {way}" for way in ways)), ended, strict=True):
        yield name, one.seconds
        if one.beforehand:
            yield f"{name}: beside the steps before it", one.beforehand


def proofs(directory: Path) -> Iterator[tuple[str, float]]:
    """Yield how long the rehearsal of each remedy took, by its own record."""
    for name, record in journal.load(directory).proofs.items():
        ended: RunEnded = record.of(RunEnded)[-1]
        yield f"proof {name}", ended.at - record.started.at
