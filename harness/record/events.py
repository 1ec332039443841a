"""What can happen in a run, as its record says it: the vocabulary of the journal.

Plain values and no file: `journal` writes them down and reads them back.
"""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec

from harness.knowledge.refusals import says
from harness.record.audit_events import AuditSeen
from harness.record.database_events import DatabaseChanged
from harness.record.event import Event, OfVault
from harness.record.foretold import Foretold
from harness.record.lease_events import LeasesChanged, LeasesSeen
from harness.record.node_events import (
    EvictionTried,
    LeaderChanged,
    LeftToKubelet,
    NodeLost,
    NodesSeen,
    NodeSwapped,
    QuorumLost,
    SteadyLoad,
)
from harness.record.noise_floor import NoiseFloor
from harness.record.observation import Observation
from harness.record.storage_events import StorageChanged
from harness.scenario.plan import Plan, Question

RECORD_VERSION: Final = 2
"""The number of this record format. A judge reads its own number and every older one.

From 2 on lines are numbered, and a record has to hold what its plan requires. A record of format 1 proves neither, and
is judged by what it holds.
"""


class Proves(msgspec.Struct, frozen=True, kw_only=True):
    """Which remedy a run tries, and when: what was advised for a refusal in the run beside it."""

    rule: str
    """the cause of that refusal"""
    mount: str
    questions: tuple[Question, ...]
    """what was refused, and is to be granted"""
    remedy: int
    """the number of the remedy among those of its finding, from 0"""
    words: str
    """what it says"""
    timing: Literal["before", "after"]
    """before: on a fresh copy of the source, before anybody is refused. after: on what refuses already"""
    moment: str
    """the label of the look after which its steps are done"""
    applied: str
    """the label of the look after them"""
    version: str
    """the Vault that serves then"""


class RunStarted(Event, frozen=True, tag="run-started", kw_only=True):
    """What is to be run: the first line of every record."""

    record_version: int
    """the number of the record's format"""
    tool_version: str
    """the release that wrote it"""
    run_id: str
    """names the run in labels, paths and the registry of living runs"""
    scenario_file: str
    """the path as it was given"""
    scenario: dict[str, Any]
    """the scenario as JSON, with its written keys"""
    scenario_lines: dict[str, int] = msgspec.field(default_factory=dict)
    """the line of each part in the scenario's file: "expect/0" -> 17"""
    plan: Plan
    """what is done and asked, fully resolved"""
    command: tuple[str, ...] = ()
    """what repeats this run"""
    strict: bool = False
    """was the run told that latent findings fail it?"""
    prove_remedies: bool = False
    """is what is advised for a refusal to be tried, in runs of its own beside this one?"""
    proves: Proves | None = None
    """what this run tries, if it is such a run"""
    noise_floor: NoiseFloor | None = None
    """what an A -> A rehearsal of its topology saw, where that was asked for"""
    machine: str = ""
    """kernel, architecture and cores, in words"""


class ArtifactUsed(Event, frozen=True, tag="artifact", kw_only=True):
    """A binary or an image that the run is made of."""

    product: str
    version: str
    source: str
    """where it came from, in words"""
    sha256: str
    """of the binary, or the image's id"""
    note: str = ""
    """on what it was believed, or what else there is to say of it"""
    trimmed: str = ""
    """what a build of the release's code leaves out of the release, in words; empty: nothing"""


class PhaseEnded(Event, frozen=True, tag="phase", kw_only=True):
    """A part of the run is over; several may go on at a time."""

    name: str
    """in words, for people"""
    seconds: float


class ClusterUp(Event, frozen=True, tag="cluster-up", kw_only=True):
    """A cluster serves, as the version that was asked for."""

    cluster: str
    """its name in the scenario"""
    version: str
    """what the API server itself answered"""
    issuer: str
    """with which its service account tokens are signed"""
    issuers: tuple[str, ...] = ()
    """all whose tokens it accepts, that one first; empty in older records, where there is no other"""
    served: int = 0
    """how many rehearsals had it before this one. It was emptied of each; but see source-state"""
    publishes_keys: bool = False
    """may anybody read the keys of its tokens, and its discovery document?"""


