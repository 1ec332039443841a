"""A Vault Agent beside an app: what it gets, and whether it is to blame."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from harness import settings
from harness.analysis import diagnosis, news, verdict
from harness.analysis.record_view import Facts
from harness.artifacts.store import Sources, Store
from harness.drivers import vault_agent
from harness.drivers.local.agents import LocalAgent
from harness.drivers.local.vault_process import VaultServer
from harness.drivers.vault_agent import Left
from harness.errors import ScenarioError
from harness.host.process import Supervisor
from harness.record import journal
from harness.record.journal import Record
from harness.record.observation import Observation
from harness.rig.agents import Agent
from harness.scenario import loading, plan
from harness.secret import Secret
from tests import corpus_records
from tests.runs import OUTAGE, SCENARIOS, on_paper
from tests.test_cases import unpacked

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
    found = vault_agent.answered(log.replace("permission denied", said))
    assert found is not None
    assert found.groups() == ("auth/kubernetes/login", "403", said)


# --- the agent that stays ---


def log_of(*lines: str) -> str:
    """Return what an agent has written."""
    return "\n".join(f"2026-11-26T20:15:58.028Z {line}" for line in lines)


LOGGED_IN = "[INFO]  auth.handler: authentication successful, sending token to sinks"
REFUSED = f"[ERROR] auth.handler: error authenticating: error={ANSWER} backoff="
AGENT = Agent("1.11.0", "kubernetes", "web", ("secret/data/web",))


@pytest.mark.parametrize(
    ("left", "status", "data"),
    [
        (
            Left(log_of(LOGGED_IN, "renewed auth token"), None, Secret("s.token"), 1, 0.5),
            200,
            {"logins": 1, "renewals": 1, "failures": 0, "backoff": None, "files": 1, "age": 0.5},
        ),
        (
            Left(log_of(LOGGED_IN, REFUSED + "1.07s", REFUSED + "21.02s"), None, Secret("s.token"), 1),
            200,
            {"failures": 2, "backoff": 21.02},
        ),
        (Left(log_of(REFUSED + "2.888375229"), None), 403, {"failures": 1, "backoff": 2.888375229}),
        (Left(log_of(REFUSED + "4m30.5s"), None), 403, {"backoff": 270.5}),
        (Left(log_of(REFUSED + "1s", LOGGED_IN), None, Secret("s.token"), 1), 200, {"failures": 0, "backoff": None}),
        (Left(log_of(REFUSED.replace("403", "500") + "1s", REFUSED + "2s"), None), 403, {"failures": 2}),
        (Left(log_of(LOGGED_IN, f"[WARN] (view): {ANSWER}"), None, Secret("s.token"), 0), 403, {"files": 0}),
        (Left(log_of(LOGGED_IN), 1, Secret("s.token"), 1), None, {"exit": 1}),
    ],
    ids=["well", "waits", "1.4.0 waits", "minutes", "back", "refused otherwise", "cannot read", "ended"],
)
def test_how_an_agent_that_stays_is_doing_is_read_out_of_what_it_left(
    left: Left, status: int | None, data: dict[str, Any]
) -> None:
    reply = vault_agent.reply(AGENT, left, 0.0, 1.0, stays=True)
    assert reply.status == status
    assert data.items() <= reply.data.items()


class LeftSo(vault_agent.StartedAgent):
    """An agent that stays, of which this is left."""

    def __init__(self) -> None:
        self._agent, self._stays, self.log = AGENT, True, ""

    def kill(self) -> None:
        """End nothing: nothing runs."""

    def _left(self) -> Left:
        return Left(self.log, None)


def test_an_answer_of_an_agent_that_has_not_tried_again_is_told_as_one_of_before() -> None:
    one, told = LeftSo(), []
    for log in (log_of(REFUSED + "1s"), log_of(REFUSED + "1s", REFUSED + "9s"), log_of(REFUSED + "1s", REFUSED + "9s")):
        one.log = log
        told.append(one.state(0.0).data.get("waits_on", False))
    assert told == [False, False, True]


def test_an_agent_whose_sink_cannot_be_written_says_so_and_nobody_knows_more() -> None:
    log = log_of("Error creating file sink: error during write check: open /tmp/x/token: is a directory")
    reply = vault_agent.reply(AGENT, Left(log, 1), 0.0, 1.0, stays=True)
    assert reply.status is None
    assert "could not write the token that it got: Error creating file sink" in reply.error


def waiting(directory: Path) -> Record:
    """Return the record of a real run: agents 1.4.0 and 1.11.0 beside one app, from 1.7.0 to 1.11.0, and a mend."""
    kept = Path(__file__).parent / "records" / "real" / "a-sidecar-waits-while-its-app-logs-in-again.jsonl.gz"
    return journal.load(unpacked(kept, directory))


def sidecars(record: Record, app: str) -> list[Observation]:
    """Return how the sidecar of an app was, look by look."""
    return [one for one in record.of(Observation) if one.probe == "sidecar" and one.app == app]


def test_a_sidecar_lives_on_with_its_token_and_an_agent_that_starts_is_refused() -> None:
    record = corpus_records.record("n06")
    for app, agent, wait in (("old", "1.4.0", "it always waits so"), ("new", "1.11.0", "up to five minutes")):
        (refused,) = (one for one in verdict.judge(record).findings if one.app == app)
        assert (refused.effect, refused.rule) == ("login refused", "reviewer-fallback-local")
        assert refused.outlook is not None
        assert (
            f"Vault Agent {agent}, which runs on beside it, has a token that works as well" in refused.outlook.sentence
        )
        assert wait in refused.outlook.sentence
        assert [one.answer for one in sidecars(record, app)] == ["granted", "granted", "refused"]
        assert sidecars(record, app)[-1].detail["files"] == 1, "what it wrote stays"


def test_a_sidecar_waits_on_while_its_app_logs_in_again(tmp_path: Path) -> None:
    record = waiting(tmp_path)
    (waits,) = (one for one in verdict.judge(record).findings if one.rule == "agent-not-back")
    assert (waits.app, waits.kind, waits.confidence, waits.probe) == ("new", "latent", "certain", "sidecar")
    assert waits.remedies[0].commands == ("kubectl rollout restart deployment --namespace apps",)
    longest = {
        app: max(one.detail["backoff"] or 0 for one in sidecars(record, app) if one.answer == "refused")
        for app in ("old", "new")
    }
    assert longest["old"] < 4
    assert longest["new"] > 20


def test_a_token_that_came_to_its_end_is_no_change_of_the_upgrade(tmp_path: Path) -> None:
    """Its app logs in again; that is asked beside. In the record it was refused after 30 seconds, and is no finding."""
    record = waiting(tmp_path)
    ended = [one for one in record.of(Observation) if one.probe == "old-token-lookup" and one.answer == "refused"]
    assert ended
    assert not [one for one in verdict.judge(record).findings if one.probe.startswith("old-token")]


def test_an_agent_that_tries_again_is_not_told_the_cause_of_another_one(tmp_path: Path) -> None:
    """Of two agents with one account, each at a mount of its own, a TokenReview tells not whose it is."""
    kept = Path(__file__).parent / "data" / "two-agents-of-one-account-that-try-again.jsonl.gz"
    facts = Facts(journal.load(unpacked(kept, tmp_path)))
    causes = {
        app: {diagnosis.cause_of(facts, one) for one in sidecars(facts.record, app)} for app in ("app-0", "app-1")
    }
    assert causes == {"app-0": {"reviewer-lacks-tokenreview-rbac"}, "app-1": {"api-server-untrusted"}}
    assert news.news(facts) == ()


def test_an_agent_that_is_refused_from_the_start_is_not_back_at_once(tmp_path: Path) -> None:
    """It is refused before and after an upgrade, and its reviewer gets the right then. The record is of a real run."""
    kept = Path(__file__).parent / "data" / "an-agent-that-is-refused-from-the-start-is-not-back-at-once.jsonl.gz"
    real = journal.load(unpacked(kept, tmp_path))
    file = kept.with_name(kept.name.replace(".jsonl.gz", ".yaml"))
    paper, foretold = on_paper(loading.load(file).scenario, tmp_path / "paper")
    for record in (real, paper):
        assert [one.answer for one in sidecars(record, "new")] == ["refused", "refused", "refused", "granted"]
        assert [one.answer for one in sidecars(record, "old")] == ["refused", "refused", "granted", "granted"]
    lived = verdict.judge(real)
    assert [(one.effect, one.rule, one.app) for one in lived.findings] == [
        (one.effect, one.rule, one.app) for one in foretold.findings
    ]
    assert ("refused for another reason", "agent-not-back", "new") in [
        (one.effect, one.rule, one.app) for one in foretold.findings
    ]
    assert lived.news == ()


def test_on_paper_an_agent_that_stays_does_the_same_and_nobody_waits_for_it(tmp_path: Path) -> None:
    text = (SCENARIOS / "corpus" / "n06-a-sidecar-outlives-the-upgrade-until-its-token-ends.yaml").read_text("utf-8")
    mended = text.replace("expect:", "  - write: {config: {disable_local_ca_jwt: true}}\nexpect:")
    record, judged = on_paper(loading.loads(mended).scenario, tmp_path)
    assert [one.answer for one in sidecars(record, "old")] == ["granted", "granted", "refused", "granted"]
    assert [one.answer for one in sidecars(record, "new")] == ["granted", "granted", "refused", "refused"]
    assert [one.app for one in judged.findings if one.rule == "agent-not-back"] == ["new"]


@pytest.mark.real
@pytest.mark.parametrize("version", ["1.4.0", "1.11.0"])
def test_a_real_agent_that_cannot_write_its_sink_says_so(
    version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its sink is in a folder that is not there, as where a volume is not mounted."""
    monkeypatch.setattr(vault_agent, "TOKEN", "nowhere/token")
    binary = Store(Sources(cache=settings.cache()), print).get("vault", version)
    agent = Agent(version, "kubernetes", "web")
    with Supervisor(f"agent-{os.getpid()}", tmp_path / "work", tmp_path / "live") as supervisor:
        server = VaultServer(supervisor.room / "vault", storage="file", port=1, cluster_port=2)
        (supervisor.room / "agent").mkdir()
        one = LocalAgent(agent, supervisor.room / "agent", stays=True)
        one.present(Secret("no token of anybody"))
        one.start(server, binary, supervisor)
        one.wait()
        reply = one.state(0.0)
    assert reply.status is None
    assert f"Vault Agent {version} could not write the token that it got" in reply.error
    assert "no such file or directory" in reply.error


@pytest.mark.parametrize(
    ("steps", "complaint"),
    [
        ("{agent-sink: {nobody: missing}}", "there is no app 'nobody'"),
        ("{agent-sink: {bare: missing}}", "bare has no Vault Agent"),
        ("{agent-sink: {web: there}}", "the folder of its sink is there already"),
        ("{agent-sink: {web: missing}}, {agent-sink: {web: missing}}", "the folder of its sink is missing already"),
    ],
)
def test_a_sink_that_is_nobodys_or_so_already_is_refused_where_it_stands(steps: str, complaint: str) -> None:
    file = Path(__file__).parent.parent / "scenarios" / "corpus" / "n07-an-agent-whose-sink-is-not-there.yaml"
    head, _, _ = file.read_text(encoding="utf-8").partition("course:")
    bare = "  bare: {cluster: apps, service-account: apps/web, role: web, may-review-tokens: true}\n"
    with pytest.raises(ScenarioError, match=complaint):
        loading.loads(f"{head}{bare}course: [{steps}]\n", "sinks.yaml")
