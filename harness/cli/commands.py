"""The command line: arguments and environment in, results on stdout, progress on stderr, exit codes out."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

import click

from harness import __version__, settings
from harness.cli import (
    bisect,
    bring,
    bundle,
    cells,
    compare,
    corpus,
    drill,
    importing,
    maintenance,
    matrix,
    merge,
    new,
    predict,
    remote_commands,
    several,
    versions,
)
from harness.cli.maintenance import load
from harness.cli.output import Ended, columns, end_on_sigterm, fail, reader_left, say, silence, tell, write
from harness.cli.reporting import OUTPUT, Form, finish, reported
from harness.scenario import driver_traits

if TYPE_CHECKING:
    from harness.artifacts.brought import Brought
    from harness.record.journal import Record
    from harness.scenario.loading import Loaded
    from harness.session import one_rehearsal

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
_driver, _strict = maintenance.DRIVER, maintenance.STRICT


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
    from harness.errors import refused_by_machine

    unread = isinstance(error, BrokenPipeError) and reader_left()
    silence(sys.stdout)
    if unread:
        raise Ended(0) from error
    fail(3, refused_by_machine(error))


@click.group(cls=_Commands, epilog=EXIT_CODES, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="rehearse %(version)s", help="Say which release this is, and no more.")
def main() -> None:
    """Rehearse a Vault upgrade on real servers before you do it.

    A scenario (YAML) says which Kubernetes clusters there are, where Vault runs, who wrote its auth configs, and which
    versions it is taken through. A run makes it real, logs the apps in, upgrades Vault over its own data, logs them in
    again, and says what changed and why.
    """


@main.command(epilog=EXIT_CODES)
@click.argument("scenarios", type=click.Path(path_type=Path), nargs=-1, required=True)
@_driver
@_strict
@reported
@click.option(
    "--run-dir",
    type=click.Path(path_type=Path),
    help="Where the record goes; of several, a directory each in it. Left out: a new directory.",
)
@maintenance.sources
@maintenance.FORCE
@bring.brings
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
@click.option(
    "--rollback",
    is_flag=True,
    envvar="REHEARSE_ROLLBACK",
    show_envvar=True,
    help="Go back at the end, both ways: the source's binary over the data as they are, and the snapshot of before.",
)
@click.option(
    "--prove-remedy",
    is_flag=True,
    envvar="REHEARSE_PROVE_REMEDY",
    show_envvar=True,
    help="Try what is advised for a refusal: on a fresh copy of the source, and on what refuses. One that does not "
    "mend is exit code 1.",
)
@maintenance.NOISE_FLOOR
@click.option(
    "--jobs",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    help="So many scenarios are rehearsed at a time.",
)
@click.option("--tethered", is_flag=True, hidden=True, help="End once stdin ends: for a program that runs several.")
def run(*, scenarios: tuple[Path, ...], form: Form, jobs: int, tethered: bool, **how: Any) -> None:
    """Rehearse SCENARIOS and report what changes, why, and how to mend it.

    Directories are searched for *.yaml. Of several scenarios each gets a process and a record of its own, and a
    regression of one is the exit code of all.
    """
    options = Options(**how)
    options.check(form)
    files = several.search(scenarios)
    end_on_sigterm()
    if tethered:
        several.tether()
    if len(files) == 1:
        _rehearse(files[0], options, form, alone=not tethered)
    _rehearse_all(files, options, form, jobs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How a rehearsal is made, as the command line says it."""

    driver: str
    strict: bool
    run_dir: Path | None
    mirror: str
    insecure_mirror: bool
    registry: str
    offline: bool
    force: bool
    keep: float | None
    reuse: bool
    rollback: bool
    brought: Brought
    prove_remedy: bool
    noise_floor: bool

    def check(self, form: Form) -> None:
        """Raise UsageError for what cannot be meant, before anything runs."""
        if self.keep is not None and math.isnan(self.keep):
            raise click.UsageError("--keep: that is no number of hours")
        form.insist_on_room()
        if self.keep and not driver_traits.of(self.driver).real:
            raise click.UsageError("--keep: the paper driver has no servers to leave up; choose one of them")
        if self.keep and self.prove_remedy:
            raise click.UsageError(
                "--keep: the servers serve the proofs of --prove-remedy afterwards; choose one of them"
            )
        if self.reuse and not driver_traits.of(self.driver).lends:
            raise click.UsageError("--reuse: only kind clusters can be used again; add --driver kind")
        if self.reuse and self.keep:
            raise click.UsageError("--reuse: its clusters belong to the run that was kept, and end with it; no --keep")

    def settled(self) -> one_rehearsal.Options:
        """Return them as a rehearsal takes them."""
        from harness.session import one_rehearsal

        return one_rehearsal.Options(
            driver=self.driver,
            strict=self.strict,
            rollback=self.rollback,
            prove_remedy=self.prove_remedy,
            noise_floor=self.noise_floor,
            run_dir=self.run_dir,
            mirror=self.mirror,
            insecure_mirror=self.insecure_mirror,
            registry=self.registry,
            offline=self.offline,
            force=self.force,
            keep_seconds=(self.keep or 0) * 3600,
            reuse=self.reuse,
            brought=self.brought,
        )

    def words(self) -> list[str]:
        """Return what makes another process rehearse in the same way, but for what its environment says."""
        flags = {
            "--strict": self.strict,
            "--reuse": self.reuse,
            "--force": self.force,
            "--rollback": self.rollback,
            "--prove-remedy": self.prove_remedy,
            "--noise-floor": self.noise_floor,
        }
        return ["--driver", self.driver, *(flag for flag, given in flags.items() if given), *self.brought.words()]

    def environment(self) -> dict[str, str]:
        """Return the rest of it: an address may hold a password, and every user can read a command line."""
        return maintenance.environment_of_sources(
            mirror=self.mirror, insecure=self.insecure_mirror, registry=self.registry, offline=self.offline
        )


