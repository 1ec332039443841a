"""What is known of each Vault version agrees, row by row, with what was read in its source and seen on real servers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.knowledge import kubernetes_auth, refusals
from harness.knowledge.kubernetes_auth import Bearer, Refusal, Stored

# Two clusters, no reviewer configured, real servers: who wrote the config, was a token file there, what ran then,
# was one there at the login, and whose token reviewed it. The other cluster accepts the client's and refuses Vault's.
SEEN: list[tuple[str, bool, str, bool, Bearer]] = [
    ("1.4.0", True, "1.4.0", True, "client"),
    ("1.4.0", True, "1.7.0", True, "client"),
    ("1.4.0", True, "1.11.0", True, "local"),
    ("1.7.0", False, "1.7.0", False, "client"),
    ("1.7.0", False, "1.8.0", True, "client"),
    ("1.7.0", False, "1.9.2", True, "client"),
    ("1.7.0", False, "1.9.3", True, "local"),
    ("1.7.0", False, "1.10.0", True, "local"),
    ("1.7.0", False, "1.11.0", True, "local"),
    ("1.7.0", False, "1.13.0", True, "local"),
    ("1.7.0", False, "1.11.0", False, "client"),
    ("1.7.0", True, "1.7.0", True, "frozen"),
    ("1.7.0", True, "1.11.0", True, "frozen"),
]


@pytest.mark.parametrize(("by", "file_then", "version", "file_now", "reviewer"), SEEN)
def test_the_reviewer_is_the_one_that_was_seen_on_real_servers(
    by: str, file_then: bool, version: str, file_now: bool, reviewer: Bearer
) -> None:
    stored = kubernetes_auth.stored_reviewer(by, token_file=file_then, explicit=False, disable_local=False)
    assert kubernetes_auth.bearer(version, stored=stored, token_file=file_now, disable_local=False) == reviewer


@pytest.mark.parametrize(
    ("issued_by", "version", "answer"),
    [
        ("1.11.0", "1.4.0", 400),
        ("1.10.0", "1.7.0", 400),
        ("1.11.0", "1.8.0", 500),
        ("1.11.0", "1.9.2", 500),
        ("1.10.0", "1.9.3", 500),
        ("1.11.0", "1.10.0", None),
        ("1.9.3", "1.7.0", None),
        ("1.4.0", "1.11.0", None),
    ],
)
def test_a_token_of_the_newer_format_is_refused_by_whoever_is_older(
    issued_by: str, version: str, answer: int | None
) -> None:
    """Seen on real servers after a way back. It is a refusal, whatever its status: it will never be otherwise."""
    foreign = kubernetes_auth.foreign_token(issued_by, version)
    assert (foreign[0] if foreign else None) == answer
    assert foreign is None or refusals.says(*foreign) == "refused"


# How a config came to be -> what it holds as reviewer.
WRITTEN: list[tuple[str, str, bool, bool, Stored]] = [
    ("W1", "1.3.0", True, False, ""),
    ("W1", "1.4.7", True, False, ""),
    ("W1", "1.5.0", False, False, ""),
    ("W1", "1.9.2", False, False, ""),
    ("W2", "1.5.0", True, False, "frozen"),
    ("W2", "1.5.3", True, False, "frozen"),
    ("W2", "1.7.10", True, False, "frozen"),
    ("W2", "1.9.2", True, False, "frozen"),
    ("W2", "1.9.2+ent", True, False, "frozen"),
    ("W2: the option is unknown until 1.5.4", "1.5.3", True, True, "frozen"),
    ("W3", "1.5.4", True, True, ""),
    ("W3", "1.9.2", True, True, ""),
    ("W3", "1.11.0", True, True, ""),
    ("W4", "1.9.3", True, False, ""),
    ("W4", "1.9.3", False, False, ""),
    ("W4", "1.21.0", True, False, ""),
]


@pytest.mark.parametrize(("row", "by", "token_file", "disable_local", "stored"), WRITTEN)
def test_what_a_config_holds_depends_on_who_wrote_it_and_where(
    row: str, by: str, token_file: bool, disable_local: bool, stored: Stored
) -> None:
    found = kubernetes_auth.stored_reviewer(by, token_file=token_file, explicit=False, disable_local=disable_local)
    assert found == stored, row


VERSIONS = ["1.4.0", "1.5.0", "1.5.4", "1.7.0", "1.9.2", "1.9.3", "1.11.0", "1.16.0-rc1", "1.21.0", "2.0.0"]


@given(by=st.sampled_from(VERSIONS), token_file=st.booleans(), disable_local=st.booleans())
def test_a_reviewer_that_was_given_is_what_is_stored(by: str, token_file: bool, disable_local: bool) -> None:
    """Whatever else is true: no Vault replaces it."""
    stored = kubernetes_auth.stored_reviewer(by, token_file=token_file, explicit=True, disable_local=disable_local)
    assert stored == "explicit"


# The row of the config, what it holds, whether local tokens are disabled -> the bearer on Vault 1.4, 1.5 to 1.9.2,
# 1.9.3 and newer with a token file, and the same without.
AT_LOGIN: list[tuple[str, Stored, bool, tuple[Bearer, Bearer, Bearer, Bearer]]] = [
    ("W1", "", False, ("client", "client", "local", "client")),
    ("W2", "frozen", False, ("frozen", "frozen", "frozen", "frozen")),
    ("W3", "", True, ("client", "client", "client", "client")),
    ("W4", "", False, ("client", "client", "local", "client")),
    ("given", "explicit", False, ("explicit", "explicit", "explicit", "explicit")),
]
COLUMNS = [
    (("1.4.0", "1.4.7"), True),
    (("1.5.0", "1.7.0", "1.9.0", "1.9.2"), True),
    (("1.9.3", "1.9.10", "1.10.0", "1.15.3", "2.0.0"), True),
    (("1.9.3", "1.11.0", "1.21.1"), False),
]


@pytest.mark.parametrize(("row", "stored", "disable_local", "bearers"), AT_LOGIN)
def test_whose_token_reviews_a_login(
    row: str, stored: Stored, disable_local: bool, bearers: tuple[Bearer, Bearer, Bearer, Bearer]
) -> None:
    for (versions, token_file), bearer in zip(COLUMNS, bearers, strict=True):
        for version in versions:
            found = kubernetes_auth.bearer(version, stored=stored, token_file=token_file, disable_local=disable_local)
            assert found == bearer, f"{row} on {version}"


@pytest.mark.parametrize(
    ("by", "given", "disabled"),
    [
        ("1.4.7", None, False),
        ("1.4.7", True, False),
        ("1.5.0", None, False),
        ("1.5.0", True, True),
        ("1.8.12", None, False),
        ("1.9.0", None, True),
        ("1.9.0", False, False),
        ("1.21.0", None, True),
    ],
)
def test_the_issuer_check_is_off_from_1_9_on_unless_it_was_asked_for(
    by: str, given: bool | None, disabled: bool
) -> None:
    """An older Vault does not know the option, and drops it."""
    assert kubernetes_auth.validation_disabled(by, given=given) is disabled


@pytest.mark.parametrize(
    ("version", "issuer", "disabled", "expected"),
    [
        ("1.7.0", "", False, "kubernetes/serviceaccount"),
        ("1.10.11", "", False, "kubernetes/serviceaccount"),
        ("1.11.0", "", False, ""),
        ("1.21.0", "", False, ""),
        ("1.7.0", "https://cluster.example", False, "https://cluster.example"),
        ("1.11.0", "https://cluster.example", False, "https://cluster.example"),
        ("1.7.0", "", True, ""),
        ("1.7.0", "https://cluster.example", True, ""),
        ("1.11.0", "https://cluster.example", True, ""),
    ],
)
def test_the_default_issuer_is_demanded_until_1_10_and_a_given_one_always(
    version: str, issuer: str, disabled: bool, expected: str
) -> None:
    assert kubernetes_auth.expected_issuer(version, issuer=issuer, validation_disabled=disabled) == expected


NAME, SPACE = "service account name not authorized", "namespace not authorized"
OLD_ISSUER, NEW_ISSUER = 'claim "iss" is invalid', "invalid issuer (iss) claim"
OLD_AUDIENCE = 'claim "aud" is invalid'
NEW_AUDIENCE = "invalid audience (aud) claim: audience claim does not match any expected audience"
NO_CA = "open /var/run/secrets/kubernetes.io/serviceaccount/ca.crt: no such file or directory"
DENIED = "permission denied"

# Vault 1.7.0, 1.9.3, 1.10.3, 1.10.4, 1.11.0, 1.12.11, 1.13.0, 1.21.0
ANSWERS: list[tuple[Refusal, tuple[int, ...], tuple[str, ...]]] = [
    ("service account name", (500, 500, 500, 403, 403, 403, 403, 403), (NAME,) * 8),
    ("namespace", (500, 500, 500, 403, 403, 403, 403, 403), (SPACE,) * 8),
    ("issuer", (500, 500, 500, 500, 500, 500, 403, 403), (OLD_ISSUER,) * 4 + (NEW_ISSUER,) * 4),
    ("audience", (500, 500, 500, 500, 500, 500, 403, 403), (OLD_AUDIENCE,) * 4 + (NEW_AUDIENCE,) * 4),
    ("signature", (403,) * 8, (DENIED,) * 8),
    ("review", (403,) * 8, (DENIED,) * 8),
    ("unknown role", (400,) * 8, ("invalid role name",) * 8),
    ("missing ca", (403, 500, 500, 500, 500, 500, 500, 500), (DENIED,) + (NO_CA,) * 7),
]


@pytest.mark.parametrize(("refusal", "statuses", "texts"), ANSWERS)
def test_each_refusal_answers_as_its_version_does(
    refusal: Refusal, statuses: tuple[int, ...], texts: tuple[str, ...]
) -> None:
    asked = ("1.7.0", "1.9.3", "1.10.3", "1.10.4", "1.11.0", "1.12.11", "1.13.0", "1.21.0")
    assert [kubernetes_auth.answer(refusal, version) for version in asked] == list(zip(statuses, texts, strict=True))


@pytest.mark.parametrize(
    ("refusal", "before", "after", "floor"),
    [
        ("namespace", "1.7.0", "1.11.0", "1.10.4"),
        ("service account name", "1.10.3", "1.10.4", "1.10.4"),
        ("issuer", "1.7.0", "1.15.0", "1.13.0"),
        ("audience", "1.12.0", "1.13.0", "1.13.0"),
    ],
)
def test_a_status_that_moved_is_told_with_the_version_that_moved_it(
    refusal: Refusal, before: str, after: str, floor: str
) -> None:
    """And with what it means to whoever reads it."""
    assert kubernetes_auth.status_shift(refusal, before, after) == (
        f"since Vault {floor} this refusal ({refusal}) answers 403 instead of 500: "
        "clients that retry on 5xx only stop retrying"
    )


def test_clients_begin_to_retry_what_has_become_an_error_of_the_server() -> None:
    assert kubernetes_auth.status_shift("missing ca", "1.9.2", "1.9.3") == (
        "since Vault 1.9.3 this refusal (missing ca) answers 500 instead of 403: "
        "clients that retry on 5xx only begin to retry"
    )


@pytest.mark.parametrize(
    ("refusal", "before", "after"),
    [
        ("issuer", "1.7.0", "1.11.0"),
        ("namespace", "1.10.4", "1.21.0"),
        ("namespace", "1.7.0", "1.7.0"),
        ("review", "1.4.0", "2.0.0"),
        ("unknown role", "1.4.0", "2.0.0"),
    ],
)
def test_where_the_status_stays_there_is_nothing_to_tell(refusal: Refusal, before: str, after: str) -> None:
    """Not even where the words are others."""
    assert kubernetes_auth.status_shift(refusal, before, after) == ""


@pytest.mark.parametrize(
    ("field", "since"),
    [
        ("disable_iss_validation", "1.5.0"),
        ("disable_local_ca_jwt", "1.5.4"),
        ("alias_name_source", "1.9.0"),
        ("token_reviewer_jwt_set", "1.16.0"),
        ("use_annotations_as_alias_metadata", "1.16.0"),
        ("bound_service_account_namespace_selector", "1.16.0"),
        ("kubernetes_host", ""),
        ("bound_service_account_names", ""),
    ],
)
def test_a_field_is_known_by_the_version_that_first_showed_it(field: str, since: str) -> None:
    assert kubernetes_auth.field_since(field) == since
