"""The order in which a live Vault is set up, opened and taken to its next version, whoever runs it."""

from __future__ import annotations

import base64
import itertools
import json
import secrets as random
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final

from harness import wait
from harness.errors import NotReady, RigError, SwapRefused, Unreachable
from harness.knowledge import policy_templates, refusals, versions
from harness.record import events
from harness.record.journal import Journal
from harness.record.observation import shortened
from harness.rehearsal import credentials
from harness.rehearsal.credentials import Held
from harness.rehearsal.provider import ISSUER, Provider
from harness.rig import database
from harness.rig.rig import EndsAbruptly, Reply, Rig, VaultNode, VaultSetup, node_of, proxies, snapshots
from harness.rig.source import BeginsAhead
from harness.scenario import course, endpoints, engine_kinds, plan, shared_source
from harness.scenario import topology as topologies
from harness.scenario.course import AnyStep, RollBack, Serve, Step, WriteConfig, WriteRole
from harness.scenario.engine_kinds import EngineSpec
from harness.scenario.mount_kinds import ASKED_AT, PROVIDER
from harness.scenario.plan import Plan, Question
from harness.scenario.topology import Topology
from harness.secret import Secret

_SEALED: Final = 503
"""what sys/health answers then"""
ACTIVE_SECONDS = 60
KV_SECONDS = 30
ANSWER_SECONDS = 15
_FITTING = "that opens this data"


def initialise(rig: Rig, planned: Plan, served: Serve, journal: Journal) -> Sequence[Secret]:
    """Make the new Vault that was *served* ready for use and return its unseal keys, or else its recovery keys.

    Afterwards it is unsealed, audits, and holds the scenario's policies and secrets; no auth mount is there yet.
    """
    topology, system = planned.resolved, rig.system(served.vault)
    vault, mine = topology.named(served.vault), topology.mounts_of(served.vault)
    recovery = vault.seal == topologies.TRANSIT
    ahead = rig.keys_made if isinstance(rig, BeginsAhead) and not vault.of_seals else ()
    keys = ahead or system.setup.initialise(vault.shares, vault.threshold, recovery=recovery)
    system.open_to_all()
    open_vault(rig, served, () if recovery else keys, journal)
    system.setup.enable_audit()
    for path, version in topology.stores.items():
        system.setup.enable_kv(path, version)
    for path, made in topology.makers.items():
        _enable(rig, system.setup, path, made)
    for path, kind in topology.also_mounted.items() if not vault.of_seals else ():
        auth, _, below = path.partition("/")
        if auth == "auth":
            system.setup.enable_auth(below, kind)
        else:
            system.setup.enable_engine(path, kind)
    for name, text in plan.policies(topology, planned.steps, served.vault).items():
        system.setup.write_policy(name, text)
    of_apps = [app for app in topology.apps.values() if app.mount in mine]
    for path in sorted({secret for app in of_apps for secret in (*app.reads, *app.writes)}):
        if topology.maker_of(path) is None:
            _write_secret(system.setup, topology, path)
    return keys


_AUTHORITY_LASTS: Final = "87600h"


def _enable(rig: Rig, setup: VaultSetup, path: str, made: EngineSpec) -> None:
    """Mount a secrets engine that makes secrets, with whatever it makes them of and all that it has by name."""
    setup.enable_engine(path, made.kind)
    if made.kind == engine_kinds.DATABASE:
        found = database.database(rig)
        user, password = found.superuser
        connection = {"plugin_name": "postgresql-database-plugin", "allowed_roles": "*", "username": user}
        connection |= {"connection_url": found.template}
        setup.write(f"{path}/config/{engine_kinds.CONNECTION}", connection | {"password": password})
    elif made.kind == engine_kinds.PKI:
        # an authority outlives the certificates of roles that say no ttl: those last as long as Vault lets anything
        setup.write(f"sys/mounts/{path}/tune", {"max_lease_ttl": _AUTHORITY_LASTS})
        setup.write(f"{path}/root/generate/internal", {"common_name": "rehearsal.invalid", "ttl": _AUTHORITY_LASTS})
    for place, fields in engine_kinds.places(path, made).items():
        setup.write(place, fields)


