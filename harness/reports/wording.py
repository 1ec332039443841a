"""What every form of report says in the same words: findings that belong together, outages, evidence."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from harness.analysis import comparison
from harness.analysis.comparison import Else
from harness.analysis.correlation import EvidenceLine
from harness.analysis.diagnosis import Finding
from harness.analysis.news import OTHERWISE
from harness.analysis.rollback import Rollback
from harness.analysis.rules import Remedy
from harness.analysis.token_reviews import LoginReview
from harness.analysis.verdict import Judgement, Outcome, Versions
from harness.knowledge import versions
from harness.record.events import Renewals
from harness.record.noise_floor import NoiseFloor
from harness.record.observation import called

_APPS_BY_NAME: Final = 6
NO_FORECAST: Final = "; measured on loopback with a scripted unseal: no forecast for production"

OUTCOME: Final[Mapping[Outcome, str]] = {
    "pass": "PASS",
    "expected-fail": "XFAIL (expected)",
    "fail": "FAIL",
    "inconclusive": "INCONCLUSIVE",
    "unexpected-pass": "XPASS (unexpected)",
}
"""The word for how a run came out, as pytest says it: a job that is green never says FAIL by itself."""

EVERY_CHANGE: Final = "Every change"
NEWS: Final = "Otherwise than foretold: the knowledge is wrong, or something happened that no scenario says"
WHAT_ELSE: Final = "What else changed"
GOING_BACK: Final = "Going back"
ASSUMED: Final = "Assumed, because the scenario does not say"
NOT_CHECKED: Final = "Not checked"
NOT_WHOLE: Final = "Trimmed builds, which are not the whole release"
MADE_OF: Final = "Made of"
LOGINS: Final = ("app", "moment", "login", "Vault presents", "reviewed by")
"""The columns of who reviewed which login, which `logins` fills."""

_REVIEWER: Final = {
    "client": "the app itself",
    "vault": "Vault's own account",
    "long-lived": "the long-lived reviewer",
    "requested": "the reviewer, with a requested token",
    "nobody": "nobody (bearer not accepted)",
    "": "no TokenReview seen",
}
_BEARER: Final = {
    "client": "the app's own token",
    "local": "Vault's pod token",
    "explicit": "the stored token",
    "frozen": "a frozen copy of a pod token",
    "": "-",
}


_APART: Final = 4
"""So many ways to mend what findings of one cause share are each told; more would hide what they have in common."""


def grouped(findings: Iterable[Finding]) -> list[list[Finding]]:
    """Return findings of one kind, cause, hop, effect and mount together, in the order in which the first of each is.

    A thousand apps with one cause are one paragraph; what is said of one mount, and mends it, holds for no other. Nor
    does what mends a role or a policy hold for another one: where they are few, each has its own.
    """
    groups: dict[tuple[str, ...], list[Finding]] = {}
    for finding in findings:
        alike = (finding.kind, finding.rule, finding.hop, finding.effect, finding.vault, finding.node, finding.mount)
        groups.setdefault(alike, []).append(finding)
    return [part for group in groups.values() for part in _by_remedy(group)]


def _by_remedy(group: list[Finding]) -> list[list[Finding]]:
    """Return a group's findings by the commands that mend them, as long as those are few."""
    parts: dict[tuple[str, ...], list[Finding]] = {}
    for finding in group:
        commands = tuple(command for remedy in finding.remedies for command in remedy.commands)
        parts.setdefault(commands, []).append(finding)
    return list(parts.values()) if len(parts) <= _APART else [group]


def trimmed(judgement: Judgement) -> list[str]:
    """Return a sentence for each binary that is a build with parts of its release left out."""
    return [
        f"{used.product} {used.version} is a trimmed build, {used.trimmed}"
        for used in judgement.artifacts
        if used.trimmed
    ]


def expectation(judgement: Judgement) -> str:
    """Return what became of what the scenario expects, in words; "" where there is nothing to say."""
    lines = first_of([f"expected and did not come: {one}" for one in judgement.missed])
    lines += first_of([f"came unexpected: {one}" for one in judgement.unexpected])
    return "\n".join(lines) or against(judgement)


