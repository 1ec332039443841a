"""What is said of the servers that have Vault's data, and of that of its database engines: what was done to them."""

from __future__ import annotations

from harness.analysis import databases, storages
from harness.analysis.verdict import Judgement


def told(judgement: Judgement) -> list[tuple[str, str]]:
    """Return lines, each with the word that says what it is about."""
    return [
        *(("storage", storages.sentence(one)) for one in judgement.storages),
        *(("database", databases.sentence(one)) for one in judgement.databases),
    ]
