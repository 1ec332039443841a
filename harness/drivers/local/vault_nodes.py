"""The processes of a Vault: one server, or several nodes, and the server beside them that may have its data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final

from harness.artifacts import brought
from harness.artifacts.binaries import Artifact
from harness.clients import postgres
from harness.drivers import consul_store, vault_stores
from harness.drivers.bring_up import BringUp
from harness.drivers.data_server import VaultStore
from harness.drivers.local.pod_folder import PodFolder
from harness.drivers.local.vault_process import VaultServer
from harness.drivers.log_tail import Tail
from harness.drivers.postgres import ROOM, OwnDatabase
from harness.drivers.several_nodes import harm
from harness.errors import MissingPrerequisite
from harness.host.ports import Ports
from harness.host.process import Supervisor
from harness.knowledge import kubernetes_auth, versions
from harness.scenario import driver_traits
from harness.scenario.course import Serve
from harness.scenario.plan import Plan
from harness.scenario.topology import Topology, VaultSpec, pod_purpose
from harness.secret import Secret
from harness.wait import pause

Binaries = Mapping[tuple[str, str], Artifact]


CLUSTER_BYTES: Final = 150 * 10**6
"""What a cluster writes: above all the log of etcd, which takes its room beforehand."""

VAULT_BYTES: Final = 100 * 10**6
"""What a Vault writes: its data, and its logs."""

LEASE_BYTES: Final = 8000
"""Measured, and half of it again: a service token's lease, entry and accessor in any storage."""


_STORES: Final = {"etcd": CLUSTER_BYTES, "consul": consul_store.ROOM, "postgresql": ROOM}
"""The storages that are servers beside Vault, and the bytes that each of them writes."""


def bytes_of(topology: Topology, clusters: int) -> int:
    """Return what a rehearsal with so many *clusters* of its own writes."""
    stores = sum(_STORES.get(vault.storage, 0) * vault.etcd_members for vault in topology.vaults.values())
    nodes = max(vault.nodes for vault in topology.vaults.values())
    leases = sum(one.nodes * one.leases for one in topology.vaults.values()) * LEASE_BYTES
    return leases + nodes * VAULT_BYTES + clusters * CLUSTER_BYTES + stores + ROOM * topology.needs_database


def ports_of(vault: VaultSpec) -> int:
    """Return how many ports a Vault takes: each node for its clients and for the others, and so its store."""
    return 2 * vault.nodes + vault_stores.ports_of(vault)


def insist_on_parts(plan: Plan, binaries: Binaries) -> None:
    """Raise MissingPrerequisite where a binary was built without what the scenario has of Vault's parts, or where there
    is no PostgreSQL for its data or its database engines.
    """
    storages = {vault.storage for vault in plan.resolved.vaults.values()}
    for storage in sorted(storages.intersection(_STORES)):
        _insist_on_whole(binaries, f"{storage} storage", "choose storage: raft or file")
    if plan.resolved.needs_database or "postgresql" in storages:
        postgres.programs()
    if plan.resolved.needs_database:
        _insist_on_whole(binaries, "database engine", "take the engine of type database out of `secrets`")


def _insist_on_whole(binaries: Binaries, part: str, instead: str) -> None:
    for (product, version), one in binaries.items():
        if product == "vault" and one.trimmed:
            raise MissingPrerequisite(
                f"{versions.called(version)} as it was built here has no {part} ({one.trimmed}): bring the release's "
                f"own binary (--binary {versions.as_option(version)}=PATH), or {instead}"
            )


