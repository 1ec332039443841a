"""What a record says of a Vault of several nodes that was taken on node by node: in which order, who led, what it cost.

And what there is to find in that: a leader that was stopped while others ran the old version still, leadership that
went back to an older version, a quorum that was lost. Nodes that do not come back have a module of their own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final, get_args

import msgspec

from harness.analysis import diagnosis, lost_nodes
from harness.analysis.correlation import EvidenceLine
from harness.analysis.diagnosis import Finding
from harness.analysis.record_view import Facts
from harness.analysis.rules import Remedy
from harness.knowledge import versions
from harness.record.events import StepEnded
from harness.record.node_events import (
    EvictionTried,
    LeaderChanged,
    NodeLost,
    NodesSeen,
    NodeSwapped,
    QuorumLost,
    SteadyLoad,
)
from harness.scenario import course
from harness.scenario.course import HALFWAY, OF_NODES, Placed, RemoveNode, StepDown, StopNode
from harness.scenario.schema_ways import MaybeThrough

LEADER_FIRST: Final = "leader-replaced-first"
WENT_BACK: Final = "leader-of-older-version"
QUORUM: Final = "quorum-lost"
_DOCS: Final = "Vault documentation, upgrade/vault-ha-upgrade: standbys first, the active node last"


class Gap(msgspec.Struct, frozen=True, kw_only=True):
    """What clients met that asked whoever led for one thing every 0.1 s."""

    kind: str
    app: str
    asked: int
    failures: dict[str, int]
    """how many were not granted, by status, or "no answer\""""
    seconds: float
    """the longest time between two that were granted"""
    during: str
    """the node that was being replaced then; empty: none"""
    through: MaybeThrough = ""
    """the way on which it was asked; empty: whoever led was"""
    gaps: tuple[float, ...] = ()
    """every time, in seconds, between two that were granted, with others between them"""


class Rolling(msgspec.Struct, frozen=True, kw_only=True):
    """A step that took nodes of a Vault, one after the other, or changed who leads."""

    do: str
    """upgrade, restart, roll-back or join-node; or step-down, stop-node or remove-node"""
    step: int
    """its number in the scenario's `course`; 0: none that was written"""
    from_version: str
    version: str
    order: tuple[NodeSwapped, ...]
    """the nodes in the order in which they came back"""
    leader: str
    """who led at the beginning"""
    leader_version: str = ""
    """what that one ran"""
    leads: tuple[LeaderChanged, ...]
    """each time that another node led from then on"""
    gaps: tuple[Gap, ...]
    """by what was asked for: the worst of it"""
    voters: int
    """how many voted at the beginning"""
    tolerance: int | None
    """how many more nodes could have been lost at the worst moment, by autopilot; None where nobody says"""
    lost: tuple[str, ...] = ()
    """the nodes that did not come back"""
    evictions: tuple[EvictionTried, ...] = ()
    """of other Pods, as they were tried while one was being replaced"""
    vault: str = ""
    node: str = ""
    """the only node that it concerned; empty: all of them"""


def rollings(facts: Facts) -> list[Rolling]:
    """Return every step of the course that took nodes one after the other, in order."""
    return [_rolling(facts, step, mine) for step, mine in _by_step(facts)]


_Told = NodesSeen | LeaderChanged | NodeSwapped | NodeLost | EvictionTried | SteadyLoad | StepEnded
_KINDS: Final[tuple[type[_Told], ...]] = get_args(_Told)


_Of = Placed | StepDown | StopNode | RemoveNode


def _by_step(facts: Facts) -> Iterator[tuple[_Of, list[_Told]]]:
    """Yield each step that took nodes, the last of its parts, with what is on record of all of its parts."""
    ahead: dict[int, _Of] = {
        number: step
        for number, step in enumerate(facts.steps)
        if isinstance(step, OF_NODES) or (isinstance(step, Placed) and (step.part or step.node))
    }
    mine: list[_Told] = []
    for _, one in facts.record.numbered(*_KINDS):
        if isinstance(one, StepEnded):
            step = ahead.pop(one.position, None)
            halfway = isinstance(step, Placed) and step.part in HALFWAY
            if step is not None and not halfway:
                yield step, mine
            if not halfway:
                mine = []
        else:
            mine.append(one)
    if ahead and any(isinstance(one, NodeSwapped | NodeLost) for one in mine):
        # it broke in the middle of it
        yield next(iter(ahead.values())), mine


