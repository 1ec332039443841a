"""The append-only record of a run, which no secret ever enters, and the run directory it lives in.

One line of JSON an event, in the order things happened, written as they happen: a run that is cut off leaves a
record that says so by not ending. Judges read nothing else. Every line passes `secret.redact` on its way to disk, and
is numbered: `numbering` says how a record proves that nothing of it is lost.
"""

from __future__ import annotations

import functools
import gc
import itertools
import os
import re
import stat
import tempfile
import threading
import weakref
from array import array
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from sys import intern
from typing import IO, Any, Final, Self

import msgspec

from harness import secret, settings
from harness.errors import HarnessError, naming
from harness.record.event import Event
from harness.record.events import (
    RECORD_VERSION,
    AnyEvent,
    ApiAuditLine,
    ApiLogLine,
    PhaseEnded,
    ProofsBegun,
    RunEnded,
    RunStarted,
    VaultAuditLine,
    VaultLogLine,
)
from harness.record.numbering import Chain, Numbers, is_numbered, is_whole
from harness.record.observation import Observation
from harness.secret import Secrets
from harness.wait import Stopwatch, now

RECORD_FILE: Final = "record.jsonl"
PROOFS: Final = "proofs"
"""The folder beside a record in which those of the runs are that tried its remedies."""

_LINES_AT_ONCE: Final = 1000

_LONGEST_LINE: Final = 32 * 2**20
"""Bytes. No run writes a longer line: the longest is the first, which has the plan of all questions."""
_START: Final = b'{"event":"run-started",'

_DECODER: Final = msgspec.json.Decoder(AnyEvent)
_WRITTEN_BY_SERVERS: Final = (VaultAuditLine, VaultLogLine, ApiAuditLine, ApiLogLine)
_FromServer = VaultAuditLine | VaultLogLine | ApiAuditLine | ApiLogLine
_CORRELATION: Final = "x-rehearsal-id"
_LOGIN: Final = re.compile(r"auth/(.+)/login")

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
        self._numbers = Numbers()
        self._broken: OSError | None = None
        self._next_id = 0
        self.secrets = Secrets()
        """of this run: what is met while this journal is open in a `with`"""
        self._opened = ExitStack()

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
        """Append *event*, redacted and stamped with the time unless it carries one.

        Raises OSError where the line cannot be written as a whole. Nothing of it stays in the record then, and nothing
        comes after it: each further event raises as well.
        """
        if isinstance(event, Event) and not event.at:
            event = msgspec.structs.replace(event, at=now())
        line = secret.redact(_spared(msgspec.json.encode(event).decode()), self.secrets)
        with self._lock:
            if self._file is not None:
                self._append(self._file.fileno(), self._numbers.line(line, last=isinstance(event, RunEnded)))
        self._follower(event)

    def _append(self, descriptor: int, line: bytes) -> None:
        """Write the whole of *line*, or nothing: a disk that fills up takes a part of what it is given."""
        if self._broken is not None:
            said = f"{self._broken.strerror}, at a line before this one"
            raise OSError(self._broken.errno, said, self._broken.filename)
        written = 0
        try:
            with naming(self.directory / RECORD_FILE):
                while written < len(line):
                    written += os.write(descriptor, line[written:])
        except OSError as error:
            self._broken = error
            if written:
                with suppress(OSError):
                    os.ftruncate(descriptor, os.fstat(descriptor).st_size - written)
            raise

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
        with naming(folder / name), os.fdopen(descriptor, "w", encoding="utf-8") as file:
            # Many lines at a time: with the secrets of thirty clusters, one by one takes seconds at the end of a run.
            for start in range(0, len(lines), _LINES_AT_ONCE):
                part = "\n".join(lines[start : start + _LINES_AT_ONCE])
                file.write(secret.redact(part, self.secrets) + "\n")

    def close(self) -> None:
        """Close the file. Writing afterwards only tells the follower."""
        with self._lock:
            if self._file is not None:
                self._file.close()
                self._file = None

    def __enter__(self) -> Self:
        """Have the secrets that this thread meets from here on be those of this run."""
        self._opened.enter_context(self.secrets.open())
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        """Close the file, and drop the secrets; with an *error* that is under way they go when that is gone."""
        self.close()
        self._opened.close()
        if error is None:
            self.secrets.forget()
        else:
            # whoever prints it works for no run any more, and so knows the secrets of all that are left
            error.__dict__["of_run"] = self.secrets


_OF_THE_ONLY_ONE: Final = re.compile(r'^(\{"event":"[a-z-]+","at":[^,"]+),"vault":"","node":""')
_EMPTY: Final = (',"at_first":""}', ',"through":"","asked_of":"","at_leader":""}', ',"answers":{}}')
_ASKED_THE_ONLY_ONE: Final = ',"vault":"","node":""}'


