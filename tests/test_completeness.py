"""A record proves that it is whole: what is lost, torn, shuffled or joined is found, and so is what no run can say."""

from __future__ import annotations

import json
import os
import random
import re
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result

from harness.analysis import verdict
from harness.analysis.verdict import Judgement
from harness.cli import commands
from harness.record import journal as journals
from harness.record.events import (
    ClusterUp,
    ConfigWritten,
    MomentBegan,
    Renewals,
    RoleWritten,
    RunEnded,
    RunStarted,
    VaultServing,
)
from harness.record.journal import RECORD_FILE, Journal, NotARecord, Record
from harness.record.numbering import Numbers
from harness.record.observation import Observation
from tests.runs import OUTAGE, SCENARIOS, on_paper
from tests.test_rules import changed, mapped, mount, without

CALM = changed(mount(reviewer="long-lived"), {"vault": {"via": ["1.9.2"]}}, {"expect": None})
RECORDS = Path(__file__).parent / "records"
REAL = RECORDS / "format-2" / f"{OUTAGE.stem}.jsonl"


@pytest.fixture(name="run")
def a_run_that_passes(tmp_path: Path) -> Path:
    """Return the directory of a run that passes, whose record is of format 2."""
    _, judgement = on_paper(CALM, tmp_path / "run")
    assert (judgement.verdict, judgement.exit_code, judgement.doubts) == ("pass", 0, ())
    return tmp_path / "run"


def test_a_vault_or_a_node_that_is_not_there_makes_it_no_record(run: Path) -> None:
    """Whoever joins records of two systems, or mends one by hand, is told which name nobody knows."""
    record = journals.load(run)
    kinds = {type(one): one for one in record.events if hasattr(one, "vault")}
    for one in kinds.values():
        for name, there in (("Vault 'other'", {"vault": "other"}), ("node 'vault-1'", {"node": "vault-1"})):
            strange = msgspec.structs.replace(one, **there)
            with pytest.raises(NotARecord, match=f"no {name}"):
                verdict.judge(Record([*record.events[:-1], strange, record.events[-1]], str(run)))


def test_the_only_vault_needs_no_name_in_a_record(run: Path) -> None:
    """The lines of a run with one Vault of one node are what they were, and what they say is the same."""
    text = (run / RECORD_FILE).read_text()
    lines = text.splitlines()[1:]
    assert [line for line in lines if '"vault":""' in line or '"node":""' in line] == []
    assert {type(one).__name__ for one in journals.load(run).events if getattr(one, "vault", None) == ""} > {
        "Observation",
        "ConfigWritten",
        "VaultServing",
    }


def lines_of(run: Path) -> list[bytes]:
    """Return the lines of a run's record."""
    return (run / RECORD_FILE).read_bytes().splitlines(keepends=True)


def judged(run: Path, lines: list[bytes]) -> Judgement:
    """Judge what is left of a record."""
    (run / RECORD_FILE).write_bytes(b"".join(lines))
    return verdict.judge(journals.load(run))


def judge(place: Path) -> Result:
    """Return what `rehearse judge` says of a place."""
    return CliRunner().invoke(commands.main, ["judge", str(place), "-q"])


# --- numbers: what is lost, doubled, shuffled, joined, changed ---


def test_every_line_is_numbered_and_the_last_vouches_for_all(run: Path) -> None:
    lines = [json.loads(line) for line in lines_of(run)]
    assert [line["n"] for line in lines] == list(range(1, len(lines) + 1))
    assert lines[-1]["lines"] == len(lines) - 1
    assert len(lines[-1]["sha256"]) == 64
    assert lines[0]["record_version"] == 2


