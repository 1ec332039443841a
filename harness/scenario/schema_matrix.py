"""What a scenario can say of single cells of its matrix: those that are left out, and those that are added."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from harness.scenario.schema_roles import Part
from harness.scenario.values import Text


class Excluded(Part):
    """Cells of a matrix that are left out."""

    where: dict[Text, Any] = Field(
        min_length=1,
        description="Axes with a value, a list of values, or for versions a range. Cells that have them all are meant.",
    )
    because: Text = Field(description="Why they are left out, for the reader.")


class Included(Part):
    """A cell of a matrix beside those that its axes make."""

    with_: dict[Text, Any] = Field(
        min_length=1, description="Axes, or fields by path, with a value each. The rest is as the scenario has it."
    )
    because: Text = Field(description="Why it is added, for the reader.")
