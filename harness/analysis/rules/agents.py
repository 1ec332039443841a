"""The Vault Agent of an app, where it is refused and the app itself is not."""

from __future__ import annotations

from typing import Final

from harness.analysis.correlation import EvidenceLine
from harness.analysis.record_view import Facts
from harness.analysis.rules import remedies
from harness.analysis.rules.rule import Case, Diagnosis, Remedy, Rule, diagnosed
from harness.knowledge.versions import BACKS_OFF, at_least
from harness.record.observation import Observation


def same_without(facts: Facts, agents: Observation) -> Observation | None:
    """Return a question of the app itself, at the same moment, with the answer that its agent had; else None.

    An agent is refused its login, or what it reads; one that stays, the token that it has.
    """
    if at_login(agents):
        asked = [facts.first("login", agents.app, agents.moment)]
    else:
        reads = facts.app(agents.app).reads
        asked = [facts.first("read", agents.app, agents.moment, secret) for secret in reads]
    return next((seen for seen in asked if seen is not None and seen.answer == agents.answer), None)


def refused_alike(facts: Facts, seen: Observation) -> Observation | None:
    """Return the question of an app that was refused as its agent that stays was, now or at the look before; or None.

    That agent tries to log in whenever it likes: what servers logged while it was looked at may be of another one. And
    one with a token goes on to read what its app was refused, when the app itself can ask no more.
    """
    path = str(seen.detail.get("refused", "")) if seen.probe == "sidecar" else ""
    if path.endswith("/login"):
        login = facts.first("login", seen.app, seen.moment)
        alike = login is not None and (login.answer, login.status, login.error) == (
            seen.answer,
            seen.status,
            seen.error,
        )
        return login if alike else None
    reads = [one for one in facts.of_app[seen.app] if one.probe == "read" and one.id < seen.id] if path else []
    asked = [one for one in reads if one.answer in ("granted", "refused")]
    return asked[-1] if asked and (asked[-1].answer, asked[-1].status) == (seen.answer, seen.status) else None


def reads_on(facts: Facts, before: Observation, now: Observation) -> bool:
    """Does an agent that stays go on to be refused what its app, who is let in no more, was refused before as well?"""
    if now.probe != "sidecar" or at_login(now) or now.detail.get("refused") != before.detail.get("refused"):
        return False
    login = facts.first("login", now.app, now.moment)
    return login is None or login.answer != "granted"


def at_login(agents: Observation) -> bool:
    """Did an agent come no further than its login, or as far as it wanted?"""
    path = agents.detail.get("refused")
    return agents.answer != "refused" or path is None or str(path).endswith("/login")


def _alone(case: Case) -> Diagnosis | None:
    seen, facts = case.after, case.facts
    if seen.probe != "agent-login" or "sink" in seen.detail:
        return None
    login = facts.first("login", seen.app, seen.moment)
    if login is None or login.answer != "granted":
        return None
    path, version, role = seen.detail.get("refused", ""), seen.detail["agent"], remedies.role_of(case, seen.moment)
    lines = [
        EvidenceLine(
            "answer", f"Vault Agent {version}, at {path}: HTTP {seen.status} {seen.error}", facts.line_of[seen.id]
        ),
        EvidenceLine(
            "answer", f"{seen.app} itself, with the same token and role: HTTP {login.status}", facts.line_of[login.id]
        ),
    ]
    app = facts.app(seen.app)
    if not role.num_uses:
        return diagnosed(
            f"Vault Agent {version} of {seen.app} is answered {seen.status} at {path}, and {seen.app} itself logs in "
            f"and reads with the same token and role: what is refused is what this agent asks beside that",
            "strong",
            lines,
            f"Try another version of the agent (apps.{seen.app}.agent), and see in its log what it asked for.",
        )
    plural = "" if role.num_uses == 1 else "s"
    return diagnosed(
        f"Tokens of role {app.role} are good for {role.num_uses} request{plural}, and Vault Agent "
        f"{version} of {seen.app} "
        f"makes more of them than {seen.app} itself: it asks of which kind an engine is before it reads, and is "
        f"then answered {seen.status} at {path}",
        "certain",
        lines,
        Remedy(
            "Let the tokens of this role be used as often as an agent needs it: without a limit.",
            commands=(remedies.role_command(case, "token_num_uses=0"),),
            unproven="no remedy is tried with an agent",
        ),
    )


