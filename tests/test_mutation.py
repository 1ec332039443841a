"""The judge is not trusted with less than it needs: what weakens it is noticed. All of it: `nox -s mutation`."""

from __future__ import annotations

import pytest

from harness.analysis import track_record
from harness.session import corpus
from tests import corpus_records, mutation


def unknown(score: mutation.Score) -> set[str]:
    """Return what nobody notices and nobody has named. Of a row that waits for its scenario test_corpus tells."""
    every, absent = list(corpus_records.entries().values()), corpus.absent(corpus_records.DIRECTORY)
    waiting = {row.partition(":")[2] for row in track_record.unaccounted(every, absent, [])}
    told: set[str] = {name for name in score.survivors if not (name.startswith("row ") and name.split()[1] in waiting)}
    return told - set(mutation.known_survivors())


@pytest.mark.parametrize("name", ["is gone", "whatever", "kubernetes_auth.READS_POD_TOKEN"])
def test_a_weakened_judge_is_noticed(name: str) -> None:
    """By the records of real runs, whichever rule is taken away and whichever of its conditions is dropped."""
    score = mutation.tried([name])
    assert score.tried
    assert unknown(score) == set(), score.lines


def test_a_falsified_row_is_noticed() -> None:
    score = mutation.tried(["row "], most=60)
    assert len(score.tried) >= 40
    assert unknown(score) == set(), score.lines


MAY_BE_STALE = 5
"""So many names on the list may be of conditions that were rewritten since; the whole check names them."""


def test_whoever_is_on_the_list_is_a_change_that_there_is_and_has_a_reason() -> None:
    every = [*mutation.rules_removed(), *mutation.conditions_dropped(), *mutation.versions_moved()]
    names = {one.name for one in (*every, *mutation.rows_falsified())}
    known = mutation.known_survivors()
    assert all(known.values())
    assert len(set(known) - names) <= MAY_BE_STALE
    assert len(known) * 8 <= len(names), "more than an eighth is not noticed"
