"""Whatever a scenario says and however its servers answer, a rehearsal ends in one of three verdicts, with evidence."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from harness.analysis.correlation import EvidenceLine
from harness.analysis.verdict import Judgement, judge
from harness.errors import ScenarioError
from harness.knowledge import kubernetes_auth
from harness.knowledge.versions import at_least
from harness.record import events, journal
from harness.record.journal import Record
from harness.record.observation import Observation
from harness.scenario import loading, plan
from harness.scenario.schema import Scenario
from tests.runs import OUTAGE, SCENARIOS, on_paper, variant
from tests.test_rules import OUTSIDE, changed, config, mount, path, with_logs

VERSIONS: Final = (
    "1.4.0", "1.5.0", "1.5.4", "1.7.0", "1.8.0", "1.9.0", "1.9.2", "1.9.3", "1.10.4", "1.11.0", "1.13.0", "1.16.0",
    "1.21.0", "2.0.0",
)  # fmt: skip
SOURCES: Final[dict[str, type | tuple[type, ...]]] = {
    "api audit": events.ApiAuditLine,
    "api log": events.ApiLogLine,
    "vault audit": events.VaultAuditLine,
    "vault log": events.VaultLogLine,
    "token": events.TokenIssued,
    "config": events.ConfigWritten,
    "answer": (Observation, events.Renewals),
}
"""What a line of evidence calls its source, and the event that it must point at."""

property_test = settings(max_examples=60)


def _config(draw: st.DrawFn, by: str) -> dict[str, Any]:
    """Return literal fields, as far as *by* knows them."""
    fields: dict[str, Any] = {"issuer": draw(st.sampled_from([None, "cluster", "https://elsewhere"]))}
    if at_least(by, kubernetes_auth.KNOWS_ISSUER_OPTION):
        fields["disable_iss_validation"] = draw(st.sampled_from([None, True, False]))
        fields["kubernetes_ca_cert"] = draw(st.sampled_from(["cluster", "omit"]))
    if at_least(by, kubernetes_auth.KNOWS_DISABLE_LOCAL):
        fields["disable_local_ca_jwt"] = draw(st.sampled_from([None, True, False]))
    return {name: value for name, value in fields.items() if value is not None}


def _mount(draw: st.DrawFn, cluster: str, source: str, vault: str | None) -> dict[str, Any]:
    by = draw(st.sampled_from([v for v in VERSIONS if at_least(source, v)]))
    file = draw(st.booleans()) if vault else False
    role: dict[str, Any] = {
        "service-accounts": draw(st.sampled_from([["web"], ["other"], ["*"], ["other", "web"]])),
        "namespaces": draw(st.sampled_from([["apps"], ["other"], ["*"]])),
        "policies": ["web"],
    }
    if draw(st.booleans()):
        role["audience"] = "vault"
    mount: dict[str, Any] = {
        "cluster": cluster,
        "configured": {"by": by, "with-token-file": file},
        "roles": {"web": role},
    }
    choices = [None, "long-lived", "literal"]
    choices += ["client-jwt"] if at_least(by, kubernetes_auth.KNOWS_DISABLE_LOCAL) else []
    choices += ["local"] if vault and at_least(by, kubernetes_auth.COPIES_POD_TOKEN) else []
    reviewer = draw(st.sampled_from(choices))
    if reviewer == "literal":
        mount["config"] = _config(draw, by)
    elif reviewer is not None:
        mount["reviewer"] = reviewer
    if reviewer == "long-lived":
        mount["reviewer-may-review-tokens"] = draw(st.booleans())
    return mount


@st.composite
def scenarios(draw: st.DrawFn, *, same_version: bool = False) -> Scenario:
    """Return a scenario that `validate` calls fine: any provenance, any reviewer, any rights, one cluster or two."""
    clusters = draw(st.sampled_from([["apps"], ["apps", "platform"]]))
    vault = draw(st.sampled_from([None, *clusters]))
    stops = sorted(
        draw(st.lists(st.sampled_from(VERSIONS), min_size=1 if same_version else 2, max_size=4, unique=True)),
        key=VERSIONS.index,
    )
    source, *via, target = [stops[0]] * 2 if same_version else stops
    app: dict[str, Any] = {"cluster": "apps", "service-account": "apps/web", "role": "web", "reads": ["secret/web"]}
    app["may-review-tokens"] = draw(st.booleans())
    if draw(st.booleans()):
        app["audience"] = draw(st.sampled_from(["vault", "elsewhere"]))
    server: dict[str, Any] = {"source": source, "via": via, "target": target}
    if vault is not None:
        server |= {"cluster": vault, "may-review-tokens": draw(st.booleans()), "token-file": draw(st.booleans())}
    document = {
        "schema": 1,
        "description": "Drawn by lot.",
        "clusters": {name: {"kubernetes": "1.32.0"} for name in clusters},
        "vault": server,
        "auth": {"kubernetes": _mount(draw, "apps", source, vault)},
        "apps": {"web": app},
    }
    try:
        return loading.loads(yaml.safe_dump(document)).scenario
    except ScenarioError:
        reject()


NAMES: Final = (("login", "web"), ("lookup", ""), ("renew", ""), ("read", "secret/data/web"), ("review", "kubernetes"))

scripts = st.dictionaries(
    st.tuples(st.sampled_from(NAMES), st.sampled_from(VERSIONS)).map(lambda key: (*key[0], key[1])),
    st.sampled_from(["grant", "refuse", "silent"]),
    max_size=6,
)


def rehearsed(scenario: Scenario, **driver: Any) -> tuple[Record, Judgement]:
    """Return what one rehearsal on paper gives."""
    with tempfile.TemporaryDirectory() as directory:
        return on_paper(scenario, Path(directory) / "run", **driver)


@property_test
@given(scenarios(), scripts, st.sampled_from(["", *VERSIONS]))
def test_a_rehearsal_always_ends_in_a_verdict(scenario: Scenario, script: Any, dies_at: str) -> None:
    """It never raises, silence never passes, a death is never overlooked, and a second judging changes nothing."""
    record, judgement = rehearsed(scenario, script=script, dies_at=dies_at)
    assert judgement.verdict in ("pass", "fail", "inconclusive")
    assert judge(record) == judgement
    if any(o.status is None and o.blocked_by is None for o in record.of(Observation)):
        assert judgement.verdict != "pass"
    if record.of(events.Trouble):
        assert judgement.verdict != "pass"
    assert (judgement.exit_code == 0) == (judgement.verdict == "pass")


@property_test
@given(scenarios(), scripts)
def test_every_exhibit_points_at_the_line_it_speaks_of(scenario: Scenario, script: Any) -> None:
    """No finding is without evidence, and a reader who looks a line up finds an event of that very kind."""
    record, _ = rehearsed(scenario, script=script)
    record = with_logs(record)
    for finding in judge(record).findings:
        assert finding.evidence
        assert all(lead.evidence for lead in finding.ruled_out if lead.state == "ruled out")
        leads = [evidence_line for lead in finding.ruled_out for evidence_line in lead.evidence]
        for evidence_line in (*finding.evidence, *leads):
            _points_at_its_source(evidence_line, record)


def _points_at_its_source(evidence_line: EvidenceLine, record: Record) -> None:
    assert evidence_line.text
    if evidence_line.line:
        assert isinstance(record.events[evidence_line.line - 1], SOURCES[evidence_line.source]), evidence_line


@property_test
@given(scenarios(same_version=True))
def test_an_upgrade_to_the_same_version_changes_nothing(scenario: Scenario) -> None:
    """Only a frozen copy of a pod's token can die of it: the Pod is replaced, and the version is not the reason."""
    _, judgement = rehearsed(scenario)
    frozen = any(config.stored_reviewer == "frozen" for config in judgement.configs)
    if not frozen:
        assert [change for change in judgement.changes if change.what == "answer"] == []
        assert {finding.kind for finding in judgement.findings} <= {"pre-existing"}
        blind = any(f.probe in ("login", "read") for f in judgement.findings)
        assert judgement.verdict == ("inconclusive" if blind else "pass")
    assert {f.rule for f in judgement.findings if f.kind == "regression"} <= {"reviewer-frozen"}


