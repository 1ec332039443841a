"""JWT mounts on paper: what a Vault that checks signatures itself answers, by what is known of its version."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from typing import Any

from harness.drivers.paper.checks import from_bound, key_of
from harness.drivers.paper.state import Config, Token
from harness.drivers.paper.tokens import PaperTokens
from harness.host import pki
from harness.knowledge import jwt_auth
from harness.knowledge.jwt_auth import Refusal
from harness.rig.rig import Reply
from harness.secret import Secret
from harness.wait import now


class PaperJwts(PaperTokens):
    """The part of a Vault on paper that checks the signatures of tokens itself."""

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
        claims, signed = self._claims(config, jwt)
        refusal = self._of_claims(config, wanted, claims, signed=signed)
        if told is False:
            refusal = "signature"
        if refusal is not None and told is not True:
            return self._turn_away(*jwt_auth.answer(refusal, self._served.version), path, started)
        if not from_bound(wanted):
            return self._turn_away(403, "permission denied", path, started)
        more = {"metadata": {"role": role}, "entity_id": f"entity of {mount}/{claims.get('sub')}"}
        return self._let_in(mount, role, path, started, more)

    def _claims(self, config: Config, jwt: Secret) -> tuple[dict[str, Any], bool]:
        """Return what a token says, and whether one of the keys of the config has signed it."""
        # a prediction that has no such mount does without it
        import jwt as tokens

        keys = config.fields.get("jwt_validation_pubkeys") or ()
        try:
            return pki.claims_of(jwt), any(pki.is_signed(jwt, key) for key in keys if "BEGIN" in key)
        except tokens.PyJWTError:
            # a token of a cluster on paper, which is none
            found = self._find(jwt)
            token = (found or self._named(jwt)).issued
            said = {"iss": token.issuer, "sub": token.subject, "aud": list(token.audiences), "exp": token.expires}
            return said, found is not None and key_of(token.cluster) in keys

    def _of_claims(
        self, config: Config, role: Mapping[str, Any], claims: Mapping[str, Any], *, signed: bool
    ) -> Refusal | None:
        audience = claims.get("aud")
        mine = [audience] if isinstance(audience, str) else list(audience or ())
        bound = [one for one in str(role.get("bound_audiences", "")).split(",") if one]
        version = self._served.version
        needs = jwt_auth.needs_bound_audiences(version, listed=not isinstance(audience, str))
        wrong: dict[Refusal, bool] = {
            "signature": not signed,
            "issuer": config.fields.get("bound_issuer", claims.get("iss")) != claims.get("iss"),
            "subject": role.get("bound_subject", claims.get("sub")) != claims.get("sub"),
            "audience": bool(bound) and not set(mine) & set(bound),
            "no audiences bound": bool(mine) and not bound and needs,
        }
        return next((check for check in jwt_auth.order(version) if wrong.get(check)), None)
