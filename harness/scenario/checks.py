"""What a scenario says that cannot be: names that lead nowhere, and what no Vault and no Kubernetes could ever do.

Each check reads the plain data of a document and yields what it has to complain of. Where one part is wrong, nothing is
concluded from it, and the others are still checked.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from harness.knowledge import kubernetes_auth, policy_templates, vault_policies, versions
from harness.scenario import (
    agent_checks,
    audit_checks,
    auth_config,
    clock_checks,
    cluster_checks,
    course_checks,
    engine_checks,
    field_checks,
    host_checks,
    kind_checks,
    matrix,
    mount_checks,
    places,
    probe_checks,
    product_checks,
    provider_checks,
    references,
    schema,
    seal_checks,
    storage_checks,
    topology,
    values,
    vault_checks,
)
from harness.scenario.yaml_document import Document, Trail, choices, shown, where

_Complaint = tuple[Trail, str, str]
"""Where, what is wrong, what would be right."""


def check(document: Document) -> None:
    """Complain to *document* of everything it says that cannot be.

    What is spoiled already, and what is left out, is nothing to complain of here.
    """
    for find in _CHECKS:
        for trail, message, remedy in find(document):
            document.complain(trail, message, remedy)


def _has_cluster(document: Document, part: Trail) -> bool:
    """Does a part name a cluster, and is it none that can have none?"""
    kind = kind_checks.kind_of(document, part) if part[0] == "auth" else None
    return document.given(*part, "cluster") and (kind is None or kind.of_account)


def _names_of_clusters(document: Document) -> Iterator[_Complaint]:
    clusters = document.get("clusters")
    parts: list[Trail] = [("vault",), *document.entries("auth"), *document.entries("apps")]
    if document.left_out("clusters"):
        named = next((part for part in parts if _has_cluster(document, part)), None)
        if named is not None:
            message = f"missing key `clusters` in the document: {where((*named, 'cluster'))} names one"
            yield ("clusters",), message, "clusters: Kubernetes clusters by name."
        return
    for part in parts:
        yield from references.known(document, (*part, "cluster"), clusters, "cluster")


def _steps(document: Document) -> list[tuple[Trail, str]]:
    """Return the versions of Vault's path in order, as far as they are sound."""
    via = [("vault", "via", index) for index in range(len(document.get("vault", "via", default=()) or ()))]
    trails: list[Trail] = [("vault", "source"), *via, ("vault", "target")]
    said = [(trail, version) for trail in trails if (version := document.get(*trail)) is not None]
    return [*said, *course_checks.upgrades(document)]


def _order_of_versions(document: Document) -> Iterator[_Complaint]:
    remedy = "from source through via to target, each version newer than the one before"
    # a course may come back to a version, and is checked step by step
    steps = _steps(document) if document.left_out("course") else []
    for (earlier, old), (trail, new) in pairwise(steps):
        if versions.parse(new) < versions.parse(old):
            yield trail, f"{versions.called(new)} is older than {old}, from which it is reached", remedy
        elif versions.parse(new) == versions.parse(old) and earlier != ("vault", "source"):
            yield trail, f"{versions.called(new)} is reached twice", remedy
    source = document.get("vault", "source")
    for trail, by in field_checks.writers(document):
        if source is not None and versions.parse(by) > versions.parse(source):
            message = f"the config was written by {versions.called(by)}, and the source is {source}, which is older"
            yield trail, message, f"{source} or older: what is in use today has written it, or a release before"


def _vault_releases(document: Document) -> Iterator[_Complaint]:
    storage = document.get("vault", "storage", default="raft")
    for trail, version in (*_steps(document), *field_checks.writers(document)):
        if why := versions.never_released(version):
            yield trail, f"{versions.called(version)} was never released", why
        if storage == "raft" and not versions.at_least(version, versions.RAFT_SINCE):
            message = f"{versions.called(version)} has no raft storage"
            yield trail, message, f"{versions.RAFT_SINCE} or newer, or storage: file in vault"


