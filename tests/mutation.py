"""Does anything go red when the judge is weakened, or what it knows is falsified? `python -m tests.mutation [NAME...]`.

Each rule is removed in turn, and each condition by which a rule says nothing is dropped in turn; each version that the
code knows is moved to the release before and after it; each row of the tables is left out, and its boundaries moved.
What has to notice it is what real servers answered. A rule is asked of every case in the stored records (panel `cases`)
and of its own ones with a part of the evidence gone (`less`), as tests/rules_alone.py has them; the records that have
what was changed are judged again (`records`), what is foretold of them is held against what it was (`paper`), and the
tables against the corpus, each file of which says with which versions it shows a row (`rows`). Prints the score and
every survivor; data/not-noticed.txt names those that are known, with the reason.
"""

from __future__ import annotations

import ast
import copy
import inspect
import re
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Final

from msgspec import structs

from harness.analysis import diagnosis, verdict
from harness.analysis.rules import RULES, Rule
from harness.knowledge import behaviours, jwt_auth, kubernetes_auth, login_order, secret_logins, versions
from harness.knowledge.behaviours import Row
from harness.record.events import ConfigWritten, RoleWritten
from harness.record.observation import Observation
from harness.session import prediction
from tests import corpus_records, rules_alone, stored_records, test_behaviours
from tests.rules_alone import Asked

KNOWN: Final = ("1.3.0", "1.4.0", "1.6.0", "1.7.0", "1.8.0", "1.9.2", "1.9.3", "1.10.0", "1.11.0", "1.12.0", "1.13.0",
                "1.16.3")  # fmt: skip
"""The versions in the stored records: a boundary that is moved within the gap between two of them moves nothing."""


@dataclass(frozen=True)
class Mutant:
    """One change to the program while it runs, and who is asked first whether they notice."""

    name: str
    kind: str
    """rule, condition, version, row"""
    applied: Callable[[], AbstractContextManager[None]]
    rule: Rule | None = None
    """the one that it is about"""
    between: tuple[str, str] = ("", "")
    """only to Vaults from the first of these on, and before the second, is it any change"""


@dataclass(frozen=True)
class Score:
    """What came of the changes that were tried."""

    kinds: dict[str, tuple[int, int]]
    """by kind: how many are noticed, of how many"""
    survivors: tuple[str, ...]
    tried: tuple[str, ...]

    @property
    def lines(self) -> list[str]:
        """Return the score in words, a line each kind."""
        named = len(set(self.survivors) & set(known_survivors()))
        kinds = [f"{kind}: {found} of {of} noticed" for kind, (found, of) in self.kinds.items()]
        noticed = len(self.tried) - len(self.survivors)
        return [*kinds, f"{noticed} of {len(self.tried)} changes to the judge are noticed, and {named} are named"]


SURVIVORS: Final = Path(__file__).parent / "data" / "not-noticed.txt"
"""The changes that nobody can notice, or nobody notices yet, each with why: the list may only become shorter."""


# --- what can be changed ----------------------------------------------------------------------------------------------


def rules_removed() -> Iterator[Mutant]:
    """Yield the judge without each of its rules."""
    for rule in RULES:

        @contextmanager
        def without(rule: Rule = rule) -> Iterator[None]:
            with _set(diagnosis, "RULES", tuple(one for one in RULES if one is not rule)):
                yield

        yield Mutant(f"{rule.name} is gone", "rule", without, rule)


def conditions_dropped() -> Iterator[Mutant]:
    """Yield each rule without each of the conditions on which it says nothing: `if ...: return None`, part by part."""
    for rule, function in _examining():
        by = "" if function is rule.examine else f" ({function.__name__})"
        for words, code in _weaker(function):

            @contextmanager
            def weaker(function: FunctionType = function, code: CodeType = code) -> Iterator[None]:
                kept, function.__code__ = function.__code__, code
                try:
                    yield
                finally:
                    function.__code__ = kept

            yield Mutant(f"{rule.name}{by} whatever {words}", "condition", weaker, rule)


