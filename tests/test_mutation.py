"""The judge is not trusted with less than it needs: what weakens it is noticed. All of it: `nox -s mutation`."""

from __future__ import annotations

import pytest

from harness.analysis import track_record
from harness.session import corpus
from tests import corpus_records, mutation


def unknown(score: mutation.Score) -> set[str]:
    """Return what nobody notices and nobody knows of. Of a row that waits for its scenario test_corpus tells."""
    every, absent = list(corpus_records.entries().values()), corpus.absent(corpus_records.DIRECTORY)
    waiting = {row.partition(":")[2] for row in track_record.unaccounted(every, absent, [])}
    told = {name for name in score.survivors if not (name.startswith("row ") and name.split()[1] in waiting)}
    return told - mutation.known_survivors()


@pytest.mark.parametrize("name", ["is gone", "jwt-key-unknown whatever", "kubernetes_auth.READS_POD_TOKEN"])
def test_a_weakened_judge_is_noticed(name: str) -> None:
    """By the records of real runs, whichever rule is taken away; the others stand for all that nightly tries."""
    score = mutation.tried([name])
    assert score.tried
    assert unknown(score) == set()


def test_a_falsified_row_is_noticed() -> None:
    score = mutation.tried(["row "], most=60)
    assert len(score.tried) >= 40
    assert unknown(score) == set()


MAY_BE_STALE = 5
"""So many names on the list may be of conditions that were rewritten since; the whole check names them."""


def test_whoever_is_on_the_list_is_a_change_that_there_is() -> None:
    every = [*mutation.rules_removed(), *mutation.conditions_dropped(), *mutation.versions_moved()]
    names = {one.name for one in (*every, *mutation.rows_falsified())}
    assert len(mutation.known_survivors() - names) <= MAY_BE_STALE
    assert len(mutation.known_survivors()) * 4 <= len(names), "more than a quarter is not noticed"
