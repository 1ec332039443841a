"""A judgement in the shapes that people and programs read.

They choose words and never change a verdict.
"""

from __future__ import annotations


def printable(text: str) -> str:
    """Return *text* with whatever could steer a terminal written out: servers' words are shown, never obeyed.

    Line ends stay; colour codes, other control characters and marks of writing direction are escaped.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)
