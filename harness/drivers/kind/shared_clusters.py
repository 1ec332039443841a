"""Kind clusters that serve one rehearsal after the other in one process: each gets them alone.

They are emptied, or as the one before it has left them, with a Vault that is made ready for the next (`ready_pod`).

The first rehearsal makes them under a supervisor that outlives it, and not this process: whatever ends that ends them.
Nobody else finds them, unlike clusters of a run that was kept (`cluster_reuse`), by whose ways they are used again.
"""

from __future__ import annotations

import secrets as random
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

from harness.artifacts.images import Image
from harness.clients import engine_things
from harness.clients.container_engine import Engine
from harness.drivers.kept_vault import KeepsSource, KeptVault
from harness.drivers.kind.cluster import KindCluster, Workbench
from harness.drivers.kind.cluster_reuse import ReusableCluster, ReusableClusters
from harness.drivers.kind.ready_pod import NewPod, PodAhead, ReadyPod, fit
from harness.drivers.kind.vault_pod import Turn, VaultPod
from harness.drivers.service_accounts import Account
from harness.errors import RigError
from harness.host import own_run
from harness.host.ports import Ports
from harness.host.process import Supervisor
from harness.scenario.plan import Plan
from harness.scenario.topology import Topology
from harness.wait import now

_EXPIRES_SECONDS: Final = 8 * 24 * 3600  # a run can be kept for a week

_Wanted = tuple[tuple[tuple[str, str, int], ...], tuple[str, ...]]
"""Name, version and nodes of each cluster, and which of them are Vault's."""


class Site(NamedTuple):
    """Where clusters are made, and what with; the directory is there."""

    bench: Workbench
    ports: Ports
    work: Path


class _Room(NamedTuple):
    """Where a Vault is made ready, and of what."""

    place: Path
    cluster: KindCluster
    server: Callable[[], VaultPod]


