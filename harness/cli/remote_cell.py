"""One cell of a matrix on another machine: what is sent there, what is done with it, and what comes back.

What is sent has no secret in it: mirrors, registries and licences are what the other machine's environment says.
"""

from __future__ import annotations

import io
import logging
import os
import socket
import ssl
import tarfile
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from harness import settings
from harness.errors import MissingPrerequisite, refused_by_machine
from harness.scenario.driver_traits import Sharing
from harness.wait import Stopwatch

if TYPE_CHECKING:
    from harness.cli.matrix_workers import Task

MEMORY: Final = "memory"
DOCKER: Final = "docker"
"""What a worker has, and a cell takes while it lasts: GB of memory, and a Docker engine for kind clusters."""

WORKERS: Final = "workers"
"""The directory of workers below the state directory: each has one in it, called by its process id."""

_GREETING_SECONDS: Final = 10.0
_IDLE_SECONDS: Final = 30.0
"""So long a process waits for another cell, with the control planes that it can lend to that."""

_WATCH_SECONDS: Final = 5.0
_PLENTY: Final = 1e9


class Security(msgspec.Struct, frozen=True):
    """Who may speak with a scheduler: whoever has the key in *directory*; None: anybody who reaches it."""

    directory: Path | None

    def settled(self) -> Any:
        """Return it as the engine takes it. Raises FileNotFoundError for a file that is missing."""
        import distributed

        if self.directory is None:
            return distributed.Security(require_encryption=False)
        files = self._files(self.directory)
        roles = ("scheduler", "worker", "client")
        keys = {f"tls_{role}_cert": str(files["tls.crt"]) for role in roles}
        keys |= {f"tls_{role}_key": str(files["tls.key"]) for role in roles}
        return distributed.Security(tls_ca_file=str(files["ca.crt"]), require_encryption=True, **keys)

    def insist(self, address: str) -> None:
        """Raise MissingPrerequisite where whoever answers at *address* has another key: an engine would go on asking.

        That nobody answers is no matter of keys. Raises FileNotFoundError for a file that is missing.
        """
        if self.directory is None:
            return
        files = self._files(self.directory)
        host, _, port = address.partition("://")[2].rpartition(":")
        context = ssl.create_default_context(cafile=str(files["ca.crt"]))
        # as the engine has it: who has the key is who is meant, whatever it is called
        context.check_hostname = False
        context.load_cert_chain(str(files["tls.crt"]), str(files["tls.key"]))
        try:
            with socket.create_connection((host.strip("[]"), int(port or 0)), _GREETING_SECONDS) as plain:
                context.wrap_socket(plain).close()
        except ssl.SSLError as error:
            raise MissingPrerequisite(
                f"whoever answers at {address} has another key than {self.directory}: copy the directory of the "
                f"scheduler's key here, or name it in --tls-dir ({error})"
            ) from error
        except (OSError, ValueError):
            return

    @staticmethod
    def _files(directory: Path) -> dict[str, Path]:
        files = {name: directory / name for name in ("ca.crt", "tls.crt", "tls.key")}
        for file in files.values():
            if not file.is_file():
                raise FileNotFoundError(file)
        return files


class RemoteOrder(msgspec.Struct, frozen=True):
    """What is sent: a cell as a scenario by itself, and how it is rehearsed."""

    name: str
    file: str
    """the name of its file"""
    scenario: str
    driver: str
    words: tuple[str, ...]
    """options, as on a command line"""
    limit_seconds: float
    program: str
    """the release of this program"""
    digests: Mapping[str, str] = {}
    """of binaries that are known already, by product and version"""
    group: str = ""
    """what it agrees on with others, which are cheapest in one process; empty: with nobody"""
    sharing: Sharing = ""
    """with which others that agree with it on the source state"""
    alone: bool = False
    """is nothing to be shared with others, no cluster either?"""


class RemoteAnswer(msgspec.Struct, frozen=True):
    """What comes back."""

    worker: str
    """its address"""
    code: int = 3
    seconds: float = 0.0
    said: tuple[str, ...] = ()
    late: bool = False
    record: bytes = b""
    """the directory of the record, packed"""
    refused: str = ""
    """why this worker is none for this matrix; empty for one that has rehearsed the cell"""


def hush() -> None:
    """Silence the engine, once it is imported: what it would say is said by this program, in words of its own."""
    for name in list(logging.root.manager.loggerDict):
        if name.partition(".")[0] == "distributed":
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)


def tag(program: str) -> str:
    """Return the resource that only workers with this release of the program have."""
    return f"rehearse {program}"


def resources(program: str, memory: float, *, docker: bool) -> dict[str, float]:
    """Return what a worker has to give; *memory* in GB."""
    return {tag(program): _PLENTY, MEMORY: memory, DOCKER: _PLENTY if docker else 0.0}


def rehearse_cell(order: RemoteOrder) -> RemoteAnswer:
    """Rehearse a cell here, and return its record: this is what a worker is given to do."""
    from harness.cli.cells import Order
    from harness.cli.matrix_workers import Task

    name, stopped = _engine()
    if why := _refusal(order):
        return RemoteAnswer(name, refused=why)
    try:
        with tempfile.TemporaryDirectory(prefix="cell-", dir=home()) as folder:
            file, record = Path(folder) / order.file, Path(folder) / "cells" / Path(order.file).stem
            file.write_text(order.scenario, encoding="utf-8")
            wanted = Order(str(file), str(record), order.driver, sharing=order.sharing, alone=order.alone)
            task = Task(order.name, wanted, order.limit_seconds, order.group)
            with _slots.one(order.words, order.group) as slot:
                code = slot.rehearse(task, stopped)
            return RemoteAnswer(name, code, task.seconds, tuple(task.said), task.late, pack(record))
    except OSError as error:
        # a full disk, say: that is of this machine, and others may have room
        return RemoteAnswer(name, refused=refused_by_machine(error))


