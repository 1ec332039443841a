"""Logins by a client certificate: what can be said of them, who is refused, and what no record shows."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from cryptography import x509

from harness.drivers import vault_config
from harness.drivers.paper import certificates
from harness.drivers.vault_config import Listening
from harness.host import pki
from harness.knowledge import cert_logins, refusals
from harness.record.events import CredentialsMade, RoleWritten
from harness.record.observation import Observation
from harness.scenario import loading, plan
from harness.scenario.schema import Scenario
from tests.runs import fits_kind, on_paper
from tests.test_contradictions import problem
from tests.test_scenarios import PROMISED

ROLE: Final = {"policies": ["web"], "ttl": "1h"}


def text(role: dict[str, Any] | None = None, source: str = "1.7.0", target: str = "1.11.0", **parts: Any) -> str:
    """Return a scenario with a cert mount and a *role* of it."""
    document = {
        "schema": 1,
        "description": "Certificates.",
        "clusters": {"apps": {"kubernetes": "1.32.0"}},
        "vault": {"source": source, "target": target},
        "auth": {"cert": {"type": "cert", "roles": {"web": ROLE | (role or {})}}},
        "apps": {"web": {"mount": "cert", "role": "web", "reads": ["secret/web"]}},
    }
    return yaml.safe_dump(document | parts, sort_keys=False)


def scenario(role: dict[str, Any] | None = None, **parts: Any) -> Scenario:
    return loading.loads(text(role, **parts)).scenario


WRONG: Final[dict[str, tuple[str, str, str]]] = {
    # what is written, where it is marked, and what is said
    "plain http": (
        text(vault={"source": "1.7.0", "target": "1.11.0", "tls": False}),
        "type: cert",
        "a client certificate is shown over TLS",
    ),
    "a reviewer": (
        text(auth={"cert": {"type": "cert", "reviewer": "secret", "roles": {"web": ROLE}}}),
        "reviewer",
        "a mount of type cert has no reviewer",
    ),
    "a service account": (text({"service-accounts": ["web"]}), "- web", "cert has no service-accounts"),
    "another certificate": (text({"certificate": "theirs"}), "certificate: theirs", "not one of the choices"),
    "a life of no span": (text({"certificate-life": "soon"}), "certificate-life", "is not a span of time"),
    "of an AppRole": (
        text(auth={"cert": {"type": "approle", "roles": {"web": ROLE | {"certificate": "ca"}}}}),
        "certificate: ca",
        "a role of a mount of type approle has no certificate",
    ),
    "an app of a cluster": (
        text(apps={"web": {"mount": "cert", "role": "web", "cluster": "apps"}}),
        "cluster: apps",
        "an app that logs in at a mount of type cert has no cluster",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_is_refused_before_anything_starts(name: str) -> None:
    written, at, message = WRONG[name]
    said, remedy = problem(written, at)
    assert message in said + remedy


def test_what_a_role_trusts_by_itself_is_asked_for_a_forged_one() -> None:
    for certificate, forged in (("ca", False), ("own", True)):
        planned = plan.make(scenario({"certificate": certificate}), "test", "local")
        asked = {one.probe for one in planned.questions}
        assert asked >= {"wrong-certificate", "expired-certificate", "unknown-role"}
        assert ("forged-certificate" in asked) is forged
        assert any("trusts no certificate by itself" in why for why in planned.not_asked) is not forged


@pytest.mark.parametrize(
    ("source", "let_in"), [("1.11.0", True), ("1.14.9", True), ("1.14.10", False), ("1.16.3", False)]
)
def test_a_forged_certificate_is_let_in_by_its_number_until_keys_are_compared(
    source: str, let_in: bool, tmp_path: Path
) -> None:
    record, judgement = on_paper(scenario({"certificate": "own"}, source=source, target="1.16.4"), tmp_path)
    answers = [one.answer for one in record.of(Observation) if one.probe == "forged-certificate"]
    assert answers == ["granted" if let_in else "refused", "refused"]
    found = [(one.kind, one.effect, one.rule) for one in judgement.findings]
    assert found == (
        [
            ("pre-existing", "granted against the rule", "certificate-key-not-compared"),
            ("improvement", "login refused", "certificate-key-not-compared"),
        ]
        if let_in
        else []
    )


def test_an_impostor_that_is_refused_at_last_fails_no_run(tmp_path: Path) -> None:
    """It is a hole that is closed, and nobody who should be let in is any worse off."""
    _, judgement = on_paper(scenario({"certificate": "own"}, source="1.13.0", target="1.16.3"), tmp_path)
    assert (judgement.verdict, judgement.exit_code) == ("pass", 0)


@pytest.mark.parametrize("certificate", ["ca", "own"])
def test_a_certificate_that_ends_is_refused_for_it(certificate: str, tmp_path: Path) -> None:
    role = {"certificate": certificate, "certificate-life": "1s"}
    course = [{"wait": "2s"}, {"look": {}}]
    record, judgement = on_paper(scenario(role, vault={"source": "1.7.0"}, course=course), tmp_path)
    assert [one.status for one in record.of(Observation) if one.probe == "login"] == [200, 500]
    assert [one.rule for one in judgement.findings if one.kind == "regression"] == ["certificate-expired"]


def test_a_name_that_is_not_allowed_is_refused_and_mended(tmp_path: Path) -> None:
    role = {"allowed-common-names": ["shop-*"]}
    write = {"write": {"mount": "cert", "role": "web", "allowed-common-names": ["we*"]}}
    record, judgement = on_paper(scenario(role, vault={"source": "1.7.0"}, course=[write]), tmp_path)
    assert [one.status for one in record.of(Observation) if one.probe == "login"] == [400, 200]
    first, _ = judgement.findings
    assert (first.rule, first.effect) == ("certificate-not-matched", "refused from the start")
    assert 'resource "vault_cert_auth_backend_role"' in first.remedies[0].terraform
    assert 'file("client-ca.crt")' in first.remedies[0].terraform


@pytest.mark.parametrize(
    ("certificate", "version", "words", "confidence", "forged"),
    [
        ("ca", "1.17.0", "no chain matching all constraints", "certain", ""),
        ("ca", "1.18.0", "failed to match all constraints", "strong", ""),
        ("own", "1.13.0", "invalid certificate or no client", "strong", "invalid certificate or no client"),
        ("own", "1.17.0", "invalid certificate or no client", "strong", "public key mismatch"),
        ("own", "1.19.0", "failed to match all constraints", "strong", "public key mismatch"),
        ("own", "1.21.2", "failed to match all constraints", "strong", "failed to match all constraints"),
    ],
)
def test_a_name_that_is_not_allowed_is_told_whatever_vault_says(
    certificate: str, version: str, words: str, confidence: str, forged: str, tmp_path: Path
) -> None:
    """As real Vaults of these versions answered, one after the other."""
    role = {"certificate": certificate, "allowed-common-names": ["shop-*"]}
    record, judgement = on_paper(scenario(role, vault={"source": version}, course=[{"restart": {}}]), tmp_path)
    login, *_ = [one for one in record.of(Observation) if one.probe == "login"]
    assert login.error.startswith(words)
    (found,) = [one for one in judgement.findings if one.probe == "login"]
    assert (found.rule, found.confidence) == ("certificate-not-matched", confidence)
    assert "its common name, web, is none of shop-*" in found.sentence
    asked = [one.error for one in record.of(Observation) if one.probe == "forged-certificate"]
    assert all(one.startswith(forged) for one in asked)
    assert bool(asked) is bool(forged)


def test_no_key_of_a_certificate_is_in_the_record(tmp_path: Path) -> None:
    record, _ = on_paper(scenario({"certificate": "own"}), tmp_path)
    assert [(one.mount, one.role) for one in record.of(CredentialsMade)] == [("cert", "web")]
    assert [one.fields["certificate"] for one in record.of(RoleWritten)] == ["own"]
    assert "PRIVATE KEY" not in (tmp_path / "record.jsonl").read_text()


def test_a_forged_certificate_has_all_but_the_key() -> None:
    authority = pki.ClientAuthority()
    leaf, whole = authority.issue("web_A", 60)
    false, known = pki.forged(leaf), x509.load_pem_x509_certificate(leaf.encode())
    assert certificates.common_name(false) == certificates.common_name(whole) == "web_A"
    assert (certificates.trust(leaf, whole), certificates.trust(leaf, false)) == ("whole", "number alone")
    assert (certificates.trust(authority.certificate, whole), certificates.trust(authority.certificate, false)) == (
        "whole",
        "",
    )
    assert certificates.trust(leaf, authority.issue("web_A", 60)[1]) == ""
    assert not certificates.lives(authority.issue("web", 60, ago=3600)[1], 0)
    assert known.not_valid_after_utc.timestamp() > 0


@pytest.mark.parametrize("version", ["1.13.0", "1.16.3", "1.18.0", "1.21.2"])
@pytest.mark.parametrize("refusal", ["no match", "constraints", "other key", "expired"])
def test_a_refusal_is_known_by_its_words_and_is_one(refusal: cert_logins.Refusal, version: str) -> None:
    status, words = cert_logins.answer(refusal, version)
    alike = refusal == "constraints" and version in ("1.18.0", "1.21.2")
    assert cert_logins.refusal_of(words) == ("no match" if alike else refusal)
    assert refusals.says(status, words) == "refused"


def test_a_listener_for_certificates_of_anybody_asks_for_them_and_demands_none() -> None:
    """Only as long as nobody is initialised does it talk to us alone."""
    said = vault_config.text(
        {"file": {"path": "x"}}, listen="a", tls=Listening("c", "k"), address="b", cluster_address="d"
    )
    assert "tls_require_and_verify_client_cert" not in said
    assert '"tls_disable": false' in said


def test_kind_can_have_nearly_every_shipped_scenario() -> None:
    assert {name for name in PROMISED if not fits_kind(name)} == {
        "a-log-receiver-that-takes-nothing-makes-every-request-wait",
        "one-audit-device-on-a-full-disk-stops-every-login",
    }
