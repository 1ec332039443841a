"""Auth mounts on paper where one logs in with a secret: approle and userpass, by what is known of each version."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase as fnmatch
from typing import Any, Final, Self

from harness.drivers.paper.checks import from_bound
from harness.drivers.paper.state import VaultToken
from harness.drivers.paper.tokens import PaperTokens
from harness.knowledge import cert_logins, policy_templates, secret_logins, token_store
from harness.knowledge.versions import at_least
from harness.rig.rig import Credentials, Reply
from harness.scenario.mount_kinds import CERT, TOKEN
from harness.scenario.topology import Topology
from harness.secret import Secret
from harness.wait import now

FAULT: Final = 500


class PaperSecrets(PaperTokens):
    """The part of a Vault on paper that takes passwords and secret IDs."""

    _topology: Topology

    def make_secret_id(self, mount: str, role: str) -> Credentials:
        """Return a new secret ID, and the role's ID."""
        config, name = self._configs[mount], role.lower()
        made = Credentials(Secret(f"paper-role-id-of-{mount}-{name}"), Secret(f"paper-secret-id-of-{mount}-{name}"))
        config.secrets[name] = made
        if most := config.roles[name].get("secret_id_num_uses"):
            config.uses[name] = most
        return made

    def login_with(self, kind: str, mount: str, held: Credentials) -> Reply:
        """Answer as approle or userpass of this version would."""
        if kind == CERT:
            return self._login_by_certificate(mount, held)
        if kind == TOKEN:
            return self.create_token(str(held.name), held.secret)
        started, path = now(), f"auth/{mount}/login"
        path += f"/{held.name}" if kind == "userpass" else ""
        role = self._who(mount, held)
        told = self._told("login", role)
        if told == "silent":
            return self._turn_away(None, "the paper Vault was told to stay silent", path, started)
        refusal = None if told == "grant" else "wrong secret" if told == "refuse" else self._declines(mount, role, held)
        if refusal is not None:
            return self._turn_away(*secret_logins.answer(kind, refusal, self._served.version), path, started)
        name = {"username": role} if kind == "userpass" else {"role_name": role}
        more = {"metadata": name, "entity_id": f"entity of {mount}/{role}"}
        alias = policy_templates.of_user(role) if kind == "userpass" else policy_templates.of_app_role(role)
        return self._let_in(mount, role, path, started, more, alias)

    def make_token(self, policy: str) -> Secret:
        """Return the token by which a role's tokens are made."""
        return Secret(f"paper-token-of-{policy}")

    def create_token(self, role: str, token: Secret, policies: Sequence[str] = ()) -> Reply:
        """Answer as the token store, to whoever may have tokens made by one role alone."""
        started, path = now(), f"auth/token/create/{role}"
        told, config = self._told("login", role), self._configs.get(TOKEN)
        if told == "silent":
            return self._turn_away(None, "the paper Vault was told to stay silent", path, started)
        may = config is not None and token == self.make_token(f"rehearsal-gives-{role.lower()}")
        if config is None or told == "refuse" or (told is None and not (may and role.lower() in config.roles)):
            return self._turn_away(403, "permission denied", path, started)
        if policies:
            return self._turn_away(400, "token policies must be subset of the role's allowed policies", path, started)
        return self._let_in(TOKEN, role, path, started, {"entity_id": ""})

    def showing(self, certificate: Secret) -> Self:
        """Return this Vault: on paper there are no connections."""
        del certificate
        return self

    def _login_by_certificate(self, mount: str, held: Credentials) -> Reply:
        """Answer as the cert auth method of this version would."""
        started, path, role = now(), f"auth/{mount}/login", str(held.name)
        told = self._told("login", role)
        if told == "silent":
            return self._turn_away(None, "the paper Vault was told to stay silent", path, started)
        roles = self._configs[mount].roles if mount in self._configs else {}
        refusal = None if told == "grant" else "no match" if told == "refuse" else self._distrusts(roles, role, held)
        if refusal is not None:
            return self._turn_away(*cert_logins.answer(refusal, self._served.version), path, started)
        if not from_bound(roles[role.lower()]):
            return self._turn_away(403, "permission denied", path, started)
        more = {"metadata": {"cert_name": role, "common_name": role}, "entity_id": f"entity of {mount}/{role}"}
        return self._let_in(mount, role, path, started, more, policy_templates.of_name(role), shown=held.secret)

    def _distrusts(self, roles: Mapping[str, Any], name: str, held: Credentials) -> cert_logins.Refusal | None:
        # a prediction that has no such mount does without cryptography
        from harness.drivers.paper import certificates

        role = roles.get(name.lower()) if cert_logins.finds(name, self._served.version) else None
        trust = certificates.trust(str(role["certificate"]), held.secret) if role is not None else ""
        allowed = [one for one in str((role or {}).get("allowed_common_names") or "").split(",") if one]
        if not certificates.lives(held.secret, self._common.passed):
            return "expired"
        compared = trust == "number alone" and cert_logins.compares_keys(self._served.version)
        if not trust or (compared and not at_least(self._served.version, cert_logins.LEAF_COMPARED)):
            return "other key" if trust else "no match"
        named = certificates.common_name(held.secret)
        if allowed and not any(fnmatch(named, one) for one in allowed):
            return "constraints" if certificates.is_authority(str((role or {})["certificate"])) else "no match"
        return "other key" if compared else None

    def _who(self, mount: str, held: Credentials) -> str:
        """Return the role that *held* names, or nothing where there is none."""
        known = self._configs[mount].secrets if mount in self._configs else {}
        name = held.name.lower() if isinstance(held.name, str) else held.name
        return next((role for role, made in known.items() if made.name == name), "")

    def _declines(self, mount: str, role: str, held: Credentials) -> secret_logins.Refusal | None:
        if not role:
            return "unknown name"
        config = self._configs[mount]
        if (
            at_least(self._served.version, secret_logins.LOCKOUT)
            and config.failures.get(role, 0) >= secret_logins.TOO_OFTEN
        ):
            return "locked out"
        left = config.uses.get(role)
        if config.secrets[role].secret != held.secret or left == 0:
            config.failures[role] = config.failures.get(role, 0) + 1
            return "wrong secret"
        if left is not None:
            config.uses[role] = left - 1
        config.failures.pop(role, None)
        bound = self._topology.mounts[mount].kind in secret_logins.CHECKS_ADDRESS_AT_LOGIN
        return "address" if bound and not from_bound(config.roles[role]) else None

    def _not_renewed(self, held: VaultToken) -> tuple[int, str] | None:
        """Return how a renewal is refused: by the token store, or by the mount that gave the token, which it asks."""
        refusal = super()._not_renewed(held)
        if refusal is not None or held.mount not in self._topology.mounts:
            return refusal
        roles = self._configs[held.mount].roles if held.mount in self._configs else {}
        if held.shown is not None:
            distrust = self._distrusts(roles, held.role_name, Credentials(held.role_name, held.shown))
            if distrust is not None:
                status, words = cert_logins.answer(distrust, self._served.version)
                return status, f"failed to renew entry: {words}" if status == FAULT else words
        named = {name for name in str(roles[held.role_name].get("token_policies", "")).split(",") if name}
        compares = self._topology.mounts[held.mount].kind in token_store.COMPARES_POLICIES
        if at_least(self._served.version, token_store.FOLDS_POLICIES):
            named = {name.lower() for name in named}
        changed = compares and named - {"default"} != {*held.policies} - {"default"}
        return (FAULT, f"failed to renew entry: {token_store.POLICIES_CHANGED}") if changed else None
