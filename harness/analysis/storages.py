"""What a record says of the servers that have Vault's data: what became of them, and what Vault did without them."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from typing import Final

from harness.analysis import diagnosis, not_served
from harness.analysis.correlation import EvidenceLine
from harness.analysis.diagnosis import Finding
from harness.analysis.record_view import Facts
from harness.analysis.rules import Remedy
from harness.knowledge import versions
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
OF_ITSELF: Final = frozenset({"health", "seal-status"})
"""What Vault says of itself, whatever its storage does."""
_ETCDCTL: Final = "etcdctl --endpoints=<EVERY-MEMBER>"
_CALLED: Final = {"postgresql": "PostgreSQL", "consul": "Consul"}
_ASKS: Final = {
    # --cluster would ask for the members first, which none tells without a leader
    "etcd": (f"{_ETCDCTL} endpoint status -w table", f"{_ETCDCTL} endpoint health"),
    "postgresql": ("pg_isready -h <HOST> -p <PORT>",),
    "consul": ("consul members", "consul operator raft list-peers"),
}
"""What asks a storage by itself."""


def out(facts: Facts) -> frozenset[str]:
    """Return the labels of the moments at which the storage of Vault does not serve, because the course took it away.

    What Vault answers then nobody can compare: that it could not be asked is told in one finding, and in no doubt.
    """
    return storage_state.out_at(facts.steps, facts.topology.vault.etcd_members)


def silenced(facts: Facts) -> frozenset[str]:
    """Return those labels, where a finding tells of them what could not be asked then, or what did not start."""
    told = [labels for labels in _outages(facts) if any(_lost(facts, label) for label in labels)]
    if any(explains(facts, trouble) for trouble in facts.record.of(Trouble)):
        told += _outages(facts)[-1:]
    return frozenset(label for labels in told for label in labels)


def explains(facts: Facts, trouble: Trouble) -> bool:
    """Was the storage away when Vault would not serve? Then that says nothing of what a version makes of its data."""
    if not trouble.after_swap or trouble.kind not in ("died", "refused", "silent") or trouble.position < 0:
        return False
    whose = facts.topology.vaults.get(trouble.vault)
    if whose is not None and whose.of_seals:
        return False  # its data are its own
    members = facts.topology.vault.etcd_members
    return not storage_state.serves(storage_state.away(facts.steps[: trouble.position + 1], members), members)


def findings(facts: Facts) -> Iterator[Finding]:
    """Yield what there is to find, in order: a look at which Vault did nothing that takes its storage, and a start."""
    told = list(facts.record.numbered(StorageChanged))
    for labels in _outages(facts):
        # what is so still is no news
        if label := next((label for label in labels if _lost(facts, label)), ""):
            yield _unanswered(facts, label, told)
    for line, trouble in facts.record.numbered(Trouble):
        if explains(facts, trouble):
            yield _unopened(facts, trouble, line, told)


def _outages(facts: Facts) -> list[list[str]]:
    """Return the labels of the moments at which the storage does not serve: those that follow each other together."""
    without = out(facts)
    grouped = itertools.groupby(facts.moments, lambda label: label in without)
    return [list(labels) for away, labels in grouped if away]


def _lost(facts: Facts, label: str) -> list[Observation]:
    """Return in what Vault failed, or gave no answer in time. What nobody asked then, because of a refused login or a
    stopped node, is told by that.
    """
    seen = (one for one in facts.observations if one.moment == label and one.answer == "unknown")
    return [one for one in seen if one.blocked_by is None and not one.mixed]


def _unanswered(facts: Facts, label: str, told: Sequence[tuple[int, StorageChanged]]) -> Finding:
    at, lost = facts.moments[label], _lost(facts, label)
    held = [one for one in told if one[0] < facts.line_of[lost[0].id]]
    granted = [one.probe for one in facts.observations if one.moment == label and one.answer == "granted"]
    health = [one.answer for one in facts.observations if (one.moment, one.probe) == (label, "health")]
    kinds, statuses = sorted({seen.probe for seen in lost}), sorted({_status(seen) for seen in lost})
    logged = [
        EvidenceLine("vault log", said(one), line, at=one.at, vault=one.vault)
        for line, one in facts.record.numbered(VaultLogLine)
        if one.moment == label and _SAYS.search(said(one))
    ]
    answers = [facts.answer_line(seen) for seen in lost[:_SHOWN]]
    sure = bool(logged) or any(_SAYS.search(seen.error) for seen in lost)
    since = _evidence(held[-1]) if held else []
    well = "; sys/health says all the same that it is well" if health and {*health} == {"granted"} else ""
    return diagnosis.stated(
        facts,
        (AWAY, "regression", "requests refused"),
        f"The storage of {versions.called(at.version)} does not serve: {_left(held)}. Of what was asked then Vault "
        f"failed in {len(lost)} ({', '.join(kinds)}) with {', '.join(statuses)}, and answered "
        f"{sum(probe not in OF_ITSELF for probe in granted)} out of its memory{well}",
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
    step = facts.steps[trouble.position]
    did = "ended at its start" if trouble.kind == "died" else "could not be unsealed"
    return diagnosis.stated(
        facts,
        (AWAY, "regression", not_served.effect(trouble, facts.steps)),
        f"{versions.called(trouble.after_swap)} {did}, which says nothing of what it makes of its data: {_left(held)}. "
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
    kind = held[-1][1].storage if held else "etcd"
    what = (
        "Start members of the etcd until more than half of them are there"
        if kind == "etcd"
        else f"Start the {_CALLED.get(kind, kind)} of Vault"
    )
    return Remedy(
        f"{what}, and see that it serves, before Vault is stopped or handed a key. A Vault that was unsealed goes on "
        "at once and needs no restart; one that declined a key is handed it again. Watch the storage by itself, "
        "because sys/health does not ask it.",
        commands=_ASKS[kind],
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
    when = f", in the middle of the {one.during} to {versions.called(one.version)}" if one.during else ""
    leads = f", {one.leader} leads" if one.leader else ""
    runs = f"{one.running} of {one.members} members run{leads}" if one.members > 1 else ""
    left = "; ".join(filter(None, (runs, "" if one.serves else "it does not serve")))
    took = f" ({one.seconds:.1f} s)" if one.seconds else ""
    return f"{done}{when}{took}{f': {left}' if left else ''}"


def _status(seen: Observation) -> str:
    return f"HTTP {seen.status}" if seen.status is not None else "no answer in time"


def said(one: VaultLogLine) -> str:
    """Return what a line of Vault's log says, with its error."""
    return " ".join([one.message, *(str(value) for name, value in one.fields.items() if name == "error")])