def _rolling(facts: Facts, step: _Of, told: Sequence[_Told]) -> Rolling:
    seen = [one for one in told if isinstance(one, NodesSeen)]
    order = tuple(one for one in told if isinstance(one, NodeSwapped))
    first = seen[0] if seen else None
    tolerances = [one.failure_tolerance for one in seen if one.failure_tolerance is not None]
    return Rolling(
        do=course.word_of(step),
        step=step.number,
        from_version=order[0].from_version if order else _led_with(first),
        version=step.version if isinstance(step, Placed) else _led_with(first),
        order=order,
        leader=first.leader if first else "",
        leader_version=_led_with(first),
        leads=tuple(one for one in told if isinstance(one, LeaderChanged)),
        gaps=tuple(_gaps(one for one in told if isinstance(one, SteadyLoad))),
        voters=sum(bool(one.voter) for one in first.nodes.values()) if first else 0,
        tolerance=min(tolerances) if tolerances else None,
        lost=tuple(one.node for one in told if isinstance(one, NodeLost)),
        evictions=tuple(one for one in told if isinstance(one, EvictionTried)),
        vault=facts.topology.told_apart(step.vault),
        node=step.node,
    )


def _led_with(seen: NodesSeen | None) -> str:
    """Return what the node ran that led."""
    return seen.nodes[seen.leader].version if seen and seen.leader in seen.nodes else ""


def _gaps(loads: Iterable[SteadyLoad]) -> Iterator[Gap]:
    """Yield, by what was asked for, all that was asked in the parts of a step, and the longest gap of them."""
    by_kind: dict[tuple[str, str, MaybeThrough], list[SteadyLoad]] = {}
    for one in loads:
        by_kind.setdefault((one.kind, one.app, one.through), []).append(one)
    for (kind, app, through), ones in by_kind.items():
        worst = max(ones, key=lambda one: one.seconds)
        failures: dict[str, int] = {}
        for name, times in (failed for one in ones for failed in one.failures.items()):
            failures[name] = failures.get(name, 0) + times
        yield Gap(
            kind=kind,
            app=app,
            asked=sum(one.asked for one in ones),
            failures=failures,
            seconds=worst.seconds,
            during=worst.during,
            through=through,
            gaps=tuple(gap for one in ones for gap in one.gaps),
        )


def findings(facts: Facts, refused: Iterable[str]) -> Iterator[Finding]:
    """Yield what there is to find; *refused* are nodes of which it is told already that they refuse their data."""
    for one in rollings(facts):
        yield from _leader_first(facts, one)
    yield from _went_back(facts)
    yield from _quorum(facts)
    known = set(refused)
    yield from (found for found in lost_nodes.findings(facts) if found.node not in known)


def _leader_first(facts: Facts, rolling: Rolling) -> Iterator[Finding]:
    """Yield that whoever led was stopped while other nodes had still to be taken."""
    early = [one for one in rolling.order[:-1] if one.was == "leader"] if not rolling.node else []
    if not early or rolling.from_version == rolling.version:
        return
    first, changes, raft = early[0], rolling.leads, lost_nodes.over_raft(facts, rolling.vault)
    who = ", then ".join(f"{one.node} ({one.version})" for one in changes) or "nobody"
    longest = max((one.seconds for one in rolling.gaps), default=0.0)
    cost = f"; the longest time without an answer was {longest:.1f} s" if rolling.gaps else ""
    times = "once" if len(changes) == 1 else f"{len(changes)} times"
    yield diagnosis.stated(
        facts,
        (LEADER_FIRST, "latent", "leadership moved in vain"),
        f"{first.node} led, and was stopped while other nodes ran {rolling.from_version} still: leadership moved "
        f"{times}, to {who}, where standbys first and the leader last move it once, to a node of {rolling.version}"
        f"{cost}",
        (*_swaps(facts, early), *_changes(facts, changes)),
        Remedy(
            "Take the nodes that stand by first, one after the other, and the one that leads last: ask each who leads "
            "(vault status, HA Mode) right before it is stopped.",
            commands=("vault status", "vault operator raft list-peers" if raft else lost_nodes.SHARED_LEADERS),
            unproven="an order is no setting; the same course without `order` rehearses it",
        ),
        hop=rolling.version,
        moment=first.moment,
        step=rolling.step,
        node=first.node,
        source=_DOCS,
        explanation="each stop of the node that leads costs an election, and until it is over nobody answers"
        if raft
        else "each stop of the node that leads gives up the lock in the storage, and until another one has taken that "
        "nobody answers; one that is killed keeps it for some 15 s more",
    )


