"""The parts of docs/ that the code says already, written out of it: `python -m tests.pages` brings them up to date.

A page has a part between two marks, which name what stands there; everything else on it is written by hand.
"""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
import typing
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import msgspec

from harness.analysis import explaining, foretold, matrix_results, verdict
from harness.record import events
from harness.record.event import Event
from harness.scenario import course, plan
from harness.scenario.schema import Scenario
from tests.bench import leases

DOCS: Final = Path(__file__).parent.parent / "docs"
_PART: Final = re.compile(r"(<!-- from the code: ([a-z ]+) -->\n).*?(<!-- end -->)", re.DOTALL)

_EVERYWHERE: Final = (msgspec.Struct, Event, course.Step)

Entry = tuple[str, str, str]
"""A field: its name, its type, and what it says."""


def brought_up_to_date(page: str) -> str:
    """Return the text of a *page* with every marked part as the code has it now."""
    return _PART.sub(lambda part: f"{part[1]}\n{PARTS[part[2]]().strip()}\n\n{part[3]}", page)


# --- structures -------------------------------------------------------------------------------------------------------


def entries(kind: type[msgspec.Struct]) -> list[Entry]:
    """Return the fields of a structure, each with the text below it, but for those that all events or steps have."""
    above = [entry for base in kind.__bases__ if base not in _EVERYWHERE for entry in entries(base)]
    if kind is msgspec.Struct:
        return []
    (made,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    assert isinstance(made, ast.ClassDef)
    body = [*made.body, ast.Pass()]
    hints, found = typing.get_type_hints(kind), list[Entry]()
    for line, below in pairwise(body):
        if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name):
            said = below.value if isinstance(below, ast.Expr) else None
            words = said.value if isinstance(said, ast.Constant) else ""
            name = line.target.id
            found.append((name, _type(hints[name], ast.unparse(line.annotation)), _words(str(words))))
    return [*above, *found]


def _type(hint: Any, written: str) -> str:
    """Return the type of a field: as it is *written*, or all values where those can be told."""
    if typing.get_origin(hint) is typing.Literal:
        return " or ".join(f'"{value}"' for value in typing.get_args(hint))
    return " ".join(written.split())


def parts_of(kind: type[Any], known: dict[type[Any], None] | None = None) -> list[type[msgspec.Struct]]:
    """Return every structure that is somewhere in *kind*, itself first."""
    found = known if known is not None else {}
    if kind in found:
        return []
    found[kind] = None
    for hint in typing.get_type_hints(kind).values():
        for part in _structures(hint):
            parts_of(part, found)
    return list(found)


def _structures(hint: Any) -> Iterator[type[msgspec.Struct]]:
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        yield hint
    for part in typing.get_args(hint):
        yield from _structures(part)


def _words(text: str) -> str:
    """Return the text over a structure or a field as a part of a line of Markdown."""
    words = re.sub(r"\*(\w+)\*", r"`\1`", " ".join(text.split()))
    return words.replace("<", "&lt;").replace("*", "\\*")


def _listed(kind: type[msgspec.Struct], title: str) -> str:
    """Return one structure: its name, what it is, and its fields."""
    over = _words(str(kind.__dict__.get("__doc__") or "").partition("\n\n")[0])
    fields = [f"- `{name}` ({hint}){': ' if said else ''}{said}" for name, hint, said in entries(kind)]
    return "\n".join([f"### {title}", "", *([over, ""] if over else []), *([*fields, ""] if fields else [])])


def _events() -> str:
    kinds: tuple[type[msgspec.Struct], ...] = typing.get_args(events.AnyEvent)
    return "\n".join(_listed(kind, str(kind.__struct_config__.tag)) for kind in kinds)


def _steps() -> str:
    kinds: tuple[type[msgspec.Struct], ...] = typing.get_args(course.AnyStep)
    return "\n".join(_listed(kind, str(kind.__struct_config__.tag)) for kind in kinds)


def _plan() -> str:
    steps: tuple[type[Any], ...] = typing.get_args(course.AnyStep)
    kinds = [kind for kind in parts_of(plan.Plan) if kind not in steps]
    return "\n".join(_listed(kind, kind.__name__) for kind in kinds)


def _judgement() -> str:
    recorded: tuple[type[Any], ...] = typing.get_args(events.AnyEvent)
    kinds = [kind for kind in parts_of(verdict.Judgement) if kind not in recorded]
    return "\n".join(_listed(kind, kind.__name__) for kind in kinds)


