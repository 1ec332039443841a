"""The life of one Vault as a container outside any cluster: its upgrade is another container over the same volume."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal

from harness import wait
from harness.artifacts.brought import LICENCE_FILE
from harness.clients.vault import Vault
from harness.drivers.audit_devices import AuditDevices
from harness.drivers.kind import vault_data
from harness.drivers.kind.audit_disks import AuditDisks
from harness.drivers.kind.cluster import VAULT_PORT, Where, Workbench
from harness.drivers.kind.one_pod import LINES_BETWEEN, is_audit
from harness.drivers.kind.vault_pod import (
    GUARDED,
    OPEN,
    PLAIN,
    SEAL_FILES,
    TLS,
    by_seal,
    command,
    from_within,
    settings,
)
from harness.drivers.log_collection import Lines
from harness.drivers.log_tail import Tail
from harness.drivers.vault_config import Unsealing
from harness.drivers.vault_stores import Store
from harness.errors import RigError, Unreachable
from harness.host import pki, ports
from harness.knowledge import shutdown_signs, versions
from harness.secret import Secret, redact

_ANSWER_SECONDS: Final = 60
_STOP_SECONDS: Final = 15
_KEPT: Final = "kept"
_WHOLE: Final = 10_000  # lines: a Go program that is told to quit prints all its stacks after the reason
_SIGKILL_STATUS: Final = 128 + signal.SIGKILL


class VaultContainer:
    """Vault over one volume, in the network of the clusters, where it has its name. The supervisor ends it.

    It talks to us alone, by our certificate: a container is reached by every user of this machine, and a Vault that is
    not initialised yet belongs to whoever is first. After `listen_plainly` the next one talks to everybody.
    """

    def __init__(
        self,
        directory: Path,
        bench: Workbench,
        *,
        storage: str,
        port: int,
        shell: str,
        licence: Secret | None = None,
        name: str = "vault",
        store: Store | None = None,
        unsealer: Unsealing | None = None,
        also_at: str = "",
    ) -> None:
        """*port* is that of this machine at which Vault answers; *shell* is an image with the programs of a system.

        *name* tells it from others of the same run.

        Vault's own may hold nothing but Vault. *licence* is handed to every version. *store* has its data, if that is
        another server. *unsealer* is the Vault that may unseal this one, by files of this machine. *also_at* is another
        address of this machine at which it answers, at the same port: that which a network of containers has of it.
        """
        directory.mkdir(mode=0o700)
        self._directory, self._bench, self._port, self._name = directory, bench, port, name
        self._authority = authority = pki.Authority(directory, "127.0.0.1", "vault", client=True)
        self._mounted = directory / "mounted"
        self._mounted.mkdir(mode=0o700)
        self._store, self._storage, self._also_at = store, storage, also_at
        self._unsealer = unsealer
        self._unsealing: Unsealing | None = None
        self._configure()
        for file, there in (store.files if store else {}).items():
            pki.write_private(self._mounted / file, there.read_bytes())
        if unsealer is not None:
            for file, said in zip(SEAL_FILES, (unsealer.ca, unsealer.certificate, unsealer.key), strict=True):
                pki.write_private(self._mounted / file, Path(said).read_bytes())
        self._environment = {"VAULT_LOG_FORMAT": "json", "HOME": "/tmp"}  # noqa: S108 -- in the container
        if licence:
            pki.write_private(self._mounted / LICENCE_FILE, licence.reveal().encode())
            self._environment["VAULT_LICENSE_PATH"] = f"/vault/tls/{LICENCE_FILE}"
        self._config = GUARDED
        for path in (authority.certificate, authority.key, authority.ca):
            pki.write_private(self._mounted / path.name, path.read_bytes())
        # Two readers of one file: Vault's own words, and its audit log, which goes to stdout.
        self.log = Tail(directory / "vault.log")
        self.audit: Lines = Tail(directory / "vault.log")
        self._disks: AuditDisks | None = None
        address = f"https://127.0.0.1:{port}"
        self.client = Vault(address, authority.ca, audit_file="stdout", certificate=authority.client)
        self._containers: list[str] = []
        self._container, self._version = "", ""
        """the container that runs, and nothing in between"""
        self._shell, self.keeps = shell, False
        self._volume = self._make_volume(name)

    @property
    def authority(self) -> pki.Authority:
        """Return whose certificates let others in."""
        return self._authority

    @property
    def within(self) -> tuple[str, str]:
        """Return its address for whoever is in the network of the run, and the name that its certificate has."""
        scheme = self.client.address.partition(":")[0]
        address = self._bench.engine.address(self._container, self._bench.network)
        return f"{scheme}://{address}:{VAULT_PORT}", "vault"

    def seen_by_kubelet(self) -> None:
        """Return nothing: no kubelet runs it."""

    def audit_by(self, devices: AuditDevices, disks: AuditDisks) -> None:
        """Have its audit log be what *devices* write, of which those that are files are on *disks*.

        It goes to stdout otherwise. To be called before the first start.
        """
        self.audit, self._disks = devices, disks
        devices.introduce(self.client, Tail(self.log.path))

    def listen_plainly(self) -> None:
        """Have the next container listen with plain HTTP, to whoever asks."""
        self.client.listens_plainly()
        self._config = PLAIN

    def listen_to_certificates(self) -> None:
        """Have the next one listen to whoever asks over TLS, and take note of whatever certificate is shown."""
        self._config = OPEN

    def unseal_by(self, token: Secret | None, *, disabled: bool = False) -> None:
        """Have the next container be unsealed by the Vault that may, which knows this one by a *token*; None: by keys.

        *disabled*: by its keys, while that is the seal that it is to leave.
        """
        assert self._unsealer is not None
        self._unsealing = None if token is None else self._unsealer._replace(token=token, disabled=disabled)
        self._configure()

    def _configure(self) -> None:
        within = None
        if self._unsealing is not None:
            # told: an engine shows a container's environment to whoever may look at it
            within = from_within(self._unsealing)._replace(told=True)
        kept_in = self._store.stored_within(TLS) if self._store else None
        for config, text in settings(self._storage, kept_in=kept_in, unsealing=within).items():
            pki.write_private(self._mounted / config, text.encode())

    @property
    def published(self) -> tuple[str, str]:
        """Return its address, which stays, for whoever is in the network of the run, and its certificate's name."""
        return f"https://{self._also_at}:{self._port}", "vault"

    def continue_over(self, other: VaultContainer) -> None:
        """Have the next container be over the volume of *other*, which is stopped and starts no more."""
        self._volume = other._volume

    def keep_data(self) -> int:
        """Copy the data of this Vault, which is sealed, in place of an earlier copy. Return how many bytes that is."""
        if self._store is not None:
            return self._store.keep_data()
        self.keeps = True
        return self._copy(self._volume, self._make_volume(_KEPT))

    def put_back_data(self) -> None:
        """Replace the data of this Vault, which is sealed, by the copy that was kept."""
        if self._store is not None:
            self._store.put_back_data()
            return
        self._copy(self._make_volume(_KEPT), self._volume)

    def copy_data(self, volume: str, labels: Mapping[str, str]) -> str:
        """Copy the data of this Vault, which is sealed, to a new *volume* with *labels* of its own; return its name."""
        self._bench.engine.create_volume(volume, labels)
        self._copy(self._volume, volume)
        return volume

    def begin_with(self, data: str, root: Secret | None) -> None:
        """Have the first start be over a copy of the volume *data*, of an initialised Vault whose root token is *root*.

        Raises as `replace`.
        """
        self._copy(data, self._volume)
        self.client.root = root

    def held(self) -> list[Where]:
        """Return where its data are, and then where the copy of them is that it keeps, if it keeps one.

        Nowhere, where another server has them: that stays where it is, and is found again.
        """
        if self._store is not None:
            return []
        return [Where(self._volume), *([Where(self._make_volume(_KEPT))] if self.keeps else [])]

    def _make_volume(self, name: str) -> str:
        """Return a volume of the run, which is made unless it is there."""
        volume = f"{self._bench.name}-{name}"
        self._bench.engine.create_volume(volume, self._bench.labels)
        return volume

    def _copy(self, source: str, target: str) -> int:
        return vault_data.copy(self._bench, self._shell, Where(source), Where(target))

    def replace(self, version: str, image: str) -> None:
        """Start *version*, in the place of the one that runs, and wait until it answers, sealed or not initialised.

        Raises ProcessDied with its last lines, NotReady, and RigError where something else than Vault is to blame.
        """
        engine = self._bench.engine
        self._version = version
        self.stop()
        if self._disks is not None:
            self._disks.make()
        ports.insist(self._port, versions.called(version))
        program, *words = command(by_seal(self._config, self._unsealing), version, secret=True)
        self._container = engine.start(
            image,
            words,
            entrypoint=[program],
            # some images have a user of their own, who may not read what this one is told
            user="0",
            name=f"{self._bench.name}-{self._name}-{len(self._containers) + 1}",
            labels=dict(self._bench.labels),
            environment=self._environment,
            volumes={
                self._volume: {"bind": "/vault/data", "mode": "rw"},
                str(self._mounted): {"bind": "/vault/tls", "mode": "ro"},
                **(self._disks.volumes if self._disks else {}),
            },
            tmpfs={"/tmp": ""},  # noqa: S108
            network=self._bench.network,
            alias=self._name,
            ports={f"{VAULT_PORT}/tcp": [(address, self._port) for address in ("127.0.0.1", self._also_at) if address]},
        )
        self._containers.append(self._container)
        self._bench.copy_output(
            f"log of {versions.called(version)}", ["logs", "--follow", self._container], self._directory, self.log.path
        )
        wait.until(
            lambda: self.client.seal_status().answered(),
            what=f"{versions.called(version)} to answer",
            seconds=_ANSWER_SECONDS,
            died=self.died,
            log=self.tail,
            advice="its whole log is kept beside the record",
        )

    def stop(self) -> None:
        """Stop the container that runs, as a rollout would. Its volume and what it printed stay."""
        container, self._container = self._container, ""
        if container:
            self._bench.engine.stop(container, _STOP_SECONDS)

    def kill(self) -> None:
        """End the container that runs at once, as a power cut would. Its volume and what it printed stay."""
        container, self._container = self._container, ""
        if container:
            self._bench.engine.stop(container, 0)

    def died(self) -> str | None:
        """Return a sentence if Vault has ended by itself.

        Raises RigError where that says nothing about Vault: it was killed, or the engine that runs it is gone.
        """
        try:
            sentence = self._bench.engine.ended(self._container) if self._container else None
        except Unreachable as error:
            what = versions.called(self._version)
            raise RigError(f"{error}, and so {what} is lost; see why, and run again") from error
        if sentence is None:
            return None
        if "out of memory" in sentence:
            raise RigError(f"{sentence}: make room and run again", self.tail())
        if sentence.endswith((" is gone", f"status {_SIGKILL_STATUS}")):
            what = versions.called(self._version)
            raise RigError(f"{what} was ended from outside: {sentence}; see who did, and run again")
        if who := shutdown_signs.stopped(self.tail(_WHOLE)):
            raise RigError(shutdown_signs.blame(self._version, who), self.tail())
        return f"{versions.called(self._version)} ended by itself: {sentence}"

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
