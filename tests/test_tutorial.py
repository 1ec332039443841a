"""The commands of docs/tutorial.md are run, in their order, and end and print as the page says."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

PAGE = Path(__file__).parent.parent / "docs" / "tutorial.md"
_SECONDS = 300


class Command(NamedTuple):
    """A command of the page, how it ends, and the lines that it prints among others, in their order."""

    line: str
    code: int
    prints: list[str]


def commands() -> list[Command]:
    """Return every command on the page."""
    found: list[Command] = []
    for block in re.findall(r"^```console\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL):
        for line in block.splitlines():
            if line.startswith("$ "):
                words, _, said = line.removeprefix("$ ").partition("    # exits with ")
                found.append(Command(words, int(said or 0), []))
            else:
                found[-1].prints.append(line)
    return found


def missing(wanted: list[str], printed: str) -> list[str]:
    """Return the lines of *wanted* that do not come in *printed*, one after the other."""
    rest, absent = printed, []
    for line in wanted:
        _, found, after = rest.partition(line)
        if not found:
            absent.append(line)
        else:
            rest = after
    return absent


def test_the_page_has_commands_and_what_they_print() -> None:
    found = commands()
    assert len(found) >= 10
    assert {one.code for one in found} == {0, 1, 2, 4}
    assert sum(bool(one.prints) for one in found) >= 8


@pytest.mark.real
def test_each_command_of_the_page_does_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = Path(sys.executable).parent
    assert shutil.which("rehearse", path=str(here))
    monkeypatch.setenv("PATH", str(here), prepend=":")
    monkeypatch.setenv("REHEARSE_STATE", str(tmp_path / "state"))
    for one in commands():
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", one.line],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
        assert done.returncode == one.code, f"{one.line}\n{done.stdout}{done.stderr}"
        assert missing(one.prints, done.stdout + done.stderr) == [], f"{one.line}\n{done.stdout}{done.stderr}"
    assert (tmp_path / "first.html").stat().st_size > 10_000
