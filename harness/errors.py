"""What can go wrong, sorted by whose move it is.

* HarnessError
  x ScenarioError        the file is wrong            -> the author's move    (exit 2)
  x MissingPrerequisite  this machine lacks a thing   -> the operator's move  (exit 3)
  x RigError             the system would not do it   -> evidence, not blame
    + ProcessDied          exit status and last log lines
    + NotReady             what was awaited, for how long, the last answer
    + SwapRefused          the next version would not serve, and said so
  x Unreachable          we could not ask             (translated at the vault and kube doors)
  x LeftBehind           something of ours is still there (exit 5)

A *login* that Vault or Kubernetes refuses is not here: it is an Observation.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager


def advised(error: OSError, *others: str) -> str:
    """Return *error* in words, with what helps: room or rights if those are what it lacks, or any of *others*."""
    helps = list(others)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        helps.insert(0, "make room there")
    elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        helps.insert(0, "give this user the right to write there")
    return f"{error}; {', or '.join(helps)}" if helps else str(error)


@contextmanager
def naming(path: str | os.PathLike[str]) -> Iterator[None]:
    """Have an OSError of the body say that it is about *path*: a write to an open file, on a full disk, names none."""
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno is not None:
            error.filename = os.fspath(path)
        raise


def refused_by_machine(error: OSError) -> str:
    """Return what a run is told that met *error*, which says nothing about Vault."""
    return f"this machine would not do it: {advised(error, 'run again')}"


class HarnessError(Exception):
    """Base of everything the harness raises on purpose."""


class Problem:
    """One thing wrong in a scenario: where, what stands there, and what would be right."""

    __slots__ = ("column", "file", "line", "message", "offending", "remedy")

    def __init__(self, file: str, line: int, column: int, message: str, offending: str = "", remedy: str = "") -> None:
        self.file, self.line, self.column = file, line, column
        self.message, self.offending, self.remedy = message, offending, remedy

    def __str__(self) -> str:
        text = f"{self.file}:{self.line}:{self.column}: {self.message}"
        if self.offending:
            text += f"\n    found: {self.offending}"
        if self.remedy:
            text += f"\n    right: {self.remedy}"
        return text


class ScenarioError(HarnessError):
    """The scenario is wrong. Carries every problem found, not just the first."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class MissingPrerequisite(HarnessError):
    """A thing that this machine lacks; the message says what was tried and what would help."""


class RigError(HarnessError):
    """The system under rehearsal would not do it. *log* holds its last lines, if it had any."""

    def __init__(self, message: str, log: Sequence[str] = ()) -> None:
        self.log = tuple(log)
        super().__init__(message)


class ProcessDied(RigError):
    """A server ended by itself. *status* is its exit status (negative: killed by that signal)."""

    def __init__(self, message: str, status: int | None, log: Sequence[str] = ()) -> None:
        self.status = status
        super().__init__(message, log)


class NotReady(RigError):
    """Something stayed silent until the deadline. The deadline was our choice."""


class SwapRefused(RigError):
    """The next version came up and declined to serve, or answered as another version."""


class Unreachable(HarnessError):
    """A server could not be asked at all: no connection, no answer in time, TLS failure."""


class LeftBehind(HarnessError):
    """The way down did not get rid of everything; the message names what is left."""
