"""What the Vault that writes a config or a role would not know, or would refuse: known before anything is started.

A config or a role is written at the start, by the version that `configured` names, or in the course, by the version
that serves then.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from harness.knowledge import jwt_auth, kubernetes_auth, versions
from harness.scenario import mount_kinds, values
from harness.scenario.yaml_document import Document, Trail, choices, shown

Complaint = tuple[Trail, str, str]
"""Where, what is wrong, what would be right."""

_NEW_FIELDS: Final = ("disable_iss_validation", "disable_local_ca_jwt", "use_annotations_as_alias_metadata")
"""The fields of a config that there were not always."""

_NOT_OPENBAOS: Final = ("use_annotations_as_alias_metadata",)
"""The fields of a config that OpenBao has left out (openbao v2.0.0 and v2.6.2, builtin/credential/kubernetes)."""

_NEW_ROLE_FIELDS: Final = {
    "alias-name-source": "alias_name_source",
    "namespace-selector": "bound_service_account_namespace_selector",
}
"""The fields of a role that there were not always, by their keys."""


@dataclass(frozen=True, slots=True)
class Writer:
    """Who writes: a Vault version, with a pod's service account folder there or without (None: nobody knows)."""

    version: str
    token_file: bool | None
    at_start: bool
    """is it written before the first look, by the version that `configured` names, or in the course?"""
    in_use: str = ""
    """the version that the first look finds, if that is known: nothing newer has written what is there then"""

    @property
    def called(self) -> str:
        """Return who it is, for a sentence."""
        return (
            f"{versions.called(self.version)}, which {'writes this config' if self.at_start else 'serves at this step'}"
        )

    @property
    def is_openbao(self) -> bool:
        """Is it OpenBao, and no Vault?"""
        return versions.product(self.version) == versions.OPENBAO

    def later(self, since: str) -> str:
        """Return what has to be otherwise for *since* to be the version that writes."""
        return later(since, self.in_use) if self.at_start else f"write it once {since} or newer serves"


def later(since: str, in_use: str | None) -> str:
    """Return how *since* comes to be the version that writes what is there at the first look, which finds *in_use*."""
    if in_use and not versions.at_least(in_use, since):
        return f"a source of {since} or newer, or a write in a course once such a one serves"
    return f"configured by {since} or newer"


def writers(document: Document) -> list[tuple[Trail, str]]:
    """Return the versions that are said to have written a config, each with where that stands."""
    trails = [(*mount, "configured", "by") for mount in document.entries("auth")]
    return [(trail, by) for trail in trails if (by := document.get(*trail)) is not None]


def of_config(document: Document, trail: Trail, writer: Writer) -> Iterator[Complaint]:
    """Yield what is wrong with the config below *trail*, which has a reviewer and literal fields."""
    chosen = document.get(*trail, "reviewer") == "client-jwt"
    for field in _NEW_FIELDS:
        since = kubernetes_auth.field_since(field)
        by_name = field == "disable_local_ca_jwt" and chosen and not writer.at_start
        if document.given(*trail, "config", field) and field in _NOT_OPENBAOS and writer.is_openbao:
            yield (*trail, "config", field), f"{field} is unknown to {writer.called}", "leave it out"
        elif (document.given(*trail, "config", field) or by_name) and not versions.at_least(writer.version, since):
            place = (*trail, "reviewer") if by_name else (*trail, "config", field)
            yield place, f"{field} is unknown to {writer.called}", f"leave it out, or {writer.later(since)}"
    yield from _of_clusters(document, trail)
    yield from _no_pem(document, (*trail, "config", "kubernetes_ca_cert"), writer)
    yield from _without_ca(document, trail, writer)


def _of_clusters(document: Document, trail: Trail) -> Iterator[Complaint]:
    """Complain of a CA or a key of a cluster that is not there."""
    clusters = document.get("clusters", default={})
    keys: Trail = (*trail, "config", "pem_keys")
    places = [(*trail, "config", "kubernetes_ca_cert")]
    places += [(*keys, index) for index in range(len(document.get(*keys, default=()) or ()))]
    for place in places:
        said = document.get(*place)
        if clusters is None or not isinstance(said, str) or values.kind_of_pem(said) != "name":
            continue
        if said not in clusters:
            remedy = choices(said, clusters) + "; or cluster, for the one that the mount asks"
            yield place, f"there is no cluster {shown(said)}", remedy


def _no_pem(document: Document, place: Trail, writer: Writer) -> Iterator[Complaint]:
    """Complain of a CA that nobody decoded, or that is none, where a Vault would not take it."""
    said = document.get(*place)
    must = versions.at_least(writer.version, kubernetes_auth.CA_MUST_BE_PEM)
    if not must or not isinstance(said, str):
        return
    words, kind, by = kubernetes_auth.NO_CA, values.kind_of_pem(said), versions.called(writer.version)
    if kind == "undecoded":
        yield place, f"{by} refuses a CA that nobody decoded: {words}", "cluster, or the decoded text"
    elif kind == "PEM" and not values.is_whole_pem(said):
        yield place, f"{by} refuses a CA that is no certificate: {words}", "cluster, or a whole text"


def _without_ca(document: Document, trail: Trail, writer: Writer) -> Iterator[Complaint]:
    place = (*trail, "config", "kubernetes_ca_cert")
    disable = document.get(*trail, "config", "disable_local_ca_jwt") or document.get(*trail, "reviewer") == "client-jwt"
    if document.get(*place) != "omit" or writer.token_file is None:
        return
    words = kubernetes_auth.config_without_ca(
        writer.version,
        token_file=writer.token_file,
        disable_local=bool(disable),
        pem_keys=bool(document.get(*trail, "config", "pem_keys")),
    )
    if words:
        message = f"{versions.called(writer.version)} refuses a config without a CA: {words}"
        yield place, message, _with_ca(writer, disable=bool(disable))


