"""Remedies that are tried: what mends is said to, what does not is no secret, and what is given away is shown."""

from __future__ import annotations

import inspect
import json
import pickle
import shutil
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any, Final, cast, get_args

import msgspec
import pytest
from click.testing import CliRunner

from harness.analysis import trials, verdict
from harness.analysis.diagnosis import Finding
from harness.analysis.proofs import Proof
from harness.analysis.rules import RULES, Occasion, Remedy, Rule
from harness.analysis.trials import Trial
from harness.analysis.verdict import Judgement
from harness.cli import commands
from harness.drivers.paper.driver import PaperDriver
from harness.record import journal as journals
from harness.record.events import ProofsBegun, RunStarted
from harness.record.journal import Journal
from harness.rehearsal import rehearsal
from harness.reports import github, junit, markdown, text
from harness.scenario import course, loading
from harness.scenario.course import AnyStep, Grant, WriteConfig, WriteRole
from harness.scenario.outcomes import Cause
from harness.scenario.schema import Scenario
from harness.scenario.topology import ISSUER
from harness.session.proving import Proving
from tests.runs import OUTAGE, SCENARIOS, started, variant
from tests.test_rules import ONE_CLUSTER, changed, mount, path, policy, role, web


def proven(scenario: Scenario, directory: Path, **driver: Any) -> Judgement:
    """Rehearse *scenario* on paper, and try its remedies."""
    start = msgspec.structs.replace(started(scenario), prove_remedies=True)
    paper = PaperDriver(**driver)
    with Journal.opened(directory / "run") as journal:
        quiet = Proving(start, paper, journal, lambda _event: None, lambda _name: None, lambda _line: None)
        return rehearsal.rehearse(start, paper, journal, 0, quiet).judgement


def states(judgement: Judgement) -> list[tuple[str, int, str, str]]:
    """Return cause, number, moment and outcome of every remedy that was tried."""
    return [(one.rule, one.remedy, one.timing, one.state) for one in judgement.proofs]


# --- what mends ---


def test_the_outages_remedies_mend_before_and_after(tmp_path: Path) -> None:
    judgement = proven(changed(), tmp_path)
    assert states(judgement) == [
        ("reviewer-fallback-local", number, timing, "mends") for number in (0, 1) for timing in ("before", "after")
    ]
    before, after = judgement.proofs[:2]
    assert (before.before, before.after) == (
        {"login web": "200"},
        {"after the remedy": {"login web": "200"}, "after 1.11.0": {"login web": "200"}},
    )
    assert (after.before, after.after) == (
        {"login web": "403 permission denied"},
        {"after the remedy": {"login web": "200"}},
    )
    assert (before.held, after.held, before.fallen, after.fallen) == (10, 5, (), ())
    assert judgement.exit_code == 0
    assert judgement.unproven == ()


def test_a_record_tells_of_its_proofs_again(tmp_path: Path) -> None:
    """Each is a record of its own beside the run's, and whole by itself."""
    judgement = proven(changed(), tmp_path)
    record = journals.load(tmp_path / "run")
    assert verdict.judge(record) == judgement
    assert journals.load(tmp_path / "run" / "record.jsonl").proofs.keys() == record.proofs.keys()
    assert len(record.proofs) == 4
    for name, one in record.proofs.items():
        alone = verdict.judge(journals.load(tmp_path / "run" / "proofs" / name))
        assert (one.holes, alone.troubles, alone.doubts) == ((), (), ())


def test_a_record_takes_its_proofs_along(tmp_path: Path) -> None:
    """To another process, where the files may not be."""
    judgement = proven(changed(), tmp_path)
    there = pickle.loads(pickle.dumps(journals.load(tmp_path / "run")))
    assert verdict.judge(there).proofs == judgement.proofs


def test_no_refusal_leaves_nothing_to_prove(tmp_path: Path) -> None:
    judgement = proven(changed(path("1.7.0", "1.9.2"), {"expect": None}), tmp_path)
    assert (judgement.proofs, judgement.unproven, judgement.exit_code) == ((), (), 0)
    assert not (tmp_path / "run" / "proofs").exists()


