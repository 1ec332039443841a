"""Plans made real as kind clusters and containers: Pods with token files of their own, Vault as a StatefulSet."""

from __future__ import annotations

from collections.abc import Callable, Collection, Container, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Final

from harness.artifacts import brought
from harness.artifacts.binaries import Artifact
from harness.artifacts.images import NODE, PRELOADED, SERVERS, Image, Images
from harness.artifacts.store import Store
from harness.clients import engine_requirements
from harness.clients.container_engine import Engine
from harness.clients.engine_requirements import About
from harness.clients.kube import Kube
from harness.drivers import real_rig, service_accounts, vault_stores
from harness.drivers.cluster_setup import beside_reviews, label, of_gone_pod, publish_keys, requested
from harness.drivers.kept_vault import KeptVault
from harness.drivers.kind import api_server, app_pods, cluster_reuse, limits
from harness.drivers.kind.agents import RunsKindAgents
from harness.drivers.kind.changing_rig import ChangesKindClusters
from harness.drivers.kind.cluster import API_PORT, VAULT_PORTS, KindCluster, Workbench
from harness.drivers.kind.cluster_reuse import ReusableClusters
from harness.drivers.kind.node_rig import RunsKindNodes
from harness.drivers.kind.shared_clusters import SharedKindClusters, Site, workbench
from harness.drivers.postgres import Bridge, OwnDatabase, Postgres
from harness.drivers.proxies import Proxies
from harness.drivers.service_accounts import Account
from harness.drivers.sharing_rig import kept_for
from harness.drivers.storms import StormsRealLogins
from harness.errors import HarnessError, MissingPrerequisite
from harness.host import own_run, process
from harness.host.ports import Ports
from harness.host.process import Supervisor
from harness.record.journal import Journal
from harness.rig.rig import ClusterFacts, Rig
from harness.scenario import driver_traits
from harness.scenario.course import Serve
from harness.scenario.driver_traits import Sharing
from harness.scenario.plan import Plan
from harness.scenario.schema_engines import ToDatabase
from harness.scenario.topology import SEAL, ClusterSpec, Topology
from harness.secret import Secret, carried
from harness.wait import now

_CLUSTER_LETTERS: Final = 24
_PROGRAMS: Final = ("kind", *driver_traits.STORES)
"""What of the artifacts is no image."""


