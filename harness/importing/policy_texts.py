"""The policies and key-value stores of an installation, as a scenario has them, and what they let apps read."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, Final

import msgspec

from harness.importing.installation import Installation
from harness.importing.naming import Names, fits
from harness.importing.vault_questions import policies_of
from harness.knowledge import vault_policies
from harness.scenario.yaml_document import LONGEST_TEXT, Trail

_NOBODYS: Final = ("root", "default")
_EMPTY: Final = "# {why}: nothing is granted by it here"
_KV: Final = {"kv-1": 1, "kv-2": 2}


class Policies(msgspec.Struct, frozen=True, kw_only=True):
    """What a scenario says of policies and engines; nothing, where names are replaced or no policy was read."""

    texts: dict[str, str] = {}
    engines: dict[str, Any] = {}
    comments: dict[Trail, list[str]] = {}

    def readable(self, policies: Iterable[str]) -> str | None:
        """Return a secret that these policies together let somebody read, as people name it."""
        rules = [
            rule for name in policies if name in self.texts for rule in vault_policies.read(name, self.texts[name])
        ]
        for rule in rules:
            secret = self._secret(rule.path)
            if secret and vault_policies.ruling(rules, rule.path, "read").granted:
                return secret
        return None

    def _secret(self, path: str) -> str | None:
        if not fits("mount", path):
            return None
        for engine, about in self.engines.items():
            part = path.removeprefix(f"{engine}/") if path.startswith(f"{engine}/") else ""
            if about["kv"] == 2:
                part = part.removeprefix("data/") if part.startswith("data/") else ""
            if part:
                return f"{engine}/{part}"
        return None


def of(said: Installation, names: Names) -> Policies:
    """Return the policies of all roles, and the key-value stores, of an installation."""
    wanted = {one for mount in said.mounts.values() for role in mount.roles.values() for one in policies_of(role)}
    wanted -= set(_NOBODYS)
    if names.redacts or not wanted:
        return Policies()
    if not said.policies:
        unread = "NOT READ: the policies of roles. Each is assumed to exist; what it grants is not asked."
        return Policies(comments={("apps",): [unread]})
    texts: dict[str, str] = {}
    comments: dict[Trail, list[str]] = {}
    for policy in sorted(wanted):
        name = names.of("policy", policy)
        texts[name], why = _text(policy, said.policies.get(policy, said.policies.get(policy.lower())))
        told = names.told("policy", policy)
        notes = [*([f"In Vault it is {told}."] if told else []), *([why] if why else [])]
        if notes:
            comments["policies", name] = notes
    engines: dict[str, Any] = {
        path: {"kv": _KV[kind]} for path, kind in sorted(said.engines.items()) if kind in _KV and fits("mount", path)
    }
    left = sorted(path for path, kind in said.engines.items() if kind in _KV and path not in engines)
    if left and engines:
        comments["secrets",] = [f"Left out, because a scenario has no such paths: {', '.join(left)}."]
    return Policies(texts=texts, engines=engines, comments=comments)


def _text(name: str, text: str | None) -> tuple[str, str]:
    """Return the text of a policy, and what is worth knowing of it."""
    if text is None:
        return _EMPTY.format(why="not read"), "NOT READ: this policy."
    if not text.strip():
        return _EMPTY.format(why="there is none"), "A role names it, and Vault has no policy of this name."
    try:
        rules = vault_policies.read(name, text)
    except vault_policies.PolicyError as error:
        return _EMPTY.format(why="not understood"), f"NOT READ: this policy cannot be read here: {error}."
    if len(text) > LONGEST_TEXT or not text.replace("\n", "").isprintable():
        text = "\n".join(_rule(rule) for rule in rules)
        if len(text) > LONGEST_TEXT:
            return _EMPTY.format(why="too long"), "NOT READ: this policy is longer than a scenario takes."
        return text, "Shortened to its paths and capabilities."
    return text, ""


def _rule(rule: vault_policies.Rule) -> str:
    listed = ", ".join(json.dumps(one) for one in rule.capabilities)
    return f"path {json.dumps(rule.path, ensure_ascii=False)} {{ capabilities = [{listed}] }}"
