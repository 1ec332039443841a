"""How before differs from after, once what always differs is forgotten."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any, Final, Literal, Protocol

import msgspec

from harness.knowledge import jwt_auth, kubernetes_auth, refusals, secret_logins, versions
from harness.record.noise_floor import NoiseFloor
from harness.record.observation import BESIDE, Observation, called
from harness.scenario.app_spec import STORM

Key = tuple[str, str, str, str, str, str]
"""(probe, app, mount, item, vault, node): what makes two observations answers to the same question."""

Field = tuple[str, str]
"""(probe, field): a part of the answers to one kind of question."""

BY_HAND: Final[Mapping[str, str]] = {
    "version": "it says which version answered, and nothing else",
    "standby": "which of several nodes leads is told where they are taken on one by one",
    "entity_id": "whom a login's token stands for is a finding, where it is somebody else",
    "wrong_before": "how wrong secrets were refused belongs to the finding of who is locked out",
    "jwt_validation_pubkeys": "a course that writes other keys is told by its findings",
}
"""What is left out of the changes though no A -> A rehearsal shows it: by its field, why."""

USUAL: Final[frozenset[Field]] = frozenset(
    {
        *(("token-lookup", field) for field in ("creation_time", "expire_time", "issue_time")),
        *(("old-token-lookup", field) for field in ("expire_time", "last_renewal", "last_renewal_time")),
    }
)
"""What real A -> A rehearsals show (tests hold it against their records): the floor of a run without one of its own."""


OF_AGENTS: Final = ("agent-login", "sidecar")
"""The probes that ask an agent of an app's."""


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
    vault: str = ""
    """the name of the Vault that was asked; empty: the only one there is"""
    node: str = ""


class Asked(Protocol):
    """A question, or an answer to one, or what was found about it."""

    @property
    def probe(self) -> str: ...
    @property
    def app(self) -> str: ...
    @property
    def mount(self) -> str: ...
    @property
    def item(self) -> str: ...
    @property
    def vault(self) -> str: ...
    @property
    def node(self) -> str: ...


def key_of(asked: Asked) -> Key:
    """Return what is asked, of whom."""
    return (asked.probe, asked.app, asked.mount, asked.item, asked.vault, asked.node)


def compare(observations: Iterable[Observation], noise: Container[Field] = USUAL) -> list[Change]:
    """Return every change from one moment to the next but *noise*, in the order of moments."""
    seen: dict[Key, Observation] = {}
    changes: list[Change] = []
    for now in observations:
        if now.probe.startswith(BESIDE):
            continue
        key = key_of(now)
        before = seen.get(key)
        if before is not None:
            changes += between(before, now, noise)
        seen[key] = now
    return changes


def between(before: Observation, after: Observation, noise: Container[Field] = USUAL) -> list[Change]:
    """Return how two answers to one question differ, but for *noise*; the same question asked twice of the same thing
    differs in nothing. What differs does not depend on which of the two came first.
    """
    if before.answer != after.answer:
        return [_change(before, after, "answer", _words(before), _words(after))]
    if before.status != after.status:
        explained = _status_explained(before, after)
        return [_change(before, after, "status", _words(before), _words(after), explained=explained)]
    if _timeless(before.error) != _timeless(after.error):
        return [_change(before, after, "error", before.error, after.error, explained=_reworded(before, after))]
    return _details(before, after, noise)


_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")


def _timeless(words: str) -> str:
    """Return the words of a refusal without the times in them: of an expired certificate Vault says what time it is."""
    return _TIME.sub("a time", words)


class Else(msgspec.Struct, frozen=True):
    """One kind of change beside who is granted and who is refused: clients may trip over it all the same."""

    what: str
    """in words, from what to what"""
    hops: tuple[str, ...]
    """the versions at which it appears, with the name of the Vault or node where there are several"""
    apps: tuple[str, ...]
    """whom it concerns; empty where it is about the mounts themselves"""
    advice: str = ""
    """what it may do to a client"""


def what_else(changes: Iterable[Change]) -> list[Else]:
    """Return what else changed, one entry a kind, in the order in which each first appears.

    That an answer, or its reason, is another one is a finding's matter, and left out here; so is what nobody answered.
    """
    groups: dict[tuple[str, ...], list[Change]] = {}
    for change in changes:
        if not (change.what == "answer" or _another_check(change) or without_answer(change)) or _of_node(change):
            groups.setdefault(_kind(change), []).append(change)
    return [
        Else(
            _said(kind, group),
            tuple(dict.fromkeys(f"{called(change)}{change.hop}" for change in group)),
            tuple(dict.fromkeys(change.app for change in group if change.app)),
            _ADVICE.get(kind[0], "") or _mind(kind) or _turn(kind),
        )
        for kind, group in groups.items()
    ]


def _another_check(change: Change) -> bool:
    """Does another check of a JWT mount refuse now? Where that is an app's login, it is a finding's matter, too."""
    told = [jwt_auth.refusal_of(words) for words in (change.before, change.after)]
    return change.what == "error" and None not in told and told[0] != told[1]


