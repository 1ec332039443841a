"""Kills the harness at any instant of a run, and counts what is still there when it was promised to be gone."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec
import psutil

from harness.clients.container_engine import Engine
from harness.host import run_traces
from tests.bench.commands import World

PROMISED_SECONDS = {"local": 15.0, "kind": 30.0}
_MARK = run_traces.MARK
_PORTS = range(21000, 32000)
"""Where `harness.host.ports` takes its ports from."""


class Left(msgspec.Struct):
    """How much of one run is there, or of several."""

    processes: int = 0
    mounts: int = 0
    sockets: int = 0
    directories: int = 0
    entries: int = 0
    things: int = 0
    """containers, networks and volumes"""

    def __bool__(self) -> bool:
        return any(msgspec.structs.astuple(self))

    def __add__(self, other: Left) -> Left:
        both = zip(msgspec.structs.astuple(self), msgspec.structs.astuple(other), strict=True)
        return Left(*(mine + its for mine, its in both))


class Kills(msgspec.Struct):
    """What came of all trials."""

    trials: int = 0
    too_late: int = 0
    """runs that had ended before their instant came"""
    left: Left = msgspec.field(default_factory=Left)
    slowest: float = 0.0
    """the longest time in seconds until nothing was left"""


def kill(
    world: World,
    scenario: Path,
    trials: int,
    usual: float,
    seed: int,
    engine: Engine | None = None,
    *,
    both: bool = False,
) -> Kills:
    """Kill so many runs of a *scenario*, each at an instant of its own within its *usual* seconds.

    With *engine* they are runs on kind clusters there; left out, on processes. With *both*, the supervisor is killed
    together with the harness: then it is the watcher's to end the run. A run that has ended before its instant says how
    long one takes at most by then: *usual* may be of a busier hour.
    """
    instants = random.Random(seed)
    result = Kills()
    while result.trials < trials:
        listening = set(_listening(""))
        run = world.new_run()
        words: list[str | Path] = [Path(sys.executable).with_name("rehearse"), "run", scenario, "--run-dir", run]
        words += ["--driver", "kind" if engine else "local"]
        with world.started(words) as process:
            begun = time.monotonic()
            try:
                process.wait(instants.uniform(0, usual))
            except subprocess.TimeoutExpired:
                pass
            else:
                result.too_late += 1
                usual = min(usual, time.monotonic() - begun)
                continue
            if both:
                _kill_supervisor(process.pid)
            process.kill()
        left, seconds = _until_clean(world, run.name, process.pid, listening, engine)
        result.trials += 1
        result.left += left
        result.slowest = max(result.slowest, seconds)
    return result


def _kill_supervisor(harness: int) -> None:
    with suppress(psutil.Error):
        for child in psutil.Process(harness).children():
            if _is_supervisor_of(harness, child.cmdline()):
                child.kill()


def _is_supervisor_of(harness: int, words: Sequence[str]) -> bool:
    """Whether *words* are the command of its supervisor, or of the watcher, which is a fork of that."""
    return words[-1:] == [str(harness)] and any(word.endswith("supervisor.py") for word in words)


def _until_clean(
    world: World, run: str, harness: int, listening: set[int], engine: Engine | None
) -> tuple[Left, float]:
    """Return what is left once nothing is, or the promised time is over, and how long that took."""
    began = time.monotonic()
    while True:
        left, seconds = _left(world, run, harness, listening, engine), time.monotonic() - began
        if not left or seconds > PROMISED_SECONDS["kind" if engine else "local"]:
            return left, seconds
        time.sleep(0.05)


def _left(world: World, run: str, harness: int, listening: set[int], engine: Engine | None) -> Left:
    # servers carry the mark of their run; the harness is known by the world it was started in, which its supervisor
    # and the watcher know nothing of: they are known by the harness
    ours = (f"{_MARK}={run}", f"REHEARSE_STATE={world.state}")
    return Left(
        processes=sum(any(name in environment for name in ours) for environment in _environments())
        + sum(_is_supervisor_of(harness, words) for words in _commands()),
        mounts=sum(run in line for line in _mounts()),
        sockets=len(set(_listening(run)) - listening),
        directories=sum(run in path.name for path in world.work.iterdir()),
        entries=sum(run in path.name for path in (world.state / "live").glob("*")),
        things=sum(thing.run.startswith(f"{run}-") for thing in engine.leftovers()) if engine else 0,
    )


def _environments() -> Iterator[str]:
    """Yield the environment that every process was started with."""
    for process in Path("/proc").glob("[0-9]*"):
        yield _environment(process)


def _commands() -> Iterator[list[str]]:
    """Yield the words of every process that is not dead."""
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            yield process.cmdline()


def _environment(process: Path) -> str:
    with suppress(OSError):
        return (process / "environ").read_text(errors="replace")
    return ""


def _mounts() -> Iterator[str]:
    """Yield every mount that any process sees, this one included."""
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            yield from (process / "mountinfo").read_text(errors="replace").splitlines()


def _listening(run: str) -> Iterator[int]:
    """Yield the ports of our range that somebody listens on, unless it is another run than this."""
    for each in psutil.net_connections("tcp"):
        if each.status == psutil.CONN_LISTEN and each.laddr and each.laddr.port in _PORTS:
            environment = _environment(Path(f"/proc/{each.pid}"))
            if _MARK not in environment or f"{_MARK}={run}" in environment:
                yield each.laddr.port
