"""What a drill with a snapshot of somebody's own Vault means."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Final, Literal

import msgspec

from harness.knowledge import versions

FORMAT: Final = 1
"""The number of the form of a drill's result."""

COUNTED: Final = {
    "policies": "sys/policies/acl",
    "entities": "identity/entity/id",
    "groups": "identity/group/id",
    "token accessors": "auth/token/accessors",
    "leases of logins": "sys/leases/lookup/auth",
}
"""What is counted, and the path of the list: an upgrade changes none of it."""


class Opened(msgspec.Struct, frozen=True, kw_only=True):
    """A version that was opened over the snapshot's data."""

    version: str
    answered: str
    """the version that it says it is"""
    seconds: float
    """from the first unseal key until it was active"""
    counts: dict[str, int]
    not_counted: str = ""
    """why nothing was counted, or what Vault would not list"""


class Drill(msgspec.Struct, frozen=True, kw_only=True):
    """What was seen."""

    format: int = FORMAT
    path: tuple[str, ...]
    snapshot: str
    """the file's name"""
    bytes: int
    opened: tuple[Opened, ...]
    refused: str
    """what Vault said where it would not go on; empty where it did"""
    refused_at: str
    """the version that would not go on"""
    reached_out: dict[str, int]
    """addresses that Vault tried to reach, by its own log, and how often: in vain"""
    way_out: str
    """what could be reached from the drill; empty: nothing"""
    artifacts: dict[str, str]


class Result(msgspec.Struct, frozen=True):
    """What it means."""

    verdict: Literal["pass", "fail", "inconclusive"]
    reasons: tuple[str, ...]

    @property
    def exit_code(self) -> int:
        """Return 0 for a pass, 1 for a fail, 4 where nobody knows."""
        return {"pass": 0, "fail": 1, "inconclusive": 4}[self.verdict]


def judge(drill: Drill) -> Result:
    """Say whether the upgrade can be done with these data, as far as the drill shows."""
    first = drill.path[0]
    if drill.refused and drill.refused_at == first:
        # the version that production has: nothing was learned of the upgrade
        return Result(
            "inconclusive", (f"the snapshot was not opened by {first}, which it comes from: {drill.refused}",)
        )
    if drill.refused:
        return Result("fail", (f"{versions.called(drill.refused_at)} was not opened over the data: {drill.refused}",))
    if lost := tuple(_lost(drill)):
        return Result("fail", lost)
    uncounted = tuple(f"{one.version}: {one.not_counted}" for one in drill.opened if one.not_counted)
    if uncounted:
        return Result("inconclusive", tuple(f"not everything was counted on {one}" for one in uncounted))
    return Result("pass", ())


def _lost(drill: Drill) -> Iterator[str]:
    for old, new in pairwise(drill.opened):
        for name, number in old.counts.items():
            now = new.counts.get(name)
            # a login's token and lease end by themselves, and making a root token adds one
            if now is not None and now < number and name not in ("token accessors", "leases of logins"):
                before = versions.alone(old.version)
                yield f"{versions.called(new.version)} lists {now} {name}, and {before} listed {number}"
