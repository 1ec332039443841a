"""Joins what the servers wrote to the observation it belongs to, and says so where a join is not certain.

Vault's audit entry is found by the correlation header it repeats. Everything else is found by time: it happened
between the moment the question left and the moment its answer came, at the cluster, Vault, node or mount that was
asked. A node that is asked may have another one answer: what that one wrote belongs to the question if no other
question was asked of it. A line that two questions could claim is given to both, and marked.

A Vault Agent that runs on beside its app logs in whenever it likes, while others are asked. Vault audits its answer to
such a login without our header: what servers wrote right before that answer belongs to that login, and to no question
but that of the agent.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any, Final, Literal

import msgspec

from harness.record.events import (
    AnyEvent,
    ApiAuditLine,
    ApiLogLine,
    AuthEnabled,
    ConfigWritten,
    VaultAuditLine,
    VaultLogLine,
)
from harness.record.journal import NotARecord, Record, ServerLine
from harness.record.observation import Observation

Source = Literal[
    "answer",
    "vault audit",
    "vault log",
    "api audit",
    "api log",
    "token",
    "config",
    "policy",
    "pod",
    "server",
    "cluster",
    "nodes",
    "audit device",
]


FROM_ADDRESS: Final = ", from "
"""Before the address from which Vault was asked, in the line of its audit entry."""


class EvidenceLine(msgspec.Struct, frozen=True):
    """One line of the record that speaks for something."""

    source: Source
    text: str
    line: int = 0
    """its line in the record, from 1; 0 where it is drawn from several"""
    cluster: str = ""
    at: float = 0.0
    vault: str = ""
    """whose line it is; empty: that of the only Vault there is, or of none"""
    node: str = ""


class Review(msgspec.Struct, frozen=True):
    """A TokenReview as the API server saw it."""

    cluster: str
    status: int
    user: str
    """who asked for it; empty where the bearer was not accepted"""
    jti: str = ""
    pod_uid: str = ""
    line: int = 0
    at: float = 0.0


class Evidence(msgspec.Struct, frozen=True):
    """What belongs to one observation."""

    audit: tuple[EvidenceLine, ...] = ()
    log: tuple[EvidenceLine, ...] = ()
    reviews: tuple[Review, ...] = ()
    api_log: tuple[EvidenceLine, ...] = ()
    ambiguous: bool = False
    """could a line of it belong to another observation as well?"""

    @property
    def review(self) -> Review | None:
        """Return the TokenReview, if there was one."""
        return self.reviews[0] if self.reviews else None

    def evidence_lines(self) -> list[EvidenceLine]:
        """Return everything as lines to show, in the order of the way a login takes."""
        return [*self.audit, *(shown(review) for review in self.reviews), *self.api_log, *self.log]


class _Windows:
    """The times at which questions were open, searchable by a time."""

    def __init__(self, observations: Iterable[Observation]) -> None:
        self._all = sorted((o for o in observations if o.ended), key=lambda o: o.started)
        self._starts = [o.started for o in self._all]
        self._latest_end = list(accumulate((o.ended for o in self._all), max))

    def at(self, time: float) -> list[Observation]:
        """Return the observations whose question was open at *time*."""
        found = []
        index = bisect_right(self._starts, time) - 1
        while index >= 0 and self._latest_end[index] >= time:
            if self._all[index].ended >= time:
                found.append(self._all[index])
            index -= 1
        return found


class Joined(Mapping[int, Evidence]):
    """The evidence of every observation that has any, by the observation's number.

    Only the numbers of its lines are kept: most evidence is never asked for, because nothing changed.
    """

    def __init__(
        self,
        record: Record,
        lines: Mapping[int, Sequence[int]],
        reviews: Mapping[int, int],
        unsure: Container[int],
    ) -> None:
        self._record, self._lines, self._reviews, self._unsure = record, lines, reviews, unsure
        self._asked_for: dict[int, Evidence] = {}
        self._reviews_asked_for: dict[int, Review] = {}

    def __getitem__(self, observation: int) -> Evidence:
        if observation not in self._asked_for:
            self._asked_for[observation] = self._put_together(observation)
        return self._asked_for[observation]

    def review(self, observation: int) -> Review | None:
        """Return the first TokenReview of an observation, or None; nothing else that belongs to it is read."""
        number = self._reviews.get(observation)
        if number is None:
            return None
        if observation not in self._reviews_asked_for:
            self._reviews_asked_for[observation] = _review(self._record.event(number), number)
        return self._reviews_asked_for[observation]

    def _put_together(self, observation: int) -> Evidence:
        parts: dict[str, list[Any]] = {}
        for number in self._lines[observation]:
            part, line = _read(self._record.event(number), number)
            parts.setdefault(part, []).append(line)
        return Evidence(ambiguous=observation in self._unsure, **{part: tuple(lines) for part, lines in parts.items()})

    def __iter__(self) -> Iterator[int]:
        return iter(self._lines)

    def __len__(self) -> int:
        return len(self._lines)


def join(record: Record) -> Joined:
    """Return the evidence of every observation of *record*, by the observation's number."""
    owners = _Owners(record)
    lines: dict[int, tuple[int, ...]] = {}
    reviews: dict[int, int] = {}
    unsure: set[int] = set()
    others: list[tuple[int, ServerLine, Observation]] = []
    kept: dict[tuple[int, type[Any]], int] = {}

    def give(number: int, line: ServerLine, owner: Observation) -> None:
        lines[owner.id] = (*lines.get(owner.id, ()), number)
        kept[owner.id, line.kind] = kept.get((owner.id, line.kind), 0) + 1
        if line.kind is ApiAuditLine:
            reviews.setdefault(owner.id, number)

    for number, server_line in record.server_lines():
        found, doubted = owners.of(server_line)
        if len(found) > 1:
            unsure.update(owner.id for owner in found)
        for owner in found:
            give(number, server_line, owner)
        others += ((number, server_line, owner) for owner in doubted)
    # two logins that Vault worked on at a time: the line may be of the one that was answered later
    for number, server_line, owner in others:
        if (owner.id, server_line.kind) not in kept:
            give(number, server_line, owner)
            unsure.add(owner.id)
    # a login is reviewed once, and an agent that is looked at may try again meanwhile
    doubled = {owner for (owner, kind), count in kept.items() if kind is ApiAuditLine and count > 1}
    unsure |= doubled & owners.beside_others
    return Joined(record, {owner: tuple(sorted(found)) for owner, found in lines.items()}, reviews, unsure)


