"""A version has three numbers, is ordered by them, and is known where it never was."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.knowledge import versions


@pytest.mark.parametrize("text", ["0.0.0", "1.11.0", "1.7.10", "1.16.0-rc2", "1.15.3+ent", "1.15.3+ent.hsm", "2.0.1"])
def test_a_version_has_three_numbers(text: str) -> None:
    assert versions.release(text) == tuple(int(n) for n in text.replace("+", "-").split("-")[0].split("."))


@pytest.mark.parametrize(
    "text",
    ["", "1", "1.10", "v1.10.0", "1.10.0.0", "1.010.0", "1.10.0 ", "1.10.0\n", "1.x.0", "१.२.३", "latest", "1.10.0-",
     "1.0.0-a/b", "1.0.0-foo", "9" * 5000 + ".0.0", "1.0.0+" + "a" * 50],
)  # fmt: skip
def test_anything_else_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match=r"three numbers, such as 1\.11\.0"):
        versions.parse(text)


@given(st.text() | st.from_regex(r"[0-9]+\.[0-9]+\.[0-9]+[-+]?[a-z0-9.+-]*"))
def test_any_text_is_a_version_or_refused_in_our_words(text: str) -> None:
    try:
        versions.parse(text)
    except ValueError as error:
        refused = str(error)
    else:
        refused = ""
    assert refused in ("", "a version has three numbers, such as 1.11.0")


def test_versions_are_ordered_by_number_and_not_by_letter() -> None:
    assert versions.ascending(["1.10.0", "1.9.10", "1.9.2", "1.10.0"]) == ["1.9.2", "1.9.10", "1.10.0"]


def test_a_candidate_comes_before_its_release_and_a_build_after() -> None:
    ordered = ["1.16.0-rc1", "1.16.0-rc2", "1.16.0", "1.16.0+ent"]
    assert versions.ascending(reversed(ordered)) == ordered


def test_a_build_suffix_does_not_count_for_what_a_version_can_do() -> None:
    assert versions.at_least("1.9.3+ent", "1.9.3")
    assert versions.at_least("1.10.0", "1.9.3")
    assert not versions.at_least("1.9.2+ent.hsm", "1.9.3")


@pytest.mark.parametrize(
    ("version", "why"),
    [
        ("1.4.8", "the last release of this line is 1.4.7"),
        ("1.13.14", "the last release of this line is 1.13.13"),
        ("1.22.0", "there is no Vault 1.22: the line goes from 1.21 to 2.0"),
        ("1.24.3+ent", "there is no Vault 1.24: the line goes from 1.21 to 2.0"),
        ("1.99.0", "there is no Vault 1.99: the line goes from 1.21 to 2.0"),
    ],
)
def test_a_release_that_never_was_is_known(version: str, why: str) -> None:
    assert versions.never_released(version) == why


@pytest.mark.parametrize("version", ["1.4.7", "1.7.10", "1.9.10+ent", "1.13.13", "1.14.99", "1.21.0", "2.0.0", "1.3.0"])
def test_nothing_is_held_against_a_release_of_which_nothing_is_known(version: str) -> None:
    assert versions.never_released(version) == ""
