"""A rig of processes that may have what others had before: their clusters, and the source state of their Vault."""

from __future__ import annotations

import abc
import shutil
from collections.abc import Mapping, MutableMapping, Sequence
from functools import partial
from pathlib import Path

from harness.drivers.kept_vault import KeptVault
from harness.drivers.local.control_plane import ControlPlane
from harness.drivers.local.ready_vault import NewVault
from harness.drivers.local.shared_clusters import SharedClusters
from harness.drivers.local.vault_nodes import VaultNodes
from harness.drivers.local.vault_process import VaultServer
from harness.drivers.service_accounts import Account
from harness.drivers.sharing_rig import SharingRig
from harness.record import events
from harness.rig.source import Source
from harness.scenario.course import Serve
from harness.scenario.plan import Plan
from harness.secret import Secret
from harness.wait import Stopwatch


class LocalSharing(SharingRig[ControlPlane]):
    """What one rig of processes takes from those before it, and leaves to those after it."""

    _server: VaultServer
    _vaults: VaultNodes
    _planes: MutableMapping[str, ControlPlane]
    _kubernetes: MutableMapping[str, str]
    _ports: MutableMapping[str, int]
    _lender: SharedClusters | None = None
    _served: Mapping[str, int] = {}
    keys_made: Sequence[Secret] = ()

    def have_new(self, new: NewVault | None) -> None:
        """Take note that its Vault is *new*, which serves already; None: it is still to be made."""
        if new is None:
            return
        new.secrets.hand_on(self._journal.secrets)
        self._journal.write(events.SourceState(ready=True))
        self.keys_made = new.keys

    def _begin_anew(self, served: Serve) -> None:
        """Start a Vault over no data, unless there is one."""
        if self.keys_made:
            self._first, self._answering = served, Stopwatch()
        else:
            self.begin(served)

    def borrow_from(self, clusters: SharedClusters, shared: Plan | None = None) -> None:
        """Have the clusters of this rehearsal be some that others had before, each emptied.

        *shared* is its plan, if its source state is for others as well.
        """
        self._lender = clusters
        if shared is not None:
            self.share(shared)

    def give_back(self) -> None:
        """Let others have the clusters that were lent."""
        for name in self._planes:
            if self._lender is not None:
                self._lender.take_back(name)

    def keep_source(self, source: Source, served: Serve) -> bool:
        """Keep *source* with a copy of Vault's data. Over raft, whose files bear a power cut, Vault only stands still
        meanwhile, and needs no election after it; over plain files it is stopped and started again.
        """
        assert self._lender is not None
        data = self._lender.room()
        serves_on = self._topology.vault.storage == "raft"
        if not serves_on:
            self._server.stop()
        drop = partial(shutil.rmtree, data, ignore_errors=True)
        try:
            if serves_on:
                self._server.copy_data_as_it_runs(data)
            else:
                self._server.copy_data(data)
        except OSError:
            drop()
            self._shared = None
        else:
            home = self._home
            own = {home.cluster: frozenset({("pods", home.namespace, home.pod)})} if home is not None else {}
            kept = self._state(source, served, self._planes, data=str(data), drop=drop, own=own, home=home)
            self._lender.keep(kept)
            self._expect_another(kept)
        if not serves_on:
            self._start_vault(served)
        return not serves_on

    def _expect_another(self, kept: KeptVault[ControlPlane]) -> None:
        """Have a Vault for the rehearsal after this one come to serve meanwhile, where that disturbs nobody."""
        assert self._lender is not None
        if kept.waits_for_nobody:
            self._lender.make_ready(kept, self._vaults.binaries)

    def begin_from(self, kept: KeptVault[ControlPlane], *, ready: bool) -> None:
        """Start Vault over a copy of what was kept, in the clusters as they are; or is it *ready* already?

        Its Pod is a new one. Returns when it answers.
        """
        assert self._lender is not None
        more = self.wants_source
        self._begin_from(kept, ready=ready)
        self._served = self._lender.lend_as_they_are(kept)
        for name, plane in kept.planes.items():
            self._planes[name], self._ports[name] = plane, plane.port
            plane.pass_over()
        self._bring_up.begin(self._topology.clusters, self._take_cluster)
        if kept.home is not None:
            self._move_pod(kept.home)
        if not ready:
            self._vaults.begin_with(Path(kept.data), kept.root)
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

    @abc.abstractmethod
    def begin(self, served: Serve) -> None:
        """Start a Vault over no data."""
