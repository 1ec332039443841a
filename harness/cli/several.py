"""Several scenarios, each rehearsed by a process of its own, and all of them reported as one.

What one learns of secrets, or leaves behind, is none of the others'. Each of these processes ends its servers and then
itself as soon as this one is gone, however it went: it reads from a pipe that nobody else holds.
"""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final, Protocol

import click

import harness
from harness import settings
from harness.cli import output
from harness.cli.output import tell, write
from harness.cli.reporting import Form, annotate, rendered, write_files
from harness.wait import Stopwatch

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

    from markupsafe import Markup

    from harness.analysis.verdict import Judgement
    from harness.cli.progress import Progress
    from harness.record.journal import Record
    from harness.reports.table import Row

_LOOK_SECONDS: Final = 0.2
_GOODBYE_SECONDS: Final = 120.0
"""How long an interrupted rehearsal may take to end its servers; then it is killed, and its supervisor ends them."""

_LAST_LINES: Final = 12


class How(Protocol):
    """How all of them are rehearsed."""

    def words(self) -> list[str]:
        """Return it as options."""

    def environment(self) -> dict[str, str]:
        """Return what no command line may show."""


def search(paths: Sequence[Path]) -> list[Path]:
    """Return the scenario files that *paths* name, those below directories included, each once and in order.

    Raises UsageError for a directory without any.
    """
    files: dict[Path, None] = {}
    for path in paths:
        if not path.is_dir():
            files[path] = None
            continue
        below = sorted(file for file in path.rglob("*.yaml") if file.is_file())
        if not below:
            raise click.UsageError(f"{path}: there is no *.yaml below this directory")
        files.update(dict.fromkeys(below))
    return list(files)


@dataclass
class Task:
    """One rehearsal: what it is of, where its record goes, and how it goes."""

    scenario: Path
    directory: Path
    process: subprocess.Popen[bytes] | None = None
    watch: Stopwatch | None = None
    seconds: float = 0.0
    lines: deque[str] = field(default_factory=lambda: deque(maxlen=_LAST_LINES))
    rest: bytes = b""

    @property
    def name(self) -> str:
        return self.scenario.stem


def rehearse(tasks: Sequence[Task], how: How, jobs: int, form: Form, going: Progress) -> int:
    """Rehearse *tasks*, *jobs* at a time and all in one way; report them, and return the exit code for all."""
    told = _Report(form, len(tasks))
    try:
        for task, code in _ended(tasks, how, jobs, going, verbose=form.verbose):
            told.add(task, code, going)
    except KeyboardInterrupt:
        _end_all(tasks, going)
        raise
    return told.finish()


def tether() -> None:
    """End this program, as SIGTERM does, once nobody holds the other end of stdin."""

    def wait() -> None:
        # not through sys.stdin, whose lock would be held while Python ends
        while os.read(0, 4096):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, name="tether", daemon=True).start()


def program() -> list[str]:
    """Return the words that call this program again, to which those of a command are to be added."""
    home = Path(harness.__file__).parent.parent
    # where it is not this directory that holds the package, another one in it must not be found first
    alone = [] if home == Path.cwd() else ["-P"]
    return [sys.executable, *alone, "-m", "harness"]


def _command(task: Task, words: Sequence[str]) -> list[str]:
    run = ["run", "--tethered", "--run-dir", str(task.directory), *words, "--", str(task.scenario)]
    return [*program(), *run]


def environment_of_all() -> Mapping[str, str]:
    """Return the user's environment, in which nothing makes a single rehearsal report for all."""
    return {name: value for name, value in settings.environment().items() if name != "REHEARSE_GITHUB"}


def _ended(tasks: Sequence[Task], how: How, jobs: int, going: Progress, *, verbose: bool) -> Iterator[tuple[Task, int]]:
    """Yield each task with its exit code as it ends."""
    waiting, running = deque(tasks), list[Task]()
    with selectors.DefaultSelector() as selector:
        while waiting or running:
            while waiting and len(running) < jobs:
                task = waiting.popleft()
                _start(task, how)
                assert task.process is not None
                assert task.process.stderr is not None
                selector.register(task.process.stderr, selectors.EVENT_READ, task)
                going.begin(task.name)
                running.append(task)
            for key, _ in selector.select(_LOOK_SECONDS):
                if not _read(key.data, going, verbose=verbose):
                    selector.unregister(key.fileobj)
            for task in [one for one in running if one.process is not None and one.process.poll() is not None]:
                running.remove(task)
                yield task, _left(task, selector, going, verbose=verbose)


