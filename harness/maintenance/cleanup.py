"""Finds what a crash or a power loss left, by the runs' own labels, and ends that and nothing else.

The labels: a run's entry in the registry, and what shows the same secret as the entry (see `run_traces`): its processes
and its work directory; and the labels of what it has on a container engine. A run lives as long as its supervisor or
its harness does, also where this program cannot see them, and is then not touched. What the labels leave in doubt is
not touched either, and the doubt is told.
"""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
import psutil

from harness.clients.container_engine import Engine
from harness.clients.engine_things import Thing, whereabouts
from harness.errors import RigError, Unreachable
from harness.host import run_traces, supervisor
from harness.host.run_registry import Entry, Identity, read
from harness.host.run_removal import sweep
from harness.wait import now

_PREFIX: Final = "rehearse-"
_PROGRAMS: Final = (Path(supervisor.__file__).parts[-2:], ("harness", "supervisor.py"))
"""The end of its path, the same in every installation of this package, and the one in releases up to 0.1.0."""
_BOOT_SECONDS: Final = 2.0  # the kernel tells the date of the boot, and with it of every start, in whole seconds
_ENDING_SECONDS: Final = 300.0  # for a supervisor to end a run whose time is over, containers included
_UNITS: Final = (("days", 86400), ("h", 3600), ("min", 60))

State = Literal["left", "running", "unsure"]


@dataclass(frozen=True, slots=True)
class RunRemains:
    """What there is of one run. As text it is a line for people, with its age and its size."""

    run: str
    state: State
    """`left` is for `clean` to end; `running` and `unsure` are never touched."""
    processes: Mapping[int, str]
    """The names of the processes that carry the run's mark, by process id."""
    work: Path
    """Where the run's work directory is, or would be."""
    entry: Path
    """Where the run's entry in the registry is, or would be."""
    since: float
    """When the run began, or what is left of it was last changed: a date."""
    size: int
    """The bytes in the work directory."""
    doubt: str = ""
    """Why nobody can be sure, if the state is `unsure`."""
    kept: bool = False
    """Whether it runs although its harness is gone, as one that was kept does: `kept_runs.end` ends it."""
    engine: Path | None = None
    """The socket of the container engine that it has used; None for a run that has used none."""
    things: Sequence[Thing] = ()
    """What it has there."""
    silence: str = ""
    """Why nobody can say what it has there, if that engine gives no answer."""
    frozen: str = ""
    """Why its supervisor cannot end it, if it lives and somebody has stopped it: a sentence."""
    elsewhere: str = ""
    """Where it was begun, if its process ids mean nothing here."""
    overdue: bool = False
    """Whether its supervisor should have ended it by now, and has not: `kept_runs.end` ends it all the same."""
    known: Mapping[str, Any] = field(default_factory=dict)
    """What its entry says, for `run_removal.sweep`."""

    @property
    def age(self) -> float:
        """How many seconds ago that was; never negative, although clocks are set back."""
        return max(0.0, now() - self.since)

    def __str__(self) -> str:
        """Return one line with everything that was found of the run."""
        things = [f"{name} (process {pid})" for pid, name in self.processes.items()]
        things += [f"{each.kind} {each.name}" for each in self.things]
        if os.path.lexists(self.work):
            things.append(f"{self.work} ({self.size / 1e6:.1f} MB)")
        if os.path.lexists(self.entry):
            things.append(str(self.entry))
        if self.silence:
            things.append(f"and nobody knows what at {self.engine}, because {self.silence}")
        state = "kept" if self.kept else self.state
        line = f"{self.run!r}, {state}, {_ago(self.age)} old: {', '.join(things)}"
        line += f"; {self.frozen}" if self.frozen else ""
        line += f"; it was begun in {self.elsewhere}" if self.elsewhere and not self.doubt else ""
        return f"{line}; left alone, because {self.doubt}" if self.doubt else line


