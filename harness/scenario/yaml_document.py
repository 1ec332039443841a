"""YAML text becomes plain data whose every part knows its line and column, or a list of problems.

Whatever YAML could do and a scenario has no use for is refused here: tags, aliases, anchors, second documents, great
sizes and depths, and characters that nobody sees. So the data are nothing but mappings, lists and words, none shared.

Unquoted words are read as YAML 1.2 has it: only true and false are truth values, so that a cluster may be called no.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, Final, NoReturn

import yaml
from yaml import events as seen

from harness.errors import Problem, ScenarioError
from harness.scenario.schema import SCHEMA
from harness.secret import redact

Trail = tuple[str | int, ...]
"""A path in the document, such as ("apps", "web", "reads", 0)."""

LONGEST_TEXT: Final = 10_000
"""The most characters that a value may have. Longer ones are complained of, and not read."""

_LARGEST_FILE: Final = 256 * 1024
_LONGEST_KEY: Final = 200
_DEEPEST: Final = 16
_TOO_DEEP: Final = "maximum nesting depth"
_SHOWN: Final = 80
_MANY: Final = 100

# Control characters could colour a terminal, direction marks could make a line read as another one, and the rest are
# line ends or byte order marks to some readers and not to others, which would shift the line numbers.
_UNSEEN: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff\ufffe\uffff]")

# The C parser is much faster, and not installed everywhere.
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_INTEGER: Final = re.compile(r"[-+]?[0-9]{1,300}")
_FLOAT: Final = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_CONSTANTS: Final[Mapping[str, bool | None]] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}

_SYNTAX_REMEDIES: Final = (
    ("mapping values are not allowed", "put a text that contains ': ' in quotes, and begin keys in one column"),
    ("scanning an alias", 'put a star in quotes: "*"'),
    ("", "look here, and on the lines before, for wrong indentation or a quote or bracket that never closes"),
)


def text_of(path: Path) -> str:
    """Return what stands in the file at *path*, not yet read as YAML; `read` takes it.

    No more is taken from the file than `read` needs to see that it is too large. Raises ScenarioError if there is no
    such file, or no UTF-8 in it.
    """
    file = str(path)
    try:
        with path.open("rb") as stream:
            return text_in(stream, file)
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        _give_up(file, (1, 1), f"the file cannot be read: {reason}", remedy="the path of a YAML file with a scenario")


def text_in(stream: IO[bytes], file: str) -> str:
    """Return what *stream* holds as `text_of` does; *file* is what problems call it. Raises OSError as well."""
    raw = stream.read(_LARGEST_FILE + 1)
    try:
        # A file cut at the limit may end within a character: read says that it is too large.
        return raw.decode("utf-8", "replace" if len(raw) > _LARGEST_FILE else "strict")
    except UnicodeDecodeError as error:
        *above, row = raw[: error.start].decode("utf-8-sig").split("\n")
        place = len(above) + 1, len(row) + 1
        _give_up(file, place, "the file is not UTF-8", f"byte 0x{raw[error.start]:02x}", "text saved as UTF-8")


def read(text: str, file: str) -> Document:
    """Return the data that *text* holds, with the problems found so far; *file* is what problems call it.

    A byte order mark and the carriage returns of Windows are read past. Raises ScenarioError, with every problem until
    there, where the rest cannot be read.
    """
    if len(text.encode("utf-8", "surrogatepass")) > _LARGEST_FILE:
        remedy = f"at most {_LARGEST_FILE // 1024} KiB"
        _give_up(file, (1, 1), "the file is too large for a scenario", remedy=remedy)
    document = Document(text.removeprefix("\ufeff").replace("\r\n", "\n"), file)
    _Reader(document).read()
    return document


def written(data: Mapping[str, Any]) -> str:
    """Return plain *data* as the text of a document, short mappings and lists on one line."""
    return _dumped(dict(data), flow=None, width=110)


def in_a_line(value: Any) -> str:
    """Return a plain value as it stands in one line of a document, behind its key or as one."""
    return _dumped([value], flow=True, width=10**9).strip()[1:-1]


class _Writer(yaml.SafeDumper):
    """Writes what `read` reads back: a text that YAML 1.2 takes for a number is quoted, though YAML 1.1 would not."""


def _text_node(writer: yaml.SafeDumper, text: str) -> yaml.Node:
    plain = _plain(text) == text and "\n" not in text and not _UNSEEN.search(text)
    return writer.represent_scalar("tag:yaml.org,2002:str", text, style=None if plain else '"')


_Writer.add_representer(str, _text_node)


def _dumped(data: Any, *, flow: bool | None, width: int) -> str:
    how: dict[str, Any] = {"sort_keys": False, "default_flow_style": flow, "width": width}
    text = str(yaml.dump(data, Dumper=_Writer, allow_unicode=True, **how))
    # what nobody sees is written out
    return text if not _UNSEEN.search(text) else str(yaml.dump(data, Dumper=_Writer, allow_unicode=False, **how))


def _give_up(file: str, place: tuple[int, int], message: str, offending: str = "", remedy: str = "") -> NoReturn:
    """Raise the one problem that leaves nothing to read."""
    raise ScenarioError([Problem(_printable(file), *place, message, offending, remedy)])


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


# --- the words of problems ---


def shown(text: str, most: int = _SHOWN) -> str:
    """Return *text* for a message: cut after *most* characters, and unable to do anything to a terminal.

    Left out, *most* is what fits on a line beside other words.
    """
    short = _printable(text[: most + 1])
    return short if len(short) <= most else short[:most] + "…"


def where(trail: Trail) -> str:
    """Return *trail* as an author would say it: apps.web.reads[0]."""
    steps = "".join(f"[{step}]" if isinstance(step, int) else f".{shown(step, 40)}" for step in trail)
    return steps.lstrip(".") or "the document"


def choices(word: str, allowed: Iterable[str]) -> str:
    """Return as a remedy what was probably meant by *word*, and what there is; an empty word means nothing."""
    names = [str(name) for name in allowed]
    # Looking for neighbours takes the product of both lengths: nobody is helped by that in a list of thousands.
    near = difflib.get_close_matches(word[:_SHOWN], names, n=1) if len(names) <= _MANY else []
    listed = ", ".join(shown(name, 40) for name in names[:20]) + (", …" if len(names) > 20 else "")
    there = f"one of: {listed}" if names else "there is none"
    return f"did you mean {shown(near[0])}? {there}" if near else there


# --- plain data, and the place of every value ---


@dataclass(frozen=True, slots=True)
class _Spot:
    key: tuple[int, int]
    value: tuple[int, int]
    text: str


class Document:
    """The plain data of one file, where each value stands, and what is wrong so far; `read` makes one.

    Whoever concludes something from the data asks through `get` and its like, which answer with nothing where a value
    is spoiled, and complains here.
    """

    def __init__(self, text: str, file: str) -> None:
        self.text = text
        """what was read, every line ended by one line feed"""
        self.data: Any = None
        """mappings, tuples and words; None where nothing could be read"""
        self.problems: list[Problem] = []
        """in the order in which they were found; `error` sorts them, and adds one with the schema number"""
        self.spoiled: set[Trail] = set()
        """values already complained of: nothing is concluded from them"""
        self._file = _printable(file)
        self._rows = text.split("\n")
        self._spots: dict[Trail, _Spot] = {}
        self._schema: Problem | None = None

    def place(self, trail: Trail, event: Any, key: Any) -> None:
        """Remember that the value at *trail* begins with *event*, and is named by *key* (or by nothing)."""
        named, value = _at((key or event).start_mark), _at(event.start_mark)
        text = self.excerpt(event)
        # An empty value begins behind its colon, or on the next line: its key is easier to find.
        self._spots[trail] = _Spot(named, value if text else named, text)

    def close(self, trail: Trail, begun: Any, ended: Any) -> None:
        """Remember where what *begun* with a bracket at *trail* ended: what stands behind it is something else."""
        if begun.flow_style:
            self._spots[trail] = replace(self._spots[trail], text=self.excerpt(begun, ended))

    def excerpt(self, event: Any, ended: Any = None) -> str:
        """Return how *event* is written, as far as it fits on its first line: a collection up to where it *ended*, if
        that is given.
        """
        start, end = event.start_mark, (ended or event).end_mark
        line = self._rows[start.line] if start.line < len(self._rows) else ""
        if (clean := redact(line[start.column :])) != line[start.column :]:
            # somebody pasted a token or a key: that is complained of, and not shown
            return shown(clean)
        scalar = ended is not None or isinstance(event, (seen.ScalarEvent, seen.AliasEvent))
        stop = end.column if scalar and end.line == start.line else start.column + _SHOWN + 1
        more = " …" if scalar and end.line > start.line and end.column else ""
        return shown(line[start.column : min(stop, start.column + _SHOWN + 1)]) + more

    def written(self, trail: Trail) -> str:
        """Return how the value at *trail*, where one must stand, is written in the file."""
        return self._spots[trail].text

    def row(self, line: int) -> str:
        """Return a line of the file, as far as it is worth showing."""
        return shown(redact(self._rows[line - 1].strip())) if line <= len(self._rows) else ""

    def indented_by_tab(self, line: int) -> bool:
        """Is there a tab in what stands before the first word of a line?"""
        text = self._rows[line - 1] if line <= len(self._rows) else ""
        return "\t" in text[: len(text) - len(text.lstrip())]

    def problem(self, place: tuple[int, int], message: str, offending: str = "", remedy: str = "") -> None:
        """Add a problem at a line and column, both from 1, with the *offending* words as they are to be shown."""
        self.problems.append(Problem(self._file, *place, message, offending, remedy))

    def complain(self, trail: Trail, message: str, remedy: str) -> None:
        """Add a problem with the value at *trail*, or where nothing stands there, with what it should stand in."""
        standing = trail in self._spots
        while trail not in self._spots and trail:
            trail = trail[:-1]
        spot = self._spots[trail]
        self.problem(spot.value, message, spot.text if standing else "", remedy)

    def complain_of_key(self, trail: Trail, message: str, remedy: str) -> None:
        """Add a problem with the key that names the value at *trail*."""
        self.problem(self._spots[trail].key, message, shown(str(trail[-1])), remedy)

    def complain_of_schema(self, message: str) -> None:
        """Add the problem that is said before all others: it may be the reason for them."""
        self.complain(("schema",), message, f"schema: {SCHEMA}")
        self._schema = self.problems.pop()

    def error(self) -> ScenarioError:
        """Return all problems in the order of the text."""
        ordered = sorted(self.problems, key=lambda p: (p.line, p.column))
        return ScenarioError([*([self._schema] if self._schema else []), *ordered])

    def lines(self) -> dict[Trail, tuple[int, int]]:
        """Return by trail the line and column, from 1: of the key that names a value, of a list's item itself."""
        return {trail: spot.key for trail, spot in self._spots.items()}

    def sound(self, *trail: str | int) -> bool:
        """Was nothing wrong with this value, nor with what it stands in?"""
        return not any(trail[:length] in self.spoiled for length in range(len(trail) + 1))

    def get(self, *trail: str | int, default: Any = None) -> Any:
        """Return the value at *trail*, which then has its declared type; *default* if left out, None if spoiled.

        Of its parts, one that is spoiled is None where it is no text, and may be any text where one has to stand.
        """
        if not self.sound(*trail):
            return None
        value = self.data
        for step in trail:
            value = value[step] if step in _steps_of(value) else None
        if isinstance(value, dict | tuple) and any(one[: len(trail)] == trail for one in self.spoiled):
            value = self._without_spoiled(value, trail)
        return default if value is None else value

    def _without_spoiled(self, value: Any, trail: Trail) -> Any:
        if trail in self.spoiled:
            return value if isinstance(value, str) else None
        if isinstance(value, dict):
            return {key: self._without_spoiled(part, (*trail, key)) for key, part in value.items()}
        if isinstance(value, tuple):
            return tuple(self._without_spoiled(part, (*trail, index)) for index, part in enumerate(value))
        return value

    def given(self, *trail: str | int) -> bool:
        """Does something stand at *trail*, be it sound or not?"""
        return trail in self._spots and not self.left_out(*trail)

    def left_out(self, *trail: str | int) -> bool:
        """Does surely nothing stand at *trail*? Not even that is known of the parts of what is spoiled."""
        return self.sound(*trail) and self.get(*trail) is None

    def entries(self, section: str) -> list[Trail]:
        """Return the trails of the named entries of a section; none where it is spoiled."""
        return [(section, name) for name in self.get(section, default={}) or {}]


