"""The command line: arguments and environment in, results on stdout, progress on stderr, exit codes out."""

from __future__ import annotations

import functools
import math
import os
import platform
import re
import secrets as random
import shlex
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

import click

from harness import __version__, chores, settings
from harness.chores import load
from harness.output import Ended, fail, reader_left, say, silence, tell, write

if TYPE_CHECKING:
    from harness.artifacts import Store
    from harness.driver import Driver
    from harness.journal import Follower, Journal, Record
    from harness.loading import Loaded
    from harness.plan import Plan
    from harness.verdict import Judgement

EXIT_CODES: Final = """\
\b
Exit codes:
  0  pass, or exactly what the scenario expects
  1  a regression, or an expectation that was not met
  2  usage, or an invalid scenario
  3  the environment could not be built, a prerequisite is missing, or
     the result could not be written; also a fault of this tool
  4  inconclusive: something could not be asked
  5  something was left behind
  130 interrupted
"""

_scenario = click.argument("scenario", type=click.Path(path_type=Path))
_output = click.option(
    "-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True, help="Form of the result."
)
_driver = click.option(
    "--driver",
    type=click.Choice(["local", "kind", "paper"]),
    default="local",
    show_default=True,
    envvar="REHEARSE_DRIVER",
    show_envvar=True,
    help="local: real servers as processes. kind: real clusters, Vault in containers; needs a Docker engine. "
    "paper: no server at all, answers from this project's knowledge.",
)
_strict = click.option(
    "--strict", is_flag=True, envvar="REHEARSE_STRICT", show_envvar=True, help="Latent findings fail the run too."
)


@dataclass(frozen=True, slots=True)
class Form:
    """How a judgement is to be reported, and where else than on stdout."""

    output: str
    width: int | None
    quiet: bool
    verbose: bool
    junit: Path | None
    markdown: Path | None
    github: bool

    def insist_on_room(self) -> None:
        """Raise UsageError for a report whose folder is not there: minutes later it would be too late to say so."""
        for option, file in (("--junit", self.junit), ("--markdown", self.markdown)):
            if file is not None and not file.absolute().parent.is_dir():
                raise click.UsageError(f"{option}: there is no folder {file.absolute().parent}; make it first")


_FORM_OPTIONS: Final = (
    _output,
    click.option(
        "--width", type=click.IntRange(40, 400), help="Columns of the text. Left out: COLUMNS, or the terminal's."
    ),
    click.option("-q", "--quiet", is_flag=True, help="No progress."),
    click.option("-v", "--verbose", is_flag=True, help="Every answer as it comes, and all evidence in the result."),
    click.option("--junit", type=click.Path(path_type=Path, dir_okay=False), help="Also write JUnit XML to it."),
    click.option(
        "--markdown", type=click.Path(path_type=Path, dir_okay=False), help="Also write Markdown to this file."
    ),
    click.option(
        "--github",
        is_flag=True,
        envvar="REHEARSE_GITHUB",
        show_envvar=True,
        help="Annotate the scenario's lines in a GitHub job, and add to its summary.",
    ),
)


def _reported(command: Callable[..., None]) -> Callable[..., None]:
    """Give *command* the options that say how to report; it gets them together, as its Form."""

    @functools.wraps(command)
    def with_form(
        *,
        output: str,
        width: int | None,
        quiet: bool,
        verbose: bool,
        junit: Path | None,
        markdown: Path | None,
        github: bool,
        **rest: Any,
    ) -> None:
        command(form=Form(output, width, quiet, verbose, junit, markdown, github), **rest)

    for option in reversed(_FORM_OPTIONS):
        with_form = option(with_form)
    return with_form


class _Commands(click.Group):
    """The commands, each of which ends with a code that README.md explains: left to click, Ctrl-C would be a 1."""

    def invoke(self, ctx: click.Context) -> Any:
        from harness.errors import HarnessError, LeftBehind

        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            fail(130, "interrupted")
        except HarnessError as error:
            fail(5 if isinstance(error, LeftBehind) else 3, str(error))
        except OSError as error:
            _unprintable(error)

    def make_context(self, *words: Any, **more: Any) -> click.Context:
        try:
            return super().make_context(*words, **more)
        except OSError as error:
            _unprintable(error)


