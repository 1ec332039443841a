"""A Scenario becomes a Plan: a course of steps, and every question, before anything runs.

The same scenario always gives the same plan; nothing here touches the world.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final, Literal

import msgspec

from harness.knowledge import kubernetes_auth, vault_policies, versions
from harness.scenario import assumed, course, course_resolution, driver_traits, engine_kinds, seal_state, topology
from harness.scenario.app_spec import AppSpec
from harness.scenario.course import (
    AnyStep,
    Form,
    Look,
    Moment,
    Placed,
    RollBack,
    Serve,
    Snapshot,
    Start,
    Upgrade,
    WriteConfig,
    WriteLate,
    WriteRole,
)
from harness.scenario.driver_traits import Traits
from harness.scenario.labels import Labels
from harness.scenario.mount_kinds import JWT
from harness.scenario.role_spec import RoleSpec
from harness.scenario.schema import Scenario
from harness.scenario.topology import Asked, Topology

STRANGERS = {"wrong-service-account": "rehearsal-stranger", "wrong-namespace": "rehearsal-elsewhere"}
"""The service account and the namespace of those who must be refused, by the probe that presents their token."""

_CLAIM_OF: Final = {
    "wrong-service-account": "/kubernetes.io/serviceaccount/name",
    "wrong-namespace": "/kubernetes.io/namespace",
}
"""By the probe of a stranger: what of a service account token refuses them, if a role binds it."""

LOCKOUT_ROLE: Final = "rehearsal-lockout"
"""The role, or user, of which it is asked whether Vault locks out whose secret is wrong too often."""


class Stage(msgspec.Struct, frozen=True):
    """Vault at one version over the one data directory: how records of format 1 tell a course."""

    version: str
    token_file: bool
    """is a pod's service account token readable for Vault?"""
    purpose: Literal["write config", "before", "hop"]
    writes: tuple[str, ...] = ()
    """the auth mounts whose config is written at this stage"""


class Question(msgspec.Struct, frozen=True):
    """One thing to ask at every moment."""

    probe: str
    app: str = ""
    mount: str = ""
    item: str = ""
    vault: str = ""
    """the name of the Vault that is asked; empty: the only one there is"""
    node: str = ""
    """the name of the node that is asked; empty: the only one there is, or whichever answers"""


class Plan(msgspec.Struct, frozen=True):
    """One rehearsal, fully resolved."""

    scenario: str
    """its name"""
    driver: str
    stages: tuple[Stage, ...] = ()
    """in records of format 1: the course"""
    questions: tuple[Question, ...] = ()
    artifacts: tuple[tuple[str, str], ...] = ()
    """(product, version) of every binary and every image that is needed"""
    not_asked: tuple[str, ...] = ()
    """what this topology gives no way to ask, in words"""
    assumed: tuple[str, ...] = ()
    """what decides the answers and the scenario leaves open, in words"""
    steps: tuple[AnyStep, ...] = ()
    """the course; empty in records of format 1"""
    topology: Topology | None = None
    """None in records of format 1"""
    asked: Asked | None = None
    """None in records of format 1"""

    @property
    def moments(self) -> list[Moment]:
        """Return the moments at which every question is asked, in order."""
        return list(course.moments(self.steps or steps_of(self.stages)))

    @property
    def resolved(self) -> Topology:
        """Return the topology of a plan that was made by this release. Raises ValueError for one of format 1."""
        if self.topology is None:
            raise ValueError("this plan is that of a record of format 1: it has no topology of its own")
        return self.topology


def steps_of(stages: tuple[Stage, ...]) -> tuple[AnyStep, ...]:
    """Return the course that the stages of a record of format 1 tell. What was written stands in the record itself."""
    labels, steps = Labels(), list[AnyStep]()
    for stage in stages:
        kind = Upgrade if steps else Start
        served = kind(version=stage.version, token_file=stage.token_file)
        steps.append(served)
        if stage.purpose != "write config":
            done = served if stage.purpose == "hop" else None
            steps.append(Look(moment=labels.moment(done, stage.version, stage.token_file)))
    return tuple(steps)


