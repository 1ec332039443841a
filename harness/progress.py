"""Events become lines for people who wait."""

from __future__ import annotations

from collections.abc import Callable

from harness import course, events
from harness.events import AnyEvent
from harness.journal import Follower
from harness.observation import Observation
from harness.reports.wording import outages


def follower(say: Callable[[str], None], *, verbose: bool) -> Follower:
    """Return a follower that says what happens as it happens; *verbose*: every answer, not just logins and outages."""

    def follow(event: AnyEvent) -> None:
        line = _line(event, verbose=verbose)
        if line:
            say(line)

    return follow


def _line(event: AnyEvent, *, verbose: bool) -> str:
    if isinstance(event, events.RunStarted):
        path = " -> ".join(course.serving(event.plan.steps))
        return f"rehearsing {event.plan.scenario}: Vault {path}, driver {event.plan.driver}"
    if isinstance(event, events.PhaseEnded):
        return f"  {event.seconds:6.2f} s  {event.name}"
    if isinstance(event, events.MomentBegan):
        return f"asking {event.moment}, Vault {event.version}"
    if isinstance(event, events.Trouble):
        return f"  trouble   {event.during}: {event.message}"
    told = verbose or isinstance(event, events.Renewals) or (isinstance(event, Observation) and event.probe == "login")
    return _detail(event) if told else ""


def _detail(event: AnyEvent) -> str:
    if isinstance(event, events.OldTokenRefused):
        return f"            the token of the replaced Pod {event.pod} is refused after {event.seconds:.1f} s"
    if isinstance(event, events.Renewals):
        return f"            {outages([event])[0]}"
    if not isinstance(event, Observation):
        return ""
    who = " ".join(part for part in (event.app or event.mount, event.item) if part)
    status = event.status if event.status is not None else "no answer"
    return f"            {event.probe} {who}: {status} {event.error}".rstrip()
