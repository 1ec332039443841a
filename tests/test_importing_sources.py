"""Clusters, Terraform and Helm as sources of an import: what each says, and what of it cannot be read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from harness.cli.commands import main
from harness.importing import helm, kube_questions, terraform
from harness.importing.asking import Answer
from harness.importing.installation import OUTSIDE, Installation, MountPart, Seen, VaultPart
from harness.importing.merging import merge
from harness.scenario import loading
from harness.scenario.loading import Loaded
from harness.session.import_sources import run
from tests.importing import ENGINES, OnPaper, mount, role, scenario, vault
from tests.test_importing import read as read_vault

RBAC = "/apis/rbac.authorization.k8s.io/v1"
PEM = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
CANARY = "tell-tale-of-a-reviewer"


# --- clusters ---


class Cluster(OnPaper):
    """An API server on paper; questions are known by their path without what is chosen of it."""

    def ask(self, questions: Any) -> Any:
        self.asked += questions
        missing = Answer(404, {}, "not found")
        return {
            one: self.answers.get(one.path, self.answers.get(one.path.partition("?")[0], missing)) for one in questions
        }


def items(*found: dict[str, Any]) -> Answer:
    return Answer(200, {"items": list(found), "metadata": {}})


def account(name: str) -> dict[str, Any]:
    space, _, own = name.partition("/")
    return {"metadata": {"namespace": space, "name": own}}


def binding(role: str, *subjects: dict[str, str]) -> dict[str, Any]:
    return {"roleRef": {"kind": "ClusterRole", "name": role}, "subjects": list(subjects)}


def cluster(**more: Answer) -> dict[str, Answer]:
    """Return the answers of a cluster in which Vault runs, and two apps."""
    delegator = {"apiGroups": ["authentication.k8s.io"], "resources": ["tokenreviews"], "verbs": ["create"]}
    secret = account("ops/token-1")
    secret["metadata"]["annotations"] = {"kubernetes.io/service-account.name": "reviewer"}
    pod = account("vault/vault-0") | {
        "spec": {
            "serviceAccountName": "vault",
            "containers": [{"name": "vault", "image": "registry.example.com/hashicorp/vault:1.13.1@sha256:00"}],
        },
        "status": {"phase": "Running"},
    }
    pod["metadata"]["labels"] = {"app.kubernetes.io/name": "vault", "component": "server"}
    return {
        "/version/": Answer(200, {"gitVersion": "v1.29.4-eks-036c24b"}),
        "/.well-known/openid-configuration": Answer(200, {"issuer": "https://oidc.example.com/id/1"}),
        "/openid/v1/jwks": Answer(200, {"keys": [{"kty": "nonsense"}]}),
        f"{RBAC}/clusterrolebindings": items(
            binding("system:auth-delegator", {"kind": "ServiceAccount", "namespace": "apps", "name": "web"}),
            binding("my-own", {"kind": "Group", "name": "system:serviceaccounts:vault"}),
            binding("view", {"kind": "ServiceAccount", "namespace": "apps", "name": "api"}),
        ),
        f"{RBAC}/clusterroles": items(
            {"metadata": {"name": "system:auth-delegator"}, "rules": [delegator]},
            {"metadata": {"name": "my-own"}, "rules": [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]},
            {"metadata": {"name": "view"}, "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]},
        ),
        "/api/v1/serviceaccounts": items(account("apps/web"), account("apps/api"), account("vault/vault")),
        "/api/v1/secrets": items(secret),
        "/api/v1/pods": items(pod),
        **more,
    }


def read(answers: dict[str, Answer], holds_vault: bool | None = None) -> Seen:
    paper = Cluster(answers)
    asking = kube_questions.read("apps", host="https://k.example.com", ca=PEM, verified=True, holds_vault=holds_vault)
    seen = run(asking, paper)
    assert all(one.accept != "application/json" for one in paper.asked if "/secrets" in one.path)
    return seen


def test_a_cluster_says_who_may_review_and_where_vault_runs() -> None:
    """Its version, issuer, accounts, Secrets by name alone, and Vault's Pod: without a token, as it was admitted."""
    seen = read(cluster())
    assert seen.gaps == ()
    part, server = seen.said.clusters["apps"], seen.said.vault
    assert (part.version, part.issuer, part.secrets) == ("1.29.4", "https://oidc.example.com/id/1", ("ops/reviewer",))
    assert [part.may_review(one) for one in ("apps/web", "vault/any", "apps/api", "ops/reviewer")] == [
        True, True, False, False,
    ]  # fmt: skip
    assert (server.version, server.cluster, server.service_account, server.token_file) == (
        "1.13.1", "apps", "vault/vault", False,
    )  # fmt: skip


