"""What a role of a JWT mount demands of a token's claims, and takes from them: said, refused, and answered."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from harness.knowledge import jwt_auth
from harness.record.events import RoleWritten
from harness.record.observation import Observation
from harness.scenario import loading, plan
from harness.scenario.schema import Scenario
from tests.runs import on_paper
from tests.test_contradictions import problem

CLAIMS: Final = {"project": "shop", "team": ["a", "team-b"], "admin": True, "number": 7, "nested": {"env": "prod"}}


def text(role: dict[str, Any], claims: Any = None, source: str = "1.7.0", **app: Any) -> str:
    """Return a scenario with a *role* of a JWT mount, and an app with a minted token that has *claims*."""
    who = {"role": "ci", "token": "minted", "audience": "vault", **({"claims": claims} if claims else {}), **app}
    document = {
        "schema": 1,
        "description": "Claims.",
        "clusters": {"apps": {"kubernetes": "1.32.0"}},
        "vault": {"source": source, "target": "1.16.3"},
        "auth": {"jwt": {"type": "jwt", "cluster": "apps", "config": {"jwt_validation_pubkeys": ["provider"]},
                         "roles": {"ci": {"bound-audiences": ["vault"], **role}}}},
        "apps": {"ci": who},
    }  # fmt: skip
    return yaml.safe_dump(document, sort_keys=False)


def scenario(role: dict[str, Any], claims: Any = None, **app: Any) -> Scenario:
    return loading.loads(text(role, claims, **app)).scenario


WRONG: Final[dict[str, tuple[str, str, str]]] = {
    # what is written, where it is marked, and what is said
    "a pointer that it does not know": (
        text({"user-claim": "/a/b", "user-claim-json-pointer": True}),
        "user-claim-json-pointer",
        "user_claim_json_pointer is unknown to Vault 1.7.0",
    ),
    "metadata of its own": (text({"claim-mappings": {"a": "role"}}), "a: role", 'metadata key "role" is reserved'),
    "metadata twice": (text({"claim-mappings": {"a": "x", "b": "x"}}), "b: x", "multiple keys are mapped to"),
    "a glob of a number": (
        text({"bound-claims": {"n": 7}, "bound-claims-type": "glob"}),
        "n: 7",
        "with globs every bound claim is a text",
    ),
    "nothing bound": (text({"bound-claims": {}}), "bound-claims", "empty"),
    "a claim of a mapping": (text({"bound-claims": {"a": {"b": "c"}}}), "b: c", "a text, a whole number"),
    "a claim of no value": (text({"bound-claims": {"a": []}}), "a: []", "a text, a whole number"),
    "the provider's own claim": (text({}, {"sub": "x"}), "sub: x", "the claim sub of a minted token is the provider"),
    "claims of a cluster's token": (
        text({}, {"a": "b"}, token="projected", cluster="apps", **{"service-account": "apps/ci"}),
        "a: b",
        "an API server adds no claims to its tokens",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_is_refused_before_anything_starts(name: str) -> None:
    written, at, message = WRONG[name]
    said, remedy = problem(written, at)
    assert message in said + remedy


def test_a_claim_is_enough_to_be_bound_by() -> None:
    made = loading.loads(text({"bound-audiences": None, "bound-claims": {"project": "shop"}}).replace(
        "        bound-audiences: null\n", "")).scenario  # fmt: skip
    assert made.auth["jwt"].roles["ci"].bound_claims == {"project": "shop"}


def test_what_is_said_of_claims_is_written_as_it_stands(tmp_path: Path) -> None:
    role = {
        "bound-claims": {"project": ["shop", "stock"], "admin": True},
        "bound-claims-type": "string",
        "claim-mappings": {"project": "team"},
        "groups-claim": "team",
        "user-claim": "project",
    }
    record, _ = on_paper(scenario(role, {"project": "shop", "admin": True, "team": ["a"]}), tmp_path)
    (event,) = record.of(RoleWritten)
    assert json.loads(json.dumps(event.fields)) | {"token_policies": ""} == {
        "role_type": "jwt",
        "user_claim": "project",
        "bound_audiences": "vault",
        "bound_claims": {"project": ["shop", "stock"], "admin": True},
        "bound_claims_type": "string",
        "claim_mappings": {"project": "team"},
        "groups_claim": "team",
        "token_policies": "",
    }
    (login, *_) = [one for one in record.of(Observation) if one.probe == "login"]
    assert (login.status, login.detail["metadata"]) == (200, {"role": "ci", "team": "shop"})


SUB: Final = {"user_claim": "sub"}
ANSWERED: Final[list[tuple[str, dict[str, Any], str, str]]] = [
    # version, role, the refusal and what its words name: as bare Vaults of each version answered
    ("1.4.0", {"bound_claims": {"project": "shop"}}, "", ""),
    ("1.4.0", {"bound_claims": {"project": ["x", "shop"]}}, "", ""),
    ("1.4.0", {"bound_claims": {"project": "other"}}, "bound claim", "project"),
    ("1.16.3", {"bound_claims": {"nope": "other"}}, "no such claim", "nope"),
    ("1.4.0", {"bound_claims": {"team": "team-b"}}, "", ""),
    ("1.4.0", {"bound_claims": {"admin": True}}, "", ""),
    ("1.4.0", {"bound_claims": {"admin": "true"}}, "bound claim", "admin"),
    ("1.13.0", {"bound_claims": {"number": 7}}, "claim of numbers", "7"),
    ("1.16.3", {"bound_claims": {"number": 7}}, "", ""),
    ("1.13.0", {"bound_claims": {"number": "7"}}, "claim of numbers", "7"),
    ("1.16.3", {"bound_claims": {"number": "7"}}, "bound claim", "number"),
    ("1.4.0", {"bound_claims": {"/nested/env": "prod"}}, "", ""),
    ("1.4.0", {"bound_claims": {"project": "sh*"}}, "bound claim", "project"),
    ("1.4.0", {"bound_claims": {"project": "sh*"}, "bound_claims_type": "glob"}, "", ""),
    ("1.4.0", {"bound_claims": {"team": "team-*"}, "bound_claims_type": "glob"}, "", ""),
    ("1.4.0", {"claim_mappings": {"nope": "email"}}, "", ""),
    ("1.4.0", {"claim_mappings": {"admin": "email"}}, "metadata of no text", "admin"),
    ("1.4.0", {"claim_mappings": {"team": "email"}}, "metadata of no text", "team"),
    ("1.4.0", {"user_claim": "nope"}, "no user claim", "nope"),
    ("1.4.0", {"user_claim": "number"}, "user claim of no text", "number"),
    ("1.10.0", {"user_claim": "/nested/env", "user_claim_json_pointer": True}, "no user claim", "/nested/env"),
    ("1.11.0", {"user_claim": "/nested/env", "user_claim_json_pointer": True}, "", ""),
    ("1.16.3", {"user_claim": "/nested/env"}, "no user claim", "/nested/env"),
    ("1.4.0", {"groups_claim": "nope"}, "no groups claim", "nope"),
]


@pytest.mark.parametrize(("version", "role", "refusal", "named"), ANSWERED)
def test_what_a_version_makes_of_a_claim_is_known(version: str, role: dict[str, Any], refusal: str, named: str) -> None:
    found = jwt_auth.refused_claim({"sub": "ci"} | CLAIMS, SUB | role, version)
    assert found == ((refusal, named) if refusal else None)
    if found is not None:
        status, said = jwt_auth.answer(found[0], version, found[1])
        assert (status, jwt_auth.refusal_of(said)) == (400, refusal)
        assert jwt_auth.claim_in(said) in (named, "")


@pytest.mark.parametrize(
    ("bound", "asked"),
    [
        ({"/kubernetes.io/namespace": "apps"}, {"wrong-namespace"}),
        ({"/kubernetes.io/serviceaccount/name": "ci"}, {"wrong-service-account"}),
        ({"/kubernetes.io/namespace": "apps", "/kubernetes.io/serviceaccount/name": "ci"},
         {"wrong-namespace", "wrong-service-account"}),
        ({"project": "shop"}, set()),
    ],
)  # fmt: skip
def test_a_stranger_is_asked_for_whom_a_bound_claim_refuses(bound: dict[str, str], asked: set[str]) -> None:
    made = scenario({"bound-claims": bound}, token="projected", cluster="apps", **{"service-account": "apps/ci"})
    probes = {one.probe for one in plan.make(made, "test", "local").questions}
    assert probes & {"wrong-namespace", "wrong-service-account"} == asked


@pytest.mark.parametrize(
    ("role", "claims", "said"),
    [
        ({"bound-claims": {"number": 7}}, {"number": 7}, "binds it: Vault 1.7.0 takes no number there"),
        (
            {"bound-claims": {"gone": "x"}},
            {"project": "y"},
            "has not the claim gone, and role ci of auth/jwt demands",
        ),
        ({"claim-mappings": {"number": "n"}}, {"number": 7}, "(claim_mappings), and it is no text of ci"),
        ({"groups-claim": "team"}, None, "the names of its groups (groups_claim), and it is not in the token of ci"),
        ({"user-claim": "/a/b"}, None, "is looked for from 1.11.0 on, with user_claim_json_pointer"),
    ],
)
def test_a_refusal_says_what_the_token_has_and_what_the_role_wants(
    role: dict[str, Any], claims: Any, said: str, tmp_path: Path
) -> None:
    _, judgement = on_paper(scenario(role, claims), tmp_path)
    (found, *_) = [one for one in judgement.findings if one.effect == "refused from the start"]
    assert said in found.sentence
    assert found.confidence == "certain"
    assert [remedy.unproven for remedy in found.remedies] == [""]
