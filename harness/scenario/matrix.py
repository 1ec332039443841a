"""A scenario and its axes become cells: variants, each a whole scenario by itself, with a name and a driver.

    axes:
      vault.target: 1.8..1.13                            a field by its path; `knowledge/releases` says what a range is
      auth.kubernetes.reviewer: [local, client-jwt]      a list of values; an empty value leaves the field out
      driver: [local, kind]
      topology:                                          a name of your own: each value changes any number of fields
        one-cluster: {auth.kubernetes.cluster: platform, apps.web.cluster: platform}
        two-clusters: {}

Nothing here touches the world. The order and the names of cells depend on the scenario and its axes alone.
"""

from __future__ import annotations

import copy
import itertools
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, get_args, get_origin

from pydantic import TypeAdapter, ValidationError

from harness.errors import HarnessError
from harness.knowledge import releases
from harness.knowledge.releases import Table
from harness.scenario import driver_traits, fields, schema
from harness.scenario.values import VersionText
from harness.scenario.yaml_document import Trail, choices, shown

DRIVER: Final = "driver"
DRIVERS: Final = driver_traits.NAMES
MOST_CELLS: Final = 20_000

_NOT_VARIED: Final = ("schema", "matrix")
_ODD: Final = re.compile(r"[^A-Za-z0-9_.:/*+-]+")
_HERE: Final = "matrix"


class MatrixError(HarnessError):
    """Axes that make no matrix. *trail* is the place in the scenario, empty where the command line said it."""

    def __init__(self, message: str, remedy: str, trail: Trail = ()) -> None:
        self.message, self.remedy, self.trail = message, remedy, trail
        super().__init__(f"{message}; right would be: {remedy}" if remedy else message)


@dataclass(frozen=True, slots=True)
class Value:
    """One value of an axis: how it is called, and what it makes of a scenario."""

    text: str
    changes: tuple[tuple[Trail, Any], ...] = ()
    """None leaves a field out"""
    driver: str = ""


@dataclass(frozen=True, slots=True)
class Axis:
    """What is varied, and its values."""

    path: str
    """of a field, `driver`, or a name of the author's"""
    values: tuple[Value, ...]
    ordered: bool = False
    """are its values versions?"""


@dataclass(frozen=True, slots=True)
class Cell:
    """One variant: *values* by the label of its axis, and the driver on which it is rehearsed."""

    id: str
    """such as target=1.11.0,reviewer=client-jwt; empty where nothing is varied"""
    values: Mapping[str, str]
    driver: str
    scenario: Mapping[str, Any]
    """the plain data of the scenario that it is a variant of"""
    changes: tuple[tuple[Trail, Any], ...]
    because: str = ""
    """why an included cell is there"""

    def document(self) -> dict[str, Any]:
        """Return this variant as the plain data of a scenario: all its own, with nothing shared."""
        made = copy.deepcopy({key: value for key, value in self.scenario.items() if key != _HERE})
        for trail, value in self.changes:
            _put(made, trail, copy.deepcopy(value))
        return made


@dataclass(frozen=True, slots=True)
class Matrix:
    """Axes, and which of their combinations there are besides and are not."""

    axes: tuple[Axis, ...]
    labels: Mapping[str, str]
    """by the path of an axis: how it is called in the names of cells, as short as it can be"""
    exclude: tuple[Mapping[str, Any], ...] = ()
    include: tuple[Mapping[str, Any], ...] = ()
    expect: tuple[Mapping[str, Any], ...] = ()


def plain(scenario: schema.Scenario) -> dict[str, Any]:
    """Return what a scenario says, and no more, as plain data."""
    return scenario.model_dump(mode="json", by_alias=True, exclude_unset=True)