def test_any_line_that_is_missing_is_missed(run: Path) -> None:
    """Wherever it stood: exit 4, and its number is named."""
    whole = lines_of(run)
    for lost in range(1, len(whole) - 1):
        judgement = judged(run, [*whole[:lost], *whole[lost + 1 :]])
        assert (judgement.verdict, judgement.exit_code) == ("inconclusive", 4), whole[lost]
        assert judgement.reasons[0] == f"line {lost + 1} is missing from the record"
    judgement = judged(run, whole[:-1])
    assert (judgement.exit_code, judgement.reasons) == (4, ("the run was cut off: its record does not end",))


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        pytest.param(lambda lines: [*lines[:9], lines[8], *lines[9:]], "shuffled or doubled", id="doubled"),
        pytest.param(lambda lines: [*lines[:9], *lines[:8:-1]], "shuffled or doubled", id="turned round"),
        pytest.param(lambda lines: [*lines, *lines], "another record was joined", id="joined to itself"),
        pytest.param(lambda lines: [*lines[:9], *lines[12:]], "lines 10 to 12 are missing", id="a gap"),
        pytest.param(lambda lines: [*lines, lines[5]], "after the end of the run", id="after the end"),
        pytest.param(lambda lines: [one.replace(b":200,", b":201,", 1) for one in lines], "another digest", id="other"),
        pytest.param(lambda lines: [*lines[:-1], lines[-1].replace(b'"lines":', b'"lines":1')], "counts 1", id="count"),
        pytest.param(lambda lines: [*lines[:-1], lines[-1].split(b',"lin')[0] + b"}\n"], "does not say", id="no seal"),
        pytest.param(lambda lines: [*lines[:9], b"{}\n", *lines[9:]], "line 10 of the record is", id="foreign"),
        pytest.param(lambda lines: [*lines[:9], b"\xff\0\n", *lines[9:]], "line 10 of the record is", id="binary"),
        pytest.param(lambda lines: [*lines[:9], lines[9][:30], *lines[10:]], "line 10 of the record is", id="torn"),
    ],
)  # fmt: skip
def test_a_record_that_was_tampered_with_is_inconclusive(
    harm: Callable[[list[bytes]], list[bytes]], said: str, run: Path
) -> None:
    """What is not as it was written is named, and the run is no pass."""
    judgement = judged(run, harm(lines_of(run)))
    assert (judgement.verdict, judgement.exit_code) == ("inconclusive", 4)
    assert any(said in reason for reason in judgement.reasons), judgement.reasons
    assert {doubt.kind for doubt in judgement.doubts} <= {"incomplete", "unfinished"}


def test_two_records_that_are_joined_are_not_one(run: Path, tmp_path: Path) -> None:
    """Neither one after the other, nor one in the middle of the other."""
    on_paper(CALM, tmp_path / "other")
    mine, other = lines_of(run), lines_of(tmp_path / "other")
    for lines in ([*mine, *other], [*mine[:20], *other[20:]], [*mine[:20], *other, *mine[20:]]):
        assert judged(run, lines).exit_code == 4


@pytest.mark.parametrize("seed", range(8))
def test_a_record_whose_lines_are_shuffled_is_inconclusive(seed: int, run: Path) -> None:
    """In whatever order, its first line included."""
    lines = lines_of(run)
    random.Random(seed).shuffle(lines)
    judgement = judged(run, lines)
    assert (judgement.verdict, judgement.exit_code, judgement.findings) == ("inconclusive", 4, ())


def test_a_regression_that_stands_before_a_hole_is_still_one(tmp_path: Path) -> None:
    """Worst wins: what was found stays found."""
    _, judgement = on_paper(changed({"expect": None}), tmp_path)
    judgement = judged(tmp_path, [*lines_of(tmp_path)[:-4], *lines_of(tmp_path)[-3:]])
    assert (judgement.verdict, judgement.exit_code) == ("fail", 1)
    assert "is missing from the record" in judgement.reasons[-1]


def test_a_torn_last_line_is_dropped(run: Path) -> None:
    """Wherever it was torn, what stands before it is judged."""
    lines = lines_of(run)
    for cut in range(1, len(lines[-1]) - 2, 5):
        judgement = judged(run, [*lines[:-1], lines[-1][:cut]])
        assert judgement.reasons == ("the run was cut off: its record does not end",)
    assert judged(run, [*lines[:-1], lines[-1].rstrip()]).verdict == "pass"


# --- what the plan requires, whether or not the numbers are in order ---


def renumbered(run: Path, change: Callable[[dict[str, Any]], dict[str, Any] | None]) -> Judgement:
    """Judge the record of *run* with its lines changed, or left out, and numbered and sealed anew as if nothing was."""
    numbers, lines = Numbers(), []
    for line in lines_of(run):
        event = json.loads(re.sub(rb',"n":\d+(,"lines":.*)?}\n', b"}", line))
        if (kept := change(event)) is not None:
            lines.append(numbers.line(msgspec.json.encode(kept).decode(), last=kept["event"] == "run-ended"))
    return judged(run, lines)


