"""The command `compare`: what one rehearsal shows and another would not have shown."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli.output import Ended, columns, fail, tell, write
from harness.cli.predict import FORETOLD
from harness.cli.reporting import OUTPUT

if TYPE_CHECKING:
    from harness.analysis.comparing import Compared, Side


@click.command()
@click.argument("first", metavar="A", type=click.Path(path_type=Path))
@click.argument("second", metavar="[B]", type=click.Path(path_type=Path), required=False)
@click.option(
    "--with", "staging", type=click.Choice(["one-cluster"]), help="In place of B: A as a staging of one cluster has it."
)
@OUTPUT
@click.option(
    "--html",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write both beside each other as a page that opens from disk into FILE.",
)
def compare(*, first: Path, second: Path | None, staging: str | None, output: str, html: Path | None) -> None:
    """Say what A shows and B would not have shown, or the reverse, and why: one sentence first.

    Each is a scenario, of which is foretold what it shows, or a kept run or a bundle. Ends with 4 where one of them is
    only foretold: that is no pass.
    """
    import msgspec

    from harness.analysis.comparing import compared
    from harness.reports import folded

    if (second is None) == (staging is None):
        raise click.UsageError("name two to compare, or one and --with one-cluster")
    found = compared(*_sides(first, second))
    if html is not None:
        _page(found, html)
    if output == "json":
        write(msgspec.json.format(msgspec.json.encode(found), indent=2).decode() + "\n")
    else:
        lines = [found.sentence]
        for one in found.apart:
            what = " ".join(part for part in (one.probe, one.app, one.item) if part)
            lines.append(f"  {one.moment}  {what}: {one.one} | {one.other}")
        lines += [f"  otherwise  {line}" for line in found.otherwise]
        tell(folded(lines, columns()))
    if found.foretold:
        raise Ended(FORETOLD)


def _page(found: Compared, place: Path) -> None:
    from harness.errors import refused_by_machine
    from harness.reports import compare_html

    try:
        place.write_text(compare_html.render(found), encoding="utf-8")
    except OSError as error:
        fail(3, refused_by_machine(error))


def _sides(first: Path, second: Path | None) -> tuple[Side, Side]:
    from harness.errors import ScenarioError
    from harness.record.journal import NotARecord
    from harness.scenario import loading
    from harness.session import comparing

    try:
        if second is not None:
            return comparing.side(first), comparing.side(second)
        loaded = loading.load(first)
        return comparing.foretold(loaded), comparing.in_one_cluster(loaded)
    except (ScenarioError, NotARecord) as error:
        fail(2, str(error))
