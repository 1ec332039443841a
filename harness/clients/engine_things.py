"""What a run has made on an engine: the labels by which it is found again, and the things that carry them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, Literal

import msgspec

from harness.host import run_traces

_OWNER_LABEL: Final = "rehearse.owner"
_EXPIRES_LABEL: Final = "rehearse.expires"
_WHERE_LABEL: Final = "rehearse.where"
_MANAGED_BY: Final = {"rehearse.managed-by": "rehearse"}

ThingKind = Literal["container", "network", "volume"]


class Thing(msgspec.Struct, frozen=True):
    """A container, network or volume of a run."""

    kind: ThingKind
    id: str
    name: str
    labels: Mapping[str, str]
    created: float = 0.0
    """a date"""

    @property
    def run(self) -> str:
        """Return the id of the run that it belongs to."""
        return self.labels.get(run_traces.LABEL, "")

    @property
    def is_ours(self) -> bool:
        """Whether it says that a rehearsal has made it, and not only that it belongs to one."""
        return _MANAGED_BY.items() <= self.labels.items()

    @property
    def owner(self) -> tuple[int, int] | None:
        """Return the id and the start time of the process that has made it; None if its labels do not say."""
        pid, _, started = self.labels.get(_OWNER_LABEL, "").partition(".")
        return (int(pid), int(started)) if pid.isdecimal() and started.isdecimal() else None

    @property
    def where(self) -> str:
        """Return where its owner's process id means something, as `whereabouts` says it; "" if its labels do not."""
        return self.labels.get(_WHERE_LABEL, "")

    @property
    def expires(self) -> float:
        """Return the date from which on it belongs to nobody that lives; 0 if its labels do not say."""
        date = self.labels.get(_EXPIRES_LABEL, "")
        return float(date) if date.isdecimal() else 0.0


def labels(run_id: str, expires: float) -> dict[str, str]:
    """Return the labels of whatever the run *run_id* of this process makes on an engine.

    *expires* is the date from which on nobody may take it for alive any more, not even a run that was kept: it has to
    lie after the end of the longest run. The supervisor goes by the first label alone; `rehearse clean` by the others
    too, where the run is on no record.
    """
    owner = run_traces.identity(os.getpid())
    return {
        run_traces.LABEL: run_id,
        **_MANAGED_BY,
        _OWNER_LABEL: f"{owner['pid']}.{owner['started']}",
        _EXPIRES_LABEL: str(int(expires)),
        _WHERE_LABEL: whereabouts(),
    }


def whereabouts() -> str:
    """Return where the process ids of this process mean something: the boot of the machine and the PID namespace."""
    here = run_traces.whereabouts()
    return f"{here['boot']}.{here['space'].strip('pid:[]')}"


def thing_of(kind: ThingKind, one: Mapping[str, Any], name: str) -> Thing:
    """Return the thing that a row of the engine's lists is about."""
    # In seconds since 1970 for a container, as text for all else.
    date = one.get("Created") or one.get("CreatedAt") or 0
    created = datetime.fromisoformat(date).timestamp() if isinstance(date, str) else float(date)
    return Thing(kind, str(one.get("Id", name)), name.lstrip("/"), one.get("Labels") or {}, created)
