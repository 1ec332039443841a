"""A role as Vault or Terraform shows it becomes a role of a scenario, and one app that logs in with it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from itertools import product
from typing import Any, Final

import msgspec
from pydantic import ValidationError

from harness.importing.installation import ClusterPart
from harness.importing.naming import Names, fits
from harness.knowledge import kubernetes_auth
from harness.scenario import mount_kinds, role_spec
from harness.scenario.engine_kinds import EngineKind
from harness.scenario.mount_kinds import JWT, KUBERNETES, TOKEN
from harness.scenario.schema_engines import EngineRole, TransitKey

_SUBJECT: Final = "system:serviceaccount:"
_OLD_NAMES: Final = {f"token_{one}": one for one in ("policies", "ttl", "max_ttl", "period", "num_uses", "bound_cidrs")}
"""What Vault called these fields before 1.2, and still shows beside the new ones where they were used."""

_LISTS: Final = ("service_accounts", "namespaces", "policies", "bound_audiences")
_SPANS: Final = (*role_spec.SPANS, "secret_id_ttl")
_NUMBERS: Final = ("num_uses", "secret_id_num_uses")
_ANY: Final = "any"
_DEFAULTS: Final = {"renewable": True}
"""What a field is where nothing is said of it, if that is not nothing."""
_OF_POLICIES: Final = ("allowed_policies_glob", "disallowed_policies", "disallowed_policies_glob")


class Translated(msgspec.Struct, frozen=True, kw_only=True):
    """A role as a scenario has it, with what could not be said of it."""

    role: dict[str, Any]
    notes: tuple[str, ...] = ()
    impossible: str = ""
    """why no scenario can have it"""


def translate(kind: str, said: Mapping[str, Any], names: Names) -> Translated:
    """Return a role of a mount of a *kind* from its fields in Vault's spelling."""
    found, notes = dict[str, Any](), list[str]()
    for ours, theirs in mount_kinds.of(kind).role.items():
        value = said.get(theirs)
        value = said.get(_OLD_NAMES.get(theirs, "")) if value in (None, [], "", 0) and value is not False else value
        if value == _DEFAULTS.get(ours) if ours in _DEFAULTS else value in (None, [], "", 0, False, {}):
            continue
        word = _field(ours, value, names, notes)
        if word is not None:
            found[ours.replace("_", "-")] = word
    if limits := [one for one in _OF_POLICIES if kind == TOKEN and said.get(one)]:
        notes.append(f"its {' and '.join(limits)} are left out: a token has all of its allowed_policies")
    if said.get("bound_claims"):
        notes.append("its bound_claims are left out: write bound-claims, and `claims` of an app with token: minted")
    return Translated(role=found, notes=tuple(notes), impossible=_impossible(kind, found))


def _impossible(kind: str, role: Mapping[str, Any]) -> str:
    if kind == JWT and not {"bound-audiences", "bound-subject"} & set(role):
        return "it is bound by neither bound_audiences nor bound_subject"
    if kind == TOKEN and not role.get("policies"):
        return "it names no allowed_policies, so its tokens have those of whoever makes them"
    if kind == KUBERNETES and not role.get("service-accounts"):
        return "it admits no service account"
    if kind == KUBERNETES and not (role.get("namespaces") or role.get("namespace-selector")):
        return "it admits no namespace"
    return ""


def _field(ours: str, value: Any, names: Names, notes: list[str]) -> Any:
    """Return a value as a scenario has it; None where it has no such thing."""
    if ours in _LISTS:
        return _listed(ours, _texts(value), names, notes)
    if ours in _SPANS:
        return _span(ours, value, notes)
    if ours in _NUMBERS:
        return int(value) if str(value).isdigit() else None
    if ours == "namespace_selector":
        return _selector(str(value), names, notes)
    if ours == "bound_cidrs":
        notes.append(f"its token_bound_cidrs ({names.text(', '.join(_texts(value)))}) are left out: a rehearsal asks "
                     "from 127.0.0.1")  # fmt: skip
        return None
    return _word(ours, value, names)


def _word(ours: str, value: Any, names: Names) -> Any:
    if ours == "audience":
        return names.of("audience", str(value))
    if ours == "bound_subject":
        return subject(str(value), names)
    if ours == "token_type":
        return value if value in ("service", "batch") else None
    if ours == "alias_name_source":
        return value if value == "serviceaccount_name" else None
    if ours == "user_claim":
        return value if value != "sub" else None
    return value if isinstance(value, bool) else None


