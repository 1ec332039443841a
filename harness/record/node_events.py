"""What happens to a Vault of several nodes: who leads, who votes, who is replaced, and what that costs."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from harness.record.event import OfVault
from harness.scenario.schema_seals import ToSealVault
from harness.scenario.schema_ways import MaybeThrough

State = Literal["active", "standby", "sealed", "not initialised", "removed", "no answer"]
"""What a node says of itself, by its sys/health."""

RequestKind = Literal["health", "token-lookup", "login"]
"""What is asked again and again while nodes are replaced. health: is there a node that says it is active?"""


_MENDED: Final = {
    "unseal": "the Vault that unseals was unsealed",
    "start": "the Vault that unseals was started and unsealed",
    "new-token": "the seal got a new token",
}


class PodSeen(msgspec.Struct, frozen=True, kw_only=True):
    """The Pod of a node of a Vault, as the API server of its cluster has it."""

    ready: bool
    """does it pass its readiness probe, as one that is unsealed does?"""
    restarts: int = 0
    """so many times its kubelet has started Vault anew in it"""
    waiting: str = ""
    """why nothing runs in it, or not again, in the kubelet's words"""

    @property
    def words(self) -> str:
        """Return that as the end of a sentence."""
        again = f", and Vault was started anew in it {self.restarts} times" if self.restarts else ""
        return f"; its Pod is {'' if self.ready else 'not '}ready{again}{self.waiting and f' ({self.waiting})'}"


class NodeSeen(msgspec.Struct, frozen=True, kw_only=True):
    """A node of a Vault, as it was found."""

    version: str = ""
    """what it says it is; empty where it gave no answer"""
    state: State
    voter: bool | None = None
    """does it vote, by the raft configuration of the leader? None: it is not there, or nobody leads"""
    healthy: bool | None = None
    """what autopilot says of it; None before Vault 1.7, and where nobody leads"""
    applied: int | None = None
    """the index up to which it has applied the log of raft; None where it does not tell"""
    pod: PodSeen | None = None
    """how its Pod is: ready, started anew so many times, or why it waits; None: it has none, or nobody says"""


class LeftToKubelet(OfVault, frozen=True, tag="left-to-kubelet", kw_only=True):
    """Vault ended at its start in a Pod, for want of the one that unseals it. That one was mended then, and the Pod was
    left to its kubelet: nobody touched it.
    """

    version: str
    """what it starts in that Pod"""
    step: int = 0
    """the number of the step in the scenario's `course`; 0: none"""
    pod: PodSeen
    """how the Pod was once its kubelet had waited to start Vault anew in it, or after a while"""
    mended: tuple[ToSealVault, ...]
    """what was done to the Vault that unseals, or to its token"""
    seconds: float | None = None
    """so long after that Vault was unsealed in the same Pod; None: it was not within `waited`"""
    waited: float
    """for how long that was waited for"""
    then: PodSeen | None = None
    """how the Pod was at the end; None: nobody says"""

    @property
    def words(self) -> str:
        """Return that as a sentence."""
        tries = f"{self.pod.restarts} time{'' if self.pod.restarts == 1 else 's'}"
        # what a kubelet says then has the UID of the Pod, which is another one in each run
        state = self.pod.waiting.partition(" restarting ")[0] or ("ready" if self.pod.ready else "not ready")
        done = " and ".join(_MENDED[one] for one in self.mended)
        came = f"it was not unsealed within {self.waited:.0f} s"
        if self.seconds is not None:
            came = f"{self.seconds:.1f} s later it was unsealed in the same Pod, which nobody had touched"
        then = f" ({'' if self.then.ready else 'not '}ready, {self.then.restarts} new starts)" if self.then else ""
        return f"Its kubelet started it anew in its Pod {tries}, in vain ({state}). Then {done}: {came}{then}"


