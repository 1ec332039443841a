"""What a refused login would meet next, were the cause that refuses it mended: by the knowledge, of the same record.

Vault stops at the first check that fails, so a second cause leaves no trace. What it would be follows from the config,
the role and the tokens of the record, in the order in which that version checks; only another run shows that it is so.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from harness.analysis.record_view import Facts
from harness.analysis.rules.rewrites import held_config, held_role
from harness.analysis.rules.rule import Case
from harness.knowledge import kubernetes_auth, login_order, versions
from harness.record.events import PodReplaced
from harness.record.observation import Observation
from harness.scenario import course, endpoints
from harness.scenario.course import Look
from harness.scenario.outcomes import Cause

_NEXT_OF: Final[dict[kubernetes_auth.Refusal, Cause]] = {
    "missing ca": "local-ca-missing",
    "signing key": "signing-key-unknown",
    "algorithm": "token-algorithm-refused",
    "issuer": "issuer-mismatch",
    "audience": "audience-mismatch",
    "namespace": "role-binding-mismatch",
    "service account name": "role-binding-mismatch",
}
"""The causes that are checks of Vault's own, which stand in `login_order`."""

_REVIEWED: Final[tuple[Cause, ...]] = (
    "reviewer-fallback-local",
    "reviewer-frozen",
    "reviewer-lacks-tokenreview-rbac",
    "client-jwt-not-accepted",
    "stored-reviewer-refused",
)
"""The causes that lie with the reviewer: one of them at most, and last of all."""


class Next(msgspec.Struct, frozen=True):
    """A cause that would refuse the same login next."""

    cause: Cause
    sentence: str
    """why, in words without a full stop"""
    met: str = ""
    """the label of the moment at which this very run saw it refuse the same login; empty: it is foretold alone"""


def after(case: Case, cause: str) -> tuple[Next, ...]:
    """Return what would refuse the login of *case* once *cause*, which refuses it now, is mended: the nearest first.

    Nothing for what is no refused login of an app that is to be let in, or where no order has the cause.
    """
    seen = case.after
    if seen.probe != "login" or seen.answer != "refused" or seen.must_be == "refused" or not seen.app:
        return ()
    if case.facts.written_at(seen) is None:
        return ()
    order = _order(seen.version)
    if cause not in order or cause in _REVIEWED:
        return ()  # nobody meets two causes of the reviewer, and there is nothing after it
    found = {one.cause: one for one in _all(case)}
    return tuple(found[one] for one in order[order.index(cause) + 1 :] if one in found)


def _order(version: str) -> list[str]:
    own = [_NEXT_OF[check] for check in login_order.checks(version) if check in _NEXT_OF]
    first = [cause for place, cause in enumerate(own) if cause not in own[:place]]
    return [*first, "api-server-unreachable", "api-server-untrusted", "api-server-not-at-host", *_REVIEWED]


def _all(case: Case) -> Iterator[Next]:
    """Yield everything that is known to refuse this login, in no order."""
    yield from _own(case)
    yield from _way(case)
    if (found := _reviewer(case)) is not None:
        yield found


def _own(case: Case) -> Iterator[Next]:
    facts, seen = case.facts, case.after
    app, token = facts.app(seen.app), facts.token_of(seen)
    role = held_role(facts, seen.mount, app.role, seen.moment)
    space, name = app.service_account.split("/")
    spaced = role.namespace_selector is not None or kubernetes_auth.admits(role.namespaces, space)
    if not (spaced and kubernetes_auth.admits(role.service_accounts, name)):
        yield Next("role-binding-mismatch", f"role {app.role} does not admit {app.service_account}")
    if token is None:
        return
    if role.audience and role.audience not in token.audiences:
        has = ", ".join(token.audiences) or "none"
        yield Next(
            "audience-mismatch", f"role {app.role} demands the audience {role.audience}, and the token has {has}"
        )
    if kubernetes_auth.refuses_algorithm(seen.version, token.algorithm):
        said = f"{versions.called(seen.version)} takes no token signed with {token.algorithm}"
        yield Next("token-algorithm-refused", said)
    wanted = facts.expected_issuer(seen)
    if wanted and wanted != token.issuer:
        yield Next(
            "issuer-mismatch", f"auth/{seen.mount} demands the issuer {wanted}, and the token has {token.issuer}"
        )
    keys = held_config(facts, seen.mount, seen.moment).fields.get("pem_keys")
    named = [case.cluster if one == "cluster" else one for one in keys] if isinstance(keys, tuple) else []
    if named and set(named) <= set(facts.topology.clusters) - {app.cluster}:
        yield Next("signing-key-unknown", f"none of the pem_keys of auth/{seen.mount} is of cluster {app.cluster}")


