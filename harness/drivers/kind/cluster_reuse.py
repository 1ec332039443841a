"""Clusters that a run has left up are lent to further rehearsals, one at a time."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Final

import msgspec

from harness.errors import MissingPrerequisite
from harness.host import pki, run_traces
from harness.scenario.topology import Topology
from harness.wait import now

_FILE: Final = "lent.json"
_LOCK: Final = "lent.lock"
_LONGEST_RUN_SECONDS: Final = 15 * 60
"""Clusters that end sooner are not lent: they would be taken away in the middle of a rehearsal."""


class ReusableCluster(msgspec.Struct, frozen=True):
    """One cluster of a run that was kept. It holds no secret: those are in files of its *directory*."""

    kubernetes: str
    nodes: int
    cluster: str
    """what kind calls it"""
    directory: str
    port: int


class ReusableClusters(msgspec.Struct, frozen=True):
    """What a kept run has to lend."""

    run: str
    network: str
    vault_ports: Mapping[str, tuple[int, ...]]
    """of each cluster that is made for a Pod of Vault's: at which on this machine Vaults in it answer, as `VAULT_PORTS`
    has them"""
    clusters: Mapping[str, ReusableCluster]
    until: float
    """the date at which it ends"""


def offer(work: Path, reusable: ReusableClusters) -> None:
    """Say in the work directory of a run that is about to be kept what it has to lend."""
    pki.write_private(work / _FILE, msgspec.json.encode(reusable))


def fitting(registry: Path, wanted: Topology) -> AbstractContextManager[ReusableClusters]:
    """Return what lends clusters as a topology wants them, as `borrowed` does."""
    clusters = {name: (cluster.kubernetes, cluster.nodes) for name, cluster in wanted.clusters.items()}
    return borrowed(registry, clusters, wanted.vault.homes)


@contextmanager
def borrowed(
    registry: Path, clusters: Mapping[str, tuple[str, int]], homes: Collection[str]
) -> Iterator[ReusableClusters]:
    """Yield what the newest fitting run lends, until the end of the block: nobody else gets it meanwhile.

    *clusters* are the wanted ones, version and nodes by name; *homes* are those that Vault is to be in. Raises
    MissingPrerequisite, saying of every kept run why it will not do.
    """
    from filelock import FileLock, Timeout

    reasons = []
    for reusable in _offers(registry):
        if reason := _unfit(reusable, clusters, homes):
            reasons.append(f"{reusable.run}: {reason}")
            continue
        lock = FileLock(Path(next(iter(reusable.clusters.values())).directory).parent / _LOCK, blocking=False)
        try:
            lock.acquire()
        except Timeout:
            reasons.append(f"{reusable.run}: another rehearsal is using it")
            continue
        except OSError as error:
            reasons.append(f"{reusable.run}: it cannot be used any more ({error})")
            continue
        try:
            yield reusable
        finally:
            lock.release(force=True)
        return
    known = "; ".join(reasons) or "no run with clusters was kept on this machine"
    raise MissingPrerequisite(
        f"there are no clusters to use again: {known}. `rehearse run SCENARIO --driver kind --keep` leaves some up"
    )


def _offers(registry: Path) -> list[ReusableClusters]:
    """Return what there is to lend of every run that was kept and is alive, the newest first."""
    found = [offered for entry in registry.glob("*.json") if (offered := _offered(entry))]
    return [reusable for _, reusable in sorted(found, key=lambda each: each[0], reverse=True)]


def _offered(entry: Path) -> tuple[float, ReusableClusters] | None:
    """Return what the run with this registry entry has to lend, and since when it is there."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        known = json.loads(entry.read_text())
        keeper = known["supervisor"]
        if run_traces.identity(keeper["pid"]) == keeper:
            reusable = msgspec.json.decode((Path(known["work"]) / _FILE).read_bytes(), type=ReusableClusters)
            return float(known["created"]), reusable
    return None


def _unfit(reusable: ReusableClusters, clusters: Mapping[str, tuple[str, int]], homes: Collection[str]) -> str:
    has = {name: (one.kubernetes, one.nodes) for name, one in reusable.clusters.items()}
    if has != dict(clusters):
        return f"it has the clusters {_named(has)}, and the scenario wants {_named(clusters)}"
    if missing := [home for home in homes if home not in reusable.vault_ports]:
        return (
            f"its Vault is in {' and '.join(reusable.vault_ports) or 'no cluster'}, and the scenario's in {missing[0]}"
        )
    if reusable.until - now() < _LONGEST_RUN_SECONDS:
        return f"it ends in {max(0, reusable.until - now()) / 60:.0f} minutes"
    return ""


def _named(clusters: Mapping[str, tuple[str, int]]) -> str:
    return ", ".join(f"{name} ({version}, nodes: {nodes})" for name, (version, nodes) in sorted(clusters.items()))
