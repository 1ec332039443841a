"""What changed becomes a finding, what did not stays silent, and wrong leads are ruled out only with evidence."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from harness.analysis import verdict
from harness.analysis.correlation import join
from harness.analysis.diagnosis import UNEXPLAINED, Finding, worst_first
from harness.analysis.record_view import Facts
from harness.analysis.ruled_out import examined
from harness.analysis.rules.rule import Case
from harness.record.events import AnyEvent, ApiAuditLine, ApiLogLine, TokenIssued, VaultLogLine
from harness.record.observation import Observation
from tests.runs import on_paper
from tests.test_rules import (
    CASES,
    ONE_CLUSTER,
    changed,
    config,
    finding_of,
    mapped,
    mount,
    path,
    refused_logins,
    role,
    seen,
    web,
    with_lines,
    without,
)

REVIEWED = ("issuer", "role binding", "CA", "reachability")


def leads_of(finding: Finding) -> dict[str, str]:
    """Return each lead of *finding* and its state."""
    return {lead.lead: lead.state for lead in finding.ruled_out}


@pytest.mark.parametrize("name", CASES)
def test_a_lead_is_ruled_out_with_evidence_only(name: str, tmp_path: Path) -> None:
    """In every known case each lead that is ruled out shows the lines that rule it out."""
    scenario, _, _ = CASES[name]
    leads = finding_of(seen(scenario, tmp_path)).ruled_out
    assert leads
    assert all(lead.because for lead in leads)
    assert all(lead.evidence for lead in leads if lead.state == "ruled out")


def test_a_review_that_was_seen_rules_the_usual_suspects_out(tmp_path: Path) -> None:
    """The outage: none of the leads that cost the operators days is left."""
    assert leads_of(finding_of(seen(changed(), tmp_path))) == dict.fromkeys((*REVIEWED, "JWT expiry"), "ruled out")


def test_without_a_review_the_leads_stay_open(tmp_path: Path) -> None:
    """Where no TokenReview was seen, only the token's own life is known."""
    record = mapped(seen(changed(), tmp_path), without(ApiAuditLine))
    assert leads_of(finding_of(record)) == dict.fromkeys(REVIEWED, "open") | {"JWT expiry": "ruled out"}


def test_the_lead_that_vault_names_is_not_listed_as_a_lead(tmp_path: Path) -> None:
    """A role binding that refuses is the cause and no suspect, and Vault had come past the issuer when it said so."""
    leads = leads_of(finding_of(seen(changed(role(service_accounts=["other"])), tmp_path)))
    assert "role binding" not in leads
    assert leads["issuer"] == "ruled out"


@pytest.mark.parametrize(("target", "words"), [("1.10.0", 'claim "aud" is invalid'), ("1.13.0", "invalid audience")])
def test_vaults_own_words_rule_the_other_leads_out(target: str, words: str, tmp_path: Path) -> None:
    """In every version the issuer comes before the audience, that before the binding, and all before a review."""
    validated = config("1.7.0", disable_local_ca_jwt=True, issuer="cluster", disable_iss_validation=False)
    record = seen(changed(role(audience="vault"), validated, path("1.7.0", target)), tmp_path)
    finding = next(f for f in verdict.judge(record).findings if f.rule == "audience-mismatch")
    leads = {lead.lead: lead for lead in finding.ruled_out}
    assert {name: lead.state for name, lead in leads.items() if name != "JWT expiry"} == dict.fromkeys(
        ("issuer", "role binding", "CA", "reachability"), "ruled out"
    )
    assert "before the audience" in leads["issuer"].because
    assert "had not come to this yet" in leads["role binding"].because
    assert any("audience" in e.text or "aud" in e.text for e in leads["issuer"].evidence)


