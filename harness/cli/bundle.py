"""The command `bundle`: a run in one archive, to attach to a report."""

from __future__ import annotations

from pathlib import Path

import click

from harness import settings
from harness.cli.output import fail, say, tell


@click.command()
@click.argument("directory", type=click.Path(path_type=Path), required=False)
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="The archive, named *.tar.gz.")
def bundle(*, directory: Path | None, output: Path | None) -> None:
    """Write the run in DIRECTORY (left out: the newest) to one archive, to attach to a report.

    It holds the record, the judgement, the versions and the logs, with every secret taken out once more. `judge` reads
    it anywhere, without any server.
    """
    from harness.record.journal import NotARecord
    from harness.session import bundle as bundles

    run = directory if directory is not None else settings.state() / "runs" / "latest"
    name = f"{run.resolve().name if run.is_dir() else run.stem}{bundles.SUFFIX}"
    target = output or Path(name)
    if not target.name.endswith(bundles.SUFFIX):
        raise click.UsageError(f"-o: an archive is named *{bundles.SUFFIX}, by which `judge` knows it")
    try:
        manifest = bundles.pack(run, target)
    except NotARecord as error:
        fail(2, str(error))
    except bundles.NotBundled as error:
        fail(3, str(error))
    for one in manifest.files:
        if one.redacted:
            say(f"{one.name}: something with the shape of a secret was taken out")
    say(f"still in it: {manifest.not_taken_out}")
    tell(target)
