"""A scenario's topology with every default filled in, once: what hands build and what judges read.

It stands in the record, so a record outlives the schema of scenarios. A record of format 1 has the scenario alone:
`recorded` reads the topology out of that, with the defaults that schema 1 had when those records were written.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from harness.scenario import auth_config, engine_kinds, mount_kinds, places
from harness.scenario.app_spec import BALANCER, AppSpec, app_spec, subject_of
from harness.scenario.audit_spec import DeviceSpec, devices
from harness.scenario.auth_config import ConfigField
from harness.scenario.engine_kinds import Engine, EngineSpec
from harness.scenario.mount_kinds import KUBERNETES, MountKind
from harness.scenario.places import Place
from harness.scenario.role_spec import NO_ROLE, RoleSpec, role_spec
from harness.scenario.schema import Scenario

MAIN: Final = "vault"
"""The name of the only Vault of a scenario that has one."""

SEAL: Final = "seal-vault"
"""The name of the Vault that unseals the other one."""

TRANSIT: Final = "transit"

DEFAULT_REVIEWER_ACCOUNT: Final = "vault-reviewer/vault-reviewer"

SECRETS: Final = "secret"
"""Where the key-value store is that a scenario has which names none."""

KV_V2: Final = 2

ISSUER: Final = "https://kubernetes.default.svc.cluster.local"
"""kubeadm's default, the same in every cluster, as in real life: clusters differ by their keys, not by their name."""


RS256: Final = "RS256"
"""With which an API server signs whose key is one of RSA, as kubeadm makes it."""


class ClusterSpec(msgspec.Struct, frozen=True):
    """One Kubernetes cluster: its version, such as 1.32.0, and how many nodes it has."""

    kubernetes: str
    nodes: int = 1
    namespace_labels: dict[str, dict[str, str]] = {}
    issuers: tuple[str, ...] = (ISSUER,)
    """of its service account tokens: the first signs, the others are accepted; `address` is where it answers"""
    publishes_keys: bool = False
    """may anybody read the keys of its tokens, and its discovery document?"""
    signing_algorithm: str = RS256
    """with which its service account tokens are signed; its key is of the kind that this wants"""


class VaultSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One Vault: where it runs, and over what."""

    product: str = "vault"
    nodes: int = 1
    cluster: str = ""
    """the cluster whose Pod it is; empty: outside any"""
    service_account: str = ""
    """namespace/name of its Pod's account; empty where it is outside any cluster"""
    may_review_tokens: bool = True
    may_read: tuple[str, ...] = ()
    """what its account may read besides: namespaces, service-accounts"""
    token_file: bool = False
    """has its Pod a service account token mounted, from the source version on?"""
    storage: str = "raft"
    etcd_members: int = 1
    """so many has the etcd that is its storage"""
    shares: int = 5
    threshold: int = 3
    tls: bool = True
    disable_mlock: str = "said"
    """or omitted: its configuration does not say it"""
    seal: str = "shamir"
    """or transit: it is unsealed by the transit engine of the Vault that `of_seals`"""
    of_seals: bool = False
    """is it there to unseal the other one? Then no app logs in to it"""
    source: str = ""
    """the version in use today"""
    leases: int = 0
    """so many leases are there before the upgrade"""
    audit: dict[str, DeviceSpec] = {}
    """its audit devices by name; none: the rehearsal has one of its own, a file"""
    max_receive_size: int | None = None
    """bytes: the largest answer that it takes from etcd; None: what the version has by itself"""
    later: tuple[Place, ...] = ()
    """where it moves in the course, in order"""

    def at(self, place: Place) -> VaultSpec:
        """Return this Vault as it is once it has moved to a *place*."""
        return msgspec.structs.replace(self, **msgspec.structs.asdict(place))

    @property
    def homes(self) -> tuple[str, ...]:
        """Return every cluster whose Pod it is at some time, in order."""
        return tuple(dict.fromkeys(one for one in (self.cluster, *(place.cluster for place in self.later)) if one))

    @property
    def subject(self) -> str:
        """Return the Kubernetes user of its Pod, or nothing where it has none."""
        return subject_of(self.service_account) if self.service_account else ""


