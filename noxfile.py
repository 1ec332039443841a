"""Every task of this project. `nox --list` shows them; `python3 noxfile.py -s NAME` needs nothing but Python and git.

Run as a program where nox is missing, this file makes itself a private environment with nox in it, in the user's
cache, and goes on from there. Where nox is there it is an ordinary noxfile.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
OUTAGE = "scenarios/the-outage-apps-in-another-cluster-are-refused-after-the-upgrade.yaml"

if sys.version_info < (3, 11):  # noqa: UP036  # it runs before anything has checked the version
    sys.exit(f"This project needs Python 3.11 or newer; this is {sys.version.split()[0]}.")


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
        sys.exit("python3 -m venv does not work here: install your system's package for it (Debian: python3-venv).")
    print("python3 -m venv does not work here: installing Debian's python3-venv", file=sys.stderr)
    subprocess.run([apt, "update", "-qq"], check=True)
    subprocess.run([apt, "install", "-y", "-qq", "python3-venv"], check=True, stdout=subprocess.DEVNULL)


try:
    import nox
except ImportError:
    if __name__ != "__main__":
        raise
    command = _private_nox()
    os.execv(command, [str(command), "--noxfile", str(Path(__file__).resolve()), *sys.argv[1:]])

nox.needs_version = ">=2024.4.15"
nox.options.reuse_venv = "yes"
nox.options.sessions = ["lint", "types", "walls", "fast"]
nox.options.stop_on_first_error = True


def _groups(*names: str) -> list[str]:
    return nox.project.dependency_groups(nox.project.load_toml(HERE / "pyproject.toml"), *names)


def _install(session: nox.Session, *groups: str) -> None:
    session.install("--quiet", "-e", ".", *_groups(*groups))


@nox.session
def rehearse(session: nox.Session) -> None:
    """Rehearse the outage on real servers, or the scenario named after `--`."""
    _install(session)
    session.run("rehearse", "run", *(session.posargs or [OUTAGE]))


@nox.session(venv_backend="none")
def tests(session: nox.Session) -> None:
    """Run everything that must hold: lint, types, walls, the fast tests, and the real rehearsals."""
    for name in ("lint", "types", "walls", "fast", "real"):
        session.notify(name)


@nox.session
def fast(session: nox.Session) -> None:
    """Run the tests that need no server, in seconds."""
    _install(session, "tests")
    session.run("pytest", "-m", "not real", "-n", "auto", *session.posargs)


@nox.session
def real(session: nox.Session) -> None:
    """Rehearse every shipped scenario on real servers and check what is judged; builds the servers on the first run."""
    _install(session, "tests")
    session.run("rehearse", "artifacts", "fetch", *sorted(str(path) for path in Path("scenarios").glob("*.yaml")))
    session.run("pytest", "-m", "real", "-n", "2", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """Measure what was promised, in ten minutes; `nox -s bench -- --quick` in two, `--kills N` kills that many runs."""
    _install(session)
    session.run("rehearse", "artifacts", "fetch", *sorted(str(path) for path in Path("scenarios").glob("*.yaml")))
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
def walls(session: nox.Session) -> None:
    """Check who may import whom: hands never judge, judges never touch the world, every library has one door."""
    _install(session, "lint")
    session.run("lint-imports")


if __name__ == "__main__":
    from nox.__main__ import main

    main()