def _rehearse(scenario: Path, options: Options, form: Form, *, alone: bool) -> NoReturn:
    """*alone*: no other scenario uses what the user has brought."""
    from harness.cli.progress import Progress
    from harness.errors import MissingPrerequisite, refused_by_machine
    from harness.record.journal import NotARecord
    from harness.session import one_rehearsal

    loaded = load(scenario)
    if alone:
        _insist_on_use([loaded], options)
    going = Progress(verbose=form.verbose, quiet=form.quiet)
    seen: list[Path] = []
    try:
        with going:
            done = one_rehearsal.rehearse_one(
                loaded,
                options.settled(),
                maintenance.places(),
                follow=going.follow,
                begin=going.begin,
                tell=going.say,
                opened=seen.append,
            )
    except one_rehearsal.DirectoryTaken as error:
        fail(2, str(error))
    except MissingPrerequisite as error:
        fail(3, str(error))
    except KeyboardInterrupt as error:
        place = f" What was seen until then: {seen[0]}" if seen else ""
        if left := "; ".join(getattr(error, "__notes__", ())):
            fail(5, f"interrupted; {left}.{place}")
        fail(130, f"interrupted; everything of this run was ended.{place}")
    except OSError as error:
        why = refused_by_machine(error)
        try:
            cut_short = one_rehearsal.cut_short(seen[0], why, strict=options.strict) if seen else None
        except NotARecord:  # not even its start could be written
            cut_short = None
        if cut_short is None:
            fail(3, f"{why}. Nothing was recorded")
        say(f"{why}. What was seen until then: {seen[0]}")
        finish(*cut_short, form)
    finish(*done, form, tell_kept=True)


def _rehearse_all(files: Sequence[Path], options: Options, form: Form, jobs: int) -> NoReturn:
    from harness.cli.progress import Progress

    for option, given in (("--keep", options.keep), ("--write-expect", form.expect)):
        if given:
            raise click.UsageError(f"{option} is for one scenario at a time, and these are {len(files)}")
    scenarios = _valid(files)
    _insist_on_use(scenarios, options)
    _insist_room(scenarios, options, jobs)
    taken: set[Path] = set()
    tasks = [several.Task(file, _directory_of_one(options.run_dir, file, taken)) for file in files]
    try:
        with Progress(verbose=form.verbose, quiet=form.quiet) as going:
            code = several.rehearse(tasks, options, jobs, form, going)
    except KeyboardInterrupt:
        places = "".join(f"\n  {task.directory}" for task in tasks if task.process is not None)
        fail(130, f"interrupted; all rehearsals were ended. What was seen until then:{places}")
    raise Ended(code)


def _insist_on_use(scenarios: Sequence[Loaded], options: Options) -> None:
    from harness.scenario import plan

    bring.insist_on_use(
        options.brought, (plan.make(one.scenario, one.name, options.driver).artifacts for one in scenarios)
    )


def _valid(files: Sequence[Path]) -> list[Loaded]:
    """Return what *files* hold, or end with every problem of every one, before anything is started."""
    from harness.errors import ScenarioError
    from harness.scenario import loading

    found, wrong = list[Any](), 0
    for file in files:
        try:
            found.append(loading.load(file))
        except ScenarioError as error:
            wrong += 1
            say(error)
    if wrong:
        fail(2, f"{wrong} of {len(files)} scenarios cannot be run as they stand; nothing was started")
    return found


def _insist_room(scenarios: Sequence[Loaded], options: Options, jobs: int) -> None:
    """Raise MissingPrerequisite where this machine cannot carry the largest *jobs* of them at a time."""
    from harness.host import capacity

    traits = driver_traits.of(options.driver)
    if options.force or options.reuse or not traits.real:
        return
    nodes = traits.nodes
    sizes = [sum(cluster.nodes if nodes else 1 for cluster in one.scenario.clusters.values()) for one in scenarios]
    number = sum(sorted(sizes)[-jobs:])
    capacity.insist(capacity.measure(settings.temporary()), number, nodes=number if nodes else 0)


