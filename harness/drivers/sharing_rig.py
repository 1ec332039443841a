"""A rig with real servers that may begin from the source state of a rehearsal before it, or keep its own for others."""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping
from typing import Generic

from harness.drivers.kept_vault import KeepsSource, KeptVault, Lent, Objects, inventories
from harness.drivers.real_rig import RealRig
from harness.drivers.service_accounts import Account
from harness.record import events
from harness.record.journal import Journal
from harness.rig.source import Source
from harness.scenario import shared_source
from harness.scenario.course import Serve
from harness.scenario.plan import Plan
from harness.secret import Secrets
from harness.wait import now


def kept_for(plan: Plan, lender: KeepsSource[Lent], journal: Journal) -> KeptVault[Lent] | None:
    """Return the source state that *plan* may begin from, if one is kept.

    Why there is none, or why it is no good, is put on record where somebody agrees with it.
    """
    why = shared_source.why_not(plan)
    kept, spoiled = (None, "") if why else lender.kept(shared_source.key(plan))
    if why or spoiled:
        journal.write(events.SourceState(why_not=why or spoiled))
    return kept


class SharingRig(RealRig, Generic[Lent]):
    """What one rig has of the source state of those before it, and leaves of its own to those after it."""

    _run_id: str
    _first: Serve
    _shared: Plan | None = None
    """the plan whose source state is to be kept; None: it is not"""
    _begun: KeptVault[Lent] | None = None

    def share(self, plan: Plan) -> None:
        """Have the source state of this rehearsal, whose plan this is, be kept for others, unless it may not be."""
        if not shared_source.why_not(plan):
            self._shared = plan

    @property
    def begun_from(self) -> Source | None:
        """Return the source state that Vault was started over; None: over nothing."""
        return self._begun.source if self._begun is not None else None

    @property
    def wants_source(self) -> bool:
        """Is the source state to be kept for later rehearsals?"""
        return self._shared is not None

    @abc.abstractmethod
    def keep_source(self, source: Source, served: Serve) -> bool:
        """Keep *source* with a copy of Vault's data, which nobody writes to meanwhile; return when Vault answers, and
        whether it is sealed then.

        Where there is no room for the copy nothing is kept: that is no reason to end this rehearsal.
        """

    def _begin_from(self, kept: KeptVault[Lent], *, ready: bool) -> None:
        """Have in hand what was in hand when a source state was kept. *ready*: does a Vault over it serve already?"""
        self._begun, self._shared, self._first = kept, None, kept.serving
        kept.tell(self._journal, ready=ready)
        self._tokens.take_over(kept.tokens)

    def _state(
        self,
        source: Source,
        served: Serve,
        planes: Mapping[str, Lent],
        *,
        data: str,
        drop: Callable[[], None],
        own: Mapping[str, Objects],
        home: Account | None = None,
    ) -> KeptVault[Lent]:
        """Return what is kept of this rehearsal, whose clusters are *planes*; the rest as `KeptVault` has it."""
        assert self._shared is not None
        shared, self._shared = self._shared, None
        secrets = Secrets()
        self._journal.secrets.hand_on(secrets)
        return KeptVault(
            key=shared_source.key(shared),
            run=self._run_id,
            made=now(),
            good_seconds=shared_source.good_seconds(shared),
            waits_for_nobody=shared_source.waits_for_nobody(shared),
            source=source,
            topology=self._topology,
            serving=served,
            data=data,
            drop=drop,
            root=self._vault.client.root,
            tokens=self._tokens.held,
            planes=dict(planes),
            there=inventories(planes, own),
            own=own,
            home=home,
            secrets=secrets,
        )
