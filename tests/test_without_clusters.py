"""A scenario that needs no cluster: approle and userpass alone, or an identity provider outside of any."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import pytest

from harness.errors import ScenarioError
from harness.scenario import loading, plan
from harness.session import comparing
from tests.lent import Lender

DOCUMENT: Final[dict[str, Any]] = {
    "schema": 1,
    "description": "Batch jobs and people, and no cluster at all.",
    "vault": {"source": "1.9.3", "target": "1.11.0"},
    "auth": {
        "approle": {"type": "approle", "roles": {"batch": {"policies": ["batch"], "ttl": "1h"}}},
        "people": {"type": "userpass", "roles": {"alice": {"policies": ["people"], "ttl": "1h"}}},
        "ci": {"type": "jwt", "roles": {"deploy": {"bound-subject": "deploy", "policies": ["ci"], "ttl": "1h"}}},
    },
    "apps": {
        "batch": {"mount": "approle", "role": "batch", "reads": ["secret/batch"]},
        "alice": {"mount": "people", "role": "alice", "reads": ["secret/people"]},
        "deploy": {"mount": "ci", "role": "deploy", "token": "minted"},
    },
}


def loaded(**parts: Any) -> loading.Loaded:
    return loading.loads(json.dumps(DOCUMENT | parts))


def problems_of(**parts: Any) -> list[str]:
    with pytest.raises(ScenarioError) as caught:
        loaded(**parts)
    return [problem.message for problem in caught.value.problems]


def test_only_vaults_are_needed() -> None:
    """Neither an API server nor the etcd of one is fetched; an etcd is where Vault has its data there."""
    planned = plan.make(loaded().scenario, "test", "local")
    assert planned.artifacts == (("vault", "1.9.3"), ("vault", "1.11.0"))
    stored = loaded(vault=DOCUMENT["vault"] | {"storage": "etcd"}).scenario
    assert "etcd" in [product for product, _ in plan.make(stored, "test", "local").artifacts]


def test_one_cluster_instead_is_none_instead() -> None:
    assert not comparing.in_one_cluster(loaded()).topology.clusters


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        (
            {"vault": DOCUMENT["vault"] | {"cluster": "platform"}},
            ["missing key `clusters` in the document: vault.cluster names one"],
        ),
        ({"clusters": {}, "vault": DOCUMENT["vault"] | {"cluster": "platform"}}, ["there is no cluster platform"]),
        (
            {
                "vault": {"source": "1.9.3"},
                "course": [
                    {"set-issuers": {"apps": ["a"]}},
                    {"rotate-keys": {"apps": "signing"}},
                    {"grant": {"service-account": "a/b"}},
                    {"move": {"to": "apps"}},
                ],
            },
            [
                "there is no cluster apps",
                "there is no cluster apps",
                "there is no cluster, and this is of one",
                "there is no cluster apps",
            ],
        ),
    ],
)
def test_what_is_of_a_cluster_wants_one(parts: dict[str, Any], said: list[str]) -> None:
    assert problems_of(**parts) == said


@pytest.mark.real
def test_no_api_server_is_started(tmp_path: Path, lender: Lender) -> None:
    file = tmp_path / "no-clusters.yaml"
    file.write_text(json.dumps(DOCUMENT))
    code, judgement = lender.rehearse(file, tmp_path / "record")
    assert code == 0, judgement["reasons"]
    events = [json.loads(line) for line in (tmp_path / "record" / "record.jsonl").read_text().splitlines()]
    assert not [one for one in events if one["event"] == "cluster-up"]
    seen = [one for one in events if one["event"] == "observation" and one["probe"] == "login"]
    assert {(one["app"], one["version"]): one["status"] for one in seen} == {
        (app, version): 200 for app in DOCUMENT["apps"] for version in ("1.9.3", "1.11.0")
    }
