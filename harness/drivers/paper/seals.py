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


NOT_DISABLED: Final = (
    'Error initializing core: cannot seal migrate from "transit" to Shamir, no disabled seal in configuration'
)
"""The last words of a Vault whose seal stanza was taken out. Run: 1.7.0 to 1.16.3."""


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
        self._barrier = self._spec.seal
        """the seal of its data"""
        self._disabled = self._migrating = False

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

    def hand_seal_token(self, token: Secret | None, *, disabled: bool = False) -> None:
        """Hold a token; None: there is no seal stanza."""
        self._held, self._disabled = token, disabled

    def pod_seen(self) -> None:
        """Return nothing: on paper there is no kubelet."""

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
        elif self._storage_away:
            status, said = 1, f"Error initializing storage of type {self._spec.storage}: context deadline exceeded"
        kinds = () if self._spec.of_seals else self._topology.also_mounted.values()
        for kind in kinds:
            gone = server_settings.removed(kind, served.version)
            if gone is not None and not gone.opens:
                status, said = 1, f'could not mount "{kind}": mount entry associated with removed builtin'
        if said:
            self._dead = f"{versions.called(served.version)} ended by itself with status {status}"
            raise ProcessDied(self._dead, status, [said])

    def _unseal_itself(self) -> None:
        """Be unsealed by the other Vault, if that is its seal. Raises ProcessDied where its seal cannot be used."""
        of_data, self._migrating = self._barrier == topology.TRANSIT, False
        if self._held is None:
            if of_data:
                self._dead = f"{versions.called(self._served.version)} ended by itself with status 1"
                raise ProcessDied(self._dead, 1, [NOT_DISABLED])
            return
        said = self.system(topology.SEAL).try_seal(self._held)
        if not said.ok:
            self._dead = f"{versions.called(self._served.version)} ended by itself with status 1"
            error = f"Error making API request. URL: PUT {_ADDRESS} Code: {said.status}. Errors: * {said.error}"
            if said.status is None:
                error = f'Put "{_ADDRESS}": {said.error}'
            raise ProcessDied(self._dead, 1, [f"Error parsing Seal configuration: {error}"])
        self._migrating = of_data == self._disabled
        self._sealed = self._migrating or self._disabled

    def unseal(self, key: Secret, *, migrate: bool = False) -> Reply:
        """Open at the first key."""
        del key
        if self._storage_away:
            said = "unable to retrieve stored keys: failed to fetch stored keys: context deadline exceeded"
            return self._reply(500, said, data={"sealed": True})
        if self._migrating and not migrate:
            return self._reply(500, "migrate option not provided and seal migration is pending")
        if self._migrating:
            self._barrier = topology.TRANSIT if self._barrier != topology.TRANSIT else "shamir"
        self._sealed = self._migrating = False
        return self._reply(200, data={"sealed": False})
