"""A rehearsal as a course of steps, and the moments at which everything is asked.

A moment is a number with a label: the same version of Vault may be visited twice, and is then two moments. A step is
data: what is done, by itself resolved, with nothing left to look up. Steps are tagged in records with `do`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, Literal

import msgspec

from harness.scenario import endpoints
from harness.scenario.auth_config import ConfigField
from harness.scenario.mount_kinds import PROVIDER
from harness.scenario.places import Place
from harness.scenario.role_spec import RoleSpec
from harness.scenario.schema_audit import DeviceState
from harness.scenario.schema_engines import ToDatabase
from harness.scenario.schema_seals import ToSealVault
from harness.scenario.schema_storage import Meanwhile, ToStorage
from harness.scenario.topology import Topology, VaultSpec

AUTO_UNSEAL: Final = "auto-unseal"
"""The probe that asks whether a Vault could be unsealed by another one now. Until its next start nothing else tells."""


class Moment(msgspec.Struct, frozen=True):
    """A moment at which every question is asked. Its label is unique in a course, and names it in observations."""

    number: int
    """from 0, which is the moment before anything was changed"""
    label: str
    version: str
    """the version of Vault that serves then"""
    token_file: bool
    """is a pod's service account token readable for Vault?"""
    step: int = 0
    """the number of the step in the scenario's `course` after which it comes; 0 where none was written or none came"""
    versions: dict[str, str] = {}
    """where there are several Vaults or nodes: what each runs, by its name; `version` is then that of the first"""

    def runs(self, vault: str, node: str = "") -> str:
        """Return which version a node, or a Vault, runs then; both are empty for the only one."""
        return self.versions.get(node) or self.versions.get(vault, self.version)


class Step(msgspec.Struct, frozen=True, tag_field="do", kw_only=True):
    """One step of a course."""

    number: int = 0
    """its place in the scenario's `course`, from 1; 0 where the scenario did not write it"""
    vault: str = ""
    """the name of the Vault that it concerns; empty: the only one there is"""
    node: str = ""
    """the name of the node that it concerns; empty: the only one there is, or all of them"""


Part = Literal["", "standbys", "leader", "leader-first", "others", "highest", "lower"]
"""Which nodes of a Vault a step takes, one by one: all that stand by, and then the one that leads; or the one that
leads first, and then the others; or the one with the highest number, and then the lower ones, whoever leads. Nothing:
the only one there is, or the one that the step names."""

HALFWAY: Final = ("standbys", "leader-first", "highest")
"""The parts after which some nodes run another version than the others."""

BY_NUMBER: Final = ("highest", "lower")
"""The parts whose nodes are taken as the RollingUpdate of a StatefulSet takes its Pods."""


class Serve(Step, frozen=True, kw_only=True):
    """A step after which a newly started Vault of *version* serves over the same data."""

    version: str
    token_file: bool
    part: Part = ""
    """which nodes of several, where they are taken one after the other"""
    seal: Literal["", "shamir", "transit"] = ""
    """the seal to which it migrates then; nothing: its seal stays"""
    left_out: Literal["", "migrate", "disabled"] = ""
    """what is forgotten of that: that the keys are handed with -migrate, or the seal that is left is disabled"""
    meanwhile: Literal["", Meanwhile] = ""
    """what happens in mid-hop: to its storage before it is unsealed, or to the data of its node before it starts"""


class Start(Serve, frozen=True, tag="start", kw_only=True):
    """The first Vault, over no data: it is initialised and set up."""


class Form(Step, frozen=True, tag="form", kw_only=True):
    """The other nodes of a Vault of several join the first one, which has its data; all of them vote then."""

    version: str
    token_file: bool


class Upgrade(Serve, frozen=True, tag="upgrade", kw_only=True):
    """Another version over the same data: a rollout, where Vault is a Pod."""


class Restart(Serve, frozen=True, tag="restart", kw_only=True):
    """The same version again; its Pod is replaced."""

    wiped: bool = False
    """a node that was removed from the others: its data are wiped before, and it joins them anew"""


class Move(Serve, frozen=True, tag="move", kw_only=True):
    """Vault moves: its data go along, and it starts in another place, by the same version or another one."""

    place: Place