def test_a_course_goes_on_after_the_remedy_and_not_back(tmp_path: Path) -> None:
    """All hops that come after it are gone, so that it is seen to last; a way back would undo it."""
    scenario = changed({"vault": {"source": "1.7.0", "via": ["1.9.2", "1.9.3"], "target": "1.11.0"}})
    (before, after, *_) = proven(scenario, tmp_path).proofs
    assert list(before.after) == ["after the remedy", "after 1.9.3", "after 1.11.0"]
    assert (before.moment, before.version) == ("after 1.9.2", "1.9.2")
    assert list(after.after) == ["after the remedy", "after 1.11.0"]


def test_a_course_that_goes_back_is_tried_without_that(tmp_path: Path) -> None:
    steps = [{"snapshot": {}}, {"upgrade": "1.11.0"}, {"roll-back": "binary"}, {"roll-back": "snapshot"}]
    scenario = changed({"vault": {"target": None}, "course": steps})
    judgement = proven(scenario, tmp_path)
    assert {one.state for one in judgement.proofs} == {"mends"}
    assert not any("roll-back" in look for one in judgement.proofs for look in one.after)
    record = journals.load(tmp_path / "run")
    assert not any(
        isinstance(step, course.Snapshot) for one in record.proofs.values() for step in one.started.plan.steps
    )


NEW_ISSUER: Final = "https://oidc.example/apps"


def without(scenario: Scenario, cluster: str) -> Scenario:
    """Return *scenario* without a cluster that nothing in it uses."""
    clusters = {name: one for name, one in scenario.clusters.items() if name != cluster}
    return scenario.model_copy(update={"clusters": clusters})


_OUTSIDE: Final = changed(
    {
        "vault": {"cluster": None, "service-account": None, "source": "1.7.0", "target": "1.9.2"},
        "auth": {"kubernetes": {"configured": {"by": "1.7.0", "with-token-file": False}}},
        "expect": None,
    }
)
OUTSIDE: Final = without(_OUTSIDE, "platform")
"""A Vault outside any cluster, and one cluster: nothing is refused, and little has to be started."""


def outside(*changes: dict[str, Any]) -> Scenario:
    scenario = OUTSIDE
    for change in changes:
        scenario = variant(scenario, **change)
    return scenario


def course_of(*steps: dict[str, Any]) -> dict[str, Any]:
    """Return the change that has these steps done instead of an upgrade."""
    return {"vault": {"target": None}, "course": list(steps)}


def by_fetched_keys(config: dict[str, Any], source: str, *steps: dict[str, Any]) -> Scenario:
    """Return a Vault that gets the keys of a cluster's tokens by a *config*, and a course of *steps*."""
    document = by_signature(**{"bound-audiences": ["vault"]}).model_dump(mode="json", by_alias=True, exclude_unset=True)
    document["clusters"]["apps"] |= {"issuers": ["address"], "publishes-keys": True}
    document["vault"] = {"source": source}
    document["auth"]["pods"]["config"] = config
    return loading.loads(json.dumps(document | {"course": list(steps)})).scenario


def by_signature(**role: Any) -> Scenario:
    """Return a Vault that checks signatures itself, and a *role* that refuses a token with the audience `vault`."""
    document = {
        "schema": 1,
        "description": "For whom must a token be made out?",
        "clusters": {"apps": {"kubernetes": "1.32.0"}},
        "vault": {"source": "1.9.3", "target": "1.11.0"},
        "auth": {
            "pods": {
                "type": "jwt",
                "cluster": "apps",
                "config": {"jwt_validation_pubkeys": ["cluster"], "bound_issuer": "cluster"},
                "roles": {"web": {"bound-subject": "system:serviceaccount:apps:web", "policies": ["web"], **role}},
            }
        },
        "apps": {
            "web": {
                "mount": "pods", "cluster": "apps", "service-account": "apps/web", "role": "web", "audience": "vault",
            }
        },
    }  # fmt: skip
    return loading.loads(json.dumps(document)).scenario


def by_certificate() -> Scenario:
    """Return a Vault that trusts an authority, and allows other names than the app's."""
    document = by_signature().model_dump(mode="json", by_alias=True, exclude_unset=True)
    role = {"allowed-common-names": ["other"], "policies": ["web"]}
    document["auth"] = {"cert": {"type": "cert", "roles": {"web": role}}}
    document["apps"] = {"web": {"mount": "cert", "role": "web"}}
    return loading.loads(json.dumps(document)).scenario


