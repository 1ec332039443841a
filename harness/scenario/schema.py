"""What a scenario can say: topology, versions, who wrote which auth config, who logs in, what is expected.

Written keys use dashes (`service-account`); the literal plugin fields under `config` keep Vault's own spelling.
References between parts (an app's cluster, a mount's role) are checked by `checks`, which knows the lines.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from harness.scenario.outcomes import ProbeName
from harness.scenario.schema_agents import TouchesAgents
from harness.scenario.schema_audit import AuditDevice, DeviceState
from harness.scenario.schema_clock import SetsClocks
from harness.scenario.schema_clusters import Cluster
from harness.scenario.schema_engines import Engine, TouchesDatabase
from harness.scenario.schema_leases import HasLeases, TouchesLeases
from harness.scenario.schema_matrix import Expectation, Matrix
from harness.scenario.schema_roles import (
    JwtConfig,
    RoleBinds,
    RoleCertificates,
    RoleClaims,
    RoleOfTokens,
    RoleSecrets,
    RoleTokens,
    RoleTokensAgain,
)
from harness.scenario.schema_roles import Part as _Part
from harness.scenario.schema_seals import ChangesSeal, SealKind, SealVault, ToSealVault
from harness.scenario.schema_storage import HasStorage, TouchesStorage
from harness.scenario.schema_storms import Storm
from harness.scenario.schema_ways import THROUGH, Through
from harness.scenario.values import (
    Audiences,
    Bindings,
    CaText,
    ClaimValue,
    Duration,
    Host,
    Issuers,
    KeyText,
    LabelKey,
    MountPath,
    MountType,
    Name,
    PolicyName,
    Readable,
    ReviewerKind,
    RoleName,
    SecretPath,
    ServiceAccount,
    Text,
    TextOrNone,
    TokenLife,
    VersionText,
    WrittenValue,
)

SCHEMA = 1
"""The schema number of this release. A scenario with another number is refused."""

_READS = (
    "What else its service account may read in its cluster: namespaces (their labels), service-accounts (their "
    "annotations)."
)


class Vault(HasStorage, HasLeases):
    """The Vault server: where it runs and the path of versions it is taken along."""

    source: VersionText = Field(description="The version in use today.")
    target: VersionText | None = Field(
        default=None,
        description="The version to arrive at, one of OpenBao as openbao-2.6.2. Left out where `course` says what is "
        "done.",
    )
    via: tuple[VersionText, ...] = Field(default=(), description="Versions to stop at in between, oldest first.")
    cluster: Name | None = Field(default=None, description="The cluster whose Pod Vault is; left out: outside any.")
    service_account: ServiceAccount | None = Field(
        default=None, description="namespace/name of Vault's Pod. Left out: vault/vault where Vault is in a cluster."
    )
    may_review_tokens: bool = Field(
        default=True, description="Is Vault's service account bound to system:auth-delegator in its own cluster?"
    )
    may_read: tuple[Readable, ...] = Field(default=(), description=_READS)
    token_file: bool | None = Field(
        default=None,
        description="Has Vault's Pod a service account token mounted, from the source version on? "
        "Left out: yes in a cluster, never outside.",
    )
    nodes: int = Field(
        default=1,
        ge=1,
        le=7,
        description="Nodes over raft, or over one etcd, Consul or PostgreSQL: vault-0, vault-1 ... A hop takes one "
        "by one.",
    )
    shares: int = Field(default=5, ge=1, le=255, description="Unseal key shares.")
    threshold: int = Field(default=3, ge=1, le=255, description="Unseal keys needed.")
    tls: bool = Field(default=True, description="Does Vault's listener speak TLS?")
    disable_mlock: Literal["said", "omitted"] = Field(
        default="said",
        description="Does Vault's configuration say disable_mlock? said: it does, as true. omitted: it does not, so "
        "Vault locks its memory, which takes root or IPC_LOCK; over raft none from 1.20.0 on starts so. On processes "
        "and on paper.",
    )
    seal: SealKind = Field(
        default="shamir",
        description="transit: it is unsealed by the transit engine of `seal-vault`, and shares and threshold are those "
        "of its recovery keys.",
    )
    audit: dict[Name, AuditDevice] = Field(
        default_factory=dict,
        description="Audit devices by name: all that this Vault has. Left out: one file of the rehearsal's own.",
    )


class Configured(_Part):
    """Who last wrote a mount's config: its provenance, on which more depends than on the versions."""

    by: VersionText = Field(description="The Vault version that last wrote auth/<mount>/config.")
    with_token_file: bool | None = Field(
        default=None,
        description="Was a pod's service account token readable at that moment? Left out: as vault.token-file says.",
    )


