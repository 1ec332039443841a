"""Every task of this project. `nox --list` shows them; `python3 noxfile.py -s NAME` needs nothing but Python and git.

Run as a program where nox is missing, this file makes itself a private environment with nox in it, in the user's
cache, and goes on from there. Where nox is there it is an ordinary noxfile.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

HERE = Path(__file__).resolve().parent
SCENARIOS = sorted(str(path.relative_to(HERE)) for path in (HERE / "scenarios").glob("*.yaml"))
OUTAGE = "scenarios/the-outage-apps-in-another-cluster-are-refused-after-the-upgrade.yaml"

KEPT = ".rehearse/matrix"

UNFIT = 3
"""What `rehearse` ends with where a machine lacks something: 1 would read as a regression."""

WORST_FIRST = (130, 5, 1, 3, 4, 2)
"""The exit codes of `rehearse` in the order in which one stands for several."""

WORKERS = ("-n", str((os.cpu_count() or 1) + 1))
"""for pytest: its tests wait for servers, and for programs that they start, as much as they compute"""

TWICE = ("--reruns", "1")
"""for pytest with real servers, on a machine that others may load: what only then passes is named at the end"""


def _stop(why: str) -> NoReturn:
    print(why, file=sys.stderr)
    sys.exit(UNFIT)


if sys.version_info < (3, 11):  # noqa: UP036  # it runs before anything has checked the version
    _stop(f"This project needs Python 3.11 or newer; this is {sys.version.split()[0]}.")


def _private_nox() -> Path:
    """Return a nox of our own, made on the first call: an environment a Python version, in the user's cache."""
    caches = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    home = (
        Path(os.environ.get("REHEARSE_CACHE") or caches / "rehearse")
        / "nox"
        / f"python-{sys.version_info.major}.{sys.version_info.minor}"
    )
    nox = home / "bin" / "nox"
    if nox.exists() and subprocess.run([nox, "--version"], capture_output=True, check=False).returncode == 0:
        return nox
    print("making a private environment with nox in it", file=sys.stderr)
    shutil.rmtree(home, ignore_errors=True)
    home.parent.mkdir(parents=True, exist_ok=True)
    if subprocess.run([sys.executable, "-m", "venv", home], capture_output=True, check=False).returncode != 0:
        _install_venv()
        subprocess.run([sys.executable, "-m", "venv", "--clear", home], check=True)
    subprocess.run([home / "bin" / "python", "-m", "pip", "install", "--quiet", "nox"], check=True)
    return nox


def _install_venv() -> None:
    """Debian parts Python's venv from Python; as root on such a machine it is one package away."""
    apt = shutil.which("apt-get")
    if apt is None or os.geteuid() != 0:
        _stop("python3 -m venv does not work here: install your system's package for it (Debian: python3-venv).")
    print("python3 -m venv does not work here: installing Debian's python3-venv", file=sys.stderr)
    subprocess.run([apt, "update", "-qq"], check=True)
    subprocess.run([apt, "install", "-y", "-qq", "python3-venv"], check=True, stdout=subprocess.DEVNULL)


try:
    import nox
except ImportError:
    if __name__ != "__main__":
        raise
    try:
        command = _private_nox()
    except (OSError, subprocess.CalledProcessError) as error:
        _stop(f"No private environment with nox in it could be made: {error}; see what was said above.")
    # this file again, with a Python that has nox: what nox ends with passes through here
    python = command.with_name("python")
    os.execv(python, [str(python), str(Path(__file__).resolve()), *sys.argv[1:]])

from nox.command import CommandFailed  # noqa: E402  # nox may not be there

nox.needs_version = ">=2024.4.15"
nox.options.reuse_venv = "yes"
nox.options.sessions = ["lint", "types", "walls", "fast"]
nox.options.stop_on_first_error = True


class _Rehearsed(SystemExit):
    """A rehearsal ended, with its own exit code."""


def _groups(*names: str) -> list[str]:
    return nox.project.dependency_groups(nox.project.load_toml(HERE / "pyproject.toml"), *names)


def _install(session: nox.Session, *groups: str) -> None:
    # whatever the shell says: without its bytecode each start of the command takes half a second, and tests start many
    session.env["PYTHONDONTWRITEBYTECODE"] = ""
    session.install("--quiet", "-e", ".", *_groups(*groups))


