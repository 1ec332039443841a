"""A Vault that serves before the rehearsal that gets it begins: over a source state, or new.

Most of what such a rehearsal takes is waiting for elections of its Vault, which need no cluster. So they go on beside
the rehearsal before it: in a run of its own, on ports of its own, over data of its own.
"""

from __future__ import annotations

import abc
import secrets as random
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from harness import wait
from harness.drivers import new_vault
from harness.drivers.kept_vault import KeptVault
from harness.drivers.local.control_plane import ControlPlane
from harness.drivers.local.vault_nodes import VAULT_BYTES, Binaries, VaultNodes
from harness.errors import HarnessError
from harness.host import own_run
from harness.host.ports import Ports
from harness.host.process import Supervisor
from harness.knowledge import versions
from harness.scenario import driver_traits
from harness.scenario.course import Serve
from harness.scenario.plan import Plan
from harness.scenario.topology import Topology
from harness.secret import Secret, Secrets

_ACTIVE_SECONDS: Final = 60


class _Ahead(abc.ABC):
    """What a rehearsal has for itself alone. It is made in a thread; the rehearsal enters it.

    All of it is there once `ready` has said so. It ends with the ``with`` block, or with `end` where nobody entered it.
    """

    ports: Ports
    supervisor: Supervisor
    vaults: VaultNodes
    secrets: Secrets
    """all that is known of what is made here"""

    def __init__(self, topology: Topology, served: Serve, binaries: Binaries, work: Path, state: Path) -> None:
        """Of *topology* Vault is made, and of *served* how it is started. Its own directory is made in *work*; *state*
        holds locks and lists.
        """
        self.taken = False
        """has a rehearsal entered it?"""
        self._topology, self._served, self._binaries = topology, served, binaries
        self._work, self._state = work, state
        self._held, self._over = ExitStack(), threading.Event()
        with_it = ThreadPoolExecutor(1, thread_name_prefix="ready-vault")
        self._made = with_it.submit(self._make)
        with_it.shutdown(wait=False)

    @property
    def own(self) -> tuple[Ports, Supervisor, VaultNodes]:
        """Return all of it."""
        return self.ports, self.supervisor, self.vaults

    def ready(self) -> bool:
        """Does it serve? Waits until that is known. What kept it from that is met again by whoever does it anew."""
        return self._made.result()

    def __enter__(self) -> Self:
        self.taken = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end(error)

    def end(self, error: BaseException | None = None) -> None:
        """End it, whatever has become of it. Raises LeftBehind; because of an *error* that has a note instead."""
        self._over.set()
        if not self._made.done() and hasattr(self, "supervisor"):
            # with its server gone no answer is waited for any more
            self.supervisor.halt()
        self._made.exception()
        self._held.__exit__(type(error) if error is not None else None, error, None)

    def _make(self) -> bool:
        with self.secrets.open():
            try:
                self._serve()
            except (HarnessError, OSError):
                return False
        return True

    def _serve(self) -> None:
        run = f"source-{random.token_hex(6)}"
        self.ports, self.supervisor, _ = own_run.begin(self._held, run, self._work, self._state, VAULT_BYTES)
        self.vaults = VaultNodes(self.supervisor.room, self._topology, self.ports, self.supervisor, self._binaries)
        for key in self._started():
            self.vaults.first.client.unseal(key)
        wait.until(
            lambda: self.vaults.first.client.health().status == 200,
            what=f"a {versions.called(self._served.version)} that is made ready to be active",
            seconds=_ACTIVE_SECONDS,
            died=lambda: "nobody waits for it any more" if self._over.is_set() else self.vaults.first.died(),
        )

    @abc.abstractmethod
    def _started(self) -> Sequence[Secret]:
        """Start Vault, and return the keys that unseal it."""


class ReadyVault(_Ahead):
    """A Vault over a copy of a source state."""

    def __init__(self, kept: KeptVault[ControlPlane], binaries: Binaries, work: Path, state: Path) -> None:
        """See `_Ahead`."""
        self.kept, self.secrets = kept, kept.secrets
        super().__init__(kept.topology, kept.serving, binaries, work, state)

    def _started(self) -> Sequence[Secret]:
        kept, home = self.kept, self._topology.vault.cluster
        self.vaults.begin_with(Path(kept.data), kept.root)
        self.vaults.start(self._served, kept.planes[home].port if home else 0)
        return kept.source.keys[self._served.vault]


class NewVault(_Ahead):
    """A Vault over no data of before, initialised and unsealed, for a rehearsal that begins from nothing."""

    def __init__(self, plan: Plan, api_port: int, binaries: Binaries, work: Path, state: Path) -> None:
        """As the rehearsal of *plan* would begin with it; *api_port* is that of the cluster of Vault's Pod, or 0."""
        self.fit, self.api_port = fit(plan, binaries), api_port
        self.keys: Sequence[Secret] = ()
        self.secrets = Secrets()
        super().__init__(plan.resolved, new_vault.first(plan), binaries, work, state)

    def end(self, error: BaseException | None = None) -> None:
        """End it, whatever has become of it. Raises as any other."""
        try:
            super().end(error)
        finally:
            self.secrets.forget()

    def _started(self) -> Sequence[Secret]:
        vault = self._topology.vault
        self.vaults.start(self._served, self.api_port)
        self.keys = self.vaults.first.client.initialise(vault.shares, vault.threshold)
        return self.keys


def fit(plan: Plan, binaries: Binaries) -> bytes:
    """Return what has to be the same of two plans if a new Vault may serve either; nothing where it may serve none."""
    version = new_vault.first(plan).version
    return new_vault.fit(plan, binaries[driver_traits.server("vault", version)].sha256, has_pod=False)
