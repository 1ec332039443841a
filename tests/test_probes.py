"""The questions themselves: what each asks, whose token it asks with, and how an answer reads."""

from __future__ import annotations

import itertools
from itertools import count
from pathlib import Path
from typing import Any, get_args

import pytest

from harness.drivers.paper.answers import Script, Told
from harness.drivers.paper.driver import PaperRig
from harness.host.pki import tampered
from harness.record.journal import Journal
from harness.record.observation import BESIDE, Observation
from harness.rehearsal import probes, rehearsal
from harness.rehearsal.probes.impostor import NO_SUCH_ROLE
from harness.rehearsal.probes.look import View, answer_of
from harness.rig.rig import Reply
from harness.scenario import loading, plan
from harness.scenario.course import Look
from harness.scenario.outcomes import ProbeName
from harness.scenario.plan import LOCKOUT_ROLE, Question
from harness.scenario.schema import Scenario
from harness.secret import Secret
from tests.runs import OUTAGE, SCENARIOS

_NO_SCRIPT: Script = {}
NEGATIVE = (
    "wrong-service-account",
    "wrong-namespace",
    "other-cluster-token",
    "tampered-jwt",
    "unknown-role",
    "wrong-secret",
    "wrong-certificate",
    "expired-certificate",
    "forged-certificate",
    "disallowed-policy",
    "revoked-secret",
)
OF_CERTIFICATES = ("wrong-certificate", "expired-certificate", "forged-certificate")
OF_SECRETS = ("wrong-secret", "lockout", "write", "mounted")
OF_ENGINES = ("kept-secret", "old-lease-renew", "revoked-secret", "engine-role", "disallowed-policy")
ASKED = [probe for probe in get_args(ProbeName) if probe != "auto-unseal"]
"""All but what is asked where one Vault unseals another: tests/test_seals.py has that."""
ENGINES = SCENARIOS / "what-engines-gave-is-good-after-the-upgrade.yaml"
STORM = SCENARIOS / "a-morning-of-1500-pods-is-refused-after-the-upgrade.yaml"
AGENT = SCENARIOS / "another-version-of-the-agent-would-not-help.yaml"
SECRETS = """
schema: 1
description: A password.
clusters: {apps: {kubernetes: 1.32.0}}
vault: {source: 1.7.0, target: 1.11.0}
auth: {people: {type: userpass, roles: {web: {policies: [web]}}}}
apps: {web: {role: web, writes: {secret/web: {hosts: [a, b], more: true}}}}
also-mounted: {old-db: mysql}
"""
CERTIFICATES = SECRETS.replace("userpass, roles: {web: {", "cert, roles: {web: {certificate: own, ").replace(
    "source: 1.7.0, target: 1.11.0", "source: 1.16.3, target: 1.17.0"
)
"""A version that compares the keys of certificates."""


class NotingRig(PaperRig):
    """A system on paper that notes which tokens it was asked with."""

    def __init__(self, *parts: Any) -> None:
        super().__init__(*parts)
        self.asked: list[tuple[str, str, Secret]] = []

    def login(self, mount: str, role: str, jwt: Secret) -> Reply:
        """Note the login, and answer."""
        self.asked.append(("login", role, jwt))
        return super().login(mount, role, jwt)

    def lookup_self(self, token: Secret) -> Reply:
        """Note the look-up, and answer."""
        self.asked.append(("lookup", "", token))
        return super().lookup_self(token)

    def read_secret(self, path: str, token: Secret) -> Reply:
        """Note the read, and answer."""
        self.asked.append(("read", path, token))
        return super().read_secret(path, token)


class Paper:
    """A Vault on paper that is set up and ready to be asked."""

    def __init__(self, scenario: Scenario, journal: Journal, script: Script) -> None:
        self.plan = plan.make(scenario, "test", "paper")
        self.rig = NotingRig(self.plan, journal, script, "")
        steps = itertools.takewhile(lambda step: not isinstance(step, Look), self.plan.steps)
        running = rehearsal.Running(self.plan, self.rig, journal)
        for step in steps:
            running.do(step)
        self.look = View(self.rig, self.plan.resolved, "before", "1.7.0", count(1).__next__)
        self.look.logins, self.look.credentials = self.look.old, running.credentials

    def ask(self, probe: str) -> Observation:
        """Return what the planned question of *probe* gives."""
        question = next(question for question in self.plan.questions if question.probe == probe)
        return probes.ASKED[probe](self.look, question)

    def prepare(self, probe: str) -> None:
        """Have the app that *probe* is asked for log in, and read what is asked for later."""
        question = next(question for question in self.plan.questions if question.probe == probe)
        for one in self.plan.questions:
            mine = one.app == question.app or not question.app
            if mine and (one.probe == "login" or (one.probe == "read" and one.item == question.item)):
                probes.ASKED[one.probe](self.look, one)


