"""What several sources say becomes one installation; of a contradiction the first wins, and it is told."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from harness.importing.installation import MOUNTS, Conflict, Gap, Installation, Known, Seen

_PARTS: Final = ("clusters", "mounts")
"""The fields of an installation whose entries have a source each."""

_SHOWN: Final = 60


def merge(seen: Sequence[Seen]) -> Known:
    """Return what all sources say together, those that know best first."""
    merging = _Merging()
    for one in seen:
        merging.take(one)
    return Known(
        said=merging.said,
        sources={part: tuple(found) for part, found in merging.sources.items()},
        conflicts=tuple(merging.conflicts),
        gaps=tuple(gap for one in seen for gap in one.gaps),
        notes=tuple(note for one in seen for note in one.notes),
    )


def complete(known: Known, *, source: str | None) -> Known:
    """Return what is known, with a gap for what a scenario needs and nobody said; *source*: the version, if told."""
    gaps = list(known.gaps)
    if known.said.vault.version is None and source is None:
        why = "no source says it (a listener may have redact_version): say it with --source, or import Vault's cluster"
        gaps.append(Gap("the version of Vault", why))
    if not known.said.mounts and all(gap.what != MOUNTS for gap in gaps):
        gaps.append(Gap("auth mounts", "no source has any: a live Vault has them (--vault-addr), and so has Terraform"))
    return msgspec.structs.replace(known, gaps=tuple(gaps))


class _Merging:
    """What was merged so far, and who said each part of it."""

    def __init__(self) -> None:
        self.said = Installation()
        self.sources: dict[str, list[str]] = {}
        self.conflicts: list[Conflict] = []
        self._by: dict[str, str] = {}

    def take(self, one: Seen) -> None:
        """Add what a source says."""
        self._source = one.source
        if one.said.vault != Installation().vault:
            self._speaks("vault")
        for part in _PARTS:
            for name in getattr(one.said, part):
                self._speaks(f"{part}.{name}")
        self.said = self._both(self.said, one.said, "")

    def _speaks(self, part: str) -> None:
        found = self.sources.setdefault(part, [])
        if self._source not in found:
            found.append(self._source)

    def _both(self, old: Any, new: Any, where: str) -> Any:
        """Return two values at one place as one."""
        if new is None or new in ({}, ()):
            return old if old is not None else new
        if isinstance(new, msgspec.Struct):
            old = old if old is not None else type(new)()
            fields = {
                name: self._both(getattr(old, name), getattr(new, name), _below(where, name))
                for name in new.__struct_fields__
            }
            return type(new)(**fields)
        if isinstance(new, dict):
            before = old or {}
            return before | {
                name: self._both(before.get(name), value, _below(where, name)) for name, value in new.items()
            }
        if old is None or old in ({}, ()):
            self._by[where] = self._source
            return new
        if not _same(old, new):
            by = self._by.get(where, "another source")
            self.conflicts.append(Conflict(where, _shown(old), by, _shown(new), self._source))
        return old


def _below(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return sorted(map(str, one)) == sorted(map(str, other))
    return "".join(str(one).split()) == "".join(str(other).split())


def _shown(value: Any) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    text = " ".join(text.split())
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