class NodesSeen(OfVault, frozen=True, tag="nodes", kw_only=True):
    """All nodes of a Vault, as they were found at a time."""

    when: str
    """in words: formed, before vault-1 is stopped ..."""
    leader: str
    """the node that is active; empty where none is"""
    nodes: dict[str, NodeSeen]
    """by their names"""
    failure_tolerance: int | None = None
    """how many nodes may be lost, by autopilot; None before Vault 1.7, and where nobody leads"""


class LeaderChanged(OfVault, frozen=True, tag="leader", kw_only=True):
    """Another node is active. `node` is that node, and `at` when it was first seen to be."""

    version: str
    """what it runs"""
    before: str = ""
    """the node that was active before"""
    before_version: str = ""
    seconds: float = 0.0
    """for how long no node was seen to be active"""
    during: str = ""
    """the node that was being replaced then; empty: none"""


class NodeSwapped(OfVault, frozen=True, tag="node-swapped", kw_only=True):
    """A node was stopped, and has rejoined with another version, or the same one, over its data."""

    version: str
    from_version: str
    was: Literal["leader", "standby"]
    """what it was when it was stopped"""
    moment: str = ""
    """the label of the moment that comes next"""
    answered: float
    """after so many seconds it answered, sealed"""
    unsealed: float
    """and was unsealed"""
    rejoined: float
    """and knew a leader, up to whose log it had caught up"""


class NodeLost(OfVault, frozen=True, tag="node-lost", kw_only=True):
    """A node that was replaced did not come back to the others; or one ended while another was replaced, or sealed
    itself because it was removed.
    """

    version: str
    """what was put in place, or what it ran"""
    moment: str = ""
    """the label of the moment that would have come next"""
    step: int = 0
    """the number of the step in the scenario's `course`; 0: none"""
    message: str
    """what was tried, and what came back"""
    log: tuple[str, ...] = ()
    """its last lines"""
    leader: str = ""
    """the node that was active then; empty where none was"""
    member: bool | None = None
    """is it in the raft configuration of that one? None where nobody says"""
    replaced: str = ""
    """the other node that was being replaced when it ended; empty: it was the one, or none was"""
    sealed_itself: bool = False
    """it was there, and sealed itself as a step removed it from the others"""
    pod: PodSeen | None = None
    """how its Pod was then: ready, started anew so many times, or why it waits; None: it has none, or nobody says"""


class EvictionTried(OfVault, frozen=True, tag="eviction", kw_only=True):
    """The eviction of a Pod was asked for, so that nothing comes of it, while another one was not ready. `node` is what
    would have gone.
    """

    during: str
    """the node that was being replaced then"""
    status: int
    """of the API server's answer: 429 where a PodDisruptionBudget forbids it"""
    message: str = ""


class QuorumLost(OfVault, frozen=True, tag="quorum-lost", kw_only=True):
    """Nobody leads, and too few nodes are left to elect anybody."""

    version: str
    """the last that served"""
    moment: str = ""
    """the label of the moment that comes next"""
    step: int = 0
    """the number of the step in the scenario's `course`; 0: none"""
    alive: tuple[str, ...]
    """the nodes that are unsealed"""
    needed: int
    """so many have to be, of all that vote"""
    replaced: str = ""
    """the node that was being replaced then; empty: none"""


class SteadyLoad(OfVault, frozen=True, tag="steady-load", kw_only=True):
    """What clients met that asked for one thing again and again while nodes were replaced."""

    kind: RequestKind
    app: str = ""
    """on whose behalf; empty for health"""
    version: str
    """the version that nodes were taken to"""
    moment: str = ""
    """the label of the moment that comes next"""
    asked: int
    failures: dict[str, int]
    """how many were not granted, by status, or "no answer\""""
    seconds: float
    """the longest time between two answers that granted what was asked"""
    began: float = 0.0
    """when that time began, in seconds since the epoch"""
    through: MaybeThrough = ""
    """the way on which it was asked; empty: whoever led was"""
    gaps: tuple[float, ...] = ()
    """every time, in seconds, between two answers that granted what was asked, with others between them"""
    during: str = ""
    """the node that was being replaced then; empty: none"""
