"""A Vault Agent on paper: it asks what a real one asks, and is answered as the app itself would be."""

from __future__ import annotations

import abc
from dataclasses import dataclass
from typing import Any, Final, Protocol

import msgspec

from harness.drivers.paper.state import Common
from harness.knowledge.versions import BACKS_OFF, EXITS_ON_RETRY, RENDERS_SECONDS, at_least
from harness.rig.agents import Agent
from harness.rig.rig import Reply, VaultClient
from harness.scenario.schema_agents import SinkState
from harness.secret import Secret

_LONGEST_WAIT: Final = 300
"""Seconds."""

_NO_SINK: Final = "Error creating file sink: error during write check: no such file or directory"

_OF_A_LOOK: Final = 4
"""Seconds that real servers take from one look to the next, at least. An agent is given time at a look where it tries
again soon; at the second one that sees it refused, it waits longer than it is given (run: agent 1.11.0)."""


class Asked(VaultClient, Protocol):
    """What an agent asks beside an app."""

    @property
    def passed(self) -> float: ...
    def engine_kind(self, path: str, token: Secret) -> Reply: ...
    def keep_renewed(self, token: Secret) -> None: ...
    def is_lost(self, token: Secret) -> bool: ...


@dataclass(slots=True)
class Sidecar:
    """An agent that stays beside an app, on paper."""

    token: Secret | None = None
    """of its last login that was granted"""
    files: int = 0
    logins: int = 0
    granted: float = 0.0
    """when it was last seen with a token that works, by the time that has passed"""
    ended: bool = False
    """has it ended, and is started anew at the next look?"""
    refused: tuple[float, Reply] | None = None
    """when it was last seen to be refused, and the answer; None since it was granted"""
    has_sink: bool = True
    """was the folder of its sink there when it was started? Where it was not, it ended at once"""
    failures: int = 0
    """at how many looks since then it was refused its login"""

    def waits(self, version: str, passed: float, *, let_in: bool) -> bool:
        """Does it not know yet that it would be answered otherwise, or *let_in*? Each of its waits is as long as all of
        them before.
        """
        if self.refused is None or not at_least(version, BACKS_OFF):
            return False
        # what came between two looks that refuse it takes seconds as well, in which it tries
        tried = self.refused[0] - self.granted + (_OF_A_LOOK * max(self.failures - 1, 0) if let_in else 0)
        return passed - self.refused[0] < min(tried, _LONGEST_WAIT)


class PaperAgents(abc.ABC):
    """A rig on paper that has Vault Agents beside its apps, and time that passes at once."""

    _common: Common

    def __init__(self) -> None:
        self._sidecars: dict[str, Sidecar] = {}
        self._sinkless: set[str] = set()

    @abc.abstractmethod
    def revoke_ended(self, since: float) -> None:
        """Have Vault try to revoke what ended *since* then."""

    @abc.abstractmethod
    def system(self, vault: str = "") -> Asked:
        """Return a Vault by its name."""

    def pass_time(self, seconds: float) -> None:
        """Have so many seconds pass."""
        since = self._common.passed
        self._common.passed += seconds
        self.revoke_ended(since)

    def run_agent(self, app: str, agent: Agent, jwt: Secret) -> Reply:
        """Have an agent log in."""
        agent = msgspec.structs.replace(agent, has_sink=app not in self._sinkless)
        return run(agent, self.system(agent.vault), jwt)

    def turn_sink(self, app: str, to: SinkState) -> None:
        """Take note of whether agents of an app that start from now on can write their tokens."""
        (self._sinkless.add if to == "missing" else self._sinkless.discard)(app)

    def sidecar(self, app: str, agent: Agent, jwt: Secret) -> Reply:
        """Return how the agent beside an app is."""
        if app not in self._sidecars or self._sidecars[app].ended:
            self._sidecars[app] = Sidecar(granted=self._common.passed, has_sink=app not in self._sinkless)
        one = self._sidecars[app]
        return beside(one, msgspec.structs.replace(agent, has_sink=one.has_sink), self.system(agent.vault), jwt)