def read(
    document: Mapping[str, Any],
    given: Mapping[str, Sequence[str]] | None = None,
    tables: Callable[[str], Table] = releases.shipped,
    here: Callable[[str, str], bool] | None = None,
) -> Matrix:
    """Return the matrix that *document*, the plain data of a scenario, has with the axes *given* beside or instead.

    *given* is what a command line says: words by the path of a field. *tables* has the releases of a product, and
    *here* says whether a version of a product can be had on this machine. Raises MatrixError.
    """
    made = _Reader(document, tables, here)
    written = document.get(_HERE) or {}
    axes = {path: made.axis(path, value, (_HERE, "axes", path)) for path, value in (written.get("axes") or {}).items()}
    for path, words in (given or {}).items():
        axes[path] = made.axis_of_words(path, words)
    found = Matrix(tuple(axes.values()), _labels(tuple(axes)))
    for key in ("exclude", "include", "expect"):
        for index, entry in enumerate(written.get(key) or ()):
            made.check_entry(found, key, index, entry)
    parts = {key: tuple(written.get(key) or ()) for key in ("exclude", "include", "expect")}
    return Matrix(found.axes, found.labels, parts["exclude"], parts["include"], parts["expect"])


def cells(document: Mapping[str, Any], wanted: Matrix, driver: str = "local") -> tuple[Cell, ...]:
    """Return every cell of the matrix *wanted* over *document*, in the order of its axes; then those included.

    *driver* is that of cells for which no axis names one. Raises MatrixError where nothing is left, or
    too much is there.
    """
    number = math.prod(len(axis.values) for axis in wanted.axes)
    if number > MOST_CELLS:
        sizes = " x ".join(str(len(axis.values)) for axis in wanted.axes)
        raise MatrixError(f"{sizes} are {number} cells", f"at most {MOST_CELLS}", (_HERE, "axes"))
    for axis in wanted.axes:
        if axis.path == DRIVER and len(axis.values) == 1:
            driver = axis.values[0].driver
    made = _Maker(document, wanted, driver)
    found: dict[str, Cell] = {}
    for picks in itertools.product(*(axis.values for axis in wanted.axes)):
        cell = made.cell(list(zip(wanted.axes, picks, strict=True)))
        if not any(made.fits(cell, entry["where"]) for entry in wanted.exclude):
            found[cell.id] = cell
    for index, entry in enumerate(wanted.include):
        trail = (_HERE, "include", index)
        cell = made.included(entry, trail)
        if cell.id in found:
            raise MatrixError(f"include adds the cell {cell.id}, which is there already", "leave it out", trail)
        if any(made.fits(cell, one["where"]) for one in wanted.exclude):
            message = f"include adds the cell {cell.id}, which exclude leaves out"
            raise MatrixError(message, "one of the two", trail)
        found[cell.id] = cell
    if not found:
        raise MatrixError(
            "exclude leaves no cell of this matrix", "axes with more values, or less in exclude", (_HERE,)
        )
    return tuple(found.values())


# --- axes -------------------------------------------------------------------------------------------------------------


