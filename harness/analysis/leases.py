"""What a record says of a Vault's leases: that it could not list them at its start, and what they weigh."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import msgspec

from harness.analysis import diagnosis, not_served
from harness.analysis.correlation import EvidenceLine
from harness.analysis.diagnosis import Finding
from harness.analysis.record_view import Facts
from harness.analysis.rules import Occasion, Remedy
from harness.knowledge import lease_lists, versions
from harness.record.events import Trouble
from harness.record.journal import Record
from harness.record.lease_events import LeasesChanged, LeasesSeen
from harness.scenario.course import AnyStep, Look, MakeLeases, RevokeLeases, Serve

TOO_LARGE: Final = "lease-list-too-large"
EXPLANATION: Final = (
    "every start of Vault lists all leases; over etcd that is one answer, which up to 1.13.9, 1.14.5 and 1.15.1 holds "
    "the leases themselves, and gRPC takes no more than max_receive_size, or 2 GiB. A Vault that runs does not notice"
)
SOURCE: Final = "vault pull request 23872; physical/etcd/etcd3.go, vault/expiration.go of 1.3.0, 1.15.1 and 1.16.3; run"

_SAYS: Final = re.compile(r"message larger than max \((\d+) vs\. (\d+)\)")
_ONE_BY_ONE: Final = (
    "vault list -format=json auth/token/accessors | jq -r '.[]' | "
    'while read a; do vault token revoke -accessor "$a"; done   # those that nobody needs'
)
_SPARE: Final = 0.9
"""Of the limit: leases are made and end while nobody looks."""


class Leases(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the leases of a Vault, and what they weighed each time that was looked at."""

    vault: str = ""
    changes: tuple[LeasesChanged, ...]
    seen: tuple[LeasesSeen, ...]


def leases(record: Record) -> list[Leases]:
    """Return what is on record of the leases of each Vault that has any."""
    changes, seen = record.of(LeasesChanged), record.of(LeasesSeen)
    return [
        Leases(
            vault=vault,
            changes=tuple(one for one in changes if one.vault == vault),
            seen=tuple(one for one in seen if one.vault == vault),
        )
        for vault in dict.fromkeys(one.vault for one in (*changes, *seen))
    ]


class TooLarge(msgspec.Struct, frozen=True):
    """A list of leases that is larger than what Vault takes."""

    size: int
    limit: int
    evidence: tuple[str, ...]
    """the lines of Vault's log that say so"""


def too_large(trouble: Trouble) -> TooLarge | None:
    """Return what *trouble* says of a list of leases that was too large; None where it was something else."""
    lines = tuple(line for line in trouble.log if "restoring leases" in line and _SAYS.search(line))
    if trouble.kind != "refused" or not lines:
        return None
    found = _SAYS.search(lines[-1])
    assert found is not None
    return TooLarge(int(found[1]), int(found[2]), lines)


def findings(facts: Facts, refused: Iterable[Finding]) -> Iterator[Finding]:
    """Yield, of each version that ran and declined to list its leases, that it would not start again.

    Not where one did not: that is told among those that were *refused*, and more.
    """
    told = {one.vault for one in refused if one.rule == TOO_LARGE}
    for line, seen in facts.record.numbered(LeasesSeen):
        found = _SAYS.search(seen.list_error)
        if found is None or seen.vault in told:
            continue
        told.add(seen.vault)
        large = TooLarge(int(found[1]), int(found[2]), (seen.list_error,))
        yield diagnosis.stated(
            facts,
            (TOO_LARGE, "latent", "restart refused"),
            f"{versions.called(seen.version)} runs, and would seal itself at its next start: asked for a list of its "
            f"{seen.held:,} leases (vault list sys/leases/lookup/...) it declines, because etcd answers with "
            f"{large.size:,} bytes and it takes {large.limit:,} in one answer; every start asks for that list",
            (EvidenceLine("answer", seen.list_error, line, at=seen.at),),
            _ways(seen.version, seen.held, large),
            # those that the rehearsal made were there from the start
            hop="" if seen.when == "made" else seen.version,
            explanation=EXPLANATION,
            source=SOURCE,
            vault=seen.vault,
        )


def sentence(trouble: Trouble, found: TooLarge, steps: Sequence[AnyStep]) -> str:
    """Return what happened, with its numbers."""
    held = _held(steps, trouble.position)
    each = f", {found.size // held:,} bytes each" if held else ""
    return (
        f"{versions.called(trouble.after_swap)} was unsealed, and sealed itself again: at its start it lists its "
        f"{f'{held:,} ' if held else ''}leases, over etcd with all that is in them{each}, and it takes {found.limit:,} "
        f"bytes in one answer, which here has {found.size:,}"
    )


def remedies(trouble: Trouble, found: TooLarge, steps: Sequence[AnyStep]) -> tuple[Remedy, ...]:
    """Return what mends it: fewer leases before Vault is stopped, or a version that lists their keys alone."""
    held, before = _held(steps, trouble.position), steps[: trouble.position]
    looks = [step for step in before if isinstance(step, Look)]
    serving = [step.version for step in before if isinstance(step, Serve)]
    fewer, over = _ways(trouble.after_swap, held, found)
    fits = _fits(trouble.after_swap, held, found)
    hop = "the restart" if not_served.stays(trouble, steps) else "the upgrade"
    fewer = msgspec.structs.replace(
        fewer,
        when=f"before {hop}, on {versions.called(serving[-1])}" if serving else f"before {hop}",
        stop=serving[-1] if serving else "",
    )
    if looks and serving and held > fits:
        step = RevokeLeases(count=held - fits, vault=trouble.vault)
        occasion = Occasion("before", looks[-1].moment.label, serving[-1], (step,))
        fewer = msgspec.structs.replace(fewer, occasions=(occasion,), unproven="")
    return fewer, over


def _ways(version: str, held: int, found: TooLarge) -> tuple[Remedy, Remedy]:
    fewer = Remedy(
        f"Have no more than {_fits(version, held, found):,} leases when Vault is stopped: while it runs, revoke what "
        "nobody needs, token by token (a list of the leases, and so revoke-prefix, is refused as well; the list of "
        "accessors is smaller), and see why there are so many: short TTLs, batch tokens for logins.",
        when=f"before {versions.called(version)} is stopped",
        commands=(_ONE_BY_ONE,),
        unproven="how many leases there are is not known" if not held else "nothing was refused yet",
    )
    over = Remedy(
        "Go to a version that lists the keys alone, without a stop at one that does not: 1.13.10, 1.14.6, 1.15.2, "
        f"1.16.0 or newer. It takes some {found.limit // lease_lists.KEY_BYTES:,} leases with the same limit.",
        unproven="another target is another scenario: the same one with that version rehearses it",
    )
    return fewer, over


def _fits(version: str, held: int, found: TooLarge) -> int:
    """Return how many leases such a list may have."""
    return int(found.limit * _SPARE / (found.size / held if held else lease_lists.whole_bytes(version)))


def _held(steps: Sequence[AnyStep], position: int) -> int:
    """Return how many leases there are before the step at *position*, by what the course makes and revokes."""
    held = 0
    for step in steps[:position] if position >= 0 else steps:
        if isinstance(step, MakeLeases):
            held += step.count
        elif isinstance(step, RevokeLeases):
            held = held - step.count if step.count else 0
    return held
