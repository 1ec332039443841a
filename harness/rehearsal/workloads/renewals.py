"""Apps that keep running renew their tokens while Vault is replaced, and find out for how long they cannot."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Final, Protocol

from harness.knowledge import refusals
from harness.record import events
from harness.record.journal import Journal
from harness.rig.rig import Reply
from harness.scenario.course import Serve
from harness.secret import Secret, carried
from harness.wait import Stopwatch

EVERY_SECONDS: Final = 0.1
"""How often each app renews: as exact as the length of its outage can be."""

_LAST_SECONDS: Final = 5.0
"""How long a Vault that is open again is given to renew what it did not while it was replaced."""


class Renews(Protocol):
    """Where a token is renewed."""

    def renew_self(self, token: Secret) -> Reply: ...
    def showing(self, certificate: Secret) -> Renews: ...


@contextmanager
def renewing(
    vault: Renews,
    tokens: Mapping[str, Secret],
    served: Serve,
    moment: str,
    journal: Journal,
    beforehand: Callable[[], float] = lambda: 0.0,
    shown: Mapping[str, Secret] = MappingProxyType({}),
    goes: Mapping[str, Renews] = MappingProxyType({}),
    *,
    once: bool = False,
) -> Iterator[None]:
    """Have every app renew its token again and again while the body takes Vault to what is to be *served*.

    *moment* is the label of the moment at which everything is asked next. *tokens* are what the apps hold, by name;
    without one an app takes no part. *shown* are the client certificates of some, and *goes* is where some renew
    instead. *beforehand* returns how many seconds of what the body does had been done before it. Afterwards there is an
    event an app in the book. If the body fails nothing is written: what the apps met then is a part of that failure.
    *once*: the body takes no time, so each renews once after it, and only what is not granted is written.
    """
    copies = [_Copy(app, token, shown.get(app), goes.get(app)) for app, token in tokens.items()]
    if once:
        yield
        for copy in copies:
            copy.renew(vault)
            if not copy.renewed:
                journal.write(copy.told(served, moment, 0.0))
        return
    over, failed = threading.Event(), threading.Event()
    thread = threading.Thread(target=carried(_renew), args=(vault, copies, over, failed), name="renewals", daemon=True)
    thread.start()
    try:
        yield
    except BaseException:
        failed.set()
        raise
    finally:
        over.set()
        thread.join()
    for copy in copies:
        journal.write(copy.told(served, moment, beforehand()))


class _Copy:
    """A running copy of an app, and what came of its renewals."""

    def __init__(self, app: str, token: Secret, shown: Secret | None, goes: Renews | None) -> None:
        self._app, self._token, self._shown, self._goes = app, token, shown, goes
        self._asked, self._failures = 0, Counter[str]()
        self._granted = Stopwatch()
        self._longest = 0.0
        self._last = ""
        self._refused = 0
        self.renewed = False
        """was the last renewal granted?"""

    def renew(self, vault: Renews) -> None:
        vault = self._goes or vault
        asked = vault if self._shown is None else vault.showing(self._shown)
        reply = asked.renew_self(self._token)
        self._asked += 1
        self._longest = max(self._longest, self._granted.seconds)
        self.renewed = reply.ok
        if reply.ok:
            self._granted = Stopwatch()
        else:
            self._failures[reply.came] += 1
            self._refused += refusals.says(reply.status, reply.error) == "refused"
            self._last = f"{reply.came}: {reply.error}"

    def told(self, served: Serve, moment: str, beforehand: float) -> events.Renewals:
        return events.Renewals(
            app=self._app,
            version=served.version,
            vault=served.vault,
            node=served.node,
            moment=moment,
            asked=self._asked,
            failures=dict(self._failures),
            seconds=round(self._longest, 3),
            beforehand=round(beforehand, 3),
            renewed=self.renewed,
            last="" if self.renewed else self._last,
            refused=self._refused,
        )


def _renew(vault: Renews, copies: list[_Copy], over: threading.Event, failed: threading.Event) -> None:
    """Renew until the swap is *over*, and then until each has been renewed once more, or patience ends."""
    while not over.wait(EVERY_SECONDS):
        for copy in copies:
            copy.renew(vault)
    last = Stopwatch()
    while not failed.is_set() and last.seconds < _LAST_SECONDS:
        waiting = [copy for copy in copies if not copy.renewed]
        for copy in waiting:
            copy.renew(vault)
        if not waiting or failed.wait(EVERY_SECONDS):
            return
