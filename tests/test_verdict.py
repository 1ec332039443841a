"""What a run means: three verdicts, the worst of which wins, and no silence that passes for an answer."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

import harness
from harness.analysis import verdict
from harness.analysis.verdict import Contribution, Judgement, judge
from harness.drivers.paper.driver import PaperDriver, PaperRig
from harness.errors import HarnessError, LeftBehind, NotReady, SwapRefused, Unreachable
from harness.record.events import ClusterUp, MomentBegan, RunEnded, RunStarted, Trouble
from harness.record.journal import Journal, load
from harness.record.observation import Observation
from harness.rehearsal import rehearsal
from harness.rig.rig import Rig
from harness.scenario.course import Serve
from harness.scenario.plan import Plan
from harness.scenario.schema import Scenario
from tests.runs import on_paper, started, variant
from tests.test_rules import ONE_CLUSTER, changed, mapped, mount, with_lines, without

NOTHING_EXPECTED: dict[str, Any] = {"expect": None}
CALM = changed(mount(reviewer="long-lived"), NOTHING_EXPECTED)
OUTAGE = changed(NOTHING_EXPECTED)
LATENT = changed(ONE_CLUSTER, NOTHING_EXPECTED)
LOST = {"change": "login refused", "app": "web", "at": "1.11.0", "cause": "reviewer-fallback-local"}


class Breaking(PaperDriver):
    """Paper that raises *error* at one point of its life: while it comes up, at a swap, or on its way down."""

    def __init__(self, error: HarnessError, where: str) -> None:
        super().__init__()
        self._error, self._where = error, where

    @contextmanager
    def up(self, plan: Plan, run_id: str, journal: Journal) -> Iterator[Rig]:
        """Yield a system that breaks as told."""
        if self._where == "coming up":
            raise self._error
        rig = BreakingRig(plan, journal, {}, "")
        rig.error, rig.where = self._error, self._where
        yield rig
        if self._where == "way down":
            raise self._error


class BreakingRig(PaperRig):
    """A system on paper whose swap to the version *where* raises *error*."""

    error: HarnessError
    where: str

    def swap(self, served: Serve) -> None:
        """Break, or swap."""
        super().swap(served)
        if served.version == self.where:
            raise self.error


def broken(scenario: Scenario, directory: Path, error: HarnessError, where: str) -> Judgement:
    """Rehearse *scenario* with *error* in it."""
    with Journal.opened(directory / "run") as journal:
        return rehearsal.rehearse(started(scenario), Breaking(error, where), journal).judgement


def expecting(scenario: Scenario, *expected: dict[str, str]) -> Scenario:
    """Return *scenario* with an `expect` of exactly *expected*."""
    return variant(scenario, expect=list(expected))


# --- the three verdicts ---


@pytest.mark.parametrize(
    ("scenario", "expected"),
    [
        pytest.param(CALM, ("pass", True, 0), id="nothing changes"),
        pytest.param(OUTAGE, ("fail", False, 1), id="a login is refused"),
        pytest.param(LATENT, ("pass", True, 0), id="only the reviewer changes"),
        pytest.param(
            changed(mount(configured={"by": "1.7.0"}), NOTHING_EXPECTED), ("inconclusive", False, 4), id="pre-existing"
        ),
    ],
)
def test_the_verdict_follows_from_the_worst_finding(
    scenario: Scenario, expected: tuple[str, bool, int], tmp_path: Path
) -> None:
    """Only a regression fails, and an app that is refused all along has taught nobody anything; without an `expect`, as
    expected means: pass.
    """
    _, judgement = on_paper(scenario, tmp_path)
    assert (judgement.verdict, judgement.as_expected, judgement.exit_code) == expected
    assert judgement.reasons


@pytest.mark.parametrize("version", ["1.7.0", "1.11.0"])
@pytest.mark.parametrize("question", [("login", "web"), ("lookup", ""), ("read", "secret/data/web")])
def test_silence_is_never_a_pass(question: tuple[str, str], version: str, tmp_path: Path) -> None:
    """A question without an answer makes the run inconclusive, before the hop as after it."""
    _, judgement = on_paper(CALM, tmp_path, script={(*question, version): "silent"})
    assert (judgement.verdict, judgement.exit_code, judgement.as_expected) == ("inconclusive", 4, False)
    assert any("could not be asked" in reason for reason in judgement.reasons)
    assert any("stay silent" in line for line in judgement.not_checked)


def test_what_a_silent_login_blocks_is_silence_too(tmp_path: Path) -> None:
    """A login that got no answer leaves everything after it open, and each of these questions is named."""
    _, judgement = on_paper(CALM, tmp_path, script={("login", "web", "1.11.0"): "silent"})
    named = {reason.split()[0] for reason in judgement.reasons}
    assert {"login", "token-lookup", "token-renew", "read"} <= named


def test_a_secret_that_is_never_read_is_no_pass(tmp_path: Path) -> None:
    """The login works, and what the app is there for never did: nobody saw what the upgrade does to it."""
    never: Any = {("read", "secret/data/web", version): "refuse" for version in ("1.7.0", "1.11.0")}
    _, judgement = on_paper(CALM, tmp_path / "unsaid", script=never)
    assert (judgement.verdict, judgement.exit_code, judgement.unlearned) == ("inconclusive", 4, ())
    assert judgement.reasons[0].startswith("Is the reading of secret/web by web refused in production, too?")
    assert "auth.kubernetes.roles.web.policies (web)" in judgement.reasons[0]
    expected = [{"change": "refused from the start"}] * len(judgement.findings)
    _, judgement = on_paper(expecting(CALM, *expected), tmp_path / "said", script=never)
    assert (judgement.verdict, judgement.exit_code, judgement.doubts) == ("pass", 0, ())


def test_an_app_that_gets_in_somewhere_on_the_path_is_no_stranger(tmp_path: Path) -> None:
    """Refused at first, granted in the middle, refused at last: that is seen, and a regression."""
    scenario = changed(mount(reviewer="long-lived"), {"vault": {"via": ["1.9.2"]}}, NOTHING_EXPECTED)
    ends: Any = {("login", "web", version): "refuse" for version in ("1.7.0", "1.11.0")}
    _, judgement = on_paper(scenario, tmp_path, script=ends)
    assert (judgement.verdict, judgement.unlearned, judgement.doubts) == ("fail", (), ())


def test_a_regression_wins_over_silence(tmp_path: Path) -> None:
    """Worst wins: what was found stays found, and what could not be asked is named beside it."""
    _, judgement = on_paper(OUTAGE, tmp_path, script={("lookup", "", "1.7.0"): "silent"})
    assert (judgement.verdict, judgement.exit_code) == ("fail", 1)
    assert any("could not be asked" in reason for reason in judgement.reasons)


def test_what_a_refused_login_blocks_is_no_silence(tmp_path: Path) -> None:
    """After a refused login there is no token to ask with: that is no further doubt."""
    _, judgement = on_paper(OUTAGE, tmp_path)
    assert {o.answer for o in judgement.observations if o.probe == "token-lookup"} == {"granted", "unknown"}
    assert not any("could not be asked" in reason for reason in judgement.reasons)


def test_an_expected_finding_beside_silence_is_still_inconclusive(tmp_path: Path) -> None:
    """Meeting every expectation is not enough where something could not be asked."""
    scenario = expecting(LATENT, {"change": "reviewer changed"})
    _, judgement = on_paper(scenario, tmp_path, script={("renew", "", "1.11.0"): "silent"})
    assert judgement.missed == judgement.unexpected == ()
    assert (judgement.verdict, judgement.as_expected, judgement.exit_code) == ("inconclusive", False, 4)


# --- records that do not tell the whole story ---


def test_a_record_that_does_not_end_is_inconclusive(tmp_path: Path) -> None:
    """A run that was killed has not passed, whatever it saw until then."""
    record, _ = on_paper(CALM, tmp_path)
    judgement = judge(mapped(record, without(RunEnded)))
    assert (judgement.verdict, judgement.exit_code) == ("inconclusive", 4)
    assert "cut off" in judgement.reasons[0]


def test_a_record_that_lacks_questions_is_inconclusive(tmp_path: Path) -> None:
    """An observation that is missing from the record is no pass."""
    record, _ = on_paper(CALM, tmp_path)
    last = record.of(Observation)[-1]
    judgement = judge(mapped(record, lambda event: None if event == last else event))
    assert (judgement.verdict, judgement.exit_code) == ("inconclusive", 4)
    assert judgement.reasons == ("not every question was asked: after 1.11.0",)


def test_a_record_cut_off_within_a_line_is_read_up_to_there(tmp_path: Path) -> None:
    """The last line of a killed run may be half a line: the rest is judged, as a run that was cut off."""
    on_paper(CALM, tmp_path)
    file = tmp_path / "record.jsonl"
    file.write_bytes(file.read_bytes()[:-12])
    assert judge(load(tmp_path)).verdict == "inconclusive"


# --- what breaks on the way ---


def test_an_environment_that_never_came_up_is_exit_3(tmp_path: Path) -> None:
    """Trouble before any question was asked says nothing about Vault."""
    judgement = broken(CALM, tmp_path, NotReady("etcd did not answer", ["etcd: disk full"]), "coming up")
    assert (judgement.verdict, judgement.exit_code) == ("inconclusive", 3)
    assert judgement.reasons == ("bring-up: etcd did not answer",)
    assert judgement.troubles[0].log == ("etcd: disk full",)


def test_a_source_version_that_does_not_come_up_is_exit_3(tmp_path: Path) -> None:
    """Dying before the first look is trouble with the environment and no finding."""
    _, judgement = on_paper(OUTAGE, tmp_path, dies_at="1.7.0")
    assert (judgement.verdict, judgement.exit_code, judgement.findings) == ("inconclusive", 3, ())


def test_a_version_that_dies_after_its_swap_is_the_finding(tmp_path: Path) -> None:
    """A server that ends over the data of the version before fails the upgrade, at its hop, with its last lines."""
    scenario = changed(mount(reviewer="long-lived"), {"vault": {"via": ["1.9.3"]}}, NOTHING_EXPECTED)
    _, judgement = on_paper(scenario, tmp_path, dies_at="1.9.3")
    (finding,) = judgement.findings
    assert (judgement.verdict, judgement.exit_code) == ("fail", 1)
    assert (finding.rule, finding.effect, finding.hop) == ("vault-refuses-data", "upgrade refused", "1.9.3")
    assert [evidence_line.text for evidence_line in finding.evidence] == ["panic: scripted"]


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        pytest.param(SwapRefused("handed a key, and declined it: HTTP 400 cipher: failed"), "fail", id="declined"),
        pytest.param(SwapRefused("handed a key, and declined it: HTTP 500"), "inconclusive", id="without a word"),
        pytest.param(NotReady("no answer within 60 s"), "inconclusive", id="silent"),
        pytest.param(Unreachable("connection refused"), "inconclusive", id="unreachable"),
    ],
)
def test_only_a_no_after_a_swap_is_a_finding(error: HarnessError, expected: str, tmp_path: Path) -> None:
    """A server that declines has answered; one that stays silent or cannot be reached leaves the question open."""
    judgement = broken(CALM, tmp_path, error, "1.11.0")
    assert judgement.verdict == expected
    assert [f.rule for f in judgement.findings] == (["vault-refuses-data"] if expected == "fail" else [])
    assert judgement.exit_code == (1 if expected == "fail" else 4)


def test_the_upgrade_that_is_refused_can_be_expected(tmp_path: Path) -> None:
    """A server that is known to decline its data is as expected, with exit 0."""
    expected = {"change": "upgrade refused", "at": "1.11.0", "cause": "vault-refuses-data"}
    _, judgement = on_paper(expecting(CALM, expected), tmp_path, dies_at="1.11.0")
    assert (judgement.verdict, judgement.as_expected, judgement.exit_code) == ("fail", True, 0)


def test_what_was_left_behind_is_exit_5(tmp_path: Path) -> None:
    """A run that did not clean up says so before all else, and the verdict stands beside it."""
    judgement = broken(CALM, tmp_path, LeftBehind("process 4711 is still there"), "way down")
    assert (judgement.verdict, judgement.exit_code) == ("pass", 5)
    assert judgement.left_behind == "process 4711 is still there"


# --- strict, and what was expected ---


def test_strict_turns_a_latent_finding_into_a_failure(tmp_path: Path) -> None:
    """Three ways to be strict: the judge's, the run's, the scenario's. None of them fails a run without findings."""
    record, judgement = on_paper(LATENT, tmp_path / "latent")
    assert judgement.verdict == "pass"
    assert judge(record, strict=True).verdict == "fail"
    told = mapped(
        record, lambda event: msgspec.structs.replace(event, strict=True) if isinstance(event, RunStarted) else event
    )
    assert judge(told).verdict == "fail"
    _, judgement = on_paper(variant(LATENT, strict=True), tmp_path / "scenario")
    assert (judgement.verdict, judgement.exit_code) == ("fail", 1)
    record, _ = on_paper(CALM, tmp_path / "calm")
    assert judge(record, strict=True).verdict == "pass"


