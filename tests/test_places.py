"""Where apps log in and read: a path at which nothing is mounted, and key-value stores of both versions anywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.analysis import comparison
from harness.errors import ScenarioError
from harness.record.events import ConfigWritten, RoleWritten, TokenIssued
from harness.scenario import loading, plan, topology
from harness.scenario.schema import Scenario
from tests.runs import on_paper


def document(**changes: Any) -> dict[str, Any]:
    """Return a scenario with one app that logs in where a mount is, and one that does not."""
    return {
        "schema": 1,
        "description": "Where do apps log in and read?",
        "clusters": {"apps": {"kubernetes": "1.32.0"}},
        "vault": {"source": "1.9.3", "target": "1.10.0"},
        "auth": {
            "kubernetes": {
                "cluster": "apps",
                "configured": {"by": "1.9.3", "with-token-file": False},
                "roles": {"web": {"service-accounts": ["web"], "namespaces": ["apps"], "policies": ["web"]}},
            },
            "k8s/typo": {"cluster": "apps", "mounted": False},
        },
        "apps": {
            "web": {
                "cluster": "apps",
                "service-account": "apps/web",
                "mount": "kubernetes",
                "role": "web",
                "may-review-tokens": True,
                "reads": ["team/kv/web", "secret/web"],
            },
            "lost": {"cluster": "apps", "service-account": "apps/web", "mount": "k8s/typo", "role": "web",
                     "may-review-tokens": True},
        },
        "secrets": {"team/kv": {"kv": 1}, "secret": {"kv": 2}},
    } | changes  # fmt: skip


def scenario(**changes: Any) -> Scenario:
    return loading.loads(yaml.safe_dump(document(**changes), sort_keys=False)).scenario


def problems(**changes: Any) -> list[str]:
    with pytest.raises(ScenarioError) as caught:
        scenario(**changes)
    return [problem.message for problem in caught.value.problems]


class TestNothingMounted:
    def test_the_login_is_refused_for_that_and_the_other_status_is_explained(self, tmp_path: Path) -> None:
        record, judgement = on_paper(scenario(), tmp_path)
        (finding,) = judgement.findings
        assert (finding.app, finding.rule, finding.confidence) == ("lost", "no-such-mount", "certain")
        assert "Nothing is mounted at auth/k8s/typo" in finding.sentence
        assert "auth/kubernetes" in finding.remedy
        (changed,) = [one for one in judgement.changes if (one.app, one.what) == ("lost", "status")]
        assert (changed.before, changed.after) == ("refused 400 missing client token", "refused 403 permission denied")
        assert "since Vault 1.10.0" in changed.explained
        assert {one.mount for one in record.of(ConfigWritten)} == {"kubernetes"}
        assert {one.mount for one in record.of(RoleWritten)} == {"kubernetes"}

    def test_nothing_else_is_asked_there(self) -> None:
        made = plan.make(scenario(), "test", "paper")
        assert {one.probe for one in made.questions if one.mount == "k8s/typo"} == {"login"}
        assert any("nothing is mounted at auth/k8s/typo" in said for said in made.not_asked)
        assert not any("k8s/typo" in said for said in made.assumed)

    def test_what_is_not_there_has_no_config_and_no_role(self) -> None:
        auth = document()["auth"]
        auth["k8s/typo"] |= {
            "reviewer": "client-jwt",
            "config": {},
        }
        assert problems(auth=auth) == [
            "nothing is mounted at auth/k8s/typo, so it has no reviewer",
            "nothing is mounted at auth/k8s/typo, so it has no config",
        ]

    @pytest.mark.parametrize(("roles", "words"), [({}, "is empty"), (None, "missing key `roles`")])
    def test_what_is_there_has_a_role(self, roles: Any, words: str) -> None:
        auth = document()["auth"]
        auth["k8s/typo"] = {"cluster": "apps"} | ({} if roles is None else {"roles": roles})
        assert any(words in said for said in problems(auth=auth))

    def test_another_refusal_is_not_taken_for_it(self) -> None:
        assert comparison.refusal_of("permission denied") is None


class TestSecrets:
    def test_each_is_read_where_its_engine_has_it(self) -> None:
        wanted = topology.of(scenario())
        assert wanted.data_path("team/kv/web") == "team/kv/web"
        assert wanted.data_path("secret/web") == "secret/data/web"
        text = plan.policies(wanted)["web"]
        assert 'path "team/kv/web"' in text
        assert 'path "secret/data/web"' in text

    def test_engines_whose_paths_begin_alike_are_told_apart(self) -> None:
        wanted = topology.of(scenario(secrets={"team/k": {"kv": 2}, "team/kv": {"kv": 1}, "secret": {"kv": 2}}))
        assert wanted.data_path("team/kv/web") == "team/kv/web"
        assert wanted.data_path("team/k/web") == "team/k/data/web"

    def test_without_an_engine_of_its_own_there_is_kv_v2_at_secret(self) -> None:
        apps = document()["apps"]
        apps["web"]["reads"] = ["secret/web"]
        assert topology.of(scenario(secrets={}, apps=apps)).engines == {"secret": 2}
        assert problems(secrets={})[0] == "no secrets engine of this scenario has the secret team/kv/web"

    def test_what_is_lost_by_going_back_is_written_where_there_is_an_engine(self) -> None:
        apps = document()["apps"]
        apps["web"]["reads"] = ["team/kv/web"]
        wanted = topology.of(scenario(secrets={"team/kv": {"kv": 1}}, apps=apps))
        assert wanted.late_secret == "team/kv/rehearsal-late"

    def test_the_path_in_the_api_is_no_name_of_a_secret(self) -> None:
        apps = document()["apps"]
        apps["web"]["reads"] = ["secret/data/web", "team/kv/data/web"]
        assert problems(apps=apps) == [
            "secret/data/web is the path in kv-v2's API, and the secret is called secret/web"
        ]

    @pytest.mark.parametrize("version", [3, "2", None])
    def test_another_version_there_is_none(self, version: Any) -> None:
        assert problems(secrets={"team/kv": {"kv": version}, "secret": {"kv": 2}})


class TestLoginTokens:
    def test_each_kind_is_what_it_says(self, tmp_path: Path) -> None:
        """On paper as on servers: whose Pod is gone is refused by the review, all others get in."""
        apps = {
            kind: {
                "cluster": "apps",
                "service-account": "apps/web",
                "mount": "kubernetes",
                "role": "web",
                "token": kind,
            }
            for kind in ("projected", "secret", "requested", "pod-gone")
        }
        auth = document()["auth"]
        auth["kubernetes"] |= {"reviewer": "secret", "config": {"disable_iss_validation": True}}
        record, judgement = on_paper(scenario(apps=apps, auth=auth), tmp_path)
        assert {(one.app, one.rule) for one in judgement.findings} == {("pod-gone", "login-token-rejected")}
        issued = {one.purpose: one for one in record.of(TokenIssued)}
        assert (issued["app:requested"].pod, issued["app:secret"].expires) == ("", 0.0)
        assert issued["app:pod-gone"].pod
