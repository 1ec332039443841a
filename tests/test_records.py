"""Records of real runs, judged again without any server: what was right once stays right with a newer judge."""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path

import pytest

from harness.analysis import verdict
from harness.analysis.correlation import Source
from harness.record import journal
from tests.test_scenarios import PROMISED

RECORDS = Path(__file__).parent / "records"
PROVE_IT: dict[str, set[Source]] = {
    "leader-replaced-first": {"nodes"},
    "leader-of-older-version": {"nodes"},
    "standby-does-not-forward": {"nodes", "answer"},
    "lease-list-too-large": {"server"},
    "seal-not-disabled": {"server"},
    "audit-device-blocked": {"audit device"},
    "reviewer-fallback-local": {"api audit", "vault audit", "config"},
    "reviewer-frozen": {"api audit", "api log", "vault audit", "config"},
    "reviewer-lacks-tokenreview-rbac": {"api audit", "vault audit"},
    "stored-reviewer-refused": {"api audit", "api log", "vault audit", "config", "token", "pod"},
    "jwt-key-unknown": {"answer", "vault audit", "config", "token"},
    "certificate-key-not-compared": {"answer", "vault audit"},
    "jwt-keys-refused": {"answer", "vault audit", "config"},
    "changed-by-step": {"answer"},
    "issuer-mismatch": {"answer", "vault audit", "config", "token", "cluster"},
    "client-jwt-not-accepted": {"api audit", "api log", "vault audit", "config", "token"},
}
"""Rule -> the sources without which nobody should believe it."""


def stored(name: str) -> Path:
    """Return the record of a shipped scenario: the oldest there is, and younger scenarios have none of format 1."""
    old = RECORDS / f"{name}.jsonl"
    return old if old.is_file() else RECORDS / "format-2" / old.name


@pytest.mark.parametrize("record", sorted(RECORDS.rglob("*.jsonl")), ids=lambda file: f"{file.parent.name}/{file.stem}")
def test_a_stored_record_is_judged_as_it_was_lived(record: Path) -> None:
    """The verdict and every finding of the real run come from its record alone, whatever its format."""
    judgement = verdict.judge(journal.load(record))
    expected, findings = PROMISED[record.stem]
    assert (judgement.exit_code, judgement.doubts) == (0, ())
    assert judgement.outcome == ("expected-fail" if expected == "fail" else "pass")
    assert judgement.verdict == expected
    assert judgement.as_expected
    assert [(f.kind, f.effect, f.rule, f.hop) for f in judgement.findings] == list(findings)
    assert judgement.driver == "local"


@pytest.mark.parametrize("name", sorted(PROMISED))
def test_a_finding_of_a_real_run_is_proven_from_both_sides(name: str) -> None:
    """Vault's own words and the API server's belong to the very login that the finding is about."""
    for finding in verdict.judge(journal.load(stored(name))).findings:
        assert {evidence_line.source for evidence_line in finding.evidence} >= PROVE_IT[finding.rule]
        assert not finding.ambiguous


@pytest.mark.parametrize("name", sorted(name for name, (_, findings) in PROMISED.items() if findings))
def test_a_refused_login_of_a_real_run_clears_the_wrong_leads(name: str) -> None:
    """Issuer, role binding, CA, reachability and expiry are ruled out, each with the evidence that clears it.

    But for the one that Vault itself names.
    """
    record = journal.load(stored(name))
    wanted = record.started.plan.topology
    for finding in verdict.judge(record).findings:
        if finding.kind in ("latent", "improvement") or not finding.mount:
            continue
        of_login = finding.mount and (wanted is None or wanted.mounts[finding.mount].of_kind.reviews)
        if not of_login:
            # those are the leads where an API server is asked, and nowhere else
            assert finding.ruled_out == ()
            continue
        leads = {"issuer", "role binding", "CA", "reachability", "JWT expiry"}
        leads |= {"agent"} if wanted is not None and wanted.apps[finding.app].agent else set()
        leads -= {"issuer"} if finding.rule == "issuer-mismatch" else set()
        assert {lead.lead for lead in finding.ruled_out if lead.state == "ruled out" and lead.evidence} == leads


@pytest.mark.parametrize("name", sorted(PROMISED))
def test_a_record_that_was_cut_off_is_never_a_pass(name: str, tmp_path: Path) -> None:
    """Wherever the run was killed, what is left is judged, and nothing unknown is called fine."""
    lines = stored(name).read_bytes().splitlines(keepends=True)
    for kept in range(1, len(lines), 7):
        (tmp_path / journal.RECORD_FILE).write_bytes(b"".join(lines[:kept]))
        judgement = verdict.judge(journal.load(tmp_path))
        assert judgement.verdict != "pass"
        assert judgement.exit_code != 0


def test_a_record_can_be_judged_wherever_it_is_moved(tmp_path: Path) -> None:
    """The directory is the only thing that differs."""
    name = min(PROMISED)
    shutil.copyfile(stored(name), tmp_path / journal.RECORD_FILE)
    moved = verdict.judge(journal.load(tmp_path))
    assert moved.run_directory == str(tmp_path)
    assert moved.findings == verdict.judge(journal.load(stored(name))).findings


def test_no_record_tells_where_its_project_stood() -> None:
    """A scenario's file is told from the top of the project: where that was is nobody's business."""
    for file in sorted(RECORDS.rglob("*.jsonl*")):
        first = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
        told = json.loads(first.partition(b"\n")[0])
        assert not any(str(word).startswith("/") for word in (told.get("scenario_file", ""), *told.get("command", ())))
