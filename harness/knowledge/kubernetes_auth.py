"""Which Vault does what in the Kubernetes auth method: each fact once, with its source.

P is hashicorp/vault-plugin-auth-kubernetes. "Run" means: seen with real servers by this project's rehearsals.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final, Literal

from harness.knowledge.versions import at_least, product, release

Stored = Literal["", "explicit", "frozen"]
"""What a config holds as reviewer: nothing, a token somebody gave, or a copy of the pod token of the writing moment."""

Bearer = Literal["client", "local", "explicit", "frozen"]
"""Whose token Vault presents to the API server with a TokenReview."""

HELD_AGAINST: Final = ("1.3.0", "1.21.2")
"""The oldest and the newest release line whose real servers this knowledge was held against. Run: with every change."""

COPIES_POD_TOKEN: Final = "1.5.0"
"""From here a config written in a pod without a reviewer stores the pod's token (P v0.7.0, PR #83)."""

KNOWS_DISABLE_LOCAL: Final = "1.5.4"
"""From here `disable_local_ca_jwt` is a field (P v0.7.1, PR #97)."""

READS_POD_TOKEN: Final = "1.9.3"
"""From here nothing is copied: at login the pod's token file is read (P v0.11.4, PR #122, #131). Run: 1.9.2 / 1.9.3."""

KNOWS_ISSUER_OPTION: Final = "1.5.0"
"""From here `disable_iss_validation` is a field, false by default (P v0.7.0, PR #91)."""

ISSUER_CHECK_OFF_BY_DEFAULT: Final = "1.9.0"
"""A config written from here on has `disable_iss_validation` true unless told otherwise (P v0.11.3, PR #127)."""

DEFAULT_ISSUER_NOT_ENFORCED: Final = "1.11.0"
"""From here an unset issuer is no longer compared with kubernetes/serviceaccount (P v0.13.0, PR #151). Run: 200."""

KEEPS_CONNECTIONS: Final = "1.11.0"
"""From here each mount keeps its connection to the API server, so that another CA counts for the next one alone (P
v0.13.0, PR #142). Run: 1.10.0 / 1.11.0, 1.12.0, 1.13.0, 1.16.3; gone after 100 s without a login, run: 1.13.0. A review
that is answered 401 ends it, one that is answered 403 does not: run with 1.11.0 to 1.19.0."""

REREADS_CA: Final = ("1.11.9", "1.12.3")
"""From here, in these lines and after them, a mount without a CA looks at its Pod's CA file again every 30 s (P
v0.13.3, v0.14.1, PR #173). From 1.11.0 to there it does so at its start and when the config is written; from 1.9.3 to
1.10 once an hour. Run: 1.9.3, 1.11.0 and 1.13.0."""

REREADS_CA_SECONDS: Final = 30

KNOWS_ALIAS_SOURCE: Final = "1.9.0"
"""From here `alias_name_source` is a field of roles (P v0.11.1, PR #110, #112)."""

TAKES_EMPTY_ALIAS_BACK: Final = "1.10.0"
"""From here a role that has no `alias_name_source` yet is written with an empty one, as a read shows it. Versions with
the field and before this one refuse that. Run: 1.9.2, 1.9.3 / 1.10.0, 1.11.0, 1.13.0; reported as P issue 133."""

ALIAS_REFUSED: Final = "invalid alias_name_source, must be one of: serviceaccount_uid, serviceaccount_name"


def takes_back_role(version: str, alias_name_source: str) -> bool:
    """Does Vault *version* take a role back as it shows it, with this alias_name_source if it knows that field?"""
    knows = at_least(version, KNOWS_ALIAS_SOURCE)
    return alias_name_source != "" or not knows or at_least(version, TAKES_EMPTY_ALIAS_BACK)


ALIAS_OF_PROJECTED: Final = "1.9.4"
"""From here the alias by name of a projected token is namespace/name; before it was / for all (P v0.11.6, PR #137)."""


