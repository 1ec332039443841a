"""A free loopback port that stays ours across parallel runs."""

from __future__ import annotations

import errno
import secrets
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from harness import settings
from harness.errors import RigError

if TYPE_CHECKING:
    from filelock import BaseFileLock

_RANGE: Final = range(21000, 32000)
_EPHEMERAL: Final = Path("/proc/sys/net/ipv4/ip_local_port_range")
_GATE: Final = "gate"
_DISCARD: Final = 9
_PATIENCE_SECONDS: Final = 30.0


class Ports:
    """Ports of 127.0.0.1, ours from `take` until the end of the ``with`` block, or of the process if that comes first.

    *directory* holds one lock file a port and is made if missing (0700). All runs of one user must be given the same:
    runs with different ones do not see each other's ports. The locks are the kernel's, so a run that is killed leaves
    empty files at most, and the next run removes them. Threads may share one object.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._here = threading.Lock()
        self._taken: dict[int, BaseFileLock] = {}

    def __enter__(self) -> Self:
        with self._gate():
            for file in self._directory.glob("*.lock"):
                if lock := self._lock(file):
                    _drop(lock)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._gate():
            while self._taken:
                _drop(self._taken.popitem()[1])

    def take(self, count: int) -> list[int]:
        """Reserve *count* ports that nobody listens on, apart from those the kernel gives to whoever asks for any.

        Raises RigError if there are not that many, and then none of them is kept, or if nobody is reached at 127.0.0.1.
        """
        _insist_on_loopback()
        found: dict[int, BaseFileLock] = {}
        with self._gate():
            for port in _candidates(_EPHEMERAL):
                if len(found) == count:
                    break
                if _is_free(port) and (lock := self._lock(self._directory / f"{port}.lock")):
                    found[port] = lock
            if len(found) < count:
                for lock in found.values():
                    _drop(lock)
                raise RigError(_too_few(count, len(found)))
            self._taken |= found
        return sorted(found)

    @contextmanager
    def _gate(self) -> Iterator[None]:
        """One at a time, over all runs: else one run could lock a file in the moment another removes it."""
        from filelock import FileLock

        settings.private(self._directory)
        with self._here, FileLock(self._directory / _GATE, _PATIENCE_SECONDS, poll_interval=0.001):
            yield

    @staticmethod
    def _lock(file: Path) -> BaseFileLock | None:
        from filelock import FileLock, Timeout

        # Not thread-local: the thread that brings a cluster up need not be the one that takes it down.
        lock = FileLock(file, timeout=0, thread_local=False)
        try:
            lock.acquire()
        except Timeout:
            return None
        return lock


def insist(port: int, who: str, address: str = "127.0.0.1") -> None:
    """Raise RigError if somebody listens on *port*, which *who* is to have: the locks hold off our own runs only.

    Or if the *address* is none of this machine.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as trial:
        # As the servers bind: a connection still winding down does not hinder them.
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((address, port))
        except OSError as error:
            if error.errno == errno.EADDRNOTAVAIL:
                raise RigError(
                    f"{who} was to listen on {address}, which is no address of this machine: the container engine says "
                    "that its containers find this machine there, and runs elsewhere"
                ) from None
            raise RigError(
                f"{who} was to listen on {address}:{port}, and that port was taken since it was reserved "
                f"({error.strerror}): run again, which takes other ports, or end what listens there (ss -ltnp shows it)"
            ) from None


def _drop(lock: BaseFileLock) -> None:
    Path(lock.lock_file).unlink(missing_ok=True)
    lock.release()


def _candidates(ephemeral: Path) -> Sequence[int]:
    """Return our ports, starting anywhere, so that parallel runs seldom meet; all if the ephemeral ones leave none."""
    low, high = (int(bound) for bound in ephemeral.read_text(encoding="ascii").split())
    ours = [port for port in _RANGE if not low <= port <= high] or list(_RANGE)
    start = secrets.randbelow(len(ours))
    return ours[start:] + ours[:start]


def _insist_on_loopback() -> None:
    """Raise RigError if nobody is reached at 127.0.0.1: what binds there does not notice, and would be waited for."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as trial:
        try:
            # of a datagram socket this looks up the way, and sends nothing
            trial.connect(("127.0.0.1", _DISCARD))
        except OSError as error:
            raise RigError(
                "nobody is reached at 127.0.0.1 on this machine, where all servers of a run are to listen "
                f"({error.strerror}): bring its loopback interface up (ip link set lo up), and run again"
            ) from None


def _is_free(port: int) -> bool:
    """Whether *port* can be bound. Without SO_REUSEADDR, so that one still winding down counts as taken."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as trial:
        try:
            trial.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _too_few(count: int, found: int) -> str:
    return (
        f"{count} free ports were needed on 127.0.0.1 between {_RANGE[0]} and {_RANGE[-1]}, and {found} were found: "
        "end other rehearsals, or whatever listens there (ss -ltn shows it)"
    )
