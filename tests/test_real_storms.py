"""Many Pods that log in at once, on real servers: what turns some of them away, and what is learned of it."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Final

import pytest

from harness.drivers.local.driver import LocalRig
from harness.rig.rig import Reply
from tests.lent import Lender

pytestmark = pytest.mark.real

KEPT: Final = Path(__file__).parent / "records" / "storms" / "a-quota-that-turns-some-away.jsonl.gz"
SCENARIO: Final = """\
schema: 1
description: Sixty Pods at once, and a Vault that lets five a second in from the new version on.
clusters:
  apps: {kubernetes: 1.32.0}
vault: {source: 1.7.0, target: 1.9.2}
auth:
  kubernetes:
    cluster: apps
    configured: {by: 1.7.0, with-token-file: false}
    roles:
      web: {service-accounts: [web], namespaces: [apps], policies: [web]}
apps:
  web:
    cluster: apps
    service-account: apps/web
    role: web
    may-review-tokens: true
    storm: {pods: 60, at-once: 20}
"""


def test_a_quota_that_turns_some_away_is_found_beside_an_app_that_is_let_in(
    lender: Lender, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """A real rate limit quota, written between the login that comes alone and those that come at once."""
    storm, times = LocalRig.login_storm, list[int]()

    def limited(rig: LocalRig, app: str) -> Reply:
        times.append(1)
        if len(times) == 2:
            rig.setup.write("sys/quotas/rate-limit/morning", {"path": "auth/kubernetes", "rate": 5})
        return storm(rig, app)

    monkeypatch.setattr(LocalRig, "login_storm", limited)
    # no record tells where its scenario stood
    monkeypatch.chdir(tmp_path)
    file = Path("storm.yaml")
    file.write_text(SCENARIO)
    code, judgement = lender.rehearse(file, tmp_path / "record")
    before, after = judgement["storms"]
    assert (before["accepted"], before["answers"], before["reviews"]) == (60, {"HTTP 200": 60}, {"HTTP 201": 60})
    assert before["latency_ms"]["p50"] <= before["latency_ms"]["max"]
    assert before["reviewers"] == {"system:serviceaccount:apps:web": 60}
    assert after["answers"]["HTTP 429"] + after["answers"]["HTTP 200"] == 60
    assert after["reviews"] == {"HTTP 201": after["accepted"]}
    (finding,) = judgement["findings"]
    assert (code, finding["kind"], finding["rule"], finding["probe"]) == (
        1,
        "regression",
        "refused-at-once",
        "login-storm",
    )
    assert "a quota of it is used up" in finding["sentence"]
    assert any("rate limit quota exceeded" in line["text"] for line in finding["evidence"])
    record = (tmp_path / "record" / "record.jsonl").read_bytes()
    assert len(record) < 120_000
    if request.config.getoption("--update-records"):
        KEPT.parent.mkdir(exist_ok=True)
        KEPT.write_bytes(gzip.compress(record, mtime=0))
