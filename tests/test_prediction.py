"""What is foretold without a server: at once, of every path, never a pass; and what is otherwise for real is news."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
from click.testing import CliRunner

from harness import wait
from harness.analysis import explaining, verdict
from harness.analysis.rules import RULES
from harness.cli.commands import main
from harness.knowledge import checks_by_hand
from harness.record import journal
from harness.record.foretold import Foretold
from harness.record.journal import Record
from harness.reports import explanation, github, junit, markdown, text
from harness.reports import prediction as report
from harness.scenario import loading
from harness.scenario.outcomes import Cause
from harness.session import prediction
from tests.runs import OUTAGE, SCENARIOS, on_paper
from tests.test_real import rehearse
from tests.test_rules import changed, mount, path, with_logs

SHIPPED = sorted(SCENARIOS.glob("*.yaml"))
CASES = sorted((Path(__file__).parent / "cases").glob("*.yaml"))


@pytest.mark.parametrize("file", [*SHIPPED, *CASES], ids=lambda file: file.stem)
def test_what_is_foretold_is_what_a_scenario_expects(file: Path) -> None:
    """Every shipped scenario and every case has an `expect` that real servers have met: so must the prediction."""
    told = prediction.predict(loading.load(file))
    assert told.why_not == ""
    assert told.verdict == "not rehearsed"
    assert told.met in (True, None)


PATHS = [
    ("1.3.0", "1.4.0"),
    ("1.4.0", "1.5.0"),
    ("1.7.0", "1.11.0"),
    ("1.9.3", "1.16.3"),
    ("1.17.0", "1.21.2"),
    ("1.21.0", "2.0.0"),
]


@pytest.mark.parametrize(("source", "target"), PATHS)
def test_every_path_has_its_changes(source: str, target: str) -> None:
    loaded = loading.load(OUTAGE)
    scenario = changed(mount(configured={"by": source, "with-token-file": False}), path(source, target))
    told = prediction.predict(dataclasses.replace(loaded, scenario=scenario))
    assert told.path == (source, target)
    assert told.crossings
    assert all(one.source and one.because for one in told.crossings)
    assert bool(told.beyond) is (target == "2.0.0")


def test_a_change_touches_or_not_by_what_the_scenario_says() -> None:
    told = {one.id: one for one in prediction.predict(loading.load(OUTAGE)).crossings}
    assert told["fallback-to-the-pods-token"].touches == "yes"
    assert told["frozen-token-dies-with-its-pod"].touches == "no"
    assert told["one-alias-per-entity-and-mount"].touches == "unknown"
    assert told["one-alias-per-entity-and-mount"].because.endswith("?")
    assert "user-lockout" not in told, "1.13.0 is not on the path"


def test_a_mount_that_the_scenario_has_is_no_question() -> None:
    """The lockout of 1.13 touches the userpass and approle mounts that are there."""
    file = Path(__file__).parent / "cases" / "passwords-and-secret-ids-once-vault-locks-out.yaml"
    told = {one.id: one for one in prediction.predict(loading.load(file)).crossings}
    assert told["user-lockout"].touches == "yes"


def test_the_command_tells_it_and_is_never_a_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    done = CliRunner().invoke(main, ["predict", str(OUTAGE)])
    assert done.exit_code == 4
    assert "after 1.11.0  login web: refused 403, reviewer nobody, reviewer-fallback-local" in done.stdout
    assert "this is no pass" in done.stdout
    done = CliRunner().invoke(main, ["predict", str(OUTAGE), "-o", "json"])
    told = json.loads(done.stdout)
    assert (done.exit_code, told["verdict"], told["met"]) == (4, "not rehearsed", True)
    logins = [one for one in told["answers"] if one["probe"] == "login"]
    assert [(one["moment"], one["status"], one["reviewer"], one["cause"]) for one in logins] == [
        ("before", 200, "client", ""),
        ("after 1.11.0", 403, "nobody", "reviewer-fallback-local"),
    ]


def test_what_mends_it_stands_with_its_commands_and_fits_a_terminal() -> None:
    told = prediction.predict(loading.load(OUTAGE))
    lines = report.render(told, width=80).splitlines()
    paste = [command for one in told.findings for way in one.ways for command in way.commands]
    assert len(paste) > 5
    assert all(f"      {command}" in lines for command in paste), "a command stands whole on its line"
    assert [line for line in lines if len(line) > 80 and line.strip() not in paste] == []
    assert report.render(told).replace("\n", " ").split() == " ".join(lines).split(), "not a word is lost"


def test_a_prediction_is_there_at_once() -> None:
    """Half a second, without the start of Python: it is far less, so that a busy machine may be slow."""
    loaded = loading.load(OUTAGE)
    prediction.predict(loaded)
    watch = wait.Stopwatch()
    report.render(prediction.predict(loaded))
    assert watch.seconds < 0.5


def test_a_prediction_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    prediction.predict(loading.load(OUTAGE))
    assert list(tmp_path.iterdir()) == []


# --- explain ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ("reviewer-frozen", "those versions copied the pod's token"),
        ("1.11.0", "unknown role, address, missing ca, signing key, algorithm, issuer"),
        ("1.9.3", "Kubernetes auth plugin 0.11.4"),
        ("v1.13", "audience: 403 invalid audience (aud) claim"),
        ("pem_keys", "signing key from 1.11.0: 403 permission denied"),
        ("disable-local-ca-jwt", "disable-local-is-a-field"),
        ("token-format", "from 1.10.0"),
        ("2.0.0", "rekey-needs-a-token"),
    ],
)
def test_what_is_known_is_explained(asked: str, says: str) -> None:
    done = CliRunner().invoke(main, ["explain", asked])
    assert done.exit_code == 0, done.stderr
    assert says in done.stdout
    assert json.loads(CliRunner().invoke(main, ["explain", asked, "-o", "json"]).stdout)["asked"] == asked


def test_every_word_that_is_known_is_explained() -> None:
    """Each cause, field and row: with a source, and without a traceback."""
    for word in explaining.known():
        found = explaining.explain(word)
        assert found is not None, word
        assert "source" in explanation.render(found)


def test_what_is_unknown_ends_in_2_with_what_is_near() -> None:
    done = CliRunner().invoke(main, ["explain", "reviewer-frosen"])
    assert done.exit_code == 2
    assert "did you mean reviewer-frozen" in done.stderr


# --- news -------------------------------------------------------------------------------------------------------------


def foretold_record(tmp_path: Path, **script: Any) -> Record:
    """Return a record on paper with a prediction in it, of a Vault that answers otherwise where *script* says so."""
    record, _ = on_paper(loading.load(OUTAGE).scenario, tmp_path, **script)
    told = prediction.foretold(record.started)
    first, *others = with_logs(record)._lines
    return Record([first, told, *others])  # type: ignore[list-item]


def test_what_is_as_foretold_is_no_news(tmp_path: Path) -> None:
    assert verdict.judge(foretold_record(tmp_path), strict=True).news == ()


@pytest.mark.parametrize(
    ("script", "what", "said"),
    [
        ({("login", "web", "1.11.0"): "grant"}, "answer", "login web"),
        ({("login", "web", "1.7.0"): "refuse"}, "answer", "is refused 403"),
        ({("read", "secret/data/web", "1.7.0"): "refuse"}, "answer", "read web"),
    ],
)
def test_what_is_otherwise_is_news_and_fails_a_strict_run(script: Any, what: str, said: str, tmp_path: Path) -> None:
    record = foretold_record(tmp_path, script=script)
    judgement = verdict.judge(record)
    assert what in {one.what for one in judgement.news}
    assert any(said in one.sentence for one in judgement.news)
    strict = verdict.judge(record, strict=True)
    assert (strict.outcome, strict.exit_code) == ("fail", 1)
    assert any("otherwise than foretold: " in reason for reason in strict.reasons)
    for render in (text.render, markdown.render):
        assert "Otherwise than foretold" in render(judgement)
    assert "every answer is as foretold" in junit.render(strict)
    assert 'type="foretold"' in junit.render(strict)
    assert "Otherwise than foretold" in github.render(judgement, "scenario.yaml", {})


def test_another_cause_and_another_reviewer_are_news(tmp_path: Path) -> None:
    record = foretold_record(tmp_path)
    (told,) = record.of(Foretold)
    changes: tuple[dict[str, Any], ...] = ({"cause": "reviewer-frozen"}, {"reviewer": "vault"}, {"status": 500})
    for change in changes:
        answers = tuple(
            msgspec.structs.replace(one, **change) if (one.probe, one.moment) == ("login", "after 1.11.0") else one
            for one in told.answers
        )
        first, _, *others = record._lines
        (found,) = verdict.judge(Record([first, Foretold(answers=answers), *others])).news  # type: ignore[list-item]
        assert found.what in change


def test_a_question_that_nobody_could_ask_is_no_news(tmp_path: Path) -> None:
    record = foretold_record(tmp_path, script={("lookup", "", "1.7.0"): "silent"})
    assert verdict.judge(record).news == ()


@pytest.mark.real
def test_a_real_run_holds_its_prediction_in_its_record(tmp_path: Path) -> None:
    """The outage on real servers: nothing is otherwise than foretold; with a prediction of another course, it is."""
    done = rehearse("run", OUTAGE, "--strict", "-o", "json", "--run-dir", tmp_path / "record")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["news"] == []
    record = journal.load(tmp_path / "record")
    (told,) = record.of(Foretold)
    assert {one.cause for one in told.answers} == {"", "reviewer-fallback-local"}


def test_every_cause_can_be_looked_for_by_hand() -> None:
    """Each cause that a rule names has what to ask on a living system, and none of it changes anything there."""
    checks = checks_by_hand.checks()
    assert {rule.name for rule in RULES} <= set(checks) <= set(get_args(Cause))
    for one in checks.values():
        assert one.look.endswith(".")
        assert one.tells.endswith(".")
        assert one.commands
        for command in one.commands:
            assert not re.search(
                r"\b(write auth/[^ ]+/(config|role/[^/ ]+)( |$)|delete|apply|create -f|patch|edit)", command
            )


UNBOUND = """
schema: 1
description: Roles of a pipeline and of a machine, as Terraform has them.
vault: {source: 1.13.0, target: 1.16.3}
auth:
  ci:
    type: jwt
    roles: {old: {bound-claims: {project: shop}, policies: [ci]}, new: {bound-audiences: [v], policies: [ci]}}
  machines: {type: cert, roles: {gw: {certificate: own, policies: [ci]}, job: {certificate: ca, policies: [ci]}}}
