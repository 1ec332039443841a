"""A judgement as JUnit XML: a case for every question at every moment, red where the run is red and nowhere else.

A regression is a failure, a question that could not be asked an error, and so is an app of which nothing was learned; a
question without an answer of which something else tells why, such as a refused login, is skipped. Cases keep their
names from run to run, so that a CI server can show the history of each.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final, Literal

import msgspec

from harness import secret
from harness.analysis import comparison, not_served
from harness.analysis.diagnosis import Finding
from harness.analysis.verdict import Judgement
from harness.knowledge import versions
from harness.record.observation import Observation, called
from harness.reports import printable
from harness.reports.wording import (
    NEWS,
    OUTCOME,
    WHAT_ELSE,
    afterwards,
    blamed,
    cause,
    evidence,
    failed_by_news,
    headline,
    labels,
    mending,
    outages,
    remedies_of,
    surprises,
    unsure,
    what_else,
)

_LONGEST_TEXT: Final = 10_000
_LONGEST_ATTRIBUTE: Final = 1_000
_CUT: Final = "\n... cut here: rehearse judge -o json shows all"

_Place = tuple[comparison.Key, str]
"""A question and the moment at which it was asked."""


class _TestCase(msgspec.Struct, frozen=True, kw_only=True):
    """One test case, before it is XML."""

    name: str
    outcome: Literal["", "failure", "error", "skipped"] = ""
    type: str = ""
    message: str = ""
    body: tuple[str, ...] = ()
    output: tuple[str, ...] = ()
    seconds: float = 0.0


class _Weighed(msgspec.Struct, frozen=True):
    """What the findings did to the verdict."""

    blame: Mapping[Finding, str]
    labels: Mapping[Finding, str]


def render(judgement: Judgement) -> str:
    """Return *judgement* as a JUnit XML document with one suite, ended by a newline.

    Regressions that the scenario expects are no failures. Control characters are written out, and no text is longer
    than 10 kB.
    """
    return document([suite(judgement)])


def document(suites: Sequence[ET.Element]) -> str:
    """Return a JUnit XML document with *suites*, ended by a newline."""
    root = ET.Element("testsuites", {"name": "rehearse", **_sums(suites)})
    root.extend(suites)
    ET.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(root, encoding="unicode")}\n'


def suite(judgement: Judgement) -> ET.Element:
    """Return the suite of one rehearsal."""
    cases = list(_cases(judgement))
    made = ET.Element("testsuite", {"name": _attribute(judgement.scenario), **_counts(cases), **_when(judgement)})
    listed = ET.SubElement(made, "properties")
    for name, value in properties(judgement).items():
        ET.SubElement(listed, "property", {"name": _attribute(name), "value": _attribute(value)})
    for case in cases:
        _write(made, made.attrib["name"], case)
    ET.SubElement(made, "system-out").text = _text(_in_short(judgement))
    return made


def suite_without_record(scenario: str, said: Sequence[str]) -> ET.Element:
    """Return the suite of a rehearsal that left nothing to judge, and *said* this at the end."""
    message = said[-1] if said else "it said nothing"
    case = _TestCase(name="the rehearsal", outcome="error", type="environment", message=message, body=tuple(said))
    made = ET.Element("testsuite", {"name": _attribute(scenario), **_counts([case])})
    _write(made, made.attrib["name"], case)
    return made


def _sums(suites: Sequence[ET.Element]) -> dict[str, str]:
    counted = {
        name: str(sum(int(one.attrib[name]) for one in suites)) for name in ("tests", "failures", "errors", "skipped")
    }
    return {**counted, "time": f"{sum(float(one.attrib['time']) for one in suites):.6f}"}


def _in_short(judgement: Judgement) -> Iterator[str]:
    """Yield the verdict and its reasons, and what no case is about: for how long running apps could not renew."""
    yield OUTCOME[judgement.outcome]
    yield from judgement.reasons
    yield from (f"outage  {line}" for line in outages(judgement.renewals))
    yield from (f"{WHAT_ELSE.lower()}: {line}" for line in what_else(judgement))


def _cases(judgement: Judgement) -> Iterator[_TestCase]:
    weighed = _Weighed(blamed(judgement), labels(judgement))
    told: dict[_Place, list[Finding]] = {}
    for finding in judgement.findings:
        for place in _places(finding):
            told.setdefault(place, []).append(finding)
    excused = set(judgement.excused)
    for seen in judgement.observations:
        findings = told.pop((comparison.key_of(seen), seen.moment), [])
        yield _question(seen, findings, weighed, excused=seen.id in excused)
    without_question = [finding for findings in told.values() for finding in findings]
    for finding in without_question:
        yield _of_findings(headline(finding, [finding.app] if finding.app else []), [finding], weighed)
    yield from _proofs(judgement)
    yield from _troubles(judgement, without_question)
    yield from _whole(judgement)
    yield from _not_checked(judgement)


def _places(finding: Finding) -> Iterator[_Place]:
    """Yield each question that a finding tells of: where a token is refused, all that was asked with it."""
    for probe, item in finding.asked:
        yield comparison.key_of(msgspec.structs.replace(finding, probe=probe, item=item)), finding.moment


def _question(seen: Observation, findings: Sequence[Finding], weighed: _Weighed, *, excused: bool) -> _TestCase:
    when = f"{seen.moment}, {versions.called(seen.version, called(seen))}"
    parts = (seen.probe, seen.app, seen.mount, seen.item, when)
    name, seconds = " ".join(part for part in parts if part), seen.latency_ms / 1000
    status = "" if seen.status is None else f" HTTP {seen.status}"
    answer = f"{seen.answer}{status} {seen.error}".rstrip()
    if seen.answer != "unknown":
        return _of_findings(name, findings, weighed, (f"answer: {answer}",), seconds)
    why = seen.error or answer
    if excused:
        return _TestCase(name=name, seconds=seconds, outcome="skipped", message=why)
    return _TestCase(name=name, seconds=seconds, outcome="error", type="environment", message=why, body=(answer,))


def _of_findings(
    name: str,
    findings: Sequence[Finding],
    weighed: _Weighed,
    answer: tuple[str, ...] = (),
    seconds: float = 0.0,
) -> _TestCase:
    """Return the case of one question, which fails where one of its *findings* is to blame."""
    red = [finding for finding in findings if finding in weighed.blame]
    others = [finding for finding in findings if finding not in weighed.blame]
    output = (
        *answer,
        *(line for finding in others for line in _account(finding, weighed.labels.get(finding, finding.kind))),
    )
    if not red:
        return _TestCase(name=name, output=output, seconds=seconds)
    return _TestCase(
        name=name,
        outcome="failure",
        type=red[0].kind,
        message=red[0].sentence,
        body=tuple(line for finding in red for line in _account(finding, finding.kind)),
        output=output,
        seconds=seconds,
    )


def _account(finding: Finding, label: str) -> Iterator[str]:
    """Yield everything there is to say about a finding, as lines."""
    yield f"{label}  {headline(finding, [finding.app] if finding.app else [])}   {cause(finding)}"
    yield finding.sentence
    if finding.outlook and finding.outlook.sentence:
        yield f"when  {finding.outlook.sentence}"
    if said := afterwards(finding):
        yield f"next  {said}"
    for word, remedy in mending(remedies_of(finding)):
        yield f"{word:6}{remedy.sentence}"
        yield from (f"      {command}" for command in remedy.commands)
    yield from evidence(finding)


def _proofs(judgement: Judgement) -> Iterator[_TestCase]:
    """Yield a case for every remedy that was tried at a moment: a failure where it does not mend."""
    for proof in judgement.proofs:
        failed, name = proof.state in ("does not mend", "opens a hole"), f"{proof.mount} {', '.join(proof.apps)}"
        yield _TestCase(
            name=f"remedy {proof.remedy + 1} for {proof.rule} at {name}, {proof.timing}, {proof.moment}",
            outcome="failure" if failed else "error" if proof.state == "not tried" else "",
            type="remedy",
            message=proof.sentence,
            body=(proof.sentence, proof.words),
            output=(proof.sentence, proof.words, *(f"adds: {one}" for one in proof.added)),
        )
    for said in judgement.unproven:
        yield _TestCase(name=f"a remedy was proven: {said}", outcome="error", type="remedy", message=said, body=(said,))


def _troubles(judgement: Judgement, told: Iterable[Finding]) -> Iterator[_TestCase]:
    """Yield what broke the run, but for what is *told* as a finding: a server that refused the data it was given."""
    refused = (one for one in told if one.effect in not_served.EFFECTS and one.kind == "regression")
    news = {(one.hop, one.vault, one.node) for one in refused}
    for number, trouble in enumerate(judgement.troubles, 1):
        if trouble.after_swap and (trouble.after_swap, trouble.vault, trouble.node) in news:
            continue
        yield _TestCase(
            name=f"trouble {number} during {trouble.during}",
            outcome="error",
            type="environment",
            message=f"{trouble.kind}: {trouble.message}",
            body=trouble.log,
        )


def _whole(judgement: Judgement) -> Iterator[_TestCase]:
    """Yield the cases of the whole run: was something learned of every app, could all be asked, did what was expected
    come, is everything cleared away?
    """
    blind = [doubt.text for doubt in judgement.doubts if doubt.kind == "unlearned"]
    yield _TestCase(
        name="something was learned of every app",
        outcome="error" if blind else "",
        type="inconclusive",
        message=blind[0] if blind else "",
        body=tuple(blind),
    )
    gaps = unsure(judgement)
    yield _TestCase(
        name="everything could be asked",
        outcome="error" if gaps else "",
        type="environment",
        message=gaps[0] if gaps else "",
        body=tuple(gaps),
    )
    wrong = [f"expected and did not come: {one}" for one in judgement.missed]
    wrong += [f"came unexpected: {one}" for one in judgement.unexpected]
    if wrong:
        yield _TestCase(
            name="expectations", outcome="failure", type="expectation", message="; ".join(wrong), body=tuple(wrong)
        )
    elif judgement.as_expected:
        yield _TestCase(name="expectations")
    if judgement.news:
        yield _as_foretold(judgement)
    left = judgement.left_behind
    yield _TestCase(
        name="nothing is left behind",
        outcome="error" if left else "",
        type="environment",
        message=left,
        body=(left,) if left else (),
    )


def _as_foretold(judgement: Judgement) -> _TestCase:
    said = tuple(surprises(judgement))
    name = "every answer is as foretold"
    if failed_by_news(judgement):
        return _TestCase(name=name, outcome="failure", type="foretold", message=said[0], body=said)
    return _TestCase(name=name, output=(NEWS, *said))


def _not_checked(judgement: Judgement) -> Iterator[_TestCase]:
    """Yield what the run says nothing about, but for the questions at single moments, which have cases already."""
    unknown = {(seen.probe, f" {seen.moment}: ") for seen in judgement.observations if seen.answer == "unknown"}
    for line in dict.fromkeys(judgement.not_checked):
        probe, _, rest = line.partition(" of ")
        if any(probe == name and moment in rest for name, moment in unknown):
            continue
        what, _, why = line.partition(": ")
        yield _TestCase(
            name=f"not checked: {what}", outcome="skipped", message=why or "a rehearsal of this kind cannot ask it"
        )


def _counts(cases: Sequence[_TestCase]) -> dict[str, str]:
    outcomes = Counter(case.outcome for case in cases)
    return {
        "tests": str(len(cases)),
        "failures": str(outcomes["failure"]),
        "errors": str(outcomes["error"]),
        "skipped": str(outcomes["skipped"]),
        "time": f"{sum(round(case.seconds, 6) for case in cases):.6f}",
    }


def _when(judgement: Judgement) -> dict[str, str]:
    started = next((seen.started for seen in judgement.observations if seen.started), 0.0)
    # without a zone, as the schemas of JUnit's readers want it
    return {"timestamp": datetime.fromtimestamp(started, UTC).strftime("%Y-%m-%dT%H:%M:%S")} if started else {}


def properties(judgement: Judgement) -> dict[str, str]:
    """Return what a report keeps beside the cases: how it came out, the versions, the digests, and where it was."""
    versions = judgement.versions
    return {
        "verdict": judgement.verdict,
        "outcome": OUTCOME[judgement.outcome],
        "as_expected": "yes" if judgement.as_expected else "no",
        "exit_code": str(judgement.exit_code),
        "driver": judgement.driver,
        "harness": versions.harness,
        "vault.source": versions.source,
        "vault.target": versions.target,
        "vault.path": " -> ".join(versions.vault),
        **{f"vault.path.{name}": " -> ".join(ran) for name, ran in versions.vaults.items()},
        **{f"kubernetes.{cluster}": version for cluster, version in versions.kubernetes.items()},
        **{f"sha256.{used.product}.{used.version}": used.sha256 for used in judgement.artifacts},
        **{f"trimmed.{used.product}.{used.version}": used.trimmed for used in judgement.artifacts if used.trimmed},
        "machine": judgement.machine,
        "run_directory": judgement.run_directory,
        "repeat": judgement.repeat,
    }


def _write(suite: ET.Element, classname: str, case: _TestCase) -> None:
    attributes = {"classname": classname, "name": _attribute(case.name), "time": f"{case.seconds:.6f}"}
    element = ET.SubElement(suite, "testcase", attributes)
    if case.outcome:
        result = ET.SubElement(element, case.outcome, {"message": _attribute(case.message)})
        if case.type:
            result.set("type", case.type)
        if case.body:
            result.text = _text(case.body)
    if case.output:
        ET.SubElement(element, "system-out").text = _text(case.output)


def _attribute(text: str) -> str:
    text = secret.redact(printable(text))
    return text if len(text) <= _LONGEST_ATTRIBUTE else text[: _LONGEST_ATTRIBUTE - 3] + "..."


def _text(lines: Iterable[str]) -> str:
    """Return *lines* as one text that XML can hold: whatever is no character of XML is not printable either."""
    whole = secret.redact(printable("\n".join(lines)))
    raw = whole.encode()
    if len(raw) <= _LONGEST_TEXT:
        return whole
    return raw[: _LONGEST_TEXT - len(_CUT.encode())].decode(errors="ignore") + _CUT
