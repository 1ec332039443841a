"""Causes of what is answered of secrets that are made as they are asked for: leases that ended."""

from __future__ import annotations

import re
from typing import Final

from harness.analysis import token_ends
from harness.analysis.correlation import EvidenceLine
from harness.analysis.rules.rule import Case, Diagnosis, Remedy, Rule, diagnosed
from harness.knowledge import given_up_leases
from harness.record.observation import Observation
from harness.scenario import engine_kinds, mount_kinds

AWAY: Final = "database-away"
SAYS_AWAY: Final = re.compile(
    r"connection refused|failed to connect|no such host|i/o timeout|no route to host|terminating connection|"
    r"unexpected EOF|broken pipe|driver: bad connection|the database system is (?:starting up|shutting down)",
    re.IGNORECASE,
)
"""How Vault says that the database of an engine gave no answer. Run: 1.9.2 and 1.11.0, PostgreSQL 15."""

AWAY_EXPLAINED: Final = (
    "a database engine asks its database for each credential, each renewal and each revocation, and keeps none in "
    "stock; Vault itself needs that database for nothing, neither at its start nor to be unsealed"
)
AWAY_SOURCE: Final = "builtin/logical/database/path_creds_create.go, secret_creds.go; run: 1.9.2 and 1.11.0"


def bring_back(engine: str) -> Remedy:
    """Return what to do about the database of an *engine* that is away."""
    return Remedy(
        "Bring the database back where Vault looks for it: the same address, port and TLS, and the user that Vault "
        "connects with. Vault connects again by itself, and needs no restart. Until then whoever starts gets no "
        "credentials, and whoever runs keeps its own for as long as its lease lives. Be back before leases that end "
        f"meanwhile were tried {given_up_leases.ATTEMPTS} times, in {given_up_leases.MINUTES[0]} to "
        f"{given_up_leases.MINUTES[1]} minutes, and look afterwards for those that were given up.",
        commands=(
            "pg_isready -h <HOST> -p <PORT>",
            f"vault read {engine}/config/<CONNECTION>",
            given_up_leases.TO_LIST,
        ),
        unproven="where the database is, is the operator's to know; `database: start` in the course rehearses it",
    )


def _database_away(case: Case) -> Diagnosis | None:
    seen, topology = case.after, case.facts.topology
    engine = topology.engine_of(seen.item)
    databases = [path for path, one in topology.makers.items() if one.kind == engine_kinds.DATABASE]
    if engine not in databases or not SAYS_AWAY.search(seen.error):
        return None
    return diagnosed(
        f"The database of the engine at {engine}/ gives Vault no answer, and that engine asks it for each credential, "
        "renewal and revocation. Whatever version serves would be without it",
        "certain",
        case.quoted(seen.error),
        bring_back(engine),
    )


def _lease_ended(case: Case) -> Diagnosis | None:
    seen = case.after
    last = _last_granted(case)
    if last is None or seen.probe not in ("kept-secret", "old-lease-renew"):
        return None
    made = case.facts.topology.maker_of(seen.item)
    assert made is not None, "only what an engine makes is kept, and has a lease"
    # what is no lease has no life, or none that ends
    life = last.detail.get("lease_duration")
    lasted = token_ends.passed(case.facts, last, seen)
    if not life or lasted < life:
        return _ended_with_its_token(case)
    role = seen.item.rpartition("/")[2]
    place = next(iter(engine_kinds.places(case.facts.topology.engine_of(seen.item), made))).rpartition("/")[0]
    return diagnosed(
        f"The lease of what {seen.app} got of {seen.item} has ended: it lived {life} s from its last renewal on, and "
        f"that was {lasted:.0f} s ago. Vault then has its user taken out of the database, whatever version serves",
        "strong",
        [
            EvidenceLine("answer", f"{last.probe} {last.moment}: lease_duration {life}", case.facts.line_of[last.id]),
            EvidenceLine(
                "answer", f"{seen.probe} {seen.moment}: {seen.error or seen.status}", case.facts.line_of[seen.id]
            ),
        ],
        Remedy(
            f"Have {seen.app} renew its lease in time, or give role {role} a longer one (default_ttl).",
            commands=(f"vault write {place}/{role} default_ttl=1h",),
            unproven="a longer lease is no step that a rehearsal can do",
        ),
    )


def _ended_with_its_token(case: Case) -> Diagnosis | None:
    """Return what is to be said of a credential whose lease was revoked with the token by which it was got."""
    seen = case.after
    known = token_ends.last_look_up(case.facts, seen)
    gone = case.facts.first("old-token-lookup", seen.app, seen.moment)
    if known is None or gone is None or gone.answer != "refused":
        return None
    return diagnosed(
        f"The lease of what {seen.app} got of {seen.item} has ended with the token by which {seen.app} got it: Vault "
        "revokes the leases of a token that ends, whatever version serves, and has their users taken out of the "
        "database",
        "strong",
        [
            EvidenceLine(
                "answer", f"{known.probe} {known.moment}: ttl {known.detail.get('ttl')}", case.facts.line_of[known.id]
            ),
            EvidenceLine("answer", f"{gone.probe} {gone.moment}: {gone.error}", case.facts.line_of[gone.id]),
            EvidenceLine("answer", f"{seen.probe} {seen.moment}: {seen.error}", case.facts.line_of[seen.id]),
        ],
        Remedy(
            f"Have {seen.app} renew its token in time (vault token renew), or give the role by which it logs in a "
            "longer one (token_ttl, token_period); a new login gets new credentials.",
            unproven="a longer token is no step that a rehearsal can do",
        ),
    )


def _last_granted(case: Case) -> Observation | None:
    """Return the last answer before that told how long the lease lives from then on."""
    facts, seen = case.facts, case.after
    told = [
        one
        for one in facts.observations
        if (one.app, one.item) == (seen.app, seen.item) and one.answer == "granted" and one.id < seen.id
    ]
    first = next((one for one in told if one.probe == "read"), None)
    return next((one for one in reversed(told) if one.probe == "old-lease-renew"), first)


LEASE_ENDED: Final = Rule(
    name="lease-ended",
    versions="every version",
    precondition="a secret with a lease was given out, and its lease was not renewed for as long as it lives",
    demands="the life that Vault told, and a refusal later than that",
    explanation="a credential lives as long as its lease, which whoever uses it has to renew",
    source="hashicorp/vault vault/expiration.go; run: 1.11.0",
    examine=_lease_ended,
    kinds=mount_kinds.NAMES,
)

DATABASE_AWAY: Final = Rule(
    name=AWAY,
    versions="every version",
    precondition="what is asked for takes the database of an engine",
    demands="Vault's words that the database gave no answer",
    explanation=AWAY_EXPLAINED,
    source=AWAY_SOURCE,
    examine=_database_away,
    kinds=mount_kinds.NAMES,
)
