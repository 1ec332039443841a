"""A Vault in a container of its own that unseals the Vault of a rig of kind clusters, by its transit engine."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from harness.artifacts.images import VAULT, Image
from harness.drivers import seal_vault
from harness.drivers.kind.cluster import Workbench
from harness.drivers.kind.vault_container import VaultContainer
from harness.drivers.vault_config import Unsealing
from harness.scenario import topology
from harness.scenario.course import Serve
from harness.secret import Secret

_NONE_YET = Secret("")


class SealContainer(seal_vault.SealVault[VaultContainer]):
    """The container, which outlives its versions, and may be away for a while.

    It is in no cluster, as in a scenario. Whoever is in the network of the run finds it at the address that this
    machine has there, which stays whatever becomes of the container; it talks to nobody without our certificate.
    """

    def __init__(
        self,
        work: Path,
        wanted: topology.Topology,
        bench: Workbench,
        images: Mapping[tuple[str, str], Image],
        port: int,
        *,
        shell: str,
    ) -> None:
        """*port* is that of this machine at which it answers; *shell* an image with the programs of a system."""
        address, _ = bench.engine.bridge(bench.network)
        server = VaultContainer(
            work / topology.SEAL,
            bench,
            storage=wanted.vaults[topology.SEAL].storage,
            port=port,
            shell=shell,
            name=topology.SEAL,
            also_at=address,
        )
        super().__init__(server, server.log)
        self._images = images

    def _start(self, served: Serve) -> None:
        self.server.replace(served.version, self._images[VAULT, served.version].name)

    @property
    def unsealing(self) -> Unsealing:
        """Return how it is found by the Vault that it unseals, without a token; its files are of this machine."""
        address, called = self.server.published
        authority = self.server.authority
        certificate, key = map(str, authority.client)
        return Unsealing(address, str(authority.ca), certificate, key, _NONE_YET, called=called)
