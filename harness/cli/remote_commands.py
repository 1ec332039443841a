"""The commands of machines that rehearse for others: the scheduler that shares cells out, and the workers."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from harness import settings
from harness.cli.output import Ended, fail, say

if TYPE_CHECKING:
    from harness.cli.remote_cell import Security

_PORT: Final = 8786
_PATIENCE_SECONDS: Final = 30
_LOSSES: Final = 3
"""So many workers may be lost over one cell; then it is the cell's fault."""

TLS_DIR: Final = click.option(
    "--tls-dir",
    type=click.Path(path_type=Path),
    envvar="REHEARSE_TLS_DIR",
    show_envvar=True,
    help="Where the key is that all machines of a scheduler have. Left out: tls/ in the state directory.",
)
INSECURE_SCHEDULER: Final = click.option(
    "--insecure-scheduler",
    is_flag=True,
    help="Without TLS and without a key: whoever reaches a port can have any program run on these machines.",
)


SCHEDULER: Final = (
    click.option(
        "--scheduler",
        metavar="tls://HOST:PORT",
        envvar="REHEARSE_SCHEDULER",
        show_envvar=True,
        help="Rehearse on the workers of this scheduler, and not here.",
    ),
    TLS_DIR,
    INSECURE_SCHEDULER,
)
"""The options of commands that have others rehearse."""


@click.command()
@click.option(
    "--listen",
    default="127.0.0.1",
    show_default=True,
    metavar="HOST[:PORT]",
    help="0.0.0.0 for all who reach this machine.",
)
@TLS_DIR
@INSECURE_SCHEDULER
def scheduler(*, listen: str, tls_dir: Path | None, insecure_scheduler: bool) -> None:
    """Share the cells of matrices out to workers: what `rehearse matrix --scheduler` speaks with.

    The first one makes the key that every machine needs a copy of. Ends with SIGTERM or Ctrl-C.
    """
    distributed = _engine()
    directory = None if insecure_scheduler else tls_directory(tls_dir)
    if directory is not None:
        _have_key(directory)
    host, _, port = listen.rpartition(":") if ":" in listen else (listen, "", str(_PORT))
    if not port.isdigit() or int(port) > 65535:
        raise click.UsageError(f"--listen {listen}: {port} is no port")

    async def serve() -> None:
        made = distributed.Scheduler(
            host=host,
            port=int(port),
            protocol="tcp" if directory is None else "tls",
            security=_security(directory).settled(),
            dashboard=False,
            dashboard_address="127.0.0.1:0",
            allowed_failures=_LOSSES,
        )
        async with made:
            say(f"the scheduler is at {made.address}")
            if directory is not None:
                say(f"its key is in {directory}: copy that to every machine; who has it may run any program on workers")
            _until_signalled(made.close)
            await made.finished()

    _run(serve, f"no scheduler could be started at {listen}")


@click.command()
@click.argument("address")
@TLS_DIR
@INSECURE_SCHEDULER
@click.option("--jobs", type=click.IntRange(1, 64), help="Cells at a time. Left out: what this machine carries.")
@click.option("--name", help="How it is called. Left out: the name of this machine.")
def worker(*, address: str, tls_dir: Path | None, insecure_scheduler: bool, jobs: int | None, name: str | None) -> None:
    """Rehearse cells for the scheduler at ADDRESS, such as tls://ci.example.com:8786, until that ends.

    Mirrors, registries and licences are what the environment of this command says. Ends with SIGTERM or Ctrl-C, once
    the servers of its cells have ended.
    """
    from harness.cli import remote_cell
    from harness.host import capacity
    from harness.session import matrix_directory

    distributed = _engine()
    directory = checked(address, tls_dir, insecure=insecure_scheduler)
    try:
        _security(directory).insist(address)
    except FileNotFoundError as error:
        fail(3, _missing(error))
    machine = capacity.measure(settings.temporary())
    carries = jobs or max(1, int(machine.cores * 1.5))
    program = matrix_directory.program()
    has = remote_cell.resources(program, machine.memory * 0.8 / 1e9, docker=_docker())
    _remove_dead()

    async def serve() -> None:
        with tempfile.TemporaryDirectory(prefix="engine-", dir=remote_cell.home()) as scratch:
            made = distributed.Worker(
                address,
                nthreads=carries,
                name=name or f"{socket.gethostname()}-{os.getpid()}",
                resources=has,
                security=_security(directory).settled(),
                memory_limit=0,
                local_directory=scratch,
                death_timeout=_PATIENCE_SECONDS,
                dashboard=False,
                dashboard_address="127.0.0.1:0",
            )
            async with made:
                memory = has[remote_cell.MEMORY]
                docker = "a Docker engine" if has[remote_cell.DOCKER] else "no Docker engine"
                say(f"worker {made.name} of {address}: {carries} cells at a time, {memory:.1f} GB, {docker}; {program}")
                _until_signalled(made.close)
                await made.finished()
        remote_cell.end_idle()
        shutil.rmtree(remote_cell.home(), ignore_errors=True)

    _run(serve, f"no scheduler of rehearse answers at {address}")


