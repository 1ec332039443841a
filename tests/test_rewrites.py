"""A mount is written again as it is read: what is refused before anything starts, what is planned, and what is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.analysis.verdict import Judgement
from harness.errors import Unreachable
from harness.knowledge import kubernetes_auth
from harness.record.events import ConfigWritten, Rewritten, RoleWritten
from harness.rehearsal import rewriting
from harness.reports import plan as plans
from harness.rig.rig import Reply
from harness.scenario import loading, plan
from tests.runs import on_paper
from tests.test_course import DOCUMENT, problems_of, scenario_of

REWRITE = {"rewrite": "kubernetes"}


def judged(tmp_path: Path, *steps: dict[str, Any], **parts: Any) -> Judgement:
    _, judgement = on_paper(scenario_of(*steps, **parts), tmp_path)
    return judgement


def mount(**changes: Any) -> dict[str, Any]:
    """Return the part of a scenario in which its mount has these *changes*."""
    return {"auth": {"kubernetes": DOCUMENT["auth"]["kubernetes"] | changes}}


def told(judgement: Judgement) -> list[tuple[str, str, str, str]]:
    found = [one for one in judgement.findings if one.rule.startswith("rewrite-")]
    return [(one.kind, one.effect, one.hop, one.item) for one in found]


def test_a_rewrite_is_planned_with_a_look_of_its_own() -> None:
    planned = plan.make(scenario_of({"upgrade": "1.9.2"}, REWRITE), "test", "paper")
    assert [moment.label for moment in planned.moments] == ["before", "after 1.9.2", "after rewrite of kubernetes"]
    assert "write the config and the roles of auth/kubernetes again, as they are read" in plans.render(planned)


@pytest.mark.parametrize(
    ("steps", "parts", "said"),
    [
        ([{"rewrite": "kubernets"}], {}, "there is no auth mount kubernets"),
        (
            [{"rewrite": "typo"}],
            {"auth": {**DOCUMENT["auth"], "typo": {"cluster": "apps", "mounted": False}}},
            "nothing is mounted at auth/typo",
        ),
        ([REWRITE | {"node": "vault-0"}], {}, "`node` is of no use to rewrite"),
    ],
)
def test_a_rewrite_that_cannot_be_is_refused(steps: list[dict[str, Any]], parts: dict[str, Any], said: str) -> None:
    assert any(said in problem for problem in problems_of(*steps, **parts))


def test_what_a_version_does_not_take_back_is_a_regression(tmp_path: Path) -> None:
    """Told once, with what is to be written instead."""
    judgement = judged(tmp_path, {"upgrade": "1.9.2"}, REWRITE, {"upgrade": "1.9.3"}, REWRITE)
    assert [one for one in told(judgement) if one[3]] == [("regression", "rewrite refused", "1.9.2", "web")]
    (finding,) = [one for one in judgement.findings if one.rule == "rewrite-refused"]
    assert (judgement.verdict, finding.step, finding.moment) == ("fail", 2, "after rewrite of kubernetes")
    assert "serviceaccount_uid" in finding.remedies[0].commands[0]


def test_it_was_so_before_where_nothing_was_upgraded(tmp_path: Path) -> None:
    judgement = judged(tmp_path, REWRITE, vault={"source": "1.9.2"})
    assert told(judgement) == [("pre-existing", "rewrite refused", "", "web")]


@pytest.mark.parametrize("version", ["1.8.0", "1.11.0"])
def test_what_is_taken_back_and_stays_is_no_news(version: str, tmp_path: Path) -> None:
    judgement = judged(tmp_path, {"upgrade": version}, REWRITE, vault={"source": "1.7.0"})
    assert (told(judgement), judgement.verdict) == ([], "pass")


def test_a_stored_reviewer_is_gone_because_no_read_shows_it(tmp_path: Path) -> None:
    judgement = judged(tmp_path, {"upgrade": "1.11.0"}, REWRITE, **mount(reviewer="secret"))
    assert ("latent", "rewrite changes a value", "1.11.0", "") in told(judgement)
    sentence = next(one.sentence for one in judgement.findings if one.rule == "rewrite-changes")
    assert "the stored reviewer is gone" in sentence
    assert any(one.effect == "login refused" for one in judgement.findings)


def test_a_copy_of_the_pods_token_is_stored_where_none_was(tmp_path: Path) -> None:
    judgement = judged(tmp_path, {"upgrade": "1.8.0"}, REWRITE)
    (finding,) = [one for one in judgement.findings if one.rule == "rewrite-changes"]
    assert "a copy of the token of Vault's present Pod is stored as the reviewer, where none was" in finding.sentence


def test_what_is_written_again_is_provenance_like_any_write(tmp_path: Path) -> None:
    record, _ = on_paper(scenario_of({"upgrade": "1.11.0"}, REWRITE), tmp_path)
    assert [(one.version, one.rewritten) for one in record.of(ConfigWritten)] == [("1.7.0", False), ("1.11.0", True)]
    assert [(one.version, one.rewritten) for one in record.of(RoleWritten)] == [("1.7.0", False), ("1.11.0", True)]
    assert [(one.role, one.status) for one in record.of(Rewritten)] == [("", 204), ("web", 204)]


@pytest.mark.parametrize("status", [None, 412, 429, 503])
def test_no_answer_is_no_refusal(status: int | None) -> None:
    """Nobody knows then whether Vault takes it back, and nothing is told of it."""

    class Silent:
        def read_auth_config(self, _mount: str) -> Reply:
            return Reply(status, "not now")

    asked = Rewritten(mount="kubernetes", version="1.9.2", status=0)
    with pytest.raises(Unreachable, match="nobody knows"):
        rewriting.rewritten(Silent(), asked)  # type: ignore[arg-type]


def test_which_versions_take_an_empty_alias_source_back() -> None:
    takes = {version: kubernetes_auth.takes_back_role(version, "") for version in ("1.8.0", "1.9.0", "1.9.3", "1.10.0")}
    assert takes == {"1.8.0": True, "1.9.0": False, "1.9.3": False, "1.10.0": True}


def test_a_mount_is_written_again_at_every_hop(tmp_path: Path) -> None:
    """After each upgrade and its look, be it a hop of the path or a step of the course; and never at the source."""
    kept = mount(**{"rewritten-at-each-hop": True})
    again = ("after rewrite of kubernetes", "after rewrite of kubernetes (2)")
    path = {"source": "1.7.0", "cluster": "platform", "via": ["1.9.2"], "target": "1.11.0"}
    document = {key: value for key, value in DOCUMENT.items() if key != "course"} | kept | {"vault": path}
    planned = plan.make(loading.loads(json.dumps(document)).scenario, "test", "paper")
    labels = [moment.label for moment in planned.moments]
    assert labels == ["before", "after 1.9.2", again[0], "after 1.11.0", again[1]]
    steps: list[dict[str, Any]] = [{"upgrade": "1.9.2"}, {"restart": {}}, {"upgrade": "1.11.0", "then-look": False}]
    record, judgement = on_paper(scenario_of(*steps, **kept), tmp_path)
    labels = [moment.label for moment in record.started.plan.moments]
    assert labels == ["before", "after 1.9.2", again[0], "after restart", "after rewrite of kubernetes (step 3)"]
    assert [one[1:3] for one in told(judgement) if one[3]] == [("rewrite refused", "1.9.2")]


def test_only_a_kubernetes_mount_is_written_as_it_is_read() -> None:
    people = {"type": "userpass", "rewritten-at-each-hop": True, "roles": {"alice": {"policies": ["web"]}}}
    apps = {"web": DOCUMENT["apps"]["web"] | {"mount": "kubernetes"}}
    found = problems_of({"rewrite": "people"}, auth={**DOCUMENT["auth"], "people": people}, apps=apps)
    assert any("a mount of type userpass has no rewritten-at-each-hop" in problem for problem in found)
    assert any("auth/people is of the kind userpass" in problem for problem in found)