def first_of(lines: Sequence[str], most: int = 6, where: str = "-o json shows all") -> list[str]:
    """Return *lines*, or as many as a summary has room for, one at least, and the number of the others."""
    shown = max(most - 1, 1)
    return list(lines) if len(lines) <= shown + 1 else [*lines[:shown], f"... and {len(lines) - shown} more: {where}"]


def surprises(judgement: Judgement) -> list[str]:
    """Return a sentence for each answer that is otherwise than was foretold."""
    return [one.sentence for one in judgement.news]


def failed_by_news(judgement: Judgement) -> bool:
    """Is an answer that is otherwise than foretold why a strict run fails?"""
    return any(reason.startswith(OTHERWISE) for reason in judgement.reasons)


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
    others |= {reason for reason in judgement.reasons if reason.startswith(OTHERWISE)}
    others |= {*judgement.unproven, *(proof.sentence for proof in judgement.proofs)}
    return [reason for reason in judgement.reasons if reason not in others]


def labels(judgement: Judgement) -> Mapping[Finding, str]:
    """Return of each finding its kind, and whether it fails the run as the scenario expects it to."""
    return {
        finding: f"{finding.kind}, as expected" if weight.fails and weight.expectation is not None else finding.kind
        for finding, weight in zip(judgement.findings, judgement.weights, strict=False)
    }


def label_of(group: Sequence[Finding], labelled: Mapping[Finding, str]) -> str:
    """Return what findings that belong together are called: what all of them are, or else their kind alone."""
    named = {labelled.get(finding, finding.kind) for finding in group}
    return named.pop() if len(named) == 1 else group[0].kind


def cause(finding: Finding) -> str:
    """Return a finding's cause, and how sure that is."""
    return "unexplained" if finding.rule == "unexplained" else f"cause: {finding.rule} ({finding.confidence})"


def calm(judgement: Judgement) -> str:
    """Return the sentence for a run that found nothing; "" for one that did, or that does not know."""
    if judgement.verdict != "pass" or judgement.findings:
        return ""
    if any(change.what != "answer" for change in judgement.changes):
        return "Everyone who logged in still does, reviewed by the same account; nothing was broken before."
    return "Nothing changed for anyone who logs in, and nothing was broken before."


def what_else(judgement: Judgement) -> list[str]:
    """Return what changed beside the findings, a line a kind: who is refused is not all that clients live by.

    What was left out of it as noise comes last.
    """
    return [*(_else(one) for one in comparison.what_else(judgement.changes)), *_left_out(judgement.noise_floor)]


def _left_out(floor: NoiseFloor | None) -> Iterator[str]:
    if floor is None or floor.unsound:
        return
    fields: dict[str, list[str]] = {}
    for one in floor.differs:
        fields.setdefault(one.probe, []).append(one.field)
    named = "; ".join(f"{', '.join(names)} ({probe})" for probe, names in fields.items()) or "nothing"
    yield (
        f"left out as noise, because {floor.restarts} restarts of {versions.called(floor.version)} without any upgrade "
        f"(A -> A) show it as well: {named}"
    )
    yield from (f"without any upgrade (A -> A) as well: {said}" for said in floor.findings)


def _else(one: Else) -> str:
    who = "" if not one.apps else f" of {one.apps[0]}" if len(one.apps) == 1 else f" of {len(one.apps)} apps"
    where = versions.path(one.hops, ", ")
    return f"{one.what}{who}, at {where}" + (f"; {one.advice}" if one.advice else "")


def ways_back(judgement: Judgement) -> list[str]:
    """Return what each way back does, a sentence each without its full stop."""
    return [_way_back(one) for one in judgement.rollbacks]


def _way_back(one: Rollback) -> str:
    over = "the snapshot of before" if one.over == "snapshot" else f"the data as {one.from_version} left them"
    if not one.opened:
        return f"{versions.called(one.to_version, called(one))} over {over}: does not serve ({one.why})"
    took = f" after {one.seconds:.1f} s" if one.seconds is not None else ""
    parts = [f"{versions.called(one.to_version, called(one))} over {over}: serves{took}"]
    parts += [f"login granted: {', '.join(_some(one.granted))}"] if one.granted else []
    parts += [f"login refused: {', '.join(_some(one.refused))}"] if one.refused else []
    parts += [f"lost: {', '.join(_some(one.lost))}"] if one.lost else []
    parts += [f"there still: {', '.join(_some(one.kept))}"] if one.kept and not one.lost else []
    differs = [_else(each) for each in comparison.what_else(one.differs)]
    parts += [f"otherwise than before the upgrade: {', '.join(_some(differs))}"] if differs else []
    return "; ".join(parts)


