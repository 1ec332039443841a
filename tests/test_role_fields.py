"""Every field of a role: it is read, written as Vault calls it, asked about as far as it can be, and diagnosed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.errors import ScenarioError
from harness.record.events import RoleWritten
from harness.record.observation import Observation
from harness.scenario import loading, plan
from harness.scenario.role_spec import RoleSpec
from harness.scenario.schema import Scenario
from tests.runs import on_paper

EVERYTHING = {"token-lookup", "token-renew", "read", "old-token-lookup", "old-token-read"}
"""What is asked with a Vault token."""

POLICY = 'path "secret/data/web" { capabilities = ["read"] }'


def scenario(**fields: Any) -> Scenario:
    """Return the scenario of `document`."""
    return loading.loads(yaml.safe_dump(document(**fields), sort_keys=False)).scenario


def document(*, source: str = "1.7.0", target: str = "1.11.0", policy: str = POLICY, **role: Any) -> dict[str, Any]:
    """Return a scenario with one app and a Vault outside any cluster; the app's role has these fields as well."""
    fields = {"service-accounts": ["web"], "namespaces": ["team-a"], "policies": ["Web_Reads"]}
    fields |= {name.replace("_", "-"): value for name, value in role.items()}
    return {
        "schema": 1,
        "description": "What does a field of a role change?",
        "clusters": {"apps": {"kubernetes": "1.32.0"}},
        "vault": {"source": source, "target": target},
        "auth": {
            "kubernetes": {
                "cluster": "apps",
                "configured": {"by": source, "with-token-file": False},
                "roles": {"Team_Web": fields},
            }
        },
        "apps": {
            "web": {
                "cluster": "apps",
                "service-account": "team-a/web",
                "role": "Team_Web",
                "may-review-tokens": True,
                "reads": ["secret/web", "secret/web"],
            }
        },
        "policies": {"Web_Reads": policy},
    }


def refused(**fields: Any) -> list[tuple[str, str]]:
    with pytest.raises(ScenarioError) as caught:
        scenario(**fields)
    return [(problem.message, problem.remedy) for problem in caught.value.problems]


def asked(made: Scenario) -> set[str]:
    return {question.probe for question in plan.make(made, "test", "paper").questions if question.app}


class TestSaid:
    @pytest.mark.parametrize(
        ("said", "written"),
        [
            ({"period": "1h"}, {"token_period": "1h"}),
            ({"explicit_max_ttl": "2h"}, {"token_explicit_max_ttl": "2h"}),
            ({"token_type": "batch"}, {"token_type": "batch"}),
            ({"num_uses": 0}, {"token_num_uses": 0}),
            ({"no_default_policy": False}, {"token_no_default_policy": False}),
            ({"bound_cidrs": ["127.0.0.1", "10.0.0.0/8"]}, {"token_bound_cidrs": "127.0.0.1,10.0.0.0/8"}),
            ({"namespaces": ["team-*", "web"]}, {"bound_service_account_namespaces": "team-*,web"}),
            ({"ttl": "1h", "max_ttl": "2h", "audience": None}, {"token_ttl": "1h", "token_max_ttl": "2h"}),
            ({}, {}),
        ],
    )
    def test_what_is_said_is_written_and_nothing_else(
        self, said: dict[str, Any], written: dict[str, Any], tmp_path: Path
    ) -> None:
        """Below the name that the role has, in Vault's spelling; what is left out is Vault's own."""
        record, judgement = on_paper(scenario(**{k: v for k, v in said.items() if v is not None}), tmp_path)
        (event,) = record.of(RoleWritten)
        always = {
            "bound_service_account_names": "web",
            "bound_service_account_namespaces": "team-a",
            "token_policies": "Web_Reads",
        }
        assert event.fields == always | written
        assert event.role == "Team_Web"
        assert judgement.verdict == "pass", judgement.reasons

    def test_every_field_of_the_schema_is_one_of_the_topology(self) -> None:
        from harness.scenario.schema import Role

        assert set(Role.model_fields) == set(RoleSpec.__struct_fields__) - {"kind"}


