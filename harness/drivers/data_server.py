"""What the servers have in common that have data beside Vault, each as a process: etcd, Consul and PostgreSQL."""

from __future__ import annotations

import abc
import errno
import os
import shutil
import signal
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import ClassVar, Final, Protocol

from harness import wait
from harness.drivers.log_tail import Tail
from harness.drivers.vault_config import Stored
from harness.host import ports, process
from harness.host.process import Process, Supervisor
from harness.rig.leases import Weight
from harness.rig.storage import StorageNow
from harness.scenario.schema_storage import ToStorage

LOOPBACK: Final = "127.0.0.1"

_SERVES_SECONDS: Final = 60
_STOP_SECONDS: Final = 15

FILLER: Final = "filler"
"""The file that leaves no room on a small disk."""

_PAGE: Final = 1 << 12


class RestsForCopies(abc.ABC):
    """A server, or several, whose data can be copied, and put back, while they rest."""

    directory: Path
    data: Path
    """everything is in here"""

    @abc.abstractmethod
    def start(self) -> None:
        """Start it over what it has, and wait until it serves."""

    @abc.abstractmethod
    def stop(self) -> None:
        """Stop it in order. Its data stay."""

    @contextmanager
    def at_rest(self) -> Iterator[None]:
        """Stop it while its data are read or replaced; afterwards it serves again."""
        self.stop()
        yield
        self.start()

    def keep_data(self) -> int:
        """Copy its data while it rests, in place of an earlier copy. Return how many bytes that is. Raises OSError."""
        return keep_copy(self.data, self._kept, self.at_rest())

    def put_back_data(self) -> None:
        """Replace its data by the copy that was kept. Raises OSError."""
        put_back_copy(self._kept, self.data, self.at_rest())

    @property
    def _kept(self) -> Path:
        return self.directory.with_name(f"{self.directory.name}-kept")


class DataServer(RestsForCopies):
    """A server whose data are in `data`, below its *directory* (which is made). The supervisor ends it."""

    stops_by: ClassVar[signal.Signals] = signal.SIGTERM
    """the signal at which it ends soon and in order, whoever is connected"""
    logs_to: ClassVar[str] = "server.log"
    """the name of its log, in its directory"""
    unprivileged: ClassVar[bool] = False
    """does it refuse to run as root?"""

    def __init__(
        self, called: str, directory: Path, port: int, supervisor: Supervisor, address: str = LOOPBACK
    ) -> None:
        """*called* is its name in sentences. It listens at the *address* alone."""
        directory.mkdir(mode=0o700)
        self.address = address
        self.called, self.directory, self.port, self._supervisor = called, directory, port, supervisor
        self.data = directory / "data"
        self.log = Tail(directory / self.logs_to)
        self.logs = [self.log]
        self._process: Process | None = None

    @abc.abstractmethod
    def _argv(self) -> Sequence[str]:
        """Return the command that serves, with its program's path."""

    @abc.abstractmethod
    def _serves(self) -> bool:
        """Does it take requests? Raises Unreachable where it gives no answer."""

    def start(self) -> None:
        """Start it over what it has, and wait until it serves. Raises ProcessDied, NotReady, or RigError as a Vault."""
        self.begin()
        self.await_serving()

    def begin(self) -> None:
        """Start it, and wait for nothing. Raises RigError."""
        ports.insist(self.port, self.called, self.address)
        self._process = self._run(self.called, self._argv())

    def await_serving(self) -> None:
        """Wait until it serves, once it was begun. Raises as `start`."""
        assert self._process is not None
        wait.until(
            self._serves,
            what=f"{self.called} to serve",
            seconds=_SERVES_SECONDS,
            died=self._process.died,
            log=self._process.tail,
            advice="its whole log is kept beside the record",
        )

    def _run(self, name: str, argv: Sequence[str]) -> Process:
        return self._supervisor.start(
            name,
            argv,
            env={"HOME": str(self.directory), "LC_ALL": "C"},
            cwd=self.directory,
            log=self.log.path,
            unprivileged=self.unprivileged,
        )

    @property
    def runs(self) -> bool:
        """Was it started, and neither stopped nor killed since?"""
        return self._process is not None

    def stop(self) -> None:
        """Stop it in order. Its data stay."""
        if self._process is not None:
            self._process.stop(_STOP_SECONDS, self.stops_by)
            self._process = None

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


