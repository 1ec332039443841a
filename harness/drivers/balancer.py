"""A load balancer before the nodes of a Vault, as a process: HAProxy, which goes by their health."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from harness import wait
from harness.clients import haproxy
from harness.clients.vault import Vault
from harness.drivers.log_tail import Tail
from harness.drivers.several_nodes import NodesRig, RunningNode
from harness.errors import RigError
from harness.host import pki, ports
from harness.host.ports import Ports
from harness.host.process import Process, Supervisor

LISTEN_SECONDS: Final = 10
_CALLED: Final = "HAProxy"


class Balancer:
    """One process on loopback, which talks to nobody but us, as the nodes behind it do."""

    def __init__(self, directory: Path, port: int, servers: Mapping[str, RunningNode]) -> None:
        directory.mkdir(mode=0o700)
        self._directory, self._port, self._servers = directory, port, servers
        self.log = Tail(directory / "haproxy.log")
        authority = next(iter(servers.values())).authority
        self._authority = authority
        self.client = Vault(
            f"https://127.0.0.1:{port}", authority.ca, certificate=authority.client, name="load-balancer"
        )
        self._process: Process | None = None

    def start(self, supervisor: Supervisor) -> None:
        """Start it, and wait until it listens; whom it finds healthy it takes a moment to see.

        Raises ProcessDied with its last lines, NotReady, and RigError where something else has its port.
        """
        ports.insist(self._port, _CALLED)
        both = {name: self._directory / f"{name}.pem" for name in ("server", "client")}
        pki.write_private(both["server"], _joined(self._authority.certificate, self._authority.key))
        pki.write_private(both["client"], _joined(*self._authority.client))
        config = self._directory / "haproxy.cfg"
        nodes = {name: server.client.address.partition("//")[2] for name, server in self._servers.items()}
        text = haproxy.config(
            self._port, nodes, ca=self._authority.ca, certificate=both["server"], client=both["client"]
        )
        pki.write_private(config, text.encode())
        started = supervisor.start(_CALLED, haproxy.command(config), env={}, cwd=self._directory, log=self.log.path)
        self._process = started
        wait.until(
            lambda: self.client.health().answered(),
            what=f"{_CALLED} to listen before the nodes of Vault",
            seconds=LISTEN_SECONDS,
            died=started.died,
            log=started.tail,
        )

    def await_leader(self, name: str) -> None:
        """Wait until it hands requests to the node *name* alone, which leads. Raises NotReady, with its last lines."""
        # a node has to be found well so many times, and the one that led before it ill
        seconds = 3 * haproxy.CHECK_SECONDS * (haproxy.FALL + haproxy.RISE)

        # whom it takes for well it asks in turn
        turns = 2 * len(self._servers)

        def there() -> bool:
            asked = (self.client.health() for _ in range(turns))
            return all(said.ok and said.by == name for said in asked)

        wait.until(
            there,
            what=f"{_CALLED} to hand requests to {name}",
            seconds=seconds,
            every=0.1,
            died=self.died,
            log=self.tail,
        )

    def tail(self, lines: int = 40) -> list[str]:
        """Return its last lines."""
        return self._process.tail(lines) if self._process else []

    def died(self) -> str | None:
        """Return a sentence if it has ended by itself."""
        return self._process.died() if self._process else None

    def kill(self) -> None:
        """End it at once."""
        if self._process is not None:
            self._process.kill()
            self._process = None


class WithBalancer(NodesRig):
    """The part of a rig that has such a load balancer before its Vault, if its scenario has one."""

    _work: Path
    _all_ports: Ports
    _supervisor: Supervisor
    _balancer: Balancer | None = None

    def balance(self) -> None:
        """Start a load balancer before all nodes. Raises as `Balancer.start`."""
        (port,) = self._all_ports.take(1)
        self._balancer = Balancer(self._work / "load-balancer", port, self.servers)
        self._balancer.client.root = self._vault.client.root
        self._balancer.start(self._supervisor)

    def balanced(self) -> Vault:
        """Return the way to ask through it."""
        return self._there.client

    def await_balance(self, name: str) -> None:
        """Wait until it hands requests to the node *name*, which leads. Raises NotReady."""
        self._there.await_leader(name)

    @property
    def _there(self) -> Balancer:
        if self._balancer is None:
            raise RigError("there is no load balancer yet: the nodes of Vault have not joined each other")
        return self._balancer

    def _balancer_died(self) -> str | None:
        return self._balancer.died() if self._balancer is not None else None

    def _end_balancer(self) -> None:
        if self._balancer is not None:
            self._balancer.kill()

    @property
    def _balancer_logs(self) -> list[Tail]:
        return [self._balancer.log] if self._balancer is not None else []


def _joined(certificate: Path, key: Path) -> bytes:
    return certificate.read_bytes() + key.read_bytes()
