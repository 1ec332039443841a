"""A Vault whose data is in an etcd: the same answers, ways back included, and nothing left."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.lent import Lender
from tests.test_real import rehearse
from tests.test_real_rollbacks import gone_back, scenario, told

pytestmark = pytest.mark.real


def test_an_upgrade_over_etcd_and_both_ways_back_answer_as_foretold(tmp_path: Path, lender: Lender) -> None:
    """The snapshot of a storage that has none of its own is a copy of what the etcd holds, taken while it rests."""
    file = scenario(tmp_path / "etcd.yaml", "1.9.2", "1.11.0", "etcd")
    directory = tmp_path / f"etcd-{os.getpid()}"
    judgement = gone_back(lender, file, directory, rollback=True)
    assert (judgement["verdict"], judgement["exit_code"], judgement["news"]) == ("pass", 0, []), judgement["reasons"]
    seals = [one for one in judgement["observations"] if one["probe"] == "seal-status"]
    assert {one["detail"]["storage_type"] for one in seals} == {"etcd"}
    assert [way["opened"] for way in judgement["rollbacks"]] == [True, True]
    assert (directory / "logs" / "store-etcd.log").is_file()

    paper = rehearse("run", file, "--rollback", "--driver", "paper", "-o", "json", "--run-dir", tmp_path / "paper")
    assert told(json.loads(paper.stdout)) == told(judgement)


def test_the_same_scenario_is_answered_alike_over_each_storage(tmp_path: Path, lender: Lender) -> None:
    """What differs between storages is what their seal-status says of them, and nothing that an app meets."""
    answers, storages = [], ("raft", "file", "etcd")
    for storage in storages:
        file = scenario(tmp_path / f"{storage}.yaml", "1.9.2", "1.11.0", storage)
        judgement = gone_back(lender, file, tmp_path / f"{storage}-{os.getpid()}")
        assert (judgement["verdict"], judgement["news"]) == ("pass", []), judgement["reasons"]
        seen = judgement["observations"]
        told = {one["detail"]["storage_type"] for one in seen if one["probe"] == "seal-status"}
        assert told == {storage}
        answers.append(
            [(*(one[part] for part in ("moment", "probe", "app", "item", "answer", "status")),) for one in seen]
        )
    assert len(answers[0]) > 20
    assert answers[1:] == answers[:1] * 2
