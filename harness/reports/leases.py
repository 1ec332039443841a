"""What is said of the leases of a Vault: made, found again at a start, and what they weigh."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from harness.analysis.leases import Leases
from harness.knowledge import versions
from harness.record.lease_events import LeasesChanged, LeasesSeen, Met


def told(ones: Iterable[Leases]) -> list[tuple[str, str]]:
    """Return lines, each with the word that says what it is about."""
    return [("leases", line) for one in ones for line in _told(one)]


def _told(one: Leases) -> Iterator[str]:
    whose = f" in {one.vault}" if one.vault else ""
    yield from (f"{line}{whose}" for line in _lines(one))
    yield from (f"{line}{whose}" for line in _given_up(one))


def _lines(one: Leases) -> Iterator[str]:
    lines = [
        *((each.at, _changed(each)) for each in one.changes),
        *((each.at, _seen(each)) for each in one.seen if each.when != "looked"),
    ]
    yield from (line for _, line in sorted(lines))


def _given_up(one: Leases) -> Iterator[str]:
    """Yield how many leases could not be revoked, first and at last; why, and what to do, a finding says."""
    counted = [each for each in one.seen if each.irrevocable is not None]
    if not any(each.irrevocable for each in counted):
        return
    first, last = counted[0], counted[-1]
    then = f" ({first.irrevocable:,} on {versions.called(first.version)} when {first.when})"
    before = then if first is not last else ""
    yield f"{last.irrevocable:,} irrevocable on {versions.called(last.version)}{before}"


def _changed(one: LeasesChanged) -> str:
    speed = f" in {one.seconds:.1f} s ({one.count / one.seconds:,.0f} a second)" if one.seconds else ""
    how = " at once" if one.at_once and one.done == "revoked" else ""
    failed = f"; {', '.join(f'{kind} {times:,}' for kind, times in one.failures.items())}" if one.failures else ""
    said = "".join([f": {one.error}" if one.error else "", *(f"; {_met(each)}" for each in one.met)])
    return f"{one.count:,} {one.done}{how} by {versions.called(one.version)}{speed}{failed}{said}"


def _met(one: Met) -> str:
    failed = f", {', '.join(f'{kind} {times:,}' for kind, times in one.failures.items())}" if one.failures else ""
    return f"{one.kind} meanwhile: {one.seconds:.2f} s at the longest without a grant ({one.asked:,} asked{failed})"


def _seen(one: LeasesSeen) -> str:
    what = [f"{one.held:,} on {versions.called(one.version)} when {one.when}"]
    if one.active is not None:
        what.append(f"active after {one.active:.2f} s")
    if one.restored is not None:
        what.append(f"all in mind {one.restored:.2f} s later")
    if one.memory is not None:
        what.append(f"memory {_size(one.memory)}")
    if one.stored is not None:
        what.append(f"stored {_size(one.stored)}")
    if one.listed is not None and one.list_seconds is not None:
        what.append(f"LIST {_size(one.listed)} in {one.list_seconds:.2f} s")
    if one.list_error:
        what.append(f"LIST {one.list_error}")
    if one.etcd_whole is not None and one.etcd_keys is not None:
        what.append(f"etcd lists {_size(one.etcd_whole)}, by keys alone {_size(one.etcd_keys)}")
    if one.irrevocable:
        what.append(f"{one.irrevocable:,} irrevocable")
    return ", ".join(what)


def _size(count: int) -> str:
    return f"{count / 1e6:,.1f} MB"
