"""Causes of what is answered at a JWT mount by what a token claims beside its issuer, subject and audience."""

from __future__ import annotations

from typing import Any, Final

from msgspec.structs import replace

from harness.analysis.rules import as_code, remedies
from harness.analysis.rules.jwts import answered, role_called, said
from harness.analysis.rules.rule import Case, Diagnosis, Remedy, Rule, diagnosed
from harness.knowledge import jwt_auth, versions
from harness.knowledge.jwt_auth import Refusal
from harness.knowledge.versions import at_least
from harness.record.observation import Observation
from harness.scenario.course import WriteRole
from harness.scenario.mount_kinds import JWT

_SOURCE: Final = (
    "hashicorp/vault-plugin-auth-jwt claims.go validateBoundClaims, path_login.go createIdentity; run: 1.4.0, 1.6.0, "
    "1.7.0, 1.8.0, 1.9.3, 1.10.0, 1.11.0, 1.12.0, 1.13.0, 1.16.3"
)
_BOUND: Final[tuple[Refusal, ...]] = ("bound claim", "no such claim", "claim of numbers")
_TAKEN: Final[tuple[Refusal, ...]] = (
    "no user claim",
    "user claim of no text",
    "metadata of no text",
    "no groups claim",
)


def of_token(case: Case) -> dict[str, Any]:
    """Return what the app's token claims, as far as anybody knows who has not seen it."""
    app, token = case.facts.app(case.after.app), case.facts.token_of(case.after)
    known: dict[str, Any] = {"sub": token.subject, "iss": token.issuer} if token is not None else {}
    if app.service_account:
        space, name = app.service_account.split("/")
        known["kubernetes.io"] = {"namespace": space, "serviceaccount": {"name": name}}
    return {**app.claims, **known}


def _named(case: Case) -> str:
    """Return the claim that Vault's words are about: of a number they name the value."""
    if jwt_auth.refusal_of(case.after.error) != "claim of numbers":
        return jwt_auth.claim_in(case.after.error)
    bound = remedies.role_of(case, case.after.moment).bound_claims or {}
    numbers = (name for name in bound if isinstance(jwt_auth.claim_at(of_token(case), name), int))
    return next(numbers, "")


def _bound(case: Case) -> Diagnosis | None:
    seen, before = case.after, case.before
    if before is not None and seen.answer == "granted":
        return _numbers_taken(case, before)
    if not said(case, *_BOUND):
        return None
    name, has = _named(case), jwt_auth.claim_at(of_token(case), _named(case))
    wanted = (remedies.role_of(case, seen.moment).bound_claims or {}).get(name)
    shown = ", ".join(map(str, wanted)) if isinstance(wanted, list | tuple) else str(wanted)
    what = f"has the claim {name} with {has!r}" if has is not None else f"has not the claim {name}"
    why = f"and {role_called(case)} demands {shown} (bound_claims)"
    if said(case, "claim of numbers"):
        why = (
            f"and {role_called(case)} binds it: {versions.called(seen.version)} takes no number there, whatever the "
            "role says; 1.16.3 does"
        )
    return diagnosed(
        f"The token of {seen.app} {what}, {why}",
        "certain",
        [*answered(case, *(words for one in _BOUND for words in jwt_auth.words_of(one))), case.facts.token_line(seen)],
        _bind(case, name, has),
    )


def _numbers_taken(case: Case, before: Observation) -> Diagnosis | None:
    if jwt_auth.refusal_of(before.error) != "claim of numbers":
        return None
    if not at_least(case.after.version, jwt_auth.CLAIM_NUMBERS):
        return None
    return diagnosed(
        f"{versions.called(before.version)} takes no number as a bound claim, and "
        f"{versions.called(case.after.version)} does: {role_called(case)} binds one, and the token has it",
        "strong",
        [*case.facts.evidence_of(before).audit, case.facts.token_line(case.after)],
    )


