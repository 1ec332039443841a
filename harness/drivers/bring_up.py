"""What comes up in threads of its own, and those who wait for a part of it: clusters, and the tokens they give out."""

from __future__ import annotations

import concurrent.futures
import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, TypeVar

from harness import wait
from harness.clients.kube import Kube
from harness.drivers.service_accounts import Account, issued, token_event
from harness.errors import RigError
from harness.record import events
from harness.record.journal import Journal
from harness.rig.rig import IssuedToken
from harness.secret import Secret, carried
from harness.wait import now

T = TypeVar("T")
K = TypeVar("K")

OLD_TOKEN_SECONDS: Final = 45


class BringUp:
    """Clusters that come up side by side. A failure of one is raised to whoever waits for something of it."""

    def __init__(self, threads: int) -> None:
        self.over = threading.Event()
        """nobody waits any more: what comes up is to give up soon"""
        self._pool = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="bring-up")
        self._clusters: dict[str, Future[None]] = {}
        self._news = threading.Condition()

    def begin(self, clusters: Iterable[str], rise: Callable[[str], None]) -> None:
        """Have every one of *clusters* rise in a thread of its own: *rise* is called with its name."""
        self._clusters = {name: self.aside(rise, name) for name in clusters}
        for future in self._clusters.values():
            future.add_done_callback(lambda _future: self.tell())

    def aside(self, act: Callable[..., T], *arguments: object) -> Future[T]:
        """Do something in a thread that `end` waits for as well."""
        return self._pool.submit(carried(act), *arguments)

    def tell(self) -> None:
        """Have everybody who waits look again."""
        with self._news:
            self._news.notify_all()

    def once_there(self, found: Mapping[K, T], name: K, cluster: str) -> T:
        """Return what a cluster brings, as soon as it is there. Raises what went wrong with that cluster."""
        with self._news:
            self._news.wait_for(lambda: name in found or self._clusters[cluster].done())
        if name not in found:
            self._clusters[cluster].result()
        return found[name]

    def await_one(self, cluster: str) -> None:
        """Wait until a cluster is up. Raises what went wrong with it."""
        self._clusters[cluster].result()

    def await_all(self) -> None:
        """Wait until all are up. Raises the first failure, once none rises any more."""
        waiting = list(self._clusters.values())
        concurrent.futures.wait(waiting)
        for future in waiting:
            future.result()

    def insist(self) -> None:
        """Raise RigError once nobody waits for what rises any more: then it is not worth going on."""
        if self.over.is_set():
            raise RigError("the run is over")

    def end(self) -> None:
        """Let what is still coming up end before anything is taken away from under it, and that soon."""
        self.over.set()
        self._pool.shutdown(wait=True, cancel_futures=True)


class Tokens:
    """Who holds which service account token, from the moment it is there, and which ones have died with their Pods."""

    def __init__(self, bring_up: BringUp, wanted: Iterable[Account], journal: Journal) -> None:
        self._bring_up, self._journal = bring_up, journal
        self._clusters = {account.purpose: account.cluster for account in wanted}
        self._held: dict[str, IssuedToken] = {}
        self._dead: list[tuple[IssuedToken, float]] = []

    def remember(self, account: Account, jwt: Secret, pod: str = "", uid: str = "") -> IssuedToken:
        """Put on record that *account* has a new token, bound to a Pod where one is named, and return it."""
        token = issued(account, jwt, pod, uid)
        self._clusters[account.purpose] = account.cluster
        self._held[account.purpose] = self.tell(token)
        self._bring_up.tell()
        return token

    def tell(self, token: IssuedToken) -> IssuedToken:
        """Put *token* on record, which nobody is to ask for here, and return it."""
        self._journal.write(token_event(token))
        return token

    @property
    def held(self) -> dict[str, IssuedToken]:
        """Return every token that somebody holds, by purpose."""
        return dict(self._held)

    def take_over(self, held: Mapping[str, IssuedToken]) -> None:
        """Have everybody hold what they held in an earlier rehearsal, whose clusters are as they were."""
        self._held |= held
        self._clusters |= {purpose: token.cluster for purpose, token in held.items()}

    def holds(self, purpose: str) -> bool:
        """Is there a token for *purpose* now?"""
        return purpose in self._held

    def of(self, purpose: str) -> IssuedToken:
        """Return the token for *purpose*, once its cluster has given it. Raises what went wrong with that cluster."""
        return self._bring_up.once_there(self._held, purpose, self._clusters[purpose])

    def replaced(self, old: IssuedToken, deleted: float, pod: str, uid: str) -> None:
        """Put on record that the Pod of *old* was deleted at a date, and that *pod* came in its place."""
        self._dead.append((old, deleted))
        self._journal.write(
            events.PodReplaced(cluster=old.cluster, old_pod=old.pod, old_uid=old.pod_uid, new_pod=pod, new_uid=uid)
        )

    def ended(self, token: IssuedToken, deleted: float) -> None:
        """Take note that what *token* stands on was deleted at a date, and nothing came in its place."""
        self._dead.append((token, deleted))

    def settle(self, servers: Mapping[str, Kube]) -> None:
        """Wait until the API server itself refuses the tokens of replaced Pods: then no cache accepts them."""
        for token, deleted in self._dead:
            # before it has its own roles, an API server refuses a token that it accepts with 403
            self._bring_up.await_one(token.cluster)
            kube = servers[token.cluster]
            wait.until(
                lambda kube=kube, token=token: not kube.accepts(token.jwt),  # type: ignore[misc]
                what=f"the API server of {token.cluster} to refuse the token of {token.pod or token.purpose}",
                seconds=OLD_TOKEN_SECONDS,
                every=0.05,
            )
            self._journal.write(
                events.OldTokenRefused(cluster=token.cluster, pod=token.pod, seconds=round(now() - deleted, 3))
            )
        self._dead.clear()
