"""What a bisection has found, as text and as JSON."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import Final

import msgspec

from harness.analysis.bisection import Answer, Outcome
from harness.analysis.diagnosis import Finding
from harness.reports import Whole, defused, folded, printable
from harness.reports.wording import mending, remedies_of
from harness.secret import redact

FORMAT: Final = 1
"""The number of the form of a conclusion."""

_PLUGIN: Final = "vault-plugin-auth-kubernetes"


class Asked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One value of the axis, and what its rehearsal answered."""

    value: str
    answer: Answer
    """good, bad, or skip: nobody can say"""
    why: str
    rehearsals: int = 0
    """how many it took; 0: it could not be rehearsed, or needed not"""
    seconds: float = 0.0
    record: str = ""
    """the directory of the record that gave the answer, below the bisection's"""
    made_of: dict[str, str] = {}
    """the SHA-256 of every binary or image, by product-version"""
    left_behind: str = ""


class Conclusion(msgspec.Struct, frozen=True, kw_only=True):
    """What a bisection has found."""

    format: int = FORMAT
    scenario: str
    axis: str
    """the path of the field that was varied"""
    values: tuple[str, ...]
    """those among which was searched, in their order"""
    outcome: Outcome
    """found: the first bad value is exact. between: it is one of the skipped, or first_bad. Otherwise there is none"""
    last_good: str
    first_bad: str
    skipped: tuple[str, ...]
    """those between last_good and first_bad of which nobody can say"""
    ends: tuple[str, str]
    """what was said to be good and bad"""
    asked: tuple[Asked, ...]
    """every answer, in the order of the values"""
    upgrades: int
    """rehearsals in all, second tries included"""
    seconds: float
    finding: Finding | None
    """what is bad at first_bad, with its cause and what is known of it"""
    plugins: tuple[str, ...]
    """the versions of the Kubernetes auth plugin in last_good and first_bad, where the axis is a Vault's version"""
    directory: str
    left_behind: str = ""
    exit_code: int


def render_json(conclusion: Conclusion) -> str:
    """Return *conclusion* for programs."""
    return redact(msgspec.json.format(msgspec.json.encode(conclusion), indent=2).decode()) + "\n"


def render(conclusion: Conclusion, width: int = 100) -> str:
    """Return *conclusion* as text, its sentences at most *width* columns wide."""
    lines = [
        *_head(conclusion),
        *_cause(conclusion),
        "",
        *_table(conclusion),
        "",
        Whole(f"record  {conclusion.directory}"),
    ]
    shown = next((one.record for one in conclusion.asked if one.value == conclusion.first_bad), "")
    lines += [Whole(f"more    rehearse judge {shlex.quote(f'{conclusion.directory}/{shown}')}")] if shown else []
    return defused(redact(folded(lines, width))) + "\n"


def answer(conclusion: Conclusion) -> str:
    """Return the answer in a sentence."""
    good, bad = conclusion.ends
    last, first = conclusion.last_good, conclusion.first_bad
    said: dict[Outcome, str] = {
        "found": f"the first bad {conclusion.axis} is {first}; {last} is good",
        "between": f"the first bad {conclusion.axis} lies between {last}, which is good, and {first}, which is bad: of "
        f"{', '.join(conclusion.skipped)} nobody can say",
        "both good": f"{good} and {bad} are both good: nothing gets worse on the way, and there is nothing to be found",
        "both bad": f"{good} is bad already, as {bad} is: name a --good that is older",
        "swapped": f"{good} is bad and {bad} is good: --good and --bad are swapped",
        "good unknown": f"nobody can say whether {good} is good ({_why(conclusion, good)}): name another --good",
        "bad unknown": f"nobody can say whether {bad} is bad ({_why(conclusion, bad)}): name another --bad",
    }
    return said[conclusion.outcome]


def _why(conclusion: Conclusion, value: str) -> str:
    return next((one.why for one in conclusion.asked if one.value == value), "it was not asked")


def _head(conclusion: Conclusion) -> Iterator[str]:
    yield f"{conclusion.scenario}: {answer(conclusion)}"
    number = f"{len(conclusion.values)} values, {conclusion.upgrades} upgrades, {conclusion.seconds:.1f} s"
    yield f"  {number}; exit {conclusion.exit_code}"
    if conclusion.plugins:
        sides = " -> ".join(f"v{plugin}" for plugin in dict.fromkeys(conclusion.plugins))
        yield f"  {_PLUGIN} {sides}"


def _cause(conclusion: Conclusion) -> Iterator[str]:
    finding = conclusion.finding
    if finding is None:
        return
    yield ""
    yield f"{finding.effect}: {finding.app}   cause: {finding.rule} ({finding.confidence})"
    yield f"  {printable(finding.sentence)}"
    if finding.explanation:
        yield f"  known  {finding.explanation}. Source: {finding.source}"
    for word, remedy in mending(remedies_of(finding)):
        yield f"  {word:4}  {printable(remedy.sentence)}"
        yield from (Whole(f"      {printable(command)}") for command in remedy.commands)


def _table(conclusion: Conclusion) -> Iterator[str]:
    wide = max(len(value) for value in conclusion.values)
    for one in conclusion.asked:
        took = f"{one.seconds:.1f} s" if one.rehearsals else ""
        place = f"  {one.record}" if one.record and one.record != one.value else ""
        yield f"  {one.value:{wide}}  {one.answer:4}  {took:>7}  {printable(one.why)}{place}".rstrip()
    if left := len(conclusion.values) - len(conclusion.asked):
        yield f"  {left} other{' was' if left == 1 else 's were'} not asked: the answers above decide"