def _steps_of(value: Any) -> Iterable[str | int]:
    if isinstance(value, dict):
        return value
    return range(len(value)) if isinstance(value, tuple) else ()


def _at(mark: Any) -> tuple[int, int]:
    return mark.line + 1, mark.column + 1


# --- text becomes plain data ---


class _Reader:
    """Builds the data of a document from the parser's events, so that nothing is ever shared, tagged or unbounded."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._events: Iterator[Any] = iter(())
        self._ended: Any = None
        """with what the collection ended that was read last"""

    def read(self) -> None:
        """Fill the document from its text. Raises ScenarioError where the rest cannot be read."""
        self._refuse_unseen()
        self._events = yaml.parse(self._document.text, Loader=_LOADER)
        try:
            self._read_only_document()
        except yaml.YAMLError as error:
            self._complain_of_syntax(error)
            raise self._document.error() from error

    def _refuse_unseen(self) -> None:
        for number, line in enumerate(self._document.text.split("\n"), start=1):
            if match := _UNSEEN.search(line):
                place, remedy = (number, match.start() + 1), "leave it out, or write a plain space"
                self._document.problem(place, "an invisible or control character", shown(match[0]), remedy)
        if self._document.problems:
            raise self._document.error()

    def _read_only_document(self) -> None:
        next(self._events)
        first = next(self._events)
        root = next(self._events) if isinstance(first, seen.DocumentStartEvent) else None
        if root is None or (isinstance(root, seen.ScalarEvent) and not root.style and root.value in ("", "~", "null")):
            self._document.problem((1, 1), "the file is empty", remedy=f"a scenario, beginning with: schema: {SCHEMA}")
            raise self._document.error()
        self._document.data = self._value(root, (), None)
        next(self._events)
        extra = next(self._events)
        if isinstance(extra, seen.DocumentStartEvent):
            message = "a second document begins here, and a file holds one scenario"
            self._document.problem(_at(extra.start_mark), message, remedy="one file for each scenario")

    def _value(self, event: Any, trail: Trail, key: Any) -> Any:
        self._document.place(trail, event, key)
        self._refuse_yaml_features(event, trail)
        if isinstance(event, seen.ScalarEvent):
            return self._scalar(event, trail)
        if isinstance(event, seen.AliasEvent):
            return None
        if len(trail) >= _DEEPEST:
            self._refuse_depth(event)
        found = self._list(trail) if isinstance(event, seen.SequenceStartEvent) else self._mapping(trail)
        self._document.close(trail, event, self._ended)
        return found

    def _refuse_yaml_features(self, event: Any, trail: Trail) -> None:
        spoil = self._document.spoiled.add
        if isinstance(event, seen.AliasEvent):
            self._document.complain(trail, "aliases are not read", "the value itself, written out once more")
            spoil(trail)
        elif event.anchor is not None:
            self._document.complain(trail, "anchors are not read", f"the value without &{shown(event.anchor)}")
        if getattr(event, "tag", None) is not None:
            self._document.complain(trail, "tags are not read", "the value without its tag")
            spoil(trail)

    def _refuse_depth(self, event: Any) -> NoReturn:
        # The parser's work grows with the square of the depth, so what follows is not even skipped.
        row = self._document.excerpt(event)
        self._document.problem(_at(event.start_mark), _deep(), row, "fewer brackets or indents")
        raise self._document.error()

    def _scalar(self, event: seen.ScalarEvent, trail: Trail) -> str | int | float | bool | None:
        if why := _unusable(event.value, LONGEST_TEXT):
            self._document.complain(trail, f"{where(trail)} {why}", f"visible characters, at most {LONGEST_TEXT}")
            self._document.spoiled.add(trail)
            return None
        return event.value if event.style else _plain(event.value)

    def _list(self, trail: Trail) -> tuple[Any, ...]:
        items: list[Any] = []
        while not isinstance(event := next(self._events), seen.SequenceEndEvent):
            items.append(self._value(event, (*trail, len(items)), None))
        self._ended = event
        return tuple(items)

    def _mapping(self, trail: Trail) -> dict[str, Any]:
        found: dict[str, Any] = {}
        first: dict[str, int] = {}
        while not isinstance(key := next(self._events), seen.MappingEndEvent):
            name = self._key(key, trail, first)
            event = next(self._events)
            if name is None:
                self._skip(event)
                continue
            first[name] = key.start_mark.line + 1
            found[name] = self._value(event, (*trail, name), key)
        self._ended = key
        return found

    def _key(self, event: Any, trail: Trail, first: Mapping[str, int]) -> str | None:
        """Return the key that *event* is, or None after a complaint about it."""
        place, text = _at(event.start_mark), self._document.excerpt(event)
        if not isinstance(event, seen.ScalarEvent) or event.anchor is not None or event.tag is not None:
            self._document.problem(place, f"a key in {where(trail)} is not a plain word", text, "one word, as it is")
            self._skip(event)
            return None
        if why := _unusable(event.value, _LONGEST_KEY):
            self._document.problem(place, f"a key in {where(trail)} {why}", text, f"at most {_LONGEST_KEY} letters")
            return None
        if line := first.get(event.value):
            message = f"duplicate key `{shown(event.value)}` in {where(trail)}: it already stands on line {line}"
            self._document.problem(place, message, text, f"one of the two, here or on line {line}")
            return None
        return str(event.value)

    def _skip(self, event: Any) -> None:
        """Pass over the value that begins with *event*."""
        depth = _deeper(event)
        while depth:
            event = next(self._events)
            depth += _deeper(event)
            if depth > _DEEPEST:
                self._refuse_depth(event)

    def _complain_of_syntax(self, error: yaml.YAMLError) -> None:
        mark = getattr(error, "problem_mark", None)
        line, column = _at(mark) if mark else (1, 1)
        told = (getattr(error, "context", None), getattr(error, "problem", None) or getattr(error, "reason", None))
        why = shown(", ".join(str(part) for part in told if part), 200)
        if _TOO_DEEP in why:
            # newer parsers have a limit of their own, which is larger than ours
            row = self._document.row(line)
            self._document.problem((line, column), _deep(), row, "fewer brackets or indents")
            return
        remedy = next(remedy for sign, remedy in _SYNTAX_REMEDIES if sign in why)
        if self._document.indented_by_tab(line):
            remedy = "indent with blanks, never with tabs"
        self._document.problem((line, column), f"this is not YAML: {why}", self._document.row(line), remedy)


def _deep() -> str:
    return f"more than {_DEEPEST} levels deep, and no scenario is"


def _deeper(event: Any) -> int:
    """Return by how many levels *event* goes down (1), or up (-1)."""
    return isinstance(event, seen.CollectionStartEvent) - isinstance(event, seen.CollectionEndEvent)


def _unusable(text: str, longest: int) -> str:
    """Return why *text* cannot be taken from the file, or nothing."""
    if len(text) > longest:
        return f"has {len(text)} characters"
    return "has an escaped invisible or control character" if _UNSEEN.search(text) else ""


def _plain(text: str) -> str | int | float | bool | None:
    """Return what an unquoted word stands for."""
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    return float(text) if _FLOAT.fullmatch(text) else text
