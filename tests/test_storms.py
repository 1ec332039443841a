"""Many Pods of an app that log in at once: what a scenario says of them, what is counted, and what it means."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.analysis import verdict
from harness.analysis.verdict import Judgement
from harness.artifacts.store import Sources, Store
from harness.clients import packaged, wrk
from harness.drivers import storms as made
from harness.drivers.kind import limits
from harness.drivers.local.driver import LocalDriver
from harness.drivers.paper.driver import PaperRig
from harness.errors import MissingPrerequisite, RigError, ScenarioError
from harness.maintenance import packages
from harness.record.journal import Journal
from harness.rehearsal.probes.storm import _answer
from harness.reports import storms as report
from harness.rig.rig import Reply
from harness.scenario import loading, plan, shared_source
from harness.scenario.app_spec import STORM, StormSpec
from tests import stored_records
from tests.runs import OUTAGE, SCENARIOS, on_paper

SHIPPED = SCENARIOS / "a-morning-of-1500-pods-is-refused-after-the-upgrade.yaml"
ALL_IN: dict[str, Any] = {"pods": 1500, "at_once": 100, "answers": {"HTTP 200": 1500}, "said": {}}
QUICK: dict[str, float] = {"p50": 1.0, "p95": 2.0, "p99": 3.0, "max": 4.0}


def said(of_app: str, *changes: tuple[str, str]) -> loading.Loaded:
    """Return the outage with more said of its app, and other *changes*."""
    text = OUTAGE.read_text(encoding="utf-8")
    for old, new in (("reads: [secret/web]}", f"reads: [secret/web], {of_app}}}"), *changes):
        assert old in text
        text = text.replace(old, new)
    return loading.loads(text, "outage.yaml")


def judged(directory: Path, monkeypatch: pytest.MonkeyPatch, *replies: Reply) -> Judgement:
    """Return what comes of an upgrade that lets the app in as before, when storms are answered by *replies* in turn."""
    told = iter(replies)
    monkeypatch.setattr(PaperRig, "login_storm", lambda _rig, _app: next(told))
    loaded = said("storm: {pods: 1500}", ("target: 1.11.0", "target: 1.9.2"), ("at: 1.11.0", "at: 1.9.2"))
    return on_paper(loaded.scenario.model_copy(update={"expect": None}), directory)[1]


def answered(answers: dict[str, int], **more: Any) -> Reply:
    """Return what a driver says of a storm with these *answers*."""
    data = ALL_IN | {"answers": answers} | more
    return Reply(*made._worst(data), data)


# --- what it comes to ---


def test_a_morning_of_1500_pods_is_refused_for_the_cause_of_a_single_login() -> None:
    """The record of a real run: 1,500 x 403 is one finding with one cause, and both sides are counted."""
    judgement = verdict.judge(stored_records.record(f"format-2/{SHIPPED.stem}"))
    (finding,) = judgement.findings
    assert (finding.rule, finding.probe, finding.confidence) == ("reviewer-fallback-local", "login", "strong")
    assert "So were all 1,500 Pods that logged in at once" in finding.sentence
    (line,) = (line for line in finding.evidence if "1,500 Pods" in line.text)
    assert "TokenReviews: 1,500 x HTTP 401, asked by 1,500 x nobody" in line.text
    assert line.line
    before, after = judgement.storms
    assert (before.accepted, before.refused, before.reviewers) == (1500, {}, {"system:serviceaccount:apps:web": 1500})
    assert before.per_second > 0
    assert sorted(before.latency_ms.values()) == [before.latency_ms[name] for name in ("p50", "p95", "p99", "max")]
    assert (after.accepted, after.refused, after.per_second) == (0, {"HTTP 403": 1500}, 0)
    first, second = (line for _, line in report.told(judgement.storms))
    assert "1,500 of 1,500 Pods of web let in at once, " in first
    assert "0 of 1,500 Pods of web let in at once; 1,500 x HTTP 403 permission denied" in second
    assert "asked by somebody it does not know" in second


def test_a_storm_on_paper_is_answered_as_the_app_and_has_no_figures(tmp_path: Path) -> None:
    _, judgement = on_paper(loading.load(SHIPPED).scenario, tmp_path)
    assert [(one.accepted, one.refused, one.latency_ms) for one in judgement.storms] == [
        (1500, {}, {}),
        (0, {"HTTP 403": 1500}, {}),
    ]
    assert "a second" not in str(report.rows(judgement.storms))


def test_how_fast_it_is_makes_no_finding_and_no_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred times slower is the machine's, and stands in the table alone."""
    slow = {name: value * 100 for name, value in QUICK.items()}
    replies = [answered({"HTTP 200": 1500}, seconds=took, latency_ms=ms) for took, ms in ((1.0, QUICK), (100.0, slow))]
    judgement = judged(tmp_path, monkeypatch, *replies)
    assert (judgement.verdict, judgement.findings) == ("pass", ())
    assert not [change for change in judgement.changes if change.probe == STORM]
    assert [one.per_second for one in judgement.storms] == [1500.0, 15.0]


