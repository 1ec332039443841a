"""What the audit devices of a Vault as a process write to: files on small disks, and sockets that are ours."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from harness import wait
from harness.clients.vault import Vault
from harness.clients.vault_audit import AuditDevice
from harness.drivers.data_server import FILLER, fill
from harness.drivers.local.vault_nodes import VaultNodes
from harness.drivers.log_tail import Tail, as_json
from harness.drivers.real_rig import RealRig
from harness.errors import NotReady, RigError
from harness.host.process import Supervisor
from harness.host.receiver import Receiver
from harness.record.audit_events import Audited, AuditSeen
from harness.record.journal import correlation
from harness.scenario.audit_spec import DeviceSpec
from harness.scenario.course import Moment
from harness.scenario.schema_audit import DeviceState

_DISK_BYTES: Final = 32 << 20
"""A disk for one file: far more than a rehearsal writes, and soon full."""

_OF_A_PAGE: Final = 4
"""So many requests at most have room for their entries on a page."""

_HASHED: Final = "rehearsal"
"""The text whose hash is asked for."""

_LATE_SECONDS: Final = 3.0
"""How long what is sent over a socket may be under way."""

_LOOKUP: Final = "auth/token/lookup-self"
_CLEAR: Final = ("request.operation", "request.path", "request.mount_type", "auth.display_name", "auth.policies",
    "auth.token_policies", "auth.identity_policies", "auth.token_type", "auth.entity_id", "auth.metadata")  # fmt: skip
"""What an entry says of who it was, and hashes in no case."""

_ANY: Final = ("request.data", "response.data", "auth.metadata", "request.headers", "response.auth.metadata")
"""Below these every request has names of its own."""


class Device:
    """What one of them writes to, and what it has written since the last look began."""

    def __init__(self, name: str, spec: DeviceSpec, work: Path, supervisor: Supervisor, port: int) -> None:
        """Raises RigError where its receiver cannot be."""
        self.name, self.spec, self.state = name, spec, "well"
        self.is_there = spec.enabled
        self.receiver: Receiver | None = None
        self._disk, self._why_no_disk, self._options = work / f"audit-{name}", "", dict(spec.options)
        self.found: list[dict[str, Any]] = []
        self.tail = Tail(self._disk / "audit.log")
        if spec.kind == "file":
            try:
                supervisor.small_disk(self._disk, _DISK_BYTES)
            except RigError as error:
                self._disk.mkdir(mode=0o700)
                self._why_no_disk = str(error)
            self._options["file_path"] = str(self.tail.path)
            return
        file = work / f"audit-{name}.sock" if spec.kind == "syslog" or spec.transport == "unix" else None
        try:
            self.receiver = Receiver("datagrams" if spec.kind == "syslog" else spec.transport, port, file)
        except OSError as error:
            raise RigError(f"nobody can receive what audit/{name} sends: {error.strerror}; run again") from None
        if spec.kind == "socket":
            self._options["address"] = str(file or f"127.0.0.1:{port}")

    @property
    def as_enabled(self) -> AuditDevice:
        """Return what Vault is told of it."""
        return AuditDevice(self.spec.kind, self._options, self.spec.enabled)

    def read(self) -> list[dict[str, Any]]:
        """Return what it has written since the last call, without what stands before each entry."""
        lines = self.tail.lines() if self.receiver is None else self.receiver.lines()
        entries = [entry for line in lines if (entry := _entry(line))]
        self.found += entries
        return entries

    def turn(self, to: DeviceState) -> None:
        """Have it be in another *state*. Raises RigError where this machine has no small disk."""
        self.state = to
        if self.receiver is not None:
            {"away": self.receiver.away, "silent": self.receiver.silent}.get(to, self.receiver.well)()
        elif to != "full":
            (self._disk / FILLER).unlink(missing_ok=True)
        elif self._why_no_disk:
            raise RigError(f"the disk of audit/{self.name} cannot be filled: {self._why_no_disk}")
        else:
            fill(self._disk)

    @property
    def mode(self) -> str:
        """Return the mode bits of its file."""
        try:
            return f"{self.tail.path.stat().st_mode & 0o7777:04o}" if self.receiver is None else ""
        except OSError:
            return ""

    def close(self) -> None:
        """Be gone, with whoever receives what it sends."""
        if self.receiver is not None:
            self.receiver.close()


class AuditDevices:
    """All of a Vault's. What they write is read as one log, in which each entry stands once."""

    def __init__(
        self,
        wanted: Mapping[str, DeviceSpec],
        work: Path,
        supervisor: Supervisor,
        take: Callable[[int], Sequence[int]],
    ) -> None:
        """*take* reserves ports. Raises RigError."""
        self.devices = {
            name: Device(name, spec, work, supervisor, take(1)[0] if spec.kind == "socket" else 0)
            for name, spec in wanted.items()
        }
        self._read = set[tuple[str, str]]()
        self._words: list[Tail] = []
        """Vault's own log, a node each"""

    def lines(self) -> list[str]:
        """Return the entries that came since the last call, each as JSON, whichever of them wrote it first."""
        import json

        found = []
        for device in self.devices.values():
            for entry in device.read():
                key = (str((entry.get("request") or {}).get("id")), str(entry.get("type")))
                if key not in self._read:
                    self._read.add(key)
                    found.append(json.dumps(entry))
        return found

    def introduce(self, vaults: VaultNodes) -> None:
        """Have a Vault that is not initialised yet enable them, and be read by what they write."""
        logs = (one.receiver for one in self.devices.values() if one.spec.kind == "syslog")
        syslog = next((receiver.file for receiver in logs if receiver is not None), None)
        for server in vaults.servers.values():
            server.audit, server.syslog = self, syslog
            server.client.audit = {name: one.as_enabled for name, one in self.devices.items()}
            self._words.append(Tail(server.log.path))

    def forget(self) -> None:
        """Pass over all that was written so far."""
        self.lines()
        for device in self.devices.values():
            device.found.clear()

    def seen(self, moment: str, client: Vault) -> Iterator[AuditSeen]:
        """Yield how each of them is found, by what Vault answers *client* now, and by its log since the last look."""
        there = [device for device in self.devices.values() if device.is_there]
        mark = client.lookup_self(client.root) if client.root is not None else None
        for device in there:
            if mark is not None and mark.ok and device.state == "well":
                self._await(device, mark.correlation)
        self.lines()
        answers = {device.name: _ids(device.found) for device in there}
        every = set[str]().union(*answers.values())
        log = [line for words in self._words for line in words.lines()]
        for device in there:
            yield AuditSeen(
                moment=moment,
                device=device.name,
                kind=device.spec.kind,
                state=device.state,
                status=mark.status if mark else None,
                seconds=round(mark.ended - mark.started, 3) if mark else 0.0,
                written=len(answers[device.name]),
                missing=len(every - answers[device.name]),
                why=_why(device, log),
                mode=device.mode,
                hash=client.audit_hash(device.name, _HASHED) if mark and mark.ok else "",
                entries=dict(_entries(device.found)),
            )

    def _await(self, device: Device, mark: str) -> None:
        """Give an answer's entry the time that it takes over a socket. Of a device that has lost it nobody waits more.

        That of its request comes first, and what was answered is counted.
        """

        def came() -> bool:
            self.lines()
            return any(entry.get("type") == "response" and correlation(entry) == mark for entry in device.found)

        with suppress(NotReady):
            wait.until(came, what=f"an entry of audit/{device.name}", seconds=_LATE_SECONDS)

    def close(self) -> None:
        """Have nobody receive anything any more."""
        for device in self.devices.values():
            device.close()


