"""YAML text becomes a Scenario, or a list of problems with line numbers.

Three readings add to one list: the text as plain data, where all that YAML could do and a scenario has no use for is
refused; the data as a Scenario; and the Scenario as something that can exist, in which every name leads somewhere and
no Vault is asked for what it never could do. Where one part is wrong, the others are still read.

Unquoted words are read as YAML 1.2 has it: only true and false are truth values, so that a cluster may be called no.
"""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Final, Literal, NoReturn, get_args, get_origin, get_type_hints

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from yaml import events as seen

from harness import knowledge, scenario, versions
from harness.errors import Problem, ScenarioError
from harness.scenario import SCHEMA, Scenario

Trail = tuple[str | int, ...]
"""A path in the document, such as ("apps", "web", "reads", 0)."""

_Complaint = tuple[Trail, str, str]
"""Where, what is wrong, what would be right."""

_LARGEST_FILE: Final = 256 * 1024
_LONGEST_TEXT: Final = 10_000
_LONGEST_KEY: Final = 200
_DEEPEST: Final = 16
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

_WORDS: Final[Mapping[Any, tuple[str, str]]] = {
    scenario.VersionText: ("a version", "three numbers, such as 1.11.0"),
    scenario.Name: ("a name", "lower-case letters, digits and dashes, such as apps"),
    scenario.Binding: ("a name or *", 'a name such as web, or "*" for all'),
    scenario.ServiceAccount: ("a service account", "namespace/name, such as apps/web"),
    scenario.MountPath: ("a mount path", "such as kubernetes"),
    scenario.SecretPath: ("a kv-v2 secret", "such as secret/web"),
    scenario.Text: ("text", f"one to {_LONGEST_TEXT} characters"),
    scenario.Duration: ("a span of time", "a whole number with s, m or h, such as 90s, 10m or 1h"),
    scenario.TokenLife: ("a life that a token can have", "a whole number with s, m or h, such as 10m or 1h"),
    int: ("a whole number", "a whole number without quotes, such as 5"),
    bool: ("true or false", "true or false, without quotes"),
}

_ANY_WORD: Final = (scenario.Name, scenario.Binding, scenario.Text)

_KINDS: Final[Mapping[type, str]] = {
    type(None): "empty",
    bool: "a truth value",
    int: "a number",
    float: "a number",
    str: "text",
    tuple: "a list",
    dict: "a mapping",
}

_NEEDS_CA_UNTIL: Final = "1.5.0"
"""Before, a config without kubernetes_ca_cert and pem_keys is answered 400 (P v0.6.1: path_config.go)."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A scenario that can be rehearsed, and where its parts stand in the file."""

    scenario: Scenario
    name: str
    """the file's name without its suffix"""
    text: str
    """what was read, every line ended by one line feed"""
    file: str
    lines: Mapping[Trail, tuple[int, int]]
    """path in the document -> (line, column), from 1: of the key that names a value, of a list's item itself"""


def load(path: Path) -> Loaded:
    """Return the scenario in the file at *path*.

    Raises ScenarioError with every problem found; that there is no such file, or no text in it, is one.
    """
    file = str(path)
    try:
        with path.open("rb") as stream:
            raw = stream.read(_LARGEST_FILE + 1)
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        _give_up(file, (1, 1), f"the file cannot be read: {reason}", remedy="the path of a YAML file with a scenario")
    try:
        # A file cut at the limit may end within a character: loads says that it is too large.
        text = raw.decode("utf-8", "replace" if len(raw) > _LARGEST_FILE else "strict")
    except UnicodeDecodeError as error:
        *above, row = raw[: error.start].decode("utf-8-sig").split("\n")
        place = len(above) + 1, len(row) + 1
        _give_up(file, place, "the file is not UTF-8", f"byte 0x{raw[error.start]:02x}", "text saved as UTF-8")
    return loads(text, file)


