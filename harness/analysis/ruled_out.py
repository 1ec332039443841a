"""The usual suspects of a refused login, and what the record says of each: people lose days on wrong leads."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Literal

import msgspec

from harness.analysis import comparison
from harness.analysis.correlation import EvidenceLine, shown
from harness.analysis.record_view import day_and_time
from harness.analysis.rules import agents
from harness.analysis.rules.rule import Case
from harness.analysis.rules.signatures import ALGORITHM_WORDS, SIGNATURE_WORDS
from harness.analysis.rules.transport import ANSWERED, NOT_TRUSTED
from harness.knowledge import login_order, versions
from harness.knowledge.kubernetes_auth import Refusal

TRIED: Final = ("/apis/authentication.k8s.io/v1/tokenreviews",)
"""What Vault's log has where the request for a TokenReview itself failed."""


class Suspect(msgspec.Struct, frozen=True):
    """One suspect: ruled out or still open, and why."""

    lead: Literal["issuer", "role binding", "CA", "reachability", "JWT expiry", "agent"]
    state: Literal["ruled out", "open"]
    because: str
    evidence: tuple[EvidenceLine, ...] = ()


_CHECKS: Final[dict[Literal["issuer", "role binding"], tuple[frozenset[Refusal], str]]] = {
    "issuer": (frozenset({"issuer"}), "compares the issuer"),
    "role binding": (frozenset({"namespace", "service account name"}), "compares the service account with the role"),
}
"""Which of Vault's own checks each lead is (knowledge.login_order), and what Vault does there."""

_CALLED: Final[dict[Refusal, str]] = {"signing key": "signature", "expired": "end of the token"}
"""What to call a check in a sentence, where its name would not do."""

_ALSO_NAMED: Final[tuple[tuple[tuple[str, ...], Refusal], ...]] = (
    (SIGNATURE_WORDS, "signing key"),
    ((ALGORITHM_WORDS,), "algorithm"),
    (("token is expired",), "expired"),
)
"""Further words by which Vault, or its log, names one of its own checks."""


def examined(case: Case) -> Iterator[Suspect]:
    """Yield what the record says of every lead but the one that Vault itself names as the reason."""
    named, words = _named(case)
    review = shown(case.evidence.review) if case.evidence.review else None
    token = case.facts.token_line(case.after)
    said = case.quoted(*words) if named is not None and review is None else []
    tried = case.quoted(*TRIED) if review is None else []
    if said and named is not None:
        yield from _named_another(case, named, tuple(said))
    elif tried:
        yield from _failed_on_the_way(case, tuple(tried))
    elif review is None and (answered := case.quoted(*ANSWERED)):
        yield from _answered_by_somebody(case, tuple(answered))
    else:
        if named != "issuer":
            yield _issuer_off(case) or _own_check("issuer", review, token)
        if named not in ("service account name", "namespace"):
            yield _own_check("role binding", review, token)
        yield _transport(case, "CA", "the TLS connection stood, so Vault trusts the API server's certificate", review)
        yield _transport(case, "reachability", "the request arrived", review)
    yield _expiry(case, token)
    yield from _agent(case)


def _named(case: Case) -> tuple[Refusal | None, tuple[str, ...]]:
    """Return which of its own checks Vault names as the reason, or None, and the words by which that is known."""
    if (named := comparison.refusal_of(case.words)) is not None:
        return named, comparison.words_of(named)
    found = ((check, words) for words, check in _ALSO_NAMED if any(one in case.words for one in words))
    return next(found, (None, ()))


def _named_another(case: Case, named: Refusal, said: tuple[EvidenceLine, ...]) -> Iterator[Suspect]:
    """Vault's own words for one of its checks rule the other leads out: it had passed them, or not come to them."""
    order = login_order.checks(case.after.version)
    place, what = order.index(named), _CALLED.get(named, named)
    for lead, (checks, does) in _CHECKS.items():
        places = [order.index(check) for check in checks]
        if max(places) < place:
            off = _issuer_off(case) if lead == "issuer" else None
            because = f"Vault {does} before the {what}, which it names as the reason: so this had passed"
            yield off or Suspect(lead, "ruled out", because, said)
        elif min(places) > place:
            because = f"Vault names the {what} as the reason, and {does} only after that: it had not come to this yet"
            yield Suspect(lead, "ruled out", because, said)
    ways: tuple[Literal["CA", "reachability"], ...] = ("CA", "reachability")
    for lead_of_the_way in ways:
        because = f"Vault names the {what} as the reason, and asks the API server of {case.cluster} only after that"
        yield Suspect(lead_of_the_way, "ruled out", because, said)


