"""The append-only record of a run, which no secret ever enters, and the run directory it lives in.

One line of JSON an event, in the order things happened, written as they happen: a run that is cut off leaves a
record that says so by not ending. Judges read nothing else. Every line passes `secret.redact` on its way to disk.
"""

from __future__ import annotations

import gc
import itertools
import os
import threading
import weakref
from array import array
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from sys import intern
from typing import IO, Any, Final, Self

import msgspec

from harness import secret, settings
from harness.errors import HarnessError
from harness.events import (
    RECORD_VERSION,
    AnyEvent,
    ApiAuditLine,
    ApiLogLine,
    Event,
    PhaseEnded,
    RunEnded,
    RunStarted,
    VaultAuditLine,
    VaultLogLine,
)
from harness.observation import Observation
from harness.wait import Stopwatch, now

RECORD_FILE: Final = "record.jsonl"
_LINES_AT_ONCE: Final = 1000


_DECODER: Final = msgspec.json.Decoder(AnyEvent)
_WRITTEN_BY_SERVERS: Final = (VaultAuditLine, VaultLogLine, ApiAuditLine, ApiLogLine)
_FromServer = VaultAuditLine | VaultLogLine | ApiAuditLine | ApiLogLine
_CORRELATION: Final = "x-rehearsal-id"

Follower = Callable[[AnyEvent], None]
"""Told of every event as it is written: progress for people."""

Began = Callable[[str], None]
"""Told of every phase that begins, by its name. Nobody writes that down, because its end says all."""


