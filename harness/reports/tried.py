"""What every form of report says of remedies: what came of those that were tried, and what is to be written in full."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from harness.analysis.diagnosis import Finding
from harness.analysis.proofs import Proof, Risk, State
from harness.analysis.rules import Remedy
from harness.analysis.verdict import Judgement

TRIED: Final = "Remedies, tried"
IN_FULL: Final = "What to write, in full"

_WORD: Final[dict[State, str]] = {
    "mends": "PROVEN",
    "opens a hole": "OPENS A HOLE",
    "does not mend": "DOES NOT MEND",
    "not tried": "NOT TRIED",
}
_WORST_FIRST: Final[tuple[State, ...]] = ("does not mend", "opens a hole", "not tried", "mends")


class Tried(msgspec.Struct, frozen=True):
    """One remedy, and what came of it at each moment for which it is meant."""

    word: str
    head: str
    lines: tuple[tuple[str, str], ...]
    """what each line is about, and what it says"""
    well: bool
    """does it mend, wherever it was tried?"""


class Writing(msgspec.Struct, frozen=True):
    """What one remedy writes."""

    head: str
    writes: tuple[str, ...]
    terraform: str


def tried(judgement: Judgement) -> list[Tried]:
    """Return every remedy that was tried, in the order of the findings' own."""
    return [_tried(proofs) for proofs in _by_remedy(judgement.proofs)]


def shortly(judgement: Judgement) -> list[str]:
    """Return in a few words what keeps the remedies from being proven, for the last line of a report."""
    failed = sum(proof.state in ("does not mend", "opens a hole") for proof in judgement.proofs)
    untried = sum(proof.state == "not tried" for proof in judgement.proofs) + len(judgement.unproven)
    said = [f"{failed} of {len(judgement.proofs)} trials of remedies failed"] if failed else []
    return [
        *said,
        *(
            [f"{untried} remedies could not be tried" if untried > 1 else "a remedy could not be tried"]
            if untried
            else []
        ),
    ]


def _by_remedy(proofs: Sequence[Proof]) -> list[list[Proof]]:
    groups: dict[tuple[object, ...], list[Proof]] = {}
    for proof in proofs:
        groups.setdefault((proof.rule, proof.mount, proof.remedy, proof.apps), []).append(proof)
    return list(groups.values())


def _tried(proofs: Sequence[Proof]) -> Tried:
    first = proofs[0]
    worst = min((proof.state for proof in proofs), key=_WORST_FIRST.index)
    lines: list[tuple[str, str]] = [(proof.timing, _outcome(proof)) for proof in proofs]
    added = list(dict.fromkeys(one for proof in proofs for one in proof.added))
    if any(proof.state != "not tried" for proof in proofs):
        lines.append(("adds", "; ".join(added) or "no right that was not there"))
    lines += [("risk", said) for said in dict.fromkeys(_risk(risk) for proof in proofs for risk in proof.risks)]
    return Tried(
        _WORD[worst],
        f"way {first.remedy + 1} for {', '.join(first.apps)} ({first.rule}): {_short(first.words)}",
        tuple(lines),
        worst == "mends",
    )


def _outcome(proof: Proof) -> str:
    if proof.state not in ("mends", "opens a hole"):
        return proof.sentence
    kept = f"; impostors are refused, {proof.held} of {proof.held} times" if proof.held and not proof.fallen else ""
    return f"{proof.sentence}{kept}"


def _risk(risk: Risk) -> str:
    if not risk.shown:
        return f"{risk.what}; the abuse was tried and declined"
    when = "" if risk.new else ", and could be before as well"
    done = risk.evidence[-1].text.partition(": ")[2] if risk.evidence else risk.probe
    return f"{risk.what}; the abuse was shown{when}: {done}"


def _short(words: str) -> str:
    return words.partition(". ")[0].rstrip(".")


def advised(judgement: Judgement) -> list[Writing]:
    """Return what is to be written by the remedies that mend, wherever they were tried: the least risky of each cause.

    Nothing where none was tried.
    """
    best: dict[tuple[str, str, tuple[str, ...]], tuple[int, int, Writing]] = {}
    for proofs in _by_remedy(judgement.proofs):
        first, remedy = proofs[0], _remedy_of(judgement, proofs[0])
        if remedy is None or any(proof.state != "mends" for proof in proofs):
            continue
        risks = sum(risk.shown for proof in proofs for risk in proof.risks)
        one = (risks, first.remedy, _writing(remedy))
        key = (first.rule, first.mount, first.apps)
        best[key] = min(best.get(key, one), one, key=lambda each: each[:2])
    return list(dict.fromkeys(writing for _, _, writing in best.values()))


def _remedy_of(judgement: Judgement, proof: Proof) -> Remedy | None:
    for finding in judgement.findings:
        if (finding.rule, finding.mount) == (proof.rule, proof.mount) and finding.app in proof.apps:
            return finding.remedies[proof.remedy] if proof.remedy < len(finding.remedies) else None
    return None


def in_full(findings: Sequence[Finding]) -> Iterator[Writing]:
    """Yield what every remedy of *findings* writes, each once."""
    told = dict[Writing, None]()
    for finding in findings:
        told |= {_writing(remedy): None for remedy in finding.remedies if remedy.writes or remedy.terraform}
    yield from told


def _writing(remedy: Remedy) -> Writing:
    return Writing(_short(remedy.words), remedy.writes, remedy.terraform)
