"""The command that rehearses every cell of a matrix, lists them, or shares them out."""

from __future__ import annotations

import contextlib
import functools
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn, Protocol

import click

from harness import settings
from harness.cli import bring, maintenance, remote_commands
from harness.cli.output import Ended, end_on_sigterm, fail, say, tell, write

if TYPE_CHECKING:
    from harness.analysis.matrix_results import CellResult, MatrixResult
    from harness.artifacts.brought import Brought
    from harness.artifacts.store import Store
    from harness.cli.matrix_running import Get, Look, Rehearsing, Running
    from harness.cli.progress import Progress
    from harness.scenario.loading import Loaded
    from harness.scenario.matrix import Cell, Matrix
    from harness.session.matrix_directory import MatrixDirectory

_MOST_JOBS_OF_GITHUB: Final = 256


class Forms(Protocol):
    """How a matrix is reported, and where else than on stdout."""

    @property
    def output(self) -> str: ...
    @property
    def html(self) -> Path | None: ...
    @property
    def markdown(self) -> Path | None: ...
    @property
    def junit(self) -> Path | None: ...
    @property
    def width(self) -> int | None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the command line says."""

    target: str | None
    set_: tuple[str, ...]
    driver: str | None
    filter_: tuple[str, ...]
    shard: str | None
    shards: int | None
    list_: bool
    json_: bool
    strict: bool
    rollback: bool
    noise_floor: bool
    run_dir: Path | None
    durations: Path | None
    jobs: int | None
    limit: float
    fail_fast: bool
    rerun: str | None
    fresh: bool
    alone: bool
    output: str
    html: Path | None
    markdown: Path | None
    junit: Path | None
    width: int | None
    quiet: bool
    verbose: bool
    mirror: str
    insecure_mirror: bool
    registry: str
    offline: bool
    force: bool
    brought: Brought
    scheduler: str | None
    tls_dir: Path | None
    insecure_scheduler: bool

    def axes(self) -> dict[str, list[str]]:
        """Return the axes that are given, by the path of their field. Raises UsageError for one that names none."""
        given: dict[str, list[str]] = {}
        if self.target is not None:
            given["vault.target"] = self.target.split(",")
        for one in self.set_:
            path, equals, words = one.partition("=")
            if not equals or not path:
                raise click.UsageError(f"--set {one}: the path of a field, =, and its values: vault.storage=raft,file")
            given[path] = words.split(",")
        if self.driver is not None:
            given["driver"] = self.driver.split(",")
        return given

    def words(self) -> list[str]:
        """Return what makes another process rehearse a cell in this way, but for its driver and its environment."""
        flags = {
            "--strict": self.strict,
            "--rollback": self.rollback,
            "--noise-floor": self.noise_floor,
            "--force": self.force,
        }
        return [*(flag for flag, given in flags.items() if given), *self.brought.words()]

    def environment(self) -> dict[str, str]:
        """Return the rest of it: an address may hold a password, and every user can read a command line."""
        return maintenance.environment_of_sources(
            mirror=self.mirror, insecure=self.insecure_mirror, registry=self.registry, offline=self.offline
        )


FORMS: Final = (
    click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True),
    click.option("--html", type=click.Path(path_type=Path, dir_okay=False), help="Also write a page to this file."),
    click.option("--markdown", type=click.Path(path_type=Path, dir_okay=False), help="Also write Markdown to it."),
    click.option("--junit", type=click.Path(path_type=Path, dir_okay=False), help="Also write JUnit XML to it."),
    click.option("--width", type=click.IntRange(40, 400), help="Columns of the text."),
)
"""The options that say how a matrix is reported."""

_OPTIONS: Final = (
    click.option("--target", help="Vault versions to arrive at: 1.8..1.13, 1.11.0,1.13, all; `rehearse versions`."),
    click.option("--set", "set_", multiple=True, metavar="PATH=VALUES", help="An axis: auth.kubernetes.reviewer=a,b."),
    click.option(
        "--driver", envvar="REHEARSE_DRIVER", show_envvar=True, help="local (left out), kind, paper, or several."
    ),
    click.option("--filter", "filter_", multiple=True, help="Only cells that fit: target=1.1*,!kind. Any of several."),
    click.option("--shard", metavar="N/M", help="Only the share of one machine of several: 2/5."),
    click.option("--shards", type=click.IntRange(1, 256), help="With --json: so many shards instead of cells."),
    click.option("--list", "list_", is_flag=True, help="Say which cells there are, and rehearse none."),
    click.option("--json", "json_", is_flag=True, help="The same as the matrix of a GitHub Actions job."),
    click.option(
        "--strict",
        is_flag=True,
        envvar="REHEARSE_STRICT",
        help="Latent findings, and answers that were not foretold, fail a cell too.",
    ),
    click.option("--rollback", is_flag=True, envvar="REHEARSE_ROLLBACK", help="Go back at the end of every cell."),
    maintenance.NOISE_FLOOR,
    click.option("--run-dir", type=click.Path(path_type=Path), help="Where all of it is kept, and goes on from there."),
    click.option("--durations", type=click.Path(path_type=Path, exists=True), help="A matrix.json by which to share."),
    click.option("--jobs", type=click.IntRange(1, 64), help="Cells at a time. Left out: what this machine carries."),
    click.option("--limit", type=click.FloatRange(1), default=900.0, show_default=True, help="Seconds of one cell."),
    click.option("--fail-fast", is_flag=True, help="Begin no other cell after a regression."),
    click.option("--rerun", type=click.Choice(["inconclusive", "fail", "all"]), help="Also finished cells like that."),
    click.option("--fresh", is_flag=True, hidden=True, help="As --rerun all."),
    click.option("--alone", is_flag=True, help="Every cell from nothing: none has what another one had before."),
    *FORMS,
    click.option("-q", "--quiet", is_flag=True, help="No progress."),
    click.option("-v", "--verbose", is_flag=True, help="Every line of every cell."),
    maintenance.MIRROR,
    maintenance.INSECURE_MIRROR,
    maintenance.REGISTRY,
    maintenance.OFFLINE,
    maintenance.FORCE,
    *remote_commands.SCHEDULER,
)


def _optioned(command: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(command)
    def with_options(*, scenario: Path, **given: Any) -> None:
        command(scenario, Options(**given))

    for option in reversed(_OPTIONS):
        with_options = option(with_options)
    return bring.brings(with_options)


@click.command(name="matrix")
@click.argument("scenario", type=click.Path(path_type=Path))
@_optioned
def matrix_(scenario: Path, options: Options) -> None:
    """Rehearse every variant of SCENARIO, and say where which of them breaks and why.

    Axes stand in the scenario (`matrix`), or are given here: --target 1.8..1.13 --set vault.storage=raft,file. What is
    finished is kept: an interrupted matrix goes on where it was, and a cell is rehearsed again only if what it is made
    of has changed.
    """
    loaded = maintenance.load(scenario)
    wanted, every = _cells(loaded, options)
    directory = _directory(scenario, options)
    whole, cells = _chosen(every, options)
    if options.json_:
        _write_json(cells, options)
    elif options.list_:
        _list(cells, directory, loaded, options)
    else:
        insist_on_room(options)
        _insist_on_one_place(options)
        _insist_on_use(loaded, every, options)
        end_on_sigterm()
        _run(loaded, wanted, every, whole, cells, directory, options)


def insist_on_room(options: Forms) -> None:
    """Raise UsageError for a report whose folder is not there."""
    for option, file in (("--junit", options.junit), ("--markdown", options.markdown), ("--html", options.html)):
        if file is not None and not file.absolute().parent.is_dir():
            raise click.UsageError(f"{option}: there is no folder {file.absolute().parent}; make it first")


def _insist_on_one_place(options: Options) -> None:
    """Raise UsageError for what is of this machine, where others rehearse."""
    if options.scheduler is None:
        return
    remote_commands.checked(options.scheduler, options.tls_dir, insecure=options.insecure_scheduler)
    if options.jobs is not None:
        raise click.UsageError("--jobs: each worker has its own, `rehearse worker --jobs`")
    if options.brought.binaries or options.brought.images:
        raise click.UsageError("--binary and --image are of this machine, and a worker has none of them")


def _insist_on_use(loaded: Loaded, cells: Sequence[Cell], options: Options) -> None:
    """Raise UsageError for what the user brings and no cell uses."""
    from harness.errors import ScenarioError
    from harness.scenario import loading, plan

    if options.brought == type(options.brought)():
        return
    plans = []
    for cell in cells:
        with contextlib.suppress(ScenarioError):
            one = loading.of_cell(loaded, cell)
            plans.append(plan.make(one.scenario, one.name, cell.driver))
    bring.insist_on_use(options.brought, (made.artifacts for made in plans))


def _cells(loaded: Loaded, options: Options) -> tuple[Matrix, tuple[Cell, ...]]:
    """Return the matrix and all its cells, or end with a sentence and exit code 2."""
    from harness.artifacts import availability
    from harness.scenario import matrix

    document, given = matrix.plain(loaded.scenario), options.axes()

    @functools.cache
    def surely(product: str) -> set[str]:
        known = availability.table(product, settings.cache())
        return {
            one.version for one in availability.of(product, list(known.released), settings.cache(), known) if one.surely
        }

    try:
        wanted = matrix.read(
            document,
            given,
            lambda product: availability.table(product, settings.cache()),
            lambda product, version: version in surely(product),
        )
        if not wanted.axes:
            raise click.UsageError(
                "nothing is varied: give an axis, such as --target 1.8..1.13, or write `matrix` into the scenario"
            )
        return wanted, matrix.cells(document, wanted)
    except matrix.MatrixError as error:
        fail(2, str(error))


def _directory(scenario: Path, options: Options) -> MatrixDirectory:
    from harness.session import matrix_directory

    place = options.run_dir or matrix_directory.usual_place(settings.state(), scenario)
    return matrix_directory.MatrixDirectory(place)


def _chosen(cells: Sequence[Cell], options: Options) -> tuple[tuple[Cell, ...], tuple[Cell, ...]]:
    """Return the cells that are meant, and those of them that are this machine's share."""
    from harness.scenario import matrix_choice
    from harness.scenario.matrix import MatrixError
    from harness.session import matrix_directory

    try:
        found = matrix_choice.chosen(cells, options.filter_)
        if options.shard is None:
            return found, found
        number, of = matrix_choice.share(options.shard)
        before = matrix_directory.load_file(options.durations) if options.durations else None
        seconds = {one.id: one.seconds for one in before.cells} if before is not None else {}
        return found, matrix_choice.shard(found, number, of, seconds)
    except MatrixError as error:
        fail(2, str(error))


