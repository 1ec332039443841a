"""The `rehearsal` fixture: a scenario in, its judgement out, in anybody's own test."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec
import pytest

from harness.analysis.verdict import Judgement
from harness.pytest_plugin import running
from harness.pytest_plugin.items import record_name, written_path
from harness.scenario import loading, matrix
from harness.scenario.loading import Loaded
from harness.scenario.matrix import MatrixError
from harness.session.one_rehearsal import Rehearsed


class Rehearsals:
    """Makes rehearsals for tests, as often as it is called."""

    def __init__(self, config: pytest.Config, current: Callable[[], pytest.Item | None]) -> None:
        self._config = config
        self._current = current

    def __call__(
        self,
        scenario: str | Path,
        changes: Mapping[str, Any] | None = None,
        *,
        target: str | None = None,
        source: str | None = None,
        via: Sequence[str] | None = None,
        driver: Literal["local", "kind", "paper"] | None = None,
        strict: bool | None = None,
        rollback: bool | None = None,
        offline: bool | None = None,
    ) -> Judgement:
        """Rehearse the scenario in a file and return its judgement, whatever it is.

        A relative path is looked for beside the test, then in pytest's root directory, then where pytest was called.
        *changes* has other values of fields, by their path (`auth.kubernetes.reviewer`); None leaves a field out.
        *source*, *via* and *target* are those of `vault`. Where any of them is another than the file's, its `expect`
        is left out, which is the answer to another question. What is left out of the rest is as pytest's options say.

        Raises ScenarioError for an invalid scenario, MatrixError for a change that cannot be, and NotPassed where
        nothing could be rehearsed.
        """
        versions = {"vault.source": source, "vault.via": None if via is None else list(via), "vault.target": target}
        wanted = {**(changes or {}), **{path: value for path, value in versions.items() if value is not None}}
        loaded = _varied(loading.load(written_path(self._found(Path(scenario)), self._config)), wanted)
        given = {"driver": driver, "strict": strict, "rollback": rollback, "offline": offline}
        how = msgspec.structs.replace(
            running.options(self._config), **{key: value for key, value in given.items() if value is not None}
        )
        done = running.rehearsed(loaded, how, self._config, record_name(loaded))
        self._tell(done)
        return done.judgement

    def _found(self, scenario: Path) -> Path:
        item = self._current()
        beside = [item.path.parent] if item is not None else []
        places = [*beside, self._config.rootpath, self._config.invocation_params.dir]
        return next((place / scenario for place in places if (place / scenario).exists()), scenario)

    def _tell(self, done: Rehearsed) -> None:
        """Put the judgement into the report of the test whose turn it is."""
        item = self._current()
        if item is None:
            return
        from harness.reports import text

        item.user_properties.extend(running.properties(done))
        item.add_report_section("call", "rehearsal", text.render(done.judgement, width=100, details=False))


def _varied(loaded: Loaded, changes: Mapping[str, Any]) -> Loaded:
    """Return *loaded* with *changes*. Raises ScenarioError or MatrixError where that cannot be."""
    document = {key: value for key, value in matrix.plain(loaded.scenario).items() if key != "matrix"}
    axes = {path: [value] for path, value in changes.items()}
    cells = matrix.cells(document, matrix.read({**document, "matrix": {"axes": axes}}, None, running.releases_of))
    if len(cells) > 1:
        raise MatrixError(f"{changes} are {len(cells)} variants of {loaded.file}", "one version, and no range")
    return loading.of_cell(loaded, cells[0]) if changes else loaded
