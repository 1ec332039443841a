"""Which Vault, and which node of it, the parts of a scenario name: whether it is there, and whether they agree."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from harness.scenario import references, storage_state, topology
from harness.scenario.app_spec import STANDBY
from harness.scenario.course_checks import verb_of
from harness.scenario.field_checks import Complaint
from harness.scenario.yaml_document import Document, Trail, choices, shown

_OF_A_NODE: Final = ("upgrade", "restart", "replace-pod", "roll-back")
_NAMES_A_NODE: Final = ("stop-node", "start-node", "remove-node", "join-node")
_SHARED: Final = storage_state.SERVERS
"""The storages that all nodes of a Vault can have, with a lock in them."""
_OF_SEVERAL: Final = ("step-down", *_NAMES_A_NODE)
_OF_MEMBERS: Final = {"remove-node": ("be removed", "stop-node"), "join-node": ("join anew", "start-node")}
"""By the verbs that concern members of a raft cluster, what they have a node do, and what comes nearest elsewhere."""
_OF_A_VAULT: Final = (
    *_OF_A_NODE, "move", "write", "rewrite", "snapshot", "restore", "revoke-leases", *_OF_SEVERAL,
)  # fmt: skip


def complaints(document: Document) -> Iterator[Complaint]:
    """Yield what is wrong with the keys `vault` and `node` of auth mounts, apps and steps."""
    yield from _several(document)
    yield from _of_etcd(document)
    for mount in document.entries("auth"):
        yield from _named(document, mount)
    for app in document.entries("apps"):
        yield from _named(document, app)
        yield from _elsewhere(document, app, document.get(*app, "mount"))
        yield from _way(document, app)
    down, out = set[str](), set[str]()
    for index in range(len(document.get("course", default=()) or ())):
        yield from _of_step(document, ("course", index), verb_of(document, index))
        yield from _of_several(document, ("course", index), verb_of(document, index), down, out)


def _vaults(document: Document) -> dict[str, tuple[str, ...]]:
    """Return the nodes of every Vault of the scenario, by its name."""
    # `vault` describes one; it has a name so that a scenario may say which it means
    nodes = {topology.MAIN: document.get("vault", "nodes", default=1) or 1}
    if document.given(topology.SEAL):
        nodes[topology.SEAL] = 1
    return {name: tuple(topology.node_name(name, number) for number in range(n)) for name, n in nodes.items()}


def _several(document: Document) -> Iterator[Complaint]:
    """Yield what a Vault of several nodes cannot have, or not yet here."""
    if document.get("vault", "nodes", default=1) in (None, 1):
        return
    storage = document.get("vault", "storage", default="raft")
    if storage not in (None, "raft", *_SHARED):
        message = f"several nodes cannot have one {storage}: there is no lock in it by which one of them leads"
        yield ("vault", "storage"), message, f"storage: raft, or {', '.join(_SHARED)}; or nodes: 1"
    if document.get("vault", "tls", default=True) is False:
        yield ("vault", "tls"), "several nodes that talk without TLS are not rehearsed", "leave it out, or nodes: 1"
    for mount in document.entries("auth"):
        if document.get(*mount, "type") == "cert":
            yield (*mount, "type"), "client certificates are not rehearsed with several nodes here", "nodes: 1"
    for index in range(len(document.get("course", default=()) or ())):
        trail: Trail = ("course", index)
        if document.get(*trail, "roll-back", default=None) == "snapshot" or document.given(*trail, "restore"):
            verb = verb_of(document, index)
            message = "a snapshot is not restored into several nodes here"
            yield (*trail, verb), message, "roll-back: binary, or nodes: 1"
        if document.given(*trail, "move"):
            yield (*trail, "move"), "several nodes are not moved to another place here", "leave it out, or nodes: 1"


def _way(document: Document, app: Trail) -> Iterator[Complaint]:
    """Yield what is wrong with the way on which the *app* asks a Vault of several nodes."""
    through = document.get(*app, "through")
    if through is None:
        return
    trail: Trail = (*app, "through")
    if document.get("vault", "nodes", default=1) in (None, 1):
        message = f"there is one node, and no choice to ask it through a {through}"
        if through == STANDBY:
            message = "there is one node, and none that stands by and forwards"
        yield trail, message, "nodes: 3 in vault, or leave it out"
    if document.given(*app, "node"):
        yield trail, "an app that names its node asks that one alone", "leave `through` or `node` out"
    if document.given(*app, "agent"):
        message = "a Vault Agent asks the node that leads, and would not go the way of its app"
        yield trail, message, "leave `through` or `agent` out"


def _of_several(document: Document, trail: Trail, verb: str, down: set[str], out: set[str]) -> Iterator[Complaint]:
    """Yield what a step cannot do with the nodes of a Vault.

    *down* are those that are stopped, and *out* those that were removed; both are kept up.
    """
    if verb in _OF_A_NODE:
        node = document.get(*trail, "node")
        down -= {node} if node else set(down)
    if verb not in _OF_SEVERAL:
        return
    # the one that unseals has one node, and a step does not name it
    nodes, name = _vaults(document)[topology.MAIN], document.get(*trail, verb)
    if len(nodes) == 1:
        yield (*trail, verb), f"{verb} is of a Vault of several nodes, and there is one", "nodes: 3 in vault"
    elif verb in _NAMES_A_NODE and name is not None and name not in nodes:
        yield (*trail, verb), f"there is no node {shown(name)} of Vault {topology.MAIN}", choices(name, nodes)
    elif verb in _OF_MEMBERS:
        yield from _of_members(document, (*trail, verb), verb, name, down, out)
    elif verb == "stop-node":
        if name in down:
            yield (*trail, verb), f"an earlier step has stopped {name} already", f"start-node: {name} before it"
        down.add(name)
    elif verb == "start-node":
        if name not in down:
            yield (*trail, verb), f"no earlier step has stopped {name}", "restart: {}, with `node`"
        down.discard(name)


def _of_members(
    document: Document, trail: Trail, verb: str, name: str | None, down: set[str], out: set[str]
) -> Iterator[Complaint]:
    """Yield what cannot be done with a member of a raft cluster; *name* is None where that is not known."""
    storage = document.get("vault", "storage")
    if storage in _SHARED:
        cannot, instead = _OF_MEMBERS[verb]
        message = f"over {storage} no node is a member of anything, and none can {cannot}"
        yield trail, message, f"{instead}: {name}, or storage: raft"
    if storage in _SHARED or name is None:
        return
    if verb == "remove-node":
        if name in out:
            yield trail, f"an earlier step has removed {name} already", f"join-node: {name} before it"
        out.add(name)
        return
    if name not in out:
        yield trail, f"no earlier step has removed {name}", f"remove-node: {name} before it"
    out.discard(name)
    down.discard(name)


def _of_etcd(document: Document) -> Iterator[Complaint]:
    """Yield what only a Vault over etcd has."""
    storage = document.get("vault", "storage", default="raft")
    if storage in (None, "etcd"):
        return
    for key, what in (("max-receive-size", "has no such limit"), ("etcd-members", "is no etcd, and has no members")):
        if document.given("vault", key):
            yield ("vault", key), f"storage {storage} {what}", "storage: etcd, or leave it out"


def _named(document: Document, trail: Trail) -> Iterator[Complaint]:
    """Yield that there is no Vault, or no node of it, of the name that stands at *trail*."""
    vaults = _vaults(document)
    vault = yield from references.known(document, (*trail, "vault"), vaults, "Vault")
    if vault == topology.SEAL and trail[0] != "course":
        message = f"{topology.SEAL} only unseals the other Vault: nobody logs in to it"
        yield (*trail, "vault"), message, "leave it out"
    if vault is None and document.get(*trail, "vault") is not None:
        return
    name, node = vault or next(iter(vaults)), document.get(*trail, "node")
    if node is not None and node not in vaults[name]:
        yield (*trail, "node"), f"there is no node {shown(node)} of Vault {name}", choices(node, vaults[name])


def _elsewhere(document: Document, trail: Trail, mount: str | None) -> Iterator[Complaint]:
    """Yield that the Vault at *trail* is another one than that of the auth mount which is used there."""
    mounts, vault = document.get("auth"), document.get(*trail, "vault")
    vaults = _vaults(document)
    if mounts is None or vault not in vaults:
        return
    name = mount or (next(iter(mounts)) if len(mounts) == 1 else "")
    if name in mounts and document.sound("auth", name, "vault"):
        there = document.get("auth", name, "vault", default=next(iter(vaults)))
        if there in vaults and there != vault:
            message = f"auth/{shown(name)} is at Vault {shown(there)}, and not at {shown(vault)}"
            yield (*trail, "vault"), message, "leave it out: it is that of the auth mount"


def _order(document: Document, trail: Trail, verb: str) -> Iterator[Complaint]:
    """Yield why there is no order in which the nodes of the step at *trail* could be taken."""
    if not document.given(*trail, "order"):
        return
    if verb and verb not in _OF_A_NODE:
        message, remedy = f"`order` is of no use to {verb}, which takes no nodes", "leave it out"
    elif document.get("vault", "nodes", default=1) == 1:
        message, remedy = "there is one node, and no order to take it in", "nodes: 3 in vault, or leave it out"
    elif document.given(*trail, "node"):
        message, remedy = "a step that names its node takes that one alone", "leave `order` or `node` out"
    else:
        return
    yield (*trail, "order"), message, remedy


def _of_step(document: Document, trail: Trail, verb: str) -> Iterator[Complaint]:
    for key, verbs in (("vault", _OF_A_VAULT), ("node", _OF_A_NODE)):
        if verb and verb not in verbs and document.given(*trail, key):
            message = f"`{key}` is of no use to {verb}, which concerns no {'single node' if key == 'node' else 'Vault'}"
            yield (*trail, key), message, f"leave it out; it belongs to {', '.join(verbs)}"
            return
    yield from _order(document, trail, verb)
    yield from _named(document, trail)
    if verb == "roll-back" and document.get(*trail, verb) == "snapshot" and document.given(*trail, "node"):
        yield (*trail, "node"), "a snapshot is of a whole Vault, and of no single node", "leave `node` out"
    if verb in ("write", "rewrite"):
        yield from _elsewhere(document, trail, document.get(*trail, verb, *(["mount"] if verb == "write" else [])))
