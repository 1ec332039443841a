"""What is foretold of a scenario, as a value: answers, findings, and the known changes on its path."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from harness.analysis.crossings import Crossing
from harness.record.foretold import ForetoldAnswer

FORMAT: Final = 1
"""The number of the format of a prediction. Fields may be added under the same number."""


class Way(msgspec.Struct, frozen=True):
    """One way to mend what is foretold."""

    words: str
    """when it is done, and what"""
    commands: tuple[str, ...]
    """what to paste, each whole and on one line, in their order"""


class Expectation(msgspec.Struct, frozen=True, kw_only=True):
    """Something that is foretold to be found."""

    kind: str
    effect: str
    cause: str
    app: str
    at: str
    """the version at which it appears; empty: so from the start"""
    moment: str
    sentence: str
    remedy: str
    """all ways to mend it, in words"""
    ways: tuple[Way, ...]
    """the same one by one, with commands; the first is the one to prefer"""


class Possibility(msgspec.Struct, frozen=True, kw_only=True):
    """Something that is found in some runs and not in others, as far as anybody knows what decides."""

    effect: str
    cause: str
    at: str
    """the version that would do it"""
    moment: str
    """the first moment at which it can be seen"""
    sentence: str
    remedy: str


class Prediction(msgspec.Struct, frozen=True, kw_only=True):
    """What is foretold of a scenario. `rehearse predict -o json` prints it; docs/predict.md has its fields."""

    format: int = FORMAT
    verdict: Literal["not rehearsed"] = "not rehearsed"
    """what is foretold is no verdict: no server was asked"""
    scenario: str
    description: str
    path: tuple[str, ...]
    """the versions that serve, in order"""
    answers: tuple[ForetoldAnswer, ...]
    """every question at every moment"""
    findings: tuple[Expectation, ...]
    """what is foretold to change, or to be wrong from the start: the worst first"""
    possible: tuple[Possibility, ...] = ()
    """what may be found or not: no answer is foretold by it, and `met` does without"""
    met: bool | None
    """would the scenario's `expect` be met? None: it has none"""
    crossings: tuple[Crossing, ...]
    """the known changes on the path: those that touch this installation, those that cannot be told, the others"""
    beyond: tuple[str, ...]
    """the versions on the path that the knowledge was never held against real servers of"""
    assumed: tuple[str, ...]
    """what decides the answers and the scenario leaves open"""
    why_not: str = ""
    """why not all of it could be foretold; empty where it could"""
