"""What is said to Vault about its audit devices."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from harness.errors import RigError
from harness.rig.rig import Reply
from harness.secret import Secret

CORRELATION_HEADER: Final = "X-Rehearsal-Id"
"""Vault's audit log repeats this header, so that an audit entry is joined to its request and not guessed at."""


class AuditDevice(NamedTuple):
    """An audit device, as Vault is told of it."""

    kind: str
    options: Mapping[str, str]
    at_start: bool = True
    """is it enabled as soon as Vault is initialised?"""


class VaultAudit(abc.ABC):
    """The part of the way to ask a Vault that is about what it writes down of every request."""

    root: Secret | None
    audit: Mapping[str, AuditDevice]
    """the audit devices that it can enable, by name"""

    @abc.abstractmethod
    def _ask(self, method: str, path: str, token: Secret | None = None, **body: Any) -> Reply: ...

    @abc.abstractmethod
    def _tell(self, method: str, path: str, body: Mapping[str, Any]) -> None: ...

    @abc.abstractmethod
    def write_back(self, path: str, fields: Mapping[str, Any]) -> Reply: ...

    def enable_audit(self) -> None:
        """Switch the audit log on, with the correlation header in clear."""
        self._tell("put", f"sys/config/auditing/request-headers/{CORRELATION_HEADER}", {"hmac": False})
        for name, device in self.audit.items():
            if device.at_start:
                self.enable_device(name)

    def disable_audit(self) -> None:
        """Switch the audit log off, where it is on: the last device writes that down, and no answer is of interest."""
        for name in self.audit:
            self._ask("delete", f"sys/audit/{name}", self.root)

    def enable_device(self, name: str) -> None:
        """Enable an audit device."""
        device = self.audit[name]
        self._tell("put", f"sys/audit/{name}", {"type": device.kind, "options": dict(device.options)})

    def disable_device(self, name: str) -> None:
        """Disable an audit device. Vault audits that request as well."""
        reply = self._ask("delete", f"sys/audit/{name}", self.root)
        if not reply.ok:
            raise RigError(f"Vault declined to disable audit/{name}: {reply.came} {reply.error}".rstrip())

    def audit_hash(self, name: str, text: str) -> str:
        """Return as what an audit device writes a *text* down; nothing where Vault does not say."""
        return str(self.write_back(f"sys/audit-hash/{name}", {"input": text}).data.get("hash", ""))

    def mark_audit_log(self) -> str:
        """Have the audit log write an entry of ours, and return by what to know it; "" where it was not answered.

        It is written before the answer is given: all before it are then written too.
        """
        reply = self._ask("get", "auth/token/lookup-self", self.root)
        return reply.correlation if reply.ok else ""
