"""The ways from apps to a Vault of several nodes: to the one that leads, one that stands by, or a load balancer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from harness.knowledge import refusals
from harness.rig.rig import Rig, VaultClient, VaultSystem
from harness.rig.several import balancer
from harness.scenario.app_spec import BALANCER, LEADER
from harness.scenario.schema_ways import Through
from harness.scenario.topology import Topology


class Way(NamedTuple):
    """Where a request goes."""

    vault: VaultClient
    node: str
    """the node that it goes to; empty: a load balancer chooses one"""


Kept = dict[str, str]
"""By Vault, the node that stands by and is asked, for as long as it does: whoever asks it stays with it."""


def of(rig: Rig, vault: str, through: Through, kept: Kept) -> Way:
    """Return where a request to a *vault* of several nodes goes now; where none is as *through* has it, to any other.

    *kept* is kept up. Raises RigError where the driver has no load balancer.
    """
    if through == BALANCER:
        return Way(balancer(rig, vault).balanced(), "")
    system = rig.system(vault)
    if through == LEADER:
        name = _first(system, [*system.nodes], "active")
    else:
        before = kept.get(vault, "")
        name = kept[vault] = _first(system, sorted(system.nodes, key=lambda one: one != before), "standby")
    return Way(system.nodes[name].vault, name)


def _first(system: VaultSystem, names: Sequence[str], state: str) -> str:
    """Return the first of the nodes *names* that says it is in a *state*; else one that is away, or sealed.

    Whoever asks finds out by its answer that none is.
    """
    said = dict[str, str]()
    for name in names:
        said[name] = refusals.STATES.get(system.nodes[name].vault.health().status, "")
        if said[name] == state:
            return name
    return min(said, key=lambda name: said[name] in ("active", "standby"))


def used(topology: Topology, vault: str) -> dict[Through, str]:
    """Return the ways on which apps ask a *vault*, each with the first app that does."""
    mounts, found = topology.mounts_of(vault), dict[Through, str]()
    for name, app in topology.apps.items():
        if app.through and app.mount in mounts:
            found.setdefault(app.through, name)
    return found
