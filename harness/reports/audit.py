"""What is said of audit devices: in what their entries differ from those of the version before."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from harness.analysis.audit_devices import DeviceChange

_SHOWN: Final = 4


def told(changes: Sequence[DeviceChange], most: int = 100) -> list[tuple[str, str]]:
    """Return lines, each with the word that says what it is about: where something is otherwise than before."""
    lines = [("audit", _told(one)) for one in changes if one.more or one.gone or one.otherwise]
    more = len(lines) - most
    return [*lines[:most], ("audit", f"... and {more} more: -v")] if more > 0 else lines


def _told(one: DeviceChange) -> str:
    return f"{one.device}, {one.moment}: entries have {'; '.join(_parts(one))}"


def _parts(one: DeviceChange) -> Iterator[str]:
    for fields, word in ((one.more, "more"), (one.gone, "fewer")):
        if fields:
            rest = f" and {len(fields) - _SHOWN} others" if len(fields) > _SHOWN else ""
            yield f"{len(fields)} field{'s' if len(fields) > 1 else ''} {word}: {', '.join(fields[:_SHOWN])}{rest}"
    if one.otherwise:
        yield f"something otherwise: {', '.join(one.otherwise[:_SHOWN])}"
