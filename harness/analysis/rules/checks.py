"""Causes that lie with what Vault checks by itself, before it asks any API server: role, audience, CA."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from typing import Final

import msgspec

from harness.analysis.comparison import OF_AGENTS, identity_of
from harness.analysis.correlation import FROM_ADDRESS, EvidenceLine
from harness.analysis.record_view import Facts
from harness.analysis.rules import remedies
from harness.analysis.rules.rule import Case, Diagnosis, Remedy, Rule, diagnosed
from harness.knowledge import kubernetes_auth, versions
from harness.knowledge.versions import at_least
from harness.record.observation import Observation
from harness.scenario import mount_kinds
from harness.scenario.course import ProjectToken, WriteRole
from harness.scenario.role_spec import RoleSpec

_AUDIENCE_WORDS: Final = ('claim "aud" is invalid', "invalid audience (aud) claim")
_BINDING_WORDS: Final = ("service account name not authorized", "namespace not authorized")
_NO_AUDIENCE: Final = "the role demands none, so nobody knows which audience the API server has"
_OF_NAMESPACES: Final = ("failed to get namespace (code", "namespace lookup failed")
_READING_WORDS: Final = (*_OF_NAMESPACES, "failed to get service account (code")
_CA_WORDS: Final = ("ca.crt: no such file or directory",)


def _role_binding(case: Case) -> Diagnosis | None:
    said = case.quoted(*_BINDING_WORDS)
    if not said:
        return None
    role, app = remedies.role_of(case, case.after.moment), case.facts.app(case.after.app)
    spaces = [f"namespaces {', '.join(role.namespaces)}"] if role.namespaces else []
    if role.namespace_selector:
        spaces.append(f"namespaces with the labels {', '.join(role.namespace_selector)}")
    return diagnosed(
        f"Role {app.role} of auth/{case.after.mount} does not admit {app.service_account}: it is bound to service "
        f"accounts {', '.join(role.service_accounts)} in {' or '.join(spaces)}",
        "certain",
        said,
        _bound(case),
    )


def _bound(case: Case) -> Remedy:
    """Return how the role comes to admit the app as well."""
    app, label = case.facts.app(case.after.app), remedies.first_label(case)

    def admitting(label: str) -> RoleSpec:
        role, (space, name) = remedies.role_of(case, label), app.service_account.split("/")
        names, spaces = (*role.service_accounts, name), (*role.namespaces, space)
        names, spaces = (("*",) if "*" in bound else tuple(dict.fromkeys(bound)) for bound in (names, spaces))
        return msgspec.structs.replace(role, service_accounts=names, namespaces=spaces)

    role = admitting(label)
    command = remedies.role_command(
        case,
        f"bound_service_account_names='{','.join(role.service_accounts)}' "
        f"bound_service_account_namespaces='{','.join(role.namespaces)}'",
    )
    words = "Bind the role to the account and the namespace that the app has."
    return remedies.way(case, words, (command,), lambda label: (_role_step(case, admitting(label)),))[1]


def _no_such_mount(case: Case) -> Diagnosis | None:
    seen, facts = case.after, case.facts
    if facts.written_at(seen) is not None or case.evidence.review is not None:
        return None
    if (seen.status, seen.error.strip()) != kubernetes_auth.answer("no such mount", seen.version):
        return None
    entries = [line for line in case.evidence.audit if ", mount " not in line.text]
    there = [f"auth/{path}" for path in facts.topology.mounts_of(facts.mount(seen.mount).vault)]
    return diagnosed(
        f"Nothing is mounted at auth/{seen.mount}: Vault knows no login there, and answers as to any request without a "
        f"token, {seen.status} {seen.error.strip()}. Up to 1.9 that is 400 and names the missing token; from 1.10.0 on "
        "it is 403, and looks like a login that the role or the API server refused",
        "certain",
        [
            EvidenceLine("answer", f"HTTP {seen.status} {seen.error.strip()}", facts.line_of[seen.id]),
            *entries,
        ],
        Remedy(
            f"Have {seen.app} log in at the path of the mount that is meant ({', '.join(there) or 'none is there'}), "
            f"or enable the auth method at auth/{seen.mount}.",
            commands=("vault auth list",),
            unproven="nobody but the operator knows which mount is meant",
        ),
    )


def _may_not_read(case: Case) -> Diagnosis | None:
    """Explain a refusal of Vault's that could not read a namespace's labels, or an account's annotations."""
    said, seen, facts = case.quoted(*_READING_WORDS), case.after, case.facts
    if not said:
        return None
    # an API server that refuses an account names its namespace, too
    spaces = bool(case.quoted(*_OF_NAMESPACES))
    what, kind = ("the labels of its namespace", "namespaces") if spaces else ("its annotations", "serviceaccounts")
    subject = {
        "explicit": facts.reviewer_subject(seen.mount),
        "client": "" if spaces else seen.subject,
    }.get(facts.bearer(seen), facts.vault_subject(seen.mount, seen.moment))
    asks = "its role selects namespaces by their labels" if spaces else "use_annotations_as_alias_metadata is true"
    who = f"{subject} may not get {kind} in cluster {case.cluster}" if subject else "no reviewer is stored or read"
    return diagnosed(
        f"To log {seen.app} in, Vault had to read {what}, for {asks}; it could not: {who}",
        "certain",
        [*said, _config(case)],
        _reading(case, subject, kind),
    )


