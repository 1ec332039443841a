"""Secrets engines on paper that make secrets as they are asked for."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import msgspec

from harness.drivers.paper.database import AWAY, PaperDatabase
from harness.drivers.paper.secrets import PaperSecrets
from harness.drivers.paper.state import Common, Leased, VaultToken
from harness.host import pki
from harness.knowledge import server_settings
from harness.knowledge.token_store import DEFAULT_TTL
from harness.rig.rig import Given, Reply
from harness.scenario import engine_kinds
from harness.scenario.engine_kinds import EngineSpec
from harness.scenario.plan import OF_ITSELF
from harness.scenario.schema_engines import ToDatabase
from harness.scenario.topology import KV_V2
from harness.scenario.values import seconds
from harness.secret import Secret


class PaperEngines(PaperSecrets):
    """The part of a Vault on paper that makes secrets, and knows their leases."""

    _common: Common
    _vault_tokens: dict[str, VaultToken]

    def database(self) -> PaperDatabase:
        """Return the PostgreSQL."""
        return PaperDatabase(self._common.users, self._common.passed, away=self._common.database_away)

    def touch_database(self, what: ToDatabase) -> float:
        """Take note of whether it is away."""
        self._common.database_away = what == "stop"
        return 0.0

    def enable_engine(self, path: str, kind: str) -> None:
        """Do nothing: every engine is there."""
        del path, kind

    def write(self, path: str, fields: Mapping[str, Any]) -> None:
        """Do nothing: what an engine has by name is in the topology."""
        del path, fields

    def read_whole(self, path: str) -> Reply:
        """Return what an engine has by name, or the CA of a pki engine."""
        if path.endswith(server_settings.HELP):
            kind = self._topology.also_mounted[path.removesuffix(f"/{server_settings.HELP}")]
            gone = server_settings.removed(kind, self._served.version)
            return self._reply(200) if gone is None else self._reply(404, server_settings.NO_BACKEND)
        if path.endswith("/cert/ca"):
            return self._reply(200, data={"certificate": self._signer().certificate})
        made = self._topology.makers[self._topology.engine_of(path)]
        return self._reply(200, data=dict(made.has[path.rpartition("/")[2]]))

    def draw(self, path: str, token: Secret, body: Mapping[str, Any] | None) -> Reply:
        """Answer as the engine that has *path*, as far as the token's policies let it. What is written is forgotten."""
        right = "read" if body is None else "update"
        reply = self._with_token("read", token, {}, path, allowed=self._may(path, right, token, body or {}))
        made = self._topology.engines.get(self._topology.engine_of(path))
        if not reply.ok:
            return reply
        if isinstance(made, EngineSpec) and made.kind == engine_kinds.DATABASE and self._common.database_away:
            return self._reply(500, AWAY)
        if not isinstance(made, EngineSpec):
            return msgspec.structs.replace(reply, status=200 if made == KV_V2 else 204)
        return self._made(reply, made, path.rpartition("/")[2], body or {}, self._vault_tokens.get(token.reveal()))

    def renew_lease(self, lease: Secret, token: Secret) -> Reply:
        """Answer as Vault does whose lease ended, or was revoked, or whose database is away."""
        passed = self._common.passed
        reply = self._with_token(
            "renew", token, {"renewable": True}, allowed=self._may(*OF_ITSELF["old-lease-renew"], token)
        )
        if not reply.ok:
            return reply
        leased = self._common.users.get(lease.reveal())
        if leased is None or leased.revoked:
            return self._reply(400, "lease not found")
        if leased.ended(passed):
            # it is there until it could be revoked
            return self._reply(400, "lease expired")
        if self._common.database_away:
            return self._reply(400, f"failed to renew entry: {AWAY}")
        leased.renewed = passed
        return msgspec.structs.replace(reply, data={**reply.data, "lease_duration": int(leased.ends - passed)})

    def revoke_lease(self, lease: Secret) -> Reply:
        """Have the user of the database be no more whose lease it was."""
        self._common.users.pop(lease.reveal(), None)
        return self._reply(204)

    def revoke_ended(self, since: float = -math.inf) -> None:
        """Have Vault try to revoke the leases that ended *since* then, and those that it tries again by now.

        At its start it tries all that ended.
        """
        for leased in self._common.users.values():
            leased.revoke_if_due(since, self._common.passed, self._served.version, away=self._common.database_away)

    def _made(
        self, reply: Reply, made: EngineSpec, name: str, body: Mapping[str, Any], holder: VaultToken | None
    ) -> Reply:
        number, fields, lease = next(self._numbers), made.has[name], None
        life = seconds(str(fields.get("default_ttl") or DEFAULT_TTL)) if made.of_kind.leased else 0
        if made.kind == engine_kinds.DATABASE:
            user, password = f"v-paper-{name}-{number:06d}", Secret(f"paper-password-{number:012d}")
            most, passed = seconds(str(fields.get("max_ttl") or DEFAULT_TTL)), self._common.passed
            self._common.users[user] = Leased(password, holder, life, most, passed, passed)
            parts, lease = {"username": Secret(user), "password": password}, Secret(user)
        elif made.kind == engine_kinds.TRANSIT:
            ciphertext = Secret(f"vault:v1:paper-{number:012d}")
            parts = (
                {"plaintext": Secret(engine_kinds.PLAINTEXT)} if "ciphertext" in body else {"ciphertext": ciphertext}
            )
        else:
            life_of_it = seconds(str(fields.get("ttl") or DEFAULT_TTL))
            parts = {"certificate": Secret(self._signer().issue(str(body["common_name"]), life_of_it)[0])}
        data = {"keys": sorted(parts), "lease_duration": life, "renewable": made.of_kind.leased}
        return msgspec.structs.replace(reply, data=data, given=Given(parts, lease))

    def _signer(self) -> pki.ClientAuthority:
        """Return the authority of every pki engine: it is made when somebody asks for it."""
        if self._common.authority is None:
            self._common.authority = pki.ClientAuthority()
        return self._common.authority
