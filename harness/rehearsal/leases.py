"""The leases that a rehearsal makes in a Vault: made, revoked, waited for at each start, and weighed."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from harness import wait
from harness.errors import RigError
from harness.knowledge import given_up_leases, versions
from harness.record.journal import Journal
from harness.record.lease_events import GivenUp, LeasesChanged, LeasesSeen, Met
from harness.rehearsal.vault_steps import sealed_again
from harness.rehearsal.workloads import steady
from harness.rig.leases import HasLeases, Many, Weighs, Weight, leases_of
from harness.rig.rig import Reply, Rig, node_of
from harness.scenario.course import MakeLeases, RevokeLeases, Serve
from harness.scenario.topology import Topology, engine_of
from harness.secret import Secret, redact

_LINES: Final = 2000
_RESTORE_SECONDS: Final = 300.0
_STORM_SECONDS: Final = 600.0
_EVERY_SECONDS: Final = 0.2
_PER_LEASE: Final = 2e-5
"""seconds between two lists for each lease: a list of 100,000 is work for Vault as well"""
_LONGEST_ERROR: Final = 240
_NONE: Final = 404
"""how Vault answers a list of nothing"""

_OPENED: Final = ("vault is unsealed", "post-unseal setup starting")
"""whichever comes first: a Vault that has no standby says the first one once it is active"""
_ACTIVE: Final = "post-unseal setup complete"
_FOUND: Final = "leases collected"
_RESTORED: Final = "lease restore complete"
_FAILED: Final = "error restoring leases"
"""What Vault's log says, on 1.4.0 to 1.16.3."""

Entry = dict[str, Any]


