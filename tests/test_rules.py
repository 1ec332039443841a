"""No rule names a cause without evidence: take its evidence out of a record, and the cause is gone with it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, get_args

import msgspec
import pytest

from harness.analysis import verdict
from harness.analysis.diagnosis import UNEXPLAINED, Finding
from harness.analysis.rules import RULES
from harness.record.events import (
    AnyEvent,
    ApiAuditLine,
    ApiLogLine,
    ConfigWritten,
    RunEnded,
    VaultAuditLine,
    VaultLogLine,
)
from harness.record.journal import Record
from harness.record.observation import Observation
from harness.scenario import loading
from harness.scenario.outcomes import Cause
from harness.scenario.schema import Scenario
from tests.runs import OUTAGE, on_paper, variant

# --- topologies: what differs from the outage ---

ONE_CLUSTER: Final = {"auth": {"kubernetes": {"cluster": "platform"}}, "apps": {"web": {"cluster": "platform"}}}
OUTSIDE: Final = {
    "vault": {"cluster": None, "service-account": None},
    "auth": {"kubernetes": {"configured": {"with-token-file": False}}},
}


def path(source: str, target: str) -> dict[str, Any]:
    """Return the change that lets Vault go from *source* to *target*."""
    return {"vault": {"source": source, "target": target}}


def mount(**changes: Any) -> dict[str, Any]:
    """Return a change of the auth mount."""
    return {"auth": {"kubernetes": {name.replace("_", "-"): value for name, value in changes.items()}}}


def config(by: str, **fields: Any) -> dict[str, Any]:
    """Return the change that has *by* write a config of these literal fields."""
    return mount(configured={"by": by}, config=fields)


def web(**changes: Any) -> dict[str, Any]:
    """Return a change of the app."""
    return {"apps": {"web": {name.replace("_", "-"): value for name, value in changes.items()}}}


def role(**changes: Any) -> dict[str, Any]:
    """Return a change of the app's role."""
    return mount(roles={"web": {name.replace("_", "-"): value for name, value in changes.items()}})


def changed(*changes: dict[str, Any]) -> Scenario:
    """Return the outage with all of *changes*."""
    scenario = loading.load(OUTAGE).scenario
    for change in changes:
        scenario = variant(scenario, **change)
    return scenario


def seen(scenario: Scenario, tmp_path: Path, **driver: Any) -> Record:
    """Return the record of *scenario* on paper, with the log lines that servers would add to it."""
    record, _ = on_paper(scenario, tmp_path, **driver)
    return with_logs(record)


# --- records, altered ---


def mapped(record: Record, change: Callable[[AnyEvent], AnyEvent | None]) -> Record:
    """Return *record* with every event changed, or left out where *change* returns None."""
    events = tuple(new for event in record.events if (new := change(event)) is not None)
    return Record(events, record.directory)


def with_lines(record: Record, lines: list[AnyEvent]) -> Record:
    """Return *record* with *lines* at its end: the record is read by the times of its lines."""
    *events, last = record.events
    assert isinstance(last, RunEnded)
    return Record((*events, *lines, last), record.directory)


def logged(login: Observation, text: str) -> VaultLogLine:
    """Return what Vault's log says about *login*."""
    return VaultLogLine(
        at=login.ended,
        moment=login.moment,
        level="error",
        module=f"auth.kubernetes.auth_kubernetes_{login.mount}",
        message="login unauthorized due to: " + text,
    )


def with_logs(record: Record) -> Record:
    """Return *record* with the log lines that a Vault and an API server write about every refused login."""
    lines: list[AnyEvent] = []
    for login in refused_logins(record):
        lines += [logged(login, login.error), _bearer_refused(login)]
    return with_lines(record, lines)


def refused_logins(record: Record) -> list[Observation]:
    """Return every login of an app that was refused."""
    return [o for o in record.of(Observation) if o.probe == "login" and o.answer == "refused"]


def _bearer_refused(login: Observation) -> ApiLogLine:
    text = 'Unable to authenticate the request err="[invalid bearer token, service account token has been invalidated]"'
    return ApiLogLine(at=login.ended, moment=login.moment, cluster="apps", message=text)


def blank(event: AnyEvent) -> AnyEvent:
    """Take the words out of an answer."""
    return msgspec.structs.replace(event, error="") if isinstance(event, Observation) else event


