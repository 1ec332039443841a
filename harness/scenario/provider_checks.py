"""What the config of a JWT mount asks whoever signs the tokens for, and would not get when it is written.

Vault asks at the write, and refuses a config whose keys it cannot get. The course is walked in order, with what each
cluster has at each step.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from harness.scenario import kind_checks, mount_kinds, values
from harness.scenario.field_checks import Complaint
from harness.scenario.mount_kinds import ASKED_AT, JWT
from harness.scenario.yaml_document import Document, Trail, choices, shown

_EXACTLY_ONE: Final = ("jwt_validation_pubkeys", *ASKED_AT)
_OF_ITS_OWN: Final = "cluster in the mount"


def complaints(document: Document) -> Iterator[Complaint]:
    """Yield what is wrong with the configs of JWT mounts, at the start and in the course."""
    clusters = {str(part[-1]): part for part in document.entries("clusters")}
    published = {name: document.get(*part, "publishes-keys", default=False) for name, part in clusters.items()}
    signs = {name: (document.get(*part, "issuers", default=None) or ("",))[0] for name, part in clusters.items()}
    hidden: set[str] = set()
    yield from _no_keys(document, ("clusters",), "publishes-keys", published, signs)
    for mount in document.entries("auth"):
        if (kind := kind_checks.kind_of(document, mount)) is not None and kind.name == JWT:
            yield from _of_config(document, mount, document.get(*mount, "cluster"), published, signs, hidden)
    for index in range(len(document.get("course", default=()) or ())):
        published |= document.get("course", index, "publish-keys", default={}) or {}
        changed = document.get("course", index, "set-issuers", default={}) or {}
        signs |= {name: issuers[0] for name, issuers in changed.items() if issuers}
        for verb in ("publish-keys", "set-issuers"):
            yield from _no_keys(document, ("course", index, verb), "", published, signs)
        yield from _reached(document, ("course", index, "reachable"), hidden)
        yield from _rotated(document, ("course", index, "rotate-keys"))
        yield from _known(document, ("course", index, "publish-keys"))
        write: Trail = ("course", index, "write")
        mounts = document.get("auth", default={}) or {}
        name = document.get(*write, "mount", default=next(iter(mounts)) if len(mounts) == 1 else None)
        if name in mounts and document.given(*write) and document.get("auth", name, "type") == JWT:
            home = document.get("auth", name, "cluster")
            yield from _of_config(document, write, home, published, signs, hidden)


def _known(document: Document, trail: Trail, *others: str) -> Iterator[Complaint]:
    clusters = document.get("clusters", default={})
    for name in document.get(*trail, default={}) or {}:
        if clusters is not None and name not in (*clusters, *others):
            yield (*trail, name), f"there is no cluster {shown(name)}", choices(name, [*clusters, *others])


def _no_keys(
    document: Document, trail: Trail, key: str, published: dict[str, bool], signs: dict[str, str]
) -> Iterator[Complaint]:
    """Complain of clusters in *trail* that are to give their keys to anybody, and whose API servers give none."""
    for name in document.get(*trail, default={}) or {}:
        issuer = signs.get(name) or ""
        if published.get(name) and issuer and issuer != values.ADDRESS and not issuer.startswith("https://"):
            message = f"with an issuer that is no https URL, the API server of {name} gives its keys to nobody"
            place = (*trail, name, key) if key else (*trail, name)
            yield place, message, f"publishes-keys: false, or another first issuer than {shown(issuer)}"


def _reached(document: Document, trail: Trail, hidden: set[str]) -> Iterator[Complaint]:
    """Take note of the clusters whose API servers are *hidden*, and complain of what changes nothing."""
    yield from _known(document, trail)
    for name, is_so in (document.get(*trail, default={}) or {}).items():
        if (name in hidden) is not is_so:
            message = f"that is so already: {name} is {'' if is_so else 'not '}to be reached"
            yield (*trail, name), message, "leave it out"
        (hidden.discard if is_so else hidden.add)(name)


def _rotated(document: Document, trail: Trail) -> Iterator[Complaint]:
    yield from _known(document, trail, mount_kinds.PROVIDER)
    if document.get(*trail, mount_kinds.PROVIDER) == "ca":
        message = "nobody asks the identity provider that mints tokens for anything, and it has no CA"
        yield (*trail, mount_kinds.PROVIDER), message, "signing, or the name of a cluster"
    minted = any(document.get(*app, "token") == "minted" for app in document.entries("apps"))
    said = document.get(*trail, default={}) or {}
    clusters = document.get("clusters", default={}) or {}
    if mount_kinds.PROVIDER in said and mount_kinds.PROVIDER not in clusters and not minted:
        message = "no app has a token of the identity provider, and so nobody sees that its key changes"
        yield (*trail, mount_kinds.PROVIDER), message, "token: minted in an app"


def _of_config(
    document: Document,
    trail: Trail,
    home: str | None,
    published: dict[str, bool],
    signs: dict[str, str],
    hidden: set[str],
) -> Iterator[Complaint]:
    config: Trail = (*trail, "config")
    if not document.given(*config) or not document.sound(*config):
        return
    said = [name for name in _EXACTLY_ONE if document.given(*config, name)]
    if len(said) > 1:
        message = f"Vault refuses this config: exactly one of {', '.join(_EXACTLY_ONE)} must be set"
        yield (*config, said[1]), message, "leave all but one out"
        return
    if home is None and document.get(*config, "bound_issuer") == "cluster":
        yield (*config, "bound_issuer"), "this mount has no cluster, and so no issuer of it", _OF_ITS_OWN
    for url, authority in ASKED_AT.items():
        if document.given(*config, authority) and url not in said:
            message = f"{authority} is the CA of {url}, and this config has none"
            yield (*config, authority), message, f"{url} as well, or leave it out"
        if url in said:
            yield from _asked(document, config, url, home, published, signs, hidden)


def _asked(
    document: Document,
    config: Trail,
    url: str,
    home: str | None,
    published: dict[str, bool],
    signs: dict[str, str],
    hidden: set[str],
) -> Iterator[Complaint]:
    """Complain of a cluster that would not answer Vault as it must at the write of *url*."""
    place, name = (*config, url), document.get(*config, url)
    clusters = document.get("clusters", default={})
    if name is None or clusters is None:
        return
    whose = home if name == "cluster" else name
    if whose is None:
        if config[0] == "auth":
            yield place, "this mount has no cluster, and so no keys of it", _OF_ITS_OWN
        return
    if whose not in clusters:
        yield place, f"there is no cluster {shown(whose)}", choices(whose, clusters) + "; or cluster, for the mount's"
        return
    if whose in hidden:
        message = f"Vault asks {whose} when this config is written, and does not reach it then"
        yield place, message, f"reachable: {{{whose}: true}} before it"
    if not published.get(whose):
        message = (
            f"Vault asks {whose} when this config is written, and it gives its keys to service accounts alone: 403"
        )
        yield place, message, f"publishes-keys: true in clusters.{whose}, or jwt_validation_pubkeys"
    if url == "oidc_discovery_url" and signs.get(whose) != values.ADDRESS:
        message = f"Vault refuses a discovery document whose issuer is not the URL, and {whose} signs as another"
        yield place, message, f"issuers: [{values.ADDRESS}] in clusters.{whose}, or jwks_url, which compares no issuer"
    yield from _authority(document, (*config, ASKED_AT[url]), home, whose)


def _authority(document: Document, place: Trail, home: str | None, whose: str) -> Iterator[Complaint]:
    """Complain of a CA by which Vault would not trust who answers."""
    said = document.get(*place)
    if said is None or values.kind_of_pem(said) == "PEM":
        return
    if said == "base64":
        yield place, "Vault refuses a CA that nobody decoded: could not parse CA PEM value successfully", "cluster"
    elif (home if said == "cluster" else said) != whose:
        message = f"Vault asks {whose} when this config is written, and would not trust it by this CA"
        yield place, message, f"{whose}, or leave it out"