class Leases:
    """What each Vault has of them while the course goes on."""

    def __init__(self, rig: Rig, there: Topology, journal: Journal, *, real: bool) -> None:
        """Where nothing is *real* nobody asks beside a storm: it takes no time there."""
        self._rig, self._topology, self._journal, self._real = rig, there, journal, real
        self._held: dict[str, list[str]] = {}
        """the accessors of the tokens that are there, by the Vault"""
        self._given_up: dict[str, tuple[str, int]] = {}
        """by the Vault, how many could not be revoked when that was last asked, and which version said so"""

    def change(self, step: MakeLeases | RevokeLeases, served: Serve, tokens: Mapping[str, Secret]) -> None:
        """Make or revoke leases; *tokens* are what running apps hold, by the app.

        Raises RigError where Vault declines, or not all of them are made.
        """
        held = self._held.setdefault(step.vault, [])
        if isinstance(step, MakeLeases):
            made = leases_of(self._rig, step.vault).make_leases(step.count)
            held += made.accessors
            self._changed(step, served, step.count, made)
            if len(made.accessors) < step.count:
                raise RigError(f"of {step.count} leases {len(made.accessors)} could be made: {made.failures}")
            self._seen(step.vault, served, "made", ())
            return
        if step.count:
            gone = leases_of(self._rig, step.vault).revoke_leases(held[: step.count])
            self._changed(step, served, step.count, gone)
            lost = set(gone.accessors)
            held[:] = [one for one in held if one not in lost]
        else:
            self._storm(step, served, held, tokens)
        self._seen(step.vault, served, "revoked", ())

    def _storm(self, step: RevokeLeases, served: Serve, held: list[str], tokens: Mapping[str, Secret]) -> None:
        """Have all that are left be revoked by one request, and wait until Vault lists none any more."""
        system, vault = self._rig.system(step.vault), leases_of(self._rig, step.vault)
        asks = steady.asks_of(self._rig, self._topology, step.vault, tokens, {}) if self._real else {}
        clients = steady.Clients(asks, system.vault.health if self._real else None)
        with clients:
            watch = wait.Stopwatch()
            reply = vault.revoke_all_leases()
            if reply.ok:
                wait.until(
                    lambda: vault.list_leases().reply.status == _NONE,
                    what=f"{versions.called(served.version)} to have revoked {len(held)} leases",
                    seconds=_STORM_SECONDS,
                    every=max(_EVERY_SECONDS, len(held) * _PER_LEASE),
                    died=node_of(self._rig, served.vault, served.node).vault_died,
                )
            took = watch.seconds
        came = Many(tuple(held), seconds=took) if reply.ok else Many((), {reply.came: 1}, took)
        met = [
            Met(kind=one.kind, app=one.app, asked=one.asked, failures=one.failures, seconds=one.seconds)
            for one in clients.told(step.vault, served.version)
        ]
        self._changed(step, served, len(held), came, "" if reply.ok else reply.error, met)
        if reply.ok:
            held.clear()

    def restored(self, served: Serve) -> None:
        """Wait until a Vault that was started over leases has all of them in mind, and weigh it.

        It is active before that, and seals itself where it cannot list them: raises SwapRefused then, NotReady and
        ProcessDied.
        """
        if not self._held.get(served.vault):
            return
        node = node_of(self._rig, served.vault, served.node)
        log: Sequence[Entry] = ()

        def complete() -> bool:
            nonlocal log
            log = [entry for line in node.vault_log(_LINES) if (entry := _entry(line))]
            if any(_said(entry).startswith(_FAILED) for entry in log):
                raise sealed_again(node, served)
            return any(_said(entry) == _RESTORED for entry in log)

        wait.until(
            complete,
            what=f"{versions.called(served.version)} to have {len(self._held[served.vault])} leases in mind",
            seconds=_RESTORE_SECONDS,
            every=_EVERY_SECONDS,
            died=node.vault_died,
            log=lambda: node.vault_log(40),
            advice="its whole log is kept beside the record",
        )
        self._seen(served.vault, served, "started", log)

    def count_given_up(self, served: Serve) -> None:
        """Put on record how many leases Vault has given up to revoke, where it has engines whose leases are revoked
        elsewhere. What the same version said before, and 0 from the start on, is not worth a line.
        """
        if not self._topology.needs_database or not versions.at_least(served.version, given_up_leases.SINCE):
            return
        vault, setup = served.vault, self._rig.system(served.vault).setup
        if not isinstance(setup, HasLeases):
            return
        counted = setup.irrevocable_leases()
        now = counted.data.get("lease_count") if counted.ok else None
        before = self._given_up.get(vault, (served.version, 0))
        if now is None or (served.version, now) == before or not (now or before[1]):
            return
        held = len(self._held.get(vault, ()))
        self._journal.write(
            LeasesSeen(
                when="looked",
                version=served.version,
                held=held,
                irrevocable=now,
                given_up=_given_up(setup.given_up_leases(), list(self._topology.makers)),
                vault=vault,
            )
        )
        self._given_up[vault] = served.version, now

    def _changed(
        self,
        step: MakeLeases | RevokeLeases,
        served: Serve,
        wanted: int,
        came: Many,
        error: str = "",
        met: Sequence[Met] = (),
    ) -> None:
        self._journal.write(
            LeasesChanged(
                done="made" if isinstance(step, MakeLeases) else "revoked",
                version=served.version,
                wanted=wanted,
                count=len(came.accessors),
                failures=came.failures,
                seconds=round(came.seconds, 3),
                at_once=not step.count,
                error=error,
                met=tuple(met),
                vault=step.vault,
            )
        )

    def _seen(self, vault: str, served: Serve, when: Any, log: Sequence[Entry]) -> None:
        system, there = self._rig.system(vault), leases_of(self._rig, vault)
        listed, irrevocable = there.list_leases(), there.irrevocable_leases()
        weight = system.weigh() if isinstance(system, Weighs) else Weight()
        reply = listed.reply
        self._journal.write(
            LeasesSeen(
                when=when,
                version=served.version,
                held=len(self._held[vault]),
                found=next((int(one["num_existing"]) for one in log if _said(one).startswith(_FOUND)), None),
                active=_between(log, _OPENED, _ACTIVE),
                restored=_between(log, (_ACTIVE,), _RESTORED),
                memory=weight.memory,
                stored=weight.stored,
                listed=listed.size if reply.ok else None,
                list_seconds=round(reply.ended - reply.started, 3) if reply.ok else None,
                list_error="" if reply.ok or reply.status == _NONE else f"{reply.came} {reply.error}",
                etcd_keys=weight.etcd_keys,
                etcd_whole=weight.etcd_whole,
                irrevocable=irrevocable.data.get("lease_count") if irrevocable.ok else None,
                vault=vault,
            )
        )


def _given_up(reply: Reply, engines: Iterable[str]) -> tuple[GivenUp, ...]:
    """Return why leases are irrevocable. The ids of leases are kept in no record."""
    found = Counter(
        (engine_of(str(one.get("lease_id", "")), engines), redact(str(one.get("error", "")))[:_LONGEST_ERROR])
        for one in reply.data.get("leases") or ()
    )
    return tuple(GivenUp(engine=engine, error=error, count=count) for (engine, error), count in sorted(found.items()))


def _entry(line: str) -> Entry | None:
    """Return a line of Vault's log, which is JSON; None for what is none."""
    if not line.startswith("{"):
        return None
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _said(entry: Entry) -> str:
    return str(entry.get("@message", ""))


def _between(log: Sequence[Entry], first: Sequence[str], then: str) -> float | None:
    """Return how many seconds lie between the first of some of Vault's messages and another one, 0 where that one came
    before; None where it did not say them.
    """
    said = {_said(one): datetime.fromisoformat(str(one["@timestamp"])) for one in log if "@timestamp" in one}
    begun = [said[one] for one in first if one in said]
    if not begun or then not in said:
        return None
    return round(max(0.0, (said[then] - min(begun)).total_seconds()), 3)
