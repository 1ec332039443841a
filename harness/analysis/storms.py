"""What a storm of logins came to, look by look: who was let in, how fast, and what API servers had to do for it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from harness.record.observation import Answer, Observation
from harness.scenario.app_spec import STORM

GRANTED: Final = "HTTP 2"
"""How the answers begin that let somebody in."""

TOO_MANY: Final = "HTTP 429"
"""What Vault answers where a quota of it is used up, and an API server where its priority and fairness sheds load."""


class Storm(msgspec.Struct, frozen=True, kw_only=True):
    """Many Pods of one app that logged in at once, at one look."""

    app: str
    moment: str
    version: str
    vault: str = ""
    answer: Answer
    """granted: all of them were let in; refused: some were not; unknown: nobody was, for no reason that Vault gave"""
    pods: int
    at_once: int
    """so many of them asked at any time"""
    answers: dict[str, int]
    """how often each answer came: HTTP 200, no answer"""
    said: dict[str, str] = {}
    """the first words of those answers that let nobody in"""
    accepted: int
    per_second: float = 0.0
    """so many were let in each second; 0 on paper, where it takes no time"""
    seconds: float = 0.0
    """how long all of it took"""
    latency_ms: dict[str, float] = {}
    """how long an answer took: p50, p95, p99, max"""
    reviews: dict[str, int] = {}
    """what the API server answered to the TokenReviews of these logins, by its audit log"""
    reviewers: dict[str, int] = {}
    """who asked for them, as the API server knows it; nobody: whom it does not know"""
    review_ms: dict[str, float] = {}
    """how long a TokenReview took: p50, p95, p99, max"""

    @property
    def refused(self) -> dict[str, int]:
        """Return how often each answer came that let nobody in, the most frequent first."""
        bad = {came: times for came, times in self.answers.items() if not came.startswith(GRANTED)}
        return dict(sorted(bad.items(), key=lambda one: -one[1]))

    @property
    def throttled(self) -> int:
        """Return how many TokenReviews the API server turned away because there were too many."""
        return self.reviews.get(TOO_MANY, 0)


def storms(observations: Iterable[Observation]) -> list[Storm]:
    """Return every storm of a run, in order."""
    return [of(seen) for seen in observations if seen.probe == STORM and seen.detail]


def of(seen: Observation) -> Storm:
    """Return the storm that an observation is of."""
    told: Mapping[str, Any] = seen.detail
    reviews: Mapping[str, Any] = told.get("reviews", {})
    answers, seconds = dict(told["answers"]), float(told.get("seconds", 0.0))
    accepted = sum(times for came, times in answers.items() if came.startswith(GRANTED))
    return Storm(
        app=seen.app,
        moment=seen.moment,
        version=seen.version,
        vault=seen.vault,
        answer=seen.answer,
        pods=told["pods"],
        at_once=told["at_once"],
        answers=answers,
        said=dict(told.get("said", {})),
        accepted=accepted,
        per_second=round(accepted / seconds, 1) if seconds else 0.0,
        seconds=seconds,
        latency_ms=dict(told.get("latency_ms", {})),
        reviews=dict(reviews.get("answers", {})),
        reviewers=dict(reviews.get("asked_by", {})),
        review_ms=dict(reviews.get("latency_ms", {})),
    )


def in_words(counted: Mapping[str, int], said: Mapping[str, str] | None = None) -> str:
    """Return how often each answer came, as words: 1,500 x HTTP 403 permission denied."""
    parts = [f"{times:,} x {came} {(said or {}).get(came, '')}".strip() for came, times in counted.items()]
    return ", ".join(parts)