def _entry(line: str) -> dict[str, Any] | None:
    """Return the entry at the end of a line: before it stand a prefix, syslog's words, or one that was torn off."""
    starts = (found.start() for found in re.finditer(r'\{"', line))
    return next((entry for at in starts if (entry := as_json(line[at:])) and "type" in entry), None)


def _ids(entries: Iterable[dict[str, Any]]) -> set[str]:
    return {str((entry.get("request") or {}).get("id")) for entry in entries if entry.get("type") == "response"}


def _why(device: Device, log: Sequence[str]) -> str:
    """Return the last words of Vault's *log* about why a device could not be made or could not write."""
    kind, options, _ = device.as_enabled
    names = (f"{device.name}/", options.get("file_path") or options.get("address") or kind)
    for line in reversed(log):
        said = as_json(line) or {}
        message, told = str(said.get("@message")), str(said.get("error", ""))
        if said.get("@level") != "error" or "audit" not in str(said.get("@module")) + message:
            continue
        # of several errors, which stand in lines of their own, those of this device
        mine = [text.strip(" \t*") for text in told.splitlines() if any(name in text for name in names)]
        if mine or any(name in str(said.get(key)) for key in ("path", "backend") for name in names):
            return f"{message}: {'; '.join(mine) or ' '.join(told.split())}"
    return ""


