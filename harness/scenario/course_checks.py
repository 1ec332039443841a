"""What a scenario's course says that cannot be: the steps are walked in order, with the version that serves at each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from dataclasses import field as made
from typing import Final, get_args

from harness.knowledge import versions
from harness.scenario import auth_config, field_checks, places, references, schema, topology
from harness.scenario.field_checks import Complaint
from harness.scenario.yaml_document import Document, Trail, choices, shown, where

_VERBS: Final = (
    "upgrade", "restart", "replace-pod", "move", "write", "rewrite", "grant", "revoke", "delete-secret", "snapshot",
    "restore", "roll-back", "upgrade-kubernetes", "set-issuers", "publish-keys", "rotate-keys", "reachable",
    "step-down", "stop-node", "start-node", "remove-node", "join-node", "look", "wait", "seal-vault", "revoke-leases",
    "audit-device", "agent-sink", "storage", "database", "clock",
)  # fmt: skip
OUT_OF_SECRET: Final = {"secret", "long-lived"}
"""The kinds of reviewer whose token lives in a Secret."""

_OF_ROLES: Final = tuple(field.alias or name for name, field in schema.Role.model_fields.items())


def _value_of(verb: str) -> str:
    """Return what stands after a verb, as a remedy."""
    field = next(one for name, one in schema.CourseStep.model_fields.items() if (one.alias or name) == verb)
    return f"{verb}: {{}}" if schema.Nothing in get_args(field.annotation) else f"{verb}: {field.description}"


def verb_of(document: Document, index: int) -> str:
    """Return the verb of a step of the course, or nothing where it has none or several."""
    verbs = [verb for verb in _VERBS if document.given("course", index, verb)]
    return verbs[0] if len(verbs) == 1 else ""


def upgrades(document: Document) -> list[tuple[Trail, str]]:
    """Return the versions to which the course upgrades, as far as they are sound, each with where it stands.

    Those of a Vault that only unseals another one are not among them.
    """
    verbs = (("upgrade",), ("move", "upgrade"))
    own = [n for n in range(_length(document)) if document.get("course", n, "vault") != topology.SEAL]
    trails = [("course", index, *verb) for index in own for verb in verbs]
    return [(trail, version) for trail in trails if (version := document.get(*trail)) is not None]


def moves(document: Document) -> list[Trail]:
    """Return where the course moves Vault."""
    trails: list[Trail] = [("course", index, "move") for index in range(_length(document))]
    return [trail for trail in trails if document.given(*trail)]


def complaints(document: Document) -> Iterator[Complaint]:
    """Yield what is wrong with the course, or with its absence."""
    if document.left_out("course"):
        if document.left_out("vault", "target") and document.sound("vault"):
            message = "missing key `target` in vault: nothing says where the upgrade goes"
            yield ("vault", "target"), message, "target: the version to arrive at, or a course of steps"
        return
    for key in ("target", "via"):
        if document.given("vault", key):
            message = f"`{key}` and `course` exclude each other: a course names every version itself"
            yield ("vault", key), message, "one of the two"
    source = document.get("vault", "source")
    home = None if not document.sound("vault", "cluster") else document.get("vault", "cluster", default="")
    walk = _Walk(document, source, home, token_file(document))
    for index in range(_length(document)):
        yield from walk.step(index)


def kinds_of(document: Document, mount: str) -> set[str]:
    """Return every kind of reviewer that the config of a mount has, at the start or once the course wrote it."""
    kinds, mounts = {document.get("auth", mount, "reviewer")}, document.get("auth", default={}) or {}
    for index in range(_length(document)):
        write = ("course", index, "write")
        only = next(iter(mounts)) if len(mounts) == 1 else None
        if document.get(*write, "mount", default=only) == mount:
            kinds.add(document.get(*write, "reviewer"))
    return kinds - {None}


def contradictions(document: Document, trail: Trail) -> Iterator[Complaint]:
    """Yield where a reviewer by name, what belongs to it, and a literal config below *trail* contradict each other."""
    reviewer, disable = document.get(*trail, "reviewer"), document.get(*trail, "config", "disable_local_ca_jwt")
    field = (*trail, "config", "disable_local_ca_jwt")
    if reviewer == "client-jwt" and disable is False:
        yield field, "the reviewer client-jwt is chosen by disable_local_ca_jwt: true", "true, or leave it out"
    if reviewer == "local" and disable:
        yield (
            field,
            "with disable_local_ca_jwt Vault does not review with its own token, as local says",
            "one of the two",
        )
    if document.given(*trail, "reviewer-token-life") and document.sound(*trail, "reviewer") and reviewer != "requested":
        message = "reviewer-token-life is of use to a requested reviewer only"
        yield (*trail, "reviewer-token-life"), message, "reviewer: requested as well"


def no_token_to_copy(document: Document, token_file: Trail) -> str:
    """Return why the token of Vault's Pod cannot be copied into a config, or nothing where it can."""
    if document.left_out("vault", "cluster"):
        return "a Vault outside any cluster has no token of its Pod to copy"
    if document.get(*token_file) is False:
        return f"no token of Vault's Pod was there to copy when this config was written: {where(token_file)} is false"
    return ""