def _examining() -> Iterator[tuple[Rule, FunctionType]]:
    """Yield each rule with each function that decides whether it says anything: its own, and those that it asks."""
    done: set[FunctionType] = set()
    for rule in RULES:
        asked = [rule.examine]
        for function in asked:
            assert isinstance(function, FunctionType)
            if function in done:
                continue
            done.add(function)
            yield rule, function
            called = (function.__globals__.get(name) for name in function.__code__.co_names)
            asked += [
                one
                for one in called
                if isinstance(one, FunctionType) and one.__annotations__.get("return") == "Diagnosis | None"
                if one.__module__ == function.__module__
            ]


def _weaker(function: FunctionType) -> Iterator[tuple[str, CodeType]]:
    """Yield a function without each part of the conditions on which it returns None, with the part in words."""
    made = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
    assert isinstance(made, ast.FunctionDef)
    for number, line in enumerate(made.body):
        if not (isinstance(line, ast.If) and _gives_up(line)):
            continue
        parts = (
            line.test.values if isinstance(line.test, ast.BoolOp) and isinstance(line.test.op, ast.Or) else [line.test]
        )
        for which, part in enumerate(parts):
            other = copy.deepcopy(made)
            changed = other.body[number]
            assert isinstance(changed, ast.If)
            never = ast.Constant(value=False)
            if len(parts) == 1:
                changed.test = never
            else:
                assert isinstance(changed.test, ast.BoolOp)
                changed.test.values[which] = never
            yield ast.unparse(part), _compiled(other, function)


def _gives_up(line: ast.If) -> bool:
    (only, *more) = line.body
    return (
        not more
        and isinstance(only, ast.Return)
        and (only.value is None or (isinstance(only.value, ast.Constant) and only.value.value is None))
    )


def _compiled(made: ast.FunctionDef, function: FunctionType) -> CodeType:
    made.decorator_list = []
    free = function.__code__.co_freevars
    # a function within another one, whose names it has: within such a one it is compiled as well, and names them all
    made.body = [*(ast.Expr(ast.Name(name, ast.Load())) for name in free), *made.body]
    around = ast.parse(f"def around({', '.join(free)}): pass").body[0]
    assert isinstance(around, ast.FunctionDef)
    around.body = [made]
    module = ast.fix_missing_locations(ast.Module(body=[around], type_ignores=[]))
    # with the future of the module that it comes from: its annotations are not looked up
    compiled = compile(module, function.__code__.co_filename, "exec", flags=annotations_flag(), dont_inherit=True)
    (outer,) = (one for one in compiled.co_consts if isinstance(one, CodeType))
    return next(one for one in outer.co_consts if isinstance(one, CodeType) and one.co_name == function.__name__)


def annotations_flag() -> int:
    """Return the compiler's flag of `from __future__ import annotations`."""
    import __future__

    return int(__future__.annotations.compiler_flag)


def versions_moved() -> Iterator[Mutant]:
    """Yield each version that the code knows by a name, moved to the version before and after it."""
    for module in (kubernetes_auth, login_order, jwt_auth, secret_logins):
        for name, value in sorted(vars(module).items()):
            if name.isupper() and isinstance(value, str) and _is_version(value):
                for other in _beside(value):

                    @contextmanager
                    def moved(module: ModuleType = module, name: str = name, other: str = other) -> Iterator[None]:
                        with _set(module, name, other):
                            yield

                    said = f"{module.__name__.rpartition('.')[2]}.{name} is {other}"
                    ends = (other, value) if versions.at_least(value, other) else (value, other)
                    yield Mutant(said, "version", moved, between=ends)


def _beside(version: str) -> Iterator[str]:
    """Yield the version in the records before *version*, and the first one after it."""
    earlier = [one for one in KNOWN if not versions.at_least(one, version)]
    later = [one for one in KNOWN if versions.at_least(one, version)]
    yield from earlier[-1:]
    # what is moved to the next one that is there lies behind it
    yield from later[1:2]


def _is_version(text: str) -> bool:
    return re.fullmatch(r"\d+\.\d+\.\d+", text) is not None


