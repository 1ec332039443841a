"""What apps that ran on met while Vault was replaced: how it is judged, and how every report says it."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import msgspec
import pytest

from harness.analysis.verdict import Judgement, judge
from harness.cli import progress
from harness.record import journal
from harness.record.events import Renewals
from harness.record.journal import Record
from harness.record.observation import Observation
from harness.rehearsal.workloads import renewals as renewing
from harness.reports import json as json_report
from harness.reports import junit, markdown, wording
from harness.reports import text as text_report
from harness.rig.rig import Reply
from harness.scenario.course import Upgrade
from harness.secret import Secret
from tests.runs import on_paper
from tests.test_records import RECORDS
from tests.test_rules import changed, mapped, mount, with_lines

TO = Upgrade(version="1.11.0", token_file=True)
CALM = changed(mount(reviewer="long-lived"), {"expect": None})


def renewals(**fields: Any) -> Renewals:
    """Return what an app met: usually a second and a half without Vault."""
    usual: dict[str, Any] = {
        "app": "web",
        "version": "1.11.0",
        "asked": 11,
        "failures": {"no answer": 9, "HTTP 500": 1},
        "seconds": 1.4321,
        "renewed": True,
    }
    return Renewals(**usual | fields)


NEVER = renewals(
    renewed=False, failures={"no answer": 2, "HTTP 403": 8}, seconds=6.04, last="HTTP 403: permission denied"
)
SILENT = renewals(renewed=False, failures={"no answer": 2, "HTTP 500": 8}, seconds=6.04)


def calm(directory: Path, *rows: Renewals, probe: str = "", answer: str = "") -> Record:
    """Return the record of a run in which nothing changes but *rows*; one *probe* may have another *answer* in it."""
    record = with_lines(on_paper(CALM, directory)[0], list(rows))

    def other(event: Any) -> Any:
        asked = isinstance(event, Observation) and event.probe == probe
        return msgspec.structs.replace(event, answer=answer) if asked else event

    return mapped(record, other)


@pytest.fixture(name="judgement")
def of_an_outage(tmp_path: Path) -> Judgement:
    """Return the judgement of a calm run in which one app could not renew for a while."""
    return judge(calm(tmp_path, renewals()))


# --- how it is judged ---


def test_figures_come_from_the_record_alone() -> None:
    """Every row of a real run's record is a row of its judgement: each app at each hop."""
    record = journal.load(RECORDS / "running-apps-renew-on-while-new-logins-are-refused.jsonl")
    rows = judge(record).renewals
    assert rows == tuple(record.of(Renewals))
    assert {(row.app, row.version) for row in rows} == {
        (app, version) for app in ("web", "orders", "reports") for version in ("1.9.2", "1.9.3", "1.11.0")
    }
    assert all(row.renewed and row.failures and row.seconds > 0 for row in rows)


def test_a_record_without_renewals_is_judged_as_ever(tmp_path: Path) -> None:
    """Paper has none, and so have older records: no row, no word, no doubt."""
    judgement = judge(calm(tmp_path))
    assert (judgement.verdict, judgement.renewals) == ("pass", ())
    assert "outage" not in text_report.render(judgement).lower()
    assert "renew" not in junit.render(judgement).partition("<system-out>pass")[2]


def test_an_outage_that_ends_is_no_finding(judgement: Judgement) -> None:
    """Every upgrade takes Vault away for a moment: that is told, and fails nothing."""
    assert (judgement.verdict, judgement.findings, judgement.exit_code) == ("pass", (), 0)
    assert judgement.renewals == (renewals(),)


def test_a_living_token_that_vault_refuses_to_renew_is_a_regression(tmp_path: Path) -> None:
    """Its app is cut off when the ttl is over. Said once, at the first hop, with both answers as evidence."""
    record = calm(tmp_path, NEVER, NEVER)
    judgement = judge(record)
    (finding,) = judgement.findings
    assert (judgement.verdict, judgement.exit_code) == ("fail", 1)
    assert (finding.kind, finding.effect, finding.rule) == ("regression", "access refused", "unexplained")
    assert (finding.app, finding.hop, finding.confidence) == ("web", "1.11.0", "none")
    assert "HTTP 403 8; at the last HTTP 403: permission denied" in finding.evidence[0].text
    assert [type(record.event(evidence_line.line)) for evidence_line in finding.evidence] == [Renewals, Observation]
    suite = ET.fromstring(junit.render(judgement))[0]
    assert suite.attrib["failures"] == "1"


