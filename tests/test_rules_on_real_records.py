"""Every cause is named out of the record of a real run: paper, and lines made up for a test, prove no rule."""

from __future__ import annotations

from pathlib import Path
from typing import Final, get_args

import pytest

from harness.analysis import verdict
from harness.analysis.correlation import Source
from harness.analysis.diagnosis import UNEXPLAINED
from harness.record import journal
from harness.scenario.outcomes import Cause
from tests.test_cases import RECORDS, unpacked

NAMED: Final[dict[str, tuple[str, str, set[Source]]]] = {
    "reviewer-fallback-client": (
        "the-way-back-turns-the-reviewer-into-the-app",
        "web",
        {"api audit", "vault audit", "config"},
    ),
    "changed-by-step": ("an-operator-is-let-in-by-a-binding", "operator", {"answer", "api audit"}),
    "reviewer-frozen": ("a-restart-kills-the-copied-reviewer", "orders", {"api audit", "vault audit", "config"}),
    "reviewer-lacks-tokenreview-rbac": (
        "an-operator-without-delegator-at-a-hosted-vault",
        "secrets-operator",
        {"api audit", "vault audit", "vault log"},
    ),
    "client-jwt-not-accepted": (
        "a-controller-that-asks-for-an-audience-of-its-own",
        "by-request",
        {"api audit", "api log", "token", "config"},
    ),
    "issuer-mismatch": ("an-issuer-nobody-set-since-1.4", "secrets-operator", {"answer", "vault audit", "token"}),
    "issuer-check-lost": ("an-issuer-nobody-set-since-1.4", "secrets-operator", {"answer", "vault audit", "config"}),
    "issuer-no-longer-accepted": (
        "an-old-issuer-is-dropped-while-tokens-of-it-are-about",
        "of-local",
        {"api audit", "api log", "token", "cluster"},
    ),
    "login-identity-changed": ("an-alias-by-name-makes-other-entities-of-the-apps", "orders", {"answer"}),
    "local-ca-missing": ("a-config-without-a-ca-where-no-pod-is", "web", {"answer", "config"}),
    "role-binding-mismatch": ("four-apps-that-vault-itself-refuses", "billing", {"answer", "vault audit"}),
    "address-not-bound": ("four-apps-that-vault-itself-refuses", "mail", {"answer", "vault audit"}),
    "policy-denies": ("four-apps-that-vault-itself-refuses", "stock", {"answer", "policy"}),
    "audience-mismatch": ("four-apps-that-vault-itself-refuses", "orders", {"answer", "vault audit", "token"}),
    "stored-reviewer-expires": ("a-requested-reviewer-ends-some-day", "web", {"token", "config"}),
    "login-token-rejected": (
        "a-token-out-of-a-secret-dies-with-the-secret",
        "batch",
        {"api audit", "vault audit", "vault log"},
    ),
    "review-without-audiences": (
        "projected-tokens-for-vault-on-1.3",
        "billing",
        {"answer", "api audit"},
    ),
    "signing-key-unknown": ("a-signing-key-of-another-cluster", "web", {"answer", "vault audit"}),
    "jwt-audience-not-bound": ("tokens-of-a-ci-and-keys-that-rotate", "deploy", {"answer", "vault audit", "token"}),
    "jwt-key-unknown": ("tokens-of-a-ci-and-keys-that-rotate", "careful", {"answer", "vault audit", "config", "token"}),
    "jwt-keys-refused": (
        "keys-and-documents-that-vault-gets-from-the-cluster",
        "job",
        {"answer", "vault audit", "config"},
    ),
    "jwt-keys-held": ("keys-and-documents-that-vault-gets-from-the-cluster", "web", {"vault audit", "config"}),
    "jwt-discovered-issuer": (
        "keys-and-documents-that-vault-gets-from-the-cluster",
        "job",
        {"answer", "vault audit", "config", "token"},
    ),
    "certificate-expired": ("client-certificates-that-end-and-that-are-forged", "short", {"answer", "vault audit"}),
    "certificate-not-matched": ("client-certificates-that-end-and-that-are-forged", "mail", {"answer", "vault audit"}),
    "certificate-key-not-compared": (
        "client-certificates-that-end-and-that-are-forged",
        "job",
        {"answer", "vault audit"},
    ),
    "jwt-bound-claim-mismatch": (
        "claims-that-a-role-binds-and-takes",
        "other",
        {"answer", "vault audit", "token"},
    ),
    "jwt-claim-unusable": ("claims-that-a-role-binds-and-takes", "nobody", {"answer", "vault audit", "token"}),
    "jwt-claim-mismatch": ("tokens-of-a-ci-and-keys-that-rotate", "billing", {"answer", "vault audit", "token"}),
    "jwt-audience-mismatch": ("tokens-of-a-ci-and-keys-that-rotate", "mail", {"answer", "vault audit", "token"}),
    "seal-vault-sealed": ("the-vault-that-unseals-is-sealed-away-and-forgets", "", {"answer"}),
    "seal-vault-away": ("the-vault-that-unseals-is-sealed-away-and-forgets", "", {"answer"}),
    "seal-token-refused": ("the-vault-that-unseals-is-sealed-away-and-forgets", "", {"answer"}),
    "rewrite-refused": ("what-is-read-is-not-taken-back", "", {"answer"}),
    "rewrite-changes": ("what-is-read-is-not-taken-back", "", {"config"}),
    "user-lockout": ("passwords-and-secret-ids-once-vault-locks-out", "", {"answer"}),
    "secret-not-accepted": ("passwords-and-secret-ids-once-vault-locks-out", "job", {"answer", "vault audit"}),
    "stored-reviewer-refused": ("a-ca-is-mended-and-the-reviewer-is-gone", "web", {"api audit", "api log", "config"}),
    "api-server-untrusted": ("only-a-host-for-another-cluster", "there", {"vault log"}),
    "api-server-not-at-host": ("proxies-that-know-no-service-account-tokens", "managed", {"vault log", "config"}),
    "api-server-unreachable": ("an-api-server-that-is-not-where-the-config-says", "old", {"vault log", "config"}),
}
"""Cause -> a case with the record of a real run, the app, and the sources without which nobody should believe it."""