def loads(text: str, file: str = "<text>") -> Loaded:
    """Return the scenario that *text* holds; *file* is what problems call it.

    Raises ScenarioError with every problem found, in the order of the text, a wrong schema number first.
    """
    if len(text.encode("utf-8", "surrogatepass")) > _LARGEST_FILE:
        remedy = f"at most {_LARGEST_FILE // 1024} KiB"
        _give_up(file, (1, 1), "the file is too large for a scenario", remedy=remedy)
    text = text.removeprefix("\ufeff").replace("\r\n", "\n")
    document = _Document(text, file)
    _Reader(document).read(text)
    found = _understood(document)
    for check in _CHECKS:
        for trail, message, remedy in check(document):
            document.complain(trail, message, remedy)
    error = document.error()
    if error.problems or found is None:
        raise error
    return Loaded(found, Path(file).stem, text, file, MappingProxyType(document.lines()))


def _give_up(file: str, place: tuple[int, int], message: str, offending: str = "", remedy: str = "") -> NoReturn:
    """Raise the one problem that leaves nothing to read."""
    raise ScenarioError([Problem(_printable(file), *place, message, offending, remedy)])


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _shown(text: str, most: int = _SHOWN) -> str:
    """Return *text* for a message: short, and unable to do anything to a terminal."""
    short = _printable(text[: most + 1])
    return short if len(short) <= most else short[:most] + "…"


# --- the document: plain data, and the place of every value ---


@dataclass(frozen=True, slots=True)
class _Spot:
    key: tuple[int, int]
    value: tuple[int, int]
    text: str


class _Document:
    """The plain data of one file, where each value stands, and what is wrong so far."""

    def __init__(self, text: str, file: str) -> None:
        self.data: Any = None
        self.problems: list[Problem] = []
        self.spoiled: set[Trail] = set()
        """values already complained of: nothing is concluded from them"""
        self._file = _printable(file)
        self._text = text.split("\n")
        self._spots: dict[Trail, _Spot] = {}
        self._schema: Problem | None = None

    def place(self, trail: Trail, event: Any, key: Any) -> None:
        """Remember that the value at *trail* begins with *event*, and is named by *key* (or by nothing)."""
        named, value = _at((key or event).start_mark), _at(event.start_mark)
        text = self.excerpt(event)
        # An empty value begins behind its colon, or on the next line: its key is easier to find.
        self._spots[trail] = _Spot(named, value if text else named, text)

    def excerpt(self, event: Any) -> str:
        """Return how *event* is written, as far as it fits on its first line."""
        start, end = event.start_mark, event.end_mark
        line = self._text[start.line] if start.line < len(self._text) else ""
        scalar = isinstance(event, (seen.ScalarEvent, seen.AliasEvent))
        stop = end.column if scalar and end.line == start.line else start.column + _SHOWN + 1
        more = " …" if scalar and end.line > start.line and end.column else ""
        return _shown(line[start.column : min(stop, start.column + _SHOWN + 1)]) + more

    def written(self, trail: Trail) -> str:
        """Return how the value at *trail* stands in the file."""
        return self._spots[trail].text

    def row(self, line: int) -> str:
        """Return a line of the file, as far as it is worth showing."""
        return _shown(self._text[line - 1].strip()) if line <= len(self._text) else ""

    def indented_by_tab(self, line: int) -> bool:
        text = self._text[line - 1] if line <= len(self._text) else ""
        return "\t" in text[: len(text) - len(text.lstrip())]

    def problem(self, place: tuple[int, int], message: str, offending: str = "", remedy: str = "") -> None:
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
        self.problem(self._spots[trail].key, message, _shown(str(trail[-1])), remedy)

    def complain_of_schema(self, message: str) -> None:
        """Add the problem that is said before all others: it may be the reason for them."""
        self.complain(("schema",), message, f"schema: {SCHEMA}")
        self._schema = self.problems.pop()

    def error(self) -> ScenarioError:
        """Return all problems in the order of the text."""
        ordered = sorted(self.problems, key=lambda p: (p.line, p.column))
        return ScenarioError([*([self._schema] if self._schema else []), *ordered])

    def lines(self) -> dict[Trail, tuple[int, int]]:
        return {trail: spot.key for trail, spot in self._spots.items()}

    def sound(self, *trail: str | int) -> bool:
        """Was nothing wrong with this value, nor with what it stands in?"""
        return not any(trail[:length] in self.spoiled for length in range(len(trail) + 1))

    def get(self, *trail: str | int, default: Any = None) -> Any:
        """Return the value at *trail*, which then has its declared type; *default* if left out, None if spoiled."""
        if not self.sound(*trail):
            return None
        value = self.data
        for step in trail:
            value = value[step] if step in _steps_of(value) else None
        return default if value is None else value

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