def find(registry: Path, temporary: Path, *others: Path, engine: Engine | None = None) -> list[RunRemains]:
    """Return what there is of every run of this user on this machine, the living included. Nothing is changed.

    *registry* holds the runs' entries, *temporary* their work directories; *others* are further registries, such as
    that of the builds, whose entries say themselves where the work directory is. Directories that are missing hold
    nothing. *engine* is the one that the user has, on which runs are found that are on no record any more; left out,
    only what is on record is looked for, on the engine that its entry names. Of other users' processes and directories
    nothing is returned; an engine belongs to everybody who may use it.
    """
    registry, temporary = registry.absolute(), temporary.absolute()
    # In the reverse order of a run's beginning: whoever is seen here has been put on record by the time we look there.
    on_engines = _OnEngines(engine)
    directories = _directories(temporary)
    machine = _look()
    entries = [path for folder in (registry, *others) for path in sorted(folder.glob("*.json"))]
    records = {path: read(path) for path in entries}
    strays = machine.strays([record for record in records.values() if record])
    unrecorded = directories | on_engines.runs | {each.run for each in machine.marked if each.ours}
    runs = [(path.stem, path) for path in entries]
    runs += [(run, registry / f"{run}.json") for run in sorted(unrecorded - {run for run, _ in runs})]
    cases = [_FoundRun(run, entry, records.get(entry), temporary, machine, strays, on_engines) for run, entry in runs]
    found = [case.remains() for case in cases]
    # Runs that end while we look have nothing by now.
    return [
        one for one in found if one.processes or one.things or os.path.lexists(one.work) or os.path.lexists(one.entry)
    ]


def clean(remains: Sequence[RunRemains]) -> list[str]:
    """End the dead runs among *remains* that `find` has returned: processes, containers, work directory, entry.

    Returns what is still there afterwards and why, in words: what could not be ended or removed, and what was left
    alone because nobody can be sure. Running ones are neither touched nor returned.
    """
    still = []
    for one in remains:
        if one.state == "unsure":
            still.append(f"run {one.run!r} was left alone, because {one.doubt}")
        elif one.state == "left":
            known = {"children": (), **one.known, "run": one.run, "work": str(one.work)}
            left = sweep({**known, "engine": str(one.engine or "")}, str(one.entry))
            still += [f"of run {one.run!r} there is still: {each}" for each in left]
    return still


# --- what the machine shows -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Marked:
    """A process that carries the mark of a run."""

    pid: int
    name: str
    run: str
    secret: str
    since: float
    ours: bool
    supervised: bool


@dataclass(frozen=True, slots=True)
class _Machine:
    """The processes that matter here, as they were at one moment."""

    marked: Sequence[_Marked]
    supervisors: Mapping[int, float]
    """When each supervisor that lives was started, by process id."""
    forebears: frozenset[int]
    """The ids of this process and of whoever started it."""

    def strays(self, records: Sequence[Entry]) -> dict[int, float]:
        """Return the supervisors that no record accounts for: theirs may be any run that is not on record."""
        recorded = [one for record in records for one in (record.supervisor, record.watcher) if one]
        known = {one.pid for one in recorded if one.lives()}
        return {pid: since for pid, since in self.supervisors.items() if pid not in known}


def _look() -> _Machine:
    marked, supervisors, me = [], {}, psutil.Process()
    for process in psutil.process_iter():
        # Gone meanwhile, or nothing that this user may look into.
        with suppress(psutil.Error, OSError):
            if _is_supervisor(process):
                supervisors[process.pid] = process.create_time()
            elif run := (environment := run_traces.environment(process.pid)).get(run_traces.MARK):
                marked.append(_marked(process, run, environment.get(run_traces.SECRET, "")))
    return _Machine(marked, supervisors, frozenset({me.pid, *(each.pid for each in me.parents())}))


def _is_supervisor(process: psutil.Process) -> bool:
    words = process.cmdline()[-3:]
    return len(words) == 3 and Path(words[0]).parts[-2:] in _PROGRAMS and words[1].isdigit() and words[2].isdigit()


