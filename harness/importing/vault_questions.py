"""What a live Vault is asked, by GET alone, and what its answers say; and the smallest policy that answers it all.

No secret's value is asked for. Of configs and roles only known fields are kept, none of which Vault ever gives a
secret in: `token_reviewer_jwt`, `oidc_client_secret`, passwords and secret IDs are returned by no version.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from harness.importing.asking import Answer, Answers, Asking, Question, Round
from harness.importing.installation import MOUNTS, Gap, Installation, MountPart, Seen, VaultPart, only, release_of
from harness.knowledge import vault_policies, versions
from harness.scenario import engine_kinds, mount_kinds
from harness.scenario.engine_kinds import EngineKind

SOURCE: Final = "Vault"

_STATUS: Final = Question("sys/seal-status", bare=True)
_LEADER: Final = Question("sys/leader", bare=True)
_AUTH: Final = Question("sys/auth")
_MOUNTS: Final = Question("sys/mounts")
_RAFT: Final = Question("sys/storage/raft/configuration")
_HISTORY: Final = Question("sys/version-history", listing=True)
_HISTORY_SINCE: Final = "1.10.0"
_TELLS_REVIEWER: Final = "token_reviewer_jwt_set"
"""The field of a config that says whether a reviewer is stored, from 1.16.0 on."""

KNOWN_CONFIG: Final = (*mount_kinds.of(mount_kinds.KUBERNETES).config, *mount_kinds.of(mount_kinds.JWT).config,
                  "oidc_discovery_url", "jwks_url")  # fmt: skip
KNOWN_ROLE: Final = (
    *dict.fromkeys(name for kind in mount_kinds.NAMES for name in mount_kinds.of(kind).role.values()),
    "policies", "ttl", "max_ttl", "period", "num_uses", "bound_cidrs", "bound_claims", "role_type",
    "allowed_policies_glob", "disallowed_policies", "disallowed_policies_glob",
)  # fmt: skip
KNOWN_MADE: Final = {
    name: (*engine_kinds.of(name).fields.values(), *more)
    for name, more in {"database": (), "transit": (), "pki": ("allow_subdomains",)}.items()
}
"""Of what an engine has by name, the fields that are kept, by the kind of engine. A connection is not asked for."""

_RULES: Final = (
    ("sys/auth", "read", "which auth mounts there are"),
    ("sys/mounts", "read", "which secrets engines there are; no secret is read"),
    ("sys/policies/acl/*", "read", "the policies that roles name"),
    ("sys/storage/raft/configuration", "read", "how many nodes there are"),
    ("sys/version-history", "list", "which versions ran here (from 1.10 on)"),
)


def policy(mounts: Iterable[str] = ()) -> str:
    """Return the smallest Vault policy that an import needs, as HCL; *mounts*: of these auth mounts alone.

    Left out, every mount whose path has one segment: a + in a path of a policy stands for one. Lists are granted with a
    slash at the end: up to 1.15 `auth/+/role/+` is asked about them before `auth/+/role` is. Run: 1.4.0 to 1.16.3.
    """
    rules = list(_RULES)
    paths = [mount.strip("/") for mount in mounts]
    if {mount_kinds.TOKEN, "+"} & {*(paths or "+")}:
        rules += [("auth/token/roles/", "list", "names of token roles"), ("auth/token/roles/+", "read", "token roles")]
    for name in KNOWN_MADE:
        has = engine_kinds.of(name).has
        rules += [
            (f"{name}/{has}/", "list", f"names of {has} of {name}, mounted elsewhere: the same with its path"),
            (f"{name}/{has}/+", "read", f"{has} of {name}; never a connection, a secret or a private key"),
        ]
    for path in (one for one in paths or ("+",) if one != mount_kinds.TOKEN):
        rules += [
            (f"auth/{path}/config", "read", f"the config of {_called(path)}; its token is never shown"),
            (f"auth/{path}/role/", "list", "names of roles"),
            (f"auth/{path}/role/+", "read", "roles"),
            (f"auth/{path}/users/", "list", "of userpass: names of users"),
            (f"auth/{path}/users/+", "read", "of userpass: users; never a password"),
        ]
    lines = [
        f'path {json.dumps(path, ensure_ascii=False)} {{ capabilities = ["{may}"] }}  # {why}'
        for path, may, why in rules
    ]
    return "\n".join(lines) + "\n"


def _called(path: str) -> str:
    return "auth mounts with one segment in their path" if path == "+" else f"auth/{path}"


def read(*, tls: bool, only_mounts: Sequence[str] = ()) -> Asking:
    """Ask a Vault; *only_mounts*: of these auth mounts alone. *tls*: is it asked over TLS?"""
    answers = yield [_STATUS, _LEADER]
    status = answers[_STATUS]
    if not status.ok:
        why = f"{status.said}; is a Vault at this address?"
        return Seen(source=SOURCE, gaps=(Gap("everything of Vault", why),), reached=False)
    server = _server(status.body, answers[_LEADER], tls=tls)
    if status.body.get("sealed") or status.body.get("initialized") is False:
        what = "is sealed" if status.body.get("initialized", True) else "is not initialised"
        gap = Gap(MOUNTS, f"Vault {what} and answers nothing else; unseal it, and import again")
        return Seen(source=SOURCE, said=Installation(vault=server), gaps=(gap,))
    reading = _Reading(server, tuple(path.strip("/") for path in only_mounts))
    yield from reading.general()
    yield from reading.mounts()
    yield from reading.roles()
    yield from reading.policies()
    yield from reading.engines()
    return reading.seen()


def _server(body: Mapping[str, Any], leader: Answer, *, tls: bool) -> VaultPart:
    """Return what a Vault says of itself to everybody."""
    shamir = body.get("type") == "shamir"
    return VaultPart(
        version=release_of(str(body.get("version") or "")),
        storage=body.get("storage_type"),
        tls=tls,
        shares=body.get("n") or None,
        threshold=body.get("t") or None,
        seal=body.get("type") if shamir or body.get("type") else None,
        ha=leader.body.get("ha_enabled"),
        identity=body.get("cluster_id"),
    )


class _Reading:
    """What was learned so far of a Vault that is open."""

    def __init__(self, server: VaultPart, wanted: tuple[str, ...]) -> None:
        self.server, self._wanted = server, wanted
        self.gaps: tuple[Gap, ...] = ()
        self.notes: list[str] = []
        self._mounts: dict[str, MountPart] = {}
        self._policies: dict[str, str] = {}
        self._engines: dict[str, str] = {}
        self._made: dict[str, dict[str, dict[str, Any]]] = {}
        self._asked: list[Answer] = []

    def general(self) -> Round:
        """Ask for mounts, engines and members."""
        keeps = self.server.version is None or versions.at_least(self.server.version, _HISTORY_SINCE)
        questions = [_AUTH, _MOUNTS]
        questions += [_RAFT] if self.server.storage == "raft" else []
        questions += [_HISTORY] if keeps else []
        answers = yield questions
        self._asked += [answers[one] for one in questions]
        self._learn_mounts(self._data(answers, _AUTH, "the auth mounts"))
        self._learn_engines(self._data(answers, _MOUNTS, "the secrets engines"))
        changes: dict[str, Any] = {}
        if _RAFT in questions:
            config = self._data(answers, _RAFT, "the raft members").get("config")
            servers = config.get("servers") if isinstance(config, Mapping) else None
            changes["nodes"] = len(servers) if isinstance(servers, list) and servers else None
        if keeps:
            found = self._data(answers, _HISTORY, "which versions ran here", absent=True).get("keys") or ()
            ran = [release for one in found if (release := release_of(str(one)))]
            changes["served"] = tuple(ran) or None
        self.server = msgspec.structs.replace(self.server, **changes)

    def mounts(self) -> Round:
        """Ask for the config and the names of the roles of every mount of a known kind."""
        questions: dict[Question, str] = {}
        for path, mount in self._mounts.items():
            kind = mount_kinds.of(str(mount.type))
            if kind.config:
                questions[Question(f"auth/{path}/config")] = path
            questions[Question(f"auth/{path}/{kind.folder}", listing=True)] = path
        answers = yield list(questions)
        for question, path in questions.items():
            self._asked.append(answers[question])
            if question.listing:
                names = self._data(answers, question, f"the roles of auth/{path}", absent=True).get("keys") or ()
                self._put(path, roles={str(name): {} for name in names})
                if self._mounts[path].type == mount_kinds.TOKEN and not names:
                    del self._mounts[path]  # every Vault has this mount, and most have no role there
            elif data := self._data(answers, question, f"the config of auth/{path}", absent=True):
                self._put(path, config=only(data, KNOWN_CONFIG), reviewer_stored=data.get(_TELLS_REVIEWER))
            elif answers[question].status == 404:
                self.notes.append(f"auth/{path} has no config: nobody can log in there")

    def roles(self) -> Round:
        """Ask for every role."""
        questions: dict[Question, tuple[str, str]] = {}
        for path, mount in self._mounts.items():
            folder = mount_kinds.of(str(mount.type)).folder
            questions |= {Question(f"auth/{path}/{folder}/{name}"): (path, name) for name in mount.roles}
        answers = yield list(questions)
        for question, (path, name) in questions.items():
            self._asked.append(answers[question])
            data = self._data(answers, question, f"role {name} of auth/{path}")
            roles = dict(self._mounts[path].roles)
            if data:
                roles[name] = only(data, KNOWN_ROLE)
            else:
                del roles[name]
            self._put(path, roles=roles)

    def policies(self) -> Round:
        """Ask for the policies that roles name."""
        named = {one for mount in self._mounts.values() for role in mount.roles.values() for one in policies_of(role)}
        questions = {Question(f"sys/policies/acl/{name}"): name for name in sorted(named - {"root", "default"})}
        answers = yield list(questions)
        for question, name in questions.items():
            if answers[question].status == 404:
                self._policies[name] = ""
                continue
            self._asked.append(answers[question])
            text = self._data(answers, question, f"policy {name}").get("policy")
            if isinstance(text, str):
                self._policies[name] = text

    def engines(self) -> Round:
        """Ask for those roles and keys of secrets engines that a policy lets somebody use."""
        rules = {name: list(_rules(name, text)) for name, text in self._policies.items()}
        kinds = {path: engine_kinds.of(kind) for path, kind in self._engines.items() if kind in KNOWN_MADE}
        kinds = {path: kind for path, kind in kinds.items() if any(_touches(one, path) for one in rules.values())}
        listings = {Question(f"{path}/{kind.has}", listing=True): path for path, kind in kinds.items()}
        answers = yield list(listings)
        questions: dict[Question, tuple[str, str]] = {}
        for question, path in listings.items():
            kind = kinds[path]
            for one in self._data(answers, question, f"the {kind.has} of {path}", absent=True).get("keys") or ():
                if any(grants(granting, path, kind, str(one)) for granting in rules.values()):
                    questions[Question(f"{path}/{kind.has}/{one}")] = (path, str(one))
        answers = yield list(questions)
        for question, (path, one) in questions.items():
            if data := self._data(answers, question, f"{one} of {path}"):
                self._made.setdefault(path, {})[one] = only(data, KNOWN_MADE[self._engines[path]])

    def seen(self) -> Seen:
        """Return what was learned, with one sentence for many gaps of one reason."""
        said = Installation(
            vault=self.server,
            mounts=self._mounts,
            policies=self._policies,
            engines=self._engines,
            made=self._made,
        )
        gaps = self.gaps
        if self._asked and all(answer.status == 403 for answer in self._asked):
            why = (
                f"{self._asked[0].said} to every question: the token has expired or was revoked, it is of another "
                "namespace, or it has none of the rights that `rehearse import --policy` prints"
            )
            gaps = (Gap(MOUNTS, why),)
        return Seen(source=SOURCE, said=said, gaps=gaps, notes=tuple(self.notes))

    def _put(self, path: str, **fields: Any) -> None:
        self._mounts[path] = msgspec.structs.replace(self._mounts[path], **fields)

    def _learn_mounts(self, listed: Mapping[str, Any]) -> None:
        passed: list[str] = []
        for raw, about in sorted(listed.items()):
            path, kind = raw.strip("/"), str(about.get("type")) if isinstance(about, Mapping) else ""
            if not raw.endswith("/") or (self._wanted and path not in self._wanted):
                continue
            if kind in mount_kinds.NAMES:
                self._mounts[path] = MountPart(type=kind, accessor=str(about.get("accessor") or "") or None)
            else:
                passed.append(f"auth/{path} ({kind})")
        if passed:
            self.notes.append(f"not imported, because no rehearsal has auth methods of their kind: {', '.join(passed)}")
        for path in self._wanted:
            if listed and path not in self._mounts and not any(f"auth/{path} (" in one for one in passed):
                self.gaps += (Gap(f"auth/{path}", "nothing is mounted there; `vault auth list` says what is"),)

    def _learn_engines(self, listed: Mapping[str, Any]) -> None:
        for raw, about in sorted(listed.items()):
            if not raw.endswith("/") or not isinstance(about, Mapping):
                continue
            kind = str(about.get("type"))
            if kind in ("kv", "generic"):
                kind = f"kv-{(about.get('options') or {}).get('version') or 1}"
            self._engines[raw.strip("/")] = kind

    def _data(self, answers: Answers, question: Question, what: str, *, absent: bool = False) -> Mapping[str, Any]:
        """Return the data of an answer, nothing where it gave none; *absent*: that there is nothing is an answer."""
        answer = answers[question]
        if answer.ok:
            data = answer.body.get("data")
            return data if isinstance(data, Mapping) else answer.body
        if not (absent and answer.status == 404):
            self.gaps += (Gap(what, f"{answer.said}{_advice(answer, question)}"),)
        return {}


def _advice(answer: Answer, question: Question) -> str:
    """Return what would have answered the question."""
    if answer.status == 403:
        return f"; the token needs {'list' if question.listing else 'read'} on {question.path}"
    return ""


def policies_of(role: Mapping[str, Any]) -> list[str]:
    """Return the policies that a role as Vault shows it gives."""
    said = role.get("token_policies") or role.get("policies") or role.get("allowed_policies") or ()
    return [str(one) for one in (said if isinstance(said, list | tuple) else str(said).split(","))]


def grants(rules: Sequence[vault_policies.Rule], path: str, kind: EngineKind, name: str) -> bool:
    """Do *rules*, those of all the policies of a token, let it have a secret made of *name*, and use it?"""
    return all(vault_policies.ruling(rules, f"{path}/{below.format(name)}", may).granted for below, may in kind.asks)


def _touches(rules: Iterable[vault_policies.Rule], path: str) -> bool:
    """May any of *rules* be about something below *path*?"""
    for rule in rules:
        plain = re.split(r"[+*]", rule.path)[0]
        if plain.startswith(f"{path}/") or (plain != rule.path and f"{path}/".startswith(plain)):
            return True
    return False


def _rules(name: str, text: str) -> Sequence[vault_policies.Rule]:
    try:
        return vault_policies.read(name, text)
    except vault_policies.PolicyError:
        return ()
