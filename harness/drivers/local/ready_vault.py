"""A Vault over a source state that serves before the rehearsal that gets it begins.

Most of what such a rehearsal takes is waiting for an election of its Vault, which needs no cluster. So that goes on
beside the rehearsal before it: in a run of its own, on ports of its own, over a copy of its own.
"""

from __future__ import annotations

import secrets as random
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from harness import wait
from harness.drivers.kept_vault import KeptVault
from harness.drivers.local.control_plane import ControlPlane
from harness.drivers.local.vault_nodes import VAULT_BYTES, Binaries, VaultNodes
from harness.errors import HarnessError
from harness.host import own_run
from harness.host.ports import Ports
from harness.host.process import Supervisor

_ACTIVE_SECONDS: Final = 60


class ReadyVault:
    """What a rehearsal over a source state has for itself alone. It is made in a thread; the rehearsal enters it.

    All of it is there once `ready` has said so. It ends with the ``with`` block, or with `end` where nobody entered it.
    """

    ports: Ports
    supervisor: Supervisor
    vaults: VaultNodes

    def __init__(self, kept: KeptVault[ControlPlane], binaries: Binaries, work: Path, state: Path) -> None:
        """Its own directory is made in *work*; *state* holds locks and lists."""
        self.taken = False
        """has a rehearsal entered it?"""
        self.kept, self._binaries, self._work, self._state = kept, binaries, work, state
        self._held, self._over = ExitStack(), threading.Event()
        with_it = ThreadPoolExecutor(1, thread_name_prefix="ready-vault")
        self._made = with_it.submit(self._make)
        with_it.shutdown(wait=False)

    def ready(self) -> bool:
        """Does it serve? Waits until that is known. What kept it from that is met again by whoever does it anew."""
        return self._made.result()

    def __enter__(self) -> Self:
        self.taken = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end(error)

    def end(self, error: BaseException | None = None) -> None:
        """End it, whatever has become of it. Raises LeftBehind; because of an *error* that has a note instead."""
        self._over.set()
        if not self._made.done() and hasattr(self, "supervisor"):
            # with its server gone no answer is waited for any more
            self.supervisor.halt()
        self._made.exception()
        self._held.__exit__(type(error) if error is not None else None, error, None)

    def _make(self) -> bool:
        with self.kept.secrets.open():
            try:
                self._serve()
            except (HarnessError, OSError):
                return False
        return True

    def _serve(self) -> None:
        kept, served = self.kept, self.kept.serving
        run = f"source-{random.token_hex(6)}"
        self.ports, self.supervisor, _ = own_run.begin(self._held, run, self._work, self._state, VAULT_BYTES)
        self.vaults = VaultNodes(self.supervisor.room, kept.topology, self.ports, self.supervisor, self._binaries)
        home = kept.topology.vault.cluster
        self.vaults.begin_with(Path(kept.data), kept.root)
        self.vaults.start(served, kept.planes[home].port if home else 0)
        for key in kept.source.keys[served.vault]:
            self.vaults.first.client.unseal(key)
        wait.until(
            lambda: self.vaults.first.client.health().status == 200,
            what=f"a Vault {served.version} over the source state to be active",
            seconds=_ACTIVE_SECONDS,
            died=lambda: "nobody waits for it any more" if self._over.is_set() else self.vaults.first.died(),
        )
