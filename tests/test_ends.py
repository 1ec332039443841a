"""Ends that nobody can prepare for: everybody killed at once, a supervisor that is stopped, a run in a container."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

import harness
from harness.errors import RigError
from harness.host import kept_runs, memory_directory, run_traces
from harness.host.process import Supervisor, namespaces_allowed
from harness.maintenance import cleanup
from harness.wait import Stopwatch, now, until
from tests.runs import kill_everybody

pytestmark = pytest.mark.processes

ROOT = Path(harness.__path__[0]).parent
MEMORY = 1 << 20
SLEEP = ["/bin/sleep", "3600"]
RUN = """
import sys
from pathlib import Path
from harness.host.process import Supervisor

base, how = Path(sys.argv[1]), sys.argv[2]
one = Supervisor("it", base / "rehearse-it", base / "registry", memory=1 << 20 if "memory" in how else 0)
(one.room / "key").write_text("private")
one.start("vault", ["/bin/sleep", "3600"], env={}, cwd=one.room, log=one.room / "log")
if "keep" in how:
    one.keep(3600)
print("running", flush=True)
if "keep" not in how:
    sys.stdin.read()
"""


@contextmanager
def running(base: Path, how: str, *prefix: str) -> Iterator[subprocess.Popen[bytes]]:
    """A run in a process of its own, in *base*; behind the words of *prefix*."""
    environment = {**os.environ, "VAULT_TOKEN": "hush", "REHEARSE_STATE": str(base)}
    words = [*prefix, sys.executable, "-c", RUN, str(base), how]
    with subprocess.Popen(words, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdout.readline() == b"running\n"
        try:
            yield process
        finally:
            process.kill()


def known(base: Path) -> dict[str, Any]:
    said: dict[str, Any] = json.loads((base / "registry" / "it.json").read_text())
    return said


def gone(base: Path) -> bool:
    return not (base / "rehearse-it").exists() and not (base / "registry" / "it.json").exists()


def remains(base: Path) -> cleanup.RunRemains:
    (found,) = [one for one in cleanup.find(base / "registry", base) if one.run == "it"]
    return found


def memory_allowed(base: Path) -> bool:
    """Whether this machine has a work directory in memory for us: as root, or where users may make namespaces."""
    return not namespaces_allowed() and memory_directory.enough(MEMORY)


# --- in memory --------------------------------------------------------------------------------------------------------


def test_what_is_in_memory_is_the_same_for_the_servers_and_the_harness(tmp_path: Path) -> None:
    """Under one path; it is on no disk, and in nobody's list of mounts but the run's."""
    with Supervisor("it", tmp_path / "work", tmp_path / "registry", memory=MEMORY) as one:
        assert (one.room != one.room.parent / "work") is memory_allowed(tmp_path)
        (one.room / "key").write_text("private")
        script = f"cat key; pwd; echo there > {one.room}/answer; exec sleep 3600"
        server = one.start(
            "it", ["/bin/sh", "-c", script], env={"PATH": os.defpath}, cwd=one.room, log=one.room / "log"
        )
        until((one.room / "answer").exists, what="its answer", seconds=30, died=server.died, log=server.tail)
        assert server.tail() == [f"private{one.room}"]
        if memory_allowed(tmp_path):
            assert {path.name for path in one.room.parent.iterdir()} == {run_traces.MARK_FILE, "room"}
            kinds = {
                line.split()[2]
                for line in Path(f"/proc/{server.pid}/mounts").read_text().splitlines()
                if line.split()[1] == str(one.room.parent)
            }
            assert kinds == {"tmpfs"}
            assert shutil.disk_usage(one.room).total == 4 * MEMORY
        assert str(tmp_path) not in Path("/proc/self/mountinfo").read_text()
        assert "it" in known_processes(tmp_path)
    assert list(tmp_path.iterdir()) == [tmp_path / "registry"]


def known_processes(base: Path) -> set[str]:
    return {child["name"] for child in known(base)["children"]}


def test_logs_in_memory_can_be_read_when_everybody_else_is_dead(tmp_path: Path) -> None:
    """The harness holds the directory open, so that it can still say what the servers wrote."""
    with Supervisor("it", tmp_path / "work", tmp_path / "registry", memory=MEMORY) as one:
        server = one.start("it", ["/bin/sh", "-c", "echo last; exec sleep 9"], env={}, cwd=one.room, log=one.room / "l")
        until(lambda: server.tail() == ["last"], what="its word", seconds=30)
        os.kill(known(tmp_path)["supervisor"]["pid"], signal.SIGKILL)
        until(lambda: server.poll() is not None, what="its end", seconds=30)
        assert server.tail() == ["last"]
    assert list(tmp_path.iterdir()) == [tmp_path / "registry"]


def test_a_kept_run_in_memory_can_be_read_by_its_user(tmp_path: Path) -> None:
    """The harness that held it open is gone: the way leads through the supervisor."""
    with running(tmp_path, "memory keep") as process:
        process.wait(30)
    place = tmp_path / "rehearse-it" / ("room" if memory_allowed(tmp_path) else "")
    assert (place / "key").read_text() == "private"
    assert kept_runs.end(tmp_path / "registry" / "it.json") == ""
    assert gone(tmp_path)


def test_no_key_outlives_everybody(tmp_path: Path) -> None:
    """Killed all at once, watcher included: where there is memory for it, what is left for `clean` holds no key."""
    with running(tmp_path, "memory"):
        kill_everybody(tmp_path / "registry" / "it.json")
    keys = [path for path in (tmp_path / "rehearse-it").rglob("*") if path.name == "key"]
    assert bool(keys) is not memory_allowed(tmp_path)
    assert remains(tmp_path).state == "left"
    assert cleanup.clean([remains(tmp_path)]) == []
    assert gone(tmp_path)


@pytest.mark.parametrize("how", ["memory", "disk", "memory keep", "disk keep"])
def test_whoever_kills_harness_and_supervisor_has_not_killed_the_watcher(tmp_path: Path, how: str) -> None:
    """It waits for nothing else, ends what is left, and goes."""
    with running(tmp_path, how) as process:
        there = known(tmp_path)
        os.kill(there["supervisor"]["pid"], signal.SIGKILL)
        process.kill()
    until(lambda: gone(tmp_path), what="the watcher to clear up", seconds=10)
    until(lambda: not run_traces.lives(**there["watcher"]), what="its end", seconds=10)
    assert not run_traces.lives(there["children"][0]["pid"], there["children"][0]["started"])


def test_a_machine_without_memory_to_spare_uses_the_disk(tmp_path: Path) -> None:
    assert memory_directory.enough(1 << 20)
    with Supervisor("it", tmp_path / "work", tmp_path / "registry", memory=1 << 60) as one:
        assert one.room == tmp_path / "work"


@pytest.mark.parametrize(("limit", "used", "enough"), [("max", 0, True), (400, 0, True), (400, 101, False)])
def test_the_limit_of_a_control_group_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: object, used: int, enough: bool
) -> None:
    """A container has less than its machine: here it needs three times a hundred bytes."""
    (tmp_path / "limit").write_text(f"{limit}\n")
    (tmp_path / "used").write_text(f"{used}\n")
    monkeypatch.setattr(memory_directory, "_LIMITS", ((str(tmp_path / "limit"), str(tmp_path / "used")),))
    assert memory_directory.enough(100) is enough


# --- a supervisor that is stopped -------------------------------------------------------------------------------------


def test_a_stopped_supervisor_is_told_and_its_run_is_ended_in_seconds(tmp_path: Path) -> None:
    """`clean` sees that it will never end the run; told to end it, that is done within seconds all the same."""
    with running(tmp_path, "memory keep") as process:
        process.wait(30)
    keeper = known(tmp_path)["supervisor"]["pid"]
    os.kill(keeper, signal.SIGSTOP)
    until(lambda: run_traces.is_stopped(keeper), what="it to stop", seconds=10)
    one = remains(tmp_path)
    assert (one.kept, one.overdue) == (True, False)
    assert f"its supervisor (process {keeper}) is stopped (SIGSTOP) and ends nothing" in str(one)
    watch = Stopwatch()
    assert kept_runs.end(tmp_path / "registry" / "it.json") == ""
    assert watch.seconds < 10
    assert gone(tmp_path)


def test_a_supervisor_that_does_nothing_is_killed_and_its_work_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one that is stopped again and again: here nobody wakes it."""
    with running(tmp_path, "memory keep") as process:
        process.wait(30)
    there = known(tmp_path)
    os.kill(there["supervisor"]["pid"], signal.SIGSTOP)
    monkeypatch.setattr(kept_runs, "_ROUSING_SECONDS", 0.3)
    monkeypatch.setattr(signal, "SIGCONT", 0)
    assert kept_runs.end(tmp_path / "registry" / "it.json") == ""
    assert gone(tmp_path)
    assert not run_traces.lives(**there["watcher"])
    assert not run_traces.lives(there["children"][0]["pid"], there["children"][0]["started"])


