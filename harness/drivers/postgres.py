"""The life of a PostgreSQL of this machine's own package, as a process: a new cluster, which is thrown away."""

from __future__ import annotations

import secrets as random
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import ClassVar, Final, NamedTuple
from urllib.parse import quote

from harness import wait
from harness.clients import postgres
from harness.drivers.bring_up import BringUp
from harness.drivers.data_server import LOOPBACK, DataServer, LoneStore
from harness.drivers.log_tail import Tail
from harness.drivers.vault_config import Stored
from harness.errors import RigError
from harness.host import pki
from harness.host.ports import Ports
from harness.host.process import Supervisor
from harness.scenario.schema_engines import ToDatabase
from harness.secret import Secret

ROOM: Final = 120 * 10**6
"""The bytes that one writes, of which 40 million are there from the start: for `Supervisor(memory=...)`."""

USER: Final = "rehearsal"
"""Its superuser."""

_MAKE_SECONDS: Final = 60

_TABLE: Final = """
CREATE TABLE vault_kv_store (
  parent_path TEXT COLLATE "C" NOT NULL,
  path        TEXT COLLATE "C",
  key         TEXT COLLATE "C",
  value       BYTEA,
  CONSTRAINT pkey PRIMARY KEY (path, key)
);
CREATE INDEX parent_path_idx ON vault_kv_store (parent_path);
CREATE TABLE vault_ha_locks (
  ha_key      TEXT COLLATE "C" NOT NULL,
  ha_identity TEXT COLLATE "C" NOT NULL,
  ha_value    TEXT COLLATE "C",
  valid_until TIMESTAMP WITH TIME ZONE NOT NULL,
  CONSTRAINT ha_key PRIMARY KEY (ha_key)
);
"""
"""Vault documentation, configuration/storage/postgresql: what an operator makes before the first start."""


class Bridge(NamedTuple):
    """A network of containers of this machine."""

    address: str
    """that of this machine in it"""
    network: str
    """all addresses of it, such as 172.18.0.0/16"""


class Postgres(DataServer):
    """A PostgreSQL on a port of one address, for one run: made at its first start, ended by the supervisor.

    Whoever wants one takes a port (`Ports.take`), makes it with a directory that is not there yet in the run's room and
    with `clients.postgres.programs()` (which raises MissingPrerequisite and names the package), and calls `start`: that
    takes about a second. `connection` is its URL with the superuser's password, for files of mode 0600 and requests;
    `template` is one in which Vault puts the name and the password itself. It asks everybody for a password (SCRAM),
    and nobody sees one on a command line. As root it is run as another user, in namespaces of its own: to everybody
    else its files are root's, and nothing of it is left in the machine's shared memory. Its data are not safe against a
    power loss, which saves time. `at_rest`, `died`, `kill`, `data` and `log` are as those of an etcd.
    """

    logs_to: ClassVar[str] = "postgres.log"
    stops_by: ClassVar[signal.Signals] = signal.SIGINT
    """fast: it does not wait for those who are connected"""
    unprivileged: ClassVar[bool] = True

    def __init__(
        self,
        directory: Path,
        port: int,
        programs: Path,
        supervisor: Supervisor,
        called: str = "PostgreSQL",
        at: Bridge | None = None,
    ) -> None:
        """*programs* is the directory of its programs. It is on loopback, or *at* a bridge."""
        super().__init__(called, directory, port, supervisor, at.address if at else LOOPBACK)
        self._programs, self._password = programs, Secret(random.token_urlsafe(24))
        self._asked_from = at.network if at else ""

    @property
    def connection(self) -> Secret:
        """Return the URL by which its superuser connects, password and all."""
        return Secret(self._url(USER, quote(self._password.reveal(), safe="")))

    @property
    def template(self) -> str:
        """Return that URL with places for a name and a password, as Vault's database engine wants it."""
        return self._url("{{username}}", "{{password}}")

    @property
    def superuser(self) -> tuple[str, Secret]:
        """Return the name and the password of its superuser."""
        return USER, self._password

    def _url(self, user: str, password: str) -> str:
        return f"postgresql://{user}:{password}@{self.address}:{self.port}/{postgres.DATABASE}?sslmode=disable"

    def start(self) -> None:
        """Start it, and wait until it lets us in; the first time it is made. Raises as every server with data."""
        if not self.data.exists():
            self._make()
        super().start()

    def refusal(self, user: Secret | str, password: Secret) -> str:
        """Return why it does not let *user* in, in its own words; "" where it does. Raises Unreachable."""
        return postgres.refusal(self._programs, (self.address, self.port), user, password)

    def tell(self, statements: str) -> None:
        """Have it do what *statements* of SQL say, all or nothing. Raises RigError if it does not, or Unreachable."""
        place = (self.address, self.port)
        if why := postgres.refusal(self._programs, place, *self.superuser, statements=statements):
            raise RigError(f"{self.called} did not do as it was told: {why}")

    def _serves(self) -> bool:
        if why := self.refusal(*self.superuser):
            raise RigError(f"{self.called} does not know the user that it was made with: {why}")
        return True

    def _make(self) -> None:
        secret = self.directory / "password"
        pki.write_private(secret, self._password.reveal().encode())
        made = self._run(
            f"initdb of {self.called}",
            [
                str(self._programs / "initdb"),
                f"--pgdata={self.data}",
                f"--username={USER}",
                f"--pwfile={secret}",
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                "--locale=C",
                "--wal-segsize=1",
                "--no-sync",
            ],
        )
        try:
            wait.until(
                lambda: made.poll() is not None, what=f"{self.called} to be made", seconds=_MAKE_SECONDS, log=made.tail
            )
        finally:
            secret.unlink()
        if made.poll() != 0:
            raise RigError(f"{self.called} could not be made: initdb {made.died()}", made.tail())
        if self._asked_from:
            # we ask it with whichever address of this machine its routes choose
            rules = [f"host all all {whom} scram-sha-256\n" for whom in (self._asked_from, "samehost")]
            pki.write_private(self._rules, "".join(rules).encode())

    @property
    def _rules(self) -> Path:
        """Return the file that says from where one is let in, where it is not from loopback."""
        return self.directory / "hba.conf"

    def _argv(self) -> Sequence[str]:
        settings: dict[str, str | int] = {
            "listen_addresses": self.address,
            "port": self.port,
            "unix_socket_directories": "",
            "fsync": "off",
            "shared_buffers": "16MB",
            "max_wal_size": "16MB",
            "min_wal_size": "2MB",
            # what it keeps in files elsewhere would be left where it is killed
            "dynamic_shared_memory_type": "mmap",
            "log_connections": "on",
        }
        if self._asked_from:
            settings["hba_file"] = str(self._rules)
        return [
            str(self._programs / "postgres"),
            "-D",
            str(self.data),
            *(word for name, value in settings.items() for word in ("-c", f"{name}={value}")),
        ]