def _unseal_keys(document: Document) -> Iterator[_Complaint]:
    fields = schema.Vault.model_fields
    shares = document.get("vault", "shares", default=fields["shares"].default)
    threshold = document.get("vault", "threshold", default=fields["threshold"].default)
    if shares is None or threshold is None:
        return
    trail = ("vault", "shares" if document.left_out("vault", "threshold") else "threshold")
    if threshold > shares:
        yield trail, f"{threshold} unseal keys are needed, and there are {shares}", "a threshold of at most the shares"
    elif threshold == 1 < shares:
        remedy = "a threshold of 2 or more, or shares: 1"
        yield trail, "Vault refuses a threshold of 1 where there are more shares", remedy


def _vault_outside(document: Document) -> Iterator[_Complaint]:
    """Complain of what only a Vault in a cluster can have."""
    if not document.left_out("vault", "cluster"):
        return
    remedy = "cluster in vault as well, or leave this out"
    if document.given("vault", "service-account"):
        yield ("vault", "service-account"), "a Vault outside any cluster has no service account", remedy
    if document.get("vault", "token-file"):
        yield ("vault", "token-file"), "a Vault outside any cluster has no token file", remedy
    for mount in document.entries("auth"):
        if document.get(*mount, "configured", "with-token-file"):
            trail = (*mount, "configured", "with-token-file")
            yield trail, "a Vault outside any cluster had no token file", remedy
        if document.get(*mount, "reviewer") == "local":
            message = "a Vault outside any cluster has no token of its own to review with"
            yield (*mount, "reviewer"), message, "reviewer: secret or client-jwt, or cluster in vault"


def _reviewers(document: Document) -> Iterator[_Complaint]:
    for mount in kind_checks.mounts_that_review(document):
        trail = (*mount, "reviewer")
        kinds = course_checks.kinds_of(document, str(mount[-1]))
        if document.sound(*trail) and not kinds & {*auth_config.OF_ACCOUNT}:
            for key in ("reviewer-service-account", "reviewer-may-review-tokens"):
                if document.given(*mount, key):
                    message = f"{key} is of use to a stored reviewer with an account of its own only"
                    yield (*mount, key), message, "reviewer: secret or requested as well"
        yield from course_checks.contradictions(document, mount)
        yield from _choice_of_reviewer(document, mount)


def _choice_of_reviewer(document: Document, mount: Trail) -> Iterator[_Complaint]:
    """Complain of a reviewer that the Vault which writes the config had no way to choose."""
    trail = (*mount, "reviewer")
    reviewer, by = document.get(*trail), _writer(document, mount)
    if by is None:
        return
    if reviewer == "client-jwt" and not versions.at_least(by, kubernetes_auth.KNOWS_DISABLE_LOCAL):
        yield trail, f"nobody could choose client-jwt with {versions.called(by)}", _instead_of_client_jwt(by)
    told = document.given(*mount, "configured", "with-token-file")
    file: Trail = (*mount, "configured", "with-token-file") if told else ("vault", "token-file")
    if reviewer == "pod-token" and (why := course_checks.no_token_to_copy(document, file)):
        yield trail, why, "reviewer: secret or requested, or a Vault whose Pod has a token file"
    if reviewer == "local" and not versions.at_least(by, kubernetes_auth.COPIES_POD_TOKEN):
        since = kubernetes_auth.COPIES_POD_TOKEN
        remedy = f"leave reviewer out: before {since} no choice means the token that logs in"
        later = field_checks.later(since, document.get("vault", "source"))
        yield trail, f"nobody could choose local with {versions.called(by)}", f"{remedy}; or {later}"


def _instead_of_client_jwt(by: str) -> str:
    if versions.at_least(by, kubernetes_auth.COPIES_POD_TOKEN):
        since = kubernetes_auth.KNOWS_DISABLE_LOCAL
        return f"disable_local_ca_jwt, which chooses it, is known since {since}: configured by {since} or newer"
    return f"leave reviewer out: before {kubernetes_auth.COPIES_POD_TOKEN} no choice is the same as client-jwt"


def _writer(document: Document, mount: Trail) -> str | None:
    """Return the version that writes the config of *mount*, if it is said soundly."""
    unsaid = document.left_out(*mount, "configured")
    trail = ("vault", "source") if unsaid else (*mount, "configured", "by")
    found: str | None = document.get(*trail)
    return found