@pytest.mark.parametrize(
    ("until_date", "stopped", "overdue"),
    [(-1, True, True), (60, True, False), (-1, False, False), (-3600, False, True)],
)
def test_a_run_that_should_be_over_and_is_not_is_overdue(
    tmp_path: Path, until_date: float, stopped: bool, overdue: bool
) -> None:
    """Stopped before its time came, or silent long after it."""
    with running(tmp_path, "disk keep") as process:
        process.wait(30)
    entry, there = tmp_path / "registry" / "it.json", known(tmp_path)
    assert there["until"] == pytest.approx(now() + 3600, abs=60)
    entry.write_text(json.dumps({**there, "until": now() + until_date}))
    keeper = there["supervisor"]["pid"]
    if stopped:
        os.kill(keeper, signal.SIGSTOP)
        until(lambda: run_traces.is_stopped(keeper), what="it to stop", seconds=10)
    assert remains(tmp_path).overdue is overdue
    assert kept_runs.end(entry) == ""
    assert gone(tmp_path)


def test_a_run_whose_harness_died_while_its_supervisor_was_stopped_is_overdue(tmp_path: Path) -> None:
    """It was never meant to be kept: nobody has to name it."""
    with running(tmp_path, "disk") as process:
        keeper = known(tmp_path)["supervisor"]["pid"]
        os.kill(keeper, signal.SIGSTOP)
        until(lambda: run_traces.is_stopped(keeper), what="it to stop", seconds=10)
        assert remains(tmp_path).overdue is False
        process.kill()
    assert remains(tmp_path).overdue
    assert kept_runs.end(tmp_path / "registry" / "it.json") == ""
    assert gone(tmp_path)


