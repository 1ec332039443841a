"""What a system on paper holds: service account tokens, what Vault gave, configs."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from harness.drivers.service_accounts import Account
from harness.host import pki
from harness.knowledge import given_up_leases, kubernetes_auth, secret_logins
from harness.knowledge.token_store import DEFAULT_TTL
from harness.knowledge.versions import at_least
from harness.record.events import AnyEvent
from harness.rig.rig import Credentials, IssuedToken
from harness.scenario import engine_kinds
from harness.scenario.topology import ClusterSpec, Topology
from harness.scenario.values import addressed, seconds
from harness.secret import Secret
from harness.wait import now


@dataclass(slots=True)
class Token:
    """A service account token on paper."""

    issued: IssuedToken
    account: Account
    issuers: Sequence[str]
    """those that its cluster has now; one out of a Secret is of another that is always accepted"""
    alive: bool = True
    key: str = ""
    """with which it is signed"""

    @property
    def genuine(self) -> bool:
        """Does the API server of its cluster take it for one of its own, which lives?"""
        return self.alive and (self.account.long_lived or self.issued.issuer in self.issuers)


ADDRESS: Final = "127.0.0.1"
"""From where everything on paper is asked, as with processes."""


@dataclass(slots=True)
class VaultToken:
    """What Vault gave for a login."""

    token: Secret
    policies: tuple[str, ...]
    ttl: int
    """its life without renewal, in seconds"""
    kind: str = "service"
    has_default: bool = True
    """has it the default policy?"""
    uses: int | None = None
    """how many requests it is good for yet; None: any number"""
    accessor: str = ""
    """of the mount that gave it"""
    alias: dict[str, str | None] = field(default_factory=dict)
    """what is known of the alias there of who logged in, as templates of policies name it"""
    mount: str = ""
    """the auth mount that gave it"""
    role: Mapping[str, Any] = field(default_factory=dict)
    """as it was written when the token was given"""
    role_name: str = ""
    shown: Secret | None = None
    """the client certificate by which it was got"""
    made: float = 0.0
    """when it was given, and renewed last, by the time that has passed on paper"""
    renewed: float = 0.0
    created: float = field(default_factory=now)
    given_by: str = ""
    """the version of Vault that gave it"""
    ahead: int = 0
    """so many seconds the clock was ahead of whoever gave it, and so is the date at which it ends"""
    kept: bool = False
    """is it renewed whenever it has to be, by an agent that stays?"""

    @property
    def ends(self) -> float:
        """Return when its life ends, if nobody renews it any more, in seconds after the beginning."""
        fixed = self.role.get("token_explicit_max_ttl")
        longest = fixed or (None if self.role.get("token_period") else self.role.get("token_max_ttl") or DEFAULT_TTL)
        last = math.inf if longest is None else self.made + seconds(str(longest))
        return last if self.kept else min(last, self.renewed + self.ttl)

    def left(self, passed: float) -> int:
        """Return how many seconds it lives yet without renewal."""
        return int(min(self.ends, passed + self.ttl) - passed)

    def ended(self, passed: float) -> bool:
        """Is its life over, so many seconds after the beginning?"""
        return passed >= self.ends

    @property
    def renewable(self) -> bool:
        """Can it be renewed?"""
        return self.kind != "batch" and self.role.get("renewable") is not False

    @property
    def said(self) -> dict[str, Any]:
        """Return what the answer to the login says of it."""
        policies = sorted({*self.policies, *(["default"] if self.has_default else [])})
        return {"policies": policies, "renewable": self.renewable, "token_type": self.kind}

    def use(self) -> bool:
        """Take a request off what it is good for. Was there one left?"""
        if self.uses is None:
            return True
        self.uses -= 1
        return self.uses >= 0


@dataclass(slots=True)
class Leased:
    """A user of the database that Vault made, and the lease of it. Times are seconds that have passed on paper."""

    password: Secret
    holder: VaultToken | None
    """the token with which it was got: the lease ends with it"""
    life: int
    """from one renewal to the next"""
    most: int
    """of the lease with all renewals"""
    made: float
    renewed: float
    revoked: bool = False
    given_up: bool = False
    """is it irrevocable?"""

    @property
    def ends(self) -> float:
        """Return when the lease ends by itself, if nobody renews it any more."""
        return min(self.renewed + self.life, self.made + self.most)

    @property
    def _revoked_at(self) -> float:
        return self.ends if self.holder is None else min(self.ends, self.holder.ends)

    def ended(self, passed: float) -> bool:
        """Is the lease over?"""
        return passed >= self._revoked_at

    def logs_in(self, password: Secret, passed: float) -> bool:
        """Does the database let it in? It looks at the end itself, whether Vault revoked it or not."""
        return not self.revoked and password == self.password and passed < self.ends + engine_kinds.LONGER_VALID

    def revoke_if_due(self, since: float, passed: float, version: str, *, away: bool) -> None:
        """Have Vault try to revoke it if it ended *since* then, and again some time after; in vain where the database
        is *away*.
        """
        tries = [self._revoked_at + after for after in (0, *given_up_leases.TRIED_AFTER)]
        self.revoked |= not (away or self.given_up) and any(since < one <= passed for one in tries)
        counts = at_least(version, given_up_leases.SINCE)
        self.given_up |= counts and not self.revoked and since < tries[-1] <= passed


def given(token: Secret, mount: str, role_name: str, role: Mapping[str, Any]) -> VaultToken:
    """Return what Vault gives for a login to a *role* of a *mount* as it was written."""
    named = role.get("token_policies", role.get("allowed_policies", ""))
    policies = tuple(policy.lower() for policy in str(named).split(",") if policy)
    default = not role.get("token_no_default_policy") or "default" in policies
    kind = "batch" if role.get("token_type") == "batch" else "service"
    # nobody counts the uses of what is not stored
    uses = None if kind == "batch" else role.get("token_num_uses") or None
    return VaultToken(
        token, policies, lease(role), kind, default, uses, mount=mount, role=dict(role), role_name=role_name
    )


@dataclass(slots=True)
class Config:
    """What a mount's config holds."""

    fields: dict[str, Any]
    stored: kubernetes_auth.Stored
    frozen: Token | None
    explicit: Token | None
    validation_disabled: bool
    ca: str = ""
    """the CA that is stored, be it sent or copied; empty where none is"""
    roles: dict[str, dict[str, Any]] = field(default_factory=dict)
    secrets: dict[str, Credentials] = field(default_factory=dict)
    """by role: what logs in there, where no token of a service account does"""
    failures: dict[str, int] = field(default_factory=dict)
    """by role: how often in a row the secret was wrong"""
    uses: dict[str, int] = field(default_factory=dict)
    """by role: for how many logins its secret is good yet, as the role had it when that was made; none: any number"""
    fetched: tuple[str, ...] | None = None
    """of a JWT mount: the keys that Vault has got from somebody since its start; None: it has not asked yet"""
    discovered: bool = False
    """of a JWT mount: has Vault read the discovery document since its start?"""


