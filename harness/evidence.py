"""Joins what the servers wrote to the observation it belongs to, and says so where a join is not certain.

Vault's audit entry is found by the correlation header it repeats. Everything else is found by time: it happened
between the moment the question left and the moment its answer came, at the cluster or mount that was asked. A line
that two questions could claim is given to both, and marked.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from itertools import accumulate
from typing import Any, Final, Literal

import msgspec

from harness.journal import AnyEvent, ApiAuditLine, ApiLogLine, ConfigWritten, Record, VaultAuditLine, VaultLogLine
from harness.observation import Observation

_CORRELATION: Final = "x-rehearsal-id"

Source = Literal["answer", "vault audit", "vault log", "api audit", "api log", "token", "config", "pod", "server"]


class Exhibit(msgspec.Struct, frozen=True):
    """One line of the record that speaks for something."""

    source: Source
    text: str
    line: int = 0
    """its line in the record, from 1; 0 where it is drawn from several"""
    cluster: str = ""
    at: float = 0.0


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

    audit: tuple[Exhibit, ...] = ()
    log: tuple[Exhibit, ...] = ()
    reviews: tuple[Review, ...] = ()
    api_log: tuple[Exhibit, ...] = ()
    ambiguous: bool = False
    """could a line of it belong to another observation as well?"""

    @property
    def review(self) -> Review | None:
        """Return the TokenReview, if there was one."""
        return self.reviews[0] if self.reviews else None

    def exhibits(self) -> list[Exhibit]:
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


def join(record: Record) -> dict[int, Evidence]:
    """Return the evidence of every observation of *record*, by the observation's number."""
    observations = record.of(Observation)
    by_correlation = {o.correlation: o for o in observations if o.correlation}
    windows = _Windows(observations)
    clusters = _clusters_of_mounts(record)
    accessors = {written.accessor: written.mount for written in record.of(ConfigWritten)}
    found: dict[int, dict[str, list[Any]]] = {}
    unsure: set[int] = set()
    for number, event in enumerate(record.events, 1):
        placed = _placed(event, number, by_correlation, windows, clusters, accessors)
        if placed is None:
            continue
        part, line, owners = placed
        if len(owners) > 1:
            unsure.update(owner.id for owner in owners)
        for owner in owners:
            found.setdefault(owner.id, {}).setdefault(part, []).append(line)
    return {
        owner: Evidence(ambiguous=owner in unsure, **{part: tuple(lines) for part, lines in parts.items()})
        for owner, parts in found.items()
    }


def _placed(
    event: AnyEvent,
    number: int,
    by_correlation: Mapping[str, Observation],
    windows: _Windows,
    clusters: Mapping[str, str],
    accessors: Mapping[str, str],
) -> tuple[str, Exhibit | Review, list[Observation]] | None:
    """Return the part of an Evidence that *event* is, and whose it could be; None where it is no such line."""
    if isinstance(event, VaultAuditLine):
        owner = by_correlation.get(_correlation(event))
        return "audit", _audit_exhibit(event, number), [owner] if owner else []
    if isinstance(event, VaultLogLine):
        mount = next((m for accessor, m in accessors.items() if accessor in event.module), "")
        owners = [o for o in windows.at(event.at) if not mount or o.mount == mount]
        return "log", _log_exhibit(event, number), owners
    if isinstance(event, ApiAuditLine | ApiLogLine):
        owners = [o for o in windows.at(event.at) if clusters.get(o.mount) == event.cluster]
        if isinstance(event, ApiAuditLine):
            return "reviews", _review(event, number), owners
        return "api_log", Exhibit("api log", event.message, number, event.cluster, event.at), owners
    return None


def shown(review: Review) -> Exhibit:
    """Return a TokenReview as a line to show."""
    who = review.user or "a bearer that was not accepted"
    text = f"create tokenreviews by {who}: answered {review.status}"
    if review.pod_uid:
        text += f" (a token bound to the Pod with UID {review.pod_uid})"
    return Exhibit("api audit", text, review.line, review.cluster, review.at)


def _clusters_of_mounts(record: Record) -> Mapping[str, str]:
    auth = record.started.scenario.get("auth", {})
    return {path: mount.get("cluster", "") for path, mount in auth.items()}


def _correlation(event: VaultAuditLine) -> str:
    headers = event.entry.get("request", {}).get("headers") or {}
    values = next((value for name, value in headers.items() if name.lower() == _CORRELATION), ())
    return str(values[0]) if values else ""


def _audit_exhibit(event: VaultAuditLine, number: int) -> Exhibit:
    request, error = event.entry.get("request", {}), event.entry.get("error", "")
    text = f"{request.get('operation', '?')} {request.get('path', '?')}, request {request.get('id', '?')}"
    if request.get("mount_accessor"):
        text += f", mount {request['mount_accessor']}"
    return Exhibit("vault audit", text + (f": {error}" if error else ": no error"), number, at=event.at)


def _log_exhibit(event: VaultLogLine, number: int) -> Exhibit:
    fields = " ".join(f"{name}={value}" for name, value in event.fields.items())
    text = f"[{event.level.upper()}] {event.module}: {event.message} {fields}".strip()
    return Exhibit("vault log", text, number, at=event.at)


def _review(event: ApiAuditLine, number: int) -> Review:
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
