"""Every cluster gets the accounts its scenario names, and strangers who differ from an app in one thing only."""

from __future__ import annotations

import json
from typing import Any

import pytest

from harness.drivers import service_accounts
from harness.drivers.service_accounts import Account
from harness.host import pki
from harness.scenario import topology
from harness.scenario.schema import Scenario
from harness.scenario.topology import ISSUER, Topology
from harness.secret import Secret, fingerprint

ROLE = {"service-accounts": ["web"], "namespaces": ["apps"]}
TWO = {"platform": {"kubernetes": "1.32.0"}, "apps": {"kubernetes": "1.32.0"}}
OUTSIDE = {"source": "1.7.0", "target": "1.11.0"}
HOUR = 3600


def app(**fields: Any) -> dict[str, Any]:
    usual = {"cluster": "apps", "service-account": "apps/web", "role": "web", "mount": "kubernetes"}
    return usual | fields


def mount(cluster: str = "apps", **fields: Any) -> dict[str, Any]:
    return {"cluster": cluster, "roles": {"web": ROLE}} | fields


def scenario(**parts: Any) -> Topology:
    """Return a topology of two clusters, Vault in one and an app in the other; *parts* replaces whole parts."""
    document = {
        "schema": 1,
        "description": "a test",
        "clusters": TWO,
        "vault": OUTSIDE | {"cluster": "platform"},
        "auth": {"kubernetes": mount()},
        "apps": {"web": app()},
    }
    return topology.of(Scenario.model_validate_json(json.dumps(document | parts)))


def by_purpose(wanted: Topology) -> dict[str, Account]:
    found = service_accounts.wanted(wanted)
    purposes = {account.purpose: account for account in found}
    assert len(purposes) == len(found)
    return purposes


def test_two_clusters_get_vault_the_app_and_three_strangers() -> None:
    """Another account, another namespace, another cluster: each stranger differs from the app in one of them."""
    assert sorted(service_accounts.wanted(scenario()), key=lambda account: account.purpose) == [
        Account("apps", "apps", "web", "app:web"),
        Account("platform", "apps", "web", "other-cluster-token:web"),
        Account("platform", "vault", "vault", "vault", may_review_tokens=True),
        Account("apps", "rehearsal-elsewhere", "web", "wrong-namespace:web"),
        Account("apps", "apps", "rehearsal-stranger", "wrong-service-account:web"),
    ]


def test_one_cluster_has_no_stranger_from_another() -> None:
    vault = OUTSIDE | {"cluster": "apps"}
    found = by_purpose(scenario(clusters={"apps": {"kubernetes": "1.32.0"}}, vault=vault))
    assert set(found) == {"vault", "app:web", "wrong-service-account:web", "wrong-namespace:web"}
    assert {account.cluster for account in found.values()} == {"apps"}


def test_a_vault_outside_any_cluster_has_no_account() -> None:
    assert "vault" not in by_purpose(scenario(vault=OUTSIDE))


def test_vaults_account_is_the_one_that_is_named() -> None:
    vault = OUTSIDE | {"cluster": "platform", "service-account": "ops/guard", "may-review-tokens": False}
    assert by_purpose(scenario(vault=vault))["vault"] == Account("platform", "ops", "guard", "vault")


@pytest.mark.parametrize(
    ("fields", "account"),
    [
        ({}, ("vault-reviewer", "vault-reviewer", True)),
        ({"reviewer-service-account": "ops/reviewer"}, ("ops", "reviewer", True)),
        ({"reviewer-may-review-tokens": False}, ("vault-reviewer", "vault-reviewer", False)),
    ],
)
def test_a_long_lived_reviewer_lives_in_the_cluster_of_its_mount(
    fields: dict[str, Any], account: tuple[str, str, bool]
) -> None:
    namespace, name, may = account
    found = by_purpose(scenario(auth={"kubernetes": mount(reviewer="long-lived", **fields)}))
    assert found["reviewer:kubernetes"] == Account(
        "apps", namespace, name, "reviewer:kubernetes", may_review_tokens=may, long_lived=True
    )


@pytest.mark.parametrize("reviewer", [None, "local", "client-jwt"])
def test_other_reviewers_need_no_account_of_their_own(reviewer: str | None) -> None:
    found = by_purpose(scenario(auth={"kubernetes": mount(reviewer=reviewer)}))
    assert not [purpose for purpose in found if purpose.startswith("reviewer:")]


def test_an_apps_token_has_the_audience_and_the_life_that_were_asked_for() -> None:
    """Its strangers' tokens have the audience too: a wrong one would be refused for that alone."""
    found = by_purpose(scenario(apps={"web": app(audience="vault", **{"token-expires": "10m"})}))
    assert found["app:web"].token_seconds == 600
    assert {account.audiences for purpose, account in found.items() if purpose != "vault"} == {("vault",)}
    assert found["vault"].audiences == ()


