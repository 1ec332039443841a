"""A Vault that is unsealed by another one: how the two come to be, and what is done to the one that unseals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from harness.rig.rig import Reopen, Rig
from harness.rig.seals import seal_vault
from harness.scenario import course, topology
from harness.scenario.course import Serve, Start
from harness.scenario.topology import Topology
from harness.secret import Secret


@dataclass(slots=True)
class Seals:
    """What is known of the two Vaults while the course goes on; there is nothing to know where one is alone."""

    rig: Rig
    wanted: Topology
    token: Secret | None = None
    """by which the Vault that unseals knows the other one"""
    used: bool = field(init=False)
    """is the other one unsealed by it?"""
    recovery: dict[str, Sequence[Secret]] = field(default_factory=dict)
    """the recovery keys of a Vault that is unsealed by another one"""

    def __post_init__(self) -> None:
        self.used = self.wanted.vault.seal == topology.TRANSIT

    def begin(self, step: Start) -> None:
        """Have a Vault start that had to wait for the one that unseals it."""
        if self.wanted.seal_vault and step.vault != self.wanted.seal_vault:
            seal_vault(self.rig).begin(step)

    def begun(self, step: Start, keys: Sequence[Secret]) -> Sequence[Secret]:
        """Take note that a Vault is set up and has these *keys*, and return those with which it is unsealed."""
        if self.wanted.named(step.vault).of_seals:
            self.rig.system(step.vault).setup.make_transit_key()
            self._new_token()
        if self.wanted.named(step.vault).seal != topology.TRANSIT:
            return keys
        self.recovery[step.vault] = keys
        return ()

    def before(self, step: Serve, keys: Sequence[Secret]) -> Sequence[Secret]:
        """Have a Vault start next by the seal to which *step* migrates. Return the keys that it is to be handed.

        *keys* are those with which it is unsealed.
        """
        if not step.seal:
            return keys
        leaves = step.seal != topology.TRANSIT
        token = None if step.left_out == "disabled" else self.token
        seal_vault(self.rig).hand_seal_token(token, disabled=leaves)
        return self.recovery[step.vault] if leaves else keys

    def after(self, step: Serve, keys: Sequence[Secret]) -> Sequence[Secret]:
        """Take note that a Vault serves that was handed *keys*. Return those with which it is unsealed from now on."""
        if step.seal == topology.TRANSIT:
            self.used, self.recovery[step.vault] = True, keys
            return ()
        if step.seal:
            self.used = False
            # what is disabled is asked at each start as well: nobody leaves it there
            seal_vault(self.rig).hand_seal_token(None)
        return keys

    def do(self, step: course.SealVault, again: Reopen) -> None:
        """Do something to the Vault that unseals. *again* unseals it by its own keys."""
        system, rig = self.rig.system(step.vault), seal_vault(self.rig)
        match step.what:
            case "seal":
                system.setup.seal()
            case "stop":
                rig.take_away()
            case "start":
                rig.bring_back()
                again()
            case "unseal":
                again()
            case "end-token" if self.token is not None:
                system.setup.end_token(self.token)
            case _:
                self._new_token()

    def _new_token(self) -> None:
        self.token = self.rig.system(self.wanted.seal_vault).setup.make_seal_token()
        if self.used:
            seal_vault(self.rig).hand_seal_token(self.token)