class PluginConfig(JwtConfig):
    """Literal fields of auth/<mount>/config, in Vault's spelling. What is left out is not sent."""

    kubernetes_host: Host = Field(
        default="cluster",
        description="Where Vault looks for the API server. cluster: at its own address. cluster-http: there, with http "
        "instead of https. proxy: at a reverse proxy before it; proxy-no-audiences: at one that leaves the audiences "
        "out of its answers; proxy-401: at one that answers 401 to service accounts; proxy-html: at one that shows a "
        "page; proxy-reset: at one that resets connections. Or an address at which nobody is, such as "
        "https://gone.invalid. Or https://kubernetes.default.svc: the API server of Vault's own cluster, if any.",
    )
    kubernetes_ca_cert: CaText = Field(
        default="cluster",
        description="cluster: the CA of the mount's cluster, or of the proxy at kubernetes_host. omit: none is sent. "
        "base64: the cluster's, in base64 that nobody decoded. The name of another cluster: that one's. Or a PEM text, "
        "sent as it stands.",
    )
    pem_keys: tuple[KeyText, ...] | None = Field(
        default=None,
        min_length=1,
        description="Keys with which Vault itself checks the signature of tokens. cluster: those of the mount's "
        "cluster. The name of another cluster: those of that one. Or a PEM text. Left out: not sent, and not checked.",
    )
    issuer: Text | None = Field(
        default=None, description="The issuer to demand. 'cluster' means the cluster's own; left out: not sent."
    )
    disable_iss_validation: bool | None = Field(default=None, description="Left out: not sent.")
    disable_local_ca_jwt: bool | None = Field(default=None, description="Left out: not sent.")
    use_annotations_as_alias_metadata: bool | None = Field(
        default=None,
        description="From Vault 1.16.0 on: annotations of the service account become metadata of its alias. The "
        "reviewer must be able to read service accounts. Left out: not sent.",
    )


class Role(RoleCertificates, RoleClaims, RoleSecrets, RoleOfTokens, RoleTokens, RoleBinds):
    """A role of a mount, or a user of userpass: who may log in, and what they get."""


class Mount(_Part):
    """An auth mount: of which kind, which cluster it asks, and how its config came to be."""

    type_: MountType = Field(
        default="kubernetes",
        description="The auth method. approle, userpass and cert have no cluster and no config: the rehearsal makes "
        "their secret IDs, passwords and client certificates. jwt: Vault checks signatures itself. token: at the path "
        "token alone; an app logs in by auth/token/create/ROLE, with a token that may do that and nothing else.",
    )
    cluster: Name | None = Field(
        default=None,
        description="The cluster whose API server reviews the logins, or whose keys sign the tokens of a JWT mount.",
    )
    vault: Name | None = Field(
        default=None, description="The Vault that has this mount, by its name. Left out: the only one, `vault`."
    )
    configured: Configured | None = Field(
        default=None, description="Provenance of the config. Left out: written by the source version."
    )
    reviewer: ReviewerKind | None = Field(
        default=None,
        description="The chosen reviewer: local (Vault's own pod token, read at login), client-jwt (the token that "
        "logs in), or a stored token: secret or long-lived (of a service account, out of a Secret), pod-token (a copy "
        "of the token of Vault's own Pod, taken when the config is written), requested (kubectl create token of a "
        "service account, which ends). Left out: nobody ever chose.",
    )
    reviewer_service_account: ServiceAccount | None = Field(
        default=None,
        description="For secret, long-lived and requested: whose token is stored. Left out: "
        "vault-reviewer/vault-reviewer.",
    )
    reviewer_may_review_tokens: bool = Field(
        default=True,
        description="For secret, long-lived and requested: is that service account bound to system:auth-delegator?",
    )
    reviewer_may_read: tuple[Readable, ...] = Field(
        default=(), description="For secret, long-lived and requested: as may-read of a Vault."
    )
    reviewer_token_life: TokenLife | None = Field(
        default=None, description="For requested: the life asked for the token. Left out: 1h, as kubectl has it."
    )
    config: PluginConfig | None = Field(
        default=None,
        description="The literal plugin config, beside the reviewer. Left out: host, CA and issuer of the cluster and "
        "what the reviewer needs.",
    )
    roles: dict[RoleName, Role] = Field(
        default_factory=dict, description="Roles, or users of userpass, by name: at least one, where it is mounted."
    )
    rewritten_at_each_hop: bool = Field(
        default=False,
        description="After each upgrade, are config and roles written again, as the new version shows them?",
    )
    mounted: bool = Field(
        default=True, description="false: nothing is mounted at this path, and what logs in there is refused."
    )


