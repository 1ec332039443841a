"""Runs commands as a user would, in a world of their own, and says how long they took and how much memory they held."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import msgspec
import psutil

from tests.bench import watched

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
SCENARIOS = sorted((ROOT / "scenarios").glob("*.yaml"))
(OUTAGE,) = (path for path in SCENARIOS if path.name.startswith("the-outage-"))


class Ran(msgspec.Struct):
    """What came of a command."""

    seconds: float
    status: int
    peak_mb: float = 0.0
    """the most memory its process held, without its children"""


class World:
    """A directory in which runs have their records, their registry and their work directories, and nobody else has."""

    def __init__(self, directory: Path) -> None:
        self.runs, self.state, self.work = directory / "runs", directory / "state", directory / "work"
        for each in (self.runs, self.state, self.work):
            each.mkdir(parents=True)
        self.environment = {**os.environ, "REHEARSE_STATE": str(self.state), "TMPDIR": str(self.work)}
        self._count = 0

    def new_run(self) -> Path:
        """Return a directory for the next run, whose name is in the name of everything that the run makes."""
        self._count += 1
        return self.runs / f"bench-{os.getpid()}-{self._count}"

    def rehearse(self, *arguments: str | Path) -> Ran:
        """Run the command to its end and time it. Ends the measurement if it did not work."""
        return self.timed([Path(sys.executable).with_name("rehearse"), *arguments])

    def watched(self, *arguments: str | Path) -> Ran:
        """Run the command to its end, time it, and look at its memory."""
        note = self.state / "peak"
        ran = self.timed([sys.executable, "-m", "tests.bench.watched", note, *arguments])
        return Ran(ran.seconds, ran.status, int(note.read_text()) / 1024)

    def supervisor_peak_mb(self, *arguments: str | Path) -> float:
        """Run the command to its end and return the most memory that its supervisor held."""
        peak = 0
        with self.started([Path(sys.executable).with_name("rehearse"), *arguments]) as process:
            while process.poll() is None:
                peak = max(peak, _supervisor_peak(process.pid))
                time.sleep(0.02)
        return peak / 1024

    def timed(self, words: Sequence[str | Path]) -> Ran:
        """Run any command to its end and time it. Ends the measurement with its last words if it did not work."""
        began = time.monotonic()
        done = subprocess.run(words, cwd=ROOT, env=self.environment, capture_output=True, text=True, check=False)
        seconds = time.monotonic() - began
        if done.returncode not in (0, 1):
            last = "\n".join((done.stdout + done.stderr).splitlines()[-20:])
            sys.exit(f"{' '.join(map(str, words))}\nended with status {done.returncode}:\n{last}")
        return Ran(seconds, done.returncode)

    def started(self, words: Sequence[str | Path]) -> subprocess.Popen[bytes]:
        """Start a command whose words nobody wants to hear."""
        return subprocess.Popen(
            words, cwd=ROOT, env=self.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )


def _supervisor_peak(harness: int) -> int:
    """Return the most memory in kB that the supervisor of *harness* has held so far; 0 while there is none."""
    with suppress(psutil.Error, OSError, StopIteration):
        for child in psutil.Process(harness).children():
            if any(word.endswith("supervisor.py") for word in child.cmdline()):
                return watched.peak(Path(f"/proc/{child.pid}/status"))
    return 0