class _Answered(msgspec.Struct, frozen=True, gc=False):
    """A login that Vault has answered, by its audit log."""

    at: float
    mount: str
    to: Observation | None
    """the question that it was; None where somebody else logged in"""


class _Owners:
    """Finds whose a line could be."""

    def __init__(self, record: Record) -> None:
        observations = record.of(Observation)
        self._by_correlation = {(o.vault, o.correlation): o for o in observations if o.correlation}
        self._windows = _Windows(observations)
        resolved = record.started.plan.topology
        mounts: Mapping[str, Any] = record.started.scenario.get("auth", {}) if resolved is None else {}
        self._clusters = {path: mount.get("cluster", "") for path, mount in mounts.items()}
        if resolved is not None:
            reviewed = {path: mount for path, mount in resolved.mounts.items() if mount.of_kind.reviews}
            self._clusters = {path: mount.cluster for path, mount in reviewed.items()}
        told = (*record.of(ConfigWritten), *record.of(AuthEnabled))
        self._accessors = {one.accessor: one.mount for one in told}
        self._audited: set[int] = set()
        self._answers = self._logins(record)
        apps = resolved.apps.values() if resolved is not None else ()
        several = {mount for mount, many in Counter(app.mount for app in apps if app.agent).items() if many > 1}
        self.beside_others = frozenset(
            seen.id
            for answers in self._answers.values()
            for one in answers
            if one.to is None
            for seen in self._windows.at(one.at)
            if seen.correlation or seen.mount in several
        )
        """the questions during which somebody else than they was answered a login, or may have been"""

    def of(self, line: ServerLine) -> tuple[Sequence[Observation], Sequence[Observation]]:
        """Return whose a line is, and whose it may be if it turns out that they have none like it."""
        if line.kind is VaultAuditLine:
            owner = self._by_correlation.get((line.vault, line.correlation))
            return () if owner is None else (owner,), ()
        if line.kind is VaultLogLine:
            mount = self._mount_of(line.module)
            found = [o for o in self._open_at(line) if o.vault == line.vault and (not mount or o.mount == mount)]
            found = [o for o in found if o.node == line.node] or found
            return self._answered(line, found, frozenset({mount})) if mount else (found, ())
        found = [o for o in self._open_at(line) if self._clusters.get(o.mount) == line.cluster]
        return self._answered(line, found, frozenset(m for m, one in self._clusters.items() if one == line.cluster))

    def _answered(
        self, line: ServerLine, found: Sequence[Observation], mounts: frozenset[str]
    ) -> tuple[Sequence[Observation], Sequence[Observation]]:
        """Return the same of a line before the answer to a login at one of *mounts*, where others log in as well."""
        answers = self._answers.get(line.moment)
        if not found or not answers:
            return found, ()
        after = answers[bisect_left(answers, line.at, key=lambda one: one.at) :]
        first = next((one for one in after if one.mount in mounts), None)
        if first is None:
            return found, ()
        if first.to is not None:
            return [o for o in found if o.id == first.to.id] or found, ()
        later = {one.to.id for one in after if one.to is not None}
        # what Vault did not audit may be a login as well
        own = [o for o in found if o.id not in self._audited and (o.correlation or o.mount == first.mount)]
        return own, [o for o in found if o.id in later]

    def _logins(self, record: Record) -> dict[str, list[_Answered]]:
        """Return the logins that Vault answered at the moments at which others than we logged in, in order."""
        found: dict[str, list[_Answered]] = {}
        for _, line in record.server_lines():
            if line.kind is not VaultAuditLine:
                continue
            owner = self._by_correlation.get((line.vault, line.correlation)) if line.correlation else None
            if owner is not None:
                self._audited.add(owner.id)
            if line.mount in self._clusters:
                found.setdefault(line.moment, []).append(_Answered(line.at, line.mount, owner))
        return {
            moment: sorted(answers, key=lambda one: one.at)
            for moment, answers in found.items()
            if any(one.to is None for one in answers)
        }

    def _mount_of(self, module: str) -> str:
        return next((mount for accessor, mount in self._accessors.items() if accessor in module), "")

    def _open_at(self, line: ServerLine) -> list[Observation]:
        # A clock that was set back shows the same time at two moments.
        return [o for o in self._windows.at(line.at) if o.moment == line.moment]


