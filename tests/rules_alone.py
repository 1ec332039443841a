"""Every rule by itself: which cases of the stored records it claims, whatever the others say, and with what it needs.

A case is what the judge would explain, and every refusal of an app as well. Rules are asked in an order, so that one
may hide what is wrong with another; asked by themselves they can only be right or wrong.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple

from msgspec.structs import replace

from harness.analysis import diagnosis
from harness.analysis.correlation import FROM_ADDRESS, Evidence, Review
from harness.analysis.record_view import Facts
from harness.analysis.rules import RULES, Case, Rule
from harness.record.events import (
    AnyEvent,
    ApiAuditLine,
    ApiLogLine,
    ClusterChanged,
    ClusterUp,
    ConfigWritten,
    PodReplaced,
    RunStarted,
    TokenIssued,
    VaultAuditLine,
    VaultLogLine,
)
from harness.record.journal import Record
from harness.record.observation import Observation
from tests import stored_records

KINDS: Final[dict[str, tuple[type[AnyEvent], ...]]] = {
    "api audit": (ApiAuditLine,),
    "api log": (ApiLogLine,),
    "vault audit": (VaultAuditLine,),
    "vault log": (VaultLogLine,),
    "the API servers' side": (ApiAuditLine, ApiLogLine),
    "Vault's side": (VaultAuditLine, VaultLogLine),
    "all": (ApiAuditLine, ApiLogLine, VaultAuditLine, VaultLogLine),
}
"""What servers wrote, by kinds that can be gone."""

OTHERS: Final[dict[str, tuple[type[AnyEvent], ...]]] = {
    "configs": (ConfigWritten,),
    "tokens": (TokenIssued,),
    "clusters": (ClusterUp, ClusterChanged),
    "pods": (PodReplaced,),
}
"""What a rehearsal itself wrote down. A record that lacks it is incomplete, which is a doubt of its own."""

ALSO: Final[dict[str, dict[str, str]]] = {
    "api-server-not-at-host": {"api-server-unreachable": "plain http is cut off as well, and what is there is known"},
    "certificate-key-not-compared": {"changed-by-step": "the course wrote in between, and the version did it"},
    "issuer-no-longer-accepted": dict.fromkeys(
        ("reviewer-fallback-local", "stored-reviewer-refused"),
        "an API server answers 401 to whatever it does not accept; why, its issuers tell",
    ),
    "jwt-keys-held": {"jwt-key-unknown": "no key fits, and it is known why"},
    "login-identity-changed": {"changed-by-step": "the course wrote the role, and the sentence says so"},
    "review-audiences-left-out": {"login-token-rejected": "Vault takes it for a review that says no, and why is known"},
    "review-without-audiences": {"login-token-rejected": "the review says no, and it is known why"},
    "reviewer-fallback-client": dict.fromkeys(
        ("changed-by-step", "reviewer-lacks-tokenreview-rbac"), "who reviews now has not the right, and did not before"
    ),
    "reviewer-fallback-local": {"reviewer-lacks-tokenreview-rbac": "the same, the other way round"},
    "reviewer-may-not-read": {"role-binding-mismatch": "whose labels cannot be read is bound by none"},
    "role-binding-mismatch": {"api-server-unreachable": "the log of a node of three is full of its neighbours"},
    **{
        cause: {"changed-by-step": "the course did it, and what it means for Vault's next start is the point"}
        for cause in ("seal-vault-sealed", "seal-vault-away", "seal-token-refused")
    },
}
"""By the cause that is told, which other ones claim the same case, and why the one is the better answer: all that the
order of the rules decides."""


DEMANDS: Final = Path(__file__).parent / "data" / "demands.txt"
"""What each rule makes of its own cases with less; `python -m tests.rules_alone` writes it, and a test holds to it."""


class Asked(NamedTuple):
    """A case of a stored record."""

    record: str
    case: Case
    cause: str
    """the cause that is told of it, or "unexplained" """


@cache
def cases(name: str) -> tuple[Asked, ...]:
    """Return the cases of a stored record of which more than one rule is asked."""
    return tuple(Asked(name, case, _cause(case)) for case in _cases(Facts(stored_records.record(name))))


def _cases(facts: Facts) -> Iterator[Case]:
    # what the course did on purpose is asked of one rule alone
    yield from (case for case in diagnosis._cases(facts) if not diagnosis._on_purpose(case))
    for seen in facts.observations:
        if seen.answer == "refused" and seen.app:
            yield Case("pre-existing", "refused from the start", seen, None, facts)


def _cause(case: Case) -> str:
    rule, _ = diagnosis.explained(case)
    return rule.name if rule is not None else diagnosis.UNEXPLAINED


def wrong(rule: Rule, asked: Asked) -> bool:
    """Does a rule claim a case that is another one's, with all that is on record or without what API servers wrote?"""
    if asked.cause == rule.name or rule.name in ALSO.get(asked.cause, {}) or not rule.concerns(asked.case):
        return False
    rest = less(asked, "the API servers' side")
    return rule.examine(asked.case) is not None or (rest is not None and rule.examine(rest) is not None)


