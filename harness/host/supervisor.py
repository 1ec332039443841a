"""The small program that owns a run's child processes, and outlives the harness just long enough to end them.

The harness starts it as a script of its own, isolated from every installed package, and talks to it in lines of JSON
over a socket. When its other end is gone, for whatever reason, the run is over: every process is killed, containers
and the work directory are removed, the entry in the registry taken back. It is single-threaded, because it forks.

A server is tied to this program by PR_SET_PDEATHSIG, so it does not survive a SIGKILL here either; and whatever a
server leaves behind becomes a child of this program (PR_SET_CHILD_SUBREAPER), so nothing slips away by daemonising.
A third, smaller process, the watcher, does nothing but wait for the case that harness and supervisor are both killed.
"""

# pathlib would double the time this program takes to start.
# ruff: noqa: PTH102, PTH103, PTH105, PTH120, PTH123, PTH208

from __future__ import annotations

import json
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

if __name__ == "__main__":
    # Its own neighbours, and nothing else of wherever they are installed: last, and without site-packages' hooks.
    sys.path.append(os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__)))))

from harness.host import memory_directory, process_launch, run_removal, run_traces
from harness.host.process_launch import StepError
from harness.host.run_traces import LABEL, MARK, SECRET, identity, ignoring

TRY_POD: Final = "try-pod"
"""The argument with which this script only says whether a pod can be made here."""

_PATIENCE_ROUNDS: Final = 100  # of a tenth of a second each, and counted anew whenever a process ends
_WATCH_SECONDS: Final = 0.5
_PR_SET_CHILD_SUBREAPER: Final = 36

Message = dict[str, Any]


# --- the supervisor itself --------------------------------------------------------------------------------------------


class _Socket:
    """The socket to the harness, in lines of JSON."""

    def __init__(self, number: int) -> None:
        self._socket = socket.socket(fileno=number)
        self._socket.set_inheritable(False)
        self._rest = b""

    def fileno(self) -> int:
        return self._socket.fileno()

    def receive(self) -> list[Message] | None:
        """Return the requests that have arrived in full; None once the harness is gone."""
        try:
            data = self._socket.recv(1 << 16)
        except OSError:
            return None
        if not data:
            return None
        *lines, self._rest = (self._rest + data).split(b"\n")
        return [json.loads(line) for line in lines]

    def send(self, message: Message) -> None:
        # A harness that is gone is noticed by `receive`: whatever it was to be told, it no longer matters.
        ignoring(OSError, self._socket.sendall, json.dumps(message).encode() + b"\n")


class _Registry:
    """The run's entry in the registry: what a later clean-up needs to know if this program is killed as well."""

    def __init__(self, path: str, entry: Message) -> None:
        # The umask is set: whatever is missing above it is private as well.
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        # Claimed before it is written, because another run of the same id must never be overwritten.
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        self._path, self._entry = path, entry

    def add(self, *children: Message, **facts: object) -> None:
        """Put *children* and *facts* on record. The file is replaced whole, so that a reader never finds half of it."""
        self._entry["children"] += children
        self._entry |= facts
        fresh = self._path + ".new"
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600), "w") as file:
            json.dump(self._entry, file)
        os.replace(fresh, self._path)

    def forget(self) -> None:
        run_traces.forget(self._path)


