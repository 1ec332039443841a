"""What `terraform show -json` says of a plan or a state becomes an installation; secrets in it are never kept.

Read are formats 0.x and 1.x of a state (`values`) and of a plan (`planned_values`), and the state file itself (version
4). Resources are known by their types: an attribute that a release of the provider has not is one that nobody said.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from harness.importing.installation import Gap, Installation, MountPart, Seen, only
from harness.importing.vault_questions import KNOWN_CONFIG, KNOWN_MADE, KNOWN_ROLE
from harness.scenario import mount_kinds
from harness.scenario.mount_kinds import JWT, KUBERNETES, TOKEN

LARGEST: Final = 64 * 1024 * 1024

_ROLES: Final = {
    "vault_kubernetes_auth_backend_role": (KUBERNETES, "role_name"),
    "vault_jwt_auth_backend_role": (JWT, "role_name"),
    "vault_approle_auth_backend_role": ("approle", "role_name"),
    "vault_token_auth_backend_role": (TOKEN, "role_name"),
}
"""Types of resources that are roles: of which kind of mount, and the attribute with the name."""

_MADE: Final = {
    "vault_database_secret_backend_role": "database",
    "vault_pki_secret_backend_role": "pki",
    "vault_transit_secret_backend_key": "transit",
}
"""Types of resources that a secrets engine has by name, each with the kind of engine."""

_CONFIGS: Final = {"vault_kubernetes_auth_backend_config": KUBERNETES, "vault_jwt_auth_backend": JWT}
_BACKEND: Final = {KUBERNETES: "kubernetes", JWT: "jwt", "approle": "approle", TOKEN: TOKEN}
"""The path of a mount where a resource names none: the provider's default."""

Attributes = Mapping[str, Any]


class Resource(msgspec.Struct, frozen=True):
    """A resource with what is known of it."""

    type: str
    address: str
    values: dict[str, Any]


def read(source: str, text: str) -> Seen:
    """Return what the JSON *text* of *source* says. What cannot be read is a gap, and never raised."""
    called = f"Terraform {source}"
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        why = "it is no JSON: `terraform show -json FILE > OUT.json` writes some of a plan or a state"
        return _nothing(called, why)
    if not isinstance(document, dict):
        return _nothing(called, "it is JSON, and neither a plan nor a state of Terraform")
    if "encrypted_data" in document or {"meta", "encryption_version"} & set(document):
        return _nothing(called, "it is encrypted: `terraform show -json` (or `tofu show -json`) shows it decrypted")
    found = resources(document)
    if found is None:
        return _nothing(called, "it is neither a plan nor a state of Terraform: `terraform show -json` writes both")
    reading = _Reading(called)
    for one in found:
        reading.take(one)
    return reading.seen()


def _nothing(called: str, why: str) -> Seen:
    return Seen(source=called, gaps=(Gap(f"everything of {called}", why),), reached=False)


def resources(document: Mapping[str, Any]) -> list[Resource] | None:
    """Return the resources of a plan, of a state, or of a state file; None where it is none of these."""
    for key in ("planned_values", "values"):
        if isinstance(document.get(key), dict):
            return list(_of_module(document[key].get("root_module")))
    if document.get("version") == 4 and isinstance(document.get("resources"), list):
        return list(_of_state_file(document["resources"]))
    return [] if "format_version" in document else None


def _of_module(module: Any) -> Iterator[Resource]:
    if not isinstance(module, dict):
        return
    for one in module.get("resources") or ():
        if isinstance(one, dict) and one.get("mode", "managed") == "managed" and isinstance(one.get("values"), dict):
            yield Resource(str(one.get("type")), str(one.get("address")), one["values"])
    for child in module.get("child_modules") or ():
        yield from _of_module(child)


def _of_state_file(listed: Sequence[Any]) -> Iterator[Resource]:
    for one in listed:
        if not isinstance(one, dict) or one.get("mode", "managed") != "managed":
            continue
        address = ".".join(str(one[key]) for key in ("module", "type", "name") if one.get(key))
        for instance in one.get("instances") or ():
            if isinstance(instance, dict) and isinstance(instance.get("attributes"), dict):
                yield Resource(str(one.get("type")), address, instance["attributes"])