def _write_json(cells: Sequence[Cell], options: Options) -> None:
    """Print the cells, or shards of them, as GitHub Actions takes a matrix: one line, for an output of a job."""
    include: list[dict[str, Any]] = [{"cell": cell.id, "driver": cell.driver, **cell.values} for cell in cells]
    if options.shards is not None:
        if options.shards > len(cells):
            fail(2, f"{options.shards} shards of {len(cells)} cells; right would be: at most {len(cells)}")
        include = [{"shard": f"{number}/{options.shards}"} for number in range(1, options.shards + 1)]
    if len(include) > _MOST_JOBS_OF_GITHUB:
        fail(2, f"{len(include)} cells are more jobs than GitHub takes ({_MOST_JOBS_OF_GITHUB}); right: --shards 20")
    write(json.dumps({"include": include}) + "\n")


def _list(cells: Sequence[Cell], directory: MatrixDirectory, loaded: Loaded, options: Options) -> None:
    from harness.session import matrix_directory

    found = matrix_directory.load(directory.place)
    known = {one.id: one for one in found.cells} if found is not None and found.scenario == loaded.name else {}
    keys, digests = _keys(cells, options), _digests(options, known.values())
    for cell in cells:
        one = known.get(cell.id)
        if one is not None and matrix_directory.holds(one, keys[cell.id], digests):
            tell(f"{cell.id}  [{cell.driver}]  {one.outcome}, {one.seconds:.1f} s")
        else:
            tell(f"{cell.id}  [{cell.driver}]  {'to be rehearsed again' if one is not None else 'to be rehearsed'}")
    say(f"{len(cells)} cells; what is finished is in {directory.place}")