def without_answer(change: Change) -> bool:
    """Was one of two unknown answers none at all: a question that could not be asked, or that nobody answered?"""
    told = [_status_in(words) for words in (change.before, change.after)]
    return change.what == "status" and change.after.startswith("unknown") and not all(map(str.isdigit, told))


def _of_node(change: Change) -> bool:
    """Does a node come to answer what a load balancer or a probe of a Pod may not know?"""
    return (change.probe, change.what) == ("health", "answer") and _status_in(change.after) in refusals.TELLING


def _status_in(words: str) -> str:
    """Return the status out of an answer in words, "" where it has none."""
    return [*words.split(), "", ""][1]


_ADVICE: Final = {"tokens": "mind column widths and patterns"}


def _kind(change: Change) -> tuple[str, ...]:
    """Return what a change has in common with others of its kind."""
    if change.what == "answer":
        return ("node", _status_in(change.before), _status_in(change.after))
    if change.what == "status":
        return ("status", *change.before.split()[:2], *change.after.split()[:2])
    if change.what == "error":
        return ("words", change.before, change.after)
    if change.field == "token_format":
        return ("tokens", change.before, change.after)
    if change.before == _NOT_THERE:
        return ("new fields",)
    return ("fields gone",) if change.after == _NOT_THERE else ("field", change.probe, change.field)


def _said(kind: tuple[str, ...], group: Sequence[Change]) -> str:
    if kind[0] == "status":
        answer, old, _, new = kind[1:] if len(kind) == 5 else (kind[1], group[0].before, "", group[0].after)
        asked = ", ".join(dict.fromkeys(change.probe for change in group))
        answers = {"refused": "refusals", "granted": "grants"}.get(answer, answer)
        return f"{answers} answer {new} instead of {old} ({asked})"
    if kind[0] == "node":
        _, before, now = kind
        return f"sys/health of a node answers {now}{f' instead of {before}' if before else ''}, also with standbyok"
    if kind[0] == "words":
        return f"a refusal in other words: {_short(kind[2])} instead of {_short(kind[1])}"
    if kind[0] == "tokens":
        old, new = (text.strip('"') for text in kind[1:])
        return f"token format ({new} instead of {old})"
    if kind[0] == "field":
        _, probe, field = kind
        # a way back brings the first value back: then what it was in between is the news
        new = group[-1].after if group[-1].after != group[0].before else group[0].after
        return f"{probe} reads back another {field}: {_short(new)} instead of {_short(group[0].before)}"
    fields: dict[str, dict[str, None]] = {}
    for change in group:
        fields.setdefault(change.probe, {})[change.field] = None
    listed = ", ".join(f"{' and '.join(names)} ({probe})" for probe, names in fields.items())
    return f"fields that are {'new' if kind[0] == 'new fields' else 'not read back any more'}: {listed}"


def _short(text: str, most: int = 60) -> str:
    text = " ".join(text.split())
    return text if len(text) <= most else f"{text[: most - 3]}..."


def _mind(kind: tuple[str, ...]) -> str:
    """Return what to do about a node that answers what a probe may not know."""
    if kind[0] != "node":
        return ""
    return (
        f"a liveness probe that wants a 2xx restarts its Pod: {refusals.TELLING[kind[-1]]}=200 in its query, "
        "and in that of no load balancer"
    )


def _turn(kind: tuple[str, ...]) -> str:
    """Return what another status does to clients that try again on some of them."""
    if kind[0] != "status" or len(kind) != 5 or not (kind[2].isdigit() and kind[4].isdigit()):
        return ""
    old, new = int(kind[2]) >= 500, int(kind[4]) >= 500
    return f"clients that retry on 5xx only {'begin to retry' if new else 'stop retrying'}" if old != new else ""


def _words(observation: Observation) -> str:
    status = "" if observation.status is None else f" {observation.status}"
    return f"{observation.answer}{status}" + (f" {observation.error}" if observation.error else "")


def noise_of(floor: NoiseFloor | None) -> frozenset[Field]:
    """Return what is left out of the changes of a run: what its own A -> A rehearsal showed, if that was silent."""
    if floor is None or floor.unsound:
        return USUAL
    return frozenset((one.probe, one.field) for one in floor.differs)


def fields_that_differ(before: Observation, after: Observation) -> list[str]:
    """Return the parts of two answers of one kind that are not the same, but for what is left out by hand."""
    if after.probe in (*OF_AGENTS, STORM):
        # how far an agent came is a part of its answer, and one that stays logs in and renews as it goes on; how fast a
        # storm is over depends on the machine
        return []
    old, new = before.detail, after.detail
    names = [name for name, value in old.items() if new.get(name, _ABSENT) != value]
    if new.keys() != old.keys():
        names += [name for name in new if name not in old]
    return [name for name in names if name not in BY_HAND and not _is_later(name, before, after)]


def _details(before: Observation, after: Observation, noise: Container[Field]) -> list[Change]:
    old, new = before.detail, after.detail
    differ = [name for name in fields_that_differ(before, after) if (after.probe, name) not in noise]
    return [
        _change(
            before, after, "detail", _value(old, name), _value(new, name), name, _detail_explained(name, before, after)
        )
        for name in differ
    ]


