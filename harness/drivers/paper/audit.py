"""The audit devices of a Vault on paper: what none of them can write down is not answered."""

from __future__ import annotations

import msgspec

from harness.drivers.paper.answers import PaperAnswers
from harness.errors import NotReady
from harness.knowledge import audit_fields, behaviours, versions
from harness.record.audit_events import Audited, AuditSeen
from harness.record.events import VaultAuditLine
from harness.record.journal import Journal
from harness.scenario.audit_spec import DeviceSpec
from harness.scenario.course import Moment, Serve
from harness.scenario.schema_audit import DeviceState
from harness.scenario.topology import VaultSpec

_EXECUTABLE = 0o111


class PaperAudit(PaperAnswers):
    """The part of a Vault on paper that audits, and the way of its evidence into the journal."""

    _spec: VaultSpec
    _journal: Journal

    def __init__(self) -> None:
        self._states: dict[str, DeviceState] = {}
        self._missing: set[str] = set()
        """the devices that the version which serves did not make"""

    def enable_audit(self) -> None:
        """Do nothing: paper always audits."""

    def turn_device(self, device: str, to: DeviceState) -> None:
        """Take note of what a device is from here on."""
        self._states[device] = to

    def make_devices(self, served: Serve) -> None:
        """Have a version start that makes its audit devices anew. Raises NotReady where it can make none of them."""
        row = behaviours.named("file-audit-mode")
        strict = row is not None and row.holds(served.version)
        there = self._enabled()
        self._missing = {name for name, one in there.items() if strict and _is_executable(one)}
        if there and self._missing == there.keys():
            device = next(iter(there))
            said = "unable to create new audit backend: file mode may not be executable"
            log = [
                f'{{"@level":"error","@message":"failed to create audit entry","error":"{said}","path":"{device}/"}}',
                '{"@level":"error","@message":"post-unseal setup failed","error":"failed to setup audit table"}',
            ]
            raise NotReady(f"{versions.called(served.version)} is not active on paper", log)

    def _enabled(self) -> dict[str, DeviceSpec]:
        states = self._states
        return {
            name: one
            for name, one in self._spec.audit.items()
            if states.get(name) != "disable" and (one.enabled or name in states)
        }

    def _blocked(self, device: str) -> bool:
        return device in self._missing or self._states.get(device, "well") not in ("well", "enable")

    @property
    def _silenced(self) -> bool:
        there = self._enabled()
        return bool(there) and all(map(self._blocked, there))

    def _entries(self) -> dict[str, Audited]:
        """Return what entries have of the fields in which versions differ: of each granted login, and of a look-up."""
        version = self._served.version
        granted = [
            str(event.entry["request"]["path"])
            for event in self._pending
            if isinstance(event, VaultAuditLine) and not event.entry["error"]
        ]
        logins = {f"update {path}": audit_fields.of_login(version) for path in granted if "/login" in path}
        looked_up = {"read auth/token/lookup-self": audit_fields.of_lookup(version)} if logins else {}
        return {name: Audited(fields=fields) for name, fields in {**logins, **looked_up}.items()}

    def skip(self) -> None:
        """Forget what was not gathered."""
        self._pending.clear()

    def gather(self, moment: Moment) -> None:
        """Write down the evidence of the moment, in the shape in which servers write it."""
        written, entries = len(self._pending), self._entries()
        for event in self._pending:
            self._journal.write(msgspec.structs.replace(event, moment=moment.label))
        self._pending.clear()
        for name, one in self._enabled().items():
            lost = self._blocked(name)
            self._journal.write(
                AuditSeen(
                    moment=moment.label,
                    device=name,
                    kind=one.kind,
                    state=self._states.get(name, "well").replace("enable", "well"),
                    status=500 if self._silenced else 200,
                    written=0 if lost else written,
                    missing=written if lost and not self._silenced else 0,
                    why="failed to create audit entry" if name in self._missing else "",
                    mode=one.options.get("mode", "0600") if one.kind == "file" else "",
                    entries={} if lost else entries,
                    vault=self._called,
                )
            )


def _is_executable(one: DeviceSpec) -> bool:
    return one.kind == "file" and bool(int(one.options.get("mode", "0600"), 8) & _EXECUTABLE)
