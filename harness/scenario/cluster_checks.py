"""What a scenario says of the life of its clusters that cannot be: versions, issuers, and steps that change them.

The course is walked in order, with what each cluster has at each step.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from harness.knowledge import versions
from harness.scenario import topology
from harness.scenario.field_checks import Complaint
from harness.scenario.yaml_document import Document, Trail, choices, shown

_OF_CLUSTERS: Final = ("upgrade-kubernetes", "set-issuers")


def complaints(document: Document) -> Iterator[Complaint]:
    """Yield what is wrong with the clusters, and with the steps of the course that change them."""
    runs: dict[str, str] = {}
    issuers: dict[str, tuple[str, ...]] = {}
    for part in document.entries("clusters"):
        version, name = document.get(*part, "kubernetes"), str(part[-1])
        yield from _too_old((*part, "kubernetes"), version)
        if version is not None:
            runs[name] = version
        if document.sound(*part, "issuers"):
            issuers[name] = tuple(document.get(*part, "issuers", default=None) or (topology.ISSUER,))
    for index in range(len(document.get("course", default=()) or ())):
        for verb in _OF_CLUSTERS:
            yield from _step(document, ("course", index, verb), verb, runs, issuers)


def _step(
    document: Document, trail: Trail, verb: str, runs: dict[str, str], issuers: dict[str, tuple[str, ...]]
) -> Iterator[Complaint]:
    clusters = document.get("clusters", default={})
    for name in document.get(*trail) or ():
        if clusters is not None and name not in clusters:
            yield (*trail, name), f"there is no cluster {shown(name)}", choices(name, clusters)
            continue
        to = document.get(*trail, name)
        if verb == "upgrade-kubernetes":
            yield from _upgrade((*trail, name), name, runs.get(name), to)
            runs[name] = to or ""
        elif to is not None:
            yield from _set((*trail, name), name, issuers.get(name), tuple(to))
            issuers[name] = tuple(to)


def _too_old(trail: Trail, version: str | None) -> Iterator[Complaint]:
    if version is not None and not versions.at_least(version, versions.OLDEST_KUBERNETES):
        message = f"Kubernetes {version} has no bound service account tokens as they are now"
        yield trail, message, f"{versions.OLDEST_KUBERNETES} or newer"


def _upgrade(trail: Trail, name: str, serving: str | None, to: str | None) -> Iterator[Complaint]:
    yield from _too_old(trail, to)
    if to is None or not serving:
        return
    if versions.parse(to) < versions.parse(serving):
        message = f"Kubernetes {to} is older than {serving}, which {name} has then: no API server goes back"
        yield trail, message, f"{serving} or newer"
        return
    old, new = versions.release(serving), versions.release(to)
    if new[0] != old[0] or new[1] > old[1] + 1:
        message = f"Kubernetes goes from {serving} to {to} by one minor release at a time"
        yield trail, message, f"{old[0]}.{old[1] + 1} in a step before it, and so on"


def _set(trail: Trail, name: str, now: tuple[str, ...] | None, to: tuple[str, ...]) -> Iterator[Complaint]:
    if now == to:
        yield trail, f"{name} has these issuers already, in this order", "other ones, or leave the step out"