class MountSpec(msgspec.Struct, frozen=True, kw_only=True):
    """An auth mount: of which kind, whom it asks, how its config came to be, and its roles."""

    kind: str = KUBERNETES
    """the auth method; of older records Kubernetes"""
    cluster: str = ""
    """the cluster that it asks, or whose tokens it takes; empty: none"""
    vault: str = MAIN
    written_by: str
    """the Vault version that last wrote its config"""
    with_token_file: bool
    """was a pod's token readable at that moment?"""
    fields: dict[str, ConfigField]
    reviewer: str = ""
    """the chosen one: local, client-jwt, long-lived (out of a Secret), pod-token or requested; empty: nobody chose"""
    reviewer_seconds: int = 0
    """the life asked for a requested token; 0 for other kinds"""
    stored_kinds: tuple[str, ...] = ()
    """every kind of stored reviewer that a config of this mount has at the start or in the course"""
    reviewer_account: str = ""
    """namespace/name of the account whose token is stored, at the start or in the course; empty where none is"""
    reviewer_may_review_tokens: bool = True
    reviewer_may_read: tuple[str, ...] = ()
    roles: dict[str, RoleSpec]
    rewritten_at_each_hop: bool = False
    mounted: bool = True
    """false: nothing is there, and it has no config and no role"""

    @property
    def of_kind(self) -> MountKind:
        """Return what a mount of its kind has."""
        return mount_kinds.of(self.kind)

    @property
    def reviewer_subject(self) -> str:
        """Return the Kubernetes user whose token is stored as reviewer, or nothing where none is."""
        return subject_of(self.reviewer_account) if self.reviewer_account else ""


