"""What clients met while nodes were replaced, drawn on the page of a run: answers by kind, and times by length."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.analysis import verdict
from harness.analysis.rolling import Gap, Rolling
from harness.reports import gaps, run_html
from harness.scenario import loading
from tests import stored_records
from tests.runs import SCENARIOS, on_paper


def met(*lengths: float, asked: int = 100, **failures: int) -> Rolling:
    """Return a step in which clients asked for logins, and were without a grant for so many seconds each."""
    gap = Gap(
        kind="login", app="web", asked=asked, failures=failures, seconds=max(lengths, default=0.1), during="vault-1",
        through="standby", gaps=lengths,
    )  # fmt: skip
    return Rolling(
        do="upgrade", step=2, from_version="1.9.2", version="1.11.0", order=(), leader="vault-0", leads=(), gaps=(gap,),
        voters=3, tolerance=None, lost=("vault-1",),
    )  # fmt: skip


def test_times_without_a_grant_are_counted_by_their_length() -> None:
    """What lies on an edge is of the longer kind, and the most frequent length is the highest bar."""
    (row,) = gaps.rows([met(0.1, 0.3, 0.2, 1.0, 45.0, refused=12)])
    assert row.lengths == "below 0.2 s: 1, 0.2 to 0.5 s: 2, 1 to 2 s: 1, 30 s and more: 1"
    assert [bar.height for bar in row.histogram] == [15.0, 30.0, 15.0, 15.0]
    assert [bar.left for bar in row.histogram] == [2.0, 24.0, 68.0, 156.0]
    assert all(bar.top + bar.height == 30.0 for bar in row.histogram)
    assert (row.step, row.asked_for) == ("2. upgrade to 1.11.0", "login of web at a standby")
    assert row.longest == "45.0 s, while vault-1 was replaced"


@pytest.mark.parametrize(
    ("asked", "failed", "widths"), [(100, 12, [176.0, 24.0]), (100_000, 1, [199.0, 1.0]), (7, 0, [200.0]), (0, 0, [])]
)
def test_answers_are_parts_of_one_bar(asked: int, failed: int, widths: list[float]) -> None:
    """One that failed among very many is to be seen, too."""
    (row,) = gaps.rows([met(asked=asked, **({"HTTP 503": failed} if failed else {}))])
    assert [round(bar.width, 6) for bar in row.share] == widths
    assert row.answers == f"{asked - failed:,} granted" + (f", HTTP 503 {failed}" if failed else "")
    assert (row.lengths, row.histogram) == ("", ())


def test_the_page_of_a_real_run_draws_them() -> None:
    name = "real/two-of-three-nodes-are-away-in-the-middle-of-a-rolling-upgrade"
    record = stored_records.record(name)
    page = run_html.render(record, verdict.judge(record))
    assert 'href="#gaps"' in page
    assert page.count('<svg class="share"') == 14
    assert page.count('<svg class="lengths"') == 4
    assert "2 to 5 s: 1" in page


def test_on_paper_nothing_takes_time_and_nothing_is_drawn(tmp_path: Path) -> None:
    file = SCENARIOS / "three-nodes-are-upgraded-standbys-first-and-the-leader-last.yaml"
    record, judgement = on_paper(loading.load(file).scenario, tmp_path)
    assert 'id="gaps"' not in run_html.render(record, judgement)
