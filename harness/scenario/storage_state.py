"""Which of the servers that have Vault's data are away, step by step, and whether the others are enough."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Final, Literal, cast, get_args

from harness.scenario.course import AnyStep, Look, Serve, TouchStorage
from harness.scenario.schema_storage import ToNode, ToStorage

SERVERS: Final = ("etcd", "consul", "postgresql")
"""The storages that are servers beside Vault."""

OF_A_NODE: Final = get_args(ToNode)
"""What may happen in mid-hop to the data of one node of several, which has them itself."""


def away_after(what: str, away: int, members: int) -> int:
    """Return how many of the *members* are away once *what* was done to them, of which *away* were before."""
    return {"lose-leader": min(away + 1, members), "stop": members, "start": 0}.get(what, away)


def serves(away: int, members: int) -> bool:
    """Is there a majority of the *members*, without which no etcd reads or writes anything?"""
    return members - away > members // 2


def touched(step: AnyStep | Serve) -> ToStorage | Literal[""]:
    """Return what a step does to the storage, be it in the middle of a hop; nothing where it does nothing to it."""
    if isinstance(step, TouchStorage):
        return step.what
    if not isinstance(step, Serve) or step.meanwhile in OF_A_NODE:
        return ""
    return cast("ToStorage", step.meanwhile)


def away(steps: Iterable[AnyStep], members: int) -> int:
    """Return how many of the *members* are away once all *steps* were taken."""
    return functools.reduce(lambda gone, step: away_after(touched(step), gone, members), steps, 0)


def out_at(steps: Iterable[AnyStep], members: int) -> frozenset[str]:
    """Return the labels of the moments at which too few of the *members* are there to serve."""
    gone, found = 0, set[str]()
    for step in steps:
        gone = away_after(touched(step), gone, members)
        if isinstance(step, Look) and not serves(gone, members):
            found.add(step.moment.label)
    return frozenset(found)