def keys_for(step: Step) -> str:
    """Return which unseal keys Vault is handed in a *step*: the words after "an unseal key"."""
    back = isinstance(step, course.Restore) or _is_over_snapshot(step)
    return "of the Vault of which the snapshot was taken" if back else _FITTING


def _is_over_snapshot(step: Step) -> bool:
    return isinstance(step, RollBack) and step.over == "snapshot"


_GIVES_UP: Final = "shutting down core"
"""What Vault logs, with the error, as it seals itself because it cannot serve over these data."""


def _gives_up(node: VaultNode) -> bool:
    """Does Vault seal itself because it cannot serve? 1.12 hangs in that, and answers nobody (run: 1.12.0)."""
    return any(_GIVES_UP in line for line in node.vault_log(40))


def open_vault(rig: Rig, served: Serve, keys: Sequence[Secret], journal: Journal, *, which: str = _FITTING) -> None:
    """Unseal Vault, wait until it is active, and make sure that it is the version that was asked for.

    *which* keys these are is said where one is declined. Raises SwapRefused then, RigError where another version
    answers, ProcessDied where it dies, and NotReady where it gives no answer or stays inactive.
    """
    node = node_of(rig, served.vault, served.node)
    answered = insist_on_version(rig, served)
    opened, left, connections = False, list(keys), refusals.MOST_LOST_CONNECTIONS
    while left and not opened:
        reply = node.setup.unseal(left.pop(0), migrate=bool(served.seal) and served.left_out != "migrate")
        if reply.status is None and _gives_up(node):
            raise sealed_again(node, served)
        if not reply.ok and connections and refusals.LOST_CONNECTION.search(reply.error):
            # its storage was started anew beneath it: each such answer costs it one connection of before
            left, connections = list(keys), connections - 1
            continue
        if not reply.ok:
            raise declined(rig, served, reply, which)
        opened = reply.data.get("sealed") is False

    def active() -> bool:
        health = node.vault.health()
        # one that has left no word of the reason may be about to open still: that is waited for, and told as silence
        sealed = opened and health.status == _SEALED and _errors(node.vault_log(40))
        if sealed or (health.status is None and _gives_up(node)):
            raise sealed_again(node, served)
        return _active(health)

    wait.until(
        active,
        what=f"{versions.called(served.version)} to be active after its unseal",
        seconds=ACTIVE_SECONDS,
        died=node.vault_died,
        log=lambda: node.vault_log(40),
        advice="a larger Vault may need longer; its whole log is kept beside the record",
    )
    note_serving(served, answered, journal)


def note_serving(served: Serve, answered: str, journal: Journal) -> None:
    """Put on record that what was *served* is unsealed, and which version it *answered* that it is."""
    journal.write(
        events.VaultServing(
            asked=served.version,
            answered=answered,
            purpose=course.word_of(served),
            token_file=served.token_file,
            vault=served.vault,
            node=served.node,
        )
    )


def insist_on_version(rig: Rig, served: Serve) -> str:
    """Return which version the Vault that was *served* says it is. Raises RigError where it is another one.

    It is asked before it is handed a key: what another version makes of this data says nothing about the one that was
    meant.
    """
    said = insist_alive(rig, served, "to tell its version")
    # one that has yet to join others is not initialised, and 1.4 leaves the version empty there until it is
    said = said if said.data.get("version") else node_of(rig, served.vault, served.node).vault.health()
    answered = str(said.data.get("version", ""))
    if answered.split("+", maxsplit=1)[0] != versions.number(served.version).split("+")[0]:
        raise RigError(
            f"{versions.called(served.version)} was put in place, and "
            f"{versions.answering(served.version, answered)} answers: the binary is not what it is taken for (rehearse "
            "artifacts list shows where it came from); put the right one there, and run again",
            node_of(rig, served.vault, served.node).vault_log(40),
        )
    return answered


def _active(health: Reply) -> bool:
    """Return True for an active Vault; raise Unreachable for any other, which is how `until` learns what it said."""
    if health.status != 200:
        raise Unreachable(health.error or f"sys/health says HTTP {health.status}")
    return True


