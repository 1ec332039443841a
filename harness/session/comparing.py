"""A scenario, a kept run or a bundle becomes one side of a comparison; and a scenario as one cluster would stage it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from harness.analysis.comparing import Side
from harness.analysis.record_view import Facts
from harness.scenario import loading
from harness.scenario.loading import Loaded
from harness.session import bundle, prediction

ONE_CLUSTER = "your one-cluster staging"


def side(path: Path) -> Side:
    """Return what was seen in the run at *path*, or what is foretold of the scenario there.

    Raises ScenarioError or NotARecord where it is neither.
    """
    if path.is_dir() or bundle.is_bundle(path) or path.suffix == ".jsonl":
        record = bundle.record_at(path)
        facts = Facts(record)
        return Side(
            name=str(path),
            foretold=False,
            path=tuple(moment.version for moment in facts.moments.values()),
            answers=prediction.answers(record),
            topology=facts.topology,
        )
    return foretold(loading.load(path))


def foretold(loaded: Loaded, name: str = "") -> Side:
    """Return what is foretold of a scenario."""
    told = prediction.predict(loaded)
    return Side(
        name=name or loaded.name,
        foretold=True,
        path=told.path,
        answers=told.answers,
        topology=prediction.topology_of(loaded),
    )


def in_one_cluster(loaded: Loaded) -> Side:
    """Return what is foretold of a scenario whose clusters are all one, with Vault in it, as staging often has it.

    Raises ScenarioError where that cannot be: two parts of it may have the same service account then.
    """
    written: dict[str, Any] = loaded.scenario.model_dump(mode="json", by_alias=True, exclude_unset=True)
    names = list(written.get("clusters") or ())
    if not names:
        # what has no cluster is staged as it is
        return foretold(loaded, ONE_CLUSTER)
    kept = written["vault"].get("cluster") or names[0]
    document = _merged({key: value for key, value in written.items() if key not in ("expect", "matrix")}, names, kept)
    document["clusters"] = {kept: written["clusters"][kept]}
    document["vault"]["cluster"] = kept
    return foretold(loading.loads(json.dumps(document), f"{loaded.file}, in one cluster"), ONE_CLUSTER)


def _merged(value: Any, names: list[str], kept: str, key: str = "") -> Any:
    """Return a part of a scenario with every cluster of these names as the one that is kept."""
    if isinstance(value, dict):
        return {name: _merged(part, names, kept, name) for name, part in value.items()}
    if isinstance(value, list):
        return [_merged(part, names, kept, key) for part in value]
    if value in names and key in ("cluster", "kubernetes_ca_cert", "pem_keys"):
        return kept if key == "cluster" else "cluster"
    return value
