"""A plan as text: what a run would do, before it does anything."""

from __future__ import annotations

from harness.plan import Plan
from harness.scenario import Scenario


def render(plan: Plan, scenario: Scenario) -> str:
    """Return *plan* as lines for people."""
    lines = [f"{plan.scenario}, driver {plan.driver}", "", *scenario.description.strip().splitlines(), ""]
    for name, cluster in scenario.clusters.items():
        lines.append(f"cluster {name}: Kubernetes {cluster.kubernetes}")
    lines.append(f"Vault: in {scenario.vault.cluster or 'no cluster'}, storage {scenario.vault.storage}")
    lines += ["", "stages"]
    for number, stage in enumerate(plan.stages, 1):
        file = "with a pod token file" if stage.token_file else "with no pod token file"
        does = [f"writes auth/{path}/config" for path in stage.writes]
        if stage.moment:
            does.append(f"asks every question ({stage.moment})")
        lines.append(f"  {number}. Vault {stage.version} {file}: {', '.join(does) or 'opens the data'}")
    lines += ["", f"questions at every moment: {len(plan.questions)}"]
    lines += ["  " + " ".join(part for part in (q.probe, q.app or q.mount, q.item) if part) for q in plan.questions]
    lines += ["", "not asked", *(f"  {why}" for why in plan.not_asked)] if plan.not_asked else []
    lines += (
        ["", "assumed, because the scenario does not say", *(f"  {one}" for one in plan.assumed)]
        if plan.assumed
        else []
    )
    lines += ["", "binaries", *(f"  {product} {version}" for product, version in plan.artifacts)]
    return "\n".join(lines)
