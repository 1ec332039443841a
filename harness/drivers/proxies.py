"""Proxies between Vault and API servers: servers of a rehearsal's own, each started when a config first names it."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from harness import settings, wait
from harness.errors import RigError
from harness.host import pki, proxy
from harness.host.ports import Ports
from harness.host.process import Process, Supervisor
from harness.rig.rig import ClusterFacts, Endpoint
from harness.scenario import endpoints

READY_SECONDS: Final = 30


class Proxies:
    """The proxies of one rehearsal. The supervisor ends them."""

    def __init__(
        self, work: Path, supervisor: Supervisor, ports: Ports, address: Callable[[str], str] = lambda _: "127.0.0.1"
    ) -> None:
        """Each has a folder of its own in *work*, and listens where Vault reaches it: the *address* for a cluster."""
        self._work, self._supervisor, self._ports, self._address = work, supervisor, ports, address
        self._there: dict[tuple[str, str], tuple[Endpoint, Process]] = {}

    def endpoint(self, cluster: ClusterFacts, word: str) -> Endpoint:
        """Return the proxy that a *word* stands for before the API server of *cluster*, started if it is not there.

        Raises RigError for a word that stands for none, ProcessDied with its last lines where it would not start, or
        NotReady.
        """
        found = self._there.get((cluster.name, word))
        if found is None:
            found = self._there[cluster.name, word] = self._start(cluster, word)
        return found[0]

    def trust(self, cluster: ClusterFacts) -> None:
        """Have the proxies before *cluster* trust its API server, which has another authority now."""
        for name, word in self._there:
            if name == cluster.name:
                pki.write_private(self._work / f"{word}-{name}" / "upstream.crt", cluster.ca.encode())

    def died(self) -> str | None:
        """Return a sentence if one of them has ended."""
        servers = [server for _, server in self._there.values()]
        return next((sentence for server in servers if (sentence := server.died())), None)

    def _start(self, cluster: ClusterFacts, word: str) -> tuple[Endpoint, Process]:
        answering = endpoints.proxy(word)
        if answering is None:
            raise RigError(f"{word} stands for no proxy; there are {', '.join(endpoints.WORDS)}")
        (port,), folder = self._ports.take(1), self._work / f"{word}-{cluster.name}"
        address, who = self._address(cluster.name), f"{word} before {cluster.name}"
        folder.mkdir(mode=0o700)
        keys = pki.Authority(folder, address)
        pki.write_private(folder / "upstream.crt", cluster.ca.encode())
        program = [sys.executable, "-I", "-S", "-E", "-B", str(Path(proxy.__file__))]
        files = [str(path.absolute()) for path in (keys.certificate, keys.key)]
        server = self._supervisor.start(
            who,
            [*program, answering, address, str(port), *files, cluster.host, str((folder / "upstream.crt").absolute())],
            env=settings.for_python(),
            cwd=folder,
            log=folder / "proxy.log",
        )
        wait.until(
            lambda: _listens(address, port),
            what=f"{who} to listen at {address}:{port}",
            seconds=READY_SECONDS,
            died=server.died,
            log=server.tail,
            every=0.02,
        )
        return Endpoint(f"https://{address}:{port}", keys.ca.read_text()), server


def _listens(address: str, port: int) -> bool:
    try:
        socket.create_connection((address, port), timeout=1).close()
    except OSError:
        return False
    return True
