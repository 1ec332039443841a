"""`python -m harness` is `rehearse`."""

from __future__ import annotations

import sys
import traceback

import click

from harness import cli


def main() -> None:
    """Run the command line; a fault of this tool is exit 3, because Python's own 1 would read as a regression."""
    try:
        cli.main(prog_name="rehearse")
    except OSError as error:
        cli.silence_stdout()
        click.echo(f"this machine would not do it: {error}; give it room, or rights, and run again", err=True)
        sys.exit(3)
    except Exception:  # noqa: BLE001  # whatever it is, it says nothing about Vault
        traceback.print_exc()
        click.echo(
            "this is a fault of rehearse, and says nothing about Vault; please report it with these lines", err=True
        )
        sys.exit(3)


if __name__ == "__main__":
    main()
