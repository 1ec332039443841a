"""What a scenario can say of the Vault that unseals another one: its transit engine has the key of that one's seal."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from harness.scenario.schema_roles import Part
from harness.scenario.values import VersionText

SealKind = Literal["shamir", "transit"]
ToSealVault = Literal["seal", "unseal", "stop", "start", "end-token", "new-token"]


class SealVault(Part):
    """The Vault that has the transit key of the other one's seal. No app logs in to it, and it is in no cluster."""

    source: VersionText = Field(description="The version in use today.")
    via: tuple[VersionText, ...] = Field(default=(), description="Versions to stop at in between, oldest first.")
    target: VersionText | None = Field(
        default=None, description="The version to arrive at. Left out: it stays, or `course` says what is done."
    )
    goes: Literal["first", "last"] = Field(
        default="first",
        description="With a `target`: is it taken along its path before the other Vault, or after that one?",
    )
    storage: Literal["raft", "file"] = Field(default="file", description="Its storage.")
