"""A PostgreSQL of this machine's package: made for one run, as nobody in particular, and gone with the run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from harness import settings
from harness.clients import postgres
from harness.drivers.postgres import ROOM, USER, Postgres
from harness.errors import MissingPrerequisite, Unreachable
from harness.host.ports import Ports
from harness.host.process import Supervisor
from harness.secret import Secret
from harness.wait import until


@contextmanager
def serving(work: Path, *, memory: int = 0) -> Iterator[tuple[Postgres, Supervisor]]:
    registry = work.parent / "registry"
    with Ports(work.parent / "ports") as ports, Supervisor("database", work, registry, memory=memory) as supervisor:
        found = Postgres(supervisor.room / "database", ports.take(1)[0], postgres.programs(), supervisor)
        found.start()
        yield found, supervisor


def of_the_run(work: Path) -> list[psutil.Process]:
    """Return the processes whose directory is below *work*: a postmaster and its children stand in their data."""
    found = []
    for one in psutil.process_iter():
        try:
            found += [one] if one.cwd().startswith(str(work)) else []
        except psutil.Error:
            continue
    return found


def segments() -> str:
    return Path("/proc/sysvipc/shm").read_text()


@pytest.mark.real
@pytest.mark.parametrize("memory", [0, ROOM])
def test_it_lets_in_who_has_the_password_and_nobody_else_and_comes_back_over_its_data(
    tmp_path: Path, memory: int
) -> None:
    shared = segments()
    with serving(tmp_path / "work", memory=memory) as (found, _):
        name, password = found.superuser
        assert (name, found.refusal(name, password)) == (USER, "")
        assert "password authentication failed" in found.refusal(name, Secret("something-else"))
        assert "password authentication failed" in found.refusal("nobody-of-that-name", password)
        with found.at_rest(), pytest.raises(Unreachable):
            found.refusal(name, password)
        assert found.refusal(name, password) == ""

        words = [word for one in psutil.process_iter(["cmdline"]) for word in one.info["cmdline"] or ()]
        assert not any(password.reveal() in word for word in words)
        log = "\n".join(found.log.everything())
        assert "connection received" in log
        assert password.reveal() not in log
        assert not (found.directory / "password").exists()
        assert segments() == shared, "it shares memory with nobody outside its namespace"
        found.kill()
        with pytest.raises(Unreachable):
            found.refusal(name, password)
    assert not (tmp_path / "work").exists()
    assert list((tmp_path / "registry").iterdir()) == []


@pytest.mark.real
def test_it_ends_with_the_run_even_if_harness_and_supervisor_are_killed(tmp_path: Path) -> None:
    shared, work = segments(), tmp_path / "work"
    script = f"""
import sys
from pathlib import Path
from tests.test_postgres import serving
with serving(Path({str(work)!r})) as (found, supervisor):
    print(found.port, supervisor._line.keeper, flush=True)
    sys.stdin.read()
"""
    run = subprocess.Popen(
        [sys.executable, "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**settings.for_python(), "PYTHONPATH": os.getcwd()},
        cwd=Path.cwd(),
    )
    assert run.stdout is not None
    _, keeper = map(int, run.stdout.readline().split())
    assert len(of_the_run(work)) > 1
    os.kill(keeper, signal.SIGKILL)
    run.kill()
    run.communicate()
    until(lambda: not of_the_run(work), what="every process of PostgreSQL to be gone", seconds=20)
    until(lambda: not work.exists(), what="the work directory to be gone", seconds=20)
    assert segments() == shared


def test_where_there_is_none_the_package_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(postgres, "_PACKAGES", tmp_path)
    monkeypatch.setattr(postgres, "_OTHERS", (str(tmp_path),))
    with pytest.raises(MissingPrerequisite, match="install Debian's package postgresql"):
        postgres.programs()


def test_the_newest_release_that_is_here_is_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(postgres, "_PACKAGES", tmp_path)
    for release in ("9.6", "15", "9"):
        folder = tmp_path / release / "bin"
        folder.mkdir(parents=True)
        for name in postgres._PROGRAMS:
            (folder / name).touch()
    assert postgres.programs() == tmp_path / "15" / "bin"
