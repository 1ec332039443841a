"""The noise floor: what an A -> A rehearsal, the same version restarted over its own data, says of other changes.

A floor leaves out details of answers alone. Who is granted and who is refused is never noise: an A -> A rehearsal that
sees such a thing change, or could not ask, is no floor, and says so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from harness.analysis import comparison
from harness.analysis.diagnosis import Finding
from harness.analysis.expectations import meets, words
from harness.analysis.verdict import Judgement
from harness.record.noise_floor import NoiseFloor, Noisy
from harness.record.observation import BESIDE, Observation
from harness.scenario.topology import Expected

_OF_THE_RUN: Final = ("unlearned", "unrehearsed")


def measured(seen: Judgement, floor: NoiseFloor, expected: Sequence[Expected]) -> NoiseFloor:
    """Return *floor* with what an A -> A rehearsal saw; *expected* is what the scenario expects of the upgrade.

    What is expected there, and comes without any upgrade as well, is no surprise: it is told, and no more.
    """
    known = [finding for finding in seen.findings if _known(finding, expected)]
    pairs = list(_pairs(seen.observations))
    counted = Counter(
        (after.probe, name) for before, after in pairs for name in comparison.fields_that_differ(before, after)
    )
    return msgspec.structs.replace(
        floor,
        compared=len(pairs),
        differs=tuple(Noisy(probe=probe, field=name, times=n) for (probe, name), n in sorted(counted.items())),
        findings=tuple(map(words, known)),
        unsound=tuple(_unsound(seen, [finding for finding in seen.findings if finding not in known])),
    )


def _known(finding: Finding, expected: Sequence[Expected]) -> bool:
    return any(meets(finding, msgspec.structs.replace(one, at=None, at_step=None)) for one in expected)


def _unsound(seen: Judgement, found: Sequence[Finding]) -> Iterator[str]:
    """Yield why a rehearsal is no floor. That an app is refused all along is a finding, and told as one."""
    yield from map(words, found)
    yield from (doubt.text for doubt in seen.doubts if doubt.kind not in _OF_THE_RUN)
    for change in seen.changes:
        if change.what in ("status", "error"):
            who = change.app or change.mount or "Vault"
            yield f"{change.probe} of {who} {change.to_moment} answers {change.after} instead of {change.before}"


def _pairs(observations: Sequence[Observation]) -> Iterator[tuple[Observation, Observation]]:
    """Yield every granted answer with the one to the same question at the look before, granted as well."""
    last: dict[comparison.Key, Observation] = {}
    for now in observations:
        if now.probe.startswith(BESIDE):
            continue
        before = last.get(comparison.key_of(now))
        if before is not None and before.answer == now.answer:
            yield before, now
        last[comparison.key_of(now)] = now
