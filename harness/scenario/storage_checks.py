"""What a scenario does to the servers that have Vault's data that cannot be."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from harness.scenario import storage_state
from harness.scenario.course_checks import verb_of
from harness.scenario.field_checks import Complaint
from harness.scenario.yaml_document import Document, Trail

_STEP: Final = "storage"
_MEANWHILE: Final = "meanwhile"
_HOPS: Final = ("upgrade", "restart", "replace-pod", "roll-back")
_OF_ETCD: Final = ("lose-leader", "defrag")
_OF_A_NODE: Final = ("upgrade", "restart", "start-node")
_COPIES: Final = ("snapshot", "restore", "roll-back")
"""The verbs for which the data of all servers are copied, or replaced."""


def complaints(document: Document) -> Iterator[Complaint]:
    """Walk the course: what is done to the storage, and whether that is there to do it to."""
    kind = document.get("vault", "storage", default="raft")
    members = document.get("vault", "etcd-members", default=1) if kind == "etcd" else 1
    nodes = document.get("vault", "nodes", default=1)
    if kind is None or members is None or nodes is None:
        return
    away = 0
    for index in range(len(document.get("course", default=()) or ())):
        trail, verb = ("course", index), verb_of(document, index)
        key = next((one for one in (_MEANWHILE, _STEP) if document.given(*trail, one)), "")
        what = document.get(*trail, key) if key else None
        if key == _MEANWHILE and what is not None and (nodes > 1 or what in storage_state.OF_A_NODE):
            yield from _of_a_node(document, trail, verb, what, kind if nodes > 1 else "")
            continue
        if key and (wrong := _no_hop(document, trail, key, verb) or _wrong(kind, members, away, what)):
            message, remedy = wrong
            yield (*trail, key), message, remedy
            if kind not in storage_state.SERVERS:
                return
        if away and verb in _COPIES and document.get(*trail, verb) != "binary":
            message = f"{verb} copies the data of every server of the storage, and {_some(away, members)} away by then"
            yield (*trail, verb), message, "storage: start before it"
        away = storage_state.away_after(what or "", away, members)


def _of_a_node(document: Document, trail: Trail, verb: str, what: str, kind: str) -> Iterator[Complaint]:
    """Yield why *what* cannot happen to the data of one node of several over storage *kind*, which is empty for one."""
    place = (*trail, _MEANWHILE)
    if what not in storage_state.OF_A_NODE:
        message = f"{what} is of a storage, and with several nodes that is no matter of one hop"
        yield place, message, f"a step before or after it: storage: {what}"
    elif kind != "raft":
        said = f"over {kind} all nodes have the same data" if kind else "there is one node, and nobody has its data too"
        yield place, f"{what} is of one node of several over raft, and {said}", "nodes: 3 and storage: raft in vault"
    elif verb not in _OF_A_NODE:
        message = f"`{_MEANWHILE}` is of no use to {verb or 'this step'}, in which no node starts over its data"
        yield place, message, "upgrade or restart with `node`, or start-node"
    elif verb != "start-node" and not document.given(*trail, "node"):
        yield place, f"{what} is of one node, and none is named", "node: vault-1"


def _no_hop(document: Document, trail: Trail, key: str, verb: str) -> tuple[str, str] | None:
    """Return why nothing happens in the middle of the step at *trail*, and what would be right."""
    if key != _MEANWHILE or not verb:
        return None  # of a step without a verb that is told
    if document.get(*trail, "vault") == "seal-vault":
        return "the storage is that of the other Vault, which this step leaves as it is", "leave it out"
    if verb in _HOPS and not (verb == "roll-back" and document.get(*trail, verb) == "snapshot"):
        return None
    said = "roll-back: snapshot" if verb == "roll-back" else verb or "this step"
    return f"`{key}` is of no use to {said}, which is no hop over the data as they are", "upgrade, or restart: {}"


def _wrong(kind: str, members: int, away: int, what: str | None) -> tuple[str, str] | None:
    """Return why *what* cannot be done to a storage of which *away* servers are away, and what would be right."""
    if kind not in storage_state.SERVERS:
        remedy = "storage: etcd, consul or postgresql in vault, or stop-node of several nodes over raft"
        return f"storage {kind} is in Vault itself, and has no servers beside it", remedy
    if what is None:
        return None
    there, enough = members - away, storage_state.serves(away, members)
    wrong = (
        (
            kind != "etcd" and what in _OF_ETCD,
            f"{what} is of an etcd, and the storage is {kind}",
            "restart or stop, or storage: etcd in vault",
        ),
        (
            what == "lose-leader" and members == 1,
            "an etcd of one member has no other one that could lead",
            "etcd-members: 3 in vault, or stop",
        ),
        (what == "start" and not away, "every server of the storage is there", "lose-leader or stop before it"),
        (what != "start" and not there, "no server of the storage is there any more", "start before it"),
        (
            what in _OF_ETCD and not enough,
            f"{_some(away, members)} away by then, and nobody leads",
            "start before it",
        ),
        (
            what == "restart" and not enough,
            f"{_some(away, members)} away by then, and those that start wait for a leader",
            "start before it",
        ),
    )
    return next(((message, remedy) for is_so, message, remedy in wrong if is_so), None)


def _some(away: int, members: int) -> str:
    return f"{'all' if away == members else away} of {members} servers {'is' if away == 1 else 'are'}"
