"""What a scenario says of Vault's audit devices that cannot be."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from harness.knowledge import versions
from harness.scenario.course_checks import upgrades
from harness.scenario.field_checks import Complaint
from harness.scenario.schema_audit import BLOCKS, OF_KIND
from harness.scenario.yaml_document import Document, Trail, choices

_DEVICES: Final[Trail] = ("vault", "audit")
_VERB: Final = "audit-device"


def complaints(document: Document) -> Iterator[Complaint]:
    """Yield what is wrong with `vault.audit` and the steps that concern a device."""
    devices = document.get(*_DEVICES, default={}) or {}
    for name in devices:
        yield from _options(document, (*_DEVICES, name))
    if devices:
        yield from _all(document, list(devices))
    yield from _course(document)


def _options(document: Document, trail: Trail) -> Iterator[Complaint]:
    kind = document.get(*trail, "type")
    for option, only in OF_KIND.items():
        if kind is not None and kind != only and document.given(*trail, option):
            yield (*trail, option), f"{option} is of a device of type {only}, and this is one of {kind}", "leave it out"


def _all(document: Document, names: list[str]) -> Iterator[Complaint]:
    """Yield what is wrong with all of them together."""
    if not any(document.get(*_DEVICES, name, "enabled", default=True) for name in names):
        message = "no audit device is there from the start, and the rehearsal reads who asked for what from one"
        yield _DEVICES, message, "one without enabled: false"
    if all(document.get(*_DEVICES, name, "format", default="json") == "jsonx" for name in names):
        yield _DEVICES, "no audit device writes JSON, in which the rehearsal reads them", "one without format: jsonx"
    taken = [(("vault", "source"), document.get("vault", "source")), *upgrades(document)]
    taken.append((("vault", "target"), document.get("vault", "target")))
    for where, version in taken:
        if version is not None and versions.product(version) != "vault":
            message = (
                f"audit devices of {versions.called(version)} are not rehearsed: it lets nobody make one by the API"
            )
            yield where, message, "a version of Vault, or leave out vault.audit"


def _course(document: Document) -> Iterator[Complaint]:
    """Walk the course: what each device is, and whether it is there."""
    devices = document.get(*_DEVICES, default={}) or {}
    there = {name: document.get(*_DEVICES, name, "enabled", default=True) for name in devices}
    blocked = dict.fromkeys(devices, "")
    for index in range(len(document.get("course", default=()) or ())):
        trail: Trail = ("course", index, _VERB)
        for name, to in (document.get(*trail, default={}) or {}).items():
            if name not in devices:
                remedy = choices(name, devices) if devices else "audit: in vault, with devices by name"
                yield (*trail, name), f"there is no audit device {name!r}", remedy
                continue
            kind = document.get(*_DEVICES, name, "type")
            if kind is not None and (wrong := _wrong(kind, to, is_there=there[name], blocked=blocked[name])):
                yield (*trail, name), f"an audit device of type {kind} {wrong[0]}", wrong[1]
            if to in ("enable", "disable"):
                there[name] = to == "enable"
            else:
                blocked[name] = "" if to == "well" else to


def _wrong(kind: str, to: str, *, is_there: bool, blocked: str) -> tuple[str, str] | None:
    """Return what cannot be done with a device, and what would be right."""
    if to in ("enable", "disable") and is_there is (to == "enable"):
        return f"that is {'' if is_there else 'not '}there cannot be {to}d", "leave it out"
    if to == "well" and not blocked:
        return "that is well cannot become so", "full, away or silent before it"
    ways = BLOCKS[kind]  # type: ignore[index]
    if to not in ("enable", "disable", "well", *ways):
        return f"cannot be {to}", " or ".join(ways)
    return None