def without(*kinds: type[Any]) -> Callable[[AnyEvent], AnyEvent | None]:
    """Return a change that leaves out every event of *kinds*."""
    return lambda event: None if isinstance(event, kinds) else event


def wordless(event: AnyEvent) -> AnyEvent | None:
    """Take away all that Vault said: in its answers, its audit log, its log."""
    return None if isinstance(event, VaultAuditLine | VaultLogLine) else blank(event)


STRIPPED: Final[dict[str, Callable[[AnyEvent], AnyEvent | None]]] = {
    "api audit": without(ApiAuditLine),
    "api log": without(ApiLogLine),
    "vault audit": without(VaultAuditLine),
    "vault log": without(VaultLogLine),
    "words of the answers": blank,
    "all that Vault said": wordless,
    "config": without(ConfigWritten),
    "everything": lambda event: wordless(event) if not isinstance(event, ApiAuditLine | ApiLogLine) else None,
}
"""Kinds of evidence, and how a record loses them."""

# --- cases: what happens, which finding it is, and without which evidence nothing may be said ---

REVIEW: Final = dict.fromkeys(("api audit", "everything"), UNEXPLAINED)
WORDS: Final = dict.fromkeys(("all that Vault said", "everything"), UNEXPLAINED)
CONFIG: Final = {"config": UNEXPLAINED}

Case = tuple[Scenario, tuple[str, str, str, str], dict[str, str]]
"""A scenario, its finding as (kind, effect, rule, hop), and which rule is left where evidence is taken out."""

CASES: Final[dict[str, Case]] = {
    "the outage": (
        changed(),
        ("regression", "login refused", "reviewer-fallback-local", "1.11.0"),
        REVIEW | CONFIG,
    ),
    "one cluster, and Vault's account lacks the right that the app had": (
        changed(ONE_CLUSTER, {"vault": {"may-review-tokens": False}}),
        ("regression", "login refused", "reviewer-fallback-local", "1.11.0"),
        # who reviewed, and that it may not, is in the review itself; why it is Vault's account, only the config shows
        REVIEW | {"config": "reviewer-lacks-tokenreview-rbac"},
    ),
    "frozen, two clusters": (
        changed(mount(configured={"by": "1.7.0"})),
        ("pre-existing", "refused from the start", "reviewer-frozen", ""),
        REVIEW | CONFIG,
    ),
    "frozen, one cluster": (
        changed(ONE_CLUSTER, mount(configured={"by": "1.8.0"}), path("1.8.0", "1.9.3")),
        ("regression", "login refused", "reviewer-frozen", "1.9.3"),
        REVIEW | CONFIG,
    ),
    "the app reviews itself and may not": (
        changed(web(may_review_tokens=False), path("1.7.0", "1.9.2")),
        ("pre-existing", "refused from the start", "reviewer-lacks-tokenreview-rbac", ""),
        REVIEW,
    ),
    "Vault's own account reviews and may not": (
        changed(
            ONE_CLUSTER,
            {"vault": {"may-review-tokens": False}},
            mount(configured={"by": "1.9.3"}),
            path("1.9.3", "1.11.0"),
        ),
        ("pre-existing", "refused from the start", "reviewer-lacks-tokenreview-rbac", ""),
        REVIEW,
    ),
    "the long-lived reviewer may not review": (
        changed(mount(reviewer="long-lived", reviewer_may_review_tokens=False)),
        ("pre-existing", "refused from the start", "reviewer-lacks-tokenreview-rbac", ""),
        REVIEW,
    ),
    "the app reviews itself with a token for another audience": (
        changed(web(audience="vault"), path("1.7.0", "1.9.2")),
        ("pre-existing", "refused from the start", "client-jwt-not-accepted", ""),
        REVIEW | CONFIG,
    ),
    "no issuer configured, and validated": (
        changed(config("1.7.0", disable_local_ca_jwt=True), path("1.7.0", "1.10.0")),
        ("pre-existing", "refused from the start", "issuer-mismatch", ""),
        WORDS,
    ),
    "another issuer configured": (
        changed(
            config("1.7.0", disable_local_ca_jwt=True, issuer="https://elsewhere", disable_iss_validation=False),
            path("1.7.0", "1.13.0"),
        ),
        ("pre-existing", "refused from the start", "issuer-mismatch", ""),
        WORDS,
    ),
    "role bound to another service account": (
        changed(role(service_accounts=["other"])),
        ("pre-existing", "refused from the start", "role-binding-mismatch", ""),
        WORDS,
    ),
    "role bound to another namespace": (
        changed(role(namespaces=["other"])),
        ("pre-existing", "refused from the start", "role-binding-mismatch", ""),
        WORDS,
    ),
    "role demands an audience": (
        changed(role(audience="vault")),
        ("pre-existing", "refused from the start", "audience-mismatch", ""),
        WORDS,
    ),
    "no CA, and no pod that has one": (
        # 1.11.0 does not even show such a config: that is a finding of its own
        changed(OUTSIDE, config("1.9.3", kubernetes_ca_cert="omit"), path("1.9.3", "1.9.4")),
        ("pre-existing", "refused from the start", "local-ca-missing", ""),
        WORDS,
    ),
}


