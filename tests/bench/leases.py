"""A curve over the number of leases: what they cost to make, to start over and to revoke, as data, table and plot.

`python -m tests.bench.leases` does this. Each point is a rehearsal: Vault 1.11.0 gets the leases, is started anew, is
taken to 1.16.3 over them, and all are revoked at once.
"""

from __future__ import annotations

import itertools
import math
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

import click
import msgspec
import yaml

from harness.knowledge import lease_lists
from harness.record import journal
from harness.record.journal import Record
from harness.record.lease_events import LeasesChanged, LeasesSeen
from tests.bench.commands import ROOT, World

COUNTS: Final = (1_000, 10_000, 30_000, 100_000)
STORAGES: Final = ("etcd", "raft")
DATA: Final = ROOT / "docs" / "results" / "leases-by-number.json"
PLOT: Final = DATA.with_suffix(".svg")
SCENARIO: Final = DATA.with_suffix(".yaml")
OLD, NEW = "1.11.0", "1.16.3"


class Point(msgspec.Struct, frozen=True):
    """What so many leases cost. Seconds and bytes; None: not measured, or not there with this storage."""

    storage: str
    leases: int
    made: float
    """seconds to make them"""
    restart: float | None
    """seconds from the unseal of the old version until all leases are in mind"""
    upgrade: float | None
    """the same of the new one"""
    memory: int | None
    """of the new version, with all in mind"""
    listed: int | None
    """of its answer to LIST sys/leases/lookup/..."""
    stored: int | None
    etcd_whole: int | None
    """of etcd's answer with all that is in the leases, as the old version asks for it"""
    etcd_keys: int | None
    """of the same by keys alone, as the new one asks for it"""
    revoked: float | None
    """seconds until none is listed any more"""
    waited: float | None
    """seconds that a client was without a grant at the longest meanwhile"""
    harness_mb: float
    """the most memory that the command itself held"""


def measure(world: World, storage: str, leases: int) -> Point:
    """Rehearse with so many leases over a *storage*, and return what they cost."""
    document = yaml.safe_load(SCENARIO.read_text(encoding="utf-8"))
    document["vault"] |= {"storage": storage, "leases": leases}
    file, directory = world.work / f"{storage}-{leases}.yaml", world.new_run()
    file.write_text(yaml.safe_dump(document), encoding="utf-8")
    ran = world.watched("run", file, "--run-dir", directory)
    return point(journal.load(directory), storage, leases, ran.peak_mb)


def point(record: Record, storage: str, leases: int, harness_mb: float) -> Point:
    """Return what the *record* of a run says of its leases."""
    changed = {one.done: one for one in record.of(LeasesChanged)}
    started = {one.version: one for one in record.of(LeasesSeen) if one.when == "started"}
    last, gone = started[NEW], changed["revoked"]
    return Point(
        storage=storage,
        leases=leases,
        made=changed["made"].seconds,
        restart=_whole(started[OLD]),
        upgrade=_whole(last),
        memory=last.memory,
        listed=last.listed,
        stored=last.stored,
        etcd_whole=last.etcd_whole,
        etcd_keys=last.etcd_keys,
        revoked=gone.seconds if gone.count == gone.wanted else None,
        waited=max((one.seconds for one in gone.met), default=None),
        harness_mb=round(harness_mb, 1),
    )


def _whole(seen: LeasesSeen) -> float | None:
    return None if seen.active is None or seen.restored is None else round(seen.active + seen.restored, 2)


def read() -> list[Point]:
    """Return the points that were measured last."""
    return msgspec.json.decode(DATA.read_bytes(), type=list[Point])


def table(points: Iterable[Point]) -> Iterator[str]:
    """Yield the lines of a Markdown table."""
    yield (
        f"| storage | leases | made in | a second | {OLD}: start | {NEW}: start | memory | data | LIST | "
        "etcd, whole | etcd, keys | revoked in | longest wait | harness |"
    )
    yield "|" + " --- |" * 14
    for one in points:
        cells = (
            one.storage,
            f"{one.leases:,}",
            f"{one.made:.0f} s",
            f"{one.leases / one.made:,.0f}",
            _seconds(one.restart),
            _seconds(one.upgrade),
            *(_size(each) for each in (one.memory, one.stored, one.listed, one.etcd_whole, one.etcd_keys)),
            _seconds(one.revoked),
            _seconds(one.waited),
            f"{one.harness_mb:.0f} MB",
        )
        yield f"| {' | '.join(cells)} |"


def reached(points: Sequence[Point]) -> Iterator[str]:
    """Yield at how many leases the default limit of an answer of etcd would be met, by a line through the points."""
    over = [one for one in points if one.etcd_whole and one.etcd_keys]
    for words, sizes in (
        ("whole, as up to 1.13.9 (1.14.5, 1.15.1)", [one.etcd_whole or 0 for one in over]),
        ("by keys alone, as from then on", [one.etcd_keys or 0 for one in over]),
    ):
        each = slope([one.leases for one in over], sizes)
        most = lease_lists.DEFAULT_LIMIT / each
        yield f"- {words}: {each:,.0f} bytes a lease, so 2 GiB are met at **{most:,.0f}** leases"


