"""The life of the etcd that a Vault keeps its data in, where that is its storage: one member, as a process."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Final

from harness.clients import etcd
from harness.drivers.local.data_server import VaultStore
from harness.drivers.vault_config import Stored
from harness.host import pki
from harness.host.process import Supervisor
from harness.rig.leases import Weight

_LEASES: Final = "/vault/sys/expire/id/"
"""where Vault has its leases, with the path that it takes where none is said"""


class EtcdStore(VaultStore):
    """An etcd on loopback that talks to nobody but the Vault whose data it has, over TLS. The supervisor ends it.

    Every user of this machine reaches its port, and what is in it is all of that Vault.
    """

    logs_to: ClassVar[str] = "etcd.log"

    def __init__(
        self, directory: Path, port: int, binary: Path, supervisor: Supervisor, most: int | None = None
    ) -> None:
        """*most* bytes are what its Vault takes in one answer; None: what it takes by itself."""
        super().__init__("the etcd of Vault", directory, port, supervisor)
        self._binary, self._most = binary, most
        self._authority = pki.Authority(directory, "127.0.0.1", client=True)

    @property
    def stored(self) -> Stored:
        """Return the storage of its Vault, as that Vault's configuration has it."""
        certificate, key = self._authority.client
        limit = {} if self._most is None else {"max_receive_size": str(self._most)}
        return {
            "etcd": {
                "address": f"https://127.0.0.1:{self.port}",
                "etcd_api": "v3",
                "tls_ca_file": str(self._authority.ca),
                "tls_cert_file": str(certificate),
                "tls_key_file": str(key),
                **limit,
            }
        }

    def _serves(self) -> bool:
        return etcd.serves(self.port, self._authority.ca, self._authority.client)

    def weigh(self) -> Weight:
        """Return how many bytes its data take, and the list of its Vault's leases. Raises Unreachable."""
        keys, whole = etcd.list_bytes(self.port, self._authority.ca, self._authority.client, _LEASES)
        return Weight(stored=(self.data / "member" / "snap" / "db").stat().st_size, etcd_keys=keys, etcd_whole=whole)

    def _argv(self) -> Sequence[str]:
        own = self._authority
        return [
            str(self._binary),
            f"--data-dir={self.data.name}",
            "--unsafe-no-fsync",
            f"--listen-client-urls=https://127.0.0.1:{self.port}",
            f"--advertise-client-urls=https://127.0.0.1:{self.port}",
            f"--cert-file={own.certificate}",
            f"--key-file={own.key}",
            "--client-cert-auth",
            f"--trusted-ca-file={own.ca}",
            # alone it has no peers, and needs no port for them
            "--listen-peer-urls=unix://peer.sock:0",
            "--initial-advertise-peer-urls=http://127.0.0.1:2",
            "--initial-cluster=default=http://127.0.0.1:2",
            "--heartbeat-interval=10",
            "--election-timeout=50",
        ]
