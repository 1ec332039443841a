"""A Vault that unseals another one by its transit engine, whatever it runs in."""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from typing import Any, Generic, TypeVar

from harness.clients.vault import Vault
from harness.drivers.log_tail import Tail
from harness.drivers.real_rig import RealRig, RunningVault
from harness.errors import RigError
from harness.rig.rig import VaultNode
from harness.scenario import topology
from harness.scenario.course import Serve
from harness.secret import Secret

Server = TypeVar("Server", bound=RunningVault)


class SealVault(abc.ABC, Generic[Server]):
    """It outlives its versions, and may be away for a while."""

    def __init__(self, server: Server, log: Tail) -> None:
        """*log* is that of *server*."""
        self.server, self.log = server, log
        self._served: Serve | None = None

    @property
    def vault(self) -> Vault:
        """Return the way to ask it."""
        return self.server.client

    @property
    def setup(self) -> Vault:
        """Return the way to tell it something."""
        return self.server.client

    @property
    def nodes(self) -> Mapping[str, VaultNode]:
        """Return the only node there is."""
        return {topology.node_name(topology.SEAL, 0): self}

    def swap(self, served: Serve) -> None:
        """Stop it, and start the version of *served* over its data."""
        self.server.stop()
        self.start(served)

    def start(self, served: Serve) -> None:
        """Start it as what is to be *served*, over the data that it has."""
        self._start(served)
        self._served = served

    @abc.abstractmethod
    def _start(self, served: Serve) -> None: ...

    def start_again(self) -> None:
        """Start it as it was before it was stopped."""
        if self._served is None:
            raise RigError("the Vault that unseals the other one was never started")
        self.start(self._served)

    def await_token_file(self) -> None:
        """Return at once: it has no token of a service account."""

    def open_to_all(self) -> None:
        """Return at once: nobody but us and the Vault that it unseals has a certificate for it."""

    def died(self) -> str | None:
        """Return a sentence if it has ended by itself."""
        return self.server.died()

    vault_died = died

    def vault_log(self, lines: int) -> Sequence[str]:
        """Return its last log lines."""
        return self.server.tail(lines)


class WithSealVault(RealRig, Generic[Server]):
    """The part of a rig that has such a Vault beside its own, if its scenario has one."""

    _unsealer: SealVault[Server] | None
    _first: Serve
    """what this rig's own Vault was first"""

    def system(self, vault: str = "") -> Any:
        """Return a Vault by its name: this rig's own, or the one that unseals it."""
        return self._unsealer if self._unsealer is not None and vault == topology.SEAL else super().system(vault)

    @abc.abstractmethod
    def _start_vault(self, served: Serve) -> None: ...

    @abc.abstractmethod
    def hand_seal_token(self, token: Secret | None, *, disabled: bool = False) -> None:
        """Have every later start of this rig's own Vault be unsealed by the other one, or by its keys."""

    def begin(self, served: Serve) -> None:
        """Start a Vault over no data."""
        if served.vault == topology.SEAL:
            self._other.start(served)
        else:
            self._first = served
            self._start_vault(served)

    def _unsealer_died(self) -> str | None:
        return self._unsealer.died() if self._unsealer is not None else None

    def _kill_unsealer(self) -> None:
        if self._unsealer is not None:
            self._unsealer.server.kill()

    @property
    def _other(self) -> SealVault[Server]:
        if self._unsealer is None:
            raise RigError("no Vault of this scenario unseals another one")
        return self._unsealer

    def take_away(self) -> None:
        """Stop the Vault that unseals."""
        self._other.server.stop()

    def bring_back(self) -> None:
        """Start it again."""
        self._other.start_again()