SCENARIOS_OF: Final = {
    "certificate-not-matched": by_certificate(),
    "jwt-audience-not-bound": by_signature(),
    "jwt-audience-mismatch": by_signature(**{"bound-audiences": ["mail"]}),
    "jwt-keys-held": by_fetched_keys({"jwks_url": "cluster"}, "1.7.0", {"rotate-keys": {"apps": "signing"}}),
    "jwt-discovered-issuer": by_fetched_keys(
        {"oidc_discovery_url": "cluster"},
        "1.13.0",
        {"set-issuers": {"apps": [NEW_ISSUER]}, "then-look": False},
        {"restart": {}},
    ),
    "jwt-bound-claim-mismatch": by_signature(
        **{"bound-audiences": ["vault"], "bound-claims": {"/kubernetes.io/namespace": "elsewhere"}}
    ),
    "jwt-claim-unusable": by_signature(**{"bound-audiences": ["vault"], "user-claim": "mail"}),
    "role-binding-mismatch": outside(role(service_accounts=["other"], namespaces=["elsewhere"])),
    "audience-mismatch": outside(role(audience="vault")),
    "audience-mismatch, with a reviewer": outside(role(audience="vault"), mount(reviewer="long-lived")),
    "client-jwt-not-accepted": outside(web(audience="vault")),
    "issuer-mismatch": outside(mount(config={"issuer": "somebody"})),
    "issuer-mismatch, with a reviewer": outside(mount(config={"issuer": "somebody"}, reviewer="long-lived")),
    "issuer-no-longer-accepted": without(
        changed(
            ONE_CLUSTER,
            {"vault": {"source": "1.9.3"}, "expect": None},
            mount(configured={"by": "1.9.3"}),
            course_of({"set-issuers": {"platform": [NEW_ISSUER]}}),
        ),
        "apps",
    ),
    "reviewer-lacks-tokenreview-rbac": outside(web(may_review_tokens=False)),
    "stored-reviewer-refused": outside(
        mount(reviewer="long-lived"), course_of({"delete-secret": {"reviewer": "kubernetes"}})
    ),
    "local-ca-missing": outside(
        {"vault": {"source": "1.9.3"}},
        mount(configured={"by": "1.9.3"}, config={"kubernetes_ca_cert": "omit"}),
        course_of({"restart": {}}),
    ),
    "signing-key-unknown": variant(_OUTSIDE, **mount(config={"pem_keys": ["platform"], "issuer": "cluster"})),
    "api-server-unreachable": outside(
        mount(config={"kubernetes_host": "https://127.0.0.1:1", "disable_iss_validation": True})
    ),
    "api-server-not-at-host": outside(mount(config={"kubernetes_host": "proxy-401", "disable_iss_validation": True})),
    "api-server-not-at-host, over http": outside(
        mount(config={"kubernetes_host": "cluster-http", "disable_iss_validation": True})
    ),
    "review-audiences-left-out": outside(
        {"vault": {"source": "1.12.0", "target": "1.13.0"}},
        mount(configured={"by": "1.12.0"}, reviewer="long-lived", config={"kubernetes_host": "proxy-no-audiences"}),
    ),
    "address-not-bound": outside(role(bound_cidrs=["192.0.2.0/24"])),
    "token-limits": outside(course_of({"write": {"role": "web", "token-type": "batch"}})),
    "policy-denies, by a deny": outside(policy(web='path "secret/data/web" { capabilities = ["deny"] }')),
    "policy-denies, by silence": outside(policy(web='path "secret/data/x" { capabilities = ["read"] }')),
    "policy-denies, without a policy": outside(role(policies=[])),
    "reviewer-fallback-client": without(
        changed(
            ONE_CLUSTER,
            {"vault": {"source": "1.9.2"}, "expect": None},
            mount(configured={"by": "1.9.2"}),
            web(may_review_tokens=False),
            course_of({"upgrade": "1.11.0"}, {"write": {"config": {"issuer": "cluster"}}}, {"roll-back": "binary"}),
        ),
        "apps",
    ),
    "review-without-audiences": outside(
        {"vault": {"source": "1.3.0", "target": "1.4.0", "storage": "file"}},
        mount(configured={"by": "1.3.0"}, reviewer="long-lived"),
        role(audience="vault"),
        web(audience="vault"),
    ),
    "client-jwt-not-accepted, and demanded": outside(role(audience="vault"), web(audience="vault")),
    "api-server-untrusted": changed(
        {"vault": {"source": "1.9.3", "target": "1.11.0"}, "expect": None},
        mount(
            configured={"by": "1.9.3"},
            config={"kubernetes_ca_cert": "omit", "disable_iss_validation": True, "disable_local_ca_jwt": False},
        ),
    ),
}
"""By cause: a system that refuses an app for it. Real servers are given the same ones."""

