"""A scenario as plain data and comments by place becomes the text of a file."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, Final

from harness.scenario import yaml_document
from harness.scenario.yaml_document import Trail

Comments = Mapping[Trail, Sequence[str]]

_WIDTH: Final = 116
_SHORT: Final = 100
_LONGEST_COMMENT: Final = 2000


def written(document: Mapping[str, Any], comments: Comments) -> str:
    """Return *document* as YAML; what *comments* has for a trail stands above that key, () above everything."""
    lines = _commented(comments.get((), ()), "")
    commented = {trail[:length] for trail in comments for length in range(1, len(trail))}
    lines += _mapping(document, (), comments, commented)
    return "\n".join(lines) + "\n"


def _commented(said: Sequence[str], indent: str) -> list[str]:
    lines: list[str] = []
    for sentence in said:
        plain = yaml_document.shown(sentence, _LONGEST_COMMENT)
        lines += textwrap.wrap(
            plain, _WIDTH, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}#   ", break_on_hyphens=False
        )
    return lines


def _mapping(data: Mapping[str, Any], trail: Trail, comments: Comments, commented: set[Trail]) -> list[str]:
    indent, lines = "  " * len(trail), list[str]()
    for key, value in data.items():
        here, called = (*trail, key), yaml_document.in_a_line(key)
        lines += _commented(comments.get(here, ()), indent)
        flat = f"{indent}{called}: {yaml_document.in_a_line(value)}"
        if isinstance(value, str) and "\n" in value:
            lines += _block(called, value, indent)
        elif isinstance(value, Mapping) and value and (here in commented or len(flat) > _SHORT or not trail):
            lines.append(f"{indent}{called}:")
            lines += _mapping(value, here, comments, commented)
        elif isinstance(value, list | tuple) and value and len(flat) > _SHORT:
            lines.append(f"{indent}{called}:")
            lines += [f"{indent}  - {yaml_document.in_a_line(one)}" for one in value]
        else:
            lines.append(flat)
    return lines


def _block(called: str, text: str, indent: str) -> list[str]:
    """Return a text of several lines as it stands, where YAML can have it so."""
    lines = text.rstrip("\n").split("\n")
    odd = text != text.strip("\n") + ("\n" if text.endswith("\n") else "") or lines[0][:1].isspace()
    if odd or "\t" in text or any(line != line.rstrip() or not line.isprintable() for line in lines):
        return [f"{indent}{called}: {yaml_document.in_a_line(text)}"]
    head = f"{indent}{called}: |{'' if text.endswith(chr(10)) else '-'}"
    return [head, *(f"{indent}  {line}" if line else "" for line in lines)]