def alias_name(account: str, source: str, version: str, *, projected: bool) -> str | None:
    """Return by what name the alias of an *account*, namespace/name, goes where its role says this *source*; None where
    that is the account's UID.
    """
    if source != "serviceaccount_name":
        return None
    return "/" if projected and not at_least(version, ALIAS_OF_PROJECTED) else account


SENDS_AUDIENCES: Final = "1.4.0"
"""From here a TokenReview names the audiences of the token that logs in; before, an API server took each that was made
out for somebody else for a false one (P v0.6.0, PR #74, issue #73). Run: 1.3.0 / 1.4.0."""

CHECKS_AUDIENCES: Final = "1.13.0"
"""From here the answer to a TokenReview has to name an audience that it was asked for: what answers and knows none is
no endpoint for a token that has any (P v0.15.0, PR #179)."""

WRONG_AUDIENCES: Final = "lookup failed: service account jwt valid for audience(s)"
"""How Vault's log begins to say so: which the answer names, and which were asked for (P token_review.go)."""

FIRST_ASKED_WITHOUT_CA: Final = ("1.11.0", "1.11.12")
"""From the first to the last of these a config without a CA is not shown where no pod's CA is either, at the first read
after Vault's start: 500; the next ones are answered (P v0.13.0). Run: 1.9.3 / 1.11.0; not so at 1.12.0, 1.13.0, 1.16.3
and 1.17.0. Of 1.11 only 1.11.0 was run."""

WITHOUT_ES384: Final = ("1.11.0", "1.11.3")
"""From the first to the last of these a login whose token is signed with ES384 is refused, whether there are pem_keys
or not: these versions were the first to look at the algorithm, and left that one out by a slip of the pen (P v0.13.0;
mended in v0.13.2, CHANGELOG 1.11.4). Run: ES384 with 1.11.0, and not with 1.4.0 to 1.9.3 and 1.12.0 to 1.19.0; RS256,
ES256 and ES512 are taken by each of them."""


def refuses_algorithm(version: str, algorithm: str) -> bool:
    """Does Vault *version* refuse a login for the *algorithm* that signed its token, such as ES384?"""
    since, until = WITHOUT_ES384
    return algorithm == "ES384" and at_least(version, since) and at_least(until, version)


PASSES_CURVES_OVER: Final = "1.11.0"
"""From here each of the pem_keys is tried on a token. Before, the first one on a curve that has not signed a token of a
curve ends the login, whether the right one comes after it or not (P v0.13.0, hashicorp/cap). Run: 1.4.0 to 1.9.3 and
1.11.0 to 1.19.0, two keys of each kind in both orders; one of RSA is passed over, one on a curve by a token of RSA."""


def finds_signer(version: str, before: Iterable[bool], *, curve: bool) -> bool:
    """Does Vault *version* come to that of the pem_keys which has signed a token?

    *before*: is each of those before it on a curve? *curve*: is the one that has signed?
    """
    return at_least(version, PASSES_CURVES_OVER) or not (curve and any(before))


def unsigned(version: str, keys: Collection[bool], *, curve: bool) -> str:
    """Return with which words Vault *version* refuses a token that it takes for signed by none of the pem_keys.

    *keys*: is each of them on a curve? *curve*: is the one that has signed? Of several keys of RSA the words are those
    of each.
    """
    words = answer("signing key", version)[1]
    if at_least(version, PASSES_CURVES_OVER):
        return words
    if curve and any(keys):
        return "asn1: structure error"
    return "failed to validate JWT: invalid signing method" if curve or all(keys) else words


DEFAULT_ISSUER: Final = "kubernetes/serviceaccount"

UNAUTHORIZED: Final = (
    "lookup failed: service account unauthorized; this could mean it has been deleted or recreated with a new token"
)
"""What every Vault makes of a 401 to its TokenReview, whoever answered that (P token_review.go parseResponse)."""

NO_JSON: Final = "invalid character"
"""How every Vault begins to say that the answer to its TokenReview was no JSON. Run: 1.9.2, 1.11.0."""

