"""An auth mount's config written again: as the step that does it, and as the command that keeps what is there.

A write of a config replaces every field of it, so both write back what a read shows with something changed. A stored
reviewer token is never shown: it is given again, or it is gone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from harness.analysis.record_view import Facts
from harness.analysis.rules.rule import Case
from harness.knowledge import kubernetes_auth
from harness.knowledge.versions import at_least
from harness.scenario import role_spec, topology
from harness.scenario.auth_config import ConfigField
from harness.scenario.course import Look, Serve, WriteConfig, WriteRole
from harness.scenario.role_spec import RoleSpec

KEEP: Final = "keep"
DROP: Final = "drop"

_FLAGS: Final = ("disable_iss_validation", "disable_local_ca_jwt", "use_annotations_as_alias_metadata")
"""Fields that a read shows though nobody sent them: a write that keeps all keeps these, too."""

_PODS_TOKEN: Final = "/var/run/secrets/kubernetes.io/serviceaccount/token"


class Rewrite(msgspec.Struct, frozen=True):
    """A config written again, with something changed."""

    case: Case
    fields: Mapping[str, ConfigField] = {}
    """what is otherwise; "cluster" is that of the mount's cluster"""
    reviewer: str = KEEP
    """keep: the stored token is given again, if there is one. drop: none is given. Else namespace/name of the account
    whose new Secret holds the token to store"""

    def __hash__(self) -> int:
        return hash(self.reviewer)

    def step(self, label: str) -> WriteConfig:
        """Return the write after the look of a *label*, of every field that the config has in the end."""
        held = held_config(self.case.facts, self.case.after.mount, label)
        flags = _shown_flags(self.case.facts, self.case.after.mount, label)
        fields = {name: value for name, value in held.fields.items() if name != "token_reviewer_jwt"}
        fields |= flags | self._changes(label)
        token = self._token(held)
        life = held.reviewer_seconds if token == "requested" else 0
        return WriteConfig(
            mount=held.mount,
            fields=fields | ({"token_reviewer_jwt": token} if token else {}),
            reviewer_seconds=life,
        )

    def command(self, label: str) -> str:
        """Return the command that does it, whole and on one line. No token stands on it."""
        options, said = [], []
        if source := self._token_source(held_config(self.case.facts, self.case.after.mount, label)):
            options.append(f"--rawfile token <({source})")
            said.append("token_reviewer_jwt: $token")
        for name, value in self._changes(label).items():
            if (name, value) == ("kubernetes_ca_cert", "cluster"):
                options.append("--rawfile ca ca.crt")
                said.append("kubernetes_ca_cert: $ca")
            elif (name, value) == ("pem_keys", ("cluster",)):
                options.append("--rawfile key sa.pub")
                said.append("pem_keys: [$key]")
            else:
                said.append(f"{name}: {json.dumps(self._literal(name, value))}")
        path = f"auth/{self.case.after.mount}/config"
        changed = ".data + {" + ", ".join(said) + "}" if said else ".data"
        filtered = " ".join(["jq", *options, f"'{changed}'"])
        return f"vault read -format=json {path} | {filtered} | vault write {path} -"

    def notes(self, label: str) -> str:
        """Return what else it changes than was asked for, and why, as sentences with a blank before them; or ""."""
        beside = {name for name in self._changes(label) if name not in self.fields}
        said = ""
        if "kubernetes_ca_cert" in beside:
            said += " The config has no CA, so it gets that of the API server, from the file ca.crt."
        if "disable_local_ca_jwt" in beside:
            said += (
                " It says disable_local_ca_jwt=true as well, or this version would copy the token of its own Pod into "
                "it, and the reviewer would be another one."
            )
        return said

    def _changes(self, label: str) -> dict[str, ConfigField]:
        """Return all that is otherwise than a read shows: what was asked for, and what that needs beside it."""
        case = self.case
        held = held_config(case.facts, case.after.mount, label)
        changes = dict(self.fields)
        shown = held.fields | _shown_flags(case.facts, case.after.mount, label) | changes
        if not self._token(held) and _would_copy(case.facts, label, held, shown):
            changes["disable_local_ca_jwt"] = shown["disable_local_ca_jwt"] = True
        alone = shown.get("disable_local_ca_jwt") is True or not case.facts.same_cluster(case.after.mount, label)
        if "kubernetes_ca_cert" not in shown and alone:
            changes["kubernetes_ca_cert"] = "cluster"
        return changes

    def _token(self, held: WriteConfig) -> str:
        """Return the kind of the token that is stored in the end, or ""."""
        if self.reviewer == KEEP:
            return str(held.fields.get("token_reviewer_jwt", ""))
        return "" if self.reviewer == DROP else "long-lived"

    def _token_source(self, held: WriteConfig) -> str:
        """Return the command that prints the token to store, or "" where none is."""
        kind, account = self._token(held), self.reviewer
        if not kind:
            return ""
        if kind == "pod-token":
            vault = self.case.facts.vault_at(self.case.after.mount, self.case.after.moment)
            space, _, _ = vault.service_account.partition("/")
            return f"kubectl --namespace {space} exec vault-0 -- cat {_PODS_TOKEN}"
        secret = "SECRET"  # only the operator knows how the one that is stored is called
        if account == KEEP:
            account = self.case.facts.mount(held.mount).reviewer_account or topology.DEFAULT_REVIEWER_ACCOUNT
        else:
            secret = f"{account.partition('/')[2]}-token"
        space, _, name = account.partition("/")
        if kind == "requested":
            return f"kubectl --namespace {space} create token {name} --duration={held.reviewer_seconds}s"
        return token_of_secret(space, secret)

    def _literal(self, name: str, value: ConfigField) -> ConfigField:
        if (name, value) == ("kubernetes_host", "cluster"):
            return "..."
        if (name, value) != ("issuer", "cluster"):
            return value
        token = self.case.facts.token_of(self.case.after)
        return token.issuer if token is not None else "..."


