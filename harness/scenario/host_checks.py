"""What stands at kubernetes_host that only Pods know, and is another API server than that of the mount.

https://kubernetes.default.svc is the API server of whichever cluster Vault's own Pod is in.
"""

from __future__ import annotations

from collections.abc import Iterator

from harness.scenario import course_checks, endpoints
from harness.scenario.field_checks import Complaint
from harness.scenario.yaml_document import Document, Trail, shown


def complaints(document: Document) -> Iterator[Complaint]:
    """Yield what is wrong with such names in the configs of mounts, at the start and in the course."""
    mounts = document.get("auth", default={}) or {}
    places: list[tuple[Trail, str]] = [(mount, str(mount[-1])) for mount in document.entries("auth")]
    for index in range(len(document.get("course", default=()) or ())):
        write: Trail = ("course", index, "write")
        named = document.get(*write, "mount", default=next(iter(mounts)) if len(mounts) == 1 else None)
        if document.given(*write) and named in mounts:
            places.append((write, named))
    for place, mount in places:
        host: Trail = (*place, "config", "kubernetes_host")
        if document.given(*host) and endpoints.inside(document.get(*host)):
            yield from _another(document, host, document.get("auth", mount, "cluster"))


def _another(document: Document, host: Trail, cluster: str | None) -> Iterator[Complaint]:
    said, home = document.get(*host), document.get("vault", "cluster")
    if home is not None and cluster is not None and home != cluster:
        message = (
            f"{said} is the API server of {shown(home)} for a Vault whose Pod is there, and this mount's tokens are of "
            f"{shown(cluster)}: {shown(home)} would be asked to review them, and knows none"
        )
        yield host, message, f"cluster, for the address of the API server of {shown(cluster)}"
    elif course_checks.moves(document):
        message = f"{said} is another API server once Vault has moved, and which one it is is settled here at the write"
        yield host, message, "cluster; or no move"
