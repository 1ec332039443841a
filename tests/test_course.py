"""A course is a list of steps: what is refused before anything starts, what is planned, and what becomes of each."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from harness.analysis import rollback, startup_failures
from harness.analysis.record_view import Facts
from harness.analysis.verdict import Judgement
from harness.drivers.paper.driver import PaperDriver, PaperRig
from harness.errors import ScenarioError
from harness.record.events import StepEnded, Trouble
from harness.record.journal import Journal, Record
from harness.record.observation import Observation
from harness.rehearsal import rehearsal
from harness.reports import markdown, text
from harness.rig.rig import Reopen
from harness.scenario import course, loading, plan
from harness.scenario.course import RollBack, Serve
from harness.scenario.schema import Scenario
from tests.runs import SCENARIOS, on_paper, started

NO_VAULT, NO_NODE = "there is no Vault other", "there is no node vault-1 of Vault vault"
ROLE = {"service-accounts": ["web"], "namespaces": ["apps"], "policies": ["web"]}
DOCUMENT: Mapping[str, Any] = {
    "schema": 1,
    "description": "A course.",
    "clusters": {"platform": {"kubernetes": "1.32.0"}, "apps": {"kubernetes": "1.32.0"}},
    "vault": {"cluster": "platform", "source": "1.7.0"},
    "auth": {
        "kubernetes": {
            "cluster": "apps",
            "configured": {"by": "1.7.0", "with-token-file": False},
            "roles": {"web": ROLE},
        }
    },
    "apps": {
        "web": {
            "cluster": "apps",
            "service-account": "apps/web",
            "role": "web",
            "may-review-tokens": True,
            "reads": ["secret/web"],
        }
    },
}
WEB = {"cluster": "apps", "service-account": "apps/web"}
REMEDY = {"write": {"config": {"issuer": "cluster", "disable_local_ca_jwt": True}}}


def scenario_of(*steps: dict[str, Any], **parts: Any) -> Scenario:
    return loading.loads(json.dumps({**DOCUMENT, "course": list(steps), **parts})).scenario


def problems_of(*steps: dict[str, Any], **parts: Any) -> list[str]:
    with pytest.raises(ScenarioError) as caught:
        scenario_of(*steps, **parts)
    return [problem.message for problem in caught.value.problems]


def run(directory: Path, *steps: dict[str, Any], **parts: Any) -> Judgement:
    return on_paper(scenario_of(*steps, **parts), directory)[1]


def logins(judgement: Judgement) -> list[tuple[str, int | None, str]]:
    return [(row.moment, row.status, row.reviewer) for row in judgement.reviewing]


# --- what cannot be ---


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ([{}], "step 1 has no verb"),
        ([{"upgrade": "1.9.2", "restart": {}}], "step 1 has several verbs: upgrade, restart"),
        ([{"upgrade": "1.6.0"}], "Vault 1.6.0 is older than 1.7.0, from which it is reached"),
        ([{"upgrade": "1.7.0"}], "Vault 1.7.0 serves already"),
        ([{"roll-back": "binary"}], "nothing was upgraded before this step"),
        ([{"upgrade": "1.9.2"}, {"roll-back": "binary"}, {"roll-back": "binary"}], "nothing was upgraded before"),
        ([{"upgrade": "1.9.2"}, {"roll-back": "snapshot"}], "no snapshot was taken before this step"),
        ([{"restore": {}}], "no snapshot was taken before this step"),
        ([{"write": {"role": "web", "policies": ["wbe"]}}], "nobody wrote the policy wbe"),
        ([{"grant": {"service-account": "apps/web"}}], "missing key `cluster` in course[0].grant: there are several"),
        ([{"grant": WEB | {"cluster": "app"}}], "there is no cluster app"),
        (
            [{"revoke": WEB | {"service-account": "apps/wob"}}],
            "nobody in cluster apps has the service account apps/wob",
        ),
        ([{"delete-secret": {"reviewer": "kubernetes"}}], "auth/kubernetes has no reviewer out of a Secret"),
        ([{"delete-secret": {"reviewer": "other"}}], "there is no auth mount other"),
        ([{"write": {"mount": "other", "config": {}}}], "there is no auth mount other"),
        ([{"write": {"role": "wob"}}], "auth.kubernetes has no role wob"),
        ([{"write": {"role": "web", "config": {}}}], "a step writes a config or a role, and `config` is of a config"),
        ([{"write": {"policies": ["a"]}}], "`policies` is of a role, and none is named"),
        ([{"replace-pod": "web"}], "course[0].replace-pod is not one of the choices"),
        ([{"restart": {"now": True}}], "unknown key `now` in course[0].restart"),
        ([{"wait": "a while"}], "course[0].wait is not a span of time"),
        ([], "course is empty"),
    ],
)
def test_a_course_that_contradicts_itself_is_refused_before_anything_starts(steps: list[Any], said: str) -> None:
    assert any(said in problem for problem in problems_of(*steps)), problems_of(*steps)


def test_a_field_is_refused_by_the_version_that_serves_at_its_step() -> None:
    """The very same write is fine once a newer version serves."""
    old = {
        "vault": {**DOCUMENT["vault"], "source": "1.4.0"},
        "auth": {"kubernetes": DOCUMENT["auth"]["kubernetes"] | {"configured": {"by": "1.4.0"}}},
    }
    said = problems_of(REMEDY, {"upgrade": "1.7.0"}, **old)
    assert said == ["disable_local_ca_jwt is unknown to Vault 1.4.0, which serves at this step"]
    assert scenario_of({"upgrade": "1.7.0"}, REMEDY, **old).course is not None
    back = problems_of({"upgrade": "1.7.0"}, {"roll-back": "binary"}, REMEDY, **old)
    assert back == said


BATCH: dict[str, Any] = {"write": {"role": "web", "token-type": "batch"}}
PERIOD: dict[str, Any] = {"write": {"role": "web", "period": "1h"}}
USES: dict[str, Any] = {"write": {"role": "web", "num-uses": 2}}
POLICIES: dict[str, Any] = {"write": {"role": "web", "policies": ["web"]}}
NO_USES: dict[str, Any] = {"write": {"role": "web", "num-uses": 0, "token-type": "batch"}}


@pytest.mark.parametrize(
    ("source", "steps", "said"),
    [
        ("1.7.0", [BATCH, PERIOD], "Vault refuses a period for batch tokens, which cannot be renewed"),
        ("1.7.0", [PERIOD, BATCH], "Vault refuses a period for batch tokens, which cannot be renewed"),
        ("1.7.0", [{"snapshot": {}}, BATCH, {"restore": {}}, PERIOD], ""),
        ("1.7.0", [BATCH, {"snapshot": {}}, {"restore": {}}, PERIOD], "Vault refuses a period for batch tokens"),
        ("1.8.0", [BATCH, USES], "Vault 1.8.0 refuses batch tokens with a number of uses"),
        ("1.8.0", [USES, BATCH], "Vault 1.8.0 refuses batch tokens with a number of uses"),
        ("1.8.0", [USES, NO_USES], ""),
        # before 1.8.0 it is the number of before the write that counts. Run: bare 1.4.0, 1.7.0 and 1.8.0
        ("1.7.0", [BATCH, USES], ""),
        ("1.7.0", [BATCH, USES, POLICIES], "Vault 1.7.0 refuses batch tokens with a number of uses"),
        ("1.7.0", [USES, NO_USES], "Vault 1.7.0 refuses batch tokens with a number of uses"),
    ],
)
def test_what_a_write_leaves_out_is_held_against_what_it_says(source: str, steps: list[Any], said: str) -> None:
    old = {
        "vault": {**DOCUMENT["vault"], "source": source},
        "auth": {"kubernetes": DOCUMENT["auth"]["kubernetes"] | {"configured": {"by": "1.7.0"}}},
    }
    problems = problems_of(*steps, **old) if said else []
    assert any(said in problem for problem in problems) is bool(said), problems
    assert said or scenario_of(*steps, **old).course is not None


def test_a_pod_is_only_replaced_where_vault_has_one() -> None:
    outside = {"source": "1.7.0"}
    assert problems_of({"replace-pod": "vault"}, vault=outside) == ["a Vault outside any cluster has no Pod"]
    assert scenario_of({"restart": {}}, vault=outside).course is not None


def test_a_course_and_a_target_exclude_each_other_and_one_of_them_must_be() -> None:
    both = problems_of({"upgrade": "1.9.2"}, vault={**DOCUMENT["vault"], "target": "1.11.0"})
    assert both == ["`target` and `course` exclude each other: a course names every version itself"]
    with pytest.raises(ScenarioError, match="missing key `target` in vault"):
        loading.loads(json.dumps(DOCUMENT))


def test_a_problem_of_a_course_has_its_line() -> None:
    text = json.dumps(DOCUMENT)[:-1] + ',\n"course": [\n{"upgrade": "1.9.2"},\n{"restore": {}}]}'
    with pytest.raises(ScenarioError) as caught:
        loading.loads(text)
    (problem,) = caught.value.problems
    assert problem.line == 4


@pytest.mark.parametrize(
    ("expected", "said"),
    [({"at-step": 3}, "there is no step 3: the course has 2"), ({"at": "1.13.0"}, "Vault 1.13.0 is not among")],
)
def test_an_expectation_names_a_step_and_a_version_of_the_course(expected: dict[str, Any], said: str) -> None:
    expect = [{"change": "login refused", "app": "web"} | expected]
    assert any(said in problem for problem in problems_of({"upgrade": "1.9.2"}, {"restart": {}}, expect=expect))


# --- what is planned ---


def test_every_change_is_followed_by_a_look_unless_told_otherwise() -> None:
    made = plan.make(
        scenario_of(
            {"snapshot": {}},
            {"upgrade": "1.9.2", "then-look": False},
            {"restart": {}},
            {"upgrade": "1.11.0"},
            {"roll-back": "binary"},
            {"upgrade": "1.11.0"},
            {"wait": "5s"},
            {"look": {}},
        ),
        "it",
        "paper",
    )
    assert [(moment.number, moment.label, moment.version, moment.step) for moment in made.moments] == [
        (0, "before", "1.7.0", 0),
        (1, "after restart", "1.9.2", 3),
        (2, "after 1.11.0", "1.11.0", 4),
        (3, "after roll-back (binary)", "1.7.0", 5),
        (4, "after 1.11.0 (step 6)", "1.11.0", 6),
        (5, "look", "1.11.0", 8),
    ]
    assert [course.word_of(step) for step in made.steps if step.number] == [
        *("snapshot", "upgrade", "restart", "look", "upgrade", "look", "roll-back", "look", "upgrade", "look"),
        *("wait", "look"),
    ]


def test_a_roll_back_over_a_snapshot_goes_to_the_version_of_the_snapshot() -> None:
    steps: list[dict[str, Any]] = [
        {"upgrade": "1.9.2"},
        {"snapshot": {}},
        {"upgrade": "1.11.0"},
        {"roll-back": "snapshot"},
    ]
    made = plan.make(scenario_of(*steps), "it", "paper")
    assert made.moments[-1].version == "1.9.2"


# --- what becomes of it ---


def test_a_config_that_is_written_later_explains_nothing_before(tmp_path: Path) -> None:
    """The login is refused for want of the field, and granted once it is written: each by the config of its moment."""
    judgement = run(tmp_path, {"upgrade": "1.11.0"}, REMEDY)
    assert logins(judgement) == [
        ("before", 200, "client"),
        ("after 1.11.0", 403, "nobody"),
        ("after write to kubernetes", 200, "client"),
    ]
    assert [(one.rule, one.kind, one.moment, one.step) for one in judgement.findings if one.probe == "login"] == [
        ("reviewer-fallback-local", "regression", "after 1.11.0", 1),
        ("changed-by-step", "improvement", "after write to kubernetes", 2),
    ]
    assert [row.should_present for row in judgement.reviewing] == ["client", "local", "client"]


def test_a_remedy_that_is_written_in_time_keeps_everybody_logged_in(tmp_path: Path) -> None:
    judgement = run(tmp_path, REMEDY, {"upgrade": "1.11.0"}, {"restart": {}})
    assert (judgement.verdict, {status for _, status, _ in logins(judgement)}) == ("pass", {200})


def test_the_same_version_is_visited_twice_and_judged_twice(tmp_path: Path) -> None:
    judgement = run(tmp_path, {"upgrade": "1.11.0"}, {"roll-back": "binary"}, {"upgrade": "1.11.0"})
    assert [(moment, status) for moment, status, _ in logins(judgement)] == [
        ("before", 200),
        ("after 1.11.0", 403),
        ("after roll-back (binary)", 200),
        ("after 1.11.0 (step 3)", 403),
    ]
    found = [(one.kind, one.step) for one in judgement.findings if one.probe == "login"]
    assert sorted(found) == [("improvement", 2), ("regression", 1), ("regression", 3)]


def test_a_right_that_is_revoked_is_named_and_granted_again(tmp_path: Path) -> None:
    judgement = run(tmp_path, {"revoke": WEB}, {"grant": WEB}, {"grant": WEB})
    assert [status for _, status, _ in logins(judgement)] == [200, 403, 200, 200]
    (refused,) = [one for one in judgement.findings if one.kind == "regression"]
    assert (refused.rule, refused.step) == ("reviewer-lacks-tokenreview-rbac", 1)


def test_a_reviewers_secret_that_is_deleted_is_named(tmp_path: Path) -> None:
    auth = {"kubernetes": DOCUMENT["auth"]["kubernetes"] | {"reviewer": "long-lived"}}
    judgement = run(tmp_path, {"delete-secret": {"reviewer": "kubernetes"}}, {"upgrade": "1.11.0"}, auth=auth)
    assert [status for _, status, _ in logins(judgement)] == [200, 403, 403]
    (refused,) = [one for one in judgement.findings if one.kind == "regression"]
    assert (refused.rule, refused.step) == ("stored-reviewer-refused", 1)


def test_a_snapshot_brings_back_the_config_of_its_time(tmp_path: Path) -> None:
    """What was written after it is lost, tokens as well."""
    judgement = run(
        tmp_path, {"snapshot": {}}, REMEDY, {"upgrade": "1.11.0"}, {"roll-back": "snapshot"}, {"restore": {}}
    )
    told = {(one.probe, one.moment): one for one in judgement.observations}
    assert told["auth-config", "after 1.11.0"].detail["disable_local_ca_jwt"] is True
    assert "disable_local_ca_jwt" not in told["auth-config", "after roll-back (snapshot)"].detail
    assert told["login", "after roll-back (snapshot)"].version == "1.7.0"


def test_an_expectation_may_name_its_step(tmp_path: Path) -> None:
    expect = [
        {"change": "login refused", "app": "web", "at-step": 1, "cause": "reviewer-fallback-local"},
        {"change": "login granted", "app": "web", "at-step": 2},
    ]
    judgement = run(tmp_path / "a", {"upgrade": "1.11.0"}, REMEDY, expect=expect)
    assert (judgement.as_expected, judgement.exit_code) == (True, 0)
    wrong = [expect[0] | {"at-step": 2}, expect[1]]
    judgement = run(tmp_path / "b", {"upgrade": "1.11.0"}, REMEDY, expect=wrong)
    assert judgement.exit_code == 1
    assert judgement.missed == ("change: login refused, app: web, at-step: 2, cause: reviewer-fallback-local",)


# --- going back ---

OUTAGE = SCENARIOS / "the-outage-apps-in-another-cluster-are-refused-after-the-upgrade.yaml"


def test_a_way_back_says_who_logs_in_and_what_is_lost(tmp_path: Path) -> None:
    """Over the data as they are nothing but a token in a format that is too new; over the snapshot, all of it."""
    back = [{"roll-back": "binary"}, {"roll-back": "snapshot"}]
    judgement = run(tmp_path, {"snapshot": {}}, REMEDY, {"upgrade": "1.11.0"}, *back)
    binary, snapshot = judgement.rollbacks
    late = ("a secret (secret/data/rehearsal-late)", "a role of auth/kubernetes (rehearsal-late)")
    token = "the token that web got after the upgrade"
    assert (binary.over, binary.from_version, binary.to_version, binary.step) == ("binary", "1.11.0", "1.7.0", 4)
    assert (binary.opened, binary.granted, binary.refused) == (True, ("web",), ())
    assert (binary.lost, binary.kept) == ((token,), late)
    assert (snapshot.lost, snapshot.kept) == ((*late, token), ())
    assert [change.field for change in binary.differs if change.probe == "auth-config"] == ["disable_local_ca_jwt"]
    assert [change for change in snapshot.differs if change.probe == "auth-config"] == []
    assert not any(finding.probe.startswith("late-") for finding in judgement.findings)


def test_each_way_back_has_its_own_time_and_its_own_trouble(tmp_path: Path) -> None:
    """They are told by the step's place in the plan: of one that has none on record, another's is not taken."""
    back = [{"roll-back": "binary"}, {"upgrade": "1.11.0"}, {"roll-back": "binary"}]
    record, _ = on_paper(scenario_of({"upgrade": "1.11.0"}, *back), tmp_path)
    ways = [one for one in record.of(StepEnded) if one.do == "roll-back"]
    steps = record.started.plan.steps
    assert [steps[way.position] for way in ways] == [step for step in steps if isinstance(step, RollBack)]
    kept = [msgspec.structs.replace(one, seconds=7.0) if one is ways[1] else one for one in record.events]
    first, second = rollback.rollbacks(Facts(Record([one for one in kept if one is not ways[0]], record.directory)))
    assert (first.seconds, second.seconds) == (None, 7.0)
    broke = Trouble(kind="refused", during="it", step="roll-back", position=ways[1].position, message="no")
    cut = [one for one in record.events if one not in (ways[0], ways[1]) and not isinstance(one, Observation)]
    told = rollback.rollbacks(Facts(Record([*cut, broke], record.directory)))
    assert [(way.opened, way.why) for way in told] == [(False, "the run did not get there"), (False, "no")]


def test_what_was_done_of_a_way_back_beforehand_belongs_to_its_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is said on record beside the time that was waited for, and once for each snapshot, before that is taken."""
    told: list[str] = []

    def back(self: PaperRig, served: Serve) -> float:
        self.swap(served)
        return 7.5

    def take(self: PaperRig, again: Reopen) -> int:
        told.append("snapshot")
        return usual(self, again)

    usual = PaperRig.take_snapshot
    monkeypatch.setattr(PaperRig, "expect_way_back", lambda _self, served: told.append(served.version))
    monkeypatch.setattr(PaperRig, "take_snapshot", take)
    monkeypatch.setattr(PaperRig, "swap_over_snapshot", back)
    steps: list[dict[str, Any]] = [{"snapshot": {}}, {"upgrade": "1.11.0"}]
    steps += [{"roll-back": "binary"}, {"roll-back": "snapshot"}]
    record, judgement = on_paper(scenario_of(*steps), tmp_path)
    assert told[-1] == "snapshot"
    assert set(told[:-1]) == {"1.7.0"}, "from the first start on, and before it is too late"
    *others, over_binary, over_snapshot = record.of(StepEnded)
    assert {one.beforehand for one in (*others, over_binary)} == {0.0}
    binary, snapshot = judgement.rollbacks
    assert (binary.seconds, snapshot.seconds) == (over_binary.seconds, over_snapshot.seconds + 7.5)