def finding_of(record: Record) -> Finding:
    """Return the one finding that *record* is judged to have."""
    (finding,) = verdict.judge(record).findings
    return finding


@pytest.mark.parametrize("name", CASES)
def test_a_known_cause_is_named(name: str, tmp_path: Path) -> None:
    """Each case gives exactly one finding, with its kind, its effect, its cause and its hop, and with evidence."""
    scenario, expected, _ = CASES[name]
    finding = finding_of(seen(scenario, tmp_path))
    assert (finding.kind, finding.effect, finding.rule, finding.hop) == expected
    assert finding.evidence
    assert finding.confidence != "none"
    assert finding.explanation
    assert finding.source


@pytest.mark.parametrize("kind", STRIPPED)
@pytest.mark.parametrize("name", CASES)
def test_a_cause_is_gone_with_its_evidence(name: str, kind: str, tmp_path: Path) -> None:
    """Without what the rule demands the finding is unexplained; without any other evidence it is what it was."""
    scenario, expected, left = CASES[name]
    finding = finding_of(mapped(seen(scenario, tmp_path), STRIPPED[kind]))
    assert finding.rule == left.get(kind, expected[2])
    assert (finding.kind, finding.effect, finding.hop) == (expected[0], expected[1], expected[3])


def test_the_lost_issuer_check_needs_the_words_of_the_older_refusal(tmp_path: Path) -> None:
    """At 1.11.0 a login is granted that 1.10.0 refused; why, only the refusal's words can tell."""
    record = seen(changed(config("1.7.0", disable_local_ca_jwt=True), path("1.10.0", "1.11.0")), tmp_path)
    lost, start, hop = verdict.judge(record).findings
    assert (start.rule, start.kind) == ("issuer-mismatch", "pre-existing")
    assert (hop.rule, hop.kind, hop.effect, hop.hop) == ("issuer-check-lost", "improvement", "login granted", "1.11.0")
    assert (lost.rule, lost.kind, lost.effect, lost.hop) == ("issuer-check-lost", "latent", "check lost", "1.11.0")
    for kind in ("words of the answers", "all that Vault said", "everything"):
        findings = verdict.judge(mapped(record, STRIPPED[kind])).findings
        assert {finding.rule for finding in findings if finding.hop} == {UNEXPLAINED}, kind


def test_a_check_is_not_lost_before_the_version_that_lost_it(tmp_path: Path) -> None:
    """Granted after an issuer refusal, and no version that explains it: unexplained."""
    scenario = changed(config("1.7.0", disable_local_ca_jwt=True), path("1.7.0", "1.10.4"))
    record = seen(scenario, tmp_path, script={("login", "web", "1.10.4"): "grant"})
    findings = [finding for finding in verdict.judge(record).findings if finding.probe == "login" and finding.hop]
    assert [(found.effect, found.rule) for found in findings] == [
        ("check lost", UNEXPLAINED),
        ("login granted", UNEXPLAINED),
    ]


