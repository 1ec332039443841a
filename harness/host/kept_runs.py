"""Ends a run that was kept, also one whose supervisor is stopped, or does nothing for another reason."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from harness.errors import RigError
from harness.host import run_removal, run_traces
from harness.wait import until

_ENDING_SECONDS: Final = 240.0  # for an engine that has to be waited for, a directory of any size
_ROUSING_SECONDS: Final = 5.0  # for a supervisor that was stopped to go on, and to kill its servers


def end(entry: Path) -> str:
    """End the run that was kept and has *entry* in the registry: its servers, containers, directory, the entry itself.

    A supervisor that does nothing is killed, and its work is done here. Returns what is wrong, in words, if there is no
    such run or it would not end; nothing if it is gone.
    """
    try:
        known = json.loads(entry.read_text())
        keeper = known["supervisor"]
        if run_traces.identity(keeper["pid"]) != keeper or _is_elsewhere(known):
            raise ProcessLookupError
        os.kill(keeper["pid"], signal.SIGTERM)
        os.kill(keeper["pid"], signal.SIGCONT)
        if not _is_ending(known):
            return _end_by_force(known, entry)
        _await_end(known, entry, _ENDING_SECONDS)
    except (OSError, ValueError, KeyError, TypeError):
        return f"no run {entry.stem} is alive here: `rehearse clean` shows what there is"
    except RigError as error:
        return str(error)
    return f"run {entry.stem} is over, and has left something: `rehearse clean` shows it" if entry.exists() else ""


def _is_elsewhere(known: Mapping[str, Any]) -> bool:
    """Whether the process ids of an entry mean nothing here. One of the release before does not say."""
    return any(known.get(name, here) != here for name, here in run_traces.whereabouts().items())


def _is_ending(known: Mapping[str, Any]) -> bool:
    """Whether a supervisor does what it was told: at first it kills every server, which takes no time."""
    children = [(child["pid"], child["started"]) for child in known["children"]]
    servers = [child for child in children if run_traces.lives(*child)]

    def moves() -> bool:
        if not run_traces.lives(**known["supervisor"]):
            return True
        return bool(servers) and not any(run_traces.lives(*server) for server in servers)

    try:
        until(moves, what="a supervisor to do something", seconds=_ROUSING_SECONDS)
    except RigError:
        return False
    return True


def _end_by_force(known: dict[str, Any], entry: Path) -> str:
    """Kill a supervisor that does nothing, and its watcher, and do their work. Returns what is left, in words."""
    for one in (known.get("watcher"), known["supervisor"]):
        if one and run_traces.identity(one["pid"]) == one:
            os.kill(one["pid"], signal.SIGKILL)
    _await_end(known, entry, _ROUSING_SECONDS)
    return "; ".join(f"of run {entry.stem!r} there is still: {each}" for each in run_removal.sweep(known, str(entry)))


def _await_end(known: Mapping[str, Any], entry: Path, seconds: float) -> None:
    until(
        lambda: not run_traces.lives(**known["supervisor"]),
        what=f"the end of the kept run {entry.stem}",
        seconds=seconds,
    )