def run(agent: Agent, asked: Asked, jwt: Secret) -> Reply:
    """Return what comes of an agent that logs in to the Vault *asked* and reads what it would write to files."""
    if not agent.has_sink:
        # it tries to write there before it asks for anything
        return Reply(None, _NO_SINK, {"agent": agent.version, "exit": 1, "token": False, "files": 0, "sink": _NO_SINK})
    login = asked.login(agent.mount, agent.role, jwt)
    if login.token is not None:
        return _rendered(agent, asked, login, login.token)
    data: dict[str, Any] = {"agent": agent.version, "exit": 0 if login.ok else None, "token": login.ok, "files": 0}
    if login.status is not None and not login.ok:
        data["refused"] = f"auth/{agent.mount}/login"
    return msgspec.structs.replace(login, data=data)


def _rendered(agent: Agent, asked: Asked, login: Reply, token: Secret) -> Reply:
    """Return what comes of an agent that reads with the *token* of a granted *login* what it would write to files."""
    path, reply, files = "", login, 0
    for path in agent.reads:
        asked.engine_kind(path, token)
        reply = asked.read_secret(path, token)
        if not reply.ok:
            break
        files += 1
    data: dict[str, Any] = {"agent": agent.version, "exit": 0 if reply.ok else None, "token": True, "files": files}
    if reply.status is not None and not reply.ok:
        data["refused"] = path
    return msgspec.structs.replace(login, status=reply.status, error=reply.error, data=data, token=token)


def beside(sidecar: Sidecar, agent: Agent, asked: Asked, jwt: Secret) -> Reply:
    """Return how an agent that stays is: one whose token Vault does not know any more has logged in anew, or tried."""
    held, passed = sidecar.token, asked.passed
    if held is not None and sidecar.files != len(agent.reads) and not at_least(agent.version, EXITS_ON_RETRY):
        # it reads again and again with the token that it has
        reply = _rendered(agent, asked, Reply(200), held)
        sidecar.files = reply.data["files"]
        if not reply.ok and (asked.is_lost(held) or asked.lookup_self(held).ok):
            data = {**reply.data, "logins": sidecar.logins, "failures": 0}
            return msgspec.structs.replace(reply, data=data, token=None)
    whole = held is not None and sidecar.files == len(agent.reads)
    # it looks up nothing by itself: until it renders again, it takes its token for a good one
    renders = at_least(agent.version, EXITS_ON_RETRY) and passed - sidecar.granted >= RENDERS_SECONDS
    keeps = held is not None and whole and asked.is_lost(held) and not renders
    if held is None or not whole or not (keeps or asked.lookup_self(held).ok):
        reply = run(agent, asked, jwt)
        if sidecar.refused is not None and sidecar.waits(agent.version, passed, let_in=reply.ok):
            held_back = sidecar.refused[1]
            return msgspec.structs.replace(held_back, data={**held_back.data, "waits_on": True})
        if reply.token is not None:
            asked.keep_renewed(reply.token)
            sidecar.token, sidecar.files, sidecar.logins = reply.token, reply.data["files"], sidecar.logins + 1
        if not agent.has_sink:
            sidecar.ended = True
            return reply
        if not reply.ok:
            sidecar.failures = sidecar.failures + 1 if reply.token is None else 0
            data = {**reply.data, "logins": sidecar.logins, "failures": sidecar.failures}
            sidecar.ended = reply.token is not None and at_least(agent.version, EXITS_ON_RETRY)
            sidecar.refused = passed, msgspec.structs.replace(reply, data=data, token=None)
            return sidecar.refused[1]
    sidecar.granted, sidecar.refused, sidecar.failures = passed, None, 0
    data = {"agent": agent.version, "exit": None, "token": True, "files": sidecar.files, "logins": sidecar.logins}
    return Reply(200, data=data, token=sidecar.token)