def _spared(line: str) -> str:
    """Return an event's line without what is empty in most: a first answer, the way, the count of answers, which Vault.

    So it is of a question that was asked once, of the only Vault and of its only node.
    """
    for empty in _EMPTY:
        if line.endswith(empty):
            line = line.removesuffix(empty) + "}"
    if line.endswith(_ASKED_THE_ONLY_ONE):
        return line.removesuffix(_ASKED_THE_ONLY_ONE) + "}"
    return _OF_THE_ONLY_ONE.sub(r"\1", line, count=1)


class ServerLine(msgspec.Struct, frozen=True, gc=False):
    """Of a line that a server wrote: all that is needed to find the question it belongs to."""

    kind: type[Any]
    at: float = 0.0
    moment: str = ""
    cluster: str = ""
    module: str = ""
    correlation: str = ""
    """the header that names the question in Vault's audit log, or nothing where it has none"""
    vault: str = ""
    node: str = ""
    mount: str = ""
    """the auth mount whose answer to a login Vault has audited, or nothing where it is another answer"""


def _server_line(event: _FromServer) -> ServerLine:
    if isinstance(event, VaultAuditLine):
        moment, vault, node, mount = map(intern, (event.moment, event.vault, event.node, _login_at(event.entry)))
        header = correlation(event.entry)
        return ServerLine(VaultAuditLine, event.at, moment, correlation=header, vault=vault, node=node, mount=mount)
    if isinstance(event, VaultLogLine):
        moment, module, vault, node = map(intern, (event.moment, event.module, event.vault, event.node))
        return ServerLine(VaultLogLine, event.at, moment, module=module, vault=vault, node=node)
    return ServerLine(type(event), event.at, intern(event.moment), intern(event.cluster))


def _login_at(entry: Mapping[str, Any]) -> str:
    """Return the auth mount at which Vault's audit *entry* is of a login by a token, or nothing."""
    request = entry.get("request")
    path = request.get("path") if isinstance(request, dict) else None
    found = _LOGIN.fullmatch(path) if isinstance(path, str) else None
    return found[1] if found else ""


def correlation(entry: Mapping[str, Any]) -> str:
    """Return by what Vault's audit *entry* is joined to a request of ours, or "" where that is none of ours."""
    request = entry.get("request")
    headers = request.get("headers") if isinstance(request, dict) else None
    for name, values in headers.items() if isinstance(headers, dict) else ():
        if name.lower() == _CORRELATION:
            return str(values[0]) if values and isinstance(values, list) else ""
    return ""


class Record:
    """Everything a run saw and did, in order.

    What the servers wrote is most of a long record, and judges look at little of it: `load` keeps a slip of each of
    those lines, and the line is read from the file whenever somebody asks for it. The file stays open for that as long
    as the record lives, so it may be moved or deleted meanwhile.
    """

    def __init__(self, events: Iterable[AnyEvent] = (), directory: str = "") -> None:
        self.directory = directory
        self.holes: tuple[str, ...] = ()
        """what of the record is lost, torn, or not where it was, as sentences; always nothing up to format 1"""
        self.proofs: dict[str, Record] = {}
        """the records of the runs that tried its remedies, by their directories in `proofs/`"""
        self._lines: list[AnyEvent | ServerLine] = []
        self._numbers: defaultdict[type, list[int]] = defaultdict(list)
        self._file = -1
        self._ends = array("Q", [0])
        for number, event in enumerate(events, 1):
            self._lines.append(event)
            self._numbers[type(event)].append(number)

    def fill(self, lines: IO[bytes], name: Path, chain: Chain | None) -> None:
        """Put every line of a record's file, open at its beginning, into this record, which has none yet.

        *chain* follows the lines' numbers; None where they have none, or where all is known to be in order. Raises
        NotARecord as `load` does; *name* is what it calls the file. The caller closes the file: this record has a
        descriptor of its own, which it closes when it is gone.
        """
        self._file = os.dup(lines.fileno())
        weakref.finalize(self, os.close, self._file)
        # Nothing else of judging is done as often as these lines: they call as little as they can.
        decode, keep, ends_at, end = _DECODER.decode, self._lines.append, self._ends.append, 0
        for number, line in enumerate(iter(functools.partial(lines.readline, _LONGEST_LINE + 1), b""), 1):
            end += len(line)
            if line == b"\n":
                continue
            if len(line) > _LONGEST_LINE:
                raise NotARecord(f"{name}:{number}: no run writes a line of more than {_LONGEST_LINE // 2**20} MiB")
            try:
                if chain is not None and not chain.follows(line, number):
                    break
                event = decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                if chain is not None and not _is_json(line):
                    chain.torn(number)
                elif line.endswith(b"\n"):
                    raise NotARecord(f"{name}:{number}: this is no line of a record ({error})") from error
                break
            kind = type(event)
            if kind is Observation:
                _share(event)
            keep(_server_line(event) if kind in _WRITTEN_BY_SERVERS else event)
            ends_at(end)
            self._numbers[kind].append(len(self._lines))
        self.holes = chain.told(ended=self.ended) if chain is not None else ()

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
        if not isinstance(kept, ServerLine):
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

    def server_lines(self) -> Iterator[tuple[int, ServerLine]]:
        """Yield the slip of every line that a server wrote, in order, each with its line number."""
        for number in self.numbers(*_WRITTEN_BY_SERVERS):
            kept: Any = self._lines[number - 1]
            yield number, kept if isinstance(kept, ServerLine) else _server_line(kept)

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

    def __reduce__(self) -> tuple[Callable[..., Record], tuple[object, ...]]:
        """A record that was read from a file takes its bytes along: where it arrives, that file may not be."""
        if self._file < 0:
            return _of_events, (self.events, self.directory, self.holes, self.proofs)
        return _of_bytes, (os.pread(self._file, self._ends[-1], 0), self.directory, self.holes, self.proofs)

    @property
    def ended(self) -> bool:
        """Did the run come to its end by itself?"""
        return RunEnded in self._numbers


