"""The only module with a clock that ticks: a deadline, a condition, and three ways out.

Ready, dead, out of time: each says which one it was, for how long, and what the last answer was.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final, TypeVar

from harness.errors import NotReady, ProcessDied, Unreachable

_SLOWEST: Final = 0.03  # half of it is lost at every wait, and a server that is long in coming bears so many questions
_BACK_OFF: Final = 1.3
_LINE_LENGTH: Final = 200
_TELLING: Final = re.compile(r"panic:|fatal|error|failed|refused|denied", re.IGNORECASE)

_TRIES: Final = 50
"""so often something is asked that does not change by itself"""

_NOTHING_CHANGES: Final[ContextVar[bool]] = ContextVar("nothing changes by itself", default=False)

T = TypeVar("T")


def now() -> float:
    """Return the date as seconds since 1970: for records, never for measuring, because it can be set back."""
    return time.time()


def pause(seconds: float) -> None:
    """Let *seconds* pass, for the rare case that nothing can be asked. Whoever can ask uses `until`."""
    time.sleep(seconds)


class Stopwatch:
    """Measures from the moment it is made, on a clock that nobody can set."""

    __slots__ = ("_started",)

    def __init__(self) -> None:
        self._started = time.monotonic()

    @property
    def seconds(self) -> float:
        """How long it has been."""
        return time.monotonic() - self._started


@contextmanager
def nothing_changes() -> Iterator[None]:
    """Have nothing be waited for as long as the body takes: on paper nothing changes because time passes."""
    before = _NOTHING_CHANGES.set(True)
    try:
        yield
    finally:
        _NOTHING_CHANGES.reset(before)


def until(
    condition: Callable[[], T | None],
    *,
    what: str,
    seconds: float,
    every: float = 0.01,
    died: Callable[[], str | None] | None = None,
    log: Callable[[], Sequence[str]] | None = None,
    advice: str = "",
) -> T:
    """Ask *condition* until it answers something other than None or False, and return that answer.

    It is asked at once, then after *every* seconds, gently slower down to thirty times a second, and one last time when
    *seconds* are over. It may raise Unreachable for "not yet"; anything else it raises goes through. *what* completes
    the sentence "waited for ...". *died* returns a sentence once the server in question has ended; left out, only the
    deadline ends the wait. *log* returns the last lines of its log for the error; left out, the error has none.
    *advice* says what to do if it was in vain.

    Raises ProcessDied as soon as *died* says so, and NotReady when the time is over.
    """
    watch = Stopwatch()
    left = seconds

    def ask() -> T:
        nonlocal left
        # Read before asking: an answer that follows the last chance to be asked must not be missed.
        left = seconds - watch.seconds
        answer, last = _ask(condition)
        # Before the answer is believed: another server on the same port can answer for a dead one.
        if sentence := died() if died else None:
            lines = log() if log else ()
            raise ProcessDied(_told(f"waited for {what}, but {sentence}", lines, advice), None, lines)
        if answer is None or answer is False:
            raise _NotYet(last)
        return answer

    try:
        try:
            return ask()
        except _NotYet:
            if left <= 0:
                raise
        if _NOTHING_CHANGES.get():
            return _at_once(ask)
        pause(min(every, left))
        return _retrying(ask, every, lambda: left)
    except _NotYet as last:
        message = f"waited {watch.seconds:.1f} s for {what}, in vain; the last answer was: {last}"
        lines = log() if log else ()
        raise NotReady(_told(message, lines, advice), lines) from None


def _at_once(ask: Callable[[], T]) -> T:
    """Ask some more times, without any pause, until there is an answer: then the last _NotYet is raised."""
    for _ in range(_TRIES):
        try:
            return ask()
        except _NotYet:
            continue
    return ask()


def _retrying(ask: Callable[[], T], every: float, left: Callable[[], float]) -> T:
    """Ask again and again until there is an answer, or no time left: then the last _NotYet is raised."""
    # what answers at once, as everything on paper does, needs none of it
    import tenacity

    slower = tenacity.wait_exponential(multiplier=every, exp_base=_BACK_OFF, max=max(every, _SLOWEST))
    asking = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(_NotYet),
        stop=lambda _state: left() <= 0,
        wait=lambda state: min(slower(state), left()),
        sleep=pause,
        reraise=True,
    )
    return asking(ask)


class _NotYet(Exception):
    """The condition has not come true; the text is its last answer."""


def _told(message: str, lines: Sequence[str], advice: str) -> str:
    """Return *message* with the line of the log that looks most like the reason, else its last one; and what to do."""
    written = [line.strip() for line in lines if line.strip()]
    telling = [line for line in written if _TELLING.search(line)]
    last = (telling or written or [""])[-1]
    wrote = f"; its log says: {last[:_LINE_LENGTH]}" if last else ""
    return f"{message}{wrote}" + (f"; {advice}" if advice else "")


def _ask(condition: Callable[[], T | None]) -> tuple[T | None, str]:
    try:
        answer = condition()
    except Unreachable as error:
        return None, str(error)
    return answer, "not yet"


def stamp(at: float) -> str:
    """Return a time as it stands in the name of a run directory, in UTC: 20260314-150926."""
    return time.strftime("%Y%m%d-%H%M%S", time.gmtime(at))
