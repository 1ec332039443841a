"""The outage on kind clusters: against the same by hand, against what clusters and rollouts cost, and used again."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from statistics import median

import msgspec

from harness import settings
from harness.artifacts.images import NODE, VAULT, Images
from harness.artifacts.store import Sources, Store
from harness.clients import container_engine
from harness.record import journal
from harness.record.events import MomentBegan, PhaseEnded, RunEnded
from harness.scenario import driver_traits
from harness.wait import now
from tests.bench.commands import HERE, OUTAGE, SCENARIOS, World

_KUBERNETES = "1.32.0"
_VAULTS = ("1.4.0", "1.7.0", "1.11.0")
(_REMEDY,) = (path for path in SCENARIOS if path.name.startswith("disable-local-ca-jwt-"))
"""The outage's topology, with one version of Vault before the first question."""


class Figures(msgspec.Struct):
    """What was seen; all lists are in the order of the pairs, times in seconds."""

    ours: list[float]
    hand: list[float]
    one_cluster: list[float]
    """the creation of one kind cluster, by kind alone"""
    rollouts: list[float]
    """all rollouts of Vault in one of our runs"""
    ends: list[float]
    """from the last log that was kept to the end of everything"""
    again: list[float]
    """from the start of a command with --reuse to its first question, with one rollout of Vault before that"""
    again_after_two: list[float]
    """the same of the outage, which has two"""
    phases: dict[str, list[float]]

    @property
    def against_hand(self) -> list[float]:
        """Return our share of the hand script's time, pair by pair."""
        return [mine / its for mine, its in zip(self.ours, self.hand, strict=True)]

    @property
    def against_floor(self) -> float:
        """Return our time in units of one and a half kind clusters and the rollouts."""
        return median(self.ours) / (1.5 * median(self.one_cluster) + median(self.rollouts))


def measure(world: World, pairs: int, tell: Callable[[str], None]) -> Figures:
    """Return the figures of *pairs* runs of ours and as many by hand, in turn; all images are there before."""
    store = Store(Sources(settings.cache(), environment=settings.environment()), tell)
    images = Images(container_engine.reach(settings.environment()), store, settings.cache(), tell)
    node = images.get(NODE, _KUBERNETES)
    kind = store.get("kind", driver_traits.KIND).path
    vaults = [images.get(VAULT, version).name for version in _VAULTS]
    by_hand: list[str | Path] = [HERE / "by-hand-kind.sh", kind, _kubectl(store), node.name, *vaults]
    world.rehearse("run", OUTAGE, "--driver", "kind", "--run-dir", world.new_run())  # makes what is made once
    figures = Figures([], [], [], [], [], [], [], {})
    for _ in range(pairs):
        directory = world.new_run()
        figures.ours.append(world.rehearse("run", OUTAGE, "--driver", "kind", "--run-dir", directory).seconds)
        _read(directory, figures)
        figures.hand.append(world.timed(by_hand).seconds)
        figures.one_cluster.append(_one_cluster(world, kind, node.name))
    _again(world, pairs, figures)
    return figures


def _kubectl(store: Store) -> Path:
    """Return a kubectl: the binary of all Kubernetes commands, which the node image is made of, or the user's own."""
    own = shutil.which("kubectl")
    return Path(own) if own else store.get("kubernetes", _KUBERNETES).path


def _read(directory: Path, figures: Figures) -> None:
    record = journal.load(directory)
    phases: list[PhaseEnded] = record.of(PhaseEnded)
    for phase in phases:
        figures.phases.setdefault(phase.name, []).append(phase.seconds)
    figures.rollouts.append(sum(phase.seconds for phase in phases if phase.name.startswith("rollout of")))
    (ended,) = record.of(RunEnded)
    kept = next(phase for phase in phases if phase.name == "logs are kept")
    figures.ends.append(ended.at - kept.at)


def _one_cluster(world: World, kind: Path, node: str) -> float:
    """Return how long kind takes for one cluster, by itself."""
    kubeconfig, name = world.work / "one.kubeconfig", f"bench-{os.getpid()}"
    config = world.work / "one.yaml"
    limit = "failCgroupV1: false" if Path("/sys/fs/cgroup/memory").is_dir() else ""
    config.write_text(
        "kind: Cluster\napiVersion: kind.x-k8s.io/v1alpha4\nnetworking: {disableDefaultCNI: true}\n"
        f'kubeadmConfigPatches: ["kind: KubeletConfiguration\\n{limit}\\n"]\n'
    )
    create: list[str | Path] = [kind, "create", "cluster", "--name", name, "--image", node, "--config", config, "-q"]
    seconds = world.timed([*create, "--kubeconfig", kubeconfig]).seconds
    world.timed([kind, "delete", "cluster", "--name", name, "--kubeconfig", kubeconfig, "-q"])
    return seconds


def _again(world: World, times: int, figures: Figures) -> None:
    """Measure how soon a rehearsal on kept clusters asks its first question."""
    kept = world.new_run()
    world.rehearse("run", OUTAGE, "--driver", "kind", "--keep", "1", "--run-dir", kept)
    run_id = journal.load(kept).started.run_id
    try:
        for _ in range(times):
            for scenario, seen in ((_REMEDY, figures.again), (OUTAGE, figures.again_after_two)):
                directory, began = world.new_run(), now()
                world.rehearse("run", scenario, "--driver", "kind", "--reuse", "--run-dir", directory)
                first: MomentBegan = journal.load(directory).of(MomentBegan)[0]
                seen.append(first.at - began)
    finally:
        world.rehearse("clean", run_id)