def _bind(case: Case, name: str, has: Any) -> Remedy:
    """Return how the role comes to bind what the token claims, or something else where it cannot."""
    token = case.facts.token_of(case.after)
    held = remedies.role_of(case, remedies.first_label(case))
    others = {claim: value for claim, value in (held.bound_claims or {}).items() if claim != name}
    number = said(case, "claim of numbers")
    if has is not None and not number:
        one = has[0] if isinstance(has, list | tuple) else has
        change: dict[str, Any] = {"bound_claims": {**others, name: one}}
        words = f"Have {role_called(case)} demand what the token claims, if that is who is meant."
    else:
        subject = token.subject if token is not None else None
        change = {"bound_claims": others, "bound_subject": held.bound_subject or subject}
        words = f"Have {role_called(case)} demand the subject of the token instead of the claim {name}."
    return _changed(case, words, change)


def _taken(case: Case) -> Diagnosis | None:
    if not said(case, *_TAKEN):
        return None
    seen, name = case.after, jwt_auth.claim_in(case.after.error)
    refusal, has = jwt_auth.refusal_of(seen.error), jwt_auth.claim_at(of_token(case), name)
    held = remedies.role_of(case, remedies.first_label(case))
    field = "user_claim" if refusal in ("no user claim", "user claim of no text") else "groups_claim"
    change: dict[str, Any] = {"user_claim": "sub"}
    becomes = "the name of its entity"
    words = f"Have {role_called(case)} name entities by the subject, which every token has: user_claim=sub."
    more = ""
    if refusal == "no user claim" and name.startswith("/"):
        more = f". A name within a claim is looked for from {jwt_auth.CLAIM_POINTER} on, with user_claim_json_pointer"
    if refusal == "metadata of no text":
        field, becomes = "claim_mappings", "metadata of its alias"
        left = {claim: to for claim, to in (held.claim_mappings or {}).items() if claim != name}
        change, words = {"claim_mappings": left}, f"Take the claim {name} out of claim_mappings of {role_called(case)}."
    elif refusal == "no groups claim":
        becomes, change = "the names of its groups", {"groups_claim": ""}
        words = f"Take groups_claim out of {role_called(case)}, or have whoever issues the tokens give them the claim."
    is_so = "is no text" if has is not None else "is not in the token"
    return diagnosed(
        f"{role_called(case)[0].upper()}{role_called(case)[1:]} makes the claim {name} {becomes} ({field}), and it "
        f"{is_so} of {seen.app}{more}",
        "certain",
        [*answered(case, *(known for one in _TAKEN for known in jwt_auth.words_of(one))), case.facts.token_line(seen)],
        _changed(case, words, change),
    )


def _changed(case: Case, words: str, change: dict[str, Any]) -> Remedy:
    mount, role = case.after.mount, case.facts.app(case.after.app).role

    def step(label: str) -> WriteRole:
        return WriteRole(mount=mount, role=role, spec=replace(remedies.role_of(case, label), **change))

    command = as_code.role_command(
        f"auth/{mount}/role/{role}", {name: value for name, value in change.items() if value is not None}
    )
    return remedies.way(case, words, (command,), lambda label: (step(label),))[1]


BOUND: Final = Rule(
    name="jwt-bound-claim-mismatch",
    versions="every version; a number that is bound is refused by 1.13.0 and older, and taken by 1.16.3",
    precondition="the role binds claims",
    demands="Vault's own words for it, now or before",
    explanation="each claim that a role binds has to be in the token, with one of the values that the role names",
    source=_SOURCE,
    examine=_bound,
    kinds=(JWT,),
    grants=True,
)

TAKEN: Final = Rule(
    name="jwt-claim-unusable",
    versions="every version",
    precondition="the role takes the name, the metadata or the groups of an entity from claims",
    demands="Vault's own words for it",
    explanation="what becomes the name, the metadata or the groups of an entity has to be there, and to be text",
    source=_SOURCE,
    examine=_taken,
    kinds=(JWT,),
)