apps:
  old: {mount: ci, role: old, token: minted, audience: v, claims: {project: shop}}
  new: {mount: ci, role: new, token: minted, audience: v}
  gw: {mount: machines, role: gw}
  job: {mount: machines, role: job}
"""


def test_what_a_scenario_tells_of_its_roles_is_not_asked_of_its_reader() -> None:
    """A change is said to touch a role that the scenario has; where it has none such, it is a question still."""
    told = {one.id: one for one in prediction.predict(loading.loads(UNBOUND)).crossings}
    assert "old of auth/ci" in told["jwt-bound-audiences"].because
    assert "new of auth/ci" not in told["jwt-bound-audiences"].because
    assert told["cert-leaf-keys-compared"].because == "role gw of auth/machines trusts a certificate by itself"
    bound = UNBOUND.replace("bound-claims: {project: shop}", "bound-audiences: [v]").replace("own", "ca")
    told = {one.id: one for one in prediction.predict(loading.loads(bound)).crossings}
    assert {told[name].touches for name in ("jwt-bound-audiences", "cert-leaf-keys-compared")} == {"unknown"}


BY_ROLE = """
schema: 1
description: A policy by the role of a login.
clusters: {apps: {kubernetes: 1.32.0}}
vault: {source: 1.13.0, target: 1.16.3}
auth:
  ci: {type: jwt, roles: {deploy: {bound-audiences: [v], policies: [by-role]}}}
  kubernetes: {cluster: apps, roles: {web: {service-accounts: [web], namespaces: [apps], policies: [by-role]}}}