def test_a_harness_wakes_its_supervisor_to_close(tmp_path: Path) -> None:
    """Else it would wait for minutes, as for an engine that takes its time."""
    watch = Stopwatch()
    with Supervisor("it", tmp_path / "work", tmp_path / "registry"):
        os.kill(known(tmp_path)["supervisor"]["pid"], signal.SIGSTOP)
    assert watch.seconds < 10
    assert list(tmp_path.iterdir()) == [tmp_path / "registry"]


# --- somewhere else ---------------------------------------------------------------------------------------------------

CONTAINER = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")
CLEAN = """
import json, sys
from pathlib import Path
from harness.maintenance import cleanup as cleaning; from harness.host import kept_runs as kept

base = Path(sys.argv[1])
found = [one for one in cleaning.find(base / "registry", base) if one.run == "it"]
ended = kept.end(base / "registry" / "it.json")
print(json.dumps([[one.state for one in found], [str(one) for one in found], cleaning.clean(found), ended]))
"""


def clean_in(base: Path, *prefix: str) -> Any:
    """Return the states, the doubts, what `clean` left, and what came of ending it, as seen behind *prefix*."""
    done = subprocess.run(
        [*prefix, sys.executable, "-c", CLEAN, str(base)], cwd=ROOT, stdout=subprocess.PIPE, check=True
    )
    return json.loads(done.stdout)


def unshare() -> tuple[str, ...]:
    """Return the words that start a program in a PID namespace of its own; as an ordinary user, with a user's too."""
    return CONTAINER if os.geteuid() == 0 else (*CONTAINER[:1], "--user", "--map-current-user", *CONTAINER[1:])


@pytest.mark.parametrize(
    ("how", "inside"),
    # not one that is kept in there: a container whose first program ends is over, and everything in it
    [("disk", "run"), ("memory", "run"), ("disk", "clean"), ("memory", "clean"), ("disk keep", "clean")],
)
def test_a_living_run_in_another_pid_namespace_is_not_touched(tmp_path: Path, how: str, inside: str) -> None:
    """A container that shares state and temporary directory sees no process of it, and destroys nothing of it."""
    container = unshare()
    prefixes = (container, ()) if inside == "run" else ((), container)
    with running(tmp_path, how, *prefixes[0]):
        before = sorted(str(path) for path in tmp_path.rglob("*"))
        states, (line,), left, ended = clean_in(tmp_path, *prefixes[1])
        assert (states, left) == (["running"], [])
        assert "no run it is alive here" in ended
        assert "it was begun in another PID namespace of this machine, such as a container" in line
        assert sorted(str(path) for path in tmp_path.rglob("*")) == before
        assert run_traces.is_held(str(tmp_path / "rehearse-it"))
        if inside == "clean":
            assert all(run_traces.lives(child["pid"], child["started"]) for child in known(tmp_path)["children"])
    if "keep" in how:
        assert kept_runs.end(tmp_path / "registry" / "it.json") == ""
    until(lambda: gone(tmp_path) or inside == "run", what="its end", seconds=30)


