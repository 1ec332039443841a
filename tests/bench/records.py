"""Records as long as one likes, grown from the record of a real run by repeating what was asked and answered in it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from harness.record import journal
from harness.record.numbering import Numbers

Line = dict[str, Any]
Shape = Literal["apps", "rounds"]
"""apps: one app becomes many, each asked once at every moment, all with the same cause. rounds: the one app is asked
over and over at every moment, each time for another item."""

SEED: Final = Path(__file__).parent.parent / "records" / "the-hop-that-breaks-is-found-on-a-path-of-many.jsonl"
_APP: Final = "web"
_EVIDENCE: Final = frozenset({"vault-audit", "vault-log", "api-audit", "api-log"})
_CORRELATION: Final = "x-rehearsal-id"


def grow(directory: Path, observations: int, shape: Shape) -> int:
    """Write a record with at least *observations* of that *shape* into *directory* and return how many it has."""
    lines = [msgspec.json.decode(line) for line in SEED.read_bytes().splitlines()]
    asked = [line for line in lines if line["event"] == "observation" and (line["app"] or shape == "rounds")]
    crowd = _Crowd(shape, -(-observations // len(asked)))
    directory.mkdir(parents=True)
    numbers = Numbers()
    with (directory / journal.RECORD_FILE).open("wb") as file:
        for line in crowd.of(lines):
            file.write(numbers.line(msgspec.json.encode(line).decode(), last=line["event"] == "run-ended"))
    return crowd.observations


class _Crowd:
    """A record's lines as they would be, had there been *size* of what was asked."""

    def __init__(self, shape: Shape, size: int) -> None:
        self._shape, self._size = shape, size
        self.observations = 0

    def of(self, lines: list[Line]) -> Iterator[Line]:
        """Yield the lines of the long record, moment by moment."""
        yield self._start(lines[0])
        later = 0.0
        for line in lines[1:]:
            if line["event"] == "token-issued" and line["purpose"].endswith(f":{_APP}"):
                yield from ({**line, "purpose": line["purpose"] + self._name(k)} for k in self._copies())
            elif line["event"] not in {"observation", *_EVIDENCE}:
                yield line
            if line["event"] == "moment":
                seen = [each for each in lines if each.get("moment") == line["moment"] and each is not line]
                span = _span(seen)
                yield from self._moment(seen, [later + copy * span for copy in self._copies()])
                later += self._size * span

    def _copies(self) -> range:
        return range(self._size)

    def _name(self, copy: int) -> str:
        """Return what makes the name of one copy's app different."""
        return f"-{copy}" if self._shape == "apps" else ""

    def _start(self, line: Line) -> Line:
        if self._shape == "rounds":
            return line
        apps = {f"{_APP}{self._name(k)}": line["scenario"]["apps"][_APP] for k in self._copies()}
        expected = [{**each, "app": app} for app in apps for each in line["scenario"]["expect"]]
        questions = [
            {**question, "app": app}
            for question in line["plan"]["questions"]
            for app in (apps if question["app"] else [""])
        ]
        scenario = {**line["scenario"], "apps": apps, "expect": expected}
        return {**line, "scenario": scenario, "plan": {**line["plan"], "questions": questions}}

    def _moment(self, lines: list[Line], later: list[float]) -> Iterator[Line]:
        """Yield a moment: the questions of every copy, each so much *later*, then what the servers wrote about them."""
        for copy in self._copies():
            yield from self._asked((line for line in self._part(lines, copy) if "id" in line), copy, later[copy])
        for copy in self._copies():
            for line in self._part(lines, copy):
                if line["event"] in _EVIDENCE:
                    yield _written(line, copy, later[copy])

    def _part(self, lines: list[Line], copy: int) -> list[Line]:
        """Return the lines that a copy has: what is asked of Vault as a whole is asked once a moment."""
        if self._shape == "rounds" or copy == 0:
            return lines
        general = {line["correlation"] for line in lines if line["event"] == "observation" and not line["app"]}
        return [line for line in lines if line.get("app") != "" and _correlation(line) not in general]

    def _asked(self, observations: Iterable[Line], copy: int, later: float) -> Iterator[Line]:
        first = {}
        for line in observations:
            self.observations += 1
            first[line["id"]] = self.observations
            changed = {**line, "id": self.observations, "blocked_by": first.get(line["blocked_by"])}
            changed["app"] = line["app"] and line["app"] + self._name(copy)
            changed["item"] = line["item"] if self._shape == "apps" else f"{line['item']}-{copy}"
            changed["correlation"] = line["correlation"] and f"{line['correlation']}-{copy}"
            if line["started"]:
                changed |= {"started": line["started"] + later, "ended": line["ended"] + later}
            yield changed


def _span(lines: Iterable[Line]) -> float:
    """Return for how long, in seconds, the questions among *lines* took, and a little more."""
    times: list[float] = [at for line in lines if line.get("started") for at in (line["started"], line["ended"])]
    return max(times) - min(times) + 1e-3


def _correlation(line: Line) -> str:
    headers = line.get("entry", {}).get("request", {}).get("headers", {})
    return str(headers.get(_CORRELATION, [""])[0])


def _written(line: Line, copy: int, later: float) -> Line:
    """Return what a server wrote as it would have written it of one copy."""
    changed = {**line, "at": line["at"] + later}
    if value := _correlation(line):
        headers = {_CORRELATION: [f"{value}-{copy}"]}
        changed["entry"] = {**line["entry"], "request": {**line["entry"]["request"], "headers": headers}}
    return changed