# --- first reading: text becomes plain data ---


class _Reader:
    """Builds the data of a document from the parser's events, so that nothing is ever shared, tagged or unbounded."""

    def __init__(self, document: _Document) -> None:
        self._document = document
        self._events: Iterator[Any] = iter(())

    def read(self, text: str) -> None:
        """Fill the document from *text*. Raises ScenarioError where the rest cannot be read."""
        self._refuse_unseen(text)
        self._events = yaml.parse(text, Loader=_LOADER)
        try:
            self._read_only_document()
        except yaml.YAMLError as error:
            self._complain_of_syntax(error)
            raise self._document.error() from error

    def _refuse_unseen(self, text: str) -> None:
        for number, line in enumerate(text.split("\n"), start=1):
            if match := _UNSEEN.search(line):
                place, remedy = (number, match.start() + 1), "leave it out, or write a plain space"
                self._document.problem(place, "an invisible or control character", _shown(match[0]), remedy)
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
        return self._list(trail) if isinstance(event, seen.SequenceStartEvent) else self._mapping(trail)

    def _refuse_yaml_features(self, event: Any, trail: Trail) -> None:
        spoil = self._document.spoiled.add
        if isinstance(event, seen.AliasEvent):
            self._document.complain(trail, "aliases are not read", "the value itself, written out once more")
            spoil(trail)
        elif event.anchor is not None:
            self._document.complain(trail, "anchors are not read", f"the value without &{_shown(event.anchor)}")
        if getattr(event, "tag", None) is not None:
            self._document.complain(trail, "tags are not read", "the value without its tag")
            spoil(trail)

    def _refuse_depth(self, event: Any) -> NoReturn:
        # The parser's work grows with the square of the depth, so what follows is not even skipped.
        message = f"more than {_DEEPEST} levels deep, and no scenario is"
        self._document.problem(
            _at(event.start_mark), message, self._document.excerpt(event), "fewer brackets or indents"
        )
        raise self._document.error()

    def _scalar(self, event: seen.ScalarEvent, trail: Trail) -> str | int | float | bool | None:
        if why := _unusable(event.value, _LONGEST_TEXT):
            self._document.complain(trail, f"{_where(trail)} {why}", f"visible characters, at most {_LONGEST_TEXT}")
            self._document.spoiled.add(trail)
            return None
        return event.value if event.style else _plain(event.value)

    def _list(self, trail: Trail) -> tuple[Any, ...]:
        items: list[Any] = []
        while not isinstance(event := next(self._events), seen.SequenceEndEvent):
            items.append(self._value(event, (*trail, len(items)), None))
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
        return found

    def _key(self, event: Any, trail: Trail, first: Mapping[str, int]) -> str | None:
        """Return the key that *event* is, or None after a complaint about it."""
        place, text = _at(event.start_mark), self._document.excerpt(event)
        if not isinstance(event, seen.ScalarEvent) or event.anchor is not None or event.tag is not None:
            self._document.problem(place, f"a key in {_where(trail)} is not a plain word", text, "one word, as it is")
            self._skip(event)
            return None
        if why := _unusable(event.value, _LONGEST_KEY):
            self._document.problem(place, f"a key in {_where(trail)} {why}", text, f"at most {_LONGEST_KEY} letters")
            return None
        if line := first.get(event.value):
            message = f"duplicate key `{_shown(event.value)}` in {_where(trail)}: it already stands on line {line}"
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
        why = _shown(", ".join(str(part) for part in told if part), 200)
        remedy = next(remedy for sign, remedy in _SYNTAX_REMEDIES if sign in why)
        if self._document.indented_by_tab(line):
            remedy = "indent with blanks, never with tabs"
        self._document.problem((line, column), f"this is not YAML: {why}", self._document.row(line), remedy)


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


