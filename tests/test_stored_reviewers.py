"""A stored reviewer has a kind, and no kind that will die makes a run green: its death is named, or forecast."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from harness.analysis import verdict
from harness.analysis.verdict import Judgement
from harness.errors import ScenarioError
from harness.record.events import AnyEvent, ConfigWritten, TokenIssued
from harness.record.journal import Record
from harness.record.observation import Observation
from harness.reports import markdown, text
from harness.scenario import loading, plan, topology
from harness.scenario.schema import Scenario
from tests import stored_records
from tests.runs import SCENARIOS, on_paper

ROLE = {"service-accounts": ["web"], "namespaces": ["apps"], "policies": ["web"]}
EXPIRES = {"change": "reviewer expires", "app": "web", "cause": "stored-reviewer-expires"}
POD_TOKEN = {"write": {"reviewer": "pod-token"}}


def document(
    mount: Mapping[str, Any], *steps: dict[str, Any], source: str = "1.9.3", vault: str | None = "apps", **parts: Any
) -> dict[str, Any]:
    """Return a scenario with one mount of the apps' cluster, in which Vault is unless *vault* says otherwise."""
    server: dict[str, Any] = {"source": source} | ({"cluster": vault} if vault else {})
    course: dict[str, Any] = {"course": list(steps)} if steps else {}
    server |= {} if steps else {"target": "1.11.0"}
    return {
        "schema": 1,
        "description": "A stored reviewer.",
        "clusters": {name: {"kubernetes": "1.32.0"} for name in dict.fromkeys(["apps", vault or "apps"])},
        "vault": server,
        "auth": {"kubernetes": {"cluster": "apps", "roles": {"web": ROLE}, **mount}},
        "apps": {"web": {"cluster": "apps", "service-account": "apps/web", "role": "web"}},
        **course,
        **parts,
    }


def scenario_of(*given: Any, **parts: Any) -> Scenario:
    return loading.loads(json.dumps(document(*given, **parts))).scenario


def run(directory: Path, *given: Any, **parts: Any) -> tuple[Record, Judgement]:
    return on_paper(scenario_of(*given, **parts), directory)


def logins(judgement: Judgement) -> list[tuple[int | None, str]]:
    return [(row.status, row.reviewer) for row in judgement.reviewing]


def found(judgement: Judgement) -> list[tuple[str, str, str, str]]:
    return [(one.kind, one.effect, one.rule, one.hop) for one in judgement.findings if one.probe == "login"]


# --- the Pod's own token ---


def test_a_copy_of_the_pods_token_dies_with_the_pod(tmp_path: Path) -> None:
    """On 1.9.3, which copies nothing by itself: the instance that answered PASS while it could not be said."""
    record, judgement = run(tmp_path, {"reviewer": "pod-token"})
    assert logins(judgement) == [(200, "vault"), (403, "nobody")]
    assert found(judgement) == [("regression", "login refused", "stored-reviewer-refused", "1.11.0")]
    (finding,) = judgement.findings
    assert "is that of Vault's own Pod" in finding.sentence
    assert "it died with the replaced Pod" in finding.sentence
    assert finding.confidence == "certain"
    assert {"pod", "token", "config", "api audit"} <= {evidence_line.source for evidence_line in finding.evidence}
    first, second = finding.remedies
    assert first.words.startswith("Store a long-lived token_reviewer_jwt")
    assert second.words.startswith("On Vault 1.9.3 or newer write the whole config again without token_reviewer_jwt")
    assert judgement.exit_code == 1
    (written,) = record.of(ConfigWritten)
    assert written.reviewer == "pod-token"
    (stored,) = [token for token in record.of(TokenIssued) if token.purpose == "reviewer:kubernetes"]
    (vaults, *_) = [token for token in record.of(TokenIssued) if token.purpose == "vault"]
    assert (stored.token, stored.pod_uid) == (vaults.token, vaults.pod_uid)


def test_without_a_vault_that_reads_its_pods_token_there_is_one_remedy(tmp_path: Path) -> None:
    _, judgement = run(tmp_path, {"reviewer": "pod-token"}, {"upgrade": "1.9.2"}, source="1.7.0")
    (finding,) = judgement.findings
    assert [way.words.split(" token_reviewer_jwt")[0] for way in finding.remedies] == ["Store a long-lived"]


