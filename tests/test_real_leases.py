"""Leases in a real Vault: made, found again at a start, revoked, and weighed."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.lent import Lender
from tests.runs import SCENARIOS
from tests.versions_at_hand import further

pytestmark = pytest.mark.real

STORY = SCENARIOS / "too-many-leases-on-etcd-keep-vault-sealed-after-the-upgrade.yaml"


def test_leases_outlive_an_upgrade_and_are_revoked_one_by_one_and_at_once(tmp_path: Path, lender: Lender) -> None:
    scenario = yaml.safe_load(STORY.read_text())
    scenario["vault"] |= {"storage": "raft", "leases": 300}
    del scenario["vault"]["target"], scenario["vault"]["max-receive-size"], scenario["expect"]
    scenario["course"] = [{"upgrade": "1.9.2"}, {"revoke-leases": 100}, {"restart": {}}, {"revoke-leases": "all"}]
    file = tmp_path / "leases.yaml"
    file.write_text(yaml.safe_dump(scenario))
    code, judgement = lender.rehearse(file, tmp_path / "run")
    assert (code, judgement["verdict"]) == (0, "pass"), judgement["reasons"]
    (told,) = judgement["leases"]
    changes = [(one["done"], one["count"], one["at_once"], one["failures"]) for one in told["changes"]]
    assert changes == [("made", 300, False, {}), ("revoked", 100, False, {}), ("revoked", 200, True, {})]
    seen = {(one["when"], one["version"], one["held"]): one for one in told["seen"]}
    assert list(seen) == [
        ("made", "1.7.0", 300),
        ("started", "1.9.2", 300),
        ("revoked", "1.9.2", 200),
        ("started", "1.9.2", 200),
        ("revoked", "1.9.2", 0),
    ]
    # a storm is no outage: whoever asks meanwhile is answered
    met = {one["kind"]: one for one in told["changes"][-1]["met"]}
    assert set(met) == {"health", "token-lookup", "login"}
    assert all(one["asked"] >= 1 and one["failures"] == {} for one in met.values())
    upgraded, restarted = seen["started", "1.9.2", 300], seen["started", "1.9.2", 200]
    # the apps' own tokens are leases as well
    assert 300 < upgraded["found"] < 330
    assert 200 < restarted["found"] < upgraded["found"] - 80
    assert all(one["restored"] >= 0 and one["active"] >= 0 for one in (upgraded, restarted))
    assert all(one["memory"] > 10**7 and one["stored"] > 10**5 for one in seen.values())
    assert upgraded["listed"] > restarted["listed"] > 200 * 60
    assert (upgraded["irrevocable"], upgraded["etcd_whole"]) == (0, None)


@further("vault:1.16.3")
def test_the_data_that_one_version_cannot_list_are_fine_for_one_that_lists_keys(tmp_path: Path, lender: Lender) -> None:
    """And on the old one the list is declined while it runs, which says what a stop there would cost."""
    scenario = yaml.safe_load(STORY.read_text())
    scenario["vault"] |= {"target": "1.16.3"}
    scenario["expect"] = [{"change": "restart refused", "cause": "lease-list-too-large"}]
    file = tmp_path / "keys.yaml"
    file.write_text(yaml.safe_dump(scenario))
    code, judgement = lender.rehearse(file, tmp_path / "run")
    assert (code, judgement["outcome"]) == (0, "pass"), judgement["reasons"]
    (found,) = judgement["findings"]
    assert (found["kind"], found["evidence"][0]["source"]) == ("latent", "answer")
    (told,) = judgement["leases"]
    ran, started = told["seen"]
    assert "ResourceExhausted" in ran["list_error"]
    assert (started["list_error"], started["listed"] > 1200 * 60) == ("", True)
    assert started["etcd_keys"] < 1048576 < started["etcd_whole"]
