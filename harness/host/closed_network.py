"""A network without a way out: this program and all that it starts reach nobody but each other."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import struct
from typing import Final

from harness.errors import MissingPrerequisite
from harness.host import process_launch

_CLONE_NEWNET: Final = 0x40000000
_SIOCSIFFLAGS, _IFF_UP, _IFF_RUNNING = 0x8914, 0x1, 0x40
_NOWHERE: Final = ("192.0.2.1", 9)
"""An address for documentation (RFC 5737): what has a way out tries to get there."""


def way_out() -> str:
    """Return what could be reached from here that is not on this machine's loopback; nothing where nobody can."""
    others = [name for _, name in socket.if_nameindex() if name != "lo"]
    if others:
        return f"there are network interfaces beside the loopback: {', '.join(others)}"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        try:
            asked.connect(_NOWHERE)
        except OSError as error:
            if error.errno == errno.ENETUNREACH:
                return ""
    return f"there is a route to {_NOWHERE[0]}"


def close() -> None:
    """Have this program, which has one thread, and all that it starts from now on be in a network of their own.

    Raises MissingPrerequisite where this machine does not allow it.
    """
    try:
        try:
            process_launch.call("unshare", _CLONE_NEWNET)
        except PermissionError:
            process_launch.own_user(os.geteuid(), _CLONE_NEWNET)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
            fcntl.ioctl(asked, _SIOCSIFFLAGS, struct.pack("16sh", b"lo", _IFF_UP | _IFF_RUNNING))
    except OSError as error:
        raise MissingPrerequisite(
            f"this machine gives no network of its own, without a way out, to a program ({error.strerror}): run as "
            "root, or allow user namespaces (sysctl user.max_user_namespaces)"
        ) from error
