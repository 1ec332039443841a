"""The commands around rehearsals: binaries, leftovers, this machine, editors and shells."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from harness import settings
from harness.cli.bring import brings, insist_on_use
from harness.cli.output import Ended, fail, say, tell, write
from harness.scenario import driver_traits

if TYPE_CHECKING:
    from harness.artifacts.brought import Brought
    from harness.artifacts.store import Store
    from harness.clients.container_engine import Engine
    from harness.maintenance.cleanup import RunRemains
    from harness.scenario.loading import Loaded
    from harness.session.one_rehearsal import Places

DRIVER = click.option(
    "--driver",
    type=click.Choice(driver_traits.NAMES),
    default="local",
    show_default=True,
    envvar="REHEARSE_DRIVER",
    show_envvar=True,
    help="local: real servers as processes. kind: real clusters, Vault in containers; needs a Docker engine. "
    "paper: no server at all, answers from this project's knowledge.",
)
STRICT = click.option(
    "--strict",
    is_flag=True,
    envvar="REHEARSE_STRICT",
    show_envvar=True,
    help="Latent findings, and answers that were not foretold, fail the run too.",
)
NOISE_FLOOR = click.option(
    "--noise-floor",
    is_flag=True,
    envvar="REHEARSE_NOISE_FLOOR",
    show_envvar=True,
    help="Restart the source version without any upgrade first (A -> A, once for each topology): what differs there is "
    "left out, and what is found there is not the upgrade's.",
)
MIRROR = click.option(
    "--mirror",
    default="",
    envvar="REHEARSE_MIRROR",
    show_envvar=True,
    help="Base URL of a mirror that is asked for binaries instead of the vendors' release servers.",
)

INSECURE_MIRROR = click.option(
    "--insecure-mirror",
    is_flag=True,
    envvar="REHEARSE_INSECURE_MIRROR",
    show_envvar=True,
    help="Also ask a mirror without TLS, whose binaries anybody on the way can replace.",
)


def _without_password(_context: click.Context, option: click.Parameter, value: str) -> str:
    if "@" in value:
        raise click.BadParameter("names and passwords do not belong here: `docker login` is for those", param=option)
    return value


REGISTRY = click.option(
    "--registry",
    default="",
    envvar="REHEARSE_REGISTRY",
    show_envvar=True,
    callback=_without_password,
    help="Where the vendors' images are mirrored, such as registry.example.com/mirror, asked instead of theirs.",
)
FORCE = click.option("--force", is_flag=True, help="Start however many clusters there are, and let the machine cope.")
OFFLINE = click.option(
    "--offline", is_flag=True, envvar="REHEARSE_OFFLINE", show_envvar=True, help="Fail rather than reach out."
)


def sources(command: Callable[..., None]) -> Callable[..., None]:
    """Give *command* the options that say from where binaries and images may come."""
    for option in reversed((MIRROR, INSECURE_MIRROR, REGISTRY, OFFLINE)):
        command = option(command)
    return command


@click.group()
def artifacts() -> None:
    """The server binaries that rehearsals use, in the user's cache, and the images, in the engine's store."""


@artifacts.command()
@click.argument("needs", metavar="SCENARIO|PRODUCT:VERSION...", nargs=-1, required=True)
@click.option(
    "--driver",
    type=click.Choice(["local", "kind"]),
    default="local",
    show_default=True,
    envvar="REHEARSE_DRIVER",
    show_envvar=True,
    help="local: binaries for servers as processes. kind: images for clusters, and kind itself.",
)
@sources
@brings
def fetch(
    *,
    needs: tuple[str, ...],
    driver: str,
    mirror: str,
    insecure_mirror: bool,
    registry: str,
    offline: bool,
    brought: Brought,
) -> None:
    """Get every binary and every image that scenarios need, so that their runs need no network.

    A need is a scenario's file, or a version by itself, such as vault:1.17.0, kubernetes:1.31.0 or etcd:3.5.16.

    What is not available keeps nothing else from being fetched; the table at the end says what is here and what not.
    """
    from harness.cli.progress import Progress
    from harness.errors import HarnessError
    from harness.scenario import plan

    by_version = [one for need in needs for one in _of_a_version(need, driver)]
    files = [Path(need) for need in needs if not _of_a_version(need, driver)]
    plans = [plan.make(loaded.scenario, loaded.name, driver) for loaded in (load(path) for path in files)]
    insist_on_use(brought, [*(planned.artifacts for planned in plans), by_version])
    wanted = list(dict.fromkeys([*(one for planned in plans for one in planned.artifacts), *by_version]))
    rows, missing, reasons = list[str](), list[str](), list[str]()
    try:
        with Progress() as going:
            kept = store(mirror, going.say, insecure=insecure_mirror, offline=offline, brought=brought)
            get = getter(kept, registry, going.say, brought, offline=offline)
            for product, version in wanted:
                try:
                    with going.during(f"{product} {version}"):
                        rows.append(f"{product} {version}  {get(product, version)}")
                except (HarnessError, OSError) as error:
                    rows.append(f"{product} {version}  missing")
                    missing.append(f"{product} {version}")
                    if str(error) not in reasons:
                        reasons.append(str(error))
                        going.say(error)
    except KeyboardInterrupt:
        tell("\n".join(rows))
        fail(130, "interrupted; what was fetched so far is kept")
    tell("\n".join(rows))
    if missing:
        fail(3, f"{len(missing)} of {len(wanted)} are missing, for the reasons above: {', '.join(missing)}")


_OF_A_SCENARIO: Final = ("vault", "openbao", "kubernetes")
"""What a scenario gives versions of; how many artifacts each is depends on the driver."""


def _of_a_version(need: str, driver: str) -> tuple[tuple[str, str], ...]:
    """Return what *driver* needs for a version that is named by itself, and nothing for a scenario's file.

    Beside vault, openbao and kubernetes, whatever `artifacts list` has can be named, and is that binary alone.
    """
    from harness.artifacts import go_recipes
    from harness.knowledge import versions

    product, colon, version = need.partition(":")
    alone = product in go_recipes.products() and product not in _OF_A_SCENARIO
    if not colon or not (alone or product in _OF_A_SCENARIO) or Path(need).exists():
        return ()
    number = version if product != "openbao" else f"openbao-{version}"
    try:
        versions.parse(number)
    except ValueError as error:
        raise click.UsageError(f"{need}: {error}") from None
    if alone:
        return ((product, version),)
    of_clusters, of_vaults = ([number], []) if product == "kubernetes" else ([], [number])
    traits = driver_traits.of(driver)
    return tuple(one for one in traits.artifacts(of_clusters, of_vaults) if one not in traits.tools)


def getter(
    kept: Store, registry: str, speak: Callable[[str], None], brought: Brought, *, offline: bool
) -> Callable[[str, str], str]:
    """Return what gets one binary or image, and says in words what it is."""
    from harness.artifacts.images import Images
    from harness.clients import container_engine

    @functools.cache  # one for all: it remembers which registry is silent
    def images() -> Images:
        machine = container_engine.reach(settings.environment())
        return Images(machine, kept, settings.cache(), speak, registry, offline=offline, own=brought.names())

    def get(product: str, version: str) -> str:
        if product.endswith("-image"):
            image = images().get(product, version)
            return f"{image.name}  {image.id}  {image.source}{_trimmed(image.trimmed)}"
        binary = kept.get(product, version)
        return f"sha256 {binary.sha256}  {binary.source}{_trimmed(binary.trimmed)}"

    return get


def _trimmed(left_out: str) -> str:
    return f"; a trimmed build, {left_out}" if left_out else ""


@artifacts.command(name="list")
def list_() -> None:
    """Show what the cache holds, and the images that were made here."""
    from harness.artifacts import images
    from harness.artifacts.store import cached

    found = cached(settings.cache())
    for one in found:
        source = f"{one.source}{_trimmed(one.trimmed)}"
        tell(f"{one.product} {one.version}  {one.size / 1e6:.0f} MB  sha256 {one.sha256}  {source}")
    say(f"{len(found)} binaries, {sum(one.size for one in found) / 1e6:.0f} MB, in {settings.cache()}")
    machine = _engine()
    if machine is None:
        say("images: no container engine answers, so nobody knows")
        return
    made = images.made(machine)
    for image in made:
        tell(f"{images.names(image)[-1]}  {image.size / 1e6:.0f} MB  {image.id}  {images.origin(image)}")
    size = sum({image.id: image.size for image in made}.values()) / 1e6
    say(f"{len(made)} images made here, {size:.0f} MB (shared layers counted twice), in the engine")


@artifacts.command()
@click.argument("names", nargs=-1)
@click.option("--builds", is_flag=True, help="Only what builds leave behind to speed the next ones; keep the rest.")
def prune(*, names: tuple[str, ...], builds: bool) -> None:
    """Remove binaries from the cache, and images that were made here: NAMES (vault, or vault-image-1.7.0), or all."""
    from harness.artifacts import images
    from harness.artifacts.store import cached, remove

    held = {name for one in cached(settings.cache()) for name in (one.product, f"{one.product}-{one.version}")}
    freed = remove(settings.cache(), names, say, builds=builds)
    tell(f"{freed / 1e6:.0f} MB freed in {settings.cache()}")
    machine = None if builds else _engine()
    if machine is not None and (made := images.made(machine)):
        held |= {name for image in made for name in images.names(image)}
        freed = images.remove(machine, names)
        tell(f"{freed / 1e6:.0f} MB of images removed (shared layers counted twice)")
    for name in names:
        if name not in held:
            say(f"nothing called {name} is here; `rehearse artifacts list` shows what is")


@click.command()
@click.argument("runs", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="End the runs that were kept, too.")
@click.option("-n", "--dry-run", is_flag=True, help="Only say what is there.")
def clean(*, runs: tuple[str, ...], everything: bool, dry_run: bool) -> None:
    """End what runs have left behind on this machine, and nothing else.

    Without RUNS: whatever is left of runs that are over, be it by a crash or a power loss. With RUNS: these, which may
    be runs that were kept. What carries no label of a run of yours is never touched. Containers, networks and volumes
    are looked for on the engine that your docker command uses, and on those that runs on record have used.
    """
    from harness.host import kept_runs
    from harness.maintenance import cleanup

    builds = settings.cache() / "build" / "runs"
    found = cleanup.find(settings.live(), settings.temporary(), builds, engine=_engine())
    if unknown := [run for run in runs if run not in {one.run for one in found}]:
        fail(
            2, f"no run {', '.join(unknown)} is known here: nothing was done; `rehearse clean -n` lists those that are"
        )
    chosen = [one for one in found if not runs or one.run in runs]
    wanted, left = bool(runs) or everything, []
    for one in chosen:
        tell("; ".join(filter(None, (str(one), _fate(one, wanted=wanted or one.overdue, dry_run=dry_run)))))
    if not dry_run:
        for one in chosen:
            if one.kept and (wanted or one.overdue):
                complaint = kept_runs.end(one.entry)
                left += [complaint] if complaint else []
            elif one.kept and one.frozen:
                left.append(f"run {one.run} was left alone, but {one.frozen}; `rehearse clean {one.run}` ends it")
            elif one.state == "running" and runs:
                left.append(f"run {one.run} is being rehearsed at this moment: end it where it runs")
        left += cleanup.clean(chosen)
    if left:
        fail(5, "\n".join(left))
    if not chosen:
        say("nothing of any run is here")


def _fate(one: RunRemains, *, wanted: bool, dry_run: bool) -> str:
    """Return what `clean` does with what is left of a run, or why it leaves it alone; "" where its line says that."""
    if one.state == "left" or (one.kept and wanted):
        return "would be ended" if dry_run else "is ended"
    if one.kept:
        return f"stays, because it was kept; `rehearse clean {one.run}` ends it"
    return "stays, because it is being rehearsed" if one.state == "running" else ""


def _engine() -> Engine | None:
    from harness.clients import container_engine
    from harness.errors import MissingPrerequisite

    try:
        return container_engine.reach(settings.environment())
    except MissingPrerequisite:
        # Most machines have none, and need none; one that a run has used is on record, and is told if it is silent.
        return None


@click.command()
@brings
def doctor(*, brought: Brought) -> None:
    """Say what this machine has and lacks for a rehearsal, and what would mend it.

    What you bring yourself is examined too.
    """
    from harness.maintenance import doctor as surgery
    from harness.maintenance import packages

    lacking = False
    places = surgery.Places(Path.home(), settings.cache(), settings.state(), settings.temporary())
    lines = [
        *surgery.examine(places, settings.environment()),
        *packages.examine(),
        *surgery.examine_brought(brought, settings.environment()),
    ]
    for line in lines:
        lacking |= line.state == "lacking"
        tell(f"{line.state:8} {line.name}: {line.says}")
        if line.mend:
            tell(f"{'':8} mend: {line.mend}")
    raise Ended(3 if lacking else 0)


@click.command()
def schema() -> None:
    """Print the JSON Schema of scenarios, for editors."""
    import json

    from harness.scenario.schema import Scenario

    write(json.dumps(Scenario.model_json_schema(by_alias=True), indent=2) + "\n")


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print what makes SHELL complete this command: eval "$(rehearse completion bash)"."""
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None
    root = context.find_root()
    write(kind(root.command, {}, "rehearse", "_REHEARSE_COMPLETE").source() + "\n")


