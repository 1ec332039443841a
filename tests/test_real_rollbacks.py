"""Ways back between real versions: what opens, who logs in, what is lost, and what behaves otherwise than before."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from harness.record import journal
from harness.record.events import Renewals, StepEnded
from tests.lent import Lender
from tests.test_real import ours, rehearse, work_directories
from tests.versions_at_hand import further

pytestmark = pytest.mark.real

SECRET = "a secret (secret/data/rehearsal-late)"
ROLE = "a role of auth/kubernetes (rehearsal-late)"
_RESTORE_SECONDS = 5
"""Vault's own restoreOpDelayDuration, in physical/raft/raft.go."""
TOKEN = "the token that web got after the upgrade"


def scenario(file: Path, source: str, target: str, storage: str, **more: Any) -> Path:
    """Write a scenario of one cluster into *file* and return that; *more* replaces parts of it."""
    mount = {
        "cluster": "one",
        "configured": {"by": source, "with-token-file": False},
        "roles": {"web": {"service-accounts": ["web"], "namespaces": ["apps"], "policies": ["web"]}},
    }
    vault = {"cluster": "one", "source": source, "storage": storage} | ({"target": target} if target else {})
    web = {"cluster": "one", "service-account": "apps/web", "role": "web", "reads": ["secret/web"]}
    document = {
        "schema": 1,
        "description": "There and back.",
        "clusters": {"one": {"kubernetes": "1.32.0"}},
        "vault": vault,
        "auth": {"kubernetes": mount},
        "apps": {"web": web | {"may-review-tokens": True}},
    }
    file.write_text(json.dumps(document | more))
    return file


def gone_back(lender: Lender, file: Path, directory: Path, *, rollback: bool = False) -> dict[str, Any]:
    """Rehearse *file* as processes and return the judgement. Nothing may be left."""
    _, judgement = lender.rehearse(file, directory, rollback=rollback)
    assert not ours(directory)
    assert not work_directories(directory)
    return judgement


