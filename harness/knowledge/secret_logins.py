"""Which Vault does what where one logs in with a secret: approle and userpass, each fact once, with its source.

V is hashicorp/vault. "Run" means: seen with real servers by this project.
"""

from __future__ import annotations

from typing import Final, Literal

from harness.knowledge.versions import at_least

LOCKOUT: Final = "1.13.0"
"""From here five failures within 15 minutes lock a role ID or user out for 15 minutes: 403, with the right secret as
well (V vault/request_handling.go, PR #17951). Run: 1.12.0 / 1.13.0."""

TOO_OFTEN: Final = 5
"""So many failures lock out, unless Vault is told otherwise (lockout_threshold). They are counted in memory, and from
nothing after a start. Run: two at 1.16.3, four at 1.18.0 and four at 1.19.0 locked nobody out."""

FAULT_OF_WRONG_SECRETS: Final = ("1.13.0", "1.13.1")
"""From here, and until there, a wrong secret is answered 500 like a fault of Vault's own. Run: 500 of 1.13.0, 400 of
1.12.0 and 1.16.3; the end is not run."""

ONE_TEXT: Final = "1.16.0"
"""From here approle tells a wrong role ID and a wrong secret ID alike (V CHANGELOG; backported to 1.13.10, 1.14.6 and
1.15.2). Run: 1.13.0 / 1.16.3."""

_ONE_TEXT_IN: Final = ("1.13.10", "1.14.6", "1.15.2")

Refusal = Literal["unknown name", "wrong secret", "locked out", "address"]

WRONG: Final = ("invalid username or password", "invalid secret id", "invalid role ID", "invalid role or secret ID")
"""How a login with a wrong secret, or under an unknown name, is refused in words."""


CHECKS_ADDRESS_AT_LOGIN: Final = ("userpass",)
"""The kinds whose login itself comes from a bound address. At approle it may come from anywhere, unless the secret ID
is bound, and only the token is good from there alone. Run: 1.3.0 to 1.16.3."""


def answer(kind: str, refusal: Refusal, version: str) -> tuple[int, str]:
    """Return the HTTP status and the words with which Vault *version* refuses a login at a mount of a *kind*."""
    if refusal in ("locked out", "address"):
        return 403, "permission denied"
    since, until = FAULT_OF_WRONG_SECRETS
    fault = refusal == "wrong secret" and at_least(version, since) and not at_least(version, until)
    status = 500 if fault else 400
    if kind == "userpass":
        return status, WRONG[0]
    if at_least(version, ONE_TEXT) or any(_same_line(version, one) and at_least(version, one) for one in _ONE_TEXT_IN):
        return status, WRONG[3]
    return status, WRONG[1] if refusal == "wrong secret" else WRONG[2]


def _same_line(version: str, other: str) -> bool:
    return version.split(".")[:2] == other.split(".")[:2]


def explained(kind: str, before: tuple[int | None, str, str], after: tuple[int | None, str, str]) -> str:
    """Return why one refusal has two answers, each a status, words and a version; nothing where it is not known."""
    for refusal in ("wrong secret", "unknown name"):
        if all((status, words) == answer(kind, refusal, version) for status, words, version in (before, after)):
            return _sentence(before[0] != after[0])
    return ""


def _sentence(status: bool) -> str:
    if status:
        return f"Vault {FAULT_OF_WRONG_SECRETS[0]} answers a wrong secret with 500, and others with 400"
    return (
        f"from Vault {ONE_TEXT} on (and some patches before) one text stands for a wrong role ID and a wrong secret ID"
    )