def test_a_cluster_and_a_vault_make_one_scenario() -> None:
    """The mount is of the cluster by its address, the app is one that is there, a stored reviewer has an account."""
    answers = vault("1.13.1", kubernetes_host="https://K.example.com:443/", issuer="")
    answers |= mount(
        "kubernetes", {"web": role(["w*", "api"], ["apps"], ["web"])}, kubernetes_host="https://k.example.com"
    )
    found = scenario([read_vault(OnPaper(answers)), read(cluster())])
    said = found.scenario
    assert list(said.clusters) == ["apps"]
    assert (said.vault.cluster, said.vault.token_file) == ("apps", False)
    assert (said.apps["web"].service_account, said.apps["web"].may_review_tokens) == ("apps/api", False)
    assert said.matrix is not None
    assert said.matrix.axes["reviewer"]["secret"]["auth.kubernetes.reviewer-service-account"] == "ops/reviewer"
    assert said.matrix.axes["reviewer"]["secret"]["auth.kubernetes.reviewer-may-review-tokens"] is False
    assert "vault-runs" not in said.matrix.axes


def test_a_name_that_pods_alone_know_stays_one_where_vault_is_in_no_cluster() -> None:
    """Else it is the API server of the cluster that Vault is in, by whatever name; a comment says so for another's."""
    host = "https://kubernetes.default.svc:443"
    answers = vault("1.13.1") | mount("kubernetes", {"web": role(["web"], ["apps"])}, kubernetes_host=host)

    def imported(place: str, of_mount: str | None = None) -> Loaded:
        mounts = {"kubernetes": MountPart(cluster=of_mount, reviewer="secret")}
        told = Seen(source="me", said=Installation(vault=VaultPart(cluster=place), mounts=mounts))
        return scenario([told, read_vault(OnPaper(answers)), read(cluster(), holds_vault=False)])

    for place, of_mount, wanted, comment in (
        (OUTSIDE, None, host, "Only Pods know that name"),
        ("apps", None, "cluster", ""),
        ("platform", "apps", "cluster", "For Vault, in platform, that is the API server of its own cluster"),
    ):
        found = imported(place, of_mount)
        config = found.scenario.auth["kubernetes"].config
        assert config is not None
        assert config.kubernetes_host == wanted
        assert found.scenario.auth["kubernetes"].cluster == "apps"
        assert comment in " ".join(found.text.replace("#", "").split())


def test_long_lists_are_read_page_by_page() -> None:
    first = "/api/v1/serviceaccounts?limit=500"
    pages = {
        first: Answer(200, {"items": [account("apps/web")], "metadata": {"continue": "x=1&y"}}),
        f"{first}&continue=x%3D1%26y": items(account("apps/zoo")),
    }
    assert read(cluster() | pages).said.clusters["apps"].accounts == ("apps/web", "apps/zoo")


@pytest.mark.parametrize("path", ["/clusterrolebindings", "/clusterroles", "/serviceaccounts", "/secrets", "/pods"])
def test_a_cluster_without_a_right_gives_the_rest(path: str) -> None:
    """What it refuses is named, and nothing is made of it."""
    answers = cluster()
    (refused,) = (one for one in answers if one.endswith(path))
    seen = read(answers | {refused: Answer(403, {}, f"cannot list resource {path}")})
    assert [path in gap.why for gap in seen.gaps] == [True]
    scenario([read_vault(OnPaper(vault())), seen])


def test_a_cluster_that_gives_no_answer_is_one_gap() -> None:
    nobody = Answer(None, error="no answer: refused")
    seen = read(dict.fromkeys(("/version/", "/.well-known/openid-configuration", "/openid/v1/jwks"), nobody))
    assert (seen.reached, len(seen.gaps)) == (False, 1)


# --- Terraform ---


def resource(kind: str, called: str = "this", /, **values: Any) -> dict[str, Any]:
    return {"address": f"{kind}.{called}", "mode": "managed", "type": kind, "name": called, "values": values}


def state(*resources: dict[str, Any], **more: Any) -> str:
    """Return a state as `terraform show -json` has it, its last resource in a module."""
    child = {"address": "module.inner", "resources": list(resources[-1:])}
    root = {"resources": list(resources[:-1]), "child_modules": [child]}
    return json.dumps({"format_version": "1.0", "terraform_version": "1.11.4", "values": {"root_module": root}, **more})