def mending(remedies: Sequence[Remedy]) -> Iterator[tuple[str, Remedy]]:
    """Yield the ways to mend something, the first as what to do and the others as what could be done instead."""
    for number, remedy in enumerate(remedies):
        yield ("or" if number else "mend"), remedy


def remedies_of(finding: Finding) -> Sequence[Remedy]:
    """Return the ways to mend it, none where nothing needs mending; a finding of an older kind has one, in words."""
    return finding.remedies or ((Remedy(finding.remedy),) if finding.remedy else ())


def logins(rows: Iterable[LoginReview]) -> list[tuple[str, ...]]:
    """Return who reviewed which login, a row for all apps that went the same way at one moment."""
    groups: dict[tuple[str, ...], dict[str, None]] = {}
    for row in rows:
        by = _REVIEWER.get(row.reviewer, row.reviewer) + (f", {row.review_status}" if row.review_status else "")
        answer, presents = str(row.status or row.answer), _BEARER.get(row.should_present, row.should_present)
        groups.setdefault((row.moment, answer, presents, by), {})[row.app] = None
    return [(", ".join(_some(list(apps))), *said) for said, apps in groups.items()]


def as_hoped(judgement: Judgement) -> str:
    """Return the sentence for a run that came out as the scenario expects, or hopes where it says nothing."""
    if judgement.expects:
        return "This is exactly what the scenario expects."
    return "No answer got worse. The scenario has no `expect`, so nothing else was asked for."


def against(judgement: Judgement) -> str:
    """Return the sentence for how a run came out beside what was expected of it, or hoped; "" where lists say it."""
    if judgement.missed or judgement.unexpected:
        return ""
    if failed_by_news(judgement):
        return "An answer is otherwise than foretold, and the run is strict."
    if judgement.as_expected:
        return as_hoped(judgement)
    if judgement.verdict == "fail" and judgement.outcome == "inconclusive":
        return "What the scenario expects came, and not all could be seen."
    return "The scenario has no `expect`, so no answer was to get worse." if judgement.outcome == "fail" else ""


def unlearned(judgement: Judgement) -> str:
    """Return the apps of which nothing was learned, though nobody said that it would be so; "" for none."""
    apps = (app for doubt in judgement.doubts if doubt.kind == "unlearned" for app in doubt.apps)
    return ", ".join(_some(list(dict.fromkeys(apps))))


def nothing_learned(judgement: Judgement) -> str:
    """Return what to find out about apps that were refused all along, if there are any: the run is no all-clear."""
    return "\n".join(f"{doubt.text}." for doubt in judgement.doubts if doubt.kind == "unlearned")


def headline(finding: Finding, apps: Sequence[str]) -> str:
    """Return what happens, to which *apps*, and where, in one line."""
    mount = f": auth/{finding.mount}" if finding.mount and not finding.app else ""
    who = f": {', '.join(apps)}" if apps else mount
    name = called(finding)
    at = f"at {versions.called(finding.hop, name)}" if finding.hop else f"before any hop {name}".rstrip()
    return f"{finding.effect}{who}, {_which(finding)}{at}"


def _which(finding: Finding) -> str:
    """Return after which step, where the version alone does not say it: a write, a right that went, a way back."""
    told = finding.moment.startswith("after ") and finding.hop and finding.hop not in finding.moment
    return f"{finding.moment}, " if told else ""


def path_of(served: Versions, arrow: str = "->") -> str:
    """Return from which version Vault went to which, of each Vault where there are several."""
    between = f" {arrow} "
    if not served.vaults:
        return versions.path(filter(None, (served.source, served.target)), between) or "Vault"
    alike: dict[str, list[str]] = {}
    for name, ran in served.vaults.items():
        alike.setdefault(versions.path(ran, between, before="vault"), []).append(name)
    return "Vault " + ", ".join(f"{' and '.join(names)} {path}" for path, names in alike.items())