@pytest.mark.parametrize(
    ("event", "names"),
    [
        ("vault-serving", "Vault 1.9.2 serving"),
        ("config-written", "the config of auth/kubernetes, written by 1.4.0"),
        ("role-written", "role web of auth/kubernetes, written by 1.4.0"),
        ("moment", "the beginning of the moment after 1.9.2"),
        ("cluster-up", "cluster apps coming up"),
    ],
)
def test_an_event_that_the_plan_requires_is_missed_by_name(event: str, names: str, run: Path) -> None:
    """Even where the lines are numbered without a gap: one sentence says what is missing."""

    def drop(line: dict[str, Any]) -> dict[str, Any] | None:
        telling = {line.get("asked"), line.get("moment"), line.get("cluster")}
        one_of = event in ("config-written", "role-written") or telling & {"1.9.2", "after 1.9.2", "apps"}
        return None if line["event"] == event and one_of else line

    judgement = renumbered(run, drop)
    assert (judgement.verdict, judgement.exit_code) == ("inconclusive", 4)
    (reason,) = judgement.reasons
    assert reason == f"the record lacks what its plan requires: {names}"


def test_a_question_that_is_missing_is_missed(run: Path) -> None:
    judgement = renumbered(run, lambda line: None if line.get("probe") == "health" else line)
    assert (judgement.verdict, judgement.exit_code) == ("inconclusive", 4)
    assert judgement.reasons == ("not every question was asked: before, after 1.9.2, after 1.11.0",)


def test_another_version_than_was_asked_for_is_no_pass(run: Path) -> None:
    """A run of 1.11.0 in which 1.9.2 answered says nothing about 1.11.0."""

    def other(line: dict[str, Any]) -> dict[str, Any]:
        return {**line, "answered": "1.9.2"} if line.get("asked") == "1.11.0" else line

    built = renumbered(run, lambda line: {**line, "answered": "1.9.2+ent"} if line.get("asked") == "1.9.2" else line)
    assert built.verdict == "pass"
    judgement = renumbered(run, other)
    assert (judgement.verdict, judgement.exit_code) == ("inconclusive", 4)
    assert judgement.reasons == ("Vault 1.11.0 was asked for, and Vault 1.9.2 answered",)


@pytest.mark.parametrize("swapped", ["moment", "vault-serving"])
def test_lines_that_stand_elsewhere_are_found_by_the_plan(swapped: str, run: Path) -> None:
    """Two events of one kind that change places, with fresh numbers: the plan has them in another order."""
    there = [json.loads(line) for line in lines_of(run) if json.loads(line)["event"] == swapped]
    turned = iter(reversed(there))
    judgement = renumbered(run, lambda line: next(turned) if line["event"] == swapped else line)
    assert (judgement.verdict, judgement.exit_code) == ("inconclusive", 4)
    assert "do not stand in the order" in judgement.reasons[0]


def test_renewals_are_required_of_whoever_held_a_token(tmp_path: Path) -> None:
    """On real servers, at every hop: without them nobody knows whether running apps were cut off."""
    judgement = verdict.judge(journals.load(REAL))
    assert (judgement.verdict, judgement.outcome, judgement.exit_code) == ("fail", "expected-fail", 0)
    assert judgement.renewals
    (tmp_path / RECORD_FILE).write_bytes(REAL.read_bytes())
    judgement = renumbered(tmp_path, lambda line: None if line["event"] == "renewals" else line)
    (reason,) = [doubt.text for doubt in judgement.doubts]
    assert reason == ("the record lacks what its plan requires: the renewals of web before the moment after 1.11.0")
    assert (judgement.outcome, judgement.exit_code) == ("inconclusive", 4)
    assert not judgement.as_expected


def test_a_run_that_broke_lacks_nothing_but_its_end(tmp_path: Path) -> None:
    """What comes after it broke is not required: that it broke is said already."""
    _, judgement = on_paper(CALM, tmp_path, dies_at="1.9.2")
    assert [doubt for doubt in judgement.doubts if doubt.kind == "incomplete"] == []
    assert judgement.verdict == "fail"


