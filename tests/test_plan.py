"""A scenario becomes one plan: versions in order, each config written as it was, every question asked or excused."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.knowledge import versions
from harness.scenario import driver_traits, loading, plan, topology
from harness.scenario.course import Look, Serve, WriteConfig
from harness.scenario.plan import Plan, Stage
from harness.scenario.schema import Scenario
from tests.runs import OUTAGE, SCENARIOS, variant
from tests.test_rules import changed, path, role
from tests.test_rules import mount as mount_of_outage

WEB = {"cluster": "apps", "service-account": "apps/web", "role": "web", "reads": ["secret/web"]}
ROLE = {"service-accounts": ["web"], "namespaces": ["apps"], "policies": ["web"]}


def outage() -> Scenario:
    return loading.load(OUTAGE).scenario


def parsed(document: dict[str, Any]) -> Scenario:
    return Scenario.model_validate_json(json.dumps(document))


def scenario_of(**parts: Any) -> Scenario:
    """Return a small scenario: one cluster, one mount, one app, Vault in the cluster; *parts* replaces whole parts."""
    document = {
        "schema": 1,
        "description": "a test",
        "clusters": {"apps": {"kubernetes": "1.32.0"}},
        "vault": {"source": "1.7.0", "target": "1.11.0", "cluster": "apps"},
        "auth": {"kubernetes": {"cluster": "apps", "roles": {"web": ROLE}}},
        "apps": {"web": WEB},
    }
    return parsed(document | parts)


def mount_of(**fields: Any) -> dict[str, Any]:
    return {"cluster": "apps", "roles": {"web": ROLE}} | fields


def questions(scenario: Scenario) -> list[tuple[str, str, str, str]]:
    asked = plan.make(scenario, "test", "paper").questions
    return [(question.probe, question.app, question.mount, question.item) for question in asked]


def stages(made: Plan) -> tuple[Stage, ...]:
    """Return the course of a plan as records of format 1 tell it: each Vault that serves, and what is done then."""
    found: list[Stage] = []
    for step in made.steps:
        if isinstance(step, Serve):
            found.append(Stage(step.version, step.token_file, "write config"))
        elif isinstance(step, WriteConfig):
            found[-1] = msgspec.structs.replace(found[-1], writes=(*found[-1].writes, step.mount))
        elif isinstance(step, Look):
            found[-1] = msgspec.structs.replace(found[-1], purpose="hop" if step.moment.number else "before")
    return tuple(found)


def probes(scenario: Scenario) -> set[str]:
    return {probe for probe, *_ in questions(scenario)}


def test_the_outage_is_written_by_1_4_seen_on_1_7_and_taken_to_1_11() -> None:
    """The version that wrote the config serves first, or its config would be another one."""
    assert stages(plan.make(outage(), "outage", "paper")) == (
        Stage("1.4.0", token_file=True, purpose="write config", writes=("kubernetes",)),
        Stage("1.7.0", token_file=True, purpose="before"),
        Stage("1.11.0", token_file=True, purpose="hop"),
    )


def test_every_moment_has_a_name_and_writing_a_config_is_none() -> None:
    made = plan.make(variant(outage(), vault={"via": ["1.9.2"]}), "outage", "paper")
    assert [(moment.number, moment.label) for moment in made.moments] == [
        (0, "before"),
        (1, "after 1.9.2"),
        (2, "after 1.11.0"),
    ]


def test_the_outage_needs_each_binary_once_and_the_paper_driver_needs_none() -> None:
    assert plan.make(outage(), "outage", "local").artifacts == (
        ("etcd", driver_traits.ETCD),
        ("kube-apiserver", "1.32.0"),
        ("vault", "1.4.0"),
        ("vault", "1.7.0"),
        ("vault", "1.11.0"),
    )
    assert plan.make(outage(), "outage", "paper").artifacts == ()


@pytest.mark.parametrize("file", sorted(SCENARIOS.glob("*.yaml")), ids=lambda file: file.stem)
def test_the_same_scenario_always_gives_the_same_plan(file: Any) -> None:
    """Read twice, planned twice, one plan; and its name and driver stand in it."""
    one, other = (plan.make(loading.load(file).scenario, "name", "local") for _ in range(2))
    assert one == other
    assert (one.scenario, one.driver) == ("name", "local")


RELEASES = ["1.4.0", "1.4.7", "1.5.0", "1.7.0", "1.7.10", "1.9.2", "1.9.3", "1.10.0", "1.11.0", "1.16.0-rc2", "1.16.0"]


@st.composite
def scenarios(draw: st.DrawFn) -> Scenario:
    """Draw any path of versions over any provenance of up to four mounts."""
    path = versions.ascending(draw(st.lists(st.sampled_from(RELEASES), min_size=2, max_size=5, unique=True)))
    older = [release for release in RELEASES if versions.parse(release) <= versions.parse(path[0])]
    files = st.none() | st.booleans()
    mounts = {}
    for name in draw(st.lists(st.sampled_from(["a", "b/c", "d", "kubernetes"]), min_size=1, unique=True)):
        written = {"by": draw(st.sampled_from(older)), "with-token-file": draw(files)}
        mounts[name] = {"cluster": "apps", "roles": {"web": ROLE}, "configured": draw(st.sampled_from([None, written]))}
    vault = {"source": path[0], "via": path[1:-1], "target": path[-1], "token-file": draw(files)}
    vault["cluster"] = draw(st.sampled_from([None, "apps"]))
    return scenario_of(auth=mounts, vault=vault, apps={"web": WEB | {"mount": next(iter(mounts))}})


def test_writers_are_ordered_by_number_and_not_by_letter() -> None:
    """The same data is opened by each: an older Vault after a newer one would be a downgrade."""
    writers = {"a": "1.10.0", "b": "1.4.0", "c": "1.9.2", "d": "1.4.0"}
    auth = {path: {"cluster": "apps", "roles": {"web": ROLE}, "configured": {"by": by}} for path, by in writers.items()}
    vault = {"source": "1.11.0", "target": "1.16.0", "cluster": "apps"}
    made = plan.make(scenario_of(auth=auth, vault=vault, apps={"web": WEB | {"mount": "a"}}), "test", "paper")
    assert [(stage.version, stage.writes) for stage in stages(made)] == [
        ("1.4.0", ("b", "d")),
        ("1.9.2", ("c",)),
        ("1.10.0", ("a",)),
        ("1.11.0", ()),
        ("1.16.0", ()),
    ]


@given(scenario=scenarios())
def test_stages_ascend_and_arrive_at_the_target(scenario: Scenario) -> None:
    """No stage is older than the one before it, only the source is looked at before, and every hop is taken."""
    told = stages(plan.make(scenario, "any", "paper"))
    order = [versions.parse(stage.version) for stage in told]
    assert order == sorted(order)
    purposes = [stage.purpose for stage in told]
    writers = purposes.count("write config")
    hops = [*scenario.vault.via, scenario.vault.target]
    assert purposes == ["write config"] * writers + ["before"] + ["hop"] * len(hops)
    assert [stage.version for stage in told[writers:]] == [scenario.vault.source, *hops]
    in_use = {stage.token_file for stage in told[writers:]}
    assert in_use == {topology.of(scenario).vault.token_file}


@given(scenario=scenarios())
def test_each_config_is_written_once_by_whom_it_was_and_as_it_was(scenario: Scenario) -> None:
    """By the version its provenance names, or the source; with the token file it says, or the usual one."""
    written = [(mount, stage) for stage in stages(plan.make(scenario, "any", "paper")) for mount in stage.writes]
    assert sorted(mount for mount, _ in written) == sorted(scenario.auth)
    for mount, stage in written:
        provenance = scenario.auth[mount].configured
        assert stage.version == (provenance.by if provenance else scenario.vault.source)
        told = provenance.with_token_file if provenance else None
        assert stage.token_file == (topology.of(scenario).vault.token_file if told is None else told)


@given(scenario=scenarios())
def test_no_stage_is_there_for_nothing_or_twice(scenario: Scenario) -> None:
    """A restart costs seconds: what the same Vault can write, it writes in one stage."""
    writers = [s for s in stages(plan.make(scenario, "any", "paper")) if s.purpose == "write config"]
    assert all(stage.writes for stage in writers)
    places = [(stage.version, stage.token_file) for stage in writers]
    assert len(set(places)) == len(places)
    assert (scenario.vault.source, topology.of(scenario).vault.token_file) not in places


@pytest.mark.parametrize(
    ("cluster", "said", "has"),
    [("apps", None, True), ("apps", False, False), ("apps", True, True), (None, None, False), (None, False, False)],
)
def test_vault_has_a_token_file_where_it_is_in_a_cluster_unless_told(
    cluster: str | None, said: bool | None, has: bool
) -> None:
    vault = {"source": "1.7.0", "target": "1.11.0", "cluster": cluster, "token-file": said}
    assert topology.of(scenario_of(vault=vault)).vault.token_file is has


def test_vault_has_an_account_only_in_a_cluster() -> None:
    """vault/vault, unless another one is named."""
    versions_only = {"source": "1.7.0", "target": "1.11.0"}
    assert topology.of(scenario_of()).vault.service_account == "vault/vault"
    assert (
        topology.of(variant(scenario_of(), vault={"service-account": "ops/guard"})).vault.service_account == "ops/guard"
    )
    assert topology.of(scenario_of(vault=versions_only)).vault.service_account == ""


@pytest.mark.parametrize(
    ("fields", "written"),
    [
        ({}, {"kubernetes_ca_cert": "cluster", "issuer": "cluster"}),
        ({"reviewer": "local"}, {"kubernetes_ca_cert": "cluster", "issuer": "cluster"}),
        (
            {"reviewer": "client-jwt"},
            {"kubernetes_ca_cert": "cluster", "issuer": "cluster", "disable_local_ca_jwt": True},
        ),
        (
            {"reviewer": "long-lived"},
            {"kubernetes_ca_cert": "cluster", "issuer": "cluster", "token_reviewer_jwt": "long-lived"},
        ),
        ({"config": {}}, {"kubernetes_ca_cert": "cluster"}),
        ({"config": {"kubernetes_ca_cert": "omit"}}, {}),
        ({"config": {"issuer": "cluster"}}, {"kubernetes_ca_cert": "cluster", "issuer": "cluster"}),
        (
            {"config": {"issuer": "https://k8s.example", "disable_iss_validation": False}},
            {"kubernetes_ca_cert": "cluster", "issuer": "https://k8s.example", "disable_iss_validation": False},
        ),
        (
            {"config": {"disable_local_ca_jwt": True, "kubernetes_ca_cert": "omit"}},
            {"disable_local_ca_jwt": True},
        ),
    ],
)
def test_a_config_has_the_fields_its_reviewer_needs_or_the_literal_ones(
    fields: dict[str, Any], written: dict[str, Any]
) -> None:
    """What a literal config leaves out is not sent, false is sent, and the host is always the cluster's."""
    written_mount = topology.of(scenario_of(auth={"kubernetes": mount_of(**fields)})).mounts["kubernetes"]
    assert written_mount.fields == {"kubernetes_host": "cluster"} | written


