"""The kinds of secrets engines: what each has, and what an app asks of Vault to use a secret of it.

A key-value store is not among them: of that a scenario says its version alone.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any, Final

import msgspec

KV: Final = "kv"
DATABASE: Final = "database"
TRANSIT: Final = "transit"
PKI: Final = "pki"

CONNECTION: Final = "postgresql"
"""What the connection of a database engine is called there."""

PLAINTEXT: Final = base64.b64encode(b"what an app has transit encrypt").decode()


class EngineKind(msgspec.Struct, frozen=True, kw_only=True):
    """A kind of secrets engine, of which apps ask for secrets that it makes."""

    name: str
    """Vault's own name for it"""
    reads: str
    """how one of its secrets is written among the `reads` of an app, below the engine's path: {} is what it is of"""
    asks: tuple[tuple[str, str], ...]
    """what an app asks to get one and to use it, each with the right that it takes: {} as above"""
    has: str
    """the key that says what it has by name: roles, or keys"""
    fields: Mapping[str, str]
    """the fields of such a one, and Vault's names for them"""
    required: tuple[str, ...] = ()
    """those of them that have to be said"""
    constant: Mapping[str, Any] = {}
    """what is written of each besides"""
    leased: bool = False
    """do its secrets live as long as a lease?"""

    def of(self, secret: str) -> str:
        """Return of what a *secret* is, as it is written below the engine's path; nothing where it is none of it."""
        before, _, _ = self.reads.partition("{}")
        rest = secret.removeprefix(before)
        return rest if secret.startswith(before) and "/" not in rest else ""


LONGER_VALID: Final = 5
"""So many seconds longer than a lease lives, the PostgreSQL lets in the user that was made for it: Vault adds them to
the VALID UNTIL of its statements (plugins/database/postgresql, and builtin/logical/database/path_creds_create.go). Run:
1.9.2, whose PostgreSQL was away when a lease ended."""

_KINDS: Final = {
    one.name: one
    for one in (
        EngineKind(
            name=DATABASE,
            reads="creds/{}",
            asks=(("creds/{}", "read"),),
            has="roles",
            fields={"ttl": "default_ttl", "max_ttl": "max_ttl"},
            constant={
                "db_name": CONNECTION,
                "creation_statements": [
                    "CREATE ROLE \"{{name}}\" WITH LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}';"
                ],
            },
            leased=True,
        ),
        EngineKind(
            name=TRANSIT,
            reads="{}",
            asks=(("encrypt/{}", "update"), ("decrypt/{}", "update")),
            has="keys",
            fields={"type": "type"},
        ),
        EngineKind(
            name=PKI,
            reads="issue/{}",
            asks=(("issue/{}", "update"),),
            has="roles",
            fields={
                "ttl": "ttl",
                "max_ttl": "max_ttl",
                "allowed_domains": "allowed_domains",
                "key_type": "key_type",
                "key_bits": "key_bits",
                "no_store": "no_store",
            },
            required=("allowed-domains",),
            constant={"allow_subdomains": True},
        ),
    )
}

NAMES: Final = (KV, *_KINDS)


def of(name: str) -> EngineKind:
    """Return a kind by its name. Raises KeyError for a name that is none, and for a key-value store."""
    return _KINDS[name]


class EngineSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A secrets engine of a kind that makes secrets, and what it has by name, with its fields in Vault's spelling."""

    kind: str
    has: dict[str, dict[str, Any]]

    @property
    def of_kind(self) -> EngineKind:
        """Return what an engine of its kind has."""
        return of(self.kind)


Engine = int | EngineSpec
"""A secrets engine: of a key-value store its version."""


def engine(written: Mapping[str, Any]) -> Engine:
    """Return the engine that the plain data *written* describe."""
    name = written.get("type") or KV
    if name == KV:
        return int(written["kv"])
    kind = of(name)
    return EngineSpec(
        kind=name,
        has={
            one: {**kind.constant}
            | {
                vaults: value
                for own, vaults in kind.fields.items()
                if (value := (said or {}).get(own.replace("_", "-"))) is not None
            }
            for one, said in (written.get(kind.has) or {}).items()
        },
    )


def places(path: str, made: EngineSpec) -> dict[str, dict[str, Any]]:
    """Return the full API paths of what an engine at *path* has by name, each with what is written there."""
    return {f"{path}/{made.of_kind.has}/{name}": fields for name, fields in made.has.items()}


def body(made: EngineSpec, name: str, app: str) -> dict[str, Any] | None:
    """Return what *app* sends to get a secret of *name*; None where it only reads."""
    if made.kind == TRANSIT:
        return {"plaintext": PLAINTEXT}
    if made.kind == PKI:
        domains = made.has[name]["allowed_domains"]
        return {"common_name": f"{app}.{domains[0]}"}
    return None
