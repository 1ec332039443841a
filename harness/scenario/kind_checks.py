"""What a scenario says of an auth mount, and of those who log in there, that its kind does not have, or lacks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from harness.knowledge import versions
from harness.scenario import mount_kinds, schema, values
from harness.scenario.field_checks import Complaint
from harness.scenario.mount_kinds import JWT, KUBERNETES, MountKind
from harness.scenario.yaml_document import Document, Trail, choices, shown, where

_OF_ANY_MOUNT: Final = ("type", "vault", "mounted", "configured", "roles")
_OF_REVIEWS: Final = ("reviewer", "reviewer-service-account", "reviewer-may-review-tokens", "reviewer-may-read",
                      "reviewer-token-life", "rewritten-at-each-hop")  # fmt: skip
_AGENTS_SINCE: Final = "1.3.0"
"""Agents write secrets to files from here on (hashicorp/vault, command/agent/template)."""
_OF_ACCOUNT: Final = ("cluster", "service-account", "may-review-tokens", "may-read", "annotations", "audience", "token",
                      "token-expires", "claims", "agent", "storm")  # fmt: skip
"""The keys of an app that logs in with a token of its service account."""
_OF_REVIEWER: Final = ("reviewer", "reviewer-token-life")
_OF_EVERY_TOKEN: Final = ("iss", "sub", "aud", "iat", "exp")


def kind_of(document: Document, mount: Trail) -> MountKind | None:
    """Return of which kind the mount at *mount* is; None where that is not said soundly."""
    name = document.get(*mount, "type", default=KUBERNETES)
    return mount_kinds.of(name) if name in mount_kinds.NAMES else None


def mounts_that_review(document: Document) -> list[Trail]:
    """Return where the mounts stand at which an API server is asked."""
    kinds = [(mount, kind_of(document, mount)) for mount in document.entries("auth")]
    return [mount for mount, kind in kinds if kind is not None and kind.reviews]


def complaints(document: Document) -> Iterator[Complaint]:
    """Yield what is wrong with mounts, their roles and their apps, by the kind of each mount."""
    for mount in document.entries("auth"):
        if (kind := kind_of(document, mount)) is not None:
            yield from _of_mount(document, mount, kind)
    for app in document.entries("apps"):
        yield from _of_app(document, app)
    for index in range(len(document.get("course", default=()) or ())):
        yield from _of_write(document, ("course", index, "write"))


def _of_mount(document: Document, mount: Trail, kind: MountKind) -> Iterator[Complaint]:
    allowed = [*_OF_ANY_MOUNT, *(["cluster"] if kind.of_account else []), *(_OF_REVIEWS if kind.reviews else ())]
    allowed += ["config"] if kind.config else []
    yield from _of_config(document, (*mount, "config"), kind)
    yield from strange(document, mount, allowed, f"a mount of type {kind.name}")
    if kind.by_certificate and document.get("vault", "tls", default=True) is False:
        message = "a client certificate is shown over TLS, and Vault's listener speaks none: vault.tls is false"
        yield (*mount, "type"), message, "tls: true in vault, or another type"
    if (kind.name == mount_kinds.TOKEN) != (mount[-1] == mount_kinds.TOKEN):
        message = "the token auth method is at auth/token, in every Vault, and nothing else is"
        yield (*mount, "type"), message, "type: token at the path token, or another type at another path"
    if kind.reviews:
        yield from lacking(document, mount, schema.Mount, ["cluster"])
    if not document.given(*mount, "roles") or document.get(*mount, "mounted", default=True) is False:
        return
    for role in document.get(*mount, "roles", default={}) or {}:
        yield from _of_role(document, (*mount, "roles", role), kind)
        yield from lacking(document, (*mount, "roles", role), schema.Role, kind.required)
        if kind.name == JWT:
            yield from _unbound(document, (*mount, "roles", role))
        if kind.name == mount_kinds.TOKEN:
            yield from _batch(document, (*mount, "roles", role))


def _of_role(document: Document, trail: Trail, kind: MountKind, more: Iterable[str] = ()) -> Iterator[Complaint]:
    allowed = [*(name.replace("_", "-") for name in kind.role), *kind.ours]
    whose = (
        "a user of a mount of type userpass" if kind.name == "userpass" else f"a role of a mount of type {kind.name}"
    )
    yield from strange(document, trail, [*allowed, *more], whose)


def _of_config(document: Document, config: Trail, kind: MountKind) -> Iterator[Complaint]:
    """Complain of config fields of another kind, and of keys of nobody who is there."""
    if not kind.config or not document.given(*config):
        return
    yield from strange(document, config, kind.config, f"the config of a mount of type {kind.name}")
    clusters, keys = document.get("clusters", default={}), (*config, "jwt_validation_pubkeys")
    for index, said in enumerate(document.get(*keys, default=()) or ()):
        sound = clusters is not None and isinstance(said, str) and values.kind_of_pem(said) == "name"
        if sound and said not in (*clusters, mount_kinds.PROVIDER):
            remedy = choices(said, [*clusters, mount_kinds.PROVIDER]) + "; or cluster, for the mount's own"
            yield (*keys, index), f"there is no cluster {shown(said)}", remedy
        elif said == "cluster" and document.left_out(*config[:2], "cluster") and config[0] == "auth":
            yield (*keys, index), "this mount has no cluster, and so no keys of it", "provider, or cluster in the mount"


def _unbound(document: Document, role: Trail) -> Iterator[Complaint]:
    """Complain of a role that Vault refuses because it would admit everybody."""
    bounds = ("bound-audiences", "bound-subject", "bound-claims", "bound-cidrs")
    if all(document.left_out(*role, one) for one in bounds):
        message = "Vault refuses this role: must have at least one bound constraint"
        yield role, message, f"{', or '.join(bounds)}"


def _batch(document: Document, role: Trail) -> Iterator[Complaint]:
    """Complain of a token role whose batch tokens Vault would refuse to give."""
    if document.get(*role, "token-type") != "batch":
        return
    lacks = [
        words
        for words, wrong in (
            ("orphan: true", document.get(*role, "orphan") is not True),
            ("renewable: false", document.get(*role, "renewable") is not False),
            ("no period", document.given(*role, "period")),
            ("no explicit-max-ttl", document.given(*role, "explicit-max-ttl")),
        )
        if wrong
    ]
    if lacks:
        message = "Vault refuses this role: batch tokens are orphans, without renewals, period and explicit max TTL"
        yield (*role, "token-type"), message, f"{', '.join(lacks)} as well; or another token-type"


def _of_app(document: Document, app: Trail) -> Iterator[Complaint]:
    mounts = document.get("auth", default={}) or {}
    name = document.get(*app, "mount", default=next(iter(mounts)) if len(mounts) == 1 else None)
    kind = kind_of(document, ("auth", name)) if name in mounts else None
    if kind is not None and not kind.of_account:
        keys = [one for one in _keys(schema.App) if one not in _OF_ACCOUNT]
        yield from strange(document, app, keys, f"an app that logs in at a mount of type {kind.name}")
    elif kind is not None and kind.name == JWT and document.get(*app, "token") == "minted":
        keys = [one for one in _keys(schema.App) if one not in _OF_ACCOUNT]
        mine = [*keys, "audience", "token", "token-expires", "claims"]
        yield from strange(document, app, mine, "an app with a minted token")
        for claim in {*(document.get(*app, "claims", default={}) or {})} & {*_OF_EVERY_TOKEN}:
            yield (*app, "claims", claim), f"the claim {claim} of a minted token is the provider's own", "another claim"
    elif kind is not None:
        yield from lacking(document, app, schema.App, ("cluster", "service-account"))
        if document.given(*app, "claims") and document.get(*app, "token") != "minted":
            yield (*app, "claims"), "an API server adds no claims to its tokens", "token: minted, or leave it out"
        if document.get(*app, "token") == "minted":
            message = f"a mount of type {kind.name} takes tokens of service accounts, and this one is minted elsewhere"
            yield (*app, "token"), message, "token: projected, or a mount of type jwt"
        yield from _of_agent(document, (*app, "agent"), kind)
        if document.given(*app, "storm") and document.get(*app, "token", default="projected") != "projected":
            message = "in a storm each Pod logs in with the token that its kubelet requests, and this app has another"
            yield (*app, "storm"), message, "token: projected, or leave the storm out"
        if document.given(*app, "storm") and document.get("vault", "nodes", default=1) != 1:
            message = "a storm asks a Vault of one node, and this one has several"
            yield (*app, "storm"), message, "nodes: 1 in vault, or leave the storm out"


def _of_agent(document: Document, agent: Trail, kind: MountKind) -> Iterator[Complaint]:
    if (version := document.get(*agent)) is None:
        return
    if not kind.reviews:
        message = f"the agent of an app logs in at a mount of type {KUBERNETES}, and this one is of type {kind.name}"
        yield agent, message, f"leave it out, or a mount of type {KUBERNETES}"
    elif versions.product(version) == versions.OPENBAO or not versions.at_least(version, _AGENTS_SINCE):
        message = f"{versions.called(version)} has no Vault Agent that writes secrets to files"
        yield agent, message, f"a version of Vault, {_AGENTS_SINCE} or newer"


def _of_write(document: Document, write: Trail) -> Iterator[Complaint]:
    mounts = document.get("auth", default={}) or {}
    name = document.get(*write, "mount", default=next(iter(mounts)) if len(mounts) == 1 else None)
    kind = kind_of(document, ("auth", name)) if name in mounts and document.given(*write) else None
    if kind is None:
        return
    if document.given(*write, "role"):
        more = ("mount", "role", "config", "reviewer", "reviewer-token-life")
        yield from _of_role(document, write, kind, more)
    elif not kind.config:
        message = f"auth/{shown(str(name))} is of type {kind.name}, which has no config to write"
        yield write, message, "role: the name of one of its roles"
    else:
        if not kind.reviews:
            for key in _OF_REVIEWER:
                if document.given(*write, key) and document.sound(*write, key):
                    message = f"auth/{shown(str(name))} is of type {kind.name}, and nobody reviews its logins"
                    yield (*write, key), message, "leave it out"
        yield from _of_config(document, (*write, "config"), kind)


def texts(document: Document, *trail: str | int) -> list[tuple[int, str]]:
    """Return the texts in the list at *trail* with their places in it; what is wrong has its problem already."""
    listed = document.get(*trail, default=())
    sound = [(index, item) for index, item in enumerate(listed or ()) if document.sound(*trail, index)]
    return [(index, item) for index, item in sound if isinstance(item, str)]


def strange(document: Document, trail: Trail, allowed: Iterable[str], whose: str) -> Iterator[Complaint]:
    """Complain of keys that are known, and that *whose* does not have."""
    known = [*allowed]
    for key in document.get(*trail, default={}) or {}:
        if key not in known and document.given(*trail, key) and document.sound(*trail, key):
            yield (*trail, key), f"{whose} has no {shown(str(key))}", f"leave it out; it has {', '.join(known)}"


def lacking(document: Document, trail: Trail, part: type, keys: Iterable[str]) -> Iterator[Complaint]:
    """Complain of keys that are not there and have to be."""
    for key in keys:
        if document.given(*trail, key) or not document.sound(*trail, key):
            continue
        yield (*trail, key), f"missing key `{key}` in {where(trail)}", f"{key}: {_keys(part)[key]}"


def _keys(part: type) -> dict[str, str]:
    fields = part.model_fields  # type: ignore[attr-defined]
    return {field.alias or name: field.description or "" for name, field in fields.items()}
