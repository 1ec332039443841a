"""A Vault Agent beside an app: what it gets, and whether it is to blame."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.analysis import verdict
from harness.drivers.kind import limits
from harness.drivers.local import agents
from harness.errors import MissingPrerequisite, ScenarioError
from harness.record import journal
from harness.scenario import loading, plan
from tests import corpus_records
from tests.runs import OUTAGE, SCENARIOS

SHIPPED = "another-version-of-the-agent-would-not-help"
APP = "reads: [secret/web]}"


def said(of_app: str, *changes: tuple[str, str]) -> loading.Loaded:
    """Return the outage with more said of its app, and other *changes*."""
    text = OUTAGE.read_text(encoding="utf-8").replace(APP, f"reads: [secret/web], {of_app}}}")
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return loading.loads(text, "outage.yaml")


def test_an_agent_that_is_refused_as_its_app_is_ruled_out_with_both_answers() -> None:
    """The record of a real run: agent 1.4.0 before 1.7.0 and 1.11.0."""
    judged = verdict.judge(journal.load(Path(__file__).parent / "records" / "format-2" / f"{SHIPPED}.jsonl"))
    finding = next(one for one in judged.findings if one.app == "web")
    assert (finding.rule, finding.probe) == ("reviewer-fallback-local", "login")
    (agent,) = (lead for lead in finding.ruled_out if lead.lead == "agent")
    assert agent.state == "ruled out"
    assert [line.text for line in agent.evidence] == [
        "web itself: HTTP 403 permission denied",
        "Vault Agent 1.4.0: HTTP 403 permission denied",
    ]
    assert all(line.line for line in agent.evidence)


def test_an_agent_that_is_refused_alone_is_to_blame_and_not_the_upgrade() -> None:
    """The record of a real run: agent 1.11.0 and tokens for one request."""
    alone, let_in = verdict.judge(corpus_records.record("n05")).findings
    assert (alone.rule, alone.kind, alone.confidence) == ("agent-refused-alone", "pre-existing", "certain")
    assert "sys/internal/ui/mounts/secret/data/web" in alone.sentence
    assert (let_in.rule, let_in.probe, let_in.step) == ("changed-by-step", "agent-login", 2)


def test_the_version_of_an_agent_is_fetched_and_asked_for_at_every_look() -> None:
    loaded = said("agent: 1.4.0")
    planned = plan.make(loaded.scenario, loaded.name, "local")
    assert ("vault", "1.4.0") in planned.artifacts
    assert [one.app for one in planned.questions if one.probe == "agent-login"] == ["web"]
    assert not [one for one in plan.make(said("token: secret").scenario, "", "local").questions if "agent" in one.probe]


@pytest.mark.parametrize(
    ("agent", "complaint"),
    [
        ("1.2.0", "Vault 1.2.0 has no Vault Agent that writes secrets to files"),
        ("openbao-2.6.2", "OpenBao 2.6.2 has no Vault Agent that writes secrets to files"),
        ("new", "a version has three numbers"),
    ],
)
def test_an_agent_that_there_is_not_is_refused_where_it_stands(agent: str, complaint: str) -> None:
    with pytest.raises(ScenarioError, match=complaint):
        said(f"agent: {agent}")


def test_an_agent_logs_in_at_kubernetes_mounts_alone() -> None:
    text = (SCENARIOS / "jwt-keys-that-were-written-once-refuse-everybody-after-a-rotation.yaml").read_text("utf-8")
    with pytest.raises(ScenarioError, match="logs in at a mount of type kubernetes, and this one is of type jwt"):
        loading.loads(text.replace("\n  web: {cluster", "\n  web: {agent: 1.7.0, cluster"), "jwt.yaml")


def test_kind_has_no_agents_and_says_which_driver_does() -> None:
    loaded = said("agent: 1.4.0")
    with pytest.raises(MissingPrerequisite, match="no Vault Agent is started, and web has one: --driver local"):
        limits.insist(plan.make(loaded.scenario, loaded.name, "kind"))


ANSWER = "URL: PUT https://127.0.0.1:1/v1/auth/kubernetes/login\nCode: 403. Errors:\n\n* permission denied"


@pytest.mark.parametrize(
    "log",
    [
        f'[ERROR] auth.handler: error authenticating: error="Error making API request.\n\n{ANSWER}" backoff=1.7',
        "[ERROR] auth.handler: error authenticating:\n  error=\n  | "
        + ANSWER.replace("\n", "\n  | ")
        + "\n   backoff=1s",
        f'[WARN] (view) vault.read(x): Error making API request.\n\n{ANSWER} (retry attempt 1 after "250ms")',
    ],
    ids=["1.4.0", "1.8.0", "templates of 1.4.0"],
)
@pytest.mark.parametrize("said", ["permission denied", 'claim "iss" is invalid'])
def test_what_an_agent_was_answered_is_read_out_of_its_log(log: str, said: str) -> None:
    """As real agents of these versions have written it."""
    found = agents._ANSWERED.search(log.replace("permission denied", said))
    assert found is not None
    assert found.groups() == ("auth/kubernetes/login", "403", said)