def _written_fields(document: Document) -> Iterator[_Complaint]:
    """Complain of config and role fields that the Vault which writes them does not know yet, or would refuse."""
    for mount in document.entries("auth"):
        by = _writer(document, mount)
        if by is None:
            continue
        in_use = document.get("vault", "source")
        writer = field_checks.Writer(by, _token_file(document, mount), at_start=True, in_use=in_use or "")
        if mount in kind_checks.mounts_that_review(document):
            yield from field_checks.of_config(document, mount, writer)
        for role in document.get(*mount, "roles", default={}) or {}:
            yield from field_checks.of_role(document, (*mount, "roles", role), writer)


def _token_file(document: Document, mount: Trail) -> bool | None:
    """Return whether a pod's token was there when the config of *mount* was written; None where nobody knows."""
    told: Trail = (*mount, "configured", "with-token-file")
    if not document.left_out(*told):
        return document.get(*told) if document.sound(*told) else None
    return course_checks.token_file(document)


def _policies(document: Document) -> Iterator[_Complaint]:
    named = [str(name) for name in document.get("policies", default={}) or {}]
    for name in (name for name in named if name.lower() == "root"):
        yield ("policies", name), "the root policy is Vault's own and cannot be written", "another name"
    written = [name for name in named if name.lower() != "root"]
    roles = [[name for _, name in kind_checks.texts(document, *trail, "policies")] for trail in _roles(document)]
    # a role that is written later may name what the roles of the beginning name: that is made up for them
    known = written or [name for names in roles for name in names]
    later: list[Trail] = [("course", n, "write") for n in range(len(document.get("course", default=()) or ()))]
    for trail in (*_roles(document), *later):
        for index, policy in kind_checks.texts(document, *trail, "policies"):
            # Vault folds the case of both
            if policy.lower() == "root":
                message = "Vault gives the root policy to no role, and a rehearsal with it would show nothing"
                yield (*trail, "policies", index), message, "a policy of its own"
            elif (written or trail in later) and policy.lower() not in {
                name.lower() for name in (*known, vault_policies.VAULTS_OWN)
            }:
                message = f"nobody wrote the policy {shown(policy)}, and a role that names it would grant nothing by it"
                remedy = choices(policy, [*known, vault_policies.VAULTS_OWN]) + "; or write it below policies"
                yield (*trail, "policies", index), message, remedy


def _roles(document: Document) -> list[Trail]:
    mounts = document.entries("auth")
    return [(*mount, "roles", role) for mount in mounts for role in document.get(*mount, "roles", default={}) or {}]


def _folded_names(document: Document) -> Iterator[_Complaint]:
    """Complain of names that are one and the same to Vault, which takes no notice of their case."""
    for section in (("policies",), *((*mount, "roles") for mount in document.entries("auth"))):
        first: dict[str, str] = {}
        for name in document.get(*section, default={}) or {}:
            other = first.setdefault(str(name).lower(), name)
            if other != name:
                message = f"Vault does not tell {shown(name)} from {shown(other)}: it folds the case of these names"
                yield (*section, name), message, "another name"


def _policy_texts(document: Document) -> Iterator[_Complaint]:
    """Complain of policies that Vault would refuse, before anything is started for them."""
    written = document.get("policies", default={}) or {}
    usual = 'such as: path "secret/data/web" { capabilities = ["read"] }'
    for name, text in written.items():
        if not isinstance(text, str):
            continue
        # as Terraform has one
        called = {"name", "policy"} <= set(written) and name == "name"
        remedy = f"the name as the key, and the text as its value: {shown(text)}: ..." if called else usual
        try:
            vault_policies.read(name, text)
        except vault_policies.PolicyError as error:
            yield ("policies", name), f"Vault takes no such policy: {error}", remedy
            continue
        for path in policy_templates.mounts_of(text):
            if (mounts := document.get("auth")) is not None and path not in mounts:
                message = f"a template of this policy names auth/{shown(path)}, which is no auth mount"
                yield ("policies", name), message, choices(path, mounts)


