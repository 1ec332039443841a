"""An app as it is written: who it is to Kubernetes, how it logs in, and what else logs in for it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from harness.scenario import values
from harness.scenario.schema_ways import MaybeThrough

STORM: Final = "login-storm"
"""The probe that has many Pods of an app log in at once."""


BALANCER: Final = "load-balancer"
STANDBY: Final = "standby"
LEADER: Final = "leader"


def subject_of(account: str) -> str:
    """Return the Kubernetes user of a service account that is written namespace/name."""
    return "system:serviceaccount:" + account.replace("/", ":")


class StormSpec(msgspec.Struct, frozen=True, kw_only=True):
    """Many Pods of one app that log in at once, each with a token of its own."""

    pods: int
    at_once: int
    """so many of them ask at any time; whoever has its answer makes room for the next"""


class AppSpec(msgspec.Struct, frozen=True, kw_only=True):
    """An application: it logs in with its service account token, or what else its mount wants, and reads secrets."""

    cluster: str = ""
    service_account: str = ""
    """namespace/name; empty: it has none"""
    mount: str
    node: str = ""
    """the node of its mount's Vault that it asks; empty: the only one there is, or whichever answers"""
    through: MaybeThrough = ""
    """which of several nodes it asks: leader, standby, or what a load-balancer chooses; empty: whichever leads"""
    role: str
    may_review_tokens: bool = False
    may_read: tuple[str, ...] = ()
    annotations: dict[str, str] = {}
    """of its service account"""
    reads: tuple[str, ...] = ()
    writes: dict[str, dict[str, Any]] = {}
    """what it writes into key-value stores: by the secret's path its fields"""
    audience: str | tuple[str, ...] | None = None
    """the audiences of its token, `cluster` being the API server's own; None: that alone. Older releases had a text"""
    token: str = "projected"
    """projected: of its Pod. secret: of a Secret. requested: of no Pod. pod-gone: of a deleted one. minted: of none"""
    token_seconds: int = 3600
    claims: dict[str, Any] = {}
    """of a minted token, beside those that every token has"""
    agent: str = ""
    """the version of the Vault Agent that logs in for it as well; empty: none does"""
    storm: StormSpec | None = None
    """so many Pods of it log in at once as well; None: none do"""

    @property
    def subject(self) -> str:
        """Return the Kubernetes user that its token stands for; nothing where it has none."""
        return subject_of(self.service_account) if self.service_account else ""

    @property
    def beside(self) -> tuple[str, ...]:
        """Return the probes of those that log in beside the app itself."""
        found = ("agent-login", "sidecar") if self.agent else ()
        return (*found, STORM) if self.storm else found

    @property
    def audiences(self) -> tuple[str, ...]:
        """Return the audiences that its token is requested for; none where that is the API server's own alone."""
        return (self.audience,) if isinstance(self.audience, str) else self.audience or ()


def app_spec(written: Mapping[str, Any], mounts: Iterable[str]) -> AppSpec:
    """Return an app as a scenario has it; *mounts* are the paths of the auth mounts that there are."""
    audience = written.get("audience")
    return AppSpec(
        cluster=written.get("cluster") or "",
        service_account=written.get("service-account") or "",
        mount=written.get("mount") or next(iter(mounts)),
        node=written.get("node") or "",
        through=written.get("through") or "",
        role=written["role"],
        may_review_tokens=written.get("may-review-tokens", False),
        may_read=tuple(written.get("may-read") or ()),
        annotations=dict(written.get("annotations") or {}),
        reads=tuple(written.get("reads") or ()),
        writes={path: dict(fields) for path, fields in (written.get("writes") or {}).items()},
        audience=tuple(audience) if isinstance(audience, list) else audience,
        token=written.get("token") or "projected",
        token_seconds=values.seconds(written.get("token-expires") or "1h"),
        claims=dict(written.get("claims") or {}),
        agent=written.get("agent") or "",
        storm=_storm(written.get("storm")),
    )


def _storm(written: Mapping[str, Any] | None) -> StormSpec | None:
    if written is None:
        return None
    pods: int = written["pods"]
    return StormSpec(pods=pods, at_once=min(written["at-once"], pods))