@pytest.mark.parametrize(
    ("expected", "missed", "unexpected"),
    [
        pytest.param([LOST], 0, 0, id="in full"),
        pytest.param([{"change": "login refused"}], 0, 0, id="the effect alone"),
        pytest.param([], 0, 1, id="nothing"),
        pytest.param([LOST, LOST], 1, 0, id="twice: each expectation takes one finding"),
        pytest.param([LOST | {"cause": "reviewer-frozen"}], 1, 1, id="another cause"),
        pytest.param([LOST | {"at": "1.9.2"}], 1, 1, id="another hop"),
        pytest.param([LOST | {"app": "api"}], 1, 1, id="another app"),
        pytest.param([{"change": "reviewer changed"}], 1, 1, id="another effect"),
        pytest.param([LOST, {"change": "reviewer changed"}], 1, 0, id="one too many"),
    ],
)
def test_expectations_are_met_one_by_one(
    expected: list[dict[str, str]], missed: int, unexpected: int, tmp_path: Path
) -> None:
    """Exit 0 means these findings and no others; the verdict itself does not depend on what was expected."""
    _, judgement = on_paper(expecting(OUTAGE, *expected), tmp_path)
    assert (len(judgement.missed), len(judgement.unexpected)) == (missed, unexpected)
    assert judgement.verdict == "fail"
    assert judgement.as_expected == (missed == unexpected == 0)
    assert judgement.exit_code == (0 if judgement.as_expected else 1)


