"""Who types what Vault, Terraform or Kubernetes call it is told the key that was meant, wherever it was typed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
import yaml

from harness.errors import Problem, ScenarioError
from harness.scenario import loading, vault_words
from harness.scenario.schema import Scenario
from tests.runs import OUTAGE
from tests.test_docs import models

ROLE: Final = "auth.MOUNT.roles.ROLE."

MEANT: Final[Mapping[str, str]] = {
    "bound_service_account_names": ROLE + "service-accounts",
    "bound_service_account_namespaces": ROLE + "namespaces",
    "audience": ROLE + "audience",
    "token_ttl": ROLE + "ttl",
    "token_max_ttl": ROLE + "max-ttl",
    "max_ttl": ROLE + "max-ttl",
    "ttl": ROLE + "ttl",
    "token_policies": ROLE + "policies",
    "kubernetes_host": "auth.MOUNT.config.kubernetes_host",
    "bound_service_account_namespace_selector": ROLE + "namespace-selector",
    "alias_name_source": ROLE + "alias-name-source",
    "token_type": ROLE + "token-type",
    "token_period": ROLE + "period",
    "token_num_uses": ROLE + "num-uses",
    "token_explicit_max_ttl": ROLE + "explicit-max-ttl",
    "token_no_default_policy": ROLE + "no-default-policy",
    "token_bound_cidrs": ROLE + "bound-cidrs",
    "pem_keys": "auth.MOUNT.config.pem_keys",
    "use_annotations_as_alias_metadata": "auth.MOUNT.config.use_annotations_as_alias_metadata",
    "kubernetes_ca_cert": "auth.MOUNT.config.kubernetes_ca_cert",
    "token_reviewer_jwt": "auth.MOUNT.reviewer",
    "token_reviewer_jwt_wo": "auth.MOUNT.reviewer",
    "issuer": "auth.MOUNT.config.issuer",
    "disable_iss_validation": "auth.MOUNT.config.disable_iss_validation",
    "disable_local_ca_jwt": "auth.MOUNT.config.disable_local_ca_jwt",
    "serviceAccountName": "apps.APP.service-account",
    "expirationSeconds": "apps.APP.token-expires",
    "secret_shares": "vault.shares",
    "service-account-issuer": "clusters.CLUSTER.issuers",
}
"""What the Vault API, the Terraform provider, Kubernetes manifests and `vault operator init` call it."""

OTHERS: Final[Mapping[str, Any]] = msgspec.toml.decode(
    Path(__file__).with_name("data").joinpath("words_of_others.toml").read_bytes()
)

PLACES: Final = {
    "": (),
    "vault": ("vault",),
    "clusters.CLUSTER": ("clusters", "apps"),
    "auth.MOUNT": ("auth", "kubernetes"),
    "auth.MOUNT.configured": ("auth", "kubernetes", "configured"),
    "auth.MOUNT.config": ("auth", "kubernetes", "config"),
    "auth.MOUNT.roles.ROLE": ("auth", "kubernetes", "roles", "web"),
    "apps.APP": ("apps", "web"),
    "course[N].write": ("course", 0, "write"),
}


def typed(word: str, *place: str | int) -> list[Problem]:
    """Return what is said of *word*, typed as a key at *place* of a scenario that is sound otherwise."""
    document: Any = yaml.safe_load(OUTAGE.read_text())
    del document["vault"]["target"], document["expect"]
    document["course"] = [{"write": {"config": {}}}]
    document["auth"]["kubernetes"]["config"] = {}
    document["secrets"] = {"database": {"type": "database", "roles": {"app": {}}}}
    part = document
    for step in place:
        part = part[step]
    if word in part or (word == "kubernetes_host" and "config" in place):
        return []
    part[word] = {"a": "b"}
    with pytest.raises(ScenarioError) as caught:
        loading.loads(yaml.safe_dump(document, sort_keys=False))
    return [problem for problem in caught.value.problems if "unknown key" in problem.message]


@pytest.mark.parametrize("word", MEANT)
@pytest.mark.parametrize("at", PLACES)
def test_a_word_of_vault_is_pointed_to_its_key(word: str, at: str) -> None:
    """In the very part it is the key alone; anywhere else it is the whole way to it."""
    meant = MEANT[word]
    path, _, key = meant.rpartition(".")
    for problem in typed(word, *PLACES[at]):
        if problem.remedy.startswith(f"did you mean {word}s?"):
            continue  # one letter off a key of this very part: a cluster has issuers
        if path == at:
            assert problem.remedy.startswith(f"it is called `{key}` here")
        else:
            assert meant in problem.remedy or f"it is called `{key}` here" in problem.remedy, problem.remedy
        assert "did you mean" not in problem.remedy


def test_a_key_here_of_the_same_name_as_the_one_that_was_meant_elsewhere_is_not_it() -> None:
    """An app's audience is not that of a role, and a token's life at Vault is none of Kubernetes'."""
    (problem,) = typed("token_reviewer_jwt", "apps", "web")
    assert problem.remedy.startswith("it is called auth.MOUNT.reviewer")


