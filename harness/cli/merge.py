"""The command that makes one matrix of the shards that several machines have rehearsed."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli import matrix
from harness.cli.output import Ended, fail, say

if TYPE_CHECKING:
    from harness.analysis.matrix_results import MatrixResult
    from harness.session.matrix_directory import MatrixDirectory


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How the whole is reported, and where it goes."""

    run_dir: Path | None
    output: str
    html: Path | None
    markdown: Path | None
    junit: Path | None
    width: int | None


def _reported(command: Callable[..., None]) -> Callable[..., None]:
    for option in reversed(matrix.FORMS):
        command = option(command)
    return command


@click.command()
@click.argument("directories", type=click.Path(path_type=Path), nargs=-1, required=True, metavar="DIR...")
@click.option("--run-dir", type=click.Path(path_type=Path), help="Put all of it together here, with every record.")
@_reported
def merge(
    *,
    directories: tuple[Path, ...],
    run_dir: Path | None,
    output: str,
    html: Path | None,
    markdown: Path | None,
    junit: Path | None,
    width: int | None,
) -> None:
    """Make one table of the parts of a matrix in DIR...: shards that other machines have rehearsed.

    Each DIR is what `rehearse matrix --run-dir` left, or has such directories in it. Cells that no part has make the
    whole inconclusive; of a cell that several parts have, what was learned counts, and of that the worst.
    """
    from harness.analysis import matrix_merge
    from harness.session.matrix_directory import MatrixDirectory, MatrixTaken

    options = Options(run_dir=run_dir, output=output, html=html, markdown=markdown, junit=junit, width=width)
    matrix.insist_on_room(options)
    parts = _parts(directories, run_dir)
    try:
        result = matrix_merge.merged(parts)
        place = MatrixDirectory(run_dir or Path.cwd())
        if run_dir is not None:
            with place.held(say):
                result = _put_together(result, place)
    except (matrix_merge.NotOneMatrix, MatrixTaken) as error:
        fail(2, str(error))
    for line in (*matrix_merge.unlike(parts), matrix_merge.said_of_missing(result)):
        if line:
            say(line)
    matrix.report(result, place.place, options)
    if run_dir is not None:
        say(f"all of it is in {place.place}")
    raise Ended(result.exit_code)


def _parts(directories: Sequence[Path], target: Path | None) -> dict[str, MatrixResult]:
    """Return every part in or below *directories*, and what *target* holds already, each by its place.

    Ends with 2 where a directory has none, or one that cannot be read.
    """
    from harness.session.matrix_directory import RESULT_FILE, load_file

    files = [target / RESULT_FILE] if target is not None and (target / RESULT_FILE).is_file() else []
    for directory in directories:
        inside = directory / RESULT_FILE
        below = [inside] if inside.is_file() else sorted(directory.rglob(RESULT_FILE))
        if not below:
            fail(2, f"{directory}: there is no {RESULT_FILE} in or below it; is it the --run-dir of a matrix?")
        files += below
    found: dict[str, MatrixResult] = {}
    for file in files:
        part = load_file(file)
        if part is None:
            fail(2, f"{file} is damaged, or of another release: rehearse that part again")
        found[str(file.parent)] = part
    return found


def _put_together(result: MatrixResult, target: MatrixDirectory) -> MatrixResult:
    """Copy every record into the directory *target*, and return *result* with the places that they have there."""
    import msgspec

    from harness.session import matrix_directory

    target.read(result.scenario)
    cells = []
    for cell in result.cells:
        if not cell.record:
            cells.append(cell)
            continue
        place = target.place / "cells" / matrix_directory.slug(cell.id)
        if place.resolve() != Path(cell.record).resolve():
            shutil.rmtree(place, ignore_errors=True)
            shutil.copytree(cell.record, place)
        cells.append(msgspec.structs.replace(cell, record=str(place.relative_to(target.place))))
    made = msgspec.structs.replace(result, cells=tuple(cells))
    target.write(made)
    return made
