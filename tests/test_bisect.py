"""The first bad version is found by rehearsals, whatever goes wrong on the way; and it is what servers say."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result

from harness.cli import commands
from harness.errors import LeftBehind, MissingPrerequisite
from harness.knowledge import plugin_versions, releases
from harness.record import events, journal
from harness.reports import bisection as report
from harness.reports.bisection import Conclusion
from harness.scenario import loading
from harness.scenario.loading import Loaded
from harness.session import bisect
from harness.session.bisect import OtherSearch, Search
from harness.session.one_rehearsal import Options, Places, Rehearsed, rehearse_one
from tests.runs import OUTAGE, SCENARIOS
from tests.versions_at_hand import vaults_at_hand

ROOT = Path(__file__).parent.parent
CALM = SCENARIOS / "disable-local-ca-jwt-keeps-apps-in-another-cluster-logged-in.yaml"


class Rehearser:
    """Rehearses on paper, and does for some values whatever a test wants; what was asked, in its order."""

    def __init__(self, base: Path, **special: Any) -> None:
        self.places = Places(base / "cache", base / "state", base, {})
        self.special = {name.replace("_", "."): what for name, what in special.items()}
        self.asked: list[str] = []
        self.fresh: list[bool] = []

    def __call__(self, loaded: Loaded, directory: Path, *, fresh: bool) -> Rehearsed:
        target = loaded.scenario.vault.target
        assert target is not None
        self.asked.append(target)
        self.fresh.append(fresh)
        what = self.special.get(target)
        if isinstance(what, list):
            what = what.pop(0) if what else None
        if isinstance(what, BaseException):
            raise what
        done = rehearse_one(loaded, Options(driver="paper", run_dir=directory), self.places)
        if what is None:
            return done
        assert callable(what)
        return what(done)  # type: ignore[no-any-return]


def inconclusive(done: Rehearsed) -> Rehearsed:
    judgement = msgspec.structs.replace(done.judgement, verdict="inconclusive", reasons=("etcd was slow",), exit_code=4)
    return done._replace(judgement=judgement)


def no_start(done: Rehearsed) -> Rehearsed:
    """Return a judgement whose one regression is that Vault declined its data."""
    judgement = done.judgement
    finding = msgspec.structs.replace(_finding(), effect="upgrade refused", app="", rule="vault-refuses-data")
    weight = msgspec.structs.replace(judgement.weights[0], fails=True) if judgement.weights else None
    from harness.analysis.verdict import Contribution

    weights = (weight or Contribution("upgrade refused", fails=True),)
    return done._replace(
        judgement=msgspec.structs.replace(judgement, verdict="fail", findings=(finding,), weights=weights, exit_code=1)
    )


def _finding() -> Any:
    from harness.analysis.diagnosis import Finding

    return Finding(
        rule="x", kind="regression", effect="login refused", app="web", hop="1.9.2", sentence="It is so.",
        confidence="strong", evidence=(), remedy="",
    )  # fmt: skip


def among(good: str, bad: str, which: str = "all", scenario: Path = OUTAGE, axis: str = "vault.target") -> Search:
    return bisect.search(loading.load(scenario), axis, (good, bad), which)


def found(wanted: Search, rehearser: Rehearser, directory: Path, told: list[str] | None = None) -> Conclusion:
    lines = told if told is not None else []
    return bisect.run(wanted, rehearser, directory, "paper", lines.append, {})


def tool(*words: str | Path) -> Result:
    return CliRunner().invoke(commands.main, [str(word) for word in words], standalone_mode=False)


def code(done: Result) -> int:
    return int(getattr(done.exception, "code", getattr(done.exception, "exit_code", done.exit_code)) or 0)


# --- the answer -------------------------------------------------------------------------------------------------------


def test_the_outage_is_found_among_all_releases(tmp_path: Path) -> None:
    """With no more upgrades than promised; cause, versions of the plugin, and what is known of it are in the answer."""
    wanted = among("1.7.0", "1.13.0")
    rehearser, told = Rehearser(tmp_path), list[str]()
    end = found(wanted, rehearser, tmp_path / "search", told)

    assert (end.outcome, end.last_good, end.first_bad, end.exit_code) == ("found", "1.9.2", "1.9.3", 0)
    assert end.plugins == ("0.11.3", "0.11.4")
    assert end.finding is not None
    assert (end.finding.rule, end.finding.effect) == ("reviewer-fallback-local", "login refused")
    assert end.finding.explanation
    number = len(wanted.variants)
    assert number == len(releases.resolve("1.7.0..1.13.0:all", releases.shipped("vault")))
    assert end.upgrades == len(rehearser.asked) <= math.ceil(math.log2(number)) + 2
    # the source itself needs no upgrade: whatever gets worse is measured against it
    assert "1.7.0" not in rehearser.asked
    assert told[0].startswith("[1 of at most 8]  vault.target=1.13.0: bad, login refused web")
    text = report.render(end)
    flat = " ".join(text.split())
    assert "the first bad vault.target is 1.9.3; 1.9.2 is good" in flat
    assert "vault-plugin-auth-kubernetes v0.11.3 -> v0.11.4" in text
    assert "cause: reviewer-fallback-local" in text
    pasted = ("record", "more", *(f"      {line}" for way in end.finding.remedies for line in way.commands))
    assert all(len(line) <= 100 or line.startswith(pasted) for line in text.splitlines())
    assert msgspec.json.decode(report.render_json(end).encode(), type=Conclusion) == end
    for one in end.asked:
        assert not one.record or (tmp_path / "search" / one.record / "record.jsonl").is_file()


def test_a_stop_beyond_the_target_is_no_part_of_its_path(tmp_path: Path) -> None:
    scenario = tmp_path / "path.yaml"
    scenario.write_text(OUTAGE.read_text().replace("source: 1.7.0", "source: 1.7.0\n  via: [1.8.0, 1.10.0]"))
    wanted = among("1.7.0", "1.11.0", "1.8.4,1.9.2,1.9.3", scenario)
    made = {one.value: one.loaded.scenario.vault.via for one in wanted.variants if one.loaded}
    assert {value: [*(via or ())] for value, via in made.items()} == {
        "1.8.4": ["1.8.0"], "1.9.2": ["1.8.0"], "1.9.3": ["1.8.0"], "1.11.0": ["1.8.0", "1.10.0"],
    }  # fmt: skip
    assert found(wanted, Rehearser(tmp_path), tmp_path / "search").first_bad == "1.9.3"


def test_what_a_scenario_expects_says_nothing_of_good_and_bad(tmp_path: Path) -> None:
    """The outage expects its regression, and at one version: every other target would not even be a scenario."""
    assert "expect:" in OUTAGE.read_text()
    end = found(among("1.7.0", "1.11.0", "1.8.0,1.9.2"), Rehearser(tmp_path), tmp_path / "search")
    assert (end.outcome, end.last_good, end.first_bad) == ("found", "1.9.2", "1.11.0")


# --- what goes wrong --------------------------------------------------------------------------------------------------


def test_versions_of_which_nobody_can_say_are_skipped_and_named(tmp_path: Path) -> None:
    """One that is not to be had, one that does not start, one that is inconclusive twice: the answer is a range."""
    special = {
        "1_9_1": no_start,
        "1_9_2": MissingPrerequisite("vault 1.9.2 is not available:\n  - a mirror has it not"),
        "1_9_3": [inconclusive, inconclusive],
    }
    rehearser = Rehearser(tmp_path, **special)
    end = found(among("1.7.0", "1.10.0", "1.9.0,1.9.1,1.9.2,1.9.3,1.9.4"), rehearser, tmp_path / "search")

    assert (end.outcome, end.last_good, end.first_bad, end.exit_code) == ("between", "1.9.0", "1.9.4", 4)
    assert end.skipped == ("1.9.1", "1.9.2", "1.9.3")
    why = {one.value: (one.answer, one.why, one.rehearsals) for one in end.asked}
    assert why["1.9.1"] == ("skip", "it does not start over this data (upgrade refused)", 1)
    assert why["1.9.2"] == ("skip", "it cannot be had: vault 1.9.2 is not available:", 0)
    assert why["1.9.3"] == ("skip", "inconclusive: etcd was slow", 2)
    assert "between 1.9.0, which is good, and 1.9.4, which is bad: of 1.9.1, 1.9.2, 1.9.3 nobody" in report.answer(end)


def test_an_inconclusive_version_is_tried_once_more_in_a_fresh_environment(tmp_path: Path) -> None:
    rehearser = Rehearser(tmp_path, **{"1_9_2": [inconclusive]})
    end = found(among("1.7.0", "1.9.3", "1.9.2"), rehearser, tmp_path / "search")
    assert (end.outcome, end.first_bad, end.upgrades) == ("found", "1.9.3", 3)
    assert (rehearser.asked, rehearser.fresh) == (["1.9.3", "1.9.2", "1.9.2"], [False, False, True])
    assert [one.record for one in end.asked] == ["", "1.9.2-2", "1.9.3"]


def test_another_regression_is_not_the_one_that_is_looked_for(tmp_path: Path) -> None:
    def other(done: Rehearsed) -> Rehearsed:
        made = no_start(done)
        finding = msgspec.structs.replace(_finding(), effect="login refused", app="somebody else")
        return made._replace(judgement=msgspec.structs.replace(made.judgement, findings=(finding,)))

    end = found(among("1.7.0", "1.9.3", "1.9.2"), Rehearser(tmp_path, **{"1_9_2": other}), tmp_path / "search")
    assert (end.last_good, end.first_bad) == ("1.9.2", "1.9.3")
    assert end.asked[1].why == "what is looked for is not there, though something else is: login refused somebody else"


def test_a_bad_end_that_cannot_be_had_ends_the_search_at_once(tmp_path: Path) -> None:
    rehearser = Rehearser(tmp_path, **{"1_11_0": MissingPrerequisite("no")})
    with pytest.raises(MissingPrerequisite):
        found(among("1.7.0", "1.11.0"), rehearser, tmp_path / "search")
    assert rehearser.asked == ["1.11.0"]


@pytest.mark.parametrize(
    ("good", "bad", "outcome", "exit_code", "said"),
    [
        ("1.7.0", "1.9.2", "both good", 4, "1.7.0 and 1.9.2 are both good: nothing gets worse on the way"),
        ("1.9.3", "1.11.0", "both bad", 4, "1.9.3 is bad already, as 1.11.0 is: name a --good that is older"),
    ],
)
def test_ends_that_are_alike_are_told(
    good: str, bad: str, outcome: str, exit_code: int, said: str, tmp_path: Path
) -> None:
    end = found(among(good, bad), Rehearser(tmp_path), tmp_path / "search")
    assert (end.outcome, end.exit_code) == (outcome, exit_code)
    assert said in " ".join(report.render(end).split())
    assert len(end.asked) == 2


def test_ends_that_answer_the_other_way_round_are_swapped(tmp_path: Path) -> None:
    """An improvement that was taken for a regression: the older one refuses, and the newer one does not."""
    passes = msgspec.structs.replace

    def good(done: Rehearsed) -> Rehearsed:
        return done._replace(judgement=passes(done.judgement, verdict="pass", findings=(), weights=()))

    rehearser = Rehearser(tmp_path, **{"1_11_0": good, "1_9_3": None})
    end = found(among("1.9.3", "1.11.0"), rehearser, tmp_path / "search")
    assert (end.outcome, end.exit_code) == ("swapped", 2)
    assert report.answer(end) == "1.9.3 is bad and 1.11.0 is good: --good and --bad are swapped"


def test_an_end_of_which_nobody_can_say_is_named(tmp_path: Path) -> None:
    rehearser = Rehearser(tmp_path, **{"1_11_0": inconclusive})
    end = found(among("1.7.0", "1.11.0"), rehearser, tmp_path / "search")
    assert (end.outcome, end.exit_code) == ("bad unknown", 4)
    assert "whether 1.11.0 is bad (inconclusive: etcd was slow): name another --bad" in report.answer(end)


def test_what_is_left_behind_is_the_exit_code(tmp_path: Path) -> None:
    def left(done: Rehearsed) -> Rehearsed:
        return done._replace(judgement=msgspec.structs.replace(done.judgement, left_behind="process 4711"))

    end = found(among("1.7.0", "1.9.3", "1.9.2"), Rehearser(tmp_path, **{"1_9_2": left}), tmp_path / "search")
    assert (end.outcome, end.exit_code, end.left_behind) == ("found", 5, "process 4711")


def test_every_field_of_an_answer_is_documented() -> None:
    page = (ROOT / "docs" / "bisect.md").read_text().partition("## For programs")[2]
    columns = " ".join(line.split("|")[1] for line in page.splitlines() if line.startswith("|"))
    named = set(columns.replace("`", " ").replace(",", " ").replace("asked.", "").split())
    assert {*Conclusion.__struct_fields__, *report.Asked.__struct_fields__} <= named


# --- going on ---------------------------------------------------------------------------------------------------------


def test_a_search_that_was_interrupted_goes_on(tmp_path: Path) -> None:
    """No answer is asked for twice, and what was cut short is asked for again, beside its torn record."""
    wanted, directory = among("1.7.0", "1.13.0"), tmp_path / "search"
    whole = Rehearser(tmp_path / "whole")
    expected = found(wanted, whole, tmp_path / "other")
    first = Rehearser(tmp_path, **{whole.asked[2].replace(".", "_"): KeyboardInterrupt()})
    with pytest.raises(KeyboardInterrupt):
        found(wanted, first, directory)
    (directory / whole.asked[2]).mkdir()
    told = list[str]()
    second = Rehearser(tmp_path)
    end = found(wanted, second, directory, told)

    assert second.asked == whole.asked[2:]
    assert told[0].startswith("3 answers are here from before: ")  # the source among them
    assert (end.outcome, end.first_bad, end.upgrades) == (expected.outcome, expected.first_bad, expected.upgrades)
    assert [one.record for one in end.asked if one.value == whole.asked[2]] == [f"{whole.asked[2]}-2"]
    third = Rehearser(tmp_path)
    assert found(wanted, third, directory) == end
    assert third.asked == []


def test_a_directory_with_another_search_is_left_alone(tmp_path: Path) -> None:
    directory = tmp_path / "search"
    found(among("1.7.0", "1.11.0", "1.9.2"), Rehearser(tmp_path), directory)
    before = (directory / bisect.STATE_FILE).read_bytes()
    for other in (among("1.7.0", "1.11.0", "1.9.3"), among("1.7.0", "1.11.0", "1.9.2", CALM)):
        with pytest.raises(OtherSearch, match="name another --run-dir"):
            found(other, Rehearser(tmp_path), directory)
    (directory / bisect.STATE_FILE).write_bytes(before[:-20])
    with pytest.raises(OtherSearch, match="cannot be read"):
        found(among("1.7.0", "1.11.0", "1.9.2"), Rehearser(tmp_path), directory)


def test_two_cannot_search_in_one_directory(tmp_path: Path) -> None:
    wanted, directory, seen = among("1.7.0", "1.11.0", "1.9.2"), tmp_path / "search", list[str]()

    def second(done: Rehearsed) -> Rehearsed:
        with pytest.raises(OtherSearch, match="somebody searches in"):
            found(wanted, Rehearser(tmp_path), directory)
        seen.append("refused")
        return done

    assert found(wanted, Rehearser(tmp_path, **{"1_9_2": second}), directory).outcome == "found"
    assert seen == ["refused"]


def test_an_answer_of_another_binary_is_asked_for_again(tmp_path: Path) -> None:
    wanted, directory = among("1.7.0", "1.11.0", "1.9.2"), tmp_path / "search"
    found(wanted, Rehearser(tmp_path), directory)
    state = json.loads((directory / bisect.STATE_FILE).read_bytes())
    for one in state["asked"]:
        one["made_of"] = {f"vault-{one['value']}": "ab"}
    (directory / bisect.STATE_FILE).write_text(json.dumps(state))
    again = Rehearser(tmp_path)
    bisect.run(wanted, again, directory, "paper", lambda _: None, {"vault-1.9.2": "cd", "vault-1.11.0": "ab"})
    assert again.asked == ["1.9.2"]


# --- what cannot be searched ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--good", "1.13.0", "--bad", "1.7.0"), "1.13.0 is newer than 1.7.0: --good is the older one"),
        (("--good", "1.9.3", "--bad", "1.9.3"), "1.9.3 cannot be both good and bad"),
        (("--good", "1.7.99", "--bad", "1.11.0"), "between 1.7.99 and 1.11.0: Vault 1.7.99 is none of the releases"),
        (("--good", "1.7.0", "--bad", "1.11.0", "--axis", "vault.tarjet"), "vault.tarjet is no field"),
        (("--good", "local", "--bad", "paper", "--axis", "driver"), "drivers have no order"),
        (
            ("--good", "raft", "--bad", "file", "--axis", "vault.storage"),
            "nobody knows what lies between raft and file",
        ),
        (("--good", "5", "--bad", "3", "--axis", "vault.shares"), "5 is newer than 3"),
        (("--good", "1.7..1.8", "--bad", "1.11.0"), "1.7..1.8 is 2 values of vault.target"),
        (("--good", "1.7.0"), "name both"),
        (("--as-test", "--good", "1.7.0"), "--as-test rehearses once"),
    ],
)
def test_what_is_no_search_is_a_sentence_and_a_2(words: Sequence[str], said: str) -> None:
    done = tool("bisect", OUTAGE, "--driver", "paper", *words)
    as_test = "--as-test" in words
    assert code(done) == (130 if as_test else 2)
    assert said in done.stderr + str(getattr(done.exception, "message", ""))


@pytest.mark.parametrize("which", ["here", "cached", "all"])
def test_an_end_that_nobody_knows_is_refused_by_its_name(
    which: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With what is known and what can be done, and without the range that a search makes of its ends."""
    monkeypatch.setenv("REHEARSE_STATE", str(tmp_path / "state"))
    words = ("bisect", OUTAGE, "--driver", "paper", "--good", "1.7.0")
    done = tool(*words, "--bad", "9.9.9", "--among", which)
    assert code(done) == 2
    assert "between 1.7.0 and 9.9.9: Vault 9.9.9 is none of the releases that are known" in done.stderr
    assert f"the newest is {list(releases.shipped('vault').released)[-1]}. " in done.stderr
    assert done.stderr.endswith("Name a --bad that is known, or all that is searched: --among A,B,C\n")
    assert ".." not in done.stderr
    # no scenario can name what was never released: a list of values would not help
    assert tool(*words, "--bad", "1.9.99", "--among", which).stderr.endswith("Name a --bad that is known\n")
    listed = tool(*words, "--bad", "9.9.9", "--among", "1.9.2,1.9.3")
    assert "the first bad vault.target is 1.9.3" in " ".join(listed.stdout.split())