def _unprintable(error: OSError) -> NoReturn:
    """End after what no command has dealt with: a reader who left before a help was over is a 1 to click."""
    from harness.errors import advised

    unread = isinstance(error, BrokenPipeError) and reader_left()
    silence(sys.stdout)
    if unread:
        raise Ended(0) from error
    fail(3, f"this machine would not do it: {advised(error, 'run again')}")


@click.group(cls=_Commands, epilog=EXIT_CODES, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="rehearse %(version)s", help="Say which release this is, and no more.")
def main() -> None:
    """Rehearse a Vault upgrade on real servers before you do it.

    A scenario (YAML) says which Kubernetes clusters there are, where Vault runs, who wrote its auth configs, and which
    versions it is taken through. A run makes it real, logs the apps in, upgrades Vault over its own data, logs them in
    again, and says what changed and why.
    """


@main.command(epilog=EXIT_CODES)
@_scenario
@_driver
@_strict
@_reported
@click.option("--run-dir", type=click.Path(path_type=Path), help="Where the record goes. Left out: a new directory.")
@chores.MIRROR
@chores.INSECURE_MIRROR
@chores.REGISTRY
@chores.OFFLINE
@chores.FORCE
@click.option(
    "--keep",
    type=click.FloatRange(0.01, 168),
    is_flag=False,
    flag_value=4,
    metavar="[HOURS]",
    help="Leave the servers up for HOURS (4), and say how to talk to them and how to end them.",
)
@click.option(
    "--reuse",
    is_flag=True,
    help="With --driver kind: rehearse on the clusters of a run that was kept, the newest that fits.",
)
def run(
    *,
    scenario: Path,
    driver: str,
    strict: bool,
    form: Form,
    run_dir: Path | None,
    mirror: str,
    insecure_mirror: bool,
    registry: str,
    offline: bool,
    force: bool,
    keep: float | None,
    reuse: bool,
) -> None:
    """Rehearse SCENARIO and report what changes, why, and how to mend it."""
    from harness import plan, progress, rehearsal
    from harness.errors import MissingPrerequisite, advised

    if keep is not None and math.isnan(keep):
        raise click.UsageError("--keep: that is no number of hours")
    form.insist_on_room()
    if keep and driver == "paper":
        raise click.UsageError("--keep: the paper driver has no servers to leave up; choose one of them")
    if reuse and driver != "kind":
        raise click.UsageError("--reuse: only kind clusters can be used again; add --driver kind")
    if reuse and keep:
        raise click.UsageError("--reuse: its clusters belong to the run that was kept, and end with it; no --keep")
    signal.signal(signal.SIGTERM, _interrupt)
    loaded = load(scenario)
    planned = plan.make(loaded.scenario, loaded.name, driver)
    speak: Callable[[str], None] = (lambda _line: None) if form.quiet else say
    repeat = ["rehearse", "run", str(scenario), "--driver", driver, *(["--strict"] if strict else [])]
    book = _opened(run_dir, loaded.name, progress.follower(speak, verbose=form.verbose))
    directory = book.directory
    try:
        with book:
            start = _start(loaded, planned, directory, tuple(repeat), strict=strict)
            store = functools.partial(chores.store, mirror, speak, insecure=insecure_mirror, offline=offline)
            made = _make_driver(driver, speak, store, registry=registry, offline=offline, reuse=reuse, force=force)
            rehearsal.rehearse(start, made, book, (keep or 0) * 3600)
    except MissingPrerequisite as error:
        fail(3, str(error))
    except KeyboardInterrupt as error:
        if left := "; ".join(getattr(error, "__notes__", ())):
            fail(5, f"interrupted; {left}. What was seen until then: {directory}")
        fail(130, f"interrupted; everything of this run was ended. What was seen until then: {directory}")
    except OSError as error:
        why = f"this machine would not do it: {advised(error, 'run again')}"
        say(f"{why}. What was seen until then: {directory}")
        _finish(_record(directory, 3), form, strict=strict, cut_short=why)
    _finish(_record(directory), form, strict=strict, tell_kept=True)


