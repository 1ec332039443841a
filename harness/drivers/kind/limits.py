"""What cannot be rehearsed with kind clusters: refused before anything starts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from harness.artifacts.images import VAULT, Image
from harness.clients import haproxy, postgres, wrk
from harness.clients.engine_requirements import About
from harness.drivers.kind.cluster import NODE_PORTS
from harness.errors import MissingPrerequisite
from harness.host import capacity
from harness.knowledge import versions
from harness.scenario import course
from harness.scenario.plan import Plan
from harness.scenario.topology import RS256, SEAL, TRANSIT, VaultSpec
from harness.scenario.values import ADDRESS


def insist(plan: Plan) -> None:
    """Raise MissingPrerequisite, with the driver that can do it, for what a plan has and these clusters cannot have."""
    _insist_on_storage(plan)
    _insist_on_their_versions(plan)
    _insist_on_their_keys(plan)
    _insist_on_places(plan)
    _insist_on_keys_for_openbao(plan)
    if any(isinstance(step, course.SetClock) for step in plan.steps):
        raise MissingPrerequisite(
            "with kind all Pods have the clock of this machine: --driver local can set that of one node apart"
        )
    if any(isinstance(step, course.Serve) and step.meanwhile == "full-disk" for step in plan.steps):
        raise MissingPrerequisite(
            "with kind all Pods have the disk of this machine: --driver local can have that of one node be full"
        )
    if plan.resolved.has_storms:
        wrk.program()
    if plan.resolved.has_balancer:
        haproxy.program()
    if not plan.resolved.clusters:
        raise MissingPrerequisite(
            "with kind there is a cluster, and this scenario has none: clusters: {sandbox: {kubernetes: 1.32.0}}, or "
            "--driver local, which needs none"
        )
    if plan.resolved.needs_database or _over(plan, "postgresql"):
        postgres.programs()


def insist_on_parts(plan: Plan, images: Iterable[Image]) -> None:
    """Raise MissingPrerequisite where a Vault was built without what the scenario's engines are of."""
    lacks = {
        "postgresql storage": (_over(plan, "postgresql"), "choose storage: raft or file"),
        "etcd storage": (_over(plan, "etcd"), "choose storage: raft or file"),
        "consul storage": (_over(plan, "consul"), "choose storage: raft or file"),
        "database engine": (plan.resolved.needs_database, "take the engine of type database out of `secrets`"),
    }
    trimmed = [one for one in images if one.product == VAULT and one.trimmed]
    for part, (wanted, instead) in lacks.items():
        for one in trimmed if wanted else ():
            raise MissingPrerequisite(
                f"{versions.called(one.version)} as it was built here has no {part} ({one.trimmed}): bring the "
                f"release's own binary (--binary {versions.as_option(one.version)}=PATH), or {instead}"
            )


def _over(plan: Plan, storage: str) -> bool:
    return any(vault.storage == storage for vault in plan.resolved.vaults.values())


def insist_on_room(plan: Plan, work: Path, about: About) -> None:
    """Raise MissingPrerequisite where this machine, or what its engine has of it, does not carry the nodes of a plan.

    *work* is where a run has its directory.
    """
    machine, clusters = capacity.measure(work), plan.resolved.clusters.values()
    machine = replace(machine, memory=min(machine.memory, about.memory))
    capacity.insist(machine, len(clusters), nodes=sum(cluster.nodes for cluster in clusters))


def _insist_on_their_versions(plan: Plan) -> None:
    """Refuse to give a cluster another Kubernetes: its node is made of one."""
    for step in plan.steps:
        if isinstance(step, course.UpgradeKubernetes):
            version = plan.resolved.clusters[step.cluster].kubernetes
            if step.version != version:
                raise MissingPrerequisite(
                    f"a node of kind is made for one Kubernetes, and cannot go from {version} to {step.version}: "
                    "--driver local can, with the same keys over the same data"
                )


def _insist_on_their_keys(plan: Plan) -> None:
    """Refuse a cluster a key that is none of RSA, another CA or its own address as an issuer, or to take it away from a
    proxy.
    """
    for name, cluster in plan.resolved.clusters.items():
        if cluster.signing_algorithm != RS256:
            raise MissingPrerequisite(
                f"a node of kind signs with a key of RSA, and cluster {name} is to sign with "
                f"{cluster.signing_algorithm}: --driver local can, and what Vault makes of it is the same"
            )
    changed = [step.issuers for step in plan.steps if isinstance(step, course.SetIssuers)]
    if any(ADDRESS in issuers for issuers in (*changed, *(one.issuers for one in plan.resolved.clusters.values()))):
        raise MissingPrerequisite(
            "a node of kind has its address only once it runs, and its tokens an issuer before: --driver local can "
            "have the one be the other"
        )
    if any(isinstance(step, course.RotateKeys) and step.of == "ca" for step in plan.steps):
        raise MissingPrerequisite(
            "whatever runs in a kind cluster trusts the CA that kubeadm made, and would be lost with another one: "
            "--driver local can rotate it"
        )
    proxies = any(isinstance(step, course.WriteConfig) and step.names_proxy for step in plan.steps)
    if proxies and any(isinstance(step, course.Reachable) for step in plan.steps):
        raise MissingPrerequisite(
            "with kind a proxy asks from where the rehearsal itself does, and that is not kept from an API server: "
            "--driver local can take away an API server behind a proxy"
        )


def _insist_on_places(plan: Plan) -> None:
    """Refuse to move a Vault that agents know: they are told its address once."""
    moves = any(isinstance(step, course.Move) for step in plan.steps)
    if moves and any(app.agent for app in plan.resolved.apps.values()):
        raise MissingPrerequisite(
            "with kind a Vault that moves has another address, and the agents of apps are told one: --driver local "
            "has both, with an address that stays"
        )


def _insist_on_keys_for_openbao(plan: Plan) -> None:
    """Refuse an OpenBao that another Vault unseals: in a container it has no configuration with a seal."""
    served = [step for step in plan.steps if isinstance(step, course.Serve) and step.vault != SEAL]
    sealed = plan.resolved.vault.seal == TRANSIT or any(step.seal for step in served)
    for step in served if sealed else ():
        if versions.product(step.version) == versions.OPENBAO:
            raise MissingPrerequisite(
                f"with kind {versions.called(step.version)} is unsealed by its keys, and not by another Vault: "
                "--driver local has that, or seal: shamir"
            )


def _insist_on_devices(vault: VaultSpec) -> None:
    """Refuse audit devices that a Vault in a container would not find."""
    at_files = [one for one in vault.audit.values() if one.kind == "syslog" or one.transport == "unix"]
    if at_files:
        raise MissingPrerequisite(
            "with kind an audit device is a file, or a socket of type tcp or udp: syslog and a socket of type unix are "
            "files of this machine that no container has; --driver local has them"
        )


def _insist_on_storage(plan: Plan) -> None:
    """Refuse a Vault whose configuration is another one, or that is to be more nodes than can be reached."""
    for vault in plan.resolved.vaults.values():
        _insist_on_devices(vault)
        if vault.disable_mlock != "said":
            raise MissingPrerequisite(
                "with kind Vault's configuration always says disable_mlock: disable-mlock: omitted is rehearsed with "
                "--driver local"
            )
        if vault.nodes > len(NODE_PORTS):
            raise MissingPrerequisite(
                f"with kind Vault has {len(NODE_PORTS)} nodes at most, and not {vault.nodes}: --driver local has them"
            )
        if vault.nodes > 1 and not vault.cluster:
            raise MissingPrerequisite("with kind a Vault of several nodes is in a cluster: --driver local has others")