class TestRefused:
    @pytest.mark.parametrize(
        ("fields", "message"),
        [
            ({"period": "769h"}, "Vault refuses a period that is longer than 768h"),
            (
                {"token_type": "batch", "period": "1h"},
                "Vault refuses a period for batch tokens, which cannot be renewed",
            ),
            (
                {"token_type": "batch", "num_uses": 1, "source": "1.8.0"},
                "Vault 1.8.0 refuses batch tokens with a number of uses, which nobody counts",
            ),
            ({"bound_cidrs": ["here"]}, "auth.kubernetes.roles.Team_Web.bound-cidrs[0] is not an address or a network"),
            ({"bound_cidrs": []}, "auth.kubernetes.roles.Team_Web.bound-cidrs is empty"),
            ({"namespaces": ["Team-*"]}, "auth.kubernetes.roles.Team_Web.namespaces[0] is not a name or *"),
            ({"namespaces": ["*", "a"]}, "auth.kubernetes.roles.Team_Web.namespaces cannot be so"),
            ({"num_uses": -1}, "auth.kubernetes.roles.Team_Web.num-uses is out of range"),
            ({"token_type": "default-batch"}, "auth.kubernetes.roles.Team_Web.token-type is not one of the choices"),
            ({"policies": ["a b"]}, "auth.kubernetes.roles.Team_Web.policies[0] is not the name of a policy"),
        ],
    )
    def test_what_vault_would_not_take(self, fields: dict[str, Any], message: str) -> None:
        ((said, remedy),) = refused(**fields)
        assert said == message
        assert remedy

    def test_batch_tokens_with_a_number_of_uses_were_taken_once(self) -> None:
        assert scenario(token_type="batch", num_uses=1, source="1.7.0")

    def test_names_that_vault_does_not_tell_apart(self) -> None:
        made = document()
        made["auth"]["kubernetes"]["roles"]["team_web"] = {"service-accounts": ["web"], "namespaces": ["x"]}
        made["policies"]["web_reads"] = POLICY
        with pytest.raises(ScenarioError) as caught:
            loading.loads(yaml.safe_dump(made, sort_keys=False))
        assert [problem.message for problem in caught.value.problems] == [
            "Vault does not tell team_web from Team_Web: it folds the case of these names",
            "Vault does not tell web_reads from Web_Reads: it folds the case of these names",
        ]


class TestAsked:
    """What a token can never do by its role is not asked, and the plan says so."""

    def test_a_batch_token_is_not_renewed(self) -> None:
        made = scenario(token_type="batch")
        assert EVERYTHING - asked(made) == {"token-renew"}
        assert "token-renew for web: a batch token cannot be renewed" in plan.make(made, "test", "paper").not_asked

    def test_a_token_without_the_default_policy_does_nothing_with_itself(self) -> None:
        made = scenario(no_default_policy=True)
        assert EVERYTHING - asked(made) == {"token-lookup", "token-renew", "old-token-lookup"}

    def test_unless_another_policy_lets_it(self) -> None:
        text = POLICY + ' path "auth/token/lookup-self" { capabilities = ["read"] }'
        made = scenario(no_default_policy=True, policy=text)
        assert EVERYTHING - asked(made) == {"token-renew"}

    def test_a_token_with_a_number_of_uses_is_used_for_reads_alone(self) -> None:
        made = scenario(num_uses=1)
        assert EVERYTHING - asked(made) == EVERYTHING - {"read"}
        assert [q.item for q in plan.make(made, "test", "paper").questions if q.probe == "read"] == ["secret/web"]

    def test_a_stranger_whom_a_pattern_admits_is_none(self) -> None:
        made = scenario(service_accounts=["web", "rehearsal-*"], namespaces=["team-*"])
        assert "wrong-service-account" not in asked(made)
        assert "wrong-namespace" in asked(made)


class TestOnPaper:
    @pytest.mark.parametrize(
        "fields",
        [
            {"token_type": "batch"},
            {"no_default_policy": True},
            {"num_uses": 2},
            {"period": "1h", "explicit_max_ttl": "4h"},
            {"service_accounts": ["w*"], "namespaces": ["team-*"]},
            {"bound_cidrs": ["127.0.0.0/8"]},
        ],
    )
    def test_each_kind_of_token_passes(self, fields: dict[str, Any], tmp_path: Path) -> None:
        record, judgement = on_paper(scenario(**fields), tmp_path)
        assert judgement.verdict == "pass", judgement.reasons
        granted = {seen.probe for seen in record.of(Observation) if seen.answer == "granted"}
        assert granted >= {"login", "read"}

    def test_an_address_that_the_role_does_not_admit_is_named(self, tmp_path: Path) -> None:
        _, judgement = on_paper(scenario(bound_cidrs=["10.0.0.0/8"]), tmp_path)
        (finding,) = [one for one in judgement.findings if one.probe == "login"]
        assert (finding.rule, finding.effect) == ("address-not-bound", "refused from the start")
        assert "this one came from 127.0.0.1" in finding.sentence
        assert "token_bound_cidrs='10.0.0.0/8,127.0.0.1'" in finding.remedies[0].commands[0]
        assert any("bound-cidrs (10.0.0.0/8)" in reason for reason in judgement.reasons)
