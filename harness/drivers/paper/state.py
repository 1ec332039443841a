"""What a system on paper holds: service account tokens, what Vault gave, configs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from harness.drivers.service_accounts import Account
from harness.knowledge import kubernetes_auth
from harness.rig.rig import IssuedToken
from harness.scenario.plan import DEFAULT_TTL
from harness.scenario.schema import seconds
from harness.secret import Secret
from harness.wait import now


@dataclass(slots=True)
class Token:
    """A service account token on paper."""

    issued: IssuedToken
    account: Account
    alive: bool = True


@dataclass(frozen=True, slots=True)
class VaultToken:
    """What Vault gave for a login."""

    token: Secret
    policies: tuple[str, ...]
    ttl: int
    """its life without renewal, in seconds"""


@dataclass(slots=True)
class Config:
    """What a mount's config holds."""

    fields: dict[str, Any]
    stored: kubernetes_auth.Stored
    frozen: Token | None
    explicit: Token | None
    validation_disabled: bool
    roles: dict[str, dict[str, Any]] = field(default_factory=dict)


def lease(role: Mapping[str, Any]) -> int:
    """Return for how long tokens of a role live without renewal: what Vault does of its own accord where it says 0."""
    longest = seconds(str(role.get("token_max_ttl") or DEFAULT_TTL))
    return min(seconds(str(role.get("token_ttl") or DEFAULT_TTL)), longest)


def copied(configs: Mapping[str, Config]) -> dict[str, Config]:
    """Return configs as they are now. The tokens they hold stay the same ones: they die with their Pods."""
    return {
        path: replace(config, fields=dict(config.fields), roles=dict(config.roles)) for path, config in configs.items()
    }


def extra(bearer: Token) -> dict[str, list[str]]:
    """Return what an API server knows of a bearer beside its account. A token out of a Secret says nothing of it."""
    if bearer.account.long_lived:
        return {}
    token = bearer.issued
    said = {"credential-id": f"JTI={token.jti}", "pod-name": token.pod, "pod-uid": token.pod_uid}
    return {f"authentication.kubernetes.io/{name}": [value] for name, value in said.items() if value}


def accepted(bearer: Token, cluster: str) -> bool:
    """Does the API server of *cluster* know this bearer?"""
    ended = bearer.issued.expires and bearer.issued.expires <= now()
    return bearer.alive and not ended and bearer.account.cluster == cluster and not bearer.account.audience
