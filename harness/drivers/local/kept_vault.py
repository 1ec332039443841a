"""The source state that rehearsals of one process share: a copy of Vault's data, and what it refers to in clusters.

Whoever begins from it has its clusters as they were when it was made, but for Vault's own Pod, which is replaced. That
nothing else there has changed is looked up each time, object by object; and tokens must not have become notably older.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.drivers.local.control_plane import ControlPlane
from harness.drivers.service_accounts import Account
from harness.errors import HarnessError
from harness.record import events
from harness.record.journal import Journal
from harness.rig.rig import IssuedToken
from harness.rig.source import Source
from harness.scenario.course import Serve
from harness.scenario.topology import Topology
from harness.secret import Secret, Secrets
from harness.wait import now

Inventory = frozenset[tuple[str, ...]]
"""As `Kube.inventory` has it."""


@dataclass(slots=True, kw_only=True)
class KeptVault:
    """A source state. Keys and tokens are in memory alone; *data* is in the memory of the clusters' servers."""

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
    data: Path
    root: Secret | None
    tokens: Mapping[str, IssuedToken]
    """of service accounts, by purpose"""
    planes: Mapping[str, ControlPlane]
    there: Mapping[str, Inventory]
    """what was in each cluster when it was made"""
    home: Account | None
    """whose Pod is Vault's"""
    secrets: Secrets
    """all that whoever made it knew"""
    served: int = 0
    """how many rehearsals began from it"""

    @property
    def api_port(self) -> int:
        """The port of the API server in whose cluster Vault's Pod is; 0 where it has none."""
        home = self.topology.vault.cluster
        return self.planes[home].port if home else 0

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
        for name, plane in self.planes.items():
            if (found := inventory(plane, self.home)) != self.there[name]:
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


def inventory(plane: ControlPlane, home: Account | None) -> Inventory:
    """Return what rehearsals have in a cluster, without Vault's own Pod, whose account is *home*."""
    pod = (home.namespace, home.pod) if home is not None and home.cluster == plane.name else None
    return frozenset(one for one in plane.kube.inventory() if not (one[0] == "pods" and one[1:3] == pod))
