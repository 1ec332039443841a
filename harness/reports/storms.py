"""What is said of storms of logins, before and after side by side: who was let in, how fast, and who was asked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from harness.analysis.storms import Storm, in_words
from harness.knowledge import versions

TITLES: Final = ("Pods at once", "moment", "let in", "not let in", "a second", "answered within ms", "TokenReviews")
"""The titles of the columns of `rows`."""

FIGURES: Final = "each over a connection of its own; times are p50 / p95 / p99 / max, on a machine as busy as it was"


def rows(storms: Iterable[Storm]) -> list[tuple[str, ...]]:
    """Return a row for each storm, under `TITLES`. What takes no time, on paper, has no figures."""
    return [
        (
            f"{one.pods:,} of {one.app}, {one.at_once:,} at any time",
            _when(one),
            f"{one.accepted:,}",
            in_words(one.refused, one.said) or "nobody",
            f"{one.per_second:,.0f}" if one.accepted and one.seconds else "",
            _spread(one.latency_ms),
            _reviews(one),
        )
        for one in storms
    ]


def told(storms: Sequence[Storm], *, figures: bool = True) -> list[tuple[str, str]]:
    """Return the same as a line for each, with the word that says what it is about; without *figures* one an app."""
    if figures:
        return [("storm", f"{_when(one)}: {'; '.join(_parts(one))}") for one in storms]
    found: dict[str, list[str]] = {}
    for one in storms:
        rate = f" ({one.per_second:,.0f} a second)" if one.accepted and one.seconds else ""
        each = f"{one.moment} {one.accepted:,}{rate}"
        found.setdefault(f"{one.pods:,} Pods of {one.app} at once, let in", []).append(each)
    return [("storm", f"{whose}: {', '.join(each)}") for whose, each in found.items()]


def _parts(one: Storm) -> Iterator[str]:
    rate = f", {one.per_second:,.0f} a second" if one.accepted and one.seconds else ""
    yield f"{one.accepted:,} of {one.pods:,} Pods of {one.app} let in at once{rate}"
    if one.refused:
        yield in_words(one.refused, one.said)
    if one.latency_ms:
        yield f"answered within {_spread(one.latency_ms)} ms (p50 / p95 / p99 / max)"
    if one.reviews:
        yield f"TokenReviews: {_reviews(one)}"


def _when(one: Storm) -> str:
    version = versions.called(one.version)
    return one.moment if one.version in one.moment else f"{one.moment}, {version}"


def _reviews(one: Storm) -> str:
    if not one.reviews:
        return ""
    by = ", ".join("somebody it does not know" if name == "nobody" else name for name in one.reviewers)
    return f"{in_words(one.reviews)}, asked by {by}, within {_spread(one.review_ms)} ms"


def _spread(milliseconds: Mapping[str, float]) -> str:
    return " / ".join(f"{milliseconds[name]:,.0f}" for name in ("p50", "p95", "p99", "max") if name in milliseconds)