# --- with less --------------------------------------------------------------------------------------------------------


def without(types: tuple[type[AnyEvent], ...]) -> Callable[[AnyEvent], AnyEvent | None]:
    return lambda event: None if isinstance(event, types) else event


def _not_asked(event: AnyEvent) -> AnyEvent | None:
    return None if isinstance(event, Observation) and event.probe == "login" else event


def _not_answered(event: AnyEvent) -> AnyEvent:
    mine = isinstance(event, Observation) and event.probe == "login"
    return replace(event, answer="unknown") if mine else event


_BY_TOKEN: Final = ("token-lookup", "token-renew", "read", "write", "old-lease-renew")


def _not_granted(event: AnyEvent) -> AnyEvent | None:
    asked = isinstance(event, Observation) and event.probe in _BY_TOKEN
    return None if asked and event.answer == "granted" else event  # type: ignore[union-attr]


def _not_looked_up(event: AnyEvent) -> AnyEvent | None:
    asked = isinstance(event, Observation) and event.probe in ("token-lookup", "token-renew")
    return None if asked else event


def _without(field: str) -> Callable[[AnyEvent], AnyEvent]:
    def change(event: AnyEvent) -> AnyEvent:
        if not isinstance(event, Observation):
            return event
        return replace(event, detail={name: value for name, value in event.detail.items() if name != field})

    return change


def _unreadable(event: AnyEvent) -> AnyEvent:
    if not isinstance(event, RunStarted) or event.plan.topology is None:
        return event
    texts = dict.fromkeys(event.plan.topology.policies, "path {")
    return replace(event, plan=replace(event.plan, topology=replace(event.plan.topology, policies=texts)))


def _with_ca(event: AnyEvent) -> AnyEvent:
    if not isinstance(event, ConfigWritten):
        return event
    return replace(event, fields={**event.fields, "kubernetes_ca_cert": "some other"})


LESS: Final[dict[str, Callable[[AnyEvent], AnyEvent | None]]] = {
    **{kind: without(types) for kind, types in (KINDS | OTHERS).items()},
    "logins": _not_asked,
    "answers to logins": _not_answered,
    "lives of leases": _without("lease_duration"),
    "what was granted before": _not_granted,
    "look-ups and renewals": _not_looked_up,
    "policies of tokens": _without("policies"),
    "policies that can be read": _unreadable,
    "configs without a CA": _with_ca,
    "tokens of that cluster": lambda event: replace(event, cluster="x") if isinstance(event, TokenIssued) else event,
}
"""By what is gone: gives what is left of an event."""


@cache
def lessened(name: str, kind: str) -> Facts:
    """Return a stored record without a kind of what is in it."""
    record, change = stored_records.record(name), LESS[kind]
    left = tuple(new for event in record.events if (new := change(event)) is not None)
    return Facts(Record(left, record.directory))


@cache
def _by_id(name: str, kind: str) -> dict[int, Observation]:
    return {seen.id: seen for seen in lessened(name, kind).observations}


def less(asked: Asked, kind: str) -> Case | None:
    """Return a case as it is where a kind is gone; None where the question itself is."""
    case, by = asked.case, _by_id(asked.record, kind)
    after, before = by.get(case.after.id), by.get(case.before.id) if case.before is not None else None
    if after is None or (before is None and case.before is not None) or after.answer != case.after.answer:
        return None
    return Case(case.kind, case.effect, after, before, lessened(asked.record, kind))


class _Evidence(dict[int, Evidence]):
    """The evidence of a case's two answers, as `Joined` has it."""

    def review(self, observation: int) -> Review | None:
        return self[observation].review if observation in self else None


def _with_evidence(case: Case, of: Observation, **parts: Any) -> Case:
    facts, both = copy.copy(case.facts), [seen for seen in (case.before, case.after) if seen is not None]
    had = {seen.id: case.facts.evidence_of(seen) for seen in both}
    facts.__dict__["evidence"] = _Evidence({**had, of.id: replace(had[of.id], **parts)})
    return replace(case, facts=facts)


def _reviewed(status: int, user: str = "") -> Callable[[Case], Case]:
    return lambda case: _with_evidence(case, case.after, reviews=(_review(case, status, user),))


def _review(case: Case, status: int, user: str = "") -> Review:
    return Review(case.cluster if case.after.mount else "", status, user)


