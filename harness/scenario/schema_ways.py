"""What a scenario can say of the way from an app to a Vault of several nodes."""

from __future__ import annotations

from typing import Final, Literal

Through = Literal["leader", "standby", "load-balancer"]
MaybeThrough = Literal["", Through]
"""Which of several nodes an app asks: the one that leads, one that stands by, or what a load balancer chooses; empty:
whichever leads."""

THROUGH: Final = (
    "Which of several nodes all that it asks goes to. leader: the active one. standby: the first one that stands by, "
    "which forwards it. load-balancer: Debian's HAProxy, which asks every node for sys/health each 2 s and hands "
    "requests to the active one alone (200, and not 429 as a standby says). Left out: the active one."
)
