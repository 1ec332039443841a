"""Audit devices of a Vault on kind: files on small disks and sockets, blocked and well again, as on processes.

And OpenBao there, of which none is made by the API unless its configuration says so.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from harness import wait
from harness.artifacts import images
from harness.clients.container_engine import Engine
from harness.record import journal
from harness.record.audit_events import AuditSeen
from tests import bao_stand_in, courses
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
WITHOUT_DEVICES: Final = SCENARIO.partition("  audit:\n")[0] + "auth:" + SCENARIO.partition("auth:")[2]
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
    file = tmp_path / "devices.yaml"
    file.write_text((SCENARIO.replace(*OUTSIDE) if place == "outside" else SCENARIO) + STEPS)
    seen = _as_on_processes(file, kept, tmp_path)
    assert {one.mode for one in seen if one.device == "main"} == {"0640"}


def _as_on_processes(file: Path, kept: Kept, work: Path) -> list[AuditSeen]:  # noqa: F811
    """Return how each device is found on kind: as on processes, and no record has what it has written in clear."""
    ending, directory = kept.harbour.rehearse(file, "--reuse")
    assert ending.verdict in (("fail", 1), ("pass", 0)), ending.said
    local = on_processes(file, work / "local")
    assert ending.judgement["verdict"] == local["verdict"]
    assert (ending.judgement["doubts"], ending.judgement["news"]) == ([], [])
    assert answers(ending.judgement) == answers(local)
    found = [
        [(one["kind"], one["effect"], one["rule"], one["step"]) for one in judgement["findings"]]
        for judgement in (ending.judgement, local)
    ]
    assert found[0] == found[1] != []
    seen, here = ([*journal.load(one).of(AuditSeen)] for one in (directory, work / "local"))
    told = [
        [(one.moment, one.device, one.state, one.status, one.missing, one.mode) for one in each]
        for each in (seen, here)
    ]
    assert told[0] == told[1]
    assert [_fields(one) for one in seen] == [_fields(one) for one in here]
    assert kept.harbour.left(directory) == []
    for path in directory.rglob("*"):
        assert not path.is_file() or not SECRET_SHAPES.search(path.read_bytes()), path
    return seen


MOVES: Final = """
  - {audit-device: {main: full, siem: away}, then-look: false}
  - move: {to: sandbox, service-account: vault/vault, upgrade: 1.11.0}
  - audit-device: {main: well, siem: well}
  - move: {to: outside}
"""
ROLLING: Final = """
  - upgrade: 1.11.0
  - {audit-device: {main: full}, then-look: false}
  - step-down: {}
  - audit-device: {main: well}
"""


def test_a_vault_that_moves_finds_its_devices_where_it_goes(kept: Kept, tmp_path: Path) -> None:  # noqa: F811
    """Out of a VM into a Pod and back: a disk that is full is full there as well, and whoever receives stays."""
    file = tmp_path / "moves.yaml"
    file.write_text(SCENARIO.replace(*OUTSIDE) + MOVES.replace("sandbox", courses.CLUSTER))
    seen = _as_on_processes(file, kept, tmp_path)
    assert {one.state for one in seen if one.device == "main"} == {"well", "full"}


def test_the_nodes_of_a_vault_write_to_the_same_devices(kept: Kept, tmp_path: Path) -> None:  # noqa: F811
    """Whoever leads writes: nothing is missing after a rolling update, nor once another node leads."""
    file = tmp_path / "nodes.yaml"
    file.write_text(SCENARIO.replace("  source:", "  nodes: 3\n  source:") + ROLLING)
    seen = _as_on_processes(file, kept, tmp_path)
    assert {one.missing for one in seen if one.device == "raw"} == {0}


def test_the_disks_of_a_run_are_gone_for_whoever_has_the_cluster_next(kept: Kept, tmp_path: Path) -> None:  # noqa: F811
    file = tmp_path / "twice.yaml"
    file.write_text(SCENARIO + "  - restart: {}\n")
    for _ in range(2):
        ending, _ = kept.harbour.rehearse(file, "--reuse")
        assert ending.verdict == ("pass", 0), ending.said
        assert kept.on_node(_DISKS).strip() == "3"
    plain = tmp_path / "plain.yaml"
    plain.write_text(WITHOUT_DEVICES + "  - restart: {}\n")
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


@pytest.fixture(scope="module")
def bao(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a Vault that says that it is OpenBao."""
    return bao_stand_in.program(tmp_path_factory.mktemp("bao"))


@pytest.fixture
def bao_image(machine: Engine, bao: Path) -> Iterator[str]:  # noqa: F811
    """Yield an image that has it, and leave none of it: neither that, nor one that was made of it."""
    before = {made.name for made in images.made(machine)}
    name = bao_stand_in.image(machine, bao)
    yield name
    machine.remove_image(name)
    for made in images.made(machine):
        if images.names(made)[0] == images.OPENBAO and made.name not in before:
            machine.remove_image(made.name)


@pytest.mark.parametrize("place", ["inside", pytest.param("outside", marks=pytest.mark.nightly)])
def test_openbao_is_started_over_vaults_data_and_told_to_let_devices_be_made(
    place: str,
    kept: Kept,  # noqa: F811
    bao: Path,
    bao_image: str,
    tmp_path: Path,
) -> None:
    """Of an image of the user's in a Pod, or one that is made of the user's binary in a container.

    What answers is a Vault, which is told before it is handed a key: a real one goes on.
    """
    file = tmp_path / "bao.yaml"
    plain = f"{WITHOUT_DEVICES}  - upgrade: openbao-{bao_stand_in.VERSION}\n"
    file.write_text(plain.replace(*OUTSIDE) if place == "outside" else plain)
    of_it = f"openbao:{bao_stand_in.VERSION}"
    brings = f"--image={of_it}={bao_image}" if place == "inside" else f"--binary={of_it}={bao}"
    ending, directory = kept.harbour.rehearse(file, "--reuse", brings)
    assert "OpenBao 2.6.2 was put in place, and 1.11.0 answers" in ending.stderr
    said = "".join(path.read_text() for path in directory.rglob("vault-vault.log"))
    assert "unknown or unsupported field unsafe_allow_api_audit_creation found in configuration" in said
    assert kept.harbour.left(directory) == []
