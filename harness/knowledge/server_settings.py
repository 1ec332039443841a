"""What versions demand of Vault's own configuration: each fact once, with its source."""

from __future__ import annotations

from typing import Final

from harness.knowledge.versions import at_least, product

MLOCK_SINCE: Final = "1.20.0"
"""From here on Vault over raft ends at its start where its configuration does not say disable_mlock."""

MLOCK_UNSAID: Final = "disable_mlock must be configured 'true' or 'false'"
"""The last words of such a Vault, on stderr, after ERROR: and with status 1."""

SOURCE: Final = "Vault CHANGELOG 1.20.0, GH-29974, and its important changes; run: 1.19.0 to 1.21.2"


def demands_mlock(version: str, storage: str) -> bool:
    """Does Vault *version* over a *storage* start only where its configuration says disable_mlock?"""
    return product(version) == "vault" and storage == "raft" and at_least(version, MLOCK_SINCE)
