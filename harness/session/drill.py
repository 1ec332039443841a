"""A snapshot of somebody's own Vault is restored and taken through an upgrade, where it reaches nobody.

Hands only: what it means is `analysis.drills`. Nothing here prints, exits or reads the environment.
"""

from __future__ import annotations

import re
import secrets as random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from harness import wait
from harness.analysis.drills import COUNTED, Drill, Opened
from harness.artifacts import brought
from harness.artifacts.binaries import Artifact
from harness.drivers.local.vault_process import VaultServer
from harness.errors import NotReady, ProcessDied, SwapRefused
from harness.host import closed_network, own_run
from harness.host.process import Supervisor
from harness.knowledge import versions
from harness.scenario import driver_traits
from harness.secret import Secret
from harness.session.one_rehearsal import Places
from harness.wait import Stopwatch

ACTIVE_SECONDS: Final = 600
"""How long a version is given to become active over the snapshot: a large one has many leases to read."""

_NOT_ACTIVE: Final = "post-unseal setup failed"
_TIMES: Final = 2
_ERROR: Final = re.compile(r'"@level":"error".*"error":"((?:[^"\\]|\\.)*)"')

_REACHED_OUT: Final = re.compile(r"dial (?:tcp|udp|unix) ([^\s,]+?):? |lookup ([^\s,]+?)(?: on |:)")
"""What Vault's log has of a connection that it tried to make."""


def wanted(path: Sequence[str]) -> list[tuple[str, str]]:
    """Return the binaries that a drill over these versions needs."""
    return [driver_traits.server("vault", version) for version in path]


def drill(
    snapshot: Path,
    path: Sequence[str],
    keys: Sequence[Secret],
    binaries: Sequence[Artifact],
    places: Places,
    tell: Callable[[str], None] = lambda _line: None,
) -> Drill:
    """Restore *snapshot* into a new Vault of the first version of *path*, and take it on version by version.

    *keys* are as many of the snapshot's unseal keys as its threshold wants. Everything is in a directory of its own
    that is gone afterwards. Raises RigError or MissingPrerequisite where nothing could be learned; what Vault made of
    the snapshot is in what is returned.
    """
    opened: list[Opened] = []
    refused = ""
    with ExitStack() as stack:
        run = f"drill-{random.token_hex(4)}"
        ports, supervisor, _ = own_run.begin(stack, run, places.temporary, places.state)
        port, cluster_port = ports.take(2)
        server = VaultServer(supervisor.room / "vault", storage="raft", port=port, cluster_port=cluster_port)
        try:
            with _said(tell, f"the snapshot is restored into a new {versions.called(path[0])}"):
                _start(server, supervisor, binaries[0], path[0])
                server.client.begin_new(1, 1, server.died)
                server.client.restore_snapshot_of_another(snapshot, server.died)
            for version, binary in zip(path, binaries, strict=True):
                with _said(tell, f"{versions.called(version)} is opened over it"):
                    opened.append(_open(server, supervisor, binary, version, keys))
        except (SwapRefused, ProcessDied, NotReady) as error:
            refused = str(error)
        log = "\n".join(server.log.everything())
    return Drill(
        path=tuple(path),
        snapshot=snapshot.name,
        bytes=snapshot.stat().st_size,
        opened=tuple(opened),
        refused=refused,
        refused_at="" if not refused else path[len(opened)],
        reached_out=dict(Counter(one or other for one, other in _REACHED_OUT.findall(log)).most_common(20)),
        way_out=closed_network.way_out(),
        artifacts={f"vault-{binary.version}": binary.sha256 for binary in binaries},
    )


def _start(server: VaultServer, supervisor: Supervisor, binary: Artifact, version: str) -> None:
    with brought.steady(binary):
        server.start(supervisor, binary.path, version, apart=True)


def _open(
    server: VaultServer, supervisor: Supervisor, binary: Artifact, version: str, keys: Sequence[Secret]
) -> Opened:
    """Start *version* over the data, unseal it, and count what is there."""
    # the first one as well: until its next start it goes by its own number of keys, and not by the snapshot's
    server.stop()
    _start(server, supervisor, binary, version)
    watch, vault = Stopwatch(), server.client
    for key in keys:
        reply = vault.unseal(key).answered()
        if not reply.ok:
            raise SwapRefused(f"{versions.called(version)} declined an unseal key: HTTP {reply.status} {reply.error}")
        if reply.data.get("sealed") is False:
            break
    else:
        told = vault.seal_status().answered().data
        raise SwapRefused(
            f"{versions.called(version)} took {len(keys)} unseal keys and is sealed still: it wants {told.get('t')} of "
            f"{told.get('n')}; are they those of the Vault whose snapshot it is?"
        )
    wait.until(
        lambda: vault.health().status == 200 or _gave_up(server, version),
        what=f"{versions.called(version)} to be active over the snapshot",
        seconds=ACTIVE_SECONDS,
        died=server.died,
        log=server.tail,
    )
    seconds = round(watch.seconds, 3)
    no_root = vault.make_root(keys)
    counts = {} if no_root else {name: vault.count(path) for name, path in COUNTED.items()}
    health = vault.health().answered()
    return Opened(
        version=version,
        answered=str(health.data.get("version", "")),
        seconds=seconds,
        counts={name: number for name, number in counts.items() if number is not None},
        not_counted=no_root or ", ".join(name for name, number in counts.items() if number is None),
    )


def _gave_up(server: VaultServer, version: str) -> bool:
    """Raise SwapRefused where the Vault that was unsealed says again and again why it is not active; else return no."""
    tail = server.tail(200)
    if sum(_NOT_ACTIVE in line for line in tail) < _TIMES:
        return False
    errors = dict.fromkeys(_ERROR.findall("\n".join(tail)))
    raise SwapRefused(
        f"{versions.called(version)} was unsealed and does not become active, as it says again and again: "
        f"{'; '.join(errors)}"
    )


@contextmanager
def _said(tell: Callable[[str], None], what: str) -> Iterator[None]:
    watch = Stopwatch()
    yield
    tell(f"{watch.seconds:8.1f} s  {what}")
