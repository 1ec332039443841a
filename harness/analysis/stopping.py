"""Which answers count: what a Vault said while somebody stopped it is none, and neither is now this and now that."""

from __future__ import annotations

from typing import Final

import msgspec

from harness.knowledge import shutdown_signs
from harness.record.events import Trouble
from harness.record.journal import Record
from harness.record.observation import Observation

_DYING_SECONDS: Final = 10.0
"""For so long at most a Vault that was stopped ends what it was asked: its TokenReviews fail, and logins answer 403."""


def trusted(record: Record) -> list[Observation]:
    """Return what was seen; what a Vault refused while somebody stopped it is no answer, and nor are mixed ones."""
    seen = [_unsteady(one) if one.mixed else one for one in record.of(Observation)]
    for trouble in record.of(Trouble):
        if not shutdown_signs.is_blamed(trouble.message) and not shutdown_signs.stopped(trouble.log):
            continue
        if seen and trouble.step in ("", "look"):
            # it ended while it was asked: records of format 1 do not say so, but the version tells
            moment = seen[-1].moment
            seen = [_doubted(one) if one.moment == moment and _dying(one, trouble) else one for one in seen]
    return seen


def _unsteady(seen: Observation) -> Observation:
    counted = ", ".join(f"{answer} {times} times" for answer, times in seen.answers.items())
    error = f"asked {sum(seen.answers.values())} times in the same state, and answered {counted}".replace(
        " 1 times", " once"
    )
    return msgspec.structs.replace(seen, answer="unknown", error=error)


def _dying(seen: Observation, trouble: Trouble) -> bool:
    just_now = trouble.at - _DYING_SECONDS <= seen.ended <= trouble.at
    there = trouble.vault in ("", seen.vault)
    return just_now and there and seen.answer == "refused" and trouble.after_swap in ("", seen.version)


def _doubted(seen: Observation) -> Observation:
    error = f"Vault was being stopped; its answer then was {seen.status} {seen.error}".rstrip()
    return msgspec.structs.replace(seen, answer="unknown", error=error)
