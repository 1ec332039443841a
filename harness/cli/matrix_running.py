"""The cells of a matrix, each rehearsed by a process of its own, and what each comes to."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from harness import settings
from harness.analysis import matrix_results
from harness.analysis.matrix_results import CellResult, MatrixResult
from harness.artifacts import digests
from harness.cli import several
from harness.cli.cells import Order
from harness.cli.matrix_workers import Task, Workers
from harness.errors import HarnessError, ScenarioError
from harness.reports.wording import OUTCOME
from harness.scenario import driver_traits, loading, matrix, plan, shared_source
from harness.scenario.driver_traits import Sharing
from harness.scenario.loading import Loaded
from harness.scenario.matrix import Cell, Matrix
from harness.scenario.plan import Plan
from harness.session import matrix_directory
from harness.session.matrix_directory import MatrixDirectory
from harness.wait import now

if TYPE_CHECKING:
    from harness.analysis.verdict import Judgement
    from harness.cli.progress import Progress
    from harness.record.journal import Record

Get = Callable[[str, str], object]
"""Gets one binary or image: product and version in, and MissingPrerequisite or the like where it is not to be had."""

Look = Callable[[Iterable[tuple[str, str]]], object]
"""Checks at once what is there of many binaries, products and versions, so that to get them is quick."""

_ENVIRONMENT: Final = 3
_SOON: Final = 2
"""Cells within which another group comes soon: a new Vault takes as long as two of them to come to serve."""


class Rehearsing(Protocol):
    """Those who rehearse cells, on this machine or on others."""

    def ended(self, tasks: Iterable[Task]) -> Iterator[tuple[Task, int]]:
        """Yield each task with its exit code as it is over, its record in its directory."""
        ...

    def end(self) -> int:
        """End what is under way."""
        ...


class _ToDo(Iterator[Task]):
    """The tasks of cells, made as there is room for them. Whoever has had a group gets the rest of it."""

    def __init__(
        self,
        groups: dict[str, list[Cell]],
        make: Callable[[Cell, Sharing, bool, Cell | None], Task | None],
        stopped: Callable[[], bool],
    ) -> None:
        """*groups* are the cells by what they agree on. *make* gets a cell, which others agree with it, whether one
        that does not agree with it is probably next, or the one after that, and the next of those that do.
        """
        self._groups, self._make, self._stopped = groups, make, stopped
        self._begun: set[str] = set()

    def __next__(self) -> Task:
        task = self.take("")
        if task is None:
            raise StopIteration
        return task

    def take(self, group: str) -> Task | None:
        """Return the next task, one of *group* if there is any; None where there is no further one."""
        while self._groups and not self._stopped():
            name = group if group in self._groups else self._another()
            cell = self._groups[name].pop(0)
            left = len(self._groups[name])
            if not left:
                del self._groups[name]
            others: Sharing = "more" if left else "last" if name == group else ""
            following = self._groups[name][0] if left and name else None
            task = self._make(cell, others if name else "", left < _SOON and len(self._groups) > bool(left), following)
            if task is not None:
                self._begun.add(name)
                task.group = name
                return task
        return None

    def _another(self) -> str:
        """Return the first group that nobody has begun, or else the one with the most cells left."""
        fresh = next((name for name in self._groups if name not in self._begun), None)
        return fresh if fresh is not None else max(self._groups, key=lambda name: len(self._groups[name]))


@dataclass(slots=True)
class Running:
    """A matrix under way."""

    loaded: Loaded
    wanted: Matrix
    cells: Sequence[Cell]
    """those that are reported"""
    directory: MatrixDirectory
    keys: Mapping[str, str]
    """by cell"""
    how: several.How
    jobs: int
    limit_seconds: float
    fail_fast: bool
    rollback: bool
    going: Progress
    verbose: bool = False
    results: dict[str, CellResult] = field(default_factory=dict)
    """of every cell that is finished"""
    whole: tuple[str, ...] = ()
    """the names of all cells that there are to be, those of other shards too"""
    alone: bool = False
    """is every cell rehearsed from nothing?"""
    elsewhere: Rehearsing | None = None
    """who rehearses them, where that is not this machine"""
    started: float = field(default_factory=now)
    _tasks: dict[int, Cell] = field(default_factory=dict)
    _plans: dict[str, Plan | ScenarioError] = field(default_factory=dict)
    """of each cell, or why there is none"""
    _stop: bool = False

    def run(self, pending: Sequence[Cell], get: Get, look: Look) -> MatrixResult:
        """Rehearse *pending*, and return the result of all cells. *get* gets one artifact, and *look* comes before it.

        After every cell what is finished is kept in the directory. Raises KeyboardInterrupt, once all have ended.
        """
        missing: dict[tuple[str, str], str] = {}
        workers = self.elsewhere
        if workers is None:
            workers = here = Workers(self.how, self.jobs, self.going, verbose=self.verbose)
            # they load their libraries while everything is fetched, or looked at in the cache
            here.expect(len(pending))
        try:
            if self.elsewhere is None:
                # elsewhere each machine gets what it needs by itself
                missing = self._fetch(pending, get, look)
            to_do = _ToDo(
                self._groups(pending),
                lambda cell, sharing, another, following: self._task(
                    cell, missing, sharing=sharing, another_follows=another, following=following
                ),
                lambda: self._stop,
            )
            for task, code in workers.ended(to_do):
                self._finished(task, code)
        except KeyboardInterrupt:
            self.going.say("interrupted: the rehearsals are ending their servers")
            workers.end()
            raise
        except HarnessError:
            workers.end()
            raise
        return self.result(over=True)

    def result(self, *, over: bool) -> MatrixResult:
        """Return what all cells that are reported come to by now."""
        found = tuple(self.results[cell.id] for cell in self.cells if cell.id in self.results)
        return self._document(found, ended=now() if over else 0.0)

    def _document(self, found: tuple[CellResult, ...], ended: float) -> MatrixResult:
        axes = axes_of(self.wanted)
        ordered = [self.wanted.labels[axis.path] for axis in self.wanted.axes if axis.ordered]
        return MatrixResult(
            scenario=self.loaded.name,
            description=self.loaded.scenario.description,
            harness=matrix_directory.program(),
            machine=f"{platform.system()} {platform.release()} {platform.machine()}",
            axes=axes,
            across=matrix_results.columns_of(axes, [label for label in ordered if label in axes]),
            planned=len(self.cells),
            started=self.started,
            ended=ended,
            exit_code=matrix_results.exit_code(found, len(self.cells)),
            cells=found,
            whole=self.whole,
            key=matrix_directory.key_of_all(self.keys),
        )

    def _fetch(self, pending: Sequence[Cell], get: Get, look: Look) -> dict[tuple[str, str], str]:
        """Get all that *pending* cells need, once for all; return why what is not to be had is not."""
        wanted = dict.fromkeys(artifact for cell in pending for artifact in self._planned(cell))
        missing: dict[tuple[str, str], str] = {}
        look(wanted)
        for product, version in wanted:
            try:
                with self.going.during(f"{product} {version}"):
                    get(product, version)
            except (HarnessError, OSError) as error:
                missing[product, version] = str(error)
                self.going.say(f"{product} {version} is not to be had: its cells are not rehearsed")
        return missing

    def _planned(self, cell: Cell) -> tuple[tuple[str, str], ...]:
        planned = self._plan(cell)
        return planned.artifacts if isinstance(planned, Plan) else ()

    def _plan(self, cell: Cell) -> Plan | ScenarioError:
        """Return the plan of a cell, or what keeps its scenario from being one."""
        if cell.id not in self._plans:
            try:
                made = loading.of_cell(self.loaded, cell)
            except ScenarioError as error:
                self._plans[cell.id] = error
            else:
                self._plans[cell.id] = plan.make(made.scenario, made.name, cell.driver, rollback=self.rollback)
        return self._plans[cell.id]

    def _groups(self, pending: Sequence[Cell]) -> dict[str, list[Cell]]:
        """Return *pending* by what they agree on: their source state, or else their clusters.

        Those of one driver and with the same clusters stand together: a process has no more than one cell needs.
        """
        groups: dict[str, list[Cell]] = {}
        for cell in sorted(pending, key=lambda cell: (cell.driver, str(cell.document()["clusters"]))):
            planned = self._plan(cell)
            groups.setdefault(shared_source.key(planned) if isinstance(planned, Plan) else "", []).append(cell)
        return groups

    def _task(
        self,
        cell: Cell,
        missing: Mapping[tuple[str, str], str],
        *,
        sharing: Sharing,
        another_follows: bool,
        following: Cell | None,
    ) -> Task | None:
        """Return the task of a cell; None where it cannot be rehearsed, which is written down instead.

        *sharing*: with which others, that agree with it on the source state. *another_follows*: does one that does not
        agree with it probably come soon? *following* is the next of those that do.
        """
        if why := self._in_the_way(cell, missing):
            self._keep(impossible(cell, *why, self.keys[cell.id]))
            return None
        file, record = self.directory.scenario_file(cell), self.directory.fresh_record(cell)
        shared = not self.alone and driver_traits.of(cell.driver).shares
        order = Order(
            str(file),
            str(record),
            cell.driver,
            sharing=sharing if shared else "",
            another_follows=another_follows and shared,
            ahead=tuple(one for one in self._planned(following) if one not in missing) if following and shared else (),
            alone=self.alone,
            seen=digests.seen(),
        )
        task = Task(cell.id or self.loaded.name, order, self.limit_seconds)
        self._tasks[id(task)] = cell
        return task

    def _in_the_way(self, cell: Cell, missing: Mapping[tuple[str, str], str]) -> tuple[int, str] | None:
        """Return why a cell cannot be rehearsed, with the code for it; None where nothing speaks against it."""
        planned = self._plan(cell)
        if isinstance(planned, ScenarioError):
            return 2, "; ".join(f"{one.message} (right would be: {one.remedy})" for one in planned.problems)
        for artifact in self._planned(cell):
            if artifact in missing:
                return _ENVIRONMENT, missing[artifact]
        return None

    def _finished(self, task: Task, code: int) -> None:
        cell = self._tasks.pop(id(task))
        record, judgement = several.judged(task.directory, code, task.said)
        made = _result(cell, task, code, self.keys[cell.id], record, judgement, self.directory.place)
        if made.exit_code == 1 and self.fail_fast:
            self._stop = True
        self._keep(made)

    def _keep(self, made: CellResult) -> None:
        self.results[made.id] = made
        self.directory.write(self._document(tuple(self.results.values()), 0.0))
        number = sum(cell.id in self.results for cell in self.cells)
        found = matrix_results.main_finding(made)
        why = f"  {found.rule}{f' at {found.hop}' if found.hop else ''}" if found is not None else ""
        if found is None and made.verdict == "inconclusive" and made.reasons:
            why = f"  {made.reasons[0].splitlines()[0]}"
        name = made.id or self.loaded.name
        self.going.say(f"[{number}/{len(self.cells)}]  {OUTCOME[made.outcome]}  {name}, {made.seconds:.1f} s{why}")


def axes_of(wanted: Matrix) -> dict[str, tuple[str, ...]]:
    """Return the values of each axis by its label; a driver that all cells have is no axis."""
    return {
        wanted.labels[axis.path]: tuple(value.text for value in axis.values)
        for axis in wanted.axes
        if axis.path != matrix.DRIVER or len(axis.values) > 1
    }


def impossible(cell: Cell, code: int, why: str, key: str) -> CellResult:
    """Return the result of a cell that could not be rehearsed: nobody knows, and that is why."""
    return CellResult(
        id=cell.id,
        values=_values(cell),
        driver=cell.driver,
        verdict="inconclusive",
        outcome="inconclusive",
        exit_code=code,
        reasons=(why,),
        key=key,
        because=cell.because,
    )


def _values(cell: Cell) -> dict[str, str]:
    return {label: value for label, value in cell.values.items() if label != matrix.DRIVER or "driver=" in cell.id}


def _result(
    cell: Cell,
    task: Task,
    code: int,
    key: str,
    record: Record | None,
    judgement: Judgement | None,
    place: Path,
) -> CellResult:
    """Return how a cell came out whose process has ended with *code*."""
    from harness.record.events import ArtifactUsed

    said = task.said[-1:] or ["it said nothing"]
    late = f"not over after {task.limit_seconds:g} s, which is the limit of a cell (--limit)" if task.late else ""
    if judgement is None or record is None:
        why = late or f"no result: {said[0]}"
        made = impossible(cell, _ENVIRONMENT if task.late else code, why, key)
        return msgspec.structs.replace(made, seconds=round(task.seconds, 3))
    whole = code in (0, 1, 4, 5) and not task.late
    used = record.of(ArtifactUsed)
    told = judgement.reasons or tuple(said)
    # what ended it comes before what is missing by that
    reasons = dict.fromkeys([*filter(None, (late,)), *(() if code in (0, 1) else task.refused), *told])
    return CellResult(
        id=cell.id,
        values=_values(cell),
        driver=cell.driver,
        verdict=judgement.verdict if whole else "inconclusive",
        outcome=judgement.outcome if whole else "inconclusive",
        exit_code=_ENVIRONMENT if task.late else code,
        reasons=tuple(reasons),
        findings=matrix_results.of_judgement(judgement),
        seconds=round(task.seconds, 3),
        record=str(task.directory.relative_to(place)),
        key=key,
        artifacts={f"{one.product} {one.version}": one.sha256 for one in used},
        sources={f"{one.product} {one.version}": one.source for one in used},
        because=cell.because,
        shared=_shared(record),
    )


def _shared(record: Record) -> str:
    """Return what a rehearsal had of others before it, in words; nothing for one that was made from nothing."""
    from harness.record.events import ClusterUp, SourceState

    if any(one.made_by for one in record.of(SourceState)):
        return "source state and clusters"
    return "clusters" if any(one.served for one in record.of(ClusterUp)) else ""


def judged_again(place: Path, cell: CellResult) -> Judgement | None:
    """Return the judgement of a finished cell from its record; None where there is none."""
    from harness.analysis import verdict
    from harness.record import journal

    if not cell.record:
        return None
    try:
        return verdict.judge(journal.load(place / cell.record))
    except journal.NotARecord:
        return None


_CELLS_FOR_ANOTHER: Final = 4
"""Measured on 2 quiet cores: half of what two processes take is waiting. The clusters of a third one cost the time of
some cells, which waiting beside the others makes up for from four cells for each process on."""


def usual_jobs(cells: Sequence[Cell]) -> int:
    """Return how many cells at a time this machine carries, as far as it is measured to: of the largest of them."""
    from harness.host import capacity

    machine = capacity.measure(settings.temporary())
    worth = max(machine.cores, len(cells) / _CELLS_FOR_ANOTHER)
    most = [int(min(machine.cores * 1.5, worth)), len(cells)]
    real = [cell for cell in cells if driver_traits.of(cell.driver).real]
    if not real:
        return max(1, int(machine.cores))
    for cell in real:
        nodes, number = driver_traits.of(cell.driver).nodes, _size(cell)
        each = number * (capacity.NODE_BYTES if nodes else capacity.CLUSTER_BYTES) + capacity.VAULT_BYTES
        a_core = capacity.NODES_A_CORE if nodes else capacity.CLUSTERS_A_CORE
        most += [capacity.most(machine.cores, a_core) // number, int(machine.memory * 0.8 / each)]
        if nodes:
            # measured on 2 cores: one cell of two nodes has them busy, and two at a time take longer than one by one
            most.append(int(machine.cores) // number)
    return max(1, min(most))


def insist_on_room(cells: Sequence[Cell], jobs: int) -> None:
    """Raise MissingPrerequisite where this machine cannot carry the largest *jobs* of *cells* at a time."""
    from harness.host import capacity

    machine = capacity.measure(settings.temporary())
    for driver in dict.fromkeys(cell.driver for cell in cells):
        traits = driver_traits.of(driver)
        number = sum(sorted(_size(cell) for cell in cells if cell.driver == driver)[-jobs:])
        if traits.real:
            capacity.insist(machine, number, nodes=number if traits.nodes else 0)


def _size(cell: Cell) -> int:
    """Return how many clusters a cell has, or nodes where its driver makes some."""
    clusters = cell.document()["clusters"].values()
    nodes = driver_traits.of(cell.driver).nodes
    return sum(int((cluster or {}).get("nodes") or 1) if nodes else 1 for cluster in clusters) or 1