def test_a_living_token_that_nobody_answered_for_leaves_the_run_inconclusive(tmp_path: Path) -> None:
    """A Vault that is slow to come back has not refused: nobody knows, and the run does not pass."""
    judgement = judge(calm(tmp_path, SILENT))
    assert (judgement.verdict, judgement.exit_code, judgement.findings) == ("inconclusive", 4, ())
    (reason,) = judgement.reasons
    assert reason.startswith("old-token-renew web after 1.11.0 could not be asked")


@pytest.mark.parametrize("status", [307, 412, 429, 472, 473, 474, 503, 530])
def test_a_renewal_that_is_put_off_is_no_refusal(status: int, tmp_path: Path) -> None:
    """A standby or a limit that answered for a whole hop leaves the run inconclusive: nobody was cut off."""
    row = renewals(renewed=False, failures={f"HTTP {status}": 10}, last=f"HTTP {status}: rate limit quota exceeded")
    judgement = judge(calm(tmp_path, row))
    assert (judgement.verdict, judgement.exit_code, judgement.findings) == ("inconclusive", 4, ())


@pytest.mark.parametrize("answer", ["refused", "unknown"])
def test_a_token_that_is_not_known_to_live_gives_no_finding_of_its_own(answer: str, tmp_path: Path) -> None:
    """Where the old token's look-up is not granted, that is the news: renewals fail because of it."""
    told = judge(calm(tmp_path / "told", probe="old-token-lookup", answer=answer))
    both = judge(calm(tmp_path / "both", NEVER, SILENT, probe="old-token-lookup", answer=answer))
    assert [(f.rule, f.probe) for f in both.findings] == [(f.rule, f.probe) for f in told.findings]
    assert both.reasons == told.reasons


def test_what_was_never_renewable_is_no_regression(tmp_path: Path) -> None:
    """Where Vault refused to renew before the upgrade as well, the upgrade has taken nothing away."""
    judgement = judge(calm(tmp_path, NEVER, probe="token-renew", answer="refused"))
    assert {finding.kind for finding in judgement.findings} == {"pre-existing"}


# --- how it is said ---


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        pytest.param(
            [renewals()],
            "web could not renew for 1.4 s while Vault was taken to 1.11.0 (10 of 11 renewals failed: no answer 9, "
            "HTTP 500 1)",
            id="an outage",
        ),
        pytest.param(
            [renewals(), renewals(app="api", seconds=2.06, asked=12, failures={"no answer": 11})],
            "api, web could not renew for up to 2.1 s while Vault was taken to 1.11.0 (api: 11 of 12 renewals failed: "
            "no answer 11)",
            id="two apps: the figures of the worse one",
        ),
        pytest.param(
            [renewals(failures={}, seconds=0.2)],
            "web renewed without a failure, at most 0.2 s apart, while Vault was taken to 1.11.0 (11 renewals)",
            id="none",
        ),
        pytest.param(
            [NEVER],
            "web could not renew again once Vault was taken to 1.11.0: none was granted for 6.0 s, and then nobody "
            "waited any longer (10 of 11 renewals failed: no answer 2, HTTP 403 8)",
            id="for good",
        ),
        pytest.param(
            [renewals(beforehand=7.8049)],
            "web could not renew for 1.4 s while Vault was taken to 1.11.0, and 7.8 s longer where the snapshot is not "
            "restored beforehand (10 of 11 renewals failed: no answer 9, HTTP 500 1)",
            id="a part of it was done beforehand",
        ),
    ],
)
def test_a_sentence_says_who_how_long_when_and_how(rows: list[Renewals], sentence: str) -> None:
    """All that was seen is in one line, and none of it says more than was seen."""
    assert wording.outages(rows) == [sentence + wording.NO_FORECAST]


def test_seconds_on_loopback_are_no_forecast(tmp_path: Path) -> None:
    """It is said once, at the first outage, and among what was not checked; and nowhere where nothing was measured."""
    rows = [renewals(version="1.9.2"), renewals(version="1.9.3", seconds=9.0)]
    assert "".join(wording.outages(rows)).count("measured on loopback with a scripted unseal") == 1
    assert wording.outages([]) == []
    told = judge(calm(tmp_path / "told", renewals()))
    assert any("for how long production could not renew" in line for line in told.not_checked)
    assert not any("for how long" in line for line in judge(calm(tmp_path / "calm")).not_checked)


