"""A Vault as a process that unseals another one by its transit engine."""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from harness.artifacts import brought
from harness.artifacts.binaries import Artifact
from harness.drivers import seal_vault
from harness.drivers.local.vault_nodes import VaultNodes
from harness.drivers.local.vault_process import VaultServer
from harness.host.process import Supervisor
from harness.scenario import driver_traits, topology
from harness.scenario.course import Serve
from harness.scenario.topology import VaultSpec
from harness.secret import Secret

_PORTS: Final = 2


class SealVault(seal_vault.SealVault[VaultServer]):
    """The process, which outlives its versions, and may be away for a while."""

    def __init__(
        self,
        work: Path,
        vault: VaultSpec,
        ports: Sequence[int],
        supervisor: Supervisor,
        binaries: Mapping[tuple[str, str], Artifact],
    ) -> None:
        port, cluster_port = ports
        server = VaultServer(work / topology.SEAL, storage=vault.storage, port=port, cluster_port=cluster_port)
        super().__init__(server, server.log)
        self._supervisor, self._binaries = supervisor, binaries

    def _start(self, served: Serve) -> None:
        binary = self._binaries[driver_traits.server("vault", served.version)]
        with brought.steady(binary):
            self.server.start(self._supervisor, binary.path, served.version, pod=None, api_port=0)


class WithSealVault(seal_vault.WithSealVault[VaultServer]):
    """The part of a rig that has such a Vault beside its own, if its scenario has one."""

    _server: VaultServer
    _vaults: VaultNodes

    @abc.abstractmethod
    def _start_vault(self, served: Serve, name: str = "") -> None: ...

    def _end_all_vaults(self) -> None:
        """End every Vault at once."""
        self._vaults.kill()
        self._kill_unsealer()

    def hand_seal_token(self, token: Secret | None, *, disabled: bool = False) -> None:
        """Have every later start of this rig's own Vault be unsealed by the other one, or by its keys."""
        self._server.unseal_by(self._other.server, token, disabled=disabled)

    def pod_seen(self) -> None:
        """Return nothing: a process has no Pod that a kubelet runs."""


def of(
    wanted: topology.Topology,
    work: Path,
    take: Callable[[int], Sequence[int]],
    supervisor: Supervisor,
    binaries: Mapping[tuple[str, str], Artifact],
) -> SealVault | None:
    """Return the Vault that unseals another one in a *wanted* topology, at new ports; None where there is none."""
    if not wanted.seal_vault:
        return None
    return SealVault(work, wanted.vaults[wanted.seal_vault], take(_PORTS), supervisor, binaries)
