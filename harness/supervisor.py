"""The small program that owns a run's child processes, and outlives the harness just long enough to end them.

The harness starts it as a script of its own, isolated from every installed package, and talks to it in lines of JSON
over a socket. When its other end is gone, for whatever reason, the run is over: every process is killed, containers
and the work directory are removed, the entry in the registry taken back. It is single-threaded, because it forks.

A server is tied to this program by PR_SET_PDEATHSIG, so it does not survive a SIGKILL here either; and whatever a
server leaves behind becomes a child of this program (PR_SET_CHILD_SUBREAPER), so nothing slips away by daemonising.
"""

# pathlib would double the time this program takes to start.
# ruff: noqa: PTH102, PTH103, PTH105, PTH114, PTH116, PTH118, PTH120, PTH123, PTH208

from __future__ import annotations

import ctypes
import errno
import json
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final, NoReturn

MARK: Final = "REHEARSE_RUN"
"""The variable that every server, and whatever it starts, carries in its environment: the id of the run."""

LABEL: Final = "rehearse.run"
"""The label that every container, network and volume of a run carries, with the id of the run."""

ACCOUNT: Final = "secrets/kubernetes.io/serviceaccount"
"""Where below /run and /var/run a pod finds its service account."""

TRY_POD: Final = "try-pod"
"""The argument with which this script only says whether a pod can be made here."""

_PATIENCE_ROUNDS: Final = 100  # of a tenth of a second each, and counted anew whenever a process ends

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER, _PR_SET_NO_NEW_PRIVS = 1, 36, 38
_CLONE_NEWNS, _CLONE_NEWUSER = 0x00020000, 0x10000000
_MS_NOSUID, _MS_NODEV, _MS_BIND, _MS_REC, _MS_PRIVATE = 2, 4, 4096, 16384, 1 << 18

_libc: Final = ctypes.CDLL(None, use_errno=True)

Message = dict[str, Any]
Step = tuple[str, Callable[[], object]]


class StepError(Exception):
    """One step on the way to a running server failed; the text says which, and how."""


# --- becoming a server: what happens in the child between fork and exec -----------------------------------------------


def _call(function: str, *arguments: object) -> None:
    if getattr(_libc, function)(*arguments) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _prctl(option: int, value: int) -> None:
    _call("prctl", option, ctypes.c_ulong(value), ctypes.c_ulong(0), ctypes.c_ulong(0), ctypes.c_ulong(0))


def _mount(source: str, target: str, kind: str, flags: int, options: str = "") -> None:
    _call("mount", source.encode(), os.fsencode(target), kind.encode(), ctypes.c_ulong(flags), options.encode())


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="ascii") as file:
        file.write(text)


def _default_signals() -> None:
    # What is ignored stays ignored over exec, and a Go server that finds SIGTERM ignored cannot be stopped politely.
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _die_with(supervisor: int) -> None:
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    # It may have died before the line above: then there is no signal to come.
    if os.getppid() != supervisor:
        os.kill(os.getpid(), signal.SIGKILL)


def _redirect(log: str) -> None:
    output = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    os.dup2(output, 1)
    os.dup2(output, 2)


def _own_mounts() -> None:
    """Take a mount namespace; as a user who may not, together with a user namespace in which the uid stays as it is."""
    if _libc.unshare(_CLONE_NEWNS) == 0:
        return
    uid, gid = os.geteuid(), os.getegid()
    _call("unshare", _CLONE_NEWUSER | _CLONE_NEWNS)
    _write("/proc/self/setgroups", "deny")
    _write("/proc/self/uid_map", f"{uid} {uid} 1")
    _write("/proc/self/gid_map", f"{gid} {gid} 1")


def _mount_account(source: str, place: str) -> None:
    """Cover *place* with an empty tmpfs in which only *source* is seen, as a pod's service account."""
    # Held open, because the tmpfs may hide the path; opened here, because only mounts of this namespace can be bound.
    held = os.open(source, os.O_PATH | os.O_DIRECTORY)
    _mount("tmpfs", place, "tmpfs", _MS_NOSUID | _MS_NODEV, "mode=0755,size=1m")
    target = f"{place}/{ACCOUNT}"
    os.makedirs(target)
    _mount(f"/proc/self/fd/{held}", target, "", _MS_BIND)
    os.close(held)


def _find_again(cwd: str) -> None:
    if not os.path.samestat(os.stat(cwd), os.stat(".")):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))


def _pod_steps(source: str) -> list[Step]:
    # Vault reads below /var/run, which is a link to /run on most machines, and a directory of its own on some.
    places = sorted({os.path.realpath("/run"), os.path.realpath("/var/run")})
    return [
        ("take a mount namespace of its own", _own_mounts),
        ("keep its mounts to itself", partial(_mount, "none", "/", "", _MS_REC | _MS_PRIVATE)),
        *((f"show {source} at {place}/{ACCOUNT}", partial(_mount_account, source, place)) for place in places),
    ]


