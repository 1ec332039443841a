"""Small disks for the audit files of a Vault in a container: on the node of its Pod, or in volumes of the engine."""

from __future__ import annotations

import abc
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

from harness.drivers.audit_devices import DISK_BYTES, AuditDevices, Device, receiver
from harness.drivers.data_server import FILLER
from harness.drivers.kind.cluster import KindCluster, Workbench
from harness.drivers.log_tail import Tail
from harness.errors import RigError
from harness.host.ports import Ports
from harness.scenario.audit_spec import DeviceSpec

PLACE: Final = "/vault/audit"
"""Where a Vault in a container finds its disks, each in a folder that is called after its device."""

_FILE: Final = "audit.log"
_MOUNT: Final = 'set -eu; mkdir -p "$1"; mount -t tmpfs -o "size=$2,mode=0700" tmpfs "$1"'
_FILL: Final = 'cat /dev/zero >"$1" 2>/dev/null || true; test "$(df --output=avail "$1" | tail -n 1)" -eq 0'
_MODE: Final = 'stat -c %a "$1" 2>/dev/null || echo none'


class WritesToDisks(Protocol):
    """A Vault in a container, or several, whose audit log is what devices write."""

    def audit_by(self, devices: AuditDevices, disks: AuditDisks) -> None:
        """Have its audit log be what *devices* write, of which those that are files are on *disks*."""
        ...


class AuditDisks(abc.ABC):
    """The disks of one Vault in one place. They are made when it starts there for the first time."""

    def __init__(self, names: Sequence[str], folder: str, work: Path) -> None:
        """*folder* is where they are in the container that has the programs of a system; what is written to them is
        copied to files in *work* as it comes.
        """
        self._names, self._folder, self._work, self._made = names, folder, work, False
        self.files = {name: ContainerFile(self, name, work / f"audit-{name}.log") for name in names}

    def make(self) -> None:
        """Make them, unless they are there. Raises RigError."""
        if self._made or not self._names:
            return
        self._made = True
        self._make()
        for name, file in self.files.items():
            self.follow(self.place(name, _FILE), file.tail.path)

    def place(self, name: str, file: str = "") -> str:
        """Return where the disk of a device is, or a *file* on it, for `run`."""
        return f"{self._folder}/{name}{file and f'/{file}'}"

    @property
    def volume(self) -> dict[str, Any]:
        """Return them as the source of a Pod's volume: an empty one, where no Pod has them."""
        return {"emptyDir": {}}

    @property
    def volumes(self) -> dict[str, dict[str, str]]:
        """Return them as an engine has the volumes of a container: none, where no container has them."""
        return {}

    @abc.abstractmethod
    def _make(self) -> None: ...

    @abc.abstractmethod
    def run(self, script: str, *words: str) -> str:
        """Run a shell *script* where they are, and return what it printed. Raises RigError where it fails."""

    @abc.abstractmethod
    def follow(self, file: str, into: Path) -> None:
        """Have the lines of a *file* there appended to *into*, by a child that ends with the run."""


class ContainerFile:
    """The file of one device, which may not be there yet."""

    def __init__(self, disks: AuditDisks, name: str, copy: Path) -> None:
        self._disks, self._name = disks, name
        self.path, self.tail = f"{PLACE}/{name}/{_FILE}", Tail(copy)

    def fill(self) -> None:
        """Have its disk be full. Raises RigError where that cannot be done."""
        self._disks.run(_FILL, self._disks.place(self._name, FILLER))

    def free(self) -> None:
        """Have its disk have room again."""
        self._disks.run('rm -f "$1"', self._disks.place(self._name, FILLER))

    @property
    def mode(self) -> str:
        """Return its mode bits; nothing where it is not there."""
        said = self._disks.run(_MODE, self._disks.place(self._name, _FILE)).strip()
        return f"{said:0>4}" if said.isdigit() else ""


class OnNode(AuditDisks):
    """Disks on the node of a cluster, where a Pod finds them below one folder. They go when that is emptied."""

    def __init__(self, names: Sequence[str], folder: str, work: Path, cluster: KindCluster) -> None:
        super().__init__(names, folder, work)
        self._cluster = cluster

    @property
    def volume(self) -> dict[str, Any]:
        """Return them as the source of a Pod's volume."""
        return {"hostPath": {"path": self._folder, "type": "DirectoryOrCreate"}}

    def _make(self) -> None:
        for name in self._names:
            self.run(_MOUNT, self.place(name), str(DISK_BYTES))

    def run(self, script: str, *words: str) -> str:
        """Run a shell *script* on the node."""
        return self._cluster.run("sh", "-c", script, "sh", *words)

    def follow(self, file: str, into: Path) -> None:
        """Have the lines of a *file* of the node appended to *into*."""
        self._cluster.follow_file(file, into)


class InVolumes(AuditDisks):
    """Disks that are volumes of the engine, in memory as long as a container of ours has them, beside Vault's own."""

    def __init__(self, names: Sequence[str], work: Path, bench: Workbench, shell: str) -> None:
        """*shell* is an image with the programs of a system."""
        super().__init__(names, PLACE, work)
        self._bench, self._shell, self._holder = bench, shell, ""

    @property
    def volumes(self) -> dict[str, dict[str, str]]:
        """Return them as an engine has the volumes of a container."""
        return {self._volume(name): {"bind": self.place(name), "mode": "rw"} for name in self._names}

    def _volume(self, name: str) -> str:
        return f"{self._bench.name}-audit-{name}"

    def _make(self) -> None:
        bench = self._bench
        for name in self._names:
            bench.engine.create_volume(self._volume(name), bench.labels, memory=DISK_BYTES)
        self._holder = bench.engine.start(
            self._shell,
            ["infinity"],
            entrypoint=["sleep"],
            name=f"{bench.name}-audit",
            labels=dict(bench.labels),
            volumes=self.volumes,
            network_mode="none",
        )

    def run(self, script: str, *words: str) -> str:
        """Run a shell *script* in the container that has them all."""
        if not self._holder:
            raise RigError("the disks of Vault's audit devices are not there yet")
        return self._bench.engine.execute(self._holder, ["sh", "-c", script, "sh", *words])

    def follow(self, file: str, into: Path) -> None:
        """Have the lines of a *file* of a volume appended to *into*."""
        self._bench.follow(f"what is written to {file}", self._holder, [file], self._work, into, since="+1")


def of(wanted: Mapping[str, DeviceSpec], disks: AuditDisks, host: str, ports: Ports) -> AuditDevices:
    """Return the devices that *wanted* has: files are on *disks*, and sockets at *host*, an address of this machine.

    Raises RigError.
    """
    return AuditDevices([*_made(wanted, disks, host, ports)])


def _made(wanted: Mapping[str, DeviceSpec], disks: AuditDisks, host: str, ports: Ports) -> Iterator[Device]:
    for name, spec in wanted.items():
        if spec.kind == "file":
            yield Device(name, spec, disks.files[name])
        else:
            (port,) = ports.take(1)
            yield Device(name, spec, receiver(name, spec, port, host=host))
