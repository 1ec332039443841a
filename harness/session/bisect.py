"""Finds the first version at which a scenario gets worse: one rehearsal for each question of a binary search.

Every answer is kept in the search's directory as soon as it is there, beside the records of its rehearsals, so that a
search which was interrupted goes on where it was. Nothing here prints, exits or reads the environment.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec

from harness import __version__, settings
from harness.analysis import bisection, verdict
from harness.analysis.bisection import Answer, Ask, End
from harness.analysis.diagnosis import Finding
from harness.analysis.verdict import Judgement
from harness.errors import HarnessError, MissingPrerequisite, ScenarioError, naming
from harness.host.locks import Held, alone
from harness.knowledge import plugin_versions, releases, versions
from harness.knowledge.releases import Table
from harness.record import journal as journals
from harness.record.events import ArtifactUsed
from harness.reports.bisection import Asked, Conclusion
from harness.scenario import loading, matrix
from harness.scenario.loading import Loaded
from harness.scenario.matrix import Axis, Cell
from harness.session.one_rehearsal import Rehearsed
from harness.wait import Stopwatch

STATE_FILE: Final = "bisection.json"
TARGET: Final = "vault.target"
_LOCK: Final = "bisection.lock"
_TRIES: Final = 2
_NO_START: Final = ("upgrade refused", "restart refused")
_MOST_RECORDS: Final = 10_000

Sought = frozenset[tuple[str, str]]
"""What is looked for: the effect and the app of each finding that fails the newest run."""


class NothingToSearch(HarnessError):
    """What was asked for is no search; the message says why, and what would be one."""


class OtherSearch(HarnessError):
    """The directory holds another search, or somebody searches in it now."""


class Rehearse(Protocol):
    """Whatever rehearses one variant into a new directory."""

    def __call__(self, loaded: Loaded, directory: Path, *, fresh: bool) -> Rehearsed:
        """*fresh*: on nothing that another rehearsal has used. Raises as `one_rehearsal.rehearse_one`."""


@dataclass(frozen=True, slots=True)
class Variant:
    """The scenario with one value of the axis. *loaded* is None where there is no such scenario, and *why* says so."""

    value: str
    loaded: Loaded | None
    why: str = ""
    granted: bool = False
    """is it good without being asked: the very version from which the upgrade starts?"""


@dataclass(frozen=True, slots=True)
class Search:
    """A scenario and the values among which the first bad one is looked for, from the good end to the bad."""

    scenario: Loaded
    axis: str
    variants: tuple[Variant, ...]


class _State(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The content of the state file. *key* changes with whatever changes the answers."""

    key: str
    asked: tuple[Asked, ...]


# --- what is searched among -------------------------------------------------------------------------------------------


def search(
    scenario: Loaded,
    axis: str,
    ends: tuple[str, str],
    among: str,
    tables: Callable[[str], Table] = releases.shipped,
    here: Callable[[str, str], bool] | None = None,
) -> Search:
    """Return the search for the first bad value of *axis*, a field by its path, between its *ends*, good and bad.

    *among* is `here` (the releases of which *here* says that they can be had on this machine), `all` (every release),
    or the values themselves, parted by commas and in their order; the ends always belong to them. Raises
    NothingToSearch and MatrixError.
    """
    if axis == matrix.DRIVER:
        raise NothingToSearch("drivers have no order: name a field that has one")
    document = {key: value for key, value in matrix.plain(scenario.scenario).items() if key not in ("expect", "matrix")}

    def read(words: Sequence[str]) -> Axis:
        return matrix.read(document, {axis: words}, tables, here).axes[0]

    good, bad = (_one(axis, end, read([end])) for end in ends)
    if good == bad:
        raise NothingToSearch(f"{good} cannot be both good and bad: name two values of {axis}")
    if read([good, bad]).ordered:
        product = "kubernetes" if axis.rpartition(".")[2] == "kubernetes" else "vault"
        had = (lambda version: here(product, version)) if here and among == "here" else None
        words = _releases(good, bad, among, tables(product), had)
    elif among not in ("here", "all"):
        words = [good, *(each for each in among.split(",") if each not in (good, bad)), bad]
    elif good.isdecimal() and bad.isdecimal():
        if int(good) > int(bad):
            raise NothingToSearch(_swapped(good, bad))
        words = [str(number) for number in range(int(good), int(bad) + 1)]
    else:
        raise NothingToSearch(f"nobody knows what lies between {good} and {bad} of {axis}: name all, --among A,B,C")
    found = matrix.read(document, {axis: words}, tables, here)
    variants = tuple(_variant(scenario, cell, axis) for cell in matrix.cells(document, found))
    return Search(scenario, axis, variants)


