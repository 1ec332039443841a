"""What apps without a service account log in with, made as roles are written: passwords, secret IDs, certificates."""

from __future__ import annotations

import secrets as random
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any, Final

import msgspec

from harness.host import pki
from harness.record import events
from harness.record.journal import Journal
from harness.rig.rig import Credentials, VaultSetup
from harness.scenario.course import Serve
from harness.scenario.mount_kinds import TOKEN
from harness.scenario.role_spec import RoleSpec
from harness.scenario.topology import Topology
from harness.scenario.values import seconds
from harness.secret import Secret, fingerprint

CERTIFICATE_LIFE: Final = "24h"
_HOUR: Final = 3600


class Held(dict[tuple[str, str], Credentials]):
    """By mount and role: what logs in there; and who issues the client certificates among it."""

    @cached_property
    def authority(self) -> pki.ClientAuthority:
        """Return whom roles of cert mounts trust."""
        return pki.ClientAuthority()

    @cached_property
    def stranger(self) -> pki.ClientAuthority:
        """Return an authority that nobody trusts."""
        return pki.ClientAuthority()


def write_role(setup: VaultSetup, mount: str, role: str, spec: RoleSpec, held: Held) -> Credentials | None:
    """Write a role, and return the credentials that came to be with it: None where there are none, or were before.

    A role that is written again keeps its ID, its secret IDs, its certificate, and a user the password.
    """
    fields, folder = as_sent(spec), spec.of_kind.folder
    if spec.of_kind.by_certificate:
        return _write_certificate(setup, mount, role, spec, held)
    if (mount, role) in held or not spec.of_kind.makes_secrets:
        setup.write_role(mount, role, fields, folder)
        return None
    if spec.of_kind.name == TOKEN:
        setup.write_role(mount, role, fields, folder)
        policy = f"rehearsal-gives-{role.lower()}"
        setup.write_policy(policy, f'path "auth/token/create/{role}" {{ capabilities = ["update"] }}')
        made = Credentials(role, setup.make_token(policy))
    elif spec.of_kind.name == "userpass":
        made = Credentials(role, Secret(random.token_urlsafe(18)))
        setup.write_role(mount, role, fields | {"password": made.secret}, folder)
    else:
        setup.write_role(mount, role, fields, folder)
        made = setup.make_secret_id(mount, role)
    held[mount, role] = made
    return made


def renew(mount: str, roles: Mapping[str, RoleSpec], held: Held) -> Iterator[tuple[str, Credentials]]:
    """Issue the certificates anew that end some day by their role, and yield each with that: apps start with a new one.

    One that a role trusts by itself stays: the role would not know another.
    """
    for role, spec in roles.items():
        if spec.certificate_life is None or spec.certificate == "own" or (mount, role) not in held:
            continue
        leaf, secret = held.authority.issue(role, seconds(spec.certificate_life))
        held[mount, role] = msgspec.structs.replace(held[mount, role], secret=secret, trusted=leaf)
        yield role, held[mount, role]


def _write_certificate(setup: VaultSetup, mount: str, role: str, spec: RoleSpec, held: Held) -> Credentials | None:
    """Write a role that trusts the certificate by which its apps log in, or whoever issued it."""
    made = None
    if (mount, role) not in held:
        life = seconds(spec.certificate_life or CERTIFICATE_LIFE)
        leaf, secret = held.authority.issue(role, life)
        impostors = {
            "wrong-certificate": held.stranger.issue(role, life)[1],
            "expired-certificate": held.authority.issue(role, _HOUR, ago=2 * _HOUR)[1],
            "forged-certificate": pki.forged(leaf),
        }
        made = held[mount, role] = Credentials(role, secret, leaf, impostors)
    trusted = held[mount, role].trusted if spec.certificate == "own" else held.authority.certificate
    setup.write_role(mount, role, as_sent(spec) | {"certificate": trusted}, spec.of_kind.folder)
    return made


def tell(made: Credentials | None, mount: str, role: str, served: Serve, journal: Journal) -> None:
    """Put credentials on record that were made, if any were: everything but the secret."""
    if made is not None:
        secret = fingerprint(made.secret.reveal())
        event = events.CredentialsMade(
            mount=mount, role=role, secret=secret, version=served.version, vault=served.vault
        )
        journal.write(event)


def as_sent(role: RoleSpec) -> dict[str, Any]:
    """Return a role's fields as they are sent."""
    return {name: ",".join(value) if isinstance(value, tuple) else value for name, value in role.fields.items()}


def certificates_of(topology: Topology, held: Held, apps: Iterable[str]) -> dict[str, Secret]:
    """Return the client certificate, among what is *held*, that each of *apps* shows at each request, if it does."""
    entries = {app: topology.apps[app] for app in apps}
    shows = {app: one for app, one in entries.items() if topology.mounts[one.mount].of_kind.by_certificate}
    return {app: held[one.mount, one.role].secret for app, one in shows.items()}


def renew_all(topology: Topology, held: Held, served: Callable[[str], Serve], journal: Journal) -> None:
    """Have every app come with a client certificate whose life begins now; *served* tells what a Vault runs."""
    for path, mount in topology.mounts.items():
        for role, made in renew(path, mount.roles, held):
            tell(made, path, role, served(mount.vault), journal)
