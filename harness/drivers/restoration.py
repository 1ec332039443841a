"""A snapshot is restored in the background, into a new Vault beside the one that runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from harness.clients.vault import Vault
from harness.drivers.bring_up import BringUp
from harness.errors import ProcessDied, RigError, Unreachable
from harness.knowledge import versions
from harness.record.journal import Journal
from harness.scenario.topology import VaultSpec
from harness.wait import Stopwatch


class NewVault(Protocol):
    """A Vault over no data, beside the one that runs."""

    @property
    def client(self) -> Vault: ...
    def died(self) -> str | None: ...
    def tail(self, lines: int = 40) -> Sequence[str]: ...
    def stop(self) -> None:
        """Stop it; its data stay, for whoever starts over them."""
        ...

    def kill(self) -> None:
        """End it at once: nobody wants its data any more."""
        ...


class Restoration:
    """The part of a way back over a raft snapshot that has nothing to do with the Vault that runs meanwhile.

    An operator stops the broken Vault, starts a new one, initialises it and restores the snapshot into it. Nothing of
    that but the stop needs the Vault that runs, and most of it is waiting: for an election, and for the five seconds
    that Vault gives its standbys in a restore. So it goes on here beside the steps that come before. Whatever fails is
    raised to the step that goes back, and each part is measured, for the sum is what going back takes.
    """

    def __init__(
        self, version: str, start: Callable[[], NewVault], like: VaultSpec, bring_up: BringUp, journal: Journal
    ) -> None:
        """*start* starts the new Vault, of *version*, and returns once it answers. It gets shares *like* the other."""
        self._version, self._like, self._journal = version, like, journal
        self._bring_up = bring_up
        self._vault: NewVault | None = None
        self._spent = 0.0
        self._restored: Future[NewVault] | None = None
        self._begun = bring_up.aside(self._begin, start)

    def restore(self, snapshot: Path) -> None:
        """Have the *snapshot*, which was taken just now, restored as soon as the new Vault is there."""
        self._restored = self._bring_up.aside(self._restore, snapshot)

    def done(self) -> tuple[NewVault, float]:
        """Wait for the end of it, and return the Vault, which is stopped, over the data of the snapshot.

        Beside it stands how many seconds of the work had been done before anybody waited. Raises SwapRefused where the
        snapshot was declined, ProcessDied and RigError, with the last lines of the new Vault.
        """
        if self._restored is None:
            raise RigError("there is no snapshot to go back to: the step that takes it comes first")
        waiting = Stopwatch()
        vault = self._restored.result()
        return vault, max(0.0, self._spent - waiting.seconds)

    def give_up(self) -> None:
        """End the new Vault: nobody waits for it any more."""
        if self._vault is not None:
            self._vault.kill()

    def _begin(self, start: Callable[[], NewVault]) -> NewVault:
        with self._part(f"a new {versions.called(self._version)} for the snapshot"):
            vault = self._vault = start()
            with _explained(vault):
                vault.client.begin_new(self._like.shares, self._like.threshold, lambda: self._died(vault))
        return vault

    def _restore(self, snapshot: Path) -> NewVault:
        vault = self._begun.result()
        with self._part(f"snapshot restored into {self._version}"), _explained(vault):
            vault.client.restore_snapshot_of_another(snapshot, lambda: self._died(vault))
        # not measured: an operator unseals it as it is, and only here it has to make room for the one that follows
        vault.stop()
        return vault

    def _died(self, vault: NewVault) -> str | None:
        """Return a sentence if *vault* has ended, or if nobody waits for it any more: it may have been ended by us."""
        return "the run is over" if self._bring_up.over.is_set() else vault.died()

    @contextmanager
    def _part(self, name: str) -> Iterator[None]:
        watch = Stopwatch()
        with self._journal.phase(name):
            yield
        self._spent += watch.seconds


@contextmanager
def _explained(vault: NewVault) -> Iterator[None]:
    """Have whatever the body raises bring the last lines of *vault*: a Vault that has ended explains what failed."""
    try:
        yield
    except (RigError, Unreachable) as error:
        if isinstance(error, ProcessDied):
            raise
        if sentence := vault.died():
            raise ProcessDied(f"{sentence}; what failed then: {error}", None, vault.tail()) from error
        if isinstance(error, RigError) and not error.log:
            error.log = tuple(vault.tail())
        raise