class _Reading:
    """What was found so far."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._mounts: dict[str, dict[str, Any]] = {}
        self._policies: dict[str, str] = {}
        self._engines: dict[str, str] = {}
        self._made: dict[str, dict[str, dict[str, Any]]] = {}
        self._notes: list[str] = []
        self._gaps: list[Gap] = []
        self._passed: dict[str, int] = {}

    def take(self, one: Resource) -> None:
        """Learn what a resource says, if it is one of Vault's."""
        if one.type in _CONFIGS:
            self._config(one, _CONFIGS[one.type])
        elif one.type in _ROLES:
            self._role(one, *_ROLES[one.type])
        elif one.type in _MADE:
            self._of_engine(one, _MADE[one.type])
        elif one.type == "vault_auth_backend":
            self._backend(one)
        elif one.type == "vault_policy":
            self._policy(one)
        elif one.type == "vault_mount":
            self._engine(one)
        elif one.type.startswith("vault_"):
            self._passed[one.type] = self._passed.get(one.type, 0) + 1

    def seen(self) -> Seen:
        """Return what was found."""
        if self._passed:
            listed = ", ".join(f"{count} {kind}" for kind, count in sorted(self._passed.items()))
            self._notes.append(f"{self._source} has resources that no rehearsal has: {listed}")
        for path, about in self._mounts.items():
            if "type" not in about:
                about["type"] = KUBERNETES
            if about["type"] not in mount_kinds.NAMES:
                self._notes.append(f"auth/{path} is of type {about['type']}, which no rehearsal has")
        mounts = {
            path: MountPart(**about) for path, about in self._mounts.items() if about["type"] in mount_kinds.NAMES
        }
        if not (mounts or self._policies or self._engines):
            self._gaps.append(Gap(f"everything of {self._source}", "it has no resource of Vault's auth methods in it"))
        said = Installation(mounts=mounts, policies=self._policies, engines=self._engines, made=self._made)
        reached = bool(mounts or self._policies or self._engines)
        return Seen(source=self._source, said=said, gaps=tuple(self._gaps), notes=tuple(self._notes), reached=reached)

    def _mount(self, path: Any, kind: str | None = None) -> dict[str, Any] | None:
        """Return what is known of a mount; None where its path is only known once it is applied."""
        if not isinstance(path, str) or not path.strip("/"):
            return None
        about = self._mounts.setdefault(path.strip("/"), {})
        if kind is not None:
            about.setdefault("type", kind)
        return about

    def _backend(self, one: Resource) -> None:
        if self._mount(one.values.get("path") or one.values.get("type"), one.values.get("type")) is None:
            self._unknown(one, "path")

    def _config(self, one: Resource, kind: str) -> None:
        path = one.values.get("path" if kind == JWT else "backend", _BACKEND[kind])
        about = self._mount(path, str(one.values.get("type") or kind) if kind == JWT else kind)
        if about is None:
            self._unknown(one, "backend")
            return
        about["config"] = {name: value for name, value in only(one.values, KNOWN_CONFIG).items() if value != ""}
        if kind == KUBERNETES:
            # what is written into state once is known; that nothing is says nothing of what Vault copied for itself
            given = one.values.get("token_reviewer_jwt") or one.values.get("token_reviewer_jwt_wo_version")
            about["reviewer_stored"] = True if given else None

    def _role(self, one: Resource, kind: str, named: str) -> None:
        about = self._mount(one.values.get("backend", _BACKEND[kind]), kind)
        name = one.values.get(named)
        if about is None or not isinstance(name, str):
            self._unknown(one, named)
            return
        about.setdefault("roles", {})[name] = only(one.values, KNOWN_ROLE)

    def _policy(self, one: Resource) -> None:
        name, text = one.values.get("name"), one.values.get("policy")
        if isinstance(name, str) and isinstance(text, str):
            self._policies[name.lower()] = text
        else:
            self._unknown(one, "policy")

    def _engine(self, one: Resource) -> None:
        path, kind = one.values.get("path"), one.values.get("type")
        if not isinstance(path, str) or not isinstance(kind, str):
            self._unknown(one, "path")
            return
        options = one.values.get("options") or {}
        if kind in ("kv", "kv-v2", "generic"):
            version = "2" if kind == "kv-v2" else options.get("version") or "1"
            kind = f"kv-{version}"
        self._engines[path.strip("/")] = kind

    def _of_engine(self, one: Resource, kind: str) -> None:
        path, name = one.values.get("backend"), one.values.get("name")
        if not isinstance(path, str) or not isinstance(name, str):
            self._unknown(one, "backend" if isinstance(name, str) else "name")
            return
        self._engines.setdefault(path.strip("/"), kind)
        self._made.setdefault(path.strip("/"), {})[name] = only(one.values, KNOWN_MADE[kind])

    def _unknown(self, one: Resource, what: str) -> None:
        self._gaps.append(Gap(f"{one.address} of {self._source}", f"its {what} is only known once it is applied"))