def policies(wanted: Topology, steps: Iterable[AnyStep] = (), vault: str = "") -> dict[str, str]:
    """Return each policy that a role at a *vault* names, as text, by its name as Vault has it: in lower case.

    One that nobody wrote lets its roles' apps read their reads. Roles that *steps* write later may name what no role
    of the beginning does.
    """
    texts: dict[str, str] = {}
    # a role may name a policy in another case than it is written in: Vault folds both
    written_as = {name.lower(): text for name, text in wanted.policies.items()}
    mine = wanted.mounts_of(vault)
    for path, mount in mine.items():
        for name, role in mount.roles.items():
            apps = [app for app in wanted.apps.values() if app.role == name and app.mount == path]
            paths = sorted({secret for app in apps for secret in app.reads})
            asked = dict.fromkeys(one for secret in paths for one in wanted.asks(secret))
            asked |= dict.fromkeys((wanted.data_path(secret), "update") for app in apps for secret in app.writes)
            for policy in dict.fromkeys(name.lower() for name in role.policies):
                if policy == vault_policies.VAULTS_OWN and policy not in written_as:
                    continue
                rules = (f'path "{path}" {{ capabilities = ["{right}"] }}' for path, right in asked)
                texts[policy] = written_as.get(policy) or "\n".join([texts.get(policy, ""), *rules]).strip()
    written = (step.spec for step in steps if isinstance(step, WriteRole) and step.mount in mine)
    later = [name.lower() for role in written for name in role.policies]
    texts |= {name: written_as[name] for name in later if name in written_as}
    return {name: text or "# grants nothing" for name, text in texts.items()}


def make(scenario: Scenario, name: str, driver: str, *, rollback: bool = False) -> Plan:
    """Return the plan for *scenario*, called *name*, on *driver*.

    *rollback*: take a snapshot before anything is changed, and go back at the end, both ways.
    """
    document = scenario.model_dump(mode="json", by_alias=True)
    wanted = topology.recorded(document)
    steps = _course(scenario, wanted, rollback=rollback)
    questions, not_asked = _questions(scenario, wanted)
    return Plan(
        scenario=name,
        driver=driver,
        steps=steps,
        topology=wanted,
        asked=topology.asked_of(document),
        questions=questions,
        artifacts=_artifacts(wanted, steps, driver_traits.of(driver)),
        not_asked=not_asked,
        assumed=(*assumed.of_scenario(scenario, wanted), *assumed.of_versions(steps, driver)),
    )


def _artifacts(wanted: Topology, steps: tuple[AnyStep, ...], driver: Traits) -> tuple[tuple[str, str], ...]:
    upgraded = [step.version for step in steps if isinstance(step, course.UpgradeKubernetes)]
    kubernetes = versions.ascending([*(cluster.kubernetes for cluster in wanted.clusters.values()), *upgraded])
    agents = (app.agent for app in wanted.apps.values() if app.agent)
    storages = [vault.storage for vault in wanted.vaults.values()]
    return driver.artifacts(kubernetes, versions.ascending([*course.serving(steps), *agents]), storages=storages)


def _course(scenario: Scenario, wanted: Topology, *, rollback: bool) -> tuple[AnyStep, ...]:
    """Return the whole course: how the source came to be, the first look, and what the scenario does then."""
    vault, labels = wanted.vault, Labels()
    steps: list[AnyStep] = [step for name in course.in_order(wanted) for step in _history(wanted, name)]
    runs = {name: one.source for name, one in wanted.vaults.items()}
    steps += [
        Form(version=one.source, token_file=one.token_file, vault=wanted.told_apart(name))
        for name, one in wanted.vaults.items()
        if one.nodes > 1
    ]
    steps += [
        course.MakeLeases(count=one.leases, vault=wanted.told_apart(name))
        for name, one in wanted.vaults.items()
        if one.leases
    ]
    first = labels.moment(None, vault.source, vault.token_file, runs=runs)
    steps.append(Look(moment=first, by_keys=seal_state.by_keys(steps, wanted)))
    if rollback and vault.nodes == 1:
        steps.append(Snapshot())
    if scenario.course is not None:
        steps += course_resolution.steps(scenario.course, wanted, labels)
        return (*steps, *(_back(wanted, labels, steps) if rollback else ()))
    for name, version in course_resolution.path(scenario.vault, scenario.seal_vault):
        file = wanted.vaults[name].token_file
        step = Upgrade(version=version, token_file=file, vault=wanted.told_apart(name))
        steps += _whole(step, wanted, labels, runs[name])
        runs[name] = version
        steps.append(Look(moment=labels.moment(step, runs[topology.MAIN], vault.token_file, runs=runs)))
        for again in course_resolution.rewrites(wanted, name):
            steps += [again, Look(moment=labels.moment(again, runs[topology.MAIN], vault.token_file, runs=runs))]
    return (*steps, *(_back(wanted, labels, steps) if rollback else ()))


