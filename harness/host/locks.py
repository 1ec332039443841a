"""One at a time: a lock that many processes may want, and words for those who have to wait for it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import psutil
from filelock import FileLock, Timeout

from harness.errors import MissingPrerequisite
from harness.wait import Stopwatch, now

_REPORT_SECONDS: Final = 15.0
_LOCKS: Final = Path("/proc/locks")


class Held(MissingPrerequisite):
    """Somebody else holds a lock that was not to be waited for."""


@contextmanager
def alone(
    path: Path,
    tell: Callable[[str], None],
    waiting: str,
    *,
    patient: bool = True,
    report_seconds: float = _REPORT_SECONDS,
) -> Iterator[None]:
    """Hold the lock file *path* inside the ``with`` block.

    If somebody else holds it now, *tell* gets the line *waiting* with who that is, and every *report_seconds* how long
    it has been. The lock ends with the process that holds it, so there is no time limit. Whoever is not *patient*
    waits for nobody: raises Held. The directory of *path* must exist.
    """
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        if not patient:
            raise Held(f"{waiting}: {holder(path)} has it now") from None
        _acquire(lock, path, tell, waiting, report_seconds)
    try:
        yield
    finally:
        lock.release()


def _acquire(lock: FileLock, path: Path, tell: Callable[[str], None], waiting: str, every: float) -> None:
    watch = Stopwatch()
    tell(f"{waiting} ({holder(path)} has it)")
    while True:
        with suppress(Timeout):
            lock.acquire(timeout=every)
            return
        tell(f"{waiting}: {watch.seconds:.0f} s so far ({holder(path)} has it)")


def holder(path: Path, locks: Path = _LOCKS) -> str:
    """Return who holds the lock file *path*, in words, as far as the kernel's list *locks* tells."""
    pid = _pid(path, locks)
    if pid is None:
        return "a process that is not to be seen from here"
    with suppress(psutil.Error, KeyError):
        process = psutil.Process(pid)
        minutes, seconds = divmod(int(max(0, now() - process.create_time())), 60)
        return f"process {pid} of {process.username()}, which began {minutes}:{seconds:02} ago,"
    return f"process {pid}"


def _pid(path: Path, locks: Path) -> int | None:
    """Return the process that holds *path*, None where nobody knows: in a container, whoever is outside of it."""
    found: dict[bool, int] = {}
    with suppress(OSError, ValueError, IndexError):
        file = path.stat()
        device = f"{os.major(file.st_dev):02x}:{os.minor(file.st_dev):02x}"
        for line in locks.read_text(encoding="ascii").splitlines():
            words = line.split()
            if words[1:2] != ["FLOCK"]:
                continue
            place, _, inode = words[5].rpartition(":")
            if int(inode) == file.st_ino and int(words[4]) > 0:
                # Some file systems have another name for their device here than a file says.
                found[place == device] = int(words[4])
    return found.get(True, found.get(False))
