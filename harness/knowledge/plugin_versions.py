"""Which release of the Kubernetes auth plugin each Vault has built in."""

from __future__ import annotations

from typing import Final

from harness.knowledge.versions import at_least

# From which Vault version which release of the plugin is built in. Source: go.mod at each tag up to 1.15.3 and at the
# release candidates of 1.16; from there on Vault's changelog, and for 2.0 the plugin's changelog and its branches.
_PLUGIN: Final = (
    ("2.0.0", "0.24.1"), ("1.21.1", "0.23.1"), ("1.21.0", "0.23.0"), ("1.20.0", "0.22.2"), ("1.19.0", "0.21.0"),
    ("1.18.0", "0.20.0"), ("1.17.0", "0.19.0"), ("1.16.0", "0.18.0"), ("1.15.0", "0.17.1"), ("1.14.0", "0.16.0"),
    ("1.13.0", "0.15.0"), ("1.12.3", "0.14.1"), ("1.12.0", "0.14.0"), ("1.11.9", "0.13.3"), ("1.11.4", "0.13.2"),
    ("1.11.0", "0.13.0"), ("1.10.4", "0.12.1"), ("1.10.0", "0.12.0"), ("1.9.4", "0.11.7"), ("1.9.3", "0.11.4"),
    ("1.9.0", "0.11.3"), ("1.8.0", "0.10.1"), ("1.7.0", "0.9.0"), ("1.6.3", "0.8.1"), ("1.6.0", "0.8.0"),
    ("1.5.4", "0.7.1"), ("1.5.0", "0.7.0"), ("1.4.1", "0.6.1"), ("1.4.0", "0.6.0"),
)  # fmt: skip


def built_into(vault: str) -> str:
    """Return which release of the Kubernetes auth plugin Vault *vault* has built in, or nothing where nobody looked."""
    return next((known for floor, known in _PLUGIN if at_least(vault, floor)), "")
