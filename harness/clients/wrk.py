"""Everything asked of wrk, the load generator: a request for each line of a file, many at a time, counted by answer."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, Final

import msgspec

from harness.clients import packaged
from harness.errors import RigError
from harness.secret import redact

PATIENCE_SECONDS: Final = 60
"""How long a connection may be silent: as long as Vault's own clients wait."""

EACH_ON_ITS_OWN: Final = 100
"""In a hundred requests: each closes its connection, as whoever logs in once and goes on with its own work."""


class Counted(msgspec.Struct, frozen=True):
    """What came of the requests."""

    statuses: dict[str, int]
    """how many were answered with each HTTP status"""
    said: dict[str, str]
    """the first body of each status that is no success"""
    seconds: float
    """from the first request to the last answer"""
    micros: dict[str, float]
    """how long an answer took, in millionths of a second: p50, p95, p99, max"""

    @property
    def answered(self) -> int:
        """Return how many got any answer."""
        return sum(self.statuses.values())


def program() -> Path:
    """Return the path of wrk. Raises MissingPrerequisite, which names the package, where there is none."""
    return packaged.program("wrk", "wrk", "which makes storms of logins")


def patience(requests: int) -> int:
    """Return how many seconds all of so many *requests* may take: whoever has no answer by then gets none."""
    return PATIENCE_SECONDS + requests // 10


def command(url: str, bodies: Path, requests: int, at_once: int, *, closing: int = EACH_ON_ITS_OWN) -> list[str]:
    """Return the command line that has *url* asked with each line of the file *bodies*, *at_once* at a time.

    *requests* is how many lines there are, and *closing* for how many of a hundred the connection is closed. The bodies
    may be secret: no part of them is on it.
    """
    script = resources.files(__package__) / "storm.lua"
    times = [f"--duration={patience(requests)}s", f"--timeout={PATIENCE_SECONDS}s"]
    return [
        str(program()),
        "--threads=1",
        f"--connections={at_once}",
        *times,
        f"--script={script}",
        url,
        "--",
        str(bodies),
        str(closing),
    ]


def counted(lines: Iterable[str]) -> Counted:
    """Return what wrk counted, out of the *lines* that it printed. Raises RigError with them where it counted nothing.

    What a server said is without anything that has the shape of a secret.
    """
    printed = [*lines]
    for line in printed:
        if line.startswith("{"):
            found = msgspec.json.decode(line.encode(), type=Counted)
            return msgspec.structs.replace(found, said={name: _words(text) for name, text in found.said.items()})
    raise RigError("wrk ended without a count of what it was answered", printed[-5:])


def _words(body: str) -> str:
    """Return what a body says is wrong, where Vault has written it; else its beginning."""
    try:
        errors: Any = json.loads(body).get("errors")
    except (ValueError, AttributeError):
        errors = None
    said = "; ".join(map(str, errors)) if isinstance(errors, list) else body
    return redact(" ".join(said.split()))


def spread(seconds: Sequence[float]) -> dict[str, float]:
    """Return of *seconds* that things took what most took at most, in milliseconds: p50, p95, p99, max."""
    ranked = sorted(seconds)
    if not ranked:
        return {}
    places = {"p50": 50, "p95": 95, "p99": 99, "max": 100}
    at = {name: max(0, -(-len(ranked) * part // 100) - 1) for name, part in places.items()}
    return {name: round(ranked[place] * 1000, 3) for name, place in at.items()}