def _where(trail: Trail) -> str:
    """Return *trail* as an author would say it: apps.web.reads[0]."""
    steps = "".join(f"[{step}]" if isinstance(step, int) else f".{_shown(step, 40)}" for step in trail)
    return steps.lstrip(".") or "the document"


# --- second reading: plain data becomes a Scenario ---


def _understood(document: _Document) -> Scenario | None:
    """Return the data as a Scenario, or None after a complaint about each part that is none."""
    _check_schema(document)
    try:
        return Scenario.model_validate(document.data, by_alias=True, by_name=False)
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)
    # What was refused as text has its problem already; that it is missing as data is no second one.
    details = [detail for detail in details if document.sound(*detail["loc"])]
    for detail in details:
        if detail["loc"] != ("schema",):
            _explain(document, detail)
    document.spoiled.update(detail["loc"] for detail in details)
    return None


def _check_schema(document: _Document) -> None:
    if not isinstance(document.data, dict) or not document.sound("schema"):
        return
    number = document.data.get("schema")
    if "schema" not in document.data:
        document.complain_of_schema(f"missing key `schema`: this release reads schema {SCHEMA}")
    elif type(number) is not int or number != SCHEMA:
        document.complain_of_schema(f"another schema: this release reads schema {SCHEMA}, and no other")


def _explain(document: _Document, detail: ErrorDetails) -> None:
    """Say in our words what pydantic found."""
    trail, kind = detail["loc"], detail["type"]
    reason = str(detail.get("ctx", {}).get("error", ""))
    if kind == "extra_forbidden":
        keys, name = _keys(_shape(trail[:-1])), str(trail[-1])
        message = f"unknown key `{_shown(name)}` in {_where(trail[:-1])}"
        document.complain_of_key(trail, message, _choices(name, keys))
    elif kind == "missing":
        key = str(trail[-1])
        message = f"missing key `{key}` in {_where(trail[:-1])}"
        document.complain(trail, message, f"{key}: {_keys(_shape(trail[:-1]))[key]}")
    elif trail[-1:] == ("[key]",):
        noun, example = _WORDS[get_args(_shape(trail[:-2]))[0]]
        message = f"the key `{_shown(str(trail[-2]))}` in {_where(trail[:-2])} is not {noun}"
        document.complain_of_key(trail[:-1], message, reason or example)
    else:
        _explain_value(document, detail, reason)


def _explain_value(document: _Document, detail: ErrorDetails, reason: str) -> None:
    trail, kind, limits = detail["loc"], detail["type"], detail.get("ctx", {})
    shape, value, where = _shape(trail), document.get(*trail), _where(trail)
    noun, example = _wanted(shape)
    if kind in ("greater_than_equal", "less_than_equal"):
        remedy = f"at least {limits['ge']}" if "ge" in limits else f"at most {limits['le']}"
        document.complain(trail, f"{where} is out of range", remedy)
    elif kind in ("too_short", "string_too_short"):
        document.complain(trail, f"{where} is empty", f"at least one: {example}" if kind == "too_short" else example)
    elif kind == "literal_error" and isinstance(value, str):
        document.complain(trail, f"{where} is not one of the choices", _choices(value, get_args(shape)))
    elif kind.endswith("_type") or kind == "literal_error":
        message = f"{where} is {_KINDS.get(type(value), 'something else')}, and must be {noun}"
        document.complain(trail, message, _remedy_for_type(document, trail, shape, example))
    else:
        message = f"{where} is not {noun}" if shape in _WORDS else f"{where} cannot be so"
        document.complain(trail, message, _version_of(shape, str(value)) or reason or example)


