"""Trouble that people reported in public, as scenarios: judged right on real servers, on record and on paper."""

from __future__ import annotations

import gzip
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pytest

from harness.analysis import verdict
from harness.analysis.verdict import Judgement
from harness.record import journal
from harness.reports import text
from harness.scenario import loading, plan
from tests.lent import Lender
from tests.runs import on_paper
from tests.test_real import ROOT, SECRET_SHAPES, ours, work_directories
from tests.versions_at_hand import CORE, further

CASES: Final = Path(__file__).parent / "cases"
RECORDS: Final = Path(__file__).parent / "records" / "real"
FILES: Final = {file.stem: file for file in sorted(CASES.glob("*.yaml"))}

Row = tuple[str, tuple[tuple[str, str, str, str, str], ...]]

JUDGED: Final[Mapping[str, Row]] = {
    "an-etcd-loses-its-leader-in-mid-hop-and-then-its-quorum": (
        "fail",
        (("regression", "requests refused", "storage-away", "1.11.0", ""),),
    ),
    "a-postgresql-restarts-and-is-away-when-vault-starts": (
        "fail",
        (
            ("regression", "requests refused", "storage-away", "1.9.2", ""),
            ("regression", "upgrade refused", "storage-away", "1.11.0", ""),
        ),
    ),
    "leadership-goes-back-over-an-etcd-that-two-nodes-have": (
        "pass",
        (("latent", "leadership went back", "leader-of-older-version", "1.9.2", ""),),
    ),
    "a-node-comes-back-over-a-lost-disk-and-another-over-the-disk-of-another-vault": (
        "fail",
        (("regression", "node lost", "node-did-not-rejoin", "1.11.0", ""),),
    ),
    "a-node-without-data-has-nobody-to-join-while-another-one-is-away": (
        "fail",
        (
            ("regression", "quorum lost", "quorum-lost", "1.9.2", ""),
            ("regression", "node lost", "node-did-not-rejoin", "1.11.0", ""),
        ),
    ),
    "two-of-three-nodes-are-away-in-the-middle-of-a-rolling-upgrade": (
        "fail",
        (("regression", "quorum lost", "quorum-lost", "1.9.2", ""),),
    ),
    "a-cluster-gets-another-issuer-under-a-vault-that-stays": (
        "fail",
        (
            ("regression", "login refused", "issuer-mismatch", "1.8.0", "web"),
            ("improvement", "login granted", "changed-by-step", "1.8.0", "web"),
        ),
    ),
    "an-old-issuer-is-dropped-while-tokens-of-it-are-about": (
        "fail",
        (
            ("regression", "login refused", "issuer-no-longer-accepted", "1.11.0", "of-local"),
            ("regression", "login refused", "issuer-no-longer-accepted", "1.11.0", "of-copied"),
            ("regression", "login refused", "issuer-no-longer-accepted", "1.11.0", "of-requested"),
            ("latent", "reviewer expires", "stored-reviewer-expires", "", "of-copied"),
            ("latent", "reviewer expires", "stored-reviewer-expires", "", "of-requested"),
            ("improvement", "login granted", "changed-by-step", "1.11.0", "of-local"),
            ("improvement", "login granted", "changed-by-step", "1.11.0", "of-copied"),
            ("improvement", "login granted", "changed-by-step", "1.11.0", "of-requested"),
        ),
    ),
    "an-audience-that-named-the-cluster-outlives-its-issuer": (
        "fail",
        (
            ("regression", "login refused", "audience-mismatch", "1.11.0", "unnamed"),
            ("regression", "login refused", "client-jwt-not-accepted", "1.11.0", "reviews-itself"),
            ("improvement", "login granted", "changed-by-step", "1.11.0", "unnamed"),
            ("improvement", "login granted", "changed-by-step", "1.11.0", "reviews-itself"),
        ),
    ),
    "a-ca-is-mended-and-the-reviewer-is-gone": (
        "pass",
        (
            ("latent", "refused for another reason", "stored-reviewer-refused", "1.9.3", "web"),
            ("pre-existing", "refused from the start", "api-server-untrusted", "", "web"),
        ),
    ),
    "a-signing-key-of-another-cluster": (
        "pass",
        (("pre-existing", "refused from the start", "signing-key-unknown", "", "web"),),
    ),
    "two-kinds-of-token-at-one-mount": (
        "fail",
        (
            ("regression", "login refused", "login-token-rejected", "1.11.0", "batch"),
            ("latent", "check lost", "issuer-check-lost", "1.11.0", "web"),
            ("pre-existing", "refused from the start", "issuer-mismatch", "", "web"),
            ("improvement", "login granted", "issuer-check-lost", "1.11.0", "web"),
        ),
    ),
    "passwords-and-secret-ids-once-vault-locks-out": (
        "pass",
        (
            ("latent", "lockout changed", "user-lockout", "1.13.0", ""),
            ("latent", "lockout changed", "user-lockout", "1.13.0", ""),
            ("latent", "login refused", "secret-not-accepted", "1.16.3", "job"),
        ),
    ),
    "a-secret-id-keeps-the-uses-that-its-role-said-then": (
        "pass",
        (("latent", "login refused", "secret-not-accepted", "1.11.0", "batch"),),
    ),
    "tokens-of-a-ci-and-keys-that-rotate": (
        "fail",
        (
            ("regression", "login refused", "jwt-audience-not-bound", "1.16.3", "deploy"),
            ("regression", "login refused", "jwt-key-unknown", "1.16.3", "careful"),
            ("latent", "refused for another reason", "jwt-key-unknown", "1.16.3", "deploy"),
            ("latent", "refused for another reason", "jwt-audience-not-bound", "1.16.3", "deploy"),
            ("pre-existing", "refused from the start", "jwt-audience-not-bound", "", "stock"),
            ("pre-existing", "refused from the start", "jwt-claim-mismatch", "", "billing"),
            ("pre-existing", "refused from the start", "jwt-audience-mismatch", "", "mail"),
            ("improvement", "login granted", "changed-by-step", "1.16.3", "careful"),
        ),
    ),
    "keys-and-documents-that-vault-gets-from-the-cluster": (
        "fail",
        (
            ("regression", "login refused", "jwt-keys-held", "1.7.0", "web"),
            ("regression", "login refused", "jwt-keys-held", "1.7.0", "job"),
            ("regression", "login refused", "jwt-keys-refused", "1.11.0", "web"),
            ("regression", "login refused", "jwt-keys-refused", "1.11.0", "job"),
            ("latent", "refused for another reason", "jwt-discovered-issuer", "1.11.0", "job"),
            ("improvement", "login granted", "jwt-keys-held", "1.9.3", "web"),
            ("improvement", "login granted", "jwt-keys-held", "1.9.3", "job"),
            ("improvement", "login granted", "changed-by-step", "1.11.0", "web"),
        ),
    ),
    "client-certificates-that-end-and-that-are-forged": (
        "fail",
        (
            ("regression", "login refused", "certificate-expired", "1.16.3", "short"),
            ("pre-existing", "granted against the rule", "certificate-key-not-compared", "", "job"),
            ("pre-existing", "refused from the start", "certificate-not-matched", "", "mail"),
            ("improvement", "login refused", "certificate-key-not-compared", "1.16.3", "job"),
            ("improvement", "login granted", "changed-by-step", "1.16.3", "mail"),
        ),
    ),
    "claims-that-a-role-binds-and-takes": (
        "pass",
        (
            ("latent", "identity changed", "login-identity-changed", "1.16.3", "web"),
            ("pre-existing", "refused from the start", "jwt-bound-claim-mismatch", "", "other"),
            ("pre-existing", "refused from the start", "jwt-bound-claim-mismatch", "", "seven"),
            ("pre-existing", "refused from the start", "jwt-claim-unusable", "", "nobody"),
            ("pre-existing", "refused from the start", "jwt-claim-unusable", "", "counted"),
            ("pre-existing", "refused from the start", "jwt-bound-claim-mismatch", "", "elsewhere"),
            ("improvement", "login granted", "jwt-bound-claim-mismatch", "1.16.3", "seven"),
        ),
    ),
    "the-vault-that-unseals-is-sealed-away-and-forgets": (
        "pass",
        (
            ("latent", "auto-unseal lost", "seal-vault-sealed", "1.7.0", ""),
            ("latent", "auto-unseal lost", "seal-vault-away", "1.7.0", ""),
            ("latent", "auto-unseal lost", "seal-token-refused", "1.7.0", ""),
            ("improvement", "auto-unseal works", "changed-by-step", "1.7.0", ""),
            ("improvement", "auto-unseal works", "changed-by-step", "1.7.0", ""),
        ),
    ),
    "a-hosted-vault-done-right": ("pass", ()),
    "a-role-audience-that-no-token-has": (
        "pass",
        (("pre-existing", "refused from the start", "audience-mismatch", "", "example"),),
    ),
    "apps-of-another-cluster-and-a-reviewer-nobody-chose": (
        "pass",
        (("pre-existing", "refused from the start", "reviewer-fallback-local", "", "web"),),
    ),
    "projected-tokens-for-vault-on-1.3": (
        "pass",
        (
            ("pre-existing", "refused from the start", "review-without-audiences", "", "billing"),
            ("improvement", "login granted", "review-without-audiences", "1.4.0", "billing"),
        ),
    ),
    "terraform-writes-issuer-validation-on": (
        "pass",
        (
            ("latent", "check lost", "issuer-check-lost", "1.11.0", "web"),
            ("pre-existing", "refused from the start", "issuer-mismatch", "", "web"),
            ("improvement", "login granted", "issuer-check-lost", "1.11.0", "web"),
        ),
    ),
    "a-config-without-a-ca-gets-that-of-vaults-pod": (
        "pass",
        (
            ("pre-existing", "refused from the start", "api-server-untrusted", "", "web"),
            ("improvement", "login granted", "api-server-untrusted", "1.9.3", "web"),
        ),
    ),
    "a-config-without-a-ca-where-no-pod-is": (
        "fail",
        (
            ("regression", "access refused", "local-ca-missing", "1.11.0", ""),
            ("pre-existing", "refused from the start", "local-ca-missing", "", "web"),
        ),
    ),
    "a-controller-that-asks-for-an-audience-of-its-own": (
        "pass",
        (("pre-existing", "refused from the start", "client-jwt-not-accepted", "", "by-request"),),
    ),
    "a-requested-reviewer-ends-some-day": (
        "pass",
        (("latent", "reviewer expires", "stored-reviewer-expires", "", "web"),),
    ),
    "a-token-out-of-a-secret-dies-with-the-secret": (
        "fail",
        (("regression", "login refused", "login-token-rejected", "1.9.3", "batch"),),
    ),
    "policies-by-the-aliases-of-users-pipelines-and-machines": (
        "pass",
        (
            ("pre-existing", "refused from the start", "policy-denies", "", "alice"),
            ("pre-existing", "refused from the start", "policy-denies", "", "deploy"),
            ("pre-existing", "refused from the start", "policy-denies", "", "gw"),
            ("pre-existing", "refused from the start", "policy-denies", "", "job"),
        ),
    ),
    "pipelines-at-a-mount-that-binds-the-issuer": (
        "pass",
        (
            ("pre-existing", "refused from the start", "jwt-bound-claim-mismatch", "", "build"),
            ("pre-existing", "refused from the start", "jwt-claim-mismatch", "", "late"),
        ),
    ),
    "templates-that-nothing-fills": (
        "pass",
        (
            ("pre-existing", "refused from the start", "policy-denies", "", "web"),
            ("pre-existing", "refused from the start", "policy-denies", "", "mail"),
            ("pre-existing", "refused from the start", "policy-denies", "", "admin"),
            ("pre-existing", "refused from the start", "policy-denies", "", "alice"),
            ("pre-existing", "refused from the start", "policy-denies", "", "job"),
        ),
    ),
    "an-alias-by-name-makes-other-entities-of-the-apps": (
        "pass",
        (
            ("latent", "identity changed", "login-identity-changed", "1.11.0", "orders"),
            ("latent", "identity changed", "login-identity-changed", "1.11.0", "stock"),
        ),
    ),
    "an-api-server-that-is-not-where-the-config-says": (
        "fail",
        (
            ("regression", "login refused", "api-server-unreachable", "1.11.0", "web"),
            ("pre-existing", "refused from the start", "api-server-unreachable", "", "old"),
        ),
    ),
    "a-vault-moves-and-leaves-its-token-and-its-ca-behind": (
        "fail",
        (
            ("regression", "login refused", "reviewer-fallback-local", "1.11.0", "web"),
            ("regression", "login refused", "api-server-untrusted", "1.11.0", "shop"),
            ("latent", "reviewer changed", "reviewer-fallback-client", "1.13.0", "web"),
            ("improvement", "login granted", "changed-by-step", "1.11.0", "shop"),
            ("improvement", "login granted", "changed-by-step", "1.13.0", "web"),
        ),
    ),
    "one-policy-for-all-by-the-name-of-the-account": (
        "pass",
        (("pre-existing", "refused from the start", "policy-denies", "", "nosy"),),
    ),
    "a-copied-reviewer-dies-when-vault-moves-to-a-vm": (
        "fail",
        (("regression", "login refused", "reviewer-frozen", "1.11.0", "web"),),
    ),
    "proxies-that-know-no-service-account-tokens": (
        "fail",
        (
            ("regression", "login refused", "api-server-not-at-host", "1.11.0", "web"),
            ("pre-existing", "refused from the start", "api-server-not-at-host", "", "managed"),
            ("pre-existing", "refused from the start", "api-server-not-at-host", "", "paged"),
            ("pre-existing", "refused from the start", "api-server-unreachable", "", "cut"),
            ("pre-existing", "refused from the start", "api-server-not-at-host", "", "plain"),
        ),
    ),
    "an-operator-is-let-in-by-a-binding": (
        "pass",
        (
            ("pre-existing", "refused from the start", "reviewer-lacks-tokenreview-rbac", "", "operator"),
            ("improvement", "login granted", "changed-by-step", "1.11.0", "operator"),
        ),
    ),
    "a-certificate-issuer-with-its-own-audience": (
        "pass",
        (("pre-existing", "refused from the start", "client-jwt-not-accepted", "", "issuer-by-request"),),
    ),
    "a-module-with-only-a-host-used-once-more": (
        "pass",
        (("pre-existing", "refused from the start", "api-server-untrusted", "", "there"),),
    ),
    "what-is-read-is-not-taken-back": (
        "fail",
        (
            ("regression", "rewrite refused", "rewrite-refused", "1.9.2", ""),
            ("latent", "reviewer changed", "changed-by-step", "1.9.2", "web"),
            ("latent", "rewrite changes a value", "rewrite-changes", "1.9.2", ""),
        ),
    ),
    "only-a-host-for-another-cluster": (
        "pass",
        (("pre-existing", "refused from the start", "api-server-untrusted", "", "there"),),
    ),
    "the-way-back-turns-the-reviewer-into-the-app": (
        "fail",
        (("regression", "login refused", "reviewer-fallback-client", "1.9.2", "web"),),
    ),
    "four-apps-that-vault-itself-refuses": (
        "pass",
        (
            ("pre-existing", "refused from the start", "role-binding-mismatch", "", "billing"),
            ("pre-existing", "refused from the start", "audience-mismatch", "", "orders"),
            ("pre-existing", "refused from the start", "address-not-bound", "", "mail"),
            ("pre-existing", "refused from the start", "policy-denies", "", "stock"),
        ),
    ),
    "vault-moves-away-and-its-pods-ca-with-it": (
        "fail",
        (
            ("regression", "login refused", "api-server-untrusted", "1.11.0", "shop"),
            ("improvement", "login granted", "changed-by-step", "1.11.0", "shop"),
        ),
    ),
    "a-restart-kills-the-copied-reviewer": (
        "fail",
        (("regression", "login refused", "reviewer-frozen", "1.9.2", "orders"),),
    ),
    "an-issuer-nobody-set-since-1.4": (
        "pass",
        (
            ("latent", "check lost", "issuer-check-lost", "1.11.0", "secrets-operator"),
            ("pre-existing", "refused from the start", "issuer-mismatch", "", "secrets-operator"),
            ("improvement", "login granted", "issuer-check-lost", "1.11.0", "secrets-operator"),
        ),
    ),
    "an-operator-without-delegator-at-a-hosted-vault": (
        "pass",
        (("pre-existing", "refused from the start", "reviewer-lacks-tokenreview-rbac", "", "secrets-operator"),),
    ),
}
"""Case -> the verdict, and every finding as (kind, effect, rule, hop, app)."""