class SourceState(Event, frozen=True, tag="source-state", kw_only=True):
    """Is how Vault came to be what it is shared with other runs? Then the lines of its making come next."""

    made_by: str = ""
    """the run that made it; this one has its clusters as that one left them, and a copy of its Vault's data"""
    made: float = 0.0
    """when, in seconds since the epoch: so are the lines that come next of earlier times"""
    served: int = 0
    """how many rehearsals began from it before this one"""
    ready: bool = False
    """did a Vault over a copy of it serve already, made ready beside the rehearsal before this one? Where nobody made a
    source state for this one, that Vault was new: initialised and unsealed, and nothing more
    """
    why_not: str = ""
    """why this one, which others agree with, was begun from nothing all the same"""


class ClusterChanged(Event, frozen=True, tag="cluster-changed", kw_only=True):
    """A cluster's API server was started anew over the same data, and serves; after rotate-keys it has one key more, or
    another CA, and after reachable it is where Vault does not look, or where it was.
    """

    cluster: str
    """its name in the scenario"""
    version: str
    """what the API server itself answered"""
    issuers: tuple[str, ...]
    """of its service account tokens: the first signs, the others are accepted"""


class TokenIssued(Event, frozen=True, tag="token-issued", kw_only=True):
    """A service account token came to be. `token` is a keyed hash."""

    token: str
    cluster: str
    subject: str
    """the Kubernetes user it stands for: system:serviceaccount:<namespace>:<name>"""
    purpose: str
    """whose it is: app:<name>, vault, reviewer:<mount>, or <negative probe>:<app>"""
    pod: str = ""
    """the Pod to which it is bound; empty where it is bound to none"""
    pod_uid: str = ""
    jti: str = ""
    issuer: str = ""
    audiences: tuple[str, ...] = ()
    issued: float = 0.0
    """its claim iat, in seconds since the epoch"""
    expires: float = 0.0
    """its claim exp, in seconds since the epoch; 0 where it never expires"""
    algorithm: str = ""
    """with which it is signed, as its header says; empty in older records, where it was RS256"""


class AuthEnabled(OfVault, frozen=True, tag="auth-enabled", kw_only=True):
    """An auth method other than the Kubernetes one was mounted. Of that one, config-written tells it."""

    mount: str
    accessor: str
    """of the auth mount, as Vault's log names it"""
    kind: str
    """the auth method: approle, userpass"""
    version: str
    """the Vault version that mounted it"""


class CredentialsMade(OfVault, frozen=True, tag="credentials-made", kw_only=True):
    """Secrets came to be with which one logs in to a role without a service account. `secret` is a keyed hash."""

    mount: str
    role: str
    secret: str
    """of a secret ID, of a password, or of a client certificate with its key"""
    version: str
    """the Vault version that made or took it"""


class ConfigWritten(OfVault, frozen=True, tag="config-written", kw_only=True):
    """auth/<mount>/config was written."""

    mount: str
    accessor: str
    """of the auth mount, as Vault's log names it"""
    version: str
    """the Vault version that wrote it"""
    token_file: bool
    """was a pod's service account token readable for Vault then?"""
    fields: dict[str, Any]
    """as sent; CA texts and tokens as their hashes"""
    reviewer: str = ""
    """the kind of its token_reviewer_jwt: long-lived (out of a Secret), pod-token or requested; empty where it has
    none, and in older records. The token-issued line for reviewer:<mount> before this one has its Pod and its end"""
    rewritten: bool = False
    """was it written again as it was read? `fields` are then those of them that hold anything"""


class RoleWritten(OfVault, frozen=True, tag="role-written", kw_only=True):
    """A role was written: auth/<mount>/role/<role>, or of userpass auth/<mount>/users/<role>."""

    mount: str
    role: str
    version: str
    """the Vault version that wrote it"""
    fields: dict[str, Any]
    """as sent; passwords are left out"""
    rewritten: bool = False
    """was it written again as it was read?"""


