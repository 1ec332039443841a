"""The page of a run: readable by itself, true to the record, small, and nothing that a server said is markup."""

from __future__ import annotations

import gzip
import json
import re
import shutil
from collections import Counter
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest

from harness.analysis import login_story, verdict
from harness.analysis.record_view import Facts
from harness.analysis.verdict import Judgement
from harness.record import journal
from harness.record.events import ApiAuditLine, ApiLogLine, VaultAuditLine
from harness.record.journal import Record
from harness.record.observation import Observation
from harness.reports import printable, run_html, sequence, wording
from harness.reports.table import Row
from harness.wait import Stopwatch
from tests.bench import records
from tests.test_cli import rehearse
from tests.test_page import digest, policy_of
from tests.test_reports_ci import HOSTILE

RECORDS = Path(__file__).parent / "records"
OUTAGE = RECORDS / "the-outage-apps-in-another-cluster-are-refused-after-the-upgrade.jsonl"
REAL = RECORDS / "real"
EVERY = sorted([*RECORDS.rglob("*.jsonl"), *REAL.glob("*.jsonl.gz")])

ALONE = frozenset({"meta", "link", "br", "input", "line", "rect", "circle", "polygon"})
ELEMENTS = (ALONE - {"link"}) | {
    "html",
    "head",
    "title",
    "style",
    "body",
    "main",
    "header",
    "nav",
    "section",
    "article",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "p",
    "div",
    "span",
    "strong",
    "a",
    "ul",
    "ol",
    "li",
    "dl",
    "dt",
    "dd",
    "pre",
    "code",
    "details",
    "summary",
    "figure",
    "figcaption",
    "table",
    "thead",
    "tbody",
    "tr",
    "th",
    "td",
    "select",
    "option",
    "script",
    "svg",
    "g",
    "text",
}
MARKED = "</script><svg onload=alert(1)>\"'><b>\x1b[31m\u202e & `{{ 7*7 }}` -->"


def record_of(file: Path, place: Path) -> Record:
    """Return a stored record."""
    place.mkdir(exist_ok=True)
    stored = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
    (place / journal.RECORD_FILE).write_bytes(stored)
    return journal.load(place)


class Page(HTMLParser):
    """What a browser would make of it; an element that is not closed, or closed twice, is an error."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(text)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ALONE:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag, (tag, self.getpos())

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self._open[-1:] not in (["script"], ["style"]):
            self.text += data

    def of(self, name: str) -> list[str]:
        """Return the values of an attribute, in order."""
        return [value for _, attributes in self.tags if (value := attributes.get(name)) is not None]


def checked(text: str) -> Page:
    """Return a page that opens by itself: whatever is on it, nothing is loaded, and every link leads somewhere."""
    page = Page(text)
    assert {tag for tag, _ in page.tags} <= ELEMENTS
    ids = page.of("id")
    assert [one for one, times in Counter(ids).items() if times > 1] == []
    assert {one[0] for one in page.of("href")} <= {"#"}
    assert {one.removeprefix("#") for one in page.of("href")} <= set(ids)
    for name in ("aria-labelledby", "data-rows"):
        assert {one for value in page.of(name) for one in value.split()} <= set(ids)
    landmarks = [found["aria-labelledby"] for tag, found in page.tags if tag == "section"]
    assert len(landmarks) == len(set(landmarks))
    assert not {"src", "style", "action", "xlink:href", "srcset"} & {name for _, found in page.tags for name in found}
    assert [name for _, found in page.tags for name in found if name.startswith("on")] == []
    (style,) = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    (script,) = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    assert policy_of(text)["style-src"] == digest(style)
    assert policy_of(text)["script-src"] == digest(script)
    assert policy_of(text)["default-src"] == "none"
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert all(later <= earlier + 1 for earlier, later in pairwise(levels)), levels
    return page


# --- every record that there is ---


@pytest.mark.parametrize("file", EVERY, ids=lambda file: f"{file.parent.name}/{file.name.partition('.')[0]}")
def test_every_stored_record_is_a_page_that_opens_by_itself(file: Path, tmp_path: Path) -> None:
    """Small, whole, and with what its findings say, whom they concern and what to do."""
    record = record_of(file, tmp_path / "run")
    judgement = verdict.judge(record)
    text = run_html.render(record, judgement)
    assert len(text.encode()) < 500_000
    page = checked(text)
    for finding, *_ in wording.grouped(judgement.findings):
        assert finding.sentence in page.text
        assert all(command in page.text for remedy in finding.remedies for command in remedy.commands)
        assert all(used.sha256 in page.text for used in judgement.artifacts)
    assert judgement.repeat in page.text
    # each line that something leads to is there as it stands in the record
    lines = (tmp_path / "run" / journal.RECORD_FILE).read_text().splitlines()
    shown = [int(one.removeprefix("line-")) for one in page.of("id") if one.startswith("line-")]
    assert bool(shown)
    assert max(shown) <= len(lines)


def test_a_page_takes_a_moment(tmp_path: Path) -> None:
    """The first pays for the templates, every other one for itself."""
    record = record_of(OUTAGE, tmp_path)
    judgement = verdict.judge(record)
    run_html.render(record, judgement)
    watch = Stopwatch()
    for _ in range(5):
        run_html.render(record, judgement)
    # 0.1 s on a machine at rest
    assert watch.seconds < 3


# --- the login as it happened ---


def pictures(record: Record, judgement: Judgement) -> list[login_story.Pair]:
    return list(login_story.pairs(Facts(record), judgement.findings, judgement.reviewing))


def test_the_login_is_drawn_from_the_lines_of_the_record(tmp_path: Path) -> None:
    """Before: the app's own token is presented and taken. After: one that is not, and the audit log names nobody."""
    record = record_of(OUTAGE, tmp_path)
    judgement = verdict.judge(record)
    (pair,) = pictures(record, judgement)
    assert (pair.apps, pair.findings) == (("web",), (0,))
    before, after = pair.logins
    assert (before.moment, after.moment) == ("before", "after 1.11.0")
    assert before.at == {"app": "apps", "vault": "platform", "api": "apps"}
    ways = [[(one.sender, one.receiver) for one in login.parts] for login in pair.logins]
    there_and_back = [("app", "vault"), ("vault", "api"), ("api", "vault"), ("vault", "app")]
    assert ways == [there_and_back, [*there_and_back[:3], ("vault", "vault"), there_and_back[3]]]
    assert "a token of system:serviceaccount:apps:web: the very token that logs in" in before.parts[1].text
    assert [part.text for part in before.parts[2:]] == [
        "201: the review was made",
        "200: a Vault token with the policies default, web",
    ]
    asked, came_back, _, answered = after.parts[1:]
    assert "names nobody" in asked.text
    assert asked.known == "Vault 1.11.0 with this config presents the token of its own Pod"
    assert came_back.text.startswith("401: this bearer is not accepted; [invalid bearer token")
    assert answered.text == "403 permission denied"
    for login in pair.logins:
        for part in login.parts:
            for line in part.lines:
                assert belongs(record.event(line), part, login), (part, line)