@main.command(epilog=EXIT_CODES)
@click.argument("directory", type=click.Path(path_type=Path))
@_strict
@_reported
def judge(*, directory: Path, strict: bool, form: Form) -> None:
    """Judge the record in DIRECTORY again: no server is needed, and nothing is changed."""
    _finish(_record(directory), form, strict=strict)


@main.command()
@click.argument("scenarios", type=click.Path(path_type=Path), nargs=-1, required=True)
def validate(scenarios: tuple[Path, ...]) -> None:
    """Check SCENARIOS and report every problem with its line and column. Nothing is started."""
    from harness import loading
    from harness.errors import ScenarioError

    wrong = 0
    for path in scenarios:
        try:
            loading.load(path)
        except ScenarioError as error:
            wrong += 1
            say(error)
        else:
            tell(f"{path}: fine")
    if wrong:
        fail(2, f"{wrong} of {len(scenarios)} scenarios cannot be run as they stand")


@main.command()
@_scenario
@_driver
@_output
def plan(*, scenario: Path, driver: str, output: str) -> None:
    """Show what a run of SCENARIO would do: every stage, every question, every binary. Nothing is started."""
    import msgspec

    from harness import plan as planning
    from harness.reports import plan as paper

    loaded = load(scenario)
    made = planning.make(loaded.scenario, loaded.name, driver)
    if output == "json":
        write(msgspec.json.format(msgspec.json.encode(made), indent=2).decode() + "\n")
    else:
        tell(paper.render(made))


@main.command()
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", help="Form of the result.")
def version(output: str) -> None:
    """Say which release this is, and which formats it reads and writes."""
    import json

    from harness.events import RECORD_VERSION
    from harness.scenario import SCHEMA
    from harness.verdict import FORMAT

    facts = {"rehearse": __version__, "scenario schema": SCHEMA, "record format": RECORD_VERSION, "judgement": FORMAT}
    if output == "json":
        tell(json.dumps(facts))
    else:
        tell("\n".join(f"{name} {value}" for name, value in facts.items()))


def _start(loaded: Loaded, planned: Plan, directory: Path, repeat: tuple[str, ...], *, strict: bool) -> Any:
    from harness import events

    lines = {"/".join(str(part) for part in path): line for path, (line, _) in loaded.lines.items()}
    return events.RunStarted(
        record_version=events.RECORD_VERSION,
        tool_version=__version__,
        # it becomes a part of names and paths: in PATH, in a volume of the engine's, in a label
        run_id=f"{re.sub(r'[^A-Za-z0-9_.-]', '-', directory.name)[:40]}-{random.token_hex(4)}",
        scenario_file=loaded.file,
        scenario=loaded.scenario.model_dump(mode="json", by_alias=True),
        scenario_lines={path: line for path, line in lines.items() if path.startswith(("expect", "apps/"))},
        plan=planned,
        command=tuple(shlex.quote(word) for word in repeat),
        strict=strict,
        machine=f"{platform.system()} {platform.release()} {platform.machine()}, {os.cpu_count()} cores",
    )


def _make_driver(
    name: str,
    say: Callable[[str], None],
    make_store: Callable[[], Store],
    *,
    registry: str,
    offline: bool,
    reuse: bool,
    force: bool,
) -> Driver:
    if name == "paper":
        from harness.drivers.paper import PaperDriver

        return PaperDriver()
    store = make_store()
    if name == "kind":
        from harness import engine
        from harness.drivers.kind import KindDriver
        from harness.images import Images

        machine = engine.reach(settings.environment())
        images = Images(machine, store, settings.cache(), say, registry, offline=offline)
        return KindDriver(store, images, machine, settings.temporary(), settings.state(), say, reuse=reuse, force=force)
    from harness.drivers.local import LocalDriver

    return LocalDriver(store, settings.temporary(), settings.state(), force=force)


def _run_directory(wanted: Path | None, scenario: str) -> Path:
    """Return the run's directory: the user's own, or a new one that `latest` then points to."""
    from harness.wait import now, stamp

    if wanted is not None:
        return wanted.absolute()
    runs = settings.runs()
    runs.mkdir(mode=0o700, parents=True, exist_ok=True)
    directory = Path(tempfile.mkdtemp(prefix=f"{stamp(now())}--{scenario}-", dir=runs))
    latest = runs / "latest"
    fresh = runs / f".latest-{random.token_hex(4)}"
    fresh.symlink_to(directory.name)
    fresh.replace(latest)
    return directory


