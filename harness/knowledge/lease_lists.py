"""What Vault reads when it lists its leases in etcd, by version, and how large that is.

Every start lists them: all that lie below `sys/expire/id/`, in one answer of etcd. Up to 1.13.9 (1.14.5, 1.15.1) that
answer has the leases themselves, and from there on their keys alone: vault pull request 23872, `clientv3.WithKeysOnly`
in physical/etcd/etcd3.go. What gRPC takes is limited: `max_receive_size`, which every version from 1.3 on knows, or
2 GiB. Above it a Vault that runs goes on, and seals itself at its next start.
"""

from __future__ import annotations

from typing import Final

from harness.knowledge.versions import at_least, parse

DEFAULT_LIMIT: Final = 2**31 - 1
"""Bytes that gRPC takes in one answer, where nothing is said: etcd's client/v3/options.go."""

_WHOLE_BYTES: Final = (("1.13.0", 1146), ("1.10.0", 1130), ("1.9.0", 1058), ("1.0.0", 1043))
"""Of a lease with its key and value, from the version on that made it: a service token of auth/token/create-orphan with
one policy. Measured over etcd 3.5.16 with Vault 1.4.0, 1.7.0, 1.9.3, 1.11.0, 1.13.0 and 1.16.3; a login's lease has the
metadata of the login besides, and one of a database or a cloud engine what it takes to revoke it."""

KEY_BYTES: Final = 125
"""Of its key alone. Measured, the same with all of them."""

_KEYS_ONLY: Final = ((1, 13, 10), (1, 14, 6), (1, 15, 2))
"""The first patch of each line that lists keys alone; every line after them does."""


def lists_values(version: str) -> bool:
    """Does a *version* of Vault list the leases in etcd with all that is in them?"""
    found = parse(version)
    number = tuple(found.release[:3])
    return not any(number[:2] == first[:2] and number >= first for first in _KEYS_ONLY) and number[:2] < (1, 16)


def whole_bytes(made_by: str) -> int:
    """Return about how many bytes a lease takes with all that is in it, by the version that made it."""
    return next(size for since, size in _WHOLE_BYTES if at_least(made_by, since))


def answer_bytes(version: str, leases: int, made_by: str) -> int:
    """Return about how large the list of so many *leases* is in the answer of etcd to a *version* of Vault."""
    return leases * (whole_bytes(made_by) if lists_values(version) else KEY_BYTES)
