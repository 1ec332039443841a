"""The source state that rehearsals of one process share: a copy of Vault's data, and what it refers to in clusters.

Whoever begins from it has its clusters as they were when it was made, but for Vault's own Pod, which is replaced. That
nothing else there has changed is looked up each time, object by object; and tokens must not have become notably older.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from harness.clients.kube import Kube
from harness.drivers.service_accounts import Account
from harness.errors import HarnessError
from harness.record import events
from harness.record.journal import Journal
from harness.rig.rig import IssuedToken
from harness.rig.source import Source
from harness.scenario.course import Serve
from harness.scenario.topology import Topology
from harness.secret import Secret, Secrets, carried
from harness.wait import now

Inventory = frozenset[tuple[str, ...]]
"""As `Kube.inventory` has it."""
Objects = frozenset[tuple[str, str, str]]
"""Objects of a cluster: of each its kind, namespace and name."""


class Cluster(Protocol):
    """A cluster that is lent from rehearsal to rehearsal."""

    name: str
    kube: Kube

    def died(self) -> str | None: ...


Lent = TypeVar("Lent", bound=Cluster)


@dataclass(slots=True, kw_only=True)
class KeptVault(Generic[Lent]):
    """A source state. Keys and tokens are in memory alone; *data* is where the clusters have theirs."""

    key: str
    """those whose plan has the same one may begin from it"""
    run: str
    """who made it"""
    made: float
    good_seconds: float
    """how old it may become"""
    waits_for_nobody: bool
    """may a Vault over it serve before its rehearsal begins?"""
    source: Source
    topology: Topology
    serving: Serve
    """what serves over it"""
    data: str
    """where the copy is: a directory of this machine or of a node, or a volume of the engine"""
    drop: Callable[[], None]
    """removes it"""
    root: Secret | None
    tokens: Mapping[str, IssuedToken]
    """of service accounts, by purpose"""
    planes: Mapping[str, Lent]
    there: Mapping[str, Inventory]
    """what was in each cluster when it was made"""
    own: Mapping[str, Objects]
    """by cluster: what of it is Vault's own, and replaced"""
    home: Account | None
    """whose Pod is Vault's, if that waits for whoever begins from this to replace it"""
    secrets: Secrets
    """all that whoever made it knew"""
    served: int = 0
    """how many rehearsals began from it"""

    def spoiled(self) -> str:
        """Return why nobody may begin from it any more; nothing where one may."""
        ended = next((sentence for plane in self.planes.values() if (sentence := plane.died())), None)
        if ended is not None:
            return ended
        if (age := now() - self.made) > self.good_seconds:
            return f"the source state was {age:.0f} s old, and is good for {self.good_seconds:.0f}: tokens in it end"
        try:
            return self._changed()
        except HarnessError as error:
            return str(error)

    def _changed(self) -> str:
        if self.home is not None and not self._has_pod(self.home):
            return "Vault's Pod is gone from its cluster"
        for name, found in inventories(self.planes, self.own).items():
            if found != self.there[name]:
                changed = sorted({" ".join(one[:3]) for one in found ^ self.there[name]})
                return f"cluster {name} is not as it was when the source state was made: {', '.join(changed[:3])}"
        return ""

    def _has_pod(self, home: Account) -> bool:
        return self.planes[home.cluster].kube.pod(home.namespace, home.pod) is not None

    def tell(self, journal: Journal, *, ready: bool) -> None:
        """Put into a record what stands in that of whoever made this, and have its run know the secrets in it.

        *ready*: does a Vault over it serve already?
        """
        self.secrets.hand_on(journal.secrets)
        journal.write(events.SourceState(made_by=self.run, made=self.made, served=self.served, ready=ready))
        for event in self.source.events:
            journal.write(event)


class KeepsSource(Generic[Lent]):
    """Whoever lends clusters keeps the last source state that refers to them."""

    def __init__(self) -> None:
        self._gate = threading.Lock()
        self._kept: KeptVault[Lent] | None = None
        self.another_follows = False
        """does somebody who begins from nothing probably come soon after this rehearsal?"""
        self.ahead: Sequence[tuple[str, str]] = ()
        """product and version of what a rehearsal needs that probably comes next, and has the same clusters"""

    def keep(self, vault: KeptVault[Lent]) -> None:
        """Keep a source state, until a cluster is lent to somebody who wants it empty."""
        with self._gate:
            self._kept = vault

    def kept(self, key: str) -> tuple[KeptVault[Lent] | None, str]:
        """Return the source state of a *key*, where there is one, or why the one that there was is of no use."""
        with self._gate:
            if self._kept is None or self._kept.key != key:
                return None, ""
            why = self._kept.spoiled()
            if why:
                self._forget_source()
            return self._kept, why

    @property
    def keeps_source(self) -> bool:
        """Is there one?"""
        return self._kept is not None

    def forget_source(self, error: BaseException | None = None) -> None:
        """Drop the source state that is kept, if there is one, because of an *error* or of none."""
        with self._gate:
            self._forget_source(error)

    def _forget_source(self, error: BaseException | None = None) -> None:
        """Drop the source state that is kept: what it refers to in the clusters is about to go."""
        del error
        if self._kept is not None:
            self._kept.drop()
            self._kept.secrets.forget()
            self._kept = None


def inventories(planes: Mapping[str, Cluster], own: Mapping[str, Objects]) -> dict[str, Inventory]:
    """Return what rehearsals have in each cluster, without what is Vault's *own* there. All are asked at once."""

    def look(name: str) -> Inventory:
        ours = own.get(name, frozenset())
        return frozenset(one for one in planes[name].kube.inventory() if one[:3] not in ours)

    with ThreadPoolExecutor(max(1, len(planes))) as pool:
        return dict(zip(planes, pool.map(carried(look), planes), strict=True))
