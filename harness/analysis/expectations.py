"""What came, held against what the scenario expects: what is missed, what nobody expected, and what met what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from harness.analysis.diagnosis import Finding
from harness.analysis.record_view import Facts
from harness.record.observation import called
from harness.scenario.course import RollBack
from harness.scenario.topology import Expected


def against(expected: Sequence[Expected] | None, findings: Sequence[Finding]) -> tuple[list[str], dict[int, int]]:
    """Return what was expected and did not come, and which finding met which expectation: each takes one finding.

    One that tells of several questions asked with one token can be taken as often.
    """
    if expected is None:
        return [], {}
    # a scenario from before those were one finding expects one for each question
    places = [index for index, finding in enumerate(findings) for _ in (finding.probe, *finding.also)]
    by_app: dict[str, list[int]] = {}
    for place, index in enumerate(places):
        by_app.setdefault(findings[index].app, []).append(place)
    met_by = [
        [
            place
            for place in (range(len(places)) if one.app is None else by_app.get(one.app, ()))
            if meets(findings[places[place]], one)
        ]
        for one in expected
    ]
    taken: dict[int, int] = {}
    missed = []
    for number, one in enumerate(expected):
        if not _take(number, met_by, taken, set()):
            wanted: dict[str, Any] = msgspec.to_builtins(one)
            missed.append(", ".join(f"{name}: {value}" for name, value in wanted.items() if name != "because"))
    return missed, {places[place]: number for place, number in sorted(taken.items(), reverse=True)}


def unexpected(facts: Facts, findings: Sequence[Finding], met: Mapping[int, int]) -> list[str]:
    """Return what came and met no expectation. That a way back which the run added (--rollback) mends something is what
    it is for: no scenario can expect that.
    """
    added = {
        facts.moment_after(number)
        for number, step in enumerate(facts.steps)
        if isinstance(step, RollBack) and not step.number
    }
    return [
        words(finding)
        for index, finding in enumerate(findings)
        if index not in met and not (finding.moment in added and finding.kind != "regression")
    ]


def _take(number: int, met_by: Sequence[Sequence[int]], taken: dict[int, int], tried: set[int]) -> bool:
    """Find one of the findings that meet an expectation, and note it in *taken* (place of a finding to expectation).

    A vague expectation gives way to one that only this finding meets, so the order in which they stand decides nothing.
    """
    for index in met_by[number]:
        if index in tried:
            continue
        tried.add(index)
        if index not in taken or _take(taken[index], met_by, taken, tried):
            taken[index] = number
            return True
    return False


def meets(finding: Finding, one: Expected) -> bool:
    """Is a finding what is expected?"""
    # a scenario from before a restart had a word of its own says that an upgrade was refused
    alike = (finding.effect, finding.kind, one.change) == ("restart refused", "regression", "upgrade refused")
    return (
        (finding.effect == one.change or alike)
        and (one.app is None or finding.app == one.app)
        and (one.at is None or finding.hop == one.at)
        and (one.at_step is None or finding.step == one.at_step)
        and (one.cause is None or finding.rule == one.cause)
    )


def words(finding: Finding) -> str:
    """Return a finding in the words that stand for it among the reasons."""
    return f"{finding.kind}: {named(finding)}"


def named(finding: Finding) -> str:
    """Return those without the kind."""
    who = f" of {finding.app}" if finding.app else ""
    where = f" at {called(finding)}{finding.hop}" if finding.hop else f" {called(finding)}".rstrip()
    what = f" ({finding.probe})" if finding.probe not in ("", "login") else ""
    return f"{finding.effect}{who}{what}{where}, {finding.rule}"
