"""What a rig can do that has Vault's audit devices in its hands."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from harness.errors import RigError
from harness.rig.rig import Rig
from harness.scenario.schema_audit import DeviceState


@runtime_checkable
class HasAuditDevices(Protocol):
    """A rig that owns what Vault's audit devices write to."""

    def turn_device(self, device: str, to: DeviceState) -> None:
        """Keep an audit device from writing, or let it write again; or have Vault disable or enable it.

        Raises RigError where Vault declines, or where this machine has no small disk to fill.
        """
        ...


def audit_devices(rig: Rig) -> HasAuditDevices:
    """Return *rig* as one that has audit devices. Raises RigError where it has none."""
    if isinstance(rig, HasAuditDevices):
        return rig
    raise RigError("with this driver nobody but Vault has its audit devices: choose another driver")
