"""The known causes, in the order in which they are asked: what Vault itself said comes before what was inferred.

To add one: a function from a Case to a Diagnosis or None, a Rule that describes it, its place in RULES, its name in
`outcomes.Cause`, and a record of a real run that it explains.
"""

from __future__ import annotations

from typing import Final

from harness.analysis.rules import (
    agents,
    audiences,
    certificates,
    checks,
    claims,
    clocks,
    engines,
    issuers,
    jwts,
    policy,
    providers,
    reviewer,
    seals,
    secrets,
    server_config,
    signatures,
    steps,
    storms,
    tokens,
    transport,
)
from harness.analysis.rules.rule import Case, Confidence, Diagnosis, Kind, Occasion, Remedy, Rule

RULES: Final[tuple[Rule, ...]] = (
    agents.NO_SINK,
    agents.ALONE,
    agents.NOT_BACK,
    storms.AT_ONCE,
    *seals.RULES,
    server_config.MOUNT_REMOVED,
    issuers.ISSUER_CHECK_LOST,
    checks.IDENTITY_CHANGED,
    checks.MAY_NOT_READ,
    checks.ROLE_BINDING,
    checks.AUDIENCE,
    issuers.ISSUER,
    checks.LOCAL_CA_MISSING,
    checks.NO_SUCH_MOUNT,
    signatures.SIGNING_KEY,
    signatures.ALGORITHM,
    checks.ADDRESS,
    transport.UNTRUSTED,
    transport.ANOTHER_ANSWERS,
    transport.UNREACHABLE,
    issuers.NOT_ACCEPTED,
    reviewer.FROZEN,
    reviewer.FALLBACK_LOCAL,
    reviewer.FALLBACK_CLIENT,
    reviewer.LACKS_RBAC,
    reviewer.STORED_REFUSED,
    audiences.CLIENT_NOT_ACCEPTED,
    audiences.NO_AUDIENCES,
    audiences.LEFT_OUT,
    reviewer.LOGIN_REJECTED,
    jwts.NOT_BOUND,
    jwts.AUDIENCE,
    providers.REFUSED,
    providers.ISSUER,
    providers.HELD,
    jwts.KEY,
    jwts.CLAIM,
    claims.BOUND,
    claims.TAKEN,
    certificates.EXPIRED,
    certificates.NOT_MATCHED,
    certificates.KEY,
    secrets.LOCKOUT,
    secrets.NOT_ACCEPTED,
    engines.DATABASE_AWAY,
    engines.LEASE_ENDED,
    clocks.AHEAD,
    tokens.LIMITED,
    policy.DENIES,
    steps.CHANGED,
)

__all__ = ["RULES", "Case", "Confidence", "Diagnosis", "Kind", "Occasion", "Remedy", "Rule"]
