"""What lies between Vault and an API server changes in mid-run: its CA is rotated, or nobody answers there any more."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import pytest

from harness.analysis.verdict import Judgement
from harness.drivers.kind import limits
from harness.errors import MissingPrerequisite, ScenarioError
from harness.scenario import loading, plan
from tests.lent import Lender
from tests.runs import on_paper

BINDS: Final = {"service-accounts": ["web"], "namespaces": ["apps"], "policies": ["web"], "ttl": "1h"}
WEB: Final = {"cluster": "apps", "service-account": "apps/web", "role": "web"}
CA: Final = {"rotate-keys": {"apps": "ca"}}
GONE: Final = {"reachable": {"apps": False}}
BACK: Final = {"reachable": {"apps": True}}
KUBERNETES: Final = ("pods-ca", "copied-ca", "given-ca")
BY_NAME: Final = "https://kubernetes.default.svc"
"""By which a Pod finds the API server of its own cluster."""
BEHIND: Final = "behind"
"""The mount that asks by a proxy, with a CA of its own."""


def document(*steps: dict[str, Any], **parts: Any) -> dict[str, Any]:
    """Return a Vault with a mount for each way in which it comes to the CA of its own cluster, and a JWT mount."""
    bound = {"bound-subject": "system:serviceaccount:apps:web", "bound-audiences": ["vault"], "policies": ["web"]}
    auth: dict[str, Any] = {
        "pods-ca": {
            "cluster": "apps",
            "config": {"kubernetes_host": BY_NAME, "kubernetes_ca_cert": "omit"},
            "roles": {"web": BINDS},
        },
        "copied-ca": {
            "cluster": "apps",
            "configured": {"by": "1.7.0"},
            "reviewer": "secret",
            "config": {"kubernetes_ca_cert": "omit", "disable_iss_validation": True},
            "roles": {"web": BINDS},
        },
        "given-ca": {"cluster": "apps", "reviewer": "secret", "roles": {"web": BINDS}},
        BEHIND: {
            "cluster": "apps",
            "reviewer": "secret",
            "config": {"kubernetes_host": "proxy"},
            "roles": {"web": BINDS},
        },
        "keys": {
            "type": "jwt",
            "cluster": "apps",
            "config": {"jwks_url": "cluster"},
            "roles": {"web": bound | {"ttl": "1h"}},
        },
    }
    apps = {mount: WEB | {"mount": mount} | ({"audience": "vault"} if mount == "keys" else {}) for mount in auth}
    return {
        "schema": 1,
        "description": "The way to the cluster changes.",
        "clusters": {"apps": {"kubernetes": "1.32.0", "publishes-keys": True}},
        "vault": {"source": "1.9.3", "cluster": "apps"},
        "auth": auth,
        "apps": apps,
        "course": list(steps),
        **parts,
    }


def loaded(*steps: dict[str, Any], **parts: Any) -> loading.Loaded:
    return loading.loads(json.dumps(document(*steps, **parts)))


def judged(tmp_path: Path, *steps: dict[str, Any], **parts: Any) -> Judgement:
    return on_paper(loaded(*steps, **parts).scenario, tmp_path)[1]


def told(judgement: Judgement, effect: str = "login refused") -> dict[tuple[str, str], str]:
    return {(one.app, one.moment): one.rule for one in judgement.findings if one.effect == effect}


def test_a_rotated_ca_is_not_trusted_by_whoever_has_the_old_one(tmp_path: Path) -> None:
    """Which of them looks again depends on the version and on who wrote the config, and each is told so."""
    judgement = judged(tmp_path, CA, {"upgrade": "1.11.0"})
    found = told(judgement)
    assert found == {
        **{(app, "after rotate-keys"): "api-server-untrusted" for app in KUBERNETES},
        ("keys", "after 1.11.0"): "jwt-keys-refused",
    }
    assert told(judgement, "login granted") == {("pods-ca", "after 1.11.0"): "api-server-untrusted"}
    said = {one.app: one.sentence for one in judgement.findings if one.effect == "login refused"}
    assert "Vault 1.9.3 keeps that of its Pod for an hour" in said["pods-ca"]
    assert "Vault 1.7.0 put the CA of its Pod into the config" in said["copied-ca"]
    assert "The config has the CA that apps had before its rotation" in said["given-ca"]
    assert "jwks_ca_pem is another CA than the one it has" in said["keys"]
    first = {one.app: one.remedies[0].words for one in judgement.findings if one.effect == "login refused"}
    assert first["pods-ca"].startswith("Restart Vault")
    assert all("ca.crt" in first[app] for app in ("copied-ca", "given-ca", "keys"))


@pytest.mark.parametrize(
    ("version", "refused"), [("1.11.0", True), ("1.11.9", False), ("1.12.0", True), ("1.13.0", False)]
)
def test_newer_versions_look_at_the_ca_of_their_pod_again(version: str, *, refused: bool, tmp_path: Path) -> None:
    kept = document()
    judgement = judged(
        tmp_path,
        CA,
        vault={"source": version, "cluster": "apps"},
        auth={"pods-ca": kept["auth"]["pods-ca"]},
        apps={"pods-ca": kept["apps"]["pods-ca"]},
    )
    assert bool(told(judgement)) is refused


def test_nobody_answers_any_more(tmp_path: Path) -> None:
    """Logins by a TokenReview end at once, those by keys at the next start; and once it is back all are let in."""
    judgement = judged(tmp_path, GONE, {"restart": {}}, BACK)
    assert told(judgement) == {
        **{(app, "after reachable"): "api-server-unreachable" for app in (*KUBERNETES, BEHIND)},
        ("keys", "after restart"): "jwt-keys-refused",
    }
    granted = told(judgement, "login granted")
    assert granted == {(app, "after reachable (step 3)"): "changed-by-step" for app in (*KUBERNETES, BEHIND, "keys")}
    said = {one.app: one.sentence for one in judgement.findings if one.kind == "regression"}
    assert "a proxy that passes on what it is asked, and does not get to it itself" in said[BEHIND]
    assert all("the course has taken it away" in one.sentence for one in judgement.findings if one.kind == "regression")


def named(host: str, **vault: Any) -> Any:
    """Return a scenario whose config has the API server by a name, and a stored reviewer, as a value."""
    mount = {"cluster": "apps", "reviewer": "secret", "config": {"kubernetes_host": host}, "roles": {"web": BINDS}}
    written = document(
        *vault.pop("steps", [{"restart": {}}]),
        clusters={name: {"kubernetes": "1.32.0"} for name in ("apps", "platform")},
        vault={"source": "1.11.0"} | vault,
        auth={"kubernetes": mount | {"configured": {"by": "1.11.0", "with-token-file": False}}},
        apps={"web": WEB},
    )
    return loading.loads(json.dumps(written)).scenario


def test_a_name_that_pods_alone_know_is_nobodys_for_a_vault_in_no_cluster(tmp_path: Path) -> None:
    """It was so from the beginning; the cause names the place of Vault, and what to write is the address."""
    _, judgement = on_paper(named(BY_NAME), tmp_path)
    assert judgement.exit_code == 4
    (finding,) = judgement.findings
    assert (finding.kind, finding.rule) == ("pre-existing", "api-server-unreachable")
    assert f"calls {BY_NAME}: a name that only the Pods of a cluster know, and Vault runs outside" in finding.sentence
    assert "with the address of the API server of apps" in finding.remedies[0].words
    told = plan.make(named(BY_NAME), "test", "paper").assumed
    assert any(f"{BY_NAME}.invalid is written" in one and "vault.cluster" in one for one in told)


@pytest.mark.parametrize("host", [BY_NAME, f"{BY_NAME}:443", f"{BY_NAME}.cluster.local:443", BY_NAME[:-4]])
def test_it_is_the_api_server_of_the_cluster_that_vault_is_in(host: str, tmp_path: Path) -> None:
    asked = named(host, cluster="apps")
    _, judgement = on_paper(asked, tmp_path)
    assert (judgement.exit_code, judgement.findings) == (0, ())
    assert any("is the API server of apps" in one for one in plan.make(asked, "test", "paper").assumed)


@pytest.mark.parametrize(
    ("vault", "said"),
    [
        ({"cluster": "platform"}, "is the API server of platform for a Vault whose Pod is there"),
        ({"cluster": "apps", "steps": [{"move": {"to": "outside"}}]}, "another API server once Vault has moved"),
    ],
)
def test_where_it_would_be_another_api_server_it_is_refused(vault: dict[str, Any], said: str) -> None:
    with pytest.raises(ScenarioError, match=said):
        named(BY_NAME, **vault)


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ([{"rotate-keys": {"gone": "ca"}}], "there is no cluster gone"),
        ([{"rotate-keys": {"provider": "ca"}}], "it has no CA"),
        ([{"reachable": {"gone": False}}], "there is no cluster gone"),
        ([BACK], "that is so already: apps is to be reached"),
        ([GONE, GONE], "that is so already: apps is not to be reached"),
        ([GONE, {"write": {"mount": "keys", "config": {"jwks_url": "cluster"}}}], "does not reach it then"),
    ],
)
def test_what_cannot_be_is_refused(steps: list[dict[str, Any]], said: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        loaded(*steps)
    assert any(said in problem.message for problem in caught.value.problems)


@pytest.mark.parametrize("step", [CA, GONE])
def test_kind_says_which_driver_does_it(step: dict[str, Any]) -> None:
    with pytest.raises(MissingPrerequisite, match="--driver local can"):
        limits.insist(plan.make(loaded(step).scenario, "test", "kind"))


@pytest.mark.real
def test_the_way_to_a_real_cluster(tmp_path: Path, lender: Lender) -> None:
    """Its CA is rotated, Vault goes on to the next version, and then nobody answers until it starts and beyond."""
    steps: list[dict[str, Any]] = [CA, {"upgrade": "1.11.0"}, GONE, {"restart": {}}, BACK]
    file = tmp_path / "way.yaml"
    file.write_text(json.dumps(document(*steps)))
    foretold = on_paper(loaded(*steps).scenario, tmp_path / "paper")[1]
    code, judgement = lender.rehearse(file, tmp_path / "record")
    assert code == 1, judgement["reasons"]
    found = {(one["app"], one["moment"], one["effect"], one["rule"]) for one in judgement["findings"]}
    assert found == {(one.app, one.moment, one.effect, one.rule) for one in foretold.findings}
    assert ("copied-ca", "after rotate-keys", "login refused", "api-server-untrusted") in found
    assert ("pods-ca", "after 1.11.0", "login granted", "api-server-untrusted") in found
    assert ("pods-ca", "after reachable", "login refused", "api-server-unreachable") in found
    assert (BEHIND, "after reachable", "login refused", "api-server-unreachable") in found
    assert ("pods-ca", "after reachable (step 5)", "login granted", "changed-by-step") in found
