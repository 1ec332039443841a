"""Where things are kept, and what the user's environment says: the only room that reads it."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TextIO


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