def checked(address: str, tls_dir: Path | None, *, insecure: bool) -> Path | None:
    """Return the directory of the key for the scheduler at *address*; None for one without TLS. Raises UsageError."""
    kind = address.partition("://")[0]
    if kind not in ("tls", "tcp") or "://" not in address:
        raise click.UsageError(f"{address} is no address of a scheduler: tls://HOST:{_PORT}")
    if (kind == "tcp") != insecure:
        wrong = "that is without TLS: tls://, or --insecure-scheduler" if kind == "tcp" else "that is with TLS: tcp://"
        raise click.UsageError(f"{address}: {wrong}")
    return None if insecure else tls_directory(tls_dir)


def tls_directory(named: Path | None) -> Path:
    """Return where the key is."""
    return (named or settings.state() / "tls").absolute()


def _security(directory: Path | None) -> Security:
    from harness.cli.remote_cell import Security

    return Security(directory)


def _engine() -> Any:
    """Return Dask distributed, silenced; ends with 3 where it is not installed."""
    from harness.cli import remote_cell

    try:
        import dask
        import distributed
    except ImportError:
        fail(3, "Dask distributed is not installed: install vault-upgrade-rehearsal[distributed]")
    # no pages for anybody who reaches the machine: they know no key
    dask.config.set({"distributed.scheduler.http.routes": [], "distributed.worker.http.routes": []})
    remote_cell.hush()
    return distributed


def _have_key(directory: Path) -> None:
    """Make the key that all machines of a scheduler share, where there is none."""
    from harness.host import pki

    settings.private(directory)
    if not (directory / "tls.key").exists():
        pki.Authority(directory, "rehearse.invalid")


def _docker() -> bool:
    from harness.clients import container_engine
    from harness.errors import MissingPrerequisite

    try:
        container_engine.reach(settings.environment())
    except MissingPrerequisite:
        return False
    return True


def _remove_dead() -> None:
    """Remove what workers have left that were killed: records that nobody waits for."""
    import psutil

    from harness.cli import remote_cell

    for place in settings.private_state(settings.state(), remote_cell.WORKERS).iterdir():
        if place.name.isdigit() and not psutil.pid_exists(int(place.name)):
            shutil.rmtree(place, ignore_errors=True)


def _until_signalled(close: Callable[[], Awaitable[Any]]) -> None:
    """Close what runs at SIGTERM and Ctrl-C."""
    import asyncio

    loop = asyncio.get_running_loop()
    closing: list[asyncio.Future[Any]] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, lambda: closing.append(asyncio.ensure_future(close())))


def _missing(error: FileNotFoundError) -> str:
    return f"{error} is missing: copy the directory with the scheduler's key here, and name it in --tls-dir"


def _run(serve: Callable[[], Awaitable[None]], trouble: str) -> None:
    import asyncio

    try:
        asyncio.run(serve())  # type: ignore[arg-type]
    except FileNotFoundError as error:
        fail(3, _missing(error))
    except (OSError, TimeoutError, RuntimeError, ValueError) as error:
        fail(3, f"{trouble}: {error}")
    raise Ended(0)