@pytest.mark.parametrize("step", [{"restart": {}}, {"replace-pod": "vault"}])
def test_whatever_replaces_the_pod_ends_it(step: dict[str, Any], tmp_path: Path) -> None:
    _, judgement = run(tmp_path, {"reviewer": "pod-token"}, step)
    (finding,) = judgement.findings
    assert (finding.rule, finding.step) == ("stored-reviewer-refused", 1)


def test_in_another_cluster_the_pods_token_was_never_known(tmp_path: Path) -> None:
    _, judgement = run(tmp_path, {"reviewer": "pod-token"}, vault="platform")
    (finding,) = judgement.findings
    assert (finding.kind, finding.rule) == ("pre-existing", "stored-reviewer-refused")
    assert "it belongs to cluster platform, and apps never knew it" in finding.sentence


def test_a_copy_that_no_step_outlives_is_forecast(tmp_path: Path) -> None:
    """The Pod is not replaced after the write: logins are granted, and nobody may call that green."""
    _, judgement = run(tmp_path, {}, {"upgrade": "1.11.0"}, POD_TOKEN)
    assert [status for status, _ in logins(judgement)] == [200, 200, 200]
    forecast = [one for one in judgement.findings if one.effect == "reviewer expires"]
    (finding,) = forecast
    assert (finding.kind, finding.rule, finding.hop, finding.step) == ("latent", "stored-reviewer-expires", "1.11.0", 2)
    assert "dies with the present Pod" in finding.sentence
    assert {way.when for way in finding.remedies} == {"before the Pod is replaced, on Vault 1.11.0"}
    assert (judgement.verdict, judgement.exit_code) == ("inconclusive", 4)
    assert [doubt.kind for doubt in judgement.doubts] == ["unrehearsed"]


def test_vaults_own_copy_is_forecast_as_well(tmp_path: Path) -> None:
    """1.7.0 copies the Pod's token by itself, and the course ends before the Pod does."""
    _, judgement = run(tmp_path, {}, {"look": {}}, source="1.7.0")
    (finding,) = judgement.findings
    assert (finding.rule, finding.hop) == ("stored-reviewer-expires", "")
    assert "Vault itself copied into it when Vault 1.7.0 wrote it" in finding.sentence
    assert judgement.exit_code == 4


def test_what_was_written_over_is_not_forecast(tmp_path: Path) -> None:
    _, judgement = run(tmp_path, {"reviewer": "pod-token"}, {"write": {"reviewer": "secret"}}, {"upgrade": "1.11.0"})
    assert logins(judgement) == [(200, "vault"), (200, "long-lived"), (200, "long-lived")]
    assert [one.effect for one in judgement.findings] == ["reviewer changed"]
    assert judgement.exit_code == 0


# --- a requested token ---


def test_a_requested_token_is_granted_and_its_end_forecast_with_its_date(tmp_path: Path) -> None:
    record, judgement = run(tmp_path, {"reviewer": "requested", "reviewer-token-life": "2h"})
    assert logins(judgement) == [(200, "requested"), (200, "requested")]
    assert found(judgement) == [("latent", "reviewer expires", "stored-reviewer-expires", "")]
    (finding,), (token,) = (
        judgement.findings,
        [(line, one) for line, one in record.numbered(TokenIssued) if one.purpose == "reviewer:kubernetes"],
    )
    line, issued = token
    assert (issued.pod, issued.expires - issued.issued) == ("", 7200)
    assert "a life of 2 hours" in finding.sentence
    assert {(evidence_line.source, evidence_line.line) for evidence_line in finding.evidence} >= {("token", line)}
    assert [evidence_line.source for evidence_line in finding.evidence] == ["token", "config"]
    assert (judgement.verdict, judgement.outcome, judgement.exit_code) == ("inconclusive", "inconclusive", 4)
    (doubt,) = judgement.doubts
    assert (doubt.kind, doubt.apps) == ("unrehearsed", ("web",))
    for report in (text.render(judgement), markdown.render(judgement)):
        words = " ".join(report.split())
        assert "once the reviewer token in auth/kubernetes/config is dead was not rehearsed" in words
        assert words.count("a life of 2 hours") == 1


