"""What a refused login would meet next is what it meets, once the first cause is mended: on paper, and for real."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from harness.analysis import verdict
from harness.knowledge import login_order
from harness.reports import junit, markdown, text, wording
from harness.scenario import loading
from harness.scenario.topology import ISSUER
from tests import stored_records
from tests.runs import on_paper
from tests.test_real import rehearse
from tests.test_rules import CASES, seen

WRONG = {"issuer": "https://nobody.invalid", "pem_keys": ["other"], "kubernetes_ca_cert": "other"}
BOUND = {"service-accounts": ["web"], "namespaces": ["apps"]}


def stacked(version: str) -> tuple[dict[str, Any], list[str]]:
    """Return a scenario in which six things are wrong and mended one after the other, and their causes in order."""
    config, role = dict[str, Any](WRONG), {"service-accounts": ["other"], "audience": "vault"}
    course, causes = list[dict[str, Any]](), list[str]()

    def write(**what: Any) -> None:
        course.append({"write": what})

    def write_config() -> None:
        write(config={"disable_iss_validation": "issuer" not in config, **config})

    def write_role() -> None:
        write(role="web", **(BOUND | role))

    for check in login_order.checks(version):
        if check == "signing key":
            causes.append("signing-key-unknown")
            del config["pem_keys"]
            write_config()
        elif check == "issuer":
            causes.append("issuer-mismatch")
            del config["issuer"]
            write_config()
        elif check == "audience":
            causes.append("audience-mismatch")
            role["audience"] = ISSUER
            write_role()
        elif check == "service account name":
            causes.append("role-binding-mismatch")
            del role["service-accounts"]
            write_role()
    config["kubernetes_ca_cert"] = "cluster"
    write_config()
    course.append({"grant": {"service-account": "apps/web", "cluster": "apps"}})
    causes += ["api-server-untrusted", "reviewer-lacks-tokenreview-rbac"]
    document = {
        "schema": 1,
        "description": "Six things are wrong, one upon the other. What is the next one, each time?",
        "clusters": {"apps": {"kubernetes": "1.32.0"}, "other": {"kubernetes": "1.32.0"}},
        "vault": {"source": version},
        "auth": {
            "kubernetes": {
                "cluster": "apps",
                "configured": {"by": version, "with-token-file": False},
                "config": {"disable_iss_validation": False, **WRONG},
                "roles": {"web": BOUND | {"service-accounts": ["other"], "audience": "vault"}},
            }
        },
        "apps": {"web": {"cluster": "apps", "service-account": "apps/web", "role": "web"}},
        "course": course,
        "probes": ["login"],
    }
    return document, causes


def meets(judgement: dict[str, Any], causes: list[str]) -> None:
    """Each cause is found in its turn, and what was foretold at each is what came after it."""
    findings = [one for one in judgement["findings"] if one["probe"] == "login" and one["kind"] != "improvement"]
    findings.sort(key=lambda one: one["step"])
    assert [one["rule"] for one in findings] == causes
    for place, finding in enumerate(findings):
        assert [one["cause"] for one in finding["next"]] == causes[place + 1 :], finding["rule"]
    assert any(one["kind"] == "improvement" for one in judgement["findings"]), "in the end it is granted"


@pytest.mark.parametrize("version", ["1.9.2", "1.10.0", "1.11.0", "1.13.0", "1.16.3"])
def test_on_paper_what_is_foretold_is_what_comes_next(version: str, tmp_path: Path) -> None:
    document, causes = stacked(version)
    file = tmp_path / "stacked.yaml"
    file.write_text(json.dumps(document))
    _, judgement = on_paper(loading.load(file).scenario, tmp_path / "record")
    meets(msgspec.to_builtins(judgement), causes)


@pytest.mark.real
@pytest.mark.parametrize("version", ["1.9.3", "1.11.0"])
def test_what_is_foretold_is_what_comes_next(version: str, tmp_path: Path) -> None:
    """The signature is looked at last by 1.9.3 and first by 1.11.0: the order of both is kept."""
    document, causes = stacked(version)
    file = tmp_path / "stacked.yaml"
    file.write_text(json.dumps(document))
    done = rehearse("run", file, "-o", "json", "--run-dir", tmp_path / "record")
    assert done.returncode in (0, 1, 4), done.stderr
    meets(json.loads(done.stdout), causes)


def test_every_report_says_what_comes_next(tmp_path: Path) -> None:
    document, _ = stacked("1.11.0")
    file = tmp_path / "stacked.yaml"
    file.write_text(json.dumps(document))
    _, judgement = on_paper(loading.load(file).scenario, tmp_path / "record")
    for render in (text.render, markdown.render, junit.render):
        said = " ".join(render(judgement).split())
        assert "you would meet issuer-mismatch" in said, render.__module__
        assert "then reviewer-lacks-tokenreview-rbac" in said


def test_what_the_same_run_met_is_not_called_unseen() -> None:
    """A config is written that hides what refused the login before: that is told as seen, and where."""
    record = stored_records.record("finds/a-connection-that-ends-with-a-401")
    (hidden,) = [one for one in verdict.judge(record).findings if one.next]
    assert [(one.cause, one.met) for one in hidden.next] == [("reviewer-fallback-local", "before")]
    said = wording.afterwards(hidden)
    assert 'this run met it at the moment "before"' in said
    assert "not seen" not in said
    record = stored_records.record("real/only-a-host-for-another-cluster")
    (unseen,) = [one for one in verdict.judge(record).findings if one.next]
    assert wording.afterwards(unseen).endswith("That is foretold, and not seen: mend it as well before you try.")


@pytest.mark.parametrize("name", CASES)
def test_where_one_thing_is_wrong_nothing_comes_next(name: str, tmp_path: Path) -> None:
    """The known cases have one cause each: none of them is said to have another one behind it."""
    scenario, _, _ = CASES[name]
    for finding in verdict.judge(seen(scenario, tmp_path)).findings:
        assert finding.next == (), (finding.rule, finding.next)
