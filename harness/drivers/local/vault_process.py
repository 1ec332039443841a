"""The life of one Vault server as a process: its configuration, its data that outlives each version, its logs."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Final

import msgspec

from harness import wait
from harness.artifacts.brought import LICENCE_FILE, is_enterprise
from harness.clients.vault import Vault
from harness.drivers import vault_config
from harness.drivers.data_server import VaultStore, copy_data, copy_sparsely, fill, keep_copy, put_back_copy, size_of
from harness.drivers.log_collection import Lines
from harness.drivers.log_tail import Tail
from harness.drivers.vault_config import Joining, Listening, Stored, Unsealing
from harness.errors import ProcessDied, RigError
from harness.host import pki, ports, process, process_clock, standing_still
from harness.host.process import Process, Supervisor
from harness.knowledge import shutdown_signs, versions
from harness.rig.leases import Weight
from harness.secret import Secret

LISTEN_SECONDS: Final = 60
STOP_SECONDS: Final = 15
_A_DISK: Final = 1 << 22
"""Bytes: the directories of a small disk, and what files take beyond their length."""
_FULL: Final = "no space left on device"
_WHOLE: Final = 1 << 23  # bytes, and as many lines: a Go program that is told to quit prints all its stacks after that


class VaultServer:
    """Vault over one data directory. Stopping leaves the data; the supervisor wipes everything at the end.

    A Vault that is not initialised yet belongs to whoever is first, and every user of this machine reaches its port. So
    it talks to nobody but us: its listener wants a certificate that only we have. For plain HTTP the server has to be
    started anew once it is initialised, after `listen_plainly`.
    """

    def __init__(
        self,
        directory: Path,
        *,
        storage: str,
        port: int,
        cluster_port: int,
        licence: Secret | None = None,
        store: VaultStore | None = None,
        name: str = "",
        first: VaultServer | None = None,
        mlock_said: bool = True,
    ) -> None:
        """*store* has its data where they are in no directory of its own; *licence* is handed to every version that
        wants one, as a file of this run's own. *name* is that of a node among several, of which *first* is the first:
        they know each other by the certificates of one authority, and write one audit log. *mlock_said*: does its
        configuration say disable_mlock?
        """
        self.directory, self._mlock_said = directory, mlock_said
        self._storage, self._port, self._cluster_port, self._store = storage, port, cluster_port, store
        directory.mkdir(mode=0o700)
        self._data = directory / "data"
        self._data.mkdir(mode=0o700)
        authority = first.authority if first else pki.Authority(directory, "127.0.0.1", client=True)
        self.authority: pki.Authority = authority
        self.name = name
        self.others: Sequence[VaultServer] = ()
        """the nodes that it tries to join while it has no data"""
        file = Tail((first.directory if first else directory) / "audit.log")
        self.audit: Lines = first.audit if first else file
        self.log = Tail(directory / "vault.log")
        address = f"https://127.0.0.1:{port}"
        # relative to where it runs: in its data the path would lead a copy of it into somebody else's file. Of several
        # nodes, whose data nobody copies, all write one
        audit = str(file.path) if name else file.path.name
        self.client = Vault(address, authority.ca, audit_file=audit, certificate=authority.client, name=name)
        self.syslog: Path | None = None
        """the socket that it finds where syslog is"""
        self.process: Process | None = None
        self.version = ""
        """the one that was started last"""
        self._config = directory / "vault.json"
        self._licence = directory / LICENCE_FILE if licence else None
        if licence and self._licence:
            pki.write_private(self._licence, licence.reveal().encode())
        self._unsealing: Unsealing | None = None
        self._ahead = 0
        """so many seconds its clock is ahead"""
        self._is_full = False
        """is its disk one that was filled on purpose?"""
        self._listening: Listening | None = Listening(str(authority.certificate), str(authority.key), str(authority.ca))
        self._configure()

    def listen_plainly(self) -> None:
        """Have the next start listen with plain HTTP, to whoever asks."""
        self.client.listens_plainly()
        self._listening = None
        self._configure()

    def listen_to_certificates(self) -> None:
        """Have the next start talk to everybody over TLS, and take note of whatever certificate is shown."""
        if self._listening is not None:
            self._listening = self._listening._replace(clients="")
        self._configure()

    def unseal_by(self, other: VaultServer, token: Secret | None, *, disabled: bool = False) -> None:
        """Have the next start be unsealed by the transit engine of *other*, which knows it by a *token*.

        None: by its keys. *disabled*: by its keys, while that is the seal that it is to leave.
        """
        certificate, key = map(str, other.authority.client)
        ca = str(other.authority.ca)
        found = None if token is None else Unsealing(other.client.address, ca, certificate, key, token, disabled)
        self._unsealing = found
        self._configure()

    def start(
        self,
        supervisor: Supervisor,
        binary: Path,
        version: str,
        *,
        pod: Path | None = None,
        api_port: int = 0,
        apart: bool = False,
    ) -> None:
        """Start *binary* over the data and wait until it answers, sealed or not yet initialised.

        *pod* is the folder that is mounted as the pod's service account; None leaves the server without one. *apart*:
        it sees no files of this machine but the system's and its own, wherever its data say that it should write.
        Raises ProcessDied with its last lines, NotReady after LISTEN_SECONDS, and RigError where something else than
        Vault is to blame: the port, the disk, whoever killed it.
        """
        ports.insist(self._port, versions.called(version))
        if self.name:
            # a Vault that cannot listen there only says so in its log, and nobody can join it or ask it for anything
            ports.insist(self._cluster_port, f"{versions.called(version)} for its other nodes")
        self._configure(openbao=versions.product(version) == versions.OPENBAO)
        env = {"HOME": str(self.directory), "VAULT_LOG_FORMAT": "json"}
        if self._licence and is_enterprise(version):
            env["VAULT_LICENSE_PATH"] = str(self._licence)
        if self._unsealing is not None:
            env["VAULT_TOKEN"] = self._unsealing.token.reveal()
        if pod is not None:
            env |= {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(api_port)}
        started = supervisor.start(
            f"{versions.called(version)}{f' ({self.name})' if self.name else ''}",
            [str(binary), "server", f"-config={self._config}"],
            env=env,
            cwd=self.directory,
            log=self.log.path,
            pod=pod,
            syslog=self.syslog,
            apart=apart,
        )
        self.process, self.version = started, version
        try:
            wait.until(
                lambda: self.client.seal_status().answered(),
                what=f"{versions.called(version)} to answer",
                seconds=LISTEN_SECONDS,
                died=self.died,
                log=started.tail,
                advice=f"its whole log is kept beside the record, as logs/{self.directory.name}-vault.log",
            )
        except ProcessDied:
            ports.insist(self._port, versions.called(version))
            raise
        if self._ahead:
            process_clock.set_ahead(started.pid, self._ahead)

    def set_clock(self, seconds: int) -> None:
        """Have its clock be so many seconds ahead, now and after each start. Raises RigError as `set_ahead`."""
        self._ahead = seconds
        if self.process is not None:
            process_clock.set_ahead(self.process.pid, seconds)

    def _configure(self, *, openbao: bool = False) -> None:
        settings = vault_config.text(
            self._stored(),
            listen=f"127.0.0.1:{self._port}",
            tls=self._listening,
            address=self.client.address,
            cluster_address=f"https://127.0.0.1:{self._cluster_port}",
            openbao=openbao,
            mlock_said=self._mlock_said,
            unsealing=self._unsealing,
            listen_to_nodes=f"127.0.0.1:{self._cluster_port}",
        )
        pki.write_private(self._config, settings.encode())

    def continue_over(self, other: VaultServer) -> None:
        """Have the next start be over the data of *other*, which is stopped and starts no more."""
        self._data = other._data
        self._configure()

    def take_data_along(self) -> None:
        """Have the next start be over a copy of the data of this Vault, which is stopped, in another place."""
        if self._store is not None:
            return  # a store of its own stays where it is, and is found again
        old, self._data = self._data, self._data.with_name(f"{self._data.name}-moved")
        copy_data(old, self._data)
        shutil.rmtree(old)
        self._configure()

    def copy_data(self, target: Path) -> None:
        """Copy the data of this Vault, which is stopped, to *target*, which is not there yet. Raises OSError."""
        copy_data(self._data, target)

    def copy_data_as_it_runs(self, target: Path) -> None:
        """Copy the data of this Vault, which serves, to *target*, which is not there yet: as a power cut would leave
        them, which raft's own files bear. Raises OSError, and RigError if Vault does not stand still for it.
        """
        assert self.process is not None
        with standing_still.held(self.process):
            copy_data(self._data, target)

    def begin_with(self, data: Path, root: Secret | None) -> None:
        """Have the first start be over a copy of *data*, of a Vault that is initialised, whose root token is *root*.

        Raises OSError.
        """
        self._data.rmdir()
        copy_data(data, self._data)
        self.client.root = root

    def _stored(self) -> Stored:
        if self._store is not None:
            # whoever holds the lock in it leads, and only where it is said are there such locks
            high = {"ha_enabled": "true"} if self.name else {}
            return {kind: {**fields, **high} for kind, fields in self._store.stored.items()}
        if not self.name:
            return vault_config.in_directory(self._storage, str(self._data))
        certificate, key = map(str, self.authority.client)
        ca = str(self.authority.ca)
        others = [Joining(one.among, ca, certificate, key) for one in self.others]
        return vault_config.in_directory(self._storage, str(self._data), node=self.name, others=others)

    def remove_data(self) -> None:
        """Remove the data of this Vault, which is stopped: the next start is over none. Raises OSError."""
        if self._is_full:
            self._data, self._is_full = self._data.with_name(f"{self._data.name}-new"), False
            self._configure()
        else:
            shutil.rmtree(self._data)
        self._data.mkdir(mode=0o700)

    def fill_disk(self, supervisor: Supervisor) -> None:
        """Have the data of this Vault, which is stopped, on a disk without any room: what is there can be read.

        Raises RigError where this machine has no small disk, and OSError.
        """
        old, self._data = self._data, self._data.with_name(f"{self._data.name}-full")
        supervisor.small_disk(self._data, 2 * size_of(old) + _A_DISK)
        copy_sparsely(old, self._data)
        shutil.rmtree(old)
        fill(self._data)
        self._is_full = True
        self._configure()

    def join(self, others: Sequence[VaultServer]) -> None:
        """Have it join *others* whenever it starts without data."""
        self.others = others
        self._configure()

    def seen_by_kubelet(self) -> None:
        """Return nothing: a process has no Pod that a kubelet runs."""

    def join_nobody(self) -> None:
        """Have it join nobody when it starts without data."""
        self.join(())

    def weigh(self) -> Weight:
        """Return what its process and its data weigh."""
        memory = self.process.memory if self.process else None
        if self._store is not None:
            return msgspec.structs.replace(self._store.weigh(), memory=memory)
        return Weight(memory=memory, stored=size_of(self._data))

    def keep_data(self) -> int:
        """Copy the data of this Vault, which is sealed, in place of an earlier copy. Return how many bytes that is."""
        data, rest = self._resting()
        return keep_copy(data, self._kept, rest)

    def put_back_data(self) -> None:
        """Replace the data of this Vault, which is sealed, by the copy that was kept."""
        data, rest = self._resting()
        put_back_copy(self._kept, data, rest)

    def _resting(self) -> tuple[Path, AbstractContextManager[None]]:
        """Return the directory of the data, and in what nobody writes to it: this Vault is sealed."""
        return (self._data, nullcontext()) if self._store is None else (self._store.data, self._store.at_rest())

    @property
    def _kept(self) -> Path:
        return self.directory / "kept"

    @property
    def among(self) -> str:
        """Return the address at which other nodes find it."""
        return self.client.address

    @property
    def started(self) -> bool:
        """Is there a process that was started, and not stopped since?"""
        return self.process is not None

    def stop(self) -> None:
        """Stop the server as a rollout would (SIGTERM, then a deadline). Its data stays."""
        if self.process is not None:
            self.process.stop(STOP_SECONDS)
            self.process = None

    def kill(self) -> None:
        """End the server at once, as a power cut would. Its data stay as they are then."""
        if self.process is not None:
            self.process.kill()
            self.process = None

    def died(self) -> str | None:
        """Return a sentence if the server has ended by itself.

        Raises RigError where that says nothing about Vault: it was stopped or killed, or its disk is full.
        """
        sentence = self.process.died() if self.process else None
        if self.process is None:
            return None
        if self._is_full:
            # what that makes of it is what is asked
            wrote_nothing = sentence is None and any(_FULL in line for line in self.process.tail())
            what = f"{versions.called(self.version)} ({self.name})"
            return f"{what} can write nothing: {_FULL}" if wrote_nothing else sentence
        if sentence is None:
            if self.name and (full := process.out_of_room(self._data, ())):
                # it lives on, cannot follow the others, and says so in its log alone
                what = f"{versions.called(self.version)} ({self.name})"
                raise RigError(f"{what} can write nothing, because {full}", self.tail())
            return None
        lines = self.process.tail()
        if self.process.poll() == -signal.SIGKILL:
            raise RigError(
                f"{sentence}, which was not Vault's own doing: the kernel kills so where memory runs out (dmesg "
                "shows it); make room and run again",
                lines,
            )
        if who := shutdown_signs.signalled(sentence) or shutdown_signs.stopped(self.process.tail(_WHOLE, _WHOLE)):
            raise RigError(shutdown_signs.blame(self.version, who), lines)
        if full := process.out_of_room(self.directory, lines):
            raise RigError(f"{sentence}, which says nothing about Vault, because {full}", lines)
        return sentence

    def tail(self, lines: int = 40) -> list[str]:
        """Return the last *lines* of the server that runs, redacted; none where none does."""
        return self.process.tail(lines) if self.process else []
