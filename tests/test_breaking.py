"""A Vault that is gone after its swap has refused the data only if its own words say so."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec
import pytest

from harness.analysis.verdict import Judgement, judge
from harness.record.events import ArtifactUsed, Trouble
from harness.record.journal import Record
from harness.record.observation import Observation
from harness.scenario.schema import Scenario
from tests.runs import on_paper
from tests.test_rules import changed, mapped, mount, with_lines

CALM: Final = changed(mount(reviewer="long-lived"))
DIED: Final = "waited for Vault 1.11.0 to answer, but Vault 1.11.0 ended by itself with status {}; its log is kept"
UNSEALED: Final = '{"@level":"info","@message":"vault is unsealed","@module":"core"}'
TOLD: Final = "==> Vault shutdown triggered"
SEALING: Final = '{"@level":"info","@message":"marked as sealed","@module":"core"}'


def broken(tmp_path: Path, message: str, *log: str, kind: str = "died", scenario: Scenario = CALM) -> Judgement:
    """Return the judgement of a run that broke after the swap to 1.11.0, with these last lines of Vault."""
    return judge(cut(on_paper(scenario, tmp_path)[0], message, *log, kind=kind))


def cut(record: Record, message: str, *log: str, kind: str = "died", at: float = 0.0) -> Record:
    """Return *record* without what came after its hop, and with the trouble in its place."""
    moment = "after 1.11.0"
    cut_off = mapped(record, lambda e: None if isinstance(e, Observation) and e.moment == moment and not at else e)
    trouble = Trouble(at=at, kind=kind, during="hop 1.11.0", after_swap="1.11.0", message=message, log=log)  # type: ignore[arg-type]
    return with_lines(cut_off, [trouble])


EVIDENCE: Final = {
    "panic": (["panic: assignment to entry in nil map", "", "goroutine 1 [running]:"], "certain"),
    "storage": (["Error initializing storage of type raft: failed to create fsm: invalid database"], "certain"),
    "unknown storage": (["Unknown storage type etcd"], "certain"),
    "configuration": (["error loading configuration from vault.json: disable_mlock must be configured"], "certain"),
    "core": (
        [
            '{"@level":"error","@message":"shutting down core","@module":"core","error":"mount entry app-id"}',
            "==> Vault core was shut down",
        ],
        "certain",
    ),
    "seal": (['{"@level":"error","@message":"post-unseal setup failed","error":"unknown mount type"}'], "strong"),
    "text log": (["2021-01-01T00:00:00Z [ERROR] core: failed to migrate keyring"], "strong"),
}


def test_a_build_without_the_storage_says_nothing_of_the_release(tmp_path: Path) -> None:
    """Vault 1.18 and newer are built without `file` and `etcd`: nobody's upgrade fails by that. Run: 1.18.0."""
    record = cut(on_paper(CALM, tmp_path)[0], DIED.format(1), "Unknown storage type file")
    used = ArtifactUsed(at=0.0, product="vault", version="1.11.0", source="built", sha256="ab" * 32, trimmed="much")
    judgement = judge(with_lines(record, [used]))
    assert (judgement.verdict, judgement.exit_code, judgement.findings) == ("inconclusive", 4, ())
    assert any("the build that is at hand leaves that storage out" in reason for reason in judgement.reasons)


@pytest.mark.parametrize("name", EVIDENCE)
def test_a_refusal_is_as_sure_as_its_words(name: str, tmp_path: Path) -> None:
    """What a server says as it gives up is certain; errors in its log before an end are strong."""
    lines, confidence = EVIDENCE[name]
    (finding,) = broken(tmp_path, DIED.format(1), UNSEALED, *lines).findings
    assert (finding.rule, finding.effect, finding.confidence) == ("vault-refuses-data", "upgrade refused", confidence)
    assert lines[0] in [evidence_line.text for evidence_line in finding.evidence]
    assert finding.remedies


NO_EVIDENCE: Final = {
    "no word": [],
    "nothing of note": [UNSEALED],
    "the port": ["Error initializing listener of type tcp: listen tcp 127.0.0.1:1: bind: address already in use"],
    "the disk": ['{"@level":"error","@message":"failed to persist storage entry: no space left on device"}'],
    "memory": ["fatal error: runtime: out of memory"],
    "an error in passing": ['{"@level":"error","@message":"http: TLS handshake error from 127.0.0.1"}'],
    "words that look like it": ["goroutine 5 [select]:", "github.com/hashicorp/vault/physical/raft.(*FSM).storage()"],
}


