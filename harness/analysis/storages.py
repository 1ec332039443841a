"""What a record says of the servers that have Vault's data: what became of them, and what Vault did without them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

from harness.analysis import diagnosis
from harness.analysis.correlation import EvidenceLine
from harness.analysis.diagnosis import Finding
from harness.analysis.record_view import Facts
from harness.analysis.rules import Remedy
from harness.record.events import Trouble, VaultLogLine
from harness.record.observation import Observation
from harness.record.storage_events import StorageChanged
from harness.scenario import storage_state

AWAY: Final = "storage-away"
EXPLANATION: Final = (
    "a Vault that is unsealed answers out of its memory what it has read since then, and each login writes a token "
    "and a lease; one that starts reads the keys of its data before it can be unsealed"
)
SOURCE: Final = "run: 1.9.2 and 1.11.0 over etcd 3.5.16 of three members and over PostgreSQL 15; physical/cache.go"

_SAYS: Final = re.compile(
    r"context deadline exceeded|connection refused|failed to connect|terminating connection|bad connection|"
    r"no leader|leader changed|broken pipe|\bEOF\b|i/o timeout|etcdserver:|driver: bad",
    re.IGNORECASE,
)
"""How Vault says that its storage gave no answer (run, as SOURCE has it)."""

_SHOWN: Final = 3
_CALLED: Final = {"postgresql": "PostgreSQL"}


def out(facts: Facts) -> frozenset[str]:
    """Return the labels of the moments at which the storage of Vault does not serve, because the course took it away.

    What Vault answers then nobody can compare: that it could not be asked is told in one finding, and in no doubt.
    """
    return storage_state.out_at(facts.steps, facts.topology.vault.etcd_members)


def silenced(facts: Facts) -> frozenset[str]:
    """Return those labels, where one finding tells of them what could not be asked then, or what did not start."""
    return out(facts) if any(findings(facts)) else frozenset()


def explains(facts: Facts, trouble: Trouble) -> bool:
    """Was the storage away when Vault would not serve? Then that says nothing of what a version makes of its data."""
    if not trouble.after_swap or trouble.kind not in ("died", "refused", "silent") or trouble.position < 0:
        return False
    members = facts.topology.vault.etcd_members
    return not storage_state.serves(storage_state.away(facts.steps[: trouble.position + 1], members), members)


def findings(facts: Facts) -> Iterator[Finding]:
    """Yield what there is to find, in order: a look at which Vault did nothing that takes its storage, and a start."""
    told, without, before = list(facts.record.numbered(StorageChanged)), out(facts), False
    for label in facts.moments:
        away = label in without
        lost = [seen for seen in facts.observations if seen.moment == label and _lost(seen)] if away else []
        if lost and not before:
            yield _unanswered(facts, label, lost, told)
        before = away
    for line, trouble in facts.record.numbered(Trouble):
        if explains(facts, trouble):
            yield _unopened(facts, trouble, line, told)


def _lost(seen: Observation) -> bool:
    """Did Vault fail in what it was asked? What the refused login made impossible to ask is told by that login."""
    return seen.answer == "unknown" and seen.status is not None and seen.status >= 500


def _unanswered(
    facts: Facts, label: str, lost: Sequence[Observation], told: Sequence[tuple[int, StorageChanged]]
) -> Finding:
    at, held = facts.moments[label], [one for one in told if one[1].moment == label or not one[1].serves]
    granted = sum(seen.moment == label and seen.answer == "granted" for seen in facts.observations)
    kinds = ", ".join(sorted({seen.probe for seen in lost}))
    logged = [
        EvidenceLine("vault log", _said(one), line, at=one.at, vault=one.vault)
        for line, one in facts.record.numbered(VaultLogLine)
        if one.moment == label and _SAYS.search(_said(one))
    ]
    answers = [facts.answer_line(seen) for seen in lost[:_SHOWN]]
    sure = bool(logged) or any(_SAYS.search(seen.error) for seen in lost)
    since = _evidence(held[-1]) if held else []
    return diagnosis.stated(
        facts,
        (AWAY, "regression", "requests refused"),
        f"Vault {at.version} does nothing that takes its storage: {_left(held)}. Of what was asked then it "
        f"failed in {len(lost)} ({kinds}) with HTTP {lost[0].status}, and answered {granted} out of its memory; "
        "sys/health says that it is well",
        [*since, *answers, *logged[:_SHOWN]],
        _mend(held),
        confidence="certain" if sure else "strong",
        hop=at.version,
        explanation=EXPLANATION,
        source=SOURCE,
        moment=label,
    )


def _unopened(facts: Facts, trouble: Trouble, line: int, told: Sequence[tuple[int, StorageChanged]]) -> Finding:
    held = [one for one in told if one[0] < line]
    words = [text for text in (trouble.message, *trouble.log) if _SAYS.search(text)]
    back = trouble.step == "roll-back"
    step = facts.steps[trouble.position]
    did = "ended at its start" if trouble.kind == "died" else "could not be unsealed"
    return diagnosis.stated(
        facts,
        (AWAY, "regression", "roll-back refused" if back else "upgrade refused"),
        f"Vault {trouble.after_swap} {did}, which says nothing of what it makes of its data: {_left(held)}. "
        f"What came back: {trouble.message}",
        [
            *(_evidence(held[-1]) if held else ()),
            *(EvidenceLine("server", text, line, at=trouble.at) for text in words[:_SHOWN] or [trouble.message]),
        ],
        _mend(held),
        confidence="certain" if words else "strong",
        hop=trouble.after_swap,
        explanation=EXPLANATION,
        source=SOURCE,
        step=step.number,
        vault=trouble.vault,
    )


def _left(held: Sequence[tuple[int, StorageChanged]]) -> str:
    if not held:
        return "the course took it away"
    one = held[-1][1]
    if one.members == 1:
        return f"its {_CALLED.get(one.storage, one.storage)} is away"
    return f"{one.running} of {one.members} members of its etcd run, and {one.members // 2 + 1} have to"


def _mend(held: Sequence[tuple[int, StorageChanged]]) -> Remedy:
    etcd = not held or held[-1][1].storage == "etcd"
    what = (
        "Start members of the etcd until more than half of them are there" if etcd else "Start the PostgreSQL of Vault"
    )
    return Remedy(
        f"{what}, and see that it serves, before Vault is stopped or handed a key. A Vault that was unsealed goes on "
        "at once and needs no restart; one that declined a key is handed it again. Watch the storage by itself, "
        "because sys/health does not ask it.",
        commands=("etcdctl endpoint status --cluster -w table", "etcdctl endpoint health --cluster")
        if etcd
        else ("pg_isready -h <HOST> -p <PORT>",),
        unproven="where its servers are is the operator's to know; `storage: start` in the course rehearses it",
    )


def _evidence(held: tuple[int, StorageChanged]) -> list[EvidenceLine]:
    line, one = held
    return [EvidenceLine("server", sentence(one), line, at=one.at, vault=one.vault)]


def sentence(one: StorageChanged) -> str:
    """Return what was done to a storage, and what is left of it, in a line without a full stop."""
    name = f"the {_CALLED.get(one.storage, one.storage)} of Vault"
    leader = f"{one.member}, the leader of {name}," if one.member else f"the leader of {name}"
    done = {
        "lose-leader": f"{leader} was killed",
        "defrag": f"all members of {name} were defragmented at once",
        "restart": f"{name} was restarted{', member by member' if one.members > 1 else ''}",
        "stop": f"{name} was stopped",
        "start": f"{name} was started again where it was away",
    }[one.what]
    when = f", in the middle of the {one.during} to Vault {one.version}" if one.during else ""
    leads = f", {one.leader} leads" if one.leader else ""
    runs = f"{one.running} of {one.members} members run{leads}" if one.members > 1 else ""
    left = "; ".join(filter(None, (runs, "" if one.serves else "it does not serve")))
    took = f" ({one.seconds:.1f} s)" if one.seconds else ""
    return f"{done}{when}{took}{f': {left}' if left else ''}"


def _said(one: VaultLogLine) -> str:
    return " ".join([one.message, *(str(value) for name, value in one.fields.items() if name == "error")])
