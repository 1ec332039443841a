"""What Vault reads of a cluster beside TokenReviews, from 1.16.0 on: labels of namespaces, annotations of accounts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.analysis import verdict
from harness.drivers import service_accounts
from harness.errors import ScenarioError
from harness.record.events import RoleWritten
from harness.scenario import loading, topology
from harness.scenario.course import WriteRole
from harness.scenario.schema import Scenario
from tests.corpus_records import record
from tests.runs import on_paper


def document(*, source: str = "1.16.3", may_read: list[str] | None = None, **role: Any) -> dict[str, Any]:
    """Return a scenario whose role selects namespaces by label, with a reviewer that may read what is said."""
    return {
        "schema": 1,
        "description": "Which namespaces does a selector admit?",
        "clusters": {"apps": {"kubernetes": "1.32.0", "namespace-labels": {"team-a": {"team": "web", "env": "prod"}}}},
        "vault": {"source": source, "target": "1.17.0"},
        "auth": {
            "kubernetes": {
                "cluster": "apps",
                "configured": {"by": source, "with-token-file": False},
                "reviewer": "secret",
                "reviewer-may-read": ["namespaces"] if may_read is None else may_read,
                "roles": {"web": {"service-accounts": ["web"], "namespace-selector": {"team": "web"}} | _dashed(role)},
            }
        },
        "apps": {"web": {"cluster": "apps", "service-account": "team-a/web", "role": "web"}},
    }


def _dashed(role: dict[str, Any]) -> dict[str, Any]:
    return {name.replace("_", "-"): value for name, value in role.items()}


def scenario(made: dict[str, Any]) -> Scenario:
    return loading.loads(yaml.safe_dump(made, sort_keys=False)).scenario


def problems(made: dict[str, Any]) -> list[str]:
    with pytest.raises(ScenarioError) as caught:
        scenario(made)
    return [problem.message for problem in caught.value.problems]


def test_labels_are_written_as_vault_reads_them_and_admit_the_namespace(tmp_path: Path) -> None:
    record, judgement = on_paper(scenario(document()), tmp_path)
    assert judgement.verdict == "pass", judgement.reasons
    (written,) = record.of(RoleWritten)
    selector = written.fields["bound_service_account_namespace_selector"]
    assert json.loads(selector) == {"matchLabels": {"team": "web"}}
    assert written.fields["bound_service_account_namespaces"] == ""


@pytest.mark.parametrize("labels", [{"team": "web", "env": "test"}, {"absent": "x"}])
def test_all_labels_have_to_be_there(labels: dict[str, str], tmp_path: Path) -> None:
    _, judgement = on_paper(scenario(document(namespace_selector=labels)), tmp_path)
    (finding,) = [one for one in judgement.findings if one.probe == "login"]
    assert finding.rule == "role-binding-mismatch"


def test_annotations_that_cannot_be_read_are_no_labels() -> None:
    """A real API server that refuses an account names its namespace as well."""
    found = [one for one in verdict.judge(record("n04")).findings if one.rule == "reviewer-may-not-read"]
    assert found
    for one in found:
        assert "had to read its annotations, for use_annotations_as_alias_metadata is true" in one.sentence
        assert "get serviceaccounts in cluster" in one.remedies[0].words


def test_what_mends_a_role_leaves_it_its_selector(tmp_path: Path) -> None:
    """A write keeps whatever it leaves out, but for the selector. Run: 1.16.3, 1.17.0, 1.21.2."""
    _, judgement = on_paper(scenario(document(namespace_selector={"absent": "x"})), tmp_path)
    (finding,) = [one for one in judgement.findings if one.probe == "login"]
    assert finding.sentence.endswith("bound to service accounts web in namespaces with the labels absent=x")
    (command,) = finding.remedies[0].commands
    assert """ bound_service_account_namespace_selector='{"matchLabels": {"absent": "x"}}'""" in command
    (done,) = finding.remedies[0].occasions[0].steps
    assert isinstance(done, WriteRole)
    assert (done.spec.namespaces, done.spec.namespace_selector) == (("team-a",), ("absent=x",))


def test_namespaces_by_name_or_by_label_will_do(tmp_path: Path) -> None:
    made = document(namespaces=["team-a"], namespace_selector={"absent": "x"})
    assert on_paper(scenario(made), tmp_path)[1].verdict == "pass"


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (
            document(source="1.15.0"),
            "bound_service_account_namespace_selector is unknown to Vault 1.15.0, which writes this config",
        ),
        (document(namespace_selector={"Team/": "x"}), "is not the name of a label"),
        (document(namespace_selector={"team": "a b"}), "is not the value of a label"),
        (document(namespace_selector={}), "namespace-selector is empty"),
        (document(may_read=["pods"]), "is not one of the choices"),
    ],
)
def test_what_cannot_be(made: dict[str, Any], message: str) -> None:
    found = problems(made)
    assert any(message in said for said in found), found


def test_a_role_admits_some_namespace() -> None:
    made = document()
    del made["auth"]["kubernetes"]["roles"]["web"]["namespace-selector"]
    assert problems(made) == ["missing key `namespaces` in auth.kubernetes.roles.web"]
    made["auth"]["kubernetes"]["roles"]["web"]["namespaces"] = []
    assert problems(made) == ["auth.kubernetes.roles.web.namespaces is empty"]


def test_one_account_has_all_that_is_said_of_it_anywhere() -> None:
    made = document()
    made["apps"]["web"] |= {"annotations": {"example.com/a": "1"}, "may-read": ["namespaces"]}
    made["apps"]["again"] = made["apps"]["web"] | {
        "annotations": {"example.com/b": "2"}, "may-read": ["service-accounts"]
    }  # fmt: skip
    accounts = service_accounts.wanted(topology.of(scenario(made)))
    ours = [one for one in accounts if one.purpose in ("app:web", "app:again")]
    assert {one.may_read for one in ours} == {("namespaces", "service-accounts")}
    assert {one.annotations for one in ours} == {(("example.com/a", "1"), ("example.com/b", "2"))}
    assert all(not one.annotations for one in accounts if one.name == service_accounts.STRANGER)


@pytest.mark.parametrize(("may_read", "verdict"), [(["service-accounts"], "pass"), ([], "inconclusive")])
def test_annotations_are_read_with_the_reviewers_right(may_read: list[str], verdict: str, tmp_path: Path) -> None:
    made = document(may_read=may_read, namespaces=["team-a"])
    del made["auth"]["kubernetes"]["roles"]["web"]["namespace-selector"]
    made["auth"]["kubernetes"]["config"] = {"use_annotations_as_alias_metadata": True}
    _, judgement = on_paper(scenario(made), tmp_path)
    assert judgement.verdict == verdict
    if verdict != "pass":
        (finding,) = [one for one in judgement.findings if one.probe == "login"]
        assert finding.rule == "reviewer-may-not-read"
        assert "vault-reviewer may not get serviceaccounts" in finding.sentence
        assert "kubectl create clusterrole vault-reads-serviceaccounts" in finding.remedies[0].commands[0]


def test_who_may_not_read_is_told_the_key_of_whoever_reads_there(tmp_path: Path) -> None:
    """Where Vault's own account reviews, the right is that of its Pod."""
    made = document()
    del made["auth"]["kubernetes"]["reviewer"], made["auth"]["kubernetes"]["reviewer-may-read"]
    made["auth"]["kubernetes"] |= {"reviewer": "local", "configured": {"by": "1.16.3"}}
    made["vault"]["cluster"] = "apps"
    _, judgement = on_paper(scenario(made), tmp_path)
    assert "vault.may-read (not set)" in judgement.reasons[0]
    assert "reviewer-may-read" not in judgement.reasons[0]
    assert "may-review-tokens" not in judgement.reasons[0]
    _, of_account = on_paper(scenario(document(may_read=[])), tmp_path / "account")
    assert "auth.kubernetes.reviewer-may-read (not set)" in of_account.reasons[0]