def _rehearse(session: nox.Session, *commands: Sequence[str]) -> None:
    """Install, and run `rehearse` with the words of every command; the session ends with the worst exit code."""
    try:
        _install(session)
    except CommandFailed:
        sys.exit(UNFIT)
    codes = [code for words in commands if (code := _code(session, "rehearse", *words))]
    if codes:
        raise _Rehearsed(min(codes, key=lambda code: (*WORST_FIRST, code).index(code)))


def _code(session: nox.Session, *words: str) -> int:
    """Return the exit code of a command that rehearses: of a failed session nox makes a 1."""
    try:
        # an interrupted run ends its servers first
        session.run(*words, interrupt_timeout=120, terminate_timeout=30)
    except CommandFailed as error:
        return UNFIT if error.return_code is None else error.return_code
    return 0


def _ended(session: nox.Session, *words: str) -> None:
    """Run a command that rehearses; the session ends with its exit code."""
    if code := _code(session, *words):
        raise _Rehearsed(code)


@nox.session
def rehearse(session: nox.Session) -> None:
    """Rehearse the outage on real servers, or the scenario named after `--`."""
    _rehearse(session, ["run", *(session.posargs or [OUTAGE])])


@nox.session
def matrix(session: nox.Session) -> None:
    """Rehearse the outage for every Vault that can be had here, in one table; or what `rehearse matrix` is told."""
    _rehearse(session, ["matrix", *(session.posargs or [OUTAGE, "--target", "1.8..:here", "--run-dir", KEPT])])


@nox.session
def bisect(session: nox.Session) -> None:
    """Find the first Vault that breaks the outage's logins, by few upgrades; or what `rehearse bisect` is told."""
    _rehearse(session, ["bisect", *(session.posargs or [OUTAGE, "--good", "1.7.0", "--bad", "1.13.0"])])


@nox.session
def drill(session: nox.Session) -> None:
    """Restore a raft snapshot of your own and upgrade it, with egress closed: `-- --snapshot FILE --source ...`."""
    _rehearse(session, ["drill", *session.posargs])


