"""JWT mounts on paper: what a Vault that checks signatures itself answers, by what is known of its version."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from typing import Any

from harness.drivers.paper.checks import from_bound
from harness.drivers.paper.state import Common, Config, Token, host_of
from harness.drivers.paper.tokens import PaperTokens
from harness.host import pki
from harness.knowledge import jwt_auth, policy_templates
from harness.knowledge.jwt_auth import Refusal
from harness.knowledge.versions import at_least
from harness.rig.rig import IssuedToken, Reply
from harness.scenario.mount_kinds import ASKED_AT
from harness.secret import Secret
from harness.wait import now


class PaperJwts(PaperTokens):
    """The part of a Vault on paper that checks the signatures of tokens itself."""

    _common: Common

    @abc.abstractmethod
    def _ca(self, cluster: str) -> str: ...

    @abc.abstractmethod
    def _find(self, jwt: Secret) -> Token | None: ...

    @abc.abstractmethod
    def _named(self, jwt: Secret) -> Token: ...

    def _login_by_key(self, mount: str, role: str, jwt: Secret, *, told: bool | None) -> Reply:
        """Answer as the JWT auth method would; *told*: what it was told to answer, or None."""
        started, path, config = now(), f"auth/{mount}/login", self._configs[mount]
        if role.lower() not in config.roles:
            return self._turn_away(*jwt_auth.answer("unknown role", self._served.version, role), path, started)
        wanted = config.roles[role.lower()]
        claims, key = self._claims(config, jwt)
        discovery = "oidc_discovery_url" in config.fields
        refusal: Refusal | None = None if from_bound(wanted) else "address"
        refusal = refusal or (self._discovery(config) if discovery else None)
        refusal = refusal or self._first(config, wanted, claims, "" if told is False else key)
        named = self._unanswered(config) if refusal in ("keys refused", "discovery refused") else ""
        if refusal is None and (other := jwt_auth.refused_claim(claims, wanted, self._served.version)) is not None:
            refusal, named = other
        if refusal is not None and told is not True:
            return self._turn_away(
                *jwt_auth.answer(refusal, self._served.version, named, discovery=discovery), path, started
            )
        mapped = {said: has for claim, said in (wanted.get("claim_mappings") or {}).items()
                  if (has := jwt_auth.claim_at(claims, claim)) is not None}  # fmt: skip
        whom = jwt_auth.claim_at(claims, str(wanted.get("user_claim")))
        more = {"metadata": {"role": role, **mapped}, "entity_id": f"entity of {mount}/{whom}"}
        mappings, version = wanted.get("claim_mappings") or {}, self._served.version
        alias = policy_templates.of_claims(claims, str(wanted.get("user_claim")), mappings, role, version)
        return self._let_in(mount, role, path, started, more, alias)

    def _claims(self, config: Config, jwt: Secret) -> tuple[dict[str, Any], str]:
        """Return what a token says, and which key has signed it: empty where it is none that is known here."""
        # a prediction that has no such mount does without it
        import jwt as tokens

        keys = config.fields.get("jwt_validation_pubkeys") or ()
        try:
            return pki.claims_of(jwt), next((key for key in keys if "BEGIN" in key and pki.is_signed(jwt, key)), "")
        except tokens.PyJWTError:
            # a token of a cluster on paper, which is none
            found = self._find(jwt)
            token = (found or self._named(jwt)).issued
            said: dict[str, Any] = {"iss": token.issuer, "sub": token.subject}
            if token.audiences:
                said["aud"] = list(token.audiences)
            if token.expires:
                # what a Secret holds says neither when it was issued nor when it ends, and names its account otherwise
                said |= {"iat": token.issued, "nbf": token.issued, "exp": token.expires, "jti": token.jti}
                said |= of_pod(token)
            return said, found.key if found is not None else ""

    def _first(self, config: Config, role: Mapping[str, Any], claims: Mapping[str, Any], key: str) -> Refusal | None:
        """Return the first check that fails of those of the signature and of what a token claims; None: all pass."""
        wrong = self._wrong(config, role, claims)
        for check in jwt_auth.order(self._served.version, discovery="oidc_discovery_url" in config.fields):
            if check == "signature" and (refusal := self._of_keys(config, key)) is not None:
                return refusal
            if wrong.get(check):
                return check
        return None

    def _discovery(self, config: Config) -> Refusal | None:
        """Return why Vault does not take the discovery document, if it has not read it since its start."""
        url, cluster = config.fields["oidc_discovery_url"], self._whose(config)
        if config.discovered:
            return None
        if not self._common.published[cluster] or self._unanswered(config):
            return "discovery refused"
        config.discovered = self._common.issuers[cluster][0] == url
        return None if config.discovered else "discovered issuer"

    def _whose(self, config: Config) -> str:
        """Return the cluster that a mount asks for keys."""
        url = config.fields.get("oidc_discovery_url") or config.fields["jwks_url"]
        return next(name for name in self._common.keys if str(url).startswith(host_of(name)))

    def _of_keys(self, config: Config, key: str) -> Refusal | None:
        """Return why no key that the mount has, or gets, would do for a token that is signed with *key*."""
        if not {"oidc_discovery_url", "jwks_url"} & {*config.fields}:
            return None if key in (config.fields.get("jwt_validation_pubkeys") or ()) else "signature"
        return self._fetched(config, self._whose(config), key)

    def _unanswered(self, config: Config) -> str:
        """Return in Vault's words why it gets no answer at all when it asks for keys; nothing where it gets one."""
        cluster = self._whose(config)
        get = f'Get "{host_of(cluster)}/openid/v1/jwks": '
        if cluster in self._common.hidden:
            return f"{get}dial tcp: connect: connection refused"
        known = [config.fields[one] for one in ASKED_AT.values() if one in config.fields]
        if known and "-----BEGIN" not in str(known[0]) and known[0] != self._ca(cluster):
            return f"{get}x509: certificate signed by unknown authority"
        return ""

    def _fetched(self, config: Config, cluster: str, key: str) -> Refusal | None:
        """Return why none of the keys that Vault has got from *cluster*, or gets now, is *key*."""
        if config.fetched is not None and key in config.fetched:
            return None
        if config.fetched is not None and not at_least(self._served.version, jwt_auth.REFETCHES):
            return "no fetched key"
        if not self._common.published[cluster] or self._unanswered(config):
            return "keys refused"
        config.fetched = tuple(self._common.keys[cluster])
        return None if key in config.fetched else "no fetched key"

    def _wrong(self, config: Config, role: Mapping[str, Any], claims: Mapping[str, Any]) -> dict[Refusal, bool]:
        audience = claims.get("aud")
        mine = [audience] if isinstance(audience, str) else list(audience or ())
        bound = [one for one in str(role.get("bound_audiences", "")).split(",") if one]
        version = self._served.version
        needs = jwt_auth.needs_bound_audiences(version, listed=not isinstance(audience, str))
        return {
            "no times": not {"iat", "nbf", "exp"} & {*claims},
            "expired": 0 < claims.get("exp", 0) <= now(),
            "issuer": claims.get("iss") not in self._issuers(config, claims),
            "subject": role.get("bound_subject", claims.get("sub")) != claims.get("sub"),
            "audience": bool(bound) and not set(mine) & set(bound),
            "no audiences bound": bool(mine) and not bound and needs,
        }

    def _issuers(self, config: Config, claims: Mapping[str, Any]) -> tuple[Any, ...]:
        """Return the issuers of which the token may be: where nothing is compared, its own."""
        wanted = config.fields.get("bound_issuer")
        if not at_least(self._served.version, jwt_auth.CAP):
            wanted = config.fields.get("oidc_discovery_url", wanted)
        return (claims.get("iss") if wanted is None else wanted,)


def of_pod(token: IssuedToken) -> dict[str, Any]:
    """Return what an API server says in a token of the account and the Pod that it is of."""
    *_, space, name = token.subject.split(":")
    account = {"name": name, "uid": f"uid of {token.cluster}/{space}/{name}"}
    pod = {"pod": {"name": token.pod, "uid": token.pod_uid}} if token.pod else {}
    return {"kubernetes.io": {"namespace": space, "serviceaccount": account, **pod}}
