"""The cells of a matrix on other machines: each is a task of a Dask scheduler, and its record comes back here.

What a worker that is lost was at, another one does. A worker with another release of this program, or another binary,
gets nothing to do, and a sentence says why.
"""

from __future__ import annotations

import json
import queue
import secrets
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from harness.cli import remote_cell
from harness.cli.matrix_workers import Grouped
from harness.cli.remote_cell import DOCKER, MEMORY, RemoteAnswer, RemoteOrder, Security
from harness.errors import MissingPrerequisite
from harness.host import capacity
from harness.record import journal as journals
from harness.record.events import ArtifactUsed
from harness.scenario import driver_traits
from harness.session import matrix_directory
from harness.wait import Stopwatch

if TYPE_CHECKING:
    from harness.cli.matrix_workers import Task
    from harness.cli.progress import Progress

_LOOK_SECONDS: Final = 0.5
_CONNECT_SECONDS: Final = 15
_ALONE_SECONDS: Final = 60.0
"""So long a matrix waits for a worker that can do it."""

_AHEAD: Final = 1
"""So many cells more than there are threads wait at the workers, who then never wait for one."""


class RemoteWorkers:
    """The workers of a scheduler, wherever they are."""

    def __init__(self, address: str, security: Security, words: Sequence[str], going: Progress) -> None:
        """*words* are the options of every cell. Raises MissingPrerequisite where there is no such scheduler."""
        self._address, self._words, self._going = address, tuple(words), going
        self._client = connected(address, security)
        self._program = matrix_directory.program()
        # those of the workers have to be the same
        self._digests = remote_cell.digests_here()
        self._name = f"rehearse-{secrets.token_hex(4)}"
        self._refused: dict[str, str] = {}
        self._told: set[str] = set()
        self._answers: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._tasks: dict[str, Task] = {}
        self._futures: dict[str, Any] = {}
        self._number = 0

    def ended(self, tasks: Iterable[Task]) -> Iterator[tuple[Task, int]]:
        """Yield each task with its exit code as it is over, its record in its directory.

        Raises MissingPrerequisite where the scheduler is gone, or nobody is there who can do it: what is finished by
        then has been yielded.
        """
        waiting, over, group = iter(tasks), False, ""
        alone = Stopwatch()
        while self._tasks or not over:
            room = self._room()
            if room:
                alone = Stopwatch()
            elif alone.seconds > _ALONE_SECONDS:
                raise MissingPrerequisite(self._nobody())
            while not over and len(self._tasks) < room:
                # one group after the other: which worker gets a cell is the scheduler's, and each has had that group
                task = tasks.take(group) if isinstance(tasks, Grouped) else next(waiting, None)
                if task is None:
                    over = True
                    break
                group = task.group
                self._submit(task)
            yield from self._received()
        self.end()

    def end(self) -> int:
        """Have every cell ended that is under way, and take leave of the scheduler."""
        with suppress(Exception):
            self._client.cancel(list(self._futures.values()), force=True)
        self._futures, self._tasks = {}, {}
        with suppress(Exception):
            self._client.close()
        return 0

    def _room(self) -> int:
        """Return how many cells may be under way: so many as the workers that can do any have threads, and one each.

        Says of each worker once whether it can, and why not. Raises MissingPrerequisite where the scheduler is gone.
        """
        if self._client.status != "running":
            raise self._gone()
        room = 0
        for address, about in self._known().items():
            if why := self._why_not(address, about["resources"]):
                self._tell(f"worker {about['name']} gets nothing to do: {why}")
            else:
                self._tell(f"worker {about['name']}: {about['nthreads']} cells at a time")
                room += about["nthreads"] + _AHEAD
        return room

    def _gone(self) -> MissingPrerequisite:
        return MissingPrerequisite(
            f"the scheduler at {self._address} is gone; what is finished is kept, and the same command goes on "
            "from there once it is back"
        )

    @contextmanager
    def _reached(self) -> Iterator[None]:
        """Have a scheduler that cannot be reached be gone: it may be asked before its client has noticed."""
        try:
            yield
        except OSError as error:
            raise self._gone() from error

    def _known(self) -> Mapping[str, Any]:
        # while it takes leave of a scheduler that is gone, it knows of none
        with self._reached():
            found: Mapping[str, Any] = self._client.scheduler_info(n_workers=-1).get("workers", {})
        return found

    def _fitting(self) -> list[tuple[str, Mapping[str, float]]]:
        """Return the address and the resources of every worker that can do any cell."""
        known = self._known().items()
        return [(place, about["resources"]) for place, about in known if not self._why_not(place, about["resources"])]

    def _why_not(self, address: str, has: Mapping[str, float]) -> str:
        """Return why a worker with these resources is none for this matrix; nothing for one that is."""
        if address in self._refused:
            return self._refused[address]
        if remote_cell.tag(self._program) in has:
            return ""
        other = next((name.partition(" ")[2] for name in has if name.startswith("rehearse ")), "")
        if other:
            return f"it has rehearse {other}, and this matrix is made by {self._program}: install the same there"
        return "it is a worker of something else: start it with `rehearse worker`"

    def _nobody(self) -> str:
        reasons = [
            f"{about['name']}: {self._why_not(address, about['resources'])}" for address, about in self._known().items()
        ]
        return (
            f"for {_ALONE_SECONDS:g} s nobody at {self._address} could rehearse this matrix "
            f"({'; '.join(reasons) or 'no worker is there'}); start `rehearse worker` on a machine with this release; "
            "the same command goes on from what is finished"
        )

    def _tell(self, line: str) -> None:
        if line not in self._told:
            self._told.add(line)
            self._going.say(line)

    def _submit(self, task: Task) -> None:
        scenario = Path(task.order.scenario)
        text, driver = scenario.read_text(encoding="utf-8"), task.order.driver
        needs = needs_of(json.loads(text), driver)
        if why := self._too_much(needs):
            self._tasks[task.name] = task
            self._answers.put((task.name, why))
            return
        self._number += 1
        workers = [address for address, _ in self._fitting()] if self._refused else None
        with self._reached():
            future = self._client.submit(
                remote_cell.rehearse_cell,
                RemoteOrder(
                    task.name,
                    scenario.name,
                    text,
                    driver,
                    self._words,
                    task.limit_seconds,
                    self._program,
                    self._digests,
                    task.group,
                    task.order.sharing,
                    task.order.alone,
                ),
                # a cell that is rehearsed again is another task
                key=f"{self._name}-{self._number}-{task.name}",
                resources={remote_cell.tag(self._program): 1.0, **needs},
                workers=workers,
                pure=False,
            )
        self._going.begin(task.name)
        self._tasks[future.key], self._futures[future.key] = task, future
        future.add_done_callback(self._answers.put)

    def _too_much(self, needs: Mapping[str, float]) -> str:
        """Return why no worker that is there can rehearse a cell with these needs; nothing where one can."""
        fitting = [has for _, has in self._fitting()]
        if any(all(has.get(what, 0.0) >= number for what, number in needs.items()) for has in fitting):
            return ""
        if DOCKER in needs and not any(has.get(DOCKER) for has in fitting):
            return "no worker has a Docker engine, which --driver kind needs"
        most = max((has.get(MEMORY, 0.0) for has in fitting), default=0.0)
        return f"it takes {needs[MEMORY]:.1f} GB of memory, and no worker has more than {most:.1f} GB to give"

    def _received(self) -> Iterator[tuple[Task, int]]:
        try:
            one = self._answers.get(timeout=_LOOK_SECONDS)
        except queue.Empty:
            return
        if isinstance(one, tuple):
            key, why = one
            yield self._without_record(self._tasks.pop(key), why)
            return
        task = self._tasks.pop(one.key, None)
        self._futures.pop(one.key, None)
        if task is None or self._client.status != "running":
            # it was cancelled, or the scheduler is gone, which is told when the next is asked for
            return
        self._going.end(task.name)
        if one.status != "finished":
            yield self._without_record(task, _why_lost(one))
            return
        answer: RemoteAnswer = one.result()
        if refusal := answer.refused or self._take(task, answer):
            self._refused[answer.worker] = refusal
            self._submit(task)
            return
        task.seconds, task.said, task.late = answer.seconds, list(answer.said), answer.late
        yield task, answer.code

    def _without_record(self, task: Task, why: str) -> tuple[Task, int]:
        task.said = [why]
        return task, 3

    def _take(self, task: Task, answer: RemoteAnswer) -> str:
        """Put the record of *task* where it belongs; return why it does not count, if it does not.

        One binary is the same in all cells: the first that comes back, or that is here, says which.
        """
        remote_cell.unpack(answer.record, task.directory)
        try:
            record = journals.load(task.directory)
        except journals.NotARecord:
            return ""
        # an image is made on each machine, and its digest is another one everywhere
        for used in () if driver_traits.of(task.order.driver).engine else record.of(ArtifactUsed):
            digest = self._digests.setdefault(f"{used.product} {used.version}", used.sha256)
            if digest != used.sha256:
                shutil.rmtree(task.directory)
                return (
                    f"it has another {used.product} {used.version} (sha256 {used.sha256[:12]}, and not {digest[:12]}): "
                    "have all machines get it from one place"
                )
        return ""


