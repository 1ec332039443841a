"""Where Vault gets the keys of tokens from: what can be said of it, and what becomes of it when the keys change."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from harness.analysis.crossings import crossings
from harness.drivers.kind import limits
from harness.errors import MissingPrerequisite
from harness.knowledge import jwt_auth
from harness.knowledge.jwt_auth import Refusal
from harness.record.events import ClusterChanged, ClusterUp, TokenIssued
from harness.record.journal import Record
from harness.record.observation import Observation
from harness.reports import plan as plans
from harness.scenario import course, loading, plan
from harness.scenario.schema import Scenario
from tests.runs import on_paper
from tests.test_contradictions import problem

OPEN: Final = {"kubernetes": "1.32.0", "issuers": ["address"], "publishes-keys": True}
URL: Final = {"jwks_url": "cluster"}
DISCOVERY: Final = {"oidc_discovery_url": "cluster"}
ROTATE: Final = {"rotate-keys": {"apps": "signing"}}
CLOSE: Final = {"publish-keys": {"apps": False}}
REOPEN: Final = {"publish-keys": {"apps": True}}
RENAME: Final = {"set-issuers": {"apps": ["https://oidc.example/apps", "address"]}}


def text(*steps: dict[str, Any], config: Any = None, cluster: Any = None, source: str = "1.7.0", **parts: Any) -> str:
    """Return a scenario with a JWT mount and a course of *steps*."""
    role = {"bound-subject": "system:serviceaccount:apps:web", "bound-audiences": ["vault"]}
    mount = {"type": "jwt", "cluster": "apps", "config": URL if config is None else config, "roles": {"web": role}}
    document = {
        "schema": 1,
        "description": "Keys.",
        "clusters": {"apps": OPEN | (cluster or {}), "other": {"kubernetes": "1.32.0"}},
        "vault": {"source": source},
        "auth": {"jwt": mount},
        "apps": {"web": {"cluster": "apps", "service-account": "apps/web", "role": "web", "audience": "vault"}},
        "course": list(steps) or [{"look": {}}],
    }
    # through JSON: what stands in it twice would be an alias, which no scenario may have
    return yaml.safe_dump(json.loads(json.dumps(document | parts)), sort_keys=False)


def scenario(*steps: dict[str, Any], **parts: Any) -> Scenario:
    return loading.loads(text(*steps, **parts)).scenario


def logins(record: Record) -> list[int | None]:
    return [one.status for one in record.of(Observation) if one.probe == "login"]


def write(config: dict[str, Any]) -> dict[str, Any]:
    return {"write": {"mount": "jwt", "config": config}}


ALONE: Final = {"type": "jwt", "roles": {"web": {"bound-audiences": ["vault"], "policies": ["web"]}}}
PEM: Final = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
WRONG: Final[dict[str, tuple[str, str, str]]] = {
    # what is written, where it is marked, and what is said
    "two sources": (text(config=URL | DISCOVERY), "oidc_discovery_url", "exactly one of"),
    "keys and a source": (text(config=URL | {"jwt_validation_pubkeys": ["cluster"]}), "jwks_url", "exactly one of"),
    "a URL": (text(config={"jwks_url": "https://keys.example"}), "jwks_url", "asks no server but its own"),
    "nobody's cluster": (text(config={"jwks_url": "gone"}), "jwks_url", "there is no cluster gone"),
    "a CA alone": (
        text(config={"jwt_validation_pubkeys": ["cluster"], "jwks_ca_pem": "cluster"}),
        "jwks_ca_pem",
        "jwks_ca_pem is the CA of jwks_url, and this config has none",
    ),
    "another's CA": (text(config=URL | {"jwks_ca_pem": "other"}), "jwks_ca_pem", "would not trust it by this CA"),
    "no CA": (text(config=URL | {"jwks_ca_pem": "omit"}), "jwks_ca_pem", "would not trust it by this CA"),
    "a CA that nobody decoded": (text(config=URL | {"jwks_ca_pem": "base64"}), "jwks_ca_pem", "nobody decoded"),
    "keys that nobody may read": (
        text(cluster={"publishes-keys": False}),
        "jwks_url",
        "gives its keys to service accounts alone: 403",
    ),
    "keys that no API server gives": (
        text(cluster={"issuers": ["kubernetes/serviceaccount"]}),
        "publishes-keys",
        "with an issuer that is no https URL, the API server of apps gives its keys to nobody",
    ),
    "keys that no API server gives any more": (
        text({"set-issuers": {"apps": ["http://issuer.example"]}}),
        "http://issuer.example",
        "the API server of apps gives its keys to nobody",
    ),
    "keys that nobody may read any more": (text(CLOSE, write(URL)), "jwks_url: cluster", "service accounts alone"),
    "another issuer": (
        text(config=DISCOVERY, cluster={"issuers": ["https://oidc.example/apps", "address"]}),
        "oidc_discovery_url",
        "whose issuer is not the URL, and apps signs as another",
    ),
    "another issuer by then": (
        text(RENAME, write(DISCOVERY)),
        "oidc_discovery_url",
        "whose issuer is not the URL, and apps signs as another",
    ),
    "nobody's keys rotate": (text({"rotate-keys": {"gone": "signing"}}), "gone", "there is no cluster gone"),
    "another kind of key": (text({"rotate-keys": {"apps": "tls"}}), "apps: tls", "signing"),
    "the provider's, of whom nobody has a token": (
        text({"rotate-keys": {"provider": "signing"}}),
        "provider",
        "no app has a token of the identity provider",
    ),
    "nobody's keys are published": (text({"publish-keys": {"gone": True}}), "gone", "there is no cluster gone"),
    "no cluster's": (text({"publish-keys": {}}), "publish-keys", "empty"),
    "the issuer of no cluster": (
        text(auth={"jwt": ALONE | {"config": {"jwt_validation_pubkeys": ["apps"], "bound_issuer": "cluster"}}}),
        "bound_issuer",
        "this mount has no cluster, and so no issuer of it",
    ),
    "of a Kubernetes mount": (
        text(
            auth={
                "jwt": {
                    "cluster": "apps",
                    "config": URL,
                    "roles": {"web": {"service-accounts": ["web"], "namespaces": ["apps"]}},
                }
            }
        ),
        "jwks_url",
        "the config of a mount of type kubernetes has no jwks_url",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_vault_would_not_get_is_refused_before_anything_starts(name: str) -> None:
    written, at, message = WRONG[name]
    lines = [line for line in written.splitlines() if at in line]
    said, remedy = problem(written, lines[-1].strip() if len(lines) > 1 else at)
    assert message in said + remedy


def test_the_ca_is_that_of_whoever_is_asked_unless_another_is_said() -> None:
    def fields(config: dict[str, Any]) -> dict[str, Any]:
        made = plan.make(scenario(config=config), "test", "paper")
        return next(step.fields for step in made.steps if isinstance(step, course.WriteConfig))

    assert fields({"jwks_url": "apps"}) == {"jwks_url": "apps", "jwks_ca_pem": "apps"}
    assert fields(DISCOVERY)["oidc_discovery_ca_pem"] == "cluster"
    assert fields(URL | {"jwks_ca_pem": PEM, "bound_issuer": "cluster"}) == {
        "jwks_url": "cluster",
        "jwks_ca_pem": PEM,
        "bound_issuer": "cluster",
    }


def test_a_plan_says_what_is_done_to_keys() -> None:
    said = plans.render(plan.make(scenario(ROTATE, CLOSE, REOPEN), "test", "local"))
    assert "give cluster apps another key for signing tokens" in said
    assert "let service accounts alone read the keys of cluster apps" in said
    assert "let anybody read the keys of cluster apps" in said


# --- what becomes of it ---


@pytest.mark.parametrize("config", [URL, DISCOVERY])
@pytest.mark.parametrize(
    ("source", "steps", "statuses", "causes"),
    [
        ("1.7.0", [ROTATE, {"restart": {}}], [200, 400, 200], ["jwt-keys-held", "changed-by-step"]),
        ("1.7.0", [ROTATE, "again"], [200, 400, 200], ["jwt-keys-held", "changed-by-step"]),
        ("1.8.0", [ROTATE], [200, 200], []),
        ("1.8.0", [CLOSE], [200, 200], []),
        ("1.8.0", [CLOSE, ROTATE], [200, 200, 400], ["jwt-keys-refused"]),
        ("1.7.0", [CLOSE, {"restart": {}}, REOPEN], [200, 200, 400, 200], ["jwt-keys-refused", "changed-by-step"]),
    ],
)
def test_vault_asks_once_after_each_start(
    config: dict[str, Any],
    source: str,
    steps: Sequence[Any],
    statuses: list[int],
    causes: list[str],
    tmp_path: Path,
) -> None:
    """What was closed shows at the next start; a key that is new shows at once where Vault keeps the old ones."""
    done = [write(config) if one == "again" else one for one in steps]
    record, judgement = on_paper(scenario(*done, config=config, source=source), tmp_path)
    assert logins(record) == statuses
    assert [one.rule for one in judgement.findings] == causes


@pytest.mark.parametrize(("config", "statuses"), [(URL, [200, 200, 200]), (DISCOVERY, [200, 200, 400])])
def test_another_issuer_hurts_a_mount_with_discovery_once_vault_starts(
    config: dict[str, Any], statuses: list[int], tmp_path: Path
) -> None:
    record, judgement = on_paper(scenario(RENAME, {"restart": {}}, config=config), tmp_path)
    assert logins(record) == statuses
    assert [one.rule for one in judgement.findings] == (["jwt-discovered-issuer"] if 400 in statuses else [])


def test_up_to_1_6_discovery_demands_the_issuer_of_each_token(tmp_path: Path) -> None:
    """As bare Vaults answered: 1.4.0 and 1.6.0 refuse at once what 1.7.0 and newer take until they start anew."""
    record, judgement = on_paper(scenario(RENAME, config=DISCOVERY, source="1.6.0"), tmp_path)
    assert logins(record) == [200, 400]
    (finding,) = judgement.findings
    assert (finding.rule, finding.step) == ("jwt-claim-mismatch", 1)
    assert "demands cluster (oidc_discovery_url)" in finding.sentence


def test_the_key_of_the_identity_provider_rotates(tmp_path: Path) -> None:
    """Whoever comes for a token then gets one that the old key does not fit; the config has to be written again."""
    ci = {"type": "jwt", "roles": {"ci": {"bound-subject": "ci", "bound-audiences": ["vault"]}}}
    asked = scenario(
        {"rotate-keys": {"provider": "signing"}},
        {"write": {"mount": "ci", "config": {"jwt_validation_pubkeys": ["provider"]}}},
        auth={"ci": ci},
        apps={"ci": {"mount": "ci", "role": "ci", "token": "minted", "audience": "vault"}},
    )
    record, judgement = on_paper(asked, tmp_path)
    assert logins(record) == [200, 400, 200]
    assert [one.rule for one in judgement.findings] == ["jwt-key-unknown", "changed-by-step"]
    assert len({one.token for one in record.of(TokenIssued) if one.purpose == "app:ci"}) == 2


def test_the_record_says_who_may_read_the_keys_and_when_they_rotated(tmp_path: Path) -> None:
    record, _ = on_paper(scenario(ROTATE), tmp_path)
    assert {one.cluster: one.publishes_keys for one in record.of(ClusterUp)} == {"apps": True, "other": False}
    assert [one.cluster for one in record.of(ClusterChanged)] == ["apps"]
    assert len({one.token for one in record.of(TokenIssued) if one.purpose == "app:web"}) == 2


def test_what_is_known_beforehand_is_said_of_such_mounts_alone() -> None:
    steps = (CLOSE, {"upgrade": "1.11.0"})
    keys = {"jwt_validation_pubkeys": ["cluster"]}
    for config, touches in ((URL, "yes"), (keys, "no")):
        told = {one.id: one.touches for one in crossings(plan.make(scenario(*steps, config=config), "test", "local"))}
        assert told["jwt-keys-asked-for-at-the-start"] == touches
        # no reviewer is missing where nobody reviews
        assert not {"reviewer-read-at-login", "ca-missing"} & {one for one, is_so in told.items() if is_so == "yes"}


def test_what_a_kind_cluster_cannot_have_is_said_before_anything_starts() -> None:
    """Its address as an issuer, and not another key of its tokens."""
    with pytest.raises(MissingPrerequisite, match="--driver local can"):
        limits.insist(plan.make(scenario(ROTATE), "test", "kind"))
    named = {"issuers": ["https://oidc.example/apps"]}
    limits.insist(plan.make(scenario(ROTATE, cluster=named), "test", "kind"))


@pytest.mark.parametrize("version", ["1.6.0", "1.7.0"])
@pytest.mark.parametrize("refusal", ["keys refused", "discovery refused", "discovered issuer", "no fetched key"])
def test_a_refusal_is_known_by_its_words(refusal: Refusal, version: str) -> None:
    assert jwt_auth.refusal_of(jwt_auth.answer(refusal, version)[1]) == refusal


def test_a_mount_of_pipelines_may_demand_the_issuer_of_their_tokens(tmp_path: Path) -> None:
    """The issuer of minted tokens is called provider, whatever the real one is. Another is named as what decides."""
    role = {"bound-subject": "ci", "bound-audiences": ["v"]}

    def judged(issuer: str) -> tuple[list[int | None], str]:
        config = {"jwt_validation_pubkeys": ["provider"], "bound_issuer": issuer}
        found = {
            "schema": 1,
            "description": "pipelines",
            "vault": {"source": "1.9.2", "target": "1.11.0"},
            "auth": {"ci": {"type": "jwt", "config": config, "roles": {"ci": role}}},
            "apps": {"ci": {"mount": "ci", "role": "ci", "token": "minted", "audience": "v"}},
        }
        record, judgement = on_paper(loading.loads(yaml.safe_dump(found)).scenario, tmp_path / issuer[:8])
        return logins(record), " ".join(judgement.reasons)

    assert judged("provider")[0] == [200, 200]
    refused, reasons = judged("https://ci.example.com")
    assert refused == [400, 400]
    assert "auth.ci.config.bound_issuer (https://ci.example.com; provider: that of minted tokens)" in reasons
