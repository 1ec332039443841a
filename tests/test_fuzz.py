"""Random scenarios: the same ones everywhere, of all that can be said; whatever they are, a run ends in a verdict."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from harness.analysis import verdict
from harness.analysis.verdict import Judgement
from harness.cli import maintenance
from harness.knowledge import jwt_auth
from harness.record import journal
from harness.reports import json, junit, markdown, run_html, text
from harness.scenario import loading, mount_kinds, schema
from harness.scenario.loading import Loaded
from tests import versions_at_hand
from tests.fuzz import __main__ as command
from tests.fuzz import crossing, generator, known, shrinking
from tests.fuzz.comparison import Difference, Seen, differences
from tests.fuzz.running import NotRehearsed, Rehearsals
from tests.runs import SCENARIOS, on_paper
from tests.test_cases import unpacked

TELL = "from tests.fuzz import {0}; print([{0}.scenario(5, number, {1}).text for number in range(5)])"


@pytest.mark.processes
@pytest.mark.parametrize("by", ["generator", "crossing"])
def test_a_seed_gives_the_same_scenarios_on_every_machine(by: str) -> None:
    """Sets and hashes are ordered otherwise in each process: nothing that is drawn depends on them."""
    told = [
        subprocess.run(
            [sys.executable, "-c", TELL.format(by, generator.CORE)],
            env=os.environ | {"PYTHONHASHSEED": seed},
            cwd=SCENARIOS.parent,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert told[0] == told[1]
    assert told[0].count("schema: 1") == 5


@pytest.fixture(scope="module")
def drawn() -> list[dict[str, Any]]:
    """Return what some scenarios say."""
    return [yaml.safe_load(generator.scenario(3, number).text) for number in range(240)]


NEVER_DRAWN = {"vault", "node", "nodes", "order", "wait", "look-up"}
NEVER_DRAWN |= {
    "step-down",
    "stop-node",
    "start-node",
    "remove-node",
    "join-node",
    "seal-vault",
    "seal",
    "left-out",
    "reachable",
}
NEVER_DRAWN |= {"leases", "revoke-leases", "max-receive-size", "etcd-members", "disable-mlock"}
NEVER_DRAWN |= {"audit", "audit-device", "storm", "through", "meanwhile", "database", "agent-sink", "clock"}
"""Keys that say nothing more where there is one Vault of one node, or that only take time."""


def keys(part: type) -> set[str]:
    """Return the keys of a part of a scenario."""
    return {field.alias or name for name, field in part.model_fields.items()}  # type: ignore[attr-defined]


def test_all_that_can_be_said_is_drawn(drawn: list[dict[str, Any]]) -> None:
    """A key that is new in the format fails this until it is drawn, or is named as one that never is."""
    mounts = [mount for one in drawn for mount in one["auth"].values()]
    roles = [role for mount in mounts for role in mount.get("roles", {}).values()]
    steps = [step for one in drawn for step in one.get("course", ())]
    assert {mount.get("type", "kubernetes") for mount in mounts} == {*mount_kinds.NAMES}
    assert {mount.get("reviewer") for mount in mounts} >= {"local", "client-jwt", "secret", "pod-token", "requested"}
    assert {key for step in steps for key in step} >= keys(schema.CourseStep) - NEVER_DRAWN - {"storage"}
    # fields of newer versions than these are drawn where those are asked for
    newer = {"use_annotations_as_alias_metadata", "namespace-selector", "user-claim-json-pointer"}
    assert {key for role in roles for key in role} >= keys(schema.Role) - newer
    assert {key for mount in mounts for key in mount.get("config", {})} >= keys(schema.PluginConfig) - newer
    assert {key for one in drawn for app in one["apps"].values() for key in app} >= keys(schema.App) - NEVER_DRAWN
    assert {key for one in drawn for key in one["vault"]} == keys(schema.Vault) - NEVER_DRAWN


def test_the_core_is_what_every_machine_has() -> None:
    assert versions_at_hand.CORE["vault"] == generator.CORE
    assert generator.KUBERNETES in versions_at_hand.CORE["kube-apiserver"]


@pytest.mark.parametrize("number", range(12))
def test_every_random_scenario_ends_in_a_verdict_that_can_be_told(number: int, tmp_path: Path) -> None:
    """Whatever is drawn: the record is judged the same twice, and every report of it can be written."""
    by = crossing if number % 2 else generator
    loaded = by.scenario(11, number, (*generator.CORE, "1.12.0", "1.13.0", "1.16.3", "1.18.0", "1.21.2"))
    record, judged = on_paper(loaded.scenario, tmp_path)
    assert not judged.troubles
    assert judged.verdict in ("pass", "fail", "inconclusive")
    assert verdict.judge(record) == judged
    for report in (text, json, junit, markdown):
        assert report.render(judged)
    assert run_html.render(record, judged)


def seen(loaded: Loaded, directory: Path, **driver: Any) -> Seen:
    return on_paper(loaded.scenario, directory, **driver)


def of(file: str) -> Loaded:
    return loading.load(SCENARIOS / f"{file}.yaml")


def test_what_is_answered_alike_is_no_difference(tmp_path: Path) -> None:
    outage = of("the-outage-apps-in-another-cluster-are-refused-after-the-upgrade")
    assert differences(seen(outage, tmp_path / "one"), seen(outage, tmp_path / "other")) == []


@pytest.mark.parametrize(
    ("said", "what"),
    [
        ({("login", "web", "1.11.0"): "grant"}, "answer"),
        ({("review", "kubernetes", "1.7.0"): "refuse"}, "answer"),
        ({("lookup", "", "1.7.0"): "refuse"}, "answer"),
    ],
)
def test_another_answer_is_a_difference(said: dict[Any, Any], what: str, tmp_path: Path) -> None:
    outage = of("the-outage-apps-in-another-cluster-are-refused-after-the-upgrade")
    found = differences(seen(outage, tmp_path / "one"), seen(outage, tmp_path / "other", script=said))
    assert found
    assert found[0].what == what
    assert known.unknown(found) == found


def test_a_run_that_broke_is_a_difference(tmp_path: Path) -> None:
    outage = of("the-outage-apps-in-another-cluster-are-refused-after-the-upgrade")
    found = differences(seen(outage, tmp_path / "one"), seen(outage, tmp_path / "other", dies_at="1.11.0"))
    assert [one.what for one in found if one.what == "trouble"]


class Answered(Rehearsals):
    """Rehearses for real as it is told, run by run."""

    def __init__(self, place: Path, *scripts: dict[Any, Any]) -> None:
        super().__init__(maintenance.places(), "paper")
        self._place, self._scripts = place, list(scripts)

    def _again(self, loaded: Loaded) -> Seen:
        self.made += 1
        return seen(loaded, self._place / str(self.made), **self._scripts.pop(0))


REFUSED = {"script": {("login", "web", "1.7.0"): "refuse"}}
SILENT = {"script": {("login", "web", "1.7.0"): "silent"}}
BUSY = {"dies_at": "1.11.0"}


@pytest.mark.parametrize(
    ("runs", "lasting", "passing"),
    [
        ([{}], False, False),
        ([REFUSED, REFUSED], True, False),
        ([REFUSED, {}], False, True),
        ([SILENT, {}], False, False),
        ([SILENT, REFUSED, SILENT, REFUSED], True, False),
        ([BUSY, BUSY], True, False),
    ],
)
def test_a_difference_is_one_that_comes_again(
    runs: list[dict[Any, Any]], lasting: bool, passing: bool, tmp_path: Path
) -> None:
    """A run in which a question got no answer says nothing, and is made once more."""
    rehearsals = Answered(tmp_path, *runs)
    found = rehearsals.differences(of("the-outage-apps-in-another-cluster-are-refused-after-the-upgrade"))
    assert (bool(found), bool(rehearsals.passing), rehearsals.made) == (lasting, passing, len(runs))


def test_what_a_busy_machine_spoils_twice_was_not_rehearsed(tmp_path: Path) -> None:
    with pytest.raises(NotRehearsed, match="the machine is in the way, twice: login"):
        Answered(tmp_path, SILENT, SILENT).differences(
            of("the-outage-apps-in-another-cluster-are-refused-after-the-upgrade")
        )


FOUND = Difference(what="answer", where="login", foretold="granted", seen="refused", probe="login")


def test_a_find_is_made_as_small_as_it_can_be() -> None:
    """What is left is what the difference needs; another difference does not count as the same one."""

    def differ(loaded: Loaded) -> list[Difference]:
        mounts = loaded.scenario.auth
        roles = [mounts[app.mount or ""].roles.get(app.role) for app in loaded.scenario.apps.values()]
        if any(role is not None and role.no_default_policy for role in roles):
            return [msgspec.structs.replace(FOUND, where="elsewhere")]
        return [msgspec.structs.replace(FOUND, seen="granted 200")]

    drawn = (generator.scenario(1, number) for number in range(1_000))
    large = next(one for one in drawn if len(one.scenario.apps) > 2 and differ(one)[0].sort == FOUND.sort)
    loaded, found, asked = shrinking.shrunk(large, [FOUND], differ, 200)
    assert [one.where for one in found] == ["elsewhere"]
    assert asked <= 200
    assert len(loaded.scenario.apps) == len(loaded.scenario.auth) == 1
    (mount,) = loaded.scenario.auth.values()
    assert [role.no_default_policy for role in mount.roles.values()] == [True]
    assert not mount.config
    assert len(loaded.scenario.course or ()) <= 1


def test_no_more_is_asked_than_is_allowed() -> None:
    asked: list[Loaded] = []

    def differ(loaded: Loaded) -> list[Difference]:
        asked.append(loaded)
        if len(asked) % 2:
            raise NotRehearsed("the machine is busy")
        return [FOUND]

    _, found, times = shrinking.shrunk(generator.scenario(1, 0), [FOUND], differ, 5)
    assert (len(asked), times, found) == (5, 5, [FOUND])


def test_above_a_small_scenario_stands_what_differs_in_it_and_how_to_have_the_large_one() -> None:
    """Of the apps that are gone only one difference of each sort is told, and as one of the larger scenario."""
    others = [msgspec.structs.replace(FOUND, where=f"login app-{number}", seen="granted 200") for number in range(3)]
    assert command.head([FOUND], [FOUND, *others], "--seed 1 --first 4") == [
        FOUND.sentence,
        "made smaller; the whole one: --seed 1 --first 4",
        f"and there, among others: {others[0].sentence}",
    ]
    assert command.head([FOUND, *others[:1]], (), "--seed 1") == [FOUND.sentence, others[0].sentence]


def test_every_known_difference_says_why() -> None:
    assert len({row.id for row in known.KNOWN}) == len(known.KNOWN)
    assert all(row.because for row in known.KNOWN)
    assert known.row_of(FOUND) is None


class Scripted(Rehearsals):
    """Differs at one number, and sees nothing at another."""

    def differences(self, loaded: Loaded) -> list[Difference]:
        if loaded.name.endswith("-2"):
            raise NotRehearsed("no ports")
        if loaded.name.endswith("-5"):
            raise KeyError("a part that nobody expected")
        return [FOUND] if loaded.name.endswith("-1") else []


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "Rehearsals", lambda places, _driver, _kept: Scripted(places, "paper"))


@pytest.mark.parametrize(("first", "count", "code"), [(3, 2, 0), (0, 2, 1), (2, 2, 3), (1, 2, 1), (5, 1, 1)])
@pytest.mark.usefixtures("scripted")
def test_the_command_says_by_its_end_what_there_was(
    first: int, count: int, code: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--seed", "9", "--first", str(first), "--count", str(count), "--shrink", "3", "--out", str(tmp_path)]
    assert command.main(words) == code
    assert f"--seed 9 --first {first} --count {count}" in capsys.readouterr().out
    finds = list(tmp_path.glob("*.yaml"))
    assert len(finds) == (code == 1)
    for file in finds:
        if first == 5:
            assert "KeyError" in file.read_text()
            continue
        assert file.read_text().startswith("# answer of login: foretold granted, seen refused\n")
        assert loading.load(file)


# --- what was found ---

FINDS = Path(__file__).parent / "fuzz" / "finds"
FOUND_CAUSES: dict[str, dict[str, set[str]]] = {
    "a-role-for-batch-tokens-that-no-vault-takes-back": {
        "web": {"reviewer-frozen", "changed-by-step"},
        "": {"rewrite-refused", "rewrite-changes"},
    },
    "batch-tokens-that-outlive-a-snapshot": {},
    "a-secret-id-keeps-the-uses-it-was-made-with": {"app-0": {"policy-denies"}},
    "an-old-agent-that-may-not-read-keeps-its-token": {"app-0": {"policy-denies", "issuer-mismatch"}},
    "agents-that-end-and-agents-that-hold-on": {
        "reads-nothing": {"policy-denies", "api-server-unreachable"},
        "late": {"role-binding-mismatch", "changed-by-step", "agent-not-back", "api-server-unreachable"},
    },
    "logins-beside-kubernetes": {
        "timeless": {"jwt-claim-mismatch"},
        "far-pod": {"address-not-bound"},
        "far-token": {"address-not-bound"},
        "capital": {"policy-denies"},
        "no-policy": {"policy-denies"},
        "bare": {"policy-denies"},
    },
    "tokens-that-are-good-for-less": {
        "batch": {"token-limits"},
        "once": {"token-limits"},
        "twice": {"token-limits"},
        "thrice": {"token-limits"},
        "bare": {"policy-denies"},
        "api": {"certificate-not-matched"},
        "capital": {"policy-denies"},
    },
    "tokens-that-are-renewed-no-more": {
        "short": {"certificate-expired"},
        "policies": {"policy-denies"},
        "names": {"certificate-not-matched"},
        "user": {"policy-denies"},
    },
    "a-connection-that-ends-with-a-401": {"web": {"reviewer-fallback-local", "api-server-untrusted"}},
    "a-ca-that-rotates-and-a-reviewer-that-is-chosen": {"web": {"api-server-untrusted", "changed-by-step"}},
    "policies-whose-case-is-folded": {"user": {"policy-denies"}},
    "a-rewrite-that-keeps-the-issuer-check": {"app": {"issuer-mismatch"}, "": {"rewrite-changes"}},
    "an-agent-from-an-address-that-is-not-bound": {"app-0": {"address-not-bound"}},
    "audit-entries-of-somebody-else": {"web": {"reviewer-frozen", "changed-by-step"}},
    "a-rolled-back-vault-checks-the-issuer-again": {"app-0": {"reviewer-fallback-local", "issuer-mismatch"}},
    "a-rewrite-that-stores-the-token-of-a-pod": {
        "app": {"changed-by-step", "reviewer-frozen"},
        "": {"rewrite-changes"},
    },
    "an-api-server-that-1.3-does-not-trust": {"other": {"api-server-untrusted"}},
    "fields-that-no-write-says-stay": {"app-1": {"policy-denies"}},
    "failures-that-a-start-forgets": {"app-0": {"secret-not-accepted"}, "app-01": {"secret-not-accepted"}},
    "claims-where-the-issuer-is-asked": {
        "unbound": {"jwt-claim-mismatch"},
        "subject": {"jwt-claim-mismatch"},
        "audience": {"jwt-audience-mismatch", "jwt-claim-mismatch"},
        "both": {"jwt-bound-claim-mismatch", "jwt-claim-mismatch"},
        "bound": {"jwt-bound-claim-mismatch", "jwt-claim-mismatch"},
        "lasting": {"jwt-claim-mismatch"},
        "by-key": {"jwt-bound-claim-mismatch", "jwt-claim-unusable"},
    },
    "what-agents-say-of-a-refusal": {
        "old": {"issuer-mismatch"},
        "new": {"issuer-mismatch"},
        "audience": {"audience-mismatch"},
    },
    "a-lease-that-nobody-renewed": {"short": {"lease-ended"}},
    "leases-that-end-while-their-database-is-away": {
        "short": {"database-away", "lease-ended"},
        "bt": {"lease-ended"},
        "": {"database-away"},
    },
    "a-stored-reviewer-that-may-not-review": {"web": {"reviewer-lacks-tokenreview-rbac"}},
    "a-stored-copy-that-may-not-review": {"web": {"reviewer-lacks-tokenreview-rbac", "stored-reviewer-refused"}},
    "a-policy-in-another-case-than-it-is-written": {"anna": {"policy-denies"}, "bob": {"policy-denies"}},
    "two-apps-that-share-a-secret-id": {"one": {"secret-not-accepted"}, "two": {"secret-not-accepted"}},
    "credentials-that-end-with-their-token": {"one": {"lease-ended"}, "brief": {"lease-ended"}},
}
"""What each find shows: the causes by app. Who is not named is refused nothing, and hears no news."""

ENDS = {("tokens-that-are-renewed-no-more", "short")}
"""The apps whose certificates end within the run, by the find: paper does not wait for servers."""


@pytest.mark.parametrize("name", FOUND_CAUSES)
def test_what_was_found_is_foretold_now_and_has_its_cause(name: str, tmp_path: Path) -> None:
    """The record of a real run: paper answers each question of it alike, and every refusal is explained."""
    find = FINDS / f"{name}.yaml"
    record = journal.load(unpacked(find.with_suffix(".jsonl.gz"), tmp_path))
    real = record, verdict.judge(record)
    found = differences(seen(loading.load(find), tmp_path / "paper"), real)
    assert [one for one in found if (name, one.app) not in ENDS] == []
    causes: dict[str, set[str]] = {}
    for finding in real[1].findings:
        if finding.effect != "identity changed":
            causes.setdefault(finding.app, set()).add(finding.rule)
    assert causes == FOUND_CAUSES[name]


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        (
            "a-stored-reviewer-that-may-not-review",
            "auth.kubernetes.reviewer (long-lived); auth.kubernetes.reviewer-may-review-tokens (false). Who",
        ),
        (
            "a-stored-copy-that-may-not-review",
            "auth.kubernetes.reviewer (pod-token); vault.may-review-tokens (false). Who",
        ),
    ],
)
def test_where_a_reviewer_was_given_nobody_is_asked_who_wrote_the_config(name: str, keys: str, tmp_path: Path) -> None:
    (doubt,) = judged(name, tmp_path).doubts
    assert f"mend what decides it here: {keys}" in doubt.text


def test_apps_that_share_a_secret_id_are_one_doubt(tmp_path: Path) -> None:
    (doubt,) = judged("two-apps-that-share-a-secret-id", tmp_path).doubts
    assert (doubt.kind, doubt.apps) == ("unlearned", ("two", "one"))
    assert "the secret ID that one and two share is good for 3 logins" in doubt.text


def judged(name: str, directory: Path) -> Judgement:
    return verdict.judge(journal.load(unpacked(FINDS / f"{name}.jsonl.gz", directory)))


def test_a_user_is_mended_where_users_are_written(tmp_path: Path) -> None:
    findings = judged("logins-beside-kubernetes", tmp_path).findings
    assert not [one for finding in findings for one in finding.remedies if "auth/people/role" in one.sentence]
    (user,) = {one.terraform for finding in findings if finding.app == "capital" for one in finding.remedies}
    assert 'path                 = "auth/people/users/capital"' in user


def test_a_token_is_told_what_it_is_good_for(tmp_path: Path) -> None:
    """By Vault's own words, or by the look-up of the token and the requests that were made with it."""
    findings = judged("tokens-that-are-good-for-less", tmp_path).findings
    told = {
        (one.app, one.probe, one.item): (one.sentence, one.confidence, one.remedies[0].commands[0])
        for one in findings
        if one.rule == "token-limits"
    }
    kubernetes = "vault write auth/kubernetes/role"
    assert told["batch", "token-renew", ""][1:] == ("certain", f"{kubernetes}/batch token_type=service")
    assert told["once", "read", "secret/shop"][1:] == ("certain", f"{kubernetes}/once token_num_uses=0")
    assert "good for 1 request (token_num_uses), and 2 were made" in told["once", "read", "secret/shop"][0]
    assert "and a token is not renewed by its last one" in told["twice", "token-renew", ""][0]
    assert "and 3 were made with this one before" in told["thrice", "read", "secret/more"][0]
    assert len(told) == 6
    (better,) = (one for one in findings if one.kind == "improvement")
    assert (better.app, better.hop, better.rule) == ("api", "1.7.0", "certificate-not-matched")
    assert "in whatever case its name is said" in better.sentence
    (refused,) = (one for one in findings if one.app == "api" and one.kind == "pre-existing")
    assert "nobody logs in to role Api of auth/cert by that name" in refused.sentence


