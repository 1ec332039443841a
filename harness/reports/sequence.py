"""A login as a sequence diagram: where everything stands, for a template to draw."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import msgspec

from harness.analysis.login_story import Answer, Login, Part, Party
from harness.knowledge import versions
from harness.reports import printable

WIDTH: Final = 400
"""Units, of which a phone shows nearly one for each of its own pixels."""

_X: Final[dict[Party, int]] = {"app": 60, "vault": 200, "api": 340}
_TOP: Final = 52
_LINE: Final = 16
_ARROW: Final = 12
_GAP: Final = 14
_MARGIN: Final = 6
_LONGEST: Final = 420
_NAME: Final = 112
"""The room for a name in its box, in `width`s: those are rather too wide."""

_NARROW: Final = frozenset("iIjl.,:;'|!()[]ft/ ")
_MARKS: Final = frozenset(":/-.,=&?")
_WIDE: Final = frozenset("mwMWQOG@%&")


class Text(msgspec.Struct, frozen=True):
    """One line of text."""

    y: float
    text: str
    known: bool = False
    """is it only known, and nowhere on record?"""


class Arrow(msgspec.Struct, frozen=True):
    """What went from one to another, or a note that stays with one."""

    number: int
    texts: tuple[Text, ...]
    begin: float
    end: float
    """from where to where the arrow goes; the same for a note"""
    y: float
    top: float
    height: float
    answer: Answer
    dashed: bool
    changed: bool
    """is it otherwise than in the diagram beside it?"""
    line: int
    """of the record; 0: none"""


class Box(msgspec.Struct, frozen=True):
    """Somebody who takes part."""

    x: float
    name: str
    where: str


class Diagram(msgspec.Struct, frozen=True):
    """All of it. Units are those of `WIDTH`."""

    width: int
    height: float
    boxes: tuple[Box, ...]
    arrows: tuple[Arrow, ...]
    gap: tuple[Text, ...]


def drawn(login: Login, beside: Login | None = None) -> Diagram:
    """Return where everything of *login* stands; what is not as it is *beside* is marked."""
    y, arrows, gap = float(_TOP + _GAP), list[Arrow](), list[Text]()
    there = {(part.sender, part.receiver, part.same) for part in beside.parts} if beside else None
    for number, part in enumerate(login.parts, 1):
        if login.gap and number == len(login.parts):
            gap, y = _texts(login.gap, y, WIDTH - 2 * _MARGIN, known=False)
            y += _GAP
        arrow = _arrow(number, part, y, there)
        arrows.append(arrow)
        y = arrow.top + arrow.height + _GAP
    return Diagram(WIDTH, y + _MARGIN, tuple(_boxes(login)), tuple(arrows), tuple(gap))


def _boxes(login: Login) -> Iterator[Box]:
    names: dict[Party, str] = {
        "app": login.app,
        "vault": f"{login.vault} {versions.alone(login.version)}" if login.vault else versions.called(login.version),
        "api": "API server",
    }
    for party, name in names.items():
        cluster = login.at[party]
        where = f"{'of' if party == 'api' else 'in'} {cluster}" if cluster else "in no cluster"
        yield Box(_X[party], _fitting(name), _fitting(where))


def _arrow(number: int, part: Part, y: float, there: set[tuple[Party, Party, str]] | None) -> Arrow:
    begin, end = float(_X[part.sender]), float(_X[part.receiver])
    room = WIDTH - 2 * _MARGIN - 22
    texts, below = _texts(f"{_SIGN[part.answer]}{part.text}", y, room, known=False)
    if part.known:
        known, below = _texts(part.known, below, room, known=True)
        texts += known
    note = part.sender == part.receiver
    return Arrow(
        number=number,
        texts=tuple(texts),
        begin=begin,
        end=end,
        y=below + (0 if note else _ARROW - 4),
        top=y - 4,
        height=below - y + (4 if note else _ARROW + 4),
        answer=part.answer,
        dashed=part.returns,
        changed=there is not None and (part.sender, part.receiver, part.same) not in there,
        line=part.lines[0] if part.lines else 0,
    )


_SIGN: Final[dict[Answer, str]] = {"": "", "granted": "✓ ", "refused": "✗ ", "unknown": "? "}


def _texts(text: str, y: float, room: float, *, known: bool) -> tuple[list[Text], float]:
    """Return *text* as lines from *y* on that are no wider than *room*, and where they end."""
    lines = list(wrapped(_cut(printable(text).replace("\n", " "), _LONGEST), room))
    return [Text(y + _LINE * (number + 1) - 4, line, known) for number, line in enumerate(lines)], y + _LINE * len(
        lines
    )


def wrapped(text: str, room: float) -> Iterator[str]:
    """Yield *text* in lines that are no wider than *room* units, a word that is longer than a line broken."""
    line = ""
    for word in _words(text, room):
        if line and width(f"{line} {word}") > room:
            yield line
            line = word
        else:
            line = f"{line} {word}" if line else word
    if line:
        yield line


def _words(text: str, room: float) -> Iterator[str]:
    for word in text.split():
        rest = word
        while width(rest) > room:
            fits = next(most for most in range(len(rest) - 1, 0, -1) if most == 1 or width(rest[:most]) <= room)
            # behind a mark within a name rather than within a part of it
            marks = [place for place in range(fits // 2, fits + 1) if rest[place - 1 : place] in _MARKS]
            fits = marks[-1] if marks else fits
            yield rest[:fits]
            rest = rest[fits:]
        yield rest


def width(text: str) -> float:
    """Return how wide *text* is at most, in the diagram's letters: no font is asked."""
    return sum(map(_letter, text))


def _letter(letter: str) -> float:
    if not letter.isascii():
        return 13.0
    return 5.4 if letter in _NARROW else 13.4 if letter in _WIDE else 10.2 if letter.isupper() else 8.4


def _fitting(name: str) -> str:
    """Return as much of *name* as its box has room for."""
    name = printable(name).replace("\n", " ")[:_LONGEST]
    if width(name) <= _NAME:
        return name
    return next(f"{name[:most]}…" for most in range(len(name), -1, -1) if width(name[:most]) <= _NAME - 13)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def in_words(parts: Sequence[Part], names: dict[Party, str]) -> Iterable[str]:
    """Return what went where, a sentence each: the diagram for those who do not see it."""
    for part in parts:
        way = names[part.sender] if part.sender == part.receiver else f"{names[part.sender]} → {names[part.receiver]}"
        known = f" ({part.known})" if part.known else ""
        yield f"{way}: {part.text}{known}"
