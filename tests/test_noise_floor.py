"""The noise floor: what differs without any upgrade is left out and told, and what is a finding never is."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from harness.analysis import comparison, noise, verdict
from harness.analysis.verdict import Judgement
from harness.record.events import AnyEvent, RunStarted
from harness.record.journal import Record
from harness.record.noise_floor import NoiseFloor, Noisy
from harness.reports import markdown, text
from harness.scenario import loading
from harness.scenario.topology import Expected
from harness.session import noise_floor
from harness.session.one_rehearsal import Options, Places, Rehearsed, rehearse_one
from tests import stored_records
from tests.lent import Lender
from tests.runs import OUTAGE, SCENARIOS
from tests.test_rules import mapped

RESTARTED = ("real/a-restart-and-nothing-else", "real/a-restart-beside-passwords")
"""A -> A rehearsals of real servers: the outage's topology, and one with AppRole and userpass beside it."""

UPGRADED = "real/an-upgrade-beside-its-noise-floor"
DIES = SCENARIOS / "a-copied-pod-token-as-the-reviewer-dies-with-the-pod.yaml"
EMPTY = NoiseFloor(key="k", version="1.7.0", run_id="r", made=1.0, restarts=2, compared=0)


def floor_of(name: str, *expected: Expected) -> NoiseFloor:
    return noise.measured(verdict.judge(stored_records.record(name)), EMPTY, expected)


def beside(record: Record, floor: NoiseFloor | None) -> Judgement:
    """Judge *record* as if *floor* had been measured before it."""

    def told(event: AnyEvent) -> AnyEvent:
        return replace(event, noise_floor=floor) if isinstance(event, RunStarted) else event

    return verdict.judge(mapped(record, told))


@pytest.mark.parametrize("name", RESTARTED)
def test_what_differs_on_real_servers_is_what_a_run_without_a_floor_leaves_out(name: str) -> None:
    """The list in the code is what restarts of real servers show: no more, and no less."""
    floor = floor_of(name)
    shown = {(one.probe, one.field) for one in floor.differs}
    assert floor.unsound == floor.findings == ()
    assert floor.compared > 20
    assert shown == comparison.USUAL


def test_a_record_alone_tells_what_was_left_out() -> None:
    record = stored_records.record(UPGRADED)
    judgement = verdict.judge(record)
    floor = record.started.noise_floor
    assert floor is not None
    assert judgement.noise_floor == floor
    assert (floor.version, floor.restarts, floor.unsound) == ("1.7.0", 2, ())
    assert (judgement.outcome, judgement.exit_code, judgement.doubts) == ("expected-fail", 0, ())
    for said in (text.render(judgement, width=400), markdown.render(judgement)):
        assert "left out as noise, because 2 restarts of Vault 1.7.0 without any upgrade" in said
        assert all(one.field in said.replace("&#95;", "_") for one in floor.differs)
    assert {(one.probe, one.field) for one in judgement.changes} & {
        (one.probe, one.field) for one in floor.differs
    } == set()


def test_what_a_floor_shows_is_no_change_and_what_it_does_not_show_is_one() -> None:
    """It stands in the place of the usual list, not beside it."""
    record = stored_records.record(UPGRADED)
    new = Noisy(probe="role", field="alias_name_source", times=1)
    fields = {one.field for one in beside(record, replace(EMPTY, differs=(new,))).changes}
    assert "alias_name_source" not in fields
    assert "expire_time" in fields
    usual = {one.field for one in beside(record, None).changes}
    assert "alias_name_source" in usual
    assert "expire_time" not in usual


@pytest.mark.parametrize("name", [name for name in sorted(stored_records.FILES) if not name.startswith("corpus")])
def test_no_floor_hides_a_finding(name: str) -> None:
    """Not even one that says of every part of every answer that it differs by itself."""
    record = stored_records.record(name)
    whole = beside(record, None)
    fields = {(seen.probe, field) for seen in whole.observations for field in seen.detail}
    everything = tuple(Noisy(probe=probe, field=field, times=9) for probe, field in sorted(fields))
    hidden = beside(record, replace(EMPTY, differs=everything))
    assert hidden.findings == whole.findings
    assert (hidden.verdict, hidden.exit_code) == (whole.verdict, whole.exit_code)
    assert [one for one in hidden.changes if one.what != "detail"] == [
        one for one in whole.changes if one.what != "detail"
    ]