def test_what_the_api_server_saw_wins_over_what_should_be(tmp_path: Path) -> None:
    """The knowledge says that Vault's account reviewed; where the audit log names another user, that user it was."""

    def by_another(event: AnyEvent) -> AnyEvent:
        if not isinstance(event, ApiAuditLine) or event.moment == "before":
            return event
        entry = {"user": {"username": "system:serviceaccount:ops:auditor"}, "responseStatus": {"code": 403}}
        return msgspec.structs.replace(event, entry=entry)

    finding = finding_of(mapped(seen(changed(), tmp_path), by_another))
    assert finding.rule == "reviewer-lacks-tokenreview-rbac"
    assert "system:serviceaccount:ops:auditor" in finding.sentence


def test_a_reviewer_that_changes_is_seen_by_its_review_alone(tmp_path: Path) -> None:
    """The latent finding has its cause from the API server's audit log; without it there is no such finding."""
    record = seen(changed(ONE_CLUSTER), tmp_path)
    assert (finding_of(record).rule, finding_of(record).kind) == ("reviewer-fallback-local", "latent")
    assert verdict.judge(mapped(record, STRIPPED["api audit"])).findings == ()


def test_a_stored_reviewer_that_died_is_found(tmp_path: Path) -> None:
    """A stored token that the API server stops accepting is the stored reviewer's trouble, and nobody else's."""
    dead = {("review", "kubernetes", "1.11.0"): "refuse"}
    record = seen(changed(mount(reviewer="long-lived")), tmp_path, script=dead)
    finding = finding_of(record)
    assert (finding.rule, finding.kind, finding.hop) == ("stored-reviewer-refused", "regression", "1.11.0")
    for kind, strip in STRIPPED.items():
        rule = finding_of(mapped(record, strip)).rule
        assert rule == (UNEXPLAINED if kind in (REVIEW | CONFIG) else "stored-reviewer-refused"), kind


TRANSPORT: Final = {
    "tls: failed to verify certificate: x509: certificate signed by unknown authority": "api-server-untrusted",
    "dial tcp 10.0.0.1:6443: connect: connection refused": "api-server-unreachable",
    "dial tcp: lookup apps.example: no such host": "api-server-unreachable",
    "the weather": UNEXPLAINED,
}


@pytest.mark.parametrize("words", TRANSPORT)
def test_trouble_on_the_way_is_known_by_vaults_log_alone(words: str, tmp_path: Path) -> None:
    """Where no TokenReview arrived, Vault's log line names the cause; a review that was seen speaks against it."""
    record, _ = on_paper(changed(), tmp_path)
    lines: list[AnyEvent] = [logged(login, words) for login in refused_logins(record)]
    reviewed = with_lines(record, lines)
    unseen = mapped(reviewed, without(ApiAuditLine))
    assert finding_of(unseen).rule == TRANSPORT[words]
    assert finding_of(mapped(unseen, without(VaultLogLine))).rule == UNEXPLAINED
    assert finding_of(reviewed).rule == "reviewer-fallback-local"


@pytest.mark.parametrize(
    ("words", "rule"), [("lookup failed: service account deleted", "login-token-rejected"), ("", UNEXPLAINED)]
)
def test_a_token_that_the_review_itself_rejects_is_known_by_vaults_log(words: str, rule: str, tmp_path: Path) -> None:
    """The review worked (201) and the login was refused: Vault's log has the reason, and without it there is none."""
    record, _ = on_paper(changed(mount(reviewer="long-lived")), tmp_path)
    (login,) = [o for o in record.of(Observation) if o.probe == "login" and o.moment == "after 1.11.0"]
    refused = msgspec.structs.replace(login, answer="refused", status=403, error="permission denied")
    record = mapped(record, lambda event: refused if event == login else event)
    assert finding_of(with_lines(record, [logged(login, words)])).rule == rule


def test_a_bearer_for_another_audience_is_certain_where_the_api_server_says_so(tmp_path: Path) -> None:
    """Its own words leave no other cause; without them the token may as well have ended, and nothing is called sure."""
    record, _ = on_paper(changed(web(audience="vault"), path("1.7.0", "1.9.2")), tmp_path)
    (login, *_) = refused_logins(record)
    words = 'invalid bearer token, token audiences ["vault"] is invalid for the target audiences ["https://kubernetes"]'
    line = ApiLogLine(at=login.ended, moment=login.moment, cluster="apps", message=words)
    sure, guessed = finding_of(with_lines(record, [line])), finding_of(record)
    assert (sure.rule, sure.confidence) == ("client-jwt-not-accepted", "certain")
    assert "made out for vault" in sure.sentence
    assert (guessed.rule, guessed.confidence) == ("client-jwt-not-accepted", "strong")
    assert "or one that ended" in guessed.sentence