def _reading(case: Case, subject: str, kind: str) -> Remedy:
    if subject.count(":") != 3:
        words = "Store a token_reviewer_jwt: the token that logs in is never used to read namespaces."
        return Remedy(words, unproven="whose token it is to be, only the operator knows")
    _, _, space, name = subject.split(":")
    role = f"vault-reads-{kind}"
    commands = (
        f"kubectl create clusterrole {role} --verb=get --resource={kind}",
        f"kubectl create clusterrolebinding {space}-{name}-{role} --clusterrole={role} --serviceaccount={space}:{name}",
    )
    words = f"Let {subject} get {kind} in cluster {case.cluster}."
    return Remedy(words, commands=commands, unproven="a course has no step that gives this right")


def _address(case: Case) -> Diagnosis | None:
    """Explain a refusal before any TokenReview to somebody whose address the role does not admit."""
    seen = case.after
    if not seen.app or case.evidence.review is not None or seen.status != 403:
        return None
    # a token is bound as its role was when it was given
    role = remedies.role_of(case, case.facts.first_moment if seen.probe.startswith("old-") else seen.moment)
    if not role.bound_cidrs:
        return None
    asked = seen
    if seen.probe in OF_AGENTS:
        # what an agent asks carries no correlation id: the app's own login came the same way
        asked = case.facts.first("login", seen.app, seen.moment) or seen
    audit = case.facts.evidence_of(asked).audit
    entries = ((line, re.search(rf"{FROM_ADDRESS}([0-9a-fA-F.:]+)", line.text)) for line in audit)
    entry, address = next(((line, found[1].rstrip(":")) for line, found in entries if found), (None, ""))
    if _within(address, role.bound_cidrs):
        return None
    app = case.facts.app(seen.app)
    what = "logins" if asked.probe == "login" else "use of its tokens"
    return diagnosed(
        f"Role {app.role} of auth/{seen.mount} admits {what} from "
        f"{', '.join(role.bound_cidrs)} alone (token_bound_cidrs), and this one came from {address}: Vault answers "
        f"{seen.status}"
        + (" before it asks the API server anything" if case.facts.mount(seen.mount).of_kind.reviews else ""),
        "certain" if asked is seen else "strong",
        [entry, *case.quoted("permission denied")[:1]],
        _admitting_address(case, address),
    )


def _admitting_address(case: Case, address: str) -> Remedy:
    """Return how the role comes to admit logins from there."""

    def admitting(label: str) -> RoleSpec:
        role = remedies.role_of(case, label)
        return msgspec.structs.replace(role, bound_cidrs=(*(role.bound_cidrs or ()), address))

    bound = ",".join(admitting(remedies.first_label(case)).bound_cidrs or ())
    words = (
        "Add the network from which the app reaches Vault, as Vault sees it, to the role's token_bound_cidrs; in a "
        f"rehearsal that is {address}."
    )
    command = remedies.role_command(case, f"token_bound_cidrs='{bound}'")
    return remedies.way(case, words, (command,), lambda label: (_role_step(case, admitting(label)),))[1]


def _within(address: str, networks: Iterable[str]) -> bool:
    try:
        return any(ipaddress.ip_address(address) in ipaddress.ip_network(one, strict=False) for one in networks)
    except ValueError:
        return True  # what cannot be compared explains nothing


def _role_step(case: Case, spec: RoleSpec) -> WriteRole:
    return WriteRole(mount=case.after.mount, role=case.facts.app(case.after.app).role, spec=spec)


def _audience(case: Case) -> Diagnosis | None:
    said = case.quoted(*_AUDIENCE_WORDS)
    if not said:
        return None
    role, app = remedies.role_of(case, case.after.moment), case.facts.app(case.after.app)
    return diagnosed(
        f"Role {app.role} of auth/{case.after.mount} demands the audience {role.audience or 'of the review'}, and the "
        f"token of {case.after.app} has {_audiences_of(case)}",
        "certain",
        [*said, case.facts.token_line(case.after)],
        *_audience_remedies(case),
    )


