"""What this machine has of the packages that only some scenarios take."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from harness.clients import haproxy, postgres, wrk
from harness.errors import MissingPrerequisite
from harness.maintenance.doctor import CheckResult
from harness.scenario.topology import Topology

_LOOKS: Final[tuple[tuple[str, str, Callable[[], Path]], ...]] = (
    ("PostgreSQL", "scenarios with a secrets engine of type database", postgres.programs),
    ("wrk", "scenarios with a storm of logins", wrk.program),
    ("HAProxy", "scenarios whose apps ask through a load balancer", haproxy.program),
)
"""What it is, who takes it, and what finds it or says what to install."""


def lacking(wanted: Topology) -> Iterator[str]:
    """Yield what this machine lacks of the packages that a scenario takes, each with what to install."""
    databases = wanted.needs_database or any(one.storage == "postgresql" for one in wanted.vaults.values())
    takes = (databases, wanted.has_storms, wanted.has_balancer)
    for (_, _, look), taken in zip(_LOOKS, takes, strict=True):
        if not taken:
            continue
        try:
            look()
        except MissingPrerequisite as error:
            yield str(error)


def examine() -> Iterator[CheckResult]:
    """Yield a line for each package. Without one a rehearsal that takes it ends before it begins, and no other does."""
    for name, whose, look in _LOOKS:
        try:
            yield CheckResult(name, "fine", f"{look()}, for {whose}")
        except MissingPrerequisite as error:
            says, _, mend = str(error).rpartition("; ")
            yield CheckResult(name, "note", f"{says}: {whose} cannot run here", mend)
