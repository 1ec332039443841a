"""Which of many ordered values is the first bad one, by as few questions as can be: the search alone, without a run.

Whoever asks keeps the answers; `step` says what to ask next, or what they come to. The same answers always lead to the
same step, so a search that was interrupted goes on by being given its answers again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Answer = Literal["good", "bad", "skip"]
"""skip: nobody can say."""

Outcome = Literal["found", "between", "both good", "both bad", "swapped", "good unknown", "bad unknown"]


@dataclass(frozen=True, slots=True)
class Ask:
    """The value at *index* is to be asked next."""

    index: int


@dataclass(frozen=True, slots=True)
class End:
    """What the answers come to. *good* is the last value that is known to be good, *bad* the first that is bad."""

    outcome: Outcome
    good: int
    bad: int


def step(number: int, answers: Mapping[int, Answer]) -> Ask | End:
    """Return what to ask next of *number* values, by their index, or the end of the search.

    The last value is said to be bad and the first to be good; both are asked, the bad one first, because what it shows
    is what is looked for. Then each answer halves what is left: without a skip these are at most ceil(log2(number - 1))
    questions more, and every skip costs one. Whatever the answers, and however they contradict each other, the search
    ends, and between *good* and *bad* of its end there is nothing but skips. Raises ValueError for fewer than two.
    """
    if number < 2:
        raise ValueError("a bisection needs two values")
    low, high = 0, number - 1
    for end in (high, low):
        if end not in answers:
            return Ask(end)
    if (wrong := _ends(answers[low], answers[high])) is not None:
        return End(wrong, low, high)
    high = min(index for index, answer in answers.items() if answer == "bad")
    low = max(index for index, answer in answers.items() if answer == "good" and index < high)
    left = [index for index in range(low + 1, high) if index not in answers]
    if left:
        return Ask(left[len(left) // 2])
    return End("found" if high == low + 1 else "between", low, high)


def _ends(good: Answer, bad: Answer) -> Outcome | None:
    """Return why there is nothing to be searched between two ends that answered so, None where there is."""
    if bad == "skip":
        return "bad unknown"
    if good == "skip":
        return "good unknown"
    if (good, bad) == ("bad", "good"):
        return "swapped"
    if good == bad:
        return "both good" if good == "good" else "both bad"
    return None


def most(number: int) -> int:
    """Return how many questions a search among *number* values takes at most, if each has an answer."""
    return 2 + (number - 2).bit_length()