def _not_accepted_before(case: Case) -> Case | None:
    return None if case.before is None else _with_evidence(case, case.before, reviews=(_review(case, 401),))


def _silent_before(case: Case) -> Case | None:
    if case.before is None:
        return None
    before = replace(case.before, error="nobody says this")
    return _with_evidence(replace(case, before=before), before, audit=(), log=(), api_log=())


def _after(**fields: Any) -> Callable[[Case], Case]:
    return lambda case: replace(case, after=replace(case.after, **fields))


def _before(**fields: Any) -> Callable[[Case], Case | None]:
    return lambda case: None if case.before is None else replace(case, before=replace(case.before, **fields))


def _of_before(case: Case) -> Case | None:
    return None if case.before is None else replace(case, after=replace(case.after, error=case.before.error))


def _from_nowhere(case: Case) -> Case:
    audit = tuple(replace(line, text=re.sub(rf"{FROM_ADDRESS}\S+", "", line.text)) for line in case.evidence.audit)
    return _with_evidence(case, case.after, audit=audit)


_SOMEBODY: Final = "system:serviceaccount:some:body"

OTHERWISE: Final[dict[str, Callable[[Case], Case | None]]] = {
    "other words": _after(error="nobody says this"),
    "the words of before": _of_before,
    "another status": _after(status=418),
    "another question": _after(probe="another question"),
    "at once": _after(ended=0.0),
    "an older Vault": _after(version="1.3.0"),
    "a newer Vault": _after(version="1.21.2"),
    "nothing before": lambda case: None if case.before is None else replace(case, before=None),
    "no answer before": _before(answer="unknown"),
    "other words before": _before(error="nobody says this"),
    "an older Vault before": _before(version="1.3.0"),
    "a newer Vault before": _before(version="1.21.2"),
    "from no address": _from_nowhere,
    "a TokenReview": _reviewed(201, _SOMEBODY),
    "a TokenReview by nobody": _reviewed(401),
    "a TokenReview that is forbidden": _reviewed(403, _SOMEBODY),
    "a TokenReview forbidden to nobody": _reviewed(403),
    "a TokenReview by nobody before": _not_accepted_before,
    "nothing said before": _silent_before,
    "another status before": _before(status=418),
}
"""By what is otherwise: gives a case as it would be then, or None where there is no such thing in it."""


def told(rule: Rule, asked: Asked, what: str) -> str:
    """Return how sure *rule* is of a case with less or with something otherwise: "silent" where it says nothing, or a
    confidence; nothing where there is no such case. Of a case that no run can have it may also be that it "breaks".
    """
    case = less(asked, what) if what in LESS else OTHERWISE[what](asked.case)
    if case is None:
        return ""
    try:
        found = rule.examine(case) if rule.concerns(case) else None
    except (AssertionError, AttributeError, LookupError, TypeError, ValueError):
        return "breaks"
    return "silent" if found is None else diagnosis._sure(found, doubted=False)


@cache
def own(rule: Rule) -> tuple[Asked, ...]:
    """Return cases that are told as a rule's: of those that are alike in a record the first one. Of those who must be
    refused, and are, so many that none more would show anything else: every record has them at each look.
    """
    found: dict[tuple[object, ...], Asked] = {}
    for asked in every_case():
        case, rightly = asked.case, asked.case.after.must_be == "refused" and asked.case.after.answer == "refused"
        if asked.cause == rule.name:
            alike = (case.kind, case.effect, case.after.probe, case.before is None)
            where = (case.after.version,) if rightly else (asked.record, case.after.moment)
            found.setdefault((rightly, *alike, *where), asked)
    return tuple(found.values())


@cache
def every_case() -> tuple[Asked, ...]:
    """Return the cases of every stored record."""
    return tuple(asked for name in sorted(stored_records.FILES) for asked in cases(name))


def demands() -> Iterator[str]:
    """Yield what becomes of each rule with less, or with something otherwise, than it has in its own cases: a line for
    each answer that is another one than with all of it, and what gives that answer.
    """
    for rule in RULES:
        whole = {diagnosis._sure(found, doubted=False) for one in own(rule) if (found := rule.examine(one.case))}
        answers: dict[str, list[str]] = {}
        for what in (*LESS, *OTHERWISE):
            left = {told(rule, one, what) for one in own(rule)} - {""}
            if left and left != whole:
                answers.setdefault(" or ".join(sorted(left)), []).append(what)
        yield from (f"{rule.name} | {answer} | {'; '.join(by)}" for answer, by in answers.items())


if __name__ == "__main__":
    DEMANDS.write_text("".join(f"{line}\n" for line in demands()), encoding="utf-8")
