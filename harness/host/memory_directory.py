"""A work directory in memory: a tmpfs in a mount namespace of the run, gone with the last process that is in it.

The supervisor covers the work directory with it, and so it is there for the servers, under the very same path. From
outside a link leads into it (see `process.Supervisor`). Whatever kills everybody at once takes it along: no key
outlives the run on any disk. Needs root, or user namespaces; and memory enough, because all that the servers write is
in it.
"""

# ruff: noqa: PTH102, PTH118, PTH123

from __future__ import annotations

import ctypes
import os
from typing import Final

from harness.host import process_launch

ROOM: Final = "room"
"""What is in memory is below this name in the work directory."""

_MNT_DETACH: Final = 2
_SPARE: Final = 3
"""So many times what a run is thought to need has to be available: the machine has other work, too."""

_MOST: Final = 4
"""So many times that fits in: a server that writes without end must not take the memory of the whole machine."""

_LIMITS: Final = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)


def enough(needed: int) -> bool:
    """Whether this machine, and the control group that this is in, have *needed* bytes to give, and some to spare."""
    return min(_available(), *(_left(*files) for files in _LIMITS)) >= _SPARE * needed


def cover(work: str, needed: int) -> bool:
    """Move this process and its future children to where *work* is in memory; return whether that was possible.

    *needed* is how many bytes are thought to be written there.

    It is tried in a child first, because there is no way back from a namespace in which nothing may be mounted.
    """
    pid = os.fork()
    if pid == 0:
        try:
            _cover(work, needed)
        except BaseException:  # noqa: BLE001  # whatever it is, it does not work here
            os._exit(1)
        os._exit(0)
    if os.waitpid(pid, 0)[1] != 0:
        return False
    _cover(work, needed)
    return True


def uncover(work: str) -> None:
    """Take the memory away again: *work* is on the disk then. What is open in it stays until it is closed."""
    process_launch.call("umount2", os.fsencode(work), ctypes.c_int(_MNT_DETACH))


def small_disk(place: str, size: int) -> None:
    """Make the new directory *place* a disk of *size* bytes by itself. It is gone with what it is in."""
    os.mkdir(place, 0o700)
    flags = process_launch.MS_NOSUID | process_launch.MS_NODEV
    process_launch.mount("tmpfs", place, "tmpfs", flags, f"mode=0700,size={size}")


def _cover(work: str, needed: int) -> None:
    process_launch.own_mounts()
    # What others mount and unmount is still seen here; what is mounted here is seen by nobody else.
    process_launch.mount("none", "/", "", process_launch.MS_REC | process_launch.MS_SLAVE)
    flags, options = process_launch.MS_NOSUID | process_launch.MS_NODEV, f"mode=0700,size={_MOST * needed}"
    try:
        # Keys must not get to a disk by being swapped out; only the real root, and only of a newer kernel, may say so.
        process_launch.mount("tmpfs", work, "tmpfs", flags, f"{options},noswap")
    except OSError:
        process_launch.mount("tmpfs", work, "tmpfs", flags, options)
    os.mkdir(os.path.join(work, ROOM), 0o700)


def _available() -> int:
    with open("/proc/meminfo", encoding="ascii") as file:
        found = next((line.split()[1] for line in file if line.startswith("MemAvailable:")), "0")
    return 1024 * int(found)


def _left(limit: str, usage: str) -> int:
    try:
        with open(limit, encoding="ascii") as most, open(usage, encoding="ascii") as used:
            return int(most.read()) - int(used.read())
    except (OSError, ValueError):
        return 1 << 62  # there is no limit, or none that can be seen from here
