"""A fixed share of random scenarios on real servers, answered as paper foretells; `nox -s fuzz` goes on from there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness.session.one_rehearsal import Places
from tests import versions_at_hand
from tests.fuzz import generator, known
from tests.fuzz.running import Rehearsals

pytestmark = pytest.mark.real

SEED = 2
NUMBERS = (4, 12)
"""Few: the whole of them takes half a minute where nobody else works."""


def test_random_scenarios_are_answered_as_foretold(tmp_path: Path) -> None:
    """Answer, status, reviewer and cause of every question, every finding, and the verdict."""
    places = Places(
        cache=versions_at_hand.users_cache(), state=tmp_path / "state", temporary=Path(os.environ.get("TMPDIR", "/tmp"))
    )
    with Rehearsals(places) as rehearsals:
        for number in NUMBERS:
            loaded = generator.scenario(SEED, number)
            assert known.unknown(rehearsals.differences(loaded)) == [], loaded.text
    assert rehearsals.made >= len(NUMBERS)
