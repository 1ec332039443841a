"""One rehearsal, from a scenario to its judgement: what the command line calls, and whatever runs many of them.

Nothing here prints, exits or reads the environment. Options and judgements are plain values and can be pickled.
"""

from __future__ import annotations

import os
import platform
import re
import secrets as random
import shlex
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec

from harness import __version__, settings
from harness.artifacts import brought
from harness.artifacts.brought import Brought
from harness.errors import HarnessError
from harness.maintenance import unheard
from harness.record import journal as journals
from harness.record.events import RECORD_VERSION, RunStarted
from harness.record.foretold import Foretold
from harness.record.journal import RECORD_FILE, Began, Follower, Journal
from harness.rehearsal import rehearsal
from harness.rig.driver import Driver
from harness.scenario import plan
from harness.scenario.driver_traits import Sharing
from harness.scenario.loading import Loaded
from harness.scenario.plan import Plan
from harness.secret import Secret
from harness.wait import now, stamp

if TYPE_CHECKING:
    from harness.artifacts.store import Store
    from harness.drivers.kind.shared_clusters import SharedKindClusters
    from harness.drivers.local.shared_clusters import SharedClusters

    Lender = SharedClusters | SharedKindClusters
    """Whoever lends clusters from rehearsal to rehearsal."""
    from harness.record.noise_floor import NoiseFloor

_LONGEST_NAME: Final = 40


class Places(msgspec.Struct, frozen=True):
    """Where things are kept."""

    cache: Path
    """binaries, and what builds leave to speed the next ones"""
    state: Path
    """records, locks, and an entry for every living run"""
    temporary: Path
    """the work directories of living runs"""
    environment: dict[str, str] = {}
    """the user's environment, of which builds and downloads get named parts"""


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """How a rehearsal is made."""

    driver: str = "local"
    """local, kind or paper"""
    strict: bool = False
    """do latent findings fail it?"""
    rollback: bool = False
    """go back at the end, both ways?"""
    prove_remedy: bool = False
    """try what is advised for a refusal, in rehearsals of its own?"""
    noise_floor: bool = False
    """rehearse a restart without any upgrade first, and leave out what differs there?"""
    run_dir: Path | None = None
    """where its record goes; None: a new directory below the state directory"""
    mirror: str = ""
    insecure_mirror: bool = False
    registry: str = ""
    offline: bool = False
    force: bool = False
    """start more than this machine is measured to carry?"""
    keep_seconds: float = 0.0
    """how long the servers are left up afterwards"""
    reuse: bool = False
    """with kind: rehearse on the clusters of a run that was kept?"""
    brought: Brought = Brought()
    """binaries, images and a licence of the user's own"""

    def repeat(self, scenario: str) -> tuple[str, ...]:
        """Return the words of the command that rehearses *scenario*, a file, in the same way."""
        wanted = {
            "--strict": self.strict,
            "--rollback": self.rollback,
            "--prove-remedy": self.prove_remedy,
            "--noise-floor": self.noise_floor,
        }
        flags = [flag for flag, given in wanted.items() if given]
        words = ("rehearse", "run", scenario, "--driver", self.driver, *flags, *self.brought.words())
        return tuple(shlex.quote(word) for word in words)


Rehearsed = rehearsal.Rehearsed


class DirectoryTaken(HarnessError):
    """The directory for a new record holds one already."""


class NoRecord(HarnessError):
    """No record could be begun; the message says why, and what would help."""


def rehearse_one(
    loaded: Loaded,
    options: Options,
    places: Places,
    *,
    follow: Follower = lambda _event: None,
    begin: Began = lambda _name: None,
    tell: Callable[[str], None] = lambda _line: None,
    opened: Callable[[Path], None] = lambda _directory: None,
    clusters: Lender | None = None,
    sharing: Sharing = "",
) -> Rehearsed:
    """Rehearse a scenario from end to end, and judge it once.

    *follow* is told of every event, *begin* of every phase, *tell* gets a line when something takes a while, and
    *opened* is told the run's directory as soon as there is a record in it. *clusters* are lent to it: its
    driver's `lender`. *sharing*: with which others that agree with it on its source state.

    Raises ScenarioError, MissingPrerequisite, DirectoryTaken or NoRecord where nothing could be rehearsed, OSError
    where the record could not be written on (`cut_short` judges what was seen until then), and KeyboardInterrupt.
    """
    planned = plan.make(loaded.scenario, loaded.name, options.driver, rollback=options.rollback)
    journal = _begun(options.run_dir, loaded.name, places, follow, begin)
    opened(journal.directory)
    for line in unheard.lines(planned, places.cache):
        tell(line)
    with journal:
        floor = None
        if options.noise_floor:
            from harness.session import noise_floor

            def without_upgrade(still: Loaded, directory: Path) -> Rehearsed:
                how = {"rollback": False, "prove_remedy": False, "noise_floor": False, "strict": False}
                alone = msgspec.structs.replace(options, run_dir=directory, keep_seconds=0.0, **how)
                return rehearse_one(still, alone, places, tell=tell, clusters=clusters)

            floor = noise_floor.of(loaded, planned, options.brought, places.state, without_upgrade, tell)
        start = _start(loaded, planned, journal.directory, options, floor)
        driver = driver_of(options, places, tell, clusters, sharing=sharing)
        proving = None
        if options.prove_remedy:
            from harness.session.proving import Proving

            proving = Proving(start, driver, journal, follow, begin, tell)

        def foretold() -> Foretold:
            from harness.session import prediction

            return prediction.foretold(start)

        ahead = foretold if driver.traits.real else None
        return rehearsal.rehearse(start, driver, journal, options.keep_seconds, proving, ahead)


