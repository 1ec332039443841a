"""Who reviewed which login when, and how each mount's config came to be: the thread that leads through a report."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from harness.analysis.correlation import EvidenceLine, shown
from harness.analysis.record_view import Facts
from harness.record.events import ConfigWritten


class Config(msgspec.Struct, frozen=True):
    """A mount's config as written, with its provenance."""

    mount: str
    cluster: str
    written_by: str
    token_file: bool
    """was a pod's token readable when it was written?"""
    fields: dict[str, Any]
    stored_reviewer: str
    """what the config holds as reviewer afterwards: nothing, explicit, or a frozen copy of the pod's token"""


class LoginReview(msgspec.Struct, frozen=True):
    """One app's login at one moment: who should review by the knowledge, and who did by the API server's audit log."""

    app: str
    mount: str
    moment: str
    version: str
    answer: str
    status: int | None
    should_present: str
    """whose token Vault should present: client, local, explicit or frozen; empty where no TokenReview was seen"""
    reviewer: str
    """who the API server saw: client, vault, long-lived, requested, nobody (not accepted), a user, or empty (no
    TokenReview)"""
    user: str = ""
    review_status: int | None = None
    evidence: tuple[EvidenceLine, ...] = ()


def configs(facts: Facts) -> Iterator[Config]:
    """Yield every config of a Kubernetes mount that was written, in order: a mount's may be written more than once."""
    for _, written in facts.record.numbered(ConfigWritten):
        if not facts.mount(written.mount).of_kind.reviews:
            continue
        yield Config(
            mount=written.mount,
            cluster=facts.mount(written.mount).cluster,
            written_by=written.version,
            token_file=written.token_file,
            fields=written.fields,
            stored_reviewer=facts.stored_by(written) or "none",
        )


def reviewing(facts: Facts) -> Iterator[LoginReview]:
    """Yield every login at a Kubernetes mount at every moment, in order."""
    for seen in facts.observations:
        if seen.probe != "login" or not facts.mount(seen.mount).of_kind.reviews:
            continue
        review = facts.review_of(seen)
        yield LoginReview(
            app=seen.app,
            mount=seen.mount,
            moment=seen.moment,
            version=seen.version,
            answer=seen.answer,
            status=seen.status,
            should_present=facts.bearer(seen) if review else "",
            reviewer=facts.reviewer(seen),
            user=review.user if review else "",
            review_status=review.status if review else None,
            evidence=(shown(review),) if review else (),
        )