def rows_falsified() -> Iterator[Mutant]:
    """Yield the tables without each row, and with each boundary of it moved to the version before and after."""
    for row in behaviours.rows():
        yield Mutant(f"row {row.id} is gone", "row", _table(row, None))
        for number, (since, until) in enumerate(row.spans):
            for which, end in (("since", since), ("until", until)):
                for other in _beside(end) if end else ():
                    ends = (other, until) if which == "since" else (since, other)
                    spans = [f"{one}..{two}" for one, two in row.spans]
                    spans[number] = f"{ends[0]}..{ends[1]}"
                    name = f"row {row.id} {which} {other} instead of {end}"
                    yield Mutant(name, "row", _table(row, structs.replace(row, ranges=tuple(spans))))


def _table(row: Row, instead: Row | None) -> Callable[[], AbstractContextManager[None]]:
    """Return what has the tables hold another row in place of *row*, or none."""

    @contextmanager
    def applied() -> Iterator[None]:
        original = behaviours.of_file

        def of_file(name: str) -> tuple[Row, ...]:
            held = ((instead if one.id == row.id else one) for one in original(name))
            return tuple(one for one in held if one is not None)

        behaviours.rows.cache_clear()
        try:
            with _set(behaviours, "of_file", of_file):
                yield
        finally:
            behaviours.rows.cache_clear()

    return applied


@contextmanager
def _set(holder: ModuleType, name: str, value: object) -> Iterator[None]:
    kept = getattr(holder, name)
    setattr(holder, name, value)
    try:
        yield
    finally:
        setattr(holder, name, kept)


# --- who notices ------------------------------------------------------------------------------------------------------


def _judged(name: str) -> tuple[object, ...]:
    """Return what a stored record is said to mean: every finding, and what would come next."""
    told = verdict.judge(stored_records.record(name))
    findings = [
        (one.kind, one.effect, one.rule, one.app, one.hop, one.step, one.probe, one.item, one.confidence, one.sentence,
         str(one.next))
        for one in told.findings
    ]  # fmt: skip
    return told.verdict, tuple(findings)


def _foretold(name: str) -> tuple[object, ...]:
    """Return what is foretold today of the scenario in a stored record."""
    start = stored_records.record(name).started
    asked = structs.replace(start, plan=prediction._of_paper(start.plan), prove_remedies=False)
    record = prediction._on_paper(asked)
    findings = sorted((one.effect, one.rule, one.app, one.moment) for one in verdict.judge(record).findings)
    return tuple(sorted(map(str, prediction.answers(record)))), tuple(findings)


@cache
def _right(panel: str, name: str) -> tuple[object, ...]:
    return (_judged if panel == "records" else _foretold)(name)


@cache
def _told(rule: Rule) -> list[tuple[Asked, str, str]]:
    """Return what *rule* makes of each of its own cases with less, or with something otherwise."""
    changes = (*rules_alone.LESS, *rules_alone.OTHERWISE)
    own = rules_alone.own(rule)
    return [(asked, what, rules_alone.told(rule, asked, what)) for asked in own for what in changes]


def _asked_alone(mutant: Mutant, rule: Rule) -> str:
    """Return which case a rule claims that is another one's, or its own with less than it needs; nothing if none."""
    right, at = _told(rule), ""
    with mutant.applied():
        try:
            for asked in rules_alone.every_case():
                at = f"cases: {asked.record}, {asked.case.after.id}"
                if rules_alone.wrong(rule, asked):
                    return at
            for asked, what, was in right:
                at = f"less: {asked.record}, {asked.case.after.id}, {what}"
                if rules_alone.told(rule, asked, what) != was:
                    return at
        except Exception as error:  # noqa: BLE001  # a judge that breaks is noticed as well
            return f"{at} ({type(error).__name__})"
    return ""


@cache
def _vaults_of(name: str) -> frozenset[str]:
    """Return every version of Vault that answered or wrote something in a record."""
    record = stored_records.record(name)
    return frozenset(
        one.version for kind in (Observation, ConfigWritten, RoleWritten) for one in record.of(kind) if one.version
    )