class RollBack(Serve, frozen=True, tag="roll-back", kw_only=True):
    """Back to an older version: its binary over the data as they are, or over those of the last snapshot."""

    over: Literal["binary", "snapshot"]


class WriteConfig(Step, frozen=True, tag="write-config", kw_only=True):
    """auth/<mount>/config is written, whole, by the version that serves; the mount is enabled if it is not."""

    mount: str
    fields: dict[str, ConfigField]
    """token_reviewer_jwt has the kind of the token: long-lived, pod-token or requested"""
    reviewer_seconds: int = 0
    """the life asked for a requested token"""

    @property
    def names_proxy(self) -> bool:
        """Is a proxy what Vault is to ask?"""
        return endpoints.proxy(str(self.fields.get("kubernetes_host"))) is not None


class WriteRole(Step, frozen=True, tag="write-role", kw_only=True):
    """A role is written by the version that serves."""

    mount: str
    role: str
    spec: RoleSpec


class Rewrite(Step, frozen=True, tag="rewrite", kw_only=True):
    """The config and the roles of a mount are written again, each as the version that serves shows it.

    What that version does not take back is no end of the course: it is seen, and told.
    """

    mount: str


class Grant(Step, frozen=True, tag="grant", kw_only=True):
    """A service account (namespace/name) is bound to system:auth-delegator in a cluster."""

    cluster: str
    service_account: str


class Revoke(Step, frozen=True, tag="revoke", kw_only=True):
    """The binding of a service account (namespace/name) to system:auth-delegator is deleted."""

    cluster: str
    service_account: str


class MakeReviewer(Step, frozen=True, tag="make-reviewer", kw_only=True):
    """A service account (namespace/name) is there, made where it is not, and a new Secret with a token of it that never
    ends: what a config of *mount* may store from then on. The account gets no right.
    """

    cluster: str
    service_account: str
    mount: str


class WritePolicy(Step, frozen=True, tag="write-policy", kw_only=True):
    """A Vault policy is written, whole."""

    name: str
    text: str
    """as HCL"""


class ProjectToken(Step, frozen=True, tag="project-token", kw_only=True):
    """An app's Pod is replaced by one whose token is made out for an audience, or is requested for several."""

    app: str
    audience: str | tuple[str, ...] | None
    """`cluster` is the API server's own, and None that one alone"""

    @property
    def audiences(self) -> tuple[str, ...]:
        """Return what the token is requested for; nothing where that is the API server's own audience alone."""
        return (self.audience,) if isinstance(self.audience, str) else self.audience or ()


class DeleteSecret(Step, frozen=True, tag="delete-secret", kw_only=True):
    """The Secret with a long-lived token is deleted, and the token with it.

    *purpose* is whose: reviewer:<mount> or app:<app>.
    """

    purpose: str


class Snapshot(Step, frozen=True, tag="snapshot", kw_only=True):
    """A snapshot of Vault's data is taken: by the raft API, or a copy of the files of a Vault that was stopped."""


class Restore(Step, frozen=True, tag="restore", kw_only=True):
    """The last snapshot is restored into the version that serves."""


class WriteLate(Step, frozen=True, tag="write-late", kw_only=True):
    """Something is written so that its loss is seen after a roll-back: a secret, and a role at each auth mount.

    The rehearsal does this by itself before the first step that goes back. What the apps got at the last login counts
    as late, too.
    """


class UpgradeKubernetes(Step, frozen=True, tag="upgrade-kubernetes", kw_only=True):
    """A cluster's API server is stopped, and one of *version* starts over the same data and with the same keys."""

    cluster: str
    version: str


class SetIssuers(Step, frozen=True, tag="set-issuers", kw_only=True):
    """A cluster's API server starts anew with other issuers of service account tokens: the first of them signs.

    From then on whoever starts comes with a token of the new issuer; what runs, or was copied, keeps what it has.
    """

    cluster: str
    issuers: tuple[str, ...]


class PublishKeys(Step, frozen=True, tag="publish-keys", kw_only=True):
    """Anybody may read the keys of a cluster's tokens and its discovery document, or service accounts alone."""

    cluster: str
    to_anybody: bool


