"""A range means the same versions everywhere, without a network; and what is none says what would be right."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from harness.artifacts import availability
from harness.cli import commands
from harness.knowledge import releases, versions

VAULT = releases.shipped("vault")


@pytest.mark.parametrize(
    ("text", "stands_for"),
    [
        ("1.11.0", "1.11.0"),
        ("1.16.9+ent", "1.16.9+ent"),
        ("9.9.9", "9.9.9"),
        ("1.11", "1.11.12"),
        ("1.8..1.13", "1.8.12 1.9.10 1.10.11 1.11.12 1.12.11 1.13.13"),
        ("1.9.2..1.11.0", "1.9.2 1.9.10 1.10.11 1.11.0"),
        ("1.9.2..1.9.4:all", "1.9.2 1.9.3 1.9.4"),
        ("..1.4", "1.3.10 1.4.7"),
        ("2.0..", "2.0.4"),
        ("1.11.0,1.9..1.10,1.7.0,1.11.0", "1.7.0 1.9.10 1.10.11 1.11.0"),
        ("1.19..2.0", "1.19.5 1.20.4 1.21.4 2.0.4"),
    ],
)
def test_a_range_stands_for_the_newest_patch_of_each_minor(text: str, stands_for: str) -> None:
    assert " ".join(releases.resolve(text, VAULT)) == stands_for


def test_all_is_every_patch_and_every_patch_is_in_the_table() -> None:
    every = releases.resolve("all", VAULT)
    assert every == tuple(VAULT.released)
    assert len(every) > 170
    assert every[0] == "1.3.0"
    for minor, last in (("1.7", 10), ("1.11", 12), ("1.16", 3), ("1.21", 4)):
        line = releases.resolve(f"{minor}:all", VAULT)
        assert line == tuple(f"{minor}.{patch}" for patch in range(last + 1))


@pytest.mark.parametrize("product", ["vault", "kubernetes"])
def test_the_table_is_in_order_and_older_than_its_date(product: str) -> None:
    """Every patch of a line came out on the day of the one before it or later, and no release is one that never was."""
    table = releases.shipped(product)
    assert list(table.released) == versions.ascending(table.released)
    assert max(table.released.values()) <= table.as_of
    for one, other in zip(table.released, list(table.released)[1:], strict=False):
        if versions.release(one)[:2] == versions.release(other)[:2]:
            assert table.released[one] <= table.released[other]
    if product == "vault":
        assert [each for each in table.released if versions.never_released(each)] == []


def test_here_leaves_out_what_cannot_be_had() -> None:
    """The newest patch of each minor that is here, not the minors whose newest patch is here."""
    here = {"1.8.0", "1.9.2", "1.9.3", "1.11.0"}.__contains__
    assert releases.resolve("1.8..1.13:here", VAULT, here) == ("1.8.0", "1.9.3", "1.11.0")
    assert releases.resolve("1.8..1.13:here:all", VAULT, here) == ("1.8.0", "1.9.2", "1.9.3", "1.11.0")
    with pytest.raises(releases.UnknownVersion, match="none of these Vault versions can be had"):
        releases.resolve("1.12..1.13:here", VAULT, here)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("1.22", r"there is no Vault 1\.22 from 1\.3 to 2\.0, as of .*versions --update"),
        ("1.8..1.23", r"there is no Vault 1\.23"),
        ("1.8..1.13.99", r"there is no Vault 1\.13\.99: 1\.13 goes from 1\.13\.0 to 1\.13\.13"),
        ("1.22.1..1.23.0", r"there is no Vault 1\.22\.1: there is no Vault 1\.22"),
        ("1.13..1.8", r"1\.13 is newer than 1\.8; the older one comes first"),
        ("1.9.3..1.9.2", r"1\.9\.3 is newer than 1\.9\.2"),
        ("1.8..1.9:newest", "after a range there is :all or :here, and not :newest"),
        ("1.8..1.9:here", "nobody knows in this place"),
        ("latest", "'latest' is no end of a range"),
        ("", "'' is no end of a range"),
        ("1.8...1.9", "is no end of a range"),
        ("1.7.0+ent..1.9", "is no end of a range"),
    ],
)
def test_a_range_that_stands_for_nothing_says_what_would_be_right(text: str, says: str) -> None:
    with pytest.raises(releases.UnknownVersion, match=says):
        releases.resolve(text, VAULT)


@given(st.text(alphabet="0123456789.,:alhere+ ", max_size=20))
def test_any_text_is_a_range_or_refused_in_our_words(text: str) -> None:
    refused, found = "", tuple[str, ...]()
    try:
        found = releases.resolve(text, VAULT, lambda version: version.endswith("0"))
    except releases.UnknownVersion as error:
        refused = str(error)
    assert bool(refused) != bool(found)
    assert found == tuple(versions.ascending(found))


def test_availability_tells_cached_from_built_from_downloaded(tmp_path: Path) -> None:
    """Nothing is asked: an empty cache knows what was seen to build, what was refused, and what nobody has tried."""
    found = availability.of("vault", ["1.7.0", "1.7.1", "1.13.13", "1.16.9+ent"], tmp_path, VAULT)
    assert [one.sources for one in found] == [
        ("built from modules", "release server"),
        ("perhaps built from modules (not tried yet)", "release server"),
        ("release server",),
        (),
    ]
    assert [one.surely for one in found] == [True, False, False, False]
    assert "checksum database" in found[2].not_built


def test_the_command_says_it_for_people_and_for_programs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("REHEARSE_CACHE", str(tmp_path))
    said = CliRunner().invoke(commands.main, ["versions", "1.8..1.9"])
    assert said.exit_code == 0
    assert "1.9.10     2022-09-15  perhaps built from modules (not tried yet), release server" in said.stdout
    assert f"Vault, as of {releases.AS_OF}" in said.stdout
    told = json.loads(CliRunner().invoke(commands.main, ["versions", "1.11.0:all", "-o", "json"]).stdout)
    assert told[0]["versions"][0]["version"] == "1.11.0"
    assert told[0]["versions"][0]["sources"] == ["built from modules", "release server"]
    wrong = CliRunner().invoke(commands.main, ["versions", "1.8..1.23"])
    assert (wrong.exit_code, "there is no Vault 1.23" in wrong.output) == (2, True)


@pytest.mark.parametrize(
    ("version", "nearest"),
    [
        ("3.0.0", "the newest is 2.0.4"),
        ("2.1.0-rc1", "the newest is 2.0.4"),
        ("2.1.0+ent", "the newest is 2.0.4"),
        ("2.0.9", "the newest of 2.0 is 2.0.4"),
        ("1.16.9", "1.16 ended with 1.16.3, and later patches of it are of Vault Enterprise alone (1.16.9+ent)"),
        ("0.11.0", "the oldest is 1.3.0"),
    ],
)
def test_a_version_that_no_table_has_is_told_with_what_comes_nearest(version: str, nearest: str) -> None:
    """And with the date of the table: it may be newer."""
    said = releases.unheard(version, VAULT)
    assert said.startswith(f"Vault {version} is none of the releases that are known, as of {VAULT.as_of}: {nearest}. ")
    assert "rehearse versions --update" in said


@pytest.mark.parametrize("version", ["2.0.4", "1.16.3", "1.16.0-rc1", "1.16.9+ent", "2.0.4+ent.hsm", "openbao-9.0.0"])
def test_what_is_known_or_what_no_table_can_have_is_not_told(version: str) -> None:
    assert releases.unheard(version, VAULT) == ""


def test_a_release_that_was_asked_for_is_known_from_then_on() -> None:
    """And of Kubernetes, whose lines are patched side by side, no line has ended."""
    more = VAULT.with_more(["2.1.0", "2.1.1"], "2026-11-20", "asked")
    assert releases.unheard("2.1.1", more) == ""
    assert "as of 2026-11-20: the newest of 2.1 is 2.1.1. " in releases.unheard("2.1.9", more)
    assert "the newest of 1.30 is 1.30.14. " in releases.unheard("1.30.99", releases.shipped("kubernetes"))