def _way(case: Case) -> Iterator[Next]:
    """Yield what is wrong with the way to the API server: its address, or the CA."""
    fields = held_config(case.facts, case.after.mount, case.after.moment).fields
    host, authority = fields.get("kubernetes_host", "cluster"), fields.get("kubernetes_ca_cert")
    if host in endpoints.NO_ANSWER:
        yield Next(
            "api-server-not-at-host", f"at kubernetes_host of auth/{case.after.mount} is {endpoints.told(str(host))}"
        )
    elif not endpoints.reaches(host, case.facts.vault_at(case.after.mount, case.after.moment).cluster):
        yield Next("api-server-unreachable", f"auth/{case.after.mount} has {host} as the address of the API server")
    if isinstance(authority, str) and authority in case.facts.topology.clusters and authority != case.cluster:
        yield Next("api-server-untrusted", f"the CA of auth/{case.after.mount} is that of cluster {authority}")


def _reviewer(case: Case) -> Next | None:
    """Return why the API server would refuse whoever reviews, or None where it is not known to."""
    facts, seen = case.facts, case.after
    same, bearer = facts.same_cluster(seen.mount, seen.moment), facts.bearer(seen)
    vault = facts.vault_at(seen.mount, seen.moment)
    if bearer == "local" and not same:
        why = f"the config names no reviewer, and cluster {case.cluster} does not know the token of Vault's own pod"
        return Next("reviewer-fallback-local", why)
    if bearer == "frozen" and (not same or _pod_is_gone(facts, seen)):
        return Next("reviewer-frozen", "the config holds a copy of a token of Vault's pod that is not good there")
    if bearer == "client":
        return _client(case)
    if bearer == "explicit":
        return _stored(case)
    lacks = bearer == "local" and not _may_review(case, vault.service_account, may=vault.may_review_tokens)
    return _lacks(case, vault.service_account) if lacks else None


def _client(case: Case) -> Next | None:
    app, token = case.facts.app(case.after.app), case.facts.token_of(case.after)
    others = {one for one in app.audiences if one != "cluster"}
    if token is not None and others and not set(token.audiences) - others:
        why = f"the token of {case.after.app} reviews itself, and is made out for {', '.join(token.audiences)}"
        return Next("client-jwt-not-accepted", why)
    may = _may_review(case, app.service_account, may=app.may_review_tokens)
    return None if may else _lacks(case, app.service_account)


def _stored(case: Case) -> Next | None:
    facts, seen = case.facts, case.after
    held, mount = held_config(facts, seen.mount, seen.moment), facts.mount(seen.mount)
    if held.fields.get("token_reviewer_jwt") == "pod-token":
        if not facts.same_cluster(seen.mount, seen.moment) or _pod_is_gone(facts, seen):
            return Next(
                "stored-reviewer-refused", "the stored reviewer is a token of Vault's pod that is not good there"
            )
        return None
    account = mount.reviewer_account
    if not account or _may_review(case, account, may=mount.reviewer_may_review_tokens):
        return None
    return _lacks(case, account)


def _lacks(case: Case, account: str) -> Next:
    why = f"{account} reviews, and may not create TokenReviews in cluster {case.cluster}"
    return Next("reviewer-lacks-tokenreview-rbac", why)


def _may_review(case: Case, account: str, *, may: bool) -> bool:
    """May an account of the mount's cluster review at this moment, with what the course gave it and took from it?"""
    for step in case.facts.steps:
        if isinstance(step, Look) and step.moment.label == case.after.moment:
            break
        if isinstance(step, (course.Grant, course.Revoke)):
            mine = (step.cluster, step.service_account) == (case.cluster, account)
            may = isinstance(step, course.Grant) if mine else may
    return may


def _pod_is_gone(facts: Facts, seen: Observation) -> bool:
    """Was Vault's Pod replaced since the config was written?"""
    found = facts.written_at(seen)
    until = facts.line_of[seen.id]
    return found is not None and any(found[0] < line < until for line, _ in facts.record.numbered(PodReplaced))
