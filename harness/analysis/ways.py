"""Logins that another node than the one that leads was asked for, and answered otherwise than the leader at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from harness.analysis import diagnosis, lost_nodes
from harness.analysis.correlation import EvidenceLine
from harness.analysis.diagnosis import Finding
from harness.analysis.record_view import Facts
from harness.analysis.rules import Kind, Remedy
from harness.knowledge import refusals
from harness.record.node_events import NodesSeen
from harness.record.observation import Observation

NOT_FORWARDED: Final = "standby-does-not-forward"

_SOURCE: Final = (
    "Vault documentation, concepts/ha: a standby that does not forward a request redirects (307) to what it takes for "
    "the active node"
)


def findings(facts: Facts) -> Iterator[Finding]:
    """Yield what was answered otherwise than the node that leads answered the same login at once, where it appears."""
    before: dict[str, bool] = {}
    for line, seen in facts.record.numbered(Observation):
        if seen.probe != "login" or not seen.at_leader:
            continue
        otherwise = _otherwise(seen)
        if otherwise and not before.get(seen.app):
            yield _finding(facts, seen, line, kind="regression" if seen.app in before else "pre-existing")
        before[seen.app] = otherwise


def told(observations: Iterable[Observation]) -> set[tuple[str, str]]:
    """Return the moments and the apps of which `findings` says why the node that an app asks answered nothing."""
    return {
        (seen.moment, seen.app)
        for seen in observations
        if seen.probe == "login" and seen.at_leader and seen.answer == "unknown" and _otherwise(seen)
    }


def _otherwise(seen: Observation) -> bool:
    """Did the leader grant or refuse a login, and whoever was asked say something else?"""
    leaders = seen.at_leader.partition(" ")[0]
    return leaders not in ("unknown", seen.answer)


def _was_not_forwarded(seen: Observation) -> bool:
    """Does the node say itself that it hands the login to nobody? Where it says nothing, that has any reason."""
    return seen.status == refusals.REDIRECTED or refusals.NOBODY_LEADS in seen.error


def _finding(facts: Facts, seen: Observation, line: int, *, kind: Kind) -> Finding:
    who, nodes = seen.asked_of or "the load balancer", _nodes_before(facts, seen)
    came = f"HTTP {seen.status}" if seen.status is not None else "nothing"
    said = f"{came} {seen.error}".rstrip()
    evidence = [EvidenceLine("answer", f"{who}: {said}; the node that leads: {seen.at_leader}", line, at=seen.started)]
    redirects = bool(seen.asked_of) and _was_not_forwarded(seen)
    why, remedy = "", _LOOK if lost_nodes.over_raft(facts, seen.vault) else _LOOK_FOR_LOCK
    if nodes is not None:
        number, found = nodes
        member = found.nodes[who].voter if who in found.nodes else None
        # over a storage that all nodes have, nobody votes
        voted = any(one.voter for one in found.nodes.values())
        if redirects and voted and found.leader and member is None:
            why = (
                ": it is in the raft configuration of the others no more, so nobody tells it who leads, and it says of "
                "itself that it stands by all the same"
            )
            remedy = _OUT
        voter = {True: "votes", False: "does not vote", None: "not in the raft configuration"}[member]
        text = f"{found.when}: {found.leader or 'nobody'} leads{f'; {who}: {voter}' if voted else ''}"
        evidence.append(EvidenceLine("nodes", text, number, at=found.at))
    answer, _, status = seen.at_leader.partition(" ")
    sentence = (
        f"{who} was asked for the login of {seen.app} and answered {said}, while the node that leads {answer} the same "
        f"login at once (HTTP {status}){why}"
    )
    rule = NOT_FORWARDED if redirects else diagnosis.UNEXPLAINED
    return diagnosis.stated(
        facts,
        (rule, kind, "not forwarded" if redirects else "answered otherwise"),
        sentence,
        evidence,
        remedy,
        confidence="certain" if redirects else "none",
        app=seen.app,
        hop="" if kind == "pre-existing" else seen.version,
        # what was not forwarded has reached no auth mount
        mount="" if redirects else seen.mount,
        probe=seen.probe,
        explanation="a standby forwards what it is asked to the active node; one that knows none cannot" * redirects,
        source=_SOURCE * redirects,
        moment=seen.moment,
        vault=seen.vault,
        node=seen.asked_of,
    )


_OUT: Final = Remedy(
    "Stop that node, or take it out of all that sends requests to it; the next one before it is removed. To have it "
    "back, wipe its data and have it join anew.",
    commands=("vault operator raft list-peers",),
    unproven="who is sent to which node is no setting of Vault's",
)
_LOOK: Final = Remedy(
    "Ask that node who leads (vault status), and whether it reaches the cluster port of the active one; until it does, "
    "send it no requests: a load balancer that goes by sys/health sends them to the active node alone.",
    commands=("vault status", "vault operator raft list-peers"),
    unproven="who is sent to which node is no setting of Vault's",
)
_LOOK_FOR_LOCK: Final = msgspec.structs.replace(_LOOK, commands=("vault status",))


def _nodes_before(facts: Facts, seen: Observation) -> tuple[int, NodesSeen] | None:
    """Return how the nodes were found last before an answer, with the line of that."""
    found = None
    for line, one in facts.record.numbered(NodesSeen):
        if one.at <= seen.started and facts.topology.name_of(one.vault) == facts.topology.name_of(seen.vault):
            found = (line, one)
    return found
