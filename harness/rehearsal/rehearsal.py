"""The order in which a rehearsal happens."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from harness.errors import (
    LeftBehind,
    MissingPrerequisite,
    ProcessDied,
)
from harness.knowledge import policy_templates
from harness.record import events
from harness.record import journal as journals
from harness.record.events import RunStarted
from harness.record.foretold import Foretold
from harness.record.journal import Journal, Record
from harness.rehearsal import credentials, rewriting, side_steps, storages, troubles, vault_steps
from harness.rehearsal.asking import Asking
from harness.rehearsal.credentials import Held
from harness.rehearsal.leases import Leases
from harness.rehearsal.probes import AppTokens, Kept, View
from harness.rehearsal.provider import Provider
from harness.rehearsal.seals import Seals
from harness.rehearsal.several import Several
from harness.rehearsal.workloads import steady
from harness.rehearsal.workloads.renewals import renewing
from harness.rig.agents import agents
from harness.rig.audit import audit_devices
from harness.rig.driver import Driver
from harness.rig.rig import Keepable, Rig
from harness.rig.source import TOLD, SharesSource, Source
from harness.scenario import course, driver_traits, shared_source
from harness.scenario.app_spec import STORM
from harness.scenario.course import AnyStep, Look, Serve, Start
from harness.scenario.mount_kinds import PROVIDER
from harness.scenario.plan import Plan, renews
from harness.secret import Secret
from harness.wait import Stopwatch

if TYPE_CHECKING:
    from harness.analysis.verdict import Judgement

Afterwards = Callable[[Rig], None]
"""What is done with a system whose course is over, before it is ended. It writes into records of its own."""
Foretelling = Callable[[], Foretold]
"""What works out how a run's questions will be answered. It takes a moment, and is done while servers start."""


class Rehearsed(NamedTuple):
    """A rehearsal that has ended: its record, and what it means."""

    record: Record
    judgement: Judgement


def rehearse(
    start: RunStarted,
    driver: Driver,
    journal: Journal,
    keep_seconds: float = 0,
    afterwards: Afterwards | None = None,
    foretold: Foretelling | None = None,
) -> Rehearsed:
    """Rehearse one upgrade from end to end, and say what it means, by its record on disk alone.

    Raises as `recorded`.
    """
    recorded(start, driver, journal, keep_seconds, afterwards, foretold)
    return judged(journal.directory)


def judged(directory: Path) -> Rehearsed:
    """Judge a run from its record on disk, as anyone could next year. The record is read once."""
    # a run begins to start servers that much sooner
    from harness.analysis import verdict

    record = journals.load(directory)
    return Rehearsed(record, verdict.judge(record))


def recorded(
    start: RunStarted,
    driver: Driver,
    journal: Journal,
    keep_seconds: float = 0,
    afterwards: Afterwards | None = None,
    foretold: Foretelling | None = None,
) -> None:
    """Rehearse one upgrade from end to end, and write down what is seen, beside what was *foretold* of it.

    With *keep_seconds* the system stays up for that long afterwards, if the driver can do that. *afterwards* gets it
    once the course is over.
    Raises MissingPrerequisite where this machine cannot do it. Whatever breaks later is in the record.
    """
    journal.write(start)
    left_behind = ""
    try:
        run(start.plan, driver, start.run_id, journal, keep_seconds, afterwards, foretold)
    except LeftBehind as error:
        left_behind = str(error)
    journal.write(events.RunEnded(left_behind=left_behind))


