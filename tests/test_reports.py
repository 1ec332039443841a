"""A report says all that a judgement says: as JSON for programs, and as text that fits the screen it is read on."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest

from harness.analysis.verdict import Judgement, judge
from harness.record import journal
from harness.record.events import ArtifactUsed, RunEnded
from harness.record.journal import Record
from harness.record.observation import Observation
from harness.reports import json as json_report
from harness.reports import markdown, printable, wording
from harness.reports import plan as plan_report
from harness.reports import text as text_report
from harness.scenario import loading, plan
from harness.scenario.schema import Scenario
from tests.runs import OUTAGE, SCENARIOS, on_paper, variant
from tests.test_rules import ONE_CLUSTER, changed, mapped, mount, seen, with_lines

FILES = sorted(SCENARIOS.glob("*.yaml"))
RECORDED = sorted((Path(__file__).parent / "records").glob("*.jsonl"))
ALL_RECORDS = sorted((Path(__file__).parent / "records").rglob("*.jsonl"))
ESCAPE = "\x1b"


@pytest.fixture(name="judgement")
def of_the_outage(tmp_path: Path) -> Judgement:
    """Return the judgement of the outage on paper, with a binary in it as a real run has them."""
    return judge(with_lines(outage(tmp_path), [ARTIFACT]))


ARTIFACT = ArtifactUsed(
    product="vault", version="1.11.0", source="https://releases.example/vault.zip", sha256="ab" * 32
)


def outage(directory: Path) -> Record:
    """Return the record of the outage, with the log lines of its servers."""
    return seen(loading.load(OUTAGE).scenario, directory)


@cache
def plain(text: str) -> str:
    """Return *text* without escape codes."""
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


# --- JSON ---


def test_json_has_what_programs_ask_for(judgement: Judgement) -> None:
    """Every field that docs/output.md promises is there and is filled."""
    document = json.loads(json_report.render(judgement))
    assert document["verdict"] == "fail"
    assert document["as_expected"] is True
    assert document["run_directory"] == judgement.run_directory
    assert document["versions"]["vault"] == ["1.4.0", "1.7.0", "1.11.0"]
    (finding,) = document["findings"]
    for field in ("rule", "kind", "app", "hop", "sentence", "confidence", "evidence", "remedy"):
        assert finding[field], field
    for field in ("probe", "app", "moment", "answer", "status"):
        assert field in document["observations"][-1], field
    assert {"probe", "before", "after", "hop"} <= set(document["changes"][0])
    assert {"product", "version", "source", "sha256"} <= set(document["artifacts"][0])
    assert {"name", "seconds"} <= set(document["phases"][0])
    assert len(document["observations"]) == len(judgement.observations)


@pytest.mark.parametrize("length", [0, 499, 500, 501, 1_000, 1_234])
def test_json_in_pieces_is_the_document_that_is_written_at_once(judgement: Judgement, length: int) -> None:
    """However long its lists are."""
    repeated = (judgement.observations * (length // len(judgement.observations) + 1))[:length]
    long = msgspec.structs.replace(judgement, observations=repeated, changes=(), findings=())
    assert json_report.render(long) == msgspec.json.format(msgspec.json.encode(long), indent=2).decode()


def test_no_piece_of_a_long_document_is_long(judgement: Judgement) -> None:
    """Whoever passes the pieces on holds a small part of the whole."""
    long = msgspec.structs.replace(judgement, observations=judgement.observations * 500)
    sizes = [len(piece) for piece in json_report.pieces(long)]
    assert max(sizes) < sum(sizes) / 10


def test_json_is_the_whole_judgement(judgement: Judgement) -> None:
    """Nothing is left out on the way: what is read back is what was written."""
    assert msgspec.json.decode(json_report.render(judgement).encode(), type=Judgement) == judgement


# --- text: shape ---


def copied(judgement: Judgement) -> set[str]:
    """Return the lines of a report that are there to be copied, and are never broken."""
    remedies = [remedy for one in judgement.findings for remedy in one.remedies]
    lines = [
        line for one in remedies for line in (*one.commands, *one.writes, *map(str.strip, one.terraform.split("\n")))
    ]
    return {f"record  {judgement.run_directory}", f"repeat  {judgement.repeat}", *lines}


@pytest.mark.parametrize("width", [60, 80, 120])
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_text_fits_the_width_asked_for(file: Path, width: int, tmp_path: Path) -> None:
    """No line is longer, but for those that are there to be copied; no line ends in blanks; nothing colours it."""
    _, judgement = on_paper(loading.load(file).scenario, tmp_path)
    text = text_report.render(judgement, width=width)
    assert [line for line in text.splitlines() if len(line) > width and line.strip() not in copied(judgement)] == []
    assert [line for line in text.splitlines() if line != line.rstrip()] == []
    assert ESCAPE not in text
    assert text.endswith("\n")


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_summary_fits_a_screen(file: Path, tmp_path: Path) -> None:
    """Whatever was found, the summary has at most 40 lines; a calm run of one node about a terminal of 24."""
    _, judgement = on_paper(loading.load(file).scenario, tmp_path)
    lines = text_report.render(judgement, width=100, details=False).splitlines()
    assert len(lines) <= (40 if judgement.findings or judgement.rollings else 25)
    assert lines[0].startswith(wording.OUTCOME[judgement.outcome])


@pytest.mark.parametrize("file", RECORDED, ids=lambda file: file.stem)
def test_the_summary_of_a_real_run_fits_a_screen(file: Path) -> None:
    """At most 40 lines, the last of which is the verdict; no sentence stands in it twice."""
    judgement = judge(journal.load(file))
    text = text_report.render(judgement, width=100, details=False)
    lines = text.splitlines()
    assert len(lines) <= 40
    assert lines[-1].startswith(f"{wording.OUTCOME[judgement.outcome]}  ")
    assert lines[-1].endswith(f"exit {judgement.exit_code}")
    sentences = [one for one in re.split(r"(?<=[.!?])\s+", " ".join(text.split())) if len(one) > 40]
    assert [one for one in sentences if sentences.count(one) > 1] == []
    first = [remedy for finding in judgement.findings[:1] for remedy in finding.remedies[:1]]
    assert all(f"      {command}" in lines for remedy in first for command in remedy.commands)


@pytest.mark.parametrize("file", [*FILES, *ALL_RECORDS], ids=lambda file: f"{file.parent.name}-{file.stem}")
def test_a_summary_has_lines_in_reserve(file: Path, tmp_path: Path) -> None:
    """A longer sentence, or one of a real run beside it, must not push the summary off its screen."""
    if file.suffix == ".jsonl":
        judgement = judge(journal.load(file))
    else:
        _, judgement = on_paper(loading.load(file).scenario, tmp_path)
    most = 40 if len(judgement.findings) <= 1 else 48
    assert text_report.render(judgement, width=100, details=False).count("\n") <= most
    shown, totals = text_report._abridged(judgement)
    tightest = text_report._rendered(shown, totals, text_report._ROOMS[-1], 100, colour=False, details=False)
    assert tightest.count("\n") <= most - 4
    assert headline_in(tightest, judgement)


def headline_in(text: str, judgement: Judgement) -> bool:
    """Whether the first finding, what mends it, and the verdict are told."""
    told = " ".join(text.split())
    first = judgement.findings[:1]
    return wording.OUTCOME[judgement.outcome] in told and all(
        one.rule in told and " ".join(wording.remedies_of(one)[0].sentence.split()) in told for one in first
    )


@pytest.mark.parametrize("mounts", [1, 3, 6])
@pytest.mark.parametrize("expected", [False, True])
def test_the_summary_of_six_apps_fits_two_screens(mounts: int, expected: bool, tmp_path: Path) -> None:
    """At most 80 lines for six apps, on however many mounts, and every app is named."""
    scenario = loading.load(OUTAGE).scenario.model_dump(mode="json", by_alias=True)
    (mount,), web = scenario["auth"].values(), scenario["apps"]["web"]
    kinds: list[dict[str, Any]] = [
        {},
        {"reviewer": "long-lived"},
        {"configured": {"by": "1.7.0", "with-token-file": True}},
    ]
    scenario["auth"] = {f"kubernetes{n}": {**mount, **kinds[n % 3 if mounts > 1 else 0]} for n in range(mounts)}
    scenario["apps"] = {f"web{n}": {**web, "mount": f"kubernetes{n % mounts}"} for n in range(6)}
    effects = [{"change": "login refused"}] * 6 if expected and mounts == 1 else None
    scenario["expect"] = effects
    _, judgement = on_paper(Scenario.model_validate_json(json.dumps(scenario)), tmp_path)
    lines = text_report.render(judgement, width=100, details=False).splitlines()
    assert len(lines) <= 80
    assert judgement.findings
    for finding in judgement.findings:
        assert any(finding.app in line for line in lines), finding.app
    assert lines[-1].startswith(wording.OUTCOME[judgement.outcome])
    assert judgement.outcome == ("expected-fail" if effects else "fail")


def test_the_summary_of_the_outage_tells_the_story(judgement: Judgement) -> None:
    """Verdict, what happens to whom and where, the cause, when it hurts, how to mend it, who reviewed."""
    text = text_report.render(judgement, width=120, details=False)
    assert 24 <= len(text_report.render(judgement, width=100, details=False).splitlines()) <= 40
    for words in (
        "XFAIL (expected)  test",
        "Vault 1.7.0 -> 1.11.0, driver paper",
        "This is exactly what the scenario expects.",
        "login refused: web, at Vault 1.11.0",
        "cause: reviewer-fallback-local",
        "when  Running copies of web",
        "mend  Before the upgrade, on Vault 1.7.0: Write the whole config again",
        "not   issuer, role binding, CA, reachability, JWT expiry",
        "nobody (bearer not accepted), 401",
        f"record  {judgement.run_directory}",
        "repeat  rehearse run",
    ):
        assert words in text


def test_the_details_show_the_evidence(judgement: Judgement) -> None:
    """Every line of evidence is there with the line of the record it stands on, and so is what was not checked."""
    text = text_report.render(judgement, width=400)
    for evidence_line in judgement.findings[0].evidence:
        assert evidence_line.text in text
        assert not evidence_line.line or f"(record.jsonl:{evidence_line.line})" in text
    for line in judgement.not_checked:
        assert f"- {line}" in text
    assert "since Vault 1.10.4 this refusal" in text
    assert f"sha256 {'ab' * 8}" in text
    *summary, more, _, last = text_report.render(judgement, width=400, details=False).splitlines()
    assert text.splitlines()[: len(summary)] == summary
    assert more.startswith("more    with -v: evidence, configs, every change, 6 things not checked")
    assert text.splitlines()[-1] == last == "XFAIL (expected)  login refused: web, at Vault 1.11.0; exit 0"


def test_a_repeat_line_is_never_broken(judgement: Judgement) -> None:
    """What is there to be copied stays on one line, however narrow the screen."""
    long = msgspec.structs.replace(judgement, repeat="rehearse run " + "x" * 150, run_directory="/" + "y" * 150)
    lines = text_report.render(long, width=60).splitlines()
    assert f"repeat  {long.repeat}" in lines
    assert f"record  {long.run_directory}" in lines


# --- text: who may steer the terminal ---


def test_colour_changes_no_word(judgement: Judgement) -> None:
    """With colour there are escape codes; without them it is the very same text."""
    coloured = text_report.render(judgement, width=80, colour=True)
    assert ESCAPE in coloured
    bare = [line.rstrip() for line in plain(coloured).splitlines()]
    assert bare == text_report.render(judgement, width=80).splitlines()


@pytest.mark.parametrize("colour", [False, True])
def test_a_server_cannot_steer_the_terminal(colour: bool, tmp_path: Path) -> None:
    """Control characters in what a server said are written out: no colour, no cursor, no reversed text, no bell."""
    evil = "denied \x1b[2J\x1b]0;title\x07 \x9b31m \u202egnp\u202c \r\x08\x00"

    def poisoned(event: Any) -> Any:
        refused = isinstance(event, Observation) and event.answer == "refused"
        return msgspec.structs.replace(event, error=evil) if refused else event

    judged = judge(mapped(outage(tmp_path), poisoned))
    text = text_report.render(judged, width=100, colour=colour)
    bare = plain(text) if colour else text
    assert "\\x1b[2J" in bare
    assert [c for c in bare if not c.isprintable() and c != "\n"] == []
    assert max(len(line) for line in bare.splitlines() if line.strip() not in copied(judged)) <= 100


def test_printable_leaves_readable_text_alone() -> None:
    """Letters of every language and line ends stay as they are."""
    assert printable("grün\nжар 你好") == "grün\nжар 你好"
    assert printable("a\x1bb\x7f\u2066") == "a\\x1bb\\x7f\\u2066"


# --- text: what comes first, and how much of it ---


def test_what_will_hurt_later_stands_at_the_top(tmp_path: Path) -> None:
    """A latent finding in a green run is easily overlooked, so it comes before the others."""
    latent = judge(seen(changed(ONE_CLUSTER), tmp_path / "latent"))
    refused = judge(outage(tmp_path / "outage"))
    both = msgspec.structs.replace(refused, findings=(*refused.findings, *latent.findings))
    text = text_report.render(both, width=80)
    assert text.index("latent  reviewer changed") < text.index("regression, as expected  login refused")


def test_a_thousand_apps_with_one_cause_are_one_paragraph(judgement: Judgement) -> None:
    """1,500 findings of one kind, cause and hop: some names, a number, and one explanation."""
    (finding,) = judgement.findings
    many = tuple(msgspec.structs.replace(finding, app=f"app-{number}") for number in range(1500))
    rows = tuple(msgspec.structs.replace(row, app=f"app-{n}") for n in range(750) for row in judgement.reviewing)
    unexpected = tuple(f"regression: login refused of app-{n}" for n in range(1499))
    crowd = msgspec.structs.replace(judgement, findings=many, reviewing=rows, unexpected=unexpected)
    text = text_report.render(crowd, width=120, details=False)
    assert " ".join(text.split()).count("cause: reviewer-fallback-local") == 1
    assert "app-0, app-1, app-2, app-3, app-4, 1495 more" in text
    assert len(text.splitlines()) <= 45
    assert text_report.render(crowd, width=120).count("Evidence: ") == 1


def test_many_doubts_do_not_drown_the_summary(tmp_path: Path) -> None:
    """An inconclusive run names some of what could not be known, and how much more there is."""
    _, judgement = on_paper(
        changed(mount(reviewer="long-lived")), tmp_path, script={("login", "web", "1.7.0"): "silent"}
    )
    doubts = tuple(f"login app-{number} before could not be asked" for number in range(1500))
    text = text_report.render(msgspec.structs.replace(judgement, reasons=doubts), width=120, details=False)
    assert "could not be known: login app-0 before" in text
    assert "... and 1495 more" in text
    assert len(text.splitlines()) <= 45


def test_long_lists_are_cut_and_their_true_length_is_told(judgement: Judgement) -> None:
    """Of thousands of changes, logins, unasked and asked questions a report shows some, and counts all."""
    many = msgspec.structs.replace(
        judgement,
        changes=judgement.changes[:1] * 1000,
        reviewing=tuple(
            msgspec.structs.replace(judgement.reviewing[0], app=f"app-{n}", reviewer=f"account-{n}")
            for n in range(2000)
        ),
        not_checked=tuple(f"login of app-{number}" for number in range(3000)),
        observations=judgement.observations[:1] * 4000,
    )
    text = text_report.render(many, width=120)
    for words in ("... and 940 more", "... and 1988 more", "... and 2941 more", "4000 questions asked"):
        assert words in text
    assert len(text.splitlines()) < 400


def test_of_many_logins_the_table_has_those_that_are_other_than_before(judgement: Judgement) -> None:
    """What repeats from moment to moment is left out and counted; a change and what comes back are there."""
    row = judgement.reviewing[0]
    other = {"answer": "refused", "status": 403}
    fields: tuple[dict[str, Any], ...] = ({}, {}, other, other, {}, {}, {})
    rows = tuple(msgspec.structs.replace(row, moment=f"moment {n}", **fields[n]) for n in range(len(fields)))
    text = text_report.render(msgspec.structs.replace(judgement, reviewing=rows), width=200, details=False)
    assert re.findall(r"moment \d", text) == ["moment 0", "moment 2", "moment 4"]
    assert "... and 4 more" in text
    few = text_report.render(msgspec.structs.replace(judgement, reviewing=rows[:6]), width=200, details=False)
    assert len(re.findall(r"moment \d", few)) == 6


def test_findings_of_another_mount_are_another_paragraph(judgement: Judgement) -> None:
    """What is said of one mount, and mends it, holds for no other."""
    (first, *_) = judgement.findings
    second = msgspec.structs.replace(first, app="api", mount="other")
    assert [len(group) for group in wording.grouped([first, second])] == [1, 1]


def test_a_course_without_an_upgrade_has_no_path(judgement: Judgement) -> None:
    there = msgspec.structs.replace(judgement.versions, source="1.9.2", target="")
    assert wording.path_of(there) == "Vault 1.9.2"


def test_findings_of_another_hop_are_another_paragraph(judgement: Judgement) -> None:
    """Only what is the same in kind, cause, effect and hop is put together."""
    (finding,) = judgement.findings
    later = msgspec.structs.replace(finding, app="api", hop="1.13.0", moment="after 1.13.0")
    text = text_report.render(msgspec.structs.replace(judgement, findings=(finding, later)), width=120, details=False)
    assert "login refused: web, at Vault 1.11.0" in text
    assert "login refused: api, at Vault 1.13.0" in text


def test_findings_that_have_no_room_are_named_all_the_same(judgement: Judgement) -> None:
    """Of twenty causes some have a paragraph, and the others a line each, or are counted."""
    (finding,) = judgement.findings
    said = [f"What happened to app-{n} is long to tell, and another story each time " * 5 for n in range(12)]
    many = tuple(
        msgspec.structs.replace(
            finding, app=f"app-{n}", hop=f"1.{n}.0", moment=f"after 1.{n}.0", sentence=said[n], remedies=()
        )
        for n in range(12)
    )
    text = text_report.render(msgspec.structs.replace(judgement, findings=many), width=100, details=False)
    assert len(text.splitlines()) <= 80
    assert "Also found; -v says more" in text
    words = " ".join(text.split())
    assert all(f"login refused: {one.app}, at Vault {one.hop}" in words for one in many)


def test_a_calm_run_says_so(tmp_path: Path) -> None:
    """No finding is said in words, and a run that was not judged conclusively never claims to be as expected."""
    _, calm = on_paper(changed(mount(reviewer="long-lived"), {"expect": []}), tmp_path / "calm")
    for report in (text_report.render(calm, details=False), markdown.render(calm)):
        assert "Everyone who logged in still does, reviewed by the same account; nothing was broken before." in report
        assert "What else changed" in report
    still = msgspec.structs.replace(calm, changes=())
    assert "Nothing changed for anyone who logs in" in text_report.render(still)
    _, silent = on_paper(
        changed(mount(reviewer="long-lived"), {"expect": []}),
        tmp_path / "silent",
        script={("login", "web", "1.11.0"): "silent"},
    )
    text = text_report.render(silent)
    assert text.startswith("INCONCLUSIVE")
    assert "exactly what the scenario expects" not in text


def test_without_an_expect_nobody_claims_that_this_was_expected(tmp_path: Path) -> None:
    """A latent change is no worse answer; what else the scenario's author thinks of it, nobody knows."""
    _, latent = on_paper(changed(ONE_CLUSTER, {"expect": None}), tmp_path)
    text = text_report.render(latent)
    assert text.startswith("PASS")
    assert "No answer got worse. The scenario has no `expect`" in text
    assert "exactly what the scenario expects" not in text


