"""A matrix is rehearsed cell by cell, goes on where it was, and is one table with one exit code."""

from __future__ import annotations

import json
import re
import signal
import sys
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import pytest
from click.testing import Result

from harness.analysis import matrix_results
from harness.analysis.matrix_results import MatrixResult
from harness.artifacts import images
from harness.artifacts.brought import Brought
from harness.cli import maintenance, matrix_running, several
from harness.cli.cells import Order
from harness.cli.matrix_workers import Task, Workers
from harness.cli.progress import Progress
from harness.clients import container_engine
from harness.errors import MissingPrerequisite
from harness.host import capacity
from harness.host.locks import alone
from harness.scenario import loading, matrix
from harness.scenario.matrix import Cell
from harness.session import matrix_directory
from harness.wait import until
from tests.runs import OUTAGE, signalled
from tests.test_cli import own_signals, rehearse
from tests.test_matrix import MATRIX

__all__ = ["own_signals"]

pytestmark = pytest.mark.processes

SMALL = """
matrix:
  axes:
    vault.target: [1.9.2, 1.9.3]
    reviewer:
      nobody-chose: {}
      client-jwt: {auth.kubernetes.reviewer: client-jwt, auth.kubernetes.configured: ~}
"""


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REHEARSE_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("REHEARSE_CACHE", str(tmp_path / "cache"))


def scenario(folder: Path, text: str = SMALL, name: str = "outage.yaml") -> Path:
    file = folder / name
    file.write_text(OUTAGE.read_text() + text)
    return file


def run(file: Path, *words: str | int | Path) -> Result:
    return rehearse("matrix", file, "--driver", "paper", *(str(word) for word in words))


def result(place: Path) -> MatrixResult:
    found = matrix_directory.load(place)
    assert found is not None
    return found


def test_the_table_says_verdict_cause_and_hop_and_where_a_row_changes(tmp_path: Path) -> None:
    ended = run(scenario(tmp_path), "--run-dir", tmp_path / "m", "--jobs", 2, "--width", 110)
    assert ended.exit_code == 1, ended.output
    said = ended.stdout
    rows = {line.split("  ")[0].strip(): line.split()[1:] for line in said.splitlines() if line.startswith("reviewer=")}
    assert rows["reviewer=nobody-chose"] == ["pass", "FAIL", "a"]
    assert rows["reviewer=client-jwt"] == ["pass", "pass"]
    assert "a  regression  login refused: web   cause: reviewer-fallback-local (strong)" in said
    assert "reviewer=nobody-chose: 1.9.2 -> 1.9.3  login refused: web; cause: reviewer-fallback-local" in said
    assert said.splitlines()[-1] == "FAIL  4 cells: 3 pass, 1 fail; exit 1"
    kept = result(tmp_path / "m")
    (red,) = [cell for cell in kept.cells if cell.verdict == "fail"]
    assert (red.id, red.values) == (
        "target=1.9.3,reviewer=nobody-chose", {"target": "1.9.3", "reviewer": "nobody-chose"},
    )  # fmt: skip
    assert (red.findings[0].rule, red.findings[0].hop, red.findings[0].apps) == (
        "reviewer-fallback-local",
        "1.9.3",
        ("web",),
    )
    assert red.findings[0].evidence
    assert (tmp_path / "m" / red.record / "record.jsonl").is_file()


def test_the_matrix_that_the_readme_shows_has_an_answer_in_each_cell(tmp_path: Path) -> None:
    """Of the axes that the first pages name, over the scenario that they begin with."""
    pages = [Path(__file__).parents[1] / name for name in ("README.md", "docs/matrix.md")]
    shown = {words for page in pages for words in re.findall(r"rehearse matrix FILE .*?--set (\S+)", page.read_text())}
    assert shown
    for number, axis in enumerate(sorted(shown)):
        place = ("--run-dir", tmp_path / str(number), "--driver", "paper", "--jobs", "1")
        done = rehearse("matrix", OUTAGE, "--target", "1.8.0,1.11.0,1.13.0", "--set", axis, *place)
        assert (done.exit_code, "INCONCLUSIVE" in done.stderr) == (1, False), done.output
        # the one at the scenario's own target is what its `expect` says
        assert done.stdout.endswith("FAIL  6 cells: 4 pass, 1 fail as expected, 1 fail; exit 1\n")


