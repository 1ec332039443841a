"""Which Vault does what in the JWT auth method: each fact once, with its source.

J is hashicorp/vault-plugin-auth-jwt. "Run" means: seen with real servers by this project: 1.4.0, 1.6.0, 1.7.0, 1.13.0
and 1.16.3; what is asked of whoever has the keys, with every version at hand from 1.4.0 to 1.16.3.
"""

from __future__ import annotations

from typing import Final, Literal

from harness.knowledge.versions import at_least

CAP: Final = "1.7.0"
"""From here tokens are checked by hashicorp/cap, in another order and with other words (J v0.9.2, PR #155). Run."""

REFETCHES: Final = "1.8.0"
"""Up to here Vault keeps keys that it got for as long as the answer allows (Cache-Control: an API server says an hour),
whatever key a token names; from here on a key that it does not know makes it ask again. Run: 1.4.0, 1.6.0 and 1.7.0
against 1.8.0 and each one after it. Whatever the version it asks first after its start, or a write of the config."""

_TEXTS_TOO: Final = (
    ("0.0.0", "1.7.0"),
    ("1.14.13", "1.15.0"),
    ("1.15.9", "1.15.12"),
    ("1.16.3", "1.16.6"),
    ("1.17.0", "999.0.0"),
)
"""From which version to which a token whose audience is one text needs a role that binds audiences; a list needs it in
each. Source: J path_login.go at v0.17.0, v0.17.3, v0.17.4, v0.20.2 and v0.20.3. Run: 1.6.0, 1.7.0, 1.13.0, 1.16.3."""

Refusal = Literal[
    "unknown role",
    "keys refused",
    "discovery refused",
    "discovered issuer",
    "signature",
    "no fetched key",
    "expired",
    "issuer",
    "subject",
    "audience",
    "no audiences bound",
]

_NO_KEY: Final = "no known key successfully validated the token signature"
_NO_FETCHED_KEY: Final = "failed to verify id token signature"
_NOT_DISCOVERED: Final = (
    "error getting provider for login operation: error creating provider with given values:",
    "error configuring token validator: keyset configuration error:",
)
_FORBIDDEN: Final = '403 Forbidden: {"kind":"Status","status":"Failure","reason":"Forbidden","code":403}'

_WORDS: Final[dict[Refusal, tuple[str, str]]] = {
    "keys refused": (
        f"error verifying token: fetching keys oidc: get keys failed: {_FORBIDDEN}",
        f"error validating token: error verifying token signature: fetching keys oidc: get keys failed: {_FORBIDDEN}",
    ),
    "discovered issuer": (
        f"{_NOT_DISCOVERED[0]} oidc: issuer did not match the issuer returned by provider",
        f"{_NOT_DISCOVERED[1]} issuer did not match the returned issuer",
    ),
    "discovery refused": (f"{_NOT_DISCOVERED[0]} {_FORBIDDEN}", f"{_NOT_DISCOVERED[1]} {_FORBIDDEN}"),
    "no fetched key": (
        f"error verifying token: {_NO_FETCHED_KEY}",
        f"error validating token: error verifying token signature: {_NO_FETCHED_KEY}",
    ),
    "signature": (
        _NO_KEY,
        f"error validating token: error verifying token signature: {_NO_KEY}",
    ),
    "expired": ("token is expired (exp)", "error validating token: invalid expiration time (exp) claim"),
    "issuer": (
        "error validating claims: square/go-jose/jwt: validation failed, invalid issuer claim (iss)",
        "error validating token: invalid issuer (iss) claim",
    ),
    "subject": (
        "error validating claims: square/go-jose/jwt: validation failed, invalid subject claim (sub)",
        "error validating token: invalid subject (sub) claim",
    ),
    "audience": (
        "error validating claims: aud claim does not match any bound audience",
        "error validating token: invalid audience (aud) claim: audience claim does not match any expected audience",
    ),
    "no audiences bound": ("audience claim found in JWT but no audiences bound to the role",) * 2,
}
"""The words of each refusal before and from `CAP` on. Every one is answered 400."""

_KNOWN_BY: Final[dict[Refusal, tuple[str, ...]]] = {
    "keys refused": ("fetching keys oidc: get keys failed",),
    "discovered issuer": ("issuer did not match the issuer returned by", "issuer did not match the returned issuer"),
    "discovery refused": _NOT_DISCOVERED,
    "no fetched key": (_NO_FETCHED_KEY,),
}
"""By which words some refusals are known whose answers go on with what somebody else said."""

_OTHERWISE: Final[dict[Refusal, tuple[str, ...]]] = {"issuer": ("id token issued by a different provider",)}
"""Further words of a refusal: up to `CAP` a mount with oidc_discovery_url compares the token's issuer with that."""

_OF_KEYS: Final[tuple[Refusal, ...]] = (
    "discovery refused",
    "discovered issuer",
    "keys refused",
    "signature",
    "no fetched key",
)

_ORDER: Final[tuple[tuple[Refusal, ...], ...]] = (
    (*_OF_KEYS, "no audiences bound", "expired", "issuer", "subject", "audience"),
    (*_OF_KEYS, "expired", "issuer", "subject", "audience", "no audiences bound"),
)
"""In which order Vault makes its checks, before and from `CAP` on. Run: `no audiences bound` against the subject."""


def needs_bound_audiences(version: str, *, listed: bool) -> bool:
    """Does a token that has an audience need a role that binds audiences? *listed*: is it a list, or one text?"""
    return listed or any(at_least(version, since) and not at_least(version, until) for since, until in _TEXTS_TOO)


def order(version: str) -> tuple[Refusal, ...]:
    """Return the checks of a login in the order in which Vault *version* makes them."""
    return _ORDER[at_least(version, CAP)]


def answer(refusal: Refusal, version: str, role: str = "") -> tuple[int, str]:
    """Return the HTTP status and the words with which Vault *version* refuses a login to a *role*."""
    if refusal == "unknown role":
        return 400, f'role "{role}" could not be found'
    return 400, _WORDS[refusal][at_least(version, CAP)]


def words_of(refusal: Refusal) -> tuple[str, ...]:
    """Return the words by which a refusal is known, whatever the version."""
    if refusal in _KNOWN_BY:
        return _KNOWN_BY[refusal]
    said = tuple(text.rpartition(": ")[2] if refusal != "audience" else text for text in _WORDS[refusal])
    return (*said, *_OTHERWISE.get(refusal, ()))


def refusal_of(error: str) -> Refusal | None:
    """Return which refusal an error text tells of, or None."""
    return next((refusal for refusal in _WORDS if any(words in error for words in words_of(refusal))), None)
