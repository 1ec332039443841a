"""The processes that rehearse the cells of a matrix, some at a time, each one cell after the other.

Each ends its servers and itself as soon as this one is gone, however it went: it reads from a pipe that nobody else
holds. One in which a cell went wrong is not used again.
"""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final, Protocol, runtime_checkable

import msgspec

from harness.cli import several
from harness.cli.cells import Answer, Order
from harness.wait import Stopwatch

if TYPE_CHECKING:
    from harness.cli.progress import Progress

_LOOK_SECONDS: Final = 0.2
_GOODBYE_SECONDS: Final = 120.0
"""How long one that is to end may take to end its servers; then it is killed, and its supervisors end them."""

_LAST_LINES: Final = 12
_FINE: Final = (0, 1, 4)
"""The codes after which a process goes on with another cell."""


@dataclass
class Task:
    """One cell to be rehearsed, and how that goes."""

    name: str
    order: Order
    limit_seconds: float = 0.0
    """after which it is ended; 0: never"""
    group: str = ""
    """those of one group are cheapest in one process, one after the other; empty: it is in none"""
    seconds: float = 0.0
    late: bool = False
    """was it ended because it took longer than it may?"""
    said: list[str] = field(default_factory=list)
    """the last that was said in it"""
    refused: tuple[str, ...] = ()
    """what this machine would not do, where that ended it"""

    @property
    def directory(self) -> Path:
        return Path(self.order.directory)


@runtime_checkable
class Grouped(Protocol):
    """Tasks of which one may choose by their group."""

    def take(self, group: str) -> Task | None:
        """Return the next task, one of *group* if there is any; None where there is no further one."""
        ...