@pytest.mark.parametrize(
    ("target", "role_binding"), [("1.10.0", "before the signature"), ("1.13.0", "only after that")]
)
def test_which_leads_a_signature_rules_out_depends_on_the_version(
    target: str, role_binding: str, tmp_path: Path
) -> None:
    """Up to 1.10 the signature comes last of Vault's own checks, and from 1.11.0 on first."""
    other = {"clusters": {"other": {"kubernetes": "1.32.0"}}}
    keys = config("1.7.0", disable_iss_validation=True, pem_keys=["other"])
    record = seen(changed(other, keys, path("1.7.0", target)), tmp_path)
    found = [f for f in verdict.judge(record).findings if f.rule == "signing-key-unknown"]
    (record_of_target,) = [
        o for o in record.of(Observation) if o.probe == "login" and o.version == target and o.app == found[0].app
    ]
    case = Case("regression", "login refused", record_of_target, None, Facts(record))
    leads = list(examined(case))
    assert {lead.state for lead in leads if lead.lead in REVIEWED} == {"ruled out"}
    assert [role_binding in lead.because for lead in leads if lead.lead == "role binding"] == [True]


def test_a_config_that_compares_no_issuer_rules_it_out(tmp_path: Path) -> None:
    """No TokenReview was seen, and Vault says nothing: the issuer is no suspect where nobody looks at it."""
    off = config("1.7.0", disable_local_ca_jwt=True, disable_iss_validation=True)
    on = config("1.7.0", disable_local_ca_jwt=True, issuer="cluster", disable_iss_validation=False)
    for fields, state in ((off, "ruled out"), (on, "open")):
        scenario = changed(fields, web(may_review_tokens=False), path("1.7.0", "1.10.0"))
        record = mapped(seen(scenario, tmp_path / state), without(ApiAuditLine))
        (lead,) = [lead for lead in finding_of(record).ruled_out if lead.lead == "issuer"]
        assert lead.state == state
        assert bool(lead.evidence) == (state == "ruled out")


def test_a_token_that_had_ended_leaves_its_lead_open(tmp_path: Path) -> None:
    """A login with a token that was past its end is a lead, whoever reviewed it."""
    record = seen(changed(), tmp_path)

    def ended(event: AnyEvent) -> AnyEvent:
        return msgspec.structs.replace(event, expires=1.0) if isinstance(event, TokenIssued) else event

    assert leads_of(finding_of(mapped(record, ended)))["JWT expiry"] == "open"


def test_a_frozen_reviewer_is_certain_only_with_the_api_servers_words(tmp_path: Path) -> None:
    """The API server's log says that the token is dead; without it the cause is strong and not certain."""
    scenario, _, _ = CASES["frozen, one cluster"]
    record, _ = on_paper(scenario, tmp_path)
    (login,) = refused_logins(record)
    text = "service account token has been invalidated"
    dead = ApiLogLine(at=login.ended, moment=login.moment, cluster="platform", message=text)
    assert finding_of(record).confidence == "strong"
    assert finding_of(with_lines(record, [dead])).confidence == "certain"


def test_the_unexplained_shows_all_there_is(tmp_path: Path) -> None:
    """Where no rule fits, the finding has the answer, the answer before it, and every line of evidence."""
    record, judgement = on_paper(changed(), tmp_path, script={("read", "secret/data/web", "1.11.0"): "refuse"})
    old = next(f for f in judgement.findings if f.probe == "old-token-read")
    assert (old.rule, old.confidence, old.effect, old.item) == (UNEXPLAINED, "none", "access refused", "secret/web")
    assert "before it answered 200" in old.sentence
    assert old.evidence[0].source == "answer"
    assert record.ended