def test_an_end_that_is_expected_is_no_doubt(tmp_path: Path) -> None:
    _, judgement = run(tmp_path, {"reviewer": "requested"}, expect=[EXPIRES])
    assert (judgement.doubts, judgement.as_expected, judgement.exit_code) == ((), True, 0)


def test_an_end_that_is_not_expected_is_a_doubt_beside_other_expectations(tmp_path: Path) -> None:
    _, judgement = run(tmp_path, {"reviewer": "requested"}, expect=[])
    assert (judgement.as_expected, judgement.exit_code) == (False, 4)


def test_a_forecast_fails_a_strict_run(tmp_path: Path) -> None:
    _, judgement = run(tmp_path, {"reviewer": "requested"}, strict=True)
    assert (judgement.verdict, judgement.exit_code) == ("fail", 1)


def test_an_end_within_the_run_is_named(tmp_path: Path) -> None:
    """Tokens live for ten minutes at least, so the record is altered: its refusal comes after its end."""
    scenario = scenario_of({"reviewer": "requested"})
    record, _ = on_paper(scenario, tmp_path, script={("review", "kubernetes", "1.11.0"): "refuse"})
    refused = next(seen for seen in record.of(Observation) if seen.probe == "login" and seen.answer == "refused")

    def sooner(event: AnyEvent) -> AnyEvent:
        if isinstance(event, TokenIssued) and event.purpose == "reviewer:kubernetes":
            return msgspec.structs.replace(event, expires=refused.started)
        return event

    judgement = verdict.judge(Record(tuple(map(sooner, record.events)), record.directory))
    assert found(judgement) == [("regression", "login refused", "stored-reviewer-refused", "1.11.0")]
    assert "it was requested with a life" in judgement.findings[0].sentence
    assert judgement.doubts == ()


def test_a_course_requests_a_new_token_with_each_write(tmp_path: Path) -> None:
    write = {"write": {"reviewer": "requested", "reviewer-token-life": "30m"}}
    record, judgement = run(tmp_path, {}, write, write, source="1.11.0")
    issued = [token for token in record.of(TokenIssued) if token.purpose == "reviewer:kubernetes"]
    assert len({token.token for token in issued}) == 2
    assert {token.expires - token.issued for token in issued} == {1800}
    assert [one.rule for one in judgement.findings if one.effect == "reviewer expires"] == ["stored-reviewer-expires"]


# --- beside literal fields, and what cannot be ---


def test_a_reviewer_is_stored_beside_any_literal_field(tmp_path: Path) -> None:
    fields = {"issuer": "cluster", "disable_iss_validation": True, "disable_local_ca_jwt": True}
    for kind in ("secret", "long-lived", "pod-token", "requested"):
        wanted = topology.of(scenario_of({"reviewer": kind, "config": fields})).mounts["kubernetes"].fields
        stored = "long-lived" if kind == "secret" else kind
        assert wanted == {
            "kubernetes_host": "cluster",
            "kubernetes_ca_cert": "cluster",
            "token_reviewer_jwt": stored,
            **fields,
        }
    record, judgement = run(tmp_path, {"reviewer": "secret", "config": fields}, expect=[])
    assert judgement.exit_code == 0
    (written,) = record.of(ConfigWritten)
    assert set(fields) < set(written.fields)
    assert written.reviewer == "long-lived"


def test_secret_and_long_lived_are_one_kind() -> None:
    plans = [plan.make(scenario_of({"reviewer": kind}), "it", "paper") for kind in ("secret", "long-lived")]
    assert plans[0] == plans[1]


