"""What was appended to a log file since the last look, line by line."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import Any, Final

_CRI: Final = re.compile(r"\d{4}-\d\d-\d\dT\S+ (?P<stream>stdout|stderr) (?P<tag>[FP]) (?P<text>.*)", re.DOTALL)
_KLOG: Final = re.compile(r"[IWEF](\d\d)(\d\d) (\d\d):(\d\d):(\d\d)\.(\d{6})")


class Tail:
    """Reads a growing file from where it last stopped. A file that is not there yet has no lines."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.zone: tzinfo | None = None
        """of the local times in it; None is that of this machine"""
        self._offset = self._began = 0

    def begin_anew(self) -> None:
        """Pass over all that is there: it is nobody's any more."""
        self.lines()
        self._began = self._offset

    def everything(self) -> list[str]:
        """Return all lines since the beginning, whoever has read them. Raises OSError where there is no such file."""
        with self.path.open("rb") as file:
            file.seek(self._began)
            return file.read().decode(errors="replace").splitlines()

    def lines(self) -> list[str]:
        """Return the whole lines that were written since the last call; an unfinished one waits for the next."""
        try:
            with self.path.open("rb") as file:
                file.seek(self._offset)
                content = file.read()
        except FileNotFoundError:
            return []
        whole = content[: content.rfind(b"\n") + 1]
        self._offset += len(whole)
        # Not splitlines(): a form feed or U+0085 inside a line is text, and would tear a JSON line in two.
        return [line.removesuffix("\r") for line in whole.decode(errors="replace").split("\n")[:-1]]


class Pieces:
    """Puts together what a container printed, of the pieces in which a kubelet's runtime keeps long lines."""

    def __init__(self) -> None:
        self._begun = {"stdout": "", "stderr": ""}

    def whole(self, lines: Iterable[str]) -> list[str]:
        """Return the lines that are whole with *lines* of the runtime's file; what is no such line is left out."""
        found = []
        for line in lines:
            match = _CRI.match(line)
            if match is None:
                continue
            self._begun[match["stream"]] += match["text"]
            if match["tag"] == "F":
                found.append(self._begun[match["stream"]])
                self._begun[match["stream"]] = ""
        return found


class PodTail(Tail):
    """Reads what a container of a Pod printed, from the file in which a kubelet's runtime keeps it."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.zone = UTC
        self._pieces = Pieces()

    def lines(self) -> list[str]:
        """Return the lines that the container printed; the words of whoever copies the file are left out."""
        return self._pieces.whole(super().lines())


def as_json(line: str) -> dict[str, Any] | None:
    """Return the JSON object that *line* is, or None: servers also write stack traces and banners."""
    if not line.startswith("{"):
        return None
    try:
        value = json.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def seconds_of(timestamp: str) -> float:
    """Return an RFC 3339 time in seconds since the epoch, or 0 where it is none."""
    try:
        return datetime.fromisoformat(timestamp).timestamp()
    except ValueError:
        return 0.0


def as_time(at: float) -> str:
    """Return seconds since the epoch as an RFC 3339 time in UTC."""
    return datetime.fromtimestamp(at, UTC).isoformat().replace("+00:00", "Z")


def klog_seconds(line: str, near: float, zone: tzinfo | None = None) -> float:
    """Return the time of a Kubernetes log line in seconds since the epoch, or *near* where it has none.

    Such a line has a month, a day and the server's local time (in *zone*; left out, this machine's), and no year: it is
    the year in which that is nearest.
    """
    match = _KLOG.match(line)
    if match is None:
        return near
    month, day, hour, minute, second, micro = (int(part) for part in match.groups())
    this_year = datetime.fromtimestamp(near, zone).astimezone(zone).year
    candidates: list[float] = []
    for year in (this_year - 1, this_year, this_year + 1):
        try:
            moment = datetime(year, month, day, hour, minute, second, micro, zone).astimezone()
        except ValueError:  # the 29th of February is not in every year
            continue
        candidates.append(moment.timestamp())
    return min(candidates, key=lambda at: abs(at - near), default=near)
