"""The command that says which versions there are, and which of them can be had here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from harness import settings
from harness.cli.maintenance import INSECURE_MIRROR, MIRROR
from harness.cli.output import fail, say, tell, write
from harness.cli.reporting import OUTPUT

if TYPE_CHECKING:
    from harness.artifacts.availability import Availability
    from harness.knowledge.releases import Table

_TITLES: Final = {"vault": "Vault", "kubernetes": "Kubernetes"}


@click.command(name="versions")
@click.argument("ranges", nargs=-1)
@click.option(
    "--product",
    type=click.Choice(["vault", "kubernetes"]),
    help="One of them; left out: Vault, and with no RANGES both.",
)
@click.option("--update", is_flag=True, help="Ask the release servers, or the mirror, for releases that are newer.")
@MIRROR
@INSECURE_MIRROR
@OUTPUT
def versions_(
    *, ranges: tuple[str, ...], product: str | None, update: bool, mirror: str, insecure_mirror: bool, output: str
) -> None:
    """Say which versions RANGES stand for, and for each whether it can be had here and from where.

    A range is 1.8..1.13 (the newest patch of each minor), 1.11, all, 1.8..1.13:all (every patch), or 1.8..1.13:here
    (what is cached here or known to build). Left out: the newest patch of each minor, and what is cached. Nobody is
    asked, but with --update.
    """
    from harness.knowledge.releases import UnknownVersion

    if update:
        _update(mirror, insecure=insecure_mirror)
    products = [product] if product else ["vault"] if ranges else ["vault", "kubernetes"]
    try:
        found = [_rows(each, ranges) for each in products]
    except UnknownVersion as error:
        fail(2, str(error))
    if output == "json":
        write(_json(found))
        return
    for known, rows in found:
        tell(f"{_TITLES[known.product]}, as of {known.as_of} ({known.source})")
        for row in rows:
            tell(_line(row))


def _update(mirror: str, *, insecure: bool) -> None:
    from harness.artifacts import availability
    from harness.artifacts.downloads import Downloads

    before = {name: availability.table(name, settings.cache()) for name in _TITLES}
    downloads = Downloads(mirror, settings.environment(), say, insecure=insecure)
    for after in availability.update(settings.cache(), downloads):
        new = [each for each in after.released if each not in before[after.product].released]
        say(f"{_TITLES[after.product]}: {len(new)} releases are new here{': ' if new else ''}{', '.join(new)}")


def _rows(product: str, ranges: tuple[str, ...]) -> tuple[Table, list[Availability]]:
    from harness.artifacts import availability
    from harness.knowledge import releases, versions

    known = availability.table(product, settings.cache())
    here = {each.version: each for each in availability.of(product, list(known.released), settings.cache(), known)}
    if ranges:
        wanted = releases.resolve(",".join(ranges), known, lambda version: here[version].surely)
    else:
        newest = releases.resolve("..", known)
        wanted = tuple(versions.ascending([*newest, *(each for each, one in here.items() if one.cached)]))
    return known, availability.of(product, wanted, settings.cache(), known)


def _line(row: Availability) -> str:
    where = ", ".join(row.sources) or "nowhere that is known"
    why = f"; not built from modules: {row.not_built}" if row.not_built and not row.cached else ""
    return f"  {row.version:10} {row.released or '?':10}  {where}{why}"


def _json(found: list[tuple[Table, list[Availability]]]) -> str:
    import msgspec

    shaped = [
        {
            "product": known.product,
            "as_of": known.as_of,
            "source": known.source,
            "versions": [{**msgspec.to_builtins(row), "sources": row.sources} for row in rows],
        }
        for known, rows in found
    ]
    return msgspec.json.format(msgspec.json.encode(shaped), indent=2).decode() + "\n"
