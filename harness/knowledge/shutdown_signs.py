"""How a Vault that is gone says that somebody stopped it: words for whoever watches it, and for whoever judges."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from harness.knowledge import versions

_SAID: Final = (
    # what Vault prints for SIGTERM and SIGINT alike, and for nothing else. Run: 1.4.0 to 1.11.0
    ("==> Vault shutdown triggered", "SIGTERM or SIGINT"),
    # what the Go runtime prints before all its stacks
    ("SIGQUIT: quit", "SIGQUIT"),
)
_BY_SIGNAL: Final = ("SIGTERM", "SIGINT", "SIGQUIT", "SIGHUP", "SIGKILL")


def stopped(lines: Iterable[str]) -> str:
    """Return by which signal from outside a Vault with these last *lines* was stopped, with its own words for it.

    Nothing where it does not say so.
    """
    for line in lines:
        for words, name in _SAID:
            if words in line:
                return f"{name} (its log says: {words})"
    return ""


def signalled(sentence: str) -> str:
    """Return the signal that a sentence about the end of a process names as sent from outside, or nothing."""
    _, _, name = sentence.partition("ended from outside by ")
    return next((known for known in _BY_SIGNAL if name.startswith(known)), "")


def is_blamed(sentence: str) -> bool:
    """Does a sentence about the end of a server say that somebody else ended it?"""
    return any(f"{how} from outside" in sentence for how in ("stopped", "ended", "killed"))


def blame(version: str, who: str) -> str:
    """Return the sentence for a Vault that *who* stopped."""
    return (
        f"{versions.called(version)} was stopped from outside by {who}, which says nothing about the upgrade: see "
        "who stops processes here (a service manager, a script, another person), and run again"
    )