PASSED_ON: Final = "has prevented the request from succeeding"
"""How every Vault ends what it makes of a 5xx to its TokenReview: that of a proxy, too, which does not reach the API
server behind it. Run: 1.11.0."""

_POD_FOLDER: Final = "/var/run/secrets/kubernetes.io/serviceaccount"


NO_TWO_STARS_UNTIL: Final = "1.3.2"
"""Before, a role whose names and namespaces are both * is answered 400 (P v0.5.3, PR #78)."""

CA_FROM_THE_HOST: Final = "1.17.0"
"""From here disable_local_ca_jwt without a CA means the host's own roots (P v0.19.0, PR #238)."""

READS_CA_AT_WRITE: Final = "1.11.0"
"""From here a config without a CA is refused where its pod has none (P v0.13.0, PR #142)."""

NO_CA: Final = "The provided CA PEM data contains no valid certificates"
"""How a Vault that wants a CA in PEM refuses the write of another one, with 400. Run: 1.17.0, 1.19.0."""

CA_MUST_BE_PEM: Final = "1.17.0"
"""From here a kubernetes_ca_cert without any PEM in it is answered 400 (P v0.19.0, PR #238); before, no API server is
trusted with it."""

_NO_CA_AT_ALL: Final = "one of pem_keys or kubernetes_ca_cert must be set"


def copies_ca(by: str) -> bool:
    """Does Vault *by* put the CA of its Pod into a config that is written without one?"""
    return at_least(by, COPIES_POD_TOKEN) and not at_least(by, READS_POD_TOKEN)


def rereads_ca(version: str) -> bool:
    """Does a mount without a CA take notice of another CA in Vault's Pod while Vault runs, within half a minute?"""
    first, line = REREADS_CA
    return at_least(version, line) or (at_least(version, first) and not at_least(version, "1.12.0"))


def config_without_ca(by: str, *, token_file: bool, disable_local: bool, pem_keys: bool = False) -> str:
    """Return with which words Vault *by* refuses a config without kubernetes_ca_cert, or nothing where it takes it.

    *token_file*: is a pod's service account folder there, and so its CA? Source: P path_config.go pathConfigWrite at
    v0.6.1, v0.7.0, v0.9.0, v0.11.4, v0.13.0 and v0.19.0.
    """
    if not at_least(by, READS_POD_TOKEN):
        local = token_file and not disable_local and at_least(by, COPIES_POD_TOKEN)
        return "" if pem_keys or local else _NO_CA_AT_ALL
    if disable_local:
        needed = "kubernetes_ca_cert must be given when disable_local_ca_jwt is true"
        return "" if at_least(by, CA_FROM_THE_HOST) else needed
    if token_file or not at_least(by, READS_CA_AT_WRITE):
        return ""
    return f"open {_POD_FOLDER}/ca.crt: no such file or directory"


def beyond(versions: Iterable[str]) -> list[str]:
    """Return which of these Vault *versions* are of no release line that this knowledge was held against."""
    oldest, newest = (release(version)[:2] for version in HELD_AGAINST)
    return [
        version
        for version in dict.fromkeys(versions)
        if product(version) != "vault" or not oldest <= release(version)[:2] <= newest
    ]


def held_lines() -> str:
    """Return the release lines that this knowledge was held against, in words."""
    return " to ".join(version.rpartition(".")[0] for version in HELD_AGAINST)


def stored_reviewer(by: str, *, token_file: bool, explicit: bool, disable_local: bool) -> Stored:
    """Return what a config written by Vault *by* holds as its reviewer afterwards."""
    if explicit:
        return "explicit"
    copies = at_least(by, COPIES_POD_TOKEN) and not at_least(by, READS_POD_TOKEN)
    opted_out = disable_local and at_least(by, KNOWS_DISABLE_LOCAL)
    return "frozen" if copies and token_file and not opted_out else ""


def bearer(version: str, *, stored: Stored, token_file: bool, disable_local: bool) -> Bearer:
    """Return whose token Vault *version* presents at a login, given what its config holds and what its pod has."""
    if stored:
        return stored
    if at_least(version, READS_POD_TOKEN) and token_file and not disable_local:
        return "local"
    return "client"