class SharedKindClusters(KeepsSource[KindCluster]):
    """The clusters of one rehearsal at a time, from the opening to the end of the ``with`` block."""

    bench: Workbench
    """where they were made: what is made there is there as long as they are"""

    def __init__(self, work: Path, state: Path) -> None:
        """Their own directory is made in *work*; *state* holds locks and lists."""
        super().__init__()
        self._work, self._state = work, state
        self._held = ExitStack()
        self._offered: ReusableClusters | None = None
        self._wanted: _Wanted | None = None
        self._busy = False
        self._bringing = ThreadPoolExecutor(1, thread_name_prefix="images")
        self._brought: dict[tuple[str, str], Future[None]] = {}
        """by node and name of the image"""
        self._ready: ReadyPod | None = None
        """a Vault that is there for the next rehearsal over what is kept"""
        self._new: NewPod | None = None
        """one that is there for the next rehearsal that begins from nothing"""
        self._number = 0
        self.served = 0
        """how many rehearsals had them"""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # what is on its way ends with its node, and is waited for then
        ahead: list[PodAhead] = [one for one in (self._ready, self._new) if one is not None]
        self._ready = self._new = None
        try:
            self.forget_source(error)
        finally:
            try:
                self._held.__exit__(kind, error, trace)
            finally:
                self._bringing.shutdown(wait=True, cancel_futures=True)
                for one in ahead:
                    one.end()

    @contextmanager
    def lent(self, topology: Topology) -> Iterator[ReusableClusters | None]:
        """Yield clusters as *topology* has them, if there are any. In the body nobody else gets them.

        What was made in them is removed when they are lent again, but a new Vault for whoever has them next. Others are
        ended: so much memory is not there for both. Raises RigError where somebody has them already, and LeftBehind.
        """
        if self._busy:
            raise RigError("the clusters are in use by another rehearsal")
        fitting = self._offered is not None and self._wanted == _of(topology)
        self.served = self.served + 1 if fitting else 0
        if not fitting:
            self._offered = None
            self.forget_source()
            self._end_new()
            self._held.close()
            self._brought.clear()
        self._busy = True
        try:
            yield self._offered if fitting else None
        finally:
            self._busy = False

    def site(self, engine: Engine, kind: Path, topology: Topology) -> Site:
        """Return where clusters for *topology* are made, which are to be lent. Raises RigError."""
        self._wanted = _of(topology)
        run = f"clusters-{random.token_hex(4)}"
        with ExitStack() as undo:
            ports, supervisor, work = own_run.begin(undo, run, self._work, self._state)
            bench = self.bench = workbench(work, engine, supervisor, kind, run)
            self._site = work
            self._held = undo.pop_all()
        return Site(bench, ports, work)

    def bring(self, cluster: KindCluster, image: str) -> Future[None]:
        """Have an image be brought into the node of a *cluster*, after all that were asked for before.

        That goes on beside this rehearsal and the next one, which has the same node. One that failed is tried again.
        """
        key = (cluster.node, image)
        brought = self._brought.get(key)
        if brought is None or (brought.done() and brought.exception() is not None):
            brought = self._brought[key] = self._bringing.submit(cluster.load, image)
        return brought

    def make_ready(self, lent: ReusableCluster, home: Account, image: Callable[[str], str], at: Turn) -> None:
        """Have a Vault over the source state come to serve, if a rehearsal follows that begins from it.

        Its Pod is in the cluster *lent*, of the account *home*, and has the name and the ports of *at*: nobody else has
        them, or whoever had them has left. *image* names that of a version, which is in the node.
        """
        with self._gate:
            kept = self._kept
            self._end_ready()
            if kept is None or not self.ahead or not kept.waits_for_nobody:
                return
            made = self._room(lent, home, at, kept.topology.vault.storage)
            if made is not None:
                self._ready = ReadyPod(kept, made.cluster, made.server, image(kept.serving.version), made.place)

    def make_new(self, plan: Plan, lent: ReusableCluster, home: Account, image: Image, at: Turn) -> None:
        """Have a new Vault come to serve, as *plan* begins with one, if the next rehearsal may begin so. The rest as
        `make_ready`.
        """
        if not self.another_follows or self.ahead or not fit(plan, home, image):
            return
        with self._gate:
            made = self._room(lent, home, at, plan.resolved.vault.storage) if self._new is None else None
            if made is not None:
                self._new = NewPod(plan, home, made.cluster, made.server, image, made.place)

    def new(self, plan: Plan, home: Account | None, image: Image | None) -> NewPod | None:
        """Return a new Vault that serves, or soon will, if one fits *plan*: whoever asks has it, and ends it."""
        new, self._new = self._new, None
        if new is None:
            return None
        if home is None or image is None or new.fit != fit(plan, home, image):
            new.end()
            return None
        return new

    def _room(self, lent: ReusableCluster, home: Account, at: Turn, storage: str) -> _Room | None:
        """Return what a Vault has that is made ready in the cluster *lent*; None where there is no room for it."""
        self._number += 1
        place, run = self._site / f"ready-{self._number}", f"{self.bench.name}-{self._number}"
        try:
            place.mkdir(mode=0o700)
            cluster = KindCluster(home.cluster, place / "cluster", self.bench, lent.cluster, lent.port)
        except OSError:
            return None  # nothing to the rehearsal that is under way

        def server() -> VaultPod:
            cluster.reach(Path(lent.directory))
            account = f"{home.namespace}/{home.name}"
            name, port, node_port = at.name, at.port, at.node_port
            how: dict[str, Any] = {"storage": storage, "name": name, "port": port, "node_port": node_port}
            return VaultPod(place / "vault", cluster, account, run, **how)

        return _Room(place, cluster, server)

    def ready(self, kept: KeptVault[KindCluster]) -> ReadyPod | None:
        """Return what is or soon will be a Vault that serves over a source state, if there is one: whoever asks has it,
        and ends it.
        """
        with self._gate:
            ready, self._ready = self._ready, None
            if ready is None or ready.kept is kept:
                return ready
            ready.end()
            return None

    def _end_new(self) -> None:
        new, self._new = self._new, None
        if new is not None:
            new.end()

    def _end_ready(self) -> None:
        ready, self._ready = self._ready, None
        if ready is not None:
            ready.end()

    def _forget_source(self, error: BaseException | None = None) -> None:
        """Drop the source state that is kept, and the Vault over it, whose cluster is about to be emptied."""
        self._end_ready()
        super()._forget_source(error)

    def offer(self, made: ReusableClusters | None) -> None:
        """Have clusters that were made at the `site`, and serve, be lent from now on; None: they do not."""
        self._offered = made


def workbench(
    work: Path, engine: Engine, supervisor: Supervisor, kind: Path, run_id: str, network: str = ""
) -> Workbench:
    """Return the tools of a run, in its directory *work*. *network* is the one that it is lent; empty: it gets its own.

    Raises RigError where the engine makes none.
    """
    labels = engine_things.labels(run_id, now() + _EXPIRES_SECONDS)
    name = f"rehearse-{run_id.rpartition('-')[2]}"
    bench = Workbench(work / "bench", engine, supervisor, kind, name=name, network=network or name, labels=labels)
    if not network:
        engine.create_network(name, bench.labels)
    return bench


def _of(topology: Topology) -> _Wanted:
    clusters = ((name, one.kubernetes, one.nodes) for name, one in topology.clusters.items())
    return tuple(clusters), topology.vault.homes
