"""Courses and parts that contradict themselves are refused before anything starts, each at its line and column."""

from __future__ import annotations

from typing import Any, Final

import pytest
import yaml

from harness.errors import ScenarioError
from harness.scenario import loading
from harness.scenario.schema import Scenario

ROLE: Final = {"service-accounts": ["web"], "namespaces": ["apps"], "policies": ["web"]}


def text(*steps: dict[str, Any], app: Any = None, mount: Any = None, role: Any = None, vault: Any = None) -> str:
    """Return a scenario with a course of *steps*; the others replace keys of its app, mount, role and Vault."""
    document = {
        "schema": 1,
        "description": "A course that contradicts itself.",
        "clusters": {"apps": {"kubernetes": "1.32.0"}},
        "vault": {"source": "1.9.2", **(vault or {})},
        "auth": {"kubernetes": {"cluster": "apps", "reviewer": "secret", "roles": {"web": ROLE | (role or {})}}},
        "apps": {"web": {"cluster": "apps", "service-account": "apps/web", "role": "web", **(app or {})}},
        "course": list(steps),
    }
    document["auth"]["kubernetes"] |= mount or {}  # type: ignore[index]
    return yaml.safe_dump(document, sort_keys=False)


def problem(written: str, at: str) -> tuple[str, str]:
    """Return what the one problem of *written* is and what would be right; it is marked where *at* stands."""
    with pytest.raises(ScenarioError) as caught:
        loading.loads(written)
    (found,) = caught.value.problems
    line = written.splitlines()[found.line - 1]
    assert found.column <= len(line)
    assert at in line, line
    return found.message, found.remedy