def test_what_a_container_left_is_told_and_left_alone(tmp_path: Path) -> None:
    """Nobody holds it; but what its process ids mean cannot be known from here."""
    with running(tmp_path, "disk", *unshare()) as process:
        # the supervisor may see the harness end before the kernel ends its namespace, and would remove everything
        for one in psutil.Process(process.pid).children(recursive=True):
            one.suspend()
    until(lambda: not run_traces.is_held(str(tmp_path / "rehearse-it")), what="the end of all of it", seconds=30)
    states, (doubt,), left, _ = clean_in(tmp_path)
    assert (states, len(left)) == (["unsure"], 1)
    assert "was begun in another PID namespace of this machine, such as a container" in doubt
    assert f"rm -rf {tmp_path}/rehearse-it {tmp_path}/registry/it.json" in doubt


@pytest.mark.parametrize(
    ("changed", "state", "words"),
    [
        ({"boot": "an earlier one"}, "left", ""),
        ({"boot": "an earlier one", "space": "pid:[1]"}, "left", ""),
        ({"machine": "another", "boot": "another"}, "unsure", "another machine that shares this directory (another)"),
    ],
)
def test_who_may_live_elsewhere_is_told_by_machine_boot_and_namespace(
    tmp_path: Path, changed: dict[str, str], state: str, words: str
) -> None:
    """After a restart nobody lives, whatever the ids say; on another machine nobody knows."""
    work, secret = tmp_path / "rehearse-it", "5" * 32
    work.mkdir(mode=0o700)
    os.close(run_traces.plant(str(work), "it", secret))
    me = run_traces.identity(os.getpid())
    entry = {"run": "it", "mark": secret, "harness": me, "supervisor": me, "work": str(work), "created": now()}
    (tmp_path / "registry").mkdir()
    (tmp_path / "registry" / "it.json").write_text(json.dumps({**entry, **run_traces.whereabouts(), **changed}))
    one = remains(tmp_path)
    assert one.state == state
    assert words in one.doubt
    assert bool(cleanup.clean([one])) is (state == "unsure")
    assert gone(tmp_path) is (state == "left")


# --- what the supervisor knows of its user ----------------------------------------------------------------------------


@pytest.mark.parametrize("who", ["supervisor", "watcher"])
def test_the_supervisor_has_nothing_of_the_users_environment(tmp_path: Path, who: str) -> None:
    """It lives for hours with `--keep`, and a token of the user's would be in /proc for as long."""
    with running(tmp_path, "disk"):
        seen = Path(f"/proc/{known(tmp_path)[who]['pid']}/environ").read_bytes().split(b"\0")
    assert {pair.partition(b"=")[0] for pair in seen} <= {b"", b"LC_ALL", b"LC_CTYPE", b"LANG", b"LD_LIBRARY_PATH"}


def test_a_run_that_is_halted_kills_all_at_once_and_starts_nothing(tmp_path: Path) -> None:
    """Threads that wait for a server stop waiting; what it wrote is still there."""
    with Supervisor("it", tmp_path / "work", tmp_path / "registry") as one:
        servers = [one.start(f"s{n}", SLEEP, env={}, cwd=one.room, log=one.room / "log") for n in range(8)]
        one.halt()
        until(lambda: all(server.poll() == -signal.SIGKILL for server in servers), what="their ends", seconds=5)
        with pytest.raises(RigError, match="the run is over"):
            one.start("late", SLEEP, env={}, cwd=one.room, log=one.room / "log")
        assert (one.room / "log").exists()
    one.halt()


def test_a_run_that_was_kept_is_not_halted(tmp_path: Path) -> None:
    """The harness ends its threads in any case, and its servers stay."""
    one = Supervisor("it", tmp_path / "work", tmp_path / "registry")
    server = one.start("it", SLEEP, env={}, cwd=one.room, log=one.room / "log")
    one.keep(3600)
    one.halt()
    assert run_traces.stat_fields(server.pid)[0] in "RS"
    assert kept_runs.end(tmp_path / "registry" / "it.json") == ""