class _Server:
    """One server: alive, then ended while its process group is still dying, then gone."""

    def __init__(self, key: int, pid: int) -> None:
        self.key, self.pid = key, pid
        self.status: int | None = None

    def signal(self, number: int, *, group: bool) -> None:
        if self.status is None:  # not reaped yet, so the id is still its own
            ignoring(ProcessLookupError, os.killpg if group else os.kill, self.pid, number)

    def is_gone(self) -> bool:
        """Whether it has ended, and all of its process group that had become our children."""
        if self.status is None:
            return False
        try:
            os.waitid(os.P_PGID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return True
        return False


class _Supervisor:
    def __init__(self, line: _Socket, harness: int) -> None:
        self._line = line
        self._harness = harness
        self._run = self._secret = self._work = ""
        self._watcher = 0
        self._is_covered = self._is_halted = False
        self._registry: _Registry | None = None
        self._clear_engine: Callable[[bool], list[str]] = lambda _settled: []
        self._servers: dict[int, _Server] = {}
        self._kept_seconds = 0.0
        self._bell, bell = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(bell, warn_on_full_buffer=False)
        # Any handler will do: without one the bell does not ring.
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)

    def serve(self) -> Message | None:
        """Do what the harness asks for until it is gone or asks for the end; return that request."""
        watched = select.poll()
        # The socket alone would do, if no fork of the harness could ever inherit the other end of it.
        life = os.pidfd_open(self._harness)
        if os.getppid() != self._harness:
            return None
        for number in (self._line.fileno(), self._bell, life):
            watched.register(number, select.POLLIN)
        while True:
            ready = {number for number, _ in watched.poll()}
            self._reap()
            requests = self._line.receive() if self._line.fileno() in ready else []
            if requests is None or life in ready:
                self._stay()
                return None
            for request in requests:
                if request["do"] == "close":
                    return request
                self._answer(request)

    def _stay(self) -> None:
        """Outlive the harness if it asked for that: until a SIGTERM comes or the time is over."""
        told: list[int] = []
        if self._kept_seconds:
            signal.signal(signal.SIGTERM, lambda number, _frame: told.append(number))
        over = time.monotonic() + self._kept_seconds
        while not told and (left := over - time.monotonic()) > 0:
            select.select([self._bell], [], [], left)
            self._reap()

    def _answer(self, request: Message) -> None:
        do: dict[str, Callable[[Message], Message | None]]
        do = {"open": self._open, "uncover": self._uncover, "own": self._own, "start": self._start}
        do |= {"signal": self._signal, "halt": self._halt, "keep": self._keep, "disk": self._disk}
        try:
            answer = do[request["do"]](request) or {}
        except (StepError, OSError) as error:
            answer = {"error": str(error)}
        self._line.send({"id": request["id"], **answer})

    def _open(self, request: Message) -> Message:
        self._run, self._secret = request["run"], request["mark"]
        work = os.path.realpath(request["work"])
        entry = {
            "run": self._run,
            "mark": self._secret,
            "harness": identity(self._harness),
            "supervisor": identity(os.getpid()),
            "work": work,
            "created": request["created"],
            "children": [],
            **run_traces.whereabouts(),
        }
        # On record before it exists, and ours to remove only from the moment we have made it.
        self._registry = _Registry(request["registry"], entry)
        self._registry.add()
        os.mkdir(work, 0o700)
        self._work = work
        held = run_traces.plant(work, self._run, self._secret)
        needed = int(request["memory"])
        self._is_covered = needed > 0 and memory_directory.enough(needed) and memory_directory.cover(work, needed)
        self._watcher = self._leave_watcher(held, request["registry"])
        self._registry.add(watcher=identity(self._watcher))
        return {"in_memory": self._is_covered}

    def _disk(self, request: Message) -> None:
        if not self._is_covered:
            raise StepError(
                "a small disk is memory in a mount namespace of the run, and this run is on a disk: it takes root or "
                "user namespaces, memory enough, and no REHEARSE_MEMORY=off"
            )
        memory_directory.small_disk(request["path"], int(request["size"]))

    def _uncover(self, _request: Message) -> None:
        memory_directory.uncover(self._work)
        self._is_covered = False

    def _leave_watcher(self, held: int, entry: str) -> int:
        """Fork the process that waits for the end of both, harness and supervisor, and return its id."""
        us = os.getpid()
        pid = os.fork()
        if pid:
            return pid
        try:
            # Nothing of the conversation stays open in it: each side notices the other's end by that.
            signal.set_wakeup_fd(-1)
            nothing = os.open(os.devnull, os.O_RDWR)
            for number in range(3):
                os.dup2(nothing, number)
            os.closerange(3, held)
            os.closerange(held + 1, os.sysconf("SC_OPEN_MAX"))
            os.setsid()
            self._watch(us, entry)
        finally:
            os._exit(0)

    def _watch(self, us: int, entry: str) -> None:
        supervisor = os.pidfd_open(us)
        if os.getppid() == us:
            select.select([supervisor], [], [])
        # It was killed: else it would have ended this process first. A harness that lives does the rest itself.
        while (known := _read(entry)).get("mark") == self._secret:
            if not run_traces.lives(**known["harness"]):
                self._drop_cover()
                run_removal.sweep(known, entry)
                return
            select.select([], [], [], _WATCH_SECONDS)

    def _drop_cover(self) -> None:
        if self._is_covered:
            # What is open in it would keep the memory for as long.
            run_traces.wipe(f"{self._work}/{memory_directory.ROOM}")
            ignoring(OSError, memory_directory.uncover, self._work)
            self._is_covered = False

    def _own(self, request: Message) -> None:
        # Read now, because at the end this installation may be another.
        from harness.host import reaper

        if self._registry:
            self._registry.add(engine=request["engine"])
        engine, label = request["engine"], f"{LABEL}={self._run}"
        self._clear_engine = lambda settled: reaper.clear(engine, label, settled=settled)

    def _start(self, request: Message) -> Message:
        if self._is_halted:
            raise StepError("the run is over")
        marks = {MARK: self._run, SECRET: self._secret}
        server = _Server(request["id"], process_launch.launch(request, {**request["env"], **marks}))
        self._servers[server.key] = server
        if self._registry:
            self._registry.add({"name": request["name"], **identity(server.pid)})
        return {"pid": server.pid}

    def _keep(self, request: Message) -> None:
        self._kept_seconds = float(request["seconds"])
        if self._registry:
            self._registry.add(until=time.time() + self._kept_seconds)

    def _halt(self, _request: Message) -> None:
        """Start nothing any more, and kill every server at once: that does not wait for whoever still waits for one."""
        self._is_halted = True
        for server in self._servers.values():
            server.signal(signal.SIGKILL, group=True)

    def _signal(self, request: Message) -> None:
        if server := self._servers.get(request["server"]):
            server.signal(request["signal"], group=request["group"])

    def _reap(self) -> bool:
        """Bury whoever has ended, tell the harness which servers are gone, and return whether anyone was buried."""
        ignoring(BlockingIOError, os.read, self._bell, 4096)
        buried = False
        while info := self._next_zombie():
            buried = True
            if info.si_pid == self._watcher:
                self._watcher = 0
            if server := next((each for each in self._servers.values() if each.pid == info.si_pid), None):
                # While the zombie is there, its id cannot be given to another group.
                server.signal(signal.SIGKILL, group=True)
                server.status = info.si_status if info.si_code == os.CLD_EXITED else -info.si_status
            os.waitpid(info.si_pid, 0)
        for server in [each for each in self._servers.values() if each.is_gone()]:
            del self._servers[server.key]
            self._line.send({"gone": server.key, "status": server.status})
        return buried

    @staticmethod
    def _next_zombie() -> os.waitid_result | None:
        try:
            return os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return None

    def end(self, request: Message | None) -> None:
        """End every process, remove everything else, and take the entry back unless something is left."""
        left = [f"process {pid}, which SIGKILL did not end" for pid in self._kill_all()]
        left += self._clear_engine(bool(request and request["settled"]))
        self._drop_cover()
        if self._work and (complaint := run_traces.wipe(self._work)):
            left.append(complaint)
        if self._registry and not left:
            self._registry.forget()
        if self._watcher:
            os.kill(self._watcher, signal.SIGKILL)
            os.waitpid(self._watcher, 0)
        if request is not None:
            self._line.send({"id": request["id"], "left": left})

    def _kill_all(self) -> list[int]:
        """Kill until nobody is left, for whoever loses its parent becomes our child; return who would not die."""
        patience = _PATIENCE_ROUNDS
        while (children := _children() - {self._watcher}) and patience:
            for pid in children:
                ignoring(OSError, os.kill, pid, signal.SIGKILL)
            select.select([self._bell], [], [], 0.1)
            patience = _PATIENCE_ROUNDS if self._reap() else patience - 1
        return sorted(children)


def _children() -> set[int]:
    """Return the processes whose parent is this one, zombies too. Only we reap them, so none of the ids is reused."""
    found, ours = set(), str(os.getpid())
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            if run_traces.stat_fields(name)[1] == ours:
                found.add(int(name))
        except OSError:
            continue
    return found


def _read(entry: str) -> Message:
    """Return what *entry* says; nothing once it is gone."""
    try:
        with open(entry, "rb") as file:
            said: Message = json.load(file)
    except (OSError, ValueError):
        return {}
    return said


def _arm() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    process_launch.prctl(_PR_SET_CHILD_SUBREAPER, 1)
    os.umask(0o077)


def main(arguments: Sequence[str]) -> None:
    """Supervise for the harness at the socket and with the process id in *arguments*; or only try to make a pod."""
    if arguments[0] == TRY_POD:
        process_launch.take(process_launch.pod_steps(os.path.dirname(os.path.realpath(__file__))))
        return
    _arm()
    supervisor = _Supervisor(_Socket(int(arguments[0])), int(arguments[1]))
    closing = None
    try:
        closing = supervisor.serve()
    finally:
        supervisor.end(closing)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except StepError as failure:
        sys.exit(str(failure))