@pytest.mark.parametrize("name", NO_EVIDENCE)
def test_an_end_without_evidence_is_inconclusive(name: str, tmp_path: Path) -> None:
    """No regression, exit 4, and where to look."""
    judgement = broken(tmp_path, DIED.format(1), *NO_EVIDENCE[name])
    assert (judgement.verdict, judgement.exit_code, judgement.findings) == ("inconclusive", 4, ())
    assert "no evidence that it refuses the data" in judgement.reasons[0]
    assert "run again" in judgement.reasons[0]


@pytest.mark.parametrize(
    ("message", "log", "who"),
    [
        pytest.param(DIED.format(0), [UNSEALED, TOLD, SEALING], "SIGTERM or SIGINT (its log says: ==>", id="told"),
        pytest.param(DIED.format(2), ["SIGQUIT: quit", "PC=0x47a0c1 m=0"], "SIGQUIT", id="told to dump its state"),
        pytest.param("Vault 1.11.0 was ended from outside by SIGTERM", [], "SIGTERM", id="too early to say so"),
        pytest.param(
            DIED.format(0),
            ['{"@level":"error","@message":"unknown mount type"}', TOLD],
            "SIGTERM or SIGINT",
            id="told, after an error of its own",
        ),
    ],
)
def test_a_vault_that_was_stopped_did_not_refuse(message: str, log: list[str], who: str, tmp_path: Path) -> None:
    """In records of older releases too, which took every end after a swap for a refusal."""
    judgement = broken(tmp_path, message, *log)
    assert (judgement.verdict, judgement.exit_code, judgement.findings) == ("inconclusive", 4, ())
    assert f"Vault 1.11.0 was stopped from outside by {who}" in judgement.reasons[0]
    assert "see who stops processes here" in judgement.reasons[0]


def test_a_key_that_is_declined_with_words_is_a_refusal(tmp_path: Path) -> None:
    """What it answered is evidence of its own; a status without a word is none."""
    message = "Vault 1.11.0 was handed an unseal key that opens this data, and declined it: HTTP 400"
    (finding,) = broken(tmp_path / "a", f"{message} cipher: message authentication failed", kind="refused").findings
    assert (finding.rule, finding.confidence) == ("vault-refuses-data", "certain")
    assert broken(tmp_path / "b", message, kind="refused").verdict == "inconclusive"


def test_another_version_in_its_place_is_the_caches_fault(tmp_path: Path) -> None:
    """As records of older releases have it, too."""
    message = "Vault 1.11.0 was put in place, and Vault 1.9.2 answers: the binary is not what it is taken for"
    judgement = broken(tmp_path, message, kind="refused")
    assert (judgement.verdict, judgement.findings) == ("inconclusive", ())
    assert "Vault 1.9.2 answers" in judgement.reasons[0]


def test_what_a_dying_vault_refuses_is_no_answer(tmp_path: Path) -> None:
    """Its TokenReviews are cut off, and every login in flight answers 403: that is nobody's regression."""
    script = {("login", "web", "1.11.0"): "refuse"}
    record, alive = on_paper(CALM, tmp_path, script=script)
    assert alive.verdict == "fail"
    login = next(o for o in record.of(Observation) if o.probe == "login" and o.moment != "before")
    stopped = judge(cut(record, "Vault 1.11.0 was stopped from outside by SIGTERM", kind="ours", at=login.ended + 0.5))
    assert (stopped.verdict, stopped.exit_code, stopped.findings) == ("inconclusive", 4, ())
    assert any("Vault was being stopped; its answer then was 403" in reason for reason in stopped.reasons)
    long_ago = msgspec.structs.replace(login, started=login.started - 60, ended=login.ended - 60)
    earlier = mapped(record, lambda event: long_ago if event == login else event)
    kept = judge(cut(earlier, "Vault 1.11.0 was stopped from outside by SIGTERM", kind="ours", at=login.ended + 0.5))
    assert [finding.effect for finding in kept.findings] == ["login refused"]