def _whom(document: Document) -> Iterator[_Complaint]:
    """Complain of roles that admit no namespace."""
    reviewed = kind_checks.mounts_that_review(document)
    for role in _roles(document):
        listed = (*role, "namespaces")
        if role[:2] not in reviewed:
            continue
        if not document.sound(*listed) or document.given(*role, "namespace-selector") or document.get(*listed):
            continue
        if document.given(*listed):
            yield listed, f"{where(listed)} is empty", "at least one: a name such as web, or *"
        else:
            remedy = "namespaces: names, patterns, or *; or namespace-selector"
            yield listed, f"missing key `namespaces` in {where(role)}", remedy


def _not_mounted(document: Document) -> Iterator[_Complaint]:
    """Complain of mounts without any role, and of what is said of those that are not there."""
    for mount in document.entries("auth"):
        if document.get(*mount, "mounted", default=True) is not False:
            if document.left_out(*mount, "roles") and document.sound(*mount):
                yield (*mount, "roles"), f"missing key `roles` in {where(mount)}", "roles: Roles by name."
            elif document.get(*mount, "roles") == {}:
                yield (
                    (*mount, "roles"),
                    f"{where((*mount, 'roles'))} is empty",
                    "at least one: a name, and below it ...",
                )
            continue
        for key in document.get(*mount) or {}:
            if key not in ("type", "cluster", "mounted", "vault"):
                message = f"nothing is mounted at auth/{shown(str(mount[-1]))}, so it has no {key}"
                yield (*mount, key), message, "leave it out, or mounted: true"


def _lives_of_tokens(document: Document) -> Iterator[_Complaint]:
    for trail in _roles(document):
        ttl = document.get(*trail, "ttl")
        longest = document.get(*trail, "max-ttl")
        if ttl and longest and values.seconds(ttl) > values.seconds(longest):
            message = f"Vault refuses a max-ttl that is less than the ttl, which is {ttl}"
            yield (*trail, "max-ttl"), message, f"{ttl} or more, or a smaller ttl"


def _tokens_of_apps(document: Document) -> Iterator[_Complaint]:
    """Complain of what is asked for a token that nobody requests: what a Secret holds has no audience and no end."""
    for app in document.entries("apps"):
        if document.get(*app, "token") == "secret":
            for key in ("audience", "token-expires"):
                if document.given(*app, key):
                    message = f"`{key}` is asked for a projected token, and this one is out of a Secret"
                    yield (*app, key), message, "leave it out, or token: projected"


def _logins(document: Document) -> Iterator[_Complaint]:
    """Complain of apps that could not even try to log in."""
    for app in document.entries("apps"):
        name = yield from references.the_one(document, app, "mount", document.get("auth"))
        if name is not None:
            yield from _login(document, app, ("auth", name))


def _login(document: Document, app: Trail, mount: Trail) -> Iterator[_Complaint]:
    role, roles = document.get(*app, "role"), document.get(*mount, "roles")
    there = document.get(*mount, "mounted", default=True)
    if there and role is not None and roles is not None and role not in roles:
        yield (*app, "role"), f"{where(mount)} has no role {shown(role)}", choices(role, roles)
    here, there = document.get(*app, "cluster"), document.get(*mount, "cluster")
    known = document.get("clusters", default={}) or {}
    if here in known and there in known and here != there:
        message = f"no login can succeed: {where(mount)} asks cluster {there}, which never issued a token of {here}"
        yield (*app, "cluster"), message, f"cluster: {there}, or a mount that asks {here}"


@dataclass(frozen=True, slots=True)
class _Party:
    """Who has a service account in the `cluster` below *trail*, and what is so where the author leaves it out."""

    called: str
    trail: Trail
    usual_account: str | None
    usually_may_review: bool
    prefix: str = ""
    """of the keys that speak of the account"""
    cluster: str = "cluster"
    """the key that names its cluster"""

    @property
    def account(self) -> Trail:
        return (*self.trail, f"{self.prefix}service-account")

    @property
    def may_review(self) -> Trail:
        return (*self.trail, f"{self.prefix}may-review-tokens")