def _remedy_for_type(document: _Document, trail: Trail, shape: Any, example: str) -> str:
    """Return what would be right; for a text that YAML took for a number, that is mostly the same in quotes."""
    if not isinstance(document.get(*trail), (bool, int, float)):
        return example
    written = document.written(trail)
    quoted = f'{example}; if it is meant so, in quotes: "{written}"'
    return _version_of(shape, written) or (quoted if shape in _ANY_WORD else example)


def _version_of(shape: Any, written: str) -> str:
    """Return the version that the author of *written* may have meant, with three numbers, as a sentence."""
    match = re.fullmatch(r"v?([0-9]{1,4})\.([0-9]{1,4})(\.[0-9]{1,4})?", written)
    if shape is not scenario.VersionText or match is None:
        return ""
    return f"{match[1]}.{match[2]}{match[3] or '.0'}: a version has three numbers, and no v before them"


def _choices(word: str, allowed: Iterable[str]) -> str:
    """Return what was probably meant by *word*, and what there is."""
    names = [str(name) for name in allowed]
    # Looking for neighbours takes the product of both lengths: nobody is helped by that in a list of thousands.
    near = difflib.get_close_matches(word[:_SHOWN], names, n=1) if len(names) <= _MANY else []
    listed = ", ".join(_shown(name, 40) for name in names[:20]) + (", …" if len(names) > 20 else "")
    there = f"one of: {listed}" if names else "there is none"
    return f"did you mean {_shown(near[0])}? {there}" if near else there


# --- what the models declare, found by trail ---


def _is_model(shape: Any) -> bool:
    return inspect.isclass(shape) and issubclass(shape, BaseModel)


@cache
def _fields(model: type[BaseModel]) -> dict[str, tuple[Any, str]]:
    """Return, by written key, the type and the description of each field."""
    hints = get_type_hints(model, include_extras=True)
    found = {}
    for name, field in model.model_fields.items():
        shape = _bare(hints[name])
        described = field.description or (inspect.getdoc(shape) if _is_model(shape) else "") or ""
        found[field.alias or name] = (shape, described)
    return found


def _bare(hint: Any) -> Any:
    """Return *hint* without None, and without its constraints unless we have words for them."""
    options = [option for option in get_args(hint) if option is not type(None)]
    hint = options[0] if type(None) in get_args(hint) else hint
    return get_args(hint)[0] if get_origin(hint) is Annotated and hint not in _WORDS else hint


def _keys(shape: Any) -> dict[str, str]:
    return {key: described for key, (_, described) in _fields(shape).items()}


def _shape(trail: Trail) -> Any:
    """Return the declared type of the value at *trail*."""
    shape: Any = Scenario
    for step in trail:
        if _is_model(shape):
            shape = _fields(shape)[str(step)][0]
        else:
            shape = get_args(shape)[1 if get_origin(shape) is dict else 0]
    return shape


def _wanted(shape: Any) -> tuple[str, str]:
    """Return what a value of this type is called, and an example of it or the way to one."""
    if shape in _WORDS:
        return _WORDS[shape]
    if get_origin(shape) is Literal:
        return "one of the choices", _choices("", [str(value) for value in get_args(shape)])
    if get_origin(shape) is dict:
        return "a mapping", "a name, a colon, and below it, indented, what it names"
    if _is_model(shape):
        return "a mapping", "the keys " + ", ".join(_fields(shape))
    _, example = _wanted(get_args(shape)[0])
    return "a list", f"a line for each, with a dash before it ({example})"


# --- third reading: a Scenario that can exist ---