class App(_Part):
    """An application: it logs in with its service account token, or what else its mount wants, and reads secrets."""

    cluster: Name | None = Field(
        default=None, description="The cluster it runs in. Left out: it has no service account, and needs none."
    )
    service_account: ServiceAccount | None = Field(
        default=None, description="namespace/name of its Pod, where it logs in with a token of that."
    )
    role: RoleName = Field(description="The role it logs in with; of userpass, the user.")
    mount: MountPath | None = Field(default=None, description="The auth mount. Left out: the only one there is.")
    vault: Name | None = Field(default=None, description="The Vault that it asks. Left out: that of its mount.")
    node: Name | None = Field(
        default=None, description="The node of it that it asks, such as `vault-0`. Left out: whichever answers."
    )
    through: Through | None = Field(default=None, description=THROUGH)
    may_review_tokens: bool = Field(
        default=False, description="Is its service account bound to system:auth-delegator? client-jwt needs it."
    )
    may_read: tuple[Readable, ...] = Field(default=(), description="As may-read of a Vault.")
    annotations: dict[LabelKey, Text] = Field(
        default_factory=dict,
        description="Annotations of its service account, such as vault.hashicorp.com/alias-metadata-team.",
    )
    reads: tuple[SecretPath, ...] = Field(default=(), description="Secrets it reads after the login.")
    writes: dict[SecretPath, dict[Text, WrittenValue]] = Field(
        default_factory=dict,
        description="Secrets it writes after that, each with its fields, such as {secret/web: {hosts: [a, b]}}: in "
        "key-value stores. They are there before, so the right it takes is update.",
    )
    audience: Audiences | None = Field(
        default=None,
        description="Audience of its token, or a list of several, as controllers request them; `cluster` stands for "
        "the API server's own. Left out: the API server's own.",
    )
    token: Literal["projected", "secret", "requested", "pod-gone", "minted"] = Field(
        default="projected",
        description="projected: of its Pod, as a kubelet or a controller requests it. secret: out of a Secret, which "
        "never ends. requested: of no Pod, as kubectl create token has it. pod-gone: of a Pod that was deleted before "
        "anything is asked. minted: of no cluster, by an identity provider of the rehearsal's own; its subject is the "
        "app's name, one audience is a text in it as GitLab has it, and several are a list.",
    )
    claims: dict[Text, ClaimValue] = Field(
        default_factory=dict,
        description="Of a minted token: further claims, such as {project: shop}. A list stays a list.",
    )
    token_expires: TokenLife = Field(
        default="1h", description="Life asked for its token, unless that is out of a Secret."
    )
    agent: VersionText | None = Field(
        default=None,
        description="The version of the Vault Agent that logs in for it, as the injector's init container does: at "
        "every look one is started with its token and role, and has to write the Vault token and what it reads. What "
        "the app itself is answered is asked beside it; another stays beside the app. At Kubernetes mounts.",
    )
    storm: Storm | None = Field(
        default=None,
        description="So many Pods of it log in at once, at the end of every look, and what they are answered is "
        "counted. It takes the load generator wrk.",
    )


class Account(_Part):
    """A service account of one of the clusters."""

    cluster: Name | None = Field(default=None, description="Its cluster. Left out: the only one there is.")
    service_account: ServiceAccount = Field(description="namespace/name.")


class SecretOf(_Part):
    """A Secret with a long-lived service account token."""

    reviewer: MountPath | None = Field(default=None, description="The auth mount whose stored reviewer's Secret it is.")
    app: Name | None = Field(default=None, description="Or the app whose token is out of a Secret.")


