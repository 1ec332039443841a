"""Nodes of a Vault that do not come back to the others, or end beside them: by which words it is known why."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from harness.analysis import diagnosis
from harness.analysis.correlation import EvidenceLine
from harness.analysis.diagnosis import Finding
from harness.analysis.record_view import Facts
from harness.analysis.rules import Remedy
from harness.knowledge import versions
from harness.record.events import Trouble
from harness.record.node_events import NodeLost
from harness.scenario.outcomes import Cause

NOT_BACK: Final = "node-did-not-rejoin"
REMOVED: Final = "node-removed"

SHARED_LEADERS: Final = "vault operator members   # from 1.10.0 on"
OF_LOCK: Final = "Vault source, vault/ha.go, physical/etcd/etcd3.go and physical/postgresql/postgresql.go"
OF_RAFT: Final = "Vault documentation, concepts/integrated-storage: (n/2)+1 of the voting nodes have to be there"

_LINES_SHOWN: Final = 12


def over_raft(facts: Facts, vault: str) -> bool:
    """Have the nodes of a Vault data of their own each, and elect who leads? Else whoever holds a lock in the storage
    that all of them have does.
    """
    return facts.topology.named(vault).storage == "raft"


_FOREIGN: Final = r"message authentication failed|crypto/aes: invalid key size"
"""How Vault says of a key that it does not open its data."""

_FULL: Final = r"no space left on device"
"""How a node says that its disk is full."""


def explains(facts: Facts, trouble: Trouble) -> bool:
    """Did a node decline the keys that all the others take, or is its disk full? Then its data are not theirs, or it
    cannot write what they send it, whatever version it is.
    """
    told = {one.message for one in facts.record.of(NodeLost)}
    if trouble.message not in told or not over_raft(facts, trouble.vault):
        return False
    if trouble.kind == "refused":
        return bool(re.search(_FOREIGN, trouble.message))
    return bool(re.search(_FULL, trouble.message))


class _Sign(NamedTuple):
    """By what it is known why a node is lost, and what that means."""

    cause: Cause
    words: str
    """a regular expression that its log matches"""
    explanation: str
    mend: str
    commands: tuple[str, ...]
    source: str
    shared: bool = False
    """may it be so over a storage that all nodes have, too?"""


_ONLY_FORWARD: Final = (
    "Take this node to the version of the others, and never let leadership go from a newer version to an older one: "
    "once a node of the new version leads, take the others at once."
)
_REMOVED: Final = _Sign(
    REMOVED,
    r"removed from (?:a|the) (?:HA )?cluster|not part of (?:a )?stable configuration",
    "who is removed from the raft configuration is sent no log any more. Up to 1.18 such a node stays up as a "
    "standby that is behind for ever, and so does any that was away when it was removed; from 1.19.0 on one that "
    "runs then seals itself, and declines to join before its data are wiped",
    "Wipe its data, and have it join anew as a node without any; and before you delete the next Pod, do not remove "
    "its node: one that comes back over its data is no stranger.",
    ("vault operator raft list-peers",),
    "Vault changelog 1.19.0, GH-28875 and GH-29090; run: 1.16.3 and 1.19.0; raft library, ShutdownOnRemove",
)
_SIGNS: Final = (
    _Sign(
        NOT_BACK,
        _FULL,
        "its disk is full: it can read what it has, and write nothing of what the one that leads sends it, so it is "
        "further behind with each request. Nothing is said of what this version makes of its data",
        "Make room on the disk of {node}, or give it a larger one, and see that it follows the others again. Take no "
        "other node before, and see whether the disks of the others fill as well.",
        ("df -h", "vault operator raft list-peers"),
        "raft library, raft.go: unable to store logs within log store; run: 1.9.2",
    ),
    _REMOVED,
    _Sign(
        "raft-operation-unknown",
        r"unsupported transaction operation",
        "a newer leader wrote an operation into the log of raft that this version does not know: 1.12 brought one that "
        "1.11.6 and older, and 1.12.2 and older, panic at",
        _ONLY_FORWARD,
        ("vault operator raft list-peers",),
        "Vault changelog 1.11.7, 1.12.3 and 1.13.0, GH-17732; 1.17.0, GH-25991",
    ),
    _Sign(
        "mount-type-unknown",
        r"failed to create mount entry|unknown (?:backend|mount) type|plugin not found in the catalog",
        "a newer version mounted something of a type that this version lacks: whoever leads with it seals itself",
        _ONLY_FORWARD,
        ("vault secrets list", "vault auth list"),
        "Vault source, vault/mount.go#setupMounts and vault/auth.go#setupCredentials, read at 1.7.0 and 1.11.0",
        shared=True,
    ),
    _Sign(
        NOT_BACK,
        _FOREIGN,
        "its data do not open to the keys of the others: they are those of another Vault, which somebody initialised "
        "on it by itself, or that of a disk that was mixed up. Nothing is said of what this version makes of its own "
        "data",
        "Do not initialise {node}, and hand it no other key: one that opens makes it a second Vault, which lets nobody "
        "in that the others know. Stop it, put its own disk back, or wipe its data and have it join the others anew.",
        ("vault operator raft list-peers", "vault operator raft join https://<LEADER>:8200"),
        "Vault source, vault/core.go#unsealInternal and vault/raft.go#JoinRaftCluster; " + OF_RAFT,
    ),
    _Sign(
        NOT_BACK,
        r"it has no data, and has joined nobody",
        "it came up without data, and nothing in its configuration has it join anybody: it waits to be initialised or "
        "to join. The others count it as a voter until it is removed",
        "Have {node} join the others, and then unseal it with their keys; do not initialise it, which makes a second "
        "Vault of it. retry_join in its configuration does that by itself after the next lost disk. Take no other node "
        "before it is back.",
        ("vault operator raft join https://<LEADER>:8200", "vault operator unseal", "vault operator raft list-peers"),
        OF_RAFT,
    ),
)
_AWAY: Final = _Sign(
    NOT_BACK,
    "",
    "a node that was stopped counts as a voter until it is removed",
    "Stop here: take no other node before {node} is back, or the quorum is gone. See what it says in its log, whether "
    "its data are there, and whether it reaches the cluster address of the one that leads. Where its data are gone: "
    "remove it from the others, wipe it, and have it join anew.",
    ("vault operator raft list-peers", "vault operator raft remove-peer {node}"),
    OF_RAFT,
)


_AWAY_FROM_LOCK: Final = _Sign(
    NOT_BACK,
    "",
    "over a storage that all nodes have a node needs nothing of the others but the address of the one that leads, by "
    "which it forwards what it is asked",
    "Stop here, and take no other node before {node} is back: those that are left are all that can lead. See what it "
    "says in its log, and whether it reaches the storage and the cluster address of the one that leads.",
    ("vault status", SHARED_LEADERS),
    OF_LOCK,
)


def _sign(lost: NodeLost, *, raft: bool) -> _Sign:
    said = "\n".join((lost.message, *lost.log))
    if not raft:
        return next((sign for sign in _SIGNS if sign.shared and re.search(sign.words, said)), _AWAY_FROM_LOCK)
    known = next((sign for sign in _SIGNS if re.search(sign.words, said)), _AWAY)
    return _REMOVED if known is _AWAY and lost.member is False else known


def findings(facts: Facts) -> Iterator[Finding]:
    """Yield each node that did not come back to the others, or ended while another one was replaced."""
    for line, one in facts.record.numbered(NodeLost):
        sign = _sign(one, raft=over_raft(facts, one.vault))
        shown = [text for text in one.log if sign.words and re.search(sign.words, text)]
        shown += [text for text in one.log[-_LINES_SHOWN:] if text not in shown]
        became = "sealed itself when it was removed" if one.sealed_itself else "did not come back to the others"
        what = f"{one.node} {'ended' if one.replaced else became} as {versions.called(one.version)}"
        gone = f"; the raft configuration of {one.leader}, which leads, has it no more" if one.member is False else ""
        said = f"{one.node}: {one.message}{gone}{one.pod.words if one.pod else ''}"
        yield diagnosis.stated(
            facts,
            (sign.cause, "regression", "node lost"),
            f"{what}: {one.message}{gone}",
            (
                EvidenceLine("nodes", said, line, node=one.node, at=one.at),
                *(EvidenceLine("server", text, node=one.node) for text in shown),
            ),
            Remedy(
                sign.mend.format(node=one.node),
                commands=tuple(command.format(node=one.node) for command in sign.commands),
                unproven="what keeps it away is its own, and no setting of Vault's",
            ),
            hop=one.version,
            moment=one.moment,
            step=one.step,
            node=one.node,
            source=sign.source,
            explanation=sign.explanation,
        )