class KindDriver:
    """Kind clusters, and Vault in containers, under labels of the run; gone afterwards, whatever happens."""

    name = driver_traits.KIND_CLUSTERS.name
    traits = driver_traits.KIND_CLUSTERS

    def __init__(
        self,
        store: Store,
        images: Images,
        machine: Engine,
        work: Path,
        state: Path,
        tell: Callable[[str], None],
        *,
        reuse: bool = False,
        force: bool = False,
        licence: Callable[[], Secret | None] = lambda: None,
        clusters: SharedKindClusters | None = None,
        sharing: Sharing = "",
    ) -> None:
        """*store* gives the kind command and *images* the images, which *machine* runs; the rest as with processes.

        *tell* is called with a line for people where something takes longer than it should. *reuse*: the clusters are
        not made anew, but those of a kept run, the newest that fits. *force*: however many nodes there are to be.
        *licence* is asked where a Vault wants one. *clusters* are lent to the rehearsal, or come of it for the next.
        *sharing*: with whom it shares its source state, which is kept with them.
        """
        self._clusters, self._sharing = clusters, sharing
        self._store, self._images, self._engine, self._tell = store, images, machine, tell
        self._work, self._state, self._reuse = work, state, reuse
        self._force, self._licence = force, licence

    @contextmanager
    def up(self, plan: Plan, run_id: str, journal: Journal) -> Iterator[Rig]:
        """Bring everything up; on the way out end all of it, whatever happened.

        Yields when Vault answers; other clusters may still be coming up. Raises MissingPrerequisite, ProcessDied,
        NotReady or RigError; LeftBehind if the way down could not remove everything.
        """
        topology = plan.resolved
        limits.insist(plan)
        about = self._engine.about()
        engine_requirements.insist_on_clock(about)
        engine_requirements.insist_on_cgroup(about, [each.kubernetes for each in topology.clusters.values()])
        with ExitStack() as stack:
            lent = stack.enter_context(self._clusters.lent(topology)) if self._clusters is not None else None
            there = self._reuse or lent is not None
            if not (self._force or there):
                limits.insist_on_room(plan, self._work, about)
            with journal.phase("artifacts"):
                kind, store_program, images = self._obtained(plan, journal, there=there)
                limits.insist_on_parts(plan, images.values())
            # Not in memory: the engine has to find there what it is to bring into containers.
            ports, supervisor, work = own_run.begin(stack, run_id, self._work, self._state)
            reusable, site = lent, None
            if self._reuse:
                reusable = stack.enter_context(cluster_reuse.fitting(self._state / "live", topology))
            elif self._clusters is not None and lent is None:  # its clusters outlive it
                site = self._clusters.site(self._engine, kind, topology)
            network = reusable.network if reusable else site.bench.network if site else ""
            bench = workbench(work, self._engine, supervisor, kind, run_id, network)
            served = [step for step in plan.steps if isinstance(step, Serve)]
            enterprise = any(brought.is_enterprise(step.version) for step in served)
            licence = self._licence() if enterprise else None
            rig = KindRig(
                topology,
                run_id,
                journal,
                work,
                bench,
                about,
                images,
                ports,
                site,
                reusable=reusable,
                licence=licence,
                store_program=store_program,
            )
            if self._clusters is not None:
                rig.borrow_from(self._clusters, plan if self._sharing == "more" else None)
                stack.callback(rig.hand_over)
            stack.callback(rig.keep_logs)
            stack.callback(rig.wait_for_threads)
            with journal.phase("servers answer"):
                kept = self._kept(plan, journal)
                if kept is None:
                    rig.have_new(plan)
                rig.start(served, kept)
            if self._clusters is not None:
                rig.bring_ahead(self._ahead(self._clusters, images))
                rig.make_new(plan)
            yield rig

    def _kept(self, plan: Plan, journal: Journal) -> KeptVault[KindCluster] | None:
        """Return the source state that *plan* begins from; None: none, and none is kept any more."""
        if self._clusters is None:
            return None
        kept = kept_for(plan, self._clusters, journal) if self._sharing else None
        if kept is None:
            self._clusters.forget_source()
        return kept

    def _ahead(self, clusters: SharedKindClusters, known: Container[tuple[str, str]]) -> list[str]:
        """Return the names of Vault's images that the next rehearsal wants, and this one does not know."""
        wanted = [pair for pair in clusters.ahead if pair[0] in SERVERS and pair not in known]
        try:
            return [image.name for image in self._images.get_all(wanted)]
        except HarnessError:
            return []  # whoever needs it says why there is none

    def _obtained(
        self, plan: Plan, journal: Journal, *, there: bool
    ) -> tuple[Path, Artifact | None, dict[tuple[str, str], Image]]:
        """Return the kind command, what a Vault has its data in, if that is a program, and every image of *plan* by its
        product and version. *there*: no node is made.
        """
        topology = plan.resolved
        kind, *more = programs = self._store.get_all([pair for pair in plan.artifacts if pair[0] in _PROGRAMS])
        images = self._images.get_all([pair for pair in plan.artifacts if pair[0] not in _PROGRAMS])
        found = {(image.product, image.version): image for image in images}
        homes = {topology.clusters[home].kubernetes for home in topology.vault.homes}
        for version in () if there else sorted(homes):
            vaults = [image for image in images if image.product in SERVERS]
            try:
                images.append(self._images.preloaded(found[NODE, version], vaults))
                found[PRELOADED, version] = images[-1]
            except MissingPrerequisite as error:
                self._tell(f"{error}; Vault's images are brought into the cluster instead, which takes seconds")
        real_rig.note_artifacts(journal, [(one, one.sha256) for one in programs])
        real_rig.note_artifacts(journal, [(one, one.id.removeprefix("sha256:")) for one in images])
        return kind.path, more[0] if more else None, found