@property_test
@given(scenarios())
def test_what_the_api_server_saw_is_what_the_knowledge_says(scenario: Scenario) -> None:
    """On paper the reviewer that is read from the audit lines is the one that should have reviewed, or was refused."""
    _, judgement = rehearsed(scenario)
    same = {"client": "client", "local": "vault", "explicit": "long-lived", "frozen": "vault"}
    for row in judgement.reviewing:
        assert row.reviewer in ("nobody", same[row.should_present]) if row.should_present else row.reviewer == ""
        assert row.reviewer or row.answer == "refused"


# --- what paper can be told ---


@pytest.mark.parametrize(
    ("version", "status", "words"),
    [("1.9.2", 403, "permission denied"), ("1.9.3", 500, "ca.crt: no such file or directory")],
)
def test_paper_misses_a_ca_as_vault_does(version: str, status: int, words: str, tmp_path: Path) -> None:
    """No CA in the config and no pod: from 1.9.3 on Vault looks for the pod's, and says so."""
    scenario = changed(OUTSIDE, config("1.5.0", kubernetes_ca_cert="omit", disable_iss_validation=True))
    record, _ = on_paper(variant(scenario, **path(version, version)), tmp_path)
    logins = [o for o in record.of(Observation) if o.probe == "login"]
    assert {(o.status, words in o.error) for o in logins} == {(status, True)}
    assert record.of(events.ApiAuditLine) == []


