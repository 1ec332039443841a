"""What a scenario says of an installation and what was read of it now are held against each other.

Compared is what both know: what nobody could read has not drifted, and what a scenario wants (target, course, expect)
is no part of an installation.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from harness.importing.installation import Known
from harness.importing.naming import Names
from harness.scenario import topology, values
from harness.scenario.engine_kinds import EngineSpec
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

_SPAN: Final = re.compile(r"[1-9][0-9]{0,8}[smh]")
_LEFT_OUT: Final[Mapping[str, str]] = {"type": "aes256-gcm96", "key_type": "rsa"}
"""What Vault takes for a field of what an engine has, where nobody says it."""
_BY_ANOTHER: Final = "key_bits"
"""The field whose default goes by another one, and by the version: it is compared where a scenario says it."""


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
        *_engines(written, imported, known),
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


def _engines(written: Scenario, imported: Scenario, known: Known) -> Iterator[Drift]:
    """Compare the secrets engines of a scenario that names any: where none is named, one is only assumed.

    Of one that makes secrets the import has what a policy of a role grants: what else is there is no drift.
    """
    old, new, there = topology.of(written).engines, topology.of(imported).engines, known.said.engines
    if not written.secrets or not there:
        return
    whole = not known.gaps
    for path in sorted({*written.secrets, *imported.secrets}):
        where = f"secrets.{path}"
        if path not in there:
            if whole:
                yield Drift(where, "it", "no such secrets engine")
        elif path not in old:
            yield Drift(where, "no such secrets engine", "it")
        else:
            before = old[path]
            kind = f"kv-{before}" if isinstance(before, int) else before.kind
            yield from _differ(f"{where}.type", kind, there[path])
            if isinstance(before, EngineSpec) and kind == there[path]:
                now = new.get(path)
                found = now.has if isinstance(now, EngineSpec) else {}
                yield from _made(f"{where}.{before.of_kind.has}", before, found, known.said.made.get(path), whole=whole)


def _made(
    where: str,
    before: EngineSpec,
    now: Mapping[str, Mapping[str, Any]],
    there: Mapping[str, Any] | None,
    *,
    whole: bool,
) -> Iterator[Drift]:
    """Compare what an engine has by name; *there* are all the names that were read."""
    for name in sorted({*before.has, *now}):
        if name not in before.has:
            yield Drift(f"{where}.{name}", f"no such {before.of_kind.has[:-1]}", "it")
        elif name in now:
            for ours, vaults in before.of_kind.fields.items():
                fields = [one[name].get(vaults, _LEFT_OUT.get(ours)) for one in (before.has, now)]
                if ours != _BY_ANOTHER or vaults in before.has[name]:
                    yield from _differ(f"{where}.{name}.{_key(ours)}", *fields)
        elif whole and name not in (there or {}):
            yield Drift(f"{where}.{name}", "it", f"no such {before.of_kind.has[:-1]}")


def _differ(where: str, old: Any, new: Any) -> Iterator[Drift]:
    if _plain(old) != _plain(new):
        yield Drift(where, _shown(old), _shown(new))


def _plain(value: Any) -> Any:
    if isinstance(value, str) and _SPAN.fullmatch(value):
        return values.seconds(value)
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
