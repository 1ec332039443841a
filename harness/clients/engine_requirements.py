"""Whether a container engine will do for the nodes of kind clusters, by what it says of itself."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Final

import msgspec

from harness.errors import MissingPrerequisite
from harness.knowledge import versions

_CGROUP_1_UNTIL: Final = "1.35.0"  # kubelets before it still accept version 1 of the control groups
_CGROUP_1_REFUSED_FROM: Final = "1.31.0"  # unless it is told not to
_CLOCK_SECONDS: Final = 0.05
"""By so much the clocks of an engine and of this machine may differ, beyond the time that the question took. What was
asked and what the API servers wrote of it are brought together by their dates, and a login takes tens of ms."""


class About(msgspec.Struct, frozen=True):
    """What an engine says of itself."""

    version: str
    cgroup: int
    """the version of the control groups that containers get: 1 or 2"""
    rootless: bool
    folder: Path
    """where it keeps images and containers, as a path of the machine it runs on"""
    processors: int
    memory: int
    """in bytes"""
    ahead: float | None = None
    """by how many seconds its clock is ahead of that of this machine, at least; None if it does not say"""


def insist_on_cgroup(about: About, kubernetes: Iterable[str]) -> None:
    """Raise MissingPrerequisite if a kubelet of one of the versions *kubernetes* would not start on that engine."""
    refused = [each for each in kubernetes if about.cgroup == 1 and versions.at_least(each, _CGROUP_1_UNTIL)]
    if refused:
        raise MissingPrerequisite(
            "containers get control groups of version 1 on this machine, and the kubelets of Kubernetes "
            f"{', '.join(versions.ascending(refused))} refuse to run with those; boot it with "
            "systemd.unified_cgroup_hierarchy=1, use another machine, or rehearse with --driver local"
        )


def insist_on_clock(about: About) -> None:
    """Raise MissingPrerequisite if the engine's clock and that of this machine differ: no evidence could be joined."""
    ahead = about.ahead or 0.0
    if abs(ahead) > _CLOCK_SECONDS:
        raise MissingPrerequisite(
            f"the engine's clock is {abs(ahead):.1f} s {'ahead of' if ahead > 0 else 'behind'} this machine's, and "
            "questions from here and logs from there are brought together by their dates; set both clocks by the same "
            "time server (a virtual machine that slept: restart it)"
        )


def kubelet_settings(about: About, kubernetes: str) -> dict[str, object]:
    """Return what the kubelet of version *kubernetes* has to be told so that it starts on that engine."""
    if about.cgroup == 1 and versions.at_least(kubernetes, _CGROUP_1_REFUSED_FROM):
        return {"failCgroupV1": False}
    return {}


def ahead(date: object, before: float, after: float) -> float | None:
    """Return by how much *date*, which was said between *before* and *after*, is out of that time."""
    if not isinstance(date, str):
        return None
    there = datetime.fromisoformat(date).timestamp()
    return max(there - after, 0.0) + min(there - before, 0.0)