class VaultNodes:
    """All servers of one Vault. The first one is made with the data; the others join it."""

    def __init__(
        self,
        work: Path,
        topology: Topology,
        ports: Ports,
        supervisor: Supervisor,
        binaries: Binaries,
        licence: Secret | None = None,
    ) -> None:
        """Of its *ports* each node takes two."""
        self._work, self._topology, self._licence = work, topology, licence
        self._supervisor, self.binaries = supervisor, binaries
        vault, names, taken = topology.vault, topology.nodes_of(""), ports.take(ports_of(topology.vault))
        self.names, several = tuple(names), len(names) > 1
        beside = taken[2 * len(names) :]
        self.store = vault_stores.store(vault, work / "store", beside, self._store_program, supervisor)
        self.database = OwnDatabase(work, supervisor, ports)
        """of its database engines, where it has any"""
        self.servers: dict[str, VaultServer] = {}
        self.pods = {pod_purpose(name): PodFolder(work / (f"pod-{name}" if several else "pod")) for name in names}
        """the folder of each node's service account, by the purpose of its token"""
        self._beside: list[VaultServer] = []
        """every Vault that was started beside these"""
        for number, name in enumerate(names):
            self.servers[name] = VaultServer(
                work / (name if several else "vault"),
                storage=vault.storage,
                port=taken[2 * number],
                cluster_port=taken[2 * number + 1],
                licence=licence,
                store=self.store,
                name=name if several else "",
                first=next(iter(self.servers.values()), None),
                mlock_said=vault.disable_mlock == "said",
            )
        self.first = self.servers[names[0]]

    def trust(self, authority: Path, pods: Sequence[str]) -> None:
        """Have these *pods*, by the purposes of their tokens, the CA in the file *authority*, as a kubelet renews it.

        Returns once Vault has looked at it, where it does so while it runs: others never will.
        """
        for purpose in pods:
            self.pods[purpose].renew_authority(authority)
        if pods and kubernetes_auth.rereads_ca(self.first.version):
            pause(kubernetes_auth.REREADS_CA_SECONDS + 1)

    @property
    def etcd(self) -> Artifact:
        """Return the binary of etcd, which a cluster needs, and a Vault that has its data there."""
        return self._product("etcd")

    @property
    def _store_program(self) -> Artifact | None:
        storage = self._topology.vault.storage
        return self._product(storage) if storage in driver_traits.STORES else None

    def _product(self, name: str) -> Artifact:
        return next(one for (product, _), one in self.binaries.items() if product == name)

    @contextmanager
    def store_steady(self) -> Iterator[VaultStore | None]:
        """Yield what has the data beside it, if anything has, while its program is what it was. Raises as `steady`."""
        program = self._store_program
        with brought.steady(*([program] if program is not None else ())):
            yield self.store

    def open_to_all(self) -> bool:
        """Have the next start listen as the scenario says. Is that otherwise than to us alone?"""
        if self._topology.talks_to_us_alone:
            return False
        (self.first.listen_to_certificates if self._topology.vault.tls else self.first.listen_plainly)()
        return True

    def begin_with(self, data: Path, root: Secret | None) -> None:
        """Have the first start be over a copy of *data*, of such a Vault whose root token is *root*. Raises OSError."""
        self.first.begin_with(data, root)
        self.open_to_all()

    def start_beside(self, bring_up: BringUp) -> None:
        """Start what has the data beside it, if anything has; and its PostgreSQL, where it has one, meanwhile."""
        if self._topology.needs_database:
            self.database.begin(bring_up)
        with self.store_steady() as store:
            if store is not None:
                store.start()

    def start(self, served: Serve, api_port: int, name: str = "") -> None:
        """Start a node as what is to be *served*, over its data; no *name*: the first."""
        name, binary = name or self.names[0], self._binary(served.version)
        server = self.servers[name]
        fill = partial(server.fill_disk, self._supervisor)
        harm(server, served, self._topology.vault, lambda: self._start_last(server), fill)
        pod = self.pods[pod_purpose(name)].path if served.token_file else None
        with brought.steady(binary):
            server.start(self._supervisor, binary.path, served.version, pod=pod, api_port=api_port)

    def _start_last(self, server: VaultServer) -> None:
        binary = self._binary(server.version)
        with brought.steady(binary):
            server.start(self._supervisor, binary.path, server.version)

    def _binary(self, version: str) -> Artifact:
        return self.binaries[driver_traits.server("vault", version)]

    def start_new(self, served: Serve, ports: Sequence[int]) -> VaultServer:
        """Start a Vault over no data beside these, at two *ports*."""
        binary, (port, cluster_port) = self.binaries[driver_traits.server("vault", served.version)], ports
        new = VaultServer(
            self._work / f"snapshot-{len(self._beside) + 1}",
            storage=self._topology.vault.storage,
            port=port,
            cluster_port=cluster_port,
            licence=self._licence,
            mlock_said=self._topology.vault.disable_mlock == "said",
        )
        self._beside.append(new)
        with brought.steady(binary):
            new.start(self._supervisor, binary.path, served.version, pod=None, api_port=0)
        return new

    def introduce(self, name: str) -> VaultServer:
        """Have a node join the first one at its start, and those that are there join anybody, were they without data.

        Its client has the root token then. Return its server.
        """
        server = self.servers[name]
        server.client.root = self.first.client.root
        for one in self.servers.values():
            if one is server or one.process is not None:
                one.join([other for other in self.servers.values() if other is not one])
        return server

    @property
    def logs(self) -> list[Tail]:
        """Return the logs of all that was ever started."""
        tails = [server.log for server in (*self.servers.values(), *self._beside) if server.log.path.exists()]
        return [*tails, *(self.store.logs if self.store is not None else ()), *self.database.logs]

    def kill(self) -> None:
        """End all of them at once: nobody wants their data any more."""
        for server in (*self.servers.values(), *self._beside):
            server.kill()
        if self.store is not None:
            self.store.kill()
        self.database.kill()

    def beside_died(self) -> str | None:
        """Return a sentence if the server that has its data, or its PostgreSQL, has ended."""
        return (self.store.died() if self.store is not None else None) or self.database.died()
