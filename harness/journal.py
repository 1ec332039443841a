"""The append-only record of a run, which no secret ever enters, and the run directory it lives in.

One line of JSON an event, in the order things happened, written as they happen: a run that is cut off leaves a
record that says so by not ending. Judges read nothing else. Every line passes `secret.redact` on its way to disk.
"""

from __future__ import annotations

import gc
import itertools
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from sys import intern
from typing import IO, Any, Final, Literal, Self

import msgspec

from harness import secret
from harness.observation import Observation
from harness.plan import Plan
from harness.wait import Stopwatch, now

RECORD_VERSION: Final = 1
"""The number of this record format. A judge reads its own number and every older one."""

RECORD_FILE: Final = "record.jsonl"


class Event(msgspec.Struct, frozen=True, tag_field="event", kw_only=True):
    """Something that happened, and when (seconds since the epoch)."""

    at: float = 0.0


class RunStarted(Event, frozen=True, tag="run-started", kw_only=True):
    record_version: int
    tool_version: str
    run_id: str
    scenario_file: str
    scenario: dict[str, Any]
    """the scenario as JSON, with its written keys"""
    scenario_lines: dict[str, int] = {}
    """the line of each part in the scenario's file: "expect/0" -> 17"""
    plan: Plan
    command: tuple[str, ...] = ()
    """what repeats this run"""
    strict: bool = False
    """was the run told that latent findings fail it?"""
    machine: str = ""


class ArtifactUsed(Event, frozen=True, tag="artifact", kw_only=True):
    product: str
    version: str
    source: str
    sha256: str
    note: str = ""


class PhaseEnded(Event, frozen=True, tag="phase", kw_only=True):
    name: str
    seconds: float


class ClusterUp(Event, frozen=True, tag="cluster-up", kw_only=True):
    cluster: str
    version: str
    """what the API server itself answered"""
    issuer: str


class TokenIssued(Event, frozen=True, tag="token-issued", kw_only=True):
    """A service account token came to be. `token` is a keyed hash."""

    token: str
    cluster: str
    subject: str
    purpose: str
    pod: str = ""
    pod_uid: str = ""
    jti: str = ""
    issuer: str = ""
    audiences: tuple[str, ...] = ()
    issued: float = 0.0
    expires: float = 0.0


class ConfigWritten(Event, frozen=True, tag="config-written", kw_only=True):
    mount: str
    accessor: str
    version: str
    token_file: bool
    fields: dict[str, Any]
    """as sent; CA texts and tokens as their hashes"""


class RoleWritten(Event, frozen=True, tag="role-written", kw_only=True):
    mount: str
    role: str
    version: str
    fields: dict[str, Any]


class VaultServing(Event, frozen=True, tag="vault-serving", kw_only=True):
    """Vault is unsealed and active at a stage."""

    asked: str
    answered: str
    purpose: str
    token_file: bool


class PodReplaced(Event, frozen=True, tag="pod-replaced", kw_only=True):
    """Vault's Pod was replaced: the old one's bound token is dead."""

    cluster: str
    old_pod: str
    old_uid: str
    new_pod: str
    new_uid: str


class OldTokenRefused(Event, frozen=True, tag="old-token-refused", kw_only=True):
    """The API server itself refused the replaced Pod's token: no cache accepts it any more."""

    cluster: str
    pod: str
    seconds: float
    """since the Pod was deleted"""


class MomentBegan(Event, frozen=True, tag="moment", kw_only=True):
    moment: str
    version: str
    token_file: bool


class VaultAuditLine(Event, frozen=True, tag="vault-audit", kw_only=True):
    moment: str
    entry: dict[str, Any]


class VaultLogLine(Event, frozen=True, tag="vault-log", kw_only=True):
    moment: str
    level: str
    module: str
    message: str
    fields: dict[str, Any] = {}


class ApiAuditLine(Event, frozen=True, tag="api-audit", kw_only=True):
    """A TokenReview as the API server's audit log has it (level Metadata: never a token)."""

    moment: str
    cluster: str
    entry: dict[str, Any]


class ApiLogLine(Event, frozen=True, tag="api-log", kw_only=True):
    """Why an API server did not accept a bearer, in its own words."""

    moment: str
    cluster: str
    message: str


TroubleKind = Literal["died", "silent", "refused", "unreachable", "ours"]


class Trouble(Event, frozen=True, tag="trouble", kw_only=True):
    """Something that kept the run from going on."""

    kind: TroubleKind
    during: str
    """the phase"""
    after_swap: str = ""
    """the version that had just been put in place, if that is where it broke"""
    message: str
    log: tuple[str, ...] = ()


class Kept(Event, frozen=True, tag="kept", kw_only=True):
    """The system was left up when the run ended."""

    hints: tuple[str, ...]
    """how to talk to it, and how to end it"""


class RunEnded(Event, frozen=True, tag="run-ended", kw_only=True):
    """The run came to its end by itself. A record without this line was cut off."""

    left_behind: str = ""