def _directory_of_one(wanted: Path | None, file: Path, taken: set[Path]) -> Path:
    """Return where the record of one of several goes, which none of the others has: it is among *taken* from now on."""
    from harness.record.journal import RECORD_FILE

    if wanted is None:
        from harness.session import one_rehearsal

        return one_rehearsal.new_directory(settings.state(), file.stem)
    name = file.stem
    numbered = (f"{name}-{number}" for number in range(2, 1000))
    directory = next(place for one in (name, *numbered) if (place := wanted.absolute() / one) not in taken)
    taken.add(directory)
    if (directory / RECORD_FILE).exists():
        fail(2, f"{directory} already holds a record: name another --run-dir, or leave it out")
    return directory


@main.command(epilog=EXIT_CODES)
@click.argument("directory", type=click.Path(path_type=Path))
@_strict
@reported
def judge(*, directory: Path, strict: bool, form: Form) -> None:
    """Judge the record in DIRECTORY, or in a bundle, again: no server is needed, and nothing is changed."""
    from harness.analysis import verdict
    from harness.record.journal import NotARecord

    record = _record(directory)
    try:
        finish(record, verdict.judge(record, strict=strict), form)
    except NotARecord as error:
        fail(2, str(error))
    except RecursionError:
        fail(2, f"{directory} is no record of a run: it has more levels than any run writes")


@main.command()
@click.argument("scenarios", type=click.Path(path_type=Path), nargs=-1, required=True)
def validate(scenarios: tuple[Path, ...]) -> None:
    """Check SCENARIOS and report every problem with its line and column. Nothing is started.

    Directories are searched for *.yaml, and - is what stands on stdin.
    """
    from harness.errors import ScenarioError
    from harness.knowledge.versions import needs_licence
    from harness.maintenance import packages, unheard
    from harness.scenario import course, loading, plan

    wrong, files = 0, several.search(scenarios)
    for path in files:
        name = "<stdin>" if str(path) == "-" else str(path)
        try:
            if str(path) == "-":
                with click.open_file("-", "rb") as stream:
                    loaded = loading.load_from(stream, name)
            else:
                loaded = loading.load(path)
        except ScenarioError as error:
            wrong += 1
            say(error)
        else:
            tell(f"{name}: fine")
            made = plan.make(loaded.scenario, loaded.name, driver_traits.PAPER.name)
            licences = filter(None, map(needs_licence, course.serving(made.steps)))
            unknown = unheard.lines(made, settings.cache())
            for lacks in (*unknown, *licences, *packages.lacking(made.resolved)):
                tell(f"    but {lacks}")
    if wrong:
        fail(2, f"{wrong} of {len(files)} scenarios cannot be run as they stand")


@main.command()
@_scenario
@_driver
@OUTPUT
def plan(*, scenario: Path, driver: str, output: str) -> None:
    """Show what a run of SCENARIO would do: every stage, every question, every binary. Nothing is started."""
    import msgspec

    from harness.maintenance import packages, unheard
    from harness.reports import plan as paper
    from harness.scenario import plan as planning

    loaded = load(scenario)
    made = planning.make(loaded.scenario, loaded.name, driver)
    if output == "json":
        write(msgspec.json.format(msgspec.json.encode(made), indent=2).decode() + "\n")
    else:
        tell(paper.render(made, columns()))
        for lacks in (*unheard.lines(made, settings.cache()), *packages.lacking(made.resolved)):
            tell(f"  but {lacks}")


@main.command()
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", help="Form of the result.")
def version(output: str) -> None:
    """Say which release this is, and which formats it reads and writes."""
    import json

    from harness.analysis.verdict import FORMAT
    from harness.record.events import RECORD_VERSION
    from harness.scenario.schema import SCHEMA

    facts = {"rehearse": __version__, "scenario schema": SCHEMA, "record format": RECORD_VERSION, "judgement": FORMAT}
    if output == "json":
        tell(json.dumps(facts))
    else:
        tell("\n".join(f"{name} {value}" for name, value in facts.items()))


def _record(directory: Path, code: int = 2) -> Record:
    """Return the record in *directory*, or end with *code* and a sentence where there is none."""
    from harness.record import journal
    from harness.session import bundle as bundles

    try:
        return bundles.record_at(directory)
    except journal.NotARecord as error:
        fail(code, str(error))


for _chore in (
    bisect.bisect,
    maintenance.artifacts,
    maintenance.clean,
    maintenance.doctor,
    maintenance.schema,
    maintenance.completion,
    new.new,
    importing.import_,
    bundle.bundle,
    drill.drill,
    compare.compare,
    predict.predict,
    corpus.corpus,
    predict.explain,
    versions.versions_,
    matrix.matrix_,
    merge.merge,
    remote_commands.scheduler,
    remote_commands.worker,
    cells.cells_,
):
    main.add_command(_chore)
