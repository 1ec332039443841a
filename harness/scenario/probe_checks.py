"""Which probes a scenario lists by name and has nothing to ask them of: nobody would see that they were never asked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from harness.scenario import kind_checks, mount_kinds
from harness.scenario.field_checks import Complaint
from harness.scenario.yaml_document import Document

_OF_AN_APP: Final[Mapping[str, tuple[str, str]]] = {
    "login-storm": ("storm", "storm: {pods: 500} says how many Pods of an app log in at once"),
    "agent-login": ("agent", "agent: 1.16.3 says of which version its Vault Agent is"),
    "sidecar": ("agent", "agent: 1.16.3 says of which version its Vault Agent is"),
    "read": ("reads", "reads: [secret/web] says what an app reads"),
    "old-token-read": ("reads", "reads: [secret/web] says what an app reads"),
    "write": ("writes", "writes: {secret/web: {hosts: a}} says what an app writes"),
}
"""By the probe: the key without which no app has it, and an example of it."""

_OF_THE_DOCUMENT: Final[Mapping[str, str]] = {
    "auto-unseal": "seal-vault",
    "mounted": "also-mounted",
    "engine-role": "secrets",
}
"""By the probe: the part of the document that it is asked of."""


def complaints(document: Document) -> Iterator[Complaint]:
    """Yield the probes in the list that no question of this scenario would be."""
    for index, probe in enumerate(document.get("probes", default=None) or ()):
        trail, message = ("probes", index), f"there is nothing to ask {probe} of"
        if probe in _OF_AN_APP:
            key, example = _OF_AN_APP[probe]
            if document.entries("apps") and all(document.left_out(*app, key) for app in document.entries("apps")):
                yield trail, f"{message}: no app has `{key}`", f"in an app, {example}; or leave {probe} out"
        elif probe in _OF_THE_DOCUMENT:
            key = _OF_THE_DOCUMENT[probe]
            if document.left_out(key):
                yield trail, f"{message}: the scenario has no `{key}`", f"{key}, or leave {probe} out"
        elif kinds := _kinds(str(probe)):
            mounts = [kind_checks.kind_of(document, mount) for mount in document.entries("auth")]
            if mounts and all(mount is not None and mount.name not in kinds for mount in mounts):
                right = f"a mount of type {' or '.join(kinds)} in auth, or leave {probe} out"
                yield trail, f"{message} at the mounts in auth", right


def _kinds(probe: str) -> tuple[str, ...]:
    """Return the kinds of mounts of which a probe is asked; nothing where it is not of mounts, or is of all."""
    found = []
    for name in mount_kinds.NAMES:
        kind = mount_kinds.of(name)
        of_account = kind.of_account and probe in ("wrong-service-account", "wrong-namespace", "other-cluster-token")
        forged = kind.by_certificate and probe == "forged-certificate"
        of_config = bool(kind.config) and probe == "auth-config"
        if probe in kind.negative or of_account or forged or of_config or (kind.locks_out and probe == "lockout"):
            found.append(name)
    return tuple(found)
