"""Plans made real as plain processes on this machine: etcd, kube-apiserver and Vault, and no Docker."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from harness.artifacts import brought
from harness.artifacts.binaries import Artifact
from harness.artifacts.store import Store
from harness.clients import haproxy, wrk
from harness.clients.kube import Kube
from harness.drivers import real_rig, service_accounts
from harness.drivers.audit_devices import WithAuditDevices
from harness.drivers.balancer import WithBalancer
from harness.drivers.cluster_setup import beside_reviews, label, of_gone_pod, of_new_pod, requested
from harness.drivers.local import audit_devices, rights, seal_vault, vault_nodes
from harness.drivers.local.agents import RunsLocalAgents
from harness.drivers.local.control_plane import ControlPlane
from harness.drivers.local.seal_vault import WithSealVault
from harness.drivers.local.shared_clusters import SharedClusters
from harness.drivers.local.sharing_rig import LocalSharing
from harness.drivers.local.storage_faults import TouchesStorage
from harness.drivers.local.vault_nodes import VaultNodes
from harness.drivers.local.vault_process import VaultServer
from harness.drivers.log_tail import Tail
from harness.drivers.postgres import Postgres
from harness.drivers.proxies import Proxies
from harness.drivers.service_accounts import Account
from harness.drivers.sharing_rig import kept_for
from harness.drivers.storms import StormsRealLogins
from harness.errors import MissingPrerequisite
from harness.host import capacity, own_run, pki, process
from harness.host.own_run import OwnRun
from harness.host.ports import Ports
from harness.host.process import Supervisor
from harness.record.journal import Journal
from harness.rig.leases import Weight
from harness.rig.rig import ClusterFacts, IssuedToken, Rig
from harness.scenario import driver_traits
from harness.scenario.course import Move, Serve
from harness.scenario.driver_traits import Sharing
from harness.scenario.plan import Plan
from harness.scenario.topology import Topology, pod_purpose
from harness.secret import Secret
from harness.wait import Stopwatch, now


class LocalDriver:
    """Processes on loopback, in a work directory of their own that is gone afterwards."""

    name = driver_traits.LOCAL.name
    traits = driver_traits.LOCAL

    def __init__(
        self,
        store: Store,
        work: Path,
        state: Path,
        *,
        force: bool = False,
        licence: Callable[[], Secret | None] = lambda: None,
        clusters: SharedClusters | None = None,
        sharing: Sharing = "",
    ) -> None:
        """*store* gives the binaries; the run's own directory is made in *work*; *state* holds locks and lists.

        *force*: however many clusters there are to be, they are started. *licence* is asked where a Vault wants one.
        *clusters* are lent to the rehearsal; left out, it starts clusters of its own. *sharing*: with whom it shares
        its source state, which is kept with them.
        """
        self._clusters, self._sharing = clusters, sharing
        self._force, self._licence = force, licence
        self._store = store
        self._work = work
        self._state = state

    @contextmanager
    def up(self, plan: Plan, run_id: str, journal: Journal) -> Iterator[Rig]:
        """Bring everything up; on the way out end all of it, whatever happened.

        Yields when Vault answers; the clusters may still be starting (`Rig.await_clusters` waits for them). Raises
        MissingPrerequisite, ProcessDied or NotReady; LeftBehind if the way down could not remove everything.
        """
        if plan.resolved.has_storms:
            wrk.program()
        if plan.resolved.has_balancer:
            haproxy.program()
        if not self._force:
            capacity.insist(capacity.measure(self._work), len(plan.resolved.clusters))
        served = [step for step in plan.steps if isinstance(step, Serve)]
        with ExitStack() as stack:
            begun = self._begun(plan, run_id, served, stack)
            with journal.phase("artifacts"):
                binaries = self._binaries(plan, journal)
                vault_nodes.insist_on_parts(plan, binaries)
                enterprise = any(brought.is_enterprise(step.version) for step in served)
                licence = self._licence() if enterprise else None
            kept = kept_for(plan, self._clusters, journal) if self._clusters is not None and self._sharing else None
            # what serves already was handed no licence
            ready = self._clusters.ready(kept) if self._clusters and kept and not licence else None
            new = self._clusters.new(plan, binaries) if self._clusters and not kept and not licence else None
            if ahead := ready or new:
                ports, supervisor, vaults = stack.enter_context(ahead).own
            else:
                (ports, supervisor, _), vaults = begun or self._own_run(plan, run_id, stack), None
            room = supervisor.room
            rig = LocalRig(plan.resolved, journal, run_id, room, supervisor, binaries, ports, licence, vaults=vaults)
            if self._clusters is not None:
                rig.borrow_from(self._clusters, plan if self._sharing == "more" else None)
                stack.callback(rig.give_back)
            stack.callback(rig.keep_logs)
            stack.callback(rig.wait_for_threads)
            with journal.phase("servers answer"):
                if kept is not None:
                    rig.begin_from(kept, ready=ready is not None)
                else:
                    rig.have_new(new)
                    rig.start(served[0])
            if self._clusters is not None:
                self._clusters.make_new(plan, binaries)
            yield rig

    def _begun(self, plan: Plan, run_id: str, served: Sequence[Serve], stack: ExitStack) -> OwnRun | None:
        """Return what the run has for itself, unless somebody may have made that ready; binaries are read meanwhile.

        Raises MissingPrerequisite where this machine makes no Pod for Vault.
        """
        with ThreadPoolExecutor(2, thread_name_prefix="beginning") as aside:
            pods = aside.submit(process.namespaces_allowed) if any(step.token_file for step in served) else None
            aside.submit(self._store.look, plan.artifacts)  # whoever needs what it has not found gets it, or is told
            begun = self._own_run(plan, run_id, stack) if self._clusters is None else None
            if pods is not None and (reason := pods.result()):
                raise MissingPrerequisite(f"Vault's pod needs a mount namespace of its own: {reason}")
        return begun

    def _own_run(self, plan: Plan, run_id: str, stack: ExitStack) -> OwnRun:
        own = 0 if self._clusters is not None else len(plan.resolved.clusters)
        return own_run.begin(stack, run_id, self._work, self._state, vault_nodes.bytes_of(plan.resolved, own))

    def _binaries(self, plan: Plan, journal: Journal) -> dict[tuple[str, str], Artifact]:
        found: list[Artifact] = self._store.get_all(plan.artifacts)
        real_rig.note_artifacts(journal, [(one, one.sha256) for one in found])
        return {(one.product, one.version): one for one in found}


class LocalRig(
    WithAuditDevices, RunsLocalAgents, StormsRealLogins, TouchesStorage, WithSealVault, WithBalancer, LocalSharing
):
    """The processes of one rehearsal."""

    def __init__(
        self,
        topology: Topology,
        journal: Journal,
        run_id: str,
        work: Path,
        supervisor: Supervisor,
        binaries: Mapping[tuple[str, str], Artifact],
        ports: Ports,
        licence: Secret | None,
        *,
        planes: Mapping[str, ControlPlane] | None = None,
        vaults: VaultNodes | None = None,
    ) -> None:
        """*planes*: the clusters of a rehearsal that is over, which serve this one as well; None: they are made.

        *vaults*: its Vault, if that is over a source state and serves already.
        """
        self._topology = topology
        self._supervisor, self._binaries = supervisor, binaries
        self._work, self._run_id = work, run_id
        self._lent, self._all_ports, self._licence = planes, ports, licence
        self._ports = (
            dict(zip(topology.clusters, ports.take(len(topology.clusters)), strict=True))
            if not planes
            else {name: plane.port for name, plane in planes.items()}
        )
        self._vaults = vaults or VaultNodes(self._work, topology, ports, supervisor, binaries, licence)
        self._vaults.binaries = binaries
        self._sidecars, self._stayed = {}, []
        if topology.vault.audit:
            self._devices = audit_devices.of(topology.vault.audit, work, supervisor, ports.take, self._vaults)
        self._unsealer = seal_vault.of(topology, self._work, ports.take, supervisor, binaries)
        self._planes: dict[str, ControlPlane] = {}
        self._storm_pods = {}
        self._kubernetes = {name: cluster.kubernetes for name, cluster in topology.clusters.items()}
        super().__init__(
            journal,
            service_accounts.wanted(topology),
            self._vaults.first,
            self._planes,
            threads=len(topology.clusters) + 1 + topology.needs_database,
            words=self.words,
        )
        self._server = self._leading = self._vaults.first
        self._times = 0
        """so many rehearsals came after this one"""
        self._proxies = Proxies(work, supervisor, ports)
        self._place = topology.vault.cluster
        self._homes = {one.purpose: one for one in self._accounts if one.purpose in self._vaults.pods}
        """the account of the Pod of each node, where it has one"""

    @property
    def _home(self) -> Account | None:
        return self._homes.get(pod_purpose(self._vaults.names[0]))

    @contextmanager
    def again(self, plan: Plan, journal: Journal) -> Iterator[Rig]:
        """End Vault, and yield a system for *plan* with a Vault of its own in the clusters that serve already."""
        self.end_sidecars()
        self._end_balancer()
        self._end_all_vaults()
        self._times += 1
        work = self._work / f"again-{self._times}"
        work.mkdir(mode=0o700)
        rig = LocalRig(
            plan.resolved,
            journal,
            self._run_id,
            work,
            self._supervisor,
            self._binaries,
            self._all_ports,
            self._licence,
            planes=self._planes,
        )
        if self._lender is not None:
            # an API server that is started over for it stays with whoever owns the others
            rig.borrow_from(self._lender)
        try:
            with journal.phase("servers answer"):
                rig.start(next(step for step in plan.steps if isinstance(step, Serve)))
            yield rig
        finally:
            rig.end_vault()
            shutil.rmtree(work, ignore_errors=True)

    def end_vault(self) -> None:
        """End Vault and whatever is still on its way, keep its log, and leave the clusters as they are."""
        super().wait_for_threads()
        self.end_sidecars()
        self._end_balancer()
        self._end_all_vaults()
        self._keep(self._logs)
        self._close_devices()

    def start(self, served: Serve) -> None:
        """Start everything at once and return when Vault answers."""
        self._bring_up.begin(self._topology.clusters, self._raise_cluster)
        self._vaults.start_beside(self._bring_up)
        self._begin_anew(served)

    def storm_place(self, cluster: str) -> tuple[Kube, Supervisor]:
        """Return a client of *cluster*, and who ends what makes a storm."""
        return self._planes[cluster].kube, self._supervisor

    def cluster(self, name: str) -> ClusterFacts:
        """Return how a cluster is reached, as soon as its keys are made: before it serves."""
        plane = self._bring_up.once_there(self._planes, name, name)
        version, issuer = self._kubernetes[name], plane.issuers[0]
        keys = tuple(signer.public_key for signer in reversed(plane.signers))
        return ClusterFacts(name, version, plane.host, plane.authority.ca.read_text(), issuer, keys)

    def database(self) -> Postgres:
        """Return the PostgreSQL for database secrets engines, once it serves."""
        return self._vaults.database.get()

    def await_token_file(self) -> None:
        """Wait until Vault's cluster has given its Pod a token."""
        if self._home is not None:
            self._tokens.of(self._home.purpose)

    def open_to_all(self) -> None:
        """Start Vault anew if its listener is to be one without TLS, or one for client certificates of anybody."""
        if self._vaults.open_to_all():
            self._server.stop()
            self._start_vault(self._first)

    def swap(self, served: Serve) -> None:
        """Stop Vault, replace its Pod, start the version of *served* over the same data."""
        self.swap_node(self._vaults.names[0], served)

    def swap_node(self, name: str, served: Serve) -> None:
        """Stop a node, replace its Pod or move it, start the version of *served* over its data."""
        server, purpose = self._vaults.servers[name], pod_purpose(name)
        server.stop()
        if isinstance(served, Move):
            server.take_data_along()
            self._place = served.place.cluster
            self._move_pod(service_accounts.moved(self._accounts, purpose, served.place), purpose)
        else:
            self._move_pod(self._homes.get(purpose), purpose)
        self._start_vault(served, name)

    @property
    def servers(self) -> Mapping[str, VaultServer]:
        """Return every server of Vault by the name of its node."""
        return self._vaults.servers

    def add_node(self, name: str, served: Serve) -> None:
        """Start a node that joins the others."""
        self._vaults.introduce(name)
        if pod_purpose(name) in self._homes:
            self._tokens.of(pod_purpose(name))
        self._start_vault(served, name)

    def follow(self) -> str:
        """Find out who leads, and have everything go there."""
        if name := super().follow():
            self._leading = self.servers[name]
        return name

    def weigh(self) -> Weight:
        """Return what Vault weighs, or the node of it that leads."""
        return self._leading.weigh()

    @property
    def _owner(self) -> Supervisor:
        """Return the supervisor of the clusters' servers."""
        return self._lender.supervisor if self._lender is not None else self._supervisor

    def keep(self, seconds: float) -> Sequence[str]:
        """Leave every server up, and write the files that one needs to talk to them into the work directory (0600)."""
        files = {name: plane.directory / "kubeconfig" for name, plane in self._planes.items()}
        for name, file in files.items():
            pki.write_private(file, self._planes[name].kube.kubeconfig().encode())
        return self._leave_up(self._supervisor, seconds, self._work, self._run_id, files)

    def broken(self) -> str | None:
        """Return a sentence if a server that Vault depends on has ended, or one that stands before it."""
        lost = next((sentence for one in self._planes.values() if (sentence := one.died())), None)
        lost = lost or self._proxies.died() or self._balancer_died()
        return lost or self._vaults.beside_died() or self._unsealer_died()

    def keep_logs(self) -> None:
        """Keep every server's log beside the record. A log that cannot be kept must not hide why the run ended."""
        planes = self._planes.values()
        self._keep([*self._logs, *(tail for plane in planes for tail in (plane.store_log, plane.log))])

    @property
    def _logs(self) -> list[Tail]:
        return [
            *self._vaults.logs,
            *self.agent_logs(),
            *self._balancer_logs,
            *([self._unsealer.log] if self._unsealer is not None else ()),
        ]

    def _keep(self, tails: Sequence[Tail]) -> None:
        for tail in tails:
            try:
                self._journal.keep(f"{tail.path.parent.name}-{tail.path.name}", tail.everything())
            except OSError:
                continue

    def wait_for_threads(self) -> None:
        """End what is still coming up, and that soon: with its servers gone no answer is waited for any more."""
        self._bring_up.over.set()
        self._supervisor.halt()
        super().wait_for_threads()

    def _start_vault(self, served: Serve, name: str = "") -> None:
        self._vaults.start(served, self._ports.get(self._place, 0), name)
        self._answering = Stopwatch()

    def _start_new(self, served: Serve) -> VaultServer:
        return self._vaults.start_new(served, self._all_ports.take(2))

    def _raise_cluster(self, name: str) -> None:
        self._bring_up.insist()
        version = self._topology.clusters[name].kubernetes
        etcd, server = self._vaults.etcd, self._binaries["kube-apiserver", version]
        if self._lent:
            self._empty_cluster(name, self._lent[name], etcd, server)
            return
        plane, served = self._plane(name, etcd, server)
        kept = served > 0 and self._as_wanted(plane, server)
        self._planes[name], self._ports[name] = plane, plane.port
        self._bring_up.tell()
        spaces = self._serving(plane, etcd, server, partial(plane.begin_anew, self._bring_up.over) if kept else None)
        with self._journal.phase(f"accounts of {name}"):
            wanted = [account for account in self._accounts if account.cluster == name]
            self._populate(plane, wanted, spaces)
            # what the accounts may do is in roles that the API server makes last
            plane.await_ready(self._bring_up.over)
            rights.give_keys(plane, to_anybody=self._topology.clusters[name].publishes_keys, served=bool(served))
            if served:
                rights.await_reviews(plane, wanted)
        self._insist_on_version(name, plane.kube, version, served)

    def _plane(self, name: str, etcd: Artifact, server: Artifact) -> tuple[ControlPlane, int]:
        """Return a cluster of this rehearsal's, and how many others it has served: one of its own has served none."""
        spec = self._topology.clusters[name]
        if self._lender is None:
            there = self._work / f"cluster-{name}"
            return ControlPlane(name, there, self._ports[name], spec.issuers, spec.signing_algorithm), 0
        return self._lender.lend(name, etcd, server, spec.issuers, spec.signing_algorithm)

    def _as_wanted(self, plane: ControlPlane, server: Artifact) -> bool:
        """Is a cluster that others used as this rehearsal wants it? Otherwise it is to start over no data.

        Nobody is told before how it is reached, for of its issuers and its address configs are made.
        """
        spec = self._topology.clusters[plane.name]
        return plane.is_as_or_forgets(server.path, spec.issuers, spec.signing_algorithm)

    def _serving(
        self, plane: ControlPlane, etcd: Artifact, server: Artifact, empty: Callable[[], list[str]] | None
    ) -> list[str]:
        """Start a cluster, or *empty* one that others used. Returns the namespaces that are left."""
        if empty is not None:
            with self._journal.phase(f"cluster {plane.name} is emptied"):
                return empty()
        with self._journal.phase(f"cluster {plane.name} serves"), brought.steady(etcd, server):
            plane.start(self._owner, etcd.path, server.path, self._bring_up.over)
        return []

    def _empty_cluster(self, name: str, plane: ControlPlane, etcd: Artifact, server: Artifact) -> None:
        """Have a cluster that serves already hold this rehearsal's accounts and nobody else's."""
        spaces = self._serving(plane, etcd, server, plane.kube.reset if self._as_wanted(plane, server) else None)
        self._planes[name] = plane
        self._bring_up.tell()
        with self._journal.phase(f"accounts of {name}"):
            mine = [account for account in self._accounts if account.cluster == name]
            self._populate(plane, mine, spaces)
            # one that was started over has the roles of its own last
            plane.await_ready(self._bring_up.over)
            rights.give_keys(plane, to_anybody=self._topology.clusters[name].publishes_keys, served=True)
            rights.await_reviews(plane, mine)
        self._insist_on_version(name, plane.kube, self._topology.clusters[name].kubernetes)

    def _populate(self, plane: ControlPlane, wanted: Sequence[Account], there: Sequence[str] = ()) -> None:
        """Make the accounts that are *wanted*, and what they have; the namespaces *there* are there already."""
        ready: set[str] = set()
        uids: dict[tuple[str, str], str] = {}
        for account in wanted:
            self._bring_up.insist()
            if account.namespace not in ready:
                # not all of them first: each takes a tenth of a second, and Vault waits for the first account
                if account.namespace not in there:
                    plane.kube.create_namespace(account.namespace)
                ready.add(account.namespace)
                label(plane.kube, self._topology.clusters[plane.name], account.namespace)
            who = (account.namespace, account.name)
            if who not in uids:
                uids[who] = plane.kube.create_service_account(*who)
                if account.may_review_tokens:
                    plane.kube.allow_token_reviews(*who)
                beside_reviews(plane.kube, account)
            if account.on_demand:
                continue
            if account.long_lived:
                self._tokens.remember(account, plane.make_token_secret(account, uids[who]))
            elif account.podless:
                self._tokens.remember(account, requested(plane.kube, account))
            elif account.pod_gone:
                self._tokens.remember(account, *of_gone_pod(plane.kube, account))
            else:
                self._bound(plane, account)

    def _bound(self, plane: ControlPlane, account: Account) -> IssuedToken:
        """Create the account's Pod and give it the token that a kubelet would mount into it."""
        jwt, uid = of_new_pod(plane.kube, account)
        if pod := self._vaults.pods.get(account.purpose):
            pod.fill(plane.authority.ca, account.namespace, jwt)
        return self._tokens.remember(account, jwt, account.pod, uid)

    def _fill_secret(self, account: Account, uid: str) -> Secret:
        return self._planes[account.cluster].make_token_secret(account, uid)

    def _reissue(self, account: Account) -> None:
        plane = self._planes[account.cluster]
        if plane.kube.pod(account.namespace, account.pod) is not None:
            plane.kube.delete_pod(account.namespace, account.pod)
        self._bound(plane, account)

    def _move_pod(self, account: Account | None, purpose: str = "vault") -> None:
        """Replace Vault's Pod as a rollout does, by one of *account*: that of the old one, another, or None for none.

        *purpose* is that of its token. One of the same name gets a new token; the old one's dies.
        """
        was = self._homes.pop(purpose, None)
        old = self._tokens.of(purpose) if was is not None else None
        if was is not None and old is not None:
            self._planes[was.cluster].kube.delete_pod(was.namespace, old.pod)
        deleted = now()
        self._vaults.pods[purpose].empty()
        new = None
        if account is not None:
            self._homes[purpose] = account
            new = self._bound(self._planes[account.cluster], account)
        if old is not None:
            self._tokens.replaced(old, deleted, new.pod if new else "", new.pod_uid if new else "")