@pytest.mark.parametrize(
    ("words", "there"),
    [
        pytest.param("snapshot upgrade back-snapshot", True, id="it is taken, and gone back to"),
        pytest.param("upgrade snapshot upgrade back-binary back-snapshot", True, id="other steps come between"),
        pytest.param("snapshot upgrade back-binary", False, id="nobody goes back over it"),
        pytest.param("snapshot upgrade snapshot back-snapshot", False, id="another is taken first"),
        pytest.param("back-snapshot upgrade snapshot", False, id="the way back is over one before"),
        pytest.param("back-snapshot snapshot back-snapshot", True, id="there is one way back for each"),
        pytest.param("other:snapshot back-snapshot", False, id="it is taken of another Vault"),
    ],
)
def test_the_way_back_over_the_next_snapshot_is_found(words: str, there: bool) -> None:
    made: list[course.AnyStep] = []
    for word in words.split():
        vault, _, kind = word.rpartition(":")
        if kind.startswith("back"):
            back = RollBack(version="1.7.0", token_file=True, over="binary", vault=vault)
            made.append(msgspec.structs.replace(back, over=kind.removeprefix("back-")))
        else:
            made.append(
                course.Snapshot(vault=vault)
                if kind == "snapshot"
                else course.Upgrade(version="1.11.0", token_file=True, vault=vault)
            )
    found = course.way_back_over_next_snapshot(made, "")
    assert found is (made[-1] if there else None)


