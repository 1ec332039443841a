"""A scenario is rehearsed on paper, on processes that share their clusters, or on kind, as a user would rehearse it."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from harness.drivers.local.shared_clusters import SharedClusters
from harness.errors import HarnessError, LeftBehind, ScenarioError
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
        """Return in what paper and real servers differ. Raises NotRehearsed where either says nothing."""
        return differences(self.on_paper(loaded), self.for_real(loaded))

    def on_paper(self, loaded: Loaded) -> Seen:
        """Return the record and the judgement of a run on paper."""
        return self._rehearsed(loaded, "paper")

    def for_real(self, loaded: Loaded) -> Seen:
        """Return the record and the judgement of a real run; once more, where the first one broke."""
        seen = self._again(loaded)
        return seen if not seen[1].troubles else self._again(loaded)

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


Differ = Callable[[Loaded], list[Difference]]
