"""The command that rehearses every known breakage, and prints the track record: each found, or not."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from harness import settings
from harness.cli import bring, maintenance
from harness.cli.output import Ended, end_on_sigterm, fail, say, tell, write
from harness.wait import now

if TYPE_CHECKING:
    from harness.analysis.track_record import Entry, Result
    from harness.artifacts.brought import Brought
    from harness.cli.matrix_workers import Task
    from harness.cli.progress import Progress

_DAY: Final = 24 * 3600


@dataclass(frozen=True, slots=True)
class _How:
    """How all of them are rehearsed, as `several.How` has it."""

    force: bool
    brought: Brought
    mirror: str
    insecure_mirror: bool
    registry: str
    offline: bool

    def words(self) -> list[str]:
        return [*(["--force"] if self.force else []), *self.brought.words()]

    def environment(self) -> dict[str, str]:
        return maintenance.environment_of_sources(
            mirror=self.mirror, insecure=self.insecure_mirror, registry=self.registry, offline=self.offline
        )


@click.command()
@click.argument("ids", metavar="[ID]...", nargs=-1)
@click.option(
    "--directory",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("scenarios/corpus"),
    show_default=True,
    help="Where the files are.",
)
@click.option("--part", metavar="K/N", help="Only one share of N: 3/14, or day/14: the one whose turn it is today.")
@click.option("--here", is_flag=True, help="Only what the binaries in the cache allow; the rest is named.")
@click.option("--list", "list_", is_flag=True, help="Print what was seen last, and rehearse nothing.")
@click.option("--json", "json_", is_flag=True, help="Print it as JSON.")
@click.option("--markdown", type=click.Path(path_type=Path, dir_okay=False), help="Also write docs/corpus.md to it.")
@click.option("--jobs", type=click.IntRange(1, 16), default=2, show_default=True, help="So many at a time.")
@click.option("--limit", type=click.FloatRange(1), default=300.0, show_default=True, help="Seconds of one of them.")
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
@click.option("-v", "--verbose", is_flag=True, help="Every line of every rehearsal.")
@maintenance.DRIVER
@maintenance.sources
@maintenance.FORCE
@bring.brings
def corpus(
    *,
    ids: tuple[str, ...],
    directory: Path,
    part: str | None,
    here: bool,
    list_: bool,
    json_: bool,
    markdown: Path | None,
    jobs: int,
    limit: float,
    quiet: bool,
    verbose: bool,
    driver: str,
    **how: object,
) -> None:
    """Rehearse the corpus of known breakages, or those with an ID, and print the track record.

    Each must be found with its cause and at its step. Exit code 1: one was not, or something else was found. What was
    seen last is kept, and --list prints it.
    """
    from harness.cli.progress import Progress
    from harness.reports import table
    from harness.reports import track_record as report
    from harness.session import corpus as files

    if markdown is not None and not markdown.absolute().parent.is_dir():
        raise click.UsageError(f"--markdown: there is no folder {markdown.absolute().parent}; make it first")
    every = _entries(directory)
    wanted = _chosen(every, ids, part)
    codes: list[int] = []
    if not list_:
        wanted = _at_hand(wanted) if here else wanted
        end_on_sigterm()
        with Progress(verbose=verbose, quiet=quiet) as going:
            found = _rehearsed(wanted, driver, jobs, limit, _How(**how), going, verbose=verbose)  # type: ignore[arg-type]
        codes = [one.exit_code for one in found]
    results = files.kept(settings.state())
    if markdown is not None:
        markdown.write_text(report.page(every, results, files.absent(directory)), encoding="utf-8")
    if json_:
        _write_json(wanted, results, codes)
    else:
        tell(report.text(wanted, results))
    raise Ended(table.worst_of(codes))


def _entries(directory: Path) -> list[Entry]:
    from harness.errors import ScenarioError
    from harness.session import corpus as files

    try:
        return files.entries(directory)
    except (ScenarioError, files.NoCorpus) as error:
        fail(2, str(error))


def _chosen(every: Sequence[Entry], ids: Sequence[str], part: str | None) -> list[Entry]:
    """Return the entries that are meant. Raises UsageError for an id, or a share, that there is not."""
    from harness.analysis import track_record

    unknown = sorted(set(ids) - {entry.id for entry in every})
    if unknown:
        raise click.UsageError(f"{', '.join(unknown)}: no such id; `rehearse corpus --list` shows all")
    meant = [entry for entry in every if not ids or entry.id in ids]
    if part is None:
        return meant
    said = re.fullmatch(r"(day|[1-9]\d?)/([1-9]\d?)", part)
    of = int(said[2]) if said else 0
    number = int(now() // _DAY) % of + 1 if said and said[1] == "day" else int(said[1]) if said else 0
    if not said or number > of:
        raise click.UsageError(f"--part {part}: right would be 3/14, or day/14 for the share of today")
    return track_record.part(meant, number, of)


def _at_hand(entries: Sequence[Entry]) -> list[Entry]:
    """Return the entries whose binaries are all in the cache, and name the others."""
    from harness.artifacts import store

    kept = {f"{one.product}:{one.version}" for one in store.cached(settings.cache())}
    for entry in entries:
        if lacking := [one for one in entry.artifacts if one not in kept]:
            say(f"{entry.id} is not rehearsed: {', '.join(lacking)} not in the cache")
    return [entry for entry in entries if set(entry.artifacts) <= kept]


def _rehearsed(
    entries: Sequence[Entry], driver: str, jobs: int, limit: float, how: _How, going: Progress, *, verbose: bool
) -> list[Result]:
    """Rehearse *entries*, and return how each came out; each result is kept as soon as it is there."""
    from harness.cli.cells import Order
    from harness.cli.matrix_workers import Task, Workers
    from harness.session import corpus as files

    state = settings.state()
    found: list[Result] = []
    of_task: dict[int, Entry] = {}

    def tasks() -> list[Task]:
        made = []
        # those with the same clusters one after the other: they are lent from one to the next
        for entry in sorted(entries, key=lambda entry: (entry.clusters, entry.id)):
            order = Order(entry.file, str(files.record_directory(state, entry)), driver)
            task = Task(entry.id, order, limit)
            of_task[id(task)] = entry
            made.append(task)
        return made

    workers = Workers(how, jobs, going, verbose=verbose)
    try:
        for task, code in workers.ended(tasks()):
            one = _result(of_task[id(task)], task, code, driver)
            files.keep(state, [one])
            found.append(one)
            word = "as expected" if not one.wrong else f"NOT AS EXPECTED: {one.wrong[0]}"
            going.say(f"[{len(found)}/{len(entries)}]  {one.id}  {word}, {one.seconds:.1f} s")
    except KeyboardInterrupt:
        going.say("interrupted: the rehearsals are ending their servers")
        if workers.end():
            fail(5, "interrupted; something was left behind: `rehearse clean`")
        raise
    return found


def _result(entry: Entry, task: Task, code: int, driver: str) -> Result:
    from harness.analysis import track_record
    from harness.cli import several

    record, judgement = several.judged(task.directory, code, task.said)
    if record is None or judgement is None or code not in (0, 1, 4):
        said = task.said[-1] if task.said else "it said nothing"
        return track_record.without_result(entry, driver, code, said, now())
    return track_record.result(entry, judgement, date=record.started.at, seconds=round(task.seconds, 1))


def _write_json(entries: Sequence[Entry], results: dict[str, Result], codes: Sequence[int]) -> None:
    import msgspec

    from harness.reports import table

    rows = [{"entry": entry, "result": results.get(entry.id)} for entry in entries]
    document = {"corpus": rows, "exit_code": table.worst_of(codes)}
    write(msgspec.json.format(msgspec.json.encode(document), indent=2).decode() + "\n")