ANSWERS: Final[Mapping[str, Mapping[str, tuple[int | None, ...]]]] = {
    "a-cluster-gets-another-issuer-under-a-vault-that-stays": {"batch": (200, 200, 200), "web": (200, 500, 200)},
    "an-old-issuer-is-dropped-while-tokens-of-it-are-about": {
        "of-local": (200, 403, 200),
        "of-copied": (200, 403, 200),
        "of-requested": (200, 403, 200),
        "of-stored": (200, 200, 200),
        "of-itself": (200, 200, 200),
    },
    "an-audience-that-named-the-cluster-outlives-its-issuer": {
        "named": (200, 200, 200, 200),
        "strict": (200, 200, 200, 200),
        "unnamed": (200, 200, 500, 200),
        "reviews-itself": (200, 200, 403, 200),
        "unnamed-reviews-itself": (200, 200, 200, 200),
    },
    "a-ca-is-mended-and-the-reviewer-is-gone": {"web": (403, 403, 403, 403)},
    "a-signing-key-of-another-cluster": {"web": (500, 403)},
    "two-kinds-of-token-at-one-mount": {"batch": (200, 200, 403), "web": (500, 200, 200)},
    "passwords-and-secret-ids-once-vault-locks-out": {
        "batch": (200, 200, 200),
        "job": (200, 200, 400),
        "alice": (200, 200, 200),
    },
    "a-secret-id-keeps-the-uses-that-its-role-said-then": {
        "batch": (200, 200, 200, 400, 400),
        "job": (200,) * 5,
    },
    "tokens-of-a-ci-and-keys-that-rotate": {
        "deploy": (200, 400, 400, 400),
        "careful": (200, 200, 400, 200),
        "stock": (400,) * 4,
        "web": (200,) * 4,
        "billing": (400,) * 4,
        "mail": (400,) * 4,
    },
    "keys-and-documents-that-vault-gets-from-the-cluster": {
        "web": (200, 400, 200, 200, 200, 400, 200),
        "job": (200, 400, 200, 200, 200, 400, 400),
    },
    "client-certificates-that-end-and-that-are-forged": {
        "web": (200,) * 3,
        "job": (200,) * 3,
        "mail": (400, 400, 200),
        "short": (200, 500, 500),
    },
    "claims-that-a-role-binds-and-takes": {
        "shop": (200,) * 3,
        "other": (400,) * 3,
        "team": (200,) * 3,
        "seven": (400, 200, 200),
        "nobody": (400,) * 3,
        "counted": (400,) * 3,
        "web": (200,) * 3,
        "elsewhere": (400,) * 3,
    },
    "the-vault-that-unseals-is-sealed-away-and-forgets": {"batch": (200,) * 6},
    "an-etcd-loses-its-leader-in-mid-hop-and-then-its-quorum": {"batch": (200, 200, 200, 200, 200, 200, None, 200)},
    "a-postgresql-restarts-and-is-away-when-vault-starts": {"batch": (200, 200, 200, 200, None, 200)},
    "leadership-goes-back-over-an-etcd-that-two-nodes-have": {"batch": (200, 200, 200, 200)},
    "a-node-comes-back-over-a-lost-disk-and-another-over-the-disk-of-another-vault": {"batch": (200, 200)},
    "a-node-without-data-has-nobody-to-join-while-another-one-is-away": {"batch": (200, 200)},
    "two-of-three-nodes-are-away-in-the-middle-of-a-rolling-upgrade": {"batch": (200, 200, None, 200, 200)},
    "a-hosted-vault-done-right": {"data-server": (200,) * 5, "agent": (200,) * 5},
    "a-role-audience-that-no-token-has": {"example": (500, 500, 500, 500, 403)},
    "apps-of-another-cluster-and-a-reviewer-nobody-chose": {"web": (403, 403)},
    "projected-tokens-for-vault-on-1.3": {"billing": (500, 200), "web": (200, 200)},
    "terraform-writes-issuer-validation-on": {"web": (500, 200, 200)},
    "a-config-without-a-ca-gets-that-of-vaults-pod": {"web": (403, 200, 200)},
    "a-config-without-a-ca-where-no-pod-is": {"web": (500, 500)},
    "a-controller-that-asks-for-an-audience-of-its-own": {
        "by-request": (403, 403),
        "cured": (200, 200),
        "ordinary": (200, 200),
    },
    "a-requested-reviewer-ends-some-day": {"web": (200, 200)},
    "a-token-out-of-a-secret-dies-with-the-secret": {"batch": (200, 403, 403), "web": (200, 200, 200)},
    "policies-by-the-aliases-of-users-pipelines-and-machines": {
        "alice": (200, 200),
        "deploy": (200, 200),
        "gw": (200, 200),
        "job": (200, 200),
    },
    "pipelines-at-a-mount-that-binds-the-issuer": {"deploy": (200, 200), "build": (400, 400), "late": (400, 400)},
    "templates-that-nothing-fills": {
        "web": (200, 200),
        "mail": (200, 200),
        "admin": (200, 200),
        "alice": (200, 200),
        "job": (200, 200),
    },
    "an-alias-by-name-makes-other-entities-of-the-apps": {"orders": (200, 200), "stock": (200, 200)},
    "an-api-server-that-is-not-where-the-config-says": {"old": (403, 403, 403), "web": (200, 200, 403)},
    "a-vault-moves-and-leaves-its-token-and-its-ca-behind": {
        "web": (200, 403, 403, 403, 200),
        "shop": (200, 403, 200, 200, 200),
        "mail": (200, 200, 200, 200, 200),
    },
    "one-policy-for-all-by-the-name-of-the-account": {"web": (200, 200), "shop": (200, 200), "nosy": (200, 200)},
    "a-copied-reviewer-dies-when-vault-moves-to-a-vm": {"web": (200, 403)},
    "proxies-that-know-no-service-account-tokens": {
        "passing": (200, 200, 200),
        "managed": (403, 403, 403),
        "paged": (403, 403, 403),
        "cut": (403, 403, 403),
        "plain": (403, 403, 403),
        "web": (200, 200, 403),
    },
    "an-operator-is-let-in-by-a-binding": {"operator": (403, 403, 200)},
    "a-certificate-issuer-with-its-own-audience": {
        "issuer-by-request": (403, 403),
        "issuer-cured": (200, 200),
        "issuer-ordinary": (200, 200),
    },
    "a-module-with-only-a-host-used-once-more": {"here": (200, 200), "there": (403, 403)},
    "what-is-read-is-not-taken-back": {"web": (200, 200, 200, 200, 200)},
    "only-a-host-for-another-cluster": {"here": (200, 200), "there": (403, 403)},
    "the-way-back-turns-the-reviewer-into-the-app": {"web": (200, 200, 403)},
    "four-apps-that-vault-itself-refuses": {
        "billing": (500, 403),
        "orders": (500, 500),
        "mail": (403, 403),
        "stock": (200, 200),
    },
    "vault-moves-away-and-its-pods-ca-with-it": {"shop": (200, 403, 200)},
    "a-restart-kills-the-copied-reviewer": {"orders": (200, 403)},
    "an-issuer-nobody-set-since-1.4": {"secrets-operator": (500, 500, 500, 500, 200)},
    "an-operator-without-delegator-at-a-hosted-vault": {"secrets-operator": (403, 403, 403)},
}
"""Case -> app -> the status of its login at each moment; None where the answer is unknown."""