UPGRADE: Final = {"upgrade": "1.11.0"}
SECRET: Final = {"token": "secret"}
WRONG: Final[dict[str, tuple[str, str, str]]] = {
    # what is written, where it is marked, and what is said
    "back before any upgrade": (text({"roll-back": "binary"}), "roll-back", "nothing was upgraded before this step"),
    "back over no snapshot": (text(UPGRADE, {"roll-back": "snapshot"}), "roll-back", "no snapshot was taken before"),
    "restored without a snapshot": (text({"restore": {}}), "restore", "no snapshot was taken before this step"),
    "back twice": (
        text(UPGRADE, {"roll-back": "binary"}, {"roll-back": "binary"}),
        "roll-back",
        "nothing was upgraded",
    ),
    "the version that serves": (text({"upgrade": "1.9.2"}), "upgrade", "Vault 1.9.2 serves already"),
    "an older version": (text({"upgrade": "1.8.0"}), "upgrade", "Vault 1.8.0 is older than 1.9.2"),
    "no verb": (text({"then-look": True}), "then-look", "step 1 has no verb"),
    "two verbs": (text({"restart": {}, "look": {}}), "restart", "step 1 has several verbs: restart, look"),
    "a field before its time": (
        text(
            {"write": {"config": {"disable_local_ca_jwt": True}}},
            vault={"source": "1.4.0", "storage": "file"},
        ),
        "disable_local_ca_jwt",
        "disable_local_ca_jwt is unknown to Vault 1.4.0, which serves at this step",
    ),
    "a role's field before its time": (
        text({"write": {"role": "web", "alias-name-source": "serviceaccount_name"}}, vault={"source": "1.8.0"}),
        "alias-name-source",
        "alias_name_source is unknown to Vault 1.8.0, which serves at this step",
    ),
    "a role's field before its time, at the start": (
        text(UPGRADE, role={"alias-name-source": "serviceaccount_name"}, vault={"source": "1.8.0"}),
        "alias-name-source",
        "alias_name_source is unknown to Vault 1.8.0",
    ),
    "the field of a role without a role": (
        text({"write": {"alias-name-source": "serviceaccount_uid"}}),
        "alias-name-source",
        "`alias-name-source` is of a role, and none is named",
    ),
    "a Pod that is not there": (text({"replace-pod": "vault"}), "replace-pod", "has no Pod"),
    "a Secret of nobody": (text({"delete-secret": {}}), "delete-secret", "names nobody"),
    "two Secrets": (
        text({"delete-secret": {"reviewer": "kubernetes", "app": "web"}}, app=SECRET),
        "reviewer: kubernetes",
        "names two Secrets",
    ),
    "a Secret that the app has not": (
        text({"delete-secret": {"app": "web"}}),
        "app: web",
        "the token of web is that of its Pod, out of no Secret",
    ),
    "an app that is not there": (
        text({"delete-secret": {"app": "wbe"}}, app=SECRET),
        "app: wbe",
        "there is no app wbe",
    ),
    "a Secret twice": (
        text({"delete-secret": {"app": "web"}}, UPGRADE, {"delete-secret": {"app": "web"}}, app=SECRET),
        "app: web",
        "an earlier step has deleted the Secret of web already",
    ),
    "a reviewer's Secret twice": (
        text({"delete-secret": {"reviewer": "kubernetes"}}, {"delete-secret": {"reviewer": "kubernetes"}}),
        "reviewer: kubernetes",
        "an earlier step has deleted the Secret of kubernetes already",
    ),
    "an audience of a Secret's token": (
        text(UPGRADE, app=SECRET | {"audience": "vault"}),
        "audience",
        "`audience` is asked for a projected token, and this one is out of a Secret",
    ),
    "a life of a Secret's token": (
        text(UPGRADE, app=SECRET | {"token-expires": "1h"}),
        "token-expires",
        "`token-expires` is asked for a projected token",
    ),
    "the same audience twice": (text(UPGRADE, app={"audience": ["vault", "vault"]}), "- vault", "apps.web.audience"),
    "no audience at all": (text(UPGRADE, app={"audience": []}), "audience", "apps.web.audience is empty"),
    "somebody's server": (
        text(UPGRADE, mount={"config": {"kubernetes_host": "https://10.0.0.1:6443"}}),
        "kubernetes_host",
        "auth.kubernetes.config.kubernetes_host",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_contradiction_is_refused_where_it_stands(name: str) -> None:
    written, at, words = WRONG[name]
    message, remedy = problem(written, at)
    assert words in message
    assert remedy


def test_a_host_of_somebody_is_refused_with_the_reason() -> None:
    """A rehearsal sends its tokens to no server but its own."""
    somebodys = (
        "https://10.0.0.1:6443",
        "https://kubernetes.default.svc.example",
        "https://kubernetes.default.svc:6443",
    )
    for host in (*somebodys, "http://kubernetes.default.svc", "127.0.0.1:1", "https://127.0.0.1.example"):
        _, remedy = problem(text(UPGRADE, mount={"config": {"kubernetes_host": host}}), "kubernetes_host")
        assert "a rehearsal sends its tokens to no server but its own" in remedy


BY_NAME: Final = "https://kubernetes.default.svc"


@pytest.mark.parametrize(
    "host", ["cluster", "https://127.0.0.1:1", "http://localhost:1", "https://gone.invalid:6443", BY_NAME]
)
def test_a_host_at_which_nobody_is_can_be_said(host: str) -> None:
    scenario = loading.loads(text(UPGRADE, mount={"config": {"kubernetes_host": host}})).scenario
    config = scenario.auth["kubernetes"].config
    assert config is not None
    assert config.kubernetes_host == host


def test_one_audience_is_a_list_of_one() -> None:
    """As text or as a list: the scenario that is kept in a record reads the same."""
    one, several = (
        loading.loads(text(UPGRADE, app={"audience": said})).scenario for said in ("vault", ["vault", "cluster"])
    )
    assert (one.apps["web"].audience, several.apps["web"].audience) == (("vault",), ("vault", "cluster"))
    for scenario in (one, several):
        assert Scenario.model_validate_json(scenario.model_dump_json(by_alias=True)) == scenario


def test_a_template_of_a_policy_that_names_no_mount_is_refused_with_its_line() -> None:
    path = "secret/data/{{identity.entity.aliases.auth/k8s.metadata.service_account_name}}"
    policies = {"policies": {"web": f'path "{path}" {{ capabilities = ["read"] }}'}}
    message, remedy = problem(text(UPGRADE) + yaml.safe_dump(policies), "web")
    assert message == "a template of this policy names auth/k8s, which is no auth mount"
    assert "kubernetes" in remedy