def _history(wanted: Topology, name: str) -> list[AnyStep]:
    """Return how the source of a Vault came to be: started by whoever wrote a config first, and taken on from there."""
    vault, called = wanted.vaults[name], wanted.told_apart(name)
    provenance: dict[tuple[str, bool], list[str]] = {}
    for path, mount in wanted.mounts_of(name).items():
        provenance.setdefault((mount.written_by, mount.with_token_file), []).append(path)
    at_source = provenance.pop((vault.source, vault.token_file), [])
    writers = sorted(provenance.items(), key=lambda item: (versions.parse(item[0][0]), item[0][1]))
    steps: list[AnyStep] = []
    for (version, file), paths in [*writers, ((vault.source, vault.token_file), at_source)]:
        kind = Upgrade if steps else Start
        steps.append(kind(version=version, token_file=file, vault=called))
        for path in paths:
            steps += _written(wanted, path)
    return steps


def _whole(step: Placed, wanted: Topology, labels: Labels, version: str) -> Iterator[AnyStep]:
    """Yield a *step* that takes a Vault from *version* on; where it has several nodes, in its parts."""
    first = course_resolution.in_parts(step, wanted)
    if first.part:
        yield from course_resolution.halfway(first, wanted, labels, version)
        first = msgspec.structs.replace(first, part=course_resolution.SECOND[first.part])
    yield first


def _back(wanted: Topology, labels: Labels, done: Sequence[AnyStep]) -> Iterator[AnyStep]:
    """Yield the steps back to the source: its binary over the data as they are, and then the snapshot of before."""
    vault = wanted.vault
    yield WriteLate()
    last = next(step.version for step in reversed(done) if isinstance(step, Serve) and not step.vault)
    # a snapshot is restored into a new Vault, and the nodes of the old one have another's data
    for over in ("binary", "snapshot") if vault.nodes == 1 else ("binary",):
        step = RollBack(version=vault.source, token_file=vault.token_file, over=over)
        yield from _whole(step, wanted, labels, last)
        yield Look(moment=labels.moment(step, vault.source, vault.token_file), late=True)


def _written(wanted: Topology, path: str) -> list[AnyStep]:
    """Return the steps that write a mount: its config, if its kind has one, and its roles."""
    mount = wanted.mounts[path]
    vault = wanted.told_apart(mount.vault)
    steps: list[AnyStep] = []
    if mount.of_kind.config:
        life = mount.reviewer_seconds
        steps.append(WriteConfig(mount=path, fields=mount.fields, reviewer_seconds=life, vault=vault))
    roles = dict(mount.roles)
    if mount.of_kind.locks_out:
        # nobody else is to be locked out by the question whether somebody can be
        roles[LOCKOUT_ROLE] = RoleSpec(kind=mount.kind)
    return [*steps, *(WriteRole(mount=path, role=name, spec=spec, vault=vault) for name, spec in roles.items())]


