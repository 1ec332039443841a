"""Events become lines for people who wait, and between them stands what is going on now, and for how long."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from harness import settings
from harness.cli import output
from harness.knowledge import versions
from harness.record import events
from harness.record.events import AnyEvent
from harness.record.journal import Follower
from harness.record.observation import Observation, called
from harness.reports import folded
from harness.scenario import course
from harness.scenario.course import AnyStep, Look, Serve
from harness.wait import Stopwatch

if TYPE_CHECKING:
    from rich.live import Live
    from rich.text import Text

PATIENCE: Final = (10, 30, 60)
"""Seconds after which a line says what is still going on, where none can be written over; then at every minute."""

_AT_ONCE: Final = 3


class Progress:
    """Says what goes on while the ``with`` block lasts: on a terminal in a last line that is written over all the time.

    Elsewhere, and on a terminal that can do no such thing, a line comes when something takes longer than some seconds.
    With *quiet* there is nothing of all that. Threads may share one object.
    """

    def __init__(self, *, verbose: bool = False, quiet: bool = False) -> None:
        self._quiet = quiet
        self._lock = threading.Lock()
        self._going: dict[str, Stopwatch] = {}
        self._told: dict[str, int] = {}
        self._over = threading.Event()
        self._live: Live | None = None
        self._watcher: threading.Thread | None = None
        self._follow = follower(self.say, verbose=verbose)
        self._watch_of_all = Stopwatch()
        self._stages: list[str] = []
        self._stage = 0

    def say(self, line: object) -> None:
        """Print *line* on stderr, above the one that is written over."""
        if self._quiet:
            return
        live = self._live
        if live is None:
            output.say(line)
        else:
            text = folded(output.shown(line).splitlines(), max(live.console.width, 40))
            live.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def follow(self, event: AnyEvent) -> None:
        """Be told of an event of a run."""
        if isinstance(event, events.PhaseEnded):
            self.end(event.name)
        self._take_stage(event)
        self._follow(event)

    def _take_stage(self, event: AnyEvent) -> None:
        """Mind how far a run's course has come: a Vault put in place, or a look, is a stage of it."""
        with self._lock:
            if isinstance(event, events.RunStarted):
                self._stages, self._stage = [*filter(None, map(_stage, event.plan.steps))], 0
            elif isinstance(event, events.VaultServing) or _ends_a_look(event):
                self._stage += 1

    def stage(self) -> str:
        """Return which stage of the course comes to pass, of how many; "" where none is known, or all are over."""
        with self._lock:
            if self._stage >= len(self._stages):
                return ""
            return f"{self._stage + 1} of {len(self._stages)}: {self._stages[self._stage]}"

    @contextmanager
    def during(self, name: str) -> Iterator[None]:
        """Have *name* go on while the body lasts."""
        self.begin(name)
        try:
            yield
        finally:
            self.end(name)

    def now(self) -> str:
        """Return what is going on, the longest first, each with its seconds; "" for nothing."""
        with self._lock:
            going = [(watch.seconds, name) for name, watch in self._going.items()]
        going.sort(reverse=True)
        named = [f"{name} {seconds:.0f} s" for seconds, name in going[:_AT_ONCE]]
        more = [f"{len(going) - _AT_ONCE} more"] if len(going) > _AT_ONCE else []
        return ", ".join([*named, *more])

    def __enter__(self) -> Self:
        if self._quiet:
            return self
        if settings.animated():
            self._live = _line_over(self._rendered)
            self._live.start()
        else:
            self._watcher = threading.Thread(target=self._watch, name="progress", daemon=True)
            self._watcher.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._over.set()
        live, self._live = self._live, None
        if live is not None:
            live.stop()
        if self._watcher is not None:
            self._watcher.join()

    def begin(self, name: str) -> None:
        """Have *name* go on until `end`."""
        with self._lock:
            self._going[name] = Stopwatch()
            self._told.pop(name, None)

    def end(self, name: str) -> None:
        """Have *name* go on no more."""
        with self._lock:
            self._going.pop(name, None)

    def _rendered(self) -> Text:
        from rich.text import Text

        seconds = int(self._watch_of_all.seconds)
        said = [f"{seconds // 60}:{seconds % 60:02}", self.stage(), self.now()]
        line = "; ".join(filter(None, said)) if any(said[1:]) else ""
        return Text(f"  {line}" if line else "", "dim", no_wrap=True, overflow="ellipsis")

    def _watch(self) -> None:
        while not self._over.wait(0.5):
            for line in self._late():
                self.say(line)

    def _late(self) -> list[str]:
        """Return a line for each thing that has gone on for so long that somebody may wonder."""
        lines = []
        with self._lock:
            for name, watch in self._going.items():
                due = _due(watch.seconds)
                if due > self._told.get(name, 0):
                    self._told[name] = due
                    lines.append(f"  ...  {due} s, and still: {name}")
        return lines


