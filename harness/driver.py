"""What every way of making plans real must be able to do, and what those with real servers do alike."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final, Protocol

from harness import pki, wait
from harness.journal import Journal
from harness.plan import Plan
from harness.rig import Rig
from harness.scenario import Scenario
from harness.vault import Vault
from harness.wait import Stopwatch

STEADY_SECONDS: Final = 0.5
"""How long a new version has to live, from its first answer on, before a hop counts as done. What a Vault does in the
background after its unseal can kill it, and the questions are asked in less time than that takes."""


class Driver(Protocol):
    """Makes plans real. Who opens, closes: whatever `up` starts is gone when its block ends."""

    name: str

    def up(self, plan: Plan, scenario: Scenario, run_id: str, book: Journal) -> AbstractContextManager[Rig]:
        """Bring the plan's first stage up.

        Raises MissingPrerequisite, RigError or Unreachable, and LeftBehind on the way out.
        """
        ...


def insist_steady(rig: Rig, answering: Stopwatch | None) -> None:
    """Wait until STEADY_SECONDS after *answering* began, with Vault's first answer. Raises ProcessDied if it dies."""
    wait.until(
        lambda: answering is not None and answering.seconds >= STEADY_SECONDS,
        what="Vault to live on for a while after its start",
        seconds=STEADY_SECONDS + 1,
        died=rig.vault_died,
        log=lambda: rig.vault_log(40),
    )


def how_to_talk(vault: Vault, work: Path, kubeconfigs: Mapping[str, Path]) -> list[str]:
    """Return how to talk to servers that are kept, a line each; Vault's root token is written into *work* (0600)."""
    hints = [f"export VAULT_ADDR={vault.address}"]
    if vault.ca is not None:
        hints.append(f"export VAULT_CACERT={vault.ca}")
    if vault.root is not None:
        pki.write_private(work / "root-token", vault.root.reveal().encode())
        hints.append(f"export VAULT_TOKEN=$(cat {work / 'root-token'})")
    for name, file in kubeconfigs.items():
        hints.append(f"kubectl --kubeconfig {file} get pods -A    # cluster {name}")
    return hints


def how_to_end(run_id: str, seconds: float) -> str:
    """Return how to end servers that are kept for *seconds* at most."""
    return f"rehearse clean {run_id}    # ends it; else it ends by itself in {seconds / 3600:g} h"
