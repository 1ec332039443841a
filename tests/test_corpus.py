"""The corpus of known breakages: each is found on paper and in the record of its real run, and its table says so."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path
from typing import Final

import pytest
from click.testing import CliRunner

from harness.analysis import track_record
from harness.analysis.track_record import Absent, Entry, Result
from harness.cli import commands
from harness.record.events import MomentBegan
from harness.record.observation import Observation
from harness.reports import table
from harness.reports import track_record as report
from harness.scenario import loading, topology
from harness.session import corpus
from tests import corpus_records
from tests.corpus_records import DIRECTORY, PAGE, RECORDS, entries
from tests.runs import on_paper

IDS: Final = sorted(entries())
FAULTS: Final = (
    "node-does-not-rejoin node-removed quorum-lost nodes-over-etcd nodes-over-postgresql etcd-leader-killed "
    "etcd-defragmented-at-once postgresql-restarted consul-restarted seal-vault-first seal-vault-last "
    "seal-vault-sealed-in-the-hop seal-vault-away-in-the-hop seal-token-ended revocation-storm disk-full-on-a-node "
    "agent-sink-unwritable wrong-keys foreign-snapshot clock-step-on-a-node"
)
COLLECTIONS: Final = [
    *(f"corpus:{number}" for number in range(1, 20)),
    *(f"rule:{number}" for number in range(1, 12)),
    *(f"fault:{name}" for name in FAULTS.split()),
]
"""The rows of the collection of breakages that people reported, of the rules that they were made into, and of what
happens to what a Vault has around it."""

ONLY_REAL: Final = {"c02c", "r08", "r11a", "n02"}
"""What else changes there is what only a server says: on paper no token has a format, and no config defaults."""


MAY_WAIT: Final = 6
"""So many rows of the table may be without a scenario or a word why there is none."""


@pytest.mark.parametrize("name", IDS)
def test_a_known_breakage_is_found_on_paper(name: str, tmp_path: Path) -> None:
    """With its cause and at its step, and nothing else; so whoever tries it without servers learns the same."""
    entry = entries()[name]
    _, judgement = on_paper(loading.load(Path(entry.file)).scenario, tmp_path)
    found = track_record.result(entry, judgement, date=0.0)
    wrong = [why for why in found.wrong if not (name in ONLY_REAL and why.startswith("nothing changed"))]
    assert wrong == []


@pytest.mark.parametrize("name", IDS)
def test_the_record_of_its_real_run_says_the_same(name: str) -> None:
    """Every row is one of a real run on processes, of these very files, and no cause in it is wrong."""
    record, found = corpus_records.record(name), corpus_records.result(name)
    assert (found.driver, found.exit_code, found.wrong) == ("local", 0, ())
    assert record.started.plan.scenario == entries()[name].name
    asked = loading.load(Path(entries()[name].file)).scenario
    now = json.loads(asked.model_dump_json(by_alias=True))
    assert within(record.started.scenario, now), "run it again: its file has changed"


def within(old: object, new: object) -> bool:
    """Does *new* say all that *old* says? What newer releases can say beside is left out."""
    if isinstance(old, dict) and isinstance(new, dict):
        return all(name in new and within(value, new[name]) for name, value in old.items())
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        return all(within(*pair) for pair in zip(old, new, strict=True))
    return old == new


def test_the_table_stands_in_the_docs_as_the_records_have_it() -> None:
    assert PAGE.read_text(encoding="utf-8") == corpus_records.page(), "python -m tests.corpus_records"


def test_every_file_has_a_row_and_every_row_a_file() -> None:
    rows = re.findall(r"^\| ([a-z]\d+[a-z]?) \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(rows) == IDS == sorted(file.name.partition(".")[0] for file in RECORDS.iterdir())
    assert len(IDS) >= 40


def test_every_known_row_is_a_file_or_says_what_it_lacks() -> None:
    """Of both collections and of the whole table: what was not run is not forgotten, and nothing is said twice.

    A row that is new may wait a while for its scenario; not for long, and not many of them.
    """
    every, absent = list(entries().values()), corpus.absent(DIRECTORY)
    waiting = track_record.unaccounted(every, absent, COLLECTIONS)
    assert [row for row in waiting if row in COLLECTIONS] == []
    assert len(waiting) <= MAY_WAIT, waiting
    known, there = {*COLLECTIONS, *track_record.table_rows()}, {row for entry in every for row in entry.rows}
    assert there <= known
    assert {one.row for one in absent} <= known - there
    assert all(one.needs for one in absent)
    assert all(one.why for one in absent if one.needs in ("format", "question"))


def test_a_row_is_in_force_where_the_corpus_shows_it() -> None:
    """On the path of the file, from the version on that its head names; what was not run names its path as well."""
    assert corpus_records.rows_that_disagree() == []
    (entry,) = [one for one in entries().values() if one.id == "r11a"]
    other = _replaced(entry, crosses={"breaker:token-format": "1.9.3"})
    gone = Absent("breaker:no-such-row", "format", "x")
    late = Absent("breaker:rekey-needs-a-token", "vault 2.0.0", "", path=("2.0.0 2.1.0",))
    assert track_record.disagreeing([other], [gone, late]) == [
        "r11a: breaker:token-format is not in force from 1.9.3 on",
        "not-run.toml: breaker:no-such-row is no row",
        "not-run.toml: breaker:rekey-needs-a-token does not come or go between 2.0.0 2.1.0",
    ]


@pytest.mark.parametrize("name", IDS)
def test_what_mends_it_is_in_the_course_or_it_is_said_why_not(name: str) -> None:
    """A step that mends is followed by a login that is granted; where nobody was refused before it, nobody is after.

    Where nodes are missing, and no login, all of them are well after it.
    """
    entry = entries()[name]
    said = re.fullmatch(r"step (\d+)|none: \S.+", entry.remedy)
    assert said, entry.remedy
    if said[1] is None:
        return
    expected = topology.asked_of(loading.load(Path(entry.file)).scenario.model_dump(mode="json", by_alias=True)).expect
    if expected and {one.change for one in expected} <= {"node lost", "quorum lost"}:
        record = corpus_records.record(name)
        last = max(record.of(MomentBegan), key=lambda one: one.number)
        seen = {
            one.node: one.answer for one in record.of(Observation) if (one.moment, one.probe) == (last.moment, "health")
        }
        assert (last.step, set(seen.values()), len(seen) > 1) == (int(said[1]), {"granted"}, True)
        return
    mended = [one for one in expected or () if one.change == "login granted" and one.at_step == int(said[1])]
    assert mended or not expected


def test_a_part_is_a_share_that_stays() -> None:
    """Every entry is in one part of so many, and another entry moves none."""
    every = list(entries().values())
    parts = [track_record.part(every, number, 5) for number in range(1, 6)]
    assert sorted(one.id for part in parts for one in part) == IDS
    assert track_record.part(every[1:], 2, 5) == [one for one in parts[1] if one != every[0]]


def test_what_is_otherwise_than_expected_is_wrong(tmp_path: Path) -> None:
    """A finding too many or too few, words that are not there, news: none of them is a pass."""
    entry = entries()["c02a"]
    asked = loading.load(Path(entry.file)).scenario
    _, fine = on_paper(asked, tmp_path / "a")
    other = asked.model_copy(update={"expect": asked.expect[:1] if asked.expect else None})
    _, many = on_paper(other, tmp_path / "b")
    assert track_record.result(entry, fine, date=0.0).wrong == ()
    (why,) = track_record.result(entry, many, date=0.0).wrong
    assert why.startswith("too many: improvement")
    silent = _replaced(entry, shows=("no such words",))
    assert track_record.result(silent, fine, date=0.0).wrong == ("nothing changed that says: no such words",)
    assert track_record.result(silent, fine, date=0.0).exit_code == 1


def _replaced(entry: Entry, **fields: object) -> Entry:
    import msgspec

    return msgspec.structs.replace(entry, **fields)


def test_a_head_that_is_not_whole_is_refused(tmp_path: Path) -> None:
    whole = Path(entries()["c02a"].file).read_text(encoding="utf-8")
    file = tmp_path / "c02a-x.yaml"
    file.write_text(whole.replace("# since:", "# sence:"), encoding="utf-8")
    with pytest.raises(corpus.NoCorpus, match="look at: since"):
        corpus.entries(tmp_path)
    file.write_text(whole.replace("# id: c02a", "# id: c9"), encoding="utf-8")
    with pytest.raises(corpus.NoCorpus, match="the name of the file begins with it"):
        corpus.entries(tmp_path)
    with pytest.raises(corpus.NoCorpus, match="there is no corpus"):
        corpus.entries(tmp_path / "nowhere")
    file.write_text(whole, encoding="utf-8")
    (tmp_path / "c02a-y.yaml").write_text(whole, encoding="utf-8")
    with pytest.raises(corpus.NoCorpus, match="c02a stands in several files"):
        corpus.entries(tmp_path)


def test_results_are_kept_one_by_one(tmp_path: Path) -> None:
    one = Result(id="a1", driver="paper", date=1.0, program="0", seen=(), exit_code=0)
    corpus.keep(tmp_path, [one])
    other = track_record.without_result(_replaced(entries()["c02a"], id="a2"), "local", 3, "no etcd", 2.0)
    corpus.keep(tmp_path, [other])
    assert corpus.kept(tmp_path) == {"a1": one, "a2": other}
    (corpus.place(tmp_path) / "results.json").write_text("{")
    assert corpus.kept(tmp_path) == {}


def test_the_page_says_what_was_seen_where_it_is_otherwise() -> None:
    entry = entries()["c02a"]
    wrong = Result(id="c02a", driver="local", date=0.0, program="0", seen=("login refused",), wrong=("x",), exit_code=1)
    page = report.page([entry], {"c02a": wrong}, [Absent("corpus:8", "vault 1.20.0", "a | b")])
    assert "1 known breakages: 0 found as they must be, 1 otherwise." in page
    assert "| login refused; x | local | 01 Jan 1970 |" in page
    assert "vault 1.20.0" in page
    assert "not run yet" in report.page([entry], {}, [])


@pytest.mark.processes
def test_the_command_rehearses_lists_and_writes(tmp_path: Path) -> None:
    """On paper, two at a time: exit 0 where all is as expected, 1 where it is not; what was seen is kept."""

    def run(*words: str) -> tuple[int, str, str]:
        told = CliRunner().invoke(commands.main, ["corpus", "--directory", str(DIRECTORY), *words])
        return told.exit_code, told.stdout, told.stderr

    code, table, _ = run("c02a", "r07", "--driver", "paper")
    assert (code, "2 known breakages: 2 found as they must be" in table) == (0, True)
    code, text, _ = run("r11a", "--driver", "paper", "--json")
    read = json.loads(text)
    assert (code, read["exit_code"], read["corpus"][0]["result"]["wrong"]) == (
        1,
        1,
        ["nothing changed that says: token format (hvs."],
    )
    code, table, _ = run("--list", "--markdown", str(tmp_path / "page.md"))
    assert (code, f"{len(IDS)} known breakages: 2 found as they must be, 1 otherwise" in table) == (0, True)
    assert "# The track record" in (tmp_path / "page.md").read_text(encoding="utf-8")
    assert run("nobody", "--list")[0] == run("--part", "4/3", "--list")[0] == run("--part", "x", "--list")[0] == 2
    assert run("--list", "--markdown", str(tmp_path / "none" / "x.md"))[0] == 2
    code, table, _ = run("--list", "--part", "day/5")
    assert code == 0
    assert 0 < len(re.findall(r"^[a-z]\d+", table, re.MULTILINE)) < len(IDS)


def test_without_a_corpus_it_is_said_where_one_is(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    told = CliRunner().invoke(commands.main, ["corpus", "--directory", str(tmp_path / "empty"), "--list"])
    assert told.exit_code == 2
    assert "scenarios/corpus of this project's sources" in told.stderr


def test_no_record_has_a_place_of_this_machine() -> None:
    """They are kept in the sources, where nobody's folders have a meaning."""
    for file in RECORDS.iterdir():
        assert not re.search(rb"/(root|home|work)/", gzip.decompress(file.read_bytes())), file.name


def test_a_code_that_nobody_knows_is_never_a_pass() -> None:
    """A rehearsal that was killed has the code of its signal, and stands for a fault of this tool."""
    assert [table.worst_of(codes) for codes in ([], [0], [0, -9], [4, 70], [1, -9])] == [0, 0, 3, 3, 1]