def connected(address: str, security: Security) -> Any:
    """Return a client of the scheduler at *address*. Raises MissingPrerequisite where there is none, or no engine."""
    try:
        import distributed
    except ImportError as error:
        raise MissingPrerequisite(
            "other machines are reached with Dask distributed, which is not installed: install "
            "vault-upgrade-rehearsal[distributed]"
        ) from error
    remote_cell.hush()
    try:
        security.insist(address)
        return distributed.Client(
            address, security=security.settled(), timeout=_CONNECT_SECONDS, set_as_default=False, name="rehearse"
        )
    except FileNotFoundError as error:
        raise MissingPrerequisite(
            f"{error} is missing: copy the directory with the scheduler's key here, and name it in --tls-dir"
        ) from error
    except (OSError, TypeError, ValueError) as error:
        raise MissingPrerequisite(
            f"no scheduler of rehearse answers at {address} within {_CONNECT_SECONDS} s: {error}; start one with "
            "`rehearse scheduler`, or have the --tls-dir of the one that runs"
        ) from error


def needs_of(scenario: Mapping[str, Any], driver: str) -> dict[str, float]:
    """Return what a cell takes of its worker while it lasts."""
    clusters = list((scenario.get("clusters") or {}).values())
    traits = driver_traits.of(driver)
    if not traits.real:
        return {MEMORY: 0.05}
    if traits.engine:
        nodes = sum(int((cluster or {}).get("nodes") or 1) for cluster in clusters)
        return {MEMORY: nodes * capacity.NODE_BYTES / 1e9, DOCKER: 1.0}
    return {MEMORY: (len(clusters) * capacity.CLUSTER_BYTES + capacity.VAULT_BYTES) / 1e9}


def _why_lost(future: Any) -> str:
    error = future.exception() if future.status == "error" else None
    if type(error).__name__ == "KilledWorker":
        return "every worker that rehearsed it was lost in the middle of it; look at the memory of those machines"
    return f"it was lost: {type(error).__name__}: {error}" if error is not None else f"it was {future.status}"