def _with_ca(writer: Writer, *, disable: bool) -> str:
    """Return what makes a config without a CA one that the writer, or another version, would take."""
    ways = ["cluster"]
    if disable:
        ways.append("no disable_local_ca_jwt" if writer.token_file else "")
        ways.append(writer.later(kubernetes_auth.CA_FROM_THE_HOST))
    elif not versions.at_least(writer.version, kubernetes_auth.COPIES_POD_TOKEN) and writer.token_file:
        ways.append(writer.later(kubernetes_auth.COPIES_POD_TOKEN))
    elif not writer.token_file:
        ways.append("a Vault whose Pod has a token file, with its CA beside it")
    return ", or ".join(way for way in ways if way)


def of_role(document: Document, trail: Trail, writer: Writer, earlier: Sequence[Trail] = ()) -> Iterator[Complaint]:
    """Yield what is wrong with the role that stands at *trail*, and was written *earlier* at these: what a write leaves
    out stays as it is.
    """
    written = (trail, *reversed(earlier))
    yield from _both_stars(document, written, writer)
    yield from _kind_of_token(document, written, writer)
    yield from _claims(document, trail, writer)
    yield from _globs(document, written)


def _held(document: Document, written: Sequence[Trail], *keys: str) -> list[Any]:
    """Return what a role holds of *keys*, once it was *written* at these trails, the last of them first."""
    return [next((document.get(*one, key) for one in written if document.given(*one, key)), None) for key in keys]


def _blamed(document: Document, trail: Trail, key: str, *others: str) -> Trail:
    """Return where the last write says what does not go together: *key*, or what else it says."""
    return next(((*trail, one) for one in (key, *others) if document.given(*trail, one)), (*trail, key))


def _both_stars(document: Document, written: Sequence[Trail], writer: Writer) -> Iterator[Complaint]:
    names, spaces = _held(document, written, "service-accounts", "namespaces")
    since = kubernetes_auth.NO_TWO_STARS_UNTIL
    if names == spaces == ("*",) and not versions.at_least(writer.version, since):
        by = versions.called(writer.version)
        message = f"{by} refuses this role: its service accounts and its namespaces cannot both be *"
        place = _blamed(document, written[0], "namespaces", "service-accounts")
        yield place, message, f"names in one of the two, or {writer.later(since)}"


def _kind_of_token(document: Document, written: Sequence[Trail], writer: Writer) -> Iterator[Complaint]:
    trail, kind = written[0], "token-type"
    token_type, period = _held(document, written, kind, "period")
    batch = token_type == "batch"
    if token_type == "default" and mount_kinds.TOKEN in (trail[1], document.get(*trail, "mount")):
        message = "Vault refuses this role: a role of auth/token has no token_type default"
        yield (*trail, kind), message, "service or batch, or leave it out"
    # an older Vault looks at the number that was there before the write
    counted = written if versions.at_least(writer.version, kubernetes_auth.BATCH_HAS_NO_USES) else written[1:]
    (uses,) = _held(document, counted, "num-uses")
    longest = kubernetes_auth.LONGEST_PERIOD
    if period and values.seconds(period) > values.seconds(longest):
        yield (*trail, "period"), f"Vault refuses a period that is longer than {longest}", f"{longest} or less"
    if batch and period:
        message = "Vault refuses a period for batch tokens, which cannot be renewed"
        yield _blamed(document, trail, "period", kind), message, "token-type: service, or no period"
    if batch and uses:
        message = f"{versions.called(writer.version)} refuses batch tokens with a number of uses, which nobody counts"
        yield _blamed(document, trail, "num-uses", kind), message, "token-type: service, or no num-uses"
    for key, field in _NEW_ROLE_FIELDS.items():
        since = kubernetes_auth.field_since(field)
        if document.given(*trail, key) and not versions.at_least(writer.version, since):
            yield (*trail, key), f"{field} is unknown to {writer.called}", f"leave it out, or {writer.later(since)}"


def _claims(document: Document, trail: Trail, writer: Writer) -> Iterator[Complaint]:
    """Complain of claims that Vault would not take, or would not know how to look for."""
    since = jwt_auth.CLAIM_POINTER
    place = (*trail, "user-claim-json-pointer")
    if document.given(*place) and not versions.at_least(writer.version, since):
        message = f"user_claim_json_pointer is unknown to {writer.called}"
        yield place, message, f"leave it out, or {writer.later(since)}"
    first: dict[str, str] = {}
    for claim, becomes in (document.get(*trail, "claim-mappings", default={}) or {}).items():
        if becomes == "role":
            message = 'Vault refuses this role: metadata key "role" is reserved and may not be a mapping destination'
            yield (*trail, "claim-mappings", claim), message, "another name"
        elif becomes is not None and first.setdefault(becomes, claim) != claim:
            message = f"Vault refuses this role: multiple keys are mapped to metadata key {shown(becomes)}"
            yield (*trail, "claim-mappings", claim), message, "another name"


def _globs(document: Document, written: Sequence[Trail]) -> Iterator[Complaint]:
    trail, key, kind = written[0], "bound-claims", "bound-claims-type"
    how, claims = _held(document, written, kind, key)
    if how != "glob" or not any(document.given(*trail, one) for one in (kind, key)):
        return
    for claim, wanted in (claims or {}).items():
        several = wanted if isinstance(wanted, (list, tuple)) else (wanted,)
        if not all(isinstance(one, str) for one in several):
            place = (*trail, key, claim) if document.given(*trail, key) else (*trail, kind)
            message = "Vault refuses this role: with globs every bound claim is a text"
            yield place, message, "a text, or bound-claims-type: string"