def _opened(wanted: Path | None, scenario: str, follower: Follower) -> Journal:
    """Return the opened record of a new run, or end, saying why there can be none."""
    from harness.journal import RECORD_FILE, Journal

    try:
        directory = _run_directory(wanted, scenario)
        return Journal.opened(directory, follower)
    except OSError as error:
        if wanted is not None and (wanted / RECORD_FILE).exists():
            fail(2, f"{wanted.absolute()} already holds a record: name another --run-dir, or leave it out")
        place = wanted.absolute() if wanted is not None else settings.runs()
        fail(3, f"no record could be begun in {place}: {error}; name a --run-dir that can be made and written to")


def _record(directory: Path, code: int = 2) -> Record:
    """Return the record in *directory*, or end with *code* and a sentence where there is none."""
    from harness import journal

    try:
        return journal.load(directory)
    except journal.NotARecord as error:
        fail(code, str(error))


def _finish(record: Record, form: Form, *, strict: bool, cut_short: str = "", tell_kept: bool = False) -> NoReturn:
    """Judge *record*, report in every form that was asked for, and end with the judgement's exit code.

    *cut_short* says why the record could not be written on, if that is how it ends. *tell_kept*: say how to talk to
    what was left up, and how to end it, however quiet the rest is to be.
    """
    import msgspec

    from harness import verdict
    from harness.events import Kept

    judgement = verdict.judge(record, strict=strict)
    if cut_short:
        code = judgement.exit_code if judgement.observations else 3
        judgement = msgspec.structs.replace(judgement, reasons=(*judgement.reasons, cut_short), exit_code=code)
    _print(judgement, form)
    _write_reports(record, judgement, form)
    for kept in record.of(Kept) if tell_kept else ():
        say("\n".join(["left up; to talk to it:", *(f"  {hint}" for hint in kept.hints)]))
    raise Ended(judgement.exit_code)


def _print(judgement: Judgement, form: Form) -> None:
    """Print *judgement* on stdout. A reader who has had enough (`| head`) changes nothing; a full disk is told."""
    try:
        for piece in _rendered(judgement, form):
            write(piece)
    except OSError as error:
        silence(sys.stdout)
        again = f"`rehearse judge {shlex.quote(judgement.run_directory)}` says it again"
        fail(3, f"the result could not be written to stdout: {error.strerror}; {again}")


def _rendered(judgement: Judgement, form: Form) -> Iterator[str]:
    """Yield the result a part at a time: as JSON, a long record's is a hundred megabytes."""
    if form.output == "json":
        from harness.reports import json

        yield from json.pieces(judgement)
        yield "\n"
        return
    from harness.reports import text

    # COLUMNS may be anything, and is nobody's mistake in calling this
    columns = form.width or min(max(shutil.get_terminal_size((100, 24)).columns, 40), 400)
    yield text.render(judgement, width=columns, colour=settings.colour(), details=form.verbose)


def _write_reports(record: Record, judgement: Judgement, form: Form) -> None:
    from harness.reports import github, junit, markdown

    summary = settings.step_summary() if form.github else None
    page = markdown.render(judgement) if form.markdown is not None or summary is not None else ""
    try:
        if form.junit is not None:
            form.junit.write_text(junit.render(judgement), encoding="utf-8")
        if form.markdown is not None:
            form.markdown.write_text(page, encoding="utf-8")
        if summary is not None:
            with summary.open("a", encoding="utf-8") as file:
                file.write(page)
    except OSError as error:
        again = f"`rehearse judge {shlex.quote(judgement.run_directory)}` with the same options writes it again"
        fail(3, f"the report could not be written to {error.filename}: {error.strerror}; {again}")
    if form.github:
        # workflow commands are read from stderr as well, and stdout is for the result alone
        start = record.started
        click.echo(github.render(judgement, start.scenario_file, start.scenario_lines), err=True, nl=False)


def _interrupt(_number: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt


for _chore in (chores.artifacts, chores.clean, chores.doctor, chores.schema, chores.completion):
    main.add_command(_chore)
