"""Remedies proven on real servers: those of every shipped scenario that refuses somebody, and of every cause."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest

from harness.scenario import loading
from harness.scenario.schema import Scenario
from tests.lent import Lender
from tests.runs import OUTAGE
from tests.test_proving import RED, REFUSALS, SCENARIOS_OF
from tests.test_real import REHEARSE, ROOT, SECRET_SHAPES, ours, rehearse, until_gone, work_directories
from tests.versions_at_hand import further

pytestmark = pytest.mark.real


def proven(lender: Lender, file: Path, directory: Path) -> dict[str, Any]:
    """Rehearse *file* as processes and try its remedies. Nothing may be left, and no secret in any record."""
    _, judgement = lender.rehearse(file, directory, prove_remedy=True)
    assert not ours(directory)
    assert not work_directories(directory)
    for path in directory.rglob("*"):
        assert not path.is_file() or not SECRET_SHAPES.search(path.read_bytes()), path
    again = rehearse("judge", directory, "-o", "json")
    assert json.loads(again.stdout)["proofs"] == judgement["proofs"]
    return judgement


AT_NIGHT: Final = {
    "a-config-written-in-a-pod-by-1.7-never-worked-for-another-cluster": "a-frozen-reviewer-dies-with-its-pod",
    "a-config-written-outside-a-pod-breaks-once-vault-has-one": OUTAGE.stem,
    "a-copied-pod-token-as-the-reviewer-dies-with-the-pod": "stored-reviewer-refused",
    "a-new-issuer-of-the-cluster-refuses-every-login-of-a-vault-that-stays": "issuer-mismatch",
    "a-projected-token-for-vault-needs-a-reviewer-beside-it": "client-jwt-not-accepted",
    "a-reviewer-without-auth-delegator-refuses-everyone": "reviewer-lacks-tokenreview-rbac",
    "another-version-of-the-agent-would-not-help": OUTAGE.stem,
    "running-apps-renew-on-while-new-logins-are-refused": OUTAGE.stem,
}
"""Shipped scenarios left to the night, each with what proves the same remedies by day: a scenario or a cause."""


@pytest.mark.parametrize(
    "file", [pytest.param(one, id=one.stem, marks=[pytest.mark.nightly] * (one.stem in AT_NIGHT)) for one in RED]
)
def test_the_remedies_of_a_shipped_scenario_mend(file: Path, tmp_path: Path, lender: Lender) -> None:
    """Each, at every moment for which it is meant: all are granted again, and no impostor is."""
    judgement = proven(lender, file, tmp_path / f"proof-{os.getpid()}-{RED.index(file)}")
    assert [(one["sentence"], one["state"]) for one in judgement["proofs"] if one["state"] != "mends"] == []
    assert (judgement["unproven"], judgement["exit_code"]) == ([], 0)
    tried = {(one["rule"], app) for one in judgement["proofs"] for app in one["apps"]}
    of_login = [one for one in judgement["findings"] if one["effect"] in REFUSALS and one["probe"] == "login"]
    of_all = [one for one in judgement["findings"] if one["effect"] == "upgrade refused"]
    found = {(one["rule"], one["app"]) for one in of_login}
    assert tried == found | {(one["rule"], app) for one in of_all for app in loading.load(file).scenario.apps}
    for one in judgement["proofs"]:
        assert one["held"] >= 4
        assert all(answer == "200" for look in one["after"].values() for answer in look.values())


def test_an_app_that_may_review_is_shown_to_review_what_is_not_its_own(tmp_path: Path, lender: Lender) -> None:
    """What the flag of the outage costs: by the API server's own answer, before the remedy and after it."""
    file = written(SCENARIOS_OF["reviewer-lacks-tokenreview-rbac"], tmp_path)
    judgement = proven(lender, file, tmp_path / f"abuse-{os.getpid()}")
    wide, narrow = judgement["proofs"][:1], judgement["proofs"][1:]
    (risk,) = wide[0]["risks"]
    assert (risk["probe"], risk["shown"], risk["new"]) == ("abuse-token-review", True, True)
    assert [line["text"].rpartition(" HTTP ")[2][:3] for line in risk["evidence"]] == ["403", "201"]
    assert wide[0]["added"] == ["apps/web is bound to system:auth-delegator in apps"]
    assert [one["risks"] for one in narrow] == [[]] * len(narrow)


def written(scenario: Scenario, tmp_path: Path) -> Path:
    """Write a scenario into a file."""
    document = scenario.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    file = tmp_path / "scenario.yaml"
    file.write_text(json.dumps({name: value for name, value in document.items() if name != "expect"}))
    return file


BEYOND_THE_CORE: Final = {
    "review-without-audiences": further("vault:1.3.0"),
    "jwt-discovered-issuer": further("vault:1.13.0"),
    "review-audiences-left-out": further("vault:1.12.0", "vault:1.13.0"),
}


@pytest.mark.parametrize("cause", [pytest.param(cause, marks=BEYOND_THE_CORE.get(cause, ())) for cause in SCENARIOS_OF])
def test_the_remedies_of_a_cause_mend(cause: str, tmp_path: Path, lender: Lender) -> None:
    judgement = proven(
        lender, written(SCENARIOS_OF[cause], tmp_path), tmp_path / f"cause-{os.getpid()}-{cause.split(maxsplit=1)[0]}"
    )
    rule = cause.partition(",")[0]
    assert rule in {one["rule"] for one in judgement["proofs"]}, judgement["reasons"]
    assert [(one["sentence"], one["state"]) for one in judgement["proofs"] if one["state"] != "mends"] == []
    assert judgement["unproven"] == []


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT], ids=["SIGKILL", "SIGINT"])
def test_a_run_that_is_ended_in_a_proof_leaves_nothing(number: signal.Signals, tmp_path: Path) -> None:
    """Whatever was seen until then is judged: the proof that was under way, and those to come, were not made."""
    file = written(SCENARIOS_OF["reviewer-lacks-tokenreview-rbac"], tmp_path)
    directory = tmp_path / f"ended-{os.getpid()}-{int(number)}"
    words = [*REHEARSE, "run", str(file), "--prove-remedy", "--run-dir", str(directory)]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True, cwd=ROOT) as running:
        assert running.stderr is not None
        assert any("asking after the remedy" in said for said in running.stderr)
        running.send_signal(number)
        running.stderr.read()
    assert running.returncode == (130 if number == signal.SIGINT else -number)
    until_gone(directory)
    judged = json.loads(rehearse("judge", directory, "-o", "json").stdout)
    assert [one["state"] for one in judged["proofs"]] == ["not tried", "not tried"]
    assert judged["exit_code"] == 4