def test_every_rule_describes_itself_in_full() -> None:
    """Who reads a finding, or writes the next rule, finds every field filled."""
    for rule in RULES:
        described = [
            getattr(rule, name) for name in rule.__struct_fields__ if name not in ("examine", "kinds", "grants")
        ]
        assert all(isinstance(text, str) and len(text) >= 4 for text in described), rule.name


FROM_ELSEWHERE: Final = frozenset(
    {
        UNEXPLAINED,
        "vault-refuses-data",
        "lease-list-too-large",
        "storage-away",
        "storage-connection-lost",
        "lease-irrevocable",
        "disable-mlock-unsaid",
        "stored-reviewer-expires",
        "rewrite-refused",
        "rewrite-changes",
        "leader-replaced-first",
        "leader-of-older-version",
        "quorum-lost",
        "node-did-not-rejoin",
        "node-removed",
        "standby-does-not-forward",
        "raft-operation-unknown",
        "mount-type-unknown",
        "audit-device-blocked",
        "audit-device-refused",
        "audit-entry-changed",
    }
)
"""Causes that no rule about an answer finds: of a start, of a date, of a step, and of the nodes of a Vault."""


def test_rules_and_causes_are_the_same_names() -> None:
    """A scenario can expect every cause there is a rule for; the others come from elsewhere than a rule."""
    names = [rule.name for rule in RULES]
    assert len(names) == len(set(names))
    assert set(names) == set(get_args(Cause)) - FROM_ELSEWHERE


# --- what an operator pastes, and what must not be said ---


def test_a_reviewer_that_changes_under_a_refused_login_is_not_called_accepted(tmp_path: Path) -> None:
    """The app may not review and is refused; Vault's token then is not even known: nobody says that it is accepted."""
    record = seen(changed(web(may_review_tokens=False)), tmp_path)
    (latent,) = [finding for finding in verdict.judge(record).findings if finding.kind == "latent"]
    assert (latent.rule, latent.effect) == ("reviewer-fallback-local", "reviewer changed")
    assert "does not know that token (TokenReview answered 401)" in latent.sentence
    assert "accepted" not in latent.sentence
    assert latent.outlook is not None
    assert "refused before as well" in latent.outlook.sentence


def test_a_login_that_recovers_because_vault_reviews_is_explained(tmp_path: Path) -> None:
    """The app may not review and was refused; from 1.9.3 on Vault's account does it, and the login is granted."""
    record = seen(changed(ONE_CLUSTER, web(may_review_tokens=False)), tmp_path)
    (hop,) = [finding for finding in verdict.judge(record).findings if finding.hop]
    assert (hop.kind, hop.effect, hop.rule) == ("improvement", "login granted", "reviewer-fallback-local")
    assert "nothing has to be done" in hop.remedy
    (bare,) = [f for f in verdict.judge(mapped(record, STRIPPED["api audit"])).findings if f.hop]
    assert bare.rule == UNEXPLAINED


def test_what_befalls_vaults_token_later_is_not_called_the_fallback(tmp_path: Path) -> None:
    """Vault's account reviewed before the hop as well: that its token is refused now has another cause."""
    scenario = changed(ONE_CLUSTER, mount(configured={"by": "1.9.3"}), path("1.9.3", "1.11.0"))
    record = seen(scenario, tmp_path, script={("review", "kubernetes", "1.11.0"): "refuse"})
    assert finding_of(record).rule == UNEXPLAINED


def commands_of(finding: Finding) -> list[str]:
    """Return every command that the finding's remedies have."""
    return [command for remedy in finding.remedies for command in remedy.commands]


READ: Final = "vault read -format=json auth/kubernetes/config"
WRITE: Final = "vault write auth/kubernetes/config -"


