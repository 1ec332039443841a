"""What a scenario can say of secrets engines: a part of `schema`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from harness.scenario.schema_roles import Part
from harness.scenario.values import Duration, RoleName, Text

ToDatabase = Literal["stop", "start"]


class EngineRole(Part):
    """A role of a database or a pki engine. What is left out is not written."""

    ttl: Duration | None = Field(
        default=None, description="Life of a credential without renewal (default_ttl), or of a certificate."
    )
    max_ttl: Duration | None = Field(default=None, description="Life of it with renewals.")
    allowed_domains: tuple[Text, ...] | None = Field(
        default=None,
        min_length=1,
        description="Of pki: domains. An app asks for a certificate of its own name below the first of them.",
    )
    key_type: Literal["rsa", "ec", "ed25519"] | None = Field(
        default=None, description="Of pki: the kind of key. Left out: Vault's default, rsa."
    )
    key_bits: Literal[224, 256, 384, 521, 2048, 3072, 4096] | None = Field(
        default=None, description="Of pki: how many bits a key has; up to 1.9 it has to be said of ec."
    )
    no_store: bool | None = Field(default=None, description="Of pki: are certificates not kept by Vault?")


class TransitKey(Part):
    """A key of a transit engine. What is left out is not written."""

    type_: Literal["aes256-gcm96", "chacha20-poly1305", "rsa-2048", "rsa-4096"] | None = Field(
        default=None, description="Left out: Vault's default, aes256-gcm96."
    )


class Engine(Part):
    """A secrets engine: a key-value store, or one that makes secrets as they are asked for."""

    type_: Literal["kv", "database", "transit", "pki"] = Field(
        default="kv",
        description="kv: a key-value store. database: credentials of a PostgreSQL, which the rehearsal starts; an "
        "app reads `database/creds/ROLE`. transit: an app has `transit/KEY` encrypt before an upgrade and decrypt "
        "after it. pki: certificates of an authority that Vault makes; an app reads `pki/issue/ROLE`.",
    )
    kv: Literal[1, 2] | None = Field(
        default=None, description="Of a key-value store, which has to say it: its version, kv-v1 or kv-v2."
    )
    roles: dict[RoleName, EngineRole] = Field(
        default_factory=dict, description="Of database and pki: roles by name, at least one."
    )
    keys: dict[RoleName, TransitKey] = Field(
        default_factory=dict, description="Of transit: keys by name, at least one; {} for one as Vault makes it."
    )


class TouchesDatabase(Part):
    """A step that does something to the PostgreSQL of the database engines."""

    database: ToDatabase | None = Field(
        default=None,
        description="To the PostgreSQL for which every engine of type database makes credentials: stop, or start (it "
        "is there again, over its data). Vault's own data are elsewhere.",
    )
