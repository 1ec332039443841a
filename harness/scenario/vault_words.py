"""The key of a scenario that somebody meant who typed what Vault, Terraform or Kubernetes call it.

Also a key that is right and stands in the wrong part: what belongs to a role is looked for in a role.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final, get_args, get_origin

import msgspec
from pydantic import BaseModel

from harness.scenario import schema, schema_clusters
from harness.scenario.schema import Scenario
from harness.scenario.schema_engines import Engine, EngineRole, TransitKey
from harness.scenario.schema_ways import Through
from harness.scenario.yaml_document import choices, shown

_TOKEN: Final = "whose token it is; the token itself stands in no scenario"

_CHART: Final = "`rehearse import --helm-values FILE` reads the values of Vault's chart"

_CALLED: Final[Mapping[str, tuple[type[BaseModel], str, str]]] = {
    "kubernetes_host": (schema.PluginConfig, "kubernetes_host", "left out, it is that of the mount's cluster"),
    "token_reviewer_jwt": (schema.Mount, "reviewer", _TOKEN),
    "token_reviewer_jwt_wo": (schema.Mount, "reviewer", _TOKEN),
    "token_reviewer_jwt_wo_version": (schema.Mount, "reviewer", _TOKEN),
    "token_reviewer_jwt_set": (schema.Mount, "reviewer", _TOKEN),
    "bound_service_account_names": (schema.Role, "service-accounts", ""),
    "bound_service_account_namespaces": (schema.Role, "namespaces", ""),
    "bound_service_account_namespace_selector": (schema.Role, "namespace-selector", "its labels, without matchLabels"),
    "token_policies": (schema.Role, "policies", ""),
    "token_period": (schema.Role, "period", ""),
    "token_num_uses": (schema.Role, "num-uses", ""),
    "token_explicit_max_ttl": (schema.Role, "explicit-max-ttl", ""),
    "token_no_default_policy": (schema.Role, "no-default-policy", ""),
    "token_bound_cidrs": (schema.Role, "bound-cidrs", ""),
    "token_ttl": (schema.Role, "ttl", ""),
    "token_max_ttl": (schema.Role, "max-ttl", ""),
    "users": (schema.Mount, "roles", "of userpass, its users"),
    "backend": (schema.App, "mount", "and in auth the path is the key itself"),
    "auth_path": (schema.App, "mount", "and in auth the path is the key itself"),
    "mount_path": (schema.App, "mount", "and in auth the path is the key itself"),
    "role_name": (schema.App, "role", "and in roles the name is the key itself"),
    "serviceAccountName": (schema.App, "service-account", "written namespace/name"),
    "service_account_name": (schema.App, "service-account", "written namespace/name"),
    "namespace": (schema.App, "service-account", "written namespace/name"),
    "audiences": (schema.App, "audience", ""),
    "expirationSeconds": (schema.App, "token-expires", "such as 10m"),
    "token_expiration_seconds": (schema.App, "token-expires", "such as 10m"),
    "automountServiceAccountToken": (schema.Vault, "token-file", ""),
    "secret_shares": (schema.Vault, "shares", ""),
    "key_shares": (schema.Vault, "shares", ""),
    "secret_threshold": (schema.Vault, "threshold", ""),
    "key_threshold": (schema.Vault, "threshold", ""),
    "tls_disable": (schema.Vault, "tls", "the other way round"),
    "listener": (schema.Vault, "tls", "whether it speaks TLS; all else of it is the rehearsal's own"),
    "tls_cert_file": (schema.Vault, "tls", "true or false; the certificate is the rehearsal's own"),
    "tls_key_file": (schema.Vault, "tls", "true or false; the certificate is the rehearsal's own"),
    "retry_join": (schema.Vault, "nodes", "how many there are; they join by themselves"),
    "auditStorage": (schema.Vault, "audit", "devices by name"),
    "agentImage": (schema.App, "agent", "its version"),
    "injector": (schema.App, "agent", "the version of the Vault Agent that it injects"),
    "authPath": (schema.App, "mount", "and in auth the path is the key itself"),
    "product": (schema.Vault, "target", "with the product before its version, such as openbao-2.6.2"),
    "vault_version": (schema.Vault, "source", "and target"),
    "kubernetes_version": (schema_clusters.Cluster, "kubernetes", ""),
    "service-account-issuer": (schema_clusters.Cluster, "issuers", "a list, the first of which signs"),
    "service-account-signing-key-file": (schema_clusters.Cluster, "signing-algorithm", "the kind of that key"),
    "serviceAccountIssuer": (schema_clusters.Cluster, "issuers", "a list, the first of which signs"),
}
"""By the word that is typed: the part and the key that were meant, and what else is to be said."""

_IN_ONE_PART: Final[Mapping[tuple[type[BaseModel], str], tuple[str, str]]] = {
    (schema.Vault, "version"): ("source", "and target"),
    (schema.Vault, "image"): ("source", "the version that its tag has, and target"),
    (schema.Vault, "tag"): ("source", "without a v, and target"),
    (schema.Vault, "replicas"): ("nodes", ""),
    (schema.Vault, "ha"): ("nodes", "how many there are"),
    (schema.Vault, "standalone"): ("nodes", "left out, there is one"),
    (schema.Vault, "recovery_shares"): ("shares", ""),
    (schema.Vault, "recovery_threshold"): ("threshold", ""),
    (schema.Vault, "authDelegator"): ("may-review-tokens", ""),
    (schema.Vault, "auth_delegator"): ("may-review-tokens", ""),
    (schema.Vault, "tlsDisable"): ("tls", "the other way round"),
    (schema_clusters.Cluster, "version"): ("kubernetes", ""),
    (schema_clusters.Cluster, "service_account_issuer"): ("issuers", "a list, the first of which signs"),
    (schema.Role, "allowed_policies"): ("policies", "of a token role, those that its tokens have"),
    (schema.Role, "allowed_names"): ("allowed-common-names", ""),
    (schema.App, "auth-path"): ("mount", "and in auth the path is the key itself"),
    (schema.App, "vaultAuthRef"): ("mount", "and in auth the path is the key itself"),
    (schema.App, "secret"): ("reads", "a list of paths, such as secret/web"),
    (schema.App, "secrets"): ("reads", "a list of paths, such as secret/web"),
    (schema.App, "path"): ("reads", "a list of paths, such as secret/web"),
    (schema.App, "paths"): ("reads", "a list of paths, such as secret/web"),
    (schema.App, "username"): ("role", "of userpass, the user"),
    (schema.App, "user"): ("role", "of userpass, the user"),
    (schema.Write, "backend"): ("mount", ""),
    (schema.Write, "path"): ("mount", "without auth/, and what is written there below `config` or beside `role`"),
    (schema.Write, "auth_path"): ("mount", ""),
    (schema.Write, "mount_path"): ("mount", ""),
    (schema.Write, "role_name"): ("role", ""),
    (schema.Write, "name"): ("role", ""),
    (schema.CourseStep, "sleep"): ("wait", "such as 10s"),
    (schema.CourseStep, "pause"): ("wait", "such as 10s"),
    (schema.CourseStep, "downgrade"): ("roll-back", "binary, over the data as they are, or snapshot"),
    (schema.Move, "cluster"): ("to", "the cluster's name, or outside"),
    (schema.Move, "into"): ("to", "the cluster's name, or outside"),
    (schema.Move, "target"): ("to", "the cluster's name, or outside; the version there is `upgrade`"),
    (schema.Move, "destination"): ("to", "the cluster's name, or outside"),
    (schema.Move, "version"): ("upgrade", ""),
    (Engine, "version"): ("kv", ""),
    (Engine, "options"): ("kv", "its version"),
    (Engine, "postgresql"): ("type", "database; the PostgreSQL is one that the rehearsal starts"),
    (EngineRole, "default_ttl"): ("ttl", ""),
    (TransitKey, "key_type"): ("type", ""),
    (Scenario, "server"): ("vault", _CHART),
    (Scenario, "policy"): ("policies", "by name"),
    (Scenario, "audit"): ("vault", "audit, devices by name"),
    (Scenario, "mounts"): ("auth", "by path"),
    (Scenario, "engines"): ("secrets", "by path"),
    (Scenario, "steps"): ("course", ""),
}
"""By the part and the word that is typed in it, where the same word stands for something else elsewhere."""

_UNSAID: Final = Path(__file__).with_name("unsaid.toml")

_NAMES: Final[Mapping[type[BaseModel], str]] = {
    schema_clusters.Cluster: "CLUSTER",
    schema.Mount: "MOUNT",
    schema.Role: "ROLE",
    schema.App: "APP",
}
"""What the entries of a mapping are called in a path."""

_ALIKE: Final[Mapping[type[BaseModel], tuple[type[BaseModel], ...]]] = {schema.Write: (schema.Role, schema.Mount)}
"""Parts that have keys of other parts under the same names."""

_WITHIN_A_VERB: Final = (schema.Nothing, schema.Move, schema.Write)
"""The parts in which somebody may type what is of the whole step."""

_LIKE_ONE_HERE: Final = 0.85
"""How like a key of its own part a word has to be, to be a slip of the pen and not a key of another part."""

_SHOWN: Final = 3


class _Unsaid(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Words that no scenario has, where they are typed, and what a rehearsal does instead: unsaid.toml."""

    parts: tuple[str, ...]
    instead: str
    words: str


