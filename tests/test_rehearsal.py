"""The order of a rehearsal: versions, configs, moments and questions come as they were planned, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness.drivers.paper.driver import PaperDriver, PaperRig
from harness.errors import HarnessError, NotReady, ProcessDied, RigError, SwapRefused, Unreachable
from harness.record.events import (
    AnyEvent,
    ApiAuditLine,
    ConfigWritten,
    MomentBegan,
    OldTokenRefused,
    PhaseEnded,
    PodReplaced,
    RunEnded,
    RunStarted,
    StepEnded,
    Trouble,
    VaultAuditLine,
    VaultServing,
)
from harness.record.journal import Journal, Record, load
from harness.record.observation import Observation
from harness.rehearsal import rehearsal, troubles
from harness.rig.rig import Rig
from harness.scenario import loading
from harness.scenario.course import Serve, Upgrade
from harness.scenario.plan import Plan
from harness.scenario.schema import Scenario
from tests.runs import OUTAGE, SCENARIOS, on_paper, started
from tests.test_rules import changed, mount

LONG_PATH = SCENARIOS / "the-hop-that-breaks-is-found-on-a-path-of-many.yaml"


def story(record: Record) -> list[str]:
    """Return what happened, in the order in which it happened, a few words an event."""
    return [words for event in record.events if (words := _words(event))]


def _words(event: AnyEvent) -> str:
    match event:
        case VaultServing():
            return f"serving {event.answered}"
        case ConfigWritten():
            return f"config of {event.mount} by {event.version}"
        case PodReplaced():
            return "pod replaced"
        case MomentBegan():
            return f"asking {event.moment}"
        case _:
            return ""


def test_stages_come_in_the_order_of_the_plan(tmp_path: Path) -> None:
    """The config's writer first, then the source, then every stop: each served, and asked if it is looked at."""
    record, _ = on_paper(loading.load(OUTAGE).scenario, tmp_path)
    assert story(record) == [
        "serving 1.4.0",
        "config of kubernetes by 1.4.0",
        "pod replaced",
        "serving 1.7.0",
        "asking before",
        "pod replaced",
        "serving 1.11.0",
        "asking after 1.11.0",
    ]


def test_a_config_that_the_source_writes_is_written_there(tmp_path: Path) -> None:
    """Without a provenance of its own the config is the source version's, and the run begins with that version."""
    record, _ = on_paper(changed(mount(configured=None)), tmp_path)
    assert story(record)[:3] == ["serving 1.7.0", "config of kubernetes by 1.7.0", "asking before"]


def test_configs_of_several_writers_are_written_oldest_first(tmp_path: Path) -> None:
    """Every mount keeps its own provenance: Vault is taken from writer to writer before anybody looks."""
    scenario = loading.load(LONG_PATH).scenario.model_dump(mode="json", by_alias=True)
    auth = scenario["auth"]["kubernetes"]
    young = auth | {"configured": {"by": "1.4.0", "with-token-file": False}}
    scenario["auth"] = {"young": young | {"configured": {"by": "1.4.1", "with-token-file": True}}, "old": auth}
    scenario["apps"]["web"]["mount"] = "old"
    scenario["vault"]["source"] = "1.5.0"
    record, _ = on_paper(Scenario.model_validate(scenario, strict=False), tmp_path)
    assert [word for word in story(record) if word.startswith("config")] == [
        "config of old by 1.4.0",
        "config of young by 1.4.1",
    ]
    assert story(record).index("config of young by 1.4.1") < story(record).index("asking before")


@pytest.mark.parametrize("file", [OUTAGE, LONG_PATH], ids=lambda file: file.stem[:20])
def test_every_moment_asks_every_question_once_in_order(file: Path, tmp_path: Path) -> None:
    """The same questions at every moment, in the plan's order, each answered by an observation of its own number."""
    record, _ = on_paper(loading.load(file).scenario, tmp_path)
    planned = record.started.plan
    asked = [(q.probe, q.app, q.mount, q.item) for q in planned.questions]
    moments = [moment.label for moment in planned.moments]
    seen = record.of(Observation)
    assert [(o.probe, o.app, o.mount, o.item) for o in seen] == asked * len(moments)
    assert list(dict.fromkeys(o.moment for o in seen)) == moments
    assert [o.id for o in seen] == list(range(1, len(seen) + 1))