def _entries(found: Iterable[dict[str, Any]]) -> Iterator[tuple[str, Audited]]:
    """Yield the first granted login at each mount and the first look-up of an app's token, by operation and path."""
    pairs: dict[str, dict[str, dict[str, Any]]] = {}
    for entry in found:
        request = entry.get("request") or {}
        path = str(request.get("path", ""))
        if (path == _LOOKUP or (path.partition("/")[0] == "auth" and "/login" in path)) and "id" in request:
            pairs.setdefault(str(request["id"]), {})[str(entry.get("type"))] = entry
    taken = set[str]()
    for pair in pairs.values():
        answer = pair.get("response")
        if answer is None or "request" not in pair or not _lets_in(answer):
            continue
        request = answer["request"]
        name = f"{request.get('operation')} {request['path']}"
        if name not in taken:
            taken.add(name)
            fields = {**dict(_fields(pair["request"])), **dict(_fields(answer))}
            yield name, Audited(fields=fields, says=_said(answer))


def _lets_in(answer: Mapping[str, Any]) -> bool:
    """Has somebody who is no administrator a token by this answer, or asked with one?"""
    auth = answer.get("auth") or {}
    # a login that the API server declines has no error in some versions, and auth without a token
    return bool(not answer.get("error") and auth.get("accessor")) and auth.get("policies") != ["root"]


def _fields(entry: Any, name: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(entry, dict):
        for key, value in entry.items():
            below = f"{name}.*" if name in _ANY else f"{name}.{key}".lstrip(".")
            yield from _fields(value, below)
    elif entry is not None:
        yield name, _kind_of(entry)


def _kind_of(value: object) -> str:
    if isinstance(value, bool):
        return "flag"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, list):
        return "list"
    return "hmac" if str(value).startswith("hmac-sha256:") else "text"


def _said(entry: Mapping[str, Any]) -> dict[str, Any]:
    found = {}
    for name in _CLEAR:
        part, _, key = name.partition(".")
        value = (entry.get(part) or {}).get(key)
        if value not in (None, "", [], {}):
            found[name] = sorted(value) if isinstance(value, list) else value
    return found


class WithAuditDevices(RealRig):
    """The part of a rig that owns what its Vault's audit devices write to, where its scenario has any."""

    _vaults: VaultNodes
    _devices: AuditDevices | None = None

    def turn_device(self, device: str, to: DeviceState) -> None:
        """Keep a device from writing, or let it write again; or have Vault disable or enable it."""
        one = self._device(device)
        if to in ("enable", "disable"):
            client = self._vault.client
            (client.enable_device if to == "enable" else client.disable_device)(device)
            one.is_there = to == "enable"
        else:
            one.turn(to)
            # what is left of the last page of a file may take an entry still
            for _ in range(_OF_A_PAGE if to == "full" else 0):
                self._vault.client.mark_audit_log()

    def _device(self, name: str) -> Device:
        if self._devices is None or name not in self._devices.devices:
            raise RigError(f"this Vault has no audit device {name}")
        return self._devices.devices[name]

    def _close_devices(self) -> None:
        if self._devices is not None:
            self._devices.close()

    def wait_for_threads(self) -> None:
        """Let what is still coming up end, and have nobody receive anything any more."""
        super().wait_for_threads()
        self._close_devices()

    def skip(self) -> None:
        """Pass over all that was logged so far."""
        super().skip()
        if self._devices is not None:
            self._devices.forget()

    def gather(self, moment: Moment) -> None:
        """Bring the moment's log and audit lines into the journal, and how each audit device is found."""
        try:
            super().gather(moment)
        finally:
            if self._devices is not None:
                for seen in self._devices.seen(moment.label, self._vault.client):
                    self._journal.write(seen)
