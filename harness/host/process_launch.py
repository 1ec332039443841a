"""What happens between a fork and a running server: a session, a log, a pod's mounts, and the tie to its parent.

The supervisor does this, isolated from every installed package: it needs nothing but the standard library, and no
thread.
"""

# pathlib would double the time the supervisor takes to start.
# ruff: noqa: PTH102, PTH103, PTH110, PTH112, PTH114, PTH115, PTH116, PTH120, PTH123, PTH211

from __future__ import annotations

import ctypes
import errno
import os
import pwd
import signal
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final, NoReturn

ACCOUNT: Final = "secrets/kubernetes.io/serviceaccount"
"""Where below /run and /var/run a pod finds its service account."""

_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38
_CLONE_NEWNS, _CLONE_NEWIPC, _CLONE_NEWUSER = 0x00020000, 0x08000000, 0x10000000
_OTHERS: Final = ("postgres", "nobody")
"""As one of these users a server runs that does not run as root."""
MS_RDONLY, MS_REMOUNT = 1, 32
MS_NOSUID, MS_NODEV, MS_BIND, MS_REC, MS_PRIVATE, MS_SLAVE = 2, 4, 4096, 16384, 1 << 18, 1 << 19

_libc: Final = ctypes.CDLL(None, use_errno=True)

Message = dict[str, Any]
Step = tuple[str, Callable[[], object]]


class StepError(Exception):
    """One step on the way to a running server failed; the text says which, and how."""


def call(function: str, *arguments: object) -> None:
    if getattr(_libc, function)(*arguments) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def prctl(option: int, value: int) -> None:
    call("prctl", option, ctypes.c_ulong(value), ctypes.c_ulong(0), ctypes.c_ulong(0), ctypes.c_ulong(0))


def mount(source: str, target: str, kind: str, flags: int, options: str = "") -> None:
    call("mount", source.encode(), os.fsencode(target), kind.encode(), ctypes.c_ulong(flags), options.encode())


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="ascii") as file:
        file.write(text)


def _default_signals() -> None:
    # What is ignored stays ignored over exec, and a Go server that finds SIGTERM ignored cannot be stopped politely.
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _die_with(supervisor: int) -> None:
    prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    # It may have died before the line above: then there is no signal to come.
    if os.getppid() != supervisor:
        os.kill(os.getpid(), signal.SIGKILL)


def _redirect(log: str) -> None:
    output = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    os.dup2(output, 1)
    os.dup2(output, 2)


def own_mounts(seen: int | None = None) -> None:
    """Take a mount namespace; as a user who may not, together with a user namespace in which we are the user *seen*.

    Left out, the uid stays as it is.
    """
    if _libc.unshare(_CLONE_NEWNS) != 0:
        own_user(os.geteuid() if seen is None else seen, _CLONE_NEWNS)


def own_user(seen: int, more: int) -> None:
    """Take a user namespace, in which we are the user *seen*, and *more* namespaces that belong to it."""
    uid, gid = os.geteuid(), os.getegid()
    call("unshare", _CLONE_NEWUSER | more)
    _write("/proc/self/setgroups", "deny")
    _write("/proc/self/uid_map", f"{seen} {uid} 1")
    _write("/proc/self/gid_map", f"{gid} {gid} 1")


def _unprivileged() -> None:
    """Be no root, for a server that refuses to run as root, in namespaces of a user's own.

    To itself it is another user then, with none of root's rights; to everybody else its files are still ours. What its
    processes share (IPC) is gone with them. Who may have no namespaces goes on without, unless that is root.
    """
    uid = os.geteuid()
    other = next((one.pw_uid for one in pwd.getpwall() if one.pw_name in _OTHERS), 0)
    try:
        own_user(uid or other, _CLONE_NEWIPC)
    except OSError:
        if uid == 0:
            raise


def _mount_account(source: str, place: str) -> None:
    """Cover *place* with an empty tmpfs in which only *source* is seen, as a pod's service account."""
    # Held open, because the tmpfs may hide the path; opened here, because only mounts of this namespace can be bound.
    held = os.open(source, os.O_PATH | os.O_DIRECTORY)
    mount("tmpfs", place, "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755,size=1m")
    target = f"{place}/{ACCOUNT}"
    os.makedirs(target)
    mount(f"/proc/self/fd/{held}", target, "", MS_BIND)
    os.close(held)


_SYSLOG: Final = "/dev/log"
"""Where a program looks for syslog first; at /var/run/log, where that is not there."""


def _mount_syslog(source: str, place: str, *, covered: bool) -> None:
    """Have the socket *source* be syslog below *place*, and wherever else this machine has one.

    *covered*: nothing else is seen below *place* already.
    """
    held = os.open(source, os.O_PATH)
    if not covered:
        mount("tmpfs", place, "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755,size=1m")
    targets = {f"{place}/log"}
    # a link into what is hidden now leads nowhere, and no program finds its way out by it
    if os.path.exists(_SYSLOG):
        targets.add(_SYSLOG)
    for target in targets:
        if not os.path.exists(target):
            os.close(os.open(target, os.O_WRONLY | os.O_CREAT, 0o600))
        mount(f"/proc/self/fd/{held}", target, "", MS_BIND)
    os.close(held)