def without_config() -> Config:
    """Return what a mount holds that has no config."""
    return Config({}, "", None, None, validation_disabled=True)


@dataclass(slots=True)
class Common:
    """What several Vaults of one system share: its clusters' accounts and tokens, and the order of things."""

    accounts: list[Account]
    tokens: dict[str, Token] = field(default_factory=dict)
    """by purpose"""
    configs: dict[str, dict[str, Config]] = field(default_factory=dict)
    """by the name of a Vault, and the path of a mount"""
    issuers: dict[str, list[str]] = field(default_factory=dict)
    """of each cluster, as they are now: tokens look here whether they are accepted"""
    kubernetes: dict[str, str] = field(default_factory=dict)
    """the version of each cluster"""
    keys: dict[str, list[str]] = field(default_factory=dict)
    """with which each cluster signs its tokens, the newest first: all of them are accepted"""
    published: dict[str, bool] = field(default_factory=dict)
    """may anybody read the keys of each cluster?"""
    users: dict[str, Leased] = field(default_factory=dict)
    """of the PostgreSQL, by name, which is the ID of the lease as well"""
    database_away: bool = False
    """is that PostgreSQL stopped?"""
    authority: pki.ClientAuthority | None = None
    """of every pki engine; None: nobody has asked for it yet"""
    authorities: dict[str, int] = field(default_factory=dict)
    """how often the CA of each cluster has become another one, where it has"""
    cas_seen: dict[str, str] = field(default_factory=dict)
    """the CA in the Pod of each Vault, as it was when that looked last"""
    hidden: set[str] = field(default_factory=set)
    """the clusters whose API server nobody finds where it was"""
    pending: list[AnyEvent] = field(default_factory=list)
    """the evidence that nobody has gathered yet"""
    passed: float = 0.0
    """so many seconds the course has had pass: on paper nobody waits"""
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def add(self, cluster: str, wanted: ClusterSpec, issuers: Sequence[str], key: str) -> None:
        """Have a *cluster* as it is *wanted*, with these *issuers*, which signs with *key*."""
        self.issuers[cluster], self.kubernetes[cluster] = list(issuers), wanted.kubernetes
        self.keys[cluster], self.published[cluster] = [key], wanted.publishes_keys


