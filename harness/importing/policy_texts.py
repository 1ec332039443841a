"""The policies and key-value stores of an installation, as a scenario has them, and what they let apps read."""

from __future__ import annotations

import itertools
import json
from collections.abc import Container, Iterable, Iterator
from typing import Any, Final

import msgspec

from harness.importing.installation import Installation
from harness.importing.naming import Names, fits
from harness.importing.role_fields import of_engine
from harness.importing.vault_questions import grants, policies_of
from harness.knowledge import policy_templates, vault_policies
from harness.scenario import engine_kinds
from harness.scenario.yaml_document import LONGEST_TEXT, Trail

_NOBODYS: Final = ("root", "default")
_EMPTY: Final = "# {why}: nothing is granted by it here"
_KV: Final = {"kv-1": 1, "kv-2": 2}


class Policies(msgspec.Struct, frozen=True, kw_only=True):
    """What a scenario says of policies and engines; nothing, where names are replaced or no policy was read."""

    texts: dict[str, str] = {}
    engines: dict[str, Any] = {}
    comments: dict[Trail, list[str]] = {}

    def readable(self, policies: Iterable[str]) -> list[str]:
        """Return secrets that these policies together let somebody read, as people name them: one of each kind."""
        rules = [
            rule for name in policies if name in self.texts for rule in vault_policies.read(name, self.texts[name])
        ]
        kept = (
            secret
            for rule in rules
            if (secret := self._secret(rule.path)) and vault_policies.ruling(rules, rule.path, "read").granted
        )
        return [*itertools.islice(kept, 1), *self._made(rules)]

    def _made(self, rules: list[vault_policies.Rule]) -> Iterator[str]:
        """Yield one secret of each engine that makes them, if rules let somebody have one and use it."""
        for path, about in self.engines.items():
            if "type" in about:
                kind = engine_kinds.of(about["type"])
                granted = (one for one in about[kind.has] if grants(rules, path, kind, one))
                yield from itertools.islice((f"{path}/{kind.reads.format(one)}" for one in granted), 1)

    def _secret(self, path: str) -> str | None:
        if not fits("mount", path):
            return None
        for engine, about in self.engines.items():
            if "kv" not in about:
                continue
            part = path.removeprefix(f"{engine}/") if path.startswith(f"{engine}/") else ""
            if about["kv"] == 2:
                part = part.removeprefix("data/") if part.startswith("data/") else ""
            if part:
                return f"{engine}/{part}"
        return None


def of(said: Installation, names: Names, mounts: Container[str]) -> Policies:
    """Return the policies of all roles, and the key-value stores, of an installation of which *mounts* are imported."""
    wanted = {one for mount in said.mounts.values() for role in mount.roles.values() for one in policies_of(role)}
    wanted -= set(_NOBODYS)
    if names.redacts or not wanted:
        return Policies()
    if not said.policies:
        unread = "NOT READ: the policies of roles. Each is assumed to exist; what it grants is not asked."
        return Policies(comments={("apps",): [unread]})
    texts: dict[str, str] = {}
    comments: dict[Trail, list[str]] = {}
    paths = {one.accessor: names.of("mount", path) for path, one in said.mounts.items() if one.accessor}
    paths = {accessor: path for accessor, path in paths.items() if path in mounts}
    for policy in sorted(wanted):
        name = names.of("policy", policy)
        text, why = _text(policy, said.policies.get(policy, said.policies.get(policy.lower())))
        texts[name], strange = policy_templates.with_mounts(text, paths)
        told = names.told("policy", policy)
        notes = [*([f"In Vault it is {told}."] if told else []), *([why] if why else [])]
        if strange:
            notes.append(
                f"Its templates name {', '.join(strange)}, which is no accessor of a mount that is imported: what they "
                "fill is not granted here. Where it is one of these mounts, write its path instead: auth/<path>."
            )
        if notes:
            comments["policies", name] = notes
    engines: dict[str, Any] = {
        path: {"kv": _KV[kind]} for path, kind in sorted(said.engines.items()) if kind in _KV and fits("mount", path)
    }
    left = sorted(path for path, kind in said.engines.items() if kind in _KV and path not in engines)
    rules = [vault_policies.read(name, text) for name, text in texts.items()]
    for path in sorted(said.made):
        made, notes = _engine(path, said, rules)
        if made:
            engines[path] = made
        comments["secrets", path] = notes
    if left and engines:
        comments["secrets",] = [f"Left out, because a scenario has no such paths: {', '.join(left)}."]
    return Policies(texts=texts, engines=engines, comments=comments)


def _engine(
    path: str, said: Installation, policies: list[list[vault_policies.Rule]]
) -> tuple[dict[str, Any], list[str]]:
    """Return an engine that makes secrets, with what any of *policies* grants, and what is worth knowing of it."""
    if not fits("mount", path) or said.engines.get(path) not in engine_kinds.NAMES:
        return {}, [f"{path} is left out: no scenario has such a path, or nobody said what is mounted there."]
    kind, found, notes = engine_kinds.of(said.engines[path]), dict[str, Any](), list[str]()
    if kind.name == engine_kinds.DATABASE:
        notes.append("Assumed: its database is a PostgreSQL. Its connection is not read, since that may hold a secret.")
    granted = {one for one in said.made[path] if any(grants(rules, path, kind, one) for rules in policies)}
    if unused := len(said.made[path]) - len(granted):
        notes.append(f"Left out: {unused} {kind.has} of which no policy of a role lets anybody have a secret.")
    for name, fields in sorted(said.made[path].items()):
        if name not in granted:
            continue
        one = of_engine(kind, fields)
        why = one.impossible or ("" if fits("role", name) else "no scenario has such a name")
        notes += [f"{name} is left out: {why}."] if why else [f"{name}: {note}." for note in one.notes]
        if not why:
            found[name] = one.role
    return ({"type": kind.name, kind.has: found} if found else {}), notes


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
