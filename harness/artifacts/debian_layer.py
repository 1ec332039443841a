"""The part of a node image that all Kubernetes versions share: a small Debian with kind's own files laid over it."""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from harness.artifacts import templates
from harness.artifacts.downloads import without_credentials
from harness.artifacts.go_builds import passed_on
from harness.artifacts.store import Store
from harness.clients.container_engine import Engine
from harness.errors import LeftBehind, MissingPrerequisite
from harness.host.locks import alone
from harness.host.process import Supervisor
from harness.scenario.driver_traits import KIND
from harness.wait import Stopwatch, until

LABEL: Final = "rehearse.image"
"""The label of every image that is made here; it says of what."""

BASE: Final = "node-base"

_FILES: Final = ("packages.txt", "base.sh", "10-bridge.conflist", "image.Dockerfile")
_OVERLAY: Final = "images/base/files"
_STEP_SECONDS: Final = 1800.0
_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def recipe() -> str:
    """Return a text that changes whenever a base would be made differently."""
    return "\0".join([KIND, *(templates.text(f"node/{name}") for name in _FILES)])


def changes() -> list[str]:
    """Return what a node image tells the engine about how it is started, as lines of a Dockerfile."""
    return templates.text("node/image.Dockerfile").splitlines()


def get(engine: Engine, store: Store, cache: Path, tell: Callable[[str], None]) -> str:
    """Return the name of the base in the engine's store; made if it is not there, which takes a minute or two.

    Raises MissingPrerequisite where it cannot be made: that needs root, debootstrap and a mirror of Debian.
    """
    suite, _ = _packages()
    name = f"rehearse/{BASE}:{suite}-{hashlib.sha256(recipe().encode()).hexdigest()[:8]}"
    with alone(cache / "images" / f"{BASE}.lock", tell, f"{name}: waiting for somebody else who makes it"):
        if engine.image(name) is None:
            try:
                _make(name, engine, store, cache, tell)
            except LeftBehind as left:
                # What was made is as good as ever.
                if engine.image(name) is None:
                    raise MissingPrerequisite(f"{name} could not be made to its end: {left}") from left
                tell(f"{name}: {left}")
    return name


def _make(name: str, engine: Engine, store: Store, cache: Path, tell: Callable[[str], None]) -> None:
    if os.geteuid() != 0:
        raise MissingPrerequisite(
            "Debian's debootstrap works for root only: run `sudo -E rehearse artifacts fetch --driver kind SCENARIO`; "
            "what it makes stays in the engine, and whoever may use that needs no root"
        )
    run, watch = f"{BASE}-{secrets.token_hex(4)}", Stopwatch()
    work = cache / "images" / run
    with Supervisor(run, work, cache / "build" / "runs") as supervisor:
        surroundings = {**passed_on(store.environment), "PATH": _PATH, "LC_ALL": "C", "DPKG_FORCE": "unsafe-io"}
        step = _Steps(supervisor, work, surroundings)
        # First, because this is where a machine without modules finds out; the rest takes a minute.
        store.copy("sigs.k8s.io/kind", KIND, _OVERLAY, work / "kind")
        if shutil.which("debootstrap", path=_PATH) is None:
            _install_debootstrap(step, tell)
        tell(f"{name}: fetching and unpacking Debian packages, usually a minute")
        root = _debootstrapped(work, step)
        shutil.copytree(work / "kind", root, dirs_exist_ok=True)
        _finish(root, step)
        archive = work / "root.tar"
        step("tar", "--numeric-owner", "--one-file-system", "-C", str(root), "-cf", str(archive), ".")
        engine.import_root(archive, name, {LABEL: BASE}, changes())
    tell(f"{name}: made in {watch.seconds:.0f} s")


@dataclass(frozen=True, slots=True)
class _Steps:
    """Runs one command after the other, each of which ends however the harness does."""

    supervisor: Supervisor
    work: Path
    environment: Mapping[str, str]

    def __call__(self, *words: str) -> None:
        """Run a command to its end. Raises MissingPrerequisite with its last lines if that is not a good one."""
        program = shutil.which(words[0], path=_PATH)
        if program is None:
            raise MissingPrerequisite(f"there is no {words[0]} on this machine: install your system's package for it")
        argv, log = [program, *words[1:]], self.work / "log"
        process = self.supervisor.start(words[0], argv, env=self.environment, cwd=self.work, log=log)

        def ended() -> tuple[int] | None:
            status = process.poll()
            return None if status is None else (status,)

        (status,) = until(ended, what=words[0], seconds=_STEP_SECONDS, log=process.tail)
        if status:
            last = "\n".join(f"    {without_credentials(line)}" for line in process.tail(8))
            raise MissingPrerequisite(f"{words[0]} ended with status {status}, after these lines:\n{last}")


def _debootstrapped(work: Path, step: _Steps) -> Path:
    suite, packages = _packages()
    root = work / "root"
    debootstrap = ("debootstrap", "--variant=minbase", f"--include={','.join(packages)}", suite, str(root))
    # In a mount namespace of its own: it mounts /proc in there, which whoever removes the directory must not meet.
    step("unshare", "--mount", "--propagation", "private", *debootstrap)
    return root


def _finish(root: Path, step: _Steps) -> None:
    """Make a node of the fresh Debian in *root*, by the script that says what that takes."""
    for name in ("base.sh", "10-bridge.conflist"):
        (root / "root" / name).write_text(templates.text(f"node/{name}"))
    step("chroot", str(root), "/bin/sh", "/root/base.sh")
    (root / "root" / "base.sh").unlink()


def _install_debootstrap(step: _Steps, tell: Callable[[str], None]) -> None:
    """Debian has it as a package; as root on such a machine it is one command away."""
    if shutil.which("apt-get", path=_PATH) is None:
        raise MissingPrerequisite(
            "there is no debootstrap, which fetches the Debian packages: install your system's package for it (Debian, "
            "Ubuntu: apt-get install debootstrap)"
        )
    tell("installing Debian's debootstrap")
    step("apt-get", "update", "-qq")
    step("apt-get", "install", "-y", "-qq", "debootstrap")


def _packages() -> tuple[str, list[str]]:
    """Return the suite, and the packages of it that a node needs."""
    lines = [line.strip() for line in templates.text("node/packages.txt").splitlines()]
    suite = next(line.partition(":")[2].strip() for line in lines if line.startswith("suite:"))
    return suite, [line for line in lines if line and not line.startswith(("#", "suite:"))]