def test_ends_between_which_nothing_can_be_had_are_searched_alone() -> None:
    """Whether they can be had themselves, each rehearsal says."""
    wanted = bisect.search(loading.load(OUTAGE), "vault.target", ("1.9.2", "1.11.0"), "here", here=lambda *_: False)
    assert [one.value for one in wanted.variants] == ["1.9.2", "1.11.0"]


def test_any_field_with_an_order_can_be_searched(tmp_path: Path) -> None:
    """Versions of Kubernetes, numbers, and lists that somebody gives in their order."""
    kubernetes = among("1.30.0", "1.32.0", "all", axis="clusters.apps.kubernetes")
    assert [one.value for one in kubernetes.variants][:2] == ["1.30.0", "1.30.1"]
    assert kubernetes.variants[-1].value == "1.32.0"
    shares = among("3", "6", axis="vault.shares")
    assert [one.value for one in shares.variants] == ["3", "4", "5", "6"]
    listed = among("file", "raft", "file,raft", axis="vault.storage")
    assert [one.value for one in listed.variants] == ["file", "raft"]
    by = among("1.4.0", "1.11.0", "1.5.0,1.7.0", axis="auth.kubernetes.configured.by")
    assert [one.value for one in by.variants] == ["1.4.0", "1.5.0", "1.7.0", "1.11.0"]


