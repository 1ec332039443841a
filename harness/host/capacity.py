"""How many clusters this machine can carry: a rehearsal that would only bring it to its knees is not begun."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from harness.errors import MissingPrerequisite

CLUSTER_BYTES: Final = 270 * 10**6  # measured: an etcd and a kube-apiserver
VAULT_BYTES: Final = 250 * 10**6
NODE_BYTES: Final = 900 * 10**6  # measured: the node of a kind cluster with what a rehearsal has in it
CLUSTERS_A_CORE: Final = 5
NODES_A_CORE: Final = 3
"""A cluster of processes takes 2 s of one core to start, and a node some 15 s. With so many at once on a core all of
them are still up well before anybody's deadline, and answer as they would alone."""

_NODE_BYTES_AT_LEAST: Final = 700 * 10**6  # of a node's, so much cannot be given back to the kernel
_CLUSTER_DISK: Final = 130 * 10**6  # measured: a cluster's data and logs, most of it etcd's, which reserves room
_USUAL: Final = 3
"""Every machine with memory for them carries so many: questions about an upgrade take two clusters, or three."""
_GB: Final = 10**9
_CGROUP_LIMITS: Final = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
_CGROUP_CPU: Final = Path("/sys/fs/cgroup/cpu.max")


@dataclass(frozen=True, slots=True)
class Machine:
    """What can be had here: bytes of memory, cores, and bytes of disk where a run keeps its data."""

    memory: int
    cores: float
    disk: int
    work: str = ""
    """the directory whose disk that is"""


def measure(work: Path) -> Machine:
    """Return what this machine has left; *work* is the directory in which runs have theirs."""
    return Machine(memory_left(), cores(), shutil.disk_usage(work).free, str(work))


def memory_left(limits: Sequence[Path] = _CGROUP_LIMITS) -> int:
    """Return the bytes that can still be had: what the machine has, or its container if that is allowed less."""
    allowed = [psutil.virtual_memory().available]
    for limit in limits:
        with suppress(OSError, ValueError):
            allowed.append(int(limit.read_text(encoding="ascii")))
    return min(allowed)


def cores(limit: Path = _CGROUP_CPU) -> float:
    """Return how many cores may be used, by this process or by its container."""
    allowed = [float(len(os.sched_getaffinity(0)))]
    with suppress(OSError, ValueError):
        quota, period = limit.read_text(encoding="ascii").split()
        allowed.append(int(quota) / int(period))
    return min(allowed)


def most(machine_cores: float, a_core: int) -> int:
    """Return how many clusters, or nodes, so many cores carry if each carries *a_core*."""
    return max(_USUAL, int(machine_cores * a_core))


def insist(machine: Machine, clusters: int, *, nodes: int = 0) -> None:
    """Raise MissingPrerequisite if *machine* does not carry *clusters* of processes, or *nodes* of kind clusters."""
    number, things, a_core = (nodes, "kind nodes", NODES_A_CORE) if nodes else (clusters, "clusters", CLUSTERS_A_CORE)
    memory = nodes * _NODE_BYTES_AT_LEAST or clusters * CLUSTER_BYTES + VAULT_BYTES
    disk = 0 if nodes else clusters * _CLUSTER_DISK
    too_much = []
    if memory > machine.memory:
        too_much.append(f"they take {memory / _GB:.1f} GB of memory, and {machine.memory / _GB:.1f} GB can be had")
    if number > most(machine.cores, a_core):
        carried = most(machine.cores, a_core)
        too_much.append(f"{machine.cores:g} cores carry {carried}, and with more everything is late")
    if disk > machine.disk:
        where = f" in {machine.work} (TMPDIR names another directory)" if machine.work else ""
        too_much.append(f"they take {disk / _GB:.1f} GB of disk, and {machine.disk / _GB:.1f} GB are free{where}")
    if too_much:
        raise MissingPrerequisite(
            f"{number} {things} are too many for this machine: {'; '.join(too_much)}. Nothing was started. Rehearse "
            "with fewer, on a larger machine, or with --force"
        )
