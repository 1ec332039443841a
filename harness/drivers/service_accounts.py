"""Who must exist in which cluster for a scenario: namespaces, service accounts, bindings, Pods and their tokens."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import msgspec

from harness.host import pki
from harness.knowledge import kubernetes_auth
from harness.record import events
from harness.rig.rig import IssuedToken
from harness.scenario.app_spec import AppSpec, subject_of
from harness.scenario.places import Place
from harness.scenario.plan import STRANGERS
from harness.scenario.topology import MAIN, Topology
from harness.secret import Secret, fingerprint

STRANGER: Final = STRANGERS["wrong-service-account"]
ELSEWHERE: Final = STRANGERS["wrong-namespace"]
SECRET_TOKEN: Final = "abuse-secret-token"
"""The purpose of a token of an app's account that comes out of a Secret: of another issuer, and without an end."""
_NAME_CHARACTERS: Final = 200  # of 253


class Account(msgspec.Struct, frozen=True):
    """A service account with a Pod that holds its token."""

    cluster: str
    namespace: str
    name: str
    purpose: str
    """vault, vault:<node>, app:<name>, reviewer:<mount>, or <negative probe>:<app>"""
    may_review_tokens: bool = False
    audiences: tuple[str, ...] = ()
    """for whom its token is requested; none: for the API server alone"""
    token_seconds: int = 3600
    long_lived: bool = False
    """its token lives in a Secret and never expires"""
    podless: bool = False
    """its token is requested, and bound to no Pod"""
    pod_gone: bool = False
    """the Pod that its token is bound to is deleted at once"""
    on_demand: bool = False
    """it holds no token: one is requested whenever a config is written with it"""
    may_read: tuple[str, ...] = ()
    """what it may read besides: namespaces, service-accounts"""
    annotations: tuple[tuple[str, str], ...] = ()
    made: int = 0
    """so many Secrets were made for it before: each has a name of its own"""

    @property
    def identity(self) -> tuple[str, str, str]:
        """Return cluster, namespace and name: what makes two of these one service account."""
        return (self.cluster, self.namespace, self.name)

    @property
    def subject(self) -> str:
        """Return the Kubernetes user that its token stands for."""
        return subject_of(f"{self.namespace}/{self.name}")

    @property
    def pod(self) -> str:
        """Return the name of its Pod."""
        if self.purpose == "vault":
            return f"{MAIN}-0"
        return self.purpose.removeprefix("vault:").replace(":", "-").replace("/", "-")

    @property
    def secret(self) -> str:
        """Return the name of the Secret with its long-lived token: mounts may share a reviewer, and each has its own.

        The path of a mount is no name for an object of Kubernetes.
        """
        which = f"{self.purpose} {self.made}" if self.made else self.purpose
        return f"{self.name[:_NAME_CHARACTERS]}-{hashlib.sha256(which.encode()).hexdigest()[:8]}"


def is_of(account: Account, app: str) -> bool:
    """Is it the account of *app*, or of one of its impostors?"""
    kind, _, whose = account.purpose.partition(":")
    return whose == app and kind != "reviewer"


def comes_with_new_issuers(account: Account) -> bool:
    """Does a new token come with it where new Pods come, as after a change of the cluster's issuers?

    Not with what is in a Secret or of a Pod that is gone, nor with what runs on: Vault's own Pod.
    """
    stays = account.long_lived or account.pod_gone or account.on_demand
    return not stays and account.purpose.partition(":")[0] not in ("vault", "reviewer")


def wanted(topology: Topology) -> list[Account]:
    """Return every account of *topology*: Vault's, the apps', the reviewers', and the strangers' of negative probes."""
    found: list[Account] = []
    for called, vault in topology.vaults.items():
        if vault.cluster:
            space, name = vault.service_account.split("/")
            pods, may = topology.pod_purposes(called), vault.may_review_tokens
            reads = vault.may_read
            found += [Account(vault.cluster, space, name, purpose, may, may_read=reads) for purpose in pods]
        found += _of_later_places(topology, called)
    for path, mount in topology.mounts.items():
        if mount.reviewer_account:
            space, name = mount.reviewer_account.split("/")
            may = mount.reviewer_may_review_tokens
            secret = "long-lived" in mount.stored_kinds
            who = Account(mount.cluster, space, name, f"reviewer:{path}", may, long_lived=secret, on_demand=not secret)
            found.append(msgspec.structs.replace(who, may_read=mount.reviewer_may_read))
    strangers: list[Account] = []
    for name, app in topology.apps.items():
        if not app.service_account:
            continue
        found.append(_of_app(topology, app, app.service_account, f"app:{name}"))
        strangers += _strangers(topology, name, app)
    return _with_one_right_each(found, strangers)


def _of_later_places(topology: Topology, vault: str) -> Iterator[Account]:
    """Yield the accounts of Vault's Pods where it moves: there from the beginning, and with a token once it comes."""
    for place in dict.fromkeys(place for place in topology.vaults[vault].later if place.cluster):
        space, name = place.service_account.split("/")
        may, reads = place.may_review_tokens, place.may_read
        for purpose in topology.pod_purposes(vault):
            there = _purpose_at(place, purpose)
            yield Account(place.cluster, space, name, there, may, may_read=reads, on_demand=True)


def _purpose_at(place: Place, purpose: str) -> str:
    return f"{purpose}@{place.cluster}/{place.service_account}"