FILES = (
    resource("vault_auth_backend", path="k8s/prod", type="kubernetes", tune=[]),
    resource(
        "vault_kubernetes_auth_backend_config",
        backend="k8s/prod",
        kubernetes_host="https://k.example.com",
        kubernetes_ca_cert=PEM,
        token_reviewer_jwt=CANARY,
        disable_iss_validation=False,
        issuer="",
        pem_keys=None,
        an_attribute_of_a_later_release="x",
    ),
    resource(
        "vault_kubernetes_auth_backend_role",
        backend="k8s/prod",
        role_name="web",
        bound_service_account_names=["web"],
        bound_service_account_namespaces=["apps"],
        token_policies=["Web"],
        token_ttl=3600,
        audience=None,
    ),
    resource("vault_policy", name="Web", policy='path "kv/data/web" { capabilities = ["read"] }'),
    resource("vault_mount", path="kv", type="kv-v2", options=None),
    resource("vault_jwt_auth_backend", path="gitlab", type="jwt", oidc_client_secret=CANARY, jwks_url="https://g"),
    resource("vault_jwt_auth_backend_role", backend="gitlab", role_name="ci", bound_audiences=["v"], user_claim="sub"),
    resource("vault_kv_secret_v2", data_json=CANARY),
    resource("aws_instance", user_data=CANARY),
    resource("vault_approle_auth_backend_role", role_name="nightly", secret_id_ttl=60),
)


def test_a_state_becomes_a_scenario_and_its_secrets_stay_in_it() -> None:
    """Mounts, config, roles, policies, engines; that a reviewer is stored, and never the token."""
    seen = terraform.read("state.json", state(*FILES))
    assert seen.gaps == ()
    assert seen.said.mounts["k8s/prod"].reviewer_stored is True
    found = scenario([seen])
    assert CANARY not in found.text
    assert CANARY not in str(seen)
    said = found.scenario
    assert (said.auth["k8s/prod"].reviewer, said.auth["k8s/prod"].roles["web"].ttl) == ("secret", "1h")
    assert said.apps["web"].reads == ("kv/web",)
    assert set(said.auth) == {"k8s/prod", "gitlab", "approle"}
    assert "1 vault_kv_secret_v2" in found.text


def test_engines_and_token_roles_of_a_state_are_there_without_their_secrets() -> None:
    policy = resource("vault_policy", name="Web", policy=ENGINES)
    found = [
        resource("vault_mount", path="database", type="database"),
        resource("vault_database_secret_backend_connection", backend="database", name="app",
                 postgresql=[{"connection_url": CANARY, "password": CANARY}]),
        resource("vault_database_secret_backend_role", backend="database", name="app", default_ttl=3600,
                 creation_statements=[CANARY]),
        resource("vault_pki_secret_backend_role", backend="pki", name="web", allowed_domains=["a.b"], ttl="3600"),
        resource("vault_transit_secret_backend_key", backend="transit", name="orders", type="aes256-gcm96"),
        resource("vault_transit_secret_backend_key", backend="transit", name="invoices", type="aes256-gcm96"),
        resource("vault_token_auth_backend_role", role_name="maker", allowed_policies=["Web"], orphan=True),
    ]  # fmt: skip
    seen = terraform.read("state.json", state(*(one for one in FILES if one["type"] != "vault_policy"), policy, *found))
    assert seen.gaps == ()
    made = scenario([seen])
    said = made.scenario
    assert said.apps["maker"].reads == ("database/creds/app", "pki/issue/web", "transit/orders")
    assert (said.secrets["database"].roles["app"].ttl, said.secrets["pki"].roles["web"].ttl) == ("1h", "1h")
    assert set(said.secrets["transit"].keys) == {"orders"}
    assert "1 keys of which no policy" in made.text
    assert CANARY not in made.text + str(seen)


def test_a_plan_and_a_state_file_say_the_same() -> None:
    """The planned values of a plan, and the attributes of a state file, which nobody has shown."""
    planned = json.loads(state(*FILES))
    planned["planned_values"] = planned.pop("values")
    file = {
        "version": 4,
        "resources": [
            {"mode": "managed", "type": one["type"], "name": "this", "instances": [{"attributes": one["values"]}]}
            for one in FILES
        ],
    }
    whole = terraform.read("x", state(*FILES)).said
    assert terraform.read("x", json.dumps(planned)).said == whole
    assert terraform.read("x", json.dumps(file)).said == whole


