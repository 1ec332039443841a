"""Causes that lie with whom a token is made out for: a bearer, or what a review asks of the token that logs in."""

from __future__ import annotations

from typing import Final

import msgspec

from harness.analysis.correlation import shown
from harness.analysis.rules import remedies
from harness.analysis.rules.rewrites import held_config
from harness.analysis.rules.rule import Case, Diagnosis, Remedy, Rule, diagnosed
from harness.knowledge import kubernetes_auth, versions
from harness.knowledge.versions import at_least
from harness.scenario import endpoints
from harness.scenario.course import ProjectToken, WriteRole

# How an API server says that a bearer is made out for somebody else. Run: Kubernetes 1.32.0.
_OTHER_AUDIENCE: Final = "is invalid for the target audiences"


def _client_not_accepted(case: Case) -> Diagnosis | None:
    facts, seen, review = case.facts, case.after, case.evidence.review
    if review is None or review.status != 401 or facts.written_at(seen) is None or facts.bearer(seen) != "client":
        return None
    token, config = facts.token_line(seen), facts.config_line(seen)
    told = any(_OTHER_AUDIENCE in line.text for line in case.evidence.api_log)
    own, gone = facts.app(seen.app).audiences, _given_up(case)
    return diagnosed(
        f"Vault presents the token of {seen.app} itself as the reviewer, and the API server of {case.cluster} does not "
        f"accept it as a bearer (TokenReview answered 401): {_no_bearer(case, told=told, gone=gone)}",
        "certain" if told else "strong",
        [
            shown(review),
            *case.evidence.api_log,
            token,
            config,
            *([facts.issuers_line(case.cluster, gone[1])] if gone else []),
            *case.evidence.audit,
        ],
        remedies.long_lived(case)[1],
        *([remedies.issuer_beside(case, gone[0], gone[1][1])] if gone else []),
        *([remedies.both_audiences(case)] if told and own and "cluster" not in own else []),
        _own_audience(case),
    )


def _given_up(case: Case) -> tuple[str, tuple[int, tuple[str, ...]]] | None:
    """Return the audience of the token that was the API server's own until it lost that issuer, and its issuers now."""
    facts, before, token = case.facts, case.before, case.facts.token_of(case.after)
    then = facts.issuers(case.cluster, before) if before is not None else None
    now = facts.issuers(case.cluster, case.after)
    if token is None or then is None or now is None or set(token.audiences) & set(now[1]):
        return None
    lost = [one for one in token.audiences if one in then[1]]
    return (lost[0], now) if lost else None


def _no_bearer(case: Case, *, told: bool, gone: tuple[str, tuple[int, tuple[str, ...]]] | None) -> str:
    """Return why the token that logs in is no bearer at the API server, which has *told* its audience or not."""
    token, since = case.facts.token_of(case.after), kubernetes_auth.SENDS_AUDIENCES
    whom = ", ".join((token.audiences if token else case.facts.app(case.after.app).audiences) or ("another audience",))
    if gone:
        now = ", ".join(gone[1][1])
        return (
            f"it is made out for {whom}, which was the API server's own audience as long as it had that issuer: its "
            f"audiences are its issuers where no --api-audiences says otherwise, and it has {now} now. "
            "An audience that somebody wrote down, in a manifest or a TokenRequest, does not follow. With a reviewer "
            f"beside it such a token logs in still: from {since} on Vault names its audiences in the review"
        )
    if told:
        return (
            f"it is made out for {whom}, and a bearer must be made out for the API server itself. Such a token can log "
            "in with a reviewer beside it"
        )
    return (
        "a token with an audience of its own, or one that ended, can log in with a reviewer beside it and cannot be one"
    )


def _own_audience(case: Case) -> Remedy:
    """Return how the token that logs in becomes a bearer; a role that demands another audience has to give that up."""
    app, mount = case.facts.app(case.after.app), case.after.mount
    words = f"Let the token of {case.after.app} have the API server's audience."
    project, commands = ProjectToken(app=case.after.app, audience=None), [remedies.projected(None)]
    if not remedies.role_of(case, remedies.first_label(case)).audience:
        return remedies.way(case, words, commands, lambda _label: (project,))[1]
    words += f" Role {app.role} demands another one, and must not any more."

    def role(label: str) -> WriteRole:
        spec = msgspec.structs.replace(remedies.role_of(case, label), audience="")
        return WriteRole(mount=mount, role=app.role, spec=spec)

    commands.append(remedies.role_command(case, "audience=''"))
    return remedies.way(case, words, commands, lambda label: (project, role(label)))[1]


