"""The reports that CI servers read: right counts, red only where the run is red, and hostile words stay words."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from harness.analysis import verdict
from harness.analysis.comparison import Change
from harness.analysis.verdict import Contribution, Judgement
from harness.record.events import AnyEvent, ArtifactUsed, RunEnded, Trouble
from harness.record.journal import Record
from harness.record.observation import Observation
from harness.reports import github, junit, markdown, printable, wording
from harness.reports import json as json_report
from harness.reports import text as text_report
from harness.scenario import loading
from harness.scenario.loading import Loaded
from harness.scenario.schema import Scenario
from harness.secret import Secret
from tests import stored_records
from tests.runs import OUTAGE, SCENARIOS, on_paper, variant
from tests.test_rules import mapped

FILES = sorted(SCENARIOS.glob("*.yaml"))
LATENT = SCENARIOS / "one-cluster-staging-stays-green-while-the-reviewer-changes.yaml"
PRE_EXISTING = SCENARIOS / "a-reviewer-without-auth-delegator-refuses-everyone.yaml"
HOPS = SCENARIOS / "the-hop-that-breaks-is-found-on-a-path-of-many.yaml"

HOSTILE = (
    "\x1b[31mred\x1b[0m",
    "]]></system-out></testcase>",
    "<script>alert(1)</script>",
    "a | b || c",
    "`` ` ```",
    "```\n<script>\n~~~~\n````",
    "</pre></details><img src=x>",
    "one\n::error file=x::forged\n\n# two",
    "%0A::error::forged %25 %",
    "\u202eesrever",
    "[link](https://evil.example) ![i](x) www.evil.example",
    "- item",
    "1. item",
    "    code",
    "---",
    "\ud800 \ufffe \x00 \r\n \u2028",
    "&lt;b&gt; &amp; \\",
    "***bold*** ~~gone~~ $x$",
)
"""What a server could say to be taken for more than words."""

WORDS = st.one_of(st.sampled_from(HOSTILE), st.text(max_size=60), st.lists(st.sampled_from(HOSTILE)).map("".join))


def scenario(file: Path = OUTAGE) -> Scenario:
    """Return a shipped scenario."""
    return loading.load(file).scenario


def lines_of(loaded: Loaded) -> dict[str, int]:
    """Return the lines of a scenario's parts as the command line hands them on."""
    return {"/".join(map(str, trail)): line for trail, (line, _) in loaded.lines.items()}


def changed(judgement: Judgement, **fields: Any) -> Judgement:
    """Return *judgement* with fields replaced."""
    return msgspec.structs.replace(judgement, **fields)


def suite_of(judgement: Judgement) -> ET.Element:
    """Return the one suite of the JUnit report, parsed."""
    root = ET.fromstring(junit.render(judgement))
    assert root.tag == "testsuites"
    (suite,) = root
    return suite


def cases_of(judgement: Judgement, outcome: str) -> dict[str, ET.Element]:
    """Return every case with this outcome, by name."""
    return {case.attrib["name"]: found for case in suite_of(judgement).iter("testcase") for found in case.iter(outcome)}


def commands_of(text: str) -> list[tuple[str, str, int, str, str]]:
    """Return each command as GitHub would read it: level, file, line, title, message."""
    found = []
    for line in text.splitlines():
        match = re.fullmatch(r"::(error|warning|notice) file=([^:,]*),line=(\d+),title=([^:,]*)::(.*)", line)
        assert match, line
        level, file, number, title, message = match.groups()
        found.append((level, as_github(file), int(number), as_github(title), as_github(message)))
    return found


def as_github(text: str) -> str:
    """Return *text* as the runner reads it: every escape once, the percent sign last."""
    for escape, character in (("%3A", ":"), ("%2C", ","), ("%0D", "\r"), ("%0A", "\n"), ("%25", "%")):
        text = text.replace(escape, character)
    return text


def parsed(text: str) -> list[Token]:
    """Return Markdown as an independent parser reads it, with tables as on GitHub."""
    return MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(text)


def html_of(text: str) -> str:
    """Return Markdown as the HTML that a reader's browser gets, raw HTML let through."""
    return str(MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(text))


@pytest.fixture(scope="module")
def outage(tmp_path_factory: pytest.TempPathFactory) -> Judgement:
    """Return the judgement of the outage, just as the scenario expects it."""
    return on_paper(scenario(), tmp_path_factory.mktemp("outage"))[1]


@pytest.fixture(scope="module")
def unforeseen(tmp_path_factory: pytest.TempPathFactory) -> Judgement:
    """Return the judgement of the outage where the scenario expects nothing in particular."""
    return on_paper(variant(scenario(), expect=None), tmp_path_factory.mktemp("unforeseen"))[1]