def _of_events(events: Sequence[AnyEvent], directory: str, holes: tuple[str, ...], proofs: dict[str, Record]) -> Record:
    record = Record(events, directory)
    record.holes, record.proofs = holes, proofs
    return record


def _of_bytes(content: bytes, directory: str, holes: tuple[str, ...], proofs: dict[str, Record]) -> Record:
    """Return the record whose sound lines are *content*."""
    record = Record(directory=directory)
    with tempfile.TemporaryFile() as file:
        file.write(content)
        file.seek(0)
        record.fill(file, Path(directory), None)
    record.holes, record.proofs = holes, proofs
    return record


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
    """Return the record in *directory* (or the record file itself), with those of the runs that tried its remedies.

    A last line that was cut off in the middle is left out: the run was killed while writing it. Lines of a numbered
    record that are lost, torn or out of order are told in its `holes`. Raises NotARecord with the line's number where
    any other line cannot be read. The file stays open as long as the record lives.
    """
    record = _loaded(directory)
    beside = (directory if directory.is_dir() else directory.parent) / PROOFS
    for told in record.of(ProofsBegun):
        for name in told.proofs:
            if Path(name).name == name:
                # one that is none is left out, and its proof with it
                with suppress(NotARecord):
                    record.proofs[name] = _loaded(beside / name)
    return record


def _loaded(directory: Path) -> Record:
    file = directory / RECORD_FILE if directory.is_dir() else directory
    record = Record(directory=str(directory))
    try:
        # a pipe would be waited for, and a device never ends: neither is opened to be read
        with os.fdopen(os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as lines:
            if not stat.S_ISREG(os.fstat(lines.fileno()).st_mode):
                raise NotARecord(f"{file} is no file. A run directory holds a {RECORD_FILE}")
            first = lines.readline(_LONGEST_LINE)
            numbered = _refuse_newer(file, first) > 1 or is_numbered(first)
            chain = Chain() if numbered and not is_whole(lines) else None
            lines.seek(0)
            record.fill(lines, file, chain)
            if numbered and not (len(record) and isinstance(record.event(1), RunStarted)):
                lines.seek(0)
                record = _only_start(lines, directory)
    except OSError as error:
        raise NotARecord(f"{file} cannot be read: {error.strerror}. A run directory holds a {RECORD_FILE}") from error
    if not len(record) or not isinstance(record.event(1), RunStarted):
        raise NotARecord(f"{file} does not begin with the start of a run")
    return record


def _only_start(lines: IO[bytes], directory: Path) -> Record:
    """Return of a record that was shuffled what it was to be a record of, and that nothing else of it can be judged."""
    for line in iter(functools.partial(lines.readline, _LONGEST_LINE + 1), b""):
        if line.startswith(_START):
            with suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                record = Record([_DECODER.decode(line)], str(directory))
                record.holes = ("the record does not begin with its first line: its lines were shuffled",)
                return record
    return Record(directory=str(directory))


def _is_json(line: bytes) -> bool:
    """Is *line* whole, whatever stands in it? A decoder of events may stumble over a part of it before it sees that."""
    try:
        msgspec.json.decode(line)
    except RecursionError:
        return True
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
    return True


def _share(seen: Observation) -> None:
    """Keep texts that thousands of other observations have as well only once. Nobody else has *seen* yet."""
    for name in ("probe", "moment", "version", "app", "mount", "error", "subject", "vault", "node"):
        if text := getattr(seen, name):
            msgspec.structs.force_setattr(seen, name, intern(text))


class _Format(msgspec.Struct):
    """What the first line says of the format, whichever release wrote it."""

    record_version: int = 0


def _refuse_newer(file: Path, first: bytes) -> int:
    """Return the format that the first line names, or 0.

    Raises NotARecord for a newer one, before its lines are read: what we cannot read in them is not broken.
    """
    try:
        written = msgspec.json.decode(first, type=_Format).record_version
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return 0
    if written > RECORD_VERSION:
        raise NotARecord(
            f"{file} has record format {written}; this release reads up to {RECORD_VERSION}: "
            "judge it with the release that wrote it, or a newer one"
        )
    return written