def _no_sink(case: Case) -> Diagnosis | None:
    seen, facts = case.after, case.facts
    if "sink" not in seen.detail:
        return None
    version, said = seen.detail["agent"], seen.detail["sink"]
    return diagnosed(
        f"Vault Agent {version} of {seen.app} ends at its start, because it cannot write the token that it is to get: "
        "the folder of its sink is not there. Vault was asked nothing",
        "certain",
        [
            EvidenceLine(
                "answer", f"Vault Agent {version}, status {seen.detail.get('exit')}: {said}", facts.line_of[seen.id]
            )
        ],
        Remedy(
            "Mount the volume of the sink in the agent's container, at the path that its configuration has, and let "
            "the agent's user write there.",
            commands=(f"kubectl describe pod --namespace {facts.app(seen.app).service_account.split('/')[0]} <POD>",),
            unproven="where an agent writes is no setting of Vault's",
        ),
    )


def _not_back(case: Case) -> Diagnosis | None:
    seen, facts = case.after, case.facts
    if seen.probe != "sidecar" or "sink" in seen.detail:
        return None
    login = facts.first("login", seen.app, seen.moment)
    version, failures = seen.detail["agent"], seen.detail.get("failures")
    if login is None or (login.answer != "granted" and not _holds_on(seen)):
        # one that logs in anew is refused for the same reason as its app
        return None
    waits = (
        f"was refused its login {failures} time{'' if failures == 1 else 's'}, and waits before it tries again: up to "
        f"five minutes{'' if at_least(version, BACKS_OFF) else ' in newer ones, two seconds or so in this one'}"
        if failures
        else "holds a token that Vault does not know any more, and has not logged in again"
    )
    line, own = facts.line_of, "logs in" if login.answer == "granted" else "is refused"
    return diagnosed(
        f"{seen.app} itself {own}, and Vault Agent {version}, which runs on beside it, {waits}",
        "certain" if failures else "strong",
        [
            EvidenceLine("answer", f"Vault Agent {version}: HTTP {seen.status} {seen.error}".strip(), line[seen.id]),
            EvidenceLine("answer", f"a login of {seen.app} itself: HTTP {login.status}", line[login.id]),
        ],
        Remedy(
            "Have the agents start anew once logins are granted again, instead of waiting for each of them.",
            commands=(
                f"kubectl rollout restart deployment --namespace {facts.app(seen.app).service_account.split('/')[0]}",
            ),
            unproven="no remedy is tried with an agent",
        ),
    )


def _holds_on(seen: Observation) -> bool:
    """Is it the token it got that is refused, and has the agent not noticed?"""
    return not seen.detail.get("failures") and bool(seen.detail.get("token")) and seen.detail.get("refused") is None


NO_SINK: Final = Rule(
    name="agent-sink-missing",
    versions="agents of every version",
    precondition="a Vault Agent writes the token that it gets to a file",
    demands="an agent that was started ended by itself, and says that it could not write there",
    explanation="an agent tries at its start whether it can write to each sink, and ends where it cannot, before it "
    "logs in; one that runs goes on with the token that it has",
    source="hashicorp/vault command/agent/sink/file/file_sink.go; run: 1.4.0, 1.11.0",
    examine=_no_sink,
)

NOT_BACK: Final = Rule(
    name="agent-not-back",
    versions="agents of every version; from 1.7.0 on they wait up to five minutes, up to 1.16 they keep a dead token",
    precondition="a Vault Agent runs on beside an app",
    demands="its token is refused; where it was refused a login, the app is granted one at the same moment",
    explanation="an agent that is refused tries again later and later; one whose token was revoked may not notice",
    source="hashicorp/vault command/agent/auth/auth.go, CHANGELOG 1.7.0 (GH-10964), 1.17.0",
    examine=_not_back,
)

ALONE: Final = Rule(
    name="agent-refused-alone",
    versions="every version of Vault and of the agent",
    precondition="a Vault Agent logs in for an app",
    demands="the agent is refused where the app itself is not, at the same moment and with the same token and role",
    explanation="an agent asks more than a login and a read: of which kind an engine is, and later for its renewal",
    source="hashicorp/vault command/agent, hashicorp/consul-template dependency/vault_common.go; run: 1.4.0 to 1.16.3",
    examine=_alone,
)