def _no_audiences(case: Case) -> Diagnosis | None:
    if case.effect == "login granted":
        return _audiences_at_last(case)
    review, seen, since = case.evidence.review, case.after, kubernetes_auth.SENDS_AUDIENCES
    said = case.quoted(_OTHER_AUDIENCE)
    if review is None or review.status != 201 or not said or at_least(seen.version, since):
        return None
    token = case.facts.token_of(seen)
    whom = ", ".join(token.audiences) if token is not None else "another audience"
    return diagnosed(
        f"{versions.called(seen.version)}, like every one before {since}, names no audiences when it has a token "
        f"reviewed, and the API server of {case.cluster} then takes each that is not made out for itself for a false "
        f"one: that of {seen.app} is made out for {whom}, so its login answers {seen.status}, whoever reviews",
        "certain",
        [*said, shown(review), case.facts.token_line(seen)],
        *_audiences_reviewed(case),
    )


def _audiences_at_last(case: Case) -> Diagnosis | None:
    """Explain that the login is granted by the first Vault that names the audiences."""
    before, seen, since = case.before, case.after, kubernetes_auth.SENDS_AUDIENCES
    if before is None or at_least(before.version, since) or not at_least(seen.version, since):
        return None
    earlier = case.as_it_was(before)
    said = earlier.quoted(_OTHER_AUDIENCE)
    if not said or earlier.evidence.review is None or earlier.evidence.review.status != 201:
        return None
    return diagnosed(
        f"From {since} on Vault names the audiences of a token when it has it reviewed, so the API server of "
        f"{case.cluster} no longer takes that of {seen.app} for a false one: logins answer {seen.status}",
        "certain",
        [*said, *case.evidence.evidence_lines()],
    )


def _audiences_reviewed(case: Case) -> tuple[Remedy, Remedy]:
    """Return what lets a token for somebody else be reviewed: another Vault, or another audience beside its own."""
    since = kubernetes_auth.SENDS_AUDIENCES
    newer = next((one.version for one in case.facts.moments.values() if at_least(one.version, since)), "")
    here = f", as this run shows at {newer}" if newer else ""
    return (
        Remedy(
            f"Go to Vault {since} or newer, which names the token's audiences{here}.",
            unproven="it is an upgrade, and no change of what a Vault holds",
        ),
        remedies.both_audiences(case),
    )


def _left_out(case: Case) -> Diagnosis | None:
    review, seen, since = case.evidence.review, case.after, kubernetes_auth.CHECKS_AUDIENCES
    said = case.quoted(kubernetes_auth.WRONG_AUDIENCES)
    if review is None or review.status != 201 or not said or not at_least(seen.version, since):
        return None
    mount, host = seen.mount, str(held_config(case.facts, seen.mount, seen.moment).fields.get("kubernetes_host", ""))
    there = endpoints.told(host) if endpoints.proxy(host) is not None else "what answers there"
    between = Remedy(
        f"Let {there} hand back the whole answer to a TokenReview, status.audiences with it.",
        unproven="how a proxy is set up is its own, and kubernetes_host: proxy rehearses one that hands on everything",
    )
    return diagnosed(
        f"The API server of {case.cluster} reviewed the token of {seen.app} and answered {review.status}, and what "
        f"came back to Vault names no audience that the token was to be good for: at kubernetes_host of auth/{mount} "
        f"is {there}. From {since} on Vault takes that for no review, so the login answers {seen.status}",
        "certain",
        [*said, shown(review), case.facts.config_line(seen)],
        remedies.found_again(case)[1],
        between,
    )


CLIENT_NOT_ACCEPTED: Final = Rule(
    name="client-jwt-not-accepted",
    versions="every version",
    precondition="no reviewer is stored and none is read from a pod: the login's token reviews itself",
    demands="a TokenReview answered 401",
    explanation="a reviewer is a bearer like any other: its audience must be the API server's, and it must be alive",
    source="Kubernetes KEP 1205; Kubernetes reference of kube-apiserver, --api-audiences; vault-secrets-operator issue "
    "379; run: Kubernetes 1.32.0",
    examine=_client_not_accepted,
)
NO_AUDIENCES: Final = Rule(
    name="review-without-audiences",
    versions=f"every version before {kubernetes_auth.SENDS_AUDIENCES}",
    precondition="the token that logs in is not made out for the API server",
    demands="a TokenReview answered 201 and the API server's words about the token's audiences",
    explanation="a TokenReview without audiences asks whether a token is good for the API server itself",
    source="vault-plugin-auth-kubernetes issue 73, PR #74; run: 1.3.0 / 1.4.0",
    examine=_no_audiences,
    grants=True,
)
LEFT_OUT: Final = Rule(
    name="review-audiences-left-out",
    versions=f"{kubernetes_auth.CHECKS_AUDIENCES} and newer",
    precondition="a proxy or a webhook answers TokenReviews, and knows no audiences; the token has some, or its role",
    demands="a TokenReview answered 201 and Vault's log line about the audiences",
    explanation="who asks whether a token is good for an audience has to be told for which it is: a server that knows "
    "no audiences says yes to any",
    source="vault-plugin-auth-kubernetes v0.15.0 token_review.go, PR #179; Kubernetes API reference, TokenReviewStatus",
    examine=_left_out,
)