def _digests(options: Options, finished: Iterable[CellResult]) -> dict[str, str]:
    """Return the digest of every binary that is here, and of the images that *finished* cells were made of.

    By product and version; what the user brings goes first. Of an image that is not here nothing is known.
    """
    binaries = maintenance.digests(options.brought.binaries)
    names = dict.fromkeys(name for one in finished for name in one.artifacts)
    images = maintenance.image_ids(
        [(product, version) for product, _, version in (name.partition(" ") for name in names)],
        _store(options, lambda _line: None),
        options.registry,
        options.brought,
    )
    return {f"{product} {version}": digest for (product, version), digest in (binaries | images).items()}


def _run(
    loaded: Loaded,
    wanted: Matrix,
    every: Sequence[Cell],
    whole: Sequence[Cell],
    cells: Sequence[Cell],
    directory: MatrixDirectory,
    options: Options,
) -> NoReturn:
    from harness.cli import matrix_running
    from harness.cli.progress import Progress
    from harness.reports import matrix_html
    from harness.session.matrix_directory import MatrixTaken

    going = Progress(verbose=options.verbose, quiet=options.quiet)
    running: Running | None = None
    try:
        with going, directory.held(going.say):
            keys = _keys(every, options)
            known = _known(loaded, keys, directory, options)
            pending = [cell for cell in cells if not _stays(known.get(cell.id), options.rerun)]
            running = matrix_running.Running(
                loaded,
                wanted,
                cells,
                directory,
                keys,
                options,
                options.jobs or matrix_running.usual_jobs(pending),
                options.limit,
                options.fail_fast,
                options.rollback,
                going,
                options.verbose,
                known,
                tuple(cell.id for cell in whole),
                options.alone,
                _elsewhere(options, going),
            )
            if options.jobs and not options.force:
                matrix_running.insist_on_room(pending, options.jobs)
            for cell in pending:
                known.pop(cell.id, None)
            if len(pending) < len(cells):
                going.say(f"{len(cells) - len(pending)} of {len(cells)} cells are as they were, in {directory.place}")
            result = running.run(pending, *_getter(options, going.say))
            directory.write(_all(running, result))
            directory.write_page(matrix_html.render(result))
    except MatrixTaken as error:
        fail(2, str(error))
    except KeyboardInterrupt:
        done = len(running.results) if running is not None else 0
        fail(
            130,
            f"interrupted; all rehearsals were ended. {done} cells are finished; the same command goes on from there",
        )
    report(result, directory.place, options)
    say(f"all of it is in {directory.place}; index.html there shows it with the evidence of each cell")
    raise Ended(result.exit_code)


