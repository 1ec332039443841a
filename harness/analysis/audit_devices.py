"""What a record says of Vault's audit devices: what their entries say before and after a hop, and which cannot write.

And what there is to find in that: a device that cannot write, and either nobody is answered any more, because it was
the only one, or what it should have is missing without a word; one that the next version does not make at all; and
entries in which something is missing, or is otherwise, than whoever reads them is used to.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from harness.analysis import diagnosis
from harness.analysis.correlation import EvidenceLine
from harness.analysis.diagnosis import Finding
from harness.analysis.record_view import Facts
from harness.analysis.rules import Remedy
from harness.knowledge import versions
from harness.record.audit_events import AuditSeen
from harness.scenario.outcomes import Cause

BLOCKED: Final = "audit-device-blocked"
REFUSED: Final = "audit-device-refused"
CHANGED: Final = "audit-entry-changed"

_NOT_MADE: Final = re.compile(r"(?:unable|failed) to create (?:new )?audit (?:backend|entry)")
_SLOW_SECONDS: Final = 1.0
"""So long nobody waits for an answer to a look-up, unless something is waited for on its behalf."""

_OF_THE_FIRST: Final = ("auth.entity_created", "response.auth.entity_created")
"""Fields of somebody's first login alone."""

_SHOWN: Final = 6
_DOCS: Final = (
    "Vault documentation, docs/audit: a request is answered once one device has written it; run: 1.7.0, 1.11.0, "
    "1.16.3, 1.21.2"
)
_OF_MODES: Final = "important changes cve-2025-6000; run: 1.16.3 and 1.19.0 to 1.21.2"
_READERS: Final = "who reads the entries looks for what they had: alerts, dashboards, and a search for one token"

MEND_MODE: Final = Remedy(
    "Before the upgrade, give the device a mode without execution: disable it and enable it again with mode 0600 or "
    "0640, while another device writes. Afterwards only the older version lets anybody in to do so.",
    commands=("vault audit list -detailed",),
    unproven="who may read the file is the operator's to know; the same scenario with mode 0640 rehearses it",
)


class DeviceChange(msgspec.Struct, frozen=True, kw_only=True):
    """What is otherwise at an audit device than at the look before."""

    device: str
    moment: str
    """the label of the moment at which it is so"""
    version: str
    more: tuple[str, ...] = ()
    """fields that entries have which had them not"""
    gone: tuple[str, ...] = ()
    """fields that they had, and have no more"""
    otherwise: tuple[str, ...] = ()
    """what is another value or of another kind, in words"""
    compared: int = 0
    """so many kinds of requests stood at both looks"""


def changes(facts: Facts) -> list[DeviceChange]:
    """Return, in order, what each device's entries are otherwise than at the look before, also where nothing is."""
    found, last = list[DeviceChange](), dict[str, AuditSeen]()
    for one in facts.record.of(AuditSeen):
        before = last.get(one.device)
        if before is not None and one.entries:
            found.append(_change(facts, before, one))
        if one.entries:
            last[one.device] = one
    return found


def _change(facts: Facts, before: AuditSeen, now: AuditSeen) -> DeviceChange:
    more, gone, otherwise, shared = set[str](), set[str](), list[str](), sorted(before.entries.keys() & now.entries)
    for name in shared:
        old, new = before.entries[name], now.entries[name]
        more |= new.fields.keys() - old.fields - {*_OF_THE_FIRST}
        gone |= old.fields.keys() - new.fields - {*_OF_THE_FIRST}
        otherwise += [
            f"{field} is {new.fields[field]}, and was {kind}"
            for field, kind in old.fields.items()
            if field in new.fields and new.fields[field] != kind
        ]
        otherwise += [
            f"{field} of {name} is {_short(new.says.get(field))}, and was {_short(value)}"
            for field, value in old.says.items()
            if field in new.says and new.says[field] != value
        ]
    if before.mode != now.mode:
        otherwise.append(f"the mode of its file is {now.mode or '?'}, and was {before.mode or '?'}")
    if before.hash and now.hash and before.hash != now.hash:
        otherwise.append("one and the same text has another hash, and nobody finds an older token by it")
    return DeviceChange(
        device=now.device,
        moment=now.moment,
        version=_version(facts, now.moment),
        more=tuple(sorted(more)),
        gone=tuple(sorted(gone)),
        otherwise=tuple(dict.fromkeys(otherwise)),
        compared=len(shared),
    )


