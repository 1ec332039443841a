"""A Vault over a source state, in its Pod, that comes to serve beside the rehearsal before its own.

It has the account of that one's Pod, but another name and port: Vaults have two of each by turns. Most of what a Pod
takes is waiting, for a kubelet and for an election of Vault, and needs nothing of those who are asked meanwhile.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Final

from harness import wait
from harness.clients.kube_states import PodState
from harness.drivers.kept_vault import KeptVault
from harness.drivers.kind.cluster import KindCluster
from harness.drivers.kind.vault_pod import VaultPod
from harness.errors import HarnessError
from harness.knowledge import versions

_ACTIVE_SECONDS: Final = 60


class ReadyPod:
    """A Vault over a copy of a source state. It is made in a thread, and `ready` says whether it serves."""

    pod: PodState

    def __init__(
        self,
        kept: KeptVault[KindCluster],
        cluster: KindCluster,
        server: Callable[[], VaultPod],
        image: str,
        place: Path,
    ) -> None:
        """*cluster* is that of its Pod, by *place*, a directory of its own that is there. *server* is called for a
        Vault that was not started yet, in the place of one that has left, or will soon; its *image* is in the node.
        """
        self.kept, self.mark, self._image, self._place = kept, cluster.mark, image, place
        self._make_server, self._over = server, threading.Event()
        with_it = ThreadPoolExecutor(1, thread_name_prefix="ready-pod")
        self._made = with_it.submit(self._make)
        with_it.shutdown(wait=False)

    def ready(self) -> VaultPod | None:
        """Return it if it serves; waits until that is known. What kept it from that is met again by whoever begins."""
        return self._made.result()

    def end(self) -> None:
        """Take no further interest in it: it goes when its cluster is emptied, or removed, or by its own rehearsal."""
        self._over.set()
        self._made.exception()
        shutil.rmtree(self._place, ignore_errors=True)

    def _make(self) -> VaultPod | None:
        with self.kept.secrets.open():
            server = None
            try:
                server = self._make_server()
                self._serve(server)
            except (HarnessError, OSError):
                if server is not None:
                    with suppress(HarnessError):
                        server.leave_at_once()
                return None
        return server

    def _serve(self, server: VaultPod) -> None:
        kept = self.kept
        if not kept.topology.vault.tls:
            server.listen_plainly()
        server.begin_with(kept.data, kept.root)
        server.take_place()
        self.pod = server.roll_out(kept.serving.version, self._image, token_file=kept.serving.token_file)
        for key in kept.source.keys[kept.serving.vault]:
            server.client.unseal(key)
        wait.until(
            lambda: server.client.health().status == 200,
            what=f"a {versions.called(kept.serving.version)} that is made ready to be active",
            seconds=_ACTIVE_SECONDS,
            died=lambda: "nobody waits for it any more" if self._over.is_set() else server.died(),
        )
