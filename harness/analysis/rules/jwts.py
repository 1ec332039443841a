"""Causes of what is answered at a JWT mount, where Vault itself checks the signature and the claims of a token."""

from __future__ import annotations

from typing import Final

import msgspec

from harness.analysis.correlation import EvidenceLine
from harness.analysis.rules import as_code, remedies
from harness.analysis.rules.rewrites import held_config
from harness.analysis.rules.rule import Case, Diagnosis, Remedy, Rule, diagnosed
from harness.knowledge import jwt_auth, versions
from harness.knowledge.jwt_auth import Refusal
from harness.scenario.course import AnyStep, ProjectToken, WriteConfig, WriteRole
from harness.scenario.mount_kinds import ASKED_AT, JWT, PROVIDER

_SOURCE: Final = "hashicorp/vault-plugin-auth-jwt path_login.go; run: 1.6.0, 1.7.0, 1.13.0, 1.16.3"


_LISTED: Final = "whose audiences are a list, as of Kubernetes"
_TEXT: Final = "whose audience is one text, as of GitLab and most identity providers,"
_NEEDS: Final = "needs bound_audiences up to 1.6, from 1.16.3 on, and from 1.17.0 on for good"


def said(case: Case, *refusals: Refusal) -> bool:
    """Is the answer that is to be explained one of these refusals, by Vault's own words?"""
    return case.after.answer == "refused" and jwt_auth.refusal_of(case.after.error) in refusals


def answered(case: Case, *words: str) -> list[EvidenceLine]:
    """Return Vault's words, and its audit entry of the very request: that has the words of some versions only."""
    return list(dict.fromkeys((*case.quoted(*words), *case.evidence.audit)))


def whose_keys(case: Case) -> str:
    """Return the cluster that the mount's config asks for keys then."""
    fields = held_config(case.facts, case.after.mount, case.after.moment).fields
    named = next((str(fields[url]) for url in ASKED_AT if url in fields), "")
    return case.cluster if named == "cluster" else named


def role_called(case: Case) -> str:
    """Return the role that the app logs in to, for a sentence."""
    return f"role {case.facts.app(case.after.app).role} of auth/{case.after.mount}"


def _audiences(case: Case) -> tuple[str, ...]:
    token = case.facts.token_of(case.after)
    return token.audiences if token is not None else ()


def _listed(case: Case) -> bool:
    """Are the audiences of the app's token a list? So they are in all that Kubernetes issues."""
    return case.facts.app(case.after.app).token != "minted" or len(_audiences(case)) > 1


def _not_bound(case: Case) -> Diagnosis | None:
    """Explain what a token with an audience meets at a role without bound_audiences; a text is not taken as a list."""
    seen, before = case.after, case.before
    lost = before is not None and jwt_auth.refusal_of(before.error) == "no audiences bound"
    if lost and before is not None and seen.answer == "granted":
        return diagnosed(
            f"{role_called(case)[0].upper()}{role_called(case)[1:]} has no bound_audiences, and "
            f"{versions.called(seen.version)} does not refuse a token for that whose audience is one text, as "
            f"{before.version} does: a token that was made out for somebody else logs in as well",
            "strong",
            [case.facts.token_line(seen), *case.facts.evidence_of(before).audit],
            _binding(case),
        )
    if not said(case, "no audiences bound"):
        return None
    why = f"as every version does to a token {_LISTED}"
    if not _listed(case):
        why = f"and not every version does: a token {_TEXT} {_NEEDS}"
    if before is not None and before.answer == "granted":
        there = versions.called(before.version)
        why = f"which {there} did not: a token {_TEXT} {_NEEDS}; one {_LISTED}, in every version"
    return diagnosed(
        f"The token of {seen.app} has the audience {', '.join(_audiences(case)) or '?'}, and {role_called(case)} has "
        f"no bound_audiences: {versions.called(seen.version)} refuses that with {seen.status}, {why}",
        "certain",
        [*answered(case, *jwt_auth.words_of("no audiences bound")), case.facts.token_line(seen)],
        _binding(case),
    )