def belongs(event: Any, part: login_story.Part, login: login_story.Login) -> bool:
    """Does a line of the record show a part of a login?"""
    if "api" in (part.sender, part.receiver):
        return isinstance(event, ApiAuditLine | ApiLogLine) and (event.cluster, event.moment) == ("apps", login.moment)
    if isinstance(event, Observation):
        return (event.probe, event.app, event.moment) == ("login", login.app, login.moment)
    return (
        isinstance(event, VaultAuditLine) or getattr(event, "purpose", "") == f"app:{login.app}" or part.same == "log"
    )


def test_what_is_not_as_before_is_shaded_and_every_arrow_leads_to_its_line(tmp_path: Path) -> None:
    record = record_of(OUTAGE, tmp_path)
    judgement = verdict.judge(record)
    (pair,) = pictures(record, judgement)
    before, after = pair.logins
    assert not any(arrow.changed for arrow in sequence.drawn(before).arrows)
    assert [arrow.changed for arrow in sequence.drawn(after, before).arrows] == [False, True, True, True, True]
    page = checked(run_html.render(record, judgement))
    drawn = [found.get("href") for tag, found in page.tags if tag == "a"]
    for login in pair.logins:
        for part in login.parts:
            assert f"#line-{part.lines[0]}" in drawn


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("four-apps-that-vault-itself-refuses", "and no TokenReview of it by the API server of apps is on record"),
        ("an-api-server-that-is-not-where-the-config-says", "and no TokenReview of it by the API server of"),
    ],
)
def test_where_no_token_review_is_on_record_none_is_drawn(name: str, sentence: str, tmp_path: Path) -> None:
    """Vault may have refused by itself, or its question never arrived: no arrow to the API server, and no guess."""
    record = record_of(REAL / f"{name}.jsonl.gz", tmp_path)
    without = [one for pair in pictures(record, verdict.judge(record)) for one in pair.logins if one.gap]
    assert without
    for login in without:
        assert not [part for part in login.parts if "api" in (part.sender, part.receiver) or part.known]
        assert "TokenReview" in login.gap
    assert [login for login in without if sentence in login.gap]


