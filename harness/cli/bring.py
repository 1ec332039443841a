"""The options by which users bring binaries, images and a licence of their own."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    from harness.artifacts.brought import Brought

_OPTIONS: Final = (
    click.option(
        "--binary",
        "binaries",
        multiple=True,
        metavar="PRODUCT:VERSION=FILE",
        help="Use this binary of your own for that version, such as vault:1.15.6=/opt/vault. It is asked for its "
        "version, its digest is in the report, and it is kept out of the cache.",
    ),
    click.option(
        "--image",
        "images",
        multiple=True,
        metavar="PRODUCT:VERSION=NAME",
        help="With --driver kind: use this image of your own, such as vault:1.15.6=registry.example.com/vault:ours, "
        "openbao:2.6.2=... or node:1.32.0=...",
    ),
    click.option(
        "--licence-file",
        type=click.Path(path_type=Path),
        envvar="VAULT_LICENSE_PATH",
        show_envvar=True,
        help="The licence of Vault Enterprise (versions with +ent); also out of VAULT_LICENSE. It is handed to the "
        "servers and stands in no record.",
    ),
)


def brings(command: Callable[..., None]) -> Callable[..., None]:
    """Give *command* the options of what the user brings; it gets them together, as a Brought."""

    @functools.wraps(command)
    def with_brought(
        *, binaries: tuple[str, ...], images: tuple[str, ...], licence_file: Path | None, **rest: Any
    ) -> None:
        command(brought=of(binaries, images, licence_file), **rest)

    for option in reversed(_OPTIONS):
        with_brought = option(with_brought)
    return with_brought


def insist_on_use(brought: Brought, artifacts: Iterable[Iterable[tuple[str, str]]]) -> None:
    """Raise UsageError for what is in none of *artifacts*: a version that is mistyped would silently be another one."""
    needed = [one for each in artifacts for one in each]
    if unused := brought.unused(needed):
        wanted = dict.fromkeys(f"{product}:{version}" for product, version in needed)
        raise click.UsageError(f"{', '.join(unused)}: nothing here needs that; what is needed: {', '.join(wanted)}")


def of(binaries: Sequence[str], images: Sequence[str], licence_file: Path | None) -> Brought:
    """Return what the words of these options mean. Raises UsageError."""
    from harness.artifacts import brought, go_recipes

    files = [
        (product, version, Path(place).absolute())
        for product, version, place in _each("--binary", binaries, go_recipes.products())
    ]
    names = _each("--image", images, brought.IMAGES)
    return brought.Brought(tuple(files), tuple(names), licence_file.absolute() if licence_file else None)


def _each(option: str, given: Sequence[str], products: Iterable[str]) -> list[tuple[str, str, str]]:
    from harness.artifacts import brought

    found: dict[tuple[str, str], str] = {}
    for text in given:
        try:
            product, version, place = brought.parsed(text, products)
        except ValueError as error:
            raise click.UsageError(f"{option}: {error}") from None
        if found.setdefault((product, version), place) != place:
            raise click.UsageError(
                f"{option}: {product}:{version} is named twice, as {found[product, version]} and {place}"
            )
    return [(product, version, place) for (product, version), place in found.items()]
