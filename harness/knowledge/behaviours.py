"""What each range of versions does, and what breaks for whom: a row each, with its source and how it is known.

behaviours.toml has what Vault does in the Kubernetes auth method, breakers.toml what breaks for somebody when Vault or
what is beside it is upgraded. A range that names a constant of `kubernetes_auth` or `login_order` has its version from
there, so that no version stands in two places.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal

import msgspec

from harness.knowledge import kubernetes_auth, login_order, server_settings, vault_policies
from harness.knowledge.versions import at_least

Grade = Literal["run", "read", "reported"]
"""run: seen with real servers. read: in source, changelogs or docs. reported: by somebody, or inferred."""

_FILES: Final = ("behaviours.toml", "breakers.toml")


class Row(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One behaviour, or one change that breaks something."""

    id: str
    ranges: tuple[str, ...]
    """since..until, as the file has them; until is the first version that is otherwise, and each end may be left out"""
    effect: str
    remedy: str
    source: str
    grade: Grade
    touches: str
    """whom it touches: a word of `analysis.crossings`; ask: no scenario can say"""
    ask: str = ""
    """what to find out by hand, where no scenario says it"""
    each: bool = False
    """is each of the ranges a change of its own? Else they are one change on several release lines"""
    when: Literal["", "restart", "upgrade", "roll-back"] = ""
    """what brings it on beside a version; empty: the first version of a range"""
    product: str = "vault"
    mount: str = ""
    """the kind of mount that it is about; empty: any, or none"""
    field: str = ""
    precondition: str = ""
    status: str = ""
    signature: str = ""
    """what logs, audit entries and answers have of it"""
    probe: str = ""
    """the question of a rehearsal that shows it; empty: none does"""
    answers: str = ""
    """the refusal of `kubernetes_auth.answer` that has its statuses and words by version"""
    causes: tuple[str, ...] = ()
    """the causes that findings name for it"""
    rank: int = 0
    """of the breakers: likelihood times reach for a Vault of Kubernetes workloads, from 1; 0: not ranked"""

    @property
    def spans(self) -> tuple[tuple[str, str], ...]:
        """Return the ranges with versions in them: "" is an end that was left out."""
        return tuple(_span(one) for one in self.ranges)

    def holds(self, version: str) -> bool:
        """Does a Vault of *version* behave so?"""
        return any(_within(version, span) for span in self.spans)

    def appears(self, old: str, new: str) -> bool:
        """Does whoever goes from *old* to *new* come to meet it?"""
        if self.each:
            return any(_within(new, span) and not _within(old, span) for span in self.spans)
        return self.holds(new) and not self.holds(old)

    @property
    def said(self) -> str:
        """Return the ranges in words: "from 1.9.3", "1.5.0 up to 1.9.3", "every version"."""
        words = []
        for since, until in self.spans:
            if since and until:
                words.append(f"{since} up to {until}")
            else:
                words.append(f"from {since}" if since else f"before {until}" if until else "every version")
        return ", ".join(words)


@functools.cache
def rows() -> tuple[Row, ...]:
    """Return every row, behaviours first, as the files have them. Raises msgspec.ValidationError for what is no row."""
    return tuple(row for name in _FILES for row in of_file(name))


@functools.cache
def of_file(name: str) -> tuple[Row, ...]:
    """Return the rows of one of the two files."""
    text = Path(__file__).with_name(name).read_bytes()
    return msgspec.toml.decode(text, type=dict[str, tuple[Row, ...]])["row"]


def breakers() -> tuple[Row, ...]:
    """Return what breaks for somebody, the ranked ones first."""
    return tuple(sorted(of_file("breakers.toml"), key=lambda row: row.rank or len(rows())))


def named(row_id: str) -> Row | None:
    """Return the row of an id, or None."""
    return next((row for row in rows() if row.id == row_id), None)


def about(causes: Sequence[str]) -> list[Row]:
    """Return the rows for which findings name one of these causes."""
    return [row for row in rows() if set(causes) & set(row.causes)]


def _span(text: str) -> tuple[str, str]:
    since, _, until = text.partition("..")
    if ".." not in text:
        raise ValueError(f"{text} is no range: since..until")
    return _version(since), _version(until)


def _version(said: str) -> str:
    """Return a version, or that of the constant that is named."""
    if not re.fullmatch(r"[A-Z_0-9]*[A-Z][A-Z_0-9]*", said):
        return said
    for module in (kubernetes_auth, login_order, server_settings, vault_policies):
        if isinstance(found := getattr(module, said, None), str):
            return found
    raise ValueError(f"{said} is no version of a module of knowledge")


def _within(version: str, span: tuple[str, str]) -> bool:
    since, until = span
    return at_least(version, since or "0.0.0") and not (until and at_least(version, until))
