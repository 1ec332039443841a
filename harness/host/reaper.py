"""Removes what a run has on the container engine, asked over the engine's own Unix socket.

The supervisor loads this file beside itself, by its path, and `process.sweep` does the same work for a dead one: so it
needs nothing but the standard library, and no thread. Several removals are under way at once all the same, because a
request is sent on a connection of its own, and the answers are awaited afterwards.
"""

# pathlib would double the time that the supervisor takes to load this.
# ruff: noqa: PTH123, PTH207

from __future__ import annotations

import contextlib
import glob
import http.client
import itertools
import json
import os
import select
import socket
import time
import urllib.parse
from collections.abc import Sequence
from typing import Any, Final, NamedTuple, Self

_SECONDS: Final = 60.0  # a kind cluster's node takes two or three, and all go at once
_PAUSE_SECONDS: Final = 0.5
_QUIET_ROUNDS: Final = 2

_FREEZER: Final = "/sys/fs/cgroup/freezer"

_NO_ANSWER: Final = (OSError, http.client.HTTPException, ValueError, LookupError, TypeError, AttributeError)
"""What comes of an engine that is gone or silent, and of something else at its socket that talks of other things."""

_KINDS: Final = (
    ("container", "/containers/json?all=1&filters={}", "/containers/{}?force=1&v=1"),
    ("network", "/networks?filters={}", "/networks/{}"),
    ("volume", "/volumes?filters={}", "/volumes/{}?force=1"),
)
"""What there is to remove, in this order: a network in use cannot go. How it is listed, and how one is removed."""


class _Thing(NamedTuple):
    """A container, network or volume."""

    kind: str
    id: str
    name: str
    path: str
    """what to say DELETE to"""

    def __str__(self) -> str:
        return f"the {self.kind} {self.name}"


class _Engine:
    """The engine, which has so many *seconds* for everything that it is asked."""

    def __init__(self, path: str, seconds: float) -> None:
        self._path, self._over = path, time.monotonic() + seconds
        self._lines = contextlib.ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # Those on which nobody waits for an answer any more, because another gave none.
        self._lines.close()

    def is_out_of_time(self) -> bool:
        return time.monotonic() > self._over

    def send(self, method: str, target: str) -> http.client.HTTPConnection:
        """Send a request without waiting for its answer."""
        line = self._lines.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        line.settimeout(max(1.0, self._over - time.monotonic()))
        line.connect(self._path)
        connection = http.client.HTTPConnection("engine")
        connection.sock = line
        connection.request(method, target)
        return connection

    @staticmethod
    def answer(connection: http.client.HTTPConnection) -> tuple[int, Any]:
        """Wait for the answer to what was sent and return its status and content."""
        reply = connection.getresponse()
        content = reply.read()
        connection.close()
        return reply.status, json.loads(content or b"null")

    def list(self, label: str) -> list[_Thing]:
        """Return everything that carries *label*, in the order in which it can be removed."""
        filters = urllib.parse.quote(json.dumps({"label": [label]}))
        sent = [self.send("GET", listing.format(filters)) for _, listing, _ in _KINDS]
        found: list[_Thing] = []
        for (kind, listing, removing), connection in zip(_KINDS, sent, strict=True):
            status, content = self.answer(connection)
            if status != http.HTTPStatus.OK:
                raise OSError(f"{listing.partition('?')[0]}: {_words(status, content)}")
            found += (_thing(kind, one, removing) for one in _rows(content))
        return found

    def remove(self, things: Sequence[_Thing]) -> dict[_Thing, str]:
        """Remove *things*, those of one kind all at once; return what the engine said of any that it did not remove."""
        refused = {}
        for _, each in itertools.groupby(things, key=lambda thing: thing.kind):
            for thing, connection in [(thing, self.send("DELETE", thing.path)) for thing in each]:
                while not select.select([connection.sock], [], [], _PAUSE_SECONDS)[0] and not self.is_out_of_time():
                    _thaw(thing.id)
                status, content = self.answer(connection)
                if status >= http.HTTPStatus.BAD_REQUEST and status != http.HTTPStatus.NOT_FOUND:
                    refused[thing] = _words(status, content)
        return refused


def clear(path: str, label: str, seconds: float = _SECONDS, *, settled: bool = False) -> list[str]:
    """Remove every container, network and volume with *label* from the engine at the Unix socket *path*.

    Running containers are killed, and anonymous volumes go with them. Returns what is left after *seconds* at most,
    by name and with the engine's reason; and that alone where the engine gives no answer. It is over only when
    nothing was listed twice in a row: a client that was killed while it asked for a container may have one yet to come.
    Where all is *settled*, and no client was, once is enough.
    """
    found: Sequence[_Thing] = ()
    refused: dict[_Thing, str] = {}
    quiet, rounds = 0, 1 if settled else _QUIET_ROUNDS
    try:
        with _Engine(path, seconds) as engine:
            while quiet < rounds:
                found = engine.list(label)
                if engine.is_out_of_time():
                    return [f"{each}, at {path}: {refused.get(each, 'it was made only now')}" for each in found]
                refused = engine.remove(found)
                quiet = 0 if found else quiet + 1
                if refused or 0 < quiet < rounds:
                    select.select([], [], [], _PAUSE_SECONDS)
    except _NO_ANSWER as error:
        ours = ", ".join(map(str, found)) or "whatever the run has there"
        return [f"{ours}, because the container engine at {path} gave no answer: {error or type(error).__name__}"]
    return []


def _thaw(container: str) -> None:
    """Let whatever of *container* is frozen die.

    A runtime in the node of a cluster freezes a Pod for a moment when it starts it, and where it is killed in that
    moment, nobody thaws it. With control groups of version 1 what is frozen does not even die of SIGKILL, and the
    engine waits for it in vain. Only root may do this.
    """
    for top in glob.glob(f"{_FREEZER}/*/{container}") + glob.glob(f"{_FREEZER}/*/docker-{container}.scope"):
        for folder, _, files in os.walk(top):
            if "freezer.state" in files:
                with contextlib.suppress(OSError), open(f"{folder}/freezer.state", "r+", encoding="ascii") as state:
                    if state.read().strip() != "THAWED":
                        state.write("THAWED")


def _rows(content: Any) -> Sequence[dict[str, Any]]:
    # Volumes alone are wrapped, and where there is none there is a null.
    rows: Sequence[dict[str, Any]] | None = content["Volumes"] if isinstance(content, dict) else content
    return rows or ()


def _thing(kind: str, one: dict[str, Any], removing: str) -> _Thing:
    identity = str(one.get("Id") or one["Name"])
    names = one.get("Names") or [one.get("Name") or identity[:12]]
    return _Thing(kind, identity, str(names[0]).lstrip("/"), removing.format(urllib.parse.quote(identity, safe="")))


def _words(status: int, content: Any) -> str:
    said = content.get("message") if isinstance(content, dict) else content
    return f"{said or 'no reason given'} (HTTP {status})"
