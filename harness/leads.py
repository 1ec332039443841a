"""The usual suspects of a refused login, and what the record says of each: people lose days on wrong leads."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import msgspec

from harness import comparison
from harness.evidence import Exhibit, shown
from harness.facts import day_and_time
from harness.rules.rule import Case


class Lead(msgspec.Struct, frozen=True):
    """One suspect: ruled out or still open, and why."""

    lead: Literal["issuer", "role binding", "CA", "reachability", "JWT expiry"]
    state: Literal["ruled out", "open"]
    because: str
    evidence: tuple[Exhibit, ...] = ()


def examined(case: Case) -> Iterator[Lead]:
    """Yield what the record says of every lead but the one that Vault itself names as the reason."""
    named = comparison.refusal_of(case.words)
    review = shown(case.evidence.review) if case.evidence.review else None
    token = case.facts.token_exhibit(case.after)
    if named != "issuer":
        yield _own_check("issuer", "compares the issuer", review, token)
    if named not in ("service account name", "namespace"):
        yield _own_check("role binding", "compares the service account with the role", review, token)
    yield _transport(case, "CA", "the TLS connection stood, so Vault trusts the API server's certificate", review)
    yield _transport(case, "reachability", "the request arrived", review)
    yield _expiry(case, token)


def _own_check(
    lead: Literal["issuer", "role binding"], does: str, review: Exhibit | None, token: Exhibit | None
) -> Lead:
    """Vault makes its own checks first: a TokenReview that was sent proves that they passed."""
    if review is None:
        return Lead(lead, "open", "no TokenReview of this login was seen, so this check may have refused it")
    because = f"Vault {does} before it sends a TokenReview, and it sent one"
    return Lead(lead, "ruled out", because, (review,) if token is None else (review, token))


def _transport(case: Case, lead: Literal["CA", "reachability"], what: str, review: Exhibit | None) -> Lead:
    if review is None:
        return Lead(lead, "open", f"no TokenReview of this login reached the API server of {case.cluster}")
    because = f"the API server of {review.cluster} answered this login's TokenReview: {what}"
    return Lead(lead, "ruled out", because, (review,))


def _expiry(case: Case, exhibit: Exhibit | None) -> Lead:
    token = case.facts.token_of(case.after)
    if token is None or exhibit is None:
        return Lead("JWT expiry", "open", "the record does not say which token was presented")
    if token.expires and token.expires <= case.after.started:
        return Lead("JWT expiry", "open", f"the token ended at {day_and_time(token.expires)}", (exhibit,))
    because = f"at the login, {day_and_time(case.after.started)}, the token was good for a while yet"
    return Lead("JWT expiry", "ruled out", because, (exhibit,))