@pytest.mark.parametrize("expect", [None, "as it is"])
def test_a_run_in_which_an_app_never_got_in_is_no_all_clear_for_it(expect: str | None, tmp_path: Path) -> None:
    """The first thing said is a question with the keys that decide it; where the scenario expects it, it is known."""
    scenario = loading.load(SCENARIOS / "a-reviewer-without-auth-delegator-refuses-everyone.yaml").scenario
    if expect is None:
        scenario = variant(scenario, expect=None)
    _, judgement = on_paper(scenario, tmp_path)
    assert (judgement.verdict, judgement.exit_code) == (("inconclusive", 4) if expect is None else ("pass", 0))
    assert judgement.unlearned == tuple(scenario.apps)
    text, page = text_report.render(judgement, width=400), markdown.render(judgement)
    assert "what the upgrade does to a login of web that works: it was refused before as well" in text
    for report in (text, text_report.render(judgement, width=400, details=False), page):
        assert ("Is the login of web refused in production, too?" in report) == (expect is None)
    last = text.splitlines()[-1]
    assert last.startswith("INCONCLUSIVE  nothing was learned of web; ") == (expect is None)
    assert last.endswith("; not as expected, exit 4") == (expect is None)


@pytest.mark.parametrize("path", ["secret/data/{{identity.entity.name}}/*", "secret/data/*"])
def test_what_paper_does_not_read_is_not_checked(path: str, tmp_path: Path) -> None:
    """That paper fills templates with what it knows is said; one that no login fills grants nothing there as well."""
    policies = {"web": f'path "{path}" {{ capabilities = ["read"] }}'}
    _, judgement = on_paper(changed({"policies": policies}, {"expect": None}), tmp_path)
    named = any(line.startswith("policies with templates") for line in judgement.not_checked)
    assert named == ("{{" in path)
    assert ("policy-denies" in {finding.rule for finding in judgement.findings}) == ("{{" in path)


