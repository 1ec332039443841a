"""A Scenario becomes a Plan: every version in order, what is written where, and every question, before anything runs.

The same scenario always gives the same plan; nothing here touches the world.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import msgspec

from harness import observation, versions
from harness.scenario import App, Mount, Scenario

ETCD = "3.5.16"
"""The etcd under every API server: 3.5 serves every Kubernetes version from 1.22 on."""

KIND = "0.30.0"
"""The kind that makes clusters; the images of nodes that are made here have its files in them."""

DEFAULT_VAULT_ACCOUNT = "vault/vault"
DEFAULT_REVIEWER_ACCOUNT = "vault-reviewer/vault-reviewer"
DEFAULT_MAX_TTL = "768h"
"""Vault's own default for the longest life of a token (system max_lease_ttl: 32 days)."""


class Stage(msgspec.Struct, frozen=True):
    """Vault at one version over the one data directory, and what is done while it serves."""

    version: str
    token_file: bool
    """is a pod's service account token readable for Vault?"""
    purpose: Literal["write config", "before", "hop"]
    writes: tuple[str, ...] = ()
    """the auth mounts whose config is written at this stage"""

    @property
    def moment(self) -> str:
        """Return the name of the moment at which the probes look, or nothing where they do not."""
        if self.purpose == "write config":
            return ""
        return observation.BEFORE if self.purpose == "before" else observation.after(self.version)


class Question(msgspec.Struct, frozen=True):
    """One thing to ask at every moment."""

    probe: str
    app: str = ""
    mount: str = ""
    item: str = ""


class Plan(msgspec.Struct, frozen=True):
    """One rehearsal, fully resolved."""

    scenario: str
    driver: str
    stages: tuple[Stage, ...]
    questions: tuple[Question, ...]
    artifacts: tuple[tuple[str, str], ...]
    """(product, version) of every binary and every image that is needed"""
    not_asked: tuple[str, ...] = ()
    """what this topology gives no way to ask, in words"""
    assumed: tuple[str, ...] = ()
    """what decides the answers and the scenario leaves open, in words"""


def vault_has_token_file(scenario: Scenario) -> bool:
    """Has Vault a pod token from the source version on? Left open, it has one wherever it is in a cluster."""
    wanted = scenario.vault.token_file
    return scenario.vault.cluster is not None if wanted is None else wanted


def vault_account(scenario: Scenario) -> str:
    """Return namespace/name of Vault's own service account, or nothing where Vault is outside any cluster."""
    if scenario.vault.cluster is None:
        return ""
    return scenario.vault.service_account or DEFAULT_VAULT_ACCOUNT


def mount_of(scenario: Scenario, app: App) -> str:
    """Return the path of the auth mount that *app* logs in at."""
    return app.mount if app.mount is not None else next(iter(scenario.auth))


def written_by(scenario: Scenario, mount: Mount) -> tuple[str, bool]:
    """Return which version writes the mount's config, and whether a pod token is readable at that moment."""
    usual = vault_has_token_file(scenario)
    if mount.configured is None:
        return scenario.vault.source, usual
    wanted = mount.configured.with_token_file
    return mount.configured.by, usual if wanted is None else wanted


def config_fields(mount: Mount) -> dict[str, str | bool]:
    """Return the fields to write to auth/<mount>/config.

    The values "cluster" (of host, CA and issuer) and "long-lived" (of the reviewer token) stand for what only the
    running cluster knows.
    """
    fields: dict[str, str | bool] = {"kubernetes_host": "cluster"}
    literal = mount.config
    if literal is None:
        fields |= {"kubernetes_ca_cert": "cluster", "issuer": "cluster"}
        if mount.reviewer == "client-jwt":
            fields["disable_local_ca_jwt"] = True
        if mount.reviewer == "long-lived":
            fields["token_reviewer_jwt"] = "long-lived"
        return fields
    if literal.kubernetes_ca_cert == "cluster":
        fields["kubernetes_ca_cert"] = "cluster"
    for name in ("issuer", "disable_iss_validation", "disable_local_ca_jwt"):
        value = getattr(literal, name)
        if value is not None:
            fields[name] = value
    return fields


def policies(scenario: Scenario) -> dict[str, str]:
    """Return every policy a role names, as HCL. One that nobody wrote lets the apps of its roles read their reads."""
    texts: dict[str, str] = {}
    for path, mount in scenario.auth.items():
        for name, role in mount.roles.items():
            apps = [a for a in scenario.apps.values() if a.role == name and mount_of(scenario, a) == path]
            paths = sorted({secret for app in apps for secret in app.reads})
            for policy in role.policies:
                rules = (f'path "{kv_data_path(secret)}" {{ capabilities = ["read"] }}' for secret in paths)
                texts[policy] = scenario.policies.get(policy) or "\n".join([texts.get(policy, ""), *rules]).strip()
    return {name: text or "# grants nothing" for name, text in texts.items()}


def kv_data_path(secret: str) -> str:
    """Return the API path of a kv-v2 secret: secret/web is read at secret/data/web."""
    mount, _, rest = secret.partition("/")
    return f"{mount}/data/{rest}"