_SEEN_APART: Final = ("/usr", "/lib", "/lib32", "/lib64", "/libx32", "/bin", "/sbin", "/etc")
"""What a program may read that is kept apart from all other files of this machine."""
_DEVICES: Final = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")


def _apart(cwd: str, program: str) -> None:
    """See no files but the system's, the program's and those in *cwd*, and write none elsewhere but into memory.

    Whatever path the program is told to write to, it is there, and gone with it.
    """
    root = f"{cwd}/root"
    os.makedirs(root, mode=0o700, exist_ok=True)
    # a directory that Vault makes for its audit log is one that only root can enter
    own_mounts(seen=0)
    mount("none", "/", "", MS_REC | MS_PRIVATE)
    mount("tmpfs", root, "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755,size=256m")
    for place in _SEEN_APART:
        if os.path.islink(place):
            os.symlink(os.readlink(place), root + place)
        elif os.path.isdir(place):
            _show(place, root + place, MS_RDONLY)
    os.mkdir(f"{root}/dev")
    for device in _DEVICES:
        with open(root + device, "xb"):
            mount(device, root + device, "", MS_BIND)
    _show(os.path.dirname(program), root + os.path.dirname(program), MS_RDONLY)
    _show(cwd, root + cwd, 0)
    os.chroot(root)
    os.chdir(cwd)


def _show(place: str, seen: str, how: int) -> None:
    os.makedirs(seen, exist_ok=True)
    mount(place, seen, "", MS_BIND)
    # who is no root in their own eyes alone may not change this, and could write there no more than before
    if how and os.geteuid() == 0:
        mount("none", seen, "", MS_BIND | MS_REMOUNT | how)


def _find_again(cwd: str) -> None:
    if not os.path.samestat(os.stat(cwd), os.stat(".")):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))


def pod_steps(source: str, syslog: str = "") -> list[Step]:
    # Vault reads below /var/run, which is a link to /run on most machines, and a directory of its own on some.
    places, covered = sorted({os.path.realpath("/run"), os.path.realpath("/var/run")}), bool(source)
    steps: list[Step] = [
        ("take a mount namespace of its own", own_mounts),
        ("keep its mounts to itself", partial(mount, "none", "/", "", MS_REC | MS_PRIVATE)),
    ]
    if source:
        steps += [(f"show {source} at {place}/{ACCOUNT}", partial(_mount_account, source, place)) for place in places]
    if syslog:
        words = f"show {syslog} as syslog"
        steps += [(words, partial(_mount_syslog, syslog, place, covered=covered)) for place in places]
    return steps


def _steps(order: Message, env: dict[str, str], supervisor: int) -> list[Step]:
    """Return what turns a fresh fork into the server, in order; the words complete "tried to ..."."""
    argv, cwd, pod, syslog = order["argv"], order["cwd"], order["pod"] or "", order["syslog"] or ""
    again = f"find {cwd} again, which must not lie below /run or /var/run: a pod has its own"
    return [
        ("start a session of its own", os.setsid),
        ("restore the default signals", _default_signals),
        # A setuid program or one with file capabilities would shake off the tie, and could not be killed.
        ("give up new privileges", partial(prctl, _PR_SET_NO_NEW_PRIVS, 1)),
        (f"write to the log {order['log']}", partial(_redirect, order["log"])),
        (f"enter the directory {cwd}", partial(os.chdir, cwd)),
        *([*pod_steps(pod, syslog), (again, partial(_find_again, cwd))] if pod or syslog else ()),
        *([("keep it apart from other files", partial(_apart, cwd, argv[0]))] if order["apart"] else ()),
        *([("be another user than root, in a user namespace", _unprivileged)] if order["unprivileged"] else ()),
        # After whatever changes its credentials, because that would cut the tie.
        ("tie its life to the supervisor's", partial(_die_with, supervisor)),
        (f"execute {argv[0]}", partial(os.execve, argv[0], argv, env)),
    ]


def take(steps: Sequence[Step]) -> None:
    for words, act in steps:
        try:
            act()
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise StepError(f"tried to {words}: {reason}") from error


def _become(steps: Sequence[Step], complaints: int) -> NoReturn:
    """Never come back: either this process is the server now, or it says into *complaints* why not, and ends."""
    try:
        take(steps)
    except BaseException as error:  # noqa: BLE001  # nothing may climb out of here: above is the supervisor's own stack
        os.write(complaints, str(error).encode(errors="replace")[:4096])
    finally:
        os._exit(127)


def launch(order: Message, env: dict[str, str]) -> int:
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