@pytest.mark.parametrize(("source", "target", "told"), [("1.7.0", "1.21.0", False), ("1.7.0", "2.0.4", True)])
def test_paper_says_what_was_never_run(source: str, target: str, told: bool, tmp_path: Path) -> None:
    """Beyond the releases that its knowledge was held against it only assumes, and says so twice: before and after."""
    _, judgement = on_paper(changed({"vault": {"source": source, "target": target}}), tmp_path)
    assert any(f"what Vault {target} really does" in line for line in judgement.not_checked) == told
    assert any(f"Vault {target} answers as the nearest" in line for line in judgement.assumed) == told


def test_the_last_line_of_what_is_inconclusive_begins_with_why(tmp_path: Path) -> None:
    """Not with the regression that was expected, and came: that is not what is open."""
    record, _ = on_paper(changed(), tmp_path)
    judgement = judge(mapped(record, lambda event: None if isinstance(event, RunEnded) else event))
    assert (judgement.verdict, judgement.outcome) == ("fail", "inconclusive")
    text = text_report.render(judgement)
    assert text.splitlines()[-1].startswith("INCONCLUSIVE  the run was cut off")
    assert "What the scenario expects came, and not all could be seen." in text
    assert "has no `expect`" not in text


def test_what_the_scenario_leaves_open_is_shown_as_assumed(tmp_path: Path) -> None:
    """Who wrote the config decides the answer: the report says what was taken for granted, and how to say it."""
    left_open = changed(mount(configured=None), {"expect": None})
    _, judgement = on_paper(left_open, tmp_path)
    assumed = "auth/kubernetes/config was last written by Vault 1.7.0, with a pod token file there"
    for report in (
        text_report.render(judgement, width=400),
        plan_report.render(plan.make(left_open, "it", "paper")),
    ):
        assert "ssumed, because the scenario does not say" in report
        assert assumed in report
    assert "Assumed, because the scenario does not say" in markdown.render(judgement)