SAID: Final[Mapping[str, tuple[str, ...]]] = {
    "an-etcd-loses-its-leader-in-mid-hop-and-then-its-quorum": (
        "the leader of the etcd of Vault, was killed, in the middle of the upgrade to Vault 1.9.2",
        "all members of the etcd of Vault were defragmented at once",
        "The storage of Vault 1.11.0 does not serve: 1 of 3 members of its etcd run, and 2 have to",
        "Of what was asked then Vault failed in 1 (login) with HTTP 500",
        "etcdctl --endpoints=<EVERY-MEMBER> endpoint status",
    ),
    "a-postgresql-restarts-and-is-away-when-vault-starts": (
        "the PostgreSQL of Vault was restarted, in the middle of the upgrade to Vault 1.9.2",
        "Vault 1.11.0 could not be unsealed, which says nothing of what it makes of its data: its PostgreSQL is away",
        "connect: connection refused",
    ),
    "leadership-goes-back-over-an-etcd-that-two-nodes-have": (
        "the older one took the lock in the storage, over data to which the newer one may have brought mounts and",
        "nodes vault-1 stepped down leaders vault-1 (1.11.0); then vault-0 (1.9.2)",
    ),
    "a-node-comes-back-over-a-lost-disk-and-another-over-the-disk-of-another-vault": (
        "taken to 1.11.0, each until it was back: vault-1 ",
        "failed to decrypt keys from storage: cipher: message authentication failed",
        "Do not initialise vault-2, and hand it no other key: one that opens makes it a second Vault",
    ),
    "a-node-without-data-has-nobody-to-join-while-another-one-is-away": (
        "Nobody leads any more while vault-1 is replaced: of 3 nodes 2 have to be there to elect one, and unsealed are",
        "it is not initialised: it has no data, and has joined nobody",
        "vault operator raft join https://<LEADER>:8200",
        "longest without an answer: health ",
    ),
    "two-of-three-nodes-are-away-in-the-middle-of-a-rolling-upgrade": (
        "of 3 nodes 2 have to be there to elect one, and unsealed are vault-1. Nothing is answered",
        "leaders nobody; then vault-",
    ),
    "a-cluster-gets-another-issuer-under-a-vault-that-stays": (
        (
            "Vault did not change: cluster apps did, which signed with kubernetes/serviceaccount before and signs with "
            "https://kubernetes.default.svc.cluster.local now, and the API server still accepts kubernetes/service"
        ),
        "Before the change of issuers in apps, on Vault 1.8.0: Write the whole config again with disable_iss",
        "A Pod that starts once apps changed must log in",
    ),
    "an-old-issuer-is-dropped-while-tokens-of-it-are-about": (
        (
            "accepts no token of the issuer https://kubernetes.default.svc.cluster.local any more: it signs with "
            "https://oidc.example/apps now, and the old one was not kept beside it. The token of Vault's own Pod"
        ),
        "accept the old issuer beside the new one for as long as tokens of it are about",
        "Replace Vault's Pod right after the change",
    ),
    "an-audience-that-named-the-cluster-outlives-its-issuer": (
        (
            "it is made out for https://kubernetes.default.svc.cluster.local, which was the API server's own audience "
            "as long as it had that issuer"
        ),
        "With a reviewer beside it such a token logs in still: from 1.4.0 on Vault names its audiences in the review",
        "accept the old issuer beside the new one for as long as tokens of it are about",
    ),
    "a-ca-is-mended-and-the-reviewer-is-gone": (
        "The config has the CA of platform",
        "Right after the write to kubernetes",
    ),
    "passwords-and-secret-ids-once-vault-locks-out": (
        "lockout changed: auth/approle, at Vault 1.13.0",
        "lockout changed: auth/people, at Vault 1.13.0",
        "five wrong secrets within 15 minutes lock a role ID of auth/approle out for 15 minutes",
        "vault auth tune -user-lockout-disable=true people/",
        "refusals answer 500 instead of 400 (wrong-secret) of 3 apps, at Vault 1.13.0",
        "Here, have role twice of auth/approle say secret-id-num-uses: 0, or as many as the looks take",
        "it was used up. It was made for 2 logins (secret_id_num_uses of its role then), and this rehearsal",
    ),
    "a-secret-id-keeps-the-uses-that-its-role-said-then": (
        "it was used up. It was made for 3 logins (secret_id_num_uses of its role then), and this rehearsal",
        "Production has nothing to mend for that. Here, have role batch of auth/approle say secret-id-num-uses: 0",
        "role reads back another secret_id_num_uses: 1 instead of 3",
    ),
    "tokens-of-a-ci-and-keys-that-rotate": (
        "anybody of auth/ci has no bound_audiences: Vault 1.16.3 refuses that with 400, which Vault 1.13.0 did not",
        "vault write auth/ci/role/anybody role_type='jwt' user_claim='sub' bound_audiences='https://vault.example.com'",
        "None of the keys in auth/ci/config (jwt_validation_pubkeys: apps) has signed the token of careful",
        "as every version does to a token whose audiences are a list, as of Kubernetes",
        "role web of auth/pods demands system:serviceaccount:shop:web (bound_subject)",
        "role mail of auth/pods demands one of mail (bound_audiences)",
    ),
    "keys-and-documents-that-vault-gets-from-the-cluster": (
        "apps signs with another key since Vault got its keys (jwks_url of auth/by-url), and Vault 1.7.0 does not ask",
        "Vault 1.11.0 asked the API server of apps for the keys of auth/by-url (jwks_url), which answered 403",
        "it was so before this start, and nobody saw it",
        "--clusterrole=system:service-account-issuer-discovery --group=system:unauthenticated",
        "The discovery document of apps names another issuer than the address at which Vault 1.11.0 got it",
        "with jwks_url instead of oidc_discovery_url",
    ),
    "client-certificates-that-end-and-that-are-forged": (
        "The client certificate by which short logs in to role short of auth/cert has ended. Vault 1.16.3 answers that",
        "trusts a certificate by itself, and up to 1.16.0 (and 1.15.5, 1.14.10; CVE-2024-2048) Vault does not compare",
        "its common name, mail, is none of shop-* (allowed_common_names)",
        "vault write auth/cert/certs/mail certificate=@client-ca.crt allowed_common_names=mail",
        "a forged one, which has the number of role job of auth/cert and another key, is let in no more",
    ),
    "claims-that-a-role-binds-and-takes": (
        "has the claim project with 'other', and role by-project of auth/ci demands shop, stock (bound_claims)",
        "Role by-mail of auth/ci makes the claim mail the name of its entity (user_claim), and it is not in the token",
        "| vault write auth/ci/role/by-project -",
    ),
    "a-role-audience-that-no-token-has": (
        "ruled out: issuer. by its config auth/devops-kubernetes compares no issuer on Vault 1.6.0",
        "refusals answer 403 instead of 500 (login, ",
        "of example, at Vault 1.13.0; clients that retry on 5xx only stop retrying",
    ),
    "projected-tokens-for-vault-on-1.3": (
        "that of billing is made out for vault, so its login answers 500, whoever reviews",
        "Go to Vault 1.4.0 or newer, which names the token's audiences, as this run shows at 1.4.0",
        "kubectl --namespace service create token default --audience=vault --audience='<the audience of the API server",
        "request a token for the API server's audience beside its own",
        "From 1.4.0 on Vault names the audiences of a token",
    ),
    "terraform-writes-issuer-validation-on": (
        "The config itself says disable_iss_validation=false",
        "set disable_iss_validation = true in its vault_kubernetes_auth_backend_config: the next apply undoes a write",
    ),
    "a-config-without-a-ca-gets-that-of-vaults-pod": (
        "Vault 1.9.3 goes by that of its own Pod, which is in platform",
        "Vault 1.9.2, like each before 1.9.3, went by those of the system",
    ),
    "a-config-without-a-ca-where-no-pod-is": (
        "Vault 1.11.0 does not even show the config at the first read after its start (500)",
    ),
    "a-controller-that-asks-for-an-audience-of-its-own": (
        "it is made out for vault://vault-issuer",
        "request a token for the API server's audience beside its own",
    ),
    "a-requested-reviewer-ends-some-day": ("in production 365 days after it was requested",),
    "a-token-out-of-a-secret-dies-with-the-secret": ("Token has been invalidated",),
    "policies-by-the-aliases-of-users-pipelines-and-machines": (
        'capability "read" on path "secret/data/bob/b": no path of it covers that',
        'capability "read" on path "secret/data/other": no path of it covers that',
        "A rule with a template for auth/people grants nothing to who logs in at auth/approle",
    ),
    "pipelines-at-a-mount-that-binds-the-issuer": (
        "auth/old-ci/config demands https://ci.old.example.com (bound_issuer)",
        "If that is who is meant, write what the token says",
    ),
    "templates-that-nothing-fills": (
        "the alias that auth/kubernetes gives has no metadata.role",
        (
            "have {{identity.entity.aliases.auth/kubernetes.metadata.service_account_name}} in policy by-role in place "
            "of {{identity.entity.aliases.auth/kubernetes.metadata.role}}"
        ),
        'With its template filled for admin a rule is for "secret/data/admin_role": what fills it is in lower case',
        "the alias that auth/people gives has no metadata.username; what the alias of auth/people has is name (alice)",
        "a token that was made by auth/token/create is nobody's, and has no entity",
    ),
    "an-alias-by-name-makes-other-entities-of-the-apps": ("its token stands for somebody else: another entity_id",),
    "an-api-server-that-is-not-where-the-config-says": (
        "which its config calls https://gone.invalid",
        "which its config calls https://127.0.0.1:1",
        "Now, on Vault 1.9.2: Write the whole config of auth/moved again with the address of the API server of apps",
        "not issuer, role binding, CA, JWT expiry (ruled out)",
        "Right after the write to kubernetes, on Vault 1.11.0",
    ),
    "a-vault-moves-and-leaves-its-token-and-its-ca-behind": (
        "It moved to platform, and before that it had the token of a Pod of apps",
        "it moved, and outside any cluster it has none and presents the token of the app that logs in",
        "Before the move to platform, on Vault 1.11.0",
        "A Pod that starts once Vault has moved must log in",
    ),
    "one-policy-for-all-by-the-name-of-the-account": ("Policy own does not grant the read of secret/web by nosy",),
    "a-copied-reviewer-dies-when-vault-moves-to-a-vm": (
        "that token died with the Pod it was bound to when Vault moved",
        "Before the move out of its cluster, on Vault 1.9.2",
    ),
    "proxies-that-know-no-service-account-tokens": (
        "a proxy that knows no service account tokens: the TokenReview never came to the API server, whose audit log",
        "It answers 401: this endpoint does not take such tokens, whoever reviews",
        "a proxy that resets connections",
        "and with its CA from the file ca.crt: the one that stands there is that of the proxy",
        "not issuer, role binding, CA, JWT expiry (ruled out)",
    ),
    "an-operator-is-let-in-by-a-binding": ("ops/operator was bound to system:auth-delegator in apps",),
    "a-certificate-issuer-with-its-own-audience": (
        "it is made out for vault://vault-issuer",
        "request a token for the API server's audience beside its own",
    ),
    "a-module-with-only-a-host-used-once-more": (
        "from the file ca.crt, and with a reviewer of its own. The CA alone would not do",
        "Vault would present its own pod's token next, which apps does not know",
    ),
    "what-is-read-is-not-taken-back": (
        "invalid alias_name_source, must be one of: serviceaccount_uid, serviceaccount_name",
        "Write alias_name_source=serviceaccount_uid with it: a role from before 1.9.0 has none",
        "the stored reviewer is gone: no read shows token_reviewer_jwt",
    ),
    "vault-moves-away-and-its-pods-ca-with-it": (
        "login refused: shop, after move to platform, at Vault 1.11.0",
        "The config names no CA, so Vault goes by that of its own Pod, in platform",
        "from the file ca.crt, and with a reviewer of its own. The CA alone would not do",
        "Each is cut off 32 days after its login",
    ),
    "only-a-host-for-another-cluster": (
        "from the file ca.crt, and with a reviewer of its own. The CA alone would not do",
        "Store a long-lived token_reviewer_jwt of one account of apps",
        "not issuer, role binding, reachability, JWT expiry (ruled out)",
    ),
    "the-way-back-turns-the-reviewer-into-the-app": ("1.9.2, like every Vault before 1.9.3, presents the token of",),
    "four-apps-that-vault-itself-refuses": (
        "is bound to service accounts billing-server in namespaces shop",
        "has the API server as its only audience",
        "Policy closed denies the read of secret/shop by stock",
    ),
    "a-restart-kills-the-copied-reviewer": (
        "ruled out: CA. the API server of main answered this login's TokenReview",
        "Before Vault is restarted",
        "their token from before the restart still works",
    ),
    "an-issuer-nobody-set-since-1.4": (
        # "go to 1.9, issuer validation is off there" is bad advice, and the report says why
        "off by default since 1.9.0 holds for configs that 1.9.0 or newer writes: Vault 1.4.0 wrote this one",
        # a field that 1.4.0 does not know is written once a Vault serves that does
        "Once Vault is 1.8.0, the first on this path that knows it: Write the whole config again with disable_iss_",
        "secrets-operator after 1.10.0 500 - no TokenReview seen",
    ),
    "an-operator-without-delegator-at-a-hosted-vault": (
        "system:serviceaccount:secrets-operator:secrets-operator reviews the logins of auth/kubernetes",
        "may not create TokenReviews in cluster apps",
        "--serviceaccount=secrets-operator:secrets-operator",
    ),
}
"""Case -> words that its report must have."""

