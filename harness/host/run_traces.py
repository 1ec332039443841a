"""The traces that a run leaves on a machine, how each proves whose it is, and what /proc knows of who lives.

The proof is a secret of the run. It stands in the run's entry in the registry, in a file in its work directory, and in
the environment of its servers; only what shows the same secret as the entry belongs to the run. The file is locked
(flock) by whoever may still want the directory, because that is seen from other PID namespaces as well.

Needs nothing but the standard library: the supervisor loads it, isolated from every installed package.
"""

# pathlib would double the time the supervisor takes to start.
# ruff: noqa: PTH106, PTH108, PTH115, PTH118, PTH123

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import stat
from collections.abc import Callable
from typing import Any, Final

MARK: Final = "REHEARSE_RUN"
"""The variable that every server, and whatever it starts, carries in its environment: the id of the run."""

SECRET: Final = "REHEARSE_MARK"
"""The variable beside it that proves it: the run's secret."""

LABEL: Final = "rehearse.run"
"""The label that every container, network and volume of a run carries, with the id of the run."""

MARK_FILE: Final = ".rehearse-mark"
"""The file in a work directory that says whose it is. Locked as long as somebody of the run lives."""

_PRIVATE: Final = 0o700
_SHORTEST_SECRET: Final = 32
_LOOKS: Final = 1000  # a millisecond each: an execve(2) takes less than one, on a machine that is not starved

Message = dict[str, Any]


# --- who lives --------------------------------------------------------------------------------------------------------


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


def lives(pid: int, started: int) -> bool:
    """Whether process *pid* is still the one that was *started* then. A zombie is dead, only not yet buried."""
    try:
        fields = stat_fields(pid)
    except OSError:
        return False
    return fields[0] not in "ZX" and int(fields[19]) == started


def is_stopped(pid: int) -> bool:
    """Whether process *pid* is stopped, by SIGSTOP or by a debugger, and does nothing at all."""
    try:
        return stat_fields(pid)[0] in "Tt"
    except OSError:
        return False


def whereabouts() -> dict[str, str]:
    """Return what makes a process id mean something: the machine, its boot, and the PID namespace."""
    return {"machine": _machine(), "boot": _line("/proc/sys/kernel/random/boot_id"), "space": _space()}


def _machine() -> str:
    return _line("/etc/machine-id") or os.uname().nodename


def _space() -> str:
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


def _line(path: str) -> str:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return ""


# --- whose it is ------------------------------------------------------------------------------------------------------


