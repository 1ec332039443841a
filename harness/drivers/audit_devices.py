"""What the audit devices of a Vault write to, whatever that runs in: files on small disks, and our own sockets."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Protocol

from harness import wait
from harness.clients.vault import Vault
from harness.clients.vault_audit import AuditDevice
from harness.drivers.log_collection import Lines
from harness.drivers.log_tail import Tail, as_json
from harness.drivers.real_rig import RealRig
from harness.errors import NotReady, RigError
from harness.host.receiver import Receiver
from harness.record.audit_events import Audited, AuditSeen
from harness.record.journal import correlation
from harness.rig.rig import Reply
from harness.scenario.audit_spec import DeviceSpec
from harness.scenario.course import Moment
from harness.scenario.schema_audit import DeviceState

DISK_BYTES: Final = 32 << 20
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


class AuditFile(Protocol):
    """The file to which a device writes, on a small disk of its own."""

    path: str
    """as Vault finds it"""
    tail: Tail
    """what is written to it, read as it comes"""

    def fill(self) -> None:
        """Have its disk be full. Raises RigError where this machine has no small disk."""
        ...

    def free(self) -> None:
        """Have its disk have room again."""
        ...

    @property
    def mode(self) -> str:
        """Return its mode bits; nothing where it is not there."""
        ...


class Device:
    """What one of them writes to, and what it has written since the last look began."""

    def __init__(self, name: str, spec: DeviceSpec, to: AuditFile | Receiver) -> None:
        """*to* is what it writes to."""
        self.name, self.spec = name, spec
        self.state: DeviceState = "well"
        self.is_there = spec.enabled
        self.file = None if isinstance(to, Receiver) else to
        self.receiver = to if isinstance(to, Receiver) else None
        self._reads: list[Lines] = [to if isinstance(to, Receiver) else to.tail]
        self._options = dict(spec.options)
        self.found: list[dict[str, Any]] = []
        if self.file is not None:
            self._options["file_path"] = self.file.path
        elif self.receiver is not None and spec.kind == "socket":
            self._options["address"] = self.receiver.called

    @property
    def as_enabled(self) -> AuditDevice:
        """Return what Vault is told of it."""
        return AuditDevice(self.spec.kind, self._options, self.spec.enabled)

    def read(self) -> list[dict[str, Any]]:
        """Return what it has written since the last call, without what stands before each entry."""
        lines = [line for one in self._reads for line in one.lines()]
        entries = [entry for line in lines if (entry := _entry(line))]
        self.found += entries
        return entries

    def turn(self, to: DeviceState) -> None:
        """Have it be in another *state*. Raises RigError where this machine has no small disk."""
        self.state = to
        if self.receiver is not None:
            {"away": self.receiver.away, "silent": self.receiver.silent}.get(to, self.receiver.well)()
        elif self.file is not None:
            (self.file.fill if to == "full" else self.file.free)()

    def write_to(self, file: AuditFile) -> None:
        """Have it write to another *file* at the same path, on a disk in another place, in the state that it is in.

        What is still under way from the one before is read as well. Raises as `turn`.
        """
        self.file = file
        if file.tail not in self._reads:
            self._reads.append(file.tail)
        self.turn(self.state)

    @property
    def mode(self) -> str:
        """Return the mode bits of its file."""
        return self.file.mode if self.file is not None else ""

    def close(self) -> None:
        """Be gone, with whoever receives what it sends."""
        if self.receiver is not None:
            self.receiver.close()


def receiver(name: str, spec: DeviceSpec, port: int, file: Path | None = None, host: str = "127.0.0.1") -> Receiver:
    """Return who receives what the device *name* sends to a *port* of *host*, or to a *file*.

    Raises RigError where nobody can be there.
    """
    try:
        return Receiver("datagrams" if spec.kind == "syslog" else spec.transport, port, file, host)
    except OSError as error:
        raise RigError(f"nobody can receive what audit/{name} sends: {error.strerror}; run again") from None


class AuditDevices:
    """All of a Vault's. What they write is read as one log, in which each entry stands once."""

    def __init__(self, devices: Sequence[Device]) -> None:
        self.devices = {one.name: one for one in devices}
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

    def introduce(self, client: Vault, log: Tail) -> None:
        """Have a Vault that is not initialised yet enable them; *log* has its words, and is read by nobody else."""
        client.audit = {name: one.as_enabled for name, one in self.devices.items()}
        self._words.append(log)

    def forget(self, client: Vault) -> None:
        """Pass over all that was written so far, of what *client* was answered as well: some of it may be under way."""
        self._await_all(client)
        self.lines()
        for device in self.devices.values():
            device.found.clear()

    def seen(self, moment: str, client: Vault) -> Iterator[AuditSeen]:
        """Yield how each of them is found, by what Vault answers *client* now, and by its log since the last look."""
        there, mark = [device for device in self.devices.values() if device.is_there], self._await_all(client)
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

    def _await_all(self, client: Vault) -> Reply | None:
        """Have *client* be answered something, and wait until each device that can has it. Return the answer."""
        mark = client.lookup_self(client.root) if client.root is not None else None
        for device in self.devices.values():
            if mark is not None and mark.ok and device.is_there and device.state == "well":
                self._await(device, mark.correlation)
        return mark

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
            self._devices.forget(self._vault.client)

    def gather(self, moment: Moment) -> None:
        """Bring the moment's log and audit lines into the journal, and how each audit device is found."""
        try:
            super().gather(moment)
        finally:
            if self._devices is not None:
                for seen in self._devices.seen(moment.label, self._vault.client):
                    self._journal.write(seen)