def expected_issuer(version: str, *, issuer: str, validation_disabled: bool) -> str:
    """Return the issuer a login token must have on Vault *version*, or nothing where none is demanded."""
    # an older Vault over the same data does not know that it is disabled (run: 1.9.3 back to 1.4.0)
    if validation_disabled and at_least(version, KNOWS_ISSUER_OPTION):
        return ""
    if issuer:
        return issuer
    return "" if at_least(version, DEFAULT_ISSUER_NOT_ENFORCED) else DEFAULT_ISSUER


def validation_disabled(by: str, *, given: bool | None) -> bool:
    """Return the stored `disable_iss_validation` of a config written by Vault *by*."""
    if not at_least(by, KNOWS_ISSUER_OPTION):
        return False
    return at_least(by, ISSUER_CHECK_OFF_BY_DEFAULT) if given is None else given


def admits(bound: Iterable[str], name: str) -> bool:
    """Does a binding of a role admit *name*? A * in it stands for any characters (P v0.5.1 path_login.go, PR #58)."""
    return any(re.fullmatch(".*".join(map(re.escape, one.split("*"))), name) for one in bound)


BATCH_HAS_NO_USES: Final = "1.8.0"
"""From here a role for batch tokens with token_num_uses is answered 400. Before, the number of before the write counts,
so that the next write of any kind is (sdk helper/tokenutil at v0.2.0 and v0.2.1). Run: 1.4.0, 1.7.0 / 1.8.0."""

BATCH_USES_REFUSED: Final = (
    "'token_type' cannot be 'batch' or 'default_batch' when set to generate tokens with limited use count"
)


def takes_batch_role_back(role: Mapping[str, Any]) -> bool:
    """Does a Vault of any version take a role back as it shows it, where that may be one for batch tokens?"""
    return not (str(role.get("token_type", "")).endswith("batch") and role.get("token_num_uses"))


LONGEST_PERIOD: Final = "768h"
"""A longer token_period than the mount's longest life of a token is answered 400 (P path_role.go). Run: 1.4.0."""

Refusal = Literal[
    "service account name",
    "namespace",
    "issuer",
    "audience",
    "signature",
    "unknown role",
    "review",
    "missing ca",
    "address",
    "signing key",
    "algorithm",
    "expired",
    "untrusted",
    "annotations",
    "no such mount",
]

# From which version a refusal for this reason answers with which status and text.
# Source: P path_login.go at each tag; sdk/logical/response_util.go maps plain errors to 500. Run: 1.7.0 to 1.15.0.
_ANSWERS: Final[dict[Refusal, tuple[tuple[str, int, str], ...]]] = {
    "service account name": (
        ("1.10.4", 403, "service account name not authorized"),
        ("0.0.0", 500, "service account name not authorized"),
    ),
    "namespace": (("1.10.4", 403, "namespace not authorized"), ("0.0.0", 500, "namespace not authorized")),
    "issuer": (
        ("1.13.0", 403, "invalid issuer (iss) claim"),
        ("1.11.0", 500, "invalid issuer (iss) claim"),
        ("0.0.0", 500, 'claim "iss" is invalid'),
    ),
    "audience": (
        ("1.13.0", 403, "invalid audience (aud) claim: audience claim does not match any expected audience"),
        ("1.11.0", 500, "invalid audience (aud) claim: audience claim does not match any expected audience"),
        ("0.0.0", 500, 'claim "aud" is invalid'),
    ),
    "signature": (("0.0.0", 403, "permission denied"),),
    "unknown role": (("0.0.0", 400, "invalid role name"),),
    # up to 1.3 with the words of the review, whatever they are. Run: 1.3.0 / 1.4.0
    "review": (("1.4.0", 403, "permission denied"), ("0.0.0", 500, "lookup failed")),
    "address": (("0.0.0", 403, "permission denied"),),
    "signing key": (
        ("1.11.0", 403, "permission denied"),
        ("0.0.0", 500, "failed to validate JWT: crypto/rsa: verification error"),
    ),
    "algorithm": (("0.0.0", 500, "invalid algorithm (alg) header parameter: token signed with unexpected algorithm"),),
    # run: 1.3.0 to 1.16.3, of tokens that were signed with a key in pem_keys
    "expired": (
        ("1.13.0", 403, "invalid expiration time (exp) claim: token is expired"),
        ("1.11.0", 500, "invalid expiration time (exp) claim: token is expired"),
        ("0.0.0", 500, "token is expired"),
    ),
    # V http/handler.go, vault/request_handling.go (PR #13162): a request without a token that no login path takes.
    "no such mount": (("1.10.0", 403, "permission denied"), ("0.0.0", 400, "missing client token")),
    "annotations": (("0.0.0", 500, "failed to get service account (code 403 status Failure)"),),
    # run: 1.3.0 / 1.4.0, as "review"
    "untrusted": (("1.4.0", 403, "permission denied"), ("0.0.0", 500, "x509: certificate signed by unknown authority")),
    "missing ca": (
        (
            "1.9.3",
            500,
            f"open {_POD_FOLDER}/ca.crt: no such file or directory",
        ),
        ("0.0.0", 403, "permission denied"),
    ),
}


