"""A rig of kind clusters that may have what others had before: their clusters, and the source state of their Vault."""

from __future__ import annotations

import abc
import secrets as random
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from harness.artifacts.images import VAULT, Image
from harness.clients.engine_things import Thing
from harness.clients.kube_emptying import Spared
from harness.clients.kube_states import PodState
from harness.drivers import new_vault
from harness.drivers.kept_vault import KeptVault, Objects
from harness.drivers.kind.cluster import VAULT_PORTS, KindCluster, Workbench
from harness.drivers.kind.cluster_reuse import ReusableCluster, ReusableClusters
from harness.drivers.kind.ready_pod import NewPod, PodAhead
from harness.drivers.kind.shared_clusters import SharedKindClusters
from harness.drivers.kind.vault_container import VaultContainer
from harness.drivers.kind.vault_pod import BESIDE, TURNS, Turn, VaultPod, objects, pod_of
from harness.drivers.service_accounts import Account
from harness.drivers.sharing_rig import SharingRig
from harness.errors import RigError, Unreachable
from harness.record import events
from harness.rig.rig import ClusterFacts, IssuedToken
from harness.rig.source import Source
from harness.scenario import driver_traits
from harness.scenario.course import Serve
from harness.scenario.plan import Plan
from harness.scenario.topology import MAIN
from harness.secret import Secret
from harness.wait import Stopwatch, now