def test_the_record_begins_with_the_start_and_ends_with_the_end(tmp_path: Path) -> None:
    """Whoever reads a record sees first what was to be run, and last that it ended by itself."""
    record, _ = on_paper(loading.load(OUTAGE).scenario, tmp_path)
    assert isinstance(record.events[0], RunStarted)
    assert isinstance(record.events[-1], RunEnded)
    assert all(event.at > 0 for event in record.events if not isinstance(event, Observation))


def test_every_phase_has_its_time(tmp_path: Path) -> None:
    """Where the time goes is in the record, a phase for everything that takes some."""
    record, _ = on_paper(loading.load(OUTAGE).scenario, tmp_path)
    assert [phase.name for phase in record.of(PhaseEnded)] == [
        "vault is set up",
        "config of kubernetes by 1.4.0",
        *("swap to 1.7.0", "unseal 1.7.0", "old token dead before 1.7.0", "clusters are ready", "probes before"),
        *("swap to 1.11.0", "unseal 1.11.0", "old token dead before 1.11.0", "probes after 1.11.0"),
        "everything is ended",
    ]


def test_a_blocked_question_says_which_login_blocked_it(tmp_path: Path) -> None:
    """After the outage's hop no token was given: what needs one names the login of that very moment."""
    record, _ = on_paper(loading.load(OUTAGE).scenario, tmp_path)
    seen = {(o.probe, o.moment): o for o in record.of(Observation)}
    login = seen["login", "after 1.11.0"]
    assert login.answer == "refused"
    for probe in ("token-lookup", "token-renew", "read"):
        assert seen[probe, "after 1.11.0"].blocked_by == login.id
        assert seen[probe, "before"].blocked_by is None


def test_the_old_token_outlives_the_refused_login(tmp_path: Path) -> None:
    """What an app holds since before the upgrade is asked with after it, whatever the new login gives."""
    record, _ = on_paper(loading.load(LONG_PATH).scenario, tmp_path)
    old = [(o.moment, o.answer) for o in record.of(Observation) if o.probe == "old-token-read"]
    assert [answer for _, answer in old] == ["granted"] * 6
    refused_before = {("login", "web", "1.7.0"): "refuse"}
    record, _ = on_paper(loading.load(OUTAGE).scenario, tmp_path / "refused", script=refused_before)
    first = next(o for o in record.of(Observation) if o.probe == "login")
    blocked = [o.blocked_by for o in record.of(Observation) if o.probe == "old-token-lookup"]
    assert blocked == [first.id, first.id]