NEVER_SAID: Final[Mapping[str, tuple[str, ...]]] = {
    "vault-moves-away-and-its-pods-ca-with-it": (r"nobody saw it", r"never renews"),
    "a-node-comes-back-over-a-lost-disk-and-another-over-the-disk-of-another-vault": (
        r"vault-refuses-data",
        r"Do not upgrade to 1.11.0",
    ),
    "leadership-goes-back-over-an-etcd-that-two-nodes-have": (r"\braft\b", r"\bvote[ds]?\b", r"quorum"),
    "a-restart-kills-the-copied-reviewer": (r"(before|after) the upgrade", r"the hop to", r"what the upgrade does"),
    "passwords-and-secret-ids-once-vault-locks-out": (r"reviewer", r"TokenReview", r"API server", r"ruled out"),
    "a-secret-id-keeps-the-uses-that-its-role-said-then": (r"A Pod that starts", r"made for 1 login", r"regression"),
    "tokens-of-a-ci-and-keys-that-rotate": (r"reviewer", r"TokenReview", r"API server", r"ruled out"),
    "an-issuer-nobody-set-since-1.4": (r"Now, on Vault 1.4.0:[^:]*disable_", r"\b500 the app's own token"),
}
"""Case -> patterns that its report must not have."""


def unpacked(file: Path, directory: Path) -> Path:
    """Return a stored record as `judge` reads it: without its compression."""
    record = directory / journal.RECORD_FILE
    record.write_bytes(gzip.decompress(file.read_bytes()))
    return record


