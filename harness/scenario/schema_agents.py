"""What a scenario can say of the Vault Agents of apps beside their versions: a part of `schema`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from harness.scenario.schema_roles import Part
from harness.scenario.values import Name

SinkState = Literal["missing", "there"]
"""Whether the folder is there where an agent writes the token that it gets."""


class TouchesAgents(Part):
    """A step that does something to the Vault Agents of apps."""

    agent_sink: dict[Name, SinkState] | None = Field(
        default=None,
        min_length=1,
        description="To the Vault Agents of apps, by the names of these: missing (the folder of the sink is not there "
        "for an agent that starts from then on, as where a volume is not mounted), there (it is again). One that runs "
        "goes on.",
    )