def plant(work: str, run: str, secret: str) -> int:
    """Put the proof into the new directory *work* of *run*; return the open file, locked as long as it is open."""
    descriptor = os.open(f"{work}/{MARK_FILE}", os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    said = json.dumps({"run": run, "secret": secret, "work": os.path.realpath(work)})
    os.write(descriptor, said.encode())
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    return descriptor


def hold(work: str) -> int:
    """Lock the proof in *work* as well, and return the open file that has to be kept open for it."""
    descriptor = os.open(f"{work}/{MARK_FILE}", os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    return descriptor


def is_held(work: str) -> bool:
    """Whether somebody of the run that *work* belongs to lives, wherever that is on this machine."""
    try:
        descriptor = os.open(f"{work}/{MARK_FILE}", os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


def is_marked(work: str) -> bool:
    """Whether *work* holds a file that is called like a proof, whatever it says."""
    return os.path.lexists(f"{work}/{MARK_FILE}")


def doubt(work: str, run: str, secret: str) -> str:
    """Return why the directory *work* is not proven to belong to the run with this *secret*; nothing if it is."""
    try:
        about = os.lstat(work)
        said = _mark_in(work)
    except OSError as error:
        return f"{work} cannot be looked at ({error.strerror})"
    if not stat.S_ISDIR(about.st_mode):
        what = "is not a directory, but a link or a file: look where it comes from, and remove it"
    elif about.st_uid != os.geteuid() or stat.S_IMODE(about.st_mode) & 0o777 != _PRIVATE:
        what = "is not private to this user (0700), as we make ours: look at it, and remove it"
    elif said is None:
        what = "does not hold the mark that a rehearsal puts into its directory: look at it, and remove it"
    elif len(secret) < _SHORTEST_SECRET or said.get("secret") != secret or said.get("run") != run:
        what = "holds a mark that is not that of this run: look at it, and remove it"
    elif said.get("work") != os.path.realpath(work):
        what = f"was made as {said.get('work')!r} and is in another place now: look at it, and remove it"
    else:
        return ""
    return f"{work} {what}"


def _mark_in(work: str) -> Message | None:
    """Return what the mark in *work* says; None for one that is not there, or that somebody else may have made."""
    try:
        folder = os.open(work, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        file = os.open(MARK_FILE, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, dir_fd=folder)
    except OSError:
        return None
    finally:
        os.close(folder)
    with open(file, "rb") as content:
        about = os.fstat(file)
        if not stat.S_ISREG(about.st_mode) or about.st_uid != os.geteuid() or stat.S_IMODE(about.st_mode) != 0o600:
            return None
        try:
            said = json.loads(content.read(4096))
        except ValueError:
            return None
    return said if isinstance(said, dict) else None


def environment(pid: int | str) -> dict[str, str]:
    """Return what process *pid* was started with. Raises OSError for one that is gone or not ours to look into.

    While a program replaces another (execve(2)), it bears its name before /proc has its environment, which reads as
    nothing until then: it is waited for, or a server would be taken for a stranger at the moment of its start.
    """
    for _ in range(_LOOKS):
        with open(f"/proc/{pid}/environ", "rb") as file:
            found = file.read()
        if found or not _is_being_started(pid):
            break
        select.select([], [], [], 0.001)
    pairs = (one.partition("=") for one in os.fsdecode(found).split("\0") if "=" in one)
    return {name: value for name, _, value in pairs}


def _is_being_started(pid: int | str) -> bool:
    """Whether process *pid* has memory, but for /proc no place yet of what it was started with, or one that was not
    there a moment ago (proc(5): fields 23, 50 and 51 of stat).
    """
    fields = stat_fields(pid)
    memory, start, end = int(fields[20]), int(fields[47]), int(fields[48])
    return bool(memory) and (not end or end > start)


def carries(pid: int | str, secret: str) -> bool:
    """Whether process *pid* proves by its environment that it belongs to the run with this *secret*."""
    if len(secret) < _SHORTEST_SECRET:
        return False
    try:
        return environment(pid).get(SECRET) == secret
    except OSError:
        return False


# --- what is removed at the end ---------------------------------------------------------------------------------------


def wipe(tree: str) -> str:
    """Remove the directory *tree* with all that is in it; return what could not be removed and why, or nothing.

    The mark goes last: whatever stays can still be proven to belong to the run, by whoever tries again.
    """
    if _is_link(tree):
        return f"{tree}: this is a link, which no run of ours makes; look where it leads before you remove it"
    try:
        _empty(tree)
        _remove_marked(tree)
    except FileNotFoundError:
        # Somebody else is at it as well.
        return wipe(tree) if os.path.lexists(tree) else ""
    except OSError as error:
        return f"{error.filename or tree}: {error.strerror}"
    return ""


def _empty(tree: str) -> None:
    import shutil

    _open_up(tree)
    for one in os.scandir(tree):
        if one.name == MARK_FILE:
            continue
        if one.is_dir(follow_symlinks=False):
            shutil.rmtree(one.path)
        else:
            os.unlink(one.path)


def _remove_marked(tree: str) -> None:
    mark = f"{tree}/{MARK_FILE}"
    try:
        with open(mark, "rb") as file:
            said = file.read()
    except FileNotFoundError:
        os.rmdir(tree)
        return
    os.unlink(mark)
    try:
        os.rmdir(tree)
    except OSError:
        descriptor = os.open(mark, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with open(descriptor, "wb") as file:
            file.write(said)
        raise


def forget(entry: str) -> None:
    """Remove a run's *entry* from the registry, and what may be there of a newer one half written."""
    for path in (entry, entry + ".new"):
        ignoring(OSError, os.unlink, path)


def _is_link(path: str) -> bool:
    return os.path.lexists(path) and stat.S_ISLNK(os.lstat(path).st_mode)


def _open_up(tree: str) -> None:
    """Give ourselves back the right to look into every directory of *tree* and to change it."""
    for directory, names, _ in os.walk(tree):
        for path in (os.path.join(directory, name) for name in names):
            if not _is_link(path):
                ignoring(OSError, os.chmod, path, 0o700)


def ignoring(kind: type[BaseException], act: Callable[..., object], *arguments: object) -> None:
    """Call *act* and pass over an error of this *kind*."""
    with contextlib.suppress(kind):
        act(*arguments)
