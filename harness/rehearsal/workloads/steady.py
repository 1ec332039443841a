"""Clients that ask for one thing each, again and again, while nodes of a Vault are replaced, or leases revoked."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Final, NamedTuple, Self

from harness.record.journal import Journal
from harness.record.node_events import LeaderChanged, RequestKind, SteadyLoad
from harness.rehearsal import ways
from harness.rig.rig import Reply, Rig, VaultClient, VaultSystem
from harness.rig.several import several_nodes
from harness.scenario.course import Step
from harness.scenario.schema_ways import MaybeThrough, Through
from harness.scenario.topology import Topology
from harness.secret import Secret, carried
from harness.wait import Stopwatch, now

EVERY_SECONDS: Final = 0.1
"""How often each asks: as exact as the length of a gap can be."""

Ask = Callable[[], Reply]


class Asked(NamedTuple):
    """What a client asks for, and on whose behalf."""

    kind: RequestKind
    app: str
    through: MaybeThrough = ""
    """the way on which it asks; empty: whoever leads is asked"""


Asks = Mapping[Asked, Ask]


class Leading:
    """Where a token is renewed, where the node that leads may change meanwhile."""

    def __init__(self, system: VaultSystem, certificate: Secret | None = None) -> None:
        self._system, self._certificate = system, certificate

    def renew_self(self, token: Secret) -> Reply:
        """Renew a token at whoever leads now."""
        vault = self._system.vault
        return (vault.showing(self._certificate) if self._certificate else vault).renew_self(token)

    def showing(self, certificate: Secret) -> Leading:
        """Return the same, where a client certificate is shown."""
        return Leading(self._system, certificate)


class OnItsWay:
    """Where a token is renewed by an app that asks a Vault of several nodes on a way of its own."""

    def __init__(self, rig: Rig, vault: str, through: Through, standbys: ways.Kept) -> None:
        self._of = partial(ways.of, rig, vault, through, standbys)

    def renew_self(self, token: Secret) -> Reply:
        """Renew a token where the app asks now."""
        return self._of().vault.renew_self(token)

    def showing(self, certificate: Secret) -> OnItsWay:
        """Return the same: of several nodes none is asked by a client certificate."""
        del certificate
        return self


class Clients:
    """Clients that ask within a `with`, each for one thing, and the node that is being replaced meanwhile, if any."""

    def __init__(self, asks: Asks, health: Ask | None) -> None:
        """*asks* has what is asked beside *health*."""
        of_all = [_Client(Asked("health", ""), health)] if health else []
        self._clients = [*of_all, *(_Client(what, ask) for what, ask in asks.items())]
        self._over, self._threads, self._node = threading.Event(), list[threading.Thread](), ""

    def __enter__(self) -> Self:
        self._threads = [
            threading.Thread(target=carried(self._ask), args=(client,), name=f"steady {client.what.kind}", daemon=True)
            for client in self._clients
        ]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, client: _Client) -> None:
        while True:
            client.ask(self._node)
            if self._over.wait(EVERY_SECONDS):
                return

    def told(self, vault: str, version: str, moment: str = "") -> list[SteadyLoad]:
        """Return what each met: *moment* is the label of the moment that comes next."""
        return [client.told(vault, version, moment) for client in self._clients]


class Load(Clients):
    """Who asks while nodes are replaced, and what they are told of it: which node, and who leads."""

    def __init__(self, rig: Rig, step: Step, version: str, asks: Asks, *, real: bool) -> None:
        """*version* is what nodes are taken to, or what leads.

        Where nothing is *real* nobody asks: it takes no time there.
        """
        super().__init__(asks, self._led if real else None)
        self._step, self._version, self._several = step, version, several_nodes(rig, step)
        self._versions: Mapping[str, str] = {}
        self._lock = threading.Lock()
        self._leader, self._left = self._several.follow(), Stopwatch()
        self._ran = ""
        """what the one that leads runs; until it has been stopped, it cannot be another version"""
        self._changes: list[LeaderChanged] = []

    def replacing(self, name: str) -> None:
        """Take note that a node is being replaced from now on; "" once it is back."""
        if not name:
            # who leads now may not have been looked at since
            self._led()
        self._node = name

    def knows(self, versions: Mapping[str, str]) -> None:
        """Take note of what each node runs: a mapping that somebody else keeps up."""
        self._versions, self._ran = versions, versions.get(self._leader, "")

    def _led(self) -> Reply:
        """Look who leads, as a load balancer does by the health of the nodes. Granted where anybody does."""
        started, name = now(), self._several.follow()
        with self._lock:
            if name:
                if name != self._leader:
                    self._changed(name)
                self._leader, self._left = name, Stopwatch()
        return Reply(200 if name else None, started=started, ended=now())

    def _changed(self, name: str) -> None:
        gap, version = self._left.seconds, self._versions.get(name, "")
        self._changes.append(
            LeaderChanged(
                at=now(),
                node=name,
                vault=self._step.vault,
                version=version,
                before=self._leader,
                before_version=self._ran,
                # that it was asked a while ago is no gap
                seconds=round(max(0.0, gap - EVERY_SECONDS), 3),
                during=self._node,
            )
        )
        self._ran = version

    def tell(self, moment: str, journal: Journal) -> None:
        """Put on record what they met: *moment* is the label of the moment that comes next."""
        for change in self._changes:
            journal.write(change)
        for told in self.told(self._step.vault, self._version, moment):
            journal.write(told)


class _Client:
    """One that asks for one thing."""

    def __init__(self, what: Asked, ask: Ask) -> None:
        self.what, self._question = what, ask
        self._gaps: list[float] = []
        self._asked, self._failures = 0, Counter[str]()
        self._granted, self._granted_at = Stopwatch(), now()
        self._longest, self._began, self._during = 0.0, 0.0, ""
        self._met = ""
        """the node that was being replaced when it began to fail"""
        self._failing = False

    def ask(self, node: str) -> None:
        """Ask once. *node* is being replaced meanwhile."""
        reply = self._question()
        self._asked += 1
        if not reply.ok:
            self._failures[reply.came] += 1
            self._met, self._failing = self._met if self._failing else node, True
        if self._granted.seconds > self._longest:
            self._longest, self._began = self._granted.seconds, self._granted_at
            self._during = self._met if self._failing else node
        if reply.ok:
            if self._failing:
                self._gaps.append(round(self._granted.seconds, 3))
            self._granted, self._granted_at, self._failing = Stopwatch(), now(), False

    def told(self, vault: str, version: str, moment: str) -> SteadyLoad:
        return SteadyLoad(
            kind=self.what.kind,
            app=self.what.app,
            through=self.what.through,
            version=version,
            moment=moment,
            asked=self._asked,
            failures=dict(self._failures),
            seconds=round(self._longest, 3),
            began=self._began,
            gaps=(*self._gaps, *((round(self._granted.seconds, 3),) if self._failing else ())),
            during=self._during,
            vault=vault,
        )


@contextmanager
def asking(
    rig: Rig,
    step: Step,
    version: str,
    asks: Asks,
    moment: str,
    journal: Journal,
    *,
    real: bool,
) -> Iterator[Load]:
    """Have clients ask while the body changes nodes; afterwards what they met is in the book, however it ends."""
    load = Load(rig, step, version, asks, real=real)
    try:
        with load:
            yield load
    finally:
        load.tell(moment, journal)


def asks_of(rig: Rig, there: Topology, vault: str, held: Mapping[str, Secret], standbys: ways.Kept) -> dict[Asked, Ask]:
    """Return what clients ask of a *vault* on behalf of one of the apps that hold a token, and on each way."""
    system, asks = rig.system(vault), dict[Asked, Ask]()
    for app, token in list(held.items())[:1]:
        asks[Asked("token-lookup", app)] = partial(_of_leader, system, partial(_look_up, token))
        if login := _login_of(rig, there, app):
            asks[Asked("login", app)] = partial(_of_leader, system, login)
    for through, app in ways.used(there, vault).items():
        if app in held and (login := _login_of(rig, there, app)):
            asks[Asked("login", app, through)] = partial(_on_its_way, rig, vault, through, standbys, login)
    return asks


def _of_leader(system: VaultSystem, ask: Callable[[VaultClient], Reply]) -> Reply:
    return ask(system.vault)


def _look_up(token: Secret, vault: VaultClient) -> Reply:
    return vault.lookup_self(token)


def _login_of(rig: Rig, there: Topology, app: str) -> Callable[[VaultClient], Reply] | None:
    """Return what logs an app in at a Vault; None where it has no token of a service account."""
    spec = there.apps[app]
    if not there.mounts[spec.mount].of_kind.of_account or spec.token == "minted":
        return None
    jwt = rig.app_token(app).jwt
    return lambda vault: vault.login(spec.mount, spec.role, jwt)


def _on_its_way(
    rig: Rig, vault: str, through: Through, standbys: ways.Kept, login: Callable[[VaultClient], Reply]
) -> Reply:
    return login(ways.of(rig, vault, through, standbys).vault)
