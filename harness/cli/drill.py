"""The command `drill`: a snapshot of one's own Vault, restored and upgraded where it reaches nobody."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness import settings
from harness.cli import bring, maintenance
from harness.cli.output import Ended, end_on_sigterm, fail, say, tell
from harness.secret import Secret

if TYPE_CHECKING:
    from harness.artifacts.brought import Brought

_KEYS = "REHEARSE_UNSEAL_KEYS"
EXIT_CODES = """\
\b
Exit codes:
  0  every version was opened over the data, and lists what the one before did
  1  a version was not opened, or lists less
  2  usage
  3  the environment could not be built, or egress cannot be closed here
  4  inconclusive: the snapshot was not opened by the version it comes from,
     or something could not be counted
  5  something was left behind
"""


@click.command(epilog=EXIT_CODES)
@click.option(
    "--snapshot",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    required=True,
    help="What `vault operator raft snapshot save` wrote.",
)
@click.option("--source", metavar="VERSION", required=True, help="The version that it was taken of, such as 1.9.3.")
@click.option("--via", metavar="VERSIONS", default="", help="Versions to stop at, parted by commas.")
@click.option("--target", metavar="VERSION", required=True, help="The version to arrive at.")
@click.option(
    "--keys-fd",
    type=click.IntRange(0),
    metavar="N",
    help=f"The file descriptor that unseal keys are read from, one a line: --keys-fd 3 3<keys. Or set {_KEYS}, with "
    "spaces between them. Never as an argument, which everybody on this machine can read.",
)
@click.option(
    "--open-egress",
    is_flag=True,
    help="Let the restored Vault reach whatever this machine does. It revokes what has ended since the snapshot was "
    "taken, in your real databases and clouds.",
)
@click.option("--inside", is_flag=True, hidden=True, help="It is this program again, without a way out.")
@maintenance.sources
@bring.brings
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True, help="Form.")
def drill(
    *,
    snapshot: Path,
    source: str,
    via: str,
    target: str,
    keys_fd: int | None,
    open_egress: bool,
    inside: bool,
    mirror: str,
    insecure_mirror: bool,
    registry: str,
    offline: bool,
    brought: Brought,
    output: str,
) -> None:
    """Restore a raft snapshot of your own Vault, and take it through an upgrade, without any way out.

    It is restored into a new Vault of one node in a network of its own, unsealed with your keys, and taken from version
    to version. It is said how long each took to become active, and whether each lists as many policies, entities and
    groups. Vault's files are a copy that is gone afterwards, and your keys stand in no file, argument or log.
    """
    from harness.analysis import drills
    from harness.host import closed_network
    from harness.knowledge import versions
    from harness.reports import drill as report
    from harness.session import drill as session
    from harness.session.one_rehearsal import Options, store_of

    path = [source, *filter(None, via.split(",")), target]
    for version in path:
        try:
            versions.parse(version)
        except ValueError as error:
            raise click.UsageError(f"{version}: {error}") from None
    if keys_fd is None and not settings.unseal_keys():
        raise click.UsageError(f"there are no unseal keys: --keys-fd N, or {_KEYS} in the environment")
    places = maintenance.places()
    options = Options(
        mirror=mirror, insecure_mirror=insecure_mirror, registry=registry, offline=offline, brought=brought
    )
    binaries = store_of(options, places, say).get_all(session.wanted(path))
    if not open_egress and (way_out := closed_network.way_out()):
        if inside:
            fail(3, f"egress was closed, and there is a way out still: {way_out}")
        closed_network.close()
        # once more from the start: what a thread has opened by now is open to the old network
        os.execv(  # noqa: S606  # this very program
            sys.executable, [sys.executable, *sys.orig_argv[1:], "--inside"]
        )
    keys = _keys(keys_fd, settings.unseal_keys())
    end_on_sigterm()
    with _told_of_an_interrupt():
        seen = session.drill(snapshot.absolute(), path, keys, binaries, places, say)
    result = drills.judge(seen)
    tell((report.as_json if output == "json" else report.as_text)(seen, result).rstrip("\n"))
    if result.exit_code:
        raise Ended(result.exit_code)


@contextmanager
def _told_of_an_interrupt() -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt as error:
        left = "; ".join(getattr(error, "__notes__", ()))
        ended = left or "everything of this drill was ended, and the copy of your data is gone"
        fail(5 if left else 130, f"interrupted; {ended}")


def _keys(descriptor: int | None, given: str) -> list[Secret]:
    """Return the unseal keys out of a file descriptor, or else those *given* with spaces between them."""
    if descriptor is not None:
        try:
            with os.fdopen(descriptor, encoding="ascii") as lines:
                given = lines.read()
        except (OSError, UnicodeError) as error:
            raise click.UsageError(f"--keys-fd {descriptor}: no keys can be read there: {error}") from None
    keys = [Secret(key) for key in given.split()]
    if not keys:
        raise click.UsageError("there are no unseal keys in what was given")
    return keys