class _Worker:
    """A process that rehearses cells."""

    def __init__(self, words: Sequence[str], how: several.How) -> None:
        # in a session of its own: Ctrl-C is for this program, which then ends all of them in order
        self.process = subprocess.Popen(
            [*several.program(), "cells", *words, *how.words()],
            env={**several.environment_of_all(), **how.environment()},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        self.task: Task | None = None
        self.group = ""
        """that of the last task"""
        self.watch = Stopwatch()
        self.lines: deque[str] = deque(maxlen=_LAST_LINES)
        self.retired = False
        self._rest = {"out": b"", "err": b""}
        for stream in (self.process.stdout, self.process.stderr):
            assert stream is not None
            os.set_blocking(stream.fileno(), False)

    def begin(self, task: Task) -> None:
        """Have it rehearse *task*."""
        self.task, self.watch, self.group = task, Stopwatch(), task.group
        self.lines.clear()
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(msgspec.json.encode(task.order) + b"\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            # it has just ended: that is seen when its status is
            return

    def read(self, which: str) -> tuple[list[str], bool]:
        """Return the whole lines that came since the last time, and whether more may come."""
        stream = self.process.stdout if which == "out" else self.process.stderr
        assert stream is not None
        try:
            raw = os.read(stream.fileno(), 1 << 16)
        except BlockingIOError:
            return [], True
        *lines, self._rest[which] = (self._rest[which] + raw).split(b"\n")
        return [line.decode(errors="replace") for line in lines], bool(raw)

    def dismiss(self) -> None:
        """Have it end: at once if it does nothing, else once it has ended its servers."""
        self.retired = True
        if self.process.stdin is not None and not self.process.stdin.closed:
            try:
                self.process.stdin.close()
            except BrokenPipeError:
                return

    def close(self) -> None:
        """Close what leads to a process that has ended."""
        pipes: tuple[IO[bytes] | None, ...] = (self.process.stdin, self.process.stdout, self.process.stderr)
        for pipe in pipes:
            if pipe is not None and not pipe.closed:
                try:
                    pipe.close()
                except BrokenPipeError:
                    continue


class Workers:
    """So many processes as cells are to be rehearsed at a time."""

    def __init__(self, how: several.How, jobs: int, going: Progress, *, verbose: bool = False) -> None:
        self._how, self._jobs, self._going, self._verbose = how, jobs, going, verbose
        self._all: list[_Worker] = []
        self._selector = selectors.DefaultSelector()
        self._left: list[int] = []
        """the codes of processes that ended otherwise than they should"""

    def ended(self, tasks: Iterable[Task], stop: Callable[[], bool] = lambda: False) -> Iterator[tuple[Task, int]]:
        """Yield each task with its exit code as it is over. The next of *tasks* is asked for once there is room, and
        where they are `Grouped`, for one of the group that the process has had.

        Once *stop* says so everything is ended, and of what is under way nothing is yielded.
        """
        waiting = iter(tasks)
        over = False
        while not stop() and (not over or any(worker.task for worker in self._all)):
            while not over and (worker := self._free()) is not None:
                task = waiting.take(worker.group) if isinstance(waiting, Grouped) else next(waiting, None)
                if task is None:
                    over = True
                    break
                self._going.begin(task.name)
                worker.begin(task)
            if over:
                # their servers end while others are still at work
                for worker in self._all:
                    if worker.task is None and not worker.retired:
                        worker.dismiss()
            yield from self._look()
        self.end()

    def expect(self, cells: int) -> None:
        """Have the processes for so many *cells* begin: each takes a while to load what it needs."""
        for _ in range(min(cells, self._jobs) - len(self._all)):
            self._begun()

    def _begun(self) -> _Worker:
        worker = _Worker((), self._how)
        self._all.append(worker)
        for which in ("out", "err"):
            stream = worker.process.stdout if which == "out" else worker.process.stderr
            self._selector.register(stream, selectors.EVENT_READ, (worker, which))  # type: ignore[arg-type]
        return worker

    def _free(self) -> _Worker | None:
        """Return a process that has nothing to do, a new one if there may be more; None where all have."""
        at_work = [worker for worker in self._all if not worker.retired]
        idle = next((worker for worker in at_work if worker.task is None), None)
        if idle is not None or len([worker for worker in self._all if worker.task or not worker.retired]) >= self._jobs:
            return idle
        return self._begun()

    def _look(self) -> Iterator[tuple[Task, int]]:
        for key, _ in self._selector.select(_LOOK_SECONDS):
            worker, which = key.data
            lines, more = worker.read(which)
            if not more:
                self._selector.unregister(key.fileobj)
            for line in lines:
                if which == "out" and worker.task is not None:
                    answer = msgspec.json.decode(line, type=Answer)
                    yield self._finished(worker, answer.code, answer.said)
                elif which == "err":
                    self._heard(worker, line)
        for worker in list(self._all):
            self._end_late(worker)
            if worker.process.poll() is not None:
                yield from self._gone(worker)

    def _heard(self, worker: _Worker, line: str) -> None:
        worker.lines.append(line.strip())
        if self._verbose and worker.task is not None:
            self._going.say(f"{worker.task.name}: {line}")

    def _finished(self, worker: _Worker, code: int, said: Sequence[str]) -> tuple[Task, int]:
        task = worker.task
        assert task is not None
        worker.task = None
        task.seconds = worker.watch.seconds
        task.said = [*worker.lines, *said]
        task.refused = tuple(said)
        self._going.end(task.name)
        if code not in _FINE:
            worker.dismiss()
        return task, code

    def _gone(self, worker: _Worker) -> Iterator[tuple[Task, int]]:
        """Take leave of a process that has ended, and say so of the cell that it was rehearsing."""
        self._all.remove(worker)
        for stream in (worker.process.stdout, worker.process.stderr):
            if stream in self._selector.get_map():
                self._selector.unregister(stream)  # type: ignore[arg-type]
        code = worker.process.returncode
        lines, _ = worker.read("err")
        for line in lines:
            self._heard(worker, line)
        if code < 0:
            worker.lines.append(f"it was ended by {signal.Signals(-code).name}")
        worker.close()
        if worker.task is not None:
            # whatever code it has, a pass or a regression it is not: nothing was answered
            yield self._finished(worker, code if code in (5, 130) else 3, ())
        elif code not in (0, 130):
            self._left.append(code)

    def _end_late(self, worker: _Worker) -> None:
        """End the process of a cell that takes longer than it may: in order first, and a while later by force."""
        task = worker.task
        if task is None or not task.limit_seconds or worker.watch.seconds < task.limit_seconds:
            return
        if not task.late:
            task.late = True
            self._going.say(f"{task.name}: not over after {task.limit_seconds:g} s, its limit; it is being ended")
            worker.dismiss()
        elif worker.watch.seconds > task.limit_seconds + _GOODBYE_SECONDS:
            worker.process.kill()

    def end(self) -> int:
        """End all processes, each after its servers; return 5 if one of them has left something behind, else 0.

        A second interruption, or two minutes, and they are killed: then their supervisors end the servers.
        """
        for worker in self._all:
            worker.dismiss()
        watch = Stopwatch()
        for worker in self._all:
            try:
                code = worker.process.wait(max(_GOODBYE_SECONDS - watch.seconds, 0.1))
            except (subprocess.TimeoutExpired, KeyboardInterrupt):
                for one in self._all:
                    one.process.kill()
                code = worker.process.wait(_GOODBYE_SECONDS)
            if code not in (0, 130):
                self._left.append(code)
            worker.close()
        self._all = []
        self._selector.close()
        self._selector = selectors.DefaultSelector()
        return 5 if 5 in self._left else 0
