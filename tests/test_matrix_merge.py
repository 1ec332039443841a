"""Shards that several machines have rehearsed become one matrix, which is what one machine would have said."""

from __future__ import annotations

import json
import shutil
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import Result

from harness.analysis import matrix_merge
from harness.analysis.matrix_results import CellResult, MatrixResult
from harness.session import matrix_directory
from tests.test_cli import own_signals, rehearse
from tests.test_matrix_runs import places, result, run, scenario

__all__ = ["own_signals", "places"]


def merge(*words: str | Path) -> Result:
    return rehearse("merge", *map(str, words))


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    """The two shards of a matrix of four cells, as the downloads of a CI's job."""
    file = scenario(tmp_path)
    for number in (1, 2):
        run(file, "--shard", f"{number}/2", "--run-dir", tmp_path / "shards" / f"cells-{number}")
    return tmp_path / "shards"


# --- what one matrix is ---


def part(*cells: tuple[str, int], whole: str = "abcd", **more: Any) -> MatrixResult:
    words = {0: "pass", 1: "fail"}
    made = [
        CellResult(
            id=name,
            values={"x": name},
            driver="paper",
            verdict=words.get(code, "inconclusive"),  # type: ignore[arg-type]
            outcome=words.get(code, "inconclusive"),  # type: ignore[arg-type]
            exit_code=code,
            record=f"cells/{name}",
        )
        for name, code in cells
    ]
    told: dict[str, Any] = {"scenario": "s", "harness": "1+a", "machine": "m", "started": 2.0, "ended": 3.0, "key": "k"}
    return MatrixResult(
        **{**told, **more}, description="", axes={"x": tuple(whole)}, across="x", planned=len(cells),
        cells=tuple(made), whole=tuple(whole),
    )  # fmt: skip


def test_cells_stand_in_the_order_of_the_whole_and_know_where_their_record_is() -> None:
    whole = matrix_merge.merged({"two": part(("d", 0), ("b", 0)), "one": part(("a", 0), ("c", 1), started=1.0)})
    assert [(cell.id, cell.record) for cell in whole.cells] == [
        ("a", "one/cells/a"), ("b", "two/cells/b"), ("c", "one/cells/c"), ("d", "two/cells/d"),
    ]  # fmt: skip
    assert (whole.planned, whole.exit_code, whole.started) == (4, 1, 1.0)
    assert matrix_merge.said_of_missing(whole) == ""


@pytest.mark.parametrize("lost", ["a", "bd"])
def test_cells_that_nobody_has_make_it_no_pass(lost: str) -> None:
    whole = matrix_merge.merged({"one": part(*((name, 0) for name in "abcd" if name not in lost))})
    assert (whole.planned, whole.exit_code) == (4, 4)
    assert matrix_merge.missing(whole) == tuple(lost)
    assert "; ".join(lost) in matrix_merge.said_of_missing(whole)


@pytest.mark.parametrize(("codes", "counts"), [((0, 1), 1), ((4, 0), 0), ((4, 1), 1), ((3, 4), 4), ((130, 0), 0)])
def test_of_a_cell_that_two_have_what_was_learned_counts_and_of_that_the_worst(
    codes: tuple[int, int], counts: int
) -> None:
    for one, two in (codes, codes[::-1]):
        whole = matrix_merge.merged({"x": part(("a", one), whole="a"), "y": part(("a", two), whole="a")})
        assert [cell.exit_code for cell in whole.cells] == [counts]


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"scenario": "t"}, "the scenario is s in the one and t in the other"),
        ({"harness": "1+b"}, "the release of rehearse is 1[+]a in the one and 1[+]b in the other"),
        ({"whole": "abce"}, "the axes is x: a, b, c, d in the one and x: a, b, c, e"),
        ({"key": "l"}, "the digest of all cells .* is k in the one and l in the other"),
    ],
)
def test_parts_of_two_matrices_are_refused(other: dict[str, Any], said: str) -> None:
    with pytest.raises(matrix_merge.NotOneMatrix, match=f"^here and there are not parts .*{said}"):
        matrix_merge.merged({"here": part(("a", 0)), "there": part(("b", 0), **other)})


