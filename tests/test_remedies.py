"""What a finding advises is steps that a rehearsal can do, and complete as commands and as Terraform."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from harness.analysis import verdict
from harness.analysis.diagnosis import Finding
from harness.analysis.rules import Remedy
from harness.record.journal import Record
from harness.scenario import course, loading
from harness.scenario.course import Grant, MakeReviewer, PublishKeys, WriteConfig, WritePolicy, WriteRole
from tests.runs import SCENARIOS, on_paper
from tests.test_rules import (
    changed,
    finding_of,
    logged,
    mount,
    path,
    policy,
    refused_logins,
    role,
    seen,
    web,
    with_lines,
)


def steps_of(remedy: Remedy) -> list[str]:
    """Return what is done at the first occasion, in short."""
    return [course.word_of(step) for step in remedy.occasions[0].steps]


def untrusted(record: Record) -> Record:
    """Return *record* with the words that Vault logs where it does not trust the API server."""
    lines: list[Any] = [
        logged(one, 'tls: failed to verify certificate: x509: "x" signed by unknown authority')
        for one in refused_logins(record)
    ]
    return with_lines(record, lines)


def test_the_outages_remedies_are_steps_before_and_after(tmp_path: Path) -> None:
    """Each can be done in time, on the source, and to the broken target."""
    finding = finding_of(seen(changed(), tmp_path))
    opted_out, reviewer = finding.remedies
    assert [(one.timing, one.moment, one.version) for one in opted_out.occasions] == [
        ("before", "before", "1.7.0"),
        ("after", "after 1.11.0", "1.11.0"),
    ]
    (write,) = opted_out.occasions[0].steps
    assert isinstance(write, WriteConfig)
    assert write.fields["disable_local_ca_jwt"] is True
    assert {"kubernetes_host", "kubernetes_ca_cert", "issuer"} < set(write.fields)
    assert steps_of(reviewer) == ["make-reviewer", "grant", "write-config"]
    assert hash(finding)  # reports keep findings in mappings


def test_an_app_that_may_not_review_gets_the_right_with_the_flag(tmp_path: Path) -> None:
    """Without it the remedy would have every login refused, for another cause."""
    scenario = changed(web(may_review_tokens=False), mount(configured={"by": "1.7.0"}))
    (remedy,) = [one for one in finding_of(seen(scenario, tmp_path)).remedies if "disable_local" in one.words]
    assert steps_of(remedy) == ["grant", "write-config"]
    assert remedy.commands[0].startswith("kubectl create clusterrolebinding apps-web-reviews-tokens ")


def test_a_rewrite_gives_the_stored_reviewer_again(tmp_path: Path) -> None:
    """A read does not show it, so a write back of what a read shows would take it away."""
    scenario = changed(mount(reviewer="long-lived", config={"issuer": "somebody"}), path("1.7.0", "1.9.2"))
    finding = finding_of(seen(scenario, tmp_path))
    assert finding.rule == "issuer-mismatch"
    for remedy in finding.remedies:
        (write,) = remedy.occasions[0].steps
        assert isinstance(write, WriteConfig)
        assert write.fields["token_reviewer_jwt"] == "long-lived"
        assert "token_reviewer_jwt: $token" in remedy.commands[-1]


def test_a_rewrite_does_not_copy_the_pods_token(tmp_path: Path) -> None:
    """1.5 to 1.9.2 would store it where none is stored, and so make another account the reviewer."""
    scenario = changed(mount(configured={"by": "1.4.0"}, config={"issuer": "somebody"}), path("1.7.0", "1.9.2"))
    finding = finding_of(seen(scenario, tmp_path))
    assert finding.rule == "issuer-mismatch"
    (write,) = finding.remedies[-1].occasions[0].steps
    assert isinstance(write, WriteConfig)
    assert (write.fields["issuer"], write.fields["disable_local_ca_jwt"]) == ("cluster", True)
    assert "disable_local_ca_jwt" in finding.remedies[-1].words
    assert "disable_local_ca_jwt: true" in finding.remedies[-1].commands[0]


@pytest.mark.parametrize("alone", [True, False], ids=["with a reviewer", "without one"])
def test_a_ca_alone_is_no_remedy_where_the_reviewer_would_be_next(alone: bool, tmp_path: Path) -> None:
    """A config with a host and nothing else, for another cluster: the CA is what is refused first."""
    fields = {"kubernetes_ca_cert": "omit", "disable_iss_validation": True}
    chosen = {"reviewer": "long-lived"} if alone else {}
    scenario = changed(mount(configured={"by": "1.10.0"}, config=fields, **chosen), path("1.10.0", "1.13.0"))
    script = {("login", "web", version): "refuse" for version in ("1.10.0", "1.13.0")}
    record, _ = on_paper(scenario, tmp_path, script=script)
    finding = finding_of(untrusted(record))
    assert finding.rule == "api-server-untrusted"
    (remedy,) = finding.remedies
    assert "kubernetes_ca_cert: $ca" in remedy.commands[-1]
    write = remedy.occasions[0].steps[-1]
    assert isinstance(write, WriteConfig)
    assert write.fields["kubernetes_ca_cert"] == "cluster"
    assert write.fields["token_reviewer_jwt"] == "long-lived"
    assert steps_of(remedy) == (["write-config"] if alone else ["make-reviewer", "grant", "write-config"])


def test_a_policy_is_mended_as_a_whole(tmp_path: Path) -> None:
    """What denies is out of it, and all else stays."""
    text = 'path "secret/data/web" { capabilities = ["deny"] }\npath "secret/data/x" { capabilities = ["read"] }'
    findings = verdict.judge(seen(changed(policy(web=text)), tmp_path)).findings
    finding = next(one for one in findings if one.rule == "policy-denies")
    (step,) = finding.remedies[0].occasions[0].steps
    assert isinstance(step, WritePolicy)
    assert step.text == (
        'path "secret/data/x" { capabilities = ["read"] }\npath "secret/data/web" { capabilities = ["read"] }'
    )
    (line,) = finding.remedies[0].writes
    assert line.startswith("echo $'path ")
    assert line.endswith("| vault policy write web -")
    assert 'resource "vault_policy" "web"' in finding.remedies[0].terraform


def test_a_role_is_written_with_all_that_it_has(tmp_path: Path) -> None:
    """The lines say what is to be there in the end."""
    finding = finding_of(seen(changed(role(service_accounts=["other"], ttl="90m")), tmp_path))
    (step,) = finding.remedies[0].occasions[0].steps
    assert isinstance(step, WriteRole)
    assert step.spec.service_accounts == ("other", "web")
    (line,) = finding.remedies[0].writes
    assert line == (
        "vault write auth/kubernetes/role/web bound_service_account_names=other,web "
        "bound_service_account_namespaces=apps token_policies=web token_ttl=90m"
    )
    assert 'bound_service_account_names      = ["other", "web"]' in finding.remedies[0].terraform
    assert "= 5400" in finding.remedies[0].terraform


def all_findings(tmp_path: Path) -> list[Finding]:
    """Return every finding of the shipped scenarios on paper."""
    found: list[Finding] = []
    for file in sorted(SCENARIOS.glob("*.yaml")):
        record, _ = on_paper(loading.load(file).scenario, tmp_path / file.stem)
        found += verdict.judge(record).findings
    return found


def test_every_shipped_finding_can_be_tried_and_is_written_out(tmp_path: Path) -> None:
    """Complete lines and Terraform, with placeholders for addresses and issuers alone."""
    remedies = [remedy for finding in all_findings(tmp_path) for remedy in finding.remedies]
    assert len(remedies) > 10
    for remedy in remedies:
        assert bool(remedy.occasions) != bool(remedy.unproven), remedy.words
        if not remedy.occasions:
            continue
        holes = re.findall(r"<(the [a-z ]+? of)", "\n".join((*remedy.writes, remedy.terraform)))
        assert set(holes) <= {"the address of", "the issuer of", "the token of"}
        steps = remedy.occasions[0].steps
        for kind, resource in (
            (WriteConfig, "vault_kubernetes_auth_backend_config|vault_jwt_auth_backend"),
            (WriteRole, "vault_kubernetes_auth_backend_role|vault_jwt_auth_backend_role|vault_cert_auth_backend_role"),
            ((Grant, PublishKeys), "kubernetes_cluster_role_binding"),
            (MakeReviewer, "kubernetes_secret_v1"),
        ):
            written = any(isinstance(step, kind) for step in steps)
            assert (re.search(f'resource "({resource})"', remedy.terraform) is not None) == written
        assert remedy.terraform.count("{") == remedy.terraform.count("}")
        lines = remedy.writes or remedy.commands
        assert any(line.startswith(("vault write auth/", "vault list ", "kubectl ", "echo ")) for line in lines)


def test_no_line_of_a_remedy_is_broken_or_shows_a_token(tmp_path: Path) -> None:
    """A token goes from a Secret into a file that nobody else reads, and from there into Vault."""
    remedy = finding_of(seen(changed(), tmp_path)).remedies[1]
    assert not any("\n" in line for line in remedy.writes)
    assert any(line.startswith("(umask 077; kubectl ") for line in remedy.writes)
    assert "token_reviewer_jwt=@reviewer.jwt" in remedy.writes[-1]
    assert 'kubernetes_secret_v1.vault_reviewer_vault_reviewer.data["token"]' in remedy.terraform


def test_a_ca_alone_is_no_remedy_where_the_app_may_not_review(tmp_path: Path) -> None:
    """Vault outside any cluster: the app's own token would be next, and may not review."""
    outside = {"cluster": None, "service-account": None, "source": "1.9.3", "target": "1.10.0"}
    fields = {"kubernetes_ca_cert": "omit"}
    scenario = changed({"vault": outside}, mount(configured={"by": "1.9.3", "with-token-file": False}, config=fields))
    (alone,) = finding_of(seen(scenario, tmp_path / "may")).remedies
    assert steps_of(alone) == ["write-config"]
    may_not = changed(
        {"vault": outside},
        mount(configured={"by": "1.9.3", "with-token-file": False}, config=fields),
        web(may_review_tokens=False),
    )
    (both,) = finding_of(seen(may_not, tmp_path / "may-not")).remedies
    assert steps_of(both) == ["make-reviewer", "grant", "write-config"]
