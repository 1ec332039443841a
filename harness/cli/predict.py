"""The commands `predict` and `explain`: what is known, without any server."""

from __future__ import annotations

from pathlib import Path

import click

from harness.cli.maintenance import load
from harness.cli.output import Ended, columns, fail, tell, write
from harness.cli.reporting import OUTPUT

FORETOLD = 4
"""The code that a prediction ends with: what nobody asked is inconclusive, and never a pass."""


@click.command()
@click.argument("scenario", type=click.Path(path_type=Path))
@click.option("--rollback", is_flag=True, help="Foretell the way back as well, as `run --rollback` goes it.")
@OUTPUT
def predict(*, scenario: Path, rollback: bool, output: str) -> None:
    """Foretell what a run of SCENARIO would see, at once and without any server.

    Every answer with its status, reviewer and cause; which known changes lie on the path, which of them touch this
    installation, and which no scenario can tell. Ends with 4: what is foretold is never a pass.
    """
    import msgspec

    from harness.session import prediction

    told = prediction.predict(load(scenario), rollback=rollback)
    if output == "json":
        write(msgspec.json.format(msgspec.json.encode(told), indent=2).decode() + "\n")
    else:
        from harness.reports import prediction as report

        tell(report.render(told, columns()))
    raise Ended(FORETOLD)


@click.command()
@click.argument("what", metavar="CAUSE|VERSION|FIELD|ID")
@OUTPUT
def explain(*, what: str, output: str) -> None:
    """Say what is known of a cause, a version of Vault, a field of its configs and roles, or a row of the table.

    With its source, and how it is known: run (with real servers), read (in source or documents), or reported.
    """
    import difflib

    import msgspec

    from harness.analysis import explaining

    found = explaining.explain(what)
    if found is None:
        near = difflib.get_close_matches(what, explaining.known(), n=3, cutoff=0.5)
        hint = f"did you mean {', '.join(near)}?" if near else "ask for a cause of a finding, a version, or a field"
        fail(2, f"nothing is known of {what}: {hint}")
    if output == "json":
        write(msgspec.json.format(msgspec.json.encode(found), indent=2).decode() + "\n")
    else:
        from harness.reports import explanation

        tell(explanation.render(found, columns()))
