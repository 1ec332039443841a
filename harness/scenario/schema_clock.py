"""What a scenario can say of the clocks of Vault's nodes: a part of `schema`."""

from __future__ import annotations

from pydantic import Field

from harness.scenario.schema_roles import Part
from harness.scenario.values import Duration, Name


class SetsClocks(Part):
    """A step that sets the clocks of nodes."""

    clock: dict[Name, Duration] | None = Field(
        default=None,
        min_length=1,
        description="The clocks of nodes, by their names, such as {vault-0: 2h}: from then on each is so far ahead of "
        "all others, also once it is started anew. On processes and on paper, where apps log in with secrets alone.",
    )
