"""A login as it happened: who presented whose token to whom, and what came back, each with its line of the record.

Only what the record shows is told. What nobody wrote down, and is known of this version of Vault alone, is kept apart.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, Literal

import msgspec

from harness.analysis.correlation import Evidence, EvidenceLine, Review
from harness.analysis.diagnosis import Finding
from harness.analysis.record_view import Facts
from harness.analysis.token_reviews import LoginReview
from harness.knowledge import versions
from harness.record.observation import Observation

Party = Literal["app", "vault", "api"]
Answer = Literal["", "granted", "refused", "unknown"]

_REVIEWER: Final[Mapping[str, str]] = {
    "client": "the app's own account",
    "vault": "Vault's own account",
    "long-lived": "the stored reviewer",
    "requested": "the stored reviewer, a token that ends",
}
_BY_ITS_CODE: Final[Mapping[str, str]] = {
    "client": "the app's own token",
    "local": "the token of its own Pod",
    "explicit": "the token that is stored in its config",
    "frozen": "the copy of a Pod's token that is stored in its config",
}
_CAME_BACK: Final[Mapping[int, str]] = {
    201: "the review was made",
    401: "this bearer is not accepted",
    403: "this account may not review tokens",
}


_ERR: Final = re.compile(r'\berr="(.*)"\s*$', re.DOTALL)
_MODULE: Final = re.compile(r"^\[[A-Z]+\] \S+: ")


class Part(msgspec.Struct, frozen=True):
    """Something that went from one to another, or that one of them noted."""

    sender: Party
    receiver: Party
    """the same as *sender* for what stays with it"""
    text: str
    """what the record shows"""
    answer: Answer = ""
    """for what came back"""
    known: str = ""
    """what no line shows, and is known of this version of Vault"""
    lines: tuple[int, ...] = ()
    """the lines of the record that show it, the nearest first"""
    same: str = ""
    """by what it is told whether it is as it was at another moment"""

    @property
    def returns(self) -> bool:
        """Is it an answer?"""
        return bool(self.answer)


class Login(msgspec.Struct, frozen=True):
    """One login of one app."""

    app: str
    mount: str
    moment: str
    version: str
    answer: Answer
    at: Mapping[Party, str]
    """in which cluster each of them is, or nothing for a Vault outside any"""
    vault: str
    """the name of the Vault or node where there are several"""
    parts: tuple[Part, ...]
    gap: str = ""
    """what is not on record of it, as a sentence without its full stop"""
    ambiguous: bool = False
    """could a line of it belong to another question as well?"""


class Pair(msgspec.Struct, frozen=True):
    """Logins of one app before and after something: one where there was no other."""

    apps: tuple[str, ...]
    """all of whom this is true, the one whose logins these are first"""
    logins: tuple[Login, ...]
    findings: tuple[int, ...] = ()
    """which of the judgement's findings are about them, from 0"""


def pairs(facts: Facts, findings: Sequence[Finding], reviewing: Iterable[LoginReview]) -> Iterator[Pair]:
    """Yield the logins that are worth a look: of each finding about a login before and after it appears.

    Apps of one finding and cause are one pair. Then follow, of apps without any, those that went different ways: at
    the first moment and at the last.
    """
    logins: dict[str, list[Observation]] = {}
    for seen in facts.observations:
        if seen.probe == "login":
            logins.setdefault(seen.app, []).append(seen)
    told: set[str] = set()
    for numbers in _alike(findings):
        found = findings[numbers[0]]
        apps = dict.fromkeys(findings[number].app for number in numbers)
        if found.probe == "login" and (shown := _around(logins.get(found.app, ()), found)):
            told.update(apps)
            yield Pair(tuple(apps), tuple(_login(facts, one) for one in shown), tuple(numbers))
    ways: dict[tuple[object, ...], list[str]] = {}
    for app, went in _ways(reviewing).items():
        if app not in told:
            ways.setdefault(went, []).append(app)
    for alike in ways.values():
        mine = logins[alike[0]]
        ends = [mine[0], mine[-1]] if len(mine) > 1 else mine
        yield Pair(tuple(alike), tuple(_login(facts, one) for one in ends))


def _alike(findings: Sequence[Finding]) -> Iterable[list[int]]:
    groups: dict[tuple[str, ...], list[int]] = {}
    for number, one in enumerate(findings):
        alike = (one.kind, one.rule, one.hop, one.effect, one.moment, one.mount, one.vault, one.node)
        groups.setdefault(alike, []).append(number)
    return groups.values()


def _around(logins: Sequence[Observation], found: Finding) -> list[Observation]:
    """Return the login at which something was found, and the one before it that had an answer; or the last of all."""
    same = [one for one in logins if (one.mount, one.vault, one.node) == (found.mount, found.vault, found.node)]
    at = next((number for number, one in enumerate(same) if one.moment == found.moment), None)
    if at is None:
        return []
    before = [one for one in same[:at] if one.answer != "unknown"]
    if before:
        return [before[-1], same[at]]
    return [same[at], same[-1]] if same[-1] is not same[at] else [same[at]]


