"""The kinds of auth mounts: what a mount of each has, who logs in there with what, and who must be refused.

Whoever works with a mount asks its kind, and takes none for granted.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any, Final

import msgspec

KUBERNETES: Final = "kubernetes"
"""The kind of a mount that names none, and of every mount in older records."""

JWT: Final = "jwt"

CERT: Final = "cert"

USERPASS: Final = "userpass"

TOKEN: Final = "token"
"""The kind of the mount that every Vault has, at the path of the same name: its roles are those of tokens."""

ASKED_AT: Final = {"jwks_url": "jwks_ca_pem", "oidc_discovery_url": "oidc_discovery_ca_pem"}
"""The fields of a JWT mount's config by which Vault asks somebody for the keys: where, and the CA of who answers."""

PROVIDER: Final = "provider"
"""The key of whoever mints tokens outside of any cluster, among the keys of a JWT mount."""

_TOKENS: Final[dict[str, str]] = {
    "ttl": "token_ttl",
    "max_ttl": "token_max_ttl",
    "period": "token_period",
    "explicit_max_ttl": "token_explicit_max_ttl",
    "token_type": "token_type",
    "num_uses": "token_num_uses",
    "no_default_policy": "token_no_default_policy",
    "bound_cidrs": "token_bound_cidrs",
}
"""What a role of any kind says of the tokens that it gives: our name, and Vault's."""


class MountKind(msgspec.Struct, frozen=True, kw_only=True):
    """A kind of auth mount."""

    name: str
    """Vault's own name for the method"""
    reviews: bool = False
    """does Vault ask an API server for a TokenReview at each login?"""
    of_account: bool = False
    """does an app log in with a token of its service account?"""
    config: tuple[str, ...] = ()
    """the fields of auth/<mount>/config, in Vault's spelling; none: it has no config"""
    folder: str = "role"
    """where its roles are: auth/<mount>/<folder>/<name>"""
    required: tuple[str, ...] = ()
    """the keys that a role must have, as they are written"""
    role: Mapping[str, str]
    """the fields of a role, and Vault's names for them"""
    negative: tuple[str, ...] = ()
    """the probes that must be refused whatever a role says"""
    constant: Mapping[str, str] = {}
    """fields of a role that are written whatever it says, unless it says otherwise"""
    decisive: tuple[str, ...] = ()
    """the fields of a role, by our names, that decide whether a login is refused"""
    makes_secrets: bool = False
    """does it come with a secret that the rehearsal makes?"""
    by_certificate: bool = False
    """does one log in by the client certificate of the TLS connection?"""
    ours: tuple[str, ...] = ()
    """the keys of a role that are not sent as they stand: what the rehearsal makes by them is"""
    locks_out: bool = False
    """does Vault lock out whose secret is wrong too often, from the version on that does such a thing?"""

    def place_of(self, mount: str, role: str) -> str:
        """Return where a *role*, or user, of a *mount* of this kind stands in Vault's API."""
        return f"auth/{mount}/{self.folder}/{role}"


_KINDS: Final = {
    one.name: one
    for one in (
        MountKind(
            name=KUBERNETES,
            reviews=True,
            of_account=True,
            config=(
                "kubernetes_host",
                "kubernetes_ca_cert",
                "pem_keys",
                "issuer",
                "disable_iss_validation",
                "disable_local_ca_jwt",
                "use_annotations_as_alias_metadata",
            ),
            required=("service-accounts",),
            role={
                "service_accounts": "bound_service_account_names",
                "namespaces": "bound_service_account_namespaces",
                "policies": "token_policies",
                "audience": "audience",
                **_TOKENS,
                "alias_name_source": "alias_name_source",
                "namespace_selector": "bound_service_account_namespace_selector",
            },
            negative=("tampered-jwt", "unknown-role"),
        ),
        MountKind(
            name=JWT,
            of_account=True,
            config=("jwt_validation_pubkeys", "bound_issuer", *itertools.chain.from_iterable(ASKED_AT.items())),
            role={
                "bound_audiences": "bound_audiences",
                "bound_subject": "bound_subject",
                "user_claim": "user_claim",
                "user_claim_json_pointer": "user_claim_json_pointer",
                "bound_claims": "bound_claims",
                "bound_claims_type": "bound_claims_type",
                "claim_mappings": "claim_mappings",
                "groups_claim": "groups_claim",
                "policies": "token_policies",
                **_TOKENS,
            },
            constant={"role_type": "jwt", "user_claim": "sub"},
            decisive=("bound_audiences", "bound_subject", "bound_claims", "bound_cidrs"),
            negative=("tampered-jwt", "unknown-role"),
        ),
        MountKind(
            name="approle",
            role={
                "policies": "token_policies",
                **_TOKENS,
                "secret_id_ttl": "secret_id_ttl",
                "secret_id_num_uses": "secret_id_num_uses",
            },
            decisive=("secret_id_ttl", "secret_id_num_uses", "bound_cidrs"),
            negative=("wrong-secret", "unknown-role"),
            makes_secrets=True,
            locks_out=True,
        ),
        MountKind(
            name=USERPASS,
            folder="users",
            role={"policies": "token_policies", **_TOKENS},
            decisive=("bound_cidrs",),
            negative=("wrong-secret", "unknown-role"),
            makes_secrets=True,
            locks_out=True,
        ),
        MountKind(
            name=CERT,
            folder="certs",
            role={"policies": "token_policies", "allowed_common_names": "allowed_common_names", **_TOKENS},
            decisive=("certificate", "certificate_life", "allowed_common_names", "bound_cidrs"),
            negative=("wrong-certificate", "expired-certificate", "unknown-role"),
            makes_secrets=True,
            by_certificate=True,
            ours=("certificate", "certificate-life"),
        ),
        MountKind(
            name=TOKEN,
            folder="roles",
            # without any a token would have those of whoever makes it
            required=("policies",),
            role={
                "policies": "allowed_policies",
                "period": "token_period",
                "explicit_max_ttl": "token_explicit_max_ttl",
                "token_type": "token_type",
                "bound_cidrs": "token_bound_cidrs",
                "orphan": "orphan",
                "renewable": "renewable",
            },
            decisive=("bound_cidrs",),
            negative=("wrong-secret", "unknown-role", "disallowed-policy"),
            makes_secrets=True,
        ),
    )
}

NAMES: Final = tuple(_KINDS)


def of(name: str) -> MountKind:
    """Return a kind by its name. Raises KeyError for a name that is none."""
    return _KINDS[name]


def config_of_keys(cluster: str, literal: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of the config of a JWT mount: what is said of them literally, and whose keys it has else."""
    said = {name: value for name in of(JWT).config if (value := literal.get(name)) is not None}
    for url, authority in ASKED_AT.items():
        if url in said:
            ca = said.pop(authority, said[url])
            return said | ({} if ca == "omit" else {authority: ca})
    keys = said.get("jwt_validation_pubkeys") or ["cluster" if cluster else PROVIDER]
    return said | {"jwt_validation_pubkeys": tuple(keys)}
