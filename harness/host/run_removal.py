"""Does a dead supervisor's work: ends and removes whatever is proven to belong to its run, and nothing else.

Whoever finds that a supervisor is dead does it: its watcher, its harness, or `clean`. Needs nothing but the standard
library, because the watcher is isolated from every installed package.
"""

# pathlib would double the time the supervisor takes to start.
# ruff: noqa: PTH116, PTH208

from __future__ import annotations

import os
import select
import signal
from collections.abc import Iterator
from typing import Final

from harness.host import run_traces
from harness.host.run_traces import Message

_ROUNDS: Final = 100  # of a tenth of a second each


def sweep(known: Message, entry: str) -> list[str]:
    """Kill what is left of a run, remove what it has on its engine, its work directory, and then its *entry*.

    *known* is what the entry says: run, mark, work, children, and where that was written (boot, space, machine).
    Returns what is left, in words, and why; the entry stays if anything is. Not for a run whose supervisor lives.
    """
    run, secret, work = known["run"], known.get("mark", ""), known["work"]
    left = [f"process {pid}, which SIGKILL did not end" for pid in _kill_all(_Proof(known))]
    if known.get("engine"):
        from harness.host import reaper

        left += reaper.clear(known["engine"], f"{run_traces.LABEL}={run}")
    if os.path.lexists(work) and (complaint := run_traces.doubt(work, run, secret) or run_traces.wipe(work)):
        left.append(complaint)
    if not left:
        run_traces.forget(entry)
    return left


class _Proof:
    """Who belongs to a run: whoever carries its secret, and the children that its supervisor put on record here."""

    def __init__(self, known: Message) -> None:
        self._secret = str(known.get("mark", ""))
        here = run_traces.whereabouts()
        is_here = all(known.get(name) == there for name, there in here.items())
        self._children = {child["pid"]: child["started"] for child in known.get("children", ()) if is_here}

    def holds(self, pid: int) -> bool:
        """Whether *pid* lives and is of the run.

        Those of other users cannot be looked into, unless by root, who has no business with them either.
        """
        try:
            if os.stat(f"/proc/{pid}").st_uid != os.geteuid() or run_traces.stat_fields(pid)[0] in "ZX":
                return False
        except OSError:
            return False
        recorded = pid in self._children and run_traces.lives(pid, self._children[pid])
        return recorded or run_traces.carries(pid, self._secret)


def _kill_all(proof: _Proof) -> list[int]:
    """Kill until nobody is left whom the run can be proven to own; return who would not die."""
    for _ in range(_ROUNDS):
        proven = list(_proven(proof))
        if not proven:
            return []
        for pid in proven:
            _kill(pid, proof)
        select.select([], [], [], 0.02 if len(proven) < 3 else 0.1)
    return list(_proven(proof))


def _proven(proof: _Proof) -> Iterator[int]:
    return filter(proof.holds, map(int, filter(str.isdigit, os.listdir("/proc"))))


def _kill(pid: int, proof: _Proof) -> None:
    try:
        handle = os.pidfd_open(pid)
    except OSError:
        return
    try:
        # Looked at once more, now that the id cannot be given to a stranger before the signal arrives.
        if proof.holds(pid):
            run_traces.ignoring(OSError, signal.pidfd_send_signal, handle, signal.SIGKILL)
    finally:
        os.close(handle)
