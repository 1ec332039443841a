"""A Vault Agent as a process: started with what the injector writes for it, read by its log, and ended."""

from __future__ import annotations

import itertools
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from harness.artifacts import brought
from harness.artifacts.binaries import Artifact
from harness.drivers import vault_agent
from harness.drivers.local.vault_nodes import VaultNodes
from harness.drivers.local.vault_process import VaultServer
from harness.drivers.log_tail import Tail
from harness.drivers.vault_agent import CONFIG, FILES, JWT, TOKEN, KeepsAgents, Left, StartedAgent
from harness.host import pki
from harness.host.process import Process, Supervisor
from harness.rig.agents import Agent
from harness.rig.rig import Reply
from harness.scenario import driver_traits
from harness.secret import Secret
from harness.wait import now

_LINES: Final = 20_000
_BYTES: Final = 4 * 10**6
"""So much is read of an agent's log: one of 1.6 that is refused for a day writes less."""


class LocalAgent(StartedAgent):
    """One agent in a directory of its own."""

    def __init__(self, agent: Agent, directory: Path, *, stays: bool) -> None:
        self._agent, self._directory, self._stays = agent, directory, stays
        self.log = Tail(directory / "agent.log")
        self._process: Process | None = None

    def present(self, jwt: Secret) -> None:
        """Have the token of its Pod's service account be *jwt*, as a kubelet renews it."""
        pki.write_private(self._directory / JWT, jwt.reveal().encode())

    def start(self, server: VaultServer, binary: Artifact, supervisor: Supervisor) -> None:
        """Start it before the Vault of *server*."""
        who = f"Vault Agent {self._agent.version}"
        told = vault_agent.config(self._agent, _way_to(server), str(self._directory), stays=self._stays)
        pki.write_private(self._directory / CONFIG, json.dumps(told).encode())
        with brought.steady(binary):
            self._process = supervisor.start(
                who,
                [str(binary.path), "agent", f"-config={self._directory / CONFIG}"],
                env={"HOME": str(self._directory)},
                cwd=self._directory,
                log=self.log.path,
            )

    def kill(self) -> None:
        """End it at once."""
        if self._process is not None:
            self._process.kill()

    def _left(self) -> Left:
        exit_code = self._process.poll() if self._process is not None else None
        log = "\n".join(self._process.tail(_LINES, _BYTES)) if self._process is not None else ""
        files = [file.stat() for file in self._directory.glob(f"{FILES}*")]
        written = [file.st_mtime for file in files if file.st_size]
        age = round(now() - min(written), 1) if written else None
        token = self._directory / TOKEN
        text = token.read_text().strip() if token.is_file() else ""
        return Left(log, exit_code, Secret(text) if text else None, len(written), age)


class RunsLocalAgents(KeepsAgents[LocalAgent]):
    """A rig of processes that starts agents: for once, each in a directory that is gone then, or beside an app."""

    _work: Path
    _supervisor: Supervisor
    _binaries: Mapping[tuple[str, str], Artifact]
    _vaults: VaultNodes
    _leading: VaultServer
    _stayed: list[LocalAgent]
    """all that were started beside apps, those that have ended among them"""

    def run_agent(self, app: str, agent: Agent, jwt: Secret) -> Reply:
        """Start an agent, and wait until it has ended by itself or said what Vault answered."""
        agent = self._as_told(app, agent)
        with tempfile.TemporaryDirectory(prefix="agent-", dir=self._work, ignore_cleanup_errors=True) as directory:
            one, started = LocalAgent(agent, Path(directory), stays=False), now()
            one.present(jwt)
            try:
                self._start_agent(one, agent)
                one.wait()
                return one.state(started)
            finally:
                one.kill()

    def end_sidecars(self) -> None:
        """End every agent that stays. What it wrote and its log stay."""
        for one in self._sidecars.values():
            one.kill()

    def agent_logs(self) -> list[Tail]:
        """Return the logs of all agents that were started beside an app, one after the other."""
        return [one.log for one in self._stayed]

    def _begin(self, app: str, agent: Agent, jwt: Secret) -> LocalAgent:
        names = (f"sidecar-{app}{f'-{number}' if number > 1 else ''}" for number in itertools.count(1))
        directory = next(path for name in names if not (path := self._work / name).exists())
        directory.mkdir(mode=0o700)
        agent = self._as_told(app, agent)
        one = LocalAgent(agent, directory, stays=True)
        self._stayed.append(one)
        one.present(jwt)
        self._start_agent(one, agent)
        return one

    def _start_agent(self, one: LocalAgent, agent: Agent) -> None:
        server = self._vaults.servers[agent.node] if agent.node else self._leading
        one.start(server, self._binaries[driver_traits.server("vault", agent.version)], self._supervisor)


def _way_to(server: VaultServer) -> vault_agent.Vault:
    if not server.client.address.startswith("https"):
        return vault_agent.Vault(server.client.address)
    certificate, key = server.authority.client
    return vault_agent.Vault(server.client.address, str(server.authority.ca), str(certificate), str(key))
