"""A judgement in the shapes that people and programs read.

They choose words and never change a verdict.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable
from typing import Final

_COMMAND: Final = re.compile(r"(?m)^(\s*):(?=:)")


def printable(text: str) -> str:
    """Return *text* with whatever could steer a terminal written out: servers' words are shown, never obeyed.

    Line ends stay; colour codes, other control characters and marks of writing direction are escaped.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)


def harmless(text: str) -> str:
    """Return *text* as `printable` does, and so that no line of it is a command to a CI job that reads the log.

    GitHub's runner obeys a line that begins with `::`, and `##[` wherever it stands.
    """
    return defused(printable(text))


def defused(text: str) -> str:
    """Return *text*, which is printable or holds colours of ours, without commands to a CI job."""
    if "::" not in text and "##[" not in text:
        return text
    return _COMMAND.sub(r"\1\\x3a", text).replace("##[", r"#\x23[")


class Whole(str):
    """A line that is to be pasted, so that it is never folded."""

    __slots__ = ()


def folded(lines: Iterable[str], width: int | None) -> str:
    """Return *lines* as a text of at most *width* columns, what is folded beneath its line; None: as they are."""
    said: list[str] = []
    for line in lines:
        if width is None or len(line) <= width or isinstance(line, Whole):
            said.append(line)
            continue
        head = line[: len(line) - len(line.lstrip())]
        under = " " * (len(head) + 2)
        said += textwrap.wrap(line, width, subsequent_indent=under, break_long_words=False, break_on_hyphens=False)
    return "\n".join(said)
