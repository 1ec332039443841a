"""What this program prints, and how it ends: results on stdout, all else on stderr.

A reader who is gone (`| head`) changes nothing: no word is owed to nobody, and the exit code stays what it is.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import sys
from typing import Any, NoReturn, TextIO

import click

from harness import secret
from harness.reports import harmless


class Ended(SystemExit):
    """The end of this program with a code that it means: a library's own exit code says nothing about Vault."""


def end_on_sigterm() -> None:
    """Have SIGTERM interrupt this program as Ctrl-C does: whoever rehearses ends the servers first."""

    def interrupt(_number: int, _frame: object) -> NoReturn:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)


def say(line: Any) -> None:
    """Print *line* on stderr: progress, or what is wrong. Where that cannot be written, nobody misses it."""
    try:
        click.echo(shown(line), err=True)
    except OSError:
        silence(sys.stderr)


def tell(text: Any) -> None:
    """Print *text* on stdout, with whatever could steer a terminal or a CI job's log written out.

    Raises OSError where it cannot be written, though somebody reads it: a full disk.
    """
    write(shown(text) + "\n")


def shown(text: Any) -> str:
    """Return *text* without secrets, and with whatever could steer a terminal or a CI job's log written out."""
    return harmless(secret.redact(str(text)))


def write(text: str) -> None:
    """Print *text* on stdout as it is. Raises OSError as `tell` does."""
    try:
        click.echo(text, nl=False)
    except BrokenPipeError:
        silence(sys.stdout)


def columns() -> int | None:
    """Return how wide a text for people is to be: as the terminal, to a width that is read well; None: no terminal."""
    if not sys.stdout.isatty():
        return None  # lines stay whole for whoever searches them
    return min(max(shutil.get_terminal_size((100, 24)).columns, 40), 100)


def fail(code: int, message: str) -> NoReturn:
    """Print *message* on stderr and end with *code*."""
    say(message)
    raise Ended(code)


def reader_left() -> bool:
    """Has whoever read stdout gone?"""
    watched = select.poll()
    try:
        watched.register(sys.stdout, 0)
        return any(what & select.POLLERR for _, what in watched.poll(0))
    except (OSError, ValueError, TypeError):
        # no file behind it
        return False


def silence(stream: TextIO | None) -> None:
    """Write nowhere what *stream* still holds: it would fail once more while Python ends, and replace the exit code."""
    if stream is not None:
        try:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        except (OSError, ValueError):
            # no file behind it, as in a test
            return
