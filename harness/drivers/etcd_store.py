"""The life of the etcd that is the storage of a Vault: one member or several, as processes."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import ClassVar, Final

from harness import wait
from harness.clients import etcd
from harness.drivers.data_server import DataServer, RestsForCopies
from harness.drivers.log_tail import Tail
from harness.drivers.vault_config import Stored
from harness.errors import Unreachable
from harness.host import pki
from harness.host.process import Supervisor
from harness.rig.leases import Weight
from harness.rig.storage import StorageNow
from harness.scenario.schema_storage import ToStorage

_LEASES: Final = "/vault/sys/expire/id/"
"""where Vault has its leases, with the path that it takes where none is said"""


_ELECTION_SECONDS: Final = 30


class EtcdMember(DataServer):
    """A member of an etcd, which talks over TLS to the others and to whoever has a certificate of its authority."""

    logs_to: ClassVar[str] = "etcd.log"

    def __init__(
        self,
        name: str,
        directory: Path,
        listening: tuple[int, int],
        binary: Path,
        supervisor: Supervisor,
        authority: pki.Authority,
        also_at: str = "",
    ) -> None:
        """*listening* are its ports for clients and for other members; it has no *name* where it is alone. *also_at* is
        another address at which it answers clients, beside loopback.
        """
        self.name, (port, self._peer_port) = name, listening
        super().__init__(f"the etcd of Vault{f' ({name})' if name else ''}", directory, port, supervisor)
        self._binary, self._authority, self._also_at = binary, authority, also_at
        self.members: Sequence[EtcdMember] = (self,)
        """all members of the cluster"""

    @property
    def url(self) -> str:
        """Return its address for clients."""
        return f"https://127.0.0.1:{self.port}"

    @property
    def url_within(self) -> str:
        """Return its address for whoever is in the network where it answers as well."""
        return f"https://{self._also_at or '127.0.0.1'}:{self.port}"

    @property
    def peer_url(self) -> str:
        """Return its address for the other members."""
        return f"https://127.0.0.1:{self._peer_port}"

    def _serves(self) -> bool:
        return etcd.serves(self.port, self._authority.ca, self._authority.client)

    def list_bytes(self) -> tuple[int, int]:
        """Return how large the list of Vault's leases is, as `etcd.list_bytes` has it. Raises Unreachable."""
        return etcd.list_bytes(self.port, self._authority.ca, self._authority.client, _LEASES)

    def leads(self) -> bool:
        """Does it lead the others, by its own word? Raises Unreachable."""
        return etcd.leads(self.port, self._authority.ca, self._authority.client)

    def defragment(self) -> None:
        """Give back the room that deleted data took in its file; it answers nobody meanwhile. Raises Unreachable."""
        etcd.defragment(self.port, self._authority.ca, self._authority.client)

    def _argv(self) -> Sequence[str]:
        own = self._authority
        return [
            str(self._binary),
            f"--data-dir={self.data}",
            "--unsafe-no-fsync",
            f"--listen-client-urls={','.join(dict.fromkeys((self.url, self.url_within)))}",
            # Vault asks the first member for the addresses of all, and goes by those
            f"--advertise-client-urls={self.url_within}",
            f"--cert-file={own.certificate}",
            f"--key-file={own.key}",
            "--client-cert-auth",
            f"--trusted-ca-file={own.ca}",
            *(self._among_others() if self.name else _ALONE),
        ]

    def _among_others(self) -> list[str]:
        own = self._authority
        return [
            f"--name={self.name}",
            f"--listen-peer-urls={self.peer_url}",
            f"--initial-advertise-peer-urls={self.peer_url}",
            f"--initial-cluster={','.join(f'{one.name}={one.peer_url}' for one in self.members)}",
            f"--peer-cert-file={own.certificate}",
            f"--peer-key-file={own.key}",
            "--peer-client-cert-auth",
            f"--peer-trusted-ca-file={own.ca}",
        ]


_ALONE: Final = (
    # it has no peers, and needs no port for them
    "--listen-peer-urls=unix://peer.sock:0",
    "--initial-advertise-peer-urls=http://127.0.0.1:2",
    "--initial-cluster=default=http://127.0.0.1:2",
    "--heartbeat-interval=10",
    "--election-timeout=50",
)