def _names_of_clusters(document: _Document) -> Iterator[_Complaint]:
    clusters = document.get("clusters")
    if clusters is None:
        return
    for part in (("vault",), *document.entries("auth"), *document.entries("apps")):
        name = document.get(*part, "cluster")
        if name is not None and name not in clusters:
            yield (*part, "cluster"), f"there is no cluster {_shown(name)}", _choices(name, clusters)


def _kubernetes_versions(document: _Document) -> Iterator[_Complaint]:
    for part in document.entries("clusters"):
        version = document.get(*part, "kubernetes")
        if version is not None and not versions.at_least(version, versions.OLDEST_KUBERNETES):
            message = f"Kubernetes {version} has no bound service account tokens as they are now"
            yield (*part, "kubernetes"), message, f"{versions.OLDEST_KUBERNETES} or newer"


def _steps(document: _Document) -> list[tuple[Trail, str]]:
    """Return the versions of Vault's path in order, as far as they are sound."""
    via = [("vault", "via", index) for index in range(len(document.get("vault", "via", default=()) or ()))]
    trails: list[Trail] = [("vault", "source"), *via, ("vault", "target")]
    return [(trail, version) for trail in trails if (version := document.get(*trail)) is not None]


def _order_of_versions(document: _Document) -> Iterator[_Complaint]:
    remedy = "from source through via to target, each version newer than the one before"
    for (earlier, old), (trail, new) in pairwise(_steps(document)):
        if versions.parse(new) < versions.parse(old):
            yield trail, f"Vault {new} is older than {old}, from which it is reached", remedy
        elif versions.parse(new) == versions.parse(old) and earlier != ("vault", "source"):
            yield trail, f"Vault {new} is reached twice", remedy
    source = document.get("vault", "source")
    for trail, by in _writers(document):
        if source is not None and versions.parse(by) > versions.parse(source):
            message = f"the config was written by Vault {by}, and the source is {source}, which is older"
            yield trail, message, f"{source} or older: what is in use today has written it, or a release before"


def _writers(document: _Document) -> list[tuple[Trail, str]]:
    """Return the versions that are said to have written a config."""
    trails = [(*mount, "configured", "by") for mount in document.entries("auth")]
    return [(trail, by) for trail in trails if (by := document.get(*trail)) is not None]


def _vault_releases(document: _Document) -> Iterator[_Complaint]:
    storage = document.get("vault", "storage", default="raft")
    for trail, version in (*_steps(document), *_writers(document)):
        if why := versions.never_released(version):
            yield trail, f"Vault {version} was never released", why
        if storage == "raft" and not versions.at_least(version, versions.RAFT_SINCE):
            message = f"Vault {version} has no raft storage"
            yield trail, message, f"{versions.RAFT_SINCE} or newer, or storage: file in vault"


def _unseal_keys(document: _Document) -> Iterator[_Complaint]:
    fields = scenario.Vault.model_fields
    shares = document.get("vault", "shares", default=fields["shares"].default)
    threshold = document.get("vault", "threshold", default=fields["threshold"].default)
    if shares is None or threshold is None:
        return
    trail = ("vault", "shares" if document.left_out("vault", "threshold") else "threshold")
    if threshold > shares:
        yield trail, f"{threshold} unseal keys are needed, and there are {shares}", "a threshold of at most the shares"
    elif threshold == 1 < shares:
        remedy = "a threshold of 2 or more, or shares: 1"
        yield trail, "Vault refuses a threshold of 1 where there are more shares", remedy