def outages(renewals: Iterable[Renewals]) -> list[str]:
    """Return for how long which apps could not renew, a sentence without its full stop for all that met one hop alike.

    The worst first: who never renewed again, then the longest. Figures of several apps are those of the worst of them.
    """
    groups: dict[tuple[str, ...], list[Renewals]] = {}
    for row in (rows := worst_outages_first(renewals)):
        groups.setdefault((row.version, row.moment, _met(row), row.vault, row.node), []).append(row)
    visits: dict[tuple[str, str, str], set[str]] = {}
    for row in rows:
        visits.setdefault((row.version, row.vault, row.node), set()).add(row.moment)
    again = {version for (version, _, _), moments in visits.items() if len(moments) > 1}
    lines = [_outage(group, again=group[0].version in again) for group in groups.values()]
    return [f"{lines[0]}{NO_FORECAST}", *lines[1:]] if lines else []


def worst_outages_first(renewals: Iterable[Renewals]) -> list[Renewals]:
    """Return *renewals* with those first that never came back, and then by their length."""
    return sorted(renewals, key=lambda row: (row.renewed, -row.seconds))


def _met(row: Renewals) -> str:
    if not row.renewed:
        return "could not renew again"
    return "could not renew" if row.failures else "renewed without a failure"


def _outage(group: Sequence[Renewals], *, again: bool) -> str:
    """Return what the apps of *group*, the worst of which is its first, met at the one hop.

    *again*: Vault was taken to this version more than once, and the moment after it tells which time is meant.
    """
    worst, crowd = group[0], len(group) > 1
    which = f", before the moment {worst.moment}" if again and worst.moment else ""
    hop = f"Vault {called(worst)}was taken to {versions.alone(worst.version)}{which}"
    span = f"{worst.seconds:.1f} s"
    if not worst.renewed:
        when = f" once {hop}: none was granted for {span}, and then nobody waited any longer"
    elif worst.failures:
        when = f" for {'up to ' if crowd else ''}{span} while {hop}"
        if worst.beforehand:
            when += f", and {worst.beforehand:.1f} s longer where the snapshot is not restored beforehand"
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


def afterwards(finding: Finding) -> str:
    """Return what a refused login would meet next, as a sentence, or "" where nothing is known to come."""
    if not finding.next:
        return ""
    said = ", then ".join(
        f"{one.cause} ({one.sentence}" + (f'; this run met it at the moment "{one.met}")' if one.met else ")")
        for one in finding.next
    )
    unseen = [one for one in finding.next if not one.met]
    mend = f"mend {'all of it' if len(finding.next) > 1 else 'it as well'} before you try."
    if not unseen:
        return f"With this mended you would meet {said}. {mend.capitalize()}"
    which = "That" if len(unseen) == len(finding.next) else "The rest"
    return f"With this mended you would meet {said}. {which} is foretold, and not seen: {mend}"


def seen_from(finding: Finding) -> str:
    """Return who told of a finding, in words."""
    return "predicted, and seen by nobody" if finding.seen_from == "predicted" else f"seen from {finding.seen_from}"


def evidence(finding: Finding) -> Iterator[str]:
    """Yield all that speaks for a finding's cause, and the leads that it rules out, as lines without markup."""
    yield seen_from(finding)
    yield from map(evidence_text, finding.evidence)
    if finding.explanation:
        yield f"known  {finding.explanation}. Source: {finding.source}"
    for lead in finding.ruled_out:
        yield f"{lead.state}: {lead.lead}. {lead.because}"
        yield from (f"  {evidence_text(evidence_line)}" for evidence_line in lead.evidence)


def evidence_text(evidence_line: EvidenceLine) -> str:
    """Return one piece of evidence: where it comes from, the line of the record it stands on, and what it says."""
    whose = evidence_line.cluster or evidence_line.node or evidence_line.vault
    where = f" of {whose}" if whose else ""
    line = f" (record.jsonl:{evidence_line.line})" if evidence_line.line else ""
    return f"{evidence_line.source}{where}{line}: {evidence_line.text}"
