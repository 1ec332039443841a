"""What cannot be rehearsed with kind clusters: refused before anything starts."""

from __future__ import annotations

from typing import Final

from harness.errors import MissingPrerequisite
from harness.scenario import course
from harness.scenario.plan import Plan

_STORAGES: Final = ("raft", "file")


def insist(plan: Plan) -> None:
    """Raise MissingPrerequisite, with the driver that can do it, for what a plan has and these clusters cannot have."""
    _insist_on_storage(plan)
    _insist_on_their_versions(plan)


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


def _insist_on_storage(plan: Plan) -> None:
    """Refuse a Vault that is to have its data in a server beside it."""
    for vault in plan.resolved.vaults.values():
        if vault.storage not in _STORAGES:
            raise MissingPrerequisite(
                f"with kind Vault's storage is {' or '.join(_STORAGES)}, and not {vault.storage}: --driver local has it"
            )
