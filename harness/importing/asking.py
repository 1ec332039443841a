"""How a reading goes on: rounds of questions, each a GET, and the answers that decide what is asked next.

Whoever reads is a generator that yields questions and gets answers; hands (`clients/vault_reader`,
`clients/kube_reader`) ask them, and know nothing of what they mean.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from typing import Any

import msgspec

from harness.importing.installation import Seen


class Question(msgspec.Struct, frozen=True):
    """One GET: a path below the server's address, percent-encoded where it is asked."""

    path: str
    listing: bool = False
    """of Vault: are the names below the path wanted?"""
    bare: bool = False
    """of Vault: is it asked without token and namespace, as everybody may?"""
    accept: str = "application/json"


class Answer(msgspec.Struct, frozen=True):
    """What came back: a status and its JSON, or no status and why."""

    status: int | None
    body: dict[str, Any] = {}
    error: str = ""

    @property
    def ok(self) -> bool:
        """Is it what was asked for?"""
        return self.status is not None and 200 <= self.status < 300

    @property
    def said(self) -> str:
        """Return what came back, for a sentence."""
        return f"HTTP {self.status} {self.error}".strip() if self.status is not None else self.error


Answers = Mapping[Question, Answer]
Asking = Generator[Sequence[Question], Answers, Seen]
Round = Generator[Sequence[Question], Answers, None]
"""A part of it, which learns something and asks on."""
