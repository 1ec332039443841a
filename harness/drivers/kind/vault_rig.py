"""Vault in a rig of kind clusters: a Pod or a container, from version to version, and from one place to another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path

from harness.artifacts.images import NODE, Image
from harness.clients.kube_states import PodState
from harness.drivers import service_accounts
from harness.drivers.audit_devices import WithAuditDevices
from harness.drivers.kind import audit_disks, vault_data
from harness.drivers.kind.audit_disks import AuditDisks, InVolumes, OnNode, WritesToDisks
from harness.drivers.kind.cluster import SECOND_VAULT_PORT, VAULT_PORTS
from harness.drivers.kind.seal_container import SealContainer
from harness.drivers.kind.sharing_rig import KindSharing
from harness.drivers.kind.vault_container import VaultContainer
from harness.drivers.kind.vault_pod import BESIDE, NODE_FOLDER, TOKEN_VOLUME, TURNS, VaultPod
from harness.drivers.seal_vault import WithSealVault
from harness.drivers.service_accounts import Account
from harness.drivers.vault_stores import Store
from harness.errors import RigError
from harness.host.ports import Ports
from harness.record.journal import Journal
from harness.record.node_events import PodSeen
from harness.rig.storage import StorageNow
from harness.scenario.course import Move, Serve
from harness.scenario.schema_storage import ToStorage
from harness.scenario.topology import MAIN, SEAL
from harness.secret import Secret
from harness.wait import Stopwatch, now


class RunsKindVault(WithAuditDevices, WithSealVault[VaultContainer], KindSharing):
    """A rig of kind clusters with one Vault, which may move, and at most one beside it that unseals that one."""

    _work: Path
    _images: Mapping[tuple[str, str], Image]
    _licence: Secret | None
    _all_ports: Ports
    _unsealer: SealContainer | None = None
    _loaded: dict[tuple[str, str], Future[None]]
    """by cluster and version, for each cluster in which Vault is at some time: its image is there"""
    _disks: dict[str, AuditDisks]
    """those of its audit files, by the cluster in which they are; in none: by an empty name"""
    _left: list[VaultPod | VaultContainer]
    """the Vault of each place that was left, in order"""
    _store: Store | None
    """what has Vault's data, where that is another server"""

    def _begin_vault(self, wanted: Sequence[Account]) -> None:
        self._home = next((one for one in wanted if one.purpose == MAIN), None)
        self._old_tokens, self._beside, self._left = {}, [], []
        self._unsealer = self._make_unsealer()
        self._server = self._make_vault()
        self._begin_devices(self._server, self._home.cluster if self._home else "")

    def _begin_devices(self, server: WritesToDisks, place: str) -> None:
        """Have *server*, which is in the cluster *place* or in none, write to the audit devices of the scenario."""
        self._disks = {}
        if wanted := self._topology.vault.audit:
            host, _ = self._bench.engine.bridge(self._bench.network)
            disks = self._disks_in(place)
            self._devices = audit_disks.of(wanted, disks, host, self._all_ports)
            server.audit_by(self._devices, disks)

    def _disks_in(self, place: str) -> AuditDisks:
        """Return the disks of the audit files in a place: a Pod's are on its node, and a container's are volumes."""
        if place not in self._disks:
            files = [name for name, spec in self._topology.vault.audit.items() if spec.kind == "file"]
            # what was written in one place is not over what was in another
            work = self._work / f"audit-{place or 'outside'}"
            work.mkdir(mode=0o700)
            if place:
                folder = f"{NODE_FOLDER}/{self._run_id}-audit"
                self._disks[place] = OnNode(files, folder, work, self._clusters[place])
            else:
                self._disks[place] = InVolumes(files, work, self._bench, self._shell)
        return self._disks[place]

    def _take_devices_along(self, server: VaultPod | VaultContainer) -> None:
        """Have Vault, which moves, find its audit devices where it goes: their files begin anew on disks of that place,
        and a disk that was full is full there, too.
        """
        if self._devices is not None:
            disks = self._disks_in(self._home.cluster if self._home else "")
            disks.make()
            for name, file in disks.files.items():
                self._devices.devices[name].write_to(file)
            server.audit_by(self._devices, disks)

    def _make_unsealer(self) -> SealContainer | None:
        if not self._topology.seal_vault:
            return None
        (port,) = self._all_ports.take(1)
        return SealContainer(self._work, self._topology, self._bench, self._images, port, shell=self._shell)

    def hand_seal_token(self, token: Secret | None, *, disabled: bool = False) -> None:
        """Have every later start of this rig's own Vault be unsealed by the other one, or by its keys."""
        self._server.unseal_by(token, disabled=disabled)

    def pod_seen(self) -> PodSeen | None:
        """Return how the Pod of this rig's own Vault is; None: it has none, or nobody says."""
        return self._server.seen_by_kubelet()

    def touch_storage(self, what: ToStorage) -> StorageNow:
        """Lose, defragment, stop or start servers that have Vault's data."""
        if self._store is None:
            raise RigError("the storage of this Vault has no servers beside it")
        return self._store.touch(what)

    def open_to_all(self) -> None:
        """Start Vault anew if its listener is to be one without TLS, or one for client certificates of anybody."""
        if self._listen_as_said(self._server):
            self._start_vault(self._first)

    def swap(self, served: Serve) -> None:
        """Take Vault to the version of *served* over the same data: a rollout of its Pod, or another container.

        Or to another place, over a copy of the data.
        """
        if isinstance(served, Move):
            self._move(served)
        else:
            self._start_vault(served)

    def _kill_vault(self) -> None:
        server, home = self._server, self._home
        if not isinstance(server, VaultPod) or home is None:
            super()._kill_vault()
        elif self._is_alone(home.cluster):
            server.go_on_as(self._turn_after(server, home))
        else:
            server.end_abruptly()

    def _is_alone(self, home: str) -> bool:
        """May its Vault have the other one's name and port in its cluster? Not where that is there for somebody, or the
        cluster is of an older release; nor where two Vaults would write to the same audit files, or be unsealed by a
        third one.
        """
        taken = self._lender is not None and self._lender.keeps_source
        shares = bool(self._disks) or self._unsealer is not None
        return not taken and not shares and len(self._vault_ports[home]) == len(VAULT_PORTS)

    def expect_way_back(self, served: Serve) -> None:
        """Begin a way back as others do, unless Vault moves: then it is not known where the way back leads."""
        if not self._topology.vault.later:
            super().expect_way_back(served)

    def end_vault(self) -> None:
        """End Vault, if it is a container: what is in a cluster goes when that is emptied."""
        for server in (self._server, *self._beside):
            server.kill()
        self._kill_unsealer()

    def keep_vaults(self, journal: Journal) -> None:
        """Keep what every version of Vault printed, and what those printed that were beside it."""
        journal.keep("vault-vault.log", [line for one in (*self._left, self._server) for line in one.whole_log()])
        if self._unsealer is not None:
            journal.keep(f"{SEAL}-vault.log", self._unsealer.server.whole_log())
        for number, new in enumerate(self._beside, 1):
            journal.keep(f"snapshot-{number}-vault.log", new.whole_log())

    def _make_vault(self, name: str = MAIN) -> VaultPod | VaultContainer:
        """Return a Vault that is not started: the one, or another *name*, which is beside it for a while."""
        # a container that it was before it moved is still there, and has its name
        called = f"{name}-{len(self._left) + 1}" if self._left and name == MAIN else name
        node_port = TURNS.get(name, SECOND_VAULT_PORT)
        where, port = self._work / called, self._port_to(self._home.cluster if self._home else "", node_port)
        storage, licence = self._topology.vault.storage, self._licence
        unsealer = self._unsealer.unsealing if self._unsealer is not None else None
        if self._home is None:
            return VaultContainer(
                where,
                self._bench,
                storage=storage,
                port=port,
                shell=self._shell,
                licence=licence,
                name=called,
                store=self._store,
                unsealer=unsealer,
            )
        return VaultPod(
            where,
            self._clusters[self._home.cluster],
            f"{self._home.namespace}/{self._home.name}",
            self._run_id,
            storage=storage,
            port=port,
            licence=licence,
            name=name,
            node_port=node_port,
            store=self._store,
            unsealer=unsealer,
        )

    @property
    def _shell(self) -> str:
        """Return an image with the programs of a system."""
        return next(image.name for (product, _), image in self._images.items() if product == NODE)

    def _listen_as_said(self, server: VaultPod | VaultContainer) -> bool:
        """Have the next start of *server* listen as the scenario says. Return whether that is another way."""
        if self._topology.talks_to_us_alone:
            return False
        (server.listen_to_certificates if self._topology.vault.tls else server.listen_plainly)()
        return True

    def _start_new(self, served: Serve) -> VaultPod | VaultContainer:
        new = self._make_vault(BESIDE.format(len(self._beside) + 1))
        self._beside.append(new)
        image = self._image_of(served.version)
        if isinstance(new, VaultContainer):
            new.replace(served.version, image)
        elif self._home is not None:
            self._await_image(served, self._home)
            new.roll_out(served.version, image, token_file=False)
        return new

    def _start_vault(self, served: Serve) -> None:
        image = self._image_of(served.version)
        if isinstance(self._server, VaultContainer):
            self._server.replace(served.version, image)
        elif self._home is not None:
            self._roll_out(self._server, self._home, served, image)
        self._answering = Stopwatch()

    def _roll_out(self, server: VaultPod, home: Account, served: Serve, image: str) -> None:
        self._await_image(served, home)
        begun = now()
        with self._journal.phase(f"rollout of {served.version}"):
            pod = server.roll_out(served.version, image, token_file=served.token_file)
        self._take_token(home, pod, begun, token_file=served.token_file)

    def _take_token(self, home: Account, pod: PodState, begun: float, *, token_file: bool) -> None:
        """Have the token of a new Pod be that of its account, and that of the one before it, deleted then, be dead."""
        old = self._old_tokens.pop(home.purpose, None)
        if token_file:
            jwt = self._clusters[home.cluster].token_of(pod, TOKEN_VOLUME)
            self._old_tokens[home.purpose] = self._tokens.remember(home, jwt, pod.name, pod.uid)
        if old is not None:
            self._tokens.replaced(old, begun, pod.name, pod.uid)

    def _await_image(self, served: Serve, home: Account) -> None:
        self._bring_up.once_there(self._loaded, (home.cluster, served.version), home.cluster).result()

    def _move(self, served: Move) -> None:
        """Stop Vault, copy its data to where it moves, and start it there; what it leaves goes."""
        old, token = self._server, self._old_tokens.get(MAIN)
        old.stop()
        self._home = service_accounts.moved(self._accounts, MAIN, served.place)
        self._left.append(old)
        new = self._make_vault()
        self._listen_as_said(new)
        self._take_devices_along(new)
        new.keeps = old.keeps
        with self._journal.phase("Vault's data are copied"):
            for source, target in zip(old.held(), new.held(), strict=True):
                vault_data.copy(self._bench, self._shell, source, target)
        if isinstance(old, VaultPod):
            old.remove()
        # whoever asks Vault goes on, with the root token of its data
        old.client.answers_as(new.client)
        new.client = old.client
        self._server = self._vault = new
        self._start_vault(served)
        if isinstance(new, VaultContainer) and token is not None:
            del self._old_tokens[MAIN]
            self._tokens.replaced(token, now(), "", "")