def sealed_again(node: VaultNode, served: Serve) -> SwapRefused:
    """Return why a Vault is sealed that had opened to its keys: its own words for it, if it has any."""
    log = node.vault_log(40)
    failed = _errors(log)
    said = next((line for line in failed if _GIVES_UP in line), next(iter(failed), ""))
    why = f": {_error_in(said)}" if said else ", and left no word of the reason"
    return SwapRefused(f"{versions.called(served.version)} was unsealed, and sealed itself again{why}", log)


def _errors(log: Sequence[str]) -> list[str]:
    """Return the lines of Vault's *log* that have an error, the last one first."""
    return [line for line in reversed(log) if '"error":' in line]


def _error_in(line: str) -> str:
    """Return what went wrong by a line of Vault's log, which is JSON, or the line itself."""
    try:
        return str(json.loads(line)["error"])
    except (ValueError, KeyError, TypeError):
        return line


def insist_alive(rig: Rig, served: Serve, what: str) -> Reply:
    """Return what Vault says of its seal. Raises ProcessDied if it is dead, NotReady if it is silent.

    A server that dies in the middle of an answer is known to be dead a moment later only: this waits for that moment.
    *what* completes the sentence "waited for Vault ...".
    """
    node = node_of(rig, served.vault, served.node)
    return wait.until(
        lambda: node.vault.seal_status().answered(),
        what=f"{versions.called(served.version)} {what}",
        seconds=ANSWER_SECONDS,
        died=node.vault_died,
        log=lambda: node.vault_log(40),
        advice="its whole log is kept beside the record",
    )


def declined(rig: Rig, served: Serve, reply: Reply, which: str) -> RigError:
    """Return why an unseal key was not taken. Raises ProcessDied or NotReady if that is because Vault is gone.

    A Vault that could not open its data says so with 500, and that is its refusal here.
    """
    insist_alive(rig, served, "to answer again after an unseal key")
    log = node_of(rig, served.vault, served.node).vault_log(40)
    if refusals.says(reply.status, reply.error) == "not now":
        came = "gave no answer" if reply.status is None else f"answered HTTP {reply.status}, which is no refusal"
        return NotReady(
            f"{versions.called(served.version)} was handed an unseal key and {came} ({reply.error}), though it answers "
            "otherwise; its whole log is kept beside the record",
            log,
        )
    return SwapRefused(
        f"{versions.called(served.version)} was handed an unseal key {which}, and declined it: HTTP {reply.status} "
        f"{reply.error}".rstrip(),
        log,
    )


def write_config(
    rig: Rig,
    topology: Topology,
    step: WriteConfig,
    served: Serve,
    mounted: dict[str, str],
    provider: Provider,
    journal: Journal,
) -> None:
    """Write a mount's config as the version that is *served*: that is its provenance.

    *mounted* has the accessors of the mounts that are there; one that is not is enabled first, and put in.
    """
    system = rig.system(served.vault)
    if served.token_file:
        system.await_token_file()
    _mount(rig, topology, step.mount, served, mounted, journal)
    fields = _config(rig, topology, step, provider)
    system.setup.write_auth_config(step.mount, fields)
    journal.write(
        events.ConfigWritten(
            mount=step.mount,
            accessor=mounted[step.mount],
            version=served.version,
            token_file=served.token_file,
            fields={name: _shown(value) for name, value in fields.items()},
            reviewer=str(step.fields.get("token_reviewer_jwt", "")),
            vault=served.vault,
        )
    )


def write_role(
    rig: Rig,
    topology: Topology,
    step: WriteRole,
    served: Serve,
    mounted: dict[str, str],
    held: Held,
    journal: Journal,
) -> None:
    """Write a role as the version that is *served*, at a mount that is enabled if it is not: see `write_config`.

    The secrets that come to be with it are put into what is *held*.
    """
    _mount(rig, topology, step.mount, served, mounted, journal)
    made = credentials.write_role(rig.system(served.vault).setup, step.mount, step.role, step.spec, held)
    fields = credentials.as_sent(step.spec)
    journal.write(
        events.RoleWritten(mount=step.mount, role=step.role, version=served.version, fields=fields, vault=served.vault)
    )
    credentials.tell(made, step.mount, step.role, served, journal)


