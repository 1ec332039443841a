"""Causes that lie with the signature of a service account token: its key, and the algorithm of that."""

from __future__ import annotations

from typing import Final

from harness.analysis.rules import remedies
from harness.analysis.rules.rewrites import Rewrite, held_config
from harness.analysis.rules.rule import Case, Diagnosis, Remedy, Rule, diagnosed
from harness.knowledge import kubernetes_auth, versions
from harness.knowledge.versions import at_least

_OF_CURVES: Final = ("asn1: structure error", "asn1: syntax error")
SIGNATURE_WORDS: Final = (
    "verifying token signature",
    "crypto/rsa: verification error",
    "failed to validate JWT: invalid signing method",
    *_OF_CURVES,
)
"""How Vault, or from 1.11.0 on only its log, says that no key of pem_keys has signed a token. Up to 1.10 in other words
where one of both keys is of RSA and one of a curve, and where both are of a curve by what it could not read of the
signature. Run: 1.4.0, 1.7.0 and 1.9.3, each kind of key with each."""
ALGORITHM_WORDS: Final = "invalid algorithm (alg) header parameter"
"""How Vault says so of the algorithm that has signed a token."""


def _signing_key(case: Case) -> Diagnosis | None:
    if case.effect == "login granted":
        return _signer_at_last(case)
    said, seen = case.quoted(*SIGNATURE_WORDS), case.after
    held = held_config(case.facts, seen.mount, seen.moment).fields
    keys = held.get("pem_keys")
    if not said:
        return None
    whose = ", ".join(
        "its own cluster" if one == "cluster" else f"cluster {one}" if one in case.facts.topology.clusters else "a text"
        for one in (keys if isinstance(keys, tuple) else ())
    )
    return diagnosed(
        f"auth/{seen.mount} has pem_keys (of {whose}), and {_why_unsigned(case, keys)}: Vault refuses it before it "
        "asks the API server",
        "certain",
        [*said, case.facts.token_line(seen), case.facts.config_line(seen)],
        remedies.rewriting(
            case,
            "Write the whole config again without pem_keys: the API server checks the signature anyway.",
            Rewrite(case, {"pem_keys": ()}),
        )[1],
        remedies.rewriting(
            case,
            f"Write the whole config again with the keys that {case.cluster} signs with now, in the file sa.pub (its "
            "own file of that name, or out of kubectl get --raw /openid/v1/jwks).",
            Rewrite(case, {"pem_keys": ("cluster",)}),
            late=remedies.rotated_just_now(case),
        )[1],
    )


def _why_unsigned(case: Case, keys: object) -> str:
    """Return why no key has signed the token; where its cluster's own is among the *keys*, Vault had not come to it."""
    seen, own = case.after, case.facts.app(case.after.app).cluster
    named = [case.cluster if one == "cluster" else one for one in keys] if isinstance(keys, tuple) else []
    if own in named and case.quoted(*_OF_CURVES) and not remedies.rotated_just_now(case):
        return (
            f"the first of them on a curve has not signed the token of {seen.app}, which cluster {own} issued. There "
            f"{versions.called(seen.version)}, like each before {kubernetes_auth.PASSES_CURVES_OVER}, stops, though "
            "another of them may have signed it"
        )
    return f"none of them has signed the token of {seen.app}, which cluster {own} issued"


def _signer_at_last(case: Case) -> Diagnosis | None:
    """Explain that the login is granted by the first Vault that tries each of the keys."""
    before, seen, since = case.before, case.after, kubernetes_auth.PASSES_CURVES_OVER
    if before is None or at_least(before.version, since) or not at_least(seen.version, since):
        return None
    said = case.as_it_was(before).quoted(*_OF_CURVES)
    if not said:
        return None
    return diagnosed(
        f"From {since} on Vault tries each of the pem_keys of auth/{seen.mount} on a token, also after one on a curve "
        f"that has not signed it: logins of {seen.app} answer {seen.status}",
        "certain",
        [*said, case.facts.config_line(seen)],
    )


