"""Brings what the servers wrote about a moment into the journal: audit entries, log lines, TokenReviews."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any, Final, Protocol

from harness import wait
from harness.clients.kube import Kube
from harness.clients.vault import Vault
from harness.drivers.log_tail import Tail, as_json, klog_seconds, seconds_of
from harness.record import events
from harness.record.journal import Journal, correlation
from harness.wait import now

AUDIT_LAG_SECONDS: Final = 20
_MARK: Final = "rehearsal-mark-"
_LOUD: Final = frozenset({"warn", "error"})
_BEARER_REFUSED: Final = "Unable to authenticate the request"

# What of an audit entry is evidence. Request and response bodies are long hashes that nothing is joined by.
_VAULT_REQUEST: Final = (
    "id", "operation", "path", "mount_type", "mount_accessor", "remote_address", "remote_port", "headers",
)  # fmt: skip
_API_ENTRY: Final = (
    "auditID", "stage", "requestURI", "verb", "user", "sourceIPs", "userAgent", "responseStatus",
    "requestReceivedTimestamp", "stageTimestamp", "annotations",
)  # fmt: skip


class Lines(Protocol):
    """Something that is read from where it was last read to."""

    def lines(self) -> list[str]: ...


class VaultLogs(Protocol):
    """A Vault whose words can be read; the two may be readers of one file, in which each passes over the other's."""

    @property
    def client(self) -> Vault: ...
    @property
    def log(self) -> Tail: ...
    @property
    def audit(self) -> Lines: ...


class ClusterLogs(Protocol):
    """A cluster whose API server's words can be read."""

    name: str
    kube: Kube

    @property
    def log(self) -> Tail: ...
    @property
    def audit(self) -> Tail: ...


class Collector:
    """Reads the logs of one rig. Lines from before a moment's first question are not its evidence."""

    def __init__(
        self,
        journal: Journal,
        server: Callable[[], VaultLogs],
        planes: Mapping[str, ClusterLogs],
        words: Callable[[], Mapping[str, Tail]] | None = None,
    ) -> None:
        """*server* is the Vault that answers, or the node of it that leads; *words* are the logs of all nodes."""
        self._journal, self._asked, self._planes, self._words = journal, server, planes, words
        self._numbers = itertools.count(1)

    @property
    def _server(self) -> VaultLogs:
        return self._asked()

    def _logs(self) -> Mapping[str, Tail]:
        """Return the logs of Vault by the names of its nodes, which is empty for the only one."""
        return self._words() if self._words is not None else {"": self._server.log}

    def skip(self) -> None:
        """Pass over everything written so far: it belongs to no moment. Raises as `gather`."""
        self._vault_caught_up([])
        for log in self._logs().values():
            log.lines()
        for plane in self._planes.values():
            plane.log.lines()

    def gather(self, moment: str) -> None:
        """Write down every line since the last call, once all of them have reached their files.

        Raises NotReady, Unreachable or RigError where an audit log does not catch up; what had been written until then
        is in the journal all the same.
        """
        with ExitStack() as stack:
            # Whatever one server does, what the others wrote is evidence. Last in, first out.
            stack.callback(self._vault_log, moment)
            stack.callback(self._vault_audit, moment)
            for name, plane in tuple(self._planes.items())[::-1]:
                stack.callback(self._plane, name, plane, moment)

    def reviews(self, cluster: str) -> list[dict[str, Any]]:
        """Return the TokenReviews that *cluster* was asked for since the last call, or a `gather`: what is returned
        here is brought into no journal. Raises as `gather`.
        """
        found: list[dict[str, Any]] = []
        self._catch_up(self._planes[cluster], found)
        return [entry for entry in found if not str(entry.get("userAgent", "")).startswith(_MARK)]

    def _plane(self, name: str, plane: ClusterLogs, moment: str) -> None:
        found: list[dict[str, Any]] = []
        try:
            self._catch_up(plane, found)
        finally:
            for entry in found:
                self._token_review(name, entry, moment)
            for line in plane.log.lines():
                if _BEARER_REFUSED in line:
                    at = klog_seconds(line, now(), plane.log.zone)
                    self._journal.write(events.ApiLogLine(at=at, moment=moment, cluster=name, message=line))

    def _token_review(self, cluster: str, entry: dict[str, Any], moment: str) -> None:
        if str(entry.get("userAgent", "")).startswith(_MARK):
            return
        at = seconds_of(str(entry.get("requestReceivedTimestamp", "")))
        kept: dict[str, Any] = {key: entry[key] for key in _API_ENTRY if key in entry}
        self._journal.write(events.ApiAuditLine(at=at, moment=moment, cluster=cluster, entry=kept))

    def _catch_up(self, plane: ClusterLogs, found: list[dict[str, Any]]) -> None:
        """Add the TokenReviews since the last call to *found*, until the audit log shows a mark of ours."""
        mark = f"{_MARK}{next(self._numbers)}"
        marked = False

        def caught_up() -> bool:
            nonlocal marked
            if not marked:
                # an API server that is away for a moment is asked again: it is none that was lost
                plane.kube.mark_audit_log(mark)
                marked = True
            found.extend(entry for line in plane.audit.lines() if (entry := as_json(line)))
            return any(entry.get("userAgent") == mark for entry in found)

        _await(caught_up, plane.name)

    def _vault_audit(self, moment: str) -> None:
        found: list[dict[str, Any]] = []
        mark = ""
        try:
            mark = self._vault_caught_up(found)
        finally:
            self._vault_entries([entry for entry in found if not mark or correlation(entry) != mark], moment)

    def _vault_caught_up(self, found: list[dict[str, Any]]) -> str:
        """Add Vault's audited answers since the last call to *found*, until a mark of ours is one; return the mark."""
        mark = self._server.client.mark_audit_log()

        def caught_up() -> bool:
            entries = (as_json(line) for line in self._server.audit.lines())
            found.extend(entry for entry in entries if entry and entry.get("type") == "response")
            return not mark or any(correlation(entry) == mark for entry in found)

        _await(caught_up, "Vault")
        return mark

    def _vault_entries(self, entries: Sequence[dict[str, Any]], moment: str) -> None:
        for entry in entries:
            request = entry.get("request") or {}
            kept = {key: request[key] for key in _VAULT_REQUEST if request.get(key)}
            slim = {"time": entry.get("time", ""), "error": entry.get("error", ""), "request": kept}
            self._journal.write(events.VaultAuditLine(at=seconds_of(slim["time"]), moment=moment, entry=slim))

    def _vault_log(self, moment: str) -> None:
        for node, log in self._logs().items():
            self._node_log(node, log.lines(), moment)

    def _node_log(self, node: str, lines: Sequence[str], moment: str) -> None:
        for line in lines:
            entry = as_json(line)
            if entry is None:
                continue
            level, module = entry.pop("@level", ""), entry.pop("@module", "")
            if level in _LOUD or module.startswith("auth."):
                at, message = seconds_of(entry.pop("@timestamp", "")), entry.pop("@message", "")
                self._journal.write(
                    events.VaultLogLine(
                        at=at, moment=moment, level=level, module=module, message=message, fields=entry, node=node
                    )
                )


def _await(caught_up: Callable[[], bool], name: str) -> None:
    wait.until(
        caught_up,
        what=f"the audit log of {name} to catch up",
        seconds=AUDIT_LAG_SECONDS,
        advice="without it nobody can tell who reviewed a login; end other work on this machine and run again",
    )
