"""How a Vault on paper answers a request: what it was told to say, its reply, and the trace that this leaves."""

from __future__ import annotations

import abc
from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal

from harness.drivers.paper import evidence
from harness.drivers.paper.state import Config
from harness.record.events import AnyEvent
from harness.rig.rig import Reply
from harness.scenario.course import Serve
from harness.secret import Secret
from harness.wait import now

Told = Literal["grant", "refuse", "silent"]
Script = Mapping[tuple[str, str, str], Told]
"""(what, name, version) -> what to answer, whatever the knowledge says. what is login (name: the role), lookup, renew
(no name), read (the path), or review (the mount): refuse it, and the API server does not accept Vault's bearer."""


_OF_A_NODE: Final = frozenset({"sealed", "leader_address"})
"""What every node tells of itself, whoever leads: its health, its seal, and whom it takes for the leader."""


class PaperAnswers(abc.ABC):
    """The part of a Vault on paper that every kind of request meets."""

    _served: Serve
    _called: str
    """by what name the record tells this Vault from others"""
    _ahead: int = 0
    """so many seconds the clock of whoever leads is ahead"""
    _script: Script
    _numbers: Iterator[int]
    _pending: list[AnyEvent]
    """the evidence that nobody has gathered yet"""

    @property
    @abc.abstractmethod
    def _configs(self) -> dict[str, Config]: ...

    @property
    @abc.abstractmethod
    def _silenced(self) -> bool:
        """Can none of its audit devices write?"""

    @property
    @abc.abstractmethod
    def _storage_away(self) -> bool:
        """Are too few servers of its storage there to serve?"""

    @property
    @abc.abstractmethod
    def _leaderless(self) -> tuple[int | None, str] | None:
        """How the node that is asked answers where too few are there for one to lead: its status and its words."""

    def _told(self, what: str, name: str) -> Told | None:
        return self._script.get((what, name, self._served.version))

    def _turn_away(self, status: int | None, text: str, path: str, started: float) -> Reply:
        return self._reply(status, text, path=path, started=started)

    def _reply(
        self,
        status: int | None,
        error: str = "",
        *,
        data: dict[str, Any] | None = None,
        token: Secret | None = None,
        path: str = "",
        started: float = 0.0,
    ) -> Reply:
        correlation = f"rehearsal-{next(self._numbers):06d}"
        ended = now()
        if self._silenced and status is not None and "sealed" not in (data or {}):
            # how it is, and whether it is sealed, nobody audits
            return Reply(500, "internal error", {}, None, started or ended, ended, correlation)
        alone = self._leaderless
        if alone is not None and status is not None and not _OF_A_NODE.intersection(data or {}):
            status, error = alone
            data, token, path = {}, None, ""
        if self._storage_away and status == 200 and "/login" in path:
            # what was read before is in Vault's memory, and a login writes a token
            status, error, data, token = 500, "internal error", {}, None
        if path and status is not None:
            self._pending.append(evidence.of_request(correlation, path, error, ended, self._called))
        return Reply(status, error, data or {}, token, started or ended, ended, correlation)