def test_a_config_of_a_newer_vault_has_another_reviewer_on_the_way_back(tmp_path: Path) -> None:
    """In one cluster 1.11.0 reads its pod's token, stores nothing, and 1.9.2 then presents the token that logs in."""
    one = {
        "clusters": {"apps": {"kubernetes": "1.32.0"}},
        "vault": {"cluster": "apps", "source": "1.9.2"},
        "auth": {"kubernetes": {"cluster": "apps", "roles": {"web": ROLE}}},
        "apps": {"web": DOCUMENT["apps"]["web"] | {"may-review-tokens": False}},
    }
    write = {"write": {"config": {"issuer": "cluster"}}}
    judgement = run(tmp_path, {"upgrade": "1.11.0"}, write, {"roll-back": "binary"}, **one)
    (refused,) = [finding for finding in judgement.findings if finding.step == 3 and finding.probe == "login"]
    assert (refused.rule, refused.kind, refused.effect) == ("reviewer-fallback-client", "regression", "login refused")
    assert refused.remedies


def test_any_scenario_goes_back_when_it_is_told_to(tmp_path: Path) -> None:
    """The same expectations hold: what a way back mends is no news, and that it refuses somebody would be."""
    scenario = loading.load(OUTAGE).scenario
    start = msgspec.structs.replace(started(scenario), plan=plan.make(scenario, "it", "paper", rollback=True))
    with Journal.opened(tmp_path / "run") as journal:
        judgement = rehearsal.rehearse(start, PaperDriver(), journal).judgement
    assert (judgement.as_expected, judgement.exit_code) == (True, 0)
    assert [(one.over, one.opened, one.granted, bool(one.lost)) for one in judgement.rollbacks] == [
        ("binary", True, ("web",), False),
        ("snapshot", True, ("web",), True),
    ]
    assert (judgement.versions.source, judgement.versions.target) == ("1.7.0", "1.11.0")
    for page in (text.render(judgement), markdown.render(judgement)):
        assert "Going back" in page
        assert "Vault 1.7.0 over the snapshot of before: serves" in page


