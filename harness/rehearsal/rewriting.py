"""A mount's config and roles are written again as they are read, by the version that serves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from msgspec.structs import replace

from harness.errors import Unreachable
from harness.knowledge import refusals
from harness.record.events import ConfigWritten, Rewritten, RoleWritten
from harness.record.journal import Journal
from harness.record.observation import shortened
from harness.rig.rig import Reply, Rig, VaultClient
from harness.scenario.course import Serve


def rewrite(
    rig: Rig, mount: tuple[str, str], roles: Iterable[str], served: Serve, moment: str, journal: Journal
) -> None:
    """Write the config of a *mount* (its path and its accessor) and its *roles* again, by what is *served*.

    A refusal is put on record, and the rest is written all the same. *moment* is the label of the one that comes next.
    Raises Unreachable where Vault gives no answer, or one that says neither yes nor no.
    """
    path, accessor = mount
    system = rig.system(served.vault)
    if served.token_file:
        # Vault itself may put the token of its Pod into a config that is written
        system.await_token_file()
    for role in ("", *roles):
        told = Rewritten(mount=path, role=role, version=served.version, moment=moment, status=0, vault=served.vault)
        told = rewritten(system.vault, told)
        if told.status < 300:
            journal.write(_written(told, accessor, served))
        journal.write(told)


def rewritten(vault: VaultClient, asked: Rewritten) -> Rewritten:
    """Return what came of reading and writing what is *asked*. Raises as `rewrite`."""
    shown, where = _read(vault, asked), _place(asked)
    if not shown.ok:
        return replace(asked, status=shown.status or 0, error=shown.error, unread=True)
    done = _answered(vault.write_back(where, shown.data), f"a write of {where}")
    after = _short(_read(vault, asked).data) if done.ok else {}
    return replace(asked, status=done.status or 0, error=done.error, before=_short(shown.data), after=after)


def _read(vault: VaultClient, asked: Rewritten) -> Reply:
    reply = vault.read_role(asked.mount, asked.role) if asked.role else vault.read_auth_config(asked.mount)
    return _answered(reply, f"a read of {_place(asked)}")


def _place(asked: Rewritten) -> str:
    return f"auth/{asked.mount}/role/{asked.role}" if asked.role else f"auth/{asked.mount}/config"


def _answered(reply: Reply, what: str) -> Reply:
    """Return a reply that is a yes or a no. Raises Unreachable for any other."""
    if refusals.says(reply.status, reply.error) not in ("granted", "refused"):
        came = "no answer" if reply.status is None else f"HTTP {reply.status}, which is no refusal"
        raise Unreachable(f"{what} got {came} ({reply.error}), so nobody knows whether Vault takes it back")
    return reply


def _written(told: Rewritten, accessor: str, served: Serve) -> ConfigWritten | RoleWritten:
    """Return what is there from now on, as any write tells it."""
    mount, version, vault = told.mount, told.version, told.vault
    if told.role:
        fields = told.before
        return RoleWritten(mount=mount, role=told.role, version=version, fields=fields, rewritten=True, vault=vault)
    return ConfigWritten(
        mount=mount,
        accessor=accessor,
        version=version,
        token_file=served.token_file,
        fields={name: value for name, value in told.before.items() if value not in ("", None, [])},
        rewritten=True,
        vault=vault,
    )


def _short(data: Mapping[str, Any]) -> dict[str, Any]:
    return {name: shortened(value) for name, value in data.items()}