def paper(directory: Path, script: Script = _NO_SCRIPT) -> Paper:
    """Return the outage on paper at its source version, with its config written."""
    return Paper(loading.load(OUTAGE).scenario, Journal(directory), script)


def with_a_probe(probe: str, directory: Path) -> Paper:
    """Return a Vault on paper of which *probe* is asked."""
    if probe in OF_SECRETS:
        return Paper(loading.loads(SECRETS).scenario, Journal(directory), _NO_SCRIPT)
    if probe in OF_CERTIFICATES:
        return Paper(loading.loads(CERTIFICATES).scenario, Journal(directory), _NO_SCRIPT)
    if probe in OF_ENGINES:
        return Paper(loading.load(ENGINES).scenario, Journal(directory), _NO_SCRIPT)
    if probe in ("agent-login", "sidecar"):
        return Paper(loading.load(AGENT).scenario, Journal(directory), _NO_SCRIPT)
    if probe == "login-storm":
        return Paper(loading.load(STORM).scenario, Journal(directory), _NO_SCRIPT)
    return paper(directory)


# --- how an answer reads ---


@pytest.mark.parametrize(
    ("status", "words", "answer"),
    [
        (200, "", "granted"),
        (403, "permission denied", "refused"),
        (500, "namespace not authorized", "refused"),
        (500, "local node not active but active cluster node not found", "unknown"),
        (307, "", "unknown"),
        (None, "Vault gave no answer", "unknown"),
    ],
)
def test_a_reply_reads_as_refusals_have_it(status: int | None, words: str, answer: str) -> None:
    """What is neither a grant nor a refusal is unknown: tests/test_refusals.py has every status."""
    assert answer_of(Reply(status, words)) == answer


def test_an_observation_keeps_what_the_reply_said(tmp_path: Path) -> None:
    """Status, words, times and correlation go into the record as they came, and the latency with them."""
    reply = Reply(403, "permission denied", {"a": 1}, None, 100.0, 100.25, "rehearsal-7")
    seen = paper(tmp_path).look.seen(Question("login", "web", "kubernetes"), reply)
    assert (seen.status, seen.error, seen.detail) == (403, "permission denied", {"a": 1})
    assert (seen.started, seen.ended, seen.latency_ms) == (100.0, 100.25, 250.0)
    assert seen.correlation == "rehearsal-7"


# --- every question ---


def test_every_probe_of_the_vocabulary_can_be_asked() -> None:
    """A name that a scenario may use has a function behind it, and the other way round."""
    # those are asked by the rehearsal itself: of what a way back loses, and of what a remedy gives away
    own = {name for name in probes.ASKED if name.startswith(BESIDE)}
    assert set(probes.ASKED) - own == set(get_args(ProbeName))


@pytest.mark.parametrize("probe", ASKED)
def test_a_probe_answers_its_question(probe: str, tmp_path: Path) -> None:
    """At a healthy Vault every question has an answer: yes, but for those who must be refused."""
    on_paper = with_a_probe(probe, tmp_path)
    on_paper.prepare(probe)
    seen = on_paper.ask(probe)
    assert seen.probe == probe
    assert seen.answer == ("refused" if probe in NEGATIVE else "granted")
    assert seen.must_be == ("refused" if probe in NEGATIVE else "")


