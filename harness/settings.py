"""Where things are kept, and what the user's environment says: the only module that reads it."""

from __future__ import annotations

import os
import stat
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final, TextIO

from harness.errors import RigError

_PRIVATE: Final = 0o700
_WRITABLE_BY_OTHERS: Final = 0o022
_STATE_NAMES: Final = frozenset({"corpus", "live", "matrix", "ports", "runs", "tls", "workers"})


def cache() -> Path:
    """Return where binaries and build caches are kept: REHEARSE_CACHE, or the user's cache directory."""
    import platformdirs

    return Path(os.environ.get("REHEARSE_CACHE") or platformdirs.user_cache_dir("rehearse"))


def state() -> Path:
    """Return where records and locks are kept: REHEARSE_STATE, or the user's state directory."""
    import platformdirs

    return Path(os.environ.get("REHEARSE_STATE") or platformdirs.user_state_dir("rehearse"))


def runs() -> Path:
    """Return where the records of runs without a --run-dir go."""
    return state() / "runs"


def live() -> Path:
    """Return where every living run has an entry, which `clean` reads."""
    return state() / "live"


def temporary() -> Path:
    """Return where runs have their work directories while they live."""
    return Path(tempfile.gettempdir())


def environment() -> Mapping[str, str]:
    """Return the user's environment, for those who pass named parts of it on: builds and downloads."""
    return dict(os.environ)


def unseal_keys() -> str:
    """Return the unseal keys for a drill, with spaces between them, where the user's environment has them."""
    return os.environ.get("REHEARSE_UNSEAL_KEYS", "")


def for_python() -> Mapping[str, str]:
    """Return what of the user's environment a Python of ours needs to start and to read names of files, and no more."""
    names = ("LC_ALL", "LC_CTYPE", "LANG", "LD_LIBRARY_PATH")
    return {name: os.environ[name] for name in names if name in os.environ}


def made(directory: Path) -> Path:
    """Make *directory*, and whatever of its path is missing, for this user alone (0700), and return it.

    Whatever the umask is. What is there already stays as it is. Raises OSError where it cannot be made.
    """
    missing = [each for each in (directory, *directory.parents) if not os.path.lexists(each)]
    for each in reversed(missing):
        each.mkdir(mode=_PRIVATE, exist_ok=True)
    directory.mkdir(mode=_PRIVATE, exist_ok=True)  # it may be a link that leads nowhere, or a file
    return directory


def private(directory: Path) -> Path:
    """Make *directory* as `made` does. One that is there is mended if others may write to it: it has to be ours alone.

    Raises RigError for one that belongs to another user, and OSError where it cannot be made.
    """
    about = made(directory).stat()
    if about.st_uid != os.geteuid():
        raise RigError(f"{directory} belongs to another user (uid {about.st_uid}): name a directory of your own")
    if about.st_mode & _WRITABLE_BY_OTHERS:
        directory.chmod(_PRIVATE)
    return directory


def in_memory() -> bool:
    """May a run have its work directory in memory? REHEARSE_MEMORY=off says no."""
    return os.environ.get("REHEARSE_MEMORY", "").lower() not in ("off", "0", "no")


def private_state(state_directory: Path, *names: str) -> Path:
    """Return a directory below *state_directory* that is ours alone; both are made if missing, and mended if too open.

    Raises RigError where others may write to *state_directory*, and it is not ours to mend: it holds other things.
    """
    top = state_directory.absolute()
    try:
        about = top.stat()
    except FileNotFoundError:
        private(top)
    else:
        if about.st_mode & _WRITABLE_BY_OTHERS and not about.st_mode & stat.S_ISVTX:
            _mend(top, about)
    place = top
    for name in names:
        place = private(place / name)
    return place


def _mend(top: Path, about: os.stat_result) -> None:
    foreign = {each.name for each in top.iterdir()} - _STATE_NAMES
    if about.st_uid != os.geteuid() or foreign:
        why = f"holds other things as well ({min(foreign)})" if foreign else "belongs to another user"
        raise RigError(
            f"the state directory {top} can be written to by others, who could put something in place of what a run "
            f"keeps there, and it {why}: chmod go-w {top}, or name another directory in REHEARSE_STATE"
        )
    top.chmod(_PRIVATE)


def colour() -> bool:
    """Is stdout a terminal that knows colours, and whose owner has not asked for NO_COLOR?"""
    return _capable(sys.stdout)


def animated() -> bool:
    """Is stderr a terminal on which a line can be written over, and whose owner minds no such thing?"""
    return _capable(sys.stderr)


def _capable(stream: TextIO | None) -> bool:
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM", "").lower() in ("dumb", "unknown")
    return stream is not None and stream.isatty() and not plain


def debugging() -> bool:
    """Has the user asked for the traceback of a fault (REHEARSE_DEBUG)?"""
    return bool(os.environ.get("REHEARSE_DEBUG"))


def step_summary() -> Path | None:
    """Return the file in which a GitHub job collects its summary, if this is one."""
    named = os.environ.get("GITHUB_STEP_SUMMARY")
    return Path(named) if named else None
