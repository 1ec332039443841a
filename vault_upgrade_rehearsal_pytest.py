"""The pytest plugin of rehearse: every pytest in an environment that has rehearse loads this file, and no more of it.

What is behind it is called `harness`, a name that others have too, and it takes a while to import: that happens when
the first scenario is collected, or the first rehearsal asked for.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

import vault_upgrade_rehearsal

if TYPE_CHECKING:
    from harness.pytest_plugin.fixture import Rehearsals

DRIVERS: Final = ("local", "kind", "paper")
SUFFIXES: Final = (".yaml", ".yml")
LOOKS_LIKE_ONE: Final = re.compile(rb"(?m)^[\"']?(schema|clusters|vault|auth|apps|expect|course|matrix)[\"']?[ \t]*:")
"""A top-level key of a scenario. A named file without one is left to other plugins."""

WORD: Final = "rehearse_word"
"""The attribute of a report that says how its rehearsal came out, where pytest has no word for that."""

SAID: Final = "rehearse_said"
"""The attribute of an interruption with what is to be said of the rehearsal that it ended."""

MARKERS: Final = (
    "rehearsal: a Vault upgrade that is rehearsed, as a scenario file says",
    "driver_local: a rehearsal on servers as processes",
    "driver_kind: a rehearsal on kind clusters",
    "driver_paper: a rehearsal without any server",
    "needs_servers: a rehearsal that starts real servers, and has to have their binaries or images",
    "needs_docker: a rehearsal that needs a Docker engine",
)

_current: Final = pytest.StashKey[pytest.Item]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options: how rehearsals are made, and which files are scenarios."""
    group = parser.getgroup("rehearse", "rehearsals of Vault upgrades")
    group.addoption(
        "--rehearse-driver",
        choices=DRIVERS,
        help="on what scenarios are rehearsed: servers as processes (local), kind clusters, or paper. "
        "Left out: REHEARSE_DRIVER, or local.",
    )
    group.addoption("--rehearse-strict", action="store_true", help="latent findings fail a rehearsal too")
    group.addoption("--rehearse-rollback", action="store_true", help="go back at the end of each, both ways")
    group.addoption("--rehearse-offline", action="store_true", help="use cached binaries alone, and ask nobody")
    group.addoption(
        "--rehearse-run-dir",
        metavar="DIR",
        help="keep the records of rehearsals in DIR, a directory each. Left out: in the user's state directory.",
    )
    parser.addini(
        "rehearse_scenarios", "files or globs, from the root directory: the scenarios that are tests", type="args"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Make the markers known."""
    for marker in MARKERS:
        config.addinivalue_line("markers", marker)


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """Add the configured scenarios to what is collected where the command line names nothing. Raises UsageError."""
    config = session.config
    if hasattr(config, "workerinput"):
        # the controller has seen to it, and its arguments are those of its workers
        return
    files = _configured(config)
    if files and config.args_source == pytest.Config.ArgsSource.TESTPATHS:
        config.args.extend(str(file) for file in files)


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Return the collector of a scenario that is configured, or named on the command line."""
    if file_path.suffix not in SUFFIXES:
        return None
    if not _is_configured(file_path, parent.config):
        if not parent.session.isinitpath(file_path):
            return None
        try:
            text = file_path.read_bytes()
        except OSError:
            return None
        if not LOOKS_LIKE_ONE.search(text):
            return None
    _insist_on_ours()
    from harness.pytest_plugin import items

    return items.ScenarioFile.from_parent(parent, path=file_path)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Remember whose turn it is: what a test's rehearsal shows goes into that test's report."""
    item.config.stash[_current] = item
    try:
        return (yield)
    finally:
        del item.config.stash[_current]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Make the judgement the report of a rehearsal that was no pass: of a set-up, pytest itself shows a traceback."""
    report = yield
    word = getattr(call.excinfo.value, WORD, "") if call.excinfo is not None else ""
    if call.excinfo is not None and word and not isinstance(item, pytest.Function):
        setattr(report, WORD, word)
        report.longrepr = item.repr_failure(call.excinfo)
    return report


@pytest.hookimpl(tryfirst=True)
def pytest_report_teststatus(report: Any) -> tuple[str, str, tuple[str, dict[str, bool]]] | None:
    """Count what is inconclusive by itself: it fails the session, and says nothing about the upgrade."""
    if report.failed and getattr(report, WORD, "") == "inconclusive":
        return "inconclusive", "I", ("INCONCLUSIVE", {"yellow": True, "bold": True})
    return None


def pytest_keyboard_interrupt(excinfo: pytest.ExceptionInfo[BaseException]) -> None:
    """Say what became of the rehearsal that was interrupted; what was printed earlier would have been captured."""
    for line in getattr(excinfo.value, SAID, ()):
        sys.stdout.write(f"\nrehearse: {line}")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Show what was inconclusive under a heading of its own."""
    reports = terminalreporter.getreports("inconclusive")
    if not reports or config.option.tbstyle == "no":
        return
    terminalreporter.write_sep("=", "INCONCLUSIVE")
    for report in reports:
        terminalreporter.write_sep("_", report.head_line or report.nodeid, yellow=True, bold=True)
        report.toterminal(terminalreporter._tw)  # noqa: SLF001  # the only way to write a report
    for report in reports:
        crash = getattr(report.longrepr, "reprcrash", None)
        said = f" - {crash.message}" if crash is not None else ""
        terminalreporter.write_line(f"INCONCLUSIVE {report.nodeid}{said}")


@pytest.fixture(scope="session")
def rehearsal(request: pytest.FixtureRequest) -> Rehearsals:
    """Rehearse a Vault upgrade and return its judgement: `rehearsal("outage.yaml", target="1.13.0")`."""
    _insist_on_ours()
    from harness.pytest_plugin import fixture

    config = request.config
    return fixture.Rehearsals(config, lambda: config.stash.get(_current, None))


def _insist_on_ours() -> None:
    if why := vault_upgrade_rehearsal.in_the_way():
        raise pytest.UsageError(why)


def _root(config: pytest.Config) -> Path:
    """Return the directory from which configured scenarios are named."""
    return config.inipath.parent if config.inipath is not None else config.rootpath


def _patterns(config: pytest.Config) -> Sequence[str]:
    named: Sequence[str] = config.getini("rehearse_scenarios")
    return named


def _configured(config: pytest.Config) -> list[Path]:
    """Return the configured scenarios, sorted. Raises UsageError for a pattern that no file fits."""
    root, found = _root(config), dict[Path, None]()
    for pattern in _patterns(config):
        if Path(pattern).is_absolute():
            raise pytest.UsageError(f"rehearse_scenarios: {pattern} is to be named from {root}")
        files = sorted(file for file in root.glob(pattern) if file.is_file() and file.suffix in SUFFIXES)
        if not files:
            raise pytest.UsageError(f"rehearse_scenarios: no *.yaml fits {pattern} in {root}")
        found.update(dict.fromkeys(files))
    return sorted(found)


def _is_configured(file: Path, config: pytest.Config) -> bool:
    key = _known_key
    if key not in config.stash:
        config.stash[key] = frozenset(_configured(config))
    return file in config.stash[key]


_known_key: Final = pytest.StashKey[frozenset[Path]]()