def _parties(document: Document) -> Iterator[_Party]:
    """Yield Vault, the stored reviewers with an account and the apps, whoever of them may have an account."""
    may = schema.Vault.model_fields["may_review_tokens"].default
    yield _Party("vault", ("vault",), places.DEFAULT_ACCOUNT, may)
    for move in course_checks.moves(document):
        yield _Party(f"vault, once it has moved at {where(move)},", move, places.DEFAULT_ACCOUNT, may, "", "to")
    may = schema.Mount.model_fields["reviewer_may_review_tokens"].default
    for mount in document.entries("auth"):
        if course_checks.kinds_of(document, str(mount[-1])) & {*auth_config.OF_ACCOUNT}:
            called = f"the stored reviewer of {where(mount)}"
            yield _Party(called, mount, topology.DEFAULT_REVIEWER_ACCOUNT, may, "reviewer-")
    may = schema.App.model_fields["may_review_tokens"].default
    for app in document.entries("apps"):
        yield _Party(where(app), app, None, may)


def _shared_accounts(document: Document) -> Iterator[_Complaint]:
    """Complain of parties who are one and the same to Kubernetes, and only one of whom may review tokens."""
    first: dict[tuple[str, str], tuple[str, bool]] = {}
    for party in _parties(document):
        cluster = document.get(*party.trail, party.cluster)
        account = document.get(*party.account, default=party.usual_account)
        may = document.get(*party.may_review, default=party.usually_may_review)
        if cluster is None or account is None or may is None:
            continue
        other, allowed = first.setdefault((cluster, account), (party.called, may))
        if may != allowed:
            said = [trail for trail in (party.may_review, party.account) if document.given(*trail)]
            word = "may" if allowed else "may not"
            message = f"{other} has the same service account in {cluster}, and {word} review tokens"
            remedy = "the same may-review-tokens for both, or two service accounts"
            yield said[0] if said else (*party.trail, "reviewer"), message, remedy


def _expectations(document: Document) -> Iterator[_Complaint]:
    apps = document.get("apps")
    in_course = not document.left_out("course")
    hops = [version for trail, version in _steps(document) if in_course or trail != ("vault", "source")]
    whole = in_course or (
        len(hops) == 1 + len(document.get("vault", "via", default=()) or ()) and document.sound("vault", "via")
    )
    length = len(document.get("course", default=()) or ())
    for index in range(len(document.get("expect", default=()) or ())):
        at = document.get("expect", index, "at")
        yield from references.known(document, ("expect", index, "app"), apps, "app")
        if at is not None and whole and at not in hops:
            message = f"{versions.called(at)} is not among the versions to which the upgrade goes"
            yield ("expect", index, "at"), message, choices("", hops) + "; or leave it out"
        step = document.get("expect", index, "at-step")
        if step is not None and step > length:
            message = f"there is no step {step}: the course has {length}" if length else "there is no course"
            yield ("expect", index, "at-step"), message, "the number of a step of the course, or leave it out"


def _matrix(document: Document) -> Iterator[_Complaint]:
    if document.spoiled or document.left_out("matrix"):
        return
    try:
        matrix.cells(document.data, matrix.read(document.data, here=lambda _product, _version: True))
    except matrix.MatrixError as error:
        yield error.trail, error.message, error.remedy


_CHECKS: Final = (
    _names_of_clusters,
    _order_of_versions,
    _vault_releases,
    _unseal_keys,
    _vault_outside,
    _reviewers,
    _written_fields,
    _policies,
    _folded_names,
    _policy_texts,
    _whom,
    _not_mounted,
    mount_checks.complaints,
    engine_checks.complaints,
    engine_checks.of_steps,
    _lives_of_tokens,
    _tokens_of_apps,
    _logins,
    _shared_accounts,
    _expectations,
    kind_checks.complaints,
    course_checks.complaints,
    vault_checks.complaints,
    seal_checks.complaints,
    storage_checks.complaints,
    audit_checks.complaints,
    agent_checks.complaints,
    clock_checks.complaints,
    cluster_checks.complaints,
    host_checks.complaints,
    product_checks.complaints,
    probe_checks.complaints,
    provider_checks.complaints,
    _matrix,
)
