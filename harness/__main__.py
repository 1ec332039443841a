"""`python -m harness` is `rehearse`: however it ends, 1 is left to those who mean it.

Everything else is imported where it can be caught: Python's own exit code for a traceback is 1, and that would read as
a regression.
"""

from __future__ import annotations

import sys
from types import TracebackType
from typing import NoReturn


def main() -> NoReturn:
    """Run the command line, and end with its exit code; a fault of this tool, or of what it is made of, is a 3."""
    try:
        code = _ended()
    except KeyboardInterrupt:
        code = 130
    except BaseException as error:  # noqa: BLE001  # whatever it is, it says nothing about Vault
        code = _fault(error)
    sys.exit(_flushed(code))


def _ended() -> int:
    import click

    from harness.cli import commands, output

    try:
        # what it returns is the code of --help and the like
        return int(commands.main(prog_name="rehearse", standalone_mode=False) or 0)
    except output.Ended as ended:
        return int(ended.code or 0)
    except click.ClickException as error:
        error.show()
        return 2
    except click.Abort:
        return 130


def _fault(error: BaseException) -> int:
    """Say in one sentence what went wrong, and where; the traceback is for those who look for the fault."""
    where, importing = _place(error.__traceback__)
    if isinstance(error, SyntaxError) and error.filename:
        where = f"{error.filename}:{error.lineno}"
    what = f"{type(error).__name__}: {error}".rstrip(": ")
    if importing or isinstance(error, ImportError):
        said = (
            f"rehearse cannot start: {what}, while its parts were loaded, at {where}; this says nothing about Vault. "
            "If that file is none of rehearse's, take it off PYTHONPATH and out of the directory you are in; "
            "otherwise install rehearse again"
        )
    else:
        said = (
            f"this is a fault of rehearse, and says nothing about Vault: {what}, at {where}; please report it with "
            "what REHEARSE_DEBUG=1 adds to this line"
        )
    try:
        from harness import settings
        from harness.cli import output

        if settings.debugging():
            import traceback

            said = "".join(traceback.format_exception(error)) + said
        output.say(said)
    except BaseException:  # noqa: BLE001  # the very parts that would say it may be the ones that are broken
        _write(said)
    return 3


def _place(trace: TracebackType | None) -> tuple[str, bool]:
    """Return where an exception came from, as file and line, and whether a module was being imported there."""
    where, importing = "no place known", False
    while trace is not None:
        file, name = trace.tb_frame.f_code.co_filename, trace.tb_frame.f_code.co_name
        importing = importing or name == "<module>"
        where = where if file.startswith("<frozen") else f"{file}:{trace.tb_lineno}"
        trace = trace.tb_next
    return where, importing


def _write(said: str) -> None:
    try:
        sys.stderr.write("".join(c if c.isprintable() else " " for c in said) + "\n")
    except (OSError, AttributeError):
        return


def _flushed(code: int) -> int:
    """Return *code* once stdout is written out: what fails while Python ends would replace it."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        _discard()
    except (OSError, ValueError):
        _discard()
        return code or 3
    return code


def _discard() -> None:
    import os

    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    main()
