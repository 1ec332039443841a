"""Measures what was promised, on this machine, and prints a table: `nox -s bench`, a short form with `-- --quick`.

Figures of a machine that does other things at the same time are worth little; only the ratios of a pair, whose halves
alternate, bear some of that.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Final

import click
import msgspec
import psutil
from rich.console import Console
from rich.table import Table

from harness import settings
from harness.artifacts.store import Sources, Store
from harness.clients import container_engine
from harness.drivers.real_rig import STEADY_SECONDS
from harness.errors import MissingPrerequisite
from harness.record import journal
from harness.record.events import PhaseEnded
from tests.bench import added, kills, kind, records
from tests.bench.commands import HERE, OUTAGE, SCENARIOS, World

_BY_HAND: Final = (
    ("etcd", "3.5.16"),
    ("kube-apiserver", "1.32.0"),
    ("vault", "1.4.0"),
    ("vault", "1.7.0"),
    ("vault", "1.11.0"),
)
_ELECTION: Final = "Vault's raft election, 1 to 1.8 s"
_FLOORS: Final = {
    "cluster ": "the start of an API server, beside Vault's",
    "accounts": "an API server makes its own roles a second after it listens; beside Vault's start",
    "vault is set up": _ELECTION,
    "clusters are ready": "what is left then of the API servers' start",
    "swap to": "Vault's own shutdown, 0.5 s, and its start",
    "unseal": _ELECTION,
    "probes after": f"ours: Vault has to live on for {STEADY_SECONDS:g} s after its start",
}
_PARTS: Final = (
    "start", "judge", "outage", "rollback", "proof", "parallel", "kills", "kind", "kind-rollback", "kind-proof",
    "kind-kills",
)  # fmt: skip
_UNLESS_TOLD: Final = ("kind-rollback", "kind-proof")
"""The parts that are measured only where they are asked for: they take long."""
_BESIDE_OTHERS: Final = ("cluster ", "accounts ")


class Row(msgspec.Struct):
    """One line of the table."""

    what: str
    goal: str
    seen: str
    met: bool | None = None


class Effort(msgspec.Struct):
    """How often everything is measured."""

    pairs: int
    starts: int
    judgings: int
    scenarios: int
    kills: int
    clusters: int


@click.command()
@click.option("--quick", is_flag=True, help="A short form, in two minutes.")
@click.option("--kills", "killed", type=int, help="How many runs are killed. Left out: 50, or 5 with --quick.")
@click.option(
    "--of",
    "scenario",
    default=OUTAGE,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="What is rehearsed by runs that are killed. Left out: the outage. "
    "tests/bench/many-servers.yaml has three nodes, etcd, PostgreSQL and an agent.",
)
@click.option("--both", is_flag=True, help="Their supervisors are killed together with them.")
@click.option("--kind-kills", default=0, help="How many runs on kind clusters are killed. Left out: none.")
@click.option("--seed", type=int, help="When they are killed. Left out: another one every time; it is printed.")
@click.option("--only", multiple=True, type=click.Choice(_PARTS))
@click.option("--pairs", type=click.IntRange(1), help="How many pairs of runs are measured. Left out: 5 (kind: 3).")
@click.option(
    "--against",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The command `rehearse` of another installation: the outage is measured against that as well, in turn.",
)
def main(
    *,
    quick: bool,
    killed: int | None,
    scenario: Path,
    both: bool,
    kind_kills: int,
    seed: int | None,
    only: tuple[str, ...],
    pairs: int | None,
    against: Path | None,
) -> None:
    """Measure what was promised and print it as a table."""
    effort = Effort(2, 3, 1, 3, 5, 1) if quick else Effort(5, 10, 3, len(SCENARIOS), 50, 3)
    if killed is not None:
        effort.kills = killed
    if pairs is not None:
        effort.pairs = effort.clusters = pairs
    seed = int(time.time()) if seed is None else seed
    parts: dict[str, Callable[[World, Effort], Iterator[Row]]] = {
        "start": _start,
        "judge": _judge,
        "outage": lambda world, effort: _outage(world, effort, against),
        "rollback": lambda world, effort: _rollback(world, effort.pairs, "local"),
        "proof": lambda world, effort: _proof(world, effort.pairs, "local"),
        "parallel": _parallel,
        "kills": lambda world, effort: _kills(world, scenario, effort.kills, seed, None, both=both),
        "kind": _kind,
        "kind-rollback": lambda world, effort: _rollback(world, effort.clusters, "kind"),
        "kind-proof": lambda world, effort: _proof(world, effort.clusters, "kind"),
        "kind-kills": lambda world, _effort: _kind_kills(world, scenario, kind_kills, seed),
    }
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        for name, part in parts.items():
            if name in only or not (only or name in _UNLESS_TOLD):
                click.echo(f"measuring: {name}", err=True)
                rows += part(World(Path(directory) / name), effort)
    _show(rows)


def _start(world: World, effort: Effort) -> Iterator[Row]:
    """Yield how long it takes until the command does anything at all."""
    for what, limit, words in (
        ("rehearse --help", 0.3, ["--help"]),
        (f"validate {len(SCENARIOS)} scenarios", 1.0, ["validate", *SCENARIOS]),
    ):
        seconds = [world.rehearse(*words).seconds for _ in range(effort.starts)]
        yield Row(what, f"< {limit:g} s", _spread(seconds, "s"), median(seconds) < limit)


def _judge(world: World, effort: Effort) -> Iterator[Row]:
    """Yield time and memory of judging long records, and whether four times the length takes four times as long."""
    shapes: tuple[records.Shape, ...] = ("apps", "rounds")
    for shape in shapes:
        took = {}
        for thousands in (25, 100):
            directory = world.new_run()
            records.grow(directory, thousands * 1000, shape)
            ran = [world.watched("judge", directory) for _ in range(effort.judgings)]
            took[thousands] = [one.seconds for one in ran]
        what = f"judge 100,000 observations ({shape})"
        peaks = [one.peak_mb for one in ran]
        ratio = median(took[100]) / median(took[25])
        yield Row(f"{what}: time", "< 2 s", _spread(took[100], "s"), median(took[100]) < 2)
        yield Row(f"{what}: peak memory", "< 300 MB", _spread(peaks, "MB"), max(peaks) < 300)
        yield Row(f"{what}: 25,000 is 1", "<= 5", f"{ratio:.2f}", ratio <= 5)


def _outage(world: World, effort: Effort, against: Path | None) -> Iterator[Row]:
    """Yield the outage against the same by hand, one after the other in turn, and where its time goes."""
    binaries = Store(Sources(settings.cache(), offline=True), click.echo).get_all(_BY_HAND)
    by_hand = [HERE / "by-hand.sh", *(binary.path for binary in binaries)]
    # neither of these runs is timed: they also bring what both read into the kernel's cache
    peak = world.watched("run", OUTAGE, "--run-dir", world.new_run()).peak_mb
    supervisor = world.supervisor_peak_mb("run", OUTAGE, "--run-dir", world.new_run())
    world.timed(by_hand)
    directories = [world.new_run() for _ in range(effort.pairs)]
    ours, hand, others = [], [], []
    for directory in directories:
        ours.append(world.rehearse("run", OUTAGE, "--run-dir", directory).seconds)
        hand.append(world.timed(by_hand).seconds)
        if against is not None:
            others.append(world.timed([against, "run", OUTAGE, "--run-dir", world.new_run()]).seconds)
    ratios = [mine / its for mine, its in zip(ours, hand, strict=True)]
    yield Row("outage, warm: against the bare script", "<= 0.7", _spread(ratios), median(ratios) <= 0.7)
    yield Row("    the whole command", "", _spread(ours, "s"))
    yield Row("    the bare script", "", _spread(hand, "s"))
    if others:
        yield Row(
            f"    against {against}", "<= 1", _spread([mine / its for mine, its in zip(ours, others, strict=True)])
        )
        yield Row("    that command", "", _spread(others, "s"))
    yield from _phases(directories, ours)
    yield Row("the harness's own peak memory in a run", "< 120 MB", f"{peak:.0f} MB", peak < 120)
    yield Row("    its supervisor's", "", f"{supervisor:.0f} MB")


def _phases(directories: Sequence[Path], whole: Sequence[float]) -> Iterator[Row]:
    """Yield where the time of the outage goes, and what of it is not ours."""
    seconds: dict[str, list[float]] = {}
    rest = []
    for directory, all_of_it in zip(directories, whole, strict=True):
        phases: list[PhaseEnded] = journal.load(directory).of(PhaseEnded)
        for phase in phases:
            seconds.setdefault(phase.name, []).append(phase.seconds)
        rest.append(all_of_it - sum(one.seconds for one in phases if not one.name.startswith(_BESIDE_OTHERS)))
    for name, each in seconds.items():
        floor = next((floor for begins, floor in _FLOORS.items() if name.startswith(begins)), "")
        yield Row(f"    {name}", floor, _spread(each, "s"))
    yield Row("    start, judgement, report, end of the servers", "", _spread(rest, "s"))


def _rollback(world: World, pairs: int, driver: str) -> Iterator[Row]:
    """Yield what both ways back add to a run, and which way takes how long."""
    seen = added.measure(world, pairs, "--rollback", driver, added.ways_back)
    yield from _added(seen, f"rollback, both ways, driver {driver}: added, of a run from nothing", 0.6)


def _proof(world: World, pairs: int, driver: str) -> Iterator[Row]:
    """Yield what a proven remedy adds to a run."""
    seen = added.measure(world, pairs, "--prove-remedy", driver, added.proofs)
    yield from _added(seen, f"a proven remedy (of {seen.times}), driver {driver}: added, of a run from nothing", 0.8)


def _added(seen: added.Added, what: str, goal: float) -> Iterator[Row]:
    yield Row(what, f"<= {goal:g}", _spread(seen.ratios), median(seen.ratios) <= goal)
    yield Row("    the run by itself", "", _spread(seen.alone, "s"))
    yield Row("    with it", "", _spread(seen.whole, "s"))
    for name, seconds in seen.parts.items():
        yield Row(f"    {name}", "", _spread(seconds, "s"))


def _parallel(world: World, effort: Effort) -> Iterator[Row]:
    """Yield how much faster the scenarios are side by side than one after the other."""
    # much of a run is waiting for elections and caches, so there may be more of them than cores
    workers = max(1, min(2 * (os.cpu_count() or 1), psutil.virtual_memory().available // 2**30))
    scenarios = list(islice([OUTAGE, *(each for each in SCENARIOS if each != OUTAGE)], effort.scenarios))

    def run(scenario: Path) -> float:
        return world.rehearse("run", scenario, "--run-dir", world.new_run()).seconds

    alone = sum(run(scenario) for scenario in scenarios)
    began = time.monotonic()
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(run, scenarios))
    together = time.monotonic() - began
    what = f"{len(scenarios)} scenarios, {workers} at a time, against one by one"
    seen = f"{together / alone:.2f} ({together:.1f} s, {alone:.1f} s)"
    yield Row(what, "<= 0.6", seen, together / alone <= 0.6)


def _kills(
    world: World, scenario: Path, trials: int, seed: int, machine: container_engine.Engine | None, *, both: bool = False
) -> Iterator[Row]:
    """Yield what is left of runs whose harness was killed: on processes, or on kind clusters of an engine."""
    if not trials:
        return
    driver = "kind" if machine else "local"
    usual = world.rehearse("run", scenario, "--driver", driver, "--run-dir", world.new_run()).seconds
    killed = kills.kill(world, scenario, trials, usual, seed, machine, both=both)
    left = msgspec.structs.asdict(killed.left)
    whom = " with their supervisors" if both else ""
    late = f"({killed.too_late} more had ended before)"
    what = f"{killed.trials} runs of {scenario.stem[:20]} killed{whom}, driver {driver}, seed {seed} {late}"
    yield Row(what, "nothing left", ", ".join(f"{count} {name}" for name, count in left.items()), not killed.left)
    limit = kills.PROMISED_SECONDS[driver]
    yield Row("    slowest time to clean", f"<= {limit:g} s", f"{killed.slowest:.1f} s", killed.slowest <= limit)


def _kind_kills(world: World, scenario: Path, trials: int, seed: int) -> Iterator[Row]:
    """Yield what is left of runs on kind clusters whose harness was killed, if there are to be any."""
    if not trials:
        return
    try:
        machine = container_engine.reach(settings.environment())
    except MissingPrerequisite as error:
        yield Row("runs killed, driver kind", "", f"not measured: {str(error)[:100]}")
        return
    yield from _kills(world, scenario, trials, seed, machine)


def _kind(world: World, effort: Effort) -> Iterator[Row]:
    """Yield the outage on kind clusters, and where its time goes, if this machine has an engine."""
    try:
        container_engine.reach(settings.environment())
    except MissingPrerequisite as error:
        yield Row("outage on two kind clusters", "", f"not measured: {error}")
        return
    seen = kind.measure(world, effort.clusters, click.echo)
    ratios = seen.against_hand
    yield Row(
        "outage on two kind clusters: against the bare script", "<= 0.55", _spread(ratios), median(ratios) <= 0.55
    )
    yield Row("    the whole command", "", _spread(seen.ours, "s"))
    yield Row("    the bare script", "", _spread(seen.hand, "s"))
    what = "    against 1.5 times the creation of one cluster, and the rollouts"
    yield Row(what, "<= 1", f"{seen.against_floor:.2f}", seen.against_floor <= 1)
    yield Row("    the creation of one cluster, by kind alone", "", _spread(seen.one_cluster, "s"))
    yield Row("    all rollouts of Vault", "", _spread(seen.rollouts, "s"))
    yield Row("    teardown", "< 10 s", _spread(seen.ends, "s"), max(seen.ends) < 10)
    yield Row("with --reuse: until the first question", "< 8 s", _spread(seen.again, "s"), median(seen.again) < 8)
    two = seen.again_after_two
    yield Row("    with two rollouts before it (the outage)", "< 8 s", _spread(two, "s"), median(two) < 8)
    for name, seconds in seen.phases.items():
        yield Row(f"    {name}", "", _spread(seconds, "s"))


def _spread(values: Sequence[float], unit: str = "") -> str:
    """Return the median of *values*, how many they are, and their range."""
    shape = "{:.0f}" if unit == "MB" else "{:.2f}"
    middle, low, high = (shape.format(value) for value in (median(values), min(values), max(values)))
    space = f" {unit}" if unit else ""
    return f"{middle}{space} ({len(values)}: {low}..{high})"


def _show(rows: Sequence[Row]) -> None:
    table = Table("what", "goal, or the floor", "seen: median (number: range)", "met?", box=None, padding=(0, 3, 0, 0))
    for row in rows:
        table.add_row(row.what, row.goal, row.seen, {True: "yes", False: "NO", None: ""}[row.met])
    console = Console(width=190, highlight=False)
    console.print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the end")
    console.print(table)


if __name__ == "__main__":
    main()