class KindRig(RunsKindNodes, RunsKindAgents, StormsRealLogins, ChangesKindClusters):
    """The clusters and containers of one rehearsal."""

    def __init__(
        self,
        topology: Topology,
        run_id: str,
        journal: Journal,
        work: Path,
        bench: Workbench,
        about: About,
        images: Mapping[tuple[str, str], Image],
        ports: Ports,
        site: Site | None,
        *,
        reusable: ReusableClusters | None,
        licence: Secret | None,
        store_program: Artifact | None = None,
    ) -> None:
        """*reusable* are clusters that are there. Others are made at a *site*, if they are to outlive the rehearsal."""
        self._licence = licence
        self._topology, self._run_id, self._work = topology, run_id, work
        self._bench, self._about, self._images, self._lending = bench, about, images, reusable
        self._all_ports, self._supervisor, self._times, self._logs_kept = ports, bench.supervisor, 0, False
        self._site = site or Site(bench, ports, work)
        homes = ("", *topology.vault.homes)
        taken = self._site.ports.take(len(VAULT_PORTS) * len(homes) + len(topology.clusters))
        self._vault_ports = {home: tuple(taken.pop() for _ in VAULT_PORTS) for home in homes}
        if reusable is not None:
            self._vault_ports |= reusable.vault_ports
        self._clusters = {
            name: self._cluster(number, name, port)
            for number, (name, port) in enumerate(zip(topology.clusters, taken, strict=True), start=1)
        }
        wanted = service_accounts.wanted(topology)
        self._store_program = store_program
        beside, at = ports.take(vault_stores.ports_of(topology.vault)), self._at_bridge()
        self._store = vault_stores.store(topology.vault, work / "store", beside, store_program, self._supervisor, at)
        self._begin_vault(wanted)
        super().__init__(
            journal,
            wanted,
            self.answering,
            self._clusters,
            threads=2 * len(self._clusters) + len(images) * max(1, len(topology.vault.homes)) + topology.needs_database,
            words=self.words if topology.vault.nodes > 1 else None,
        )
        self._facts: dict[str, ClusterFacts] = {}
        self._storm_pods = {}
        self._loaded: dict[tuple[str, str], Future[None]] = {}
        self._begin_agents()
        self._proxies = Proxies(work, bench.supervisor, ports, lambda name: self._clusters[name].gateway)
        self._database = OwnDatabase(work, bench.supervisor, ports, self._at_bridge)
        self._issuers: dict[str, tuple[str, ...]] = {}
        """of clusters, since the course changed them"""

    def _at_bridge(self) -> Bridge:
        return Bridge(*self._bench.engine.bridge(self._bench.network))

    def _cluster(self, number: int, name: str, port: int) -> KindCluster:
        directory, bench = self._site.work / f"cluster-{name}", self._site.bench
        if self._lending is not None:
            lent = self._lending.clusters[name]
            return KindCluster(name, directory, bench, lent.cluster, lent.port)
        return KindCluster(name, directory, bench, f"{bench.name}-{number}-{name[:_CLUSTER_LETTERS]}", port)

    def start(self, served: Sequence[Serve], kept: KeptVault[KindCluster] | None = None) -> None:
        """Start everything at once and return when Vault answers as the first of *served*, or as what was *kept*."""
        self._first = served[0]
        # a Vault that unseals another one is in no cluster
        self._versions = list(dict.fromkeys(step.version for step in served if step.vault != SEAL))
        if self._topology.needs_database:
            self._database.begin(self._bring_up)
        if kept is not None:
            self.begin_from(kept)
            return
        self._bring_up.begin(self._clusters, self._raise_cluster)
        if self._store is not None:
            self._store.start()
        self._begin_anew(served[0])

    def cluster(self, name: str) -> ClusterFacts:
        """Return how a cluster is reached, as soon as it is up."""
        return self._bring_up.once_there(self._facts, name, name)

    def database(self) -> Postgres:
        """Return the PostgreSQL of this machine, at its address in the network of the run, once it serves."""
        return self._database.get()

    def touch_database(self, what: ToDatabase) -> float:
        """Stop that PostgreSQL, or start it again over its data; return how many seconds it took."""
        return self._database.touch(what)

    def end_vault(self) -> None:
        """End Vault, if it is a container, its load balancer, and the database of its engines."""
        self._end_balancer()
        super().end_vault()
        self._database.kill()
        if self._store is not None:
            self._store.kill()

    def storm_place(self, cluster: str) -> tuple[Kube, Supervisor]:
        """Return a client of *cluster*, and who ends what makes a storm."""
        return self._clusters[cluster].kube, self._bench.supervisor

    def await_token_file(self) -> None:
        """Return at once: a Pod is only started with its token in place."""

    def keep(self, seconds: float) -> Sequence[str]:
        """Leave everything up, and write the files that one needs to talk to it into the work directory (0600)."""
        files = {name: cluster.kubeconfig for name, cluster in self._clusters.items()}
        if self._lending is None:
            cluster_reuse.offer(self._work, self._offer(now() + seconds))
        return self._leave_up(self._bench.supervisor, seconds, self._work, self._run_id, files)

    @contextmanager
    def again(self, plan: Plan, journal: Journal) -> Iterator[Rig]:
        """End Vault, and yield a system for *plan* with a Vault of its own in the clusters that serve already."""
        self._bring_up.await_all()
        if not self._logs_kept:
            self.keep_logs()
        self._logs_kept = True
        self.end_vault()
        self._times += 1
        name, work = f"{self._run_id}-{self._times}", self._work / f"again-{self._times}"
        work.mkdir(mode=0o700)
        bench, lent = self._bench.another(work / "bench", self._times), self._lending or self._offer(now())
        rig = KindRig(
            plan.resolved,
            name,
            journal,
            work,
            bench,
            self._about,
            self._images,
            self._all_ports,
            None,
            reusable=lent,
            licence=self._licence,
            store_program=self._store_program,
        )
        try:
            with journal.phase("servers answer"):
                rig.start([step for step in plan.steps if isinstance(step, Serve)])
            yield rig
        finally:
            rig.wait_for_threads()
            rig.keep_vaults(journal)
            rig.end_vault()

    def broken(self) -> str | None:
        """Return a sentence if a cluster is lost, its API server alone or a proxy, or nothing can be written down."""
        lost = next((sentence for cluster in self._clusters.values() if (sentence := cluster.lost())), None)
        lost = lost or self._proxies.died() or self._balancer_died() or self._database.died()
        lost = lost or self._unsealer_died() or (self._store.died() if self._store is not None else None)
        return lost or process.out_of_room(self._work, ()) or None

    def keep_logs(self) -> None:
        """Keep what Vault, every Pod and every node wrote. What cannot be kept must not hide why the run ended."""
        if self._logs_kept:
            return
        with self._journal.phase("logs are kept"), ThreadPoolExecutor(max_workers=4) as pool:
            for logs in pool.map(carried(partial(self._logs_of, without=self.of_others)), self._clusters.values()):
                for name, lines in logs.items():
                    self._journal.keep(name, lines)
            self.keep_vaults(self._journal)
            stores = self._store.logs if self._store is not None else ()
            for log in (*self._database.logs, *self._balancer_logs, *stores):
                self._journal.keep(f"{log.path.parent.name}-{log.path.name}", log.everything())

    @staticmethod
    def _logs_of(cluster: KindCluster, without: Collection[tuple[str, str]]) -> dict[str, list[str]]:
        try:
            return cluster.all_logs(without)
        except HarnessError:
            return {}

    # --- clusters -----------------------------------------------------------------------------------------------------

    def _raise_cluster(self, name: str) -> None:
        cluster, wanted = self._clusters[name], self._topology.clusters[name]
        with self._journal.phase(f"cluster {name} serves"):
            self._make_serve(cluster, wanted)
        self._insist_on_version(name, cluster.kube, wanted.kubernetes, self.served)
        if name == self._topology.vault.cluster and self._topology.vault.nodes > 1:
            cluster.have_one_name_server()
        mine = [account for account in self._accounts if account.cluster == name]
        self._introduce(cluster, mine)
        self._make_known(cluster)
        with self._journal.phase(f"pods of {name} run"):
            self._populate(cluster, mine)
            cluster.await_made()

    def _make_known(self, cluster: KindCluster) -> None:
        name, wanted = cluster.name, self._topology.clusters[cluster.name]
        if name in self._topology.vault.homes:
            self._load(cluster)
        host = f"https://{cluster.address}:{API_PORT}"
        keys, issuer = api_server.keys(cluster), wanted.issuers[0]
        self._facts[name] = ClusterFacts(name, wanted.kubernetes, host, cluster.ca.read_text(), issuer, keys)
        self._bring_up.tell()

    def _make_serve(self, cluster: KindCluster, wanted: ClusterSpec) -> None:
        if self._lending is not None:
            cluster.take_over(Path(self._lending.clusters[cluster.name].directory), self._spares(cluster))
            if not api_server.is_as_made(cluster, wanted.issuers):
                api_server.start_anew(cluster, wanted.issuers)
                api_server.renew_own_tokens(cluster)
            return
        first, is_home = self._topology.vault.cluster, cluster.name in self._topology.vault.homes
        usual = self._images[NODE, wanted.kubernetes]
        cluster.start(
            self._images.get((PRELOADED, wanted.kubernetes), usual) if is_home else usual,
            workers=wanted.nodes - 1,
            kubelet=engine_requirements.kubelet_settings(self._about, wanted.kubernetes),
            vault_ports=self._vault_ports[cluster.name] if is_home else (),
            issuer=wanted.issuers[0],
            over=self._bring_up.over,
            aside=bool(first) and cluster.name != first,
        )
        if wanted.issuers[1:]:
            # kubeadm takes a flag once
            cluster.await_made()
            api_server.start_anew(cluster, wanted.issuers)

    def _load(self, cluster: KindCluster) -> None:
        """Bring Vault's images into its cluster, one after the other: the first version is waited for first.

        A cluster whose node was made with them has them from the beginning, and need not be asked.
        """

        def load(version: str, before: Future[None] | None) -> None:
            if (PRELOADED, self._topology.clusters[cluster.name].kubernetes) in self._images:
                return
            if before is not None:
                before.result()
            with self._journal.phase(f"image of {version} loaded"):
                self._bring_image(cluster, self._image_of(version))

        before = None
        for version in self._versions:
            before = self._loaded[cluster.name, version] = self._bring_up.aside(load, version, before)

    def _introduce(self, cluster: KindCluster, wanted: Sequence[Account]) -> None:
        """Create namespaces, service accounts, and the right to review tokens."""
        kube = cluster.kube
        there = kube.namespaces() if self._lending else []
        for space in dict.fromkeys(account.namespace for account in wanted):
            if space not in there:
                kube.create_namespace(space)
            label(kube, self._topology.clusters[cluster.name], space)
        for account in {one.identity: one for one in wanted}.values():
            if self._spared is None or self._home is None or account.identity != self._home.identity:
                kube.create_service_account(account.namespace, account.name)
            if account.may_review_tokens:
                kube.allow_token_reviews(account.namespace, account.name)
            beside_reviews(kube, account)
        publishes = self._topology.clusters[cluster.name].publishes_keys
        if publishes or self._lending is not None:
            publish_keys(cluster.name, kube, to_anybody=publishes)

    def _populate(self, cluster: KindCluster, wanted: Sequence[Account]) -> None:
        """Have every account hold its token: apps in their Pods, reviewers in Secrets, strangers in our hands."""
        held = [one for one in wanted if not (one.long_lived or one.podless or one.pod_gone)]
        apps = [one for one in held if one.purpose.startswith("app:")]
        image = cluster.pause_image() if apps else ""
        for account in apps:
            app_pods.create(cluster, account, image)
        for account in wanted:
            if account.long_lived:
                self._tokens.remember(account, app_pods.long_lived(cluster, account))
            elif account.pod_gone:
                self._tokens.remember(account, *of_gone_pod(cluster.kube, account))
            elif account not in apps and not self.is_of_vault(account) and not account.on_demand:
                self._tokens.remember(account, requested(cluster.kube, account))
        for account in apps:
            self._remember_app(cluster, account)

    def _remember_app(self, cluster: KindCluster, account: Account) -> None:
        state = app_pods.running(cluster, account, self._bring_up.over)
        self._tokens.remember(account, app_pods.token_of(cluster, account, state), account.pod, state.uid)

    def _fill_secret(self, account: Account, uid: str) -> Secret:
        del uid  # the token controller finds it by itself
        return app_pods.long_lived(self._clusters[account.cluster], account)

    def _reissue(self, account: Account) -> None:
        cluster = self._clusters[account.cluster]
        if not account.purpose.startswith("app:"):
            self._tokens.remember(account, requested(cluster.kube, account))
            return
        if cluster.kube.pod(account.namespace, account.pod) is not None:
            cluster.kube.delete_pod(account.namespace, account.pod)
        app_pods.create(cluster, account, cluster.pause_image())
        self._remember_app(cluster, account)
