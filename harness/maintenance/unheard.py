"""Which versions of a plan are no releases that are known: mistyped, or newer than what is known here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from harness.artifacts import availability
from harness.knowledge import releases, versions
from harness.scenario import course
from harness.scenario.plan import Plan


def lines(planned: Plan, cache: Path) -> Iterator[str]:
    """Yield a sentence for each version of a plan that no table has: not the one that ships, and not that in *cache*.

    Nobody is asked.
    """
    clusters = planned.resolved.clusters.values()
    upgraded = [step.version for step in planned.steps if isinstance(step, course.UpgradeKubernetes)]
    named = {
        "vault": course.serving(planned.steps),
        "kubernetes": [*(cluster.kubernetes for cluster in clusters), *upgraded],
    }
    for product, several in named.items():
        known = availability.table(product, cache)
        yield from filter(None, (releases.unheard(version, known) for version in versions.ascending(several)))