def test_the_outage_is_asked_everything_once() -> None:
    """Both sides of every check: what must be granted, what running apps still hold, and what must be refused."""
    assert questions(outage()) == [
        ("health", "", "", ""),
        ("seal-status", "", "", ""),
        ("auth-config", "", "kubernetes", ""),
        ("role", "", "kubernetes", "web"),
        ("login", "web", "kubernetes", ""),
        ("token-lookup", "web", "kubernetes", ""),
        ("token-renew", "web", "kubernetes", ""),
        ("read", "web", "kubernetes", "secret/web"),
        ("old-token-lookup", "web", "kubernetes", ""),
        ("old-token-read", "web", "kubernetes", "secret/web"),
        ("tampered-jwt", "web", "kubernetes", ""),
        ("unknown-role", "web", "kubernetes", ""),
        ("wrong-service-account", "web", "kubernetes", ""),
        ("wrong-namespace", "web", "kubernetes", ""),
        ("other-cluster-token", "web", "kubernetes", ""),
    ]
    assert plan.make(outage(), "outage", "paper").not_asked == ()


def test_an_app_is_asked_at_its_own_mount_and_for_each_of_its_secrets() -> None:
    """Its role's bindings are those of that mount."""
    auth = {path: {"cluster": "apps", "roles": {"web": ROLE}} for path in ("first", "team/second")}
    auth["team/second"]["roles"] = {"web": ROLE | {"namespaces": ["*"]}}
    apps = {"web": WEB | {"mount": "team/second", "reads": ["secret/a", "secret/b/c"]}}
    asked = questions(scenario_of(auth=auth, apps=apps))
    assert [item for probe, _, _, item in asked if probe == "read"] == ["secret/a", "secret/b/c"]
    assert {mount for _, app, mount, _ in asked if app == "web"} == {"team/second"}
    assert {(mount, role) for probe, _, mount, role in asked if probe == "role"} == {
        ("first", "web"),
        ("team/second", "web"),
    }
    assert "wrong-namespace" not in {probe for probe, *_ in asked}