@pytest.mark.parametrize("turned", [False, True])
def test_the_order_of_expectations_decides_nothing(turned: bool, tmp_path: Path) -> None:
    """A vague expectation leaves a finding to one that only this finding meets."""
    two = variant(OUTAGE, apps={"api": OUTAGE.apps["web"].model_dump(mode="json", by_alias=True)})
    expected = [{"change": "login refused"}, {"change": "login refused", "app": "web"}]
    _, judgement = on_paper(expecting(two, *(reversed(expected) if turned else expected)), tmp_path)
    assert {finding.app for finding in judgement.findings} == {"api", "web"}
    assert (judgement.missed, judgement.unexpected, judgement.exit_code) == ((), (), 0)


def test_each_finding_says_what_it_did_to_the_verdict(tmp_path: Path) -> None:
    """Whether it failed the run, in which words among the reasons, and which expectation it met."""
    other = {"change": "login refused", "app": "nobody"}
    judgement = on_paper(changed({"expect": [other, LOST]}), tmp_path / "expected")[1]
    ((finding, weight),) = zip(judgement.findings, judgement.weights, strict=True)
    assert (finding.kind, weight) == ("regression", Contribution(judgement.reasons[0], fails=True, expectation=1))
    (alone,) = on_paper(OUTAGE, tmp_path / "unasked")[1].weights
    assert (alone.fails, alone.expectation) == (True, None)
    for strict in (False, True):
        judged = judge(on_paper(LATENT, tmp_path / f"strict {strict}")[0], strict=strict)
        assert [weight.fails for weight in judged.weights] == [strict] * len(judged.findings)
        assert tuple(weight.reason for weight in judged.weights) == judged.reasons