@pytest.mark.parametrize("name", ["plan", "state", "state-file"])
def test_what_terraform_itself_writes_is_found(name: str) -> None:
    """These were written by Terraform 1.11.4 with its built-in provider: two modules, one resource counted twice."""
    text = (Path(__file__).parent / "data" / "terraform" / f"{name}.json").read_text()
    found = terraform.resources(json.loads(text))
    assert found is not None
    assert [one.type for one in found] == ["terraform_data"] * 3
    assert {one.address.partition(".terraform_data")[0] for one in found} == {"terraform_data.top", "module.inner"}
    assert "no resource of Vault's" in terraform.read(name, text).gaps[0].why


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no JSON"),
        ("{", "no JSON"),
        ("[" * 100_000, "no JSON"),
        ("[]", "neither"),
        ('{"a": 1}', "neither"),
        ('{"format_version": "1.0"}', "no resource"),
        ('{"version": 4, "resources": []}', "no resource"),
        ('{"meta": {}, "encrypted_data": "x", "encryption_version": "v0"}', "encrypted"),
        (
            json.dumps({"format_version": "9.9", "values": {"root_module": {"resources": [1, {"values": 2}]}}}),
            "no resource",
        ),
    ],
)
def test_what_is_no_plan_is_a_gap(text: str, why: str) -> None:
    seen = terraform.read("x.json", text)
    assert not seen.reached
    assert why in seen.gaps[0].why


def test_what_a_plan_knows_only_once_it_is_applied_is_a_gap() -> None:
    role_ = resource("vault_kubernetes_auth_backend_role", backend="kubernetes", bound_service_account_names=["web"])
    seen = terraform.read("plan.json", state(*FILES, role_))
    assert [gap.what for gap in seen.gaps] == ["vault_kubernetes_auth_backend_role.this of Terraform plan.json"]


def test_ten_megabytes_are_read(tmp_path: Path) -> None:
    """Through the command line, among many resources of others."""
    file = tmp_path / "state.json"
    others = [resource("aws_instance", f"n{number}", user_data="x" * 1000) for number in range(10_000)]
    file.write_text(state(*others, *FILES))
    assert file.stat().st_size > 10_000_000
    result = CliRunner().invoke(main, ["import", "--terraform", str(file), "--source", "1.13.1"])
    assert (result.exit_code, result.stderr) == (0, "")
    assert loading.loads(result.stdout).scenario.vault.source == "1.13.1"
    assert CANARY not in result.output


def test_drift_between_terraform_and_vault_is_told() -> None:
    """Vault is believed, and both are named."""
    answers = vault("1.13.1") | mount("k8s/prod", {"web": role(["web", "old"], ["apps"])}, disable_iss_validation=False)
    answers["sys/auth"] = Answer(200, {"data": {"k8s/prod/": {"type": "kubernetes"}}})
    found = merge([read_vault(OnPaper(answers)), terraform.read("state.json", state(*FILES))])
    told = [str(one) for one in found.conflicts]
    assert any("bound_service_account_names: Vault says web, old, Terraform state.json says web" in one for one in told)
    assert not any("disable_iss_validation" in one for one in told)


# --- Helm ---

VALUES = """\
global: {tlsDisable: false}
server:
  image: {repository: hashicorp/vault, tag: "1.16.3"}
  authDelegator: {enabled: true}
  ha:
    enabled: true
    replicas: 3
    raft:
      enabled: true
      config: |
        ui = true
        storage "raft" {
          path = "/vault/data"
        }
        seal "awskms" {
          kms_key_id = "x"
        }
"""


def test_values_of_the_chart_say_what_the_server_is(tmp_path: Path) -> None:
    """As YAML and as JSON: version, storage, seal, nodes."""
    for name, text in (("values.yaml", VALUES), ("values.json", json.dumps(yaml.safe_load(VALUES)))):
        file = tmp_path / name
        file.write_text(text)
        result = CliRunner().invoke(main, ["import", "--helm-values", str(file), "--vault-in", "platform"])
        assert result.exit_code == 4, result.output
        said = loading.loads(result.stdout).scenario
        assert (said.vault.source, said.vault.storage, said.vault.cluster) == ("1.16.3", "raft", "platform")
        assert "Sealed by awskms" in result.stdout
        assert "missing: auth mounts" in result.stderr


@pytest.mark.parametrize("values", [None, [], "x", {}, {"replicas": 1}])
def test_what_are_no_values_is_a_gap(values: Any) -> None:
    assert not helm.read("x", values).reached


def test_a_chart_for_a_vault_elsewhere_says_where_that_is() -> None:
    seen = helm.read("x", {"injector": {"externalVaultAddr": "https://vault.example.com"}})
    assert "https://vault.example.com" in seen.notes[0]


@pytest.mark.parametrize("option", ["--terraform", "--helm-values"])
def test_a_file_that_is_not_there_is_no_fault_of_ours(option: str) -> None:
    result = CliRunner().invoke(main, ["import", option, "no/such"])
    assert result.exit_code == 3
    assert "cannot be read" in result.stderr
    assert "Traceback" not in result.output