def _version(facts: Facts, moment: str) -> str:
    return facts.moments[moment].version if moment in facts.moments else ""


def _short(value: object) -> str:
    return text if len(text := str(value)) <= 80 else f"{text[:77]}..."


def silenced(facts: Facts) -> set[str]:
    """Return the labels of the moments at which Vault answers nothing that it has to audit, because it cannot."""
    return {one.moment for one in facts.record.of(AuditSeen) if _refuses(one)}


def _refuses(one: AuditSeen) -> bool:
    return one.status is None or one.status >= 500


def at_start(log: Sequence[str]) -> tuple[Cause, str, Remedy, str] | None:
    """Return why a Vault was never active after its unseal, by its *log*: the cause, a sentence, what mends it, and a
    source. None where it is not that none of its audit devices could be made.
    """
    if not any("failed to setup audit table" in line for line in log):
        return None
    line = next((line for line in reversed(log) if _NOT_MADE.search(line)), "")
    said = re.search(r'"error":"([^"]*)".*"path":"([^"]*)/"', line)
    why, device = said.groups() if said else ("its log does not say why", "?")
    sentence = (
        f"It is unsealed and never active, because it could make none of its audit devices: audit/{device}: {why}"
    )
    if "executable" in why:
        return REFUSED, sentence, MEND_MODE, _OF_MODES
    mend = Remedy(
        "Have a second audit device before the upgrade, and see to what keeps this one away: the older version gets "
        "along with it.",
        commands=("vault audit list -detailed",),
        unproven="what keeps the device away is the operator's to know",
    )
    return REFUSED, sentence, mend, _DOCS


def findings(facts: Facts) -> Iterator[Finding]:
    """Yield what there is to find, in order; what is as it was at the look before is no news."""
    by_moment: dict[str, list[tuple[int, AuditSeen]]] = {}
    for line, one in facts.record.numbered(AuditSeen):
        by_moment.setdefault(one.moment, []).append((line, one))
    changed = {(one.device, one.moment): one for one in changes(facts)}
    refused, losing = False, set[str]()
    for moment, seen in by_moment.items():
        if any(_refuses(one) for _, one in seen):
            if not refused:
                yield _nobody_answered(facts, moment, seen)
            refused, losing = True, set()
            continue
        refused = False
        lost = {one.device for _, one in seen if one.missing}
        for line, one in seen:
            if one.device in lost - losing:
                yield _entries_lost(facts, line, one)
            change = changed.get((one.device, moment))
            if change and (change.gone or change.otherwise):
                yield _entries_changed(facts, line, one, change)
        losing = lost


def _nobody_answered(facts: Facts, moment: str, seen: Sequence[tuple[int, AuditSeen]]) -> Finding:
    names = ", ".join(f"audit/{one.device} ({one.kind}, {one.state})" for _, one in seen)
    _, first = seen[0]
    came = "no answer" if first.status is None else f"HTTP {first.status}"
    only = "the only audit device cannot write" if len(seen) == 1 else "none of its audit devices can write"
    return diagnosis.stated(
        facts,
        (BLOCKED, "regression", "requests refused"),
        f"Vault answers nothing any more that it has to audit, and {only}: {names}. A look-up of the administrator's "
        f"own token came back as {came} after {first.seconds:.1f} s, and sys/health, which nobody audits, says that it "
        "is well",
        [_evidence(line, one) for line, one in seen],
        Remedy(
            "Have a second audit device before that, on another disk or of another kind: one that writes is enough. "
            "Once all are blocked no device can be disabled and none enabled, because Vault would have to audit that: "
            "make room on the disk, or bring the receiver back. Vault goes on at once, and needs no restart.",
            commands=("vault audit enable -path=second file file_path=...", "vault audit list -detailed"),
            unproven="where else it could write is the operator's to know; `audit-device: {NAME: enable}` in a course "
            "rehearses it",
        ),
        hop=_version(facts, moment),
        moment=moment,
        source=_DOCS,
        explanation="what no audit device has written down Vault does not do, and does not answer",
    )


