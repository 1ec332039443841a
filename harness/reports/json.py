"""A judgement as JSON: one document, for programs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec

from harness import secret
from harness.analysis.verdict import Judgement

_AT_ONCE: Final = 500
"""How many entries of a long list are in memory as text at one time."""


def render(judgement: Judgement) -> str:
    """Return *judgement* as one JSON document, indented, without a final newline. Times are seconds since the epoch.

    Of a long record that is a hundred megabytes: whoever only passes them on takes `pieces`.
    """
    return "".join(pieces(judgement))


def pieces(judgement: Judgement) -> Iterator[str]:
    """Yield the text that `render` returns, a part at a time: none is much longer than some hundred observations."""
    opening = "{\n"
    for name in judgement.__struct_fields__:
        value = getattr(judgement, name)
        entries = value if isinstance(value, tuple) else ()
        if len(entries) <= _AT_ONCE:
            yield opening + _inside(_indented({name: value}), 2, 2)
        else:
            yield opening
            yield from _list(name, entries)
        opening = ",\n"
    yield "\n}"


def _list(name: str, entries: Sequence[Any]) -> Iterator[str]:
    """Yield the lines of one long list of the judgement."""
    head, tail = f'  "{name}": [\n', "\n  ]"
    opening = head
    for begin in range(0, len(entries), _AT_ONCE):
        part = _indented({name: entries[begin : begin + _AT_ONCE]})
        yield opening + _inside(part, 2 + len(head), 2 + len(tail))
        opening = ",\n"
    yield tail


def _inside(text: str, head: int, tail: int) -> str:
    return text[head : len(text) - tail]


def _indented(value: dict[str, Any]) -> str:
    """Return an object with one field as it would be written if it were the whole document."""
    return msgspec.json.format(secret.redact(msgspec.json.encode(value).decode()), indent=2)