def _binding(case: Case) -> Remedy:
    """Return how the role comes to bind the audiences that the token has."""
    app, mount, audiences = case.facts.app(case.after.app), case.after.mount, _audiences(case)

    def step(label: str) -> AnyStep:
        spec = msgspec.structs.replace(remedies.role_of(case, label), bound_audiences=audiences)
        return WriteRole(mount=mount, role=app.role, spec=spec)

    held = remedies.role_of(case, remedies.first_label(case))
    fields = msgspec.structs.replace(held, bound_audiences=audiences).fields
    shown = " ".join(
        f"{name}='{','.join(value) if isinstance(value, tuple) else value}'" for name, value in fields.items()
    )
    words = f"Give {role_called(case)} the audience that the token has: bound_audiences. Every version takes that."
    command = f"vault write auth/{mount}/role/{app.role} {shown}"
    return remedies.way(case, words, (command,), lambda label: (step(label),))[1]


def _audience(case: Case) -> Diagnosis | None:
    if not said(case, "audience"):
        return None
    bound = remedies.role_of(case, case.after.moment).bound_audiences or ()
    return diagnosed(
        f"The token of {case.after.app} has the audience {', '.join(_audiences(case)) or 'of nobody'}, and "
        f"{role_called(case)} demands one of {', '.join(bound)} (bound_audiences)",
        "certain",
        [*answered(case, *jwt_auth.words_of("audience")), case.facts.token_line(case.after)],
        _binding(case),
    )


def _key(case: Case) -> Diagnosis | None:
    if not said(case, "signature", "no fetched key"):
        return None
    seen = case.after
    fields = held_config(case.facts, seen.mount, seen.moment).fields
    held, url = fields.get("jwt_validation_pubkeys"), next((one for one in ASKED_AT if one in fields), "")
    named = ", ".join(one if len(one) < 64 else "a PEM text" for one in held) if isinstance(held, tuple) else "?"
    sentence = (
        f"None of the keys in auth/{seen.mount}/config (jwt_validation_pubkeys: {named}) has signed the token of "
        f"{seen.app}: it changed since they were written"
    )
    if url:
        sentence = f"None of the keys that {whose_keys(case)} serves ({url}) has signed the token of {seen.app}"
    words = (*jwt_auth.words_of("signature"), *jwt_auth.words_of("no fetched key"))
    return diagnosed(
        sentence,
        "certain",
        [*answered(case, *words), case.facts.config_line(seen), case.facts.token_line(seen)],
        right_key(case),
    )


def right_key(case: Case) -> Remedy:
    """Return how the config comes to hold the key that signs; a write replaces all of it."""
    mount, app = case.after.mount, case.facts.app(case.after.app)
    key = app.cluster or "provider"

    def step(label: str) -> AnyStep:
        kept = {**held_config(case.facts, mount, label).fields, "jwt_validation_pubkeys": (key,)}
        fields = {name: value for name, value in kept.items() if name not in (*ASKED_AT, *ASKED_AT.values())}
        return WriteConfig(mount=mount, fields=fields)

    whose = f"{app.cluster} signs its tokens" if app.cluster else "the identity provider signs its tokens"
    words = f"Write the whole config of auth/{mount} again with the key with which {whose} now, in sa.pub."
    token = case.facts.token_of(case.after)
    issuer = token.issuer if token is not None else "..."
    label = remedies.first_label(case, late=remedies.rotated_just_now(case))
    held = held_config(case.facts, mount, label).fields.get("bound_issuer")
    more = f" bound_issuer='{issuer if held in _WORDS else held}'" if held else ""
    command = f"vault write auth/{mount}/config jwt_validation_pubkeys=@sa.pub{more}"
    late = remedies.rotated_just_now(case)
    return remedies.way(case, words, (command,), lambda label: (step(label),), late=late)[1]


_WORDS: Final = {"cluster": "that of its cluster", PROVIDER: "that of the identity provider"}
"""What the words of a scenario stand for in bound_issuer."""


