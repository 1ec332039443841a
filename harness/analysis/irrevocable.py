"""What a record says of leases that Vault has given up to revoke: when that was, why, and whose fault it is."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Final

from harness.analysis import databases, diagnosis
from harness.analysis.correlation import EvidenceLine
from harness.analysis.diagnosis import Finding
from harness.analysis.record_view import Facts
from harness.analysis.rules import Remedy
from harness.analysis.rules.engines import SAYS_AWAY
from harness.knowledge import given_up_leases, versions
from harness.record.events import MomentBegan
from harness.record.lease_events import LeasesSeen
from harness.scenario.course import Look, Serve, word_of

IRREVOCABLE: Final = "lease-irrevocable"
EXPLANATION: Final = (
    f"from {given_up_leases.SINCE} on a revocation that fails is tried {given_up_leases.ATTEMPTS} times in "
    f"{given_up_leases.MINUTES[0]} to {given_up_leases.MINUTES[1]} minutes, and then once a day; an error that cannot "
    "pass is enough at once. The lease is kept, over restarts and upgrades too, and what it stands for stays as it is"
)
SOURCE: Final = "vault/expiration.go of 1.15.5; Vault documentation, api-docs/system/leases; run: 1.9.2 and 1.11.0"
_SHOWN: Final = 3


def findings(facts: Facts) -> Iterator[Finding]:
    """Yield each time that more leases of a Vault are irrevocable than were before."""
    most: dict[str, int] = {}
    for line, seen in facts.record.numbered(LeasesSeen):
        if seen.irrevocable is None:
            continue
        before = most.get(seen.vault, 0)
        if seen.irrevocable > before:
            yield _finding(facts, line, seen, before)
        most[seen.vault] = seen.irrevocable


def _finding(facts: Facts, line: int, seen: LeasesSeen, before: int) -> Finding:
    label = _moment(facts, line)
    more = seen.irrevocable - before if seen.irrevocable else 0
    some = f"{more:,} {'more ' if before else ''}lease{'s' if more != 1 else ''}"
    engines = sorted({one.engine for one in seen.given_up if one.engine})
    whose = f" of {' and '.join(f'{path}/' for path in engines)}" if engines else ""
    stop = databases.away_during(facts, line)
    why, sure = _why(seen, stopped=stop is not None)
    return diagnosis.stated(
        facts,
        (IRREVOCABLE, "pre-existing" if label == facts.first_moment else "latent", "leases irrevocable"),
        f"{some}{whose} {'is' if more == 1 else 'are'} irrevocable on "
        f"{versions.called(seen.version)}{_since(facts, label)}: it gave up revoking, and what it had given "
        f"out may be valid still. {why}",
        (
            EvidenceLine("answer", f"sys/leases/count?type=irrevocable: {seen.irrevocable}", line, at=seen.at),
            *(
                EvidenceLine("answer", f"sys/leases?type=irrevocable, {one.count} times: {one.error}", line, at=seen.at)
                for one in seen.given_up[:_SHOWN]
            ),
            *([EvidenceLine("server", databases.sentence(stop), at=stop.at)] if stop is not None else ()),
        ),
        _ways(engines[0] if engines else _engine(facts)),
        confidence="certain" if sure else "strong",
        hop="" if label == facts.first_moment else seen.version,
        explanation=EXPLANATION,
        source=SOURCE,
        moment=label,
        vault=seen.vault,
    )


def _moment(facts: Facts, line: int) -> str:
    """Return the label of the moment to which a *line* of the record belongs."""
    began = [one.moment for number, one in facts.record.numbered(MomentBegan) if number < line]
    return began[-1] if began else facts.first_moment


def _since(facts: Facts, label: str) -> str:
    """Return what put that Vault in place, where the course did, before the moment at which they were counted."""
    before = itertools.takewhile(lambda step: not (isinstance(step, Look) and step.moment.label == label), facts.steps)
    serving = [word_of(step) for step in before if isinstance(step, Serve) and step.number]
    return f", after the {serving[-1]}{' to it' if serving[-1] == 'upgrade' else ''}" if serving else ""


def _why(seen: LeasesSeen, *, stopped: bool) -> tuple[str, bool]:
    """Return what made it so, in a sentence without a full stop, and whether Vault itself has said that.

    *stopped*: had the course stopped the database before?
    """
    away = [one for one in seen.given_up if SAYS_AWAY.search(one.error)]
    whose = "that is what did it, and no version"
    if away and len(away) == len(seen.given_up):
        by = ", because the course had stopped it" if stopped else ""
        return f"Its database gave no answer to the last attempt{by}: {whose}", True
    if stopped:
        return f"The course had stopped the database meanwhile: {whose}", False
    if seen.given_up:
        return "What the last attempt said is in the evidence, and no database that was away", True
    return (
        "Why, nobody asked in this run: the last error of each says whether its database, the rights of the user by "
        "which Vault connects, or something else kept it from that, and no version is known that does"
    ), False


def _engine(facts: Facts) -> str:
    return next((path for path, one in facts.topology.makers.items() if one.of_kind.leased), "<ENGINE>")


def _ways(engine: str) -> tuple[Remedy, Remedy]:
    mend = Remedy(
        "See why each could not be revoked, and mend that: bring the database back where Vault looks for it, or give "
        "the user by which Vault connects the rights that it lacks. Then revoke each again by its id and "
        "at once: without -sync Vault says that it is queued, and such a lease stays as it is. Do so before an "
        "upgrade, after which nobody remembers what they were.",
        commands=(given_up_leases.TO_LIST, given_up_leases.TO_REVOKE),
        unproven="no step of a course revokes such a lease",
    )
    drop = Remedy(
        "As a last resort, where the database is gone for good: take what they stand for away in the database itself, "
        "and only then have Vault forget them. It asks nobody, and would leave users behind who can log in.",
        commands=(f"{given_up_leases.TO_DROP} {engine}/creds/<ROLE>",),
        unproven="no step of a course does what cannot be taken back",
    )
    return mend, drop
