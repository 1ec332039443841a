"""Waiting ends in one of three ways, and says which."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import wait
from harness.errors import NotReady, ProcessDied, RigError, Unreachable


def test_what_is_ready_at_once_is_asked_once() -> None:
    """Nobody waits, and no deadline is too short, for what is there already."""
    asked = itertools.count()
    assert wait.until(lambda: f"ready at question {next(asked)}", what="it", seconds=0) == "ready at question 0"
    assert next(asked) == 1


@given(st.integers(min_value=0, max_value=5), st.sampled_from([0, "", (), "ready", 7]))
def test_only_none_and_false_mean_not_yet(times: int, answer: object) -> None:
    """An empty answer is an answer, and the answer itself comes back."""
    answers = itertools.chain([None, False] * times, [answer])
    assert wait.until(lambda: next(answers), what="it", seconds=60, every=0.0) is answer


def test_out_of_time_says_what_for_how_long_and_the_last_answer() -> None:
    """The reason why the server could not be asked, and the end of its log, survive into the error."""

    def refuse() -> None:
        raise Unreachable("connection refused")

    with pytest.raises(NotReady, match=r"waited 0\.\d s for vault-0 to listen.*connection refused") as caught:
        wait.until(refuse, what="vault-0 to listen", seconds=0.03, died=lambda: None, log=lambda: ["last line"])
    assert caught.value.log == ("last line",)


def test_the_last_chance_comes_after_the_deadline() -> None:
    """Whoever gets ready during the last pause is still found ready."""
    watch = wait.Stopwatch()
    assert wait.until(lambda: watch.seconds >= 0.05, what="the deadline", seconds=0.05, every=10.0)


def test_dead_is_said_at_once_with_the_log() -> None:
    """A death ends the wait long before the deadline."""
    asked = itertools.count()
    with pytest.raises(ProcessDied, match="waited for it, but vault ended by itself with status 1") as caught:
        wait.until(
            lambda: next(asked) < 0,
            what="it",
            seconds=3600,
            died=lambda: "vault ended by itself with status 1",
            log=lambda: ["port in use"],
        )
    assert next(asked) == 1
    assert caught.value.log == ("port in use",)


def test_a_dead_server_is_not_ready_whoever_answers_for_it() -> None:
    """Another server on the same port can answer for a dead one: the death counts."""
    with pytest.raises(ProcessDied):
        wait.until(lambda: "I am well", what="it", seconds=1, died=lambda: "vault ended by itself with status 1")


def test_other_errors_go_through() -> None:
    """Only Unreachable means "not yet": any other error is not waited away."""

    def broken() -> None:
        raise RigError("sealed for good")

    with pytest.raises(RigError, match="sealed for good"):
        wait.until(broken, what="it", seconds=3600)


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that only pauses move on; the list of them."""
    taken: list[float] = []

    class Clock:
        @property
        def seconds(self) -> float:
            return sum(taken)

    monkeypatch.setattr(wait, "pause", taken.append)
    monkeypatch.setattr(wait, "Stopwatch", Clock)
    return taken


def test_it_asks_often_at_first_and_gently_slower_later(pauses: list[float]) -> None:
    """The pauses grow from one to three hundredths of a second, and the last one is not longer than what is left."""
    with pytest.raises(NotReady):
        wait.until(lambda: None, what="it", seconds=2.0)
    assert pauses[0] == 0.01
    assert max(pauses) == 0.03
    assert pauses[:-1] == sorted(pauses[:-1])
    assert sum(pauses) == pytest.approx(2.0)


def test_a_slow_rhythm_is_kept(pauses: list[float]) -> None:
    """Who asks for longer pauses gets them."""
    with pytest.raises(NotReady):
        wait.until(lambda: None, what="it", seconds=1.0, every=0.25)
    assert pauses == [0.25] * 4


def test_now_and_pause() -> None:
    """The date moves with the clock that ticks."""
    before = wait.now()
    wait.pause(0.001)
    assert wait.now() > before > 1_700_000_000


def test_a_long_wait_goes_on_asking(pauses: list[float]) -> None:
    """A build takes thousands of questions: the pause between them stays what it is, and nothing overflows."""
    asked = itertools.count()
    assert wait.until(lambda: next(asked) >= 5000, what="it", seconds=3600)
    assert pauses[-1] == 0.03