def _beyond_the_core(file: Path) -> list[str]:
    read = loading.load(file)
    needed = plan.make(read.scenario, read.name, "local").artifacts
    return [f"{product}:{version}" for product, version in needed if version not in CORE.get(product, ())]


REAL: Final = [
    pytest.param(name, marks=further(*beyond)) if (beyond := _beyond_the_core(file)) else name
    for name, file in FILES.items()
]
"""Every case, those over versions that not every machine has with a mark."""


def hold(name: str, judgement: dict[str, Any], report: str) -> None:
    """Insist that a case is judged and told as the tables say."""
    wanted, findings = JUDGED[name]
    found = [(f["kind"], f["effect"], f["rule"], f["hop"], f["app"]) for f in judgement["findings"]]
    assert (judgement["verdict"], found) == (wanted, list(findings))
    assert judgement["as_expected"], (judgement["missed"], judgement["unexpected"])
    assert all(finding["evidence"] for finding in judgement["findings"])
    statuses: dict[str, list[int | None]] = {}
    for row in judgement["observations"]:
        if row["probe"] == "login":
            # where nobody leads, the moment decides whether a node is silent, redirects or says so
            statuses.setdefault(row["app"], []).append(None if row["answer"] == "unknown" else row["status"])
    assert {app: tuple(seen) for app, seen in statuses.items()} == ANSWERS[name]
    plain = " ".join(report.split())
    assert [words for words in SAID.get(name, ()) if words not in plain] == []
    assert [pattern for pattern in NEVER_SAID.get(name, ()) if re.search(pattern, plain)] == []