def issued_to(account: Account, number: int, issuers: Sequence[str], key: str, wanted: Topology) -> Token:
    """Return a new token of *account*, which no other token's *number* resembles; its cluster has these *issuers*, and
    signs with *key* as a scenario has *wanted* it.
    """
    at, unbound = now(), account.long_lived or account.on_demand or account.podless
    asked = addressed(account.audiences, host_of(account.cluster))
    issued = IssuedToken(
        jwt=Secret(f"paper.{account.cluster}-{number:012d}.signature-{number:012d}"),
        cluster=account.cluster,
        subject=account.subject,
        purpose=account.purpose,
        pod="" if unbound else account.pod,
        pod_uid="" if unbound else f"uid-{number}",
        jti="" if account.long_lived else f"jti-{number}",
        issuer=kubernetes_auth.DEFAULT_ISSUER if account.long_lived else issuers[0],
        audiences=() if account.long_lived else asked or tuple(issuers),
        issued=at,
        expires=0.0 if account.long_lived else at + account.token_seconds,
        algorithm=wanted.clusters[account.cluster].signing_algorithm,
    )
    return Token(issued, account, issuers, alive=not account.pod_gone, key=key)


def lease(role: Mapping[str, Any]) -> int:
    """Return for how long tokens of a role live without renewal: what Vault does of its own accord where it says 0."""
    if role.get("token_period"):
        return seconds(str(role["token_period"]))
    ends = [role.get("token_ttl"), role.get("token_max_ttl"), role.get("token_explicit_max_ttl"), DEFAULT_TTL]
    return min(seconds(str(end)) for end in ends if end)


def host_of(cluster: str) -> str:
    """Return where the API server of a cluster is, on paper."""
    return f"https://{cluster}.paper"


def forget_keys(configs: Mapping[str, Config]) -> None:
    """Have a Vault that was started anew not know the keys of anybody yet, nor how often a secret was wrong."""
    for config in configs.values():
        config.fetched, config.discovered = None, False
        config.failures = {role: often for role, often in config.failures.items() if often >= secret_logins.TOO_OFTEN}


def copied(configs: Mapping[str, Config]) -> dict[str, Config]:
    """Return configs as they are now. The tokens they hold stay the same ones: they die with their Pods."""
    return {
        path: replace(
            config,
            fields=dict(config.fields),
            roles=dict(config.roles),
            secrets=dict(config.secrets),
            failures=dict(config.failures),
            uses=dict(config.uses),
            fetched=None,
            discovered=False,
        )
        for path, config in configs.items()
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
    return bearer.genuine and not ended and bearer.account.cluster == cluster and for_api_server(bearer)


def for_api_server(token: Token) -> bool:
    """Is a token made out for the API server? One out of a Secret is for nobody in particular."""
    return token.account.long_lived or any(one in token.issued.audiences for one in token.issuers)