class Topology(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is there before the first step."""

    clusters: dict[str, ClusterSpec]
    vaults: dict[str, VaultSpec]
    mounts: dict[str, MountSpec]
    apps: dict[str, AppSpec]
    policies: dict[str, str]
    """the Vault policies that the scenario writes, as HCL"""
    engines: dict[str, Engine] = msgspec.field(default_factory=lambda: {SECRETS: KV_V2})
    """the secrets engines by path: of a key-value store its version"""
    also_mounted: dict[str, str] = {}
    """what else is mounted, by its path, with its type"""

    @property
    def vault(self) -> VaultSpec:
        """Return the Vault of a scenario that has one, or else the first."""
        return next(iter(self.vaults.values()))

    def name_of(self, vault: str) -> str:
        """Return the name of a Vault, which may be left out (empty) where there is one. Raises KeyError for others."""
        name = vault or next(iter(self.vaults))
        if name not in self.vaults:
            raise KeyError(name)
        return name

    def named(self, vault: str) -> VaultSpec:
        """Return a Vault by its name, as `name_of` has it."""
        return self.vaults[self.name_of(vault)]

    def vault_at(self, mount: str) -> VaultSpec:
        """Return the Vault at which there is this auth mount."""
        return self.vaults[self.mounts[mount].vault]

    @property
    def has_storms(self) -> bool:
        """Do many Pods of an app log in at once? Then Vault's listener talks to whoever comes over TLS."""
        return any(app.storm is not None for app in self.apps.values())

    @property
    def has_balancer(self) -> bool:
        """Does any app ask its Vault through a load balancer?"""
        return any(app.through == BALANCER for app in self.apps.values())

    @property
    def talks_to_us_alone(self) -> bool:
        """May Vault's listener turn away whoever does not show a certificate of the rehearsal's own?"""
        return self.vault.tls and not self.shows_certificates("") and not self.has_storms

    def shows_certificates(self, vault: str) -> bool:
        """Does anybody log in to a Vault by a client certificate? Then its listener talks to whoever has one."""
        name = self.name_of(vault)
        return any(mount.vault == name and mount.of_kind.by_certificate for mount in self.mounts.values())

    @property
    def seal_vault(self) -> str:
        """Return the name of the Vault that unseals others; nothing where there is none."""
        return next((name for name, one in self.vaults.items() if one.of_seals), "")

    def told_apart(self, vault: str) -> str:
        """Return what records call a Vault: its name, or nothing where it is the only one that apps log in to."""
        name = self.name_of(vault)
        of_apps = [one for one in self.vaults if not self.vaults[one].of_seals]
        return "" if of_apps == [name] else name

    def mounts_of(self, vault: str) -> dict[str, MountSpec]:
        """Return the auth mounts of a Vault by their paths: those that are there."""
        name = self.name_of(vault)
        return {path: mount for path, mount in self.mounts.items() if mount.vault == name and mount.mounted}

    def nodes_of(self, vault: str) -> tuple[str, ...]:
        """Return the names of a Vault's nodes, as a StatefulSet would name its Pods: vault-0, vault-1 ..."""
        return tuple(node_name(self.name_of(vault), number) for number in range(self.named(vault).nodes))

    def node_told_apart(self, vault: str, node: str) -> str:
        """Return what records call a node of a Vault: its name, or nothing where it is the only one."""
        return node if self.named(vault).nodes > 1 else ""

    def pod_purposes(self, vault: str) -> tuple[str, ...]:
        """Return the purposes of the tokens of a Vault's own Pods, a node each: that of vault-0 is `vault`."""
        return tuple(pod_purpose(node) for node in self.nodes_of(vault))

    def role_of(self, app: str) -> RoleSpec:
        """Return the role that *app* logs in with."""
        entry = self.apps[app]
        mount = self.mounts[entry.mount]
        return mount.roles[entry.role] if mount.mounted else NO_ROLE

    def data_path(self, secret: str) -> str:
        """Return the API path of a secret: in kv-v2 at secret, secret/web is read at secret/data/web."""
        return self.asks(secret)[0][0]

    def asks(self, secret: str) -> tuple[tuple[str, str], ...]:
        """Return what an app asks of Vault to get a secret and to use it: API paths, each with the right it takes."""
        engine = self.engine_of(secret)
        below = secret.removeprefix(engine).lstrip("/")
        match self.engines.get(engine):
            case EngineSpec() as made:
                name = made.of_kind.of(below)
                return tuple((f"{engine}/{path.format(name)}", right) for path, right in made.of_kind.asks)
            case version if version == KV_V2:
                return ((f"{engine}/data/{below}", "read"),)
        return ((secret, "read"),)

    def written(self, app: str, secret: str) -> tuple[str, dict[str, Any]]:
        """Return what *app* sends to write a *secret*: the API path, and the body."""
        fields = self.apps[app].writes[secret]
        wrapped = self.engines.get(self.engine_of(secret)) == KV_V2
        return self.data_path(secret), {"data": fields} if wrapped else fields

    def maker_of(self, secret: str) -> EngineSpec | None:
        """Return the engine that makes *secret* as it is asked for; None where it is in a key-value store."""
        made = self.engines.get(self.engine_of(secret))
        return made if isinstance(made, EngineSpec) else None

    @property
    def stores(self) -> dict[str, int]:
        """Return the key-value stores by path: the version of each."""
        return {path: one for path, one in self.engines.items() if isinstance(one, int)}

    @property
    def makers(self) -> dict[str, EngineSpec]:
        """Return the other secrets engines by path: those that make secrets as they are asked for."""
        return {path: one for path, one in self.engines.items() if isinstance(one, EngineSpec)}

    @property
    def needs_database(self) -> bool:
        """Is there an engine that gives out credentials of a PostgreSQL?"""
        return any(one.kind == engine_kinds.DATABASE for one in self.makers.values())

    def engine_of(self, secret: str) -> str:
        """Return the path of the secrets engine that *secret* is in, or nothing where there is none."""
        return engine_of(secret, self.engines)

    @property
    def late_secret(self) -> str:
        """Return the secret that is written so that its loss is seen."""
        return f"{SECRETS if SECRETS in self.stores else next(iter(self.stores))}/rehearsal-late"


class Expected(msgspec.Struct, frozen=True, kw_only=True, rename="kebab", omit_defaults=True):
    """One finding that a scenario expects, with its keys as they are written in a scenario; None: any."""

    change: str
    app: str | None = None
    at: str | None = None
    at_step: int | None = None
    cause: str | None = None
    because: str | None = None


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What a scenario asks for, beside what it describes."""

    description: str
    strict: bool = False
    expect: tuple[Expected, ...] | None = None
    """None: nothing is said, and no answer is to get worse"""


def node_name(vault: str, number: int) -> str:
    """Return the name of a node of a Vault, from 0."""
    return f"{vault}-{number}"


def engine_of(secret: str, engines: Iterable[str]) -> str:
    """Return the longest of the paths of *engines* that *secret* is below, or nothing where it is below none."""
    return max((path for path in engines if secret.startswith(f"{path}/")), key=len, default="")


def pod_purpose(node: str) -> str:
    """Return the purpose of the token of a Vault node's own Pod: vault, or vault:<node>."""
    return "vault" if node == node_name(MAIN, 0) else f"vault:{node}"


def of(asked: Scenario) -> Topology:
    """Return the topology of a scenario."""
    return recorded(asked.model_dump(mode="json", by_alias=True))


def asked_of(document: Mapping[str, Any]) -> Asked:
    """Return what the scenario that *document* holds as plain data asks for."""
    expect = document.get("expect")
    return Asked(
        description=str(document.get("description", "")),
        strict=bool(document.get("strict")),
        expect=None if expect is None else tuple(msgspec.convert(expect, list[Expected])),
    )


def recorded(document: Mapping[str, Any]) -> Topology:
    """Return the topology that a scenario of schema 1 describes, from its plain data as it stands in a record.

    What an older release did not write yet has the default of that release. Raises KeyError or msgspec.ValidationError
    where the data are no scenario.
    """
    course = document.get("course") or ()
    vault = _vault(document["vault"], [move for step in course if (move := step.get("move"))])
    mounts = {
        path: _mount(mount, vault, _kinds_written(course, path, document["auth"]))
        for path, mount in document["auth"].items()
    }
    return Topology(
        clusters={
            name: ClusterSpec(
                one["kubernetes"],
                one.get("nodes", 1),
                one.get("namespace-labels") or {},
                tuple(one.get("issuers") or (ISSUER,)),
                one.get("publishes-keys", False),
                one.get("signing-algorithm", RS256),
            )
            for name, one in document["clusters"].items()
        },
        vaults={MAIN: vault} | ({SEAL: _seal_vault(unsealer)} if (unsealer := document.get(SEAL)) else {}),
        mounts=mounts,
        apps={name: app_spec(app, mounts) for name, app in document["apps"].items()},
        policies=dict(document.get("policies") or {}),
        engines=_engines(document.get("secrets") or {}),
        also_mounted=dict(document.get("also-mounted") or {}),
    )


def _engines(written: Mapping[str, Mapping[str, Any]]) -> dict[str, Engine]:
    found = {path: engine_kinds.engine(one) for path, one in written.items()}
    stores = any(isinstance(one, int) for one in found.values())
    return found if stores else {SECRETS: KV_V2, **found}


def _vault(written: Mapping[str, Any], moves: Sequence[Mapping[str, Any]]) -> VaultSpec:
    found = VaultSpec(
        nodes=written.get("nodes", 1),
        later=tuple(places.moved_to(one) for one in moves),
        storage=written.get("storage", "raft"),
        etcd_members=written.get("etcd-members", 1),
        shares=written.get("shares", 5),
        threshold=written.get("threshold", 3),
        tls=written.get("tls", True),
        seal=written.get("seal", "shamir"),
        disable_mlock=written.get("disable-mlock", "said"),
        source=written["source"],
        leases=written.get("leases", 0),
        max_receive_size=written.get("max-receive-size"),
        audit=devices(written.get("audit") or {}),
    )
    return found.at(places.read(written, written.get("cluster")))


def _seal_vault(written: Mapping[str, Any]) -> VaultSpec:
    storage = written.get("storage", "file")
    return VaultSpec(source=written["source"], storage=storage, shares=1, threshold=1, of_seals=True)


def _kinds_written(course: Sequence[Mapping[str, Any]], path: str, mounts: Mapping[str, Any]) -> list[str]:
    """Return the kinds of reviewer that a course writes into the mount at *path*."""
    writes = [write for step in course if (write := step.get("write"))]
    return [write.get("reviewer") or "" for write in writes if (write.get("mount") or next(iter(mounts))) == path]


def _mount(written: Mapping[str, Any], vault: VaultSpec, in_course: Sequence[str]) -> MountSpec:
    provenance = written.get("configured") or {}
    file = provenance.get("with-token-file")
    reviewer = auth_config.kind_of_reviewer(written.get("reviewer"))
    kinds = dict.fromkeys((reviewer, *map(auth_config.kind_of_reviewer, in_course)))
    stored = any(kind in auth_config.OF_ACCOUNT for kind in kinds)
    kind = mount_kinds.of(written.get("type") or KUBERNETES)
    return MountSpec(
        kind=kind.name,
        cluster=written.get("cluster") or "",
        vault=written.get("vault") or MAIN,
        written_by=provenance.get("by") or vault.source,
        with_token_file=vault.token_file if file is None else file,
        fields=auth_config.fields_of(kind, written.get("cluster") or "", reviewer, written.get("config")),
        reviewer=reviewer,
        reviewer_seconds=auth_config.reviewer_life(reviewer, written.get("reviewer-token-life")),
        stored_kinds=tuple(kind for kind in kinds if kind in auth_config.STORED),
        reviewer_account=(written.get("reviewer-service-account") or DEFAULT_REVIEWER_ACCOUNT) if stored else "",
        reviewer_may_review_tokens=written.get("reviewer-may-review-tokens", True),
        reviewer_may_read=tuple(written.get("reviewer-may-read") or ()),
        roles={name: role_spec(role, kind.name) for name, role in (written.get("roles") or {}).items()},
        rewritten_at_each_hop=written.get("rewritten-at-each-hop", False),
        mounted=written.get("mounted", True),
    )
