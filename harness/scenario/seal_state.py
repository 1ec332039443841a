"""Whether the Vault that unseals another one is there, step by step, and whether it is asked at all."""

from __future__ import annotations

from collections.abc import Iterable

from harness.scenario.course import AnyStep, SealVault, Serve
from harness.scenario.topology import Topology


def out_of_service(steps: Iterable[AnyStep]) -> bool:
    """Is the Vault that unseals the other one sealed or stopped after *steps*?

    One that is started anew over its data is sealed, and is unsealed by the rehearsal at once.
    """
    out = {"seal": True, "stop": True, "unseal": False, "start": False}
    done = [out[step.what] for step in steps if isinstance(step, SealVault) and step.what in out]
    return done[-1] if done else False


def by_keys(steps: Iterable[AnyStep], there: Topology) -> bool:
    """Is the Vault that another one unseals at other moments unsealed by keys after *steps*?"""
    seals = [there.vault.seal, *(step.seal for step in steps if isinstance(step, Serve) and step.seal)]
    return bool(there.seal_vault) and seals[-1] == "shamir"