def test_a_version_that_does_not_open_newer_data_is_no_way_back(tmp_path: Path) -> None:
    """Its own words are the evidence, and nobody calls it a fault of the upgrade."""
    record, _ = on_paper(scenario_of({"upgrade": "1.11.0"}, {"roll-back": "binary"}), tmp_path, dies_at="1.11.0")
    (trouble,) = record.of(Trouble)
    back = msgspec.structs.replace(trouble, step="roll-back", after_swap="1.7.0", log=("Error initializing storage",))
    (found,) = startup_failures.findings(Facts(Record((record.started, back), record.directory)))
    assert (found.effect, found.rule) == ("roll-back refused", "vault-refuses-data")
    assert "take a snapshot before the upgrade" in found.remedy


def test_a_policy_that_only_a_later_role_names_is_there_for_it(tmp_path: Path) -> None:
    """What the scenario writes for it is in Vault before anybody logs in with it."""
    texts = {"web": 'path "secret/web" { policy = "read" }', "wide": 'path "secret/data/*" { policy = "read" }'}
    judgement = run(tmp_path, {"write": {"role": "web", "policies": ["wide"]}}, policies=texts)
    reads = [(seen.moment, seen.answer) for seen in judgement.observations if seen.probe == "read"]
    assert [answer for _, answer in reads] == ["refused", "granted"]