class _Reader:
    """Reads axes: what is written becomes values of the field that it is about."""

    def __init__(
        self,
        document: Mapping[str, Any],
        tables: Callable[[str], Table],
        here: Callable[[str, str], bool] | None,
    ) -> None:
        self._document, self._tables, self._here = document, tables, here

    def axis(self, path: str, written: Any, trail: Trail) -> Axis:
        """Return one axis of a scenario's own."""
        if isinstance(written, Mapping):
            return self._named(path, written, trail)
        listed = list(written) if isinstance(written, list | tuple) else [written]
        if path == DRIVER:
            return self._drivers(listed, trail)
        place, shape = self._field(path, trail)
        values = [value for one in listed for value in self._values(place, shape, one, trail)]
        return _distinct(Axis(path, tuple(values), ordered=shape is VersionText), trail)

    def axis_of_words(self, path: str, words: Sequence[str]) -> Axis:
        """Return an axis of a command line's: every value is a word."""
        if path == DRIVER:
            return self._drivers(list(words), ())
        _, shape = self._field(path, ())
        return self.axis(path, [_meant(shape, word) for word in words], ())

    def check_entry(self, matrix: Matrix, key: str, index: int, entry: Mapping[str, Any]) -> None:
        """Raise MatrixError where an entry of exclude, include or expect speaks of what is no axis."""
        part = "with" if key == "include" else "where"
        names = _paths(matrix)
        for name in entry[part]:
            trail = (_HERE, key, index, part, name)
            if name in names:
                continue
            if part == "where":
                raise MatrixError(f"{shown(name)} is no axis of this matrix", choices(name, names), trail)
            self._field(name, trail)

    def values_of(self, path: str, written: Any, trail: Trail) -> tuple[Value, ...]:
        """Return what is *written* for the field at *path* as values."""
        place, shape = self._field(path, trail)
        return tuple(self._values(place, shape, written, trail))

    def _named(self, path: str, written: Mapping[str, Any], trail: Trail) -> Axis:
        if "." in path or path == DRIVER:
            raise MatrixError(f"the values of {shown(path)} are a mapping", "a list of values", trail)
        values = []
        for name, changes in written.items():
            below = (*trail, name)
            if not isinstance(changes, Mapping):
                raise MatrixError(f"{shown(path)}.{shown(str(name))} changes nothing", "fields by their path", below)
            found = [self._field(field, (*below, field)) for field in changes]
            for (place, shape), value in zip(found, changes.values(), strict=True):
                _insist(place, shape, value, below)
            pairs = zip((place for place, _ in found), changes.values(), strict=True)
            values.append(Value(_ODD.sub("_", str(name)), tuple(pairs)))
        if not values:
            raise MatrixError(f"{shown(path)} has no values", "at least one", trail)
        return _distinct(Axis(path, tuple(values)), trail)

    def _drivers(self, written: Sequence[Any], trail: Trail) -> Axis:
        for one in written:
            if one not in DRIVERS:
                raise MatrixError(f"there is no driver {shown(str(one))}", choices(str(one), DRIVERS), trail)
        return _distinct(Axis(DRIVER, tuple(Value(one, (), one) for one in written)), trail)

    def _values(self, place: Trail, shape: Any, written: Any, trail: Trail) -> Iterator[Value]:
        if shape is not VersionText or not isinstance(written, str):
            _insist(place, shape, written, trail)
            yield Value(_text(written), ((place, written),))
            return
        product = "kubernetes" if place[-1] == "kubernetes" else "vault"
        here = self._here
        try:
            found = releases.resolve(
                written, self._tables(product), None if here is None else lambda version: here(product, version)
            )
        except releases.UnknownVersion as error:
            raise MatrixError(str(error), "", trail) from error
        yield from (Value(version, ((place, version),)) for version in found)

    def _field(self, path: str, trail: Trail) -> tuple[Trail, Any]:
        """Return the trail of the field that *path* names, and its declared type."""
        shape: Any = schema.Scenario
        node: Any = self._document
        place: list[str | int] = []
        rest = path.split(".")
        while rest:
            step, rest = self._step(path, shape, node, rest, trail)
            place.append(step)
            shape = fields.below(shape, step)
            node = node[step] if isinstance(node, Mapping) and step in node else _item(node, step)
        if place[0] in _NOT_VARIED:
            raise MatrixError(f"{shown(path)} is not varied", "another field", trail)
        return tuple(place), shape

    def _step(self, path: str, shape: Any, node: Any, rest: list[str], trail: Trail) -> tuple[str | int, list[str]]:
        """Return the next step along *path*, and what is left of it then."""
        if fields.is_model(shape):
            names: Sequence[str] = list(fields.fields(shape))
            widths = [1]
        elif get_origin(shape) is dict:
            # the name of a mount may have dots in it
            names, widths = list(node or ()), list(range(len(rest), 0, -1))
        elif get_origin(shape) is tuple:
            names, widths = [str(index) for index in range(len(node or ()))], [1]
        else:
            raise MatrixError(f"{shown(path)} is no field: there is nothing below {rest[0]!r}", "its path", trail)
        for width in widths:
            if (name := ".".join(rest[:width])) in names:
                return (int(name) if get_origin(shape) is tuple else name), rest[width:]
        below = path[: len(path) - len(".".join(rest))].rstrip(".") or "a scenario"
        raise MatrixError(
            f"{shown(path)} is no field of this scenario: {below} has no {shown(rest[0])}",
            choices(rest[0], names),
            trail,
        )


