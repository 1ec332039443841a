"""The Vaults of several nodes in a rehearsal: what each node runs, and which are still to be taken in a step."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from harness import wait
from harness.errors import NotReady
from harness.record.journal import Journal
from harness.rehearsal import nodes, ways
from harness.rehearsal.workloads import steady
from harness.rig.rig import Rig
from harness.rig.several import balancer, several_nodes
from harness.scenario import course, driver_traits
from harness.scenario.app_spec import BALANCER
from harness.scenario.course import Look, Moment, Step
from harness.scenario.plan import Plan
from harness.secret import Secret


class Several:
    """What is known of them while the course goes on."""

    def __init__(self, rig: Rig, plan: Plan, journal: Journal) -> None:
        self._rig, self._topology, self._journal = rig, plan.resolved, journal
        self._real = driver_traits.of(plan.driver).real
        self.runs: dict[str, dict[str, str]] = {}
        """of each Vault whose nodes have joined each other: what each node runs"""
        self._left: dict[str, list[str]] = {}
        """of such a Vault: the nodes that are still to be taken in a step that takes them in parts"""
        self.standbys: ways.Kept = {}
        self._leaderless = set[tuple[str, str]]()
        """the Vaults, each with the label of a moment, of which no node came to lead"""
        self.stopped = set[str]()
        """the nodes that the course has stopped"""

    @property
    def versions(self) -> dict[str, str]:
        """Return what each node runs, by its name."""
        return {name: version for runs in self.runs.values() for name, version in runs.items()}

    def form(self, step: course.Form, keys: Sequence[Secret]) -> None:
        """Have the other nodes of a Vault join the first. Raises as `nodes.form`."""
        nodes.form(self._rig, step, keys, self._journal)
        if BALANCER in ways.used(self._topology, step.vault):
            with self._journal.phase("a load balancer before all nodes"):
                balancer(self._rig, step.vault).balance()
                self._settle(step)
        self.runs[step.vault] = dict.fromkeys(self._rig.system(step.vault).nodes, step.version)

    def replace(
        self,
        step: course.Placed,
        keys: Sequence[Secret],
        moment: str,
        held: Mapping[str, Secret],
        at: Callable[[str], None],
    ) -> None:
        """Take nodes of a Vault to what is to be served, one after the other: those of a part, or one.

        *held* are the tokens that apps of that Vault hold, and *at* is told which node it is at. *moment* is the label
        of the moment that comes next. Raises as `nodes.roll`.
        """
        runs = self.runs[step.vault]
        if step.node or step.part in course.HALFWAY:
            self._left[step.vault] = [step.node] if step.node else list(runs)
        whole = step if step.part else msgspec.structs.replace(step, part="others")
        asks = steady.asks_of(self._rig, self._topology, step.vault, held, self.standbys) if self._real else {}
        with steady.asking(self._rig, step, step.version, asks, moment, self._journal, real=self._real) as load:
            load.knows(runs)

            def replacing(name: str) -> None:
                at(name)
                self.stopped.discard(name)
                load.replacing(name)

            left = self._left[step.vault]
            nodes.roll(self._rig, whole, left, runs, keys, self._journal, moment=moment, replacing=replacing)
            self._settle(step)

    def change(
        self, step: course.StepDown | course.StopNode | course.RemoveNode, moment: str, held: Mapping[str, Secret]
    ) -> None:
        """Do what a step does with nodes and none of their versions. *moment* and *held* are as above.

        Raises as `nodes.change`.
        """
        runs = self.runs[step.vault]
        asks = steady.asks_of(self._rig, self._topology, step.vault, held, self.standbys) if self._real else {}
        version = runs.get(several_nodes(self._rig, step).follow(), "")
        with steady.asking(self._rig, step, version, asks, moment, self._journal, real=self._real) as load:
            load.knows(runs)
            if isinstance(step, course.StopNode):
                self.stopped.add(step.node)
            nodes.change(self._rig, step, runs, self._journal, moment=moment)
            load.replacing("")
            self._settle(step)

    def finds_leader(self, vault: str, moment: Moment) -> bool:
        """Wait until a node of a *vault* leads, and have everything go there: leadership may move in the middle of a
        look. False where it has one node, where the course has stopped some, or where none comes to lead.
        """
        if vault not in self.runs or self.stopped or (vault, moment.label) in self._leaderless:
            return False
        several = several_nodes(self._rig, Look(vault=vault, moment=moment))
        try:
            wait.until(
                lambda: bool(several.follow()), what="a node of Vault to lead", seconds=nodes.LEADER_SECONDS, every=0.05
            )
        except NotReady:
            self._leaderless.add((vault, moment.label))
            return False
        return True

    def still_there(self, served: course.Serve) -> course.Serve | None:
        """Return what was *served* last, of another node where the course has stopped that one since; None: of all."""
        if served.node not in self.stopped:
            return served
        left = {name: version for name, version in self.runs[served.vault].items() if name not in self.stopped}
        name = next(iter(left), "")
        return msgspec.structs.replace(served, node=name, version=left[name]) if name else None

    def ways_of(self, vault: str, apps: Iterable[str]) -> dict[str, steady.OnItsWay]:
        """Return where those of *apps* renew their tokens that ask a *vault* of several nodes on a way of their own."""
        through = {app: self._topology.apps[app].through for app in apps} if vault in self.runs else {}
        return {app: steady.OnItsWay(self._rig, vault, way, self.standbys) for app, way in through.items() if way}

    def _settle(self, step: Step) -> None:
        """Wait until a load balancer, where an app asks through one, has found out who leads now, if anybody does."""
        leader = several_nodes(self._rig, step).follow()
        if leader and BALANCER in ways.used(self._topology, step.vault):
            balancer(self._rig, step.vault).await_balance(leader)

    def runs_at(self, moment: Moment) -> Callable[[str, str], str]:
        """Return what tells which version a node, or else whoever answers of a Vault, runs at a *moment*."""
        leaders = {vault: several_nodes(self._rig, Look(vault=vault, moment=moment)).follow() for vault in self.runs}

        def runs(vault: str, node: str) -> str:
            there = self.runs.get(vault, {})
            return there.get(node or leaders.get(vault, "")) or moment.runs(vault, node)

        return runs
