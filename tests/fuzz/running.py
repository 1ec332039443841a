"""A scenario is rehearsed on paper, on processes that share their clusters, or on kind, as a user would rehearse it."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from harness.drivers.local.shared_clusters import SharedClusters
from harness.errors import HarnessError, LeftBehind, ScenarioError
from harness.record.observation import Observation
from harness.scenario.loading import Loaded
from harness.session import one_rehearsal
from harness.session.one_rehearsal import Options, Places
from tests.fuzz.comparison import Difference, Seen, differences


class NotRehearsed(Exception):
    """Nothing was seen of a scenario: the machine is in the way, and no model."""


class Rehearsals:
    """Rehearses scenarios; processes get the same clusters again and again. A context manager."""

    def __init__(self, places: Places, driver: str = "local", kept: Path | None = None) -> None:
        """*driver* makes the real ones; their records stay in *kept*, where that is given."""
        self._places, self._driver, self._kept = places, driver, kept
        self._clusters: SharedClusters | None = None
        self.made = 0
        """how many real ones there were"""
        self.passing: list[Difference] = []
        """what was seen in one real run of a scenario and not in the other"""

    def __enter__(self) -> Self:
        self._open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._clusters is not None:
            self._clusters.__exit__(kind, error, trace)

    def _open(self) -> None:
        if self._driver == "local":
            self._clusters = SharedClusters(self._places.temporary, self._places.state).__enter__()

    def differences(self, loaded: Loaded) -> list[Difference]:
        """Return in what paper and real servers differ, twice alike. Raises NotRehearsed where either says nothing.

        What is seen in one real run and not in the next is nothing that a model could foretell: see `passing`.
        """
        paper = self.on_paper(loaded)
        first = differences(paper, self.for_real(loaded))
        if not first:
            return []
        second = differences(paper, self.for_real(loaded))
        lasting = {one.sort for one in first} & {one.sort for one in second}
        self.passing += [one for one in (*first, *second) if one.sort not in lasting]
        return [one for one in second if one.sort in lasting]

    def on_paper(self, loaded: Loaded) -> Seen:
        """Return the record and the judgement of a run on paper."""
        return self._rehearsed(loaded, "paper")

    def for_real(self, loaded: Loaded) -> Seen:
        """Return the record and the judgement of a real run; of a second one, where a busy machine spoiled the first.

        Raises NotRehearsed where it spoils that as well.
        """
        seen = self._again(loaded)
        if spoiled(seen):
            seen = self._again(loaded)
        if why := spoiled(seen):
            raise NotRehearsed(f"the machine is in the way, twice: {why}")
        return seen

    def _again(self, loaded: Loaded) -> Seen:
        self.made += 1
        return self._rehearsed(loaded, self._driver)

    def _rehearsed(self, loaded: Loaded, driver: str) -> Seen:
        with self._directory(loaded, f"{loaded.name}-{driver}-{self.made}" if driver != "paper" else "") as directory:
            options = Options(driver=driver, run_dir=directory, offline=True)
            clusters = self._clusters if driver == "local" else None
            try:
                done = one_rehearsal.rehearse_one(loaded, options, self._places, clusters=clusters)
            except (ScenarioError, LeftBehind):
                raise
            except HarnessError as error:
                if driver == "paper":
                    raise
                raise NotRehearsed(str(error)) from error
        return done.record, done.judgement

    @contextmanager
    def _directory(self, loaded: Loaded, name: str) -> Iterator[Path]:
        if self._kept is not None and name:
            self._kept.mkdir(parents=True, exist_ok=True)
            (self._kept / f"{loaded.name}.yaml").write_text(loaded.text, encoding="utf-8")
            yield self._kept / name
            return
        above = Path(tempfile.mkdtemp(prefix="rehearse-fuzz-"))
        try:
            yield above / "run"
        finally:
            shutil.rmtree(above, ignore_errors=True)


_OF_MACHINES: Final = ("silent", "unreachable")
"""The troubles that a server which gets no time has; one that died or refused says something of itself."""


def spoiled(seen: Seen) -> str:
    """Return what keeps a real run from saying anything of Vault, or nothing: it broke, or a question got no answer."""
    record, judged = seen
    for trouble in judged.troubles:
        outside = trouble.kind == "ours" and trouble.during in ("bring-up", "the way down")
        if trouble.kind in _OF_MACHINES or (outside and "the harness itself failed" not in trouble.message):
            return f"{trouble.during}: {trouble.message}"
    for one in record.of(Observation):
        if one.answer == "unknown" and one.status is None and one.blocked_by is None:
            return f"{one.probe} ({one.moment}) got no answer: {one.error}"
    return ""


Differ = Callable[[Loaded], list[Difference]]
