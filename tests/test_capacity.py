"""A machine is not given more clusters than it carries, unless somebody insists; and never too few."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from harness.cli import commands
from harness.errors import MissingPrerequisite
from harness.host import capacity
from harness.host.capacity import Machine, insist

CI = Machine(memory=3_000_000_000, cores=2, disk=10_000_000_000)
"""What a small machine of a CI service has left: two cores, and 4 GiB before the system took its part."""
LARGE = Machine(memory=10**12, cores=64, disk=10**13)

SCENARIO = """\
schema: 1
description: As many clusters as anybody could want.
clusters:
{clusters}
vault: {{source: 1.7.0, target: 1.11.0}}
auth:
  kubernetes:
    cluster: c0
    configured: {{by: 1.7.0, with-token-file: false}}
    roles:
      web: {{service-accounts: [web], namespaces: [apps], policies: [web]}}
apps:
  web: {{cluster: c0, service-account: apps/web, role: web, may-review-tokens: true, reads: [secret/web]}}
"""


@pytest.mark.parametrize("clusters", [1, 2, 3])
def test_a_question_about_an_upgrade_is_never_refused_on_a_small_machine(clusters: int) -> None:
    """As processes and on kind; with one core as well, however long that takes."""
    insist(CI, clusters)
    insist(CI, clusters, nodes=clusters)
    insist(Machine(CI.memory, 0.5, CI.disk), clusters)
    insist(Machine(CI.memory, 1, CI.disk), clusters, nodes=clusters)


@pytest.mark.parametrize(
    ("machine", "clusters", "nodes", "said"),
    [
        (CI, 30, 0, "30 clusters are too many for this machine: they take 8.3 GB of memory, and 3.0 GB can be had"),
        (Machine(10**11, 2, 10**12), 30, 0, "2 cores carry 10, and with more everything is late"),
        (Machine(10**11, 64, 10**9), 30, 0, "they take 3.9 GB of disk, and 1.0 GB are free"),
        (CI, 6, 6, "6 kind nodes are too many for this machine: they take 4.2 GB of memory"),
        (Machine(10**11, 2, 10**12), 3, 9, "9 kind nodes are too many for this machine: 2 cores carry 6"),
        (Machine(5 * 10**8, 2, 10**12), 2, 0, "they take 0.8 GB of memory, and 0.5 GB can be had"),
    ],
)
def test_what_a_machine_does_not_carry_is_refused_with_what_it_lacks(
    machine: Machine, clusters: int, nodes: int, said: str
) -> None:
    with pytest.raises(MissingPrerequisite) as refused:
        insist(machine, clusters, nodes=nodes)
    assert said in str(refused.value)
    assert "Nothing was started" in str(refused.value)
    assert "--force" in str(refused.value)
    insist(LARGE, clusters, nodes=nodes)


def run(tmp_path: Path, clusters: int, *options: str) -> Result:
    """Rehearse with nothing in the cache and nobody to ask: whoever gets so far says so."""
    scenario = tmp_path / "many.yaml"
    scenario.write_text(SCENARIO.format(clusters="\n".join(f"  c{n}: {{kubernetes: 1.32.0}}" for n in range(clusters))))
    environment = {"REHEARSE_CACHE": str(tmp_path / "cache"), "REHEARSE_STATE": str(tmp_path / "state")}
    return CliRunner().invoke(commands.main, ["run", str(scenario), "--offline", *options], env=environment)


@pytest.mark.processes
def test_thirty_clusters_are_refused_before_anything_is_fetched_unless_they_are_forced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capacity, "measure", lambda _work: CI)
    refused = run(tmp_path, 30)
    assert (refused.exit_code, refused.stdout) == (3, "")
    assert "30 clusters are too many for this machine" in refused.stderr
    assert "is not available" not in refused.stderr
    forced = run(tmp_path, 30, "--force")
    assert (forced.exit_code, "too many" in forced.stderr, "is not available" in forced.stderr) == (3, False, True)
    usual = run(tmp_path, 3)
    assert (usual.exit_code, "too many" in usual.stderr, "is not available" in usual.stderr) == (3, False, True)


def test_a_container_that_may_use_less_than_its_machine_has_counts_as_less(tmp_path: Path) -> None:
    here = float(len(os.sched_getaffinity(0)))
    limit = tmp_path / "cpu.max"
    for text, cores in (("max 100000", here), ("50000 100000", 0.5), ("garbage", here), ("6400000 100000", here)):
        limit.write_text(text)
        assert capacity.cores(limit) == cores
    assert capacity.cores(tmp_path / "absent") == here