def _stage(step: AnyStep) -> str:
    """Return what a step is called that makes a stage of a course; "" for one that is over in no time."""
    if isinstance(step, Look):
        return f"asking {step.moment.label}"
    return versions.called(step.version, called(step)) if isinstance(step, Serve) else ""


def _ends_a_look(event: AnyEvent) -> bool:
    return isinstance(event, events.PhaseEnded) and event.name.startswith("probes ")


def _due(seconds: float) -> int:
    """Return the last of the moments, in seconds, at which one who waits is told."""
    if seconds >= PATIENCE[-1]:
        return int(seconds // PATIENCE[-1]) * PATIENCE[-1]
    return max((due for due in PATIENCE if due <= seconds), default=0)


def _line_over(render: Callable[[], Text]) -> Live:
    from rich.console import Console
    from rich.live import Live

    # stdout is for the result alone, and whoever else writes there knows nothing of this line
    console = Console(stderr=True, highlight=False, markup=False, emoji=False)
    return Live(
        get_renderable=render,
        console=console,
        refresh_per_second=4,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    )


def follower(say: Callable[[str], None], *, verbose: bool) -> Follower:
    """Return a follower that says what happens as it happens; *verbose*: every answer, not just logins and outages."""

    def follow(event: AnyEvent) -> None:
        line = _line(event, verbose=verbose)
        if line:
            say(line)

    return follow


def _line(event: AnyEvent, *, verbose: bool) -> str:
    if isinstance(event, events.RunStarted):
        paths = course.serving_each(event.plan.steps)
        each = ", ".join(f"{name} {versions.path(path, before='vault')}" for name, path in paths.items() if name)
        alone = versions.path(paths.get("", ()))
        return f"rehearsing {event.plan.scenario}: {f'Vault {each}' if each else alone}, driver {event.plan.driver}"
    if isinstance(event, events.PhaseEnded):
        return f"  {event.seconds:6.2f} s  {event.name}"
    if isinstance(event, events.MomentBegan):
        each = ", ".join(f"{name} {versions.alone(version)}" for name, version in event.versions.items())
        return f"asking {event.moment}, {f'Vault {each}' if each else versions.called(event.version)}"
    if isinstance(event, events.Trouble):
        return f"  trouble   {event.during}: {event.message}"
    told = verbose or isinstance(event, events.Renewals) or (isinstance(event, Observation) and event.probe == "login")
    return _detail(event) if told else ""


def _detail(event: AnyEvent) -> str:
    if isinstance(event, events.OldTokenRefused):
        return f"            the token of the replaced Pod {event.pod} is refused after {event.seconds:.1f} s"
    if isinstance(event, events.Renewals):
        # what words a judgement has is of no use before the first server starts
        from harness.reports.wording import outages

        return f"            {outages([event])[0]}"
    if not isinstance(event, Observation):
        return ""
    who = " ".join(part for part in (event.node or event.vault, event.app or event.mount, event.item) if part)
    silent = "no answer" if event.answer == "unknown" else event.answer
    status = event.status if event.status is not None else silent
    return f"            {event.probe} {who}: {status} {event.error}".rstrip()