def test_who_must_be_refused_and_is_not_is_found(tmp_path: Path) -> None:
    """A negative probe that is granted is wrong from the start, and a regression where it comes with a hop."""
    always = {("login", "web", version): "grant" for version in ("1.7.0", "1.11.0")}
    _, judgement = on_paper(changed(), tmp_path / "always", script=always)
    found = {f.probe: (f.kind, f.effect) for f in judgement.findings if f.probe != "login"}
    assert found["wrong-namespace"] == ("pre-existing", "granted against the rule")
    _, judgement = on_paper(changed(), tmp_path / "hop", script={("login", "web", "1.11.0"): "grant"})
    found = {f.probe: (f.kind, f.effect) for f in judgement.findings if f.probe != "login"}
    assert found["wrong-namespace"] == ("regression", "login granted")


def test_a_question_that_was_not_asked_once_is_compared_with_the_last_answer(tmp_path: Path) -> None:
    """A hop at which nobody could ask does not hide that the next one refuses."""
    record, judgement = on_paper(
        changed({"vault": {"via": ["1.9.2"]}}), tmp_path, script={("login", "web", "1.9.2"): "silent"}
    )
    (login,) = [f for f in judgement.findings if f.probe == "login"]
    assert (login.effect, login.hop, login.rule) == ("login refused", "1.11.0", "reviewer-fallback-local")
    assert any(o.answer == "unknown" for o in record.of(Observation))


def test_evidence_that_two_questions_could_claim_is_marked(tmp_path: Path) -> None:
    """A log line in the time of two logins is given to both, and both findings say so."""
    record, _ = on_paper(changed(mount(configured={"by": "1.7.0"})), tmp_path)
    login, *_ = refused_logins(record)
    stretched = msgspec.structs.replace(login, ended=login.ended + 60)
    record = mapped(record, lambda event: stretched if event == login else event)
    finding = finding_of(record)
    assert finding.ambiguous
    assert "Two questions could claim" in finding.sentence


def test_a_line_belongs_to_the_question_of_its_mount_and_cluster(tmp_path: Path) -> None:
    """What another cluster or another mount wrote at the same time is no evidence for this login."""
    record, _ = on_paper(changed(), tmp_path)
    (login,) = refused_logins(record)
    foreign: list[AnyEvent] = [
        ApiLogLine(at=login.ended, moment=login.moment, cluster="platform", message="foreign"),
        VaultLogLine(at=login.ended, moment=login.moment, level="error", module="expiration", message="everybody's"),
        ApiLogLine(at=login.ended + 3600, moment=login.moment, cluster="apps", message="late"),
        ApiLogLine(at=login.ended, moment=login.moment, cluster="apps", message="ours"),
    ]
    evidence, last = join(with_lines(record, foreign))[login.id], len(record.events) - 1
    assert [line.text for line in evidence.api_log] == ["ours"]
    assert [line.line for line in (*evidence.log, *evidence.api_log)] == [last + 2, last + 4]
    assert ["everybody's" in line.text for line in evidence.log] == [True]


def test_findings_are_ordered_by_what_a_reader_needs(tmp_path: Path) -> None:
    """Regressions first, then what will hurt later, then what was broken before; within a kind as they came."""
    finding = finding_of(seen(changed(), tmp_path))
    kinds = ("pre-existing", "latent", "regression", "latent")
    mixed = [msgspec.structs.replace(finding, kind=kind, app=str(n)) for n, kind in enumerate(kinds)]
    assert [f.app for f in worst_first(mixed)] == ["2", "1", "3", "0"]


def test_a_reviewer_is_another_one_only_where_both_reviews_were_seen(tmp_path: Path) -> None:
    """One review that is missing from the record is no change of reviewer."""
    record = seen(changed(ONE_CLUSTER), tmp_path)
    half = mapped(record, lambda event: None if isinstance(event, ApiAuditLine) and event.moment == "before" else event)
    assert verdict.judge(half).findings == ()


def test_a_bearer_without_a_name_is_nobody(tmp_path: Path) -> None:
    """An API server that names no user has not accepted the bearer, whatever status it answers."""

    def nameless(event: AnyEvent) -> AnyEvent:
        return (
            msgspec.structs.replace(event, entry=event.entry | {"user": {}})
            if isinstance(event, ApiAuditLine)
            else event
        )

    facts = Facts(mapped(on_paper(changed(), tmp_path)[0], nameless))
    assert {facts.reviewer(o) for o in facts.observations if o.probe == "login"} == {"nobody"}