def _algorithm(case: Case) -> Diagnosis | None:
    if case.effect == "login granted":
        return _algorithm_at_last(case)
    said, seen, token = case.quoted(ALGORITHM_WORDS), case.after, case.facts.token_of(case.after)
    if not said or token is None or not kubernetes_auth.refuses_algorithm(seen.version, token.algorithm):
        return None
    since, until = kubernetes_auth.WITHOUT_ES384
    return diagnosed(
        f"Cluster {token.cluster} signs its tokens with {token.algorithm}, and {versions.called(seen.version)}, like "
        f"each from {since} to {until}, takes no token for a login that is signed so: that of {seen.app} is refused "
        f"with {seen.status} before the API server is asked",
        "certain",
        [*said, case.facts.token_line(seen)],
        *_other_versions_or_keys(case, token.algorithm),
    )


def _other_versions_or_keys(case: Case, algorithm: str) -> tuple[Remedy, Remedy]:
    until = kubernetes_auth.WITHOUT_ES384[1]
    later = (one.version for one in case.facts.moments.values() if at_least(one.version, until))
    newer = next((one for one in later if not kubernetes_auth.refuses_algorithm(one, algorithm)), "")
    here = f", as this run shows at {newer}" if newer else ""
    return (
        Remedy(
            f"Go to Vault 1.11.4 or newer, past every version from 1.11.0 to {until}{here}.",
            unproven="it is an upgrade, and no change of what a Vault holds",
        ),
        Remedy(
            f"Before such a version serves, have {case.facts.app(case.after.app).cluster} sign with a key of RSA or of "
            "another curve: --service-account-signing-key-file of its API server, with the old key beside the new one "
            "in --service-account-key-file until the tokens of the old one have ended.",
            unproven="a course has no step that gives a cluster a key of another kind; signing-algorithm: RS256 of "
            "clusters rehearses one",
        ),
    )


def _algorithm_at_last(case: Case) -> Diagnosis | None:
    """Explain that the login is granted by the first Vault that takes the algorithm again."""
    before, seen, token = case.before, case.after, case.facts.token_of(case.after)
    if before is None or token is None or not kubernetes_auth.refuses_algorithm(before.version, token.algorithm):
        return None
    said = case.as_it_was(before).quoted(ALGORITHM_WORDS)
    if not said:
        return None
    return diagnosed(
        f"{versions.called(seen.version)} takes tokens that are signed with {token.algorithm}, as cluster "
        f"{token.cluster} signs them, where {versions.alone(before.version)} does not: logins answer {seen.status}",
        "certain",
        [*said, case.facts.token_line(seen)],
    )


SIGNING_KEY: Final = Rule(
    name="signing-key-unknown",
    versions="every version; answered 500 up to 1.10, 403 since 1.11",
    precondition="the config has pem_keys",
    demands="Vault's words in the answer, its audit entry or its log",
    explanation="keys that were given to the config do not follow those with which the cluster signs",
    source="vault-plugin-auth-kubernetes path_login.go parseAndValidateJWT, PR #151; run: 1.7.0, 1.11.0",
    examine=_signing_key,
    grants=True,
)
ALGORITHM: Final = Rule(
    name="token-algorithm-refused",
    versions=" to ".join(kubernetes_auth.WITHOUT_ES384),
    precondition="the cluster signs its tokens with ES384, a key on the curve P-384",
    demands="Vault's words in the answer, its audit entry or its log",
    explanation="the first versions that look at the algorithm of a token left ES384 out of those that they take",
    source="vault-plugin-auth-kubernetes v0.13.0, mended in v0.13.2; Vault CHANGELOG 1.11.4; run: 1.9.3 / 1.11.0 / "
    "1.12.0",
    examine=_algorithm,
    grants=True,
)