def _one(axis: str, end: str, found: Axis) -> str:
    if len(found.values) != 1:
        raise NothingToSearch(f"{end} is {len(found.values)} values of {axis}: an end is one")
    return found.values[0].text


def _releases(good: str, bad: str, among: str, table: Table, had: Callable[[str], bool] | None) -> list[str]:
    """Return both ends and what is searched between them: named versions, or releases, of those that can be *had*."""
    if versions.parse(good) > versions.parse(bad):
        raise NothingToSearch(_swapped(good, bad))
    if among not in ("here", "all"):
        return [good, *among.split(","), bad]
    if {"+", "-"} & {*good, *bad}:
        raise NothingToSearch(f"nobody knows what lies between {good} and {bad}: name all of them, --among A,B,C")
    for option, end in (("--good", good), ("--bad", bad)):
        if said := releases.unheard(end, table):
            # no scenario can name what was never released, and then a list is of no use either
            never = table.product == "vault" and versions.never_released(end)
            right = f"a {option} that is known" + ("" if never else ", or all that is searched: --among A,B,C")
            raise NothingToSearch(f"nobody knows which releases lie between {good} and {bad}: {said}. Name {right}")
    between = releases.resolve(f"{good}..{bad}:all", table)
    return [good, *(each for each in between if had is None or had(each)), bad]


def _swapped(good: str, bad: str) -> str:
    return f"{good} is newer than {bad}: --good is the older one, which works, and --bad the newer one, which does not"


def _variant(scenario: Loaded, cell: Cell, axis: str) -> Variant:
    ((trail, value),) = cell.changes
    text = next(iter(cell.values.values()))
    document = cell.document()
    about: Any = document
    for name in trail[:-1]:
        about = about[name]
    if trail[-1] == "target":
        if value == about.get("source"):
            return Variant(text, None, "it is the source, and what gets worse is measured against it", granted=True)
        # a stop of the path that lies beyond its end is none
        kept = [stop for stop in about.get("via") or () if versions.parse(stop) < versions.parse(value)]
        cell = dataclasses.replace(cell, changes=(*cell.changes, ((*trail[:-1], "via"), kept or None)))
    try:
        return Variant(text, loading.of_cell(scenario, cell))
    except ScenarioError as error:
        return Variant(text, None, f"{axis}={text} is no scenario: {error.problems[0].message}")


# --- the search -------------------------------------------------------------------------------------------------------


def run(
    wanted: Search,
    rehearse: Rehearse,
    directory: Path,
    how: str,
    tell: Callable[[str], None],
    digests: Mapping[str, str],
) -> Conclusion:
    """Search, keep every answer in *directory* (made if missing), and return what they come to.

    *how* stands for whatever else decides the answers: the driver and its options. *digests* are those of the binaries
    that would be used now, by product-version: an answer for which another one was used is asked for again. *tell* gets
    a line for each answer. Raises OtherSearch, and whatever keeps the bad end from being rehearsed at all.
    """
    settings.made(directory)
    try:
        with alone(directory / _LOCK, tell, f"somebody searches in {directory}", patient=False):
            return _Run(wanted, rehearse, directory, how, tell).go(digests)
    except Held as held:
        raise OtherSearch(f"{held}; name another --run-dir, or wait") from held


