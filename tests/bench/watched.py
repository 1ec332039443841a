"""The command `rehearse`, which leaves a note of the most memory it held: `watched.py NOTE ARGUMENTS...`.

The kernel's own figure of a child (ru_maxrss) will not do: it includes what the parent held when it forked, and of a
child that has children the biggest of them.
"""

from __future__ import annotations

import atexit
import sys
from pathlib import Path

from harness.cli.commands import main

_STATUS = Path("/proc/self/status")


def peak(status: Path = _STATUS) -> int:
    """Return the most memory in kB that the process with this *status* file has held so far."""
    return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM:"))


if __name__ == "__main__":
    note = Path(sys.argv.pop(1))
    atexit.register(lambda: note.write_text(str(peak())))
    main(prog_name="rehearse")