def _item(node: Any, step: str | int) -> Any:
    return node[step] if isinstance(node, list | tuple) and isinstance(step, int) else None


def _insist(place: Trail, shape: Any, value: Any, trail: Trail) -> None:
    """Raise MatrixError where *value* is of no use for a field of this type."""
    if value is None:
        return
    name = ".".join(map(str, place))
    if shape is VersionText and isinstance(value, int | float):
        message = f"{value} is a number, and {name} is a version"
        raise MatrixError(message, 'in quotes, such as "1.10", or with three numbers', trail)
    import json

    try:
        TypeAdapter(shape).validate_json(json.dumps(value), strict=True)
    except ValidationError as error:
        allowed = (
            [str(one) for one in get_args(shape)] if not fields.is_model(shape) and shape not in fields.WORDS else []
        )
        remedy = choices(str(value), allowed) if allowed and isinstance(value, str) else ""
        remedy = remedy or fields.WORDS.get(shape, ("", str(error.errors()[0]["msg"])))[1]
        raise MatrixError(f"{shown(_text(value))} cannot be {name}", remedy, trail) from error


def _meant(shape: Any, word: str) -> Any:
    """Return what a word of a command line means for a field of this type; none at all leaves the field out."""
    if word in ("", "unset"):
        return None
    if shape is bool and word in ("true", "false"):
        return word == "true"
    if shape is int and re.fullmatch(r"-?[0-9]{1,9}", word):
        return int(word)
    if get_origin(shape) is tuple:
        return word.split("+")
    return word


def _text(value: Any) -> str:
    """Return how a value is called in the name of a cell."""
    if value is None:
        return "unset"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return "+".join(map(_text, value)) or "none"
    if isinstance(value, Mapping):
        return "+".join(f"{key}:{_text(one)}" for key, one in value.items()) or "none"
    return _ODD.sub("_", str(value))


def _distinct(axis: Axis, trail: Trail) -> Axis:
    """Return *axis* without repeats. Raises MatrixError for none, and for two values with one name."""
    values = list(dict.fromkeys((value.text, repr(value.changes)) for value in axis.values))
    named = {value.text: value for value in axis.values}
    if not values:
        raise MatrixError(f"{shown(axis.path)} has no values", "at least one", trail)
    if len(named) < len(values):
        raise MatrixError(f"two values of {shown(axis.path)} read alike", "values that differ in letters", trail)
    return replace(axis, values=tuple(named.values()))


def _labels(paths: Sequence[str]) -> dict[str, str]:
    """Return by its path the shortest end of every path that no other one has."""
    split = {path: path.split(".") for path in paths}
    labels = {}
    for path, parts in split.items():
        ends = (parts[-length:] for length in range(1, len(parts) + 1))
        others = [other for name, other in split.items() if name != path]
        labels[path] = ".".join(next((end for end in ends if not any(o[-len(end) :] == end for o in others)), parts))
    return labels


def _paths(matrix: Matrix) -> dict[str, str]:
    """Return the path of an axis by every name that an entry may call it."""
    return {name: path for path, label in matrix.labels.items() for name in (label, path)}


# --- cells ------------------------------------------------------------------------------------------------------------