def test_with_one_cluster_no_token_of_another_can_be_tried() -> None:
    """And the plan says so: what is not asked proves nothing."""
    assert "other-cluster-token" not in probes(scenario_of())
    assert plan.make(scenario_of(), "test", "paper").not_asked == (
        "other-cluster-token for web: the scenario has one cluster",
    )


@pytest.mark.parametrize(
    ("bindings", "left_out", "reason"),
    [
        (
            {"service-accounts": ["*"]},
            {"wrong-service-account"},
            "wrong-service-account for web: role web admits all service accounts",
        ),
        ({"namespaces": ["*"]}, {"wrong-namespace"}, "wrong-namespace for web: role web admits all namespaces"),
    ],
)
def test_what_a_role_admits_anyway_is_not_tried(bindings: dict[str, Any], left_out: set[str], reason: str) -> None:
    open_role = variant(outage(), auth={"kubernetes": {"roles": {"web": bindings}}})
    assert probes(outage()) - probes(open_role) == left_out
    assert plan.make(open_role, "test", "paper").not_asked == (reason,)


def test_a_list_of_probes_is_kept_to_and_what_it_leaves_out_is_named() -> None:
    limited = variant(outage(), probes=["login", "read", "health"])
    assert questions(limited) == [
        ("health", "", "", ""),
        ("login", "web", "kubernetes", ""),
        ("read", "web", "kubernetes", "secret/web"),
    ]
    not_asked = plan.make(limited, "test", "paper").not_asked
    assert set(not_asked) == {
        f"{probe}: the scenario's list of probes leaves it out"
        for probe in probes(outage()) - {"login", "read", "health"}
    }
    assert len(not_asked) == 12


