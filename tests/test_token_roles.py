"""Token roles: whoever may make tokens by one gets what the role has, before an upgrade and after it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.record.observation import Observation
from harness.scenario import loading, plan
from tests.lent import Lender
from tests.runs import on_paper
from tests.test_auth_methods import problems

ROLES: dict[str, Any] = {
    "job": {"policies": ["job"], "period": "1h", "orphan": True},
    "once": {"policies": ["job"], "renewable": False, "explicit-max-ttl": "2h"},
    "batch": {"policies": ["job"], "token-type": "batch", "orphan": True, "renewable": False},
}
MUST_BE_REFUSED = ("wrong-secret", "unknown-role", "disallowed-policy")


def written(roles: dict[str, Any] = ROLES, path: str = "token", kind: str = "token") -> str:
    """Return a scenario with an app for each token role as text."""
    document = {
        "schema": 1,
        "description": "Token roles.",
        "clusters": {"main": {"kubernetes": "1.32.0"}},
        "vault": {"source": "1.7.0", "target": "1.11.0"},
        "auth": {path: {"type": kind, "roles": roles}},
        "apps": {name: {"role": name, "reads": ["secret/job"]} for name in roles},
    }
    return yaml.safe_dump(document, sort_keys=False)


@pytest.mark.parametrize(
    ("roles", "message", "at"),
    [
        ({"job": {"ttl": "1h"}}, "a role of a mount of type token has no ttl", "1h"),
        ({"job": {"secret-id-ttl": "1h"}}, "a role of a mount of type token has no secret-id-ttl", "1h"),
        (
            {"job": {"token-type": "batch", "orphan": True}},
            "Vault refuses this role: batch tokens are orphans, without renewals, period and explicit max TTL",
            "batch",
        ),
        (
            {"job": {"token-type": "batch", "orphan": True, "renewable": False, "explicit-max-ttl": "5h"}},
            "Vault refuses this role: batch tokens are orphans, without renewals, period and explicit max TTL",
            "batch",
        ),
        (
            {"job": {"token-type": "default"}},
            "Vault refuses this role: a role of auth/token has no token_type default",
            "default",
        ),
    ],
)
def test_what_a_token_role_cannot_have_is_refused_where_it_stands(roles: dict[str, Any], message: str, at: str) -> None:
    found = [(said, place) for said, place in problems(written(roles)) if said == message]
    assert found == [(message, at)]


def test_a_token_role_that_is_written_later_is_held_to_the_same() -> None:
    document = yaml.safe_load(written({"job": {"policies": ["job"]}}))
    del document["vault"]["target"]
    document["course"] = [{"write": {"mount": "token", "role": "job", "token-type": "default"}}]
    (found,) = problems(yaml.safe_dump(document, sort_keys=False))
    assert found == ("Vault refuses this role: a role of auth/token has no token_type default", "default")


@pytest.mark.parametrize(("path", "kind"), [("tokens", "token"), ("token", "userpass")])
def test_token_roles_are_at_one_path_and_nothing_else_is_there(path: str, kind: str) -> None:
    found = problems(written({"job": {}}, path, kind))
    assert "the token auth method is at auth/token, in every Vault, and nothing else is" in [said for said, _ in found]


def test_what_a_role_gives_decides_what_is_asked() -> None:
    wanted = plan.make(loading.loads(written()).scenario, "tokens", "local")
    renewed = {one.app for one in wanted.questions if one.probe == "token-renew"}
    assert renewed == {"job"}
    assert "token-renew for once: its role gives tokens that cannot be renewed" in wanted.not_asked
    assert not [line for line in wanted.assumed if "live as long as Vault's own default" in line]
    asked = {(one.app, one.probe) for one in wanted.questions}
    assert asked >= {(app, probe) for app in ROLES for probe in MUST_BE_REFUSED}


def test_on_paper_who_may_not_is_refused_and_everybody_else_is_not(tmp_path: Path) -> None:
    record, judgement = on_paper(loading.loads(written()).scenario, tmp_path)
    assert judgement.verdict == "pass", judgement.reasons
    refused = {seen.probe for seen in record.of(Observation) if seen.answer == "refused"}
    assert refused == set(MUST_BE_REFUSED)


@pytest.mark.real
def test_tokens_of_every_role_are_as_before_and_as_foretold(tmp_path: Path, lender: Lender) -> None:
    file = tmp_path / "tokens.yaml"
    file.write_text(written())
    code, judgement = lender.rehearse(file, tmp_path / "run")
    assert (code, judgement["verdict"], judgement["news"]) == (0, "pass", []), judgement["reasons"]
    seen = judgement["observations"]
    assert {one["probe"] for one in seen if one["answer"] != "granted"} == set(MUST_BE_REFUSED)
    given = {one["app"]: one["detail"] for one in seen if one["probe"] == "login" and one["moment"] != "before"}
    assert {app: (one["token_type"], one["renewable"]) for app, one in given.items()} == {
        "job": ("service", True),
        "once": ("service", False),
        "batch": ("batch", False),
    }
    assert given["job"]["lease_duration"] == 3600
