"""How a record proves that it is whole: its lines are numbered, and the last one counts and digests those before it.

A line's number stands at its end, as a field `n` beside the event's own. The line that ends a run has two more:
`lines`, how many stand before it, and `sha256`, the digest of their bytes. This finds what was lost, doubled, shuffled,
torn, joined or changed by accident or by hand; whoever forges a whole record can forge its digest as well.
"""

from __future__ import annotations

import hashlib
import os
import re
from typing import IO, Final

_NUMBER: Final = re.compile(rb',"n":(\d{1,12})(?:,"lines":(\d{1,12}),"sha256":"([0-9a-f]{64})")?\}\n?\Z')
_LONGEST: Final = 128
"""No number with all that stands beside it is longer, in bytes."""
_LAST_LINE: Final = 2**16
"""The line that ends a run is shorter, in bytes."""
_CHUNK: Final = 2**20


class Numbers:
    """Numbers the lines of one record as they are written."""

    def __init__(self) -> None:
        self._written = 0
        self._digest = hashlib.sha256()

    def line(self, event: str, *, last: bool) -> bytes:
        """Return the line for *event*, which is a JSON object; the *last* one vouches for all before it."""
        seal = f',"lines":{self._written},"sha256":"{self._digest.hexdigest()}"' if last else ""
        self._written += 1
        line = f'{event[:-1]},"n":{self._written}{seal}}}\n'.encode()
        self._digest.update(line)
        return line


def is_numbered(line: bytes) -> bool:
    """Does *line* bear a number?"""
    return _NUMBER.search(line[-_LONGEST:]) is not None


def is_whole(file: IO[bytes]) -> bool:
    """Is *file*, a record from beginning to end, just as it was written? Then no line of it has to be looked at alone.

    What the last line vouches for are the bytes before it, their numbers included.
    """
    size = file.seek(0, os.SEEK_END)
    begin = max(0, size - _LAST_LINE)
    file.seek(begin)
    tail = file.read(_LAST_LINE)
    last = tail[tail.rfind(b"\n", 0, -1) + 1 :]
    found = _NUMBER.search(last[-_LONGEST:])
    if found is None or found[3] is None or int(found[2]) != int(found[1]) - 1:
        return False
    digest, left = hashlib.sha256(), size - len(last)
    file.seek(0)
    while left and (chunk := file.read(min(left, _CHUNK))):
        digest.update(chunk)
        left -= len(chunk)
    return not left and digest.hexdigest() == found[3].decode()


class Chain:
    """Follows the numbers of one record as its lines are read."""

    def __init__(self) -> None:
        self._next = 1
        self._digest = hashlib.sha256()
        self._lost = False
        self._sealed = False
        self._holes: list[str] = []

    def follows(self, line: bytes, place: int) -> bool:
        """May *line*, which is the one at *place* in its file, be read as the next? If not, none after it may be.

        Lines that are merely lost leave a hole, and the others are what they were; where the order is none any more,
        or a line is torn, nobody knows what the rest is worth.
        """
        if not self._sealed and line.endswith(b',"n":%d}\n' % self._next):
            self._next += 1
            self._digest.update(line)
            return True
        return self._goes_on(line, place)

    def told(self, *, ended: bool) -> tuple[str, ...]:
        """Return what is wrong with what was read, as sentences; *ended* says that the end of the run is in it."""
        if ended and not self._sealed:
            self._holes.append("the record's last line does not say how many lines stand before it")
        return tuple(self._holes)

    def torn(self, place: int) -> None:
        """Note that the line at *place* is torn: only what stands before it is judged."""
        self._holes.append(f"line {place} of the record is torn, and only what stands before it could be judged")

    def _goes_on(self, line: bytes, place: int) -> bool:
        found = _NUMBER.search(line[-_LONGEST:])
        if found is None:
            if line.endswith(b"\n"):
                self.torn(place)
            return False  # a torn last line: the run was cut off, and its record does not end
        number = int(found[1])
        if self._sealed or number < self._next:
            what = "after the end of the run" if self._sealed else f"where line {self._next} was to come"
            self._holes.append(
                f"line {place} of the record is numbered {number} and stands {what}: lines were shuffled or doubled, "
                "or another record was joined to this one; only what stands before it could be judged"
            )
            return False
        if number > self._next:
            self._lost = True
            gap = f"line {self._next} is" if number == self._next + 1 else f"lines {self._next} to {number - 1} are"
            self._holes.append(f"{gap} missing from the record")
        self._next = number + 1
        if found[3] is not None:
            self._vouch(int(found[2]), found[3].decode(), number)
        self._digest.update(line)
        return True

    def _vouch(self, lines: int, digest: str, number: int) -> None:
        self._sealed = True
        if lines != number - 1:
            self._holes.append(f"the record's last line counts {lines} lines before it, and is numbered {number}")
        elif not self._lost and digest != self._digest.hexdigest():
            self._holes.append(
                "the record is not as it was written: its lines have another digest than its last one says"
            )