class Rewritten(OfVault, frozen=True, tag="rewritten", kw_only=True):
    """A mount's config or a role was read, and was to be written again as it was shown."""

    mount: str
    role: str = ""
    """empty: the config"""
    version: str
    """the Vault version that was asked"""
    moment: str = ""
    """the label of the moment that comes next"""
    status: int
    """of the write; of the read, where that was refused"""
    error: str = ""
    """in Vault's words, where it was refused"""
    unread: bool = False
    """was the read refused, so that there was nothing to write?"""
    before: dict[str, Any] = msgspec.field(default_factory=dict)
    """as it was read; long texts as their hashes"""
    after: dict[str, Any] = msgspec.field(default_factory=dict)
    """as it was read once it was written; empty where it was not"""


class VaultServing(OfVault, frozen=True, tag="vault-serving", kw_only=True):
    """Vault is unsealed and active."""

    asked: str
    """the version that was put in place"""
    answered: str
    """the version that Vault itself says it is"""
    purpose: str
    """the tag of the step that put it in place; in records of format 1: write config, before, or hop"""
    token_file: bool
    """is a pod's service account token readable for it?"""


class PodReplaced(OfVault, frozen=True, tag="pod-replaced", kw_only=True):
    """Vault's Pod was replaced: the old one's bound token is dead."""

    cluster: str
    """that of the old one"""
    old_pod: str
    old_uid: str
    new_pod: str
    """empty: none came, because Vault is in no cluster any more"""
    new_uid: str


class OldTokenRefused(Event, frozen=True, tag="old-token-refused", kw_only=True):
    """The API server itself refused the replaced Pod's token: no cache accepts it any more."""

    cluster: str
    pod: str
    seconds: float
    """since the Pod was deleted"""


class StepEnded(OfVault, frozen=True, tag="step", kw_only=True):
    """A step of the course after which Vault serves again, or that changed what is beside it, has ended."""

    do: str
    """the step's tag: upgrade, roll-back, snapshot ..."""
    number: int = 0
    """its number in the scenario's `course`, from 1; 0 where the scenario did not write it"""
    position: int = -1
    """its place among the plan's steps, from 0; -1 in older records"""
    version: str
    """the version that serves after it"""
    seconds: float
    """how long it took; of an upgrade and its like from Vault's stop until it is active again"""
    beforehand: float = 0.0
    """seconds that were spent on it besides, beside the steps before it: a snapshot restored into a new Vault"""


class LateWritten(OfVault, frozen=True, tag="late-written", kw_only=True):
    """Something was written only to see whether it is lost by going back."""

    secret: str
    """the API path of a kv-v2 secret"""
    roles: tuple[str, ...]
    """full API paths"""
    apps: tuple[str, ...]
    """whose Vault tokens of the last login are looked up later"""


class Renewals(OfVault, frozen=True, tag="renewals", kw_only=True):
    """What an app that kept running met when it renewed its token while Vault was taken to *version*."""

    app: str
    version: str
    """the version it was taken to"""
    moment: str = ""
    """the label of the moment that comes next; empty in records of format 1, where the version names it"""
    asked: int
    """how often it tried"""
    failures: dict[str, int]
    """how many renewals were not granted, by status, or "no answer\""""
    seconds: float
    """the longest time between two renewals that were granted"""
    beforehand: float = 0.0
    """how much longer that had been, had nothing of the swap been done before Vault was stopped for it"""
    renewed: bool
    """was the last one granted?"""
    last: str = ""
    """what came back at the last, in Vault's words, where that was no grant"""
    refused: int | None = None
    """how many of the failures were refusals and not "not now"; None in older records, whose statuses tell"""

    @property
    def refusals(self) -> int:
        """Return how many renewals were refused. Where the record does not say so, their statuses do."""
        if self.refused is not None:
            return self.refused
        said = ((kind.removeprefix("HTTP "), times) for kind, times in self.failures.items())
        return sum(times for status, times in said if status.isdecimal() and says(int(status)) == "refused")


