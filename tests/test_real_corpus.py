"""The corpus on real servers: a part of it that rotates day by day; `nox -s nightly` rehearses all."""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path
from typing import Final

import pytest

from tests.corpus_records import DIRECTORY, entries
from tests.test_real import ours, rehearse
from tests.versions_at_hand import CORE, at_hand

pytestmark = pytest.mark.real

A_DAY: Final = 4
"""So many are rehearsed a day: half a minute of processes, and in two weeks all that the core allows."""


def of_day(day: int, ids: list[str], number: int = A_DAY) -> list[str]:
    """Return the share of a day, in an order that no name decides: each day begins where the last one ended."""
    mixed = sorted(ids, key=lambda one: hashlib.sha256(one.encode()).hexdigest())
    return [mixed[(day * number + step) % len(mixed)] for step in range(min(number, len(mixed)))]


def test_the_part_of_today_is_found_on_real_servers(tmp_path: Path) -> None:
    """Each with its cause, at its step, as foretold, and with nothing left behind."""
    kept = {*at_hand(), *(f"{product}:{version}" for product, several in CORE.items() for version in several)}
    ids = [name for name, entry in entries().items() if set(entry.artifacts) <= kept]
    assert len(ids) >= 20
    today = of_day(int(time.time() // 86400), ids)
    done = rehearse("corpus", *today, "--directory", DIRECTORY, "--json", "--jobs", "2")
    assert done.returncode == 0, done.stdout + done.stderr
    rows = json.loads(done.stdout)["corpus"]
    assert {row["entry"]["id"] for row in rows} == set(today)
    assert [row["result"]["wrong"] for row in rows] == [[]] * len(today)
    assert not ours(tmp_path)


def test_in_so_many_days_all_have_been_rehearsed() -> None:
    ids = [f"c{number:02}" for number in range(11)]
    assert {one for day in range(20000, 20003) for one in of_day(day, ids)} == set(ids)
