"""Every field of a config: it is read, filled in, written as Vault calls it, and diagnosed where it refuses logins."""

from __future__ import annotations

import base64
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.errors import ScenarioError
from harness.host import pki
from harness.record.events import ConfigWritten
from harness.record.observation import shortened
from harness.scenario import loading
from harness.scenario.schema import PluginConfig, Scenario
from harness.scenario.schema_roles import JwtConfig
from tests.runs import on_paper

PEM = "-----BEGIN CERTIFICATE-----\nMIIBszCCAVmgAwIBAgIU\n-----END CERTIFICATE-----\n"
NO_KEY = PEM.replace("CERTIFICATE", "PUBLIC KEY")
KEY = (
    "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEznAmXDJz6Po9HkHC6Oh1JWtGu30k\n"
    "VHMBKa5kqcwZFQh1jdM5kS40euUVhvKe1lyO2EPoxdZpjpnct6dDy/PodA==\n-----END PUBLIC KEY-----\n"
)


def document(*, by: str = "1.7.0", target: str = "1.11.0", **config: Any) -> dict[str, Any]:
    """Return a scenario with two clusters and a Vault outside both; the config of the app's mount has these fields."""
    return {
        "schema": 1,
        "description": "What does a field of a config change?",
        "clusters": {"apps": {"kubernetes": "1.32.0"}, "other": {"kubernetes": "1.32.0"}},
        "vault": {"source": by, "target": target},
        "auth": {
            "kubernetes": {
                "cluster": "apps",
                "configured": {"by": by, "with-token-file": False},
                "config": config,
                "roles": {"web": {"service-accounts": ["web"], "namespaces": ["apps"]}},
            }
        },
        "apps": {
            "web": {"cluster": "apps", "service-account": "apps/web", "role": "web", "may-review-tokens": True},
        },
    }


def scenario(**fields: Any) -> Scenario:
    return loading.loads(yaml.safe_dump(document(**fields), sort_keys=False)).scenario


def refused(**fields: Any) -> list[str]:
    with pytest.raises(ScenarioError) as caught:
        scenario(**fields)
    return [problem.message for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("said", "written"),
    [
        ({}, {"kubernetes_ca_cert": "CA of apps"}),
        ({"kubernetes_ca_cert": "other"}, {"kubernetes_ca_cert": "CA of other"}),
        ({"kubernetes_ca_cert": "base64"}, {"kubernetes_ca_cert": base64.b64encode(b"CA of apps").decode()}),
        ({"kubernetes_ca_cert": PEM}, {"kubernetes_ca_cert": shortened(PEM)}),
        (
            {"pem_keys": ["cluster", "other", KEY]},
            {"pem_keys": ["RS256 key of apps", "RS256 key of other", shortened(KEY)]},
        ),
        ({"disable_iss_validation": True, "issuer": "me"}, {"disable_iss_validation": True, "issuer": "me"}),
        ({"kubernetes_ca_cert": "omit", "pem_keys": ["cluster"]}, {"pem_keys": ["RS256 key of apps"]}),
    ],
)
def test_what_is_said_is_filled_in_and_written(said: dict[str, Any], written: dict[str, Any], tmp_path: Path) -> None:
    record, _ = on_paper(scenario(**said), tmp_path)
    (event,) = record.of(ConfigWritten)
    kept = {"kubernetes_host": "https://apps.paper", "kubernetes_ca_cert": "CA of apps"}
    if said.get("kubernetes_ca_cert") == "omit":
        del kept["kubernetes_ca_cert"]
    assert event.fields == kept | written


