"""A rig of kind clusters that may have what others had before: their clusters, and the source state of their Vault."""

from __future__ import annotations

import abc
import secrets as random
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from harness.clients.engine_things import Thing
from harness.drivers.kept_vault import KeptVault, Objects
from harness.drivers.kind.cluster import KindCluster, Workbench
from harness.drivers.kind.cluster_reuse import ReusableCluster, ReusableClusters
from harness.drivers.kind.shared_clusters import SharedKindClusters
from harness.drivers.kind.vault_container import VaultContainer
from harness.drivers.kind.vault_pod import BESIDE, VaultPod, objects
from harness.drivers.service_accounts import Account
from harness.drivers.sharing_rig import SharingRig
from harness.errors import RigError, Unreachable
from harness.rig.rig import ClusterFacts, IssuedToken
from harness.rig.source import Source
from harness.scenario.course import Serve
from harness.scenario.plan import Plan
from harness.scenario.topology import MAIN
from harness.wait import now


class KindSharing(SharingRig[KindCluster]):
    """What one rig of kind clusters takes from those before it, and leaves to those after it."""

    _server: VaultPod | VaultContainer
    _beside: list[VaultPod | VaultContainer]
    _clusters: Mapping[str, KindCluster]
    _facts: Mapping[str, ClusterFacts]
    _home: Account | None
    _old_tokens: dict[str, IssuedToken]
    """of Vault's Pods that run, by their purposes"""
    _bench: Workbench
    _vault_ports: dict[str, tuple[int, ...]]
    _lending: ReusableClusters | None
    _lender: SharedKindClusters | None = None
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
        """Have Vault's Pod end for one over the source state that is kept, and every Vault beside it be gone."""
        if isinstance(self._server, VaultPod):
            self._server.begin_to_stop()
        for new in self._beside:
            if isinstance(new, VaultPod):
                new.stop()
                new.remove()

    def keep_source(self, source: Source, served: Serve) -> bool:
        """Keep *source* with a copy of Vault's data, for which Vault is sealed: its Pod stays the same one."""
        assert self._lender is not None
        self._vault.client.seal()
        try:
            data, drop = self._copied(self._lender)
        except RigError:
            self._shared = None
            return True
        own: dict[str, Objects] = {}
        if self._home is not None:
            # the first Vault beside this one may be on its way, for a snapshot to come; whoever begins has its own
            names = (MAIN, BESIDE.format(1))
            own[self._home.cluster] = frozenset().union(*(objects(self._home.namespace, one) for one in names))
        self._lender.keep(self._state(source, served, self._clusters, data=data, drop=drop, own=own))
        return True

    def _copied(self, lender: SharedKindClusters) -> tuple[str, Callable[[], None]]:
        """Return where a copy of the data of Vault, which is sealed, is as long as the clusters, and what removes it.

        Raises RigError.
        """
        if isinstance(self._server, VaultPod):
            return self._server.copy_data(), lambda: None  # it goes when the cluster is emptied
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
        self._begin_from(kept, ready=False)
        kept.served += 1
        if kept.serving.token_file and MAIN in kept.tokens:
            self._old_tokens[MAIN] = kept.tokens[MAIN]
        self._bring_up.begin(self._clusters, self._take_cluster)
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
        cluster.take_over(Path(self._lending.clusters[name].directory), as_it_is=True)
        self._insist_on_version(name, cluster.kube, wanted.kubernetes, self.served)
        self._make_known(cluster)

    @abc.abstractmethod
    def end_vault(self) -> None:
        """End Vault, if it is a container."""

    @abc.abstractmethod
    def broken(self) -> str | None:
        """Return a sentence if a cluster is lost."""

    @abc.abstractmethod
    def _make_known(self, cluster: KindCluster) -> None:
        """Tell those who wait how a cluster is reached, and bring it Vault's images."""

    @abc.abstractmethod
    def _start_vault(self, served: Serve) -> None:
        """Start the version of *served* over the data of Vault, and return when it answers."""