def test_a_binary_that_is_not_the_same_everywhere_is_named() -> None:
    def with_vault(name: str, digest: str) -> MatrixResult:
        made = part((name, 0))
        cells = tuple(msgspec.structs.replace(cell, artifacts={"vault 1.11.0": digest}) for cell in made.cells)
        return msgspec.structs.replace(made, cells=cells)

    same = {"x": with_vault("a", "f" * 64), "y": with_vault("b", "f" * 64)}
    assert matrix_merge.unlike(same) == ()
    (said,) = matrix_merge.unlike({**same, "z": with_vault("c", "0" * 64)})
    assert said == f"vault 1.11.0 is not the same everywhere: sha256 {'f' * 12} in x, sha256 {'0' * 12} in z"


# --- the command ---


@pytest.mark.processes
def test_merged_shards_are_the_table_of_one_machine(shards: Path, tmp_path: Path) -> None:
    alone = run(tmp_path / "outage.yaml", "--run-dir", tmp_path / "alone", "--width", 110)
    together = merge(shards, "--width", "110", "--markdown", tmp_path / "t.md", "--junit", tmp_path / "t.xml")
    assert (alone.exit_code, together.exit_code) == (1, 1), together.output
    assert together.stdout == alone.stdout
    assert (tmp_path / "t.md").read_text().startswith("# FAIL  4 cells: 3 pass, 1 fail; exit 1")
    assert len(list(ET.parse(tmp_path / "t.xml").iter("testsuite"))) == 4


@pytest.mark.processes
def test_put_together_it_goes_on_as_one_matrix(shards: Path, tmp_path: Path) -> None:
    """Nothing is rehearsed again; every record can be judged; what is put beside it later joins."""
    place = tmp_path / "whole"
    assert merge(shards / "cells-1", "--run-dir", place).exit_code == 4
    ended = merge(shards / "cells-2", "--run-dir", place)
    assert ended.exit_code == 1, ended.output
    shutil.rmtree(shards)
    kept = result(place)
    assert len(kept.cells) == 4
    assert all(rehearse("judge", place / cell.record).exit_code == cell.exit_code for cell in kept.cells)
    again = run(tmp_path / "outage.yaml", "--run-dir", place)
    assert again.exit_code == 1
    assert "4 of 4 cells are as they were" in again.stderr


@pytest.mark.processes
def test_a_shard_that_is_missing_is_named(shards: Path) -> None:
    """And the whole is no pass, though all that is there is one."""
    here, lost = result(shards / "cells-1"), {cell.id for cell in result(shards / "cells-2").cells}
    ended = merge(shards / "cells-1", "-o", "json")
    assert (here.exit_code, ended.exit_code) == (0, 4)
    named = "; ".join(one for one in here.whole if one in lost)
    assert f"2 of 4 cells are in none of the directories, so this is no pass: {named}" in ended.stderr
    assert json.loads(ended.stdout)["planned"] == 4


@pytest.mark.processes
def test_what_is_no_part_is_refused(shards: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for words, said in (
        ([shards, tmp_path / "empty"], "there is no matrix.json in or below it"),
        ([shards, tmp_path / "nowhere"], "there is no matrix.json in or below it"),
    ):
        ended = merge(*words)
        assert (ended.exit_code, said in ended.stderr) == (2, True), ended.stderr
    run(scenario(tmp_path, name="other.yaml"), "--run-dir", tmp_path / "other")
    ended = merge(shards, tmp_path / "other")
    assert ended.exit_code == 2
    assert "the scenario is outage in the one and other in the other" in ended.stderr
    (shards / "cells-1" / matrix_directory.RESULT_FILE).write_text("{")
    ended = merge(shards)
    assert ended.exit_code == 2
    assert "is damaged" in ended.stderr
