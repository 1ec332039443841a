"""What the audit devices of a Vault as a process write to: files on small disks of the run, and our own sockets."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from harness.drivers.audit_devices import DISK_BYTES, AuditDevices, Device, receiver
from harness.drivers.data_server import FILLER, fill
from harness.drivers.local.vault_nodes import VaultNodes
from harness.drivers.log_tail import Tail
from harness.errors import RigError
from harness.host.process import Supervisor
from harness.scenario.audit_spec import DeviceSpec


class LocalFile:
    """A file in a directory of the run, which is a small disk by itself where the run is in memory."""

    def __init__(self, name: str, work: Path, supervisor: Supervisor) -> None:
        self._name, self._disk, self._why_no_disk = name, work / f"audit-{name}", ""
        self.tail = Tail(self._disk / "audit.log")
        self.path = str(self.tail.path)
        try:
            supervisor.small_disk(self._disk, DISK_BYTES)
        except RigError as error:
            self._disk.mkdir(mode=0o700)
            self._why_no_disk = str(error)

    def fill(self) -> None:
        """Have its disk be full. Raises RigError where it has none."""
        if self._why_no_disk:
            raise RigError(f"the disk of audit/{self._name} cannot be filled: {self._why_no_disk}")
        fill(self._disk)

    def free(self) -> None:
        """Have its disk have room again."""
        (self._disk / FILLER).unlink(missing_ok=True)

    @property
    def mode(self) -> str:
        """Return its mode bits; nothing where it is not there."""
        try:
            return f"{self.tail.path.stat().st_mode & 0o7777:04o}"
        except OSError:
            return ""


def of(
    wanted: Mapping[str, DeviceSpec],
    work: Path,
    supervisor: Supervisor,
    take: Callable[[int], Sequence[int]],
    vaults: VaultNodes,
) -> AuditDevices:
    """Return the devices that *wanted* has, which *vaults* enable and are read by; *take* reserves ports.

    Raises RigError.
    """
    devices = AuditDevices([*_made(wanted, work, supervisor, take)])
    logs = (one.receiver for one in devices.devices.values() if one.spec.kind == "syslog")
    syslog = next((receiver.file for receiver in logs if receiver is not None), None)
    for server in vaults.servers.values():
        server.audit, server.syslog = devices, syslog
        devices.introduce(server.client, Tail(server.log.path))
    return devices


def _made(
    wanted: Mapping[str, DeviceSpec], work: Path, supervisor: Supervisor, take: Callable[[int], Sequence[int]]
) -> Iterator[Device]:
    for name, spec in wanted.items():
        port = take(1)[0] if spec.kind == "socket" else 0
        if spec.kind == "file":
            yield Device(name, spec, LocalFile(name, work, supervisor))
            continue
        at_file = spec.kind == "syslog" or spec.transport == "unix"
        yield Device(name, spec, receiver(name, spec, port, work / f"audit-{name}.sock" if at_file else None))
