"""What every form of report says in the same words: which findings belong together, and what speaks for each."""

from __future__ import annotations

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


def blamed(judgement: Judgement) -> Mapping[Finding, str]:
    """Return the failing findings that the scenario does not expect, each with its words among the reasons."""
    paired = zip(judgement.findings, judgement.weights, strict=True)
    return {finding: weight.reason for finding, weight in paired if weight.fails and weight.expectation is None}


def unsure(judgement: Judgement) -> Sequence[str]:
    """Return the reasons for which not everything is known: questions nobody could ask, a record that does not end."""
    if judgement.verdict == "pass":
        return ()
    of_findings = {weight.reason for weight in judgement.weights}
    return [reason for reason in judgement.reasons if reason not in of_findings]


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
