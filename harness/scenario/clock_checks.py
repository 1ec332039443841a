"""What a course does to the clocks of nodes that cannot be, or of which nobody foretells what comes of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from harness.scenario import topology
from harness.scenario.field_checks import Complaint
from harness.scenario.yaml_document import Document, Trail, choices

_VERB: Final = "clock"
_WITHOUT_TIME: Final = ("approle", "userpass")
"""The kinds of mounts whose logins show nothing that ends, which a clock that is ahead would take for ended."""


def complaints(document: Document) -> Iterator[Complaint]:
    """Walk the course: whose clocks there are, and who logs in with what."""
    nodes = document.get("vault", "nodes", default=1) or 1
    names = [f"{topology.MAIN}-{number}" for number in range(nodes)]
    for index in range(len(document.get("course", default=()) or ())):
        trail: Trail = ("course", index, _VERB)
        if not document.given(*trail):
            continue
        for name in document.get(*trail, default={}) or {}:
            if name not in names:
                yield (*trail, name), f"there is no node {name!r} of Vault {topology.MAIN}", choices(name, names)
        mounts = document.get("auth", default={}) or {}
        kinds = [document.get("auth", name, "type", default="kubernetes") for name in mounts]
        strange = next((kind for kind in kinds if kind not in (None, *_WITHOUT_TIME)), "")
        engines = document.get("secrets", default={}) or {}
        if strange:
            message = (
                f"what is shown at a mount of type {strange} ends by the clock, and that is not rehearsed with others"
            )
            yield trail, message, " or ".join(_WITHOUT_TIME)
        elif any(document.given("secrets", name, "type") for name in engines):
            message = "leases of secrets engines end by the clock as well, and that is not rehearsed with another one"
            yield trail, message, "leave the engine out, or the clock"
