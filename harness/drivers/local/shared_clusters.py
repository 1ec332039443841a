"""Control planes that serve one rehearsal after the other: each gets them for itself alone, and empty.

What a rehearsal made in a cluster is gone before the next one sees it: service accounts, Pods, Secrets and bindings are
deleted, and nobody is given the cluster whose API server does not say that it is so. Namespaces stay, for there is no
controller that would remove them; they are empty. A cluster one of whose servers has ended is never lent again.

Or they are lent as they are, to a rehearsal that begins from the source state of one before it (`kept_vault`).
"""

from __future__ import annotations

import secrets as random
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from harness.artifacts.binaries import Artifact
from harness.drivers.kept_vault import KeepsSource, KeptVault
from harness.drivers.local.control_plane import ControlPlane
from harness.drivers.local.ready_vault import NewVault, ReadyVault, fit
from harness.drivers.local.vault_nodes import Binaries
from harness.errors import RigError
from harness.host import own_run
from harness.host.process import Supervisor
from harness.scenario.plan import Plan

_MEMORY: Final = 2_000 * 10**6
"""What all clusters of one of these may write, over many rehearsals."""


class SharedClusters(KeepsSource[ControlPlane]):
    """Clusters by name and binaries, from the opening to the end of the ``with`` block. One rehearsal at a time."""

    def __init__(self, work: Path, state: Path) -> None:
        """Their own directory is made in *work*; *state* holds locks and lists."""
        super().__init__()
        self._work, self._state = work, state
        self._held = ExitStack()
        self._planes: dict[tuple[str, str, str], ControlPlane] = {}
        self._served: dict[str, int] = {}
        self._lent: set[str] = set()
        self._number = 0
        self._ready: ReadyVault | None = None
        """one that is there for the next rehearsal over what is kept"""
        self._new: NewVault | None = None
        """one that is there for the next rehearsal that begins from nothing"""

    def __enter__(self) -> Self:
        with ExitStack() as undo:
            run = f"clusters-{random.token_hex(6)}"
            self._ports, self._supervisor, _ = own_run.begin(undo, run, self._work, self._state, _MEMORY)
            self._held = undo.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.forget_source(error)
            self._end_new(error)
        finally:
            self._held.__exit__(kind, error, trace)

    @property
    def supervisor(self) -> Supervisor:
        """The owner of their servers."""
        return self._supervisor

    def lend(
        self, name: str, etcd: Artifact, server: Artifact, issuers: Sequence[str], algorithm: str
    ) -> tuple[ControlPlane, int]:
        """Return the cluster *name* of these binaries, and how many rehearsals it has served: 0 is one to be started.

        That one has these *issuers*, and signs with *algorithm*. Another one may have become something else in the
        course of a rehearsal, or been made for a scenario that wanted it otherwise.
        Until `take_back` nobody else gets it. Raises RigError where somebody has it already.
        """
        with self._gate:
            self._insist_on_free(name)
            self._forget_source()
            key = (name, etcd.sha256, server.sha256)
            plane = self._planes.get(key)
            if plane is None or not plane.started or plane.died():
                self._end_others(name)
                (port,) = self._ports.take(1)
                self._number += 1
                above = self._supervisor.room / str(self._number)
                above.mkdir(mode=0o700)
                plane = self._planes[key] = ControlPlane(name, above / f"cluster-{name}", port, issuers, algorithm)
                self._served[plane.host] = 0
            served = self._served[plane.host]
            self._served[plane.host] += 1
            self._lent.add(name)
            return plane, served

    def room(self) -> Path:
        """Return where a copy of Vault's data may be made, beside the clusters' own: nothing is there yet."""
        with self._gate:
            self._number += 1
            return self._supervisor.room / f"vault-{self._number}"

    def make_ready(self, kept: KeptVault[ControlPlane], binaries: Binaries) -> None:
        """Have a Vault over a source state come to serve, for the next rehearsal that asks for one."""
        with self._gate:
            if kept is self._kept and (self._ready is None or self._ready.taken):
                self._ready = ReadyVault(kept, binaries, self._work, self._state)

    def ready(self, kept: KeptVault[ControlPlane]) -> ReadyVault | None:
        """Return a Vault that serves over a source state, to whoever enters it now; None where there is none."""
        with self._gate:
            ready = self._ready
            if ready is None or ready.taken or ready.kept is not kept:
                return None
            if not ready.ready():
                self._end_ready()
                return None
            return ready

    def make_new(self, plan: Plan, binaries: Binaries) -> None:
        """Have a new Vault come to serve, as *plan* begins with one, if another rehearsal follows that may begin so."""
        if not self.another_follows:
            return
        with self._gate:
            home = plan.resolved.vault.cluster
            port = next((plane.port for (name, *_), plane in self._planes.items() if name == home), 0)
            if fit(plan, binaries) and bool(home) == bool(port) and (self._new is None or self._new.taken):
                self._new = NewVault(plan, port, binaries, self._work, self._state)

    def new(self, plan: Plan, binaries: Binaries) -> NewVault | None:
        """Return a new Vault that serves, to whoever enters it now; None where there is none that fits *plan*."""
        with self._gate:
            new, home = self._new, plan.resolved.vault.cluster
            if new is None or new.taken:
                return None
            there = [plane for (name, *_), plane in self._planes.items() if name == home and not plane.died()]
            placed = not home or any(plane.port == new.api_port for plane in there)
            if new.fit != fit(plan, binaries) or not placed or not new.ready():
                self._end_new()
                return None
            return new

    def _end_new(self, error: BaseException | None = None) -> None:
        """End the new Vault that is there for the next rehearsal, unless that has it already."""
        new, self._new = self._new, None
        if new is not None and not new.taken:
            new.end(error)

    def _end_ready(self, error: BaseException | None = None) -> None:
        """End the Vault that is there for the next rehearsal, unless that has it already."""
        ready, self._ready = self._ready, None
        if ready is not None and not ready.taken:
            ready.end(error)

    def lend_as_they_are(self, vault: KeptVault[ControlPlane]) -> dict[str, int]:
        """Lend the clusters of a source state; return by name how many rehearsals each has served. Raises as `lend`."""
        with self._gate:
            for name in vault.planes:
                self._insist_on_free(name)
            self._lent.update(vault.planes)
            vault.served += 1
            served = {name: self._served[plane.host] for name, plane in vault.planes.items()}
            for plane in vault.planes.values():
                self._served[plane.host] += 1
            return served

    def _insist_on_free(self, name: str) -> None:
        if name in self._lent:
            raise RigError(f"the cluster {name} is in use by another rehearsal")

    def _forget_source(self, error: BaseException | None = None) -> None:
        """Drop the source state that is kept: what it refers to in the clusters is about to go."""
        self._end_ready(error)
        super()._forget_source(error)

    def _end_others(self, name: str) -> None:
        """End the clusters of this name with other binaries: so much memory is not there for both."""
        for key in [key for key in self._planes if key[0] == name]:
            self._planes.pop(key).end()

    def take_back(self, name: str) -> None:
        """Have the cluster *name* back; what was made in it is removed when it is lent again."""
        with self._gate:
            self._lent.discard(name)