def _marked(process: psutil.Process, run: str, secret: str) -> _Marked:
    return _Marked(
        pid=process.pid,
        name=process.name(),
        run=run,
        secret=secret,
        since=process.create_time(),
        ours=process.uids().real == os.getuid(),
        # Whatever a server starts stays below its supervisor, also if it daemonises, for as long as there is one.
        supervised=any(_is_supervisor(each) for each in process.parents()),
    )


class _OnEngines:
    """What runs have on container engines: on the user's, whatever there is; on another, what a record leads to."""

    def __init__(self, engine: Engine | None) -> None:
        self._engine = engine
        try:
            self._things = engine.leftovers() if engine else []
        except (RigError, Unreachable):
            # Who has something there, if anybody, is known by the record, and is told of it by `of`.
            self._engine, self._things = None, []
        self.runs = frozenset(each.run for each in self._things)

    def of(self, run: str, record: Entry | None) -> tuple[Path | None, Sequence[Thing], str]:
        """Return the engine that *run* has used, what it has there, and why that cannot be said if it cannot."""
        ours = [each for each in self._things if each.run == run]
        named = Path(record.engine) if record and record.engine else None
        if self._engine and (named is None or named.resolve() == self._engine.socket.resolve()):
            return self._engine.socket if named or ours else None, ours, ""
        if named is None:
            return None, (), ""
        try:
            return named, Engine(named, Path("docker")).leftovers(run), ""
        except (RigError, Unreachable) as error:
            return named, (), str(error)


def _directories(temporary: Path) -> set[str]:
    """Return the runs after which directories of ours in *temporary* are named; links are not directories."""
    found = set()
    for path in temporary.glob(f"{_PREFIX}*"):
        with suppress(OSError):
            about = path.lstat()
            if stat.S_ISDIR(about.st_mode) and about.st_uid == os.geteuid():
                found.add(path.name.removeprefix(_PREFIX))
    return found


# --- what becomes of it -----------------------------------------------------------------------------------------------