def token_of_secret(space: str, secret: str) -> str:
    """Return the command that prints the token in a Secret."""
    return f"kubectl --namespace {space} get secret {secret} -o jsonpath='{{.data.token}}' | base64 -d"


def held_config(facts: Facts, mount: str, label: str) -> WriteConfig:
    """Return the last write of a mount's config before the look of a *label*, as the course or the topology has it."""
    first = facts.mount(mount)
    found = WriteConfig(mount=mount, fields=first.fields, reviewer_seconds=first.reviewer_seconds)
    for step in facts.steps:
        if isinstance(step, Look) and step.moment.label == label:
            break
        if isinstance(step, WriteConfig) and step.mount == mount:
            found = step
    return found


def held_role(facts: Facts, mount: str, role: str, label: str) -> RoleSpec:
    """Return a role as it is by what was written of it before the look of a *label*: Vault keeps what is not said."""
    found = facts.mount(mount).roles.get(role, role_spec.NO_ROLE)
    for step in facts.steps:
        if isinstance(step, Look) and step.moment.label == label:
            break
        if isinstance(step, WriteRole) and (step.mount, step.role) == (mount, role):
            said = {name: getattr(step.spec, name) for name in RoleSpec.__struct_fields__}
            found = msgspec.structs.replace(found, **{name: one for name, one in said.items() if one is not None})
    return found


def _shown_flags(facts: Facts, mount: str, label: str) -> dict[str, ConfigField]:
    """Return the flags that a read of the config shows then, whoever set them: a rewrite by hand sends them again."""
    read = facts.configs_read.get((mount, label))
    shown: Mapping[str, Any] = read.detail if read is not None else {}
    return {name: shown[name] for name in _FLAGS if isinstance(shown.get(name), bool)}


def _would_copy(facts: Facts, label: str, held: WriteConfig, fields: Mapping[str, ConfigField]) -> bool:
    """Would this write store the Pod's token where none is stored, and so change who reviews?"""
    served = serving(facts, label, held.mount)
    if served is None or fields.get("disable_local_ca_jwt") is True:
        return False
    if not at_least(served.version, kubernetes_auth.KNOWS_DISABLE_LOCAL):
        return False
    then = kubernetes_auth.stored_reviewer(
        served.version, token_file=served.token_file, explicit=False, disable_local=False
    )
    asked = facts.of_mount.get((held.mount, label), ())
    found = next((facts.written_at(seen) for seen in asked), None)
    return then == "frozen" and found is not None and facts.stored_by(found[1]) == ""


def serving(facts: Facts, label: str, mount: str) -> Serve | None:
    """Return the step that put in place the Vault with this *mount* which serves at the look of a *label*."""
    found, vault = None, facts.topology.told_apart(facts.mount(mount).vault)
    for step in facts.steps:
        if isinstance(step, Look) and step.moment.label == label:
            return found
        if isinstance(step, Serve) and step.vault == vault:
            found = step
    return found
