"""A Vault that moves with its data: what can be said, what follows on paper, and what each driver makes of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.drivers.kind import limits
from harness.errors import MissingPrerequisite, ScenarioError
from harness.record.events import PodReplaced, TokenIssued
from harness.reports import plan as plan_report
from harness.reports import text
from harness.scenario import loading, plan
from harness.scenario.course import Move
from harness.scenario.schema import Scenario
from tests.runs import on_paper

INSIDE = {"cluster": "platform", "source": "1.11.0"}
OUTSIDE = {"source": "1.11.0"}


def document(vault: dict[str, Any], *steps: dict[str, Any], **mount: Any) -> str:
    """Return a scenario as text: a Vault somewhere, an app in `apps` that may review tokens, and a course."""
    role = {"service-accounts": ["web"], "namespaces": ["apps"], "policies": ["web"]}
    web = {"cluster": "apps", "service-account": "apps/web", "role": "web", "may-review-tokens": True}
    return json.dumps(
        {
            "schema": 1,
            "description": "A Vault that moves.",
            "clusters": {"platform": {"kubernetes": "1.32.0"}, "apps": {"kubernetes": "1.32.0"}},
            "vault": vault,
            "auth": {"kubernetes": {"cluster": "apps", "roles": {"web": role}, **mount}},
            "apps": {"web": web},
            "course": list(steps),
        }
    )


def moving(vault: dict[str, Any], *steps: dict[str, Any], **mount: Any) -> Scenario:
    return loading.loads(document(vault, *steps, **mount)).scenario


WRONG: dict[str, tuple[dict[str, Any], tuple[dict[str, Any], ...], str, str]] = {
    "no such cluster": (OUTSIDE, ({"move": {"to": "plattform"}},), "no cluster plattform", "platform"),
    "there already": (INSIDE, ({"move": {"to": "platform"}},), "in cluster platform already", "restart"),
    "outside already": (OUTSIDE, ({"move": {"to": "outside"}},), "outside any cluster already", "restart"),
    "back and there": (
        INSIDE,
        ({"move": {"to": "outside"}}, {"move": {"to": "outside"}}),
        "outside any cluster already",
        "restart",
    ),
    "older": (OUTSIDE, ({"move": {"to": "apps", "upgrade": "1.9.2"}},), "older than 1.11.0", "a newer version"),
    "the same": (OUTSIDE, ({"move": {"to": "apps", "upgrade": "1.11.0"}},), "serves already", "newer version"),
    "an account of no cluster": (
        INSIDE,
        ({"move": {"to": "outside", "service-account": "vault/vault"}},),
        "`service-account` is of a Vault in a Pod",
        "leave it out",
    ),
    "a token file of no Pod": (
        INSIDE,
        ({"move": {"to": "outside", "token-file": True}},),
        "`token-file` is of a Vault in a Pod",
        "leave it out",
    ),
    "a Pod that is gone": (
        INSIDE,
        ({"move": {"to": "outside"}}, {"replace-pod": "vault"}),
        "has no Pod",
        "restart",
    ),
    "a token that is gone": (
        INSIDE,
        ({"move": {"to": "outside"}}, {"write": {"reviewer": "pod-token"}}),
        "no token of its Pod to copy",
        "secret",
    ),
    "a reviewer that is gone": (
        INSIDE,
        ({"move": {"to": "outside"}}, {"write": {"reviewer": "local"}}),
        "no token of its own to review with",
        "secret or client-jwt",
    ),
    "no account of somebody's": (
        OUTSIDE,
        ({"move": {"to": "apps"}}, {"revoke": {"cluster": "apps", "service-account": "vault/vaul"}}),
        "nobody in cluster apps has the service account vault/vaul",
        "vault/vault",
    ),
    "of a node": (OUTSIDE, ({"move": {"to": "apps"}, "node": "vault-0"},), "`node` is of no use to move", "leave it"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_move_that_cannot_be_is_refused_with_its_line(name: str) -> None:
    vault, steps, message, remedy = WRONG[name]
    with pytest.raises(ScenarioError) as refused:
        moving(vault, *steps)
    (problem,) = refused.value.problems
    assert message in problem.message
    assert remedy in problem.remedy
    assert problem.line >= 1


def test_what_was_refused_elsewhere_is_right_once_vault_moved() -> None:
    """Inside, after a move, there is a Pod to replace, a token to copy, and an account that loses its right."""
    right = moving(
        OUTSIDE,
        {"move": {"to": "apps", "service-account": "vault/server"}},
        {"replace-pod": "vault"},
        {"write": {"reviewer": "pod-token"}},
        {"revoke": {"cluster": "apps", "service-account": "vault/server"}},
    )
    assert isinstance(plan.make(right, "moves", "paper").steps[4], Move)


def test_a_plan_says_where_vault_goes() -> None:
    made = plan.make(moving(INSIDE, {"move": {"to": "outside", "upgrade": "1.13.0"}}), "moves", "local")
    assert "move: Vault 1.13.0, with no pod token file, outside any cluster" in plan_report.render(made)
    assert ("vault", "1.13.0") in made.artifacts


def test_kind_says_beforehand_that_an_agent_would_not_find_a_vault_that_moved() -> None:
    told = json.loads(document(INSIDE, {"move": {"to": "outside"}}))
    limits.insist(plan.make(loading.loads(json.dumps(told)).scenario, "moves", "kind"))
    told["apps"]["web"]["agent"] = "1.11.0"
    with pytest.raises(MissingPrerequisite, match="--driver local has both, with an address that stays"):
        limits.insist(plan.make(loading.loads(json.dumps(told)).scenario, "moves", "kind"))


def test_every_cluster_that_vault_is_ever_in_is_made_for_its_pod() -> None:
    steps = ({"move": {"to": "apps"}}, {"move": {"to": "outside"}}, {"move": {"to": "apps"}})
    assert plan.make(moving(INSIDE, *steps), "moves", "kind").resolved.vault.homes == ("platform", "apps")
    assert plan.make(moving(OUTSIDE, {"restart": {}}), "stays", "kind").resolved.vault.homes == ()


def test_the_token_of_the_old_pod_dies_and_the_new_place_has_its_own(tmp_path: Path) -> None:
    """Into a Pod, to another cluster and out: each Pod has a token of its cluster, and outside there is none."""
    steps = ({"move": {"to": "apps"}}, {"move": {"to": "platform"}}, {"move": {"to": "outside"}})
    record, judgement = on_paper(moving(OUTSIDE, *steps), tmp_path)
    assert [one.cluster for one in record.of(TokenIssued) if one.purpose == "vault"] == ["apps", "platform"]
    replaced = [(one.cluster, one.new_pod) for one in record.of(PodReplaced)]
    assert replaced == [("apps", "vault-0"), ("platform", "")]
    logins = [o.status for o in judgement.observations if o.probe == "login"]
    assert logins == [200, 200, 403, 200]
    rules = [(one.effect, one.rule) for one in judgement.findings]
    assert ("login refused", "reviewer-fallback-local") in rules
    report = text.render(judgement)
    assert "Before the move to platform, on Vault 1.11.0" in " ".join(report.split())
    assert "once Vault has moved" in " ".join(report.split())


def test_a_path_without_an_upgrade_is_that_of_one_version(tmp_path: Path) -> None:
    _, judgement = on_paper(moving(OUTSIDE, {"move": {"to": "apps"}}), tmp_path)
    assert "Vault 1.11.0 -> 1.11.0" in text.render(judgement)


def test_whose_ca_vault_goes_by_after_a_move_is_told_and_that_it_was_right_before(tmp_path: Path) -> None:
    """A config without a CA is right in one Pod and wrong in another: it was not wrong all the time and unseen."""
    said = {"reviewer": "local", "config": {"kubernetes_ca_cert": "omit"}}
    scenario = moving({"cluster": "apps", "source": "1.11.0"}, {"move": {"to": "platform"}}, **said)
    _, judgement = on_paper(scenario, tmp_path)
    (finding,) = [one for one in judgement.findings if one.effect == "login refused"]
    assert finding.rule == "api-server-untrusted"
    assert "names no CA, so Vault goes by that of its own Pod, in platform" in finding.sentence
    assert "nobody saw it" not in finding.sentence
    assert "login refused: web, after move to platform, at Vault 1.11.0" in text.render(judgement)
    assert "Each is cut off 32 days after its login" in (finding.outlook.sentence if finding.outlook else "")


def test_a_config_with_keys_and_no_ca_goes_by_those_of_the_system(tmp_path: Path) -> None:
    """With pem_keys nothing is copied out of a Pod, and outside there is none."""
    said = {"reviewer": "secret", "config": {"kubernetes_ca_cert": "omit", "pem_keys": ["cluster"]}}
    _, judgement = on_paper(moving({"source": "1.9.2"}, {"restart": {}}, **said), tmp_path)
    (finding,) = [one for one in judgement.findings if one.effect == "refused from the start"]
    assert finding.rule == "api-server-untrusted"
    assert "The config has no CA, so Vault goes by those of the system that it runs on" in finding.sentence
