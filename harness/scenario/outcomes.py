"""The words of a scenario for what is asked, for what may happen, and for why."""

from __future__ import annotations

from typing import Literal

ProbeName = Literal[
    "login",
    "read",
    "token-lookup",
    "token-renew",
    "old-token-lookup",
    "old-token-read",
    "wrong-service-account",
    "wrong-namespace",
    "other-cluster-token",
    "tampered-jwt",
    "unknown-role",
    "wrong-secret",
    "lockout",
    "auth-config",
    "role",
    "health",
    "seal-status",
]

Effect = Literal[
    "login refused",
    "login granted",
    "access refused",
    "access granted",
    "upgrade refused",
    "roll-back refused",
    "reviewer changed",
    "reviewer expires",
    "check lost",
    "identity changed",
    "lockout changed",
    "refused from the start",
    "refused for another reason",
    "granted against the rule",
]
"""What a finding says happened. An `expect` entry names one of these."""

Cause = Literal[
    "reviewer-fallback-local",
    "reviewer-fallback-client",
    "changed-by-step",
    "reviewer-frozen",
    "reviewer-lacks-tokenreview-rbac",
    "client-jwt-not-accepted",
    "issuer-mismatch",
    "issuer-check-lost",
    "issuer-no-longer-accepted",
    "login-identity-changed",
    "local-ca-missing",
    "role-binding-mismatch",
    "address-not-bound",
    "signing-key-unknown",
    "no-such-mount",
    "reviewer-may-not-read",
    "policy-denies",
    "audience-mismatch",
    "stored-reviewer-refused",
    "stored-reviewer-expires",
    "login-token-rejected",
    "review-without-audiences",
    "api-server-untrusted",
    "api-server-unreachable",
    "jwt-audience-not-bound",
    "jwt-audience-mismatch",
    "jwt-key-unknown",
    "jwt-claim-mismatch",
    "user-lockout",
    "secret-not-accepted",
    "vault-refuses-data",
    "unexplained",
]