ELSEWHERE: Final = {
    "reviewer-fallback-local": "the shipped scenarios, tests/records",
    "no-such-mount": "tests/test_real_fields.py",
    "agent-refused-alone": "scenarios/corpus/n05, tests/records/corpus",
    "clock-ahead": "scenarios/corpus/h05, tests/records/corpus",
    "agent-sink-missing": "scenarios/corpus/n07, tests/records/corpus",
    "agent-not-back": "tests/test_agents.py, tests/records/real",
    "refused-at-once": "tests/records/storms, tests/test_real_storms.py",
    "token-limits": "tests/fuzz/finds: the record of a real run, tests/test_fuzz.py",
    "reviewer-may-not-read": "tests/test_real_fields.py",
    "lease-ended": "tests/fuzz/finds: the record of a real run, tests/test_fuzz.py",
    "review-audiences-left-out": "scenarios/corpus/b03, tests/records/corpus",
    "token-algorithm-refused": "scenarios/corpus/b22, tests/records/corpus",
    "disable-mlock-unsaid": "scenarios/corpus/b08, tests/records/corpus",
    "seal-migration-not-told": "tests/test_real_seals.py",
    "seal-not-disabled": "tests/test_real_seals.py",
    "mount-type-removed": "scenarios/corpus/b10a, b10b, b11, tests/records/corpus",
    "leader-replaced-first": "the shipped scenarios, tests/records",
    "leader-of-older-version": "the shipped scenarios, tests/records",
    "standby-does-not-forward": "the shipped scenario, tests/records",
    "quorum-lost": "scenarios/corpus/b27, tests/records/corpus",
    "node-did-not-rejoin": "tests/test_cases.py, tests/records/real",
    "node-removed": "scenarios/corpus/b28a and b28b, tests/records/corpus",
    "raft-operation-unknown": "tests/test_nodes.py: on paper, with one thing broken; not on real servers yet",
    "mount-type-unknown": "tests/test_nodes.py: on paper, with one thing broken; not on real servers yet",
    "storage-connection-lost": "tests/test_storages.py, tests/records/storages",
    "storage-away": "tests/test_cases.py, tests/records/real",
    "database-away": "scenarios/corpus/e01, tests/records/corpus",
    "lease-irrevocable": "tests/test_leases.py, tests/records/leases",
    "lease-list-too-large": "the shipped scenario, tests/records",
    "audit-device-blocked": "the shipped scenarios, tests/records",
    "audit-device-refused": "scenarios/corpus/b13a and b13b, tests/records/corpus",
    "audit-entry-changed": "tests/test_audit_devices.py: on real servers, after a way back",
    "vault-refuses-data": "tests/test_breaking.py: no two releases at hand refuse each other's data",
}
"""Causes that other tests hold to real servers."""


@pytest.mark.parametrize("cause", NAMED)
def test_a_cause_is_named_out_of_the_record_of_a_real_run(cause: str, tmp_path: Path) -> None:
    case, app, sources = NAMED[cause]
    judgement = verdict.judge(journal.load(unpacked(RECORDS / f"{case}.jsonl.gz", tmp_path)))
    assert judgement.driver == "local"
    found = [finding for finding in judgement.findings if (finding.rule, finding.app) == (cause, app)]
    assert found
    for finding in found:
        assert {line.source for line in finding.evidence} >= sources
        assert finding.confidence in ("certain", "strong")
        assert not finding.ambiguous


def test_every_cause_has_the_record_of_a_real_run() -> None:
    """A new rule needs a case that reaches it on real servers, and a cause that none can reach has to go."""
    assert set(NAMED).isdisjoint(ELSEWHERE)
    assert set(NAMED) | set(ELSEWHERE) == set(get_args(Cause)) - {UNEXPLAINED}


@pytest.mark.parametrize(
    "said",
    [
        # 1.11.0 on kind, whose API server was taken away between two logins
        "write tcp 10.244.0.29:37364->172.21.0.2:6443: write: broken pipe",
        "read tcp 10.244.0.29:37364->172.21.0.2:6443: read: connection reset by peer",
        "http: server closed idle connection",
        "http2: client connection lost",
        "EOF",
        "net/http: TLS handshake timeout",
        "dial tcp 172.21.0.2:6443: connect: network is unreachable",
    ],
)
def test_an_api_server_is_not_reached_whatever_the_connection_makes_of_that(said: str, tmp_path: Path) -> None:
    """A connection that was kept ends in words of its own, and the first login after that is told by them alone."""
    file = unpacked(RECORDS / "an-api-server-that-is-not-where-the-config-says.jsonl.gz", tmp_path)
    text = file.read_text()
    assert "dial tcp 127.0.0.1:1: connect: connection refused" in text
    file.write_text(text.replace("dial tcp 127.0.0.1:1: connect: connection refused", said))
    judgement = verdict.judge(journal.load(file))
    assert [(one.kind, one.rule) for one in judgement.findings if one.app in ("web", "old")] == [
        ("regression", "api-server-unreachable"),
        ("pre-existing", "api-server-unreachable"),
    ]
