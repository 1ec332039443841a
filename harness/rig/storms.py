"""What a rig can do that has many Pods of an app log in at once."""

from __future__ import annotations

from typing import Final, Protocol, runtime_checkable

from harness.errors import RigError
from harness.rig.rig import Reply, Rig

NO_ANSWER: Final = "no answer"
"""How it is counted that nothing came back."""


@runtime_checkable
class StormsLogins(Protocol):
    """A rig that can have many Pods of one app log in at once."""

    def login_storm(self, app: str) -> Reply:
        """Have as many Pods of *app* log in as its storm has, each with a new token of its own.

        200 is that every one was let in. Else the status and the error are the answer that came most often of those
        that were no success; none of them: too few were answered at all. The data: how many asked (`pods`), how many of
        them at any time (`at_once`), how often each answer came (`answers`: HTTP 200, no answer), the first words of
        those that let nobody in (`said`); where it took time, how long it took in all (`seconds`) and an answer did
        (`latency_ms`: p50, p95, p99, max); and, where an API server was asked for reviews, `reviews` with the same of
        them, and by whom they were `asked_by`. Raises RigError where it could not be made.
        """
        ...


def storms(rig: Rig) -> StormsLogins:
    """Return *rig* as one that makes storms. Raises RigError where it cannot."""
    if isinstance(rig, StormsLogins):
        return rig
    raise RigError("this driver makes no storm of logins: choose another driver, or leave the app's storm out")
