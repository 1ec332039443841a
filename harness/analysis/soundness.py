"""Whether a record says what no run can say: its judges would stumble over an app that is not there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from harness.analysis.record_view import Facts
from harness.knowledge import versions
from harness.record.events import (
    ClusterChanged,
    ConfigWritten,
    LateWritten,
    MomentBegan,
    PodReplaced,
    Renewals,
    RoleWritten,
    StepEnded,
    TokenIssued,
    Trouble,
    VaultServing,
)
from harness.record.journal import NotARecord
from harness.scenario import course, mount_kinds
from harness.scenario.course import Serve, WriteConfig, WriteRole
from harness.scenario.mount_kinds import PROVIDER
from harness.scenario.role_spec import SPANS
from harness.scenario.values import seconds

_OF_VAULT: Final = (ConfigWritten, RoleWritten, VaultServing, PodReplaced, StepEnded, LateWritten, Renewals, Trouble)

_END_OF_TIME: Final = 253_402_300_800.0
"""The year 10000, in seconds since the epoch."""


def sound(facts: Facts) -> Facts:
    """Return *facts*. Raises NotARecord, whose sentence says which part of the record is impossible, if one is."""
    for wrong in _impossible(facts):
        raise NotARecord(f"{facts.record.directory or 'this'} is no record of a run: {wrong}")
    return facts


def _impossible(facts: Facts) -> Iterator[str]:
    yield from _topology(facts)
    record, seen, questions = facts.record, facts.observations, facts.record.started.plan.questions
    if not facts.steps:
        yield "its plan has no steps"
    if len(facts.moments) != len(record.started.plan.moments):
        yield "two moments of its plan have one name"
    said = {(o.app, o.mount) for o in seen} | {(q.app, q.mount) for q in questions}
    apps = {app for app, _ in said} | {row.app for row in record.of(Renewals)}
    yield from (f"its scenario has no app {app!r}" for app in sorted(apps - {*facts.topology.apps, ""}))
    mounts = {mount for _, mount in said} - {""}
    mounts |= {one.mount for one in record.of(ConfigWritten)}
    mounts |= {step.mount for step in facts.steps if isinstance(step, WriteConfig | WriteRole)}
    yield from (f"its scenario has no auth mount {mount!r}" for mount in sorted(mounts - {*facts.topology.mounts}))
    yield from (f"an answer to {app} is of no auth mount" for app, mount in sorted(said) if app and not mount)
    yield from _vaults(facts)
    yield from _spans(facts)
    yield from _versions(facts)
    yield from _times(facts)


def _topology(facts: Facts) -> Iterator[str]:
    topology = facts.topology
    if not topology.vaults:
        yield "its scenario has no Vault"
    clusters = {mount.cluster for mount in topology.mounts.values()} | {app.cluster for app in topology.apps.values()}
    clusters |= {vault.cluster for vault in topology.vaults.values() if vault.cluster}
    clusters |= {step.cluster for step in facts.steps if isinstance(step, course.OF_CLUSTERS)}
    clusters |= {one.cluster for one in facts.record.of(ClusterChanged)}
    rotates = any(isinstance(step, course.RotateKeys) and step.cluster == PROVIDER for step in facts.steps)
    known = {*topology.clusters, "", *([PROVIDER] if rotates else [])}
    yield from (f"its scenario has no cluster {name!r}" for name in sorted(clusters - known))
    kinds = {mount.kind for mount in topology.mounts.values()}
    kinds |= {role.kind for mount in topology.mounts.values() for role in mount.roles.values()}
    yield from (f"there is no auth method {name!r}" for name in sorted(kinds - {*mount_kinds.NAMES}))
    if not all(one.issuers for one in (*topology.clusters.values(), *facts.record.of(ClusterChanged))):
        yield "one of its clusters has no issuer"
    for name, app in topology.apps.items():
        mount = topology.mounts.get(app.mount)
        if mount is None or (mount.mounted and app.role not in mount.roles):
            yield f"its scenario has no role {app.role!r} at the auth mount of {name}"


def _vaults(facts: Facts) -> Iterator[str]:
    record, topology, plan = facts.record, facts.topology, facts.record.started.plan
    named = {(one.vault, one.node) for kind in _OF_VAULT for one in record.of(kind)}
    named |= {(one.vault, one.node) for one in (*facts.observations, *plan.questions, *facts.steps)}
    # what each of a million lines of the servers says of it is told without reading the line again
    named |= {(line.vault, line.node) for _, line in record.server_lines()}
    vaults = {vault for vault, _ in named} | {mount.vault for mount in topology.mounts.values()} - {""}
    strange = sorted(vaults - {*topology.vaults, ""})
    yield from (f"its scenario has no Vault {name!r}" for name in strange)
    for vault, node in sorted(named):
        if vault not in strange and node and node not in topology.nodes_of(vault):
            yield f"its scenario has no node {node!r} of Vault {vault or topology.name_of(vault)}"
    if topology.told_apart(topology.name_of("")) and any(not one.vault for one in facts.observations):
        yield "an answer is of one of several Vaults, and does not say which"


def _spans(facts: Facts) -> Iterator[str]:
    roles = [role for mount in facts.topology.mounts.values() for role in mount.roles.values()]
    for span in sorted({span for role in roles for name in SPANS if (span := getattr(role, name)) is not None}):
        try:
            seconds(span)
        except (ValueError, LookupError):
            yield f"{span!r} is no span of time"


def _versions(facts: Facts) -> Iterator[str]:
    record = facts.record
    named = {o.version for o in facts.observations} | {one.version for one in record.of(ConfigWritten)}
    named |= {step.version for step in facts.steps if isinstance(step, Serve)}
    named |= {one.version for one in facts.moments.values()} | {one.version for one in record.of(MomentBegan)}
    named |= {mount.written_by for mount in facts.topology.mounts.values()}
    named |= {vault.source for vault in facts.topology.vaults.values()}
    named |= {row.version for row in record.of(Renewals)} | {one.after_swap for one in record.of(Trouble)} - {""}
    for version in sorted(named):
        try:
            versions.parse(version)
        except ValueError:
            yield f"{version!r} is no version of Vault"


def _times(facts: Facts) -> Iterator[str]:
    seen, record = facts.observations, facts.record
    begin, end = 0.0, _END_OF_TIME
    if not all(begin <= o.started < end and begin <= o.ended < end and begin <= o.latency_ms < end for o in seen):
        yield "no question is asked in the year that it names"
    yield from _outside("end of a token", (token.expires for _, token in facts.tokens))
    yield from _outside("beginning of a token", (token.issued for _, token in facts.tokens))
    yield from _outside("time of renewals", (row.at for row in record.of(Renewals)))
    yield from _outside("time of a token", (token.at for token in record.of(TokenIssued)))


def _outside(what: str, times: Iterable[float]) -> Iterator[str]:
    if any(not 0 <= time < _END_OF_TIME for time in times):
        yield f"no {what} is in the year that it names"