class VaultStore(Protocol):
    """What has all the data of a Vault, whose storage it is: one server, or several."""

    data: Path
    """everything is in here"""

    @property
    def stored(self) -> Stored:
        """Return the storage of its Vault, as that Vault's configuration has it."""
        ...

    @property
    def logs(self) -> Sequence[Tail]:
        """Return the log of each server."""
        ...

    def touch(self, what: ToStorage) -> StorageNow:
        """Lose, defragment, stop or start servers; return who is left then. Raises as what does it."""
        ...

    def start(self) -> None: ...
    def at_rest(self) -> AbstractContextManager[None]: ...
    def died(self) -> str | None: ...
    def kill(self) -> None: ...

    def weigh(self) -> Weight:
        """Return how many bytes its data take. Raises Unreachable where it has to be asked and gives no answer."""
        ...


def size_of(directory: Path) -> int:
    """Return how many bytes the files in a *directory* have, those left out that go meanwhile."""
    found = 0
    for file in directory.rglob("*"):
        with suppress(FileNotFoundError):
            found += file.stat().st_size if file.is_file() else 0
    return found


def copy_data(source: Path, target: Path) -> None:
    """Copy a directory. Raises OSError for the first file that could not be copied."""
    try:
        shutil.copytree(source, target)
    except shutil.Error as error:
        # of every file in it, where one says it all
        (first, *_) = error.args[0]
        raise OSError(f"{first[0]} could not be copied: {first[2]}") from error


def copy_sparsely(source: Path, target: Path) -> None:
    """Copy a directory into another one, which is there, with the holes that its files have. Raises OSError."""
    for file in sorted(source.rglob("*")):
        place = target / file.relative_to(source)
        if file.is_dir():
            place.mkdir(mode=0o700)
            continue
        with file.open("rb") as old, place.open("wb") as new:
            while block := old.read(_PAGE):
                # what is written there takes room, and a hole takes none
                new.write(block) if block.strip(b"\0") else new.seek(len(block), os.SEEK_CUR)
            new.truncate(file.stat().st_size)
        shutil.copystat(file, place)


def fill(directory: Path) -> None:
    """Leave no room on the disk of a *directory*, which is a small one. Raises OSError where it is otherwise broken."""
    try:
        with (directory / FILLER).open("wb", buffering=0) as filler:
            while True:
                filler.write(bytes(_PAGE))
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise


def keep_copy(data: Path, kept: Path, rest: AbstractContextManager[None]) -> int:
    """Copy *data* in place of an earlier copy, while they *rest*. Return how many bytes that is. Raises OSError."""
    shutil.rmtree(kept, ignore_errors=True)
    with rest:
        copy_data(data, kept)
    return size_of(kept)


def put_back_copy(kept: Path, data: Path, rest: AbstractContextManager[None]) -> None:
    """Replace *data* by the copy that was kept, while they *rest*. Raises OSError."""
    with rest:
        shutil.rmtree(data)
        copy_data(kept, data)


class LoneStore(DataServer):
    """One server that is the storage of a Vault, alone."""

    def touch(self, what: ToStorage) -> StorageNow:
        """Stop it, start it over its data, or both; return whether it serves then. Raises as `start`."""
        watch = wait.Stopwatch()
        if what in ("stop", "restart"):
            self.stop()
        if what in ("start", "restart"):
            self.start()
        return StorageNow(int(self.runs), seconds=watch.seconds)

    def weigh(self) -> Weight:
        """Return how many bytes its data take."""
        return Weight(stored=size_of(self.data))
