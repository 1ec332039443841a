"""The life of one Vault server as a process: its configuration, its data that outlives each version, its logs."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Final

from harness import pki, ports, process, vault_settings, wait
from harness.errors import ProcessDied, RigError
from harness.process import Process, Supervisor
from harness.tailing import Tail
from harness.vault import Vault

LISTEN_SECONDS: Final = 60
STOP_SECONDS: Final = 15


class VaultServer:
    """Vault over one data directory. Stopping leaves the data; the supervisor wipes everything at the end."""

    def __init__(self, directory: Path, *, storage: str, tls: bool, port: int, cluster_port: int) -> None:
        self.directory = directory
        self._port = port
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
        settings = vault_settings.text(
            storage,
            str(directory / "data"),
            listen=f"127.0.0.1:{port}",
            certificate=(str(authority.certificate), str(authority.key)) if authority else None,
            address=self.address,
            cluster_address=f"https://127.0.0.1:{cluster_port}",
        )
        pki.write_private(self._config, settings.encode())

    def start(self, supervisor: Supervisor, binary: Path, version: str, *, pod: Path | None, api_port: int) -> None:
        """Start *binary* over the data and wait until it answers, sealed or not yet initialised.

        *pod* is the folder that is mounted as the pod's service account; None leaves the server without one.
        Raises ProcessDied with its last lines, NotReady after LISTEN_SECONDS, and RigError where something else than
        Vault is to blame: the port, the disk, whoever killed it.
        """
        ports.insist(self._port, f"Vault {version}")
        env = {"HOME": str(self.directory), "VAULT_LOG_FORMAT": "json"}
        if pod is not None:
            env |= {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(api_port)}
        started = supervisor.start(
            f"Vault {version}",
            [str(binary), "server", f"-config={self._config}"],
            env=env,
            cwd=self.directory,
            log=self.log.path,
            pod=pod,
        )
        self.process = started
        try:
            wait.until(
                lambda: self.client.seal_status().answered(),
                what=f"Vault {version} to answer",
                seconds=LISTEN_SECONDS,
                died=self.died,
                log=started.tail,
                advice="its whole log is kept beside the record, as logs/vault-vault.log",
            )
        except ProcessDied:
            ports.insist(self._port, f"Vault {version}")
            raise

    def stop(self) -> None:
        """Stop the server as a rollout would (SIGTERM, then a deadline). Its data stays."""
        if self.process is not None:
            self.process.stop(STOP_SECONDS)
            self.process = None

    def died(self) -> str | None:
        """Return a sentence if the server has ended by itself.

        Raises RigError where that says nothing about Vault: it was killed, or its disk is full.
        """
        sentence = self.process.died() if self.process else None
        if self.process is None or sentence is None:
            return None
        lines = self.process.tail()
        if self.process.poll() == -signal.SIGKILL:
            raise RigError(
                f"{sentence}, which was not Vault's own doing: the kernel kills so where memory runs out (dmesg "
                "shows it); make room and run again",
                lines,
            )
        if full := process.out_of_room(self.directory, lines):
            raise RigError(f"{sentence}, which says nothing about Vault, because {full}", lines)
        return sentence

    def tail(self, lines: int = 40) -> list[str]:
        """Return the last *lines* of the server that runs, redacted; none where none does."""
        return self.process.tail(lines) if self.process else []
