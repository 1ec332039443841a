"""Causes that lie with Vault's own configuration: what a version demands of it before it serves at all."""

from __future__ import annotations

from typing import Final

from harness.analysis.rules.rule import Remedy
from harness.knowledge import server_settings
from harness.scenario.outcomes import Cause

EXPLANATION: Final = (
    "Up to 1.19 a configuration without disable_mlock meant false; over raft that locks all of the database in memory, "
    "so that from 1.20.0 on the operator has to choose"
)
_MEND: Final = Remedy(
    "Write disable_mlock into Vault's configuration before the upgrade, which every version knows: true is what is "
    "recommended over raft, on a machine whose swap is off or encrypted; false keeps what the version before did. A "
    "chart before 0.32.0 renders the configuration out of server.ha.raft.config: write it there.",
    commands=("grep -n disable_mlock /etc/vault.d/vault.hcl", "echo 'disable_mlock = true' >> /etc/vault.d/vault.hcl"),
    unproven="where the configuration is, is the operator's to know; `disable-mlock: said` rehearses it",
)


def at_start(words: str) -> tuple[Cause, str, Remedy, str] | None:
    """Return why a Vault would not start, by its last *words*: the cause, a sentence, what mends it, and a source.

    None where its configuration is not the reason.
    """
    if server_settings.MLOCK_UNSAID not in words:
        return None
    why = f"Its configuration does not say disable_mlock, which it demands over raft. {EXPLANATION}"
    return "disable-mlock-unsaid", why, _MEND, server_settings.SOURCE