def token_file(document: Document) -> bool | None:
    """Return whether Vault's Pod has a service account token mounted; None where nobody knows."""
    trail = ("vault", "token-file")
    if not document.sound(*trail):
        return None
    told: bool | None = document.get(*trail)
    return told if told is not None else not document.left_out("vault", "cluster")


def _length(document: Document) -> int:
    steps = document.get("course", default=()) or ()
    return len(steps) if isinstance(steps, (list, tuple)) else 0


@dataclass(slots=True)
class _Walk:
    """How far the course has come."""

    document: Document
    version: str | None
    """the one that serves; None where it is not known"""
    home: str | None
    """the cluster whose Pod Vault is; empty: it is in none; None where that is not known"""
    token_file: bool | None
    """has that Pod a token file? None where that is not known"""
    upgraded: bool = False
    """is the version another one than the source, or than that of the last way back?"""
    went_on: bool = False
    """was anything upgraded at all?"""
    snapshot: str | None = None
    """the version at which the last snapshot was taken"""
    snapshots: int = 0
    written: dict[tuple[str, str | None], list[Trail]] = made(default_factory=dict)
    """where each role was written, by its mount and name"""
    kept: dict[tuple[str, str | None], list[Trail]] = made(default_factory=dict)
    """the same, as the last snapshot has it"""
    nodes: dict[str, str | None] = made(default_factory=dict)
    """what each node runs that was taken by itself since all of them were"""
    revoked: int = 0
    """so many leases"""
    deleted: set[tuple[str, str | None]] = made(default_factory=set)
    """the Secrets that are gone, each by its key and whose it is"""

    def step(self, index: int) -> Iterator[Complaint]:
        """Yield what is wrong with a step, and take it."""
        trail, verb = ("course", index), verb_of(self.document, index)
        if not verb:
            known = all(self.document.sound(*trail, one) for one in _VERBS)  # else it is typed under another name
            written = self.document.get(*trail, default={}) or {}
            said = [one for one in _VERBS if self.document.given(*trail, one)]
            empty = next((one for one in _VERBS if one in written), "") if known and not said else ""
            if empty:
                yield (*trail, empty), f"step {index + 1} says {empty}, and nothing after it", _value_of(empty)
            elif known:
                message = f"step {index + 1} has {'no verb' if not said else 'several verbs: ' + ', '.join(said)}"
                yield trail, message, f"one of: {', '.join(_VERBS)}"
            return
        if self.document.get(*trail, "vault") == topology.SEAL:
            return  # `seal_checks` walks with that one
        check = {
            "upgrade": self._upgrade,
            "replace-pod": self._replace_pod,
            "move": self._move,
            "write": self._write,
            "rewrite": self._rewrite,
            "grant": self._account,
            "revoke": self._account,
            "delete-secret": self._delete_secret,
            "snapshot": self._snapshot,
            "restore": self._restore,
            "roll-back": self._roll_back,
            "revoke-leases": self._revoke_leases,
        }.get(verb)
        if check is not None:
            yield from check((*trail, verb))

    def _upgrade(self, trail: Trail) -> Iterator[Complaint]:
        to, node = self.document.get(*trail), self.document.get(*trail[:-1], "node")
        serves = self.nodes.get(node, self.version) if node else self.version
        if to is not None and serves is not None:
            if versions.parse(to) == versions.parse(serves):
                yield trail, f"{versions.called(to)} serves already", "restart: {}, or a newer version"
            elif versions.parse(to) < versions.parse(serves):
                message = f"{versions.called(to)} is older than {serves}, from which it is reached"
                yield trail, message, "a newer version, or roll-back: binary or snapshot"
        if node:
            self.nodes[node] = to
        else:
            self.version, self.nodes = to, {}
        self.upgraded, self.went_on = True, True

    def _replace_pod(self, trail: Trail) -> Iterator[Complaint]:
        if self.home == "":
            yield trail, "a Vault outside any cluster has no Pod", "restart: {}, or cluster in vault"

    def _move(self, trail: Trail) -> Iterator[Complaint]:
        to, clusters = self.document.get(*trail, "to"), self.document.get("clusters", default={})
        if clusters is not None and places.OUTSIDE in clusters and to == places.OUTSIDE:
            message = "a cluster is called outside, and so nobody can tell whether Vault moves into it or out of all"
            yield (*trail, "to"), message, "another name for the cluster"
        elif to is not None and clusters is not None and to not in (*clusters, places.OUTSIDE):
            remedy = choices(to, clusters) + "; or outside, for no cluster"
            yield (*trail, "to"), f"there is no cluster {shown(to)}", remedy
        there = "" if to == places.OUTSIDE else to
        if there is not None and there == self.home:
            where_now = f"in cluster {there}" if there else "outside any cluster"
            yield (*trail, "to"), f"Vault is {where_now} already", "another place, or restart: {}"
        if there == "":
            for key in ("service-account", "may-read", "token-file", "may-review-tokens"):
                if self.document.get(*trail, key) and self.document.given(*trail, key):
                    message = f"`{key}` is of a Vault in a Pod, and this one moves out of any"
                    yield (*trail, key), message, "leave it out, or name a cluster"
        if self.document.given(*trail, "upgrade"):
            yield from self._upgrade((*trail, "upgrade"))
        told = self.document.get(*trail, "token-file")
        known = there is not None and self.document.sound(*trail, "token-file")
        self.home, self.token_file = there, None if not known else told if told is not None else there != ""

    def _roll_back(self, trail: Trail) -> Iterator[Complaint]:
        over = self.document.get(*trail)
        if not (self.upgraded or (over == "snapshot" and self.went_on)):
            yield trail, "nothing was upgraded before this step", "an upgrade before it"
        if over == "snapshot":
            if not self.snapshots:
                yield trail, "no snapshot was taken before this step", "snapshot: {} before the upgrade"
            self.version = self.snapshot
            self.written = {role: [*trails] for role, trails in self.kept.items()}
        else:
            self.version = self.document.get("vault", "source")
        self.upgraded = False

    def _snapshot(self, _trail: Trail) -> Iterator[Complaint]:
        self.snapshot, self.snapshots = self.version, self.snapshots + 1
        self.kept = {role: [*trails] for role, trails in self.written.items()}
        yield from ()

    def _restore(self, trail: Trail) -> Iterator[Complaint]:
        if not self.snapshots:
            yield trail, "no snapshot was taken before this step", "snapshot: {} before it"
        self.written = {role: [*trails] for role, trails in self.kept.items()}

    def _revoke_leases(self, trail: Trail) -> Iterator[Complaint]:
        wanted, there = self.document.get(*trail), self.document.get("vault", "leases", default=0)
        if wanted is None or there is None:
            return
        left = there - self.revoked
        if left <= 0:
            message = "there are no leases to revoke" if not there else f"all {there} leases are revoked by then"
            yield trail, message, "leases: 1000 in vault, or no such step"
        elif wanted != "all" and not 0 < wanted <= left:
            yield trail, f"{wanted} leases cannot be revoked: there are {left} by then", f"1 to {left}, or all"
        self.revoked = there if wanted == "all" else self.revoked + wanted

    def _account(self, trail: Trail) -> Iterator[Complaint]:
        cluster = yield from references.the_one(
            self.document, trail, "cluster", self.document.get("clusters", default={})
        )
        account = self.document.get(*trail, "service-account")
        there = _accounts(self.document, cluster)
        if cluster is not None and account is not None and account not in there:
            message = f"nobody in cluster {cluster} has the service account {shown(account)}"
            yield (*trail, "service-account"), message, choices(account, there)

    def _chosen(self, trail: Trail) -> Iterator[Complaint]:
        """Complain of a reviewer that this write cannot choose."""
        reviewer = self.document.get(*trail, "reviewer")
        yield from contradictions(self.document, trail)
        remedy = "reviewer: secret or requested, or a Vault with a token file"
        if reviewer == "pod-token" and self.home == "":
            yield (*trail, "reviewer"), "a Vault outside any cluster has no token of its Pod to copy", remedy
        elif reviewer == "pod-token" and self.token_file is False:
            yield (
                (*trail, "reviewer"),
                "no token of Vault's Pod was there to copy: token-file is false",
                remedy,
            )
        elif reviewer == "local" and self.home == "":
            message = "a Vault outside any cluster has no token of its own to review with"
            yield (*trail, "reviewer"), message, "reviewer: secret or client-jwt, or a move into a cluster before it"

    def _delete_secret(self, trail: Trail) -> Iterator[Complaint]:
        said = [key for key in ("reviewer", "app") if self.document.given(*trail, key)]
        if len(said) != 1:
            if self.document.sound(*trail):
                message = f"{where(trail)} {'names nobody' if not said else 'names two Secrets'}"
                yield trail, message, "reviewer: an auth mount, or app: an app whose token is out of a Secret"
            return
        trail = (*trail, said[0])
        name = self.document.get(*trail)
        if name is not None and (said[0], name) in self.deleted:
            yield trail, f"an earlier step has deleted the Secret of {shown(name)} already", "one of the two steps"
            return
        self.deleted.add((said[0], name))
        yield from self._whose_secret(trail, said[0])

    def _whose_secret(self, trail: Trail, key: str) -> Iterator[Complaint]:
        """Complain of a Secret that nobody has."""
        section, what = ("auth", "auth mount") if key == "reviewer" else ("apps", "app")
        name = yield from references.known(self.document, trail, self.document.get(section), what)
        if name is None or not self.document.sound(section, name):
            return
        if key == "app" and self.document.get("apps", name, "token", default="projected") != "secret":
            yield trail, f"the token of {shown(name)} is that of its Pod, out of no Secret", "token: secret in that app"
        elif key == "reviewer" and not OUT_OF_SECRET & kinds_of(self.document, name):
            message = f"auth/{shown(name)} has no reviewer out of a Secret"
            yield trail, message, "reviewer: secret in that mount, or in a write to it"

    def _write(self, trail: Trail) -> Iterator[Complaint]:
        name = yield from references.the_one(self.document, trail, "mount", self.document.get("auth"))
        if name is not None:
            yield from self._written(trail, name)

    def _rewrite(self, trail: Trail) -> Iterator[Complaint]:
        name = yield from references.known(self.document, trail, self.document.get("auth"), "auth mount")
        if name is None:
            return
        kind = self.document.get("auth", name, "type", default="kubernetes")
        if self.document.get("auth", name, "mounted", default=True) is False:
            yield trail, f"nothing is mounted at auth/{shown(name)}", "a mount that is there"
        elif kind != "kubernetes":
            message = f"auth/{shown(name)} is of the kind {kind}, and only a Kubernetes mount is written as it is read"
            yield trail, message, "a Kubernetes auth mount"

    def _written(self, trail: Trail, mount: str) -> Iterator[Complaint]:
        if self.document.given(*trail, "role"):
            yield from self._written_role(trail, mount)
        else:
            yield from self._written_config(trail)

    def _written_role(self, trail: Trail, mount: str) -> Iterator[Complaint]:
        given = self.document.given
        role, roles = self.document.get(*trail, "role"), self.document.get("auth", mount, "roles")
        if role is not None and roles is not None and role not in roles:
            yield (*trail, "role"), f"auth.{mount} has no role {shown(role)}", choices(role, roles)
        for key in ("config", "reviewer", "reviewer-token-life"):
            if given(*trail, key):
                yield (*trail, key), f"a step writes a config or a role, and `{key}` is of a config", "two steps"
        if (writer := self._writer()) is not None:
            earlier = self.written.setdefault((mount, role), [("auth", mount, "roles", str(role))])
            yield from field_checks.of_role(self.document, trail, writer, earlier)
            earlier.append(trail)

    def _written_config(self, trail: Trail) -> Iterator[Complaint]:
        given = self.document.given
        yield from self._chosen(trail)
        for key in _OF_ROLES:
            if given(*trail, key):
                yield (*trail, key), f"`{key}` is of a role, and none is named", "role: its name"
        if (writer := self._writer()) is not None:
            yield from field_checks.of_config(self.document, trail, writer)

    def _writer(self) -> field_checks.Writer | None:
        """Return who writes at this step, as far as that is known."""
        if self.version is None:
            return None
        return field_checks.Writer(self.version, self.token_file, at_start=False)


def _accounts(document: Document, cluster: str | None) -> list[str]:
    """Return the accounts, written namespace/name, that somebody of the scenario has in *cluster*."""
    found = []
    if document.get("vault", "cluster") == cluster:
        found.append(document.get("vault", "service-account", default=places.DEFAULT_ACCOUNT))
    here_then = [move for move in moves(document) if document.get(*move, "to") == cluster]
    found += [document.get(*move, "service-account", default=places.DEFAULT_ACCOUNT) for move in here_then]
    for mount in document.entries("auth"):
        if document.get(*mount, "cluster") == cluster and kinds_of(document, str(mount[-1])) & {
            *auth_config.OF_ACCOUNT
        }:
            account = document.get(*mount, "reviewer-service-account", default=topology.DEFAULT_REVIEWER_ACCOUNT)
            found.append(account)
    here = (app for app in document.entries("apps") if document.get(*app, "cluster") == cluster)
    found += [document.get(*app, "service-account") for app in here]
    return list(dict.fromkeys(account for account in found if account))
