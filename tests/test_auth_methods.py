"""Auth mounts of other kinds: what can be said of them, what is asked there, and what no record shows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.analysis.rules import RULES
from harness.errors import ScenarioError
from harness.knowledge import jwt_auth, secret_logins
from harness.record.events import AuthEnabled, CredentialsMade, RoleWritten, TokenIssued
from harness.scenario import loading, mount_kinds, plan
from harness.scenario.course import WriteConfig, WriteRole
from tests.runs import SCENARIOS, on_paper

BESIDE = SCENARIOS / "secret-ids-and-passwords-log-in-as-before-beside-kubernetes.yaml"


def written(**parts: Any) -> str:
    """Return a scenario of approle and userpass as text, with parts replaced."""
    document = {
        "schema": 1,
        "description": "Secrets.",
        "clusters": {"main": {"kubernetes": "1.32.0"}},
        "vault": {"source": "1.7.0", "target": "1.11.0"},
        "auth": {
            "approle": {"type": "approle", "roles": {"batch": {"policies": ["batch"]}}},
            "people": {"type": "userpass", "roles": {"alice": {}}},
        },
        "apps": {"batch": {"mount": "approle", "role": "batch"}, "alice": {"mount": "people", "role": "alice"}},
    }
    return yaml.safe_dump(document | parts, sort_keys=False)


def problems(text: str) -> list[tuple[str, str]]:
    """Return what is wrong with a scenario: each problem's message, and the text that it points at."""
    with pytest.raises(ScenarioError) as caught:
        loading.loads(text)
    lines = text.splitlines()
    return [(one.message, lines[one.line - 1][one.column - 1 :]) for one in caught.value.problems]


MOUNT = {"type": "approle", "roles": {"batch": {}}}
BINDS = {"service-accounts": ["a"], "namespaces": ["b"]}
APPS = {"batch": {"role": "batch"}}


@pytest.mark.parametrize(
    ("mount", "message", "at"),
    [
        (MOUNT | {"reviewer": "secret"}, "a mount of type approle has no reviewer", "secret"),
        (MOUNT | {"cluster": "main"}, "a mount of type approle has no cluster", "main"),
        (MOUNT | {"config": {"issuer": "cluster"}}, "a mount of type approle has no config", "issuer: cluster"),
        (
            MOUNT | {"roles": {"batch": {"service-accounts": ["web"]}}},
            "a role of a mount of type approle has no service-accounts",
            "- web",
        ),
        (
            {"type": "userpass", "roles": {"batch": {"secret-id-ttl": "1h"}}},
            "a user of a mount of type userpass has no secret-id-ttl",
            "1h",
        ),
        (
            {
                "cluster": "main",
                "roles": {"batch": {"service-accounts": ["a"], "namespaces": ["b"], "secret-id-ttl": "1h"}},
            },
            "a role of a mount of type kubernetes has no secret-id-ttl",
            "1h",
        ),
    ],
)
def test_a_key_of_another_kind_of_mount_is_refused_where_it_stands(
    mount: dict[str, Any], message: str, at: str
) -> None:
    found = problems(written(auth={"only": mount}, apps=APPS))
    assert (message, at) in found


def test_an_app_needs_what_its_mount_takes_and_no_more() -> None:
    """Where a token of a service account logs in there has to be one; where a secret does there is none."""
    text = written(
        auth={"kubernetes": {"cluster": "main", "roles": {"web": BINDS}}},
        apps={"web": {"role": "web"}},
    )
    assert [message for message, _ in problems(text)] == [
        "missing key `cluster` in apps.web",
        "missing key `service-account` in apps.web",
    ]
    strange = written(auth={"approle": MOUNT}, apps={"batch": {"role": "batch", "audience": "vault"}})
    assert problems(strange) == [("an app that logs in at a mount of type approle has no audience", "vault")]


def test_a_mount_that_names_no_kind_needs_its_cluster_and_whom_its_roles_bind() -> None:
    text = written(auth={"kubernetes": {"roles": {"batch": {"namespaces": ["b"]}}}}, apps=APPS)
    said = [message for message, _ in problems(text)]
    assert "missing key `cluster` in auth.kubernetes" in said
    assert "missing key `service-accounts` in auth.kubernetes.roles.batch" in said


def test_a_mount_without_a_config_has_none_to_write() -> None:
    course = [{"write": {"mount": "approle", "config": {"issuer": "cluster"}}}]
    text = written(vault={"source": "1.7.0"}, course=course)
    assert "auth/approle is of type approle, which has no config to write" in [said for said, _ in problems(text)]