class EtcdStore(RestsForCopies):
    """An etcd that talks to nobody but the Vault whose data it has, over TLS. The supervisor ends it.

    Every user of this machine reaches its ports, and what is in it is all of that Vault.
    """

    def __init__(
        self,
        directory: Path,
        ports: Sequence[int],
        binary: Path,
        supervisor: Supervisor,
        most: int | None = None,
        also_at: str = "",
    ) -> None:
        """Of the *ports* one alone is that of the only member; else each member takes two. *most* bytes are what its
        Vault takes in one answer; None: what it takes by itself. It is on loopback, and *also_at* another address.
        """
        directory.mkdir(mode=0o700)
        self.data = directory / "data"
        names = dict.fromkeys(("127.0.0.1", also_at or "127.0.0.1"))
        self.directory, self._most, self._authority = directory, most, pki.Authority(directory, *names, client=True)
        pairs = [(ports[0], 0)] if len(ports) == 1 else list(zip(ports[::2], ports[1::2], strict=True))
        self.members = []
        for number, pair in enumerate(pairs):
            name = f"etcd-{number}" if len(pairs) > 1 else ""
            one = EtcdMember(name, directory / (name or "etcd"), pair, binary, supervisor, self._authority, also_at)
            one.data = self.data / name
            self.members.append(one)
        for one in self.members:
            one.members = self.members

    @property
    def stored(self) -> Stored:
        """Return the storage of its Vault, as that Vault's configuration has it."""
        return self._stored([one.url for one in self.members], *map(str, self.files.values()))

    def stored_within(self, folder: str) -> Stored:
        """Return the same for a Vault in a container: it finds it at the other address, and `files` in a *folder*."""
        return self._stored([one.url_within for one in self.members], *(f"{folder}/{name}" for name in self.files))

    @property
    def files(self) -> dict[str, Path]:
        """Return the files by which Vault and it know each other, by names of their own."""
        certificate, key = self._authority.client
        return {"etcd-ca.crt": self._authority.ca, "etcd.crt": certificate, "etcd.key": key}

    def _stored(self, urls: Sequence[str], ca: str, certificate: str, key: str) -> Stored:
        limit = {} if self._most is None else {"max_receive_size": str(self._most)}
        return {
            "etcd": {
                "address": ",".join(urls),
                "etcd_api": "v3",
                "tls_ca_file": ca,
                "tls_cert_file": certificate,
                "tls_key_file": key,
                **limit,
            }
        }

    @property
    def logs(self) -> list[Tail]:
        """Return the log of each member."""
        return [one.log for one in self.members]

    def start(self) -> None:
        """Start all members that do not run over what they have, and wait until they serve. Raises as `DataServer`."""
        self.data.mkdir(mode=0o700, exist_ok=True)
        away = [one for one in self.members if not one.runs]
        for one in away:
            one.begin()
        for one in away:
            one.await_serving()

    def touch(self, what: ToStorage) -> StorageNow:
        """Lose, defragment, stop or start members; return who is left then. Raises as what does it."""
        watch, lost = wait.Stopwatch(), ""
        match what:
            case "lose-leader":
                lost = self.lose_leader()
            case "defrag":
                self.defragment()
            case "restart":
                self.restart()
            case "stop":
                self.stop()
            case "start":
                self.start()
        return StorageNow(sum(one.runs for one in self.members), lost, self.leader(), watch.seconds)

    def leader(self) -> str:
        """Return the name of the member that leads; nothing where none does, or the only one has no name."""
        for one in self.members:
            with suppress(Unreachable):
                if one.runs and one.leads():
                    return one.name
        return ""

    def lose_leader(self) -> str:
        """Kill the member that leads, and return its name once another one leads, if enough are left to elect one.

        Raises NotReady where none leads, before or afterwards.
        """
        self._await_leader()
        name = self.leader()
        next(one for one in self.members if one.name == name).kill()
        if sum(one.runs for one in self.members) > len(self.members) // 2:
            self._await_leader()
        return name

    def _await_leader(self) -> None:
        wait.until(lambda: self.leader() != "", what="a member of the etcd of Vault to lead", seconds=_ELECTION_SECONDS)

    def defragment(self) -> None:
        """Defragment all members that run at the same time, as no operator should. Raises Unreachable."""
        there = [one for one in self.members if one.runs]
        with ThreadPoolExecutor(len(there), thread_name_prefix="defragmenting") as pool:
            for done in [pool.submit(one.defragment) for one in there]:
                done.result()

    def restart(self) -> None:
        """Stop each member that runs, and start it again, one after the other. Raises as `DataServer`."""
        for one in self.members:
            if one.runs:
                one.stop()
                one.start()

    def stop(self) -> None:
        """Stop all members in order. Their data stay."""
        for one in self.members:
            one.stop()

    def died(self) -> str | None:
        """Return a sentence if a member has ended."""
        return next((sentence for one in self.members if (sentence := one.died())), None)

    def kill(self) -> None:
        """End it at once: nobody wants its data any more."""
        for one in self.members:
            one.kill()

    def weigh(self) -> Weight:
        """Return how many bytes a member's data take, and the list of its Vault's leases. Raises Unreachable."""
        one = next((one for one in self.members if one.runs), None)
        if one is None:
            raise Unreachable("the etcd of Vault does not run")
        keys, whole = one.list_bytes()
        stored = (one.data / "member" / "snap" / "db").stat().st_size
        return Weight(stored=stored, etcd_keys=keys, etcd_whole=whole)
