"""What versions demand of Vault's own configuration, and which kinds of mounts they have no more: with sources."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

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
    """Kinds of mounts that a release took away."""

    kinds: tuple[str, ...]
    since: str
    opens: bool
    """does a Vault that has such a mount serve all the same, and answer 404 there? If not, it shuts its core down as it
    is unsealed: 1.12 hangs in that and answers nobody, 1.13 is sealed again
    """


OLD_KINDS: Final = ("app-id", "cassandra", "mongodb", "mssql", "mysql", "postgresql")
"""app-id, and the engines of one database each, which the engine `database` replaced."""

CENTRIFY: Final = ("centrify",)

_REMOVED: Final = (Removed(OLD_KINDS, "1.12.0", opens=False), Removed(CENTRIFY, "1.17.0", opens=True))
"""What was taken away (V CHANGELOG 1.12.0, 1.13.0, 1.17.0). Run: app-id from 1.11.0 to 1.12.0 and 1.13.0, mysql from
1.11.0 to 1.12.0 and 1.13.0, centrify from 1.16.3 to 1.17.0. From 1.12 on nobody can mount app-id and the like anew.
"""

ALLOW_PENDING: Final = "VAULT_ALLOW_PENDING_REMOVAL_MOUNTS"
"""Set to true in the environment of 1.12, it has that version serve the old kinds all the same, and no later one."""

PENDING_UNTIL: Final = "1.13.0"
"""From here on it has no effect."""

_COULD_NOT: Final = re.compile(r'could not mount \\*"([^"\\]+)')
NO_BACKEND: Final = "route entry found, but backend is nil"
"""How Vault answers, with 404, at a mount whose kind it has no more."""


HELP: Final = "?help=1"
"""What is asked below a mount's path for its help, which every kind of mount has."""


def removed(kind: str, version: str) -> Removed | None:
    """Return what became of a *kind* of mount in Vault *version*; None where it has it."""
    found = next((one for one in _REMOVED if kind in one.kinds), None)
    return found if found is not None and product(version) == "vault" and at_least(version, found.since) else None


def removed_of(words: Iterable[str]) -> str:
    """Return the kind of mount that a server names in its last *words* as one that it has no more; or nothing."""
    for line in words:
        if "mount entry associated with" in line and (found := _COULD_NOT.search(line)):
            return found[1]
    return ""