@pytest.mark.parametrize(
    "kind", [VaultServing, ConfigWritten, RoleWritten, MomentBegan, ClusterUp, Renewals, RunEnded], ids=str
)
@pytest.mark.parametrize("name", sorted(file.stem for file in RECORDS.glob("*.jsonl")))
def test_a_record_of_format_1_is_judged_by_what_it_holds(kind: type, name: str) -> None:
    """As by the release that wrote it: nothing of it has to be there, and its lines have no numbers."""
    record = journals.load(RECORDS / f"{name}.jsonl")
    assert (record.started.record_version, record.holes) == (1, ())
    for each in (record, mapped(record, without(kind))):
        assert [doubt for doubt in verdict.judge(each).doubts if doubt.kind == "incomplete"] == []


# --- a disk that fills up ---


class _Full:
    """A disk with room for so many bytes: it takes a part of what it is given, and then says no, as a real one does."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, room: int) -> None:
        self.room, self._write = room, os.write
        monkeypatch.setattr("harness.record.journal.os.write", self)

    def __call__(self, descriptor: int, data: bytes) -> int:
        if not self.room:
            raise OSError(28, "No space left on device")
        taken = self._write(descriptor, data[: self.room])
        self.room -= taken
        return taken


def _written(journal: Journal, event: Any) -> bool:
    try:
        journal.write(event)
    except OSError:
        return False
    return True


def test_a_line_that_does_not_fit_is_told_and_leaves_nothing(run: Path, tmp_path: Path, monkeypatch: Any) -> None:
    """Wherever the disk ends: OSError, no torn line, no line after it, and what was written before is whole."""
    events = journals.load(run).events
    for room in range(0, len(lines_of(run)[0]) + 1200, 97):
        directory = tmp_path / f"room {room}"
        with monkeypatch.context() as patch, Journal.opened(directory) as journal:
            disk = _Full(patch, room)
            wrote = [event for event in events if _written(journal, event)]
            disk.room = 10_000  # room again: and still nothing may follow what was lost
            assert len(wrote) == len(events) or not _written(journal, events[-1])
        content = (directory / RECORD_FILE).read_bytes()
        assert len(content) <= room
        assert content == b"" or content.endswith(b"\n")
        assert list(events[: len(wrote)]) == wrote
        if wrote:
            assert verdict.judge(journals.load(directory)).verdict == "inconclusive"


def test_a_short_write_is_no_torn_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that takes a line in pieces has taken it whole."""
    usual = os.write
    monkeypatch.setattr("harness.record.journal.os.write", lambda descriptor, data: usual(descriptor, data[:7]))
    _, judgement = on_paper(CALM, tmp_path)
    assert judgement.verdict == "pass"


@pytest.mark.processes
@pytest.mark.parametrize("room", [0, 500, 9_000, 16_000, 20_000, 30_000, 44_000])
def test_a_full_disk_costs_what_comes_after_it_and_no_more(room: int, tmp_path: Path) -> None:
    """A limit on the size of files is a disk that ends there: the run says so, and what was seen until then is judged
    again for ever.
    """
    run = tmp_path / "run"

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))

    words = [sys.executable, "-m", "harness", "run", str(OUTAGE), "--driver", "paper", "--run-dir", str(run), "-q"]
    ended = subprocess.run(words, cwd=SCENARIOS.parent, preexec_fn=limited, capture_output=True, text=True, check=False)
    whole = ended.returncode == 0
    assert "Traceback" not in ended.stderr
    if not room:  # not even a temporary directory could be had
        assert (ended.returncode, run.exists()) == (3, False)
        assert "this machine would not do it" in ended.stderr
        return
    assert whole or "File too large" in ended.stderr + ended.stdout
    content = (run / RECORD_FILE).read_bytes()
    assert content == b"" or content.endswith(b"\n")
    again = judge(run)
    if not content:
        assert (ended.returncode, again.exit_code) == (3, 2)
    elif not whole:
        assert (ended.returncode, again.exit_code) in ((3, 4), (4, 4), (1, 1))
        assert "the run was cut off: its record does not end" in " ".join(again.stdout.split())


# --- what is no record at all ---


def _fifo(place: Path) -> None:
    os.mkfifo(place)


def _device(place: Path) -> None:
    place.symlink_to("/dev/zero")


def _long_line(place: Path) -> None:
    with place.open("wb") as file:
        file.truncate(200_000_000)


