"""A matrix for a terminal, and as Markdown: versions across, variants down, in each cell the verdict and its cause."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from textwrap import wrap
from typing import Final

from harness.analysis import matrix_results
from harness.analysis.matrix_results import CellFinding, CellResult, Grid, MatrixResult
from harness.analysis.verdict import Outcome
from harness.reports import harmless, markdown
from harness.reports.table import in_a_word

WORDS: Final[Mapping[str, str]] = {
    "pass": "pass",
    "expected-fail": "xfail",
    "fail": "FAIL",
    "inconclusive": "?",
    "unexpected-pass": "xpass",
}
"""What a cell says of its outcome."""

MEANING: Final = "xfail: fails as expected; xpass: passes against what is expected; ?: inconclusive; -: no such cell"

_COUNTED: Final[Mapping[Outcome, str]] = {
    "pass": "pass",
    "expected-fail": "fail as expected",
    "unexpected-pass": "pass against what is expected",
    "fail": "fail",
    "inconclusive": "inconclusive",
}

_COLOUR: Final[Mapping[str, str]] = {"pass": "\x1b[32m", "fail": "\x1b[31m", "inconclusive": "\x1b[33m"}
_PLAIN: Final = "\x1b[0m"


class Notes:
    """The causes that cells name, each with a letter."""

    def __init__(self, result: MatrixResult) -> None:
        self._letters: dict[tuple[str, str, str], str] = {}
        self.texts: dict[str, CellFinding] = {}
        self.unknown: dict[str, str] = {}
        for cell in result.cells:
            found = matrix_results.main_finding(cell)
            if found is not None and (found.fails or cell.verdict != "inconclusive"):
                self._letter(found)
            elif cell.verdict == "inconclusive":
                reason = cell.reasons[0] if cell.reasons else "no reason was given"
                self.unknown.setdefault(reason, str(len(self.unknown) + 1))

    def of(self, cell: CellResult, across: str) -> str:
        """Return what stands in a cell: the outcome, the letter of its cause, and the hop where that is another."""
        word, found = WORDS[cell.outcome], matrix_results.main_finding(cell)
        if found is None or (cell.verdict == "inconclusive" and not found.fails):
            reason = cell.reasons[0] if cell.reasons else "no reason was given"
            return f"{word} {self.unknown[reason]}" if cell.verdict == "inconclusive" else word
        at = f"@{found.hop or 'start'}" if found.hop != cell.values.get(across, found.hop) else ""
        return f"{word} {self._letter(found)}{at}"

    def _letter(self, found: CellFinding) -> str:
        kind = (found.kind, found.effect, found.rule)
        if kind not in self._letters:
            number = len(self._letters)
            letter = chr(ord("a") + number % 26) * (number // 26 + 1)
            self._letters[kind] = letter
            self.texts[letter] = found
        return self._letters[kind]


def render(result: MatrixResult, *, width: int = 100, colour: bool = False) -> str:
    """Return the table, what its letters mean, and where rows change colour; the last line is the verdict on all."""
    grid, notes = matrix_results.grid(result), Notes(result)
    lines = [f"{result.scenario}, {len(result.cells)} of {result.planned} cells", ""]
    lines += _table(grid, notes, width, colour=colour)
    lines += ["", MEANING]
    for letter, found in notes.texts.items():
        lines += [
            "",
            *_wrapped(f"{letter}  {headline(found)}", width, "   "),
            *_wrapped(found.sentence, width, "   ", "   "),
        ]
    for reason, number in notes.unknown.items():
        lines += ["", *_wrapped(f"{number}  inconclusive: {reason}", width, "   ")]
    if grid.changes:
        lines += ["", "Where a row changes colour"]
        for one in grid.changes:
            lines += _wrapped(f"  {one.row}: {one.before} -> {one.at}  {one.reason}", width, "    ")
    return harmless_but_coloured("\n".join([*lines, "", last_line(result)]))


def harmless_but_coloured(text: str) -> str:
    """Return *text* so that it can steer nothing, but for the colours of ours."""
    parts = text.split("\x1b[")
    known = {code.removeprefix("\x1b[") for code in (*_COLOUR.values(), _PLAIN)}
    made = harmless(parts[0])
    for part in parts[1:]:
        code = next((one for one in known if part.startswith(one)), None)
        made += harmless(f"\x1b[{part}") if code is None else f"\x1b[{code}" + harmless(part.removeprefix(code))
    return made


def last_line(result: MatrixResult) -> str:
    """Return what all cells come to."""
    code = matrix_results.exit_code(result.cells, result.planned)
    came = Counter(cell.outcome for cell in result.cells)
    words = ", ".join(f"{came[outcome]} {word}" for outcome, word in _COUNTED.items() if came[outcome])
    missing = result.planned - len(result.cells)
    more = f", {missing} not rehearsed" if missing else ""
    return f"{in_a_word(code)}  {result.planned} cells: {words or 'none'}{more}; exit {code}"


def headline(found: CellFinding) -> str:
    """Return what a finding is in one line: its kind, what happens to whom, and the cause."""
    who = ", ".join(found.apps) + (
        f" and {found.number - len(found.apps)} more" if found.number > len(found.apps) else ""
    )
    sure = "" if found.rule == "unexplained" else f" ({found.confidence})"
    return f"{found.kind}  {found.effect}{': ' if who else ''}{who}   cause: {found.rule}{sure}"


def _wrapped(text: str, width: int, indent: str, first: str = "") -> list[str]:
    return wrap(text, width, initial_indent=first, subsequent_indent=indent, break_long_words=False) or [text]


def _table(grid: Grid, notes: Notes, width: int, *, colour: bool) -> Iterator[str]:
    """Yield the lines of the table; one that is wider than the terminal is cut into blocks of columns."""
    label = max((len(row.label) for row in grid.rows), default=0)
    label = min(max(label, len(grid.across)), max(width // 2, 20))
    texts = [["-" if cell is None else notes.of(cell, grid.across) for cell in row.cells] for row in grid.rows]
    wide = [
        max(len(column or "-"), *(len(row[index]) for row in texts)) if texts else len(column)
        for index, column in enumerate(grid.columns)
    ]
    for block in _blocks(wide, width - label):
        if block[0]:
            yield ""
        yield "  ".join([f"{grid.across:{label}}", *(f"{grid.columns[i] or '-':{wide[i]}}" for i in block)]).rstrip()
        for row, said in zip(grid.rows, texts, strict=True):
            cells = [_painted(f"{said[i]:{wide[i]}}", row.cells[i], colour=colour) for i in block]
            head, *more = wrap(row.label, label, subsequent_indent="  ") or [""]
            yield "  ".join([f"{head:{label}}", *cells]).rstrip()
            yield from more


def _blocks(wide: Sequence[int], room: int) -> Iterator[list[int]]:
    block: list[int] = []
    used = 0
    for index, one in enumerate(wide):
        if block and used + one + 2 > room:
            yield block
            block, used = [], 0
        block.append(index)
        used += one + 2
    if block:
        yield block


def _painted(text: str, cell: CellResult | None, *, colour: bool) -> str:
    if not colour or cell is None:
        return text
    shade = "inconclusive" if cell.outcome == "unexpected-pass" else cell.verdict
    return f"{_COLOUR[shade]}{text}{_PLAIN}"


# --- Markdown ---------------------------------------------------------------------------------------------------------

_MARKS: Final[Mapping[str, str]] = {
    "pass": "✅ pass",
    "expected-fail": "☑️ fails as expected",
    "fail": "❌ FAIL",
    "inconclusive": "❔ inconclusive",
    "unexpected-pass": "❕ passes unexpectedly",
}


def page(result: MatrixResult) -> str:
    """Return the matrix as Markdown, for the summary of a CI job or for docs."""
    grid = matrix_results.grid(result)
    rows = [
        (row.label, *("" if cell is None else _markdown_cell(cell, grid.across) for cell in row.cells))
        for row in grid.rows
    ]
    titles = [f"{grid.across or 'scenario'} →", *(column or "-" for column in grid.columns)]
    parts = [f"# {last_line(result)}", "", markdown.table(titles, rows)]
    if grid.changes:
        changes = [(one.row, f"{one.before} → {one.at}", one.reason) for one in grid.changes]
        parts += ["", "## Where a row changes colour", "", markdown.table(("variant", "versions", "reason"), changes)]
    unknown: dict[str, list[str]] = {}
    for cell in result.cells:
        if cell.verdict == "inconclusive":
            unknown.setdefault(cell.reasons[0] if cell.reasons else "", []).append(cell.id)
    if unknown:
        why = [("\n".join(cells), reason) for reason, cells in unknown.items()]
        parts += ["", "## Inconclusive", "", markdown.table(("cells", "reason"), why)]
    return "\n".join([*parts, "", _made_of(result)])


def _markdown_cell(cell: CellResult, across: str) -> str:
    found = matrix_results.main_finding(cell)
    if found is None or (cell.verdict == "inconclusive" and not found.fails):
        return _MARKS[cell.outcome]
    at = f" at {found.hop or 'the start'}" if found.hop != cell.values.get(across) else ""
    kind = "" if found.fails else f" ({found.kind})"
    return f"{_MARKS[cell.outcome]}: {found.rule}{at}{kind}"


def _made_of(result: MatrixResult) -> str:
    made: dict[str, tuple[str, str]] = {}
    for cell in result.cells:
        made |= {name: (digest, cell.sources.get(name, "")) for name, digest in cell.artifacts.items()}
    rows = [(name, digest[:19], source) for name, (digest, source) in sorted(made.items())]
    table = markdown.table(("part", "digest", "from"), rows) if rows else ""
    return f"## Made of\n\nrehearse {result.harness}, {result.machine}\n\n{table}\n"
