"""A Vault Agent as a process: started with what the injector writes for it, read by its log, and ended."""

from __future__ import annotations

import itertools
import json
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from harness import wait
from harness.artifacts import brought
from harness.artifacts.binaries import Artifact
from harness.drivers import vault_agent
from harness.drivers.local.vault_nodes import VaultNodes
from harness.drivers.local.vault_process import VaultServer
from harness.drivers.log_tail import Tail
from harness.drivers.vault_agent import CONFIG, FILES, JWT, TOKEN, Left, StartedAgent
from harness.errors import NotReady
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

    def await_next_try(self) -> None:
        """Wait until it has tried again to log in, where it does so within a moment."""
        left = self._left()
        failures, soon = (vault_agent.lived(left)[one] for one in ("failures", "backoff"))
        answers = len(vault_agent.answers(left.log))
        if failures and soon is not None and soon <= vault_agent.SOON:
            with suppress(NotReady):
                # it writes that it was refused first, and by what answer in the lines below
                wait.until(
                    lambda: len(vault_agent.answers(self._left().log)) > answers,
                    what=f"Vault Agent {self._agent.version} to try again",
                    seconds=vault_agent.SOON + 1,
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


class RunsLocalAgents:
    """A rig of processes that starts agents: for once, each in a directory that is gone then, or beside an app."""

    _work: Path
    _supervisor: Supervisor
    _binaries: Mapping[tuple[str, str], Artifact]
    _vaults: VaultNodes
    _leading: VaultServer
    _sidecars: dict[str, list[LocalAgent]]
    """those that stay, by their apps: all that were started one after the other, of which the last may run yet"""

    def run_agent(self, app: str, agent: Agent, jwt: Secret) -> Reply:
        """Start an agent, and wait until it has ended by itself or said what Vault answered."""
        del app  # a process is in no cluster
        with tempfile.TemporaryDirectory(prefix="agent-", dir=self._work, ignore_cleanup_errors=True) as directory:
            one, started = LocalAgent(agent, Path(directory), stays=False), now()
            one.present(jwt)
            try:
                self._start_agent(one, agent)
                one.wait()
                return one.state(started)
            finally:
                one.kill()

    def sidecar(self, app: str, agent: Agent, jwt: Secret) -> Reply:
        """Return how the agent beside an app is, which is started if none runs there."""
        started, before = now(), self._sidecars.setdefault(app, [])
        one = before[-1] if before else None
        if one is None or one.has_ended():
            # a kubelet starts a container of a Deployment's anew
            directory = self._work / "-".join(["sidecar", app, *([str(len(before) + 1)] if before else [])])
            directory.mkdir(mode=0o700)
            one = LocalAgent(agent, directory, stays=True)
            before.append(one)
            one.present(jwt)
            self._start_agent(one, agent)
            one.wait()
        one.present(jwt)
        one.await_next_try()
        one.wait()
        return one.state(started)

    def end_sidecars(self) -> None:
        """End every agent that stays. What it wrote and its log stay."""
        for one in itertools.chain(*self._sidecars.values()):
            one.kill()

    def _start_agent(self, one: LocalAgent, agent: Agent) -> None:
        server = self._vaults.servers[agent.node] if agent.node else self._leading
        one.start(server, self._binaries[driver_traits.server("vault", agent.version)], self._supervisor)


def _way_to(server: VaultServer) -> vault_agent.Vault:
    if not server.client.address.startswith("https"):
        return vault_agent.Vault(server.client.address)
    certificate, key = server.authority.client
    return vault_agent.Vault(server.client.address, str(server.authority.ca), str(certificate), str(key))
