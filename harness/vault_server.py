"""The life of one Vault server as a process: its configuration, its data that outlives each version, its logs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from harness import pki, wait
from harness.process import Process, Supervisor
from harness.tailing import Tail
from harness.vault import Vault

LISTEN_SECONDS: Final = 60
STOP_SECONDS: Final = 15


class VaultServer:
    """Vault over one data directory. Stopping leaves the data; the supervisor wipes everything at the end."""

    def __init__(self, directory: Path, *, storage: str, tls: bool, port: int, cluster_port: int) -> None:
        self.directory = directory
        directory.mkdir(mode=0o700)
        (directory / "data").mkdir(mode=0o700)
        scheme = "https" if tls else "http"
        self.address = f"{scheme}://127.0.0.1:{port}"
        authority = pki.Authority(directory, "127.0.0.1") if tls else None
        self.audit = Tail(directory / "audit.log")
        self.log = Tail(directory / "vault.log")
        self.client = Vault(self.address, authority.ca if authority else None, audit_file=str(self.audit.path))
        self.process: Process | None = None
        self._config = directory / "vault.json"
        listener: dict[str, object] = {"address": f"127.0.0.1:{port}", "tls_disable": not tls}
        if authority:
            listener |= {"tls_cert_file": str(authority.certificate), "tls_key_file": str(authority.key)}
        pki.write_private(self._config, json.dumps(self._settings(storage, listener, cluster_port), indent=1).encode())

    def _settings(self, storage: str, listener: dict[str, object], cluster_port: int) -> dict[str, object]:
        store: dict[str, object] = {"path": str(self.directory / "data")}
        if storage == "raft":
            # quoted: Vault 1.4 refuses the number. 1 is the fastest election there is.
            store |= {"node_id": "node-1", "performance_multiplier": "1"}
        return {
            "storage": {storage: store},
            "listener": {"tcp": listener},
            "api_addr": self.address,
            "cluster_addr": f"https://127.0.0.1:{cluster_port}",
            "disable_mlock": True,
            "log_level": "debug",
        }

    def start(self, supervisor: Supervisor, binary: Path, version: str, *, pod: Path | None, api_port: int) -> None:
        """Start *binary* over the data and wait until it answers, sealed or not yet initialised.

        *pod* is the folder that is mounted as the pod's service account; None leaves the server without one.
        Raises ProcessDied with its last lines, or NotReady after LISTEN_SECONDS.
        """
        env = {"HOME": str(self.directory), "VAULT_LOG_FORMAT": "json"}
        if pod is not None:
            env |= {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(api_port)}
        process = supervisor.start(
            f"Vault {version}",
            [str(binary), "server", f"-config={self._config}"],
            env=env,
            cwd=self.directory,
            log=self.log.path,
            pod=pod,
        )
        self.process = process
        wait.until(
            lambda: self.client.seal_status().status,
            what=f"Vault {version} to answer",
            seconds=LISTEN_SECONDS,
            died=process.died,
            log=process.tail,
        )

    def stop(self) -> None:
        """Stop the server as a rollout would (SIGTERM, then a deadline). Its data stays."""
        if self.process is not None:
            self.process.stop(STOP_SECONDS)
            self.process = None

    def died(self) -> str | None:
        """Return a sentence if the server has ended by itself."""
        return self.process.died() if self.process else None
