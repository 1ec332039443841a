"""The command that finds the first bad version, or rehearses once as a test for somebody else's bisection."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

import click

from harness import settings
from harness.cli import bring, maintenance
from harness.cli.maintenance import load
from harness.cli.output import Ended, end_on_sigterm, fail, say, write
from harness.scenario import driver_traits

if TYPE_CHECKING:
    from harness.artifacts.brought import Brought
    from harness.scenario.driver_traits import Sharing
    from harness.scenario.loading import Loaded
    from harness.session.bisect import Rehearse, Search
    from harness.session.one_rehearsal import Lender, Options, Rehearsed

_UNTESTABLE: Final = 125
"""With this a test tells `git bisect run` that it cannot say."""

_ABORT: Final = 128
"""From here on `git bisect run` gives up, instead of taking the code for "bad"."""

_AS_TEST: Final = {0: 0, 1: 1, 2: _UNTESTABLE, 3: _UNTESTABLE, 4: _UNTESTABLE, 5: _ABORT + 5, 130: 130}

EXIT_CODES: Final = """\
\b
Exit codes:
  0  the first bad value is known exactly
  2  usage, an invalid scenario, or good and bad are swapped
  3  the environment could not be built, or a prerequisite is missing
  4  inconclusive: only between which values it lies is known, or there
     is nothing to be found
  5  something was left behind
  130 interrupted; the same command with its --run-dir goes on
With --as-test, as `git bisect run` wants them:
  0  pass   1  a regression, or an unmet expectation   125  nobody can say
  128 and more: give up
