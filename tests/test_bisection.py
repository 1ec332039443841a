"""The search alone: whatever the answers are, it ends, asks no more than it must, and says what they come to."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.analysis import bisection
from harness.analysis.bisection import Answer, Ask, End

answers = st.sampled_from(["good", "bad", "skip"])


def searched(number: int, oracle: Callable[[int], Answer]) -> tuple[End, dict[int, Answer]]:
    """Search among *number* values; return the end, and every answer that it took."""
    given_: dict[int, Answer] = {}
    while isinstance(step := bisection.step(number, given_), Ask):
        assert step.index not in given_, "no question is asked twice"
        given_[step.index] = oracle(step.index)
        assert len(given_) <= number
    return step, given_


@given(st.integers(2, 3000), st.data())
def test_the_first_bad_value_is_found_with_few_questions(number: int, data: st.DataObject) -> None:
    first = data.draw(st.integers(1, number - 1))
    end, asked = searched(number, lambda index: "bad" if index >= first else "good")
    assert end == End("found", first - 1, first)
    assert len(asked) <= bisection.most(number) <= math.ceil(math.log2(number)) + 2


@given(st.integers(2, 200), st.data())
def test_every_skip_costs_one_question_at_most(number: int, data: st.DataObject) -> None:
    """And the answer says between which values it lies: nothing but skips is between them."""
    first = data.draw(st.integers(1, number - 1))
    dark = data.draw(st.sets(st.integers(1, number - 2))) if number > 3 else set()

    def oracle(index: int) -> Answer:
        return "skip" if index in dark else "bad" if index >= first else "good"

    end, asked = searched(number, oracle)
    assert end.good < first <= end.bad
    assert all(index in dark for index in range(end.good + 1, end.bad))
    assert end.outcome == ("found" if end.bad - end.good == 1 else "between")
    assert len(asked) <= bisection.most(number) + sum(answer == "skip" for answer in asked.values())


@given(st.lists(answers, min_size=2, max_size=60))
def test_answers_that_contradict_each_other_still_have_an_end(told: list[Answer]) -> None:
    """A good one above a bad one: somewhere it turns, and that place is named."""
    end, _ = searched(len(told), told.__getitem__)
    if told[-1] == "skip":
        assert end.outcome == "bad unknown"
    elif told[0] == "skip":
        assert end.outcome == "good unknown"
    elif told[0] == told[-1]:
        assert end.outcome == f"both {told[0]}"
    elif told[0] == "bad":
        assert end.outcome == "swapped"
    else:
        assert (told[end.good], told[end.bad]) == ("good", "bad")
        assert set(told[end.good + 1 : end.bad]) <= {"skip"}


@given(st.lists(answers, min_size=2, max_size=60), st.data())
def test_a_search_that_was_interrupted_goes_on_where_it_was(told: list[Answer], data: st.DataObject) -> None:
    """Given the answers that it had, in whatever order, it asks what it would have asked."""
    end, asked = searched(len(told), told.__getitem__)
    order = list(asked)
    until = data.draw(st.integers(0, len(order)))
    had = {index: asked[index] for index in data.draw(st.permutations(order[:until]))}
    later: dict[int, Answer] = {}
    while isinstance(step := bisection.step(len(told), {**had, **later}), Ask):
        later[step.index] = told[step.index]
    assert step == end
    assert list(later) == order[until:]


def test_the_bad_end_is_asked_first_because_it_shows_what_is_looked_for() -> None:
    assert bisection.step(9, {}) == Ask(8)
    assert bisection.step(9, {8: "bad"}) == Ask(0)
    assert bisection.step(9, {8: "good"}) == Ask(0)
    assert bisection.step(2, {0: "good", 1: "bad"}) == End("found", 0, 1)


@pytest.mark.parametrize("number", [-1, 0, 1])
def test_less_than_two_values_are_no_search(number: int) -> None:
    with pytest.raises(ValueError, match="two values"):
        bisection.step(number, {})
