"""Secrets engines that make secrets: what can be said of them, what is asked, and what becomes of what they gave."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.artifacts.images import VAULT, Image
from harness.clients import postgres
from harness.drivers.kind import limits
from harness.errors import MissingPrerequisite
from harness.record.observation import Observation
from harness.rehearsal import probes
from harness.rehearsal.probes import View
from harness.scenario import loading, plan, shared_source
from harness.scenario.plan import Question
from tests.lent import Lender
from tests.runs import on_paper
from tests.test_auth_methods import problems

ENGINES: dict[str, Any] = {
    "database": {"type": "database", "roles": {"app": {"ttl": "10m", "max-ttl": "1h"}}},
    "keys/transit": {"type": "transit", "keys": {"orders": {}}},
    "pki": {
        "type": "pki",
        "roles": {"web": {"allowed-domains": ["apps.example.com"], "key-type": "ec", "key-bits": 256}},
    },
}
AUTH: dict[str, Any] = {"approle": {"type": "approle", "roles": {"batch": {"policies": ["batch"], "ttl": "1h"}}}}
READS = ["secret/batch", "database/creds/app", "keys/transit/orders", "pki/issue/web"]


def written(**parts: Any) -> str:
    """Return a scenario of an app that reads secrets of all engines as text, with parts replaced."""
    document = {
        "schema": 1,
        "description": "Engines.",
        "clusters": {"main": {"kubernetes": "1.32.0"}},
        "vault": {"source": "1.9.2", "target": "1.11.0"},
        "auth": AUTH,
        "secrets": ENGINES,
        "apps": {"batch": {"role": "batch", "reads": READS}},
    }
    return yaml.safe_dump(document | parts, sort_keys=False)


def kept_in(tmp_path: Path, **parts: Any) -> Path:
    file = tmp_path / "engines.yaml"
    file.write_text(written(**parts))
    return file


@pytest.mark.parametrize(
    ("engines", "message", "at"),
    [
        ({"secret": {}}, "missing key `kv` in secrets.secret", "{}"),
        ({"secret": {"kv": 2, "roles": {"a": {}}}}, "a key-value store has no roles", "a: {}"),
        ({"database": {"type": "database"}}, "missing key `roles` in secrets.database", "type: database"),
        (
            {"database": {"type": "database", "kv": 2, "roles": {"app": {}}}},
            "a secrets engine of type database has no kv",
            "2",
        ),
        (
            {"database": {"type": "database", "roles": {"app": {"allowed-domains": ["a"]}}}},
            "a role of a secrets engine of type database has no allowed-domains",
            "- a",
        ),
        (
            {"database": {"type": "database", "roles": {"app": {"ttl": "2h", "max-ttl": "1h"}}}},
            "a max-ttl that is less than the ttl, which is 2h",
            "1h",
        ),
        ({"transit": {"type": "transit", "keys": {}}}, "missing key `keys` in secrets.transit", "{}"),
        (
            {"pki": {"type": "pki", "roles": {"web": {}}}},
            "missing key `allowed-domains` in secrets.pki.roles.web",
            "{}",
        ),
        (
            {"pki": {"type": "pki", "roles": {"web": {"allowed-domains": ["a"], "key-type": "ec"}}}},
            "Vault 1.9.2, which writes this role, takes 2048 bits where none are said, and refuses that for ec",
            "ec",
        ),
        (
            {"pki": {"type": "pki", "roles": {"web": {"allowed-domains": ["a"], "key-bits": 256}}}},
            "Vault makes no rsa key of 256 bits",
            "256",
        ),
        (
            {"secret": {"type": "transit", "keys": {"a": {}}}},
            "where no key-value store is said, there is one at secret, and this is no such engine",
            "type: transit",
        ),
    ],
)
def test_what_an_engine_lacks_or_cannot_have_is_refused_where_it_stands(
    engines: dict[str, Any], message: str, at: str
) -> None:
    found = problems(written(secrets=engines, apps={"batch": {"role": "batch"}}))
    assert [(said, place.split("\n")[0]) for said, place in found if said == message] == [(message, at)], found


def test_a_key_that_the_first_version_does_not_know_is_refused_with_the_one_that_does() -> None:
    pki = {"pki": {"type": "pki", "roles": {"web": {"allowed-domains": ["a"], "key-type": "ed25519"}}}}
    apps = {"batch": {"role": "batch"}}
    (found,) = problems(written(secrets=pki, vault={"source": "1.8.0", "target": "1.11.0"}, apps=apps))
    assert found[0] == "key_type ed25519 is unknown to Vault 1.8.0, which writes this role"
    loading.loads(written(secrets=pki, apps=apps))
    older = {"kubernetes": {"cluster": "main", "configured": {"by": "1.8.0"}, "roles": {}}}
    assert found in problems(written(secrets=pki, auth={**AUTH, **older}, apps=apps))


@pytest.mark.parametrize(
    "secret", ["database/app", "database/creds/other", "keys/transit/encrypt/orders", "pki/web", "pki/issue/web/more"]
)
def test_what_no_engine_makes_is_refused_with_what_there_is(secret: str) -> None:
    (found,) = problems(written(apps={"batch": {"role": "batch", "reads": [secret]}}))
    assert found[0].endswith(f"makes no {secret}")


def test_each_secret_is_asked_for_and_used_and_its_lease_renewed() -> None:
    wanted = plan.make(loading.loads(written()).scenario, "engines", "local")
    asked = {(one.probe, one.item) for one in wanted.questions if one.app}
    of_leases = {("old-lease-renew", "database/creds/app"), ("revoked-secret", "database/creds/app")}
    assert {one for one in asked if "lease" in one[0] or "revoked" in one[0]} == of_leases
    assert {item for probe, item in asked if probe == "kept-secret"} == set(READS[1:])
    assert {one.item for one in wanted.questions if one.probe == "engine-role"} == {
        "database/roles/app",
        "keys/transit/keys/orders",
        "pki/roles/web",
    }
    policy = plan.policies(wanted.resolved)["batch"]
    assert policy.splitlines() == [
        'path "database/creds/app" { capabilities = ["read"] }',
        'path "keys/transit/encrypt/orders" { capabilities = ["update"] }',
        'path "keys/transit/decrypt/orders" { capabilities = ["update"] }',
        'path "pki/issue/web" { capabilities = ["update"] }',
        'path "secret/data/batch" { capabilities = ["read"] }',
    ]


def test_what_a_token_cannot_do_is_not_asked_of_it() -> None:
    roles = {"batch": {"policies": ["batch"], "token-type": "batch"}}
    wanted = plan.make(loading.loads(written(auth={"a": {"type": "approle", "roles": roles}})).scenario, "e", "local")
    assert "old-lease-renew" not in {one.probe for one in wanted.questions}
    assert "old-lease-renew for batch: what a batch token was given ends with it" in wanted.not_asked
    without = plan.make(loading.loads(written(probes=["login", "kept-secret", "token-lookup"])).scenario, "e", "local")
    assert "kept-secret" not in {one.probe for one in without.questions}, "nothing was read that could be kept"


def test_kind_takes_the_postgresql_of_this_machine_and_no_source_state_with_one_is_shared(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(postgres, "_PACKAGES", Path("/nonexistent"))
    monkeypatch.setattr(postgres, "_OTHERS", ())
    for engines, database in ((ENGINES, True), ({k: v for k, v in ENGINES.items() if k != "database"}, False)):
        reads = [one for one in READS if database or not one.startswith("database")]
        text = written(secrets=engines, apps={"batch": {"role": "batch", "reads": reads}})
        wanted = plan.make(loading.loads(text).scenario, "engines", "kind")
        if database:
            with pytest.raises(MissingPrerequisite, match=r"there is no PostgreSQL here.*apt-get install postgresql"):
                limits.insist(wanted)
            trimmed = Image(VAULT, "1.19.0", "vault:1.19.0", "sha256:0", "made here", trimmed="no database plugins")
            with pytest.raises(MissingPrerequisite, match=r"Vault 1.19.0 as it was built here has no database engine"):
                limits.insist_on_parts(wanted, [trimmed])
        else:
            limits.insist(wanted)
        why = shared_source.why_not(plan.make(loading.loads(text).scenario, "engines", "local"))
        assert ("PostgreSQL" in why) is database


def test_on_paper_all_of_it_is_granted_and_a_revoked_credential_is_refused(tmp_path: Path) -> None:
    record, judgement = on_paper(loading.loads(written()).scenario, tmp_path)
    assert judgement.verdict == "pass", judgement.reasons
    answers = {(seen.probe, seen.answer) for seen in record.of(Observation) if seen.item in READS}
    assert answers == {
        *((probe, "granted") for probe in ("read", "old-token-read", "kept-secret", "old-lease-renew")),
        ("revoked-secret", "refused"),
    }


def test_a_policy_that_lets_an_app_encrypt_and_not_decrypt_is_named(tmp_path: Path) -> None:
    policy = 'path "keys/transit/encrypt/orders" { capabilities = ["update"] }'
    text = written(policies={"batch": policy}, apps={"batch": {"role": "batch", "reads": ["keys/transit/orders"]}})
    _, judgement = on_paper(loading.loads(text).scenario, tmp_path)
    (found,) = [one for one in judgement.findings if one.probe == "kept-secret"]
    assert (found.rule, found.effect) == ("policy-denies", "refused from the start")
    assert 'capability "update" on path "keys/transit/decrypt/orders"' in found.sentence


def test_of_an_app_that_is_never_let_in_its_refusal_alone_is_told(tmp_path: Path) -> None:
    """What it never read it cannot use later: that is no second doubt."""
    roles = {"batch": {"service-accounts": ["somebody-else"], "namespaces": ["apps"], "policies": ["batch"]}}
    app = {"cluster": "main", "service-account": "apps/batch", "role": "batch", "reads": READS}
    text = written(auth={"kubernetes": {"cluster": "main", "roles": roles}}, apps={"batch": app})
    record, judgement = on_paper(loading.loads(text).scenario, tmp_path)
    assert {one.answer for one in record.of(Observation) if one.probe == "kept-secret"} == {"unknown"}
    assert [one.kind for one in judgement.doubts] == ["unlearned"]


@pytest.mark.real
def test_what_engines_gave_is_good_after_an_upgrade_as_foretold(tmp_path: Path, lender: Lender) -> None:
    """A credential really logs in to PostgreSQL, before and after, and does no more once its lease is revoked."""
    directory = tmp_path / "run"
    code, judgement = lender.rehearse(kept_in(tmp_path), directory)
    assert (code, judgement["verdict"], judgement["news"]) == (0, "pass", []), judgement["reasons"]
    seen = [one for one in judgement["observations"] if one["item"] in READS]
    assert {one["answer"] for one in seen if one["probe"] != "revoked-secret"} == {"granted"}
    revoked = [one for one in seen if one["probe"] == "revoked-secret"]
    assert [(one["answer"], one["error"]) for one in revoked] == [
        ("refused", "password authentication failed for this user")
    ] * 2
    leases = [one["detail"] for one in seen if one["probe"] == "old-lease-renew"]
    assert [(one["lease_duration"], one["renewable"]) for one in leases] == [(600, True)] * 2
    log = (directory / "logs" / "database-postgres.log").read_text()
    assert "connection authenticated" in log or "connection authorized" in log
    assert "v-approle-app-" not in (directory / "record.jsonl").read_text(), "a user's name is a part of its secret"


@pytest.mark.real
def test_a_postgresql_that_goes_away_in_mid_run_says_nothing_of_vault(
    tmp_path: Path, lender: Lender, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, killed = probes.ASKED["read"], list[int]()

    def killing(view: View, question: Question) -> Observation:
        if question.item.startswith("database/") and view.moment != "before" and not killed:
            killed.append(view.rig.database()._process.pid)  # type: ignore[attr-defined]
            os.kill(killed[0], signal.SIGKILL)
        return asked(view, question)

    monkeypatch.setitem(probes.ASKED, "read", killing)
    code, judgement = lender.rehearse(kept_in(tmp_path), tmp_path / "run")
    assert (code, judgement["verdict"], judgement["findings"]) == (4, "inconclusive", [])
    # the supervisor tells of the end a moment after the answer, at the latest
    assert "PostgreSQL was ended from outside by SIGKILL" in " ".join(judgement["reasons"])


@pytest.mark.real
def test_a_lease_that_ended_is_no_fault_of_the_upgrade(tmp_path: Path, lender: Lender) -> None:
    engines = {"database": {"type": "database", "roles": {"app": {"ttl": "4s"}}}}
    course = [{"wait": "7s"}, {"look": {}}]
    reading = {"batch": {"role": "batch", "reads": ["database/creds/app"]}}
    vault = {"source": "1.11.0"}
    file = kept_in(tmp_path, secrets=engines, apps=reading, course=course, vault=vault)
    _, judgement = lender.rehearse(file, tmp_path / "run")
    found = {(one["probe"], one["rule"]) for one in judgement["findings"]}
    assert found == {("kept-secret", "lease-ended"), ("old-lease-renew", "lease-ended")}
