"""The tokens that a Vault on paper gives, and what they are good for."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from typing import Any, Final

from harness.drivers.paper.answers import PaperAnswers
from harness.drivers.paper.checks import from_bound
from harness.drivers.paper.state import Common, VaultToken, given
from harness.knowledge import kubernetes_auth, policy_templates, token_store, vault_policies
from harness.rig.rig import Reply
from harness.scenario import plan
from harness.scenario.mount_kinds import KUBERNETES
from harness.scenario.topology import Topology
from harness.secret import Secret
from harness.wait import now

_OF_VAULT: Final = {"default": vault_policies.read("default", vault_policies.OF_EVERY_TOKEN)}
"""What Vault's own policy grants, as far as anybody asks here; a scenario may write another one in its place."""


class PaperTokens(PaperAnswers):
    """The token store of a Vault on paper."""

    _common: Common
    _vault_tokens: dict[str, VaultToken]
    _ever_given: dict[str, VaultToken]
    """those too that are lost"""
    _entities: dict[tuple[str, str], dict[str, str | None]]
    """what is known of the alias of each entity, by the mount and the entity"""
    _policies: dict[str, list[vault_policies.Rule]]
    _topology: Topology

    @abc.abstractmethod
    def enable_auth(self, mount: str, kind: str = KUBERNETES) -> str: ...

    def lookup_self(self, token: Secret) -> Reply:
        """Answer as the token store."""
        held = self._vault_tokens.get(token.reveal())
        data: dict[str, Any] = {"creation_time": int(now() if held is None else held.created)}
        if held is not None:
            data |= {"renewable": held.renewable, "creation_ttl": held.ttl, "ttl": held.left(self._common.passed)}
        return self._with_token(
            "lookup",
            token,
            data,
            allowed=self._may(*plan.OF_ITSELF["token-lookup"], token),
        )

    def renew_self(self, token: Secret) -> Reply:
        """Answer as the token store."""
        held = self._vault_tokens.get(token.reveal())
        right = self._may(*plan.OF_ITSELF["token-renew"], token)
        reply = self._with_token("renew", token, {"renewable": True}, allowed=right)
        refusal = self._not_renewed(held) if held is not None and reply.ok else None
        if held is not None and reply.ok and refusal is None:
            held.renewed = self._common.passed
        return reply if refusal is None else self._reply(*refusal)

    def keep_renewed(self, token: Secret) -> None:
        """Have a token live as long as whoever renews it again and again has it live."""
        self._vault_tokens[token.reveal()].kept = True

    def is_lost(self, token: Secret) -> bool:
        """Is a token refused that its holder has reason to believe in: given here, its life not over, unknown now?"""
        given_here = self._ever_given.get(token.reveal())
        unknown = token.reveal() not in self._vault_tokens or self._foreign(token) is not None
        return given_here is not None and unknown and not given_here.ended(self._common.passed)

    def _foreign(self, token: Secret) -> tuple[int, str] | None:
        given_here = self._ever_given.get(token.reveal())
        if given_here is None:
            return None
        return kubernetes_auth.foreign_token(given_here.given_by, self._served.version)

    @property
    def passed(self) -> float:
        """Return how many seconds have passed."""
        return self._common.passed

    def _not_renewed(self, held: VaultToken) -> tuple[int, str] | None:
        """Return how the renewal of a token is refused that may renew itself; None where it is renewed."""
        if held.uses == 0:
            return 400, token_store.GONE
        if held.renewable:
            return None
        return 400, token_store.BATCH_NOT_RENEWED if held.kind == "batch" else token_store.NOT_RENEWABLE

    def read_secret(self, path: str, token: Secret) -> Reply:
        """Answer as kv-v2, as far as the token's policies let it."""
        return self._with_token("read", token, {"keys": ["password"]}, path, allowed=self._may(path, "read", token))

    def engine_kind(self, path: str, token: Secret) -> Reply:
        """Answer of which kind the secrets engine at *path* is, to whoever may do anything there."""
        return self._with_token("kind", token, {}, path)

    def _let_in(
        self,
        mount: str,
        role: str,
        path: str,
        started: float,
        more: Mapping[str, Any],
        alias: policy_templates.Alias | None = None,
        shown: Secret | None = None,
    ) -> Reply:
        """Answer a login with a token of the *role*, and what *more* there is to say; *alias* is what is known of that
        of who logged in, with the certificate *shown* if any.
        """
        token = Secret(f"paper-{next(self._numbers):024d}")
        held = given(token, mount, role.lower(), self._configs[mount].roles[role.lower()])
        held.shown, held.made, held.renewed = shown, self._common.passed, self._common.passed
        held.accessor = self.enable_auth(mount, self._topology.mounts[mount].of_kind.name)
        if more.get("entity_id"):
            # a login renews the alias, for tokens that its entity has already too
            held.alias = self._entities.setdefault((mount, more["entity_id"]), {})
            held.alias.clear()
            held.alias.update(alias or {})
        self._vault_tokens[token.reveal()] = held
        held.given_by, held.ahead = self._served.version, self._ahead
        self._ever_given[token.reveal()] = held
        return self._reply(200, data={**held.said, **more}, token=token, path=path, started=started)

    def _may(self, path: str, right: str, token: Secret, fields: Mapping[str, Any] | None = None) -> bool:
        """Have the token's policies the *right* at *path*, with these *fields* if any are written there?

        Nobody knows here what a template stands for: it grants.
        """
        held = self._vault_tokens.get(token.reveal())
        named = () if held is None else dict.fromkeys((*held.policies, *(["default"] if held.has_default else ())))
        rules = [rule for name in named for rule in self._policies.get(name, _OF_VAULT.get(name, ()))]
        if held is not None:
            rules = policy_templates.filled(rules, held.accessor, held.alias)
        ruling = vault_policies.ruling(rules, path, right)
        refused = vault_policies.refused_parameter(ruling.rules, fields or {}, self._served.version)
        return (ruling.granted and refused is None) or policy_templates.undecided(rules, path)

    def _with_token(
        self, what: str, token: Secret, data: dict[str, Any], path: str = "", *, allowed: bool = True
    ) -> Reply:
        told = self._told(what, path)
        if told == "silent":
            return self._reply(None, "the paper Vault was told to stay silent")
        if foreign := self._foreign(token):
            return self._reply(*foreign)
        held = self._vault_tokens.get(token.reveal())
        if held is not None and not from_bound(held.role):
            return self._turn_away(403, "permission denied", path or "auth/token", now())
        lives = held is not None and not held.ended(self._common.passed)
        known = held is not None and lives and held.use()
        if told == "grant" or (known and told != "refuse" and allowed):
            return self._reply(200, data=data)
        if known or told == "refuse":
            return self._reply(403, "permission denied")
        return self._reply(*token_store.unknown_token(self._served.version))