class Journal:
    """Writes a run down. Threads may write at once; every line is whole."""

    def __init__(
        self, directory: Path, follower: Follower = lambda _event: None, began: Began = lambda _name: None
    ) -> None:
        self.directory = directory
        self._follower = follower
        self._began = began
        self._lock = threading.Lock()
        self._file: IO[bytes] | None = None
        self._next_id = 0

    @classmethod
    def opened(
        cls, directory: Path, follower: Follower = lambda _event: None, began: Began = lambda _name: None
    ) -> Self:
        """Make *directory* (0700) and an empty record in it (0600). Refuses a directory that holds a record."""
        settings.made(directory)
        journal = cls(directory, follower, began)
        descriptor = os.open(directory / RECORD_FILE, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        journal._file = os.fdopen(descriptor, "wb", buffering=0)
        return journal

    def write(self, event: AnyEvent) -> None:
        """Append *event*, redacted and stamped with the time unless it carries one."""
        if isinstance(event, Event) and not event.at:
            event = msgspec.structs.replace(event, at=now())
        line = secret.redact(msgspec.json.encode(event).decode())
        with self._lock:
            if self._file is not None:
                self._file.write(line.encode() + b"\n")
        self._follower(event)

    def next_id(self) -> int:
        """Return the number of the next observation, unique in this record."""
        with self._lock:
            self._next_id += 1
            return self._next_id

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Write down how long the body took, however it ends."""
        watch = Stopwatch()
        self._began(name)
        try:
            yield
        finally:
            self.write(PhaseEnded(name=name, seconds=round(watch.seconds, 3)))

    def keep(self, name: str, lines: Sequence[str]) -> None:
        """Keep a server's log, redacted, as logs/<name> beside the record."""
        folder = self.directory / "logs"
        folder.mkdir(mode=0o700, exist_ok=True)
        descriptor = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            # Many lines at a time: with the secrets of thirty clusters, one by one takes seconds at the end of a run.
            for start in range(0, len(lines), _LINES_AT_ONCE):
                file.write(secret.redact("\n".join(lines[start : start + _LINES_AT_ONCE])) + "\n")

    def close(self) -> None:
        """Close the file. Writing afterwards only tells the follower."""
        with self._lock:
            if self._file is not None:
                self._file.close()
                self._file = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


class Slip(msgspec.Struct, frozen=True, gc=False):
    """Of a line that a server wrote: all that is needed to find the question it belongs to."""

    kind: type[Any]
    at: float = 0.0
    moment: str = ""
    cluster: str = ""
    module: str = ""
    correlation: str = ""
    """the header that names the question in Vault's audit log, or nothing where it has none"""


def _slip(event: _FromServer) -> Slip:
    if isinstance(event, VaultAuditLine):
        return Slip(VaultAuditLine, correlation=correlation(event.entry))
    if isinstance(event, VaultLogLine):
        return Slip(VaultLogLine, event.at, intern(event.moment), module=intern(event.module))
    return Slip(type(event), event.at, intern(event.moment), intern(event.cluster))


def correlation(entry: Mapping[str, Any]) -> str:
    """Return by what Vault's audit *entry* is joined to a request of ours, or "" where that is none of ours."""
    headers = (entry.get("request") or {}).get("headers") or {}
    for name, values in headers.items():
        if name.lower() == _CORRELATION:
            return str(values[0]) if values else ""
    return ""


class Record:
    """Everything a run saw and did, in order.

    What the servers wrote is most of a long record, and judges look at little of it: `load` keeps a slip of each of
    those lines, and the line is read from the file whenever somebody asks for it. The file stays open for that as long
    as the record lives, so it may be moved or deleted meanwhile.
    """

    def __init__(self, events: Iterable[AnyEvent] = (), directory: str = "") -> None:
        self.directory = directory
        self._lines: list[AnyEvent | Slip] = []
        self._numbers: defaultdict[type, list[int]] = defaultdict(list)
        self._file = -1
        self._ends = array("Q", [0])
        for number, event in enumerate(events, 1):
            self._lines.append(event)
            self._numbers[type(event)].append(number)

    def fill(self, lines: IO[bytes], name: Path) -> None:
        """Put every line of a record's file, open at its beginning, into this record, which has none yet.

        Raises NotARecord as `load` does; *name* is what it calls the file. The caller closes the file: this record has
        a descriptor of its own, which it closes when it is gone.
        """
        self._file = os.dup(lines.fileno())
        weakref.finalize(self, os.close, self._file)
        # Nothing else of judging is done as often as these lines: they call as little as they can.
        decode, keep, ends_at, end = _DECODER.decode, self._lines.append, self._ends.append, 0
        for number, line in enumerate(lines, 1):
            end += len(line)
            if line == b"\n":
                continue
            try:
                event = decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                if line.endswith(b"\n"):
                    raise NotARecord(f"{name}:{number}: this is no line of a record ({error})") from error
                break
            kind = type(event)
            if kind is Observation:
                _share(event)
            keep(_slip(event) if kind in _WRITTEN_BY_SERVERS else event)
            ends_at(end)
            self._numbers[kind].append(len(self._lines))

    def __len__(self) -> int:
        return len(self._lines)

    @property
    def events(self) -> tuple[AnyEvent, ...]:
        """Return all events. In a long record that is a lot: ask for the kinds that are wanted instead."""
        return tuple(self.event(number) for number in range(1, len(self) + 1))

    def event(self, number: int) -> AnyEvent:
        """Return one event by its line number, from 1.

        Raises RecordChanged where the line has to be read, and is not there any more as it was when it was loaded.
        """
        kept = self._lines[number - 1]
        if not isinstance(kept, Slip):
            return kept
        begin, end = self._ends[number - 1], self._ends[number]
        try:
            event: AnyEvent = _DECODER.decode(os.pread(self._file, end - begin, begin))
            return event
        except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
            raise RecordChanged(
                f"event {number} of the record in {self.directory} cannot be read again ({error}): "
                "something wrote to it while it was judged; judge it again, or a copy of it"
            ) from error

    def slips(self) -> Iterator[tuple[int, Slip]]:
        """Yield the slip of every line that a server wrote, in order, each with its line number."""
        for number in self.numbers(*_WRITTEN_BY_SERVERS):
            kept: Any = self._lines[number - 1]
            yield number, kept if isinstance(kept, Slip) else _slip(kept)

    def numbered(self, *kinds: type[Any]) -> Iterator[tuple[int, Any]]:
        """Yield the events of some kinds in order, each with its line number."""
        for number in self.numbers(*kinds):
            yield number, self.event(number)

    def numbers(self, *kinds: type[Any]) -> Sequence[int]:
        """Return the line numbers of the events of some kinds, in order."""
        wanted = [numbers for kind, numbers in self._numbers.items() if issubclass(kind, kinds)]
        return wanted[0] if len(wanted) == 1 else sorted(itertools.chain.from_iterable(wanted))

    def of(self, kind: type[Any]) -> list[Any]:
        """Return the events of one kind, in order."""
        return [self.event(number) for number in self.numbers(kind)]

    @property
    def started(self) -> RunStarted:
        """Return the first event, which says what was to be run."""
        started: RunStarted = self.of(RunStarted)[0]
        return started

    @property
    def ended(self) -> bool:
        """Did the run come to its end by itself?"""
        return RunEnded in self._numbers


class NotARecord(ValueError):
    """A directory or file that is no record, or one of a format this release does not read."""


class RecordChanged(HarnessError):
    """A record's file is not any more what it was when it was loaded."""


@contextmanager
def without_garbage_search() -> Iterator[None]:
    """Keep Python from searching for garbage: a long record is a million objects, none of which is any.

    What was made meanwhile counts as old afterwards, or the next search would begin with all of it.
    """
    searching = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if searching:
            gc.freeze()
            gc.unfreeze()
            gc.enable()


@without_garbage_search()
def load(directory: Path) -> Record:
    """Return the record in *directory* (or the record file itself).

    A last line that was cut off in the middle is left out: the run was killed while writing it. Raises NotARecord
    with the line's number where any other line cannot be read. The file stays open as long as the record lives.
    """
    file = directory / RECORD_FILE if directory.is_dir() else directory
    record = Record(directory=str(directory))
    try:
        with file.open("rb") as lines:
            _refuse_newer(file, lines.readline())
            lines.seek(0)
            record.fill(lines, file)
    except OSError as error:
        raise NotARecord(f"{file} cannot be read: {error.strerror}. A run directory holds a {RECORD_FILE}") from error
    if not len(record) or not isinstance(record.event(1), RunStarted):
        raise NotARecord(f"{file} does not begin with the start of a run")
    return record


def _share(seen: Observation) -> None:
    """Keep texts that thousands of other observations have as well only once. Nobody else has *seen* yet."""
    for name in ("probe", "moment", "version", "app", "mount", "error", "subject"):
        if text := getattr(seen, name):
            msgspec.structs.force_setattr(seen, name, intern(text))


class _Format(msgspec.Struct):
    """What the first line says of the format, whichever release wrote it."""

    record_version: int = 0


def _refuse_newer(file: Path, first: bytes) -> None:
    """Refuse a newer format before its lines are read: what we cannot read in them is not broken."""
    try:
        written = msgspec.json.decode(first, type=_Format).record_version
    except (msgspec.DecodeError, UnicodeDecodeError):
        return
    if written > RECORD_VERSION:
        raise NotARecord(
            f"{file} has record format {written}; this release reads up to {RECORD_VERSION}: "
            "judge it with the release that wrote it, or a newer one"
        )