def _vault_outside(document: _Document) -> Iterator[_Complaint]:
    """Complain of what only a Vault in a cluster can have."""
    if not document.left_out("vault", "cluster"):
        return
    remedy = "cluster in vault as well, or leave this out"
    if document.given("vault", "service-account"):
        yield ("vault", "service-account"), "a Vault outside any cluster has no service account", remedy
    if document.get("vault", "token-file"):
        yield ("vault", "token-file"), "a Vault outside any cluster has no token file", remedy
    for mount in document.entries("auth"):
        if document.get(*mount, "configured", "with-token-file"):
            trail = (*mount, "configured", "with-token-file")
            yield trail, "a Vault outside any cluster had no token file", remedy
        if document.get(*mount, "reviewer") == "local":
            message = "a Vault outside any cluster has no token of its own to review with"
            yield (*mount, "reviewer"), message, "reviewer: long-lived or client-jwt, or cluster in vault"


def _reviewers(document: _Document) -> Iterator[_Complaint]:
    for mount in document.entries("auth"):
        trail = (*mount, "reviewer")
        reviewer = document.get(*trail)
        if reviewer is not None and document.given(*mount, "config"):
            message = "reviewer and config exclude each other: a reviewer by name becomes the config"
            yield (*mount, "config"), message, "one of the two"
        if document.sound(*trail) and reviewer != "long-lived":
            for key in ("reviewer-service-account", "reviewer-may-review-tokens"):
                if document.given(*mount, key):
                    yield (
                        (*mount, key),
                        f"{key} is of use to a long-lived reviewer only",
                        "reviewer: long-lived as well",
                    )
        by = _writer(document, mount)
        if reviewer == "client-jwt" and by and not versions.at_least(by, knowledge.KNOWS_DISABLE_LOCAL):
            yield trail, f"nobody could choose client-jwt with Vault {by}", _instead_of_client_jwt(by)


def _instead_of_client_jwt(by: str) -> str:
    if versions.at_least(by, knowledge.COPIES_POD_TOKEN):
        since = knowledge.KNOWS_DISABLE_LOCAL
        return f"disable_local_ca_jwt, which chooses it, is known since {since}: configured by {since} or newer"
    return f"leave reviewer out: before {knowledge.COPIES_POD_TOKEN} no choice is the same as client-jwt"


def _writer(document: _Document, mount: Trail) -> str | None:
    """Return the version that writes the config of *mount*, if it is said soundly."""
    unsaid = document.left_out(*mount, "configured")
    trail = ("vault", "source") if unsaid else (*mount, "configured", "by")
    found: str | None = document.get(*trail)
    return found


def _config_fields(document: _Document) -> Iterator[_Complaint]:
    """Complain of config fields that the Vault which writes them does not know yet, or cannot do without."""
    for mount in document.entries("auth"):
        by = _writer(document, mount)
        if by is None:
            continue
        for field, since in (
            ("disable_local_ca_jwt", knowledge.KNOWS_DISABLE_LOCAL),
            ("disable_iss_validation", knowledge.KNOWS_ISSUER_OPTION),
        ):
            if document.given(*mount, "config", field) and not versions.at_least(by, since):
                remedy = f"leave it out, or configured by {since} or newer"
                yield (*mount, "config", field), f"{field} is unknown to Vault {by}, which writes this config", remedy
        trail = (*mount, "config", "kubernetes_ca_cert")
        if document.get(*trail) == "omit" and not versions.at_least(by, _NEEDS_CA_UNTIL):
            message = f"Vault {by} answers 400 to a config without a CA (one of pem_keys or kubernetes_ca_cert)"
            yield trail, message, f"cluster, or configured by {_NEEDS_CA_UNTIL} or newer"


def _policies(document: _Document) -> Iterator[_Complaint]:
    if document.given("policies", "root"):
        yield ("policies", "root"), "the root policy is Vault's own and cannot be written", "another name"
    for trail in _roles(document):
        for index, policy in enumerate(document.get(*trail, "policies", default=()) or ()):
            if policy == "root":
                message = "Vault gives the root policy to no role, and a rehearsal with it would show nothing"
                yield (*trail, "policies", index), message, "a policy of its own"


def _roles(document: _Document) -> list[Trail]:
    mounts = document.entries("auth")
    return [(*mount, "roles", role) for mount in mounts for role in document.get(*mount, "roles", default={}) or {}]


