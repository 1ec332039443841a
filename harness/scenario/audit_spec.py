"""An audit device of a scenario with every default filled in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from harness.scenario.schema_audit import OPTIONS, DeviceKind


class DeviceSpec(msgspec.Struct, frozen=True, kw_only=True):
    """An audit device: of which kind, and what Vault is told of it beside where it writes."""

    kind: DeviceKind
    options: dict[str, str] = {}
    """in Vault's spelling"""
    transport: Literal["tcp", "udp", "unix"] = "tcp"
    """of a socket"""
    enabled: bool = True
    """is it there from the start, or once a step enables it?"""


def devices(written: Mapping[str, Mapping[str, Any]]) -> dict[str, DeviceSpec]:
    """Return the audit devices that the plain data *written* describe."""
    return {
        name: DeviceSpec(
            kind=one["type"],
            options={option: _as_vault_has_it(one[key]) for key, option in OPTIONS.items() if one.get(key) is not None},
            transport=one.get("socket-type") or "tcp",
            enabled=one.get("enabled", True),
        )
        for name, one in written.items()
    }


def _as_vault_has_it(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