class ConfigOrRole(_Part):
    """What most writes say."""

    mount: MountPath | None = Field(default=None, description="The auth mount. Left out: the only one there is.")
    config: PluginConfig | None = Field(
        default=None, description="The literal plugin config. Left out, with a reviewer: host, CA and issuer as well."
    )
    reviewer: ReviewerKind | None = Field(
        default=None, description="The reviewer to choose, as in `auth`. Left out: none is chosen."
    )
    reviewer_token_life: TokenLife | None = Field(
        default=None, description="For a requested reviewer: the life asked for its token. Left out: 1h."
    )
    role: RoleName | None = Field(
        default=None, description="The role to write instead of the config, as `auth` has it."
    )
    service_accounts: Bindings | None = Field(default=None, description="The role's, instead of those in `auth`.")
    namespaces: Bindings | None = Field(default=None, description="The role's, instead of those in `auth`.")
    policies: tuple[PolicyName, ...] | None = Field(default=None, description="The role's, instead of those in `auth`.")
    audience: TextOrNone | None = Field(default=None, description="Instead of that in `auth`. Empty: it is taken away.")
    ttl: Duration | None = Field(default=None, description="The role's, instead of that in `auth`.")
    max_ttl: Duration | None = Field(default=None, description="The role's, instead of that in `auth`.")


class Write(RoleCertificates, RoleClaims, RoleSecrets, RoleOfTokens, RoleTokensAgain, ConfigOrRole):
    """What is written into an auth mount by the version that serves then: its whole config, or one role."""


class Move(_Part):
    """Vault moves: it is stopped, its data go along, and it starts in another place."""

    to: Name = Field(description="The cluster whose Pod it is then; outside: it is in none.")
    upgrade: VersionText | None = Field(default=None, description="The version there. Left out: it stays.")
    service_account: ServiceAccount | None = Field(
        default=None, description="namespace/name of Vault's Pod there. Left out: vault/vault, in a cluster."
    )
    may_review_tokens: bool = Field(
        default=True, description="Is that service account bound to system:auth-delegator in the cluster?"
    )
    may_read: tuple[Readable, ...] = Field(default=(), description="As may-read of a Vault.")
    token_file: bool | None = Field(
        default=None, description="Has Vault's Pod a service account token mounted there? Left out: yes in a cluster."
    )


class Nothing(_Part):
    """An empty mapping: there is nothing to choose."""