@pytest.mark.parametrize("told", ["refuse", "silent"])
@pytest.mark.parametrize("probe", ASKED)
def test_a_probe_never_raises_for_an_answer_it_dislikes(probe: str, told: Told, tmp_path: Path) -> None:
    """A no and a silence are observations like any other."""
    roles = (("login", "web"), ("login", NO_SUCH_ROLE), ("login", LOCKOUT_ROLE))
    names = (*roles, ("lookup", ""), ("renew", ""), ("read", "secret/data/web"))
    on_paper = with_a_probe(probe, tmp_path)
    on_paper.prepare(probe)
    on_paper.rig._script = {(*name, version): told for name in names for version in ("1.7.0", "1.16.3")}
    seen = on_paper.ask(probe)
    # what an engine on paper gave cannot be told to be refused, and no more can a mount
    if probe not in ("health", "seal-status", "auth-config", "role", "mounted", *OF_ENGINES):
        assert seen.answer == ("refused" if told == "refuse" else "unknown")


# --- whose token ---


@pytest.mark.parametrize("probe", ["token-lookup", "token-renew", "read", "old-token-lookup", "old-token-read"])
def test_what_needs_a_token_says_which_login_blocked_it(probe: str, tmp_path: Path) -> None:
    """A question that a refused login made impossible is unknown, and names that login's observation."""
    on_paper = paper(tmp_path, {("login", "web", "1.7.0"): "refuse"})
    login = on_paper.ask("login")
    seen = on_paper.ask(probe)
    assert (seen.answer, seen.status, seen.blocked_by) == ("unknown", None, login.id)
    assert "no token to ask with" in seen.error
    assert [what for what, _, _ in on_paper.rig.asked] == ["login"]


def test_the_old_token_is_the_one_from_before(tmp_path: Path) -> None:
    """After a hop the old questions are asked with the token of the first look, the others with the fresh one."""
    on_paper = paper(tmp_path)
    on_paper.ask("login")
    before, _ = on_paper.look.old["web"]
    on_paper.look = View(
        on_paper.rig, on_paper.look.topology, "after 1.9.2", "1.9.2", on_paper.look.number, old=on_paper.look.old
    )
    on_paper.ask("login")
    fresh, _ = on_paper.look.logins["web"]
    on_paper.rig.asked.clear()
    for probe in ("token-lookup", "old-token-lookup", "read", "old-token-read"):
        on_paper.ask(probe)
    tokens = [token for _, _, token in on_paper.rig.asked]
    assert tokens == [fresh, before, fresh, before]
    assert fresh != before


def test_impostors_present_what_their_names_say(tmp_path: Path) -> None:
    """Each negative probe differs from the app's own login in one thing: the token or the role."""
    on_paper = paper(tmp_path)
    own = on_paper.rig.app_token("web")
    presented = {}
    of_tokens = [probe for probe in NEGATIVE if probe not in (*OF_SECRETS, *OF_CERTIFICATES, *OF_ENGINES)]
    for probe in of_tokens:
        seen = on_paper.ask(probe)
        presented[probe] = (*on_paper.rig.asked[-1][1:], seen.subject)
    assert presented["tampered-jwt"] == ("web", tampered(own.jwt), own.subject)
    assert presented["unknown-role"] == (NO_SUCH_ROLE, own.jwt, own.subject)
    assert presented["wrong-service-account"][2] == "system:serviceaccount:apps:rehearsal-stranger"
    assert presented["wrong-namespace"][2] == "system:serviceaccount:rehearsal-elsewhere:web"
    assert presented["other-cluster-token"][0::2] == ("web", own.subject)
    assert len({token for _, token, _ in presented.values()}) == len(of_tokens)


def test_a_login_keeps_the_kind_of_its_token_and_not_the_token(tmp_path: Path) -> None:
    """What a login gave is in the observation: policies, and the token by its length alone."""
    on_paper = paper(tmp_path)
    seen = on_paper.ask("login")
    token, number = on_paper.look.logins["web"]
    assert token is not None
    assert number == seen.id
    assert seen.detail["policies"] == ["default", "web"]
    assert seen.detail["token_format"] == f"{len(token.reveal())} characters"
    assert token.reveal() not in str(seen)


def test_long_texts_of_a_config_are_read_back_as_digests(tmp_path: Path) -> None:
    """A CA is long: enough of it is kept to see that it changed."""
    on_paper = paper(tmp_path)
    on_paper.rig._configs["kubernetes"].fields["pem_keys"] = "x" * 1000
    detail = on_paper.ask("auth-config").detail
    assert detail["pem_keys"].startswith("sha256:")
    assert detail["kubernetes_host"] == "https://apps.paper"