# --- the plan as text ---


def test_a_plan_shows_every_stage_and_every_question() -> None:
    """What a run would do: who writes which config, when the questions are asked, and which binaries it takes."""
    scenario = loading.load(OUTAGE).scenario
    made = plan.make(scenario, "outage", "local")
    text = plan_report.render(made)
    assert "  1. start: Vault 1.4.0, with a pod token file" in text
    assert "  2. write auth/kubernetes/config: kubernetes_host=cluster" in text
    assert "  4. upgrade: Vault 1.7.0, with a pod token file\n  5. ask every question (before)" in text
    assert "  6. upgrade: Vault 1.11.0, with a pod token file\n  7. ask every question (after 1.11.0)" in text
    assert f"questions at every moment: {len(made.questions)}" in text
    assert all(f"  {product} {version}" in text for product, version in made.artifacts)


def test_what_mends_one_role_is_not_said_of_another(tmp_path: Path) -> None:
    """Two apps are refused for one cause, and each role has commands of its own."""
    (file := tmp_path / "two.yaml").write_text(
        "schema: 1\n"
        "description: Two roles demand an audience that their apps' tokens lack.\n"
        "clusters: {one: {kubernetes: 1.32.0}}\n"
        "vault: {cluster: one, service-account: vault/vault, source: 1.9.3, target: 1.11.0}\n"
        "auth:\n"
        "  kubernetes:\n"
        "    cluster: one\n"
        "    reviewer: secret\n"
        "    roles:\n"
        "      web: {service-accounts: [web], namespaces: [apps], audience: vault}\n"
        "      api: {service-accounts: [api], namespaces: [apps], audience: secrets}\n"
        "apps:\n"
        "  web: {cluster: one, service-account: apps/web, role: web}\n"
        "  api: {cluster: one, service-account: apps/api, role: api}\n"
    )
    record, _ = on_paper(loading.load(file).scenario, tmp_path / "run")
    judgement = judge(record)
    parts = wording.grouped(judgement.findings)
    assert [[finding.app for finding in part] for part in parts] == [["web"], ["api"]]
    many = [msgspec.structs.replace(one, remedies=()) for one in judgement.findings]
    assert len(wording.grouped(many)) == 1
