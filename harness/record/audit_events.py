"""What is seen of Vault's audit devices."""

from __future__ import annotations

from typing import Any

import msgspec

from harness.record.event import OfVault


class Audited(msgspec.Struct, frozen=True, kw_only=True):
    """What one audit device wrote of a granted request, and of its answer. Nothing of it is a secret."""

    fields: dict[str, str] = {}
    """by the name of each field, such as auth.policies: hmac, text, number, flag or list"""
    says: dict[str, Any] = {}
    """who it was, as whom, and with which rights"""


class AuditSeen(OfVault, frozen=True, tag="audit-device", kw_only=True):
    """An audit device as it was found at a moment, once all was asked. Those that are disabled are not looked at."""

    moment: str
    """the label of the moment"""
    device: str
    """its name: it is enabled at audit/<name>"""
    kind: str
    """file, socket or syslog"""
    state: str = "well"
    """what the course has made of it: well, full, away or silent"""
    status: int | None = None
    """how Vault answered a look-up of the administrator's own token then, which has to be audited; None: not at all"""
    seconds: float = 0.0
    """after so many seconds"""
    written: int = 0
    """so many answers of this moment it has written down"""
    missing: int = 0
    """and so many that another device has written down it has not"""
    why: str = ""
    """what Vault's log says of it, where it could not be made or could not write"""
    mode: str = ""
    """the mode bits of its file, such as 0600"""
    hash: str = ""
    """as what it writes one and the same text: another one, and nobody finds an old token in it again"""
    entries: dict[str, Audited] = msgspec.field(default_factory=dict)
    """by operation and path: the first granted login at each mount, and a look-up of a token"""
