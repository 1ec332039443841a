"""What is answered now so and now otherwise, in one state, is no change of the upgrade's: it is told, with counts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final, cast

import pytest
from msgspec.structs import replace

from harness.analysis import verdict
from harness.analysis.verdict import Judgement
from harness.drivers import proxies
from harness.drivers.paper.driver import PaperRig
from harness.record.events import AnyEvent
from harness.record.journal import Journal, Record
from harness.record.observation import Answer, Observation
from harness.rehearsal import asking, probes
from harness.rehearsal.asking import AGAIN, Asking
from harness.rehearsal.probes import View
from harness.reports import markdown, run_html, text
from harness.rig.rig import Rig
from harness.rig.several import SeveralNodes
from harness.scenario import loading, plan
from harness.scenario.plan import Question
from tests import every_other_proxy, stored_records
from tests.lent import Lender
from tests.runs import OUTAGE
from tests.test_rules import mapped

LOGIN = Question(probe="login", app="web", mount="kubernetes")
MIXED = {"refused 403": 2, "granted 200": 2}


# --- which questions are asked again ---


@dataclass
class Answering:
    """A stand-in for the probes and all they ask: gives one answer after the other, and counts."""

    answers: Sequence[Answer]
    must_be: Any = ""
    blocked_by: int | None = None
    asked: int = 0

    def __call__(self, view: View, question: Question) -> Observation:
        answer = self.answers[min(self.asked, len(self.answers) - 1)]
        self.asked += 1
        status = {"granted": 200, "refused": 403, "unknown": None}[answer]
        return Observation(
            id=view.number(), probe=question.probe, moment=view.moment, version=view.version, answer=answer,
            app=question.app, status=status, must_be=self.must_be, blocked_by=self.blocked_by,
        )  # fmt: skip


Looks = Callable[..., tuple[list[Observation], Answering]]


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Looks:
    """Ask one question at one look after the other; return what went on record, and who was asked."""

    def look(question: Question, *answers: Answer, looks: int = 2, **how: Any) -> tuple[list[Observation], Answering]:
        one = Answering(answers, **how)
        monkeypatch.setattr(probes, "ASKED", dict.fromkeys(probes.ASKED, one))
        topology = plan.make(loading.load(OUTAGE).scenario, "test", "local").resolved
        rig = cast("Rig", SimpleNamespace(broken=lambda: None))
        written: list[Observation] = []
        journal = cast("Journal", SimpleNamespace(write=written.append))
        asked = Asking(topology, rig, journal, real=True)
        for number in range(looks):
            asked.ask(question, View(rig, topology, str(number), "1.7.0", lambda: 7))
        return written, one

    return look


def test_an_answer_that_stays_is_asked_once(looks: Looks) -> None:
    written, one = looks(LOGIN, "granted")
    assert one.asked == 2
    assert [seen.answers for seen in written] == [{}, {}]


def test_a_change_is_asked_again_and_holds(looks: Looks) -> None:
    written, one = looks(LOGIN, "granted", "refused")
    assert one.asked == 2 + AGAIN
    assert written[1].answers == {"refused 403": 1 + AGAIN}
    assert not written[1].mixed


def test_a_change_that_does_not_hold_is_counted(looks: Looks) -> None:
    """The answer of the record is the first one: what it gave is what apps go on with."""
    written, _ = looks(LOGIN, "granted", "refused", "granted", "refused", "granted")
    assert (written[1].answer, written[1].answers, written[1].mixed) == ("refused", MIXED, True)


def test_a_refusal_at_the_first_look_is_asked_again(looks: Looks) -> None:
    written, _ = looks(LOGIN, "refused", "granted", looks=1)
    assert written[0].answers == {"refused 403": 1, "granted 200": AGAIN}


@pytest.mark.parametrize("probe", ["lockout", "wrong-secret", "agent-login", "late-role", "abuse-any-account"])
def test_what_a_question_itself_would_change_is_asked_once(probe: str, looks: Looks) -> None:
    assert looks(Question(probe=probe, app="web"), "granted", "refused")[1].asked == 2


def test_what_could_not_be_asked_or_must_be_refused_is_asked_once(looks: Looks) -> None:
    assert looks(LOGIN, "unknown", looks=1, blocked_by=3)[1].asked == 1
    assert looks(Question(probe="tampered-jwt", app="web"), "refused", must_be="refused")[1].asked == 2


def test_what_answers_slowly_is_asked_once_more(looks: Looks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "_SECONDS", -1.0)
    assert looks(LOGIN, "granted", "refused")[1].asked == 3


# --- what it means ---


def told(counted: dict[str, int]) -> tuple[Record, Judgement]:
    """Return the outage as it was lived, but for what came when the last login was asked again."""
    record = stored_records.record("format-2/the-outage-apps-in-another-cluster-are-refused-after-the-upgrade")
    last = [seen for seen in record.of(Observation) if seen.probe == "login"][-1]

    def change(event: AnyEvent) -> AnyEvent:
        return replace(event, answers=counted) if event == last else event

    changed = mapped(record, change)
    return changed, verdict.judge(changed)


def test_mixed_answers_are_no_regression_and_no_pass() -> None:
    """The very login that is refused, and is granted half of the times: nothing is known of the upgrade then."""
    record, judgement = told(MIXED)
    assert judgement.findings == ()
    assert (judgement.verdict, judgement.exit_code) == ("inconclusive", 4)
    (doubt,) = judgement.doubts
    assert (doubt.kind, doubt.apps) == ("mixed", ("web",))
    counts = "asked 4 times in the same state, and answered refused 403 2 times, granted 200 2 times"
    assert f"login of web after 1.11.0 was {counts}" in doubt.text
    assert [seen.answers for seen in judgement.observations if seen.mixed] == [MIXED]
    for said in (text.render(judgement, width=400), markdown.render(judgement), run_html.render(record, judgement)):
        assert counts in said


def test_the_same_refusal_four_times_is_the_regression_that_it_was() -> None:
    whole, _ = told({}), told({"refused 403": 4})
    for _, judgement in (whole, told({"refused 403": 4})):
        assert [one.rule for one in judgement.findings] == ["reviewer-fallback-local"]
        assert judgement.exit_code == 0


@pytest.mark.real
def test_an_api_server_that_fails_every_other_time_is_seen(
    lender: Lender, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A real proxy between Vault and the API server: no regression is told, and it is told what was counted."""
    monkeypatch.setattr(proxies, "proxy", every_other_proxy)
    written = OUTAGE.read_text().partition("\nexpect:")[0].replace("target: 1.11.0", "target: 1.8.0")
    file = tmp_path / "every-other.yaml"
    file.write_text(
        written.replace("    configured:", "    config: {kubernetes_host: proxy, issuer: cluster}\n    configured:")
    )
    code, judgement = lender.rehearse(file, tmp_path / "run")
    mixed = [one for one in judgement["observations"] if len({each.split()[0] for each in one["answers"]}) > 1]
    assert mixed, [(one["probe"], one["moment"], one["status"]) for one in judgement["observations"]]
    assert all(sum(one["answers"].values()) == 1 + AGAIN for one in mixed)
    assert (code, judgement["verdict"]) == (4, "inconclusive")
    assert {one["kind"] for one in judgement["doubts"]} == {"mixed"}
    assert [one for one in judgement["findings"] if one["kind"] == "regression"] == []


