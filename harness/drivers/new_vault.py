"""A new Vault that serves before the rehearsal that gets it begins: which plans may have the same one."""

from __future__ import annotations

import msgspec

from harness.knowledge import kubernetes_auth
from harness.knowledge.versions import at_least
from harness.scenario import shared_source
from harness.scenario import topology as topologies
from harness.scenario.course import Serve, Start
from harness.scenario.plan import Plan


def fit(plan: Plan, digest: str, *, has_pod: bool) -> bytes:
    """Return what has to be the same of two plans if a new Vault may serve either; nothing where it may serve none.

    *digest* tells its binary or image from any other. It may not where it would read a cluster, or the token of its
    Pod, before that is there (*has_pod*: it is, from the beginning), or where what a rehearsal has of its own stands
    beside it.
    """
    wanted, served = plan.resolved, first(plan)
    reads_token = served.token_file and at_least(served.version, kubernetes_auth.READS_POD_TOKEN)
    if shared_source.why_not(plan) or not wanted.talks_to_us_alone or (reads_token and not has_pod):
        return b""
    if wanted.vault.seal == topologies.TRANSIT or not isinstance(plan.steps[0], Start):
        return b""
    return msgspec.json.encode([wanted.vault, wanted.nodes_of(""), served, digest], order="deterministic")


def first(plan: Plan) -> Serve:
    """Return what Vault serves as first."""
    return next(step for step in plan.steps if isinstance(step, Serve))