class CourseStep(TouchesLeases, ChangesSeal, TouchesStorage, TouchesDatabase, TouchesAgents, SetsClocks):
    """One step of a course: one verb. Every change is followed by all questions, unless `then-look` is false."""

    upgrade: VersionText | None = Field(default=None, description="Vault's next version, over the same data.")
    restart: Nothing | None = Field(default=None, description="The same version again; Vault's Pod is replaced.")
    replace_pod: Literal["vault"] | None = Field(default=None, description="Vault's Pod is replaced, nothing else.")
    move: Move | None = Field(
        default=None, description="Vault moves with its data, into a Pod, out of it, or to another cluster."
    )
    write: Write | None = Field(default=None, description="A config or a role is written by the version that serves.")
    rewrite: MountPath | None = Field(
        default=None, description="The config and roles of this auth mount are written again, as they are read."
    )
    grant: Account | None = Field(default=None, description="An account is bound to system:auth-delegator.")
    revoke: Account | None = Field(default=None, description="An account's binding to system:auth-delegator goes.")
    delete_secret: SecretOf | None = Field(default=None, description="A Secret is deleted, and its token dies.")
    snapshot: Nothing | None = Field(default=None, description="A snapshot of Vault's data is taken.")
    restore: Nothing | None = Field(default=None, description="The last snapshot is restored; the version stays.")
    roll_back: Literal["binary", "snapshot"] | None = Field(
        default=None,
        description="Back: the binary of `source` over the data as they are, or the last snapshot and its version.",
    )
    upgrade_kubernetes: dict[Name, VersionText] | None = Field(
        default=None,
        min_length=1,
        description="The next Kubernetes version of clusters, by their names: another API server over the same data "
        "and with the same keys. The version that it has: its API server is started anew.",
    )
    set_issuers: dict[Name, Issuers] | None = Field(
        default=None,
        min_length=1,
        description="Other issuers of clusters, by their names: the first signs from then on, the others are accepted, "
        "and tokens of any other are not. Apps come with new tokens then; what was copied or runs keeps its own.",
    )
    publish_keys: dict[Name, bool] | None = Field(
        default=None,
        min_length=1,
        description="true: from then on anybody may read the keys of a cluster and its discovery document. false: "
        "service accounts alone.",
    )
    rotate_keys: dict[Name, Literal["signing", "ca"]] | None = Field(
        default=None,
        min_length=1,
        description="signing: clusters, or `provider`, sign tokens with another key, and apps come with such; the old "
        "one is accepted still. ca: an API server has a certificate of another CA, which is in Vault's Pod at once.",
    )
    reachable: dict[Name, bool] | None = Field(
        default=None,
        min_length=1,
        description="false: nobody answers Vault any more where the API server of a cluster was. true: it is back.",
    )
    step_down: Nothing | None = Field(default=None, description="The node that leads gives that up, to another one.")
    stop_node: Name | None = Field(default=None, description="A node, such as `vault-2`, is stopped; its data stay.")
    start_node: Name | None = Field(default=None, description="A stopped node starts, as the version that it ran.")
    remove_node: Name | None = Field(default=None, description="A node is removed from the others (remove-peer).")
    join_node: Name | None = Field(default=None, description="A removed node joins the others anew, its data wiped.")
    look: Nothing | None = Field(default=None, description="All questions are asked once more.")
    wait: Duration | None = Field(default=None, description="Nothing is done for this long.")
    seal_vault: ToSealVault | None = Field(
        default=None,
        description="To the Vault that unseals the other one: it is sealed or unsealed, its server is stopped or "
        "started, or the token that it knows the other one by ends; new-token: the other's next start has a new one.",
    )
    audit_device: dict[Name, DeviceState] | None = Field(
        default=None,
        min_length=1,
        description="To audit devices, by their names: full (the disk of a file), away (nobody listens), silent "
        "(somebody listens, and takes and reads nothing), well (none of it any more), disable, enable.",
    )
    vault: Name | None = Field(default=None, description="The Vault it concerns. Left out: the only one, `vault`.")
    node: Name | None = Field(
        default=None,
        description="For upgrade, restart, replace-pod and roll-back: the only node it concerns, such as `vault-0`. "
        "Left out: all.",
    )
    order: Literal["standbys-first", "leader-first", "rolling-update"] | None = Field(
        default=None,
        description="For upgrade, restart, replace-pod and roll-back of a Vault of several nodes: which are taken "
        "first. rolling-update: the one with the highest number, and so on down, whoever leads, as a StatefulSet does "
        "whose updateStrategy is RollingUpdate; on kind it does. Left out: the standbys, and the leader last.",
    )
    then_look: bool = Field(default=True, description="Are all questions asked after this step, if it is a change?")


class Scenario(_Part):
    """A question about one upgrade, with all that is needed to ask it."""

    schema_: Literal[1] = Field(description="The number of this format.")
    description: Text = Field(description="The question, and what a reader learns from the answer.")
    clusters: dict[Name, Cluster] = Field(default_factory=dict, description="Kubernetes clusters by name, if any.")
    vault: Vault
    seal_vault: SealVault | None = Field(default=None, description="The Vault that unseals the other one.")
    auth: dict[MountPath, Mount] = Field(min_length=1, description="Auth mounts by path.")
    apps: dict[Name, App] = Field(min_length=1, description="Apps by name.")
    course: tuple[CourseStep, ...] | None = Field(
        default=None,
        min_length=1,
        description="What is done after the first look, step by step, instead of vault's `via` and `target`.",
    )
    policies: dict[PolicyName, Text] = Field(
        default_factory=dict,
        description="Vault policies as HCL or JSON. Left out: each that a role names lets its apps read their reads "
        "and write their writes. Where one is written, all that roles name have to be.",
    )
    secrets: dict[MountPath, Engine] = Field(
        default_factory=dict,
        description="Secrets engines by path. Where no key-value store is among them, there is kv-v2 at secret, too.",
    )
    also_mounted: dict[MountPath, Name] = Field(
        default_factory=dict,
        description="What else is mounted, with its type, such as {auth/old: app-id, old-db: mysql}: does it answer?",
    )
    probes: tuple[ProbeName, ...] | None = Field(default=None, min_length=1, description="Left out: all of them.")
    strict: bool = Field(
        default=False, description="Do latent findings fail the run, and answers that were not foretold?"
    )
    matrix: Matrix | None = Field(
        default=None, description="Variants, which `rehearse matrix` rehearses; `rehearse run` does not."
    )
    expect: tuple[Expectation, ...] | None = Field(
        default=None, description="The findings that must come, and no others. Left out: no answer gets worse."
    )