THREE: Final = """\
schema: 1
description: Three nodes over raft, and two apps with passwords.
vault: {source: 1.11.0, storage: raft, nodes: 3, shares: 1, threshold: 1}
auth:
  people: {type: userpass, roles: {one: {policies: [reads]}, two: {policies: [reads]}}}
apps:
  one: {mount: people, role: one, reads: [secret/one]}
  two: {mount: people, role: two, reads: [secret/two]}
course:
  - look: {}
  - look: {}
"""


@pytest.mark.real
def test_what_is_asked_while_leadership_moves_is_asked_again_of_whoever_leads_then(
    lender: Lender, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The one that leads steps down in the middle of a look, right before a login."""
    asked, stepped = probes.ASKED["login"], list[str]()

    def moving(view: View, question: Question) -> Observation:
        system = view.rig.system()
        if view.moment == "look" and not stepped and not isinstance(view.rig, PaperRig):
            assert isinstance(system, SeveralNodes)
            stepped.append(system.follow())
            assert system.setup.step_down().ok
        return asked(view, question)

    monkeypatch.setitem(probes.ASKED, "login", moving)
    (file := tmp_path / "three.yaml").write_text(THREE)
    code, judgement = lender.rehearse(file, tmp_path / "run")
    assert (code, judgement["verdict"], judgement["doubts"]) == (0, "pass", []), judgement["reasons"]
    again = {one["probe"]: one["at_first"] for one in judgement["observations"] if one["at_first"]}
    assert "login" in again, again
    assert "local node not active but active cluster node not found" in again["login"]