def test_users_of_userpass_are_called_by_their_name_in_vault() -> None:
    text = written(auth={"people": {"type": "userpass", "users": {"alice": {}}}}, apps={"alice": {"role": "alice"}})
    with pytest.raises(ScenarioError) as caught:
        loading.loads(text)
    assert any("it is called `roles` here: of userpass, its users" in one.remedy for one in caught.value.problems)


# --- what is planned, and what happens ---


def test_each_kind_is_asked_what_it_can_answer() -> None:
    planned = plan.make(loading.load(BESIDE).scenario, "test", "local")
    asked = {(one.probe, one.app or one.mount) for one in planned.questions}
    assert ("auth-config", "kubernetes") in asked
    assert not asked & {("auth-config", "approle"), ("auth-config", "people"), ("tampered-jwt", "batch")}
    assert asked >= {
        ("wrong-secret", "batch"),
        ("unknown-role", "alice"),
        ("lockout", "people"),
        ("lockout", "approle"),
    }
    assert ("lockout", "kubernetes") not in asked
    assert [step.mount for step in planned.steps if isinstance(step, WriteConfig)] == ["kubernetes"]
    written_roles = [(step.mount, step.role) for step in planned.steps if isinstance(step, WriteRole)]
    # nobody whom an app needs is locked out by the question whether somebody can be
    assert written_roles.count(("people", plan.LOCKOUT_ROLE)) == 1
    assert not any("lockout" in app.role for app in planned.resolved.apps.values())


def test_only_what_an_api_server_reviews_is_told_as_reviewed(tmp_path: Path) -> None:
    record, judgement = on_paper(loading.load(BESIDE).scenario, tmp_path)
    assert {row.app for row in judgement.reviewing} == {"web"}
    assert {config.mount for config in judgement.configs} == {"kubernetes"}
    assert {(one.mount, one.kind) for one in record.of(AuthEnabled)} == {("approle", "approle"), ("people", "userpass")}
    assert {token.purpose.partition(":")[2] for token in record.of(TokenIssued)} >= {"web"}
    assert not any(token.purpose.endswith((":batch", ":alice")) for token in record.of(TokenIssued))


def test_no_secret_of_a_login_is_in_the_record(tmp_path: Path) -> None:
    """Of a secret ID and a password the record has a keyed hash, and of a write to a user no password at all."""
    record, _ = on_paper(loading.load(BESIDE).scenario, tmp_path)
    made = record.of(CredentialsMade)
    assert {(one.mount, one.role) for one in made} >= {("approle", "batch"), ("people", "alice")}
    assert all(one.secret.startswith("secret:") for one in made)
    assert not any("password" in one.fields for one in record.of(RoleWritten))
    text = (tmp_path / "record.jsonl").read_text()
    assert "paper-secret-id-of" not in text
    assert "paper-role-id-of" not in text


def test_a_rule_is_asked_of_no_mount_of_another_kind() -> None:
    """A reviewer explains nothing where nobody reviews: each rule says of which kinds it speaks."""
    of_reviews = [rule for rule in RULES if "review" in rule.name or rule.name == "client-jwt-not-accepted"]
    assert len(of_reviews) > 5
    assert {kind for rule in of_reviews for kind in rule.kinds} == {mount_kinds.KUBERNETES}
    assert {kind for rule in RULES for kind in rule.kinds} == set(mount_kinds.NAMES)


@pytest.mark.parametrize(
    ("kind", "refusal", "version", "answer"),
    [
        ("userpass", "wrong secret", "1.12.0", (400, "invalid username or password")),
        ("userpass", "wrong secret", "1.13.0", (500, "invalid username or password")),
        ("userpass", "unknown name", "1.13.0", (400, "invalid username or password")),
        ("approle", "wrong secret", "1.13.0", (500, "invalid secret id")),
        ("approle", "unknown name", "1.12.0", (400, "invalid role ID")),
        ("approle", "wrong secret", "1.13.10", (400, "invalid role or secret ID")),
        ("approle", "unknown name", "1.16.3", (400, "invalid role or secret ID")),
        ("approle", "locked out", "1.13.0", (403, "permission denied")),
    ],
)
def test_what_a_version_answers_is_known(
    kind: str, refusal: secret_logins.Refusal, version: str, answer: tuple[int, str]
) -> None:
    """As bare Vaults answered: 1.4.0, 1.11.0, 1.12.0, 1.13.0 and 1.16.3."""
    assert secret_logins.answer(kind, refusal, version) == answer