@pytest.fixture(scope="module")
def latent(tmp_path_factory: pytest.TempPathFactory) -> Judgement:
    """Return a judgement with one latent finding, which nobody expects."""
    return on_paper(variant(scenario(LATENT), expect=None), tmp_path_factory.mktemp("latent"))[1]


# --- all three


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_shipped_scenario_is_green_in_every_report(file: Path, tmp_path: Path) -> None:
    """They all give what they expect: no failure, no error, a good sign, and no red annotation."""
    loaded = loading.load(file)
    _, judgement = on_paper(loaded.scenario, tmp_path)
    suite = suite_of(judgement)
    assert (suite.attrib["failures"], suite.attrib["errors"]) == ("0", "0")
    assert len(list(suite.iter("testcase"))) > len(judgement.observations)
    assert markdown.render(judgement).startswith(f"## ✅ {wording.OUTCOME[judgement.outcome]}: ")
    found = commands_of(github.render(judgement, "scenarios/x.yaml", lines_of(loaded)))
    assert len(found) == len(judgement.findings)
    assert "error" not in {level for level, *_ in found}


@pytest.mark.parametrize("known", [True, False], ids=["a known secret", "a secret by its shape"])
def test_no_report_shows_a_secret(unforeseen: Judgement, known: bool) -> None:
    """Neither whole nor its beginning, even where a text is cut in its middle."""
    value = "open sesame, 4711" if known else "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0.c2lnbmF0dXJl"
    if known:
        Secret(value)
    hiding = tuple(
        msgspec.structs.replace(finding, sentence="x" * padding + " " + value, remedy=value, remedies=())
        for finding in unforeseen.findings
        for padding in (0, 980, 3_985, 9_940)
    )
    told = {"findings": hiding, "weights": unforeseen.weights * 4, "unexpected": (value,)}
    judgement = changed(unforeseen, **told, repeat=value, machine=value)
    for text in (junit.render(judgement), markdown.render(judgement), github.render(judgement, value, {})):
        assert value[:12] not in text


@settings(max_examples=60)
@given(words=WORDS)
def test_what_a_server_says_stays_words_in_junit(unforeseen: Judgement, words: str) -> None:
    """It is valid XML whatever the words are, and they come back unchanged but for what cannot be printed."""
    finding = msgspec.structs.replace(unforeseen.findings[0], sentence=words, remedy=words, remedies=())
    judgement = changed(unforeseen, findings=(finding,), scenario=words, machine=words, left_behind=words)
    plain = suite_of(unforeseen)
    suite = suite_of(judgement)
    assert len(list(suite.iter("testcase"))) == len(list(plain.iter("testcase")))
    assert suite.attrib["name"] == printable(words)
    (failure,) = cases_of(judgement, "failure").values()
    assert failure.attrib["message"] == printable(words)
    assert (f"mend  {printable(words)}" in str(failure.text)) == bool(words)


@settings(max_examples=60)
@given(words=WORDS)
def test_what_a_server_says_forges_no_annotation(unforeseen: Judgement, words: str) -> None:
    """It is as many commands as without it, and file, title and message are read back as they were."""
    finding = msgspec.structs.replace(unforeseen.findings[0], sentence=words, remedy=words, remedies=())
    ((level, file, line, title, message),) = commands_of(
        github.render(changed(unforeseen, findings=(finding,)), words, {"apps/web": 7})
    )
    later = finding.outlook.sentence if finding.outlook else ""
    assert (level, file, line) == ("error", printable(words), 7)
    assert "login refused: web" in title
    assert message == printable(f"{words}.\n{later}" + (f"\nMend: {words}" if words else ""))


@settings(max_examples=60)
@given(words=WORDS.filter(str.strip))
def test_what_a_server_says_is_no_markdown(unforeseen: Judgement, words: str) -> None:
    """An independent parser sees the very structure that harmless words give, and no HTML but ours."""
    assert structure(hostile(unforeseen, words)) == structure(hostile(unforeseen, "harmless"))