def pointer(typed: str, here: type[BaseModel], keys: Mapping[str, str]) -> str:
    """Return, for a key that the part *here* with its *keys* does not have, what was probably meant."""
    plain, (part, key, note) = plainly(typed), _CALLED.get(typed, (None, "", ""))
    if own := _IN_ONE_PART.get((here, typed)):
        part, (key, note) = here, own
    near = difflib.get_close_matches(plain, keys, n=1, cutoff=_LIKE_ONE_HERE)
    note = f": {note}" if note else ""
    if key in keys and (part is here or part in _ALIKE.get(here, ()) or near == [key]):
        return f"it is called `{key}` here{note}"
    if plain in keys:
        return f"it is called `{plain}` here"
    if instead := _instead(plain, here):
        return instead
    if near:
        return choices(near[0], keys)
    if part is not None:
        return f"it is called {_listed([f'{path}.{key}' for path in _paths()[part]])}{note}"
    holders = [part for part in _paths() if plain in _keys(part) or typed in _keys(part)]
    found = [f"{path}.{typed if typed in _keys(part) else plain}" for part in holders for path in _paths()[part]]
    return f"it is a key of another part: {_listed(found)}" if found else choices(typed, keys)


def stands_for(typed: str, here: type[BaseModel], keys: Iterable[str]) -> str:
    """Return which of its *keys* the part *here* has for a word that is none of them; empty where it has none.

    Who typed the word has said what the key says: that the key is missing is no second mistake.
    """
    known, (part, key, _) = {*keys}, _CALLED.get(typed, (None, "", ""))
    if own := _IN_ONE_PART.get((here, typed)):
        return own[0]
    if key in known and (part is here or part in _ALIKE.get(here, ())):
        return key
    near = difflib.get_close_matches(plainly(typed), known, n=1, cutoff=_LIKE_ONE_HERE)
    return near[0] if near else ""


