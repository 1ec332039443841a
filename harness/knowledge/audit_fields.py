"""Which fields of audit entries came with which version: an older one over the same data writes them no more."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from harness.knowledge.versions import at_least


class _Came(NamedTuple):
    """Fields that entries have from a version on, by name: of which kind each is."""

    since: str
    both: Mapping[str, str]
    """of a login and of a look-up of one's own token"""
    login: Mapping[str, str] = {}
    lookup: Mapping[str, str] = {}


_CAME: Final = (
    _Came(
        "1.7.0",
        {"request.mount_type": "text", "response.mount_type": "text", "auth.token_ttl": "number"},
        login={"response.auth.token_ttl": "number"},
        lookup={"auth.token_issue_time": "text"},
    ),
    _Came(
        "1.11.0",
        {
            "auth.policy_results.allowed": "flag",
            "request.mount_accessor": "text",
            "response.mount_accessor": "text",
            "request.remote_port": "number",
        },
        lookup={"auth.policy_results.granting_policies": "list", "request.client_id": "text"},
    ),
    _Came(
        "1.14.0",
        {
            "request.mount_class": "text",
            "request.mount_point": "text",
            "request.mount_running_version": "text",
            "response.mount_class": "text",
            "response.mount_point": "text",
            "response.mount_running_plugin_version": "text",
        },
    ),
)
"""V CHANGELOG 1.11.0 (GH-15342, GH-15457) and 1.14.0 (GH-20411). Run, the entries of logins by kubernetes, userpass and
approle, and of look-ups: 1.4.0 / 1.7.0, 1.8.0, 1.9.2, 1.9.3 / 1.11.0, 1.12.0, 1.13.0 / 1.16.3, 1.17.0, 1.19.0. What
came between 1.4 and 1.7, or with 1.10, is said of the first version in which it was seen."""


def of_login(version: str) -> dict[str, str]:
    """Return the fields, with their kinds, that *version* writes of a login and some older version does not."""
    return _until(version, ((one.since, {**one.both, **one.login}) for one in _CAME))


def of_lookup(version: str) -> dict[str, str]:
    """Return the same of a look-up of one's own token."""
    return _until(version, ((one.since, {**one.both, **one.lookup}) for one in _CAME))


def _until(version: str, came: Iterable[tuple[str, dict[str, str]]]) -> dict[str, str]:
    return {name: kind for since, fields in came if at_least(version, since) for name, kind in fields.items()}
