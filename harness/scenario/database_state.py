"""When the PostgreSQL of the database engines is away, step by step."""

from __future__ import annotations

from collections.abc import Sequence

from harness.scenario.course import AnyStep, Look, TouchDatabase


def outages(steps: Sequence[AnyStep]) -> list[list[str]]:
    """Return the labels of the moments at which it is away: those of one outage together, in order."""
    found, away = list[list[str]](), False
    for step in steps:
        if isinstance(step, TouchDatabase):
            away = step.what == "stop"
            found += [[]] if away else []
        elif isinstance(step, Look) and away:
            found[-1].append(step.moment.label)
    return found
