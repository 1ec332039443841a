"""What a corpus of known breakages comes to: each found with its cause and at its step, or not; and what was left."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

import msgspec

from harness.analysis.comparison import what_else
from harness.analysis.diagnosis import Finding
from harness.analysis.verdict import Judgement
from harness.knowledge import behaviours
from harness.knowledge.behaviours import Row
from harness.scenario.topology import Expected

ABSENT: Final = "not-run.toml"
"""The file of the rows that no scenario of the corpus has."""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A known breakage as a scenario, with what the head of its file says of it."""

    id: str
    name: str
    """of its file, without the ending"""
    file: str
    rows: tuple[str, ...]
    """what it is made of: corpus:NUMBER and rule:NUMBER of the collections, fault:NAME of what befalls Vault's
    surroundings, breaker:ID and behaviour:ID of the table"""
    crosses: dict[str, str] = {}
    """of these rows, the version on the path at which each comes into force: row:ID@VERSION in the head"""
    what: str
    since: str
    remedy: str
    """step NUMBER: the course itself mends it there. none: WHY"""
    shows: tuple[str, ...] = ()
    """words that must stand among what else changed, or what a way back loses: a status or a format is no finding"""
    versions: tuple[str, ...]
    """the Vault versions of its course, in order"""
    artifacts: tuple[str, ...] = ()
    """the binaries that it needs on processes, as vault:1.7.0"""
    clusters: str = ""
    """what clusters it has: those that are alike can be lent"""
    expected: tuple[str, ...]
    """the findings that must come, each in words, and no others"""


class Absent(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A row that no scenario of the corpus has, and why."""

    row: str
    needs: str
    """the artifact that is missing, or `format`: no scenario can say it yet; `question`: no question shows it"""
    why: str
    path: tuple[str, ...] = ()
    """pairs of versions between which it would be seen to come, were the rest at hand: "1.16.3 1.20.0" """
    over: tuple[str, ...] = ()
    """pairs of versions between which it would be seen to be gone: "1.8.10 1.8.11" """


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """How the last rehearsal of an entry came out."""

    id: str
    driver: str
    date: float
    """when it began, in seconds since 1970"""
    program: str
    """which release rehearsed it"""
    seen: tuple[str, ...]
    """the findings, each in words, as Entry.expected has them"""
    wrong: tuple[str, ...] = ()
    """what is not as it must be: a finding that is missing or too many, words that were not there, news, no result"""
    exit_code: int
    """as `rehearse run` would have ended; 1 where only words or news are wrong"""
    seconds: float = 0.0


def of_expected(expected: Sequence[Expected]) -> tuple[str, ...]:
    """Return the findings that a scenario expects in the words of a track record."""
    return tuple(_words(one.change, one.cause or "any cause", one.app or "", one.at_step or 0) for one in expected)


def of_finding(finding: Finding) -> str:
    """Return a finding in the same words."""
    return _words(finding.effect, finding.rule, finding.app, finding.step)


def _words(change: str, cause: str, app: str, step: int) -> str:
    where = f" at step {step}" if step else ""
    return f"{change}{f' ({app})' if app else ''}{where}: {cause}"


def result(entry: Entry, judgement: Judgement, *, date: float, seconds: float = 0.0) -> Result:
    """Return how a rehearsal of *entry* came out that was judged so."""
    wrong = [*(f"missing: {one}" for one in judgement.missed), *(f"too many: {one}" for one in judgement.unexpected)]
    changed = [one.what for one in what_else(judgement.changes)]
    changed += [f"lost: {one}" for back in judgement.rollbacks for one in back.lost]
    missing = [words for words in entry.shows if not any(words in one for one in changed)]
    wrong += [f"nothing changed that says: {words}" for words in missing]
    wrong += [f"not as foretold: {one.sentence}" for one in judgement.news]
    if not judgement.as_expected and not wrong:
        wrong += judgement.reasons
    return Result(
        id=entry.id,
        driver=judgement.driver,
        date=date,
        program=judgement.versions.harness,
        seen=tuple(of_finding(finding) for finding in judgement.findings),
        wrong=tuple(wrong),
        exit_code=judgement.exit_code or (1 if wrong else 0),
        seconds=seconds,
    )


def without_result(entry: Entry, driver: str, code: int, said: str, date: float) -> Result:
    """Return that nothing was learned of *entry*: the rehearsal ended with *code*, and said so last."""
    return Result(id=entry.id, driver=driver, date=date, program="", seen=(), wrong=(said,), exit_code=code or 3)


def part(entries: Sequence[Entry], number: int, of: int) -> list[Entry]:
    """Return the share of a part: each entry is in one, which is the same on every machine and whatever is added."""
    return [one for one in entries if int(hashlib.sha256(one.id.encode()).hexdigest(), 16) % of == number - 1]


def unaccounted(entries: Sequence[Entry], absent: Sequence[Absent], collections: Sequence[str]) -> list[str]:
    """Return the rows, of *collections* and of the table, that neither an entry nor the list of the absent has."""
    every = [*collections, *table_rows()]
    there = {row for entry in entries for row in entry.rows} | {one.row for one in absent}
    return [row for row in every if row not in there]


def disagreeing(entries: Sequence[Entry], absent: Sequence[Absent]) -> list[str]:
    """Return where the table says otherwise than the corpus does of when a row is in force, a line each."""
    found = []
    for entry in entries:
        for name in entry.rows:
            kind, _, row_id = name.partition(":")
            row = behaviours.named(row_id) if kind in ("breaker", "behaviour") else None
            at = entry.crosses.get(name, "")
            if kind in ("breaker", "behaviour") and (row is None or not _in_force(row, entry.versions, at)):
                found.append(f"{entry.id}: {name} is not in force {f'from {at} on' if at else 'on its path'}")
    for one in absent:
        row = behaviours.named(one.row.partition(":")[2])
        if row is None:
            of_table = one.row.partition(":")[0] in ("breaker", "behaviour")
            found += [f"{ABSENT}: {one.row} is no row"] if of_table else []
            continue
        comes = [(pair, row.appears(*pair.split())) for pair in one.path]
        goes = [(pair, row.holds(pair.split()[0]) and not row.holds(pair.split()[1])) for pair in one.over]
        found += [f"{ABSENT}: {one.row} does not come or go between {pair}" for pair, so in (*comes, *goes) if not so]
    return found


def _in_force(row: Row, path: Sequence[str], at: str) -> bool:
    if at:
        return any(new == at and row.appears(old, new) for old, new in pairwise(path))
    return bool(row.when) or any(row.holds(version) for version in path)


def table_rows() -> list[str]:
    """Return every row of the knowledge by the name that entries call it."""
    kinds = {"breakers.toml": "breaker", "behaviours.toml": "behaviour"}
    return [f"{kind}:{row.id}" for file, kind in kinds.items() for row in behaviours.of_file(file)]
