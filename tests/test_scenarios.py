"""The shipped scenarios: each reads as a question, and gives on paper exactly the answer that it promises."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from harness.scenario import loading
from harness.scenario.schema import Scenario
from tests.runs import SCENARIOS, on_paper

FILES = sorted(SCENARIOS.glob("*.yaml"))

Row = tuple[str, tuple[tuple[str, str, str, str], ...]]

PROMISED: dict[str, Row] = {
    "a-client-certificate-is-trusted-by-its-number-alone": (
        "pass",
        (("pre-existing", "granted against the rule", "certificate-key-not-compared", ""),),
    ),
    "a-config-written-in-a-pod-by-1.7-never-worked-for-another-cluster": (
        "pass",
        (("pre-existing", "refused from the start", "reviewer-frozen", ""),),
    ),
    "a-config-written-outside-a-pod-breaks-once-vault-has-one": (
        "fail",
        (("regression", "login refused", "reviewer-fallback-local", "1.11.0"),),
    ),
    "a-copied-pod-token-as-the-reviewer-dies-with-the-pod": (
        "fail",
        (("regression", "login refused", "stored-reviewer-refused", "1.11.0"),),
    ),
    "a-frozen-reviewer-dies-with-its-pod": ("fail", (("regression", "login refused", "reviewer-frozen", "1.9.3"),)),
    "a-long-lived-reviewer-survives-the-upgrade": ("pass", ()),
    "a-morning-of-1500-pods-is-refused-after-the-upgrade": (
        "fail",
        (("regression", "login refused", "reviewer-fallback-local", "1.11.0"),),
    ),
    "a-new-issuer-of-the-cluster-refuses-every-login-of-a-vault-that-stays": (
        "fail",
        (("regression", "login refused", "issuer-mismatch", "1.8.0"),),
    ),
    "a-projected-token-for-vault-needs-a-reviewer-beside-it": (
        "pass",
        (("pre-existing", "refused from the start", "client-jwt-not-accepted", ""),),
    ),
    "a-reviewer-out-of-a-secret-outlives-vaults-pod": ("pass", ()),
    "a-reviewer-without-auth-delegator-refuses-everyone": (
        "pass",
        (("pre-existing", "refused from the start", "reviewer-lacks-tokenreview-rbac", ""),),
    ),
    "a-vault-outside-any-cluster-keeps-the-app-as-its-reviewer": ("pass", ()),
    "another-version-of-the-agent-would-not-help": (
        "fail",
        (("regression", "login refused", "reviewer-fallback-local", "1.11.0"),),
    ),
    "disable-local-ca-jwt-keeps-apps-in-another-cluster-logged-in": ("pass", ()),
    "jwt-keys-that-were-written-once-refuse-everybody-after-a-rotation": (
        "fail",
        (
            ("regression", "login refused", "jwt-key-unknown", "1.11.0"),
            ("improvement", "login granted", "changed-by-step", "1.11.0"),
        ),
    ),
    "keys-that-vault-fetches-itself-are-missed-once-it-starts-anew": (
        "fail",
        (
            ("regression", "login refused", "jwt-keys-refused", "1.11.0"),
            ("improvement", "login granted", "changed-by-step", "1.11.0"),
        ),
    ),
    "one-cluster-staging-stays-green-while-the-reviewer-changes": (
        "pass",
        (("latent", "reviewer changed", "reviewer-fallback-local", "1.11.0"),),
    ),
    "what-engines-gave-is-good-after-the-upgrade": ("pass", ()),
    "secret-ids-and-passwords-log-in-as-before-beside-kubernetes": ("pass", ()),
    "running-apps-renew-on-while-new-logins-are-refused": (
        "fail",
        (
            ("regression", "login refused", "reviewer-fallback-local", "1.9.3"),
            ("regression", "login refused", "reviewer-fallback-local", "1.9.3"),
        ),
    ),
    "the-hop-that-breaks-is-found-on-a-path-of-many": (
        "fail",
        (("regression", "login refused", "reviewer-fallback-local", "1.9.3"),),
    ),
    "a-standby-that-was-removed-forwards-nothing-once-another-node-leads": (
        "fail",
        (("regression", "not forwarded", "standby-does-not-forward", "1.9.2"),),
    ),
    "logins-go-through-the-leader-a-standby-and-a-load-balancer": ("pass", ()),
    "three-nodes-are-upgraded-standbys-first-and-the-leader-last": ("pass", ()),
    "three-nodes-with-the-leader-first-move-leadership-in-vain": (
        "pass",
        (("latent", "leadership moved in vain", "leader-replaced-first", "1.11.0"),),
    ),
    "a-half-done-upgrade-of-three-nodes-lets-leadership-go-back": (
        "pass",
        (("latent", "leadership went back", "leader-of-older-version", "1.7.0"),),
    ),
    "a-seal-stanza-taken-out-before-it-is-disabled-ends-vault": (
        "fail",
        (("regression", "upgrade refused", "seal-not-disabled", "1.9.2"),),
    ),
    "too-many-leases-on-etcd-keep-vault-sealed-after-the-upgrade": (
        "fail",
        (("regression", "upgrade refused", "lease-list-too-large", "1.9.2"),),
    ),
    "one-audit-device-on-a-full-disk-stops-every-login": (
        "fail",
        (
            ("regression", "requests refused", "audit-device-blocked", "1.11.0"),
            ("latent", "audit entries lost", "audit-device-blocked", "1.11.0"),
        ),
    ),
    "a-log-receiver-that-takes-nothing-makes-every-request-wait": (
        "pass",
        (("latent", "audit entries lost", "audit-device-blocked", "1.11.0"),),
    ),
    "the-outage-apps-in-another-cluster-are-refused-after-the-upgrade": (
        "fail",
        (("regression", "login refused", "reviewer-fallback-local", "1.11.0"),),
    ),
}
"""File -> the verdict, and every finding as (kind, effect, rule, hop)."""


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_shipped_scenario_loads_and_says_what_it_asks(file: Path) -> None:
    """Its name is a sentence, its description at least two, and it says what it expects."""
    loaded = loading.load(file)
    assert loaded.name.count("-") >= 4
    assert len(re.findall(r"[.?](?=\s|$)", loaded.scenario.description)) >= 2
    assert loaded.scenario.expect is not None


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_shipped_scenario_gives_on_paper_what_it_expects(file: Path, tmp_path: Path) -> None:
    """What a user sees first is right: exit 0, nothing missed and nothing unexpected."""
    _, judgement = on_paper(loading.load(file).scenario, tmp_path)
    assert (judgement.as_expected, judgement.exit_code) == (True, 0)
    assert (judgement.missed, judgement.unexpected) == ((), ())


@pytest.mark.parametrize("name", PROMISED)
def test_a_shipped_scenario_gives_the_verdict_and_findings_of_the_table(name: str, tmp_path: Path) -> None:
    """The scenario's own `expect` is not the only witness: this table says it again."""
    _, judgement = on_paper(loading.load(SCENARIOS / f"{name}.yaml").scenario, tmp_path)
    found = tuple((finding.kind, finding.effect, finding.rule, finding.hop) for finding in judgement.findings)
    assert (judgement.verdict, found) == PROMISED[name]


def test_the_table_has_every_shipped_scenario() -> None:
    """A new scenario needs its row here, and a row its scenario."""
    assert {file.stem for file in FILES} == set(PROMISED)


def test_editors_are_pointed_at_the_schema_of_this_release() -> None:
    """`scenarios/schema.json` is what `rehearse schema` prints, and every shipped scenario names it."""
    stored = json.loads((SCENARIOS / "schema.json").read_text())
    assert stored == Scenario.model_json_schema(by_alias=True)
    assert all(file.read_text().startswith("# yaml-language-server: $schema=schema.json\n") for file in FILES)
