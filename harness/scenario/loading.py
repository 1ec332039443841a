"""A file becomes a Scenario, or a list of problems with line numbers.

Three readings add to one list: the text as plain data (`yaml_document`); the data as a Scenario, where pydantic's
complaints are put into our words; and the Scenario as something that can exist (`checks`). Where one part is wrong, the
others are still read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any, Final, Literal, get_args, get_origin

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from harness.scenario import checks, matrix, values, vault_words
from harness.scenario.fields import WORDS, fields, is_model, shape_at
from harness.scenario.schema import SCHEMA, Scenario
from harness.scenario.yaml_document import Document, Trail, choices, read, shown, text_in, text_of, where

_ANY_WORD: Final = (values.Name, values.RoleName, values.PolicyName, values.Binding, values.Text, values.TextOrNone)

_KINDS: Final[Mapping[type, str]] = {
    type(None): "empty",
    bool: "a truth value",
    int: "a number",
    float: "a number",
    str: "text",
    tuple: "a list",
    dict: "a mapping",
}


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

    def __reduce__(self) -> tuple[Callable[..., Loaded], tuple[object, ...]]:
        return _arrived, (self.scenario, self.name, self.text, self.file, dict(self.lines))


def _arrived(scenario: Scenario, name: str, text: str, file: str, lines: dict[Trail, tuple[int, int]]) -> Loaded:
    return Loaded(scenario, name, text, file, MappingProxyType(lines))


def load(path: Path) -> Loaded:
    """Return the scenario in the file at *path*.

    Raises ScenarioError with every problem found; that there is no such file, or no text in it, is one.
    """
    return loads(text_of(path), str(path))


def load_from(stream: IO[bytes], file: str) -> Loaded:
    """Return the scenario that *stream* holds, as `load` does; *file* is what problems call it."""
    return loads(text_in(stream, file), file)


def loads(text: str, file: str = "<text>") -> Loaded:
    """Return the scenario that *text* holds; *file* is what problems call it.

    Raises ScenarioError with every problem found, in the order of the text, a wrong schema number first.
    """
    document = read(text, file)
    found = _understood(document)
    checks.check(document)
    error = document.error()
    if error.problems or found is None:
        raise error
    return Loaded(found, Path(file).stem, document.text, file, MappingProxyType(document.lines()))


def of_cell(base: Loaded, cell: matrix.Cell) -> Loaded:
    """Return one variant of *base*; the lines are those of the file that both come from.

    Raises ScenarioError with every problem of the variant, at the lines that it has by itself (`text`).
    """
    name = f"{base.name}[{cell.id}]".replace("/", "_") if cell.id else base.name
    text = json.dumps(cell.document(), indent=1, ensure_ascii=False)
    found = loads(text, f"{base.file}[{cell.id}]" if cell.id else base.file)
    return Loaded(found.scenario, name, found.text, base.file, base.lines)


# --- plain data becomes a Scenario ---


def _understood(document: Document) -> Scenario | None:
    """Return the data as a Scenario, or None after a complaint about each part that is none."""
    _check_schema(document)
    try:
        return Scenario.model_validate(document.data, by_alias=True, by_name=False)
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)
    for detail in details:
        if detail["type"] == "extra_forbidden":
            _spoil_what_it_stands_for(document, detail["loc"])
    # What was refused as text has its problem already; that it is missing as data is no second one.
    details = [detail for detail in details if document.sound(*detail["loc"]) and not _said_already(document, detail)]
    for detail in details:
        if detail["loc"] != ("schema",):
            _explain(document, detail)
    document.spoiled.update(detail["loc"] for detail in details)
    return None


def _spoil_what_it_stands_for(document: Document, trail: Trail) -> None:
    """Have nothing be concluded from it that a key is not there which somebody has typed under another name."""
    part = shape_at(trail[:-1])
    key = vault_words.stands_for(str(trail[-1]), part, _keys(part))
    if key and not document.given(*trail[:-1], key):
        document.spoiled.add((*trail[:-1], key))


def _said_already(document: Document, detail: ErrorDetails) -> bool:
    """Is this only what another problem comes to: a list whose items are wrong?"""
    return detail["type"] == "too_short" and bool(document.get(*detail["loc"]))


def _check_schema(document: Document) -> None:
    if not isinstance(document.data, dict) or not document.sound("schema"):
        return
    number = document.data.get("schema")
    if "schema" not in document.data:
        document.complain_of_schema(f"missing key `schema`: this release reads schema {SCHEMA}")
    elif type(number) is not int or number != SCHEMA:
        document.complain_of_schema(f"another schema: this release reads schema {SCHEMA}, and no other")


def _explain(document: Document, detail: ErrorDetails) -> None:
    """Say in our words what pydantic found."""
    trail, kind = detail["loc"], detail["type"]
    reason = str(detail.get("ctx", {}).get("error", ""))
    if kind == "extra_forbidden":
        part, name = shape_at(trail[:-1]), str(trail[-1])
        message = f"unknown key `{shown(name)}` in {where(trail[:-1])}"
        document.complain_of_key(trail, message, vault_words.pointer(name, part, _keys(part)))
    elif kind == "missing":
        key = str(trail[-1])
        message = f"missing key `{key}` in {where(trail[:-1])}"
        document.complain(trail, message, f"{key}: {_keys(shape_at(trail[:-1]))[key]}")
    elif trail[-1:] == ("[key]",):
        noun, example = WORDS[get_args(shape_at(trail[:-2]))[0]]
        message = f"the key `{shown(str(trail[-2]))}` in {where(trail[:-2])} is not {noun}"
        document.complain_of_key(trail[:-1], message, reason or example)
    else:
        _explain_value(document, detail, reason)


def _explain_value(document: Document, detail: ErrorDetails, reason: str) -> None:
    trail, kind, limits = detail["loc"], detail["type"], detail.get("ctx", {})
    shape, value, place = shape_at(trail), document.get(*trail), where(trail)
    noun, example = _wanted(shape)
    if kind in ("greater_than_equal", "less_than_equal"):
        remedy = f"at least {limits['ge']}" if "ge" in limits else f"at most {limits['le']}"
        document.complain(trail, f"{place} is out of range", remedy)
    elif kind in ("too_short", "string_too_short"):
        document.complain(trail, f"{place} is empty", f"at least one: {example}" if kind == "too_short" else example)
    elif kind == "literal_error" and isinstance(value, str):
        right = vault_words.of_value(trail, value, get_args(shape))
        document.complain(trail, f"{place} is not one of the choices", right)
    elif kind.endswith("_type") or kind == "literal_error":
        message = f"{place} is {_KINDS.get(type(value), 'something else')}, and must be {noun}"
        document.complain(trail, message, _remedy_for_type(document, trail, shape, example))
    else:
        message = f"{place} is not {noun}" if shape in WORDS else f"{place} cannot be so"
        document.complain(trail, message, _version_of(shape, str(value)) or reason or example)


def _remedy_for_type(document: Document, trail: Trail, shape: Any, example: str) -> str:
    """Return what would be right; for a text that YAML took for a number, that is mostly the same in quotes."""
    if not isinstance(document.get(*trail), (bool, int, float)):
        return example
    written = document.written(trail)
    quoted = f'{example}; if it is meant so, in quotes: "{written}"'
    return _version_of(shape, written) or (quoted if shape in _ANY_WORD else example)


def _version_of(shape: Any, written: str) -> str:
    """Return the version that the author of *written* may have meant, with three numbers, as a sentence."""
    match = re.fullmatch(r"v?([0-9]{1,4})\.([0-9]{1,4})(\.[0-9]{1,4})?", written)
    if shape is not values.VersionText or match is None:
        return ""
    return f"{match[1]}.{match[2]}{match[3] or '.0'}: a version has three numbers, and no v before them"


def _keys(shape: Any) -> dict[str, str]:
    return {key: described for key, (_, described) in fields(shape).items()}


def _wanted(shape: Any) -> tuple[str, str]:
    """Return what a value of this type is called, and an example of it or the way to one."""
    if shape in WORDS:
        return WORDS[shape]
    if get_origin(shape) is Literal:
        return "one of the choices", choices("", [str(value) for value in get_args(shape)])
    if get_origin(shape) is dict:
        return "a mapping", "a name, a colon, and below it, indented, what it names"
    if is_model(shape):
        names = ", ".join(fields(shape))
        return "a mapping", f"the keys {names}" if names else "{}"
    _, example = _wanted(get_args(shape)[0])
    return "a list", f"a line for each, with a dash before it ({example})"