_COUNT_DOWN: Final = ("lease_duration", "ttl")
_ROUNDED: Final = 10
"""Seconds: so much may a life be told otherwise that is counted in whole seconds, beside the time between two looks."""


def _is_later(name: str, before: Observation, after: Observation) -> bool:
    """Is this the same life, told a moment later or earlier?"""
    old, new = before.detail.get(name), after.detail.get(name)
    if name not in _COUNT_DOWN or not isinstance(old, int) or not isinstance(new, int):
        return False
    return 0 < abs(old - new) <= abs(after.ended - before.started) + _ROUNDED


_ABSENT: Final = object()
_NOT_THERE: Final = "not there"
_EMPTY: Final[tuple[Any, ...]] = (None, "", 0, False, [], {})


def _value(detail: Mapping[str, Any], name: str) -> str:
    return msgspec.json.encode(detail[name]).decode() if name in detail else _NOT_THERE


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
        vault=after.vault,
        node=after.node,
    )


# Words in Vault's answer by which a refusal is known, whatever its status. Source: knowledge, table of answers.
_REFUSALS: Final[tuple[tuple[str, kubernetes_auth.Refusal], ...]] = (
    ("service account name not authorized", "service account name"),
    ("namespace not authorized", "namespace"),
    ('claim "iss" is invalid', "issuer"),
    ("invalid issuer (iss) claim", "issuer"),
    ('claim "aud" is invalid', "audience"),
    ("invalid audience (aud) claim", "audience"),
)


def refusal_of(error: str) -> kubernetes_auth.Refusal | None:
    """Return which of Vault's own checks an error text tells of, or None."""
    return next((refusal for words, refusal in _REFUSALS if words in error), None)


def words_of(refusal: kubernetes_auth.Refusal) -> tuple[str, ...]:
    """Return the words by which one of Vault's own checks is known."""
    return tuple(words for words, known in _REFUSALS if known == refusal)


def identity_of(login: Observation) -> dict[str, Any]:
    """Return whom a granted login's token stands for: the entity, its policies, and what Vault says of the account."""
    names = ("entity_id", "policies", "token_policies", "metadata")
    shown = {name: login.detail[name] for name in names if login.detail.get(name)}
    return {name: sorted(value) if isinstance(value, list) else value for name, value in shown.items()}


def _no_such_mount(seen: Observation, other: Observation) -> kubernetes_auth.Refusal | None:
    """Return the refusal of a login where nothing is mounted: older versions name it, newer ones do not."""
    words = kubernetes_auth.answer("no such mount", "1.9.0")[1]
    return "no such mount" if words in (seen.error.strip(), other.error.strip()) else None


def _of_a_secret(before: Observation, after: Observation) -> str:
    """Return why a wrong secret, or name, is refused in two ways, where that is known of the two versions."""
    answers = [(seen.status, seen.error.strip(), seen.version) for seen in (before, after)]
    return next(filter(None, (secret_logins.explained(kind, *answers) for kind in ("userpass", "approle"))), "")


def _status_explained(before: Observation, after: Observation) -> str:
    """A refusal whose status alone moved is explained if the knowledge has both statuses for these versions."""
    if said := _of_a_secret(before, after):
        return said
    refusal = refusal_of(before.error) or _no_such_mount(before, after)
    if refusal is None or refusal not in (refusal_of(after.error), _no_such_mount(after, before)):
        return ""
    old, new = sorted((before, after), key=lambda observation: versions.parse(observation.version))
    known = [kubernetes_auth.answer(refusal, observation.version)[0] for observation in (old, new)]
    return kubernetes_auth.status_shift(refusal, old.version, new.version) if known == [old.status, new.status] else ""


def _reworded(before: Observation, after: Observation) -> str:
    if said := _of_a_secret(before, after):
        return said
    known = jwt_auth.refusal_of(before.error)
    if known is not None and known == jwt_auth.refusal_of(after.error):
        return f"the same refusal ({known}) in other words, which are others from Vault {jwt_auth.CAP} on"
    first, second = refusal_of(before.error), refusal_of(after.error)
    return f"the same refusal ({first}) in other words" if first is not None and first == second else ""


def _detail_explained(name: str, before: Observation, after: Observation) -> str:
    old, new = sorted((before, after), key=lambda observation: versions.parse(observation.version))
    if old.version == new.version:
        return ""
    if name in new.detail and name not in old.detail:
        return _new_field_explained(name, old, new)
    floor = kubernetes_auth.TOKEN_FORMAT
    if name == "token_format" and not versions.at_least(old.version, floor) and versions.at_least(new.version, floor):
        return f"since Vault {floor} tokens begin with hvs. and are longer: mind column widths and patterns"
    return ""


def _new_field_explained(name: str, old: Observation, new: Observation) -> str:
    since = kubernetes_auth.field_since(name)
    if since and not versions.at_least(old.version, since) and versions.at_least(new.version, since):
        return f"Vault shows {name} since {since}"
    return "a new field, and empty" if new.detail[name] in _EMPTY else ""
