"""What every form of report says in the same words: which findings belong together, and what speaks for each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from harness.diagnosis import Finding
from harness.evidence import Exhibit
from harness.verdict import Judgement


def grouped(findings: Iterable[Finding]) -> list[list[Finding]]:
    """Return findings of one kind, cause, hop and effect together, in the order in which the first of each stands.

    A thousand apps with one cause are one paragraph.
    """
    groups: dict[tuple[str, ...], list[Finding]] = {}
    for finding in findings:
        groups.setdefault((finding.kind, finding.rule, finding.hop, finding.effect), []).append(finding)
    return list(groups.values())


def failing(judgement: Judgement) -> list[tuple[Finding, str]]:
    """Return the findings for which the verdict is fail, each with its words among the reasons, expected or not."""
    if judgement.verdict != "fail":
        return []
    # The verdict gives its reasons in the order of the findings, and what could not be asked last.
    paired = zip(judgement.findings, judgement.reasons, strict=False)
    return [(finding, reason) for finding, reason in paired if reason.startswith(f"{finding.kind}: ")]


def blamed(judgement: Judgement) -> Mapping[Finding, str]:
    """Return the failing findings that the scenario does not expect, each with its words among the reasons.

    Where a run is incomplete and nothing came amiss, a judgement does not say whether anything was expected at all:
    then every failing finding is returned, for such a run is red in any case.
    """
    if judgement.as_expected:
        return {}
    found = failing(judgement)
    if not (judgement.missed or judgement.unexpected):
        return dict(found)
    left = Counter(judgement.unexpected)
    unforeseen = {}
    # An expectation takes the first of several findings with the same words: the unexpected ones are the last.
    for finding, reason in reversed(found):
        if left[reason]:
            left[reason] -= 1
            unforeseen[finding] = reason
    return dict(reversed(unforeseen.items()))


def unsure(judgement: Judgement) -> Sequence[str]:
    """Return the reasons for which not everything is known: questions nobody could ask, a record that does not end."""
    return () if judgement.verdict == "pass" else judgement.reasons[len(failing(judgement)) :]


def headline(finding: Finding, apps: Sequence[str]) -> str:
    """Return what happens, to which *apps*, and where, in one line."""
    who = f": {', '.join(apps)}" if apps else ""
    return f"{finding.effect}{who}, " + (f"at Vault {finding.hop}" if finding.hop else "before any hop")


def evidence(finding: Finding) -> Iterator[str]:
    """Yield all that speaks for a finding's cause, and the leads that it rules out, as lines without markup."""
    yield from map(exhibit_line, finding.evidence)
    if finding.explanation:
        yield f"known  {finding.explanation}. Source: {finding.source}"
    for lead in finding.ruled_out:
        yield f"{lead.state}: {lead.lead}. {lead.because}"
        yield from (f"  {exhibit_line(exhibit)}" for exhibit in lead.evidence)


def exhibit_line(exhibit: Exhibit) -> str:
    """Return one piece of evidence: where it comes from, the line of the record it stands on, and what it says."""
    where = f" of {exhibit.cluster}" if exhibit.cluster else ""
    line = f" (record.jsonl:{exhibit.line})" if exhibit.line else ""
    return f"{exhibit.source}{where}{line}: {exhibit.text}"