"""


class _Bisect(click.Command):
    """A command whose usage errors are no "bad" to `git bisect run`."""

    def make_context(self, info_name: str | None, args: list[str], *words: Any, **more: Any) -> click.Context:
        as_test = "--as-test" in args  # the parser empties the list
        try:
            return super().make_context(info_name, args, *words, **more)
        except click.UsageError as error:
            raise _given_up(error) if as_test else error from None

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except click.UsageError as error:
            raise _given_up(error) if ctx.params["as_test"] else error from None


def _given_up(error: click.UsageError) -> Ended:
    error.show()
    return Ended(_ABORT + 2)


@click.command(cls=_Bisect, epilog=EXIT_CODES)
@click.argument("scenario", type=click.Path(path_type=Path))
@click.option("--good", metavar="VALUE", help="The older end, at which nothing is worse yet, such as 1.7.0.")
@click.option("--bad", metavar="VALUE", help="The newer end, at which something is worse, such as 1.13.0.")
@click.option(
    "--axis",
    default="vault.target",
    show_default=True,
    metavar="PATH",
    help="The field that is varied: any with an order, such as clusters.apps.kubernetes.",
)
@click.option(
    "--among",
    default="here",
    show_default=True,
    metavar="here|cached|all|VALUES",
    help="Which values are between them: the releases that are cached or known to build, the cached alone, every "
    "release, or these, in their order and parted by commas.",
)
@click.option(
    "--as-test",
    is_flag=True,
    help="Rehearse SCENARIO once as it stands, and end with the codes that `git bisect run` wants.",
)
@maintenance.DRIVER
@maintenance.STRICT
@click.option(
    "--run-dir",
    type=click.Path(path_type=Path),
    help="Where the answers and the records go; one that holds this search already goes on. Left out: a new one.",
)
@maintenance.sources
@maintenance.FORCE
@click.option("--reuse", is_flag=True, help="With --driver kind: rehearse on the clusters of a run that was kept.")
@bring.brings
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True, help="Form.")
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
@click.option("-v", "--verbose", is_flag=True, help="The progress of each rehearsal, too.")
def bisect(
    *,
    scenario: Path,
    good: str | None,
    bad: str | None,
    axis: str,
    among: str,
    as_test: bool,
    run_dir: Path | None,
    output: str,
    quiet: bool,
    verbose: bool,
    **how: Any,
) -> None:
    """Find the first version at which SCENARIO gets worse, by as few upgrades as can be.

    Both ends are rehearsed, then the middle of what is left, until the last good and the first bad version are
    neighbours. A version that cannot be had or does not start is skipped; an inconclusive one is tried once more. What
    SCENARIO expects does not count: bad is what shows the same regression as --bad.
    """
    from harness.cli.progress import Progress
    from harness.session.one_rehearsal import Options

    end_on_sigterm()
    if as_test and (good or bad):
        raise click.UsageError("--as-test rehearses once, for a search that somebody else makes: no --good and --bad")
    if not as_test and not (good and bad):
        raise click.UsageError("--good and --bad say between which versions is searched; name both")
    options = Options(**how)
    going = Progress(verbose=verbose, quiet=quiet)
    if as_test:
        with _as_test():
            loaded = load(scenario)
            raise Ended(_once(loaded, _rehearsing(options, going, None, verbose=True), going, run_dir, output))
    loaded = load(scenario)
    assert good is not None
    assert bad is not None
    _search(_searched(loaded, axis, (good, bad), among, options), options, going, run_dir, output, verbose=verbose)


def _search(
    wanted: Search, options: Options, going: Any, run_dir: Path | None, output: str, *, verbose: bool
) -> NoReturn:
    from harness.errors import HarnessError, LeftBehind, refused_by_machine
    from harness.reports import bisection
    from harness.session import bisect as searching

    directory = run_dir.absolute() if run_dir else _new_directory(wanted.scenario.name)
    going.say(f"{wanted.scenario.name}: {len(wanted.variants)} values of {wanted.axis}; the answers are in {directory}")
    again = f"The same command with --run-dir {directory} goes on"
    try:
        with going, _lent(options) as clusters:
            sharing = _agreement(wanted, options) if clusters is not None else ""
            rehearse = _rehearsing(options, going, clusters, sharing, verbose=verbose)
            found = searching.run(wanted, rehearse, directory, _how(options), going.say, _digests(options.brought))
    except KeyboardInterrupt as error:
        left = "; ".join(getattr(error, "__notes__", ()))
        fail(5 if left else 130, f"interrupted; {left or 'everything of this run was ended'}. {again}")
    except (searching.OtherSearch, searching.NothingToSearch) as error:
        fail(2, str(error))
    except HarnessError as error:
        fail(5 if isinstance(error, LeftBehind) else 3, f"{error}\n{again}")
    except OSError as error:
        fail(3, f"{refused_by_machine(error)}. {again}")
    write(bisection.render_json(found) if output == "json" else bisection.render(found))
    raise Ended(found.exit_code)


def _searched(loaded: Loaded, axis: str, ends: tuple[str, str], among: str, options: Options) -> Search:
    from harness.artifacts import availability
    from harness.scenario.matrix import MatrixError
    from harness.session import bisect as searching

    def table(product: str) -> Any:
        return availability.table(product, settings.cache())

    here = _here(options, only_cached=among == "cached" or options.offline)
    try:
        return searching.search(loaded, axis, ends, "here" if among == "cached" else among, table, here)
    except (searching.NothingToSearch, MatrixError) as error:
        fail(2, str(error))


def _here(options: Options, *, only_cached: bool) -> Callable[[str, str], bool]:
    """Return what says whether a version of a product can be had on this machine, without asking anybody."""
    from harness.artifacts import availability

    cache = settings.cache()
    own = {*options.brought.paths(), *options.brought.names()}

    def here(product: str, version: str) -> bool:
        image = {"vault": "vault-image", "kubernetes": "node-image"}[product]
        if (
            not driver_traits.of(options.driver).real
            or {(availability.BINARY[product], version), (image, version)} & own
        ):
            return True
        (one,) = availability.of(product, [version], cache, availability.table(product, cache))
        return one.cached if only_cached else one.surely

    return here


def _lent(options: Options) -> AbstractContextManager[Lender | None]:
    """Return the clusters that all rehearsals of a search share, each for itself alone and empty; None on others."""
    from harness.session import one_rehearsal

    traits = driver_traits.of(options.driver)
    # nodes are too large for clusters beside them, as what is tried in a fresh environment has
    sharing = traits.shares and not traits.nodes
    return one_rehearsal.lender(options.driver, maintenance.places()) if sharing else nullcontext()


def _agreement(wanted: Search, options: Options) -> Sharing:
    """Return whether variants agree on the source state, as those over targets do: then each is kept for the others."""
    from harness.scenario import plan, shared_source

    there = [one.loaded for one in wanted.variants if one.loaded is not None]
    keys = [shared_source.key(plan.make(one.scenario, one.name, options.driver)) for one in there]
    return "more" if len(set(keys)) < len(keys) else ""


def _rehearsing(
    options: Options, going: Any, clusters: Lender | None, sharing: Sharing = "", *, verbose: bool
) -> Rehearse:
    import msgspec

    from harness.session import one_rehearsal

    places = maintenance.places()

    def rehearse(loaded: Loaded, directory: Path, *, fresh: bool) -> Rehearsed:
        one = msgspec.structs.replace(options, run_dir=directory, reuse=options.reuse and not fresh)
        lent: Any = {} if fresh else {"clusters": clusters, "sharing": sharing}
        if verbose:
            return one_rehearsal.rehearse_one(
                loaded, one, places, follow=going.follow, begin=going.begin, tell=going.say, **lent
            )
        with going.during(directory.name):
            return one_rehearsal.rehearse_one(loaded, one, places, tell=going.say, **lent)

    return rehearse


def _how(options: Options) -> str:
    """Return what of *options* decides the answers."""
    return json.dumps([options.driver, options.strict, options.brought.words()])


def _digests(brought: Brought) -> Mapping[str, str]:
    """Return the SHA-256 of the binaries that would be used now, by product-version."""
    found = maintenance.digests(one for one in brought.binaries if one[2].is_file())
    return {f"{product}-{version}": digest for (product, version), digest in found.items()}


def _new_directory(name: str) -> Path:
    from harness.wait import now, stamp

    runs = settings.private_state(settings.state(), "runs")
    return Path(tempfile.mkdtemp(prefix=f"{stamp(now())}--bisect-{name}-", dir=runs))


# --- as somebody else's test ------------------------------------------------------------------------------------------


def _once(loaded: Loaded, rehearse: Rehearse, going: Any, run_dir: Path | None, output: str) -> int:
    from harness.reports import json as json_report
    from harness.reports import text
    from harness.session import one_rehearsal

    directory = run_dir.absolute() if run_dir else one_rehearsal.new_directory(settings.state(), loaded.name)
    with going:
        done = rehearse(loaded, directory, fresh=False)
    write(json_report.render(done.judgement) if output == "json" else text.render(done.judgement, details=False))
    return done.judgement.exit_code


@contextmanager
def _as_test() -> Iterator[None]:
    """End with the codes of `git bisect run`: whatever says nothing of the scenario is no "bad"."""
    from harness.errors import HarnessError, LeftBehind

    try:
        yield
    except Ended as ended:
        raise Ended(_AS_TEST.get(int(ended.code or 0), _ABORT + 3)) from None
    except KeyboardInterrupt as error:
        say("; ".join(["interrupted", *getattr(error, "__notes__", ())]))
        raise Ended(130) from error
    except LeftBehind as error:
        say(error)
        raise Ended(_ABORT + 5) from error
    except (HarnessError, OSError) as error:
        say(error)
        raise Ended(_UNTESTABLE) from error
    except Exception as error:
        say(f"this is a fault of rehearse, and says nothing about Vault: {type(error).__name__}: {error}")
        raise Ended(_ABORT + 3) from error