@pytest.mark.parametrize("may", [False, True])
def test_strangers_may_review_tokens_where_their_app_may(may: bool) -> None:
    """They must be refused for who they are and not for what they lack."""
    found = by_purpose(scenario(apps={"web": app(**{"may-review-tokens": may})}))
    assert {account.may_review_tokens for purpose, account in found.items() if purpose != "vault"} == {may}


@pytest.mark.parametrize("first_may", [False, True])
def test_a_stranger_gives_no_right_to_an_account_of_the_scenario(first_may: bool) -> None:
    """The same names in two clusters are two accounts: what one app may, its namesake elsewhere does not get by it."""
    first = app(cluster="platform", **{"may-review-tokens": first_may})
    second = app(**{"may-review-tokens": not first_may})
    auth = {"first": mount("platform"), "second": mount("apps")}
    apps = {"one": first | {"mount": "first"}, "two": second | {"mount": "second"}}
    found = by_purpose(scenario(auth=auth, apps=apps))
    assert found["other-cluster-token:one"].identity == found["app:two"].identity
    assert found["app:one"].may_review_tokens is found["other-cluster-token:two"].may_review_tokens is first_may
    assert found["app:two"].may_review_tokens is found["other-cluster-token:one"].may_review_tokens is not first_may


@pytest.mark.parametrize("names", [("a", "b"), ("b", "a")])
def test_one_service_account_has_one_right_whoever_uses_it(names: tuple[str, str]) -> None:
    """Two apps of one namespace share a stranger, who may what any of them may, whichever comes first."""
    rights = {"a": True, "b": False}
    apps = {n: app(**{"service-account": f"apps/{n}", "may-review-tokens": rights[n]}) for n in names}
    found = service_accounts.wanted(scenario(apps=apps))
    each: dict[tuple[str, str, str], set[bool]] = {}
    for account in found:
        each.setdefault(account.identity, set()).add(account.may_review_tokens)
    assert {len(said) for said in each.values()} == {1}
    assert each["apps", "apps", "rehearsal-stranger"] == {True}
    assert each["apps", "apps", "b"] == {False}


def test_pods_of_one_namespace_have_names_of_their_own() -> None:
    """Two Pods of one name cannot be; and Vault's is called as its StatefulSet would call it."""
    found = service_accounts.wanted(scenario(apps={"web": app(), "cron": app(**{"service-account": "apps/cron"})}))
    places = [(account.cluster, account.namespace, account.pod) for account in found]
    assert len(set(places)) == len(places)
    assert {account.pod for account in found if account.purpose == "vault"} == {"vault-0"}
    assert Account("apps", "ops", "x", "reviewer:team/second").pod == "reviewer-team-second"


@pytest.fixture(scope="module")
def signer(tmp_path_factory: pytest.TempPathFactory) -> pki.TokenSigner:
    return pki.TokenSigner(tmp_path_factory.mktemp("keys"))


@pytest.mark.parametrize(("aud", "audiences"), [("one", ("one",)), (["a", "b"], ("a", "b")), (None, ())])
def test_what_is_known_of_a_token_is_what_it_says(
    signer: pki.TokenSigner, aud: str | list[str] | None, audiences: tuple[str, ...]
) -> None:
    """One audience or several, or none in a long-lived one, which also never expires."""
    claims: dict[str, Any] = {"iss": ISSUER, "sub": "system:serviceaccount:apps:web"}
    if aud is not None:
        claims |= {"aud": aud, "jti": "b1946ac9", "iat": 1000, "exp": 4600}
    token = service_accounts.issued(Account("apps", "apps", "web", "app:web"), signer.sign(claims), "app-web", "uid-1")
    assert (token.cluster, token.subject, token.purpose) == ("apps", "system:serviceaccount:apps:web", "app:web")
    assert (token.pod, token.pod_uid, token.issuer) == ("app-web", "uid-1", ISSUER)
    assert token.audiences == audiences
    assert (token.jti, token.issued, token.expires) == (("b1946ac9", 1000, 4600) if aud else ("", 0, 0))


def test_the_record_keeps_everything_of_a_token_but_the_token(signer: pki.TokenSigner) -> None:
    jwt = signer.sign({"iss": ISSUER, "sub": "system:serviceaccount:apps:web", "exp": HOUR})
    account = Account("apps", "apps", "web", "app:web")
    event = service_accounts.token_event(service_accounts.issued(account, jwt, "app-web", "uid-1"))
    assert event.token == fingerprint(jwt.reveal()) == repr(Secret(jwt.reveal()))
    assert jwt.reveal() not in repr(event)
    assert (event.subject, event.pod, event.pod_uid, event.expires) == (account.subject, "app-web", "uid-1", HOUR)