def test_a_finished_cell_is_rehearsed_again_only_if_what_it_is_made_of_has_changed(tmp_path: Path) -> None:
    file, place = scenario(tmp_path), tmp_path / "m"
    assert run(file, "--run-dir", place, "--filter", "target=1.9.3").exit_code == 1
    first = {cell.id: cell for cell in result(place).cells}
    assert len(first) == 2
    again = run(file, "--run-dir", place)
    assert again.exit_code == 1
    assert "2 of 4 cells are as they were" in again.stderr
    second = {cell.id: cell for cell in result(place).cells}
    assert {name: second[name] for name in first} == first
    scenario(tmp_path, SMALL.replace("client-jwt: {", "client-jwt: {vault.storage: file, "))
    changed = run(file, "--run-dir", place)
    assert "2 of 4 cells are as they were" in changed.stderr
    third = {cell.id: cell for cell in result(place).cells}
    assert {name for name in third if third[name].key != second[name].key} == {
        "target=1.9.2,reviewer=client-jwt", "target=1.9.3,reviewer=client-jwt",
    }  # fmt: skip
    assert "4 of 4" in run(file, "--run-dir", place).stderr
    assert "3 of 4" in run(file, "--run-dir", place, "--rerun", "fail").stderr
    assert "are as they were" not in run(file, "--run-dir", place, "--rerun", "all").stderr
    assert "are as they were" not in run(file, "--run-dir", place, "--strict").stderr


def test_another_binary_of_the_same_version_is_another_cell() -> None:
    cell = matrix_results.CellResult(
        id="a",
        values={},
        driver="local",
        verdict="pass",
        outcome="pass",
        exit_code=0,
        key="k",
        artifacts={"vault 1.7.0": "x"},
    )
    assert matrix_directory.holds(cell, "k", {"vault 1.7.0": "x", "vault 1.8.0": "y"})
    assert matrix_directory.holds(cell, "k", {})
    assert not matrix_directory.holds(cell, "k", {"vault 1.7.0": "y"})
    assert not matrix_directory.holds(cell, "l", {"vault 1.7.0": "x"})
    assert not matrix_directory.holds(None, "k", {})


def test_a_cell_that_cannot_be_rehearsed_is_inconclusive_and_says_why(tmp_path: Path) -> None:
    """Nothing is said of the others by it, and the matrix is no pass."""
    file = scenario(tmp_path, "")
    ended = run(file, "--target", "1.6.0,1.9.2", "--run-dir", tmp_path / "m")
    assert ended.exit_code == 4, ended.output
    assert "1  inconclusive: Vault 1.6.0 is older than 1.7.0, from which it is reached" in ended.stdout
    assert ended.stdout.splitlines()[-1] == "INCONCLUSIVE  2 cells: 1 pass, 1 inconclusive; exit 4"
    offline = rehearse("matrix", file, "--target", "1.9.2", "--offline", "--run-dir", tmp_path / "o")
    assert offline.exit_code == 4
    (cell,) = result(tmp_path / "o").cells
    assert (cell.verdict, cell.exit_code) == ("inconclusive", 3)
    assert "is not available" in cell.reasons[0]
    assert (
        "are as they were"
        not in rehearse("matrix", file, "--target", "1.9.2", "--offline", "--run-dir", tmp_path / "o").stderr
    )


def test_two_cannot_rehearse_one_matrix_in_one_directory(tmp_path: Path) -> None:
    file, place = scenario(tmp_path), tmp_path / "m"
    place.mkdir()
    with alone(place / "matrix.lock", lambda _line: None, "the test"):
        ended = run(file, "--run-dir", place)
    assert ended.exit_code == 2
    assert "it is being rehearsed; wait until that is over, or name another --run-dir" in ended.stderr
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine.txt").write_text("x")
    ended = run(file, "--run-dir", tmp_path / "other")
    assert (ended.exit_code, "holds other things (mine.txt)" in ended.stderr) == (2, True)
    assert run(file, "--run-dir", place).exit_code == 1
    ended = run(scenario(tmp_path, name="second.yaml"), "--run-dir", place)
    assert (ended.exit_code, "holds the matrix of outage" in ended.stderr) == (2, True)


def test_reports_for_programs_ci_servers_and_jobs(tmp_path: Path) -> None:
    file, place = scenario(tmp_path, MATRIX), tmp_path / "m"
    pages = ("--markdown", tmp_path / "m.md", "--html", tmp_path / "m.html")
    ended = run(file, "--run-dir", place, "-o", "json", "--junit", tmp_path / "j.xml", *pages)
    assert ended.exit_code == 1, ended.output
    told = json.loads(ended.stdout)
    assert (told["format"], told["across"], told["planned"], len(told["cells"])) == (1, "target", 13, 13)
    assert told["axes"]["reviewer"] == ["nobody-chose", "client-jwt"]
    suites = {suite.attrib["name"]: suite for suite in ET.parse(tmp_path / "j.xml").getroot().iter("testsuite")}
    assert len(suites) == 13
    red = [name for name, suite in suites.items() if int(suite.attrib["failures"])]
    assert red == ["outage[target=1.13.0,reviewer=nobody-chose,vault.storage=file]"]
    html = (tmp_path / "m.html").read_text()
    assert html == (place / "index.html").read_text()
    assert html.count('<button class="cell ') == 13
    page = (tmp_path / "m.md").read_text()
    assert page.startswith("# FAIL  13 cells: ")
    assert "| target → | 1.8.0 | 1.9.2 | 1.9.3 | 1.11.0 | 1.13.0 |" in page


