"""A process that rehearses one cell after the other: what is costly to start is started once.

It reads orders from stdin, a line of JSON each, and answers each with a line on stdout once that cell is over. When
stdin ends it ends its servers and itself, as SIGTERM does: so it outlives nobody. Control planes are lent from cell to
cell, emptied (drivers/local/shared_clusters); everything else is each cell's own: its Vault, its data, its record.
"""

from __future__ import annotations

import importlib
import os
import queue
import signal
import sys
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
import msgspec

from harness.artifacts import digests
from harness.artifacts.digests import Seen
from harness.cli import bring, maintenance
from harness.cli.output import Ended, say
from harness.errors import HarnessError, LeftBehind, refused_by_machine
from harness.scenario.driver_traits import Sharing

if TYPE_CHECKING:
    from harness.cli.progress import Progress
    from harness.session.one_rehearsal import Lender, Options


_LIBRARIES: Final = ("hvac", "kubernetes.client", "requests", "tenacity", "trustme", "harness.drivers.local.driver")
"""What a rehearsal imports when it first needs it."""


class Order(msgspec.Struct, frozen=True):
    """One cell to be rehearsed."""

    scenario: str
    """its file"""
    directory: str
    """where its record goes"""
    driver: str
    sharing: Sharing = ""
    """with which others that agree with it on the source state"""
    another_follows: bool = False
    """does one that begins from nothing probably come soon?"""
    ahead: tuple[tuple[str, str], ...] = ()
    """the artifacts of one that probably comes next, and is to have the clusters of this one as they are"""
    alone: bool = False
    """is nothing to be shared with others, no cluster either?"""
    seen: tuple[Seen, ...] = ()
    """files that who orders has read: it need not be done again"""


class Answer(msgspec.Struct, frozen=True):
    """How it ended."""

    code: int
    """as `rehearse run` would have ended"""
    said: tuple[str, ...] = ()
    """why there is no result, if there is none"""


class Cells:
    """Rehearses what it is given, until nobody gives it anything any more."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._orders: queue.SimpleQueue[Order | None] = queue.SimpleQueue()
        self._lenders: dict[str, Lender] = {}
        """by driver"""
        self._held = ExitStack()
        self._busy = False
        self._places = maintenance.places()

    def serve(self) -> None:
        """Rehearse one order after the other. Raises KeyboardInterrupt where it is to end in the middle of one."""
        signal.signal(signal.SIGTERM, self._interrupt)
        # before threads do: an interruption in the middle of an import leaves its lock held, for who imports next
        for name in _LIBRARIES:
            importlib.import_module(name)
        threading.Thread(target=self._listen, name="orders", daemon=True).start()
        from harness.cli.progress import Progress

        with self._held, Progress() as going:
            while (order := self._orders.get()) is not None:
                self._busy = True
                answer = self._rehearse(order, going)
                self._busy = False
                sys.stdout.write(msgspec.json.encode(answer).decode() + "\n")
                sys.stdout.flush()

    def _interrupt(self, _number: int, _frame: object) -> None:
        # in any case: where an interruption is lost, in a callback of a library say, it ends after this cell
        self._orders.put(None)
        if self._busy:
            raise KeyboardInterrupt

    def _listen(self) -> None:
        """Take orders as they come; once there will be no more, end what is being rehearsed."""
        rest = b""
        # not through sys.stdin, whose lock would be held while Python ends
        while raw := os.read(0, 1 << 16):
            *lines, rest = (rest + raw).split(b"\n")
            for line in lines:
                self._orders.put(msgspec.json.decode(line, type=Order))
        # the handler ends what is being rehearsed, or has the loop end where nothing is
        os.kill(os.getpid(), signal.SIGTERM)

    def _rehearse(self, order: Order, going: Progress) -> Answer:
        from harness.scenario import driver_traits, loading
        from harness.session import one_rehearsal

        options = msgspec.structs.replace(self._options, driver=order.driver, run_dir=Path(order.directory))
        digests.believe(order.seen)
        seen: list[Path] = []
        try:
            loaded = loading.load(Path(order.scenario))
            traits = driver_traits.of(order.driver)
            clusters = self._lender(order.driver) if traits.shares and not order.alone else None
            if clusters is not None:
                clusters.another_follows, clusters.ahead = order.another_follows, order.ahead
            done = one_rehearsal.rehearse_one(
                loaded,
                options,
                self._places,
                follow=going.follow,
                begin=going.begin,
                tell=going.say,
                opened=seen.append,
                clusters=clusters,
                sharing=order.sharing,
            )
        except LeftBehind as error:
            return Answer(5, (str(error),))
        except HarnessError as error:
            return Answer(3, (str(error),))
        except OSError as error:
            why = refused_by_machine(error)
            return self._cut_short(seen[0], why) if seen else Answer(3, (why,))
        return Answer(done.judgement.exit_code)

    def _cut_short(self, directory: Path, why: str) -> Answer:
        from harness.session import one_rehearsal

        try:
            ended = one_rehearsal.cut_short(directory, why, strict=self._options.strict)
        except HarnessError as error:
            return Answer(3, (str(error),))
        return Answer(ended.judgement.exit_code, (why,))

    def _lender(self, driver: str) -> Lender:
        from harness.session import one_rehearsal

        if driver not in self._lenders:
            lender = one_rehearsal.lender(driver, self._places)
            self._held.enter_context(lender)
            self._lenders[driver] = lender
        return self._lenders[driver]


@click.command(name="cells", hidden=True)
@click.option("--strict", is_flag=True, envvar="REHEARSE_STRICT")
@click.option("--rollback", is_flag=True, envvar="REHEARSE_ROLLBACK")
@maintenance.NOISE_FLOOR
@maintenance.sources
@maintenance.FORCE
@bring.brings
def cells_(**how: Any) -> None:
    """Rehearse what stdin says, a line of JSON for each, for a program that runs many."""
    from harness.session.one_rehearsal import Options

    try:
        Cells(Options(**how)).serve()
    except KeyboardInterrupt as error:
        if left := "; ".join(getattr(error, "__notes__", ())):
            say(left)
            raise Ended(5) from error
        raise Ended(130) from error
    raise Ended(0)
