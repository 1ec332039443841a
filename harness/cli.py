"""The command line: arguments and environment in, results on stdout, progress on stderr, exit codes out."""

from __future__ import annotations

import os
import platform
import secrets as random
import shlex
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

import click

from harness import __version__, chores, settings
from harness.chores import fail, load

if TYPE_CHECKING:
    from harness.driver import Driver
    from harness.loading import Loaded
    from harness.plan import Plan
    from harness.verdict import Judgement

EXIT_CODES: Final = """\
\b
Exit codes:
  0  pass, or exactly what the scenario expects
  1  a regression, or an expectation that was not met
  2  usage, or an invalid scenario
  3  the environment could not be built, or a prerequisite is missing
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
    type=click.Choice(["local", "paper"]),
    default="local",
    show_default=True,
    envvar="REHEARSE_DRIVER",
    show_envvar=True,
    help="local: real servers as processes. paper: no server at all, answers from this project's knowledge.",
)
_strict = click.option(
    "--strict", is_flag=True, envvar="REHEARSE_STRICT", show_envvar=True, help="Latent findings fail the run too."
)
_width = click.option(
    "--width", type=click.IntRange(40, 400), envvar="COLUMNS", help="Columns of the text. Left out: the terminal's."
)


@click.group(epilog=EXIT_CODES, context_settings={"help_option_names": ["-h", "--help"]})
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
@_output
@_width
@click.option("--run-dir", type=click.Path(path_type=Path), help="Where the record goes. Left out: a new directory.")
@chores.MIRROR
@chores.OFFLINE
@click.option(
    "--keep",
    type=click.FloatRange(0.01, 168),
    is_flag=False,
    flag_value=4,
    metavar="[HOURS]",
    help="Leave the servers up for HOURS (4), and say how to talk to them and how to end them.",
)
@click.option("-q", "--quiet", is_flag=True, help="No progress, and only the summary.")
@click.option("-v", "--verbose", is_flag=True, help="Progress with every answer.")
def run(
    *,
    scenario: Path,
    driver: str,
    strict: bool,
    output: str,
    width: int | None,
    run_dir: Path | None,
    mirror: str,
    offline: bool,
    keep: float | None,
    quiet: bool,
    verbose: bool,
) -> None:
    """Rehearse SCENARIO and report what changes, why, and how to mend it."""
    from harness import journal, plan, progress, rehearsal
    from harness.errors import MissingPrerequisite

    signal.signal(signal.SIGTERM, _interrupt)
    loaded = load(scenario)
    planned = plan.make(loaded.scenario, loaded.name, driver)
    directory = _run_directory(run_dir, loaded.name)
    say: Callable[[str], None] = (lambda _line: None) if quiet else chores.say
    repeat = ["rehearse", "run", str(scenario), "--driver", driver, *(["--strict"] if strict else [])]
    try:
        with journal.Journal.opened(directory, progress.follower(say, verbose=verbose)) as book:
            start = _start(loaded, planned, directory, tuple(repeat), strict=strict)
            made = _make_driver(driver, mirror, say, offline=offline)
            rehearsal.rehearse(start, loaded.scenario, made, book, (keep or 0) * 3600)
    except FileExistsError:
        fail(2, f"{directory} already holds a record: name another --run-dir, or leave it out")
    except MissingPrerequisite as error:
        fail(3, str(error))
    except KeyboardInterrupt:
        fail(130, f"interrupted; everything of this run was ended. What was seen until then: {directory}")
    except OSError as error:
        fail(3, f"this machine would not do it: {error}. What was seen until then: {directory}")
    _finish(_judge(directory, strict=strict), output, width, details=not quiet)


@main.command(epilog=EXIT_CODES)
@click.argument("directory", type=click.Path(path_type=Path))
@_strict
@_output
@_width
@click.option("-q", "--quiet", is_flag=True, help="Only the summary.")
def judge(*, directory: Path, strict: bool, output: str, width: int | None, quiet: bool) -> None:
    """Judge the record in DIRECTORY again: no server is needed, and nothing is changed."""
    _finish(_judge(directory, strict=strict), output, width, details=not quiet)


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
            click.echo(str(error), err=True)
        else:
            click.echo(f"{path}: fine")
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
        click.echo(msgspec.json.format(msgspec.json.encode(made), indent=2).decode())
    else:
        click.echo(paper.render(made, loaded.scenario))


@main.command()
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", help="Form of the result.")
def version(output: str) -> None:
    """Say which release this is, and which formats it reads and writes."""
    import json

    from harness.journal import RECORD_VERSION
    from harness.scenario import SCHEMA
    from harness.verdict import FORMAT

    facts = {"rehearse": __version__, "scenario schema": SCHEMA, "record format": RECORD_VERSION, "judgement": FORMAT}
    if output == "json":
        click.echo(json.dumps(facts))
    else:
        click.echo("\n".join(f"{name} {value}" for name, value in facts.items()))


def _start(loaded: Loaded, planned: Plan, directory: Path, repeat: tuple[str, ...], *, strict: bool) -> Any:
    from harness import journal

    lines = {"/".join(str(part) for part in path): line for path, (line, _) in loaded.lines.items()}
    return journal.RunStarted(
        record_version=journal.RECORD_VERSION,
        tool_version=__version__,
        run_id=f"{directory.name[:40]}-{random.token_hex(4)}",
        scenario_file=loaded.file,
        scenario=loaded.scenario.model_dump(mode="json", by_alias=True),
        scenario_lines={path: line for path, line in lines.items() if path.startswith("expect")},
        plan=planned,
        command=tuple(shlex.quote(word) for word in repeat),
        strict=strict,
        machine=f"{platform.system()} {platform.release()} {platform.machine()}, {os.cpu_count()} cores",
    )


def _make_driver(name: str, mirror: str, say: Callable[[str], None], *, offline: bool) -> Driver:
    if name == "paper":
        from harness.drivers.paper import PaperDriver

        return PaperDriver()
    from harness.drivers.local import LocalDriver

    return LocalDriver(chores.store(mirror, say, offline=offline), settings.temporary(), settings.state())


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


def _judge(directory: Path, *, strict: bool) -> Judgement:
    from harness import journal, verdict

    try:
        return verdict.judge(journal.load(directory), strict=strict)
    except journal.NotARecord as error:
        fail(2, str(error))


def _finish(judgement: Judgement, output: str, width: int | None, *, details: bool) -> NoReturn:
    if output == "json":
        from harness.reports import json

        click.echo(json.render(judgement))
    else:
        from harness.reports import text

        columns = width or shutil.get_terminal_size((100, 24)).columns
        click.echo(text.render(judgement, width=columns, colour=settings.colour(), details=details), nl=False)
    sys.exit(judgement.exit_code)


def _interrupt(_number: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt


for _chore in (chores.artifacts, chores.clean, chores.doctor, chores.schema, chores.completion):
    main.add_command(_chore)