def test_without_a_login_nothing_is_asked_that_needs_its_token() -> None:
    """Though the list names it; one reason stands for all of them."""
    limited = variant(outage(), probes=["seal-status", "token-lookup", "read", "old-token-read"])
    assert questions(limited) == [("seal-status", "", "", "")]
    not_asked = plan.make(limited, "test", "paper").not_asked
    assert not_asked[0] == "whatever needs a Vault token: the scenario's list of probes leaves the login out"
    assert not [line for line in not_asked if line.startswith(("token-lookup", "read", "old-token-read"))]


@pytest.mark.parametrize(
    ("apps", "written", "expected"),
    [
        ({"web": WEB}, {}, 'path "secret/data/web" { capabilities = ["read"] }'),
        (
            {"web": WEB | {"reads": ["secret/b/c", "secret/a"]}, "cron": WEB | {"reads": ["secret/a"]}},
            {},
            'path "secret/data/a" { capabilities = ["read"] }\npath "secret/data/b/c" { capabilities = ["read"] }',
        ),
        ({"web": WEB | {"reads": []}}, {}, "# grants nothing"),
        ({"web": WEB}, {"web": 'path "sys/*" { capabilities = ["deny"] }'}, 'path "sys/*" { capabilities = ["deny"] }'),
    ],
)
def test_a_policy_that_nobody_wrote_lets_the_apps_of_its_role_read_their_secrets(
    apps: dict[str, Any], written: dict[str, str], expected: str
) -> None:
    """Each secret once, and nothing else; one that somebody wrote is taken as it is."""
    assert plan.policies(topology.of(scenario_of(apps=apps, policies=written))) == {"web": expected}