def run(
    plan: Plan,
    driver: Driver,
    run_id: str,
    journal: Journal,
    keep_seconds: float = 0,
    afterwards: Afterwards | None = None,
    foretold: Foretelling | None = None,
) -> None:
    """Bring *plan* up, go its course step by step, and write down what the probes see, or what broke.

    Raises MissingPrerequisite, LeftBehind, and OSError where the record itself cannot be written.
    """
    reached: list[AnyStep] = []
    with _noted(journal, lambda error: troubles.outside(error, reached)):
        with driver.up(plan, run_id, journal) as rig:
            with _noted(journal, lambda error: troubles.of(error, reached, rig)), _foretelling(journal, foretold):
                Running(plan, rig, journal, reached).run()
            if afterwards is not None and rig.broken() is None:
                afterwards(rig)
            ending = "everything is ended"
            if keep_seconds and isinstance(rig, Keepable):
                journal.write(events.Kept(hints=tuple(rig.keep(keep_seconds))))
                ending = "everything is left up"
            leaving = Stopwatch()
        journal.write(events.PhaseEnded(name=ending, seconds=round(leaving.seconds, 3)))


@contextmanager
def _foretelling(journal: Journal, foretold: Foretelling | None) -> Iterator[None]:
    """Write down what is *foretold* while the body waits for servers, and before it is over."""
    if foretold is None:
        yield
        return
    with ThreadPoolExecutor(1, thread_name_prefix="foretelling") as pool:
        told = pool.submit(lambda: journal.write(foretold()))
        yield
        told.result()


@contextmanager
def _noted(journal: Journal, told: Callable[[Exception], events.Trouble]) -> Iterator[None]:
    """Write down what breaks in the body, whatever it is: what was seen until then is worth judging.

    An error of our own, too: uncaught it would end as exit 1, and that means a regression.
    """
    try:
        yield
    except (MissingPrerequisite, LeftBehind):
        raise
    except Exception as error:
        journal.write(told(error))
        if notes := getattr(error, "__notes__", ()):
            # the way down failed as well, and could only say so in a note
            raise LeftBehind("; ".join(notes)) from error


