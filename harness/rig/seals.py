"""What a running system looks like in which one Vault unseals another one."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from harness.errors import RigError
from harness.record.node_events import PodSeen
from harness.rig.rig import Rig
from harness.scenario.course import Serve
from harness.secret import Secret


@runtime_checkable
class HasSealVault(Protocol):
    """A rig one of whose Vaults unseals another one, and may be away while that runs."""

    def begin(self, served: Serve) -> None:
        """Start a Vault over no data as what is to be *served*. Returns when it answers. Raises as `VaultNode.swap`."""
        ...

    def hand_seal_token(self, token: Secret | None, *, disabled: bool = False) -> None:
        """Have every later start of the other Vault be unsealed by this one, which knows it by *token*.

        None: by its keys. *disabled*: by its keys, while this seal is the one that it is to leave.
        """
        ...

    def take_away(self) -> None:
        """Stop the server of the Vault that unseals: whoever asks it is refused a connection."""
        ...

    def bring_back(self) -> None:
        """Start that server again over its data, as the version that it was. Returns when it answers, sealed."""
        ...

    def pod_seen(self) -> PodSeen | None:
        """Return how the Pod of the other Vault is; None: it has none that a kubelet runs, or nobody says."""
        ...


def seal_vault(rig: Rig) -> HasSealVault:
    """Return *rig* as one with a Vault that unseals another one. Raises RigError where it has none."""
    if isinstance(rig, HasSealVault):
        return rig
    raise RigError("with this driver no Vault unseals another one: choose another driver, or seal: shamir")