def test_a_policy_of_two_roles_lets_each_of_their_apps_read() -> None:
    """And a policy that no role names is not written at all."""
    roles = {"web": ROLE, "cron": ROLE | {"policies": ["web", "extra"]}}
    apps = {"web": WEB, "cron": WEB | {"role": "cron", "reads": ["secret/cron"]}}
    auth = {"kubernetes": {"cluster": "apps", "roles": roles}}
    found = plan.policies(topology.of(scenario_of(auth=auth, apps=apps, policies={"unused": "#"})))
    web, cron = (f'path "secret/data/{app}" {{ capabilities = ["read"] }}' for app in ("web", "cron"))
    assert found == {"web": f"{web}\n{cron}", "extra": cron}


def test_a_secret_that_is_listed_twice_is_asked_for_once() -> None:
    """Two answers to one question at one moment could not be told apart."""
    twice = scenario_of(apps={"web": WEB | {"reads": ["secret/a", "secret/b", "secret/a"]}})
    once = scenario_of(apps={"web": WEB | {"reads": ["secret/a", "secret/b"]}})
    assert questions(twice) == questions(once)


def test_what_nobody_wrote_is_assumed_where_all_can_see_it() -> None:
    """Policies that the rehearsal makes up, and the life that Vault gives a token: gone as soon as they are said."""
    silent = plan.make(changed(), "test", "local").assumed
    assert any("policy web of role web at auth/kubernetes grants only its apps' reads" in line for line in silent)
    assert any("live as long as Vault's own default has it, 768h" in line for line in silent)
    text = 'path "secret/data/web" { capabilities = ["read"] }'
    said = plan.make(changed(role(ttl="1h"), {"policies": {"web": text}}), "test", "local").assumed
    assert not any("policy" in line or "768h" in line for line in said)
    assert plan.policies(topology.of(changed({"policies": {"web": text}}))) == {"web": text}


@pytest.mark.parametrize(
    ("source", "written", "config", "told"),
    [
        ("1.7.0", None, None, True),
        ("1.7.0", None, {}, False),
        ("1.9.3", None, None, False),
        ("1.7.0", {"by": "1.4.0"}, None, True),
        ("1.7.0", {"by": "1.4.0", "with-token-file": True}, None, True),
        ("1.7.0", {"by": "1.4.0", "with-token-file": True}, {}, False),
        ("1.11.0", {"by": "1.9.3", "with-token-file": True}, None, False),
    ],
)
def test_where_an_issuer_is_compared_that_nobody_wrote_it_is_assumed(
    source: str, written: dict[str, Any] | None, config: dict[str, str] | None, told: bool
) -> None:
    """A config that names none has the default one compared, and the scenario is taken to name the cluster's: whether
    or not it says who wrote the config.
    """
    scenario = changed(path(source, "1.11.0"), mount_of_outage(configured=written, config=config))
    lines = [line for line in plan.make(scenario, "test", "local").assumed if "the cluster's issuer" in line]
    assert len(lines) == told
    assert all("auth.kubernetes.config" in line for line in lines)


def test_the_policy_that_every_token_has_is_left_to_vault() -> None:
    """A role may name it, and nothing of ours is written in its place."""
    assert list(plan.policies(topology.of(changed(role(policies=["web", "default"]))))) == ["web"]


@pytest.mark.parametrize("target", ["1.11.0", "1.11.0+ent"])
def test_an_enterprise_release_comes_with_a_word_on_licences(target: str) -> None:
    """Before anything is fetched, and once for each."""
    lines = [line for line in plan.make(changed(path("1.7.0", target)), "test", "local").assumed if "licence" in line]
    assert len(lines) == ("+ent" in target)


def test_a_probe_that_is_listed_and_has_nothing_to_be_asked_of_is_named() -> None:
    made = plan.make(variant(outage(), probes=["login", "kept-secret"]), "outage", "local")
    assert "kept-secret: there is nothing in this scenario to ask it of" in made.not_asked
    assert not any("nothing in this scenario" in said for said in plan.make(outage(), "outage", "local").not_asked)