def test_what_is_cached_or_brought_is_here() -> None:
    """The ends always are; what lies between them is what can be had."""
    wanted = bisect.search(
        loading.load(OUTAGE), "vault.target", ("1.7.0", "1.11.0"), "here", here=lambda _, version: version == "1.9.1"
    )
    assert [one.value for one in wanted.variants] == ["1.7.0", "1.9.1", "1.11.0"]


# --- the command ------------------------------------------------------------------------------------------------------


def test_the_command_says_the_answer_and_ends_with_0(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REHEARSE_STATE", str(tmp_path / "state"))
    words = ("bisect", OUTAGE, "--driver", "paper", "--good", "1.7.0", "--bad", "1.13.0")
    done = tool(*words)
    assert code(done) == 0, done.stderr
    assert "the first bad vault.target is 1.9.3; 1.9.2 is good" in " ".join(done.stdout.split())
    (directory,) = (tmp_path / "state" / "runs").iterdir()
    assert str(directory) in done.stdout
    again = tool(*words, "--run-dir", directory, "-o", "json", "-q")
    assert json.loads(again.stdout)["first_bad"] == "1.9.3"
    assert again.stderr == ""


@pytest.mark.parametrize(
    ("change", "words", "wanted"),
    [
        (("", ""), (), 0),  # expected, and it came
        (("expect:", "policies: {}\n#expect:"), (), 1),
        (("target: 1.11.0", "target: 1.6.0"), (), 125),
        (("", ""), ("--driver", "kind"), 125),
        (("", ""), ("--no-such-option",), 130),
    ],
)
def test_as_a_test_it_ends_as_git_bisect_wants(
    change: tuple[str, str], words: Sequence[str], wanted: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What says nothing of the scenario is never a 1, and never another code that git takes for "bad"."""
    monkeypatch.setenv("REHEARSE_STATE", str(tmp_path / "state"))
    scenario = tmp_path / "one.yaml"
    text = OUTAGE.read_text().replace(*change) if change[0] else OUTAGE.read_text()
    scenario.write_text(text.partition("#expect:")[0] if "#expect:" in text else text)
    done = tool("bisect", scenario, "--as-test", "--driver", "paper", *words)
    assert code(done) == wanted, done.stderr


@pytest.mark.parametrize(
    ("raised", "wanted"),
    [
        (MissingPrerequisite("no namespaces"), 125),
        (OSError(28, "no space"), 125),
        (LeftBehind("process 1"), 133),
        (RuntimeError("a fault"), 131),
        (KeyboardInterrupt(), 130),
    ],
)
def test_as_a_test_a_fault_is_no_bad(
    raised: BaseException, wanted: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from harness.session import one_rehearsal

    def refuse(*_: Any, **__: Any) -> None:
        raise raised

    monkeypatch.setattr(one_rehearsal, "rehearse_one", refuse)
    done = tool("bisect", OUTAGE, "--as-test", "--driver", "paper", "--run-dir", tmp_path / "run")
    assert code(done) == wanted


# --- what is known ----------------------------------------------------------------------------------------------------


def test_every_vault_has_the_plugin_that_it_shipped_with() -> None:
    assert [plugin_versions.built_into(each) for each in ("1.4.0", "1.9.2", "1.9.3", "1.9.10", "1.21.2", "2.0.1")] == [
        "0.6.0", "0.11.3", "0.11.4", "0.11.7", "0.23.1", "0.24.1",
    ]  # fmt: skip
    assert plugin_versions.built_into("1.3.0") == ""
    known = [plugin_versions.built_into(each) for each in releases.shipped("vault").released if each >= "1.4"]
    assert all(known)


# --- real servers -----------------------------------------------------------------------------------------------------


@pytest.mark.real
def test_a_bisection_of_the_outage_finds_1_9_3_by_itself(tmp_path: Path) -> None:
    """Over every version that is cached: real servers, few upgrades, and nothing is left."""
    at_hand = [each for each in vaults_at_hand() if releases.within("1.7.0..1.13.0", each)]
    newest = at_hand[-1]
    words = ["bisect", str(OUTAGE), "--good", "1.7.0", "--bad", newest, "--among", "cached", "-o", "json"]
    environment = {**os.environ, "REHEARSE_STATE": str(tmp_path / "state"), "TMPDIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "harness", *words],
        capture_output=True, text=True, check=False, cwd=ROOT, env=environment, timeout=1200,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "and still: cluster" not in done.stderr, "phases of a rehearsal are told with -v alone"
    end = msgspec.json.decode(done.stdout, type=Conclusion)
    assert (end.outcome, end.last_good, end.first_bad) == ("found", "1.9.2", "1.9.3")
    assert end.values == tuple(at_hand)
    assert end.upgrades <= math.ceil(math.log2(len(at_hand))) + 2
    assert end.finding is not None
    assert (end.finding.rule, end.finding.confidence) == ("reviewer-fallback-local", "strong")
    assert end.plugins == ("0.11.3", "0.11.4")
    for one in end.asked:
        assert one.rehearsals == 0 or one.made_of[f"vault-{one.value}"]
    records = [journal.load(Path(end.directory) / one.record) for one in end.asked if one.record]
    begun = [told.made_by for record in records for told in record.of(events.SourceState)]
    assert len(begun) == end.upgrades - 1, "all but the first begin from what that one has made"
    assert set(begun) <= {record.started.run_id for record in records}
    assert not list(tmp_path.glob("rehearse-*"))


@pytest.mark.real
def test_a_real_bisection_that_is_killed_goes_on(tmp_path: Path) -> None:
    """Interrupted in its second upgrade: everything ends, and the same command with its directory goes on."""
    words = [
        str(OUTAGE),
        "--good",
        "1.7.0",
        "--bad",
        "1.11.0",
        "--among",
        "1.9.2,1.9.3",
        "--run-dir",
        str(tmp_path / "s"),
    ]
    environment = {**os.environ, "REHEARSE_STATE": str(tmp_path / "state"), "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-m", "harness", "bisect", *words]
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment
    ) as one:
        assert one.stderr is not None
        assert any("vault.target=1.11.0: bad" in line for line in one.stderr)
        one.send_signal(signal.SIGTERM)
        said = one.stderr.read()
    assert one.returncode == 130
    assert f"The same command with --run-dir {tmp_path / 's'} goes on" in said
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, env=environment, timeout=600)
    assert done.returncode == 0, done.stderr
    assert "answers are here from before" in done.stderr
    assert "the first bad vault.target is 1.9.3; 1.9.2 is good" in " ".join(done.stdout.split())
