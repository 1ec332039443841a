"""Logins a second by storage, by how connections end, and by version, and how much the load generator could send.

`python -m tests.bench.requests` does this. An old and a new Vault stand side by side, each over data of its own, and
are asked in turns: what a machine does beside that meets both.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import click

from harness import wait
from harness.cli import maintenance
from harness.clients import postgres, wrk
from harness.drivers.data_server import VaultStore
from harness.drivers.etcd_store import EtcdStore
from harness.drivers.local.vault_process import VaultServer
from harness.drivers.postgres import PostgresStore
from harness.host import own_run, pki
from harness.host.ports import Ports
from harness.host.process import Supervisor
from harness.session.one_rehearsal import Options, store_of

OLD, NEW = "1.11.0", "1.16.3"
STORAGES: Final = ("file", "raft", "etcd", "postgresql")
CLOSING: Final = {"keep-alive": 0, "65 % close": 65, "close": 100}
"""By name, of how many logins in a hundred the connection is closed."""
AT_ONCE: Final = 32
MOUNT, ROLE = "approle", "web"
ANSWER: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n%b\r\n{}"
CLOSES: Final = b"Connection: close\r\n"


def main_server(port: int) -> None:
    """Answer every request at once, and with the same: what is left is what the load generator can do."""

    class AtOnce(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport, self.held = transport, b""

        def data_received(self, data: bytes) -> None:
            self.held += data
            while (end := self.held.find(b"\r\n\r\n")) >= 0:
                head = self.held[:end].lower()
                length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0] or b"0")
                if len(self.held) < end + 4 + length:
                    return
                self.held = self.held[end + 4 + length :]
                assert isinstance(self.transport, asyncio.Transport)
                closes = b"connection: close" in head
                self.transport.write(ANSWER % (CLOSES if closes else b""))
                if closes:
                    self.transport.close()
                    return

    async def serve() -> None:
        server = await asyncio.get_running_loop().create_server(AtOnce, "127.0.0.1", port)
        await server.serve_forever()

    asyncio.run(serve())


class Bench:
    """Servers of one run, ended with it."""

    def __init__(self, stack: ExitStack) -> None:
        places = maintenance.places()
        run = f"requests-{os.getpid()}"
        self.ports: Ports
        self.supervisor: Supervisor
        self.ports, self.supervisor, _ = own_run.begin(stack, run, places.temporary, places.state)
        wanted = [("vault", OLD), ("vault", NEW), ("etcd", "3.5.16")]
        found = store_of(Options(), places, lambda _: None).get_all(wanted)
        self.binaries = {name: one.path for name, one in zip(wanted, found, strict=True)}

    def vault(self, storage: str, version: str) -> VaultServer:
        """Return a Vault that serves plain HTTP, with a role to log in to."""
        room = self.supervisor.room / f"{storage}-{version}"
        room.mkdir(mode=0o700)
        store = self._store(storage, room)
        port, cluster_port = self.ports.take(2)
        server = VaultServer(room / "vault", storage=storage, port=port, cluster_port=cluster_port, store=store)
        binary = self.binaries["vault", version]
        if store is not None:
            store.start()
        server.start(self.supervisor, binary, version)
        keys = server.client.initialise(1, 1)
        server.stop()
        server.listen_plainly()
        server.start(self.supervisor, binary, version)
        server.client.unseal(keys[0])
        wait.until(lambda: server.client.health().status == 200, what="Vault to be active", seconds=30)
        server.client.enable_auth(MOUNT, "approle")
        server.client.write_role(MOUNT, ROLE, {"token_ttl": "1h", "secret_id_num_uses": 0})
        return server

    def _store(self, storage: str, room: Path) -> VaultStore | None:
        if storage not in ("etcd", "postgresql"):
            return None
        (port,) = self.ports.take(1)
        if storage == "etcd":
            return EtcdStore(room / "store", [port], self.binaries["etcd", "3.5.16"], self.supervisor)
        return PostgresStore(room / "store", port, postgres.programs(), self.supervisor)

    def at_once(self) -> str:
        """Return the address of a server that answers at once."""
        (port,) = self.ports.take(1)
        room = self.supervisor.room / "at-once"
        room.mkdir(mode=0o700)
        words = [sys.executable, "-c", f"from tests.bench import requests; requests.main_server({port})"]
        root = str(Path(__file__).parent.parent.parent)
        self.supervisor.start("at once", words, env={"PYTHONPATH": root}, cwd=room, log=room / "log")
        wait.until(lambda: _listens(port), what="the server to answer", seconds=30)
        return f"http://127.0.0.1:{port}"


def _listens(port: int) -> bool:
    with socket.socket() as tried:
        return tried.connect_ex(("127.0.0.1", port)) == 0


def asked(url: str, bodies: Path, logins: int, closing: int) -> float:
    """Return how many logins a second were answered. Raises SystemExit where one was not granted."""
    words = wrk.command(url, bodies, logins, AT_ONCE, closing=closing)
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=wrk.patience(logins) + 10)
    counted = wrk.counted(done.stdout.splitlines())
    if counted.statuses != {"200": logins}:
        sys.exit(f"{url} answered otherwise than 200: {counted.statuses} {counted.said}")
    return logins / counted.seconds


def rounds(
    ways: Mapping[str, tuple[str, Path]], logins: int, times: int, tell: Callable[[str], None]
) -> dict[tuple[str, str], list[float]]:
    """Return what each of the servers, by name, answered a second, by its name and how connections ended."""
    found: dict[tuple[str, str], list[float]] = {}
    for number, (how, closing) in itertools.product(range(times), CLOSING.items()):
        # who is first is otherwise each time
        for name in sorted(ways, reverse=bool(number % 2)):
            rate = asked(*ways[name], logins, closing)
            found.setdefault((name, how), []).append(rate)
            tell(f"{name}, {how}: {rate:.0f} a second")
    return found


def rows(storage: str, found: Mapping[tuple[str, str], Sequence[float]]) -> Iterator[str]:
    """Yield lines of a Markdown table: medians, and the new version's share of the old one's, round by round."""
    for how in CLOSING:
        old, new = found[OLD, how], found[NEW, how]
        shares = [one / other for one, other in zip(new, old, strict=True)]
        share = f"{statistics.median(shares):.2f} ({min(shares):.2f} to {max(shares):.2f})"
        yield f"| {storage} | {how} | {statistics.median(old):.0f} | {statistics.median(new):.0f} | {share} |"


def ceiling(found: Mapping[tuple[str, str], Sequence[float]]) -> str:
    """Return the row of the server that answers at once."""
    return "; ".join(f"{how} {statistics.median(found['at once', how]):.0f}" for how in CLOSING)


@click.command()
@click.option("--storage", "storages", multiple=True, default=STORAGES, help="Those to measure.")
@click.option("--logins", default=2_000, help="How many, each time.")
@click.option("--rounds", "times", default=3, help="How many times.")
def main(storages: Iterable[str], logins: int, times: int) -> None:
    """Print a table: logins a second by storage, by how connections end, and by version."""

    def tell(words: str) -> None:
        click.echo(words, err=True)

    lines = [f"| storage | connections | {OLD} | {NEW} | new of old |", "| --- | --- | --- | --- | --- |"]
    with tempfile.TemporaryDirectory() as held:
        nothing = Path(held) / "bodies"
        nothing.write_text("{}\n" * logins)
        with ExitStack() as stack:
            most = rounds({"at once": (Bench(stack).at_once(), nothing)}, logins, times, tell)
        for storage in storages:
            with ExitStack() as stack:
                bench, ways = Bench(stack), dict[str, tuple[str, Path]]()
                for version in (OLD, NEW):
                    server, file = bench.vault(storage, version), Path(held) / f"{storage}-{version}"
                    known = server.client.make_secret_id(MOUNT, ROLE)
                    name = known.name if isinstance(known.name, str) else known.name.reveal()
                    body = json.dumps({"role_id": name, "secret_id": known.secret.reveal()})
                    pki.write_private(file, f"{body}\n".encode() * logins)
                    ways[version] = f"{server.client.address}/v1/auth/{MOUNT}/login", file
                lines += rows(storage, rounds(ways, logins, times, tell))
    click.echo("\n".join(lines))
    click.echo(f"a server that answers at once: {ceiling(most)}")


if __name__ == "__main__":
    main()