def _questions(scenario: Scenario, wanted: Topology) -> tuple[tuple[Question, ...], tuple[str, ...]]:
    asked = [question for vault in wanted.vaults for question in _of_nodes(wanted, vault)]
    not_asked: list[str] = []
    for path, mount in wanted.mounts.items():
        if not mount.mounted:
            continue
        vault = wanted.told_apart(mount.vault)
        if mount.of_kind.config:
            asked.append(Question("auth-config", mount=path, vault=vault))
        asked += [Question("role", mount=path, item=role, vault=vault) for role in mount.roles]
        if mount.of_kind.locks_out:
            asked.append(Question("lockout", mount=path, item=LOCKOUT_ROLE, vault=vault))
    for each in wanted.vaults:
        made = [place for path, engine in wanted.makers.items() for place in engine_kinds.places(path, engine)]
        asked += [Question("engine-role", item=place, vault=wanted.told_apart(each)) for place in made]
    asked += [Question("mounted", item=path, vault=wanted.told_apart("")) for path in wanted.also_mounted]
    for name, app in wanted.apps.items():
        path, unable = app.mount, cannot(wanted, name)
        vault = wanted.told_apart(wanted.mounts[path].vault)
        node = wanted.node_told_apart(wanted.mounts[path].vault, app.node)
        uses = wanted.role_of(name).num_uses
        reads = app.reads[: uses or None]
        first = ("login", "token-lookup", "token-renew", *app.beside)
        own = [Question(probe, name, path, vault=vault, node=node) for probe in first]
        own += [Question("read", name, path, secret, vault, node) for secret in reads]
        writes = [*app.writes][: max(uses - len(reads), 0) if uses else None]
        own += [Question("write", name, path, secret, vault, node) for secret in writes]
        own.append(Question("old-token-lookup", name, path, vault=vault, node=node))
        own += [Question("old-token-read", name, path, secret, vault, node) for secret in reads]
        own += [
            Question(probe, name, path, secret, vault, node) for secret in reads for probe in _of_maker(wanted, secret)
        ]
        asked += [question for question in own if question.probe not in unable]
        not_asked += [f"{probe} for {name}: {why}" for probe, why in unable.items()]
        not_asked += [
            f"{what} {secret} for {name}: its token has no use left for it"
            for what, left in (("read", app.reads[len(reads) :]), ("write", [*app.writes][len(writes) :]))
            for secret in left
        ]
        negative, impossible = _negative(wanted, name, app)
        asked += [Question(probe, name, path, vault=vault, node=node) for probe in negative]
        not_asked += impossible
    told = {line.partition(" ")[0] for line in not_asked}
    without = sorted({*(scenario.probes or ())} - {question.probe for question in asked} - told)
    if scenario.probes is not None and "login" not in scenario.probes:
        asked = [question for question in asked if question.probe not in _WITH_A_TOKEN]
        not_asked.append("whatever needs a Vault token: the scenario's list of probes leaves the login out")
    elif scenario.probes is not None and "read" not in scenario.probes:
        # what was never read is not kept
        asked = [question for question in asked if question.probe not in ("kept-secret", "old-lease-renew")]
    if scenario.probes is not None:
        left_out = sorted({q.probe for q in asked} - set(scenario.probes))
        not_asked += [f"{probe}: there is nothing in this scenario to ask it of" for probe in without]
        asked = [question for question in asked if question.probe in scenario.probes]
        not_asked += [f"{probe}: the scenario's list of probes leaves it out" for probe in left_out]
    # A secret that is listed twice is one question: two answers to it at one moment could not be told apart.
    return tuple(dict.fromkeys(asked)), tuple(not_asked)


def _of_maker(wanted: Topology, secret: str) -> tuple[str, ...]:
    """Return what else is asked of a secret that is made as it is asked for."""
    made = wanted.maker_of(secret)
    if made is None:
        return ()
    return ("kept-secret", "old-lease-renew", "revoked-secret") if made.of_kind.leased else ("kept-secret",)


_OF_MAKERS: Final = ("kept-secret", "old-lease-renew", "revoked-secret")
"""The probes of secrets that are made as they are asked for, beside those of every secret."""

_WITH_A_TOKEN: Final = (
    "token-lookup",
    "token-renew",
    "read",
    "write",
    "old-token-lookup",
    "old-token-read",
    *_OF_MAKERS,
)
"""The probes that need a token of Vault's."""

OF_ITSELF: Final = {
    "token-lookup": ("auth/token/lookup-self", "read"),
    "token-renew": ("auth/token/renew-self", "update"),
    "old-token-lookup": ("auth/token/lookup-self", "read"),
    "old-lease-renew": ("sys/leases/renew", "update"),
    "sidecar": ("auth/token/lookup-self", "read"),
}
"""What a token does with itself, and with which right: the default policy gives it, by the probe that asks."""


def cannot(wanted: Topology, app: str) -> dict[str, str]:
    """Return, by probe, what the token of *app* can never do by its role, and why: nobody asks it for that."""
    made = {probe for secret in wanted.apps[app].reads for probe in _of_maker(wanted, secret)}
    never = {*_OF_MAKERS, *(() if wanted.apps[app].agent else ("sidecar",))} - made
    return {probe: why for probe, why in _cannot(wanted, app).items() if probe not in never}