@pytest.mark.parametrize(
    ("version", "words"),
    [
        ("1.10.0", 'claim "aud" is invalid'),
        ("1.11.0", "error verifying token signature"),
        ("1.16.3", "error verifying token signature"),
    ],
)
def test_of_several_things_that_are_wrong_paper_names_what_vault_names(
    version: str, words: str, tmp_path: Path
) -> None:
    """The audience, both bindings and the signature are wrong: the order is the version's own."""
    wrong = mount(
        roles={"web": {"service-accounts": ["other"], "namespaces": ["other"], "audience": "vault"}},
        config={"pem_keys": ["other"], "disable_iss_validation": True},
        configured={"by": "1.9.3"},
    )
    scenario = changed({"clusters": {"other": {"kubernetes": "1.32.0"}}}, wrong)
    record, _ = on_paper(variant(scenario, **path(version, version)), tmp_path)
    (login,) = {o.error for o in record.of(Observation) if o.probe == "login"}
    logged = {line.fields["err"] for line in record.of(events.VaultLogLine)}
    assert any(words in said for said in (login, *logged))


@pytest.mark.parametrize(("version", "first"), [("1.13.0", "namespace not"), ("1.16.3", "service account name not")])
def test_paper_names_the_binding_that_its_version_compares_first(version: str, first: str, tmp_path: Path) -> None:
    wrong = mount(roles={"web": {"service-accounts": ["other"], "namespaces": ["other"]}})
    record, _ = on_paper(variant(changed(wrong), **path(version, version)), tmp_path)
    assert all(first in o.error for o in record.of(Observation) if o.probe == "login")


def test_paper_keeps_to_its_script(tmp_path: Path) -> None:
    """One answer is overridden at one version, and the others are as the knowledge has them."""
    record, _ = on_paper(loading.load(OUTAGE).scenario, tmp_path, script={("renew", "", "1.7.0"): "refuse"})
    renewals = [(o.moment, o.answer) for o in record.of(Observation) if o.probe == "token-renew"]
    assert renewals == [("before", "refused"), ("after 1.11.0", "unknown")]


def test_paper_needs_no_binary() -> None:
    """A plan on paper names no server to fetch; the same plan on real servers does."""
    scenario = loading.load(OUTAGE).scenario
    assert plan.make(scenario, "outage", "paper").artifacts == ()
    assert ("vault", "1.4.0") in plan.make(scenario, "outage", "local").artifacts


def test_no_token_reaches_the_record(tmp_path: Path) -> None:
    """The record of a run on paper holds hashes, and none of the tokens and keys that were in play."""
    on_paper(loading.load(OUTAGE).scenario, tmp_path)
    text = (tmp_path / "record.jsonl").read_text()
    assert "secret:" in text
    assert "signature-" not in text
    assert "paper-key-" not in text


def test_the_audit_log_on_paper_says_as_much_of_a_bearer_as_a_real_one(tmp_path: Path) -> None:
    """A bound token names its Pod, one out of a Secret nothing, and a bearer that was not accepted is nobody."""
    name = "a-projected-token-for-vault-needs-a-reviewer-beside-it"
    paper, _ = on_paper(loading.load(SCENARIOS / f"{name}.yaml").scenario, tmp_path)
    real = journal.load(Path(__file__).parent / "records" / f"{name}.jsonl")

    def bearers(record: Record) -> dict[str, set[str]]:
        users = [line.entry["user"] for line in record.of(events.ApiAuditLine)]
        return {user.get("username", ""): set(user.get("extra", {})) for user in users}

    assert bearers(paper) == bearers(real)
    assert len(bearers(paper)) == 3