def _audience_remedies(case: Case) -> list[Remedy]:
    """Return both ends of it: the token that the role wants, and the role that wants no audience."""
    facts, label = case.facts, remedies.first_label(case)
    wanted = remedies.role_of(case, label).audience
    ways = [remedies.without_audience(case)]
    if not wanted:
        return [Remedy("Let the token have the audience that the review demands.", unproven=_NO_AUDIENCE)]
    words = f"Project a token with the role's audience, {wanted}, into the Pod of {case.after.app}."
    project = ProjectToken(app=case.after.app, audience=wanted)
    if facts.bearer(case.after) != "client":
        return [remedies.way(case, words, (remedies.projected(wanted),), lambda _label: (project,))[1], *ways]
    words += (
        " Such a token is no bearer at the API server, and here the token that logs in reviews itself, so the mount "
        "then needs a reviewer of its own."
    )
    return [remedies.with_reviewer(case, words, (remedies.projected(wanted),), (project,)), *ways]


def _audiences_of(case: Case) -> str:
    """Return the audiences of the app's token in words: what it says itself, where the record has that."""
    app, token = case.facts.app(case.after.app), case.facts.token_of(case.after)
    if not app.audiences:
        has = "no audience at all" if app.token == "secret" else "the API server as its only audience"
        return f"{has} ({', '.join(token.audiences)})" if token and token.audiences else has
    return ", ".join(token.audiences if token else app.audiences)


def _identity_changed(case: Case) -> Diagnosis | None:
    if case.before is None or case.effect != "identity changed":
        return None
    old, new = identity_of(case.before), identity_of(case.after)
    differ = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    line = case.facts.line_of
    return diagnosed(
        f"The login of {case.after.app} is granted as before, and its token stands for somebody else: "
        f"another {', another '.join(differ)}. Policies, templated paths and client counts that go by them see another "
        f"client{_with_whom(case)}{_by_a_write(case)}",
        "certain",
        [
            EvidenceLine("answer", f"{seen.moment}: " + ", ".join(f"{n}={whom.get(n)}" for n in differ), line[seen.id])
            for seen, whom in ((case.before, old), (case.after, new))
        ],
        Remedy(
            "Compare the entity's aliases on both versions, and merge entities before anything relies on the new one.",
            unproven="nobody is refused by it",
        ),
    )


def _with_whom(case: Case) -> str:
    """Return which apps were one client with this one and are no more, or have become so: a sentence."""
    assert case.before is not None
    then, now = (_same_entity(case.facts, seen) for seen in (case.before, case.after))
    said = ""
    if apart := sorted(then - now):
        said += f". Up to then it and {', '.join(apart)} were one entity, and are not any more"
    if merged := sorted(now - then):
        said += f". It and {', '.join(merged)} are one entity now, and were not before"
    return said


def _same_entity(facts: Facts, seen: Observation) -> set[str]:
    """Return the other apps that log in as the same entity at the same moment."""
    own, others = seen.detail.get("entity_id"), (name for name in facts.topology.apps if name != seen.app)
    logins = ((name, facts.first("login", name, seen.moment)) for name in others)
    return {name for name, login in logins if own and login is not None and login.detail.get("entity_id") == own}


def _by_a_write(case: Case) -> str:
    """Return that the course has written the role in between, where it has: a sentence."""
    role = case.facts.app(case.after.app).role
    steps = case.facts.steps_before(case.after.moment)
    if not any(isinstance(step, WriteRole) and (step.mount, step.role) == (case.after.mount, role) for step in steps):
        return ""
    return f". In between role {role} of auth/{case.after.mount} was written"


def _local_ca_missing(case: Case) -> Diagnosis | None:
    if case.kind == "improvement":
        return _shown_again(case)
    said = case.quoted(*_CA_WORDS)
    if not said:
        return None
    return diagnosed(
        f"The config of auth/{case.after.mount} has no CA, and from {kubernetes_auth.READS_POD_TOKEN} on Vault then "
        "reads "
        f"the one of its pod at login, which is not there: every login answers {_broken_without_ca(case)}",
        "certain",
        [*said, _config(case)],
        remedies.trusted(case)[1],
    )


def _broken_without_ca(case: Case) -> str:
    """Return with what logins are answered, and whatever else that Vault refuses with such a config."""
    if case.after.probe != "auth-config":
        return str(case.after.status)
    status, _ = kubernetes_auth.answer("missing ca", case.after.version)
    return (
        f"{status}, and {versions.called(case.after.version)} does not even show the config at the first read after "
        f"its start ({case.after.status})"
    )


