"""The clock of one process, set apart from that of this machine: what it asks the kernel for the time answers so.

A process asks for the time in the vDSO, a page of code that the kernel maps into each. There the answer to
CLOCK_REALTIME gets a number of seconds added, in that process alone; the clocks that measure spans of time stay.
"""

from __future__ import annotations

import os
import platform
import signal
import struct
from pathlib import Path
from typing import Final

from harness import wait
from harness.errors import NotReady, RigError

_NAME: Final = b"__vdso_clock_gettime"
_SECONDS: Final = 5.0

_DYNSYM: Final = 11
_SECTION: Final = struct.Struct("<IIQQQQIIQQ")
_SYMBOL: Final = struct.Struct("<IBBHQQ")


def set_ahead(pid: int, seconds: int) -> None:
    """Have the wall clock of a process be so many *seconds* ahead of this machine's, or behind; 0: as it is.

    A process that starts anew has the right time again. Raises RigError where this machine does not let us.
    """
    if platform.machine() != "x86_64":
        raise RigError(
            f"the clock of one server is set apart on x86_64 alone, and this machine is {platform.machine()}"
        )
    code = _code(seconds)
    try:
        begin, end = _vdso(pid)
        with Path(f"/proc/{pid}/mem").open("r+b", buffering=0) as memory:
            memory.seek(begin)
            entry = begin + _entry(memory.read(end - begin))
            _stop(pid, entry, entry + len(code))
            try:
                memory.seek(entry)
                memory.write(code)
            finally:
                os.kill(pid, signal.SIGCONT)
    except (OSError, ValueError, StopIteration, NotReady) as error:
        raise RigError(
            f"the clock of one server cannot be set apart from that of this machine, which takes the right to write to "
            f"its memory (ptrace): {error or type(error).__name__}"
        ) from None


def _code(seconds: int) -> bytes:
    """Return machine code that asks the kernel for a clock, and adds *seconds* to the answer of CLOCK_REALTIME."""
    ask, of_another, add = b"\xb8\xe4\x00\x00\x00\x0f\x05", b"\x85\xff\x75\x07", b"\x48\x81\x06"
    return ask + of_another + add + struct.pack("<i", seconds) + b"\xc3"


def _vdso(pid: int) -> tuple[int, int]:
    lines = Path(f"/proc/{pid}/maps").read_text(encoding="ascii", errors="replace").splitlines()
    begin, end = next(line for line in lines if line.endswith("[vdso]")).split()[0].split("-")
    return int(begin, 16), int(end, 16)


def _entry(image: bytes) -> int:
    """Return where in the *image* of a vDSO the function begins that tells the time. Raises StopIteration."""
    (table,) = struct.unpack_from("<Q", image, 0x28)
    size, number = struct.unpack_from("<HH", image, 0x3A)
    sections = [_SECTION.unpack_from(image, table + size * one) for one in range(number)]
    symbols = next(one for one in sections if one[1] == _DYNSYM)
    names = sections[symbols[6]][4]
    for at in range(symbols[4], symbols[4] + symbols[5], _SYMBOL.size):
        name, _, _, _, value, _ = _SYMBOL.unpack_from(image, at)
        begin = names + name
        if image[begin : image.index(b"\0", begin)] == _NAME:
            return int(value)
    raise ValueError("its vDSO tells no time")


def _stop(pid: int, begin: int, end: int) -> None:
    """Stop a process while none of its threads is between two addresses. Raises NotReady."""

    def outside() -> bool:
        os.kill(pid, signal.SIGSTOP)
        wait.until(lambda: _stopped(pid), what="a server to stop", seconds=_SECONDS)
        if not any(begin <= at < end for at in _counters(pid)):
            return True
        os.kill(pid, signal.SIGCONT)
        return False

    wait.until(outside, what="a server not to ask for the time", seconds=_SECONDS)


def _stopped(pid: int) -> bool:
    states = (file.read_text() for file in Path(f"/proc/{pid}/task").glob("*/stat"))
    return all(state.rpartition(")")[2].split()[0] in "Tt" for state in states)


def _counters(pid: int) -> list[int]:
    """Return at which address each thread goes on."""
    told = (file.read_text().split() for file in Path(f"/proc/{pid}/task").glob("*/syscall"))
    return [int(words[-1], 16) for words in told if len(words) > 1]