class _FoundRun:
    """One run, and what can be known about it."""

    def __init__(
        self,
        run: str,
        entry: Path,
        record: Entry | None,
        temporary: Path,
        machine: _Machine,
        strays: Mapping[int, float],
        on_engines: _OnEngines,
    ) -> None:
        self._run, self._entry, self._record = run, entry, record
        self._engine, self._things, self._silence = on_engines.of(run, record)
        self._machine, self._strays = machine, strays
        self._work = Path(record.work) if record else temporary / f"{_PREFIX}{run}"
        self._marked = [each for each in machine.marked if each.run == run]
        self._elsewhere = record.elsewhere() if record else ""

    def remains(self) -> RunRemains:
        """Return what there is of the run."""
        lives = self._lives()
        doubt = "" if lives else next(self._doubts(), "")
        kept = self._is_kept()
        frozen = self._frozen()
        return RunRemains(
            run=self._run,
            state="running" if lives else "unsure" if doubt else "left",
            processes={each.pid: each.name for each in self._marked if each.ours},
            work=self._work,
            entry=self._entry,
            since=self._since(),
            size=_size(self._work) if self._is_named_after_run() else 0,
            doubt=doubt,
            kept=kept,
            engine=self._engine,
            things=self._things,
            silence=self._silence,
            frozen=frozen,
            elsewhere=self._elsewhere,
            overdue=kept and self._is_overdue(frozen=bool(frozen)),
            known=msgspec.to_builtins(self._record) if self._record else {},
        )

    def _lives(self) -> bool:
        # A harness that has lost its supervisor still ends its run itself.
        recorded = self._is_seen("supervisor") or self._is_seen("harness")
        held = not (self._record and self._record.is_past()) and run_traces.is_held(str(self._work))
        return recorded or held or any(each.supervised for each in self._marked) or any(map(_is_owned, self._things))

    def _is_seen(self, who: Literal["supervisor", "harness"]) -> bool:
        """Whether a process that the entry names lives, where its id means something."""
        record = self._record
        if record is None or self._elsewhere or record.is_past():
            return False
        return (record.supervisor if who == "supervisor" else record.harness).lives()

    def _is_kept(self) -> bool:
        return self._is_seen("supervisor") and not self._is_seen("harness")

    def _frozen(self) -> str:
        record = self._record
        if record is None or not self._is_seen("supervisor") or not run_traces.is_stopped(record.supervisor.pid):
            return ""
        pid = record.supervisor.pid
        return f"its supervisor (process {pid}) is stopped (SIGSTOP) and ends nothing; `kill -CONT {pid}` lets it go on"

    def _is_overdue(self, *, frozen: bool) -> bool:
        """Whether it should be over: kept until a date, or its harness is gone and it was not kept at all."""
        until = self._record.until if self._record else 0.0
        return (frozen and until <= now()) or 0 < until < now() - _ENDING_SECONDS

    def _since(self) -> float:
        if self._record:
            return self._record.created
        dates = [*(each.since for each in self._marked), *(each.created for each in self._things)]
        return min([_changed(self._work) or _changed(self._entry) or now(), *dates])

    def _doubts(self) -> Iterator[str]:
        # What a path is made of must not lead out of its directory, nor a line for people off its line.
        if not self._run or "/" in self._run or not self._run.isprintable():
            yield "no run has such a name"
            return
        yield from self._doubts_about_processes()
        yield from self._doubts_about_entry()
        if not self._is_named_after_run():
            yield f"its entry names the work directory {self._work}, and no run of this name would have that"
            return
        if self._record and self._elsewhere:
            yield f"it was begun in {self._elsewhere}, and nobody can say from here whether it lives: {self._by_hand()}"
        elif self._record and not self._record.mark:
            yield (
                "it was made by a release that put no mark into what it made, so nothing proves whose it is: "
                f"{self._by_hand()}"
            )
        yield from self._doubts_about_work()
        if not self._record:
            yield from self._doubts_about_things()
            yield from self._doubts_about_origin()

    def _by_hand(self) -> str:
        """Say how to remove it. Whatever does not look like ours is not named there: an entry may name anything."""
        ours = run_traces.is_marked(str(self._work)) or _is_laid_out(self._work)
        named = [self._work] if ours and self._is_named_after_run() else []
        there = [str(path) for path in (*named, self._entry) if os.path.lexists(path)]
        return f"if you know that nothing of it runs, remove it by hand: rm -rf {shlex.join(there)}"

    def _doubts_about_processes(self) -> Iterator[str]:
        for each in self._marked:
            proven = self._record is not None and bool(self._record.mark) and each.secret == self._record.mark
            if not each.ours:
                yield f"{each.name} (process {each.pid}) carries its mark and belongs to another user"
            if each.pid in self._machine.forebears:
                yield f"this very command, or what it was started from, carries its mark: unset {run_traces.MARK}"
            elif not proven:
                yield (
                    f"{each.name} (process {each.pid}) carries its name in {run_traces.MARK}, and not the secret that "
                    "a "
                    f"server of it has: look at it, and end it yourself (kill {each.pid})"
                )

    def _doubts_about_entry(self) -> Iterator[str]:
        with suppress(FileNotFoundError):
            about = self._entry.lstat()
            if not stat.S_ISREG(about.st_mode) or about.st_uid != os.geteuid():
                yield f"{self._entry} is not a file of this user"
            elif about.st_mode & 0o022:
                yield f"{self._entry} can be written to by others, and may say anything"
            elif self._record and self._record.run != self._run:
                yield f"{self._entry} is the entry of run {self._record.run!r}"

    def _doubts_about_work(self) -> Iterator[str]:
        record = self._record
        if (
            record
            and os.path.lexists(self._work)
            and (doubt := run_traces.doubt(str(self._work), self._run, record.mark))
        ):
            yield doubt

    def _is_named_after_run(self) -> bool:
        # An entry that is damaged, or forged, must not make us remove just anything.
        # Builds have a shorter name, in the directory that their registry is in, or beside that.
        beside = self._work.is_relative_to(self._entry.parent.parent.parent) and self._work.name == self._run
        return self._work.is_absolute() and (self._work.name == f"{_PREFIX}{self._run}" or beside)

    def _doubts_about_things(self) -> Iterator[str]:
        """Nobody who made them lives; but a run that was kept lives on, and its record may be in another place."""
        for each in self._things:
            if not each.is_ours:
                yield f"the {each.kind} {each.name} carries its label, and no rehearsal has made it: look at it"
            elif each.expires > now() and _is_elsewhere(each.where):
                yield f"the {each.kind} {each.name} was made in another PID namespace, where its run may live"
            elif each.expires > now():
                if each.owner is None:
                    yield f"the {each.kind} {each.name} does not say who has made it, and has not expired"
                for pid, since in self._strays.items():
                    # A harness starts its supervisor first, and makes things then.
                    if _birth(each.owner) <= since <= each.created + _BOOT_SECONDS:
                        yield f"the {each.kind} {each.name} may belong to the supervisor that runs as process {pid}"

    def _doubts_about_origin(self) -> Iterator[str]:
        """A directory that no entry speaks of: nothing can prove that it is a run's, and that the run is over."""
        if not os.path.lexists(self._work):
            return
        changed = _changed(self._work) or _changed(self._entry)
        for pid, since in self._strays.items():
            if since <= changed + _BOOT_SECONDS:
                yield f"it may belong to the supervisor that runs as process {pid}, whose run is on no record here"
        if run_traces.is_marked(str(self._work)):
            yield f"{self._work} carries a mark, and the entry that could confirm it is gone: {self._by_hand()}"
        elif _is_laid_out(self._work):
            yield (
                f"{self._work} is on no record and carries no mark; it may be what a run of an earlier release left: "
                f"{self._by_hand()}"
            )
        else:
            yield (
                f"{self._work} is on no record and does not hold just what a rehearsal puts there: look at it, and "
                "remove it if it is of no use"
            )


