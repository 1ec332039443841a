"""What was seen, at which moment, and how the answer reads: granted, refused or unknown."""

from __future__ import annotations

import hashlib
from typing import Any, Final, Literal, Protocol

import msgspec

from harness.scenario.schema_ways import MaybeThrough

Answer = Literal["granted", "refused", "unknown"]
"""granted and refused are answers. unknown means nobody could be asked, and is never a pass."""


LATE: Final = "late-"
"""How the probes are called that ask what became of something which was written only to see whether it is lost."""

ABUSE: Final = "abuse-"
"""How the probes are called that ask what somebody could do with what a remedy gives away."""

BESIDE: Final = (LATE, ABUSE)
"""How the probes begin whose answers are no answer that an app relies on."""

_LONGEST: Final = 200


def shortened(value: Any) -> Any:
    """Return *value*, or the digest of a long text such as a CA: enough to see that one changed."""
    if not isinstance(value, str) or len(value) <= _LONGEST:
        return value
    return f"sha256:{hashlib.sha256(value.encode()).hexdigest()[:16]} ({len(value)} characters)"


class Named(Protocol):
    """What concerns a Vault, or a node of one."""

    @property
    def vault(self) -> str: ...
    @property
    def node(self) -> str: ...


def called(one: Named) -> str:
    """Return the name of a node, or else of a Vault, to stand before its version; nothing where there is one of each.

    A name is followed by a space.
    """
    return f"{name} " if (name := one.node or one.vault) else ""


class Observation(msgspec.Struct, frozen=True, tag="observation", tag_field="event"):
    """What one probe saw at one moment."""

    id: int
    probe: str
    moment: str
    version: str
    """the Vault version that was asked"""
    answer: Answer
    app: str = ""
    """the app (or, for read-backs, nothing) on whose behalf was asked"""
    mount: str = ""
    item: str = ""
    """what was asked for where a probe asks for several: a secret's path, a role"""
    must_be: Literal["", "granted", "refused"] = ""
    """what any sane system answers: negative probes must be refused"""
    status: int | None = None
    """the HTTP status, or None where no answer came"""
    error: str = ""
    """Vault's own words, or why there was no answer"""
    latency_ms: float = 0.0
    started: float = 0.0
    """seconds since the epoch, when the request left"""
    ended: float = 0.0
    correlation: str = ""
    """the header value that Vault's audit log repeats for this very request"""
    blocked_by: int | None = None
    """the observation whose refusal made this question impossible to ask"""
    subject: str = ""
    """the Kubernetes user whose token was presented, if one was"""
    detail: dict[str, Any] = {}
    """what the answer said, without secrets"""
    vault: str = ""
    """the name of the Vault that was asked; empty: the only one there is"""
    node: str = ""
    """the name of the node that was asked; empty: the only one there is, or whichever answered"""
    answers: dict[str, int] = {}
    """where it was asked again at once, in the same state: how often each answer came, such as "granted 200", the first
    one counted; empty where it was asked once"""

    through: MaybeThrough = ""
    """the way on which it was asked, where the app has one; empty: whichever leads was asked, or `node`"""
    asked_of: str = ""
    """the node that was asked on that way; empty: none was, or nobody says which"""
    at_leader: str = ""
    """what the node that leads said to the same login at once, such as "granted 200", where another one was asked"""
    at_first: str = ""
    """what was answered first, while no node of Vault led, or another one than before: it was asked again once one did
    """

    @property
    def mixed(self) -> bool:
        """Was it both granted and refused, or once not answered, in one and the same state?"""
        return len({answer.partition(" ")[0] for answer in self.answers}) > 1


def counted_as(seen: Observation) -> str:
    """Return an answer with its status, as `answers` counts it."""
    return f"{seen.answer} {seen.status or 'without a status'}"
