"""What every form of report says in the same words: findings that belong together, outages, evidence."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from harness.diagnosis import Finding
from harness.events import Renewals
from harness.evidence import Exhibit
from harness.verdict import Judgement

_APPS_BY_NAME: Final = 6


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
    """Return the reasons for which not everything is known: questions nobody could ask, a record that does not end.

    That nothing was learned of an app is no such reason: all was asked. `nothing_learned` says it.
    """
    if judgement.verdict == "pass":
        return ()
    others = {weight.reason for weight in judgement.weights}
    others |= {doubt.text for doubt in judgement.doubts if doubt.kind == "unlearned"}
    return [reason for reason in judgement.reasons if reason not in others]


def as_hoped(judgement: Judgement) -> str:
    """Return the sentence for a run that came out as the scenario expects, or hopes where it says nothing."""
    if judgement.expects:
        return "This is exactly what the scenario expects."
    return "No answer got worse. The scenario has no `expect`, so nothing else was asked for."


def unlearned(judgement: Judgement) -> str:
    """Return the apps of which nothing was learned, though nobody said that it would be so; "" for none."""
    apps = (app for doubt in judgement.doubts if doubt.kind == "unlearned" for app in doubt.apps)
    return ", ".join(_some(list(dict.fromkeys(apps))))


def nothing_learned(judgement: Judgement) -> str:
    """Return what to find out about apps that were refused all along, if there are any: the run is no all-clear."""
    return "\n".join(f"{doubt.text}." for doubt in judgement.doubts if doubt.kind == "unlearned")


def headline(finding: Finding, apps: Sequence[str]) -> str:
    """Return what happens, to which *apps*, and where, in one line."""
    who = f": {', '.join(apps)}" if apps else ""
    return f"{finding.effect}{who}, " + (f"at Vault {finding.hop}" if finding.hop else "before any hop")


def outages(renewals: Iterable[Renewals]) -> list[str]:
    """Return for how long which apps could not renew, a sentence without its full stop for all that met one hop alike.

    The worst first: who never renewed again, then the longest. Figures of several apps are those of the worst of them.
    """
    groups: dict[tuple[str, str], list[Renewals]] = {}
    for row in worst_outages_first(renewals):
        groups.setdefault((row.version, _met(row)), []).append(row)
    return [_outage(group) for group in groups.values()]


def worst_outages_first(renewals: Iterable[Renewals]) -> list[Renewals]:
    """Return *renewals* with those first that never came back, and then by their length."""
    return sorted(renewals, key=lambda row: (row.renewed, -row.seconds))


def _met(row: Renewals) -> str:
    if not row.renewed:
        return "could not renew again"
    return "could not renew" if row.failures else "renewed without a failure"


def _outage(group: Sequence[Renewals]) -> str:
    """Return what the apps of *group*, the worst of which is its first, met at the one hop."""
    worst, crowd = group[0], len(group) > 1
    hop, span = f"Vault was taken to {worst.version}", f"{worst.seconds:.1f} s"
    if not worst.renewed:
        when = f" once {hop}: none was granted for {span}, and then nobody waited any longer"
    elif worst.failures:
        when = f" for {'up to ' if crowd else ''}{span} while {hop}"
    else:
        when = f", at most {span} apart, while {hop}"
    kinds = ", ".join(f"{kind} {times}" for kind, times in worst.failures.items())
    failed = f"{sum(worst.failures.values())} of {worst.asked} renewals failed: {kinds}"
    counted = failed if worst.failures else f"{worst.asked} renewals"
    who = ", ".join(_some([row.app for row in group]))
    return f"{who} {_met(worst)}{when} ({f'{worst.app}: ' if crowd else ''}{counted})"


def apps_of(group: Iterable[Finding]) -> Sequence[str]:
    """Return the names of the apps of *group*, or the first of them and the number of the others."""
    return _some(list(dict.fromkeys(finding.app for finding in group if finding.app)))


def _some(apps: Sequence[str]) -> Sequence[str]:
    return apps if len(apps) <= _APPS_BY_NAME else [*apps[: _APPS_BY_NAME - 1], f"{len(apps) - _APPS_BY_NAME + 1} more"]


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