def answer(refusal: Refusal, version: str) -> tuple[int, str]:
    """Return the HTTP status and error text with which Vault *version* refuses a login for this reason."""
    for floor, status, text in _ANSWERS[refusal]:
        if at_least(version, floor):
            return status, text
    raise AssertionError(refusal)


def answers_of(refusal: str) -> tuple[tuple[str, int, str], ...]:
    """Return how a refusal is answered, the oldest first: from which version on, with which status and text."""
    return next((tuple(reversed(rows)) for known, rows in _ANSWERS.items() if known == refusal), ())


def status_shift(refusal: Refusal, before: str, after: str) -> str:
    """Return a sentence if only the status of this refusal differs between two versions, else nothing."""
    old, new = answer(refusal, before)[0], answer(refusal, after)[0]
    if old == new:
        return ""
    floor = next(f for f, status, _ in _ANSWERS[refusal] if status == new and at_least(after, f))
    turn = "begin to retry" if new >= 500 else "stop retrying"
    return (
        f"since Vault {floor} this refusal ({refusal}) answers {new} instead of {old}: "
        f"clients that retry on 5xx only {turn}"
    )


# Fields that a config or role read-back shows from a version on. Source: P path_config.go, path_role.go at each tag.
_READ_BACK_SINCE: Final = {
    "disable_iss_validation": "1.5.0",
    "disable_local_ca_jwt": "1.5.4",
    "alias_name_source": "1.9.0",
    "token_reviewer_jwt_set": "1.16.0",
    "use_annotations_as_alias_metadata": "1.16.0",
    "bound_service_account_namespace_selector": "1.16.0",
}


def field_since(field: str) -> str:
    """Return the Vault version from which a read-back shows *field*, or nothing where it always did."""
    return _READ_BACK_SINCE.get(field, "")


TOKEN_FORMAT: Final = "1.10.0"
"""From here service tokens begin with hvs. and are 95 characters or more (upgrade guide 1.10)."""

_NEWER_TOKEN: Final = "error performing token check: failed to look up namespace from the token: no namespace"
"""How an older version answers whoever has such a token, as after a way back: it takes what comes after the dot for a
namespace. Run: 400 of 1.4.0, 1.6.0 and 1.7.0, 500 of 1.8.0, 1.9.2 and 1.9.3."""


def foreign_token(issued_by: str, version: str) -> tuple[int, str] | None:
    """Return the status and the words with which Vault *version* refuses a token that *issued_by* gave, for its format.

    None where it can read it: that depends on its data then.
    """
    if at_least(version, TOKEN_FORMAT) or not at_least(issued_by, TOKEN_FORMAT):
        return None
    return 500 if at_least(version, "1.8.0") else 400, _NEWER_TOKEN