def test_moments_that_were_never_reached_are_said_to_be_unchecked(tmp_path: Path) -> None:
    """An upgrade that ends at its first hop says nothing about the hops after it, and says so."""
    _, judgement = on_paper(variant(OUTAGE, vault={"via": ["1.9.3"]}), tmp_path, dies_at="1.9.3")
    unreached = [line for line in judgement.not_checked if "did not get there" in line]
    assert [line.split(":")[0] for line in unreached] == ["everything after 1.9.3", "everything after 1.11.0"]


def test_an_expectation_that_does_not_come_fails_a_run_that_passes(tmp_path: Path) -> None:
    """A login that was to be refused and is granted is another outcome than expected: exit 1."""
    _, judgement = on_paper(expecting(CALM, LOST), tmp_path)
    assert (judgement.verdict, judgement.as_expected, judgement.exit_code) == ("pass", False, 1)
    assert judgement.missed == ("change: login refused, app: web, at: 1.11.0, cause: reviewer-fallback-local",)


@pytest.mark.parametrize(
    ("scenario", "outcome", "code"),
    [
        pytest.param(CALM, "pass", 0, id="nothing changes"),
        pytest.param(OUTAGE, "fail", 1, id="nobody expected it"),
        pytest.param(expecting(OUTAGE, LOST), "expected-fail", 0, id="it was expected"),
        pytest.param(expecting(OUTAGE), "fail", 1, id="another was expected"),
        pytest.param(expecting(CALM, LOST), "unexpected-pass", 1, id="expected and did not come"),
        pytest.param(expecting(LATENT, {"change": "reviewer changed"}), "pass", 0, id="latent, as expected"),
        pytest.param(
            variant(expecting(LATENT, {"change": "reviewer changed"}), strict=True),
            "expected-fail",
            0,
            id="latent and strict, as expected",
        ),
        pytest.param(variant(LATENT, strict=True), "fail", 1, id="latent and strict"),
    ],
)
def test_the_outcome_is_the_verdict_beside_what_was_expected(
    scenario: Scenario, outcome: str, code: int, tmp_path: Path
) -> None:
    """A fail that the scenario expects is no FAIL in a green job, and a pass that it does not expect no PASS in a red
    one.
    """
    _, judgement = on_paper(scenario, tmp_path)
    assert (judgement.outcome, judgement.exit_code) == (outcome, code)


