"""A Vault on kind whose data are in an etcd or a Consul beside it: touched, upgraded and restored as on processes."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from harness.record import journal
from harness.record.events import StepEnded
from harness.record.storage_events import StorageChanged
from tests.test_kind_courses import killed_in, on_processes
from tests.test_kind_databases import STORED, answers_of
from tests.test_kind_faults import Kept, foreign, image, kept, machine, own_ways  # noqa: F401  # fixtures
from tests.test_real_storages import CONSUL

pytestmark = pytest.mark.kind

HEAD: Final = STORED.replace("storage: postgresql", "storage: etcd").replace("a PostgreSQL", "an etcd").rstrip()
INSIDE: Final = "cluster: sandbox, service-account: vault/vault, storage: etcd"
THREE: Final = """
  - storage: lose-leader
  - storage: start
  - storage: defrag
  - snapshot: {}
  - upgrade: 1.11.0
  - restore: {}
  - roll-back: snapshot
"""
ONE: Final = """
  - storage: restart
  - upgrade: 1.11.0
  - storage: stop
expect:
  - {change: requests refused, at: 1.11.0, at-step: 3, cause: storage-away}
"""
TWO: Final = """
  - upgrade: 1.11.0
  - stop-node: vault-0
  - start-node: vault-0
"""


@pytest.mark.parametrize(
    ("vault", "steps", "verdict"),
    [
        (f"etcd-members: 3, {INSIDE}", THREE, "pass"),
        pytest.param("etcd-members: 3, storage: etcd", THREE, "pass", marks=pytest.mark.nightly),
        pytest.param(INSIDE, ONE, "fail", marks=pytest.mark.nightly),
        pytest.param(f"nodes: 2, {INSIDE}", TWO, "pass", marks=pytest.mark.nightly),
        pytest.param(INSIDE.replace("etcd", "consul"), ONE, "fail", marks=CONSUL),
    ],
    ids=["inside", "outside", "one member", "two nodes", "Consul"],
)
def test_a_vault_over_an_etcd_or_consul_is_answered_as_on_processes(
    vault: str,
    steps: str,
    verdict: str,
    kept: Kept,  # noqa: F811
    tmp_path: Path,
) -> None:
    """What becomes of its members is on record as there, who leads left out."""
    file = tmp_path / "stored.yaml"
    file.write_text((HEAD + steps).replace(INSIDE, vault))
    ending, directory = kept.harbour.rehearse(file, "--reuse")
    assert ending.verdict == (verdict, 0), ending.said
    seals = [one for one in ending.judgement["observations"] if one["probe"] == "seal-status" and one["detail"]]
    storage = "consul" if "consul" in vault else "etcd"
    assert {one["detail"]["storage_type"] for one in seals} == {storage}
    local = on_processes(file, tmp_path / "local")
    assert answers_of(ending.judgement) == answers_of(local)
    seen = [
        [(one.what, one.members, one.running, one.serves) for one in journal.load(each).of(StorageChanged)]
        for each in (directory, tmp_path / "local")
    ]
    assert seen[0] == seen[1]
    assert [*(directory / "logs").glob(f"*{storage}*.log")]
    assert kept.harbour.left(directory) == []


def test_a_run_over_an_etcd_that_is_killed_leaves_nothing(kept: Kept, tmp_path: Path) -> None:  # noqa: F811
    file = tmp_path / "stored.yaml"
    file.write_text((HEAD + THREE).replace(INSIDE, f"etcd-members: 3, {INSIDE}"))
    directory = killed_in("upgrade", file, kept)
    assert "upgrade" not in [one.do for one in journal.load(directory).of(StepEnded)]