def slope(counts: Sequence[float], sizes: Sequence[float]) -> float:
    """Return by how much sizes grow for each more that is counted: least squares."""
    middle, mean = sum(counts) / len(counts), sum(sizes) / len(sizes)
    spread = sum((one - middle) ** 2 for one in counts)
    return sum((one - middle) * (size - mean) for one, size in zip(counts, sizes, strict=True)) / spread


_WIDTH, _HEIGHT, _LEFT, _TOP, _BOTTOM = 720, 420, 70, 30, 50
_COLOURS: Final = ("#0b6e99", "#c0504d", "#6a8f2f", "#8064a2", "#d08000", "#444444")


def plot(points: Sequence[Point]) -> str:
    """Return a plot of seconds over leases, both in powers of ten, as SVG."""
    series = {
        f"{what}, {storage}": [
            (one.leases, value) for one in points if one.storage == storage and (value := getattr(one, name))
        ]
        for name, what in (("made", "made"), ("upgrade", f"start of {NEW}"), ("revoked", "revoked at once"))
        for storage in dict.fromkeys(one.storage for one in points)
    }
    flat = [place for places in series.values() for place in places]
    across, up = _powers(x for x, _ in flat), _powers(y for _, y in flat)

    def x_of(value: float) -> float:
        return _LEFT + (math.log10(value) - across[0]) / (across[-1] - across[0]) * (_WIDTH - _LEFT - 200)

    def y_of(value: float) -> float:
        return _HEIGHT - _BOTTOM - (math.log10(value) - up[0]) / (up[-1] - up[0]) * (_HEIGHT - _TOP - _BOTTOM)

    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif">',
        '<rect width="100%" height="100%" fill="white"/><g font-size="12">',
        f'<text x="{_LEFT}" y="18">seconds, by the number of leases</text>',
    ]
    for power in across:
        x = x_of(10**power)
        lines.append(f'<path d="M{x:.0f} {_TOP}V{_HEIGHT - _BOTTOM}" stroke="#ddd"/>')
        lines.append(f'<text x="{x:.0f}" y="{_HEIGHT - 30}" text-anchor="middle">{10**power:,}</text>')
    for power in up:
        y = y_of(10**power)
        lines.append(f'<path d="M{_LEFT} {y:.0f}H{_WIDTH - 200}" stroke="#ddd"/>')
        lines.append(f'<text x="{_LEFT - 8}" y="{y + 4:.0f}" text-anchor="end">{10.0**power:g}</text>')
    for number, ((name, places), colour) in enumerate(zip(series.items(), _COLOURS, strict=False)):
        path = " ".join(f"{x_of(x):.0f},{y_of(y):.0f}" for x, y in places)
        lines.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        lines += [f'<circle cx="{x_of(x):.0f}" cy="{y_of(y):.0f}" r="3" fill="{colour}"/>' for x, y in places]
        lines.append(f'<text x="{_WIDTH - 185}" y="{_TOP + 20 + 20 * number}" fill="{colour}">{name}</text>')
    return "\n".join([*lines, "</g></svg>", ""])


def _powers(values: Iterable[float]) -> range:
    """Return the powers of ten between which all *values* are."""
    logs = [math.log10(value) for value in values]
    first, last = math.floor(min(logs)), math.ceil(max(logs))
    return range(first, max(last, first + 1) + 1)


def write(points: Sequence[Point]) -> None:
    """Put the points and their plot among the documents; `python -m tests.pages` puts the table there."""
    DATA.write_bytes(msgspec.json.format(msgspec.json.encode(points)) + b"\n")
    PLOT.write_text(plot(points), encoding="utf-8")


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} s"


def _size(value: int | None) -> str:
    return "-" if value is None else f"{value / 1e6:,.1f} MB"


@click.command()
@click.option("--count", "counts", multiple=True, type=click.IntRange(1), default=COUNTS)
@click.option("--storage", "storages", multiple=True, type=click.Choice(STORAGES), default=STORAGES)
def main(counts: tuple[int, ...], storages: tuple[str, ...]) -> None:
    """Measure each number of leases over each storage, beside what was measured before."""
    points = {(one.storage, one.leases): one for one in (read() if DATA.exists() else ())}
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        for count, storage in itertools.product(counts, storages):
            click.echo(f"{count:,} leases over {storage}", err=True)
            points[storage, count] = measure(World(Path(directory) / f"{storage}-{count}"), storage, count)
            write([points[key] for key in sorted(points)])


if __name__ == "__main__":
    main()
