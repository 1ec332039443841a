"""What a scenario can say of the Vault that unseals another one: its transit engine has the key of that one's seal."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from harness.scenario.schema_roles import Part
from harness.scenario.values import VersionText

SealKind = Literal["shamir", "transit"]
ToSealVault = Literal["seal", "unseal", "stop", "start", "end-token", "new-token"]


LeftOut = Literal["migrate", "disabled"]


class ChangesSeal(Part):
    """A step that may change how Vault is unsealed, as it starts it anew."""

    seal: SealKind | None = Field(
        default=None,
        description="For upgrade and restart: the seal to which Vault migrates then. Its configuration says so from "
        "its start on, and it is handed its keys with -migrate: the unseal keys, which become recovery keys, or the "
        "recovery keys, which become unseal keys. Left out: its seal stays.",
    )
    left_out: LeftOut | None = Field(
        default=None,
        description="With `seal`: what is forgotten. migrate: the keys are handed without -migrate. disabled: on the "
        "way to shamir the seal stanza is taken out at once, and not disabled first.",
    )


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
