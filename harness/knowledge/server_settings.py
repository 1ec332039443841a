"""What versions demand of Vault's own configuration, and which kinds of mounts they have no more: with sources."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, Literal

import msgspec

from harness.knowledge.versions import at_least, product

MLOCK_SINCE: Final = "1.20.0"
"""From here on Vault over raft ends at its start where its configuration does not say disable_mlock."""

MLOCK_UNSAID: Final = "disable_mlock must be configured 'true' or 'false'"
"""The last words of such a Vault, on stderr, after ERROR: and with status 1."""

SOURCE: Final = "Vault CHANGELOG 1.20.0, GH-29974, and its important changes; run: 1.19.0 to 1.21.2"


def demands_mlock(version: str, storage: str) -> bool:
    """Does Vault *version* over a *storage* start only where its configuration says disable_mlock?"""
    return product(version) == "vault" and storage == "raft" and at_least(version, MLOCK_SINCE)


class Removed(msgspec.Struct, frozen=True):
    """Kinds of mounts that a release took away, and what becomes of a Vault that has one."""

    kinds: tuple[str, ...]
    since: str
    how: Literal["hangs", "sealed", "dead"]
    """hangs: unsealed, it shuts its core down, and answers nobody. sealed: no key opens it. dead: it serves, and that
    mount answers 404
    """


STANDALONE: Final = ("cassandra", "mongodb", "mssql", "mysql", "postgresql")
"""The engines of one database each, which the engine `database` replaced."""

REMOVED: Final = (
    Removed(("app-id", *STANDALONE), "1.12.0", "hangs"),
    Removed(("app-id", *STANDALONE), "1.13.0", "sealed"),
    Removed(("centrify",), "1.17.0", "dead"),
)
"""What was taken away (V CHANGELOG 1.12.0, 1.13.0, 1.17.0). Run: app-id from 1.11.0 to 1.12.0 and 1.13.0, mysql from
1.11.0 to 1.12.0 and 1.13.0, centrify from 1.16.3 to 1.17.0. From 1.12 on nobody can mount app-id and the like anew.
"""

ALLOW_PENDING: Final = "VAULT_ALLOW_PENDING_REMOVAL_MOUNTS"
"""Set to true in the environment of 1.12, it has that version serve such mounts all the same, and of no later one."""

_COULD_NOT: Final = re.compile(r'could not mount \\*"([^"\\]+)')
NO_BACKEND: Final = "route entry found, but backend is nil"
"""How Vault answers, with 404, at a mount whose kind it has no more."""


HELP: Final = "?help=1"
"""What is asked below a mount's path for its help, which every kind of mount has."""


def removed(kind: str, version: str) -> Removed | None:
    """Return what became of a *kind* of mount in Vault *version*; None where it has it."""
    found = [one for one in REMOVED if kind in one.kinds and at_least(version, one.since)]
    return found[-1] if found and product(version) == "vault" else None


def removed_of(words: Iterable[str]) -> str:
    """Return the kind of mount that a server names in its last *words* as one that it has no more; or nothing."""
    for line in words:
        if "mount entry associated with" in line and (found := _COULD_NOT.search(line)):
            return found[1]
    return ""