def _shown_again(case: Case) -> Diagnosis | None:
    """Say why a config is shown that was not: where only the first request after a start was refused."""
    before, seen = case.before, case.after
    if before is None or seen.probe != "auth-config" or not any(words in before.error for words in _CA_WORDS):
        return None
    held = case.facts.written_at(seen)
    if held is None or "kubernetes_ca_cert" in held[1].fields:
        return None
    since, until = kubernetes_auth.FIRST_ASKED_WITHOUT_CA
    why = (
        "that does not show such a config at the first read after its start, and does from then on"
        if at_least(until, seen.version)
        else f"and {seen.version} answers"
    )
    return diagnosed(
        f"The config of auth/{seen.mount} has no CA, as before. It was {versions.called(before.version)}, of {since} "
        f"to {until}, {why}. Logins are refused still",
        "certain",
        [
            EvidenceLine("answer", f"{before.moment}: HTTP {before.status}", case.facts.line_of[before.id]),
            _config(case),
        ],
        remedies.trusted(case)[1],
    )


def _config(case: Case) -> EvidenceLine | None:
    return case.facts.config_line(case.after)


ROLE_BINDING: Final = Rule(
    name="role-binding-mismatch",
    versions="every version; answered 500 up to 1.10.3, 403 since",
    precondition="none",
    demands="Vault's words in the answer, its audit entry or its log",
    explanation="the role is bound to other service accounts or namespaces; no TokenReview is sent",
    source="vault-plugin-auth-kubernetes path_login.go; PR #144",
    examine=_role_binding,
)
NO_SUCH_MOUNT: Final = Rule(
    name="no-such-mount",
    versions="every version; answered 400 up to 1.9, 403 since 1.10",
    precondition="no config was ever written at the mount's path, or a snapshot that is in place does not have it",
    demands="the answer that Vault gives to a request without a token",
    explanation="a login at a path where no auth method is mounted is a request without a token like any other",
    source="hashicorp/vault vault/request_handling.go, PR #13162; run: 1.9.3 / 1.10.0",
    examine=_no_such_mount,
)
MAY_NOT_READ: Final = Rule(
    name="reviewer-may-not-read",
    versions="from 1.16.0",
    precondition="a role with a namespace selector, or a config with use_annotations_as_alias_metadata",
    demands="Vault's words in the answer, its audit entry or its log",
    explanation="both are read from the API server with the reviewer's token, which needs the right to get them",
    source="vault-plugin-auth-kubernetes v0.18.0 namespace_validator.go, service_account_getter.go; run: 1.16.3",
    examine=_may_not_read,
)
ADDRESS: Final = Rule(
    name="address-not-bound",
    versions="every version",
    precondition="the role has token_bound_cidrs",
    demands="Vault's audit entry with the address from which it was asked, and no TokenReview",
    explanation="a role with token_bound_cidrs admits logins from those networks alone",
    source="path_login.go of vault-plugin-auth-kubernetes, -jwt and Vault's approle and userpass; run: 1.3.0 to 1.16.3",
    examine=_address,
    kinds=mount_kinds.NAMES,
)
AUDIENCE: Final = Rule(
    name="audience-mismatch",
    versions="every version; answered 500 up to 1.12, 403 since 1.13",
    precondition="none",
    demands="Vault's words in the answer, its audit entry or its log",
    explanation="the role demands an audience that the token does not have",
    source="vault-plugin-auth-kubernetes path_login.go; PR #179",
    examine=_audience,
)
IDENTITY_CHANGED: Final = Rule(
    name="login-identity-changed",
    versions="known at 1.9.4, where the alias of projected tokens changed from / to namespace/name",
    precondition="the login is granted before and after",
    demands="two answers to the login that name different entities, policies or accounts",
    explanation="the alias of a service account decides for whom its logins stand, and how it is made has changed",
    source="vault-plugin-auth-kubernetes v0.11.6 path_login.go getAliasName, PR #137",
    examine=_identity_changed,
    kinds=mount_kinds.NAMES,
    grants=True,
)
LOCAL_CA_MISSING: Final = Rule(
    name="local-ca-missing",
    versions=f"appears at {kubernetes_auth.READS_POD_TOKEN}",
    precondition="no CA in the config",
    demands="Vault's words in the answer, its audit entry or its log",
    explanation="an unset CA is read from the pod at login, and outside a pod there is none",
    source="vault-plugin-auth-kubernetes v0.11.4 backend.go",
    examine=_local_ca_missing,
    grants=True,
)
