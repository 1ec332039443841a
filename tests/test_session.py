"""One function from a scenario and options to a judgement, whoever calls it."""

from __future__ import annotations

import pickle
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from harness import secret
from harness.analysis import verdict
from harness.errors import MissingPrerequisite
from harness.record import journal
from harness.record.events import AnyEvent, RunStarted
from harness.record.journal import Record
from harness.rehearsal import rehearsal
from harness.scenario import loading
from harness.secret import Secret
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
    judge, load = verdict.judge, journal.load
    loaded: list[Path] = []

    def read(directory: Path) -> Record:
        loaded.append(directory)
        return load(directory)

    def counted(*words: Any, **more: Any) -> Any:
        judged.append(words)
        return judge(*words, **more)

    monkeypatch.setattr(verdict, "judge", counted)
    monkeypatch.setattr(journal, "load", read)
    one_rehearsal.rehearse_one(loading.load(OUTAGE), Options(driver="paper"), places(tmp_path))
    assert (len(judged), len(loaded)) == (1, 1)


def test_options_and_judgements_cross_process_boundaries(tmp_path: Path) -> None:
    """A worker gets the one and gives the other back."""
    options = Options(driver="paper", strict=True, rollback=True, run_dir=tmp_path / "run")
    done = one_rehearsal.rehearse_one(loading.load(OUTAGE), pickle.loads(pickle.dumps(options)), places(tmp_path))
    assert pickle.loads(pickle.dumps(done.judgement)) == done.judgement
    assert len(done.judgement.rollbacks) == 2
    assert done.judgement.repeat.endswith("--driver paper --strict --rollback")


def test_a_record_crosses_process_boundaries(tmp_path: Path) -> None:
    """As it was loaded, though its directory may be gone by then; and so does what was never on a disk."""
    options = Options(driver="paper", run_dir=tmp_path / "run", prove_remedy=True)
    done = one_rehearsal.rehearse_one(loading.load(OUTAGE), options, places(tmp_path))
    sent = pickle.dumps(done.record)
    assert done.record.proofs
    shutil.rmtree(tmp_path / "run")
    arrived = pickle.loads(sent)
    assert arrived.events == done.record.events
    assert (arrived.directory, arrived.holes) == (done.record.directory, ())
    assert verdict.judge(arrived) == done.judgement
    made = Record(done.record.events, "made")
    assert verdict.judge(pickle.loads(pickle.dumps(made))) == verdict.judge(made)
    loaded = loading.load(OUTAGE)
    assert pickle.loads(pickle.dumps(loaded)) == loaded
    assert pickle.loads(pickle.dumps(places(tmp_path))) == places(tmp_path)


def test_rehearsals_side_by_side_keep_their_secrets_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In threads of one process: each meets its own, no record has any of either, and nothing is left afterwards."""
    met: list[set[str]] = []
    forget = secret.Secrets.forget

    def ended(run: secret.Secrets) -> None:
        met.append({form for form, _ in run.forms})
        forget(run)
        assert run.forms == ()

    monkeypatch.setattr(secret.Secrets, "forget", ended)
    monkeypatch.setattr(secret, "_of_no_run", secret.Secrets())
    both = threading.Barrier(2, timeout=60)

    def one(name: str) -> Path:
        def begun(phase: str) -> None:
            if phase == "probes before":
                both.wait()  # each is in the middle of its run while the other one is

        options = Options(driver="paper", run_dir=tmp_path / name)
        one_rehearsal.rehearse_one(loading.load(OUTAGE), options, places(tmp_path), begin=begun)
        return tmp_path / name / journal.RECORD_FILE

    with ThreadPoolExecutor(max_workers=2) as pool:
        records = [file.read_text() for file in pool.map(one, ("one", "other"))]
    passwords = [{form for form in forms if form not in theirs} for forms, theirs in zip(met, met[::-1], strict=True)]
    assert all(passwords), "each has a secret that the other one does not know"
    assert [form for forms in met for form in forms for record in records if form in record] == []
    assert secret._of_no_run.forms == ()


def test_what_a_run_breaks_with_is_printed_without_its_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told when the run is over, and names none for as long as it lives."""
    kept: list[str] = []

    def fails(*_words: Any, **_more: Any) -> None:
        kept.append(Secret("a-key-without-any-shape-81c2").reveal())
        raise OSError(f"no room for {kept[0]}")

    monkeypatch.setattr(rehearsal, "rehearse", fails)
    monkeypatch.setattr(secret, "_of_no_run", secret.Secrets())
    with pytest.raises(OSError, match="no room") as told:
        one_rehearsal.rehearse_one(loading.load(OUTAGE), Options(driver="paper"), places(tmp_path))
    assert kept[0] not in secret.redact(str(told.value))


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