def test_two_ways_to_the_same_version_are_told_apart() -> None:
    """As by --rollback: an app stands once in a sentence, and the moment says which time is meant."""
    ways = [
        renewals(moment="after roll-back (binary)", version="1.7.0"),
        renewals(moment="after roll-back (snapshot)", version="1.7.0", seconds=12.5),
    ]
    first, second = wording.outages(ways)
    assert "for 12.5 s while Vault was taken to 1.7.0, before the moment after roll-back (snapshot)" in first
    assert "while Vault was taken to 1.7.0, before the moment after roll-back (binary)" in second
    assert "web, web" not in first + second


def test_the_worst_comes_first() -> None:
    """Who never renewed again, and then the longest, whatever the order of the hops."""
    rows = [renewals(version="1.9.2"), renewals(version="1.9.3", seconds=9.0), msgspec.structs.replace(NEVER, app="x")]
    said = wording.outages(rows)
    assert [line.split(" (")[0].split("taken to ")[1][:6].strip(":") for line in said] == ["1.11.0", "1.9.3", "1.9.2"]
    assert said[0].startswith("x could not renew again")


def test_a_thousand_apps_at_many_hops_are_a_few_lines(judgement: Judgement) -> None:
    """One line a hop, some names and a number, the longest hops first; the others are counted."""
    rows = tuple(renewals(app=f"app-{n}", version=f"1.{hop}.0", seconds=hop) for n in range(1000) for hop in range(9))
    lines = text_report.render(msgspec.structs.replace(judgement, renewals=rows), width=400).splitlines()
    said = [line for line in lines if line.startswith("outage")]
    assert len(said) == 3
    assert "app-0, app-1, app-2, app-3, app-4, 995 more could not renew for up to 8.0 s" in said[0]
    assert "... and 7 more" in said[2]


def test_every_report_says_it(judgement: Judgement) -> None:
    """The text beside the logins, JSON row by row, Markdown as a line and a table, JUnit in what the suite says."""
    (said,) = wording.outages(judgement.renewals)
    summary = text_report.render(judgement, width=400, details=False)
    assert f"outage  {said}" in summary.splitlines()
    assert summary.index("reviewed by") < summary.index("outage") < summary.index("\nrecord")
    (row,) = json.loads(json_report.render(judgement))["renewals"]
    assert {name: row[name] for name in ("app", "version", "asked", "failures", "seconds", "renewed")} == {
        "app": "web",
        "version": "1.11.0",
        "asked": 11,
        "failures": {"no answer": 9, "HTTP 500": 1},
        "seconds": 1.4321,
        "renewed": True,
    }
    page = markdown.render(judgement)
    assert f"- **Outage:** {said}" in page
    assert "| web | 1.11.0 | 1.432 | yes | 11 | no answer 9, HTTP 500 1 |" in page
    assert f"outage  {said}" in (ET.fromstring(junit.render(judgement))[0].findtext("system-out") or "")


def test_a_record_cannot_steer_whoever_reads_of_an_outage(judgement: Judgement) -> None:
    """The kinds of failures are words of a record, too: no colour, no markup, no XML of their own."""
    evil = msgspec.structs.replace(judgement, renewals=(renewals(failures={"\x1b[2J]]><script>|": 3}),))
    assert "\x1b" not in text_report.render(evil) + markdown.render(evil)
    assert "<script>" not in markdown.render(evil)
    assert "\\x1b[2J]]><script>|" in (ET.fromstring(junit.render(evil))[0].findtext("system-out") or "")


def test_who_waits_reads_one_line_of_it() -> None:
    """As it happens, and without -v: one line an app and hop."""
    said: list[str] = []
    progress.follower(said.append, verbose=False)(renewals())
    assert [line.strip() for line in said] == wording.outages([renewals()])


# --- how it is asked ---


@pytest.mark.parametrize(("granted", "last"), [(False, "HTTP 403: permission denied"), (True, "")])
def test_what_vault_said_at_the_last_is_on_record(
    granted: bool, last: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The reason why an app never renewed again: counts alone do not tell it."""

    class Vault:
        asked = 0

        def renew_self(self, _token: Secret) -> Reply:
            self.asked += 1
            return Reply(200) if granted and self.asked > 1 else Reply(403, "permission denied")

    monkeypatch.setattr(renewing, "_LAST_SECONDS", 0.2)
    heard: list[Any] = []
    tokens = {"web": Secret("the-token-of-web")}
    with renewing.renewing(Vault(), tokens, TO, "after 1.11.0", journal.Journal(tmp_path, heard.append)):  # type: ignore[arg-type]
        pass
    (row,) = heard
    assert (row.renewed, row.last) == (granted, last)
    assert row.failures["HTTP 403"] == row.refused == row.refusals >= 1