@dataclass(slots=True)
class Running:
    """A rehearsal under way: its plan, on which rig, for which record, and how far it has come."""

    plan: Plan
    rig: Rig
    journal: Journal
    reached: list[AnyStep] = field(default_factory=list)
    """every step that was begun, for whoever has to say where it broke"""
    mounted: dict[str, str] = field(default_factory=dict)
    """the accessors of the auth mounts that are there, by path"""
    credentials: Held = field(default_factory=Held)
    """what logs in where no token of a service account does"""
    provider: Provider = field(default_factory=Provider)
    keys: dict[str, Sequence[Secret]] = field(default_factory=dict)
    """the unseal keys of each Vault that is initialised"""
    old: AppTokens = field(default_factory=dict)
    """what running apps hold: the tokens of the logins at the first look"""
    fresh: AppTokens = field(default_factory=dict)
    """the tokens of the logins at the last look"""
    late: AppTokens = field(default_factory=dict)
    """those of the last look before going back"""
    kept: Kept = field(default_factory=dict)
    """what running apps got of secrets engines at the first look"""
    beforehand: float = 0.0
    """seconds of what the step under way takes that were spent beside the steps before it"""
    asking: Asking = field(init=False)
    several: Several = field(init=False)
    """the Vaults of several nodes"""
    seals: Seals = field(init=False)
    """the Vault that unseals another one"""
    leases: Leases = field(init=False)
    """what others have of each Vault"""

    def __post_init__(self) -> None:
        self.seals = Seals(self.rig, self.plan.resolved)
        self.several = Several(self.rig, self.plan, self.journal)
        real = driver_traits.of(self.plan.driver).real
        self.leases = Leases(self.rig, self.plan.resolved, self.journal, real=real)
        self.asking = Asking(self.plan.resolved, self.rig, self.journal, real)

    def run(self) -> None:
        """Do one step after the other; those behind the source state alone, where that is an earlier rehearsal's."""
        sharing = self.rig if isinstance(self.rig, SharesSource) else None
        if sharing is not None and sharing.begun_from is not None:
            self._go_on_from(sharing.begun_from)
        for step in self.plan.steps[len(self.reached) :]:
            if sharing is not None and sharing.wants_source and self.reached == [*shared_source.made_once(self.plan)]:
                self._keep_source(sharing)
            self.do(step)

    def _go_on_from(self, source: Source) -> None:
        """Open the Vault that was started over a source state."""
        self.reached += shared_source.made_once(self.plan)
        self.mounted |= source.mounted
        self.credentials.update(source.credentials)
        self.keys |= source.keys
        self.provider = Provider(source.signer)
        self._open_source()

    def _keep_source(self, sharing: SharesSource) -> None:
        """Have those who come later begin where this rehearsal is now."""
        with self.journal.phase("clusters are ready"):
            self.rig.await_clusters()
        with self.journal.phase("source state is kept"):
            told = journals.load(self.journal.directory).events
            source = Source(
                events=tuple(event for event in told if isinstance(event, TOLD)),
                mounted=dict(self.mounted),
                credentials=dict(self.credentials),
                keys=dict(self.keys),
                signer=self.provider.signer,
            )
            sealed = sharing.keep_source(source, self._served(self.reached[-1]))
        if sealed:
            self._open_source()

    def _open_source(self) -> None:
        served = self._served(self.reached[-1])
        with self.journal.phase(f"unseal {served.version}"):
            vault_steps.open_vault(self.rig, served, self.keys[served.vault], self.journal)

    def do(self, step: AnyStep) -> None:
        """Do one step. Raises whatever keeps it from being done."""
        if isinstance(step, Serve | course.Snapshot):
            vault_steps.expect_way_back(self.rig, step.vault, self.plan.steps[len(self.reached) :])
        self.reached.append(step)
        self.beforehand = 0.0
        match step:
            case Start() | course.Form():
                self._set_up(step)
            case course.Upgrade() | course.Restart() | course.RollBack() | course.Move():
                self._serve(step)
            case course.WriteConfig():
                served = self._served(step)
                with self.journal.phase(f"config of {step.mount} by {served.version}"):
                    vault_steps.write_config(
                        self.rig, self.plan.resolved, step, served, self.mounted, self.provider, self.journal
                    )
            case course.WriteRole():
                served = self._served(step)
                vault_steps.write_role(
                    self.rig, self.plan.resolved, step, served, self.mounted, self.credentials, self.journal
                )
            case course.Rewrite():
                served = self._served(step)
                with self.journal.phase(f"rewrite of {step.mount} by {served.version}"), self._timed(step):
                    mount, roles = self.mounted[step.mount], self.plan.resolved.mounts[step.mount].roles
                    rewriting.rewrite(self.rig, (step.mount, mount), roles, served, self._next_moment(), self.journal)
            case Look():
                self._look(step)
            case course.WriteLate():
                mine = self._apps_of(step.vault)
                late = {app: held for app, held in self.fresh.items() if app in mine and held[0] is not None}
                self.late |= late
                vault_steps.write_late(self.rig, self.plan.resolved, step.vault, late, self.credentials, self.journal)
            case _:
                with self.journal.phase(course.words_of(step)), self._timed(step):
                    self._beside(step)

    def _beside(self, step: AnyStep) -> None:
        """Do a step that puts no other Vault in place."""
        match step:
            case _ if isinstance(step, course.OF_NODES):
                self.several.change(step, self._next_moment(), self._tokens_of(step.vault))
            case course.SealVault():
                self.seals.do(step, lambda: self._reopen(step))
            case course.TouchStorage():
                self._touch_storage(step)
            case course.TouchDatabase():
                storages.touch_database(
                    step, self._served(step).version, self._next_moment(), self.rig, self.plan.resolved, self.journal
                )
            case course.AuditDevice():
                audit_devices(self.rig).turn_device(step.device, step.to)
            case course.AgentSink():
                agents(self.rig).turn_sink(step.app, step.to)
            case course.MakeLeases() | course.RevokeLeases():
                self.leases.change(step, self._served(step), self._tokens_of(step.vault))
            case course.RotateKeys() if step.cluster == PROVIDER:
                self.provider.rotate_key()
            case _:
                side_steps.do(self._as_vault_has_it(step), self.rig, lambda: self._reopen(step))

    def _as_vault_has_it(self, step: AnyStep) -> AnyStep:
        """Return a step whose policy names auth mounts as only Vault does: by their accessors."""
        if not isinstance(step, course.WritePolicy):
            return step
        return msgspec.structs.replace(step, text=policy_templates.with_accessors(step.text, self.mounted))

    def _set_up(self, step: Start | course.Form) -> None:
        if isinstance(step, Start):
            with self.journal.phase(f"{step.vault or 'vault'} is set up"):
                self.seals.begin(step)
                keys = vault_steps.initialise(self.rig, self.plan, step, self.journal)
                self.keys[step.vault] = self.seals.begun(step, keys)
            return
        with self.journal.phase("the nodes are one Vault"), self._timed(step):
            self.several.form(step, self.keys[step.vault])

    def _serve(self, step: course.Placed | course.Move) -> None:
        with self._running_apps(step):
            with self._timed(step):
                if isinstance(step, course.Placed) and step.vault in self.several.runs:
                    self._replace_nodes(step)
                else:
                    keys = self.seals.before(step, self.keys[step.vault])
                    meanwhile = functools.partial(self._touch_storage, step)
                    setting_up = not any(isinstance(one, Look) for one in self.reached)
                    try:
                        self.beforehand = vault_steps.to_next(
                            self.rig, step, keys, self.journal, meanwhile, setting_up=setting_up
                        )
                    except ProcessDied:
                        self.seals.leave_to_kubelet(step, self._reopen, self.journal)
                        raise
                    self.keys[step.vault] = self.seals.after(step, keys)
                self.leases.restored(step)
            vault_steps.settle(self.rig, step, self.reached, self.journal)

    def _touch_storage(self, step: course.TouchStorage | course.Placed | course.Move) -> None:
        version, moment = self._served(step).version, self._next_moment()
        storages.touch(step, version, moment, self.rig, self.plan.resolved, self.journal)

    def _replace_nodes(self, step: course.Placed) -> None:
        position = len(self.reached) - 1

        def at(name: str) -> None:
            # whoever has to say where it broke looks here
            self.reached[position] = msgspec.structs.replace(step, node=name) if name else step

        keys = self.keys[step.vault]
        self.several.replace(step, keys, self._next_moment(), self._tokens_of(step.vault), at)

    def _tokens_of(self, vault: str) -> dict[str, Secret]:
        """Return what the running apps of a Vault hold."""
        mine = self._apps_of(vault)
        return {app: token for app, (token, _) in self.old.items() if app in mine and token is not None}

    @contextmanager
    def _timed(self, step: AnyStep) -> Iterator[None]:
        """Put on record how long the body takes, if it ends well. What goes wrong is told otherwise."""
        watch = Stopwatch()
        yield
        self.journal.write(
            events.StepEnded(
                do=course.word_of(step),
                number=step.number,
                position=len(self.reached) - 1,
                version=self._served(step).version,
                seconds=round(watch.seconds, 3),
                beforehand=round(self.beforehand, 3),
                vault=course.vault_of(step, self.plan.resolved),
                node=step.node,
            )
        )

    def _reopen(self, step: AnyStep) -> None:
        """Open the Vault that *step* has sealed."""
        which = vault_steps.keys_for(step)
        vault_steps.open_vault(self.rig, self._served(step), self.keys[step.vault], self.journal, which=which)

    def _served(self, step: AnyStep) -> Serve:
        """Return the step that put in place what serves now of the Vault that *step* concerns; else of any."""
        return troubles.served(self.reached, course.vault_of(step, self.plan.resolved))

    def _served_of(self, vault: str) -> Serve:
        return troubles.served(self.reached, self.plan.resolved.told_apart(vault))

    def _apps_of(self, vault: str) -> set[str]:
        """Return the apps that log in to a Vault."""
        topology = self.plan.resolved
        return {name for name, app in topology.apps.items() if app.mount in topology.mounts_of(vault)}

    def _running_apps(self, step: Serve) -> AbstractContextManager[None]:
        """Have apps run on while Vault is replaced. On paper that takes no time, and only a refusal is noticed."""
        mine = {app for app in self._apps_of(step.vault) if renews(self.plan.resolved, app)}
        tokens = {app: token for app, (token, _) in self.old.items() if app in mine and token is not None}
        if not tokens:
            return nullcontext()
        system = self.rig.system(step.vault)
        vault = steady.Leading(system) if step.vault in self.several.runs else system.vault
        shown = credentials.certificates_of(self.plan.resolved, self.credentials, tokens)
        goes = self.several.ways_of(step.vault, tokens)
        swap = (step, self._next_moment(), self.journal, lambda: self.beforehand, shown, goes)
        return renewing(vault, tokens, *swap, once=not driver_traits.of(self.plan.driver).real)

    def _next_moment(self) -> str:
        """Return the label of the moment at which everything is asked next."""
        return next((moment.label for moment in course.moments(self.plan.steps[len(self.reached) :])), "")

    def _finds_leader(self, view: View, moment: course.Moment, vault: str) -> bool:
        """Wait until a node of a *vault* leads, in the middle of a look, and have everything go there."""
        found = self.several.finds_leader(vault, moment)
        if found:
            view.runs = self.several.runs_at(moment)
        return found

    def _look(self, step: Look) -> None:
        """Ask every question once, and bring in what the servers wrote about it."""
        moment, first = step.moment, step.moment.number == 0
        versions = moment.versions | self.several.versions
        if first:
            # until here Vault was busy by itself, or with the one cluster that its Pod is in
            with self.journal.phase("clusters are ready"):
                self.rig.await_clusters()
        with self.journal.phase(f"probes {moment.label}"):
            self.rig.skip()
            self.journal.write(
                events.MomentBegan(
                    moment=moment.label,
                    number=moment.number,
                    step=moment.step,
                    version=moment.version,
                    token_file=moment.token_file,
                    versions=versions,
                )
            )
            if first:
                credentials.renew_all(self.plan.resolved, self.credentials, self._served_of, self.journal)
            view = View(self.rig, self.plan.resolved, moment.label, moment.version, self.journal.next_id, old=self.old)
            view.runs, view.standbys = self.several.runs_at(moment), self.several.standbys
            view.finds_leader = functools.partial(self._finds_leader, view, moment)
            if first:
                view.logins = view.old  # the tokens of this login are the ones that running apps hold from here on
            view.late, view.kept, view.credentials = self.late, self.kept, self.credentials
            view.seal_token = self.seals.token
            view.minted = lambda app: self.provider.token(app, self.plan.resolved.apps[app], self.journal)
            late = vault_steps.late_questions(self.plan.resolved, self.reached, self.late) if step.late else ()
            asked = [one for one in (*self.plan.questions, *late) if step.asks(one.vault, one.probe)]
            for question in (one for one in asked if one.probe != STORM):
                if question.node in self.several.stopped:
                    self.journal.write(view.not_asked(question, "a step of the course has stopped this node", 0))
                else:
                    self.asking.ask(question, view)
            self.asking.insist_whole()
            self.fresh = view.logins
            self.rig.gather(moment)
            for vault in {one.vault for one in asked}:
                self.leases.count_given_up(self._served_of(vault))
            # what servers write about thousands of logins is counted, and would hide what they write about one
            for question in (one for one in asked if one.probe == STORM):
                self.asking.ask(question, view)
            for vault in set(self.plan.resolved.vaults) - {*step.without}:
                if served := self.several.still_there(self._served_of(vault)):
                    vault_steps.insist_alive(self.rig, served, "to answer still, once all was asked")
