"""Causes that lie between Vault and the API server: no way there, or no trust on the way."""

from __future__ import annotations

from typing import Final

from harness.analysis.rules import remedies
from harness.analysis.rules.rule import Case, Diagnosis, Remedy, Rule, diagnosed

_TRUST: Final = ("x509:", "certificate signed by unknown authority", "tls: failed to verify")
_REACH: Final = ("connection refused", "no such host", "i/o timeout", "no route to host", "context deadline exceeded")


def _untrusted(case: Case) -> Diagnosis | None:
    said = case.quoted(*_TRUST)
    if case.evidence.review is not None or not said:
        return None
    return diagnosed(
        f"Vault does not trust the certificate of the API server of {case.cluster}, so no TokenReview was sent and "
        f"every login at auth/{case.after.mount} answers {case.after.status}",
        "certain",
        said,
        remedies.trusted(case)[1],
    )


def _unreachable(case: Case) -> Diagnosis | None:
    said = case.quoted(*_REACH)
    if case.evidence.review is not None or not said:
        return None
    return diagnosed(
        f"Vault does not reach the API server of {case.cluster}, so no TokenReview was answered and every login at "
        f"auth/{case.after.mount} answers {case.after.status}",
        "certain",
        said,
        Remedy(
            f"Make kubernetes_host of auth/{case.after.mount} reachable from where Vault runs.",
            unproven="what lies between Vault and the API server is no part of what a rehearsal builds",
        ),
    )


UNTRUSTED: Final = Rule(
    name="api-server-untrusted",
    versions="every version",
    precondition="no TokenReview arrived",
    demands="Vault's log line about the certificate",
    explanation="the stored or mounted CA is not the one that vouches for the API server",
    source="vault-plugin-auth-kubernetes token_review.go; hashicorp/vault issue 31139",
    examine=_untrusted,
)
UNREACHABLE: Final = Rule(
    name="api-server-unreachable",
    versions="every version",
    precondition="no TokenReview arrived",
    demands="Vault's log line about the connection",
    explanation="the API server cannot be reached from Vault",
    source="vault-plugin-auth-kubernetes token_review.go",
    examine=_unreachable,
)