AnyEvent = (
    RunStarted
    | ArtifactUsed
    | PhaseEnded
    | ClusterUp
    | TokenIssued
    | ConfigWritten
    | RoleWritten
    | VaultServing
    | PodReplaced
    | OldTokenRefused
    | MomentBegan
    | Observation
    | VaultAuditLine
    | VaultLogLine
    | ApiAuditLine
    | ApiLogLine
    | Trouble
    | Kept
    | RunEnded
)

_DECODER: Final = msgspec.json.Decoder(AnyEvent)
_WRITTEN_BY_SERVERS: Final = (VaultAuditLine, VaultLogLine, ApiAuditLine, ApiLogLine)

Follower = Callable[[AnyEvent], None]
"""Told of every event as it is written: progress for people."""


class Journal:
    """Writes a run down. Threads may write at once; every line is whole."""

    def __init__(self, directory: Path, follower: Follower = lambda _event: None) -> None:
        self.directory = directory
        self._follower = follower
        self._lock = threading.Lock()
        self._file: IO[bytes] | None = None
        self._next_id = 0

    @classmethod
    def opened(cls, directory: Path, follower: Follower = lambda _event: None) -> Self:
        """Make *directory* (0700) and an empty record in it (0600). Refuses a directory that holds a record."""
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        journal = cls(directory, follower)
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
            file.writelines(secret.redact(line) + "\n" for line in lines)

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


class Record:
    """Everything a run saw and did, in order.

    What the servers wrote is most of a long record, and judges look at little of it: `load` keeps those lines as they
    stand in the file, and each is decoded whenever somebody asks for it.
    """

    def __init__(self, events: Iterable[AnyEvent] = (), directory: str = "") -> None:
        self.directory = directory
        self._lines: list[AnyEvent | bytes] = []
        self._numbers: dict[type, list[int]] = {}
        for event in events:
            self.append(event)

    def append(self, event: AnyEvent, line: bytes = b"") -> None:
        """Put *event* at the end. Where its *line* is given, that is kept, and the event is not."""
        self._lines.append(line or event)
        self._numbers.setdefault(type(event), []).append(len(self._lines))

    def __len__(self) -> int:
        return len(self._lines)

    @property
    def events(self) -> tuple[AnyEvent, ...]:
        """Return all events. In a long record that is a lot: ask for the kinds that are wanted instead."""
        return tuple(self.event(number) for number in range(1, len(self) + 1))

    def event(self, number: int) -> AnyEvent:
        """Return one event by its line number, from 1."""
        line = self._lines[number - 1]
        return _DECODER.decode(line) if isinstance(line, bytes) else line

    def numbered(self, *kinds: type[Any]) -> Iterator[tuple[int, Any]]:
        """Yield the events of some kinds in order, each with its line number."""
        wanted = [numbers for kind, numbers in self._numbers.items() if issubclass(kind, kinds)]
        for number in sorted(itertools.chain.from_iterable(wanted)):
            yield number, self.event(number)

    def of(self, kind: type[Any]) -> list[Any]:
        """Return the events of one kind, in order."""
        return [event for _, event in self.numbered(kind)]

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


@contextmanager
def without_garbage_search() -> Iterator[None]:
    """Keep Python from searching for garbage: a long record is a million objects, none of which is any."""
    searching = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if searching:
            gc.enable()


@without_garbage_search()
def load(directory: Path) -> Record:
    """Return the record in *directory* (or the record file itself).

    A last line that was cut off in the middle is left out: the run was killed while writing it. Raises NotARecord
    with the line's number where any other line cannot be read.
    """
    file = directory / RECORD_FILE if directory.is_dir() else directory
    record = Record(directory=str(directory))
    try:
        with file.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                _read(line, number, file, record)
    except OSError as error:
        raise NotARecord(f"{file} cannot be read: {error.strerror}. A run directory holds a {RECORD_FILE}") from error
    if not len(record) or not isinstance(record.event(1), RunStarted):
        raise NotARecord(f"{file} does not begin with the start of a run")
    return record


def _read(line: bytes, number: int, file: Path, record: Record) -> None:
    if number == 1:
        _refuse_newer(file, line)
    if line == b"\n":
        return
    try:
        event = _DECODER.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        if line.endswith(b"\n"):
            raise NotARecord(f"{file}:{number}: this is no line of a record ({error})") from error
        return
    record.append(_sharing(event), line if isinstance(event, _WRITTEN_BY_SERVERS) else b"")


def _sharing(event: AnyEvent) -> AnyEvent:
    """Return *event*; of an observation, texts that thousands of others have as well are kept only once."""
    if not isinstance(event, Observation):
        return event
    return msgspec.structs.replace(
        event,
        probe=intern(event.probe),
        moment=intern(event.moment),
        version=intern(event.version),
        app=intern(event.app),
        mount=intern(event.mount),
        error=intern(event.error),
        subject=intern(event.subject),
    )


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