def make(scenario: Scenario, name: str, driver: str) -> Plan:
    """Return the plan for *scenario*, called *name*, on *driver*."""
    stages = _stages(scenario)
    questions, not_asked = _questions(scenario)
    return Plan(
        scenario=name,
        driver=driver,
        stages=stages,
        questions=questions,
        artifacts=() if driver == "paper" else _artifacts(scenario, stages, driver),
        not_asked=not_asked,
        assumed=tuple(_assumed(scenario)),
    )


def _assumed(scenario: Scenario) -> Iterator[str]:
    """Yield what is taken for granted where the scenario is silent, and what would say it."""
    for path, mount in scenario.auth.items():
        by, file = written_by(scenario, mount)
        there = f"with {'a' if file else 'no'} pod token file there"
        if mount.configured is None:
            yield (
                f"auth/{path}/config was last written by Vault {by}, {there}; if it was not, say so: "
                f"auth.{path}.configured"
            )
        elif mount.configured.with_token_file is None:
            yield (
                f"auth/{path}/config was written {there}; if it was not, say so: auth.{path}.configured.with-token-file"
            )
    for name, app in scenario.apps.items():
        chosen = scenario.auth[mount_of(scenario, app)].reviewer
        if chosen in (None, "client-jwt") and "may_review_tokens" not in app.model_fields_set:
            yield (
                f"{name} may not review tokens; if its account is bound to system:auth-delegator, say so: "
                f"apps.{name}.may-review-tokens"
            )


def _artifacts(scenario: Scenario, stages: tuple[Stage, ...], driver: str) -> tuple[tuple[str, str], ...]:
    kubernetes = versions.ascending(cluster.kubernetes for cluster in scenario.clusters.values())
    vaults = versions.ascending(stage.version for stage in stages)
    if driver == "kind":
        return (("kind", KIND), *(("node-image", v) for v in kubernetes), *(("vault-image", v) for v in vaults))
    return (("etcd", ETCD), *(("kube-apiserver", v) for v in kubernetes), *(("vault", v) for v in vaults))


def _stages(scenario: Scenario) -> tuple[Stage, ...]:
    vault, usual = scenario.vault, vault_has_token_file(scenario)
    provenance: dict[tuple[str, bool], list[str]] = {}
    for path, mount in scenario.auth.items():
        provenance.setdefault(written_by(scenario, mount), []).append(path)
    at_source = tuple(provenance.pop((vault.source, usual), ()))
    writers = sorted(provenance.items(), key=lambda item: (versions.parse(item[0][0]), item[0][1]))
    return (
        *(Stage(version, file, "write config", tuple(mounts)) for (version, file), mounts in writers),
        Stage(vault.source, usual, "before", at_source),
        *(Stage(version, usual, "hop") for version in (*vault.via, vault.target)),
    )


def _questions(scenario: Scenario) -> tuple[tuple[Question, ...], tuple[str, ...]]:
    asked = [Question("health"), Question("seal-status")]
    not_asked: list[str] = []
    for path, mount in scenario.auth.items():
        asked.append(Question("auth-config", mount=path))
        asked += [Question("role", mount=path, item=role) for role in mount.roles]
    for name, app in scenario.apps.items():
        path = mount_of(scenario, app)
        asked += [Question(probe, name, path) for probe in ("login", "token-lookup", "token-renew")]
        asked += [Question("read", name, path, secret) for secret in app.reads]
        asked.append(Question("old-token-lookup", name, path))
        asked += [Question("old-token-read", name, path, secret) for secret in app.reads]
        negative, impossible = _negative(scenario, name, app)
        asked += [Question(probe, name, path) for probe in negative]
        not_asked += impossible
    if scenario.probes is not None and "login" not in scenario.probes:
        needs = {"token-lookup", "token-renew", "read", "old-token-lookup", "old-token-read"}
        asked = [question for question in asked if question.probe not in needs]
        not_asked.append("whatever needs a Vault token: the scenario's list of probes leaves the login out")
    if scenario.probes is not None:
        left_out = sorted({q.probe for q in asked} - set(scenario.probes))
        asked = [question for question in asked if question.probe in scenario.probes]
        not_asked += [f"{probe}: the scenario's list of probes leaves it out" for probe in left_out]
    # A secret that is listed twice is one question: two answers to it at one moment could not be told apart.
    return tuple(dict.fromkeys(asked)), tuple(not_asked)


def _negative(scenario: Scenario, name: str, app: App) -> tuple[list[str], list[str]]:
    """Return the probes that must be refused, and those this topology cannot ask, with the reason."""
    role = scenario.auth[mount_of(scenario, app)].roles[app.role]
    asked, impossible = ["tampered-jwt", "unknown-role"], []
    for probe, bound, word in (
        ("wrong-service-account", role.service_accounts, "service accounts"),
        ("wrong-namespace", role.namespaces, "namespaces"),
    ):
        if "*" in bound:
            impossible.append(f"{probe} for {name}: role {app.role} admits all {word}")
        else:
            asked.append(probe)
    if len(scenario.clusters) > 1:
        asked.append("other-cluster-token")
    else:
        impossible.append(f"other-cluster-token for {name}: the scenario has one cluster")
    return asked, impossible