def told(judgement: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the ways back of a judgement without what only real servers say: how long it took, and what else."""
    return [{name: way[name] for name in way if name not in ("seconds", "differs")} for way in judgement["rollbacks"]]


@pytest.mark.parametrize("storage", ["raft", "file"])
@pytest.mark.parametrize(
    ("source", "target", "token"),
    [
        pytest.param("1.9.2", "1.11.0", [TOKEN], id="1.9.2-1.11.0"),
        pytest.param("1.7.0", "1.9.3", [], id="1.7.0-1.9.3"),
        pytest.param("1.4.0", "1.8.0", [], id="1.4.0-1.8.0"),
        pytest.param("1.9.3", "1.10.0", [TOKEN], id="1.9.3-1.10.0", marks=further("vault:1.10.0")),
    ],
)
def test_both_ways_back_open_and_what_is_lost_is_told(
    source: str, target: str, token: list[str], storage: str, tmp_path: Path, lender: Lender
) -> None:
    """The older binary reads all but tokens of the newer format (hvs., from 1.10); the snapshot knows nothing of it."""
    file = scenario(tmp_path / "back.yaml", source, target, storage)
    judgement = gone_back(lender, file, tmp_path / f"back-{os.getpid()}-{source}-{storage}", rollback=True)
    assert (judgement["verdict"], judgement["exit_code"]) == ("pass", 0), judgement["reasons"]
    binary, snapshot = judgement["rollbacks"]
    for way in (binary, snapshot):
        assert (way["opened"], way["to_version"], way["granted"], way["refused"]) == (True, source, ["web"], [])
        assert 0 < way["seconds"] < (30 if storage == "raft" else 10)
        assert [each["probe"] for each in way["differs"] if each["what"] == "answer"] == []
    assert (snapshot["seconds"] > _RESTORE_SECONDS) == (storage == "raft"), "Vault itself waits in it, and that is told"
    assert _beforehand(tmp_path / f"back-{os.getpid()}-{source}-{storage}") == (storage == "raft")
    assert (binary["lost"], binary["kept"]) == (token, [each for each in (SECRET, ROLE, TOKEN) if each not in token])
    assert (snapshot["lost"], snapshot["kept"]) == ([SECRET, ROLE, TOKEN], [])

    paper = rehearse("run", file, "--rollback", "--driver", "paper", "-o", "json", "--run-dir", tmp_path / "paper")
    assert told(json.loads(paper.stdout)) == told(judgement)
    text = rehearse("judge", tmp_path / f"back-{os.getpid()}-{source}-{storage}").stdout
    assert f"Vault {source} over the data as {target} left them: serves after" in text
    assert f"Vault {source} over the snapshot of before: serves after" in text


def _beforehand(directory: Path) -> bool:
    """Was a part of the way back over the snapshot done beside the steps before it?"""
    record = journal.load(directory)
    ended: list[StepEnded] = record.of(StepEnded)
    binary, snapshot = [one for one in ended if one.do == "roll-back"]
    assert binary.beforehand == 0.0
    for row in record.of(Renewals):
        assert row.beforehand == (snapshot.beforehand if row.moment == "after roll-back (snapshot)" else 0.0)
    return snapshot.beforehand > 1


@pytest.mark.parametrize("storage", ["raft", "file"])
@pytest.mark.parametrize("may", [True, False])
def test_a_config_of_the_newer_version_changes_the_reviewer_of_the_older(
    storage: str, may: bool, tmp_path: Path, lender: Lender
) -> None:
    """1.11.0 stores no reviewer and presents its own Pod's token; 1.9.2 over the same data presents the app's.

    In one cluster both are accepted: until the app may not review tokens, which nobody had to know before.
    """
    file = scenario(
        tmp_path / "back.yaml",
        "1.9.2",
        "",
        storage,
        course=[
            {"upgrade": "1.11.0"},
            {"write": {"config": {"kubernetes_ca_cert": "cluster"}}},
            {"roll-back": "binary"},
        ],
    )
    document = json.loads(file.read_text())
    document["apps"]["web"]["may-review-tokens"] = may
    document["auth"]["kubernetes"]["configured"]["with-token-file"] = True
    file.write_text(json.dumps(document))
    judgement = gone_back(lender, file, tmp_path / f"turned-{os.getpid()}-{storage}-{may}")
    assert [(row["moment"], row["status"], row["reviewer"]) for row in judgement["reviewing"]] == [
        ("before", 200, "vault"),  # 1.9.2 stored a copy of its Pod's token with the config,
        ("after 1.11.0", 403, "nobody"),  # which died with that Pod,
        ("after write to kubernetes", 200, "vault"),
        ("after roll-back (binary)", 200 if may else 403, "client"),
    ]
    (turned,) = [each for each in judgement["findings"] if each["hop"] == "1.9.2"]
    kind = ("latent", "reviewer changed") if may else ("regression", "login refused")
    assert (turned["kind"], turned["effect"], turned["rule"]) == (*kind, "reviewer-fallback-client")
    (way,) = judgement["rollbacks"]
    assert (way["opened"], way["granted"], way["refused"]) == (True, ["web"][:may], ["web"][may:])


def test_a_snapshot_of_an_older_version_is_restored_into_a_newer_one(tmp_path: Path, lender: Lender) -> None:
    """All that was written after it is gone; a token of 1.11.0 is refused with a 500 that says its MAC is wrong."""
    course = [{"snapshot": {}}, {"upgrade": "1.11.0"}, {"restore": {}}]
    file = scenario(tmp_path / "back.yaml", "1.9.2", "", "raft", course=course)
    judgement = gone_back(lender, file, tmp_path / f"restored-{os.getpid()}")
    assert (judgement["verdict"], judgement["exit_code"]) == ("pass", 0), judgement["reasons"]
    late = [seen for seen in judgement["observations"] if seen["probe"].startswith("late-")]
    assert [(seen["probe"], seen["answer"]) for seen in late] == [
        ("late-secret", "refused"),
        ("late-role", "refused"),
        ("late-token-lookup", "refused"),
    ]
    assert (late[-1]["status"], "token mac for" in late[-1]["error"]) == (500, True)
