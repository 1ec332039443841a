"""Clusters of runs that were kept: who gets them, and what is told to whom they do not fit."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest
import yaml

from harness.drivers.kind import cluster_reuse, shared_clusters
from harness.drivers.kind.cluster_reuse import ReusableCluster, ReusableClusters, borrowed
from harness.drivers.kind.driver import KindRig
from harness.drivers.kind.shared_clusters import SharedKindClusters
from harness.drivers.kind.vault_pod import VaultPod
from harness.errors import MissingPrerequisite, RigError, Unreachable
from harness.host import run_traces
from harness.scenario import loading, plan
from harness.scenario.plan import Plan
from harness.scenario.topology import Topology
from harness.wait import now
from tests.runs import SCENARIOS

WANTED = {"platform": ("1.32.0", 1), "apps": ("1.32.0", 2)}
HOME = "platform"


class Town:
    """A registry with entries of runs, whose supervisor is this very process unless a test says otherwise."""

    def __init__(self, base: Path) -> None:
        self.base, self.registry = base, base / "live"
        self.registry.mkdir()

    def keep(self, run: str, created: float = 0.0, **changes: Any) -> ReusableClusters:
        """Keep a run with the clusters that are wanted, but for *changes*, and return what it has to lend."""
        work = self.base / f"rehearse-{run}"
        clusters = {}
        for name, (version, nodes) in changes.pop("has", WANTED).items():
            (work / f"cluster-{name}").mkdir(parents=True)
            clusters[name] = ReusableCluster(version, nodes, f"rehearse-1-{name}", str(work / f"cluster-{name}"), 21000)
        one = ReusableClusters(run, "rehearse-1", {HOME: (21001, 21002)}, clusters, now() + 3600)
        one = msgspec.structs.replace(one, **changes)
        cluster_reuse.offer(work, one)
        self.enter(run, work, created)
        return one

    def enter(self, run: str, work: Path, created: float = 0.0, **keeper: int) -> None:
        """Put a run on record."""
        living = {**run_traces.identity(os.getpid()), **keeper}
        entry = {"run": run, "work": str(work), "created": created, "supervisor": living}
        (self.registry / f"{run}.json").write_text(json.dumps(entry))

    def borrow(self, home: str = HOME) -> str:
        """Return the run that lends."""
        with borrowed(self.registry, WANTED, [home] if home else []) as lent:
            return lent.run

    def refusal(self, home: str = HOME) -> str:
        """Return why nobody lends."""
        with pytest.raises(MissingPrerequisite) as refused:
            self.borrow(home)
        return str(refused.value)


@pytest.fixture
def town(tmp_path: Path) -> Town:
    return Town(tmp_path)


def test_what_is_offered_is_lent_as_it_was_offered(town: Town) -> None:
    """And it is in a file that nobody else may read."""
    offered = town.keep("kept")
    with borrowed(town.registry, WANTED, [HOME]) as lent:
        assert lent == offered
    assert (town.base / "rehearse-kept/lent.json").stat().st_mode & 0o777 == 0o600


def test_the_newest_lends_first_whatever_it_is_called(town: Town) -> None:
    """A run may be named by its user: what counts is when it began."""
    town.keep("zebra", created=1.0)
    town.keep("ant", created=2.0)
    assert town.borrow() == "ant"


def test_a_run_lends_to_one_at_a_time_and_the_next_one_steps_in(town: Town) -> None:
    """Who comes third is told that both are in use; afterwards both lend again, also where the borrower failed."""
    town.keep("old", created=1.0)
    town.keep("new", created=2.0)
    with borrowed(town.registry, WANTED, [HOME]) as first, borrowed(town.registry, WANTED, [HOME]) as second:
        assert (first.run, second.run) == ("new", "old")
        said = town.refusal()
    assert "new: another rehearsal is using it; old: another rehearsal is using it" in said
    with pytest.raises(RuntimeError, match="of the borrower"), borrowed(town.registry, WANTED, [HOME]):
        raise RuntimeError("a fault of the borrower")
    assert town.borrow() == "new"


def test_where_nothing_was_kept_it_is_said_how_to_keep_something(town: Town) -> None:
    said = town.refusal()
    assert "no run with clusters was kept on this machine" in said
    assert "`rehearse run SCENARIO --driver kind --keep` leaves some up" in said


@pytest.mark.parametrize(
    ("changes", "home", "reason"),
    [
        ({"has": {"apps": ("1.32.0", 2)}}, HOME, "kept: it has the clusters apps (1.32.0, nodes: 2), and the scenario"),
        ({"has": WANTED | {"apps": ("1.31.0", 2)}}, HOME, "apps (1.31.0, nodes: 2), platform"),
        ({"has": WANTED | {"apps": ("1.32.0", 1)}}, HOME, "apps (1.32.0, nodes: 1), platform"),
        ({"has": WANTED | {"more": ("1.32.0", 1)}}, HOME, "more (1.32.0, nodes: 1), platform"),
        ({"vault_ports": {"apps": (21001, 21002)}}, HOME, "kept: its Vault is in apps, and the scenario's in platform"),
        ({"vault_ports": {}}, HOME, "kept: its Vault is in no cluster, and the scenario's in platform"),
        ({"until": 0.0}, HOME, "kept: it ends in 0 minutes"),
    ],
    ids=["fewer", "another version", "other nodes", "more", "another home", "no home", "about to end"],
)
def test_what_does_not_fit_is_told_with_the_reason(changes: dict[str, Any], home: str, reason: str, town: Town) -> None:
    town.keep("kept", **changes)
    assert reason in town.refusal(home)


def test_a_vault_outside_any_cluster_does_not_mind_where_another_was(town: Town) -> None:
    town.keep("kept")
    assert town.borrow(home="") == "kept"


def _dead(town: Town) -> None:
    town.enter("kept", town.base / "rehearse-kept", started=1)


def _not_kept(town: Town) -> None:
    (town.base / "rehearse-kept/lent.json").unlink()


def _torn_offer(town: Town) -> None:
    (town.base / "rehearse-kept/lent.json").write_text('{"run": "kept"')


def _torn_entry(town: Town) -> None:
    (town.registry / "kept.json").write_text('{"run": "ke')


def _entry_of_something_else(town: Town) -> None:
    (town.registry / "kept.json").write_text("[1, 2]")


@pytest.mark.parametrize("harm", [_dead, _not_kept, _torn_offer, _torn_entry, _entry_of_something_else])
def test_a_run_that_is_dead_or_damaged_is_passed_over(harm: Callable[[Town], None], town: Town) -> None:
    """It is no reason for anything: the one beside it lends."""
    town.keep("kept", created=2.0)
    harm(town)
    assert "no run with clusters was kept" in town.refusal()
    town.keep("other", created=1.0)
    assert town.borrow() == "other"


# --- those of one process ---------------------------------------------------------------------------------------------


def planned(**clusters: str) -> Plan:
    """Return the plan of a scenario on kind whose clusters have these versions."""
    one = SCENARIOS / "one-cluster-staging-stays-green-while-the-reviewer-changes.yaml"
    document = yaml.safe_load(one.read_text())
    document["clusters"] = {name: {"kubernetes": version} for name, version in clusters.items()}
    loaded = loading.loads(json.dumps(document))
    return plan.make(loaded.scenario, loaded.name, "kind")


def test_clusters_are_lent_from_cell_to_cell_as_long_as_they_serve_and_fit(town: Town, tmp_path: Path) -> None:
    """One at a time, counted; others, and those that no longer serve, are ended before new ones are made."""
    ended: list[str] = []
    mine, other = planned(sandbox="1.32.0").resolved, planned(sandbox="1.31.0").resolved
    made = town.keep("clusters")
    with SharedKindClusters(tmp_path, tmp_path) as shared:

        def cell(topology: Topology, *, serves: bool = True) -> tuple[bool, int]:
            with shared.lent(topology) as lent:
                shared._wanted = shared_clusters._of(topology)
                if lent is None:
                    shared._held.callback(ended.append, "ended")
                shared.offer(made if serves else None)
                return lent is made, shared.served

        assert cell(mine) == (False, 0)
        assert cell(mine) == (True, 1)
        assert cell(mine, serves=False) == (True, 2)
        assert ended == []
        assert cell(mine) == (False, 0)
        assert ended == ["ended"]
        assert cell(other) == (False, 0)
        assert ended == ["ended"] * 2
        with shared.lent(other), pytest.raises(RigError, match="in use by another rehearsal"), shared.lent(other):
            pass
    assert ended == ["ended"] * 3


@pytest.mark.parametrize(
    ("facts", "broken", "offered"),
    [
        ({"sandbox": None}, None, True),
        ({}, None, False),
        ({"sandbox": None}, "the API server of sandbox is gone", False),
    ],
    ids=["whole", "never rose", "lost"],
)
def test_clusters_that_do_not_serve_are_handed_to_nobody(
    facts: dict[str, object], broken: str | None, offered: bool, town: Town
) -> None:
    made, told = town.keep("clusters"), list[object]()
    rig = SimpleNamespace(
        _lender=SimpleNamespace(offer=told.append, keeps_source=False),
        end_vault=lambda: told.append("Vault has ended"),
        _facts=facts,
        _clusters={"sandbox": None},
        broken=lambda: broken,
        _lending=made,
        _ahead=SimpleNamespace(end=lambda: told.append("what it was started from goes")),
    )
    KindRig.hand_over(cast("Any", rig))
    assert told == ["Vault has ended", made if offered else None, "what it was started from goes"]


@pytest.mark.parametrize("lost", [False, True], ids=["whole", "silent"])
def test_whoever_begins_from_a_source_state_finds_no_vault_in_the_clusters(lost: bool, town: Town) -> None:
    """That of this cell leaves, and those beside it are gone; where nobody can be told so, nobody gets them."""
    made, told = town.keep("clusters"), list[object]()

    class Pod(VaultPod):
        def __init__(self, name: str) -> None:
            self._said = name

        def leave_at_once(self) -> bool:
            told.append(f"{self._said} leaves")
            return True

        def take_place(self) -> None:
            if lost:
                raise Unreachable("no answer")
            told.append(f"{self._said} is gone")

    rig = SimpleNamespace(
        _lender=SimpleNamespace(offer=told.append, keeps_source=True),
        end_vault=lambda: None,
        _facts={"sandbox": None},
        _clusters={"sandbox": None},
        broken=lambda: None,
        _lending=made,
        _server=Pod("Vault"),
        _beside=[Pod("the other")],
        _ahead=None,
    )
    rig._make_place = lambda: KindRig._make_place(cast("Any", rig))
    KindRig.hand_over(cast("Any", rig))
    assert told == ["Vault leaves", "the other leaves", *([None] if lost else ["the other is gone", made])]


def test_an_image_is_brought_into_a_node_once_and_tried_again_where_that_failed(tmp_path: Path) -> None:
    """The rehearsal after the one that asked for it finds it there; new clusters know of none."""
    brought: list[str] = []

    def load(image: str) -> None:
        brought.append(image)
        if len(brought) == 1:
            raise RigError("no room")

    one = cast("Any", SimpleNamespace(node="node", load=load))
    with SharedKindClusters(tmp_path, tmp_path) as shared:
        with pytest.raises(RigError, match="no room"):
            shared.bring(one, "vault:1.11.0").result()
        assert [shared.bring(one, "vault:1.11.0").result() for _ in range(2)] == [None] * 2
        shared.bring(one, "vault:1.12.0").result()
        assert brought == ["vault:1.11.0"] * 2 + ["vault:1.12.0"]
        with shared.lent(planned(sandbox="1.32.0").resolved):
            pass
        shared.bring(one, "vault:1.12.0").result()
    assert brought[3:] == ["vault:1.12.0"]
