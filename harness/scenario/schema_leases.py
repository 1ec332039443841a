"""What a scenario can say of leases: parts of `schema`."""

from __future__ import annotations

from pydantic import Field

from harness.scenario.schema_roles import Part
from harness.scenario.values import Many

_MOST: int = 2_000_000


class HasLeases(Part):
    """A Vault that others have leases of."""

    leases: int = Field(
        default=0,
        ge=0,
        le=_MOST,
        description="So many leases are there before the upgrade, made by the source version: service tokens that live "
        "for a month (auth/token/create-orphan). 100,000 take one to three minutes.",
    )


class TouchesLeases(Part):
    """A step that does something to leases."""

    revoke_leases: Many | None = Field(
        default=None,
        description="So many of the `leases` of Vault are revoked, one by one. all: every one that is left, at once "
        "(sys/leases/revoke-prefix).",
    )