# --- tokens whose signature Vault checks itself ---


def jwt_mount(**said: Any) -> dict[str, Any]:
    return {"type": "jwt", "roles": {"batch": {"bound-subject": "batch"}}} | said


@pytest.mark.parametrize(
    ("mount", "app", "message"),
    [
        (jwt_mount(reviewer="secret"), {}, "a mount of type jwt has no reviewer"),
        (jwt_mount(roles={"batch": {"policies": ["a"]}}), {}, "Vault refuses this role: must have at least one bound"),
        (jwt_mount(config={"issuer": "x"}), {}, "the config of a mount of type jwt has no issuer"),
        (jwt_mount(config={"jwt_validation_pubkeys": ["gone"]}), {}, "there is no cluster gone"),
        (
            jwt_mount(config={"jwt_validation_pubkeys": ["cluster"]}),
            {},
            "this mount has no cluster, and so no keys",
        ),
        (jwt_mount(), {"service-account": "a/b"}, "an app with a minted token has no service-account"),
        (
            {"cluster": "main", "roles": {"batch": BINDS}},
            {"cluster": "main", "service-account": "a/b"},
            "a mount of type kubernetes takes tokens of service accounts, and this one is minted elsewhere",
        ),
        (
            {"cluster": "main", "config": {"bound_issuer": "x"}, "roles": {"batch": BINDS}},
            {},
            "the config of a mount of type kubernetes has no bound_issuer",
        ),
    ],
)
def test_what_a_jwt_mount_cannot_have_is_refused(mount: dict[str, Any], app: dict[str, Any], message: str) -> None:
    text = written(auth={"only": mount}, apps={"batch": {"role": "batch", "token": "minted"} | app})
    assert any(said.startswith(message) for said, _ in problems(text))


@pytest.mark.parametrize(
    ("version", "needs"),
    [("1.4.0", True), ("1.6.0", True), ("1.7.0", False), ("1.13.0", False), ("1.16.3", True), ("1.17.0", True)],
)
def test_one_text_as_audience_is_not_taken_alike_by_all(version: str, needs: bool) -> None:
    """As bare Vaults answered, but for 1.17.0; a list needs bound audiences in each."""
    assert jwt_auth.needs_bound_audiences(version, listed=False) is needs
    assert jwt_auth.needs_bound_audiences(version, listed=True)


def test_a_role_that_binds_no_subject_admits_every_account() -> None:
    """No probe demands a refusal that nobody promised."""
    roles = {"batch": {"bound-audiences": ["vault"]}}
    app = {"role": "batch", "cluster": "main", "service-account": "a/b", "audience": "vault"}
    text = written(auth={"only": jwt_mount(cluster="main", roles=roles)}, apps={"batch": app})
    planned = plan.make(loading.loads(text).scenario, "test", "local")
    assert not {one.probe for one in planned.questions} & {"wrong-service-account", "wrong-namespace"}
    assert any("binds no subject" in why for why in planned.not_asked)


def test_a_token_that_is_good_for_nothing_from_the_start_is_no_pass(tmp_path: Path) -> None:
    """What the first sentence says to write is what has to be written, once."""
    roles = {"batch": {"policies": ["batch"], "bound-cidrs": ["10.0.0.0/8"]}}
    said = {"auth": {"approle": {"type": "approle", "roles": roles}}}
    said |= {"apps": {"batch": {"mount": "approle", "role": "batch"}}}
    _, judgement = on_paper(loading.loads(written(**said)).scenario, tmp_path)
    assert (judgement.outcome, judgement.exit_code) == ("inconclusive", 4)
    assert "mend what decides it here: auth.approle.roles.batch.bound-cidrs (10.0.0.0/8). If" in judgement.reasons[0]
    assert "expect: [{change: refused from the start, app: batch}]" in judgement.reasons[0]
    expected = [{"change": "refused from the start", "app": "batch"}]
    _, known = on_paper(loading.loads(written(**said, expect=expected)).scenario, tmp_path / "known")
    assert known.exit_code == 0, (known.missed, known.unexpected)


