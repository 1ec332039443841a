"""What a scenario can say of its own answer: the findings that must come, and the variants that are rehearsed."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from harness.scenario.outcomes import Cause, Effect
from harness.scenario.schema_roles import Part
from harness.scenario.values import Name, Text, VersionText


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


class Expectation(Part):
    """One finding that is expected. With an `expect`, exit 0 means: these findings and no others."""

    change: Effect = Field(description="What happens.")
    app: Name | None = Field(default=None, description="To which app. Left out: to none in particular.")
    at: VersionText | None = Field(default=None, description="The Vault version at which it appears.")
    at_step: int | None = Field(
        default=None, ge=1, description="The number of the step in `course` after which it appears, from 1."
    )
    cause: Cause | None = Field(default=None, description="The rule that names its cause. Left out: any.")
    because: Text | None = Field(default=None, description="Why this is expected, for the reader.")


class ExpectedOf(Part):
    """What is expected of some cells of a matrix."""

    where: dict[Text, Any] = Field(min_length=1, description="Which cells, as in `exclude`.")
    expect: tuple[Expectation, ...] = Field(description="The findings that must come there, and no others.")
    because: Text | None = Field(default=None, description="Why this is expected, for the reader.")


class Matrix(Part):
    """Variants of a scenario: every combination of the values of its axes is a cell, which is rehearsed by itself."""

    axes: dict[Text, Any] = Field(
        min_length=1,
        description="By the path of a field (vault.target), or `driver`: a list of values, or a range of versions. By "
        "a name of your own: named values, each with the fields that it changes.",
    )
    exclude: tuple[Excluded, ...] = Field(default=(), description="Cells that are left out.")
    include: tuple[Included, ...] = Field(default=(), description="Cells that are added.")
    expect: tuple[ExpectedOf, ...] = Field(
        default=(),
        description="What is expected of which cells; the last entry that fits counts. Of others it is that no answer "
        "gets worse, but for the cell that is the scenario itself: that keeps the scenario's `expect`.",
    )
