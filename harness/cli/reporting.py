"""In which forms a judgement is reported, and where."""

from __future__ import annotations

import functools
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

import click

from harness import settings
from harness.cli.output import Ended, fail, say, silence, write

if TYPE_CHECKING:
    from harness.analysis.verdict import Judgement
    from harness.record.journal import Record

OUTPUT: Final = click.option(
    "-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True, help="Form of the result."
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
    html: Path | None
    github: bool
    expect: bool

    def insist_on_room(self) -> None:
        """Raise UsageError for a report whose folder is not there: minutes later it would be too late to say so."""
        for option, file in (("--junit", self.junit), ("--markdown", self.markdown), ("--html", self.html)):
            if file is not None and not file.absolute().parent.is_dir():
                raise click.UsageError(f"{option}: there is no folder {file.absolute().parent}; make it first")


_FORM_OPTIONS: Final = (
    OUTPUT,
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
        "--html",
        type=click.Path(path_type=Path, dir_okay=False),
        help="Also write a page to this file, which opens from disk: of several scenarios one with all.",
    ),
    click.option(
        "--github",
        is_flag=True,
        envvar="REHEARSE_GITHUB",
        show_envvar=True,
        help="Annotate the scenario's lines in a GitHub job, and add to its summary.",
    ),
    click.option(
        "--write-expect",
        is_flag=True,
        help="Print the `expect:` of what was seen, alone on stdout; the result goes to stderr.",
    ),
)


def reported(command: Callable[..., None]) -> Callable[..., None]:
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
        html: Path | None,
        github: bool,
        write_expect: bool,
        **rest: Any,
    ) -> None:
        form = Form(output, width, quiet, verbose, junit, markdown, html, github, write_expect)
        command(form=form, **rest)

    for option in reversed(_FORM_OPTIONS):
        with_form = option(with_form)
    return with_form


def finish(record: Record, judgement: Judgement, form: Form, *, tell_kept: bool = False) -> NoReturn:
    """Report the judgement of *record* in every form that was asked for, and end with its exit code.

    *tell_kept*: say how to talk to what was left up, and how to end it, however quiet the rest is to be.
    """
    from harness.record.events import Kept

    _print(judgement, form)
    _write_reports(record, judgement, form)
    for kept in record.of(Kept) if tell_kept else ():
        say("\n".join(["left up; to talk to it:", *(f"  {hint}" for hint in kept.hints)]))
    raise Ended(judgement.exit_code)


def _print(judgement: Judgement, form: Form) -> None:
    """Print *judgement* on stdout. A reader who has had enough (`| head`) changes nothing; a full disk is told."""
    try:
        if form.expect:
            _print_expect(judgement, form)
            return
        for piece in rendered(judgement, form):
            write(piece)
    except OSError as error:
        silence(sys.stdout)
        again = f"`rehearse judge {shlex.quote(judgement.run_directory)}` says it again"
        fail(3, f"the result could not be written to stdout: {error.strerror}; {again}")


def _print_expect(judgement: Judgement, form: Form) -> None:
    from harness.reports import expect

    say("".join(rendered(judgement, form)).rstrip())
    if why := expect.in_the_way(judgement):
        say(f"no `expect` makes this run exit 0: {why}")
    else:
        write(expect.render(judgement))


def rendered(judgement: Judgement, form: Form) -> Iterator[str]:
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
    from harness.reports import junit, markdown

    summary = settings.step_summary() if form.github else None
    page = markdown.render(judgement) if form.markdown is not None or summary is not None else ""
    suites = junit.render(judgement) if form.junit is not None else ""
    write_files(form, suites, page, _html(record, judgement) if form.html is not None else "", judgement.run_directory)
    if form.github:
        annotate(record, judgement)


def _html(record: Record, judgement: Judgement) -> str:
    from harness.reports import run_html

    return run_html.render(record, judgement)


def write_files(form: Form, suites: str, page: str, html: str, directory: str) -> None:
    """Write the JUnit document *suites*, the Markdown *page* and the *html* where *form* wants them."""
    summary = settings.step_summary() if form.github else None
    wanted = ((form.junit, "w", suites), (form.markdown, "w", page), (form.html, "w", html), (summary, "a", page))
    for place, mode, text in wanted:
        if place is None:
            continue
        try:
            with place.open(mode, encoding="utf-8") as file:
                file.write(text)
        except OSError as error:
            again = f"`rehearse judge {shlex.quote(directory)}` with the same options writes it again"
            fail(3, f"the report could not be written to {place}: {error.strerror}; {again}")


def annotate(record: Record, judgement: Judgement) -> None:
    """Print workflow commands: they are read from stderr as well, and stdout is for the result alone."""
    from harness.reports import github

    start = record.started
    try:
        click.echo(github.render(judgement, start.scenario_file, start.scenario_lines), err=True, nl=False)
    except OSError:
        silence(sys.stderr)
