"""What we make is ours alone, whatever the umask; and what others could have changed is mended, or refused."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness import settings
from harness.errors import RigError
from tests.runs import OUTAGE, SCENARIOS

NOBODY = 65534


def modes(top: Path) -> dict[str, int]:
    """Return what whoever is not the owner may do with everything below *top*, links aside."""
    found = {path: path.stat().st_mode & 0o077 for path in (top, *top.rglob("*")) if not path.is_symlink()}
    return {str(path): mode for path, mode in found.items() if mode}


@pytest.mark.processes
@pytest.mark.parametrize("mask", [0o000, 0o077])
def test_whatever_the_umask_everything_we_make_is_ours_alone(tmp_path: Path, mask: int) -> None:
    """State directory, record, parents of a --run-dir: nobody else may read, and least of all write."""
    state = tmp_path / "home" / "state" / "rehearse"
    for more in ([], ["--run-dir", str(tmp_path / "home" / "deep" / "run")]):
        done = subprocess.run(
            [sys.executable, "-m", "harness", "run", str(OUTAGE), "--driver", "paper", "-q", *more],
            cwd=SCENARIOS.parent,
            env={**os.environ, "REHEARSE_STATE": str(state)},
            capture_output=True,
            check=False,
            umask=mask,
        )
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "home" / "deep" / "run" / "record.jsonl").exists()
    assert (state / "runs" / "latest").exists()
    assert modes(tmp_path / "home") == {}


@pytest.mark.parametrize("name", ["", "live"])
def test_a_state_directory_that_others_may_write_to_is_mended(tmp_path: Path, name: str) -> None:
    """It is ours, and holds ours alone: an earlier release made it so, where the umask was 0."""
    (tmp_path / "state" / "live").mkdir(parents=True)
    (tmp_path / "state" / name).chmod(0o777)
    assert settings.private_state(tmp_path / "state", "live") == tmp_path / "state" / "live"
    assert (tmp_path / "state" / name).stat().st_mode & 0o777 == 0o700


def test_a_state_directory_that_is_not_ours_to_mend_is_refused(tmp_path: Path) -> None:
    """It holds other things, and others may write to it: nothing that we put there would stay what it is."""
    (tmp_path / "documents").mkdir()
    tmp_path.chmod(0o777)
    with pytest.raises(RigError, match=r"holds other things as well \(documents\): chmod go-w"):
        settings.private_state(tmp_path, "live")
    assert tmp_path.stat().st_mode & 0o777 == 0o777
    tmp_path.chmod(0o1777)  # as /tmp: everybody may write, and nobody may replace what is another's
    assert settings.private_state(tmp_path, "live").stat().st_mode & 0o777 == 0o700
    assert tmp_path.stat().st_mode & 0o1777 == 0o1777


def test_a_directory_of_another_user_is_refused(tmp_path: Path) -> None:
    """The superuser's, for everybody else."""
    directory = Path("/")
    if os.geteuid() == 0:
        directory = tmp_path / "live"
        directory.mkdir(mode=0o700)
        os.chown(directory, NOBODY, NOBODY)
    with pytest.raises(RigError, match="belongs to another user"):
        settings.private(directory)