def _long_text(place: Path) -> None:
    with place.open("wb") as file:
        for _ in range(50):
            file.write(b"x" * 1_000_000)


def _binary(place: Path) -> None:
    place.write_bytes(random.Random(1).randbytes(100_000))


def _deep(place: Path) -> None:
    place.write_bytes(b"[" * 100_000 + b"\n")


@pytest.mark.processes
@pytest.mark.parametrize("made", [_fifo, _device, _long_line, _long_text, _binary, _deep])
@pytest.mark.parametrize("within", [True, False])
def test_what_is_no_record_is_refused_at_once(made: Callable[[Path], None], within: bool, tmp_path: Path) -> None:
    """One sentence and exit 2: no traceback, no wait, and little memory, whatever stands there."""
    place = tmp_path / RECORD_FILE
    made(place)

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (800_000_000, 800_000_000))

    words = [sys.executable, "-m", "harness", "judge", str(tmp_path if within else place)]
    ended = subprocess.run(
        words, cwd=SCENARIOS.parent, preexec_fn=limited, capture_output=True, text=True, timeout=20, check=False
    )
    assert (ended.returncode, ended.stdout) == (2, "")
    assert len(ended.stderr.strip().splitlines()) == 1, ended.stderr


def test_a_line_in_the_middle_that_never_ends_is_refused(run: Path) -> None:
    """Two hundred megabytes in a record that begins well."""
    with (run / RECORD_FILE).open("ab") as file:
        file.truncate(200_000_000)
    result = judge(run)
    assert result.exit_code == 2
    assert "no run writes a line of more than 32 MiB" in result.stderr


def _parts(value: Any, way: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the way to every part of a line; of a list, of its first item only."""
    deeper = value.items() if isinstance(value, dict) else [(0, value[0])] if isinstance(value, list) and value else ()
    return [way, *(one for name, part in deeper for one in _parts(part, (*way, name)))]


def _with(value: Any, way: tuple[Any, ...], new: Any) -> Any:
    if not way:
        return new
    changed = value.copy()
    changed[way[0]] = _with(value[way[0]], way[1:], new)
    return changed


@pytest.mark.parametrize("wrong", ["x\x1b[31m", -1, 1e300, None, [], {"a": [1]}], ids=repr)
def test_whatever_stands_in_a_field_nothing_but_a_sentence_comes_of_it(wrong: Any, run: Path, tmp_path: Path) -> None:
    """A part of another type, or one that cannot be: judged or refused, in text and JSON, and never a fault of ours."""
    lines = lines_of(run)
    kinds = {json.loads(line)["event"]: number for number, line in reversed(list(enumerate(lines)))}
    for number in kinds.values():
        line = json.loads(lines[number])
        for way in _parts(line)[1::3]:
            changed = msgspec.json.encode(_with(line, way, wrong)) + b"\n"
            if changed == lines[number]:
                continue
            (run / RECORD_FILE).write_bytes(b"".join([*lines[:number], changed, *lines[number + 1 :]]))
            result = judge(run)
            assert result.exit_code in (2, 4), (way, result.exception)
            assert isinstance(result.exception, SystemExit)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"app": "nobody"}, "has no app 'nobody'"),
        ({"mount": "elsewhere"}, "has no auth mount 'elsewhere'"),
        ({"mount": ""}, "of no auth mount"),
        ({"version": "new"}, "'new' is no version of Vault"),
        ({"started": 1e300}, "in the year"),
    ],
)
def test_what_no_run_can_say_is_refused_with_a_sentence(change: dict[str, Any], said: str, run: Path) -> None:
    record = journals.load(run)
    login = next(o for o in record.of(Observation) if o.probe == "login")
    other = msgspec.structs.replace(login, **change)
    with pytest.raises(NotARecord, match=re.escape(said)):
        verdict.judge(mapped(record, lambda event: other if event == login else event))


def test_a_scenario_that_is_none_is_refused_with_a_sentence(run: Path) -> None:
    def no_scenario(event: Any) -> Any:
        if not isinstance(event, RunStarted):
            return event
        plan = msgspec.structs.replace(event.plan, topology=None, asked=None)
        return msgspec.structs.replace(event, scenario={"vault": 7}, plan=plan)

    record: Record = mapped(journals.load(run), no_scenario)
    with pytest.raises(NotARecord, match="its scenario is none"):
        verdict.judge(record)
