"""What apps without a service account log in with: passwords and secret IDs, made as roles are written."""

from __future__ import annotations

import secrets as random
from collections.abc import MutableMapping
from typing import Any

from harness.record import events
from harness.record.journal import Journal
from harness.rig.rig import Credentials, VaultSetup
from harness.scenario.course import Serve
from harness.scenario.role_spec import RoleSpec
from harness.secret import Secret, fingerprint

Held = MutableMapping[tuple[str, str], Credentials]
"""By mount and role: what logs in there."""


def write_role(setup: VaultSetup, mount: str, role: str, spec: RoleSpec, held: Held) -> Credentials | None:
    """Write a role, and return the credentials that came to be with it: None where there are none, or were before.

    A role that is written again keeps its ID, its secret IDs, and a user the password.
    """
    fields, folder = as_sent(spec), spec.of_kind.folder
    if (mount, role) in held or not spec.of_kind.makes_secrets:
        setup.write_role(mount, role, fields, folder)
        return None
    if spec.of_kind.name == "userpass":
        made = Credentials(role, Secret(random.token_urlsafe(18)))
        setup.write_role(mount, role, fields | {"password": made.secret}, folder)
    else:
        setup.write_role(mount, role, fields, folder)
        made = setup.make_secret_id(mount, role)
    held[mount, role] = made
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
