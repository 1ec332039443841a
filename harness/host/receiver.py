"""Whoever takes what is sent to a socket: a thread of this process, which can be away, or be there and take nothing."""

from __future__ import annotations

import os
import select
import socket
import struct
import threading
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import Final, Literal

Transport = Literal["tcp", "udp", "unix", "datagrams"]
"""How it is sent: the last two to a socket that is a file, as streams and as datagrams."""

_RESET: Final = struct.pack("ii", 1, 0)
_WAITING: Final = 4
"""So many connections wait to be taken, and no more fit: whoever comes then is not answered at all."""
_LOOK_SECONDS: Final = 0.05


class Receiver:
    """It takes everything, from the beginning on, until it is told otherwise, or closed."""

    def __init__(self, transport: Transport, port: int = 0, file: Path | None = None, host: str = "127.0.0.1") -> None:
        """It is at a *port* of *host*, or at a new *file*. Raises OSError where somebody else is."""
        self.transport, self.port, self.file, self._host = transport, port, file, host
        self._received: deque[bytes] = deque()
        self._rest: dict[int, bytes] = {}
        self._open: list[socket.socket] = []
        self._crowd: list[socket.socket] = []
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        self.well()

    @property
    def _streams(self) -> bool:
        return self.transport in ("tcp", "unix")

    def lines(self) -> list[str]:
        """Return the whole lines that have come since the last call."""
        return [self._received.popleft().decode(errors="replace") for _ in range(len(self._received))]

    def well(self) -> None:
        """Be there, and take everything."""
        self.away()
        at = self._socket()
        with self.address() as address:
            at.bind(address)
        if self._streams:
            at.listen()
        self._open = [at]
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._take, args=(at, self._over), name="receiver", daemon=True)
        self._thread.start()

    def away(self) -> None:
        """Be gone: whoever sends something is refused."""
        self._over.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        for one in (*self._crowd, *self._open):
            with suppress(OSError):
                one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            one.close()
        self._open, self._crowd, self._rest = [], [], {}
        if self.file is not None:
            self.file.unlink(missing_ok=True)

    def silent(self) -> None:
        """Be there, and take nothing: what was open is reset, and nobody is answered who connects."""
        self.away()
        at = self._socket()
        with self.address() as address:
            at.bind(address)
            self._open = [at]
            if not self._streams:
                return
            at.listen(0)
            for _ in range(_WAITING):
                one = self._socket()
                one.setblocking(False)
                with suppress(BlockingIOError):
                    one.connect(address)
                self._crowd.append(one)

    close = away

    def _socket(self) -> socket.socket:
        family = socket.AF_INET if self.file is None else socket.AF_UNIX
        found = socket.socket(family, socket.SOCK_STREAM if self._streams else socket.SOCK_DGRAM)
        if self.file is None:
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        return found

    def address(self) -> _Address:
        """Return where it is, as a context that holds the way there open."""
        return _Address(self._host, self.port, self.file)

    @property
    def called(self) -> str:
        """Return where it is, in words for whoever is to send something."""
        return str(self.file or f"{self._host}:{self.port}")

    def _take(self, at: socket.socket, over: threading.Event) -> None:
        while not over.is_set():
            ready, _, _ = select.select(self._open, (), (), _LOOK_SECONDS)
            for one in ready:
                if one is at and self._streams:
                    self._open.append(one.accept()[0])
                elif not self._read(one):
                    self._open.remove(one)
                    one.close()

    def _read(self, one: socket.socket) -> bool:
        """Read what has come, and return whether more may."""
        try:
            came = one.recv(1 << 18)
        except OSError:
            return not self._streams
        if not self._streams:
            self._received.extend(line for line in came.split(b"\n") if line)
            return True
        *whole, self._rest[one.fileno()] = (self._rest.get(one.fileno(), b"") + came).split(b"\n")
        self._received.extend(line for line in whole if line)
        if not came:
            self._rest.pop(one.fileno())
        return bool(came)


class _Address:
    """Where it is, as a socket wants it: the way to a file may be longer than an address can be."""

    def __init__(self, host: str, port: int, file: Path | None) -> None:
        self._host, self._port, self._file = host, port, file
        self._held = -1

    def __enter__(self) -> tuple[str, int] | str:
        if self._file is None:
            return self._host, self._port
        self._held = os.open(self._file.parent, os.O_PATH | os.O_DIRECTORY)
        return f"/proc/self/fd/{self._held}/{self._file.name}"

    def __exit__(self, *_: object) -> None:
        if self._held >= 0:
            os.close(self._held)