def test_fail_fast_begins_nothing_after_a_regression(tmp_path: Path) -> None:
    file = scenario(tmp_path, "")
    words = ("--target", "1.9.3,1.10.0,1.10.1,1.10.2,1.10.3", "--jobs", 1, "--fail-fast")
    ended = run(file, *words, "--run-dir", tmp_path / "m")
    assert ended.exit_code == 1
    assert len(result(tmp_path / "m").cells) == 1
    assert ended.stdout.splitlines()[-1] == "FAIL  5 cells: 1 fail, 4 not rehearsed; exit 1"


def test_cells_are_listed_and_shared_out_without_rehearsing_any(tmp_path: Path) -> None:
    file, place = scenario(tmp_path), tmp_path / "m"
    listed = run(file, "--list", "--run-dir", place)
    assert listed.exit_code == 0
    assert "target=1.9.2,reviewer=nobody-chose  [paper]  to be rehearsed" in listed.stdout.splitlines()
    assert not place.exists()
    as_json = json.loads(run(file, "--json").stdout)
    assert as_json["include"][0] == {
        "cell": "target=1.9.2,reviewer=nobody-chose", "driver": "paper", "target": "1.9.2", "reviewer": "nobody-chose",
    }  # fmt: skip
    assert json.loads(run(file, "--json", "--shards", 2).stdout) == {"include": [{"shard": "1/2"}, {"shard": "2/2"}]}
    shards = [run(file, "--list", "--shard", f"{number}/3").stdout.splitlines() for number in (1, 2, 3)]
    assert sorted(line for shard in shards for line in shard) == sorted(listed.stdout.splitlines())


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--target", "1.8..1.23"), "there is no Vault 1.23"),
        (("--set", "auth.kubernetes.reviwer=local"), "auth.kubernetes has no reviwer"),
        (("--set", "auth.kubernetes.reviewer"), "the path of a field, =, and its values"),
        (("--driver", "docker"), "there is no driver docker"),
        (("--target", "1.8.0", "--shard", "3/2"), "3/2 is no shard"),
        (("--target", "1.8.0", "--shard", "2/2"), "2 shards of 1 cells"),
        (("--target", "1.8.0", "--filter", "x=1"), "there is no axis x"),
        ((), "nothing is varied: give an axis"),
        (("--target", "1.8.0", "--html", "/nowhere/x.html"), "there is no folder /nowhere"),
        (("--target", "all", "--set", "vault.storage=raft,file", "--json"), "right: --shards 20"),
    ],
)
def test_what_is_no_matrix_is_usage(words: tuple[str, ...], says: str, tmp_path: Path) -> None:
    ended = rehearse("matrix", scenario(tmp_path, ""), *words)
    assert (ended.exit_code, says in ended.stderr) == (2, True), ended.output


def test_an_interrupted_matrix_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, place = scenario(tmp_path, MATRIX), tmp_path / "m"
    import os

    words = ["matrix", str(file), "--driver", "paper", "--jobs", "2", "--run-dir", str(place)]
    code, said = signalled(words, dict(os.environ), "[3/13]", signal.SIGTERM)
    assert code == 130, said
    assert "the same command goes on from there" in said
    before = {cell.id: cell for cell in result(place).cells}
    assert 3 <= len(before) < 13
    ended = run(file, "--run-dir", place)
    assert f"{len(before)} of 13 cells are as they were" in ended.stderr
    after = {cell.id: cell for cell in result(place).cells}
    assert {name: after[name] for name in before} == before
    assert len(after) == 13