class _Run:
    """One search and its answers so far."""

    def __init__(
        self, wanted: Search, rehearse: Rehearse, directory: Path, how: str, tell: Callable[[str], None]
    ) -> None:
        self._wanted, self._rehearse, self._directory, self._tell = wanted, rehearse, directory, tell
        self._values = [variant.value for variant in wanted.variants]
        self._key = _key(wanted, how)
        self._asked: dict[str, Asked] = {}
        self._most = bisection.most(len(self._values)) - wanted.variants[0].granted

    def go(self, digests: Mapping[str, str]) -> Conclusion:
        """Ask until there is an end."""
        self._asked = {one.value: one for one in self._kept() if _same(one.made_of, digests)}
        if self._asked:
            self._tell(f"{len(self._asked)} answers are here from before: {', '.join(self._asked)}")
        while isinstance(step := bisection.step(len(self._values), self._answers()), Ask):
            variant = self._wanted.variants[step.index]
            one = self._ask(variant, bad_end=step.index == len(self._values) - 1)
            self._asked[variant.value] = one
            self._keep()
            number = sum(bool(each.rehearsals) for each in self._asked.values())
            place = f"[{number} of at most {self._most}]  " if one.rehearsals else ""
            self._tell(f"{place}{self._wanted.axis}={one.value}: {one.answer}, {one.why}")
        return self._conclusion(step)

    def _answers(self) -> dict[int, Answer]:
        return {index: self._asked[value].answer for index, value in enumerate(self._values) if value in self._asked}

    def _ask(self, variant: Variant, *, bad_end: bool) -> Asked:
        if variant.loaded is None:
            if bad_end:
                raise NothingToSearch(variant.why)
            return Asked(variant.value, "good" if variant.granted else "skip", variant.why)
        watch = Stopwatch()
        for number in range(1, _TRIES + 1):
            place = self._new_directory(variant.value)
            try:
                done = self._rehearse(variant.loaded, place, fresh=number > 1)
            except MissingPrerequisite as error:
                if bad_end:
                    raise
                return Asked(variant.value, "skip", f"it cannot be had: {str(error).partition(chr(10))[0]}")
            answer, why = self._meaning(done.judgement, bad_end=bad_end)
            if answer != "skip" or done.judgement.verdict != "inconclusive" or number == _TRIES:
                break
            self._tell(f"{self._wanted.axis}={variant.value}: {why}; once more in a fresh environment")
        made_of = {f"{one.product}-{one.version}": one.sha256 for one in done.record.of(ArtifactUsed)}
        return Asked(
            variant.value,
            answer,
            why,
            number,
            round(watch.seconds, 3),
            place.name,
            made_of,
            done.judgement.left_behind,
        )

    def _meaning(self, judgement: Judgement, *, bad_end: bool) -> tuple[Answer, str]:
        """Return what a judgement answers to the question whether this value is bad, and why."""
        failing = failing_findings(judgement)
        if judgement.verdict == "inconclusive":
            return "skip", f"inconclusive: {next(iter(judgement.reasons), 'nobody knows')}"
        if judgement.verdict == "pass":
            return "good", "no answer gets worse"
        said = ", ".join(dict.fromkeys(f"{one.effect} {one.app}".strip() for one in failing))
        if bad_end or self._sought() & _signs(failing):
            return "bad", said
        if all(one.effect in _NO_START for one in failing):
            return "skip", f"it does not start over this data ({said})"
        return "good", f"what is looked for is not there, though something else is: {said}"

    def _sought(self) -> Sought:
        return _signs(failing_findings(self._judged(self._asked[self._values[-1]])))

    def _judged(self, one: Asked) -> Judgement:
        return verdict.judge(journals.load(self._directory / one.record))

    def _conclusion(self, end: End) -> Conclusion:
        asked = tuple(self._asked[value] for value in self._values if value in self._asked)
        good, bad = self._values[end.good], self._values[end.bad]
        known = end.outcome in ("found", "between")
        finding = None
        if self._asked[bad].record and (known or end.outcome == "both bad"):
            found = failing_findings(self._judged(self._asked[bad]))
            sought = self._sought()
            finding = next((one for one in found if (one.effect, one.app) in sought), None)
        left = "; ".join(dict.fromkeys(one.left_behind for one in asked if one.left_behind))
        return Conclusion(
            scenario=self._wanted.scenario.name,
            axis=self._wanted.axis,
            values=tuple(self._values),
            outcome=end.outcome,
            last_good=good if known else "",
            first_bad=bad if known else "",
            skipped=tuple(self._values[end.good + 1 : end.bad]) if known else (),
            ends=(self._values[0], self._values[-1]),
            asked=asked,
            upgrades=sum(one.rehearsals for one in asked),
            seconds=round(sum(one.seconds for one in asked), 3),
            finding=finding,
            plugins=_plugins(self._wanted.axis, good, bad) if known else (),
            directory=str(self._directory),
            left_behind=left,
            exit_code=5 if left else 0 if end.outcome == "found" else 2 if end.outcome == "swapped" else 4,
        )

    def _new_directory(self, value: str) -> Path:
        """Return a directory that is not there yet: what is left of a rehearsal that was cut short stays."""
        names = (f"{value}{f'-{number}' if number > 1 else ''}" for number in range(1, _MOST_RECORDS))
        return next(place for name in names if not (place := self._directory / name.replace("/", "_")).exists())

    def _kept(self) -> Sequence[Asked]:
        try:
            state = msgspec.json.decode((self._directory / STATE_FILE).read_bytes(), type=_State)
        except FileNotFoundError:
            return ()
        except msgspec.DecodeError as error:
            raise OtherSearch(
                f"{self._directory / STATE_FILE} cannot be read: {error}; name another --run-dir"
            ) from None
        if state.key != self._key:
            raise OtherSearch(
                f"{self._directory} holds a search of something else (its scenario, axis, ends, options or release of "
                "rehearse are others): name another --run-dir"
            )
        return [one for one in state.asked if not one.record or (self._directory / one.record).is_dir()]

    def _keep(self) -> None:
        """Write the answers down: all of them, or those of before."""
        file = self._directory / f".{STATE_FILE}"
        raw = msgspec.json.format(msgspec.json.encode(_State(self._key, tuple(self._asked.values()))))
        file.touch(0o600)
        with naming(file):
            file.write_bytes(raw + b"\n")
        file.replace(self._directory / STATE_FILE)


def failing_findings(judgement: Judgement) -> list[Finding]:
    """Return the findings that make *judgement* a fail."""
    paired = zip(judgement.findings, judgement.weights, strict=True)
    return [finding for finding, weight in paired if weight.fails]


def _signs(findings: Sequence[Finding]) -> Sought:
    return frozenset((one.effect, one.app) for one in findings)


def _key(wanted: Search, how: str) -> str:
    scenario = wanted.scenario.scenario.model_dump(mode="json", by_alias=True)
    parts = [scenario, wanted.axis, [one.value for one in wanted.variants], how, __version__]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _same(made_of: Mapping[str, str], digests: Mapping[str, str]) -> bool:
    return all(digests.get(name, digest) == digest for name, digest in made_of.items())


def _plugins(axis: str, good: str, bad: str) -> tuple[str, ...]:
    """Return the versions of the auth plugin on both sides, where the axis is one of Vault's versions."""
    if "vault" not in axis or "kubernetes" in axis:
        return ()
    return tuple(filter(None, (plugin_versions.built_into(good), plugin_versions.built_into(bad))))
