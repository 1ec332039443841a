"""The life of the etcd that a Vault keeps its data in, where that is its storage: one member, as a process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from harness import wait
from harness.clients import etcd
from harness.drivers.log_tail import Tail
from harness.drivers.vault_config import Stored
from harness.host import pki, ports, process
from harness.host.process import Process, Supervisor

_SERVES_SECONDS: Final = 60
_STOP_SECONDS: Final = 15


class EtcdStore:
    """An etcd on loopback that talks to nobody but the Vault whose data it has, over TLS. The supervisor ends it.

    Every user of this machine reaches its port, and what is in it is all of that Vault.
    """

    def __init__(self, directory: Path, port: int, binary: Path, supervisor: Supervisor) -> None:
        directory.mkdir(mode=0o700)
        self.directory, self._port = directory, port
        self._binary, self._supervisor = binary, supervisor
        self._authority = pki.Authority(directory, "127.0.0.1", client=True)
        self.data = directory / "data"
        """everything is in here"""
        self.log = Tail(directory / "etcd.log")
        self._process: Process | None = None

    @property
    def stored(self) -> Stored:
        """Return the storage of its Vault, as that Vault's configuration has it."""
        certificate, key = self._authority.client
        return {
            "etcd": {
                "address": f"https://127.0.0.1:{self._port}",
                "etcd_api": "v3",
                "tls_ca_file": str(self._authority.ca),
                "tls_cert_file": str(certificate),
                "tls_key_file": str(key),
            }
        }

    def start(self) -> None:
        """Start it over what it has, and wait until it serves. Raises ProcessDied, NotReady, or RigError as a Vault."""
        ports.insist(self._port, "the etcd of Vault")
        self._process = self._supervisor.start(
            "etcd of Vault",
            [str(self._binary), *self._flags()],
            env={"HOME": str(self.directory)},
            cwd=self.directory,
            log=self.log.path,
        )
        wait.until(
            lambda: etcd.serves(self._port, self._authority.ca, self._authority.client),
            what="the etcd of Vault to serve",
            seconds=_SERVES_SECONDS,
            died=self._process.died,
            log=self._process.tail,
            advice="its whole log is kept beside the record",
        )

    @contextmanager
    def at_rest(self) -> Iterator[None]:
        """Stop it while its directory is read or replaced; afterwards it serves again."""
        if self._process is not None:
            self._process.stop(_STOP_SECONDS)
            self._process = None
        yield
        self.start()

    def died(self) -> str | None:
        """Return a sentence if it has ended."""
        sentence = self._process.died() if self._process else None
        if self._process is None or sentence is None:
            return None
        full = process.out_of_room(self.directory, self._process.tail())
        return f"{sentence}, and {full}" if full else sentence

    def kill(self) -> None:
        """End it at once: nobody wants its data any more."""
        if self._process is not None:
            self._process.kill()
            self._process = None

    def _flags(self) -> list[str]:
        own = self._authority
        return [
            f"--data-dir={self.data.name}",
            "--unsafe-no-fsync",
            f"--listen-client-urls=https://127.0.0.1:{self._port}",
            f"--advertise-client-urls=https://127.0.0.1:{self._port}",
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
