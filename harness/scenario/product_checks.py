"""What a scenario says of OpenBao, which goes on from Vault under another name, that cannot be."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from harness.knowledge import versions
from harness.scenario import course_checks
from harness.scenario.field_checks import Complaint
from harness.scenario.yaml_document import Document, Trail

_STORAGES: Final = ("raft", "file", "postgresql")


def complaints(document: Document) -> Iterator[Complaint]:
    """Yield what is wrong with the versions of OpenBao on the path, and with what they would have to open."""
    yield from _of_clusters(document)
    before, storage = "", document.get("vault", "storage", default="raft")
    for trail, version in _path(document):
        named = versions.called(version)
        if versions.product(version) != versions.OPENBAO:
            if versions.product(before) == versions.OPENBAO:
                message = (
                    f"{named} comes after {versions.called(before)}: no Vault opens what OpenBao has written since"
                )
                yield trail, message, "a newer OpenBao, or roll-back: snapshot"
        elif storage is not None and storage not in _STORAGES:
            message = f"{named} has no storage {storage}: it would not start"
            yield trail, message, "storage: raft, to which Vault migrates beforehand (vault operator migrate)"
        elif storage == "file" and versions.at_least(version, f"openbao-{versions.OPENBAO_WITHOUT_FILE}"):
            message = (
                f"{named} has no storage file, which {versions.OPENBAO_WITHOUT_FILE} took away: it would not start"
            )
            yield trail, message, "openbao-2.6.2 or older, or storage: raft"
        elif storage == "postgresql" and not versions.at_least(version, f"openbao-{versions.OPENBAO_WITH_POSTGRESQL}"):
            message = f"{named} has no storage postgresql, which came with {versions.OPENBAO_WITH_POSTGRESQL}"
            yield trail, message, f"openbao-{versions.OPENBAO_WITH_POSTGRESQL} or newer, or storage: raft"
        before = version


def _path(document: Document) -> Iterator[tuple[Trail, str]]:
    """Yield every version that is to serve, in order, as far as they are sound."""
    trails: list[Trail] = [("vault", "source")]
    trails += [("vault", "via", index) for index in range(len(document.get("vault", "via", default=()) or ()))]
    trails.append(("vault", "target"))
    yield from ((trail, version) for trail in trails if (version := document.get(*trail)) is not None)
    yield from course_checks.upgrades(document)


def _of_clusters(document: Document) -> Iterator[Complaint]:
    trails: list[Trail] = [(*part, "kubernetes") for part in document.entries("clusters")]
    for index in range(len(document.get("course", default=()) or ())):
        verb: Trail = ("course", index, "upgrade-kubernetes")
        trails += [(*verb, name) for name in document.get(*verb) or ()]
    for trail in trails:
        if (version := document.get(*trail)) is not None and versions.product(version) != "vault":
            yield trail, f"{version} is no version of Kubernetes", "three numbers, such as 1.32.0"
