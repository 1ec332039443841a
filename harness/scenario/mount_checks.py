"""Paths at which Vault mounts nothing: its own, and those that lie above or below another mount."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from harness.scenario import engine_kinds, topology
from harness.scenario.field_checks import Complaint
from harness.scenario.mount_kinds import TOKEN
from harness.scenario.yaml_document import Document, Trail

_ITS_OWN: Final = ("sys", "identity", "cubbyhole", "auth", "audit")
"""Below them no secrets engine is mounted (run: 1.4.0, 1.9.2, 1.13.0 and 1.19.0; vault/mount.go#protectedMounts)."""
_OF_AUTH: Final = "auth/"


def complaints(document: Document) -> Iterator[Complaint]:
    """Yield every mount that Vault would refuse because of where it is to be."""
    there = {(vault, f"{_OF_AUTH}token"): "the token store" for vault in (topology.MAIN, topology.SEAL)}
    for vault, path, trail in _wanted(document):
        own = path.partition("/")[0]
        if own in _ITS_OWN and (trail[0] == "secrets" or not path.startswith(_OF_AUTH)):
            yield trail, f"Vault mounts no secrets engine at {path}: {own} is its own", "another path"
            continue
        met = next((other for whose, other in there if whose == vault and _meet(path, other)), None)
        if met is not None:
            message = f"Vault mounts nothing at {path}, because {there[vault, met]} is at {met}"
            yield trail, message, "a path that is neither another mount's, nor above or below one"
        there.setdefault((vault, path), "another mount")


def _wanted(document: Document) -> Iterator[tuple[str, str, Trail]]:
    """Yield what is to be mounted: in which Vault, at which path, and where the scenario says it."""
    for mount in document.entries("auth"):
        if document.get(*mount, "mounted", default=True) and document.get(*mount, "type") != TOKEN:
            yield document.get(*mount, "vault", default=topology.MAIN), f"{_OF_AUTH}{mount[-1]}", mount
    engines = document.get("secrets", default={}) or {}
    kinds = {document.get("secrets", path, "type", default=engine_kinds.KV) for path in engines}
    for path in engines:
        yield topology.MAIN, path, ("secrets", path)
    if engine_kinds.KV not in kinds and None not in kinds and topology.SECRETS not in engines:
        yield topology.MAIN, topology.SECRETS, ("secrets", *list(engines)[:1])
    for path in document.get("also-mounted", default={}) or {}:
        yield topology.MAIN, path, ("also-mounted", path)


def _meet(path: str, other: str) -> bool:
    """Are they the same, or is one of them below the other? (run: as `_ITS_OWN` has it; vault/router.go)"""
    return f"{path}/".startswith(f"{other}/") or f"{other}/".startswith(f"{path}/")