def _mount(rig: Rig, topology: Topology, mount: str, served: Serve, mounted: dict[str, str], journal: Journal) -> None:
    """Enable an auth mount that is not there, and take note of its accessor."""
    if mount in mounted:
        return
    kind = topology.mounts[mount].of_kind
    setup = rig.system(served.vault).setup
    accessor = mounted[mount] = setup.enable_auth(mount, kind.name)
    for name, text in topology.policies.items():
        if mount in policy_templates.mounts_of(text):
            # only now has the mount an accessor, by which its templates name it
            setup.write_policy(name.lower(), policy_templates.with_accessors(text, mounted))
    if not kind.reviews:
        journal.write(
            events.AuthEnabled(
                mount=mount, accessor=accessor, kind=kind.name, version=served.version, vault=served.vault
            )
        )


def write_late(rig: Rig, topology: Topology, vault: str, holders: Iterable[str], held: Held, journal: Journal) -> None:
    """Write what may be lost by going back: a secret, and at each auth mount of the *vault* a role like its first."""
    setup = rig.system(vault).setup
    _write_secret(setup, topology, topology.late_secret)
    written, late = [], topology.data_path(topology.late_secret)
    for path, mount in topology.mounts_of(vault).items():
        credentials.write_role(setup, path, course.LATE_ROLE, next(iter(mount.roles.values())), held)
        written.append(f"auth/{path}/{mount.of_kind.folder}/{course.LATE_ROLE}")
    journal.write(events.LateWritten(secret=late, roles=tuple(written), apps=tuple(holders), vault=vault))


def late_questions(topology: Topology, done: Iterable[AnyStep], late: Iterable[str]) -> Iterator[Question]:
    """Yield what is asked of what was written late in the steps *done*, and of the apps of *late*."""
    for vault in {step.vault: None for step in done if isinstance(step, course.WriteLate)}:
        yield Question("late-secret", item=topology.data_path(topology.late_secret), vault=vault)
        for path in topology.mounts_of(vault):
            yield Question("late-role", mount=path, item=course.LATE_ROLE, vault=vault)
    for app in late:
        mount = topology.apps[app].mount
        yield Question("late-token-lookup", app, mount, vault=topology.told_apart(topology.mounts[mount].vault))


def to_next(
    rig: Rig,
    served: Serve,
    keys: Sequence[Secret],
    journal: Journal,
    meanwhile: Callable[[], None],
    *,
    setting_up: bool = False,
) -> float:
    """Take Vault to what is to be *served*: its Pod replaced, that version over the same data, unsealed and active.

    *meanwhile* is called in between: the version has started, and is not unsealed. *setting_up*: nobody has logged in
    yet, so how the Vault before it ends is not what is rehearsed. Returns how many seconds of what all that takes had
    been spent beforehand, beside the steps before it.
    """
    beforehand = 0.0
    with journal.phase(f"swap to {served.version}"):
        if _is_over_snapshot(served):
            beforehand = snapshots(rig, served).swap_over_snapshot(served)
        else:
            system = rig.system(served.vault)
            if setting_up and isinstance(system, EndsAbruptly):
                system.end_abruptly()
            node_of(rig, served.vault, served.node).swap(served)
    meanwhile()
    with journal.phase(f"unseal {served.version}"):
        open_vault(rig, served, keys, journal, which=keys_for(served))
    return beforehand


def expect_way_back(rig: Rig, vault: str, ahead: Sequence[AnyStep]) -> None:
    """Have the way back over the next snapshot of a *vault* begin, where the steps *ahead* have one.

    A new Vault needs some seconds until a snapshot can be restored into it, and nobody has to wait for them.
    """
    back = course.way_back_over_next_snapshot(ahead, vault)
    if back is not None:
        snapshots(rig, back).expect_way_back(back)


def settle(rig: Rig, served: Serve, done: Iterable[AnyStep], journal: Journal) -> None:
    """See to it that no old Pod's token is alive in any cache, if a config that was written in *done* may hold one."""
    with journal.phase(f"old token dead before {served.version}"):
        rig.settle(stored=shared_source.holds_pod_token(done))