@pytest.mark.parametrize(
    ("scenario", "command"),
    [
        pytest.param(changed(), f"{READ} | jq '.data + {{disable_local_ca_jwt: true}}' | {WRITE}", id="fallback"),
        pytest.param(
            changed(mount(configured={"by": "1.7.0"})),
            f"{READ} | jq '.data + {{disable_local_ca_jwt: true}}' | {WRITE}",
            id="frozen",
        ),
        pytest.param(
            changed(ONE_CLUSTER, mount(configured={"by": "1.8.0"}), path("1.8.0", "1.9.3")),
            f"{READ} | jq '.data' | {WRITE}",
            id="frozen in one cluster",
        ),
        pytest.param(
            changed(config("1.7.0", disable_local_ca_jwt=True), path("1.7.0", "1.10.0")),
            f"{READ} | jq '.data + {{disable_iss_validation: true}}' | {WRITE}",
            id="the issuer is checked",
        ),
    ],
)
def test_a_remedy_writes_every_field_that_the_config_has(scenario: Scenario, command: str, tmp_path: Path) -> None:
    """A write replaces the config: a remedy without the issuer would have 1.7 refuse every login because of it."""
    assert command in commands_of(finding_of(seen(scenario, tmp_path)))


def test_the_long_lived_reviewer_has_all_its_commands(tmp_path: Path) -> None:
    """Account, binding, Secret and write: each whole and on one line, and no token on any command line."""
    (remedy,) = [r for r in finding_of(seen(changed(), tmp_path)).remedies if "token_reviewer_jwt" in r.words]
    space, account, bound, secret, written = remedy.commands
    assert space == "kubectl create namespace vault-reviewer"
    assert account == "kubectl --namespace vault-reviewer create serviceaccount vault-reviewer"
    assert "--clusterrole=system:auth-delegator --serviceaccount=vault-reviewer:vault-reviewer" in bound
    assert '"type": "kubernetes.io/service-account-token"' in secret
    assert '"kubernetes.io/service-account.name": "vault-reviewer"' in secret
    assert "jq --rawfile token <(kubectl " in written
    assert not any("..." in command or "\n" in command for command in remedy.commands)


@pytest.mark.parametrize(
    ("versions", "first", "stop"),
    [
        (
            ("1.4.0", "1.7.0", "1.8.0", "1.9.2", "1.9.3"),
            "At the stop at Vault 1.9.2, before the hop to 1.9.3: ",
            "1.9.2",
        ),
        (("1.7.0", "1.9.2", "1.11.0"), "Before the upgrade, or at the latest at the stop at Vault 1.9.2, ", "1.9.2"),
        (("1.7.0", "1.11.0"), "Before the upgrade, on Vault 1.7.0: ", "1.7.0"),
        (("1.9.3", "1.11.0"), "Now, on Vault 1.9.3: ", "1.9.3"),
    ],
)
def test_a_remedy_names_the_last_stop_that_is_in_time(
    versions: tuple[str, ...], first: str, stop: str, tmp_path: Path
) -> None:
    """The stop before the hop that breaks, if the version there knows the field; and at once where all is lost."""
    source, *via, target = versions
    finding = finding_of(seen(changed({"vault": {"source": source, "via": via, "target": target}}), tmp_path))
    remedy = finding.remedies[0]
    assert "disable_local_ca_jwt" in remedy.words
    assert remedy.stop == stop
    assert finding.remedy.startswith(first)
    assert "right after" not in finding.remedy


@pytest.mark.parametrize("source", ["1.4.0", "1.5.0"])
def test_what_spares_the_outage_comes_first(source: str, tmp_path: Path) -> None:
    """No stop before the break knows the field: a stored reviewer does it in time, and the field only afterwards."""
    first, then = finding_of(seen(changed(path(source, "1.11.0")), tmp_path)).remedies
    assert ("token_reviewer_jwt" in first.words, first.stop) == (True, source)
    assert ("disable_local_ca_jwt" in then.words, then.stop) == (True, "1.11.0")
    assert then.when == "right after the hop to Vault 1.11.0 (until then every login is refused)"


FROM_START: Final = {
    "frozen from the start": changed(mount(configured={"by": "1.7.0"})),
    "the app may not review": changed(web(may_review_tokens=False), path("1.7.0", "1.9.2")),
    "the stored reviewer may not review": changed(mount(reviewer="long-lived", reviewer_may_review_tokens=False)),
    "Vault's token is presented already": changed(path("1.9.3", "1.11.0")),
    "a role of others": changed(role(service_accounts=["other"])),
    "another audience": changed(web(audience="vault"), path("1.7.0", "1.9.2")),
}