@pytest.mark.parametrize(
    ("steps", "when"),
    [
        ([{"restart": {}}], "before Vault is restarted"),
        ([{"upgrade": "1.9.2"}], "before the upgrade, on Vault 1.8.0"),
        (
            [{"revoke": {"service-account": "vault/vault"}}],
            "right after the revoke, on Vault 1.9.3 (until then every login is refused)",
        ),
    ],
)
def test_a_remedy_names_the_step_that_it_has_to_come_before(
    steps: list[dict[str, Any]], when: str, tmp_path: Path
) -> None:
    """A step that is no upgrade is not called one."""
    source = "1.9.3" if "revoke" in when else "1.8.0"
    mount = {"cluster": "platform", "roles": {"web": ROLE}}
    app = DOCUMENT["apps"]["web"] | {"cluster": "platform"}
    parts = {
        "clusters": {"platform": {"kubernetes": "1.32.0"}},
        "vault": {"cluster": "platform", "source": source},
        "auth": {"kubernetes": mount},
        "apps": {"web": app},
    }
    (finding,) = [one for one in run(tmp_path, *steps, **parts).findings if one.probe == "login"]
    assert finding.effect == "login refused"
    assert finding.remedies[0].when == when
    assert ("upgrade" in finding.remedy) == ("upgrade" in when)


