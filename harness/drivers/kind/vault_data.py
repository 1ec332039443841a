"""Vault's data on kind, as an engine has them: in a volume of their own, or in that of a cluster's node."""

from __future__ import annotations

from typing import Final

from harness import wait
from harness.clients.engine_things import Thing
from harness.drivers.kind.cluster import Where, Workbench
from harness.errors import RigError

EMPTY: Final = 'set -eu; find "$1" -mindepth 1 -delete'
"""A shell script after which the folder $1 holds nothing: a Pod may have mounted the folder itself."""

COPY: Final = 'set -eu; mkdir -p "$2"; find "$2" -mindepth 1 -delete; cp -a "$1/." "$2"'
"""A shell script that makes the folder $2 hold what $1 holds, and nothing else."""

_COPY_SECONDS: Final = 60


def copy(bench: Workbench, shell: str, source: Where, target: Where) -> int:
    """Have *target*, in another volume, hold what *source* holds, and nothing else; return how many bytes that is.

    *shell* is an image with the programs of a system. Raises RigError with what they said where they fail.
    """
    engine = bench.engine
    copier = engine.start(
        shell,
        [f"{COPY}; du -sb $2", "sh", f"/from/{source.folder}", f"/to/{target.folder}"],
        entrypoint=["sh", "-c"],
        name=f"{bench.name}-copy",
        labels=dict(bench.labels),
        volumes={source.volume: {"bind": "/from", "mode": "ro"}, target.volume: {"bind": "/to", "mode": "rw"}},
        network_mode="none",
    )
    ended = wait.until(
        lambda: engine.ended(copier), what="a copy of Vault's data to be made", seconds=_COPY_SECONDS, every=0.05
    )
    said = engine.logs(copier, "all")
    engine.remove(Thing("container", copier, copier, {}))
    if not ended.endswith("status 0"):
        raise RigError(f"Vault's data could not be copied: {ended}; make room on the engine and run again", said)
    return int(said[-1].split()[0])