def of_engine(kind: EngineKind, said: Mapping[str, Any]) -> Translated:
    """Return what an engine of a *kind* has under one name, from its fields in Vault's spelling."""
    found, notes = dict[str, Any](), list[str]()
    shape = TransitKey if kind.has == "keys" else EngineRole
    for ours, theirs in kind.fields.items():
        value = said.get(theirs)
        if value in (None, [], "", 0, False):
            continue
        if ours in _SPANS:
            value = _span(ours, value, notes)
        try:
            made = shape.model_validate({ours.replace("_", "-"): value}, strict=False)
        except ValidationError:
            return Translated(role={}, impossible=f"its {theirs} is {value!r}, which no rehearsal has")
        found |= made.model_dump(mode="json", by_alias=True, exclude_none=True)
    if lacking := [one for one in kind.required if one not in found]:
        return Translated(role={}, impossible=f"it has no {', no '.join(lacking)}")
    if said.get("allow_subdomains") is False:
        notes.append("it allows no subdomains, and an app asks for one here")
    return Translated(role=found, notes=tuple(notes))


def _listed(ours: str, texts: list[str], names: Names, notes: list[str]) -> list[str] | None:
    if ours == "policies":
        if "root" in texts:
            notes.append("the policy root is left out: Vault gives it to no role")
        return [names.of("policy", one) for one in texts if one != "root"] or None
    kind: Any = {"service_accounts": "account", "namespaces": "namespace", "bound_audiences": "audience"}[ours]
    return [names.of(kind, one) for one in texts]


def subject(said: str, names: Names) -> str:
    """Return the subject of a token, whose account may have another name here."""
    parts = said.removeprefix(_SUBJECT).split(":")
    if not said.startswith(_SUBJECT) or len(parts) != 2:
        return names.of("audience", said)
    return _SUBJECT + names.account("/".join(parts)).replace("/", ":")


def account_of_subject(said: Any) -> str:
    """Return namespace/name of the service account that a subject is, or nothing."""
    parts = str(said or "").removeprefix(_SUBJECT).split(":")
    return "/".join(parts) if str(said or "").startswith(_SUBJECT) and len(parts) == 2 else ""


def _texts(value: Any) -> list[str]:
    listed = value if isinstance(value, list | tuple) else str(value).split(",")
    return [str(one).strip() for one in listed if str(one).strip()]


def _span(ours: str, value: Any, notes: list[str]) -> str | None:
    seconds = int(value) if str(value).isdigit() else None
    if seconds is None or seconds >= 10**9:
        notes.append(f"its {ours} is left out: {value!r} is no number of seconds")
        return None
    for unit, length in (("h", 3600), ("m", 60)):
        if seconds % length == 0:
            return f"{seconds // length}{unit}"
    return f"{seconds}s"


def _selector(value: str, names: Names, notes: list[str]) -> dict[str, str] | None:
    try:
        said = json.loads(value)
    except ValueError:
        said = None
    labels = said.get("matchLabels") if isinstance(said, dict) else None
    if not isinstance(labels, dict) or set(said) != {"matchLabels"}:
        notes.append("its namespace selector is left out: a scenario has none but matchLabels in JSON")
        return None
    return {_label_key(str(key), names): names.of("label", str(text)) if text else "" for key, text in labels.items()}


def _label_key(key: str, names: Names) -> str:
    """Return the key of a label, which tells whose it is as well as a value does."""
    return names.of("label", key) if names.redacts else key


def accounts_that_fit(said: Mapping[str, Any], cluster: ClusterPart | None) -> list[str]:
    """Return the service accounts, as namespace/name, that a Kubernetes role admits: those there are, or would be."""
    bound = _texts(said.get("bound_service_account_names") or "")
    spaces = _texts(said.get("bound_service_account_namespaces") or "")
    literal = [f"{space}/{name}" for space, name in product(spaces, bound)]
    there = cluster.accounts if cluster is not None else None
    if there is None:
        return [one.replace("*", _ANY) for one in literal]
    exact = [one for one in literal if one in set(there)]
    if not any("*" in one for one in literal):
        return exact
    fitting = [one for one in there if _admitted(spaces, bound, one)]
    # every namespace has the account `default`, and hardly any app logs in with it
    return sorted({*exact, *fitting}, key=lambda one: (one.endswith("/default"), one))


def _admitted(spaces: list[str], bound: list[str], account: str) -> bool:
    space, _, name = account.partition("/")
    return kubernetes_auth.admits(spaces, space) and kubernetes_auth.admits(bound, name)


def wished(said: Mapping[str, Any]) -> str:
    """Return an account that a role would admit, where none is there."""
    return next(iter(accounts_that_fit(said, None)), f"{_ANY}/{_ANY}")


def plain_name(said: str) -> str:
    """Return a text without what only patterns have."""
    return re.sub(r"\*+", _ANY, said)


def is_name(said: str) -> bool:
    """Can an app have this name?"""
    return fits("app", said)