def test_a_remedy_that_only_a_later_version_knows_is_for_the_hop_to_it(tmp_path: Path) -> None:
    """And whoever starts after what broke it is refused, whatever the version."""
    parts = {
        "vault": {"cluster": "apps", "source": "1.8.0"},
        "auth": {"kubernetes": {"cluster": "apps", "roles": {"web": ROLE}}},
    }
    judgement = run(tmp_path, {"replace-pod": "vault"}, {"upgrade": "1.9.3"}, **parts)
    (finding,) = [one for one in judgement.findings if one.effect == "login refused"]
    assert finding.rule == "reviewer-frozen"
    assert [one.when for one in finding.remedies] == [
        "before Vault is restarted",
        "right after the hop to Vault 1.9.3 (until then every login is refused)",
    ]
    assert finding.outlook is not None
    assert "their token from before the restart still works" in finding.outlook.sentence
    assert "A Pod that starts after the restart must log in" in finding.outlook.sentence


def test_what_a_write_leaves_out_of_a_role_stays_until_it_is_written_as_empty(tmp_path: Path) -> None:
    """Of the audience and the addresses, as real servers have it: 1.9.3 and 1.11.0."""
    steps = (
        {"write": {"role": "web", "audience": "vault"}},
        {"write": {"role": "web"}},
        {"write": {"role": "web", "audience": "", "bound-cidrs": ["192.0.2.1/32"]}},
        {"write": {"role": "web", "bound-cidrs": []}},
    )
    judgement = run(tmp_path, *steps)
    logins = [seen.answer for seen in judgement.observations if seen.probe == "login"]
    assert logins == ["granted", "refused", "refused", "refused", "granted"]
    causes = [(one.step, one.rule) for one in judgement.findings if one.probe == "login"]
    assert sorted(causes) == [(1, "audience-mismatch"), (3, "address-not-bound"), (4, "changed-by-step")]


