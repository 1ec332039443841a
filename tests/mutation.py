"""Does anything go red when the judge is weakened, or what it knows is falsified? `python -m tests.mutation [NAME...]`.

Each rule is removed in turn, and each condition by which a rule says nothing is dropped in turn; each version that the
code knows is moved to the release before and after it; each row of the tables is left out, and its boundaries moved.
What has to notice it is what real servers answered: the stored records are judged again (panel `records`), what is
foretold is held against what it was (`paper`), and the tables against the corpus, each file of which says with which
versions it shows a row (`rows`). Prints the score and every survivor.
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
from harness.session import prediction
from tests import corpus_records, stored_records, test_behaviours

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
    near: str = ""
    """the cause that it is about: records with a finding of it are judged first"""


@dataclass(frozen=True)
class Score:
    """What came of the changes that were tried."""

    kinds: dict[str, tuple[int, int]]
    """by kind: how many are noticed, of how many"""
    survivors: tuple[str, ...]
    tried: tuple[str, ...]


SURVIVORS: Final = Path(__file__).parent / "data" / "not-noticed.txt"
"""The changes that nobody notices yet, by their names: the list may only become shorter."""


# --- what can be changed ----------------------------------------------------------------------------------------------


def rules_removed() -> Iterator[Mutant]:
    """Yield the judge without each of its rules."""
    for rule in RULES:

        @contextmanager
        def without(rule: Rule = rule) -> Iterator[None]:
            with _set(diagnosis, "RULES", tuple(one for one in RULES if one is not rule)):
                yield

        yield Mutant(f"{rule.name} is gone", "rule", without, rule.name)


def conditions_dropped() -> Iterator[Mutant]:
    """Yield each rule without each of the conditions on which it says nothing: `if ...: return None`, part by part."""
    for rule in RULES:
        function = rule.examine
        assert isinstance(function, FunctionType)
        for words, code in _weaker(function):

            @contextmanager
            def weaker(function: FunctionType = function, code: CodeType = code) -> Iterator[None]:
                kept, function.__code__ = function.__code__, code
                try:
                    yield
                finally:
                    function.__code__ = kept

            yield Mutant(f"{rule.name} whatever {words}", "condition", weaker, rule.name)


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

                    yield Mutant(f"{module.__name__.rpartition('.')[2]}.{name} is {other}", "version", moved)


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
def _rules_of(name: str) -> frozenset[str]:
    return frozenset(str(one[2]) for one in _right("records", name)[1])  # type: ignore[attr-defined]


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
    near = sorted(names, key=lambda name: mutant.near not in _rules_of(name))
    panels = ("records", "paper") if mutant.kind == "version" else ("records",)
    for panel in panels:
        for name in near:
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
            tell(f"NOT NOTICED  {one.name}")
    return Score(kinds, tuple(survivors), tuple(one.name for one in meant))


def known_survivors() -> set[str]:
    """Return the changes that nobody is known to notice, by their names."""
    lines = SURVIVORS.read_text(encoding="utf-8").splitlines()
    return {line for line in lines if line and not line.startswith("#")}


def main(wanted: Sequence[str]) -> int:
    """Print the score and every survivor; return 1 where one is not on the list, or is on it and noticed."""
    score = tried(wanted, tell=lambda line: print(line, flush=True))
    for kind, (found, of) in score.kinds.items():
        print(f"{kind}: {found} of {of}")
    print(f"{len(score.tried) - len(score.survivors)} of {len(score.tried)} changes to the judge are noticed")
    known = known_survivors()
    new, gone = set(score.survivors) - known, known & set(score.tried) - set(score.survivors)
    for name in sorted(new):
        print(f"NEW: {name}: add the record or the test that notices it, or put it on {SURVIVORS.name}")
    for name in sorted(gone):
        print(f"NOTICED BY NOW: {name}: take it from {SURVIVORS.name}")
    return 1 if new or gone else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