def _is_owned(thing: Thing) -> bool:
    """Whether the process that has made *thing* lives. After a restart another may have its id, hence the date."""
    known = not thing.where or thing.where == whereabouts()
    return known and thing.owner is not None and thing.expires > now() and Identity(*thing.owner).lives()


def _is_elsewhere(where: str) -> bool:
    """Whether process ids from *where* mean nothing here, although the machine has not been started again since."""
    boot, _, space = where.partition(".")
    here, _, ours = whereabouts().partition(".")
    return boot == here and space != ours


def _birth(owner: tuple[int, int] | None) -> float:
    """Return the date at which the process *owner* was started, if it was after the last restart of the machine."""
    return psutil.boot_time() + owner[1] / os.sysconf("SC_CLK_TCK") if owner else 0.0


def _is_laid_out(work: Path) -> bool:
    """Whether *work* holds what a driver puts into it, and nothing else."""
    with suppress(OSError):
        names = {path.name for path in work.iterdir()}
        others = {
            name
            for name in names - {"vault", "pod", "bench", "root-token", "snapshot"}
            if not name.startswith("cluster-")
        }
        return not others and ((work / "vault" / "data").is_dir() or (work / "bench" / "docker").is_file())
    return False


def _changed(path: Path) -> float:
    """Return the date at which *path* itself was last changed; nothing for one that is not there."""
    with suppress(OSError):
        return path.lstat().st_mtime
    return 0.0


def _size(tree: Path) -> int:
    """Return the bytes in the files below *tree*, following no link; what vanishes meanwhile has none."""
    size = 0
    for where, _, files in () if tree.is_symlink() else os.walk(tree):
        for name in files:
            with suppress(OSError):
                size += Path(where, name).lstat().st_size
    return size


def _ago(seconds: float) -> str:
    for unit, length in _UNITS:
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"