def test_where_the_servers_logs_are_missing_nobody_says_that_there_was_no_token_review(tmp_path: Path) -> None:
    """A record that ends before them does not tell who reviewed a login: that is said, and nothing else."""
    lines = OUTAGE.read_bytes().splitlines(keepends=True)
    last = max(n for n, line in enumerate(lines) if b'"probe":"login","moment":"after 1.11.0"' in line)
    (tmp_path / journal.RECORD_FILE).write_bytes(b"".join(lines[: last + 1]))
    record = journal.load(tmp_path)
    (pair,) = pictures(record, verdict.judge(record))
    assert pair.logins[-1].gap.endswith("whether there was a TokenReview is not known")
    assert [(part.sender, part.receiver) for part in pair.logins[-1].parts] == [("app", "vault"), ("vault", "app")]


def test_apps_that_went_one_way_are_one_picture(tmp_path: Path) -> None:
    """Three apps: two are refused for one cause, and the third is not and has a picture of its own."""
    record = record_of(RECORDS / "running-apps-renew-on-while-new-logins-are-refused.jsonl", tmp_path)
    judgement = verdict.judge(record)
    assert [pair.apps for pair in pictures(record, judgement)] == [("web", "orders"), ("reports",)]
    assert [one.moment for one in pictures(record, judgement)[0].logins] == ["after 1.9.2", "after 1.9.3"]


@pytest.mark.parametrize(
    "text", ["x" * 300, "m" * 300, "a b " * 80, "system:serviceaccount:" + "a-b" * 60, "\u4e2d" * 90]
)
def test_no_line_of_a_picture_is_wider_than_its_room(text: str) -> None:
    lines = list(sequence.wrapped(text, 340))
    assert all(sequence.width(line) <= 340 for line in lines)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")


# --- what is not known ---


def test_a_record_that_was_cut_off_says_so_wherever_that_was(tmp_path: Path) -> None:
    """It is an honest page: not a pass, with what is not known first."""
    lines = OUTAGE.read_bytes().splitlines(keepends=True)
    for kept in range(1, len(lines), 9):
        (tmp_path / journal.RECORD_FILE).write_bytes(b"".join(lines[:kept]))
        record = journal.load(tmp_path)
        judgement = verdict.judge(record)
        page = checked(run_html.render(record, judgement))
        assert "The run did not come to its end, or its record is cut off." in page.text
        assert "The record ends here" in page.text
        assert "the run was cut off: its record does not end" in page.text
        assert "No answer differs" not in page.text or kept > 80


def test_an_inconclusive_run_says_that_it_is_no_all_clear(tmp_path: Path) -> None:
    """An app that was refused all along, and nobody said that it would be: what to find out stands at the top."""
    text = (RECORDS / "a-reviewer-without-auth-delegator-refuses-everyone.jsonl").read_text()
    first, rest = text.split("\n", 1)
    said = json.loads(first)
    said["scenario"]["expect"] = None
    if said["plan"].get("asked"):
        said["plan"]["asked"]["expect"] = None
    (tmp_path / journal.RECORD_FILE).write_text(json.dumps(said) + "\n" + rest)
    record = journal.load(tmp_path)
    judgement = verdict.judge(record)
    assert judgement.outcome == "inconclusive"
    page = checked(run_html.render(record, judgement))
    top = page.text[: page.text.index("Timeline")]
    assert "INCONCLUSIVE" in top
    assert "this is no all-clear" in top
    assert judgement.doubts[0].text in top


# --- hostile words ---


def hostile(words: str, place: Path) -> Record:
    """Return the record of the outage in which roles, apps, clusters and servers say *words*."""
    names = {"web": f"web{words}", "permission denied": f"permission denied{words}", "apps": f"apps{words}"}

    def spoiled(value: Any, within: str = "") -> Any:
        if isinstance(value, dict):
            named = within in ("clusters", "apps", "roles", "policies")
            return {names.get(key, key) if named else key: spoiled(part, key) for key, part in value.items()}
        if isinstance(value, list):
            return [spoiled(part) for part in value]
        return names.get(value, value) if isinstance(value, str) else value

    place.mkdir(exist_ok=True)
    lines = [json.dumps(spoiled(json.loads(line))) for line in OUTAGE.read_text().splitlines()]
    (place / journal.RECORD_FILE).write_text(
        "\n".join(lines).replace("login unauthorized", f"lo{escaped(words)}") + "\n"
    )
    return journal.load(place)


def escaped(words: str) -> str:
    return json.dumps(words)[1:-1]


def page_with(words: str, place: Path) -> str:
    """Return the page of a run in which whoever can say anything says *words*."""
    record = hostile(words.replace("\ud800", ""), place)
    judgement = verdict.judge(record)
    findings = [msgspec.structs.replace(one, sentence=words, explanation=words) for one in judgement.findings]
    said = dict.fromkeys(("scenario", "description", "repeat", "run_directory", "machine", "left_behind"), words)
    lists = dict.fromkeys(("assumed", "not_checked", "missed", "unexpected", "unproven"), (words,))
    spoiled = msgspec.structs.replace(judgement, findings=tuple(findings), **said, **lists)
    return run_html.render(record, spoiled)