class RotateKeys(Step, frozen=True, tag="rotate-keys", kw_only=True):
    """A cluster's API server, or the identity provider outside of any cluster (`provider`), signs with another key.

    From then on whoever starts comes with a token of the new key. An API server accepts those of the old one still.
    Or, of its `ca`: its certificate is from another authority, and tokens are what they were.
    """

    cluster: str
    of: Literal["signing", "ca"] = "signing"


class Reachable(Step, frozen=True, tag="reachable", kw_only=True):
    """Nobody answers Vault any more where the API server of a cluster was, or it is there again."""

    cluster: str
    is_so: bool


class StepDown(Step, frozen=True, tag="step-down", kw_only=True):
    """The node that leads gives that up, and another one is elected: raft chooses which, and not by its version."""


class StopNode(Step, frozen=True, tag="stop-node", kw_only=True):
    """A node is stopped, and keeps its data. Nobody is asked at it until a step starts it again."""


class RemoveNode(Step, frozen=True, tag="remove-node", kw_only=True):
    """A node is removed from the raft configuration of the others, and is not stopped."""


class SealVault(Step, frozen=True, tag="seal-vault", kw_only=True):
    """Something is done to the Vault that unseals the other one, or to the token by which it knows that one."""

    what: ToSealVault


class TouchStorage(Step, frozen=True, tag="storage", kw_only=True):
    """Something is done to the servers that have Vault's data."""

    what: ToStorage


class TouchDatabase(Step, frozen=True, tag="database", kw_only=True):
    """The PostgreSQL of the database engines is stopped, or is there again over its data."""

    what: ToDatabase


class MakeLeases(Step, frozen=True, tag="make-leases", kw_only=True):
    """Service tokens are made, each of which is a lease. The rehearsal does this by itself before the first look."""

    count: int


class RevokeLeases(Step, frozen=True, tag="revoke-leases", kw_only=True):
    """Some of them are revoked."""

    count: int
    """0: all that are left, at once"""


class AuditDevice(Step, frozen=True, tag="audit-device", kw_only=True):
    """An audit device is kept from writing, or no more; or it is disabled or enabled."""

    device: str
    to: DeviceState


class AgentSink(Step, frozen=True, tag="agent-sink", kw_only=True):
    """The folder is taken away where agents of an app that start from then on write their tokens, or given back."""

    app: str
    to: Literal["missing", "there"]


class SetClock(Step, frozen=True, tag="clock", kw_only=True):
    """The clock of a `node` is so many *seconds* ahead of all others from here on."""

    seconds: int


class Wait(Step, frozen=True, tag="wait", kw_only=True):
    """Nothing is done for some *seconds*."""

    seconds: int


class Look(Step, frozen=True, tag="look", kw_only=True):
    """Every question is asked once."""

    moment: Moment
    late: bool = False
    """is it also asked what has become of what was written late? So it is after a step that goes back"""
    without: tuple[str, ...] = ()
    """the Vaults that are stopped or sealed then on purpose: they are asked nothing"""
    by_keys: bool = False
    """is Vault unsealed by keys then, where another one unseals it at other moments?"""

    def asks(self, vault: str, probe: str) -> bool:
        """Is a Vault asked anything then by a *probe*?"""
        return not (vault and vault in self.without) and not (self.by_keys and probe == AUTO_UNSEAL)


AnyStep = (
    Start
    | Form
    | Upgrade
    | Restart
    | Move
    | RollBack
    | WriteConfig
    | WriteRole
    | Rewrite
    | Grant
    | Revoke
    | MakeReviewer
    | WritePolicy
    | ProjectToken
    | DeleteSecret
    | Snapshot
    | Restore
    | WriteLate
    | UpgradeKubernetes
    | SetIssuers
    | PublishKeys
    | RotateKeys
    | Reachable
    | StepDown
    | StopNode
    | RemoveNode
    | SealVault
    | TouchStorage
    | TouchDatabase
    | MakeLeases
    | RevokeLeases
    | AuditDevice
    | AgentSink
    | SetClock
    | Wait
    | Look
)

Placed = Upgrade | Restart | RollBack
"""The steps that put a Vault in place where one ran already."""

GOING_BACK = (RollBack, Restore)
"""The steps after which something may be lost."""

LATE_ROLE = "rehearsal-late"