@pytest.mark.parametrize(
    ("name", "stored"),
    [
        (OUTAGE.stem, [False, False]),
        ("a-frozen-reviewer-dies-with-its-pod", [True]),
        ("a-copied-pod-token-as-the-reviewer-dies-with-the-pod", [True]),
        ("a-long-lived-reviewer-survives-the-upgrade", [False]),
    ],
)
def test_old_tokens_are_waited_for_where_a_config_may_hold_one_and_that_is_none_of_the_steps_time(
    name: str, stored: list[bool], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody else can present it; and Vault serves again before that, which is what a step's time says."""
    asked: list[bool] = []

    def settle(self: PaperRig, *, stored: bool) -> None:
        asked.append(stored)
        self._journal.write(OldTokenRefused(cluster="apps", pod="vault-0", seconds=9))

    monkeypatch.setattr(PaperRig, "settle", settle)
    record, _ = on_paper(loading.load(SCENARIOS / f"{name}.yaml").scenario, tmp_path)
    assert asked == stored
    told = [type(one) for one in record.events if isinstance(one, OldTokenRefused | StepEnded)]
    assert told == [StepEnded, OldTokenRefused] * len(stored)


class ChattyRig(PaperRig):
    """A system on paper at which somebody else logs in while the caches settle."""

    def settle(self, *, stored: bool) -> None:
        """Log in, out of turn."""
        self.login("kubernetes", "web", self.app_token("web").jwt)


class Chatty(PaperDriver):
    """Paper at which somebody else logs in between the moments."""

    @contextmanager
    def up(self, plan: Plan, run_id: str, journal: Journal) -> Iterator[Rig]:
        """Yield a system with a login in it that nobody asked for."""
        yield ChattyRig(plan, journal, {}, "")


def test_what_happens_between_moments_is_no_evidence(tmp_path: Path) -> None:
    """Lines that the servers wrote before the first question of a moment are passed over."""
    scenario, chatty = loading.load(OUTAGE).scenario, tmp_path / "chatty"
    record, _ = on_paper(scenario, tmp_path / "calm")
    with Journal.opened(chatty) as journal:
        rehearsal.rehearse(started(scenario), Chatty(), journal)
    assert len(load(chatty).of(VaultAuditLine)) == len(record.of(VaultAuditLine)) > 0
    assert len(load(chatty).of(ApiAuditLine)) == len(record.of(ApiAuditLine)) > 0


def test_only_a_vault_that_nobody_has_asked_yet_ends_abruptly(tmp_path: Path) -> None:
    """How Vault stops in a hop is a part of what is rehearsed; how the one ends that wrote the config is not."""
    told: list[str] = []

    class Abrupt(PaperRig):
        def end_abruptly(self) -> None:
            told.append("ended")

        def swap(self, served: Serve) -> None:
            told.append(served.version)
            super().swap(served)

    class Driver(PaperDriver):
        @contextmanager
        def up(self, plan: Plan, run_id: str, journal: Journal) -> Iterator[Rig]:
            yield Abrupt(plan, journal, {}, "")

    scenario = loading.load(OUTAGE).scenario
    with Journal.opened(tmp_path / "run") as journal:
        rehearsal.rehearse(started(scenario), Driver(), journal)
    assert told == ["ended", "1.7.0", "1.11.0"]


# --- what breaks becomes trouble in the record ---


class BreakingRig(PaperRig):
    """A system on paper whose swap to 1.11.0 raises *error*, and whose Vault is then dead if *died* says so."""

    error: Exception
    died: str | None = None
    _broken = False

    def swap(self, served: Serve) -> None:
        """Break, or swap."""
        if served.version == "1.11.0":
            self._broken = True
            raise self.error
        super().swap(served)

    def vault_died(self) -> str | None:
        """Return how Vault ended, once it broke."""
        return self.died if self._broken else None

    def vault_log(self, lines: int) -> Sequence[str]:
        """Return a log of one line."""
        return ["the log's last line"][:lines]


class Breaking(PaperDriver):
    """Paper on which the last swap raises."""

    def __init__(self, error: Exception, died: str | None) -> None:
        super().__init__()
        self._error, self._died = error, died

    @contextmanager
    def up(self, plan: Plan, run_id: str, journal: Journal) -> Iterator[Rig]:
        """Yield a system that will break."""
        rig = BreakingRig(plan, journal, {}, "")
        rig.error, rig.died = self._error, self._died
        yield rig


@pytest.mark.parametrize(
    ("error", "died", "kind", "log"),
    [
        pytest.param(ProcessDied("ended", 2, ["panic"]), None, "died", ("panic",), id="died"),
        pytest.param(NotReady("too late"), None, "silent", ("the log's last line",), id="silent"),
        pytest.param(SwapRefused("no"), None, "refused", ("the log's last line",), id="declined"),
        pytest.param(RigError("no key"), None, "ours", ("the log's last line",), id="said no"),
        pytest.param(Unreachable("reset"), None, "unreachable", ("the log's last line",), id="unreachable"),
        pytest.param(Unreachable("reset"), "ended", "died", ("the log's last line",), id="unreachable and dead"),
    ],
)
def test_what_breaks_is_sorted_by_what_it_says_about_vault(
    error: HarnessError, died: str | None, kind: str, log: tuple[str, ...], tmp_path: Path
) -> None:
    """Died, silent, declined or unreachable: with the version that had just been put in place, and its last lines."""
    scenario = loading.load(OUTAGE).scenario
    with Journal.opened(tmp_path / "run") as journal:
        rehearsal.rehearse(started(scenario), Breaking(error, died), journal)
    (trouble,) = load(tmp_path / "run").of(Trouble)
    assert (trouble.kind, trouble.log) == (kind, log)
    assert (trouble.during, trouble.after_swap) == ("upgrade 1.11.0", "1.11.0")
    assert str(error) in trouble.message
    assert (died or "") in trouble.message


def test_an_error_of_our_own_is_no_regression(tmp_path: Path) -> None:
    """A mistake in the harness is in the record with its traceback, blames nobody, and leaves the run inconclusive."""
    scenario = loading.load(OUTAGE).scenario
    with Journal.opened(tmp_path / "run") as journal:
        judgement = rehearsal.rehearse(started(scenario), Breaking(ValueError("a slip"), None), journal).judgement
    (trouble,) = judgement.troubles
    assert trouble.kind == "ours"
    assert any("ValueError: a slip" in line for line in trouble.log)
    assert (judgement.verdict, judgement.findings) == ("inconclusive", ())


class BrokenRig(PaperRig):
    """A system on paper whose API server ends with the last hop."""

    def broken(self) -> str | None:
        """Return a sentence from the last version on."""
        return "the API server of apps ended" if self._served.version == "1.11.0" else None


class Broken(PaperDriver):
    """Paper that breaks beside Vault."""

    @contextmanager
    def up(self, plan: Plan, run_id: str, journal: Journal) -> Iterator[Rig]:
        """Yield a system that will lose its API server."""
        yield BrokenRig(plan, journal, {}, "")


def test_a_refusal_without_an_api_server_is_no_refusal(tmp_path: Path) -> None:
    """Where a server that Vault depends on has ended, what Vault refuses is unknown, and no cause is named. What it
    grants is granted all the same: a health check, say, which asks nobody.
    """
    scenario = loading.load(OUTAGE).scenario
    with Journal.opened(tmp_path / "run") as journal:
        judgement = rehearsal.rehearse(started(scenario), Broken(), journal).judgement
    answers = {o.probe: o.answer for o in judgement.observations if o.moment == "after 1.11.0"}
    of_vault_alone = dict.fromkeys(("health", "seal-status", "auth-config", "role"), "granted")
    assert answers == of_vault_alone | {"login": "unknown"}, "and nothing is asked after that"
    assert (judgement.verdict, judgement.findings) == ("inconclusive", ())
    assert "the API server of apps ended" in judgement.troubles[0].message


def test_what_breaks_before_the_first_look_is_after_no_swap(tmp_path: Path) -> None:
    """Only a hop of the upgrade can show that a version refuses the data: the way to the source is ours."""
    record, _ = on_paper(loading.load(OUTAGE).scenario, tmp_path, dies_at="1.7.0")
    (trouble,) = record.of(Trouble)
    assert (trouble.during, trouble.after_swap) == ("upgrade 1.7.0", "")
    assert record.ended


def test_a_run_that_broke_keeps_what_it_saw(tmp_path: Path) -> None:
    """The answers before the break are all there, and those after it are not."""
    record, _ = on_paper(loading.load(LONG_PATH).scenario, tmp_path, dies_at="1.9.2")
    assert list(dict.fromkeys(o.moment for o in record.of(Observation))) == ["before", "after 1.7.0", "after 1.8.0"]


def test_whoever_cannot_even_be_asked_whether_vault_lives_is_the_trouble() -> None:
    """An engine that is gone explains the refused key that came of it, and must not hide it by an error of its own."""

    class Gone:
        def system(self, _vault: str) -> Gone:
            return self

        def broken(self) -> None:
            return None

        def vault_died(self) -> str | None:
            raise Unreachable("the container engine gave no answer")

        def vault_log(self, lines: int) -> list[str]:
            return []

    trouble = troubles.of(NotReady("no answer to a key"), [Upgrade(version="1.11.0", token_file=False)], Gone())  # type: ignore[arg-type]
    assert (trouble.kind, trouble.message) == ("unreachable", "the container engine gave no answer")