def test_a_role_that_a_step_has_written_is_told_as_it_is_then(tmp_path: Path) -> None:
    """What `auth` has of it decides no more."""
    role = {"write": {"role": "web", "audience": "consul", "namespaces": ["apps", "more"]}}
    found = {one.moment: one for one in run(tmp_path / "one", role).findings if one.effect == "login refused"}
    (mismatch,) = found.values()
    assert mismatch.rule == "audience-mismatch"
    assert "demands the audience consul" in mismatch.sentence
    (binding,) = run(tmp_path / "other", {"write": {"role": "web", "namespaces": ["more"]}}).findings
    assert "does not admit apps/web: it is bound to service accounts web in namespaces more" in binding.sentence


@pytest.mark.parametrize(
    ("config", "decides"),
    [
        ({"kubernetes_ca_cert": "platform"}, "auth.kubernetes.config.kubernetes_ca_cert (platform); "),
        ({"kubernetes_host": "proxy-401"}, "auth.kubernetes.config.kubernetes_host (proxy-401). "),
        ({"issuer": "https://old", "disable_iss_validation": False}, "auth.kubernetes.config.issuer (https://old); "),
    ],
)
def test_a_refusal_by_the_config_asks_for_the_field_that_decides(
    config: dict[str, Any], decides: str, tmp_path: Path
) -> None:
    """Whoever reviews has nothing to do with it."""
    mount = {"cluster": "apps", "config": config, "reviewer": "secret", "roles": {"web": ROLE}}
    judgement = run(tmp_path, {"look": {}}, vault={"source": "1.13.0"}, auth={"kubernetes": mount})
    (doubt,) = [one for one in judgement.doubts if one.kind == "unlearned"]
    assert f"mend what decides it here: {decides}" in doubt.text
    assert "reviewer" not in doubt.text


def test_what_a_lost_check_lets_through_is_refused_by_its_own_cause(tmp_path: Path) -> None:
    """A copied reviewer died with its Pod before the issuer was no longer compared: mending one is not enough."""
    config = {"kubernetes_ca_cert": "omit", "disable_iss_validation": False}
    parts = {
        "vault": {"cluster": "apps", "source": "1.9.2"},
        "auth": {"kubernetes": {"cluster": "apps", "config": config, "roles": {"web": ROLE}}},
    }
    judgement = run(tmp_path, {"upgrade": "1.10.0"}, {"upgrade": "1.11.0"}, **parts)
    assert [(one.effect, one.rule) for one in judgement.findings if one.app == "web"] == [
        ("check lost", "issuer-check-lost"),
        ("refused for another reason", "reviewer-frozen"),
        ("refused from the start", "issuer-mismatch"),
    ]


def test_an_issuer_that_locks_out_another_app_is_no_remedy(tmp_path: Path) -> None:
    """A config demands one issuer, and tokens out of Secrets have another one than those of Pods."""
    config = {"issuer": "kubernetes/serviceaccount", "disable_iss_validation": False}
    mount = {**DOCUMENT["auth"]["kubernetes"], "config": config, "reviewer": "secret"}
    web = DOCUMENT["apps"]["web"]
    for number, (apps, ways) in enumerate(
        (
            ({"web": web}, 2),
            ({"web": web, "old": web | {"token": "secret"}}, 1),
            ({"old": web | {"token": "secret"}}, 0),
        )
    ):
        judgement = run(tmp_path / str(number), {"look": {}}, auth={"kubernetes": mount}, apps=apps)
        found = [one for one in judgement.findings if one.rule == "issuer-mismatch"]
        assert [len(one.remedies) for one in found] == ([ways] if ways else [])


def test_who_was_one_client_with_whom_is_told(tmp_path: Path) -> None:
    """An alias that was the same for all projected tokens, and an alias that the course has chosen."""
    role = {**ROLE, "service-accounts": ["*"], "alias-name-source": "serviceaccount_name"}
    mount = {"cluster": "apps", "reviewer": "secret", "roles": {"web": role}}
    web = {"cluster": "apps", "role": "web"}
    apps = {name: web | {"service-account": f"apps/{name}"} for name in ("web", "api")}
    parts = {"vault": {"source": "1.9.3"}, "auth": {"kubernetes": mount}, "apps": apps}
    judgement = run(tmp_path / "apart", {"upgrade": "1.10.0"}, **parts)
    said = {one.app: one.sentence for one in judgement.findings if one.effect == "identity changed"}
    assert "Up to then it and api were one entity, and are not any more" in said["web"]
    assert "Up to then it and web were one entity, and are not any more" in said["api"]


