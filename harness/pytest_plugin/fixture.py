"""The `rehearsal` fixture: a scenario in, its judgement out, in anybody's own test."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import msgspec
import pytest

from harness.analysis.verdict import Judgement
from harness.pytest_plugin import running
from harness.pytest_plugin.items import written_path
from harness.scenario import loading
from harness.scenario.loading import Loaded
from harness.session.one_rehearsal import Rehearsed


class Rehearsals:
    """Makes rehearsals for tests, as often as it is called."""

    def __init__(self, config: pytest.Config, current: Callable[[], pytest.Item | None]) -> None:
        self._config = config
        self._current = current

    def __call__(
        self,
        scenario: str | Path,
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
        Other versions than the file's take its `expect` away, which is an answer to another question. What is left
        out of the rest is as pytest's options say.

        Raises ScenarioError for an invalid scenario, and NotPassed where nothing could be rehearsed.
        """
        loaded = loading.load(written_path(self._found(Path(scenario)), self._config))
        changes: dict[str, object] = {"target": target, "source": source, "via": None if via is None else list(via)}
        changes = {key: value for key, value in changes.items() if value is not None}
        if changes:
            loaded = _varied(loaded, changes)
        given = {"driver": driver, "strict": strict, "rollback": rollback, "offline": offline}
        how = msgspec.structs.replace(
            running.options(self._config), **{key: value for key, value in given.items() if value is not None}
        )
        name = "-".join([loaded.name, *(f"{key}={value}" for key, value in changes.items() if isinstance(value, str))])
        done = running.rehearsed(loaded, how, self._config, name)
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


def _varied(loaded: Loaded, changes: dict[str, object]) -> Loaded:
    """Return *loaded* with other versions, and without its `expect`. Raises ScenarioError where that cannot be."""
    data = loaded.scenario.model_dump(mode="json", by_alias=True, exclude_unset=True, exclude={"expect"})
    data["vault"] |= changes
    fresh = loading.loads(json.dumps(data), loaded.file)
    return replace(fresh, lines=loaded.lines)