class _Maker:
    """Makes cells out of picked values."""

    def __init__(self, document: Mapping[str, Any], matrix: Matrix, driver: str) -> None:
        self._document, self._matrix, self._driver = document, matrix, driver
        self._axes = {axis.path: axis for axis in matrix.axes}
        self._names = _paths(matrix)
        self._reader = _Reader(document, releases.shipped, None)
        self._own = {trail: _at(document, trail) for axis in matrix.axes for v in axis.values for trail, _ in v.changes}

    def cell(self, picks: Sequence[tuple[Axis, Value]], because: str = "") -> Cell:
        """Return the cell with these values, and what is expected of it."""
        labels = self._matrix.labels
        # an axis of one driver names no variant
        shown_in_id = [(a, v) for a, v in picks if a.path != DRIVER or len(a.values) > 1]
        values = {labels.get(axis.path, axis.path): value.text for axis, value in picks}
        cell = Cell(
            id=",".join(f"{labels.get(axis.path, axis.path)}={value.text}" for axis, value in shown_in_id),
            values=values,
            driver=next((value.driver for _, value in picks if value.driver), self._driver),
            scenario=self._document,
            changes=tuple(change for _, value in picks for change in value.changes),
            because=because,
        )
        return replace(cell, changes=(*self._expected(cell), *cell.changes))

    def included(self, entry: Mapping[str, Any], trail: Trail) -> Cell:
        """Return the cell of one entry of include."""
        picks: list[tuple[Axis, Value]] = []
        for name, written in entry["with"].items():
            path, below = self._names.get(name, name), (*trail, "with", name)
            axis = self._axes.get(path) or Axis(path, ())
            picked = next((value for value in axis.values if value.text == _text(written)), None)
            if picked is None:
                if path == DRIVER or (axis.values and "." not in path):
                    known = [value.text for value in axis.values] if path != DRIVER else list(DRIVERS)
                    if path != DRIVER or written not in DRIVERS:
                        message = f"{shown(path)} has no value {shown(str(written))}"
                        raise MatrixError(message, choices(str(written), known), below)
                    picked = Value(str(written), (), str(written))
                else:
                    found = self._reader.values_of(path, written, below)
                    if len(found) > 1:
                        raise MatrixError(f"{shown(str(written))} is more than one value", "one value", below)
                    picked = found[0]
            picks.append((axis, picked))
        order = list(self._axes)
        picks.sort(key=lambda pick: order.index(pick[0].path) if pick[0].path in self._axes else len(order))
        return self.cell(picks, str(entry.get("because") or ""))

    def fits(self, cell: Cell, where: Mapping[str, Any]) -> bool:
        """Has *cell* all that *where* says of its axes?"""
        return all(self._has(cell, self._names[name], written) for name, written in where.items())

    def _has(self, cell: Cell, path: str, written: Any) -> bool:
        value = cell.values.get(self._matrix.labels[path])
        listed = written if isinstance(written, list | tuple) else [written]
        ordered = self._axes[path].ordered
        return value is not None and any(
            releases.within(one, value) if ordered and isinstance(one, str) else _text(one) == value for one in listed
        )

    def _expected(self, cell: Cell) -> list[tuple[Trail, Any]]:
        """Return what changes the scenario's `expect` into that of *cell*."""
        fitting = [entry["expect"] for entry in self._matrix.expect if self.fits(cell, entry["where"])]
        if fitting:
            return [(("expect",), list(fitting[-1]))]
        itself = all(self._own.get(trail, _at(self._document, trail)) == value for trail, value in cell.changes)
        return [] if itself or "expect" not in self._document else [(("expect",), None)]


def _at(document: Any, trail: Trail) -> Any:
    for step in trail:
        inside = step in document if isinstance(document, Mapping) else isinstance(step, int) and document is not None
        document = document[step] if inside else None
    return document


def _put(document: Any, trail: Trail, value: Any) -> None:
    """Put *value* where *trail* leads, and whatever it lacks on the way there; None takes away what is there."""
    *above, last = trail
    for step in above:
        if isinstance(document, dict):
            if document.get(step) is None:
                document[step] = {}
            document = document[step]
        else:
            document = document[int(step)]
    if value is None and isinstance(document, dict):
        document.pop(last, None)
    else:
        document[last if isinstance(document, dict) else int(last)] = value
