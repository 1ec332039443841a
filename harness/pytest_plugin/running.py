"""How a rehearsal is made under pytest, and what of it a test reports."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal

import click
import msgspec
import pytest

from harness import settings
from harness.artifacts import availability
from harness.cli import bring, commands, maintenance, output
from harness.errors import HarnessError, refused_by_machine
from harness.knowledge.releases import Table
from harness.record.journal import RECORD_FILE, NotARecord
from harness.scenario.loading import Loaded
from harness.session import one_rehearsal
from harness.session.one_rehearsal import Options, Rehearsed

Word = Literal["regression", "inconclusive", "environment"]

_log: Final = logging.getLogger("rehearse")
_options_key: Final = pytest.StashKey[Options]()
_MOST_DIRECTORIES: Final = 10_000


class NotPassed(Exception):
    """A rehearsal that is no pass: its word, the judgement in one line, and the whole of it as text."""

    def __init__(self, word: Word, headline: str, text: str) -> None:
        self.rehearse_word = word
        self.headline = headline
        self.text = text
        super().__init__(text)


def options(config: pytest.Config) -> Options:
    """Return how rehearsals of this session are made: as `rehearse run` would, with the same options and environment.

    Raises UsageError where that would.
    """
    if _options_key not in config.stash:
        config.stash[_options_key] = _options(config)
    return config.stash[_options_key]


def _options(config: pytest.Config) -> Options:
    words = []
    if driver := config.getoption("rehearse_driver"):
        words += ["--driver", driver]
    words += [f"--{flag}" for flag in ("strict", "rollback", "offline") if config.getoption(f"rehearse_{flag}")]
    try:
        # the file is one of many, and none of them decides how it is rehearsed
        given = commands.run.make_context("rehearse run", [*words, "--", "scenario.yaml"]).params
    except click.UsageError as error:
        raise pytest.UsageError(error.format_message()) from error
    named = {name: given[name] for name in Options.__struct_fields__ if name in given}
    return Options(**named, brought=bring.of(given["binaries"], given["images"], given["licence_file"]))


def rehearsed(loaded: Loaded, how: Options, config: pytest.Config, name: str) -> Rehearsed:
    """Rehearse *loaded*; its record goes into a directory called *name* where the session has one for records.

    Raises NotPassed where there is nothing to judge.
    """
    seen: list[Path] = []
    how = msgspec.structs.replace(how, run_dir=_directory(config, name))
    try:
        with warnings.catch_warnings():
            # those of the libraries of rehearse are none of the tests of somebody else, who may have made them errors
            warnings.simplefilter("ignore")
            return one_rehearsal.rehearse_one(
                loaded, how, maintenance.places(), begin=_log.info, tell=_log.info, opened=seen.append
            )
    except KeyboardInterrupt as error:
        ended = "; ".join(getattr(error, "__notes__", ())) or "everything of this rehearsal was ended"
        until = [f"what was seen until then: {directory}" for directory in seen]
        error.rehearse_said = [output.shown(line) for line in (ended, *until)]  # type: ignore[attr-defined]
        raise
    except HarnessError as error:
        raise NotPassed("environment", str(error).partition("\n")[0], str(error)) from error
    except OSError as error:
        why = refused_by_machine(error)
        try:
            if seen:
                return one_rehearsal.cut_short(seen[0], why, strict=how.strict)
        except NotARecord as unread:
            why = f"{why}; {unread}"
        raise NotPassed("environment", why, why) from error


def complaint(done: Rehearsed, config: pytest.Config) -> NotPassed | None:
    """Return what a test says of a rehearsal that was no pass; None for one that was."""
    from harness.reports import text

    code = done.judgement.exit_code
    if code == 0:
        return None
    word: Word = "regression" if code == 1 else "inconclusive" if code == 4 else "environment"
    said = text.render(done.judgement, width=100, details=config.get_verbosity() > 1)
    # without its first word, which is pytest's
    return NotPassed(word, said.rstrip().rpartition("\n")[2].partition("  ")[2], said)


def properties(done: Rehearsed) -> Iterator[tuple[str, str]]:
    """Yield what a report keeps of a rehearsal beside its result: versions, digests, and where the evidence is."""
    from harness.reports import junit

    judgement = done.judgement
    yield from junit.properties(judgement).items()
    record = Path(judgement.run_directory) / RECORD_FILE
    lines = {evidence.line for finding in judgement.findings for evidence in finding.evidence if evidence.line}
    yield from (("evidence", f"{record}:{line}") for line in sorted(lines))


def releases_of(product: str) -> Table:
    """Return the releases of *product* that are known here. Nobody is asked."""
    return availability.table(product, settings.cache())


def is_here(product: str, version: str) -> bool:
    """Can this version be had without asking anybody, as far as is known?"""
    (found,) = availability.of(product, [version], settings.cache(), releases_of(product))
    return found.surely


def _directory(config: pytest.Config, name: str) -> Path | None:
    """Make a directory for a record that nobody else has, and return it; None for one in the state directory."""
    wanted: str | None = config.getoption("rehearse_run_dir")
    if not wanted:
        return None
    top = config.invocation_params.dir / wanted
    names = (name, *(f"{name}-{number}" for number in range(2, _MOST_DIRECTORIES)))
    try:
        settings.made(top)
        return next(place for place in map(top.joinpath, names) if _is_made(place))
    except (OSError, StopIteration) as error:
        why = "no record could be begun"
        raise NotPassed("environment", why, f"{why} in {top}: {error or 'too many are there'}") from error


def _is_made(place: Path) -> bool:
    try:
        place.mkdir(mode=0o700)
    except FileExistsError:
        return False
    return True
