"""The steps that a scenario writes become steps with nothing left to look up."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec

from harness.scenario import auth_config, course, mount_kinds, places, role_spec, schema, seal_state, topology, values
from harness.scenario.course import AnyStep, Look, Move, Part, Placed, Serve, Upgrade
from harness.scenario.labels import Labels
from harness.scenario.schema import CourseStep
from harness.scenario.schema_seals import SealVault
from harness.scenario.topology import Topology, VaultSpec


def steps(written: Sequence[CourseStep], wanted: Topology, labels: Labels) -> Iterator[AnyStep]:
    """Yield the steps of a scenario's *written* course, each change with its look after it.

    The course has been checked: what is looked up here is there.
    """
    first = wanted.name_of("")
    runs = {name: vault.source for name, vault in wanted.vaults.items()}
    nodes = {node: vault.source for name, vault in wanted.vaults.items() for node in wanted.nodes_of(name)}
    snapshots, back, done = dict(runs), dict.fromkeys(runs, False), list[AnyStep]()
    for number, one in enumerate(written, 1):
        name = wanted.name_of(one.vault or "")
        of, before = course.placed(done, wanted)[name], runs[name]
        now = nodes.get(one.node or one.start_node or one.join_node or "", runs[name])
        *first_ones, step = _steps_of(one, number, wanted, of, now, snapshots[name])
        yield from (each for each in first_ones if each is not None)
        if isinstance(step, Serve):
            taken = [step.node] if step.node else wanted.nodes_of(name)
            nodes |= dict.fromkeys(taken, step.version)
            if all(nodes[node] == step.version for node in wanted.nodes_of(name)):
                runs[name] = step.version
        if isinstance(step, Serve | course.SealVault):
            done.append(step)
        if isinstance(step, course.Snapshot):
            snapshots[name] = runs[name]
        if isinstance(step, course.GOING_BACK) and not back[name]:
            back[name] = True
            yield course.WriteLate(vault=step.vault)
        if isinstance(step, Placed) and step.part:
            yield from halfway(step, wanted, labels, before, look=one.then_look)
            step = msgspec.structs.replace(step, part=SECOND[step.part])
        if step is not None:
            yield step
        for again, changed in _looked_after(one, step, before, wanted, name):
            yield from again
            file = course.placed(done, wanted)[first].token_file
            moment = labels.moment(changed, runs[first], file, number, runs)
            out = (wanted.seal_vault,) if seal_state.out_of_service(done) else ()
            by_keys = seal_state.by_keys(done, wanted)
            yield Look(number=number, moment=moment, late=any(back.values()), without=out, by_keys=by_keys)


def _looked_after(
    one: CourseStep, step: AnyStep | None, before: str, wanted: Topology, name: str
) -> Iterator[tuple[Sequence[AnyStep], AnyStep | None]]:
    """Yield what is changed before each look: a *step*, which is done, and what else is done after the hop that it is.

    *before* is what the Vault of that *name* ran before it.
    """
    if step is None or (one.then_look and isinstance(step, course.CHANGES)):
        yield (), step
    if isinstance(step, Upgrade | Move) and step.version != before:
        for again in rewrites(wanted, name):
            written = msgspec.structs.replace(again, number=step.number)
            yield (written,), written


def path(vault: schema.Vault, unsealer: SealVault | None) -> list[tuple[str, str]]:
    """Return the versions of a scenario without a course, in order, each with the Vault that is taken to it."""
    steps = [(topology.MAIN, version) for version in (*vault.via, vault.target or vault.source)]
    if unsealer is None or not unsealer.target:
        return steps
    others = [(topology.SEAL, version) for version in (*unsealer.via, unsealer.target)]
    return [*steps, *others] if unsealer.goes == "last" else [*others, *steps]


def rewrites(wanted: Topology, vault: str) -> Iterator[course.Rewrite]:
    """Yield what is written again, as it is read, once a Vault runs the next version."""
    for path, mount in wanted.mounts_of(vault).items():
        if mount.rewritten_at_each_hop:
            yield course.Rewrite(mount=path, vault=wanted.told_apart(vault))


_FIRST: Final[dict[str, Part]] = {
    "": "standbys",
    "standbys-first": "standbys",
    "leader-first": "leader-first",
    "rolling-update": "highest",
}
"""By the `order` of a step, which nodes are taken first."""

SECOND: Final[dict[Part, Part]] = {"standbys": "leader", "leader-first": "others", "highest": "lower"}
"""By the nodes that are taken first, which come then."""


def in_parts(step: Placed, wanted: Topology, order: str | None = None) -> Placed:
    """Return *step* as it takes the first of the nodes of a Vault, where that has several and it names none."""
    if step.node or wanted.named(step.vault).nodes == 1:
        return step
    return msgspec.structs.replace(step, part=_FIRST[order or ""])


def halfway(step: Placed, wanted: Topology, labels: Labels, version: str, *, look: bool = True) -> Iterator[AnyStep]:
    """Yield the first part of a *step* that takes the nodes of a Vault in two, and the look at what is mixed then.

    *version* is what its leader runs until then, which is what answers.
    """
    yield step
    if look and step.version != version and not isinstance(step, course.Restart):
        yield Look(number=step.number, moment=labels.moment(step, version, wanted.vault.token_file, step.number))


def _steps_of(  # noqa: PLR0911 -- a verb a line
    one: CourseStep, number: int, wanted: Topology, of: VaultSpec, version: str, snapshot: str
) -> Sequence[AnyStep | None]:
    """Return what a written step does, which may concern several clusters; None where it only looks.

    *of* is the Vault that it concerns, as it is then.
    """
    if one.upgrade_kubernetes is not None:
        upgrades = one.upgrade_kubernetes.items()
        return [course.UpgradeKubernetes(number=number, cluster=name, version=to) for name, to in upgrades]
    if one.set_issuers is not None:
        changes = one.set_issuers.items()
        return [course.SetIssuers(number=number, cluster=name, issuers=issuers) for name, issuers in changes]
    if one.publish_keys is not None:
        said = one.publish_keys.items()
        return [course.PublishKeys(number=number, cluster=name, to_anybody=may) for name, may in said]
    if one.rotate_keys is not None:
        return [course.RotateKeys(number=number, cluster=name, of=which) for name, which in one.rotate_keys.items()]
    if one.reachable is not None:
        return [course.Reachable(number=number, cluster=name, is_so=so) for name, so in one.reachable.items()]
    if one.seal_vault is not None:
        return [course.SealVault(number=number, what=one.seal_vault, vault=wanted.seal_vault)]
    if one.storage is not None:
        return [course.TouchStorage(number=number, what=one.storage, vault=wanted.told_apart(""))]
    if one.database is not None:
        return [course.TouchDatabase(number=number, what=one.database)]
    if one.audit_device is not None or one.agent_sink is not None or one.clock is not None:
        return _turned(one, number)
    return [_step(one, number, wanted, of, version, snapshot)]


def _turned(one: CourseStep, number: int) -> list[AnyStep]:
    devices, sinks, clocks = one.audit_device or {}, one.agent_sink or {}, one.clock or {}
    found: list[AnyStep] = [course.AuditDevice(number=number, device=name, to=to) for name, to in devices.items()]
    found += (course.AgentSink(number=number, app=app, to=to) for app, to in sinks.items())
    ahead = {node: values.seconds(span) for node, span in clocks.items()}
    return [*found, *(course.SetClock(number=number, node=node, seconds=by) for node, by in ahead.items())]


def _step(one: CourseStep, number: int, wanted: Topology, of: VaultSpec, version: str, snapshot: str) -> AnyStep | None:
    """Return what a written step does, or None where it only looks."""
    file = of.token_file
    vault = wanted.told_apart(one.vault or "")
    node = wanted.node_told_apart(one.vault or "", one.node or one.start_node or one.join_node or "")
    meanwhile: Any = {"meanwhile": one.meanwhile or ""}
    migration: Any = {"seal": one.seal or "", "left_out": one.left_out or "", **meanwhile}
    if one.upgrade is not None:
        step: Placed = course.Upgrade(
            number=number, version=one.upgrade, token_file=file, vault=vault, node=node, **migration
        )
        return in_parts(step, wanted, one.order)
    if one.join_node is not None:
        return course.Restart(number=number, version=version, token_file=file, vault=vault, node=node, wiped=True)
    if one.restart is not None or one.replace_pod is not None or one.start_node is not None:
        step = course.Restart(number=number, version=version, token_file=file, vault=vault, node=node, **migration)
        return in_parts(step, wanted, one.order)
    if one.roll_back is not None:
        to, over = snapshot if one.roll_back == "snapshot" else of.source, one.roll_back
        back: Any = {"over": over, "vault": vault, "node": node, **meanwhile}
        step = course.RollBack(number=number, version=to, token_file=file, **back)
        return in_parts(step, wanted, one.order)
    return _other(one, number, wanted, version)


def _other(one: CourseStep, number: int, wanted: Topology, version: str) -> AnyStep | None:
    """Return a step that concerns a Vault whole, or none."""
    if one.move is not None:
        place = places.moved_to(one.move.model_dump(mode="json", by_alias=True))
        to, vault = one.move.upgrade or version, wanted.told_apart(one.vault or "")
        return course.Move(number=number, version=to, token_file=place.token_file, place=place, vault=vault)
    if one.write is not None:
        return _write(one.write, number, wanted)
    if one.revoke_leases is not None:
        count = 0 if one.revoke_leases == "all" else one.revoke_leases
        return course.RevokeLeases(number=number, count=count, vault=wanted.told_apart(one.vault or ""))
    if one.wait is not None:
        return course.Wait(number=number, seconds=values.seconds(one.wait))
    return _of_nodes(one, number, wanted) or _beside(one, number, wanted)


def _of_nodes(one: CourseStep, number: int, wanted: Topology) -> AnyStep | None:
    """Return a step that concerns a node of several, or who leads them."""
    if one.step_down is not None:
        return course.StepDown(number=number, vault=wanted.told_apart(one.vault or ""))
    for does, name in ((course.StopNode, one.stop_node), (course.RemoveNode, one.remove_node)):
        if name is not None:
            return does(number=number, node=name, vault=wanted.told_apart(one.vault or ""))
    return None


def _beside(one: CourseStep, number: int, wanted: Topology) -> AnyStep | None:
    """Return a step that touches what is beside Vault, or its data, or writes what is there already."""
    if one.rewrite is not None:
        vault = wanted.told_apart(wanted.mounts[one.rewrite].vault)
        return course.Rewrite(number=number, mount=one.rewrite, vault=vault)
    for does, account in ((course.Grant, one.grant), (course.Revoke, one.revoke)):
        if account is not None:
            cluster = account.cluster or next(iter(wanted.clusters))
            return does(number=number, cluster=cluster, service_account=account.service_account)
    if one.delete_secret is not None:
        whose = one.delete_secret
        purpose = f"app:{whose.app}" if whose.app is not None else f"reviewer:{whose.reviewer}"
        return course.DeleteSecret(number=number, purpose=purpose)
    if one.snapshot is not None:
        return course.Snapshot(number=number, vault=wanted.told_apart(one.vault or ""))
    if one.restore is not None:
        return course.Restore(number=number, vault=wanted.told_apart(one.vault or ""))
    return None


def _write(one: schema.Write, number: int, wanted: Topology) -> AnyStep:
    mount = one.mount or next(iter(wanted.mounts))
    vault = wanted.told_apart(wanted.mounts[mount].vault)
    if one.role is None:
        literal = one.config.model_dump(mode="json") if one.config is not None else None
        of = wanted.mounts[mount]
        fields = auth_config.fields_of(of.of_kind, of.cluster, one.reviewer or "", literal)
        life = auth_config.reviewer_life(one.reviewer or "", one.reviewer_token_life)
        return course.WriteConfig(number=number, mount=mount, fields=fields, reviewer_seconds=life, vault=vault)
    held = wanted.mounts[mount].roles[one.role]
    kind = mount_kinds.of(held.kind)
    names = [*kind.role, *(one.replace("-", "_") for one in kind.ours)]
    changed = {name: role_spec.role_value(name, value) for name in names if (value := getattr(one, name)) is not None}
    spec = msgspec.structs.replace(held, **changed)
    return course.WriteRole(number=number, mount=mount, role=one.role, spec=spec, vault=vault)