class MomentBegan(Event, frozen=True, tag="moment", kw_only=True):
    """Every question is asked from here on, until the next moment or the next step."""

    moment: str
    """its label, unique in a record"""
    number: int = -1
    """its number, from 0; -1 in records of format 1"""
    step: int = 0
    """the number of the step in the scenario's `course` after which it comes, from 1; 0: none"""
    version: str
    token_file: bool
    """is a pod's service account token readable for Vault?"""
    versions: dict[str, str] = msgspec.field(default_factory=dict)
    """where there are several Vaults or nodes: what each runs, by its name; `version` is then that of the first"""


class VaultAuditLine(OfVault, frozen=True, tag="vault-audit", kw_only=True):
    """An answer that Vault has audited between the first question of a moment and its last."""

    moment: str
    """the label of the moment in which it was written"""
    entry: dict[str, Any]
    """what of it is evidence: request, error and headers, without bodies"""


class VaultLogLine(OfVault, frozen=True, tag="vault-log", kw_only=True):
    """A line of Vault's log: a warning, an error, or whatever an auth method says."""

    moment: str
    level: str
    module: str
    message: str
    fields: dict[str, Any] = msgspec.field(default_factory=dict)
    """what else stands on the line"""


class ApiAuditLine(Event, frozen=True, tag="api-audit", kw_only=True):
    """A TokenReview as the API server's audit log has it (level Metadata: never a token)."""

    moment: str
    cluster: str
    entry: dict[str, Any]


class ApiLogLine(Event, frozen=True, tag="api-log", kw_only=True):
    """Why an API server did not accept a bearer, in its own words."""

    moment: str
    cluster: str
    message: str


TroubleKind = Literal["died", "silent", "refused", "unreachable", "ours"]


class Trouble(OfVault, frozen=True, tag="trouble", kw_only=True):
    """Something that kept the run from going on."""

    kind: TroubleKind
    """a server died, was silent, refused, could not be reached; ours: it says nothing about a server"""
    during: str
    """in which step, in words"""
    step: str = ""
    """the tag of that step: upgrade, roll-back ...; empty outside the course"""
    position: int = -1
    """the place of that step among the plan's steps, from 0; -1 outside the course, and in older records"""
    after_swap: str = ""
    """the version that had just been put in place, if that is where it broke"""
    message: str
    log: tuple[str, ...] = ()
    """the last lines of the server, or of a fault of this tool"""


class ProofsBegun(Event, frozen=True, tag="proofs-begun", kw_only=True):
    """The remedies of this run's refusals are tried from here on, each in a run of its own."""

    proofs: dict[str, Proves]
    """what each tries, by the directory of its record in `proofs/` beside this record"""


class Kept(Event, frozen=True, tag="kept", kw_only=True):
    """The system was left up when the run ended."""

    hints: tuple[str, ...]
    """how to talk to it, and how to end it"""


class RunEnded(Event, frozen=True, tag="run-ended", kw_only=True):
    """The run came to its end by itself. A record without this line was cut off."""

    left_behind: str = ""
    """what could not be ended or removed, in words; empty: nothing"""


AnyEvent = (
    RunStarted
    | Foretold
    | ArtifactUsed
    | PhaseEnded
    | ClusterUp
    | SourceState
    | ClusterChanged
    | TokenIssued
    | AuthEnabled
    | CredentialsMade
    | ConfigWritten
    | RoleWritten
    | Rewritten
    | VaultServing
    | PodReplaced
    | OldTokenRefused
    | StepEnded
    | LateWritten
    | Renewals
    | NodesSeen
    | LeaderChanged
    | NodeSwapped
    | NodeLost
    | EvictionTried
    | QuorumLost
    | LeftToKubelet
    | SteadyLoad
    | LeasesChanged
    | LeasesSeen
    | AuditSeen
    | StorageChanged
    | DatabaseChanged
    | MomentBegan
    | Observation
    | VaultAuditLine
    | VaultLogLine
    | ApiAuditLine
    | ApiLogLine
    | Trouble
    | ProofsBegun
    | Kept
    | RunEnded
)