def _cannot(wanted: Topology, app: str) -> dict[str, str]:
    role, path = wanted.role_of(app), wanted.apps[app].mount
    found: dict[str, str] = {}
    if not wanted.mounts[path].mounted:
        return dict.fromkeys(_WITH_A_TOKEN, f"nothing is mounted at auth/{path}, so nobody gets a token there")
    if role.no_default_policy and vault_policies.VAULTS_OWN not in role.policies:
        rules = [rule for name in role.policies for rule in _rules(name, wanted.policies.get(name, ""))]
        for probe, (path, right) in OF_ITSELF.items():
            if not vault_policies.ruling(rules, path, right).granted:
                found[probe] = "its token has not the default policy, and no other gives it the right"
    if role.token_type == "batch":
        found["token-renew"] = "a batch token cannot be renewed"
        found["old-lease-renew"] = "what a batch token was given ends with it"
    if role.renewable is False:
        found["token-renew"] = "its role gives tokens that cannot be renewed"
    if role.num_uses:
        for probe in (*OF_ITSELF, "old-token-read", *_OF_MAKERS):
            found[probe] = f"its token is good for {role.num_uses} requests, and this would be one of them"
    return found


def _rules(name: str, text: str) -> list[vault_policies.Rule]:
    """Return what a policy grants: nothing that can be told, where nobody would take its text."""
    try:
        return vault_policies.read(name, text)
    except vault_policies.PolicyError:
        return []


def renews(wanted: Topology, app: str) -> bool:
    """Does *app* renew its token while it runs? Whoever can never do it does not try."""
    return "token-renew" not in cannot(wanted, app)


def _of_nodes(wanted: Topology, vault: str) -> Iterator[Question]:
    """Yield what is asked of every node of a Vault."""
    nodes = wanted.nodes_of(vault) if wanted.vaults[vault].nodes > 1 else ("",)
    for node in nodes:
        yield from (Question(probe, vault=wanted.told_apart(vault), node=node) for probe in ("health", "seal-status"))
    if wanted.seal_vault and not wanted.vaults[vault].of_seals:
        yield Question(course.AUTO_UNSEAL)


def _negative(wanted: Topology, name: str, app: AppSpec) -> tuple[list[str], list[str]]:
    """Return the probes that must be refused, and those this topology cannot ask, with the reason."""
    role, mount = wanted.role_of(name), wanted.mounts[app.mount]
    if not mount.mounted:
        return [], [f"whoever must be refused, for {name}: nothing is mounted at auth/{app.mount}"]
    asked, impossible = list(mount.of_kind.negative), list[str]()
    if mount.kind == JWT and app.service_account:
        return _negative_of_keys(wanted, name, app, asked)
    if mount.of_kind.by_certificate:
        if role.certificate == "own":
            asked.append("forged-certificate")
        else:
            impossible.append(f"forged-certificate for {name}: role {app.role} trusts no certificate by itself")
        return asked, impossible
    if not mount.of_kind.reviews:
        return asked, impossible
    for probe, bound, word in (
        ("wrong-service-account", role.service_accounts, "service accounts"),
        ("wrong-namespace", role.namespaces, "namespaces"),
    ):
        if "*" in bound:
            impossible.append(f"{probe} for {name}: role {app.role} admits all {word}")
        elif kubernetes_auth.admits(bound, STRANGERS[probe]):
            impossible.append(f"{probe} for {name}: role {app.role} admits {STRANGERS[probe]} as well")
        else:
            asked.append(probe)
    if len(wanted.clusters) > 1:
        asked.append("other-cluster-token")
    else:
        impossible.append(f"other-cluster-token for {name}: the scenario has one cluster")
    return asked, impossible


def _negative_of_keys(wanted: Topology, name: str, app: AppSpec, asked: list[str]) -> tuple[list[str], list[str]]:
    """Return the same for an app at a mount where Vault itself checks signatures: who is nobody there?"""
    role, impossible = wanted.role_of(name), list[str]()
    for probe, claim in _CLAIM_OF.items():
        if role.bound_subject is None and claim not in (role.bound_claims or {}):
            impossible.append(f"{probe} for {name}: role {app.role} binds no subject, and so admits every one")
        else:
            asked.append(probe)
    if len(wanted.clusters) > 1:
        asked.append("other-cluster-token")
    else:
        impossible.append(f"other-cluster-token for {name}: the scenario has one cluster")
    return asked, impossible