@pytest.mark.parametrize("words", [MARKED, *HOSTILE], ids=lambda words: repr(words)[:24])
def test_names_and_words_of_servers_are_text_and_never_markup(words: str, tmp_path: Path) -> None:
    """The page of a hostile record has the very elements and attributes that the harmless one has, and its script."""
    text = page_with(words, tmp_path / "hostile")
    page = checked(text)

    def skeleton(one: Page) -> Counter[tuple[str, tuple[str, ...]]]:
        # into how many lines a text is broken in a picture is no markup of anybody's
        return Counter((tag, tuple(found)) for tag, found in one.tags if tag != "text")

    assert skeleton(page) == skeleton(checked(page_with("more", tmp_path / "harmless")))
    for bad in ("\x1b", "\u202e", "\x00", "\ud800", "<b>", "onload=alert(1)>"):
        assert bad not in text
    assert printable(words).strip()[:40] in page.text
    text.encode()


def test_a_page_of_several_runs_keeps_their_places_apart(tmp_path: Path) -> None:
    """One page with all: a table that leads to each, and no place of one is a place of another."""
    record = record_of(OUTAGE, tmp_path)
    judgement = verdict.judge(record)
    rows = [Row(f"one-{number}{MARKED}", "PASS", 0, 1.5, "somewhere") for number in range(3)]
    rows.append(Row("broken", "NO RESULT", 3, 0.1, "nowhere", MARKED))
    bodies = {number: run_html.body(record, judgement, run_html.prefix_of(number)) for number in range(2)}
    page = checked(run_html.of_many(rows, bodies))
    assert "4 rehearsals" in page.text
    assert "NOT DONE 4 scenarios: 3 PASS, 1 NO RESULT; exit 3" in " ".join(page.text.split())
    assert page.text.index("broken") < page.text.index("one-0"), "the worst comes first"
    assert "1 more had no room here." in page.text
    assert {"#run1-title", "#run2-title"} <= set(page.of("href"))


def test_what_has_no_room_is_counted(tmp_path: Path) -> None:
    """Hundreds of apps: every table that ends before its last row says how many more there are."""
    records.grow(tmp_path / "run", 6_000, "apps")
    record = journal.load(tmp_path / "run")
    judgement = verdict.judge(record)
    page = checked(run_html.render(record, judgement))
    told = {int(number) for number in re.findall(r"\.\.\. and (\d+) more", page.text)}
    assert told == {len(judgement.changes) - 400, len(set(judgement.not_checked)) - 100}


# --- the command line ---


def test_judge_writes_the_page_and_the_page_is_that_of_the_judgement(tmp_path: Path) -> None:
    run, page = tmp_path / "run", tmp_path / "page.html"
    run.mkdir()
    shutil.copyfile(OUTAGE, run / journal.RECORD_FILE)
    result = rehearse("judge", run, "--html", page)
    assert result.exit_code == 0
    record = journal.load(run)
    assert page.read_text() == run_html.render(record, verdict.judge(record))


@pytest.mark.processes
def test_several_scenarios_are_one_page(tmp_path: Path, two: list[Path]) -> None:
    """Each with its verdict in the table and its own part below."""
    page = tmp_path / "page.html"
    words = ("--driver", "paper", "-q", "--html", page, "--run-dir", tmp_path / "runs")
    result = rehearse("run", *two, *words)
    assert result.exit_code == 0, result.output
    found = checked(page.read_text())
    assert "2 rehearsals" in found.text
    assert [one for one in found.of("href") if one.endswith("-title") and one.startswith("#run")] == [
        "#run1-title",
        "#run2-title",
    ]
    assert found.text.count("Predicted on paper") == 2


@pytest.fixture
def two() -> list[Path]:
    scenarios = Path(__file__).parent.parent / "scenarios"
    return [scenarios / f"{OUTAGE.stem}.yaml", scenarios / "a-long-lived-reviewer-survives-the-upgrade.yaml"]


def test_what_proved_and_what_going_back_found_is_on_the_page(tmp_path: Path, two: list[Path]) -> None:
    page = tmp_path / "page.html"
    words = ("--driver", "paper", "-q", "--prove-remedy", "--rollback", "--html", page, "--run-dir", tmp_path / "run")
    result = rehearse("run", two[0], *words)
    assert result.exit_code == 0, result.output
    text = checked(page.read_text()).text
    assert "PROVEN" in text
    assert "Going back:" in text