def test_an_expected_regression_of_which_a_part_is_missing_is_inconclusive(tmp_path: Path) -> None:
    """It is no news that fails a job, and no run that shows all that was to be seen: exit 4, beside the verdict."""
    record, judgement = on_paper(expecting(OUTAGE, LOST), tmp_path)
    assert (judgement.outcome, judgement.exit_code) == ("expected-fail", 0)
    for harm in (without(RunEnded), without(ClusterUp)):
        judgement = judge(mapped(record, harm))
        assert (judgement.verdict, judgement.outcome, judgement.exit_code) == ("fail", "inconclusive", 4)
    judgement = judge(mapped(on_paper(OUTAGE, tmp_path / "unexpected")[0], without(RunEnded)))
    assert (judgement.verdict, judgement.outcome, judgement.exit_code) == ("fail", "fail", 1)


def test_an_outcome_that_could_not_be_known_is_inconclusive(tmp_path: Path) -> None:
    """Whatever was expected: nobody knows what the missing answer would have been."""
    scenario = expecting(LATENT, {"change": "reviewer changed"})
    _, judgement = on_paper(scenario, tmp_path, script={("renew", "", "1.11.0"): "silent"})
    assert judgement.outcome == "inconclusive"


# --- judging itself ---


def test_a_record_is_judged_the_same_every_time(tmp_path: Path) -> None:
    """Judging is pure: from memory, from disk, today and next year."""
    record, judgement = on_paper(OUTAGE, tmp_path)
    assert judge(record) == judge(record) == judge(load(tmp_path)) == judgement


def test_versions_are_those_that_answered(tmp_path: Path) -> None:
    """The report names the versions that the servers themselves gave, the writer of the config among them."""
    _, judgement = on_paper(OUTAGE, tmp_path)
    assert judgement.versions.vault == ("1.4.0", "1.7.0", "1.11.0")
    assert judgement.versions.kubernetes == {"platform": "1.32.0", "apps": "1.32.0"}


def test_trouble_of_ours_in_the_middle_keeps_what_was_seen(tmp_path: Path) -> None:
    """A run that broke halfway is inconclusive and still lists every answer it got."""
    record, _ = on_paper(CALM, tmp_path)
    trouble = Trouble(kind="unreachable", during="hop 1.11.0", message="connection reset")
    cut = mapped(
        record,
        lambda event: (
            None if isinstance(event, Observation | MomentBegan) and event.moment == "after 1.11.0" else event
        ),
    )
    judgement = verdict.judge(with_lines(cut, [trouble]))
    assert (judgement.verdict, judgement.exit_code) == ("inconclusive", 4)
    assert {o.moment for o in judgement.observations} == {"before"}
    assert judgement.reasons == ("hop 1.11.0: connection reset",)


def test_nothing_is_true_or_false_by_itself() -> None:
    """No class here defines __bool__: whether a verdict is good is asked in words."""
    for module in Path(harness.__file__).parent.rglob("*.py"):
        functions = [n.name for n in ast.walk(ast.parse(module.read_text())) if isinstance(n, ast.FunctionDef)]
        assert "__bool__" not in functions, module


def test_the_refusal_of_impostors_proves_nothing_where_the_app_is_refused_too(tmp_path: Path) -> None:
    """The outage: after it nobody gets in, so nobody knows whether a stranger would."""
    judgement = judge(on_paper(changed(), tmp_path)[0])
    said = [line for line in judgement.not_checked if line.startswith("impostors of")]
    assert [line.partition(":")[0] for line in said] == ["impostors of web after 1.11.0"]