def home() -> Path:
    """Return the directory of this worker, which is made if missing."""
    return settings.private_state(settings.state(), WORKERS, str(os.getpid()))


def end_idle(after_seconds: float = 0.0) -> None:
    """End the processes that have rehearsed nothing for so long, and the servers that they kept for the next cell."""
    _slots.end_idle(after_seconds)


class _Slot:
    """A process that rehearses one cell after the other, as `rehearse matrix` has some on its own machine."""

    def __init__(self, words: tuple[str, ...]) -> None:
        from harness.cli.matrix_workers import Workers
        from harness.cli.progress import Progress

        self.words = words
        self.group = ""
        """that of the last cell, whose source state it may have kept"""
        self.idle = Stopwatch()
        self.over = False
        self._task: Task | None = None
        self._stop: Callable[[], bool] = lambda: False
        self._workers = Workers(_How(words), 1, Progress(quiet=True))
        self._ended = self._workers.ended(self._given(), self._stopped)

    def _given(self) -> Iterator[Task]:
        while (task := self._task) is not None:
            self._task = None
            yield task

    def _stopped(self) -> bool:
        return self._stop()

    def rehearse(self, task: Task, stop: Callable[[], bool]) -> int:
        """Rehearse *task*, and return its exit code: 130 where *stop* has ended it."""
        self._task, self._stop, self.group = task, stop, task.group
        done = next(self._ended, None)
        self.over = done is None
        return 130 if done is None else done[1]

    def end(self) -> None:
        """End the process, and the servers that it kept."""
        self._workers.end()


class _Slots:
    """The processes of this worker that do nothing at the moment; each is used by one thread at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: list[_Slot] = []
        self._watched = False

    @contextmanager
    def one(self, words: tuple[str, ...], group: str) -> Iterator[_Slot]:
        """Have a process for cells with these options, one that is there already if it can be: best one of *group*."""
        with self._lock:
            fitting = [slot for slot in self._idle if slot.words == words]
            found = max(fitting, key=lambda slot: slot.group == group, default=None)
            if found is not None:
                self._idle.remove(found)
            if not self._watched:
                self._watched = True
                threading.Thread(target=self._watch, name="idle processes", daemon=True).start()
        slot = found or _Slot(words)
        try:
            yield slot
        except BaseException:
            slot.end()
            raise
        if not slot.over:
            slot.idle = Stopwatch()
            with self._lock:
                self._idle.append(slot)

    def end_idle(self, after_seconds: float) -> None:
        """End those that have been idle for so long."""
        with self._lock:
            late = [slot for slot in self._idle if slot.idle.seconds >= after_seconds]
            self._idle = [slot for slot in self._idle if slot not in late]
        for slot in late:
            slot.end()

    def _watch(self) -> None:
        # it ends with its program
        while not threading.Event().wait(_WATCH_SECONDS):
            self.end_idle(_IDLE_SECONDS)


_slots: Final = _Slots()


class _How:
    """How a cell is rehearsed: as it was ordered, in this machine's own environment."""

    def __init__(self, words: tuple[str, ...]) -> None:
        self._words = words

    def words(self) -> list[str]:
        return list(self._words)

    def environment(self) -> dict[str, str]:
        return {}


def digests_here() -> dict[str, str]:
    """Return the digest of every binary that is cached here, by product and version."""
    from harness.artifacts.store import cached

    return {f"{one.product} {one.version}": one.sha256 for one in cached(settings.cache())}


def _refusal(order: RemoteOrder) -> str:
    """Return what is other here than the one who sent *order* has it; nothing where all is alike."""
    from harness.session import matrix_directory

    if (ours := matrix_directory.program()) != order.program:
        return f"it has rehearse {ours}, and this matrix is made by {order.program}: install the same release there"
    here = digests_here()
    for what, digest in order.digests.items():
        if here.get(what, digest) != digest:
            return (
                f"it has another {what} (sha256 {here[what][:12]}, and not {digest[:12]}): have both machines get it "
                "from one place (`rehearse artifacts list` shows where each is from)"
            )
    return ""


def _engine() -> tuple[str, Callable[[], bool]]:
    """Return the address of the worker that this is, and what says whether anybody waits for its cell any more."""
    import distributed

    try:
        worker = distributed.get_worker()
        key = worker.get_current_task()
    except ValueError:
        # called by itself, and by no engine
        return "", lambda: False

    def stopped() -> bool:
        task = worker.state.tasks.get(key)
        return task is None or task.state == "cancelled" or worker.status.name in ("closing", "closed", "failed")

    return str(worker.address), stopped


def pack(directory: Path) -> bytes:
    """Return *directory*, and all that is in it, as an archive; an empty one where it is not there."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=3) as archive:
        if directory.is_dir():
            archive.add(directory, arcname=".")
    return buffer.getvalue()


def unpack(packed: bytes, directory: Path) -> None:
    """Write what was packed into *directory*, which is made: files for this user alone, and none outside of it."""
    settings.made(directory)
    with tarfile.open(fileobj=io.BytesIO(packed), mode="r:gz") as archive:
        archive.extractall(directory, filter="data")