def _went_back(facts: Facts) -> Iterator[Finding]:
    """Yield that an older version led after a newer one had, over what that may have written."""
    for _, one in facts.record.numbered(LeaderChanged):
        if not one.before_version or not one.version:
            continue
        if versions.parse(one.version) >= versions.parse(one.before_version) or _goes_back(facts, one):
            continue
        raft = lost_nodes.over_raft(facts, one.vault)
        log = "mounts, tokens and entries of the raft log" if raft else "mounts and tokens"
        yield diagnosis.stated(
            facts,
            (WENT_BACK, "latent", "leadership went back"),
            f"{one.before} led with {one.before_version}, and then {one.node} with {one.version}: the older one took "
            f"{'' if raft else 'the lock in the storage, '}over data to which the newer one may have brought {log} "
            "that it does not know",
            tuple(_changes(facts, (one,))),
            Remedy(
                "Never let leadership go from a newer version to an older one: once a node of the new version leads, "
                "take the others at once, and do not step down or stop it before they are done.",
                unproven="an order is no setting",
            ),
            hop=one.version,
            node=one.node,
            source=_DOCS,
            explanation="storage migrations run on the active node alone: its first one of the new version is the "
            "point of no return",
        )


def _goes_back(facts: Facts, change: LeaderChanged) -> bool:
    """Is going back what the course does then?"""
    steps = [step for step in facts.steps if isinstance(step, Placed) and step.version == change.version]
    return any(str(step.__struct_config__.tag) == "roll-back" for step in steps)


def removed(facts: Facts) -> dict[str, frozenset[str]]:
    """Return, by the label of each moment, the nodes that are no members of the others then: a step removed them."""
    found, out = dict[str, frozenset[str]](), frozenset[str]()
    for step in facts.steps:
        match step:
            case RemoveNode():
                out |= {step.node}
            case course.Restart(wiped=True):
                out -= {step.node}
            case course.Look():
                found[step.moment.label] = out
    return found


def leaderless(facts: Facts) -> frozenset[str]:
    """Return the labels of the moments at which nobody leads, because the course stopped too many: one finding tells
    of that, and no doubt.
    """
    if not facts.record.of(QuorumLost):
        return frozenset()
    total, needed = facts.topology.vault.nodes, _needed(facts, "")
    return frozenset(label for label, down in course.stopped(facts.steps).items() if total - len(down) < needed)


def _needed(facts: Facts, vault: str) -> int:
    """Return how many nodes have to be there for one to lead: nobody who is stopped can say over which storage."""
    return facts.topology.named(vault).nodes // 2 + 1 if lost_nodes.over_raft(facts, vault) else 1


_BEFORE_NEXT: Final = (
    " And stop no node of an upgrade before all the others are there: failure_tolerance in sys/storage/raft/autopilot/"
    "state (1.7.0 and later) says how many may be away."
)


def _quorum(facts: Facts) -> Iterator[Finding]:
    for line, one in facts.record.numbered(QuorumLost):
        nodes, needed = facts.topology.named(one.vault).nodes, _needed(facts, one.vault)
        alive, raft = ", ".join(one.alive) or "none", lost_nodes.over_raft(facts, one.vault)
        yield diagnosis.stated(
            facts,
            (QUORUM, "regression", "quorum lost"),
            f"Nobody leads any more{f' while {one.replaced} is replaced' if one.replaced else ''}: of {nodes} "
            f"nodes {needed} {'have to be there to elect one' if raft else 'has to be there to lead'}, and "
            f"unsealed are {alive}. Nothing is answered until another one is back",
            (EvidenceLine("nodes", f"unsealed: {alive}; needed: {needed}", line, at=one.at),),
            Remedy(
                "Bring a stopped node back over its data and unseal it, before anything else is touched. Where its "
                "data are gone for good: peers.json on a node that is left." + (_BEFORE_NEXT if one.replaced else ""),
                commands=("vault operator unseal", "vault operator raft list-peers"),
                unproven="no setting keeps a quorum that is not there",
            )
            if raft
            else Remedy(
                "Start a stopped node, and unseal it.",
                commands=("vault operator unseal",),
                unproven="no setting has a node lead that does not run",
            ),
            hop=one.version,
            moment=one.moment,
            step=one.step,
            source=lost_nodes.OF_RAFT if raft else lost_nodes.OF_LOCK,
            explanation="raft commits nothing without a majority of the nodes that vote"
            if raft
            else "whoever holds the lock in the storage leads, and answers or forwards what is asked",
        )


def _swaps(facts: Facts, swaps: Sequence[NodeSwapped]) -> Iterator[EvidenceLine]:
    for line, one in facts.record.numbered(NodeSwapped):
        if one in swaps:
            text = f"{one.node} led, and was stopped: {one.from_version} -> {one.version}, back after {one.rejoined} s"
            yield EvidenceLine("nodes", text, line, node=one.node, at=one.at)


def _changes(facts: Facts, changes: Sequence[LeaderChanged]) -> Iterator[EvidenceLine]:
    for line, one in facts.record.numbered(LeaderChanged):
        if one in changes:
            text = (
                f"{one.node} ({one.version}) is active after {one.before} ({one.before_version}), and {one.seconds} s "
                "without any"
            )
            yield EvidenceLine("nodes", text, line, node=one.node, at=one.at)