def test_a_secret_id_that_the_looks_used_up_is_no_doing_of_a_version(tmp_path: Path) -> None:
    roles = {"batch": {"policies": ["batch"], "secret-id-num-uses": 2}}
    said = {
        "auth": {"approle": {"type": "approle", "roles": roles}},
        "apps": {"batch": {"mount": "approle", "role": "batch"}},
        "vault": {"source": "1.7.0", "via": ["1.8.0"], "target": "1.9.2"},
    }
    _, judgement = on_paper(loading.loads(written(**said)).scenario, tmp_path)
    (finding,) = [one for one in judgement.findings if one.effect == "login refused"]
    assert (finding.kind, finding.rule, finding.hop) == ("latent", "secret-not-accepted", "1.9.2")
    assert "It was made for 2 logins (secret_id_num_uses of its role then)" in finding.sentence
    assert "no version has to do with that" in finding.sentence
    assert finding.outlook is None, "no Pod of production is refused for it"
    assert (judgement.verdict, judgement.exit_code) == ("inconclusive", 4)
    (doubt,) = judgement.doubts
    assert (doubt.kind, doubt.apps) == ("unlearned", ("batch",))
    assert "Say 0, or 3 or more, in auth.approle.roles.batch.secret-id-num-uses" in doubt.text
    expected = [{"change": "login refused", "app": "batch", "cause": "secret-not-accepted"}]
    _, known = on_paper(loading.loads(written(**said, expect=expected)).scenario, tmp_path / "known")
    assert (known.verdict, known.exit_code, known.doubts) == ("pass", 0, ())


def test_apps_that_share_a_secret_id_that_the_looks_used_up_are_one_doubt(tmp_path: Path) -> None:
    roles = {"batch": {"policies": ["batch"], "secret-id-num-uses": 3}}
    said = {
        "auth": {"approle": {"type": "approle", "roles": roles}},
        "apps": {name: {"mount": "approle", "role": "batch"} for name in ("one", "two")},
        "vault": {"source": "1.7.0", "via": ["1.8.0"], "target": "1.9.2"},
    }
    _, judgement = on_paper(loading.loads(written(**said)).scenario, tmp_path)
    (doubt,) = judgement.doubts
    assert (doubt.kind, doubt.apps) == ("unlearned", ("two", "one"))
    assert doubt.text.startswith(
        "Do two (after 1.8.0), one (after 1.9.2) log in? Nothing was learned of it: the secret ID"
    )
    assert "that one and two share is good for 3 logins" in doubt.text
    assert "Say 0, or 6 or more, in auth.approle.roles.batch.secret-id-num-uses" in doubt.text
    expected = [{"change": "login refused", "app": name, "cause": "secret-not-accepted"} for name in ("one", "two")]
    _, known = on_paper(loading.loads(written(**said, expect=expected)).scenario, tmp_path / "known")
    assert (known.verdict, known.exit_code, known.doubts) == ("pass", 0, ())


def test_a_secret_that_ended_for_another_reason_is_no_doing_of_the_looks(tmp_path: Path) -> None:
    """It has uses left: what refuses it is then the version's, or the data's."""
    roles = {"batch": {"policies": ["batch"], "secret-id-num-uses": 9}}
    said = {
        "auth": {"approle": {"type": "approle", "roles": roles}},
        "apps": {"batch": {"mount": "approle", "role": "batch"}},
        "vault": {"source": "1.7.0", "via": ["1.8.0"], "target": "1.9.2"},
    }
    _, judgement = on_paper(loading.loads(written(**said)).scenario, tmp_path)
    assert judgement.findings == ()


def test_a_template_for_another_mount_is_why_a_policy_grants_nothing(tmp_path: Path) -> None:
    """A policy that was copied out of a Vault has the accessor of that Vault's mount."""
    path = "secret/data/{{identity.entity.aliases.auth_kubernetes_d8fd9599.metadata.service_account_namespace}}/*"
    role = {"service-accounts": ["shop"], "namespaces": ["shop"], "policies": ["own"]}
    said = {
        "clusters": {"main": {"kubernetes": "1.32.0"}},
        "vault": {"cluster": "main", "source": "1.10.0", "target": "1.13.0"},
        "auth": {"kubernetes": {"cluster": "main", "reviewer": "local", "roles": {"shop": role}}},
        "policies": {"own": f'path "{path}" {{ capabilities = ["read"] }}'},
        "apps": {
            "shop": {"cluster": "main", "service-account": "shop/shop", "role": "shop", "reads": ["secret/shop/db"]}
        },
    }
    _, judgement = on_paper(loading.loads(written(**said)).scenario, tmp_path)
    (finding,) = judgement.findings
    assert (finding.effect, finding.rule) == ("refused from the start", "policy-denies")
    assert "A rule with a template for auth_kubernetes_d8fd9599 grants nothing" in finding.sentence
    assert "in a scenario it is called auth/kubernetes" in finding.sentence