def test_running_copies_are_told_why_nothing_renews_their_tokens(tmp_path: Path) -> None:
    findings = judged("tokens-that-are-renewed-no-more", tmp_path).findings
    renewals = {one.app: one for one in findings if one.probe == "old-token-renew"}
    assert {app: one.rule for app, one in renewals.items()} == {
        "short": "certificate-expired",
        "policies": "policy-denies",
        "names": "certificate-not-matched",
        "user": "policy-denies",
    }
    assert all(one.sentence.startswith(f"Running copies of {app} hold") for app, one in renewals.items())
    assert all(one.evidence[0].text.startswith("renew-self of the old token") for one in renewals.values())
    assert "vault write auth/people/users/user token_policies='others'" not in renewals["user"].remedies[0].commands
    assert "vault write auth/userpass/users/user token_policies='others'" in renewals["user"].remedies[0].commands


@pytest.mark.parametrize(
    ("version", "first", "second"),
    [
        ("1.6.0", "no times", "no audiences bound"),
        ("1.6.0", "no audiences bound", "issuer"),
        ("1.10.0", "no times", "issuer"),
        ("1.10.0", "audience", "expired"),
        ("1.11.0", "issuer", "no times"),
        ("1.11.0", "address", "signature"),
        ("1.6.0", "bound claim", "no user claim"),
        ("1.7.0", "no user claim", "bound claim"),
    ],
)
def test_the_checks_of_a_jwt_mount_have_an_order(
    version: str, first: jwt_auth.Refusal, second: jwt_auth.Refusal
) -> None:
    """As bare Vaults answered of which two things were wrong; tests/test_real_jwt_order.py asks some again."""
    order = jwt_auth.order(version)
    assert order.index(first) < order.index(second)


def test_where_the_issuer_is_asked_other_checks_come_first() -> None:
    old, new = (jwt_auth.order(version, discovery=True) for version in ("1.6.0", "1.7.0"))
    assert new == jwt_auth.order("1.7.0")
    assert old.index("issuer") < old.index("signature")
    assert "no audiences bound" not in old
    checks: tuple[jwt_auth.Refusal, ...] = (
        *("issuer", "subject", "expired", "no times", "no fetched key", "keys refused"),
    )
    for check in checks:
        status, words = jwt_auth.answer(check, "1.6.0", discovery=True)
        known = {"no times": "expired"}.get(check, check)
        assert (status, jwt_auth.refusal_of(words)) == (400, known)