OF_CLUSTERS = (UpgradeKubernetes, SetIssuers, PublishKeys, RotateKeys, Reachable)
"""The steps that change a cluster itself, under a Vault that stays."""

OF_NODES = (StepDown, StopNode, RemoveNode)
"""The steps that change who of several nodes leads, serves or belongs to the others."""

CHANGES = (
    Upgrade, Restart, Move, RollBack, WriteConfig, WriteRole, Rewrite, Grant, Revoke, DeleteSecret, Restore, SealVault,
    TouchStorage, TouchDatabase, RevokeLeases, AuditDevice, AgentSink, SetClock, *OF_CLUSTERS, *OF_NODES,
)  # fmt: skip
"""The steps that change what is there: everything is asked after each, unless the scenario says not to."""


def vault_of(step: AnyStep, there: Topology) -> str:
    """Return the name of the Vault that a step concerns, as records have it: empty where there is one."""
    match step:
        case WriteConfig() | WriteRole() | Rewrite() if step.mount in there.mounts:
            return there.told_apart(there.mounts[step.mount].vault)
        case _:
            return there.told_apart(step.vault)


def moments(steps: Sequence[AnyStep]) -> Iterator[Moment]:
    """Yield the moments of a course, in order."""
    return (step.moment for step in steps if isinstance(step, Look))


def stopped(steps: Iterable[AnyStep]) -> dict[str, frozenset[str]]:
    """Return, by the label of each moment, the nodes that are stopped then because a step stopped them."""
    found, down = dict[str, frozenset[str]](), frozenset[str]()
    for step in steps:
        match step:
            case StopNode():
                down |= {step.node}
            case Serve():
                # of the nodes that a step takes each serves afterwards
                down -= {step.node} if step.node else down
            case Look():
                found[step.moment.label] = down
    return found


def serving(steps: Sequence[AnyStep]) -> list[str]:
    """Return every version that serves in a course, each once, in the order of its first appearance."""
    return list(dict.fromkeys(step.version for step in steps if isinstance(step, Serve)))


def serving_each(steps: Sequence[AnyStep]) -> dict[str, list[str]]:
    """Return, by the name of each Vault or node (empty for the only one), every version that serves, as `serving`."""
    found: dict[str, dict[str, None]] = {}
    for step in steps:
        if isinstance(step, Serve):
            found.setdefault(step.node or step.vault, {})[step.version] = None
    return {name: list(versions) for name, versions in found.items()}


def way_back_over_next_snapshot(ahead: Sequence[AnyStep], vault: str) -> RollBack | None:
    """Return the first step of those *ahead* that goes back over the snapshot of a *vault* that is taken next."""
    own = [step for step in ahead if isinstance(step, RollBack | Snapshot) and step.vault == vault]
    taken = list(itertools.dropwhile(lambda step: not isinstance(step, Snapshot), own))
    until = itertools.takewhile(lambda step: not isinstance(step, Snapshot), taken[1:])
    return next((step for step in until if isinstance(step, RollBack) and step.over == "snapshot"), None)


def whose_keys(step: RotateKeys) -> str:
    """Return who signs with another key by this step."""
    return "the identity provider" if step.cluster == PROVIDER else f"cluster {step.cluster}"


def placed(steps: Iterable[AnyStep], there: Topology) -> dict[str, VaultSpec]:
    """Return each Vault, by its name, as it is after *steps*: where it has moved."""
    found = dict(there.vaults)
    for step in steps:
        if isinstance(step, Move):
            name = there.name_of(step.vault)
            found[name] = found[name].at(step.place)
    return found


def in_order(there: Topology) -> list[str]:
    """Return the names of the Vaults as they start: what another one unseals cannot even start before that."""
    return sorted(there.vaults, key=lambda name: not there.vaults[name].of_seals)


def word_of(step: Step) -> str:
    """Return the word for what a step does, as records have it: start, upgrade, write-config ..."""
    return "join-node" if isinstance(step, Restart) and step.wiped else str(step.__struct_config__.tag)


def words_of(step: Step) -> str:
    """Return that word, and the node that it is about, or what is done to a storage or a database, if it is such."""
    return f"{word_of(step)} {step.what if isinstance(step, TouchStorage | TouchDatabase) else step.node}".rstrip()