def _touched(mutant: Mutant, names: Sequence[str]) -> list[str]:
    """Return the records in which a change can be seen at all."""
    if mutant.rule is not None:
        having = {asked.record for asked in rules_alone.every_case() if asked.cause == mutant.rule.name}
        return [name for name in names if name in having]
    since, until = mutant.between
    at_least = versions.at_least
    return [
        name for name in names if any(at_least(one, since) and not at_least(one, until) for one in _vaults_of(name))
    ]


def _rows_stand() -> bool:
    """Do the corpus and the list of what was not run agree with the tables?"""
    return corpus_records.rows_that_disagree() == []


def _homes_agree() -> bool:
    """Do the tables say what the code does, by the tests that hold one against the other?"""
    rows = behaviours.rows()
    with _set(test_behaviours, "ROWS", rows):
        try:
            for version in test_behaviours.KNOWN:
                test_behaviours.test_the_reviewer_of_the_table_is_that_of_the_code(version)
            for row in rows:
                if row.field:
                    test_behaviours.test_a_field_that_is_new_is_new_in_both_homes(row)
                if row.answers and " -> " in row.status:
                    test_behaviours.test_the_status_of_a_row_is_that_of_the_answers(row)
        except (AssertionError, KeyError):
            return False
    return True


def noticed(mutant: Mutant, names: Sequence[str]) -> str:
    """Return who notices *mutant*, or nothing: the panel, and the record."""
    if mutant.kind == "row":
        with mutant.applied():
            return "" if _rows_stand() and _homes_agree() else "rows"
    if mutant.kind == "condition" and mutant.rule is not None:
        return _asked_alone(mutant, mutant.rule)
    panels = ("records", "paper") if mutant.kind == "version" else ("records",)
    for panel in panels:
        for name in _touched(mutant, names):
            right = _right(panel, name)
            with mutant.applied():
                try:
                    same = (_judged if panel == "records" else _foretold)(name) == right
                except Exception as error:  # noqa: BLE001  # a judge that breaks is noticed as well
                    return f"{panel}: {name} ({type(error).__name__})"
            if not same:
                return f"{panel}: {name}"
    return ""


def tried(wanted: Sequence[str], most: int = 0, tell: Callable[[str], None] = lambda _line: None) -> Score:
    """Try every change, or those whose names have one of *wanted* in them, but *most* of them if that is not 0."""
    assert _rows_stand(), corpus_records.rows_that_disagree()
    names = sorted(stored_records.FILES)
    every = [*rules_removed(), *conditions_dropped(), *versions_moved(), *rows_falsified()]
    meant = [one for one in every if not wanted or any(word in one.name for word in wanted)]
    if most and len(meant) > most:
        meant = meant[:: len(meant) // most]
    kinds: dict[str, tuple[int, int]] = {}
    survivors = []
    for one in meant:
        told = noticed(one, names)
        found, of = kinds.get(one.kind, (0, 0))
        kinds[one.kind] = (found + bool(told), of + 1)
        if not told:
            survivors.append(one.name)
            tell(f"{'named' if one.name in known_survivors() else 'NOT NOTICED'}  {one.name}")
    return Score(kinds, tuple(survivors), tuple(one.name for one in meant))


@cache
def known_survivors() -> dict[str, str]:
    """Return the changes that nobody notices, by their names, each with why: the file has a reason over their names."""
    found, why = dict[str, str](), ""
    for line in SURVIVORS.read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            why = line.removeprefix("## ")
        elif line and not line.startswith("#"):
            found[line] = why
    return found


def main(wanted: Sequence[str]) -> int:
    """Print the score and every survivor; return 1 where one is not on the list, or is on it and noticed."""
    known = known_survivors()
    score = tried(wanted, tell=lambda line: print(line, flush=True))
    print("\n".join(score.lines))
    new, gone = set(score.survivors) - set(known), set(known) & set(score.tried) - set(score.survivors)
    for name in sorted(new):
        print(f"NEW: {name}: add the record or the test that notices it, or delete what it weakens")
    for name in sorted(gone):
        print(f"NOTICED BY NOW: {name}: take it from {SURVIVORS.name}")
    return 1 if new or gone else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
