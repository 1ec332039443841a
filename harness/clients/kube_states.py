"""What an API server says of nodes and Pods, put so that a driver can ask for it."""

from __future__ import annotations

from typing import Any, Final

import msgspec

_NEVER_RAN: Final = ("StartError", "ContainerCannotRun")  # of a program that could not be executed


class NodeState(msgspec.Struct, frozen=True):
    """What is known of a node."""

    name: str
    address: str
    pods: str
    """the network of its Pods, such as 10.244.1.0/24; empty as long as it has none"""


class PodState(msgspec.Struct, frozen=True):
    """How a Pod of one container is."""

    name: str
    uid: str
    node: str
    """where it was put; empty as long as it was not"""
    running: bool
    restarts: int
    waiting: str = ""
    """why its container is not running yet, or not again, in the kubelet's words"""
    status: int | None = None
    """with which its container ended the last time"""
    killed_for_memory: bool = False
    ready: bool = False
    """it passes its readiness probe, if it has one"""


class OwnPod(msgspec.Struct, frozen=True):
    """A Pod that every cluster has of its own, such as kube-proxy's."""

    namespace: str
    name: str
    uid: str
    ready: bool
    """it does what it is for, and is not about to go"""


def own_pod(pod: Any) -> OwnPod | None:
    """Return a cluster's own Pod from the object, or None where it holds no token of a service account."""
    sources = [one for each in pod["spec"].get("volumes", ()) for one in each.get("projected", {}).get("sources", ())]
    if not any("serviceAccountToken" in one for one in sources):
        return None
    about, conditions = pod["metadata"], pod["status"].get("conditions", ())
    serves = any((one["type"], one["status"]) == ("Ready", "True") for one in conditions)
    return OwnPod(about["namespace"], about["name"], about["uid"], serves and "deletionTimestamp" not in about)


def node_state(node: Any) -> NodeState:
    """Return how a node is, from the object."""
    addresses = {each["type"]: each["address"] for each in node["status"].get("addresses", ())}
    return NodeState(node["metadata"]["name"], addresses.get("InternalIP", ""), node["spec"].get("podCIDR", ""))


def pod_state(pod: Any) -> PodState:
    """Return how a Pod of one container is, from the object."""
    about, node = pod["metadata"], pod["spec"].get("nodeName", "")
    (status,) = pod["status"].get("containerStatuses") or [None]
    if status is None or "deletionTimestamp" in about:
        refused = _words(pod["status"]) if pod["status"].get("phase") == "Failed" else ""
        return PodState(about["name"], about["uid"], node, running=False, restarts=0, waiting=refused)
    waiting = status["state"].get("waiting", {})
    ended = status["state"].get("terminated") or status.get("lastState", {}).get("terminated") or {}
    if ended.get("reason") in _NEVER_RAN:
        # with a status of the runtime's own, which is none of the program's
        waiting, ended = ended, {}
    return PodState(
        name=about["name"],
        uid=about["uid"],
        node=node,
        running="running" in status["state"],
        restarts=status["restartCount"],
        waiting=_words(waiting),
        status=ended.get("exitCode"),
        killed_for_memory=ended.get("reason") == "OOMKilled",
        ready=bool(status.get("ready")),
    )


def _words(said: Any) -> str:
    return ": ".join(said[word] for word in ("reason", "message") if word in said)
