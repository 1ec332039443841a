"""Which Vault does what in the JWT auth method: each fact once, with its source.

J is hashicorp/vault-plugin-auth-jwt. "Run" means: seen with real servers by this project: 1.4.0, 1.6.0, 1.7.0, 1.13.0
and 1.16.3; what is asked of whoever has the keys, with every version at hand from 1.4.0 to 1.16.3.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, Literal

from harness.knowledge.versions import at_least

CAP: Final = "1.7.0"
"""From here tokens are checked by hashicorp/cap, in another order and with other words (J v0.9.2, PR #155). Run."""

REFETCHES: Final = "1.8.0"
"""Up to here Vault keeps keys that it got for as long as the answer allows (Cache-Control: an API server says an hour),
whatever key a token names; from here on a key that it does not know makes it ask again. Run: 1.4.0, 1.6.0 and 1.7.0
against 1.8.0 and each one after it. Whatever the version it asks first after its start, or a write of the config."""

CLAIM_POINTER: Final = "1.11.0"
"""From here a role may say user_claim_json_pointer (CHANGELOG); an older Vault takes the field and does not heed it.
Run: 1.10.0 and 1.11.0."""

CLAIM_NUMBERS: Final = "1.16.0"
"""From here a number may be a bound claim; before, a claim that is one is refused whatever is bound. Run: 1.13.0
refuses it and 1.16.3 takes it. J claims.go normalizeList: not in v0.17.0, which 1.15 has, and in v0.20.2."""

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
    "address",
    "keys refused",
    "discovery refused",
    "discovered issuer",
    "signature",
    "no fetched key",
    "no times",
    "expired",
    "issuer",
    "subject",
    "audience",
    "no audiences bound",
    "bound claim",
    "no such claim",
    "claim of numbers",
    "no user claim",
    "user claim of no text",
    "metadata of no text",
    "no groups claim",
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
    "no times": (
        "no issue time, notbefore, or expiration time encoded in token",
        "error validating token: no issued at (iat), not before (nbf), or expiration time (exp) claims in token",
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
    "bound claim": ('error validating claims: claim "{}" does not match any associated bound claim values',) * 2,
    "no such claim": ('error validating claims: claim "{}" is missing',) * 2,
    "claim of numbers": ("error validating claims: received claim is not a string or list: {}",) * 2,
    "no groups claim": ('"{}" claim not found in token', 'failed to fetch groups: "{}" claim not found in token'),
    "no user claim": ('claim "{}" not found in token',) * 2,
    "user claim of no text": ('claim "{}" could not be converted to string',) * 2,
    "metadata of no text": ("error converting claim '{}' to string",) * 2,
    "no audiences bound": ("audience claim found in JWT but no audiences bound to the role",) * 2,
}
"""The words of each refusal before and from `CAP` on. Every one is answered 400, and "address" 403."""

_KNOWN_BY: Final[dict[Refusal, tuple[str, ...]]] = {
    "keys refused": ("fetching keys oidc: get keys failed",),
    "discovered issuer": ("issuer did not match the issuer returned by", "issuer did not match the returned issuer"),
    "discovery refused": _NOT_DISCOVERED,
    "no fetched key": (_NO_FETCHED_KEY,),
    "bound claim": ("does not match any associated bound claim values",),
    "no such claim": ('" is missing',),
    "claim of numbers": ("received claim is not a string or list",),
    "no groups claim": ('" claim not found in token',),
    "no user claim": ('" not found in token',),
    "user claim of no text": ('" could not be converted to string',),
    "metadata of no text": ("error converting claim '",),
}
"""By which words some refusals are known whose answers go on with what somebody else said."""

_NOT_VERIFIED: Final = "error validating signature: failed to verify signature"
_DISCOVERED: Final[dict[Refusal, str]] = {
    "keys refused": f"{_NOT_VERIFIED}: fetching keys oidc: get keys failed: {_FORBIDDEN}",
    "no fetched key": f"{_NOT_VERIFIED}: {_NO_FETCHED_KEY}",
    "signature": f"{_NOT_VERIFIED}: {_NO_FETCHED_KEY}",
    "issuer": "error validating signature: oidc: id token issued by a different provider",
    "expired": "error validating signature: oidc: token is expired (Token Expiry",
    "no times": "error validating signature: oidc: token is expired (Token Expiry: 0001-01-01 00:00:00 +0000 UTC)",
    "subject": "sub claim does not match bound subject",
}
"""The words before `CAP` of a mount with oidc_discovery_url, where they are others."""

_OTHERWISE: Final[dict[Refusal, tuple[str, ...]]] = {
    "issuer": ("id token issued by a different provider",),
    "expired": ("oidc: token is expired (",),
    "subject": ("sub claim does not match bound subject",),
}
"""Further words by which a refusal is known: those of `_DISCOVERED`."""

_OF_KEYS: Final[tuple[Refusal, ...]] = (
    "discovery refused",
    "discovered issuer",
    "keys refused",
    "signature",
    "no fetched key",
)

BOUND: Final[tuple[Refusal, ...]] = ("no such claim", "claim of numbers", "bound claim")
_TAKEN: Final[tuple[Refusal, ...]] = (
    "no user claim",
    "user claim of no text",
    "metadata of no text",
    "no groups claim",
)

_FIRST: Final[tuple[Refusal, ...]] = ("unknown role", "address", *_OF_KEYS)

_ORDERS: Final[tuple[tuple[str, tuple[Refusal, ...]], ...]] = (
    (
        "1.11.0",
        (*_FIRST, "issuer", "subject", "audience", "no times", "expired", "no audiences bound", *_TAKEN, *BOUND),
    ),
    (CAP, (*_FIRST, "no times", "issuer", "subject", "audience", "expired", "no audiences bound", *_TAKEN, *BOUND)),
    ("0.0.0", (*_FIRST, "no times", "no audiences bound", "issuer", "subject", "expired", "audience", *BOUND, *_TAKEN)),
)
"""From which version on Vault makes its checks in which order, the newest first. Run, every pair of two that fail, but
for fetched keys and bound claims: 1.3.0, 1.4.0, 1.6.0, 1.7.0, 1.8.0, 1.9.3, 1.10.0 to 1.13.0 and 1.16.3. That what is
taken out of claims comes before what is bound of them from `CAP` on: J path_login.go at v0.5.2, v0.8.0 and v0.9.4."""

_DISCOVERY_ORDER: Final[tuple[Refusal, ...]] = (
    *("unknown role", "address", "discovery refused", "discovered issuer", "issuer", "no times", "expired"),
    *("keys refused", "signature", "no fetched key", "subject", "audience", *BOUND, *_TAKEN),
)
"""The checks before `CAP` of a mount with oidc_discovery_url: the issuer is that URL, whatever bound_issuer says, it
and the end come before the signature, and a role that binds no audience takes any (J v0.5.2 verifyOIDCToken,
coreos/go-oidc verify.go)."""


def needs_bound_audiences(version: str, *, listed: bool) -> bool:
    """Does a token that has an audience need a role that binds audiences? *listed*: is it a list, or one text?"""
    return listed or any(at_least(version, since) and not at_least(version, until) for since, until in _TEXTS_TOO)


def order(version: str, *, discovery: bool = False) -> tuple[Refusal, ...]:
    """Return the checks of a login in the order in which Vault *version* makes them; *discovery*: has the mount an
    oidc_discovery_url?
    """
    if discovery and not at_least(version, CAP):
        return _DISCOVERY_ORDER
    return next(checks for since, checks in _ORDERS if at_least(version, since))


def answer(refusal: Refusal, version: str, what: str = "", *, discovery: bool = False) -> tuple[int, str]:
    """Return the HTTP status and the words with which Vault *version* refuses a login: *what* is the role or the claim
    that they name, if they name one, or what came instead of keys where it was no 403; *discovery* as `order` has it.
    """
    if refusal == "unknown role":
        return 400, f'role "{what}" could not be found'
    if refusal == "address":
        return 403, "permission denied"
    if discovery and not at_least(version, CAP) and refusal in _DISCOVERED:
        return 400, _DISCOVERED[refusal]
    words = _WORDS[refusal][at_least(version, CAP)]
    return 400, words.replace(_FORBIDDEN, what or _FORBIDDEN).replace("{}", what)


def claim_in(error: str) -> str:
    """Return the claim that a refusal names, or nothing."""
    found = re.search(r"""["']([^"']+)["']""", error)
    return found[1] if found else ""


def claim_at(claims: Mapping[str, Any], name: str) -> Any:
    """Return what a token says at a claim, or within one (/kubernetes.io/namespace); None where it says nothing."""
    if not name.startswith("/"):
        return claims.get(name)
    found: Any = claims
    for part in name[1:].split("/"):
        found = found.get(part.replace("~1", "/").replace("~0", "~")) if isinstance(found, Mapping) else None
    return found


def refused_claim(claims: Mapping[str, Any], role: Mapping[str, Any], version: str) -> tuple[Refusal, str] | None:
    """Return why a *role*, with Vault's names, refuses what a token claims beside issuer, subject and audience, and the
    claim or value that the words name. None: it does not.
    """
    bound, taken = _bound(claims, role, version), _taken(claims, role, version)
    return (taken or bound) if at_least(version, CAP) else (bound or taken)


def _bound(claims: Mapping[str, Any], role: Mapping[str, Any], version: str) -> tuple[Refusal, str] | None:
    for name, wanted in (role.get("bound_claims") or {}).items():
        has = claim_at(claims, name)
        if has is None:
            return "no such claim", name
        if isinstance(has, int) and not isinstance(has, bool) and not at_least(version, CLAIM_NUMBERS):
            return "claim of numbers", str(has)
        allowed = wanted if isinstance(wanted, list | tuple) else (wanted,)
        mine = has if isinstance(has, list | tuple) else (has,)
        glob = role.get("bound_claims_type") == "glob"
        if not any(_fits(one, each, glob=glob) for one in mine for each in allowed):
            return "bound claim", name
    return None


def _fits(has: Any, wanted: Any, *, glob: bool) -> bool:
    if glob and isinstance(has, str) and isinstance(wanted, str):
        return re.fullmatch(".*".join(map(re.escape, wanted.split("*"))), has) is not None
    return type(has) is type(wanted) and has == wanted


def _taken(claims: Mapping[str, Any], role: Mapping[str, Any], version: str) -> tuple[Refusal, str] | None:
    """Return which claim is not there, or is no text, that is to become the alias, its metadata or its groups."""
    user = str(role.get("user_claim", ""))
    points = role.get("user_claim_json_pointer") and at_least(version, CLAIM_POINTER)
    has = claim_at(claims, user) if points else claims.get(user)
    if has is None:
        return "no user claim", user
    if not isinstance(has, str):
        return "user claim of no text", user
    for name in role.get("claim_mappings") or {}:
        if not isinstance(claim_at(claims, name), str | None):
            return "metadata of no text", name
    groups = role.get("groups_claim")
    if groups and claim_at(claims, groups) is None:
        return "no groups claim", groups
    return None


def words_of(refusal: Refusal) -> tuple[str, ...]:
    """Return the words by which a refusal is known, whatever the version."""
    if refusal in _KNOWN_BY:
        return _KNOWN_BY[refusal]
    said = tuple(text.rpartition(": ")[2] if refusal != "audience" else text for text in _WORDS[refusal])
    return (*said, *_OTHERWISE.get(refusal, ()))


def refusal_of(error: str) -> Refusal | None:
    """Return which refusal an error text tells of, or None."""
    return next((refusal for refusal in _WORDS if any(words in error for words in words_of(refusal))), None)