@pytest.mark.parametrize("name", FROM_START)
def test_what_was_refused_from_the_start_has_no_before(name: str, tmp_path: Path) -> None:
    """Nothing there waits for an upgrade."""
    remedies = finding_of(seen(FROM_START[name], tmp_path)).remedies
    assert remedies
    assert not any("efore" in remedy.when or "after" in remedy.when for remedy in remedies)


def test_a_restart_is_no_upgrade(tmp_path: Path) -> None:
    """Where the same version starts again, what is to be done is done before that."""
    scenario = changed(ONE_CLUSTER, mount(configured={"by": "1.8.0"}), path("1.8.0", "1.8.0"))
    finding = finding_of(seen(scenario, tmp_path))
    assert (finding.rule, finding.remedies[0].when) == ("reviewer-frozen", "before Vault is restarted")
    assert "upgrade" not in finding.remedy


def test_one_cluster_first_gets_the_standard_binding(tmp_path: Path) -> None:
    """Vault's own token is what is presented, and known: what its account lacks is what every such Vault has."""
    for file, case in enumerate(
        ("one cluster, and Vault's account lacks the right that the app had", "Vault's own account reviews and may not")
    ):
        first = finding_of(seen(CASES[case][0], tmp_path / str(file))).remedies[0]
        (command,) = first.commands
        assert command == (
            "kubectl create clusterrolebinding vault-vault-reviews-tokens --clusterrole=system:auth-delegator "
            "--serviceaccount=vault:vault"
        )


def test_apps_of_one_name_get_bindings_of_two_names(tmp_path: Path) -> None:
    """The remedy's binding has the namespace in its name, or the second one pasted would be refused."""
    finding = finding_of(seen(changed(web(may_review_tokens=False), path("1.7.0", "1.9.2")), tmp_path))
    assert "clusterrolebinding apps-web-reviews-tokens" in commands_of(finding)[0]


def test_an_app_called_vault_is_not_vault(tmp_path: Path) -> None:
    """The token shown for an app of that name is the app's, not the one of Vault's own Pod."""
    scenario = changed()
    renamed = scenario.model_copy(update={"apps": {"vault": scenario.apps["web"]}})
    finding = finding_of(seen(renamed, tmp_path))
    tokens = [line.text for lead in finding.ruled_out for line in lead.evidence if line.source == "token"]
    assert tokens
    assert all("system:serviceaccount:apps:web" in text for text in tokens)


# --- what a token may do ---


def policy(**texts: str) -> dict[str, Any]:
    """Return the change that writes these policies."""
    return {"policies": texts}


THE_READ: Final = 'the read of secret/web by web, which is capability "read" on path "secret/data/web": '
DENIED: Final = {
    "an explicit deny": (
        'path "secret/data/*" { capabilities = ["read"] }\npath "secret/data/web" { capabilities = ["deny"] }',
        f'Policy web denies {THE_READ}path "secret/data/web" says deny, and deny wins',
    ),
    "only the list": (
        'path "secret/data/web" { capabilities = ["list"] }',
        f'Policy web does not grant {THE_READ}web has list on "secret/data/web"',
    ),
    "the path without data": (
        'path "secret/web" { capabilities = ["read"] }',
        f"Policy web does not grant {THE_READ}no path of it covers that",
    ),
}


@pytest.mark.parametrize("name", DENIED)
def test_a_policy_that_denies_is_named_with_path_and_capability(name: str, tmp_path: Path) -> None:
    """On paper as with a real Vault: the text of the scenario's own policy accounts for the 403."""
    text, sentence = DENIED[name]
    record = seen(changed(policy(web=text), path("1.7.0", "1.9.2")), tmp_path)
    findings = verdict.judge(record).findings
    assert {(f.rule, f.kind, f.effect, f.confidence) for f in findings} == {
        ("policy-denies", "pre-existing", "refused from the start", "certain")
    }
    assert {f.sentence for f in findings} == {sentence}
    (first, *_) = findings
    assert {evidence_line.source for evidence_line in first.evidence} >= {"answer", "policy"}
    assert any("policies default, web" in evidence_line.text for evidence_line in first.evidence)
    assert all("vault policy write web" in commands_of(finding)[-1] for finding in findings)


