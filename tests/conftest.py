"""What a test needs is declared by a mark, and the undeclared is impossible."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests import versions_at_hand
from tests.lent import Lender

# How fast an example is made says how busy the machine is, and nothing about the code.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

# A shell starts its background jobs deaf to Ctrl-C, and so would be whatever the tests start and then interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

HERE = Path(__file__).parent
AT_NIGHT = "left to the night: --nightly runs it"
LONGEST_FIRST = (
    "test_kind_courses", "test_kind", "test_kind_audit", "test_kind_seals", "test_kind_databases", "test_kind_etcd",
    "test_kind_matrix", "test_kind_proofs", "test_strangers", "test_kind_faults",
)  # fmt: skip
"""Files of tests on kind. Each is one worker's (nox -s kind), and at the end none is to wait long for another."""


class ClosedOnReset(ssl.SSLSocket):
    """Python leaves a socket open that is reset between its connection and its handshake (SSLSocket._create, 3.11).

    So is one to a server that is killed, and the warning would fail whichever test runs when it is collected.
    """

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        try:
            return super().recv(buflen, flags)
        except ConnectionResetError:
            self.close()
            raise


ssl.SSLContext.sslsocket_class = ClosedOnReset


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that keeps the records of real rehearsals as fixtures."""
    parser.addoption("--update-records", action="store_true", help="keep the records of real rehearsals as fixtures")
    parser.addoption("--nightly", action="store_true", help="run the tests as well that are left to the night")
    parser.addoption("--every-version", action="store_true", help="a test whose versions are not cached fails")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put what takes minutes first."""
    places = {name: place for place, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: places.get(item.path.stem, len(places)))


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Leave out a test over versions that are not in the cache, or that is left to the night; at the end it is said."""
    if item.get_closest_marker("nightly") and not item.config.getoption("--nightly"):
        pytest.skip(AT_NIGHT)
    wanted = [each for mark in item.iter_markers("further") for each in mark.args]
    if wanted and (lacking := versions_at_hand.missing(wanted, versions_at_hand.at_hand())):
        said = f"{versions_at_hand.MISSING}{', '.join(lacking)}"
        if item.config.getoption("--every-version"):
            pytest.fail(said, pytrace=False)
        pytest.skip(said)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name what passed only when it was run again, versions over which tests did not run, and what is left to the
    night.
    """
    if again := terminalreporter.stats.get("rerun", []):
        terminalreporter.section("failed, and was run again")
        for each in again:
            terminalreporter.line(each.nodeid)
            for line in str(getattr(each.longrepr, "reprcrash", "") or each.longrepr).splitlines()[:3]:
                terminalreporter.line(f"    {line[:400]}")
    skipped = terminalreporter.stats.get("skipped", [])
    reasons = {each.nodeid: str(each.longrepr[-1]) for each in skipped if isinstance(each.longrepr, tuple)}
    if left := sorted(test for test, reason in reasons.items() if AT_NIGHT in reason):
        terminalreporter.section("left to the night")
        for line in left:
            terminalreporter.line(line)
    if lines := versions_at_hand.not_run(reasons):
        terminalreporter.section("versions that are not in the cache")
        for line in lines:
            terminalreporter.line(line)


@pytest.fixture(autouse=True)
def clean_environment(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Take away whatever of the developer's own environment could change an answer."""
    for name in list(os.environ):
        if name.startswith(("VAULT_", "BAO_", "KUBE", "DOCKER_", "REHEARSE_")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    if not request.node.get_closest_marker("kind"):
        monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/no-engine")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture(autouse=True)
def nothing_undeclared(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let only marked tests start child processes or open connections."""
    if any(request.node.get_closest_marker(mark) for mark in ("real", "kind", "processes")):
        yield
        return

    def refuse(*_args: Any, **_kwargs: Any) -> None:
        raise AssertionError("this test starts a process or opens a connection: mark it `processes`, `real` or `kind`")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    yield


@pytest.fixture(scope="session")
def lender(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lender]:
    """Real control planes for one rehearsal after the other."""
    with ExitStack() as held:
        yield Lender(held, tmp_path_factory.mktemp("lender"))