ON_PAPER: Final = [cause for cause in SCENARIOS_OF if cause != "api-server-untrusted"]
"""What paper knows how to refuse."""

REFUSALS: Final = ("login refused", "access refused", "refused from the start", "upgrade refused", "restart refused")


UNPROVABLE: Final = {
    "user-lockout": "nobody is refused who knows the secret, or a mount is to be tuned: no step does that",
    "certificate-expired": "a new certificate is no step that a rehearsal can do",
    "certificate-key-not-compared": "nobody is refused by it who should be let in",
    "secret-not-accepted": "a new secret is no step that a rehearsal can do",
    "jwt-claim-mismatch": "whether the token or the demand is wrong is for the operator to say",
    "rewrite-refused": "nobody is refused by it",
    "rewrite-changes": "nobody is refused by it",
    "changed-by-step": "nobody is refused by it",
    "agent-refused-alone": "no remedy is tried with an agent",
    "disable-mlock-unsaid": "no app is refused: Vault is not there at all",
    "clock-ahead": "a clock is no setting of Vault's",
    "agent-sink-missing": "where an agent writes is no setting of Vault's",
    "agent-not-back": "no remedy is tried with an agent",
    "mount-type-removed": "no app is refused: Vault is not there at all, or a mount that no app uses",
    "refused-at-once": "nobody knows how many logins at once are wanted",
    "seal-vault-sealed": "no app is refused: Vault is not there at all",
    "seal-vault-away": "no app is refused: Vault is not there at all",
    "seal-token-refused": "no app is refused: Vault is not there at all",
    "seal-migration-not-told": "no app is refused: Vault is not there at all",
    "seal-not-disabled": "no app is refused: Vault is not there at all",
    "issuer-check-lost": "nobody is refused by it",
    "token-algorithm-refused": "neither another version nor a key of another kind is a step of a course",
    "login-identity-changed": "nobody is refused by it",
    "stored-reviewer-expires": "nobody is refused yet; what mends it is proven for stored-reviewer-refused",
    "login-token-rejected": "what became of the app's account is no doing of Vault's",
    "leader-replaced-first": "an order is no setting",
    "leader-of-older-version": "an order is no setting",
    "quorum-lost": "no setting keeps a quorum that is not there",
    "node-did-not-rejoin": "what keeps a node away is no setting of Vault's",
    "node-removed": "what keeps a node away is no setting of Vault's",
    "standby-does-not-forward": "who is sent to which node is no setting of Vault's",
    "raft-operation-unknown": "what keeps a node away is no setting of Vault's",
    "mount-type-unknown": "what keeps a node away is no setting of Vault's",
    "vault-refuses-data": "no setting is known that mends it",
    "storage-connection-lost": "whether clients ask again is theirs to know",
    "storage-away": "where its servers are is the operator's to know",
    "database-away": "where the database is, is the operator's to know",
    "lease-irrevocable": "nobody is refused by it",
    "audit-device-blocked": "where else it could write is the operator's to know",
    "audit-device-refused": "who may read its file is the operator's to know",
    "audit-entry-changed": "nobody is refused by it",
    "unexplained": "nobody knows the cause",
    "reviewer-may-not-read": "a course has no step that gives this right",
    "lease-ended": "a longer lease is no step that a rehearsal can do",
    "no-such-mount": "nobody but the operator knows which mount is meant",
}
"""The causes for which no remedy can be tried, and why: their remedies say so themselves."""


def refuses(file: Path) -> bool:
    """Does a shipped scenario expect that somebody is refused, for a cause whose remedies can be tried?"""
    expected = loading.load(file).scenario.expect or ()
    return any(one.change in REFUSALS and one.cause not in UNPROVABLE for one in expected)


