"""The names of an installation become names that a scenario can have, or stable pseudonyms.

A Vault takes names with blanks, slashes and any letter, and a scenario does not. What had to be renamed is told, so
that a comment can say what it is called in truth.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import unicodedata
from collections.abc import Callable
from functools import cache
from typing import Any, Final, Literal

from pydantic import TypeAdapter, ValidationError

from harness.scenario import values

Kind = Literal["cluster", "mount", "role", "policy", "account", "namespace", "app", "audience", "issuer", "label"]

_RULES: Final[dict[str, Any]] = {
    "cluster": values.Name,
    "mount": values.MountPath,
    "role": values.RoleName,
    "policy": values.PolicyName,
    "account": values.Binding,
    "namespace": values.Binding,
    "app": values.Name,
    "audience": values.Text,
    "issuer": values.Issuer,
    "label": values.LabelValue,
}

_GENERIC: Final = frozenset({"kubernetes", "approle", "userpass", "jwt", "token", "default", "root", "*"})
"""Names that tell nobody whose installation it is."""

_FOLDED: Final = ("role", "policy")
"""Kinds of names whose case Vault does not tell apart."""


@cache
def _rule(kind: Kind) -> TypeAdapter[Any]:
    return TypeAdapter(_RULES[kind])


def fits(kind: Kind, name: str) -> bool:
    """Can a scenario have this name?"""
    try:
        _rule(kind).validate_python(name, strict=True)
    except ValidationError:
        return False
    return True


class Names:
    """The names of one scenario: each name of the installation has one, and no two have the same.

    *key*: pseudonyms are made with it, the same for the same key and name; None: names stay as they are where they can.
    """

    def __init__(self, key: str | None = None) -> None:
        self._key = key
        self._given: dict[tuple[str, str], str] = {}
        self._taken: dict[str, set[str]] = {}

    @property
    def redacts(self) -> bool:
        """Are names replaced by pseudonyms?"""
        return self._key is not None

    def of(self, kind: Kind, name: str, scope: str = "") -> str:
        """Return the name of the scenario for *name*; names of different *scope* may be the same."""
        place = f"{kind} {scope}"
        if (place, name) not in self._given:
            self._given[place, name] = self._new(kind, name, self._taken.setdefault(place, set()))
        return self._given[place, name]

    def prefer(self, kind: Kind, name: str, scope: str = "") -> None:
        """Have *name* stay what it is, if it can: whoever is renamed later gets another one."""
        if self._key is None and fits(kind, name):
            self.of(kind, name, scope)

    def account(self, account: str) -> str:
        """Return the name for a service account that is written namespace/name."""
        space, _, name = account.partition("/")
        return f"{self.of('namespace', space)}/{self.of('account', name)}"

    def told(self, kind: Kind, name: str, scope: str = "") -> str:
        """Return what a comment says of a name that had to change; nothing where it did not, or must not be known."""
        return "" if self.redacts or self.of(kind, name, scope) == name else name

    def text(self, said: str) -> str:
        """Return a text of the installation for a comment; nothing of it where names are replaced."""
        return "(redacted)" if self.redacts else said

    def _new(self, kind: Kind, name: str, taken: set[str]) -> str:
        def free(made: str) -> bool:
            return fits(kind, made) and _folded(kind, made) not in taken

        ways: list[Callable[[], str]] = [lambda: _slug(name), lambda: f"{_slug(name)}-{_digest('', name)}"]
        if self._key is not None and name not in _GENERIC:
            ways = [lambda: self._pseudonym(kind, name), lambda: f"{kind}-{_digest(self._key or '', name, 24)}"]
        elif free(name):
            ways = [lambda: name]
        made = next((one for way in ways if free(one := way())), f"{kind}-{_digest(self._key or '', name, 24)}")
        taken.add(_folded(kind, made))
        return made

    def _pseudonym(self, kind: Kind, name: str) -> str:
        """Return what stands for a name; of a pattern the stars stay, and of a URL that it is one."""
        parts = [f"{kind}-{_digest(self._key or '', part)}" if part else "" for part in name.split("*")]
        made = "*".join(parts)
        return f"https://{made}.invalid" if kind in ("issuer", "audience") and "://" in name else made


def _folded(kind: Kind, name: str) -> str:
    return name.lower() if kind in _FOLDED else name


def _digest(key: str, name: str, length: int = 8) -> str:
    return hmac.new(key.encode(), name.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()[:length]


def _slug(name: str) -> str:
    """Return the nearest plain name: what a person would have called it, had it to be plain."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return re.sub(r"-{2,}", "-", re.sub(r"[^a-z0-9]+", "-", plain)).strip("-")[:40].strip("-")