def _start(task: Task, how: How) -> None:
    task.watch = Stopwatch()
    # in a session of its own: Ctrl-C is for this program, which then ends all of them in order
    task.process = subprocess.Popen(
        _command(task, how.words()),
        env={**environment_of_all(), **how.environment()},
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    assert task.process.stderr is not None
    os.set_blocking(task.process.stderr.fileno(), False)


def _read(task: Task, going: Progress, *, verbose: bool) -> bool:
    """Take what *task* has said since the last time; False once it will say no more."""
    assert task.process is not None
    stream: IO[bytes] | None = task.process.stderr
    assert stream is not None
    try:
        raw = os.read(stream.fileno(), 1 << 16)
    except BlockingIOError:
        return True
    *lines, task.rest = (task.rest + raw).split(b"\n")
    if not raw and task.rest:
        lines, task.rest = [*lines, task.rest], b""
    for line in lines:
        text = line.decode(errors="replace")
        task.lines.append(text.strip())
        if verbose:
            going.say(f"{task.name}: {text}")
    return bool(raw)


def _left(task: Task, selector: selectors.BaseSelector, going: Progress, *, verbose: bool) -> int:
    """Take the last of what an ended *task* has said, and return its exit code."""
    assert task.process is not None
    assert task.watch is not None
    stream = task.process.stderr
    assert stream is not None
    if stream in selector.get_map():
        selector.unregister(stream)
        # what is in the pipe still, and no more: a server that was kept may hold its other end
        for _ in range(64):
            if not _read(task, going, verbose=verbose) or not selectors_ready(stream):
                break
    task.seconds = task.watch.seconds
    going.end(task.name)
    for pipe in (stream, task.process.stdin):
        if pipe is not None:
            pipe.close()
    code = task.process.returncode
    if code < 0:
        task.lines.append(f"it was ended by {signal.Signals(-code).name}")
        return 3
    return code


def selectors_ready(stream: IO[bytes]) -> bool:
    """Is there something to be read at once?"""
    with selectors.DefaultSelector() as one:
        one.register(stream, selectors.EVENT_READ)
        return bool(one.select(0))


def _end_all(tasks: Sequence[Task], going: Progress) -> None:
    """End what still runs: each ends its servers first. A second interruption, or two minutes, and it is killed."""
    running = [task for task in tasks if task.process is not None and task.process.poll() is None]
    if running:
        going.say(f"interrupted: {len(running)} rehearsals are ending their servers")
    for task in running:
        assert task.process is not None
        if task.process.stdin is not None:
            task.process.stdin.close()
    watch = Stopwatch()
    for task in running:
        assert task.process is not None
        try:
            task.process.wait(max(_GOODBYE_SECONDS - watch.seconds, 0.1))
        except (subprocess.TimeoutExpired, KeyboardInterrupt):
            for one in running:
                assert one.process is not None
                one.process.kill()
            task.process.wait(_GOODBYE_SECONDS)


class _Report:
    """What several rehearsals come to, written down as each of them ends."""

    def __init__(self, form: Form, number: int) -> None:
        self._form = form
        self._number = number
        self._rows: list[Row] = []
        self._suites: list[Element] = []
        self._pages: list[str] = []
        self._room = 0
        self._bodies: dict[int, Markup] = {}
        self._html_room = 0
        self._began = False

    def add(self, task: Task, code: int, going: Progress) -> None:
        """Report one of them, as far as that can be done before all have ended."""
        from harness.reports import junit, markdown, table, wording

        record, judgement = judged(task.directory, code, task.lines)
        word = wording.OUTCOME[judgement.outcome] if judgement is not None else table.NO_RECORD
        said = task.lines[-1] if code not in (0, 1, 4) and task.lines else ""
        row = table.Row(task.name, word, code, task.seconds, str(task.directory), output.shown(said))
        self._rows.append(row)
        going.say(f"[{len(self._rows)}/{self._number}]  {word}  {task.name}, exit {code}, {task.seconds:.1f} s")
        if self._form.junit is not None:
            suite = junit.suite_without_record(task.name, list(task.lines))
            self._suites.append(suite if judgement is None else junit.suite(judgement))
        if judgement is None or record is None:
            return
        if self._form.markdown is not None or self._form.github:
            page = markdown.render(judgement)
            self._room += len(page.encode())
            self._pages += [page] if self._room < markdown.MOST else []
        if self._form.html is not None:
            self._add_body(record, judgement)
        if self._form.output == "json":
            self._write_json(judgement)
        elif code != 0 or self._form.verbose:
            write("".join(rendered(judgement, self._form)) + "\n")
        if self._form.github:
            annotate(record, judgement)

    def finish(self) -> int:
        """Report all of them together, and return the exit code that stands for them."""
        from harness.reports import junit, run_html, table

        code = table.worst(self._rows)
        if self._form.output == "json":
            write(('\n], "exit_code": ' if self._began else '{"runs": [], "exit_code": ') + f"{code}}}\n")
        else:
            tell(table.text(self._rows))
        page = table.page(self._rows) + "\n".join(self._pages)
        if missing := sum(row.word != table.NO_RECORD for row in self._rows) - len(self._pages):
            page += f"\n**Cut here: {missing} more had no room. `rehearse judge RECORD` shows each.**\n"
        suites = junit.document(self._suites) if self._form.junit is not None else ""
        html = run_html.of_many(self._rows, self._bodies) if self._form.html is not None else ""
        write_files(self._form, suites, page, html, self._rows[0].record)
        return code

    def _add_body(self, record: Record, judgement: Judgement) -> None:
        """Put a run on the page of all, as long as there is room."""
        from harness.reports import run_html

        number = len(self._rows) - 1
        body = run_html.body(record, judgement, prefix=run_html.prefix_of(number))
        self._html_room += len(body.encode())
        self._bodies |= {number: body} if self._html_room < run_html.MOST else {}

    def _write_json(self, judgement: Judgement) -> None:
        write(",\n" if self._began else '{"runs": [\n')
        self._began = True
        for piece in rendered(judgement, self._form):
            write(piece)


def judged(directory: Path, code: int, said: Sequence[str]) -> tuple[Record | None, Judgement | None]:
    """Return the record in *directory* and its judgement, which ends with *code*; None where there is none.

    *said* is what was said last: why it ends otherwise than what was seen would have it.
    """
    import msgspec

    from harness.analysis import verdict
    from harness.record import journal

    try:
        record = journal.load(directory)
        judgement = verdict.judge(record)
    except journal.NotARecord:
        return None, None
    if judgement.exit_code != code:
        reasons = (*list(said)[-1:], *judgement.reasons)
        judgement = msgspec.structs.replace(judgement, exit_code=code, reasons=reasons)
    return record, judgement
