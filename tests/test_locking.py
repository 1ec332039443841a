"""Whoever waits for a lock is told for whom, and how long it has been; and whoever need not wait does not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.host import locks as locking
from harness.host.locks import Held, alone, holder

pytestmark = pytest.mark.processes

HOLDING = """\
import sys, time
from filelock import FileLock
with FileLock(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


def holding(path: Path) -> subprocess.Popen[str]:
    """Return a process that holds *path* until its stdin ends."""
    argv = [sys.executable, "-c", HOLDING, str(path)]
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdout.readline() == "held\n"
    return process


def test_whoever_waits_is_told_for_whom_and_how_long_again_and_again(tmp_path: Path) -> None:
    told = list[str]()
    with holding(tmp_path / "lock") as other:

        def tell(line: str) -> None:
            told.append(line)
            if len(told) == 4 and other.stdin:
                other.stdin.close()

        with alone(tmp_path / "lock", tell, "vault 1.7.0: waiting", report_seconds=0.1):
            assert holder(tmp_path / "lock").startswith(f"process {os.getpid()} of ")
    who = f"process {other.pid} of "
    assert told[0].startswith(f"vault 1.7.0: waiting ({who}")
    assert "which began 0:0" in told[0]
    assert all(line.startswith("vault 1.7.0: waiting: 0 s so far (" + who) for line in told[1:4])


def test_whoever_is_not_patient_waits_for_nobody(tmp_path: Path) -> None:
    with holding(tmp_path / "lock") as other:
        said = f"waiting: process {other.pid} of .* has it now"
        with pytest.raises(Held, match=said), alone(tmp_path / "lock", print, "waiting", patient=False):
            pytest.fail("it is held")
        assert other.stdin
        other.stdin.close()
    with alone(tmp_path / "lock", print, "waiting", patient=False):
        pass


def test_a_lock_that_nobody_waits_for_says_nothing(tmp_path: Path) -> None:
    told = list[str]()
    with alone(tmp_path / "lock", told.append, "waiting"):
        pass
    assert told == []


@pytest.mark.parametrize(
    "lines",
    [
        "",
        "garbage\n\n1: FLOCK\n",
        "1: FLOCK ADVISORY WRITE 0 {place} 0 EOF\n",
        "1: POSIX ADVISORY WRITE 7 {place} 0 EOF\n",
    ],
    ids=["nothing", "garbage", "outside of this container", "another kind"],
)
def test_a_holder_whom_nobody_can_see_is_told_as_that(tmp_path: Path, lines: str) -> None:
    lock, locks = tmp_path / "lock", tmp_path / "locks"
    lock.touch()
    at = lock.stat()
    locks.write_text(lines.format(place=f"{os.major(at.st_dev):02x}:{os.minor(at.st_dev):02x}:{at.st_ino}"))
    assert holder(lock, locks) == "a process that is not to be seen from here"


def test_the_file_system_that_is_meant_goes_before_one_with_the_same_number(tmp_path: Path) -> None:
    lock, locks = tmp_path / "lock", tmp_path / "locks"
    lock.touch()
    at = lock.stat()
    device = f"{os.major(at.st_dev):02x}:{os.minor(at.st_dev):02x}"
    locks.write_text(
        f"1: FLOCK ADVISORY WRITE 11 {device}:{at.st_ino} 0 EOF\n2: FLOCK ADVISORY WRITE 12 ff:ff:{at.st_ino} 0 EOF\n"
    )
    assert locking._pid(lock, locks) == 11
    locks.write_text(f"2: FLOCK ADVISORY WRITE 12 ff:ff:{at.st_ino} 0 EOF\n")
    assert locking._pid(lock, locks) == 12