def _ways(reviewing: Iterable[LoginReview]) -> dict[str, tuple[object, ...]]:
    """Return of each app how its first login went and how its last one did."""
    ends: dict[str, list[object]] = {}
    for row in reviewing:
        went = (row.mount, row.moment, row.answer, row.status, row.should_present, row.reviewer, row.review_status)
        ends.setdefault(row.app, []).append(went)
    return {app: (all_of_it[0], all_of_it[-1]) for app, all_of_it in ends.items()}


def _login(facts: Facts, seen: Observation) -> Login:
    evidence = facts.evidence_of(seen)
    cluster = facts.mount(seen.mount).cluster
    audited = tuple(line.line for line in evidence.audit)
    token = facts.token_line(seen)
    asks = Part(
        "app",
        "vault",
        f"log in at auth/{seen.mount} as role {facts.app(seen.app).role}, with a token of {seen.subject or 'the app'}",
        lines=(facts.line_of[seen.id], *((token.line,) if token else ())),
        same=f"{seen.mount} {seen.subject}",
    )
    reviews = [part for review in evidence.reviews for part in _reviewed(facts, seen, evidence, review)]
    if len(evidence.reviews) > 1:
        # which of them each is about is not on record
        reviews += [_note("api", line) for line in evidence.api_log]
    notes = [_note("vault", line) for line in evidence.log]
    home = facts.vault_at(seen.mount, seen.moment).cluster
    back = Part(
        "vault", "app", _answered(seen), seen.answer, lines=(facts.line_of[seen.id], *audited), same=_gist(seen)
    )
    return Login(
        app=seen.app,
        mount=seen.mount,
        moment=seen.moment,
        version=seen.version,
        answer=seen.answer,
        at={"app": facts.app(seen.app).cluster, "vault": home, "api": cluster},
        vault=seen.node or seen.vault,
        parts=(asks, *reviews, *notes, back),
        gap="" if reviews else _gap(seen, evidence, cluster),
        ambiguous=evidence.ambiguous,
    )


def _reviewed(facts: Facts, seen: Observation, evidence: Evidence, review: Review) -> Iterator[Part]:
    """Yield a TokenReview's way to the API server and back."""
    accepted = bool(review.user) and review.status != 401
    if accepted:
        whose = _whose(facts, seen, review) if review == evidence.review else ""
        text, should = f"TokenReview, with a token of {review.user}" + (f": {whose}" if whose else ""), ""
    else:
        text = "TokenReview, with a token that is not accepted: the audit log names nobody"
        should = f"{versions.called(seen.version)} with this config presents {_BY_ITS_CODE[facts.bearer(seen)]}"
    yield Part("vault", "api", text, known=should, lines=(review.line,), same=review.user if accepted else "nobody")
    said = _CAME_BACK.get(review.status, "")
    why = evidence.api_log if len(evidence.reviews) == 1 else ()
    text = f"{review.status or 'no status on record'}" + (f": {said}" if said else "")
    text += "".join(f"; {_in_short(line.text)}" for line in why)
    answer: Answer = "granted" if 200 <= review.status < 300 else "refused" if review.status else "unknown"
    lines = (*(line.line for line in why), review.line)
    yield Part("api", "vault", text, answer, lines=lines, same=str(review.status))


def _note(party: Party, line: EvidenceLine) -> Part:
    whose = "Vault's" if party == "vault" else "the API server's"
    return Part(party, party, f"{whose} log: {_in_short(line.text)}", lines=(line.line,), same="log")


def _in_short(text: str) -> str:
    """Return what a log line says, without where in the server it was said."""
    if quoted := _ERR.search(text):
        return quoted[1].replace('\\"', '"')
    return _MODULE.sub("", text)


def _whose(facts: Facts, seen: Observation, review: Review) -> str:
    """Return whose token that is to the login: the audit log has the account, and since 1.32 the token's own name."""
    token = facts.token_of(seen)
    if review.jti and token is not None and token.jti == review.jti:
        return "the very token that logs in"
    return _REVIEWER.get(facts.reviewer(seen), "")


def _gap(seen: Observation, evidence: Evidence, cluster: str) -> str:
    """Return what is known where no TokenReview of a login is on record: no more than that."""
    if seen.status is None:
        return "Vault gave no answer, and no TokenReview of this login is on record"
    if evidence.audit:
        return f"Vault audited this login, and no TokenReview of it by the API server of {cluster} is on record"
    return "What the servers wrote about this login is not on record: whether there was a TokenReview is not known"


def _answered(seen: Observation) -> str:
    if seen.status is None:
        return f"no answer: {seen.error}" if seen.error else "no answer"
    if seen.answer == "granted":
        policies = seen.detail.get("policies")
        named = ", ".join(map(str, policies)) if isinstance(policies, list) else ""
        return f"{seen.status}: a Vault token" + (f" with the policies {named}" if named else "")
    return f"{seen.status} {seen.error}".rstrip()


def _gist(seen: Observation) -> str:
    return f"{seen.answer} {seen.status} {seen.error}"