def test_a_write_takes_the_fields_of_a_role_and_the_reviewer_of_a_mount() -> None:
    for word, key in (("token_ttl", "ttl"), ("token_reviewer_jwt", "reviewer")):
        (problem,) = typed(word, "course", 0, "write")
        assert problem.remedy.startswith(f"it is called `{key}` here")


def test_a_policy_as_terraform_has_it_is_a_key_and_its_text() -> None:
    for word in ("name", "allow_overwrite"):
        (problem,) = typed(word)
        assert "a policy's name is its key below `policies`" in problem.remedy
    document: Any = yaml.safe_load(OUTAGE.read_text())
    text = 'path "secret/data/web" { capabilities = ["read"] }'
    with pytest.raises(ScenarioError) as caught:
        loading.loads(yaml.safe_dump(document | {"policies": {"name": "web", "policy": text}}))
    assert [one.remedy for one in caught.value.problems if "no such policy" in one.message] == [
        "the name as the key, and the text as its value: web: ..."
    ]


def test_a_slip_of_the_pen_is_still_one() -> None:
    (problem,) = typed("sorce", "vault")
    assert problem.remedy.startswith("did you mean source?")
    (problem,) = typed("role", "auth", "kubernetes")
    assert problem.remedy.startswith("did you mean roles?")


def test_another_way_to_write_a_key_is_that_key() -> None:
    for word in ("may_review_tokens", "mayReviewTokens"):
        document = OUTAGE.read_text().replace("may-review-tokens: true", f"{word}: true")
        with pytest.raises(ScenarioError) as caught:
            loading.loads(document)
        assert [problem.remedy for problem in caught.value.problems] == ["it is called `may-review-tokens` here"]


def test_every_key_that_a_word_leads_to_is_there() -> None:
    known = {
        model: {field.alias or name for name, field in model.model_fields.items()}
        for model in models(Scenario).values()
    }
    assert len(vault_words._CALLED) > 20
    for word, (part, key, _) in vault_words._CALLED.items():
        assert key in known[part], word


@pytest.mark.parametrize(("part", "word"), vault_words._IN_ONE_PART)
def test_a_word_that_means_another_key_elsewhere_is_pointed_at_that_of_its_part(part: Any, word: str) -> None:
    """`version` of a cluster is not that of a Vault."""
    keys = {field.alias or name: "" for name, field in part.model_fields.items()}
    key, note = vault_words._IN_ONE_PART[part, word]
    assert key in keys
    assert vault_words.pointer(word, part, keys) == f"it is called `{key}` here" + (f": {note}" if note else "")


@pytest.mark.parametrize("whose", OTHERS)
def test_every_word_of_others_has_an_answer_of_its_own(whose: str) -> None:
    """Nobody is shown the list of all keys, or one that merely looks like it, for a word that means something."""
    poor = {}
    for name in OTHERS[whose]["parts"]:
        part = models(Scenario)[name]
        keys = {field.alias or own: "" for own, field in part.model_fields.items()}
        for word in OTHERS[whose]["words"].split():
            said = vault_words.pointer(word, part, keys)
            if word not in keys and said.startswith(("one of:", "did you mean", "there is none")):
                poor[f"{name}.{word}"] = said
    assert poor == {}


def test_what_a_rehearsal_does_instead_is_said_of_parts_that_there_are_and_of_no_key() -> None:
    parts = models(Scenario)
    for row in vault_words._unsaid():
        assert set(row.parts) <= set(parts), row.parts
        for part in row.parts:
            keys = {field.alias or name for name, field in parts[part].model_fields.items()}
            assert not keys & set(map(vault_words.plainly, row.words.split())), (part, row.instead)


@pytest.mark.parametrize(
    ("word", "place", "said"),
    [
        ("clock_skew_leeway", ("auth", "kubernetes", "roles", "web"), "Vault's own default holds"),
        ("connection_url", ("secrets", "database"), "a PostgreSQL of its own"),
        ("password", ("auth", "kubernetes", "roles", "web"), "the rehearsal makes the secret"),
        ("namespace", ("auth", "kubernetes"), "Vault Enterprise"),
        ("backend", ("auth", "kubernetes", "roles", "web"), "what stands above"),
        ("description", ("auth", "kubernetes"), "comments"),
        ("api_addr", ("vault",), "how Vault is run"),
        ("server", (), "it is called `vault` here: `rehearse import --helm-values FILE`"),
        ("clock_skew_leeway", ("course", 0, "write"), "Vault's own default holds"),
    ],
)
def test_what_no_scenario_says_is_told_with_what_a_rehearsal_does_instead(
    word: str, place: tuple[str | int, ...], said: str
) -> None:
    (problem,) = typed(word, *place)
    assert said in problem.remedy
    assert "did you mean" not in problem.remedy


