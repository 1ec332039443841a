"""What servers would write about a question that is asked on paper, in the shape in which they write it."""

from __future__ import annotations

from typing import Any

from harness.clients.vault_audit import CORRELATION_HEADER
from harness.drivers.log_tail import as_time
from harness.drivers.paper.state import ADDRESS, Token, extra
from harness.record import events
from harness.wait import now


def of_request(correlation: str, path: str, error: str, at: float, vault: str) -> events.VaultAuditLine:
    """Return Vault's audit entry of an answered request."""
    request: dict[str, Any] = {"id": correlation, "operation": "update", "path": path, "remote_address": ADDRESS}
    request["headers"] = {CORRELATION_HEADER.lower(): [correlation]}
    return events.VaultAuditLine(at=at, moment="", entry={"error": error, "request": request}, vault=vault)


def of_log(accessor: str, why: str, vault: str) -> events.VaultLogLine:
    """Return the line of Vault's log that says why a login was refused."""
    return events.VaultLogLine(
        at=now(),
        moment="",
        level="debug",
        module=f"auth.kubernetes.{accessor}",
        message="login unauthorized",
        fields={"err": why},
        vault=vault,
    )


def of_review(cluster: str, bearer: Token | None, status: int) -> events.ApiAuditLine:
    """Return the API server's audit entry of a TokenReview; *bearer* is None where it was not accepted."""
    at = now()
    user: dict[str, Any] = {}
    if bearer is not None:
        user = {"username": bearer.issued.subject, "extra": extra(bearer)}
    entry = {
        "verb": "create",
        "user": user,
        "responseStatus": {"code": status},
        "requestReceivedTimestamp": as_time(at),
    }
    return events.ApiAuditLine(at=at, moment="", cluster=cluster, entry=entry)