def _claim(case: Case) -> Diagnosis | None:
    if not said(case, "subject", "issuer"):
        return _times(case)
    seen, facts = case.after, case.facts
    token, at = facts.token_of(seen), f"auth/{seen.mount}"
    if jwt_auth.refusal_of(seen.error) == "issuer":
        fields = held_config(facts, seen.mount, seen.moment).fields
        by = "bound_issuer" if "bound_issuer" in fields else "oidc_discovery_url"
        has, demands = token.issuer if token else "?", str(fields.get(by))
        demands = _WORDS.get(demands, demands) if by == "bound_issuer" else demands
        what = f"{at}/config demands {demands} ({by})"
        changed = f"jq '.data + {{{by}: \"{has}\"}}'"
        commands = (f"vault read -format=json {at}/config | {changed} | vault write {at}/config -",)
        where = f"{by} of {at}/config, which a write replaces as a whole"
    else:
        bound = remedies.role_of(case, seen.moment).bound_subject
        has, what = token.subject if token else "?", f"{role_called(case)} demands {bound} (bound_subject)"
        commands = (remedies.role_command(case, f"bound_subject='{has}'"),)
        where = f"bound_subject of {role_called(case)}"
    return diagnosed(
        f"The token of {seen.app} says {has}, and {what}",
        "certain",
        [*answered(case, *jwt_auth.words_of("subject"), *jwt_auth.words_of("issuer")), facts.token_line(seen)],
        Remedy(
            f"If that is who is meant, write what the token says, {has}, in {where}. If not, have the token made out "
            "by whom the demand names.",
            commands=commands,
            unproven="whether the token or the demand is wrong is for the operator to say",
        ),
    )


def _times(case: Case) -> Diagnosis | None:
    """Explain what a token meets that says nothing of its times, or has ended."""
    if not said(case, "no times", "expired"):
        return None
    seen = case.after
    if jwt_auth.refusal_of(seen.error) == "expired":
        what, remedy = "that it has ended", Remedy("Have the app log in with a new token.", unproven=_MADE_AT_FIRST)
    else:
        what, remedy = "neither when it was issued nor when it ends, as one out of a Secret", _of_a_pod(case)
    return diagnosed(
        f"The token of {seen.app} says {what}, and no JWT mount takes such a one",
        "certain",
        [*answered(case, *jwt_auth.words_of("no times"), *jwt_auth.words_of("expired")), case.facts.token_line(seen)],
        remedy,
    )


_MADE_AT_FIRST: Final = "a rehearsal's tokens are made when it begins"


def _of_a_pod(case: Case) -> Remedy:
    """Return how the app comes with a token of its Pod, for an audience that the role binds."""
    app, mount = case.facts.app(case.after.app), case.after.mount
    held = remedies.role_of(case, remedies.first_label(case))
    audience = (held.bound_audiences or ("vault",))[0]

    def steps(label: str) -> tuple[AnyStep, ...]:
        project, role = ProjectToken(app=case.after.app, audience=audience), remedies.role_of(case, label)
        if role.bound_audiences:
            return (project,)
        # a token that has an audience needs a role that binds audiences
        spec = msgspec.structs.replace(role, bound_audiences=(audience,))
        return project, WriteRole(mount=mount, role=app.role, spec=spec)

    commands = [remedies.projected(audience)]
    if not held.bound_audiences:
        fields = msgspec.structs.replace(held, bound_audiences=(audience,)).fields
        commands.append(as_code.role_command(held.of_kind.place_of(mount, app.role), fields))
    words = (
        f"Project a token into the Pod of {case.after.app}, for an audience that {role_called(case)} binds: {audience}."
    )
    return remedies.way(case, words, commands, steps)[1]


NOT_BOUND: Final = Rule(
    name="jwt-audience-not-bound",
    versions="of a list every version; of one text up to 1.6, 1.16.3 to 1.16.5, and from 1.17.0 on",
    precondition="the token has an audience, and its role binds none",
    demands="Vault's own words for it, now or before",
    explanation="a token is made out for somebody, and a role that does not say for whom takes what others were given",
    source=_SOURCE,
    examine=_not_bound,
    kinds=(JWT,),
    grants=True,
)

AUDIENCE: Final = Rule(
    name="jwt-audience-mismatch",
    versions="every version",
    precondition="the role binds audiences",
    demands="Vault's own words for it",
    explanation="one of the role's audiences has to be one of the token's",
    source=_SOURCE,
    examine=_audience,
    kinds=(JWT,),
)

KEY: Final = Rule(
    name="jwt-key-unknown",
    versions="every version",
    precondition="the mount has static keys, or gets them from whoever does not sign the token",
    demands="Vault's own words for it",
    explanation="Vault asks nobody else: keys that were written once are used until somebody writes others",
    source=_SOURCE,
    examine=_key,
    kinds=(JWT,),
)

CLAIM: Final = Rule(
    name="jwt-claim-mismatch",
    versions="every version",
    precondition="an issuer or a subject is demanded; of a token's times something always is",
    demands="Vault's own words for it",
    explanation="what is bound has to be what the token says, letter by letter",
    source=_SOURCE,
    examine=_claim,
    kinds=(JWT,),
)
