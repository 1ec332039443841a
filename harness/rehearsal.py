"""The order in which a rehearsal happens."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from harness import events, journal, probes, upgrade, verdict
from harness.driver import Driver
from harness.errors import (
    HarnessError,
    LeftBehind,
    MissingPrerequisite,
    NotReady,
    ProcessDied,
    RigError,
    SwapRefused,
    Unreachable,
)
from harness.events import RunStarted
from harness.journal import Journal
from harness.plan import Plan, Question, Stage
from harness.probes import Holders, Look
from harness.renewing import renewing
from harness.rig import Keepable, Rig
from harness.scenario import Scenario
from harness.verdict import Judgement
from harness.wait import Stopwatch


def rehearse(
    start: RunStarted, scenario: Scenario, driver: Driver, book: Journal, keep_seconds: float = 0
) -> Judgement:
    """Rehearse one upgrade from end to end, and say what it means.

    With *keep_seconds* the system stays up for that long afterwards, if the driver can do that.
    Raises MissingPrerequisite where this machine cannot do it. Whatever breaks later is in the record and judged.
    """
    book.write(start)
    left_behind = ""
    try:
        run(start.plan, scenario, driver, start.run_id, book, keep_seconds)
    except LeftBehind as error:
        left_behind = str(error)
    book.write(events.RunEnded(left_behind=left_behind))
    return judged(book.directory)


def judged(directory: Path) -> Judgement:
    """Judge a run from its record on disk, as anyone could next year."""
    return verdict.judge(journal.load(directory))


def run(plan: Plan, scenario: Scenario, driver: Driver, run_id: str, book: Journal, keep_seconds: float = 0) -> None:
    """Bring *plan* up, take it from stage to stage, and write down what the probes see, or what broke.

    Raises MissingPrerequisite, LeftBehind, and OSError where the record itself cannot be written.
    """
    reached: list[Stage] = []
    with _noted(book, lambda error: _outside(error, reached)):
        with driver.up(plan, scenario, run_id, book) as rig:
            with _noted(book, lambda error: _trouble(error, reached[-1], rig)):
                _Course(plan, scenario, rig, book, reached).run()
            ending = "everything is ended"
            if keep_seconds and isinstance(rig, Keepable):
                book.write(events.Kept(hints=tuple(rig.keep(keep_seconds))))
                ending = "everything is left up"
            leaving = Stopwatch()
        book.write(events.PhaseEnded(name=ending, seconds=round(leaving.seconds, 3)))


@contextmanager
def _noted(book: Journal, told: Callable[[Exception], events.Trouble]) -> Iterator[None]:
    """Write down what breaks in the body, whatever it is: what was seen until then is worth judging.

    An error of our own, too: uncaught it would end as exit 1, and that means a regression.
    """
    try:
        yield
    except (MissingPrerequisite, LeftBehind):
        raise
    except Exception as error:
        book.write(told(error))
        if notes := getattr(error, "__notes__", ()):
            # the way down failed as well, and could only say so in a note
            raise LeftBehind("; ".join(notes)) from error


@dataclass(frozen=True, slots=True)
class _Course:
    """A rehearsal under way: what is rehearsed, on which rig, for which record, and how far it has come."""

    plan: Plan
    scenario: Scenario
    rig: Rig
    book: Journal
    reached: list[Stage]
    """every stage that was begun, for whoever has to say where it broke"""
    old: Holders = field(default_factory=dict)
    """what running apps hold: the tokens of the logins before the first hop"""

    def run(self) -> None:
        """Go from stage to stage."""
        first, *rest = self.plan.stages
        self.reached.append(first)
        with self.book.phase("vault is set up"):
            keys = upgrade.initialise(self.rig, self.scenario, first, self.book)
        self._stop_at(first)
        for stage in rest:
            self.reached.append(stage)
            with self._running_apps(stage):
                upgrade.to_next(self.rig, stage, keys, self.book)
            self._stop_at(stage)

    def _running_apps(self, stage: Stage) -> AbstractContextManager[None]:
        """Have apps run on while Vault is taken to *stage*. On paper that takes no time, and nobody would notice."""
        tokens = {app: token for app, (token, _) in self.old.items() if token is not None}
        if not tokens or self.plan.driver == "paper":
            return nullcontext()
        return renewing(self.rig.vault, tokens, stage.version, self.book)

    def _stop_at(self, stage: Stage) -> None:
        """Do what is to be done at a stage: write configs, and look if the stage is one that is looked at."""
        if stage.writes:
            with self.book.phase(f"config by {stage.version}"):
                upgrade.write_mounts(self.rig, self.scenario, stage, self.book)
        if stage.purpose == "before":
            # until here Vault was busy by itself, or with the one cluster that its Pod is in
            with self.book.phase("clusters are ready"):
                self.rig.await_clusters()
        if stage.moment:
            with self.book.phase(f"probes {stage.moment}"):
                self._look(stage)

    def _look(self, stage: Stage) -> None:
        """Ask every question once, and bring in what the servers wrote about it."""
        self.rig.skip()
        self.book.write(events.MomentBegan(moment=stage.moment, version=stage.version, token_file=stage.token_file))
        view = Look(self.rig, self.scenario, stage.moment, stage.version, self.book.next_id, old=self.old)
        if stage.purpose == "before":
            # the tokens of this login are the ones that running apps hold from here on
            view.logins = view.old
        for question in self.plan.questions:
            _ask(question, view, self.rig, self.book)
        self.rig.gather(stage.moment)
        upgrade.insist_alive(self.rig, stage, "to answer still, once all questions were asked")


def _ask(question: Question, view: Look, rig: Rig, book: Journal) -> None:
    """Ask one question. An answer that came while a server was missing that Vault depends on is none of Vault's."""
    seen = probes.ASKED[question.probe](view, question)
    lost = rig.broken()
    if lost is None:
        book.write(seen)
        return
    error = f"{lost}; Vault's answer then was {seen.status} {seen.error}".rstrip()
    book.write(msgspec.structs.replace(seen, answer="unknown", error=error))
    raise _LostError(
        f"{lost} in the middle of the run, so nobody knows what Vault would have answered; its log is kept beside the "
        "record: see why, and run again"
    )


