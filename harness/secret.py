"""Strings that do not print themselves, and the memory of a run's strings that keeps them out of any text.

A run has its own `Secrets`, which its journal opens and drops: runs side by side in one process neither share them nor
pay for each other's, and nothing is left of a run that has ended. Clients that read a secret out of an answer know no
run, so it is the thread that says whose it is. What belongs to no run, because a thread was never told, is looked for
in every text; and a thread that was never told looks for the secrets of all runs.
"""

from __future__ import annotations

import base64
import hashlib
import heapq
import json
import os
import re
import threading
import urllib.parse
import weakref
from bisect import insort
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final, ParamSpec, TypeVar, final

P = ParamSpec("P")
T = TypeVar("T")

# New in every process: a fingerprint joins lines of its runs and is worthless outside it.
_KEY: Final = os.urandom(32)
_SHORTEST: Final = 6  # shorter values would blank out ordinary words


def fingerprint(value: str) -> str:
    """Return the short keyed hash that stands for *value* in records of this run."""
    return "secret:" + hashlib.blake2b(value.encode(), key=_KEY, digest_size=6).hexdigest()


def _disguises(value: str) -> set[str]:
    """Return the ways in which *value* can stand in a text: plain, JSON, URL, base64 at any alignment, line by line."""
    forms = {value} | {json.dumps(value, ensure_ascii=ascii_only)[1:-1] for ascii_only in (True, False)}
    forms |= {urllib.parse.quote(value, safe=""), urllib.parse.quote(value), urllib.parse.quote_plus(value)}
    forms |= {line for line in value.splitlines() if len(line) >= 16 and "-----" not in line}
    raw = value.encode()
    for shift in range(3):
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            text = encode(b"\0" * shift + raw).decode().rstrip("=")
            # the characters at either end also depend on the neighbours: leave them out
            inner = text[(0, 2, 3)[shift] : len(text) - 1]
            if len(inner) >= 12:
                forms.add(inner)
    return {form for form in forms if len(form) >= _SHORTEST}


Form = tuple[str, str]
"""A way in which a secret can stand in a text, and what stands there instead of it."""


def _longest_first(form: Form) -> int:
    return -len(form[0])


class Secrets:
    """Every secret of one run, in every disguise, longest first. Threads may share one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._values: set[str] = set()
        self._there: set[str] = set()
        self._sorted: list[Form] = []
        self._forms: tuple[Form, ...] | None = ()
        self._merged: tuple[tuple[tuple[Form, ...], ...], tuple[Form, ...]] | None = None
        with _gate:
            _living.add(self)

    def add(self, value: str) -> None:
        """Keep *value* out of this run's texts from here on."""
        with self._lock:
            if len(value) < _SHORTEST or value in self._values:
                return
            self._values.add(value)
            stand_in = fingerprint(value)
            for form in _disguises(value) - self._there:
                self._there.add(form)
                insort(self._sorted, (form, stand_in), key=_longest_first)
            self._forms = None

    @property
    def forms(self) -> tuple[Form, ...]:
        """Return every form of every secret, longest first."""
        with self._lock:
            if self._forms is None:
                self._forms = tuple(self._sorted)
            return self._forms

    def hand_on(self, to: Secrets) -> None:
        """Have another run know every secret of this one."""
        with self._lock:
            values = tuple(self._values)
        for value in values:
            to.add(value)

    def forget(self) -> None:
        """Drop every secret: the run has ended."""
        with self._lock:
            self._values, self._there, self._sorted, self._forms = set(), set(), [], ()
        with _gate:
            # another run's may have this one's among them
            for run in _living:
                run.part()

    def part(self) -> None:
        """Drop what was put together of the forms of several runs."""
        self._merged = None

    def with_those(self, others: Sequence[tuple[Form, ...]]) -> tuple[Form, ...]:
        """Return the forms of this run and of *others*, longest first. For the same ones that is made once."""
        known = (self.forms, *others)
        made = self._merged
        if made is None or [*map(id, made[0])] != [*map(id, known)]:
            made = self._merged = known, tuple(heapq.merge(*known, key=_longest_first))
        return made[1]

    @contextmanager
    def open(self) -> Iterator[None]:
        """Have the secrets that this thread meets in the body be of this run, and kept out of the texts it writes."""
        before = _open.set((*_open.get(), self))
        try:
            yield
        finally:
            _open.reset(before)

    def __reduce__(self) -> tuple[type[Secrets], tuple[()]]:
        # an exception may carry it to another process; the secrets themselves stay in this one
        return Secrets, ()


_gate: Final = threading.Lock()
_living: Final = weakref.WeakSet[Secrets]()
"""of every run that is left, through *_gate*"""
_open: Final = ContextVar[tuple[Secrets, ...]]("open", default=())
"""the runs that this thread works for, the innermost last"""
_of_no_run: Final = Secrets()
"""what is met by a thread that works for none"""


def carried(act: Callable[P, T]) -> Callable[P, T]:
    """Return *act* for another thread, in which it works for the same run as this one."""
    runs = _open.get()

    def there(*arguments: P.args, **named: P.kwargs) -> T:
        before = _open.set(runs)
        try:
            return act(*arguments, **named)
        finally:
            _open.reset(before)

    return there


def _all_runs() -> tuple[Secrets, ...]:
    with _gate:
        return tuple(_living)


def _forms_of(runs: Iterable[Secrets]) -> Iterable[Form]:
    """Return the forms of several runs, and of none, longest first."""
    first, *rest = [run for run in dict.fromkeys((*runs, _of_no_run)) if run.forms] or [_of_no_run]
    return first.with_those([run.forms for run in rest]) if rest else first.forms


# What is secret by its shape, even where nobody told us: a JWT with its signature, a Vault token, a PEM key.
_SHAPES: Final = (
    re.compile(r"eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}"),
    # also right behind an escape, as in token:"\n\x1chvs...": so Vault quotes the inside of a token that it declines
    re.compile(r"(?:hvs|hvb|hvr)\.[A-Za-z0-9_-]{20,}"),
    re.compile(r"(?:\b|(?<=\\x[0-9a-f]{2}))[sb]\.[A-Za-z0-9]{24}\b"),
    # whole or cut off, with real line ends or as JSON writes them; never beyond the text that the key stands in
    re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----(?:[A-Za-z0-9+/=\s]|\\[nr])*(?:-----END [A-Z ]*PRIVATE KEY-----)?"),
)


def redact(text: str, *runs: Secrets) -> str:
    """Return *text* with every secret, and whatever has the shape of one, replaced by its keyed hash.

    Known are the secrets of *runs*, of those that this thread works for, and of no run. A thread that works for none
    knows those of every run.
    """
    for form, stand_in in _forms_of((*runs, *(_open.get() or _all_runs()))):
        if form in text:
            text = text.replace(form, stand_in)
    for shape in _SHAPES:
        text = shape.sub(lambda match: fingerprint(match.group(0)), text)
    return text


def _known_here(value: str) -> None:
    """Have the run that this thread works for know *value*."""
    runs = _open.get()
    (runs[-1] if runs else _of_no_run).add(value)


@final
class Secret:
    """A value that must never be written. Making one, or revealing one of another run, makes `redact` know it."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value
        _known_here(value)

    def reveal(self) -> str:
        """Return the value itself: for the wire, or a 0600 file in the work directory; nothing else."""
        _known_here(self._value)
        return self._value

    def __repr__(self) -> str:
        return fingerprint(self._value)

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return format(repr(self), spec)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash((Secret, self._value))

    def __reduce__(self) -> str:
        raise TypeError("a Secret is not pickled: it would leave this process readable")
