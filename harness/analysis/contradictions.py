"""Evidence that does not go with the answer it is joined to: then no cause is certain, whatever a rule makes of it.

What is joined by time may belong to another question, and a record may have been put together wrong. An answer, Vault's
audit entry of it and the review behind it have to tell one story.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from harness.analysis.record_view import Facts
from harness.record.observation import Observation

_NO_ERROR: Final = ": no error"
_OF_NO_WORDS: Final = "* invalid request"
"""How Vault audits what its token store answers 400, whatever the words. Run: 1.4.0, 1.7.0, 1.11.0."""

_ENOUGH: Final = 40
"""So many characters of an answer tell it from any other."""


def of(facts: Facts, seen: Observation) -> str:
    """Return what of the evidence of an answer speaks against it: one sentence, or nothing."""
    return next(_against(facts, seen), "")


def _against(facts: Facts, seen: Observation) -> Iterator[str]:
    evidence = facts.evidence_of(seen)
    entries = evidence.audit
    # what is answered 400 is audited as an answer without an error
    failed = [entry for entry in entries if _NO_ERROR not in entry.text]
    if seen.answer == "granted" and entries and len(failed) == len(entries):
        yield "the login is granted, and Vault audited an error for it"
    words = " ".join(seen.error.split())[:_ENOUGH]
    same = any(words in " ".join(entry.text.split()) for entry in failed)
    worded = any(_OF_NO_WORDS not in entry.text for entry in failed)
    if seen.answer == "refused" and worded and not same and _audits_its_words(facts, seen):
        yield "Vault answered one reason, and audited another one"
    review = evidence.review
    if review is None or seen.probe != "login":
        return
    if seen.answer == "granted" and review.status != 201:
        yield f"the login is granted, and its TokenReview was answered {review.status}"
    bearer = facts.bearer_token(seen) if facts.bearer(seen) in ("client", "explicit", "local") else None
    wanted = bearer[1].subject if bearer is not None else ""
    if review.user and wanted and review.user != wanted:
        yield f"{review.user} reviewed it, where by its config {wanted} should have"


def _audits_its_words(facts: Facts, seen: Observation) -> bool:
    """Does Vault audit the words that it answers? With secrets, and where nothing is mounted, it has others for it."""
    has_config = bool(seen.mount) and bool(facts.mount(seen.mount).of_kind.config)
    return has_config and facts.written_at(seen) is not None