def moved(accounts: Iterable[Account], purpose: str, place: Place) -> Account | None:
    """Return the account of *purpose*, that of a Pod of Vault's, once it has moved to a *place*; None: it has none."""
    found = next((one for one in accounts if one.purpose == _purpose_at(place, purpose)), None)
    return None if found is None else msgspec.structs.replace(found, purpose=purpose, on_demand=False)


def _strangers(topology: Topology, name: str, app: AppSpec) -> Iterable[Account]:
    space, account = app.service_account.split("/")
    # Strangers have the app's kind of token, and may review tokens where it may: a refusal must come from who they are,
    # not from what they lack.
    yield _of_app(topology, app, f"{space}/{STRANGER}", f"wrong-service-account:{name}")
    yield _of_app(topology, app, f"{ELSEWHERE}/{account}", f"wrong-namespace:{name}")
    other = next((cluster for cluster in topology.clusters if cluster != app.cluster), None)
    if other is not None:
        there = _of_app(topology, app, app.service_account, f"other-cluster-token:{name}")
        yield msgspec.structs.replace(there, cluster=other)


def as_requested(topology: Topology, cluster: str, audiences: Sequence[str]) -> tuple[str, ...]:
    """Return audiences as a TokenRequest in a *cluster* names them, where a scenario says `cluster` for its own."""
    own, *_ = topology.clusters[cluster].issuers
    return tuple(own if one == "cluster" else one for one in audiences)


def _of_app(topology: Topology, app: AppSpec, account: str, purpose: str) -> Account:
    """Return *account* (namespace/name) with a token as the app has it, for *purpose*."""
    space, name = account.split("/")
    return Account(
        cluster=app.cluster,
        namespace=space,
        name=name,
        purpose=purpose,
        may_review_tokens=app.may_review_tokens,
        audiences=as_requested(topology, app.cluster, app.audiences),
        token_seconds=app.token_seconds,
        long_lived=app.token == "secret",
        podless=app.token == "requested",
        pod_gone=app.token == "pod-gone",
        may_read=app.may_read,
        annotations=tuple(app.annotations.items()) if account == app.service_account else (),
    )


def _with_one_right_each(found: list[Account], strangers: list[Account]) -> list[Account]:
    """Return all accounts, those of one service account with one answer to who may review tokens.

    The scenario's own accounts say what is so. A stranger that happens to be one of them takes nothing from it and
    gives it nothing, or the rehearsal would be of another system.
    """
    lent: dict[tuple[str, str, str], bool] = {}
    for one in strangers:
        lent[one.identity] = lent.get(one.identity, False) or one.may_review_tokens
    rights = lent | {one.identity: one.may_review_tokens for one in found}
    alike = [msgspec.structs.replace(one, may_review_tokens=rights[one.identity]) for one in strangers]
    return [*_with_all_of_each(found), *_with_all_of_each(alike)]


def _with_all_of_each(accounts: Sequence[Account]) -> Iterator[Account]:
    """Yield *accounts*, each with all that any of them says of its service account beside who reviews: that adds up."""
    reads: dict[tuple[str, str, str], dict[str, None]] = {}
    notes: dict[tuple[str, str, str], dict[tuple[str, str], None]] = {}
    for one in accounts:
        reads.setdefault(one.identity, {}).update(dict.fromkeys(one.may_read))
        notes.setdefault(one.identity, {}).update(dict.fromkeys(one.annotations))
    for one in accounts:
        may, said = tuple(reads[one.identity]), tuple(notes[one.identity])
        yield msgspec.structs.replace(one, may_read=may, annotations=said)


def issued(account: Account, jwt: Secret, pod: str, uid: str) -> IssuedToken:
    """Return what is known of a new token, from what it says about itself."""
    claims = pki.claims_of(jwt)
    audience = claims.get("aud", ())
    return IssuedToken(
        jwt=jwt,
        cluster=account.cluster,
        subject=str(claims["sub"]),
        purpose=account.purpose,
        pod=pod,
        pod_uid=uid,
        jti=str(claims.get("jti", "")),
        issuer=str(claims["iss"]),
        audiences=(audience,) if isinstance(audience, str) else tuple(audience),
        issued=float(claims.get("iat", 0)),
        expires=float(claims.get("exp", 0)),
        algorithm=pki.algorithm_of(jwt),
    )


def claims_out_of_a_secret(account: Account, uid: str) -> dict[str, str]:
    """Return what the token of an account's Secret says, as the token controller makes it; *uid* is the account's."""
    prefix = "kubernetes.io/serviceaccount"
    return {
        "iss": kubernetes_auth.DEFAULT_ISSUER,
        f"{prefix}/namespace": account.namespace,
        f"{prefix}/secret.name": account.secret,
        f"{prefix}/service-account.name": account.name,
        f"{prefix}/service-account.uid": uid,
        "sub": account.subject,
    }


def token_event(token: IssuedToken) -> events.TokenIssued:
    """Return the token as the record keeps it: everything but the token."""
    return events.TokenIssued(
        token=fingerprint(token.jwt.reveal()),
        cluster=token.cluster,
        subject=token.subject,
        purpose=token.purpose,
        pod=token.pod,
        pod_uid=token.pod_uid,
        jti=token.jti,
        issuer=token.issuer,
        audiences=token.audiences,
        issued=token.issued,
        expires=token.expires,
        algorithm=token.algorithm,
    )
