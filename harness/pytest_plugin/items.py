"""A scenario file is collected as tests: no network, no engine and no clock takes part in that."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
from _pytest._code.code import ReprExceptionInfo, ReprFileLocation, ReprTracebackNative

from harness.errors import ScenarioError
from harness.pytest_plugin import running
from harness.pytest_plugin.running import NotPassed
from harness.scenario import driver_traits, loading, matrix, plan
from harness.scenario.loading import Loaded
from harness.scenario.matrix import MatrixError
from harness.session.one_rehearsal import Options, Rehearsed

AS_WRITTEN: Final = "rehearsal"
"""The name of the test that is a scenario as it stands."""

_LONGEST_NAME: Final = 150


class ScenarioFile(pytest.File):
    """A scenario file: a test for it as it stands, or one for every cell of its matrix."""

    def collect(self) -> Iterator[pytest.Item]:
        """Yield the tests. Raises CollectError with every problem of the file, its line and its column."""
        how = running.options(self.config)
        try:
            written = loading.load(written_path(self.path, self.config))
            document = matrix.plain(written.scenario)
            wanted = matrix.read(document, None, running.releases_of, running.is_here)
            cells = matrix.cells(document, wanted, how.driver)
            variants = [(cell, loading.of_cell(written, cell) if cell.id else written) for cell in cells]
        except ScenarioError as error:
            raise self.CollectError(str(error)) from error
        except MatrixError as error:
            raise self.CollectError(f"{self.path.name}: {error}") from error
        for cell, loaded in variants:
            driven = msgspec.structs.replace(how, driver=cell.driver)
            yield Rehearsal.from_parent(self, name=cell.id or AS_WRITTEN, loaded=loaded, how=driven)


class Rehearsal(pytest.Item):
    """One rehearsal: its set-up makes it, and the test is what it is judged to be.

    So an environment that could not be built is an error, as pytest calls it, and a regression is a failure.
    """

    def __init__(self, *, loaded: Loaded, how: Options, **more: Any) -> None:
        super().__init__(**more)
        self._loaded = loaded
        self._how = how
        self._done: Rehearsed | None = None
        for marker in _markers(self._how):
            self.add_marker(marker)
        self.extra_keyword_matches.update(_keywords(loaded, self._how))

    def setup(self) -> None:
        """Make the rehearsal. Raises NotPassed where it says nothing, or not enough, about the upgrade."""
        if getattr(self.config.option, "setupplan", False):
            return
        self.user_properties.clear()
        done = running.rehearsed(self._loaded, self._how, self.config, record_name(self._loaded))
        self.user_properties.extend(running.properties(done))
        self._done = done
        complaint = running.complaint(done, self.config)
        if complaint is not None and complaint.rehearse_word != "regression":
            raise complaint

    def runtest(self) -> None:
        """Raise NotPassed for a regression, or an expectation that was not met."""
        complaint = running.complaint(self._done, self.config) if self._done is not None else None
        if complaint is not None:
            raise complaint

    def teardown(self) -> None:
        """Forget the record: a session has many."""
        self._done = None

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """Return the judgement as it is printed; of a fault of rehearse its traceback."""
        error = excinfo.value
        if not isinstance(error, NotPassed):
            return super().repr_failure(excinfo, style)
        place = ReprFileLocation(self._loaded.file, self._line(), error.headline)
        return ReprExceptionInfo(ReprTracebackNative([f"{error.text.rstrip()}\n"]), place)

    def reportinfo(self) -> tuple[os.PathLike[str], int | None, str]:
        """Return the scenario's file and its line, counted from 0."""
        variant = "" if self.name == AS_WRITTEN else f" {self.name}"
        return self.path, self._line() - 1, f"{self.path.name}{variant}"

    def _line(self) -> int:
        """Return the line, from 1, on which the file says what is rehearsed."""
        lines = self._loaded.lines
        places = [("vault",), ("course",)] if self.name == AS_WRITTEN else [("matrix",)]
        return next((lines[trail][0] for trail in places if trail in lines), 1)


def record_name(loaded: Loaded) -> str:
    """Return what the directory of a record of *loaded* is called."""
    return re.sub(r"[^A-Za-z0-9_.=,-]", "-", loaded.name.replace("[", "-").rstrip("]"))[:_LONGEST_NAME]


def written_path(path: Path, config: pytest.Config) -> Path:
    """Return *path* as a user would write it where pytest was called."""
    here = config.invocation_params.dir
    return path.relative_to(here) if path.is_relative_to(here) else path


def _markers(how: Options) -> Iterator[str]:
    yield "rehearsal"
    yield f"driver_{how.driver}"
    traits = driver_traits.of(how.driver)
    if traits.real:
        yield "needs_servers"
    if traits.engine:
        yield "needs_docker"


def _keywords(loaded: Loaded, how: Options) -> Iterator[str]:
    """Yield what `-k` finds beside names: the driver, every product with its version, and what is expected."""
    yield how.driver
    # without servers as well: a driver that needs no binaries takes the same versions through the same path
    driver = how.driver if driver_traits.of(how.driver).real else driver_traits.LOCAL.name
    with suppress(ScenarioError):
        needed = plan.make(loaded.scenario, loaded.name, driver).artifacts
        yield from (f"{product}-{version}" for product, version in needed)
    for expected in loaded.scenario.expect or ():
        yield from filter(None, (expected.change, expected.cause))