@pytest.mark.parametrize("back", [{"restore": {}}, {"roll-back": "snapshot"}], ids=["restore", "roll-back"])
def test_a_snapshot_that_is_put_in_place_is_judged_by_the_config_of_its_time(tmp_path: Path, back: Any) -> None:
    """What was written after it is gone: the remedy does not hold any more, and the old config is to blame."""
    steps = [{"upgrade": "1.11.0"}, {"snapshot": {}}, REMEDY, back, {"restart": {}}]
    if "roll-back" in back:
        # the version of the snapshot is that which serves: two hops, so that there is a way back
        steps = [{"upgrade": "1.9.3"}, {"snapshot": {}}, REMEDY, {"upgrade": "1.11.0"}, back, {"restart": {}}]
    judgement = run(tmp_path, *steps)
    rows = [(row.status, row.should_present) for row in judgement.reviewing]
    assert rows[1:3] == [(403, "local"), (200, "client")]
    assert rows[-2:] == [(403, "local"), (403, "local")]
    last = [one for one in judgement.findings if one.kind == "regression"][-1]
    assert (last.rule, last.probe) == ("reviewer-fallback-local", "login")


# --- which Vault, and which node ---


@pytest.mark.parametrize(
    ("step", "said"),
    [
        ({"upgrade": "1.9.2", "vault": "other"}, NO_VAULT),
        ({"upgrade": "1.9.2", "node": "vault-1"}, NO_NODE),
        ({"restart": {}, "vault": "vault", "node": "vault-1"}, NO_NODE),
        ({"replace-pod": "vault", "node": "vault-1"}, NO_NODE),
        ({"write": {"reviewer": "client-jwt"}, "vault": "other"}, NO_VAULT),
        ({"snapshot": {}, "vault": "other"}, NO_VAULT),
        ({"snapshot": {}, "node": "vault-0"}, "`node` is of no use to snapshot"),
        ({"grant": WEB, "vault": "vault"}, "`vault` is of no use to grant"),
        ({"look": {}, "node": "vault-0"}, "`node` is of no use to look"),
    ],
)
def test_a_step_for_what_is_not_there_is_refused(step: dict[str, Any], said: str) -> None:
    """With its line, with what there is, and before anything starts."""
    with pytest.raises(ScenarioError) as caught:
        scenario_of(step)
    (problem,) = caught.value.problems
    assert said in problem.message
    assert problem.line > 0
    assert "vault" in problem.remedy or "upgrade" in problem.remedy


def test_a_roll_back_over_a_snapshot_is_of_no_single_node() -> None:
    back = {"roll-back": "snapshot", "node": "vault-0"}
    said = problems_of({"snapshot": {}}, {"upgrade": "1.9.2"}, back)
    assert said == ["a snapshot is of a whole Vault, and of no single node"]


def test_a_mount_or_an_app_of_what_is_not_there_is_refused() -> None:
    mount = {**DOCUMENT["auth"]["kubernetes"], "vault": "other"}
    assert problems_of({"restart": {}}, auth={"kubernetes": mount}) == [NO_VAULT]
    assert problems_of({"restart": {}}, apps={"web": {**DOCUMENT["apps"]["web"], "node": "vault-1"}}) == [NO_NODE]
    assert problems_of({"restart": {}}, apps={"web": {**DOCUMENT["apps"]["web"], "vault": "other"}}) == [NO_VAULT]


def test_to_name_the_only_vault_and_its_node_says_nothing_new() -> None:
    """The plan is the same, and so is the record."""
    named = {"vault": "vault", "node": "vault-0"}
    auth = {"kubernetes": {**DOCUMENT["auth"]["kubernetes"], "vault": "vault"}}
    apps = {"web": {**DOCUMENT["apps"]["web"], **named}}
    steps: tuple[dict[str, Any], ...] = ({"upgrade": "1.9.2"}, {"restart": {}}, {"roll-back": "binary"})
    plain = plan.make(scenario_of(*steps), "test", "paper")
    said = plan.make(scenario_of(*({**step, **named} for step in steps), auth=auth, apps=apps), "test", "paper")
    assert (said.steps, said.questions) == (plain.steps, plain.questions)
