"""The database of a secrets engine is away for a while: what can be said of it, and what is found, on paper."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from harness.drivers.kind import limits
from harness.errors import MissingPrerequisite, ScenarioError
from harness.record.database_events import DatabaseChanged
from harness.reports import plan as reports
from harness.reports import text
from harness.scenario import loading, plan
from tests.runs import on_paper

ENGINE = "  database: {type: database, roles: {shop: {ttl: 10m}}}\n"


def scenario(file: Path, steps: str, engine: str = ENGINE) -> Path:
    """Write a scenario of an app with credentials of a database into *file*, with the *steps* of its course."""
    file.write_text(
        "schema: 1\n"
        "description: An app with credentials of a database.\n"
        "vault: {source: 1.9.2}\n"
        "auth:\n"
        "  approle: {type: approle, roles: {shop: {policies: [shop]}}}\n"
        f"secrets:\n  secret: {{kv: 2}}\n{engine}"
        "apps:\n"
        f"  shop: {{role: shop, reads: [secret/shop{', database/creds/shop' if engine else ''}]}}\n"
        f"course:\n{steps}"
    )
    return file


@pytest.mark.parametrize(
    ("engine", "steps", "says"),
    [
        ("", "  - database: stop\n", "no secrets engine of this scenario is of type database"),
        (ENGINE, "  - database: start\n", "the PostgreSQL of the database engines is there already"),
        (ENGINE, "  - database: stop\n" * 2, "the PostgreSQL of the database engines is away already"),
        (ENGINE, "  - {database: stop, restart: {}}\n", "step 1 has several verbs: restart, database"),
    ],
)
def test_what_cannot_be_done_to_a_database_is_told(engine: str, steps: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=re.escape(says)):
        loading.load(scenario(tmp_path / "wrong.yaml", steps, engine))


def test_a_database_that_is_away_is_a_finding_each_time_and_no_doubt(tmp_path: Path) -> None:
    """What is so still at the next look is no news, and no version is blamed."""
    steps = "  - database: stop\n  - upgrade: 1.11.0\n  - database: start\n  - database: stop\n"
    record, judgement = on_paper(loading.load(scenario(tmp_path / "one.yaml", steps)).scenario, tmp_path)
    assert [(one.kind, one.effect, one.rule, one.hop, one.step) for one in judgement.findings] == [
        ("regression", "access refused", "database-away", "1.9.2", 1),
        ("regression", "access refused", "database-away", "1.11.0", 4),
        ("regression", "requests refused", "database-away", "1.9.2", 1),
        ("regression", "requests refused", "database-away", "1.11.0", 4),
        ("improvement", "access granted", "changed-by-step", "1.11.0", 3),
    ]
    first, second = (one for one in judgement.findings if one.effect == "requests refused")
    assert "no version has to do with that" in first.sentence
    assert first.sentence.endswith("and Vault 1.11.0 started and was unsealed without it")
    assert "started" not in second.sentence
    assert judgement.doubts == ()
    assert [one.what for one in record.of(DatabaseChanged)] == ["stop", "start", "stop"]
    assert "was stopped, at Vault 1.9.2" in " ".join(text.render(judgement).split())


def test_a_database_that_is_away_is_no_api_server_that_is(tmp_path: Path) -> None:
    """Whoever logs in at a Kubernetes mount and renews a lease meets the words connection refused as well."""
    file = scenario(tmp_path / "one.yaml", "  - database: stop\n")
    said = file.read_text().replace("vault:", "clusters: {apps: {kubernetes: 1.32.0}}\nvault:")
    role = "{service-accounts: [shop], namespaces: [apps], policies: [shop]}"
    said = said.replace(
        "approle: {type: approle, roles: {shop: {policies: [shop]}}}",
        f"kubernetes: {{cluster: apps, reviewer: secret, roles: {{shop: {role}}}}}",
    ).replace("shop: {role: shop,", "shop: {role: shop, cluster: apps, service-account: apps/shop,")
    file.write_text(said)
    _, judgement = on_paper(loading.load(file).scenario, tmp_path)
    assert {one.rule for one in judgement.findings} == {"database-away"}


def test_what_takes_no_database_is_a_doubt_as_ever(tmp_path: Path) -> None:
    """That it is away excuses what takes it, and nothing else."""
    wanted = loading.load(scenario(tmp_path / "one.yaml", "  - database: stop\n")).scenario
    _, judgement = on_paper(wanted, tmp_path, script={("read", "secret/data/shop", "1.9.2"): "silent"})
    assert {doubt.kind for doubt in judgement.doubts} == {"unasked"}
    assert not any(
        "database" in doubt.text.partition(" could not be asked")[0].split()[0] for doubt in judgement.doubts
    )


def test_kind_says_beforehand_that_it_takes_a_cluster(tmp_path: Path) -> None:
    wanted = loading.load(scenario(tmp_path / "one.yaml", "  - database: stop\n")).scenario
    with pytest.raises(MissingPrerequisite, match="with kind there is a cluster, and this scenario has none"):
        limits.insist(plan.make(wanted, "one", "kind"))


def test_a_plan_says_what_happens_to_the_database(tmp_path: Path) -> None:
    steps = "  - database: stop\n  - database: start\n"
    wanted = loading.load(scenario(tmp_path / "one.yaml", steps)).scenario
    said = reports.render(plan.make(wanted, "one", "kind"))
    assert "database: the PostgreSQL of the database engines is stopped" in said
    assert "database: the PostgreSQL of the database engines is started again over its data" in said
