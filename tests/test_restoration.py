"""A snapshot that is restored in the background: what it took, what went wrong, and its end with the run."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from harness.drivers.bring_up import BringUp
from harness.drivers.restoration import Restoration
from harness.errors import ProcessDied, RigError, SwapRefused
from harness.record.events import PhaseEnded
from harness.record.journal import Journal
from harness.scenario.topology import VaultSpec
from harness.wait import Stopwatch, pause, until


class NewVault:
    """Stands in for a Vault and for the client that talks to it; *restores* is what becomes of a restore."""

    def __init__(self, restores: Callable[[], None] = lambda: None, *, active: bool = True) -> None:
        self.client: Any = self
        self.did: list[str] = []
        self.ended: str | None = None
        self._restores, self._active = restores, active

    def begin_new(self, shares: int, threshold: int, died: Callable[[], str | None]) -> None:
        self.did.append(f"begun with {shares} and {threshold}")
        until(lambda: self._active, what="it to be active", seconds=30, died=died)

    def restore_snapshot_of_another(self, file: Path, _died: Callable[[], str | None]) -> None:
        self._restores()
        self.did.append(f"restored {file.name}")

    def died(self) -> str | None:
        return self.ended

    def tail(self, lines: int = 40) -> Sequence[str]:
        return ["its last line"][:lines]

    def stop(self) -> None:
        self.did.append("stopped")

    def kill(self) -> None:
        self.did.append("killed")


@pytest.fixture
def bring_up() -> Iterator[BringUp]:
    """Threads that are over in the end."""
    one = BringUp(2)
    yield one
    one.end()


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    """A record."""
    with Journal.opened(tmp_path / "run") as one:
        yield one


def of(vault: NewVault, bring_up: BringUp, journal: Journal) -> Restoration:
    return Restoration("1.7.0", lambda: vault, VaultSpec(shares=3, threshold=2), bring_up, journal)


@pytest.mark.parametrize("late", [False, True], ids=["waited for at once", "waited for when all is done"])
def test_what_was_not_waited_for_was_done_beforehand(late: bool, bring_up: BringUp, tmp_path: Path) -> None:
    """What going back takes is the sum of both, whenever somebody began to wait."""
    told: list[PhaseEnded] = []
    with Journal.opened(tmp_path / "run", told.append) as journal:  # type: ignore[arg-type]
        vault = NewVault(lambda: pause(0.3))
        way = of(vault, bring_up, journal)
        way.restore(tmp_path / "snapshot")
        if late:
            until(lambda: "stopped" in vault.did, what="its end", seconds=10)
        waiting = Stopwatch()
        new, beforehand = way.done()
    waited, spent = waiting.seconds, sum(one.seconds for one in told)
    assert new is vault
    assert vault.did == ["begun with 3 and 2", "restored snapshot", "stopped"]
    assert [one.name for one in told] == ["a new Vault 1.7.0 for the snapshot", "snapshot restored into 1.7.0"]
    assert spent >= 0.3
    assert waited + beforehand == pytest.approx(spent, abs=0.1)
    assert (beforehand > waited) is late


def test_what_vault_declines_is_raised_to_whoever_waits_with_its_last_words(
    bring_up: BringUp, journal: Journal, tmp_path: Path
) -> None:
    def declines() -> None:
        raise SwapRefused("declined it: HTTP 400")

    way = of(NewVault(declines), bring_up, journal)
    way.restore(tmp_path / "snapshot")
    with pytest.raises(SwapRefused, match="HTTP 400") as raised:
        way.done()
    assert raised.value.log == ("its last line",)


def test_a_vault_that_ended_explains_what_failed(bring_up: BringUp, journal: Journal, tmp_path: Path) -> None:
    def dies() -> None:
        vault.ended = "Vault 1.7.0 ended by itself with status 2"
        raise RigError("gave no answer")

    vault = NewVault(dies)
    way = of(vault, bring_up, journal)
    way.restore(tmp_path / "snapshot")
    with pytest.raises(ProcessDied, match="ended by itself with status 2; what failed then: gave no answer"):
        way.done()


def test_with_the_run_it_is_over_at_once(journal: Journal) -> None:
    """Whoever takes the run down waits for its threads: none of them waits for a Vault that was ended by us."""
    bring_up, vault, began = BringUp(2), NewVault(active=False), threading.Event()

    def start() -> NewVault:
        began.set()
        return vault

    way = Restoration("1.7.0", start, VaultSpec(), bring_up, journal)
    assert began.wait(10)
    until(lambda: vault.did != [], what="its beginning", seconds=10)
    watch = Stopwatch()
    way.give_up()
    bring_up.end()
    assert watch.seconds < 5
    assert "killed" in vault.did


def test_without_a_snapshot_there_is_nothing_to_go_back_to(bring_up: BringUp, journal: Journal) -> None:
    with pytest.raises(RigError, match="there is no snapshot to go back to"):
        of(NewVault(), bring_up, journal).done()
