"""A Vault of several nodes on paper: one of them leads and answers, and the others pass on what they are asked."""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

from harness.drivers.paper.leases import PaperLeases
from harness.drivers.paper.state import Common, VaultToken, forget_keys
from harness.errors import NotReady, ProcessDied
from harness.knowledge import refusals, versions
from harness.rig.rig import Reply, VaultClient, VaultNode, VaultSetup
from harness.scenario.course import Serve
from harness.scenario.topology import Topology, VaultSpec, pod_purpose
from harness.secret import Secret
from harness.wait import now


@dataclass(slots=True)
class Member:
    """A node: what was put in place there."""

    served: Serve
    sealed: bool = True
    removed: str = ""
    """from the raft configuration, while this node led; empty: it is there"""
    stopped: bool = False
    """by a step of the course: nobody answers"""
    leads: bool = False
    """does it lead, or did it until too few were left? One that was started anew since did not"""
    led: bool = False
    """did it lead at any time since it was started?"""


class PaperNodes(PaperLeases):
    """The nodes of a Vault on paper."""

    _name: str
    _common: Common
    _vault_tokens: dict[str, VaultToken]
    _topology: Topology
    _spec: VaultSpec
    _served: Serve
    """what the one that leads runs"""
    _pod: str
    """the purpose of the token of the Pod of the one that leads"""

    def __init__(self) -> None:
        self._members: dict[str, Member] = {}
        """by name; nobody where there is one node, or the others have not joined yet"""
        self._leader = self._swapped = ""
        self._clocks: dict[str, int] = {}

    @property
    def nodes(self) -> Mapping[str, VaultNode]:
        """Return every node by its name: where there is one, that is this Vault itself."""
        names = self._topology.nodes_of(self._name)
        several = len(names) > 1
        return {name: cast("VaultNode", PaperNode(name, self) if several else self) for name in names}

    @abc.abstractmethod
    def _put_in_place(self, served: Serve, pod: str) -> None:
        """Put another version in place where the Pod with the token of this purpose is, which is replaced."""

    def add_node(self, name: str, served: Serve) -> None:
        """Have a node join; the first time it is the first that leads."""
        if not self._members:
            self._leader = f"{name.rpartition('-')[0]}-0"
            self._members[self._leader] = Member(self._served, sealed=False, leads=True, led=True)
        self._members[name] = Member(served)

    def ask_to_join(self, name: str) -> None:
        """Do nothing: on paper it has joined."""

    def follow(self) -> str:
        """Return who leads; "" where too few are left to elect anybody."""
        up = self._electing()
        if up and self._leader not in up:
            self._lead(up[0])
        return self._leader if up else ""

    def _electing(self) -> list[str]:
        """Return the nodes of which one can lead: nobody where too few are left."""
        voting = {name: one for name, one in self._members.items() if not one.removed}
        up = [name for name, one in voting.items() if not one.sealed]
        return up if len(up) > (len(voting) // 2 if self._spec.storage == "raft" else 0) else []

    @property
    def _leaderless(self) -> tuple[int | None, str] | None:
        if not self._members or self._electing():
            return None
        there = [name for name, one in self._members.items() if not one.stopped]
        if not there:
            return None, "connection refused"
        # who is asked: the one that led, or else the first that is there
        one = self._members[self._leader if self._leader in there else there[0]]
        if one.sealed:
            return 503, "Vault is sealed"
        if one.leads and versions.at_least(one.served.version, refusals.KNOWS_NOT_EVEN_ITSELF):
            return 500, refusals.NOBODY_LEADS
        return refusals.REDIRECTED, ""

    def _lead(self, name: str) -> None:
        forget_keys(self._configs)
        self._leader, self._pod = name, pod_purpose(name)
        for each, one in self._members.items():
            one.leads = each == name
            one.led = one.led or one.leads
        self._served = self._members[name].served
        self._ahead = self._clocks.get(name, 0)
        self._revoke_by_clock()

    def set_clock(self, node: str, seconds: int) -> None:
        """Have the clock of a node be ahead; what ends by it matters while it leads."""
        self._clocks[node] = seconds
        if node == self._leader or not self._members:
            self._ahead = seconds

    def _revoke_by_clock(self) -> None:
        """Have whoever comes to lead, or starts, revoke what has ended by its own clock, for good."""
        by_it = self._common.passed + self._ahead
        for name, held in list(self._vault_tokens.items()) if self._clocks else ():
            if held.ended(by_it - held.ahead):
                del self._vault_tokens[name]

    def balance(self) -> None:
        """Return at once: on paper a load balancer hands every request to whoever leads."""

    def await_balance(self, name: str) -> None:
        """Return at once."""

    def balanced(self) -> VaultClient:
        """Return the way to ask through it."""
        return cast("VaultClient", self)

    def takes_another_for_the_leader(self, name: str) -> bool:
        """Was a node removed, and leads another one since? Nobody tells it."""
        knows = self._members[name].removed if name in self._members else ""
        return knows not in ("", self.follow())

    def redirects(self, *_words: object) -> Reply:
        """Answer as a standby that cannot forward, whatever it is asked: with a redirect to who led before."""
        return self._reply(refusals.REDIRECTED)

    def stop_node(self, name: str) -> None:
        """Stop a node."""
        self._members[name].sealed = self._members[name].stopped = True

    def swap_node(self, name: str, served: Serve) -> None:
        """Put another version in place at a node, and have another lead if it was that one."""
        self._members[name].sealed = True
        self._swapped = name
        self.follow()
        if self._members[name].removed:
            raise NotReady(f"{name} is not in the raft configuration of the others, and is sent no log any more")
        self._put_in_place(served, pod_purpose(name))
        self._members[name] = Member(served)

    def empty_node(self, name: str) -> None:
        """Have a node be without data, and so a stranger to nobody."""
        self._members[name].sealed, self._members[name].removed = True, ""

    def pod_of(self, name: str) -> None:
        """Return nothing: on paper nobody runs a Pod."""
        del name

    def died_of(self, name: str) -> str | None:
        """Return a sentence if the script ended a node: it ends whichever is taken to a version."""
        return cast("str | None", self.vault_died()) if name == self._swapped else None  # type: ignore[attr-defined]

    def open_node(self, name: str) -> Reply:
        """Unseal a node, unless it has no data, those of a Vault with other keys, or a full disk."""
        harmed = self._members[name].served.meanwhile
        if harmed == "lose-data-and-join":
            raise NotReady(f"{name} is not initialised: it has no data, and has joined nobody")
        if harmed == "foreign-data":
            return self._reply(400, error=_OTHER_KEYS)
        if harmed == "full-disk":
            raise ProcessDied(f"{name} can write nothing: no space left on device", None)
        self._members[name].sealed = False
        return self._reply(200, data={"sealed": False})

    def health_of(self, name: str, *, standby: bool) -> Reply:
        """Answer as one of several nodes."""
        one, leader = self._members[name], self.follow()
        if one.stopped:
            return self._reply(None)
        leads = name == leader
        status = 503 if one.sealed else 200 if leads or standby else 429
        if versions.at_least(one.served.version, refusals.TELLS_OF_OTHERS):
            alone = not one.sealed and not leader and not one.led
            status = refusals.REMOVED if one.removed else refusals.HEARS_NOBODY if alone else status
        said = {
            "sealed": one.sealed,
            "initialized": True,
            "standby": not leads,
            "version": versions.number(one.served.version),
        }
        clock = {"server_time_utc": int(now()) + self._clocks[name]} if name in self._clocks else {}
        return self._reply(status, data={**said, **clock})

    def seal_of(self, name: str) -> Reply:
        """Answer with the version and the seal of a node."""
        alone = not self._members and name == self._topology.nodes_of(self._name)[0]
        one, vault = Member(self._served, sealed=False) if alone else self._members.get(name), self._spec
        if one is None or one.stopped:
            return self._reply(None)
        said = {"type": "shamir", "sealed": one.sealed, "t": vault.threshold, "n": vault.shares}
        of_it = {"version": versions.number(one.served.version), "initialized": True, "storage_type": vault.storage}
        return self._reply(200, data=said | of_it)

    def leader(self) -> Reply:
        """Answer as a node that knows who leads."""
        return self._reply(200, data={"leader_address": self.follow(), "ha_enabled": bool(self._members)})

    def raft_peers(self) -> Reply:
        """Answer that all who joined vote; over a storage that all have, nobody does."""
        if self._spec.storage != "raft":
            return self._reply(404)
        servers = [
            {"node_id": name, "voter": True, "leader": name == self._leader}
            for name, one in self._members.items()
            if not one.removed
        ]
        return self._reply(200, data={"config": {"servers": servers}})

    def autopilot(self) -> Reply:
        """Answer as a Vault that has no autopilot: paper knows nothing of it."""
        return self._reply(404)

    def vote_soon(self) -> Reply:
        """Answer the same."""
        return self._reply(404)

    def step_down(self) -> Reply:
        """Have the next node lead."""
        others = [
            name for name, one in self._members.items() if not one.sealed and not one.removed and name != self._leader
        ]
        if others:
            self._lead(others[0])
        return self._reply(204)

    def remove_peer(self, name: str) -> Reply:
        """Have a node be a stranger to the others."""
        one = self._members[name]
        one.removed = self.follow()
        one.sealed = one.sealed or versions.at_least(one.served.version, refusals.SEALS_ITSELF)
        return self._reply(204)


_OTHER_KEYS: Final = "cipher: message authentication failed"
"""What a Vault says of keys that are not those of its data."""

_FORWARDED: Final = (
    "login", "login_with", "create_token", "lookup_self", "renew_self", "read_secret", "draw", "renew_lease",
    "revoke_lease", "read_whole",
)  # fmt: skip


class PaperNode:
    """One node, by itself. What it does not answer itself it passes on, as a standby does."""

    def __init__(self, name: str, cluster: PaperNodes) -> None:
        self._name, self._cluster = name, cluster

    def __getattr__(self, word: str) -> Any:
        if word in _FORWARDED and self._cluster.takes_another_for_the_leader(self._name):
            return self._cluster.redirects
        return getattr(self._cluster, word)

    @property
    def vault(self) -> VaultClient:
        """Return the way to ask it."""
        return cast("VaultClient", self)

    @property
    def setup(self) -> VaultSetup:
        """Return the way to tell it something."""
        return cast("VaultSetup", self)

    def health(self, *, standby: bool = False) -> Reply:
        """Answer as this node."""
        return self._cluster.health_of(self._name, standby=standby)

    def seal_status(self) -> Reply:
        """Answer as this node."""
        return self._cluster.seal_of(self._name)

    def unseal(self, key: Secret, *, migrate: bool = False) -> Reply:
        """Open at the first key."""
        del key, migrate
        return self._cluster.open_node(self._name)

    def swap(self, served: Serve) -> None:
        """Put another version in place at this node."""
        self._cluster.swap_node(self._name, served)

    def vault_died(self) -> str | None:
        """Return a sentence if the script ended it."""
        return self._cluster.died_of(self._name)

    def vault_log(self, lines: int) -> Sequence[str]:
        """Return nothing: paper has no log."""
        del lines
        return []
