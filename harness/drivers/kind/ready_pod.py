"""A Vault in its Pod that comes to serve beside the rehearsal before its own: over a source state, or new.

It has the account of its own rehearsal's Pod, but another name and port than the Pod before it: Vaults have two of each
by turns. Most of what a Pod takes is waiting, for a kubelet and for elections of Vault, and needs nothing of those who
are asked meanwhile.
"""

from __future__ import annotations

import abc
import shutil
import threading
from collections.abc import Callable, Sequence
from concurrent import futures
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from harness import wait
from harness.artifacts.images import Image
from harness.clients.kube_emptying import Spared
from harness.clients.kube_states import PodState
from harness.drivers import new_vault
from harness.drivers.kept_vault import KeptVault
from harness.drivers.kind.cluster import KindCluster
from harness.drivers.kind.vault_pod import VaultPod
from harness.drivers.service_accounts import Account
from harness.errors import HarnessError, RigError
from harness.knowledge import versions
from harness.scenario.course import Serve
from harness.scenario.plan import Plan
from harness.scenario.topology import Topology
from harness.secret import Secret, Secrets

_ACTIVE_SECONDS: Final = 60
_LOOK_SECONDS: Final = 0.1


class PodAhead(abc.ABC):
    """A Vault in a Pod of its own. It is made in a thread, and `ready` says whether it serves."""

    pod: PodState
    secrets: Secrets
    """all that is known of what is made here"""

    def __init__(
        self,
        topology: Topology,
        served: Serve,
        cluster: KindCluster,
        server: Callable[[], VaultPod],
        image: str,
        place: Path,
    ) -> None:
        """Of *topology* Vault is made, and of *served* how it is started. *cluster* is that of its Pod, by *place*, a
        directory of its own that is there. *server* is called for a Vault that was not started yet, in the place of one
        that has left, or will soon; its *image* is in the node.
        """
        self.mark, self._image, self._place = cluster.mark, image, place
        self._topology, self._served = topology, served
        self._make_server, self._over = server, threading.Event()
        with_it = ThreadPoolExecutor(1, thread_name_prefix="ready-pod")
        self._made = with_it.submit(self._make)
        with_it.shutdown(wait=False)

    def ready(self, over: threading.Event | None = None) -> VaultPod | None:
        """Return it if it serves; waits until that is known, or *over* that somebody waits. What kept it from that is
        met again by whoever begins.
        """
        while over is not None and not over.is_set() and not futures.wait([self._made], _LOOK_SECONDS).done:
            pass
        if over is not None and over.is_set():
            raise RigError("the run is over")
        return self._made.result()

    def end(self) -> None:
        """Take no further interest in it: it goes when its cluster is emptied, or removed, or by its own rehearsal."""
        self._over.set()
        self._made.exception()
        shutil.rmtree(self._place, ignore_errors=True)

    def _make(self) -> VaultPod | None:
        with self.secrets.open():
            server = None
            try:
                server = self._make_server()
                server.unwanted = self._over
                self._serve(server)
            except (HarnessError, OSError):
                if server is not None:
                    with suppress(HarnessError):
                        server.leave_at_once()
                return None
        return server

    def _serve(self, server: VaultPod) -> None:
        if not self._topology.vault.tls:
            server.listen_plainly()
        self._prepare(server)
        server.take_place()
        self.pod = server.roll_out(self._served.version, self._image, token_file=self._served.token_file)
        for key in self._keys(server):
            server.client.unseal(key)
        wait.until(
            lambda: server.client.health().status == 200,
            what=f"a {versions.called(self._served.version)} that is made ready to be active",
            seconds=_ACTIVE_SECONDS,
            died=server.given_up,
        )

    @abc.abstractmethod
    def _prepare(self, server: VaultPod) -> None:
        """Have its data be there, if it is to have any."""

    @abc.abstractmethod
    def _keys(self, server: VaultPod) -> Sequence[Secret]:
        """Return the keys that unseal it."""


class ReadyPod(PodAhead):
    """A Vault over a copy of a source state."""

    def __init__(
        self,
        kept: KeptVault[KindCluster],
        cluster: KindCluster,
        server: Callable[[], VaultPod],
        image: str,
        place: Path,
    ) -> None:
        """See `PodAhead`."""
        self.kept, self.secrets = kept, kept.secrets
        super().__init__(kept.topology, kept.serving, cluster, server, image, place)

    def _prepare(self, server: VaultPod) -> None:
        server.begin_with(self.kept.data, self.kept.root)

    def _keys(self, server: VaultPod) -> Sequence[Secret]:
        del server
        return self.kept.source.keys[self._served.vault]


class NewPod(PodAhead):
    """A Vault over no data of before, initialised and unsealed, for a rehearsal that begins from nothing."""

    def __init__(
        self,
        plan: Plan,
        home: Account,
        cluster: KindCluster,
        server: Callable[[], VaultPod],
        image: Image,
        place: Path,
    ) -> None:
        """As the rehearsal of *plan* would begin with it; *home* is the account of its Pod. Else see `PodAhead`."""
        self.fit, self._home = fit(plan, home, image), home
        self.keys: Sequence[Secret] = ()
        self.secrets = Secrets()
        super().__init__(plan.resolved, new_vault.first(plan), cluster, server, image.name, place)

    def spared(self, server: VaultPod) -> Spared:
        """Return what of it stays in its cluster when that is emptied. *server* is what is `ready`."""
        home, pod = self._home, self.pod.name
        return Spared(home.namespace, home.name, server.name, pod, server.folder, self.mark)

    def end(self) -> None:
        """Take no further interest in it."""
        try:
            super().end()
        finally:
            self.secrets.forget()

    def _prepare(self, server: VaultPod) -> None:
        """Do nothing: it has none."""

    def _keys(self, server: VaultPod) -> Sequence[Secret]:
        vault = self._topology.vault
        self.keys = server.client.initialise(vault.shares, vault.threshold)
        return self.keys


def fit(plan: Plan, home: Account, image: Image) -> bytes:
    """Return what has to be the same of two plans if a new Vault may serve either; nothing where it may serve none."""
    same = new_vault.fit(plan, image.id, has_pod=True)
    # its token is of the issuer that its cluster has by then
    place = [home.cluster, home.namespace, home.name, plan.resolved.clusters[home.cluster]]
    return same and same + msgspec.json.encode(place, order="deterministic")
