"""What this machine has of the packages that only some scenarios take."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

from harness.clients import haproxy, postgres, wrk
from harness.errors import MissingPrerequisite
from harness.maintenance.doctor import CheckResult
from harness.scenario.topology import Topology


class _Package(NamedTuple):
    """A package that some scenarios take."""

    name: str
    whose: str
    """what takes it"""
    find: Callable[[], Path]
    """what finds it, or says what to install"""
    taken: Callable[[Topology], bool]


def _takes_postgresql(wanted: Topology) -> bool:
    return wanted.needs_database or any(one.storage == "postgresql" for one in wanted.vaults.values())


_PACKAGES: Final = (
    _Package(
        "PostgreSQL",
        "scenarios with a secrets engine of type database, or storage postgresql",
        postgres.programs,
        _takes_postgresql,
    ),
    _Package("wrk", "scenarios with a storm of logins", wrk.program, lambda wanted: wanted.has_storms),
    _Package(
        "HAProxy",
        "scenarios whose apps ask through a load balancer",
        haproxy.program,
        lambda wanted: wanted.has_balancer,
    ),
)


def lacking(wanted: Topology) -> Iterator[str]:
    """Yield what this machine lacks of the packages that a scenario takes, each with what to install."""
    for one in _PACKAGES:
        if not one.taken(wanted):
            continue
        try:
            one.find()
        except MissingPrerequisite as error:
            yield str(error)


def examine() -> Iterator[CheckResult]:
    """Yield a line for each package. Without one a rehearsal that takes it ends before it begins, and no other does."""
    for name, whose, find, _ in _PACKAGES:
        try:
            yield CheckResult(name, "fine", f"{find()}, for {whose}")
        except MissingPrerequisite as error:
            says, _, mend = str(error).rpartition("; ")
            yield CheckResult(name, "note", f"{says}: {whose} cannot run here", mend)