def test_a_restart_that_refuses_a_login_is_no_floor_and_says_so() -> None:
    """On real servers the Pod's copied token died with the Pod: the upgrade is not what does it."""
    floor = floor_of("real/a-restart-kills-the-copied-reviewer")
    assert any("login refused" in why and "reviewer-frozen" in why for why in floor.unsound)
    quiet = stored_records.record("disable-local-ca-jwt-keeps-apps-in-another-cluster-logged-in")
    judgement = beside(quiet, floor)
    assert (judgement.verdict, judgement.exit_code) == ("inconclusive", 4)
    (doubt,) = judgement.doubts
    assert doubt.kind == "noise"
    assert "only restarted (A -> A), and that was not silent: regression: login refused" in doubt.text
    assert judgement.changes == verdict.judge(quiet).changes


def test_a_question_without_an_answer_is_no_floor() -> None:
    record = stored_records.record(RESTARTED[0])
    seen = verdict.judge(record)
    last = seen.observations[-1]
    cut = mapped(record, lambda event: replace(event, answer="unknown", error="timeout") if event == last else event)
    assert noise.measured(verdict.judge(cut), EMPTY, ()).unsound


# --- made, kept, and made once ---


def on_paper(file: Path, tmp_path: Path, name: str, **how: Any) -> Rehearsed:
    places = Places(cache=tmp_path / "cache", state=tmp_path / "state", temporary=tmp_path)
    options = Options(driver="paper", run_dir=tmp_path / name, noise_floor=True, **how)
    return rehearse_one(loading.load(file), options, places)


def floor_in(done: Rehearsed) -> NoiseFloor:
    assert done.record.started.noise_floor is not None
    assert done.judgement.noise_floor == done.record.started.noise_floor
    return done.record.started.noise_floor


def test_it_is_made_once_for_all_that_agree_on_the_source(tmp_path: Path) -> None:
    """Another target has the same floor; another source, or one that was damaged, is rehearsed anew."""
    other = tmp_path / "other.yaml"
    other.write_text(OUTAGE.read_text().replace("target: 1.11.0", "target: 1.13.0").replace("at: 1.11.0", "at: 1.13.0"))
    first, second = (floor_in(on_paper(file, tmp_path, str(n))) for n, file in enumerate((OUTAGE, other)))
    assert first == second
    older = tmp_path / "older.yaml"
    older.write_text(OUTAGE.read_text().replace("source: 1.7.0", "source: 1.8.0"))
    third = floor_in(on_paper(older, tmp_path, "older"))
    assert (third.version, third.key != first.key) == ("1.8.0", True)
    (tmp_path / "state" / "noise-floors" / first.key / "record.jsonl").write_text("{}\n")
    again = floor_in(on_paper(OUTAGE, tmp_path, "again"))
    assert (again.key, again.run_id == first.run_id) == (first.key, False)
    folder = tmp_path / "state" / "noise-floors"
    assert {one.name.partition(".")[0] for one in folder.iterdir()} == {first.key, third.key}


def test_what_is_expected_of_the_upgrade_and_comes_without_it_is_told(tmp_path: Path) -> None:
    """The scenario knows of it, so that is no doubt; whoever does not say so is told that the upgrade is not it."""
    known = on_paper(DIES, tmp_path, "known")
    assert known.judgement.exit_code == 0
    assert [said for said in floor_in(known).findings if "login refused" in said]
    assert "without any upgrade (A -> A) as well: regression: login refused" in text.render(known.judgement, width=400)
    silent = tmp_path / "silent.yaml"
    silent.write_text(DIES.read_text().partition("\nexpect:")[0] + "\n")
    surprised = on_paper(silent, tmp_path, "surprised")
    assert floor_in(surprised).unsound
    assert surprised.judgement.verdict == "fail"
    assert any("it is not the upgrade that does it" in reason for reason in surprised.judgement.reasons)
    shutil.rmtree(tmp_path / "surprised")
    assert floor_in(on_paper(silent, tmp_path, "surprised")).run_id != floor_in(surprised).run_id


def test_the_scenario_of_a_restart_has_no_other_version() -> None:
    still = noise_floor.without_upgrade(loading.load(OUTAGE)).scenario
    assert (still.vault.target, still.vault.via, still.expect) == (None, (), None)
    assert still.course is not None
    assert [step.restart is not None for step in still.course] == [True, True]


@pytest.mark.real
def test_real_servers_have_a_floor(lender: Lender, tmp_path: Path) -> None:
    """Measured for the first of two rehearsals, and taken from there by the second, with another target."""
    floors = []
    for target in ("1.8.0", "1.9.2"):
        file = tmp_path / f"to-{target}.yaml"
        whole = OUTAGE.read_text().partition("\nexpect:")[0]
        file.write_text(whole.replace("target: 1.11.0", f"target: {target}"))
        done = lender.rehearse(file, tmp_path / target, noise_floor=True)
        assert done.code == 0
        floors.append(done.judgement["noise_floor"])
    assert floors[0] == floors[1]
    assert floors[0]["unsound"] == []
    assert {(one["probe"], one["field"]) for one in floors[0]["differs"]} >= comparison.USUAL