def _elsewhere(options: Options, going: Progress) -> Rehearsing | None:
    """Return the workers of the scheduler that is named; None where this machine rehearses."""
    if options.scheduler is None:
        return None
    from harness.cli.remote import RemoteWorkers
    from harness.cli.remote_cell import Security

    directory = remote_commands.checked(options.scheduler, options.tls_dir, insecure=options.insecure_scheduler)
    words = [*options.words(), *(["--offline"] if options.offline else [])]
    return RemoteWorkers(options.scheduler, Security(directory), words, going)


def _all(running: Running, result: MatrixResult) -> MatrixResult:
    """Return *result* with the finished cells beside it, those of other shards and filters."""
    import msgspec

    return msgspec.structs.replace(result, cells=tuple(running.results.values()))


def _keys(cells: Sequence[Cell], options: Options) -> dict[str, str]:
    from harness.session import matrix_directory

    words = tuple(options.words())
    return {cell.id: matrix_directory.key(cell, words) for cell in cells}


def _known(
    loaded: Loaded, keys: Mapping[str, str], directory: MatrixDirectory, options: Options
) -> dict[str, CellResult]:
    """Return the finished cells that are made of what they would be made of today."""
    from harness.session import matrix_directory

    found = directory.read(loaded.name)
    if found is None or options.fresh:
        return {}
    digests = _digests(options, found.cells)
    return {one.id: one for one in found.cells if one.id in keys and matrix_directory.holds(one, keys[one.id], digests)}


def _stays(found: CellResult | None, rerun: str | None) -> bool:
    return found is not None and rerun not in ("all", found.verdict)


def _getter(options: Options, speak: Callable[[str], None]) -> tuple[Get, Look]:
    """Return what gets one binary or image, and what looks at once for what the cache has of many."""
    kept = _store(options, speak)
    get = maintenance.getter(kept, options.registry, speak, options.brought, offline=options.offline)
    return get, kept.look


def _store(options: Options, speak: Callable[[str], None]) -> Store:
    return maintenance.store(
        options.mirror, speak, insecure=options.insecure_mirror, offline=options.offline, brought=options.brought
    )


def report(result: MatrixResult, place: Path, options: Forms) -> None:
    """Print the result, and write it where it is asked for; *place* is where the records of its cells are below."""
    import shutil

    import msgspec

    from harness.reports import matrix_text

    if options.output == "json":
        write(msgspec.json.format(msgspec.json.encode(result), indent=2).decode() + "\n")
    else:
        columns = options.width or min(max(shutil.get_terminal_size((120, 24)).columns, 40), 400)
        write(matrix_text.render(result, width=columns, colour=settings.colour()) + "\n")
    try:
        if options.markdown is not None:
            options.markdown.write_text(matrix_text.page(result), encoding="utf-8")
        if options.junit is not None:
            options.junit.write_text(_junit(result, place), encoding="utf-8")
        if options.html is not None:
            from harness.reports import matrix_html

            options.html.write_text(matrix_html.render(result), encoding="utf-8")
    except OSError as error:
        fail(
            3,
            f"the report could not be written to {error.filename}: {error.strerror}; the same command writes it again",
        )


def _junit(result: MatrixResult, place: Path) -> str:
    from harness.cli import matrix_running
    from harness.reports import junit

    suites = []
    for cell in result.cells:
        judgement = matrix_running.judged_again(place, cell)
        name = f"{result.scenario}[{cell.id}]"
        if judgement is None or cell.exit_code not in (0, 1, 4):
            suites.append(junit.suite_without_record(name, list(cell.reasons)))
        else:
            import msgspec

            suites.append(junit.suite(msgspec.structs.replace(judgement, scenario=name)))
    return junit.document(suites)
