"""A Vault on paper that is unsealed by another one, and that other one."""

from __future__ import annotations

import abc
from typing import Final

from harness.drivers.paper.answers import PaperAnswers
from harness.errors import ProcessDied
from harness.knowledge import server_settings, versions
from harness.rig.rig import Reply
from harness.scenario import topology
from harness.scenario.course import Serve
from harness.scenario.topology import Topology, VaultSpec
from harness.secret import Secret

_ADDRESS: Final = "https://seal-vault.paper:8200/v1/transit/encrypt/autounseal"


class PaperSeals(PaperAnswers):
    """What both of them need: the one that unseals has tokens, and the other one holds one of them."""

    _spec: VaultSpec
    _topology: Topology
    _sealed: bool
    _dead: str
    _dies_at: str

    def __init__(self) -> None:
        self.away = False
        """is its server stopped?"""
        self._known: set[Secret] = set()
        self._held: Secret | None = None

    def seal_status(self) -> Reply:
        """Answer with the version and the seal: of one that unseals itself that is the type of its recovery keys."""
        vault, version = self._spec, versions.number(self._served.version)
        said = {"type": "shamir", "sealed": self._sealed, "t": vault.threshold, "n": vault.shares}
        return self._reply(200, data=said | {"initialized": True, "version": version})

    @abc.abstractmethod
    def system(self, vault: str = "") -> PaperSeals:
        """Return a Vault by its name."""

    # --- the one that unseals

    def make_transit_key(self) -> None:
        """Do nothing: on paper the key is there."""

    def make_seal_token(self) -> Secret:
        """Return a new token."""
        token = Secret(f"paper-seal-token-{next(self._numbers):012d}")
        self._known.add(token)
        return token

    def end_token(self, token: Secret) -> None:
        """Forget a token."""
        self._known.discard(token)

    def seal(self) -> None:
        """Be sealed."""
        self._sealed = True

    def try_seal(self, token: Secret) -> Reply:
        """Answer as the transit engine."""
        if self.away:
            return self._reply(None, "the paper Vault that unseals is away: connection refused")
        if self._sealed:
            return self._reply(503, "Vault is sealed")
        return self._reply(200) if token in self._known else self._reply(403, "permission denied")

    # --- the rig, which is the one that is unsealed

    def begin(self, served: Serve) -> None:
        """Do nothing: on paper every Vault is there from the beginning."""

    def hand_seal_token(self, token: Secret) -> None:
        """Hold a token."""
        self._held = token

    def take_away(self) -> None:
        """Stop the Vault that unseals."""
        self.system(topology.SEAL).away = True

    def bring_back(self) -> None:
        """Start it again."""
        unsealer = self.system(topology.SEAL)
        unsealer.away = False
        unsealer.seal()

    def _insist_that_it_starts(self, served: Serve) -> None:
        """Raise ProcessDied where the version was told to end, or does not start with Vault's configuration."""
        status, said = 0, ""
        if served.version == self._dies_at:
            status, said = 2, "panic: scripted"
        elif self._spec.disable_mlock == "omitted" and server_settings.demands_mlock(
            served.version, self._spec.storage
        ):
            status, said = 1, f"ERROR: {server_settings.MLOCK_UNSAID}"
        kinds = () if self._spec.of_seals else self._topology.also_mounted.values()
        for kind in kinds:
            gone = server_settings.removed(kind, served.version)
            if gone is not None and gone.how != "dead":
                status, said = 1, f'could not mount "{kind}": mount entry associated with removed builtin'
        if said:
            self._dead = f"Vault {served.version} ended by itself with status {status}"
            raise ProcessDied(self._dead, status, [said])

    def _unseal_itself(self) -> None:
        """Be unsealed by the other Vault, if it is one that unseals. Raises ProcessDied where that does not."""
        if self._spec.seal != topology.TRANSIT:
            return
        said = self.system(topology.SEAL).try_seal(self._held or Secret("paper-no-seal-token"))
        if not said.ok:
            self._dead = f"Vault {self._served.version} ended by itself with status 1"
            error = f"Error making API request. URL: PUT {_ADDRESS} Code: {said.status}. Errors: * {said.error}"
            if said.status is None:
                error = f'Put "{_ADDRESS}": {said.error}'
            raise ProcessDied(self._dead, 1, [f"Error parsing Seal configuration: {error}"])
        self._sealed = False
