"""What a scenario can say of many Pods that log in at once."""

from __future__ import annotations

from pydantic import Field

from harness.scenario.schema_roles import Part


class Storm(Part):
    """A login storm: many Pods of one app log in at once, as on a morning after a night without any."""

    pods: int = Field(ge=2, le=10_000, description="So many Pods, each with a token of its own.")
    at_once: int = Field(
        default=100,
        ge=1,
        le=1_000,
        description="So many of them ask at any time, each over a connection of its own; whoever has its answer makes "
        "room for the next. More than there are Pods: all of them.",
    )
