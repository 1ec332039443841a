"""What is said of a Vault of several nodes that was taken on node by node: order, leaders, gaps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from harness.analysis.rolling import Gap, Rolling
from harness.record.node_events import LeaderChanged, NodeSwapped

_TOO_MANY: Final = 429
_WAYS: Final = {
    "leader": "at the leader",
    "standby": "at a standby",
    "load-balancer": "through the load balancer",
}
_INSTANT: Final = 0.05
"""Seconds: on paper nothing takes longer, and then it is not told."""


def told(rollings: Sequence[Rolling], most: int = 100) -> list[tuple[str, str]]:
    """Return lines, each with the word that says what it is about; of many of those that took longest."""
    worst = sorted(range(len(rollings)), key=lambda number: -_longest(rollings[number]))[:most]
    lines = [line for number in sorted(worst) for line in _told(rollings[number])]
    if more := len(rollings) - len(worst):
        lines.append(("nodes", f"... and {more} more steps without longer gaps: -v"))
    return lines


def _longest(one: Rolling) -> float:
    """Return for how long, in seconds, nobody was answered at the worst moment."""
    return max((gap.seconds for gap in one.gaps), default=0.0)


def _told(one: Rolling) -> Iterator[tuple[str, str]]:
    whose = f" of {one.vault}" if one.vault else ""
    lost = f"; did not come back: {', '.join(one.lost)}" if one.lost else ""
    worst = "" if one.tolerance is None else f", and at the worst moment {one.tolerance} more could be lost"
    order = ", ".join(map(_swap, one.order)) or "none"
    taken = f"taken to {one.version}{whose}, each until it was back: {order}{lost}"
    did = {"step-down": f"{one.leader} stepped down", "stop-node": f"{one.node} was stopped"}
    did["remove-node"] = f"{one.node} was removed from the others"
    did["join-node"] = f"{one.node} joined the others anew, as {one.version} and over no data{lost}"
    voted = f" ({one.voters} voted{worst})" if one.voters else ""
    yield "nodes", did.get(one.do, taken) + voted
    led = f"{one.leader} ({one.leader_version or one.from_version or '?'})" if one.leader else "nobody"
    yield "leaders", "; then ".join([led, *map(_lead, one.leads)])
    if one.evictions:
        refused = sum(each.status == _TOO_MANY for each in one.evictions)
        words = f": {one.evictions[0].message}" if one.evictions[0].message else ""
        times = f"{refused} of {len(one.evictions)} times{words}"
        yield "budget", f"while one was replaced, the eviction of another was refused {times}"
    of_all, on_ways = [gap for gap in one.gaps if not gap.through], [gap for gap in one.gaps if gap.through]
    if of_all:
        yield "gaps", f"longest without an answer: {', '.join(map(_gap, of_all))}; each asked every 0.1 s"
    if on_ways:
        yield "ways", f"longest without an answer: {', '.join(map(_gap, on_ways))}"


def _swap(swap: NodeSwapped) -> str:
    led = " (led)" if swap.was == "leader" else ""
    return f"{swap.node}{led}" + (f" {swap.rejoined:.1f} s" if swap.rejoined > _INSTANT else "")


def _lead(change: LeaderChanged) -> str:
    without = f" after {change.seconds:.1f} s without any" if change.seconds > _INSTANT else ""
    during = f", while {change.during} was replaced" if change.during else ""
    return f"{change.node} ({change.version}){without}{during}"


def way(through: str) -> str:
    """Return in words on which way something was asked."""
    return _WAYS.get(through, f"through {through}")


def _gap(gap: Gap) -> str:
    what = f"{gap.kind} {way(gap.through)}" if gap.through else gap.kind
    if not gap.failures:
        return f"{what} {gap.seconds:.1f} s (all {gap.asked} granted)"
    kinds = ", ".join(f"{kind} {times}" for kind, times in gap.failures.items())
    times = f", {len(gap.gaps)} times" if len(gap.gaps) > 1 else ""
    return f"{what} {gap.seconds:.1f} s{times} ({sum(gap.failures.values())} of {gap.asked} failed: {kinds})"
