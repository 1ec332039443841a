"""The source state of a rehearsal, of which further ones get a copy: Vault right before the first look."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, runtime_checkable

from harness.host.pki import Signer
from harness.record import events
from harness.record.events import AnyEvent
from harness.rig.rig import Credentials
from harness.scenario.course import Serve
from harness.secret import Secret

TOLD: Final = (
    events.TokenIssued,
    events.AuthEnabled,
    events.CredentialsMade,
    events.ConfigWritten,
    events.RoleWritten,
    events.VaultServing,
    events.PodReplaced,
    events.OldTokenRefused,
    events.StepEnded,
)
"""What of the making of a source state stands in the record of everybody who shares it, with the time it happened."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What one has in hand right before the first look. It is in memory alone."""

    events: tuple[AnyEvent, ...]
    """what its making wrote into the record of whoever made it"""
    mounted: Mapping[str, str]
    """the accessors of the auth mounts, by path"""
    credentials: Mapping[tuple[str, str], Credentials]
    """by mount and role: what logs in there"""
    keys: Mapping[str, Sequence[Secret]]
    """the unseal keys of each Vault"""
    signer: Signer | None
    """who signs the tokens of apps that no cluster knows, where a config has its key"""


@runtime_checkable
class SharesSource(Protocol):
    """A rig whose source state may come from an earlier rehearsal, or be kept for later ones."""

    @property
    def begun_from(self) -> Source | None:
        """Return the source state that Vault was started over, in its last version and sealed; None: over nothing.

        What its making wrote is in the record of this rehearsal, too.
        """
        ...

    @property
    def wants_source(self) -> bool:
        """Is the source state to be kept for later rehearsals?"""
        ...

    def keep_source(self, source: Source, served: Serve) -> bool:
        """Keep *source* with a copy of Vault's data. Returns when Vault answers as *served*: True where it is sealed,
        for it was stopped, and False where it serves as before. Raises as `swap`.
        """
        ...


@runtime_checkable
class BeginsAhead(Protocol):
    """A rig whose Vault may be initialised and unsealed before its rehearsal begins."""

    keys_made: Sequence[Secret]
    """the unseal keys of that; empty: there is none, and the Vault that answers is not initialised"""
