"""Which cells are meant: by terms of their names, or by the share of one machine; together the shares are all."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.scenario import loading, matrix, matrix_choice
from harness.scenario.matrix import Cell, MatrixError
from tests.runs import OUTAGE

AXES = {
    "vault.target": ["1.8.0", "1.9.2", "1.11.0"],
    "auth.kubernetes.reviewer": ["unset", "client-jwt"],
    "driver": ["local", "kind"],
}


def cells() -> tuple[Cell, ...]:
    document = matrix.plain(loading.load(OUTAGE).scenario)
    return matrix.cells(document, matrix.read(document, AXES))


ALL = cells()


@pytest.mark.parametrize(
    ("filters", "number"),
    [
        ([], 12),
        (["target=1.9.2"], 4),
        (["target=1.*,reviewer=client-jwt,driver=local"], 3),
        (["target=1.9.2", "target=1.11.0"], 8),
        (["!driver=kind"], 6),
        (["target=1.*,!target=1.11.0"], 8),
        (["client"], 6),
        (["!client,kind"], 3),
        (["target=1.9.2,reviewer=unset,driver=kind"], 1),
    ],
)
def test_a_filter_is_terms_that_must_all_fit(filters: list[str], number: int) -> None:
    assert len(matrix_choice.chosen(ALL, filters)) == number


@pytest.mark.parametrize(
    ("filters", "says"),
    [(["tarjet=1.9.2"], "tarjet=1.9.2: there is no axis tarjet; right would be: did you mean target?"),
     (["target=9*"], "no cell fits target=9*; right would be: `--list` shows"),
     (["nothing"], "no cell fits nothing")],
)  # fmt: skip
def test_a_filter_that_fits_nothing_is_told(filters: list[str], says: str) -> None:
    with pytest.raises(MatrixError, match=re.escape(says)):
        matrix_choice.chosen(ALL, filters)


@pytest.mark.parametrize("text", ["0/5", "6/5", "2", "2/0", "-1/5", "2/5/6", "a/b", ""])
def test_a_shard_out_of_range_is_told(text: str) -> None:
    with pytest.raises(MatrixError, match="is no shard; right would be: one of how many, from 1: 2/5 is the second"):
        matrix_choice.share(text)


def test_more_shards_than_cells_are_told() -> None:
    with pytest.raises(MatrixError, match="13 shards of 12 cells; right would be: at most 12"):
        matrix_choice.shard(ALL, 13, 13, {})


@given(
    st.integers(1, len(ALL)),
    st.dictionaries(st.sampled_from([cell.id for cell in ALL]), st.floats(0.5, 900.0)),
)
def test_every_cell_is_in_one_shard_and_none_has_much_more_to_do(of: int, seconds: dict[str, float]) -> None:
    shards = [matrix_choice.shard(ALL, number, of, seconds) for number in range(1, of + 1)]
    assert sorted(cell.id for shard in shards for cell in shard) == sorted(cell.id for cell in ALL)
    assert all(shards)
    assert shards == [
        matrix_choice.shard(ALL, number, of, dict(reversed(seconds.items()))) for number in range(1, of + 1)
    ]


def test_the_longest_cells_are_shared_out_first() -> None:
    """One cell that takes as long as all others has a shard to itself."""
    seconds = {cell.id: 10.0 for cell in ALL} | {ALL[5].id: 110.0}
    shards = [matrix_choice.shard(ALL, number, 2, seconds) for number in (1, 2)]
    assert sorted(map(len, shards)) == [1, 11]


def test_what_nobody_recorded_takes_what_its_driver_usually_does() -> None:
    local = [cell for cell in ALL if cell.driver == "local"]
    shards = [matrix_choice.shard(ALL, number, 6, {cell.id: 1.0 for cell in local}) for number in range(1, 7)]
    assert all(sum(cell.driver == "kind" for cell in shard) == 1 for shard in shards)