def test_a_cell_that_hangs_is_ended_at_its_limit_and_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may end its servers first: it is asked by the end of its stdin. The next cell gets a process of its own."""
    waits = """if True:
        import sys
        order = sys.stdin.readline()
        if "hangs.yaml" in order:
            sys.stdin.read(); print("over", file=sys.stderr); sys.exit(130)
        print('{"code": 0}', flush=True); sys.stdin.read()
    """
    monkeypatch.setattr(several, "program", lambda: [sys.executable, "-c", waits])

    class How:
        def words(self) -> list[str]:
            return []

        def environment(self) -> dict[str, str]:
            return {}

    said: list[str] = []
    going = Progress(quiet=True)
    monkeypatch.setattr(going, "say", said.append)
    tasks = [Task(name, Order(f"{name}.yaml", str(tmp_path / name), "local"), 5.0) for name in ("hangs", "passes")]
    workers = Workers(How(), 1, going)
    ended = [(task.name, task.late, code) for task, code in workers.ended(tasks)]
    assert ended == [("hangs", True, 130), ("passes", False, 0)]
    assert tasks[0].said == ["over"]
    assert said == ["hangs: not over after 5 s, its limit; it is being ended"]


def test_a_process_that_dies_costs_its_cell_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An exit code of a process says nothing of Vault: that of a cell is what it answers."""
    dies = """if True:
        import os, sys
        for order in iter(sys.stdin.readline, ""):
            if "dies.yaml" in order:
                print("about to die", file=sys.stderr, flush=True); os._exit(1)
            print('{"code": 1}', flush=True)
    """
    monkeypatch.setattr(several, "program", lambda: [sys.executable, "-c", dies])

    class How:
        def words(self) -> list[str]:
            return []

        def environment(self) -> dict[str, str]:
            return {}

    tasks = [Task(name, Order(f"{name}.yaml", str(tmp_path), "local")) for name in ("fails", "dies", "fails too")]
    workers = Workers(How(), 1, Progress(quiet=True))
    assert [(task.name, code) for task, code in workers.ended(tasks)] == [("fails", 1), ("dies", 3), ("fails too", 1)]
    assert tasks[1].said == ["about to die"]


def test_processes_that_were_expected_are_the_ones_that_rehearse(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They load while everything is fetched; no more of them than cells are to be rehearsed at a time, or there are."""
    notes = f"""if True:
        import os, pathlib, sys
        pathlib.Path({str(tmp_path)!r}, str(os.getpid())).touch()
        for order in iter(sys.stdin.readline, ""):
            print('{{"code": 0}}', flush=True)
    """
    monkeypatch.setattr(several, "program", lambda: [sys.executable, "-c", notes])

    class How:
        def words(self) -> list[str]:
            return []

        def environment(self) -> dict[str, str]:
            return {}

    def begun() -> int:
        return len(list(tmp_path.iterdir()))

    workers = Workers(How(), 2, Progress(quiet=True))
    workers.expect(1)
    until(lambda: begun() == 1, what="one process", seconds=30)
    workers.expect(9)
    until(lambda: begun() == 2, what="two processes", seconds=30)
    tasks = [Task(name, Order(name, name, "local")) for name in ("one", "another", "the last")]
    assert {code for _task, code in workers.ended(tasks)} == {0}
    assert begun() == 2


def test_another_image_of_the_same_version_is_another_cell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an engine has by that name today is compared with what the cell was made of; no engine: nobody knows."""
    monkeypatch.setattr(container_engine, "reach", lambda _environment: None)
    here = {("vault-image", "1.11.0"): "a" * 64}
    monkeypatch.setattr(images.Images, "at_hand", lambda _self, *pair: Described(f"sha256:{here[pair]}"))
    wanted = [("vault-image", "1.11.0"), ("vault", "1.11.0")]
    kept = maintenance.store("", lambda _line: None, insecure=False, offline=True)
    found = maintenance.image_ids(wanted, kept, "", Brought())
    assert found == {("vault-image", "1.11.0"): "a" * 64}

    def silent(_environment: object) -> NoReturn:
        raise MissingPrerequisite("no engine")

    monkeypatch.setattr(container_engine, "reach", silent)
    assert maintenance.image_ids(wanted, kept, "", Brought()) == {}


@dataclass
class Described:
    id: str


def cell_of(text: str, driver: str) -> list[Cell]:
    loaded = loading.loads(OUTAGE.read_text() + text, "outage.yaml")
    document = matrix.plain(loaded.scenario)
    return list(matrix.cells(document, matrix.read(document, {"driver": [driver]})))


def test_as_many_cells_at_a_time_as_nodes_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the largest cell: a cell of eight nodes takes the place of four with two, and each node has a core. Without
    nodes more than one a core where there are cells enough to make up for the clusters of another process.
    """
    monkeypatch.setattr(capacity, "measure", lambda _work: capacity.Machine(64 * 10**9, 8.0, 10**12))
    nodes = "\nmatrix: {axes: {vault.target: [1.8.0, 1.9.2, 1.9.3, 1.11.0], clusters.apps.nodes: [%s]}}\n"
    small, large = cell_of(nodes % "1", "kind"), cell_of(nodes % "1, 7", "kind")
    assert (len(small), len(large)) == (4, 8)
    assert matrix_running.usual_jobs(small * 24) == 4
    assert matrix_running.usual_jobs(large * 2) == 1
    local = cell_of(nodes % "1", "local")
    assert [matrix_running.usual_jobs(local * times) for times in (1, 4, 9, 10, 12, 99)] == [4, 8, 9, 10, 12, 12]
    matrix_running.insist_on_room(large, 3)
    with pytest.raises(MissingPrerequisite, match="32 kind nodes are too many for this machine"):
        matrix_running.insist_on_room(large, 4)
    matrix_running.insist_on_room(cell_of(nodes % "1", "paper"), 64)