def _lives_of_tokens(document: _Document) -> Iterator[_Complaint]:
    for trail in _roles(document):
        ttl = document.get(*trail, "ttl", default=scenario.Role.model_fields["ttl"].default)
        longest = document.get(*trail, "max-ttl")
        if ttl and longest and scenario.seconds(ttl) > scenario.seconds(longest):
            message = f"Vault refuses a max-ttl that is less than the ttl, which is {ttl}"
            yield (*trail, "max-ttl"), message, f"{ttl} or more, or a smaller ttl"


def _logins(document: _Document) -> Iterator[_Complaint]:
    """Complain of apps that could not even try to log in."""
    mounts = document.get("auth")
    for app in document.entries("apps") if mounts is not None else ():
        name = document.get(*app, "mount")
        if document.left_out(*app, "mount"):
            if len(mounts) > 1:
                message = f"missing key `mount` in {_where(app)}: there are several"
                yield (*app, "mount"), message, _choices("", mounts)
                continue
            name = next(iter(mounts))
        elif name is None:
            continue
        if name in mounts:
            yield from _login(document, app, ("auth", name))
        else:
            yield (*app, "mount"), f"there is no auth mount {_shown(name)}", _choices(name, mounts)


def _login(document: _Document, app: Trail, mount: Trail) -> Iterator[_Complaint]:
    role, roles = document.get(*app, "role"), document.get(*mount, "roles")
    if role is not None and roles is not None and role not in roles:
        yield (*app, "role"), f"{_where(mount)} has no role {_shown(role)}", _choices(role, roles)
    here, there = document.get(*app, "cluster"), document.get(*mount, "cluster")
    known = document.get("clusters", default={}) or {}
    if here in known and there in known and here != there:
        message = f"no login can succeed: {_where(mount)} asks cluster {there}, which never issued a token of {here}"
        yield (*app, "cluster"), message, f"cluster: {there}, or a mount that asks {here}"


def _shared_accounts(document: _Document) -> Iterator[_Complaint]:
    first: dict[tuple[str, str], tuple[Trail, bool]] = {}
    for app in document.entries("apps"):
        cluster, account = document.get(*app, "cluster"), document.get(*app, "service-account")
        default = scenario.App.model_fields["may_review_tokens"].default
        may = document.get(*app, "may-review-tokens", default=default)
        if cluster is None or account is None or may is None:
            continue
        other, allowed = first.setdefault((cluster, account), (app, may))
        if may != allowed:
            key = "service-account" if document.left_out(*app, "may-review-tokens") else "may-review-tokens"
            word = "may" if allowed else "may not"
            message = f"{_where(other)} has the same service account in {cluster}, and {word} review tokens"
            yield (*app, key), message, "the same may-review-tokens for both, or two service accounts"


def _expectations(document: _Document) -> Iterator[_Complaint]:
    apps = document.get("apps")
    hops = [version for trail, version in _steps(document) if trail != ("vault", "source")]
    whole = len(hops) == 1 + len(document.get("vault", "via", default=()) or ()) and document.sound("vault", "via")
    for index in range(len(document.get("expect", default=()) or ())):
        app, at = document.get("expect", index, "app"), document.get("expect", index, "at")
        if app is not None and apps is not None and app not in apps:
            yield ("expect", index, "app"), f"there is no app {_shown(app)}", _choices(app, apps)
        if at is not None and whole and at not in hops:
            message = f"Vault {at} is not among the versions to which the upgrade goes"
            yield ("expect", index, "at"), message, _choices("", hops) + "; or leave it out"


_CHECKS: Final = (
    _names_of_clusters,
    _kubernetes_versions,
    _order_of_versions,
    _vault_releases,
    _unseal_keys,
    _vault_outside,
    _reviewers,
    _config_fields,
    _policies,
    _lives_of_tokens,
    _logins,
    _shared_accounts,
    _expectations,
)