def _failed_on_the_way(case: Case, tried: tuple[EvidenceLine, ...]) -> Iterator[Suspect]:
    """Vault's own words for a TokenReview that did not arrive: it sends one after its own checks, so these passed."""
    for lead, (_, does) in _CHECKS.items():
        off = _issuer_off(case) if lead == "issuer" else None
        because = f"Vault {does} before it sends a TokenReview, and it tried to send one"
        yield off or Suspect(lead, "ruled out", because, tried)
    if any(words in line.text for line in tried for words in NOT_TRUSTED):
        because = f"the API server of {case.cluster} answered with its certificate, which is what Vault does not trust"
        yield Suspect("reachability", "ruled out", because, tried)
    else:
        because = f"no connection to the API server of {case.cluster} stood, so no certificate was looked at"
        yield Suspect("CA", "ruled out", because, tried)


def _answered_by_somebody(case: Case, answered: tuple[EvidenceLine, ...]) -> Iterator[Suspect]:
    """Vault's own words for an answer to its TokenReview: so it sent one, over a connection that it trusted."""
    for lead, (_, does) in _CHECKS.items():
        off = _issuer_off(case) if lead == "issuer" else None
        because = f"Vault {does} before it sends a TokenReview, and it was answered one"
        yield off or Suspect(lead, "ruled out", because, answered)
    yield Suspect("CA", "ruled out", "Vault trusted what answered its TokenReview", answered)


def _issuer_off(case: Case) -> Suspect | None:
    """Where the config demands no issuer, the issuer refuses nobody."""
    mount, version = case.after.mount, case.after.version
    config = case.facts.config_line(case.after)
    if config is None or case.facts.expected_issuer(case.after):
        return None
    because = f"by its config auth/{mount} compares no issuer on {versions.called(version)}"
    return Suspect("issuer", "ruled out", because, (config,))


def _own_check(
    lead: Literal["issuer", "role binding"], review: EvidenceLine | None, token: EvidenceLine | None
) -> Suspect:
    """Vault makes its own checks first: a TokenReview that was sent proves that they passed."""
    if review is None:
        return Suspect(lead, "open", "no TokenReview of this login was seen, so this check may have refused it")
    because = f"Vault {_CHECKS[lead][1]} before it sends a TokenReview, and it sent one"
    return Suspect(lead, "ruled out", because, (review,) if token is None else (review, token))


def _transport(case: Case, lead: Literal["CA", "reachability"], what: str, review: EvidenceLine | None) -> Suspect:
    if review is None:
        return Suspect(lead, "open", f"no TokenReview of this login reached the API server of {case.cluster}")
    because = f"the API server of {review.cluster} answered this login's TokenReview: {what}"
    return Suspect(lead, "ruled out", because, (review,))


def _expiry(case: Case, evidence_line: EvidenceLine | None) -> Suspect:
    token = case.facts.token_of(case.after)
    if token is None or evidence_line is None:
        return Suspect("JWT expiry", "open", "the record does not say which token was presented")
    if token.expires and token.expires <= case.after.started:
        return Suspect("JWT expiry", "open", f"the token ended at {day_and_time(token.expires)}", (evidence_line,))
    because = f"at the login, {day_and_time(case.after.started)}, the token was good for a while yet"
    return Suspect("JWT expiry", "ruled out", because, (evidence_line,))


def _agent(case: Case) -> Iterator[Suspect]:
    """What the app itself is refused, no agent gets for it."""
    seen = case.after
    agent = case.facts.first("agent-login", seen.app, seen.moment)
    if agent is None or agent.answer != "refused" or not agents.at_login(agent):
        return
    lines = [
        EvidenceLine("answer", f"{whose}: HTTP {one.status} {one.error}", case.facts.line_of[one.id], at=one.ended)
        for whose, one in ((f"{seen.app} itself", seen), (f"Vault Agent {agent.detail['agent']}", agent))
    ]
    because = f"{seen.app} itself, without any agent, is refused as well: no other version of its agent would help"
    yield Suspect("agent", "ruled out", because, tuple(lines))