def _steps(order: Message, env: dict[str, str], supervisor: int) -> list[Step]:
    """Return what turns a fresh fork into the server, in order; the words complete "tried to ..."."""
    argv, cwd, pod = order["argv"], order["cwd"], order["pod"]
    again = f"find {cwd} again, which must not lie below /run or /var/run: a pod has its own"
    return [
        ("start a session of its own", os.setsid),
        ("restore the default signals", _default_signals),
        # A setuid program or one with file capabilities would shake off the tie, and could not be killed.
        ("give up new privileges", partial(_prctl, _PR_SET_NO_NEW_PRIVS, 1)),
        (f"write to the log {order['log']}", partial(_redirect, order["log"])),
        (f"enter the directory {cwd}", partial(os.chdir, cwd)),
        *([*_pod_steps(pod), (again, partial(_find_again, cwd))] if pod else ()),
        # After whatever changes its credentials, because that would cut the tie.
        ("tie its life to the supervisor's", partial(_die_with, supervisor)),
        (f"execute {argv[0]}", partial(os.execve, argv[0], argv, env)),
    ]


def _take(steps: Sequence[Step]) -> None:
    for words, act in steps:
        try:
            act()
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise StepError(f"tried to {words}: {reason}") from error


def _become(steps: Sequence[Step], complaints: int) -> NoReturn:
    """Never come back: either this process is the server now, or it says into *complaints* why not, and ends."""
    try:
        _take(steps)
    except BaseException as error:  # noqa: BLE001  # nothing may climb out of here: above is the supervisor's own stack
        os.write(complaints, str(error).encode(errors="replace")[:4096])
    finally:
        os._exit(127)


def _launch(order: Message, env: dict[str, str]) -> int:
    """Start what *order* describes and return its process id once it runs. Raises StepError if it never did."""
    steps = _steps(order, env, os.getpid())
    # Both ends close on exec, so that the end of the file means: it runs.
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid == 0:
        _become(steps, theirs)
    os.close(theirs)
    with os.fdopen(ours, "rb") as complaints:
        complaint = complaints.read().decode(errors="replace")
    if complaint:
        os.waitpid(pid, 0)
        raise StepError(complaint)
    return pid


# --- what /proc knows -------------------------------------------------------------------------------------------------


def stat_fields(pid: int | str) -> list[str]:
    """Return the fields of /proc/PID/stat from the third on; the second is a name that may hold anything."""
    with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
        return file.read().rpartition(")")[2].split()


def identity(pid: int) -> Message:
    """Return the process id and the start time, which together name one process until the machine restarts."""
    try:
        return {"pid": pid, "started": int(stat_fields(pid)[19])}
    except OSError:
        return {"pid": pid, "started": 0}


def _children() -> list[int]:
    """Return the processes whose parent is this one, zombies too. Only we reap them, so none of the ids is reused."""
    found, ours = [], str(os.getpid())
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            if stat_fields(name)[1] == ours:
                found.append(int(name))
        except OSError:
            continue
    return found


# --- what is removed at the end ---------------------------------------------------------------------------------------


def wipe(tree: str) -> str:
    """Remove the directory *tree* with all that is in it; return what could not be removed and why, or nothing."""
    import shutil

    if os.path.islink(tree):
        return f"{tree}: this is a link, which no run of ours makes; look where it leads before you remove it"
    shutil.rmtree(tree, ignore_errors=True)
    if not os.path.lexists(tree):
        return ""
    _open_up(tree)
    try:
        shutil.rmtree(tree)
    except OSError as error:
        return f"{error.filename or tree}: {error.strerror}"
    return ""


def forget(entry: str) -> None:
    """Remove a run's *entry* from the registry, and what may be there of a newer one half written."""
    for path in (entry, entry + ".new"):
        _ignoring(OSError, os.unlink, path)


def _open_up(tree: str) -> None:
    """Give ourselves back the right to look into every directory of *tree* and to change it."""
    for directory, names, _ in os.walk(tree):
        for path in (os.path.join(directory, name) for name in names):
            if not os.path.islink(path):
                _ignoring(OSError, os.chmod, path, 0o700)


def _ignoring(kind: type[BaseException], act: Callable[..., object], *arguments: object) -> None:
    # contextlib.suppress, whose module this program otherwise does not need
    try:
        act(*arguments)
    except kind:
        return


# --- the supervisor itself --------------------------------------------------------------------------------------------


class _Line:
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
        _ignoring(OSError, self._socket.sendall, json.dumps(message).encode() + b"\n")


