"""A rig of processes that may have what others had before: their clusters, and the source state of their Vault."""

from __future__ import annotations

import abc
import shutil
from collections.abc import Mapping, MutableMapping
from pathlib import Path

from harness.drivers.local.control_plane import ControlPlane
from harness.drivers.local.kept_vault import KeptVault, inventory
from harness.drivers.local.shared_clusters import SharedClusters
from harness.drivers.local.vault_nodes import VaultNodes
from harness.drivers.local.vault_process import VaultServer
from harness.drivers.real_rig import RealRig
from harness.drivers.service_accounts import Account
from harness.record import events
from harness.record.journal import Journal
from harness.rig.source import Source
from harness.scenario import shared_source
from harness.scenario.course import Serve
from harness.scenario.plan import Plan
from harness.secret import Secrets
from harness.wait import now


def kept_for(plan: Plan, clusters: SharedClusters, journal: Journal) -> KeptVault | None:
    """Return the source state that *plan* may begin from, if one is kept.

    Why there is none, or why it is no good, is put on record where somebody agrees with it.
    """
    why = shared_source.why_not(plan)
    kept, spoiled = (None, "") if why else clusters.kept(shared_source.key(plan))
    if why or spoiled:
        journal.write(events.SourceState(why_not=why or spoiled))
    return kept


class SharingRig(RealRig):
    """What one rig of processes takes from those before it, and leaves to those after it."""

    _server: VaultServer
    _vaults: VaultNodes
    _planes: MutableMapping[str, ControlPlane]
    _kubernetes: MutableMapping[str, str]
    _ports: MutableMapping[str, int]
    _run_id: str
    _first: Serve
    _lender: SharedClusters | None = None
    _shared: Plan | None = None
    """the plan whose source state is to be kept; None: it is not"""
    _begun: KeptVault | None = None
    _served: Mapping[str, int] = {}

    def borrow_from(self, clusters: SharedClusters, shared: Plan | None = None) -> None:
        """Have the clusters of this rehearsal be some that others had before, each emptied.

        *shared* is its plan, if its source state is for others as well: unless it may not be, it is kept for them.
        """
        self._lender = clusters
        if shared is not None and not shared_source.why_not(shared):
            self._shared = shared

    def give_back(self) -> None:
        """Let others have the clusters that were lent."""
        for name in self._planes:
            if self._lender is not None:
                self._lender.take_back(name)

    @property
    def begun_from(self) -> Source | None:
        """Return the source state that Vault was started over; None: over nothing."""
        return self._begun.source if self._begun is not None else None

    @property
    def wants_source(self) -> bool:
        """Is the source state to be kept for later rehearsals?"""
        return self._shared is not None

    def keep_source(self, source: Source, served: Serve) -> None:
        """Keep *source* with a copy of Vault's data, for which Vault is stopped and started again.

        Where there is no room for the copy nothing is kept: that is no reason to end this rehearsal.
        """
        assert self._lender is not None
        assert self._shared is not None
        shared, self._shared = self._shared, None
        data = self._lender.room()
        self._server.stop()
        try:
            self._server.copy_data(data)
        except OSError:
            shutil.rmtree(data, ignore_errors=True)
        else:
            kept = self._kept(shared, source, served, data)
            self._lender.keep(kept)
            self._expect_another(kept)
        self._start_vault(served)

    def _expect_another(self, kept: KeptVault) -> None:
        """Have a Vault for the rehearsal after this one come to serve meanwhile, where that disturbs nobody."""
        assert self._lender is not None
        if kept.waits_for_nobody:
            self._lender.make_ready(kept, self._vaults.binaries)

    def _kept(self, shared: Plan, source: Source, served: Serve, data: Path) -> KeptVault:
        secrets = Secrets()
        self._journal.secrets.hand_on(secrets)
        return KeptVault(
            key=shared_source.key(shared),
            run=self._run_id,
            made=now(),
            good_seconds=shared_source.good_seconds(shared),
            waits_for_nobody=shared_source.waits_for_nobody(shared),
            source=source,
            topology=self._topology,
            serving=served,
            data=data,
            root=self._server.client.root,
            tokens=self._tokens.held,
            planes=dict(self._planes),
            there={name: inventory(plane, self._home) for name, plane in self._planes.items()},
            home=self._home,
            secrets=secrets,
        )

    def begin_from(self, kept: KeptVault, *, ready: bool) -> None:
        """Start Vault over a copy of what was kept, in the clusters as they are; or is it *ready* already?

        Its Pod is a new one. Returns when it answers.
        """
        assert self._lender is not None
        more = self._shared is not None
        self._begun, self._shared, self._first = kept, None, kept.serving
        kept.tell(self._journal, ready=ready)
        self._tokens.take_over(kept.tokens)
        self._served = self._lender.lend_as_they_are(kept)
        for name, plane in kept.planes.items():
            self._planes[name], self._ports[name] = plane, plane.port
            plane.pass_over()
        self._bring_up.begin(self._topology.clusters, self._take_cluster)
        if kept.home is not None:
            self._move_pod(kept.home)
        if not ready:
            self._vaults.begin_with(kept.data, kept.root)
            self._start_vault(kept.serving)
        if more:
            self._expect_another(kept)

    def _take_cluster(self, name: str) -> None:
        """Have a cluster as the rehearsal before this one left it."""
        self._insist_on_version(name, self._planes[name].kube, self._kubernetes[name], self._served[name])

    @property
    @abc.abstractmethod
    def _home(self) -> Account | None:
        """Return the account of Vault's Pod, where it has one."""

    @abc.abstractmethod
    def _move_pod(self, account: Account | None, purpose: str = "vault") -> None:
        """Replace Vault's Pod as a rollout does, by one of *account*; its token is for a *purpose*."""

    @abc.abstractmethod
    def _start_vault(self, served: Serve) -> None:
        """Start the version of *served* over the data of Vault, and return when it answers."""
