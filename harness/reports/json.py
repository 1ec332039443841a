"""A judgement as JSON: one document, for programs."""

from __future__ import annotations

import msgspec

from harness import secret
from harness.verdict import Judgement


def render(judgement: Judgement) -> str:
    """Return *judgement* as one JSON document, indented, without a final newline. Times are seconds since the epoch."""
    return secret.redact(msgspec.json.format(msgspec.json.encode(judgement), indent=2).decode())