def test_a_policy_is_not_blamed_for_what_its_text_grants(tmp_path: Path) -> None:
    """A 403 that the text does not account for stays unexplained, and so does one that came with a version."""
    granting = changed(policy(web='path "secret/+/web" { capabilities = ["read"] }'), path("1.7.0", "1.9.2"))
    assert verdict.judge(seen(granting, tmp_path / "granted")).findings == ()
    script = {("read", "secret/data/web", version): "refuse" for version in ("1.7.0", "1.9.2")}
    told = verdict.judge(seen(granting, tmp_path / "told", script=script)).findings
    assert {finding.rule for finding in told} == {UNEXPLAINED}
    denying = changed(policy(web='path "secret/web" { capabilities = ["read"] }'), path("1.7.0", "1.9.2"))
    turned = verdict.judge(seen(denying, tmp_path / "turned", script={("read", "secret/data/web", "1.7.0"): "grant"}))
    assert {f.rule for f in turned.findings if f.hop} == {UNEXPLAINED}


def test_a_template_that_nothing_fills_is_the_cause(tmp_path: Path) -> None:
    """A rule with it grants nothing; one that another mount, or nobody known, fills is told apart in the knowledge."""
    text = 'path "secret/data/{{identity.entity.name}}" { capabilities = ["read"] }'
    found = verdict.judge(seen(changed(policy(web=text), path("1.7.0", "1.9.2")), tmp_path)).findings
    assert {finding.rule for finding in found} == {"policy-denies"}
    assert all("Nothing fills the template {{identity.entity.name}} here" in finding.sentence for finding in found)


def test_the_unexplained_tells_the_operator_what_to_do(tmp_path: Path) -> None:
    """Not whom to write to: what to compare, and the commands that let him ask by hand."""
    script = {("read", "secret/data/web", "1.11.0"): "refuse"}
    record = seen(changed(mount(reviewer="long-lived")), tmp_path, script=script)
    finding = next(f for f in verdict.judge(record).findings if f.probe == "read")
    assert finding.rule == UNEXPLAINED
    assert finding.remedy.startswith("Do not take production to 1.11.0 before this is understood. Compare")
    assert commands_of(finding) == ["rehearse run test.yaml --keep", "vault token capabilities secret/data/web"]


def test_a_role_that_is_written_with_another_policy_is_explained(tmp_path: Path) -> None:
    """Granted with the one and refused with the other: the texts account for both, and the newer one is named."""
    texts = policy(
        web='path "secret/data/web" { capabilities = ["read"] }', narrow='path "secret/web" { policy = "read" }'
    )
    steps = {"course": [{"write": {"role": "web", "policies": ["narrow"]}}], "vault": {"via": [], "target": None}}
    record = seen(changed(texts, steps), tmp_path)
    (finding,) = [one for one in verdict.judge(record).findings if one.probe == "read"]
    assert (finding.rule, finding.kind, finding.effect) == ("policy-denies", "regression", "access refused")
    assert finding.sentence.startswith("Policy narrow does not grant the read of secret/web by web")
    assert any(evidence_line.text.startswith('narrow: path "secret/web"') for evidence_line in finding.evidence)


@pytest.mark.parametrize(
    ("words", "again"),
    [
        (("rehearse", "run", "'it and that.yaml'", "--driver", "local"), "'it and that.yaml' --driver local"),
        (("rehearse", "run", "it.yaml", "--driver", "kind", "--strict"), "it.yaml --driver kind --strict"),
        (("rehearse", "run", "it.yaml", "--driver", "paper"), "it.yaml"),
    ],
)
def test_the_unexplained_is_rehearsed_again_by_a_command_that_runs(
    words: tuple[str, ...], again: str, tmp_path: Path
) -> None:
    """The driver keeps its option, and a file with a blank in its name its quotes."""
    record = seen(
        changed(mount(reviewer="long-lived")), tmp_path, script={("read", "secret/data/web", "1.11.0"): "refuse"}
    )
    start = msgspec.structs.replace(record.started, command=words)
    told = Record([start, *record.events[1:]])
    finding = next(f for f in verdict.judge(told).findings if f.probe == "read")
    assert commands_of(finding)[0] == f"rehearse run {again} --keep"
