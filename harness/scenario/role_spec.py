"""A role of an auth mount as it is written: every field by our name, and how Vault has it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from harness.scenario import mount_kinds
from harness.scenario.mount_kinds import KUBERNETES, MountKind

RoleField = str | int | bool | tuple[str, ...] | dict[str, Any]
"""A field of a role; spans are texts such as 1h."""


class RoleSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A role as it is written. Spans are texts such as 1h; None is not sent, and then Vault's own default holds."""

    kind: str = KUBERNETES
    """that of its mount"""
    service_accounts: tuple[str, ...] = ()
    namespaces: tuple[str, ...] = ()
    policies: tuple[str, ...] = ()
    audience: str | None = None
    ttl: str | None = None
    max_ttl: str | None = None
    period: str | None = None
    explicit_max_ttl: str | None = None
    token_type: str | None = None
    num_uses: int | None = None
    no_default_policy: bool | None = None
    bound_cidrs: tuple[str, ...] | None = None
    namespace_selector: tuple[str, ...] | None = None
    """labels, each as key=value: namespaces that have them all are admitted as well"""
    alias_name_source: str | None = None
    orphan: bool | None = None
    renewable: bool | None = None
    secret_id_ttl: str | None = None
    secret_id_num_uses: int | None = None
    bound_audiences: tuple[str, ...] | None = None
    bound_subject: str | None = None
    user_claim: str | None = None
    user_claim_json_pointer: bool | None = None
    bound_claims: dict[str, Any] | None = None
    """by claim: its value, or several of which one is meant"""
    bound_claims_type: str | None = None
    claim_mappings: dict[str, str] | None = None
    groups_claim: str | None = None
    certificate: str | None = None
    """of a cert mount, what it trusts: ca, the authority of its certificate, or own, that itself"""
    certificate_life: str | None = None
    allowed_common_names: tuple[str, ...] | None = None

    @property
    def of_kind(self) -> MountKind:
        """Return what a mount of its kind has."""
        return mount_kinds.of(self.kind)

    @property
    def fields(self) -> dict[str, RoleField]:
        """Return what is written of it at its mount, in Vault's spelling and without secrets: nothing of ours replaces
        a default of Vault's.
        """
        names = self.of_kind.role
        said = {
            name: self._selector() if key == "namespace_selector" else getattr(self, key) for key, name in names.items()
        }
        if self.of_kind.by_certificate:
            # what stands for the PEM that only the rehearsal has
            said["certificate"] = self.certificate or "ca"
        return {**self.of_kind.constant} | {name: value for name, value in said.items() if value is not None}

    def _selector(self) -> str | None:
        if self.namespace_selector is None:
            return None
        return json.dumps({"matchLabels": dict(one.split("=", 1) for one in self.namespace_selector)})


SPANS: Final = ("ttl", "max_ttl", "period", "explicit_max_ttl")
"""The fields of a role that are spans of time."""


NO_ROLE: Final = RoleSpec()
"""The role of those who log in where nothing is mounted."""


def role_value(name: str, said: Any) -> Any:
    """Return what a scenario says of a role's field as the topology has it: labels as key=value, lists as tuples."""
    if name == "namespace_selector" and isinstance(said, Mapping):
        return tuple(f"{key}={value}" for key, value in said.items())
    return tuple(said) if isinstance(said, list) else said


def role_spec(written: Mapping[str, Any], kind: str = KUBERNETES) -> RoleSpec:
    """Return the role that the plain data *written* describe, at a mount of a *kind*."""
    said = {(own := name.replace("-", "_")): role_value(own, value) for name, value in written.items()}
    known = {name: said[name] for name in RoleSpec.__struct_fields__ if said.get(name) is not None}
    return RoleSpec(**known | {"kind": kind})
