"""A judgement in the shapes that people and programs read.

They choose words and never change a verdict.
"""

from __future__ import annotations

import re
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
