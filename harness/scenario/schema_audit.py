"""What a scenario can say of Vault's audit devices: a part of `schema`."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import Field

from harness.scenario.schema_roles import Part
from harness.scenario.values import Mode, ShortSpan, Text

DeviceKind = Literal["file", "socket", "syslog"]
DeviceState = Literal["full", "away", "silent", "well", "disable", "enable"]
"""What a step makes of a device. full: the disk of its file is full. away: nobody listens where it sends its entries.
silent: whoever listens there takes no connection and reads nothing. well: it can write again. disable, enable: the
administrator has Vault do so."""

BLOCKS: Final[dict[DeviceKind, tuple[DeviceState, ...]]] = {
    "file": ("full",),
    "socket": ("away", "silent"),
    "syslog": ("away",),
}
"""What can keep a device of each kind from writing."""

OPTIONS: Final = {
    "log-raw": "log_raw",
    "hmac-accessor": "hmac_accessor",
    "elide-list-responses": "elide_list_responses",
    "format": "format",
    "prefix": "prefix",
    "mode": "mode",
    "socket-type": "socket_type",
    "write-timeout": "write_timeout",
    "facility": "facility",
    "tag": "tag",
}
"""By their keys: the options of a device as Vault spells them."""

OF_KIND: Final[dict[str, DeviceKind]] = {
    "mode": "file",
    "socket-type": "socket",
    "write-timeout": "socket",
    "facility": "syslog",
    "tag": "syslog",
}
"""The options that devices of one kind alone have."""


class AuditDevice(Part):
    """An audit device of Vault's. What is left out is not sent."""

    type_: DeviceKind = Field(
        description="file: in a directory of the rehearsal's. socket: to a receiver of the rehearsal's. syslog: to a "
        "socket of the rehearsal's that Vault finds at /dev/log or /var/run/log, and never to this machine's own."
    )
    log_raw: bool | None = Field(default=None, description="Are secrets written in clear? No record has them.")
    hmac_accessor: bool | None = Field(default=None, description="Are accessors hashed? Vault's default: yes.")
    elide_list_responses: bool | None = Field(default=None, description="Are lists written without their items?")
    format_: Literal["json", "jsonx"] | None = Field(
        default=None, description="Vault's default: json, in which at least one device has to write."
    )
    prefix: Text | None = Field(default=None, description="What stands before each entry.")
    mode: Mode | None = Field(default=None, description='Of a file: its mode bits, such as "0640".')
    socket_type: Literal["tcp", "udp", "unix"] | None = Field(default=None, description="Of a socket. Left out: tcp.")
    write_timeout: ShortSpan | None = Field(
        default=None, description="Of a socket: how long Vault waits for it. Vault's default: 2s."
    )
    facility: Text | None = Field(default=None, description="Of syslog. Vault's default: AUTH.")
    tag: Text | None = Field(default=None, description="Of syslog. Vault's default: vault.")
    enabled: bool = Field(
        default=True, description="false: not from the start; `audit-device: {NAME: enable}` does so."
    )