def test_every_field_has_been_said_somewhere_here() -> None:
    new = {"use_annotations_as_alias_metadata", "kubernetes_host"}
    said = {"kubernetes_ca_cert", "issuer", "disable_iss_validation", "disable_local_ca_jwt", "pem_keys"}
    of_jwt = set(JwtConfig.model_fields)
    assert set(PluginConfig.model_fields) - new - of_jwt == said


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"kubernetes_ca_cert": "prod"}, "there is no cluster prod"),
        ({"kubernetes_ca_cert": "not PEM"}, "auth.kubernetes.config.kubernetes_ca_cert is not a CA"),
        ({"kubernetes_ca_cert": KEY}, "auth.kubernetes.config.kubernetes_ca_cert is not a CA"),
        ({"kubernetes_ca_cert": PEM[:-30]}, "auth.kubernetes.config.kubernetes_ca_cert is not a CA"),
        ({"pem_keys": ["prod"]}, "there is no cluster prod"),
        ({"pem_keys": ["-----BEGIN"]}, "auth.kubernetes.config.pem_keys[0] is not a public key"),
        ({"pem_keys": [NO_KEY]}, "auth.kubernetes.config.pem_keys[0] is not a public key"),
        ({"pem_keys": [KEY[:60] + KEY[70:]]}, "auth.kubernetes.config.pem_keys[0] is not a public key"),
        (
            {"kubernetes_ca_cert": PEM, "by": "1.17.0", "target": "1.18.0"},
            "Vault 1.17.0 refuses a CA that is no certificate: The provided CA PEM data contains no valid certificates",
        ),
        ({"pem_keys": []}, "auth.kubernetes.config.pem_keys is empty"),
        (
            {"use_annotations_as_alias_metadata": True},
            "use_annotations_as_alias_metadata is unknown to Vault 1.7.0, which writes this config",
        ),
        (
            {"kubernetes_ca_cert": "base64", "by": "1.17.0", "target": "1.18.0"},
            "Vault 1.17.0 refuses a CA that nobody decoded: The provided CA PEM data contains no valid certificates",
        ),
        (
            {"kubernetes_ca_cert": base64.b64encode(PEM.encode()).decode(), "by": "1.17.0", "target": "1.18.0"},
            "Vault 1.17.0 refuses a CA that nobody decoded: The provided CA PEM data contains no valid certificates",
        ),
    ],
)
def test_what_cannot_be_or_what_a_version_refuses(fields: dict[str, Any], message: str) -> None:
    assert refused(**fields) == [message]


@pytest.mark.parametrize("by", ["1.4.0", "1.16.3"])
def test_a_ca_that_nobody_decoded_was_taken_once(by: str) -> None:
    assert scenario(kubernetes_ca_cert="base64", by=by, target="1.16.4")


def test_a_private_key_is_not_shown(tmp_path: Path) -> None:
    private = pki.TokenSigner(tmp_path).private.read_text()
    with pytest.raises(ScenarioError) as caught:
        scenario(pem_keys=[private])
    assert not any(line in str(caught.value) for line in private.splitlines()[1:-1])


@pytest.mark.parametrize(
    ("fields", "cause", "words"),
    [
        ({"pem_keys": ["other"]}, "signing-key-unknown", "auth/kubernetes has pem_keys (of cluster other)"),
        ({"kubernetes_ca_cert": "other"}, "api-server-untrusted", "The config has the CA of other"),
        ({"kubernetes_ca_cert": "base64"}, "api-server-untrusted", "in base64 that nobody decoded"),
        ({"kubernetes_ca_cert": PEM}, "api-server-untrusted", "was given as text"),
        ({"issuer": "https://x", "disable_iss_validation": False}, "issuer-mismatch", "demands the issuer https://x"),
    ],
)
def test_a_login_that_a_field_refuses_is_explained_by_it(
    fields: dict[str, Any], cause: str, words: str, tmp_path: Path
) -> None:
    """At the newer version: on paper an older one says less."""
    _, judgement = on_paper(scenario(by="1.11.0", target="1.12.0", **fields), tmp_path)
    (finding,) = [one for one in judgement.findings if one.probe == "login"]
    assert (finding.rule, finding.effect) == (cause, "refused from the start")
    assert words in finding.sentence
    assert finding.remedies[0].commands


def test_the_keys_of_the_right_cluster_let_everybody_in_and_no_altered_token(tmp_path: Path) -> None:
    _, judgement = on_paper(scenario(pem_keys=["other", "cluster"], disable_iss_validation=True), tmp_path)
    assert judgement.verdict == "pass", judgement.reasons


def test_a_remedy_takes_the_keys_out_or_gives_the_right_ones(tmp_path: Path) -> None:
    _, judgement = on_paper(scenario(pem_keys=["other"], disable_iss_validation=True), tmp_path)
    (finding,) = [one for one in judgement.findings if one.probe == "login"]
    commands = [command for remedy in finding.remedies for command in remedy.commands]
    assert "pem_keys: []" in commands[0]
    assert "--rawfile key sa.pub" in commands[1]
    assert "pem_keys: [$key]" in commands[1]
    assert re.search(r'pem_keys += \[file\("sa.pub"\)\]', finding.remedies[1].terraform)
