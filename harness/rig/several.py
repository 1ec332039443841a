"""What a rig can do whose Vault has several nodes: who leads, and a load balancer before them."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from harness.errors import RigError
from harness.record.node_events import PodSeen
from harness.rig.rig import Rig, VaultClient, unable
from harness.scenario.course import Serve, Step


@runtime_checkable
class SeveralNodes(Protocol):
    """A Vault of several nodes. What is asked of it without naming a node goes to the one that leads."""

    def add_node(self, name: str, served: Serve) -> None:
        """Start a node without data that joins the others, as the version of *served*. Returns when it answers."""
        ...

    def ask_to_join(self, name: str) -> None:
        """Have a node without data ask by the API to be taken in by the one that leads. Raises RigError."""
        ...

    def follow(self) -> str:
        """Find out who leads, have everything go there from now on, and return its name; "" where nobody does."""
        ...

    def stop_node(self, name: str) -> None:
        """Stop a node, which keeps its data."""
        ...

    def empty_node(self, name: str) -> None:
        """Stop a node, and remove its data. Raises RigError where the driver cannot."""
        ...

    def pod_of(self, name: str) -> PodSeen | None:
        """Return how the Pod of a node is; None: it has none that a kubelet runs, or nobody says."""
        ...


@runtime_checkable
class Balanced(Protocol):
    """A Vault of several nodes that can have a load balancer before them, which goes by their sys/health."""

    def balance(self) -> None:
        """Start a load balancer before all nodes. Returns when it listens. Raises ProcessDied or NotReady."""
        ...

    def await_balance(self, name: str) -> None:
        """Wait until it hands requests to the node *name*, which leads. Raises ProcessDied or NotReady."""
        ...

    def balanced(self) -> VaultClient:
        """Return the way to ask through it. A reply says to which node it handed the request (`Reply.by`)."""
        ...


def several_nodes(rig: Rig, step: Step) -> SeveralNodes:
    """Return the Vault of *step* as one of several nodes, which it needs. Raises RigError where it cannot be."""
    system = rig.system(step.vault)
    if isinstance(system, SeveralNodes):
        return system
    raise unable(step)


def balancer(rig: Rig, vault: str) -> Balanced:
    """Return a Vault as one that has a load balancer. Raises RigError where the driver has none."""
    system = rig.system(vault)
    if isinstance(system, Balanced):
        return system
    raise RigError("this driver has no load balancer: choose another driver, or another `through` of the apps")
