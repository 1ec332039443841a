"""A Vault as a process that unseals another one by its transit engine."""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from harness.artifacts import brought
from harness.artifacts.binaries import Artifact
from harness.clients.vault import Vault
from harness.drivers.local.vault_nodes import VaultNodes
from harness.drivers.local.vault_process import VaultServer
from harness.drivers.log_tail import Tail
from harness.drivers.real_rig import RealRig
from harness.errors import RigError
from harness.host.process import Supervisor
from harness.rig.rig import VaultNode
from harness.scenario import driver_traits, topology
from harness.scenario.course import Serve
from harness.scenario.topology import VaultSpec
from harness.secret import Secret

_PORTS: Final = 2


class SealVault:
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
        self.server = VaultServer(work / topology.SEAL, storage=vault.storage, port=port, cluster_port=cluster_port)
        self._supervisor, self._binaries = supervisor, binaries
        self._served: Serve | None = None

    @property
    def vault(self) -> Vault:
        """Return the way to ask it."""
        return self.server.client

    @property
    def setup(self) -> Vault:
        """Return the way to tell it something."""
        return self.server.client

    @property
    def nodes(self) -> Mapping[str, VaultNode]:
        """Return the only node there is."""
        return {topology.node_name(topology.SEAL, 0): self}

    @property
    def log(self) -> Tail:
        """Return its log."""
        return self.server.log

    def swap(self, served: Serve) -> None:
        """Stop it, and start the version of *served* over its data."""
        self.server.stop()
        self.start(served)

    def start(self, served: Serve) -> None:
        """Start it as what is to be *served*, over the data that it has."""
        binary = self._binaries[driver_traits.server("vault", served.version)]
        with brought.steady(binary):
            self.server.start(self._supervisor, binary.path, served.version, pod=None, api_port=0)
        self._served = served

    def start_again(self) -> None:
        """Start it as it was before it was stopped."""
        if self._served is None:
            raise RigError("the Vault that unseals the other one was never started")
        self.start(self._served)

    def await_token_file(self) -> None:
        """Return at once: it is in no Pod."""

    def open_to_all(self) -> None:
        """Return at once: nobody but us and the Vault that it unseals has a certificate for it."""

    def died(self) -> str | None:
        """Return a sentence if it has ended by itself."""
        return self.server.died()

    vault_died = died

    def vault_log(self, lines: int) -> Sequence[str]:
        """Return its last log lines."""
        return self.server.tail(lines)


class WithSealVault(RealRig):
    """The part of a rig that has such a Vault beside its own, if its scenario has one."""

    _server: VaultServer
    _vaults: VaultNodes
    _unsealer: SealVault | None

    def system(self, vault: str = "") -> Any:
        """Return a Vault by its name: this rig's own, or the one that unseals it."""
        return self._unsealer if self._unsealer is not None and vault == topology.SEAL else super().system(vault)

    @abc.abstractmethod
    def _start_vault(self, served: Serve, name: str = "") -> None: ...

    def begin(self, served: Serve) -> None:
        """Start a Vault over no data."""
        if served.vault == topology.SEAL:
            self._other.start(served)
        else:
            self._start_vault(served)

    def _end_all_vaults(self) -> None:
        """End every Vault at once."""
        self._vaults.kill()
        if self._unsealer is not None:
            self._unsealer.server.kill()

    def _unsealer_died(self) -> str | None:
        return self._unsealer.died() if self._unsealer is not None else None

    @property
    def _other(self) -> SealVault:
        if self._unsealer is None:
            raise RigError("no Vault of this scenario unseals another one")
        return self._unsealer

    def hand_seal_token(self, token: Secret | None, *, disabled: bool = False) -> None:
        """Have every later start of this rig's own Vault be unsealed by the other one, or by its keys."""
        self._server.unseal_by(self._other.server, token, disabled=disabled)

    def take_away(self) -> None:
        """Stop the Vault that unseals."""
        self._other.server.stop()

    def bring_back(self) -> None:
        """Start it again."""
        self._other.start_again()


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
