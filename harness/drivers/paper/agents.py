"""A Vault Agent on paper: it asks what a real one asks, and is answered as the app itself would be."""

from __future__ import annotations

from typing import Any, Protocol

import msgspec

from harness.rig.agents import Agent
from harness.rig.rig import Reply, VaultClient
from harness.secret import Secret


class Asked(VaultClient, Protocol):
    """What an agent asks beside an app."""

    def engine_kind(self, path: str, token: Secret) -> Reply: ...


def run(agent: Agent, asked: Asked, jwt: Secret) -> Reply:
    """Return what comes of an agent that logs in to the Vault *asked* and reads what it would write to files."""
    login = asked.login(agent.mount, agent.role, jwt)
    path, reply, files = f"auth/{agent.mount}/login", login, 0
    if login.token is not None:
        for path in agent.reads:
            asked.engine_kind(path, login.token)
            reply = asked.read_secret(path, login.token)
            if not reply.ok:
                break
            files += 1
    data: dict[str, Any] = {"agent": agent.version, "exit": 0 if reply.ok else None, "token": login.ok, "files": files}
    if reply.status is not None and not reply.ok:
        data["refused"] = path
    return msgspec.structs.replace(login, status=reply.status, error=reply.error, data=data, token=None)
