"""A PostgreSQL of which a Vault on kind makes credentials, or in which it has its data: found by it alone, and gone."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any, Final

import psutil
import pytest

from harness import wait
from harness.record import journal
from harness.record.events import StepEnded
from harness.record.observation import Observation
from harness.rehearsal import probes
from harness.rehearsal.probes.look import View
from harness.scenario.plan import Question
from tests.runs import signalled
from tests.test_kind_courses import answers, killed_in, on_processes
from tests.test_kind_faults import (  # noqa: F401  # fixtures
    Harbour,
    Kept,
    foreign,
    harbour,
    image,
    kept,
    machine,
    own_ways,
)

pytestmark = pytest.mark.kind

DATABASE: Final = """
schema: 1
description: A Vault on kind makes credentials of a PostgreSQL that is a process of this machine.
clusters:
  sandbox: {kubernetes: 1.32.0}
vault: {cluster: sandbox, service-account: vault/vault, source: 1.7.0, target: 1.11.0}
auth:
  kubernetes:
    cluster: sandbox
    reviewer: secret
    config: {disable_iss_validation: true}
    roles:
      web: {service-accounts: [web], namespaces: [apps], policies: [web], ttl: 1h}
secrets:
  database: {type: database, roles: {app: {ttl: 10m, max-ttl: 1h}}}
apps:
  web: {cluster: sandbox, service-account: apps/web, role: web, reads: [database/creds/app]}
"""


def test_credentials_of_a_database_are_answered_as_on_processes(
    kept: Kept,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It listens at one address, which is not loopback, and a revoked credential lets nobody in any more."""
    asked, heard = probes.ASKED["read"], set[str]()

    def listening(view: View, question: Question) -> Observation:
        server = psutil.Process(view.rig.database()._process.pid)  # type: ignore[attr-defined]
        for process in (server, *server.children()):
            heard.update(one.laddr.ip for one in process.net_connections() if one.status == psutil.CONN_LISTEN)
        return asked(view, question)

    monkeypatch.setitem(probes.ASKED, "read", listening)
    file = tmp_path / "database.yaml"
    file.write_text(DATABASE)
    ending, directory = kept.harbour.rehearse(file, "--reuse")
    assert ending.verdict == ("pass", 0), ending.said
    monkeypatch.undo()
    local = on_processes(file, tmp_path / "local")
    assert answers(ending.judgement) == answers(local)
    assert {"kept-secret", "old-lease-renew", "revoked-secret"} <= {probe for probe, *_ in answers(ending.judgement)}
    (address,) = heard
    assert not address.startswith(("127.", "0."))
    log = (directory / "logs" / "database-postgres.log").read_text()
    assert "method=scram-sha-256" in log
    assert "v-kubernet-app-" not in (directory / "record.jsonl").read_text(), "a user's name is a part of its secret"
    assert kept.harbour.left(directory) == []


AWAY: Final = (
    DATABASE.replace(", target: 1.11.0", "")
    + """
course:
  - database: stop
  - upgrade: 1.11.0
  - database: start
expect:
  - {change: requests refused, at: 1.7.0, at-step: 1, cause: database-away}
  - {change: access refused, app: web, at: 1.7.0, at-step: 1, cause: database-away}
  - {change: access granted, app: web, at: 1.11.0, at-step: 3, cause: changed-by-step}
"""
)


def test_a_database_that_is_away_over_an_upgrade_is_answered_as_on_processes(kept: Kept, tmp_path: Path) -> None:  # noqa: F811
    """A Vault in a Pod starts without it as well, and makes credentials again once it is back."""
    file = tmp_path / "away.yaml"
    file.write_text(AWAY)
    ending, directory = kept.harbour.rehearse(file, "--reuse")
    assert ending.verdict == ("fail", 0), ending.said
    assert ending.judgement["doubts"] == []
    local = on_processes(file, tmp_path / "local")
    assert answers(ending.judgement) == answers(local)
    assert kept.harbour.left(directory) == []