policies:
  by-role: path "secret/data/{{ identity.entity.aliases.auth/ci.metadata.role }}" { capabilities = ["read"] }
apps:
  deploy: {mount: ci, role: deploy, token: minted, audience: v, reads: [secret/deploy]}
"""


@pytest.mark.parametrize(
    ("template", "said"),
    [
        (
            "{{ identity.entity.aliases.auth/ci.metadata.role }}",
            ("yes", "policy by-role has a template with metadata.role"),
        ),
        pytest.param("{{identity.entity.aliases.auth/kubernetes.metadata.role}}", ("unknown",), id="without a role"),
    ],
)
def test_a_template_touches_by_the_mount_that_it_names(template: str, said: tuple[str, ...]) -> None:
    """Vault takes blanks within the braces, and the role is in the alias of JWT mounts alone."""
    text = BY_ROLE.replace("{{ identity.entity.aliases.auth/ci.metadata.role }}", template)
    loaded = loading.loads(text)
    told = {one.id: one for one in prediction.predict(loaded).crossings}["jwt-role-in-the-alias"]
    assert (told.touches, told.because)[: len(said)] == said


TAKEN_AWAY = """
schema: 1
description: A role loses its policies, and the default one with them.
clusters: {apps: {kubernetes: 1.32.0}}
vault: {source: 1.13.0}
auth:
  kubernetes:
    cluster: apps
    reviewer: secret
    roles: {web: {service-accounts: [web], namespaces: [apps], policies: [web]}}
policies:
  web: path "secret/data/*" { capabilities = ["read"] }
  other: path "secret/data/other/*" { capabilities = ["read"] }
apps: {web: {cluster: apps, mount: kubernetes, service-account: apps/web, role: web, reads: [secret/web]}}
course: [{write: {mount: kubernetes, role: web, policies: [other], no-default-policy: true}}]
"""


def test_what_a_policy_denies_is_a_finding_for_each_path_with_a_remedy_of_its_own() -> None:
    """A token that may not look itself up may read all the same: what mends the one is nothing to the other."""
    told = [one for one in prediction.predict(loading.loads(TAKEN_AWAY)).findings if one.cause == "policy-denies"]
    paths = ("auth/token/lookup-self", "auth/token/renew-self", "secret/data/web")
    assert [path in one.sentence for one, path in zip(told, paths, strict=True)] == [True] * 3
    assert [path in one.ways[0].commands[0] for one, path in zip(told, paths, strict=True)] == [True] * 3