class _LostError(RigError):
    """A server that Vault depends on has ended."""


def _trouble(error: Exception, stage: Stage, rig: Rig) -> events.Trouble:
    """Return what broke the run, as the record keeps it."""
    root = _root(error, rig)
    return events.Trouble(
        kind=_kind(root),
        during=f"{stage.purpose} {stage.version}",
        after_swap=stage.version if stage.purpose == "hop" else "",
        message=_message(root),
        log=_log(root) or tuple(rig.vault_log(40)),
    )


def _outside(error: Exception, reached: list[Stage]) -> events.Trouble:
    """Return what broke on the way up, where nothing was learned about Vault, or on the way down."""
    during = "the way down" if reached else "bring-up"
    return events.Trouble(kind=_kind(error), during=during, message=_message(error), log=_log(error))


def _root(error: Exception, rig: Rig) -> Exception:
    """Return what lies behind *error*: a server that ended explains whatever failed after it."""
    if isinstance(error, ProcessDied | SwapRefused | _LostError) or not isinstance(error, HarnessError):
        return error
    try:
        died = rig.vault_died()
    except (RigError, Unreachable) as elsewhere:
        return elsewhere
    if died is not None:
        return ProcessDied(f"{died}; what failed then: {error}", None, rig.vault_log(40))
    lost = rig.broken()
    return error if lost is None else RigError(f"{lost}; what failed then: {error}; see its log beside the record")


def _kind(error: Exception) -> events.TroubleKind:
    """Return whether a server ended, stayed silent, said no, could not be asked, or whether it is none of Vault's."""
    kinds: tuple[tuple[type[HarnessError], events.TroubleKind], ...] = (
        (ProcessDied, "died"),
        (NotReady, "silent"),
        (SwapRefused, "refused"),
        (Unreachable, "unreachable"),
    )
    return next((kind for cause, kind in kinds if isinstance(error, cause)), "ours")


def _message(error: Exception) -> str:
    if isinstance(error, HarnessError):
        return str(error)
    if isinstance(error, OSError):
        return f"this machine would not do it: {error}; give it room, or rights, and run again"
    return f"the harness itself failed with {type(error).__name__}: {error}; please report it, with this record"


def _log(error: Exception) -> tuple[str, ...]:
    if isinstance(error, RigError):
        return error.log
    if isinstance(error, HarnessError | OSError):
        return ()
    return tuple("".join(traceback.format_exception(error)).splitlines())
