"""What an API server had written by a moment is read in full, though it is away just then: on a real one."""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace

import pytest

from harness import settings
from harness.artifacts.store import Sources, Store
from harness.clients.kube import Kube
from harness.drivers.local.control_plane import ControlPlane
from harness.drivers.log_collection import Collector
from harness.drivers.log_tail import Tail
from harness.errors import Unreachable
from harness.host import own_run
from harness.record import journal
from harness.record.events import ApiAuditLine
from harness.record.journal import Journal
from harness.scenario import loading
from tests.runs import OUTAGE, started

pytestmark = pytest.mark.real


def test_a_mark_is_set_again_until_an_api_server_that_was_away_takes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is killed as its log is read, and another one started over the same data: what it wrote before is there."""
    failed: list[str] = []
    mark = Kube.mark_audit_log

    def counted(kube: Kube, words: str) -> None:
        try:
            mark(kube, words)
        except Unreachable as error:
            failed.append(str(error))
            raise

    store, over = Store(Sources(settings.cache(), offline=True), print), threading.Event()
    etcd, server = (store.get(*what).path for what in (("etcd", "3.5.16"), ("kube-apiserver", "1.32.0")))
    with ExitStack() as stack:
        run = own_run.begin(stack, "audit-mark", settings.temporary(), settings.private_state(settings.state()))
        (port,) = run.ports.take(1)
        plane = ControlPlane("apps", run.supervisor.room / "cluster-apps", port)
        plane.start(run.supervisor, etcd, server, over)
        plane.kube.mark_audit_log("somebody")
        vault = SimpleNamespace(client=SimpleNamespace(mark_audit_log=lambda: ""))
        vault.audit, vault.log = Tail(tmp_path / "audit.log"), Tail(tmp_path / "vault.log")
        monkeypatch.setattr(Kube, "mark_audit_log", counted)
        record = stack.enter_context(Journal.opened(tmp_path / "run"))
        record.write(started(loading.load(OUTAGE).scenario))
        plane._servers[1].kill()

        def begin_again() -> None:
            time.sleep(1)
            plane.change(run.supervisor, server, plane.issuers, over)

        again = threading.Thread(target=begin_again)
        again.start()
        try:
            Collector(record, lambda: vault, {"apps": plane}).gather("before")
        finally:
            again.join()
    assert failed
    assert all("gave no answer for the audit log's mark" in one for one in failed)
    agents = [one.entry["userAgent"] for one in journal.load(tmp_path / "run").of(ApiAuditLine)]
    assert agents == ["somebody"]
