"""The servers that have the data of a Vault beside it, as processes of this machine: which, and at how many ports."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from harness.artifacts.binaries import Artifact
from harness.clients import postgres
from harness.drivers import consul_store
from harness.drivers.consul_store import ConsulStore
from harness.drivers.etcd_store import EtcdStore
from harness.drivers.postgres import Bridge, PostgresStore
from harness.host.process import Supervisor
from harness.scenario.topology import VaultSpec

Store = PostgresStore | EtcdStore | ConsulStore

_PORTS: Final = {"etcd": 1, "consul": consul_store.PORTS, "postgresql": 1}


def ports_of(vault: VaultSpec) -> int:
    """Return how many ports they take: none where a Vault has its data itself, and two for each of several members."""
    return 2 * vault.etcd_members if vault.etcd_members > 1 else _PORTS.get(vault.storage, 0)


def store(
    vault: VaultSpec,
    directory: Path,
    ports: Sequence[int],
    program: Artifact | None,
    supervisor: Supervisor,
    at: Bridge | None = None,
) -> Store | None:
    """Return the servers that have the data of a Vault, on loopback and *at* a bridge; None where it has them itself.

    *program* is that of an etcd or a Consul. PostgreSQL is this machine's: raises MissingPrerequisite without it.
    """
    also_at = at.address if at is not None else ""
    if vault.storage == "postgresql":
        return PostgresStore(directory, ports[0], postgres.programs(), supervisor, at)
    if vault.storage == "etcd" and program is not None:
        return EtcdStore(directory, ports, program.path, supervisor, vault.max_receive_size, also_at)
    if vault.storage == "consul" and program is not None:
        return ConsulStore(directory, ports, program.path, supervisor, also_at)
    return None
