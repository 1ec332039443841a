"""What was read of an installation becomes a scenario that `validate` takes, and says what nobody can see."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as some

from harness.cli.commands import main
from harness.host import pki
from harness.importing import drifting, naming, scenario_text, vault_questions
from harness.importing.asking import Answer, Question
from harness.importing.clusters import Clusters
from harness.importing.composing import Wishes, compose
from harness.importing.installation import ClusterPart, Installation, MountPart, Seen, VaultPart
from harness.importing.merging import merge
from harness.importing.naming import Names
from harness.knowledge import policy_templates, vault_policies
from harness.scenario import loading, storage_state, yaml_document
from harness.scenario.schema import Scenario
from harness.scenario.schema_engines import EngineRole
from harness.session.import_sources import run
from tests.importing import OnPaper, data, engines, mount, refused, role, scenario, server, variants, vault


def read(server: OnPaper, **how: object) -> Seen:
    return run(vault_questions.read(tls=True, **how), server)  # type: ignore[arg-type]


# --- a live Vault ---


def test_a_vault_becomes_a_scenario_with_what_it_shows() -> None:
    """Versions, storage, keys, mounts, roles, policies and stores; and nothing is missing."""
    seen = read(OnPaper(vault("1.7.0", issuer="https://issuer.example.com", disable_iss_validation=False)))
    assert seen.gaps == ()
    found = scenario([seen])
    said: Scenario = found.scenario
    assert (said.vault.source, said.vault.target, said.vault.storage, said.vault.shares) == (
        "1.7.0",
        "1.16.3",
        "raft",
        5,
    )
    kubernetes = said.auth["kubernetes"]
    assert kubernetes.config is not None
    assert kubernetes.config.issuer == "cluster"
    assert kubernetes.config.disable_iss_validation is False
    assert said.clusters["apps"].issuers == ("https://issuer.example.com",)
    assert kubernetes.roles["web"].service_accounts == ("web",)
    assert said.apps["web"].reads == ("secret/web",)
    assert said.policies["web"].startswith('path "secret/data/web" {\n')
    assert "3 nodes" in found.text
    assert "`nodes: 3` rehearses three, over raft" in found.text


@pytest.mark.parametrize("storage", storage_state.SERVERS)
def test_several_nodes_over_one_storage_are_rehearsed_over_that_one(storage: str) -> None:
    """Nobody votes there, and two are enough."""
    answers = vault("1.9.2", issuer="https://issuer.example.com")
    status = answers["sys/seal-status"]
    answers["sys/seal-status"] = Answer(200, {**status.body, "storage_type": storage})
    found = scenario([read(OnPaper(answers))])
    assert found.scenario.vault.storage == storage
    assert f"(several nodes); this rehearses one node. `nodes: 2` rehearses two, over one {storage}" in found.text


def test_what_no_api_tells_is_a_variant() -> None:
    """Before 1.16 nobody sees whether a reviewer is stored: each way is a cell, and each cell a sound scenario."""
    found = scenario([read(OnPaper(vault("1.7.0")))])
    assert found.scenario.matrix is not None
    assert set(found.scenario.matrix.axes["reviewer"]) == {"as-written", "copied", "pod-token", "secret"}
    assert set(found.scenario.matrix.axes["vault-runs"]) == {
        "in-a-cluster-of-its-own",
        "in-apps",
        "outside-any-cluster",
    }
    assert len(variants(found)) == 4 * 3 - 2
    assert "--reviewer kubernetes=WHAT" in found.text


@pytest.mark.parametrize(
    ("version", "config", "reviewers"),
    [
        ("1.4.0", {}, {"as-written", "pod-token", "secret"}),
        ("1.9.3", {}, {"as-written", "copied", "pod-token", "secret"}),
        ("1.9.3", {"disable_local_ca_jwt": True}, {"as-written", "pod-token", "secret"}),
        ("1.16.0", {"token_reviewer_jwt_set": True}, {"as-written", "copied", "pod-token"}),
        ("1.16.0", {"token_reviewer_jwt_set": False}, None),
        (
            "1.16.0",
            {"token_reviewer_jwt_set": True, "use_annotations_as_alias_metadata": True},
            {"as-written", "pod-token"},
        ),
    ],
)
def test_variants_are_those_that_can_be(version: str, config: dict[str, bool], reviewers: set[str] | None) -> None:
    """A copy is no way for a Vault that never copied, and where Vault says that none is stored there is no doubt."""
    found = scenario([read(OnPaper(vault(version, **config)))])
    assert found.scenario.matrix is not None
    assert found.scenario.matrix.axes.get("reviewer", {}).keys() == (reviewers or set())
    first = found.scenario.auth["kubernetes"].reviewer
    assert first == (
        "secret" if config.get("token_reviewer_jwt_set") else "client-jwt" if reviewers and config else None
    )


@pytest.mark.parametrize(
    ("told", "wanted"),
    [
        (MountPart(reviewer="secret", reviewer_account="ops/reviewer"), ("secret", "1.7.0", None)),
        (MountPart(reviewer="copied"), (None, "1.7.0", True)),
        (MountPart(configured_by="1.4.0", with_token_file=True), (None, "1.4.0", True)),
    ],
)
def test_what_somebody_says_is_no_variant(told: MountPart, wanted: tuple[object, ...]) -> None:
    """Whoever has looked says it, and the doubt is gone."""
    said = Seen(source="me", said=Installation(vault=VaultPart(cluster="platform"), mounts={"kubernetes": told}))
    found = scenario([said, read(OnPaper(vault("1.7.0")))])
    assert found.scenario.matrix is None
    mount = found.scenario.auth["kubernetes"]
    assert mount.configured is not None
    assert (mount.reviewer, mount.configured.by, mount.configured.with_token_file) == wanted


def test_every_kind_of_mount_that_a_rehearsal_has() -> None:
    """AppRoles, users and JWT mounts, of service accounts and of somebody else; of others it says that it left them."""
    answers = server("1.11.0") | {
        "sys/auth": data(**{f"{path}/": {"type": kind} for path, kind in {
            "batch": "approle", "people": "userpass", "pods": "jwt", "urls": "jwt", "ci": "jwt",
            "oidc": "oidc"}.items()}),
        "sys/mounts": data(),
        "auth/batch/role": data(keys=["nightly"]),
        "auth/batch/role/nightly": data(token_policies=["default"], token_ttl=5400, secret_id_ttl=60),
        "auth/people/users": data(keys=["alice"]),
        "auth/people/users/alice": data(token_policies=[], token_num_uses=0),
        "auth/pods/config": data(jwt_validation_pubkeys=["-----BEGIN PUBLIC KEY-----\nAA==\n-----END PUBLIC KEY-----"]),
        "auth/pods/role": data(keys=["web", "loose"]),
        "auth/pods/role/web": data(bound_subject="system:serviceaccount:apps:web", bound_audiences=["vault"]),
        "auth/pods/role/loose": data(bound_claims={"project": "1"}),
        "auth/urls/config": data(oidc_discovery_url="https://k8s.example.com", bound_issuer="https://k8s.example.com"),
        "auth/urls/role": data(keys=["api"]),
        "auth/urls/role/api": data(bound_subject="system:serviceaccount:apps:api", bound_audiences=["vault"]),
        "auth/ci/config": data(jwks_url="https://gitlab.example.com/keys"),
        "auth/ci/role": data(keys=["deploy"]),
        "auth/ci/role/deploy": data(bound_audiences=["https://vault.example.com"], token_ttl=7201),
    }  # fmt: skip
    seen = read(OnPaper(answers))
    assert [gap.what for gap in seen.gaps] == []
    found = scenario([seen])
    auth, apps = found.scenario.auth, found.scenario.apps
    assert (auth["batch"].roles["nightly"].ttl, auth["batch"].roles["nightly"].secret_id_ttl) == ("90m", "1m")
    assert auth["ci"].roles["deploy"].ttl == "7201s"
    assert set(auth["pods"].roles) == {"web"}
    assert auth["urls"].config is not None
    assert auth["urls"].config.jwks_url == "cluster"
    assert (apps["web"].service_account, apps["web"].audience) == ("apps/web", ("vault",))
    assert (apps["deploy"].token, apps["alice"].mount) == ("minted", "people")
    assert "auth/oidc (oidc)" in found.text
    assert "Role loose is left out" in found.text


def test_engines_and_token_roles_are_there_as_far_as_an_app_is_granted_anything_of_them() -> None:
    """What nobody is granted is not even asked for, nor is a connection; what no scenario has is told."""
    paper = OnPaper(engines())
    seen = read(paper)
    assert seen.gaps == ()
    found = scenario([seen])
    said = found.scenario
    assert (said.secrets["database"].roles["app"].ttl, said.secrets["database"].roles["app"].max_ttl) == ("1h", "24h")
    pki = said.secrets["pki"].roles
    assert {*pki} == {"web"}
    assert (pki["web"].max_ttl, pki["web"].allowed_domains, pki["web"].key_bits) == ("72h", ("example.com",), 256)
    assert said.secrets["transit"].keys["orders"].type_ == "rsa-4096"
    reads = ("secret/web", "database/creds/app", "pki/issue/web", "transit/orders")
    assert (said.apps["web"].reads, said.apps["ci"].reads, said.apps["ci"].mount) == (reads, reads, "token")
    role = said.auth["token"].roles["ci"]
    assert (role.policies, role.orphan, role.renewable, role.token_type) == (("web",), True, False, None)
    for told in (
        "any is left out: it has no allowed-domains",
        "odd is left out: its key_type is 'any'",
        "web: it allows no subdomains",
        "its database is a PostgreSQL",
        "Its disallowed_policies are left out",
        "Role all is left out: it names no allowed_policies",
    ):
        assert told in found.text
    assert "hunter2" not in found.text + str(seen)
    asked = {one.path for one in paper.asked}
    unused = {"database/roles/admin", "transit/keys/invoices", "old/db/roles"}
    assert {one for one in asked if "config" in one and not one.startswith(("auth/", "sys/"))} | (
        asked & unused
    ) == set()


def test_a_vault_without_a_token_role_has_no_mount_for_them() -> None:
    assert "token" not in scenario([read(OnPaper(vault()))]).scenario.auth


# --- what is missing ---


def test_a_vault_that_refuses_a_part_gives_the_rest() -> None:
    """A refusal is named with the right that was missing, and the scenario has what was read."""
    answers = vault() | {"auth/kubernetes/config": refused(), "sys/policies/acl/web": refused()}
    seen = read(OnPaper(answers))
    assert [gap.what for gap in seen.gaps] == ["the config of auth/kubernetes", "policy web"]
    assert "needs read on auth/kubernetes/config" in seen.gaps[0].why
    text = scenario([seen]).text
    assert "NOT READ: its config" in text
    assert "NOT READ: the policies" in text


def test_a_vault_that_refuses_all_has_been_shown_a_bad_token() -> None:
    """One sentence says so, instead of one for every path."""
    answers = server("1.11.0") | {path: refused() for path in ("sys/auth", "sys/mounts", "sys/version-history")}
    seen = read(OnPaper(answers | {"sys/storage/raft/configuration": refused()}))
    (gap,) = seen.gaps
    assert "expired or was revoked" in gap.why
    assert "EXAMPLE" in scenario([seen]).text


@pytest.mark.parametrize(("state", "word"), [({"sealed": True}, "sealed"), ({"initialized": False}, "not initialised")])
def test_a_vault_that_is_not_open_tells_its_version(state: dict[str, bool], word: str) -> None:
    """It is asked nothing more."""
    answers = server("1.11.0")
    answers["sys/seal-status"].body.update(state)
    paper = OnPaper(answers)
    seen = read(paper)
    assert word in seen.gaps[0].why
    assert seen.said.vault.version == "1.11.0"
    assert {one.path for one in paper.asked} == {"sys/seal-status", "sys/leader"}


def test_nothing_is_missing_where_a_version_has_no_such_path() -> None:
    """Vault 1.7 keeps no history of versions, and one without raft has no members."""
    paper = OnPaper(vault("1.7.0"))
    read(paper)
    assert "sys/version-history" not in {one.path for one in paper.asked}


# --- the policy ---


def test_the_policy_grants_every_question_and_nothing_more() -> None:
    """Each question that needs a token is granted, and no rule can write."""
    answers = engines() | mount("k8s/prod", {"web": role(["web"], ["apps"], ["team/web"])})
    answers["sys/auth"] = data(**{"kubernetes/": {"type": "kubernetes"}, "k8s/prod/": {"type": "kubernetes"}})
    paper = OnPaper(answers)
    read(paper)
    rules = vault_policies.read("import", vault_policy := vault_questions.policy(["kubernetes", "k8s/prod/"]))
    assert {may for rule in rules for may in rule.capabilities} == {"read", "list"}
    assert "secret/" not in vault_policy

    def granted(question: Question) -> bool:
        bare = question.path.startswith("sys/") or not question.listing
        path = question.path if bare else f"{question.path}/"
        return vault_policies.ruling(rules, path, "list" if question.listing else "read").granted

    assert len(paper.asked) > 8
    assert [one.path for one in paper.asked if not one.bare and not granted(one)] == []
    everywhere = vault_policies.read("import", CliRunner().invoke(main, ["import", "--policy"]).stdout)
    assert vault_policies.ruling(everywhere, "auth/any-mount/role/web", "read").granted


# --- policies with templates ---


def test_a_template_names_a_mount_by_its_path_once_it_is_imported() -> None:
    """Accessors are another Vault's: none of the rehearsal's has them. What is no mount here is told."""
    templates = {
        "auth_kubernetes_1a2b3c4d": "metadata.service_account_namespace",
        "auth_kubernetes_5e6f7a8b": "name",
        "auth_oidc_9c0d1e2f": "name",
    }
    answers = vault() | mount("k8s/mit Leerzeichen", {"web": role(["web"], ["apps"], ["web"])})
    answers["sys/auth"] = data(
        **{
            "kubernetes/": {"type": "kubernetes", "accessor": "auth_kubernetes_1a2b3c4d"},
            "k8s/mit Leerzeichen/": {"type": "kubernetes", "accessor": "auth_kubernetes_5e6f7a8b"},
            "oidc/": {"type": "oidc", "accessor": "auth_oidc_9c0d1e2f"},
        }
    )
    paths = [f"secret/data/{{{{identity.entity.aliases.{one}.{field}}}}}" for one, field in templates.items()]
    answers["sys/policies/acl/web"] = data(
        policy="".join(f'path "{path}" {{ capabilities = ["read"] }}\n' for path in paths)
    )
    found = scenario([read(OnPaper(answers))])
    said = found.scenario.policies["web"]
    assert "aliases.auth/kubernetes.metadata.service_account_namespace}}" in said
    (renamed,) = set(found.scenario.auth) - {"kubernetes"}
    assert f"aliases.auth/{renamed}.name}}}}" in said
    assert "aliases.auth_oidc_9c0d1e2f.name}}" in said
    assert "auth_kubernetes" not in found.text
    assert "Its templates name auth_oidc_9c0d1e2f, which is no accessor of a mount" in " ".join(
        found.text.replace("#", " ").split()
    )
    accessors = {"kubernetes": "auth_kubernetes_new", renamed: "auth_kubernetes_other"}
    assert "aliases.auth_kubernetes_new.metadata." in policy_templates.with_accessors(said, accessors)


# --- names ---


HOSTILE = [
    "k8s/mit Leerzeichen",
    "a.b/c-d",
    "k8s/mit-leerzeichen",
    "схема",
    "a/b/c",
    "x" * 150,
    "#!*&",
    "-",
    "a: b",
    "\u202eevil",
]


def test_names_that_no_scenario_has_are_replaced_and_told() -> None:
    """No two become one, and a comment says what each is called in Vault."""
    answers = vault() | {"sys/auth": data(**{f"{name}/": {"type": "kubernetes"} for name in HOSTILE})}
    for name in HOSTILE:
        answers |= mount(name, {"web": role(["web"], ["apps"], [name])})
    found = scenario([read(OnPaper(answers))])
    assert len(found.scenario.auth) == len(HOSTILE) == len(found.scenario.apps)
    assert "k8s/mit-leerzeichen" in found.scenario.auth
    assert "In Vault it is auth/k8s/mit Leerzeichen." in found.text
    assert "\u202e" not in found.text


KINDS: list[naming.Kind] = ["cluster", "mount", "role", "policy", "app"]


@settings(max_examples=40)
@given(
    some.lists(some.text(min_size=1), unique=True, max_size=6), some.sampled_from(KINDS), some.sampled_from([None, "k"])
)
def test_every_name_gets_one_that_fits_and_no_two_the_same(
    texts: list[str], kind: naming.Kind, key: str | None
) -> None:
    names = Names(key)
    given_names = [names.of(kind, text) for text in texts]
    assert all(naming.fits(kind, one) for one in given_names)
    assert len({one.lower() for one in given_names}) == len(texts)


def test_pseudonyms_are_the_same_in_every_file_and_tell_nothing() -> None:
    """The same installation, read twice and with another mount beside: what was there has its pseudonym still."""
    answers = vault("1.16.0", issuer="https://oidc.example.com/id/42", kubernetes_host="https://secret-host.corp:6443")
    answers |= {"sys/auth": data(**{"kubernetes/": {"type": "kubernetes"}, "corp/": {"type": "kubernetes"}})}
    answers |= mount(
        "corp",
        {
            "billing": role(
                ["billing-*"],
                ["payments"],
                ["billing"],
                audience="https://corp.example",
                bound_service_account_namespace_selector='{"matchLabels": {"corp.io/x": "billing"}}',
            )
        },
    )
    one = scenario([read(OnPaper(answers))], redact="id")
    paper = OnPaper(answers | {"sys/auth": data(**{"corp/": {"type": "kubernetes"}})})
    other = scenario([read(paper)], redact="id")
    for word in ("corp", "billing", "payments", "secret-host", "oidc.example"):
        assert word not in one.text, word
    (kept,) = other.scenario.auth
    assert other.scenario.auth[kept].roles == one.scenario.auth[kept].roles
    assert scenario([read(paper)], redact="other").scenario.auth.keys() != other.scenario.auth.keys()


@settings(max_examples=40)
@given(
    some.dictionaries(some.text(min_size=1, max_size=20), some.text(max_size=60), max_size=3), some.text(max_size=40)
)
def test_what_is_written_is_read_back(texts: dict[str, str], comment: str) -> None:
    """Whatever stands in texts and comments, the data come back, or are complained of as what nobody may write."""
    document = {"schema": 1, "policies": texts}
    text = scenario_text.written(document, {(): [comment], ("policies",): [comment]})
    read_back = yaml_document.read(text, "f")
    if not read_back.error().problems:
        assert dict(read_back.data["policies"] or {}) == texts


# --- several sources ---


def test_of_a_contradiction_the_first_is_used_and_both_are_told() -> None:
    """And what only one of them knows is there."""
    terraform = Installation(
        vault=VaultPart(version="1.8.0"), mounts={"kubernetes": MountPart(config={"issuer": "https://other"})}
    )
    found = merge([read(OnPaper(vault("1.7.0", issuer="https://issuer"))), Seen(source="Terraform", said=terraform)])
    assert found.said.vault.version == "1.7.0"
    assert [one.where for one in found.conflicts] == ["vault.version", "mounts.kubernetes.config.issuer"]
    text = scenario(found).text
    assert "Vault says https://issuer, Terraform says https://other" in text.replace("\n#   ", " ")
    assert found.of("mounts", "kubernetes") == "Vault and Terraform"


# --- what has drifted ---


PKI_ROLE: Final = EngineRole(allowed_domains=("example.com",))
"""Of a role that is there, and that no policy grants."""


def test_what_has_drifted_is_said_part_by_part() -> None:
    """The same installation has not; another version, config, role or policy has; and no doubt is called a drift."""
    answers = vault("1.7.0", issuer="https://issuer.example.com", disable_iss_validation=False)

    def drifts(written: Scenario, answers: dict[str, Answer]) -> list[str]:
        seen = merge([read(OnPaper(answers))])
        now = scenario(seen, Wishes()).scenario
        return [str(one) for one in drifting.drifts(written, now, seen, Names())]

    written = scenario([read(OnPaper(answers))]).scenario
    assert drifts(written, answers) == []
    reviewed = written.model_copy(update={"auth": {"kubernetes": written.auth["kubernetes"].model_copy(
        update={"reviewer": "secret"})}})  # fmt: skip
    assert drifts(reviewed, answers) == []
    later = vault("1.9.3", issuer="https://issuer.example.com", disable_iss_validation=True, disable_local_ca_jwt=True)
    later |= mount("kubernetes", {"web": role(["web", "api"], ["apps"], ["web"]), "new": role(["n"], ["apps"])},
                   issuer="https://issuer.example.com", disable_local_ca_jwt=True)  # fmt: skip
    assert drifts(written, later) == [
        "vault.source: the scenario has 1.7.0, the installation 1.9.3",
        "auth.kubernetes.config.disable_iss_validation: the scenario has false, the installation true",
        "auth.kubernetes.config.disable_local_ca_jwt: the scenario has false, the installation true",
        "auth.kubernetes.roles.new: the scenario has no such role, the installation it",
        "auth.kubernetes.roles.web.service-accounts: the scenario has web, the installation web, api",
    ]


def test_what_has_drifted_of_engines_is_said_and_no_more_than_a_policy_grants() -> None:
    """Another kind, what an engine has no more, and another life of what it makes; as it was said otherwise is not."""
    answers = engines()

    def drifts(written: Scenario, answers: dict[str, Answer]) -> list[str]:
        seen = merge([read(OnPaper(answers))])
        return [str(one) for one in drifting.drifts(written, scenario(seen, Wishes()).scenario, seen, Names())]

    written = scenario([read(OnPaper(answers))]).scenario
    assert drifts(written, answers) == []
    (role,) = written.secrets["database"].roles.values()
    assert role.ttl == "1h"
    database = written.secrets["database"].model_copy(
        update={"roles": {"app": role.model_copy(update={"ttl": "60m"}), "gone": role}}
    )
    pki = written.secrets["pki"].model_copy(update={"roles": dict(written.secrets["pki"].roles) | {"any": PKI_ROLE}})
    said = dict(written.secrets) | {"database": database, "pki": pki, "lost": written.secrets["secret"]}
    del said["transit"]
    otherwise = written.model_copy(update={"secrets": said})
    assert drifts(otherwise, answers) == [
        "secrets.database.roles.gone: the scenario has it, the installation no such role",
        "secrets.lost: the scenario has it, the installation no such secrets engine",
        "secrets.transit: the scenario has no such secrets engine, the installation it",
    ]
    later = answers | {
        "sys/mounts": data(**{f"{path}/": {"type": kind, "options": {"version": "1"}}
                              for path, kind in {"secret": "kv", "database": "database", "pki": "pki",
                                                 "transit": "transit", "old/db": "database"}.items()}),
        "database/roles/app": data(default_ttl=1800, max_ttl=86400, creation_statements=["x"], db_name="app"),
        "transit/keys/orders": data(type="aes256-gcm96", keys={}),
    }  # fmt: skip
    assert drifts(written, later) == [
        "secrets.database.roles.app.ttl: the scenario has 1h, the installation 30m",
        "secrets.secret.type: the scenario has kv-2, the installation kv-1",
        "secrets.transit.keys.orders.type: the scenario has rsa-4096, the installation aes256-gcm96",
    ]
    assert drifts(written.model_copy(update={"secrets": {}}), later) == []


# --- great sizes ---


def test_two_hundred_roles_over_eight_mounts() -> None:
    """They become a scenario in a fraction of five seconds."""
    mounts = [*HOSTILE[:7], "kubernetes"]
    answers = vault() | {"sys/auth": data(**{f"{path}/": {"type": "kubernetes"} for path in mounts})}
    for path in mounts:
        roles = {f"role-{number}": role([f"app-{number}", "app-*"], ["apps"], [f"p{number}"]) for number in range(25)}
        answers |= mount(path, roles)
    answers |= {f"sys/policies/acl/p{number}": data(policy='path "secret/data/x" { capabilities = ["read"] }')
                for number in range(25)}  # fmt: skip
    before = time.process_time()
    made = compose(merge([read(OnPaper(answers))]), Wishes(target="1.16.3"), Names())
    found = loading.loads(scenario_text.written(made.document, made.comments))
    assert len(found.scenario.apps) == 200
    assert time.process_time() - before < 5


# --- the command line ---


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "--vault-addr"),
        (["--vault-addr", "vault.example.com"], "https://"),
        (["--vault-addr", "https://me:secret@vault.example.com"], "with no name in it"),
        (["--vault-addr", "https://v", "--vault-ca-file", "no/such"], "no such file"),
        (["--vault-addr", "https://v", "--reviewer", "kubernetes=nobody"], "none of none, client-jwt"),
        (["--vault-addr", "https://v", "--configured", "kubernetes"], "NAME=WORD"),
        (["--vault-addr", "https://v", "--vault-token-file", "no/such"], "cannot be read"),
    ],
)
def test_what_cannot_be_meant_is_usage(words: list[str], said: str) -> None:
    result = CliRunner().invoke(main, ["import", *words])
    assert result.exit_code == 2
    assert said in result.stderr
    assert "secret@" not in result.stderr


def test_no_token_is_taken_on_the_command_line() -> None:
    """There is no option for it."""
    names = [name for option in main.commands["import"].params for name in option.opts]
    assert "--vault-token" not in names


def test_nothing_is_written_over(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("mine")
    result = CliRunner().invoke(main, ["import", "--vault-addr", "https://127.0.0.1:1", "-o", str(file)])
    assert result.exit_code == 2
    assert file.read_text() == "mine"


@pytest.mark.parametrize(
    ("algorithms", "says", "notes"),
    [
        (["RS256"], None, ""),
        (["ES384", "ES384"], "ES384", ""),
        (["ES256"], "ES256", ""),
        (["ES512"], "ES512", ""),
        (["RS256", "ES256"], None, "Its keys are for ES256 and RS256: which signs now is not known, RS256 is assumed."),
        ([], None, ""),
    ],
)
def test_a_cluster_signs_as_its_keys_are(algorithms: list[str], says: str | None, notes: str) -> None:
    keys = tuple(pki.Signer(one).public_key for one in algorithms)
    said = Installation(clusters={"apps": ClusterPart(version="1.32.0", issuer="https://x.example.com", keys=keys)})
    document, told = Clusters(said, Names()).document("apps")
    assert document.get("signing-algorithm") == says
    assert [one for one in told if "keys" in one] == ([notes] if notes else [])
