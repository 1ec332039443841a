"""What is said to the secrets engines of a Vault that make secrets as they are asked for: a part of `vault`."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from harness.rig.rig import Given, Reply
from harness.secret import Secret

_OF_LEASE: Final = ("lease_duration", "renewable")


class VaultEngines(abc.ABC):
    """The part of a Vault's client that asks engines, and tells them what they have."""

    root: Secret | None

    @abc.abstractmethod
    def _ask(self, method: str, path: str, token: Secret | None = None, **body: Any) -> Reply: ...

    @abc.abstractmethod
    def _exchange(
        self, method: str, path: str, token: Secret | None = None, **body: Any
    ) -> tuple[Reply, Mapping[str, Any]]: ...

    @abc.abstractmethod
    def _tell(self, method: str, path: str, body: Mapping[str, Any]) -> None: ...

    def draw(self, path: str, token: Secret, body: Mapping[str, Any] | None) -> Reply:
        """Ask a secrets engine for what it makes; without a *body* it is read. What it made is in the reply's `given`.

        The answer's data keep the names of its parts, and of its lease how long it lives.
        """
        reply, said = self._exchange("get" if body is None else "post", path, token, **({"json": body} if body else {}))
        return _made(reply, said)

    def renew_lease(self, lease: Secret, token: Secret) -> Reply:
        """Renew a lease."""
        reply, said = self._exchange("put", "sys/leases/renew", token, json={"lease_id": lease.reveal()})
        return _made(reply, said)

    def revoke_lease(self, lease: Secret) -> Reply:
        """Revoke a lease as the administrator; the answer comes once that is done."""
        return self._ask("put", "sys/leases/revoke", self.root, json={"lease_id": lease.reveal(), "sync": True})

    def read_whole(self, path: str) -> Reply:
        """Read what is no secret at a full API path as the administrator, with its values."""
        return self._ask("get", path, self.root)

    def enable_engine(self, path: str, kind: str) -> None:
        """Mount a secrets engine."""
        self._tell("post", f"sys/mounts/{path}", {"type": kind})

    def write(self, path: str, fields: Mapping[str, Any]) -> None:
        """Write at a full API path as the administrator."""
        self._tell("post", path, revealed(fields))


def revealed(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return fields as they are sent."""
    return {name: value.reveal() if isinstance(value, Secret) else value for name, value in fields.items()}


def _made(reply: Reply, said: Mapping[str, Any]) -> Reply:
    """Return a reply with what a secrets engine made, of which its data have the names and no values."""
    if not reply.ok:
        return msgspec.structs.replace(reply, data={})
    parts = {name: Secret(value) for name, value in (said.get("data") or {}).items() if isinstance(value, str)}
    shown = {"keys": sorted(said.get("data") or {}), **{name: said[name] for name in _OF_LEASE if name in said}}
    lease = said.get("lease_id")
    return msgspec.structs.replace(reply, data=shown, given=Given(parts, Secret(lease) if lease else None))