def test_what_stands_there_under_vaults_name_is_not_missing_as_well() -> None:
    text = OUTAGE.read_text()
    assert "service-accounts: [web]" in text
    with pytest.raises(ScenarioError) as caught:
        loading.loads(text.replace("service-accounts: [web]", "bound_service_account_names: [web]"))
    assert [problem.message for problem in caught.value.problems] == [
        "unknown key `bound_service_account_names` in auth.kubernetes.roles.web"
    ]


@pytest.mark.parametrize("items", ["[Web_]", "[5]", "[{a: b}]", "[Web_, 5]"])
def test_a_list_whose_items_are_wrong_is_not_also_empty(items: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        loading.loads(OUTAGE.read_text().replace("service-accounts: [web]", f"service-accounts: {items}"))
    assert [problem.message for problem in caught.value.problems if "empty" in problem.message] == []
    assert len(caught.value.problems) == items.count(",") + 1


def test_an_empty_list_is_empty() -> None:
    with pytest.raises(ScenarioError) as caught:
        loading.loads(OUTAGE.read_text().replace("service-accounts: [web]", "service-accounts: []"))
    assert ["is empty" in problem.message for problem in caught.value.problems] == [True]


def test_a_token_that_somebody_pasted_is_complained_of_and_not_shown() -> None:
    jwt = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJrdWJlcm5ldGVzIn0.c2lnbmF0dXJlLXNpZ25hdHVyZQ"
    text = OUTAGE.read_text()
    for wrong in (
        text.replace("    roles:", f"    reviewer: {jwt}\n    roles:"),
        text.replace("service-accounts: [web]", f"service-accounts: 5, token_reviewer_jwt: {jwt}"),
        text.replace("    roles:", f"    reviewer: [\n    roles: {jwt}"),
        text.replace("storage: raft", f"storage: {{token: {jwt}}}"),
    ):
        assert wrong != text
        with pytest.raises(ScenarioError) as caught:
            loading.loads(wrong)
        assert "c2lnbmF0dXJl" not in str(caught.value)
        assert "eyJpc3Mi" not in str(caught.value)


AS_USERS_TYPE: Final = """
schema: 1
description: Twenty users wrote theirs; what they meant stands beside each.
clusters: {a: {kubernetes: 1.32.0}}
vault: {cluster: a, source: 1.4.0}
secrets:
  secret: {type: kv-v2}
  db: {type: mysql}
  pki: {type: pki, roles: {w: {allowed_domains: [example.com], ttl: 1h}}}
auth:
  kubernetes:
    cluster: a
    configured: {by: 1.4.0}
    roles:
      web: {service-accounts: [web], namespace-selector: {team: web}, policies: [web]}
  people: {type: userpass, users: {bob: {policies: [web]}}}
  ci: {type: jwt, roles: {deploy: {bound_audiences: [vault], policies: [web]}}}
  directory: {type: ldap, roles: {x: {policies: [web]}}}
  web: {type: oidc, roles: {x: {policies: [web]}}}
apps:
  bob: {mount: people, username: bob, password: hunter22}
  ci: {mount: ci, role: deploy, token: minted, secret_id: 3f2b0a4e, role_id: ci}
course:
  - {sleep: 10s}
  - {downgrade: 1.4.0}
  - write: {backend: kubernetes, role_name: web, token_ttl: 5m}
"""

RIGHT: Final[Mapping[str, str]] = {
    "secrets.secret.type is not one of the choices": "kv: 2, and no type",
    "secrets.db.type is not one of the choices": "also-mounted: {db: mysql}",
    "unknown key `allowed_domains` in secrets.pki.roles.w": "it is called `allowed-domains` here",
    "bound_service_account_namespace_selector is unknown to Vault 1.4.0, which writes this config": (
        "leave it out, or a source of 1.16.0 or newer, or a write in a course once such a one serves"
    ),
    "unknown key `users` in auth.people": "it is called `roles` here",
    "unknown key `bound_audiences` in auth.ci.roles.deploy": "it is called `bound-audiences` here",
    "auth.directory.type is not one of the choices": "also-mounted: {auth/directory: ldap}",
    "auth.web.type is not one of the choices": "jwt: a rehearsal logs in with tokens",
    "unknown key `username` in apps.bob": "it is called `role` here: of userpass, the user",
    "unknown key `password` in apps.bob": "the rehearsal makes the secret with which an app logs in",
    "unknown key `secret_id` in apps.ci": "the rehearsal makes the secret with which an app logs in",
    "unknown key `role_id` in apps.ci": "the rehearsal makes the secret with which an app logs in",
    "unknown key `sleep` in course[0]": "it is called `wait` here",
    "unknown key `downgrade` in course[1]": "it is called `roll-back` here",
    "unknown key `backend` in course[2].write": "it is called `mount` here",
    "unknown key `role_name` in course[2].write": "it is called `role` here",
    "unknown key `token_ttl` in course[2].write": "it is called `ttl` here",
}
"""Every problem of it, and no other: what is typed under another name is not missing as well."""


def test_what_users_type_is_told_once_and_with_what_is_right() -> None:
    with pytest.raises(ScenarioError) as caught:
        loading.loads(AS_USERS_TYPE)
    said = {problem.message: problem for problem in caught.value.problems}
    assert {*said} == {*RIGHT}
    assert len(said) == len(caught.value.problems)
    for message, right in RIGHT.items():
        assert right in said[message].remedy, said[message]
    # of a collection in brackets no more is shown than it is
    assert said[next(one for one in RIGHT if "selector" in one)].offending == "{team: web}"


def problems(text: str) -> list[tuple[str, str]]:
    """Return every problem of a scenario, each with what would be right."""
    with pytest.raises(ScenarioError) as caught:
        loading.loads(text)
    return [(problem.message, problem.remedy) for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("said", "right"),
    [
        ("active", "leader; one of: leader, standby, load-balancer"),
        ("haproxy", "load-balancer; one of: leader, standby, load-balancer"),
        ("vault-1", "`node: vault-1`, where it asks that one alone; one of: leader, standby, load-balancer"),
        ("standbye", "did you mean standby? one of: leader, standby, load-balancer"),
    ],
)
def test_a_way_is_found_by_what_else_it_is_called(said: str, right: str) -> None:
    text = f"""
schema: 1
description: Three nodes, and an app that asks one of them.
vault: {{source: 1.9.3, nodes: 3, target: 1.11.0}}
auth: {{approle: {{type: approle, roles: {{ci: {{policies: [ci]}}}}}}}}
apps: {{ci: {{role: ci, through: {said}}}}}
"""
    assert problems(text) == [("apps.ci.through is not one of the choices", right)]


@pytest.mark.parametrize(
    ("step", "told"),
    [
        (
            "{upgrade: 1.11.0, meanwhile: start}",
            ("course[0].meanwhile is not one of the choices", "`storage: start` as"),
        ),
        ("{meanwhile: stop}", ("step 1 has no verb", "one of: upgrade, ")),
        ("{restart: }", ("step 1 says restart, and nothing after it", "restart: {}")),
        ("{storage: }", ("step 1 says storage, and nothing after it", "storage: To the servers of storage etcd, c")),
        ("{storage: [stop]}", ("course[0].storage is a list, and must be one of the choices", "one of: lose-leader, ")),
    ],
)
def test_a_step_that_is_half_said_is_told_once(step: str, told: tuple[str, str]) -> None:
    text = f"""
schema: 1
description: A storage of one etcd.
vault: {{source: 1.9.3, storage: etcd}}
auth: {{approle: {{type: approle, roles: {{ci: {{policies: [ci]}}}}}}}}
apps: {{ci: {{role: ci}}}}
course: [{step}]
"""
    ((message, remedy),) = problems(text)
    assert (message, remedy[: len(told[1])]) == told


def test_a_mount_that_can_have_no_cluster_takes_no_clusters_to_be_there() -> None:
    text = """
schema: 1
description: An AppRole that names a cluster.
vault: {source: 1.9.3, target: 1.11.0}
auth: {approle: {type: approle, cluster: apps, roles: {ci: {policies: [ci]}}}}
apps: {ci: {mount: approle, role: ci}}
"""
    with pytest.raises(ScenarioError) as caught:
        loading.loads(text)
    assert [problem.message for problem in caught.value.problems] == ["a mount of type approle has no cluster"]


@pytest.mark.parametrize(
    ("step", "says"),
    [
        ({"move": {"cluster": "platform"}}, "it is called `to` here"),
        ({"move": {"to": "outside", "version": "1.11.0"}}, "it is called `upgrade` here"),
        ({"restart": {"node": "vault-1"}}, "`node` stands beside the verb"),
        ({"restart": {"then-look": False}}, "`then-look` stands beside the verb"),
    ],
)
def test_what_is_typed_in_a_verb_has_one_pointer(step: dict[str, Any], says: str) -> None:
    """That the right key is missing is no second mistake."""
    document: Any = yaml.safe_load(OUTAGE.read_text())
    del document["vault"]["target"], document["expect"]
    with pytest.raises(ScenarioError) as caught:
        loading.loads(yaml.safe_dump(document | {"course": [step]}, sort_keys=False))
    (problem,) = caught.value.problems
    assert problem.remedy.startswith(says)
