"""What a scenario can say of roles of every kind, and of the config of a JWT mount: parts of `schema`."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from harness.scenario.values import (
    MOST,
    AliasSource,
    Bindings,
    CaText,
    Cidr,
    ClaimValue,
    Duration,
    KeysAt,
    KeyText,
    LabelKey,
    LabelValue,
    PolicyName,
    Text,
)


def _dashed(name: str) -> str:
    return name.rstrip("_").replace("_", "-")


class Part(BaseModel):
    """A part of a scenario, whose keys have dashes."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, alias_generator=_dashed, validate_by_name=True, validate_by_alias=True
    )


class JwtConfig(BaseModel):
    """Literal fields of auth/<mount>/config of a JWT mount, in Vault's spelling."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    jwt_validation_pubkeys: tuple[KeyText, ...] | None = Field(
        default=None,
        min_length=1,
        description="Of a JWT mount: the keys with which Vault checks the signature of tokens. cluster: those of the "
        "mount's cluster. The name of another cluster: those of that one. provider: that of who mints tokens. Or a PEM "
        "text. Left out, with the config: cluster, or provider where the mount has none.",
    )
    bound_issuer: Text | None = Field(
        default=None,
        description="Of a JWT mount: the issuer to demand. cluster: the cluster's own. provider: that of who mints "
        "tokens, whatever yours is called. Or a text.",
    )
    jwks_url: KeysAt | None = Field(
        default=None,
        description="Of a JWT mount, instead of jwt_validation_pubkeys: where Vault gets the keys. cluster, or the "
        "name of another one: its API server's /openid/v1/jwks.",
    )
    jwks_ca_pem: CaText | None = Field(
        default=None,
        description="The CA of jwks_url, as kubernetes_ca_cert has it. Left out: that of the same cluster.",
    )
    oidc_discovery_url: KeysAt | None = Field(
        default=None,
        description="Of a JWT mount, instead of jwt_validation_pubkeys: where Vault gets the discovery document that "
        "says where the keys are. cluster, or the name of another one. Its issuer has to be that very address.",
    )
    oidc_discovery_ca_pem: CaText | None = Field(
        default=None,
        description="The CA of oidc_discovery_url, as kubernetes_ca_cert has it. Left out: that of the same cluster.",
    )


class RoleBinds(Part):
    """Whom a role admits, and what most roles say."""

    service_accounts: Bindings = Field(
        default=(), min_length=1, description="Of a Kubernetes role: names, patterns such as team-*, or *."
    )
    namespaces: Bindings = Field(
        default=(), description="Namespaces, patterns such as team-*, or *. Left out, there is a namespace-selector."
    )
    policies: tuple[PolicyName, ...] = Field(default=(), description="Vault policies of the token.")
    audience: Text | None = Field(default=None, description="An audience the login token must have.")
    ttl: Duration | None = Field(
        default=None,
        description="Life of the token without renewal. Left out: not written, so Vault's default of 768h.",
    )
    max_ttl: Duration | None = Field(
        default=None, description="Life of the token with renewals. Left out: Vault's default of 768h."
    )


class RoleTokens(Part):
    """What kind of token a role gives. What is left out is not written."""

    period: Duration | None = Field(
        default=None, description="token_period: each renewal makes it live this long again, without any end."
    )
    explicit_max_ttl: Duration | None = Field(
        default=None, description="token_explicit_max_ttl: its end, whatever is renewed."
    )
    token_type: Literal["default", "service", "batch"] | None = Field(
        default=None, description="token_type. batch: it is not stored, and cannot be renewed."
    )
    num_uses: int | None = Field(
        default=None,
        ge=0,
        le=MOST,
        description="token_num_uses: how many requests it is good for; 0: any number. The questions of a rehearsal "
        "are requests as well, and so those that are no read are not asked of such a token.",
    )
    no_default_policy: bool | None = Field(
        default=None,
        description="token_no_default_policy. true: it has not the default policy, by which a token may look itself up "
        "and renew itself.",
    )
    bound_cidrs: tuple[Cidr, ...] | None = Field(
        default=None,
        min_length=1,
        description="token_bound_cidrs: from where one may log in and use the token. Processes ask from 127.0.0.1.",
    )
    namespace_selector: dict[LabelKey, LabelValue] | None = Field(
        default=None,
        min_length=1,
        description="bound_service_account_namespace_selector, from Vault 1.16.0 on: namespaces with all these labels "
        "are admitted as well. The reviewer must be able to read namespaces.",
    )
    alias_name_source: AliasSource | None = Field(
        default=None, description="Which name of the account its entity goes by, from Vault 1.9.0 on."
    )


class RoleTokensAgain(RoleTokens):
    """The same where a role is written again: what it had can be taken away."""

    bound_cidrs: tuple[Cidr, ...] | None = Field(
        default=None, description="token_bound_cidrs, instead of those in `auth`. An empty list: from anywhere."
    )


class RoleOfTokens(Part):
    """What a role of the token auth method says besides. What is left out is not written."""

    orphan: bool | None = Field(
        default=None,
        description="Of a token role: does a token outlive that by which it was made? Left out: Vault's default, no.",
    )
    renewable: bool | None = Field(
        default=None, description="Of a token role: can a token be renewed? Left out: Vault's default, yes."
    )


class RoleSecrets(Part):
    """What a role says of the secrets with which one logs in to it. What is left out is not written."""

    secret_id_ttl: Duration | None = Field(
        default=None, description="Of an AppRole: the life of a secret ID. Left out: it never ends."
    )
    secret_id_num_uses: int | None = Field(
        default=None,
        ge=0,
        le=MOST,
        description="Of an AppRole: how many logins a secret ID is good for; 0: any number.",
    )


class RoleCertificates(Part):
    """What a role says of the client certificates by which one logs in to it."""

    certificate: Literal["ca", "own"] | None = Field(
        default=None,
        description="Of a role of a cert mount, what Vault trusts. ca: the authority that issues the certificate of "
        "its apps, which has the role's name as common name. own: that certificate itself. Left out: ca.",
    )
    certificate_life: Duration | None = Field(
        default=None, description="Of a role of a cert mount: the life of that certificate. Left out: 24h."
    )
    allowed_common_names: tuple[Text, ...] | None = Field(
        default=None, min_length=1, description="Of a role of a cert mount: common names, or patterns such as web-*."
    )


class RoleClaims(Part):
    """What a role of a JWT mount demands of a token. What is left out is not written."""

    bound_audiences: tuple[Text, ...] | None = Field(
        default=None, min_length=1, description="Of a JWT role: audiences, one of which a token must have."
    )
    bound_subject: Text | None = Field(
        default=None, description="Of a JWT role: the subject, such as system:serviceaccount:apps:web."
    )
    user_claim: Text | None = Field(
        default=None, description="Of a JWT role: the claim by which its entity goes. Left out: sub."
    )
    user_claim_json_pointer: bool | None = Field(
        default=None,
        description="Of a JWT role, from Vault 1.11.0 on: may user-claim name what is within a claim, such as "
        "/kubernetes.io/serviceaccount/uid?",
    )
    bound_claims: dict[Text, ClaimValue] | None = Field(
        default=None,
        min_length=1,
        description="Of a JWT role: claims, each with the value that it must have, or a list of values, such as "
        "{project: shop}, or within a claim {/kubernetes.io/namespace: apps}.",
    )
    bound_claims_type: Literal["string", "glob"] | None = Field(
        default=None, description="Of a JWT role: glob lets the values of bound-claims have a *. Left out: string."
    )
    claim_mappings: dict[Text, Text] | None = Field(
        default=None,
        min_length=1,
        description="Of a JWT role: claims, each with the name of the alias metadata that it becomes.",
    )
    groups_claim: Text | None = Field(
        default=None, description="Of a JWT role: the claim with the names of external groups."
    )