def test_a_run_with_a_database_that_is_killed_leaves_nothing(harbour: Harbour, tmp_path: Path) -> None:  # noqa: F811
    """A Vault outside any cluster finds it, too; half a minute after a SIGKILL nothing of either is there."""
    file = tmp_path / "database.yaml"
    file.write_text(DATABASE.replace("cluster: sandbox, service-account: vault/vault, source", "source"))
    directory, words = harbour.words(file)
    signalled(words, {**os.environ, **harbour.environment}, "asking after 1.11.0", signal.SIGKILL)
    wait.until(lambda: not harbour.left(directory), what="the last trace of the run", seconds=30)
    record = (directory / "record.jsonl").read_text()
    assert '"database/creds/app"' in record
    assert '"granted"' in record


STORED: Final = """
schema: 1
description: A Vault on kind whose data are in a PostgreSQL that is a process of this machine.
clusters:
  sandbox: {kubernetes: 1.32.0}
vault: {cluster: sandbox, service-account: vault/vault, storage: postgresql, source: 1.9.2}
auth:
  kubernetes:
    cluster: sandbox
    reviewer: secret
    roles:
      web: {service-accounts: [web], namespaces: [apps], policies: [web], ttl: 1h}
apps:
  web: {cluster: sandbox, service-account: apps/web, role: web, reads: [secret/web]}
course:
"""
ONE: Final = """
  - storage: restart
  - snapshot: {}
  - upgrade: 1.11.0
  - restore: {}
  - roll-back: snapshot
"""
TWO: Final = """
  - upgrade: 1.11.0
  - stop-node: vault-0
  - start-node: vault-0
  - storage: stop
expect:
  - {change: requests refused, at: 1.11.0, at-step: 4, cause: storage-away}
"""
INSIDE: Final = "cluster: sandbox, service-account: vault/vault, storage"


@pytest.mark.parametrize(
    ("vault", "steps", "verdict"),
    [
        (INSIDE, ONE, "pass"),
        pytest.param("storage", ONE, "pass", marks=pytest.mark.nightly),
        (f"nodes: 2, {INSIDE}", TWO, "fail"),
    ],
    ids=["inside", "outside", "two nodes"],
)
def test_a_vault_over_a_postgresql_is_answered_as_on_processes(
    vault: str,
    steps: str,
    verdict: str,
    kept: Kept,  # noqa: F811
    tmp_path: Path,
) -> None:
    """Upgraded, restored and taken back over what that server holds; of two nodes one leads on alone."""
    file = tmp_path / "stored.yaml"
    file.write_text((STORED.rstrip() + steps).replace(INSIDE, vault))
    ending, directory = kept.harbour.rehearse(file, "--reuse")
    assert ending.verdict == (verdict, 0), ending.said
    seals = [one for one in ending.judgement["observations"] if one["probe"] == "seal-status" and one["detail"]]
    assert {one["detail"]["storage_type"] for one in seals} == {"postgresql"}
    local = on_processes(file, tmp_path / "local")
    assert answers_of(ending.judgement) == answers_of(local)
    assert (directory / "logs" / "store-postgres.log").is_file()
    texts = "".join(one.read_text(errors="replace") for one in directory.rglob("*") if one.is_file())
    assert "postgresql://" not in texts, "with it came the password"
    assert kept.harbour.left(directory) == []


def test_a_run_over_a_postgresql_that_is_killed_leaves_nothing(kept: Kept, tmp_path: Path) -> None:  # noqa: F811
    file = tmp_path / "stored.yaml"
    file.write_text(STORED.rstrip() + ONE)
    directory = killed_in("upgrade", file, kept)
    assert "upgrade" not in [one.do for one in journal.load(directory).of(StepEnded)]


def answers_of(judgement: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Return how each login and each read was answered."""
    said = [(one["moment"], one["probe"], one["answer"]) for one in judgement["observations"]]
    return sorted(one for one in said if one[1] in ("login", "read"))
