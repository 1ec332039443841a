"""What a plan takes for granted where the scenario is silent, and what would say it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from harness.knowledge import kubernetes_auth, token_store, vault_policies, versions
from harness.scenario import course, driver_traits, endpoints
from harness.scenario.course import AnyStep
from harness.scenario.schema import PluginConfig, Scenario
from harness.scenario.topology import Topology


def of_scenario(scenario: Scenario, wanted: Topology) -> Iterator[str]:
    """Yield what is taken for granted where the scenario is silent, and what would say it."""
    for path, mount in scenario.auth.items():
        resolved = wanted.mounts[path]
        if not resolved.mounted or not resolved.of_kind.reviews:
            continue
        there = f"with {'a' if resolved.with_token_file else 'no'} pod token file there"
        # one that names no issuer has it compared with another one than the cluster's, and lets nobody in up to 1.10
        silent = mount.config is None and not kubernetes_auth.validation_disabled(resolved.written_by, given=None)
        if mount.configured is None:
            issuer, key = (", and with the cluster's issuer", f"auth.{path}.config or ") if silent else ("", "")
            yield (
                f"auth/{path}/config was last written by {versions.called(resolved.written_by)}, {there}{issuer}; if "
                f"it was not, say so: {key}auth.{path}.configured"
            )
            silent = False
        elif mount.configured.with_token_file is None:
            yield (
                f"auth/{path}/config was written {there}; if it was not, say so: auth.{path}.configured.with-token-file"
            )
        if silent:
            yield f"auth/{path}/config names the cluster's issuer; if not, say so: auth.{path}.config"
        yield from _of_a_name(path, mount.config, wanted.named(resolved.vault).cluster)
    for name, app in scenario.apps.items():
        place = wanted.mounts[wanted.apps[name].mount]
        if not place.mounted or not place.of_kind.reviews:
            continue
        if place.reviewer in ("", "client-jwt") and "may_review_tokens" not in app.model_fields_set:
            yield (
                f"{name} may not review tokens; if its account is bound to system:auth-delegator, say so: "
                f"apps.{name}.may-review-tokens"
            )
    yield from _of_tokens(wanted)


def _of_a_name(path: str, config: PluginConfig | None, home: str) -> Iterator[str]:
    said = config.kubernetes_host if config is not None else ""
    if not endpoints.inside(said):
        return
    if home:
        yield (
            f"{said} in auth/{path}/config is the API server of {home}, as for every Pod there: its address is written"
        )
    else:
        yield (
            f"{said} in auth/{path}/config is no name where Vault runs, outside of any cluster: "
            f"{endpoints.nowhere(said)} is written, which no resolver knows, and each login is refused; if Vault is in "
            "one, say so: vault.cluster, or else the API server's address: kubernetes_host: cluster"
        )


def _of_tokens(wanted: Topology) -> Iterator[str]:
    for path, mount in wanted.mounts.items():
        for name, role in mount.roles.items():
            named = [policy for policy in role.policies if policy != vault_policies.VAULTS_OWN]
            if named and not wanted.policies:
                whose, grant = ("policy", "grants") if len(named) == 1 else ("policies", "grant")
                yield (
                    f"{whose} {', '.join(named)} of role {name} at auth/{path} {grant} only its apps' reads; if not, "
                    "say so: policies"
                )
            if "ttl" in mount.of_kind.role and not (role.ttl or role.period or role.explicit_max_ttl):
                yield (
                    f"tokens of role {name} at auth/{path} live as long as Vault's own default has it, "
                    f"{token_store.DEFAULT_TTL}; if the role says otherwise, say so: auth.{path}.roles.{name}.ttl"
                )


def of_versions(steps: tuple[AnyStep, ...], driver: str) -> Iterator[str]:
    """Yield what is taken for granted of the versions on the way."""
    serving = course.serving(steps)
    yield from filter(None, map(versions.needs_licence, serving))
    yield from _of_openbao(serving)
    if not driver_traits.of(driver).real and (unknown := kubernetes_auth.beyond(serving)):
        nearest = kubernetes_auth.held_lines().rpartition(" ")[2]
        yield (
            f"{versions.path(unknown, ', ')} answers as the nearest release does that was run (at most {nearest}): "
            "only a run on real servers would tell"
        )


def _of_openbao(serving: Sequence[str]) -> Iterator[str]:
    """Yield what OpenBao's own guide says of the way to it, where a path goes another one."""
    for old, new in pairwise(serving):
        if versions.product(new) == versions.OPENBAO != versions.product(old):
            yield (
                f"{versions.called(new)} is started over the data of {versions.called(old)}, with its Shamir keys; the "
                "guide of OpenBao was tried with Vault 1.14.1 over raft alone, and has new nodes join the old ones: "
                "whether all data are whole, the questions have to tell"
            )
