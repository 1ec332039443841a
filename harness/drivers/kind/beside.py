"""The servers that have the data of a Vault in a container, as processes of this machine beside the clusters."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from harness.artifacts.binaries import Artifact
from harness.clients import postgres
from harness.drivers.etcd_store import EtcdStore
from harness.drivers.postgres import Bridge, PostgresStore
from harness.host.ports import Ports
from harness.host.process import Supervisor
from harness.scenario.topology import VaultSpec

Store = PostgresStore | EtcdStore

TLS: Final = "/vault/tls"
"""Where a Vault in a container finds files that are secret."""


def store(
    wanted: VaultSpec, work: Path, ports: Ports, supervisor: Supervisor, etcd: Artifact | None, at: Bridge
) -> Store | None:
    """Return the servers that have the data of a Vault, which finds them *at* a bridge; None where it has them itself.

    *etcd* is the binary of that, if one is wanted.
    """
    if wanted.storage == "postgresql":
        (port,) = ports.take(1)
        return PostgresStore(work / "store", port, postgres.programs(), supervisor, at)
    if wanted.storage == "etcd" and etcd is not None:
        members = wanted.etcd_members
        taken = ports.take(2 * members if members > 1 else 1)
        return EtcdStore(work / "store", taken, etcd.path, supervisor, wanted.max_receive_size, at.address)
    return None
