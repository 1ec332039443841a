"""Who asks with a token: the login that gave it, and what the alias of that entity has for templates of policies."""

from __future__ import annotations

from harness.analysis.rules import claims, remedies
from harness.analysis.rules.rule import Case
from harness.knowledge import kubernetes_auth, policy_templates
from harness.record.observation import Observation
from harness.scenario.mount_kinds import CERT, JWT, KUBERNETES, USERPASS


def alias_of(case: Case, seen: Observation) -> policy_templates.Alias:
    """Return what is known of the alias of who asked *seen*, as templates of policies name it."""
    app, login = case.facts.app(seen.app), _renewed_alias(case, seen)
    version, role = login.version, remedies.role_of(case, login.moment)
    if case.mount_kind == USERPASS:
        return policy_templates.of_user(app.role)
    if case.mount_kind == "approle":
        return policy_templates.of_app_role(app.role)
    if case.mount_kind == CERT:
        return policy_templates.of_name(app.role)
    if case.mount_kind == JWT:
        user, mappings = role.user_claim or "sub", role.claim_mappings or {}
        return policy_templates.of_claims(claims.of_token(case), user, mappings, app.role, version)
    if case.mount_kind != KUBERNETES:
        return {}
    config = case.facts.written_at(login)
    noted = config is not None and config[1].fields.get("use_annotations_as_alias_metadata") is True
    account, source = app.service_account, role.alias_name_source or ""
    projected = app.token != "secret"
    name = kubernetes_auth.alias_name(account, source, version, projected=projected)
    return policy_templates.of_account(account, name, app.annotations if noted else {}, projected=projected)


def _renewed_alias(case: Case, seen: Observation) -> Observation:
    """Return the last login until *seen* of the entity that the token has: each renews the entity's alias."""
    own = login_of(case, seen)
    if own is None:
        return seen
    entity = own.detail.get("entity_id")
    logins = [
        one
        for one in case.facts.of_app[seen.app]
        if one.probe == "login" and one.answer == "granted" and own.id <= one.id <= seen.id
    ]
    return next((one for one in reversed(logins) if entity and one.detail.get("entity_id") == entity), own)


def login_of(case: Case, seen: Observation) -> Observation | None:
    """Return the login that gave the token with which *seen* was asked."""
    facts = case.facts
    moment = facts.first_moment if seen.probe.startswith("old-") else seen.moment
    return facts.first("login", seen.app, moment)
