"""One function from a scenario and options to a judgement, whoever calls it."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest

from harness.analysis import verdict
from harness.errors import MissingPrerequisite
from harness.record import journal
from harness.record.events import AnyEvent, RunStarted
from harness.scenario import loading
from harness.session import one_rehearsal
from harness.session.one_rehearsal import Options, Places
from tests.runs import OUTAGE


def places(base: Path) -> Places:
    return Places(base / "cache", base / "state", base, {})


def test_a_scenario_becomes_a_judgement_and_its_record(tmp_path: Path) -> None:
    heard: list[AnyEvent] = []
    seen: list[Path] = []
    done = one_rehearsal.rehearse_one(
        loading.load(OUTAGE), Options(driver="paper"), places(tmp_path), follow=heard.append, opened=seen.append
    )
    assert (done.judgement.verdict, done.judgement.exit_code) == ("fail", 0)
    assert isinstance(heard[0], RunStarted)
    assert [str(seen[0])] == [done.judgement.run_directory]
    assert done.judgement == verdict.judge(done.record)
    assert (tmp_path / "state" / "runs" / "latest").resolve() == seen[0]


def test_a_run_is_judged_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    judged: list[Any] = []
    judge = verdict.judge

    def counted(*words: Any, **more: Any) -> Any:
        judged.append(words)
        return judge(*words, **more)

    monkeypatch.setattr(verdict, "judge", counted)
    one_rehearsal.rehearse_one(loading.load(OUTAGE), Options(driver="paper"), places(tmp_path))
    assert len(judged) == 1


def test_options_and_judgements_cross_process_boundaries(tmp_path: Path) -> None:
    """A worker gets the one and gives the other back."""
    options = Options(driver="paper", strict=True, rollback=True, run_dir=tmp_path / "run")
    done = one_rehearsal.rehearse_one(loading.load(OUTAGE), pickle.loads(pickle.dumps(options)), places(tmp_path))
    assert pickle.loads(pickle.dumps(done.judgement)) == done.judgement
    assert len(done.judgement.rollbacks) == 2
    assert done.judgement.repeat.endswith("--driver paper --strict --rollback")


def test_a_directory_that_holds_a_record_is_never_written_to(tmp_path: Path) -> None:
    options = Options(driver="paper", run_dir=tmp_path / "run")
    one_rehearsal.rehearse_one(loading.load(OUTAGE), options, places(tmp_path))
    before = (tmp_path / "run" / journal.RECORD_FILE).read_bytes()
    with pytest.raises(one_rehearsal.DirectoryTaken, match="already holds a record"):
        one_rehearsal.rehearse_one(loading.load(OUTAGE), options, places(tmp_path))
    assert (tmp_path / "run" / journal.RECORD_FILE).read_bytes() == before


def test_a_place_where_nothing_can_be_written_is_no_record(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    options = Options(driver="paper", run_dir=tmp_path / "file" / "run")
    with pytest.raises(one_rehearsal.NoRecord, match="no record could be begun"):
        one_rehearsal.rehearse_one(loading.load(OUTAGE), options, places(tmp_path))


@pytest.mark.processes
def test_what_is_missing_is_raised_and_not_judged(tmp_path: Path) -> None:
    options = Options(driver="local", offline=True)
    with pytest.raises(MissingPrerequisite, match="is not available"):
        one_rehearsal.rehearse_one(loading.load(OUTAGE), options, places(tmp_path))