def test_facts_name_the_reviewer_by_what_the_api_server_saw(tmp_path: Path) -> None:
    """The app, Vault, the stored reviewer, and nobody are told apart by the user of the review."""
    scenarios = {
        "client": changed(path("1.7.0", "1.9.2")),
        "vault": changed(ONE_CLUSTER, mount(configured={"by": "1.9.3"}), path("1.9.3", "1.9.3")),
        "long-lived": changed(mount(reviewer="long-lived")),
        "nobody": changed(mount(configured={"by": "1.7.0"})),
    }
    for expected, scenario in scenarios.items():
        facts = Facts(on_paper(scenario, tmp_path / expected)[0])
        logins = [o for o in facts.observations if o.probe == "login"]
        assert {facts.reviewer(login) for login in logins} == {expected}


def test_two_tokens_of_one_account_are_told_apart_by_the_pod(tmp_path: Path) -> None:
    """The reviewer out of a Secret may be of Vault's own account: a token of its Pod would say which Pod."""
    own = {"vault": {"service-account": "vault/vault"}}
    stored = mount(reviewer="long-lived", reviewer_service_account="vault/vault")
    record, _ = on_paper(changed(ONE_CLUSTER, own, stored), tmp_path)

    def bound(event: AnyEvent) -> AnyEvent:
        if not isinstance(event, ApiAuditLine):
            return event
        user = event.entry["user"] | {"extra": {"authentication.kubernetes.io/pod-uid": ["uid-1"]}}
        return msgspec.structs.replace(event, entry=event.entry | {"user": user})

    for told, expected in ((record, "long-lived"), (mapped(record, bound), "vault")):
        facts = Facts(told)
        assert {facts.reviewer(o) for o in facts.observations if o.probe == "login"} == {expected}


def test_a_check_that_no_longer_happens_is_told_though_the_login_is_still_refused(tmp_path: Path) -> None:
    """Until 1.10 the issuer refuses the login, from 1.11 on the review does: the answer is the same, and less stands
    in the way.
    """
    unset = changed(config("1.4.0"), path(source="1.10.0", target="1.11.0"))
    findings = verdict.judge(seen(unset, tmp_path)).findings
    assert [(f.kind, f.effect, f.rule, f.hop) for f in findings] == [
        ("latent", "check lost", "issuer-check-lost", "1.11.0"),
        ("latent", "refused for another reason", "reviewer-fallback-local", "1.11.0"),
        ("pre-existing", "refused from the start", "issuer-mismatch", ""),
    ]


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ({"entity_id": "one"}, {"entity_id": "another"}, True),
        ({"policies": ["default", "web"]}, {"policies": ["web"]}, True),
        ({"policies": ["default", "web"]}, {"policies": ["web", "default"]}, False),
        ({"entity_id": "one", "lease_duration": 1}, {"entity_id": "one", "lease_duration": 2}, False),
    ],
)
def test_a_login_that_stands_for_somebody_else_is_told(
    before: dict[str, object], after: dict[str, object], told: bool, tmp_path: Path
) -> None:
    """Granted as before, but another entity or other policies: latent, with both answers as evidence."""

    def answered(event: AnyEvent) -> AnyEvent:
        if isinstance(event, Observation) and event.probe == "login":
            return msgspec.structs.replace(event, detail=before if event.moment == "before" else after)
        return event

    record = seen(changed(path(source="1.7.0", target="1.9.2")), tmp_path)
    findings = verdict.judge(mapped(record, answered)).findings
    assert [(f.kind, f.effect, f.rule) for f in findings] == (
        [("latent", "identity changed", "login-identity-changed")] if told else []
    )
    assert all(len(finding.evidence) == 2 for finding in findings)