def _read(event: AnyEvent, number: int) -> tuple[str, EvidenceLine | Review]:
    """Return the part of an Evidence that a line is, and what it says."""
    match event:
        case VaultAuditLine():
            return "audit", _audit_line(event, number)
        case VaultLogLine():
            return "log", _log_line(event, number)
        case ApiAuditLine():
            return "reviews", _review(event, number)
        case ApiLogLine():
            return "api_log", EvidenceLine("api log", event.message, number, event.cluster, event.at)
    raise TypeError(f"{type(event).__name__} is nothing that a server wrote")


def shown(review: Review) -> EvidenceLine:
    """Return a TokenReview as a line to show."""
    who = review.user or "a bearer that was not accepted"
    text = f"create tokenreviews by {who}: answered {review.status}"
    if review.pod_uid:
        text += f" (a token bound to the Pod with UID {review.pod_uid})"
    return EvidenceLine("api audit", text, review.line, review.cluster, review.at)


def _audit_line(event: VaultAuditLine, number: int) -> EvidenceLine:
    request, error = event.entry.get("request", {}), event.entry.get("error", "")
    text = f"{request.get('operation', '?')} {request.get('path', '?')}, request {request.get('id', '?')}"
    if request.get("mount_accessor"):
        text += f", mount {request['mount_accessor']}"
    if request.get("remote_address"):
        text += f"{FROM_ADDRESS}{request['remote_address']}"
    said = text + (f": {error}" if error else ": no error")
    return EvidenceLine("vault audit", said, number, at=event.at, vault=event.vault, node=event.node)


def _log_line(event: VaultLogLine, number: int) -> EvidenceLine:
    fields = " ".join(f"{name}={value}" for name, value in event.fields.items())
    text = f"[{event.level.upper()}] {event.module}: {event.message} {fields}".strip()
    return EvidenceLine("vault log", text, number, at=event.at, vault=event.vault, node=event.node)


def _review(event: Any, number: int) -> Review:
    """Return the TokenReview that an API server's audit entry tells of. Raises NotARecord where it is no such entry."""
    try:
        user = event.entry.get("user") or {}
        extra = user.get("extra") or {}
        credential = next(iter(extra.get("authentication.kubernetes.io/credential-id", ())), "")
        return Review(
            cluster=event.cluster,
            status=int((event.entry.get("responseStatus") or {}).get("code") or 0),
            user=str(user.get("username") or ""),
            jti=str(credential).removeprefix("JTI="),
            pod_uid=str(next(iter(extra.get("authentication.kubernetes.io/pod-uid", ())), "")),
            line=number,
            at=event.at,
        )
    except (AttributeError, TypeError, ValueError, OverflowError) as error:
        raise NotARecord(f"line {number} of the record is no audit entry of an API server ({error})") from error
