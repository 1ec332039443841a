"""What a scenario says of an installation and what was read of it now are held against each other.

Compared is what both know: what nobody could read has not drifted, and what a scenario wants (target, course, expect)
is no part of an installation.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from harness.importing.installation import Known
from harness.importing.naming import Names
from harness.scenario import topology
from harness.scenario.schema import Scenario
from harness.scenario.topology import MountSpec, Topology

_OF_VAULT: Final = {
    "source": "version",
    "storage": "storage",
    "shares": "shares",
    "threshold": "threshold",
    "tls": "tls",
    "cluster": "cluster",
    "service_account": "service_account",
    "token_file": "token_file",
}
"""Fields of a Vault in a topology, and what of an installation has to be known for them to be compared."""


class Drift(msgspec.Struct, frozen=True):
    """Something that is no longer as the scenario has it."""

    where: str
    scenario: str
    installation: str

    def __str__(self) -> str:
        return f"{self.where}: the scenario has {self.scenario}, the installation {self.installation}"


def drifts(written: Scenario, imported: Scenario, known: Known, names: Names) -> list[Drift]:
    """Return what is otherwise in the scenario *imported* of what is *known* than in the one that was *written*."""
    old, new = topology.of(written), topology.of(imported)
    return [
        *_vault(old, new, known),
        *_clusters(old, new, known, names),
        *_mounts(old, new, known, names),
        *_apps(old, known, names),
        *_policies(old, new),
    ]


def _vault(old: Topology, new: Topology, known: Known) -> Iterator[Drift]:
    for field, source in _OF_VAULT.items():
        if getattr(known.said.vault, source) is not None:
            yield from _differ(f"vault.{_key(field)}", getattr(old.vault, field), getattr(new.vault, field))


def _clusters(old: Topology, new: Topology, known: Known, names: Names) -> Iterator[Drift]:
    for name, part in known.said.clusters.items():
        called = names.of("cluster", name)
        if called not in old.clusters:
            yield Drift(f"clusters.{called}", "no such cluster", "it")
            continue
        before, now = old.clusters[called], new.clusters[called]
        if part.version is not None:
            yield from _differ(f"clusters.{called}.kubernetes", before.kubernetes, now.kubernetes)
        if part.issuer is not None:
            # an API server says which issuer signs, and not which others it accepts
            yield from _differ(f"clusters.{called}.issuers", before.issuers[0], now.issuers[0])


def _mounts(old: Topology, new: Topology, known: Known, names: Names) -> Iterator[Drift]:
    there = {names.of("mount", path): mount for path, mount in known.said.mounts.items()}
    whole = not known.gaps
    for path in sorted({*old.mounts, *there}):
        where = f"auth.{path}"
        if path not in there or path not in new.mounts:
            if whole and path in old.mounts and old.mounts[path].mounted:
                yield Drift(where, "it", "no such auth mount")
            continue
        if path not in old.mounts:
            yield Drift(where, "no such auth mount", "it")
            continue
        before, now = old.mounts[path], new.mounts[path]
        yield from _differ(f"{where}.type", before.kind, now.kind)
        if there[path].config is not None and before.kind == now.kind:
            yield from _config(where, before, now)
        yield from _roles(where, before, now, whole=whole)


def _config(where: str, before: MountSpec, now: MountSpec) -> Iterator[Drift]:
    """Compare the fields that a read of the config shows: what was not sent reads as Vault's default."""
    for field in sorted({*now.fields} - {"token_reviewer_jwt", "disable_local_ca_jwt"}):
        if field in before.fields or field in ("kubernetes_ca_cert", "issuer"):
            yield from _differ(f"{where}.config.{field}", before.fields.get(field, ""), now.fields[field])
    disabled = [bool(one.fields.get("disable_local_ca_jwt")) for one in (before, now)]
    yield from _differ(f"{where}.config.disable_local_ca_jwt", *disabled)


def _roles(where: str, before: MountSpec, now: MountSpec, *, whole: bool) -> Iterator[Drift]:
    for name in sorted({*before.roles, *now.roles}):
        here = f"{where}.roles.{name}"
        if name not in now.roles:
            if whole:
                yield Drift(here, "it", "no such role")
        elif name not in before.roles:
            yield Drift(here, "no such role", "it")
        else:
            for field in before.roles[name].__struct_fields__:
                old, new = getattr(before.roles[name], field), getattr(now.roles[name], field)
                yield from _differ(f"{here}.{_key(field)}", old, new)


def _apps(old: Topology, known: Known, names: Names) -> Iterator[Drift]:
    """Compare who may review tokens, of the apps of the scenario."""
    parts = {names.of("cluster", name): part for name, part in known.said.clusters.items()}
    for name, app in old.apps.items():
        part = parts.get(app.cluster)
        may = part.may_review(app.service_account) if part and app.service_account else None
        if may is not None:
            yield from _differ(f"apps.{name}.may-review-tokens", app.may_review_tokens, may)
        if part is not None and part.accounts is not None and app.service_account not in part.accounts:
            yield Drift(f"apps.{name}.service-account", app.service_account, "no such service account")


def _policies(old: Topology, new: Topology) -> Iterator[Drift]:
    for name in sorted(old.policies):
        if name in new.policies and old.policies[name].split() != new.policies[name].split():
            yield Drift(f"policies.{name}", "another text", "its own")


def _differ(where: str, old: Any, new: Any) -> Iterator[Drift]:
    if _plain(old) != _plain(new):
        yield Drift(where, _shown(old), _shown(new))


def _plain(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return sorted(map(str, value))
    return {} if value is None else value


def _shown(value: Any) -> str:
    if value is None or value in ("", ()):
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _key(field: str) -> str:
    return field.replace("_", "-")