class _Registry:
    """The run's entry in the registry: what a later clean-up needs to know if this program is killed as well."""

    def __init__(self, path: str, entry: Message) -> None:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        # Claimed before it is written, because another run of the same id must never be overwritten.
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        self._path, self._entry = path, entry

    def add(self, *children: Message, **facts: str) -> None:
        """Put *children* and *facts* on record. The file is replaced whole, so that a reader never finds half of it."""
        self._entry["children"] += children
        self._entry |= facts
        fresh = self._path + ".new"
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600), "w") as file:
            json.dump(self._entry, file)
        os.replace(fresh, self._path)

    def forget(self) -> None:
        forget(self._path)


class _Server:
    """One server: alive, then ended while its process group is still dying, then gone."""

    def __init__(self, key: int, pid: int) -> None:
        self.key, self.pid = key, pid
        self.status: int | None = None

    def signal(self, number: int, *, group: bool) -> None:
        if self.status is None:  # not reaped yet, so the id is still its own
            _ignoring(ProcessLookupError, os.killpg if group else os.kill, self.pid, number)

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
    def __init__(self, line: _Line, harness: int) -> None:
        self._line = line
        self._harness = harness
        self._run = ""
        self._work = ""
        self._registry: _Registry | None = None
        self._clear_engine: Callable[[], list[str]] = list
        self._servers: dict[int, _Server] = {}
        self._kept_seconds = 0.0
        self._bell, bell = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(bell, warn_on_full_buffer=False)
        # Any handler will do: without one the bell does not ring.
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)

    def serve(self) -> int | None:
        """Do what the harness asks for until it is gone or asks for the end; return the number of that request."""
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
                    return int(request["id"])
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
        do = {"open": self._open, "own": self._own, "start": self._start, "signal": self._signal, "keep": self._keep}
        try:
            answer = do[request["do"]](request) or {}
        except (StepError, OSError) as error:
            answer = {"error": str(error)}
        self._line.send({"id": request["id"], **answer})

    def _open(self, request: Message) -> None:
        self._run = request["run"]
        entry = {
            "run": self._run,
            "harness": identity(self._harness),
            "supervisor": identity(os.getpid()),
            "work": request["work"],
            "created": request["created"],
            "children": [],
        }
        # On record before it exists, and ours to remove only from the moment we have made it.
        self._registry = _Registry(request["registry"], entry)
        self._registry.add()
        os.mkdir(request["work"], 0o700)
        self._work = request["work"]

    def _own(self, request: Message) -> None:
        import runpy

        # Read now, because at the end this installation may be another. By its path, because nothing can be imported.
        reaper = runpy.run_path(os.path.join(os.path.dirname(__file__), "reaper.py"))
        if self._registry:
            self._registry.add(engine=request["engine"])
        self._clear_engine = partial(reaper["clear"], request["engine"], f"{LABEL}={self._run}")

    def _start(self, request: Message) -> Message:
        server = _Server(request["id"], _launch(request, {**request["env"], MARK: self._run}))
        self._servers[server.key] = server
        if self._registry:
            self._registry.add({"name": request["name"], **identity(server.pid)})
        return {"pid": server.pid}

    def _keep(self, request: Message) -> None:
        self._kept_seconds = float(request["seconds"])

    def _signal(self, request: Message) -> None:
        if server := self._servers.get(request["server"]):
            server.signal(request["signal"], group=request["group"])

    def _reap(self) -> bool:
        """Bury whoever has ended, tell the harness which servers are gone, and return whether anyone was buried."""
        _ignoring(BlockingIOError, os.read, self._bell, 4096)
        buried = False
        while info := self._next_zombie():
            buried = True
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

    def end(self, request: int | None) -> None:
        """End every process, remove everything else, and take the entry back unless something is left."""
        left = [f"process {pid}, which SIGKILL did not end" for pid in self._kill_all()]
        left += self._clear_engine()
        if self._work and (complaint := wipe(self._work)):
            left.append(complaint)
        if self._registry and not left:
            self._registry.forget()
        if request is not None:
            self._line.send({"id": request, "left": left})

    def _kill_all(self) -> list[int]:
        """Kill until nobody is left, for whoever loses its parent becomes our child; return who would not die."""
        patience = _PATIENCE_ROUNDS
        while (children := _children()) and patience:
            for pid in children:
                _ignoring(OSError, os.kill, pid, signal.SIGKILL)
            select.select([self._bell], [], [], 0.1)
            patience = _PATIENCE_ROUNDS if self._reap() else patience - 1
        return children


def _arm() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    os.umask(0o077)


def main(arguments: Sequence[str]) -> None:
    """Supervise for the harness at the socket and with the process id in *arguments*; or only try to make a pod."""
    if arguments[0] == TRY_POD:
        _take(_pod_steps(os.path.dirname(os.path.realpath(__file__))))
        return
    _arm()
    supervisor = _Supervisor(_Line(int(arguments[0])), int(arguments[1]))
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