def _of(kind: type[msgspec.Struct]) -> Callable[[], str]:
    """Return what lists a structure and all its parts."""
    return lambda: "\n".join(_listed(part, part.__name__) for part in parts_of(kind))


def _matrix() -> str:
    return "\n".join(_listed(kind, kind.__name__) for kind in parts_of(matrix_results.MatrixResult))


# --- scenarios --------------------------------------------------------------------------------------------------------


def _keys(name: str) -> Callable[[], str]:
    """Return what writes the table of one part of a scenario; "" is the scenario itself."""

    def table() -> str:
        schema = Scenario.model_json_schema(by_alias=True)
        part = schema["$defs"][name] if name else schema
        required = part.get("required", [])
        rows = [
            f"| `{key}`{' (required)' if key in required else ''} | {_kind(one)} | {_told(one)} |"
            for key, one in part.get("properties", {}).items()
        ]
        return "\n".join(["| key | value | |", "| --- | --- | --- |", *rows])

    return table


def _told(one: Mapping[str, Any]) -> str:
    """Return what a key says, and its default where the words do not have it."""
    words, default = _words(str(one.get("description", ""))).replace("|", "\\|"), one.get("default")
    shown = {True: "true", False: "false"}.get(default, default) if isinstance(default, bool) else default
    if default in (None, [], {}) or "Left out" in words:
        return words
    return f"{words} Left out: {shown}."


def _kind(one: Mapping[str, Any]) -> str:
    """Return which values a key takes, in words."""
    if "anyOf" in one:
        one, *others = [choice for choice in one["anyOf"] if choice.get("type") != "null"]
        return ", or ".join(map(_kind, (one, *others)))
    if "$ref" in one:
        name = str(one["$ref"]).rpartition("/")[2]
        return {"Nothing": "`{}`"}.get(name, f"[{name}](#{name.lower()})")
    if "enum" in one:
        return ", ".join(f"`{value}`" for value in one["enum"])
    if "const" in one:
        return f"`{one['const']}`"
    if one.get("type") == "array":
        return f"list: {_kind(one['items'])}"
    if one.get("additionalProperties") is True:
        return "by name: what the words say"
    if "additionalProperties" in one:
        return f"by name: {_kind(one['additionalProperties'])}"
    if "minimum" in one:
        return f"{one['minimum']} to {one['maximum']}" if "maximum" in one else f"{one['minimum']} or more"
    if "pattern" in one:
        return "span of time: `90s`, `10m`, `1h`"
    return {"boolean": "`true`, `false`", "string": "text", "integer": "number"}[one["type"]]


PARTS: Final[Mapping[str, Callable[[], str]]] = {
    "events": _events,
    "steps": _steps,
    "plan": _plan,
    "judgement": _judgement,
    "matrix": _matrix,
    "prediction": _of(foretold.Prediction),
    "explanation": _of(explaining.Explanation),
    "leases by number": lambda: "\n".join([*leases.table(found := leases.read()), "", *leases.reached(found)]),
    "keys of a scenario": _keys(""),
    "keys of a cluster": _keys("Cluster"),
    "keys of vault": _keys("Vault"),
    "keys of a mount": _keys("Mount"),
    "keys of configured": _keys("Configured"),
    "keys of config": _keys("PluginConfig"),
    "keys of a role": _keys("Role"),
    "keys of an engine": _keys("Engine"),
    "keys of an engine's role": _keys("EngineRole"),
    "keys of a transit key": _keys("TransitKey"),
    "keys of an app": _keys("App"),
    "keys of a storm": _keys("Storm"),
    "keys of a step": _keys("CourseStep"),
    "keys of write": _keys("Write"),
    "keys of move": _keys("Move"),
    "keys of an account": _keys("Account"),
    "keys of delete secret": _keys("SecretOf"),
    "keys of seal vault": _keys("SealVault"),
    "keys of an audit device": _keys("AuditDevice"),
    "keys of an expectation": _keys("Expectation"),
    "keys of a matrix": _keys("Matrix"),
    "keys of exclude": _keys("Excluded"),
    "keys of include": _keys("Included"),
    "keys of expect": _keys("ExpectedOf"),
}


if __name__ == "__main__":
    for page in sorted(DOCS.rglob("*.md")):
        page.write_text(brought_up_to_date(page.read_text(encoding="utf-8")), encoding="utf-8")
