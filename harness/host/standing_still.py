"""A server that stands still while somebody reads what it has written."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from harness import wait
from harness.host.process import Process

_PATIENCE_SECONDS: Final = 30.0  # for what takes a millisecond when nothing is wrong


@contextmanager
def held(server: Process) -> Iterator[None]:
    """Have every thread of *server* stand still (SIGSTOP) for as long as the body takes.

    None of them is in a system call then: what it began to write is in its files as a whole, and what comes after it is
    not begun, as if the power had gone right now. Raises ProcessDied if it has ended, NotReady if it does not stand.
    """
    server.hold()
    try:
        wait.until(
            lambda: _stands_still(server.pid),
            what=f"{server.name} (process {server.pid}) to stand still",
            seconds=_PATIENCE_SECONDS,
            every=0.001,
            died=server.died,
        )
        yield
    finally:
        server.let_on()


def _stands_still(pid: int) -> bool:
    try:
        threads = [file.read_text() for file in Path(f"/proc/{pid}/task").glob("*/stat")]
    except (FileNotFoundError, ProcessLookupError):
        return False  # a thread has ended in between: the others are looked at again
    return bool(threads) and all(text.rpartition(")")[2].split()[0] == "T" for text in threads)