def _without_places(said: str) -> str:
    """Return what Vault's log said, with files by their names alone: where a rehearsal had them helps nobody."""
    return re.sub(r"/\S*/(?=[^/\s]+)", "", said)


def _entries_lost(facts: Facts, line: int, one: AuditSeen) -> Finding:
    made = not _NOT_MADE.search(one.why)
    slow = one.seconds >= _SLOW_SECONDS
    wait = f", and each request waits for it: a look-up took {one.seconds:.1f} s" if slow else ""
    why = f" ({_without_places(one.why)})" if one.why else ""
    what = f"cannot write ({one.state})" if made else "is not there any more, though it is listed"
    faster = " Of a socket choose a short write_timeout: Vault waits for it up to four times a request." if slow else ""
    return diagnosis.stated(
        facts,
        (BLOCKED if made else REFUSED, "latent", "audit entries lost"),
        f"audit/{one.device} {what}{why}: {one.missing} answers of this look are in another device and not in it"
        f"{wait}. Nobody is told but by Vault's own log",
        [_evidence(line, one)],
        Remedy(
            "Watch each device by itself: vault.audit.log_request_failure and log_response_failure of its telemetry, "
            f"or the errors about audit in its log. Disable one that is gone for good.{faster}",
            commands=(f"vault audit disable {one.device}",),
            unproven="whether it is to come back is the operator's to know; `audit-device: {NAME: disable}` in a "
            "course rehearses it",
        )
        if made
        else MEND_MODE,
        hop=_version(facts, one.moment),
        moment=one.moment,
        source=_DOCS if made else _OF_MODES,
        explanation="one device that writes is enough for an answer: what the others lose is lost in silence",
    )


def _entries_changed(facts: Facts, line: int, one: AuditSeen, change: DeviceChange) -> Finding:
    gone = [f"it has no {_some(change.gone)} any more"] if change.gone else []
    said = "; ".join([*gone, *change.otherwise[:_SHOWN]])
    return diagnosis.stated(
        facts,
        (CHANGED, "latent", "audit changed"),
        f"What audit/{one.device} ({one.kind}) writes is otherwise with {versions.called(change.version)}: {said}",
        [_evidence(line, one)],
        Remedy(
            f"{_for_readers(_came_from(facts, one), change.version)}: parsers, alerts, and the search for what one "
            "token did.",
            unproven="who reads the entries is the operator's to know",
        ),
        hop=_version(facts, one.moment),
        moment=one.moment,
        source="the entries of both versions, in this run",
        explanation=_READERS,
    )


def _came_from(facts: Facts, now: AuditSeen) -> str:
    """Return the version of Vault that wrote the entries with which those of *now* are compared."""
    version = ""
    for one in facts.record.of(AuditSeen):
        if (one.device, one.moment) == (now.device, now.moment):
            break
        if one.device == now.device and one.entries:
            version = _version(facts, one.moment)
    return version


def _for_readers(came_from: str, version: str) -> str:
    """Return what is to be done for whoever reads the entries, by the direction of the hop to a *version*."""
    if came_from == version:
        return "Take the new entries to whatever reads them before the same is done in production"
    if not came_from or not version or versions.parse(version) > versions.parse(came_from):
        return "Take the new entries to whatever reads them before the upgrade"
    # they were read once: it is the support for them that must not be dropped with the upgrade
    return f"Keep whatever reads the entries able to read those of {versions.called(version)} until nobody goes back"


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (f", and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")


def _evidence(line: int, one: AuditSeen) -> EvidenceLine:
    why = f"; {_without_places(one.why)}" if one.why else ""
    text = (
        f"audit/{one.device}: {one.state}, {one.written} answers written, {one.missing} missing; a look-up then: "
        f"{one.status or 'no answer'} after {one.seconds} s{why}"
    )
    return EvidenceLine("audit device", text, line, at=one.at)
