"""The life of one Vault as a container outside any cluster: its upgrade is another container over the same volume."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Final, Literal

from harness import endings, pki, ports, wait
from harness.errors import RigError, Unreachable
from harness.kind_cluster import VAULT_PORT, Workbench
from harness.secret import redact
from harness.tailing import Tail
from harness.vault import Vault
from harness.vault_pod import GUARDED, LINES_BETWEEN, PLAIN, is_audit, settings

_ANSWER_SECONDS: Final = 60
_STOP_SECONDS: Final = 15
_WHOLE: Final = 10_000  # lines: a Go program that is told to quit prints all its stacks after the reason
_SIGKILL_STATUS: Final = 128 + signal.SIGKILL


class VaultContainer:
    """Vault over one volume, in the network of the clusters, where it is called `vault`. The supervisor ends it.

    It talks to us alone, by our certificate: a container is reached by every user of this machine, and a Vault that is
    not initialised yet belongs to whoever is first. After `listen_plainly` the next one talks to everybody.
    """

    def __init__(self, directory: Path, bench: Workbench, *, storage: str, port: int) -> None:
        """*port* is that of this machine at which Vault answers."""
        directory.mkdir(mode=0o700)
        self._directory, self._bench, self._port = directory, bench, port
        authority = pki.Authority(directory, "127.0.0.1", "vault", client=True)
        self._mounted = directory / "mounted"
        self._mounted.mkdir(mode=0o700)
        for name, tls in ((GUARDED, True), (PLAIN, False)):
            pki.write_private(self._mounted / name, settings(storage, tls=tls).encode())
        self._config = GUARDED
        for path in (authority.certificate, authority.key, authority.ca):
            pki.write_private(self._mounted / path.name, path.read_bytes())
        # Two readers of one file: Vault's own words, and its audit log, which goes to stdout.
        self.log, self.audit = Tail(directory / "vault.log"), Tail(directory / "vault.log")
        address = f"https://127.0.0.1:{port}"
        self.client = Vault(address, authority.ca, audit_file="stdout", certificate=authority.client)
        self._containers: list[str] = []
        self._container, self._version = "", ""
        """the container that runs, and nothing in between"""
        bench.engine.create_volume(f"{bench.name}-vault", bench.labels)

    def listen_plainly(self) -> None:
        """Have the next container listen with plain HTTP, to whoever asks."""
        self.client.listens_plainly()
        self._config = PLAIN

    def replace(self, version: str, image: str) -> None:
        """Start *version*, in the place of the one that runs, and wait until it answers, sealed or not initialised.

        Raises ProcessDied with its last lines, NotReady, and RigError where something else than Vault is to blame.
        """
        engine = self._bench.engine
        self._version, before, self._container = version, self._container, ""
        if before:
            engine.stop(before, _STOP_SECONDS)
        ports.insist(self._port, f"Vault {version}")
        self._container = engine.start(
            image,
            ["server", f"-config=/vault/tls/{self._config}"],
            entrypoint=["/bin/vault"],
            name=f"{self._bench.name}-vault-{len(self._containers) + 1}",
            labels=dict(self._bench.labels),
            environment={"VAULT_LOG_FORMAT": "json", "HOME": "/tmp"},  # noqa: S108 -- in the container
            volumes={
                f"{self._bench.name}-vault": {"bind": "/vault/data", "mode": "rw"},
                str(self._mounted): {"bind": "/vault/tls", "mode": "ro"},
            },
            tmpfs={"/tmp": ""},  # noqa: S108
            network=self._bench.network,
            alias="vault",
            ports={f"{VAULT_PORT}/tcp": ("127.0.0.1", self._port)},
        )
        self._containers.append(self._container)
        self._bench.copy_output(
            f"log of Vault {version}", ["logs", "--follow", self._container], self._directory, self.log.path
        )
        wait.until(
            lambda: self.client.seal_status().answered(),
            what=f"Vault {version} to answer",
            seconds=_ANSWER_SECONDS,
            died=self.died,
            log=self.tail,
            advice="its whole log is kept beside the record",
        )

    def died(self) -> str | None:
        """Return a sentence if Vault has ended by itself.

        Raises RigError where that says nothing about Vault: it was killed, or the engine that runs it is gone.
        """
        try:
            sentence = self._bench.engine.ended(self._container) if self._container else None
        except Unreachable as error:
            raise RigError(f"{error}, and so Vault {self._version} is lost; see why, and run again") from error
        if sentence is None:
            return None
        if "out of memory" in sentence:
            raise RigError(f"{sentence}: make room and run again", self.tail())
        if sentence.endswith((" is gone", f"status {_SIGKILL_STATUS}")):
            raise RigError(f"Vault {self._version} was ended from outside: {sentence}; see who did, and run again")
        if who := endings.stopped(self.tail(_WHOLE)):
            raise RigError(endings.blame(self._version, who), self.tail())
        return f"Vault {self._version} ended by itself: {sentence}"

    def tail(self, lines: int = 40) -> list[str]:
        """Return the last *lines* that Vault printed, redacted; none where the engine cannot be asked for them."""
        return self._said(self._container, LINES_BETWEEN * lines)[-lines:] if self._container else []

    def whole_log(self) -> list[str]:
        """Return what every version of Vault printed, redacted, as far as the engine can still be asked for it."""
        return [line for container in self._containers for line in self._said(container, "all")]

    def _said(self, container: str, lines: int | Literal["all"]) -> list[str]:
        try:
            printed = self._bench.engine.logs(container, lines)
        except (Unreachable, RigError):
            return []
        return [redact(line) for line in printed if not is_audit(line)]