RED: Final = [file for file in sorted(SCENARIOS.glob("*.yaml")) if refuses(file) and "storm:" not in file.read_text()]
"""The shipped scenarios whose remedies are proven on real servers. In a trial no storm is made."""

MENDED: Final = {
    "frozen": changed(ONE_CLUSTER, mount(configured={"by": "1.8.0"}), path("1.8.0", "1.9.3")),
    "frozen for another cluster": changed(mount(configured={"by": "1.7.0"})),
    "the reviewer may not review": changed(mount(reviewer="long-lived", reviewer_may_review_tokens=False)),
    "a token that is no bearer, and demanded": changed(
        web(audience="vault"), role(audience="vault"), path("1.7.0", "1.9.2")
    ),
    "a pod's token": changed(ONE_CLUSTER, mount(reviewer="pod-token"), path("1.9.3", "1.11.0")),
    "a new issuer of the cluster": outside(course_of({"set-issuers": {"apps": [NEW_ISSUER, ISSUER]}})),
    "another issuer": changed(mount(config={"issuer": "somebody"}), path("1.7.0", "1.9.2")),
    "a policy denies, and the reviewer falls back": changed(
        policy(web='path "secret/data/web" { capabilities = ["deny"] }')
    ),
}


@pytest.mark.parametrize(
    "scenario", [*MENDED.values(), *map(SCENARIOS_OF.__getitem__, ON_PAPER)], ids=[*MENDED, *ON_PAPER]
)
def test_every_remedy_of_a_cause_mends(scenario: Scenario, tmp_path: Path) -> None:
    """Whatever is advised for it, and at whichever moment that is."""
    judgement = proven(scenario, tmp_path)
    assert judgement.proofs
    assert [(one.sentence, one.state) for one in judgement.proofs if one.state != "mends"] == []
    assert judgement.unproven == ()


def test_every_cause_is_proven_or_says_why_not() -> None:
    """A cause that is new needs a scenario here, which real servers are given as well, or a reason."""
    shipped = {one.cause for file in RED for one in loading.load(file).scenario.expect or ()}
    proved = {cause.partition(",")[0] for cause in SCENARIOS_OF} | (shipped - UNPROVABLE.keys())
    assert proved == set(get_args(Cause)) - UNPROVABLE.keys()


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule.name in UNPROVABLE], ids=lambda rule: rule.name)
def test_a_rule_that_proves_nothing_refuses_nobody_or_says_why(rule: Rule) -> None:
    """By what its module has it say: a remedy without steps has a reason in its own field."""
    module = inspect.getmodule(rule.examine)
    assert module is not None
    assert rule.name == "changed-by-step" or "unproven=" in inspect.getsource(module)


# --- what does not ---


def test_a_remedy_that_does_not_mend_is_no_secret(tmp_path: Path) -> None:
    """Where the API server accepts no bearer at all, nothing of what is advised helps: that is exit code 1."""
    script = {("review", "kubernetes", "1.11.0"): "refuse"}
    judgement = proven(changed(), tmp_path, script=script)
    assert {one.state for one in judgement.proofs} == {"does not mend"}
    assert (judgement.outcome, judgement.exit_code) == ("expected-fail", 1)
    assert judgement.proofs[0].refused == ("web",)
    for page in (text.render(judgement), text.render(judgement, details=False), markdown.render(judgement)):
        assert "DOES NOT MEND" in page
        assert "and web is still refused" in " ".join(page.split())
    assert text.render(judgement).splitlines()[-1] == (
        "XFAIL (expected)  4 of 4 trials of remedies failed; login refused: web, at Vault 1.11.0; exit 1"
    )
    errors = [line for line in github.render(judgement, "x.yaml", {}).splitlines() if line.startswith("::error")]
    assert [line.partition("title=")[2].partition("::")[0] for line in errors] == [
        f"Remedy {number} for reviewer-fallback-local%3A does not mend" for number in (1, 1, 2, 2)
    ]
    root = ET.fromstring(junit.render(judgement))
    failed = [case.get("name", "") for case in root.iter("testcase") if case.find("failure") is not None]
    assert [name.partition(" at ")[0] for name in failed] == [
        f"remedy {number} for reviewer-fallback-local" for number in (1, 1, 2, 2)
    ]


