"""A key that names another part of the scenario (`cluster`, `mount`): which part is meant, or what is wrong."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Any, Final

from harness.scenario.field_checks import Complaint
from harness.scenario.yaml_document import Document, Trail, choices, shown, where

_CALLED: Final = {"mount": "auth mount"}
"""What a named part is called in messages, where that is not the key's own word."""


def the_one(
    document: Document, trail: Trail, key: str, there: Mapping[str, Any] | None
) -> Generator[Complaint, None, str | None]:
    """Return which of those that are *there* is named by *key* below *trail*; left out, it is the only one there is.

    Yields what is wrong: it is left out although there are several, or nothing is called so. None is returned then,
    and where nothing can be said: the name or what is there is unsound itself.
    """
    if there is None:
        return None
    if not document.left_out(*trail, key):
        return (yield from known(document, (*trail, key), there, _CALLED.get(key, key)))
    if len(there) > 1:
        yield (*trail, key), f"missing key `{key}` in {where(trail)}: there are several", choices("", there)
        return None
    if not there:
        yield trail, f"there is no {_CALLED.get(key, key)}, and this is of one", f"{key}s in the document"
    return next(iter(there), None)


def known(
    document: Document, trail: Trail, there: Mapping[str, Any] | None, called: str
) -> Generator[Complaint, None, str | None]:
    """Return the name that stands at *trail*, if something is *called* so. Else that is yielded, and None returned."""
    name: str | None = document.get(*trail)
    if name is None or there is None:
        return None
    if name not in there:
        yield trail, f"there is no {called} {shown(name)}", choices(name, there)
        return None
    return name