class PostgresStore(LoneStore, Postgres):
    """One that is the storage of a Vault, which gets its password by a file of mode 0600: its configuration."""

    def __init__(
        self, directory: Path, port: int, programs: Path, supervisor: Supervisor, at: Bridge | None = None
    ) -> None:
        """It is on loopback, or *at* a bridge."""
        super().__init__(directory, port, programs, supervisor, "the PostgreSQL of Vault", at)

    @property
    def stored(self) -> Stored:
        """Return the storage of its Vault, as that Vault's configuration has it."""
        return {"postgresql": {"connection_url": self.connection.reveal()}}

    def stored_within(self, folder: str) -> Stored:
        """Return the same for a Vault in a container, which needs no files in a *folder*."""
        del folder
        return self.stored

    @property
    def files(self) -> dict[str, Path]:
        """Return no files: Vault and it know each other by a password."""
        return {}

    def start(self) -> None:
        """Start it; the first time with the tables that no Vault makes by itself."""
        new = not self.data.exists()
        super().start()
        if new:
            self.tell(_TABLE)


class OwnDatabase:
    """The PostgreSQL of a rehearsal, if it has one, made beside the clusters that come up."""

    def __init__(
        self, work: Path, supervisor: Supervisor, ports: Ports, at: Callable[[], Bridge] | None = None
    ) -> None:
        """It is on loopback, or *at* a bridge, of which is asked as it begins."""
        self._work, self._supervisor, self._ports, self._at = work, supervisor, ports, at
        self._coming: Future[Postgres] | None = None

    def begin(self, bring_up: BringUp) -> None:
        """Have it made and started, in a thread."""
        (port,) = self._ports.take(1)
        at = self._at() if self._at is not None else None
        found = Postgres(self._work / "database", port, postgres.programs(), self._supervisor, at=at)
        self._coming = bring_up.aside(self._start, found)

    @staticmethod
    def _start(found: Postgres) -> Postgres:
        found.start()
        return found

    def get(self) -> Postgres:
        """Return it once it serves. Raises what went wrong with it, RigError where there is none."""
        if self._coming is None:
            raise RigError("this rehearsal has no PostgreSQL: no secrets engine of its scenario is of type database")
        return self._coming.result()

    def touch(self, what: ToDatabase) -> float:
        """Stop it, or start it again over its data; return how many seconds it took. Raises as `get`."""
        found, watch = self.get(), wait.Stopwatch()
        if what == "stop":
            found.stop()
        else:
            found.start()
        return watch.seconds

    @property
    def _there(self) -> Postgres | None:
        done = self._coming is not None and self._coming.done() and self._coming.exception() is None
        return self._coming.result() if done and self._coming is not None else None

    def died(self) -> str | None:
        """Return a sentence if it has ended."""
        return self._there.died() if self._there is not None else None

    def kill(self) -> None:
        """End it at once, if it serves."""
        if self._there is not None:
            self._there.kill()

    @property
    def logs(self) -> list[Tail]:
        """Return its log, where it has one."""
        return [self._there.log] if self._there is not None else []