def test_what_nothing_can_be_tried_for_is_told(tmp_path: Path) -> None:
    """A refusal without a known cause has no remedy to try: nobody may take silence for a proof."""
    judgement = proven(changed(path("1.7.0", "1.9.2")), tmp_path, script={("login", "web", "1.9.2"): "refuse"})
    assert judgement.proofs == ()
    (said,) = judgement.unproven
    assert said == "no remedy was tried for web, unexplained: nobody knows the cause, so there is nothing to try"
    assert judgement.exit_code == 1  # the regression itself
    expected = changed(path("1.7.0", "1.9.2"), {"expect": [{"change": "login refused", "app": "web"}]})
    judgement = proven(expected, tmp_path / "expected", script={("login", "web", "1.9.2"): "refuse"})
    assert (judgement.outcome, judgement.exit_code) == ("expected-fail", 4)
    assert said in judgement.reasons
    assert said in " ".join(text.render(judgement, details=False).split())


@pytest.mark.parametrize("how", ["gone", "cut off", "another"])
def test_a_proof_without_its_record_is_none(how: str, tmp_path: Path) -> None:
    judgement = proven(changed(), tmp_path)
    first, second = sorted((tmp_path / "run" / "proofs").iterdir())[:2]
    if how == "gone":
        shutil.rmtree(first)
    elif how == "cut off":
        lines = (first / "record.jsonl").read_text().splitlines(keepends=True)
        (first / "record.jsonl").write_text("".join(lines[: len(lines) // 2]))
    else:
        shutil.copy(second / "record.jsonl", first / "record.jsonl")
    again = verdict.judge(journals.load(tmp_path / "run"))
    assert [one.state for one in again.proofs] == ["not tried", "mends", "mends", "mends"]
    assert (judgement.exit_code, again.exit_code) == (0, 4)


def test_a_version_that_dies_under_the_remedy_proves_nothing(tmp_path: Path) -> None:
    record = journals.load(tmp_path / "run") if (judged := proven(changed(), tmp_path)) else None
    assert record is not None
    trial = next(iter(trials.trials(judged.findings, record.started.plan)))
    (proof,) = tried(trial, changed(), tmp_path / "dies", dies_at="1.11.0")
    assert (proof.state, "ended by itself" in proof.sentence) == ("not tried", True)


# --- what is given away ---


def tried(trial: Trial, scenario: Scenario, directory: Path, **driver: Any) -> tuple[Proof, ...]:
    """Return what came of one trial, beside a run of *scenario* that saw what it is to mend."""
    start = msgspec.structs.replace(started(scenario), prove_remedies=True)
    with Journal.opened(directory) as journal:
        rehearsal.rehearse(start, PaperDriver(), cast("Journal", Written(journal, trial)))
    own: RunStarted = msgspec.structs.replace(start, plan=trial.plan, proves=trial.proves, prove_remedies=False)
    with Journal.opened(directory / "proofs" / trial.name) as journal:
        rehearsal.rehearse(own, PaperDriver(**driver), journal)
    return verdict.judge(journals.load(directory)).proofs


class Written:
    """A journal that says before its end what was tried."""

    def __init__(self, journal: Journal, trial: Trial) -> None:
        self._journal, self._trial = journal, trial

    def __getattr__(self, name: str) -> Any:
        return getattr(self._journal, name)

    def write(self, event: Any) -> None:
        if type(event).__name__ == "RunEnded":
            self._journal.write(ProofsBegun(proofs={self._trial.name: self._trial.proves}))
        self._journal.write(event)


def advised(scenario: Scenario, directory: Path, *steps: AnyStep, moment: str = "before") -> Trial:
    """Return a trial in which *steps* are what is advised for the refusal of *scenario*."""
    start = started(scenario)
    with Journal.opened(directory) as journal:
        findings = rehearsal.rehearse(start, PaperDriver(), journal).judgement.findings
    finding = next(one for one in findings if one.probe == "login")
    occasion = Occasion("before", moment, "1.7.0", steps)
    made: Finding = msgspec.structs.replace(finding, remedies=(Remedy("Do this.", occasions=(occasion,)),))
    return next(iter(trials.trials([made], start.plan)))


def test_a_right_for_every_app_is_a_risk_that_is_shown(tmp_path: Path) -> None:
    """The app's own token has somebody else's reviewed, which it could not before."""
    judgement = proven(changed(web(may_review_tokens=False), path("1.7.0", "1.9.2")), tmp_path)
    wide, narrow = judgement.proofs
    (risk,) = wide.risks
    assert (risk.probe, risk.shown, risk.new) == ("abuse-token-review", True, True)
    assert [line.text.rpartition(" HTTP ")[2][:3] for line in risk.evidence] == ["403", "201"]
    assert wide.added == ("apps/web is bound to system:auth-delegator in apps",)
    assert narrow.risks == ()
    for page in (text.render(judgement), markdown.render(judgement)):
        assert "the abuse was shown: before" not in " ".join(page.split())
        assert "has the token of system:serviceaccount:apps:rehearsal-stranger reviewed: HTTP 201" in " ".join(
            page.split()
        )


def test_a_right_that_was_there_is_a_risk_and_no_news(tmp_path: Path) -> None:
    proof = proven(changed(), tmp_path).proofs[0]
    (risk,) = proof.risks
    assert (risk.shown, risk.new, proof.added) == (True, False, ())


def test_a_check_that_is_switched_off_is_a_risk_that_is_shown(tmp_path: Path) -> None:
    """A token of another issuer, which never ends, gets in; with the issuer named instead it does not."""
    judgement = proven(MENDED["another issuer"], tmp_path)
    off, named = judgement.proofs
    (risk,) = [one for one in off.risks if one.probe == "abuse-secret-token"]
    assert (risk.shown, risk.new) == (True, True)
    assert [one.probe for one in named.risks] == ["abuse-token-review"]


def test_a_role_for_everybody_is_a_risk_and_lets_impostors_in(tmp_path: Path) -> None:
    scenario = changed(role(service_accounts=["other"]), path("1.7.0", "1.9.2"))
    spec = scenario.auth["kubernetes"].roles["web"]
    everybody = course.WriteRole(
        mount="kubernetes",
        role="web",
        spec=msgspec.structs.replace(
            started(scenario).plan.resolved.mounts["kubernetes"].roles["web"],
            service_accounts=("*",),
            namespaces=("*",),
        ),
    )
    assert spec.service_accounts == ("other",)
    trial = advised(scenario, tmp_path / "first", everybody)
    (proof,) = tried(trial, scenario, tmp_path / "run")
    (risk,) = proof.risks
    assert (proof.state, risk.probe, risk.shown, risk.new) == ("opens a hole", "abuse-any-account", True, True)
    assert proof.fallen == ("wrong-service-account web", "wrong-namespace web")
    assert "role web of auth/kubernetes has the service accounts * as well" in proof.added


def test_what_refuses_somebody_else_does_not_mend(tmp_path: Path) -> None:
    """A right that is taken from one app to help another is no remedy."""
    scenario = changed(
        {"apps": {"other": {**dict.fromkeys(()), "cluster": "apps", "service-account": "apps/other", "role": "web"}}},
        role(service_accounts=["other"]),
        path("1.7.0", "1.9.2"),
    )
    scenario = scenario.model_copy(
        update={
            "apps": {**scenario.apps, "other": scenario.apps["other"].model_copy(update={"may_review_tokens": True})}
        }
    )
    held = started(scenario).plan.resolved.mounts["kubernetes"].roles["web"]
    swapped = WriteRole(mount="kubernetes", role="web", spec=msgspec.structs.replace(held, service_accounts=("web",)))
    trial = advised(scenario, tmp_path / "first", swapped)
    (proof,) = tried(trial, scenario, tmp_path / "run")
    assert (proof.state, proof.granted, proof.refused) == ("does not mend", ("web",), ("other",))
    assert "who was not before" in proof.sentence


def test_what_strikes_later_has_remedies_of_its_own(tmp_path: Path) -> None:
    """A policy is mended, and at the hop the login is refused, as it is in the run itself: both are told."""
    *others, mended = proven(MENDED["a policy denies, and the reviewer falls back"], tmp_path).proofs
    assert (mended.rule, mended.state) == ("policy-denies", "mends")
    assert mended.sentence.endswith(
        "web is granted; after 1.11.0 web is refused for reviewer-fallback-local, which has remedies of its own"
    )
    assert {one.rule for one in others} == {"reviewer-fallback-local"}


def test_a_cause_that_was_hidden_is_named(tmp_path: Path) -> None:
    """The role refused first, so the run itself never saw what would be next."""
    (proof,) = proven(changed(role(service_accounts=["other"])), tmp_path).proofs
    assert proof.state == "does not mend"
    assert "web is still refused (login 403 after 1.11.0), for reviewer-fallback-local: " in proof.sentence


def test_half_a_remedy_says_what_is_next(tmp_path: Path) -> None:
    """The first cause is gone and the second refuses: that one is named."""
    scenario = changed(role(service_accounts=["other"]), web(may_review_tokens=False), path("1.7.0", "1.9.2"))
    held = started(scenario).plan.resolved.mounts["kubernetes"].roles["web"]
    bound = WriteRole(mount="kubernetes", role="web", spec=msgspec.structs.replace(held, service_accounts=("web",)))
    (proof,) = tried(advised(scenario, tmp_path / "first", bound), scenario, tmp_path / "run")
    assert proof.state == "does not mend"
    assert "for reviewer-lacks-tokenreview-rbac: system:serviceaccount:apps:web reviews" in proof.sentence
    again = Grant(cluster="apps", service_account="apps/web")
    (proof,) = tried(advised(scenario, tmp_path / "second", bound, again), scenario, tmp_path / "again")
    assert proof.state == "mends"


def test_one_trial_serves_all_apps_with_one_remedy(tmp_path: Path) -> None:
    scenario = changed()
    apps = {f"web-{number}": scenario.apps["web"] for number in range(5)}
    judgement = proven(scenario.model_copy(update={"apps": apps}), tmp_path)
    assert [len(one.apps) for one in judgement.proofs] == [5, 5, 5, 5]
    assert len({question.app for question in _abuses(tmp_path)}) == 3


def _abuses(tmp_path: Path) -> list[Any]:
    (first, *_) = journals.load(tmp_path / "run").proofs.values()
    return [question for question in first.started.plan.questions if question.probe.startswith("abuse-")]


# --- the command line ---


def rehearse(*words: object) -> Any:
    return CliRunner().invoke(commands.main, ["run", str(OUTAGE), "--driver", "paper", *map(str, words)])


def test_the_command_line_proves_and_judges_again(tmp_path: Path) -> None:
    result = rehearse("--prove-remedy", "--run-dir", tmp_path / "run")
    assert result.exit_code == 0
    assert result.stdout.count("PROVEN") == 2
    assert "remedy 4 of 4, after the break, on Vault 1.11.0: " in result.stderr
    assert "What to write, in full: Store a long-lived token_reviewer_jwt" in result.stdout
    again = CliRunner().invoke(commands.main, ["judge", str(tmp_path / "run")])
    assert again.stdout == result.stdout
    assert result.stdout.splitlines()[-3].endswith(
        "-v: evidence, Terraform, configs, every change, 12 things not checked, digests"
    ) or ("Terraform" in result.stdout)
    loud = CliRunner().invoke(commands.main, ["judge", str(tmp_path / "run"), "-v"])
    assert 'resource "kubernetes_cluster_role_binding" "vault_reviewer_vault_reviewer" {' in loud.stdout


def test_what_is_proven_cannot_be_kept_as_well() -> None:
    assert CliRunner().invoke(commands.main, ["run", str(OUTAGE), "--prove-remedy", "--keep"]).exit_code == 2


@pytest.mark.processes
def test_several_scenarios_are_proven_each(tmp_path: Path) -> None:
    other = SCENARIOS / "a-frozen-reviewer-dies-with-its-pod.yaml"
    words = ["run", str(OUTAGE), str(other), "--driver", "paper", "--prove-remedy", "--run-dir", str(tmp_path)]
    result = CliRunner().invoke(commands.main, words)
    assert result.exit_code == 0
    assert len(list(tmp_path.glob("*/proofs/*/record.jsonl"))) == 4 + 3


def test_a_write_of_a_remedy_is_whole(tmp_path: Path) -> None:
    """What a trial wrote is what the remedy says, in the plan of its record."""
    loaded = loading.load(OUTAGE)
    proven(loaded.scenario, tmp_path)
    for name, one in journals.load(tmp_path / "run").proofs.items():
        steps = [step for step in one.started.plan.steps if isinstance(step, WriteConfig)]
        assert len(steps) == 2, name
        assert steps[1].fields != steps[0].fields
