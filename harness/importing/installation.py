"""An installation as far as it was read: what each source says, without any secret, and what could not be read.

A field that is None was not seen: it is never a default. Names, paths and texts are those of the installation itself;
`naming` makes those of a scenario out of them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

OUTSIDE: Final = ""
"""The cluster of a Vault that is in none."""

MOUNTS: Final = "mounts, roles and policies"
"""What there is a gap of where Vault gave none of them."""

VERSION: Final = r"v?([0-9]+\.[0-9]+\.[0-9]+)(\+ent(?:\.[a-z0-9.]+)?)?"
"""A version as a server, an image tag or a provider says it."""


class Gap(msgspec.Struct, frozen=True):
    """Something that was asked for and not learned."""

    what: str
    """such as: the roles of auth/kubernetes"""
    why: str
    """what came back, and what helps"""

    def __str__(self) -> str:
        return f"{self.what}: {self.why}"


class VaultPart(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of the Vault server."""

    version: str | None = None
    storage: str | None = None
    tls: bool | None = None
    shares: int | None = None
    threshold: int | None = None
    seal: str | None = None
    """shamir, or the kind of auto-unseal"""
    ha: bool | None = None
    nodes: int | None = None
    cluster: str | None = None
    """the cluster whose Pod it is, OUTSIDE for none"""
    service_account: str | None = None
    """namespace/name of its Pod's account"""
    token_file: bool | None = None
    may_review: bool | None = None
    served: tuple[str, ...] | None = None
    """the versions that Vault says it ever ran (from 1.10 on), oldest first"""
    identity: str | None = None
    """the cluster ID that Vault made for itself: what pseudonyms hang on"""


class ClusterPart(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a Kubernetes cluster."""

    version: str | None = None
    issuer: str | None = None
    host: str | None = None
    """the address of its API server"""
    ca: str | None = None
    """the PEM that vouches for its API server"""
    keys: tuple[str, ...] | None = None
    """the keys that sign its service account tokens, as PEM"""
    reviewers: tuple[str, ...] | None = None
    """the accounts that may create TokenReviews, as namespace/name; namespace/* and */* for groups"""
    secrets: tuple[str, ...] | None = None
    """the accounts with a long-lived token in a Secret, as namespace/name"""
    accounts: tuple[str, ...] | None = None
    """every service account, as namespace/name"""

    def may_review(self, account: str) -> bool | None:
        """May this account create TokenReviews? None: nobody could tell."""
        if self.reviewers is None:
            return None
        return bool({account, f"{account.partition('/')[0]}/*", "*/*"} & set(self.reviewers))


class MountPart(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of an auth mount."""

    type: str | None = None
    accessor: str | None = None
    """what Vault calls it by in the templates of policies"""
    cluster: str | None = None
    """the cluster that reviews its logins, or whose keys sign them; None: to be found out"""
    config: dict[str, Any] | None = None
    """the fields of auth/<mount>/config as Vault shows them; never a token"""
    roles: dict[str, dict[str, Any]] = {}
    """by name, the fields as Vault shows them"""
    reviewer_stored: bool | None = None
    """is there a token_reviewer_jwt in it?"""
    configured_by: str | None = None
    """who wrote the config last, if somebody said so"""
    with_token_file: bool | None = None
    reviewer: str | None = None
    """the kind of reviewer, if somebody said so: none, or as a scenario has it"""
    reviewer_account: str | None = None


class Installation(msgspec.Struct, frozen=True, kw_only=True):
    """All that is known, by part."""

    vault: VaultPart = VaultPart()
    clusters: dict[str, ClusterPart] = {}
    mounts: dict[str, MountPart] = {}
    """by path, without a slash at the end"""
    policies: dict[str, str] = {}
    engines: dict[str, str] = {}
    """the secrets engines by path: their type, of kv with its version, such as kv-2"""
    made: dict[str, dict[str, dict[str, Any]]] = {}
    """by path of an engine that makes secrets, what it has by name (roles, or keys), with its fields as Vault shows
    them; never a connection, a key or a statement"""


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """What one source says."""

    source: str
    """how it is called in comments, such as: Vault, Kubernetes apps, Terraform state.json"""
    said: Installation = Installation()
    gaps: tuple[Gap, ...] = ()
    notes: tuple[str, ...] = ()
    """what is worth knowing and has no place in a scenario"""
    reached: bool = True
    """did it answer at all?"""


class Conflict(msgspec.Struct, frozen=True):
    """Where two sources contradict each other."""

    where: str
    used: str
    by: str
    other: str
    other_by: str

    def __str__(self) -> str:
        return f"{self.where}: {self.by} says {self.used}, {self.other_by} says {self.other}; the first is used"


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """What all sources say together."""

    said: Installation
    sources: dict[str, tuple[str, ...]] = {}
    """by part, such as mounts.kubernetes: who spoke of it"""
    conflicts: tuple[Conflict, ...] = ()
    gaps: tuple[Gap, ...] = ()
    notes: tuple[str, ...] = ()

    def of(self, *part: str) -> str:
        """Return who spoke of a part, for a comment."""
        return " and ".join(self.sources.get(".".join(part), ()))


def release_of(said: str) -> str | None:
    """Return the version in what a server or an image tag says of itself, without a v; None where there is none."""
    found = re.match(VERSION, said.strip())
    if found is None:
        return None
    return found[1] + ("+ent" if found[2] else "")


def only(fields: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    """Return those of *fields* that are known to hold no secret, and that say something."""
    return {name: fields[name] for name in names if fields.get(name) is not None}