@nox.session
def nightly(session: nox.Session) -> None:
    """Rehearse all that ships, the corpus, random scenarios, and what is left to the night; see .rehearse/nightly."""
    _have_engine(session)
    _have_packages(session)
    place = HERE / ".rehearse" / "nightly"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)

    def run(driver: str, jobs: str, scenarios: Sequence[str]) -> list[str]:
        kept = ["--run-dir", str(place / driver), "--junit", str(place / f"{driver}.xml")]
        return ["run", "--driver", driver, "--jobs", jobs, *kept, *session.posargs, *scenarios]

    _install(session, "tests")
    on_kind = str(session.run("python", "-m", "tests.runs", *SCENARIOS, silent=True)).split()
    session.run("rehearse", "artifacts", "fetch", *SCENARIOS)
    days = str(int(time.time()) // 86_400)
    fuzz = ["--seed", days, "--count", "1000", "--seconds", "1800", "--versions", "here", "--out", str(place / "fuzz")]
    ended = [_code(session, "python", "-m", "tests.fuzz", *fuzz, "--by", by) for by in ("chance", "crossing")]
    ended.append(_code(session, "pytest", "-m", "nightly", "--nightly", "-n", "2", "--dist", "loadfile"))
    corpus = ["corpus", "--jobs", "2", "--markdown", str(place / "corpus.md")]
    _rehearse(session, run("local", "2", SCENARIOS), run("kind", "1", on_kind), corpus)
    if codes := [code for code in ended if code]:
        raise _Rehearsed(min(codes, key=WORST_FIRST.index))


@nox.session
def fuzz(session: nox.Session) -> None:
    """Rehearse random scenarios on paper and for real, and write differences out small: `-- --seed N --count K`."""
    _install(session, "tests")
    session.run("rehearse", "artifacts", "fetch", *SCENARIOS)
    _ended(session, "python", "-m", "tests.fuzz", *session.posargs)


@nox.session(venv_backend="none")
def tests(session: nox.Session) -> None:
    """Run everything that must hold: lint, types, walls, site, fast tests, and the real rehearsals of both kinds."""
    for name in ("lint", "types", "walls", "site", "fast", "real", "kind"):
        session.notify(name)


@nox.session
def fast(session: nox.Session) -> None:
    """Run the tests that need no server, in seconds."""
    _install(session, "tests")
    session.run("pytest", "-m", "not real and not kind", *WORKERS, *session.posargs)


@nox.session
def real(session: nox.Session) -> None:
    """Rehearse every shipped scenario on real servers and check what is judged; builds the servers on the first run."""
    _have_packages(session)
    _install(session, "tests")
    session.run("rehearse", "artifacts", "fetch", *SCENARIOS)
    session.run("pytest", "-m", "real", *TWICE, *WORKERS, "--dist", "worksteal", *session.posargs)


@nox.session
def kind(session: nox.Session) -> None:
    """Rehearse on real kind clusters with Vault in containers; gets an engine and images on the first run."""
    _have_packages(session)
    _have_engine(session)
    _install(session, "tests")
    session.run("rehearse", "artifacts", "fetch", "--driver", "kind", *SCENARIOS)
    # what lends a cluster on is in one file: whoever takes another makes it anew; the longest files come first
    by_file = ("-n", "2", "--dist", "loadfile", "--no-loadscope-reorder")
    session.run("pytest", "-m", "kind", *TWICE, *by_file, *session.posargs)


@nox.session(venv_backend="none")
def engine(session: nox.Session) -> None:
    """Have a Docker engine: where none answers, start one, and before that install it on a Debian machine; as root."""
    _have_engine(session)


@nox.session
def mutation(session: nox.Session) -> None:
    """Weaken each rule and falsify each row in turn: do real answers notice? `-- NAME...` tries some."""
    _install(session, "tests")
    session.run("python", "-m", "tests.mutation", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """Measure what was promised, in twenty minutes; `-- --quick` in five. `--kills N`, `--kind-kills N` kill runs."""
    _install(session)
    session.run("rehearse", "artifacts", "fetch", *SCENARIOS)
    session.run("python", "-m", "tests.bench.bench", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Check the style; `nox -s lint -- --fix` mends what can be mended."""
    session.install("--quiet", *_groups("lint"))
    if "--fix" in session.posargs:
        session.run("ruff", "check", "--fix", ".")
        session.run("ruff", "format", ".")
    else:
        session.run("ruff", "check", ".")
        session.run("ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """Check the types, strictly."""
    _install(session, "types")
    session.run("mypy")


@nox.session
def docs(session: nox.Session) -> None:
    """Bring up to date what stands on the pages in docs/ and the code says already: keys, events, fields."""
    _install(session, "tests")
    session.run("python", "-m", "tests.pages", *session.posargs)


@nox.session
def walls(session: nox.Session) -> None:
    """Check who may import whom: hands never judge, judges never touch the world, every library has one door."""
    _install(session, "lint")
    session.run("lint-imports")


@nox.session
def site(session: nox.Session) -> None:
    """Build the site of the docs into build/site, without any network; a link that leads nowhere is an error."""
    _install(session, "site")
    session.run("mkdocs", "build", "--config-file", ".mkdocs.yml", env={"NO_MKDOCS_2_WARNING": "1"})


# --- a Docker engine, which only kind clusters need -------------------------------------------------------------------

ENGINE_LOG = Path("/var/log/dockerd.log")
ENGINE_SECONDS = 60
PID_FILES = {
    Path("/var/run/docker.pid"): "dockerd",
    Path("/var/run/docker/containerd/containerd.pid"): "containerd",
}
ASKS_FOR_LESS = Path("clusters/engine/runc-without-sys-resource")
CAP_SYS_RESOURCE = 24


def _have_engine(session: nox.Session) -> None:
    """Return when an engine answers; where one does already, nothing happens. Ends the session if none can be had."""
    silence = _silence()
    if not silence:
        return
    if named := os.environ.get("DOCKER_HOST"):
        session.error(f"The engine that DOCKER_HOST names, {named}, does not answer: {silence}")
    if os.geteuid() != 0:
        session.error(f"No Docker engine answers ({silence}). Start one, join its group, or do this as root.")
    if not (shutil.which("docker") and shutil.which("dockerd")):
        _install_engine(session)
    # Its installation may have started it, and so does any question where systemd listens for it.
    if not _silence():
        return
    _start_engine(session)


def _silence() -> str:
    """Return what is in the way of talking to an engine, or nothing."""
    docker = shutil.which("docker")
    if docker is None:
        return "there is no docker command"
    # It gives up by itself only where nobody listens.
    try:
        asked = subprocess.run([docker, "info"], capture_output=True, text=True, check=False, timeout=ENGINE_SECONDS)
    except subprocess.TimeoutExpired:
        return f"no answer in {ENGINE_SECONDS} s"
    return (asked.stderr.strip() or "no reason given").splitlines()[-1] if asked.returncode else ""


def _install_engine(session: nox.Session) -> None:
    _apt_install(session, "Docker engine", "docker.io")


def _have_packages(session: nox.Session) -> None:
    """Return when the packages are here that some scenarios take; as root on a Debian machine they are installed."""
    postgres = shutil.which("postgres") or list(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    for there, what, package in (
        (postgres, "PostgreSQL", "postgresql"),
        (_packaged("wrk"), "wrk", "wrk"),
        (_packaged("haproxy"), "HAProxy", "haproxy"),
    ):
        if there:
            continue
        if os.geteuid() != 0:
            session.error(f"{what} is not here: install your system's package (Debian: {package}), or do this as root.")
        _apt_install(session, what, package)


def _packaged(program: str) -> Path | None:
    """Return where a program of a package is, as the rehearsals find it; None where it is not there."""
    # by Python alone: what this project needs beside that is not there before a session has installed it
    sys.path.insert(0, str(HERE))
    from harness.clients import packaged
    from harness.errors import MissingPrerequisite

    try:
        return packaged.program(program, program, "")
    except MissingPrerequisite:
        return None
    finally:
        sys.path.remove(str(HERE))


def _apt_install(session: nox.Session, what: str, package: str) -> None:
    """Install Debian's *package*. Ends the session where that cannot be done."""
    apt = shutil.which("apt-get")
    if apt is None:
        session.error(f"There is no {what} here, and no apt-get: install your system's package.")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for words in (["update", "-qq"], ["install", "-y", "-qq", "--install-recommends", package]):
        session.log(f"apt-get {words[0]}, because there is no {what} here")
        done = subprocess.run([apt, *words], env=environment, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            session.error(f"apt-get {' '.join(words)} failed: {(done.stderr or done.stdout).strip()[-2000:]}")


def _start_engine(session: nox.Session) -> None:
    """Start the engine in a session of its own, in which it outlives this program; its log is in /var/log."""
    _forget_the_dead()
    command = ["dockerd", *_runtime()]
    session.log(f"{' '.join(command)}: its log is {ENGINE_LOG}")
    with ENGINE_LOG.open("ab") as log:
        beginning = log.tell()
        started = subprocess.Popen(
            command, cwd="/", stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
    over = time.monotonic() + ENGINE_SECONDS
    while silence := _silence():
        status = started.poll()
        if status is None and time.monotonic() < over:
            time.sleep(0.2)
            continue
        started.terminate()
        why = f"in {ENGINE_SECONDS} s ({silence})" if status is None else f"because it ended with status {status}"
        last = "\n".join(ENGINE_LOG.read_bytes()[beginning:].decode(errors="replace").splitlines()[-20:])
        session.error(f"dockerd did not come up {why}. The last lines of {ENGINE_LOG}:\n{last}")


def _forget_the_dead() -> None:
    """Remove what an engine that was killed has written of its process ids: by now they may be those of others."""
    for file, name in PID_FILES.items():
        try:
            pid = file.read_text(encoding="ascii").strip()
            alive = Path("/proc", pid, "comm").read_text(encoding="utf-8").strip() == name
        except OSError:
            alive = False
        if not alive:
            file.unlink(missing_ok=True)


def _runtime() -> list[str]:
    """Return what makes the engine use another runtime than runc, where runc could start no privileged container.

    That is so where CAP_SYS_RESOURCE is not in the bounding set of this machine, which nobody can change from inside:
    runc would ask for it all the same, and be refused. The runtime is copied, because the engine outlives a checkout.
    """
    status = Path("/proc/self/status").read_text(encoding="ascii")
    bounding = next(line.split()[1] for line in status.splitlines() if line.startswith("CapBnd:"))
    if int(bounding, 16) >> CAP_SYS_RESOURCE & 1:
        return []
    installed = Path("/usr/local/sbin") / ASKS_FOR_LESS.name
    installed.parent.mkdir(parents=True, exist_ok=True)
    fresh = installed.with_suffix(".new")
    shutil.copyfile(HERE / ASKS_FOR_LESS, fresh)
    fresh.chmod(0o755)
    # In one step, because an engine at another address may use it already.
    fresh.replace(installed)
    return ["--add-runtime", f"{ASKS_FOR_LESS.name}={installed}", "--default-runtime", ASKS_FOR_LESS.name]


if __name__ == "__main__":
    from nox.__main__ import main

    sys.argv[1:1] = ["--noxfile", str(Path(__file__).resolve())]
    try:
        main()
    except SystemExit as ended:
        # nox itself failed, before the rehearsal began: no 1 of a rehearsal comes back this way
        if (
            ended.code == 1
            and type(ended) is SystemExit
            and {"rehearse", "matrix", "bisect", "nightly"} & set(sys.argv)
        ):
            sys.exit(UNFIT)
        raise
