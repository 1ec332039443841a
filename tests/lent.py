"""Rehearsals by real servers in this very process, on control planes that serve one test after the other.

What a matrix does with its cells: each test gets the clusters for itself, and emptied. What a command does at its start
and at its end is not seen so; tests/test_real.py and others see it.
"""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, NamedTuple

from harness import settings
from harness.clients.kube import Kube
from harness.drivers.local.shared_clusters import SharedClusters
from harness.reports import json as report
from harness.scenario import loading
from harness.session.one_rehearsal import Options, Places, rehearse_one

_AS_MANY: Final = 20
"""Rehearsals on the same control planes: what they write is in memory."""


class Judged(NamedTuple):
    """What came of a rehearsal: its exit code, and the judgement as `-o json` prints it."""

    code: int
    judgement: dict[str, Any]


class Lender:
    """Control planes from the first rehearsal to the end of the tests."""

    def __init__(self, held: ExitStack, room: Path) -> None:
        """They have their files in *room*, wherever the first test that needs them has its own."""
        self._held, self._work, self._state = held, room / "work", room / "state"
        self._work.mkdir()
        self._clusters: SharedClusters | None = None
        self._served = 0

    def rehearse(self, file: Path, directory: Path, **how: Any) -> Judged:
        """Rehearse the scenario in *file*, with the record in *directory*; *how* are fields of Options."""
        places = Places(settings.cache(), self._state, settings.temporary(), dict(settings.environment()))
        options = Options(driver="local", run_dir=directory, **how)
        done = rehearse_one(loading.load(file), options, places, clusters=self._lent())
        return Judged(done.judgement.exit_code, json.loads(report.render(done.judgement)))

    def _lent(self) -> SharedClusters:
        if self._clusters is None or self._served >= _AS_MANY:
            self._held.close()
            self._clusters, self._served = self._held.enter_context(SharedClusters(self._work, self._state)), 0
        self._served += 1
        return self._clusters

    def kube(self, cluster: str) -> Kube:
        """Return the API server of a cluster that the last rehearsal had."""
        assert self._clusters is not None
        (plane,) = (plane for (name, *_), plane in self._clusters._planes.items() if name == cluster)
        return plane.kube
