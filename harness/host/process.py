"""The life of a child process: started by a supervisor of our own, watched, stopped, and never left behind.

A run's servers belong to a second process (see supervisor.py) that lives exactly as long as the harness does. However
the harness ends, be it by an exception or by SIGKILL, the servers end, what was mounted for them vanishes with them,
and the work directory is removed.
"""

from __future__ import annotations

import itertools
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from harness import settings
from harness.errors import LeftBehind, RigError
from harness.host import memory_directory, run_removal, run_traces, supervisor
from harness.secret import redact
from harness.wait import now

_COMMAND: Final = (sys.executable, "-I", "-S", "-E", "-B", supervisor.__file__)
_PATIENCE_SECONDS: Final = 30.0  # for an answer that takes milliseconds when nothing is wrong
_CLOSING_SECONDS: Final = 240.0  # for ending everything, an engine that has to be waited for, a directory of any size
_TAIL_BYTES: Final = 1 << 16
_SPARE_BYTES: Final = 1 << 20  # with less left on its disk no server can be expected to work
_PODS_SEEN: Final[list[bool]] = []  # that a server could be put into a pod


class Process:
    """A server that `Supervisor.start` has started. Whoever started it stops it; the supervisor's end does as well."""

    def __init__(self, name: str, pid: int, key: int, log: Path, offset: int, line: _Conversation) -> None:
        self.name = name
        self.pid = pid
        self._key = key
        self._log = log
        self._offset = offset
        self._line = line
        self._stopped = False

    def poll(self) -> int | None:
        """Return the exit status, negative for a signal; None while the server or any of its process group lives."""
        return self._line.status(self._key, 0.0)

    @property
    def memory(self) -> int | None:
        """Return how many bytes of memory it has; None once it has ended."""
        with suppress(OSError):
            status = Path(f"/proc/{self.pid}/status").read_text()
            return next(
                (int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmRSS:")), None
            )
        return None

    def died(self) -> str | None:
        """Return a sentence about the end of this server, or None while it lives."""
        status = self.poll()
        if status is None:
            return None
        if self._stopped:
            return f"{self.name} was stopped"
        if status >= 0:
            return f"{self.name} ended by itself with status {status}"
        if self._line.broken:
            return f"{self.name} was killed, because {self._line.broken}"
        return f"{self.name} was ended from outside by {_signal_name(-status)}"

    def stop(self, seconds: float, number: signal.Signals = signal.SIGTERM) -> int:
        """Ask the server to end by the signal *number*, kill its process group if it has not after *seconds*; return
        the status.

        What it has started and not stopped is killed with it; its data and its log stay. Of a server that has ended
        already only the status is returned. Raises RigError if not even SIGKILL ends it.
        """
        if self.poll() is None:
            self._signal(number, group=False)
        status = self._line.status(self._key, seconds)
        return self.kill() if status is None else status

    def kill(self) -> int:
        """Kill the server and its process group (SIGKILL) and return the status, the true one if it had ended before.

        Raises RigError if that does not end it, which happens while the kernel holds it in a system call.
        """
        if self.poll() is None:
            self._signal(signal.SIGKILL, group=True)
        status = self._line.status(self._key, _PATIENCE_SECONDS)
        if status is None:
            raise RigError(
                f"{self.name} (process {self.pid}) survived SIGKILL for {_PATIENCE_SECONDS:g} s", self.tail()
            )
        return status

    def tail(self, lines: int = 40, most: int = _TAIL_BYTES) -> list[str]:
        """Return the last *lines* this server wrote to its log, redacted; not those of a server before it.

        Of a longer log only the last *most* bytes are read.
        """
        with suppress(FileNotFoundError), self._log.open("rb") as log:
            start = max(self._offset, log.seek(0, 2) - most)
            log.seek(start)
            text = redact(log.read().decode(errors="replace"))
            whole = text.splitlines()[1 if start > self._offset else 0 :]
            return whole[-lines:]
        return []

    def hold(self) -> None:
        """Have it stand still, without waiting for that, until `let_on`."""
        self._send(signal.SIGSTOP, group=False)

    def let_on(self) -> None:
        """Have it go on."""
        self._send(signal.SIGCONT, group=False)

    def _signal(self, number: signal.Signals, *, group: bool) -> None:
        self._stopped = True
        self._send(number, group=group)

    def _send(self, number: signal.Signals, *, group: bool) -> None:
        # Without a supervisor the server is being killed by the kernel already.
        with suppress(_NoSupervisorError):
            self._line.ask("signal", server=self._key, signal=number, group=group)


class Supervisor:
    """Owns the servers of one run, and its work directory, from the opening to the end of the ``with`` block.

    *work* must not exist, but the directory it is to be in must; it is made (0700) once somebody is there to remove it.
    *registry* is made if missing, and holds an entry ``<run_id>.json`` for as long as something of the run is there.
    With *memory*, so many bytes that the servers may write, they write them to a file system in memory that is gone
    with the last process of the run, if this machine allows it and has them to spare; `room` is the place, either way.
    Threads may share one object. Raises RigError if the work directory or the entry exists, or cannot be made; then
    nothing of ours is left.
    """

    def __init__(self, run_id: str, work: Path, registry: Path, *, memory: int = 0) -> None:
        self._run_id = run_id
        self._work = self.room = work.absolute()
        self._mark = secrets.token_hex(16)
        self._held = ExitStack()
        self._entry = registry.absolute() / f"{run_id}.json"
        self._engine: Path | None = None
        self._settled: list[Callable[[], bool]] = []
        self._closing = threading.Lock()
        self._closed = False
        self._line = _Conversation()
        with ExitStack() as undo:
            undo.callback(self._held.close)
            undo.callback(self._line.hang_up)
            try:
                self._open(memory)
            except RigError as error:
                raise RigError(
                    f"run {run_id} cannot begin in {self._work}: {error}; the work directory has to be new, in a "
                    "directory that exists, and no other run of this name may be on record"
                ) from error
            undo.pop_all()

    def _open(self, memory: int) -> None:
        _, answer = self._line.ask(
            "open",
            run=self._run_id,
            mark=self._mark,
            work=str(self._work),
            registry=str(self._entry),
            created=now(),
            memory=memory,
        )
        # Locked here as well: whoever looks from elsewhere sees that somebody of the run lives.
        self._held.callback(os.close, run_traces.hold(str(self._work)))
        if answer["in_memory"]:
            self._enter_memory()

    def _enter_memory(self) -> None:
        """Lay a link to what the servers have in memory, under the name that it has for them; or have it on the disk.

        The link leads through a file that this program holds open: what the servers wrote stays readable here, also
        when they and their supervisor are dead.
        """
        try:
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
            inside = os.open(self._inside(), flags)
        except OSError:
            self._line.ask("uncover")
            return
        self._held.callback(os.close, inside)
        self.room = self._work / memory_directory.ROOM
        self.room.symlink_to(f"/proc/{os.getpid()}/fd/{inside}")

    def _inside(self) -> Path:
        """Return the way into the memory that leads through the supervisor, open to whoever may look into that."""
        return Path(f"/proc/{self._line.keeper}/root{os.path.realpath(self._work)}") / memory_directory.ROOM

    def start(
        self,
        name: str,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: Path,
        log: Path,
        pod: Path | None = None,
        syslog: Path | None = None,
        unprivileged: bool = False,
        apart: bool = False,
    ) -> Process:
        """Start a server and return it as soon as it runs; whether it is any good, `until` finds out.

        *argv* begins with the path of the program: nothing is looked up. Its environment is *env* and the mark of the
        run, nothing else; its output is appended to *log* (0600); it reads from /dev/null. With *pod* it sees that
        directory where a pod sees its service account, files that arrive later included, and nothing else below /run.
        With *syslog* it finds that socket where programs look for this machine's syslog, and nothing else below /run.
        It never gains rights: the setuid bit and file capabilities of a program do not count. *unprivileged*: it does
        not run as root, not even where we do. *apart*: it sees the files of the system, its program's and those in
        *cwd*, and whatever it writes elsewhere is gone with it.

        Raises RigError if the program, the directory, the log or the pod is not available, or the supervisor is gone.
        """
        offset = log.stat().st_size if log.exists() else 0
        order = {
            "name": name,
            "argv": list(argv),
            "env": dict(env),
            "cwd": str(cwd.absolute()),
            "log": str(log.absolute()),
            "pod": str(pod.absolute()) if pod else None,
            "syslog": str(syslog.absolute()) if syslog else None,
            "unprivileged": unprivileged,
            "apart": apart,
        }
        try:
            key, answer = self._line.ask("start", **order)
        except RigError as error:
            raise RigError(f"{name} could not be started: {error}") from error
        return Process(name, answer["pid"], key, log, offset, self._line)

    def small_disk(self, place: Path, size: int) -> None:
        """Make the new directory *place*, below `room`, a disk of *size* bytes by itself, which can be full.

        Raises RigError where this run has nothing in memory, and so no disks of its own.
        """
        self._line.ask("disk", path=str(place.absolute()), size=size)

    def own_engine(self, socket: Path, settled: Callable[[], bool] = lambda: False) -> None:
        """Have whatever carries the run's label on the container engine at the Unix *socket* removed at the end.

        To be called before the first such thing is made: from then on it goes with the run, however that ends.
        *settled* says then whether all is made that somebody has asked for: else it is looked for once more a moment
        later. Raises RigError if the supervisor is gone, or the registry cannot say it.
        """
        self._line.ask("own", engine=str(socket.absolute()))
        self._engine = socket.absolute()
        self._settled.append(settled)

    def keep(self, seconds: float) -> None:
        """Let the run outlive this program by *seconds* at most.
        `kept_runs.end` ends it earlier; `close` then does nothing.

        Raises RigError if the supervisor is gone.
        """
        self._line.ask("keep", seconds=seconds)
        with self._closing:
            self._closed = True
        if self.room != self._work:
            fresh = self._work / ".room"
            fresh.symlink_to(self._inside())
            fresh.replace(self.room)
        self._line.let_go()
        self._held.close()

    def halt(self) -> None:
        """Kill every server at once, and start no further one: threads that wait for one need not wait any longer.

        Whatever they wrote is still there to be read. Does nothing once the run is closed, or was kept.
        """
        with self._closing, suppress(RigError):
            if not self._closed:
                self._line.ask("halt")

    def close(self) -> None:
        """Kill every server that still runs, remove containers and work directory. A second call does nothing.

        Raises LeftBehind, naming what, if something could not be ended or removed; the registry keeps its entry then.
        """
        with self._closing:
            if self._closed:
                return
            self._closed = True
            left = self._end()
        if left:
            raise LeftBehind(f"run {self._run_id} is over, but there is still: " + "; ".join(left))

    def _end(self) -> Sequence[str]:
        try:
            return self._ended()
        finally:
            self._held.close()

    def _ended(self) -> Sequence[str]:
        try:
            # One that is stopped would let us wait for as long as an engine may take.
            self._line.rouse()
            _, answer = self._line.ask("close", _CLOSING_SECONDS, settled=all(one() for one in self._settled))
        except RigError:
            self._line.hang_up(kill=True)
            return run_removal.sweep(self._known(), str(self._entry))
        self._line.hang_up()
        return [str(each) for each in answer["left"]]

    def _known(self) -> dict[str, Any]:
        """Return what is known of this run, now that only this program is left to know it."""
        known: dict[str, Any] = {}
        with suppress(OSError, ValueError):
            known = json.loads(self._entry.read_text())
        ours = {"run": self._run_id, "mark": self._mark, "work": os.path.realpath(self._work)}
        return {**known, **ours, "engine": str(self._engine or "")}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.close()
        except LeftBehind as left:
            if error is None:
                raise
            # What went wrong first is what has to be read first.
            error.add_note(str(left))


def namespaces_allowed() -> str:
    """Return nothing if a server may be put into a pod on this machine, else the reason, in words. It is tried out,
    until it has worked once.
    """
    if _PODS_SEEN:
        return ""
    try:
        trial = subprocess.run(
            [*_COMMAND, supervisor.TRY_POD],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=settings.for_python(),
            text=True,
            timeout=_PATIENCE_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"the trial did not end in {_PATIENCE_SECONDS:.0f} s: this machine is too busy for it; try again later"
    if trial.returncode == 0:
        _PODS_SEEN.append(True)
        return ""
    reason = trial.stderr.strip() or f"the trial {_ending(trial.returncode)}"
    return (
        f"{reason}; run as root, or allow user namespaces (sysctl user.max_user_namespaces, "
        "kernel.unprivileged_userns_clone=1, kernel.apparmor_restrict_unprivileged_userns=0; in a container, its "
        "seccomp profile)"
    )


def out_of_room(directory: Path, lines: Sequence[str]) -> str:
    """Return words for it if the disk of *directory* is full, or a server says so in *lines*; else nothing."""
    said = any("no space left on device" in line.lower() for line in lines)
    if not said and shutil.disk_usage(directory).free >= _SPARE_BYTES:
        return ""
    # The name may be somebody's own as well: then the words are superfluous, and not wrong.
    more = (
        " (REHEARSE_MEMORY=off has it on a disk, and not in memory)" if memory_directory.ROOM in directory.parts else ""
    )
    return f"the disk of {directory} is full: make room, or name another TMPDIR, and run again{more}"


class _NoSupervisorError(RigError):
    """The supervisor is gone, and with it every server."""


class _Conversation:
    """A supervisor and the conversation with it: requests with their answers, and the ends of servers, told unasked."""

    def __init__(self) -> None:
        self.broken = ""
        self._news = threading.Condition()
        self._sending = threading.Lock()
        self._numbers = itertools.count(1)
        self._answers: dict[int, dict[str, Any]] = {}
        self._statuses: dict[int, int] = {}
        self._socket, theirs = socket.socketpair()
        with theirs:
            self._keeper = subprocess.Popen(
                [*_COMMAND, str(theirs.fileno()), str(os.getpid())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                cwd="/",
                # Nothing of the user's own: it may live for hours, and anybody's tokens may be in there.
                env=settings.for_python(),
                # A Ctrl-C at the terminal is for the harness alone.
                start_new_session=True,
            )
        self.keeper = self._keeper.pid
        self._listener = threading.Thread(target=self._listen, name="supervisor", daemon=True)
        self._listener.start()

    def ask(self, do: str, seconds: float = _PATIENCE_SECONDS, /, **details: object) -> tuple[int, dict[str, Any]]:
        """Send a request and return its number and the answer. Raises RigError with the supervisor's words."""
        number = next(self._numbers)
        request = json.dumps({"id": number, "do": do, **details}).encode() + b"\n"
        # If nobody is there to read it, the listener knows, and knows why.
        with suppress(OSError), self._sending:
            self._socket.sendall(request)
        with self._news:
            self._news.wait_for(lambda: number in self._answers or self.broken, seconds)
            answer = self._answers.pop(number, None)
        if answer is None and self.broken:
            raise _NoSupervisorError(self.broken)
        if answer is None:
            raise RigError(
                f"the supervisor (process {self.keeper}) was silent for {seconds:g} s after {do!r}{self._why()}"
            )
        if "error" in answer:
            raise RigError(answer["error"])
        return number, answer

    def _why(self) -> str:
        if not run_traces.is_stopped(self.keeper):
            return ""
        return f": somebody has stopped it (SIGSTOP), and `kill -CONT {self.keeper}` lets it go on"

    def rouse(self) -> None:
        """Let the supervisor go on if somebody has stopped it."""
        if self._keeper.poll() is None:
            self._keeper.send_signal(signal.SIGCONT)

    def status(self, key: int, seconds: float) -> int | None:
        """Return the status with which server *key* ended, or None if it still lives after *seconds*."""
        with self._news:
            self._news.wait_for(lambda: key in self._statuses or self.broken, seconds)
            # Of those whose end nobody was left to tell, the kernel has killed every one.
            return self._statuses.get(key, -signal.SIGKILL if self.broken else None)

    def hang_up(self, *, kill: bool = False) -> None:
        """End the conversation and wait for the supervisor's end, which comes after its clearing up unless *kill*."""
        if kill:
            self._keeper.kill()
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._listener.join(_CLOSING_SECONDS)
        self._socket.close()

    def let_go(self) -> None:
        """End the conversation with a supervisor that was told to stay, and do not wait for its end."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _listen(self) -> None:
        with suppress(OSError), self._socket.makefile("rb") as lines:
            for line in lines:
                # The last one may be cut short, if it was killed in the middle of a word.
                if line.endswith(b"\n"):
                    self._hear(json.loads(line))
        _, complaint = self._keeper.communicate()
        last = ": ".join(["", *complaint.decode(errors="replace").splitlines()[-1:]])
        with self._news:
            status = self._keeper.returncode
            self.broken = f"its supervisor {_ending(status)}{last}" if status else "the run is over"
            self._news.notify_all()

    def _hear(self, message: dict[str, Any]) -> None:
        with self._news:
            if "gone" in message:
                self._statuses[message["gone"]] = message["status"]
            else:
                self._answers[message["id"]] = message
            self._news.notify_all()


def _ending(status: int) -> str:
    return f"was ended by {_signal_name(-status)}" if status < 0 else f"ended with status {status}"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return f"signal {number}"
