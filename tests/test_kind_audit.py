"""Audit devices of a Vault on kind: files on small disks and sockets, blocked and well again, as on processes."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Final

import pytest

from harness import wait
from harness.record import journal
from harness.record.audit_events import AuditSeen
from tests import courses
from tests.runs import signalled
from tests.test_kind_courses import answers, on_processes
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
from tests.test_real import SECRET_SHAPES

pytestmark = pytest.mark.kind

SCENARIO: Final = f"""
schema: 1
description: Several audit devices of a Vault in a container; each is kept from writing in turn.
clusters:
  {courses.CLUSTER}: {{kubernetes: 1.32.0}}
vault:
  cluster: {courses.CLUSTER}
  service-account: vault/vault
  source: 1.9.2
  audit:
    main: {{type: file, mode: "0640"}}
    raw: {{type: file, log-raw: true, prefix: "vault: "}}
    siem: {{type: socket, write-timeout: 400ms}}
    loose: {{type: socket, socket-type: udp}}
    spare: {{type: file, enabled: false}}
auth:
  kubernetes:
    cluster: {courses.CLUSTER}
    reviewer: secret
    roles:
      web: {{service-accounts: [web], namespaces: [apps], policies: [web]}}
apps:
  web: {{cluster: {courses.CLUSTER}, service-account: apps/web, role: web, reads: [secret/web]}}
course:
"""
STEPS: Final = """
  - upgrade: 1.11.0
  - audit-device: {main: full, siem: silent}
  - audit-device: {main: well, siem: away}
  - audit-device: {siem: well}
  - audit-device: {raw: disable, siem: disable, loose: disable}
  - audit-device: {main: full}
  - audit-device: {main: well, spare: enable}
  - restart: {}
"""
OUTSIDE: Final = (f"  cluster: {courses.CLUSTER}\n  service-account: vault/vault\n", "")
_DISKS: Final = "grep -c ' /var/lib/rehearsal/' /proc/mounts || true"


def _fields(seen: AuditSeen) -> dict[str, dict[str, str]]:
    """Return of which kinds the fields of its entries are: what they say has UIDs of this cluster."""
    return {name: one.fields for name, one in seen.entries.items()} if seen.state == "well" else {}


@pytest.mark.parametrize("place", ["inside", pytest.param("outside", marks=pytest.mark.nightly)])
def test_devices_are_blocked_and_well_again_as_on_processes(
    place: str,
    kept: Kept,  # noqa: F811
    tmp_path: Path,
) -> None:
    """Nothing is missing where a device can write, and no record has what one of them has written in clear."""
    file = tmp_path / "devices.yaml"
    file.write_text((SCENARIO.replace(*OUTSIDE) if place == "outside" else SCENARIO) + STEPS)
    ending, directory = kept.harbour.rehearse(file, "--reuse")
    assert ending.verdict == ("fail", 1), ending.said
    local = on_processes(file, tmp_path / "local")
    assert (ending.judgement["doubts"], ending.judgement["news"]) == ([], [])
    assert answers(ending.judgement) == answers(local)
    found = [
        [(one["kind"], one["effect"], one["rule"], one["step"]) for one in judgement["findings"]]
        for judgement in (ending.judgement, local)
    ]
    assert found[0] == found[1] != []
    seen, here = (journal.load(one).of(AuditSeen) for one in (directory, tmp_path / "local"))
    told = [
        [(one.moment, one.device, one.state, one.status, one.missing, one.mode) for one in each]
        for each in (seen, here)
    ]
    assert told[0] == told[1]
    assert {one.mode for one in seen if one.device == "main"} == {"0640"}
    assert [_fields(one) for one in seen] == [_fields(one) for one in here]
    assert kept.harbour.left(directory) == []
    for path in directory.rglob("*"):
        assert not path.is_file() or not SECRET_SHAPES.search(path.read_bytes()), path


def test_the_disks_of_a_run_are_gone_for_whoever_has_the_cluster_next(kept: Kept, tmp_path: Path) -> None:  # noqa: F811
    file = tmp_path / "twice.yaml"
    file.write_text(SCENARIO + "  - restart: {}\n")
    for _ in range(2):
        ending, _ = kept.harbour.rehearse(file, "--reuse")
        assert ending.verdict == ("pass", 0), ending.said
        assert kept.on_node(_DISKS).strip() == "3"
    plain = tmp_path / "plain.yaml"
    before, _, after = SCENARIO.partition("  audit:\n")
    plain.write_text(f"{before}auth:{after.partition('auth:')[2]}  - restart: {{}}\n")
    ending, _ = kept.harbour.rehearse(plain, "--reuse")
    assert ending.verdict == ("pass", 0), ending.said
    assert kept.on_node(_DISKS).strip() == "0"


@pytest.mark.parametrize("place", ["inside", pytest.param("outside", marks=pytest.mark.nightly)])
def test_a_run_with_devices_that_is_killed_leaves_nothing(
    place: str,
    harbour: Harbour,  # noqa: F811
    tmp_path: Path,
) -> None:
    file = tmp_path / "killed.yaml"
    steps = "  - audit-device: {main: full}\n  - restart: {}\n"
    file.write_text((SCENARIO.replace(*OUTSIDE) if place == "outside" else SCENARIO) + steps)
    directory, words = harbour.words(file)
    signalled(words, {**os.environ, **harbour.environment}, "asking after audit device main full", signal.SIGKILL)
    wait.until(lambda: not harbour.left(directory), what="the last trace of the run", seconds=30)
