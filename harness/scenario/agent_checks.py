"""What a course does to the Vault Agents of apps that cannot be."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from harness.scenario.field_checks import Complaint
from harness.scenario.yaml_document import Document, Trail, choices

_VERB: Final = "agent-sink"


def complaints(document: Document) -> Iterator[Complaint]:
    """Walk the course: whose agents there are, and whether the folder of their sink is there."""
    apps = document.get("apps", default={}) or {}
    missing = set[str]()
    for index in range(len(document.get("course", default=()) or ())):
        trail: Trail = ("course", index, _VERB)
        for name, to in (document.get(*trail, default={}) or {}).items():
            if name not in apps:
                yield (*trail, name), f"there is no app {name!r}", choices(name, apps)
            elif not document.given("apps", name, "agent"):
                yield (*trail, name), f"{name} has no Vault Agent", f"agent: 1.16.3 in apps.{name}, or another app"
            elif (to == "missing") is (name in missing):
                said = "missing" if to == "missing" else "there"
                yield (*trail, name), f"the folder of its sink is {said} already", "leave it out"
            missing = missing | {name} if to == "missing" else missing - {name}