@pytest.mark.real
@pytest.mark.parametrize("name", REAL)
def test_a_case_is_judged_right_on_real_servers(
    name: str, tmp_path: Path, request: pytest.FixtureRequest, lender: Lender, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Verdict, kind, cause, hop and words are those of the tables; nothing is left behind, and no secret is."""
    directory = tmp_path / f"{os.getpid()}-{name}"
    # a record that is kept tells where its scenario stood: in this project, on whatever machine
    monkeypatch.chdir(ROOT)
    code, judgement = lender.rehearse(FILES[name].relative_to(ROOT), directory)
    assert code == 0, judgement["reasons"]
    if request.config.getoption("--update-records"):
        RECORDS.mkdir(exist_ok=True)
        packed = gzip.compress((directory / journal.RECORD_FILE).read_bytes(), mtime=0)
        (RECORDS / f"{name}.jsonl.gz").write_bytes(packed)
    hold(name, judgement, text.render(verdict.judge(journal.load(directory))))
    assert not ours(directory)
    assert not work_directories(directory)
    for path in directory.rglob("*"):
        assert not path.is_file() or not SECRET_SHAPES.search(path.read_bytes()), path


@pytest.mark.parametrize("name", FILES)
def test_the_record_of_a_case_is_judged_as_it_was_lived(name: str, tmp_path: Path) -> None:
    """The stored record of a real run gives the same, without any server."""
    judgement = verdict.judge(journal.load(unpacked(RECORDS / f"{name}.jsonl.gz", tmp_path)))
    assert (judgement.driver, judgement.exit_code) == ("local", 0)
    hold(name, as_json(judgement), text.render(judgement))


@pytest.mark.parametrize("name", FILES)
def test_a_case_is_judged_on_paper_as_on_real_servers(name: str, tmp_path: Path) -> None:
    """Whoever tries a case without servers first learns nothing else: the knowledge has what the servers do."""
    _, judgement = on_paper(loading.load(FILES[name]).scenario, tmp_path)
    found = tuple((f.kind, f.effect, f.rule, f.hop, f.app) for f in judgement.findings)
    assert (judgement.verdict, found) == JUDGED[name]
    assert judgement.as_expected


WHO_WROTE: Final = {
    "apps-of-another-cluster-and-a-reviewer-nobody-chose": "from 1.16.0 on vault read shows token_reviewer_jwt_set",
    "an-operator-without-delegator-at-a-hosted-vault": "a copy of its pod's token is (by 1.5.0 or newer, in a pod)",
}
"""Case without its `expect` -> how to find out who wrote the config, in words for its version."""


@pytest.mark.parametrize("name", WHO_WROTE)
def test_who_is_refused_from_the_start_learns_how_to_see_who_wrote_the_config(name: str, tmp_path: Path) -> None:
    """On 1.9.3 and newer other things tell it than on older versions; the answer stands in the first sentences."""
    scenario = loading.load(FILES[name]).scenario.model_copy(update={"expect": None})
    _, judgement = on_paper(scenario, tmp_path)
    assert (judgement.outcome, judgement.exit_code) == ("inconclusive", 4)
    assert "Who wrote yours?" in judgement.reasons[0]
    assert WHO_WROTE[name] in judgement.reasons[0]


def test_the_tables_have_every_case() -> None:
    """A new case needs its rows and its record, and a row its case."""
    assert set(JUDGED) == set(ANSWERS) == set(FILES)
    assert {file.name for file in RECORDS.glob("*")} >= {f"{name}.jsonl.gz" for name in FILES}
    assert set(SAID) | set(NEVER_SAID) <= set(FILES)


def as_json(judgement: Judgement) -> dict[str, Any]:
    """Return a judgement as programs read it."""
    from harness.reports import json as reports

    read: dict[str, Any] = json.loads(reports.render(judgement))
    return read
