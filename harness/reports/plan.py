"""A plan as text: what a run would do, before it does anything."""

from __future__ import annotations

from typing import Final

from harness.knowledge import versions
from harness.record.observation import called
from harness.reports import folded
from harness.scenario import course
from harness.scenario.course import AnyStep, Serve
from harness.scenario.plan import Plan
from harness.scenario.topology import ISSUER, Topology


def render(plan: Plan, width: int | None = None) -> str:
    """Return *plan* as lines for people, of at most *width* columns (None: any)."""
    topology, described = plan.resolved, plan.asked.description if plan.asked else ""
    lines = [f"{plan.scenario}, driver {plan.driver}", "", *described.strip().splitlines(), ""]
    for name, cluster in topology.clusters.items():
        issuers = "" if cluster.issuers == (ISSUER,) else f", issuers {', '.join(cluster.issuers)}"
        lines.append(f"cluster {name}: Kubernetes {cluster.kubernetes}{issuers}")
    for name, vault in topology.vaults.items():
        which = f"Vault {topology.told_apart(name)}".rstrip()
        nodes = f", {vault.nodes} nodes" if vault.nodes > 1 else ""
        lines.append(f"{which}: in {vault.cluster or 'no cluster'}, storage {vault.storage}{nodes}")
    lines += [f"{name}: asks through {_WAYS[app.through]}" for name, app in topology.apps.items() if app.through]
    lines += [
        "",
        "steps",
        *(f"  {number}. {_told(step, topology)}{_whose(step)}" for number, step in enumerate(plan.steps, 1)),
    ]
    lines += ["", f"questions at every moment: {len(plan.questions)}"]
    lines += [
        "  " + " ".join(part for part in (q.probe, q.node or q.vault, q.app or q.mount, q.item) if part)
        for q in plan.questions
    ]
    lines += ["", "not asked", *(f"  {why}" for why in plan.not_asked)] if plan.not_asked else []
    lines += (
        ["", "assumed, because the scenario does not say", *(f"  {one}" for one in plan.assumed)]
        if plan.assumed
        else []
    )
    lines += ["", "binaries", *(f"  {product} {version}" for product, version in plan.artifacts)]
    return folded(lines, width)


_WAYS: Final = {
    "leader": "the node that leads",
    "standby": "a node that stands by",
    "load-balancer": "a load balancer, which is HAProxy (Debian: haproxy)",
}


def _whose(step: AnyStep) -> str:
    """Return the Vault or node of a step that names no version, where there are several."""
    return "" if isinstance(step, Serve) or not called(step) else f", at Vault {called(step)}".rstrip()


_PARTS: Final[dict[course.Part, str]] = {
    "": "",
    "standbys": ": the nodes that stand by, one after the other",
    "leader": ": the node that leads, last",
    "leader-first": ": the node that leads, first",
    "others": ": the other nodes, one after the other",
    "highest": ": the node with the highest number, whether it leads or not",
    "lower": ": the nodes with lower numbers, from the highest down",
}


def _told(step: AnyStep, topology: Topology) -> str:
    """Return what a step does, in a line."""
    told = course.word_of(step)
    match step:
        case course.Look():
            told = f"ask every question ({step.moment.label})"
        case course.WriteConfig():
            fields = " ".join(f"{name}={value}" for name, value in step.fields.items())
            life = f" (a token with a life of {step.reviewer_seconds} s)" if step.reviewer_seconds else ""
            told = f"write auth/{step.mount}/config: {fields}{life}"
        case course.WriteRole():
            told = f"write {step.spec.of_kind.place_of(step.mount, step.role)}"
        case course.Rewrite():
            told = f"write the config and the roles of auth/{step.mount} again, as they are read"
        case course.Wait():
            told = f"wait {step.seconds} s"
        case Serve():
            file = "with a pod token file" if step.token_file else "with no pod token file"
            told = f"{told}: {versions.called(step.version, called(step))}, {file}{_PARTS[step.part]}{_meanwhile(step)}"
            told += ", over no data: it joins the others" if course.word_of(step) == "join-node" else ""
        case course.Form():
            raft = topology.named(step.vault).storage == "raft"
            then = "join: all of them vote then" if raft else "start over the same storage: whoever has its lock leads"
            told = f"have the other nodes of {versions.called(then, called(step))}"
        case _:
            told = _to_device(step) or _to_storage(step) or _beside(step) or told
    if isinstance(step, course.Move):
        told += f", in cluster {step.place.cluster}" if step.place.cluster else ", outside any cluster"
    if isinstance(step, course.RollBack):
        told += ", over the snapshot" if step.over == "snapshot" else ", over the data as they are"
    return told