_KEY_VALUE: Final = {"kv-v2": 2, "kv_v2": 2, "kv2": 2, "kv-v1": 1, "kv_v1": 1, "kv1": 1, "generic": 1}
"""What people have for the type of a key-value store, and the version that it is."""


_THROUGH: Final[Mapping[str, Through]] = {
    "active": "leader", "primary": "leader", "follower": "standby", "secondary": "standby", "haproxy": "load-balancer",
    "lb": "load-balancer", "balancer": "load-balancer", "proxy": "load-balancer", "service": "load-balancer",
}  # fmt: skip
"""What people call the ways to a Vault of several nodes."""

_OF_A_NODE: Final = re.compile(r".*-[0-9]+")


def of_value(trail: Sequence[str | int], said: str, allowed: Iterable[str]) -> str:
    """Return what is right where the value at *trail* is *said* to be none of those *allowed*.

    A mount or an engine that no app uses may be of any type, and is named elsewhere.
    """
    if meant := _otherwise_called(trail, said):
        return f"{meant}; {choices('', allowed)}"
    match trail:
        case ("secrets", _, "type") if said in _KEY_VALUE:
            return f"kv: {_KEY_VALUE[said]}, and no type"
        case ("auth", _, "type") if said == "oidc":
            return "jwt: a rehearsal logs in with tokens, and through no browser"
        case ("secrets" | "auth" as section, path, "type"):
            named = shown(f"auth/{path}" if section == "auth" else str(path))
            beside = f"also-mounted: {{{named}: {shown(said)}}}"
            return f"{choices(said, allowed)}; or, of what no app uses, at the top: {beside}"
    return choices(said, allowed)