class KindSharing(SharingRig[KindCluster]):
    """What one rig of kind clusters takes from those before it, and leaves to those after it."""

    _server: VaultPod | VaultContainer
    _beside: list[VaultPod | VaultContainer]
    _clusters: Mapping[str, KindCluster]
    _facts: Mapping[str, ClusterFacts]
    _home: Account | None = None
    """that of the Pod of its only node, if that has one"""
    _old_tokens: dict[str, IssuedToken]
    """of Vault's Pods that run, by their purposes"""
    _bench: Workbench
    _vault_ports: dict[str, tuple[int, ...]]
    _lending: ReusableClusters | None
    _lender: SharedKindClusters | None = None
    _licence: Secret | None
    _images: Mapping[tuple[str, str], Image]
    _ahead: PodAhead | None = None
    """whose Vault is this one's"""
    _spared: Spared | None = None
    """what of it stays where its cluster is emptied"""
    keys_made: Sequence[Secret] = ()
    served = 0
    """how many rehearsals had the clusters before this one"""

    def borrow_from(self, clusters: SharedKindClusters, shared: Plan | None) -> None:
        """Have the clusters be of those that rehearsals have one after the other.

        *shared* is the plan of this one, if its source state is for others as well.
        """
        self._lender, self.served = clusters, clusters.served
        if shared is not None:
            self.share(shared)

    def hand_over(self) -> None:
        """Let further rehearsals have the clusters, if all of them serve; Vault ends."""
        assert self._lender is not None
        self.end_vault()
        whole = len(self._facts) == len(self._clusters) and self.broken() is None
        if whole and self._lender.keeps_source:
            try:
                self._make_place()
            except (RigError, Unreachable):
                whole = False
        self._lender.offer((self._lending or self._offer(now())) if whole else None)
        if self._ahead is not None:
            self._ahead.end()

    def _make_ready(self, lender: SharedKindClusters) -> None:
        """Have a Vault come to serve for whoever begins from the source state next: one that was handed no licence."""
        home, server = self._home, self._server
        if home is None or self._licence is not None or not isinstance(server, VaultPod):
            return
        lent = (self._lending or self._offer(now())).clusters[home.cluster]
        lender.make_ready(lent, home, self._image_of, self._turn_after(server, home))

    def have_new(self, plan: Plan) -> None:
        """Have its Vault be the new one that serves already for *plan*, or soon will, if there is any."""
        if self._lender is not None:
            # what serves already was handed no licence
            image = self._image_of_first(plan) if self._licence is None else None
            self._ahead = self._lender.new(plan, self._home, image)

    def _spares(self, cluster: KindCluster) -> Spared | None:
        """Return what of a new Vault stays in a *cluster* that is emptied; waits until that serves."""
        ahead, home = self._ahead, self._home
        if isinstance(ahead, NewPod) and home is not None and home.cluster == cluster.name:
            server = ahead.ready(self._bring_up.over)
            self._spared = ahead.spared(server) if server is not None else None
            return self._spared
        return None

    def make_new(self, plan: Plan) -> None:
        """Have a new Vault come to serve for a rehearsal like that of *plan* that begins from nothing after this one.

        Not beside one that began so itself, and may go on under the other name of a Vault.
        """
        home, image = self._home, self._image_of_first(plan)
        if self._lender is None or self._begun is None or home is None or image is None:
            return
        if self._licence is None and isinstance(server := self._server, VaultPod):
            lent = (self._lending or self._offer(now())).clusters[home.cluster]
            self._lender.make_new(plan, lent, home, image, self._turn_after(server, home))

    def _image_of_first(self, plan: Plan) -> Image | None:
        return self._images.get(driver_traits.server(VAULT, new_vault.first(plan).version))

    def _begin_anew(self, served: Serve) -> None:
        """Start a Vault over no data, unless there is one."""
        ahead, home = self._ahead, self._home
        server = ahead.ready() if ahead is not None else None
        if server is None or home is None or not isinstance(ahead, NewPod):
            self.begin(served)
            return
        self.keys_made, self._first = ahead.keys, served
        ahead.secrets.hand_on(self._journal.secrets)
        self._journal.write(events.SourceState(ready=True))
        self._go_on_with(server, ahead.pod, home, served)

    def _turn_after(self, server: VaultPod, home: Account) -> Turn:
        """Return what a Vault has of its own that comes while *server*, of the account *home*, is still there."""
        name = next(one for one in TURNS if one != server.name)
        return Turn(name, TURNS[name], self._port_to(home.cluster, TURNS[name]))

    @property
    def of_others(self) -> Collection[tuple[str, str]]:
        """Return the Pods of Vaults of other rehearsals that may be in a cluster, each by its namespace and name."""
        server = self._vault
        if self._lender is None or not self._lender.keeps_source or not isinstance(server, VaultPod):
            return ()
        return [(server.namespace, pod_of(name)) for name in TURNS if name != server.name]

    def _port_to(self, home: str, port: int) -> int:
        """Return the port of this machine that leads to *port* of Vaults in a cluster; in none (""): to one of them."""
        return self._vault_ports[home][VAULT_PORTS.index(port)]

    def _image_of(self, version: str) -> str:
        """Return the name of the image of a version of Vault, or of OpenBao."""
        return self._images[driver_traits.server(VAULT, version)].name

    def bring_ahead(self, images: Sequence[str]) -> None:
        """Have *images* be in Vault's clusters for the next rehearsal, which need not wait for them then."""
        for home in self._topology.vault.homes:
            for image in images:
                if self._lender is not None:
                    self._lender.bring(self._clusters[home], image)

    def _bring_image(self, cluster: KindCluster, image: str) -> None:
        if self._lender is None:
            cluster.load(image)
        else:
            self._lender.bring(cluster, image).result()

    def _offer(self, until: float) -> ReusableClusters:
        """Return what others need to know of the clusters, which they have *until* a date."""
        clusters = {
            name: ReusableCluster(
                wanted.kubernetes, wanted.nodes, cluster.name_for_kind, str(cluster.directory), cluster.port
            )
            for (name, cluster), wanted in zip(self._clusters.items(), self._topology.clusters.values(), strict=True)
        }
        homes = {home: self._vault_ports[home] for home in self._topology.vault.homes}
        return ReusableClusters(self._run_id, self._bench.network, homes, clusters, until)

    def _make_place(self) -> None:
        """Have Vault's Pod make way for one over the source state that is kept, and every Vault beside it be gone."""
        beside = [one for one in self._beside if isinstance(one, VaultPod)]
        for one in [self._server, *beside]:
            if isinstance(one, VaultPod):
                one.leave_at_once()
        for one in beside:
            one.take_place()

    def keep_source(self, source: Source, served: Serve) -> bool:
        """Keep *source* with a copy of Vault's data; its Pod stays the same one.

        Over raft, whose files bear a power cut, Vault in a Pod only stands still meanwhile, and needs no election after
        it; elsewhere it is sealed.
        """
        assert self._lender is not None
        serves_on = isinstance(self._server, VaultPod) and self._topology.vault.storage == "raft"
        if not serves_on:
            self._vault.client.seal()
        try:
            data, drop = self._copied(self._lender, as_it_runs=serves_on)
        except RigError:
            self._shared = None
            return not serves_on
        own: dict[str, Objects] = {}
        if self._home is not None:
            # the first Vault beside this one may be on its way, for a snapshot to come; whoever begins has its own
            names = (*TURNS, BESIDE.format(1))
            own[self._home.cluster] = frozenset().union(*(objects(self._home.namespace, one) for one in names))
        self._lender.keep(self._state(source, served, self._clusters, data=data, drop=drop, own=own))
        self._make_ready(self._lender)
        return not serves_on

    def _copied(self, lender: SharedKindClusters, *, as_it_runs: bool) -> tuple[str, Callable[[], None]]:
        """Return where a copy of the data of Vault is as long as the clusters, and what removes it.

        Vault is sealed, or *runs* in a Pod. Raises RigError.
        """
        if isinstance(self._server, VaultPod):
            return self._server.copy_data(as_it_runs=as_it_runs), lambda: None  # it goes when the cluster is emptied
        bench = lender.bench
        volume, engine = f"{bench.name}-source-{random.token_hex(4)}", bench.engine

        def drop() -> None:
            with suppress(RigError, Unreachable):  # it has the label of the clusters' run, and goes with that
                engine.remove(Thing("volume", volume, volume, {}))

        try:
            return self._server.copy_data(volume, bench.labels), drop
        except RigError:
            drop()
            raise

    def begin_from(self, kept: KeptVault[KindCluster]) -> None:
        """Start Vault over a copy of what was kept, in the clusters as they are. Its Pod is a new one.

        Returns when it answers.
        """
        assert self._lender is not None
        more = self.wants_source
        ahead = self._lender.ready(kept)
        self._ahead = ahead
        server = ahead.ready() if ahead is not None and self._licence is None else None
        if ahead is not None and server is None:
            self._ahead = None
            ahead.end()
        self._begin_from(kept, ready=server is not None)
        kept.served += 1
        if kept.serving.token_file and MAIN in kept.tokens:
            self._old_tokens[MAIN] = kept.tokens[MAIN]
        self._bring_up.begin(self._clusters, self._take_cluster)
        if ahead is not None and server is not None and self._home is not None:
            self._go_on_with(server, ahead.pod, self._home, kept.serving)
        else:
            self._start_over(kept)
        if more:
            self._make_ready(self._lender)

    def _go_on_with(self, server: VaultPod, pod: PodState, home: Account, serving: Serve) -> None:
        """Have Vault be *server*, which serves already, in a *pod* of the account *home*."""
        self._bring_up.await_one(home.cluster)
        server.go_on_in(self._clusters[home.cluster])
        self._vault = self._server = server
        # the Pod before it left with the rehearsal before this one, at the latest
        self._take_token(home, pod, now(), token_file=serving.token_file)
        self._answering = Stopwatch()

    def _start_over(self, kept: KeptVault[KindCluster]) -> None:
        """Start Vault over a copy of what was kept."""
        if not self._topology.vault.tls:
            self._server.listen_plainly()
        self._server.begin_with(kept.data, kept.root)
        if isinstance(self._server, VaultPod) and self._home is not None:
            self._bring_up.await_one(self._home.cluster)
            self._server.take_place()
        self._start_vault(kept.serving)

    def _take_cluster(self, name: str) -> None:
        """Have a cluster as the rehearsal before this one left it."""
        assert self._lending is not None
        cluster, wanted = self._clusters[name], self._topology.clusters[name]
        there = Path(self._lending.clusters[name].directory)
        ahead = self._ahead if self._home is not None and self._home.cluster == name else None
        cluster.reach(there)
        self._insist_on_version(name, cluster.kube, wanted.kubernetes, self.served)
        self._make_known(cluster)
        # who waits for no more than its address goes on meanwhile
        cluster.go_on(watched=ahead.mark if ahead is not None else "")

    @abc.abstractmethod
    def begin(self, served: Serve) -> None:
        """Start a Vault over no data."""

    @abc.abstractmethod
    def end_vault(self) -> None:
        """End Vault, if it is a container."""

    @abc.abstractmethod
    def _take_token(self, home: Account, pod: PodState, begun: float, *, token_file: bool) -> None:
        """Have the token of a new Pod be that of its account, and that of the one before it, deleted then, be dead."""

    @abc.abstractmethod
    def broken(self) -> str | None:
        """Return a sentence if a cluster is lost."""

    @abc.abstractmethod
    def _make_known(self, cluster: KindCluster) -> None:
        """Tell those who wait how a cluster is reached, and bring it Vault's images."""

    @abc.abstractmethod
    def _start_vault(self, served: Serve) -> None:
        """Start the version of *served* over the data of Vault, and return when it answers."""
