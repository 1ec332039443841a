"""A string that does not print itself, and the memory of all such strings that keeps them out of any text."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import threading
import urllib.parse
from typing import Final, final

# New in every process: a fingerprint joins lines of one run and is worthless outside it.
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


class _Known:
    """Every secret this process has held, in every disguise, longest first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._forms: dict[str, str] = {}
        self._ordered: tuple[tuple[str, str], ...] = ()

    def add(self, value: str) -> None:
        with self._lock:
            if len(value) < _SHORTEST or value in self._forms:
                return
            stand_in = fingerprint(value)
            for form in _disguises(value):
                self._forms.setdefault(form, stand_in)
            self._ordered = tuple(sorted(self._forms.items(), key=lambda item: -len(item[0])))

    def replace(self, text: str) -> str:
        for form, stand_in in self._ordered:
            if form in text:
                text = text.replace(form, stand_in)
        return text


_known: Final = _Known()

# What is secret by its shape, even where nobody told us: a JWT with its signature, a Vault token, a PEM key.
_SHAPES: Final = (
    re.compile(r"eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}"),
    # also right behind an escape, as in token:"\n\x1chvs...": so Vault quotes the inside of a token that it declines
    re.compile(r"(?:hvs|hvb|hvr)\.[A-Za-z0-9_-]{20,}"),
    re.compile(r"(?:\b|(?<=\\x[0-9a-f]{2}))[sb]\.[A-Za-z0-9]{24}\b"),
    # whole or cut off, with real line ends or as JSON writes them; never beyond the text that the key stands in
    re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----(?:[A-Za-z0-9+/=\s]|\\[nr])*(?:-----END [A-Z ]*PRIVATE KEY-----)?"),
)


def redact(text: str) -> str:
    """Return *text* with every known secret, and whatever has the shape of one, replaced by its keyed hash."""
    text = _known.replace(text)
    for shape in _SHAPES:
        text = shape.sub(lambda match: fingerprint(match.group(0)), text)
    return text


@final
class Secret:
    """A value that must never be written. Making one makes `redact` know it."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value
        _known.add(value)

    def reveal(self) -> str:
        """Return the value itself: for the wire, or a 0600 file in the work directory; nothing else."""
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