def load(path: Path) -> Loaded:
    """Return the scenario at *path*, or end with every problem it has and exit code 2."""
    from harness.errors import ScenarioError
    from harness.scenario import loading

    try:
        return loading.load(path)
    except ScenarioError as error:
        fail(2, str(error))


def store(
    mirror: str, tell: Callable[[str], None], *, insecure: bool, offline: bool, brought: Brought | None = None
) -> Store:
    """Return the store of binaries with the user's cache and environment."""
    from harness.artifacts.brought import Brought
    from harness.session import one_rehearsal

    options = one_rehearsal.Options(
        mirror=mirror, insecure_mirror=insecure, offline=offline, brought=brought or Brought()
    )
    return one_rehearsal.store_of(options, places(), tell)


def environment_of_sources(*, mirror: str, insecure: bool, registry: str, offline: bool) -> dict[str, str]:
    """Return the options of `sources` for another process: an address may hold a password, and everybody reads argv."""
    named = {"REHEARSE_MIRROR": mirror, "REHEARSE_REGISTRY": registry}
    named["REHEARSE_OFFLINE"] = "1" if offline else ""
    named["REHEARSE_INSECURE_MIRROR"] = "1" if insecure else ""
    return {name: value for name, value in named.items() if value}


def digests(own: Iterable[tuple[str, str, Path]]) -> dict[tuple[str, str], str]:
    """Return the SHA-256 of the binaries that would be used now, by product and version; *own* go before the cached."""
    from harness.artifacts.digests import digest
    from harness.artifacts.store import cached

    found = {(one.product, one.version): one.sha256 for one in cached(settings.cache())}
    return found | {(product, version): digest(path) for product, version, path in own}


def image_ids(
    wanted: Iterable[tuple[str, str]], kept: Store, registry: str, brought: Brought
) -> dict[tuple[str, str], str]:
    """Return the id of each image of *wanted* that would be used now, if there was nothing to get; none is got."""
    from harness.artifacts.images import Images
    from harness.clients import container_engine
    from harness.errors import HarnessError

    asked = [(product, version) for product, version in wanted if product.endswith("-image")]
    if not asked:
        return {}
    try:
        machine = container_engine.reach(settings.environment())
        images = Images(machine, kept, settings.cache(), lambda _line: None, registry, own=brought.names())
        found = {pair: images.at_hand(*pair) for pair in asked}
    except HarnessError:
        # no engine answers: nobody knows, and what needs images is told so when it is rehearsed
        return {}
    return {pair: image.id.removeprefix("sha256:") for pair, image in found.items() if image is not None}


def places() -> Places:
    """Return where this user's things are kept."""
    from harness.session.one_rehearsal import Places

    return Places(settings.cache(), settings.state(), settings.temporary(), dict(settings.environment()))