@pytest.mark.parametrize(
    ("answers", "more", "words"),
    [
        ({"HTTP 200": 900, "HTTP 429": 600}, {"said": {"HTTP 429": "rate limit quota exceeded"}}, "a quota of it"),
        (
            {"HTTP 200": 900, "HTTP 500": 600},
            {"reviews": {"answers": {"HTTP 201": 900, "HTTP 429": 600}, "asked_by": {}, "latency_ms": {}}},
            "The API server turned 600 of Vault's TokenReviews away",
        ),
        ({"HTTP 200": 900, "no answer": 600}, {}, "600 x no answer"),
    ],
    ids=["quota", "priority and fairness", "no answer"],
)
def test_some_that_are_turned_away_are_a_finding_with_its_evidence(
    answers: dict[str, int], more: dict[str, Any], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judgement = judged(tmp_path, monkeypatch, answered({"HTTP 200": 1500}), answered(answers, **more))
    (finding,) = judgement.findings
    assert (finding.kind, finding.effect, finding.rule) == ("regression", "login refused", "refused-at-once")
    assert words in finding.sentence
    assert [line.text for line in finding.evidence][1] == "web alone: HTTP 200"
    assert finding.remedies[0].unproven


def test_a_storm_that_nobody_answered_is_not_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    judgement = judged(tmp_path, monkeypatch, answered({"HTTP 200": 1500}), answered({"no answer": 1500}))
    assert (judgement.verdict, judgement.exit_code, judgement.findings) == ("inconclusive", 4, ())


@pytest.mark.parametrize(
    ("answers", "answer"),
    [
        ({"HTTP 200": 1500}, "granted"),
        ({"HTTP 200": 1499, "HTTP 429": 1}, "refused"),
        ({"HTTP 200": 1499, "no answer": 1}, "refused"),
        ({"HTTP 403": 1500}, "refused"),
        ({"HTTP 503": 1500}, "unknown"),
        ({"no answer": 1500}, "unknown"),
    ],
)
def test_how_a_storm_reads(answers: dict[str, int], answer: str) -> None:
    assert _answer(answered(answers, said={"HTTP 403": "permission denied"})) == answer


# --- what is counted ---

PRINTED = (
    '{"seconds": 0.7, "statuses": {"403": 2, "200": 1}, "said": {"403": "{\\"errors\\":[\\"permission denied\\"]} "}, '
    '"micros": {"p99": 9, "p50": 2, "max": 1500, "p95": 8}}'
)


def test_what_wrk_counted_is_read_out_of_all_that_it_prints() -> None:
    counted = wrk.counted(["Running 60s test @ https://127.0.0.1:1/x", "  3 requests in 0.7s", PRINTED])
    assert (counted.answered, counted.said) == (3, {"403": "permission denied"})
    data = made._data(StormSpec(pods=4, at_once=2), counted)
    assert data["answers"] == {"HTTP 200": 1, "HTTP 403": 2, "no answer": 1}
    assert data["latency_ms"]["max"] == 1.5
    assert made._worst(data) == (403, "permission denied")


def test_what_a_server_said_is_told_without_what_looks_like_a_secret() -> None:
    said = PRINTED.replace("permission denied", "no such token hvs.ABCDEFGHIJKLMNOPQRSTUVWX")
    assert "hvs." not in wrk.counted([said]).said["403"]


def test_a_wrk_that_counted_nothing_says_what_it_said() -> None:
    with pytest.raises(RigError, match="without a count"):
        wrk.counted(["unable to connect to 127.0.0.1:1 Connection refused"])


def test_tokens_are_in_a_file_and_not_on_the_command_line(tmp_path: Path) -> None:
    words = wrk.command("https://127.0.0.1:1/v1/auth/k/login", tmp_path / "logins", 1500, 100)
    assert words[-2:] == [str(tmp_path / "logins"), "100"]
    assert not any("eyJ" in word for word in words)
    assert f"--duration={wrk.patience(1500)}s" in words


def test_most_took_at_most_so_long() -> None:
    assert wrk.spread([number / 1000 for number in range(1, 101)]) == {"p50": 50, "p95": 95, "p99": 99, "max": 100}
    assert wrk.spread([]) == {}


# --- who can have one ---


@pytest.mark.parametrize(
    ("of_app", "changes", "complaint"),
    [
        ("storm: {pods: 1}", (), "2"),
        ("storm: {pods: 1500, at-once: 0}", (), "1"),
        ("storm: {logins: 1500}", (), "pods"),
        ("token: secret, storm: {pods: 9}", (), "the token that its kubelet requests, and this app has another"),
        ("storm: {pods: 9}", (("storage: raft", "storage: raft\n  nodes: 3"),), "a Vault of one node"),
    ],
)
def test_a_storm_that_cannot_be_is_refused_where_it_stands(
    of_app: str, changes: tuple[tuple[str, str], ...], complaint: str
) -> None:
    with pytest.raises(ScenarioError, match=complaint):
        said(of_app, *changes)


def test_who_logs_in_with_a_password_has_no_storm() -> None:
    text = (SCENARIOS / "secret-ids-and-passwords-log-in-as-before-beside-kubernetes.yaml").read_text("utf-8")
    loading.loads(text, "secrets.yaml")
    changed = text.replace("mount: people,", "mount: people, storm: {pods: 9},").replace(
        "mount: people\n", "mount: people\n    storm: {pods: 9}\n"
    )
    assert changed != text
    with pytest.raises(ScenarioError, match=r"has no .?storm"):
        loading.loads(changed, "secrets.yaml")


def test_more_at_once_than_there_are_is_all_of_them() -> None:
    planned = plan.make(said("storm: {pods: 9}").scenario, "x", "local")
    assert planned.resolved.apps["web"].storm == StormSpec(pods=9, at_once=9)
    assert [one.app for one in planned.questions if one.probe == STORM] == ["web"]
    assert "many Pods" in shared_source.why_not(planned)


def test_without_wrk_a_storm_ends_before_it_begins_and_the_doctor_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packaged, "PLACES", (str(tmp_path),))
    loaded = said("storm: {pods: 9}")
    planned = plan.make(loaded.scenario, loaded.name, "local")
    driver = LocalDriver(Store(Sources(tmp_path), print), tmp_path, tmp_path, force=True)
    with (
        Journal.opened(tmp_path / "record") as journal,
        pytest.raises(MissingPrerequisite, match="Debian's package wrk"),
        driver.up(planned, "run", journal),
    ):
        pass
    with pytest.raises(MissingPrerequisite, match="Debian's package wrk"):
        limits.insist(plan.make(loaded.scenario, loaded.name, "kind"))
    (line,) = (line for line in packages.examine() if line.name == "wrk")
    assert (line.state, line.mend) == ("note", "install Debian's package wrk (apt-get install wrk)")
    assert "scenarios with a storm of logins cannot run here" in line.says
