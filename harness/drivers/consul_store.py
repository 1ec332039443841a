"""The life of the Consul that is the storage of a Vault: one server, as a process."""

from __future__ import annotations

import base64
import json
import secrets as random
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Final

from harness.clients import consul
from harness.drivers.data_server import LOOPBACK, LoneStore
from harness.drivers.vault_config import Stored
from harness.host import pki
from harness.host.process import Supervisor

PORTS: Final = 3
"""So many ports one takes: for clients, for gossip, and for other servers, of which there are none."""

ROOM: Final = 60 * 10**6
"""The bytes that one writes: for `Supervisor(memory=...)`."""


class ConsulStore(LoneStore):
    """A Consul that talks over TLS to nobody but whoever has a certificate of its authority. The supervisor ends it.

    Every user of this machine reaches its ports, and what is in it is all of its Vault. It gossips with nobody: the key
    for that is its own. Vault registers itself as a service there, as it does by itself over this storage.
    """

    logs_to: ClassVar[str] = "consul.log"

    def __init__(
        self, directory: Path, ports: Sequence[int], binary: Path, supervisor: Supervisor, also_at: str = ""
    ) -> None:
        """It answers clients at the first of the *ports*, on loopback, and at *also_at*, another address."""
        super().__init__("the Consul of Vault", directory, ports[0], supervisor)
        self._binary, self._ports, self._also_at = binary, ports, also_at or LOOPBACK
        self._authority = pki.Authority(directory, *dict.fromkeys((LOOPBACK, self._also_at)), client=True)
        pki.write_private(self._file, json.dumps(self._settings()).encode())

    @property
    def _file(self) -> Path:
        return self.directory / "consul.json"

    def _settings(self) -> dict[str, object]:
        own, (port, gossip, servers) = self._authority, self._ports
        closed = dict.fromkeys(("http", "dns", "grpc", "grpc_tls", "serf_wan"), -1)
        return {
            "server": True,
            "bootstrap_expect": 1,
            "node_name": "consul",
            "data_dir": str(self.data),
            "bind_addr": LOOPBACK,
            "client_addr": " ".join(dict.fromkeys((LOOPBACK, self._also_at))),
            "ports": {**closed, "https": port, "serf_lan": gossip, "server": servers},
            "encrypt": base64.b64encode(random.token_bytes(32)).decode(),
            "tls": {
                "defaults": {
                    "ca_file": str(own.ca),
                    "cert_file": str(own.certificate),
                    "key_file": str(own.key),
                    "verify_incoming": True,
                    "verify_outgoing": True,
                }
            },
            # it asks nobody for newer versions
            "disable_update_check": True,
            "connect": {"enabled": False},
            # alone it wins every election; the timeouts of a small machine would be waited for
            "performance": {"raft_multiplier": 1},
            "leave_on_terminate": False,
            "skip_leave_on_interrupt": True,
        }

    def _argv(self) -> Sequence[str]:
        return [str(self._binary), "agent", f"-config-file={self._file}"]

    def _serves(self) -> bool:
        return consul.serves(self.port, self._authority.ca, self._authority.client)

    @property
    def stored(self) -> Stored:
        """Return the storage of its Vault, as that Vault's configuration has it."""
        return self._stored(LOOPBACK, *map(str, self.files.values()))

    def stored_within(self, folder: str) -> Stored:
        """Return the same for a Vault in a container: it finds it at the other address, and `files` in a *folder*."""
        return self._stored(self._also_at, *(f"{folder}/{name}" for name in self.files))

    @property
    def files(self) -> dict[str, Path]:
        """Return the files by which Vault and it know each other, by names of their own."""
        certificate, key = self._authority.client
        return {"consul-ca.crt": self._authority.ca, "consul.crt": certificate, "consul.key": key}

    def _stored(self, host: str, ca: str, certificate: str, key: str) -> Stored:
        return {
            "consul": {
                "address": f"{host}:{self.port}",
                "scheme": "https",
                "path": "vault/",
                "tls_ca_file": ca,
                "tls_cert_file": certificate,
                "tls_key_file": key,
            }
        }