def _otherwise_called(trail: Sequence[str | int], said: str) -> str:
    match trail:
        case ("apps", _, "through") if said in _THROUGH:
            return _THROUGH[said]
        case ("apps", _, "through") if _OF_A_NODE.fullmatch(said):
            return f"`node: {shown(said)}`, where it asks that one alone"
        case ("course", _, "meanwhile") if said == "start":
            return "`storage: start` as a step before it"
    return ""


def _instead(plain: str, here: type[BaseModel]) -> str:
    """Return what a rehearsal has instead of the word *plain*, written as keys are here, in this part."""
    if here in _WITHIN_A_VERB and plain in _keys(schema.CourseStep):
        return f"`{plain}` stands beside the verb, in the same step, and not within it"
    names = {part.__name__ for part in (here, *_ALIKE.get(here, ()))}
    rows = (row for row in _unsaid() if not row.parts or names & {*row.parts})
    return next((row.instead for row in rows if plain in map(plainly, row.words.split())), "")


@cache
def _unsaid() -> tuple[_Unsaid, ...]:
    return msgspec.toml.decode(_UNSAID.read_bytes(), type=dict[str, tuple[_Unsaid, ...]])["row"]


def meant(typed: str) -> tuple[type[BaseModel], str] | None:
    """Return the part and the key that a word of Vault, Terraform or Kubernetes stands for; None: it is no such."""
    found = _CALLED.get(typed)
    return found[:2] if found is not None else None


def plainly(typed: str) -> str:
    """Return a word as keys are written here: serviceAccountName and service_account_name are service-account-name."""
    return re.sub(r"(?<=[a-z0-9])([A-Z])", lambda found: f"-{found[1]}", typed).replace("_", "-").lower()


def _listed(paths: list[str]) -> str:
    return " or ".join(paths[:_SHOWN]) + (" or …" if len(paths) > _SHOWN else "")


def _keys(part: type[BaseModel]) -> set[str]:
    return {field.alias or name for name, field in part.model_fields.items()}


@cache
def _paths() -> dict[type[BaseModel], list[str]]:
    """Return every part of a scenario but itself, with the paths at which it stands, those of the top first."""
    found: dict[type[BaseModel], list[str]] = {}
    waiting: list[tuple[type[BaseModel], str]] = [(Scenario, "")]
    while waiting:
        part, path = waiting.pop(0)
        for name, field in part.model_fields.items():
            for below, suffix in _parts(field.annotation):
                where = f"{path}.{field.alias or name}{suffix}".lstrip(".")
                found.setdefault(below, []).append(where)
                waiting.append((below, where))
    return found


def _parts(hint: Any, suffix: str = "") -> Iterator[tuple[type[BaseModel], str]]:
    """Yield the parts that a value of type *hint* may have, with what a path says between."""
    if isinstance(hint, type) and issubclass(hint, BaseModel):
        yield hint, suffix
        return
    inner = get_args(hint)
    if get_origin(hint) is dict:
        yield from ((part, f".{_NAMES.get(part, 'NAME')}{more}") for part, more in _parts(inner[1], suffix))
        return
    for one in inner:
        yield from _parts(one, "[N]" if get_origin(hint) is tuple else suffix)
