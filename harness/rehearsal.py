"""The order in which a rehearsal happens."""

from __future__ import annotations

from pathlib import Path

from harness import journal, probes, upgrade, verdict
from harness.driver import Driver
from harness.errors import HarnessError, LeftBehind, NotReady, ProcessDied, RigError, Unreachable
from harness.journal import Journal, RunStarted
from harness.plan import Plan, Stage
from harness.probes import Look
from harness.rig import Keepable, Rig
from harness.scenario import Scenario
from harness.secret import Secret
from harness.verdict import Judgement


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
    book.write(journal.RunEnded(left_behind=left_behind))
    return judged(book.directory)


def judged(directory: Path) -> Judgement:
    """Judge a run from its record on disk, as anyone could next year."""
    return verdict.judge(journal.load(directory))


def run(plan: Plan, scenario: Scenario, driver: Driver, run_id: str, book: Journal, keep_seconds: float = 0) -> None:
    """Bring *plan* up, take it from stage to stage, and write down what the probes see, or what broke."""
    try:
        with driver.up(plan, scenario, run_id, book) as rig:
            reached: list[Stage] = []
            try:
                _stages(plan, scenario, rig, book, reached)
            except (RigError, Unreachable) as error:
                book.write(_trouble(error, reached[-1], rig))
            if keep_seconds and isinstance(rig, Keepable):
                book.write(journal.Kept(hints=tuple(rig.keep(keep_seconds))))
    except (RigError, Unreachable) as error:
        # it never came up: no stage was reached, and nothing was learned about Vault
        log = error.log if isinstance(error, RigError) else ()
        kind = _kind(error, vault_died=False)
        book.write(journal.Trouble(kind=kind, during="bring-up", message=str(error), log=log))


def _stages(plan: Plan, scenario: Scenario, rig: Rig, book: Journal, reached: list[Stage]) -> None:
    first, *rest = plan.stages
    reached.append(first)
    with book.phase("vault is set up"):
        keys = upgrade.initialise(rig, scenario, first, book)
    with book.phase("clusters are ready"):
        rig.clusters()
    old: dict[str, tuple[Secret | None, int]] = {}
    _at(first, plan, scenario, rig, book, old)
    for stage in rest:
        reached.append(stage)
        upgrade.to_next(rig, stage, keys, book)
        _at(stage, plan, scenario, rig, book, old)


def _at(
    stage: Stage, plan: Plan, scenario: Scenario, rig: Rig, book: Journal, old: dict[str, tuple[Secret | None, int]]
) -> None:
    """Do what is to be done at a stage: write configs, and look if the stage is one that is looked at."""
    if stage.writes:
        with book.phase(f"config by {stage.version}"):
            upgrade.write_mounts(rig, scenario, stage, book)
    if stage.moment:
        with book.phase(f"probes {stage.moment}"):
            look(stage, plan, scenario, rig, book, old)


def look(
    stage: Stage, plan: Plan, scenario: Scenario, rig: Rig, book: Journal, old: dict[str, tuple[Secret | None, int]]
) -> None:
    """Ask every question once, and bring in what the servers wrote about it."""
    rig.skip()
    book.write(journal.MomentBegan(moment=stage.moment, version=stage.version, token_file=stage.token_file))
    view = Look(rig, scenario, stage.moment, stage.version, book.next_id, old=old)
    if stage.purpose == "before":
        # the tokens of this login are the ones that running apps hold from here on
        view.logins = view.old
    for question in plan.questions:
        book.write(probes.ASKED[question.probe](view, question))
    rig.gather(stage.moment)


def _trouble(error: HarnessError, stage: Stage, rig: Rig) -> journal.Trouble:
    """Return what broke the run, as the record keeps it."""
    kind = _kind(error, vault_died=rig.vault_died() is not None)
    log = error.log if isinstance(error, RigError) else ()
    return journal.Trouble(
        kind=kind,
        during=f"{stage.purpose} {stage.version}",
        after_swap=stage.version if stage.purpose == "hop" else "",
        message=str(error),
        log=tuple(log or rig.vault_log(40)),
    )


def _kind(error: HarnessError, *, vault_died: bool) -> journal.TroubleKind:
    """Return whether a server ended, stayed silent, said no, or could not be asked."""
    if isinstance(error, ProcessDied):
        return "died"
    if isinstance(error, NotReady):
        return "silent"
    if isinstance(error, Unreachable):
        return "died" if vault_died else "unreachable"
    return "refused"