def _config(rig: Rig, topology: Topology, step: WriteConfig, provider: Provider) -> dict[str, Any]:
    """Fill in what only the running clusters know, and whoever mints tokens beside them."""
    home, words = topology.mounts[step.mount].cluster, {("bound_issuer", PROVIDER): ISSUER}
    if home:
        words |= dict.fromkeys((("issuer", "cluster"), ("bound_issuer", "cluster")), rig.cluster(home).issuer)
    if any(url in step.fields for url in ASKED_AT):
        # Vault asks at the write, and what a cluster gives to anybody is settled last
        rig.await_clusters()
    fields: dict[str, Any] = {}
    for name, value in step.fields.items():
        if name == "token_reviewer_jwt":
            fields[name] = rig.reviewer_token(step.mount, str(value), step.reviewer_seconds).jwt
        elif name == "kubernetes_host":
            fields[name] = _host(rig, topology, step.mount, str(value))
        elif name == "kubernetes_ca_cert":
            ahead = str(step.fields.get("kubernetes_host"))
            fields[name] = _authority(rig, topology, home, str(value), ahead)
        elif name in _OF_KEYS:
            fields[name] = _of_keys(rig, topology, home, name, str(value))
        elif isinstance(value, tuple):
            named = [home if one == "cluster" else one for one in value]
            there = {name: rig.cluster(name).keys for name in named if name in topology.clusters}
            if PROVIDER in named:
                there.setdefault(PROVIDER, (provider.public_key,))
            keys = (there.get(one, (one,)) for one in named)
            fields[name] = list(itertools.chain.from_iterable(keys))
        else:
            fields[name] = words.get((name, str(value)), value)
    return fields


_OF_KEYS: Final = (*ASKED_AT, *ASKED_AT.values())


def _of_keys(rig: Rig, topology: Topology, home: str, name: str, said: str) -> str:
    """Return where Vault gets the keys of tokens, or the CA of who answers there."""
    if name not in ASKED_AT:
        return _authority(rig, topology, home, said, "cluster")
    host = rig.cluster(home if said == "cluster" else said).host
    return f"{host}/openid/v1/jwks" if name == "jwks_url" else host


def _host(rig: Rig, topology: Topology, mount: str, said: str) -> str:
    """Return the address to send: the text itself, or what a word stands for. A proxy is started for it."""
    home = topology.mounts[mount].cluster
    if endpoints.inside(said):
        place = topology.named(topology.mounts[mount].vault).cluster
        return rig.cluster(place).host if place else endpoints.nowhere(said)
    if endpoints.proxy(said) is not None:
        return proxies(rig).proxy(home, said).host
    if said not in endpoints.WORDS:
        return said
    host = rig.cluster(home).host
    return host.replace("https://", "http://", 1) if said == endpoints.PLAIN else host


def _authority(rig: Rig, topology: Topology, home: str, said: str, host: str) -> str:
    """Return the CA to send: the text itself, or what a word or the name of a cluster stands for.

    At a *host* that is a proxy the cluster's CA is that of the proxy: whoever set the proxy up gave Vault its CA.
    """
    if said == "cluster" and endpoints.proxy(host) is not None:
        return proxies(rig).proxy(home, host).ca
    if said == "base64":
        return base64.b64encode(rig.cluster(home).ca.encode()).decode()
    named = home if said == "cluster" else said
    return rig.cluster(named).ca if named in topology.clusters else said


def _shown(value: Any) -> Any:
    """Return a config value as the record shows it."""
    if isinstance(value, list):
        return [shortened(one) for one in value]
    return repr(value) if isinstance(value, Secret) else shortened(value)


def _write_secret(setup: VaultSetup, topology: Topology, secret: str) -> None:
    """Write one secret. kv-v2 prepares itself in the background after its mount and declines writes until then."""
    last: list[str] = []
    path, engine = topology.data_path(secret), topology.engine_of(secret)

    def written() -> bool:
        try:
            values = {"password": Secret(random.token_urlsafe(18))}
            setup.write_secret(path, values, version=topology.stores[engine])
        except RigError as error:
            last[:] = [str(error)]
            return False
        return True

    wait.until(written, what=f"{engine} to take {path}", seconds=KV_SECONDS, log=lambda: last)