@pytest.mark.parametrize(
    ("step", "said"),
    [
        ({"write": {"reviewer": "local", "reviewer-token-life": "1h"}}, "of use to a requested reviewer only"),
        ({"write": {"reviewer": "pod-token"}}, "no token of Vault's Pod was there to copy"),
        ({"write": {"role": "web", "reviewer-token-life": "1h"}}, "`reviewer-token-life` is of a config"),
        ({"write": {"reviewer": "local", "config": {"disable_local_ca_jwt": True}}}, "as local says"),
        ({"delete-secret": {"reviewer": "kubernetes"}}, "has no reviewer out of a Secret"),
    ],
)
def test_a_course_that_cannot_be_is_refused_at_its_line(step: dict[str, Any], said: str) -> None:
    whole = document({"reviewer": "requested"}, step, source="1.11.0")
    whole["vault"]["token-file"] = False
    course = whole.pop("course")
    with pytest.raises(ScenarioError) as caught:
        loading.loads(json.dumps(whole)[:-1] + ',\n"course":\n' + json.dumps(course) + "}")
    (problem,) = [one for one in caught.value.problems if said in one.message]
    assert problem.line == 3


# --- out of a Secret that is gone ---


def test_a_dead_token_that_is_written_again_is_named() -> None:
    """Who deletes the Secret and who stores its token once more is told, where the course has done so."""
    for name, said in (
        ("corpus/k01", "its Secret was deleted in step 1"),
        (
            "real/a-ca-is-mended-and-the-reviewer-is-gone",
            "its Secret was deleted in step 1, and step 2 has stored the same token again, which is dead",
        ),
    ):
        found = verdict.judge(stored_records.record(name)).findings
        refused = [one.sentence for one in found if one.rule == "stored-reviewer-refused"]
        assert [one.endswith(f"(TokenReview answered 401): {said}") for one in refused] == [True], name


# --- on real servers ---


@pytest.mark.real
def test_a_requested_reviewer_and_a_copied_one_on_real_servers(tmp_path: Path) -> None:
    """1.7.0 to 1.11.0: requested, it survives the rollout and is forecast; then copied, it dies with its Pod."""
    mount = {"reviewer": "requested", "reviewer-token-life": "1h"}
    scenario = document(mount, {"upgrade": "1.11.0"}, source="1.7.0", expect=[EXPIRES])
    first = _really(scenario, tmp_path / "requested")
    assert [(row["status"], row["reviewer"]) for row in first["reviewing"]] == [(200, "requested")] * 2
    assert [one["rule"] for one in first["findings"]] == ["stored-reviewer-expires"]
    assert (first["verdict"], first["exit_code"]) == ("pass", 0)
    steps = ({"upgrade": "1.11.0"}, POD_TOKEN, {"replace-pod": "vault"})
    second = _really(document({"reviewer": "secret"}, *steps, source="1.7.0"), tmp_path / "copied")
    assert [row["status"] for row in second["reviewing"]] == [200, 200, 200, 403]
    (refused,) = [one for one in second["findings"] if one["kind"] == "regression"]
    assert (refused["rule"], refused["step"], refused["confidence"]) == ("stored-reviewer-refused", 3, "certain")


def _really(scenario: dict[str, Any], directory: Path) -> dict[str, Any]:
    directory.mkdir()
    file = directory / "stored.yaml"
    file.write_text(json.dumps(scenario))
    words = [sys.executable, "-m", "harness", "run", str(file), "-o", "json", "--run-dir", str(directory / "run")]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=600, cwd=SCENARIOS.parent)
    assert done.stdout, done.stderr
    judgement: dict[str, Any] = json.loads(done.stdout)
    assert done.returncode == judgement["exit_code"]
    return judgement


def test_a_reviewer_that_the_course_has_chosen_is_no_contradiction(tmp_path: Path) -> None:
    """Who reviews by a config that was written later is the token in that one, and not the mount's first reviewer."""
    steps = ({"upgrade": "1.11.0"}, POD_TOKEN, {"replace-pod": "vault"})
    file = tmp_path / "copied.yaml"
    file.write_text(json.dumps(document({"reviewer": "secret"}, *steps, source="1.7.0")))
    _, judgement = on_paper(loading.load(file).scenario, tmp_path)
    (refused,) = [one for one in judgement.findings if one.kind == "regression"]
    assert (refused.rule, refused.confidence) == ("stored-reviewer-refused", "certain")
    assert not [one.sentence for one in judgement.findings if "does not go together" in one.sentence]
