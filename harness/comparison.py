"""How before differs from after, once what always differs is forgotten."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal

import msgspec

from harness import knowledge, versions
from harness.observation import Observation

Key = tuple[str, str, str, str]
"""(probe, app, mount, item): what makes two observations answers to the same question."""

ALWAYS_DIFFERS: Final = frozenset(
    {
        "accessor", "cluster_id", "cluster_name", "creation_time", "entity_id", "expire_time", "id", "issue_time",
        "last_renewal", "last_renewal_time", "lease_id", "performance_standby", "replication_dr_mode",
        "replication_performance_mode", "request_id", "server_time_utc", "ttl", "version", "build_date",
        "echo_duration_ms", "clock_skew_ms", "replication_primary_canary_age_ms", "enterprise", "removed_from_cluster",
    }
)  # fmt: skip
"""Detail that is new with every request, or that says nothing but which version answered."""


class Change(msgspec.Struct, frozen=True):
    """One question, two moments, and how the answers differ."""

    probe: str
    app: str
    mount: str
    item: str
    what: Literal["answer", "status", "error", "detail"]
    from_moment: str
    to_moment: str
    hop: str
    """the version after whose hop it appeared"""
    before: str
    after: str
    field: str = ""
    """for detail: which"""
    explained: str = ""
    """why this is to be expected, with the version from which it is so; empty where nothing explains it"""


def key_of(observation: Observation) -> Key:
    """Return what *observation* was asked."""
    return (observation.probe, observation.app, observation.mount, observation.item)


def compare(observations: Iterable[Observation]) -> list[Change]:
    """Return every change from one moment to the next, in the order of moments."""
    seen: dict[Key, Observation] = {}
    changes: list[Change] = []
    for now in observations:
        key = key_of(now)
        before = seen.get(key)
        if before is not None:
            changes += between(before, now)
        seen[key] = now
    return changes


def between(before: Observation, after: Observation) -> list[Change]:
    """Return how two answers to one question differ; the same question asked twice of the same thing differs in
    nothing. What differs does not depend on which of the two came first.
    """
    if before.answer != after.answer:
        return [_change(before, after, "answer", _words(before), _words(after))]
    if before.status != after.status:
        explained = _status_explained(before, after)
        return [_change(before, after, "status", _words(before), _words(after), explained=explained)]
    if before.error != after.error:
        return [_change(before, after, "error", before.error, after.error, explained=_reworded(before, after))]
    return _details(before, after)


def _words(observation: Observation) -> str:
    status = "" if observation.status is None else f" {observation.status}"
    return f"{observation.answer}{status}" + (f" {observation.error}" if observation.error else "")


def _details(before: Observation, after: Observation) -> list[Change]:
    old, new = before.detail, after.detail
    differ = [name for name, value in old.items() if new.get(name, _ABSENT) != value and name not in ALWAYS_DIFFERS]
    if new.keys() != old.keys():
        differ += [name for name in new if name not in old and name not in ALWAYS_DIFFERS]
    return [
        _change(
            before, after, "detail", _value(old, name), _value(new, name), name, _detail_explained(name, before, after)
        )
        for name in differ
    ]


_ABSENT: Final = object()
_EMPTY: Final[tuple[Any, ...]] = (None, "", 0, False, [], {})


def _value(detail: Mapping[str, Any], name: str) -> str:
    return msgspec.json.encode(detail[name]).decode() if name in detail else "not there"


def _change(
    before: Observation,
    after: Observation,
    what: Literal["answer", "status", "error", "detail"],
    old: str,
    new: str,
    field: str = "",
    explained: str = "",
) -> Change:
    return Change(
        probe=after.probe,
        app=after.app,
        mount=after.mount,
        item=after.item,
        what=what,
        from_moment=before.moment,
        to_moment=after.moment,
        hop=after.version,
        before=old,
        after=new,
        field=field,
        explained=explained,
    )


# Words in Vault's answer by which a refusal is known, whatever its status. Source: knowledge, table of answers.
_REFUSALS: Final[tuple[tuple[str, knowledge.Refusal], ...]] = (
    ("service account name not authorized", "service account name"),
    ("namespace not authorized", "namespace"),
    ('claim "iss" is invalid', "issuer"),
    ("invalid issuer (iss) claim", "issuer"),
    ('claim "aud" is invalid', "audience"),
    ("invalid audience (aud) claim", "audience"),
)


def refusal_of(error: str) -> knowledge.Refusal | None:
    """Return which of Vault's own checks an error text tells of, or None."""
    return next((refusal for words, refusal in _REFUSALS if words in error), None)


def identity_of(login: Observation) -> dict[str, Any]:
    """Return whom a granted login's token stands for: the entity, its policies, and what Vault says of the account."""
    names = ("entity_id", "policies", "token_policies", "metadata")
    shown = {name: login.detail[name] for name in names if login.detail.get(name)}
    return {name: sorted(value) if isinstance(value, list) else value for name, value in shown.items()}


def _status_explained(before: Observation, after: Observation) -> str:
    """A refusal whose status alone moved is explained if the knowledge has both statuses for these versions."""
    refusal = refusal_of(before.error)
    if refusal is None or refusal != refusal_of(after.error):
        return ""
    old, new = sorted((before, after), key=lambda observation: versions.parse(observation.version))
    known = [knowledge.answer(refusal, observation.version)[0] for observation in (old, new)]
    return knowledge.status_shift(refusal, old.version, new.version) if known == [old.status, new.status] else ""


def _reworded(before: Observation, after: Observation) -> str:
    first, second = refusal_of(before.error), refusal_of(after.error)
    return f"the same refusal ({first}) in other words" if first is not None and first == second else ""


def _detail_explained(name: str, before: Observation, after: Observation) -> str:
    old, new = sorted((before, after), key=lambda observation: versions.parse(observation.version))
    if old.version == new.version:
        return ""
    if name in new.detail and name not in old.detail:
        return _new_field_explained(name, old, new)
    floor = knowledge.TOKEN_FORMAT
    if name == "token_format" and not versions.at_least(old.version, floor) and versions.at_least(new.version, floor):
        return f"since Vault {floor} tokens begin with hvs. and are longer: mind column widths and patterns"
    return ""


def _new_field_explained(name: str, old: Observation, new: Observation) -> str:
    since = knowledge.field_since(name)
    if since and not versions.at_least(old.version, since) and versions.at_least(new.version, since):
        return f"Vault shows {name} since {since}"
    return "a new field, and empty" if new.detail[name] in _EMPTY else ""
