"""What a rig does with a Vault of several nodes, whatever those run in: who leads, and which is meant."""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol

from harness import wait
from harness.clients.vault import Vault
from harness.drivers.log_tail import Tail
from harness.drivers.real_rig import RealRig, RunningVault
from harness.errors import RigError, Unreachable
from harness.host import pki
from harness.record.node_events import PodSeen
from harness.rig.rig import VaultNode
from harness.scenario import storage_state
from harness.scenario.course import Serve
from harness.scenario.topology import VaultSpec
from harness.secret import Secret

_JOIN_SECONDS: Final = 60


class RunningNode(RunningVault, Protocol):
    """One of the servers of a Vault, which may be stopped by itself."""

    name: str

    @property
    def authority(self) -> pki.Authority:
        """Return whose certificates it takes, and shows."""
        ...

    @property
    def among(self) -> str:
        """Return the address at which the other nodes find it."""
        ...

    @property
    def started(self) -> bool:
        """Is there one that was started, and not stopped since?"""
        ...

    def remove_data(self) -> None:
        """Remove its data, once it is stopped: the next start is over none."""
        ...

    def seen_by_kubelet(self) -> PodSeen | None:
        """Return how its Pod is; None: it has none that a kubelet runs, or nobody says."""
        ...

    def join_nobody(self) -> None:
        """Have its configuration name no other node, whom it would join at a start over no data."""
        ...


def harm(
    server: RunningNode,
    served: Serve,
    vault: VaultSpec,
    start: Callable[[], object],
    fill: Callable[[], object] | None = None,
) -> None:
    """Do to the data of a node that is stopped what happens to them in the middle of the hop to *served*.

    *start* starts what it ran last, *fill* leaves no room on its disk; None: here no disk can be full. Raises as they
    do, and RigError where no other Vault of the *vault*'s kind can be initialised.
    """
    if served.meanwhile not in storage_state.OF_A_NODE:
        return
    if served.meanwhile == "full-disk":
        if fill is None:
            raise RigError("with this driver no disk of a node can be full: choose another driver")
        fill()
        return
    server.remove_data()
    if served.meanwhile != "lose-data":
        server.join_nobody()
    if served.meanwhile == "foreign-data":
        # the root token of the other Vault is nobody's, and so are its keys
        root = server.client.root
        start()
        try:
            server.client.initialise(vault.shares, vault.threshold)
        finally:
            server.client.root = root
            server.stop()


class OneNode:
    """One node of several, by itself."""

    def __init__(self, rig: NodesRig, name: str) -> None:
        self._rig, self._name, self._server = rig, name, rig.servers[name]

    @property
    def vault(self) -> Vault:
        """Return the way to ask it."""
        return self._server.client

    @property
    def setup(self) -> Vault:
        """Return the way to tell it something."""
        return self._server.client

    def swap(self, served: Serve) -> None:
        """Stop it, replace its Pod, start the version of *served* over its data."""
        self._rig.swap_node(self._name, served)

    def vault_died(self) -> str | None:
        """Return a sentence if it has ended by itself."""
        return self._server.died()

    def vault_log(self, lines: int) -> Sequence[str]:
        """Return its last log lines."""
        return self._server.tail(lines)


class NodesRig(RealRig):
    """A rig whose Vault may have several nodes. What is asked of it without naming one goes to the one that leads."""

    @property
    @abc.abstractmethod
    def servers(self) -> Mapping[str, RunningNode]:
        """Return every server of Vault by the name of its node; of one that has one node, that alone."""

    @abc.abstractmethod
    def swap_node(self, name: str, served: Serve) -> None:
        """Stop a node, replace its Pod, start the version of *served* over its data."""

    @property
    def nodes(self) -> Mapping[str, VaultNode]:  # type: ignore[override]
        """Return every node by its name."""
        if len(self.servers) == 1:
            return super().nodes
        return {name: OneNode(self, name) for name in self.servers}

    def ask_to_join(self, name: str) -> None:
        """Have a node without data ask by the API to be taken in by the one that leads."""
        node = self.servers[name]
        certificate, key = node.authority.client
        shown = node.authority.ca.read_text(), certificate.read_text(), Secret(key.read_text())

        def joined() -> bool:
            # where it led itself until now, the others elect another one first
            leader = self.follow()
            if not leader:
                raise Unreachable("none of the others leads")
            said = node.client.join_raft(self.servers[leader].among, *shown)
            if not said.data.get("joined"):
                raise Unreachable(f"sys/storage/raft/join says HTTP {said.status}: {said.error}")
            return True

        # a name server may not know the other one's name yet
        wait.until(
            joined,
            what=f"{name} to join the others",
            seconds=_JOIN_SECONDS,
            every=0.5,
            died=node.died,
            log=node.tail,
            advice="its whole log is kept beside the record",
        )

    def follow(self) -> str:
        """Find out who leads, and have everything go there."""
        for name, server in sorted(self.servers.items(), key=lambda item: item[1] is not self._vault):
            if server.started and server.client.health().status == 200:
                self._vault = server
                return name
        # that nobody leads, one that runs still says itself; one that the course has stopped says nothing
        up: list[RunningVault] = [server for server in self.servers.values() if server.started]
        if up and self._vault not in up:
            self._vault = up[0]
        return ""

    def stop_node(self, name: str) -> None:
        """Stop a node, which keeps its data."""
        self.servers[name].stop()

    def empty_node(self, name: str) -> None:
        """Stop a node, and remove its data."""
        self.servers[name].stop()
        self.servers[name].remove_data()

    def pod_of(self, name: str) -> PodSeen | None:
        """Return how the Pod of a node is; None: it has none that a kubelet runs, or nobody says."""
        return self.servers[name].seen_by_kubelet()

    def vault_died(self) -> str | None:
        """Return a sentence if Vault, or a node of it, has ended by itself."""
        return next((sentence for server in self.servers.values() if (sentence := server.died())), None)

    def words(self) -> dict[str, Tail]:
        """Return the log of each node by its name, which is empty for the only one."""
        return {server.name: server.log for server in self.servers.values()}