@pytest.mark.parametrize("words", HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_text_is_shown_as_it_is_in_markdown(unforeseen: Judgement, words: str) -> None:
    """Escaping loses nothing: the reader sees the words themselves, in a paragraph and in a table's cell."""
    import html

    page = html_of(markdown.render(hostile(unforeseen, words)))
    shown = [html.escape(line) for line in printable(words).strip().split("\n")]
    assert f"<td>{'<br>'.join(shown)}</td>" in page
    assert f"<p>{'<br>'.join(shown)}.</p>" in page
    assert "://evil" not in markdown.render(hostile(changed(unforeseen, repeat=""), words)).partition("<pre>")[0]


def hostile(judgement: Judgement, words: str) -> Judgement:
    """Return *judgement* with *words* wherever a server's own words can stand."""
    finding = judgement.findings[0]
    evidence_line = msgspec.structs.replace(finding.evidence[0], text=words)
    finding = msgspec.structs.replace(
        finding, sentence=words, remedy=words, remedies=(), evidence=(evidence_line,), outlook=None
    )
    return changed(
        judgement,
        scenario=words,
        findings=(finding,),
        unexpected=(words,),
        changes=(msgspec.structs.replace(judgement.changes[0], before=words, after=words),),
        reviewing=(msgspec.structs.replace(judgement.reviewing[0], reviewer=words),),
        artifacts=(ArtifactUsed(product=words, version="1", source=words, sha256="0", note=words),),
        not_checked=(words,),
        run_directory=words,
        repeat=words,
    )


def structure(judgement: Judgement) -> list[tuple[str, str]]:
    """Return what a parser makes of the Markdown: every element, and raw HTML as its tags."""
    found = []
    for block in parsed(markdown.render(judgement)):
        for token in (block, *(block.children or ())):
            raw = token.type in ("html_block", "html_inline") and "<pre>" not in token.content
            if token.type not in ("text", "inline") and token.content.strip() != "<br>":
                found.append((token.type, token.content if raw else ""))
            if "<pre>" in token.content:
                assert re.findall(r"</?\w+", token.content) == ["<pre", "</pre"]
    return found


# --- JUnit


def test_junit_counts_what_it_holds(outage: Judgement) -> None:
    """The attributes of suite and root are the sums of their cases, and no two cases have one name."""
    root = ET.fromstring(junit.render(outage))
    suite, cases = root[0], list(root.iter("testcase"))
    for element in (root, suite):
        assert element.attrib["tests"] == str(len(cases))
        for attribute, outcome in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
            assert element.attrib[attribute] == str(len(list(root.iter(outcome))))
        assert float(element.attrib["time"]) == pytest.approx(sum(float(case.attrib["time"]) for case in cases))
    assert len({case.attrib["name"] for case in cases}) == len(cases)
    assert {case.attrib["classname"] for case in cases} == {outage.scenario}


def test_junit_has_a_case_for_each_question_and_moment(outage: Judgement) -> None:
    """Its name tells probe, app, mount, item, moment and version; its time is the answer's, in seconds."""
    slow = tuple(msgspec.structs.replace(seen, latency_ms=1500.0) for seen in outage.observations)
    cases = {case.attrib["name"]: case for case in suite_of(changed(outage, observations=slow)).iter("testcase")}
    for name in (
        "health before, Vault 1.7.0",
        "login web kubernetes after 1.11.0, Vault 1.11.0",
        "read web kubernetes secret/web before, Vault 1.7.0",
        "role kubernetes web after 1.11.0, Vault 1.11.0",
    ):
        assert float(cases[name].attrib["time"]) == 1.5
    assert cases["login web kubernetes before, Vault 1.7.0"].findtext("system-out") == "answer: granted HTTP 200"


def test_junit_skips_what_a_refused_login_made_impossible_and_what_is_not_checked(outage: Judgement) -> None:
    """Each once and with its reason: a question that could not be asked has no second case as "not checked"."""
    skipped = {name: case.attrib["message"] for name, case in cases_of(outage, "skipped").items()}
    blocked = "there is no token to ask with: its login was not granted"
    assert skipped == {
        "token-lookup web kubernetes after 1.11.0, Vault 1.11.0": blocked,
        "token-renew web kubernetes after 1.11.0, Vault 1.11.0": blocked,
        "read web kubernetes secret/web after 1.11.0, Vault 1.11.0": blocked,
        "not checked: impostors of web after 1.11.0": ("where the app itself is refused, their refusal proves nothing"),
        "not checked: anything real": "the paper driver answers from this project's own knowledge of Vault",
        "not checked: several Vault nodes, seals other than Shamir, storages other than the scenario's, rollback": (
            "a rehearsal of this kind cannot ask it"
        ),
    }


@pytest.mark.parametrize("name", sorted(stored_records.FILES))
def test_junit_and_the_verdict_agree_on_what_could_not_be_asked(name: str) -> None:
    """A question without an answer is an error where it is a doubt of the verdict, and skipped where it is not: so of
    every stored record, and so where nothing that the record tells made its questions impossible.
    """
    record = stored_records.record(name)
    for one in (record, mapped(record, _for_no_reason)):
        judged = verdict.judge(one)
        unanswered = {seen.id for seen in judged.observations if seen.answer == "unknown"}
        mixed = {seen.id for seen in judged.observations if seen.mixed}
        asked_in_vain = sum(doubt.text.count("could not be asked: ") for doubt in judged.doubts)
        assert asked_in_vain == len(unanswered - mixed - set(judged.excused))
        errors = cases_of(judged, "error").values()
        questions = [case for case in errors if str(case.text).startswith("unknown")]
        assert len(questions) == len(unanswered - set(judged.excused))
        assert judged.verdict != "pass" or not questions


def _for_no_reason(event: AnyEvent) -> AnyEvent:
    """Let a question that a refused login made impossible be one that this driver cannot ask: 0 is no question."""
    blocked = isinstance(event, Observation) and event.blocked_by is not None
    return msgspec.structs.replace(event, blocked_by=0) if blocked else event


def test_an_expected_regression_is_noted_and_no_failure(outage: Judgement) -> None:
    """A scenario that shows an outage must not keep a pipeline red for ever."""
    assert outage.verdict == "fail"
    (case,) = [c for c in suite_of(outage).iter("testcase") if "login web kubernetes after" in c.attrib["name"]]
    assert [child.tag for child in case] == ["system-out"]
    assert "regression, as expected  login refused: web, at Vault 1.11.0" in str(case.findtext("system-out"))


def test_an_unexpected_regression_fails_its_own_question(unforeseen: Judgement) -> None:
    """That one and no other, and the failure has cause, evidence and remedy."""
    ((name, failure),) = cases_of(unforeseen, "failure").items()
    assert name == "login web kubernetes after 1.11.0, Vault 1.11.0"
    assert failure.attrib["type"] == "regression"
    assert failure.attrib["message"] == unforeseen.findings[0].sentence
    text = str(failure.text)
    assert "cause: reviewer-fallback-local (strong)" in text
    assert "ruled out: issuer" in text
    assert "as expected" not in text
    assert not cases_of(unforeseen, "error")


def two_apps(*expect: dict[str, str]) -> Scenario:
    """Return the outage with a second app, api, of which the scenario expects what is given."""
    api = {"cluster": "apps", "service-account": "apps/api", "role": "api", "may-review-tokens": True}
    role = {"service-accounts": ["api"], "namespaces": ["apps"]}
    return variant(
        scenario(), apps={"api": api}, auth={"kubernetes": {"roles": {"api": role}}}, expect=list(expect) or None
    )


@pytest.mark.parametrize(
    ("expect", "red"),
    [
        ((), {"login web", "login api"}),
        (({"change": "login refused", "app": "web"}, {"change": "login refused", "app": "api"}), set()),
        (({"change": "login refused", "app": "web"},), {"login api", "expectations"}),
        (({"change": "login refused", "app": "api"},), {"login web", "expectations"}),
        (({"change": "login granted"},), {"login web", "login api", "expectations"}),
        (
            (
                {"change": "login refused", "app": "web"},
                {"change": "login refused", "app": "api"},
                {"change": "reviewer changed"},
            ),
            {"expectations"},
        ),
    ],
)
def test_only_what_the_scenario_does_not_expect_is_red(
    tmp_path: Path, expect: tuple[dict[str, str], ...], red: set[str]
) -> None:
    """Two apps are refused, and the scenario expects none, one, both, more or something else."""
    _, judgement = on_paper(two_apps(*expect), tmp_path)
    failures = cases_of(judgement, "failure")
    assert {" ".join(name.split()[:2]) for name in failures} == red
    wanted = {"expectation" if name == "expectations" else "regression" for name in failures}
    assert {failure.attrib["type"] for failure in failures.values()} == wanted
    errors = [title for level, _, _, title, _ in commands_of(github.render(judgement, "x", {})) if level == "error"]
    assert bool(errors) == bool(red)
    assert bool(red) == (judgement.exit_code != 0) == markdown.render(judgement).startswith("## ❌")


def test_of_two_findings_with_the_same_words_the_unexpected_one_is_red(unforeseen: Judgement) -> None:
    """The verdict gives an expectation the first of them: the second is to blame, and only that one."""
    first = msgspec.structs.replace(unforeseen.findings[0], probe="read", item="secret/web")
    second = msgspec.structs.replace(first, item="secret/other")
    words = "regression: the same words"
    weights = (Contribution(words, fails=True, expectation=0), Contribution(words, fails=True))
    told = {"findings": (first, second), "weights": weights, "reasons": (words, words), "unexpected": (words,)}
    assert wording.blamed(changed(unforeseen, **told)) == {second: words}


@pytest.mark.parametrize(("file", "kind"), [(LATENT, "latent"), (PRE_EXISTING, "pre-existing")])
def test_what_changed_no_answer_is_told_in_its_case_and_fails_nothing(file: Path, kind: str, tmp_path: Path) -> None:
    """Where nobody expects anything, it stands in the output of the very login it belongs to."""
    _, judgement = on_paper(variant(scenario(file), expect=None), tmp_path)
    assert {finding.kind for finding in judgement.findings} == {kind}
    assert not cases_of(judgement, "failure")
    texts = {c.attrib["name"]: str(c.findtext("system-out")) for c in suite_of(judgement).iter("testcase")}
    telling = [name for name, text in texts.items() if judgement.findings[0].sentence in text]
    moment = "before" if kind == "pre-existing" else f"after {judgement.findings[0].hop}"
    assert len(telling) == len(judgement.findings)
    assert all(name.startswith("login ") and f" {moment}," in name for name in telling)


def test_a_latent_finding_fails_a_strict_run(tmp_path: Path) -> None:
    """Then exit code, JUnit and annotations agree that it is red."""
    _, judgement = on_paper(variant(scenario(LATENT), expect=None, strict=True), tmp_path)
    assert {failure.attrib["type"] for failure in cases_of(judgement, "failure").values()} == {"latent"}
    assert [level for level, *_ in commands_of(github.render(judgement, "x", {}))] == ["error"]
    assert judgement.exit_code == 1


def test_an_expected_regression_is_noticed_at_its_own_expectation(tmp_path: Path) -> None:
    """Not where the first of several stands: the judgement says which one it met."""
    web, api = ({"change": "login refused", "app": app} for app in ("web", "api"))
    for expect in ((web, api), (api, web)):
        _, judgement = on_paper(two_apps(*expect), tmp_path / str(expect[0]["app"]))
        lines = {"expect": 9, "expect/0": 10, "expect/1": 14}
        found = commands_of(github.render(judgement, "x", lines))
        noticed = {title.split(",")[1].split()[-1]: line for _, _, line, title, _ in found}
        assert noticed == {expect[0]["app"]: 10, expect[1]["app"]: 14}


def test_a_question_nobody_could_ask_is_an_error_of_the_environment(tmp_path: Path) -> None:
    """And so are those that waited for it; nothing failed, and nothing is green that is not known."""
    _, judgement = on_paper(scenario(), tmp_path, script={("login", "web", "1.11.0"): "silent"})
    assert judgement.verdict == "inconclusive"
    errors = cases_of(judgement, "error")
    assert {error.attrib["type"] for error in errors.values()} == {"environment"}
    unasked = {seen.probe for seen in judgement.observations if seen.answer == "unknown"}
    assert {name.split()[0] for name in errors} == unasked | {"everything"}
    assert {"login", "token-lookup", "read", "wrong-namespace"} <= unasked
    assert markdown.render(judgement).startswith("## ⚠️ INCONCLUSIVE")
    found = commands_of(github.render(judgement, "x", {"apps/web": 23}))
    unknown = [(level, line) for level, _, line, title, _ in found if title == "Could not be known"]
    assert unknown == [("error", 23)] * len(judgement.reasons)


def test_an_app_of_which_nothing_was_learned_is_an_error(tmp_path: Path) -> None:
    """Refused before the hop and after it, and nobody said so: a CI server that counts red cases counts this one."""
    _, judgement = on_paper(variant(scenario(PRE_EXISTING), expect=None), tmp_path)
    ((name, error),) = cases_of(judgement, "error").items()
    assert (name, error.attrib["type"]) == ("something was learned of every app", "inconclusive")
    assert error.text == judgement.reasons[0]
    assert suite_of(judgement).attrib["errors"] == "1"
    assert markdown.render(judgement).startswith("## ⚠️ INCONCLUSIVE")
    assert "Is the login of web refused in production, too?" in markdown.render(judgement)
    assert not cases_of(on_paper(scenario(PRE_EXISTING), tmp_path / "expected")[1], "error")


def test_an_expected_regression_makes_no_incomplete_run_green(tmp_path: Path) -> None:
    """What was expected came, but one app could not be asked: nobody knows what it would have shown."""
    both = two_apps({"change": "login refused", "app": "web"})
    _, judgement = on_paper(both, tmp_path, script={("login", "api", "1.11.0"): "silent"})
    assert (judgement.verdict, judgement.missed, judgement.unexpected) == ("fail", (), ())
    assert "login api kubernetes after 1.11.0, Vault 1.11.0" in cases_of(judgement, "error")
    titles = [title for level, _, _, title, _ in commands_of(github.render(judgement, "x", {})) if level == "error"]
    assert titles == ["Could not be known"] * len(wording.unsure(judgement))
    assert not cases_of(judgement, "failure")
    assert (judgement.outcome, judgement.exit_code) == ("inconclusive", 4)
    assert markdown.render(judgement).startswith("## ⚠️ INCONCLUSIVE: ")


def rejudged(record: Record, *events: Any, without_end: bool = False) -> Judgement:
    """Return the judgement of *record* with more events before its end, or with no end."""
    kept = tuple(event for event in record.events if not isinstance(event, RunEnded))
    end = () if without_end else (RunEnded(),)
    return verdict.judge(Record((*kept, *events, *end), record.directory))


def test_a_record_that_does_not_end_is_red(tmp_path: Path) -> None:
    """Every question was answered, and still nobody may take the run for a good one."""
    record, _ = on_paper(scenario(LATENT), tmp_path)
    judgement = rejudged(record, without_end=True)
    ((name, error),) = cases_of(judgement, "error").items()
    assert (name, error.attrib["message"]) == ("everything could be asked", judgement.reasons[0])
    assert "could not be known: the run was cut off" in markdown.render(judgement)
    assert commands_of(github.render(judgement, "x", {}))[0][0] == "error"


def test_trouble_is_an_error_with_the_last_lines_of_the_server(tmp_path: Path) -> None:
    """What broke the run has a case of its own."""
    record, _ = on_paper(scenario(LATENT), tmp_path)
    trouble = Trouble(kind="unreachable", during="before 1.7.0", message="nobody answers", log=("last words",))
    error = cases_of(rejudged(record, trouble), "error")["trouble 1 during before 1.7.0"]
    assert (error.attrib["type"], error.attrib["message"]) == ("environment", "unreachable: nobody answers")
    assert error.text == "last words"


@pytest.mark.parametrize(("expect", "red"), [(None, 1), ([{"change": "upgrade refused", "at": "1.11.0"}], 0)])
def test_a_vault_that_refuses_its_data_is_a_regression_of_its_own(tmp_path: Path, expect: Any, red: int) -> None:
    """It is told once, as a finding and not as trouble with the environment, and not red if it is expected."""
    _, judgement = on_paper(variant(scenario(), expect=expect), tmp_path, dies_at="1.11.0")
    assert [finding.effect for finding in judgement.findings] == ["upgrade refused"]
    assert not cases_of(judgement, "error")
    assert len(cases_of(judgement, "failure")) == red
    names = [case.attrib["name"] for case in suite_of(judgement).iter("testcase")]
    assert names.count("upgrade refused, at Vault 1.11.0") == 1


def test_what_is_left_behind_is_red(outage: Judgement) -> None:
    """It has its own exit code, so it has its own case and annotation."""
    judgement = changed(outage, left_behind="process 4711", exit_code=5)
    assert cases_of(judgement, "error")["nothing is left behind"].attrib["message"] == "process 4711"
    assert "left behind: process 4711" in markdown.render(judgement)
    assert ("error", "x", 1, "Something was left behind", "process 4711") in commands_of(
        github.render(judgement, "x", {})
    )


def test_junit_says_what_the_run_was_made_of(outage: Judgement) -> None:
    """Properties: the verdict, every version, the digests, the driver, the record and how to repeat it."""
    used = ArtifactUsed(product="vault", version="1.11.0", source="cache", sha256="ab" * 32)
    suite = suite_of(changed(outage, artifacts=(used,)))
    found = {p.attrib["name"]: p.attrib["value"] for p in suite.iter("property")}
    assert (
        found
        | {
            "verdict": "fail",
            "as_expected": "yes",
            "driver": "paper",
            "vault.path": "1.4.0 -> 1.7.0 -> 1.11.0",
            "kubernetes.apps": "1.32.0",
            "sha256.vault.1.11.0": "ab" * 32,
            "repeat": outage.repeat,
            "run_directory": outage.run_directory,
        }
        == found
    )
    assert found["harness"]


def test_every_form_says_which_build_is_a_trimmed_one(outage: Judgement) -> None:
    """And says nothing of that where the whole release ran."""
    whole = ArtifactUsed(product="vault", version="1.11.0", source="cache", sha256="ab" * 32)
    lacking = "made with Vault's own tag `minimal`: of the auth methods it has kubernetes"
    trimmed = msgspec.structs.replace(whole, version="1.21.2", trimmed=lacking)
    one, none = changed(outage, artifacts=(whole, trimmed)), changed(outage, artifacts=(whole,))

    for details in (True, False):
        said = " ".join(text_report.render(one, details=details).split())
        assert f"Trimmed builds, which are not the whole release - vault 1.21.2 is a trimmed build, {lacking}" in said
        assert "rimmed" not in text_report.render(none, details=details)
    assert "vault 1.21.2 is a trimmed build, made with Vault's own tag" in markdown.render(one)
    assert "rimmed" not in markdown.render(none)
    written = json.loads(json_report.render(one))["artifacts"]
    assert [each["trimmed"] for each in written] == ["", lacking]
    found = {p.attrib["name"]: p.attrib["value"] for p in suite_of(one).iter("property")}
    assert {name: value for name, value in found.items() if name.startswith("trimmed")} == {
        "trimmed.vault.1.21.2": lacking
    }


@pytest.mark.parametrize("letter", ["x", "ü", "🟡", "]]>"], ids=["one byte", "two bytes", "four bytes", "escaped"])
def test_no_text_in_junit_is_longer_than_10_kb(unforeseen: Judgement, letter: str) -> None:
    """A text that was cut says so, and is no broken character at its end."""
    long = letter * 20_000
    finding = msgspec.structs.replace(unforeseen.findings[0], sentence=long)
    latent = msgspec.structs.replace(finding, kind="latent")
    for judgement in (changed(unforeseen, findings=(finding,)), changed(unforeseen, findings=(latent,))):
        root = suite_of(judgement)
        texts = [str(element.text) for element in root.iter() if element.text and letter * 9 in element.text]
        assert texts
        assert all(9_900 < len(text.encode()) <= 10_000 and "cut here" in text for text in texts)
        assert all(len(value) <= 1_000 for element in root.iter() for value in element.attrib.values())


# --- Markdown


@pytest.mark.parametrize(
    ("name", "first"),
    [
        ("outage", "## ✅ XFAIL (expected): test"),
        ("unforeseen", "## ❌ FAIL: test"),
        ("latent", "## ✅ PASS: test"),
    ],
)
def test_the_first_line_is_the_verdict(request: pytest.FixtureRequest, name: str, first: str) -> None:
    """Its sign is the pipeline's outcome: an expected regression is a good result."""
    assert markdown.render(request.getfixturevalue(name)).splitlines()[0] == first


def test_markdown_shows_findings_first_and_folds_the_rest(outage: Judgement) -> None:
    """Findings and the reviewers' table are open; evidence, changes and what it was made of are folded."""
    page = markdown.render(outage)
    opened, _, folded = page.partition("<details>")
    assert outage.findings[0].rule in opened
    assert "| web | after 1.11.0 | 403 |" in opened
    assert re.findall(r"<summary>(.*?)</summary>", page) == [
        "Evidence, and leads that were ruled out",
        "What to write, in full: every remedy",
        "Every change",
        "Made of",
        "Time",
        "Not checked",
    ]
    assert page.count("<details>") == page.count("</details>") == 6
    assert "ruled out: issuer" in folded
    assert page.endswith(f"```sh\n{outage.repeat}\n```\n")


def test_latent_findings_come_first(outage: Judgement, latent: Judgement) -> None:
    """Nothing else tells of them: a regression is seen anyway."""
    page = markdown.render(changed(outage, findings=(*outage.findings, *latent.findings)))
    assert page.index("latent: reviewer changed") < page.index("regression, as expected: login refused")


def test_many_apps_with_one_cause_are_one_paragraph(outage: Judgement) -> None:
    """A thousand refused apps must not push the remedy out of sight."""
    many = tuple(msgspec.structs.replace(outage.findings[0], app=f"app-{n}") for n in range(1_000))
    page = markdown.render(changed(outage, findings=many))
    assert page.count("### ") == 1
    assert "login refused: app-0, app-1, app-2, app-3, app-4, 995 more, at Vault 1.11.0" in page


def test_a_summary_never_outgrows_its_bound_and_says_where_it_was_cut(outage: Judgement) -> None:
    """What is whole stays whole: tables, folds and the command at the end, in any script."""
    change = msgspec.structs.replace(outage.changes[0], before="ü" * 900, after="🟡" * 300)
    judgement = changed(outage, changes=(change,) * 2_000, repeat="rehearse run " + "x" * 3_900)
    page = markdown.render(judgement)
    assert 895_000 < len(page.encode()) <= 900_000
    assert re.search(r"\*\*Cut here: \d+ more had no room", page)
    assert page.count("<details>") == page.count("</details>")
    assert page.count("<pre>") == page.count("</pre>")
    assert page.endswith(f"```sh\n{judgement.repeat}\n```\n")
    rows = [token for token in parsed(page) if token.type == "td_open"]
    assert len(rows) > 1_000


def test_a_cut_table_has_all_rows_that_fit_and_counts_the_others(outage: Judgement) -> None:
    """Shown and missing rows add up to what there was."""
    change = Change(
        probe="login",
        app="web",
        mount="kubernetes",
        item="",
        what="error",
        from_moment="before",
        to_moment="after 1.11.0",
        hop="1.11.0",
        before="b" * 3_000,
        after="unmistakable",
    )
    page = markdown.render(changed(outage, changes=(change,) * 1_000))
    missing, *_ = (int(number) for number in re.findall(r"Cut here: (\d+) more", page))
    assert page.count("| unmistakable |") + missing == 1_000


# --- GitHub


@pytest.mark.parametrize(
    ("name", "level", "text"), [("outage", "notice", "- {change: login refused"), ("unforeseen", "error", "web: {")]
)
def test_a_finding_is_annotated_where_the_scenario_speaks_of_it(
    request: pytest.FixtureRequest, name: str, level: str, text: str
) -> None:
    """At the expectation it meets, which makes it a notice, or else at its app; at line 1 where nothing is known."""
    judgement, loaded = request.getfixturevalue(name), loading.load(OUTAGE)
    ((found, file, line, _, _),) = commands_of(github.render(judgement, "scenarios/outage.yaml", lines_of(loaded)))
    assert (found, file) == (level, "scenarios/outage.yaml")
    assert loaded.text.splitlines()[line - 1].lstrip().startswith(text)
    ((_, _, line, _, _),) = commands_of(github.render(judgement, "x", {}))
    assert line == 1


def test_a_missed_expectation_is_an_error_at_its_own_line(tmp_path: Path) -> None:
    """So is what came instead, at its app."""
    judgement = on_paper(variant(scenario(), expect=[{"change": "login granted", "app": "web"}]), tmp_path)[1]
    lines = {"expect": 24, "expect/0": 25, "expect/0/change": 26, "apps/web": 23}
    found = commands_of(github.render(judgement, "x", lines))
    assert [(level, line) for level, _, line, _, _ in found] == [("error", 25), ("error", 23)]
    assert found[0][3:] == ("Expected and did not come", "change: login granted, app: web")


def test_what_came_unexpected_without_a_regression_is_an_error_too(tmp_path: Path) -> None:
    """The run fails for it, so a warning alone would not say why."""
    judgement = on_paper(variant(scenario(LATENT), expect=[]), tmp_path)[1]
    assert judgement.exit_code == 1
    found = commands_of(github.render(judgement, "x", {"expect": 9}))
    assert [(level, line) for level, _, line, _, _ in found if level == "error"] == [("error", 9)] * len(
        judgement.unexpected
    )
    assert "warning" in {level for level, *_ in found}


@pytest.mark.parametrize(("file", "level"), [(LATENT, "warning"), (PRE_EXISTING, "notice")])
def test_what_changed_no_answer_is_no_error(file: Path, level: str, tmp_path: Path) -> None:
    """Latent findings warn; what was so before is worth a notice, and an error that asks."""
    _, judgement = on_paper(variant(scenario(file), expect=None), tmp_path)
    found = commands_of(github.render(judgement, "x", {"apps/web": 23}))
    asked = [(level, line) for level, _, line, title, _ in found if title == "Nothing was learned"]
    assert asked == ([("error", 23)] if file == PRE_EXISTING else [])
    assert {found for found, _, _, title, _ in found if title != "Nothing was learned"} == {level}


def test_a_run_with_nothing_to_say_annotates_nothing(outage: Judgement) -> None:
    """An empty text, not an empty command."""
    calm = "every question was answered as before"
    quiet = changed(outage, verdict="pass", findings=(), weights=(), reasons=(calm,))
    assert github.render(quiet, "x", {}) == ""


def test_the_last_annotation_that_github_shows_says_how_many_there_are(unforeseen: Judgement) -> None:
    """GitHub drops the eleventh of a level without a word; all of them stay in the log."""
    many = tuple(msgspec.structs.replace(unforeseen.findings[0], app=f"app-{n}") for n in range(25))
    weights = tuple(Contribution(f"regression: {finding.app}", fails=True) for finding in many)
    told = {"findings": many, "weights": weights, "reasons": tuple(weight.reason for weight in weights)}
    found = commands_of(github.render(changed(unforeseen, **told), "x", {}))
    assert (len(found), found[9][3]) == (26, "16 more")
    apps = [title for _, _, _, title, _ in found if "login refused" in title]
    assert len(apps) == 25


def test_no_annotation_is_longer_than_what_people_read(unforeseen: Judgement) -> None:
    """A server's page of HTML does not fill the log."""
    finding = msgspec.structs.replace(unforeseen.findings[0], sentence="x" * 100_000, rule="y" * 1_000)
    ((*_, title, message),) = commands_of(github.render(changed(unforeseen, findings=(finding,)), "x", {}))
    assert (len(title), len(message)) == (200, 4_000)