def cut_short(directory: Path, why: str, *, strict: bool) -> Rehearsed:
    """Judge the record in *directory*, which could not be written on because of *why*. Raises NotARecord."""
    from harness.analysis import verdict

    record = journals.load(directory)
    judgement = verdict.judge(record, strict=strict)
    code = judgement.exit_code if judgement.observations else 3
    reasons = (*judgement.reasons, why)
    return Rehearsed(record, msgspec.structs.replace(judgement, reasons=reasons, exit_code=code))


def driver_of(
    options: Options,
    places: Places,
    tell: Callable[[str], None],
    clusters: Lender | None = None,
    *,
    sharing: Sharing = "",
) -> Driver:
    """Return the driver that *options* name. Raises MissingPrerequisite where no container engine answers."""
    if options.driver == "paper":
        from harness.drivers.paper.driver import PaperDriver

        return PaperDriver()
    store = store_of(options, places, tell)

    def licence() -> Secret | None:
        return brought.licence(options.brought.licence_file, places.environment)

    if options.driver == "kind":
        from harness.artifacts.images import Images
        from harness.clients import container_engine
        from harness.drivers.kind.driver import KindDriver

        machine = container_engine.reach(places.environment)
        own = options.brought.names()
        images = Images(machine, store, places.cache, tell, options.registry, offline=options.offline, own=own)
        work, state = places.temporary, places.state
        nodes = cast("SharedKindClusters | None", clusters)
        how: Any = {"reuse": options.reuse, "force": options.force, "sharing": sharing}
        return KindDriver(store, images, machine, work, state, tell, licence=licence, clusters=nodes, **how)
    from harness.drivers.local.driver import LocalDriver

    work, state, planes = places.temporary, places.state, cast("SharedClusters | None", clusters)
    return LocalDriver(store, work, state, force=options.force, licence=licence, clusters=planes, sharing=sharing)


def lender(driver: str, places: Places) -> Lender:
    """Return what lends the clusters of a *driver* that shares them from rehearsal to rehearsal, once it is entered."""
    if driver == "kind":
        from harness.drivers.kind.shared_clusters import SharedKindClusters

        return SharedKindClusters(places.temporary, places.state)
    from harness.drivers.local.shared_clusters import SharedClusters

    return SharedClusters(places.temporary, places.state)


def store_of(options: Options, places: Places, tell: Callable[[str], None]) -> Store:
    """Return the store of binaries, with what *options* say of where they come from."""
    from harness.artifacts.store import Sources, Store

    sources = Sources(
        places.cache,
        mirror=options.mirror,
        insecure_mirror=options.insecure_mirror,
        offline=options.offline,
        environment=places.environment,
        own=options.brought.paths(),
    )
    return Store(sources, tell)


def new_directory(state: Path, scenario: str) -> Path:
    """Make a directory for the record of a new run of *scenario*, to which `latest` then points, and return it."""
    runs = settings.private_state(state, "runs")
    directory = Path(tempfile.mkdtemp(prefix=f"{stamp(now())}--{scenario}-", dir=runs))
    fresh = runs / f".latest-{random.token_hex(4)}"
    fresh.symlink_to(directory.name)
    fresh.replace(runs / "latest")
    return directory


def _begun(wanted: Path | None, scenario: str, places: Places, follow: Follower, begin: Began) -> Journal:
    """Return the opened record of a new run."""
    try:
        directory = new_directory(places.state, scenario) if wanted is None else wanted.absolute()
        return Journal.opened(directory, follow, begin)
    except OSError as error:
        if wanted is not None and (wanted / RECORD_FILE).exists():
            taken = f"{wanted.absolute()} already holds a record: name another --run-dir, or leave it out"
            raise DirectoryTaken(taken) from error
        place = wanted.absolute() if wanted is not None else places.state / "runs"
        raise NoRecord(
            f"no record could be begun in {place}: {error}; name a --run-dir that can be made and written to"
        ) from error


def _start(
    loaded: Loaded, planned: Plan, directory: Path, options: Options, floor: NoiseFloor | None = None
) -> RunStarted:
    lines = {"/".join(str(part) for part in path): line for path, (line, _) in loaded.lines.items()}
    return RunStarted(
        record_version=RECORD_VERSION,
        tool_version=__version__,
        # it becomes a part of names and paths: in PATH, in a volume of the engine's, in a label
        run_id=f"{re.sub(r'[^A-Za-z0-9_.-]', '-', directory.name)[:_LONGEST_NAME]}-{random.token_hex(4)}",
        scenario_file=loaded.file,
        scenario=loaded.scenario.model_dump(mode="json", by_alias=True),
        scenario_lines={path: line for path, line in lines.items() if path.startswith(("expect", "apps/"))},
        plan=planned,
        command=options.repeat(loaded.file),
        strict=options.strict,
        prove_remedies=options.prove_remedy,
        noise_floor=floor,
        machine=f"{platform.system()} {platform.release()} {platform.machine()}, {os.cpu_count()} cores",
    )
