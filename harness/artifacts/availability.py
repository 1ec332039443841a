"""Which versions can be had on this machine, and from where; and the releases that a server knows beyond our table.

Nothing here reaches out but `update`. What it learns is kept in the cache as releases.json, beside the binaries, and
`table` reads it from then on.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from harness import settings
from harness.artifacts import go_recipes
from harness.artifacts.downloads import Downloads
from harness.artifacts.store import cached
from harness.errors import MissingPrerequisite
from harness.knowledge import releases, versions
from harness.knowledge.releases import Table
from harness.wait import now, stamp

BINARY: Final = {"vault": "vault", "kubernetes": "kube-apiserver"}
"""The product of the artifact store that a version of ours stands for on processes."""

_LEARNED: Final = "releases.json"
_PATCH: Final = re.compile(rb"\s*v?(\d+)\.(\d+)\.(\d+)\s*")


class Availability(msgspec.Struct, frozen=True):
    """From where one version can be had. *released* is a day, "" if nobody knows."""

    product: str
    version: str
    released: str
    cached: bool
    """is it in the cache?"""
    built: str
    """seen: built from Go modules and seen to run; untried: nothing speaks against it; else "" """
    not_built: str
    """why it cannot be built from Go modules"""
    server: bool
    """is it a release that its vendor's server, or a mirror of that, has?"""

    @property
    def surely(self) -> bool:
        """Can it be had without asking anybody, as far as is known: is it cached, or was it built and seen to run?"""
        return self.cached or self.built == "seen"

    @property
    def sources(self) -> tuple[str, ...]:
        """Return where it can be had from, the nearest first, in words."""
        words = {"seen": "built from modules", "untried": "perhaps built from modules (not tried yet)"}
        named = ["cached"] if self.cached else []
        named += [words[self.built]] if self.built else []
        return (*named, "release server") if self.server else tuple(named)


class _Learned(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The content of releases.json."""

    as_of: str
    source: str
    vault: tuple[str, ...]
    kubernetes: tuple[str, ...]


def table(product: str, cache: Path) -> Table:
    """Return the releases of *product* (vault or kubernetes): those that ship, and what an update has learned."""
    known = releases.shipped(product)
    with suppress(OSError, msgspec.DecodeError, ValueError):
        learned = msgspec.json.decode((cache / _LEARNED).read_bytes(), type=_Learned)
        if learned.as_of >= known.as_of:
            return known.with_more(getattr(learned, product), learned.as_of, learned.source)
    return known


def of(product: str, wanted: Sequence[str], cache: Path, known: Table) -> list[Availability]:
    """Return for each of the versions *wanted* from where it can be had. Nobody is asked, and nothing is checked."""
    binary = BINARY[product]
    held = {one.version for one in cached(cache) if one.product == binary}
    found = []
    for version in wanted:
        try:
            go_recipes.recipe(binary, version)
            built, reason = "seen" if go_recipes.seen_to_run(binary, version) else "untried", ""
        except MissingPrerequisite as error:
            built, reason = "", str(error)
        released = known.released.get(version)
        found.append(
            Availability(product, version, released or "", version in held, built, reason, released is not None)
        )
    return found


def update(cache: Path, downloads: Downloads) -> tuple[Table, Table]:
    """Ask the release servers which releases there are, keep the answer in *cache*, and return both tables.

    Raises MissingPrerequisite where a server cannot be reached or has no such index: then nothing is changed.
    """
    index = _decoded(downloads.read("vault", "index.json"))
    vault = [each for each in index if _release(each)]
    major, newest, _ = _newest(downloads.read("kube-apiserver", "release/stable-1.txt"))
    # the lines that may still get patches, and those that have come since the table was made
    oldest = min(newest - 4, versions.release([*releases.shipped("kubernetes").released][-1])[1])
    lines = [
        _newest(downloads.read("kube-apiserver", f"release/stable-{major}.{minor}.txt"))
        for minor in range(oldest, newest + 1)
    ]
    kubernetes = [f"{one}.{two}.{patch}" for one, two, last in lines for patch in range(last + 1)]
    today = stamp(now())
    as_of = f"{today[:4]}-{today[4:6]}-{today[6:8]}"
    learned = _Learned(as_of, "asked of the release servers", tuple(vault), tuple(kubernetes))
    settings.made(cache)
    fresh = cache / f".{_LEARNED}.{os.getpid()}"
    fresh.write_bytes(msgspec.json.encode(learned))
    fresh.replace(cache / _LEARNED)
    return table("vault", cache), table("kubernetes", cache)


def _decoded(raw: bytes) -> list[str]:
    class Index(msgspec.Struct):
        versions: dict[str, msgspec.Raw]

    try:
        return list(msgspec.json.decode(raw, type=Index).versions)
    except msgspec.DecodeError as error:
        raise MissingPrerequisite(f"the index of Vault releases is not one: {error}") from error


def _newest(raw: bytes) -> tuple[int, int, int]:
    if found := _PATCH.fullmatch(raw):
        return int(found[1]), int(found[2]), int(found[3])
    raise MissingPrerequisite(f"the server's newest Kubernetes is told as {raw[:40]!r}, which is no version")


def _release(text: str) -> bool:
    return not releases.is_range(text) and not set(text) & set("+-")