_TO_DEVICES: Final = {
    "full": "the disk of its file is full from here on",
    "away": "nobody listens any more where it sends its entries",
    "silent": "whoever listens takes no connection any more, and reads nothing",
    "well": "it can write again",
    "disable": "it is disabled",
    "enable": "it is enabled",
}


_TO_NODES: Final = {
    "lose-data": "its data are lost, and it is to join the others anew",
    "lose-data-and-join": "its data are lost, and so is whom it is to join",
    "foreign-data": "its data are replaced by those of a Vault that was initialised by itself",
    "full-disk": "its disk is full from here on",
}

_TO_STORAGES: Final = {
    "lose-leader": "the etcd member that leads is killed, and stays away",
    "defrag": "all etcd members are defragmented at once",
    "restart": "its servers are restarted",
    "stop": "its servers are stopped",
    "start": "whichever server is away is started",
}


def _to_device(step: AnyStep) -> str:
    if isinstance(step, course.SetClock):
        return f"the clock of {step.node} is {step.seconds} s ahead from here on"
    if isinstance(step, course.AgentSink):
        is_so = "is not there for agents that start from here on" if step.to == "missing" else "is there again"
        return f"the folder of the sink of {step.app}'s Vault Agent {is_so}"
    return f"audit device {step.device}: {_TO_DEVICES[step.to]}" if isinstance(step, course.AuditDevice) else ""


def _meanwhile(step: Serve) -> str:
    if step.meanwhile in _TO_NODES:
        return f"; before it starts, {_TO_NODES[step.meanwhile]}"
    return f"; before it is unsealed, storage: {_TO_STORAGES[step.meanwhile]}" if step.meanwhile else ""


def _to_storage(step: AnyStep) -> str:
    if isinstance(step, course.TouchDatabase):
        done = "stopped" if step.what == "stop" else "started again over its data"
        return f"database: the PostgreSQL of the database engines is {done}"
    return f"storage: {_TO_STORAGES[step.what]}" if isinstance(step, course.TouchStorage) else ""


def _beside(step: AnyStep) -> str:
    """Return what another step does, in a line; nothing where its word says it all."""
    match step:
        case course.Grant():
            return f"bind {step.service_account} to system:auth-delegator in cluster {step.cluster}"
        case course.Revoke():
            return f"take system:auth-delegator from {step.service_account} in cluster {step.cluster}"
        case course.MakeLeases():
            return f"make {step.count:,} leases: service tokens that live for a month"
        case course.RevokeLeases():
            return (
                f"revoke {f'{step.count:,} leases, one by one' if step.count else 'all leases that are left, at once'}"
            )
        case course.DeleteSecret():
            return f"delete the Secret with the token of {step.purpose}"
    return _of_nodes(step) or _of_cluster(step)


def _of_nodes(step: AnyStep) -> str:
    match step:
        case course.StepDown():
            return "have the node that leads give that up"
        case course.StopNode():
            return "stop a node, which keeps its data"
        case course.RemoveNode():
            return "remove a node from the raft configuration of the others"
    return ""


def _of_cluster(step: AnyStep) -> str:  # noqa: PLR0911 -- a kind of step a line
    match step:
        case course.UpgradeKubernetes():
            return f"upgrade the API server of cluster {step.cluster} to Kubernetes {step.version}"
        case course.SetIssuers():
            return f"set the issuers of cluster {step.cluster}: {', '.join(step.issuers)}"
        case course.PublishKeys():
            to = "anybody" if step.to_anybody else "service accounts alone"
            return f"let {to} read the keys of cluster {step.cluster} and its discovery document"
        case course.RotateKeys(of="ca"):
            return f"give the API server of cluster {step.cluster} a certificate of another authority"
        case course.RotateKeys():
            return f"give {course.whose_keys(step)} another key for signing tokens"
        case course.Reachable():
            return f"let Vault {'reach' if step.is_so else 'find nobody at'} the API server of cluster {step.cluster}"
    return ""
